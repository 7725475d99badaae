"""ConvNetRegressor: scikit-learn's checks, gradients, weights, targets of several columns."""

import pickle
import warnings

import numpy as np
import oracle
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks([ConvNetRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        ConvNetRegressor(solver="sgd", eta=0.01),
        ConvNetRegressor(solver="lbfgs"),
        ConvNetRegressor(n_filters=(3, 4), hidden_layer_sizes=(5,)),
        ConvNetRegressor(early_stopping=True),
    ]
)
def test_scikit_learn_checks_of_other_settings(estimator, check):
    check(estimator)


@pytest.mark.parametrize("solver, is_poor", [("adam", True), ("sgd", True), ("lbfgs", False)])
def test_the_score_after_five_epochs_is_expected_only_of_lbfgs(solver, is_poor):
    # Five epochs on 200 samples are some thirty steps of a stochastic solver.
    tags = ConvNetRegressor(solver=solver).__sklearn_tags__()
    assert tags.regressor_tags.poor_score == is_poor


def problem(n=60, shape=(6, 5), n_targets=None, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, *shape)
    means = np.stack([X[:, :3].mean((1, 2)), X[:, 3:].max((1, 2))], axis=1)
    y = means[:, 0] if n_targets is None else means[:, :n_targets]
    return X, y + 10, rng.rand(n) + 0.1


def short(**params):
    return ConvNetRegressor(**{"max_iter": 3, "tol": None, "random_state": 0, **params})


def outputs(model, X):
    """The outputs by the slow transcription of the formulas."""
    filters = model.filters_ if isinstance(model.filters_, list) else [model.filters_]
    b = model.filter_intercept_ if isinstance(model.filters_, list) else [model.filter_intercept_]
    filters = [W.reshape(*W.shape[:3], -1) for W in filters]
    pools = [layer.pooling.window for layer in model._network.group("filters")]
    convolutions = list(zip(filters, b, pools))
    denses = [(coef.T, c) for coef, c in zip(model.coefs_, model.intercepts_)]
    return oracle.logits(X[..., np.newaxis], convolutions, denses)


@pytest.mark.parametrize("n_targets", [None, 1, 2])
@pytest.mark.parametrize("params", [{}, {"n_filters": (2, 3), "hidden_layer_sizes": (4,)}])
def test_predictions_are_the_outputs(kernels, n_targets, params):
    X, y, _ = problem(n_targets=n_targets)
    model = short(**params).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert_allclose(model.predict(X).reshape(len(y), -1), outputs(model, X))


def loss_of(model, X, y, s, alpha):
    errors = ((outputs(model, X) - y.reshape(len(y), -1)) ** 2).mean(axis=1)
    weights = [*model.coefs_, *model.filters_]
    return s @ errors / s.sum() / 2 + alpha / 2 * sum((array**2).sum() for array in weights)


@pytest.mark.parametrize("n_targets", [None, 2])
def test_a_step_goes_down_the_gradient_of_the_weighted_mean(kernels, n_targets):
    X, y, s = problem(n=4, shape=(4, 3), n_targets=n_targets)
    params = {"solver": "sgd", "alpha": 0.3, "batch_size": 4, "sampling": "sequential"}
    params |= {"n_filters": (2,), "hidden_layer_sizes": (2,), "eta": 1e-3}
    start = short(max_iter=0, **params).fit(X, y, sample_weight=s)
    step = short(max_iter=1, **params).fit(X, y, sample_weight=s)
    for name in ("coefs_", "intercepts_", "filters_", "filter_intercept_"):
        for k, array in enumerate(getattr(start, name)):
            change = (getattr(step, name)[k] - array) / -1e-3
            for index in np.ndindex(array.shape):
                losses = []
                for sign in (1, -1):
                    moved = pickle.loads(pickle.dumps(start))
                    getattr(moved, name)[k][index] += sign * 1e-6
                    losses.append(loss_of(moved, X, y, s, 0.3))
                difference = (losses[0] - losses[1]) / 2e-6
                assert_allclose(change[index], difference, atol=1e-6 * max(1, abs(difference)))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_both_kernels_give_the_same_weights(monkeypatch, solver, n_targets):
    X, y, s = problem(n_targets=n_targets)
    models = []
    for fast in "01":
        monkeypatch.setenv("SKCNN_FAST", fast)
        model = short(solver=solver, batch_size=7, n_filters=3, pool_size=2)
        models.append(model.fit(X, y, sample_weight=s))
    tolerance = 1e-6 if solver == "lbfgs" else 1e-10
    for name in ("filters_", "filter_intercept_"):
        one, other = (getattr(model, name) for model in models)
        assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    assert_allclose(models[0].coefs_[0], models[1].coefs_[0], rtol=tolerance, atol=tolerance)
    assert_allclose(models[0].loss_curve_, models[1].loss_curve_)


