"""The same network, trained and applied as its peers would have it.

Each function is given a `Cell`, images and labels, and returns a function ``run(n_samples)`` that
trains on so many samples, one epoch after the other, and returns the seconds it took; or None where
the peer is not installed. What can be done before, such as compiling, is done before.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import convolve, correlate


@dataclass(frozen=True)
class Cell:
    """A network, and how it is trained."""

    F: int
    batch_size: int
    K: int = 3
    p: int = 1
    n_classes: int = 2
    solver: str = "sgd"
    eta: float = 1e-3
    dtype: str = "float32"
    fit_intercept: bool = True
    side: int = 28

    @property
    def n_in(self):
        """Number of inputs of the dense layer."""
        return (self.side // self.p) ** 2 * self.F

    def data(self, n, seed=0):
        """Return n random images (n, side, side) and labels."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, self.side, self.side), dtype=self.dtype)
        return X, rng.integers(self.n_classes, size=n)


def rounds(n_samples, n):
    """Yield the numbers of samples of each epoch."""
    while n_samples > 0:
        yield min(n, n_samples)
        n_samples -= n


def skcnn(cell, X, y, fast):
    """`ConvNetClassifier.fit`, whole: validation of the input and learning curves included."""
    from sklearn.exceptions import ConvergenceWarning

    from skcnn import ConvNetClassifier, _fast

    os.environ["SKCNN_FAST"] = "1" if fast else "0"
    if fast and not _fast.is_there():
        return None
    model = ConvNetClassifier(
        K=cell.K,
        n_filters=cell.F,
        pool_size=cell.p,
        fit_intercept=cell.fit_intercept,
        solver=cell.solver,
        eta=cell.eta,
        alpha=0.0,
        batch_size=cell.batch_size,
        tol=None,
        random_state=0,
    )

    def run(n_samples):
        os.environ["SKCNN_FAST"] = "1" if fast else "0"
        n = min(n_samples, len(X))
        images, labels = X[:n], y[:n]
        model.set_params(max_iter=-(-n_samples // n))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            start = time.perf_counter()
            model.fit(images, labels)
            seconds = time.perf_counter() - start
        return seconds * n_samples / model.t_

    return run


def article(cell, X, y):
    """Image by image with NumPy and `scipy.signal.convolve`, one filter without intercepts."""
    if (cell.F, cell.p, cell.n_classes, cell.batch_size) != (1, 1, 2, 1):
        return None
    rng = np.random.RandomState(0)
    W = rng.normal(0, 2 / cell.K, size=(cell.K, cell.K))
    V = rng.normal(0, 1 / cell.side, size=(cell.side, cell.side))
    before, after = cell.K // 2, (cell.K - 1) // 2

    def run(n_samples):
        nonlocal W, V
        start = time.perf_counter()
        losses = []
        for n in rng.randint(len(X), size=n_samples):
            x = X[n]
            Z = convolve(x, W[::-1, ::-1], mode="same")
            A = np.maximum(Z, 0)
            P = 1 / (1 + np.exp(-np.sum(A * V)))
            losses.append(-np.log(P if y[n] else 1 - P))
            dT = P - y[n]
            dZ = dT * V * (Z > 0)
            dW = correlate(np.pad(x, (before, after)), dZ, mode="valid")
            W = W - cell.eta * dW
            V = V - cell.eta * dT * A
        return time.perf_counter() - start

    return run


def c(cell, X, y):
    """`article.c`, by the C compiler of this machine."""
    compiler = os.environ.get("CC", "cc")
    if (cell.F, cell.K, cell.p, cell.n_classes, cell.batch_size) != (1, 3, 1, 2, 1):
        return None
    if cell.dtype != "float64" or shutil.which(compiler) is None:
        return None
    library = Path(tempfile.mkdtemp()) / "article.so"
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    source = Path(__file__).with_name("article.c")
    subprocess.run([compiler, *flags, str(source), "-o", str(library), "-lm"], check=True)
    train = ctypes.CDLL(str(library)).train
    images, labels = np.ascontiguousarray(X, float), y.astype(float)
    rng = np.random.RandomState(0)
    W, V = rng.normal(0, 2 / 3, size=9), rng.normal(0, 1 / 28, size=784)

    def pointer(array):
        return ctypes.c_void_p(array.ctypes.data)

    def run(n_samples):
        order = rng.randint(len(X), size=n_samples).astype(np.dtype("l"))
        T = np.empty(n_samples)
        start = time.perf_counter()
        train(
            *map(pointer, (images, labels, order)),
            ctypes.c_long(n_samples),
            ctypes.c_double(cell.eta),
            *map(pointer, (W, V, T)),
        )
        return time.perf_counter() - start

    return run


def torch_module(cell):
    """Return the network as a PyTorch module; logits of all classes, one for two."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, cell.F, cell.K, padding="same"), torch.nn.ReLU()]
    if cell.p > 1:
        layers.append(torch.nn.MaxPool2d(cell.p))
    n_outputs = 1 if cell.n_classes == 2 else cell.n_classes
    layers += [torch.nn.Flatten(), torch.nn.Linear(cell.n_in, n_outputs)]
    return torch.nn.Sequential(*layers)


def pytorch(cell, X, y):
    """PyTorch, eager: the loop of its tutorials."""
    try:
        import torch
    except ImportError:
        return None
    module = torch_module(cell)
    images = torch.from_numpy(X)[:, None]
    if cell.n_classes == 2:
        labels = torch.from_numpy(y.astype(X.dtype))[:, None]
        loss_function = torch.nn.BCEWithLogitsLoss()
    else:
        labels, loss_function = torch.from_numpy(y), torch.nn.CrossEntropyLoss()
    optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimizer = optimizers[cell.solver](module.parameters(), lr=cell.eta)

    def run(n_samples):
        start = time.perf_counter()
        for n in rounds(n_samples, len(X)):
            for batch in torch.randperm(len(X))[:n].split(cell.batch_size):
                optimizer.zero_grad()
                loss_function(module(images[batch]), labels[batch]).backward()
                optimizer.step()
        return time.perf_counter() - start

    return run


def skorch(cell, X, y):
    """skorch's `NeuralNetClassifier`, without its validation split and printing."""
    try:
        import torch
        from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
    except ImportError:
        return None
    optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    common = {
        "optimizer": optimizers[cell.solver],
        "lr": cell.eta,
        "batch_size": cell.batch_size,
        "iterator_train__shuffle": True,
        "train_split": None,
        "max_epochs": 1,
        "verbose": 0,
    }
    if cell.n_classes == 2:
        net, labels = NeuralNetBinaryClassifier(torch_module(cell), **common), y.astype(X.dtype)
    else:
        loss = torch.nn.CrossEntropyLoss
        net, labels = NeuralNetClassifier(torch_module(cell), criterion=loss, **common), y
    images = X[:, None]
    net.initialize()

    def run(n_samples):
        start = time.perf_counter()
        for n in rounds(n_samples, len(X)):
            net.partial_fit(images[:n], labels[:n])
        return time.perf_counter() - start

    return run


def jax(cell, X, y):
    """JAX: an epoch is one compiled function, a scan over its batches.

    Channels come first, which is two to eight times as fast on a processor as channels last.
    """
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    n_batches = len(X) // cell.batch_size
    n_outputs = 1 if cell.n_classes == 2 else cell.n_classes
    data = jnp.asarray(X)[:, None], jnp.asarray(y)
    keys = jax.random.split(jax.random.key(0), 2)
    params = {
        "W": jax.random.normal(keys[0], (cell.F, 1, cell.K, cell.K)) * 2 / cell.K,
        "b": jnp.zeros((cell.F, 1, 1)),
        "V": jax.random.normal(keys[1], (cell.n_in, n_outputs)) / cell.n_in**0.5,
        "c": jnp.zeros(n_outputs),
    }
    state = params, jax.tree.map(jnp.zeros_like, (params, params)), 0

    def loss(params, x, label):
        Z = jax.lax.conv_general_dilated(x, params["W"], (1, 1), "SAME")
        A = jax.nn.relu(Z + params["b"])
        if cell.p > 1:
            window = 1, 1, cell.p, cell.p
            A = jax.lax.reduce_window(A, -jnp.inf, jax.lax.max, window, window, "VALID")
        T = A.reshape(len(x), -1) @ params["V"] + params["c"]
        if cell.n_classes == 2:
            return jnp.mean(jax.nn.softplus(T[:, 0]) - label * T[:, 0])
        chosen = jnp.take_along_axis(jax.nn.log_softmax(T), label[:, None], axis=1)
        return -jnp.mean(chosen)

    def step(state, batch, images, labels):
        params, (m, v), t = state
        value, grads = jax.value_and_grad(loss)(params, images[batch], labels[batch])
        if cell.solver == "sgd":
            params = jax.tree.map(lambda p, g: p - cell.eta * g, params, grads)
        else:
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, grads)
            eta = cell.eta / (1 - 0.9**t)
            scale = 1 / (1 - 0.999**t)
            params = jax.tree.map(
                lambda p, m, v: p - eta * m / (jnp.sqrt(v * scale) + 1e-8), params, m, v
            )
        return (params, (m, v), t), value

    @jax.jit
    def epoch(state, batches, images, labels):
        return jax.lax.scan(lambda s, b: step(s, b, images, labels), state, batches)

    rng = np.random.default_rng(0)

    def run(n_samples):
        nonlocal state
        start = time.perf_counter()
        done = 0
        while done < n_samples:
            order = rng.permutation(len(X))[: n_batches * cell.batch_size]
            state, losses = epoch(state, jnp.asarray(order.reshape(n_batches, -1)), *data)
            done += order.size
        losses.block_until_ready()
        return (time.perf_counter() - start) * n_samples / done

    return run


TRAINERS = {
    "article's loop": article,
    "C": c,
    "PyTorch": pytorch,
    "skorch": skorch,
    "JAX": jax,
    "skcnn, NumPy": lambda cell, X, y: skcnn(cell, X, y, fast=False),
    "skcnn, fast": lambda cell, X, y: skcnn(cell, X, y, fast=True),
}
