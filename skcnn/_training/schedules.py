"""Schedules: which samples an epoch visits, the learning rate, and when a loss has settled."""

from math import cos, pi

import numpy as np


def draw_order(n, sampling, random_state):
    """Return the samples that an epoch visits, in its order, as an array of n indices.

    Parameters
    ----------
    n : int
        Number of samples.
    sampling : {"shuffle", "replacement", "sequential"}
        A new permutation; n draws with replacement; or 0 to n - 1.
    random_state : numpy.random.RandomState
    """
    if sampling == "shuffle":
        return random_state.permutation(n)
    if sampling == "replacement":
        return random_state.randint(n, size=n)
    return np.arange(n)


class LearningRate:
    """The learning rate eta over the epochs.

    Parameters
    ----------
    schedule : {"constant", "adaptive", "cosine"}
        "adaptive" divides eta by 5 whenever the loss has stopped improving, down to 1e-6; "cosine"
        goes from eta towards 0 along half a cosine, and starts again after ``period`` epochs.
    eta : float
    period : int
        Epochs from one start of the cosine to the next.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    """

    smallest = 1e-6

    def __init__(self, schedule, eta, period):
        self.schedule = schedule
        self.eta = eta
        self.period = period

    def at(self, epoch):
        """Return eta for an epoch, counted from 0."""
        if self.schedule == "cosine":
            return self.eta * (1 + cos(pi * (epoch % self.period) / self.period)) / 2
        return self.eta

    def lower(self):
        """Lower eta after a plateau, and return whether the schedule does so."""
        if self.schedule != "adaptive" or self.eta <= self.smallest:
            return False
        self.eta /= 5
        return True


class Plateau:
    """Detects when a loss has stopped improving.

    Parameters
    ----------
    tol : float or None
        Smallest change that counts as an improvement; None: never detect a plateau.
    patience : int
        Number of epochs in a row without improvement that make a plateau.
    best : float, default=inf
        Smallest loss so far.
    epochs_without_improvement : int, default=0
        Their number so far.
    """

    def __init__(self, tol, patience, best=np.inf, epochs_without_improvement=0):
        self.tol = -np.inf if tol is None else tol  # then every loss is an improvement
        self.patience = patience
        self.best = best
        self.epochs_without_improvement = epochs_without_improvement

    @property
    def state(self):
        """The smallest loss and the number of epochs without improvement, to go on with."""
        return self.best, self.epochs_without_improvement

    def reached(self, loss):
        """Record an epoch's loss, and return whether it has plateaued.

        After a plateau the count starts again.
        """
        improved = loss <= self.best - self.tol
        self.epochs_without_improvement = 0 if improved else self.epochs_without_improvement + 1
        self.best = min(self.best, loss)
        reached = self.epochs_without_improvement >= self.patience
        if reached:
            self.epochs_without_improvement = 0
        return reached
