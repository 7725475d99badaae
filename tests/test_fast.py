"""The compiled loops against the whole arrays that they repeat."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skcnn import ConvNetClassifier, _fast, _network, _parameters

needs_numba = pytest.mark.skipif(not _fast.is_there(), reason="needs numba")


def problem(n=70, shape=(9, 8), n_classes=3, dtype=np.float64):
    rng = np.random.RandomState(0)
    X = rng.randn(n, *shape).astype(dtype)
    return X, rng.randint(n_classes, size=n), rng.randint(3, size=n)


def fitted_on_both_paths(monkeypatch, X, y, s, **params):
    params = {"max_iter": 3, "tol": None, "random_state": 0, "batch_size": 1, **params}
    for fast in "01":
        monkeypatch.setenv("SKCNN_FAST", fast)
        yield ConvNetClassifier(**params).fit(X, y, sample_weight=s)


def assert_same(one, other, rtol=1e-9):
    for name in ("filters_", "filter_intercept_", "coef_", "intercept_"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        assert_allclose(a, b, rtol=0, atol=rtol * max(1, np.abs(b).max()), err_msg=name)
    for name in ("loss_curve_", "accuracy_curve_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol)


@needs_numba
@pytest.mark.parametrize("solver", [{"solver": "adam"}, {"solver": "sgd"}, {"momentum": 0.9}])
@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"K": 1, "n_filters": 2},
        {"K": 4, "n_filters": 3, "pool_size": 2, "alpha": 0.1},
        {"K": 5, "pool_size": 3, "fit_intercept": False},
        {"K": 2, "n_filters": 6},
        {"n_filters": 9, "pool_size": 2},
        {"freeze": "filters"},
        {"freeze": "dense", "n_filters": 2, "pool_size": 2},
        {"learning_rate": "cosine", "sampling": "replacement"},
    ],
    ids=str,
)
def test_same_weights(monkeypatch, solver, batch_size, params):
    params = {"solver": "sgd", "eta": 0.01, **solver, **params}
    X, y, s = problem()
    assert_same(*fitted_on_both_paths(monkeypatch, X, y, s, batch_size=batch_size, **params))


@needs_numba
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("shape", [(6, 5, 3), (1, 20), (20, 1), (2, 2)])
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-9), (np.float32, 1e-3)])
def test_same_weights_for_images_of_any_kind(monkeypatch, n_classes, shape, dtype, rtol):
    X, y, s = problem(shape=shape, n_classes=n_classes, dtype=dtype)
    params = {"n_filters": 5, "pool_size": 2, "eta": 0.01}  # four together, and one
    one, other = fitted_on_both_paths(monkeypatch, X, y, s, **params)
    assert_same(one, other, rtol)
    monkeypatch.setenv("SKCNN_FAST", "0")
    slow = other.predict_proba(X), other.feature_maps(X)
    monkeypatch.setenv("SKCNN_FAST", "1")
    assert_allclose(other.predict_proba(X), slow[0], rtol=rtol)
    assert_array_equal(other.feature_maps(X), slow[1])


@needs_numba
def test_same_pixel_wins_where_several_are_the_greatest(monkeypatch):
    X = np.random.RandomState(0).randint(2, size=(70, 7, 8)).astype(float)
    _, y, s = problem()
    models = fitted_on_both_paths(monkeypatch, X, y, s, K=2, n_filters=3, pool_size=3)
    assert_same(*models)


@needs_numba
@pytest.mark.parametrize("params", [{"solver": "lbfgs"}, {"batch_size": 70}])
@pytest.mark.parametrize("n_together", [2, 5])
def test_same_weights_in_parts_and_blocks(monkeypatch, params, n_together):
    n_filters, bytes_of_maps = 2, 4 * 5 * 8  # of 9 x 8 pixels in windows, and a column of zeros
    monkeypatch.setattr(_network, "PART_WORK", 1)
    monkeypatch.setattr(_network, "block_size", lambda *sizes: 4)
    monkeypatch.setattr(_fast, "CHUNK_BYTES", 7 * 72 * 8)  # seven images
    monkeypatch.setattr(_fast, "CACHE_BYTES", n_together * 2 * n_filters * bytes_of_maps)
    X, y, s = problem(n_classes=7)
    params = {"n_filters": n_filters, "pool_size": 2, **params}
    model, other = fitted_on_both_paths(monkeypatch, X, y, s, **params)
    assert len(_fast._room(model._architecture, model.coef_.dtype, 70).A) == n_together
    assert_same(model, other, rtol=1e-6)


@needs_numba
@pytest.mark.parametrize("paths", ["01", "10"])
@pytest.mark.parametrize(
    "params", [{"solver": "adam"}, {"solver": "sgd", "momentum": 0.9}], ids=str
)
def test_a_stream_may_go_on_along_the_other_path(monkeypatch, paths, params):
    X, y, s = problem()
    params = {"n_filters": 2, "sampling": "sequential", "random_state": 0, **params}
    models = [ConvNetClassifier(**params) for _ in range(2)]
    for fast in paths:
        monkeypatch.setenv("SKCNN_FAST", fast)
        models[0].partial_fit(X, y, classes=[0, 1, 2])
        monkeypatch.setenv("SKCNN_FAST", "0")
        models[1].partial_fit(X, y, classes=[0, 1, 2])
    assert_same(*models)


@needs_numba
@pytest.mark.parametrize("dtype", ["float64", "uint8"])  # the latter must be gathered
def test_epochs_are_run_in_chunks_of_whole_batches(monkeypatch, dtype):
    X, y, s = problem()
    X = (10 * X).astype(dtype)
    sizes = []
    run = _fast.Epochs.run

    def noting_sizes(epochs, solver, X, Y, s, rows, *rest):
        sizes.append(len(rows))
        return run(epochs, solver, X, Y, s, rows, *rest)

    monkeypatch.setattr(_fast.Epochs, "run", noting_sizes)
    whole = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(X, y)
    assert sizes == [len(X)] * 2
    nine_images = 9 * 72
    if dtype == "float64":
        monkeypatch.setattr(_network, "COMPILED_CHUNK_WORK", nine_images * 9)  # K = 3
    else:
        monkeypatch.setattr(_network, "COMPILED_CHUNK_BYTES", nine_images * 8)
    sizes.clear()
    chunked = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(X, y)
    assert max(sizes) == 8 and sum(sizes) == 2 * len(X)
    assert_array_equal(chunked.coef_, whole.coef_)
    assert chunked.loss_curve_ == whole.loss_curve_


@needs_numba
def test_nothing_is_compiled_again_for_arrays_of_another_kind():
    from skcnn import _loops

    X, y, _ = problem()
    fitted = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(X, y)
    n_compiled = len(_loops.adam_epoch.signatures), len(_loops.logits.signatures)
    read_only = X.copy()
    read_only.flags.writeable = False  # as joblib gives large arrays to its processes
    for other in (read_only, np.asfortranarray(X), X[::-1][::-1], X.astype(">f8"), X.tolist()):
        again = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(other, y)
        assert_array_equal(again.coef_, fitted.coef_)
        assert_array_equal(again.predict_proba(other), fitted.predict_proba(X))
    assert (len(_loops.adam_epoch.signatures), len(_loops.logits.signatures)) == n_compiled


@needs_numba
@pytest.mark.parametrize("pool_size", [1, 2])
def test_a_value_that_is_no_number_is_not_lost(pool_size):
    architecture = _parameters.Architecture(4, 4, 1, 3, 1, pool_size, 1)
    params = _parameters.init_params(architecture, np.random.RandomState(0), np.float64)
    params.W[0, 4] = np.nan
    buffers = _network.Buffers(architecture, np.float64)
    T = _network.logits(buffers.laid_out(params)[1], np.ones((2, 16)), buffers)
    assert np.isnan(T).all()


TRAIN = """
import numpy as np
from skcnn import ConvNetClassifier, _fast
X, y = np.random.RandomState(0).randn(20, 5, 5), np.arange(20) % 2
print(ConvNetClassifier(max_iter=1, tol=None).fit(X, y).n_iter_, _fast.is_there())
"""


def run(program, **environment):
    """Run a program in a new process; return what it printed, and what on standard error."""
    command = [sys.executable, "-c", program]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split(), done.stderr


def test_without_numba():
    assert run("import sys; sys.modules['numba'] = None" + TRAIN) == (["1", "False"], "")


def test_it_can_be_switched_off():
    assert run(TRAIN, SKCNN_FAST="0") == (["1", "False"], "")


def test_a_numba_that_does_not_work_is_told_of_and_left_out(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
    printed, warned = run(TRAIN, PYTHONPATH=str(tmp_path))
    assert printed == ["1", "False"]
    assert warned.count("RuntimeWarning") == 1
    assert "Numba needs NumPy 2.3 or less" in warned


@needs_numba
def test_what_is_compiled_is_kept_in_a_cache(tmp_path):
    hits = "from skcnn import _loops; print(sum(_loops.adam_epoch.stats.cache_hits.values()))"
    for expected in "01":
        printed, _ = run(TRAIN + hits, NUMBA_CACHE_DIR=str(tmp_path))
        assert printed == ["1", "True", expected]


@needs_numba
def test_compiling_needs_no_place_for_a_cache(monkeypatch):
    from numba.core import caching

    from skcnn import _loops

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert _loops.outer(lambda number: number + 1)(1) == 2


AS_PYTHON = """
import os
import warnings
import numpy as np
from skcnn import ConvNetClassifier, _fast

