"""Optional: a row of layers in loops that numba compiles, each kernel under its name in `skcnn._nn`.

It is imported without numba too, and then it can run nothing.
"""

from .executor import CompiledExecutor, PackedParameters, are_rows, can_run
from .jit import CompilationError

__all__ = ["CompilationError", "CompiledExecutor", "PackedParameters", "are_rows", "can_run"]
