"""The objective: the loss of a network on given data, as a function of its parameters."""

import numpy as np

from .._engine.executor import Batch, Selection, take_rows
from .._nn.dropout import DropoutMasks
from .holdout import hashes


class Objective:
    """The loss on given data as a function of theta.

    Parameters
    ----------
    executor : ParallelExecutor
        Of the network, its parameters, which are changed, and the largest batch.
    X : ndarray or sparse array of n rows
        Images, of any numeric dtype.
    y : ndarray of shape (n,) or (n, n_outputs)
        Targets, as the loss takes them.
    s : ndarray of shape (n,)
        Weights of the images.
    alpha : float
        L2 penalty.
    dropout : float, default=0.0
        Fraction of the inputs of each dense layer that is set to 0 in a step.
    augment : callable, default=None
        ``augment(images, random_state)`` returns changed images (n, H, W, C) of a batch.

    Attributes
    ----------
    theta : ndarray
        The parameters that are learnt, as a vector. A solver changes it in place.
    loss : Loss
    """

    def __init__(self, executor, X, y, s, alpha, dropout=0.0, augment=None):
        self._executor = executor
        self._network, self._parameters = executor.network, executor.parameters
        self.loss, self.theta = executor.loss, self._parameters.theta
        self._X, self._y = X, y
        self._s = s.astype(self.theta.dtype)
        self._rows = np.flatnonzero(s)  # samples of weight 0 are not visited
        self._Y = self.loss.targets(y, self.theta.dtype)
        self._alpha, self._dropout, self._augment = alpha, dropout, augment
        self._hashes = hashes(X) if dropout else None
        self._visited = []

    def run_epoch(self, solver, order, batch_size, eta, seed=None, random_state=None):
        """Take a step on the gradient of the mean loss of each batch.

        Parameters
        ----------
        solver : SGD or Adam
        order : ndarray of int
            Indices of the samples, one batch after the other; the last batch may be smaller.
        batch_size : int
        eta : float
            Learning rate.
        seed : sequence of int
            Seed of the dropout masks.
        random_state : numpy.random.RandomState
            For ``augment``.
        """
        masks, dtype = None, self.theta.dtype
        if self._dropout:
            masks = DropoutMasks(self._dropout, self._network.n_dropout_inputs, dtype, seed)
        takes_steps = self._executor.takes_steps(batch_size)
        X = self._X if self._augment is None else None
        size = self._executor.n_images_a_call(batch_size, X) if takes_steps else batch_size
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            mask = masks.of(self._hashes[rows]) if masks else None
            data, indices = Batch(self._X, self._Y, self._s, mask), rows
            if self._augment is not None:
                X = self._augmented(rows, batch_size, random_state)
                Y, s = self._Y.take(rows, axis=0), self._s.take(rows)
                data, indices = Batch(X, Y, s, mask), np.arange(len(rows))
            if takes_steps:
                args = solver, data, indices, batch_size, self._alpha, eta
                self._visited.append(self._executor.run_steps(*args))
            else:
                Y, s = data.Y.take(indices, axis=0), data.s.take(indices) / len(indices)
                batch = Batch(Selection(data.X, indices), Y, s, mask)
                solver.step(self.theta, self._gradient(batch), eta)

    def _augmented(self, rows, batch_size, random_state):
        """Return images as ``augment`` changes them, a batch at a time."""
        batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        return np.concatenate([self._augmented_batch(batch, random_state) for batch in batches])

    def _augmented_batch(self, rows, random_state):
        """Return the images of a batch as ``augment`` changes them."""
        X = take_rows(self._X, rows)
        X = X.toarray() if hasattr(X, "toarray") else X
        images = X.astype(self.theta.dtype).reshape(-1, *self._network.image_shape)
        returned, fault = self._augment(images, random_state), ""
        try:
            changed = np.asarray(returned)
        except ValueError:
            fault = "images of several shapes"
        else:
            if changed.shape != images.shape or changed.dtype.kind not in "biuf":
                fault = f"an array with the shape {changed.shape} and the type {changed.dtype}"
            elif not np.isfinite(changed).all():
                fault = "NaN or infinite values"
        if fault:
            raise ValueError(
                "augment must return finite images of the shape that it is given, "
                f"{images.shape}, but it returned {fault}."
            )
        # A copy: it may be memory that the next call uses again.
        return changed.reshape(len(rows), -1).astype(self.theta.dtype)

    def _gradient(self, batch):
        """Return the gradient at theta of the weighted loss of a batch, and of the penalty."""
        T = np.empty((len(batch.Y), self._network.n_outputs), self.theta.dtype)
        gradient = self._executor.gradient(batch, T)
        self._visited.append(T)
        if self._alpha:
            self._parameters.add_penalty(self._alpha, gradient)
        return gradient

    def loss_and_gradient(self, theta):
        """Set theta, and return the loss on all data, a number, and its gradient."""
        self.theta[...], rows = theta, self._rows
        s = self._s[rows] / self._s[rows].sum()
        self._visited = []
        gradient = self._gradient(Batch(Selection(self._X, rows), self._Y[rows], s))
        loss = np.dot(self.loss.forward(self._visited[0], self._y[rows]), s)
        return float(loss + self._alpha / 2 * self._parameters.squared_norm()), gradient

    def visited_outputs(self):
        """Return T of all images visited since the last call, each before its update."""
        T = np.concatenate(self._visited)
        self._visited = []
        return T

    def outputs(self, X):
        """Return T of other images, at theta."""
        return self._executor.outputs(X)

    def has_finite_outputs(self):
        """Return whether the outputs for the images are finite at theta.

        They are computed only if the weights are so large that outputs could overflow for images
        with values up to 1e9 (float32) or 1e100 (float64).
        """
        bound = 1e9 if self.theta.dtype == np.float32 else 1e100
        for layer, params in zip(self._network.layers, self._parameters.params):
            bound = layer.output_bound(bound, params)
        if bound < np.finfo(self.theta.dtype).max:
            return True
        return bool(np.isfinite(self.outputs(Selection(self._X, self._rows))).all())
