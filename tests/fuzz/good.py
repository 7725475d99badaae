"""One network or one scaler that must work: kernels, layouts, dtypes and repetitions agree."""

import os
import pickle
import traceback
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unittest import mock

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from skcnn import ConvNetClassifier, ImageScaler
from skcnn._estimator.arguments import SEQUENCES
from skcnn.augmentation import flip_left_right, jitter, shift

from . import inputs
from .bad import TooLong, limited, unexpected
from .deep import arrays, difference, freeze

# Dtypes that hold the same values, by the dtype of the computation.
DTYPES = {
    "f8": ["f8", "u1", "i8", ">f8", ">i4", "f2", "i2", "g"],
    "f4": ["f4", ">f4"],
}
LAYOUTS = [
    *("X", "rows(X)", "np.asfortranarray(X)", "negative_strides(X)", "every_second(X)"),
    *("read_only(X)", "mapped(X)", "mapped(X, 'r')", "X.view(Subclass)", "np.ma.array(X)"),
    *("memoryview(X)", "memoryview(rows(X))", "HasArray(X)", "HasArray(rows(X))"),
    *("pd.DataFrame(rows(X))", "sparse.csr_array(rows(X))", "sparse.csr_matrix(rows(X))"),
    *("wide(sparse.csr_array(rows(X)))", "sparse.csc_array(rows(X))", "sparse.coo_array(rows(X))"),
    "np.asfortranarray(rows(X))",
]
# Python's numbers are float64 and int64.
LAYOUTS_OF_FLOAT64 = ["X.tolist()", "rows(X).tolist()", "tuple(rows(X))", "X.astype(object)"]
NO_BUFFER = ("memoryview", "pd.", "sparse.")  # not for every dtype
AUGMENTATIONS = [
    *(None, None, None, shift(), (shift(pixels=3), flip_left_right())),
    *([flip_left_right(p=0.3)], jitter(), [jitter(brightness=1.0), shift(pixels=2)]),
]


@dataclass(frozen=True)
class GoodNetwork:
    """A network, its data, and a variant of the data that must give the same results."""

    parameters: dict
    shape: tuple  # of an image
    n: int
    n_classes: int
    weights: str  # source of the sample weights
    computed: str  # f8 or f4
    dtype: str
    layout: str
    seed: int

    def __str__(self):
        parameters = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return (
            f"ConvNetClassifier({parameters}) on {self.n} images {self.shape} of {self.n_classes} "
            f"classes, weights {self.weights}, {self.computed}; {self.dtype} as {self.layout}; "
            f"data of seed {self.seed}"
        )

    @cached_property
    def data(self):
        """Images of small whole numbers, exact in every dtype; labels; and sample weights."""
        random = np.random.RandomState(self.seed)
        X = random.randint(0, 6, size=(self.n, *self.shape)).astype(self.computed)
        y = np.arange(self.n) % self.n_classes
        return X, y, inputs.evaluate(self.weights, n=self.n, y=y)

    @property
    def variant(self):
        """The same images in another dtype and layout."""
        return inputs.evaluate(self.layout, X=self.data[0].astype(self.dtype))


@dataclass
class Findings:
    """Violations, as pairs of a kind and details."""

    violations: list = field(default_factory=list)

    def same(self, kind, one, other):
        """Expect equality to the bit."""
        one, other = freeze(one), freeze(other)
        if one != other:
            self.violations.append((kind, difference(one, other)))

    def close(self, kind, one, other, tolerance):
        """Expect equality within a tolerance, relative to the greatest value if that is above 1."""
        one, other = np.asarray(one, float), np.asarray(other, float)
        if one.shape != other.shape:
            self.violations.append((kind, f"shapes {one.shape} and {other.shape}"))
        elif one.size:
            error = np.abs(one - other).max() / max(1, np.abs(one).max())
            if not error <= tolerance:
                self.violations.append((kind, f"differ by {error:.1e} > {tolerance:.0e}"))


def _violations(check, seconds):
    """Return the violations that a check finds, with its error, if any, and its warnings."""
    found = Findings()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with limited(seconds):
                check(found)
        except (Exception, TooLong) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            found.violations.append((f"{type(error).__name__} at {where}", str(error)[:300]))
    return found.violations + unexpected(warned)