def test_before_training_it_predicts_the_weighted_mean():
    X, y, s = problem(n_targets=2)
    model = short(max_iter=0).fit(X, y, sample_weight=s)
    assert_allclose(model.intercepts_[0], s @ y / s.sum())
    assert_array_equal(short(max_iter=0, fit_intercept=False).fit(X, y).intercepts_[0], 0)


def test_the_first_intercept_is_the_mean_without_the_samples_held_out():
    X, y, s = problem()
    y[0] = 1e6
    X_val, y_val = X[:1], y[:1]
    expected = np.average(y[1:], weights=s[1:])
    given = short(max_iter=0, early_stopping=True)
    given.fit(X[1:], y[1:], sample_weight=s[1:], X_val=X_val, y_val=y_val)
    assert_allclose(given.intercepts_[0], expected)
    means = [short(max_iter=0, early_stopping=True, random_state=k).fit(X, y) for k in range(20)]
    means = np.array([model.intercepts_[0][0] for model in means])
    assert 0 < (means < 20).sum() < 20  # where the first sample is held out, and where not


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_samples_of_weight_0_are_not_visited(solver):
    X, y, s = problem()
    X[0], s[0] = 1e200, 0
    with_it = short(solver=solver).fit(X, y, sample_weight=s)
    without = short(solver=solver).fit(X[1:], y[1:], sample_weight=s[1:])
    assert_array_equal(with_it.coefs_[0], without.coefs_[0])
    assert with_it.loss_curve_ == without.loss_curve_


@pytest.mark.parametrize("dtype, factor", [(np.float32, 1e20), (np.float64, 1e100)])
def test_lbfgs_refuses_a_gradient_that_overflows(dtype, factor):
    X, y, _ = problem()
    with pytest.raises(ValueError, match=r"Training diverged .* Scale y .* and the images"):
        short(solver="lbfgs").fit((X * factor).astype(dtype), y)


def test_curves_are_half_the_squared_error():
    X, y, s = problem()
    model = short(sampling="sequential", batch_size=60, max_iter=5, solver="sgd", eta=0.01)
    model.fit(X, y, sample_weight=s, X_val=X[:9], y_val=y[:9])
    before = short(sampling="sequential", batch_size=60, max_iter=4, solver="sgd", eta=0.01)
    before.fit(X, y, sample_weight=s)
    expected = np.average((before.predict(X) - y) ** 2, weights=s) / 2
    assert_allclose(model.loss_curve_[-1], expected)
    assert_allclose(
        model.validation_loss_curve_[-1], ((model.predict(X[:9]) - y[:9]) ** 2).mean() / 2
    )
    assert not hasattr(model, "accuracy_curve_")
    assert len(model.validation_loss_curve_) == model.n_iter_ == 5


def test_verbose_prints_the_losses(capsys):
    X, y, _ = problem()
    short(verbose=True, max_iter=2).fit(X, y, X_val=X, y_val=y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ") and "  validation loss " in lines[1]
    assert "accuracy" not in lines[1]


def test_a_weight_of_two_is_two_samples():
    X, y, _ = problem()
    s = np.arange(len(y)) % 3
    rows = np.repeat(np.arange(len(y)), s)
    one = short(solver="lbfgs").fit(X, y, sample_weight=s)
    other = short(solver="lbfgs").fit(X[rows], y[rows])
    assert_allclose(one.predict(X), other.predict(X), rtol=1e-6)


def test_a_stream_is_a_fit():
    X, y, _ = problem()
    params = {"sampling": "sequential", "dropout": 0.3, "n_filters": 2}
    fitted, streamed = short(max_iter=3, **params).fit(X, y), short(**params)
    for _ in range(3):
        streamed.partial_fit(X, y)
    assert_array_equal(streamed.predict(X), fitted.predict(X))
    assert streamed.loss_curve_ == fitted.loss_curve_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [0, 1e4])
