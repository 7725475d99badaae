"""The error of the compiled loops."""


class CompilationError(Exception):
    """A function cannot be compiled, for the reason that is the cause; nothing was computed."""
