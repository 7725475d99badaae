"""A failed or interrupted call leaves an estimator as it was."""

import copy
from contextlib import contextmanager
from functools import partial
from operator import call


@contextmanager
def all_or_nothing(estimator):
    """Work on a copy of an estimator, which takes the place of the estimator at the end.

    Whatever fails or is interrupted within, the estimator is what it was before. The copy is
    shallow, so its attributes are to be replaced and not changed in place.

    Yields
    ------
    working : estimator
        The copy.
    effects : list of callables
        What else is to happen when the copy takes its place, to objects that others hold too.
    """
    working = copy.copy(estimator)
    effects = []
    yield working, effects
    effects.append(partial(setattr, estimator, "__dict__", vars(working)))
    # Python handles signals between bytecodes. This is one call of C code, so that an interrupt
    # comes before all effects or after all of them.
    tuple(map(call, effects))
