from functools import partial

import pytest

from skcnn._compiled.availability import is_available
from skcnn._engine.parallel import ParallelExecutor
from skcnn._nn import convolution
from skcnn._nn.losses import SquaredError


def new_executor(network, parameters, batch_size, loss=None, *, compiled):
    """Return an executor, after a check that it is the one wanted."""
    loss = SquaredError(network.n_outputs) if loss is None else loss
    executor = ParallelExecutor(network, parameters, loss, batch_size)
    assert executor.compiled == compiled
    return executor


@pytest.fixture(params=["arrays, row by row", "arrays, all pixels", "loops"])
def make_executor(request, monkeypatch):
    """Return ``make_executor(network, parameters, batch_size, loss=SquaredError)``."""
    compiled = request.param == "loops"
    if compiled and not is_available():
        pytest.skip("needs numba")
    monkeypatch.setenv("SKCNN_FAST", "01"[compiled])
    monkeypatch.setattr(convolution, "MIN_ROW", 1 if "row" in request.param else 10**6)
    return partial(new_executor, compiled=compiled)
