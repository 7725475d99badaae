"""The epochs of a training. They need no estimator: what they go on with are arguments."""

from typing import NamedTuple

import numpy as np

from .schedules import draw_order
from .solvers import lbfgs


class Visits(NamedTuple):
    """How the epochs of a stochastic solver visit the samples.

    Parameters
    ----------
    samples : ndarray of int
        The samples of weight greater than 0.
    batch_size : int
    sampling : {"shuffle", "replacement", "sequential"}
    random_state : numpy.random.RandomState
        Draws the order of the samples, and those of an augmentation.
    dropout_seed : int or None
        Seed of the dropout masks; None without dropout.
    first_epoch : int
        Number of epochs since the initial weights, for the masks.
    """

    samples: np.ndarray
    batch_size: int
    sampling: str
    random_state: np.random.RandomState
    dropout_seed: int | None
    first_epoch: int


def run_epochs(monitor, callbacks, solver, rate, visits, numbers):
    """Run epochs of a stochastic solver.

    Parameters
    ----------
    monitor : Monitor
        Of the objective.
    callbacks : Callbacks
    solver : SGD or Adam
        For the theta of the objective. Its state at the end is that to go on with.
    rate : LearningRate
    visits : Visits
    numbers : range
        The numbers of the epochs for the learning rate.

    Returns
    -------
    outcome : {"converged", "max_iter"}
        "converged" also if a callback has stopped the training.
    """
    objective, samples, seed = monitor.objective, visits.samples, visits.dropout_seed
    for k, number in enumerate(numbers):
        callbacks.begin_epoch()
        order = samples[draw_order(len(samples), visits.sampling, visits.random_state)]
        objective.run_epoch(
            solver,
            order,
            visits.batch_size,
            rate.at(number),
            seed=None if seed is None else (seed, visits.first_epoch + k),
            random_state=visits.random_state,
        )
        # Where the moments of Adam overflow, its steps are 0, and theta does not show it.
        is_finite = np.isfinite(solver.memory).all()
        has_plateaued = monitor.after_epoch(order, is_finite)
        if callbacks.end_epoch() or (has_plateaued and not rate.lower()):
            return "converged"
    return "max_iter"


def run_lbfgs(monitor, callbacks, samples, n_epochs, tol):
    """Run L-BFGS on samples, and return its outcome; see `skcnn._training.solvers.lbfgs`."""
    objective = monitor.objective
    start = objective.theta.copy()

    def loss_and_gradient(theta):
        callbacks.begin_epoch()
        loss, gradient = objective.loss_and_gradient(theta)
        if (theta == start).all():  # elsewhere the search steps back
            square = np.square(gradient, dtype=np.float64).sum()  # the search computes it too
            if not np.isfinite([loss, square]).all():
                monitor.raise_divergence()
        return loss, gradient

    def after_iteration():
        has_plateaued = monitor.after_epoch(samples)
        return callbacks.end_epoch() or has_plateaued

    if n_epochs == 0:
        return "max_iter"
    return lbfgs(objective.theta, loss_and_gradient, n_epochs, tol, after_iteration)
