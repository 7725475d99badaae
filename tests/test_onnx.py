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


def types(exported):
    """Return the dtype of each value of a graph by name."""
    graph = onnx.shape_inference.infer_shapes(exported).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    kinds |= {array.name: array.data_type for array in graph.initializer}
    return {name: onnx.helper.tensor_dtype_to_np_dtype(kind) for name, kind in kinds.items()}


def operators(exported):
    return [node.op_type for node in exported.graph.node]


def check_graph(exported, is_network=True):
    """Check that no node does nothing, and that images get their channels before all else."""
    kinds = types(exported)
    for node in exported.graph.node:
        assert node.op_type != "Identity"
        if node.op_type == "Cast":
            assert kinds[node.input[0]] != kinds[node.output[0]], node
    if is_network:
        assert operators(exported)[0] == "Reshape"  # else onnx2tf transposes square images


def check_random_cases(n, seed=0):
    for number in range(n):
        model, X = random_case(np.random.RandomState([seed, number]))
        try:
            exported = to_onnx(model)
            check_graph(exported)
            assert np.float64 not in types(exported).values()
            check(model, X, run(exported, X.astype(np.float32)), 1e-5)
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


@pytest.mark.parametrize("label", ["index", None])
@pytest.mark.parametrize("kind", ["strings", "integers", "indices", "two", "huge", "labels"])
def test_labels_as_indices_or_none(digits, kind, label):
    X, y = several_classes(digits)
    y = {
        "strings": np.array(["b", "a", "c"])[np.unique(y, return_inverse=True)[1]],
        "integers": y,
        "indices": np.unique(y, return_inverse=True)[1],
        "two": np.array(["one", "three"])[(y == 1) * 1],
        "huge": np.where(y == 1, np.uint64(2**63), np.uint64(3)),
        "labels": np.stack([y == 1, y == 7], axis=1).astype(int),
    }[kind]
    model = ConvNetClassifier(n_filters=2, **OPTIONS).fit(X, y)
    exported = to_onnx(model, label=label)
    assert all(array.data_type != onnx.TensorProto.STRING for array in exported.graph.initializer)
    assert operators(exported).count("ArgMax") == (label == "index")
    outputs = run(exported, X)
    assert_allclose(outputs["probabilities"], model.predict_proba(X), atol=1e-5)
    if label is None:
        assert [*outputs] == ["probabilities"]
    else:
        found, expected = outputs["label"], model.predict(X)
        assert found.dtype == np.int64
        assert_array_equal(found if kind == "labels" else model.classes_[found], expected)


def test_labels_that_are_their_indices_are_not_looked_up(digits):
    images, target = digits
    model = ConvNetClassifier(**OPTIONS).fit(images, target)
    assert operators(to_onnx(model)).count("Gather") == 1
    assert operators(to_onnx(model, label="index")).count("Gather") == 0
    model.fit(images, (target == 1) * 1)
    assert operators(to_onnx(model)).count("Gather") == 0


def test_an_unknown_label_is_refused(digits, fitted):
    images, target = digits
    regressor = ConvNetRegressor(**OPTIONS).fit(images, target)
    for label in ("names", True, 0, ["index"], np.array(["name", "index"])):
        with pytest.raises(ValueError, match=r'^label=.* must be "name", "index" or None\.'):
            to_onnx(fitted, label=label)
    for estimator, name in ((regressor, "ConvNetRegressor"), (fitted[0], "ImageScaler")):
        with pytest.raises(ValueError, match=f"^label='index', but a {name} has no classes"):
            to_onnx(estimator, label="index")
        assert operators(to_onnx(estimator, label=None)) == operators(to_onnx(estimator))


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "target", "targets"])
def test_nodes_that_compute_outputs_have_their_names(digits, kind):
    X, y = several_classes(digits)
    y = {
        "classes": y,
        "two classes": digits[1],
        "labels": np.stack([y == 1, y == 7], axis=1).astype(int),
        "target": y / 2,
        "targets": np.stack([y / 2] * 3, axis=1),
    }[kind]
    model = (ConvNetRegressor if "target" in kind else ConvNetClassifier)(**OPTIONS).fit(X, y)
    exported = to_onnx(model)
    nodes = {node.output[0]: node.op_type for node in exported.graph.node}
    computed = {output.name: nodes[output.name] for output in exported.graph.output}
    assert (
        computed
        == {
            "classes": {"label": "Gather", "probabilities": "Softmax"},
            "two classes": {"label": "Gather", "probabilities": "Softmax"},
            "labels": {"label": "ArgMax", "probabilities": "Gather"},
            "target": {"variable": "Reshape"},  # (n, 1) to (n,)
            "targets": {"variable": "Gemm"},
        }[kind]
    )
    assert "MatMul" not in nodes.values()  # tract refuses that of a batch of one
    assert all(node.name == node.output[0] for node in exported.graph.node)


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