def good_network(choose):
    """Choose a network, its data, and another layout of the data."""
    shape = choose(
        [
            *((4, 4), (5, 5), (1, 9), (7, 1), (3, 6), (1, 1), (2, 2), (6, 5, 3), (4, 4, 1)),
            *((1, 12, 2), (9, 1, 4), (1, 1, 3), (8, 8)),
        ]
    )
    n, n_classes = choose(range(6, 31)), choose([2, 3, 4])
    solver = choose(["sgd", "adam", "adam", "sgd", "lbfgs"])
    parameters = {
        **good_layers(choose),
        "hidden_layer_sizes": choose([(), (), 3, (5,), [4, 3], np.array([4, 3]), range(2, 4)]),
        "label_smoothing": choose([0.0, 0.0, 0.1, 0.5]),
        "dropout": choose([0.0, 0.0, 0.5, 0.2]) if solver != "lbfgs" else 0.0,
        "augment": choose(AUGMENTATIONS) if solver != "lbfgs" else None,
        "fit_intercept": choose([True, True, False]),
        "freeze": choose([None, None, None, "filters", "dense"]),
        "solver": solver,
        "eta": choose([0.001, 0.01]),
        "learning_rate": choose(["constant", "cosine", "adaptive"]),
        "momentum": choose([0.0, 0.9]) if solver == "sgd" else 0.0,
        "alpha": choose([0.0, 1e-4, 0.1]),
        "batch_size": choose(["auto", 1, 2, 5, n - 1, n, n + 1, 3 * n, 10**6]),
        "sampling": choose(["sequential", "shuffle", "replacement"]),
        "max_iter": choose([3, 2, 1, 0]),
        "tol": choose([None, 1e-3]),
        "n_iter_no_change": choose([10, 1, np.inf]),
        "early_stopping": choose([False, False, True]),
        "validation_fraction": choose([0.1, 0.4]),
        "class_weight": choose([None, "balanced", {0: 2.0, 1: 0.5}]),
        "image_shape": shape,
        "random_state": choose(range(100)),
    }
    computed = choose(["f8", "f4"])
    dtype = choose(DTYPES[computed])
    layouts = LAYOUTS + LAYOUTS_OF_FLOAT64 * (computed == "f8")
    if dtype in ("f2", "g", "i2") or dtype.startswith(">"):
        layouts = [layout for layout in layouts if not any(name in layout for name in NO_BUFFER)]
    return GoodNetwork(
        parameters,
        shape,
        n,
        n_classes,
        choose(["None", "None", "np.arange(n) // n_of_a_class % 3 + 1.0"]).replace(
            "n_of_a_class", str(n_classes)
        ),
        computed,
        dtype,
        choose(layouts),
        choose(range(1000)),
    )


def good_layers(choose):
    """Choose the convolution layers: a number of filters, or a tuple of one to three."""
    K, pool_size, pooling = range(1, 10), [1, 2, 3, 4, "global"], ["max", "average"]
    n_layers = choose([None, None, 1, 2, 2, 3])
    if n_layers is None:
        return {
            **{"n_filters": choose(K), "K": choose(K), "pool_size": choose(pool_size)},
            "pooling": choose(pooling),
        }

    def one_or_several(options):
        return choose(options) if choose([True, False]) else several(options)

    def several(options):
        return tuple(choose(options) for _ in range(n_layers))

    return {
        "n_filters": several(range(1, 10)),
        "K": one_or_several(K),
        "pool_size": one_or_several(pool_size),
        "pooling": one_or_several(pooling),
    }


def check_network(network, seconds=None):
    """Return the violations of a network, as pairs of a kind and details."""

    def check(found):
        fitted = {}
        for kernels in "01":
            with mock.patch.dict(os.environ, SKCNN_FAST=kernels):
                fitted[kernels] = _check_kernels(network, kernels, found)
        _check_agreement(network, fitted["0"], fitted["1"], found)

    return _violations(check, seconds)


def _fit(network, X):
    model = ConvNetClassifier(**network.parameters)
    return model.fit(X, network.data[1], network.data[2])


