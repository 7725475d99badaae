"""The epochs of a training, and what happens after each: measure, record, report, keep, stop."""

import numpy as np

from . import _solvers

CURVES = ("loss_curve_", "accuracy_curve_", "validation_loss_curve_", "validation_accuracy_curve_")


def curves_of(loss, validation):
    """Return empty curves of what a loss reports, and of the same on validation data."""
    parts = ("", "validation_") if validation else ("",)
    return {f"{part}{figure}_curve_": [] for part in parts for figure in loss.figures}


def run_lbfgs(monitor, callbacks, samples, n_epochs, tol):
    """Run L-BFGS on some samples, and return its outcome; see `skcnn._solvers.lbfgs`."""
    objective = monitor.objective
    start = objective.theta.copy()

    def loss_and_gradient(theta):
        callbacks.begin_epoch()
        loss, gradient = objective.loss_and_gradient(theta)
        if (theta == start).all():  # elsewhere the search steps back
            square = np.square(gradient, dtype=np.float64).sum()  # the search computes it too
            if not np.isfinite([loss, square]).all():
                monitor.diverged()
        return loss, gradient

    def after_iteration():
        has_plateaued = monitor.after_epoch(samples)
        return callbacks.end_epoch() or has_plateaued

    if n_epochs == 0:
        return "max_iter"
    return _solvers.lbfgs(objective.theta, loss_and_gradient, n_epochs, tol, after_iteration)


def run_epochs(monitor, callbacks, samples, epochs, batch_size):
    """Run epochs of a stochastic solver, and return its outcome, "converged" or "max_iter".

    The model keeps the random draws and the state of the solver, with which the next call of
    ``partial_fit`` goes on.
    """
    model, objective = monitor.model, monitor.objective
    random_state = model._random_state
    settings, solver = stochastic_solver(model, objective.theta)
    if model.dropout and not hasattr(model, "_seed"):
        model._seed = random_state.randint(2**31)
    period = max(1, int(model.max_iter))
    rate = _solvers.LearningRate(model.learning_rate, float(model.eta), period)
    stop = False
    for epoch in epochs:
        callbacks.begin_epoch()
        order = samples[_solvers.draw_order(len(samples), model.sampling, random_state)]
        seed = (model._seed, model.n_iter_ + epoch - epochs.start) if model.dropout else None
        objective.run_epoch(solver, order, batch_size, rate.at(epoch), seed, random_state)
        # Where the moments of Adam overflow, its steps are 0, and theta does not show it.
        is_finite = np.isfinite(solver.memory).all()
        has_plateaued = monitor.after_epoch(order, is_finite)
        stop = callbacks.end_epoch() or (has_plateaued and not rate.lower())
        if stop:
            break
    model._solver = settings, solver.t, solver.memory
    return "converged" if stop else "max_iter"


def stochastic_solver(model, theta):
    """Return the settings of a solver, and the solver.

    It resumes the state of the last call if the settings are the same.
    """
    sgd = model.solver == "sgd"
    solver = _solvers.SGD(theta, float(model.momentum)) if sgd else _solvers.Adam(theta)
    settings = model.solver, sgd and model.momentum, model.freeze, model.fit_intercept
    last_settings, *state = getattr(model, "_solver", (None,))
    if settings == last_settings:
        solver.t, solver.memory[...] = state
    return settings, solver


def batch_size_for(model, n_samples):
    """Return the number of samples in a step; "auto": a sixteenth of all, from 32 to 200.

    With 200 samples in a step, 200 epochs of a few hundred samples are too few steps; see
    benchmarks/defaults.py. Up to 32 samples make one step: there, a sample of weight two is two
    samples to the solver. L-BFGS takes all.
    """
    if model.solver == "lbfgs":
        return n_samples
    is_auto = model.batch_size == "auto"
    wanted = min(200, max(32, n_samples // 16)) if is_auto else int(model.batch_size)
    return min(wanted, n_samples)


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
    model : estimator
        Its parameters are read. With ``early_stopping`` the plateau is that of the validation loss,
        and the weights with the smallest validation loss are kept.
    max_epochs : int
        Greatest number of epochs, for the lines of ``verbose``.
    tol : float or None
        Smallest improvement of the loss; see `Plateau`.
    resume : bool
        Whether the training goes on with the weights of another, whose plateau then goes on too,
        and which are kept if no epoch has a smaller validation loss.

    Attributes
    ----------
    curves : dict of lists
        The figures of the epochs so far, by the names of `CURVES`.
    n_epochs : int
        Epochs so far.
    """

    def __init__(self, objective, y, s, validation, model, max_epochs, tol, resume):
        self.objective = objective
        self.y, self.s = y, s
        self.validation = validation
        self.curves = curves_of(objective.loss, validation)
        self.model = model
        self.max_epochs = max_epochs
        self.n_epochs = 0
        self._best_loss, self._best_theta = np.inf, None
        watched, *state = getattr(model, "_plateau", None) or (None,)
        self.plateau = _solvers.Plateau(
            tol, model.n_iter_no_change, *(state if watched == model.early_stopping else ())
        )
        if resume and model.early_stopping:
            loss, *_ = self._validation_figures()[1]
            if loss < self._best_loss:
                self._keep(loss)
                self.plateau.best = loss

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
            T, of_validation = self._validation_figures()
            figures += of_validation
            for name, values in (("X", T), ("y", figures)):
                if not np.isfinite(values).all():
                    raise ValueError(
                        "The network's outputs for the validation images, or their loss, overflow "
                        f"in epoch {self.n_epochs}. Scale {name}_val as {name} is scaled"
                        f"{self._or_lower_eta()}."
                    )
        for curve, figure in zip(self.curves.values(), figures):
            curve.append(figure)
        if self.model.verbose:
            self._print(figures)
        watches_validation = self.model.early_stopping
        loss = figures[len(of_training) if watches_validation else 0]
        if watches_validation and loss < self._best_loss:
            self._keep(loss)
        return self.plateau.reached(loss)

    def _validation_figures(self):
        """Return the outputs for the validation samples, and what is reported of them."""
        X, y, s = self.validation
        T = self.objective.outputs(X)
        return T, self.objective.loss.report(T, y, s)

    def _keep(self, loss):
        """Keep the weights, whose validation loss is the smallest so far."""
        self._best_loss, self._best_theta = loss, self.objective.theta.copy()

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
            f"{self.model.alpha})."
        )

    def reason_not_converged(self, outcome):
        """Return the warning of a training with the outcome "max_iter" or "stalled"."""
        if outcome == "stalled":
            return (
                f"L-BFGS found no step that lowers the loss after {self.n_epochs} of max_iter="
                f"{self.max_epochs} iterations, before the gradient was as small as tol="
                f"{self.model.tol}. Scale {self.objective.loss.what_to_scale}, or pass X as "
                "float64, whose sums are more exact than those of float32."
            )
        return (
            f"The training reached max_iter={self.max_epochs} epochs before the loss settled. "
            "Raise max_iter or tol, or set tol=None to run for exactly max_iter epochs."
        )

    def _or_lower_eta(self):
        """Return this advice, for a solver that has a learning rate."""
        is_used = self.model.solver != "lbfgs"
        return f", or lower eta (it is {self.model.eta})" if is_used else ""

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
        def attributes():  # those that scikit-learn sets on a copy of the estimator: all of them
            return {"__dict__": {**vars(self._model), **self.fitted()}}

        return task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=attributes)
