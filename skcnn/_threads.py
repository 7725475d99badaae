"""How many threads compute, and how."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller():
    """The thread pools that are loaded; finding them takes longer than an epoch may."""
    return ThreadpoolController()


def _run_in(function, context, *task):
    return context.run(function, *task)


@contextmanager
def threads():
    """Use as many threads as BLAS may use, but for the parts of a batch, and not in BLAS.

    The matrix products of a batch are so small that the threads of BLAS wait for each other longer
    than they compute: an epoch of 32 filters of side 5 took 16 s with two of them, and 7 s with
    one. A thread for each of several parts of a batch is another matter.

    Whoever runs several trainings at once, or limits the threads of BLAS by ``OMP_NUM_THREADS`` or
    threadpoolctl, limits these: the processes of joblib have as many as there are cores for each.

    Yields
    ------
    map : callable
        Like the built-in one, but at the same time where there are several threads.
    """
    blas = _controller().select(user_api="blas")
    n_threads = max((library["num_threads"] for library in blas.info()), default=1)
    with blas.limit(limits=1):
        if n_threads == 1:
            yield map
            return
        with ThreadPoolExecutor(n_threads) as executor:

            def map_in_threads(function, *tasks):
                if len(tasks[0]) == 1:
                    return map(function, *tasks)
                contexts = [copy_context() for _ in tasks[0]]  # NumPy's errstate is in them
                return executor.map(
                    lambda context, *task: context.run(function, *task), contexts, *tasks
                )

            yield map_in_threads
