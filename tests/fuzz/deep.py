"""Deep copies of values that can be compared, and the arrays of a network by name."""

import types
from collections import deque

import numpy as np
import pandas as pd
from scipy import sparse

ATOMS = (type(None), bool, int, str, bytes, range)
OPAQUE = (type, types.FunctionType, types.MethodType, types.ModuleType, types.GeneratorType)


def freeze(value, within=()):
    """Return a deep copy that equals that of another value only if they are the same to the bit.

    ``within`` are the ids of the objects that contain the value.
    """
    kind = type(value).__name__

    def part(value_of_part):
        return freeze(value_of_part, (*within, id(value)))

    if id(value) in within:
        return kind, "itself"
    if isinstance(value, ATOMS):
        return kind, value
    if isinstance(value, (float, complex, np.generic)):
        return kind, repr(value)  # distinguishes -0.0 from 0.0, and equates NaN
    if isinstance(value, np.ma.MaskedArray):
        return kind, part(np.asarray(value.data)), part(np.ma.getmaskarray(value))
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return kind, str(value.dtype), value.shape, part(value.ravel().tolist())
        return kind, str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, memoryview):
        return kind, value.format, value.shape, value.tobytes()
    if isinstance(value, np.random.RandomState):
        return kind, part(value.get_state(legacy=False))
    if sparse.issparse(value):
        entries = value.tocoo()
        return kind, value.shape, part(entries.coords), part(entries.data)
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return kind, part([[*axis] for axis in value.axes]), part(value.to_numpy(dtype=object))
    if isinstance(value, dict):
        return kind, {repr(key): part(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return kind, tuple(sorted(repr(item) for item in value))
    if isinstance(value, (list, tuple, deque)):
        return kind, tuple(part(item) for item in value)
    if isinstance(value, OPAQUE) or not hasattr(value, "__dict__"):
        return kind, id(value)
    return kind, part(vars(value))


def difference(one, other, path=""):
    """Return where two frozen values differ, or None where they are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in one or key not in other:
                return f"{path}[{key}] is {'gone' if key in one else 'new'}"
            found = difference(one[key], other[key], f"{path}[{key}]")
            if found:
                return found
        return None
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        found = (difference(*pair, path) for pair in zip(one, other))
        return next(filter(None, found), None)
    return None if one == other else f"{path}: {str(one)[:60]} -> {str(other)[:60]}"


def arrays(model, names=("filters_", "filter_intercept_", "coefs_", "intercepts_")):
    """Return the weights and intercepts of each layer, by name."""
    found = {}
    for name in names:
        value = getattr(model, name)
        of_layers = value if isinstance(value, list) else [value]
        found |= {f"{name}[{k}]": array for k, array in enumerate(of_layers)}
    return found
