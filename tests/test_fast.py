"""The compiled loops against the whole arrays that they repeat."""

import errno
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skcnn._losses import LogLoss

from skcnn import ConvNetClassifier, ConvNetRegressor, _compilation, _fast, _network, _objective

needs_numba = pytest.mark.skipif(not _fast.is_available(), reason="needs numba")


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
    for name in ("filters_", "filter_intercept_", "coefs_", "intercepts_"):
        arrays = [getattr(model, name) for model in (one, other)]
        for a, b in zip(*(array if isinstance(array, list) else [array] for array in arrays)):
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
        {"n_filters": (3, 5), "K": (2, 3), "pool_size": (2, 1), "alpha": 0.1},
        {"n_filters": (2, 4, 3), "hidden_layer_sizes": (6, 5), "dropout": 0.3},
        {"n_filters": (5, 2), "pool_size": (1, "global"), "freeze": "dense"},
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
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("freeze, fit_intercept", [(None, True), ("filters", True), (None, False)])
@pytest.mark.parametrize(
    "shape, params",
    [
        ((3, 2, 2), {"K": 9, "n_filters": 5}),
        ((4, 3), {"K": 8, "pool_size": 2}),
        ((2, 9), {"K": 8, "n_filters": 2, "pool_size": 2}),
    ],
)
def test_same_weights_for_filters_larger_than_the_image(
    monkeypatch, shape, params, solver, freeze, fit_intercept
):
    X, y, s = problem(shape=shape)
    K = params["K"]
    params = {**params, "freeze": freeze, "fit_intercept": fit_intercept}
    params = {**params, "alpha": 0.5, "eta": 0.01, "momentum": 0.9, "solver": solver}
    one, other = fitted_on_both_paths(monkeypatch, X, y, s, batch_size=4, **params)
    assert_same(one, other, rtol=1e-6 if solver == "lbfgs" else 1e-9)
    assert one.filters_.shape[1:3] == (K, K)
    before, after = one.initial_filters_[:, 0, 0], one.filters_[:, 0, 0]  # they see only zeros
    if freeze == "filters":
        assert_array_equal(after, before)
    else:
        assert (np.abs(after) < np.abs(before)).all()  # alpha shrinks them


@needs_numba
@pytest.mark.parametrize("fast", ["0", "1"])
def test_unused_taps_decay(monkeypatch, fast):
    monkeypatch.setenv("SKCNN_FAST", fast)
    X, y, _ = problem(shape=(3, 3))
    params = {"K": 12, "solver": "sgd", "eta": 0.1, "alpha": 0.5, "batch_size": 7}
    model = ConvNetClassifier(max_iter=2, tol=None, random_state=0, **params).fit(X, y)
    steps = 2 * len(X) // 7
    expected = model.initial_filters_[:, :3] * (1 - 0.1 * 0.5) ** steps
    assert_allclose(model.filters_[:, :3], expected, rtol=1e-12)


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
    monkeypatch.setattr(_objective, "PART_WORK", 1)
    monkeypatch.setattr(_network, "block_size", lambda *sizes: 4)
    monkeypatch.setattr(_fast, "CHUNK_BYTES", 7 * 72 * 8)  # seven images
    monkeypatch.setattr(_fast, "GROUP", n_together)
    X, y, s = problem(n_classes=7)
    params = {"n_filters": 2, "pool_size": 2, **params}
    model, other = fitted_on_both_paths(monkeypatch, X, y, s, **params)
    assert_same(model, other, rtol=1e-6)


@pytest.mark.parametrize("n, size", [(1, 1), (16, 16), (17, 9), (40, 14), (64, 16), (100, 15)])
def test_groups_of_a_batch_are_about_equal(n, size):
    network = _network.Network((8, 8, 1), (2,), (3,), (2,), (), LogLoss(1))
    assert _fast._n_together(network, np.dtype(float), n) == (size, size)


@needs_numba
def test_groups_are_full_however_large_the_images(monkeypatch):
    from skcnn import _loops

    def run(network, data, *args):
        sizes.append(len(data.X))
        return compiled(network, data, *args)

    sizes, compiled = [], _loops.run
    X, y, _ = problem()
    model = ConvNetClassifier(n_filters=2, pool_size=2, max_iter=1, tol=None).fit(X, y)
    monkeypatch.setattr(_loops, "run", run)
    monkeypatch.setattr(_fast, "CHUNK_BYTES", 1)
    model.predict(X)
    assert sizes == [14] * 5  # of the 70 images, and not one at a time


