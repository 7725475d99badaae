"""Networks of several convolution layers and hidden layers, from outside."""

import copy
import pickle
from importlib.util import find_spec

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from skcnn import ConvNetClassifier, ImageScaler
from skcnn.augmentation import shift

needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="needs numba")

DEEP = {"n_filters": (3, 4), "hidden_layer_sizes": (5,), "pool_size": (2, 1)}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [ConvNetClassifier(n_filters=(3, 4), hidden_layer_sizes=(5,), dropout=0.2, eta=0.01)]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def short(**params):
    """A classifier of two convolution layers and a hidden one, trained for three epochs."""
    defaults = {"max_iter": 3, "tol": None, "eta": 0.01, "random_state": 0}
    return ConvNetClassifier(**{**DEEP, **defaults, **params})


def problem(shape=(6, 5), n=40, n_classes=3, seed=0):
    """Images of noise, their labels, each class as often as the others, and weights."""
    rng = np.random.RandomState(seed)
    return rng.randn(n, *shape), np.arange(n) % n_classes, rng.rand(n) + 0.1


def layers(values):
    """One value for each convolution layer, whatever n_filters is."""
    return values if isinstance(values, list) else [values]


def weights(model):
    """All weights by name, of every layer."""
    names = ("filters_", "filter_intercept_", "coefs_", "intercepts_")
    return {
        f"{name}[{k}]": array
        for name in names
        for k, array in enumerate(layers(getattr(model, name)))
    }


def assert_same_weights(one, other):
    others = weights(other)
    assert [*weights(one)] == [*others]
    for name, array in weights(one).items():
        assert_array_equal(array, others[name], err_msg=name)


def assert_close_weights(one, other, tolerance):
    others = weights(other)
    assert [*weights(one)] == [*others]
    for name, array in weights(one).items():
        assert array.dtype == others[name].dtype
        size = max(1, np.abs(array).max())
        assert_allclose(array, others[name], rtol=0, atol=tolerance * size, err_msg=name)


def network(model):
    """The convolution and the dense layers of a model as the oracle wants them, copied."""
    height, width, n_channels = (*model.image_shape_, 1)[:3]
    filters, intercepts = layers(model.filters_), layers(model.filter_intercept_)
    sizes, kinds = (
        value if isinstance(value, tuple) else [value] * len(filters)
        for value in (model.pool_size, model.pooling)
    )
    convolutions = []
    for W, b, pool_size, kind in zip(filters, intercepts, sizes, kinds, strict=True):
        p, q = oracle.window(pool_size, height, width)
        W = W.reshape(*W.shape[:3], n_channels)
        convolutions.append((W.copy(), b.copy(), (p, q), kind))
        height, width, n_channels = height // p, width // q, len(W)
    denses = [(V.T.copy(), c.copy()) for V, c in zip(model.coefs_, model.intercepts_, strict=True)]
    return convolutions, denses


def arrays(convolutions, denses):
    """The weights of such a network by name, as views."""
    pairs = {"convolution": convolutions, "dense": denses}
    return {
        f"{letter} of {kind} {k}": array
        for kind, of_kind in pairs.items()
        for k, layer in enumerate(of_kind)
        for letter, array in zip("Wb" if kind == "convolution" else "Vc", layer)
    }


def with_channels(X):
    return X if X.ndim == 4 else X[..., np.newaxis]


# Prediction


