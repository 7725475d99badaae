"""The layout of parameters and memory for the compiled loops."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from skcnn._losses import LogLoss
from skcnn._network import Network, Parameters

from skcnn import _layout

SIZES = {
    "one layer": ((5, 6, 2), (3,), (3,), (1,), ()),
    "pooling": ((5, 6, 1), (3,), (2,), (2,), (4,)),
    "three layers": ((8, 9, 3), (2, 5, 3), (3, 5, 2), (2, 1, 2), (4, 3)),
    "taps that are not computed": ((3, 2, 2), (2, 3), (7, 3), (1, 1), ()),
    "signals": ((1, 9, 2), (3, 2), (5, 3), (2, 1), ()),
}


def random_layout(sizes, m, freeze=None, fit_intercept=True):
    network = Network(*SIZES[sizes], LogLoss(3))
    rng = np.random.RandomState(0)
    values = network.initial(rng, np.float64)
    parameters = Parameters(network, values, freeze, fit_intercept)
    parameters.vector[...] = rng.randn(parameters.vector.size)
    a_row = _layout.a_row_of(network.convolutions[-1], m)
    return network, parameters, _layout.Layout(network, parameters, a_row)


@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("freeze, fit_intercept", [(None, True), ("filters", True), (None, False)])
@pytest.mark.parametrize("sizes", SIZES)
def test_parameters_come_back_as_they_were(sizes, freeze, fit_intercept, m):
    _, parameters, layout = random_layout(sizes, m, freeze, fit_intercept)
    for vector, size in ((parameters.vector, layout.size), (parameters.theta, layout.n_learnt)):
        packed = np.zeros(size)
        _layout.pack(layout.pairs(vector, packed))
        assert_array_equal(np.sort(packed[packed != 0]), np.sort(vector[vector != 0]))
        out = np.full_like(vector, np.nan)
        _layout.unpack(layout.pairs(out, packed))
        assert_array_equal(out, vector)


@pytest.mark.parametrize("sizes", SIZES)
def test_intercepts_come_first_and_dense_weights_last_of_what_is_learnt(sizes):
    network, parameters, layout = random_layout(sizes, 1)
    parameters.vector[...] = 0
    for layer, (weights, intercepts) in zip(network.layers, parameters.pairs):
        intercepts[...] = 1
        weights[...] = 2 if layer.kind == "filters" else 3
    packed = np.zeros(layout.size)
    _layout.pack(layout.pairs(parameters.vector, packed))
    ends = [0, layout.n_intercepts, layout.n_small, layout.n_learnt]
    for kind, (start, end) in enumerate(zip(ends, ends[1:]), start=1):
        assert {*packed[start:end]} - {0} == {kind}
    assert layout.n_learnt == layout.size


def test_taps_stand_channel_by_channel_and_those_not_computed_at_the_end():
    layer = Network((3, 1, 2), (1,), (7,), (1,), (), LogLoss(1)).convolutions[0]
    filters = _layout.Filters(layer)  # seven rows of two channels, of which five are computed
    assert filters.taps.tolist() == [2, 4, 6, 8, 10, 3, 5, 7, 9, 11, 0, 1, 12, 13]
    assert filters.columns.tolist() == [*range(10), *range(18, 22)]
    assert (filters.n_live, filters.n_taps, filters.size) == (10, 18, 22)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_begin_at_cache_lines(dtype):
    place = _layout.Allocator(np.dtype(dtype))
    starts = [place(size) for size in (3, 0, 40, 16, 1)]
    memory = _layout.aligned_zeros(place.end, np.dtype(dtype))
    assert len(memory) == place.end
    for start in starts:
        assert memory[start:].ctypes.data % _layout.CACHE_LINE == 0
    assert starts[0] + 3 <= starts[1] == starts[2] <= starts[3] - 40 <= starts[4] - 16


@pytest.mark.parametrize("n, m", [(1, 1), (5, 1), (6, 6), (16, 16)])
@pytest.mark.parametrize("sizes", SIZES)
def test_no_two_arrays_overlap(sizes, n, m):
    network, parameters, layout = random_layout(sizes, m)
    tables = _layout.tables_of(network, parameters, layout, n, m)
    row = tables.denses[-1]["outputs"] + network.n_outputs
    arrays, n_groups, region = [], -(-n // m), tables.sizes["region"]
    for of, last in zip(tables.convolutions, [*[False] * 9, True][-len(tables.convolutions) :]):
        size = of["F"] * of["dA_channel"]
        pieces = [("X", of["X_size"]), ("dA", size)]
        pieces += [("winners", size)] if of["p"] * of["q"] > 1 else []
        pieces += [("A", of["F"] * of["A_channel"])] if last else []
        for name, size in pieces:
            size = row if m == 1 and last and name in ("A", "dA") else size
            arrays += [(of[name] + region * k, size) for k in range(n_groups)]
        n_together = of["F"] if of["dX_channel"] else min(of["F"], _layout.FILTERS)
        arrays += [(of["dZ"], n_together * of["channel"])]
    first = tables.convolutions[0]
    arrays += [(first["Z"], _layout.FILTERS * first["H"] * first["row"])]
    arrays += [(first["best"], 5 * first["W"] * m)]
    arrays += [(tables.sizes["reversed"], len(tables.reversal))]
    if m > 1:
        arrays += [(tables.sizes[name], n * row) for name in ("A", "dA")]
    used = np.zeros(tables.scratch_size, int)
    for start, size in arrays:
        assert start + size <= tables.scratch_size
        used[start : start + size] += 1
    assert used.max() == 1


def test_inputs_of_the_dense_layers_have_zeros_between_the_rows():
    network, _, layout = random_layout("one layer", 1)
    keep = np.arange(1.0, 1 + 2 * network.n_dense_inputs).reshape(2, -1)
    padded = layout.padded_inputs(keep)
    rows = padded.reshape(2, -1, 8)  # six pixels, and two between the rows
    assert (rows[..., 6:] == 0).all()
    assert_array_equal(rows[..., :6].reshape(2, -1), keep)


@pytest.mark.parametrize("size", [*range(0, 4000, 112), 1024, 4096, 9216, 16384, 69632])
def test_no_two_of_four_arrays_are_4_kib_apart(size):
    distance = _layout.spread(size)
    assert size <= distance <= size + 128
    for k in (1, 2, 3):
        for itemsize in (4, 8):
            remainder = k * distance * itemsize % 4096
            assert min(remainder, 4096 - remainder) >= 128


def test_responses_and_gradients_of_inputs_are_spread():
    network = Network((32, 32, 3), (8, 8, 8), (3,) * 3, (2,) * 3, (), LogLoss(3))
    parameters = Parameters(network, network.initial(np.random.RandomState(0), np.float64))
    a_row = _layout.a_row_of(network.convolutions[-1], 16)
    layout = _layout.Layout(network, parameters, a_row)
    _, *later = layers = _layout.tables_of(network, parameters, layout, 16, 16).convolutions
    for distance in [of["Z_channel"] for of in layers] + [of["dX_channel"] for of in later]:
        assert distance == _layout.spread(distance)
