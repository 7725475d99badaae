"""Images between the layouts: an image a row in the data and in dense layers, last elsewhere."""

import numpy as np

from .jit import inlined, inner
from .memory import matrix, part

TILE = 128  # values of each image that are transposed together


@inlined
def images_forward(layer, network, data, group):
    """Copy the images of a group, channels last in the data, into their padding."""
    base = group.start // layer.group_size * layer.stride
    x = part(network.scratch, base + layer.A, layer.C * layer.channel)
    copy_images(data.X, part(data.order, group.first, group.n), layer, x)


@inner
def copy_images(X, rows, layer, x):
    """Copy rows of X to x."""
    for c in range(layer.C):
        for i in range(layer.H):
            to = c * layer.channel + i * layer.row + layer.origin
            for j in range(layer.W):
                source = np.uintp((i * layer.W + j) * layer.C + c)
                for n in range(len(rows)):
                    x[np.uintp(to + n)] = X[np.uintp(rows[n]), source]
                to += layer.group_size


@inlined
def to_rows_forward(layer, network, group):
    """Write A, an image a row, given X, images last."""
    scratch, m = network.scratch, layer.group_size
    x = part(scratch, group.start // m * layer.stride + layer.X, layer.n_in * m)
    to_rows(x, m, matrix(scratch, layer.A + group.start * layer.A_row, group.n, layer.A_row))


@inlined
def to_rows_backward(layer, network, group):
    """Write dX, images last, given dA, an image a row."""
    scratch, m = network.scratch, layer.group_size
    da = matrix(scratch, layer.dA + group.start * layer.A_row, group.n, layer.A_row)
    to_columns(da, m, part(scratch, group.start // m * layer.stride + layer.dX, layer.n_in * m))


@inner
def to_rows(a, m, A):
    """A = a transposed, of images in groups of m: an image a row, which may be longer."""
    size = a.size // m
    for start in range(0, size, TILE):
        for n in range(len(A)):
            for k in range(start, min(start + TILE, size)):
                A[np.uintp(n), np.uintp(k)] = a[np.uintp(k * m + n)]


@inner
def to_columns(A, m, a):
    """The inverse of `to_rows`; images that complete the group are 0."""
    zero, size = a.dtype.type(0), a.size // m
    for start in range(0, size, TILE):
        for n in range(m):
            for k in range(start, min(start + TILE, size)):
                value = A[np.uintp(n), np.uintp(k)] if n < len(A) else zero
                a[np.uintp(k * m + n)] = value
