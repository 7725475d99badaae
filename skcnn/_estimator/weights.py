"""Validation of sample weights."""

from numbers import Number

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from . import shapes


def scaled_to_mean_1(weights):
    """Return weights whose mean is 1 over the samples that have one; if all are 0, as they are."""
    return weights / weights[weights > 0].mean() if weights.any() else weights


def check_sample_weight(sample_weight, X, *, all_may_be_0=False):
    """Return the weights of the samples of X as a new array of float64.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), number or None
        None: all are 1.
    X : array-like of n_samples rows
    all_may_be_0 : bool, default=False

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        Finite and non-negative, at least one positive unless all may be 0.

    Raises
    ------
    ValueError
        If they are not.
    """
    if isinstance(sample_weight, Number):  # scikit-learn does not check the value of a number
        try:
            value = float(sample_weight)
        except (OverflowError, TypeError):
            value = np.nan
        if not (0 < value < np.inf or (value == 0 and all_may_be_0)):
            raise ValueError(
                f"sample_weight={sample_weight!r} must be finite and greater than 0: give a weight "
                "for each sample, or leave it None."
            )
        sample_weight = value
    shapes.check_kind(sample_weight, "sample_weight")
    with shapes.named_errors("sample_weight"):
        checked = _check_sample_weight(
            sample_weight,
            X,
            dtype=np.float64,
            ensure_non_negative=True,
            allow_all_zero_weights=all_may_be_0,
        )
        return np.array(checked)  # pandas hands out read-only memory, even of a copy
