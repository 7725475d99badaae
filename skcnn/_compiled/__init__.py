"""A row of layers in loops that numba compiles: twins of the kernels of `skcnn._nn`.

They are optional: without numba this is imported too, and can run nothing.
"""

from .availability import is_available
from .errors import CompilationError
from .executor import CompiledExecutor, PackedParameters, are_rows, can_run

__all__ = [
    "CompilationError",
    "CompiledExecutor",
    "PackedParameters",
    "are_rows",
    "can_run",
    "is_available",
]
