"""Base class of the estimators: validate -> encode -> train -> store."""

import copy
import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ._engine.parallel import ParallelExecutor
from ._engine.parameters import Parameters
from ._engine.threads import threads
from ._estimator import shapes
from ._estimator.architecture import check_sizes, layer_sizes, make_network
from ._estimator.arguments import SEQUENCES, RealInterval, as_list, as_one_callable
from ._estimator.documentation import HasDocumentation
from ._estimator.failure import all_or_nothing, ignore_fp_errors, shallow_copy
from ._estimator.prepared import predictor_of
from ._estimator.saving import VersionedState
from ._estimator.weights import check_sample_weight, scaled_to_mean_1
from ._training.callbacks import Callbacks
from ._training.epochs import Visits, run_epochs, run_lbfgs
from ._training.holdout import hold_out
from ._training.monitor import CURVES, Monitor, Report, new_curves
from ._training.objective import Objective
from ._training.schedules import LearningRate, Plateau
from ._training.solvers import SGD, Adam
from ._typing import Array, MaybeSparse

MAX_FLOAT = float(np.finfo(np.float64).max)

# Greatest number of weights; a training needs memory for up to sixteen times as many numbers.
MAX_WEIGHTS = 2**28

AT_LEAST_1 = Interval(Integral, 1, None, closed="left")
SIZES = [AT_LEAST_1, *SEQUENCES]  # one for all layers, or one for each


