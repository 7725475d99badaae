"""The network as functions of arrays: parameters are arguments, gradients are return values.

All parameters live in one vector, in the order b, W, V, c; `split` gives the four as views of it,
so that a solver sees a vector and the layers see their arrays. In this order, whatever is learnt
(without intercepts, or without one of the layers) is one piece of the vector: theta. The letters
are those of `skcnn._layers`.
"""

from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from . import _layers

# The buffers of the images that are worked on at a time: 2 MiB of them stay in a cache near the
# core, but fewer than 16 images make short runs in memory. With 32 filters of side 5 a block of 16
# took two thirds of the time of a block of 4. The last number bounds the memory for large images.
CACHE_BYTES = 2**21
LONG_RUN = 16
MAX_BYTES = 2**24


class Architecture(NamedTuple):
    """The sizes that say what network it is."""

    H: int
    W: int
    C: int
    K: int
    F: int
    p: int
    n_outputs: int

    @property
    def pool(self):
        """Height and width of the pooling windows.

        They are p, unless the image is smaller than that: then at most half a side of the image,
        so that a signal is pooled along its length and two windows are left of the shortest.
        """
        if self.p <= min(self.H, self.W):
            return self.p, self.p
        return tuple(min(self.p, max(1, side // 2)) for side in (self.H, self.W))

    @property
    def n_windows(self):
        """Number of pooling windows of an image, of pixels without pooling."""
        return (self.H // self.pool[0]) * (self.W // self.pool[1])

    @property
    def n_in(self):
        """Number of inputs of the dense layer."""
        return self.n_windows * self.F

    @property
    def shapes(self):
        """Shapes of b, W, V and c."""
        return Params(
            b=(self.F,),
            W=(self.F, self.K * self.K * self.C),
            V=(self.n_outputs, self.n_in),
            c=(self.n_outputs,),
        )


class Params(NamedTuple):
    """The parameters; or of each something else, such as a gradient (None where there is none)."""

    b: np.ndarray | None
    W: np.ndarray
    V: np.ndarray
    c: np.ndarray | None


def split(vector, architecture):
    """Return the `Params` that are views of a vector of all parameters."""
    shapes = architecture.shapes
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    parts = np.split(vector, ends[:-1])
    return Params(*(part.reshape(shape) for part, shape in zip(parts, shapes)))


def join(params):
    """Return the vector of all parameters, a copy."""
    return np.concatenate([array.ravel() for array in params])


def init_params(architecture, random_state, dtype):
    """Draw the initial parameters: W, then V, normal with mean 0; intercepts are 0.

    Their standard deviations are 2/sqrt(K*K*C) and 1/sqrt(n_in).

    Parameters
    ----------
    architecture : Architecture
    random_state : numpy.random.RandomState
        It is advanced by the two draws.
    dtype : dtype
        Of the result; the draws themselves are in float64, so that they do not depend on it.

    Returns
    -------
    params : Params
    """
    shapes = architecture.shapes
    fan_in = architecture.K**2 * architecture.C
    W = random_state.normal(0, 2 / np.sqrt(fan_in), size=shapes.W)
    coef = random_state.normal(0, 1 / np.sqrt(architecture.n_in), size=shapes.V)
    return Params(
        b=np.zeros(shapes.b, dtype),
        W=W.astype(dtype),
        V=dense_from_coef(coef, architecture).astype(dtype),
        c=np.zeros(shapes.c, dtype),
    )


def dense_from_coef(coef, architecture):
    """V from ``coef_``, whose rows run over (pixel, filter) as the activations (H, W, F) do."""
    n_outputs, F = architecture.n_outputs, architecture.F
    return coef.reshape(n_outputs, -1, F).swapaxes(1, 2).reshape(n_outputs, -1)


def coef_from_dense(V, architecture):
    """``coef_`` from V, whose rows run over (filter, pixel) as the layers keep activations."""
    n_outputs, F = architecture.n_outputs, architecture.F
    return V.reshape(n_outputs, F, -1).swapaxes(1, 2).reshape(n_outputs, -1)


class Workspace:
    """The buffers in which a given number of images go forward and backward.

    Parameters
    ----------
    architecture : Architecture
    n : int
        Number of images.
    dtype : dtype
    """

    def __init__(self, architecture, n, dtype):
        H, W, C, K, F, *_ = architecture
        n_corners = prod(architecture.pool)
        shape_of_Z = F, n_corners, architecture.n_windows * n
        padded, self.interior = _layers.pad_images(n, H, W, C, K, dtype)
        self.windows = _layers.conv_windows(padded, K, architecture.pool)
        self.gathered = np.empty(self.windows.shape, dtype)
        self.patches = self.gathered.reshape(K * K * C, -1)
        self.Z, self.dZ = np.empty((2, *shape_of_Z), dtype)
        self.M, self.dM = self.Z[:, 0], self.dZ[:, 0]  # without pooling they are the same
        self.pools = n_corners > 1
        if self.pools:
            self.M, self.dM = np.empty((2, F, shape_of_Z[2]), dtype)
        self.maps, self.dmaps = np.empty((2, F, shape_of_Z[2]), dtype)
        # The same memory in the shapes of the dense layer and of the convolution.
        self.A, self.dA = (maps.reshape(-1, n).T for maps in (self.maps, self.dmaps))
        self.Z_rows, self.dZ_rows = (Z.reshape(F, -1) for Z in (self.Z, self.dZ))

    def activate(self, params, X):
        """Return A for n images: an array of rows or images, or a sparse one of rows."""
        if hasattr(X, "toarray"):
            X = X.toarray()
        self.interior[...] = X.reshape(self.interior.shape)
        self.gathered[...] = self.windows
        _layers.conv_forward(self.patches, params.W, out=self.Z_rows)
        if self.pools:
            _layers.pool_forward(self.Z, out=self.M)
        _layers.relu_forward(self.M, params.b, out=self.maps)
        return self.A

    def forward(self, params, X):
        """Return the logits T of n images."""
        return _layers.dense_forward(self.activate(params, X), params.V, params.c)

    def forward_and_backward(self, params, grads, X, Y, s):
        """Return the logits of n images, and write the gradient of their weighted loss."""
        T = self.forward(params, X)
        self.backward(params, grads, _layers.log_loss_backward(T, Y, s))
        return T

    def backward(self, params, grads, dT):
        """Write the gradients, given dloss/dT for the images of the last `forward`."""
        learn_filters = grads.W is not None
        out_A = self.dA if learn_filters else None
        _layers.dense_backward(dT, self.A, params.V, grads.V, grads.c, out_A)
        if learn_filters:
            _layers.relu_backward(self.dmaps, self.maps, grads.b, out_M=self.dM)
            if self.pools:
                _layers.pool_backward(self.dM, self.Z, self.M, out=self.dZ)
            _layers.conv_backward(self.dZ_rows, self.patches, grads.W)


class Buffers:
    """What is allocated once a fit: workspaces, by their number of images."""

    def __init__(self, architecture, dtype):
        H, W, C, K, F, *_ = architecture
        self.architecture = architecture
        self.dtype = np.dtype(dtype)
        values_an_image = (K * K * C + 4 * F) * H * W
        bytes_an_image = values_an_image * self.dtype.itemsize
        wanted = max(LONG_RUN, CACHE_BYTES // bytes_an_image)
        self.block_size = max(1, min(wanted, MAX_BYTES // bytes_an_image))
        self._workspaces = {}

    def workspace(self, n):
        """Return the workspace for n images."""
        if n not in self._workspaces:
            self._workspaces[n] = Workspace(self.architecture, n, self.dtype)
        return self._workspaces[n]

    def blocks(self, n):
        """Yield (rows, workspace) for blocks of n images, all of about the same size."""
        n_blocks = -(-n // self.block_size)
        size = -(-n // n_blocks)
        for start in range(0, n, size):
            stop = min(start + size, n)
            yield slice(start, stop), self.workspace(stop - start)


def logits(params, X, buffers):
    """Return T, an array of shape (n, n_outputs), for n images."""
    T = np.empty((X.shape[0], buffers.architecture.n_outputs), buffers.dtype)
    for rows, workspace in buffers.blocks(X.shape[0]):
        T[rows] = workspace.forward(params, X[rows])
    return T


def feature_maps(params, X, buffers):
    """Return the responses after ReLU, before any pooling, as an array of shape (n, H, W, F)."""
    H, W, _, _, F, *_ = buffers.architecture
    maps = np.empty((X.shape[0], H * W, F), buffers.dtype)
    unpooled = Buffers(buffers.architecture._replace(p=1), buffers.dtype)
    for rows, workspace in unpooled.blocks(X.shape[0]):
        A = workspace.activate(params, X[rows])
        maps[rows] = A.reshape(-1, F, H * W).swapaxes(1, 2)
    return maps.reshape(-1, H, W, F)


def logits_and_grad(params, grads, X, Y, s, alpha, buffers):
    """Return the logits of a batch of images, and write the gradient of its loss.

    The loss is sum_n s_n * (-log P[n, y_n]) + alpha/2 * (|W|^2 + |V|^2), in nats.

    Parameters
    ----------
    params : Params
    grads : Params
        Overwritten by the gradient; None for what is not learnt.
    X : ndarray or sparse array of n rows, or ndarray of shape (n, H, W, C)
        Images, of any numeric dtype.
    Y : ndarray of shape (n, n_outputs)
    s : ndarray of shape (n, 1)
        Weights of the images, divided by their sum for the weighted mean.
    alpha : float
        L2 penalty on W and V.
    buffers : Buffers

    Returns
    -------
    T : ndarray of shape (n, n_outputs)
    """
    n = X.shape[0]
    if n <= buffers.block_size:
        T = buffers.workspace(n).forward_and_backward(params, grads, X, Y, s)
    else:
        T = np.empty(Y.shape, buffers.dtype)
        for grad in grads:
            if grad is not None:
                grad.fill(0)
        of_block = Params(*(None if grad is None else np.empty_like(grad) for grad in grads))
        for rows, workspace in buffers.blocks(n):
            T[rows] = workspace.forward_and_backward(params, of_block, X[rows], Y[rows], s[rows])
            _add(grads, of_block)
    if alpha:
        _add(grads, Params(b=None, W=alpha * params.W, V=alpha * params.V, c=None))
    return T


def _add(grads, more):
    """Add to the gradients, where there is both a gradient and something to add."""
    for grad, term in zip(grads, more):
        if grad is not None and term is not None:
            grad += term


class Objective:
    """The loss on given data as a function of theta: what a solver sees of a network.

    Parameters
    ----------
    params : Params
        Where theta starts; they are copied.
    X : ndarray or sparse array of n rows, or ndarray of shape (n, H, W, C)
        Images, of any numeric dtype.
    y : ndarray of shape (n,)
        Indices of the classes.
    s : ndarray of shape (n,)
        Weights of the images.
    architecture : Architecture
    alpha : float
        L2 penalty.
    fit_intercept : bool
        False: the intercepts are 0 and remain so.
    freeze : {"filters", "dense"} or None
        Layer that is not learnt.

    Attributes
    ----------
    theta : ndarray
        What is learnt, as a vector. A solver changes it in place.
    params : Params
        All parameters, as views of the memory of theta.
    """

    def __init__(self, params, X, y, s, *, architecture, alpha, fit_intercept, freeze):
        vector = join(params)
        gradient = np.empty_like(vector)
        self.params = split(vector, architecture)
        self._in_use = self.params
        self._grads = split(gradient, architecture)
        if not fit_intercept:
            self.params.b.fill(0)
            self.params.c.fill(0)
            self._in_use = self._in_use._replace(b=None, c=None)
            self._grads = self._grads._replace(b=None, c=None)
        if freeze == "filters":
            self._grads = self._grads._replace(b=None, W=None)
        elif freeze == "dense":
            self._grads = self._grads._replace(V=None, c=None)

        sizes = [array.size for array in params]
        learnt = [grad is not None for grad in self._grads]
        first, last = learnt.index(True), 3 - learnt[::-1].index(True)
        piece = slice(sum(sizes[:first]), sum(sizes[: last + 1]))
        self.theta, self._gradient = vector[piece], gradient[piece]

        self._X, self._y, self._s = X, y, s[:, np.newaxis].astype(vector.dtype)
        self._Y = _layers.targets(y, architecture.n_outputs, vector.dtype)
        # A dense array takes rows three times as fast with take as with an index.
        self._rows_of_X = X.__getitem__ if hasattr(X, "toarray") else partial(X.take, axis=0)
        self._alpha = alpha
        self._buffers = Buffers(architecture, vector.dtype)
        self._visited = []

    def gradient(self, batch):
        """Return the gradient of the mean loss of a batch, an array of indices, at theta.

        The vector is overwritten by the next call.
        """
        T = logits_and_grad(
            self._in_use,
            self._grads,
            self._rows_of_X(batch),
            self._Y.take(batch, axis=0),
            self._s.take(batch, axis=0) / len(batch),
            self._alpha,
            self._buffers,
        )
        self._visited.append(T)
        return self._gradient

    def loss_and_gradient(self, theta):
        """Move theta, and return the loss on all data there, a number, with its gradient."""
        self.theta[...] = theta
        s = self._s / self._s.sum()
        T = logits_and_grad(
            self._in_use, self._grads, self._X, self._Y, s, self._alpha, self._buffers
        )
        self._visited = [T]
        loss = np.dot(_layers.log_loss_forward(T, self._y), s[:, 0])
        penalty = sum((array**2).sum() for array in (self.params.W, self.params.V))
        return float(loss + self._alpha / 2 * penalty), self._gradient

    def visited_logits(self):
        """Return the logits of all images visited since the last call, each before its update."""
        T = np.concatenate(self._visited)
        self._visited = []
        return T

    def logits(self, X):
        """Return the logits T of other images, at theta."""
        return logits(self._in_use, X, self._buffers)
