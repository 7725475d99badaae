"""Pooling: of the pixels in each window of a response, one value.

A convolution layer applies it to Z, or to ReLU of Z + b, of shape (F, H, W, n). Windows do not
overlap; a remainder at the right and lower edges is in none of them.
"""

from math import isqrt, prod

import numpy as np

MAX_VIEWS = 12  # of windows; more are compared in one call, which is slower for few


class Pooling:
    """Pooling of responses in windows.

    Parameters
    ----------
    map_shape : tuple (H, W, F)
    window : tuple (p, q)
        Height and width.

    Attributes
    ----------
    out_shape : tuple (H', W', F)
    """

    name: str
    onnx_operator: str

    def __init__(self, map_shape, window):
        (H, W, F), (p, q) = map_shape, window
        self.window, self.out_shape = window, (H // p, W // q, F)

    @property
    def is_identity(self):
        """Whether each window is one pixel."""
        return prod(self.window) == 1

    def to_onnx(self, graph, A):
        """Add the node of the pooling, if it is one, and return its output's name."""
        if self.is_identity:
            return A
        return graph.add(self.onnx_operator, A, kernel_shape=self.window, strides=self.window)


class MaxPooling(Pooling):
    r"""Max pooling: the maximum of each window of p x q pixels.

    .. math::
        :label: max-pooling

        M_{nijf} = \max_{0 \le k < p,\; 0 \le l < q} Z_{n,\, ip+k,\, jq+l,\, f}

    A remainder at the edge is dropped. The intercept, which is the same for all pixels of a window,
    and ReLU do not change the order of values. So they may come after pooling: the result is the
    same, for less work.

    Only the greatest value of a window moves its maximum; of equals it is that in the first column,
    and there in the first row:

    .. math::
        :label: max-pooling-backward

        dZ_{nijf} = dM_{n,\, \lfloor i/p \rfloor,\, \lfloor j/q \rfloor,\, f}
        \text{ at the pixel of the maximum of each window, else } 0
    """

    name, onnx_operator = "max", "MaxPool"
    precedes_activation = True

    def allocate(self, Z, dZ):
        """Return the steps from Z to M, along one axis by a prime factor of the window each.

        That is fewer calls of NumPy, and a fifth of the time of np.max over reshaped windows.

        Parameters
        ----------
        Z, dZ : ndarrays of shape (F, H, W, n)
            They may be the same array.
        """
        steps, shape = [], [*Z.shape]
        for axis, size in enumerate(self.window, start=1):
            for factor in _prime_factors(size):
                shape[axis] //= factor
                M = np.empty(shape, Z.dtype)
                steps.append(_MaxStep(factor, axis, Z, M, dZ))
                Z, dZ = M, np.zeros(shape, Z.dtype)
        return steps

    def forward(self, steps, Z):
        """Return M, given Z."""
        for step in steps:
            Z = max_forward(step.views, out=step.M)
        return Z

    def backward(self, steps, dM):
        """Write dZ, given dM, and return it."""
        for step in reversed(steps):
            max_backward(dM, step.views, step.M, out=step.dZ_views)
            dM = step.dZ
        if steps:
            steps[0].remainder.fill(0)
        return dM


class _MaxStep:
    """The arrays of a max pooling along an axis.

    Attributes
    ----------
    views, dZ_views : lists of ndarrays, or ndarrays
        See `strided_views`.
    M, dZ : ndarrays
    remainder : ndarray
        The pixels of dZ that are in no window, whose gradient is 0: forward passes may overwrite
        those of the first step. In the arrays between two steps they stay 0.
    """

    def __init__(self, size, axis, Z, M, dZ):
        self.M, self.dZ = M, dZ
        self.views, self.dZ_views = (strided_views(array, size, axis) for array in (Z, dZ))
        self.remainder = np.moveaxis(dZ, axis, 0)[size * M.shape[axis] :]


class AveragePooling(Pooling):
    r"""Average pooling: the mean of each window of p x q pixels, after ReLU.

    .. math::
        :label: average-pooling

        R_{nijf} &= \max(0,\; Z_{nijf} + b_f) \\
        A_{nijf} &= \frac{1}{pq} \sum_{0 \le k < p,\; 0 \le l < q} R_{n,\, ip+k,\, jq+l,\, f}

    A remainder at the edge is dropped. Each pixel of a window moves its mean by as much:

    .. math::
        :label: average-pooling-backward

        dR_{nijf} = \frac{1}{pq}\,
        dA_{n,\, \lfloor i/p \rfloor,\, \lfloor j/q \rfloor,\, f}
        \text{ in a window, else } 0
    """

    name, onnx_operator = "average", "AveragePool"
    precedes_activation = False

    def allocate(self, R, dR):
        """Return the views of each axis, the sums between, the windows of dR and its remainders."""
        (p, q), (H, W, _) = self.window, self.out_shape
        F, _, width, n = R.shape
        sums = np.empty((F, H, width, n), R.dtype)
        windows = dR[:, : H * p, : W * q].reshape(F, H, p, W, q, n)
        remainders = dR[:, H * p :], dR[:, :, W * q :]
        return strided_views(R, p, 1), sums, strided_views(sums, q, 2), windows, remainders

    def forward(self, buffers, out):
        """Write A, given R."""
        rows, sums, columns, *_ = buffers
        sum_forward(rows, out=sums)
        sum_forward(columns, out=out)
        out *= out.dtype.type(1 / prod(self.window))

    def backward(self, buffers, dA):
        """Write dR, given dA, which is overwritten."""
        *_, windows, remainders = buffers
        dA *= dA.dtype.type(1 / prod(self.window))
        windows[...] = dA[:, :, np.newaxis, :, np.newaxis]
        for remainder in remainders:
            remainder.fill(0)


KINDS = {kind.name: kind for kind in (MaxPooling, AveragePooling)}


def window_of(H, W, pool_size):
    """Return height and width of the pooling windows of images of H x W pixels."""
    if pool_size == "global":
        return H, W
    if pool_size <= min(H, W):
        return pool_size, pool_size
    return tuple(min(pool_size, max(1, side // 2)) for side in (H, W))


def strided_views(Z, size, axis):
    """Return views of the first values of all windows along an axis, of the second, and so on.

    They are a list, or where they are many, one array, for which there are fewer calls of NumPy. A
    remainder at the end is dropped.
    """
    end = Z.shape[axis] // size * size
    before = (slice(None),) * axis
    if size > MAX_VIEWS:
        windows = Z[(*before, slice(end))]
        shape = *Z.shape[:axis], end // size, size, *Z.shape[axis + 1 :]
        return np.moveaxis(windows.reshape(shape), axis + 1, 0)
    return [Z[(*before, slice(k, end, size))] for k in range(size)]


def max_forward(views, out):
    """M = maximum of each window of two or more values, given as `strided_views` Z."""
    if isinstance(views, np.ndarray):
        return np.maximum.reduce(views, axis=0, out=out)
    first, second, *others = views
    np.maximum(first, second, out=out)
    for view in others:
        np.maximum(out, view, out=out)
    return out


def max_backward(dM, views, M, out):
    """dloss/dZ = dloss/dM at the first maximum of each window, else 0.

    ``views`` and ``out`` are `strided_views` Z and of dloss/dZ, which may be the same array. Pixels
    in no window are not written.
    """
    if isinstance(views, np.ndarray):
        argmax = views.argmax(axis=0)[np.newaxis]
        out.fill(0)
        np.put_along_axis(out, argmax, dM[np.newaxis], axis=0)
        return
    *others, last = out
    for view, dview in zip(views, others):
        np.multiply(dM, view == M, out=dview)
        dM = np.subtract(dM, dview, out=last)  # so that later views of the same value get 0


def sum_forward(views, out):
    """The sum of each window of one or more values, given as `strided_views` them."""
    if isinstance(views, np.ndarray):
        return np.add.reduce(views, axis=0, out=out)
    first, *others = views
    np.copyto(out, first)
    for view in others:
        out += view
    return out


def _prime_factors(number):
    """Return the prime factors of a number, the smallest first."""
    factor = next((k for k in range(2, isqrt(number) + 1) if number % k == 0), number)
    return [factor, *_prime_factors(number // factor)] if number > 1 else []