CASES = {
    "two layers": ((7, 6), {"n_filters": (2, 3), "pool_size": 2}),
    "three layers": ((9, 8), {"n_filters": (2, 3, 2), "K": (3, 2, 4), "pool_size": (2, 1, 3)}),
    "colour": ((6, 6, 3), {"n_filters": (2, 2), "K": (4, 3)}),
    "hidden": ((5, 5), {"n_filters": 2, "pool_size": 2, "hidden_layer_sizes": (4, 3)}),
    "all": ((6, 7, 2), {"n_filters": (3, 2), "pool_size": (2, 1), "hidden_layer_sizes": (3,)}),
    "global": ((6, 5), {"n_filters": (2, 3), "pool_size": (2, "global")}),
    "global, one layer": ((6, 5, 2), {"n_filters": 3, "pool_size": "global"}),
    "filters after global": ((5, 5), {"n_filters": (3, 2), "pool_size": "global"}),
    "average": ((7, 6), {"n_filters": (2, 3), "pool_size": (3, 2), "pooling": "average"}),
    "average of all": ((6, 5, 2), {"n_filters": 3, "pool_size": "global", "pooling": "average"}),
    "signal": ((1, 13), {"n_filters": (2, 3), "K": (4, 3), "pool_size": (3, 2)}),
    "signals": ((1, 12, 2), {"n_filters": (2, 3), "pool_size": (2, "global")}),
    "column": ((13, 1), {"n_filters": (2, 3), "K": (4, 3), "pool_size": (3, 2)}),
    "pooled to a row": ((2, 9), {"n_filters": (2, 3), "K": 5, "pool_size": (2, 1)}),
    "windows larger than the image": ((5, 3), {"n_filters": (2, 3), "pool_size": (4, 9)}),
    "filters larger than the image": ((3, 4), {"n_filters": (2, 3), "K": (7, 8), "pool_size": 2}),
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_predictions_and_feature_maps_are_those_of_the_loops(kernels, case, n_classes):
    shape, params = CASES[case]
    X, y, s = problem(shape, n_classes=n_classes)
    params = {"hidden_layer_sizes": (), "eta": 0.03, "image_shape": shape, **params}
    model = short(**params).fit(X, y, sample_weight=s)
    convolutions, denses = network(model)
    X = with_channels(X[:5])
    T = oracle.logits(X, convolutions, denses)
    assert_allclose(model.decision_function(X), T[:, 0] if n_classes == 2 else T, atol=1e-12)
    assert_allclose(model.predict_proba(X), oracle.probabilities(T), atol=1e-12)
    for layer in range(len(convolutions)):
        maps = oracle.feature_maps(X, convolutions, layer)
        assert_allclose(model.feature_maps(X, layer=layer), maps, atol=1e-12)
    assert_array_equal(model.feature_maps(X), model.feature_maps(X, layer=0))


def test_feature_maps_have_the_size_of_what_the_layer_is_given(kernels):
    X, y, _ = problem((9, 8, 2))
    model = short(n_filters=(3, 4, 2), pool_size=(2, 3, 1)).fit(X, y)
    sizes = [model.feature_maps(X, layer=layer).shape for layer in range(3)]
    assert sizes == [(40, 9, 8, 3), (40, 4, 4, 4), (40, 1, 1, 2)]


@pytest.mark.parametrize("layer", [2, -1, -2, 10**400, 1.0, "0", None, True], ids=repr)
def test_a_layer_that_is_not_there_is_named(layer):
    X, y, _ = problem()
    with pytest.raises(ValueError, match="layer"):
        short().fit(X, y).feature_maps(X, layer=layer)


def test_one_layer_has_only_layer_0():
    X, y, _ = problem()
    model = short(n_filters=2, pool_size=1).fit(X, y)
    assert model.feature_maps(X, layer=np.int64(0)).shape == (40, 6, 5, 2)
    with pytest.raises(ValueError, match="layer"):
        model.feature_maps(X, layer=1)
    with pytest.raises(NotFittedError):
        short().feature_maps(X, layer=1)


# Gradients


def one_step(start, X, y, s, freeze=None):
    """The gradient at the weights of a model, by name: what one step changes of a copy of it."""
    after = copy.deepcopy(start)
    after.set_params(solver="sgd", eta=1.0, momentum=0.0, freeze=freeze, batch_size=len(y))
    after.set_params(sampling="sequential").partial_fit(X, y, sample_weight=s)
    before, now = arrays(*network(start)), arrays(*network(after))
    return {name: before[name] - now[name] for name in before}


def distance_to_a_bend(X, convolutions, denses, fit_intercept):
    """How far the nearest input of ReLU is from 0, and the nearest pixel from winning its window.

    Pixels that see the same, such as zeros only, stay equal, and what is 0 without an intercept
    stays 0: these do not count.
    """
    distances, given = [], oracle.inputs(X, convolutions)
    for images, (W, b, (p, q), kind) in zip(given, convolutions):
        Z = oracle.response(images, W, b)
        if kind == "average":
            distances.append(np.abs(Z))
            continue
        n, height, width, n_filters = Z.shape
        Z = Z[:, : height // p * p, : width // q * q]
        Z = Z.reshape(n, height // p, p, width // q, q, n_filters)
        ranked = np.sort(Z.transpose(0, 1, 3, 5, 2, 4).reshape(-1, p * q), axis=1)
        distances.append(np.abs(ranked[:, -1]))
        gaps = (ranked[:, -1:] - ranked[:, -2:-1])[ranked[:, -1] > 0]
        distances.append(gaps[gaps > 0])
    X = given[-1].reshape(len(X), -1)
    for V, c in denses[:-1]:
        T = oracle.dense(X, V, c)
        distances.append(np.abs(T).ravel())
        X = np.maximum(T, 0)
    distances = np.concatenate([array.ravel() for array in distances])
    return (distances if fit_intercept else distances[distances > 0]).min(initial=np.inf)


def slope(X, y, s, convolutions, denses, array, direction, step=1e-6, **options):
    """The derivative of the oracle's loss by a weight of the network, along a direction."""
    start, losses = array.copy(), []
    for sign in (1, -1):
        array[...] = start + sign * step * direction
        losses.append(oracle.loss(X, y, s, convolutions, denses, **options))
    array[...] = start
    return (losses[0] - losses[1]) / (2 * step)


def learnt(name, fit_intercept, freeze):
    kept = {"filters": "convolution", "dense": "dense", None: "nothing"}[freeze]
    return kept not in name and (fit_intercept or name[0] in "WV")


@st.composite
def networks(draw):
    """A shape of images, and parameters of a network of one to three convolution layers."""

    def for_each_layer(values):
        return tuple(draw(st.lists(values, min_size=depth, max_size=depth)))

    depth = draw(st.integers(1, 3))
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)))
    hidden = draw(st.lists(st.integers(1, 4), max_size=2))
    return shape, {
        "image_shape": shape,
        "n_filters": for_each_layer(st.integers(1, 3)),
        "K": for_each_layer(st.integers(1, 4)),
        "pool_size": for_each_layer(st.sampled_from([1, 1, 2, 3, "global"])),
        "pooling": for_each_layer(st.sampled_from(["max", "max", "average"])),
        "hidden_layer_sizes": tuple(hidden),
        "fit_intercept": draw(st.booleans()),
        "alpha": draw(st.sampled_from([0.0, 0.3])),
        "random_state": draw(st.integers(0, 2**16)),
    }


def begun(params, X, y, s):
    """A model after two epochs, so that its intercepts are no longer 0, where ReLU bends."""
    return short(**{**params, "eta": 0.1, "max_iter": 2}).fit(X, y, sample_weight=s)


# Loops over numbers take their time.
patiently = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@patiently
@given(
    drawn=networks(),
    n_classes=st.integers(2, 3),
    freeze=st.sampled_from([None, None, "filters", "dense"]),
)
def test_gradients_agree_with_central_differences(kernels, drawn, n_classes, freeze):
    shape, params = drawn
    X, y, s = problem(shape, n=4, n_classes=n_classes, seed=params["random_state"])
    start = begun(params, X, y, s)
    of_oracle = network(start)
    assume(distance_to_a_bend(X, *of_oracle, params["fit_intercept"]) > 1e-4)
    gradients = one_step(start, X, y, s, freeze)
    rng = np.random.RandomState(0)
    for name, array in arrays(*of_oracle).items():
        gradient = gradients[name]
        if not learnt(name, params["fit_intercept"], freeze):
            assert_array_equal(gradient, 0, err_msg=name)
            continue
        direction = rng.randn(*array.shape)
        direction /= np.linalg.norm(direction)
        expected = slope(X, y, s, *of_oracle, array, direction, alpha=params["alpha"])
        size = max(np.linalg.norm(gradient), 1e-2)
        assert abs((gradient * direction).sum() - expected) < 1e-6 * size, name


