"""Which samples are held out."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from skcnn._training.holdout import hold_out


@pytest.fixture
def samples():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [600, 300, 100])
    return rng.rand(1000, 5).round(3), y


def held(X, y, s=None, fraction=0.2, seed=0):
    s = np.ones(len(y)) if s is None else s
    return hold_out(X, y, s, fraction, key=bytes([seed]))


def test_a_fraction_of_every_class_is_held_out(samples):
    X, y = samples
    rows = held(X, y)
    assert_array_equal(np.bincount(y[rows]), [120, 60, 20])
    assert_array_equal(rows, np.unique(rows))


def test_the_choice_is_random_but_reproducible(samples):
    first, again, other = held(*samples), held(*samples), held(*samples, seed=1)
    assert_array_equal(first, again)
    assert 10 < len(np.intersect1d(first, other)) < 80  # 40 by chance


def test_the_choice_does_not_depend_on_order_or_sparsity(samples):
    X, y = samples
    order = np.random.RandomState(1).permutation(len(y))
    assert_array_equal(np.sort(order[held(X[order], y[order])]), held(X, y))
    assert_array_equal(held(csr_array(X), y), held(X, y))


def test_the_choice_depends_on_values_and_not_on_how_they_are_kept(samples):
    _, y = samples
    X = np.random.RandomState(2).randint(-3, 4, size=(1000, 5)).astype(np.float64)
    rows = held(X, y)
    for dtype in ("int8", "int64", "float32", ">f4", ">f8", ">i2"):
        assert_array_equal(held(X.astype(dtype), y), rows)
    assert_array_equal(held(np.where(X == 0, -0.0, X), y), rows)


def test_weights_act_as_repetitions(samples):
    X, y = samples
    s = np.random.RandomState(1).randint(0, 4, size=len(y))
    rows = held(X, y, s.astype(float))
    assert (s[rows] > 0).all()
    origin = np.arange(len(y)).repeat(s)
    assert_array_equal(np.unique(origin[held(X[origin], y[origin])]), rows)


@pytest.mark.parametrize("factor", [1 / 3, 0.1, 0.7, 10 / 7])
def test_the_scale_of_weights_does_not_matter(factor):
    rng = np.random.RandomState(0)
    for _ in range(300):  # in many of which a fraction is reached exactly
        X, y, s = rng.rand(10, 3), np.zeros(10, int), rng.randint(1, 4, size=10)
        assert_array_equal(held(X, y, s * factor), held(X, y, s))


def test_copies_stay_together(samples):
    X, y = samples
    twice = np.r_[np.arange(1000), np.arange(1000)]
    chosen = np.isin(np.arange(2000), held(X[twice], y[twice]))
    assert_array_equal(chosen[:1000], chosen[1000:])


def test_something_is_left_of_every_class_and_something_held_out_where_it_can_be():
    X = np.array([[1.0], [2.0], [3.0], [3.0], [4.0]])
    y = np.array([0, 0, 1, 1, 2])
    for fraction in (0.01, 0.99):
        rows = held(X, y, fraction=fraction)
        assert_array_equal(y[rows], [0])
    assert len(held(np.ones((6, 2)), np.array([0, 1] * 3))) == 0
