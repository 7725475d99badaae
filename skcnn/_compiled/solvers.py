"""A step of each stochastic solver; see `skcnn._training.solvers`."""

import numpy as np

from .dense import axpy
from .jit import inner
from .records import MOMENTUM, SGD


@inner
def step(rule, theta, gradient, eta, constants, memory, t):
    """Take step t, counted from 1, in place."""
    number = theta.dtype.type
    first, second, epsilon = constants
    if rule == SGD:
        axpy(number(-eta), gradient, theta)
    elif rule == MOMENTUM:
        velocity, momentum, rate = memory[0], number(first), number(eta)
        for k in range(theta.size):
            velocity[k] = momentum * velocity[k] - rate * gradient[k]
            theta[k] += velocity[k]
    else:
        m, v = memory[0], memory[1]
        decay_m, new_m = number(first), number(1 - first)
        decay_v, new_v = number(second), number(1 - second)
        rate, scale_v = number(eta / (1 - first**t)), number(1 / (1 - second**t))
        for k in range(theta.size):
            m[k] = decay_m * m[k] + new_m * gradient[k]
            v[k] = decay_v * v[k] + new_v * (gradient[k] * gradient[k])
            theta[k] -= rate * m[k] / (np.sqrt(scale_v * v[k]) + number(epsilon))
