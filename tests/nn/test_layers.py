"""Every layer on every executor: outputs, gradients, ONNX; and what a layer says of itself.

A new layer is a line in `networks.ARCHITECTURES`.
"""

import numpy as np
import oracle
import pytest
from networks import ARCHITECTURES, for_the_oracle, loss_of, random_data, random_network
from numpy.testing import assert_allclose, assert_array_equal

from skcnn._engine.executor import Batch
from skcnn._engine.parallel import ParallelExecutor
from skcnn._nn.convolution import Convolution
from skcnn._nn.dense import Dense
from skcnn._nn.dropout import DropoutMasks
from skcnn._nn.pooling import _prime_factors


def executor_of(network, parameters, n):
    return ParallelExecutor(network, parameters, loss_of(network), n)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_outputs_and_feature_maps_are_those_of_the_oracle(kernels, architecture, n_outputs):
    network, parameters = random_network(architecture, n_outputs)
    X, *_ = random_data(network, 5)
    layers = for_the_oracle(network, parameters.params)
    executor, images = executor_of(network, parameters, 5), X.reshape(-1, *network.image_shape)
    assert executor.compiled == (kernels == "loops")
    assert_allclose(executor.outputs(X), oracle.logits(images, *layers))
    for k, layer in enumerate(network.group("filters")):
        expected = oracle.feature_maps(images, layers[0], k)
        assert_allclose(executor.feature_maps(X, layer), expected, atol=1e-14)


