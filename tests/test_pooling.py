"""The parameter ``pooling``, from outside."""

import pickle

import numpy as np
import oracle
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcnn import ConvNetClassifier, ConvNetRegressor, FeatureMapDisplay, FilterDisplay


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [ConvNetClassifier(n_filters=(3, 4), pool_size=2, pooling=("max", "average"), eta=0.01)]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def short(**params):
    """A classifier of two convolution layers, trained for three epochs."""
    defaults = {"n_filters": (3, 4), "pool_size": 2, "max_iter": 3, "tol": None, "eta": 0.01}
    return ConvNetClassifier(**{**defaults, "random_state": 0, **params})


def problem(shape=(7, 6), n=40):
    """Images of noise, their labels, and weights."""
    rng = np.random.RandomState(0)
    return rng.randn(n, *shape), np.arange(n) % 3, rng.rand(n) + 0.1


def oracle_logits(model, X, kinds, windows):
    """Logits of a network by slow loops."""
    filters = [W.reshape(*W.shape[:3], -1) for W in model.filters_]
    convolutions = [*zip(filters, model.filter_intercept_, windows, kinds, strict=True)]
    denses = [(V.T, c) for V, c in zip(model.coefs_, model.intercepts_)]
    return oracle.logits(X.reshape(*X.shape[:3], -1), convolutions, denses)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    "pooling, kinds",
    [
        ("average", ["average"] * 2),
        (("max", "average"), ["max", "average"]),
        (("average", "max"), ["average", "max"]),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "shape, pool_size, windows",
    [
        ((7, 6), 2, [(2, 2), (2, 2)]),  # a remainder at the lower edge
        ((1, 13, 2), (2, "global"), [(1, 2), (1, 6)]),
        ((6, 5), (1, "global"), [(1, 1), (6, 5)]),
    ],
    ids=["images", "signals", "a layer without pooling"],
)
def test_the_logits_are_those_of_the_oracle(
    kernels, shape, pool_size, windows, pooling, kinds, solver
):
    X, y, s = problem(shape, 20)
    model = short(pool_size=pool_size, pooling=pooling, solver=solver).fit(X, y, s)
    found = model.decision_function(X)
    assert_allclose(found, oracle_logits(model, X, kinds, windows), atol=1e-11)
    assert all((maps >= 0).all() for maps in (model.feature_maps(X, k) for k in (0, 1)))


def test_the_average_of_one_pixel_is_its_maximum():
    X, y, _ = problem()
    models = [short(pool_size=1, pooling=kind).fit(X, y) for kind in ("max", "average")]
    assert_array_equal(*(model.predict_proba(X) for model in models))


@pytest.mark.parametrize("kind", [list, np.array, lambda values: np.array(values, object)])
def test_kinds_may_be_in_any_sequence(kind):
    X, y, _ = problem()
    expected = short(pooling=("max", "average")).fit(X, y)
    model = clone(short(pooling=kind(["max", "average"]), warm_start=True)).fit(X, y)
    assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_proba(X), expected.predict_proba(X))
    assert again.fit(X, y).n_iter_ == 6


def test_strings_of_numpy_are_words():
    X, y, _ = problem()
    model = short(pooling=np.str_("average")).fit(X, y)
    assert_array_equal(model.coefs_[0], short(pooling="average").fit(X, y).coefs_[0])
    assert {type(kind) for kind in model._sizes["pooling"]} == {str}


@pytest.mark.parametrize(
    "pooling, message",
    [
        ("mean", "'pooling' parameter .* among .*'average'.* Got 'mean'"),
        (None, "'pooling' parameter .* Got None"),
        (True, "'pooling' parameter .* Got True"),
        (2, "'pooling' parameter .* Got 2"),
        (b"max", "'pooling' parameter .* Got b'max'"),
        (("max",), r"pooling=\('max',\) has 1 entries, but n_filters=\(3, 4\) makes 2"),
        (("max",) * 3, "has 3 entries"),
        (("max", "mean"), 'must have "max" or "average" for each layer, but got \'mean\''),
        (("max", None), "but got None"),
        ((1, 1), "but got 1"),
        ((), r"pooling=\(\) has no layer"),
    ],
    ids=repr,
)
def test_what_is_no_kind_is_refused(pooling, message):
    X, y, _ = problem()
    model = short(pooling=pooling)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "filters_")


@pytest.mark.parametrize(
    "before, after, shown, found",
    [
        ("average", "max", "'max'", "'average'"),
        ("average", ("average", "max"), r"\('average', 'max'\)", r"\('average', 'average'\)"),
        (("max", "average"), "max", "'max'", r"\('max', 'average'\)"),
    ],
)
def test_another_pooling_is_refused_where_a_model_is_gone_on_with(before, after, shown, found):
    X, y, _ = problem()
    model = short(pooling=before, warm_start=True).fit(X, y).set_params(pooling=after)
    P = model.predict_proba(X)
    message = f"pooling={shown}, but the model to go on with has pooling={found}: set it back, or"
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            call(X, y)
    assert_array_equal(model.predict_proba(X), P)  # as it was fitted
    assert model.set_params(warm_start=False).fit(X, y).n_iter_ == 3


def test_early_stopping_and_a_stream(kernels):
    X, y, s = problem()
    whole = short(pooling="average", sampling="sequential", batch_size=7).fit(X, y)
    stepwise = clone(whole)
    for _ in range(3):
        stepwise.partial_fit(X, y, classes=[0, 1, 2])
    assert_array_equal(stepwise.predict_proba(X), whole.predict_proba(X))
    stopped = clone(whole).set_params(early_stopping=True, max_iter=8).fit(X, y, s)
    assert len(stopped.validation_loss_curve_) == 8


def test_in_a_grid_search():
    X, y, _ = problem()
    grid = {"pooling": ["max", "average", ("max", "average")], "pool_size": [2, (2, "global")]}
    search = GridSearchCV(short(max_iter=1), grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 6


def test_a_regressor_finds_a_mean():
    X = np.random.RandomState(0).rand(200, 5, 5)
    y = X.mean(axis=(1, 2))
    model = ConvNetRegressor(
        n_filters=2, K=1, pool_size="global", pooling="average", solver="lbfgs", alpha=0.0
    )
    assert model.set_params(random_state=1).fit(X, y).score(X, y) > 0.999


def test_displays():
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y, _ = problem()
    model = short(pooling="average").fit(X, y)
    assert FilterDisplay.from_estimator(model).axes_.size
    display = FeatureMapDisplay.from_estimator(model, X[:2], layer=1)
    assert_array_equal(display.feature_maps, model.feature_maps(X[:2], layer=1))
    plt.close("all")
