"""One call with wrong values: it must fail with a reason and change nothing."""

import io
import os
import re
import signal
import traceback
import warnings
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from pickle import dumps, loads
from unittest import mock

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning

from skcnn import ConvNetClassifier

from . import inputs
from .deep import arrays, difference, freeze

try:
    import resource
except ModuleNotFoundError:  # not on Windows
    resource = None

# Parts of messages of NumPy or Python about values that were used without validation.
ACCIDENTS = (
    *("setting an array element", "no callable", "out of range", "object has no attribute"),
    *("truth value of an", "is ambiguous", "unsupported operand", "not supported between"),
    *("object is not iterable", "object is not callable", "unhashable type", "has no len()"),
    *("is not subscriptable", "cannot reshape", "broadcast together", "must be real number"),
    *("too large to convert", "array is too big", "ufunc", "cannot be interpreted as", "cast from"),
    *("zero-size array", "inhomogeneous", "invalid literal", "allowed size", "unexpected keyword"),
    *("argument must be", "cannot convert", "could not convert", "not enough values to unpack"),
    *("high is out of bounds", "low >= high", "does not support", "is not in list"),
)
# Other words by which a message may name an argument.
NAMED = {
    **{"X": r"\bX\b|images|samples", "X_val": r"X_val|images", "y_val": "y_val"},
    **{"y": r"\by\b|labels|class", "sample_weight": "weight"},
}
ALLOWED_WARNINGS = (ConvergenceWarning, DataConversionWarning)
SHARED_WARNINGS = (
    *("X has feature names", "X does not have valid feature names"),  # scikit-learn's
    "The 'generic' unit for NumPy timedelta",  # of scikit-learn's check of parameters
)
SPARE_MEMORY = 4 * 2**30  # bytes that a call may take


class TooLong(BaseException):
    """A call exceeded its time limit."""


@dataclass
class Outcome:
    """The result of a call, "accepted" or the type of the error, and its violations."""

    result: str
    violations: list = field(default_factory=list)  # (kind, details)
    shared: str = ""  # an accident in scikit-learn, which happens to its own estimators too


@contextmanager
def limited(seconds=None):
    """Raise `TooLong` after some seconds, and MemoryError where memory would run out."""

    def too_long(*_):
        raise TooLong

    mapped = Path("/proc/self/statm")
    if resource and mapped.exists():
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(mapped.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_MEMORY, hard))
    if seconds:
        handler = signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        if resource and mapped.exists():
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def unexpected(warned):
    """Return the warnings that are not documented, as violations."""
    return sorted(
        {
            (warning.category.__name__, str(warning.message))
            for warning in warned
            if not issubclass(warning.category, ALLOWED_WARNINGS)
            and not str(warning.message).startswith(SHARED_WARNINGS)
        }
    )


def compile_loops():
    """Train and predict with compiled loops once, so that no timed call has to compile them."""
    X, y = data()
    with mock.patch.dict(os.environ, SKCNN_FAST="1"):
        for dtype in (np.float64, np.float32):
            for solver in ("sgd", "adam", "lbfgs"):
                model = ConvNetClassifier(solver=solver, max_iter=1, tol=None)
                model.fit(X.astype(dtype), y).predict(X)


def data():
    """Twelve images of 4 x 4 pixels, and labels of three classes."""
    X = np.random.RandomState(0).randint(0, 5, size=(12, 4, 4)).astype(float)
    return X, np.arange(12) % 3


@cache
def _prepared(estimator, state, base):
    """Return the pickle of an estimator in some state."""
    X, y = data()
    model = estimator(**dict(base))
    if state == "warm":
        model.set_params(warm_start=True)
    if state in ("fitted", "warm"):
        model.fit(X, y)
    if state == "stream":
        classes = {"classes": [0, 1, 2]} if estimator is ConvNetClassifier else {}
        model.partial_fit(X, y, **classes)
    return dumps(model)


def prepared(call):
    """Return the estimator of a call with its wrong parameters, and a user's RandomState."""
    base = {**call.base}
    users = np.random.RandomState(3) if base.get("random_state") == "user's" else None
    if users is not None:
        base["random_state"] = 0
    model = loads(_prepared(call.estimator, call.state, tuple(base.items())))
    if users is not None:
        model.random_state = users
    for name, source in call.wrong_parameters.items():
        setattr(model, name, inputs.evaluate(source))
    return model, users


