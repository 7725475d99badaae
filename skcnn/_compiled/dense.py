"""The dense layer. An image is a row here."""

import numpy as np

from .jit import inlined, inner
from .memory import part
from .simd import Rows, Runs, inner_products, weighted_sums


@inlined
def dense_layer_forward(layer, network, group):
    """Write A, given X."""
    scratch, vector = network.scratch, network.vector
    n, n_in, n_out, stride = group.n, layer.n_in, layer.n_out, layer.stride
    start = group.start * stride
    A = part(scratch, layer.A + start, n * stride)
    intercepts = part(vector, layer.c_start, n_out)
    for k in range(n):
        for i in range(n_out):
            A[np.uintp(k * stride + i)] = intercepts[i]
    V, X = part(vector, layer.V_start, n_out * n_in), part(scratch, layer.X + start, n * stride)
    images = part(network.offsets, layer.images, n)
    inner_products(Rows(V, n_in, 1), n_out, X, images, Runs(1, 0, n_in), Rows(A, 1, stride))
    if layer.relu:
        for k in range(n):
            hidden = part(A, k * stride, n_out)
            for i in range(n_out):
                hidden[i] = hidden.dtype.type(0) if hidden[i] < 0 else hidden[i]


@inlined
def dense_layer_backward(layer, network, group):
    """Add or write the gradients of a layer, given dA, and write dX if it has one."""
    scratch, gradient, offsets = network.scratch, network.gradient, network.offsets
    n, n_in, n_out, stride = group.n, layer.n_in, layer.n_out, layer.stride
    start = group.start * stride
    dT = part(scratch, layer.dA + start, n * stride)
    if layer.relu:
        for k in range(n):
            da, a = part(dT, k * stride, n_out), part(scratch, layer.A + start + k * stride, n_out)
            for i in range(n_out):
                da[i] = da[i] if a[i] > 0 else da.dtype.type(0)
    if layer.learns_V:
        dV = part(gradient, layer.V_start, n_out * n_in)
        X, images = part(scratch, layer.X + start, n * stride), part(offsets, layer.images, n)
        dV, adds = Rows(dV, n_in, 1), not group.overwrite
        weighted_sums(Rows(dT, 1, stride), X, images, dV, n_out, n_in, adds)
    if layer.learns_c:
        for i in range(n_out):
            for k in range(n):
                gradient[np.uintp(layer.c_start + i)] += dT[np.uintp(k * stride + i)]
    if layer.has_dX:
        V, units = part(network.vector, layer.V_start, n_out * n_in), layer.units
        dX = Rows(part(scratch, layer.dX + start, n * stride), stride, 1)
        weighted_sums(Rows(dT, stride, 1), V, part(offsets, units, n_out), dX, n, n_in, False)


@inner
def axpy(factor, x, y):
    """y += factor * x."""
    for k in range(x.size):
        y[k] += factor * x[k]