@pytest.mark.parametrize("freeze", [None, "filters", "dense"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_agree_with_central_differences(kernels, architecture, dropout, freeze):
    network, parameters = random_network(architecture, freeze=freeze, dropout=dropout)
    n, loss = 4, loss_of(network)
    X, y, s = random_data(network, n)
    mask = None
    if dropout:
        masks = DropoutMasks(0.3, network.n_dropout_inputs, np.dtype(float), (0, 0))
        mask = masks.of(np.arange(n))
    batch, T = Batch(X, loss.targets(y, float), s, mask), np.empty((n, 3))
    executor = executor_of(network, parameters, n)
    theta, differences = parameters.theta.copy(), []
    gradient = executor.gradient(batch, T).copy()
    for k in range(theta.size):
        losses = []
        for step in (1e-6, -1e-6):
            parameters.theta[...] = theta
            parameters.theta[k] += step
            executor.gradient(batch, T)
            losses.append(loss.forward(T, y) @ s)
        differences.append((losses[0] - losses[1]) / 2e-6)
    assert_allclose(gradient, differences, rtol=0, atol=1e-7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_onnx_computes_the_same(architecture):
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    from skcnn.onnx import IR_VERSION, OPSET, _Graph

    network, parameters = random_network(architecture)
    X, *_ = random_data(network, 5)
    graph, A = _Graph(), "X"
    for layer, params in zip(network.layers, parameters.params):
        A = layer.to_onnx(graph, A, params)
    graph.name(A, "T")
    H, W, C = network.image_shape
    given, found = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, shape)
        for name, shape in (("X", [5, C, H, W]), ("T", [5, 3]))
    )
    nodes = onnx.helper.make_graph(graph.nodes, "network", [given], [found], graph.constants)
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(nodes, opset_imports=opset, ir_version=IR_VERSION)
    images = X.reshape(-1, H, W, C).transpose(0, 3, 1, 2)
    (T,) = reference.ReferenceEvaluator(model).run(None, {"X": images})
    assert_allclose(T, executor_of(network, parameters, 5).outputs(X), atol=1e-13)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_layer_says_the_truth_of_itself(architecture):
    network, parameters = random_network(architecture, dropout=True)
    layers = network.layers
    for before, after in zip(layers, layers[1:]):
        assert np.prod(before.out_shape) == np.prod(after.in_shape)
    assert sum(layer.n_parameters for layer in layers) == parameters.vector.size
    for layer, params in zip(layers, parameters.params):
        assert [*params] == [parameter.name for parameter in layer.parameters]
        for parameter in layer.parameters:
            array = params[parameter.name]
            public = layer.to_public(parameter.name, array)
            assert not np.shares_memory(public, array)
            assert_array_equal(layer.from_public(parameter.name, public), array)


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
    assert layer.pooling.window == expected
    assert layer.out_shape == (H // expected[0], W // expected[1], 2)


@pytest.mark.parametrize(
    "number, expected", [(1, []), (2, [2]), (28, [2, 2, 7]), (49, [7, 7]), (427, [7, 61])]
)
def test_large_windows_are_pooled_by_their_prime_factors(number, expected):
    assert _prime_factors(number) == expected
    layer = Convolution((1, number, 1), 1, 3, "global", is_first=True)
    Z = np.zeros((1, 1, number, 2))
    steps = layer.pooling.allocate(Z, Z)
    assert [len(step.views) for step in steps] == expected


@pytest.mark.parametrize(
    "H, W, K, filters, computed",
    [
        (4, 4, 1000, (1000, 1000), (7, 7)),
        (4, 4, 6, (6, 6), (6, 6)),
        (1, 50, 9, (1, 9), (1, 9)),  # a signal's filters have one row
        (50, 1, 8, (8, 1), (8, 1)),
        (1, 4, 9, (1, 9), (1, 7)),
        (1, 1, 3, (1, 1), (1, 1)),
    ],
)
def test_taps_that_only_see_zeros_are_not_computed(H, W, K, filters, computed):
    layer = Convolution((H, W, 2), 1, K, 1, is_first=True)
    W_shape = layer.parameters[0].shape
    assert W_shape == (1, *filters, 2)
    assert layer.kernel_size == computed
    n_taps = computed[0] * computed[1] * 2
    assert layer.n_taps == n_taps and layer.n_multiplications == H * W * n_taps
    assert layer.effective(np.zeros(W_shape)).shape == (1, *computed, 2)


@pytest.mark.parametrize("K", [4, 9])
def test_the_effective_taps_are_those_that_meet_the_image(K):
    layer = Convolution((3, 2, 1), 1, K, 1, is_first=True)
    W = np.zeros(layer.parameters[0].shape)
    layer.effective(W)[...] = 1
    meets = np.zeros((K, K))
    for u, v, i, j in np.ndindex(K, K, 3, 2):
        meets[u, v] += 0 <= i + u - K // 2 < 3 and 0 <= j + v - K // 2 < 2
    assert_array_equal(W[0, :, :, 0], meets > 0)


@pytest.mark.parametrize(
    "layer, shape, scale",
    [
        (Convolution((20, 30, 16), 50, 3, 1, is_first=True), (50, 3, 3, 16), 2 / 12),
        (Convolution((20, 30, 16), 50, 3, 1, is_first=False), (50, 3, 3, 16), np.sqrt(2 / 144)),
        (Dense((400,), 50, is_output=True), (50, 400), 1 / 20),
        (Dense((400,), 50, is_output=False), (50, 400), np.sqrt(2 / 400)),
    ],
    ids=["first filters", "other filters", "output", "hidden"],
)
def test_initial_values(layer, shape, scale):
    weights, intercepts = layer.parameters
    drawn = weights.initial(np.random.RandomState(0))
    assert_allclose(drawn.std(), scale, rtol=0.02)
    assert_array_equal(drawn, np.random.RandomState(0).normal(0, scale, size=shape))
    assert_array_equal(intercepts.initial(None), 0)


def test_dense_weights_in_the_order_of_scikit_learn():
    layer = Dense((2, 3, 4), 5, is_output=True)  # rows, columns, channels
    V = np.arange(5 * 24.0).reshape(5, 24)
    coef = layer.to_public("V", V)
    in_memory = V.reshape(5, 4, 2, 3).transpose(2, 3, 1, 0)  # columns of V: (channel, pixel)
    assert_array_equal(coef.reshape(2, 3, 4, 5), in_memory)
    hidden, V = Dense((7,), 3, is_output=False), np.arange(21.0).reshape(3, 7)
    assert_array_equal(hidden.to_public("V", V), V.T)
