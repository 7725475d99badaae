"""The network as functions of arrays: parameters are arguments, gradients are return values.

All parameters live in one vector, in the order b, W, V, c; `split` gives the four as views of it,
so that a solver sees a vector and the layers see their arrays. In this order, whatever is learnt
(without intercepts, or without one of the layers) is one piece of the vector: theta. The letters
are those of `skcnn._layers`.

The convolution layer, with its pooling and ReLU, is computed by a `Convolution`: the one below in
whole arrays, or that of `skcnn._fast` in compiled loops.

A batch is divided twice: into parts, which may be computed at the same time, and each part into
blocks, which stay in a cache near the core. Neither depends on how many threads there are, so that
sums have the same order, and weights the same bits, on one core and on many.
"""

from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from . import _fast, _layers

# A block has 2 MiB of buffers, but no fewer than 16 images, which would make short runs in memory:
# with 32 filters of side 5 a block of 16 took two thirds of the time of a block of 4. The last
# number bounds the memory for large images.
CACHE_BYTES = 2**21
LONG_RUN = 16
MAX_BYTES = 2**24

# A part is worth a thread from two million multiplications on, a few tenths of a millisecond.
MAX_PARTS = 8
PART_WORK = 2**21


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
    def work(self):
        """Number of multiplications in the response to an image."""
        return self.H * self.W * self.C * self.K**2 * self.F

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


def split(vector, shapes):
    """Return the `Params` of some shapes that are views of a vector of all parameters."""
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