def check(call, seconds=None):
    """Make a bad call, and return its `Outcome`."""
    with mock.patch.dict(os.environ, SKCNN_FAST=call.kernels), limited(seconds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, users = prepared(call)
            X, y = data()
            names = {"X": X, "y": y, "n": len(X)}
            arguments = {
                name: inputs.evaluate(source, **names) for name, source in call.arguments.items()
            }
        before = freeze({"state": vars(model), "user's RandomState": users})
        given = freeze(arguments)
        raising = np.errstate(all="raise") if call.raising else nullcontext()
        error = result = None
        with (
            warnings.catch_warnings(record=True) as warned,
            raising,
            redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("always")
            try:
                result = getattr(model, call.method)(**arguments)
            except (Exception, TooLong) as caught:
                error = caught
        outcome = _judge_error(call, error) if error else _judge_result(call, model, result)
        outcome.violations += unexpected(warned)
        if error or call.method not in inputs.LEARNING:
            after = freeze({"state": vars(model), "user's RandomState": users})
            if before != after:
                outcome.violations.append(("state changed", difference(before, after)))
        in_place = call.base.get("copy") is False or "copy" in call.wrong
        if given != freeze(arguments) and not (in_place and "transform" in call.method):
            outcome.violations.append(("inputs changed", difference(given, freeze(arguments))))
        if call.wrong_parameters:
            outcome.violations += _copy(model)
        if not error and call.must_fail():
            outcome.violations.append(("accepted", f"{' and '.join(call.must_fail())}"))
        return outcome


def _copy(model):
    """Return violations in cloning an estimator whose parameters are wrong."""
    before = freeze(vars(model))
    try:
        clone(model)
    except (TypeError, ValueError, RuntimeError, inputs.NotReadableError):
        pass  # a value cannot be copied, such as a generator
    except Exception as error:
        return [("type of error of clone", f"{type(error).__name__}: {error}")]
    changed = difference(before, freeze(vars(model)))
    return [("clone changed the state", changed)] if changed else []


def _judge_error(call, error):
    """Return the outcome of a call that failed."""
    outcome = Outcome(type(error).__name__)
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    message = str(error)
    details = f"{type(error).__name__} at {where}: {message[:150]}"
    if isinstance(error, inputs.NotReadableError):
        return outcome  # the user's own error
    not_available = isinstance(error, AttributeError) and call.method == "partial_fit"
    if isinstance(error, AttributeError) and not isinstance(error, ValueError):
        if not not_available or "partial_fit" not in message:
            outcome.violations.append(("type of error", details))
        return outcome
    if not isinstance(error, (ValueError, TypeError)):
        outcome.violations.append(("type of error", details))
        return outcome
    names = "|".join(NAMED.get(name, rf"\b{name}\b") for name in call.wrong)
    if re.search(names, message):
        return outcome
    accident = any(phrase in message for phrase in ACCIDENTS)
    if _raised_by(frames) == "sklearn":
        outcome.shared = details if accident else ""
        return outcome
    if call.state == "fresh" and "not fitted" in message:
        return outcome
    kind = "accident" if accident else "does not name the argument"
    outcome.violations.append((kind, details))
    return outcome


def _raised_by(frames):
    """Return which of scikit-learn and skcnn raised an error, or called the code that did."""
    for frame in reversed(frames):
        parts = Path(frame.filename).parts
        if "sklearn" in parts or "skcnn" in parts:
            return "sklearn" if "sklearn" in parts else "skcnn"
    return None


def _judge_result(call, model, result):
    """Return the outcome of a call that was accepted: its result must be finite."""
    outcome = Outcome("accepted")

    def finite(what, values):
        values = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            outcome.violations.append(("not finite", what))

    missing = call.wrong_arguments.get("X") in inputs.MISSING
    if call.method not in inputs.LEARNING:
        # scikit-learn's own metrics overflow for some weights.
        if not missing and call.method not in ("predict", "score"):
            finite("result", result)
    elif call.estimator in inputs.NETWORKS:
        for name, array in (arrays(model) | arrays(model, ["loss_curve_"])).items():
            finite(name, array)
        is_classifier = call.estimator is ConvNetClassifier
        outcome.violations += _use(model, "predict_proba" if is_classifier else "predict", call)
    elif not missing:
        for name in ("mean_", "var_", "scale_"):
            if getattr(model, name) is not None:
                finite(name, getattr(model, name))
        outcome.violations += _use(model, "transform", call)
    return outcome


def _use(model, method, call):
    """Return violations of a new model: it must work for the images it was fitted on."""
    X, y = data()
    X = inputs.evaluate(call.arguments["X"], X=X, y=y, n=len(X))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            values = getattr(model, method)(X)
        except Exception as error:
            return [("a model that cannot be used", f"{type(error).__name__}: {str(error)[:150]}")]
    values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    if not np.isfinite(values).all():
        return [("not finite", f"{method} of the images of {call.method}")]
    return []