@pytest.mark.parametrize(
    "shape, seed, n_classes, params",
    [
        ((5, 4), 1, 2, {"n_filters": (2, 2), "K": (3, 2), "pool_size": (2, 1)}),
        ((4, 5, 2), 2, 2, {"n_filters": (2, 3), "pool_size": (1, "global"), "alpha": 0.3}),
        ((1, 9, 2), 3, 3, {"n_filters": (2, 2), "K": (4, 3), "pool_size": 2}),
        ((4, 4), 4, 3, {"n_filters": 2, "pool_size": 2, "hidden_layer_sizes": (4, 3)}),
        ((7, 6), 5, 2, {"n_filters": (2, 2, 2), "K": (2, 3, 3), "hidden_layer_sizes": (3,)}),
    ],
    ids=["two layers", "global", "signals", "hidden", "three layers"],
)
def test_first_step_follows_the_gradient_of_every_weight(kernels, shape, seed, params, n_classes):
    X, y, s = problem(shape, n=3, n_classes=n_classes, seed=seed)
    params = {"hidden_layer_sizes": (), "pool_size": (2, 1, 2), "alpha": 0.0, **params}
    params |= {"solver": "sgd", "eta": 1.0, "batch_size": 3, "sampling": "sequential"}
    params |= {"image_shape": shape, "random_state": seed}
    start, after = (short(**params, max_iter=m).fit(X, y, sample_weight=s) for m in (0, 1))
    of_oracle = network(start)
    X = with_channels(X)
    assert distance_to_a_bend(X, *of_oracle, fit_intercept=True) > 1e-4
    now = arrays(*network(after))
    for name, array in arrays(*of_oracle).items():
        expected = np.empty_like(array)
        for place in np.ndindex(array.shape):
            direction = np.zeros_like(array)
            direction[place] = 1
            expected[place] = slope(X, y, s, *of_oracle, array, direction, alpha=params["alpha"])
        size = max(np.abs(expected).max(), 1e-2)
        assert_allclose(array - now[name], expected, rtol=0, atol=1e-6 * size, err_msg=name)


@patiently
@given(drawn=networks(), n_classes=st.integers(2, 4))
def test_gradients_agree_with_automatic_differentiation(kernels, drawn, n_classes):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    shape, params = drawn
    X, y, s = problem(shape, n=6, n_classes=n_classes, seed=params["random_state"])
    start = begun(params, X, y, s)
    convolutions, denses = network(start)
    assume(distance_to_a_bend(X, convolutions, denses, params["fit_intercept"]) > 1e-9)
    gradients = one_step(start, X, y, s)

    tensors = {
        name: torch.tensor(array, requires_grad=True)
        for name, array in arrays(convolutions, denses).items()
    }
    A = torch.tensor(X).permute(0, 3, 1, 2)
    for k, (*_, window, kind) in enumerate(convolutions):
        W, b = (tensors[f"{letter} of convolution {k}"] for letter in "Wb")
        rows, columns = W.shape[1:3]
        A = functional.pad(A, (columns // 2, (columns - 1) // 2, rows // 2, (rows - 1) // 2))
        Z = functional.conv2d(A, W.permute(0, 3, 1, 2), b)
        pool = functional.max_pool2d if kind == "max" else functional.avg_pool2d
        A = pool(torch.relu(Z), window)
    T = A.permute(0, 2, 3, 1).flatten(1)
    for k in range(len(denses)):
        V, c = (tensors[f"{letter} of dense {k}"] for letter in "Vc")
        T = (torch.relu(T) if k else T) @ V.T + c
    if n_classes == 2:
        T = torch.cat([torch.zeros_like(T), T], dim=1)
    losses = functional.cross_entropy(T, torch.tensor(y), reduction="none")
    penalty = sum((tensor**2).sum() for name, tensor in tensors.items() if name[0] in "WV")
    loss = (torch.tensor(s) * losses).sum() / s.sum() + params["alpha"] / 2 * penalty
    loss.backward()
    for name, tensor in tensors.items():
        if learnt(name, params["fit_intercept"], freeze=None):
            derived = tensor.grad.numpy()
            size = max(np.abs(derived).max(), 1e-2)
            assert np.abs(gradients[name] - derived).max() <= 1e-9 * size, name


# Kernels and threads


def on_both_kernels(monkeypatch, params, X, y, s):
    for fast in "01":
        monkeypatch.setenv("SKCNN_FAST", fast)
        yield short(**params).fit(X, y, sample_weight=s)


@needs_numba
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("batch_size", [1, 16, 70])
@pytest.mark.parametrize(
    "params",
    [
        {"n_filters": 3, "pool_size": 2, "hidden_layer_sizes": ()},
        {"n_filters": (5,), "pool_size": "global", "hidden_layer_sizes": (4, 3)},
        {"n_filters": (2, 5), "K": (3, 4), "alpha": 0.1},
        {"n_filters": (2, 3, 4), "K": (5, 2, 3), "pool_size": (1, 2, "global")},
        {"solver": "sgd", "momentum": 0.9, "fit_intercept": False, "pool_size": (3, 2)},
        {"freeze": "filters", "n_filters": (9, 2)},
        {"freeze": "dense", "hidden_layer_sizes": (6, 6)},
    ],
    ids=str,
)
def test_both_kernels_give_the_same_weights(monkeypatch, params, batch_size, dropout):
    X, y, s = problem((9, 8), n=70)
    s[::5] = 0
    params = {**params, "batch_size": batch_size, "dropout": dropout}
    one, other = on_both_kernels(monkeypatch, params, X, y, s)
    assert_close_weights(one, other, 1e-8)
    assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-8)
    assert one.accuracy_curve_ == other.accuracy_curve_


@needs_numba
@pytest.mark.parametrize("shape", [(6, 5, 3), (1, 20), (1, 20, 2), (20, 1), (2, 2)])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_both_kernels_for_images_of_any_kind(monkeypatch, shape, dtype, tolerance):
    X, y, s = problem(shape, n=70)
    params = {"image_shape": shape, "batch_size": 16, "dropout": 0.3}
    one, other = on_both_kernels(monkeypatch, params, X.astype(dtype), y, s)
    assert_close_weights(one, other, tolerance)
    P, maps = one.predict_proba(X), one.feature_maps(X, layer=1)
    monkeypatch.setenv("SKCNN_FAST", "0")
    assert_allclose(one.predict_proba(X), P, rtol=tolerance)
    assert_allclose(one.feature_maps(X, layer=1), maps, rtol=tolerance, atol=tolerance)


@needs_numba
@pytest.mark.parametrize("shape", [(1, 9), (9, 1)])
def test_both_kernels_where_a_wider_filter_follows_single_taps(monkeypatch, shape):
    X, y, s = problem(shape, n=70)
    params = {"n_filters": (7, 3), "K": (1, 3), "pool_size": 1, "image_shape": shape}
    one, other = on_both_kernels(monkeypatch, params, X, y, s)
    assert_close_weights(one, other, 1e-8)


@pytest.mark.parametrize(
    "params", [{"dropout": 0.2, "augment": shift()}, {"solver": "lbfgs"}], ids=str
)
def test_threads_change_no_bit(kernels, params):
    X, y, s = problem((12, 12), n=300)
    params = {"n_filters": (4, 6), "pool_size": 2, "batch_size": 150, "max_iter": 2, **params}

    def fitted(n_threads):
        with threadpool_limits(n_threads, user_api="blas"):
            model = short(**params).fit(X, y, sample_weight=s)
            return model, model.predict_proba(X)

    (one, P), (other, Q) = fitted(1), fitted(2)
    assert_same_weights(one, other)
    assert_array_equal(P, Q)
    assert one.loss_curve_ == other.loss_curve_


# Attributes and initial values


@pytest.mark.parametrize("hidden_layer_sizes", [(), (4,)])
def test_one_filter_or_a_tuple_of_one_is_the_same(kernels, hidden_layer_sizes):
    X, y, _ = problem((6, 5, 2))
    params = {"hidden_layer_sizes": hidden_layer_sizes, "pool_size": 2, "batch_size": 16}
    number, of_one = (short(n_filters=value, **params).fit(X, y) for value in (1, (1,)))
    assert_same_weights(number, of_one)
    assert number.loss_curve_ == of_one.loss_curve_
    for name in ("filters_", "initial_filters_", "filter_intercept_"):
        alone, (first,) = getattr(number, name), getattr(of_one, name)
        assert isinstance(alone, np.ndarray)
        assert isinstance(getattr(of_one, name), list)
        assert_array_equal(alone, first)


@pytest.mark.parametrize("shape, channels", [((8, 7), ()), ((8, 7, 1), (1,)), ((8, 7, 3), (3,))])
def test_shapes_of_the_weights(shape, channels):
    X, y, _ = problem(shape, n_classes=4)
    hidden = {"hidden_layer_sizes": (6, 5)}
    model = short(n_filters=(2, 3, 4), K=(3, 5, 2), pool_size=(2, 1, 3), **hidden).fit(X, y)
    expected = [(2, 3, 3, *channels), (3, 5, 5, 2), (4, 2, 2, 3)]
    assert [W.shape for W in model.filters_] == expected
    assert [W.shape for W in model.initial_filters_] == expected
    assert [b.shape for b in model.filter_intercept_] == [(2,), (3,), (4,)]
    assert [V.shape for V in model.coefs_] == [(4, 6), (6, 5), (5, 4)]
    assert [c.shape for c in model.intercepts_] == [(6,), (5,), (4,)]
    assert isinstance(model.coefs_, list)
    assert isinstance(model.intercepts_, list)


@pytest.mark.parametrize("n_filters", [2, (2,), (2, 3)])
def test_there_is_no_weight_a_feature(n_filters):
    X, y, _ = problem(n_classes=2)
    model = short(n_filters=n_filters, pool_size=1, hidden_layer_sizes=()).fit(X, y)
    assert [V.shape for V in model.coefs_] == [(6 * 5 * np.max(n_filters), 1)]
    assert [c.shape for c in model.intercepts_] == [(1,)]
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "intercept_")


