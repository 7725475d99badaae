"""What fitted estimators keep ready for predictions, outside of their attributes.

It is no part of an estimator: it is neither saved nor copied, and is gone with it, or before where
too much would be kept.
"""

import operator
import weakref
from contextlib import suppress

import numpy as np

from .._engine.predictor import Predictor

MAX_KEPT = 64  # estimators
MAX_BYTES = 2**27  # of the weights of all of them, of which there are three copies

ROW = 2048  # words of eight bytes, of which a checksum has sums
N_ROWS = 16  # that are summed up both ways while they are in a cache

_kept: dict[int, "_Prepared"] = {}  # by the id of the estimator, the oldest first


def predictor_of(estimator):
    """Return the `Predictor` of a fitted estimator, made anew if its weights are other ones.

    A weight may be set in place, so there is a checksum of all. It is the same for several threads,
    and after a fork: each operation on the dict is one that cannot be interrupted.
    """
    prepared = _kept.get(id(estimator))
    if prepared is None or not prepared.is_valid(estimator):
        prepared = _Prepared(estimator)
        _keep(id(estimator), prepared)
    return prepared.predictor


def _keep(key, prepared):
    with suppress(KeyError, RuntimeError, StopIteration):  # another thread did the same
        _kept.pop(key, None)
        while _kept and (
            len(_kept) >= MAX_KEPT
            or sum(each.n_bytes for each in [*_kept.values()]) + prepared.n_bytes > MAX_BYTES
        ):
            del _kept[next(iter(_kept))]
        if prepared.n_bytes <= MAX_BYTES:
            _kept[key] = prepared


class _Prepared:
    """A predictor, and what it was made of."""

    def __init__(self, estimator):
        network = estimator._network
        self._arrays = estimator._parameter_arrays
        self._checksums = [checksum(array) for array in self._arrays]
        self._rest = self._rest_of(estimator)
        self.n_bytes = sum(array.nbytes for array in self._arrays)
        self.predictor = Predictor(network, estimator._values(network), estimator._loss)
        key = id(estimator)
        self._estimator = weakref.ref(estimator, lambda _: _kept.pop(key, None))

    def is_valid(self, estimator):
        """Return whether the estimator is the one it was made of, with the same weights."""
        arrays = estimator._parameter_arrays
        return (
            self._estimator() is estimator
            and len(arrays) == len(self._arrays)
            and all(map(operator.is_, arrays, self._arrays))
            and [checksum(array) for array in arrays] == self._checksums
            and self._rest == self._rest_of(estimator)
            and self.predictor.is_current
        )

    @staticmethod
    def _rest_of(estimator):
        """Return what else the predictor depends on, to be compared."""
        loss = estimator._loss
        return estimator._sizes, estimator.image_shape_, type(loss), loss.n_outputs


def checksum(array):
    """Return bytes that change with any element of an array, and with its shape and dtype.

    They are sums of the elements' bits, taken for whole numbers, of all rows and all columns of a
    matrix: a change of one element changes one of each, and an exchange of elements changes those
    of rows or of columns. This takes half the time of a comparison with a copy.
    """
    bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    n_words = bits.size // (8 * ROW) * ROW
    words = bits[: 8 * n_words].view(np.uint64).reshape(-1, ROW)
    columns, rows = np.zeros(ROW, np.uint64), []
    for start in range(0, len(words), N_ROWS):
        part = words[start : start + N_ROWS]
        columns += np.add.reduce(part, axis=0)
        rows.append(np.add.reduce(part, axis=1).tobytes())
    rest = bits[8 * n_words :].tobytes()
    return array.shape, array.dtype.str, columns.tobytes(), b"".join(rows), rest
