"""The plan of a network for the compiled loops: a record for each layer, and all memory.

A group of images has a region of the scratch for what the forward pass leaves for the backward
pass. The output of a convolution layer is written into the padding of the next one's input, and
the gradient of the input is where the layer before finds that of its output.
"""

import re
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from .._nn.convolution import Convolution, padding
from .._nn.dense import Dense
from .._nn.dropout import Dropout
from .._nn.losses import LabelLogLoss, LogLoss, SquaredError
from .layout import FILTERS, Allocator, Layout, spread
from .records import (
    AVERAGE_POOLING,
    CONVOLUTION,
    DENSE,
    DROPOUT,
    IDENTITY,
    IMAGES,
    IN_PLACE,
    MAX_POOLING,
    NO_POOLING,
    ONE_IMAGE,
    PREFETCH,
    SIGMOID,
    SOFTMAX,
    TO_ROWS,
)

LOSSES = (LogLoss, LabelLogLoss, SquaredError)
ACTIVATIONS = {"sigmoid": SIGMOID, "softmax": SOFTMAX, "identity": IDENTITY}
KINDS = {Convolution: "C", Dropout: "D", Dense: "V"}  # letters, for the order of a row
POOLINGS = {"max": MAX_POOLING, "average": AVERAGE_POOLING}

# Images go through the convolution layers in groups of at most this size, about equal in a batch.
GROUP_SIZE = 16

# Of `skcnn._compiled.one_image`: so many images go through the dense layers together, so that
# weights are read once for all of them; where weights and gradient exceed the cache, a whole group.
MIN_CAPACITY = 9  # the taps that a lone filter, here the one unit of two classes, takes together
CACHE_BYTES = 2**18


def can_plan(network, loss, dtype):
    """Return whether there are loops for all layers of a network, in this order, and for its loss.

    The offsets within all pooling windows must be exact in the float type.
    """
    kinds = "".join(KINDS.get(type(layer), "?") for layer in network.layers)
    if not re.fullmatch("C+(D?V)+", kinds) or type(loss) not in LOSSES:
        return False
    largest = 2 / np.finfo(dtype).eps
    return all(
        (layer.pooling.is_identity or layer.pooling.name in POOLINGS)
        and layer.pooling.window[0] * (layer.in_shape[1] + layer.kernel_size[1]) <= largest
        for layer in network.group("filters")
    )


class Plan(NamedTuple):
    """What `skcnn._compiled.records.Network` needs, but for the arrays of parameters."""

    sizes: dict
    stages: list
    layers: list
    offsets: np.ndarray
    reversal: np.ndarray
    scratch_size: int


def is_one_image(network):
    """Return whether images are to go through a network one by one."""
    first = network.layers[0]
    return len(network.group("filters")) == 1 and first.pooling.is_identity


def make_layout(network, parameters):
    """Return the layout of the parameters of a network."""
    first = network.layers[0]
    width = first.in_shape[1]
    rows = (width, width + first.kernel_size[1] - 1) if is_one_image(network) else (1, 1)
    return Layout(network, parameters, rows)


