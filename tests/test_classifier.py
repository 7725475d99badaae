"""ConvNetClassifier as an estimator."""

import copy
import pickle
import re
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import convolve
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_classifiers_train, parametrize_with_checks

from skcnn import ConvNetClassifier, ImageScaler, _base
from skcnn._training import holdout
from skcnn.augmentation import flip_left_right

CURVES = (
    *("loss_curve_", "accuracy_curve_"),
    *("validation_loss_curve_", "validation_accuracy_curve_"),
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        ConvNetClassifier(),
        ConvNetClassifier(n_filters=4, K=2, pool_size=2),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        ConvNetClassifier(solver="sgd", eta=0.1),
        ConvNetClassifier(solver="lbfgs"),
        ConvNetClassifier(early_stopping=True),
    ]
)
def test_scikit_learn_checks_of_other_settings(estimator, check):
    check(estimator)


def test_scikit_learn_check_of_probabilities_in_float32():
    # Some probabilities are so near 1 that their logarithms are rounded to 0 in float32.
    model = ConvNetClassifier(solver="lbfgs", n_filters=3, warm_start=True, random_state=0)
    check_classifiers_train("ConvNetClassifier", model, X_dtype="float32")


def short(**params):
    """A classifier that trains for exactly three epochs."""
    defaults = {"max_iter": 3, "tol": None, "eta": 0.01, "random_state": 0}
    return ConvNetClassifier(**{**defaults, **params})


def test_the_score_on_two_features_is_expected_only_of_several_filters():
    # A filter covers both features of a sample: what one can tell apart depends on its signs.
    for n_filters, is_poor in [(1, True), (np.int64(1), True), (2, False), ((4, 4), False)]:
        tags = ConvNetClassifier(n_filters=n_filters).__sklearn_tags__()
        assert tags.classifier_tags.poor_score == is_poor


def weights(model):
    """The weights and intercepts of a network of one convolution layer and one dense layer."""
    (coef,), (intercept,) = model.coefs_, model.intercepts_
    return {
        **{"filters_": model.filters_, "filter_intercept_": model.filter_intercept_},
        **{"coefs_": coef, "intercepts_": intercept},
    }


def assert_same_weights(one, other, compare=assert_array_equal, **tolerances):
    expected = weights(other)
    for name, array in weights(one).items():
        compare(array, expected[name], err_msg=name, **tolerances)


# Training


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("sampling", ["shuffle", "replacement", "sequential"])
@pytest.mark.parametrize("batch_size", ["auto", 1, 32])
def test_same_seed_gives_the_same_weights_to_the_bit(scaled_digits, solver, sampling, batch_size):
    params = {"solver": solver, "sampling": sampling, "batch_size": batch_size}
    first, second = (short(**params).fit(*scaled_digits) for _ in range(2))
    assert_same_weights(first, second)
    another = short(**params, random_state=1).fit(*scaled_digits)
    assert (another.coefs_[0] != first.coefs_[0]).any()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("sampling", ["shuffle", "replacement", "sequential"])
@pytest.mark.parametrize("batch_size", ["auto", 1, 50])
def test_fit_is_as_many_partial_fits(scaled_digits, solver, sampling, batch_size):
    X, y = scaled_digits
    weight = np.random.RandomState(0).randint(0, 4, size=len(y))
    params = {"solver": solver, "sampling": sampling, "batch_size": batch_size}
    whole = short(**params, max_iter=4).fit(X, y, weight)
    stepwise = short(**params)
    for _ in range(4):
        stepwise.partial_fit(X, y, classes=[1, 3], sample_weight=weight)
    assert_same_weights(whole, stepwise)
    assert stepwise.loss_curve_ == whole.loss_curve_
    assert stepwise.accuracy_curve_ == whole.accuracy_curve_
    assert (stepwise.n_iter_, stepwise.t_) == (whole.n_iter_, whole.t_)


def test_one_step_on_a_full_batch_is_a_step_against_the_gradient(scaled_digits):
    X, y = scaled_digits
    eta, alpha, delta = 0.1, 0.5, 1e-6
    model = short(solver="sgd", eta=eta, alpha=alpha, batch_size=len(y), max_iter=1).fit(X, y)
    start = short(max_iter=0).fit(X, y)

    def loss(coef):
        start.coefs_ = [coef]
        return log_loss(y, start.predict_proba(X)) + alpha / 2 * (coef**2).sum()

    (initial,) = start.coefs_
    for k in (0, 20, 35, 63):
        step = np.zeros_like(initial)
        step[k] = delta
        slope = (loss(initial + step) - loss(initial - step)) / (2 * delta)
        assert_allclose(model.coefs_[0][k], initial[k] - eta * slope, atol=1e-7)


def test_weights_act_as_repetitions(scaled_digits):
    X, y = scaled_digits
    repeats = np.random.RandomState(0).randint(0, 4, size=len(y))
    weighted = short(batch_size=10_000).fit(X, y, sample_weight=repeats)
    repeated = short(batch_size=10_000).fit(X.repeat(repeats, axis=0), y.repeat(repeats))
    assert_same_weights(weighted, repeated, assert_allclose, atol=1e-6)
    assert_allclose(weighted.loss_curve_, repeated.loss_curve_)
    assert_allclose(weighted.accuracy_curve_, repeated.accuracy_curve_)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_a_sample_of_weight_zero_is_not_there(scaled_digits, batch_size):
    X, y = scaled_digits
    weight = np.random.RandomState(0).rand(len(y)).round() * 3
    weighted = short(batch_size=batch_size).fit(X, y, sample_weight=weight)
    without = short(batch_size=batch_size).fit(X[weight > 0], y[weight > 0])
    assert_same_weights(weighted, without)
    assert_allclose(weighted.loss_curve_, without.loss_curve_)


def test_untrained_network(scaled_digits):
    X, y = scaled_digits
    model = ConvNetClassifier(max_iter=0, random_state=0).fit(X, y)
    assert_array_equal(model.filters_, model.initial_filters_)
    assert model.n_iter_ == model.t_ == 0
    assert model.loss_curve_ == []
    assert np.isnan(model.loss_)
    assert model.predict_proba(X).shape == (len(X), 2)


def test_fitted_attributes(scaled_digits):
    X, y = scaled_digits
    model = short(K=5, n_filters=2, max_iter=4).fit(X, y, X_val=X[:50], y_val=y[:50])
    assert_array_equal(model.classes_, [1, 3])
    assert model.n_features_in_ == 64
    assert model.image_shape_ == (8, 8)
    assert model.filters_.shape == model.initial_filters_.shape == (2, 5, 5)
    assert model.filter_intercept_.shape == (2,)
    assert [coef.shape for coef in model.coefs_] == [(128, 1)]
    assert [intercept.shape for intercept in model.intercepts_] == [(1,)]
    assert not hasattr(model, "coef_")  # to scikit-learn, one weight a feature
    assert model.n_iter_ == 4
    assert model.t_ == 4 * len(y)
    assert {len(getattr(model, name)) for name in CURVES} == {4}
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)


def test_initial_filters_are_drawn_first_as_published(scaled_digits):
    model = short(n_filters=2, random_state=42).fit(*scaled_digits)
    expected = np.random.RandomState(42).normal(0, 2 / 3, size=(2, 3, 3))
    assert_array_equal(model.initial_filters_, expected)


def test_curves_are_means_over_the_epoch_before_each_update(scaled_digits):
    X, y = scaled_digits
    model = short(solver="sgd", sampling="sequential", batch_size=200, max_iter=1).fit(X, y)
    half = short(solver="sgd", sampling="sequential", batch_size=200, max_iter=0).fit(X, y)
    losses = [log_loss(y[:200], half.predict_proba(X[:200]), labels=[1, 3])]
    right = [half.score(X[:200], y[:200])]
    half.partial_fit(X[:200], y[:200])
    losses.append(log_loss(y[200:], half.predict_proba(X[200:]), labels=[1, 3]))
    right.append(half.score(X[200:], y[200:]))
    sizes = [200, len(y) - 200]
    assert_allclose(model.loss_curve_, [np.average(losses, weights=sizes)])
    assert_allclose(model.accuracy_curve_, [np.average(right, weights=sizes)])


def test_validation_curves_are_scores_after_each_epoch(scaled_digits):
    X, y = scaled_digits
    X_val, y_val = X[300:], y[300:]
    model = short(max_iter=5).fit(X[:300], y[:300], X_val=X_val, y_val=y_val)
    assert_allclose(model.validation_loss_curve_[-1], log_loss(y_val, model.predict_proba(X_val)))
    assert_allclose(model.validation_accuracy_curve_[-1], model.score(X_val, y_val))
    without = short(max_iter=5).fit(X[:300], y[:300])
    assert_same_weights(model, without)
    assert not hasattr(without, "validation_loss_curve_")


def test_training_stops_when_the_loss_no_longer_improves(scaled_digits):
    model = short(tol=10.0, n_iter_no_change=4, max_iter=50).fit(*scaled_digits)
    assert model.n_iter_ == 5  # the first epoch improves on nothing yet
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        model = short(tol=1e-9, max_iter=2).fit(*scaled_digits)
    assert model.n_iter_ == 2


@pytest.mark.parametrize(
    "freeze, kept",
    [("filters", ("filters_", "filter_intercept_")), ("dense", ("coefs_", "intercepts_"))],
)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_frozen_layer_keeps_its_initial_values(scaled_digits, freeze, kept, solver):
    model = short(freeze=freeze, solver=solver, alpha=1.0).fit(*scaled_digits)
    initial = weights(short(max_iter=0).fit(*scaled_digits))
    for name, array in weights(model).items():
        assert (array == initial[name]).all() == (name in kept), name


