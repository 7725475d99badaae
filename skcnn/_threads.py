"""How many threads compute, and how."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache, partial
from threading import Lock

from threadpoolctl import ThreadpoolController


@cache
def _controller():
    """The thread pools of BLAS that are loaded; finding them takes longer than an epoch may."""
    return ThreadpoolController().select(user_api="blas")


class _OneThreadInBlas:
    """Holds BLAS to one thread as long as it has users, who may come and go in any order."""

    def __init__(self):
        self._lock = Lock()
        self._n_users = 0
        self._limiter = None

    def begin(self):
        """Return how many threads BLAS may use that it will not, for the new user."""
        with self._lock:
            self._n_users += 1
            if self._n_users > 1:
                return 1
            n_threads = max((pool["num_threads"] for pool in _controller().info()), default=1)
            self._limiter = _controller().limit(limits=1)
            return n_threads

    def end(self):
        """Give BLAS its threads back when the last user goes."""
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._limiter.restore_original_limits()


_one_thread_in_blas = _OneThreadInBlas()


@contextmanager
def threads():
    """Use as many threads as BLAS may use, but for the parts of a batch, and not in BLAS.

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
    n_threads = _one_thread_in_blas.begin()
    try:
        if n_threads == 1:
            yield map
            return
        with ThreadPoolExecutor(n_threads - 1) as helpers:
            yield partial(_map_together, helpers, n_threads - 1)
    finally:
        _one_thread_in_blas.end()


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
