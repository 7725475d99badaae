"""What fitted estimators keep ready for predictions, outside of their attributes.

It is no part of an estimator: it is neither saved nor copied, and is gone with it, or before where
too much would be kept.
"""

import operator
import weakref
from contextlib import suppress

import numpy as np

from .._engine.predictor import Predictor
from .arguments import as_list

MAX_KEPT = 64  # estimators
MAX_BYTES = 2**27  # of the weights of all of them, of which there are three copies

_kept: dict[int, "_Prepared"] = {}  # by the id of the estimator, the oldest first


def predictor_of(estimator):
    """Return the `Predictor` of a fitted estimator, made anew if its weights are other ones.

    A weight may be set in place, so all are compared. It is the same for several threads, and after
    a fork: each operation on the dict is one that cannot be interrupted.
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
        parameters = [parameter for layer in network.layers for parameter in layer.parameters]
        self._attributes = {parameter.attribute: None for parameter in parameters}
        self._arrays = self._arrays_of(estimator)
        self._copies = [array.copy(order="K") for array in self._arrays]
        self._rest = self._rest_of(estimator)
        self.n_bytes = sum(array.nbytes for array in self._arrays)
        self.predictor = Predictor(network, estimator._values(network), estimator._loss)
        key = id(estimator)
        self._estimator = weakref.ref(estimator, lambda _: _kept.pop(key, None))

    def is_valid(self, estimator):
        """Return whether the estimator is the one it was made of, with the same weights."""
        arrays = self._arrays_of(estimator)
        return (
            self._estimator() is estimator
            and len(arrays) == len(self._arrays)
            and all(map(operator.is_, arrays, self._arrays))
            and all(map(have_same_bits, arrays, self._copies))
            and self._rest == self._rest_of(estimator)
            and self.predictor.is_current
        )

    def _arrays_of(self, estimator):
        """Return the fitted arrays of parameters, in one list."""
        return [array for name in self._attributes for array in as_list(getattr(estimator, name))]

    @staticmethod
    def _rest_of(estimator):
        """Return what else the predictor depends on, to be compared."""
        loss = estimator._loss
        return estimator._sizes, estimator.image_shape_, type(loss), loss.n_outputs


def have_same_bits(array, other):
    """Return whether arrays have the same shape, dtype and bits, of NaN and signs of 0 too."""
    unsigned = f"u{array.itemsize}"
    same = array.dtype == other.dtype
    return same and np.array_equal(array.view(unsigned), other.view(unsigned))
