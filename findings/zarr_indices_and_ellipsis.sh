#!/usr/bin/env bash
# What one would expect: for an array of three axes, `z[indices]`, `z[indices, :, :]` and
#   `z[indices, ...]` are one thing in NumPy, h5py and Dask, and zarr accepts the first two. A
#   mask of the first axis, too, is one thing in all these ways.
# What happens: zarr refuses `z[indices, ...]` for an array of indices, with "The truth value of an
#   array with more than one element is ambiguous". It looks for the Ellipsis by list.index, which
#   compares each index with it. `z.oindex[indices, ...]`, made for such indices, fails likewise. One
#   index in an array gets another error. A mask of the first axis fails even alone, `z[mask]`.
# Versions: zarr 3.1.6, scikit-learn 1.9.1, NumPy 2.4.6.
# Why it matters: `array[indices, ...]` is how scikit-learn takes the samples of a fold, so that
#   cross_val_score, GridSearchCV and train_test_split fail on images in zarr, with a message in which
#   one looks for the fault in one's own labels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q numpy==2.4.6 zarr==3.1.6 scikit-learn==1.9.1
"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
import zarr
from sklearn.model_selection import train_test_split

images = np.arange(4 * 3 * 2).reshape(4, 3, 2)
z = zarr.array(images)
indices, mask = np.array([0, 2]), np.array([True, False, True, False])
ways = {
    "z[indices]": lambda a: a[indices],
    "z[indices, :, :]": lambda a: a[indices, :, :],
    "z[indices, ...]": lambda a: a[indices, ...],
    "z[indices[:1], ...]": lambda a: a[indices[:1], ...],
    "z.oindex[indices, ...]": lambda a: getattr(a, "oindex", a)[indices, ...],
    "z[mask]": lambda a: a[mask],
    "z[mask, ...]": lambda a: a[mask, ...],
    "train_test_split(z)": lambda a: train_test_split(a, random_state=0)[0],
}
failed = []
for name, way in ways.items():
    expected = way(images)
    try:
        assert (way(z) == expected).all()
        print(f"{name}: as NumPy")
    except (IndexError, TypeError, ValueError) as error:
        failed.append(name)
        print(f"{name}: {type(error).__name__}: {str(error)[:76]}")
assert "z[indices, ...]" in failed, "zarr takes an Ellipsis after an array of indices"
PYTHON

# The output that was seen:
#
# z[indices]: as NumPy
# z[indices, :, :]: as NumPy
# z[indices, ...]: ValueError: The truth value of an array with more than one element is ambiguous. Use a.a
# z[indices[:1], ...]: IndexError: unsupported selection item for basic indexing; expected integer or slice, go
# z.oindex[indices, ...]: ValueError: The truth value of an array with more than one element is ambiguous. Use a.a
# z[mask]: VindexInvalidSelectionError: unsupported selection type for vectorized indexing; only coordinate selectio
# z[mask, ...]: ValueError: The truth value of an array with more than one element is ambiguous. Use a.a
# train_test_split(z): ValueError: The truth value of an array with more than one element is ambiguous. Use a.a
