"""A network: layers in a row, and all their parameters as views of one vector."""

from itertools import pairwise
from math import prod

import numpy as np

from ._layers import Convolution, Dense

# A block has 4 MiB of buffers, but no fewer than 16 images, with which inner loops would be short:
# with 32 filters of side 5 a block of 16 took two thirds of the time of a block of 4. The last
# number bounds the memory for large images.
CACHE_BYTES = 2**22
LONG_RUN = 16
MAX_BYTES = 2**24

KEEP_ALL = np.empty((0, 0))  # no dropout: any slice of it has no elements either


class Network:
    """Convolution layers, then dense layers.

    Parameters
    ----------
    image_shape : tuple (H, W, C)
    n_filters, K, pool_size : sequences
        Sizes of each convolution layer, see `Convolution`.
    hidden_layer_sizes : sequence of int
        Numbers of units of the hidden dense layers.
    loss : LogLoss, LabelLogLoss or SquaredError
        It has the number of outputs.

    Attributes
    ----------
    convolutions, denses : lists
        The layers.
    layers : list
        All of them.
    n_values, n_outputs : int
        Number of values of an image, and of outputs for it.
    n_dense_inputs : int
        Number of inputs of all dense layers.
    n_parameters : int
    work : int
        Number of multiplications in the outputs for an image.
    n_block_values : int
        Number of values in the workspace of a training, for an image.
    """

    def __init__(self, image_shape, n_filters, K, pool_size, hidden_layer_sizes, loss):
        self.convolutions, self.denses, self.loss = [], [], loss
        shape = self.image_shape = image_shape
        for sizes in zip(n_filters, K, pool_size, strict=True):
            layer = Convolution(shape, *sizes, is_first=not self.convolutions)
            self.convolutions.append(layer)
            shape = layer.out_shape
        for n_units in hidden_layer_sizes:
            self.denses.append(Dense(shape, n_units, is_output=False))
            shape = self.denses[-1].out_shape
        self.denses.append(Dense(shape, loss.n_outputs, is_output=True))
        self.layers = [*self.convolutions, *self.denses]
        self.n_values, self.n_outputs = prod(image_shape), loss.n_outputs
        self.n_dense_inputs = sum(layer.n_in for layer in self.denses)
        self.n_parameters = sum(prod(shape) for layer in self.layers for shape in layer.shapes)
        self.work = sum(layer.work for layer in self.layers)
        self.n_block_values = sum(layer.n_block_values for layer in self.convolutions)

    def initial(self, random_state, dtype):
        """Draw the initial parameters, a pair of weights and intercepts for each layer.

        The draws themselves are in float64, so that they do not depend on the dtype.
        """
        drawn = [layer.initial(random_state) for layer in self.layers]
        return [tuple(array.astype(dtype) for array in pair) for pair in drawn]

    def forward(self, X, work, keep=KEEP_ALL):
        """Return T, an array (n_outputs, n), overwritten by the next call.

        Parameters
        ----------
        X : ndarray or sparse array
            n images, rows of values of any numeric dtype.
        work : Workspace
            For n images.
        keep : ndarray of shape (n, n_dense_inputs), or without elements
            Factors of the inputs of the dense layers, for dropout.
        """
        self._convolve(X, work.of_convolutions, work)
        start = 0
        for layer, of_layer in work.of_denses:
            end = start + layer.n_in
            layer.forward(of_layer, keep[:, start:end].T)
            start = end
        return work.T

    def _convolve(self, X, of_convolutions, work):
        """Take images through some of the first convolution layers."""
        X = X if isinstance(X, np.ndarray) else X.toarray()
        work.images[...] = X.reshape(work.images.shape)
        for layer, of_layer in of_convolutions:
            layer.forward(of_layer)

    def backward(self, work, dT):
        """Write the gradients of what is learnt, given dT of the last `forward`."""
        work.dT[...] = dT
        for layer, of_layer in work.to_learn:
            layer.backward(of_layer)

    def feature_maps(self, X, layer, work):
        """Return the responses of a convolution layer after ReLU, before pooling, (F, H, W, n)."""
        of_convolutions = work.of_convolutions[: layer + 1]
        self._convolve(X, of_convolutions, work)
        _, of_layer = of_convolutions[-1]
        return np.maximum(of_layer.Z + of_layer.b, 0)


