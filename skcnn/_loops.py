"""The kernels as loops over numbers, for numba to compile, and the network that calls them.

The kernels have the names and do the work of those of `skcnn._arrays`; tests hold both against the
same slow transcription of the formulas. What calls on whole arrays cannot do is a training step on
one image in a microsecond, and images that go through all layers without leaving the cache.

A group of m images goes through the convolution layers together. Like in `skcnn._arrays` the images
come last, so that one loop goes over the pixels of a row and over all images: (C, H, W, m). With
m = 1, the choice for small networks, one loop goes over all pixels of an image. The padding lies
around an image, in rows of W + width - 1 pixels; so the input of a tap lies at the same *offset*
from every pixel. Responses have rows of the same length; the pixels beyond W are computed where one
loop goes over all rows, and left out afterwards. Taps are taken nine at a time, all of a filter of
side 3, which keeps the response in registers and avoids most loads and stores; or three at a time
for four filters, so that what is loaded is used four times. More of both would not fit in the
sixteen vector registers that all processors have.

The dense layers take the images one by one, or four: there an image is a row.

A network is a table with a row of numbers for each layer, so that one compilation serves all depths
and sizes. `Tables` and `Scratch` are made by `skcnn._fast`. Numbers are cast to the dtype of the
arrays, lest float32 become float64 on the way, and indices that cannot be negative are unsigned,
lest each be compared with 0.

With the environment variable ``NUMBA_DISABLE_JIT=1`` the same functions run as Python, for a
debugger or to measure coverage: a thousand times slower, with the same results.
"""

import warnings
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

# Sums may be reordered, without which they are not vectors; NaN and infinity stay what they are,
# so that a training that diverges is noticed. Nothing is allocated here, so references need not be
# counted: counting them took a third of the time of a step on one image.
OPTIONS = {
    "nogil": True,
    "_nrt": False,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
inner = njit(forceinline=True, **OPTIONS)
# numba optimises a function by itself, and again in each one that calls it. So what is called from
# one place is no function to LLVM, and neither is what returns a view.
inlined = njit(inline="always", **OPTIONS)
called = njit(**OPTIONS)

FILTERS = 4  # as many are computed together
LINES_A_PART = 24  # of the cache, prefetched at a time
BLOCK = 128  # values of each image that are transposed together
RUN = 1024  # pixels: with four filters, dz of so many stays in the first cache

OUTPUTS, GRADIENT, SGD, MOMENTUM, ADAM = range(5)  # what to do with a batch


_faults = []  # of numba's cache, found in this process


class CompilationError(Exception):
    """numba cannot compile a function, for the reason that is the cause; nothing was computed."""


class Compiled:
    """A function that Python calls: compiled once and for all, if numba's cache can keep it.

    If the cache fails, a warning is given once a process, and the function is compiled without it.
    Any call may find this, as a dtype is compiled or loaded when it is first used.

    Parameters
    ----------
    function : callable
        It must raise no exception of its own.
    """

    def __init__(self, function):
        self._function = function
        self._failure = self._fault = self._folder = None
        try:
            self._dispatcher = njit(cache=True, **OPTIONS)(function)
            self._folder = self._dispatcher.stats.cache_path
        except Exception as error:  # there is no folder that may be written to
            self._dispatcher, self._fault = njit(**OPTIONS)(function), error

    def __call__(self, *args):
        """Call the function, or raise `CompilationError`."""
        if self._failure is not None:
            raise CompilationError from self._failure
        try:
            result = self._dispatcher(*args)
        except Exception as error:
            self._fault = error
            result = self._call_without_cache(args)
        if self._fault is not None:
            self._warn()
        return result

    def __getattr__(self, name):
        """Return what numba tells of the function, such as its signatures."""
        return getattr(self._dispatcher, name)

    def _call_without_cache(self, args):
        try:
            return self._dispatcher(*args)  # it is compiled, where only saving it failed
        except Exception:
            try:
                self._dispatcher = njit(**OPTIONS)(self._function)
                return self._dispatcher(*args)
            except Exception as error:
                self._failure = error
                raise CompilationError from error

    def _warn(self):
        """Tell of the fault, unless one was told of before."""
        fault, self._fault = self._fault, None
        _faults.append(fault)
        if len(_faults) > 1:
            return
        if self._folder is None:
            where, way_out = "", ""
        else:
            where = f" in {self._folder}"
            way_out = "delete that folder if it is damaged, make room if the disk is full, or "
        warnings.warn(
            f"numba's cache{where} cannot be used ({type(fault).__name__}: {fault}). The results "
            "are the same, but the loops of skcnn are compiled in every process anew, which takes "
            f"some seconds: {way_out}set the environment variable NUMBA_CACHE_DIR to a folder that "
            "may be written to.",
            RuntimeWarning,
        )


def outer(function):
    """Compile what Python calls."""
    return function if config.DISABLE_JIT else Compiled(function)


class Convolution(NamedTuple):
    """A convolution layer, a row of the table."""

    H: int
    W: int
    C: int
    F: int
    p: int  # height and width of a pooling window
    q: int
    height: int  # of the filters
    width: int
    n_taps: int  # filled up to a multiple of nine
    n_reversed: int  # taps of the filters reversed, likewise
    W_start: int  # of the filters and intercepts in the vector of parameters
    b_start: int
    W_size: int  # taps of a filter there
    learns_W: int
    learns_b: int
    taps_start: int  # in the tables of taps and offsets
    weights_start: int  # of the filters filled up, in the scratch
    X_start: int  # of what is kept of a group of images
    A_start: int
    A_row: int  # length of a row of A
    A_size: int  # of A for a filter
    winners_start: int
    dZ_start: int  # of gradients in the scratch
    dA_start: int


class Dense(NamedTuple):
    """A dense layer, a row of the table."""

    n_in: int
    n_out: int
    V_start: int  # of the weights and intercepts in the vector of parameters
    c_start: int
    learns_V: int
    learns_c: int
    A_start: int  # of the inputs in a row of the scratch, and of ``keep``


class Tables(NamedTuple):
    """The network."""

    convolutions: np.ndarray  # (n_layers, numbers of a `Convolution`)
    denses: np.ndarray  # (n_layers, numbers of a `Dense`)
    taps: np.ndarray  # of each layer, where a tap stands in a filter, -1 to fill up
    offsets: np.ndarray  # of each layer, from a pixel to the input of each tap
    m: int  # images of a group


class Scratch(NamedTuple):
    """Memory that is used again and again."""

    kept: np.ndarray  # (n_groups, ...), what the forward pass leaves for the backward pass
    winners: np.ndarray  # (n_groups, ...), where in its window the greatest response is
    Z: np.ndarray  # (FILTERS, size), responses
    best: np.ndarray  # (4, size), of a row of windows: values and where they are, twice
    dZ: np.ndarray  # (size,), dZ and dA of all layers
    weights: np.ndarray  # (size,), filters filled up, their gradients, and filters reversed
    A: np.ndarray  # (n_images, n_dense_inputs), inputs of the dense layers
    dA: np.ndarray  # (n_images, n_dense_inputs)
    dT: np.ndarray  # (n_images, n_outputs)


class Data(NamedTuple):
    """Images, targets and weights, of which some rows are visited."""

    X: np.ndarray  # (n, H * W * C)
    Y: np.ndarray  # (n, n_outputs)
    s: np.ndarray  # (n,)
    rows: np.ndarray  # their order
    keep: np.ndarray  # (len(rows), n_dense_inputs), factors for dropout, or (0, 0)


@inlined
def convolution(tables, k):
    """Return layer k."""
    r = tables.convolutions[k]
    few = r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10]
    more = r[11], r[12], r[13], r[14], r[15], r[16], r[17], r[18], r[19], r[20], r[21], r[22], r[23]
    return Convolution(*few, *more)