class Convolution:
    """The convolution of n images, with its pooling and ReLU, in whole arrays.

    Parameters
    ----------
    architecture : Architecture
    n : int
        Number of images.
    dtype : dtype

    Attributes
    ----------
    A, dA : ndarrays of shape (n, n_in)
        What `forward` writes, and what `backward` goes from.
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

    @staticmethod
    def shapes(architecture):
        """Return the shapes of the parameters in the layout of this convolution."""
        return architecture.shapes

    @staticmethod
    def parameters(params, architecture):
        """Return the views of params in that layout which are parameters: all that there are."""
        return params

    @staticmethod
    def block_size(architecture, dtype):
        """Return the number of images to work on together."""
        H, W, C, K, F, *_ = architecture
        bytes_an_image = (K * K * C + 4 * F) * H * W * dtype.itemsize
        wanted = max(LONG_RUN, CACHE_BYTES // bytes_an_image)
        return max(1, min(wanted, MAX_BYTES // bytes_an_image))

    def forward(self, params, X):
        """Write A for n images, rows or images of any numeric dtype."""
        self.interior[...] = X.reshape(self.interior.shape)
        self.gathered[...] = self.windows
        _layers.conv_forward(self.patches, params.W, out=self.Z_rows)
        if self.pools:
            _layers.pool_forward(self.Z, out=self.M)
        _layers.relu_forward(self.M, params.b, out=self.maps)

    def backward(self, grads):
        """Write the gradients of the filters, for the images of the last `forward`."""
        _layers.relu_backward(self.dmaps, self.maps, grads.b, out_M=self.dM)
        if self.pools:
            _layers.pool_backward(self.dM, self.Z, self.M, out=self.dZ)
        _layers.conv_backward(self.dZ_rows, self.patches, grads.W)


class Buffers:
    """What is allocated once a fit or a prediction, and how n images are divided.

    Parameters
    ----------
    architecture : Architecture
    dtype : dtype
    map : callable
        ``map(function, tasks)`` calls a function for each of some tasks, maybe at the same time.

    Attributes
    ----------
    shapes : Params
        Shapes of the parameters as the convolution wants them.
    block_size : int
        Greatest number of images in a block.
    """

    def __init__(self, architecture, dtype, map=map):
        self.architecture = architecture
        self.dtype = np.dtype(dtype)
        self.map = map
        self._convolution = _fast.Convolution if _fast.is_there() else Convolution
        self.shapes = self._convolution.shapes(architecture)
        self.block_size = self._convolution.block_size(architecture, self.dtype)
        self._divisions = {}
        self._idle = {}
        self._gradients = []

    def laid_out(self, params):
        """Return a vector with a copy of params, and the `Params` that the convolution wants."""
        vector = np.zeros(sum(prod(shape) for shape in self.shapes), self.dtype)
        result = split(vector, self.shapes)
        for to, of in zip(self.parameters(result), params):
            to[...] = of.reshape(to.shape)
        return vector, result

    def parameters(self, params):
        """Return the parameters in what the convolution wants, as views of other shapes."""
        return self._convolution.parameters(params, self.architecture)

    def divide(self, n):
        """Return the parts of n images: for each the blocks, as slices."""
        if n not in self._divisions:
            smallest = min(LONG_RUN, self.block_size)
            n_parts = min(MAX_PARTS, n // smallest, n * self.architecture.work // PART_WORK)
            self._divisions[n] = [
                _slices(part.start, part.stop, -(-(part.stop - part.start) // self.block_size))
                for part in _slices(0, n, max(1, n_parts))
            ]
        return self._divisions[n]

    def borrow(self, n):
        """Return a convolution of n images that is not in use."""
        try:
            return self._idle[n].pop()
        except (KeyError, IndexError):
            return self._convolution(self.architecture, n, self.dtype)

    def give_back(self, n, convolution):
        """Let others use a convolution."""
        self._idle.setdefault(n, []).append(convolution)

    def gradients(self, like, n):
        """Return n arrays for each gradient that there is."""
        while len(self._gradients) < n:
            self._gradients.append(
                Params(*(None if array is None else np.empty_like(array) for array in like))
            )
        return self._gradients[:n]


def _slices(start, stop, n):
    """Return n slices of about the same size."""
    ends = [start + (stop - start) * k // n for k in range(n + 1)]
    return [slice(*pair) for pair in zip(ends, ends[1:])]


def _dense(X):
    """Return X as an array that is not sparse."""
    return X.toarray() if hasattr(X, "toarray") else X


def _forward(params, X, convolution):
    """Return the logits of a block of images."""
    convolution.forward(params, _dense(X))
    return _layers.dense_forward(convolution.A, params.V, params.c)


def _backward(params, grads, dT, convolution):
    """Write the gradients, given dloss/dT for the block of the last `_forward`."""
    learn_filters = grads.W is not None
    out_A = convolution.dA if learn_filters else None
    _layers.dense_backward(dT, convolution.A, params.V, grads.V, grads.c, out_A)
    if learn_filters:
        convolution.backward(grads)


def logits(params, X, buffers):
    """Return T, an array of shape (n, n_outputs), for n images.

    Parameters
    ----------
    params : Params
        Laid out as the convolution of the buffers wants them.
    X : ndarray or sparse array of n rows, or ndarray of shape (n, H, W, C)
        Images, of any numeric dtype.
    buffers : Buffers

    Returns
    -------
    T : ndarray of shape (n, n_outputs)
    """
    T = np.empty((X.shape[0], buffers.architecture.n_outputs), buffers.dtype)

    def write(blocks):
        for rows in blocks:
            n = rows.stop - rows.start
            convolution = buffers.borrow(n)
            T[rows] = _forward(params, X[rows], convolution)
            buffers.give_back(n, convolution)

    list(buffers.map(write, buffers.divide(X.shape[0])))
    return T


def feature_maps(params, X, architecture):
    """Return the responses after ReLU, before any pooling, as an array of shape (n, H, W, F).

    Parameters
    ----------
    params : Params
        As `init_params` returns them.
    X : ndarray or sparse array of n rows, or ndarray of shape (n, H, W, C)
    architecture : Architecture
    """
    H, W, _, _, F, *_ = architecture
    unpooled = architecture._replace(p=1)
    maps = np.empty((X.shape[0], H * W, F), params.W.dtype)
    block_size = Convolution.block_size(unpooled, params.W.dtype)
    for start in range(0, len(maps), block_size):
        rows = slice(start, min(start + block_size, len(maps)))
        convolution = Convolution(unpooled, rows.stop - start, params.W.dtype)
        convolution.forward(params, _dense(X[rows]))
        maps[rows] = convolution.A.reshape(-1, F, H * W).swapaxes(1, 2)
    return maps.reshape(-1, H, W, F)


def logits_and_grad(params, grads, X, Y, s, alpha, buffers):
    """Return the logits of a batch of images, and write the gradient of its loss.

    The loss is sum_n s_n * (-log P[n, y_n]) + alpha/2 * (|W|^2 + |V|^2), in nats.

    Parameters
    ----------
    params : Params
        Laid out as the convolution of the buffers wants them.
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
    parts = buffers.divide(n)
    if len(parts) == 1 and len(parts[0]) == 1:
        T = _of_block(params, grads, X, Y, s, n, buffers)
    else:
        T = np.empty(Y.shape, buffers.dtype)
        sums = [grads, *buffers.gradients(grads, 2 * len(parts) - 1)]

        def write(k):
            of_part, of_block = sums[k], sums[-1 - k]
            for rows in parts[k]:
                is_first = rows is parts[k][0]
                out, n = of_part if is_first else of_block, rows.stop - rows.start
                T[rows] = _of_block(params, out, X[rows], Y[rows], s[rows], n, buffers)
                if not is_first:
                    _add(of_part, of_block)

        list(buffers.map(write, range(len(parts))))
        for of_part in sums[1 : len(parts)]:
            _add(grads, of_part)
    if alpha:
        _add(grads, Params(b=None, W=alpha * params.W, V=alpha * params.V, c=None))
    return T