class Workspace:
    """The arrays of a network for n images, layer by layer.

    Parameters
    ----------
    network : Network
    n : int
    pairs, grads : lists of pairs of ndarrays
        The parameters of each layer, and where to write their gradients, None for what is not
        learnt. They are part of the workspace.

    Attributes
    ----------
    images : ndarray of shape (n, H, W, C)
        The input of the first layer, a view.
    T, dT : ndarrays of shape (n_outputs, n)
        The output of the last layer, and its gradient.
    of_convolutions, of_denses : lists of pairs
        The layers, each with its workspace.
    to_learn : list of pairs
        The same, backwards from the last to the first one that is learnt.
    """

    def __init__(self, network, n, pairs, grads):
        learnt = [any(grad is not None for grad in pair) for pair in grads]
        first = learnt.index(True) if any(learnt) else len(learnt)
        of_layers = [
            layer.workspace(n, *arrays, has_dX=k > first)
            for k, (layer, *arrays) in enumerate(zip(network.layers, pairs, grads))
        ]
        for work, after in pairwise(of_layers):
            work.A = after.X.reshape(work.A_shape)
            work.dA = None if after.dX is None else after.dX.reshape(work.A_shape)
        self.images = of_layers[0].X.transpose(3, 1, 2, 0)
        shape, dtype = of_layers[-1].A_shape, self.images.dtype
        self.T = of_layers[-1].A = np.empty(shape, dtype)
        self.dT = of_layers[-1].dA = np.empty(shape, dtype)
        layers = list(zip(network.layers, of_layers))
        n_convolutions = len(network.convolutions)
        self.of_convolutions, self.of_denses = layers[:n_convolutions], layers[n_convolutions:]
        self.to_learn = layers[first:][::-1]


