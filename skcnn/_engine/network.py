"""A network: layers in a row."""

from math import prod

import numpy as np


class Network:
    """Layers in a row.

    Parameters
    ----------
    layers : list of Layer
        The ``out_shape`` of each is the ``in_shape`` of the next one.

    Attributes
    ----------
    image_shape : tuple (H, W, C)
    n_values, n_outputs : int
        Number of values of an image, and of outputs for it.
    n_parameters, n_multiplications, n_buffer_values, n_dropout_inputs : int
        The sums of those of the layers.
    """

    def __init__(self, layers):
        self.layers = layers
        self.image_shape = layers[0].in_shape
        self.n_values, self.n_outputs = prod(self.image_shape), prod(layers[-1].out_shape)
        self.n_parameters = sum(layer.n_parameters for layer in layers)
        self.n_multiplications = sum(layer.n_multiplications for layer in layers)
        self.n_buffer_values = sum(layer.n_buffer_values for layer in layers)
        self.n_dropout_inputs = sum(layer.n_dropout_inputs for layer in layers)

    def group(self, name):
        """Return the layers of a group, "filters" or "dense"."""
        return [layer for layer in self.layers if layer.group == name]

    def draw(self, random_state, dtype):
        """Draw the initial parameters of each layer, dicts of arrays by name.

        The draws themselves are in float64, so that they do not depend on the dtype.
        """
        return [
            {
                parameter.name: parameter.initial(random_state).astype(dtype)
                for parameter in layer.parameters
            }
            for layer in self.layers
        ]

    def forward(self, X, buffers, mode):
        """Return T, an array (n_outputs, n), overwritten by the next call.

        Parameters
        ----------
        X : ndarray or sparse array
            n images, rows of values of any numeric dtype.
        buffers : NetworkBuffers
            For n images.
        mode : Mode
        """
        buffers.fill(X)
        for layer, layer_buffers in zip(self.layers, buffers.layers):
            layer.forward(layer_buffers, mode)
        return buffers.T

    def backward(self, dT, buffers, mode):
        """Write the gradients of what is learnt, given dT of the last `forward`."""
        buffers.dT[...] = dT
        for k in reversed(range(buffers.first_learnt, len(self.layers))):
            self.layers[k].backward(buffers.layers[k], mode)

    def feature_maps(self, X, layer, buffers, mode):
        """Return the responses of a convolution layer after ReLU, before pooling, (F, H, W, n)."""
        buffers.fill(X)
        last = self.layers.index(layer)
        for k in range(last + 1):
            self.layers[k].forward(buffers.layers[k], mode)
        return layer.feature_maps(buffers.layers[last])


class NetworkBuffers:
    """The arrays of a network for n images; A of each layer is X of the next one.

    Parameters
    ----------
    network : Network
    n : int
    params, grads : lists of dicts of ndarrays
        The parameters of each layer, and where to write the gradients of those that are learnt.

    Attributes
    ----------
    T, dT : ndarrays of shape (n_outputs, n)
        The output of the last layer, and its gradient.
    layers : list
        The arrays of each layer.
    first_learnt : int
        Index of the first layer that learns; there is no dX in those up to it.
    """

    def __init__(self, network, n, params, grads):
        learns = [bool(layer_grads) for layer_grads in grads]
        self.first_learnt = learns.index(True) if any(learns) else len(learns)
        self.layers = [None] * len(learns)
        (dtype,) = {array.dtype for array in params[-1].values()}
        self.T = A = np.empty((network.n_outputs, n), dtype)
        self.dT = dA = np.empty_like(A)
        for k, layer in reversed([*enumerate(network.layers)]):
            needs_dX = k > self.first_learnt
            self.layers[k] = layer.allocate(n, params[k], grads[k], A, dA, needs_dX=needs_dX)
            A, dA = self.layers[k].X, self.layers[k].dX
        self._images = A.transpose(3, 1, 2, 0)  # (n, H, W, C)

    def fill(self, X):
        """Copy images, rows of values or sparse ones, to where the first layer finds them."""
        X = X if isinstance(X, np.ndarray) else X.toarray()
        self._images[...] = X.reshape(self._images.shape)
