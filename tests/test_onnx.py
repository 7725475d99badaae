"""Exported networks compute what skcnn computes; ``python tests/test_onnx.py 1000`` tries 1,000."""

import sys
from math import prod

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler
from skcnn.onnx import register_converters, to_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx.reference import ReferenceEvaluator  # noqa: E402

OPTIONS = {"tol": None, "max_iter": 1, "random_state": 0}


def run(exported, X):
    """Return the outputs of onnxruntime by name."""
    onnx.checker.check_model(exported, full_check=True)
    session = onnxruntime.InferenceSession(
        exported.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X})))


def random_case(random_state):
    """Return a fitted network, alone or behind a scaler, and images."""

    def choose(*options):
        return options[random_state.randint(len(options))]

    def each(*options):
        return tuple(choose(*options) for _ in range(n_layers))

    n_layers = choose(1, 2, 3)
    H, W = choose((8, 8), (9, 7), (5, 12), (1, 23), (17, 1))
    shape = (H, W, choose(1, 2, 3)) if choose(True, False) else (H, W)
    n, dtype = 12, choose(np.float32, np.float64)
    X = random_state.normal(3, 2, size=(n, *shape)).astype(dtype)
    options = {
        **OPTIONS,
        "n_filters": each(1, 1, 2, 3, 5),
        "K": each(*range(1, 12)),
        "pool_size": each(1, 1, 2, 2, 3, "global"),
        "hidden_layer_sizes": choose((), (), 4, (5, 3)),
        "fit_intercept": choose(True, True, False),
        "dropout": choose(0, 0.5),
        "image_shape": shape,
    }
    if n_layers == 1 and choose(True, False):
        options |= {name: options[name][0] for name in ("n_filters", "K", "pool_size")}
    n_outputs = choose(2, 3, 5)
    kind = choose("classes", "strings", "labels", "one target", "targets")
    y = np.arange(n) % n_outputs
    if kind == "strings":
        y = np.array(["one", "two", "three", "four", "äöü"])[y]
    elif kind == "labels":
        y = random_state.randint(2, size=(n, n_outputs))
        y[:2] = [[0], [1]]
    elif kind in ("one target", "targets"):
        y = random_state.normal(size=n if kind == "one target" else (n, n_outputs))
    model = (ConvNetRegressor if "target" in kind else ConvNetClassifier)(**options)
    model = choose(
        model,
        make_pipeline(ImageScaler(per=choose("pixel", "channel"), image_shape=shape), model),
    )
    layout = choose(shape, (prod(shape),), *[shape[1:]] * (len(shape) == 3 and H == 1))
    X = X.reshape(n, *layout)
    network = model.fit(X, y)[-1] if isinstance(model, Pipeline) else model.fit(X, y)
    if options["fit_intercept"]:
        intercepts = network.filter_intercept_
        intercepts = intercepts if isinstance(intercepts, list) else [intercepts]
        for b in intercepts + network.intercepts_:
            b[...] = random_state.normal(size=b.shape)
    return model, X


def check(model, X, outputs, tolerance):
    """Compare outputs with those of a model."""
    if hasattr(model, "predict_proba"):
        P, y = model.predict_proba(X), model.predict(X)
        assert_allclose(outputs["probabilities"], P, rtol=0, atol=tolerance)
        clear = np.abs(P - 0.5) if y.ndim == 2 else np.diff(np.sort(P, axis=1)[:, -2:])[:, 0]
        clear = clear > 2 * tolerance
        assert_array_equal(outputs["label"][clear], y[clear])
        assert outputs["label"].shape == y.shape
    else:
        y = model.predict(X)
        assert outputs["variable"].shape == y.shape
        assert_allclose(outputs["variable"], y, rtol=0, atol=tolerance * max(1, np.abs(y).max()))


def check_random_cases(n, seed=0):
    for number in range(n):
        model, X = random_case(np.random.RandomState([seed, number]))
        try:
            check(model, X, run(to_onnx(model), X.astype(np.float32)), 1e-5)
            exact = to_onnx(model, dtype=np.float64)
            onnx.checker.check_model(exact, full_check=True)
            names = [output.name for output in exact.graph.output]
            outputs = ReferenceEvaluator(exact).run(None, {"X": X.astype(np.float64)})
            tolerance = 1e-12 if X.dtype == np.float64 else 1e-5
            check(model, X, dict(zip(names, outputs)), tolerance)
        except Exception as error:
            error.add_note(f"case {number}: {model!r}, X of shape {X.shape}, {X.dtype}")
            raise


