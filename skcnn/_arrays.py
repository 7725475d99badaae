"""Kernels on whole arrays: each backward stands below its forward.

Shapes, in the letters of the mathematics, for n images of H x W pixels and C channels, F filters,
pooling windows of p x q pixels; H' = H//p and W' = W//q. The axis of the images is the last, so
that NumPy's inner loops are long, and A of one layer is X of the next::

    X        images, or A of the layer before  (C, H, W, n)
    patches  values that a filter covers, tap  (H, height * width * C, W * n)
             by tap, for the pixels of a row
    W, b     filters and their intercepts      (F, height, width, C), (F,)
    Z        response, without b               (F, H, W, n)
    M        maximum of each window            (F, H', W', n)
    A        ReLU of M + b                     (F, H', W', n)
    V, c     dense weights and intercepts      (n_outputs, n_in), (n_outputs,)
    T        outputs of a dense layer          (n_outputs, n)

With gathered patches, the convolution and its gradients are matrix products, one for each row of
pixels. The intercept, which is constant within a window, is added after pooling, and ReLU is
applied last: the result is the same, for less work. A backward function writes gradients of the
loss into its ``out_x`` arguments, except those that are None.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

# On processors with AVX-512, OpenBLAS has special kernels for matrix products of up to a million
# multiplications. In pieces of this size the responses, which are long and narrow products, took
# between half and three quarters of the time; on other processors as long as before.
PRODUCT_WORK = 10**6
SHORTEST_PIECE = 32  # pixels; for less, the overhead of a product is greater than the gain
MOST_CORNERS = 12  # of a window; more are compared in one call, which is slower for few
SHORTEST_ROW = 64  # pixels; for less, there is one product for all rows


class Patches:
    """Images with padding around them, and the patches gathered from them.

    A filter covers adjacent rows of an image. So the taps of one row of a filter are gathered for
    each row of the images, one row after the other; the taps of all rows of a filter then follow
    one another in memory, and the patches are views that overlap. For filters of side 3 this takes
    a third of the time. Where rows are short, as in a batch of one image, all taps are gathered,
    for one product.

    Parameters
    ----------
    shape : tuple (C, H, W, n)
    kernel : tuple
        Height and width of the filters.
    dtype : dtype
    reverse : bool, default=False
        Whether the padding is that for the filters reversed.

    Attributes
    ----------
    interior : ndarray of shape (C, H, W, n)
        The images, a view of the padded array.
    gathered : ndarray of shape (H, height * width * C, W * n)
        The patches of the last `gather`; of shape (height * width * C, H * W * n) for short rows.
    """

    def __init__(self, shape, kernel, dtype, reverse=False):
        (C, H, W, n), (height, width) = shape, kernel
        padded = np.zeros((C, H + height - 1, W + width - 1, n), dtype)
        # Padding is side // 2 before an image and (side - 1) // 2 after it.
        top, left = ((side - 1) // 2 if reverse else side // 2 for side in kernel)
        self.interior = padded[:, top : top + H, left : left + W]
        if W * n >= SHORTEST_ROW:
            windows = sliding_window_view(padded, width, axis=2)  # (C, rows, W, n, v)
            self._windows = windows.transpose(1, 4, 0, 2, 3)
            self._patches = np.empty(self._windows.shape, dtype)
            of_row, _, of_tap, _, of_image = self._patches.strides
            shape, strides = (H, height * width * C, W * n), (of_row, of_tap, of_image)
            self.gathered = as_strided(self._patches, shape, strides)
        else:
            windows = sliding_window_view(padded, kernel, axis=(1, 2))  # (C, H, W, n, u, v)
            self._windows = windows.transpose(4, 5, 0, 1, 2, 3)
            self._patches = np.empty(self._windows.shape, dtype)
            self.gathered = self._patches.reshape(-1, H * W * n)

    def gather(self):
        """Return the patches of the images in the interior."""
        self._patches[...] = self._windows
        return self.gathered


def conv_forward(patches, W, out):
    """Z[f, i, q] = sum_k W[f, k] * patches[i, k, q] for every pixel q of row i of every image."""
    W = W.reshape(len(W), -1)
    if patches.ndim == 2:
        np.dot(W, patches, out=out.reshape(len(W), -1))
    else:
        n = n_pieces(patches.shape[2], W.size)
        np.matmul(W, in_pieces(patches, n), out=in_pieces(rows_of(out), n))
    return out


def conv_backward(dZ, patches, out_W):
    """dloss/dW[f, k] = sum_{i,q} dloss/dZ[f, i, q] * patches[i, k, q]."""
    if patches.ndim == 2:
        dW = np.dot(dZ.reshape(len(dZ), -1), patches.T)
    else:
        # Transposed, that is patches * dZ': with the smaller matrix last, products of more than a
        # million multiplications took a quarter less time.
        products = np.matmul(patches, rows_of(dZ).swapaxes(1, 2))
        dW = np.add.reduce(products).T
    out_W[...] = dW.reshape(out_W.shape)


def reversed_filters(W):
    """The filters (C, height, width, F) whose response to dloss/dZ is dloss/dX.

    dloss/dX[c, i, j] = sum_{u,v,f} W[f, u, v, c] * dloss/dZ[f, i - u, j - v]: a convolution in the
    strict sense, that is, the response to filters with rows and columns in reverse order.
    """
    return W[:, ::-1, ::-1].transpose(3, 1, 2, 0)


def n_pieces(n_pixels, n_weights):
    """Return the number of pieces into which to split the pixels of a row, for their responses."""
    wanted = -(-n_pixels * n_weights // PRODUCT_WORK)
    for n in range(wanted, 4 * wanted):
        if n_pixels % n == 0 and n_pixels // n >= SHORTEST_PIECE:
            return n
    return 1


def rows_of(Z):
    """Return a view (H, F, W * n) of responses or their gradient (F, H, W, n)."""
    return Z.reshape(*Z.shape[:2], -1).swapaxes(0, 1)


def in_pieces(rows, n):
    """Return a view of matrices in n pieces of their last axis, if n > 1."""
    return rows if n == 1 else rows.reshape(*rows.shape[:2], n, -1).swapaxes(1, 2)


def pool_forward(corners, out):
    """M = maximum of each window of two or more values, given as `corners_of` Z."""
    if isinstance(corners, np.ndarray):
        return np.maximum.reduce(corners, axis=0, out=out)
    first, second, *others = corners
    np.maximum(first, second, out=out)
    for corner in others:
        np.maximum(out, corner, out=out)
    return out


def pool_backward(dM, corners, M, out):
    """dloss/dZ = dloss/dM at the first maximum of each window, else 0.

    ``corners`` and ``out`` are `corners_of` Z and of dloss/dZ, which may be the same array. Pixels
    in no window are not written: the caller keeps them at 0.
    """
    if isinstance(corners, np.ndarray):
        winners = corners.argmax(axis=0)[np.newaxis]
        out.fill(0)
        np.put_along_axis(out, winners, dM[np.newaxis], axis=0)
        return
    *of_dZ, last = out
    for corner, of_corner in zip(corners, of_dZ):
        np.multiply(dM, corner == M, out=of_corner)
        dM = np.subtract(dM, of_corner, out=last)  # so that later corners of the same value get 0


def corners_of(Z, size, axis):
    """Return views of the first values of all windows along an axis, of the second, and so on.

    They are a list, or where they are many, one array, for which there are fewer calls of NumPy. A
    remainder at the end is dropped.
    """
    end = Z.shape[axis] // size * size
    before = (slice(None),) * axis
    if size > MOST_CORNERS:
        windows = Z[(*before, slice(end))]
        shape = *Z.shape[:axis], end // size, size, *Z.shape[axis + 1 :]
        return np.moveaxis(windows.reshape(shape), axis + 1, 0)
    return [Z[(*before, slice(k, end, size))] for k in range(size)]


def relu_forward(M, b, zeros, out):
    """A = M + b where that is positive, else 0. The shape of b is (F, 1, 1, 1).

    ``zeros`` has the shape of one filter's part. The maximum with an array of zeros takes a third
    of the time of that with one zero, and a batch of 32 filters a tenth less.
    """
    np.add(M, b, out=out)
    return np.maximum(out, zeros, out=out)


def relu_backward(dA, A, out_b=None):
    """dloss/dM = dloss/dA where A is positive, else 0, in place; dloss/db is its sum."""
    dA *= A > 0
    if out_b is not None:
        np.add.reduce(dA.reshape(len(dA), -1), axis=1, out=out_b)


def dense_forward(A, V, c, out):
    """T = V A + c. The shape of c is (n_outputs, 1)."""
    return np.add(np.dot(V, A, out=out), c, out=out)


def dense_backward(dT, A, V, out_V, out_c, out_A):
    """dloss/dV = dloss/dT A'; dloss/dc = sum_n dloss/dT; dloss/dA = V' dloss/dT."""
    if out_V is not None:
        np.dot(dT, A.T, out=out_V)
    if out_c is not None:
        np.add.reduce(dT, axis=1, out=out_c)
    if out_A is not None:
        np.dot(V.T, dT, out=out_A)
