"""Pooling, for one filter and a group of images; with max pooling, intercept and ReLU follow it.

z has the rows of one window, or of all.
"""

import numpy as np

from .jit import inner
from .memory import part


@inner
def maximum(x, x_offsets, y, y_offsets, shift, out, out_offsets):
    """out = the greater of x and y, x if they are equal, and its offset; those of y are shifted.

    NaN is greater than numbers, as in NumPy.
    """
    more = x.dtype.type(shift)
    for j in range(out.size):
        better = (y[j] > x[j]) | (y[j] != y[j])
        out[j] = y[j] if better else x[j]
        out_offsets[j] = y_offsets[j] + more if better else x_offsets[j]


@inner
def relu_of_maxima(x, x_offsets, step, b, a, argmax):
    """a = ReLU(x + b), and its offset, for every so many elements of x."""
    zero, k = x.dtype.type(0), np.uintp(0)
    for j in range(np.uintp(a.size)):
        value = x[k] + b
        a[j] = zero if value < zero else value
        argmax[j] = x_offsets[k]
        k += np.uintp(step)


@inner
def max_forward(z, b, layer, buffers, a, argmax):
    """a = ReLU(b + the maximum of z in each window); argmax = where that is.

    Of equals it is that in the first column, and there in the first row. Comparisons give numbers
    and not branches, which would be mispredicted half the time. Values of argmax are offsets from
    the first pixel of a window, counted in pixels, so that float32 has them exactly up to 2**24.
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
        outputs = part(a, i * layer.A_row, n_columns * m)
        offsets = part(argmax, i * layer.dA_row, n_columns * m)
        if m == 1:
            relu_of_maxima(x, x_offsets, step, b, outputs, offsets)
        else:
            for j in range(n_columns):
                maxima, max_offsets = part(x, j * step, m), part(x_offsets, j * step, m)
                out, out_offsets = part(outputs, j * m, m), part(offsets, j * m, m)
                relu_of_maxima(maxima, max_offsets, 1, b, out, out_offsets)


@inner
def greater(x, y, out):
    """out = the greater of x and y; NaN is greater than numbers."""
    for j in range(out.size):
        out[j] = y[j] if (y[j] > x[j]) | (y[j] != y[j]) else x[j]


@inner
def greatest_of(x, size, b, out):
    """out = ReLU(b + the greatest of so many neighbours in x)."""
    for j in range(np.uintp(out.size)):
        first = j * np.uintp(size)
        value = x[first]
        for k in range(np.uintp(1), np.uintp(size)):
            other = x[first + k]
            value = other if (other > value) | (other != other) else value
        value += b
        out[j] = out.dtype.type(0) if value < 0 else value


@inner
def max_alone(z, b, layer, buffers, a):
    """a = ReLU(b + the maximum of z in each window), where no gradient is wanted."""
    m, row, zero = layer.group_size, layer.row, z.dtype.type(0)
    n_columns = layer.W // layer.q
    for i in range(layer.n_rows // layer.p):
        x = part(z, i * layer.p * row, n_columns * layer.q * m)
        outputs = part(a, i * layer.A_row, n_columns * m)
        for u in range(1, layer.p):
            out = part(buffers, 0, x.size)
            greater(x, part(z, (i * layer.p + u) * row, x.size), out)
            x = out
        if m == 1:
            greatest_of(x, layer.q, b, outputs)
        else:
            for j in range(n_columns):
                out, start = part(outputs, j * m, m), j * layer.q * m
                greater(part(x, start, m), part(x, start + (layer.q - 1) * m, m), out)
                for v in range(1, layer.q - 1):
                    greater(out, part(x, start + v * m, m), out)
            for j in range(outputs.size):
                value = outputs[j] + b
                outputs[j] = zero if value < zero else value


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
    """a = the mean of each window of r."""
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
