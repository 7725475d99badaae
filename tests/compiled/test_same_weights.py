"""Estimators that are trained with the compiled loops and with whole arrays."""

import numpy as np
import pytest
from models import assert_same, fitted_arrays, fitted_on_both, needs_numba, new_model, problem
from numpy.testing import assert_allclose, assert_array_equal

from skcnn import ConvNetClassifier, ConvNetRegressor
from skcnn._compiled import executor as compiled_executor
from skcnn._compiled import plan
from skcnn._compiled.availability import interpreter
from skcnn._engine import division, parallel
from skcnn._engine import executor as array_executor

pytestmark = needs_numba


@pytest.mark.parametrize(
    "params",
    [
        {"solver": "adam", "batch_size": 16},
        {"solver": "sgd", "K": 4, "n_filters": 3, "pool_size": 2, "alpha": 0.1},
        {"solver": "sgd", "momentum": 0.9, "K": 5, "pool_size": 3, "fit_intercept": False},
        {"solver": "adam", "n_filters": 9, "pool_size": 2, "alpha": 0.1},
        {"solver": "adam", "freeze": "filters", "batch_size": 16},
        {"solver": "sgd", "momentum": 0.9, "freeze": "dense", "n_filters": 2, "batch_size": 16},
        {"solver": "sgd", "learning_rate": "cosine", "sampling": "replacement", "batch_size": 16},
        {"solver": "adam", "n_filters": (3, 5), "K": (2, 3), "pool_size": (2, 1), "alpha": 0.1},
        {"momentum": 0.9, "n_filters": (2, 4), "hidden_layer_sizes": (6, 5), "dropout": 0.3},
        {"n_filters": (5, 2), "pool_size": (1, "global"), "freeze": "dense", "batch_size": 16},
        {"solver": "lbfgs", "n_filters": 5, "alpha": 0.1},
    ],
    ids=str,
)
def test_same_weights(monkeypatch, params):
    params = {"solver": "sgd", "eta": 0.01, "batch_size": 1, **params}
    models = fitted_on_both(monkeypatch, *problem(), **params)
    assert_same(*models, rtol=1e-6 if params["solver"] == "lbfgs" else 1e-9)


@pytest.mark.parametrize(
    "shape, n_classes, dtype",
    [((6, 5, 3), 2, "f8"), ((1, 20), 3, "f8"), ((20, 1), 2, "f4"), ((2, 2), 3, "f4")],
)
def test_same_weights_for_images_of_any_kind(monkeypatch, shape, n_classes, dtype):
    X, y, s = problem(shape=shape, n_classes=n_classes, dtype=dtype)
    params = {"n_filters": 5, "pool_size": 2, "eta": 0.01, "batch_size": 1}
    rtol = 1e-9 if dtype == "f8" else 1e-3
    one, other = fitted_on_both(monkeypatch, X, y, s, **params)
    assert_same(one, other, rtol)
    results = []
    for fast in "01":
        monkeypatch.setenv("SKCNN_FAST", fast)
        results.append((other.predict_proba(X), other.feature_maps(X)))
    assert_allclose(results[0][0], results[1][0], rtol=rtol)
    assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize(
    "shape, params",
    [
        ((3, 2, 2), {"K": 9, "n_filters": 5, "solver": "sgd", "momentum": 0.9}),
        ((4, 3), {"K": 8, "pool_size": 2, "solver": "adam", "freeze": "filters"}),
        ((2, 9), {"K": 8, "n_filters": 2, "pool_size": 2, "solver": "lbfgs"}),
        ((2, 9), {"K": 8, "n_filters": 2, "solver": "adam", "fit_intercept": False}),
    ],
    ids=str,
)
def test_same_weights_for_filters_larger_than_the_image(monkeypatch, shape, params):
    params = {"alpha": 0.5, "eta": 0.01, "batch_size": 4, **params}
    one, other = fitted_on_both(monkeypatch, *problem(shape=shape), **params)
    assert_same(one, other, rtol=1e-6 if params["solver"] == "lbfgs" else 1e-9)
    assert one.filters_.shape[1:3] == (params["K"],) * 2
    before, after = one.initial_filters_[:, 0, 0], one.filters_[:, 0, 0]  # they see only zeros
    if "freeze" in params:
        assert_array_equal(after, before)
    else:
        assert (np.abs(after) < np.abs(before)).all()  # alpha shrinks them


