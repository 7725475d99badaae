"""The layers against SciPy, scikit-learn and the loops of the oracle."""

import numpy as np
import oracle
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import convolve
from sklearn.metrics import log_loss

from skcnn import _layers


def response(X, W, b=0):
    """Z of shape (n, H, W, F), by the layers of the package."""
    n, height, width, n_channels = X.shape
    n_filters, K = W.shape[:2]
    padded, interior = _layers.pad_images(1, *X.shape, (K, K), X.dtype)
    interior[...] = X.reshape(interior.shape)
    patches = _layers.conv_windows(padded, height, width, (K, K), pool=(1, 1)).copy()
    for beyond in _layers.beyond_the_edges(patches, width):
        beyond.fill(0)
    Z = np.empty((n_filters, height * width * n), X.dtype)
    _layers.conv_forward(patches.reshape(K * K * n_channels, -1), W.reshape(n_filters, -1), out=Z)
    return Z.reshape(n_filters, height, width, n).transpose(3, 1, 2, 0) + b


@pytest.mark.parametrize("K", range(1, 9))
@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (11, 5), (4, 13), (1, 20), (1, 3), (2, 2)])
def test_response_is_that_of_scipy(K, shape):
    rng = np.random.RandomState(0)
    x, w = rng.randn(*shape), rng.randn(K, K)
    Z = response(x[np.newaxis, :, :, np.newaxis], w[np.newaxis, :, :, np.newaxis])
    assert_allclose(Z[0, :, :, 0], convolve(x, w[::-1, ::-1], mode="same"), atol=1e-12)


def test_response_of_a_signal_by_hand_and_by_scipy():
    # A window of one row; as a filter it is the middle row of a square with zeros around.
    x, window = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([-1.0, 0.0, 2.0])
    by_hand = [
        0 * -1 + 1 * 0 + 2 * 2,
        1 * -1 + 2 * 0 + 3 * 2,
        2 * -1 + 3 * 0 + 4 * 2,
        3 * -1 + 4 * 0 + 5 * 2,
        4 * -1 + 5 * 0 + 0 * 2,
    ]
    W = np.zeros((1, 3, 3, 1))
    W[0, 1, :, 0] = window
    Z = response(x.reshape(1, 1, -1, 1), W)
    assert_array_equal(Z.ravel(), by_hand)
    assert_allclose(Z.ravel(), convolve(x, window[::-1], mode="same"))


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n_channels, n_filters", [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_response_is_that_of_the_loops(K, n_channels, n_filters):
    rng = np.random.RandomState(K)
    X = rng.randn(2, 4, 5, n_channels)
    W, b = rng.randn(n_filters, K, K, n_channels), rng.randn(n_filters)
    assert_allclose(response(X, W, b), oracle.response(X, W, b), atol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_probabilities_are_those_of_the_loops(n_outputs):
    T = np.random.RandomState(0).randn(5, n_outputs)
    P = oracle.probabilities(T)
    assert_allclose(_layers.probabilities(T), P[:, 1:] if n_outputs == 1 else P)
    assert_allclose(_layers.log_probabilities(T), np.log(P))
    assert_array_equal(_layers.most_probable(T), P.argmax(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_reported_loss_is_that_of_scikit_learn(dtype, n_outputs):
    rng = np.random.RandomState(0)
    n_classes = max(n_outputs, 2)
    T = (rng.randn(300, n_outputs) * 30).astype(dtype)  # many probabilities are clipped
    y = rng.randint(n_classes, size=300)
    s = rng.rand(300)
    P = np.exp(_layers.log_probabilities(T)).astype(dtype)
    expected = log_loss(
        y, P / P.sum(axis=1, keepdims=True), sample_weight=s, labels=range(n_classes)
    )
    reported = np.average(_layers.reported_log_loss(T, y), weights=s)
    assert_allclose(reported, expected, rtol=1e-5 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("dtype, nats", [(np.float64, 36.04), (np.float32, 15.94)])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_logits_of_any_size_overflow_nowhere(dtype, nats, n_outputs):
    T = np.zeros((2, n_outputs), dtype)
    T[:, -1] = [1e30, -1e30]
    wrong, right = np.array([0, 1]), np.array([1, 0])
    with np.errstate(all="raise", under="ignore"):
        assert_allclose(_layers.reported_log_loss(T, wrong), nats, atol=0.01)
        assert_allclose(_layers.reported_log_loss(T, right), 0, atol=1e-6)
        P = _layers.probabilities(T)
        gradient = _layers.log_loss_backward(T, np.zeros_like(T), np.ones((2, 1), dtype))
    assert_array_equal(P[:, -1], [1, 0])
    assert_array_equal(gradient, P)


@pytest.mark.parametrize("b", [None, np.array([1.0])])
def test_relu_has_no_gradient_at_zero(b):
    M, dA = np.array([[0.0, 2.0, -3.0]]), np.array([[5.0, 6.0, 7.0]])
    A, slope, out_b = np.empty_like(M), np.empty_like(M), np.empty(1)
    _layers.relu_forward(M if b is None else M - b, b, out=A, out_slope=slope)
    assert_array_equal(A, [[0, 2, 0]])
    _layers.relu_backward(dA, slope, out_b)
    assert_array_equal(slope, [[0, 6, 0]])
    assert_array_equal(out_b, [6])


@pytest.mark.parametrize("learnt", [False, True])
def test_relu_hides_no_nan(learnt):
    M = np.array([[np.nan, 1.0, -1.0]])
    A, slope = np.empty_like(M), np.empty_like(M) if learnt else None
    _layers.relu_forward(M, None, out=A, out_slope=slope)
    assert_array_equal(A, [[np.nan, 1, 0]])


@pytest.mark.parametrize(
    "length, others, expected",
    [
        (784, 9, 1),
        (12_544, 288, 4),  # 3.6 million multiplications
        (12_544, 400, 7),  # five million; six does not divide the length
        (10_007, 200, 1),  # a prime number has no pieces
        (1_000, 100_000, 1),  # pieces would be too short
    ],
)
def test_pieces_of_matrix_products(length, others, expected):
    assert _layers.n_pieces(length, others) == expected
