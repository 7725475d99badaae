"""The layers: their sizes, the shapes and initial values of their parameters, forward and backward.

A layer computes on whole arrays with the kernels of `skcnn._arrays`, whose docstring defines the
letters and shapes; the compiled loops of `skcnn._loops` use only its sizes. ``params`` is the pair
of a layer's weights and intercepts; ``grads`` is the pair of arrays into which their gradients are
written, with None for what is not learnt.
"""

from math import prod

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
    out_shape : tuple (H', W', F)

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
        self.out_shape = H // self.pool[0], W // self.pool[1], n_filters
        self.is_first = is_first

    @property
    def fan_in(self):
        """Number of values that a filter covers."""
        return prod(self.shapes[0][1:])

    @property
    def n_taps(self):
        """Number of taps that are computed."""
        return prod(self.kernel) * self.in_shape[2]

    @property
    def work(self):
        """Number of multiplications in the response to an image."""
        return prod(self.in_shape[:2]) * self.n_taps * self.n_filters

    @property
    def n_block_values(self):
        """Number of values in the arrays of a training, for an image."""
        H, W, _ = self.in_shape
        return H * W * (self.n_taps + 4 * self.n_filters)

    def initial(self, random_state):
        """Draw W; b is 0."""
        W, b = self.shapes
        scale = 2 / np.sqrt(self.fan_in) if self.is_first else np.sqrt(2 / self.fan_in)
        return random_state.normal(0, scale, size=W), np.zeros(b)

    def live(self, W):
        """Return a view of the part of the filters that is computed, (F, *kernel, C)."""
        if W.shape[1:3] == self.kernel:
            return W
        rows, columns = (
            slice(side // 2 - part // 2, side // 2 - part // 2 + part)
            for side, part in zip(self.shapes[0][1:3], self.kernel)
        )
        return W[:, rows, columns]

    def workspace(self, n, dtype, *, for_dX):
        """Return the workspace for n images; with ``for_dX`` also for the input's gradient."""
        return _ConvolutionWorkspace(self, n, dtype, for_dX)

    def forward(self, params, work, A):
        """Write A for the images in ``work.X``."""
        W, b = params
        patches = work.patches.gather()
        _arrays.conv_forward(patches, self.live(W), out=work.Z)
        M = work.Z
        for axis, size, out, _ in work.pools:
            M = _arrays.pool_forward(M, size, axis, out=out)
        _arrays.relu_forward(M, b, work.zeros, out=A)

    def backward(self, params, grads, work, A, dA):
        """Write the gradients, given dA, which is overwritten; return dX, or None without it."""
        (W, _), (dW, db) = params, grads
        _arrays.relu_backward(dA, A, out_b=db)
        dM, below = dA, [work.Z, *(out for _, _, out, _ in work.pools)]
        for (axis, size, M, dout), Z in zip(reversed(work.pools), below[-2::-1]):
            dM = _arrays.pool_backward(dM, Z, M, size, axis, out=dout)
        if dW is not None:
            dW.fill(0)
            _arrays.conv_backward(dM, work.patches.gathered, out_W=self.live(dW))
        if work.dZ_patches is None:
            return None
        work.dZ_patches.interior[...] = dM
        reversed_filters = _arrays.reversed_filters(self.live(W))
        return _arrays.conv_forward(work.dZ_patches.gather(), reversed_filters, out=work.dX)


class _ConvolutionWorkspace:
    """The arrays of a convolution layer for n images.

    Attributes
    ----------
    X : ndarray of shape (C, H, W, n)
        The input, a view of a padded array.
    """

    def __init__(self, layer, n, dtype, for_dX):
        (H, W, C), F, pool = layer.in_shape, layer.n_filters, layer.pool
        self.patches = _arrays.Patches((C, H, W, n), layer.kernel, dtype)
        self.X = self.patches.interior
        self.Z = np.empty((F, H, W, n), dtype)
        self.pools = []  # for each axis: axis, size, pooled array, gradient of its input
        shape, dZ = [F, H, W, n], None
        for axis, size in enumerate(pool, start=1):
            if size > 1:
                dZ = np.zeros(shape, dtype)
                shape[axis] //= size
                self.pools.append((axis, size, np.empty(shape, dtype), dZ))
        self.zeros = np.zeros(shape[1:], dtype)
        self.dZ_patches = self.dX = None
        if for_dX:
            self.dZ_patches = _arrays.Patches((F, H, W, n), layer.kernel, dtype, reverse=True)
            self.dX = np.empty((C, H, W, n), dtype)


class Dense:
    """A dense layer: weights, intercept, and for a hidden layer ReLU.

    Parameters
    ----------
    in_shape : tuple
        Shape of the input for an image: (n_in,), or (H', W', F) after a convolution layer.
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
        self.out_shape = (n_outputs,)

    @property
    def work(self):
        """Number of multiplications for an image."""
        return self.n_in * self.n_outputs

    def initial(self, random_state):
        """Draw V, as a matrix whose columns run over (row, column, filter); c is 0."""
        V, c = self.shapes
        scale = 1 / np.sqrt(self.n_in) if self.is_output else np.sqrt(2 / self.n_in)
        return self.from_coef(random_state.normal(0, scale, size=V).T), np.zeros(c)

    def from_coef(self, coef):
        """V from the matrix (n_in, n_outputs) of scikit-learn: rows over (row, column, filter).

        Columns of V run over (filter, row, column), the layout of the activations in memory.
        """
        if len(self.in_shape) == 1:
            return coef.T
        axes = coef.reshape(*self.in_shape, -1).transpose(3, 2, 0, 1)
        return axes.reshape(self.shapes[0])

    def to_coef(self, V):
        """The inverse of `from_coef`."""
        if len(self.in_shape) == 1:
            return V.T.copy()
        height, width, F = self.in_shape
        return V.reshape(-1, F, height, width).transpose(2, 3, 1, 0).reshape(self.n_in, -1)

    def forward(self, params, A, T, keep):
        """Write T for inputs A, both with an image in each column.

        ``keep`` is None or the factors for dropout, by which A is multiplied in place.
        """
        if keep is not None:
            A *= keep
        _arrays.dense_forward(A, *params, out=T)
        if not self.is_output:
            np.maximum(T, 0, out=T)

    def backward(self, params, grads, A, T, dT, dA, keep):
        """Write the gradients, and dA if it is an array, given dT, which is overwritten."""
        if not self.is_output:
            _arrays.relu_backward(dT, T)
        _arrays.dense_backward(dT, A, params[0], *grads, out_A=dA)
        if dA is not None and keep is not None:
            dA *= keep


def _pool(H, W, pool_size):
    """Height and width of the pooling windows of images of H x W pixels."""
    if pool_size == "global":
        return H, W
    if pool_size <= min(H, W):
        return pool_size, pool_size
    return tuple(min(pool_size, max(1, side // 2)) for side in (H, W))
