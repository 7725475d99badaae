"""The door to the compiled loops: whether they are available, their tables and their memory.

The loops stand in `skcnn._loops`, which is imported, and compiled or loaded from numba's cache,
when the first network is computed. The environment variable ``SKCNN_FAST=0`` goes without.
"""

import os
import warnings
from functools import cache
from math import prod

import numpy as np

from ._network import aligned_zeros

# Images go through the convolution layers in groups of this size.
GROUP = 16

# Where dense weights and their gradient are larger than this, as many images go through the dense
# layers together as have activations of this size: each piece of the weights is read once for all.
CACHE_BYTES = 2**18

# The images that are converted at a time.
CHUNK_BYTES = 2**21

_reasons = []  # why there are no loops in this process


class CompilationError(Exception):
    """The loops cannot be compiled; nothing was computed."""


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
        from . import _loops as module
    except ModuleNotFoundError:
        return None
    except Exception as error:  # numba refuses to work with some versions of NumPy, for example
        _go_without(error)
        return None
    return module


def is_available():
    """Return whether there are compiled loops, and they are wanted."""
    wanted = os.environ.get("SKCNN_FAST", "1") != "0"
    return wanted and not _reasons and _loops() is not None


def as_rows(X, dtype):
    """Return images, sparse or not, as the loops want them: the same array if it is so already.

    They are compiled for arrays that may be written to, which is no other machine code.
    """
    X = X.toarray() if hasattr(X, "toarray") else X
    return np.require(X.reshape(len(X), -1), dtype, "CAWE")


def are_rows(X, dtype):
    """Return whether images are as the loops want them, so that `as_rows` copies nothing."""
    return isinstance(X, np.ndarray) and X.dtype == dtype and X.flags.carray