@needs_numba
@pytest.mark.parametrize("paths", ["01", "10"])
@pytest.mark.parametrize(
    "params", [{"solver": "adam"}, {"solver": "sgd", "momentum": 0.9, "K": 40}], ids=str
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
    run = _fast.Workspace.run_epoch

    def noting_sizes(workspace, solver, X, Y, s, rows, *rest):
        sizes.append(len(rows))
        return run(workspace, solver, X, Y, s, rows, *rest)

    monkeypatch.setattr(_fast.Workspace, "run_epoch", noting_sizes)
    whole = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(X, y)
    assert sizes == [len(X)] * 2
    nine_images = 9 * 72
    if dtype == "float64":
        work = whole._network.work + (72 * 3 + 9 + 3 + 1) // 4  # and of the step
        monkeypatch.setattr(_objective, "COMPILED_CHUNK_WORK", 9 * work)
    else:
        monkeypatch.setattr(_objective, "COMPILED_CHUNK_BYTES", nine_images * 8)
    sizes.clear()
    chunked = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(X, y)
    assert max(sizes) == 8 and sum(sizes) == 2 * len(X)
    assert_array_equal(chunked.coefs_[0], whole.coefs_[0])
    assert chunked.loss_curve_ == whole.loss_curve_


@needs_numba
def test_nothing_is_compiled_again_for_arrays_of_another_kind():
    from skcnn import _loops

    X, y, _ = problem()
    fitted = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(X, y)
    fitted.predict_proba(X)
    n_compiled = len(_loops.run.signatures)
    read_only = X.copy()
    read_only.flags.writeable = False  # as joblib gives large arrays to its processes
    for other in (read_only, np.asfortranarray(X), X[::-1][::-1], X.astype(">f8"), X.tolist()):
        again = ConvNetClassifier(batch_size=4, max_iter=2, tol=None, random_state=0).fit(other, y)
        assert_array_equal(again.coefs_[0], fitted.coefs_[0])
        assert_array_equal(again.predict_proba(other), fitted.predict_proba(X))
    for sizes in ({"n_filters": 7, "K": 5}, {"n_filters": (2, 3, 4)}, {"hidden_layer_sizes": (5,)}):
        for solver in ("adam", "sgd", "lbfgs"):
            params = {"max_iter": 1, "tol": None, "solver": solver, **sizes}
            ConvNetClassifier(batch_size=4, **params).fit(X, y).predict(X)
    dropout = ConvNetClassifier(batch_size=4, max_iter=1, tol=None, dropout=0.5)
    dropout.fit(X, y)
    targets = np.asfortranarray(np.random.RandomState(0).randn(len(X), 2))
    ConvNetRegressor(batch_size=4, max_iter=1, tol=None).fit(X, targets)
    ConvNetClassifier(batch_size=4, max_iter=1, tol=None).fit(X, (targets > 0).astype(int))
    assert len(_loops.run.signatures) == n_compiled


@needs_numba
def test_windows_too_large_for_the_offsets_of_a_float_are_left_to_the_arrays(monkeypatch):
    sizes = {"n_filters": [1], "K": [1], "pool_size": ["global"], "hidden_layer_sizes": ()}
    network = _network.Network((2**13, 2**11 - 1, 1), **sizes, loss=LogLoss(1))
    assert _fast.can_compute(network, np.dtype(np.float32))
    network = _network.Network((2**13, 2**11, 1), **sizes, loss=LogLoss(1))
    assert not _fast.can_compute(network, np.dtype(np.float32))
    assert _fast.can_compute(network, np.dtype(np.float64))
    monkeypatch.setattr(_fast, "can_compute", lambda network, dtype: False)
    parameters = _network.Parameters(network, network.initial(np.random.RandomState(0), np.float32))
    assert not _objective.Pool(network, parameters, 1).compiled


TRAIN = """
import numpy as np
from skcnn import ConvNetClassifier, _fast
X, y = np.random.RandomState(0).randn(20, 5, 5), np.arange(20) % 2
print(ConvNetClassifier(max_iter=1, tol=None).fit(X, y).n_iter_, _fast.is_available())
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
    printed, warned = run(TRAIN, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert printed == ["1", "False"]
    assert warned.count("RuntimeWarning") == 1
    assert "Numba needs NumPy 2.3 or less" in warned


@pytest.fixture(scope="module")
def cache_folder():
    """The folder in which this process has put what it compiled."""
    from skcnn import _loops

    X, y, _ = problem()
    ConvNetClassifier(max_iter=1, tol=None).fit(X, y)
    return Path(_loops.run.stats.cache_path)


@needs_numba
def test_what_is_compiled_is_kept_in_a_cache(cache_folder):
    hits = "from skcnn import _loops; print(sum(_loops.run.stats.cache_hits.values()))"
    assert run(TRAIN + hits) == (["1", "True", "1"], "")


TWICE = """
import numpy as np
from skcnn import _loops
def twice(array):
    for k in range(array.size):
        array[k] *= 2
array = np.arange(3.0)
_loops.outer(twice)(array)
print(*array)
"""


@needs_numba
def test_processes_that_begin_together_may_fill_the_same_cache(tmp_path):
    (tmp_path / "program.py").write_text(TWICE)
    command = [sys.executable, "-W", "error", str(tmp_path / "program.py")]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    started = [subprocess.Popen(command, stdout=-1, text=True, env=environment) for _ in range(2)]
    assert [process.communicate()[0].split() for process in started] == [["0.0", "2.0", "4.0"]] * 2
    assert [*tmp_path.rglob("*.nbi")]


@needs_numba
def test_a_damaged_cache_changes_no_fit(cache_folder, monkeypatch, tmp_path):
    import numba

    from skcnn import _loops

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    folder = Path(_loops.outer(_loops.run.py_func).stats.cache_path)
    folder.mkdir(exist_ok=True)
    kept = [*cache_folder.glob("_loops.run-*.nb?")]
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    for path in kept:
        (folder / path.name).write_bytes(b"")
    printed, warned = run(FIT_ALL, NUMBA_CACHE_DIR=str(tmp_path))
    # What was compiled just now computes the same bits as what is loaded from a cache.
    assert (printed, "") == run(FIT_ALL)
    assert printed[0] == "True"
    assert warned.count("RuntimeWarning") == 1 and str(tmp_path) in warned


def twice(array):
    for k in range(array.size):
        array[k] *= 2


@pytest.fixture
def compiled_twice(monkeypatch, tmp_path):
    """Return a function that compiles `twice` as if in a new process, with a cache of its own."""
    import numba

    from skcnn import _loops

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_compilation, "_faults", [])
    return lambda: _loops.outer(twice)


def assert_it_works(compiled, warned_of=None, dtype=float):
    for name in (warned_of, None):  # it is told of once
        array = np.arange(3, dtype=dtype)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compiled(array)
        assert_array_equal(array, [0, 2, 4])
        assert len(caught) == (name is not None)
        if name is not None:
            assert caught[0].category is RuntimeWarning
            assert name in str(caught[0].message) and "NUMBA_CACHE_DIR" in str(caught[0].message)


def make_a_directory(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "cut off early": lambda path: path.write_bytes(path.read_bytes()[:9]),
    "garbage": lambda path: path.write_bytes(b"garbage" * 99),
    "of a class that is gone": lambda path: path.write_bytes(b"cnowhere\nNothing\n."),
    "a directory": make_a_directory,
}


@needs_numba
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_told_of_and_left_out(compiled_twice, tmp_path, kind, damage):
    assert_it_works(compiled_twice())
    (path,) = tmp_path.rglob(f"*.{kind}")
    DAMAGE[damage](path)
    assert_it_works(compiled_twice(), warned_of=str(path.parent))


@needs_numba
def test_a_damaged_cache_is_told_of_once_for_all_functions(compiled_twice, tmp_path):
    assert_it_works(compiled_twice())
    (path,) = tmp_path.rglob("*.nbi")
    path.write_bytes(b"")
    assert_it_works(compiled_twice(), warned_of="EOFError")
    assert_it_works(compiled_twice())


@needs_numba
def test_a_cache_of_another_version_is_replaced(compiled_twice, tmp_path):
    assert_it_works(compiled_twice())
    (path,) = tmp_path.rglob("*.nbi")
    whole = path.read_bytes()
    path.write_bytes(pickle.dumps("0.1") + b"in a format of its own")
    assert_it_works(compiled_twice())
    assert path.read_bytes() == whole


@needs_numba
def test_what_another_process_compiled_for_another_dtype_is_not_taken(compiled_twice, tmp_path):
    # Two processes that begin at the same time may give their data the same name.
    compiled = compiled_twice()
    assert_it_works(compiled)
    assert_it_works(compiled, dtype=np.float32)
    one, other = sorted(tmp_path.rglob("*.nbc"))
    one.write_bytes(other.read_bytes())
    assert_it_works(compiled_twice(), warned_of=str(one.parent))


def full(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@needs_numba
@pytest.mark.parametrize("what", ["_save_index", "_save_data"])
def test_a_full_disk_is_told_of(monkeypatch, compiled_twice, what):
    from numba.core import caching

    monkeypatch.setattr(caching.IndexDataCacheFile, what, full)
    compiled = compiled_twice()
    assert_it_works(compiled, warned_of=os.strerror(errno.ENOSPC))
    assert sum(compiled.stats.cache_misses.values()) == 1  # and compiled only once


@needs_numba
def test_no_place_for_a_cache_is_told_of(monkeypatch, compiled_twice):
    from numba.core import caching

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert_it_works(compiled_twice(), warned_of="no locator")


@needs_numba
def test_a_folder_that_may_not_be_written_to_is_left_for_another(monkeypatch, tmp_path):
    import numba
    from numba.core import caching

    from skcnn import _loops

    def refuse(self):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.get_cache_path())

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_compilation, "_faults", [])
    with monkeypatch.context() as patched:
        patched.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
        assert_it_works(_loops.outer(twice), warned_of="no locator")
    monkeypatch.setattr(_compilation, "_faults", [])
    compiled = _loops.outer(twice)
    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)  # since the import
    assert_it_works(compiled, warned_of=str(tmp_path))


@needs_numba
def test_the_next_call_works_where_the_warning_is_an_error(monkeypatch, compiled_twice):
    from numba.core import caching

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    compiled = compiled_twice()
    with pytest.raises(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        compiled(np.arange(3.0))
    assert_it_works(compiled)


FIT_ALL = """
import hashlib
import os
import numpy as np
from skcnn import ConvNetClassifier, _fast
X, y = np.random.RandomState(0).randn(60, 8, 8), np.arange(60) % 2
bits = hashlib.sha256()
for params in (
    {"batch_size": 3},
    {"batch_size": 3, "n_filters": 2, "pool_size": 2, "solver": "sgd", "momentum": 0.9},
    {"solver": "lbfgs", "freeze": "filters"},
    {"solver": "lbfgs", "fit_intercept": False},
    {"batch_size": 3, "K": 14, "n_filters": 2},
    {"solver": "lbfgs", "K": 11},
    {"early_stopping": True, "freeze": "dense"},
):
    models = []
    for fast in "10":
        os.environ["SKCNN_FAST"] = fast
        model = ConvNetClassifier(max_iter=2, tol=None, random_state=0, **params).fit(X, y)
        models.append([model.filters_, model.coefs_[0], model.predict_proba(X), model.loss_curve_])
    for one, other in zip(*models):
        np.testing.assert_allclose(one, other, rtol=1e-9)
        bits.update(np.ascontiguousarray(one))
os.environ["SKCNN_FAST"] = "1"
print(_fast.is_available(), bits.hexdigest())
"""


CANNOT_COMPILE = """
from numba.core import compiler
def fail(*args, **kwargs):
    raise {error}
compiler.compile_extra = fail
"""


@needs_numba
@pytest.mark.parametrize(
    "error",
    ["RuntimeError('LLVM has no such symbol')", "compiler.errors.TypingError('LLVM has no such')"],
)
def test_a_numba_that_cannot_compile_is_told_of_and_left_out(tmp_path, error):
    program = CANNOT_COMPILE.format(error=error) + FIT_ALL
    printed, warned = run(program, NUMBA_CACHE_DIR=str(tmp_path))
    assert printed[0] == "False"
    assert warned.count("RuntimeWarning") == 1
    assert "LLVM has no such" in warned and "SKCNN_FAST=0" in warned


@needs_numba
@pytest.mark.parametrize(
    "params",
    [
        {"n_filters": 2, "pool_size": 2, "K": 20},
        {"fit_intercept": False},
        {"n_filters": (2, 3), "hidden_layer_sizes": (4,)},
    ],
    ids=str,
)
def test_a_function_that_cannot_be_compiled_is_computed_in_arrays(monkeypatch, params):
    from skcnn import _loops

    def fail(*args):
        raise _compilation.CompilationError from ValueError("no such instruction")

    X, y, _ = problem(n=40)
    params = {"max_iter": 2, "tol": None, "random_state": 0, **params}
    for solver in ({"batch_size": 3}, {"batch_size": 3, "solver": "sgd"}, {"solver": "lbfgs"}):
        models = []
        for fast in "10":
            monkeypatch.setenv("SKCNN_FAST", fast)
            monkeypatch.setattr(_fast, "_reasons", [])
            model = ConvNetClassifier(**params, **solver)
            with monkeypatch.context() as patched, warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                patched.setattr(_loops, "run", fail)
                model.fit(X, y, X_val=X, y_val=y)
                model.predict(X)
            models.append(model)
            assert len(caught) <= (fast == "1")
            assert all("no such instruction" in str(warning.message) for warning in caught)
        assert_same(*models)
        assert_allclose(models[0].validation_loss_curve_, models[1].validation_loss_curve_)


@needs_numba
def test_a_fit_after_that_warning_as_an_error_is_computed_in_arrays(monkeypatch):
    from skcnn import _loops

    def fail(*args):
        raise _compilation.CompilationError from ValueError("no such instruction")

    monkeypatch.setattr(_fast, "_reasons", [])
    monkeypatch.setattr(_loops, "run", fail)
    X, y, _ = problem()
    model = ConvNetClassifier(batch_size=3, max_iter=2, tol=None, random_state=0)
    with pytest.raises(RuntimeWarning, match="no such instruction"):
        model.fit(X, y)
    assert not hasattr(model, "filters_")
    model.fit(X, y)
    assert not _fast.is_available()


def test_a_fit_after_the_warning_of_the_import_as_an_error(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
    first = "import warnings; warnings.simplefilter('error')\ntry:" + TRAIN.replace("\n", "\n    ")
    program = first + "\nexcept RuntimeWarning:\n    print('raised')\n" + TRAIN
    printed, warned = run(program, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert (printed, warned) == (["raised", "1", "False"], "")


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
    ({"n_filters": (5, 2), "pool_size": (2, 1)}, (5, 4), 3, float),
    ({"n_filters": (2, 3), "hidden_layer_sizes": (5,), "dropout": 0.2}, (3, 4), 3, "float32"),
]
for params, shape, n_classes, dtype in problems:
    X, y = rng.randn(11, *shape).astype(dtype), np.arange(11) % n_classes
    params = {"batch_size": 4, "eta": 0.01, "max_iter": 2, "tol": None, **params}
    weights = []
    for fast in "10":
        os.environ["SKCNN_FAST"] = fast
        assert _fast.is_available() == (fast == "1")
        model = ConvNetClassifier(random_state=0, **params).fit(X, y)
        filters = model.filters_ if isinstance(model.filters_, list) else [model.filters_]
        of_model = *filters, *model.coefs_, *model.intercepts_
        weights.append([*of_model, model.predict_proba(X), model.loss_curve_])
    for one, other in zip(*weights):
        atol = (1e-3 if dtype == "float32" else 1e-9) * max(1, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=str(params))
from skcnn import _loops
print(type(_loops.run).__name__)
"""


COUNT_COMPARISONS = """
import numpy as np
from skcnn import ConvNetClassifier, _loops
keep_greater, n_comparisons = _loops.keep_greater, 0
def counted(x, x_offsets, y, y_offsets, shift, out, out_offsets):
    global n_comparisons
    n_comparisons += out.size
    keep_greater(x, x_offsets, y, y_offsets, shift, out, out_offsets)
_loops.keep_greater = counted
for shape in [(1, 64), (16, 16)]:
    X = np.random.RandomState(0).randn(4, *shape)
    for pool_size in [2, 7, "global"]:
        n_comparisons = 0
        ConvNetClassifier(pool_size=pool_size, K=1, max_iter=1, tol=None).fit(X, [0, 1, 0, 1])
        print(n_comparisons)
"""


@needs_numba
def test_pooling_takes_few_more_comparisons_with_larger_windows():
    printed, _ = run(COUNT_COMPARISONS, NUMBA_DISABLE_JIT="1")
    of_signals, of_images = map(int, printed[:3]), map(int, printed[3:])
    small, medium, whole = of_signals
    assert 0 < medium < 4 * small
    assert whole < 6 * small  # and not 63 times as many
    small, medium, whole = of_images
    assert 0 < medium < 2 * small
    assert whole < 2 * small


@needs_numba
def test_the_loops_run_as_python_for_a_debugger():
    assert run(AS_PYTHON, NUMBA_DISABLE_JIT="1") == (["function"], "")
