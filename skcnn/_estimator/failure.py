"""How calls fail: with the estimator as it was, and with a message instead of NumPy's warnings."""

from contextlib import contextmanager
from functools import partial
from operator import call

import numpy as np
from sklearn.base import _fit_context

from .._typing import Method

# For methods whose results are checked: values that overflow are found by the checks, which say
# what to do about them, and values that vanish are 0, whatever np.seterr the caller has set.
ignore_fp_errors = np.errstate(all="ignore")


def validated_call(method: Method) -> Method:
    """Validate the parameters of an estimator, then run its method that trains."""
    return _fit_context(prefer_skip_nested_validation=True)(ignore_fp_errors(method))


def shallow_copy(estimator):
    """Return a copy that shares all attributes, unlike copy.copy, which goes by __getstate__."""
    copied = type(estimator).__new__(type(estimator))
    vars(copied).update(vars(estimator))
    return copied


@contextmanager
def all_or_nothing(estimator):
    """Work on a copy of an estimator, whose new attributes the estimator takes over at the end.

    If anything fails or is interrupted before the end, the estimator is unchanged. The copy is
    shallow, so its attributes are to be replaced and not changed in place.

    Yields
    ------
    working : estimator
        The copy.
    effects : list of callables
        To be called at the end; they may change shared objects.
    """
    before = {**vars(estimator)}
    working = shallow_copy(estimator)
    effects = []
    yield working, effects
    after = vars(working)
    removed = before.keys() - after.keys()
    changed = {k: v for k, v in after.items() if k not in before or before[k] is not v}
    # A callback may have set attributes of the estimator itself: they stay.
    kept = {k: v for k, v in vars(estimator).items() if k not in removed}
    effects.append(partial(setattr, estimator, "__dict__", {**kept, **changed}))
    # Python handles signals between bytecodes. This is one call of C code, so that an interrupt
    # comes before all effects or after all of them.
    tuple(map(call, effects))
