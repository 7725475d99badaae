"""Small networks, and their outputs and gradients as slow loops; see `oracle` for the former."""

from functools import cache
from math import prod

import numpy as np
import oracle
from numpy.testing import assert_allclose

from skcnn._engine.executor import Batch
from skcnn._engine.network import Network
from skcnn._engine.parameters import Parameters
from skcnn._nn.convolution import Convolution
from skcnn._nn.dense import Dense
from skcnn._nn.dropout import Dropout
from skcnn._nn.losses import SquaredError

N_OUTPUTS = 3

# Shape of the images; convolution layers, each n_filters, K, pool_size and pool; hidden layers.
ARCHITECTURES = {
    "no pooling": ((5, 6, 1), [(1, 3, 1)], ()),
    "channels": ((6, 5, 2), [(5, 2, 1)], (4,)),
    "filters larger than the image": ((2, 3, 2), [(2, 7, 1)], ()),
    "column": ((9, 1, 1), [(4, 3, 1)], ()),
    "one pixel": ((1, 1, 3), [(2, 3, 1, "average")], ()),
    "remainder": ((5, 7, 2), [(6, 5, 3)], ()),
    "signal": ((1, 11, 2), [(3, 4, 2)], ()),
    "global": ((4, 7, 2), [(5, 4, "global")], ()),
    "large windows": ((13, 14, 1), [(2, 2, 13)], ()),
    "global, of a signal": ((1, 16, 1), [(2, 3, "global")], ()),
    "two layers": ((5, 4, 2), [(5, 2, 1), (3, 3, 1)], (4,)),
    "three layers": ((6, 7, 1), [(2, 3, 2), (5, 4, 1), (3, 6, 2)], (5, 4)),
    "average": ((5, 7, 2), [(5, 3, 3, "average")], ()),
    "average of wide windows": ((3, 9, 1), [(2, 2, 4, "average")], ()),
    "average of high windows": ((9, 3, 1), [(4, 3, 4, "average")], ()),
    "average of a signal": ((1, 11, 2), [(3, 4, 2, "average")], ()),
    "global average": ((4, 7, 2), [(5, 4, "global", "average")], ()),
    "average of large windows": ((13, 14, 1), [(2, 2, 13, "average")], ()),
    "average, maximum, average": (
        (9, 8, 1),
        [(5, 3, 2, "average"), (2, 2, 2), (3, 3, "global", "average")],
        (4,),
    ),
}


def make_network(image_shape, convolutions, hidden=(), n_outputs=N_OUTPUTS, dropout=False):
    """Return a network, of which the layers have options that no estimator has."""
    layers, shape = [], image_shape
    for n_filters, K, pool_size, *pool in convolutions:
        layers.append(Convolution(shape, n_filters, K, pool_size, *pool, is_first=not layers))
        shape = layers[-1].out_shape
    n_inputs = 0
    for number, n_out in enumerate((*hidden, n_outputs)):
        if dropout:
            layers.append(Dropout(shape, first=n_inputs))
            n_inputs += prod(shape)
        layers.append(Dense(shape, n_out, is_output=number == len(hidden)))
        shape = layers[-1].out_shape
    return Network(layers)


def random_parameters(network, dtype=np.float64, **options):
    """Return parameters of which none is 0."""
    rng = np.random.RandomState(0)
    params = [
        {p.name: rng.randn(*p.shape).astype(dtype) for p in layer.parameters}
        for layer in network.layers
    ]
    return Parameters(network, params, **options)


def random_batch(network, n, dtype=np.float64):
    """Return n images, rows of values, with targets for `SquaredError` and a dropout mask."""
    rng = np.random.RandomState(1)
    X, Y, s = rng.randn(n, network.n_values), rng.randn(n, network.n_outputs), rng.rand(n)
    mask = (rng.rand(n, network.n_dropout_inputs) < 0.7) / 0.7
    arrays = [array.astype(dtype) for array in (X, Y, s)]
    return Batch(*arrays, mask.astype(dtype) if mask.size else None)


@cache
def example(name, n, dropout=False):
    """Return a network of `ARCHITECTURES`, parameters, a batch of n images, T and gradients."""
    network = make_network(*ARCHITECTURES[name], dropout=dropout)
    parameters, batch = random_parameters(network), random_batch(network, n)
    return network, parameters, batch, *slow_gradients(network, parameters.params, batch)


def slow_gradients(network, params, batch):
    """Return T and the gradients of the weighted squared error, for each layer a dict."""
    A, backwards = batch.X.reshape(-1, *network.image_shape), []
    for layer, layer_params in zip(network.layers, params):
        if isinstance(layer, Convolution):
            A, backward = convolution(layer, layer_params, A)
        elif isinstance(layer, Dropout):
            A, backward = dropout(layer, batch.dropout_mask, A)
        else:
            A, backward = dense(layer, layer_params, A)
        backwards.append(backward)
    T, grads = A.reshape(len(A), -1), []
    dA = SquaredError(network.n_outputs).backward(T, batch.Y, batch.s).reshape(A.shape)
    for backward in reversed(backwards):
        dA, layer_grads = backward(dA)
        grads.insert(0, layer_grads)
    return T, grads


