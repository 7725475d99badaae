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
