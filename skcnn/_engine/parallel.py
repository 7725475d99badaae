"""Computes the micro-batches of a training in threads, and chooses the executor.

An executor, that of compiled loops where they can run the network, else that of whole arrays,
divides a micro-batch further into groups that fit into a cache.
"""

from functools import partial
from threading import get_ident

import numpy as np

from .. import _compiled
from .division import Division
from .executor import ArrayExecutor, Batch, take_rows

# A call of compiled loops cannot be interrupted, so it takes about a tenth of a second at most. If
# its images must be gathered, they have no more bytes than this.
MAX_CALL_MULTIPLICATIONS = 2**28
MAX_CALL_BYTES = 2**22


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
    division : Division
        How a batch is divided.
    """

    def __init__(self, network, parameters, loss, batch_size, map=map):
        self.network, self.parameters, self.loss = network, parameters, loss
        dtype = parameters.vector.dtype
        self.compiled = _compiled.can_run(network, loss, dtype)
        self._map = map
        self.division = Division(network, dtype, self.compiled)
        micro_batches = self.division.micro_batches(batch_size)
        self._largest = max(rows.stop - rows.start for rows in micro_batches)
        self._packed = None
        if self.compiled:
            self._packed = _compiled.PackedParameters(network, parameters, loss)
        # One for each thread: with arrays in another core's cache, a batch took three times as long
        self._executors = {}
        self._gradients = {0: self._packed.gradient} if self.compiled else {}

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
                _compiled.CompiledExecutor(self._packed, self._largest)
                if self.compiled
                else ArrayExecutor(self.network, self.parameters, self.loss)
            )
        return function(self._executors[thread], *task)

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        tasks = self.division.predictions(X.shape[0])
        return np.concatenate(self.compute(lambda executor, rows: executor.outputs(X[rows]), tasks))

    def feature_maps(self, X, layer):
        """Return the responses of a convolution layer after ReLU, before pooling, (n, H, W, F)."""
        maps = np.empty((X.shape[0], *layer.map_shape), self.parameters.vector.dtype)

        def compute(rows):
            executor = ArrayExecutor(self.network, self.parameters, self.loss)
            executor.feature_maps(X[rows], layer, out=maps[rows])

        list(self._map(compute, self.division.predictions(len(maps))))
        return maps

    def gradient(self, batch, T):
        """Write the outputs for a batch into T, and return the gradient of its weighted loss.

        It is overwritten by the next call.
        """
        first, *others = self.division.rounds(len(T))
        total = self._gradient(batch.rows(first), T[first])
        if others:
            total = total.copy()
        for rows in others:
            total += self._gradient(batch.rows(rows), T[rows])
        return total

    def _gradient(self, batch, T):
        """Return the same, of one round."""
        micro_batches = self.division.micro_batches(len(T))

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
        return len(self.division.micro_batches(batch_size)) == 1

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
