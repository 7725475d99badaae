"""ConvNetClassifier with several labels for each sample, and labels of types of other kinds."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import accuracy_score, log_loss

from skcnn import ConvNetClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(n=200):
    """Four labels: in which quarters of an image there is a bright spot."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(n, 8, 8) / 4, rng.randint(2, size=(n, 4))
    for k, rows in enumerate(y.T):
        i, j = 4 * (k // 2), 4 * (k % 2)
        X[rows == 1, i + 1 : i + 3, j + 1 : j + 3] += 1
    return X, y


def short(**params):
    return ConvNetClassifier(**{"max_iter": 3, "tol": None, "random_state": 0, **params})


@pytest.mark.parametrize("params", [{}, {"n_filters": (2, 3), "hidden_layer_sizes": (5,)}])
def test_each_label_has_a_probability(kernels, params):
    X, y = problem()
    model = short(eta=0.01, max_iter=60, batch_size=20, **params).fit(X, y)
    P = model.predict_proba(X)
    assert_array_equal(model.classes_, range(4))
    assert P.shape == model.decision_function(X).shape == y.shape
    assert_allclose(P, expit(model.decision_function(X)))
    assert_allclose(np.exp(model.predict_log_proba(X)), P)
    assert_array_equal(model.predict(X), P > 0.5)
    assert model.score(X, y) == accuracy_score(y, model.predict(X)) > 0.95


def test_the_loss_is_the_sum_over_labels():
    X, y = problem()
    model = short(max_iter=1).fit(X, y, X_val=X, y_val=y)
    P = model.predict_proba(X)
    losses = [log_loss(y[:, k], P[:, k]) for k in range(4)]
    assert_allclose(model.validation_loss_curve_, [sum(losses)])
    assert_allclose(model.validation_accuracy_curve_, [model.score(X, y)])


def test_one_label_is_what_two_classes_are():
    X, y = problem()
    one = short(solver="lbfgs", max_iter=5, n_filters=2).fit(X, y[:, 0])
    twice = short(solver="lbfgs", max_iter=5, n_filters=2, alpha=0)
    two = twice.fit(X, y[:, [0, 0]])  # the same label in two columns
    assert two.predict_proba(X).shape == (200, 2) and one.predict_proba(X).shape == (200, 2)
    assert np.corrcoef(two.predict_proba(X)[:, 0], one.predict_proba(X)[:, 1])[0, 1] > 0.9


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_both_kernels_give_the_same_weights(monkeypatch, solver):
    X, y = problem()
    models = []
    for fast in "01":
        monkeypatch.setenv("SKCNN_FAST", fast)
        models.append(short(solver=solver, n_filters=3, batch_size=16).fit(X, y))
    assert_allclose(models[0].coefs_[0], models[1].coefs_[0], atol=1e-6)
    assert_allclose(models[0].filters_, models[1].filters_, atol=1e-6)


def test_a_stream_and_a_fit_are_the_same():
    X, y = problem()
    fitted, streamed = short(sampling="sequential").fit(X, y), short(sampling="sequential")
    streamed.partial_fit(X, y, classes=range(4))
    for _ in range(2):
        streamed.partial_fit(X, y)
    assert_array_equal(streamed.coefs_[0], fitted.coefs_[0])


@pytest.mark.parametrize(
    "of", [sparse.csr_array, sparse.csr_matrix, np.ndarray.tolist, lambda y: y.astype(float)]
)
def test_labels_of_any_kind(of):
    X, y = problem()
    assert_array_equal(short().fit(X, of(y)).coefs_[0], short().fit(X, y).coefs_[0])


def test_as_in_scikit_learn():
    X, y = make_multilabel_classification(n_samples=50, random_state=0)
    model = ConvNetClassifier(
        K=20, n_filters=50, solver="lbfgs", max_iter=150, alpha=1e-5, random_state=0
    )
    model.fit(X, y)
    assert model.score(X, y) > 0.97
    assert_array_equal((model.predict_proba(X) > 0.5).astype(int), model.predict(X))


def test_early_stopping_holds_out_samples():
    X, y = problem()
    model = short(early_stopping=True, max_iter=5).fit(X, y)
    assert len(model.validation_loss_curve_) == 5
    assert model.t_ < 5 * len(X)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda m, X, y: m.set_params(class_weight="balanced").fit(X, y),
            "class_weight='balanced'",
        ),
        (lambda m, X, y: m.fit(X, 1 + y), "must be 0 or 1 for each of 4 labels"),
        (lambda m, X, y: m.partial_fit(X, y, classes=[0, 1]), "one for each label"),
        (lambda m, X, y: m.partial_fit(X, y[:, :3]), "y has 3 labels, but the model .* has 4"),
        (lambda m, X, y: m.partial_fit(X, y[:, 0]), "y has one class for each sample"),
        (lambda m, X, y: m.fit(X, y + 0.5), "y should be a 1d array"),
        (lambda m, X, y: m.fit(X, y, X_val=X, y_val=y[:, 0]), "X_val, y_val: y has one class"),
        (lambda m, X, y: m.fit(X, y, X_val=X, y_val=y[:, :2]), "X_val, y_val: y must be 0 or 1"),
    ],
)
def test_what_cannot_be_learnt_is_refused(call, message):
    X, y = problem()
    model = short().partial_fit(X, y)
    before = {**vars(model), "class_weight": None}
    with pytest.raises((ValueError, TypeError), match=message):
        call(model, X, y)
    assert pickle.dumps({**vars(model), "class_weight": None}) == pickle.dumps(before)


def test_a_model_of_classes_takes_no_labels():
    X, y = problem()
    model = short(warm_start=True).fit(X, y[:, 0])
    with pytest.raises(
        ValueError, match="y has several labels for each sample, but the model has one class"
    ):
        model.fit(X, y)
    with pytest.raises(ValueError, match="X_val, y_val: y has several labels"):
        short().fit(X, y[:, 0], X_val=X, y_val=y)


def test_strings_of_variable_width_are_to_be_converted():
    X, y = problem()
    names = np.array(["cat", "dog"])[y[:, 0]]
    strings = names.astype(np.dtypes.StringDType())
    message = (
        r"{} has .* StringDType\(\), which scikit-learn does not take: pass {}.astype\(object\)"
    )
    in_y, in_classes = message.format("y", "y"), message.format("classes", "classes")
    for method in (short().fit, short().partial_fit):
        with pytest.raises(ValueError, match=in_y):
            method(X, strings)
    with pytest.raises(ValueError, match=in_classes):
        short().partial_fit(X, names, classes=np.unique(strings))
    with pytest.raises(ValueError, match=in_y):
        short().fit(X, names, X_val=X, y_val=strings)
    model = short().fit(X, strings.astype(object))
    assert_array_equal(model.predict(X), short().fit(X, names).predict(X))