@inlined
def dense(tables, k):
    """Return layer k."""
    r = tables.denses[k]
    return Dense(r[0], r[1], r[2], r[3], r[4], r[5], r[6])


@intrinsic
def prefetch_line(context, array, k):
    """Have the processor fetch the cache line of array[k], while it does other things."""

    def instruction(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(data, arguments[1:]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # To be read; into the second of three caches, as the first is full of what is in use; data.
        builder.call(prefetch, [address, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.uintp), instruction


def _view(context, builder, signature, array, start, shape):
    """Return the contiguous array of a shape that begins at an element of another one."""
    of = context.make_array(signature.args[0])(context, builder, array)
    out = context.make_array(signature.return_type)(context, builder)
    itemsize = context.get_abi_sizeof(context.get_data_type(signature.return_type.dtype))
    itemsize = context.get_constant(types.intp, itemsize)
    strides = [itemsize] if len(shape) == 1 else [builder.mul(shape[1], itemsize), itemsize]
    data = builder.gep(of.data, [start])
    populate_array(out, data, shape, strides, itemsize, meminfo=None, parent=None)
    return out._getvalue()


# A slice of an array takes 10 ns, as its ends are checked, and there are dozens of them in a step.


@intrinsic
def part(context, array, start, size):
    """View some elements of an array, as it lies in memory, without checks."""

    def instructions(context, builder, signature, arguments):
        array, start, size = arguments
        return _view(context, builder, signature, array, start, [size])

    return array.copy(ndim=1)(array, types.intp, types.intp), instructions


@intrinsic
def matrix(context, array, start, n_rows, n_columns):
    """View some elements of an array, as it lies in memory, as a matrix, without checks."""

    def instructions(context, builder, signature, arguments):
        array, start, *shape = arguments
        return _view(context, builder, signature, array, start, shape)

    return array.copy(ndim=2)(array, types.intp, types.intp, types.intp), instructions


if config.DISABLE_JIT:

    def prefetch_line(array, k):
        """Do nothing: Python has no such instruction, and the result does not depend on it."""

    def part(array, start, size):
        """View some elements of an array."""
        return array.reshape(-1)[start : start + size]

    def matrix(array, start, n_rows, n_columns):
        """View some elements of an array as a matrix; what lies behind the array is not used."""
        strides = n_columns * array.itemsize, array.itemsize
        return np.lib.stride_tricks.as_strided(
            array.reshape(-1)[start:], (n_rows, n_columns), strides
        )


@inner
def prefetch(x, number):
    """Prefetch a part of an image: number 0, 1, ... while the image before it is computed.

    A processor waits for as many lines as it can fetch at a time, some 20, before it takes up the
    next. So they are asked for in parts, in between the loops over an image. Then a step on one of
    60,000 images takes a tenth longer than on one that is in the cache, and two thirds longer when
    all lines are asked for at once.
    """
    line = 64 // x.itemsize
    start = number * LINES_A_PART * line
    for k in range(start, min(start + LINES_A_PART * line, x.size), line):
        prefetch_line(x, np.uintp(k))


@inner
def nine(x, k):
    """Return nine values from x[k] on."""
    return x[k], x[k + 1], x[k + 2], x[k + 3], x[k + 4], x[k + 5], x[k + 6], x[k + 7], x[k + 8]


@inner
def three(x, k):
    """Return three values from x[k] on."""
    return x[k], x[k + 1], x[k + 2]


@inner
def at_three(inputs, i, o):
    """Return the inputs of three taps with offsets o, for pixel i."""
    q = np.uintp(i)
    return inputs[q + o[0]], inputs[q + o[1]], inputs[q + o[2]]


@inner
def response(w, x):
    """Return the response of three taps with weights w to their inputs x."""
    return w[0] * x[0] + w[1] * x[1] + w[2] * x[2]


@inner
def response_of_nine(inputs, i, o, w):
    """Return the response of nine taps with offsets o and weights w, for pixel i."""
    return (
        response(w[:3], at_three(inputs, i, o[:3]))
        + response(w[3:6], at_three(inputs, i, o[3:6]))
        + response(w[6:], at_three(inputs, i, o[6:]))
    )


@called
def conv_forward(x, offsets, W, z, n_runs, length, x_stride, z_stride):
    """z[f, q] = sum_k W[f, k] * x[q + offsets[k]], for some filters, in runs of pixels."""
    size, n_taps = z.shape[1], W.shape[1]
    for run in range(n_runs):
        first, start = run * x_stride, run * z_stride
        inputs = part(x, first, x.size - first)
        if len(W) == FILTERS:
            four = (
                part(z, start, length),
                part(z, size + start, length),
                part(z, 2 * size + start, length),
                part(z, 3 * size + start, length),
            )
            conv_forward_four(inputs, offsets, W, four)
        else:
            for f in range(len(W)):
                w = part(W, f * n_taps, n_taps)
                conv_forward_one(inputs, offsets, w, part(z, f * size + start, length))


@inner
def conv_forward_one(inputs, offsets, w, z):
    """The same for one filter."""
    for k in range(0, offsets.size, 9):
        o, v = nine(offsets, k), nine(w, k)
        if k == 0:
            for i in range(z.size):
                z[i] = response_of_nine(inputs, i, o, v)
        else:
            for i in range(z.size):
                z[i] += response_of_nine(inputs, i, o, v)


@inner
def conv_forward_four(inputs, offsets, W, z):
    """The same for four filters."""
    z0, z1, z2, z3 = z
    for k in range(0, offsets.size, 3):
        o = three(offsets, k)
        w0, w1, w2, w3 = three(W[0], k), three(W[1], k), three(W[2], k), three(W[3], k)
        if k == 0:
            for i in range(z0.size):
                x = at_three(inputs, i, o)
                z0[i] = response(w0, x)
                z1[i] = response(w1, x)
                z2[i] = response(w2, x)
                z3[i] = response(w3, x)
        else:
            for i in range(z0.size):
                x = at_three(inputs, i, o)
                z0[i] += response(w0, x)
                z1[i] += response(w1, x)
                z2[i] += response(w2, x)
                z3[i] += response(w3, x)


@called
def conv_backward(dz, origin, x, offsets, dW, length):
    """dW[f, k] += sum_q dz[f, origin + q] * x[q + offsets[k]], for some filters."""
    size, n_taps = dz.shape[1], dW.shape[1]
    for start in range(0, length, RUN):
        inputs = part(x, start, x.size - start)
        first, n = origin + start, min(RUN, length - start)
        if len(dW) == FILTERS:
            four = (
                part(dz, first, n),
                part(dz, size + first, n),
                part(dz, 2 * size + first, n),
                part(dz, 3 * size + first, n),
            )
            conv_backward_four(four, inputs, offsets, dW)
        else:
            for f in range(len(dW)):
                dw = part(dW, f * n_taps, n_taps)
                conv_backward_one(part(dz, f * size + first, n), inputs, offsets, dw)


@inner
def conv_backward_one(dz, inputs, offsets, dw):
    """The same for one filter."""
    zero = dz.dtype.type(0)
    for k in range(0, offsets.size, 9):
        o = nine(offsets, k)
        d0 = d1 = d2 = d3 = d4 = d5 = d6 = d7 = d8 = zero
        for i in range(dz.size):
            q = np.uintp(i)
            d0 += dz[i] * inputs[q + o[0]]
            d1 += dz[i] * inputs[q + o[1]]
            d2 += dz[i] * inputs[q + o[2]]
            d3 += dz[i] * inputs[q + o[3]]
            d4 += dz[i] * inputs[q + o[4]]
            d5 += dz[i] * inputs[q + o[5]]
            d6 += dz[i] * inputs[q + o[6]]
            d7 += dz[i] * inputs[q + o[7]]
            d8 += dz[i] * inputs[q + o[8]]
        sums = d0, d1, d2, d3, d4, d5, d6, d7, d8
        for m in range(9):
            dw[k + m] += sums[m]


@inner
def conv_backward_four(dz, inputs, offsets, dW):
    """The same for four filters."""
    dz0, dz1, dz2, dz3 = dz
    zero = dz0.dtype.type(0)
    for k in range(0, offsets.size, 3):
        o = three(offsets, k)
        a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = zero
        for i in range(dz0.size):
            x0, x1, x2 = at_three(inputs, i, o)
            a, b, c, d = dz0[i], dz1[i], dz2[i], dz3[i]
            a0 += a * x0
            a1 += a * x1
            a2 += a * x2
            b0 += b * x0
            b1 += b * x1
            b2 += b * x2
            c0 += c * x0
            c1 += c * x1
            c2 += c * x2
            d0 += d * x0
            d1 += d * x1
            d2 += d * x2
        sums = (a0, a1, a2), (b0, b1, b2), (c0, c1, c2), (d0, d1, d2)
        for f in range(FILTERS):
            for m in range(3):
                dW[f, k + m] += sums[f][m]


@called
def copy_images(X, rows, layer, m, x):
    """Copy images, channels last in X, into their padding."""
    row = (layer.W + layer.width - 1) * m
    first = layer.height // 2 * row + layer.width // 2 * m
    if m == 1 and layer.C == 1:  # the same as below, in half the time
        image = X[rows[0]]
        W = np.uintp(layer.W)
        for i in range(layer.H):
            to, of = np.uintp(first + i * row), np.uintp(i) * W
            for j in range(W):
                x[to + j] = image[of + j]
        return
    for c in range(layer.C):
        for i in range(layer.H):
            to = (c * (layer.H + layer.height - 1) + i) * row + first
            for j in range(layer.W):
                of = np.uintp((i * layer.W + j) * layer.C + c)
                for n in range(len(rows)):
                    x[np.uintp(to + n)] = X[np.uintp(rows[n]), of]
                to += m


@called
def copy_activations(a, a_row, layer, m, x):
    """Copy what the layer before returned, (C, H, W, m), into its padding."""
    length, row = layer.W * m, (layer.W + layer.width - 1) * m
    first = layer.height // 2 * row + layer.width // 2 * m
    for c in range(layer.C):
        for i in range(layer.H):
            start = (c * (layer.H + layer.height - 1) + i) * row + first
            to = x[start : start + length]
            start = (c * layer.H + i) * a_row
            of = a[start : start + length]
            for j in range(length):
                to[j] = of[j]


@inner
def runs(layer, m):
    """Return in how many runs to go over the pixels, and how long they are.

    With one image it is one run, over the pixels beyond a row's end too.
    """
    if m == 1:
        return 1, layer.H * (layer.W + layer.width - 1)
    return layer.H, layer.W * m


@called
def relu_forward(z, b, n_runs, length, z_row, a_row, n_beyond, a):
    """a = z + b where that is positive, else 0, for one filter without pooling. NaN stays NaN.

    In one run over all rows, the last ``n_beyond`` pixels of each are beyond the image: a is 0.
    """
    zero = z.dtype.type(0)
    of = to = np.uintp(0)
    for _ in range(n_runs):
        for j in range(np.uintp(length)):
            value = z[of + j] + b
            a[to + j] = zero if value < zero else value
        of += np.uintp(z_row)
        to += np.uintp(a_row)
    for j in range(z_row - n_beyond, z_row):
        for start in range(0, length, z_row):
            a[np.uintp(start + j)] = zero


@called
def relu_backward(da, a, n_runs, length, a_row, z_row, dz):
    """dz = da where a > 0, else 0, for one filter without pooling. Return the sum of dz."""
    total = zero = a.dtype.type(0)
    of = to = np.uintp(0)
    for _ in range(n_runs):
        for j in range(np.uintp(length)):
            value = da[of + j] if a[of + j] > zero else zero
            dz[to + j] = value
            total += value
        of += np.uintp(a_row)
        to += np.uintp(z_row)
    return total


@called
def pool_forward(z, b, layer, m, best, a, winners):
    """a = ReLU(b + the greatest z of each window), for one filter; winners = where that is in it.

    The first column is taken among equals, and in it the first row. Comparisons give numbers and
    not branches, which would be mispredicted half the time.
    """
    zero = z.dtype.type(0)
    row = (layer.W + layer.width - 1) * m
    n_columns, step = layer.W // layer.q, layer.q * m
    length = n_columns * step
    # The greatest of each column of a window, and then of each window from any column on: of every
    # q-th of these the window is one. In runs, that is less work than to go window by window.
    size = best.shape[1]
    column, column_place = part(best, 0, length), part(best, size, length)
    window, window_place = part(best, 2 * size, length), part(best, 3 * size, length)
    for i in range(layer.H // layer.p):
        of = part(z, i * layer.p * row, length)
        for j in range(length):
            column[j] = of[j]
            column_place[j] = zero
        for u in range(1, layer.p):
            of = part(z, (i * layer.p + u) * row, length)
            place = z.dtype.type(u * row)
            for j in range(length):
                value, greatest, found = of[j], column[j], column_place[j]
                better = value > greatest
                column[j] = value if better else greatest
                column_place[j] = place if better else found
        for j in range(length):
            window[j] = column[j]
            window_place[j] = column_place[j]
        for v in range(1, layer.q):
            of, of_place = part(column, v * m, length), part(column_place, v * m, length)
            place = z.dtype.type(v * m)
            for j in range(length - v * m):
                value, greatest, found = of[j], window[j], window_place[j]
                value_place = of_place[j] + place
                better = value > greatest
                window[j] = value if better else greatest
                window_place[j] = value_place if better else found
        for j in range(n_columns):
            to = (i * n_columns + j) * m
            outputs, places = part(a, to, m), part(winners, to, m)
            of, of_place = part(window, j * step, m), part(window_place, j * step, m)
            for n in range(m):
                value = of[n] + b
                outputs[n] = zero if value < zero else value
                places[n] = of_place[n]


@called
def pool_backward(da, a, winners, layer, m, dz):
    """dz = da at the winner of each window where a > 0, else 0, for one filter. Return its sum."""
    total = zero = a.dtype.type(0)
    row, length = (layer.W + layer.width - 1) * m, layer.W * m
    for i in range(layer.H):
        to = part(dz, i * row, length)
        for j in range(length):
            to[j] = zero
    for w in range(layer.A_size):
        value = da[w] if a[w] > zero else zero
        da[w] = value
        total += value
    w = np.uintp(0)
    for i in range(layer.H // layer.p):
        for j in range(layer.W // layer.q):
            window = np.uintp(i * layer.p * row + j * layer.q * m)
            for n in range(np.uintp(m)):
                dz[window + n + np.uintp(winners[w])] = da[w]
                w += np.uintp(1)
    return total


@inner
def dot(x, y):
    """sum_k x[k] * y[k]."""
    total = x.dtype.type(0)
    for k in range(x.size):
        total += x[k] * y[k]
    return total


@inner
def dot_four(x, y0, y1, y2, y3):
    """The same for four y: x is read once."""
    a = b = c = d = x.dtype.type(0)
    for k in range(x.size):
        a += x[k] * y0[k]
        b += x[k] * y1[k]
        c += x[k] * y2[k]
        d += x[k] * y3[k]
    return a, b, c, d


@inner
def scale(factor, x, y):
    """y = factor * x."""
    for k in range(x.size):
        y[k] = factor * x[k]


@inner
def add_scaled(factor, x, y):
    """y += factor * x."""
    for k in range(x.size):
        y[k] += factor * x[k]


@inner
def add_four(factors, x0, x1, x2, x3, y):
    """y += sum of factor * x, for four of each: y is read and written once."""
    a, b, c, d = factors
    for k in range(y.size):
        y[k] += a * x0[k] + b * x1[k] + c * x2[k] + d * x3[k]


@called
def dense_forward(A, V, c, T, first, n_images):
    """T = A V' + c, an image a row; T goes into its columns from the first."""
    n_in, step = V.shape[1], A.shape[1]
    for k in range(len(c)):
        v, intercept, column = part(V, k * n_in, n_in), c[k], np.uintp(first + k)
        m = 0
        while n_images - m >= 4:
            start = m * step
            products = dot_four(
                v,
                part(A, start, n_in),
                part(A, start + step, n_in),
                part(A, start + 2 * step, n_in),
                part(A, start + 3 * step, n_in),
            )
            for i in range(4):
                T[np.uintp(m + i), column] = products[i] + intercept
            m += 4
        for i in range(m, n_images):
            T[np.uintp(i), column] = dot(v, part(A, i * step, n_in)) + intercept


@called
def dense_backward_weights(dT, first, A, dV, n_images, overwrite):
    """dV += dT' A. The first images of a batch overwrite dV, to read it one time less."""
    n_in, step = dV.shape[1], A.shape[1]
    for k in range(len(dV)):
        column, dv = np.uintp(first + k), part(dV, k * n_in, n_in)
        m = 0
        if overwrite:
            scale(dT[0, column], part(A, 0, n_in), dv)
            m = 1
        while n_images - m >= 4:
            i, start = np.uintp(m), m * step
            add_four(
                (dT[i, column], dT[i + 1, column], dT[i + 2, column], dT[i + 3, column]),
                part(A, start, n_in),
                part(A, start + step, n_in),
                part(A, start + 2 * step, n_in),
                part(A, start + 3 * step, n_in),
                dv,
            )
            m += 4
        for i in range(m, n_images):
            if dT[np.uintp(i), column] != 0:
                add_scaled(dT[np.uintp(i), column], part(A, i * step, n_in), dv)


@called
def dense_backward(dT, first, V, n_images, dA):
    """dA = dT V."""
    n_in, step = V.shape[1], dA.shape[1]
    for m in range(n_images):
        da = part(dA, m * step, n_in)
        i, k = np.uintp(m), 1
        scale(dT[i, np.uintp(first)], part(V, 0, n_in), da)
        while len(V) - k >= 4:
            column, start = np.uintp(first + k), k * n_in
            add_four(
                (dT[i, column], dT[i, column + 1], dT[i, column + 2], dT[i, column + 3]),
                part(V, start, n_in),
                part(V, start + n_in, n_in),
                part(V, start + 2 * n_in, n_in),
                part(V, start + 3 * n_in, n_in),
                da,
            )
            k += 4
        for last in range(k, len(V)):
            add_scaled(dT[i, np.uintp(first + last)], part(V, last * n_in, n_in), da)


@inner
def log_loss_backward(t, y, s, dt):
    """dt = s * (P - y), for the logits t of one image; return whether it is not 0.

    What is so small that its products would be denormal is made 0: it changes no weight, and takes
    the processor a hundred times as long.
    """
    one = t.dtype.type(1)
    smallest = t.dtype.type(1e-19 if t.itemsize == 4 else 1e-150)
    if t.size == 1:
        dt[0] = s * (one / (one + np.exp(-t[0])) - y[0])
    else:
        greatest, total = t[0], t.dtype.type(0)
        for k in range(1, t.size):
            greatest = max(greatest, t[k])
        for k in range(t.size):
            dt[k] = np.exp(t[k] - greatest)
            total += dt[k]
        for k in range(t.size):
            dt[k] = s * (dt[k] / total - y[k])
    any_left = False
    for k in range(t.size):
        if abs(dt[k]) < smallest:
            dt[k] = 0
        any_left |= dt[k] != 0
    return any_left


class Network(NamedTuple):
    """What the functions below are given."""

    tables: Tables
    vector: np.ndarray  # all parameters, those that are learnt first
    gradient: np.ndarray  # of those that are learnt
    scratch: Scratch


@inlined
def fill_up_filters(network):
    """Copy the filters of each layer into the scratch, filled up, and those reversed."""
    tables, vector, weights = network.tables, network.vector, network.scratch.weights
    zero = vector.dtype.type(0)
    for k in range(len(tables.convolutions)):
        layer = convolution(tables, k)
        to, n_taps = layer.weights_start, layer.n_taps
        for f in range(layer.F):
            start = layer.W_start + f * layer.W_size
            for t in range(n_taps):
                tap = tables.taps[layer.taps_start + t]
                weights[to] = vector[start + tap] if tap >= 0 else zero
                weights[to + layer.F * n_taps] = zero  # of the gradient
                to += 1
        if k == 0:
            continue
        to += layer.F * n_taps
        for c in range(layer.C):
            for t in range(layer.n_reversed):
                tap = tables.taps[layer.taps_start + n_taps + t]
                weights[to] = vector[layer.W_start + tap + c] if tap >= 0 else zero
                to += 1


@inlined
def add_gradient_of_filters(network, overwrite):
    """Add to the gradient, or overwrite it, by what was summed up for the filters filled up."""
    tables, gradient, weights = network.tables, network.gradient, network.scratch.weights
    for k in range(len(tables.convolutions)):
        layer = convolution(tables, k)
        if overwrite:
            start = layer.W_start
            for i in range(layer.F * layer.W_size):
                gradient[np.uintp(start + i)] = 0
        of = layer.weights_start + layer.F * layer.n_taps
        for f in range(layer.F):
            start = layer.W_start + f * layer.W_size
            for t in range(layer.n_taps):
                tap = tables.taps[layer.taps_start + t]
                if tap >= 0:
                    gradient[start + tap] += weights[of]
                of += 1


@inlined
def next_image(X, rows, n, m):
    """Return the image to prefetch while image n is computed: none while a group of them is."""
    is_next = m == 1 and n + 1 < len(rows)
    row = rows[np.uintp(n + 1)] if is_next else 0
    return part(X, row * X.shape[1], X.shape[1] if is_next else 0)


@called
def convolve(k, layer, before, is_last, tables, vector, scratch, X, rows, n_images):
    """Take the images of some rows through layer k, which comes after the layer ``before``.

    The last layer writes its output to A. Of images that go through it alone, the next one is
    prefetched meanwhile.
    """
    m, n_inputs = tables.m, scratch.A.shape[1]
    row = (layer.W + layer.width - 1) * m
    # One run over all rows goes beyond the last one.
    x_size = layer.C * (layer.H + layer.height - 1) * row + (layer.width - 1) * m
    n_runs, length = runs(layer, m)
    n_beyond = layer.width - 1 if m == 1 else 0
    n_taps, A_size, pools = layer.n_taps, layer.A_size, layer.p * layer.q > 1
    offsets = part(tables.offsets, layer.taps_start, n_taps)
    for group in range(0, n_images, m):
        kept = group // m * scratch.kept.shape[1]
        winners = group // m * scratch.winners.shape[1] + layer.winners_start
        x = part(scratch.kept, kept + layer.X_start, x_size)
        if k == 0:
            copy_images(X, part(rows, group, min(m, n_images - group)), layer, m, x)
        else:
            a = part(scratch.kept, kept + before.A_start, before.F * before.A_size)
            copy_activations(a, before.A_row, layer, m, x)
        a = part(scratch.kept, kept + layer.A_start, layer.F * A_size)
        if is_last and m == 1:
            a = part(scratch.A, group * n_inputs, layer.F * A_size)
        next_x = next_image(X, rows, group, m)
        requested = 0
        for f in range(0, layer.F, FILTERS):
            n_filters = min(FILTERS, layer.F - f)
            W = matrix(scratch.weights, layer.weights_start + f * n_taps, n_filters, n_taps)
            conv_forward(x, offsets, W, scratch.Z, n_runs, length, row, row)
            prefetch(next_x, requested)
            requested += 1
            for i in range(n_filters):
                start = (f + i) * A_size
                z = part(scratch.Z, i * scratch.Z.shape[1], layer.H * row)
                b, to = vector[np.uintp(layer.b_start + f + i)], part(a, start, A_size)
                if pools:
                    places = part(scratch.winners, winners + start, A_size)
                    pool_forward(z, b, layer, m, scratch.best, to, places)
                else:
                    relu_forward(z, b, n_runs, length, row, layer.A_row, n_beyond, to)
                prefetch(next_x, requested)
                requested += 1
        if is_last and m > 1:
            n_in = layer.F * A_size // m
            for start in range(0, n_in, BLOCK):
                for n in range(min(m, n_images - group)):
                    to = part(scratch.A, (group + n) * n_inputs, n_in)
                    for value in range(start, min(start + BLOCK, n_in)):
                        to[np.uintp(value)] = a[np.uintp(value * m + n)]


@called
def convolve_backward(k, layer, before, is_last, tables, gradient, scratch, X, rows, n_images):
    """Add the gradients of layer k, given dA, and write dA of the layer before."""
    m, n_inputs = tables.m, scratch.A.shape[1]
    size, row, pools = layer.A_size, (layer.W + layer.width - 1) * m, layer.p * layer.q > 1
    # One run over all rows goes beyond the last one.
    x_size = layer.C * (layer.H + layer.height - 1) * row + (layer.width - 1) * m
    origin = (layer.height - 1) // 2 * row + (layer.width - 1) // 2 * m
    channel = (layer.H + layer.height - 1) * row
    length = (layer.H - 1) * row + layer.W * m
    n_runs, run = runs(layer, m)
    n_taps = layer.n_taps
    offsets = part(tables.offsets, layer.taps_start, n_taps)
    dW_start = layer.weights_start + layer.F * n_taps
    for group in range(0, n_images, m):
        kept = group // m * scratch.kept.shape[1]
        winners = group // m * scratch.winners.shape[1] + layer.winners_start
        x = part(scratch.kept, kept + layer.X_start, x_size)
        a = part(scratch.kept, kept + layer.A_start, layer.F * size)
        da = part(scratch.dZ, layer.dA_start, layer.F * size)
        if is_last and m == 1:
            a = part(scratch.A, group * n_inputs, layer.F * size)
            da = part(scratch.dA, group * n_inputs, layer.F * size)
        elif is_last:
            n_in = layer.F * size // m
            for start in range(0, n_in, BLOCK):
                for n in range(m):
                    is_image = group + n < n_images
                    of = part(scratch.dA, (group + n) * n_inputs if is_image else 0, n_in)
                    for i in range(start, min(start + BLOCK, n_in)):
                        da[np.uintp(i * m + n)] = of[np.uintp(i)] if is_image else 0
        next_x = next_image(X, rows, group, m)
        requested = layer.F + (layer.F + FILTERS - 1) // FILTERS  # by the forward pass
        for f in range(0, layer.F, FILTERS):
            n_filters = min(FILTERS, layer.F - f)
            dz_start = layer.dZ_start + (f * channel if k > 0 else 0)
            for i in range(n_filters):
                start = (f + i) * size
                of, outputs = part(da, start, size), part(a, start, size)
                to = part(scratch.dZ, dz_start + i * channel + origin, layer.H * row)
                if pools:
                    places = part(scratch.winners, winners + start, size)
                    total = pool_backward(of, outputs, places, layer, m, to)
                else:
                    total = relu_backward(of, outputs, n_runs, run, layer.A_row, row, to)
                if layer.learns_b:
                    gradient[np.uintp(layer.b_start + f + i)] += total
            prefetch(next_x, requested)
            requested += 1
            dz = matrix(scratch.dZ, dz_start, n_filters, channel)
            dW = matrix(scratch.weights, dW_start + f * n_taps, n_filters, n_taps)
            conv_backward(dz, origin, x, offsets, dW, length)
        if k > 0:
            # The gradient of the input is the response of the filters reversed to dz.
            n_reversed = layer.n_reversed
            taps = part(tables.offsets, layer.taps_start + n_taps, n_reversed)
            of = part(scratch.dZ, layer.dZ_start, layer.F * channel)
            for c in range(0, layer.C, FILTERS):
                n_channels = min(FILTERS, layer.C - c)
                start = dW_start + layer.F * n_taps + c * n_reversed
                W = matrix(scratch.weights, start, n_channels, n_reversed)
                start = before.dA_start + c * before.A_size
                dx = matrix(scratch.dZ, start, n_channels, before.A_size)
                conv_forward(of, taps, W, dx, layer.H, layer.W * m, row, before.A_row)


@inner
def drop(x, keep):
    """x = x * keep."""
    for k in range(keep.size):
        x[k] *= keep[k]


@inlined
def forward(network, X, rows, keep, T, first, n_images):
    """Write the outputs of the images from the first, no more than the scratch holds."""
    tables, scratch, vector = network.tables, network.scratch, network.vector
    A, n_inputs, n_layers = scratch.A, scratch.A.shape[1], len(tables.denses)
    some = part(rows, first, len(rows) - first)
    before = convolution(tables, 0)
    for k in range(len(tables.convolutions)):
        layer = convolution(tables, k)
        is_last = k == len(tables.convolutions) - 1
        convolve(k, layer, before, is_last, tables, vector, scratch, X, some, n_images)
        before = layer
    for k in range(n_layers):
        layer = dense(tables, k)
        n_in, n_out = layer.n_in, layer.n_out
        if len(keep):
            for n in range(n_images):
                to = part(A, n * n_inputs + layer.A_start, n_in)
                drop(to, part(keep, (first + n) * n_inputs + layer.A_start, n_in))
        inputs = matrix(A, layer.A_start, n_images, n_inputs)
        V, c = matrix(vector, layer.V_start, n_out, n_in), part(vector, layer.c_start, n_out)
        if k == n_layers - 1:
            outputs = matrix(T, first * n_out, n_images, n_out)
            dense_forward(inputs, V, c, outputs, 0, n_images)
            break
        dense_forward(inputs, V, c, A, layer.A_start + n_in, n_images)
        for n in range(n_images):
            hidden = part(A, n * n_inputs + layer.A_start + n_in, n_out)
            for i in range(n_out):
                hidden[i] = hidden.dtype.type(0) if hidden[i] < 0 else hidden[i]


@inlined
def backward_of_dense_layers(network, keep, first, n_images, overwrite):
    """Add the gradients of the dense layers, given dT, and write dA where it is needed."""
    tables, scratch = network.tables, network.scratch
    vector, gradient = network.vector, network.gradient
    A, dA, n_inputs = scratch.A, scratch.dA, scratch.A.shape[1]
    n_layers, learns_filters = len(tables.denses), convolution(tables, 0).learns_W
    for k in range(n_layers - 1, -1, -1):
        layer = dense(tables, k)
        n_in, n_out, start = layer.n_in, layer.n_out, layer.A_start
        dT, column = scratch.dT, 0
        if k < n_layers - 1:
            dT, column = dA, start + n_in
        if layer.learns_V:
            dV = matrix(gradient, layer.V_start, n_out, n_in)
            inputs = matrix(A, start, n_images, n_inputs)
            dense_backward_weights(dT, column, inputs, dV, n_images, overwrite)
        if layer.learns_c:
            for i in range(n_out):
                for n in range(n_images):
                    dt = dT[np.uintp(n), np.uintp(column + i)]
                    gradient[np.uintp(layer.c_start + i)] += dt
        if k > 0 or learns_filters:
            V = matrix(vector, layer.V_start, n_out, n_in)
            dense_backward(dT, column, V, n_images, matrix(dA, start, n_images, n_inputs))
            for n in range(n_images):
                da, a = part(dA, n * n_inputs + start, n_in), part(A, n * n_inputs + start, n_in)
                if len(keep):
                    drop(da, part(keep, (first + n) * n_inputs + start, n_in))
                if k > 0:
                    for i in range(n_in):
                        da[i] = da[i] if a[i] > 0 else da.dtype.type(0)


@inlined
def visit(network, data, factor, T, start, stop, backward, overwrite):
    """Write the outputs of some images, and write or add the gradient of factor * loss."""
    tables, scratch, gradient = network.tables, network.scratch, network.gradient
    learns_filters = convolution(tables, 0).learns_W
    fill_up_filters(network)
    if backward and overwrite:
        for k in range(len(tables.convolutions)):
            layer = convolution(tables, k)
            for f in range(layer.F if layer.learns_b else 0):
                gradient[layer.b_start + f] = 0
        for k in range(len(tables.denses)):
            of_dense = dense(tables, k)
            for f in range(of_dense.n_out if of_dense.learns_c else 0):
                gradient[of_dense.c_start + f] = 0
    n_together = len(scratch.A)
    for first in range(start, stop, n_together):
        n_images = min(n_together, stop - first)
        forward(network, data.X, data.rows, data.keep, T, first, n_images)
        if not backward:
            continue
        any_left = False
        for n in range(n_images):
            row = data.rows[first + n]
            s = factor * data.s[row]
            any_left |= log_loss_backward(T[first + n], data.Y[row], s, scratch.dT[n])
        are_first = overwrite and first == start
        if any_left or are_first:
            backward_of_dense_layers(network, data.keep, first, n_images, are_first)
        if learns_filters and any_left:
            some = part(data.rows, first, len(data.rows) - first)
            n_layers = len(tables.convolutions)
            for k in range(n_layers - 1, -1, -1):
                of = convolution(tables, k), convolution(tables, max(k - 1, 0)), k == n_layers - 1
                convolve_backward(k, *of, tables, gradient, scratch, data.X, some, n_images)
    if learns_filters and backward:
        add_gradient_of_filters(network, overwrite)


@inlined
def add_penalty(network, alpha):
    """Add the gradient of the L2 penalty on the weights that are learnt."""
    tables, vector, gradient = network.tables, network.vector, network.gradient
    for k in range(len(tables.convolutions)):
        layer = convolution(tables, k)
        weights = slice(layer.W_start, layer.W_start + layer.F * layer.W_size)
        if layer.learns_W:
            add_scaled(alpha, vector[weights], gradient[weights])
    for k in range(len(tables.denses)):
        of_dense = dense(tables, k)
        weights = slice(of_dense.V_start, of_dense.V_start + of_dense.n_in * of_dense.n_out)
        if of_dense.learns_V:
            add_scaled(alpha, vector[weights], gradient[weights])


@outer
def run(network, data, T, batch_size, overwrite, rule, alpha, eta, constants, memory, t):
    """Visit images batch by batch: write their outputs, and the gradient of each batch, and step.

    Parameters
    ----------
    T : ndarray of shape (len(data.rows), n_outputs)
        For the outputs, each image's before its step.
    rule : int
        OUTPUTS: nothing but the outputs. GRADIENT: the gradient of the loss, written or added. SGD,
        MOMENTUM, ADAM: a step on the gradient of the mean loss of a batch, with the penalty, see
        `skcnn._solvers`.
    alpha : float
        L2 penalty, for the steps.
    eta : float
        Learning rate.
    constants : tuple of float
        beta_1, beta_2 and epsilon of Adam; the first is also the momentum.
    memory : ndarray of shape (2, theta.size)
    t : int
        Number of steps that were taken before.

    Returns
    -------
    t : int
    """
    number, one = T.dtype.type, T.dtype.type(1)
    n = len(data.rows)
    theta, gradient = network.vector[: network.gradient.size], network.gradient
    first, second, epsilon = constants
    for start in range(0, n, batch_size):
        stop = min(start + batch_size, n)
        factor = one / number(stop - start) if rule > GRADIENT else one
        visit(network, data, factor, T, start, stop, rule > OUTPUTS, overwrite)
        if rule <= GRADIENT:
            continue
        if alpha > 0:
            add_penalty(network, number(alpha))
        t += 1
        if rule == SGD:
            add_scaled(number(-eta), gradient, theta)
        elif rule == MOMENTUM:
            velocity, momentum, rate = memory[0], number(first), number(eta)
            for k in range(theta.size):
                velocity[k] = momentum * velocity[k] - rate * gradient[k]
                theta[k] += velocity[k]
        else:
            m, v = memory[0], memory[1]
            decay_m, new_m = number(first), number(1 - first)
            decay_v, new_v = number(second), number(1 - second)
            step, scale_v = number(eta / (1 - first**t)), number(1 / (1 - second**t))
            for k in range(theta.size):
                m[k] = decay_m * m[k] + new_m * gradient[k]
                v[k] = decay_v * v[k] + new_v * (gradient[k] * gradient[k])
                theta[k] -= step * m[k] / (np.sqrt(scale_v * v[k]) + number(epsilon))
    return t
