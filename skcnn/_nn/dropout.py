"""Dropout of the inputs of a dense layer."""

from math import prod
from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .layer import Layer


class Dropout(Layer):
    r"""Dropout: in training, inputs are set to 0 at random, and the others are scaled up.

    With the rate q, each value of X has a factor of its own:

    .. math::
        :label: dropout

        A = m X, \qquad m = \begin{cases} 0 & \text{with probability } q \\
                                          1 / (1 - q) & \text{otherwise} \end{cases}

    So the mean of A is X. The same inputs have no gradient:

    .. math::
        :label: dropout-backward

        dX = m\, dA

    Predictions have no factors: there A is X.

    Parameters
    ----------
    in_shape : tuple
    first : int
        First column of the mask that is the layer's.

    Notes
    -----
    The factors come with the batch, see `DropoutMasks`. The layer works in place: A and X are one
    array, and so are dA and dX.

    References
    ----------
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    Journal of Machine Learning Research 15 (2014).
    """

    def __init__(self, in_shape, first):
        super().__init__(in_shape, in_shape)
        self.first, self.n_dropout_inputs = first, prod(in_shape)

    def output_bound(self, bound, params):
        """Return the bound: nothing is dropped where it is asked for."""
        return bound

    def to_onnx(self, graph, A, params):
        """Add nothing: it is for training."""
        return A

    def allocate(self, n, params, grads, A, dA, *, needs_dX):
        """Return the arrays of a computation; see `Layer`."""
        return SimpleNamespace(X=A, dX=dA if needs_dX else None)

    def forward(self, buffers, mode):
        """Write A over X."""
        self._multiply(buffers.X, mode)

    def backward(self, buffers, mode):
        """Write dX over dA."""
        if buffers.dX is not None:
            self._multiply(buffers.dX, mode)

    def _multiply(self, values, mode):
        if mode.dropout_mask is not None:
            columns = slice(self.first, self.first + self.n_dropout_inputs)
            factors = mode.dropout_mask[:, columns].T
            np.multiply(values, factors.reshape(values.shape), out=values)


class DropoutMasks:
    """Dropout masks of the inputs of all dense layers, for an epoch.

    Each sample takes a window of one sequence of random numbers, at an offset that depends on its
    values. So masks do not depend on the order of the samples, the kernels or the number of
    threads, and copies of a sample have the same one: a sample of weight 2 is two samples.

    Parameters
    ----------
    rate : float
        Probability that an input is set to 0, greater than 0.
    n_inputs : int
    dtype : dtype
    seed : sequence of int
    """

    n_windows = 2**16

    def __init__(self, rate, n_inputs, dtype, seed):
        generator = np.random.Generator(np.random.SFC64(seed))
        stays = generator.random(n_inputs + self.n_windows - 1, dtype=np.float32) >= rate
        self._windows = sliding_window_view(stays * dtype.type(1 / (1 - rate)), n_inputs)

    def of(self, hashes):
        """Return factors (n, n_inputs), each 0 or 1/(1 - rate), for the hashes of n samples."""
        return self._windows[hashes % self.n_windows]