def test_random_networks():
    check_random_cases(60)


@pytest.fixture(scope="module")
def fitted(digits):
    images, target = digits
    model = make_pipeline(ImageScaler(), ConvNetClassifier(n_filters=2, pool_size=2, **OPTIONS))
    return model.fit(images, target)


def of_input(exported):
    """Return the name, the type and the shape of the input of a model."""
    (given,) = exported.graph.input
    kind = given.type.tensor_type
    shape = tuple(side.dim_param or side.dim_value for side in kind.shape.dim)
    return given.name, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type), shape


def test_the_input_is_that_of_fit(digits, fitted):
    images, target = digits
    assert of_input(to_onnx(fitted)) == ("X", np.float32, ("n", 8, 8))
    rows = make_pipeline(ImageScaler(), ConvNetClassifier(**OPTIONS))
    rows.fit(images.reshape(-1, 64), target)
    assert of_input(to_onnx(rows)) == ("X", np.float32, ("n", 64))
    signals = ConvNetClassifier(image_shape=(1, 8, 8), **OPTIONS).fit(images, target)
    assert of_input(to_onnx(signals)) == ("X", np.float32, ("n", 8, 8))


def test_another_input(digits, fitted):
    images, _ = digits
    exported = to_onnx(fitted, input_dtype=np.uint8, input_shape=(64,))
    assert of_input(exported) == ("X", np.uint8, ("n", 64))
    bytes_of_files = images.astype(np.uint8)
    check(fitted, bytes_of_files, run(exported, bytes_of_files.reshape(-1, 64)), 1e-5)
    exported = to_onnx(fitted, input_shape=(8, 8, 1))
    check(fitted, images, run(exported, images[..., np.newaxis].astype(np.float32)), 1e-5)


def test_any_number_of_images(digits, fitted):
    images, _ = digits
    exported = to_onnx(fitted)
    for n in (0, 1, 7):
        outputs = run(exported, images[:n].astype(np.float32))
        assert outputs["label"].shape == (n,)
        assert outputs["probabilities"].shape == (n, 2)


@pytest.mark.parametrize(
    "labels, dtype",
    [
        *[([1, 3], kind) for kind in ("i8", "i2", "u1", "f8", "f4")],
        ([False, True], bool),
        *[(["one", "three"], kind) for kind in ("U5", object)],
    ],
)
def test_labels(digits, labels, dtype):
    images, target = digits
    model = ConvNetClassifier(**OPTIONS).fit(images, np.array(labels, dtype)[(target == 3) * 1])
    label = run(to_onnx(model), images.astype(np.float32))["label"]
    assert label.dtype == (object if isinstance(labels[0], str) else np.int64)
    assert_array_equal(label, model.predict(images))


def test_the_most_probable_label_is_the_first_of_equals(digits):
    images, target = digits
    for y in (target, images[:, 2, 2].astype(int) % 3, np.stack([target == 1] * 2, 1).astype(int)):
        model = ConvNetClassifier(**OPTIONS).fit(images, y)
        model.coefs_[0][...] = model.intercepts_[0][...] = 0
        label = run(to_onnx(model), images.astype(np.float32))["label"]
        assert_array_equal(label, model.predict(images))


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels"])
def test_small_probabilities_are_exact(digits, fitted, kind):
    X, y = digits
    if kind != "classes":
        y = (X.reshape(len(X), -1)[:, [20, 30]] > 8).astype(int)
        fitted = clone(fitted).fit(X, y if kind == "labels" else y[:, 0])
    X = 10 * X.astype(np.float32)
    P = fitted.predict_proba(X)
    assert P.min() < 1e-12
    assert_allclose(run(to_onnx(fitted), X)["probabilities"], P, rtol=1e-3, atol=1e-37)


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (30,)])
def test_scaler(per, shape, with_mean, with_std):
    X = np.random.RandomState(0).normal(100, 20, size=(9, *shape))
    scaler = ImageScaler(per=per, with_mean=with_mean, with_std=with_std).fit(X)
    exported = to_onnx(scaler, dtype=np.float64)
    assert of_input(exported) == ("X", np.float64, ("n", *shape))
    assert_array_equal(run(exported, X)["variable"], scaler.transform(X))
    if per == "channel":  # not a number for each pixel
        assert sum(prod(array.dims) for array in exported.graph.initializer) <= 2 * 3


