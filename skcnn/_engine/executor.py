"""Runs a network on whole arrays, as many images at a time as fit into a cache."""

from typing import Any, NamedTuple

import numpy as np

from .._nn.layer import Mode
from .network import NetworkBuffers

# A group of images has 4 MiB of buffers, but no fewer than 16 images, with which inner loops would
# be short: with 32 filters of side 5 groups of 16 took two thirds of the time of groups of 4. The
# last number bounds the memory for large images.
CACHE_BYTES = 2**22
MIN_IMAGES = 16
MAX_BYTES = 2**24


class Batch(NamedTuple):
    """Images with what a training needs to know of them.

    Parameters
    ----------
    X : ndarray, sparse array or `Selection` of n rows
        Images, of any numeric dtype.
    Y : ndarray of shape (n, n_outputs)
        Targets in the form of P.
    s : ndarray of shape (n,)
        Weights, whose sum is 1 for the mean loss.
    dropout_mask : ndarray of shape (n, n_dropout_inputs) or None, default=None
        See `skcnn._nn.layer.Mode`.
    """

    X: Any
    Y: np.ndarray
    s: np.ndarray
    dropout_mask: np.ndarray | None = None

    def rows(self, rows):
        """Return the batch of consecutive images, given as a slice."""
        X = self.X.rows(rows) if isinstance(self.X, Selection) else self.X[rows]
        mask = self.dropout_mask
        return Batch(X, self.Y[rows], self.s[rows], None if mask is None else mask[rows])


class Selection:
    """Selected rows of images, which are gathered only when indexed.

    Parameters
    ----------
    X : ndarray or sparse array
    indices : ndarray of int
    """

    def __init__(self, X, indices):
        self._X, self._indices = X, indices
        self.shape = len(indices), *X.shape[1:]

    def rows(self, rows):
        """Return a selection of a part of these rows, without gathering them."""
        return Selection(self._X, self._indices[rows])

    def __getitem__(self, rows):
        return take_rows(self._X, self._indices[rows])


class ArrayExecutor:
    """Runs a network on whole arrays, one group of images after the other, and owns the memory.

    `skcnn._compiled.executor.CompiledExecutor` has the same methods, but for ``feature_maps``.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    loss : Loss
    """

    def __init__(self, network, parameters, loss):
        self._network, self._parameters, self._loss = network, parameters, loss
        self._dtype = parameters.vector.dtype
        self._group_size = group_size(network, self._dtype)
        self._gradient = parameters.new_gradient()
        self._total = parameters.new_gradient()
        self._buffers = {}

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        T = np.empty((X.shape[0], self._network.n_outputs), self._dtype)
        for rows in self._groups(len(T)):
            mode = Mode()
            buffers = self._allocate(rows.stop - rows.start, mode)
            T[rows] = self._network.forward(X[rows], buffers, mode).T
        return T

    def feature_maps(self, X, layer, out):
        """Write the responses of a convolution layer after ReLU, before pooling, (n, H, W, F)."""
        for rows in self._groups(X.shape[0]):
            mode = Mode()
            buffers = self._allocate(rows.stop - rows.start, mode)
            maps = self._network.feature_maps(X[rows], layer, buffers, mode)
            out[rows] = maps.transpose(3, 1, 2, 0)

    def gradient(self, batch, T, out):
        """Write the outputs into T, and the gradient of the weighted loss, without penalty."""
        out.fill(0)
        for rows in self._groups(len(T)):
            out += self._group_gradient(batch.rows(rows), T[rows])

    def run_steps(self, solver, data, order, batch_size, alpha, eta):
        """Take a step on each batch of the data in an order, and return their outputs.

        Parameters
        ----------
        solver : SGD or Adam
            For the theta of the parameters.
        data : Batch
            Its X, Y and s are indexed by ``order``, its mask follows it; s is 1 on average.
        order : ndarray of int
        batch_size : int
            Batches are consecutive parts of the order; the last one may be smaller.
        alpha, eta : float
            Penalty and learning rate.
        """
        T = np.empty((len(order), self._network.n_outputs), self._dtype)
        starts = np.arange(len(order)) // batch_size * batch_size  # of each image's batch
        sizes = np.minimum(batch_size, len(order) - starts).astype(self._dtype)
        Y, s = data.Y.take(order, axis=0), data.s.take(order) / sizes
        mask = data.dropout_mask
        for start in range(0, len(order), batch_size):
            rows = slice(start, start + batch_size)
            X = take_rows(data.X, order[rows])
            batch = Batch(X, Y[rows], s[rows], None if mask is None else mask[rows])
            if len(batch.Y) <= self._group_size:
                gradient = self._group_gradient(batch, T[rows])
            else:
                gradient = self._total
                self.gradient(batch, T[rows], out=gradient)
            if alpha:
                self._parameters.add_penalty(alpha, gradient)
            solver.step(self._parameters.theta, gradient, eta)
        return T

    def _group_gradient(self, batch, T):
        """Write the outputs of a group into T, and return the gradient of its weighted loss."""
        mode = Mode(training=True, dropout_mask=batch.dropout_mask)
        buffers = self._allocate(len(T), mode)
        X = batch.X[:] if isinstance(batch.X, Selection) else batch.X
        T[...] = self._network.forward(X, buffers, mode).T
        self._network.backward(self._loss.backward(T, batch.Y, batch.s).T, buffers, mode)
        return self._gradient

    def _allocate(self, n, mode):
        """Return the arrays for n images; two are kept, for the two sizes of groups of a batch."""
        key = n, mode.training
        if key not in self._buffers:
            if len(self._buffers) == 2:
                del self._buffers[next(iter(self._buffers))]
            # Predictions need no gradients.
            grads = self._parameters.views(self._gradient if mode.training else self._gradient[:0])
            self._buffers[key] = NetworkBuffers(self._network, n, self._parameters.params, grads)
        return self._buffers[key]

    def _groups(self, n):
        """Return the groups of n images, as slices."""
        return equal_slices(n, -(-n // self._group_size))


def equal_slices(n, n_slices):
    """Return slices of about the same size that cover n images."""
    return [slice(n * k // n_slices, n * (k + 1) // n_slices) for k in range(n_slices)]


def take_rows(X, indices):
    """Return selected rows of images.

    Of a contiguous array, take is three times as fast as indexing. Of any other array, it would
    copy the whole first.
    """
    is_contiguous = isinstance(X, np.ndarray) and X.flags.c_contiguous
    return X.take(indices, axis=0) if is_contiguous else X[indices]


def group_size(network, dtype):
    """Return the number of images of a group."""
    bytes_an_image = network.n_buffer_values * dtype.itemsize
    wanted = max(MIN_IMAGES, CACHE_BYTES // bytes_an_image)
    return max(1, min(wanted, MAX_BYTES // bytes_an_image))


def min_group_size(network, dtype):
    """Return the number of images below which the overhead of a group's calls is large."""
    return min(MIN_IMAGES, group_size(network, dtype))
