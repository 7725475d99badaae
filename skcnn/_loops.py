"""The equations as loops over numbers, image by image, for numba to compile.

They are those of `skcnn._layers`, in the letters of its docstring, and the steps of
`skcnn._solvers`: written a second time for what calls on whole arrays cannot do, a training step on
one image in a microsecond. Tests hold them to the first.

The layout is made for long loops, which become vector instructions. An image lies with its zeros
around, channel by channel, in rows of W + K - 1 pixels. Then what a place (u, v, c) of a filter
sees is the same number of values further on for every pixel, its *offset*, and one loop over all
pixels does for each place. A response has rows of the same length, and so have A and V; the K - 1
pixels too many at the end of a row are 0 in A and in V. Places are taken nine at a time, all of a
filter of side 3, which spares the response most of its ways to memory and back; W is filled up with
places that see only zeros. Or they are taken three at a time for four filters, so that what is read
of the image is used four times; more of both would not find room in the sixteen vector registers
that all processors have.

With pooling, the windows' first pixels come first, then their second ones, and so on, so that
pooling compares long runs too. For windows of q columns the columns 0, q, 2q, ... of an image lie
together, then 1, q + 1, ...: its q *phases*. For windows of p rows each phase holds the rows 0, p,
2p, ..., then 1, p + 1, ... up to p + K - 2: its *shifts*, in which most rows stand several times,
so that those that two corners of the windows see at a place are always as far apart::

    padded   an image, zeros around it   (C * q * n_shifts * n_rows * row + p * n_cells,)
    row      length of a row             (W + K - 1) / q, rounded up
    n_shifts, n_rows                     p + K - 1 of H//p rows; without pooling 1 of H + K - 1
    b, W     filters as rows             (F,), (F, 9 * m), and more where filters are larger than
             the image: taps that only see zeros, which stand last and are left out
    z, dz    responses of four filters   (4, q * p * n_cells), n_cells = H//p * row
    A, dA    after pooling and ReLU      (F * n_cells,)
    V, c     dense weights               (n_outputs, F * n_cells), (n_outputs,)

Numbers are cast to the dtype of the arrays, lest float32 become float64 on the way, and indices
that cannot be negative are unsigned, lest each be compared with 0.

With the environment variable ``NUMBA_DISABLE_JIT=1`` the same functions run as Python, for a
debugger or to measure coverage: a thousand times slower, with the same results.
"""

import warnings
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

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

FILTERS = 4  # as many are computed together
LINES_A_PART = 24  # of the cache, fetched ahead of their use


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


class Sizes(NamedTuple):
    """The sizes that pooling and zeros around an image depend on."""

    H: int
    W: int
    C: int
    top: int  # rows of zeros before the image
    left: int  # columns of zeros
    p: int  # height of a window
    q: int  # width of a window
    row: int
    n_shifts: int
    n_rows: int


class Room(NamedTuple):
    """What n images need on their way forward and backward."""

    padded: np.ndarray  # (n, ...)
    offsets: np.ndarray  # (q, 9 * m)
    z: np.ndarray  # (FILTERS, q * p * n_cells)
    dz: np.ndarray  # (FILTERS, q * p * n_cells)
    winners: np.ndarray  # (n, F, n_cells), corners with the greatest responses of their windows
    A: np.ndarray  # (n, F * n_cells)
    dA: np.ndarray  # (n, F * n_cells)
    dT: np.ndarray  # (n, n_outputs)
    counts: np.ndarray  # (n,), whether dT is not 0


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


if config.DISABLE_JIT:

    def prefetch_line(array, k):
        """Do nothing: Python has no such instruction, and the result does not depend on it."""


@inner
def prefetch(x, part):
    """Have a part of an image fetched: part 0, 1, ... while the image before it is computed.

    A processor waits for as many lines as it can fetch at a time, some 20, before it takes up the
    next. So they are asked for in parts, in between the loops over an image. Then a step on one of
    60,000 images takes a tenth longer than on one that is in the cache, and two thirds longer when
    all lines are asked for at once.
    """
    line = 64 // x.itemsize
    start = part * LINES_A_PART * line
    for k in range(start, min(start + LINES_A_PART * line, x.size), line):
        prefetch_line(x, np.uintp(k))


