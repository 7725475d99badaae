"""How images are divided into micro-batches, each of which a thread computes.

The division does not depend on the number of threads, so that sums have the same order, and weights
the same bits, on one core and on many.
"""

from .executor import equal_slices, min_group_size

# A micro-batch is worth a thread from two million multiplications on, a few tenths of a
# millisecond; from twice as many for whole arrays whose groups have less than a million, between
# which threads wait for Python's global lock: with eight filters and batches of 128, two threads
# took a third longer.
MAX_MICRO_BATCHES = 8
MIN_MULTIPLICATIONS = 2**21
SMALL_GROUP = 2**20

# An interrupt waits for the micro-batches that other threads have begun: in compiled loops less
# than a second, in whole arrays some seconds at most.
MAX_MULTIPLICATIONS = 2**32


class Division:
    """The division of images for a network.

    Parameters
    ----------
    network : Network
    dtype : dtype
    compiled : bool
        Whether compiled loops run it.
    """

    def __init__(self, network, dtype, compiled):
        self._n_multiplications = network.n_multiplications
        self._min_size = min_group_size(network, dtype)
        is_small = self._min_size * network.n_multiplications < SMALL_GROUP
        self._min_multiplications = MIN_MULTIPLICATIONS * (2 if is_small and not compiled else 1)

    def micro_batches(self, n):
        """Return the micro-batches of a batch of n images, as slices."""
        return equal_slices(n, self._number(n, self._min_size))

    def rounds(self, n):
        """Return the parts of n images, as slices, whose micro-batches are not too large."""
        return equal_slices(n, self._n_rounds(n))

    def predictions(self, n, min_size=None):
        """Return the micro-batches of n images, as slices, of all rounds.

        Parameters
        ----------
        n : int
        min_size : int or None, default=None
            The number of images, at least, for which a thread is worth its cost.
        """
        number = self._number(n, min_size or self._min_size)
        return equal_slices(n, min(n, self._n_rounds(n) * number))

    def _number(self, n, min_size):
        wanted = min(n // min_size, n * self._n_multiplications // self._min_multiplications)
        number = max(1, min(MAX_MICRO_BATCHES, wanted))
        return 2 ** (number.bit_length() - 1)  # five would leave one of two threads idle

    def _n_rounds(self, n):
        """Return how many times n images are divided into micro-batches: once for a few."""
        largest = max(1, MAX_MULTIPLICATIONS // self._n_multiplications)
        return -(-n // (MAX_MICRO_BATCHES * largest))