EXACT_IN_FLOAT32 = ("f4", "f2", "?", "i1", "u1", "i2", "u2")
WIDER = ("f8", "i4", "u4", "i8", "u8")


def scores(X, mean, scale):
    """Return the standard scores of X, computed in double precision."""
    return (X.astype(np.float64) - mean) / scale


@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("ratio", [0, 1, 1e2, 1e4, 1e6])
def test_a_scaler_in_float32_is_exact(per, ratio):
    X = np.random.RandomState(0).normal(ratio, 1, size=(50, 6, 5, 3)).astype(np.float32)
    scaler = ImageScaler(per=per).fit(X.astype(np.float64))
    exported = to_onnx(scaler)
    assert {*types(exported).values()} == {np.dtype(np.float32)}
    assert operators(exported) == ["Sub", "Sub", "Div"]
    expected = scores(X, scaler.mean_, scaler.scale_)
    # By less where a score is nearly 0, as the sum of two float32 has 48 bits of the mean.
    assert_allclose(run(exported, X)["variable"], expected, rtol=6e-7, atol=ratio * 2.0**-47)
    if per == "channel":
        assert sum(prod(array.dims) for array in exported.graph.initializer) == 3 * 3


@pytest.mark.parametrize("dtype", [*EXACT_IN_FLOAT32, *WIDER])
def test_the_type_of_images_decides_in_which_a_scaler_is_computed(digits, dtype):
    images, target = digits
    images = images.reshape(-1, 4, 8, 2)  # with a Transpose of each type
    X = (images > 8 if dtype == "?" else images).astype(dtype)
    if dtype in WIDER:
        X = X + X.dtype.type(2**24)  # beyond what float32 has exactly
    model = make_pipeline(ImageScaler(), ConvNetClassifier(**OPTIONS))
    model.fit(X.astype(np.float64), target)
    scaler = model[0]
    for step, is_network in ((model, True), (scaler, False)):
        exported = to_onnx(step, input_dtype=dtype)
        check_graph(exported, is_network)
        assert (np.float64 in types(exported).values()) == (dtype in WIDER)
    expected = scores(X, scaler.mean_, scaler.scale_)
    assert_allclose(run(exported, X)["variable"], expected, rtol=6e-7, atol=1e-12)
    check(model, X.astype(np.float64), run(to_onnx(model, input_dtype=dtype), X), 1e-5)
    exact = run(to_onnx(scaler, dtype=np.float64, input_dtype=dtype), X)["variable"]
    assert_allclose(exact, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_a_scaler_has_the_nodes_that_it_needs(with_mean, with_std):
    X = np.random.RandomState(0).normal(3, 2, size=(9, 6, 5))
    scaler = ImageScaler(with_mean=with_mean, with_std=with_std).fit(X)
    exported = to_onnx(scaler)
    nodes = ["Sub", "Sub"] * with_mean + ["Div"] * with_std
    assert operators(exported) == (nodes or ["Identity"])
    assert_allclose(
        run(exported, X.astype("f4"))["variable"], scaler.transform(X), rtol=1e-6, atol=1e-6
    )
    whole = ImageScaler(with_std=False).fit(np.stack([np.zeros((2, 2)), np.full((2, 2), 6)]))
    assert operators(to_onnx(whole)) == ["Sub"]  # a mean of 3 is one float32


def test_scalers_in_a_row_are_one():
    X = np.random.RandomState(0).normal(1e6, 1, size=(50, 4, 5)).astype(np.float32)
    scalers = make_pipeline(
        ImageScaler(with_mean=False), ImageScaler(per="channel"), ImageScaler(with_std=False)
    )
    scalers.fit(X.astype(np.float64))
    exported = to_onnx(scalers)
    assert operators(exported) == ["Sub", "Sub", "Div"]
    expected = scalers.transform(X.astype(np.float64))
    assert_allclose(run(exported, X)["variable"], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [1e-42, 1e42])
def test_a_scaler_beyond_the_range_of_float32_is_computed_in_float64(size):
    X = size * np.random.RandomState(0).normal(size=(50, 4, 5))
    scaler = ImageScaler().fit(X)
    exported = to_onnx(scaler)
    assert np.float64 in types(exported).values()
    X = X.astype(np.float32) if size < 1 else np.ones((50, 4, 5), np.float32)
    expected = scores(X, scaler.mean_, scaler.scale_)
    assert_allclose(run(exported, X)["variable"], expected, rtol=1e-6)


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
    with pytest.raises(
        ValueError, match=r'classes_=\[3, 9223372036854775808\].*LabelEncoder.*label="index"'
    ):
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


@pytest.mark.parametrize("shape", [(8, 8), (64,), (4, 8, 2)])
def test_skl2onnx_scales_float32_in_float32(digits, shape):
    skl2onnx = pytest.importorskip("skl2onnx")
    register_converters()
    X = (digits[0].reshape(-1, *shape) + 1e4).astype(np.float32)
    scaler = ImageScaler().fit(X.astype(np.float64))
    exported = skl2onnx.to_onnx(scaler, X[:1])
    assert np.float64 not in types(exported).values()
    expected = scores(X, scaler.mean_, scaler.scale_)
    assert_allclose(run(exported, X)["variable"], expected, rtol=1e-6, atol=1e-10)


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
    voting = VotingClassifier([("a", network), ("b", LogisticRegression(C=0.001))], voting="soft")
    search = GridSearchCV(network, {"K": [1, 3]}, cv=2)
    for model in (scaled, voting, search, OneVsRestClassifier(network)):
        check(model.fit(rows, y), rows, convert(model, rows), 1e-5)


@pytest.mark.parametrize("weights", [None, [1, 2, 3], np.array([1, 2, 3])])
@pytest.mark.parametrize("dropped", [None, "a", "b"])
def test_skl2onnx_converts_voting_estimators(digits, weights, dropped):
    X, y = several_classes(digits)
    X = X.reshape(len(X), -1)

    def parts(estimator):
        return [(name, clone(estimator).set_params(random_state=k)) for k, name in enumerate("abc")]

    classifiers = parts(ConvNetClassifier(n_filters=2, **OPTIONS))
    regressors = VotingRegressor(parts(ConvNetRegressor(**OPTIONS)), weights=weights)
    models = [
        *(VotingClassifier(classifiers, voting=kind, weights=weights) for kind in ("soft", "hard")),
        VotingClassifier(classifiers, voting="soft", weights=weights, flatten_transform=False),
        regressors,
    ]
    for model in models:
        if dropped is not None:
            model.set_params(**{dropped: "drop"})
        before = model.fit(X, y).get_params(deep=False)
        for _ in range(2):  # also where the converters have been registered before
            outputs = convert(model, X)
        assert model.get_params(deep=False) == before
        if model is regressors:
            assert_allclose(outputs["variable"][:, 0], model.predict(X), rtol=1e-5, atol=1e-5)
        elif model.voting == "soft":
            check(model, X, outputs, 1e-5)
        else:
            assert_array_equal(outputs["label"], model.predict(X))


if __name__ == "__main__":
    check_random_cases(int(sys.argv[1]))
    print(f"{sys.argv[1]} networks agree")