def test_a_stream_is_a_fit_to_the_bit(dtype, shift):
    X, y, s = problem()
    X, y = X.astype(dtype), y + shift
    fitted = short(max_iter=4, solver="sgd", eta=1e-4).fit(X, y, sample_weight=s)
    streamed = short(solver="sgd", eta=1e-4)
    for call in range(4):
        streamed.partial_fit(X, y, sample_weight=s)
        if call == 1:
            streamed = pickle.loads(pickle.dumps(streamed))
    for one, other in zip(
        streamed.coefs_ + streamed.intercepts_, fitted.coefs_ + fitted.intercepts_
    ):
        assert_array_equal(one, other)


def test_a_call_without_weight_changes_nothing_in_a_stream():
    X, y, _ = problem()
    model, expected = short(), short().partial_fit(X, y)
    model.partial_fit(X, y + 1000, sample_weight=np.zeros(len(y)))
    assert model.n_iter_ == 0
    model.partial_fit(X, y).partial_fit(X, y + 1000, sample_weight=0)
    assert_array_equal(model.intercepts_[-1], expected.intercepts_[-1])
    assert_array_equal(model.coefs_[-1], expected.coefs_[-1])
    assert model.loss_curve_ == expected.loss_curve_


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_an_offset_of_the_targets_is_no_obstacle_in_float32(solver, n_targets):
    X, y, _ = problem(n=300, n_targets=n_targets)
    X = X.astype(np.float32)
    params = {"solver": solver, "n_filters": 4, "max_iter": 40, "eta": 0.01, "pool_size": 3}
    expected = short(**params).fit(X, y).loss_curve_
    for offset in (1e6, -1e7):
        found = short(**params).fit(X, y + offset, X_val=X, y_val=y + offset)
        assert_allclose(found.loss_curve_, expected, rtol=0.1)
        spacing = np.spacing(np.float32(abs(offset)))
        bias = np.mean(found.predict(X).astype(float) - (y + offset), axis=0)
        assert (np.abs(bias) < spacing).all()


def test_an_intercept_set_by_hand_is_gone_on_with():
    X, y, _ = problem()
    params = {"warm_start": True, "solver": "sgd", "eta": 1e-9, "max_iter": 1}
    model = short(**params).fit(X, y)
    model.intercepts_[-1][...] = 3
    assert_allclose(model.fit(X, y).intercepts_[-1], 3, atol=1e-6)
    assert_allclose(model.partial_fit(X, y).intercepts_[-1], 3, atol=1e-6)
    model.set_params(fit_intercept=False).fit(X, y)
    assert_array_equal(model.intercepts_[-1], [0])


def test_targets_too_large_for_float32_are_refused():
    X, y, _ = problem()
    with pytest.raises(ValueError, match="Scale y"):
        short().fit(X.astype(np.float32), y + 1e39)


def test_lbfgs_warns_where_no_step_lowers_the_loss(monkeypatch):
    X, y, _ = problem()

    def uphill(self, theta):
        self.theta[...] = theta
        return float(self.theta.sum()), -np.ones(len(theta))

    monkeypatch.setattr("skcnn._training.objective.Objective.loss_and_gradient", uphill)
    with pytest.warns(ConvergenceWarning, match="L-BFGS found no step that lowers the loss"):
        short(solver="lbfgs", tol=1e-4).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short(solver="lbfgs").fit(X, y)  # tol=None: until the loss cannot decrease


def test_early_stopping_keeps_the_best_weights():
    X, y, _ = problem(n=200)
    model = short(early_stopping=True, max_iter=30, eta=0.05, n_filters=8, batch_size=10)
    model.fit(X, y, X_val=X[:50], y_val=y[:50])
    best = min(model.validation_loss_curve_)
    assert_allclose(((model.predict(X[:50]) - y[:50]) ** 2).mean() / 2, best)


def test_it_finds_the_brightest_pixel_of_signals():
    rng = np.random.RandomState(0)
    X = rng.randn(300, 40, 1)
    params = {"K": 1, "n_filters": 4, "pool_size": "global", "image_shape": (1, 40, 1), "eta": 0.02}
    params |= {"tol": 1e-7, "batch_size": 30}
    model = ConvNetRegressor(**params, random_state=0).fit(X, X.max(axis=(1, 2)))
    assert model.score(X, X.max(axis=(1, 2))) > 0.999


