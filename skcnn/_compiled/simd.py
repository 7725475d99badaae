"""Sums of products that stay in registers, written as vectors of LLVM.

Both directions of a convolution and of a dense layer are one of two sums of products::

    z[f, q] = sum_k W[f, k] * x[q + offsets[k]]     `weighted_sums`
    dW[f, k] = sum_q z[f, q] * x[q + offsets[k]]    `inner_products`

A core multiplies and adds two vectors a cycle, whose results are there four cycles later, and loads
two vectors a cycle at most. So at least eight sums must be on their way at a time, and what is
loaded must be used more than once. The sums of F filters and V vectors of pixels need V vectors and
F weights a tap, of which each is copied to all lanes. 4 x 3 sums, three vectors and a weight fill
the sixteen registers that most processors have; where there are thirty-two, with AVX-512 and on
Arm, 8 x 2 sums leave room for what is loaded ahead. Sums are stored after the last tap only.
The gradient of filters is summed over pixels, in 4 x 3 or 4 x 6 sums of filters and taps.

Measured as one thread's share of the speed of matrix products (OpenBLAS, 1024 x 1024) with AVX2:
.9 to 1.0 for 16 to 64 channels, in both directions.

For Georganas et al., "Anatomy of high-performance deep learning convolutions" (2018), who
generate machine code, these are the two kernels of a convolution too.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .jit import shared
from .layout import FILTERS
from .memory import behind, part

LONE_VECTORS = 8  # of pixels, of a filter that is left over
LONE_TAPS = 9  # likewise: all those of a filter of side 3
MAX_INPUTS = 2**16  # so many numbers of x stay in the L2 cache, while filters pass
MAX_RUN = 1024  # pixels: so many of four filters stay in the L1 cache, while taps pass


def vector_registers():
    """Return the number of vector registers of the processor, and the bytes of each."""
    architecture, _, features = cpu_target.target_context.codegen().magic_tuple()
    if "+avx512f" in features:
        return 32, 64
    if "+avx2" in features:
        return 16, 32
    return (32 if architecture.startswith(("aarch64", "arm64")) else 16), 16


N_REGISTERS, VECTOR_BYTES = vector_registers()
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


class _Vectors:
    """Writes instructions on vectors of numbers of a dtype."""

    def __init__(self, context, builder, dtype):
        self._builder = builder
        number = context.get_data_type(dtype)
        self._bytes = context.get_abi_sizeof(number)
        self.n = VECTOR_BYTES // self._bytes
        self._type = ir.VectorType(number, self.n)
        self.zero = ir.Constant(self._type, [ir.Constant(number, 0.0)] * self.n)

    def steps(self, length, n_vectors, code):
        """Loop over pixels, as many at a time as are in vectors; return the first that is left.

        ``code(q)`` writes the instructions for those from pixel q on.
        """
        step = length.type(n_vectors * self.n)
        n_steps = self._builder.sdiv(length, step)
        with cgutils.for_range(self._builder, n_steps) as loop:
            code(self._builder.mul(loop.index, step))
        return self._builder.mul(n_steps, step)

    def rest(self, start, stop, code):
        """Loop over the pixels that are left, a vector at a time, of which the last has a mask."""
        loop = cgutils.for_range_slice(self._builder, start, stop, start.type(self.n))
        with loop as (q, _):
            code(q, self._mask(self._builder.sub(stop, q)))

    def load(self, data, index, mask=None):
        """Load a vector, with zeros for the lanes outside a mask."""
        pointer = self._pointer(data, index)
        if mask is not None:
            return self._masked("load", self._type, pointer, self._alignment, mask, self.zero)
        loaded = self._builder.load(pointer)
        loaded.align = self._bytes
        return loaded

    def store(self, vector, data, index, mask=None):
        """Store a vector, or the lanes of a mask."""
        pointer = self._pointer(data, index)
        if mask is not None:
            self._masked("store", ir.VoidType(), vector, pointer, self._alignment, mask)
        else:
            self._builder.store(vector, pointer).align = self._bytes

    def copied(self, data, index):
        """Load a number, and copy it to all lanes."""
        return self._copy(self._builder.load(self._builder.gep(data, [index])), self._type)

    def new_sum(self):
        """Return the place of a sum, 0 at first, which is to be a register."""
        return cgutils.alloca_once_value(self._builder, self.zero)

    def add_product(self, total, x, y):
        """Add x * y to a sum, without rounding in between where the processor can."""
        product = self._builder.fmul(x, y, flags=("contract",))
        result = self._builder.fadd(self._builder.load(total), product, flags=("contract",))
        self._builder.store(result, total)

    def sum(self, vector):
        """Return the sum of the lanes, pair by pair."""
        n = self.n
        while n > 1:
            n //= 2
            pair = [self._lanes(range(start, start + n)) for start in (0, n)]
            halves = [self._builder.shuffle_vector(vector, vector, lanes) for lanes in pair]
            vector = self._builder.fadd(*halves)
        return self._builder.extract_element(vector, ir.IntType(32)(0))

    def _mask(self, n_lanes):
        """Return which lanes are before lane n."""
        kind = ir.VectorType(n_lanes.type, self.n)
        numbers = ir.Constant(kind, [n_lanes.type(k) for k in range(self.n)])
        return self._builder.icmp_signed("<", numbers, self._copy(n_lanes, kind))

    def _copy(self, value, kind):
        undefined = ir.Constant(kind, ir.Undefined)
        vector = self._builder.insert_element(undefined, value, ir.IntType(32)(0))
        return self._builder.shuffle_vector(vector, undefined, self._lanes([0] * self.n))

    def _lanes(self, lanes):
        number = ir.IntType(32)
        return ir.Constant(ir.VectorType(number, len(lanes)), [number(k) for k in lanes])

    def _pointer(self, data, index):
        pointer = self._builder.gep(data, [index])
        return self._builder.bitcast(pointer, self._type.as_pointer())

    @property
    def _alignment(self):
        return ir.IntType(32)(self._bytes)

    def _masked(self, name, result, *arguments):
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        name = f"llvm.masked.{name}.v{self.n}f{8 * self._bytes}.p0"
        function = cgutils.get_or_insert_function(self._builder.module, kind, name)
        return self._builder.call(function, arguments)


def _new_kernel(name, code):
    """Return a function of four arrays and a tuple of whole numbers, for numba.

    It stays a function, as registers are given to a function as a whole: in a large one, sums would
    lose theirs. "optsize" keeps LLVM from unrolling loops, for which registers do not suffice.

    Parameters
    ----------
    name : str
    code : callable
        ``code(vectors, builder, arrays, numbers)`` writes it, given pointers to what the arrays
        contain.
    """

    def instructions(context, builder, signature, arguments):
        *kinds, numbers = signature.args
        pairs = zip(kinds, arguments)
        values = [context.make_array(kind)(context, builder, array).data for kind, array in pairs]
        values += cgutils.unpack_tuple(builder, arguments[-1], len(numbers))
        dtype, kind = kinds[0].dtype, ir.FunctionType(ir.VoidType(), [v.type for v in values])
        function = cgutils.get_or_insert_function(builder.module, kind, f"skcnn_{name}_{dtype}")
        if function.is_declaration:
            function.linkage = "linkonce_odr"
            for attribute in ("noinline", "optsize"):
                function.attributes.add(attribute)
            body = ir.IRBuilder(function.append_basic_block())
            code(_Vectors(context, body, dtype), body, function.args[:4], function.args[4:])
            body.ret_void()
        builder.call(function, values)
        return context.get_dummy_value()

    @intrinsic
    def kernel(context, first, x, offsets, out, numbers):
        return types.void(first, x, offsets, out, numbers), instructions

    return kernel


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

    return _new_kernel(f"weighted_sums_{n_filters}_{n_vectors}", code)


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

    return _new_kernel(f"weighted_sums_of_{n_taps}_taps", code)


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

    return _new_kernel(f"inner_products_{n_filters}_{n_taps}_{n_together}", code)


def _slow_weighted_sums(n_filters, W, x, offsets, z, numbers):
    """The same as Python."""
    W_row, W_step, n_taps, z_row, length, adds = numbers
    for f in range(n_filters):
        total = z[f * z_row :][:length]
        if not adds:
            total[:] = 0
        for k in range(n_taps):
            total += W[f * W_row + k * W_step] * x[offsets[k] :][:length]


def _slow_inner_products(n_filters, n_taps, z, x, offsets, out, numbers):
    """The same as Python."""
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
            _weighted_sums_of_block(w, inputs, offsets, out, numbers)
        for f in range(in_blocks, n_filters):
            w, out = behind(W.values, f * row), behind(z.values, f * z.row + q)
            if in_registers > 0:
                numbers = row, step, in_registers, z.row, n, adds
                _weighted_sums_of_one_in_registers(w, inputs, offsets, out, numbers)
            if in_registers < n_taps:
                w, o = behind(w, in_registers * step), behind(offsets, in_registers)
                numbers = row, step, n_taps - in_registers, z.row, n, adds + in_registers
                _weighted_sums_of_one(w, inputs, o, out, numbers)


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
                block(values, x, o, to, (z.row, runs.number, runs.stride, whole, out.row, out.step))
            for k in range(offsets.size):
                q = whole if k < in_blocks else 0
                if q < length:
                    o, to = part(offsets, k, 1), behind(sums, k * out.step)
                    numbers = z.row, runs.number, runs.stride, length - q, out.row, out.step
                    one_tap(behind(values, q), behind(x, q), o, to, numbers)

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
