"""The convolution layer: cross-correlation, intercept, ReLU and pooling, for a group of images.

The images come last, so that one loop goes over the pixels of a row and over all images:
(C, H, W, m). The padding lies around an image, in rows of W + width - 1 pixels; so the input of a
tap lies at the same *offset* from every pixel. With m = 1 one loop goes over all pixels of an
image, in rows of the same length: those beyond W are computed, and left out afterwards.

Taps are taken nine at a time, all of a filter of side 3, which keeps the response in registers and
avoids most loads and stores; or three at a time for four filters, so that what is loaded is used
four times. More of both would not fit in the sixteen vector registers that all processors have.
"""

import numpy as np

from .activation import relu_backward, relu_backward_in_place, relu_forward, relu_in_place
from .jit import inlined, inner
from .layout import FILTERS
from .memory import four_parts, matrix, part
from .pooling import average_backward, average_forward, max_backward, max_forward
from .records import AVERAGE_POOLING, IN_PLACE, MAX_POOLING, NO_POOLING

MAX_RUN = 1024  # pixels: with four filters, dz of so many stays in the L1 cache


@inlined
def convolution_forward(layer, network, group):
    """Take the images of a group through a layer: write A, given X."""
    vector, scratch = network.vector, network.scratch
    F, H, row, Z_channel = layer.F, layer.H, layer.row, layer.Z_channel
    base = group.start // layer.group_size * layer.stride
    x = part(scratch, base + layer.X, layer.X_size)
    taps = part(network.offsets, layer.taps, layer.n_taps)
    pool_buffers = part(scratch, layer.pool_buffers, 5 * layer.W * layer.group_size)
    for f in range(0, F, FILTERS):
        n_filters = min(FILTERS, F - f)
        W = matrix(vector, layer.W_start + f * layer.filters_row, n_filters, layer.filters_row)
        Z = layer.Z + (base + f * Z_channel if layer.keeps_Z else 0)
        z = matrix(scratch, Z, n_filters, Z_channel)
        conv_forward(x, taps, W, z, layer.n_runs, layer.length, row, row)
        for i in range(n_filters):
            z = part(scratch, Z + i * Z_channel, H * row)
            b = vector[np.uintp(layer.b_start + f + i)]
            a = part(scratch, base + layer.A + (f + i) * layer.A_channel, layer.A_channel)
            if layer.pooling == MAX_POOLING:
                start = base + layer.argmax_start + (f + i) * layer.dA_channel
                max_forward(z, b, layer, pool_buffers, a, part(scratch, start, layer.dA_channel))
            elif layer.pooling == NO_POOLING:
                relu_forward(z, b, layer, a)
            else:
                relu_in_place(z, b, layer)
                if layer.pooling == AVERAGE_POOLING:
                    average_forward(z, layer, pool_buffers, a)


@inlined
def convolution_backward(layer, network, group):
    """Add the gradients of a layer, given dA, and write dX if it has one."""
    gradient, scratch, offsets = network.gradient, network.scratch, network.offsets
    F, H, row, channel = layer.F, layer.H, layer.row, layer.dZ_channel
    base = group.start // layer.group_size * layer.stride
    x = part(scratch, base + layer.X, layer.X_size)
    taps = part(offsets, layer.taps, layer.n_taps)
    length = (H - 1) * row + layer.W * layer.group_size
    for f in range(0, F, FILTERS):
        n_filters = min(FILTERS, F - f)
        dZ = layer.dZ + (f * channel if layer.has_dX else 0)
        if layer.pooling == IN_PLACE:
            dZ = base + layer.dA + f * channel
        for i in range(n_filters):
            start = base + layer.dA + (f + i) * layer.dA_channel
            da = part(scratch, start, layer.dA_channel)
            a = part(scratch, base + layer.A + (f + i) * layer.A_channel, layer.A_channel)
            dz = part(scratch, dZ + i * channel + layer.dZ_origin, H * row)
            if layer.pooling == MAX_POOLING:
                start = base + layer.argmax_start + (f + i) * layer.dA_channel
                total = max_backward(da, a, part(scratch, start, layer.dA_channel), layer, dz)
            elif layer.pooling == AVERAGE_POOLING:
                z = part(scratch, base + layer.Z + (f + i) * layer.Z_channel, H * row)
                total = average_backward(da, z, layer, dz)
            elif layer.pooling == NO_POOLING:
                total = relu_backward(da, a, layer, dz)
            else:
                total = relu_backward_in_place(dz, a)
            if layer.learns_b:
                gradient[np.uintp(layer.b_start + f + i)] += total
        if layer.learns_W:
            dz = matrix(scratch, dZ, n_filters, channel)
            filters = layer.W_start + f * layer.filters_row
            dW = matrix(gradient, filters, n_filters, layer.filters_row)
            conv_backward(dz, layer.dZ_origin, x, taps, dW, length)
    if layer.has_dX:
        # The gradient of the input is the response of the filters reversed to dz.
        n_taps, size = layer.n_reversed, layer.dX_channel
        taps = part(offsets, layer.reversed_taps, n_taps)
        dz = part(scratch, layer.dZ, F * channel)
        for c in range(0, layer.C, FILTERS):
            n_channels = min(FILTERS, layer.C - c)
            W = matrix(scratch, layer.reversed + c * n_taps, n_channels, n_taps)
            dx = matrix(scratch, base + layer.dX + c * size, n_channels, size)
            conv_forward(dz, taps, W, dx, H, layer.W * layer.group_size, row, layer.dX_row)