def make_plan(network, parameters, loss, layout, n_images):
    """Return the plan of a network for batches of at most n images."""
    if is_one_image(network):
        weights = sum(layer.n_multiplications for layer in network.group("dense"))
        exceed_cache = 2 * weights * parameters.vector.itemsize > CACHE_BYTES
        n = min(n_images, GROUP_SIZE if exceed_cache else MIN_CAPACITY)
        planner = _Planner(network, parameters, layout, n, group_size=1)
        stages = planner.one_image()
    else:
        n = -(-n_images // -(-n_images // GROUP_SIZE))  # a group that is not full takes as long
        planner = _Planner(network, parameters, layout, n, group_size=n)
        stages = planner.groups()
    return planner.plan(stages, loss)


class _Planner:
    """Makes the records of a network, and divides the scratch.

    Parameters
    ----------
    n, group_size : int
        Number of images in memory, and of a group.
    """

    def __init__(self, network, parameters, layout, n, group_size):
        self._layers = [*enumerate(network.layers)]
        self._learnt, self._layout = parameters.learnt, layout
        self._n, self._m, self._dtype = n, group_size, parameters.vector.dtype
        self._n_columns = sum(layout.n_in.values()) + network.n_outputs
        self._region, self._scratch = Allocator(self._dtype), Allocator(self._dtype)
        self._records, self._offsets, self._reversal = [], [], []
        self._reversed = 0  # where the filters reversed begin

    def one_image(self):
        """Plan a convolution layer whose output is an image's row of the dense layers."""
        image = self._add(0, ONE_IMAGE)
        record, region = self._add_filters(*self._layers[0]), self._region
        A, dA, size = region(self._n_columns), region(self._n_columns), record["H"] * record["row"]
        record.update(X=region(record["X_size"]), A=A, dA=dA, Z=A, pooling=IN_PLACE, keeps_Z=True)
        record.update(A_channel=size, dA_channel=size, dZ_channel=size, Z_channel=size)
        record.update(dZ_origin=0)
        self._read_images(image, record)
        self._add(0, PREFETCH, n_prefetches=3 * -(-record["F"] // FILTERS))
        self._scratch(self._n * region.end)
        self._add_rows(A, dA, stride=region.end)
        return [(0, 3, 1), (3, len(self._records), self._n)]

    def groups(self):
        """Plan convolution layers through which a group of images goes, and a copy to rows."""
        region = self._region
        images = self._add(0, IMAGES)
        filters = [(k, layer) for k, layer in self._layers if layer.group == "filters"]
        records = [self._add_filters(k, layer) for k, layer in filters]
        *others, last = records
        for record in others:  # whose dA is the dX of the next layer
            record["dA_channel"] = spread(record["dA_channel"])
        for record in records:
            size = record["F"] * record["dA_channel"]
            is_max, has_backward = (
                record["pooling"] == MAX_POOLING,
                record["learns"] or record["has_dX"],
            )
            record.update(X=region(record["X_size"]), dA=region(has_backward * size))
            record.update(has_argmax=is_max and has_backward)
            if record["has_argmax"]:
                record.update(argmax_start=region(size))
            elif record["pooling"] == AVERAGE_POOLING:
                record.update(keeps_Z=True, Z_channel=spread(record["H"] * record["row"]))
                record.update(Z=region(record["F"] * record["Z_channel"]))
        for record, after in pairwise(records):
            A, names = after["X"] + after["origin"], ("row", "channel")
            record.update({f"A_{name}": after[name] for name in names}, A=A)
            after.update({f"dX_{name}": record[f"dA_{name}"] for name in names}, dX=record["dA"])
        last.update(A=region(last["F"] * last["dA_channel"]))
        last.update(A_row=last["dA_row"], A_channel=last["dA_channel"])
        self._read_images(images, records[0])
        self._scratch(-(-self._n // self._m) * region.end)
        rows = [self._scratch(self._n * self._n_columns) for _ in range(2)]
        to_rows = self._add(len(filters), TO_ROWS, n_in=prod(filters[-1][1].out_shape))
        to_rows.update(X=last["A"], dX=last["dA"], A=rows[0], dA=rows[1], A_row=self._n_columns)
        self._share(records)
        self._add_rows(*rows, stride=self._n_columns)
        return [(0, len(records) + 2, self._m), (len(records) + 2, len(self._records), self._n)]

    def plan(self, stages, loss):
        """Return the plan, once all records are made."""
        layout, last = self._layout, self._records[-1]
        learns = [record["learns"] for record in self._records]
        sizes = dict(capacity=self._n, T_start=last["A"], dT_start=last["dA"])
        sizes.update(row=last["stride"])
        sizes.update(first_learnt=learns.index(True) if any(learns) else len(learns))
        sizes.update(n_zeroed=layout.n_zeroed, n_intercepts=layout.n_intercepts)
        sizes.update(activation=ACTIVATIONS[loss.activation], reversed=self._reversed)
        arrays = (
            np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)
            for parts, dtype in (
                (self._offsets, np.uintp),
                (self._reversal, np.uintp),
            )
        )
        names = ("first", "last", "group_size")
        stages = [dict(zip(names, numbers)) for numbers in stages]
        for record in self._records:
            record.setdefault("stride", self._region.end)
        return Plan(sizes, stages, self._records, *arrays, self._scratch.end)

    def _add(self, k, kind, **numbers):
        """Add the record of something that is, or comes just before, layer k."""
        learns_before = any(self._learnt[:k])
        record = dict(kind=kind, group_size=self._m, has_dX=learns_before, learns=False, **numbers)
        self._records.append(record)
        return record

    def _add_layer(self, k, kind, **numbers):
        """Add the record of layer k, with its parameters."""
        record = self._add(k, kind, **numbers)
        record["learns"] = bool(self._learnt[k])
        for name, start in self._layout.starts[k].items():
            record.update({f"{name}_start": start, f"learns_{name}": name in self._learnt[k]})
        return record

    def _read_images(self, images, record):
        """Let a record of images write where that of the first convolution layer reads."""
        names = ("H", "W", "C", "row", "channel", "origin")
        images.update({name: record[name] for name in names}, A=record["X"])

    def _add_filters(self, k, layer):
        """Add the record of convolution layer k, with its filters and taps."""
        filters = self._layout.filters[k]
        sizes = convolution_sizes(layer, self._m)
        taps = self._add_offsets(tap_offsets(layer, layer.in_shape[2], sizes["row"], self._m))
        record = self._add_layer(k, CONVOLUTION, filters_row=len(filters.taps), taps=taps)
        record.update(sizes, n_taps=filters.n_effective)
        if record["has_dX"]:
            taps = tap_offsets(layer, layer.n_filters, record["row"], self._m)
            record.update(reversed_taps=self._add_offsets(taps))
            indices = reversal(layer, filters, record["W_start"])
            record.update(n_reversed=indices.shape[1], reversed=sum(map(len, self._reversal)))
            self._reversal.append(indices.ravel())
        return record

    def _add_offsets(self, offsets):
        """Return where offsets begin among all of them."""
        start = sum(map(len, self._offsets))
        self._offsets.append(offsets)
        return start

    def _share(self, records):
        """Allocate what one convolution layer uses after the other."""
        Z = self._scratch(max(record["F"] * record["Z_channel"] for record in records))
        pool_buffer = self._scratch(max(record["W"] * self._m for record in records))
        self._reversed = self._scratch(sum(map(len, self._reversal)))
        for record in records:
            n_filters = record["F"] if record["has_dX"] else min(record["F"], FILTERS)
            dZ = self._scratch(n_filters * record["channel"] + record["row"])
            record.update(pool_buffer=pool_buffer, dZ=dZ, Z=record.get("Z", Z))
            record.update(reversed=self._reversed + record.get("reversed", 0))

    def _add_rows(self, A, dA, stride):
        """Add the dense layers and those of dropout, whose arrays follow one another in a row."""
        column, images = 0, self._add_offsets(stride * np.arange(self._n))
        for k, layer in self._layers:
            arrays = dict(stride=stride, X=A + column, dX=dA + column)
            if isinstance(layer, Dropout):
                n_in = self._layout.n_in[k + 1]
                self._add(k, DROPOUT, **arrays, n_in=n_in, mask_column=column)
            elif isinstance(layer, Dense):
                n_in = self._layout.n_in[k]
                column += n_in
                arrays.update(A=A + column, dA=dA + column, relu=not layer.is_output)
                arrays.update(images=images, units=self._add_offsets(n_in * np.arange(layer.n_out)))
                self._add_layer(k, DENSE, **arrays, n_in=n_in, n_out=layer.n_out)


def convolution_sizes(layer, m):
    """Return the sizes of a convolution layer and of its arrays for m images."""
    (H, W, C), (height, width), (p, q) = layer.in_shape, layer.kernel_size, layer.pooling.window
    row = (W + width - 1) * m
    channel, dA_row = (H + height - 1) * row, W // q * m
    (above, below), (left, right) = padding(height), padding(width)
    pooling = NO_POOLING if layer.pooling.is_identity else POOLINGS[layer.pooling.name]
    runs = dict(n_rows=p, n_runs=p, length=W * m, dZ_runs=H, dZ_length=W * m)
    if m == 1:  # one run goes over the pixels between the rows too
        runs = dict(n_rows=H, n_runs=1, length=H * row, dZ_runs=1, dZ_length=H * row)
    return dict(
        **dict(H=H, W=W, C=C, F=layer.n_filters, p=p, q=q, pooling=pooling),
        **dict(row=row, channel=channel, **runs),
        **dict(dZ_channel=channel),
        **dict(origin=above * row + left * m, dZ_origin=below * row + right * m),
        **dict(X_size=C * channel + (width - 1) * m),  # one run goes beyond the last row
        **dict(Z_channel=spread(runs["n_rows"] * row), dA_row=dA_row, dA_channel=H // p * dA_row),
    )


def tap_offsets(layer, n_channels, row, m):
    """Return the offsets from a pixel to the input of each tap, channel by channel."""
    (height, width), (H, *_) = layer.kernel_size, layer.in_shape
    c, u, v = np.indices((n_channels, height, width)).reshape(3, -1)
    return c * (H + height - 1) * row + u * row + v * m


def reversal(layer, filters, start):
    """Return where each weight of the filters reversed is in the vector.

    They are rows, one for each channel, with the taps of all filters, see `tap_offsets`.
    """
    F, C, (height, width) = layer.n_filters, layer.in_shape[2], layer.kernel_size
    c, f, u, v = np.indices((C, F, height, width)).reshape(4, C, -1)
    columns = (c * height + height - 1 - u) * width + width - 1 - v
    return start + f * len(filters.taps) + columns
