"""Views of parts of an array, without the checks of a slice.

A slice of an array takes 10 ns, as its ends are checked, and there are dozens of them in a step.
"""

import numpy as np
from numba import config, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .jit import inlined


def _view(context, builder, signature, array, start, shape):
    """Return the contiguous array of a shape that begins at an element of another one."""
    source = context.make_array(signature.args[0])(context, builder, array)
    out = context.make_array(signature.return_type)(context, builder)
    itemsize = context.get_abi_sizeof(context.get_data_type(signature.return_type.dtype))
    itemsize = context.get_constant(types.intp, itemsize)
    strides = [itemsize] if len(shape) == 1 else [builder.mul(shape[1], itemsize), itemsize]
    data = builder.gep(source.data, [start])
    populate_array(out, data, shape, strides, itemsize, meminfo=None, parent=None)
    return out._getvalue()


@intrinsic
def part(context, array, start, size):
    """View some elements of an array, as it lies in memory."""

    def instructions(context, builder, signature, arguments):
        array, start, size = arguments
        return _view(context, builder, signature, array, start, [size])

    return array.copy(ndim=1)(array, types.intp, types.intp), instructions


@intrinsic
def matrix(context, array, start, n_rows, n_columns):
    """View some elements of an array, as it lies in memory, as a matrix."""

    def instructions(context, builder, signature, arguments):
        array, start, *shape = arguments
        return _view(context, builder, signature, array, start, shape)

    return array.copy(ndim=2)(array, types.intp, types.intp, types.intp), instructions


if config.DISABLE_JIT:

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
def behind(x, start):
    """View the elements of an array from one on."""
    return part(x, start, x.size - start)
