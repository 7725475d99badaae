"""The sizes and the parameters of the network.

All parameters live in one vector, in the order b, W, V, c; `split` gives the four as views of it,
so that a solver sees a vector and the layers see their arrays. In this order, whatever is learnt
(without intercepts, or without one of the layers) is one piece of the vector: theta. The letters
are those of `skcnn._layers`.
"""

from math import prod
from typing import NamedTuple

import numpy as np

CACHE_LINE = 64  # bytes


class Architecture(NamedTuple):
    """The sizes that say what network it is."""

    H: int
    W: int
    C: int
    K: int
    F: int
    p: int
    n_outputs: int

    @property
    def pool(self):
        """Height and width of the pooling windows.

        They are p, unless the image is smaller than that: then at most half a side of the image,
        so that a signal is pooled along its length and two windows are left of the shortest.
        """
        if self.p <= min(self.H, self.W):
            return self.p, self.p
        return tuple(min(self.p, max(1, side // 2)) for side in (self.H, self.W))

    @property
    def n_windows(self):
        """Number of pooling windows of an image, of pixels without pooling."""
        return (self.H // self.pool[0]) * (self.W // self.pool[1])

    @property
    def n_in(self):
        """Number of inputs of the dense layer."""
        return self.n_windows * self.F

    @property
    def n_values(self):
        """Number of values of an image."""
        return self.H * self.W * self.C

    @property
    def kernel(self):
        """Height and width of that part of a filter which meets the image, for some pixel at least.

        It is the whole filter, unless that is larger than the image: the taps further from its
        middle than the image is long see only zeros, and nothing is computed for them.
        """
        return min(self.K, 2 * self.H - 1), min(self.K, 2 * self.W - 1)

    @property
    def n_taps(self):
        """Number of taps of that part."""
        return prod(self.kernel) * self.C

    def in_kernel(self, W):
        """View filters (F, K*K*C) as that part of them, (F, height, width, C)."""
        rows, columns = (
            slice(self.K // 2 - side // 2, self.K // 2 - side // 2 + side) for side in self.kernel
        )
        return W.reshape(-1, self.K, self.K, self.C)[:, rows, columns]

    @property
    def work(self):
        """Number of multiplications in the response to an image."""
        return self.H * self.W * self.n_taps * self.F

    @property
    def n_weights(self):
        """Number of values of W and V."""
        return self.K**2 * self.C * self.F + self.n_in * self.n_outputs

    @property
    def shapes(self):
        """Shapes of b, W, V and c."""
        return Params(
            b=(self.F,),
            W=(self.F, self.K * self.K * self.C),
            V=(self.n_outputs, self.n_in),
            c=(self.n_outputs,),
        )


class Params(NamedTuple):
    """The parameters; or of each something else, such as a gradient (None where there is none)."""

    b: np.ndarray | None
    W: np.ndarray
    V: np.ndarray
    c: np.ndarray | None


def split(vector, shapes):
    """Return the `Params` of some shapes that are views of a vector of all parameters."""
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    parts = np.split(vector, ends[:-1])
    return Params(*(part.reshape(shape) for part, shape in zip(parts, shapes)))


def aligned_zeros(shape, dtype, first=0):
    """Return an array of zeros whose element ``first`` is at the beginning of a cache line.

    Vectors that lie across two lines take twice the time to load; a training step on one image took
    a twentieth less with its arrays like this.
    """
    size, a_line = prod(shape), CACHE_LINE // np.dtype(dtype).itemsize
    buffer = np.zeros(size + a_line, dtype)
    start = -(buffer.ctypes.data // buffer.itemsize + first) % a_line
    return buffer[start : start + size].reshape(shape)


def zeros(shapes, dtype):
    """Return a vector of zeros for all parameters, and the `Params` that are views of it.

    V, the longest, is aligned.
    """
    sizes = [prod(shape) for shape in shapes]
    vector = aligned_zeros((sum(sizes),), dtype, first=sum(sizes[: Params._fields.index("V")]))
    return vector, split(vector, shapes)


def join(params):
    """Return the vector of all parameters, a copy."""
    return np.concatenate([array.ravel() for array in params])


def empty_like(params):
    """Return arrays like params, where there are any."""
    return Params(*(None if array is None else np.empty_like(array) for array in params))


def add(params, more):
    """Add to params, where there is both something to add to and something to add."""
    for array, term in zip(params, more):
        if array is not None and term is not None:
            array += term


def init_params(architecture, random_state, dtype):
    """Draw the initial parameters: W, then V, normal with mean 0; intercepts are 0.

    Their standard deviations are 2/sqrt(K*K*C) and 1/sqrt(n_in).

    Parameters
    ----------
    architecture : Architecture
    random_state : numpy.random.RandomState
        It is advanced by the two draws.
    dtype : dtype
        Of the result; the draws themselves are in float64, so that they do not depend on it.

    Returns
    -------
    params : Params
    """
    shapes = architecture.shapes
    fan_in = architecture.K**2 * architecture.C
    W = random_state.normal(0, 2 / np.sqrt(fan_in), size=shapes.W)
    coef = random_state.normal(0, 1 / np.sqrt(architecture.n_in), size=shapes.V)
    return Params(
        b=np.zeros(shapes.b, dtype),
        W=W.astype(dtype),
        V=dense_from_coef(coef, architecture).astype(dtype),
        c=np.zeros(shapes.c, dtype),
    )


def dense_from_coef(coef, architecture):
    """V from ``coef_``, whose rows run over (pixel, filter) as the activations (H, W, F) do."""
    n_outputs, F = architecture.n_outputs, architecture.F
    return coef.reshape(n_outputs, -1, F).swapaxes(1, 2).reshape(n_outputs, -1)


def coef_from_dense(V, architecture):
    """``coef_`` from V, whose rows run over (filter, pixel) as the layers keep activations."""
    n_outputs, F = architecture.n_outputs, architecture.F
    return V.reshape(n_outputs, F, -1).swapaxes(1, 2).reshape(n_outputs, -1)
