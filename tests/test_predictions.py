"""Predictions from a network that is made ready once: the same as from one made anew each time."""

import copy
import gc
import os
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from skcnn import ConvNetClassifier, ConvNetRegressor
from skcnn._engine.predictor import MAX_FREE, Predictor
from skcnn._estimator import prepared
from skcnn._estimator.prepared import have_same_bits, predictor_of


@pytest.fixture(autouse=True)
def nothing_kept():
    prepared._kept.clear()


def fitted(n_classes=3, **params):
    rng = np.random.RandomState(0)
    X, y = rng.rand(40, 9, 8).astype(np.float32), rng.randint(n_classes, size=40)
    params = {"n_filters": (4, 3), "pool_size": 2, "hidden_layer_sizes": 5, **params}
    return ConvNetClassifier(random_state=0, max_iter=1, tol=None, **params).fit(X, y), X, y


def from_scratch(model, X):
    """Predict with a copy of which nothing is kept."""
    return pickle.loads(pickle.dumps(model)).predict_proba(X)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 40])
def test_results_are_those_of_a_new_network(kernels, n):
    model, X, _ = fitted()
    for _ in range(3):
        assert_array_equal(model.predict_proba(X[:n]), from_scratch(model, X[:n]))


@pytest.mark.parametrize("attribute", ["filters_", "filter_intercept_", "coefs_", "intercepts_"])
def test_a_weight_that_is_set_in_place_counts(kernels, attribute):
    model, X, _ = fitted()
    for array in getattr(model, attribute):
        before = model.predict_proba(X)
        array.flat[-1] += 0.5
        after = model.predict_proba(X)
        assert (after != before).any()
        assert_array_equal(after, from_scratch(model, X))


def test_weights_that_are_replaced_count(kernels):
    model, X, _ = fitted()
    before = model.predict_proba(X)
    model.coefs_[-1] = -model.coefs_[-1]
    assert (model.predict_proba(X) != before).any()
    assert_array_equal(model.predict_proba(X), from_scratch(model, X))
    model.coefs_ = [np.asfortranarray(coef) for coef in model.coefs_]
    assert_array_equal(model.predict_proba(X), from_scratch(model, X))


@pytest.mark.parametrize("order", ["C", "F"])
def test_bits_differ_after_any_change_and_any_exchange(order):
    array = np.random.RandomState(0).rand(100, 200).astype(np.float32, order=order)
    before = array.copy("K")
    assert have_same_bits(array, before)
    for change in (
        lambda: array.__setitem__((57, 3), np.nextafter(array[57, 3], 2)),
        lambda: array.__setitem__((99, 199), 0),
        lambda: array.__setitem__(slice(None), array[::-1].copy()),
        lambda: array.__setitem__((slice(None), [0, 7]), array[:, [7, 0]]),
        lambda: array.__setitem__((0, 0), -0.0),
        lambda: array.__setitem__((0, 0), 0.0),
    ):
        change()
        assert not have_same_bits(array, before)
        before = array.copy("K")
    assert not have_same_bits(array.reshape(200, 100), before)
    array[0, 0] = np.nan
    assert have_same_bits(array, array.copy())


def test_a_step_between_two_calls(kernels):
    model, X, y = fitted()
    for _ in range(3):
        before = model.predict_proba(X[:1])
        model.partial_fit(X, y)
        after = model.predict_proba(X[:1])
        assert (after != before).any()
        assert_array_equal(after, from_scratch(model, X[:1]))


def test_a_thousand_calls_in_eight_threads(kernels):
    model, X, y = fitted()
    expected = [model.predict_proba(X[k : k + 1]) for k in range(len(X))]
    barrier = Barrier(8, timeout=60)

    def predict(thread):
        barrier.wait()
        for k in range(125):
            image = (thread + k) % len(X)
            assert_array_equal(model.predict_proba(X[image : image + 1]), expected[image])

    prepared._kept.clear()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(predict, range(8)))
    assert all(len(free) <= MAX_FREE for free in predictor_of(model)._free.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_process_that_forks_predicts_the_same(kernels):
    model, X, _ = fitted()
    expected = model.predict_proba(X[:1])
    child = os.fork()
    if child == 0:
        same = np.array_equal(model.predict_proba(X[:1]), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_array_equal(model.predict_proba(X[:1]), expected)


def test_many_calls_take_no_more_memory(kernels):
    model, X, _ = fitted()
    sizes, used = [*range(1, len(X) + 1)], []
    tracemalloc.start()
    try:
        for _ in range(3):
            for n in 5 * sizes:
                model.predict_proba(X[:n])
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert used[2] - used[1] < 10_000


def test_what_is_kept_is_no_part_of_an_estimator(kernels):
    model, X, _ = fitted()
    before, attributes = pickle.dumps(model), [*vars(model)]
    model.predict(X)
    assert pickle.dumps(model) == before
    assert [*vars(model)] == attributes
    assert [*prepared._kept] == [id(model)]
    for copied in (copy.copy(model), copy.deepcopy(model)):
        assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
        copied.coefs_ = [0 * coef for coef in copied.coefs_]
        assert (copied.predict_proba(X) != model.predict_proba(X)).any()
    assert not hasattr(clone(model), "coefs_")
    key = id(model)
    del model
    gc.collect()
    assert key not in prepared._kept


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(prepared, "MAX_KEPT", 3)
    models = [fitted()[0] for _ in range(5)]
    X = fitted()[1]
    for model in models:
        model.predict(X)
    assert [*prepared._kept] == [id(model) for model in models[2:]]
    size = prepared._kept[id(models[-1])].n_bytes
    monkeypatch.setattr(prepared, "MAX_BYTES", 2 * size)
    models[0].predict(X)
    assert [*prepared._kept] == [id(models[4]), id(models[0])]
    monkeypatch.setattr(prepared, "MAX_BYTES", size - 1)
    assert_array_equal(models[1].predict_proba(X), from_scratch(models[1], X))
    assert not prepared._kept


def test_a_network_is_prepared_once(monkeypatch, kernels):
    model, X, _ = fitted()
    new, made = Predictor.__init__, []
    monkeypatch.setattr(Predictor, "__init__", lambda *args: made.append(1) or new(*args))
    for _ in range(3):
        model.predict(X), model.predict_proba(X[:1]), model.decision_function(X[:2])
    assert len(made) == 1


def test_the_other_executor_takes_over(monkeypatch):
    model, X, _ = fitted()
    results = []
    for value in "0101":
        monkeypatch.setenv("SKCNN_FAST", value)
        results.append(model.predict_proba(X))
    assert_array_equal(results[0], results[2])
    assert_array_equal(results[1], results[3])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4)


def test_targets_of_another_shape(kernels):
    rng = np.random.RandomState(0)
    X = rng.rand(30, 6, 6)
    model = ConvNetRegressor(random_state=0, max_iter=1, tol=None).fit(X, rng.rand(30))
    assert model.predict(X[:1]).shape == (1,)
    model.fit(X, rng.rand(30, 2))
    assert model.predict(X[:1]).shape == (1, 2)
