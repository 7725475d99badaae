import subprocess
import sys
from functools import partial

import matplotlib
import numpy as np
import pytest
from sklearn.datasets import load_digits

from skcnn import ImageScaler
from skcnn._compiled.availability import is_available
from skcnn._engine.parallel import ParallelExecutor
from skcnn._nn import convolution
from skcnn._nn.losses import SquaredError
from skcnn.datasets import fetch_fashion_mnist

matplotlib.use("Agg")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each process of ``pytest -n 2`` whole files, since fixtures of a file may be costly."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


COMPILE = """
import numpy as np
from skcnn import ConvNetClassifier
X = np.random.RandomState(0).rand(4, 3, 3).astype({dtype!r})
ConvNetClassifier(max_iter=1, tol=None).fit(X, [0, 1, 0, 1])
"""


def pytest_sessionstart(session):
    """Compile the loops once for the processes of ``pytest -n 2``, which would each do it."""
    if getattr(session.config.option, "numprocesses", None) and is_available():
        commands = [[sys.executable, "-c", COMPILE.format(dtype=dtype)] for dtype in ("f4", "f8")]
        for process in [subprocess.Popen(command) for command in commands]:
            process.wait()


def pytest_make_parametrize_id(config, val, argname):
    """Name a file's content by its argument: a time in it would differ between processes."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="module", params=["arrays", "loops"])
def kernels(request):
    """Run a test with whole arrays and, where numba is installed, with compiled loops."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SKCNN_FAST", "1" if request.param == "loops" else "0")
        if request.param == "loops" and not is_available():
            pytest.skip("needs numba")
        yield request.param


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


@pytest.fixture(scope="session")
def digits():
    """The digits 1 and 3 of scikit-learn: 365 images of 8 x 8 pixels, and their labels."""
    images, target = load_digits(return_X_y=True)
    chosen = np.isin(target, (1, 3))
    return images[chosen].reshape(-1, 8, 8), target[chosen]


@pytest.fixture(scope="session")
def scaled_digits(digits):
    images, target = digits
    return ImageScaler().fit_transform(images), target


def fashion_or_skip(subset):
    try:
        return fetch_fashion_mnist(subset=subset, classes=[1, 3], download_if_missing=False)
    except OSError as error:
        pytest.skip(f"needs the images of Fashion-MNIST: {error}")


@pytest.fixture(scope="session")
def fashion_train():
    """The 12,000 training images of classes 1 and 3 of Fashion-MNIST."""
    return fashion_or_skip("train")


@pytest.fixture(scope="session")
def fashion_test():
    """The 2,000 test images of classes 1 and 3 of Fashion-MNIST."""
    return fashion_or_skip("test")
