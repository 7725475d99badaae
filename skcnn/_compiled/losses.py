"""The gradient of a loss with respect to the outputs of an image."""

import numpy as np

from .jit import inner
from .records import IDENTITY, SIGMOID, SOFTMAX


@inner
def loss_backward(t, y, s, activation, dt):
    """dt = s * (P - y), for the outputs t of one image; return whether it is not 0.

    For the squared error it is divided by the number of outputs.

    What is so small that its products would be denormal is made 0: it changes no weight, and takes
    the processor a hundred times as long.
    """
    one, zero = t.dtype.type(1), t.dtype.type(0)
    smallest = t.dtype.type(1e-19 if t.itemsize == 4 else 1e-150)
    if activation == SOFTMAX:
        greatest, total = t[0], zero
        for k in range(1, t.size):
            greatest = max(greatest, t[k])
        for k in range(t.size):
            dt[k] = np.exp(t[k] - greatest)
            total += dt[k]
        for k in range(t.size):
            dt[k] = s * (dt[k] / total - y[k])
    else:
        s = s / t.dtype.type(t.size) if activation == IDENTITY else s
        for k in range(t.size):
            P = one / (one + np.exp(-t[k])) if activation == SIGMOID else t[k]
            dt[k] = s * (P - y[k])
    any_left = False
    for k in range(t.size):
        if abs(dt[k]) < smallest:
            dt[k] = 0
        any_left |= dt[k] != 0
    return any_left