def test_images_are_scaled_in_double_precision(digits):
    images, target = digits
    far = images + 1e6  # a step of float32 is 0.06 there
    model = make_pipeline(ImageScaler(per="channel"), ConvNetClassifier(**OPTIONS))
    model.fit(far, target)
    check(model, far, run(to_onnx(model, input_dtype=np.float64), far), 1e-5)
    rounded = far.astype(np.float32)
    check(model, rounded.astype(np.float64), run(to_onnx(model), rounded), 1e-5)


def test_scaler_of_scikit_learn_and_nested_pipelines(digits):
    images, target = digits
    rows = images.reshape(-1, 64)
    model = make_pipeline(
        make_pipeline(StandardScaler(), "passthrough"), None, ConvNetClassifier(**OPTIONS)
    )
    model.fit(rows, target)
    check(model, rows, run(to_onnx(model), rows.astype(np.float32)), 1e-5)


def test_what_cannot_be_exported(digits, fitted):
    images, target = digits
    rows = images.reshape(-1, 64)
    for estimator in (ConvNetClassifier(), ImageScaler(), make_pipeline(ConvNetRegressor())):
        with pytest.raises(NotFittedError, match="is not fitted"):
            to_onnx(estimator)
    with pytest.raises(TypeError, match=r"estimator is a PCA.*register_converters\(\).*skl2onnx"):
        to_onnx(PCA().fit(rows))
    pipeline = Pipeline([("reduce", PCA(9)), ("net", ConvNetClassifier(**OPTIONS))])
    with pytest.raises(TypeError, match=r"step 'reduce' is a PCA.*skl2onnx"):
        to_onnx(pipeline.fit(rows, target))
    with pytest.raises(TypeError, match=r"step 'net' is a network, which must be the last"):
        to_onnx(Pipeline([("net", fitted[-1]), ("more", fitted[0])]))
    with pytest.raises(TypeError, match="no step"):
        to_onnx(make_pipeline("passthrough"))
    for dtype in (np.float16, int, None, "no"):
        with pytest.raises(ValueError, match=r"^dtype=.* must be one of float32, float64"):
            to_onnx(fitted, dtype=dtype)
    with pytest.raises(ValueError, match=r"input_dtype='<U3' must be one of float32.*uint64"):
        to_onnx(fitted, input_dtype="<U3")
    for shape in ((4, 4), (2, 2, 4, 4), 63, "no", (8.0, 8)):
        with pytest.raises(ValueError, match=r"input_shape=.* must be \(H, W\).* 64 values"):
            to_onnx(fitted, input_shape=shape)
    with pytest.raises(ValueError, match=r"images of shape \(4, 16\)"):
        to_onnx(fitted, input_shape=(4, 16))
    huge = ConvNetClassifier(**OPTIONS).fit(
        images, np.where(target == 1, np.uint64(2**63), np.uint64(3))
    )
    with pytest.raises(ValueError, match=r"classes_=\[3, 9223372036854775808\].*LabelEncoder"):
        to_onnx(huge)


def test_without_the_libraries(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)  # as if it were not installed
    with pytest.raises(ImportError, match="register_converters .*: pip install skl2onnx"):
        register_converters()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        to_onnx(fitted)


def convert(model, X, by_type=None, **options):
    """Convert by skl2onnx, without its zipmap, and return the outputs of onnxruntime."""
    skl2onnx = pytest.importorskip("skl2onnx")
    register_converters()
    options = {"zipmap": False, **options} if hasattr(model, "classes_") else None
    return run(skl2onnx.to_onnx(model, X[:1], options=by_type or options), X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(8, 8), (64,), (4, 8, 2)])
