"""The dense layer: a matrix product, an intercept, and for hidden layers ReLU."""

from math import prod

import numpy as np

from .activation import relu_backward
from .layer import Layer, Parameter


class Dense(Layer):
    r"""Dense layer: a matrix product and an intercept, then ReLU in hidden layers.

    .. math::
        :label: dense

        T &= X V' + c \quad \text{in the output} \\
        A &= \max(0,\; X V' + c) \quad \text{in hidden layers}

    In hidden layers dT is dA where A is positive, else 0. Then, for both:

    .. math::
        :label: dense-backward

        dV_{km} &= \sum_n dT_{nk} X_{nm}, \quad\text{that is}\quad dV = dT' X \\
        dc_k &= \sum_n dT_{nk} \\
        dX_{nm} &= \sum_k dT_{nk} V_{km}, \quad\text{that is}\quad dX = dT\, V

    Initial values of V are normal, of mean 0 and standard deviation 1/sqrt(n_in) in the output and
    sqrt(2/n_in) in hidden layers (He's); those of c are 0.

    Parameters
    ----------
    in_shape : tuple
        Shape of the input for an image, (height, width, channels); (n_in,) after a dense layer.
    n_out : int
    is_output : bool
        Whether it is the last layer.

    Attributes
    ----------
    n_in : int

    Notes
    -----
    Columns of V run over (channel, row, column), the layout of the activations in memory; rows of
    the fitted attribute ``coefs_`` run over (row, column, channel).

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """

    group = "dense"

    def __init__(self, in_shape, n_out, *, is_output):
        super().__init__(in_shape, (n_out,))
        self.n_in, self.n_out, self.is_output = prod(in_shape), n_out, is_output
        self.parameters = (
            Parameter("V", (n_out, self.n_in), "coefs_", self._draw, decays=True),
            Parameter("c", (n_out,), "intercepts_", is_intercept=True),
        )
        self.n_multiplications = self.n_in * n_out

    @property
    def _pixels(self):
        """Height, width and channels of the input."""
        return self.in_shape if len(self.in_shape) == 3 else (1, 1, self.n_in)

    def _draw(self, random_state):
        """Draw V, as a matrix whose columns run over (row, column, channel)."""
        scale = 1 / np.sqrt(self.n_in) if self.is_output else np.sqrt(2 / self.n_in)
        return self.from_public("V", random_state.normal(0, scale, (self.n_out, self.n_in)).T)

    def to_public(self, name, array):
        """Return a copy of V as an array (n_in, n_out), or of c."""
        if name == "c":
            return array.copy()
        height, width, C = self._pixels
        V = array.reshape(-1, C, height, width).transpose(2, 3, 1, 0)
        return np.array(V.reshape(self.n_in, -1), order="C")

    def from_public(self, name, array):
        """Return V, given as an array (n_in, n_out), or c."""
        if name == "c":
            return array
        coef = array.reshape(*self._pixels, -1).transpose(3, 2, 0, 1)
        return coef.reshape(self.n_out, self.n_in)

    def to_onnx(self, graph, A, params):
        """Add the nodes of the layer; see `Layer`."""
        if len(self.in_shape) == 3:
            A = graph.add("Flatten", A)  # (n, C * height * width), as the columns of V
        A = graph.add("Gemm", A, params["V"].T, params["c"])
        return A if self.is_output else graph.add("Relu", A)

    def allocate(self, n, params, grads, A, dA, *, needs_dX):
        """Return the arrays of a computation; see `Layer`."""
        return _DenseBuffers(self, n, params, grads, A, dA, needs_dX)

    def forward(self, buffers, mode):
        """Write A."""
        dense_forward(buffers.X, buffers.V, buffers.c, out=buffers.A)
        if not self.is_output:
            np.maximum(buffers.A, 0, out=buffers.A)

    def backward(self, buffers, mode):
        """Write dV, dc and dX."""
        if not self.is_output:
            relu_backward(buffers.dA, buffers.A)
        dense_backward(
            buffers.dA, buffers.X, buffers.V, out_V=buffers.dV, out_c=buffers.dc, out_A=buffers.dX
        )


class _DenseBuffers:
    """The arrays of a dense layer for n images."""

    def __init__(self, layer, n, params, grads, A, dA, needs_dX):
        self.V, self.c = params["V"], params["c"].reshape(-1, 1)
        self.dV, self.dc = grads.get("V"), grads.get("c")
        self.X = np.empty((layer.n_in, n), self.V.dtype)
        self.dX = np.empty_like(self.X) if needs_dX else None
        self.A, self.dA = A, dA


def dense_forward(A, V, c, out):
    """T = V A + c. The shape of c is (n_out, 1)."""
    return np.add(np.dot(V, A, out=out), c, out=out)


def dense_backward(dT, A, V, out_V, out_c, out_A):
    """dloss/dV = dloss/dT A'; dloss/dc = sum_n dloss/dT; dloss/dA = V' dloss/dT.

    Those whose ``out`` is None are not computed.
    """
    if out_V is not None:
        np.dot(dT, A.T, out=out_V)
    if out_c is not None:
        np.add.reduce(dT, axis=1, out=out_c)
    if out_A is not None:
        np.dot(V.T, dT, out=out_A)
