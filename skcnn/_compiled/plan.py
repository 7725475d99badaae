"""The layout of a network in the compiled loops: its parameters, its memory and its tables."""

from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

CACHE_LINE = 64  # bytes
FILTERS = 4  # that are computed together
TAPS = 9  # that are computed together; a filter is filled up to a multiple


class Layout:
    """The layout of the parameters.

    What is learnt comes first: intercepts, filters, dense weights. Each array begins at a cache
    line. The taps of a filter stand channel by channel, so that three in a row lie side by side in
    an image; they are filled up with zeros to a multiple of nine, and those that are never computed
    follow. Where one loop goes over all rows of an image, the rows of A are longer than the image;
    so are those of the first dense layer's weights, with zeros at their ends.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    a_row : int
        Length of the rows of A.

    Attributes
    ----------
    starts : list of pairs of int
        Where the weights and the intercepts of each layer begin.
    n_intercepts, n_small, n_learnt, size : int
        Where what is learnt of the intercepts ends, of the filters, and of the dense weights; and
        the length of the whole vector.
    a_row : int
        Length of a row of the last A.
    n_in : list of int
        Number of inputs of each dense layer.
    filters : list of Filters
        The layout of the filters of each convolution layer.
    """

    def __init__(self, network, parameters, a_row):
        self._parameters = parameters
        self._width, self.a_row = network.convolutions[-1].out_shape[1], a_row
        self.filters = [Filters(layer) for layer in network.convolutions]
        self.n_in = [layer.n_in for layer in network.denses]
        self.n_in[0] = self.n_in[0] // self._width * a_row
        rows = [filters.size for filters in self.filters] + self.n_in
        place, ends = Allocator(parameters.vector.dtype), []
        self.starts = [[0, 0] for _ in network.layers]
        for learnt in (True, False):
            for m, kind in ((1, None), (0, "filters"), (0, "dense")):
                for k, layer in enumerate(network.layers):
                    if parameters.learnt[k][m] is learnt and kind in (None, layer.kind):
                        (n_rows,) = layer.shapes[1]
                        self.starts[k][m] = place(n_rows * (rows[k] if m == 0 else 1))
                ends.append(place.end)
        self.n_intercepts, self.n_small, self.n_learnt, *_, self.size = ends

    def pairs(self, vector, packed):
        """Return each array in a vector of `Parameters` and in one of this layout.

        Filters are rows of taps, in another order in the one than in the other.
        """
        pairs = []
        for k, arrays in enumerate(self._parameters.views(vector)):
            for array, start in zip(arrays, self.starts[k]):
                if array is None:
                    continue
                row = width = 1
                taps = columns = slice(None)
                if array.ndim == 4:
                    filters = self.filters[k]
                    taps, columns = filters.taps, filters.columns
                    row, width = filters.size, len(taps)
                elif array.ndim == 2 and k == len(self.filters):
                    row, width = self.a_row, self._width
                    columns = slice(width)
                rows = array.reshape(-1, width, copy=False)
                packed_rows = packed[start : start + len(rows) * row].reshape(-1, row)
                pairs.append((rows, taps, packed_rows, columns))
        return pairs

    def padded_inputs(self, keep):
        """Return inputs of the dense layers, (n, n_inputs) or none, in this layout."""
        if self.a_row == self._width or not keep.size:
            return keep.astype(self._parameters.vector.dtype, copy=False)  # `KEEP_ALL` is float64
        n, n_in = len(keep), self.n_in[0] // self.a_row * self._width
        first = np.zeros((n, self.n_in[0] // self.a_row, self.a_row), keep.dtype)
        first[..., : self._width] = keep[:, :n_in].reshape(n, -1, self._width)
        return np.hstack([first.reshape(n, -1), keep[:, n_in:]])


def pack(pairs):
    """Copy the arrays of `Layout.pairs` from a vector of `Parameters`."""
    for rows, taps, packed_rows, columns in pairs:
        packed_rows[:, columns] = rows[:, taps]


def unpack(pairs):
    """Copy the arrays of `Layout.pairs` to a vector of `Parameters`."""
    for rows, taps, packed_rows, columns in pairs:
        rows[:, taps] = packed_rows[:, columns]


class Filters:
    """The layout of the filters of a convolution layer, a filter in a row.

    Attributes
    ----------
    taps, columns : ndarrays of int
        The taps as they stand in W, and in which column each is.
    n_live, n_taps, size : int
        Number of taps that are computed, the same filled up, and length of a row.
    """

    def __init__(self, layer):
        taps = np.arange(layer.fan_in)
        live = layer.live(taps.reshape(1, *layer.shapes[0][1:]))[0].transpose(2, 0, 1).ravel()
        self.taps = np.append(live, np.setdiff1d(taps, live))
        self.n_live, n_fill = live.size, -live.size % TAPS
        self.n_taps, self.size = live.size + n_fill, taps.size + n_fill
        self.columns = np.where(taps < live.size, taps, taps + n_fill)


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
    """Return how far apart arrays of a size are to begin where four are written side by side.

    A processor takes a load for one that waits for an earlier store where their addresses differ by
    nearly a multiple of 4 KiB. Without this, the gradient of a layer's input took twice as long for
    images of 8 x 8 pixels.
    """
    period, least = 512, 32  # 4 KiB of float64; of float32, half of that is the period
    while any(not least <= k * size % period <= period - least for k in range(1, FILTERS)):
        size += 16  # a cache line, or two
    return size


def a_row_of(layer, m):
    """Return the number of pixels in a row of A, and between rows where one run goes over all."""
    _, W, _ = layer.in_shape
    return W + layer.kernel[1] - 1 if m == 1 and prod(layer.pool) == 1 else layer.out_shape[1]


def offsets_of(layer, row, m):
    """Return the offsets from a pixel to the input of each tap, for filters and filters reversed.

    The order is channel by channel; both are filled up to a multiple of nine.
    """
    (H, _, C), kernel = layer.in_shape, layer.kernel
    channel = (H + kernel[0] - 1) * row
    of_both = []
    for n_channels in (C, layer.n_filters):
        c, u, v = np.indices((n_channels, *kernel)).reshape(3, -1)
        offsets = c * channel + u * row + v * m
        of_both.append(np.append(offsets, np.zeros(-len(offsets) % TAPS)).astype(np.uintp))
    return of_both


def reversal_of(layer, filters, start):
    """Return where each weight of the filters reversed is in the vector, -1 to fill up.

    They are rows, one for each channel, with the taps of all filters, see `offsets_of`.
    """
    F, C, (height, width) = layer.n_filters, layer.in_shape[2], layer.kernel
    c, f, u, v = np.indices((C, F, height, width)).reshape(4, C, -1)
    columns = (c * height + height - 1 - u) * width + width - 1 - v
    indices = start + f * filters.size + columns
    return np.pad(indices, ((0, 0), (0, -indices.shape[1] % TAPS)), constant_values=-1)


class Tables(NamedTuple):
    """The tables of a network for `skcnn._loops`, where their entries are explained."""

    sizes: dict
    convolutions: list
    denses: list
    offsets: np.ndarray
    reversal: np.ndarray
    fills: np.ndarray
    scratch_size: int


def tables_of(network, parameters, layout, n, m):
    """Return the tables of a network, for n images whose activations are kept, in groups of m."""
    convolutions, denses, offsets, reversal, fills = [], [], [], [], []
    n_offsets = n_reversed = column = 0
    for k, layer in enumerate(network.convolutions):
        filters, (W, b) = layout.filters[k], layout.starts[k]
        record = sizes_of(layer, m, a_row=layout.a_row if layer is network.convolutions[-1] else 0)
        record.update(filters=W, filters_row=filters.size, n_taps=filters.n_taps, taps=n_offsets)
        record.update(b=b, learns_b=parameters.learnt[k][1], reversed=n_reversed)
        of_filters, of_reversed = offsets_of(layer, record["row"], m)
        record.update(reversed_taps=n_offsets + len(of_filters), n_reversed=len(of_reversed))
        offsets += [of_filters, of_reversed]
        n_offsets += len(of_filters) + len(of_reversed)
        if k > 0:
            reversal.append(reversal_of(layer, filters, W).ravel())
            n_reversed += len(reversal[-1])
        if parameters.learnt[k][0]:
            rows = W + filters.size * np.arange(layer.n_filters)
            fills.append(np.add.outer(rows, np.arange(filters.n_live, filters.n_taps)).ravel())
        convolutions.append(record)
    for k, layer in enumerate(network.denses):
        n_in, outputs = layout.n_in[k], column + layout.n_in[k]
        (V, c), (learns_V, learns_c) = (
            pairs[len(convolutions) + k] for pairs in (layout.starts, parameters.learnt)
        )
        record = dict(n_in=n_in, n_out=layer.n_outputs, V=V, c=c, inputs=column, outputs=outputs)
        denses.append({**record, "learns_V": learns_V, "learns_c": learns_c})
        column = outputs
    sizes = dict(m=m, n_together=n, learns_filters=parameters.learnt[0][0])
    sizes.update(n_zeroed=layout.n_small, n_intercepts=layout.n_intercepts)
    row = column + network.n_outputs
    scratch_size = _allocate(sizes, convolutions, row, n_reversed, parameters.vector.dtype)
    arrays = (
        np.concatenate([np.empty(0, dtype), *parts])
        for parts, dtype in ((offsets, np.uintp), (reversal, np.intp), (fills, np.intp))
    )
    return Tables(sizes, convolutions, denses, *arrays, scratch_size)


def sizes_of(layer, m, a_row):
    """Return the sizes of a convolution layer; ``a_row`` is 0 unless it is the last one."""
    (H, W, C), (height, width), (p, q) = layer.in_shape, layer.kernel, layer.pool
    row = (W + width - 1) * m
    channel, da_row = (H + height - 1) * row, max(W // q, a_row) * m
    rows, one_run = (H, W * m), (1, H * row)  # over the pixels between the rows too
    relu_runs, relu_length = one_run if a_row * m == row else rows
    n_runs, length = one_run if m == 1 else rows
    record = dict(H=H, W=W, C=C, F=layer.n_filters, p=p, q=q, m=m, row=row, channel=channel)
    record.update(n_runs=n_runs, length=length, relu_runs=relu_runs, relu_length=relu_length)
    record.update(corner=height // 2 * row + width // 2 * m)
    record.update(dZ_corner=(height - 1) // 2 * row + (width - 1) // 2 * m)
    record.update(X_size=C * channel + (width - 1) * m)  # one run goes beyond the last row
    record.update(Z_channel=spread(H * row), dA_row=da_row, dA_channel=H // p * da_row)
    return record


def _allocate(sizes, convolutions, row, n_reversed, dtype):
    """Add to the sizes where arrays begin in the scratch, and return its length.

    Each group of images has a region for what the forward pass leaves for the backward pass. The
    output of a layer is written into the padding of the next one.
    """
    m, n, last = sizes["m"], sizes["n_together"], convolutions[-1]
    region, place = Allocator(dtype), Allocator(dtype)
    for record in convolutions:
        if record is not last:  # it is the dX of the next layer
            record["dA_channel"] = spread(record["dA_channel"])
        size = record["F"] * record["dA_channel"]
        record["X"] = region(record["X_size"])
        record["winners"] = region(size if record["p"] * record["q"] > 1 else 0)
        record["dA"] = region(row if record is last and m == 1 else size)
    for record, after in pairwise(convolutions):
        record.update(A=after["X"] + after["corner"])
        record.update(A_row=after["row"], A_channel=after["channel"])
        after.update(dX=record["dA"], dX_row=record["dA_row"], dX_channel=record["dA_channel"])
    last["A"] = region(row if m == 1 else last["F"] * last["dA_channel"])
    last.update(A_row=last["dA_row"], A_channel=last["dA_channel"])
    convolutions[0].update(dX=0, dX_row=0, dX_channel=0)
    place(-(-n // m) * region.end)
    if m == 1:  # an image's output of the last layer is where the dense layers find it
        sizes.update(A=last["A"], dA=last["dA"], row=region.end)
    else:
        sizes.update(A=place(n * row), dA=place(n * row), row=row)
    Z = place(FILTERS * max(record["Z_channel"] for record in convolutions))
    best = place(5 * max(record["W"] * m for record in convolutions))
    sizes.update(region=region.end, reversed=place(n_reversed))
    for record in convolutions:
        n_filters = record["F"] if record["dX_channel"] else min(record["F"], FILTERS)
        dZ = place(n_filters * record["channel"] + record["row"])
        record.update(Z=Z, best=best, dZ=dZ, reversed=sizes["reversed"] + record["reversed"])
    return place.end
