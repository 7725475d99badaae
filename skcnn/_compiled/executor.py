"""Runs a network in compiled loops, with the interface of `skcnn._engine.executor`."""

import numpy as np

from . import records
from .availability import go_without, interpreter, is_available
from .errors import CompilationError
from .layout import aligned_zeros, pack, unpack
from .plan import can_plan, make_layout, make_plan
from .records import LAYER, NETWORK, STAGE, Data, Network, table

MAX_BYTES = 2**21  # of images that are converted at a time


def can_run(network, loss, dtype):
    """Return whether compiled loops are available for a network and its loss."""
    return is_available() and can_plan(network, loss, dtype)


def as_rows(X, dtype):
    """Return images, sparse or not, as the loops want them: the same array if it is so already.

    To numba, read-only arrays are another type, for which it would compile everything again.
    """
    X = X.toarray() if hasattr(X, "toarray") else X
    return np.require(X.reshape(len(X), -1), dtype, "CAWE")


def are_rows(X, dtype):
    """Return whether images are as the loops want them, so that `as_rows` copies nothing."""
    return isinstance(X, np.ndarray) and X.dtype == dtype and X.flags.carray


class PackedParameters:
    """What the executors of a network share: its parameters in the loops' layout.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    loss : Loss

    Attributes
    ----------
    gradient : ndarray
        Where the gradient of a batch is to be written, for `unpacked_gradient`.
    """

    def __init__(self, network, parameters, loss):
        self.network, self.dtype = network, parameters.vector.dtype
        self._parameters, self._loss = parameters, loss
        self.layout = make_layout(network, parameters)
        self.vector = aligned_zeros(self.layout.size, self.dtype)
        self.arrays = self.layout.arrays(parameters.vector, self.vector)
        self._unpacked_gradient = parameters.new_gradient()
        self.gradient = self.new_gradient()
        self._gradient_arrays = self.layout.arrays(self._unpacked_gradient, self.gradient)

    def plan(self, n_images):
        """Return the plan of the network for batches of at most n images."""
        return make_plan(self.network, self._parameters, self._loss, self.layout, n_images)

    def pack(self):
        """Take over the parameters."""
        pack(self.arrays)

    def new_gradient(self):
        """Return memory for the gradient of a micro-batch."""
        return aligned_zeros(self.layout.n_learnt, self.dtype)

    def unpacked_gradient(self):
        """Return the gradient in the layout of `Parameters`, overwritten by the next call."""
        unpack(self._gradient_arrays)
        return self._unpacked_gradient


class CompiledExecutor:
    """Runs a network in compiled loops, and owns the memory.

    Parameters
    ----------
    packed : PackedParameters
        The network and its parameters, which are to be packed before each call.
    n_images : int
        Of a batch, or, as outputs need not all be computed at a time, of a part of it.
    """

    def __init__(self, packed, n_images):
        self._packed, self._n_values = packed, packed.network.n_values
        self._n_outputs, self._dtype = packed.network.n_outputs, packed.dtype
        self._nothing = np.empty((0, 0), self._dtype)
        plan = packed.plan(n_images)
        self._group_size = plan.stages[0]["group_size"]
        self._network = Network(
            table(NETWORK, [plan.sizes]),
            table(STAGE, plan.stages),
            table(LAYER, plan.layers),
            plan.offsets,
            plan.reversal,
            packed.vector,
            packed.gradient,
            aligned_zeros(plan.scratch_size, self._dtype),
        )

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        T, nothing = np.empty((X.shape[0], self._n_outputs), self._dtype), self._nothing
        data = Data(X, nothing, nothing.ravel(), np.arange(0), nothing)
        self._visit(self._network, data, T, records.OUTPUTS)
        return T

    def gradient(self, batch, T, out):
        """Write the outputs into T, and the gradient of the weighted loss, without penalty."""
        data = Data(batch.X, batch.Y, batch.s, np.arange(0), self._mask(batch.dropout_mask))
        self._visit(self._network._replace(gradient=out), data, T, records.GRADIENT)

    def _visit(self, network, data, T, rule):
        """Call the loops for a batch, of which a part are converted at a time."""
        size = MAX_BYTES // (self._n_values * self._dtype.itemsize)
        # A group that is not full takes as long.
        size = max(1, size // self._group_size) * self._group_size
        for start in range(0, len(T), size):
            rows = slice(start, start + size)
            X = as_rows(data.X[rows], self._dtype)
            order, mask = np.arange(len(X)), data.dropout_mask[rows]
            converted = Data(X, data.Y[rows], data.s[rows], order, mask)
            self._run(network, converted, T[rows], len(X), rule, overwrite=start == 0)

    def run_steps(self, solver, data, order, batch_size, alpha, eta):
        """Take a step on each batch of the data in an order, and return their outputs.

        ``data.X`` must be as `are_rows` says. See `skcnn._engine.executor.ArrayExecutor`.
        """
        mask = self._mask(data.dropout_mask)
        data = Data(as_rows(data.X, self._dtype), data.Y, data.s, order, mask)
        T = np.empty((len(order), self._n_outputs), self._dtype)
        memory = np.zeros((len(solver.memory), self._packed.layout.n_learnt), self._dtype)
        arrays = []
        for row, packed_row in zip(solver.memory, memory):
            arrays += self._packed.layout.arrays(row, packed_row)
        pack(arrays)
        state = alpha, eta, solver.constants, memory, solver.t
        rule = getattr(records, solver.rule)
        solver.t = self._run(self._network, data, T, batch_size, rule, state=state)
        unpack(self._packed.arrays + arrays)
        return T

    def _mask(self, mask):
        """Return a dropout mask in the loops' layout; without dropout, one of no columns."""
        return self._nothing if mask is None else self._packed.layout.padded_mask(mask)

    def _run(self, network, data, T, batch_size, rule, overwrite=True, state=None):
        """Call the loops; where they cannot be compiled, none are used from now on."""
        state = state or (0.0, 0.0, (0.0, 0.0, 0.0), self._nothing, 0)
        try:
            run = interpreter().run
            return run(network, data, T, batch_size, rule, overwrite, state)
        except CompilationError as failure:
            go_without(failure.__cause__)
            raise