def test_freezing_and_thawing_between_calls(scaled_digits):
    X, y = scaled_digits
    model = short(n_filters=2).fit(X, y).set_params(freeze="dense")
    (coef,), filters = model.coefs_, model.filters_
    model.partial_fit(X, y)
    assert_array_equal(model.coefs_[0], coef)
    assert (model.filters_ != filters).all()


def test_no_intercepts(scaled_digits):
    model = short(fit_intercept=False).fit(*scaled_digits)
    assert_array_equal(model.filter_intercept_, 0)
    assert_array_equal(model.intercepts_[0], 0)


def test_the_penalty_shrinks_weights(scaled_digits):
    free, penalised = (short(alpha=alpha, max_iter=50).fit(*scaled_digits) for alpha in (0.0, 1.0))
    assert np.linalg.norm(penalised.coefs_[0]) < 0.5 * np.linalg.norm(free.coefs_[0])


def test_warm_start_goes_on_with_the_weights(scaled_digits):
    model = short(warm_start=True).fit(*scaled_digits)
    initial_filters = model.initial_filters_
    model.set_params(max_iter=2).fit(*scaled_digits)
    assert model.n_iter_ == len(model.loss_curve_) == 5
    assert model.t_ == 5 * len(scaled_digits[1])
    assert model.loss_curve_[3] < model.loss_curve_[0]
    assert_array_equal(model.initial_filters_, initial_filters)
    cold = model.set_params(warm_start=False).fit(*scaled_digits)
    assert cold.n_iter_ == 2


