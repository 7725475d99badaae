"""The mathematics as slow loops, which the package is held against."""

from math import exp, log

import numpy as np


def response(X, W, b):
    """Z of shape (n, H, W, F), for images (n, H, W, C) and filters (F, K, K, C)."""
    n_images, height, width, n_channels = X.shape
    n_filters, K = W.shape[:2]
    Z = np.zeros((n_images, height, width, n_filters))
    for n, i, j, f in np.ndindex(Z.shape):
        Z[n, i, j, f] = b[f]
        for u, v, c in np.ndindex(K, K, n_channels):
            row, column = i + u - K // 2, j + v - K // 2
            if 0 <= row < height and 0 <= column < width:
                Z[n, i, j, f] += W[f, u, v, c] * X[n, row, column, c]
    return Z


def pooled(Z, p):
    """The greatest of each p x p window of (n, H, W, F); a remainder at the edge is dropped."""
    n_images, height, width, n_filters = Z.shape
    M = np.full((n_images, height // p, width // p, n_filters), -np.inf)
    for n, i, j, f in np.ndindex(M.shape):
        for k, m in np.ndindex(p, p):
            M[n, i, j, f] = max(M[n, i, j, f], Z[n, i * p + k, j * p + m, f])
    return M


def logits(X, W, b, V, c, p=1):
    """T of shape (n, n_outputs), for dense weights (n_outputs, H // p * W // p * F)."""
    T = np.zeros((len(X), len(V)))
    A = np.maximum(pooled(response(X, W, b), p), 0).reshape(len(X), -1)
    for n, k in np.ndindex(T.shape):
        T[n, k] = c[k] + sum(a * v for a, v in zip(A[n], V[k]))
    return T


def probabilities(T):
    """P of shape (n, n_classes), of both classes where there is one output."""
    if T.shape[1] == 1:
        return np.array([[1 / (1 + exp(t)), 1 / (1 + exp(-t))] for (t,) in T])
    return np.array([[exp(t) / sum(exp(u) for u in row) for t in row] for row in T])


def loss(X, y, s, W, b, V, c, alpha, p=1):
    """Weighted mean of -log P, plus the penalty; y holds the indices of the classes."""
    P = probabilities(logits(X, W, b, V, c, p))
    mean = sum(s[n] * -log(P[n, y[n]]) for n in range(len(X))) / sum(s)
    return mean + alpha / 2 * ((W**2).sum() + (V**2).sum())
