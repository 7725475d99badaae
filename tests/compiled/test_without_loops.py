"""Networks, and processes, that have no compiled loops: they run on whole arrays."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import oracle
import pytest
from models import assert_same, needs_numba, new_model, problem
from numpy.testing import assert_allclose
from slow_networks import (
    assert_same_differences,
    make_network,
    random_batch,
    random_parameters,
)

from skcnn._compiled import CompilationError, availability, can_run
from skcnn._engine.network import Network
from skcnn._engine.parallel import ParallelExecutor
from skcnn._nn import pooling
from skcnn._nn.dropout import Dropout
from skcnn._nn.layer import Layer, Parameter
from skcnn._nn.losses import SquaredError


class Scale(Layer):
    """A = g X, with a factor for each channel; there are no loops for it."""

    def __init__(self, in_shape, group=None):
        super().__init__(in_shape, in_shape)
        self.group, C = group, in_shape[2]
        self.parameters = (Parameter("g", (C,), "scales_", lambda random_state: np.ones(C)),)

    def allocate(self, n, params, grads, A, dA, *, needs_dX):
        H, W, C = self.in_shape
        return _ScaleBuffers((C, H, W, n), params["g"], grads.get("g"), A, dA, needs_dX)

    def forward(self, buffers, mode):
        np.multiply(buffers.X, buffers.g, out=buffers.A)

    def backward(self, buffers, mode):
        if buffers.dg is not None:
            np.einsum("chwn,chwn->c", buffers.dA, buffers.X, out=buffers.dg)
        if buffers.dX is not None:
            np.multiply(buffers.dA, buffers.g, out=buffers.dX)


class _ScaleBuffers:
    def __init__(self, shape, g, dg, A, dA, needs_dX):
        self.g, self.dg = g.reshape(-1, 1, 1, 1), dg
        self.A = A.reshape(shape)
        self.dA = None if dA is None else dA.reshape(shape)  # no layer up to this one learns
        self.X = np.empty(shape, g.dtype)
        self.dX = np.empty_like(self.X) if needs_dX else None


def scaled_network(group=None):
    """Return a network with `Scale` between two convolution layers, and at both ends of them."""
    first, second, dense = make_network((5, 4, 2), [(3, 2, 2), (2, 3, 1)]).layers
    scales = [Scale(shape, group) for shape in (first.in_shape, second.in_shape, second.out_shape)]
    return Network([scales[0], first, scales[1], second, scales[2], dense])


@pytest.mark.parametrize("group", [None, "filters"])
def test_a_layer_without_loops_runs_on_arrays(group):
    network, loss = scaled_network(group), SquaredError(3)
    parameters, batch = random_parameters(network), random_batch(network, 4)
    assert not can_run(network, loss, parameters.vector.dtype)
    executor = ParallelExecutor(network, parameters, loss, 4)
    assert not executor.compiled
    A = batch.X.reshape(4, 5, 4, 2)
    for layer, params in zip(network.layers[:-1], parameters.params):
        if isinstance(layer, Scale):
            A = A * params["g"]
        else:
            Z = oracle.response(A, params["W"], params["b"])
            A = np.maximum(oracle.pooled(Z, layer.pooling.window), 0)
    V, c = parameters.params[-1].values()
    expected = oracle.dense(A.transpose(0, 3, 1, 2).reshape(4, -1), V, c)
    assert_allclose(executor.outputs(batch.X), expected)
    assert_same_differences(executor, batch)


def test_frozen_groups_of_a_layer_without_loops():
    network = scaled_network("filters")
    parameters = random_parameters(network, freeze="filters")
    assert [{*names} for names in parameters.learnt] == [set()] * 5 + [{"V", "c"}]
    batch, T = random_batch(network, 4), np.empty((4, 3))
    gradient = ParallelExecutor(network, parameters, SquaredError(3), 4).gradient(batch, T)
    whole = ParallelExecutor(network, random_parameters(network), SquaredError(3), 4)
    assert_allclose(gradient, whole.gradient(batch, T)[-gradient.size :])


class MedianPooling(pooling.Pooling):
    name = "median"


class AbsoluteError(SquaredError):
    """A loss with the same P, and another gradient."""


@needs_numba
def test_networks_whose_layers_are_in_another_order_have_no_loops(monkeypatch):
    first, second, dense = make_network((5, 4, 2), [(3, 2, 2), (2, 3, 1)]).layers
    loss, dtype = SquaredError(3), np.dtype(float)
    assert can_run(Network([first, second, dense]), loss, dtype)
    dropout = Dropout(second.in_shape, first=0)
    assert not can_run(Network([first, dropout, second, dense]), loss, dtype)
    assert not can_run(Network([dense]), loss, dtype)
    assert not can_run(Network([first, second]), loss, dtype)
    assert not can_run(Network([first, second, dense]), AbsoluteError(3), dtype)
    monkeypatch.setitem(pooling.KINDS, "median", MedianPooling)
    network = make_network((5, 4, 2), [(3, 2, 2, "median")])
    assert not can_run(network, SquaredError(3), dtype)


def run(*args, **environment):
    """Run Python in a new process; return what it printed, and what on standard error."""
    environment = {**os.environ, **environment}
    command = [sys.executable, *args]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.stdout, done.stderr


WITHOUT_NUMBA = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from skcnn import ConvNetClassifier
from skcnn._compiled.availability import interpreter, is_available
X, y = np.random.RandomState(0).randn(20, 5, 5), np.arange(20) % 2
def fit():
    return ConvNetClassifier(max_iter=1, tol=None).fit(X, y).n_iter_
sys.modules["numba"] = None  # it is not installed
with ThreadPoolExecutor(8) as pool:  # threads that begin together
    list(pool.map(lambda _: interpreter.__wrapped__(), range(50)))
print(fit(), is_available())
del sys.modules["numba"]
sys.path[:0] = sys.argv[1:]
interpreter.cache_clear()
try:
    fit()
except RuntimeWarning as error:
    print(str(error))
print(fit(), is_available())  # without another warning
"""


