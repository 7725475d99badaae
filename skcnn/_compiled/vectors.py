"""Vectors of the processor, and kernels that are written as instructions on them, by llvmlite.

Where LLVM makes vectors of loops over numbers, it does not know how long the loops are, nor that
sums are to stay in registers.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic


def vector_registers():
    """Return the number of vector registers of the processor, and the bytes of each."""
    architecture, _, features = cpu_target.target_context.codegen().magic_tuple()
    if "+avx512f" in features:
        return 32, 64
    if "+avx2" in features:
        return 16, 32
    return (32 if architecture.startswith(("aarch64", "arm64")) else 16), 16


N_REGISTERS, VECTOR_BYTES = vector_registers()


class Vectors:
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

    def of(self, number):
        """Return a whole number, copied to all lanes."""
        return self._copy(self._builder.sitofp(number, self._type.element), self._type)

    def is_greater(self, x, y):
        """Return in which lanes x is greater than y, or NaN."""
        is_nan = self._builder.fcmp_unordered("uno", x, x)
        return self._builder.or_(self._builder.fcmp_ordered(">", x, y), is_nan)

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


def new_kernel(name, code):
    """Return a function of a tuple of arrays and a tuple of whole numbers, for numba.

    It stays a function, as registers are given to a function as a whole: in a large one, sums would
    lose theirs. "optsize" keeps LLVM from unrolling loops, for which registers do not suffice.

    Parameters
    ----------
    name : str
    code : callable
        ``code(vectors, builder, arrays, numbers)`` writes it, given pointers to what the arrays
        contain; vectors are those of the first array's dtype.
    """

    def instructions(context, builder, signature, arguments):
        kinds, n_numbers = signature.args[0], len(signature.args[1])
        arrays = cgutils.unpack_tuple(builder, arguments[0], len(kinds))
        pairs = zip(kinds, arrays)
        values = [context.make_array(kind)(context, builder, array).data for kind, array in pairs]
        values += cgutils.unpack_tuple(builder, arguments[1], n_numbers)
        dtype, kind = kinds[0].dtype, ir.FunctionType(ir.VoidType(), [v.type for v in values])
        function = cgutils.get_or_insert_function(builder.module, kind, f"skcnn_{name}_{dtype}")
        if function.is_declaration:
            function.linkage = "linkonce_odr"
            for attribute in ("noinline", "optsize"):
                function.attributes.add(attribute)
            body, n_arrays = ir.IRBuilder(function.append_basic_block()), len(kinds)
            given = function.args[:n_arrays], function.args[n_arrays:]
            code(Vectors(context, body, dtype), body, *given)
            body.ret_void()
        builder.call(function, values)
        return context.get_dummy_value()

    @intrinsic
    def kernel(context, arrays, numbers):
        return types.void(arrays, numbers), instructions

    return kernel
