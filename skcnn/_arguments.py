"""Checks of the arguments of functions, and how an error shows a value."""

import numpy as np


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