@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_skl2onnx_takes_images_and_rows(digits, dtype, shape, per):
    images, target = digits
    X = images.reshape(-1, *shape).astype(dtype)
    model = make_pipeline(ImageScaler(per=per), ConvNetClassifier(n_filters=2, **OPTIONS))
    outputs = convert(model.fit(X, target), X)
    assert outputs["probabilities"].dtype == dtype
    check(model, X, outputs, 1e-5)


def several_classes(digits):
    images, target = digits
    return images.astype(np.float32), np.where(images[:, 2, 2] > 8, 7, target)


@pytest.mark.parametrize("kind", ["two", "three", "strings", "labels"])
def test_skl2onnx_converts_classifiers(digits, kind):
    X, y = several_classes(digits)
    y = {
        "two": digits[1],
        "three": y,
        "strings": np.array([f"a {label}" for label in y]),
        "labels": np.stack([y == 1, y == 7], axis=1).astype(int),
    }[kind]
    model = ConvNetClassifier(n_filters=2, **OPTIONS).fit(X, y)
    check(model, X, convert(model, X), 1e-5)
    T = model.decision_function(X)
    T = np.stack([-T, T], axis=1) if kind == "two" else T
    raw = convert(model, X, raw_scores=True)
    assert_allclose(raw["probabilities"], T, atol=1e-4)
    if kind != "labels":
        indices = np.searchsorted(model.classes_, convert(model, X)["label"])
        assert_array_equal(convert(model, X, nocl=True)["label"], indices)


@pytest.mark.parametrize("n_targets", [None, 1, 3])
def test_skl2onnx_converts_regressors(digits, n_targets):
    images, target = digits
    X = images.astype(np.float32)
    y = target if n_targets is None else np.stack([target] * n_targets, axis=1)
    model = make_pipeline(ImageScaler(), ConvNetRegressor(**OPTIONS)).fit(X, y)
    (found,) = convert(model, X).values()
    assert found.shape == (len(X), n_targets or 1)
    assert_allclose(found, model.predict(X).reshape(found.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("several", [False, True])
def test_skl2onnx_converts_a_calibrated_classifier(digits, method, several):
    X, y = several_classes(digits) if several else (digits[0].astype(np.float32), digits[1])
    network = ConvNetClassifier(n_filters=2, **OPTIONS)
    model = CalibratedClassifierCV(network, method=method, cv=2).fit(X, y)
    found = convert(model, X)["probabilities"]
    # Of isotonic regression skl2onnx takes the nearest threshold, and does not interpolate.
    tolerance = 1e-5 if method == "sigmoid" else 0.5
    assert_allclose(found, model.predict_proba(X), atol=tolerance)


def test_skl2onnx_converts_a_calibrated_pipeline(digits):
    X, y = several_classes(digits)
    network = ConvNetClassifier(n_filters=2, **OPTIONS)
    model = CalibratedClassifierCV(make_pipeline(ImageScaler(), network), cv=2).fit(X, y)
    options = {
        CalibratedClassifierCV: {"zipmap": False},
        ConvNetClassifier: {"zipmap": False, "raw_scores": True},
    }
    check(model, X, convert(model, X, options), 1e-5)


def test_skl2onnx_converts_what_has_networks_as_parts(digits):
    X, y = several_classes(digits)
    network = ConvNetClassifier(n_filters=2, **OPTIONS)
    rows = X.reshape(len(X), -1)
    scaled = make_pipeline(MinMaxScaler(), network)
    voting = VotingClassifier(
        [("a", network), ("b", LogisticRegression(C=0.001))], voting="soft", flatten_transform=False
    )
    search = GridSearchCV(network, {"K": [1, 3]}, cv=2)
    for model in (scaled, voting, search, OneVsRestClassifier(network)):
        check(model.fit(rows, y), rows, convert(model, rows), 1e-5)
    regressors = VotingRegressor([("a", ConvNetRegressor(**OPTIONS))]).fit(rows, y)
    (found,) = convert(regressors, rows).values()
    assert_allclose(found[:, 0], regressors.predict(rows), rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    check_random_cases(int(sys.argv[1]))
    print(f"{sys.argv[1]} networks agree")
