"""How many threads BLAS may use."""

from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller():
    """The thread pools that are loaded; finding them takes longer than an epoch may."""
    return ThreadpoolController()


def one_blas_thread():
    """Return a context in which BLAS uses one thread.

    The matrix products of a batch are so small that threads wait for each other longer than they
    compute: an epoch of 32 filters of side 5 took 16 s with two threads, and 7 s with one. It also
    leaves the cores to those who run several trainings at once.
    """
    return _controller().limit(limits=1, user_api="blas")
