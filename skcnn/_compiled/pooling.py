"""Pooling, for one filter and a group of images; with max pooling, intercept and ReLU follow it.

z has the rows of one window, or of all. The position of a maximum is an offset from the first pixel
of its window, counted in pixels, so that float32 has it exactly up to 2**24.
"""

import numpy as np
from numba import config
from numba.core import cgutils

from .jit import inner
from .memory import behind, part
from .vectors import new_kernel


def _max_of_images(with_argmax):
    """Return the kernel for a row of windows, as `max_of_numbers` computes it; lanes are images.

    Each value is compared once. Where the compiler makes vectors of the loop over images itself,
    what surrounds that loop takes several times as long as the loop.
    """

    def code(vectors, builder, arrays, numbers):
        (z, b, a, argmax), (row, p, q, m, n_columns, pixels_a_row) = arrays, numbers
        best, position = vectors.new_sum(), vectors.new_sum()
        intercept = vectors.copied(b, m.type(0))
        with cgutils.for_range(builder, n_columns) as column:
            first = builder.mul(column.index, builder.mul(q, m))
            to = builder.mul(column.index, m)

            def compute(image, mask=None):
                start = builder.add(first, image)
                builder.store(vectors.load(z, start, mask), best)
                builder.store(vectors.zero, position)
                with cgutils.for_range(builder, q) as v, cgutils.for_range(builder, p) as u:
                    place = builder.add(builder.mul(u.index, row), builder.mul(v.index, m))
                    value = vectors.load(z, builder.add(start, place), mask)
                    is_better = vectors.is_greater(value, builder.load(best))
                    builder.store(builder.select(is_better, value, builder.load(best)), best)
                    offset = builder.add(builder.mul(u.index, pixels_a_row), v.index)
                    offset = builder.select(is_better, vectors.of(offset), builder.load(position))
                    builder.store(offset, position)
                total, place = builder.fadd(builder.load(best), intercept), builder.add(to, image)
                is_negative = builder.fcmp_ordered("<", total, vectors.zero)
                total = builder.select(is_negative, vectors.zero, total)
                vectors.store(total, a, place, mask)
                if with_argmax:
                    vectors.store(builder.load(position), argmax, place, mask)

            vectors.rest(vectors.steps(m, 1, compute), m, compute)

    return new_kernel("max_and_argmax" if with_argmax else "max", code)


def _gradient_of_max_of_images():
    """Return the kernel for a row of windows, as `gradient_of_max_of_numbers` computes it."""

    def code(vectors, builder, arrays, numbers):
        (da, a, argmax, total, dz), (row, p, q, m, n_columns, pixels_a_row) = arrays, numbers
        sums = vectors.new_sum()
        with cgutils.for_range(builder, n_columns) as column:
            first = builder.mul(column.index, builder.mul(q, m))
            start = builder.mul(column.index, m)

            def compute(image, mask=None):
                place, to = builder.add(start, image), builder.add(first, image)
                is_active = builder.fcmp_ordered(">", vectors.load(a, place, mask), vectors.zero)
                gradient = vectors.load(da, place, mask)
                gradient = builder.select(is_active, gradient, vectors.zero)
                builder.store(builder.fadd(builder.load(sums), gradient), sums)
                position = vectors.load(argmax, place, mask)
                with cgutils.for_range(builder, q) as v, cgutils.for_range(builder, p) as u:
                    offset = builder.add(builder.mul(u.index, pixels_a_row), v.index)
                    is_there = builder.fcmp_ordered("==", position, vectors.of(offset))
                    pixel = builder.add(builder.mul(u.index, row), builder.mul(v.index, m))
                    value = builder.select(is_there, gradient, vectors.zero)
                    vectors.store(value, dz, builder.add(to, pixel), mask)

            vectors.rest(vectors.steps(m, 1, compute), m, compute)
        before = builder.load(total)
        builder.store(builder.fadd(before, vectors.sum(builder.load(sums))), total)

    return new_kernel("gradient_of_max", code)


