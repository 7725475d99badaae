"""The layers of the network as functions of arrays: each backward stands below its forward.

Shapes, in the letters of the mathematics (n images of H x W pixels and C channels, F filters of
side K, pooling windows of p x p pixels; H' = H//p and W' = W//p)::

    X        images                          (n, H, W, C)
    patches  for every pixel the K x K x C   (K*K*C, p*p*H'*W'*n)
             values that its response sees
    W, b     filters as rows, and intercepts (F, K*K*C), (F,)
    Z        response, without b             (p*p, F, H'*W'*n)
    M        the greatest of each window     (F, H'*W'*n)
    A        ReLU of M + b, an image a row   (n, F*H'*W')
    V, c     dense weights and intercepts    (n_outputs, F*H'*W'), (n_outputs,)
    T, P     logits and probabilities        (n, n_outputs)
    Y        targets: 0 or 1 for one output, (n, n_outputs)
             one-hot rows for several
    s        weights of the images           (n, 1)

Of a filter that is larger than the image only the part that meets it is computed, see
`skcnn._parameters.Architecture.kernel`: K x K is then to be read as the height and width of that.

With patches as rows, the convolution and its gradient are one matrix product each, over contiguous
memory, for any number of images, filters and channels; or a stack of some, see `n_pieces`. The
images come last in memory, so that patches are gathered in long runs and A is the memory of M,
transposed. The p*p corners of the windows come before them, so that pooling compares contiguous
blocks; pixels that no window covers are left out. The intercept, which is the same all over a
window, is added after pooling, and ReLU comes last: the result is the same, for less work.

Intercepts are None where there are none. A backward pass writes gradients of the loss into its
``out_x`` arguments, and leaves out what is None, a gradient that nobody asked for.
"""

from functools import cache, lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from scipy.special import expit, log_expit, log_softmax, softmax

# Matrix products of up to a million multiplications have kernels of their own in OpenBLAS, on
# processors with AVX-512. In pieces of this size the products of a convolution, which are long and
# narrow, took half the time, and those of its gradient a third; elsewhere they took as long.
PRODUCT_WORK = 10**6
SHORTEST_PIECE = 64  # pixels; with less, a product is over before it is at speed


