"""The convolution layer: cross-correlation, intercept, ReLU and pooling.

With gathered patches, the convolution and its gradients are matrix products, one for each row of
pixels::

    patches  values that a filter covers, tap by tap, for the pixels of a row  (H, K * K * C, W * n)
"""

from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from . import pooling
from .activation import relu_backward, relu_forward
from .layer import Layer, Parameter

# On processors with AVX-512, OpenBLAS has special kernels for matrix products of up to a million
# multiplications. In pieces of this size the responses, which are long and narrow products, took
# between half and three quarters of the time; on other processors as long as before.
MAX_PRODUCT = 10**6
MIN_PIECE = 32  # pixels; for less, the overhead of a product is greater than the gain
MIN_ROW = 64  # pixels; for less, there is one product for all rows


def padding(side):
    """Return the rows, or columns, of zeros before and after an image for filters of a side."""
    return side // 2, (side - 1) // 2


class Convolution(Layer):
    r"""Convolution layer: filters, their intercepts, ReLU, and pooling.

    A filter is laid on every pixel, and its taps are multiplied with the values of X below them:

    .. math::
        :label: response

        Z_{nijf} = \sum_{u=0}^{K-1} \sum_{v=0}^{K-1} \sum_{c} W_{fuvc}\,
                   X_{n,\, i+u-\lfloor K/2 \rfloor,\, j+v-\lfloor K/2 \rfloor,\, c}

    X is 0 outside the image: the padding is :math:`\lfloor K/2 \rfloor` pixels before it, and
    :math:`\lfloor (K-1)/2 \rfloor` after it. So Z has as many pixels as X. Intercept, ReLU and
    pooling follow; the maximum of a window is taken before ReLU, the mean after it:

    .. math::
        :label: layer

        A = \max\bigl(0,\; b + \max_{\text{window}} Z\bigr) \qquad\text{or}\qquad
        A = \operatorname*{mean}_{\text{window}} \max(0,\; b + Z)

    A tap is multiplied with one pixel for each pixel of the response, and a pixel takes part in the
    response wherever a tap lies on it:

    .. math::
        :label: response-backward

        dW_{fuvc} &= \sum_{n,i,j} dZ_{nijf}\,
            X_{n,\, i+u-\lfloor K/2 \rfloor,\, j+v-\lfloor K/2 \rfloor,\, c} \\
        dX_{nijc} &= \sum_{u,v,f} dZ_{n,\, i-u+\lfloor K/2 \rfloor,\,
            j-v+\lfloor K/2 \rfloor,\, f}\, W_{fuvc}

    Initial values of W are normal, of mean 0 and standard deviation 2/sqrt(fan_in) in the first
    layer (the article's) and sqrt(2/fan_in) in the others (He's), where a filter covers fan_in
    values; those of b are 0.

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
    pool : {"max", "average"}, default="max"
        Kind of pooling.
    is_first : bool
        Whether it is the first layer of the network.

    Attributes
    ----------
    kernel_size : tuple
        Height and width of the part of a filter that overlaps the image at some position. It is the
        whole filter unless that is larger than the image: taps further from the middle than the
        image is long are only ever multiplied with padding, and are not computed.
    map_shape : tuple (H, W, F)
        Shape of the response to an image.
    pooling : Pooling
    fan_in : int
        Number of values that a filter covers.
    n_taps : int
        Number of taps that are computed.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """

    group = "filters"

    def __init__(self, in_shape, n_filters, K, pool_size, pool="max", *, is_first):
        H, W, C = in_shape
        self.n_filters, self.is_first = n_filters, is_first
        self.map_shape = H, W, n_filters
        window = pooling.window_of(H, W, pool_size)
        # The mean of one pixel is its maximum.
        self.pooling = pooling.KINDS[pool if prod(window) > 1 else "max"](self.map_shape, window)
        super().__init__(in_shape, self.pooling.out_shape)
        filter_shape = (1 if H == 1 else K), (1 if W == 1 else K)
        self.kernel_size = min(filter_shape[0], 2 * H - 1), min(filter_shape[1], 2 * W - 1)
        self.fan_in, self.n_taps = prod(filter_shape) * C, prod(self.kernel_size) * C
        W_shape = n_filters, *filter_shape, C
        self.parameters = (
            Parameter("W", W_shape, "filters_", self._draw, decays=True),
            Parameter("b", (n_filters,), "filter_intercept_", is_intercept=True),
        )
        self.n_multiplications = H * W * self.n_taps * n_filters
        self.n_buffer_values = H * W * (self.n_taps + 4 * n_filters)

    def _draw(self, random_state):
        """Draw W."""
        scale = 2 / np.sqrt(self.fan_in) if self.is_first else np.sqrt(2 / self.fan_in)
        return random_state.normal(0, scale, size=self.parameters[0].shape)

    def effective(self, W):
        """Return a view of the part of the filters that is computed, (F, *kernel_size, C)."""
        rows, columns = (
            slice(side // 2 - part // 2, side // 2 - part // 2 + part)
            for side, part in zip(W.shape[1:3], self.kernel_size)
        )
        return W[:, rows, columns]

    def to_onnx(self, graph, A, params):
        """Add the nodes of the layer; see `Layer`."""
        W = params["W"].transpose(0, 3, 1, 2)  # (F, C, height, width)
        (above, below), (left, right) = map(padding, W.shape[2:])
        # An intercept and ReLU before max pooling give the same as after it, since both are
        # monotonic; runtimes compute all three in one go.
        A = graph.add("Conv", A, W, params["b"], pads=[above, left, below, right])
        return self.pooling.to_onnx(graph, graph.add("Relu", A))

    def allocate(self, n, params, grads, A, dA, *, needs_dX):
        """Return the arrays of a computation; see `Layer`."""
        return _ConvolutionBuffers(self, n, params, grads, A, dA, needs_dX)

    def forward(self, buffers, mode):
        """Write A."""
        Z, b, zeros = buffers.Z, buffers.b, buffers.zeros
        conv_forward(buffers.patches.gather(), buffers.W, out=Z)
        if self.pooling.precedes_activation:
            M = self.pooling.forward(buffers.pooling, Z)
            relu_forward(M, b, zeros, out=buffers.A)
        else:
            relu_forward(Z, b, zeros, out=Z)
            self.pooling.forward(buffers.pooling, out=buffers.A)

    def backward(self, buffers, mode):
        """Write dW, db and dX."""
        if self.pooling.precedes_activation:
            dR = buffers.dA
            relu_backward(dR, buffers.A)
            dZ = self.pooling.backward(buffers.pooling, dR)
        else:
            active, dR = buffers.Z > 0, buffers.dZ
            self.pooling.backward(buffers.pooling, buffers.dA)
            dZ = np.multiply(dR, active, out=dR)
        if buffers.db is not None:
            np.add.reduce(dR.reshape(len(dR), -1), axis=1, out=buffers.db)
        if buffers.dW is not None:
            if buffers.effective_dW.size < buffers.dW.size:
                buffers.dW.fill(0)  # solvers write to taps that are not computed
            conv_backward(dZ, buffers.patches.gathered, out_W=buffers.effective_dW)
        if buffers.dX is not None:
            if dZ is not buffers.dZ:
                buffers.dZ[...] = dZ
            W = reversed_filters(buffers.W)
            conv_forward(buffers.dZ_patches.gather(), W, out=buffers.dX)

    def feature_maps(self, buffers):
        """Return the responses of the last `forward` after ReLU, before pooling, (F, H, W, n)."""
        if self.pooling.precedes_activation:
            return np.maximum(buffers.Z + buffers.b, 0)
        return buffers.Z


class _ConvolutionBuffers:
    """The arrays of a convolution layer for n images."""

    def __init__(self, layer, n, params, grads, A, dA, needs_dX):
        (H, W, C), F, dtype = layer.in_shape, layer.n_filters, params["W"].dtype
        height, width, _ = layer.out_shape
        self.A = A.reshape(F, height, width, n)
        self.dA = None if dA is None else dA.reshape(self.A.shape)
        self.W, self.b = layer.effective(params["W"]), params["b"].reshape(F, 1, 1, 1)
        self.dW, self.db = grads.get("W"), grads.get("b")
        self.effective_dW = None if self.dW is None else layer.effective(self.dW)
        self.patches = Patches((C, H, W, n), layer.kernel_size, dtype)
        self.X, self.dX = self.patches.interior, None
        if needs_dX:
            self.dZ_patches = Patches((F, H, W, n), layer.kernel_size, dtype, reverse=True)
            self.dX = np.empty((C, H, W, n), dtype)
        # The gradient takes the place of Z. Only products row by row can be written within padding.
        in_padding = needs_dX and self.patches.gathered.ndim == 3
        self.Z = self.dZ_patches.interior if in_padding else np.empty((F, H, W, n), dtype)
        self.dZ = self.dZ_patches.interior if needs_dX else self.Z
        self.pooling = layer.pooling.allocate(self.Z, self.dZ)
        activated = self.A if layer.pooling.precedes_activation else self.Z
        self.zeros = np.zeros(activated.shape[1:], dtype)


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
    kernel_size : tuple
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

    def __init__(self, shape, kernel_size, dtype, reverse=False):
        (C, H, W, n), (height, width) = shape, kernel_size
        padded = np.zeros((C, H + height - 1, W + width - 1, n), dtype)
        top, left = (padding(side)[reverse] for side in kernel_size)
        self.interior = padded[:, top : top + H, left : left + W]
        if W * n >= MIN_ROW:
            windows = sliding_window_view(padded, width, axis=2)  # (C, rows, W, n, v)
            self._windows = windows.transpose(1, 4, 0, 2, 3)
            self._patches = np.empty(self._windows.shape, dtype)
            row_stride, _, tap_stride, _, image_stride = self._patches.strides
            shape = H, height * width * C, W * n
            self.gathered = as_strided(self._patches, shape, (row_stride, tap_stride, image_stride))
        else:
            windows = sliding_window_view(padded, kernel_size, axis=(1, 2))  # (C, H, W, n, u, v)
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
    wanted = -(-n_pixels * n_weights // MAX_PRODUCT)
    for n in range(wanted, 4 * wanted):
        if n_pixels % n == 0 and n_pixels // n >= MIN_PIECE:
            return n
    return 1


def rows_of(Z):
    """Return a view (H, F, W * n) of responses or their gradient (F, H, W, n)."""
    return Z.reshape(*Z.shape[:2], -1).swapaxes(0, 1)


def in_pieces(rows, n):
    """Return a view of matrices in n pieces of their last axis, if n > 1."""
    return rows if n == 1 else rows.reshape(*rows.shape[:2], n, -1).swapaxes(1, 2)
