"""The log-loss against scikit-learn and the oracle."""

import numpy as np
import oracle
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss

from skcnn import _losses


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_probabilities_are_those_of_the_oracle(n_outputs):
    T = np.random.RandomState(0).randn(5, n_outputs)
    P = oracle.probabilities(T)
    assert_allclose(_losses.probabilities(T), P)
    assert_allclose(_losses.log_probabilities(T), np.log(P))
    assert_array_equal(_losses.most_probable(T), P.argmax(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_reported_loss_is_that_of_scikit_learn(dtype, n_outputs):
    rng = np.random.RandomState(0)
    n_classes = max(n_outputs, 2)
    T = (rng.randn(300, n_outputs) * 30).astype(dtype)  # many probabilities are clipped
    y = rng.randint(n_classes, size=300)
    s = rng.rand(300)
    P = np.exp(_losses.log_probabilities(T)).astype(dtype)
    expected = log_loss(
        y, P / P.sum(axis=1, keepdims=True), sample_weight=s, labels=range(n_classes)
    )
    reported = np.average(_losses.reported(T, y), weights=s)
    assert_allclose(reported, expected, rtol=1e-5 if dtype == np.float32 else 1e-9)
    assert_allclose(_losses.loss_and_accuracy(T, y, s)[0], reported)


@pytest.mark.parametrize("dtype, nats", [(np.float64, 36.04), (np.float32, 15.94)])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_logits_of_any_size_overflow_nowhere(dtype, nats, n_outputs):
    T = np.zeros((2, n_outputs), dtype)
    T[:, -1] = [1e30, -1e30]
    wrong, right = np.array([0, 1]), np.array([1, 0])
    with np.errstate(all="raise", under="ignore"):
        assert_allclose(_losses.reported(T, wrong), nats, atol=0.01)
        assert_allclose(_losses.reported(T, right), 0, atol=1e-6)
        P = _losses.probabilities(T)
        gradient = _losses.backward(T, np.zeros_like(T), np.ones(2, dtype))
    assert_array_equal(P[:, -1], [1, 0])
    assert_array_equal(gradient[:, -1], P[:, -1])