def test_taps_that_are_not_computed_decay(monkeypatch):
    X, y, _ = problem(shape=(3, 3))
    params = {"K": 12, "solver": "sgd", "eta": 0.1, "alpha": 0.5, "batch_size": 7}
    for model in fitted_on_both(monkeypatch, X, y, None, **params):
        expected = model.initial_filters_[:, :3] * (1 - 0.1 * 0.5) ** (3 * len(X) // 7)
        assert_allclose(model.filters_[:, :3], expected, rtol=1e-12)


@pytest.mark.parametrize("params", [{"solver": "lbfgs"}, {"batch_size": 70}], ids=str)
def test_same_weights_in_micro_batches_and_groups(monkeypatch, params):
    monkeypatch.setattr(division, "MIN_MULTIPLICATIONS", 1)
    monkeypatch.setattr(array_executor, "group_size", lambda *sizes: 4)
    monkeypatch.setattr(compiled_executor, "MAX_BYTES", 7 * 72 * 8)  # seven images
    monkeypatch.setattr(plan, "GROUP_SIZE", 5)
    models = fitted_on_both(monkeypatch, *problem(n_classes=7), n_filters=2, pool_size=2, **params)
    assert_same(*models, rtol=1e-6)


def test_groups_are_full_however_large_the_images(monkeypatch):
    run, sizes = interpreter().run, []
    X, y, _ = problem()
    model = new_model(n_filters=2, pool_size=2).fit(X, y)

    def counted_run(network, data, *args):
        sizes.append(len(data.X))
        return run(network, data, *args)

    monkeypatch.setattr(interpreter(), "run", counted_run)
    monkeypatch.setattr(compiled_executor, "MAX_BYTES", 1)
    model.predict(X)
    assert sizes == [16, 16, 16, 16, 6]  # of the 70 images, and not one at a time


@pytest.mark.parametrize(
    "executors, params", [("01", {"solver": "adam"}), ("10", {"momentum": 0.9, "K": 40})]
)
def test_incremental_training_may_go_on_with_the_other_executor(monkeypatch, executors, params):
    X, y, _ = problem()
    params = {"n_filters": 2, "sampling": "sequential", "random_state": 0, **params}
    models = [ConvNetClassifier(**params) for _ in range(2)]
    for fast in executors:
        for model, value in zip(models, (fast, "0")):
            monkeypatch.setenv("SKCNN_FAST", value)
            model.partial_fit(X, y, classes=[0, 1, 2])
    assert_same(*models)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])  # the latter must be gathered
def test_an_epoch_is_several_calls_of_whole_batches(monkeypatch, dtype):
    X, y, _ = problem()
    X = (10 * X).astype(dtype)
    run_steps, sizes = compiled_executor.CompiledExecutor.run_steps, []

    def counted_steps(executor, solver, data, order, *args):
        sizes.append(len(order))
        return run_steps(executor, solver, data, order, *args)

    monkeypatch.setattr(compiled_executor.CompiledExecutor, "run_steps", counted_steps)
    whole = new_model(batch_size=4).fit(X, y)
    assert sizes == [len(X)] * 3
    sizes.clear()
    if dtype == "float64":
        update = whole._network.n_parameters // 4
        n_multiplications = 9 * (whole._network.n_multiplications + update)
        monkeypatch.setattr(parallel, "MAX_CALL_MULTIPLICATIONS", n_multiplications)
    else:
        monkeypatch.setattr(parallel, "MAX_CALL_BYTES", 9 * 72 * 8)  # nine images
    divided = new_model(batch_size=4).fit(X, y)
    assert max(sizes) == 8 and sum(sizes) == 3 * len(X)
    for name, array in fitted_arrays(divided).items():
        assert_array_equal(array, fitted_arrays(whole)[name])
    assert divided.loss_curve_ == whole.loss_curve_


def test_nothing_is_compiled_again_for_arrays_of_another_kind():
    run, (X, y, _) = interpreter().run, problem()
    fitted = new_model(batch_size=4).fit(X, y)
    expected = fitted.predict_proba(X)
    signatures = [*getattr(run, "signatures", ())]
    read_only = X.copy()
    read_only.flags.writeable = False  # as joblib gives large arrays to its processes
    for other in (read_only, np.asfortranarray(X), X[::-1][::-1], X.astype(">f8"), X.tolist()):
        again = new_model(batch_size=4).fit(other, y)
        assert_array_equal(again.coefs_[0], fitted.coefs_[0])
        assert_array_equal(again.predict_proba(other), expected)
    params = [{"n_filters": 7, "K": 5}, {"n_filters": (2, 3, 4), "solver": "sgd", "dropout": 0.5}]
    for sizes in (*params, {"hidden_layer_sizes": (5,), "solver": "lbfgs"}):
        new_model(batch_size=4, max_iter=1, **sizes).fit(X, y).predict(X)
    targets = np.asfortranarray(np.random.RandomState(0).randn(len(X), 2))
    ConvNetRegressor(batch_size=4, max_iter=1, tol=None).fit(X, targets)
    new_model(batch_size=4, max_iter=1).fit(X, (targets > 0).astype(int))
    assert [*getattr(run, "signatures", ())] == signatures
