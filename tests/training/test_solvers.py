"""Solvers on functions whose minimum is known, and against their formulas."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skcnn._training.schedules import LearningRate, Plateau, draw_order
from skcnn._training.solvers import SGD, Adam, lbfgs


def test_sgd_steps_against_the_gradient():
    theta = np.array([1.0, -2.0])
    SGD(theta).step(theta, np.array([10.0, 20.0]), eta=0.1)
    assert_allclose(theta, [0.0, -4.0], atol=1e-15)


def test_adam_is_its_formula():
    rng = np.random.RandomState(0)
    theta = rng.randn(4)
    expected, m, v = theta.copy(), np.zeros(4), np.zeros(4)
    solver = Adam(theta)
    for t in range(1, 6):
        g = rng.randn(4)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        expected -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        solver.step(theta, g.copy(), eta=0.01)
        assert_allclose(theta, expected, rtol=1e-12)


def test_momentum_takes_a_part_of_the_last_step_again():
    theta = np.zeros(1)
    solver = SGD(theta, momentum=0.5)
    positions = []
    for _ in range(3):
        solver.step(theta, np.ones(1), eta=1.0)
        positions.append(theta[0])
    assert_allclose(positions, [-1, -1 - 1.5, -2.5 - 1.75])


@pytest.mark.parametrize("make", [SGD, lambda theta: SGD(theta, momentum=0.5), Adam])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solvers_find_the_minimum_of_a_quadratic(make, dtype):
    target = np.array([3.0, -1.0, 0.5], dtype)
    theta = np.zeros(3, dtype)
    solver = make(theta)
    for _ in range(2000):
        solver.step(theta, theta - target, 0.05)
    assert solver.t == 2000 and theta.dtype == dtype
    assert_allclose(theta, target, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_view_is_changed_in_place(dtype):
    theta = np.array([0.0, 8.0, 0.0], dtype)
    piece = theta[1:2]
    solver = SGD(piece)
    for _ in range(3):
        solver.step(piece, piece.copy(), 0.5)
    assert_array_equal(theta, [0, 1, 0])


def test_orders_of_an_epoch():
    rng = np.random.RandomState(0)
    assert_array_equal(draw_order(5, "sequential", rng), range(5))
    first, second = draw_order(50, "shuffle", rng), draw_order(50, "shuffle", rng)
    assert sorted(first) == sorted(second) == list(range(50))
    assert list(first) != list(second)
    drawn = draw_order(50, "replacement", np.random.RandomState(7))
    assert_array_equal(drawn, np.random.RandomState(7).randint(50, size=50))


def test_plateau_counts_epochs_without_improvement():
    plateau = Plateau(tol=0.1, patience=2)
    losses = [1.0, 0.8, 0.75, 0.5, 0.45, 0.41]
    #               (better) (no)  (yes) (no)  (no: 0.09 in all)
    assert [plateau.reached(loss) for loss in losses] == [False] * 5 + [True]


def test_plateau_remembers_the_best_loss_and_starts_again():
    plateau = Plateau(tol=0.1, patience=2)
    assert [plateau.reached(loss) for loss in [1.0, 3.0, 0.95]] == [False, False, True]
    assert [plateau.reached(loss) for loss in [0.95, 0.95]] == [False, True]


def test_plateau_goes_on_with_the_count_of_another():
    plateau = Plateau(tol=0.1, patience=3)
    assert [plateau.reached(loss) for loss in [1.0, 0.95, 0.95]] == [False] * 3
    other = Plateau(0.1, 3, *plateau.state)
    assert [other.reached(loss) for loss in [0.95, 0.85]] == [True, False]


def test_memory_shows_when_the_moments_of_adam_overflow():
    theta = np.zeros(2, np.float32)
    solver = Adam(theta)
    solver.step(theta, np.float32([1, 1]), eta=0.1)
    assert np.isfinite(solver.memory).all()
    with np.errstate(over="ignore"):
        solver.step(theta, np.float32([1, 1e30]), eta=0.1)
    assert np.isfinite(theta).all()
    assert not np.isfinite(solver.memory).all()


def test_plateau_without_tolerance_is_never_reached():
    plateau = Plateau(tol=None, patience=1)
    assert not any(plateau.reached(1.0) for _ in range(10))


def quadratic(theta):
    difference = theta.astype(np.float32) - np.float32([3.0, -1.0, 0.5])
    return float(difference @ (difference * [1, 10, 100])) / 2, difference * np.float32(
        [1, 10, 100]
    )


@pytest.mark.parametrize("tol", [1e-3, None])
def test_lbfgs_finds_the_minimum_of_a_quadratic(tol):
    theta = np.zeros(3, np.float32)
    iterations = []
    assert lbfgs(theta, quadratic, 100, tol, lambda: iterations.append(1)) == "converged"
    assert_allclose(theta, [3.0, -1.0, 0.5], atol=1e-3)
    assert 2 < len(iterations) < 100


def test_lbfgs_stops_after_its_iterations_or_when_told():
    theta, iterations = np.zeros(3), []
    assert lbfgs(theta, quadratic, 2, None, lambda: iterations.append(1)) == "max_iter"
    assert len(iterations) == 2
    assert lbfgs(np.zeros(3), quadratic, 100, None, lambda: True) == "converged"


def test_lbfgs_says_that_no_step_lowers_the_loss():
    def uphill(theta):
        return theta.sum(), -np.ones(3)

    assert lbfgs(np.zeros(3), uphill, 100, 1e-4, lambda: None) == "stalled"


def test_schedules_of_the_learning_rate():
    assert [LearningRate("constant", 0.1, 4).at(epoch) for epoch in (0, 3, 9)] == [0.1] * 3
    cosine = LearningRate("cosine", 0.1, 4)
    assert_allclose([cosine.at(epoch) for epoch in (0, 2)], [0.1, 0.05])
    assert 0 < cosine.at(3) < cosine.at(2)
    assert cosine.at(4) == 0.1  # a warm restart
    assert not cosine.lower()
    adaptive = LearningRate("adaptive", 1e-5, 4)
    assert [adaptive.lower() for _ in range(4)] == [True, True, False, False]
    assert_allclose(adaptive.at(0), 1e-5 / 25)