@inner
def pad_image(x, sizes, padded):
    """Copy an image of H * W * C values, channels last, between the zeros."""
    if sizes.C == sizes.p == sizes.q == 1:  # the same as below, in half the time
        to = np.uintp(sizes.top * sizes.row + sizes.left)
        of, W = np.uintp(0), np.uintp(sizes.W)
        for _ in range(sizes.H):
            for j in range(W):
                padded[to + j] = x[of + j]
            to += np.uintp(sizes.row)
            of += W
        return
    C, q, before = sizes.C, sizes.q, sizes.left
    start, step = 0, np.uintp(C * q)
    for c in range(C):
        for phase in range(q):
            first = (phase - before) % q  # the first column of the image in this phase
            n_columns = np.uintp((sizes.W - first + q - 1) // q)
            for shift in range(sizes.n_shifts):
                for k in range(sizes.n_rows):
                    i = k * sizes.p + shift - sizes.top
                    if 0 <= i < sizes.H:
                        to = np.uintp(start + (first + before) // q)
                        of = np.uintp((i * sizes.W + first) * C + c)
                        if step == 1:
                            for j in range(n_columns):
                                padded[to + j] = x[of + j]
                        else:
                            for j in range(n_columns):
                                padded[to + j] = x[of + j * step]
                    start += sizes.row


@inner
def nine(x, k):
    """Return nine values from x[k] on."""
    return x[k], x[k + 1], x[k + 2], x[k + 3], x[k + 4], x[k + 5], x[k + 6], x[k + 7], x[k + 8]


@inner
def three(x, k):
    """Return three values from x[k] on."""
    return x[k], x[k + 1], x[k + 2]


@inner
def seen(padded, i, o):
    """Return what three places with offsets o see of pixel i."""
    q = np.uintp(i)
    return padded[q + o[0]], padded[q + o[1]], padded[q + o[2]]


@inner
def response(w, x):
    """Return what three places of a filter with weights w make of what they see."""
    return w[0] * x[0] + w[1] * x[1] + w[2] * x[2]


@inner
def response_of_nine(padded, i, o, w):
    """Return what nine places of a filter, with offsets o and weights w, make of pixel i."""
    return (
        response(w[:3], seen(padded, i, o[:3]))
        + response(w[3:6], seen(padded, i, o[3:6]))
        + response(w[6:], seen(padded, i, o[6:]))
    )


@inner
def conv_forward(padded, offsets, W, z, cells):
    """z[f, q] = sum_k W[f, k] * padded[q + offsets[k]], for some cells of z."""
    if len(z) == FILTERS:
        four = z[0][cells], z[1][cells], z[2][cells], z[3][cells]
        conv_forward_four(padded, offsets, W, four)
    else:
        for f in range(len(z)):
            conv_forward_one(padded, offsets, W[f], z[f][cells])


@inner
def conv_forward_one(padded, offsets, w, z):
    """The same for one filter."""
    for k in range(0, offsets.size, 9):
        o, v = nine(offsets, k), nine(w, k)
        if k == 0:
            for i in range(z.size):
                z[i] = response_of_nine(padded, i, o, v)
        else:
            for i in range(z.size):
                z[i] += response_of_nine(padded, i, o, v)


@inner
def conv_forward_four(padded, offsets, W, z):
    """The same for four filters."""
    z0, z1, z2, z3 = z
    for k in range(0, offsets.size, 3):
        o = three(offsets, k)
        w0, w1, w2, w3 = three(W[0], k), three(W[1], k), three(W[2], k), three(W[3], k)
        if k == 0:
            for i in range(z0.size):
                x = seen(padded, i, o)
                z0[i] = response(w0, x)
                z1[i] = response(w1, x)
                z2[i] = response(w2, x)
                z3[i] = response(w3, x)
        else:
            for i in range(z0.size):
                x = seen(padded, i, o)
                z0[i] += response(w0, x)
                z1[i] += response(w1, x)
                z2[i] += response(w2, x)
                z3[i] += response(w3, x)


@inner
def conv_backward(dz, cells, padded, offsets, dW):
    """dW[f, k] += sum_q dz[f, q] * padded[q + offsets[k]], over some cells of dz."""
    if len(dz) == FILTERS:
        four = dz[0][cells], dz[1][cells], dz[2][cells], dz[3][cells]
        conv_backward_four(four, padded, offsets, dW)
    else:
        for f in range(len(dz)):
            conv_backward_one(dz[f][cells], padded, offsets, dW[f])


@inner
def conv_backward_one(dz, padded, offsets, dw):
    """The same for one filter."""
    zero = dz.dtype.type(0)
    for k in range(0, offsets.size, 9):
        o = nine(offsets, k)
        d0 = d1 = d2 = d3 = d4 = d5 = d6 = d7 = d8 = zero
        for i in range(dz.size):
            q = np.uintp(i)
            d0 += dz[i] * padded[q + o[0]]
            d1 += dz[i] * padded[q + o[1]]
            d2 += dz[i] * padded[q + o[2]]
            d3 += dz[i] * padded[q + o[3]]
            d4 += dz[i] * padded[q + o[4]]
            d5 += dz[i] * padded[q + o[5]]
            d6 += dz[i] * padded[q + o[6]]
            d7 += dz[i] * padded[q + o[7]]
            d8 += dz[i] * padded[q + o[8]]
        sums = d0, d1, d2, d3, d4, d5, d6, d7, d8
        for m in range(9):
            dw[k + m] += sums[m]


@inner
def conv_backward_four(dz, padded, offsets, dW):
    """The same for four filters."""
    dz0, dz1, dz2, dz3 = dz
    zero = dz0.dtype.type(0)
    for k in range(0, offsets.size, 3):
        o = three(offsets, k)
        a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = zero
        for i in range(dz0.size):
            x0, x1, x2 = seen(padded, i, o)
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


@inner
def pool_forward(z, winners, a):
    """a[w] = the greatest z[k, w] of the corners k of window w; winners[w] = the first such k.

    Comparisons give numbers and not branches, which would be guessed wrong half the time.
    """
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for w in range(a.size):
        better = z[1, w] > z[0, w]
        a[w] = z[1, w] if better else z[0, w]
        winners[w] = one if better else zero
    for k in range(2, len(z)):
        corner = z.dtype.type(k)
        for w in range(a.size):
            value, best, winner = z[k, w], a[w], winners[w]
            better = value > best
            a[w] = value if better else best
            winners[w] = corner if better else winner


@inner
def pool_backward(da, winners, dz):
    """dz[k, w] = da[w] for the corner k that won window w, and 0 for the others."""
    zero = da.dtype.type(0)
    for k in range(len(dz)):
        corner, to = da.dtype.type(k), dz[k]
        for w in range(da.size):
            to[w] = da[w] if winners[w] == corner else zero


@inner
def relu_forward(a, b, sizes):
    """a = a + b where that is positive and in the image, else 0; in place. NaN stays NaN."""
    zero = a.dtype.type(0)
    for w in range(a.size):
        value = a[w] + b
        a[w] = zero if value < zero else value
    for j in range(sizes.W // sizes.q, sizes.row):
        for start in range(0, a.size, sizes.row):
            a[np.uintp(start + j)] = zero


@inner
def relu_backward(da, a):
    """da = da where a > 0, else 0; in place. Return the sum of da."""
    zero = a.dtype.type(0)
    total = zero
    for w in range(a.size):
        da[w] = da[w] if a[w] > zero else zero
        total += da[w]
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


@inner
def activate(sizes, b, W, x, next_x, room, m):
    """Write A of an image, in place m of the room.

    Have the next image fetched meanwhile; return how many parts of it are.
    """
    part = 0
    padded = room.padded[m]
    pad_image(x, sizes, padded)
    n_cells = sizes.H // sizes.p * sizes.row
    pools = sizes.p * sizes.q > 1
    maps = room.A[m].reshape(len(b), n_cells)
    for first in range(0, len(b), FILTERS):
        filters = slice(first, min(first + FILTERS, len(b)))
        a = maps[filters]
        z = room.z[: len(a)] if pools else a
        for phase in range(sizes.q):
            cells = slice(phase * sizes.p * n_cells, (phase + 1) * sizes.p * n_cells)
            conv_forward(padded, room.offsets[phase], W[filters], z, cells)
        prefetch(next_x, part)
        for f in range(len(a)):
            if pools:
                pool_forward(z[f].reshape(-1, n_cells), room.winners[m, first + f], a[f])
            relu_forward(a[f], b[first + f], sizes)
            prefetch(next_x, part + 1 + f)
        part += 1 + len(a)
    return part


@inner
def activate_backward(sizes, db, dW, room, m, next_x, part):
    """Add the gradients of the filters, given dA in place m of the room.

    Have the next image fetched meanwhile, from a part on.
    """
    padded = room.padded[m]
    n_cells = sizes.H // sizes.p * sizes.row
    pools = sizes.p * sizes.q > 1
    maps, dmaps = room.A[m].reshape(len(db), n_cells), room.dA[m].reshape(len(db), n_cells)
    for first in range(0, len(db), FILTERS):
        filters = slice(first, min(first + FILTERS, len(db)))
        da = dmaps[filters]
        for f in range(len(da)):
            db[first + f] += relu_backward(da[f], maps[first + f])
            if pools:
                winners = room.winners[m, first + f]
                pool_backward(da[f], winners, room.dz[f].reshape(-1, n_cells))
        prefetch(next_x, part)
        part += 1
        dz = room.dz[: len(da)] if pools else da
        for phase in range(sizes.q):
            cells = slice(phase * sizes.p * n_cells, (phase + 1) * sizes.p * n_cells)
            conv_backward(dz, cells, padded, room.offsets[phase], dW[filters])


@inner
def dense_forward(A, params, T, first, n_images):
    """T = A V' + c, for the images from the first."""
    for k in range(len(params.c)):
        v, c = params.V[k], params.c[k]
        m = 0
        while n_images - m >= 4:
            products = dot_four(v, A[m], A[m + 1], A[m + 2], A[m + 3])
            for i in range(4):
                T[first + m + i, k] = products[i] + c
            m += 4
        for i in range(m, n_images):
            T[first + i, k] = dot(A[i], v) + c


@inner
def dense_backward(room, params, grads, learn_filters, learn_dense, n_images, are_first):
    """dV += dT' A; dc += sum_n dT; dA = dT V, where dT is not 0.

    The first images of a batch overwrite dV, which saves a way to memory and back.
    """
    for k in range(len(params.c)):
        for m in range(n_images):
            dt = room.dT[m, k]
            if learn_filters and room.counts[m] and k == 0:
                scale(dt, params.V[k], room.dA[m])
            elif learn_filters and room.counts[m]:
                add_scaled(dt, params.V[k], room.dA[m])
            if learn_dense and are_first and m == 0:
                scale(dt, room.A[m], grads.V[k])
            elif learn_dense and room.counts[m]:
                add_scaled(dt, room.A[m], grads.V[k])
            if learn_dense:
                grads.c[k] += dt


@inner
def forward(sizes, params, X, rows, room, T, first, n_images):
    """Write the logits of the images from the first, no more than there is room for.

    Return the image after them, or nothing, and how many parts of it are fetched.
    """
    next_x, part = X[0, :0], 0
    for m in range(first, first + n_images):
        next_x = X[rows[m + 1]] if m + 1 < len(rows) else X[0, :0]
        part = activate(sizes, params.b, params.W, X[rows[m]], next_x, room, m - first)
    dense_forward(room.A, params, T, first, n_images)
    return next_x, part


@inner
def gradients_of(
    sizes, params, grads, learn_filters, learn_dense, data, factor, room, T, start, stop, adds
):
    """Write the logits of some images, and the gradients of their loss, times a factor.

    ``adds``: add to the gradients that there are.
    """
    if not adds:
        for f in range(len(params.b)):
            grads.b[f] = 0
            grads.W[f, :] = 0
        grads.c[:] = 0
    for first in range(start, stop, len(room.A)):
        n_images = min(len(room.A), stop - first)
        next_x, part = forward(sizes, params, data.X, data.rows, room, T, first, n_images)
        prefetch(next_x, part)
        for m in range(n_images):
            n = data.rows[first + m]
            room.counts[m] = log_loss_backward(
                T[first + m], data.Y[n], factor * data.s[n], room.dT[m]
            )
        prefetch(next_x, part + 1)
        are_first = first == start and not adds
        dense_backward(room, params, grads, learn_filters, learn_dense, n_images, are_first)
        prefetch(next_x, part + 2)
        if learn_filters:
            for m in range(n_images):
                if room.counts[m]:
                    activate_backward(sizes, grads.b, grads.W, room, m, next_x, part + 3)


@outer
def logits(sizes, params, X, rows, room, T):
    """Write the logits of the images in some rows of X."""
    for first in range(0, len(rows), len(room.A)):
        n_images = min(len(room.A), len(rows) - first)
        forward(sizes, params, X, rows, room, T, first, n_images)


@outer
def logits_and_grad(sizes, params, grads, learn_filters, learn_dense, data, room, T, adds):
    """Write the logits of images, and write or add the gradient of their loss."""
    one, n = T.dtype.type(1), len(data.rows)
    gradients_of(sizes, params, grads, learn_filters, learn_dense, data, one, room, T, 0, n, adds)


class Data(NamedTuple):
    """Images, targets and weights, of which some rows are visited."""

    X: np.ndarray  # (n, H * W * C)
    Y: np.ndarray  # (n, n_outputs)
    s: np.ndarray  # (n,)
    rows: np.ndarray  # their order


class Training(NamedTuple):
    """What stays the same during an epoch."""

    params: NamedTuple  # b, W, V, c: views of one vector
    grads: NamedTuple
    theta: np.ndarray  # the pieces of the vectors that are learnt
    dtheta: np.ndarray
    learn_filters: bool
    learn_dense: bool
    alpha: float
    batch_size: int


@inner
def batch_gradient(sizes, training, data, room, T, start, stop):
    """Write the logits of a batch, and the gradient of its mean loss and penalty."""
    params, grads = training.params, training.grads
    learnt = training.learn_filters, training.learn_dense
    factor = T.dtype.type(1) / T.dtype.type(stop - start)
    gradients_of(sizes, params, grads, *learnt, data, factor, room, T, start, stop, False)
    if training.alpha > 0:
        for f in range(len(params.b)):
            add_scaled(training.alpha, params.W[f], grads.W[f])
        for k in range(len(params.c)):
            add_scaled(training.alpha, params.V[k], grads.V[k])


@outer
def sgd_epoch(sizes, training, data, room, T, eta, momentum, velocity):
    """Take a step of SGD for every batch."""
    theta, gradient = training.theta, training.dtheta
    for start in range(0, len(data.rows), training.batch_size):
        stop = min(start + training.batch_size, len(data.rows))
        batch_gradient(sizes, training, data, room, T, start, stop)
        if momentum > 0:
            for k in range(theta.size):
                velocity[k] = momentum * velocity[k] - eta * gradient[k]
                theta[k] += velocity[k]
        else:
            add_scaled(-eta, gradient, theta)


@outer
def adam_epoch(sizes, training, data, room, T, eta, beta_1, beta_2, epsilon, m, v, t):
    """Take a step of Adam for every batch.

    ``t`` is the number of steps that were taken before; return what it is now.
    """
    theta, gradient = training.theta, training.dtheta
    number = T.dtype.type
    decay_m, new_m = number(beta_1), number(1 - beta_1)
    decay_v, new_v = number(beta_2), number(1 - beta_2)
    for start in range(0, len(data.rows), training.batch_size):
        stop = min(start + training.batch_size, len(data.rows))
        batch_gradient(sizes, training, data, room, T, start, stop)
        t += 1
        step, scale = number(eta / (1 - beta_1**t)), number(1 / (1 - beta_2**t))
        for k in range(theta.size):
            m[k] = decay_m * m[k] + new_m * gradient[k]
            v[k] = decay_v * v[k] + new_v * (gradient[k] * gradient[k])
            theta[k] -= step * m[k] / (np.sqrt(scale * v[k]) + number(epsilon))
    return t
