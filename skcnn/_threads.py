"""How many threads compute, and how."""

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
    """Return the BLAS libraries that are loaded; finding them takes longer than an epoch may."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


class _OneThreadInBlas:
    """Limits BLAS to one thread as long as it has users, who may come and go in any order.

    An interrupt may come at any line: the numbers of threads to restore are known before the first
    of them is changed, and `end` may be called again for the same user.
    """

    def __init__(self):
        self._lock = Lock()
        self._users = set()
        self._n_threads = []  # pairs of a library and a number, to restore

    # The statements stand on the line of the lock, so that no line comes between them and its
    # release.

    def begin(self, user):
        """Limit BLAS to one thread, and return the number of threads that the new user may use."""
        with self._lock: return self._limit(user)  # noqa: E701  # fmt: skip

    def end(self, user):
        """Give BLAS its threads back if this was the last user."""
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
            self._restore()

    def after_fork_in_child(self):
        """Forget the users, which are threads of the parent process."""
        self._lock = Lock()  # a thread of the parent may have held it
        self._users = set()
        self._restore()

    def _restore(self):
        for library, n_threads in self._n_threads:
            library.set_num_threads(n_threads)
        self._n_threads = []


_one_thread_in_blas = _OneThreadInBlas()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_one_thread_in_blas.after_fork_in_child)


@contextmanager
def threads():
    """Limit BLAS to one thread, and compute parts of a batch on as many threads as BLAS had.

    The matrix products of a batch are so small that the threads of BLAS wait for each other longer
    than they compute: an epoch of 32 filters of side 5 took 16 s with two of them, and 7 s with
    one. A thread for each of several parts of a batch is another matter.

    Whoever runs several trainings at once, or limits the threads of BLAS by ``OMP_NUM_THREADS`` or
    threadpoolctl, limits these: the processes of joblib have as many as there are cores for each,
    and of several trainings in the threads of one process only the first has more than one.

    Yields
    ------
    map : callable
        Like the built-in one, but at the same time where there are several threads.
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
    """Return what the built-in map does, as a list; the caller and the helpers share the tasks.

    A helper is asked once, not for each task, and the caller works too: waking a thread takes as
    long as a small batch.
    """
    left = deque(enumerate(zip(*tasks)))
    results = [None] * len(left)

    def work():
        while left:
            try:
                number, task = left.popleft()
            except IndexError:  # somebody else took the last
                return
            try:
                results[number] = function(*task)
            except BaseException:
                left.clear()
                raise

    n_asked = min(n_helpers, len(left) - 1)
    # NumPy's errstate is in the context.
    asked = [helpers.submit(copy_context().run, work) for _ in range(n_asked)]
    try:
        work()
    finally:
        wait([helper for helper in asked if not helper.cancel()])
    for helper in asked:
        if not helper.cancelled():
            helper.result()
    return results