def test_inputs_of_the_first_dense_layer_run_over_row_column_and_filter():
    X, y, _ = problem((6, 5))
    model = short(pool_size=1, hidden_layer_sizes=()).fit(X, y)
    A = model.feature_maps(X, layer=1).reshape(len(X), -1)
    T = A @ model.coefs_[0] + model.intercepts_[0]
    assert_allclose(model.decision_function(X), T, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_initial_values_are_drawn_layer_by_layer(dtype):
    X, y, _ = problem((9, 8), n_classes=2)
    params = {"n_filters": (2, 3), "K": (3, 4), "pool_size": (2, 1), "hidden_layer_sizes": (5, 6)}
    model = short(**params, random_state=7).fit(X.astype(dtype), y)
    untrained = short(**params, random_state=7, max_iter=0).fit(X.astype(dtype), y)
    rng = np.random.RandomState(7)
    filters = [
        rng.normal(0, 2 / np.sqrt(3 * 3), size=(2, 3, 3)),
        rng.normal(0, np.sqrt(2 / (4 * 4 * 2)), size=(3, 4, 4, 2)),
    ]
    n_in = 4 * 4 * 3
    coefs = [
        rng.normal(0, np.sqrt(2 / n_in), size=(5, n_in)).T,
        rng.normal(0, np.sqrt(2 / 5), size=(6, 5)).T,
        rng.normal(0, 1 / np.sqrt(6), size=(1, 6)).T,
    ]
    for drawn in (model.initial_filters_, untrained.filters_):
        for W, expected in zip(drawn, filters, strict=True):
            assert_allclose(W, expected.astype(dtype), rtol=1e-14)
    for V, expected in zip(untrained.coefs_, coefs, strict=True):
        assert_allclose(V, expected.astype(dtype), rtol=1e-14)
    for intercept in (*untrained.filter_intercept_, *untrained.intercepts_):
        assert_array_equal(intercept, 0)
    for W, initial in zip(model.filters_, model.initial_filters_):
        assert (W != initial).all()


def test_initial_values_of_signals_of_several_channels():
    X, y, _ = problem((12, 2))
    params = {"n_filters": (2, 3), "K": (5, 3), "pool_size": (2, "global")}
    params = {**params, "hidden_layer_sizes": (), "image_shape": (1, 12, 2), "max_iter": 0}
    model = short(**params).fit(X, y)
    rng = np.random.RandomState(0)
    expected = [
        rng.normal(0, 2 / np.sqrt(5 * 2), size=(2, 1, 5, 2)),
        rng.normal(0, np.sqrt(2 / (3 * 2)), size=(3, 1, 3, 2)),
    ]
    for W, drawn in zip(model.filters_, expected, strict=True):
        assert_allclose(W, drawn, rtol=1e-14)
    assert_allclose(model.coefs_[0], rng.normal(0, 1 / np.sqrt(3), size=(3, 3)).T, rtol=1e-14)


# Parameters


@pytest.mark.parametrize(
    "params, same",
    [
        ({"K": 3}, {"K": (3, 3)}),
        ({"pool_size": 2}, {"pool_size": (2, 2)}),
        ({"pool_size": "global"}, {"pool_size": ("global", "global")}),
        ({"K": np.int64(5)}, {"K": (np.int64(5), 5)}),
        ({"n_filters": (np.int64(2), 3)}, {"n_filters": (2, 3)}),
        ({"n_filters": 2, "K": (5,), "pool_size": 1}, {"n_filters": 2, "K": 5, "pool_size": (1,)}),
        ({"hidden_layer_sizes": 4}, {"hidden_layer_sizes": (4,)}),
        ({"hidden_layer_sizes": [4, 3]}, {"hidden_layer_sizes": (4, 3)}),
    ],
    ids=str,
)
def test_one_number_is_for_every_layer(params, same):
    X, y, _ = problem()
    one, other = (short(**{"n_filters": (2, 3), **some}).fit(X, y) for some in (params, same))
    assert_same_weights(one, other)


OF_LAYERS = (
    *((), (3,), (3, 3, 3), (3, 0), (3, -1), (3, 2.0), (True, 3), ("3", 3), (3, None)),
    ((3,), 3),
)
WRONG = [
    *(("n_filters", value) for value in OF_LAYERS if value not in ((3,), (3, 3, 3))),
    *(("n_filters", value) for value in ("global", None, 2.5, 0)),
    *(("K", value) for value in (*OF_LAYERS, (3, "global"), "global", None, 2.5, 0)),
    *(("pool_size", value) for value in (*OF_LAYERS, (2, 1.0), (2, True), (2, "local"))),
    *(("pool_size", value) for value in ("local", None, 1.5, 0)),
    *(("hidden_layer_sizes", value) for value in ((0,), (3, -1), (2.5,), ("3",), ((3,), (4,)))),
    *(("hidden_layer_sizes", value) for value in ((True,), None, "3", 0)),
    *(("dropout", value) for value in (1.0, -0.1, 1.5, np.nan, "0.1", None, (0.1, 0.2))),
]


def assert_refused(model, name):
    X, y, _ = problem()
    before = pickle.dumps(vars(model))
    for call in (model.fit, lambda X, y: model.partial_fit(X, y, classes=[0, 1, 2])):
        with pytest.raises(ValueError, match=rf"\b{name}\b"):
            call(X, y)
        assert pickle.dumps(vars(model)) == before


@pytest.mark.parametrize("name, value", WRONG, ids=str)
def test_wrong_parameters_are_named_and_leave_the_model(name, value):
    X, y, _ = problem()
    assert_refused(short(**{name: value}), name)
    assert_refused(short().fit(X, y).set_params(**{name: value}), name)


@pytest.mark.parametrize("value", [(), (3, 3), (0,), (1.0,), (True,)], ids=str)
@pytest.mark.parametrize("name", ["K", "pool_size"])
def test_wrong_parameters_of_one_layer(name, value):
    X, y, _ = problem()
    params = {"n_filters": 2, "K": 1, "pool_size": 1}
    assert_refused(short(**{**params, name: value}), name)
    assert_refused(short(**params).fit(X, y).set_params(**{name: value}), name)


@pytest.mark.parametrize(
    "params",
    [{"n_filters": (2, 10**400)}, {"K": (3, 10**6)}, {"hidden_layer_sizes": (10**9,)}],
    ids=["n_filters", "K", "hidden_layer_sizes"],
)
def test_a_network_too_large_is_refused(params):
    X, y, _ = problem()
    with pytest.raises(ValueError, match=f"{[*params][0]}=.* network of more than"):
        short(**params).fit(X, y)


def test_windows_larger_than_what_a_layer_is_given_leave_something():
    X, y, _ = problem((5, 4))
    model = short(pool_size=(100, 100), hidden_layer_sizes=()).fit(X, y)
    assert model.feature_maps(X, layer=1).shape == (40, 2, 2, 4)
    assert model.coefs_[0].shape == (2 * 2 * 4, 3)


# Signals


def test_filters_of_signals_have_one_row():
    X, y, _ = problem((12,))
    for signals, image_shape in ((X, (1, 12)), (X, None), (X[:, np.newaxis], None)):
        model = short(K=(5, 4), image_shape=image_shape).fit(signals, y)
        assert [W.shape for W in model.filters_] == [(3, 1, 5), (4, 1, 4, 3)]
        assert model.coefs_[0].shape == (6 * 4, 5)
        assert model.feature_maps(X, layer=1).shape == (40, 1, 6, 4)
    one = short(n_filters=2, K=5, pool_size=2, image_shape=(1, 12)).fit(X, y)
    assert one.filters_.shape == (2, 1, 5)


def test_filters_of_columns_have_one_column():
    X, y, _ = problem((12,))
    model = short(K=(5, 4), image_shape=(12, 1)).fit(X, y)
    assert [W.shape for W in model.filters_] == [(3, 5, 1), (4, 4, 1, 3)]
    assert model.feature_maps(X, layer=1).shape == (40, 6, 1, 4)


def test_filters_of_images_of_one_pixel_have_one_tap():
    X, y, _ = problem((1, 1, 4))
    model = short(K=(3, 4), pool_size=1).fit(X, y)
    assert [W.shape for W in model.filters_] == [(3, 1, 1, 4), (4, 1, 1, 3)]


@pytest.mark.parametrize("n_channels", [1, 3])
def test_signals_and_columns_give_the_same(kernels, n_channels):
    X, y, s = problem((15, n_channels))
    params = {"K": (4, 3), "pool_size": (2, 3), "batch_size": 16}
    row, column = (
        short(**params, image_shape=(*sides, n_channels)).fit(
            X.reshape(40, *sides, n_channels), y, sample_weight=s
        )
        for sides in ((1, 15), (15, 1))
    )
    for W, other in zip(row.filters_, column.filters_, strict=True):
        assert_allclose(W.swapaxes(1, 2), other, atol=1e-9)
    P = row.predict_proba(X.reshape(40, -1))
    assert_allclose(P, column.predict_proba(X.reshape(40, -1)), atol=1e-9)


def test_layouts_of_signals_of_several_channels(kernels):
    X, y, _ = problem((12, 3))
    params = {"image_shape": (1, 12, 3), "batch_size": 16}
    expected = short(**params).fit(X.reshape(40, 1, 12, 3), y)
    assert [W.shape for W in expected.filters_] == [(3, 1, 3, 3), (4, 1, 3, 3)]
    P = expected.predict_proba(X.reshape(40, 1, 12, 3))
    for signals in (X, X.reshape(40, -1), np.asfortranarray(X), X.tolist()):
        model = short(**params).fit(signals, y, X_val=signals, y_val=y)
        assert model.image_shape_ == (1, 12, 3)
        assert model.n_features_in_ == 36
        assert_same_weights(model, expected)
        assert_array_equal(expected.predict_proba(signals), P)
        stream = short(**params).partial_fit(signals, y, classes=[0, 1, 2])
        assert stream.feature_maps(signals, layer=1).shape == (40, 1, 6, 4)


def test_signals_of_another_shape_are_refused():
    X, y, _ = problem((12, 3))
    with pytest.raises(ValueError, match="image_shape"):
        short(image_shape=(1, 3, 12)).fit(X, y)
    model = short(image_shape=(1, 12, 3)).fit(X, y)
    for wrong in (X.swapaxes(1, 2), X[:, :11]):
        with pytest.raises(ValueError, match=r"expecting 36 features"):
            model.predict(wrong)


def two_motifs(n, seed):
    """Signals with a rise and a fall somewhere, far from each other: which one comes first?"""
    rng = np.random.RandomState(seed)
    X, y = 0.1 * rng.randn(n, 64), rng.randint(2, size=n)
    rise, fall = np.array([-1.0, 0.0, 2.0]), np.array([2.0, 0.0, -1.0])
    for signal, label, start in zip(X, y, rng.randint(1, 50, size=n)):
        first, second = (rise, fall) if label else (fall, rise)
        signal[start : start + 3] += first
        signal[start + 9 : start + 12] += second
    return X, y


def test_two_layers_learn_an_order_that_one_does_not():
    # Filters of five values see one motif or the other; both are in every signal.
    X, y = two_motifs(400, seed=0)
    X_test, y_test = two_motifs(400, seed=1)
    params = {"hidden_layer_sizes": (), "max_iter": 40, "batch_size": 32, "image_shape": (1, 64)}
    one = short(n_filters=12, K=5, pool_size="global", **params).fit(X, y)
    two = short(n_filters=(6, 8), K=5, pool_size=(3, "global"), **params).fit(X, y)
    assert one.score(X_test, y_test) < 0.7
    assert two.score(X_test, y_test) > 0.97


def test_two_layers_and_a_hidden_one_learn_digits():
    images, target = load_digits(return_X_y=True)
    split = train_test_split(images.reshape(-1, 8, 8), target, random_state=0)
    X_train, X_test, y_train, y_test = split
    net = short(n_filters=(8, 16), hidden_layer_sizes=(16,), dropout=0.2, max_iter=30)
    model = make_pipeline(ImageScaler(), net).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.95


@pytest.mark.parametrize("n_filters", [(4,), (3, 4)])
def test_lbfgs_finds_a_minimum(kernels, scaled_digits, n_filters):
    X, y = scaled_digits
    model = short(n_filters=n_filters, pool_size=2, solver="lbfgs", max_iter=60).fit(X, y)
    assert model.loss_ < 0.01
    assert model.score(X, y) == 1.0


# Dropout


def test_no_dropout_draws_nothing():
    X, y, _ = problem()
    assert_same_weights(short(dropout=0.0).fit(X, y), short().fit(X, y))
    assert_same_weights(short(dropout=0).fit(X, y), short().fit(X, y))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_dropout_is_repeatable_and_changes_the_training(kernels, solver):
    X, y, _ = problem()
    params = {"solver": solver, "batch_size": 16}
    first, second = (short(dropout=0.3, **params).fit(X, y) for _ in range(2))
    assert_same_weights(first, second)
    assert first.loss_curve_ == second.loss_curve_
    without = short(**params).fit(X, y)
    for W, initial in zip(first.initial_filters_, without.initial_filters_):
        assert_array_equal(W, initial)
    for one, other in (
        (first.loss_curve_, without.loss_curve_),
        *zip(first.coefs_, without.coefs_),
    ):
        assert (np.array(one) != other).any()
    others = short(dropout=0.3, random_state=1, max_iter=0, **params).fit(X, y)
    assert first.loss_curve_[0] != others.partial_fit(X, y).loss_curve_[0]


def test_prediction_leaves_nothing_out(kernels):
    X, y, _ = problem()
    model = short(dropout=0.9).fit(X, y)
    P = model.predict_proba(X)
    assert_array_equal(P, model.predict_proba(X))
    T = oracle.logits(X[..., np.newaxis], *network(model))
    assert_allclose(P, oracle.probabilities(T), atol=1e-12)
    maps = oracle.feature_maps(X[..., np.newaxis], network(model)[0], layer=1)
    assert_allclose(model.feature_maps(X, layer=1), maps, atol=1e-12)
    assert_allclose(model.set_params(dropout=0.0).predict_proba(X), P)


def test_validation_leaves_nothing_out():
    X, y, _ = problem()
    model = short(dropout=0.5).fit(X, y, X_val=X, y_val=y)
    expected = -np.log(model.predict_proba(X)[np.arange(len(y)), y]).mean()
    assert_allclose(model.validation_loss_curve_[-1], expected)
    assert_same_weights(model, short(dropout=0.5).fit(X, y))


@pytest.mark.parametrize("sampling", ["sequential", "shuffle", "replacement"])
def test_fit_with_dropout_is_as_many_partial_fits(kernels, sampling):
    X, y, s = problem()
    params = {"dropout": 0.3, "sampling": sampling, "batch_size": 16}
    whole = short(**params).fit(X, y, sample_weight=s)
    stepwise = short(**params)
    for _ in range(3):
        stepwise.partial_fit(X, y, classes=[0, 1, 2], sample_weight=s)
        stepwise = pickle.loads(pickle.dumps(stepwise))
    assert_same_weights(whole, stepwise)
    assert whole.loss_curve_ == stepwise.loss_curve_


def step_on_one_image(dropout, **params):
    """A model, and the gradient of one image with dropout, by name; all its units are positive."""
    x, label = np.abs(problem((6, 5), n=1)[0]) + 0.1, np.array([1])
    params = {"K": 1, "pool_size": 1, "alpha": 0.0, **params}
    start = short(**params, max_iter=0).fit(np.concatenate([x, -x]), [1, 0])
    for array in weights(start).values():
        array[...] = np.abs(array)  # 0.0 where it is an intercept
    for array in (*layers(start.filter_intercept_), *start.intercepts_[:-1]):
        array += 0.1
    start.coefs_[-1][...] /= start.decision_function(x)
    start.set_params(dropout=dropout)
    return start, x[..., np.newaxis], one_step(start, x, label, None)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hidden", [(), (12,), (15, 10)])
def test_dropout_leaves_out_inputs_of_each_dense_layer_and_scales_the_others(kernels, hidden, seed):
    dropout = 0.4
    params = {"n_filters": (2, 3), "hidden_layer_sizes": hidden, "random_state": seed}
    start, x, gradients = step_on_one_image(dropout, **params)
    convolutions, denses = network(start)
    factors = []
    for k in range(len(denses)):
        kept = (gradients[f"V of dense {k}"] != 0).any(axis=0)
        assert 0 < kept.sum() < len(kept)
        factors.append(kept[np.newaxis] / (1 - dropout))
    for name, array in arrays(convolutions, denses).items():
        direction = np.random.RandomState(0).randn(*array.shape)
        of_oracle = x, np.array([1]), np.ones(1), convolutions, denses
        size = max(np.linalg.norm(gradients[name]), 1e-2)
        step = 1e-6 / max(1, size / 10)  # of the loss, whatever the size of the inputs
        expected = slope(*of_oracle, array, direction, step, alpha=0.0, factors=factors)
        assert abs((gradients[name] * direction).sum() - expected) < 1e-6 * size, name


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_dropout_is_the_part_that_is_left_out(kernels, dropout):
    params = {"n_filters": (2, 50), "hidden_layer_sizes": (400,)}
    _, _, gradients = step_on_one_image(dropout, **params)
    for k in range(2):
        V = gradients[f"V of dense {k}"]
        left_out = 1 - (V != 0).any(axis=0)
        tolerance = 4.5 * np.sqrt(dropout * (1 - dropout) / len(left_out))
        assert abs(left_out.mean() - dropout) < tolerance


def test_each_sample_and_each_step_have_inputs_of_their_own_left_out(kernels):
    X = np.abs(problem((6, 5), n=20)[0]) + 0.1
    y = np.arange(20) % 2
    params = {"n_filters": 4, "K": 1, "pool_size": 1, "hidden_layer_sizes": (), "alpha": 0.0}
    start = short(**params, max_iter=0).fit(X, y)
    start.filters_[...] = np.abs(start.filters_)
    start.set_params(dropout=0.5)
    V = one_step(start, X, y, None)["V of dense 0"]
    assert (V != 0).all()  # an input is left out of half of the samples, and not of all

    start.set_params(batch_size=1, solver="sgd", sampling="sequential", eta=1e-9)
    apart = copy.deepcopy(start).partial_fit(X, y)
    assert (apart.coefs_[0] != start.coefs_[0]).all()


# Freezing


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("freeze", ["filters", "dense"])
def test_frozen_layers_keep_their_initial_values(kernels, freeze, solver):
    X, y, _ = problem()
    params = {"n_filters": (2, 3), "hidden_layer_sizes": (4, 3), "alpha": 0.5, "solver": solver}
    model = short(**params, freeze=freeze).fit(X, y)
    initial = weights(short(**params, max_iter=0).fit(X, y))
    for name, array in weights(model).items():
        kept = name.startswith("filter" if freeze == "filters" else ("coefs", "intercepts"))
        assert (array == initial[name]).all() == kept, name


def test_freezing_and_thawing_between_calls():
    X, y, _ = problem()
    model = short().fit(X, y).set_params(freeze="filters")
    before = weights(copy.deepcopy(model))
    for name, array in weights(model.partial_fit(X, y)).items():
        assert (array == before[name]).all() == name.startswith("filter"), name
    before = weights(copy.deepcopy(model))
    for name, array in weights(model.set_params(freeze=None).partial_fit(X, y)).items():
        assert (array != before[name]).any(), name


def test_no_intercepts():
    X, y, _ = problem()
    model = short(fit_intercept=False).fit(X, y)
    for intercept in (*model.filter_intercept_, *model.intercepts_):
        assert_array_equal(intercept, 0)


def test_the_penalty_shrinks_all_layers():
    X, y, _ = problem()
    free, penalised = (short(alpha=alpha, max_iter=100).fit(X, y) for alpha in (0.0, 1.0))
    for name in ("filters_", "coefs_"):
        for W, shrunk in zip(getattr(free, name), getattr(penalised, name), strict=True):
            assert np.linalg.norm(shrunk) < 0.5 * np.linalg.norm(W)


# Going on, copies and weights of samples


@pytest.mark.parametrize(
    "params",
    [{}, {"solver": "sgd", "momentum": 0.9}, {"freeze": "filters"}, {"fit_intercept": False}],
    ids=str,
)
def test_fit_is_as_many_partial_fits(kernels, params):
    X, y, s = problem()
    params = {**params, "sampling": "sequential", "batch_size": 16}
    whole = short(**params).fit(X, y, sample_weight=s)
    stepwise = short(**params)
    for _ in range(3):
        stepwise.partial_fit(X, y, classes=[0, 1, 2], sample_weight=s)
    assert_same_weights(whole, stepwise)
    assert whole.loss_curve_ == stepwise.loss_curve_
    assert (whole.n_iter_, whole.t_) == (stepwise.n_iter_, stepwise.t_)


def test_warm_start_goes_on_with_the_weights():
    X, y, _ = problem()
    model = short(warm_start=True).fit(X, y)
    initial = model.initial_filters_
    before = weights(copy.deepcopy(model))
    model.set_params(max_iter=0).fit(X, y)
    for name, array in weights(model).items():
        assert_array_equal(array, before[name], err_msg=name)
    model.set_params(max_iter=2, dropout=0.5).fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 5
    assert model.t_ == 5 * len(y)
    for W, drawn in zip(model.initial_filters_, initial, strict=True):
        assert_array_equal(W, drawn)


@pytest.mark.parametrize("kind", [list, np.array, lambda sizes: np.array(sizes, object)])
def test_sizes_may_be_in_any_sequence(kind):
    X, y, _ = problem()
    params = {"n_filters": (4, 6), "K": (3, 2), "pool_size": (1, 2), "hidden_layer_sizes": (5, 4)}
    expected = short(**params).fit(X, y)
    sequences = {name: kind(sizes) for name, sizes in params.items()}
    model = clone(short(**sequences, warm_start=True)).fit(X, y)
    assert_same_weights(model, expected)
    assert isinstance(model.filters_, list)
    again = pickle.loads(pickle.dumps(model)).fit(X, y)
    assert again.n_iter_ == 2 * model.n_iter_
    with pytest.raises(ValueError, match=r"K=.*, but the model to go on with has K=\(3, 2\)"):
        model.set_params(K=kind((3, 3))).fit(X, y)


def test_sizes_may_be_ranges_and_one_entry_makes_a_list():
    X, y, _ = problem()
    model = short(n_filters=range(2, 4), K=range(2, 4), hidden_layer_sizes=range(3, 1, -1))
    assert_same_weights(
        model.fit(X, y), short(n_filters=(2, 3), K=(2, 3), hidden_layer_sizes=(3, 2)).fit(X, y)
    )
    assert len(short(n_filters=np.array([2]), K=3, pool_size=1).fit(X, y).filters_) == 1
    search = GridSearchCV(
        short(K=1, pool_size=1, max_iter=1),
        {"n_filters": [*np.array([[2, 3], [3, 2]])], "hidden_layer_sizes": np.array([2, 3])},
        cv=2,
    )
    assert len(search.fit(X, y).cv_results_["params"]) == 4


@pytest.mark.parametrize(
    "sizes",
    [np.array([2.0, 3.0]), np.array([[2, 3]]), np.array(2.5), np.array([]), {2, 3}, "23"],
    ids=repr,
)
@pytest.mark.parametrize("name", ["n_filters", "K", "pool_size"])
def test_what_is_no_sequence_of_sizes_is_refused(name, sizes):
    X, y, _ = problem()
    with pytest.raises(ValueError, match=name):
        short(**{"n_filters": (2, 3), "K": 1, "pool_size": 1, name: sizes}).fit(X, y)


@pytest.mark.parametrize(
    "params",
    [
        {"n_filters": (3,), "pool_size": 2},
        {"n_filters": (3, 5)},
        {"n_filters": (3, 4, 4), "pool_size": (2, 1, 1)},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (6,)},
        {"hidden_layer_sizes": (5, 5)},
        {"K": 5},
        {"K": (3, 2)},
        {"pool_size": 1},
        {"pool_size": (2, "global")},
    ],
    ids=str,
)
def test_going_on_with_another_network_is_refused(params):
    X, y, _ = problem()
    model = short(warm_start=True).fit(X, y).set_params(**params)
    before = pickle.dumps(vars(model))
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"{[*params][0]}="):
            call(X, y)
        assert pickle.dumps(vars(model)) == before
    model.set_params(warm_start=False).fit(X, y)


