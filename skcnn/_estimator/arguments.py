"""Checks of arguments, and how an error shows a value."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

SEQUENCES = (tuple, list, range, np.ndarray)  # with a value for each layer


class RealInterval(Interval):
    """Interval of real numbers, which compares those of NumPy in double precision.

    NumPy would cast the bounds to the type of the number, such as float16, in which they overflow.
    """

    def __init__(self, left, right, *, closed):
        super().__init__(Real, left, right, closed=closed)

    def __contains__(self, value):
        return super().__contains__(value.item() if isinstance(value, np.generic) else value)


def check_switches(**switches: bool) -> None:
    """Raise a TypeError for a parameter that is neither True nor False."""
    for name, value in switches.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name}={short_repr(value)} must be True or False.")


def short_repr(value: object) -> str:
    """Return the repr of a value for an error: on one line, and not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # such as for integers of more than some thousand digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 100 else f"{text[:100]}..."


def as_one_callable(augment):
    """Return ``augment``, which may be a sequence of callables, as one, or None.

    Raises
    ------
    TypeError
        If something in it cannot be called.
    """
    steps = augment if isinstance(augment, (tuple, list)) else [augment]
    if augment is None or not len(steps):
        return None
    for step in steps:
        if isinstance(step, type) or not callable(step):
            raise TypeError(
                f"augment={augment!r} has {step!r}, which cannot be called with images "
                "(n, H, W, C) and a random state to return images: pass a function or an "
                "instance, such as shift() and not shift."
            )

    def augment_in_turn(images, random_state):
        for step in steps:
            images = step(images, random_state)
        return images

    return augment_in_turn


def as_list(value):
    """Return a list with an entry for each layer; a bare value is that of a single layer."""
    return value if isinstance(value, list) else [value]
