"""The records of a plan: what the interpreter knows of a network, as tables of whole numbers.

One compilation serves networks of all depths and sizes, since they differ in these tables only.
Arrays are given by where they begin in the scratch, the one array that has all activations;
parameters by where they begin in their vector, and taps by where they begin in the offsets. No
field has the name of an attribute of numpy.record, like T, which would hide it from Python.
"""

from typing import NamedTuple

import numpy as np

# The kinds of records. IMAGES and TO_ROWS are in `images`, ONE_IMAGE and PREFETCH in `one_image`.
IMAGES, CONVOLUTION, TO_ROWS, DROPOUT, DENSE, ONE_IMAGE, PREFETCH = range(7)

# What a convolution layer does with a response; in place, A is laid out as Z, see `one_image`.
NO_POOLING, MAX_POOLING, AVERAGE_POOLING, IN_PLACE = range(4)

OUTPUTS, GRADIENT, SGD, MOMENTUM, ADAM = range(5)  # what to do with a batch
SIGMOID, SOFTMAX, IDENTITY = range(3)  # from T to P


def record(names):
    """Return the type of a record of whole numbers."""
    return np.dtype([(name, np.intp) for name in names.split()])


NETWORK = record(
    "capacity first_learnt "  # number of images in memory; index of the first record that learns
    "T_start dT_start row "  # outputs and their gradients, an image a row; length of a row
    "n_zeroed n_intercepts "  # gradients that are summed up from 0; intercepts among them
    "activation reversed"
)

# Records from the first one on, before the last, whose layers a group of images goes through
# together before the next group does.
STAGE = record("first last group_size")

LAYER = record(
    # Arrays of the group that begins with image i are at i // group_size * stride.
    "kind group_size stride "
    "X dX A dA "  # inputs, outputs and their gradients
    # Images: height, width, channels; the same for convolutions, with filters and windows
    "H W C F p q pooling "
    "row channel origin dZ_origin "  # of padded arrays; where the first pixel is in X and in dZ
    "n_rows n_runs length "  # rows of the response at a time; runs over them, and their length
    "dZ_runs dZ_length "  # runs over all rows of dZ
    "n_prefetches "
    "W_start filters_row n_taps taps b_start learns_W learns_b "
    "reversed n_reversed reversed_taps "  # filters reversed, for the gradient of the input
    "X_size Z Z_channel keeps_Z pool_buffer has_argmax argmax_start dZ dZ_channel "
    "A_row A_channel dA_row dA_channel has_dX dX_row dX_channel "
    # Dense layers and dropout
    "n_in n_out V_start c_start learns_V learns_c relu mask_column "
    "images units"  # offsets from one to the next, among those of taps
)


class Network(NamedTuple):
    """A network with its parameters and memory."""

    sizes: np.ndarray  # (1,) of `NETWORK`
    stages: np.ndarray  # of `STAGE`
    layers: np.ndarray  # of `LAYER`
    offsets: np.ndarray  # from a pixel to the input of each tap
    reversal: np.ndarray  # for each weight of the filters reversed where it is
    vector: np.ndarray  # parameters
    gradient: np.ndarray  # of those that are learnt, which come first
    scratch: np.ndarray


class Data(NamedTuple):
    """Images, targets and weights, which are visited in an order."""

    X: np.ndarray  # (n, H * W * C)
    Y: np.ndarray  # (n, n_outputs)
    s: np.ndarray  # (n,)
    order: np.ndarray
    dropout_mask: np.ndarray  # (len(order), n_dropout_inputs), or (0, 0)


class Group(NamedTuple):
    """Images that go through layers together."""

    first: int  # their index in the order
    start: int  # their index among those in memory
    n: int
    overwrite: bool  # whether gradients of dense layers are written, and not added


def table(dtype, rows):
    """Return a table of records, for rows that are dicts; what they lack is 0."""
    records = np.array([tuple(row.get(name, 0) for name in dtype.names) for row in rows], dtype)
    return records.view(np.recarray)
