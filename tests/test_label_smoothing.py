"""The parameter ``label_smoothing``, from outside."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcnn import ConvNetClassifier


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([ConvNetClassifier(n_filters=3, label_smoothing=0.1, eta=0.01)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def short(**params):
    defaults = {"max_iter": 3, "tol": None, "eta": 0.01, "n_filters": 3, "label_smoothing": 0.2}
    return ConvNetClassifier(**{**defaults, "random_state": 0, **params})


def problem(n_classes=3, n=40):
    """Images of noise, their labels, and weights."""
    rng = np.random.RandomState(0)
    return rng.randn(n, 4, 4), np.arange(n) % n_classes, rng.rand(n) + 0.1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_best_probabilities_are_the_smoothed_targets(kernels, n_classes):
    X = np.eye(n_classes).repeat(4, axis=1)[:, np.newaxis]  # an image for each class
    y = np.arange(n_classes)
    model = short(n_filters=8, solver="lbfgs", alpha=0.0, max_iter=500, tol=1e-7)
    P = model.fit(X, y).predict_proba(X)
    expected = 0.8 * np.eye(n_classes) + 0.2 / n_classes
    assert_allclose(P, expected, atol=1e-4)
    assert_allclose(model.loss_, -np.log(0.8 + 0.2 / n_classes), atol=1e-4)


def test_the_best_probabilities_of_labels(kernels):
    X, Y = np.eye(4).reshape(4, 2, 2), np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
    model = short(n_filters=8, solver="lbfgs", alpha=0.0, max_iter=500, tol=1e-7).fit(X, Y)
    assert_allclose(model.predict_proba(X), 0.8 * Y + 0.1, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_smoothed_labels_are_samples_of_several_classes(kernels, n_classes):
    """An image with a smoothed label is one copy for each class, with its target as the weight."""
    X, y, s = problem(n_classes)
    params = {"solver": "sgd", "batch_size": 10**6, "alpha": 0.01, "n_filters": 2}
    smoothed = short(**params).fit(X, y, s)
    targets = 0.8 * np.eye(n_classes)[y] + 0.2 / n_classes
    copies = X.repeat(n_classes, axis=0), np.tile(np.arange(n_classes), len(y))
    each = short(label_smoothing=0.0, **params)
    each.fit(*copies, sample_weight=(s[:, np.newaxis] * targets).ravel())
    assert_allclose(each.filters_, smoothed.filters_)
    assert_allclose(each.coefs_[0], smoothed.coefs_[0])


def test_what_is_reported_is_without_it(kernels):
    X, y, s = problem()
    model = short(batch_size=100, max_iter=2).fit(X, y, s, X_val=X, y_val=y)
    one = short(batch_size=100, max_iter=1).fit(X, y, s)
    assert_allclose(model.loss_curve_[1], log_loss(y, one.predict_proba(X), sample_weight=s))
    assert_allclose(model.validation_loss_curve_[1], log_loss(y, model.predict_proba(X)))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_training_stops_when_the_loss_that_is_minimised_settles(solver):
    """Without smoothing, the loss rises again on the way there."""
    X, y = load_digits(n_class=3, return_X_y=True)
    X = X.reshape(-1, 8, 8)[:200] / 16
    model = short(n_filters=8, solver=solver, max_iter=1000, tol=1e-4, n_iter_no_change=5)
    model.fit(X, y[:200])
    P = model.predict_proba(X)
    targets = 0.8 * np.eye(3)[y[:200]] + 0.2 / 3
    excess = (targets * np.log(targets / P)).sum(axis=1).mean()
    assert excess < 0.01
    assert model.n_iter_ < 1000


def test_without_it_nothing_changes(kernels):
    X, y, _ = problem()
    plain = short(label_smoothing=0.0).fit(X, y)
    for value in (0, np.float32(0), False):
        assert_array_equal(short(label_smoothing=value).fit(X, y).filters_, plain.filters_)
    assert (short().fit(X, y).filters_ != plain.filters_).any()


def test_types_of_the_value():
    X, y, _ = problem()
    expected = short(label_smoothing=0.25).fit(X, y)
    for value in (np.float32(0.25), np.float16(0.25), np.float64(0.25)):
        assert_array_equal(short(label_smoothing=value).fit(X, y).filters_, expected.filters_)


@pytest.mark.parametrize("value", [1, 1.0, True, -0.1, np.nan, None, "0.1", (0.1,)], ids=repr)
def test_what_is_no_part_of_a_target_is_refused(value):
    X, y, _ = problem()
    model = short(label_smoothing=value)
    with pytest.raises(ValueError, match=r"'label_smoothing' parameter .* Got"):
        model.fit(X, y)
    assert not hasattr(model, "filters_")


@pytest.mark.parametrize("name", ["label_smoothing", "dropout"])
@pytest.mark.parametrize("value", [None, "0.1", 0.5])
def test_predictions_do_not_depend_on_what_is_set_after_training(kernels, name, value):
    X, y, _ = problem()
    model = short().fit(X, y)
    P = model.predict_proba(X)
    assert_array_equal(model.set_params(**{name: value}).predict_proba(X), P)


def test_it_may_change_in_a_warm_start_and_a_stream():
    X, y, _ = problem()
    model = short(warm_start=True).fit(X, y).set_params(label_smoothing=0.0).fit(X, y)
    assert model.n_iter_ == 6
    stream = short().partial_fit(X, y, classes=[0, 1, 2])
    whole = short(max_iter=2).fit(X, y)
    again = pickle.loads(pickle.dumps(stream))
    assert_array_equal(again.partial_fit(X, y).filters_, whole.filters_)
    assert stream.set_params(label_smoothing=0.5).partial_fit(X, y).n_iter_ == 2
    assert (stream.filters_ != again.filters_).any()


def test_a_warm_start_with_another_value_watches_another_loss():
    X, y, _ = problem()
    model = short(label_smoothing=0.0, max_iter=100, warm_start=True).fit(X, y)
    model.set_params(label_smoothing=0.5, tol=1e-4, n_iter_no_change=3).fit(X, y)
    assert model.n_iter_ > 110  # its loss cannot be as small as that without smoothing


def test_with_weights_early_stopping_and_a_grid_search():
    X, y, s = problem()
    model = short(early_stopping=True, class_weight="balanced", validation_fraction=0.3)
    model.fit(X, y, s)
    assert len(model.validation_loss_curve_) == 3
    search = GridSearchCV(clone(model), {"label_smoothing": [0.0, 0.1]}, cv=2, error_score="raise")
    assert len(search.fit(X, y).cv_results_["params"]) == 2
