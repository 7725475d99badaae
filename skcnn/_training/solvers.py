"""Solvers: they work on a vector of parameters and its gradient, not on a network.

A stochastic solver is made for a vector theta. Its state, with which a training can be resumed, is
``memory``, an array whose rows are as long as theta, and ``t``, the number of steps taken.
``step(theta, gradient, eta)`` changes theta in place, and may overwrite ``gradient``. ``rule`` and
``constants`` define the step for the compiled loops.
"""

from math import sqrt

import numpy as np
from scipy.linalg.blas import daxpy, saxpy
from scipy.optimize import minimize

AXPY = {np.dtype(np.float32): saxpy, np.dtype(np.float64): daxpy}


class SGD:
    r"""Stochastic gradient descent, plain or with momentum.

    With the gradient g and the momentum :math:`\mu`:

    .. math::
        :label: sgd

        v &\leftarrow \mu v - \eta g \\
        \theta &\leftarrow \theta + v

    Parameters
    ----------
    theta : ndarray
    momentum : float, default=0
        Momentum coefficient: the fraction of the last step that is taken again.

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
    r"""Adam: steps scaled by running moments of the gradient.

    With the gradient g of step t, elementwise, and :math:`\beta_1 = 0.9`, :math:`\beta_2 = 0.999`
    and :math:`\epsilon = 10^{-8}`:

    .. math::
        :label: adam

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
