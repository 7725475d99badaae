"""Solvers: they see a vector of parameters and a function that gives its gradient.

A solver is made for a vector theta and keeps what it must remember from step to step, so that
training can stop and go on. ``step(theta, gradient, eta)`` changes theta in place, and may use
``gradient`` as its scratch paper.
"""

import numpy as np


class SGD:
    """Plain stochastic gradient descent: theta <- theta - eta * gradient."""

    def __init__(self, theta):
        """There is nothing to remember."""

    def step(self, theta, gradient, eta):
        """Take one step; see the module."""
        gradient *= eta
        theta -= gradient


class Adam:
    r"""Steps scaled by running moments of the gradient.

    Notes
    -----
    With the gradient g of step t, elementwise, and :math:`\beta_1 = 0.9, \beta_2 = 0.999,
    \epsilon = 10^{-8}`:

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        \theta &\leftarrow \theta - \eta \frac{m / (1 - \beta_1^t)}
                                              {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    beta_1 = 0.9
    beta_2 = 0.999
    epsilon = 1e-8

    def __init__(self, theta):
        self.t = 0
        self.m = np.zeros_like(theta)
        self.v = np.zeros_like(theta)

    def step(self, theta, gradient, eta):
        """Take one step; see the module."""
        self.t += 1
        self.m *= self.beta_1
        self.m += (1 - self.beta_1) * gradient
        np.square(gradient, out=gradient)
        gradient *= 1 - self.beta_2
        self.v *= self.beta_2
        self.v += gradient
        denominator = np.sqrt(self.v / (1 - self.beta_2**self.t), out=gradient)
        denominator += self.epsilon
        theta -= eta / (1 - self.beta_1**self.t) * self.m / denominator


STOCHASTIC_SOLVERS = {"sgd": SGD, "adam": Adam}


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


def run_epoch(solver, theta, gradient, order, batch_size, eta):
    """Take a step for every batch of the order.

    Parameters
    ----------
    solver : SGD or Adam
    theta : ndarray
        Changed in place.
    gradient : callable
        ``gradient(batch)`` is the gradient at what theta is then, for an array of indices.
    order : ndarray of shape (n,)
    batch_size : int
        Samples a step; the last step has what is left.
    eta : float
        Learning rate.
    """
    for start in range(0, len(order), batch_size):
        solver.step(theta, gradient(order[start : start + batch_size]), eta)


class Plateau:
    """Tells when a loss has stopped improving.

    Parameters
    ----------
    tol : float or None
        Improvement that counts; None: never tell.
    patience : int
        How many epochs in a row may pass without one.
    """

    def __init__(self, tol, patience):
        self.tol = tol
        self.patience = patience
        self.best = np.inf
        self.epochs_without_improvement = 0

    def reached(self, loss):
        """Take note of an epoch's loss, and return whether training should stop."""
        if self.tol is None:
            return False
        improved = loss <= self.best - self.tol
        self.epochs_without_improvement = 0 if improved else self.epochs_without_improvement + 1
        self.best = min(self.best, loss)
        return self.epochs_without_improvement >= self.patience
