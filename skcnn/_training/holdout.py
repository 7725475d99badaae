"""The samples that are held out for early stopping."""

from hashlib import blake2b

import numpy as np

MAX_VALUES = 2**18  # that are converted to float64 at a time


def hold_out(X, y, s, fraction, key):
    """Choose a fraction of every class.

    Samples are chosen by a keyed hash of their values. So of the copies of a sample in a class all
    are held out or none, and a sample of weight 2 is chosen exactly where two copies of it would
    be.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n, n_features)
    y : ndarray of shape (n,)
        Indices of the classes.
    s : ndarray of shape (n,)
        Weights; samples of weight 0 are never chosen.
    fraction : float
        Of the weight of each class. At least one sample is chosen, and one is left, wherever a
        class has two samples that differ.
    key : bytes
        Random; another key chooses other samples.

    Returns
    -------
    rows : ndarray of int
        In ascending order; empty where no class has two samples that differ.
    """
    row_hashes = hashes(X, key=key)
    chosen = np.zeros(len(y), dtype=bool)
    for label in np.unique(y[s > 0]):
        rows = np.flatnonzero((y == label) & (s > 0))
        distinct, which = np.unique(row_hashes[rows], return_inverse=True)
        weight = np.cumsum(np.bincount(which, weights=s[rows]))
        wanted = fraction * weight[-1] * (1 - 1e-9)  # as sums of weights are rounded
        enough = np.searchsorted(weight, wanted) + 1
        chosen[rows] = which < min(enough, len(distinct) - 1)
    return np.flatnonzero(chosen)


def hashes(X, key=b""):
    """Return 64 bits for each row of X, the same for the same values of any dtype."""
    digests, block_size = [], max(1, MAX_VALUES // X.shape[1])
    for start in range(0, X.shape[0], block_size):
        block = X[start : start + block_size]
        block = block.toarray() if hasattr(block, "toarray") else block
        block = block.astype(np.float64) + 0.0  # -0.0 is 0.0
        digests += [blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in block]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
