"""How functions are compiled: numba's options, its cache, and the faults of that.

numba's cache is that of the file of the function that Python calls, and holds for as long as that
file is unchanged, whatever changes elsewhere. So the function is given a hash of all files of this
folder in its closure, which is part of the cache's key: an edit of any kernel compiles it again.
"""

import hashlib
import warnings
from functools import cache, partial
from pathlib import Path

from numba import config, njit

from .errors import CompilationError

# Sums may be reordered, without which they are not vectors; NaN and infinity stay what they are,
# so that a training that diverges is noticed. Nothing is allocated here, so references need not be
# counted: counting them took a third of the time of a step on one image.
OPTIONS = {
    "nogil": True,
    "_nrt": False,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
# All functions become part of the one that Python calls, by LLVM or, with `inlined`, by numba.
# One that stayed a function in the machine code would be compiled twice, by itself and again with
# its caller. The process that compiles would run the first version, a process that loads from the
# cache the second, and their sums would differ in the last bit.
inner = njit(forceinline=True, **OPTIONS)
# What has no sums of its own, and is called from several places, may be a function, which saves a
# quarter of the time of compilation.
shared = njit(**OPTIONS)
# numba optimises a function by itself, and again in each one that calls it. So what is large and
# called from one place is inlined by numba, before LLVM, and so is what returns a view.
inlined = njit(inline="always", **OPTIONS)

_faults: list[Exception] = []  # of the cache, found in this process


@cache
def source_hash():
    """Return a number that changes with any file of this folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")  # what fits into an integer of numba


def outer(function):
    """Compile what Python calls; `source_hash` is to be in its closure."""
    return function if config.DISABLE_JIT else CachedFunction(function, partial(njit, **OPTIONS))


class CachedFunction:
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
