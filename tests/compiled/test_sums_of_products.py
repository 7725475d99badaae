"""The sums of products of the compiled loops against NumPy, at every remainder of their blocks."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("numba")

from skcnn._compiled import simd, vectors  # noqa: E402
from skcnn._compiled.jit import OPTIONS, njit  # noqa: E402
from skcnn._compiled.simd import Rows, Runs  # noqa: E402

compiled = njit(**OPTIONS)
DTYPES = [np.float32, np.float64]
EPS = {dtype: 50 * np.finfo(dtype).eps for dtype in DTYPES}


@compiled
def weighted_sums(W, x, offsets, z, n_filters, length, adds):
    simd.weighted_sums(W, x, offsets, z, n_filters, length, adds)


@compiled
def inner_products(z, n_filters, x, offsets, runs, out):
    simd.inner_products(z, n_filters, x, offsets, runs, out)


def lengths(dtype, n_vectors):
    """Lengths from one to more than a block of vectors, with every number of lanes at the end."""
    lanes = vectors.VECTOR_BYTES // np.dtype(dtype).itemsize
    return [*range(1, lanes + 2), *range(n_vectors * lanes - 1, (n_vectors + 1) * lanes + 2)]


def bordered(*shape, dtype):
    """An array whose border of NaN must neither be read nor written, and the array within."""
    whole = np.full([n + 6 for n in shape], np.nan, dtype)
    return whole, whole[tuple(slice(3, -3) for _ in shape)]


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_sums(dtype, adds):
    rng = np.random.RandomState(0)
    n_filters = [*range(1, simd.BLOCK + 2), 2 * simd.BLOCK + 3]
    shapes = product(n_filters, (1, 2, 10), lengths(dtype, simd.VECTORS))
    lone = product((1, simd.BLOCK + 1), (3,), lengths(dtype, simd.LONE_VECTORS))
    chunks = [(2 * simd.BLOCK + 1, 9, 3000)]  # longer than what stays in the cache
    for F, n_taps, length in [*shapes, *lone, *chunks]:
        offsets = np.sort(rng.randint(0, 2 * n_taps, n_taps)).astype(np.uintp)
        border, x = bordered(length + int(offsets[-1]), dtype=dtype)
        x[:] = rng.randn(x.size)
        W = rng.randn(n_taps, F).astype(dtype)  # a tap a row
        whole, z = bordered(F, length, dtype=dtype)
        z[:] = before = rng.randn(F, length).astype(dtype)
        row = whole.shape[1]
        out = whole.reshape(-1)[3 * row + 3 :]
        weighted_sums(
            Rows(W.ravel(), 1, F), border[3:], offsets, Rows(out, row, 1), F, length, adds
        )
        inputs = np.stack([x[o : o + length] for o in offsets])
        assert_allclose(z, adds * before + W.T @ inputs, atol=EPS[dtype], rtol=EPS[dtype])
        outside = np.ones(whole.shape, bool)
        outside[3:-3, 3:-3] = False
        assert np.isnan(whole[outside]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_inner_products(dtype):
    rng = np.random.RandomState(0)
    n_filters = [*range(1, simd.FILTERS + 2), 2 * simd.FILTERS + 3]
    n_taps = [*range(1, simd.TAPS + 2), simd.LONE_TAPS - 1, simd.LONE_TAPS, simd.LONE_TAPS + 2]
    runs = [*product((1, 3), lengths(dtype, 2)), (2, 1300), (3, 600)]
    runs += [(2, length) for length in lengths(dtype, simd.LONE_VECTORS)]
    cases = [(F, n, *run) for F, n, run in product(n_filters, n_taps, runs[::7])]
    cases += [(F, n, *run) for F, n, run in product((1, simd.FILTERS + 1), (1, 4), runs)]
    for F, n_taps, n_runs, length in cases:
        stride = length + 2  # NaN between the runs
        offsets = np.sort(rng.randint(0, 2 * n_taps, n_taps)).astype(np.uintp)
        z, x = np.full((F, n_runs, stride), np.nan, dtype), np.full((n_taps, n_runs, length), 0.0)
        z[..., :length] = rng.randn(F, n_runs, length)
        flat = rng.randn(n_runs * stride + int(offsets[-1])).astype(dtype)
        for k, offset in enumerate(offsets):
            x[k] = flat[offset:][: n_runs * stride].reshape(n_runs, stride)[:, :length]
        border, out = bordered(n_taps, F, dtype=dtype)
        out[:] = before = rng.randn(n_taps, F).astype(dtype)
        to, step = border.reshape(-1)[3 * border.shape[1] + 3 :], border.shape[1]
        z_rows, runs = Rows(z.ravel(), n_runs * stride, 1), Runs(n_runs, stride, length)
        inner_products(z_rows, F, flat, offsets, runs, Rows(to, 1, step))
        sums = np.einsum("krq, frq -> kf", x, z[..., :length].astype(float))
        atol = EPS[dtype] * max(1, n_runs * length) ** 0.5
        assert_allclose(out, before + sums, atol=atol, rtol=0)


def test_a_nan_stays_where_it_is():
    lanes = vectors.VECTOR_BYTES // 8
    n = 3 * simd.VECTORS * lanes
    x, z, offsets = np.ones(n), np.zeros(n), np.zeros(1, np.uintp)
    x[n // 2] = np.nan
    weighted_sums(Rows(np.ones(1), 0, 1), x, offsets, Rows(z, 0, 1), 1, n, False)
    assert_array_equal(np.flatnonzero(np.isnan(z)), [n // 2])


def test_registers_are_those_of_the_processor():
    n_sums = simd.BLOCK * simd.VECTORS
    assert n_sums + simd.VECTORS + 1 <= vectors.N_REGISTERS
    assert simd.FILTERS * simd.TAPS + simd.TAPS + 1 <= vectors.N_REGISTERS
    assert n_sums >= 8
