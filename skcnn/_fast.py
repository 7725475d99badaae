"""The network in compiled loops, where numba is installed.

It is used wherever it is there; the environment variable ``SKCNN_FAST=0`` goes without. The loops
themselves stand in `skcnn._loops`, which is imported, and compiled or loaded from numba's cache,
when the first network is computed.
"""

import os
import warnings
from functools import cache
from math import prod

import numpy as np

# The buffers of a block of images: with 32 filters, pooled, and ten classes, a block that does not
# fit beside the dense weights in the cache of a core takes half as long again.
CACHE_BYTES = 2**19
SMALLEST_BLOCK = 4

# The images that are gathered at a time for an epoch in compiled loops.
CHUNK_BYTES = 2**21


@cache
def _loops():
    """Return the module of the loops, or None where it cannot be imported."""
    try:
        from . import _loops as module
    except ModuleNotFoundError:
        return None
    except Exception as error:  # numba refuses to work with some versions of NumPy, for example
        warnings.warn(
            f"numba is installed but cannot be used, and skcnn goes without it: {error}",
            RuntimeWarning,
        )
        return None
    return module


def is_there():
    """Return whether there are compiled loops, and they are wanted."""
    return os.environ.get("SKCNN_FAST", "1") != "0" and _loops() is not None


def _row(architecture):
    """Length of a row of pixels in the loops."""
    return architecture.W + architecture.K - 1


def _n_cells(architecture):
    """Number of cells of A for a filter: pixels in their rows, or pooling windows."""
    pools = prod(architecture.pool) > 1
    return architecture.n_windows if pools else architecture.H * _row(architecture)


def _sizes(architecture):
    """Return the sizes that the loops want."""
    H, W, C, K, *_ = architecture
    return _loops().Sizes(H, W, C, K, _row(architecture), *architecture.pool)


def _room(architecture, n, dtype):
    """Return room for n images in the loops."""
    H, W, C, K, F, *_ = architecture
    row = _row(architecture)
    n_pixels, n_padded = H * row, C * (H + K - 1) * row
    u, v, c = np.indices((K, K, C)).reshape(3, -1)
    offsets = np.full(Convolution.shapes(architecture).W[1], n_padded)  # where only zeros are
    offsets[: len(u)] = (c * (H + K - 1) + u) * row + v
    z, dz = np.zeros((2, n_pixels), dtype)
    A, dA = np.zeros((2, n, F, _n_cells(architecture)), dtype)
    return _loops().Room(
        padded=np.zeros((n, n_padded + n_pixels), dtype),
        offsets=offsets.astype(np.uintp),
        z=z,
        dz=dz,
        winners=np.zeros(A.shape if prod(architecture.pool) > 1 else (n, F, 0), np.uintp),
        A=A,
        dA=dA,
    )


class Convolution:
    """The convolution of n images, its pooling and ReLU, in compiled loops.

    It is what `skcnn._network.Convolution` is, but for the layout of the parameters: that of
    `skcnn._loops`, where filters are filled up with places that see nothing, and rows of the dense
    weights with pixels that are in no image. There all of them are 0, and so are their gradients.
    """

    def __init__(self, architecture, n, dtype):
        self._sizes = _sizes(architecture)
        self._room = _room(architecture, n, dtype)
        self._zeros = np.zeros(architecture.F, dtype)
        self._unused = np.zeros(architecture.F, dtype)
        self._dtype = dtype
        self.A = self._room.A.reshape(n, -1)
        self.dA = self._room.dA.reshape(n, -1)

    @staticmethod
    def shapes(architecture):
        """Return the shapes of the parameters as the loops want them."""
        K, C, F, n_outputs = architecture.K, architecture.C, architecture.F, architecture.n_outputs
        return architecture.shapes._replace(
            W=(F, -(-K * K * C // 9) * 9), V=(n_outputs, F * _n_cells(architecture))
        )

    @staticmethod
    def parameters(params, architecture):
        """Return the views of params where those are that users know."""
        H, W, C, K, F, _, n_outputs = architecture
        V = params.V.reshape(n_outputs, F, -1)
        if prod(architecture.pool) == 1:
            V = V.reshape(n_outputs, F, H, -1)[..., :W]
        return params._replace(W=params.W[:, : K * K * C], V=V)

    @staticmethod
    def block_size(architecture, dtype):
        """Return the number of images to work on together."""
        values = 2 * architecture.F * _n_cells(architecture)
        return max(SMALLEST_BLOCK, CACHE_BYTES // (values * dtype.itemsize))

    def forward(self, params, X):
        """Write A for n images, rows or images of any numeric dtype."""
        X = np.ascontiguousarray(X.reshape(len(X), -1), self._dtype)
        b = self._zeros if params.b is None else params.b
        _loops().filters_forward(self._sizes, b, params.W, X, self._room)

    def backward(self, grads):
        """Write the gradients of the filters, for the images of the last `forward`."""
        db = self._unused if grads.b is None else grads.b
        _loops().filters_backward(self._sizes, db, grads.W, self._room)


class Epochs:
    """Epochs of small batches, compiled with all they do: between two steps no Python runs.

    Parameters
    ----------
    architecture : Architecture
    params, grads : Params
        As the loops want them, without None.
    gradient : ndarray
        The memory of grads.
    theta, dtheta : ndarray
        What is learnt of both.
    learn_filters, learn_dense : bool
    alpha : float
        L2 penalty.
    """

    def __init__(
        self,
        architecture,
        *,
        params,
        grads,
        gradient,
        theta,
        dtheta,
        learn_filters,
        learn_dense,
        alpha,
    ):
        self._dtype = theta.dtype
        self._sizes = _sizes(architecture)
        self._room = _room(architecture, 1, theta.dtype)
        self._dT = np.zeros(architecture.n_outputs, theta.dtype)
        by_filter = architecture.n_outputs, architecture.F, -1
        self._training = _loops().Training(
            params=params._replace(V=params.V.reshape(by_filter)),
            grads=grads._replace(V=grads.V.reshape(by_filter)),
            gradient=gradient,
            theta=theta,
            dtheta=dtheta,
            learn_filters=learn_filters,
            learn_dense=learn_dense,
            alpha=theta.dtype.type(alpha),
            batch_size=1,
        )
        self._bytes_an_image = architecture.H * architecture.W * architecture.C * theta.itemsize

    def chunk_size(self, batch_size):
        """Return the number of images that `run` should be given, of whole batches."""
        return max(1, CHUNK_BYTES // self._bytes_an_image // batch_size) * batch_size

    def run(self, solver, X, Y, s, batch_size, eta):
        """Take a step for every batch of images, rows of X, and return their logits."""
        T = np.empty(Y.shape, self._dtype)
        of_images = (
            self._sizes,
            self._training._replace(batch_size=batch_size),
            np.ascontiguousarray(X, self._dtype),
            Y,
            s,
            self._room,
            self._dT,
            T,
        )
        solver.run_compiled(_loops(), of_images, eta)
        return T
