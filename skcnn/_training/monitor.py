"""What happens after each epoch: measure, record, report, keep the best weights, stop."""

from typing import NamedTuple

import numpy as np

CURVES = ("loss_curve_", "accuracy_curve_", "validation_loss_curve_", "validation_accuracy_curve_")


def new_curves(loss, validation):
    """Return empty curves of what a loss reports, and of the same on validation data."""
    prefixes = ("", "validation_") if validation else ("",)
    return {f"{prefix}{metric}_curve_": [] for prefix in prefixes for metric in loss.metrics}


class Report(NamedTuple):
    """What a monitor tells the user.

    Parameters
    ----------
    verbose : bool
        Whether to print a line for each epoch.
    max_epochs : int
        Greatest number of epochs.
    eta : float or None
        Learning rate, for the errors; None for a solver that has none.
    alpha, tol : float
    """

    verbose: bool
    max_epochs: int
    eta: float | None
    alpha: float
    tol: float | None


class Monitor:
    """Follows a training epoch by epoch.

    Parameters
    ----------
    objective : Objective
        What is trained.
    y, s : ndarrays of n rows
        Targets and weights of its samples.
    validation : tuple (X, y, s) or None
        Samples on which to measure after every epoch.
    plateau : Plateau
        Of the loss that is watched.
    early_stopping : bool
        Whether that is the validation loss, and the weights with the smallest one are kept.
    report : Report

    Attributes
    ----------
    curves : dict of lists
        The metrics of the epochs so far, by the names of `CURVES`.
    n_epochs : int
        Epochs so far.
    """

    def __init__(self, objective, y, s, validation, plateau, early_stopping, report):
        self.objective = objective
        self.y, self.s = y, s
        self.validation = validation
        self.plateau, self.early_stopping, self.report = plateau, early_stopping, report
        self.curves = new_curves(objective.loss, validation)
        self.n_epochs = 0
        self._best_loss, self._best_theta = np.inf, None

    def keep_initial_weights(self):
        """Let the weights before the first epoch be among those that early stopping keeps."""
        loss, *_ = self._validation_metrics()[1]
        if loss < self._best_loss:
            self._store_best(loss)
            self.plateau.best = loss

    def after_epoch(self, rows, solver_is_finite=True):
        """Record the epoch that visited the rows, and return whether the loss has plateaued.

        Raises
        ------
        ValueError
            If the outputs, the parameters or the state of the solver are no longer finite.
        """
        self.n_epochs += 1
        T = self.objective.visited_outputs()
        is_finite = np.isfinite(T).all() and np.isfinite(self.objective.theta).all()
        if not (is_finite and solver_is_finite):
            self.raise_divergence()
        loss, y, s = self.objective.loss, self.y[rows], self.s[rows]
        metrics = loss.report(T, y, s)
        if not np.isfinite(metrics).all():
            self.raise_divergence()
        watched = None if self.early_stopping else loss.watched(metrics[0], T, y, s)
        if self.validation is not None:
            T, validation_metrics = self._validation_metrics()
            metrics += validation_metrics
            for name, values in (("X", T), ("y", metrics)):
                if not np.isfinite(values).all():
                    raise ValueError(
                        "The network's outputs for the validation images, or their loss, overflow "
                        f"in epoch {self.n_epochs}. Scale {name}_val as {name} is scaled"
                        f"{self._or_lower_eta()}."
                    )
        for curve, metric in zip(self.curves.values(), metrics):
            curve.append(metric)
        if self.report.verbose:
            self._print(metrics)
        if self.early_stopping:
            watched = validation_metrics[0]
            if watched < self._best_loss:
                self._store_best(watched)
        return self.plateau.reached(watched)

    def _validation_metrics(self):
        """Return the outputs for the validation samples, and what is reported of them."""
        X, y, s = self.validation
        T = self.objective.outputs(X)
        return T, self.objective.loss.report(T, y, s)

    def _store_best(self, loss):
        """Store the weights, whose validation loss is the smallest so far."""
        self._best_loss, self._best_theta = loss, self.objective.theta.copy()

    def _print(self, metrics):
        """Print the line of an epoch."""
        n = self.report.max_epochs
        line = f"epoch {self.n_epochs:{len(str(n))}d}/{n}"
        for name, metric in zip(self.curves, metrics):
            name = name.removesuffix("_curve_").replace("validation_accuracy", "accuracy")
            line += f"  {name.replace('_', ' ')} {metric:.4f}"
        print(line)

    def raise_divergence(self):
        """Raise the error of a training that cannot go on."""
        raise ValueError(
            f"Training diverged in epoch {max(1, self.n_epochs)}: the outputs, the gradient or the "
            f"weights are infinite or NaN. Scale {self.objective.loss.divergence_hint}"
            f"{self._or_lower_eta()}, or lower alpha (it is {self.report.alpha})."
        )

    def reason_not_converged(self, outcome):
        """Return the warning of a training with the outcome "max_iter" or "stalled"."""
        n = self.report.max_epochs
        if outcome == "stalled":
            return (
                f"L-BFGS found no step that lowers the loss after {self.n_epochs} of max_iter={n} "
                f"iterations, before the gradient was as small as tol={self.report.tol}. Scale "
                f"{self.objective.loss.divergence_hint}, or pass X as float64, whose sums are more "
                "exact than those of float32."
            )
        return (
            f"The training reached max_iter={n} epochs before the loss settled. Raise max_iter or "
            "tol, or set tol=None to run for exactly max_iter epochs."
        )

    def _or_lower_eta(self):
        """Return this advice, for a solver that has a learning rate."""
        eta = self.report.eta
        return "" if eta is None else f", or lower eta (it is {eta})"

    def finish(self):
        """Restore the weights of the epoch with the smallest validation loss, if watched.

        Raises
        ------
        ValueError
            If the outputs for the training images overflow: the last update may have made the
            weights too large.
        """
        if self._best_theta is not None:
            self.objective.theta[...] = self._best_theta
        if not self.objective.has_finite_outputs():
            self.raise_divergence()