class BlockWorkspace:
    """Computes a network on whole arrays, one block of images after the other, and owns the memory.

    It has the methods of `skcnn._fast.Workspace`, and ``feature_maps``.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    """

    def __init__(self, network, parameters):
        self._network, self._parameters = network, parameters
        self._dtype = parameters.vector.dtype
        self._block_size = block_size(network, self._dtype)
        self._gradient = parameters.new_gradient()
        self._total = parameters.new_gradient()
        self._workspaces = {}

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        T = np.empty((X.shape[0], self._network.n_outputs), self._dtype)
        for rows in self._blocks(len(T)):
            work = self._workspace(rows.stop - rows.start, training=False)
            T[rows] = self._network.forward(X[rows], work).T
        return T

    def feature_maps(self, X, layer, out):
        """Write the responses of a convolution layer after ReLU, before pooling, (n, H, W, F)."""
        for rows in self._blocks(X.shape[0]):
            work = self._workspace(rows.stop - rows.start, training=False)
            of_block = self._network.feature_maps(X[rows], layer, work)
            out[rows] = of_block.transpose(3, 1, 2, 0)

    def gradient(self, X, Y, s, keep, T, out):
        """Write the outputs into T, and the gradient of the weighted loss, without penalty."""
        out.fill(0)
        for rows in self._blocks(len(Y)):
            out += self._visit(X[rows], Y[rows], s[rows], keep[rows], T[rows])

    def run_epoch(self, solver, X, Y, s, rows, keep, batch_size, alpha, eta):
        """Take a step for every batch of some rows of the data, and return their outputs."""
        T = np.empty((len(rows), self._network.n_outputs), self._dtype)
        starts = np.arange(len(rows)) // batch_size * batch_size  # of each row's batch
        sizes = np.minimum(batch_size, len(rows) - starts).astype(self._dtype)
        Y, s = Y.take(rows, axis=0), s.take(rows) / sizes
        for start in range(0, len(rows), batch_size):
            batch = slice(start, start + batch_size)
            some = rows[batch]
            of_rows = Y[batch], s[batch], keep[batch], T[batch]
            images = take_rows(X, some)
            if len(some) <= self._block_size:
                gradient = self._visit(images, *of_rows)
            else:
                gradient = self._total
                self.gradient(images, *of_rows, out=gradient)
            if alpha:
                self._parameters.add_penalty(alpha, gradient)
            solver.step(self._parameters.theta, gradient, eta)
        return T

    def _visit(self, X, Y, s, keep, T):
        """Write the outputs of a block into T, and return the gradient of its weighted loss."""
        work = self._workspace(len(Y), training=True)
        T[...] = self._network.forward(X, work, keep).T
        self._network.backward(work, self._network.loss.backward(T, Y, s).T)
        return self._gradient

    def _workspace(self, n, training):
        """Return the workspace of a block; two are kept, for the two sizes of blocks of a batch."""
        key = n, training
        if key not in self._workspaces:
            if len(self._workspaces) == 2:
                del self._workspaces[next(iter(self._workspaces))]
            # Predictions need no gradients.
            grads = self._parameters.views(self._gradient if training else self._gradient[:0])
            self._workspaces[key] = Workspace(self._network, n, self._parameters.pairs, grads)
        return self._workspaces[key]

    def _blocks(self, n):
        """Return the blocks of n images, as slices."""
        return equal_slices(n, -(-n // self._block_size))


def equal_slices(n, n_slices):
    """Return slices of about the same size that cover n images."""
    return [slice(n * k // n_slices, n * (k + 1) // n_slices) for k in range(n_slices)]


def take_rows(X, rows):
    """Return some rows of images; of a contiguous array, take is three times as fast as indexing.

    Of any other array, take would copy the whole first.
    """
    is_contiguous = isinstance(X, np.ndarray) and X.flags.c_contiguous
    return X.take(rows, axis=0) if is_contiguous else X[rows]


def block_size(network, dtype):
    """Return the number of images of a block."""
    bytes_an_image = network.n_block_values * dtype.itemsize
    wanted = max(LONG_RUN, CACHE_BYTES // bytes_an_image)
    return max(1, min(wanted, MAX_BYTES // bytes_an_image))


def smallest_block(network, dtype):
    """Return the number of images below which the overhead of a block's calls is large."""
    return min(LONG_RUN, block_size(network, dtype))


class Parameters:
    """The parameters of a network as views of one vector.

    The vector begins with theta, the parameters that are learnt, layer by layer. Frozen layers, and
    intercepts that are fixed at 0, follow.

    Parameters
    ----------
    network : Network
    values : list of pairs of arrays
        The weights and intercepts of each layer; they are copied.
    freeze : {"filters", "dense"} or None, default=None
        Kind of layers that are not learnt.
    fit_intercept : bool, default=True
        False: the intercepts are set to 0, and not learnt.

    Attributes
    ----------
    vector : ndarray
    theta : ndarray
        The parameters that are learnt, a view of the vector. A solver changes it in place.
    starts : list of pairs of int
        Offset of each array in the vector.
    learnt : list of pairs of bool
        Whether the weights and the intercepts of each layer are learnt.
    pairs : list of pairs of ndarrays
        The weights and intercepts of each layer, views of the vector.
    """

    def __init__(self, network, values, freeze=None, fit_intercept=True):
        self._shapes = [layer.shapes for layer in network.layers]
        self.learnt = [
            (layer.kind != freeze, layer.kind != freeze and bool(fit_intercept))
            for layer in network.layers
        ]
        learnt = np.array(self.learnt)
        sizes = np.array([[prod(shape) for shape in shapes] for shapes in self._shapes])
        order = np.argsort(~learnt, axis=None, kind="stable")  # of the arrays in the vector
        self.starts = np.empty_like(sizes)
        self.starts.flat[order] = np.cumsum(sizes.flat[order]) - sizes.flat[order]
        self.vector = np.zeros(sizes.sum(), values[0][0].dtype)
        self.theta = self.vector[: sizes[learnt].sum()]
        self.pairs = self.views(self.vector)
        for (weights, intercepts), (W, b) in zip(self.pairs, values):
            weights[...], intercepts[...] = W, b if fit_intercept else 0

    def new_gradient(self):
        """Return a vector for the gradient, of zeros, which take no memory until they are used."""
        return np.zeros(self.theta.size, self.theta.dtype)

    def values(self):
        """Return a copy of the parameters, a pair for each layer."""
        return [tuple(array.copy() for array in pair) for pair in self.pairs]

    def add_penalty(self, alpha, gradient):
        """Add the gradient of alpha/2 * `squared_norm`."""
        for (weights, _), (dweights, _) in zip(self.pairs, self.views(gradient)):
            if dweights is not None:
                dweights += alpha * weights

    def squared_norm(self):
        """Return the sum of the squares of all weights, without the intercepts."""
        return sum((weights**2).sum() for weights, _ in self.pairs)

    def views(self, vector):
        """Return the arrays of each layer in a vector like this one, None for what it lacks."""
        return [
            tuple(
                vector[start : start + prod(shape)].reshape(shape)
                if start + prod(shape) <= len(vector)
                else None
                for start, shape in zip(starts, shapes)
            )
            for starts, shapes in zip(self.starts, self._shapes)
        ]