warnings.simplefilter("error")
rng = np.random.RandomState(0)
problems = [
    ({}, (4, 5), 2, float),
    ({"solver": "sgd", "momentum": 0.9, "n_filters": 5, "K": 2}, (4, 5), 3, "float32"),
    ({"solver": "sgd", "batch_size": 1, "pool_size": 2}, (4, 5, 3), 3, float),
    ({"batch_size": 1, "pool_size": 3, "n_filters": 2}, (7, 6), 2, "float32"),
    ({"solver": "lbfgs", "n_filters": 5, "pool_size": 2}, (4, 5, 2), 3, float),
    ({"solver": "lbfgs"}, (1, 12), 2, float),
    ({"freeze": "filters"}, (4, 5), 2, float),
    ({"freeze": "dense", "pool_size": 2}, (4, 5), 2, "float32"),
    ({"fit_intercept": False, "n_filters": 4}, (4, 5), 2, float),
    ({"solver": "sgd", "eta": 1e6, "alpha": 0}, (4, 5), 2, float),  # logits of any size
]
for params, shape, n_classes, dtype in problems:
    X, y = rng.randn(11, *shape).astype(dtype), np.arange(11) % n_classes
    params = {"batch_size": 4, "eta": 0.01, "max_iter": 2, "tol": None, **params}
    weights = []
    for fast in "10":
        os.environ["SKCNN_FAST"] = fast
        assert _fast.is_there() == (fast == "1")
        model = ConvNetClassifier(random_state=0, **params).fit(X, y)
        of_model = model.filters_, model.filter_intercept_, model.coef_, model.intercept_
        weights.append([*of_model, model.predict_proba(X), model.loss_curve_])
    for one, other in zip(*weights):
        atol = (1e-3 if dtype == "float32" else 1e-9) * max(1, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=str(params))
from skcnn import _loops
print(type(_loops.adam_epoch).__name__)
"""


@needs_numba
def test_the_loops_run_as_python_for_a_debugger():
    assert run(AS_PYTHON, NUMBA_DISABLE_JIT="1") == (["function"], "")
