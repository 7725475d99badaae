"""What happens after every epoch: measure, record, report, keep the best, stop."""

import numpy as np

from . import _layers

CURVES = (
    "loss_curve_",
    "accuracy_curve_",
    "validation_loss_curve_",
    "validation_accuracy_curve_",
)


class Monitor:
    """Follows a training epoch by epoch.

    Parameters
    ----------
    objective : Objective
        What is trained.
    y, s : ndarrays of shape (n,)
        Indices of the classes and weights of its samples.
    validation : tuple (X, y, s) or None
        Samples on which to measure after every epoch.
    curves : dict of lists
        Figures of earlier epochs by the names of `CURVES`; they are copied.
    plateau : Plateau
        Tells when to stop, from the loss.
    watch_validation : bool
        Whether the plateau is that of the validation loss, and the best weights by it are kept.
    eta : float
        For the error where training diverges.
    verbose : int or False
        The number of epochs there may be, to print a line for each.

    Attributes
    ----------
    curves : dict of lists
        With the figures of this training.
    n_epochs : int
        Epochs so far.
    """

    def __init__(
        self, objective, y, s, *, validation, curves, plateau, watch_validation, eta, verbose
    ):
        self.objective = objective
        self.y, self.s = y, s
        self.validation = validation
        self.curves = {name: [*curves.get(name, [])] for name in CURVES}
        self.plateau = plateau
        self.watch_validation = watch_validation
        self.eta = eta
        self.verbose = verbose
        self.n_epochs = 0
        self._best_loss = np.inf
        self._best_theta = None

    def after_epoch(self, rows, overflowed=False):
        """Note the epoch that visited some rows, and return whether the loss stands still.

        Raises
        ------
        ValueError
            If the loss or the parameters are no longer finite, or the solver overflowed.
        """
        self.n_epochs += 1
        figures = loss_and_accuracy(self.objective.visited_logits(), self.y[rows], self.s[rows])
        theta = self.objective.theta
        if overflowed or not (np.isfinite(figures[0]) and np.isfinite(theta).all()):
            self.diverged()
        if self.validation is not None:
            X, y, s = self.validation
            figures += loss_and_accuracy(self.objective.logits(X), y, s)
        for name, figure in zip(CURVES, figures):
            self.curves[name].append(figure)
        if self.verbose:
            report(self.n_epochs, self.verbose, figures)
        if not self.watch_validation:
            return self.plateau.reached(figures[0])
        if figures[2] < self._best_loss:
            self._best_loss = figures[2]
            self._best_theta = self.objective.theta.copy()
        return self.plateau.reached(figures[2])

    def diverged(self):
        """Raise the error of a training that cannot go on."""
        raise ValueError(
            f"Training diverged in epoch {self.n_epochs}: the loss, its gradient or the weights "
            "are infinite or NaN. Scale the images, with ImageScaler for example, or lower eta (it "
            f"is {self.eta})."
        )

    def recorded(self):
        """Return the curves that there are."""
        always = CURVES[:2]
        return {name: curve for name, curve in self.curves.items() if curve or name in always}

    def restore_best(self):
        """Go back to the weights of the epoch with the smallest validation loss, if watched."""
        if self._best_theta is not None:
            self.objective.theta[...] = self._best_theta


class Callbacks:
    """Tells scikit-learn's callbacks of a training and its epochs.

    Parameters
    ----------
    estimator : estimator
        With scikit-learn's ``CallbackSupportMixin``.
    X, y, sample_weight
        As they were given to it.
    n_epochs : int
        The greatest number of epochs.

    Attributes
    ----------
    fitted : callable
        Returns the attributes of the estimator as if training had stopped there, copied.
    """

    def __init__(self, estimator, X, y, sample_weight, n_epochs):
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._training = estimator._init_callback_context(max_subtasks=n_epochs)
        self._training.call_on_fit_task_begin(**self._told)
        self._epoch = None
        self.fitted = None

    def begin_epoch(self):
        """Tell that an epoch begins, unless one has begun."""
        if self._epoch is None:
            self._epoch = self._training.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._told)

    def end_epoch(self):
        """Tell that the epoch ended, and return whether a callback asks to stop."""
        epoch, self._epoch = self._epoch, None
        return epoch.call_on_fit_task_end(**self._told, reconstruction_attributes=self.fitted)

    def end(self):
        """Tell that the training ended."""
        self._training.call_on_fit_task_end(**self._told, reconstruction_attributes={})


def loss_and_accuracy(T, y, s):
    """Weighted means of log-loss, in nats, and accuracy, for logits and indices of classes."""
    loss = np.average(_layers.reported_log_loss(T, y), weights=s)
    accuracy = np.average(_layers.most_probable(T) == y, weights=s)
    return float(loss), float(accuracy)


def report(epoch, n_epochs, figures):
    """Print the line of an epoch."""
    line = "epoch {:{}d}/{}  loss {:.4f}  accuracy {:.4f}"
    if len(figures) == 4:
        line += "  validation loss {:.4f}  accuracy {:.4f}"
    print(line.format(epoch, len(str(n_epochs)), n_epochs, *figures))
