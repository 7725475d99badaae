"""Ctrl-C at any line of skcnn: the estimator is then in its old state or its new one.

A `Scene` is a call of a method. It is run once without an interrupt, and then anew for every line
that it runs, with a KeyboardInterrupt at that line.
"""

import copy
import os
import pickle
import sys
import traceback
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from unittest import mock

import numpy as np
from threadpoolctl import ThreadpoolController

import skcnn
from skcnn import ConvNetClassifier, ImageScaler
from skcnn._engine import threads as _threads

from .bad import TooLong, data, limited
from .deep import difference, freeze

PACKAGE = str(Path(skcnn.__file__).parent)


class Interrupt:
    """Counts the lines of skcnn that run within it, and raises KeyboardInterrupt at one of them.

    Parameters
    ----------
    at : int or None
        Number of the line, from 1; None: only count.

    Attributes
    ----------
    lines : list of str
        Lines so far.
    where : str or None
        The line of the interrupt.
    """

    def __init__(self, at=None):
        self.at = at
        self.lines = []
        self.where = None

    def __enter__(self):
        self._others = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(self._others)

    def _call(self, frame, event, argument):
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame, event, argument):
        if event == "line":
            line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            self.lines.append(line)
            if len(self.lines) == self.at:
                self.where = line
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._line


@dataclass(frozen=True)
class Scene:
    """A call that is interrupted.

    Parameters
    ----------
    name : str
    parameters : dict
    method : str
        Name of the method that is interrupted.
    before : str or None
        The method that was called before, with other data.
    wrong : dict or None
        Wrong parameters, or a wrong value in "X", with which the call raises ValueError.
    kernels : str
        SKCNN_FAST.
    users_state : bool
        Whether ``random_state`` is the user's RandomState.
    estimator : type
    """

    name: str
    parameters: dict
    method: str = "fit"
    before: str | None = None
    wrong: dict = field(default_factory=dict)
    kernels: str = "0"
    users_state: bool = False
    estimator: type = ConvNetClassifier

    def __str__(self):
        return f"{self.name}, {self.method} after {self.before}, SKCNN_FAST={self.kernels}"

    def _call(self, model, method, X, y):
        arguments = {"X": X}
        if self.estimator is ConvNetClassifier:
            arguments["y"] = y
            if method == "partial_fit":
                arguments["classes"] = [0, 1, 2]
        getattr(model, method)(**arguments)

    def make(self):
        """Return the estimator before the call."""
        return pickle.loads(self._before_the_call)

    @cached_property
    def _before_the_call(self):
        X, y = data()
        model = self.estimator(**self.parameters)
        if self.users_state:
            model.set_params(random_state=np.random.RandomState(5))
        if self.before:
            self._call(model, self.before, X[::-1] / 2, y)
        return pickle.dumps(model.set_params(**{k: v for k, v in self.wrong.items() if k != "X"}))

    def call(self, model):
        """Make the call."""
        X, y = data()
        X[-1, 0, 0] = self.wrong.get("X", X[-1, 0, 0])
        self._call(model, self.method, X, y)

    @cached_property
    def states(self):
        """The estimator before, after, and after another call, frozen; and the lines between."""
        with self.running():
            model = self.make()
            old, failed = freeze(vars(model)), False
            try:
                with Interrupt() as counter:
                    self.call(model)
            except ValueError:
                failed = True
            assert failed == bool(self.wrong), f"{self}: {failed}"
            new = freeze(vars(model))
            if not failed:
                self.call(model)
            return old, new, freeze(vars(model)), counter.lines

    def running(self):
        """Return a context in which the call is made."""
        return mock.patch.dict(os.environ, SKCNN_FAST=self.kernels)


