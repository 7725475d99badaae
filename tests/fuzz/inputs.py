"""Inputs of the public methods, as pieces of Python source.

``evaluate`` turns a source into a new value. A source may use NumPy, pandas, SciPy's sparse arrays,
the classes below, valid images ``X``, their labels ``y`` and their number ``n``.

A ``choose`` is a function that returns one of several options. `chooser` makes one from a seed;
that of hypothesis shrinks towards the first option.
"""

import datetime
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import sparse

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler


def chooser(*seed):
    """Return a function that chooses one of several options, from a seed of integers."""
    random = np.random.default_rng(seed)
    return lambda options: options[random.integers(len(options))]


# Objects that cannot be read, or only by some protocols.


class NotReadableError(Exception):
    """An error that the object of a user raises."""


def _raise(self, *args, **kwargs):
    raise NotReadableError("this object cannot be read")


class RaisesArray:
    __array__ = _raise


class RaisesNumber:
    __float__ = __int__ = __index__ = __complex__ = _raise


class RaisesLen:
    __len__ = __getitem__ = __iter__ = _raise


class RaisesBool:
    __bool__ = _raise


class HasArray:
    """An object that can be converted to an array, and may share its memory."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype, copy=copy)


class Subclass(np.ndarray):
    """A class of arrays."""


def negative_strides(X):
    """The same values, from last to first in memory."""
    return X[::-1, ..., ::-1].copy()[::-1, ..., ::-1]


def every_second(X):
    """The same values, with others between them."""
    return np.repeat(X, 2, axis=0)[::2]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def mapped(X, mode="r+"):
    """The same values in a file."""
    with tempfile.TemporaryFile() as file:
        file.write(X.tobytes())
        return np.memmap(file, X.dtype, mode, shape=X.shape)


def wide(matrix):
    """The same sparse array, with indices of 64 bits."""
    for name in ("indices", "indptr", "row", "col", "offsets"):
        if isinstance(getattr(matrix, name, None), np.ndarray):
            setattr(matrix, name, getattr(matrix, name).astype(np.int64))
    return matrix


def rows(X):
    return X.reshape(len(X), -1)


def one(X, value):
    """The same values but one."""
    X = np.array(X, dtype=np.result_type(X, type(value)) if X.dtype != object else object)
    X.flat[1] = value
    return X


def structured(X):
    return np.zeros(X.shape, [("a", float), ("b", int)])


NAMES = {
    **{"np": np, "pd": pd, "sparse": sparse, "datetime": datetime},
    **{"Decimal": Decimal, "Fraction": Fraction},
    **{
        item.__name__: item
        for item in (
            *(RaisesArray, RaisesNumber, RaisesLen, RaisesBool, HasArray, Subclass),
            *(negative_strides, every_second, read_only, mapped, wide, rows, one, structured),
        )
    },
}


def evaluate(source, **names):
    """Return the value of a source, a new one every time."""
    return eval(source, {**NAMES, **names})


# Values that are wrong for most parameters and arguments.
ODD = [
    *("None", "'text'", "''", "b'bytes'", "{}", "{'a': 1}", "set()", "{1, 2}", "[]", "[1, 2]"),
    *("()", "(1,)", "1j", "Decimal('1.5')", "Fraction(1, 3)", "pd.NA", "pd.NaT", "np.nan"),
    *("np.datetime64('2020-01-01')", "np.timedelta64(3, 'D')", "datetime.date(2020, 1, 1)"),
    *("np.array(3)", "np.array('adam')", "np.array([3])", "np.ones((2, 2))", "np.ones((2,) * 3)"),
    *("np.ones((2,) * 4)", "np.ones((2,) * 5)", "np.array([])", "np.array([None])"),
    *("True", "False", "np.True_", "object()", "int", "len", "(i for i in [1, 2])"),
    *("RaisesArray()", "RaisesNumber()", "RaisesLen()", "RaisesBool()", "HasArray([1, 2])"),
    *("10**400", "-10**400", "np.inf", "-np.inf", "2**63", "2**40", "-1", "0", "5e-324", "-0.0"),
    *("1e308", "1e300", "np.float32(np.nan)", "np.longdouble(1)", "0.5", "1.5", "2", "10**6"),
    *("pd.Series([1.0])", "sparse.csr_array(np.eye(2))", "np.ma.masked", "range(3)"),
]

# Tuples and lists that are no sizes of layers, and some that may be.
NO_SIZES = [
    *("(0,)", "(-1,)", "(2.0,)", "(True,)", "[np.True_]", "('2',)", "(None,)", "(np.nan,)"),
    *("((2,),)", "([2],)", "(2, 0)", "(2, 2.5)", "(np.array(2),)", "(np.ones(2),)", "(pd.NA,)"),
    *("(RaisesNumber(),)", "(RaisesBool(),)", "(RaisesLen(),)", "('Global',)", "(b'global',)"),
    *("(np.inf,)", "(1j,)", "(np.array(['global', 'global']),)", "(Fraction(2),)", "({},)"),
    *("(pd.Series([2, 2]),)", "(sparse.csr_array(np.eye(2)),)", "'Global'", "np.array([2.0, 2])"),
]
ODD_SIZES = [
    *("'global'", "('global',)", "np.str_('global')", "('global', 1)", "[2]", "(2, 2)", "[2] * 3"),
    *("(np.int64(2),)", "(10**400,)", "(2**40, 2)", "(2, 2**63)", "(1,) * 20", "(np.uint8(2), 2)"),
    *("np.array([2, 2])", "range(1, 3)", "np.array([2, 3], object)"),
]

# The same of kinds of pooling.
NO_POOLING = [
    *("'mean'", "'Max'", "('max', 'mean')", "('max', None)", "(1,)", "(True,)", "(b'max',)"),
    *("b'average'", "('max', ('max',))", "(np.nan,)", "([],)", "(np.array(['max', 'max']),)"),
    *("(RaisesBool(),)", "(RaisesLen(),)", "(pd.NA,)", "np.array([b'max'])", "('global',)"),
    *("{'max'}", "('maxaverage',)", "np.array('mean')", "range(2)"),
]
ODD_POOLING = [
    *("'average'", "np.str_('average')", "('average',)", "['average', 'max']", "('max',) * 3"),
    *("np.array(['max', 'average'])", "np.array(['max', 'average'], object)", "np.array('max')"),
    *("(np.str_('average'), 'max')", "['max'] * 20"),
]

# Values for one parameter.
ODD_PARAMETERS = {
    "class_weight": [
        *("{0: -1}", "{0: np.nan}", "{0: np.inf}", "{'zebra': 1}", "{0: 'a'}", "{0: None}"),
        *("{0: 1e308, 1: 1e-308}", "{0: 0, 1: 0, 2: 0}", "{(1,): 1}", "{0: 1j}", "{0: [1]}"),
        *("{0: 10**400}", "{0: pd.NA}", "{0: np.array([1, 2])}", "{0: RaisesNumber()}"),
        *("{0: 5e-324}", "{None: 1}", "{np.nan: 1}", "[1, 1, 1]", "'auto'"),
    ],
    "image_shape": [
        *("(4, 5)", "(0, 4)", "(-4, -4)", "(2, 2, 2, 2)", "(4.0, 4.0)", "('4', 4)", "(True, 16)"),
        *("(10**400, 1)", "[4, 4]", "(None, 4)", "(np.nan, 4)", "[[4, 4]]", "(4,)", "(2**63, 1)"),
        *("(np.array([4]), 4)", "(np.int64(4), 4)", "(4, 4, 0)", "(pd.NA, 4)", "([4], 4)"),
        *("(RaisesNumber(), 4)", "(2**32, 2**32)", "(Fraction(4), 4)"),
    ],
    "random_state": [
        *("2**32", "np.random.default_rng(0)", "np.random", "np.random.RandomState", "[1, 2]"),
        "np.random.SeedSequence(0)",
    ],
    **dict.fromkeys(("K", "n_filters", "pool_size", "hidden_layer_sizes"), NO_SIZES + ODD_SIZES),
    "pooling": NO_POOLING + ODD_POOLING,
    **dict.fromkeys(
        ("dropout", "label_smoothing"),
        ["1", "1.0", "-0.1", "np.float32(0.5)", "1 - 1e-16", "np.nextafter(1, 0)", "(0.5,)"],
    ),
    "batch_size": ["'Auto'", "10**9", "13"],
    "n_iter_no_change": ["-np.inf", "10**9"],
    "freeze": ["'filter'", "'both'", "['filters', 'dense']"],
    "solver": ["'Adam'", "np.str_('adam')", "b'adam'"],
    "per": ["'channels'", "np.str_('pixel')", "b'pixel'"],
    "sampling": ["'random'"],
    "learning_rate": ["'invscaling'", "0.1", "np.array(['constant', 'adaptive'])"],
}

# Invalid images, for any method.
NO_IMAGES = [
    *("None", "'text'", "b'bytes'", "{}", "{'a': [1]}", "set()", "object()", "1", "np.array(3)"),
    *("[]", "[[], []]", "np.array([])", "X[0].ravel()", "X.reshape(n, -1, 1, 1, 1)"),
    *("(row for row in X)", "RaisesArray()", "RaisesLen()", "pd.NA", "len", "[[1], [1, 2]]"),
    *("[[1, 'a']] * n", "rows(X).tolist()[:-1] + [[1.0]]"),
    *("[[[1, 2], [3]]] * n", "X.tolist()[:-1] + [None]", "[[{}] * 16] * n"),
    *("np.full(X.shape, 'a')", "np.full(X.shape, b'a')", "X.astype(int).astype('M8[s]')"),
    *("X.astype(int).astype('m8[s]')", "X + 1j", "structured(X)", "np.zeros(X.shape, 'V8')"),
    *("one(X.astype(object), 'a')", "one(X.astype(object), {})"),
    *("one(X.astype(object), RaisesNumber())", "one(X.astype(object), 10**400)"),
    *("one(X.astype(object), 1j)", "[[10**400] * 16] * n", "one(X, np.inf)", "one(X, -np.inf)"),
    *("one(X.astype(np.float32), np.inf)", "X[:0]", "rows(X)[:, :0]", "X[..., :0]"),
    *("pd.DataFrame(rows(X)).astype(str) + 'a'", "pd.DataFrame({'a': ['x'] * n})"),
    *("pd.DataFrame({'a': pd.date_range('2020', periods=n)})", "pd.DataFrame()"),
    *("memoryview(b'abc')", "memoryview(X[0].ravel())"),
    *("sparse.csr_array(one(rows(X), np.inf))", "sparse.csr_array(rows(X) + 1j)"),
    *("sparse.coo_array(rows(X)[0])", "np.ma.masked", "datetime.date(2020, 1, 1)"),
    *("{0: X[0]}", "pd.Series([1.0] * n)", "[pd.NaT] * n", "HasArray(X + 1j)", "int"),
]
MISSING = [
    *("one(X, np.nan)", "one(X.astype(np.float32), np.nan)", "[[np.nan] * 16] * n"),
    *("one(X.astype(object), pd.NA)", "pd.DataFrame(one(rows(X), np.nan))", "[[None] * 16] * n"),
    "one(X.astype(object), None)",
    *("sparse.csr_array(one(rows(X), np.nan))", "one(X.astype(object), np.nan)"),
    *("pd.DataFrame(rows(X)).astype('Float64').mask(rows(X) > 1)", "np.full(X.shape, np.nan)"),
]
OTHER_IMAGES = [
    *("rows(X)[:, :-1]", "X[:, 1:]", "np.repeat(X, 2, axis=-1)", "rows(X).reshape(n, 2, -1)"),
    *("rows(X).reshape(n, -1, 2, 1)", "rows(X)[:, :1]", "sparse.csr_array(rows(X)[:, :5])"),
    *("np.ones((n, 17))", "np.ones((n, 4, 4, 3))", "pd.DataFrame(rows(X)[:, 1:])"),
    *("memoryview(np.ones((n, 3, 3)))", "HasArray(np.ones((n, 5, 5)))"),
]
# Images that may be valid.
ODD_IMAGES = [
    *("X * 1e305", "one(X, 1e308)", "X * 1e-310", "np.full(X.shape, 1e308)", "X.astype(object)"),
    *("X.astype(bool)", "X.astype(str)", "np.ma.array(X, mask=X > 1)", "memoryview(X)"),
    *("memoryview(X.astype('>f4'))", "memoryview(X.astype(np.uint8))", "HasArray(X)"),
    *("X.astype(np.longdouble)", "X.astype(np.float16)", "X.astype('>f4')", "X.view(Subclass)"),
    *("X.tolist()", "tuple(X)", "X[:1]", "X[:-1]", "np.concatenate([X, X])", "X.astype(np.int8)"),
    *("pd.DataFrame(rows(X)).convert_dtypes()", "pd.DataFrame(rows(X)).astype('Sparse[float]')"),
    *("pd.DataFrame(rows(X)).astype('category')", "pd.DataFrame(rows(X) > 0)", "read_only(X)"),
    *("wide(sparse.csr_array(rows(X)))", "wide(sparse.csc_array(rows(X)))"),
    *("wide(sparse.coo_array(rows(X)))", "wide(sparse.bsr_array(rows(X)))"),
    *("sparse.lil_array(rows(X))", "sparse.dok_array(rows(X))", "wide(sparse.dia_array(rows(X)))"),
    *("sparse.csr_matrix(rows(X))", "wide(sparse.csc_matrix(rows(X)))", "np.asmatrix(rows(X))"),
    *("sparse.csr_array(rows(X).astype(np.float32))", "sparse.csr_array(rows(X) > 0)"),
    *("mapped(X)", "mapped(X, 'r')", "rows(X)[:, :, None, None]", "[[Decimal(1)] * 16] * n"),
    *("[[Fraction(1, 3)] * 16] * n", "np.array(X, dtype=object) * 10**300", "list(map(list, X))"),
]

# Labels that cannot be learnt.
NO_LABELS = [
    *("None", "'text'", "5", "object()", "[]", "y[:0]", "y[:-1]", "np.r_[y, y]", "np.nan"),
    *("np.linspace(0, 1, n)", "np.c_[y, y]", "np.c_[y, y, y][..., None]", "[np.nan] * n"),
    *("one(y * 1.0, np.nan)", "one(y * 1.0, np.inf)", "[None] * n"),
    *("[1, None] * (n // 2)", "[{}] * n", "[[0], [0, 1]] * (n // 2)", "y + 0.5", "y * 1j"),
    *("pd.Series([pd.NA] * n)", "pd.DataFrame(np.c_[y, y])", "(label for label in y)"),
    *("sparse.csr_array(np.c_[y, y])", "RaisesArray()", "{0: 1}", "np.zeros(n, 'V8')"),
    *("memoryview(y)[:-1]", "np.array(1)", "pd.NA", "[(0, 1), (1, 2)] * (n // 2)", "'a' * n"),
]
ODD_LABELS = [
    *("y[:, None]", "np.full(n, y[0])", "y.astype(str)", "y.astype('M8[D]')", "y.astype('m8[D]')"),
    *("y.astype(object)", "y.astype(bool)", "y * 1.0", "y.tolist()", "pd.Series(y)", "y + 2**62"),
    *("np.arange(n)", "memoryview(y)", "y - 1", "np.ma.array(y, mask=y > 0)", "y.astype(bytes)"),
    *("sparse.csr_array(y[:, None])", "HasArray(y)", "pd.Series(y).astype('category')"),
    *("[10**400, 1] * (n // 2)", "[Fraction(1, 2), Fraction(1, 3)] * (n // 2)", "y.astype('>i2')"),
    *("pd.Series(y).astype('Int64')", "[True, 'a'] * (n // 2)", "set(range(n))"),
    "[1, 'a'] * (n // 2)",  # which NumPy makes strings
]

NO_WEIGHTS = [
    *("np.r_[np.nan, np.ones(n - 1)]", "np.r_[np.inf, np.ones(n - 1)]", "np.full(n, np.nan)"),
    *("np.r_[-1, np.ones(n - 1)]", "np.ones(n - 1)", "np.ones(n + 1)", "np.nan"),
    *("np.ones((n, 2))", "['a'] * n", "'text'", "np.ones(n) * 1j", "[None] * n", "-1", "np.inf"),
    *("np.ones(n, 'M8[s]')", "np.ones(n, 'm8[s]')", "object()", "{}", "{0: 1}", "[]", "-np.inf"),
    *("np.zeros(n, 'V8')", "[10**400] * n", "[pd.NA] * n", "RaisesArray()", "[[1], [1, 2]]"),
    *("np.full(n, -1.0)", "(i for i in range(n))", "1j", "pd.NA"),
]
ALL_0 = ["np.zeros(n)", "-np.zeros(n)", "0"]  # which a stream of a network takes
ODD_WEIGHTS = [
    *("np.r_[1, np.zeros(n - 1)]", "np.full(n, 1e308)", "np.full(n, 5e-324)", "2", "True"),
    *("np.r_[1e308, np.full(n - 1, 1e-308)]", "np.ones((n, 1))", "np.ones(n, bool)", "1e308"),
    *("np.ones(n, '>f4')", "['1'] * n", "[Decimal(1)] * n", "pd.Series(np.ones(n))", "range(n)"),
    *("np.ma.array(np.ones(n), mask=np.arange(n) > 3)", "memoryview(np.ones(n))", "5e-324"),
    *("sparse.csr_array(np.ones((n, 1)))", "HasArray(np.ones(n))", "np.ones(n, np.float16)"),
]

CLASSES = [
    *("[0]", "[]", "[5, 6, 7]", "[np.nan, 1.0]", "'text'", "['a', 1]", "[[0, 1], [2, 3]]", "3"),
    *("{0, 1, 2}", "[0, 0]", "{0: 1}", "[0, 1, 2, 3]", "[2, 1, 0]", "['0', '1', '2']", "[0.5, 1]"),
    *("[None, 1]", "np.zeros(3, 'M8[s]')", "object()", "range(3)", "[10**400, 1]", "[1j, 2j]"),
]

# Values that must be refused, of parameters and arguments.
REFUSED = {
    **dict.fromkeys(("K", "n_filters", "pool_size", "hidden_layer_sizes"), {*NO_SIZES}),
    "pooling": {*NO_POOLING},
    **dict.fromkeys(("dropout", "label_smoothing"), {"1", "1.0", "-0.1", "(0.5,)"}),
    "layer": {*ODD} - {"0"},
    "X": {*NO_IMAGES},
    "X_val": {*NO_IMAGES, *MISSING, *OTHER_IMAGES} - {"None"},
    "y": {*NO_LABELS},
    "y_val": {*NO_LABELS} - {"None"},
    "sample_weight": {*NO_WEIGHTS},
    "classes": {
        "[0]",
        "[]",
        "[5, 6, 7]",
        "[np.nan, 1.0]",
        "'text'",
        "object()",
        "[[0, 1], [2, 3]]",
    },
}
ARGUMENTS = {
    "X": [*NO_IMAGES, *MISSING, *OTHER_IMAGES, *ODD_IMAGES, *ODD],
    "y": [*NO_LABELS, *ODD_LABELS, *ODD],
    "sample_weight": [*NO_WEIGHTS, *ALL_0, *ODD_WEIGHTS, *ODD],
    "classes": [*CLASSES, *ODD],
    **{"copy": ODD, "layer": ODD},
}
ARGUMENTS["X_val"], ARGUMENTS["y_val"] = ARGUMENTS["X"], ARGUMENTS["y"]

SIZES = Integral, tuple, list, range, np.ndarray

NUMBERS = ("eta", "alpha", "momentum", "validation_fraction", "dropout", "label_smoothing")

# Types of the parameters; a value of another type must be refused.
TYPES = {
    **dict.fromkeys(("K", "n_filters", "hidden_layer_sizes"), SIZES),
    "pool_size": (str, *SIZES),
    "pooling": (str, tuple, list, np.ndarray),
    "max_iter": Integral,
    **dict.fromkeys(NUMBERS, Real),
    **dict.fromkeys(("fit_intercept", "early_stopping", "warm_start"), (bool, np.bool_)),
    **dict.fromkeys(("solver", "learning_rate", "sampling", "per"), str),
    **dict.fromkeys(("copy", "with_mean", "with_std"), (bool, np.bool_)),
    "batch_size": (Integral, str),
    "n_iter_no_change": Real,
    "tol": (Real, type(None)),
    "freeze": (str, type(None)),
    "augment": (Callable, tuple, list, type(None)),
    "class_weight": (dict, str, type(None)),
    "image_shape": (tuple, list, type(None)),
    "random_state": (Integral, np.random.RandomState, type(np.random), type(None)),
    "verbose": (Integral, np.bool_),
}

METHODS = {
    ConvNetClassifier: {
        "fit": ["X", "y", "sample_weight", "X_val", "y_val"],
        "partial_fit": ["X", "y", "classes", "sample_weight"],
        **dict.fromkeys(("predict", "predict_proba", "predict_log_proba"), ["X"]),
        "decision_function": ["X"],
        "feature_maps": ["X", "layer"],
        "score": ["X", "y", "sample_weight"],
    },
    ConvNetRegressor: {
        "fit": ["X", "y", "sample_weight", "X_val", "y_val"],
        "partial_fit": ["X", "y", "sample_weight"],
        "predict": ["X"],
        "feature_maps": ["X", "layer"],
        "score": ["X", "y", "sample_weight"],
    },
    ImageScaler: {
        **dict.fromkeys(("fit", "partial_fit"), ["X", "y", "sample_weight"]),
        "fit_transform": ["X", "y", "sample_weight"],
        **dict.fromkeys(("transform", "inverse_transform"), ["X", "copy"]),
    },
}
NETWORKS = (ConvNetClassifier, ConvNetRegressor)
LEARNING = ("fit", "partial_fit", "fit_transform")


@dataclass(frozen=True)
class BadCall:
    """A call with wrong values, and the estimator before it."""

    estimator: type
    state: str  # fresh, fitted, warm (fitted, with warm_start=True) or stream (of partial_fit)
    method: str
    kernels: str  # SKCNN_FAST
    raising: bool  # under np.errstate(all="raise")
    base: dict  # valid parameters
    valid: dict  # sources of valid arguments
    wrong_parameters: dict = field(default_factory=dict)  # sources
    wrong_arguments: dict = field(default_factory=dict)

    @property
    def arguments(self):
        """The sources of all arguments of the call."""
        return {**self.valid, **self.wrong_arguments}

    @property
    def wrong(self):
        """The sources of all wrong values by the names of their parameters and arguments."""
        return {**self.wrong_parameters, **self.wrong_arguments}

    def __str__(self):
        def listed(values):
            return ", ".join(f"{name}={value}" for name, value in values.items())

        parameters = {name: repr(value) for name, value in self.base.items()}
        name = self.estimator.__name__
        call = f"{name}({listed({**parameters, **self.wrong_parameters})})"
        under = f"SKCNN_FAST={self.kernels}{', np.errstate(all=raise)' * self.raising}"
        return f"{self.state} {call}.{self.method}({listed(self.arguments)})   [{under}]"

    def must_fail(self):
        """Return the names of values that must not be accepted."""
        learning = self.method in LEARNING
        goes_on = self.state == "warm" and "warm_start" not in self.wrong_parameters
        known = self.state != "fresh" and (self.method not in ("fit", "fit_transform") or goes_on)
        found = []
        for name, source in self.wrong_arguments.items():
            refused = REFUSED.get(name, ())
            if name == "X" and known:
                refused = {*refused, *OTHER_IMAGES}
            if name in ("y", "y_val") and self.estimator is ConvNetRegressor:
                refused = ()  # most labels are numbers too
            if name == "X" and self.estimator in NETWORKS:
                refused = {*refused, *MISSING}
            if name == "sample_weight" and (
                self.method != "partial_fit" or self.estimator is ImageScaler
            ):
                refused = {*refused, *ALL_0}
            if name != "X" and self.estimator is ImageScaler:
                refused = refused if name == "sample_weight" else ()
            if name in ("y", "sample_weight") and not learning:
                refused = ()  # scikit-learn's own accuracy_score judges
            if source in refused:
                found.append(name)
        for name, source in self.wrong_parameters.items():
            refused = source in REFUSED.get(name, ())
            if learning and (refused or not _has_type(evaluate(source), TYPES[name])):
                found.append(name)
        return found


def _has_type(value, types):
    return isinstance(value, types) and not (isinstance(value, float) and np.isnan(value))


def bad_call(choose):
    """Choose a call with one or two wrong values."""
    estimator = choose([ConvNetClassifier, ConvNetClassifier, ConvNetRegressor, ImageScaler])
    methods = METHODS[estimator]
    learning = [method for method in LEARNING if method in methods]
    method = choose([*methods, *(2 * learning)])
    state = choose(["fresh", "fitted", "warm", "stream"])
    if estimator is ImageScaler and state == "warm":
        state = "fitted"
    valid = {"X": "X"}
    if estimator in NETWORKS:
        base = {
            "n_filters": 2,
            "eta": 0.01,
            "max_iter": 2,
            "tol": 10.0,
            "n_iter_no_change": 1,
            "random_state": 0,
            **choose(
                [
                    *({}, {"solver": "sgd", "momentum": 0.5}, {"batch_size": 5}),
                    *({"image_shape": (4, 4)}, {"pool_size": 2, "sampling": "replacement"}),
                ]
            ),
        }
        base |= choose(
            [
                *({}, {}, {"n_filters": (2, 3)}, {"hidden_layer_sizes": (3,), "dropout": 0.5}),
                {"n_filters": (2, 2), "K": (3, 2), "pool_size": (2, "global"), "dropout": 0.2},
                {"n_filters": (2, 2), "pool_size": 2, "pooling": ("average", "max")},
                {"pool_size": "global", "pooling": "average", "label_smoothing": 0.2},
            ]
        )
        if method == "fit" and state in ("fresh", "fitted"):
            base |= choose(
                [
                    *({}, {"solver": "lbfgs"}, {"early_stopping": True}),
                    *({"class_weight": "balanced"}, {"learning_rate": "adaptive"}),
                ]
            )
        if estimator is ConvNetRegressor:
            for name in ("class_weight", "label_smoothing"):
                base.pop(name, None)
        if base.get("solver") == "lbfgs":
            base["dropout"] = 0.0
        if choose([False, True, True, False, False]):
            base["random_state"] = "user's"  # a RandomState
        valid |= {name: "y" for name in ("y",) if name in methods[method]}
        if method == "partial_fit" and state == "fresh" and estimator is ConvNetClassifier:
            valid["classes"] = "[0, 1, 2]"
    else:
        base = choose(
            [
                *({}, {"per": "channel"}, {"with_mean": False}, {"copy": False}),
                {"image_shape": (4, 4)},
            ]
        )
    if "sample_weight" in methods[method] and choose([False, False, True]):
        valid["sample_weight"] = "np.arange(n) % 3 + 0.5"

    wrong_parameters, wrong_arguments = {}, {}
    parameters = [name for name in TYPES if name in estimator().get_params()]
    for _ in range(choose([1, 1, 2])):
        on_parameter = choose([True, False] if method in LEARNING else [True, *(5 * [False])])
        if on_parameter:
            name = choose(parameters)
            odd = ODD + 3 * ODD_PARAMETERS.get(name, [])
            if name in ("n_filters", "hidden_layer_sizes"):
                odd = [value for value in odd if value != "10**6"]  # it may fit into memory
            if name == "augment":
                odd = [value for value in odd if value not in ("int", "len")]  # the user's code
            wrong_parameters[name] = choose(odd)
        else:
            name = choose(methods[method])
            wrong_arguments[name] = choose(ARGUMENTS[name])
            if name == "X_val":
                valid["y_val"] = "y"
            if name == "y_val":
                valid["X_val"] = "X"
    if len(wrong_parameters) > 1 and "max_iter" in wrong_parameters:
        del wrong_parameters["max_iter"]  # with tol=None all of these epochs would be run
    return BadCall(
        estimator,
        state,
        method,
        choose("01"),
        choose([False] * 5 + [True]),
        base,
        valid,
        wrong_parameters,
        wrong_arguments,
    )