def _of_block(params, grads, X, Y, s, n, buffers):
    """Return the logits of a block of n images, and write the gradient of their weighted loss."""
    convolution = buffers.borrow(n)
    T = _forward(params, X, convolution)
    _backward(params, grads, _layers.log_loss_backward(T, Y, s), convolution)
    buffers.give_back(n, convolution)
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
    map : callable
        Calls a function for several tasks, see `Buffers`.

    Attributes
    ----------
    theta : ndarray
        What is learnt, as a vector, laid out as the convolution wants it. A solver changes it in
        place.
    places : ndarray of int
        Where in theta the parameters are, whatever the layout, in the order b, W, V, c; what is
        elsewhere is 0, and so is its gradient.
    """

    def __init__(self, params, X, y, s, *, architecture, alpha, fit_intercept, freeze, map=map):
        dtype = params.W.dtype
        self._architecture = architecture
        self._buffers = Buffers(architecture, dtype, map)
        vector, self._params = self._buffers.laid_out(params)
        gradient = np.zeros_like(vector)
        grads = split(gradient, self._buffers.shapes)
        self._in_use, self._grads = self._params, grads
        if not fit_intercept:
            self._params.b.fill(0)
            self._params.c.fill(0)
            self._in_use = self._in_use._replace(b=None, c=None)
            self._grads = self._grads._replace(b=None, c=None)
        if freeze == "filters":
            self._grads = self._grads._replace(b=None, W=None)
        elif freeze == "dense":
            self._grads = self._grads._replace(V=None, c=None)

        sizes = [array.size for array in grads]
        learnt = [grad is not None for grad in self._grads]
        first, last = learnt.index(True), 3 - learnt[::-1].index(True)
        piece = slice(sum(sizes[:first]), sum(sizes[: last + 1]))
        self.theta, self._gradient = vector[piece], gradient[piece]
        numbers = split(np.arange(vector.size), self._buffers.shapes)
        places = join(self._buffers.parameters(numbers))
        self.places = places[(places >= piece.start) & (places < piece.stop)] - piece.start

        self._X, self._y, self._s = X, y, s[:, np.newaxis].astype(dtype)
        self._Y = _layers.targets(y, architecture.n_outputs, dtype)
        # A dense array takes rows three times as fast with take as with an index.
        self._rows_of_X = X.__getitem__ if hasattr(X, "toarray") else partial(X.take, axis=0)
        self._alpha = alpha
        self._visited = []
        self._epochs = None
        if _fast.is_there():
            self._epochs = _fast.Epochs(
                architecture,
                params=self._params,
                grads=grads,
                gradient=gradient,
                theta=self.theta,
                dtheta=self._gradient,
                learn_filters=self._grads.W is not None,
                learn_dense=self._grads.V is not None,
                alpha=alpha,
            )

    @property
    def params(self):
        """All parameters, a copy, in the shapes of the architecture."""
        views = self._buffers.parameters(self._params)
        shapes = self._architecture.shapes
        return Params(*(view.reshape(shape).copy() for view, shape in zip(views, shapes)))

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

    def has_compiled_epochs(self, batch_size):
        """Return whether `run_epoch` is there, and the best for batches of such a size."""
        return self._epochs is not None and len(self._buffers.divide(batch_size)) == 1

    def run_epoch(self, solver, order, batch_size, eta):
        """Do what `skcnn._solvers.run_epoch` does with the gradient, in compiled loops."""
        chunk_size = self._epochs.chunk_size(batch_size)
        for start in range(0, len(order), chunk_size):
            chunk = order[start : start + chunk_size]
            images = _dense(self._rows_of_X(chunk)).reshape(len(chunk), -1)
            of_chunk = self._Y.take(chunk, axis=0), self._s.take(chunk)
            self._visited.append(self._epochs.run(solver, images, *of_chunk, batch_size, eta))

    def loss_and_gradient(self, theta):
        """Move theta, and return the loss on all data there, a number, with its gradient."""
        self.theta[...] = theta
        s = self._s / self._s.sum()
        T = logits_and_grad(
            self._in_use, self._grads, self._X, self._Y, s, self._alpha, self._buffers
        )
        self._visited = [T]
        loss = np.dot(_layers.log_loss_forward(T, self._y), s[:, 0])
        penalty = sum((array**2).sum() for array in (self._params.W, self._params.V))
        return float(loss + self._alpha / 2 * penalty), self._gradient

    def visited_logits(self):
        """Return the logits of all images visited since the last call, each before its update."""
        T = np.concatenate(self._visited)
        self._visited = []
        return T

    def logits(self, X):
        """Return the logits T of other images, at theta."""
        return logits(self._in_use, X, self._buffers)
