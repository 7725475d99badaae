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

A network is a table with a record of numbers for each layer, so that one compilation serves all
depths and sizes, and all that is computed is in one array, the scratch: what is passed to a
function for each image is short. The tables are made by `skcnn._fast`. Numbers are cast to the
dtype of the arrays, so that float32 does not become float64 on the way, and indices that cannot be
negative are unsigned, so that none is compared with 0.

With the environment variable ``NUMBA_DISABLE_JIT=1`` the same functions run as Python, for a
debugger or to measure coverage: a thousand times slower, with the same results.

All that is compiled stands in this file: what numba's cache has is used for as long as the file of
the function that Python calls is unchanged, whatever changes elsewhere.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from ._compilation import Compiled
from ._layout import FILTERS

# Sums may be reordered, without which they are not vectors; NaN and infinity stay what they are,
# so that a training that diverges is noticed. Nothing is allocated here, so references need not be
# counted: counting them took a third of the time of a step on one image.
OPTIONS = {
    "nogil": True,
    "_nrt": False,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
# All functions become part of the one that Python calls, by LLVM or, with `inlined`, by numba.
# One that stayed a function in the machine code would be compiled twice, by itself and again with
# its caller. The process that compiles would run the first version, a process that loads from the
# cache the second, and their sums would differ in the last bit.
inner = njit(forceinline=True, **OPTIONS)
# numba optimises a function by itself, and again in each one that calls it. So what is large and
# called from one place is inlined by numba, before LLVM, and so is what returns a view.
inlined = njit(inline="always", **OPTIONS)

LINES_A_PART = 24  # of the cache, prefetched at a time
BLOCK = 128  # values of each image that are transposed together
RUN = 1024  # pixels: with four filters, dz of so many stays in the L1 cache

OUTPUTS, GRADIENT, SGD, MOMENTUM, ADAM = range(5)  # what to do with a batch
SIGMOID, SOFTMAX, IDENTITY = range(3)  # from T to P


def outer(function):
    """Compile what Python calls."""
    return function if config.DISABLE_JIT else Compiled(function, partial(njit, **OPTIONS))


def record(names):
    """Return the type of a record of whole numbers."""
    return np.dtype([(name, np.intp) for name in names.split()])


# Where arrays begin is counted in the scratch, or, for what is kept of a group of images, in the
# region of the group; for parameters in their vector, and for taps in the offsets.

SIZES = record(
    "m n_together "  # number of images of a group, and of all groups
    "region "  # size of a group's region
    "A dA row "  # rows with the inputs and outputs of the dense layers, and their length
    "n_zeroed n_intercepts "  # gradients that are summed up from 0; intercepts among them
    "learns_filters activation reversed"
)

CONVOLUTION = record(
    "H W C F p q m "  # p and q: height and width of the pooling windows
    "row channel corner dZ_corner "  # of padded arrays; where the first pixel is in X and in dZ
    "n_runs length "  # runs over the pixels, and their length
    "relu_runs relu_length "  # the same for ReLU
    "filters filters_row n_taps taps "  # start and length of filters; taps that are computed
    "b learns_b "
    "reversed n_reversed reversed_taps "  # filters reversed, for the gradient of the input
    "X X_size Z Z_channel best winners dZ "
    "A A_row A_channel dA dA_row dA_channel dX dX_row dX_channel"
)

DENSE = record(
    "n_in n_out V c learns_V learns_c inputs outputs"  # columns of the rows of A
)


class Network(NamedTuple):
    """A network with its parameters and memory."""

    sizes: np.ndarray  # (1,) of `SIZES`
    convolutions: np.ndarray  # (n_layers,) of `CONVOLUTION`
    denses: np.ndarray  # (n_layers,) of `DENSE`
    offsets: np.ndarray  # from a pixel to the input of each tap
    reversal: np.ndarray  # for each weight of the filters reversed where it is, -1 for 0
    fills: np.ndarray  # where filters are filled up with 0
    vector: np.ndarray  # parameters
    gradient: np.ndarray  # of those that are learnt, which come first
    scratch: np.ndarray


class Data(NamedTuple):
    """Images, targets and weights, of which some rows are visited."""

    X: np.ndarray  # (n, H * W * C)
    Y: np.ndarray  # (n, n_outputs)
    s: np.ndarray  # (n,)
    rows: np.ndarray  # their order
    keep: np.ndarray  # (len(rows), n_dense_inputs), factors for dropout, or (0, 0)


@intrinsic
def prefetch_line(context, array, k):
    """Have the processor fetch the cache line of array[k], while it does other things."""

    def instruction(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(data, arguments[1:]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # To be read; into L2, as L1 is full of what is in use; data and not instructions.
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


@inlined
def four_parts(x, start, step, size):
    """View four parts of an array, each beginning one step after the part before."""
    return (
        part(x, start, size),
        part(x, start + step, size),
        part(x, start + 2 * step, size),
        part(x, start + 3 * step, size),
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


@inner
def conv_forward(x, offsets, W, z, n_runs, length, x_stride, z_stride):
    """z[f, q] = sum_k W[f, k] * x[q + offsets[k]], for some filters, in runs of pixels."""
    size, row, n_taps = z.shape[1], W.shape[1], offsets.size
    for run in range(n_runs):
        first, start = run * x_stride, run * z_stride
        inputs = part(x, first, x.size - first)
        if len(W) == FILTERS:
            conv_forward_four(inputs, offsets, W, four_parts(z, start, size, length))
        else:
            for f in range(len(W)):
                w = part(W, f * row, n_taps)
                conv_forward_one(inputs, offsets, w, part(z, f * size + start, length))


@inner
def conv_forward_one(inputs, offsets, w, z):
    """The same for one filter."""
    zero = z.dtype.type(0)
    for k in range(0, offsets.size, 9):
        o, v = nine(offsets, k), nine(w, k)
        for i in range(z.size):  # LLVM makes two loops of it, for the two cases of k
            z[i] = response_of_nine(inputs, i, o, v) + (z[i] if k > 0 else zero)


@inner
def conv_forward_four(inputs, offsets, W, z):
    """The same for four filters."""
    z0, z1, z2, z3 = z
    zero = z0.dtype.type(0)
    for k in range(0, offsets.size, 3):
        o = three(offsets, k)
        w0, w1, w2, w3 = three(W[0], k), three(W[1], k), three(W[2], k), three(W[3], k)
        for i in range(z0.size):
            x = at_three(inputs, i, o)
            z0[i] = response(w0, x) + (z0[i] if k > 0 else zero)
            z1[i] = response(w1, x) + (z1[i] if k > 0 else zero)
            z2[i] = response(w2, x) + (z2[i] if k > 0 else zero)
            z3[i] = response(w3, x) + (z3[i] if k > 0 else zero)


@inner
def conv_backward(dz, origin, x, offsets, dW, length):
    """dW[f, k] += sum_q dz[f, origin + q] * x[q + offsets[k]], for some filters."""
    size, row, n_taps = dz.shape[1], dW.shape[1], offsets.size
    for start in range(0, length, RUN):
        inputs = part(x, start, x.size - start)
        first, n = origin + start, min(RUN, length - start)
        if len(dW) == FILTERS:
            conv_backward_four(four_parts(dz, first, size, n), inputs, offsets, dW)
        else:
            for f in range(len(dW)):
                dw = part(dW, f * row, n_taps)
                conv_backward_one(part(dz, f * size + first, n), inputs, offsets, dw)


@inner
def add_three(sums, factor, x):
    """Return three sums, to each of which factor * x is added."""
    return sums[0] + factor * x[0], sums[1] + factor * x[1], sums[2] + factor * x[2]


@inner
def conv_backward_one(dz, inputs, offsets, dw):
    """The same for one filter."""
    zero = dz.dtype.type(0)
    for k in range(0, offsets.size, 9):
        o = nine(offsets, k)
        a = b = c = zero, zero, zero
        for i in range(dz.size):
            a = add_three(a, dz[i], at_three(inputs, i, o[:3]))
            b = add_three(b, dz[i], at_three(inputs, i, o[3:6]))
            c = add_three(c, dz[i], at_three(inputs, i, o[6:]))
        sums = a + b + c
        for m in range(9):
            dw[k + m] += sums[m]


@inner
def conv_backward_four(dz, inputs, offsets, dW):
    """The same for four filters."""
    dz0, dz1, dz2, dz3 = dz
    zero = dz0.dtype.type(0)
    for k in range(0, offsets.size, 3):
        o = three(offsets, k)
        a = b = c = d = zero, zero, zero
        for i in range(dz0.size):
            x = at_three(inputs, i, o)
            a, b = add_three(a, dz0[i], x), add_three(b, dz1[i], x)
            c, d = add_three(c, dz2[i], x), add_three(d, dz3[i], x)
        sums = a, b, c, d
        for f in range(FILTERS):
            for m in range(3):
                dW[f, k + m] += sums[f][m]


@inner
def copy_images(X, rows, layer, x):
    """Copy images, channels last in X, into their padding."""
    m = layer.m
    if m == 1 and layer.C == 1:  # the same as below, in half the time
        image, W = X[rows[0]], np.uintp(layer.W)
        for i in range(layer.H):
            to, of = np.uintp(layer.corner + i * layer.row), np.uintp(i) * W
            for j in range(W):
                x[to + j] = image[of + j]
        return
    for c in range(layer.C):
        for i in range(layer.H):
            to = c * layer.channel + i * layer.row + layer.corner
            for j in range(layer.W):
                of = np.uintp((i * layer.W + j) * layer.C + c)
                for n in range(len(rows)):
                    x[np.uintp(to + n)] = X[np.uintp(rows[n]), of]
                to += m


@inner
def relu_forward(z, b, layer):
    """z = z + b where that is positive, else 0, in place, for one filter. NaN stays NaN.

    The pixels beyond the end of a row are 0.
    """
    zero = z.dtype.type(0)
    for k in range(z.size):
        value = z[k] + b
        z[k] = zero if value < zero else value
    for j in range(layer.W * layer.m, layer.row):
        for start in range(0, z.size, layer.row):
            z[np.uintp(start + j)] = zero


@inner
def relu_backward(dz, a, layer):
    """dz = dz where a > 0, else 0, in place, for one filter. Return the sum of dz."""
    total = zero = a.dtype.type(0)
    length, of, to = layer.relu_length, np.uintp(0), np.uintp(0)
    for _ in range(layer.relu_runs):
        for j in range(np.uintp(length)):
            value = dz[to + j] if a[of + j] > zero else zero
            dz[to + j] = value
            total += value
        of += np.uintp(layer.A_row)
        to += np.uintp(layer.row)
    return total


@inner
def copy_rows(x, x_row, y, y_row, layer):
    """Copy the pixels of one filter from rows of one length to rows of another."""
    length = layer.W * layer.m
    for i in range(layer.H):
        of, to = part(x, i * x_row, length), part(y, i * y_row, length)
        for j in range(length):
            to[j] = of[j]


@inner
def keep_greater(x, x_offsets, y, y_offsets, shift, out, out_offsets):
    """out = the greater of x and y, x if they are equal, and its offset; those of y are shifted."""
    more = x.dtype.type(shift)
    for j in range(out.size):
        better = y[j] > x[j]
        out[j] = y[j] if better else x[j]
        out_offsets[j] = y_offsets[j] + more if better else x_offsets[j]


@inner
def pool_forward(z, b, layer, best, a, winners):
    """a = ReLU(b + the greatest z of each window), for one filter; winners = where that is in it.

    The first column is taken among equals, and in it the first row. Comparisons give numbers and
    not branches, which would be mispredicted half the time. Winners are offsets from the first
    pixel of a window, counted in pixels, so that float32 has them exactly up to 2**24.
    """
    zero = z.dtype.type(0)
    m, row = layer.m, layer.row
    row_of_pixels = row // m
    n_columns, step = layer.W // layer.q, layer.q * m
    length = n_columns * step
    # In runs over whole rows, that is less work than to go window by window: the greatest of each
    # column, then of two neighbouring columns from any column on, of four, of eight, up to the
    # width of a window. Each result is written to the one of two buffers that it is not made of.
    zeros = part(best, 0, length)
    zeros[:] = zero
    for i in range(layer.H // layer.p):
        start, other = length, 3 * length
        x, x_offsets = part(z, i * layer.p * row, length), zeros
        for u in range(1, layer.p):
            y = part(z, (i * layer.p + u) * row, length)
            out, out_offsets = part(best, start, length), part(best, start + length, length)
            keep_greater(x, x_offsets, y, zeros, u * row_of_pixels, out, out_offsets)
            x, x_offsets, start, other = out, out_offsets, other, start
        width = 1
        while width < layer.q:
            shift = min(width, layer.q - width)
            n = x.size - shift * m
            y, y_offsets = part(x, shift * m, n), part(x_offsets, shift * m, n)
            out, out_offsets = part(best, start, n), part(best, start + length, n)
            keep_greater(x, x_offsets, y, y_offsets, shift, out, out_offsets)
            x, x_offsets, start, other = out, out_offsets, other, start
            width += shift
        for j in range(n_columns):
            outputs = part(a, i * layer.A_row + j * m, m)
            offsets = part(winners, i * layer.dA_row + j * m, m)
            of, of_offsets = part(x, j * step, m), part(x_offsets, j * step, m)
            for n in range(m):
                value = of[n] + b
                outputs[n] = zero if value < zero else value
                offsets[n] = of_offsets[n]


@inner
def pool_backward(da, a, winners, layer, dz):
    """dz = da at the winner of each window where a > 0, else 0, for one filter. Return its sum."""
    total = zero = a.dtype.type(0)
    m, row, length = layer.m, layer.row, layer.W * layer.m
    for i in range(layer.H):
        part(dz, i * row, length)[:] = zero
    for i in range(layer.H // layer.p):
        of, outputs = part(da, i * layer.dA_row, layer.dA_row), part(a, i * layer.A_row, length)
        for j in range(layer.dA_row):
            value = of[j] if outputs[j] > zero else zero
            of[j] = value
            total += value
        offsets = part(winners, i * layer.dA_row, layer.dA_row)
        w = np.uintp(0)
        for j in range(layer.W // layer.q):
            window = np.uintp(i * layer.p * row + j * layer.q * m)
            for n in range(np.uintp(m)):
                dz[window + n + np.uintp(offsets[w]) * np.uintp(m)] = of[w]
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
def dot_four(x, four):
    """The same for four y: x is read once."""
    y0, y1, y2, y3 = four
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
def add_four(factors, four, y):
    """y += sum of factor * x, for four of each: y is read and written once."""
    (a, b, c, d), (x0, x1, x2, x3) = factors, four
    for k in range(y.size):
        y[k] += a * x0[k] + b * x1[k] + c * x2[k] + d * x3[k]


@inner
def dense_forward(A, V, c, T):
    """T = A V' + c, an image a row."""
    n_images, step, n_in = len(A), A.shape[1], V.shape[1]
    for k in range(len(c)):
        v, intercept, column = part(V, k * n_in, n_in), c[k], np.uintp(k)
        m = 0
        while n_images - m >= 4:
            products = dot_four(v, four_parts(A, m * step, step, n_in))
            for i in range(4):
                T[np.uintp(m + i), column] = products[i] + intercept
            m += 4
        for i in range(m, n_images):
            T[np.uintp(i), column] = dot(v, part(A, i * step, n_in)) + intercept


@inner
def combine_rows(t, x, y, overwrite):
    """y[i] += sum_j t[i, j] * x[j], for rows of x and y; or y[i] = the same."""
    n, x_row, y_row = min(x.shape[1], y.shape[1]), x.shape[1], y.shape[1]
    for i in range(len(y)):
        to, k = part(y, i * y_row, n), np.uintp(i)
        first = 0
        if overwrite:
            scale(t[k, np.uintp(0)], part(x, 0, n), to)
            first = 1
        while len(x) - first >= 4:
            j, four = np.uintp(first), four_parts(x, first * x_row, x_row, n)
            add_four((t[k, j], t[k, j + 1], t[k, j + 2], t[k, j + 3]), four, to)
            first += 4
        for j in range(first, len(x)):
            add_scaled(t[k, np.uintp(j)], part(x, j * x_row, n), to)


@inner
def loss_backward(t, y, s, activation, dt):
    """dt = s * (P - y), for the outputs t of one image; return whether it is not 0.

    For the squared error it is divided by the number of outputs.

    What is so small that its products would be denormal is made 0: it changes no weight, and takes
    the processor a hundred times as long.
    """
    one, zero = t.dtype.type(1), t.dtype.type(0)
    smallest = t.dtype.type(1e-19 if t.itemsize == 4 else 1e-150)
    if activation == SOFTMAX:
        greatest, total = t[0], zero
        for k in range(1, t.size):
            greatest = max(greatest, t[k])
        for k in range(t.size):
            dt[k] = np.exp(t[k] - greatest)
            total += dt[k]
        for k in range(t.size):
            dt[k] = s * (dt[k] / total - y[k])
    else:
        s = s / t.dtype.type(t.size) if activation == IDENTITY else s
        for k in range(t.size):
            P = one / (one + np.exp(-t[k])) if activation == SIGMOID else t[k]
            dt[k] = s * (P - y[k])
    any_left = False
    for k in range(t.size):
        if abs(dt[k]) < smallest:
            dt[k] = 0
        any_left |= dt[k] != 0
    return any_left


@inlined
def next_image(X, rows, n, m):
    """Return the image to prefetch while image n is computed: none while a group of them is."""
    is_next = m == 1 and n + 1 < len(rows)
    row = rows[np.uintp(n + 1)] if is_next else 0
    return part(X, row * X.shape[1], X.shape[1] if is_next else 0)


@inner
def is_in_place(layer):
    """Return whether ReLU can be in place: A is laid out as Z, and there is no pooling."""
    is_alike = layer.relu_length == layer.A_channel == layer.H * layer.row
    return is_alike and layer.p * layer.q == 1


@inlined
def convolve(layer, region, vector, offsets, scratch, next_x):
    """Take the images of a group through a layer, while the next image is prefetched."""
    F, H, row, n_taps = layer.F, layer.H, layer.row, layer.n_taps
    pools, in_place = layer.p * layer.q > 1, is_in_place(layer)
    taps = part(offsets, layer.taps, n_taps)
    x = part(scratch, region + layer.X, layer.X_size)
    best = part(scratch, layer.best, 5 * layer.W * layer.m)
    requested = 0
    for f in range(0, F, FILTERS):
        n_filters = min(FILTERS, F - f)
        W = matrix(vector, layer.filters + f * layer.filters_row, n_filters, layer.filters_row)
        start, size = layer.Z, layer.Z_channel
        if in_place:
            start, size = region + layer.A + f * layer.A_channel, layer.A_channel
        Z = matrix(scratch, start, n_filters, size)
        conv_forward(x, taps, W, Z, layer.n_runs, layer.length, row, row)
        prefetch(next_x, requested)
        for i in range(n_filters):
            z, b = part(Z, i * size, H * row), vector[np.uintp(layer.b + f + i)]
            a = part(scratch, region + layer.A + (f + i) * layer.A_channel, layer.A_channel)
            if pools:
                start = region + layer.winners + (f + i) * layer.dA_channel
                pool_forward(z, b, layer, best, a, part(scratch, start, layer.dA_channel))
            else:
                relu_forward(z, b, layer)
            if not (pools or in_place):
                copy_rows(z, row, a, layer.A_row, layer)
        prefetch(next_x, requested + 1)
        requested += 2


@inlined
def convolve_backward(layer, region, gradient, offsets, scratch, next_x):
    """Add the gradients of a layer, given dA, and write dX if a layer comes before."""
    F, H, row, n_taps, channel = layer.F, layer.H, layer.row, layer.n_taps, layer.channel
    pools, has_dX = layer.p * layer.q > 1, layer.dX_channel > 0
    in_place = is_in_place(layer) and not has_dX
    corner = 0 if in_place else layer.dZ_corner
    taps = part(offsets, layer.taps, n_taps)
    x = part(scratch, region + layer.X, layer.X_size)
    length = (H - 1) * row + layer.W * layer.m
    requested = 2 * ((F + FILTERS - 1) // FILTERS)  # by the forward pass
    for f in range(0, F, FILTERS):
        n_filters = min(FILTERS, F - f)
        dZ, size = layer.dZ + (f * channel if has_dX else 0), channel
        if in_place:
            dZ, size = region + layer.dA + f * layer.dA_channel, layer.dA_channel
        for i in range(n_filters):
            start = region + layer.dA + (f + i) * layer.dA_channel
            da = part(scratch, start, layer.dA_channel)
            a = part(scratch, region + layer.A + (f + i) * layer.A_channel, layer.A_channel)
            dz = part(scratch, dZ + i * size + corner, H * row)
            if pools:
                start = region + layer.winners + (f + i) * layer.dA_channel
                total = pool_backward(da, a, part(scratch, start, layer.dA_channel), layer, dz)
            else:
                if not in_place:
                    copy_rows(da, layer.dA_row, dz, row, layer)
                total = relu_backward(dz, a, layer)
            if layer.learns_b:
                gradient[np.uintp(layer.b + f + i)] += total
        prefetch(next_x, requested)
        requested += 1
        dz = matrix(scratch, dZ, n_filters, size)
        dW = matrix(gradient, layer.filters + f * layer.filters_row, n_filters, layer.filters_row)
        conv_backward(dz, corner, x, taps, dW, length)
    if has_dX:
        # The gradient of the input is the response of the filters reversed to dz.
        n_taps, size = layer.n_reversed, layer.dX_channel
        taps = part(offsets, layer.reversed_taps, n_taps)
        dz = part(scratch, layer.dZ, F * channel)
        for c in range(0, layer.C, FILTERS):
            n_channels = min(FILTERS, layer.C - c)
            W = matrix(scratch, layer.reversed + c * n_taps, n_channels, n_taps)
            dx = matrix(scratch, region + layer.dX + c * size, n_channels, size)
            conv_forward(dz, taps, W, dx, H, layer.W * layer.m, row, layer.dX_row)


@inner
def images_first(a, m, A):
    """A = a transposed, of images in groups of m: an image a row, which may be longer."""
    size = a.size // m
    for start in range(0, size, BLOCK):
        for n in range(len(A)):
            for k in range(start, min(start + BLOCK, size)):
                A[np.uintp(n), np.uintp(k)] = a[np.uintp(k * m + n)]


@inner
def images_last(A, m, a):
    """The inverse of `images_first`; images that complete the group are 0."""
    zero, size = a.dtype.type(0), a.size // m
    for start in range(0, size, BLOCK):
        for n in range(m):
            for k in range(start, min(start + BLOCK, size)):
                value = A[np.uintp(n), np.uintp(k)] if n < len(A) else zero
                a[np.uintp(k * m + n)] = value


@inner
def drop(x, keep):
    """x = x * keep."""
    for k in range(keep.size):
        x[k] *= keep[k]


@inlined
def forward(network, data, T, first, n_images):
    """Write the outputs of the images from the first, as many as there are regions for."""
    sizes, scratch, vector = network.sizes[0], network.scratch, network.vector
    m, step, offsets = sizes.m, sizes.row, network.offsets
    image, last = network.convolutions[0], network.convolutions[-1]
    for group in range(0, n_images, m):
        region, n = group // m * sizes.region, min(m, n_images - group)
        some = part(data.rows, first + group, n)
        copy_images(data.X, some, image, part(scratch, region + image.X, image.X_size))
        next_x = next_image(data.X, data.rows, first + group, m)
        for k in range(len(network.convolutions)):
            convolve(network.convolutions[k], region, vector, offsets, scratch, next_x)
        if m > 1:
            a = part(scratch, region + last.A, last.F * last.A_channel)
            images_first(a, m, matrix(scratch, sizes.A + group * step, n, step))
    n_layers, n_inputs = len(network.denses), data.keep.shape[1]
    for k in range(n_layers):
        layer = network.denses[k]
        n_in, n_out, start = layer.n_in, layer.n_out, sizes.A + layer.inputs
        if n_inputs:
            for n in range(n_images):
                keep = part(data.keep, (first + n) * n_inputs + layer.inputs, n_in)
                drop(part(scratch, start + n * step, n_in), keep)
        A = matrix(scratch, start, n_images, step)
        V, c = matrix(vector, layer.V, n_out, n_in), part(vector, layer.c, n_out)
        if k == n_layers - 1:
            dense_forward(A, V, c, matrix(T, first * n_out, n_images, n_out))
            break
        dense_forward(A, V, c, matrix(scratch, sizes.A + layer.outputs, n_images, step))
        for n in range(n_images):
            hidden = part(scratch, sizes.A + n * step + layer.outputs, n_out)
            for i in range(n_out):
                hidden[i] = hidden.dtype.type(0) if hidden[i] < 0 else hidden[i]


@inlined
def backward_of_dense_layers(network, data, first, n_images, overwrite):
    """Add the gradients of the dense layers, given dT, and write dA where it is needed."""
    sizes, scratch, gradient = network.sizes[0], network.scratch, network.gradient
    step, n_inputs = sizes.row, data.keep.shape[1]
    for k in range(len(network.denses) - 1, -1, -1):
        layer = network.denses[k]
        n_in, n_out = layer.n_in, layer.n_out
        dT = matrix(scratch, sizes.dA + layer.outputs, n_images, step)
        if layer.learns_V:
            dV = matrix(gradient, layer.V, n_out, n_in)
            A = matrix(scratch, sizes.A + layer.inputs, n_images, step)
            combine_rows(dT.T, A, dV, overwrite)
        if layer.learns_c:
            for i in range(n_out):
                for n in range(n_images):
                    gradient[np.uintp(layer.c + i)] += dT[np.uintp(n), np.uintp(i)]
        if k > 0 or sizes.learns_filters:
            V = matrix(network.vector, layer.V, n_out, n_in)
            combine_rows(dT, V, matrix(scratch, sizes.dA + layer.inputs, n_images, step), True)
            for n in range(n_images):
                da = part(scratch, sizes.dA + n * step + layer.inputs, n_in)
                a = part(scratch, sizes.A + n * step + layer.inputs, n_in)
                if n_inputs:
                    drop(da, part(data.keep, (first + n) * n_inputs + layer.inputs, n_in))
                if k > 0:
                    for i in range(n_in):
                        da[i] = da[i] if a[i] > 0 else da.dtype.type(0)


@inlined
def backward_of_convolutions(network, data, first, n_images):
    """Add the gradients of the convolution layers, given dA of the last."""
    sizes, scratch = network.sizes[0], network.scratch
    m, step, last = sizes.m, sizes.row, network.convolutions[-1]
    for group in range(0, n_images, m):
        region, n = group // m * sizes.region, min(m, n_images - group)
        if m > 1:
            da = part(scratch, region + last.dA, last.F * last.dA_channel)
            images_last(matrix(scratch, sizes.dA + group * step, n, step), m, da)
        next_x = next_image(data.X, data.rows, first + group, m)
        gradient, offsets = network.gradient, network.offsets
        for k in range(len(network.convolutions) - 1, -1, -1):
            layer = network.convolutions[k]
            convolve_backward(layer, region, gradient, offsets, scratch, next_x)


@inlined
def visit(network, data, factor, T, start, stop, backward, overwrite):
    """Write the outputs of some images, and write or add the gradient of factor * loss."""
    sizes, scratch, vector = network.sizes[0], network.scratch, network.vector
    gradient, n_outputs = network.gradient, T.shape[1]
    for k in range(network.reversal.size):
        of, zero = network.reversal[k], vector.dtype.type(0)
        scratch[np.uintp(sizes.reversed + k)] = vector[np.uintp(of)] if of >= 0 else zero
    if backward and overwrite:
        part(gradient, 0, sizes.n_zeroed)[:] = 0
    for first in range(start, stop, sizes.n_together):
        n_images = min(sizes.n_together, stop - first)
        forward(network, data, T, first, n_images)
        if not backward:
            continue
        any_left = False
        for n in range(n_images):
            row = data.rows[first + n]
            s = factor * data.s[row]
            dt = sizes.dA + n * sizes.row + network.denses[-1].outputs
            dt = part(scratch, dt, n_outputs)
            any_left |= loss_backward(T[first + n], data.Y[row], s, sizes.activation, dt)
        are_first = overwrite and first == start
        if any_left or are_first:
            backward_of_dense_layers(network, data, first, n_images, are_first)
        if any_left and sizes.learns_filters:
            backward_of_convolutions(network, data, first, n_images)
    if backward:
        for k in range(network.fills.size):
            gradient[np.uintp(network.fills[k])] = 0


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
    memory : ndarray of shape (2, gradient.size)
    t : int
        Number of steps that were taken before.

    Returns
    -------
    t : int
    """
    number, one = T.dtype.type, T.dtype.type(1)
    n = len(data.rows)
    gradient = network.gradient
    theta = part(network.vector, 0, gradient.size)
    first, second, epsilon = constants
    n_intercepts = network.sizes[0].n_intercepts
    weights = part(theta, n_intercepts, theta.size - n_intercepts)
    of_weights = part(gradient, n_intercepts, theta.size - n_intercepts)
    for start in range(0, n, batch_size):
        stop = min(start + batch_size, n)
        factor = one / number(stop - start) if rule > GRADIENT else one
        visit(network, data, factor, T, start, stop, rule > OUTPUTS, overwrite)
        if rule <= GRADIENT:
            continue
        if alpha > 0:
            add_scaled(number(alpha), weights, of_weights)
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
