"""The parameters of a network as one vector, and what of it is learnt and decays."""

from math import prod

import numpy as np


class Parameters:
    """The parameters of a network as views of one vector.

    The vector begins with theta, the parameters that are learnt, layer by layer. Frozen layers, and
    intercepts that are fixed at 0, follow.

    Parameters
    ----------
    network : Network
    values : list of dicts of ndarrays
        The parameters of each layer by name; they are copied.
    freeze : {"filters", "dense", "all"} or None, default=None
        Group of layers that are not learnt.
    fit_intercept : bool, default=True
        False: the intercepts are set to 0, and not learnt.

    Attributes
    ----------
    vector : ndarray
    theta : ndarray
        The parameters that are learnt, a view of the vector. A solver changes it in place.
    params : list of dicts of ndarrays
        The parameters of each layer, views of the vector.
    learnt : list of sets of str
        The names of those that are learnt.
    """

    def __init__(self, network, values, freeze=None, fit_intercept=True):
        self._layers = [layer.parameters for layer in network.layers]
        self.learnt = [
            {
                parameter.name
                for parameter in layer.parameters
                if freeze not in (layer.group, "all")
                and (fit_intercept or not parameter.is_intercept)
            }
            for layer in network.layers
        ]
        self._slices = [{} for _ in self._layers]
        n_learnt = stop = 0
        for is_learnt in (True, False):
            for parameters, slices, learnt in zip(self._layers, self._slices, self.learnt):
                for parameter in parameters:
                    if (parameter.name in learnt) is is_learnt:
                        start, stop = stop, stop + prod(parameter.shape)
                        slices[parameter.name] = slice(start, stop)
            n_learnt = stop if is_learnt else n_learnt
        self.vector = np.zeros(stop, next(iter(values[-1].values())).dtype)
        self.theta = self.vector[:n_learnt]
        self.params = self.views(self.vector)
        self._decaying = []
        for parameters, slices, arrays, given in zip(
            self._layers, self._slices, self.params, values
        ):
            for parameter in parameters:
                is_fixed = parameter.is_intercept and not fit_intercept
                arrays[parameter.name][...] = 0 if is_fixed else given[parameter.name]
                if parameter.decays:
                    self._decaying.append(slices[parameter.name])

    def views(self, vector):
        """Return the arrays of each layer in the whole vector, or in one like theta."""
        return [
            {
                parameter.name: vector[slices[parameter.name]].reshape(parameter.shape)
                for parameter in parameters
                if slices[parameter.name].stop <= len(vector)
            }
            for parameters, slices in zip(self._layers, self._slices)
        ]

    def new_gradient(self):
        """Return a vector for the gradient, of zeros, which take no memory until they are used."""
        return np.zeros(self.theta.size, self.theta.dtype)

    def add_penalty(self, alpha, gradient):
        """Add the gradient of alpha/2 * `squared_norm`."""
        for elements in self._decaying:
            if elements.stop <= len(gradient):
                gradient[elements] += alpha * self.vector[elements]

    def squared_norm(self):
        """Return the sum of the squares of all weights, without the intercepts."""
        return sum((self.vector[elements] ** 2).sum() for elements in self._decaying)