@pytest.mark.parametrize(
    "copied",
    [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy, copy.copy],
    ids=["pickle", "deepcopy", "copy"],
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_copies_go_on_as_the_original(copied, dropout):
    X, y, _ = problem()
    model = short(dropout=dropout, batch_size=16).fit(X, y)
    other = copied(model)
    P = model.predict_proba(X)
    assert_array_equal(other.predict_proba(X), P)
    if copied is copy.copy:  # it shares the random numbers
        other.partial_fit(X, y)
        assert_array_equal(model.predict_proba(X), P)
        assert (model.n_iter_, other.n_iter_) == (3, 4)
    else:
        assert_same_weights(model.partial_fit(X, y), other.partial_fit(X, y))


def test_clones_are_unfitted():
    X, y, _ = problem()
    model = short(dropout=0.3, pool_size=(2, "global")).fit(X, y)
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "coefs_")
    assert_same_weights(fresh.fit(X, y), model)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_model_of_float32_stays_float32(kernels, dropout):
    X, y, s = problem()
    model = short(dropout=dropout).fit(X.astype(np.float32), y, sample_weight=s)
    for _ in range(2):
        for name, array in weights(model).items():
            assert array.dtype == np.float32, name
        assert {W.dtype for W in model.initial_filters_} == {np.dtype(np.float32)}
        for method in (model.predict_proba, model.decision_function, model.feature_maps):
            assert method(X).dtype == np.float32
        assert model.feature_maps(X, layer=1).dtype == np.float32
        model.partial_fit(X, y)
    in_float64 = short(dropout=dropout).fit(X, y, sample_weight=s)
    assert in_float64.coefs_[0].dtype == np.float64