@inner
def max_of_numbers(arrays, numbers):
    """a = ReLU(b + the maximum of z in each window of a row); argmax = where that is.

    Of equals it is that in the first column, and there in the first row. NaN is greater than
    numbers, as in NumPy.
    """
    (z, b, a, argmax), (row, p, q, m, n_columns, pixels_a_row) = arrays, numbers
    zero = z.dtype.type(0)
    for j in range(n_columns):
        for n in range(m):
            start = j * q * m + n
            best, position = z[np.uintp(start)], zero
            for v in range(q):
                for u in range(p):
                    value = z[np.uintp(start + u * row + v * m)]
                    if value > best or value != value:
                        best, position = value, z.dtype.type(u * pixels_a_row + v)
            value = best + b[0]
            a[np.uintp(j * m + n)] = zero if value < zero else value
            argmax[np.uintp(j * m + n)] = position


@inner
def gradient_of_max_of_numbers(arrays, numbers):
    """dz = da at the maximum of each window of a row where a > 0, else 0; total[0] += its sum."""
    (da, a, argmax, total, dz), (row, p, q, m, n_columns, pixels_a_row) = arrays, numbers
    zero = a.dtype.type(0)
    for j in range(n_columns):
        for n in range(m):
            k = np.uintp(j * m + n)
            gradient = da[k] if a[k] > zero else zero
            total[0] += gradient
            for v in range(q):
                for u in range(p):
                    is_there = argmax[k] == a.dtype.type(u * pixels_a_row + v)
                    pixel = np.uintp((j * q + v) * m + n + u * row)
                    dz[pixel] = gradient if is_there else zero


if config.DISABLE_JIT:
    _max, _max_alone = max_of_numbers, max_of_numbers
    _gradient_of_max = gradient_of_max_of_numbers
else:
    _max, _max_alone = _max_of_images(with_argmax=True), _max_of_images(with_argmax=False)
    _gradient_of_max = _gradient_of_max_of_images()


@inner
def max_forward(z, b, layer, a, argmax):
    """a = ReLU(b + the maximum of z in each window); argmax = where that is, if it is wanted."""
    m, row, n_columns = layer.group_size, layer.row, layer.W // layer.q
    numbers = row, layer.p, layer.q, m, n_columns, row // m
    for i in range(layer.n_rows // layer.p):
        rows, outputs = behind(z, i * layer.p * row), behind(a, i * layer.A_row)
        positions = behind(argmax, i * layer.dA_row if layer.has_argmax else 0)
        arrays = rows, b, outputs, positions
        if m == 1:
            max_of_numbers(arrays, numbers)
        elif layer.has_argmax:
            _max(arrays, numbers)
        else:
            _max_alone(arrays, numbers)


@inner
def max_backward(da, a, argmax, layer, total, dz):
    """dz = da at the maximum of each window where a > 0, else 0. Return its sum."""
    m, row, zero = layer.group_size, layer.row, a.dtype.type(0)
    p, q, n_columns = layer.p, layer.q, layer.W // layer.q
    numbers = row, p, q, m, n_columns, row // m
    total[0] = zero
    for i in range(layer.H // p):
        gradients, outputs = behind(da, i * layer.dA_row), behind(a, i * layer.A_row)
        positions, rows = behind(argmax, i * layer.dA_row), behind(dz, i * p * row)
        arrays = gradients, outputs, positions, total, rows
        if m == 1:
            gradient_of_max_of_numbers(arrays, numbers)
        else:
            _gradient_of_max(arrays, numbers)
    width = n_columns * q * m
    for i in range(layer.H // p * p):
        part(dz, i * row + width, layer.W * m - width)[:] = zero
    for i in range(layer.H // p * p, layer.H):
        part(dz, i * row, layer.W * m)[:] = zero
    return total[0]


@inner
def average_forward(r, layer, buffer, a):
    """a = the mean of each window of r."""
    m, row, zero = layer.group_size, layer.row, r.dtype.type(0)
    length, n_columns = layer.W * m, layer.W // layer.q
    scale = r.dtype.type(1) / r.dtype.type(layer.p * layer.q)
    sums = part(buffer, 0, length)
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
