"""How the kernels on whole arrays divide their work; `compiled` has tests of what they compute."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skcnn._nn import convolution, pooling


@pytest.mark.parametrize("axis", [1, 2])
def test_windows_of_many_values_are_pooled_as_those_of_few(monkeypatch, axis):
    rng, results = np.random.RandomState(0), []
    Z, dM = rng.randint(9, size=(2, 30, 30, 3)).astype(float), rng.randn(2, 30, 30, 3)
    dM = dM.take([0, 1], axis)
    for max_views in (12, 13):
        monkeypatch.setattr(pooling, "MAX_VIEWS", max_views)
        dZ = Z.copy()  # the gradient takes the place of Z
        views, M, sums = pooling.strided_views(dZ, 13, axis), np.empty_like(dM), np.empty_like(dM)
        pooling.max_forward(views, out=M)
        pooling.sum_forward(views, out=sums)
        pooling.max_backward(dM.copy(), views, M, out=views)
        results.append((M, sums, dZ))
    for many, few in zip(*results):
        assert_array_equal(many, few)


@pytest.mark.parametrize(
    "n_pixels, n_weights, expected",
    [
        (784, 9, 1),
        (12_544, 288, 4),  # 3.6 million multiplications
        (12_544, 400, 7),  # five million; six does not divide the number of pixels
        (10_007, 200, 1),  # a prime number has no pieces
        (1_000, 100_000, 1),  # pieces would be too short
        (224, 18_432, 7),
        (112, 18_432, 1),
    ],
)
def test_pieces_of_responses(n_pixels, n_weights, expected):
    assert convolution.n_pieces(n_pixels, n_weights) == expected


def test_responses_in_pieces_are_the_same(monkeypatch):
    rng, results = np.random.RandomState(0), []
    W, X = rng.randn(2, 3, 3, 2), rng.randn(2, 6, 4, 4)
    monkeypatch.setattr(convolution, "MIN_ROW", 4)
    monkeypatch.setattr(convolution, "MIN_PIECE", 4)
    for max_product, n_pieces in ((10**6, 1), (2 * 18 * 16 // 2, 2)):
        monkeypatch.setattr(convolution, "MAX_PRODUCT", max_product)
        assert convolution.n_pieces(4 * 4, W.size) == n_pieces
        patches = convolution.Patches(X.shape, (3, 3), X.dtype)
        patches.interior[...] = X
        out = np.empty_like(X)
        results.append(convolution.conv_forward(patches.gather(), W, out=out))
    assert_allclose(*results, rtol=1e-12)
