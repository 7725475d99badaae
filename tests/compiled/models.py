"""Estimators that are fitted with the loops and with whole arrays."""

import hashlib

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skcnn import ConvNetClassifier
from skcnn._compiled.availability import is_available

needs_numba = pytest.mark.skipif(not is_available(), reason="needs numba")


def problem(n=70, shape=(9, 8), n_classes=3, dtype=np.float64):
    """Return images, labels and weights, of which some are 0."""
    rng = np.random.RandomState(0)
    X = rng.randn(n, *shape).astype(dtype)
    return X, rng.randint(n_classes, size=n), rng.randint(3, size=n)


def new_model(**params):
    """Return a classifier of a few epochs."""
    return ConvNetClassifier(**{"max_iter": 3, "tol": None, "random_state": 0, **params})


def fitted_on_both(monkeypatch, X, y, s, **params):
    """Return a model fitted with whole arrays, and one with the loops."""
    models = []
    for fast in "01":
        monkeypatch.setenv("SKCNN_FAST", fast)
        models.append(new_model(**params).fit(X, y, sample_weight=s))
    return models


def fitted_arrays(model):
    """Return all fitted parameters of a model, by name and index."""
    names = ("filters_", "filter_intercept_", "coefs_", "intercepts_")
    values = {name: getattr(model, name) for name in names}
    return {
        (name, k): array
        for name, value in values.items()
        for k, array in enumerate(value if isinstance(value, list) else [value])
    }


def assert_same(one, other, rtol=1e-9):
    """Check that two models have the same weights and curves."""
    arrays, others = fitted_arrays(one), fitted_arrays(other)
    assert arrays.keys() == others.keys()
    for name, a in arrays.items():
        b = others[name]
        assert a.dtype == b.dtype
        assert_allclose(a, b, rtol=0, atol=rtol * max(1, np.abs(b).max()), err_msg=str(name))
    for name in ("loss_curve_", "accuracy_curve_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol)


def hash_of_fits():
    """Return a hash of all bits of several models that the loops have fitted."""
    X, y, _ = problem(60, (8, 8), 2)
    bits = hashlib.sha256()
    for params in (
        {"batch_size": 3},
        {"batch_size": 3, "n_filters": 2, "pool_size": 2, "solver": "sgd", "momentum": 0.9},
        {"batch_size": 3, "K": 14, "n_filters": (2, 5), "dropout": 0.2},
        {"solver": "lbfgs", "fit_intercept": False},
    ):
        model = new_model(**params).fit(X, y)
        for array in (*fitted_arrays(model).values(), model.predict_proba(X), model.loss_curve_):
            bits.update(np.ascontiguousarray(array))
    return bits.hexdigest()
