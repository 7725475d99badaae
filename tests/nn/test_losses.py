"""The losses against scikit-learn, the oracle and differences."""

import numpy as np
import oracle
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import log_loss, mean_squared_error

from skcnn._nn import losses
from skcnn._nn.losses import LabelLogLoss, LogLoss, SquaredError


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_probabilities_are_those_of_the_oracle(n_outputs):
    T = np.random.RandomState(0).randn(5, n_outputs)
    loss, P = LogLoss(n_outputs), oracle.probabilities(T)
    assert_allclose(loss.probabilities(T), P)
    assert_allclose(loss.log_probabilities(T), np.log(P))
    assert_array_equal(loss.most_probable(T), P.argmax(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_reported_loss_is_that_of_scikit_learn(dtype, n_outputs):
    rng = np.random.RandomState(0)
    n_classes = max(n_outputs, 2)
    T = (rng.randn(300, n_outputs) * 30).astype(dtype)  # many probabilities are clipped
    y = rng.randint(n_classes, size=300)
    s = rng.rand(300)
    loss = LogLoss(n_outputs)
    P = np.exp(loss.log_probabilities(T)).astype(dtype)
    expected = log_loss(
        y, P / P.sum(axis=1, keepdims=True), sample_weight=s, labels=range(n_classes)
    )
    reported = np.average(loss.reported(T, y), weights=s)
    assert_allclose(reported, expected, rtol=1e-5 if dtype == np.float32 else 1e-9)
    assert_allclose(loss.report(T, y, s)[0], reported)


@pytest.mark.parametrize("dtype, nats", [(np.float64, 36.04), (np.float32, 15.94)])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_logits_of_any_size_overflow_nowhere(dtype, nats, n_outputs):
    T = np.zeros((2, n_outputs), dtype)
    T[:, -1] = [1e30, -1e30]
    loss, wrong, right = LogLoss(n_outputs), np.array([0, 1]), np.array([1, 0])
    with np.errstate(all="raise", under="ignore"):
        assert_allclose(loss.reported(T, wrong), nats, atol=0.01)
        assert_allclose(loss.reported(T, right), 0, atol=1e-6)
        P = loss.probabilities(T)
        gradient = loss.backward(T, np.zeros_like(T), np.ones(2, dtype))
    assert_array_equal(P[:, -1], [1, 0])
    assert_array_equal(gradient[:, -1], P[:, -1])


def test_labels_are_losses_of_two_classes_added():
    rng = np.random.RandomState(0)
    T, y, s = 30 * rng.randn(50, 3), rng.randint(2, size=(50, 3)), rng.rand(50)
    loss, each = LabelLogLoss(3), LogLoss(1)
    columns = [(T[:, k : k + 1], y[:, k]) for k in range(3)]
    assert_allclose(loss.forward(T, y), sum(each.forward(*column) for column in columns))
    assert_allclose(loss.reported(T, y), sum(each.reported(*column) for column in columns))
    assert_allclose(loss.probabilities(T)[:, 1], each.probabilities(T[:, 1:2])[:, 1])
    right = [each.most_probable(t) == of_label for t, of_label in columns]
    accuracy = np.average(np.all(right, axis=0), weights=s)
    assert_allclose(loss.report(T, y, s)[1], accuracy)


SMOOTHED = [LogLoss(1, 0.2), LogLoss(3, 0.2), LabelLogLoss(3, 0.2)]


@pytest.mark.parametrize(
    "loss", [LogLoss(1), LogLoss(3), LabelLogLoss(3), *SMOOTHED, SquaredError(3)]
)
def test_gradients_agree_with_central_differences(loss):
    rng = np.random.RandomState(0)
    T, s = rng.randn(4, loss.n_outputs), rng.rand(4)
    shape = 4 if type(loss) is LogLoss else (4, 3)
    y = rng.randn(*shape) if isinstance(loss, SquaredError) else rng.randint(2, size=shape)
    differences = np.empty_like(T)
    for k in np.ndindex(T.shape):
        step = np.zeros_like(T)
        step[k] = 1e-6
        differences[k] = (loss.forward(T + step, y) - loss.forward(T - step, y)) @ s / 2e-6
    assert_allclose(loss.backward(T, loss.targets(y, float), s), differences, atol=1e-8)


@pytest.mark.parametrize("n_outputs", [1, 4])
def test_a_smoothed_loss_is_the_log_loss_of_its_targets(n_outputs):
    rng = np.random.RandomState(0)
    n_classes = max(n_outputs, 2)
    T, y, s = 3 * rng.randn(50, n_outputs), rng.randint(n_classes, size=50), rng.rand(50)
    loss = LogLoss(n_outputs, 0.3)
    targets = 0.7 * np.eye(n_classes)[y] + 0.3 / n_classes
    assert_allclose(loss.targets(y, float), targets[:, -n_outputs:])
    # scikit-learn takes labels only: a copy of each sample for each class, weighed by its target.
    copies = loss.probabilities(T).repeat(n_classes, axis=0), np.tile(np.arange(n_classes), 50)
    expected = log_loss(copies[1], copies[0], sample_weight=(s[:, np.newaxis] * targets).ravel())
    assert_allclose(np.average(loss.forward(T, y), weights=s), expected)
    assert_array_equal(loss.reported(T, y), LogLoss(n_outputs).reported(T, y))


def test_smoothed_labels_are_smoothed_losses_of_two_classes_added():
    rng = np.random.RandomState(0)
    T, y = 3 * rng.randn(50, 3), rng.randint(2, size=(50, 3))
    columns = [LogLoss(1, 0.3).forward(T[:, k : k + 1], y[:, k]) for k in range(3)]
    assert_allclose(LabelLogLoss(3, 0.3).forward(T, y), sum(columns))
    assert_allclose(LabelLogLoss(3, 0.3).targets(y, float), 0.7 * y + 0.15)


@pytest.mark.parametrize("loss", [LogLoss(1), LogLoss(3), LabelLogLoss(3)])
def test_losses_are_computed_in_parts(monkeypatch, loss):
    rng = np.random.RandomState(0)
    T, s = rng.randn(20, loss.n_outputs), rng.rand(20)
    y = rng.randint(2, size=(20, 3) if isinstance(loss, LabelLogLoss) else 20)
    whole = loss.report(T, y, s)
    monkeypatch.setattr(losses, "MAX_VALUES", 7)
    assert loss.report(T, y, s) == whole


def test_targets():
    assert_array_equal(LogLoss(1).targets(np.array([0, 1]), float), [[0], [1]])
    assert_array_equal(LogLoss(3).targets(np.array([2, 0]), float), [[0, 0, 1], [1, 0, 0]])
    for q in (0.0, 0.1):
        assert LogLoss(3, q).targets(np.array([2, 0]), np.dtype("f4")).dtype == np.float32
        assert LabelLogLoss(2, q).targets(np.array([[0, 1]]), np.dtype("f4")).dtype == np.float32


def test_the_squared_error_is_that_of_scikit_learn():
    rng = np.random.RandomState(0)
    T, y, s = rng.randn(9, 2), rng.randn(9, 2), rng.rand(9)
    expected = mean_squared_error(y, T, sample_weight=s) / 2
    assert_allclose(SquaredError(2).report(T, y, s), [expected])
    assert_allclose(SquaredError(2).initial_intercept(y, s), s @ y / s.sum())
