"""Checks of arguments, and how an error shows a value."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from ._images import is_whole_number

SEQUENCES = (tuple, list, range, np.ndarray)  # of sizes


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
            raise TypeError(f"{name}={shown(value)} must be True or False.")


def shown(value: object) -> str:
    """Return the repr of a value for an error: on one line, and not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # such as for integers of more than some thousand digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 100 else f"{text[:100]}..."


def as_sizes(name, value):
    """Return a parameter as a tuple with a size for each layer.

    Raises
    ------
    ValueError
        If an entry is not a size, or there is none, except for hidden layers.
    """
    is_sequence = isinstance(value, SEQUENCES) and getattr(value, "ndim", 1) > 0
    sizes = tuple(value) if is_sequence else (value,)
    for size in sizes:
        is_global = name == "pool_size" and isinstance(size, str) and size == "global"
        if not is_global and not (is_whole_number(size) and size >= 1):
            allowed = "a whole number of at least 1" + ' or "global"' * (name == "pool_size")
            raise ValueError(
                f"{name}={shown(value)} must have {allowed} for each layer, but got {shown(size)}."
            )
    if not sizes and name != "hidden_layer_sizes":
        raise ValueError(f"{name}={value!r} has no layer: give a number for each.")
    return tuple(str(size) if isinstance(size, str) else int(size) for size in sizes)
