"""The mathematics as slow loops, which the package is held against.

A network is a list of convolution layers, each its filters W of shape (F, height, width, C), their
intercepts b of shape (F,), a pooling window (p, q) and, if it is not "max", the kind of pooling;
and a list of dense layers, each V of shape (n_out, n_in) and c of shape (n_out,).
"""

from math import exp, log

import numpy as np


def response(X, W, b):
    """b + Z of shape (n, H, W, F), for images (n, H, W, C)."""
    n_images, height, width, n_channels = X.shape
    n_filters, rows, columns, _ = W.shape
    Z = np.zeros((n_images, height, width, n_filters))
    for n, i, j, f in np.ndindex(Z.shape):
        Z[n, i, j, f] = b[f]
        for u, v, c in np.ndindex(rows, columns, n_channels):
            row, column = i + u - rows // 2, j + v - columns // 2
            if 0 <= row < height and 0 <= column < width:
                Z[n, i, j, f] += W[f, u, v, c] * X[n, row, column, c]
    return Z


def window(pool_size, height, width):
    """Height and width of the pooling windows on images of some height and width."""
    if pool_size == "global":
        return height, width
    if pool_size <= min(height, width):
        return pool_size, pool_size
    return min(pool_size, max(1, height // 2)), min(pool_size, max(1, width // 2))


def pooled(Z, window, kind="max"):
    """The maximum or mean of each p x q window of (n, H, W, F); a remainder is dropped."""
    n_images, height, width, n_filters = Z.shape
    p, q = window
    M = np.empty((n_images, height // p, width // q, n_filters))
    for n, i, j, f in np.ndindex(M.shape):
        values = [Z[n, i * p + k, j * q + m, f] for k, m in np.ndindex(p, q)]
        M[n, i, j, f] = max(values) if kind == "max" else sum(values) / len(values)
    return M


def inputs(X, convolutions):
    """What each convolution layer is given, and what the last one gives: (n, H, W, C) each."""
    given = [X]
    for W, b, *pooling in convolutions:
        given.append(pooled(np.maximum(response(given[-1], W, b), 0), *pooling))
    return given


def feature_maps(X, convolutions, layer):
    """Responses of a convolution layer after ReLU, before pooling."""
    W, b, *_ = convolutions[layer]
    return np.maximum(response(inputs(X, convolutions)[layer], W, b), 0)


def dense(X, V, c):
    """X V' + c, of shape (n, n_out)."""
    T = np.zeros((len(X), len(V)))
    for n, k in np.ndindex(T.shape):
        T[n, k] = c[k] + sum(x * v for x, v in zip(X[n], V[k]))
    return T


def logits(X, convolutions, denses, factors=None):
    """T of shape (n, n_outputs).

    Factors are those of dropout, (n, n_in) for each dense layer: 0 for an input that is left out,
    1 / (1 - dropout) for others.
    """
    X = inputs(X, convolutions)[-1].reshape(len(X), -1)
    for number, (V, c) in enumerate(denses):
        if number > 0:
            X = np.maximum(X, 0)
        if factors is not None:
            X = factors[number] * X
        X = dense(X, V, c)
    return X


def probabilities(T):
    """P of shape (n, n_classes), of both classes where there is one output."""
    if T.shape[1] == 1:
        return np.array([[1 / (1 + exp(t)), 1 / (1 + exp(-t))] for (t,) in T])
    return np.array([[exp(t) / sum(exp(u) for u in row) for t in row] for row in T])


def loss(X, y, s, convolutions, denses, alpha, factors=None):
    """Weighted mean of -log P, plus the penalty; y holds the indices of the classes."""
    P = probabilities(logits(X, convolutions, denses, factors))
    mean = sum(s[n] * -log(P[n, y[n]]) for n in range(len(X))) / sum(s)
    penalised = [W for W, *_ in convolutions] + [V for V, _ in denses]
    return mean + alpha / 2 * sum((weights**2).sum() for weights in penalised)
