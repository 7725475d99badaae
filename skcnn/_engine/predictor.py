"""Predictions: a network made ready once, whose outputs are then computed again and again.

To lay out weights, plan loops and allocate arrays takes twenty times as long as to compute the
outputs of an image.
"""

from collections import deque

import numpy as np

from .. import _compiled
from .division import Division
from .executor import ArrayExecutor
from .parameters import Parameters
from .threads import threads

# Compiled loops are planned for so many images, or for more in groups of the largest number. A
# group that is not full takes as long as a full one.
GROUP_SIZES = 1, 2, 4, 8, 16

# So many executors are kept for the next calls, as many threads may predict at once; of large ones,
# for more images than the largest group, fewer.
MAX_FREE, MAX_FREE_LARGE = 8, 2


class Predictor:
    """Computes the outputs of a network, in any thread.

    Parameters
    ----------
    network : Network
    values : list of dicts of ndarrays
        The parameters of each layer by name; they are copied.
    loss : Loss
    """

    def __init__(self, network, values, loss):
        self._network, self._loss = network, loss
        self._could_compile = _compiled.is_available()
        self._parameters = Parameters(network, values, freeze="all")
        self._start(_compiled.can_run(network, loss, self._parameters.vector.dtype))

    def _start(self, compiled):
        dtype = self._parameters.vector.dtype
        self._division, self._packed = Division(self._network, dtype, compiled), None
        if compiled:
            self._packed = _compiled.PackedParameters(self._network, self._parameters, self._loss)
            self._packed.pack()
        self._free = {}  # executors by size that no thread uses

    @property
    def is_current(self):
        """Whether compiled loops are still available, or still not."""
        return self._could_compile == _compiled.is_available()

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        few = GROUP_SIZES[-2]  # which fill vectors
        tasks = self._division.predictions(X.shape[0], few if self._packed else None)
        try:
            if self._packed and len(tasks) == 1:
                return self._outputs(X)
            with threads() as map:
                return np.concatenate([*map(lambda rows: self._outputs(X[rows]), tasks)])
        except _compiled.CompilationError:
            self._start(compiled=False)
            return self.outputs(X)

    def _outputs(self, X):
        n = X.shape[0]
        size = next((size for size in GROUP_SIZES if size >= n), GROUP_SIZES[-1] + 1)
        is_large = size > GROUP_SIZES[-1]
        free = self._free.setdefault(size, deque(maxlen=MAX_FREE_LARGE if is_large else MAX_FREE))
        try:
            executor = free.pop()
        except IndexError:
            executor = self._new_executor(min(size, GROUP_SIZES[-1]))
        T = executor.outputs(X)
        free.append(executor)
        return T

    def _new_executor(self, size):
        if self._packed:
            return _compiled.CompiledExecutor(self._packed, size)
        return ArrayExecutor(self._network, self._parameters, self._loss)
