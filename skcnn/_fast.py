"""The network in compiled loops, where numba is installed.

It is used wherever it is there; the environment variable ``SKCNN_FAST=0`` goes without. The loops
themselves stand in `skcnn._loops`, which is imported, and compiled or loaded from numba's cache,
when the first network is computed.
"""

import os
import sys
import warnings
from functools import cache
from math import prod

import numpy as np

from ._parameters import aligned_zeros, zeros

# Where the dense weights and their gradient are larger than this, images go through the network
# together, as many as have activations of this size: then each piece of the weights is read once
# for all of them.
CACHE_BYTES = 2**18

# The images that are converted at a time.
CHUNK_BYTES = 2**21


_reasons = []  # why there are no loops in this process


class CompilationError(Exception):
    """The loops cannot be compiled; nothing was computed."""


def _go_without(reason):
    """Let there be no loops from now on, and tell why, once."""
    _reasons.append(reason)
    if len(_reasons) == 1:
        warnings.warn(
            f"numba is installed but cannot be used ({type(reason).__name__}: {reason}); skcnn "
            "falls back to NumPy, which is slower. Install another version of numba, or set the "
            "environment variable SKCNN_FAST=0 to use NumPy without this warning.",
            RuntimeWarning,
        )


@cache
def _loops():
    """Return the module of the loops, or None where it cannot be imported."""
    try:
        from . import _loops as module
    except ModuleNotFoundError:
        return None
    except Exception as error:  # numba refuses to work with some versions of NumPy, for example
        _go_without(error)
        return None
    return module


def is_there():
    """Return whether there are compiled loops, and they are wanted."""
    wanted = os.environ.get("SKCNN_FAST", "1") != "0"
    return wanted and not _reasons and _loops() is not None


def _call(function, *args):
    """Call a function that calls loops; raise `CompilationError` where they cannot be compiled."""
    try:
        return function(*args)
    except _loops().CompilationError as failure:
        _go_without(failure.__cause__)
        raise CompilationError from failure


