"""Divides batches into micro-batches, computes them in threads, and chooses the executor.

The division does not depend on the number of threads, so that sums have the same order, and weights
the same bits, on one core and on many. An executor, that of compiled loops where they can run the
network, else that of whole arrays, divides a micro-batch further into groups that fit into a cache.
"""

from functools import partial
from threading import get_ident

import numpy as np

from .. import _compiled
from .executor import ArrayExecutor, Batch, equal_slices, min_group_size, take_rows

# A micro-batch is worth a thread from two million multiplications on, a few tenths of a
# millisecond; from twice as many for whole arrays whose groups have less than a million, between
# which threads wait for Python's global lock: with eight filters and batches of 128, two threads
# took a third longer.
MAX_MICRO_BATCHES = 8
MIN_MULTIPLICATIONS = 2**21
SMALL_GROUP = 2**20

# A call of compiled loops cannot be interrupted, so it takes about a tenth of a second at most. If
# its images must be gathered, they have no more bytes than this.
MAX_CALL_MULTIPLICATIONS = 2**28
MAX_CALL_BYTES = 2**22

# An interrupt waits for the micro-batches that other threads have begun: in compiled loops less
# than a second, in whole arrays some seconds at most.
MAX_MULTIPLICATIONS = 2**32


class ParallelExecutor:
    """Runs a network with an executor for each thread that computes micro-batches.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    loss : Loss
    batch_size : int
        The largest number of images at a time.
    map : callable
        ``map(function, *tasks)`` calls a function for each of several tasks, perhaps in parallel.

    Attributes
    ----------
    compiled : bool
        Whether compiled loops run it.
    """

    def __init__(self, network, parameters, loss, batch_size, map=map):
        self.network, self.parameters, self.loss = network, parameters, loss
        dtype = parameters.vector.dtype
        self.compiled = _compiled.can_run(network, loss, dtype)
        self._map = map
        self._min_size = min_group_size(network, dtype)
        is_small = self._min_size * network.n_multiplications < SMALL_GROUP
        factor = 2 if is_small and not self.compiled else 1
        self._min_multiplications = factor * MIN_MULTIPLICATIONS
        largest = max(rows.stop - rows.start for rows in self.micro_batches(batch_size))
        self._packed = None
        if self.compiled:
            self._packed = _compiled.PackedParameters(network, parameters, loss, largest)
        # One for each thread: with arrays in another core's cache, a batch took three times as long
        self._executors = {}
        self._gradients = {0: self._packed.gradient} if self.compiled else {}

    def micro_batches(self, n):
        """Return the micro-batches of a batch of n images, as slices."""
        n_multiplications = n * self.network.n_multiplications
        wanted = min(n // self._min_size, n_multiplications // self._min_multiplications)
        number = max(1, min(MAX_MICRO_BATCHES, wanted))
        number = 2 ** (number.bit_length() - 1)  # five would leave one of two threads idle
        return equal_slices(n, number)

    def compute(self, function, *tasks):
        """Return the results of ``function(executor, *task)`` for each task, in their order."""
        if self._packed is not None:
            self._packed.pack()
        try:
            if len(tasks[0]) == 1:
                return [self._compute(function, *(arguments for (arguments,) in tasks))]
            return list(self._map(partial(self._compute, function), *tasks))
        except _compiled.CompilationError:  # nothing was computed
            self.compiled, self._packed, self._executors, self._gradients = False, None, {}, {}
            return self.compute(function, *tasks)

    def _compute(self, function, *task):
        thread = get_ident()
        if thread not in self._executors:
            self._executors[thread] = (
                _compiled.CompiledExecutor(self._packed)
                if self.compiled
                else ArrayExecutor(self.network, self.parameters, self.loss)
            )
        return function(self._executors[thread], *task)

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        tasks = self._predictions(X.shape[0])
        return np.concatenate(self.compute(lambda executor, rows: executor.outputs(X[rows]), tasks))

    def feature_maps(self, X, layer):
        """Return the responses of a convolution layer after ReLU, before pooling, (n, H, W, F)."""
        maps = np.empty((X.shape[0], *layer.map_shape), self.parameters.vector.dtype)

        def compute(rows):
            executor = ArrayExecutor(self.network, self.parameters, self.loss)
            executor.feature_maps(X[rows], layer, out=maps[rows])

        list(self._map(compute, self._predictions(len(maps))))
        return maps

    def _n_rounds(self, n):
        """Return how many times n images are divided into micro-batches: once for a few."""
        largest = max(1, MAX_MULTIPLICATIONS // self.network.n_multiplications)
        return -(-n // (MAX_MICRO_BATCHES * largest))

    def _predictions(self, n):
        """Return the micro-batches of n images, as slices, of all rounds."""
        return equal_slices(n, min(n, self._n_rounds(n) * len(self.micro_batches(n))))

    def gradient(self, batch, T):
        """Write the outputs for a batch into T, and return the gradient of its weighted loss.

        It is overwritten by the next call.
        """
        first, *others = equal_slices(len(T), self._n_rounds(len(T)))
        total = self._gradient(batch.rows(first), T[first])
        if others:
            total = total.copy()
        for rows in others:
            total += self._gradient(batch.rows(rows), T[rows])
        return total

    def _gradient(self, batch, T):
        """Return the same, with at most `MAX_MICRO_BATCHES`."""
        micro_batches = self.micro_batches(len(T))

        def compute(executor, number, rows):
            if number not in self._gradients:
                source = self._packed if self.compiled else self.parameters
                self._gradients[number] = source.new_gradient()
            executor.gradient(batch.rows(rows), T[rows], out=self._gradients[number])

        self.compute(compute, range(len(micro_batches)), micro_batches)
        total = self._gradients[0]
        for number in range(1, len(micro_batches)):
            total += self._gradients[number]
        return self._packed.unpacked_gradient() if self.compiled else total

    def takes_steps(self, batch_size):
        """Return whether `run_steps` can be used: a batch is not divided between threads."""
        return len(self.micro_batches(batch_size)) == 1

    def n_images_a_call(self, batch_size, X=None):
        """Return the number of images that one call of `run_steps` should visit at most.

        Parameters
        ----------
        batch_size : int
            Of which it is a multiple.
        X : ndarray, sparse array or None
            The images, None if they are not ready in memory.
        """
        update = self.parameters.theta.size // batch_size  # multiplications of a step, an image
        size = MAX_CALL_MULTIPLICATIONS // (self.network.n_multiplications + update)
        dtype, n_dropout_inputs = self.parameters.vector.dtype, self.network.n_dropout_inputs
        if n_dropout_inputs or X is None or not _compiled.are_rows(X, dtype):
            n_values = self.network.n_values + n_dropout_inputs
            size = min(size, MAX_CALL_BYTES // (n_values * dtype.itemsize))
        return max(1, size // batch_size) * batch_size

    def run_steps(self, solver, data, order, batch_size, alpha, eta):
        """Take steps, and return the outputs; see `skcnn._engine.executor.ArrayExecutor`."""
        if self.compiled and not _compiled.are_rows(data.X, self.parameters.vector.dtype):
            X, Y, s = take_rows(data.X, order), data.Y.take(order, axis=0), data.s.take(order)
            data, order = Batch(X, Y, s, data.dropout_mask), np.arange(len(order))
        rest = order, batch_size, alpha, eta
        (T,) = self.compute(lambda executor, data: executor.run_steps(solver, data, *rest), [data])
        return T
