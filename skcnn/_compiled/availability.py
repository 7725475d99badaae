"""Whether the compiled loops can be used in this process; this file needs no numba.

The environment variable ``SKCNN_FAST=0`` goes without them.
"""

import os
import warnings
from functools import cache
from importlib import import_module

_reasons: list[Exception] = []  # why there are no loops in this process


def go_without(reason):
    """Use no loops from now on, and warn with the reason, once."""
    _reasons.append(reason)
    if len(_reasons) == 1:
        warnings.warn(
            f"numba is installed but cannot be used ({type(reason).__name__}: {reason}); skcnn "
            "falls back to NumPy, which is slower. Install another version of numba, or set the "
            "environment variable SKCNN_FAST=0 to use NumPy without this warning.",
            RuntimeWarning,
        )


@cache
def interpreter():
    """Return the module that runs a plan, or None where it cannot be imported.

    It is imported when the first network is computed, as that takes a third of a second.
    """
    try:
        # "from . import run" would raise another error while another thread fails to import it.
        return import_module(f"{__package__}.run")
    except ModuleNotFoundError:
        return None
    except Exception as error:  # numba refuses to work with some versions of NumPy, for example
        go_without(error)
        return None


def is_available():
    """Return whether compiled loops are available and not disabled."""
    wanted = os.environ.get("SKCNN_FAST", "1") != "0"
    return wanted and not _reasons and interpreter() is not None
