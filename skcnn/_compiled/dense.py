"""The dense layer. An image is a row here, and images are taken one by one, or four."""

import numpy as np

from .jit import inlined, inner
from .memory import four_parts, matrix, part


@inlined
def dense_layer_forward(layer, network, group):
    """Write A, given X."""
    scratch, vector = network.scratch, network.vector
    n_in, n_out, start = layer.n_in, layer.n_out, group.start * layer.stride
    X = matrix(scratch, layer.X + start, group.n, layer.stride)
    A = matrix(scratch, layer.A + start, group.n, layer.stride)
    dense_forward(
        X, matrix(vector, layer.V_start, n_out, n_in), part(vector, layer.c_start, n_out), A
    )
    if layer.relu:
        for n in range(group.n):
            hidden = part(scratch, layer.A + start + n * layer.stride, n_out)
            for i in range(n_out):
                hidden[i] = hidden.dtype.type(0) if hidden[i] < 0 else hidden[i]


@inlined
def dense_layer_backward(layer, network, group):
    """Add or write the gradients of a layer, given dA, and write dX if it has one."""
    scratch, gradient = network.scratch, network.gradient
    n_in, n_out, stride = layer.n_in, layer.n_out, layer.stride
    n, start = group.n, group.start * layer.stride
    dT = matrix(scratch, layer.dA + start, n, stride)
    if layer.relu:
        for k in range(n):
            da = part(scratch, layer.dA + start + k * stride, n_out)
            a = part(scratch, layer.A + start + k * stride, n_out)
            for i in range(n_out):
                da[i] = da[i] if a[i] > 0 else da.dtype.type(0)
    if layer.learns_V:
        dV = matrix(gradient, layer.V_start, n_out, n_in)
        gemm(dT.T, matrix(scratch, layer.X + start, n, stride), dV, group.overwrite)
    if layer.learns_c:
        for i in range(n_out):
            for k in range(n):
                gradient[np.uintp(layer.c_start + i)] += dT[np.uintp(k), np.uintp(i)]
    if layer.has_dX:
        V = matrix(network.vector, layer.V_start, n_out, n_in)
        gemm(dT, V, matrix(scratch, layer.dX + start, n, stride), True)


@inner
def dot(x, y):
    """sum_k x[k] * y[k]."""
    total = x.dtype.type(0)
    for k in range(x.size):
        total += x[k] * y[k]
    return total


@inner
def dot4(x, four):
    """The same for four y: x is read once."""
    y0, y1, y2, y3 = four
    a = b = c = d = x.dtype.type(0)
    for k in range(x.size):
        a += x[k] * y0[k]
        b += x[k] * y1[k]
        c += x[k] * y2[k]
        d += x[k] * y3[k]
    return a, b, c, d


@inner
def scale(factor, x, y):
    """y = factor * x."""
    for k in range(x.size):
        y[k] = factor * x[k]


@inner
def axpy(factor, x, y):
    """y += factor * x."""
    for k in range(x.size):
        y[k] += factor * x[k]


@inner
def axpy4(factors, four, y):
    """y += sum of factor * x, for four of each: y is read and written once."""
    (a, b, c, d), (x0, x1, x2, x3) = factors, four
    for k in range(y.size):
        y[k] += a * x0[k] + b * x1[k] + c * x2[k] + d * x3[k]


@inner
def dense_forward(A, V, c, T):
    """T = A V' + c, an image a row."""
    n_images, step, n_in = len(A), A.shape[1], V.shape[1]
    for k in range(len(c)):
        v, intercept, column = part(V, k * n_in, n_in), c[k], np.uintp(k)
        m = 0
        while n_images - m >= 4:
            products = dot4(v, four_parts(A, m * step, step, n_in))
            for i in range(4):
                T[np.uintp(m + i), column] = products[i] + intercept
            m += 4
        for i in range(m, n_images):
            T[np.uintp(i), column] = dot(v, part(A, i * step, n_in)) + intercept


@inner
def gemm(t, x, y, overwrite):
    """y[i] += sum_j t[i, j] * x[j], for rows of x and y; or y[i] = the same."""
    n, x_row, y_row = min(x.shape[1], y.shape[1]), x.shape[1], y.shape[1]
    for i in range(len(y)):
        to, k = part(y, i * y_row, n), np.uintp(i)
        first = 0
        if overwrite:
            scale(t[k, np.uintp(0)], part(x, 0, n), to)
            first = 1
        while len(x) - first >= 4:
            j, four = np.uintp(first), four_parts(x, first * x_row, x_row, n)
            axpy4((t[k, j], t[k, j + 1], t[k, j + 2], t[k, j + 3]), four, to)
            first += 4
        for j in range(first, len(x)):
            axpy(t[k, np.uintp(j)], part(x, j * x_row, n), to)
