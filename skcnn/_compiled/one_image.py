"""A single convolution layer without pooling, which is the article's network, image by image.

One loop goes over all pixels of an image, and ReLU is applied in place (`IN_PLACE`): A has the
layout of the response, with rows longer than the image. The weights of the first dense layer have
zeros there. While an image is computed, the processor fetches the next one.
"""

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from .images import copy_images
from .jit import inlined, inner
from .memory import part

MAX_LINES = 24  # of the cache, prefetched at a time


@intrinsic
def prefetch_line(context, array, k):
    """Have the processor fetch the cache line of array[k], while it does other things."""

    def instruction(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(data, arguments[1:]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # To be read; into L2, as L1 is full of what is in use; data and not instructions.
        builder.call(prefetch, [address, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.uintp), instruction


if config.DISABLE_JIT:

    def prefetch_line(array, k):
        """Do nothing: Python has no such instruction, and the result does not depend on it."""


@inner
def prefetch(x, number):
    """Prefetch a part of an image: number 0, 1, ... while the image before it is computed.

    A processor fetches about 20 lines at a time; a request beyond these makes it wait. So they are
    requested in parts, between the loops over an image. Then a step on one of 60,000 images takes a
    tenth longer than on one that is in the cache, and two thirds longer when all lines are
    requested at once.
    """
    line = 64 // x.itemsize
    start = number * MAX_LINES * line
    for k in range(start, min(start + MAX_LINES * line, x.size), line):
        prefetch_line(x, np.uintp(k))


@inlined
def next_image(data, group):
    """Return the image to prefetch, which is empty after the last one."""
    is_next = group.first + 1 < len(data.order)
    row = data.order[np.uintp(group.first + 1)] if is_next else 0
    n_values = data.X.shape[1]
    return part(data.X, row * n_values, n_values if is_next else 0)


@inlined
def one_image_forward(layer, network, data, group):
    """Copy an image into its padding, in half the time of `images_forward` for one channel."""
    x = part(network.scratch, group.start * layer.stride + layer.A, layer.C * layer.channel)
    order = part(data.order, group.first, 1)
    if layer.C == 1:
        image, W = data.X[order[0]], np.uintp(layer.W)
        for i in range(layer.H):
            to, source = np.uintp(layer.origin + i * layer.row), np.uintp(i) * W
            for j in range(W):
                x[to + j] = image[source + j]
    else:
        copy_images(data.X, order, layer, x)
    prefetch(next_image(data, group), 0)


@inlined
def prefetch_forward(layer, network, data, group):
    """Prefetch a second part of the next image, after the convolution."""
    prefetch(next_image(data, group), 1)


@inlined
def prefetch_backward(layer, network, data, group):
    """Prefetch the rest of the next image, before the gradient of the filters."""
    upcoming = next_image(data, group)
    for number in range(2, layer.n_prefetches):
        prefetch(upcoming, number)
