"""A failed or interrupted call leaves an estimator as it was."""

from contextlib import contextmanager
from functools import partial
from operator import call


def shallow_copy(estimator):
    """Return a copy of an estimator that shares its attributes, whatever pickling does to them."""
    copied = type(estimator).__new__(type(estimator))
    vars(copied).update(vars(estimator))
    return copied


@contextmanager
def all_or_nothing(estimator):
    """Work on a copy of an estimator, whose new attributes the estimator takes over at the end.

    Whatever fails or is interrupted within, the estimator is what it was before. The copy is
    shallow, so its attributes are to be replaced and not changed in place.

    Yields
    ------
    working : estimator
        The copy.
    effects : list of callables
        What else is to happen at the end, to objects that are shared.
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