def _sizes(architecture):
    """Return the sizes that the loops want."""
    H, W, C, *_ = architecture
    (height, width), (p, q) = architecture.kernel, architecture.pool
    n_shifts, n_rows = (1, H + height - 1) if p == 1 else (p + height - 1, H // p)
    row = -(-(W + width - 1) // q)
    return _loops().Sizes(H, W, C, height // 2, width // 2, p, q, row, n_shifts, n_rows)


def _n_cells(architecture):
    """Number of values of A for a filter, in the image or not."""
    sizes = _sizes(architecture)
    return sizes.H // sizes.p * sizes.row


def _in_the_image(V, architecture):
    """View dense weights of the loops without the pixels that are in no image."""
    sizes = _sizes(architecture)
    return V.reshape(len(V), architecture.F, -1, sizes.row)[..., : sizes.W // sizes.q]


def _n_offsets(architecture):
    """Number of taps that are computed: those that meet the image, filled up to nines."""
    return -(-architecture.n_taps // 9) * 9


def _columns(architecture):
    """Return where in a row of W the loops have each tap of a filter.

    Those that meet the image come first, and after all that are computed the others, of which there
    are some where a filter is larger than the image.
    """
    n_taps, n_all = architecture.n_taps, architecture.shapes.W[1]
    in_kernel = np.zeros(n_all, bool)
    architecture.in_kernel(in_kernel)[...] = True
    columns = np.empty(n_all, np.intp)
    columns[in_kernel] = np.arange(n_taps)
    columns[~in_kernel] = _n_offsets(architecture) + np.arange(n_all - n_taps)
    return columns


def _offsets(architecture, n_padded):
    """Return how much further on than a pixel is what each place of the filters sees of it.

    ``n_padded`` is where only zeros are.
    """
    sizes = _sizes(architecture)
    u, v, c = np.indices((*architecture.kernel, sizes.C)).reshape(3, -1)
    offsets = np.full((sizes.q, _n_offsets(architecture)), n_padded, np.uintp)
    rows_a_shift = 1 if sizes.p == 1 else sizes.n_rows
    for phase in range(sizes.q):
        column = phase + v
        rows = (c * sizes.q + column % sizes.q) * sizes.n_shifts * sizes.n_rows + u * rows_a_shift
        offsets[phase, : len(u)] = rows * sizes.row + column // sizes.q
    return offsets


def _room(architecture, dtype, n_images):
    """Return the room in the loops for as many images as go through the network together."""
    F, n_outputs = architecture.F, architecture.n_outputs
    sizes, n_cells = _sizes(architecture), _n_cells(architecture)
    n_padded = sizes.C * sizes.q * sizes.n_shifts * sizes.n_rows * sizes.row
    of_images = 2 * F * n_cells * dtype.itemsize
    of_weights = 2 * prod(Workspace.shapes(architecture).V) * dtype.itemsize
    together = CACHE_BYTES // of_images if of_weights > CACHE_BYTES else 1
    n = max(1, min(together, n_images))
    n_corners = sizes.p * sizes.q
    n_responses = n_corners * n_cells
    z, dz = aligned_zeros((2, _loops().FILTERS, n_responses), dtype)
    A, dA = aligned_zeros((2, n, F * n_cells), dtype)
    return _loops().Room(
        padded=aligned_zeros((n, n_padded + n_responses), dtype),
        offsets=_offsets(architecture, n_padded),
        z=z,
        dz=dz,
        winners=aligned_zeros((n, F, n_cells if n_corners > 1 else 0), dtype),
        A=A,
        dA=dA,
        dT=np.zeros((n, n_outputs), dtype),
        counts=np.zeros(n, np.bool_),
    )


def as_rows(X, dtype):
    """Return images, sparse or not, as the loops want them: the same array if it is so already.

    They are compiled for arrays that may be written to, which is no other machine code.
    """
    X = X.toarray() if hasattr(X, "toarray") else X
    return np.require(X.reshape(len(X), -1), dtype, "CAWE")


def are_rows(X, dtype):
    """Return whether images are as the loops want them, so that `as_rows` copies nothing."""
    return isinstance(X, np.ndarray) and X.dtype == dtype and X.flags.carray


class Workspace:
    """The network of a part of a batch in compiled loops.

    It is what `skcnn._network.Workspace` is, but for the layout of the parameters: that of
    `skcnn._loops`, where filters are filled up with taps that see nothing, and rows of the dense
    weights with pixels that are in no image. There all of them are 0, and so are their gradients.
    """

    def __init__(self, architecture, dtype):
        self._architecture = architecture
        self._dtype = dtype
        self._sizes = _sizes(architecture)
        self._room = _room(architecture, dtype, n_images=sys.maxsize)
        _, self._zeros = zeros(self.shapes(architecture), dtype)
        _, self._grads = zeros(self.shapes(architecture), dtype)

    @staticmethod
    def shapes(architecture):
        """Return the shapes of the parameters as the loops want them."""
        F, n_outputs, shapes = architecture.F, architecture.n_outputs, architecture.shapes
        n_unused = shapes.W[1] - architecture.n_taps
        return shapes._replace(
            W=(F, _n_offsets(architecture) + n_unused), V=(n_outputs, F * _n_cells(architecture))
        )

    @staticmethod
    def parameters(params, architecture):
        """Return params of that layout in the shapes of the architecture, None where it is."""
        W, V = params.W, params.V
        if W is not None:
            W = W.take(_columns(architecture), axis=1)
        if V is not None:
            V = _in_the_image(V, architecture).reshape(architecture.shapes.V)
        return params._replace(W=W, V=V)

    @staticmethod
    def lay_out(params, out, architecture):
        """Write params, in the shapes of the architecture, into those of that layout."""
        if params.W is not None:
            out.W[:, _columns(architecture)] = params.W
        if params.V is not None:
            V = _in_the_image(out.V, architecture)
            V[...] = params.V.reshape(V.shape)
        for to, of in ((out.b, params.b), (out.c, params.c)):
            if of is not None:
                to[...] = of

    def logits(self, params, X):
        """Return the logits of images, see `skcnn._network.logits`."""
        params = self._without_none(params)
        T = np.empty((X.shape[0], self._architecture.n_outputs), self._dtype)
        for rows in self._blocks(X.shape[0]):
            images = as_rows(X[rows], self._dtype)
            order = np.arange(len(images))
            _call(_loops().logits, self._sizes, params, images, order, self._room, T[rows])
        return T

    def logits_and_grad(self, params, grads, X, Y, s, T):
        """Write the logits of images into T, and the gradient of their weighted loss."""
        params = self._without_none(params)
        learnt = grads.W is not None, grads.V is not None
        for rows in self._blocks(X.shape[0]):
            images = as_rows(X[rows], self._dtype)
            data = _loops().Data(images, Y[rows], s[rows, 0], np.arange(len(images)))
            of_images = data, self._room, T[rows], rows.start > 0
            of_network = self._sizes, params, self._grads, *learnt
            _call(_loops().logits_and_grad, *of_network, *of_images)
        for to, of in zip(grads, self._grads):
            if to is not None:
                to[...] = of

    def _blocks(self, n):
        """Yield n images in blocks that are converted together, as slices."""
        size = max(1, CHUNK_BYTES // (self._architecture.n_values * self._dtype.itemsize))
        for start in range(0, n, size):
            yield slice(start, min(start + size, n))

    def _without_none(self, params):
        """Return params with intercepts, 0 where there are none."""
        if params.b is None:
            return params._replace(b=self._zeros.b, c=self._zeros.c)
        return params


class Epochs:
    """Epochs of small batches, compiled with all they do: between two steps no Python runs.

    Parameters
    ----------
    architecture : Architecture
    params, grads : Params
        As the loops want them, without None.
    theta, dtheta : ndarray
        The pieces of their vectors that are learnt.
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
        theta,
        dtheta,
        learn_filters,
        learn_dense,
        alpha,
    ):
        self._dtype = theta.dtype
        self._sizes = _sizes(architecture)
        self._architecture = architecture
        self._room = None
        self._training = _loops().Training(
            params=params,
            grads=grads,
            theta=theta,
            dtheta=dtheta,
            learn_filters=learn_filters,
            learn_dense=learn_dense,
            alpha=theta.dtype.type(alpha),
            batch_size=1,
        )

    def run(self, solver, X, Y, s, rows, batch_size, eta):
        """Take a step for every batch of some rows of the data, and return their logits."""
        if self._room is None or self._training.batch_size != batch_size:
            self._room = _room(self._architecture, self._dtype, batch_size)
            self._training = self._training._replace(batch_size=batch_size)
        data = _loops().Data(as_rows(X, self._dtype), Y, s[:, 0], rows)
        T = np.empty((len(rows), Y.shape[1]), self._dtype)
        of_data = self._sizes, self._training, data, self._room, T
        _call(solver.run_compiled, _loops(), of_data, eta)
        return T
