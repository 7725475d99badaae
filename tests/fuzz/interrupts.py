"""Ctrl-C at any line of skcnn: the estimator is then the old one or the new one.

A `Scene` is a call on an estimator. It is made once without an interrupt, and then anew for every
line that runs in it, with a KeyboardInterrupt at that line.
"""

import os
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest import mock

import numpy as np
from threadpoolctl import ThreadpoolController

import skcnn
from skcnn import ConvNetClassifier, ImageScaler, _threads

from .bad import data
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
    n_lines : int
        Lines so far.
    where : str or None
        The line of the interrupt.
    """

    def __init__(self, at=None):
        self.at = at
        self.n_lines = 0
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
            self.n_lines += 1
            if self.n_lines == self.at:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._line


@dataclass(frozen=True)
class Scene:
    """A call that is interrupted.

    ``before`` is the name of the method that was called before, or None; ``fails`` tells that the
    call raises ValueError where it is not interrupted; with ``users_state`` the estimator has a
    RandomState of the user's.
    """

    name: str
    parameters: dict
    method: str = "fit"
    before: str | None = None
    fails: bool = False
    kernels: str = "0"
    users_state: bool = False

    @property
    def estimator(self):
        return ImageScaler if self.name.startswith("scaler") else ConvNetClassifier

    def arguments(self, method):
        """Return the arguments of a method, with ``fails`` what it cannot take."""
        X, y = data()
        if self.estimator is ImageScaler:
            return {"X": X}
        return {"X": X, "y": y, **({"classes": [0, 1, 2]} if method == "partial_fit" else {})}

    def make(self):
        """Return the estimator before the call."""
        model = self.estimator(**self.parameters)
        if self.users_state:
            model.set_params(random_state=np.random.RandomState(5))
        if self.before:
            getattr(model, self.before)(**self.arguments(self.before))
        return model

    def call(self, model):
        arguments = self.arguments(self.method)
        if self.fails:
            arguments["X"][-1, 0, 0] = 1e308 if self.name.endswith("late") else np.inf
        getattr(model, self.method)(**arguments)

    @cached_property
    def states(self):
        """The estimator before, after, and after another call, frozen; and the lines between."""
        with self.running():
            model = self.make()
            old = freeze(vars(model))
            try:
                with Interrupt() as lines:
                    self.call(model)
            except ValueError:
                assert self.fails
            new = freeze(vars(model))
            if not self.fails:
                self.call(model)
            return old, new, freeze(vars(model)), lines.n_lines

    def running(self):
        """Return a context in which the call is made."""
        return mock.patch.dict(os.environ, SKCNN_FAST=self.kernels)


def scenes():
    """Return all calls that are interrupted."""
    short = {"n_filters": 2, "max_iter": 2, "tol": None, "batch_size": 6, "random_state": 0}
    found = []
    for kernels in "01":
        add = {"kernels": kernels}
        found += [
            Scene("cold", short, **add),
            Scene("again", short, before="fit", **add),
            Scene("warm start", {**short, "warm_start": True}, before="fit", **add),
            Scene("user's state", short, before="fit", users_state=True, **add),
            Scene("user's warm", {**short, "warm_start": True}, "fit", "fit", False, kernels, True),
            Scene("first of a stream", short, "partial_fit", **add),
            Scene("stream", short, "partial_fit", "partial_fit", users_state=True, **add),
            Scene("early stopping", {**short, "early_stopping": True}, before="fit", **add),
            Scene("lbfgs", {**short, "solver": "lbfgs"}, before="fit", **add),
            Scene("wrong X", short, before="fit", fails=True, users_state=True, **add),
            Scene("wrong X late", short, before="fit", fails=True, users_state=True, **add),
            Scene("wrong X late", short, "partial_fit", "partial_fit", fails=True, **add),
        ]
    for per in ("pixel", "channel"):
        for method in ("fit", "partial_fit"):
            for before in (None, "fit"):
                found.append(Scene(f"scaler, {per}", {"per": per}, method, before))
            found.append(Scene("scaler, wrong X", {"per": per}, method, "fit", fails=True))
    found.append(Scene("scaler, fit_transform", {}, "fit_transform", "fit"))
    return found


class BlasThreads:
    """Sees how many threads BLAS has, and gives it back what it had."""

    def __init__(self):
        self._controller = ThreadpoolController().select(user_api="blas")
        self._before = self.now()
        self._counters = [
            (item, vars(item).copy())
            for item in vars(_threads).values()
            if type(item).__module__ == _threads.__name__
        ]

    def now(self):
        return [pool["num_threads"] for pool in self._controller.info()]

    def changed(self):
        """Return what changed, if anything, and put it right."""
        now = self.now()
        if now == self._before:
            return None
        for pool, n_threads in zip(self._controller.lib_controllers, self._before):
            pool.set_num_threads(n_threads)
        for item, state in self._counters:
            vars(item).update(state)
        return f"{self._before} -> {now}"


def check(scene, at, blas):
    """Interrupt a call at one line; return that line, and what is wrong, as pairs."""
    old, new, next_one, _ = scene.states
    violations = []
    with scene.running(), warnings.catch_warnings():
        warnings.simplefilter("error")
        model = scene.make()
        interrupt = Interrupt(at)
        try:
            with interrupt:
                scene.call(model)
            violations.append(("interrupt swallowed", "the call returned"))
        except KeyboardInterrupt:
            pass
        except Exception as error:
            violations.append(("interrupt swallowed", f"{type(error).__name__}: {error}"))
        threads = blas.changed()
        if threads:
            violations.append(("threads of BLAS", threads))
        state = freeze(vars(model))
        if state not in (old, new):
            nearer = min((difference(s, state) or "" for s in (old, new)), key=len)
            violations.append(("neither old nor new", nearer))
        elif not scene.fails:
            expected = new if state == old else next_one
            try:
                scene.call(model)
                after = freeze(vars(model))
                if after != expected:
                    violations.append(("the next call", difference(expected, after)))
            except Exception as error:
                violations.append(("the next call", f"{type(error).__name__}: {error}"))
            if blas.changed():
                violations.append(("threads of BLAS", "after the next call"))
    return interrupt.where, violations
