"""The kernels of both modules against slow transcriptions of the formulas."""

import numpy as np
import oracle
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import convolve
from skcnn._layers import Convolution
from skcnn._losses import LabelLogLoss, LogLoss, SquaredError

from skcnn import _arrays, _fast, _layout

needs_numba = pytest.mark.skipif(not _fast.is_available(), reason="needs numba")

SHAPES = [  # of images, filters and pooling
    ((5, 6, 1), (1, 3), 1),
    ((6, 5, 2), (4, 2), 2),
    ((7, 9, 3), (6, 5), 3),  # with a remainder at both edges
    ((4, 7, 2), (5, 4), "global"),
    ((1, 11, 2), (3, 4), 2),  # signals
    ((13, 27, 1), (2, 3), 13),
    ((1, 16, 1), (2, 3), "global"),
    ((9, 1, 1), (4, 3), 1),
    ((2, 3, 2), (2, 7), 1),  # filters larger than the image
    ((1, 1, 3), (2, 3), 1),
]


def slow_gradient_of_filters(X, dZ, shape):
    """dW[f, u, v, c] = sum over images and pixels of dZ * X."""
    n, H, W, _ = X.shape
    dW = np.zeros(shape)
    height, width = shape[1:3]
    for f, u, v, c in np.ndindex(dW.shape):
        for m, i, j in np.ndindex(n, H, W):
            row, column = i + u - height // 2, j + v - width // 2
            if 0 <= row < H and 0 <= column < W:
                dW[f, u, v, c] += dZ[m, i, j, f] * X[m, row, column, c]
    return dW


def slow_gradient_of_input(W, dZ):
    """dX[n, i, j, c] = sum over taps and filters of W * dZ."""
    _, height, width, C = W.shape
    n, n_rows, n_columns, F = dZ.shape
    dX = np.zeros((n, n_rows, n_columns, C))
    for m, i, j, c in np.ndindex(dX.shape):
        for u, v, f in np.ndindex(height, width, F):
            row, column = i - u + height // 2, j - v + width // 2
            if 0 <= row < n_rows and 0 <= column < n_columns:
                dX[m, i, j, c] += W[f, u, v, c] * dZ[m, row, column, f]
    return dX


class Arrays:
    """The kernels on whole arrays, for images (n, H, W, C)."""

    def __init__(self, layer, n, dtype):
        self.layer = layer
        H, W, C = layer.in_shape
        self.X = _arrays.Patches((C, H, W, n), layer.kernel, dtype)
        self.dZ = _arrays.Patches((layer.n_filters, H, W, n), layer.kernel, dtype, reverse=True)

    def response(self, X, W):
        self.X.interior[...] = X.transpose(3, 1, 2, 0)
        Z = np.empty((len(W), *self.X.interior.shape[1:]), W.dtype)
        _arrays.conv_forward(self.X.gather(), self.layer.live(W), out=Z)
        return Z.transpose(3, 1, 2, 0)

    def gradient_of_filters(self, X, dZ, shape):
        self.X.interior[...] = X.transpose(3, 1, 2, 0)
        dW = np.zeros(shape, X.dtype)
        dZ = np.ascontiguousarray(dZ.transpose(3, 1, 2, 0))
        _arrays.conv_backward(dZ, self.X.gather(), out_W=self.layer.live(dW))
        return dW

    def gradient_of_input(self, W, dZ):
        self.dZ.interior[...] = dZ.transpose(3, 1, 2, 0)
        dX = np.empty_like(self.X.interior)
        W = _arrays.reversed_filters(self.layer.live(W))
        return _arrays.conv_forward(self.dZ.gather(), W, out=dX).transpose(3, 1, 2, 0)

    def pooled(self, Z, b, dA):
        """A, and the gradients of Z and b."""
        Z = np.ascontiguousarray(Z.transpose(3, 1, 2, 0))
        stages, M = [], Z
        for axis, size in enumerate(self.layer.pool, start=1):
            if size == 1:
                continue
            below = M
            shape = [*M.shape]
            shape[axis] //= size
            corners = _arrays.corners_of(below, size, axis)
            M = _arrays.pool_forward(corners, out=np.empty(shape, Z.dtype))
            dZ = np.zeros_like(below)
            stages.append((corners, M, _arrays.corners_of(dZ, size, axis), dZ))
        A = _arrays.relu_forward(
            M, b.reshape(-1, 1, 1, 1), np.zeros_like(M[0]), out=np.empty_like(M)
        )
        dM, db = dA.transpose(3, 1, 2, 0).copy(), np.empty_like(b)
        _arrays.relu_backward(dM, A, out_b=db)
        for corners, M, of_dZ, dZ in reversed(stages):
            _arrays.pool_backward(dM, corners, M, out=of_dZ)
            dM = dZ
        return A.transpose(3, 1, 2, 0), dM.transpose(3, 1, 2, 0), db


