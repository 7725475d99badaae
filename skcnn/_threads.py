"""Threads for the parts of a batch, with BLAS limited to one."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache, partial
from threading import Lock

from threadpoolctl import ThreadpoolController


@cache
def _blas_libraries():
    """Return the BLAS libraries that are loaded; finding them can take longer than an epoch."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


class _OneThreadInBlas:
    """Limits BLAS to one thread as long as it has users, which may overlap in any order.

    An interrupt may come at any line: the numbers of threads to restore are stored before the first
    of them is changed, and `end` may be called again for the same user.
    """

    def __init__(self):
        self._lock = Lock()
        self._users = set()
        self._n_threads = []  # pairs of a library and a number, to restore

    # Lock and statement share a line, so that no interrupt comes between the statement and the
    # release of the lock.

    def begin(self, user):
        """Limit BLAS to one thread; return the number of threads to use instead."""
        with self._lock: return self._limit(user)  # noqa: E701  # fmt: skip

    def end(self, user):
        """Restore the threads of BLAS if this was the last user."""
        with self._lock: self._release(user)  # noqa: E701  # fmt: skip

    def _limit(self, user):
        self._users.add(user)
        if self._n_threads:
            return 1
        self._n_threads = [(library, library.num_threads) for library in _blas_libraries()]
        for library, _ in self._n_threads:
            library.set_num_threads(1)
        return max((n_threads for _, n_threads in self._n_threads), default=1)

    def _release(self, user):
        self._users.discard(user)
        if not self._users:
            for library, n_threads in self._n_threads:
                library.set_num_threads(n_threads)
            self._n_threads = []

    def after_fork_in_child(self):
        """Remove the users, which are threads of the parent process."""
        self._lock = Lock()  # a thread of the parent may have held it
        self._users = set()
        self._release(None)  # restores, even if the parent was just doing so


_one_thread_in_blas = _OneThreadInBlas()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_one_thread_in_blas.after_fork_in_child)


@contextmanager
def threads():
    """Limit BLAS to one thread, and compute parts of a batch on as many threads as BLAS had.

    The matrix products of a batch are so small that the threads of BLAS wait for each other longer
    than they compute: an epoch of 32 filters of side 5 took 16 s with two of them, and 7 s with
    one. Threads for whole parts of a batch do pay.

    ``OMP_NUM_THREADS``, threadpoolctl and joblib, which limit the threads of BLAS, limit these too.
    Of several trainings in the threads of one process, only the first has more than one thread.

    Yields
    ------
    map : callable
        Like the built-in one, but parallel where there are several threads.
    """
    user = object()
    try:
        try:
            n_threads = _one_thread_in_blas.begin(user)
            if n_threads == 1:
                yield map
                return
            with ThreadPoolExecutor(n_threads - 1) as helpers:
                yield partial(_map_together, helpers, n_threads - 1)
        finally:
            _one_thread_in_blas.end(user)
    finally:
        _one_thread_in_blas.end(user)  # in case the first was interrupted


def _map_together(helpers, n_helpers, function, *tasks):
    """Return the results of the built-in map as a list, computed by helpers and the caller.

    Each helper is woken once, not for each task, and the caller works too: waking a thread takes
    as long as a small batch.
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

    n_futures = min(n_helpers, len(left) - 1)
    # NumPy's errstate is in the context.
    futures = [helpers.submit(copy_context().run, work) for _ in range(n_futures)]
    try:
        work()
    finally:
        started = [future for future in futures if not future.cancel()]
        wait(started)
    for future in started:
        future.result()
    return results
