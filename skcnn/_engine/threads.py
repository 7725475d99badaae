"""Threads for the parts of a batch, with BLAS limited to one."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import cache, partial
from threading import Lock

from threadpoolctl import ThreadpoolController


@cache
def _blas_libraries():
    """Return the loaded BLAS libraries, cached: finding them can take longer than an epoch."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set_num_threads(library, n_threads):
    """Set the number of threads of a BLAS library, from any thread.

    From threadpoolctl 3.8 on, the first thread that sets the number of a library with one pool of
    threads for the whole process controls it, and other threads change nothing, without an error.
    So the control is taken, and given up for those who come next.
    """
    give_up_control = getattr(library, "clear_controlling_thread", lambda force: None)
    give_up_control(force=True)
    library.set_num_threads(n_threads)
    give_up_control(force=True)


def _limit_this_thread():
    """Limit the BLAS libraries to one thread that have a limit for each calling thread.

    MKL is one of them, and OpenBLAS with OpenMP; the others are limited already.
    """
    for library in _blas_libraries():
        if library.num_threads != 1:
            _set_num_threads(library, 1)


class _OneThreadInBlas:
    """Limits BLAS to one thread while anybody uses it; users may begin and end in any order.

    A KeyboardInterrupt may come at any line. So the numbers of threads to restore are stored before
    the first of them is changed, and `end` may be called again for the same user.
    """

    def __init__(self):
        self._lock = Lock()
        self._limited = {}  # by user: the libraries to restore, each with its number of threads

    # The lock and the statement share a line, so that no interrupt can come between the end of the
    # statement and the release of the lock.

    def begin(self, user):
        """Limit BLAS to one thread, and return how many threads the user may have instead."""
        with self._lock: return self._limit(user)  # noqa: E701  # fmt: skip

    def end(self, user):
        """Restore the numbers of threads of BLAS that no other user needs limited."""
        with self._lock: self._release(user)  # noqa: E701  # fmt: skip

    def _limit(self, user):
        is_first = not self._limited
        n_threads = [(library, library.num_threads or 1) for library in _blas_libraries()]
        # A limit of one that somebody else has set is theirs to lift.
        self._limited[user] = limited = [(library, n) for library, n in n_threads if n > 1]
        for library, _ in limited:
            _set_num_threads(library, 1)
        return max((n for _, n in limited), default=1) if is_first else 1

    def _release(self, user):
        others = [limited for other, limited in self._limited.items() if other is not user]
        # A library that another user found unlimited has a limit for each calling thread.
        by_others = [library for limited in others for library, _ in limited]
        for library, n_threads in self._limited.get(user, ()):
            if others and library not in by_others:
                others[0].append((library, n_threads))
            elif library.num_threads == 1:  # nobody has set another number meanwhile
                _set_num_threads(library, n_threads)
        self._limited.pop(user, None)

    def after_fork_in_child(self):
        """Restore the numbers of threads: the users were threads of the parent process."""
        self._lock = Lock()  # a thread of the parent may have held the old one
        for user in [*self._limited]:
            self._release(user)


_one_thread_in_blas = _OneThreadInBlas()


class _Helpers:
    """Threads that wait for the next call: to start one takes as long as to compute ten images.

    Only one user at a time has them, as `_OneThreadInBlas` gives others one thread. An error or an
    interrupt ends them, after what they have begun.
    """

    def __init__(self):
        self._kept = None  # their number and they themselves

    @contextmanager
    def use(self, n):
        """Lend n threads."""
        (kept_n, helpers), self._kept = self._kept or (0, None), None
        if kept_n != n:
            helpers = ThreadPoolExecutor(n, "skcnn", initializer=_limit_this_thread)
        try:
            yield helpers
        except BaseException:
            helpers.shutdown()
            raise
        self._kept = n, helpers

    def forget(self):
        """Keep no threads: those of the parent process, for example, are not in its child."""
        self._kept = None


_helpers = _Helpers()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_one_thread_in_blas.after_fork_in_child)
    os.register_at_fork(after_in_child=_helpers.forget)


@contextmanager
def threads():
    """Limit BLAS to one thread, and compute parts of a batch with as many threads as it had.

    The matrix products of a batch are small, so that threads within BLAS spend more time waiting
    for each other than computing: with 32 filters of side 5, an epoch took 16 s with two threads in
    BLAS and 7 s with one. A thread for each part of a batch is worth its cost.

    What limits the threads of BLAS (``OMP_NUM_THREADS``, threadpoolctl, joblib) limits these too.
    If a process trains several models in threads, only the first training has more than one. Where
    no thread can be started, the calling one computes alone.

    Yields
    ------
    map : callable
        The built-in one, or a parallel one if there are several threads.
    """
    user = object()
    try:
        try:
            n_threads = _one_thread_in_blas.begin(user)
            if n_threads == 1:
                yield map
            else:  # no return above: after an interrupt there, nothing would be released
                with _helpers.use(n_threads - 1) as helpers:
                    yield partial(_map_together, helpers, n_threads - 1)
        finally:
            _one_thread_in_blas.end(user)
    finally:
        _one_thread_in_blas.end(user)  # again, in case an interrupt came before the first


def _map_together(helpers, n_helpers, function, *tasks):
    """Return the results of the built-in map as a list, computed by helpers and the caller.

    Waking a thread takes as long as a small batch. So the caller computes too, and each helper is
    woken once and then takes one task after the other.
    """
    left = deque(enumerate(zip(*tasks)))
    results = [None] * len(left)

    def work():
        while left:
            try:
                number, task = left.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                results[number] = function(*task)
            except BaseException:
                left.clear()
                raise

    futures = []
    # RuntimeError: the interpreter shuts down, or no thread can be started.
    with suppress(RuntimeError):
        for _ in range(min(n_helpers, len(left) - 1)):
            # NumPy's errstate is part of the context.
            futures.append(helpers.submit(copy_context().run, work))
    try:
        work()
    finally:
        started = [future for future in futures if not future.cancel()]
        wait(started)
    for future in started:
        future.result()
    return results