class BaseConvNet(HasDocumentation, VersionedState, CallbackSupportMixin, BaseEstimator):
    """Convolutional network; subclasses turn its outputs into predictions.

    It has the parameters, all fitted attributes except those of the targets, and the training,
    `_train`. A subclass has ``fit``, ``partial_fit`` and ``predict``, and implements

    - ``_options_of_targets(y)``, which returns options of scikit-learn's ``validate_data``;
    - ``_set_targets(y, resume, incremental, **options)``, which stores the classes, or the shape of
      the targets, or compares them with what is stored;
    - ``_loss``, the loss of such targets, and ``_training_loss`` where another one is minimised;
    - ``_encode(y)``, which returns targets as the loss takes them;
    - ``_weigh(y, s, incremental)``, which returns the weights of samples with those of their
      targets.
    """

    filters_: Array | list[Array]
    filter_intercept_: Array | list[Array]
    initial_filters_: Array | list[Array]
    coefs_: list[Array]
    intercepts_: list[Array]
    image_shape_: tuple[int, ...]
    n_features_in_: int
    n_iter_: int
    t_: int
    loss_: float
    best_loss_: float
    loss_curve_: list[float]
    validation_loss_curve_: list[float]

    _split_intercept: tuple | None = None  # the offset and the rest of ``intercepts_[-1]``

    _parameter_constraints: dict = {
        "K": SIZES,
        "n_filters": SIZES,
        "pool_size": [*SIZES, StrOptions({"global"})],
        "pooling": [StrOptions({"max", "average"}), *SEQUENCES],
        "hidden_layer_sizes": SIZES,
        "dropout": [RealInterval(0, 1, closed="left")],
        "augment": [callable, tuple, list, None],
        "fit_intercept": ["boolean"],
        "freeze": [StrOptions({"filters", "dense"}), None],
        "solver": [StrOptions({"adam", "sgd", "lbfgs"})],
        "eta": [RealInterval(0, MAX_FLOAT, closed="right")],
        "learning_rate": [StrOptions({"constant", "adaptive", "cosine"})],
        "momentum": [RealInterval(0, 1, closed="left")],
        "alpha": [RealInterval(0, MAX_FLOAT, closed="both")],
        "batch_size": [StrOptions({"auto"}), AT_LEAST_1],
        "sampling": [StrOptions({"shuffle", "replacement", "sequential"})],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [RealInterval(0, MAX_FLOAT, closed="both"), None],
        "n_iter_no_change": [AT_LEAST_1, Options(Real, {np.inf})],
        "early_stopping": ["boolean"],
        "validation_fraction": [RealInterval(0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @ignore_fp_errors
    def feature_maps(self, X: MaybeSparse, layer: int = 0) -> Array:
        """Return the responses of the filters after ReLU, before pooling.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        layer : int, default=0
            Convolution layer, counted from 0.

        Returns
        -------
        A : ndarray of shape (n_samples, H, W, n_filters)
            Responses, non-negative; H and W are those of the layer's input, which for the layers
            after the first are those of the pooled maps of the layer before.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        check_is_fitted(self)
        self._check_layer(layer)
        rows, network = self._validate(X, reset=False), self._network
        with threads() as map:
            parameters = Parameters(network, self._values(network))
            executor = ParallelExecutor(network, parameters, self._loss, rows.shape[0], map)
            return self._finite(executor.feature_maps(rows, network.group("filters")[layer]))

    def _check_layer(self, layer):
        """Refuse what is not the number of a convolution layer."""
        n_layers = len(self._sizes["n_filters"])
        if not shapes.is_whole_number(layer) or not 0 <= layer < n_layers:
            raise ValueError(
                f"layer={layer!r} must be a whole number from 0 to {n_layers - 1}, the last "
                "convolution layer of the network."
            )

    def __copy__(self):
        """Return a copy with curves of its own, as `partial_fit` extends them in place."""
        copied = shallow_copy(self)
        vars(copied).update({name: [*vars(self)[name]] for name in CURVES if hasattr(self, name)})
        return copied

    @property
    def _network(self):
        """The network, built from its sizes whenever it is needed, so that none is saved."""
        return self._new_network(dropout=False)

    def _new_network(self, dropout):
        """Return a network, with layers of dropout if it is to be trained with them."""
        image_shape = shapes.with_channels(self.image_shape_)
        return make_network(image_shape, self._sizes, self._loss.n_outputs, dropout)

    @property
    def _training_loss(self):
        """The loss that is minimised, with its parameters; `_loss` is what is reported of it."""
        return self._loss

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = True
        return tags

    def _train(self, X, y, sample_weight, X_val=None, y_val=None, *, incremental=False, **options):
        """Train as ``fit`` or, with ``incremental``, as ``partial_fit``, and return self.

        If the training fails, the estimator and the user's RandomState remain as they were, but
        not the global generator of NumPy. The options are those of ``_set_targets``.
        """
        resume = (incremental or self.warm_start) and hasattr(self, "filters_")
        context = self._init_callback_context(max_subtasks=1 if incremental else int(self.max_iter))
        source = self._random_state if resume else check_random_state(self.random_state)
        with all_or_nothing(self) as (model, effects):
            callbacks = Callbacks(context, self, model, X, y, sample_weight)
            # Other threads draw from the global generator too, so a copy would draw what they do.
            is_global = source is check_random_state(None)
            model._random_state = source if is_global else copy.deepcopy(source)
            if incremental:
                model._validate_params()  # _fit_context skips this once there is a model
            X, y = model._validate(X, y, reset=not resume)
            model._set_targets(y, resume, incremental, **options)
            if resume:
                check_sizes(model)
            s = check_sample_weight(sample_weight, X, all_may_be_0=incremental)
            s /= s.max() or 1  # only their ratios matter, and now no sum of them overflows
            y, s = model._encode(y), scaled_to_mean_1(s) if incremental else s
            s = model._weigh(y, s, incremental)
            if not resume:
                model._initialise(X.dtype)
            validation, s = model._set_apart(X, y, s, X_val, y_val)
            fitted, curves = {}, {}
            if s.any():  # else nothing is learnt from this part of a stream
                fitted, curves = model._solve(X, y, s, validation, callbacks, incremental, resume)
            callbacks.end()
            vars(model).update(fitted)
            if incremental:  # in place: copying the curves would slow down a long one
                effects += [partial(getattr(model, name).extend, curves[name]) for name in curves]
            else:
                vars(model).update(model._continued(curves))
            if not (is_global or isinstance(self.random_state, Integral)):
                # Draws came from a copy: the user's own RandomState is advanced at the end.
                drawn = model._random_state.get_state(legacy=False)
                effects.append(partial(source.set_state, drawn))
                model._random_state = source
        return self

    def _validate(self, X, y="no_validation", *, reset):
        """Return X as rows of numbers, and y if given; with reset, store the shape of an image.

        Rows are neither converted nor copied: that is done a batch at a time.
        """
        if not reset:
            shapes.check_batch(X, self.image_shape_)
        X, shape = shapes.flatten(X)
        if not isinstance(y, str):
            shapes.check_kind(y, "y")
            shapes.check_samples(X, shape, y)
        if not reset and shape is not None:
            shapes.check_shape(shape, self.image_shape_, self)
        options, names = {}, "X"
        if not isinstance(y, str):
            options, names = self._options_of_targets(y), "X or y"
        if shapes.is_table(X) and shapes.is_single_precision(X):
            options = {**options, "dtype": np.float32}  # also where it is a type of the library
        with shapes.named_errors(names):
            checked = validate_data(self, X, y, reset=reset, accept_sparse="csr", **options)
            X, *targets = (checked,) if isinstance(y, str) else checked
            if X.dtype == object:  # a table, with columns of several types
                X = check_array(X, dtype=np.float64, input_name="X")
        if reset:
            self.image_shape_ = shapes.infer_shape(self.image_shape, shape, self.n_features_in_)
            self._sample_shape = shape  # of X as it came: None for rows
            if self.verbose and shape is None and self.image_shape is None:
                sides = " x ".join(map(str, self.image_shape_))
                print(
                    f"rows of {self.n_features_in_} values: images of {sides} pixels, since "
                    "image_shape=None"
                )
        return (X, *targets) if targets else X

    def _set_apart(self, X, y, s, X_val, y_val):
        """Return validation data, and the weights s with those of held-out samples set to 0.

        The validation data are a tuple (X, y, s), the user's or held out, or None.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together, or neither of them.")
        if X_val is not None:
            try:
                X_val, y_val = self._validate(X_val, y_val, reset=False)
                return (X_val, self._encode(y_val), np.ones(len(y_val))), s
            except (TypeError, ValueError) as error:
                raise ValueError(f"X_val, y_val: {error}") from error
        if not self.early_stopping:
            return None, s
        if not hasattr(self, "_hold_out_key"):  # a warm start holds out the same samples
            self._hold_out_key = self._random_state.bytes(16)
        strata = y if y.ndim == 1 else np.zeros(len(y))  # the classes, if each sample has one
        rows = hold_out(X, strata, s, float(self.validation_fraction), self._hold_out_key)
        if len(rows) == 0:
            raise ValueError(
                "early_stopping=True holds out a part of the samples (n_samples="
                f"{len(y)}), of each class if there are classes, but no two of them differ: pass "
                "X_val and y_val, or set early_stopping=False."
            )
        without = s.copy()
        without[rows] = 0
        return (X[rows], y[rows], s[rows]), without

    def _reason_against_partial_fit(self):
        """Return why ``partial_fit`` is not possible with these parameters, or None."""
        reasons = {
            "early_stopping": (True, "which holds out a part of all samples"),
            "class_weight": ("balanced", "which needs the samples of all calls"),
            "solver": ("lbfgs", "which has no steps on a part of the samples"),
            "learning_rate": ("adaptive", "which compares the epochs of a training"),
        }
        for name, (value, reason) in reasons.items():
            given = getattr(self, name, None)  # a regressor has no class_weight
            if isinstance(given, (bool, np.bool_, str)) and given == value:
                return f"partial_fit cannot be used with {name}={value!r}, {reason}. Use fit."
        return None

    def _initialise(self, dtype):
        """Draw the weights of a new model, for images of ``image_shape_``."""
        self._sizes = layer_sizes(self)
        network = self._network
        if network.n_parameters > MAX_WEIGHTS:
            raise ValueError(
                f"K={self.K}, n_filters={self.n_filters}, pool_size={self.pool_size} and "
                f"hidden_layer_sizes={self.hidden_layer_sizes} make a network of more than "
                f"{MAX_WEIGHTS} weights for images of shape {self.image_shape_} and "
                f"{network.n_outputs} outputs: choose smaller or fewer filters, or larger pooling "
                "windows."
            )
        dtype = np.float32 if dtype.newbyteorder("=") == np.float32 else np.float64
        values = network.draw(self._random_state, dtype)
        for name in (*CURVES, "initial_filters_", "_seed", "_hold_out_key", "_plateau"):
            vars(self).pop(name, None)
        self.n_iter_ = self.t_ = 0
        self.loss_ = self.best_loss_ = np.nan
        curves = new_curves(self._loss, validation=False)
        vars(self).update(self._fitted(network, values, curves, offset=0.0), **curves)
        self._split_intercept = None
        self.initial_filters_ = copy.deepcopy(self.filters_)

    def _fitted(self, network, values, curves, offset):
        """Return the fitted attributes after more epochs: weights, losses, number of epochs.

        Parameters
        ----------
        network : Network
        values : list of dicts of ndarrays
            The parameters of each layer.
        curves : dict of lists
            Those of the new epochs.
        offset : float or ndarray of shape (n_outputs,)
            To be added to the intercepts of the outputs.
        """
        losses, attributes = curves["loss_curve_"], {}
        for layer, params in zip(network.layers, values):
            for parameter in layer.parameters:
                array = layer.to_public(parameter.name, params[parameter.name])
                attributes.setdefault(parameter.attribute, []).append(array)
        *hidden, rest = attributes["intercepts_"]
        if len(self.image_shape_) == 2:
            attributes["filters_"][0] = attributes["filters_"][0][..., 0]
        attributes["initial_filters_"] = as_list(
            getattr(self, "initial_filters_", attributes["filters_"])
        )
        if not isinstance(self.n_filters, SEQUENCES):  # one layer: its arrays without a list
            for name in ("filters_", "filter_intercept_", "initial_filters_"):
                (attributes[name],) = attributes[name]
        return {
            **attributes,
            "intercepts_": [*hidden, (offset + rest).astype(rest.dtype)],
            "_split_intercept": (offset, rest),
            "n_iter_": self.n_iter_ + len(losses),
            "loss_": losses[-1] if losses else self.loss_,
            "best_loss_": float(np.fmin.reduce([self.best_loss_, *losses])),
        }

    def _values(self, network):
        """Return the parameters of each layer, dicts of arrays by name."""
        attributes, values = {}, []
        for layer in network.layers:
            values.append({})
            for name, _, attribute, *_ in layer.parameters:
                if attribute not in attributes:
                    attributes[attribute] = iter(as_list(getattr(self, attribute)))
                values[-1][name] = layer.from_public(name, next(attributes[attribute]))
        return values

    def _centered_intercept(self, y, s):
        """Return the intercepts of the outputs as an offset, in float64, and the rest.

        The offset of a regressor is the mean of the targets of its first call. It is no part of the
        network that is trained: beside a large one, outputs and steps would be lost in float32.
        """
        intercept, split = self.intercepts_[-1], self._split_intercept
        if not self.fit_intercept:
            return 0.0, intercept
        is_new = split is None and not intercept.any()
        offset, rest = split or (self._loss.initial_intercept(y, s), np.zeros_like(intercept))
        if not is_new and not np.array_equal((offset + rest).astype(rest.dtype), intercept):
            rest = (intercept - offset).astype(rest.dtype)  # the user has set another one
        return offset, rest

    def _continued(self, curves):
        """Return the curves extended by those of more epochs."""
        return {name: [*getattr(self, name, ()), *curve] for name, curve in curves.items()}

    def _outputs(self, X):
        """Return the outputs T for X, of shape (n, n_outputs)."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        return self._finite(predictor_of(self).outputs(X))

    def _finite(self, result):
        """Return what was computed of X, or raise ValueError if it is too large."""
        if not np.isfinite(result).all():
            raise ValueError(
                f"X has values too large for a network of {self.intercepts_[-1].dtype}: scale the "
                "images as those of fit were."
            )
        return result

    def _solve(self, X, y, s, validation, callbacks, incremental, resume):
        """Train until the loss settles, or for one epoch of a stream.

        Returns
        -------
        fitted : dict
            The fitted attributes, but for the curves.
        curves : dict of lists
            Those of the new epochs.
        """
        augment = as_one_callable(self.augment)
        for name, value, unset in (("dropout", self.dropout, 0), ("augment", augment, None)):
            if self.solver == "lbfgs" and value:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} cannot be used with solver='lbfgs', which "
                    f"minimises one function, while {name} makes another at every step: set "
                    f"{name}={unset}, or solver='adam' or 'sgd'."
                )
        n_epochs = 1 if incremental else int(self.max_iter)
        tol = None if incremental or self.tol is None else float(self.tol)
        if not incremental:  # a warm start goes on with the weights, not with it
            vars(self).pop("_solver", None)
        samples = np.flatnonzero(s)  # samples of weight 0 are not visited
        batch_size = self._batch_size(len(samples))
        with threads() as map:
            network, loss = self._new_network(dropout=self.dropout > 0), self._training_loss
            values = self._values(network)
            scaled = s if incremental else scaled_to_mean_1(s)
            offset, values[-1]["c"] = self._centered_intercept(y, scaled)
            y = loss.centered(y, offset)
            if validation is not None:
                X_val, y_val, s_val = validation
                validation = X_val, loss.centered(y_val, offset), s_val
            parameters = Parameters(network, values, self.freeze, self.fit_intercept)
            executor = ParallelExecutor(network, parameters, loss, batch_size, map)
            options = float(self.alpha), float(self.dropout), augment
            objective = Objective(executor, X, y, scaled, *options)
            eta = None if self.solver == "lbfgs" else self.eta
            report = Report(self.verbose, n_epochs, eta, self.alpha, self.tol)
            plateau, early_stopping = self._new_plateau(tol), bool(self.early_stopping)
            monitor = Monitor(objective, y, scaled, validation, plateau, early_stopping, report)
            if resume and early_stopping:
                monitor.keep_initial_weights()
            if not np.isfinite(np.asarray(offset).astype(objective.theta.dtype)).all():
                monitor.raise_divergence()
            callbacks.fitted = lambda: {
                **self._fitted(network, parameters.params, monitor.curves, offset),
                **self._continued(monitor.curves),
            }
            if self.solver == "lbfgs":
                outcome = run_lbfgs(monitor, callbacks, samples, n_epochs, tol)
            else:
                outcome = self._run_epochs(monitor, callbacks, samples, batch_size, incremental)
            monitor.finish()
        self._plateau = None if incremental else (self._watched(), *plateau.state)
        if tol is not None and n_epochs > 0 and outcome != "converged":
            warnings.warn(monitor.reason_not_converged(outcome), ConvergenceWarning)
        if not incremental and monitor.n_epochs > 0:
            self._warn_of_dead_layers(network, parameters.params)
        self.t_ += len(samples) * monitor.n_epochs
        return self._fitted(network, parameters.params, monitor.curves, offset), monitor.curves

    def _run_epochs(self, monitor, callbacks, samples, batch_size, incremental):
        """Run the epochs of a stochastic solver, and return their outcome.

        The random draws and the state of the solver are stored, with which the next call of
        ``partial_fit`` goes on.
        """
        n_epochs = monitor.report.max_epochs
        if self.dropout and not hasattr(self, "_seed"):
            self._seed = self._random_state.randint(2**31)
        theta, is_sgd = monitor.objective.theta, self.solver == "sgd"
        solver = SGD(theta, float(self.momentum)) if is_sgd else Adam(theta)
        settings = self.solver, is_sgd and self.momentum, self.freeze, self.fit_intercept
        last_settings, *state = getattr(self, "_solver", (None,))
        if settings == last_settings:
            solver.t, solver.memory[...] = state
        rate = LearningRate(self.learning_rate, float(self.eta), max(1, int(self.max_iter)))
        seed = self._seed if self.dropout else None
        visits = Visits(samples, batch_size, self.sampling, self._random_state, seed, self.n_iter_)
        first = self.n_iter_ if incremental else 0
        numbers = range(first, first + n_epochs)
        outcome = run_epochs(monitor, callbacks, solver, rate, visits, numbers)
        self._solver = settings, solver.t, solver.memory
        return outcome

    def _new_plateau(self, tol):
        """Return the plateau of the loss that is watched, which a warm start goes on with."""
        watched, *state = getattr(self, "_plateau", None) or (None,)
        state = state if watched == self._watched() else ()
        return Plateau(tol, self.n_iter_no_change, *state)

    def _watched(self):
        """Return what identifies the loss that is watched: that of held-out samples has no more."""
        smoothing = float(getattr(self, "label_smoothing", 0.0))  # a regressor has none
        return (True, 0.0) if self.early_stopping else (False, smoothing)

    def _batch_size(self, n_samples):
        """Return the number of samples in a step; "auto": a sixteenth of all, from 32 to 200.

        With 200 samples in a step, 200 epochs of a few hundred samples are too few steps; see
        benchmarks/defaults.py. Up to 32 samples make one step: there, a sample of weight two is two
        samples to the solver. L-BFGS takes all.
        """
        if self.solver == "lbfgs":
            return n_samples
        is_auto = self.batch_size == "auto"
        wanted = min(200, max(32, n_samples // 16)) if is_auto else int(self.batch_size)
        return min(wanted, n_samples)

    def _warn_of_dead_layers(self, network, values):
        """Warn of layers whose intercepts, which have no penalty, are still 0, as they began."""
        if self.solver == "lbfgs" or self.freeze == "filters" or not self.fit_intercept:
            return
        filters = network.group("filters")
        for layer, params in enumerate(params for _, params in zip(filters, values)):
            if not params["b"].any():
                warnings.warn(
                    f"No gradient has reached the filters of convolution layer {layer}: with their "
                    "initial values, no sample has a response above 0 that the output depends on. "
                    "Standardise the images, with ImageScaler for example, or try more filters "
                    f"than n_filters={self.n_filters}, or another random_state.",
                    ConvergenceWarning,
                )
