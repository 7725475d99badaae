"""What a layer is: its sizes, its parameters by name, and forward and backward on arrays.

A new layer is a subclass of `Layer` in a file of its own. It states its equations in its docstring,
and below each part of ``forward`` the part of ``backward`` that belongs to it. It knows neither its
neighbours nor who runs it: `skcnn._engine` allocates its arrays, and calls it.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np


class Parameter(NamedTuple):
    """A parameter array of a layer.

    Parameters
    ----------
    name : str
        Letter of the mathematics, by which the layer finds it.
    shape : tuple of int
        In the computation.
    attribute : str
        Fitted attribute of an estimator that shows it.
    draw : callable or None, default=None
        ``draw(random_state)`` returns the initial values, as `shape`; None: zeros.
    decays : bool, default=False
        Whether the L2 penalty includes it.
    is_intercept : bool, default=False
        Whether it is fixed at 0 with ``fit_intercept=False``.
    """

    name: str
    shape: tuple
    attribute: str
    draw: Callable | None = None
    decays: bool = False
    is_intercept: bool = False

    def initial(self, random_state):
        """Return the initial values."""
        return np.zeros(self.shape) if self.draw is None else self.draw(random_state)


class Mode(NamedTuple):
    """How a batch is computed.

    Parameters
    ----------
    training : bool, default=False
        Whether a backward pass follows.
    dropout_mask : ndarray of shape (n, n_dropout_inputs) or None, default=None
        Factors of the inputs of all dropout layers, one layer after the other; None: no dropout.
    """

    training: bool = False
    dropout_mask: np.ndarray | None = None


class Layer:
    """A layer of a network.

    Parameters
    ----------
    in_shape, out_shape : tuples
        Of the input and of the output for an image: (height, width, channels), or (n,).

    Attributes
    ----------
    group : {"filters", "dense"} or None
        The word by which ``freeze`` names such layers; None: there is nothing to freeze.
    parameters : tuple of Parameter
        In the order in which their initial values are drawn.
    n_multiplications : int
        In the forward pass of an image.
    n_buffer_values : int
        Number of values that a training of an image has in memory, where that is many.
    n_dropout_inputs : int
        Number of columns of a dropout mask that are the layer's.
    """

    group: str | None = None
    parameters: tuple = ()
    n_multiplications = 0
    n_buffer_values = 0
    n_dropout_inputs = 0

    def __init__(self, in_shape, out_shape):
        self.in_shape, self.out_shape = in_shape, out_shape

    @property
    def n_parameters(self):
        """Number of values of all parameters."""
        return sum(prod(parameter.shape) for parameter in self.parameters)

    def to_public(self, name, array):
        """Return a copy of a parameter as the fitted attribute has it."""
        return array.copy()

    def from_public(self, name, array):
        """Return a parameter, given as the fitted attribute has it."""
        (shape,) = (p.shape for p in self.parameters if p.name == name)
        return np.reshape(array, shape)

    def output_bound(self, bound, params):
        """Return a bound on the absolute outputs, given one on the absolute inputs.

        That of a layer with weights, the first parameter, and intercepts, the second one.
        """
        weights, intercepts = (params[parameter.name] for parameter in self.parameters)
        sums = np.abs(weights).reshape(len(weights), -1).sum(axis=1, dtype=np.float64)
        return bound * sums.max() + np.abs(intercepts).max()

    def to_onnx(self, graph, A, params):
        """Add the nodes of the layer to a graph, and return the name of its output.

        Parameters
        ----------
        graph : object
            ``graph.add(operator, *inputs, **attributes)`` adds a node, whose inputs are names or
            arrays, and returns the name of its output.
        A : str
            Name of the input, (n, C, H, W) or (n, n_in).
        params : dict of ndarrays
        """
        raise NotImplementedError

    def allocate(self, n, params, grads, A, dA, *, needs_dX):
        """Return an object with the arrays of a computation of n images.

        It has the attributes X and dX, which the layer before fills and reads; dX is None where no
        layer before learns.

        Parameters
        ----------
        n : int
        params, grads : dicts of ndarrays
            The parameters by name, and where to write their gradients; those of parameters that
            are not learnt are missing.
        A, dA : ndarrays
            Where to write the output, and where its gradient is found, which may be overwritten:
            X and dX of the next layer. dA is None where neither this layer nor one before learns.
        needs_dX : bool
        """
        raise NotImplementedError

    def forward(self, buffers, mode):
        """Write A, given X."""
        raise NotImplementedError

    def backward(self, buffers, mode):
        """Write the gradients of what is learnt, and dX unless it is None, given dA."""
        raise NotImplementedError
