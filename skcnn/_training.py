"""What happens after every epoch: measure, record, report, keep the best, stop."""

import numpy as np

CURVES = ("loss_curve_", "accuracy_curve_", "validation_loss_curve_", "validation_accuracy_curve_")


def curves_of(loss, validation):
    """Return empty curves of what a loss reports, and of the same on validation data."""
    parts = ("", "validation_") if validation else ("",)
    return {f"{part}{figure}_curve_": [] for part in parts for figure in loss.figures}


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
        Detects from the loss when to stop.
    estimator : estimator
        Its parameters ``early_stopping``, ``eta``, ``alpha`` and ``verbose`` are read. With
        ``early_stopping`` the plateau is that of the validation loss, and the weights with the
        smallest validation loss are kept.
    max_epochs : int
        Greatest number of epochs, for the lines of ``verbose``.

    Attributes
    ----------
    curves : dict of lists
        The figures of the epochs so far, by the names of `CURVES`.
    n_epochs : int
        Epochs so far.
    """

    def __init__(self, objective, y, s, validation, plateau, estimator, max_epochs):
        self.objective = objective
        self.y, self.s = y, s
        self.validation = validation
        self.curves = curves_of(objective.loss, validation)
        self.plateau = plateau
        self.estimator = estimator
        self.max_epochs = max_epochs
        self.n_epochs = 0
        self._best_loss, self._best_theta = np.inf, None

    def after_epoch(self, rows, solver_is_finite=True):
        """Record the epoch that visited some rows, and return whether the loss has plateaued.

        Raises
        ------
        ValueError
            If the outputs, the parameters or the state of the solver are no longer finite.
        """
        self.n_epochs += 1
        T = self.objective.visited_outputs()
        is_finite = np.isfinite(T).all() and np.isfinite(self.objective.theta).all()
        if not (is_finite and solver_is_finite):
            self.diverged()
        figures = of_training = self.objective.loss.report(T, self.y[rows], self.s[rows])
        if not np.isfinite(figures).all():
            self.diverged()
        if self.validation is not None:
            X, y, s = self.validation
            T = self.objective.outputs(X)
            if not np.isfinite(T).all():
                raise ValueError(
                    "The network's outputs for the validation images overflow in epoch "
                    f"{self.n_epochs}. Scale X_val as X is scaled{self._or_lower_eta()}."
                )
            figures += self.objective.loss.report(T, y, s)
        for curve, figure in zip(self.curves.values(), figures):
            curve.append(figure)
        if self.estimator.verbose:
            self._print(figures)
        watches_validation = self.estimator.early_stopping
        loss = figures[len(of_training) if watches_validation else 0]
        if watches_validation and loss < self._best_loss:
            self._best_loss, self._best_theta = loss, self.objective.theta.copy()
        return self.plateau.reached(loss)

    def _print(self, figures):
        """Print the line of an epoch."""
        line = f"epoch {self.n_epochs:{len(str(self.max_epochs))}d}/{self.max_epochs}"
        for name, figure in zip(self.curves, figures):
            name = name.removesuffix("_curve_").replace("validation_accuracy", "accuracy")
            line += f"  {name.replace('_', ' ')} {figure:.4f}"
        print(line)

    def diverged(self):
        """Raise the error of a training that cannot go on."""
        epoch, what = max(1, self.n_epochs), self.objective.loss.what_to_scale
        raise ValueError(
            f"Training diverged in epoch {epoch}: the outputs, the gradient or the weights are "
            f"infinite or NaN. Scale {what}{self._or_lower_eta()}, or lower alpha (it is "
            f"{self.estimator.alpha})."
        )

    def _or_lower_eta(self):
        """Return this advice, for a solver that has a learning rate."""
        is_used = self.estimator.solver != "lbfgs"
        return f", or lower eta (it is {self.estimator.eta})" if is_used else ""

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
            self.diverged()


class Callbacks:
    """Calls scikit-learn's callbacks at the beginning and end of a training and of its epochs.

    Parameters
    ----------
    context : CallbackContext
        The training's, from the ``_init_callback_context`` of scikit-learn's
        ``CallbackSupportMixin``.
    estimator : estimator
        The estimator whose ``fit`` was called.
    model : estimator
        The copy of the estimator that is trained.
    X, y, sample_weight
        The arguments of ``fit``.

    Attributes
    ----------
    fitted : callable
        Returns the attributes to add or replace in a snapshot of the model.
    """

    def __init__(self, context, estimator, model, X, y, sample_weight):
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._training = context
        self._model = model
        self._training.call_on_fit_task_begin(**self._arguments)
        self._epoch = None
        self.fitted = dict

    def begin_epoch(self):
        """Call the callbacks at the beginning of an epoch, unless one has begun."""
        if self._epoch is None:
            self._epoch = self._training.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._arguments)

    def end_epoch(self):
        """Call the callbacks at the end of an epoch; return whether one of them asks to stop."""
        epoch, self._epoch = self._epoch, None
        return self._end(epoch)

    def end(self):
        """Call the callbacks at the end of the training."""
        if self._epoch is not None:  # one that L-BFGS began and gave up
            self.end_epoch()
        self._end(self._training)

    def _end(self, task):
        return task.call_on_fit_task_end(
            **self._arguments, reconstruction_attributes=self._attributes
        )

    def _attributes(self):
        """Return the attributes that scikit-learn sets on a copy of the estimator: all of them."""
        return {"__dict__": {**vars(self._model), **self.fitted()}}
