"""The interpreter: runs the records of a plan, forward and backward, and takes steps.

The kernels have the names and do the work of those of `skcnn._nn`; tests hold both against the same
slow transcription of the formulas. What calls on whole arrays cannot do is a training step on one
image in a microsecond, and images that go through all layers without leaving the cache.

What is passed to a function for each image is short: a record with the numbers of a layer, and the
network with all arrays. Numbers are cast to the dtype of the arrays, so that float32 does not
become float64 on the way, and indices that cannot be negative are unsigned, so that none is
compared with 0.

With the environment variable ``NUMBA_DISABLE_JIT=1`` the same functions run as Python, for a
debugger or to measure coverage: a thousand times slower, with the same results.
"""

import numpy as np

from .convolution import convolution_backward, convolution_forward
from .dense import axpy, dense_layer_backward, dense_layer_forward
from .dropout import dropout_backward, dropout_forward
from .images import images_forward, to_rows_backward, to_rows_forward
from .jit import inlined, outer, source_hash
from .losses import loss_backward
from .memory import part
from .one_image import one_image_forward, prefetch_backward, prefetch_forward
from .records import (
    CONVOLUTION,
    DENSE,
    DROPOUT,
    GRADIENT,
    IMAGES,
    ONE_IMAGE,
    OUTPUTS,
    PREFETCH,
    TO_ROWS,
    Group,
)
from .solvers import step


@inlined
def forward(network, data, first, n_images):
    """Compute the outputs of the images from the first, as many as there is memory for."""
    for s in range(len(network.stages)):
        stage = network.stages[s]
        for start in range(0, n_images, stage.group_size):
            group = Group(first + start, start, min(stage.group_size, n_images - start), False)
            for k in range(stage.first, stage.last):
                layer = network.layers[k]
                kind = layer.kind
                if kind == ONE_IMAGE:
                    one_image_forward(layer, network, data, group)
                elif kind == PREFETCH:
                    prefetch_forward(layer, network, data, group)
                elif kind == IMAGES:
                    images_forward(layer, network, data, group)
                elif kind == CONVOLUTION:
                    convolution_forward(layer, network, group)
                elif kind == TO_ROWS:
                    to_rows_forward(layer, network, group)
                elif kind == DROPOUT:
                    dropout_forward(layer, network, data, group)
                elif kind == DENSE:
                    dense_layer_forward(layer, network, group)


@inlined
def backward(network, data, first, n_images, overwrite):
    """Write or add the gradients of what is learnt, given those of the outputs."""
    first_learnt = network.sizes[0].first_learnt
    for s in range(len(network.stages) - 1, -1, -1):
        stage = network.stages[s]
        last = max(stage.first, first_learnt)
        for start in range(0, n_images, stage.group_size):
            n = min(stage.group_size, n_images - start)
            group = Group(first + start, start, n, overwrite and start == 0)
            for k in range(stage.last - 1, last - 1, -1):
                layer = network.layers[k]
                kind = layer.kind
                if kind == PREFETCH:
                    prefetch_backward(layer, network, data, group)
                elif kind == CONVOLUTION:
                    convolution_backward(layer, network, group)
                elif kind == TO_ROWS:
                    to_rows_backward(layer, network, group)
                elif kind == DROPOUT:
                    dropout_backward(layer, network, data, group)
                elif kind == DENSE:
                    dense_layer_backward(layer, network, group)


@inlined
def visit(network, data, factor, T, start, stop, trains, overwrite):
    """Write the outputs of images, and write or add the gradient of factor * loss."""
    sizes, scratch, vector = network.sizes[0], network.scratch, network.vector
    gradient, n_outputs = network.gradient, T.shape[1]
    for k in range(network.reversal.size):
        scratch[np.uintp(sizes.reversed + k)] = vector[network.reversal[k]]
    if trains and overwrite:
        part(gradient, 0, sizes.n_zeroed)[:] = 0
    for first in range(start, stop, sizes.capacity):
        n_images = min(sizes.capacity, stop - first)
        forward(network, data, first, n_images)
        any_gradient = False
        for n in range(n_images):
            t = part(T, (first + n) * n_outputs, n_outputs)
            outputs = part(scratch, sizes.T_start + n * sizes.row, n_outputs)
            for k in range(n_outputs):
                t[k] = outputs[k]
            if trains:
                row = data.order[first + n]
                dt = part(scratch, sizes.dT_start + n * sizes.row, n_outputs)
                s = factor * data.s[row]
                any_gradient |= loss_backward(t, data.Y[row], s, sizes.activation, dt)
        if not trains:
            continue
        is_first = overwrite and first == start
        if any_gradient:
            backward(network, data, first, n_images, is_first)
        elif is_first:
            part(gradient, sizes.n_zeroed, gradient.size - sizes.n_zeroed)[:] = 0


def _new_run(sources):
    """Return the function that Python calls, with the hash of the sources in its closure."""

    def run(network, data, T, batch_size, rule, overwrite, solver):
        """Visit images batch by batch: write their outputs, and the gradient of each, and step.

        Parameters
        ----------
        network : Network
        data : Data
        T : ndarray of shape (len(data.order), n_outputs)
            For the outputs, each image's before its step.
        batch_size : int
        rule : int
            OUTPUTS: nothing but the outputs. GRADIENT: the gradient of the loss. SGD, MOMENTUM,
            ADAM: a step on the gradient of the mean loss of a batch, with the penalty.
        overwrite : bool
            Whether the gradient is written, and not added.
        solver : tuple (alpha, eta, constants, memory, t)
            L2 penalty and learning rate; three constants and the memory of the solver,
            (2, gradient.size); and the number of steps that it took before.

        Returns
        -------
        t : int
        """
        sources  # noqa: B018
        number, one = T.dtype.type, T.dtype.type(1)
        alpha, eta, constants, memory, t = solver
        gradient, n_intercepts = network.gradient, network.sizes[0].n_intercepts
        theta = part(network.vector, 0, gradient.size)
        weights = part(theta, n_intercepts, theta.size - n_intercepts)
        weights_gradient = part(gradient, n_intercepts, theta.size - n_intercepts)
        for start in range(0, len(data.order), batch_size):
            stop = min(start + batch_size, len(data.order))
            factor = one / number(stop - start) if rule > GRADIENT else one
            visit(network, data, factor, T, start, stop, rule > OUTPUTS, overwrite)
            if rule > GRADIENT:
                if alpha > 0:
                    axpy(number(alpha), weights, weights_gradient)
                t += 1
                step(rule, theta, gradient, eta, constants, memory, t)
        return t

    return outer(run)


run = _new_run(source_hash())
