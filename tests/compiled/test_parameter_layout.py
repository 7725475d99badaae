"""The layout of parameters in the compiled loops, and of arrays in memory."""

import numpy as np
import pytest
import slow_networks as networks
from numpy.testing import assert_array_equal
from slow_networks import make_network, random_parameters

from skcnn._compiled.layout import CACHE_LINE, Allocator, Filters, aligned_zeros, pack, spread
from skcnn._compiled.layout import unpack as unpack_arrays
from skcnn._compiled.plan import make_layout

NAMES = ["channels", "filters larger than the image", "signal", "two layers", "three layers"]


def random_layout(name, **options):
    network = make_network(*networks.ARCHITECTURES[name])
    parameters = random_parameters(network, **options)
    return network, parameters, make_layout(network, parameters)


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_parameters_are_those_that_were_packed(name):
    for options in ({}, {"freeze": "filters"}, {"freeze": "dense"}, {"fit_intercept": False}):
        _, parameters, layout = random_layout(name, **options)
        for vector, size in ((parameters.vector, layout.size), (parameters.theta, layout.n_learnt)):
            packed = np.zeros(size)
            pack(layout.arrays(vector, packed))
            assert_array_equal(np.sort(packed[packed != 0]), np.sort(vector[vector != 0]))
            unpacked = np.full_like(vector, np.nan)
            unpack_arrays(layout.arrays(unpacked, packed))
            assert_array_equal(unpacked, vector)


@pytest.mark.parametrize("name", NAMES)
def test_intercepts_come_first_and_dense_weights_last_of_what_is_learnt(name):
    network, parameters, layout = random_layout(name)
    for layer, params in zip(network.layers, parameters.params):
        for parameter in layer.parameters:
            kind = 1 if parameter.is_intercept else 2 if layer.group == "filters" else 3
            params[parameter.name][...] = kind
    packed = np.zeros(layout.size)
    pack(layout.arrays(parameters.vector, packed))
    ends = [0, layout.n_intercepts, layout.n_zeroed, layout.n_learnt]
    for kind, (start, end) in enumerate(zip(ends, ends[1:]), start=1):
        assert {*packed[start:end]} - {0} == {kind}
    assert layout.n_learnt == layout.size


def test_taps_stand_channel_by_channel_and_those_not_computed_at_the_end():
    layer = make_network((3, 1, 2), [(1, 7, 1)]).layers[0]
    filters = Filters(layer)  # seven rows of two channels, of which five are computed
    assert filters.taps.tolist() == [2, 4, 6, 8, 10, 3, 5, 7, 9, 11, 0, 1, 12, 13]
    assert filters.n_effective == 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_begin_at_cache_lines(dtype):
    allocate = Allocator(np.dtype(dtype))
    starts = [allocate(size) for size in (3, 0, 40, 16, 1)]
    memory = aligned_zeros(allocate.end, np.dtype(dtype))
    assert len(memory) == allocate.end
    for start in starts:
        assert memory[start:].ctypes.data % CACHE_LINE == 0
    assert starts[0] + 3 <= starts[1] == starts[2] <= starts[3] - 40 <= starts[4] - 16


def test_dropout_masks_have_zeros_between_the_rows():
    network = make_network(*networks.ARCHITECTURES["channels"], dropout=True)
    layout = make_layout(network, random_parameters(network))
    mask = np.arange(1.0, 1 + 2 * network.n_dropout_inputs).reshape(2, -1)
    padded, n = layout.padded_mask(mask), 6 * 5 * 5  # pixels times filters
    rows = padded[:, : n // 5 * 6].reshape(2, -1, 6)  # five pixels, and one between the rows
    assert (rows[..., 5:] == 0).all()
    assert_array_equal(rows[..., :5].reshape(2, -1), mask[:, :n])
    assert_array_equal(padded[:, n // 5 * 6 :], mask[:, n:])  # of the hidden layer


def test_no_two_of_four_arrays_are_4_kib_apart():
    for size in (*range(0, 4000, 112), 1024, 4096, 9216, 16384, 69632):
        stride = spread(size)
        assert size <= stride <= size + 128
        for k in (1, 2, 3):
            for itemsize in (4, 8):
                remainder = k * stride * itemsize % 4096
                assert min(remainder, 4096 - remainder) >= 128
