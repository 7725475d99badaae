"""The layers of the network as functions of arrays: each backward stands below its forward.

Shapes, in the letters of the mathematics (n images of H x W pixels and C channels, F filters of
side K, pooling windows of p x p pixels; H' = H//p and W' = W//p)::

    X        images                          (n, H, W, C)
    patches  for every pixel the K x K x C   (K*K*C, p*p*H'*W'*n)
             values that its response sees
    W, b     filters as rows, and intercepts (F, K*K*C), (F,)
    Z        response, without b             (F, p*p, H'*W'*n)
    M        the greatest of each window     (F, H'*W'*n)
    A        ReLU of M + b, an image a row   (n, F*H'*W')
    V, c     dense weights and intercepts    (n_outputs, F*H'*W'), (n_outputs,)
    T, P     logits and probabilities        (n, n_outputs)
    Y        targets: 0 or 1 for one output, (n, n_outputs)
             one-hot rows for several
    s        weights of the images           (n, 1)

With patches as rows, the convolution and its gradient are one matrix product each, over contiguous
memory, for any number of images, filters and channels. The images come last in memory, so that
patches are gathered in long runs and A is the memory of M, transposed. The p*p corners of the
windows come before them, so that pooling compares contiguous blocks; pixels that no window covers
are left out. The intercept, which is the same all over a window, is added after pooling, and ReLU
comes last: the result is the same, for less work.

Intercepts are None where there are none. A backward pass writes gradients of the loss into its
``out_x`` arguments, and leaves out what is None, a gradient that nobody asked for.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit, log_expit, log_softmax, softmax


def pad_images(n, H, W, C, K, dtype):
    """Return zeros around n images, and the view in which the images themselves go.

    There are K//2 zeros before and (K-1)//2 after, so that the response has the image's size.

    Returns
    -------
    padded : ndarray of shape (C, H + K - 1, W + K - 1, n)
    interior : ndarray of shape (n, H, W, C)
        A view of ``padded``.
    """
    padded = np.zeros((C, H + K - 1, W + K - 1, n), dtype=dtype)
    before = K // 2
    interior = padded[:, before : before + H, before : before + W]
    return padded, interior.transpose(3, 1, 2, 0)


def conv_windows(padded, K, pool):
    """View padded images as (K, K, C, q, p, H', W', n).

    The element [u, v, c, l, k, i, j, n] is padded[c, i*p + k + u, j*q + l + v, n], for windows of
    ``pool`` = (p, q) pixels.
    """
    windows = sliding_window_view(padded, (K, K), axis=(1, 2))  # (C, H, W, n, K, K)
    (C, H, W, n), (p, q) = windows.shape[:4], pool
    windows = windows[:, : H // p * p, : W // q * q]
    windows = windows.reshape(C, H // p, p, W // q, q, n, K, K, copy=False)
    return windows.transpose(6, 7, 0, 4, 2, 1, 3, 5)


def conv_forward(patches, W, out):
    """Z[f, q] = sum_k W[f, k] * patches[k, q] for every pixel q of every image."""
    return np.dot(W, patches, out=out)


def conv_backward(dZ, patches, out_W):
    """dloss/dW[f, k] = sum_q dloss/dZ[f, q] * patches[k, q]."""
    np.dot(dZ, patches.T, out=out_W)


def pool_forward(Z, out):
    """M[f, q] = max_k Z[f, k, q] over the corners k of every window q."""
    return np.max(Z, axis=1, out=out)


def pool_backward(dM, Z, M, out):
    """dloss/dZ[f, k, q] = dloss/dM[f, q] for the first corner k that is the greatest, else 0.

    ``dM`` is used up.
    """
    for k in range(Z.shape[1]):
        np.multiply(dM, Z[:, k] == M, out=out[:, k])
        dM -= out[:, k]  # nothing is left for a later corner of the same value


def relu_forward(M, b, out):
    """A = M + b where that is positive, else 0."""
    if b is not None:
        M = np.add(M, b[:, np.newaxis], out=out)
    return np.maximum(M, np.zeros((), M.dtype), out=out)  # an array is faster than a number


def relu_backward(dA, A, out_b, out_M):
    """dloss/dM = dloss/dA where A > 0, else 0; dloss/db[f] = sum_q dloss/dM[f, q]."""
    np.sign(A, out=out_M)  # 1 where A > 0, else 0
    out_M *= dA
    if out_b is not None:
        np.sum(out_M, axis=1, out=out_b)


def dense_forward(A, V, c):
    """T = A V' + c."""
    T = np.dot(A, V.T)
    if c is not None:
        T += c
    return T


def dense_backward(dT, A, V, out_V, out_c, out_A):
    """dloss/dV = (dloss/dT)' A; dloss/dc = sum_n dloss/dT; dloss/dA = dloss/dT V."""
    if out_V is not None:
        np.dot(dT.T, A, out=out_V)
    if out_c is not None:
        np.sum(dT, axis=0, out=out_c)
    if out_A is not None:
        np.dot(V.T, dT.T, out=out_A.T)


def probabilities(T):
    """P = sigmoid(T) for one output, softmax(T) for several; without overflow."""
    return expit(T) if T.shape[1] == 1 else softmax(T, axis=1)


def class_probabilities(T):
    """P of every class, (n, n_classes): for one output, of both."""
    return expit(np.hstack([-T, T])) if T.shape[1] == 1 else softmax(T, axis=1)


def log_probabilities(T):
    """Log P of every class, (n, n_classes): for one output, of both; without underflow."""
    return log_expit(np.hstack([-T, T])) if T.shape[1] == 1 else log_softmax(T, axis=1)


def most_probable(T):
    """Index of the most probable class of each image, the first of equals."""
    return (T[:, 0] > 0).astype(np.intp) if T.shape[1] == 1 else T.argmax(axis=1)


def targets(y, n_outputs, dtype):
    """Y of the indices of the classes: themselves for one output, else one-hot rows."""
    return (y[:, np.newaxis] if n_outputs == 1 else np.eye(n_outputs)[y]).astype(dtype)


def log_loss_forward(T, y):
    """-log P[n, y_n] of each image, in nats, for indices y of the classes."""
    return -np.take_along_axis(log_probabilities(T), y[:, np.newaxis], axis=1)[:, 0]


def log_loss_backward(T, Y, s):
    """dloss/dT = s * (P - Y), where s sums to one for the weighted mean; never clipped."""
    return (probabilities(T) - Y) * s


def reported_log_loss(T, y):
    """-log P[n, y_n] of each image as scikit-learn's ``log_loss`` has it: P clipped.

    A probability is clipped at the machine epsilon of its dtype, so that one hopeless image counts
    36 nats in float64, and not its logit of a thousand.
    """
    epsilon = np.finfo(T.dtype).eps
    return np.clip(log_loss_forward(T, y), -np.log1p(-epsilon), -np.log(epsilon))