def assert_same_differences(executor, batch):
    """Check the gradient of theta against central differences of the loss."""
    parameters, loss = executor.parameters, SquaredError(executor.network.n_outputs)
    theta, T = parameters.theta.copy(), np.empty_like(batch.Y)
    gradient, differences = executor.gradient(batch, T).copy(), []
    for k in range(theta.size):
        losses = []
        for step in (1e-6, -1e-6):
            parameters.theta[k] = theta[k] + step
            losses.append(loss.forward(executor.outputs(batch.X), batch.Y) @ batch.s)
        parameters.theta[k] = theta[k]
        differences.append((losses[0] - losses[1]) / 2e-6)
    assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6)


def convolution(layer, params, X):
    """A of images X, (n, H, W, C); and the function from dA to dX and the gradients."""
    W, b = params["W"], params["b"]
    R = np.maximum(oracle.response(X, W, b), 0)
    pooled = average_pooling if layer.pooling.name == "average" else max_pooling
    A, pooling_backward = pooled(R, layer.pooling.window)

    def backward(dA):
        dZ = np.where(R > 0, pooling_backward(dA), 0)
        dX, dW = np.zeros_like(X), np.zeros_like(W)
        (n_filters, height, width, _), (_, n_rows, n_columns, _) = W.shape, X.shape
        for i, j, u, v in np.ndindex(n_rows, n_columns, height, width):
            row, column = i + u - height // 2, j + v - width // 2
            if 0 <= row < n_rows and 0 <= column < n_columns:
                for f in range(n_filters):
                    dW[f, u, v] += dZ[:, i, j, f] @ X[:, row, column]
                    dX[:, row, column] += np.outer(dZ[:, i, j, f], W[f, u, v])
        return dX, {"W": dW, "b": dZ.sum(axis=(0, 1, 2))}

    return A, backward


def windows_of(R, window):
    """The index of each window of (n, H, W, F), and the part of R that it is."""
    (n_images, height, width, n_filters), (p, q) = R.shape, window
    for n, i, j, f in np.ndindex(n_images, height // p, width // q, n_filters):
        yield (n, i, j, f), (n, slice(i * p, i * p + p), slice(j * q, j * q + q), f)


def max_pooling(R, window):
    """The maximum of each window, and the function from its gradient to that of R."""
    A = oracle.pooled(R, window)

    def backward(dA):
        dR = np.zeros_like(R)
        for index, part in windows_of(R, window):
            # The first column among equals, and in it the first row.
            column, row = np.unravel_index(R[part].T.argmax(), window[::-1])
            dR[part][row, column] = dA[index]
        return dR

    return A, backward


def average_pooling(R, window):
    """The mean of each window, and the function from its gradient to that of R."""
    (n, height, width, n_filters), (p, q) = R.shape, window
    A = np.empty((n, height // p, width // q, n_filters))
    for index, part in windows_of(R, window):
        A[index] = sum(R[part].ravel()) / (p * q)

    def backward(dA):
        dR = np.zeros_like(R)
        for index, part in windows_of(R, window):
            dR[part] = dA[index] / (p * q)
        return dR

    return A, backward


def as_rows(A):
    """Images (n, H, W, C) as rows in the order of the columns of V: channel, row, column."""
    return A.transpose(0, 3, 1, 2).reshape(len(A), -1)


def as_images(rows, shape):
    """The inverse of `as_rows`."""
    H, W, C = shape if len(shape) == 3 else (1, 1, *shape)
    return rows.reshape(-1, C, H, W).transpose(0, 2, 3, 1)


def dropout(layer, mask, X):
    """X times its columns of the mask; and the function from dA to dX and no gradients."""
    columns = mask[:, layer.first : layer.first + layer.n_dropout_inputs]
    factors = as_images(columns, layer.in_shape)
    return X * factors, lambda dA: (dA * factors, {})


def dense(layer, params, X):
    """A of X, (n, H, W, C); and the function from dA to dX and the gradients."""
    V, rows = params["V"], as_rows(X)
    T = oracle.dense(rows, V, params["c"])
    A = T if layer.is_output else np.maximum(T, 0)

    def backward(dA):
        dT = as_rows(dA)
        if not layer.is_output:
            dT = np.where(T > 0, dT, 0)
        grads = {"V": dT.T @ rows, "c": dT.sum(axis=0)}
        return as_images(dT @ V, layer.in_shape), grads

    return as_images(A, layer.out_shape), backward
