"""ReLU, for one filter and a group of images."""

import numpy as np

from .jit import inner
from .memory import part


@inner
def relu_forward(z, b, layer, a):
    """a = z + b where that is positive, else 0, for one row, or all. NaN stays NaN."""
    zero, length = z.dtype.type(0), layer.W * layer.group_size
    for i in range(layer.n_rows):
        responses, outputs = part(z, i * layer.row, length), part(a, i * layer.A_row, length)
        for j in range(length):
            value = responses[j] + b
            outputs[j] = zero if value < zero else value


@inner
def relu_in_place(z, b, layer):
    """z = z + b where that is positive, else 0; and 0 beyond the end of a row."""
    zero = z.dtype.type(0)
    for k in range(z.size):
        value = z[k] + b
        z[k] = zero if value < zero else value
    for j in range(layer.W * layer.group_size, layer.row):
        for start in range(0, z.size, layer.row):
            z[np.uintp(start + j)] = zero


@inner
def relu_backward(da, a, layer, dz):
    """dz = da where a > 0, else 0. Return the sum of dz."""
    total = zero = a.dtype.type(0)
    length = layer.W * layer.group_size
    for i in range(layer.H):
        gradients, outputs = part(da, i * layer.dA_row, length), part(a, i * layer.A_row, length)
        responses = part(dz, i * layer.row, length)
        for j in range(length):
            value = gradients[j] if outputs[j] > zero else zero
            responses[j] = value
            total += value
    return total


@inner
def relu_backward_in_place(dz, a):
    """dz = dz where a > 0, else 0. Return the sum of dz.

    Given the same array twice, the loop of `relu_backward` would be no vectors.
    """
    total = zero = a.dtype.type(0)
    for k in range(dz.size):
        value = dz[k] if a[k] > zero else zero
        dz[k] = value
        total += value
    return total
