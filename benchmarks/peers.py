"""The same network, trained by each peer in its usual way.

Each function is given a `Cell`, images and labels, and returns a function ``run(n_samples)`` that
trains on so many samples, one epoch after the other, and returns the seconds it took; or None where
the peer is not installed or has no such network. Compiling and the like is done before.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.signal import convolve, correlate


@dataclass(frozen=True)
class Cell:
    """A network, and how it is trained.

    It has convolution layers of so many ``filters`` of side K, each followed by ReLU and by
    max-pooling over p x p pixels, and dense layers of so many ``hidden`` units.
    """

    filters: tuple
    batch_size: int
    K: int = 3
    p: int = 1
    hidden: tuple = ()
    n_classes: int = 2
    solver: str = "sgd"
    eta: float = 1e-3
    dtype: str = "float32"
    fit_intercept: bool = True
    side: int = 28
    channels: int = 1

    def __str__(self):
        """Return the name in tables: filters, batch, and whatever is not the default."""
        image = f"{self.side} x {self.side}" + f" x {self.channels}" * (self.channels > 1)
        parts = {
            image: image != "28 x 28",
            f"F={self.n_filters}": True,
            f"K={self.K}": self.K != 3,
            f"pool {self.p}": self.p > 1,
            f"{', '.join(map(str, self.hidden))} hidden units": self.hidden,
            "ten classes": self.n_classes == 10,
            "Adam": self.solver == "adam",
            f"batch {self.batch_size}": True,
            self.dtype: self.dtype != "float32",
        }
        return ", ".join(part for part, is_shown in parts.items() if is_shown)

    @property
    def n_filters(self):
        """Number of filters of the only convolution layer, or a tuple of those of several."""
        return self.filters if len(self.filters) > 1 else self.filters[0]

    @property
    def n_outputs(self):
        """Number of logits."""
        return 1 if self.n_classes == 2 else self.n_classes

    @property
    def convolution_sizes(self):
        """Pairs of the channels and the filters of each convolution layer."""
        return list(zip((self.channels, *self.filters), self.filters))

    @property
    def dense_sizes(self):
        """Pairs of the inputs and the outputs of each dense layer."""
        side = self.side
        for _ in self.filters:
            side //= self.p
        sizes = (side**2 * self.filters[-1], *self.hidden, self.n_outputs)
        return list(zip(sizes, sizes[1:]))

    @property
    def parameters(self):
        """Parameters of `ConvNetClassifier` for the network."""
        return {
            "K": self.K,
            "n_filters": self.n_filters,
            "pool_size": self.p,
            "hidden_layer_sizes": self.hidden,
        }

    def data(self, n, seed=0):
        """Return n random images, with an axis of channels for more than one, and labels."""
        rng = np.random.default_rng(seed)
        shape = (n, self.side, self.side, self.channels)[: 3 + (self.channels > 1)]
        X = rng.standard_normal(shape, dtype=self.dtype)
        return X, rng.integers(self.n_classes, size=n)


def channels_first(X):
    """Return images (n, H, W) or (n, H, W, C) as (n, C, H, W), contiguous."""
    return np.ascontiguousarray(np.moveaxis(X.reshape(*X.shape[:3], -1), 3, 1))


def fast_is_installed():
    """Return whether skcnn has compiled loops."""
    return find_spec("numba") is not None


def rounds(n_samples, n):
    """Yield the numbers of samples of each epoch."""
    while n_samples > 0:
        yield min(n, n_samples)
        n_samples -= n


def skcnn(cell, X, y, fast):
    """`ConvNetClassifier.fit`, including validation of the input and learning curves."""
    from sklearn.exceptions import ConvergenceWarning

    from skcnn import ConvNetClassifier

    if fast and not fast_is_installed():
        return None
    model = ConvNetClassifier(
        **cell.parameters,
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
    if (cell.n_filters, cell.p, cell.hidden, cell.n_classes, cell.batch_size) != (1, 1, (), 2, 1):
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
    if (cell.n_filters, cell.p, cell.hidden, cell.n_classes, cell.batch_size) != (1, 1, (), 2, 1):
        return None
    if cell.K != 3 or cell.dtype != "float64" or shutil.which(compiler) is None:
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
    layers = []
    for channels, F in cell.convolution_sizes:
        layers += [torch.nn.Conv2d(channels, F, cell.K, padding="same"), torch.nn.ReLU()]
        if cell.p > 1:
            layers.append(torch.nn.MaxPool2d(cell.p))
    layers.append(torch.nn.Flatten())
    for n_in, n_out in cell.dense_sizes:
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def pytorch(cell, X, y, channels_last=False):
    """PyTorch, eager: the loop of its tutorials."""
    try:
        import torch
    except ImportError:
        return None
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = torch_module(cell).to(memory_format=layout)
    images = torch.from_numpy(channels_first(X)).contiguous(memory_format=layout)
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
    images = channels_first(X)
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
    data = jnp.asarray(channels_first(X)), jnp.asarray(y)
    rng = np.random.default_rng(0)

    def initial(*shape, fan_in):
        return jnp.asarray(rng.normal(0, (2 / fan_in) ** 0.5, shape), jnp.float32)

    K = cell.K
    params = {
        "W": [initial(F, C, K, K, fan_in=K * K * C) for C, F in cell.convolution_sizes],
        "b": [jnp.zeros((F, 1, 1)) for F in cell.filters],
        "V": [initial(n_in, n_out, fan_in=n_in) for n_in, n_out in cell.dense_sizes],
        "c": [jnp.zeros(n_out) for _, n_out in cell.dense_sizes],
    }
    state = params, jax.tree.map(jnp.zeros_like, (params, params)), 0

    def loss(params, x, label):
        for W, b in zip(params["W"], params["b"]):
            x = jax.nn.relu(jax.lax.conv_general_dilated(x, W, (1, 1), "SAME") + b)
            if cell.p > 1:
                window = 1, 1, cell.p, cell.p
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        T = x.reshape(len(x), -1)
        for number, (V, c) in enumerate(zip(params["V"], params["c"])):
            T = (jax.nn.relu(T) if number else T) @ V + c
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
    "PyTorch, channels last": lambda cell, X, y: pytorch(cell, X, y, channels_last=True),
    "skorch": skorch,
    "JAX": jax,
    "skcnn, NumPy": lambda cell, X, y: skcnn(cell, X, y, fast=False),
    "skcnn, fast": lambda cell, X, y: skcnn(cell, X, y, fast=True),
}
