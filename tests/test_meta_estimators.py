"""scikit-learn's meta-estimators and model selection on images (n, H, W) and (n, H, W, C)."""

from math import prod

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler

SHAPES = [(6, 5), (6, 5, 2)]


def network(kind=ConvNetClassifier):
    return make_pipeline(
        ImageScaler(), kind(n_filters=2, solver="lbfgs", max_iter=10, tol=None, random_state=0)
    )


def problem(shape, n_classes=2, n=60):
    """Images with a bright row for each class."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(n, *shape), np.arange(n) % n_classes
    X[np.arange(n), y] += 3
    return X, y


CLASSIFIERS = {
    "calibrated": lambda: CalibratedClassifierCV(network(), cv=2),
    "voting": lambda: VotingClassifier([("a", network()), ("b", network())], voting="soft"),
    "stacking": lambda: StackingClassifier([("a", network()), ("b", network())], cv=2),
    "one vs rest": lambda: OneVsRestClassifier(network()),
    "boosting": lambda: AdaBoostClassifier(network()[-1], n_estimators=2, random_state=0),
    "tuned threshold": lambda: TunedThresholdClassifierCV(network(), cv=2),
    "fixed threshold": lambda: FixedThresholdClassifier(network()),
    "grid search": lambda: GridSearchCV(network(), {"convnetclassifier__K": [1, 3]}, cv=2),
    "randomized search": lambda: RandomizedSearchCV(
        network(), {"convnetclassifier__alpha": [0.01, 0.1]}, n_iter=2, cv=2, random_state=0
    ),
    "halving search": lambda: HalvingGridSearchCV(
        network(), {"convnetclassifier__K": [1, 3]}, cv=2, random_state=0
    ),
    "halving over epochs": lambda: HalvingGridSearchCV(
        network(),
        {"convnetclassifier__K": [1, 3]},
        resource="convnetclassifier__max_iter",
        max_resources=4,
        cv=2,
        random_state=0,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, shape):
    X, y = problem(shape)
    assert CLASSIFIERS[name]().fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scaler", [None, ImageScaler(), ImageScaler(per="channel")])
def test_a_network_of_images_predicts_rows(scaler, shape):
    X, y = problem(shape)
    model = make_pipeline(scaler, network()[-1]).fit(X, y)
    expected = model.predict_proba(X)
    assert (model.predict_proba(X.reshape(len(X), -1)) == expected).all()
    assert (model.predict_proba(X.reshape(len(X), *shape[:2], -1)) == expected).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_frozen_network_is_not_fitted_again(shape):
    X, y = problem(shape)
    frozen = FrozenEstimator(network().fit(X, y))
    assert CalibratedClassifierCV(frozen).fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("shape", SHAPES)
def test_several_outputs(shape):
    X, y = problem(shape)
    model = MultiOutputClassifier(network()).fit(X, np.stack([y, 1 - y], axis=1))
    assert model.predict(X).shape == (len(y), 2)


REGRESSORS = {
    "voting": lambda net: VotingRegressor([("a", net), ("b", net)]),
    "stacking": lambda net: StackingRegressor([("a", net), ("b", net)], cv=2),
    "transformed target": lambda net: TransformedTargetRegressor(net, transformer=StandardScaler()),
    "several outputs": lambda net: MultiOutputRegressor(net),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name, shape):
    X, y = problem(shape)
    y = np.stack([y, -y], axis=1) if name == "several outputs" else y
    model = REGRESSORS[name](network(ConvNetRegressor)).fit(X, 5.0 + y)
    assert model.score(X, 5.0 + y) > 0.3


@pytest.mark.parametrize("shape", SHAPES)
def test_model_selection(shape):
    X, y = problem(shape)
    assert cross_validate(network(), X, y, cv=2)["test_score"].mean() > 0.8
    assert (cross_val_predict(network(), X, y, cv=2) == y).mean() > 0.8
    assert learning_curve(network(), X, y, cv=2, train_sizes=[10, 20])[2].shape == (2, 2)
    scores = validation_curve(
        network(), X, y, param_name="convnetclassifier__K", param_range=[1, 3], cv=2
    )
    assert scores[1].shape == (2, 2)
    score, *_ = permutation_test_score(network(), X, y, cv=2, n_permutations=2, random_state=0)
    assert score > 0.8


# What refuses three dimensions takes rows, from which the network takes images again.
REFUSING = {
    "bagging": lambda net: BaggingClassifier(net, n_estimators=2, random_state=0),
    "stacking with the images": lambda net: StackingClassifier(
        [("a", net)], cv=2, passthrough=True
    ),
    "one vs one": lambda net: OneVsOneClassifier(net),
    "output code": lambda net: OutputCodeClassifier(net, random_state=0),
}


@pytest.mark.parametrize("name", REFUSING)
def test_those_that_refuse_images_take_rows(name):
    shape = (6, 5)
    X, y = problem(shape, n_classes=3)
    net = ConvNetClassifier(
        n_filters=2, solver="lbfgs", max_iter=10, tol=None, image_shape=shape, random_state=0
    )
    with pytest.raises(ValueError, match="dim"):
        REFUSING[name](net).fit(X, y)
    as_rows = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    model = make_pipeline(ImageScaler(), as_rows, REFUSING[name](net))
    assert model.fit(X, y).score(X, y) > 0.8


def test_the_importance_of_pixels_is_that_of_rows():
    X, y = problem((6, 5))
    net = ConvNetClassifier(image_shape=(6, 5), solver="lbfgs", random_state=0)
    with pytest.raises(ValueError, match="dim"):
        permutation_importance(net.fit(X, y), X, y)
    rows = X.reshape(len(X), -1)
    found = permutation_importance(net.fit(rows, y), rows, y, n_repeats=3, random_state=0)
    means = found.importances_mean.reshape(6, 5).mean(axis=1)
    assert means[:2].min() >= means[2:].max()  # the rows that differ between the classes


def test_self_training_takes_rows_only():
    X, y = problem((6, 5))
    some = np.where(np.arange(len(y)) % 3, y, -1)
    with pytest.raises(ValueError, match="dim"):
        SelfTrainingClassifier(network()).fit(X, some)
    rows = X.reshape(len(X), -1)
    assert SelfTrainingClassifier(network()).fit(rows, some).score(rows, y) > 0.8


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "chain, kind", [(ClassifierChain, ConvNetClassifier), (RegressorChain, ConvNetRegressor)]
)
def test_chains_take_no_images(chain, kind, shape):
    X, y = problem(shape)
    Y, net = np.stack([y, 1 - y], axis=1), kind(image_shape=shape, max_iter=1, tol=None)
    for model in (net, network(kind)):
        with pytest.raises(ValueError, match="dim"):
            chain(model).fit(X, Y)
    n = prod(shape)
    with pytest.raises(ValueError, match=f"{n} values an image, but X has {n + 1} features"):
        chain(net).fit(X.reshape(len(X), -1), Y)
    assert net.fit(X, Y).predict(X).shape == Y.shape