class Workspace:
    """A network in compiled loops, with its memory.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    n_images : int
        Images of a batch.
    """

    def __init__(self, network, parameters, n_images):
        self._network, self._parameters = network, parameters
        self._dtype = parameters.vector.dtype
        self._n_together, self._m = _n_together(network, self._dtype, n_images)
        self._layout = Layout(network, parameters, self._m)
        vector, size = parameters.vector, self._layout.n_learnt
        if self._layout.is_padded:
            vector = aligned_zeros(self._layout.size, self._dtype, self._layout.aligned)
        self._vector = vector
        self._gradient = aligned_zeros(size, self._dtype, self._layout.aligned)
        tables, sizes = self._tables()
        self._in_loops = _loops().Network(tables, vector, self._gradient, self._scratch(*sizes))

    def _tables(self):
        """Return the `Tables` of the loops, and the sizes of what is in the scratch."""
        loops, m, layout = _loops(), self._m, self._layout
        convolutions, denses, taps, offsets = [], [], [], []
        kept = winners = dZ = weights = n_responses = n_best = 0
        for k, layer in enumerate(self._network.convolutions):
            (H, W, C), (height, width), (p, q) = layer.in_shape, layer.kernel, layer.pool
            F, row = layer.n_filters, (W + width - 1) * m
            A_row = a_row_of(layer, m)
            A_size = H // p * A_row
            of_layer = taps_of(layer, row, m)
            n_taps, n_reversed = (len(of_taps) for of_taps, _ in of_layer)
            n_padded = (H + height - 1) * row
            starts, learnt = layout.starts[k], self._parameters.learnt[k]
            convolutions.append(
                (
                    *(H, W, C, F, p, q, height, width, n_taps, n_reversed),
                    *(*starts, prod(layer.shapes[0][1:]), *learnt, sum(map(len, taps)), weights),
                    *(kept, kept + C * n_padded, A_row, A_size, winners, dZ + F * A_size, dZ),
                )
            )
            for of_taps, of_offsets in of_layer:
                taps.append(of_taps)
                offsets.append(of_offsets)
            kept += C * n_padded + F * A_size + row
            winners += F * A_size if p * q > 1 else 0
            dZ += F * A_size + (F if k > 0 else min(F, loops.FILTERS)) * n_padded + row
            weights += 2 * F * n_taps + C * n_reversed
            n_responses, n_best = max(n_responses, H * row), max(n_best, W * m)
        start = 0
        for k, layer in enumerate(self._network.denses, start=len(convolutions)):
            n_in = layout.n_inputs[k - len(convolutions)]
            starts, learnt = layout.starts[k], self._parameters.learnt[k]
            denses.append((n_in, layer.n_outputs, *starts, *learnt, start))
            start += n_in
        of_layers = np.array(convolutions, np.intp), np.array(denses, np.intp)
        tables = loops.Tables(*of_layers, np.concatenate(taps), np.concatenate(offsets), m)
        return tables, (kept, winners, dZ, weights, n_responses, n_best)

    def _scratch(self, kept, winners, dZ, weights, n_responses, n_best):
        """Return the `Scratch` of the loops."""
        loops, n, n_inputs = _loops(), self._n_together, sum(self._layout.n_inputs)
        n_groups = -(-n // self._m)

        def zeros(*shape):
            return aligned_zeros(prod(shape), self._dtype).reshape(shape)

        return loops.Scratch(
            kept=zeros(n_groups, kept),
            winners=zeros(n_groups, winners),
            Z=zeros(loops.FILTERS, n_responses),
            best=zeros(4, n_best),
            dZ=zeros(dZ),
            weights=zeros(weights),
            A=zeros(n, n_inputs),
            dA=zeros(n, n_inputs),
            dT=zeros(n, self._network.n_outputs),
        )

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        T = np.empty((X.shape[0], self._network.n_outputs), self._dtype)
        nothing = np.empty((0, 0), self._dtype)
        self._layout.pack(self._parameters.vector, self._vector)
        for rows in self._chunks(X.shape[0]):
            images = as_rows(X[rows], self._dtype)
            data = _loops().Data(images, nothing, nothing.ravel(), np.arange(len(images)), nothing)
            self._run(data, T[rows], _loops().OUTPUTS)
        return T

    def gradient(self, X, Y, s, keep, T):
        """Write the outputs into T, and return the gradient of the weighted loss, without penalty.

        It is overwritten by the next call.
        """
        self._layout.pack(self._parameters.vector, self._vector)
        for rows in self._chunks(X.shape[0]):
            images = as_rows(X[rows], self._dtype)
            of_rows = self._keep(None if keep is None else keep[rows])
            data = _loops().Data(images, Y[rows], s[rows], np.arange(len(images)), of_rows)
            self._run(data, T[rows], _loops().GRADIENT, overwrite=rows.start == 0)
        return self._layout.unpacked(self._gradient)

    def run_epoch(self, solver, X, Y, s, rows, keep, batch_size, alpha, eta):
        """Take a step for every batch of some rows of the data, and return their outputs."""
        data = _loops().Data(as_rows(X, self._dtype), Y, s, rows, self._keep(keep))
        T = np.empty((len(rows), self._network.n_outputs), self._dtype)
        layout, parameters = self._layout, self._parameters
        layout.pack(parameters.vector, self._vector)
        memory = np.zeros((len(solver.memory), layout.n_learnt), self._dtype)
        for of, to in zip(solver.memory, memory):
            layout.pack(of, to)
        steps = alpha, eta, solver.constants, memory, solver.t
        solver.t = self._run(data, T, getattr(_loops(), solver.rule), batch_size, True, *steps)
        parameters.vector[...] = layout.unpacked(self._vector)
        for of, to in zip(memory, solver.memory):
            to[...] = layout.unpacked(of)
        return T

    def _run(
        self,
        data,
        T,
        rule,
        batch_size=None,
        overwrite=True,
        alpha=0.0,
        eta=0.0,
        constants=(0.0, 0.0, 0.0),
        memory=None,
        t=0,
    ):
        """Call the loops; raise `CompilationError` where they cannot be compiled."""
        batch_size = len(data.rows) if batch_size is None else batch_size
        memory = np.empty((0, 0), self._dtype) if memory is None else memory
        steps = alpha, eta, constants, memory, t
        try:
            return _loops().run(self._in_loops, data, T, batch_size, overwrite, rule, *steps)
        except _loops().CompilationError as failure:
            _go_without(failure.__cause__)
            raise CompilationError from failure

    def _keep(self, keep):
        """Return the factors for dropout in the layout of the inputs of the dense layers."""
        if keep is None:
            return np.empty((0, 0), self._dtype)
        return self._layout.padded_inputs(keep)

    def _chunks(self, n):
        """Yield slices of n images that are converted together."""
        size = max(1, CHUNK_BYTES // (self._network.n_values * self._dtype.itemsize))
        for start in range(0, n, size):
            yield slice(start, min(start + size, n))


class Layout:
    """The layout of the parameters in the loops.

    It is that of `Parameters`, except where one loop goes over all rows of an image: there the rows
    of A are longer than the image, and so are those of the first dense layer's weights, with zeros.

    Attributes
    ----------
    is_padded : bool
        Whether it is another layout.
    size, n_learnt : int
        Length of the vector of parameters, and of what is learnt, which is its beginning.
    starts : list of pairs of int
        Where each array begins.
    aligned : int
        Where the array begins that is to begin at a cache line.
    n_inputs : list of int
        Of each dense layer.
    """

    def __init__(self, network, parameters, m):
        last, first_dense = network.convolutions[-1], len(network.convolutions)
        height, width, _ = last.out_shape
        row = a_row_of(last, m) // m
        self.is_padded = row > width
        self.starts, self.aligned = parameters.starts, parameters.aligned
        self.size, self.n_learnt = parameters.vector.size, parameters.theta.size
        self.n_inputs = [layer.n_in for layer in network.denses]
        if not self.is_padded:
            return
        n_in, n_outputs = self.n_inputs[0], network.denses[0].n_outputs
        self._row, self._width = row, width
        self._start = start = parameters.starts[first_dense][0]
        self._n_rows = n_outputs * n_in // width
        self.n_inputs[0] = n_in // width * row
        shift = self._n_rows * (row - width)  # of all that comes behind these weights
        self.starts = [[s + shift * (s > start) for s in pair] for pair in parameters.starts]
        self.aligned += shift * (self.aligned > start)
        self.n_learnt += shift * (self.n_learnt > start)
        self.size += shift

    def pack(self, vector, out):
        """Write parameters, or what else is as long, in this layout."""
        if self.is_padded:
            self._copy(vector, out, self._width, self._row)
        elif out is not vector:
            out[...] = vector

    def unpacked(self, vector):
        """Return a vector of this layout in that of `Parameters`."""
        if not self.is_padded:
            return vector
        shift = self._n_rows * (self._row - self._width) * (len(vector) > self._start)
        out = np.empty(len(vector) - shift, vector.dtype)
        self._copy(vector, out, self._row, self._width)
        return out

    def _copy(self, of, to, row_of, row_to):
        """Copy a vector with rows of one length in the weights to one with another."""
        start = self._start
        to[:start] = of[:start]
        if len(of) > start:
            end_of, end_to = (start + self._n_rows * row for row in (row_of, row_to))
            rows_of = of[start:end_of].reshape(-1, row_of)
            rows_to = to[start:end_to].reshape(-1, row_to)
            rows_to[:, : self._width] = rows_of[:, : self._width]
            to[end_to:] = of[end_of:]

    def padded_inputs(self, keep):
        """Return inputs of the dense layers, (n, n_inputs), in this layout."""
        if not self.is_padded:
            return keep
        n_rows = self.n_inputs[0] // self._row
        padded = np.zeros((len(keep), sum(self.n_inputs)), keep.dtype)
        of, to = keep[:, : n_rows * self._width], padded[:, : self.n_inputs[0]]
        to.reshape(len(keep), n_rows, self._row, copy=False)[..., : self._width] = of.reshape(
            len(keep), n_rows, self._width
        )
        padded[:, self.n_inputs[0] :] = keep[:, n_rows * self._width :]
        return padded


def a_row_of(layer, m):
    """Return the length of a row of A in the loops, for a group of m images."""
    _, W, _ = layer.in_shape
    if m == 1 and prod(layer.pool) == 1:
        return W + layer.kernel[1] - 1
    return layer.out_shape[1] * m


def _n_together(network, dtype, n_images):
    """Return how many images' activations are kept at a time, and the size of a group."""
    if len(network.convolutions) > 1 or prod(network.convolutions[0].pool) > 1:
        n = min(n_images, GROUP)
        return n, n
    # In a network of one layer without pooling, the images go through it one by one.
    of_images = 2 * network.n_dense_inputs * dtype.itemsize
    of_weights = 2 * sum(layer.work for layer in network.denses) * dtype.itemsize
    together = CACHE_BYTES // of_images if of_weights > CACHE_BYTES else 1
    return max(1, min(together, n_images)), 1


def taps_of(layer, row, m):
    """Return taps and offsets of a layer's filters, and of these reversed.

    Taps are places in a filter, or for the filters reversed in all of them, -1 to fill up with;
    offsets lead from a pixel to the input of the tap.
    """
    (H, _, C), (height, width) = layer.in_shape, layer.kernel
    channel = (H + height - 1) * row

    places = np.arange(prod(layer.shapes[0])).reshape(layer.shapes[0])
    live = layer.live(places)  # (F, height, width, C)

    def filled_up(taps, i, u, v):
        offsets = i * channel + u * row + v * m
        n = -len(taps) % 9
        return (
            np.append(taps, np.full(n, -1)).astype(np.intp),
            np.append(offsets, np.zeros(n)).astype(np.uintp),
        )

    # Channel by channel, so that three taps in turn lie side by side.
    c, u, v = np.indices((C, height, width)).reshape(3, -1)
    f, y, x = np.indices((layer.n_filters, height, width)).reshape(3, -1)
    return (
        filled_up(live[0, u, v, c], c, u, v),
        filled_up(live[f, height - 1 - y, width - 1 - x, 0], f, y, x),
    )
