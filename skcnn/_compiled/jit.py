"""Functions that a just-in-time compiler compiles, and the faults of its cache."""

import warnings

_faults: list[Exception] = []  # of the cache, found in this process


class CompilationError(Exception):
    """A function cannot be compiled, for the reason that is the cause; nothing was computed."""


class Compiled:
    """A function that Python calls: compiled once and for all, if numba's cache can keep it.

    If the cache fails, a warning is given once a process, and the function is compiled without it.
    Any call may find this, as a dtype is compiled or loaded when it is first used.

    Parameters
    ----------
    function : callable
        It must raise no exception of its own.
    compile : callable
        ``compile(function, cache=...)`` returns numba's dispatcher.
    """

    def __init__(self, function, compile):
        self._function, self._compile = function, compile
        self._failure = self._fault = self._folder = None
        try:
            self._dispatcher = compile(function, cache=True)
            self._folder = self._dispatcher.stats.cache_path
        except Exception as error:  # there is no folder that may be written to
            self._dispatcher, self._fault = compile(function, cache=False), error

    def __call__(self, *args):
        """Call the function, or raise `CompilationError`."""
        if self._failure is not None:
            raise CompilationError from self._failure
        try:
            result = self._dispatcher(*args)
        except Exception as error:
            self._fault = error
            result = self._call_without_cache(args)
        if self._fault is not None:
            self._warn()
        return result

    def __getattr__(self, name):
        """Return an attribute of numba's dispatcher, such as its signatures."""
        return getattr(self._dispatcher, name)

    def _call_without_cache(self, args):
        try:
            return self._dispatcher(*args)  # it is compiled, where only saving it failed
        except Exception:
            try:
                self._dispatcher = self._compile(self._function, cache=False)
                return self._dispatcher(*args)
            except Exception as error:
                self._failure = error
                raise CompilationError from error

    def _warn(self):
        """Warn of the fault, once in a process."""
        fault, self._fault = self._fault, None
        _faults.append(fault)
        if len(_faults) > 1:
            return
        where = way_out = ""
        if self._folder is not None:
            where = f" in {self._folder}"
            way_out = "delete that folder if it is damaged, make room if the disk is full, or "
        warnings.warn(
            f"numba's cache{where} cannot be used ({type(fault).__name__}: {fault}). The results "
            "are the same, but the loops of skcnn are compiled again in every process, which takes "
            f"half a minute: {way_out}set the environment variable NUMBA_CACHE_DIR to a folder "
            "that may be written to.",
            RuntimeWarning,
        )
