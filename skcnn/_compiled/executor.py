"""Interface to the compiled loops: whether they are available, their tables and their memory.

The loops stand in `skcnn._loops`, which is imported, and compiled or loaded from numba's cache,
when the first network is computed. The environment variable ``SKCNN_FAST=0`` goes without.
"""

import os
import warnings
from functools import cache
from math import prod

import numpy as np

from . import plan as _layout
from .jit import CompilationError

# Images go through the convolution layers in groups of at most this size, about equal in a batch.
GROUP = 16

# In a network of one layer without pooling they go through it one by one, and so many through the
# dense layers together, so that weights are read once for all of them; where weights and gradient
# exceed the cache, a whole group.
TOGETHER = 4
CACHE_BYTES = 2**18

# The images that are converted at a time.
CHUNK_BYTES = 2**21

_reasons = []  # why there are no loops in this process


def _go_without(reason):
    """Use no loops from now on, and warn with the reason, once."""
    _reasons.append(reason)
    if len(_reasons) == 1:
        warnings.warn(
            f"numba is installed but cannot be used ({type(reason).__name__}: {reason}); skcnn "
            "falls back to NumPy, which is slower. Install another version of numba, or set the "
            "environment variable SKCNN_FAST=0 to use NumPy without this warning.",
            RuntimeWarning,
        )


@cache
def _loops():
    """Return the module of the loops, or None where it cannot be imported."""
    try:
        from . import run as module
    except ModuleNotFoundError:
        return None
    except Exception as error:  # numba refuses to work with some versions of NumPy, for example
        _go_without(error)
        return None
    return module


def is_available():
    """Return whether compiled loops are available and not disabled."""
    wanted = os.environ.get("SKCNN_FAST", "1") != "0"
    return wanted and not _reasons and _loops() is not None


def can_run(network, loss, dtype):
    """Return whether compiled loops are available for a network.

    The offsets within all pooling windows must be exact in the float type.
    """
    largest = max(
        layer.pooling.window[0] * (layer.in_shape[1] + layer.kernel_size[1])
        for layer in network.group("filters")
    )
    return is_available() and largest <= 2 / np.finfo(dtype).eps


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
    """What the workspaces of a network share: its tables, and the parameters in their layout.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    n_images : int
        Images of a batch.

    Attributes
    ----------
    gradient : ndarray
        Where the gradient of a batch is to be written, for `unpacked_gradient`.
    """

    def __init__(self, network, parameters, n_images):
        self.network, self.dtype = network, parameters.vector.dtype
        n, m = _n_together(network, self.dtype, n_images)
        a_row = _layout.a_row_of(network.convolutions[-1], m)
        self.layout = _layout.Layout(network, parameters, a_row)
        self.tables = _layout.tables_of(network, parameters, self.layout, n, m)
        self.vector = _layout.aligned_zeros(self.layout.size, self.dtype)
        self.pairs = self.layout.pairs(parameters.vector, self.vector)
        self._unpacked_gradient = parameters.new_gradient()
        self.gradient = self.new_gradient()
        self._gradient_pairs = self.layout.pairs(self._unpacked_gradient, self.gradient)

    def pack(self):
        """Take over the parameters."""
        _layout.pack(self.pairs)

    def new_gradient(self):
        """Return memory for the gradient of a part of a batch."""
        return _layout.aligned_zeros(self.layout.n_learnt, self.dtype)

    def unpacked_gradient(self):
        """Return the gradient in the layout of `Parameters`, overwritten by the next call."""
        _layout.unpack(self._gradient_pairs)
        return self._unpacked_gradient


