"""The layers: their sizes, the shapes and initial values of their parameters, forward and backward.

A layer computes on whole arrays with the kernels of `skcnn._arrays`, whose docstring defines the
letters and shapes; the compiled loops of `skcnn._loops` use only its sizes. Its arrays for n images
are in a workspace, which is made once for a ``pair`` of weights and intercepts, and for ``grads``,
into which their gradients are written, with None for what is not learnt. The output A is the X of
the next layer, and its gradient dA is the next dX; there is no dX where no layer before learns.
"""

from math import isqrt, prod

import numpy as np

from . import _arrays


class Convolution:
    """A convolution layer: convolution, max pooling, intercept, ReLU.

    Parameters
    ----------
    in_shape : tuple (H, W, C)
        Shape of an image, or of the output of the layer before.
    n_filters : int
    K : int
        Side of the filters. Filters of images of one row have one row; likewise for columns.
    pool_size : int or "global"
        Side of the pooling windows. Where an image is lower or narrower than that, windows are at
        most half as high and half as wide as the image, and at least one pixel.
    is_first : bool
        Whether the initial values are the article's, with standard deviation 2/sqrt(fan_in); else
        they are He's, with sqrt(2/fan_in).

    Attributes
    ----------
    shapes : tuple
        Shapes of W, (F, height, width, C), and b, (F,).
    kernel : tuple
        Height and width of the part of a filter that overlaps the image at some position. It is the
        whole filter unless that is larger than the image: taps further from the middle than the
        image is long are only ever multiplied with padding, and are not computed.
    pool : tuple
        Height and width of the pooling windows.
    map_shape, out_shape : tuples
        Shapes of the response to an image, (H, W, F), and of that after pooling, (H', W', F).
    fan_in : int
        Number of values that a filter covers.
    n_taps : int
        Number of taps that are computed.
    work : int
        Number of multiplications in the response to an image.
    n_block_values : int
        Number of values in the arrays of a training, for an image.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """

    kind = "filters"

    def __init__(self, in_shape, n_filters, K, pool_size, *, is_first):
        self.in_shape = H, W, C = in_shape
        self.n_filters = n_filters
        filter_shape = (1 if H == 1 else K), (1 if W == 1 else K)
        self.shapes = (n_filters, *filter_shape, C), (n_filters,)
        self.kernel = min(filter_shape[0], 2 * H - 1), min(filter_shape[1], 2 * W - 1)
        self.pool = _pool(H, W, pool_size)
        self.map_shape = H, W, n_filters
        self.out_shape = H // self.pool[0], W // self.pool[1], n_filters
        self.is_first = is_first
        self.fan_in = prod(filter_shape) * C
        self.n_taps = prod(self.kernel) * C
        self.work = H * W * self.n_taps * n_filters
        self.n_block_values = H * W * (self.n_taps + 4 * n_filters)

    def initial(self, random_state):
        """Draw W; b is 0."""
        W, b = self.shapes
        scale = 2 / np.sqrt(self.fan_in) if self.is_first else np.sqrt(2 / self.fan_in)
        return random_state.normal(0, scale, size=W), np.zeros(b)

    def live(self, W):
        """Return a view of the part of the filters that is computed, (F, *kernel, C)."""
        rows, columns = (
            slice(side // 2 - part // 2, side // 2 - part // 2 + part)
            for side, part in zip(self.shapes[0][1:3], self.kernel)
        )
        return W[:, rows, columns]

    def workspace(self, n, pair, grads, *, has_dX):
        """Return the workspace for n images; that of the network adds A and dA."""
        return _ConvolutionWorkspace(self, n, pair, grads, has_dX)

    def forward(self, work):
        """Write A for the images in X."""
        M = _arrays.conv_forward(work.patches.gather(), work.W, out=work.Z)
        for corners, out, *_ in work.pools:
            M = _arrays.pool_forward(corners, out=out)
        _arrays.relu_forward(M, work.b, work.zeros, out=work.A)

    def backward(self, work):
        """Write the gradients, and dX, given dA, which is overwritten."""
        _arrays.relu_backward(work.dA, work.A, out_b=work.db)
        dM = work.dA
        for corners, M, corners_of_dZ, dZ in reversed(work.pools):
            _arrays.pool_backward(dM, corners, M, out=corners_of_dZ)
            dM = dZ
        if work.dropped is not None:
            work.dropped.fill(0)
        if work.dW is not None:
            if work.dW.size < work.whole_dW.size:
                work.whole_dW.fill(0)  # solvers write to taps that are not computed
            _arrays.conv_backward(dM, work.patches.gathered, out_W=work.dW)
        if work.dX is not None:
            if not work.pools:
                work.dZ_patches.interior[...] = dM
            W = _arrays.reversed_filters(work.W)
            _arrays.conv_forward(work.dZ_patches.gather(), W, out=work.dX)


class _ConvolutionWorkspace:
    """The arrays of a convolution layer for n images."""

    def __init__(self, layer, n, pair, grads, has_dX):
        (H, W, C), F, dtype = layer.in_shape, layer.n_filters, pair[0].dtype
        self.W, self.b = layer.live(pair[0]), pair[1].reshape(F, 1, 1, 1)
        self.whole_dW, self.db = grads
        self.dW = None if self.whole_dW is None else layer.live(self.whole_dW)
        self.patches = _arrays.Patches((C, H, W, n), layer.kernel, dtype)
        self.X, self.dX = self.patches.interior, None
        if has_dX:
            self.dZ_patches = _arrays.Patches((F, H, W, n), layer.kernel, dtype, reverse=True)
            self.dX = np.empty((C, H, W, n), dtype)
        # The gradient takes the place of Z. Only products row by row can be written within padding.
        in_padding = has_dX and self.patches.gathered.ndim == 3
        self.Z = self.dZ_patches.interior if in_padding else np.empty((F, H, W, n), dtype)
        dZ = self.dZ_patches.interior if has_dX else self.Z
        self.pools = []  # of corners, output, corners of the gradient, the gradient itself
        shape, Z = [F, H, W, n], self.Z
        self.dropped = None  # pixels of Z in no window, whose gradient is 0
        for axis, size in enumerate(layer.pool, start=1):
            for factor in _prime_factors(size):  # one after the other: fewer calls of NumPy
                shape[axis] //= factor
                if dZ is Z:
                    self.dropped = np.moveaxis(Z, axis, 0)[factor * shape[axis] :]
                M = np.empty(shape, dtype)
                corners, of_dZ = (_arrays.corners_of(of, factor, axis) for of in (Z, dZ))
                self.pools.append((corners, M, of_dZ, dZ))
                Z, dZ = M, np.zeros(shape, dtype)
        self.zeros = np.zeros(shape[1:], dtype)
        self.A_shape = tuple(shape)


class Dense:
    """A dense layer: weights, intercept, and for a hidden layer ReLU.

    Parameters
    ----------
    in_shape : tuple
        Shape of the input for an image, (H', W', F); (1, 1, n_in) after a dense layer.
    n_outputs : int
    is_output : bool
        Whether it is the last layer, without ReLU and with initial values of standard deviation
        1/sqrt(n_in); else that is He's, sqrt(2/n_in).

    Attributes
    ----------
    shapes : tuple
        Shapes of V, (n_outputs, n_in), and c, (n_outputs,).
    """

    kind = "dense"

    def __init__(self, in_shape, n_outputs, *, is_output):
        self.in_shape = in_shape
        self.n_in, self.n_outputs = prod(in_shape), n_outputs
        self.is_output = is_output
        self.shapes = (n_outputs, self.n_in), (n_outputs,)
        self.out_shape = 1, 1, n_outputs
        self.work = self.n_in * n_outputs  # multiplications for an image

    def initial(self, random_state):
        """Draw V, as a matrix whose columns run over (row, column, filter); c is 0."""
        V, c = self.shapes
        scale = 1 / np.sqrt(self.n_in) if self.is_output else np.sqrt(2 / self.n_in)
        return self.from_coef(random_state.normal(0, scale, size=V).T), np.zeros(c)

    def from_coef(self, coef):
        """V from the matrix (n_in, n_outputs) of scikit-learn: rows over (row, column, filter).

        Columns of V run over (filter, row, column), the layout of the activations in memory.
        """
        axes = coef.reshape(*self.in_shape, -1).transpose(3, 2, 0, 1)
        return axes.reshape(self.shapes[0])

    def to_coef(self, V):
        """The inverse of `from_coef`."""
        height, width, F = self.in_shape
        axes = V.reshape(-1, F, height, width).transpose(2, 3, 1, 0)
        return np.ascontiguousarray(axes.reshape(self.n_in, -1))

    def workspace(self, n, pair, grads, *, has_dX):
        """Return the workspace for n images; that of the network adds A and dA."""
        return _DenseWorkspace(self, n, pair, grads, has_dX)

    def forward(self, work, keep):
        """Write the outputs A for inputs X, both with an image in each column.

        ``keep`` are the factors for dropout, if there are any, by which X is multiplied in place.
        """
        work.keep = keep
        if keep.size:
            np.multiply(work.X, keep, out=work.X)
        _arrays.dense_forward(work.X, work.V, work.c, out=work.A)
        if not self.is_output:
            np.maximum(work.A, 0, out=work.A)

    def backward(self, work):
        """Write the gradients, and dX, given dA, which is overwritten."""
        if not self.is_output:
            _arrays.relu_backward(work.dA, work.A)
        _arrays.dense_backward(work.dA, work.X, work.V, *work.grads, out_A=work.dX)
        if work.dX is not None and work.keep.size:
            np.multiply(work.dX, work.keep, out=work.dX)


class _DenseWorkspace:
    """The arrays of a dense layer for n images."""

    def __init__(self, layer, n, pair, grads, has_dX):
        self.V, self.c, self.grads = pair[0], pair[1].reshape(-1, 1), grads
        self.X = np.empty((layer.n_in, n), self.V.dtype)
        self.dX = np.empty_like(self.X) if has_dX else None
        self.A_shape = layer.n_outputs, n


def _pool(H, W, pool_size):
    """Height and width of the pooling windows of images of H x W pixels."""
    if pool_size == "global":
        return H, W
    if pool_size <= min(H, W):
        return pool_size, pool_size
    return tuple(min(pool_size, max(1, side // 2)) for side in (H, W))


def _prime_factors(number):
    """Return the prime factors of a number, the smallest first."""
    factor = next((k for k in range(2, isqrt(number) + 1) if number % k == 0), number)
    return [factor, *_prime_factors(number // factor)] if number > 1 else []