def overfitting(n_val=200, **params):
    """A problem whose validation loss grows after a few epochs, and a classifier for it."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    y[:120:3] = (y[:120:3] + 1) % 10  # wrong labels
    model = ConvNetClassifier(
        **{"n_filters": 8, "K": 5, "eta": 0.01, "batch_size": 20, "random_state": 0, **params}
    )
    return model, (X[:120], y[:120]), {"X_val": X[-n_val:], "y_val": y[-n_val:]}


def validation_loss(model, validation):
    P = model.predict_proba(validation["X_val"])
    return log_loss(validation["y_val"], P, labels=model.classes_)


def test_a_warm_start_ends_no_worse_than_it_began():
    params = {"warm_start": True, "early_stopping": True, "max_iter": 12, "tol": None}
    model, data, validation = overfitting(**params)
    losses = [validation_loss(model.fit(*data, **validation), validation) for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(min(model.validation_loss_curve_))
    # Weights that the user has set count, and so do other validation samples.
    best = [coef.copy() for coef in model.coefs_]
    model.coefs_[0][...] = 0
    before = validation_loss(model, validation)
    after = validation_loss(model.fit(*data, **validation), validation)
    assert losses[-1] < after < before
    model.coefs_ = best
    other = {name: values[:50] for name, values in validation.items()}
    before = validation_loss(model, other)
    assert validation_loss(model.fit(*data, **other), other) <= before


@pytest.mark.parametrize("early_stopping", [True, False])
def test_short_calls_of_a_warm_start_stop_where_a_long_one_does(early_stopping):
    params = {"early_stopping": early_stopping, "n_iter_no_change": 4, "tol": 0.005}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        long, data, validation = overfitting(max_iter=200, **params)
        long.fit(*data, **validation)
        assert not caught and 5 < long.n_iter_ < 190
        model, *_ = overfitting(max_iter=3, warm_start=True, **params)
        n_calls = 0
        while len(caught) == n_calls:  # a call that does not stop by itself warns
            n_calls += 1
            model.fit(*data, **validation)
            assert n_calls < 60
    assert n_calls > 2


def test_a_warm_start_holds_out_the_same_samples(scaled_digits, monkeypatch):
    held_out = []

    def recorded(*args):
        held_out.append(holdout.hold_out(*args))
        return held_out[-1]

    monkeypatch.setattr(_base, "hold_out", recorded)
    model = short(warm_start=True, early_stopping=True)
    for _ in range(2):
        model = pickle.loads(pickle.dumps(model.fit(*scaled_digits)))
    model.set_params(warm_start=False, random_state=1).fit(*scaled_digits)
    assert_array_equal(held_out[0], held_out[1])
    assert len(np.intersect1d(held_out[0], held_out[2])) < len(held_out[0])


def test_verbose_prints_a_line_an_epoch(scaled_digits, capsys):
    X, y = scaled_digits
    model = short(verbose=True, max_iter=2).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1] == (
        f"epoch 2/2  loss {model.loss_:.4f}  accuracy {model.accuracy_curve_[-1]:.4f}"
    )
    short(verbose=True, max_iter=10).fit(X, y, X_val=X, y_val=y)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"epoch  1/10  loss \d\.\d{4}  accuracy \d\.\d{4}  "
        r"validation loss \d\.\d{4}  accuracy \d\.\d{4}",
        lines[0],
    )
    short().fit(X, y)
    assert capsys.readouterr().out == ""


# Prediction


def test_probabilities_decisions_and_predictions_agree(scaled_digits):
    X, y = scaled_digits
    model = short().fit(X, y)
    P, T = model.predict_proba(X), model.decision_function(X)
    assert P.shape == (len(X), 2)
    assert T.shape == (len(X),)
    assert_allclose(P.sum(axis=1), 1)
    assert_allclose(P[:, 1], 1 / (1 + np.exp(-T)))
    assert_allclose(model.predict_log_proba(X), np.log(P))
    assert_array_equal(model.predict(X), np.where(T > 0, 3, 1))


def test_log_probabilities_do_not_underflow(scaled_digits):
    X, y = scaled_digits
    model = short().fit(X, y)
    log_P = model.predict_log_proba(1e6 * X)
    assert np.isfinite(log_P).all()
    assert log_P.min() < -1e4


def test_feature_maps_are_responses_after_relu(scaled_digits):
    X, y = scaled_digits
    model = short(n_filters=2, K=4).fit(X, y)
    maps = model.feature_maps(X[:3])
    assert maps.shape == (3, 8, 8, 2)
    for f in range(2):
        response = convolve(X[2], model.filters_[f, ::-1, ::-1], mode="same")
        expected = np.maximum(response + model.filter_intercept_[f], 0)
        assert_allclose(maps[2, :, :, f], expected, atol=1e-12)
    T = maps.reshape(3, -1) @ model.coefs_[0] + model.intercepts_[0]
    assert_allclose(model.decision_function(X[:3]), T[:, 0])


# Layouts, types and labels


@pytest.mark.parametrize(
    "layout",
    [
        lambda X: X,
        lambda X: X[..., np.newaxis],
        lambda X: X.reshape(len(X), -1),
        lambda X: np.asfortranarray(X),
        lambda X: X.tolist(),
        lambda X: pd.DataFrame(X.reshape(len(X), -1)),
    ],
    ids=["images", "one channel", "rows", "fortran", "lists", "table"],
)
def test_the_layout_of_the_images_makes_no_difference(scaled_digits, layout):
    X, y = scaled_digits
    model = short().fit(layout(X), y)
    reference = short().fit(X, y)
    assert_array_equal(model.filters_.ravel(), reference.filters_.ravel())
    assert_array_equal(model.predict_proba(X), reference.predict_proba(X))
    assert_array_equal(reference.predict_proba(layout(X)), reference.predict_proba(X))


def test_shape_of_the_images(scaled_digits):
    X, y = scaled_digits
    rows = X.reshape(len(X), -1)
    assert short().fit(rows, y).image_shape_ == (8, 8)
    assert short(image_shape=(4, 16)).fit(rows, y).image_shape_ == (4, 16)
    assert short().fit(rows[:, :60], y).image_shape_ == (1, 60)
    assert short().fit(X[:, :, :6], y).image_shape_ == (8, 6)
    colour = short(image_shape=(4, 4, 4)).fit(rows, y)
    assert colour.image_shape_ == (4, 4, 4)
    assert colour.filters_.shape == (1, 3, 3, 4)


def test_a_model_of_float32_stays_float32(scaled_digits):
    X, y = scaled_digits
    model = short(n_filters=2).fit(X.astype(np.float32), y, sample_weight=np.ones(len(y)))
    for name, array in weights(model).items():
        assert array.dtype == np.float32, name
    for dtype in (np.float32, np.float64, np.uint8):
        for method in ("predict_proba", "predict_log_proba", "decision_function", "feature_maps"):
            assert getattr(model, method)(X.astype(dtype)).dtype == np.float32, method
    model.partial_fit(X, y)
    assert model.coefs_[0].dtype == np.float32
    in_float64 = short(n_filters=2).fit(X, y)
    assert in_float64.predict_proba(X).dtype == np.float64
    assert short().fit((X * 10).astype(np.int8), y).coefs_[0].dtype == np.float64
    assert_allclose(model.initial_filters_, in_float64.initial_filters_, rtol=1e-6)


@pytest.mark.parametrize("other", [None, 3])
def test_labels_that_cannot_be_sorted_are_named(digits, other):
    X, y = digits
    classes = np.array(["a", other], dtype=object)
    unordered = classes[(y != y[0]).astype(int)]
    for call in (
        lambda: short().fit(X, unordered),
        lambda: short().partial_fit(X, y, classes=classes),
        lambda: short().fit(X, y, X_val=X, y_val=unordered),
    ):
        with pytest.raises(ValueError, match="(y|classes) has labels that .*: make them all"):
            call()


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["dress", "trouser"]),
        np.array(["dress", "trouser"], dtype=object),
        np.array([-1, 1]),
        np.array([False, True]),
        np.array([0.0, 5.0]),
    ],
    ids=["str", "object", "signs", "bool", "float"],
)
def test_labels_of_any_kind(scaled_digits, labels):
    X, y = scaled_digits
    named = labels[(y == 3).astype(int)]
    model = short(max_iter=30).fit(X, named)
    assert_array_equal(model.classes_, labels)
    assert model.predict(X).dtype == labels.dtype
    assert model.score(X, named) > 0.95
    assert_array_equal(model.predict_proba(X), short(max_iter=30).fit(X, y).predict_proba(X))


def test_feature_names(scaled_digits):
    X, y = scaled_digits
    table = pd.DataFrame(X.reshape(len(X), -1)).rename(columns="pixel{}".format)
    model = short().fit(table, y)
    assert model.feature_names_in_[2] == "pixel2"
    model.predict(table)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[table.columns[::-1]])


def test_pickle_and_clone(scaled_digits):
    X, y = scaled_digits
    model = short(batch_size=50).fit(X, y)
    restored = pickle.loads(pickle.dumps(model))
    assert_array_equal(restored.predict_proba(X), model.predict_proba(X))
    assert_same_weights(restored.partial_fit(X, y), model.partial_fit(X, y))
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "coefs_")


# Many classes and colour


def test_ten_classes():
    images, target = load_digits(return_X_y=True)
    split = train_test_split(images.reshape(-1, 8, 8), target, random_state=0)
    X_train, X_test, y_train, y_test = split
    model = make_pipeline(ImageScaler(), short(n_filters=4, max_iter=40)).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.95
    classifier = model[-1]
    assert classifier.coefs_[0].shape == (256, 10)
    P, T = model.predict_proba(X_test), model.decision_function(X_test)
    assert P.shape == T.shape == (len(X_test), 10)
    assert_allclose(P, np.exp(T) / np.exp(T).sum(axis=1, keepdims=True))
    assert_array_equal(model.predict(X_test), P.argmax(axis=1))


def test_colour_is_told_apart():
    # The same shapes in two colours: only the channel tells the class.
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=300)
    X = np.zeros((300, 6, 6, 3))
    X[np.arange(300), rng.randint(6, size=300), rng.randint(6, size=300), 2 * y] = 1.0
    model = short(max_iter=40, eta=0.05, n_filters=2).fit(X[:200], y[:200])
    assert model.filters_.shape == (2, 3, 3, 3)
    assert model.score(X[200:], y[200:]) == 1.0
    rows = short(max_iter=40, eta=0.05, n_filters=2, image_shape=(6, 6, 3))
    rows.fit(X[:200].reshape(200, -1), y[:200])
    assert_same_weights(model, rows)


# In scikit-learn's hands


@pytest.fixture(params=["rows", "images"])
def digits_as(request, digits):
    X, y = digits
    return (X.reshape(len(X), -1) if request.param == "rows" else X), y


def pipeline(**params):
    return Pipeline([("scale", ImageScaler()), ("net", short(**params))])


def test_pipeline_and_cross_validation(digits_as):
    assert cross_val_score(pipeline(max_iter=40), *digits_as, cv=3).mean() > 0.9


def test_grid_search_in_two_processes(digits_as):
    grid = {"net__eta": [1e-5, 0.01], "net__K": [1, 3]}
    search = GridSearchCV(pipeline(max_iter=20), grid, cv=2, n_jobs=2).fit(*digits_as)
    assert search.best_params_["net__eta"] == 0.01
    serial = GridSearchCV(pipeline(max_iter=20), grid, cv=2).fit(*digits_as)
    assert_array_equal(search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])


def bagging(net):
    # BaggingClassifier refuses three dimensions before it asks its estimator.
    rows = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    bagged = BaggingClassifier(net, n_estimators=3, random_state=0)
    return make_pipeline(ImageScaler(), rows, bagged)


@pytest.mark.parametrize(
    "ensemble",
    [
        lambda net: make_pipeline(ImageScaler(), CalibratedClassifierCV(net, cv=3)),
        lambda net: CalibratedClassifierCV(make_pipeline(ImageScaler(), net), cv=3),
        bagging,
        lambda net: VotingClassifier(
            [("one", make_pipeline(ImageScaler(), net)), ("other", net)], voting="soft"
        ),
    ],
    ids=["calibrated net", "calibrated pipeline", "bagged net", "vote"],
)
def test_ensembles(digits_as, ensemble):
    X, y = digits_as
    model = ensemble(short(max_iter=30)).fit(X, y)
    assert model.score(X, y) > 0.95
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_defaults_on_digits(digits):
    X, y = digits
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    model = make_pipeline(ImageScaler(), ConvNetClassifier(max_iter=1000, random_state=0))
    assert model.fit(X_train, y_train).score(X_test, y_test) >= 0.95


# Errors


@pytest.mark.parametrize(
    "params, message",
    [
        ({"K": 0}, r"'K' parameter .* range \[1, inf\), .* Got 0"),
        ({"K": 2.5}, r"'K' parameter .* Got 2\.5"),
        ({"n_filters": 0}, "'n_filters' parameter"),
        ({"n_filters": (2, 0)}, r"n_filters=\(2, 0\) must have .* for each layer, but got 0"),
        ({"pool_size": (np.ones(2),)}, r"pool_size=.* at least 1 or \"global\" for each layer"),
        ({"pool_size": (pd.NA,)}, r"pool_size=\(<NA>,\) must have .*, but got <NA>"),
        ({"eta": -1.0}, "'eta' parameter"),
        ({"alpha": -1.0}, "'alpha' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"solver": "newton"}, "'solver' parameter"),
        ({"sampling": "random"}, "'sampling' parameter"),
        ({"freeze": "all"}, "'freeze' parameter"),
        ({"max_iter": -1}, "'max_iter' parameter"),
        ({"image_shape": 64}, "'image_shape' parameter"),
        ({"image_shape": (7, 9)}, r"image_shape=\(7, 9\) has 63 values an image, but X has 64"),
        ({"image_shape": (4, 16)}, r"image_shape=\(4, 16\) does not match .* \(8, 8\)"),
    ],
)
def test_wrong_parameters_are_named(scaled_digits, params, message):
    X, y = scaled_digits
    with pytest.raises(ValueError, match=message):
        short(**params).fit(X, y)


def with_value(X, value):
    X = X.copy()
    X[5, 3, 3] = value
    return X


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X, y: {"X": with_value(X, np.nan)}, "Input X contains NaN"),
        (lambda X, y: {"X": with_value(X, np.inf)}, "Input X contains infinity"),
        (lambda X, y: {"X": X[:-1]}, "inconsistent numbers of samples"),
        (lambda X, y: {"X": X[0, 0]}, "Expected 2D array, got 1D array"),
        (lambda X, y: {"X": X[..., None, None]}, "X has the shape .* reshape it to images"),
        (lambda X, y: {"y": np.ones(len(y))}, "at least two classes, but got one class: .*1.0"),
        (lambda X, y: {"y": np.linspace(0, 1, len(y))}, "Unknown label type: continuous"),
        (lambda X, y: {"sample_weight": np.zeros(len(y))}, "at least one non-zero"),
        (lambda X, y: {"sample_weight": -np.ones(len(y))}, "Negative values .* `sample_weight`"),
        (lambda X, y: {"sample_weight": (y == 1) * 1.0}, "positive weight all are of class .*1"),
        (lambda X, y: {"X_val": X}, "X_val and y_val must be given together"),
        (lambda X, y: {"y_val": y}, "X_val and y_val must be given together"),
        (lambda X, y: {"X_val": X, "y_val": y + 1}, r"labels \[2, 4\], which are not in the class"),
        (lambda X, y: {"X_val": X[:, :7], "y_val": y}, r"56 features \(images of shape \(7, 8\)\)"),
    ],
)
def test_wrong_data_are_named_and_leave_the_model(scaled_digits, change, message):
    X, y = scaled_digits
    fitted = short().fit(X[:, :6, :6], y == 3)
    untouched = pickle.dumps(vars(fitted))
    for model in (fitted, short()):
        with pytest.raises(ValueError, match=message):
            model.fit(**{"X": X, "y": y, **change(X, y)})
    assert pickle.dumps(vars(fitted)) == untouched
    assert vars(model) == vars(short())


@pytest.mark.parametrize("rows", [False, True])
def test_another_number_of_pixels_is_named(scaled_digits, rows):
    X, y = scaled_digits
    model = short().fit(X, y)
    fewer = X[:, :7].reshape(len(X), -1) if rows else X[:, :7]
    for method in ("predict", "predict_proba", "decision_function", "feature_maps"):
        with pytest.raises(ValueError, match="X has 56 features.* is expecting 64 features"):
            getattr(model, method)(fewer)
    with pytest.raises(ValueError, match="X has 56 features.* is expecting 64 features"):
        model.partial_fit(fewer, y)


def test_not_fitted(scaled_digits):
    for method in ("predict", "predict_proba", "decision_function", "feature_maps"):
        with pytest.raises(NotFittedError, match="This ConvNetClassifier instance is not fitted"):
            getattr(short(), method)(scaled_digits[0])


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_diverging_training_says_what_to_do_and_leaves_the_model(scaled_digits, solver, dtype):
    X, y = scaled_digits
    X = X.astype(dtype)
    model = short(solver=solver, batch_size=20).fit(X, y)
    untouched = pickle.dumps(vars(model))
    model.set_params(eta=float(np.finfo(dtype).max / 10))
    message = r"Training diverged in epoch 1: .* the images \(ImageScaler\), or lower eta \(it is"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, y)
    model.set_params(eta=0.01)
    assert pickle.dumps(vars(model)) == untouched


def test_an_interrupted_call_leaves_the_model(scaled_digits, monkeypatch):
    X, y = scaled_digits
    model = short(verbose=True).fit(X, y)
    untouched = pickle.dumps(vars(model))

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("skcnn._training.monitor.Monitor._print", interrupt)
    for call in (model.fit, model.partial_fit):
        with pytest.raises(KeyboardInterrupt):
            call(X, y)
        assert pickle.dumps(vars(model)) == untouched


def test_partial_fit_with_wrong_classes(scaled_digits):
    X, y = scaled_digits
    model = short()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"labels \[3\], which are not in the classes \[1, 2\]"):
        model.partial_fit(X, y, classes=[1, 2])
    with pytest.raises(ValueError, match="at least two classes"):
        model.partial_fit(X, y, classes=[1])
    assert vars(model) == vars(short())
    model.partial_fit(X[y == 1], y[y == 1], classes=[1, 3])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        model.partial_fit(X, y, classes=[1, 4])
    with pytest.raises(ValueError, match="'eta' parameter"):
        model.set_params(eta=-1.0).partial_fit(X, y)


@pytest.mark.parametrize(
    "params",
    [{"K": 5}, {"n_filters": 2}, {"image_shape": (4, 16)}],
    ids=lambda params: [*params][0],
)
def test_going_on_with_another_network_is_refused(scaled_digits, params):
    X, y = scaled_digits
    rows = X.reshape(len(X), -1)
    model = short(warm_start=True).fit(rows, y).set_params(**params)
    ((name, value),) = params.items()
    found = {"K": 3, "n_filters": 1, "image_shape": (8, 8)}[name]
    message = (
        f"{name}={value}, but the model to go on with has {name}={found}: set it back, or call "
        "fit with warm_start=False."
    )
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError) as raised:
            call(rows, y)
        assert str(raised.value) == message


@pytest.mark.parametrize("before, after", [(2, (2,)), ((2,), 2)], ids=str)
def test_a_number_of_filters_may_become_a_tuple_of_one(scaled_digits, before, after):
    X, y = scaled_digits
    model = short(n_filters=before).fit(X, y).set_params(n_filters=after).partial_fit(X, y)
    reference = short(n_filters=after).fit(X, y).partial_fit(X, y)
    for name in ("filters_", "filter_intercept_", "initial_filters_"):
        value, expected = getattr(model, name), getattr(reference, name)
        assert type(value) is type(expected), name
        assert_array_equal(value, expected, err_msg=name)


def test_a_warm_start_wants_the_same_classes(scaled_digits):
    X, y = scaled_digits
    third = np.where(np.arange(len(y)) % 3 == 0, 5, y)
    model = short(warm_start=True).fit(X, third)
    before = pickle.dumps(vars(model))
    with pytest.raises(
        ValueError, match=r"y has the classes \[1, 3\], but the model .* \[1, 3, 5\]"
    ):
        model.fit(X, y)
    assert pickle.dumps(vars(model)) == before
    model.partial_fit(X, y)


@pytest.mark.parametrize("name", ["eta", "alpha", "tol"])
@pytest.mark.parametrize("value", [10**400, np.inf, np.nan, "0.1", None, [0.1]], ids=type)
def test_numbers_that_are_no_float_are_named(scaled_digits, name, value):
    if (name, value) == ("tol", None):
        pytest.skip("tol=None has a meaning")
    with pytest.raises(ValueError, match=f"The '{name}' parameter of ConvNetClassifier"):
        short(**{name: value}).fit(*scaled_digits)


@pytest.mark.parametrize("params", [{"K": 2**40}, {"K": 10**6}, {"n_filters": 10**400}], ids=str)
def test_a_network_too_large_is_refused(scaled_digits, params):
    with pytest.raises(ValueError, match="K=.*, n_filters=.* make a network of more than 2684"):
        short(**params).fit(*scaled_digits)


@pytest.mark.parametrize(
    "params",
    [{"learning_rate": np.ones(2)}, {"early_stopping": pd.NA}, {"solver": np.array(["lbfgs"])}],
    ids=lambda params: [*params][0],
)
def test_a_stream_names_a_parameter_of_the_wrong_type(scaled_digits, params):
    fitted = short().partial_fit(*scaled_digits, classes=[1, 3])
    for model in (short(), fitted):
        model.set_params(**params)
        with pytest.raises(ValueError, match=f"The '{[*params][0]}' parameter"):
            model.partial_fit(*scaled_digits, classes=[1, 3])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda X: X.astype("datetime64[s]"), "X has values of type datetime64"),
        (lambda X: X.astype("timedelta64[s]"), "X has values of type timedelta64"),
        (lambda X: pd.DataFrame(X.reshape(len(X), -1).astype("datetime64[s]")), "type datetime64"),
        (lambda X: X.astype([("red", "u1")]), "X has values of type"),
        (lambda X: [[[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0, 4.0]]], "X cannot be made an array"),
        (lambda X: None, "Expected 2D array, got scalar"),
    ],
    ids=["dates", "differences", "table of dates", "records", "ragged", "none"],
)
def test_values_that_are_no_numbers_are_refused(scaled_digits, make, message):
    X, y = scaled_digits
    model = short().fit(X, y)
    for method in (lambda X: short().fit(X, y[: len(X)] if X is not None else y), model.predict):
        with pytest.raises(ValueError, match=message):
            method(make(X.astype(int)))


class Lazy:
    """Images as some file formats give them: a shape, and an array when asked."""

    def __init__(self, X):
        self.X, self.shape, self.ndim, self.dtype = X, X.shape, X.ndim, X.dtype

    def __len__(self):
        return len(self.X)

    def __array__(self, dtype=None, copy=None):
        return self.X


@pytest.mark.parametrize("wrap", [memoryview, Lazy])
def test_images_in_other_containers(scaled_digits, wrap):
    X, y = scaled_digits
    model = short().fit(wrap(X), y)
    assert model.image_shape_ == (8, 8)
    assert_same_weights(model, short().fit(X, y))
    assert_array_equal(model.predict_proba(wrap(X)), model.predict_proba(X))


def test_the_callers_floating_point_settings_change_nothing(scaled_digits):
    X, y = scaled_digits
    X = X.astype(np.float32)
    expected = short().fit(X, y)
    with np.errstate(all="raise"):
        model = short().fit(X, y)
        assert_same_weights(model, expected)
        for method in ("predict_proba", "predict_log_proba", "decision_function", "feature_maps"):
            for scale in (1, 1e-30, 1e6):
                result = getattr(model, method)(X * np.float32(scale))
                assert np.isfinite(result).all()


def test_no_warning_comes_from_inside_scikit_learn(scaled_digits):
    X, y = scaled_digits
    with pytest.raises(ValueError, match="Training diverged"):
        short().fit(np.where(X > 0, 1.7e308, -1.7e308), y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        short().fit(X, np.where(y == 1, np.nan, 1.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("labels", [[1, 3], [0, 1, 2]])
def test_log_probabilities_are_the_logarithms_of_the_probabilities(digits, dtype, labels):
    X, y = digits
    y = np.where(np.arange(len(y)) % 5 == 0, 2, y) if len(labels) == 3 else y
    model = short(max_iter=30).fit((X / 16).astype(dtype), y)
    for scale in (1, 10, 100):
        images = (X * scale).astype(dtype)
        log_P, P = model.predict_log_proba(images), model.predict_proba(images)
        assert log_P.dtype == P.dtype == dtype
        near_one = P > 0.5
        assert_array_equal(log_P[near_one], np.log(P[near_one]))
        visible = P > np.finfo(dtype).tiny
        assert_allclose(log_P[visible], np.log(P[visible]), rtol=1e-4, atol=1e-9)


# Solvers and schedules


def test_lbfgs_reaches_a_smaller_loss_than_a_step_could(scaled_digits):
    X, y = scaled_digits
    model = ConvNetClassifier(solver="lbfgs", random_state=0, n_filters=2).fit(X, y)
    assert model.score(X, y) == 1.0
    assert 2 < model.n_iter_ < 200
    assert (np.diff(model.loss_curve_) < 0.05).all()
    assert_allclose(model.loss_, log_loss(y, model.predict_proba(X)), atol=1e-6)
    exact = ConvNetClassifier(solver="lbfgs", tol=None, max_iter=7, random_state=0).fit(X, y)
    assert exact.n_iter_ == 7


@pytest.mark.parametrize(
    "name, refused, named, unset, accepted",
    [
        ("dropout", 0.5, r"0\.5", "0", 0.0),
        ("augment", [flip_left_right()], r"\[flip_left_right\(\)\]", "None", []),
    ],
)
def test_lbfgs_refuses_what_changes_at_every_step(
    scaled_digits, name, refused, named, unset, accepted
):
    model = short(solver="lbfgs", **{name: refused})
    message = (
        f"{name}={named} cannot be used with solver='lbfgs'.* set {name}={unset}, or solver='adam'"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(*scaled_digits)
    assert vars(model) == vars(short(solver="lbfgs", **{name: refused}))
    model.set_params(**{name: accepted}).fit(*scaled_digits)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_penalty_on_a_full_batch_leaves_no_gradient(scaled_digits, solver):
    # At the minimum of the dense layer alone, which is convex, the gradient is zero.
    X, y = scaled_digits
    model = ConvNetClassifier(
        freeze="filters", solver=solver, alpha=0.1, eta=0.02, batch_size=len(y), random_state=0
    )
    model.set_params(max_iter=2000, tol=None).fit(X, y)
    A = model.feature_maps(X).reshape(len(y), -1)
    residual = (model.predict_proba(X)[:, 1] - (y == 3)) / len(y)
    assert_allclose(residual @ A + 0.1 * model.coefs_[0][:, 0], 0, atol=1e-4)
    assert_allclose(residual.sum(), 0, atol=1e-4)


def test_momentum_is_that_of_the_formula(scaled_digits):
    X, y = scaled_digits
    params = {"solver": "sgd", "batch_size": len(y), "sampling": "sequential"}
    start, one, two = (short(**params, max_iter=m).fit(X, y).coefs_[0] for m in (0, 1, 2))
    model = short(**params, momentum=0.5, max_iter=2).fit(X, y)
    assert_allclose(model.coefs_[0], two + 0.5 * (one - start), rtol=1e-6)


def test_cosine_schedule_takes_smaller_steps(scaled_digits):
    X, y = scaled_digits
    params = {"solver": "sgd", "batch_size": len(y), "sampling": "sequential", "max_iter": 2}
    constant, cosine = (
        short(**params, learning_rate=name).fit(X, y) for name in ("constant", "cosine")
    )
    first = short(**{**params, "max_iter": 1}).fit(X, y)
    assert cosine.loss_curve_ == constant.loss_curve_  # the first step is a whole one
    expected = (first.coefs_[0] + constant.coefs_[0]) / 2
    assert_allclose(cosine.coefs_[0], expected, rtol=1e-9)
    stepwise = short(**params, learning_rate="cosine")
    for _ in range(2):
        stepwise.partial_fit(X, y, classes=[1, 3])
    assert_same_weights(stepwise, cosine)


def test_adaptive_schedule_goes_on_where_a_constant_one_stops(scaled_digits):
    X, y = scaled_digits
    params = {"solver": "sgd", "eta": 0.5, "tol": 1e-3, "n_iter_no_change": 2, "max_iter": 500}
    constant = short(**params).fit(X, y)
    adaptive = short(**params, learning_rate="adaptive").fit(X, y)
    assert adaptive.n_iter_ > constant.n_iter_
    assert adaptive.loss_curve_[: constant.n_iter_] == constant.loss_curve_


def test_numpy_numbers_are_numbers(scaled_digits):
    X, y = scaled_digits
    X = X.astype(np.float32)
    plain = short(K=5, n_filters=8, batch_size=100, alpha=0.01, pool_size=2).fit(X, y)
    typed = short(
        K=np.int8(5),
        n_filters=np.uint8(8),
        batch_size=np.int8(100),
        max_iter=np.int8(3),
        alpha=np.float64(0.01),
        eta=np.float64(0.01),
        pool_size=np.uint8(2),
    )
    assert_same_weights(typed.fit(X, y), plain)


# Stopping on held-out samples


def test_early_stopping_keeps_the_best_weights(scaled_digits):
    X, y = scaled_digits
    wrong = np.random.RandomState(0).rand(len(y)) < 0.2  # labels that can only be memorised
    y = np.where(wrong, 4 - y, y)
    X_val, y_val = X[:100], y[:100]
    model = short(early_stopping=True, eta=0.03, tol=1e-4, max_iter=300, n_iter_no_change=5)
    model.fit(X[100:], y[100:], X_val=X_val, y_val=y_val)
    losses = model.validation_loss_curve_
    assert model.n_iter_ == len(losses) < 300
    assert np.argmin(losses) < len(losses) - 1
    assert_allclose(log_loss(y_val, model.predict_proba(X_val)), min(losses))


def test_early_stopping_holds_out_a_part_of_each_class(scaled_digits):
    X, y = scaled_digits
    model = short(early_stopping=True, validation_fraction=0.25).fit(X, y)
    assert model.t_ == 3 * (len(y) - sum(np.ceil(0.25 * (y == label).sum()) for label in (1, 3)))
    assert len(model.validation_loss_curve_) == 3
    assert_same_weights(model, short(early_stopping=True, validation_fraction=0.25).fit(X, y))
    with pytest.raises(ValueError, match="early_stopping=True holds out a part of the samples"):
        short(early_stopping=True).fit(np.ones((10, 64)), [0, 1] * 5)


def test_class_weights_multiply_sample_weights(scaled_digits):
    X, y = scaled_digits
    s = np.random.RandomState(0).rand(len(y))
    by_class = short(class_weight={1: 3.0, 3: 1.0}, batch_size=50).fit(X, y, sample_weight=s)
    by_hand = short(batch_size=50).fit(X, y, sample_weight=s * np.where(y == 1, 3.0, 1.0))
    assert_same_weights(by_class, by_hand, assert_allclose, rtol=1e-9, atol=1e-12)
    balanced = short(class_weight="balanced").fit(X, y, sample_weight=s)
    share = {label: s[y == label].sum() for label in (1, 3)}
    by_hand = short().fit(X, y, sample_weight=s / np.where(y == 1, share[1], share[3]))
    assert_same_weights(balanced, by_hand, assert_allclose, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1e308, 1e-300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_of_any_size_keep_their_ratios(scaled_digits, scale, dtype):
    X, y = scaled_digits
    X, s = X.astype(dtype), np.where(y == 1, 1.0, 0.25)
    expected = short().fit(X, y, sample_weight=s)
    assert_same_weights(short().fit(X, y, sample_weight=s * scale), expected)


# Streams


@pytest.mark.parametrize(
    "params",
    [
        {"early_stopping": True},
        {"class_weight": "balanced"},
        {"solver": "lbfgs"},
        {"learning_rate": "adaptive"},
    ],
    ids=lambda params: [*params][0],
)
def test_partial_fit_is_not_there_for_what_needs_all_samples(scaled_digits, params):
    model = short(**params)
    assert not hasattr(model, "partial_fit")
    message = f"partial_fit cannot be used with {[*params][0]}=.*, which "
    for error in (AttributeError, ValueError):
        with pytest.raises(error, match=message):
            model.partial_fit(*scaled_digits, classes=[1, 3])
        with pytest.raises(error, match=message):
            ConvNetClassifier.partial_fit(model, *scaled_digits, classes=[1, 3])


def test_a_stream_of_batches_learns(scaled_digits):
    X, y = scaled_digits
    model = short(n_filters=4, class_weight={1: 1.0, 3: 2.0})
    for start in range(0, 40 * 365, 73):
        rows = np.arange(start, start + 73) % 365
        model.partial_fit(X[rows], y[rows], classes=[1, 3] if start == 0 else None)
    assert model.n_iter_ == 200
    assert model.score(X, y) > 0.95
    one_class = model.partial_fit(X[y == 1], y[y == 1])
    assert one_class.n_iter_ == 201


@pytest.mark.parametrize("chunk", [1, 20])
def test_class_weights_count_in_a_stream_of_one_class_at_a_time(scaled_digits, chunk):
    X, y = scaled_digits
    order = np.concatenate([np.flatnonzero(y == 1)[:chunk], np.flatnonzero(y == 3)[:chunk]])
    options = {"solver": "sgd", "alpha": 0, "batch_size": chunk}

    def moved(label, class_weight):
        """How far a call on one class moves the weights, by (Weights, call)."""
        model = short(class_weight=class_weight, **options)
        model.partial_fit(X[:1], y[:1], classes=[1, 3], sample_weight=[0])
        before = model.coefs_[0].copy()
        rows = order[y[order] == label]
        return model.partial_fit(X[rows], y[rows]).coefs_[0] - before

    # The mean of the class weights is 1, as if both classes came equally often.
    for scale in (1, 1e308):
        weight = {1: 0.25 * scale, 3: 0.75 * scale}
        assert_allclose(moved(1, weight), 0.5 * moved(1, None), rtol=1e-9, atol=1e-15)
        assert_allclose(moved(3, weight), 1.5 * moved(3, None), rtol=1e-9, atol=1e-15)


def test_class_weights_and_sample_weights_multiply_in_a_stream(scaled_digits):
    X, y = scaled_digits
    rows = [*np.flatnonzero(y == 1)[:10], *np.flatnonzero(y == 3)[:10]]
    s = np.random.RandomState(0).rand(20)
    s /= s.mean()
    options = {"solver": "sgd", "batch_size": 20, "sampling": "sequential", "alpha": 0}
    model = short(class_weight={1: 1, 3: 3}, **options)
    model.partial_fit(X[rows], y[rows], classes=[1, 3], sample_weight=5 * s)
    product = s * np.where(y[rows] == 1, 0.5, 1.5)
    by_hand = short(**{**options, "eta": 0.01 * product.mean()})
    by_hand.partial_fit(X[rows], y[rows], classes=[1, 3], sample_weight=product)
    assert_same_weights(model, by_hand, assert_allclose, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "class_weight, sample_weight", [(None, np.zeros(20)), (None, 0), ({1: 0, 3: 1}, None)], ids=str
)
def test_a_call_without_weight_changes_nothing_in_a_stream(
    scaled_digits, class_weight, sample_weight
):
    X, y = scaled_digits
    model, expected = (short(class_weight=class_weight) for _ in range(2))
    some = X[y == 1][:20], y[y == 1][:20]
    model.partial_fit(*some, classes=[1, 3], sample_weight=sample_weight)
    assert (model.n_iter_, model.t_, model.loss_curve_) == (0, 0, [])
    assert np.isnan(model.loss_)
    for _ in range(2):
        expected.partial_fit(X, y, classes=[1, 3])
        assert_same_weights(model.partial_fit(X, y), expected)
        before = copy.deepcopy(model)
        model.partial_fit(*some, sample_weight=sample_weight)
        assert_same_weights(model, before)
        assert (model.n_iter_, model.t_) == (before.n_iter_, before.t_)
        assert model.loss_curve_ == before.loss_curve_


def test_a_fit_without_weight_is_an_error(scaled_digits):
    X, y = scaled_digits
    with pytest.raises(ValueError, match="[Ss]ample.weights must contain at least one non-zero"):
        short().fit(X, y, sample_weight=np.zeros(len(y)))


def test_a_random_state_is_advanced_by_a_fit_and_not_by_a_failure(scaled_digits):
    X, y = scaled_digits
    rng, reference = np.random.RandomState(0), np.random.RandomState(0)
    model = short(random_state=rng, max_iter=1)
    with pytest.raises(ValueError):
        model.fit(X, y, X_val=X)
    assert rng.randint(1000) == reference.randint(1000)
    model.fit(X, y)
    reference.normal(size=9 + 64)  # the initial values, then an order
    reference.permutation(len(y))
    assert rng.randint(1000) == reference.randint(1000)


def test_networks_of_several_threads_differ_without_a_seed(scaled_digits):
    def fit(_):
        all_have_begun.wait()
        return short(random_state=None, max_iter=20).fit(*scaled_digits)

    all_have_begun = Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        models = [*threads.map(fit, range(4))]
    assert len({model.initial_filters_.tobytes() for model in models}) == 4


def test_without_a_seed_the_draws_are_those_of_the_global_generator(scaled_digits):
    np.random.seed(3)
    model = short(random_state=None, max_iter=1).fit(*scaled_digits)
    after = np.random.randint(1000)
    random_state = np.random.RandomState(3)
    assert_same_weights(short(random_state=random_state, max_iter=1).fit(*scaled_digits), model)
    assert random_state.randint(1000) == after


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.PCG64])
def test_any_random_state_goes_on_after_a_fit(scaled_digits, bits):
    rng = np.random.RandomState(bits(0))
    first, second = (short(random_state=rng).fit(*scaled_digits) for _ in range(2))
    again = np.random.RandomState(bits(0))
    assert_same_weights(short(random_state=again).fit(*scaled_digits), first)
    assert_same_weights(short(random_state=again).fit(*scaled_digits), second)
    assert (first.coefs_[0] != second.coefs_[0]).any()


def test_a_call_of_a_long_stream_does_not_touch_the_curves(scaled_digits):
    X, y = scaled_digits
    model = short().partial_fit(X, y, classes=[1, 3])
    held = model.loss_curve_, model.accuracy_curve_
    model.partial_fit(X, y)
    assert held[0] is model.loss_curve_ and held[1] is model.accuracy_curve_
    assert len(model.loss_curve_) == model.n_iter_ == 2
    copies = [list(curve) for curve in held]
    model.set_params(eta=1e200)
    for _ in range(2):
        with pytest.raises(ValueError):
            model.partial_fit(X, y)
    assert [*held] == copies

    class Costly(list):
        def no(self, *args):
            raise AssertionError("a curve of any length was gone through")

        __iter__ = __getitem__ = __contains__ = copy = no

    model.set_params(eta=0.01)
    model.loss_curve_, model.accuracy_curve_ = map(Costly, copies)
    model.partial_fit(X, y)
    assert len(model.loss_curve_) == len(model.accuracy_curve_) == model.n_iter_ == 3


def test_a_shallow_copy_keeps_its_curves(scaled_digits):
    X, y = scaled_digits
    model = short().partial_fit(X, y, classes=[1, 3])
    copied = copy.copy(model)
    model.partial_fit(X, y)
    assert (copied.n_iter_, model.n_iter_) == (1, 2)
    for name in CURVES[:2]:
        assert getattr(copied, name) == getattr(model, name)[:1]
    assert_same_weights(copied.partial_fit(X, y), model)


def test_momentum_of_another_solver_means_nothing(scaled_digits):
    X, y = scaled_digits
    model, other = (short().partial_fit(X, y, classes=[1, 3]) for _ in range(2))
    model.set_params(momentum=0.5)
    assert_same_weights(model.partial_fit(X, y), other.partial_fit(X, y))


class Unpicklable(ConvNetClassifier):
    """A subclass that holds what cannot be pickled."""

    def __getstate__(self):
        raise TypeError("holds an open file")


def test_a_subclass_that_cannot_be_pickled_can_be_trained(scaled_digits):
    model = Unpicklable(max_iter=1, tol=None, random_state=0)
    model.log_ = held = object()
    model.fit(*scaled_digits).partial_fit(*scaled_digits)
    assert model.log_ is held


def test_what_a_callback_sets_on_the_estimator_stays(scaled_digits):
    class Setting(Recorder):
        def on_fit_task_end(self, estimator, context):
            estimator.n_tasks_ = getattr(estimator, "n_tasks_", 0) + 1
            estimator.set_params(alpha=0.5)

    model = short().set_callbacks(Setting()).fit(*scaled_digits)
    assert model.n_tasks_ == 4
    assert model.alpha == 0.5
    assert model.n_iter_ == 3


def test_warm_start_begins_with_a_new_solver(scaled_digits):
    X, y = scaled_digits
    model = short(warm_start=True, sampling="sequential", batch_size=len(y), max_iter=1)
    model.fit(X, y)
    restored = pickle.loads(pickle.dumps(model))
    model.fit(X, y)
    restored.partial_fit(X, y)
    assert model.loss_curve_ == restored.loss_curve_
    assert (model.coefs_[0] != restored.coefs_[0]).any()


def test_a_cold_fit_forgets_validation_and_best_loss(scaled_digits):
    X, y = scaled_digits
    model = short().fit(X, y, X_val=X, y_val=y)
    model.fit(X, y)
    assert not hasattr(model, "validation_loss_curve_")
    worse = short(solver="sgd", eta=30.0, max_iter=6).fit(X, y)
    assert worse.best_loss_ == min(worse.loss_curve_) < worse.loss_


@pytest.mark.parametrize("dtype", ["bool", "boolean", "Int64", "Float32", "float32", "int8"])
@pytest.mark.parametrize("kind", [pd.Series, pd.array])
def test_sample_weights_of_any_type_are_taken(scaled_digits, dtype, kind):
    X, y = scaled_digits
    s = np.arange(len(y)) % 2
    given = kind(s, dtype=dtype)
    assert_same_weights(short().fit(X, y, sample_weight=given), short().fit(X, y, sample_weight=s))
    assert (np.asarray(given) == s).all()
    read_only = s.astype(float)
    read_only.flags.writeable = False
    short(class_weight="balanced").fit(X, y, sample_weight=read_only)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize(
    "name", ["eta", "alpha", "tol", "momentum", "dropout", "validation_fraction"]
)
def test_numbers_may_be_of_any_float_type(scaled_digits, name, dtype):
    params = {"max_iter": 2, "n_iter_no_change": 1, "solver": "sgd", "early_stopping": True}
    params["tol"] = 0.25
    value = dtype(0.25)
    model = short(**{**params, name: value}).fit(*scaled_digits)
    assert_same_weights(model, short(**{**params, name: 0.25}).fit(*scaled_digits))
    for wrong in (np.inf, -1, np.nan):
        with pytest.raises(ValueError, match=f"The '{name}' parameter .* must be"):
            short(**{name: dtype(wrong)}).fit(*scaled_digits)


def test_a_tolerance_in_half_precision_compares_losses_in_double_precision(scaled_digits):
    params = {"max_iter": 30, "n_iter_no_change": 2, "random_state": 0}
    tol = float(np.float16(1e-4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = ConvNetClassifier(tol=tol, **params).fit(*scaled_digits)
        model = ConvNetClassifier(tol=np.float16(1e-4), **params).fit(*scaled_digits)
    assert model.loss_curve_ == expected.loss_curve_


@pytest.mark.parametrize("scale", [1e308, 1e-300])
def test_class_weights_of_any_size_keep_their_ratios(scaled_digits, scale):
    expected = short(class_weight={1: 1.0, 3: 0.25}).fit(*scaled_digits)
    model = short(class_weight={1: scale, 3: 0.25 * scale}).fit(*scaled_digits)
    assert_same_weights(model, expected)
    assert_allclose(model.loss_curve_, expected.loss_curve_)


def test_a_penalty_that_is_too_large_is_named(scaled_digits):
    with pytest.raises(ValueError, match=r"or lower alpha \(it is 1e\+300\)"):
        short(alpha=1e300).fit(*scaled_digits)


@pytest.mark.parametrize("labels", [[1, 3], [0, 1, 2]])
def test_log_probabilities_of_huge_logits_are_finite(digits, labels):
    X, y = digits
    y = np.where(np.arange(len(y)) % 5 == 0, 2, y) if len(labels) == 3 else y
    model = short(n_filters=2).fit(X, y)
    log_P = model.predict_log_proba(X * (1e307 / np.abs(model.decision_function(X)).max()))
    assert np.isfinite(log_P).all()


def positive_images():
    """Images of positive values: a filter of one negative value responds to none of them."""
    rng = np.random.RandomState(0)
    return 0.1 + rng.rand(40, 3, 3), np.arange(40) % 2


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_layer_that_never_had_a_gradient_is_named(kernels, solver, early_stopping):
    params = {"solver": solver, "early_stopping": early_stopping, "alpha": 0, "random_state": 2}
    with pytest.warns(ConvergenceWarning, match="of convolution layer 0: ") as caught:
        model = short(K=1, **params).fit(*positive_images())
    assert len(caught) == 1
    assert model.initial_filters_ < 0
    assert_array_equal(model.filters_, model.initial_filters_)


def test_a_second_layer_without_a_gradient_is_named():
    X, y = positive_images()
    params = {"n_filters": (6, 1), "K": 1}
    untrained = (short(max_iter=0, random_state=seed, **params).fit(X, y) for seed in range(20))
    model = next(
        model
        for model in untrained
        if model.feature_maps(X).any() and not model.feature_maps(X, layer=1).any()
    )
    with pytest.warns(ConvergenceWarning) as caught:
        short(random_state=model.random_state, **params).fit(X, y)
    # No gradient goes through a layer without a response, so the layer before has none either.
    assert [f"layer {layer}:" in str(warning.message) for layer, warning in enumerate(caught)] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    "params",
    [
        {"max_iter": 0},
        {"freeze": "filters"},
        {"fit_intercept": False},
        {"solver": "lbfgs"},
        {"n_filters": 6},
        {"random_state": 0},
    ],
)
def test_a_layer_that_is_not_to_learn_or_does_is_not_named(params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short(**{"K": 1, "random_state": 2, **params}).fit(*positive_images())


def test_a_stream_does_not_warn_of_a_layer_without_a_gradient():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = short(K=1, random_state=2).partial_fit(*positive_images(), classes=[0, 1])
    assert model.filter_intercept_ == 0


@pytest.mark.parametrize(
    "n, batch_size", [(20, 20), (33, 32), (365, 32), (527, 32), (1000, 62), (3300, 200)]
)
def test_by_default_an_epoch_has_16_batches_of_32_to_200_samples(scaled_digits, n, batch_size):
    X, y = (np.resize(array, (n, *array.shape[1:])) for array in scaled_digits)
    assert_same_weights(short().fit(X, y), short(batch_size=batch_size).fit(X, y))
    call = short().partial_fit(X, y, classes=[1, 3])
    assert_same_weights(call, short(batch_size=batch_size).partial_fit(X, y, classes=[1, 3]))


def test_the_default_batch_size_counts_the_samples_that_are_visited(scaled_digits):
    X, y = (np.resize(array, (1000, *array.shape[1:])) for array in scaled_digits)
    weight = (np.arange(1000) < 800).astype(float)
    assert_same_weights(short().fit(X, y, weight), short(batch_size=50).fit(X, y, weight))


@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")  # of scikit-learn's check
def test_values_too_large_are_refused(scaled_digits):
    X, y = scaled_digits
    model = short().fit(X, y)
    with pytest.raises(ValueError, match="values too large for a network of float64: scale"):
        model.predict(np.full_like(X, 1.7e308))
    with pytest.raises(ValueError, match=r"Training diverged .* Scale the images"):
        ConvNetClassifier(random_state=0).fit((X * 1e20).astype(np.float32), y)
    for largest in (1.7e308, 1e155):  # of 1e155, only the square of the gradient overflows
        with pytest.raises(ValueError, match=r"Training diverged .* Scale the images"):
            ConvNetClassifier(solver="lbfgs", random_state=0).fit(X / np.abs(X).max() * largest, y)


@pytest.mark.parametrize(
    "class_weight, message",
    [
        ({1: 0, 3: 0}, "must leave samples with a weight that is greater"),
        ({1: -1, 3: 1}, "must be finite weights of at least 0"),
        ({1: np.inf}, "must be finite"),
        ({1: 10**400}, "too large"),
        ({1: "heavy"}, "could not convert string"),
        ({1: None}, "must be finite"),
        ({"dress": 1}, r"has \['dress'\], which are not in the classes \[1, 3\]"),
        ({1: 1, 9: 2}, r"has \[9\], which are not in the classes \[1, 3\]"),
    ],
    ids=str,
)
def test_class_weights_that_mean_nothing_are_refused(scaled_digits, class_weight, message):
    with pytest.raises(ValueError, match=f"class_weight=.*{message}"):
        short(class_weight=class_weight).fit(*scaled_digits)


def test_labels_that_cannot_be_compared_are_named(scaled_digits):
    X, y = scaled_digits
    model = short().fit(X, y)
    with pytest.raises(ValueError, match="y has labels that cannot be sorted"):
        model.partial_fit(X, np.array([{label} for label in y]))
    with pytest.raises(TypeError, match="labels represented as bytes.* to a string or integer"):
        short().fit(X, y.astype("S"))


def test_class_weights_may_have_classes_that_a_part_of_the_data_lacks(scaled_digits):
    weights = {1: 1.0, 3: 2.0}
    model = short(class_weight={**weights, 9: 5.0}).fit(*scaled_digits)
    assert_same_weights(model, short(class_weight=weights).fit(*scaled_digits))


def test_a_batch_of_a_stream_may_have_few_samples_of_each_class():
    rng = np.random.RandomState(0)
    X, y = rng.randn(30, 36), rng.permutation(50)[:30]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scikit-learn takes so many classes for numbers
        model = short().partial_fit(X, y, classes=np.arange(50))
        model.partial_fit(X, y)
        short(warm_start=True).fit(X, y % 10, X_val=X, y_val=(y % 10))


@pytest.mark.parametrize("change", ["category", "period", "text"])
def test_columns_of_a_table_that_are_no_numbers_are_named(change):
    X, y = pd.DataFrame(np.random.RandomState(0).randn(20, 9)).add_prefix("p"), np.arange(20) % 2
    model = short().fit(X, y)
    columns = {
        "category": pd.Categorical(list("ab") * 10),
        "period": pd.period_range("2000", periods=20, freq="D"),
        "text": list("ab") * 10,
    }
    X["p3"] = columns[change]
    for function in (lambda: short().fit(X, y), lambda: model.predict(X)):
        with pytest.raises((TypeError, ValueError), match="^X.*(not numbers|not compatible)"):
            function()


def test_columns_of_numbers_of_several_types_are_converted():
    X, y = pd.DataFrame(np.random.RandomState(0).randint(3, size=(20, 9))), np.arange(20) % 2
    mixed = X.copy()
    mixed[3] = pd.Categorical(X[3])
    assert_same_weights(short().fit(X, y), short().fit(mixed, y))


def test_values_that_overflow_in_validation_images_are_named(scaled_digits):
    X, y = scaled_digits
    X = X.astype(np.float32)
    for params in ({}, {"early_stopping": True}):
        model = short(**params).fit(X, y)
        before = pickle.dumps(vars(model))
        with pytest.raises(
            ValueError, match="validation images.* overflow in epoch 1. Scale X_val"
        ):
            model.fit(X, y, X_val=X * np.float32(1e37), y_val=y)
        assert pickle.dumps(vars(model)) == before


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_no_model_is_stored_that_cannot_predict(scaled_digits, solver, method):
    X, y = scaled_digits
    model = short(solver=solver, eta=1e300, max_iter=1, batch_size=len(y))
    before = pickle.dumps(vars(model))
    classes = {"classes": [1, 3]} if method == "partial_fit" else {}
    with pytest.raises(ValueError, match=r"Training diverged in epoch 1: .* lower eta \(it is 1e"):
        getattr(model, method)(X, y, **classes)
    assert pickle.dumps(vars(model)) == before
    large = short(solver=solver, eta=1e20, max_iter=1, batch_size=len(y)).fit(X, y)
    assert np.isfinite(large.predict_proba(X)).all()


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1, 0, 10**400, 1j, True - 2.0], ids=str)
def test_a_weight_for_all_samples_must_be_positive(scaled_digits, weight):
    with pytest.raises(ValueError, match="sample_weight=.* must be finite and greater than 0"):
        short().fit(*scaled_digits, sample_weight=weight)
    assert_same_weights(short().fit(*scaled_digits, sample_weight=7), short().fit(*scaled_digits))


# Same values, same result


@pytest.mark.parametrize("params", [{}, {"early_stopping": True, "validation_fraction": 0.3}])
def test_equal_values_of_any_type_give_the_same_weights(digits, kernels, params):
    X, y = digits
    small = (0 * X - 0.0 + X).astype(np.float32)
    for dtypes, reference in (("u1 i8 >i2 >f8", X), (">f4", small)):
        expected = short(**params).fit(reference, y)
        for dtype in dtypes.split():
            model = short(**params).fit(X.astype(dtype), y)
            assert model.coefs_[0].dtype == reference.dtype
            assert_same_weights(model, expected)
            assert model.validation_loss_curve_ == expected.validation_loss_curve_ if params else 1
    signed = np.where(X == 0, -0.0, X)
    assert_same_weights(short(**params).fit(signed, y), short(**params).fit(X, y))


@pytest.mark.parametrize("batch_size", [365, 366, 1000, 2**63, 10**400])
def test_a_batch_has_no_more_than_all_samples(scaled_digits, kernels, batch_size):
    X, y = scaled_digits
    assert_same_weights(short(batch_size=batch_size).fit(X, y), short(batch_size=365).fit(X, y))


# Sparse and mapped images


def test_sparse_rows(digits):
    X, y = digits
    rows = X.reshape(len(X), -1)
    sparse, params = csr_array(rows), {"n_filters": 2, "batch_size": 50, "early_stopping": True}
    model = short(**params).fit(sparse, y, X_val=sparse[:50], y_val=y[:50])
    dense = short(**params).fit(rows, y, X_val=rows[:50], y_val=y[:50])
    assert_same_weights(model, dense)
    assert_array_equal(model.predict_proba(sparse), dense.predict_proba(rows))
    assert_array_equal(model.feature_maps(sparse), dense.feature_maps(rows))
    held_out = short(**params).fit(sparse, y)
    assert_same_weights(held_out, short(**params).fit(rows, y))
    assert_same_weights(short(solver="lbfgs").fit(sparse, y), short(solver="lbfgs").fit(rows, y))


@pytest.fixture
def mapped(tmp_path):
    """20,000 images in a file, 16 MB as bytes, with their labels."""
    rng = np.random.RandomState(0)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, (20_000, 28, 28))
    X[...] = rng.randint(256, size=X.shape)
    X.flush()
    return np.load(tmp_path / "X.npy", mmap_mode="r"), rng.randint(2, size=len(X))


def peak_memory(function):
    """The most bytes that NumPy and Python held during a call, beyond those before it."""
    function()  # what is loaded or compiled at the first call does not count
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


@pytest.mark.parametrize("layout", ["Fortran order", "every other row"])
def test_rows_in_any_layout_are_never_copied_whole(mapped, kernels, layout):
    X, y = mapped
    rows = X.reshape(len(X), -1)
    rows = np.asfortranarray(rows) if layout[0] == "F" else np.repeat(rows, 2, axis=0)[::2]
    assert peak_memory(lambda: short(max_iter=1).fit(rows, y)) < 12e6


@pytest.mark.parametrize("params", [{"early_stopping": True}, {"dropout": 0.2}], ids=str)
def test_large_images_are_never_floats_all_at_once(params):
    X, y = np.zeros((60, 100, 1000), np.uint8), np.arange(60) % 2
    X[:, 0, 0] = np.arange(60)
    model = short(batch_size=2, max_iter=0, pool_size="global", **params)
    assert peak_memory(lambda: model.fit(X, y)) < X.nbytes  # as floats, eight times as much


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_mapped_images_are_never_copied_whole(mapped, solver):
    X, y = mapped
    model = short(solver=solver, max_iter=1)
    # A batch and the working memory are allowed, not the 16 MB of the file or more as floats.
    assert peak_memory(lambda: model.fit(X, y)) < 12e6
    assert peak_memory(lambda: model.predict_proba(X)) < 12e6
    assert peak_memory(lambda: model.set_params(solver="adam").partial_fit(X, y)) < 12e6


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_memory_is_bounded(dtype):
    X = (np.random.RandomState(0).rand(10_000, 28, 28) * 255).astype(dtype)
    y = np.arange(len(X)) % 10
    as_float32 = 4 * X.size
    params = {"n_filters": 8, "K": 5, "pool_size": 2, "max_iter": 1, "early_stopping": True}
    model = short(**params)
    # The images themselves count, unless they came as something larger.
    own = min(X.nbytes, as_float32)
    assert own + peak_memory(lambda: model.fit(X, y)) < 2.2 * as_float32
    assert peak_memory(lambda: model.predict_proba(X)) < 64e6


def test_memory_is_proportional_to_the_number_of_classes():
    X, y = np.random.RandomState(0).rand(8, 8, 8), np.arange(8)
    model = short(n_filters=1, pool_size=4)
    memory = peak_memory(lambda: model.partial_fit(X, y, classes=np.arange(5000)))
    assert memory < 1000 * 5000  # the square of 5000 floats would take 200 MB


def test_feature_maps_take_little_more_memory_than_the_result():
    X, y = np.random.RandomState(0).rand(4000, 28, 28).astype(np.float32), np.arange(4000) % 2
    model = short(n_filters=8, max_iter=0).fit(X, y)
    n_bytes = model.feature_maps(X).nbytes
    assert peak_memory(lambda: model.feature_maps(X)) < 1.5 * n_bytes


# Callbacks and metadata


class Recorder:
    """A callback that keeps what it is told, and can ask to stop."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.tasks, self.models = [], []

    def setup(self, estimator, context):
        self.tasks.append(("setup", context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.tasks.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.tasks.append(("end", context.task_name))
        self.at_the_end = fitted_estimator
        if context.task_name == "epoch":
            self.models.append((fitted_estimator, fitted_estimator.predict_proba(X)))
            return len(self.models) == self.stop_after

    def teardown(self, estimator, context):
        self.tasks.append("teardown")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_are_told_of_epochs(scaled_digits, solver):
    recorder = Recorder()
    model = short(solver=solver).set_callbacks(recorder).fit(*scaled_digits)
    epoch = [("begin", "epoch"), ("end", "epoch")]
    assert recorder.tasks == [
        *[("setup", 3), ("begin", "fit")],
        *(3 * epoch),
        *[("end", "fit"), "teardown"],
    ]
    # What a callback holds does not change under it.
    for number, (held, P) in enumerate(recorder.models, start=1):
        assert held.n_iter_ == len(held.loss_curve_) == number
        assert_array_equal(held.predict_proba(scaled_digits[0]), P)
    last, _ = recorder.models[-1]
    assert_same_weights(last, model)
    assert_same_weights(recorder.at_the_end, model)
    assert recorder.at_the_end.loss_curve_ == model.loss_curve_


def test_an_epoch_that_lbfgs_gives_up_ends_too(scaled_digits):
    recorder = Recorder()
    model = short(solver="lbfgs", tol=1e3, warm_start=True).set_callbacks(recorder)
    model.fit(*scaled_digits)  # every gradient is small enough: there is nothing to do
    assert recorder.tasks[1:] == [
        *[("begin", "fit"), ("begin", "epoch"), ("end", "epoch"), ("end", "fit"), "teardown"],
    ]
    assert model.n_iter_ == 0


def test_callbacks_of_a_stream_hold_what_does_not_change(scaled_digits):
    X, y = scaled_digits
    model = short().partial_fit(X, y, classes=[1, 3])
    recorder = Recorder()
    model.set_callbacks(recorder).partial_fit(X, y)
    ((after_epoch, _),) = recorder.models
    expected = [*model.loss_curve_], [*model.accuracy_curve_]
    model.set_callbacks().partial_fit(X, y)
    for held in (after_epoch, recorder.at_the_end):
        assert (held.loss_curve_, held.accuracy_curve_) == expected
        assert held.n_iter_ == 2


def test_what_callbacks_are_given_has_nothing_of_an_earlier_fit(scaled_digits):
    X, y = scaled_digits
    table = pd.DataFrame(X.reshape(len(X), -1)).rename(columns="pixel{}".format)
    recorder = Recorder()
    model = short().fit(table, y, X_val=table, y_val=y).set_callbacks(recorder)
    model.fit(X, y)  # what is held would warn of missing names in predict_proba
    for held in (recorder.models[0][0], recorder.at_the_end):
        assert not hasattr(held, "feature_names_in_")
        assert not hasattr(held, "validation_loss_curve_")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_may_stop_the_training(scaled_digits, solver):
    model = short(solver=solver, max_iter=50).set_callbacks(Recorder(stop_after=4))
    assert model.fit(*scaled_digits).n_iter_ == 4


def test_callbacks_are_torn_down_after_a_failure(scaled_digits):
    recorder = Recorder()
    model = short().set_callbacks(recorder)
    with pytest.raises(ValueError):
        model.fit(scaled_digits[0] * np.nan, scaled_digits[1])
    assert recorder.tasks[-1] == "teardown"
    assert not hasattr(model, "_callback_fit_ctx")


def test_scoring_monitor_has_a_score_an_epoch(scaled_digits):
    X, y = scaled_digits
    monitor = ScoringMonitor(scoring="accuracy")
    model = short(max_iter=4).set_callbacks(monitor).fit(X, y, sample_weight=np.ones(len(y)))
    log = monitor.get_logs().data_as_pandas
    scores = log[log["task_name"] == "epoch"]["accuracy"]
    assert len(scores) == 4
    assert scores.iloc[-1] == model.score(X, y)


def test_progress_bars_show_epochs_within_a_grid_search(scaled_digits, capfd):
    bar = ProgressBar(max_propagation_depth=None)
    search = GridSearchCV(pipeline(max_iter=4), {"net__K": [1, 3]}, cv=2).set_callbacks(bar)
    search.fit(*scaled_digits)
    printed = capfd.readouterr().out
    assert "GridSearchCV - fit" in printed
    assert "ConvNetClassifier - fit" in printed


def test_metadata_are_routed_through_a_pipeline(digits):
    X, y = digits
    s = np.random.RandomState(0).rand(len(y))
    scaled = ImageScaler().fit(X).transform(X)
    expected = short().fit(scaled, y, sample_weight=s, X_val=scaled[:50], y_val=y[:50])
    with config_context(enable_metadata_routing=True):
        net = short().set_fit_request(sample_weight=True, X_val=True, y_val=True)
        scaler = ImageScaler().set_fit_request(sample_weight=False)
        model = Pipeline([("scale", scaler), ("net", net)], transform_input=["X_val"])
        model.fit(X, y, sample_weight=s, X_val=X[:50], y_val=y[:50])
    assert_same_weights(model[-1], expected)
    assert model[-1].validation_loss_curve_ == expected.validation_loss_curve_
