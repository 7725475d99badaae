"""Solvers: they work on a vector of parameters and its gradient, not on a network.

A stochastic solver is made for a vector theta. Its state, with which a training can be resumed, is
``memory``, an array of some rows as long as theta, and ``t``, the number of steps taken.
``step(theta, gradient, eta)`` changes theta in place, and may overwrite ``gradient``. ``rule`` and
``constants`` define the step for the compiled loops.
"""

from math import cos, pi, sqrt

import numpy as np
from scipy.linalg.blas import daxpy, saxpy
from scipy.optimize import minimize

AXPY = {np.dtype(np.float32): saxpy, np.dtype(np.float64): daxpy}


class SGD:
    r"""Stochastic gradient descent, plain or with momentum.

    Parameters
    ----------
    theta : ndarray
    momentum : float, default=0
        Momentum coefficient: the fraction of the last step that is taken again.

    Notes
    -----
    With the gradient g and the momentum :math:`\mu`:

    .. math::
        v &\leftarrow \mu v - \eta g \\
        \theta &\leftarrow \theta + v

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics 4 (1964).
    """

    def __init__(self, theta, momentum=0.0):
        self.t = 0
        self.momentum = momentum
        self.rule = "MOMENTUM" if momentum else "SGD"
        self.constants = momentum, 0.0, 0.0
        self.memory = np.zeros((1 if momentum else 0, theta.size), theta.dtype)

    def step(self, theta, gradient, eta):
        """Take one step; see the module."""
        self.t += 1
        if self.momentum:
            (velocity,) = self.memory
            gradient *= eta
            velocity *= self.momentum
            velocity -= gradient
            theta += velocity
        else:
            AXPY[theta.dtype](gradient, theta, a=-eta)  # in place, in one pass


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
    rule = "ADAM"
    constants = beta_1, beta_2, epsilon

    def __init__(self, theta):
        self.t = 0
        self.memory = np.zeros((2, theta.size), theta.dtype)

    def step(self, theta, gradient, eta):
        """Take one step; see the module."""
        self.t += 1
        m, v = self.memory
        axpy = AXPY[theta.dtype]  # in place, in one pass
        m *= self.beta_1
        axpy(gradient, m, a=1 - self.beta_1)
        np.square(gradient, out=gradient)
        v *= self.beta_2
        axpy(gradient, v, a=1 - self.beta_2)
        root = sqrt(1 - self.beta_2**self.t)
        denominator = np.sqrt(v, out=gradient)
        denominator += self.epsilon * root
        quotient = np.divide(m, denominator, out=gradient)
        axpy(quotient, theta, a=-eta * root / (1 - self.beta_1**self.t))


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


def lbfgs(theta, loss_and_gradient, max_iter, tol, after_iteration):
    """Minimise a function of theta by L-BFGS-B.

    Parameters
    ----------
    theta : ndarray
        Initial value; overwritten by the result.
    loss_and_gradient : callable
        ``loss_and_gradient(theta)`` is a number and an array.
    max_iter : int
        Greatest number of iterations; each takes at least one evaluation of the function.
    tol : float or None
        Stop where no component of the gradient is greater. None: go on while the loss decreases.
    after_iteration : callable
        Called without arguments after every iteration, at its theta; true: stop.

    Returns
    -------
    outcome : {"converged", "max_iter", "stalled"}
        Why it stopped. "stalled": the search found no step that lowers the loss.

    References
    ----------
    R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained
    optimization", SIAM Journal on Scientific Computing 16 (1995).
    """

    def function(theta):
        loss, gradient = loss_and_gradient(theta)
        return loss, gradient.astype(np.float64)  # a copy: SciPy keeps it until the next one

    def callback(intermediate_result):
        if after_iteration():
            raise StopIteration

    found = minimize(
        function,
        theta.astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options={
            "maxiter": max_iter,
            "maxfun": 100 * max_iter,
            "gtol": tol or 0,
            "ftol": 0 if tol is None else 64 * np.finfo(np.float64).eps,
        },
    )
    theta[...] = found.x
    return {1: "max_iter", 2: "stalled"}.get(found.status, "converged")


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