def test_without_numba_or_with_one_that_cannot_be_imported(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('no NumPy 2.3')")
    args = "-W", "error", "-c", WITHOUT_NUMBA, str(tmp_path)
    printed, warned = run(*args, SKCNN_FAST="1")
    missing, broken, after = printed.splitlines()
    assert missing == after == "1 False"
    assert "(ImportError: no NumPy 2.3)" in broken
    assert warned == ""


@needs_numba
def test_the_loops_can_be_disabled(monkeypatch):
    network = make_network((5, 4, 2), [(3, 2, 2)])
    for fast, compiled in (("0", False), ("1", True)):
        monkeypatch.setenv("SKCNN_FAST", fast)
        executor = ParallelExecutor(network, random_parameters(network), SquaredError(3), 4)
        assert availability.is_available() == executor.compiled == compiled


@pytest.fixture
def failing_loops(monkeypatch):
    """Let the loops fail, as where numba cannot compile them."""

    def fail(*args):
        raise CompilationError from ValueError("no such instruction")

    monkeypatch.setattr(availability, "_reasons", [])
    monkeypatch.setattr(availability.interpreter(), "run", fail)


@needs_numba
@pytest.mark.parametrize(
    "params",
    [
        {"n_filters": 2, "pool_size": 2, "K": 20, "batch_size": 3},
        {"n_filters": (2, 3), "hidden_layer_sizes": (4,), "batch_size": 3, "solver": "sgd"},
        {"solver": "lbfgs", "fit_intercept": False},
    ],
    ids=str,
)
def test_loops_that_cannot_be_compiled_are_replaced_by_arrays(monkeypatch, failing_loops, params):
    X, y, _ = problem(n=40)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = new_model(**params).fit(X, y, X_val=X, y_val=y)
        model.predict(X)
    (warning,) = caught
    assert warning.category is RuntimeWarning
    assert "no such instruction" in str(warning.message) and "SKCNN_FAST=0" in str(warning.message)
    monkeypatch.setenv("SKCNN_FAST", "0")
    expected = new_model(**params).fit(X, y, X_val=X, y_val=y)
    assert_same(model, expected)
    assert_allclose(model.validation_loss_curve_, expected.validation_loss_curve_)


@needs_numba
def test_training_after_that_warning_was_raised_as_an_error(failing_loops):
    X, y, _ = problem()
    model = new_model(batch_size=3)
    with pytest.raises(RuntimeWarning, match="no such instruction"):
        model.fit(X, y)
    assert not hasattr(model, "filters_")
    model.fit(X, y)
    assert not availability.is_available()


WITHOUT_COMPILATION = """
import sys
sys.path[:0] = sys.argv[1:]
import numpy as np
from models import ConvNetClassifier, assert_same, fitted_on_both, problem
from slow_networks import example
from pytest import MonkeyPatch
from skcnn._compiled.availability import interpreter
from skcnn._engine.parallel import ParallelExecutor
from skcnn._nn.losses import SquaredError
for params, shape, n_classes, dtype in [
    ({"momentum": 0.9, "n_filters": 5, "K": 2, "alpha": 0.1}, (4, 5), 3, "float32"),
    ({"batch_size": 1, "eta": 1e6}, (4, 5), 2, float),  # logits of any size
    ({"n_filters": (2, 3), "hidden_layer_sizes": (5,), "dropout": 0.2}, (3, 4), 3, float),
    ({"solver": "adam", "n_filters": (5, 2), "pool_size": (2, 1)}, (5, 4), 3, float),
]:
    X, y, _ = problem(9, shape, n_classes, dtype)
    params = {"solver": "sgd", "batch_size": 4, "eta": 0.01, "max_iter": 2, **params}
    with MonkeyPatch.context() as monkeypatch:
        models = fitted_on_both(monkeypatch, X, y, None, **params)
        assert_same(*models, rtol=1e-3 if dtype == "float32" else 1e-9)
for name in ("signal", "average of a signal"):
    network, parameters, batch, T, grads = example(name, 3)
    executor, outputs = ParallelExecutor(network, parameters, SquaredError(3), 3), np.empty((3, 3))
    gradient = executor.gradient(batch, outputs)
    assert executor.compiled
    np.testing.assert_allclose(outputs, T)
    for layer_grads, expected in zip(parameters.views(gradient), grads):
        for name, array in layer_grads.items():
            np.testing.assert_allclose(array, expected[name], atol=1e-9)
print(type(interpreter().run).__name__)
"""


@needs_numba
def test_the_loops_run_as_python_for_a_debugger():
    folders = [str(Path(__file__).parents[k]) for k in range(2)]
    args = "-W", "error", "-c", WITHOUT_COMPILATION, *folders
    assert run(*args, NUMBA_DISABLE_JIT="1", SKCNN_FAST="1") == ("function\n", "")
