"""Dropout, in place: an image is a row."""

from .jit import inlined, inner
from .memory import part


@inlined
def dropout_forward(layer, network, data, group):
    """X = X * mask, if there is one."""
    drop(layer, layer.X, network.scratch, data.dropout_mask, group)


@inlined
def dropout_backward(layer, network, data, group):
    """dX = dX * mask, if there is one."""
    if layer.has_dX:
        drop(layer, layer.dX, network.scratch, data.dropout_mask, group)


@inner
def drop(layer, X, scratch, mask, group):
    """Multiply the rows of values that begin at X by those of a mask."""
    n_columns = mask.shape[1]
    if n_columns > 0:
        for n in range(group.n):
            x = part(scratch, X + (group.start + n) * layer.stride, layer.n_in)
            start = (group.first + n) * n_columns + layer.mask_column
            factors = part(mask, start, layer.n_in)
            for k in range(x.size):
                x[k] *= factors[k]
