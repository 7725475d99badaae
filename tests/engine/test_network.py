"""The vector of the parameters, and groups of images."""

import numpy as np
import pytest
from networks import loss_of, random_data, random_network
from numpy.testing import assert_allclose, assert_array_equal

from skcnn._engine import executor
from skcnn._engine.executor import ArrayExecutor, Batch
from skcnn._estimator.architecture import make_network


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("freeze", [None, "filters", "dense"])
def test_what_is_not_learnt_is_not_in_theta(freeze, fit_intercept):
    options = {"freeze": freeze, "fit_intercept": fit_intercept}
    network, parameters = random_network("one layer", **options)
    sizes = {"filters": (3 * 9 * 2, 3), "dense": (3 * 2 * 3 * 3, 3)}
    learnt = [size for group, size in sizes.items() if group != freeze]
    expected = sum(weights + intercepts * fit_intercept for weights, intercepts in learnt)
    assert parameters.theta.size == expected
    before = parameters.vector.copy()
    views = parameters.views(parameters.new_gradient())
    parameters.theta += 1
    for layer, old, new, grads, names in zip(
        network.layers, parameters.views(before), parameters.params, views, parameters.learnt
    ):
        for parameter in layer.parameters:
            name, is_intercept = parameter.name, parameter.name in "bc"
            is_learnt = layer.group != freeze and (fit_intercept or not is_intercept)
            assert_array_equal(new[name], old[name] + is_learnt)
            assert (name in grads) == (name in names) == is_learnt
            if is_intercept and not fit_intercept:
                assert not new[name].any()


def test_penalty():
    _, parameters = random_network("two layers", freeze="filters")
    gradient = parameters.new_gradient()
    parameters.add_penalty(0.5, gradient)
    weights = [array for params in parameters.params for array in params.values() if array.ndim > 1]
    for params, grads in zip(parameters.params, parameters.views(gradient)):
        for name, grad in grads.items():
            assert_array_equal(grad, 0.5 * params[name] if name == "V" else 0)
    assert_allclose(parameters.squared_norm(), sum((array**2).sum() for array in weights))


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_groups_of_images_add_up(monkeypatch, n):
    network, parameters = random_network("three layers")
    (X, y, s), loss, results = random_data(network, n), loss_of(network), []
    for size in (100, 2):
        monkeypatch.setattr(executor, "group_size", lambda *args, size=size: size)
        arrays, T = ArrayExecutor(network, parameters, loss), np.empty((n, 3))
        gradient, layer = parameters.new_gradient(), network.group("filters")[1]
        arrays.gradient(Batch(X, loss.targets(y, float), s), T, out=gradient)
        maps = np.empty((n, *layer.map_shape))
        arrays.feature_maps(X, layer, out=maps)
        results.append([gradient, T, arrays.outputs(X), maps])
    for whole, divided in zip(*results):
        assert_allclose(divided, whole, atol=1e-12)


@pytest.mark.parametrize("side, n_filters", [(28, (8, 16)), (224, (32, 64))])
def test_memory_of_groups_is_bounded(side, n_filters):
    two = {"n_filters": n_filters, "K": (3, 3), "pool_size": (2, 2), "pooling": ("max", "max")}
    network = make_network((side, side, 3), {**two, "hidden_layer_sizes": ()}, 10)
    size = executor.group_size(network, np.dtype(np.float32))
    image_bytes = network.n_buffer_values * 4
    assert size * image_bytes <= max(executor.MAX_BYTES, image_bytes)
