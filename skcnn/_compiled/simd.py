"""Sums of products that stay in registers, written as vectors of LLVM.

Both directions of a convolution and of a dense layer are one of two sums of products::

    z[f, q] = sum_k W[f, k] * x[q + offsets[k]]     `weighted_sums`
    dW[f, k] = sum_q z[f, q] * x[q + offsets[k]]    `inner_products`

In one cycle a core multiplies and adds two vectors, and loads at most two. A result can be used
four cycles later. So at least eight sums must be computed at the same time, and each vector that is
loaded must be used more than once. For F filters and V vectors of pixels there are F * V sums; a
tap needs V vectors and F weights, and each weight is copied to all lanes. With 4 x 3 sums, three
vectors and a weight, the sixteen registers that most processors have are full. AVX-512 and Arm have
thirty-two: with 8 x 2 sums, some are left for vectors that are loaded early. A sum is stored only
after the last tap. The gradient of the filters is summed over pixels, with 4 x 3 or 4 x 6 sums of
filters and taps.

On one thread with AVX2, layers of 32 to 128 channels reached 0.8 to 0.9 of the speed of matrix
products in the forward pass, and 0.9 to 1.0 in the gradient of the filters
(``python benchmarks/kernels.py``).

For Georganas et al., "Anatomy of high-performance deep learning convolutions" (2018), who
generate machine code, these are the two kernels of a convolution too.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba import config
from numba.core import cgutils

from .jit import shared
from .layout import FILTERS
from .memory import behind, part
from .vectors import N_REGISTERS, VECTOR_BYTES, new_kernel

LONE_VECTORS = 8  # of pixels, of a filter that is left over
LONE_TAPS = 9  # likewise: all those of a filter of side 3
MAX_INPUTS = 2**16  # so many numbers of x stay in the L2 cache, while filters pass
MAX_RUN = 1024  # pixels: so many of four filters stay in the L1 cache, while taps pass


BLOCK, VECTORS, TAPS = (8, 2, 6) if N_REGISTERS == 32 else (4, 3, 3)


class Rows(NamedTuple):
    """A matrix within an array, whose element i, k is at i * row + k * step."""

    values: np.ndarray
    row: int
    step: int


class Runs(NamedTuple):
    """Pixels that are visited: runs that begin so far apart, of the same length."""

    number: int
    stride: int
    length: int


def _weighted_sums(n_filters, n_vectors):
    """Return the kernel for so many filters, and vectors of pixels at a time.

    The pixels that are left over are taken a vector at a time.
    """
    if config.DISABLE_JIT:
        return partial(_slow_weighted_sums, n_filters)

    def code(vectors, builder, arrays, numbers):
        (W, x, offsets, z), (W_row, W_step, n_taps, z_row, length, adds) = arrays, numbers
        number = length.type
        W_starts = [builder.mul(W_row, number(f)) for f in range(n_filters)]
        z_starts = [builder.mul(z_row, number(f)) for f in range(n_filters)]
        sums = [[vectors.new_sum() for _ in range(n_vectors)] for _ in range(n_filters)]

        def compute(pixels, mask=None):
            rows = [row[: len(pixels)] for row in sums]
            places = [[builder.add(start, q) for q in pixels] for start in z_starts]
            pairs = [pair for row in zip(rows, places) for pair in zip(*row)]
            for total, _ in pairs:
                builder.store(vectors.zero, total)
            with builder.if_then(builder.icmp_signed("!=", adds, number(0))):
                for total, place in pairs:
                    builder.store(vectors.load(z, place, mask), total)
            with cgutils.for_range(builder, n_taps) as loop:
                offset = builder.load(builder.gep(offsets, [loop.index]))
                inputs = [vectors.load(x, builder.add(offset, q), mask) for q in pixels]
                column = builder.mul(loop.index, W_step)
                for start, row in zip(W_starts, rows):
                    weight = vectors.copied(W, builder.add(start, column))
                    for total, values in zip(row, inputs):
                        vectors.add_product(total, values, weight)
            for total, place in pairs:
                vectors.store(builder.load(total), z, place, mask)

        def compute_together(q):
            compute([builder.add(q, number(v * vectors.n)) for v in range(n_vectors)])

        end = vectors.steps(length, n_vectors, compute_together)
        vectors.rest(end, length, lambda q, mask: compute([q], mask))

    return new_kernel(f"weighted_sums_{n_filters}_{n_vectors}", code)


def _weighted_sums_of_taps(n_taps):
    """Return the kernel for one filter, and taps whose number is a multiple.

    Their weights stay in registers, and sums are left in memory between so many taps and the next.
    For a single filter that is less work: a weight is loaded once for all pixels.
    """
    if config.DISABLE_JIT:
        return partial(_slow_weighted_sums, 1)

    def code(vectors, builder, arrays, numbers):
        (W, x, offsets, z), (_, W_step, n_all_taps, _, length, adds) = arrays, numbers
        number = length.type
        loop = cgutils.for_range_slice(builder, number(0), n_all_taps, number(n_taps))
        with loop as (first, _):
            taps = [builder.add(first, number(k)) for k in range(n_taps)]
            weights = [vectors.copied(W, builder.mul(W_step, k)) for k in taps]
            starts = [builder.load(builder.gep(offsets, [k])) for k in taps]
            adds_now = builder.icmp_signed("!=", builder.or_(adds, first), number(0))

            def compute(q, mask=None):
                total = vectors.new_sum()
                before = vectors.load(z, q, mask)
                builder.store(builder.select(adds_now, before, vectors.zero), total)
                for weight, start in zip(weights, starts):
                    vectors.add_product(total, vectors.load(x, builder.add(q, start), mask), weight)
                vectors.store(builder.load(total), z, q, mask)

            vectors.rest(vectors.steps(length, 1, compute), length, compute)

    return new_kernel(f"weighted_sums_of_{n_taps}_taps", code)


def _inner_products(n_filters, n_taps, n_together):
    """Return the kernel for so many filters and taps, and vectors of pixels at a time.

    Of one tap, the pixels that are left over are taken a vector at a time. Of several, runs must
    have the length of whole vectors: a mask would take a register from a sum.
    """
    if config.DISABLE_JIT:
        return partial(_slow_inner_products, n_filters, n_taps)

    def code(vectors, builder, arrays, numbers):
        (z, x, offsets, out), (z_row, n_runs, stride, length, out_row, out_step) = arrays, numbers
        number, rows, taps = length.type, range(n_filters), range(n_taps)
        z_starts = [builder.mul(z_row, number(f)) for f in rows]
        x_starts = [builder.load(builder.gep(offsets, [number(k)])) for k in taps]
        sums = [[[vectors.new_sum() for _ in taps] for _ in rows] for _ in range(n_together)]

        def add(sums, q, mask=None):
            inputs = [vectors.load(x, builder.add(q, start), mask) for start in x_starts]
            for f in rows:
                values = vectors.load(z, builder.add(q, z_starts[f]), mask)
                for k in taps:
                    vectors.add_product(sums[f][k], values, inputs[k])

        def add_together(q):
            for u in range(n_together):
                add(sums[u], builder.add(q, number(u * vectors.n)))

        with cgutils.for_range(builder, n_runs) as run:
            first = builder.mul(run.index, stride)
            end = vectors.steps(length, n_together, lambda q: add_together(builder.add(first, q)))
            if n_taps == 1:
                vectors.rest(end, length, lambda q, mask: add(sums[0], builder.add(first, q), mask))
        for f in rows:
            for k in taps:
                total = builder.load(sums[0][f][k])
                for others in sums[1:]:
                    total = builder.fadd(total, builder.load(others[f][k]))
                row, column = builder.mul(out_row, number(f)), builder.mul(out_step, number(k))
                place = builder.gep(out, [builder.add(row, column)])
                builder.store(builder.fadd(builder.load(place), vectors.sum(total)), place)

    return new_kernel(f"inner_products_{n_filters}_{n_taps}_{n_together}", code)


def _slow_weighted_sums(n_filters, arrays, numbers):
    """The same as Python."""
    W, x, offsets, z = arrays
    W_row, W_step, n_taps, z_row, length, adds = numbers
    for f in range(n_filters):
        total = z[f * z_row :][:length]
        if not adds:
            total[:] = 0
        for k in range(n_taps):
            total += W[f * W_row + k * W_step] * x[offsets[k] :][:length]


def _slow_inner_products(n_filters, n_taps, arrays, numbers):
    """The same as Python."""
    z, x, offsets, out = arrays
    z_row, n_runs, stride, length, out_row, out_step = numbers
    for f in range(n_filters):
        for k in range(n_taps):
            for run in range(n_runs):
                first = run * stride
                values, inputs = z[f * z_row + first :], x[int(offsets[k]) + first :]
                out[f * out_row + k * out_step] += values[:length] @ inputs[:length]


_weighted_sums_of_block = _weighted_sums(BLOCK, VECTORS)
_weighted_sums_of_one = _weighted_sums(1, LONE_VECTORS)
_weighted_sums_of_one_in_registers = _weighted_sums_of_taps(LONE_TAPS)
_weighted_sum_of_one_tap = _weighted_sums_of_taps(1)


@shared
def weighted_sums(W, x, offsets, z, n_filters, length, adds):
    """z[f, q] = sum_k W[f, k] * x[q + offsets[k]], or z[f, q] += the same.

    Parameters
    ----------
    W : Rows of shape (n_filters, n_taps)
    x : ndarray
    offsets : ndarray of shape (n_taps,)
    z : Rows of shape (n_filters, length)
        Elements of a row lie side by side.
    n_filters, length : int
    adds : bool
    """
    n_taps, row, step, adds = offsets.size, np.intp(W.row), np.intp(W.step), np.intp(adds)
    in_blocks, in_registers = n_filters // BLOCK * BLOCK, n_taps // LONE_TAPS * LONE_TAPS
    together = VECTORS * VECTOR_BYTES // x.itemsize
    chunk = max(1, MAX_INPUTS // (n_taps * together)) * together
    for q in range(0, length, chunk):
        inputs, n = behind(x, q), min(chunk, length - q)
        for f in range(0, in_blocks, BLOCK):
            w, out = behind(W.values, f * row), behind(z.values, f * z.row + q)
            numbers = row, step, n_taps, z.row, n, adds
            _weighted_sums_of_block((w, inputs, offsets, out), numbers)
        for f in range(in_blocks, n_filters):
            w, out = behind(W.values, f * row), behind(z.values, f * z.row + q)
            if in_registers > 0:
                numbers = row, step, in_registers, z.row, n, adds
                _weighted_sums_of_one_in_registers((w, inputs, offsets, out), numbers)
            if in_registers < n_taps:
                left = n_taps - in_registers
                arrays = behind(w, in_registers * step), inputs, behind(offsets, in_registers), out
                numbers = row, step, left, z.row, n, adds + in_registers
                if left == 1:
                    _weighted_sum_of_one_tap(arrays, numbers)
                else:
                    _weighted_sums_of_one(arrays, numbers)


def _inner_products_in_blocks(n_filters, n_taps, n_together):
    """Return a function for filters whose number is a multiple."""
    block = _inner_products(n_filters, n_taps, 1)
    one_tap = _inner_products(n_filters, 1, n_together)

    @shared
    def blocks(z, first, last, x, offsets, runs, out):
        lanes, length = VECTOR_BYTES // x.itemsize, runs.length
        in_blocks, whole = offsets.size // n_taps * n_taps, length // lanes * lanes
        for f in range(first, last, n_filters):
            values, sums = behind(z.values, f * z.row), behind(out.values, f * out.row)
            for k in range(0, in_blocks, n_taps):
                o, to = behind(offsets, k), behind(sums, k * out.step)
                numbers = z.row, runs.number, runs.stride, whole, out.row, out.step
                block((values, x, o, to), numbers)
            for k in range(offsets.size):
                q = whole if k < in_blocks else 0
                if q < length:
                    o, to = part(offsets, k, 1), behind(sums, k * out.step)
                    numbers = z.row, runs.number, runs.stride, length - q, out.row, out.step
                    one_tap((behind(values, q), behind(x, q), o, to), numbers)

    return blocks


_inner_products_of_blocks = _inner_products_in_blocks(FILTERS, TAPS, 2)
_inner_products_of_others = _inner_products_in_blocks(1, LONE_TAPS, LONE_VECTORS)


@shared
def inner_products(z, n_filters, x, offsets, runs, out):
    """out[f, k] += sum_q z[f, q] * x[q + offsets[k]], over runs of pixels q.

    Parameters
    ----------
    z : Rows of shape (n_filters, n_pixels)
        Elements of a row lie side by side.
    n_filters : int
    x : ndarray
    offsets : ndarray of shape (n_taps,)
    runs : Runs
    out : Rows of shape (n_filters, n_taps)
    """
    out = Rows(out.values, np.intp(out.row), np.intp(out.step))
    stride, length, in_blocks = np.intp(runs.stride), runs.length, n_filters // FILTERS * FILTERS
    longest = MAX_RUN if offsets.size > TAPS else length  # what is used once need not be cached
    together = max(1, longest // length)
    for run in range(0, runs.number, together):
        n = min(together, runs.number - run)
        for q in range(run * stride, run * stride + length, longest):
            part_of_runs = Runs(n, stride, min(longest, run * stride + length - q))
            values, inputs = Rows(behind(z.values, q), z.row, np.intp(1)), behind(x, q)
            _inner_products_of_blocks(
                values, np.intp(0), in_blocks, inputs, offsets, part_of_runs, out
            )
            _inner_products_of_others(
                values, in_blocks, n_filters, inputs, offsets, part_of_runs, out
            )
