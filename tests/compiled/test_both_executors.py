"""Whole arrays and compiled loops against a slow transcription of the formulas."""

import numpy as np
import oracle
import pytest
import slow_networks as networks
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import convolve
from slow_networks import (
    assert_same_differences,
    make_network,
    random_batch,
    random_parameters,
    slow_gradients,
)

from skcnn._compiled import plan
from skcnn._engine.executor import Batch
from skcnn._nn.losses import LabelLogLoss, LogLoss, SquaredError


def compute(executor, batch):
    """Return T, and the gradients of each layer."""
    T = np.empty((len(batch.Y), executor.network.n_outputs), batch.Y.dtype)
    gradient = executor.gradient(batch, T)
    return T, executor.parameters.views(gradient)


def assert_same_gradients(grads, expected, rtol=1e-11):
    for layer_grads, layer_expected in zip(grads, expected, strict=True):
        for name, gradient in layer_grads.items():
            atol = rtol * max(1, np.abs(layer_expected[name]).max())
            assert_allclose(gradient, layer_expected[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("K", range(1, 9))
def test_response_of_the_transcription_is_that_of_scipy(K):
    rng = np.random.RandomState(0)
    x, w = rng.randn(4, 7), rng.randn(K, K)
    Z = oracle.response(x.reshape(1, 4, 7, 1), w.reshape(1, K, K, 1), np.zeros(1))
    assert_allclose(Z[0, ..., 0], convolve(x, w[::-1, ::-1], mode="same"), atol=1e-12)


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_outputs_and_gradients(make_executor, name):
    for n in (1, 3):
        network, parameters, batch, T, expected = networks.example(name, n)
        executor = make_executor(network, parameters, n)
        computed, grads = compute(executor, batch)
        assert [layer_grads.keys() for layer_grads in grads] == [e.keys() for e in expected]
        assert_allclose(computed, T, atol=1e-11)
        assert_same_gradients(grads, expected)
        assert_array_equal(executor.outputs(batch.X), computed)


@pytest.mark.parametrize("options", [{"freeze": "filters"}, {"freeze": "dense"}], ids=str)
@pytest.mark.parametrize("name", ["channels", "remainder", "three layers", "average"])
def test_gradients_of_what_is_learnt_do_not_depend_on_what_is_not(make_executor, name, options):
    network, _, batch, _, expected = networks.example(name, 3)
    for fit_intercept in (True, False):
        parameters = random_parameters(network, fit_intercept=fit_intercept, **options)
        if not fit_intercept:
            _, expected = slow_gradients(network, parameters.params, batch)
        _, grads = compute(make_executor(network, parameters, 3), batch)
        learnt = [{*layer_grads} for layer_grads in grads]
        assert learnt == parameters.learnt
        assert_same_gradients(grads, expected)


@pytest.mark.parametrize("name", ["no pooling", "channels", "three layers"])
def test_dropout(make_executor, name):
    network, parameters, batch, T, expected = networks.example(name, 5, dropout=True)
    executor = make_executor(network, parameters, 5)
    computed, grads = compute(executor, batch)
    assert_allclose(computed, T, atol=1e-11)
    assert_same_gradients(grads, expected)
    whole = batch._replace(dropout_mask=np.ones_like(batch.dropout_mask))
    assert_array_equal(executor.outputs(batch.X), compute(executor, whole)[0])


@pytest.mark.parametrize("name", ["channels", "remainder"])
def test_groups_add_up(make_executor, monkeypatch, name):
    network, parameters, batch, T, expected = networks.example(name, 5)
    monkeypatch.setattr(plan, "GROUP_SIZE", 2)
    monkeypatch.setattr(plan, "MIN_CAPACITY", 3)
    computed, grads = compute(make_executor(network, parameters, 5), batch)
    assert_allclose(computed, T, atol=1e-11)
    assert_same_gradients(grads, expected)


@pytest.mark.parametrize("name", ["channels", "remainder", "three layers", "average"])
def test_single_precision(make_executor, name):
    network, _, batch, T, expected = networks.example(name, 3)
    parameters, batch = random_parameters(network, np.float32), random_batch(network, 3, np.float32)
    computed, grads = compute(make_executor(network, parameters, 3), batch)
    assert {array.dtype for layer in grads for array in layer.values()} == {np.dtype(np.float32)}
    assert_allclose(computed, T, rtol=1e-4, atol=1e-4 * np.abs(T).max())
    assert_same_gradients(grads, expected, rtol=1e-4)


@pytest.mark.parametrize("pool_size", [2, 3, 4])
def test_gradient_goes_to_the_first_column_among_equals_and_in_it_to_the_first_row(
    make_executor, pool_size
):
    network = make_network((9, 10, 2), [(5, 2, pool_size)])
    parameters, batch = random_parameters(network), random_batch(network, 3)
    parameters.params[0]["W"][...] = np.random.RandomState(0).randint(-1, 2, size=(5, 2, 2, 2))
    parameters.params[0]["b"][...] = 0.5
    batch = batch._replace(X=np.random.RandomState(0).randint(2, size=batch.X.shape).astype(float))
    T, expected = slow_gradients(network, parameters.params, batch)
    computed, grads = compute(make_executor(network, parameters, 3), batch)
    assert_allclose(computed, T, atol=1e-12)
    assert_same_gradients(grads, expected)


@pytest.mark.parametrize("pool", [(1, "max"), (2, "max"), (2, "average")])
def test_relu_has_no_gradient_at_zero_and_hides_no_nan(make_executor, pool):
    network = make_network((1, 4, 1), [(1, 1, *pool)], n_outputs=1)
    parameters = random_parameters(network)
    filters, dense = parameters.params
    filters["W"][...], filters["b"][...], dense["V"][...], dense["c"][...] = 1, 0, 1, 0
    X = np.array(
        [[0.0, 0.0, -3.0, -1.0], [0.0, -2.0, np.nan, np.nan], [2.0, np.nan, 1.0, 1.0], 4 * [-1.0]]
    )
    executor = make_executor(network, parameters, 4)
    with np.errstate(invalid="ignore"):
        T, grads = compute(executor, Batch(X[:1], np.ones((1, 1)), np.ones(1)))
        assert T.item() == 0 and grads[0]["b"] == 0
        assert_array_equal(executor.outputs(X), [[0], [np.nan], [np.nan], [0]])
        assert_array_equal(executor.outputs(X[2:3]), [[np.nan]])


@pytest.mark.parametrize("n, n_in, n_out", [(1, 5, 1), (3, 4, 2), (4, 7, 5), (11, 3, 9)])
def test_dense_layers_of_any_size(make_executor, n, n_in, n_out):
    network = make_network((1, n_in, 1), [(1, 1, 1)], hidden=(n_out, 3), n_outputs=n_out)
    parameters, batch = random_parameters(network), random_batch(network, n)
    T, expected = slow_gradients(network, parameters.params, batch)
    computed, grads = compute(make_executor(network, parameters, n), batch)
    assert_allclose(computed, T, atol=1e-11)
    assert_same_gradients(grads, expected)


@pytest.mark.parametrize("loss", [LogLoss(1), LogLoss(4), LabelLogLoss(4), SquaredError(4)])
def test_gradients_of_losses(make_executor, loss):
    network = make_network((1, 2, 1), [(1, 1, 1)], n_outputs=loss.n_outputs)
    parameters, rng = random_parameters(network), np.random.RandomState(0)
    executor = make_executor(network, parameters, 1, loss)
    for scale in (1.0, 1.0, 1e3):
        parameters.params[-1]["c"][...] = scale * rng.randn(loss.n_outputs)
        Y, s = rng.randint(2, size=(1, loss.n_outputs)).astype(float), rng.rand(1)
        with np.errstate(over="ignore"):  # as the estimators do
            T, grads = compute(executor, Batch(rng.randn(1, 2), Y, s))
            expected = loss.backward(T, Y, s)
        # The gradient of the intercepts is that of the outputs of one image.
        assert_allclose(grads[-1]["c"], expected[0], atol=1e-15, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["two layers", "average", "global average", "average, maximum, average"]
)
def test_gradients_agree_with_central_differences(make_executor, name):
    network = make_network(*networks.ARCHITECTURES[name])
    parameters = random_parameters(network)
    parameters.vector *= 0.3
    assert_same_differences(make_executor(network, parameters, 2), random_batch(network, 2))