def _check_kernels(network, kernels, found):
    """Check a network with one of the kernels, and return it."""
    X, y, s = network.data
    model = _fit(network, X)
    P = model.predict_proba(X)
    state = vars(model)

    if not (np.isfinite(P).all() and (P >= 0).all() and (P <= 1).all()):
        found.violations.append(("probabilities", "not in [0, 1]"))
    tolerance = 1e-6 if network.computed == "f4" else 1e-12
    found.close("probabilities that sum to 1", P.sum(axis=1), np.ones(network.n), tolerance)
    for name, array in (arrays(model) | arrays(model, ["initial_filters_"])).items():
        if array.dtype != network.computed:
            found.violations.append((f"dtype of {name}", str(array.dtype)))
    _check_shapes(network, model, found)

    found.same(f"repetition, kernels {kernels}", state, vars(_fit(network, X)))
    with np.errstate(all="raise"):
        found.same("under np.errstate(all='raise')", state, vars(_fit(network, X)))

    variant = network.variant
    before = freeze(variant)
    learnt = ("loss_curve_", "accuracy_curve_", "n_iter_", "t_")
    one, other = (
        arrays(learner) | {name: getattr(learner, name) for name in learnt}
        for learner in (model, _fit(network, variant))
    )
    found.same(f"a model of equal values of {network.dtype}", one, other)
    found.same(f"predictions for equal values of {network.dtype}", P, model.predict_proba(variant))
    if before != freeze(variant):
        found.violations.append(("inputs changed", difference(before, freeze(variant))))

    _check_predictions(network, model, P, found)
    _check_stream(network, found)
    found.same("state after predictions", state, vars(pickle.loads(pickle.dumps(model))))
    copied = clone(model)
    found.same("parameters of a clone", copied.get_params(), model.get_params())
    found.same("parameters", network.parameters, {k: state[k] for k in network.parameters})
    return model


def _check_shapes(network, model, found):
    """The weights have the documented shapes."""
    H, W, *_ = network.shape
    rows, columns, n_channels = H, W, network.shape[2:]
    n_layers = len(model.filters_) if isinstance(model.filters_, list) else 1
    expected, shape = {}, {name: network.parameters[name] for name in ("n_filters", "K")}
    for k in range(n_layers):
        F, K = (value[k] if isinstance(value, SEQUENCES) else value for value in shape.values())
        sides = (1 if rows == 1 else K), (1 if columns == 1 else K)
        expected[f"filters_[{k}]"] = (F, *sides, *n_channels)
        expected[f"filter_intercept_[{k}]"] = (F,)
        rows, columns, _ = model._network.group("filters")[k].out_shape
        n_channels = (F,)
    hidden = network.parameters["hidden_layer_sizes"]
    hidden = hidden if isinstance(hidden, SEQUENCES) else (hidden,)
    n_outputs = 1 if network.n_classes == 2 else network.n_classes
    sizes = rows * columns * F, *map(int, hidden), n_outputs
    for k, pair in enumerate(zip(sizes, sizes[1:])):
        expected |= {f"coefs_[{k}]": pair, f"intercepts_[{k}]": pair[1:]}
    found.same("shapes", expected, {name: array.shape for name, array in arrays(model).items()})


def _check_predictions(network, model, P, found):
    """All methods agree, and a batch agrees with its parts."""
    X, y, _ = network.data
    tolerance = 1e-5 if network.computed == "f4" else 1e-11
    T = model.decision_function(X)
    parts = np.concatenate([model.decision_function(X[rows]) for rows in _parts(network.n)])
    found.close("logits of parts", T, parts, tolerance)
    found.close("log-probabilities", np.exp(model.predict_log_proba(X)), P, tolerance)
    labels = model.classes_[P.argmax(axis=1)]
    clear = np.diff(np.sort(P, axis=1), axis=1)[:, -1] > tolerance
    found.same("labels", model.predict(X)[clear], labels[clear])
    found.same("score", float(model.score(X, y)), float(np.mean(model.predict(X) == y)))
    for k, layer in enumerate(model._network.group("filters")):
        maps = model.feature_maps(X, layer=k)
        H, W = layer.in_shape[:2]
        if maps.shape != (network.n, H, W, layer.n_filters) or not (maps >= 0).all():
            found.violations.append((f"feature maps {k}", f"of shape {maps.shape}, or negative"))