def test_weights_act_as_repetitions(kernels):
    X, y, _ = problem()
    repeats = np.random.RandomState(0).randint(0, 4, size=len(y))
    weighted = short(batch_size=10_000).fit(X, y, sample_weight=repeats)
    repeated = short(batch_size=10_000).fit(X.repeat(repeats, axis=0), y.repeat(repeats))
    assert_close_weights(weighted, repeated, 1e-8)
    assert_allclose(weighted.loss_curve_, repeated.loss_curve_)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_early_stopping_keeps_the_best_weights(n_classes):
    X, y, _ = problem(n_classes=n_classes, n=60)
    params = {"early_stopping": True, "n_iter_no_change": 4, "max_iter": 200, "eta": 0.05}
    model = short(**params, tol=1e-4).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    assert 4 < model.n_iter_ < 200
    P = model.predict_proba(X[40:])
    loss = -np.log(P[np.arange(20), y[40:]]).mean()
    assert_allclose(loss, min(model.validation_loss_curve_))


def test_grid_search_over_the_number_of_layers(digits):
    grid = {
        "convnetclassifier__n_filters": [(2,), (2, 3)],
        "convnetclassifier__hidden_layer_sizes": [(), (4,)],
        "convnetclassifier__dropout": [0.0, 0.1],
    }
    pipeline = make_pipeline(ImageScaler(), short(pool_size=1, max_iter=20))
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*digits)
    assert search.best_score_ > 0.9
    best = search.best_estimator_[-1]
    assert len(best.filters_) == len(search.best_params_["convnetclassifier__n_filters"])


