"""Pooling, for one filter and a group of images; with max pooling, intercept and ReLU follow it."""

import numpy as np

from .jit import inner
from .memory import part


@inner
def maximum(x, x_offsets, y, y_offsets, shift, out, out_offsets):
    """out = the greater of x and y, x if they are equal, and its offset; those of y are shifted."""
    more = x.dtype.type(shift)
    for j in range(out.size):
        better = y[j] > x[j]
        out[j] = y[j] if better else x[j]
        out_offsets[j] = y_offsets[j] + more if better else x_offsets[j]


@inner
def max_forward(z, b, layer, buffers, a, argmax):
    """a = ReLU(b + the maximum of z in each window), for one filter; argmax = where that is.

    z has the rows of one window, or of all. Of equals it is that in the first column, and there in
    the first row. Comparisons give numbers and not branches, which would be mispredicted half the
    time. Values of argmax are offsets from the first pixel of a window, counted in pixels, so that
    float32 has them exactly up to 2**24.
    """
    zero = z.dtype.type(0)
    m, row = layer.group_size, layer.row
    pixels_a_row = row // m
    n_columns, step = layer.W // layer.q, layer.q * m
    length = n_columns * step
    # In runs over whole rows, that is less work than to go window by window: the greatest of each
    # column, then of two neighbouring columns from any column on, of four, of eight, up to the
    # width of a window. Each result is written to the one of two buffers that it is not made of.
    zeros = part(buffers, 0, length)
    zeros[:] = zero
    for i in range(layer.n_rows // layer.p):
        start, other = length, 3 * length
        x, x_offsets = part(z, i * layer.p * row, length), zeros
        for u in range(1, layer.p):
            y = part(z, (i * layer.p + u) * row, length)
            out, out_offsets = part(buffers, start, length), part(buffers, start + length, length)
            maximum(x, x_offsets, y, zeros, u * pixels_a_row, out, out_offsets)
            x, x_offsets, start, other = out, out_offsets, other, start
        width = 1
        while width < layer.q:
            shift = min(width, layer.q - width)
            n = x.size - shift * m
            y, y_offsets = part(x, shift * m, n), part(x_offsets, shift * m, n)
            out, out_offsets = part(buffers, start, n), part(buffers, start + length, n)
            maximum(x, x_offsets, y, y_offsets, shift, out, out_offsets)
            x, x_offsets, start, other = out, out_offsets, other, start
            width += shift
        for j in range(n_columns):
            outputs = part(a, i * layer.A_row + j * m, m)
            offsets = part(argmax, i * layer.dA_row + j * m, m)
            maxima, max_offsets = part(x, j * step, m), part(x_offsets, j * step, m)
            for n in range(m):
                value = maxima[n] + b
                outputs[n] = zero if value < zero else value
                offsets[n] = max_offsets[n]


@inner
def max_backward(da, a, argmax, layer, dz):
    """dz = da at the maximum of each window where a > 0, else 0, for one filter. Return its sum."""
    total = zero = a.dtype.type(0)
    m, row = layer.group_size, layer.row
    length = layer.W * m
    for i in range(layer.H):
        part(dz, i * row, length)[:] = zero
    for i in range(layer.H // layer.p):
        gradients = part(da, i * layer.dA_row, layer.dA_row)
        outputs = part(a, i * layer.A_row, length)
        for j in range(layer.dA_row):
            value = gradients[j] if outputs[j] > zero else zero
            gradients[j] = value
            total += value
        offsets = part(argmax, i * layer.dA_row, layer.dA_row)
        w = np.uintp(0)
        for j in range(layer.W // layer.q):
            window = np.uintp(i * layer.p * row + j * layer.q * m)
            for n in range(np.uintp(m)):
                dz[window + n + np.uintp(offsets[w]) * np.uintp(m)] = gradients[w]
                w += np.uintp(1)
    return total


@inner
def average_forward(r, layer, buffers, a):
    """a = the mean of each window of r, for one filter and the rows of one window, or of all."""
    m, row, zero = layer.group_size, layer.row, r.dtype.type(0)
    length, n_columns = layer.W * m, layer.W // layer.q
    scale = r.dtype.type(1) / r.dtype.type(layer.p * layer.q)
    sums = part(buffers, 0, length)
    for i in range(layer.n_rows // layer.p):
        sums[:] = zero
        for u in range(layer.p):
            values = part(r, (i * layer.p + u) * row, length)
            for j in range(length):
                sums[j] += values[j]
        for j in range(n_columns):
            means = part(a, i * layer.A_row + j * m, m)
            means[:] = zero
            for v in range(layer.q):
                values = part(sums, (j * layer.q + v) * m, m)
                for n in range(m):
                    means[n] += scale * values[n]


@inner
def average_backward(da, r, layer, dz):
    """dz = da / size of the windows where r > 0, else 0, for one filter. Return the sum of dz."""
    total = zero = r.dtype.type(0)
    m, row = layer.group_size, layer.row
    length = layer.W * m
    scale = r.dtype.type(1) / r.dtype.type(layer.p * layer.q)
    for i in range(layer.H // layer.p * layer.p):
        values, responses = part(r, i * row, length), part(dz, i * row, length)
        for j in range(layer.W // layer.q * layer.q):
            gradients = part(da, i // layer.p * layer.dA_row + j // layer.q * m, m)
            for n in range(m):
                k = np.uintp(j * m + n)
                value = scale * gradients[n] if values[k] > zero else zero
                responses[k] = value
                total += value
        part(responses, layer.W // layer.q * layer.q * m, layer.W % layer.q * m)[:] = zero
    for i in range(layer.H // layer.p * layer.p, layer.H):
        part(dz, i * row, length)[:] = zero
    return total
