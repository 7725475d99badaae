"""The layers: sizes, initial values, and the order of dense weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skcnn._layers import Convolution, Dense, _prime_factors


@pytest.mark.parametrize(
    "H, W, p, expected",
    [
        (28, 28, 2, (2, 2)),
        (7, 5, 3, (3, 3)),
        (4, 4, 4, (4, 4)),
        (1, 100, 4, (1, 4)),
        (1, 5, 4, (1, 2)),
        (1, 2, 2, (1, 1)),
        (1, 1, 3, (1, 1)),
        (3, 28, 5, (1, 5)),
        (3, 28, "global", (3, 28)),
    ],
)
def test_windows_fit_the_image(H, W, p, expected):
    layer = Convolution((H, W, 1), 2, 3, p, is_first=True)
    assert layer.pool == expected
    assert layer.out_shape == (H // expected[0], W // expected[1], 2)


@pytest.mark.parametrize(
    "number, expected", [(1, []), (2, [2]), (28, [2, 2, 7]), (49, [7, 7]), (427, [7, 61])]
)
def test_large_windows_are_pooled_by_their_prime_factors(number, expected):
    assert _prime_factors(number) == expected
    layer = Convolution((1, number, 1), 1, 3, "global", is_first=True)
    pair = np.zeros((1, 1, 3, 1)), np.zeros(1)
    work = layer.workspace(2, pair, pair, has_dX=False)
    assert [len(corners) for corners, *_ in work.pools] == expected


@pytest.mark.parametrize(
    "H, W, K, filters, computed",
    [
        (4, 4, 1000, (1000, 1000), (7, 7)),
        (4, 4, 6, (6, 6), (6, 6)),
        (1, 50, 9, (1, 9), (1, 9)),  # a signal's filters have one row
        (50, 1, 8, (8, 1), (8, 1)),
        (1, 4, 9, (1, 9), (1, 7)),
        (1, 1, 3, (1, 1), (1, 1)),
        (28, 28, 3, (3, 3), (3, 3)),
    ],
)
def test_taps_that_only_see_zeros_are_not_computed(H, W, K, filters, computed):
    layer = Convolution((H, W, 2), 1, K, 1, is_first=True)
    assert layer.shapes == ((1, *filters, 2), (1,))
    assert layer.kernel == computed
    n_taps = computed[0] * computed[1] * 2
    assert layer.n_taps == n_taps and layer.work == H * W * n_taps
    live = layer.live(np.zeros(layer.shapes[0]))
    assert live.shape == (1, *computed, 2)


@pytest.mark.parametrize("K", [4, 9])
def test_the_live_taps_are_those_that_meet_the_image(K):
    layer = Convolution((3, 2, 1), 1, K, 1, is_first=True)
    W = np.zeros(layer.shapes[0])
    layer.live(W)[...] = 1
    meets = np.zeros((K, K))
    for u, v, i, j in np.ndindex(K, K, 3, 2):
        meets[u, v] += 0 <= i + u - K // 2 < 3 and 0 <= j + v - K // 2 < 2
    assert_array_equal(W[0, :, :, 0], meets > 0)


@pytest.mark.parametrize("is_first, expected", [(True, 2 / 12), (False, np.sqrt(2 / 144))])
def test_initial_filters(is_first, expected):
    layer = Convolution((20, 30, 16), 50, 3, 1, is_first=is_first)
    W, b = layer.initial(np.random.RandomState(0))
    assert_array_equal(b, 0)
    assert_allclose(W.std(), expected, rtol=0.02)
    assert_array_equal(W, np.random.RandomState(0).normal(0, expected, size=(50, 3, 3, 16)))


@pytest.mark.parametrize("is_output, expected", [(True, 1 / 20), (False, np.sqrt(2 / 400))])
def test_initial_dense_weights(is_output, expected):
    layer = Dense((1, 1, 400), 50, is_output=is_output)
    V, c = layer.initial(np.random.RandomState(0))
    assert_array_equal(c, 0)
    assert_array_equal(V, np.random.RandomState(0).normal(0, expected, size=(50, 400)))


def test_dense_weights_in_the_order_of_scikit_learn():
    layer = Dense((2, 3, 4), 5, is_output=True)  # rows, columns, filters
    V = np.arange(5 * 24.0).reshape(5, 24)
    coef = layer.to_coef(V)
    assert coef.shape == (24, 5)
    as_activations = V.reshape(5, 4, 2, 3).transpose(2, 3, 1, 0)  # columns of V: (filter, pixel)
    assert_array_equal(coef.reshape(2, 3, 4, 5), as_activations)
    assert_array_equal(layer.from_coef(coef), V)
    hidden = Dense((1, 1, 7), 3, is_output=False)
    V = np.arange(21.0).reshape(3, 7)
    assert_array_equal(hidden.to_coef(V), V.T)
    assert_array_equal(hidden.from_coef(V.T), V)