# Failures


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_failed_call_leaves_the_model(kernels, method, dropout):
    X, y, _ = problem()
    fitted = short(dropout=dropout).fit(X, y)
    with_nan = np.where(np.arange(len(y)) == 5, np.nan, y)
    classes = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    for model in (fitted, short(dropout=dropout)):
        for params, labels, message in (
            ({}, with_nan, "NaN"),
            ({"eta": 1e300}, y, "Training diverged"),
            ({"eta": 1e300, "solver": "sgd"}, y, "Training diverged"),
        ):
            model.set_params(**params)
            before = pickle.dumps(vars(model))
            with pytest.raises(ValueError, match=message):
                getattr(model, method)(X, labels, **classes)
            assert pickle.dumps(vars(model)) == before
    model = fitted.set_params(eta=0.01, solver="adam")
    assert_same_weights(model, short(dropout=dropout).fit(X, y))
    others = short(dropout=dropout).fit(X, y).partial_fit(X, y)
    assert_same_weights(model.partial_fit(X, y), others)


@pytest.mark.parametrize("value", [True, False])
def test_a_switch_may_be_a_bool_of_numpy(kernels, value):
    X, y = np.random.RandomState(0).randn(40, 6, 6), np.arange(40) % 2
    params = {"n_filters": (2, 3), "hidden_layer_sizes": (4,)}
    model, as_numpy = (
        short(fit_intercept=kind(value), **params).fit(X, y) for kind in (bool, np.bool_)
    )
    assert model.intercepts_[0].any() == value
    for name in ("filters_", "filter_intercept_", "coefs_", "intercepts_"):
        for array, other in zip(getattr(model, name), getattr(as_numpy, name)):
            assert_array_equal(array, other)