def test_it_goes_into_scikit_learn_tools():
    X, y, _ = problem(n=120)
    model = make_pipeline(ImageScaler(), short(solver="lbfgs", max_iter=20))
    search = GridSearchCV(
        TransformedTargetRegressor(model, transformer=StandardScaler()),
        {"regressor__convnetregressor__alpha": [1e-4, 1.0]},
        cv=2,
    )
    search.fit(X, 1000 * y)
    assert search.best_params_ == {"regressor__convnetregressor__alpha": 1e-4}
    assert clone(search.best_estimator_) is not None


def test_float32_stays_float32():
    X, y, _ = problem()
    model = short().fit(X.astype(np.float32), y)
    assert model.predict(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    "y, message",
    [
        (np.full(60, np.nan), "Input y contains NaN"),
        (np.array([None, *range(59)], dtype=object), "y has targets that are missing or infinite"),
        (np.array([np.inf, *range(59)], dtype=object), "y has .* infinity|y has targets that are"),
        (np.array(["a"] * 60), "could not convert string to float|dtype"),
        (np.full(60, 1e300), r"Scale y \(TransformedTargetRegressor\) and the images"),
        (np.zeros((60, 2, 2)), "dim"),
        (np.zeros(59), "inconsistent numbers of samples"),
    ],
)
def test_targets_that_cannot_be_learnt_are_refused(y, message):
    X, good, _ = problem()
    model = short().fit(X, good)
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    with pytest.raises(ValueError, match=f"{message}|Scale y_val as y is scaled"):
        model.fit(X, good, X_val=X, y_val=y)
    assert pickle.dumps(model) == before


def test_targets_of_another_shape_are_refused():
    X, y, _ = problem(n_targets=2)
    model = short().partial_fit(X, y)
    for other in (y[:, 0], y[:, :1], np.hstack([y, y])):
        with pytest.raises(ValueError, match=r"y has targets of shape .* of the model have \(2,\)"):
            model.partial_fit(X, other)
        with pytest.raises(ValueError, match="X_val, y_val: y has targets"):
            short().fit(X, y, X_val=X, y_val=other)


def test_it_has_no_classes_and_says_when_it_is_not_fitted():
    with pytest.raises(NotFittedError):
        ConvNetRegressor().predict([[0.0]])
    assert {*ConvNetClassifier().get_params()} - {*ConvNetRegressor().get_params()} == {
        "class_weight",
        "label_smoothing",
    }
    assert not hasattr(ConvNetRegressor(solver="lbfgs"), "partial_fit")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_targets_that_are_no_numbers_are_named(method):
    X, y = np.random.RandomState(0).randn(12, 4, 4), np.arange(12.0)
    model = ConvNetRegressor(max_iter=1, tol=None).fit(X, y)
    before = model.coefs_[0].copy()
    with pytest.raises(ValueError, match="y has targets that are not numbers: .*'a'"):
        getattr(model, method)(X, [1, "a"] * 6)
    with pytest.raises(TypeError, match="y must be a dense array"):
        getattr(model, method)(X, sparse.csr_array(y[:, np.newaxis]))
    assert_array_equal(model.coefs_[0], before)


def test_a_warm_start_names_a_shape_that_is_none():
    X, y = np.random.RandomState(0).randn(12, 4, 4), np.arange(12.0)
    model = ConvNetRegressor(max_iter=1, tol=None, warm_start=True).fit(X, y)
    for image_shape in [(pd.NA, 4), ("4", 4), (4,)]:
        with pytest.raises(ValueError, match="image_shape="):
            model.set_params(image_shape=image_shape).fit(X, y)


@pytest.mark.parametrize("argument", ["y", "sample_weight"])
def test_a_score_of_numbers_too_large_for_a_float_names_them(argument):
    X, y = np.eye(4), np.arange(4.0)
    model = ConvNetRegressor(max_iter=1, tol=None).fit(X, y)
    with pytest.raises(ValueError, match="y or sample_weight has values that are too large"):
        model.score(**{"X": X, "y": y, argument: [10**400] * 4})