class CompiledExecutor:
    """A network in compiled loops, with its memory.

    Parameters
    ----------
    packed : Packed
        The network and its parameters, which are to be packed before each call.
    """

    def __init__(self, packed):
        self._packed, loops = packed, _loops()
        self._network, self._layout, self._dtype = packed.network, packed.layout, packed.dtype
        self._nothing = np.empty((0, 0), self._dtype)
        self._m = packed.tables.sizes["m"]
        tables, activation = packed.tables, getattr(loops, packed.network.loss.activation)
        self._in_loops = loops.Network(
            _table(loops.SIZES, [{**tables.sizes, "activation": activation}]),
            _table(loops.CONVOLUTION, tables.convolutions),
            _table(loops.DENSE, tables.denses),
            tables.offsets,
            tables.reversal,
            tables.fills,
            packed.vector,
            packed.gradient,
            _layout.aligned_zeros(tables.scratch_size, self._dtype),
        )

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        T = np.empty((X.shape[0], self._network.n_outputs), self._dtype)
        nothing = self._nothing
        self._visit(self._in_loops, _loops().OUTPUTS, X, nothing, nothing.ravel(), nothing, T)
        return T

    def gradient(self, X, Y, s, keep, T, out):
        """Write the outputs into T, and the gradient of the weighted loss, without penalty."""
        network = self._in_loops._replace(gradient=out)
        self._visit(network, _loops().GRADIENT, X, Y, s, self._layout.padded_inputs(keep), T)

    def _visit(self, network, rule, X, Y, s, keep, T):
        """Call the loops with all images in one batch, some of which are converted at a time."""
        chunk = CHUNK_BYTES // (self._network.n_values * self._dtype.itemsize)
        size = max(1, chunk // self._m) * self._m  # a group that is not full takes as long
        for start in range(0, len(T), size):
            rows = slice(start, start + size)
            images = as_rows(X[rows], self._dtype)
            data = _loops().Data(images, Y[rows], s[rows], np.arange(len(images)), keep[rows])
            self._run(network, data, T[rows], rule, len(images), overwrite=start == 0)

    def run_epoch(self, solver, X, Y, s, rows, keep, batch_size, alpha, eta):
        """Take a step for every batch of some rows of the data, and return their outputs."""
        if not are_rows(X, self._dtype):
            X, Y, s = take_rows(X, rows), Y.take(rows, axis=0), s.take(rows)
            rows = np.arange(len(rows))
        data = _loops().Data(as_rows(X, self._dtype), Y, s, rows, self._layout.padded_inputs(keep))
        T = np.empty((len(rows), self._network.n_outputs), self._dtype)
        memory = np.zeros((len(solver.memory), self._layout.n_learnt), self._dtype)
        pairs = []
        for row, packed_row in zip(solver.memory, memory):
            pairs += self._layout.pairs(row, packed_row)
        _layout.pack(pairs)
        steps = alpha, eta, solver.constants, memory, solver.t
        rule = getattr(_loops(), solver.rule)
        solver.t = self._run(self._in_loops, data, T, rule, batch_size, steps=steps)
        _layout.unpack(self._packed.pairs + pairs)
        return T

    def _run(self, network, data, T, rule, batch_size, overwrite=True, steps=None):
        """Call the loops; where they cannot be compiled, none are used from now on."""
        steps = steps or (0.0, 0.0, (0.0, 0.0, 0.0), self._nothing, 0)
        try:
            return _loops().run(network, data, T, batch_size, overwrite, rule, *steps)
        except CompilationError as failure:
            _go_without(failure.__cause__)
            raise


def _n_together(network, dtype, n_images):
    """Return how many images' activations are kept at a time, and the size of a group."""
    if len(network.convolutions) > 1 or prod(network.convolutions[0].pool) > 1:
        n_groups = -(-n_images // GROUP)
        n = -(-n_images // n_groups)  # a group that is not full takes as long
        return n, n
    of_weights = 2 * sum(layer.work for layer in network.denses) * dtype.itemsize
    return min(n_images, GROUP if of_weights > CACHE_BYTES else TOGETHER), 1


def _table(dtype, rows):
    """Return a table of records, for rows that are dicts."""
    records = np.array([tuple(row[name] for name in dtype.names) for row in rows], dtype)
    return records.view(np.recarray)