@inner
def load9(x, k):
    """Return nine values from x[k] on."""
    return x[k], x[k + 1], x[k + 2], x[k + 3], x[k + 4], x[k + 5], x[k + 6], x[k + 7], x[k + 8]


@inner
def load3(x, k):
    """Return three values from x[k] on."""
    return x[k], x[k + 1], x[k + 2]


@inner
def gather3(inputs, i, o):
    """Return the inputs of three taps with offsets o, for pixel i."""
    q = np.uintp(i)
    return inputs[q + o[0]], inputs[q + o[1]], inputs[q + o[2]]


@inner
def response3(w, x):
    """Return the response of three taps with weights w to their inputs x."""
    return w[0] * x[0] + w[1] * x[1] + w[2] * x[2]


@inner
def response9(inputs, i, o, w):
    """Return the response of nine taps with offsets o and weights w, for pixel i."""
    return (
        response3(w[:3], gather3(inputs, i, o[:3]))
        + response3(w[3:6], gather3(inputs, i, o[3:6]))
        + response3(w[6:], gather3(inputs, i, o[6:]))
    )


@inner
def conv_forward(x, offsets, W, z, n_runs, length, x_stride, z_stride):
    """z[f, q] = sum_k W[f, k] * x[q + offsets[k]], for one to four filters, in runs of pixels."""
    size, row, n_taps = z.shape[1], W.shape[1], offsets.size
    for run in range(n_runs):
        first, start = run * x_stride, run * z_stride
        inputs = part(x, first, x.size - first)
        if len(W) == FILTERS:
            conv_forward4(inputs, offsets, W, four_parts(z, start, size, length))
        else:
            for f in range(len(W)):
                w = part(W, f * row, n_taps)
                conv_forward1(inputs, offsets, w, part(z, f * size + start, length))


@inner
def conv_forward1(inputs, offsets, w, z):
    """The same for one filter."""
    zero = z.dtype.type(0)
    for k in range(0, offsets.size, 9):
        o, v = load9(offsets, k), load9(w, k)
        for i in range(z.size):  # LLVM makes two loops of it, for the two cases of k
            z[i] = response9(inputs, i, o, v) + (z[i] if k > 0 else zero)


@inner
def conv_forward4(inputs, offsets, W, z):
    """The same for four filters."""
    z0, z1, z2, z3 = z
    zero = z0.dtype.type(0)
    for k in range(0, offsets.size, 3):
        o = load3(offsets, k)
        w0, w1, w2, w3 = load3(W[0], k), load3(W[1], k), load3(W[2], k), load3(W[3], k)
        for i in range(z0.size):
            x = gather3(inputs, i, o)
            z0[i] = response3(w0, x) + (z0[i] if k > 0 else zero)
            z1[i] = response3(w1, x) + (z1[i] if k > 0 else zero)
            z2[i] = response3(w2, x) + (z2[i] if k > 0 else zero)
            z3[i] = response3(w3, x) + (z3[i] if k > 0 else zero)


@inner
def conv_backward(dz, origin, x, offsets, dW, length):
    """dW[f, k] += sum_q dz[f, origin + q] * x[q + offsets[k]], for one to four filters."""
    size, row, n_taps = dz.shape[1], dW.shape[1], offsets.size
    for start in range(0, length, MAX_RUN):
        inputs = part(x, start, x.size - start)
        first, n = origin + start, min(MAX_RUN, length - start)
        if len(dW) == FILTERS:
            conv_backward4(four_parts(dz, first, size, n), inputs, offsets, dW)
        else:
            for f in range(len(dW)):
                dw = part(dW, f * row, n_taps)
                conv_backward1(part(dz, f * size + first, n), inputs, offsets, dw)


@inner
def axpy3(sums, factor, x):
    """Return three sums, to each of which factor * x is added."""
    return sums[0] + factor * x[0], sums[1] + factor * x[1], sums[2] + factor * x[2]


@inner
def conv_backward1(dz, inputs, offsets, dw):
    """The same for one filter."""
    zero = dz.dtype.type(0)
    for k in range(0, offsets.size, 9):
        o = load9(offsets, k)
        a = b = c = zero, zero, zero
        for i in range(dz.size):
            a = axpy3(a, dz[i], gather3(inputs, i, o[:3]))
            b = axpy3(b, dz[i], gather3(inputs, i, o[3:6]))
            c = axpy3(c, dz[i], gather3(inputs, i, o[6:]))
        sums = a + b + c
        for m in range(9):
            dw[k + m] += sums[m]


@inner
def conv_backward4(dz, inputs, offsets, dW):
    """The same for four filters."""
    dz0, dz1, dz2, dz3 = dz
    zero = dz0.dtype.type(0)
    for k in range(0, offsets.size, 3):
        o = load3(offsets, k)
        a = b = c = d = zero, zero, zero
        for i in range(dz0.size):
            x = gather3(inputs, i, o)
            a, b = axpy3(a, dz0[i], x), axpy3(b, dz1[i], x)
            c, d = axpy3(c, dz2[i], x), axpy3(d, dz3[i], x)
        sums = a, b, c, d
        for f in range(FILTERS):
            for m in range(3):
                dW[f, k + m] += sums[f][m]
