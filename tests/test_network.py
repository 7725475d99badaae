"""Layers in a row: outputs, gradients, the vector of the parameters, and blocks of images."""

import numpy as np
import oracle
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skcnn import _network
from skcnn._losses import LogLoss
from skcnn._network import BlockWorkspace, Network, Parameters

SIZES = {
    "one layer": ((6, 5, 2), (3,), (3,), (2,), ()),
    "two layers": ((7, 6, 1), (2, 3), (2, 3), (2, 1), (4,)),
    "three layers": ((9, 8, 3), (2, 3, 4), (3, 4, 3), (2, 1, "global"), (5, 4)),
    "large windows": ((13, 9, 1), (2,), (3,), (6,), ()),  # with a remainder at both edges
}


def random_network(sizes="two layers", n_outputs=3, dtype=np.float64, **options):
    network = Network(*SIZES[sizes], LogLoss(n_outputs))
    rng = np.random.RandomState(0)
    values = network.initial(rng, dtype)
    values = [(W, (b + 0.1 * rng.randn(*b.shape)).astype(dtype)) for W, b in values]
    return network, Parameters(network, values, **options)


def as_in_the_mathematics(network, pairs):
    """The layers as the oracle wants them."""
    n = len(network.convolutions)
    convolutions = [(W, b, of.pool) for of, (W, b) in zip(network.convolutions, pairs)]
    denses = [(of.to_coef(V).T, c) for of, (V, c) in zip(network.denses, pairs[n:])]
    return convolutions, denses


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_outputs_are_those_of_the_oracle(sizes, n_outputs):
    network, parameters = random_network(sizes, n_outputs)
    X = np.random.RandomState(1).randn(5, *network.image_shape)
    T = BlockWorkspace(network, parameters).outputs(X)
    assert_allclose(T, oracle.logits(X, *as_in_the_mathematics(network, parameters.pairs)))


@pytest.mark.parametrize("freeze", [None, "filters", "dense"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_gradients_agree_with_central_differences(sizes, dropout, freeze):
    network, parameters = random_network(sizes, freeze=freeze)
    rng, n = np.random.RandomState(1), 4
    X, y, s = rng.randn(n, *network.image_shape), rng.randint(3, size=n), rng.rand(n)
    keep = (rng.rand(n, network.n_dense_inputs) < 0.7) / 0.7 if dropout else np.empty((0, 0))
    Y, T = network.loss.targets(y, float), np.empty((n, 3))
    workspace = BlockWorkspace(network, parameters)
    theta, differences = parameters.theta.copy(), []
    gradient = parameters.new_gradient()
    workspace.gradient(X, Y, s, keep, T, out=gradient)
    for k in range(theta.size):
        losses = []
        for step in (1e-6, -1e-6):
            parameters.theta[...] = theta
            parameters.theta[k] += step
            workspace.gradient(X, Y, s, keep, T, out=np.empty_like(gradient))
            losses.append(network.loss.forward(T, y) @ s)
        differences.append((losses[0] - losses[1]) / 2e-6)
    assert_allclose(gradient, differences, rtol=0, atol=1e-7)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("freeze, n_learnt", [(None, 3), ("filters", 2), ("dense", 1)])
def test_what_is_not_learnt_is_not_in_theta(freeze, n_learnt, fit_intercept):
    network, parameters = random_network("one layer", freeze=freeze, fit_intercept=fit_intercept)
    sizes = {"filters": (3 * 9 * 2, 3), "dense": (3 * 3 * 2 * 3, 3)}
    learnt = [size for kind, size in sizes.items() if kind != freeze]
    expected = sum(weights + intercepts * fit_intercept for weights, intercepts in learnt)
    assert parameters.theta.size == expected
    before = parameters.values()
    gradient = parameters.new_gradient()
    views = parameters.views(gradient)
    assert gradient.size == expected
    parameters.theta += 1
    for layer, old, new, of in zip(network.layers, before, parameters.pairs, views):
        for k in (0, 1):
            is_learnt = layer.kind != freeze and (k == 0 or fit_intercept)
            assert_array_equal(new[k], old[k] + is_learnt)
            assert (of[k] is not None) == is_learnt
    if not fit_intercept:
        assert not any(intercept.any() for _, intercept in parameters.pairs)


def test_penalty():
    _, parameters = random_network("two layers", freeze="filters")
    gradient = parameters.new_gradient()
    views = parameters.views(gradient)
    parameters.add_penalty(0.5, gradient)
    for (weights, _), (of_weights, of_intercepts) in zip(parameters.pairs, views):
        if of_weights is not None:
            assert_array_equal(of_weights, 0.5 * weights)
            assert_array_equal(of_intercepts, 0)
    expected = sum((weights**2).sum() for weights, _ in parameters.pairs)
    assert_allclose(parameters.squared_norm(), expected)


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_blocks_of_images_add_up(monkeypatch, n):
    network, parameters = random_network("three layers")
    rng = np.random.RandomState(1)
    X, y, s = rng.randn(n, *network.image_shape), rng.randint(3, size=n), rng.rand(n)
    Y, results = network.loss.targets(y, float), []
    for size in (100, 2):
        monkeypatch.setattr(_network, "block_size", lambda *args, size=size: size)
        workspace, T = BlockWorkspace(network, parameters), np.empty((n, 3))
        gradient = parameters.new_gradient()
        workspace.gradient(X, Y, s, np.empty((0, 0)), T, out=gradient)
        maps = np.empty((n, *network.convolutions[1].map_shape))
        workspace.feature_maps(X, 1, out=maps)
        results.append([gradient, T, workspace.outputs(X), maps])
    for whole, divided in zip(*results):
        assert_allclose(divided, whole, atol=1e-12)


def test_memory_of_blocks_is_bounded():
    for sizes in (((28, 28, 1), (8, 16)), ((224, 224, 3), (32, 64))):
        network = Network(*sizes, (3, 3), (2, 2), (), LogLoss(10))
        size = _network.block_size(network, np.dtype(np.float32))
        bytes_of_block = size * network.n_block_values * 4
        assert bytes_of_block <= max(_network.MAX_BYTES, network.n_block_values * 4)