def _parts(n):
    return slice(0, 1), slice(1, n // 2), slice(n // 2, n)


def _check_stream(network, found):
    """A stream that is pickled in the middle continues with the same bits."""
    X, y, s = network.data
    parameters = {
        **network.parameters,
        **{"early_stopping": False, "learning_rate": "constant"},
    }
    if parameters["class_weight"] == "balanced":
        parameters["class_weight"] = {0: 0.0, 1: 3.0}
    if parameters["solver"] == "lbfgs":
        parameters["solver"] = "adam"
    model = ConvNetClassifier(**parameters)
    for number, rows in enumerate(_parts(network.n)):
        classes = np.arange(network.n_classes) if number == 0 else None
        model.partial_fit(X[rows], y[rows], classes, None if s is None else s[rows])
        if number == 0:
            restored = pickle.loads(pickle.dumps(model))
        else:
            restored.partial_fit(X[rows], y[rows], None, None if s is None else s[rows])
    found.same("a stream that was pickled", vars(model), vars(restored))


def _check_agreement(network, in_arrays, in_loops, found):
    """The kernels agree up to rounding.

    Adam normalises a gradient even where it is only rounding error, and L-BFGS stops its line
    search at a threshold: their steps may differ by more. Both follow rounding errors along
    directions in which the loss is flat, and then it is the loss that agrees.
    """
    tolerance = {"f8": 1e-7, "f4": 1e-4}[network.computed]
    solver, curves = network.parameters["solver"], (in_arrays.loss_curve_, in_loops.loss_curve_)
    if solver == "lbfgs":
        if np.allclose(*curves, rtol=1e-6, atol=0):
            return
        tolerance = {"f8": 1e-4, "f4": 0.1}[network.computed]
    elif solver == "adam" and (network.computed == "f4" or np.allclose(*curves, rtol=1e-12)):
        tolerance = 2 * network.parameters["eta"] * max(1, in_arrays.t_)
    kind, others = f"kernels, {solver}, {network.computed}", arrays(in_loops)
    for name, array in arrays(in_arrays).items():
        found.close(kind, array, others[name], tolerance)


@dataclass(frozen=True)
class GoodScaler:
    """A scaler and its images."""

    parameters: dict
    shape: tuple
    n: int
    weights: str
    dtype: str
    layout: str
    seed: int
    raising: bool

    def __str__(self):
        parameters = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return (
            f"ImageScaler({parameters}) on {self.n} images {self.shape}, weights {self.weights}; "
            f"{self.dtype} as {self.layout}; data of seed {self.seed}"
        )

    @cached_property
    def images(self):
        random = np.random.RandomState(self.seed)
        return random.randint(0, 100, size=(self.n, *self.shape)).astype(self.dtype)


SCALER_LAYOUTS = [
    *("X", "mapped(X)", "mapped(X, 'r')", "np.ma.array(X)", "X.view(Subclass)", "memoryview(X)"),
    *("HasArray(X)", "np.asfortranarray(X)", "negative_strides(X)", "every_second(X)"),
    *("read_only(X)", "X.tolist()", "rows(X)", "mapped(rows(X))", "np.ma.array(rows(X))"),
    *("memoryview(rows(X))", "HasArray(rows(X))", "rows(X).view(Subclass)"),
    *("pd.DataFrame(rows(X))", "sparse.csr_array(rows(X))", "sparse.csc_array(rows(X))"),
    *("np.ma.array(X, mask=X > 50)", "wide(sparse.csr_array(rows(X)))"),
]


def good_scaler(choose):
    """Choose a scaler and its images."""
    layout = choose(SCALER_LAYOUTS)
    dtype = choose(["f8", "f4", "u1", "i8", ">f8", ">f4", "i2"])
    if dtype.startswith(">") and any(name in layout for name in NO_BUFFER):
        dtype = "f8"
    parameters = {
        "per": choose(["pixel", "channel"]),
        "with_mean": choose([True, False]) and "sparse" not in layout,
        "with_std": choose([True, True, False]),
    }
    shape = choose([(4, 4), (1, 5), (3, 2, 3), (1, 1), (6, 1, 2), (5, 5, 1)])
    weights = choose(["None", "np.arange(n) % 3 + 0.5"])
    return GoodScaler(
        parameters,
        shape,
        choose(range(2, 20)),
        weights,
        dtype,
        layout,
        choose(range(1000)),
        choose([False, True]),
    )


def check_scaler(case, seconds=None):
    """Return the violations of a scaler, as pairs of a kind and details."""

    def check(found):
        with np.errstate(all="raise" if case.raising else "warn"):
            _check_scaler(case, found)

    return _violations(check, seconds)


def _check_scaler(case, found):
    images = case.images
    s = inputs.evaluate(case.weights, n=case.n)

    def unchanged(method, *args, **kwargs):
        """Return the result of a method for a new copy of the images, which it must not change."""
        X = inputs.evaluate(case.layout, X=images.copy())
        before = freeze(X)
        result = method(X, *args, **kwargs)
        if before != freeze(X):
            name = getattr(method, "__name__", "call")
            layout = case.layout.replace("rows(X)", "X")
            found.violations.append((f"{name} changed {layout}", difference(before, freeze(X))))
        return result

    reference = StandardScaler(
        with_mean=case.parameters["with_mean"], with_std=case.parameters["with_std"]
    )
    rows = images.reshape(case.n, -1)
    channels = images.shape[3] if images.ndim == 4 else 1
    per_channel = case.parameters["per"] == "channel"
    columns = images.reshape(-1, channels) if per_channel else rows
    repeated = s if s is None or not per_channel else np.repeat(s, len(columns) // case.n)
    expected = reference.fit(columns, sample_weight=repeated).transform(columns)
    expected = expected.reshape(images.shape)

    scaler = ImageScaler(**case.parameters).fit(images, sample_weight=s)
    if per_channel and reference.mean_ is not None:  # sums of another order
        means = np.broadcast_to(reference.mean_, (*images.shape[1:3], channels))
        found.close("means of StandardScaler", scaler.mean_.reshape(means.shape), means, 1e-12)
    elif reference.mean_ is not None:
        found.same("means of StandardScaler", np.ravel(scaler.mean_), reference.mean_)
    flat = (case.n, -1)
    as_rows = "rows(X)" in case.layout
    for name, scaled in (
        ("transform", unchanged(scaler.transform)),
        ("fit_transform", _fit_transform(case, unchanged, s)),
    ):
        if scaled is None:
            continue
        dense = scaled.toarray() if hasattr(scaled, "toarray") else np.asarray(scaled)
        shape = (case.n, rows.shape[1]) if as_rows else images.shape
        if dense.shape != shape:
            found.violations.append((f"shape of {name}", f"{dense.shape}, not {shape}"))
        tolerance = 1e-5 if "f4" in case.dtype else 1e-12
        found.close(f"{name}", dense.reshape(flat), expected.reshape(flat), tolerance)
    if not per_channel:
        native = rows.astype(rows.dtype.newbyteorder("="))
        found.same("to the bit", np.asarray(scaler.transform(rows)), reference.transform(native))

    unchanged(scaler.inverse_transform)
    back = scaler.inverse_transform(scaler.transform(images))
    found.close("inverse", back, images.astype(float), 1e-4 if "f4" in case.dtype else 1e-9)

    parts = ImageScaler(**case.parameters)
    for part in (slice(0, case.n // 2), slice(case.n // 2, case.n)):
        parts.partial_fit(images[part], sample_weight=None if s is None else s[part])
    if scaler.mean_ is not None:
        found.close("parts", parts.mean_, scaler.mean_, 1e-6)
    if scaler.var_ is not None:
        found.close("parts", parts.var_, scaler.var_, 1e-4 if "f4" in case.dtype else 1e-6)

    with config_context(transform_output="pandas"):
        shape = np.shape(scaler.transform(images))
    if shape != images.shape:
        found.violations.append(("images became a table", f"{images.shape} -> {shape}"))
    found.same("clone", clone(scaler).get_params(), scaler.get_params())
    found.same("pickle", vars(pickle.loads(pickle.dumps(scaler))), vars(scaler))


def _fit_transform(case, unchanged, s):
    """Return images of a new scaler; None for masked images, whose hidden values it would use."""
    if "mask=" in case.layout:
        return None
    image_shape = case.shape if "rows(X)" in case.layout else None
    scaler = ImageScaler(**case.parameters, image_shape=image_shape)
    return unchanged(scaler.fit_transform, sample_weight=s)
