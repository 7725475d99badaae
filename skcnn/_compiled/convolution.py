"""The convolution layer: cross-correlation, intercept, ReLU and pooling, for a group of images.

The images come last, so that one loop goes over the pixels of a row and over all images:
(C, H, W, m). The padding lies around an image, in rows of W + width - 1 pixels; so the input of a
tap lies at the same *offset* from every pixel. With m = 1 one loop goes over all pixels of an
image, in rows of the same length: those beyond W are computed, and left out afterwards.

The forward pass takes all filters through as many rows as a pooling window has, so that the inputs
of these rows stay in a cache; the backward pass takes a few filters through all rows.
"""

import numpy as np

from .activation import relu_backward, relu_backward_in_place, relu_forward, relu_in_place
from .jit import inlined
from .memory import part
from .pooling import average_backward, average_forward, max_backward, max_forward
from .records import AVERAGE_POOLING, IN_PLACE, MAX_POOLING, NO_POOLING
from .simd import FILTERS, Rows, Runs, inner_products, weighted_sums


@inlined
def convolution_forward(layer, network, group):
    """Take the images of a group through a layer: write A, given X."""
    vector, scratch = network.vector, network.scratch
    F, row, n_rows, Z_channel = layer.F, layer.row, layer.n_rows, layer.Z_channel
    base = group.start // layer.group_size * layer.stride
    taps = part(network.offsets, layer.taps, layer.n_taps)
    W = part(vector, layer.W_start, F * layer.filters_row)
    pool_buffer = part(scratch, layer.pool_buffer, layer.W * layer.group_size)
    for i in range(0, layer.H - n_rows + 1, n_rows):
        Z = layer.Z + (base + i * row if layer.keeps_Z else 0)
        for run in range(layer.n_runs):
            first = (i + run) * row
            x = part(scratch, base + layer.X + first, layer.X_size - first)
            z = Rows(part(scratch, Z + run * row, F * Z_channel - run * row), Z_channel, 1)
            weighted_sums(Rows(W, layer.filters_row, 1), x, taps, z, F, layer.length, False)
        for f in range(F):
            z = part(scratch, Z + f * Z_channel, n_rows * row)
            intercept = part(vector, layer.b_start + f, 1)
            b, pooled_row = intercept[0], i // layer.p
            A = base + layer.A + f * layer.A_channel + pooled_row * layer.A_row
            a = part(scratch, A, layer.A_channel)
            if layer.pooling == MAX_POOLING:
                argmax = pool_buffer
                if layer.has_argmax:
                    start = base + layer.argmax_start + f * layer.dA_channel
                    argmax = part(scratch, start + pooled_row * layer.dA_row, layer.dA_channel)
                max_forward(z, intercept, layer, a, argmax)
            elif layer.pooling == NO_POOLING:
                relu_forward(z, b, layer, a)
            else:
                relu_in_place(z, b, layer)
                if layer.pooling == AVERAGE_POOLING:
                    average_forward(z, layer, pool_buffer, a)


@inlined
def convolution_backward(layer, network, group):
    """Add the gradients of a layer, given dA, and write dX if it has one."""
    gradient, scratch, offsets = network.gradient, network.scratch, network.offsets
    F, C, H, row, channel = layer.F, layer.C, layer.H, layer.row, layer.dZ_channel
    base = group.start // layer.group_size * layer.stride
    x = part(scratch, base + layer.X, layer.X_size)
    taps = part(offsets, layer.taps, layer.n_taps)
    for f in range(0, F, FILTERS):
        n_filters = min(FILTERS, F - f)
        dZ = layer.dZ + (f * channel if layer.has_dX else 0)
        if layer.pooling == IN_PLACE:
            dZ = base + layer.dA + f * channel
        for i in range(n_filters):
            start = base + layer.dA + (f + i) * layer.dA_channel
            da = part(scratch, start, layer.dA_channel)
            a = part(scratch, base + layer.A + (f + i) * layer.A_channel, layer.A_channel)
            dz = part(scratch, dZ + i * channel + layer.dZ_origin, H * row)
            if layer.pooling == MAX_POOLING:
                start = base + layer.argmax_start + (f + i) * layer.dA_channel
                argmax = part(scratch, start, layer.dA_channel)
                total = max_backward(da, a, argmax, layer, part(scratch, layer.pool_buffer, 1), dz)
            elif layer.pooling == AVERAGE_POOLING:
                z = part(scratch, base + layer.Z + (f + i) * layer.Z_channel, H * row)
                total = average_backward(da, z, layer, dz)
            elif layer.pooling == NO_POOLING:
                total = relu_backward(da, a, layer, dz)
            else:
                total = relu_backward_in_place(dz, a)
            if layer.learns_b:
                gradient[np.uintp(layer.b_start + f + i)] += total
        if layer.learns_W:
            dz = part(scratch, dZ + layer.dZ_origin, n_filters * channel + row - layer.dZ_origin)
            start, size = layer.W_start + f * layer.filters_row, n_filters * layer.filters_row
            dW = Rows(part(gradient, start, size), layer.filters_row, 1)
            runs = Runs(layer.dZ_runs, row, layer.dZ_length)
            inner_products(Rows(dz, channel, 1), n_filters, x, taps, runs, dW)
    if layer.has_dX:
        # The gradient of the input is the response of the filters reversed to dz.
        n_taps = layer.n_reversed
        taps = part(offsets, layer.reversed_taps, n_taps)
        W = Rows(part(scratch, layer.reversed, C * n_taps), n_taps, 1)
        for i in range(H):
            dz = part(scratch, layer.dZ + i * row, F * channel - i * row)
            dx = part(scratch, base + layer.dX + i * layer.dX_row, C * layer.dX_channel)
            length = layer.W * layer.group_size
            weighted_sums(W, dz, taps, Rows(dx, layer.dX_channel, 1), C, length, False)
