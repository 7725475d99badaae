"""The layout of a network's parameters in the compiled loops, and of arrays in memory."""

from typing import NamedTuple

import numpy as np

CACHE_LINE = 64  # bytes
FILTERS = 4  # whose gradients are computed together


class Layout:
    """The layout of the parameters.

    What is learnt comes first: intercepts, filters, dense weights. Each array begins at a cache
    line. The taps of a filter stand channel by channel, and those that are never computed follow.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    rows : tuple (width, stride)
        Length of the rows of the inputs of the first dense layer, and how far apart they are in
        memory, with zeros between them.

    Attributes
    ----------
    starts : list of dicts of int
        Where each parameter of each layer begins, by name.
    filters : dict of Filters
        The layout of the filters of each convolution layer, by the index of the layer.
    n_in : dict of int
        Number of inputs of each dense layer in memory, likewise.
    n_intercepts, n_zeroed, n_learnt, size : int
        Where what is learnt of the intercepts ends, of the filters, and of the dense weights; and
        the length of the whole vector.
    """

    def __init__(self, network, parameters, rows):
        self._parameters, self._rows = parameters, rows
        layers = [*enumerate(network.layers)]
        self.filters = {k: Filters(layer) for k, layer in layers if layer.group == "filters"}
        self.n_in = {k: layer.n_in for k, layer in layers if layer.group == "dense"}
        self._first_dense = min(self.n_in)
        self.n_in[self._first_dense] = self.padded_length(self.n_in[self._first_dense])
        allocate, ends = Allocator(parameters.vector.dtype), []
        self.starts = [{} for _ in layers]
        for is_learnt in (True, False):
            for decays, group in ((False, None), (True, "filters"), (True, "dense")):
                for k, layer in layers:
                    for parameter in layer.parameters:
                        learnt = parameter.name in parameters.learnt[k]
                        belongs = parameter.decays is decays and group in (None, layer.group)
                        if learnt is is_learnt and belongs:
                            n_rows, row = parameter.shape[0], self._row(k, decays)
                            self.starts[k][parameter.name] = allocate(n_rows * row)
                ends.append(allocate.end)
        self.n_intercepts, self.n_zeroed, self.n_learnt, *_, self.size = ends

    def _row(self, k, decays):
        """Return the length of a row of weights of a layer in memory, or of an intercept."""
        if not decays:
            return 1
        return len(self.filters[k].taps) if k in self.filters else self.n_in[k]

    def padded_length(self, n):
        """Return the length in memory of n inputs of the first dense layer."""
        width, stride = self._rows
        return n // width * stride

    def arrays(self, vector, packed):
        """Return the arrays of a vector of `Parameters`, each with its place in one like this.

        Returns
        -------
        arrays : list of PackedArray
        """
        arrays = []
        for k, params in enumerate(self._parameters.views(vector)):
            for name, array in params.items():
                row = width = 1
                taps = columns = slice(None)
                if array.ndim == 4:
                    taps = self.filters[k].taps
                    row = width = len(taps)
                elif array.ndim == 2 and k == self._first_dense:
                    width, row = self._rows
                    columns = slice(width)
                rows = array.reshape(-1, width, copy=False)
                start = self.starts[k][name]
                packed_rows = packed[start : start + len(rows) * row].reshape(-1, row)
                arrays.append(PackedArray(rows, taps, packed_rows, columns))
        return arrays

    def padded_mask(self, mask):
        """Return a dropout mask, (n, n_dropout_inputs), in this layout."""
        (width, stride), n = self._rows, len(mask)
        if width == stride:
            return mask
        n_in = self.n_in[self._first_dense] // stride * width
        first = np.zeros((n, n_in // width, stride), mask.dtype)
        first[..., :width] = mask[:, :n_in].reshape(n, -1, width)
        return np.hstack([first.reshape(n, -1), mask[:, n_in:]])


class PackedArray(NamedTuple):
    """An array of parameters, a filter or a unit in a row, and its rows in a packed vector."""

    rows: np.ndarray
    taps: np.ndarray | slice  # of a row, in the order of the packed one
    packed_rows: np.ndarray
    columns: np.ndarray | slice  # of the packed row


def pack(arrays):
    """Copy the arrays of `Layout.arrays` from a vector of `Parameters`."""
    for rows, taps, packed_rows, columns in arrays:
        packed_rows[:, columns] = rows[:, taps]


def unpack(arrays):
    """Copy the arrays of `Layout.arrays` to a vector of `Parameters`."""
    for rows, taps, packed_rows, columns in arrays:
        rows[:, taps] = packed_rows[:, columns]


class Filters:
    """The layout of the filters of a convolution layer, a filter in a row.

    Parameters
    ----------
    layer : Convolution

    Attributes
    ----------
    taps : ndarray of int
        The taps as they stand in W, in their order here.
    n_effective : int
        Number of taps that are computed, which come first.
    """

    def __init__(self, layer):
        taps = np.arange(layer.fan_in)
        W = taps.reshape(1, *layer.parameters[0].shape[1:])
        effective = layer.effective(W)[0].transpose(2, 0, 1).ravel()
        self.taps = np.append(effective, np.setdiff1d(taps, effective))
        self.n_effective = effective.size


class Allocator:
    """Divides memory into arrays that begin at cache lines."""

    def __init__(self, dtype):
        self._line = CACHE_LINE // dtype.itemsize
        self.end = 0

    def __call__(self, size):
        """Return where an array of ``size`` elements begins."""
        start = self.end
        self.end += size + -size % self._line
        return start


def aligned_zeros(size, dtype):
    """Return an array of zeros that begins at a cache line.

    Vectors across two lines take twice as long to load.
    """
    buffer = np.zeros(size + CACHE_LINE // dtype.itemsize, dtype)
    start = -buffer.ctypes.data // buffer.itemsize % (CACHE_LINE // dtype.itemsize)
    return buffer[start : start + size]


def spread(size):
    """Return a stride that keeps four arrays of a size from aliasing at 4 KiB.

    A processor takes a load for one that waits for an earlier store where their addresses differ by
    nearly a multiple of 4 KiB. With it, the gradient of a layer's input took twice as long for
    images of 8 x 8 pixels.
    """
    period, least = 512, 32  # 4 KiB of float64; of float32, half of that is the period
    while any(not least <= k * size % period <= period - least for k in range(1, FILTERS)):
        size += 16  # a cache line, or two
    return size
