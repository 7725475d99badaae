"""ConvNetClassifier: validate -> encode -> solve -> store."""

import copy
import warnings
from contextlib import contextmanager
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
)
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from . import _images, _layers, _network, _solvers


class _Data(NamedTuple):
    """Validated and encoded samples."""

    X: np.ndarray  # images (n, H, W, C)
    y: np.ndarray  # indices into classes_ (n,)
    Y: np.ndarray  # targets (n, n_outputs), see _layers
    s: np.ndarray  # weights (n, 1), of mean 1 over the samples that have any


class ConvNetClassifier(ClassifierMixin, BaseEstimator):
    r"""Convolutional network with one convolution layer, ReLU and a dense layer.

    The network minimises the log-loss with an L2 penalty by gradient descent. Images should be
    standardised first, by :class:`ImageScaler` for example; they may come flat, one row of values
    an image, or as they are.

    Parameters
    ----------
    K : int, default=3
        Side of a filter, in pixels. A filter may be larger than the image.

    n_filters : int, default=1
        Number of filters.

    fit_intercept : bool, default=True
        Whether filters and outputs have an intercept.

    freeze : {"filters", "dense"} or None, default=None
        The layer that keeps its initial values, intercepts included, and is not learnt.

    solver : {"adam", "sgd"}, default="adam"
        "adam" scales the steps by running moments of the gradient [2]_; "sgd" is plain stochastic
        gradient descent.

    eta : float, default=0.001
        Learning rate: the length of a step on the mean gradient of a batch.

    alpha : float, default=1e-4
        Strength of the L2 penalty on filters and dense weights; intercepts have none.

    batch_size : int or "auto", default="auto"
        Samples a step; "auto" is ``min(200, n_samples)``.

    sampling : {"shuffle", "replacement", "sequential"}, default="shuffle"
        How an epoch visits the n samples: each once in a new random order, n random draws with
        replacement, or each once in the order they have.

    max_iter : int, default=200
        Greatest number of epochs. With 0 the network is left with its initial values.

    tol : float or None, default=1e-4
        Training stops when the training loss has not improved by ``tol`` for ``n_iter_no_change``
        epochs in a row. None: it runs for exactly ``max_iter`` epochs.

    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops.

    warm_start : bool, default=False
        If True, :meth:`fit` starts from the weights it finds and appends to the curves; the solver
        starts afresh.

    image_shape : tuple (H, W) or (H, W, C), or None, default=None
        Shape of the images when ``X`` has a row of values for each. None: it is taken from ``X``
        when that is three- or four-dimensional, else it is square if ``n_features`` is a square
        number, else (1, n_features), a signal.

    random_state : int, RandomState instance or None, default=None
        Draws the initial values and the order of the samples. Pass an int for the same weights
        every time.

    verbose : bool, default=False
        Print a line an epoch: loss and accuracy, those of the validation data behind them.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    n_features_in_ : int
        Number of values of an image, H * W * C.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where ``X`` had names that are all strings.

    image_shape_ : tuple
        Shape of an image, (H, W) or (H, W, C).

    filters_ : ndarray of shape (n_filters, K, K) or (n_filters, K, K, C)
        Filters W; without the last axis where ``image_shape_`` has two sides.

    filter_intercept_ : ndarray of shape (n_filters,)
        Filter intercepts b; 0 with ``fit_intercept=False``.

    initial_filters_ : ndarray of the shape of ``filters_``
        The filters as they were drawn, before training.

    coef_ : ndarray of shape (n_outputs, H * W * n_filters)
        Dense weights V; ``n_outputs`` is 1 for two classes, else ``n_classes``.

    intercept_ : ndarray of shape (n_outputs,)
        Dense intercepts c; 0 with ``fit_intercept=False``.

    n_iter_ : int
        Number of epochs run.

    t_ : int
        Number of samples visited, in all epochs.

    loss_ : float
        Log-loss of the last epoch, in nats: the last value of ``loss_curve_``; nan before any.

    best_loss_ : float
        Smallest value of ``loss_curve_``; nan before any.

    loss_curve_ : list of float, of length n_iter_
        Log-loss, in nats, without the penalty: the mean over an epoch, each sample as it is
        visited, before its update.

    accuracy_curve_ : list of float, of length n_iter_
        Accuracy, likewise.

    validation_loss_curve_, validation_accuracy_curve_ : list of float
        Log-loss and accuracy on ``X_val``, ``y_val`` after every epoch that was given them.

    See Also
    --------
    ImageScaler : Standardises images pixel by pixel, or channel by channel.
    sklearn.neural_network.MLPClassifier : Network of dense layers only.

    Notes
    -----
    For images X and filters W of side K with intercepts b, dense weights V and intercepts c:

    .. math::
        Z_{nijf} &= b_f + \sum_{u,v,c} W_{fuvc}\, X_{n,\,i+u-\lfloor K/2\rfloor,\,
                    j+v-\lfloor K/2\rfloor,\,c} \\
        T &= \max(Z, 0)\, V' + c \\
        P &= \mathrm{sigmoid}(T) \text{ for two classes, } \mathrm{softmax}(T) \text{ for more} \\
        L &= -\frac{\sum_n s_n \log P_{n, y_n}}{\sum_n s_n} + \frac{\alpha}{2}(|W|^2 + |V|^2)

    X is 0 outside the image, so for one channel Z is ``scipy.signal.convolve(x, w[::-1, ::-1],
    mode="same")``. Initial values are drawn from N(0, 2/sqrt(K K C)) for W, then from
    N(0, 1/sqrt(n_in)) for V, where n_in is the number of inputs of the dense layer (second
    argument: standard deviation); intercepts start at 0.

    Sample weights are scaled to mean 1, so that a step on one sample has its weight and a full
    batch is the weighted mean. A sample of weight 0 is left out as if it were not there.

    The arithmetic is done in float32 where X is float32, else in float64. Losses are reported as
    :func:`sklearn.metrics.log_loss` does, with probabilities clipped at the machine epsilon;
    gradients are never clipped.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
       document recognition", Proceedings of the IEEE 86 (1998).
    .. [2] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from skcnn import ConvNetClassifier, ImageScaler
    >>> digits = load_digits()
    >>> X_train, X_test, y_train, y_test = train_test_split(
    ...     digits.images, digits.target, random_state=0
    ... )
    >>> model = make_pipeline(
    ...     ImageScaler(), ConvNetClassifier(n_filters=4, eta=0.01, random_state=0)
    ... )
    >>> model.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    """

    _parameter_constraints: dict = {
        "K": [Interval(Integral, 1, None, closed="left")],
        "n_filters": [Interval(Integral, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        "freeze": [StrOptions({"filters", "dense"}), None],
        "solver": [StrOptions(set(_solvers.STOCHASTIC_SOLVERS))],
        "eta": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "sampling": [StrOptions({"shuffle", "replacement", "sequential"})],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "warm_start": ["boolean"],
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        K=3,
        n_filters=1,
        fit_intercept=True,
        freeze=None,
        solver="adam",
        eta=0.001,
        alpha=1e-4,
        batch_size="auto",
        sampling="shuffle",
        max_iter=200,
        tol=1e-4,
        n_iter_no_change=10,
        warm_start=False,
        image_shape=None,
        random_state=None,
        verbose=False,
    ):
        self.K = K
        self.n_filters = n_filters
        self.fit_intercept = fit_intercept
        self.freeze = freeze
        self.solver = solver
        self.eta = eta
        self.alpha = alpha
        self.batch_size = batch_size
        self.sampling = sampling
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.image_shape = image_shape
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Training images; standardised values do best.

        y : array-like of shape (n_samples,)
            Class labels, of at least two classes.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None: all the same.

        X_val, y_val : array-like, default=None
            Images and labels on which loss and accuracy are measured after every epoch. They take
            no part in the training.

        Returns
        -------
        self : ConvNetClassifier
            Fitted classifier.

        Raises
        ------
        ValueError
            If the data are not what a classifier can learn from, or training diverges. The
            classifier is then what it was before the call.
        """
        with self._unchanged_by_failure():
            resume = self.warm_start and hasattr(self, "classes_")
            X, y = self._validate(X, y, reset=not resume)
            check_classification_targets(y)
            if resume:
                self._check_architecture()
                self._solver = None
            else:
                self._initialise(classes=np.unique(y), dtype=X.dtype)
            data = self._encode(X, y, sample_weight)
            if len(np.unique(data.y[data.s[:, 0] > 0])) < 2:
                raise ValueError(
                    "ConvNetClassifier needs samples of at least two classes in y, but those with "
                    f"a positive weight all are of class {y[data.s[:, 0] > 0][0]!r}."
                )
            if (X_val is None) != (y_val is None):
                raise ValueError("X_val and y_val must be given together, or neither of them.")
            validation = None
            if X_val is not None:
                validation = self._encode(*self._validate(X_val, y_val, reset=False), None)
            self._solve(data, n_epochs=self.max_iter, tol=self.tol, validation=validation)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on some samples.

        The state of the solver carries over from call to call, so that with ``sampling=
        "sequential"`` m calls on the same data give what ``fit`` gives in m epochs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Training images.

        y : array-like of shape (n_samples,)
            Class labels.

        classes : array-like of shape (n_classes,), default=None
            All classes there will be. It must be given at the first call, and may be left out
            later.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, relative to each other within this call.

        Returns
        -------
        self : ConvNetClassifier
            Fitted classifier.

        Raises
        ------
        ValueError
            As :meth:`fit`, and if ``y`` has labels that are not in ``classes``.
        """
        with self._unchanged_by_failure():
            first_call = _check_partial_fit_first_call(self, classes)
            X, y = self._validate(X, y, reset=first_call)
            check_classification_targets(y)
            if first_call:
                self._initialise(classes=self.classes_, dtype=X.dtype)
            else:
                self._validate_params()  # _fit_context leaves it out when there is a model
                self._check_architecture()
            data = self._encode(X, y, sample_weight)
            self._solve(data, n_epochs=1, tol=None)
        return self

    def decision_function(self, X):
        """Return the logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        T : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, the logit of ``classes_[1]``.
        """
        T = self._apply(_network.logits, X)
        return T[:, 0] if T.shape[1] == 1 else T

    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        P = _layers.probabilities(self._apply(_network.logits, X))
        return np.hstack([1 - P, P]) if P.shape[1] == 1 else P

    def predict_log_proba(self, X):
        """Return the logarithms of the probabilities, which do not underflow.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        log_P : ndarray of shape (n_samples, n_classes)
            Log-probabilities, in nats, in the order of ``classes_``.
        """
        return _layers.log_probabilities(self._apply(_network.logits, X))

    def predict(self, X):
        """Return the most probable classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels.
        """
        T = self._apply(_network.logits, X)
        return self.classes_[_layers.most_probable(T)]

    def feature_maps(self, X):
        """Return what the filters see: their responses after ReLU.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        A : ndarray of shape (n_samples, H, W, n_filters)
            Responses, non-negative.
        """
        return self._apply(_network.activations, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    @contextmanager
    def _unchanged_by_failure(self):
        """Leave the estimator as it was if the call fails or is interrupted.

        Within, attributes are replaced and never changed in place, so that a shallow copy of them
        is a copy of the model.
        """
        before = vars(self).copy()
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _validate(self, X, y="no_validation", *, reset):
        """Return X as rows of floats, and y if there is one; with reset, learn what an image is."""
        X, shape = _images.flatten(X)
        if not reset and shape is not None and X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features (images of shape {shape}), but ConvNetClassifier is "
                f"expecting {self.n_features_in_} features (images of shape {self.image_shape_})."
            )
        dtype = [np.float64, np.float32] if reset else self.coef_.dtype
        checked = validate_data(self, X, y, reset=reset, dtype=dtype, order="C")
        if reset:
            self.image_shape_ = _images.infer_shape(self.image_shape, shape, self.n_features_in_)
        return checked

    def _encode(self, X, y, sample_weight):
        """Return validated samples as the network sees them."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has labels {unknown.tolist()}, which are not in the classes "
                f"{self.classes_.tolist()}."
            )
        codes = np.searchsorted(self.classes_, y)
        if self._n_outputs == 1:
            targets = codes[:, np.newaxis].astype(X.dtype)
        else:
            targets = np.eye(self._n_outputs, dtype=X.dtype)[codes]
        weights = _check_sample_weight(
            sample_weight, X, dtype=X.dtype, ensure_non_negative=True, copy=True
        )
        weights /= weights[weights > 0].mean()
        images = X.reshape(-1, *_images.with_channels(self.image_shape_))
        return _Data(images, codes, targets, weights[:, np.newaxis])

    @property
    def _n_outputs(self):
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    @property
    def _architecture(self):
        H, W, C = _images.with_channels(self.image_shape_)
        F, K = self.filters_.shape[:2]
        return _network.Architecture(H, W, C, K, F, self._n_outputs)

    def _check_architecture(self):
        """Refuse parameters that ask for another network than the one to go on with."""
        asked = {"K": self.K, "n_filters": self.n_filters}
        found = {"K": self._architecture.K, "n_filters": self._architecture.F}
        if self.image_shape is not None:
            asked["image_shape"] = _images.with_channels(self.image_shape)
            found["image_shape"] = _images.with_channels(self.image_shape_)
        for name, value in asked.items():
            if value != found[name]:
                raise ValueError(
                    f"{name}={value}, but the model to go on with has {name}={found[name]}: set it "
                    "back, or call fit with warm_start=False."
                )

    def _initialise(self, classes, dtype):
        """Draw the weights of a new model, for images of ``image_shape_``."""
        if len(classes) < 2:
            raise ValueError(
                f"ConvNetClassifier needs at least two classes, but got one class: {classes[0]!r}."
            )
        self.classes_ = classes
        self._random_state = check_random_state(self.random_state)
        self._solver = None
        H, W, C = _images.with_channels(self.image_shape_)
        architecture = _network.Architecture(H, W, C, self.K, self.n_filters, self._n_outputs)
        params = _network.init_params(architecture, self._random_state, dtype)
        self._store(params, architecture)
        self.initial_filters_ = self.filters_.copy()
        self.n_iter_ = 0
        self.t_ = 0
        self.loss_ = self.best_loss_ = np.nan
        self.loss_curve_, self.accuracy_curve_ = [], []
        for name in ("validation_loss_curve_", "validation_accuracy_curve_"):
            vars(self).pop(name, None)

    def _store(self, params, architecture):
        """Set the weights, in the layout users see."""
        channels = self.image_shape_[2:]
        self.filters_ = params.W.reshape(params.W.shape[:3] + channels).copy()
        self.filter_intercept_ = params.b.copy()
        self.coef_ = _network.coef_from_dense(params.V, architecture).copy()
        self.intercept_ = params.c.copy()

    def _params(self, architecture):
        """Return the weights, in the layout of the network."""
        return _network.Params(
            b=self.filter_intercept_,
            W=self.filters_.reshape(architecture.shapes.W),
            V=_network.dense_from_coef(self.coef_, architecture),
            c=self.intercept_,
        )

    def _apply(self, function, X):
        """Return what a function of parameters and images gives for X."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        architecture = self._architecture
        images = X.reshape(-1, *_images.with_channels(self.image_shape_))
        buffers = _network.Buffers(architecture, self.coef_.dtype)
        return function(self._params(architecture), images, buffers)

    def _solve(self, data, *, n_epochs, tol, validation=None):
        """Train for some epochs, or until the loss improves by less than tol, and store."""
        architecture = self._architecture
        objective = _network.Objective(
            self._params(architecture),
            data.X,
            data.Y,
            data.s,
            architecture=architecture,
            alpha=self.alpha,
            fit_intercept=self.fit_intercept,
            freeze=self.freeze,
        )
        solver = self._solver_for(objective.theta)
        random_state = copy.deepcopy(self._random_state)
        samples = np.flatnonzero(data.s)  # one of weight 0 is left out
        batch_size = min(200, len(samples)) if self.batch_size == "auto" else self.batch_size
        plateau = _solvers.Plateau(tol, self.n_iter_no_change)
        curves = {name: list(getattr(self, name, [])) for name in _CURVES}

        for epoch in range(1, n_epochs + 1):
            order = samples[_solvers.draw_order(len(samples), self.sampling, random_state)]
            with np.errstate(over="ignore", invalid="ignore"):  # non-finite values are found below
                _solvers.run_epoch(
                    solver, objective.theta, objective.gradient, order, batch_size, self.eta
                )
                figures = _loss_and_accuracy(objective.visited_logits(), data, order)
            if not (np.isfinite(figures[0]) and np.isfinite(objective.theta).all()):
                raise ValueError(
                    f"Training diverged in epoch {epoch}: the loss or the weights are infinite or "
                    "NaN. Scale the images, with ImageScaler for example, or lower eta (it is "
                    f"{self.eta})."
                )
            if validation is not None:
                figures += _loss_and_accuracy(objective.logits(validation.X), validation)
            for name, figure in zip(_CURVES, figures):
                curves[name].append(figure)
            if self.verbose:
                _report(epoch, n_epochs, figures)
            if plateau.reached(figures[0]):
                break
        else:
            if tol is not None and n_epochs > 0:
                warnings.warn(
                    f"The training loss was still improving after max_iter={n_epochs} epochs. "
                    "Raise max_iter or tol, or set tol=None to run for exactly max_iter epochs.",
                    ConvergenceWarning,
                )

        self._store(objective.params, architecture)
        self._solver = solver
        self._random_state = random_state
        self.t_ += len(samples) * (len(curves["loss_curve_"]) - self.n_iter_)
        self.n_iter_ = len(curves["loss_curve_"])
        vars(self).update((name, curve) for name, curve in curves.items() if curve)
        if self.n_iter_ > 0:
            self.loss_ = self.loss_curve_[-1]
            self.best_loss_ = min(self.loss_curve_)

    def _solver_for(self, theta):
        """Return the solver of the last call if it may go on, else a new one."""
        settings = (self.solver, self.freeze, self.fit_intercept)
        if self._solver is not None and self._solver_settings == settings:
            return copy.deepcopy(self._solver)
        self._solver_settings = settings
        return _solvers.STOCHASTIC_SOLVERS[self.solver](theta)


_CURVES = (
    "loss_curve_",
    "accuracy_curve_",
    "validation_loss_curve_",
    "validation_accuracy_curve_",
)


def _loss_and_accuracy(T, data, rows=slice(None)):
    """Weighted means of log-loss, in nats, and accuracy, given the logits of some samples."""
    y, s = data.y[rows], data.s[rows, 0]
    loss = np.average(_layers.log_loss_forward(T, y), weights=s)
    accuracy = np.average(_layers.most_probable(T) == y, weights=s)
    return float(loss), float(accuracy)


def _report(epoch, n_epochs, figures):
    """Print the line of an epoch."""
    line = "epoch {:{}d}/{}  loss {:.4f}  accuracy {:.4f}"
    if len(figures) == 4:
        line += "  validation loss {:.4f}  accuracy {:.4f}"
    print(line.format(epoch, len(str(n_epochs)), n_epochs, *figures))