class Loops:
    """The compiled kernels, for images (n, H, W, C) that go through them in one group."""

    def __init__(self, layer, n, dtype):
        from skcnn import _loops

        self.loops, self.layer, self.n, self.dtype = _loops, layer, n, dtype
        sizes = _layout.sizes_of(layer, n, _layout.a_row_of(layer, n))
        sizes |= {"A_row": sizes["dA_row"]}
        fields = _loops.CONVOLUTION.names
        table = np.array([tuple(sizes.get(name, 0) for name in fields)], _loops.CONVOLUTION)
        self.sizes = table.view(np.recarray)[0]
        self.filters, self.row = _layout.Filters(layer), sizes["row"]
        self.offsets, self.offsets_reversed = _layout.offsets_of(layer, self.row, n)
        (H, W, _), (height, width) = layer.in_shape, layer.kernel
        self.padded_shape = H + height - 1, W + width - 1, n

    def padded(self, images, corner):
        """Images within their padding, a channel a row; the last row can be read beyond its end."""
        C = images.shape[3]
        padded = np.zeros((C, *self.padded_shape), self.dtype)
        i, j, _ = np.unravel_index(corner, self.padded_shape)
        H, W, _ = self.layer.in_shape
        padded[:, i : i + H, j : j + W] = images.transpose(3, 1, 2, 0)
        return padded.reshape(C, -1)

    def convolved(self, x, W, offsets):
        H, n_columns, _ = self.layer.in_shape
        Z = np.zeros((len(W), H * self.row), self.dtype)
        for f in range(0, len(W), 4):
            z = np.zeros((len(W[f : f + 4]), H * self.row), self.dtype)
            lengths = H, n_columns * self.n, self.row, self.row
            self.loops.conv_forward(x.ravel(), offsets, W[f : f + 4].copy(), z, *lengths)
            Z[f : f + 4] = z
        Z = Z.reshape(len(W), H, -1, self.n)[:, :, :n_columns]
        return Z.transpose(3, 1, 2, 0)

    def response(self, X, W):
        rows = np.zeros((len(W), self.filters.size), self.dtype)
        rows[:, self.filters.columns] = W.reshape(len(W), -1)[:, self.filters.taps]
        return self.convolved(self.padded(X, self.sizes.corner), rows, self.offsets)

    def gradient_of_filters(self, X, dZ, shape):
        H, n_columns, _ = self.layer.in_shape
        corner = self.sizes.dZ_corner
        x, dz = self.padded(X, self.sizes.corner).ravel(), self.padded(dZ, corner)
        dW = np.zeros((shape[0], self.filters.size), self.dtype)
        for f in range(0, shape[0], 4):
            some = dW[f : f + 4].copy()
            length = (H - 1) * self.row + n_columns * self.n
            four = dz[f : f + 4].copy()
            self.loops.conv_backward(four, corner, x, self.offsets, some, length)
            dW[f : f + 4] = some
        dW[:, self.filters.n_live : self.filters.n_taps] = 0  # sums for what is filled up
        out = np.empty((shape[0], np.prod(shape[1:])), self.dtype)
        out[:, self.filters.taps] = dW[:, self.filters.columns]
        return out.reshape(shape)

    def gradient_of_input(self, W, dZ):
        rows = np.zeros((len(W), self.filters.size), self.dtype)
        rows[:, self.filters.columns] = W.reshape(len(W), -1)[:, self.filters.taps]
        reversal = _layout.reversal_of(self.layer, self.filters, start=0)
        of_channels = np.where(reversal < 0, 0, rows.ravel()[reversal])
        dz = self.padded(dZ, self.sizes.dZ_corner)
        return self.convolved(dz, of_channels, self.offsets_reversed)

    def pooled(self, Z, b, dA):
        loops, layer, sizes, m = self.loops, self.layer, self.sizes, self.n
        (H, W, _), (p, q), F = layer.in_shape, layer.pool, layer.n_filters
        z = np.zeros((F, *self.padded_shape), self.dtype)
        z[:, :H, :W] = Z.transpose(3, 1, 2, 0)
        z = z.reshape(F, -1)[:, : H * self.row]
        A, dZ, db = [], [], []
        for f in range(F):
            a, winners = np.zeros((2, sizes.dA_channel), self.dtype)
            da = np.zeros((H // p, sizes.dA_row), self.dtype)
            used = W // q * m
            da[:, :used] = dA[..., f].transpose(1, 2, 0).reshape(H // p, used)
            dz = np.zeros(H * self.row, self.dtype)
            if p * q > 1:
                best = np.zeros(5 * W * m, self.dtype)
                loops.pool_forward(z[f], b[f], sizes, best, a, winners)
                assert winners.max() < p * self.row // m  # counted in pixels, not in values
                total = loops.pool_backward(da.ravel(), a, winners, sizes, dz)
            else:
                loops.relu_forward(z[f], b[f], sizes)
                loops.copy_rows(z[f], self.row, a, sizes.A_row, sizes)
                loops.copy_rows(da.ravel(), sizes.dA_row, dz, self.row, sizes)
                total = loops.relu_backward(dz, a, sizes)
            A.append(a.reshape(H // p, -1)[:, :used].reshape(H // p, W // q, m))
            dZ.append(dz.reshape(H, -1, m)[:, :W])
            db.append(total)
        as_images = (np.stack(arrays, axis=-1).transpose(2, 0, 1, 3) for arrays in (A, dZ))
        return *as_images, np.array(db)


@pytest.fixture(params=["arrays, row by row", "arrays, all pixels", "loops"])
def kernels(request, monkeypatch):
    if request.param == "loops":
        if not _fast.is_available():
            pytest.skip("needs numba")
        return Loops
    monkeypatch.setattr(_arrays, "SHORTEST_ROW", 1 if "row" in request.param else 10**6)
    return Arrays


def problem(shape, filters, pool, n, dtype=np.float64):
    (F, K), rng = filters, np.random.RandomState(0)
    layer = Convolution(shape, F, K, pool, is_first=True)
    X, W = rng.randn(n, *shape), rng.randn(*layer.shapes[0])
    Z, dA = rng.randn(n, *shape[:2], F), rng.randn(n, *layer.out_shape)
    return layer, *(array.astype(dtype) for array in (X, W, Z, rng.randn(F), dA))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("shape, filters, pool", SHAPES)
def test_convolution(kernels, shape, filters, pool, n):
    layer, X, W, dZ, *_ = problem(shape, filters, pool, n)
    of_layer = kernels(layer, n, X.dtype)
    expected = oracle.response(X, W, np.zeros(len(W)))
    assert_allclose(of_layer.response(X, W), expected, atol=1e-12)
    dW = of_layer.gradient_of_filters(X, dZ, W.shape)
    assert_allclose(dW, slow_gradient_of_filters(X, dZ, W.shape), atol=1e-12)
    assert_allclose(of_layer.gradient_of_input(W, dZ), slow_gradient_of_input(W, dZ), atol=1e-12)


def test_convolution_in_single_precision(kernels):
    layer, X, W, dZ, *_ = problem((6, 7, 3), (5, 3), 1, 2, np.float32)
    of_layer = kernels(layer, 2, X.dtype)
    Z = of_layer.response(X, W)
    assert Z.dtype == np.float32
    assert_allclose(Z, oracle.response(X, W, np.zeros(len(W))), atol=1e-4)
    dW = of_layer.gradient_of_filters(X, dZ, W.shape)
    assert_allclose(dW, slow_gradient_of_filters(X, dZ, W.shape), atol=1e-4)


@pytest.mark.parametrize("K", range(1, 9))
@pytest.mark.parametrize("shape", [(8, 8), (11, 5), (4, 13), (2, 2)])
def test_response_is_that_of_scipy(kernels, K, shape):
    rng = np.random.RandomState(0)
    x, w = rng.randn(*shape), rng.randn(K, K)
    layer = Convolution((*shape, 1), 1, K, 1, is_first=True)
    Z = kernels(layer, 1, x.dtype).response(
        x[np.newaxis, ..., np.newaxis], w[np.newaxis, ..., None]
    )
    assert_allclose(Z[0, :, :, 0], convolve(x, w[::-1, ::-1], mode="same"), atol=1e-12)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("shape, filters, pool", SHAPES)
def test_pooling_and_relu(kernels, shape, filters, pool, n):
    layer, _, _, Z, b, dA = problem(shape, filters, pool, n)
    A, dZ, db = kernels(layer, n, Z.dtype).pooled(Z, b, dA)
    p, q = layer.pool
    expected, expected_dZ = np.zeros_like(dA), np.zeros_like(Z)
    for m, i, j, f in np.ndindex(dA.shape):
        window = Z[m, i * p : (i + 1) * p, j * q : (j + 1) * q, f]
        expected[m, i, j, f] = max(window.max() + b[f], 0)
        if expected[m, i, j, f] > 0:
            k, v = np.unravel_index(window.argmax(), window.shape)
            expected_dZ[m, i * p + k, j * q + v, f] = dA[m, i, j, f]
    assert_allclose(A, expected)
    assert_allclose(dZ, expected_dZ)
    assert_allclose(db, expected_dZ.sum(axis=(0, 1, 2)), atol=1e-12)


@pytest.mark.parametrize("axis", [1, 2])
def test_windows_of_many_values_are_pooled_as_those_of_few(monkeypatch, axis):
    rng, results = np.random.RandomState(0), []
    Z, dM = rng.randint(9, size=(2, 30, 30, 3)).astype(float), rng.randn(2, 30, 30, 3)
    dM = dM.take([0, 1], axis)
    for most in (12, 13):
        monkeypatch.setattr(_arrays, "MOST_CORNERS", most)
        dZ = Z.copy()  # the gradient takes the place of Z
        corners, M = _arrays.corners_of(dZ, 13, axis), np.empty_like(dM)
        _arrays.pool_forward(corners, out=M)
        _arrays.pool_backward(dM.copy(), corners, M, out=corners)
        results.append((M, dZ))
    for of_many, of_few in zip(*results):
        assert_array_equal(of_many, of_few)


def test_the_first_column_wins_among_equals_and_in_it_the_first_row(kernels):
    layer = Convolution((4, 4, 1), 1, 3, 2, is_first=True)
    windows = np.array([[[3, 5], [5, 3]], [[5, 5], [5, 5]], [[1, 7], [2, 7]], [[9, 1], [9, 9]]])
    Z = windows.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(1, 4, 4, 1).astype(float)
    dA = np.arange(1.0, 5).reshape(1, 2, 2, 1)
    _, dZ, _ = kernels(layer, 1, Z.dtype).pooled(Z, np.zeros(1), dA)
    expected = [[0, 0, 2, 0], [1, 0, 0, 0], [0, 3, 4, 0], [0, 0, 0, 0]]
    assert_array_equal(dZ[0, :, :, 0], expected)


def test_relu_has_no_gradient_at_zero_and_hides_no_nan(kernels):
    layer = Convolution((1, 4, 1), 1, 1, 1, is_first=True)
    Z, dA = np.array([0.0, 2.0, -3.0, np.nan]), np.array([5.0, 6.0, 7.0, 8.0])
    of_layer = kernels(layer, 1, Z.dtype)
    A, dZ, _ = of_layer.pooled(Z.reshape(1, 1, 4, 1), np.zeros(1), dA.reshape(1, 1, 4, 1))
    assert_array_equal(A.ravel(), [0, 2, 0, np.nan])
    assert_array_equal(dZ.ravel()[:3], [0, 6, 0])


def dense_of_arrays(A, V, c, dT):
    T = _arrays.dense_forward(
        A.T.copy(), V, c.reshape(-1, 1), out=np.empty((len(V), len(A)), A.dtype)
    ).T
    dV, dc, dA = np.empty_like(V), np.empty_like(c), np.empty_like(A.T.copy())
    _arrays.dense_backward(dT.T.copy(), A.T.copy(), V, dV, dc, dA)
    return T, dV, dA.T


def dense_of_loops(A, V, c, dT):
    from skcnn import _loops

    T, dV, dA = np.empty((len(A), len(V)), A.dtype), np.full_like(V, np.nan), np.empty_like(A)
    _loops.dense_forward(A, V, c, T)
    _loops.combine_rows(dT.T, A, dV, True)
    _loops.combine_rows(dT, V, dA, True)
    return T, dV, dA


@pytest.mark.parametrize("n, n_in, n_out", [(1, 5, 1), (3, 4, 2), (4, 7, 5), (11, 3, 9)])
def test_dense(kernels, n, n_in, n_out):
    rng = np.random.RandomState(0)
    A, V, c, dT = rng.randn(n, n_in), rng.randn(n_out, n_in), rng.randn(n_out), rng.randn(n, n_out)
    dense = dense_of_arrays if kernels is Arrays else dense_of_loops
    T, dV, dA = dense(A, V, c, dT)
    assert_allclose(T, A @ V.T + c)
    assert_allclose(dV, dT.T @ A)
    assert_allclose(dA, dT @ V)


@needs_numba
@pytest.mark.parametrize("loss", [LogLoss(1), LogLoss(4), LabelLogLoss(4), SquaredError(4)])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_gradients_of_losses(loss, scale):
    from skcnn import _loops

    rng = np.random.RandomState(0)
    T, s = scale * rng.randn(6, loss.n_outputs), rng.rand(6)
    Y = rng.randint(2, size=T.shape).astype(float)
    dT = np.empty_like(T)
    with np.errstate(over="ignore"):  # as the estimators do, for where the loops run as Python
        for n in range(len(T)):
            _loops.loss_backward(T[n], Y[n], s[n], getattr(_loops, loss.activation), dT[n])
    assert_allclose(dT, loss.backward(T, Y, s), atol=1e-15, rtol=1e-12)


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
    assert _arrays.n_pieces(n_pixels, n_weights) == expected


def test_responses_in_pieces_are_the_same(monkeypatch):
    layer, X, W, *_ = problem((6, 4, 2), (2, 3), 1, 4)
    for name in ("SHORTEST_ROW", "SHORTEST_PIECE"):
        monkeypatch.setattr(_arrays, name, 4)
    results = []
    for work in (10**6, 2 * 18 * 16 // 2):
        monkeypatch.setattr(_arrays, "PRODUCT_WORK", work)
        results.append(Arrays(layer, 4, X.dtype).response(X, W))
    assert _arrays.n_pieces(4 * 4, 2 * 18) == 2
    assert_allclose(*results, rtol=1e-12)