def scenes():
    """Return all calls that are interrupted."""
    short = {"n_filters": 2, "max_iter": 2, "tol": None, "batch_size": 6, "random_state": 0}
    warm, after_fit = {**short, "warm_start": True}, {"before": "fit"}
    stream = {"method": "partial_fit", "before": "partial_fit"}
    sgd = {**short, "solver": "sgd"}
    layers = {"n_filters": (2, 2), "pool_size": (2, "global"), "hidden_layer_sizes": (3,)}
    several = {**short, **layers, "dropout": 0.5}
    diverging = {"wrong": {"eta": 1e308}, "users_state": True}
    found = []
    for kernels in "01":
        found += [
            Scene("warm, user's state", warm, kernels=kernels, users_state=True, **after_fit),
            Scene("cold", short, kernels=kernels),
            Scene("again", short, kernels=kernels, **after_fit),
            Scene("user's state", short, kernels=kernels, users_state=True, **after_fit),
            Scene("warm start", warm, kernels=kernels, **after_fit),
            Scene("stream begins", short, "partial_fit", kernels=kernels),
            Scene("stream", short, kernels=kernels, users_state=True, **stream),
            Scene(
                "early stopping", {**short, "early_stopping": True}, kernels=kernels, **after_fit
            ),
            Scene("lbfgs", {**short, "solver": "lbfgs"}, kernels=kernels, **after_fit),
            Scene("several layers", several, kernels=kernels, users_state=True, **after_fit),
            Scene("stream of several layers", several, kernels=kernels, **stream),
            Scene("infinite X", short, kernels=kernels, wrong={"X": np.inf}, **after_fit),
            Scene("diverging", sgd, kernels=kernels, **diverging, **after_fit),
            Scene("diverging stream", sgd, kernels=kernels, **diverging, **stream),
        ]
    for per in ("pixel", "channel"):
        scaler = {"parameters": {"per": per}, "estimator": ImageScaler}
        for method in ("fit", "partial_fit", "fit_transform"):
            found += [
                Scene(f"scaler, {per}", method=method, **scaler),
                Scene(f"scaler, {per}", method=method, before="fit", **scaler),
                Scene(
                    f"infinite X, {per}", method=method, before="fit", wrong={"X": np.inf}, **scaler
                ),
            ]
    return found


def each_line_once():
    """Return all calls, and the numbers of the lines at which to interrupt them.

    A line is interrupted in the first call in which it runs, and in the first that fails, the last
    time that it runs there.
    """
    chosen, seen = [], set()
    for scene in scenes():
        *_, lines = scene.states
        last = {(line, bool(scene.wrong)): at for at, line in enumerate(lines, 1)}
        chosen.append((scene, [at for line, at in last.items() if line not in seen]))
        seen.update(last)
    return chosen


class BlasThreads:
    """Checks that BLAS has as many threads as before, and that no training still limits them."""

    def __init__(self):
        self._controller = ThreadpoolController().select(user_api="blas")
        self._before = self.now()
        self._counters = [
            (item, self._state(item))
            for item in vars(_threads).values()
            if type(item).__module__ == _threads.__name__ and hasattr(item, "_lock")
        ]

    def _state(self, item):
        return {name: copy.copy(value) for name, value in vars(item).items() if name != "_lock"}

    def now(self):
        return [pool["num_threads"] for pool in self._controller.info()]

    def check(self, violations, when):
        """Add a violation if there are more threads, or fewer, or a user of one thread is left."""
        if self.now() != self._before:
            violations.append(("threads of BLAS", f"{when}: {self._before} -> {self.now()}"))
        for item, state in self._counters:
            now = self._state(item)
            if now != state:
                violations.append(("users of one thread", f"{when}: {state} -> {now}"))

    def restore(self):
        """Restore threads and locks, so that one violation does not cause others."""
        for pool, n_threads in zip(self._controller.lib_controllers, self._before):
            pool.set_num_threads(n_threads)
        for item, state in self._counters:
            vars(item).update({name: copy.copy(value) for name, value in state.items()})
            item._lock = Lock()


def check(scene, at, blas, seconds=None):
    """Interrupt a call at one line; return that line, and the violations as pairs."""
    violations, interrupt = [], Interrupt(at)
    try:
        with limited(seconds):
            _check(scene, interrupt, blas, violations)
    except TooLong as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if PACKAGE in f.filename]
        where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        violations.append(("deadlock", f"in the next call, at {where}"))
    if violations:
        blas.restore()
    return interrupt.where, violations


def _check(scene, interrupt, blas, violations):
    old, new, next_one, _ = scene.states
    with scene.running(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "No gradient has reached")
        model = scene.make()
        try:
            with interrupt:
                scene.call(model)
            if interrupt.where:
                violations.append(("interrupt swallowed", "the call returned"))
        except KeyboardInterrupt:
            pass
        except Exception as error:
            if interrupt.where:
                violations.append(("interrupt swallowed", f"{type(error).__name__}: {error}"))
        blas.check(violations, "after the interrupt")
        state = freeze(vars(model))
        if state not in (old, new):
            nearer = min((difference(s, state) or "" for s in (old, new)), key=len)
            violations.append(("neither old nor new", nearer))
        expected = new if state == old else next_one
        try:
            scene.call(model)
        except Exception as error:
            if not (scene.wrong and isinstance(error, ValueError)):
                violations.append(("the next call", f"{type(error).__name__}: {error}"))
        after = freeze(vars(model))
        if state in (old, new) and after != expected:
            violations.append(("the next call", difference(expected, after)))
        blas.check(violations, "after the next call")