def n_pieces(length, others):
    """Return in how many pieces to take a matrix product along its longest axis.

    Parameters
    ----------
    length : int
        Of this axis.
    others : int
        Product of the lengths of the other two.
    """
    wanted = -(-length * others // PRODUCT_WORK)
    for n in range(wanted, 4 * wanted):
        if length % n == 0 and length // n >= SHORTEST_PIECE:
            return n
    return 1


def in_pieces(rows, n):
    """View an array (..., m, length) in n pieces of its last axis, (..., n, m, length // n)."""
    if n == 1:
        return rows
    return rows.reshape(*rows.shape[:-1], n, -1).swapaxes(-3, -2)


@cache
def zero(dtype):
    """Return 0 as an array, which takes less time in a step on one image than a number."""
    return np.zeros((), dtype)


@lru_cache(maxsize=16)
def row_of(value, n, dtype):
    """Return n times a number.

    A product with ones takes a fifth of the time of a sum over few numbers, and the maximum with a
    row of zeros half the time of that with one zero.
    """
    return np.full(n, value, dtype)


def pad_images(m, n, H, W, C, kernel, dtype):
    """Return zeros around m times n images, and the view in which the images themselves go.

    There are height//2 rows of zeros before and (height-1)//2 after, for the height and width of a
    filter in ``kernel``, so that the response has the image's size. The rows follow each other
    without zeros between them, so that what a place of the filter sees of all pixels is one run of
    memory; `beyond_the_edges` are left to clear.

    Returns
    -------
    padded : ndarray of shape (m, C, (H + height - 1) * W + width - 1, n)
    interior : ndarray of shape (m, n, H * W, C)
        A view of ``padded``.
    """
    height, width = kernel
    padded = np.zeros((m, C, (H + height - 1) * W + width - 1, n), dtype=dtype)
    before = height // 2 * W + width // 2
    return padded, padded[:, :, before : before + H * W].transpose(0, 3, 2, 1)


def conv_windows(padded, H, W, kernel, pool):
    """View padded images as (m, *kernel, C, q, p, H', W', n), for windows of ``pool`` = (p, q).

    The element [m, u, v, c, l, k, i, j, n] is what pixel (i*p + k, j*q + l) of channel c sees at
    place (u, v), padded[m, c, (i*p + k + u) * W + j*q + l + v, n].
    """
    (m, C, _, n), (p, q) = padded.shape, pool
    of_batch, of_channel, of_pixel, of_image = padded.strides
    steps = np.array([0, W, 1, 0, 1, W, p * W, q, 0]) * of_pixel
    steps[[0, 3, 8]] = of_batch, of_channel, of_image
    return as_strided(padded, (m, *kernel, C, q, p, H // p, W // q, n), steps)


def beyond_the_edges(patches, W):
    """Return views of patches in the shape of `conv_windows`, which are to be 0.

    They are where a place sees what lies left or right of the image, and so the end of another row.
    """
    width, q, n_columns = patches.shape[2], patches.shape[4], patches.shape[7]
    return [
        patches[:, :, v, :, j % q, :, :, j // q]
        for v in range(width)
        for j in range(q * n_columns)
        if not 0 <= j + v - width // 2 < W
    ]


def conv_forward(patches, W, out):
    """Z[f, q] = sum_k W[f, k] * patches[k, q] for every pixel q of every image.

    Patches and Z may be stacks of pieces with some of the pixels each.
    """
    if patches.ndim == 2:
        W.dot(patches, out)  # fewer steps on the way to BLAS, for small batches
    else:
        np.matmul(W, patches, out=out)


def conv_backward(dZ, patches, out_W):
    """dloss/dW[f, k] = sum_q dloss/dZ[f, q] * patches[k, q]."""
    if patches.ndim == 2:
        dZ.dot(patches.T, out_W)
    else:
        of_pieces = np.matmul(dZ, patches.swapaxes(-2, -1))
        of_pieces.reshape(-1, *out_W.shape).sum(axis=0, out=out_W)


def pool_forward(Z, out):
    """M[f, q] = max_k Z[k, f, q] over the corners k of every window q."""
    return np.max(Z, axis=0, out=out)


def pool_backward(dM, Z, M, out):
    """dloss/dZ[k, f, q] = dloss/dM[f, q] for the first corner k that is the greatest, else 0.

    ``dM`` is used up.
    """
    for corner, of_corner in zip(Z, out):
        of_corner[...] = corner == M  # half the time of a product with what is True or False
        of_corner *= dM
        dM -= of_corner  # nothing is left for a later corner of the same value


def relu_forward(M, b, out, out_slope):
    """A = M + b where that is positive, else 0; and dA/dM, 1 where it is positive, else 0."""
    if b is not None:
        M = np.add(M, b[:, np.newaxis], out=out)
    if out_slope is None:
        return np.maximum(M, row_of(0, M.shape[1], M.dtype), out=out)
    out_slope[...] = M > zero(M.dtype)  # half the time of a product with what is True or False
    return np.multiply(M, out_slope, out)


def relu_backward(dA, slope, out_b):
    """dloss/dM = dloss/dA * dA/dM, in place of the slope; dloss/db[f] = sum_q dloss/dM[f, q]."""
    slope *= dA
    if out_b is not None:
        slope.dot(row_of(1, slope.shape[1], slope.dtype), out_b)


def dense_forward(A, V, c, out):
    """T = A V' + c."""
    A.dot(V.T, out)
    if c is not None:
        out += c
    return out


def dense_backward(dT, A, V, out_V, out_c, out_A):
    """dloss/dV = (dloss/dT)' A; dloss/dc = sum_n dloss/dT; dloss/dA = dloss/dT V."""
    transposed = dT.T
    if out_V is not None:
        transposed.dot(A, out_V)
    if out_c is not None:
        row_of(1, len(dT), dT.dtype).dot(dT, out_c)
    if out_A is not None:
        V.T.dot(transposed, out_A.T)


def probabilities(T):
    """P = sigmoid(T) for one output, softmax(T) for several; without overflow."""
    return expit(T) if T.shape[1] == 1 else softmax(T, axis=1)


def class_probabilities(T):
    """P of every class, (n, n_classes): for one output, of both."""
    return expit(np.hstack([-T, T])) if T.shape[1] == 1 else softmax(T, axis=1)


def log_probabilities(T):
    """Log P of every class, (n, n_classes): for one output, of both; without underflow."""
    return log_expit(np.hstack([-T, T])) if T.shape[1] == 1 else log_softmax(T, axis=1)


def class_log_probabilities(T):
    """Log P of every class, the logarithm of `class_probabilities` where that is near 1.

    There P is rounded to a float, and so its logarithm is not as exact as that of
    `log_probabilities`, from which it would differ by more than rounding.
    """
    P = class_probabilities(T)
    log_P = np.where(P > 0.5, np.log(P), log_probabilities(T))
    return np.maximum(log_P, np.finfo(T.dtype).min)  # that of two huge logits overflows


def most_probable(T):
    """Index of the most probable class of each image, the first of equals."""
    return (T[:, 0] > 0).astype(np.intp) if T.shape[1] == 1 else T.argmax(axis=1)


def targets(y, n_outputs, dtype):
    """Y of the indices of the classes: themselves for one output, else one-hot rows."""
    return (y[:, np.newaxis] if n_outputs == 1 else np.eye(n_outputs)[y]).astype(dtype)


def log_loss_forward(T, y):
    """-log P[n, y_n] of each image, in nats, for indices y of the classes."""
    if T.shape[1] == 1:
        return -log_expit(np.where(y, T[:, 0], -T[:, 0]))  # and not of the other class too
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
