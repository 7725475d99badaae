"""ConvNetClassifier: validate -> encode -> solve -> store."""

import copy
import warnings
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _images, _layers, _network, _parameters, _solvers
from ._availability import available_unless
from ._failure import all_or_nothing, shallow_copy
from ._holdout import hold_out
from ._threads import threads
from ._training import CURVES, Callbacks, Monitor
from ._weights import check_sample_weight

LARGEST_FLOAT = float(np.finfo(np.float64).max)

# What is not finite is found by checks, which say what to do about it; and whatever the caller's
# own np.seterr says, values that vanish are 0.
quietly = np.errstate(all="ignore")

# Number of weights; a training needs memory for about six times as many numbers.
LARGEST_NETWORK = 2**28


class ConvNetClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    r"""Convolutional network with one convolution layer, ReLU, max pooling and a dense layer.

    The network minimises the log-loss with an L2 penalty by gradient descent. Images should be
    standardised first, by :class:`ImageScaler` for example; they may come flat, one row of values
    an image, or as they are.

    Parameters
    ----------
    K : int, default=3
        Side of a filter, in pixels. A filter may be larger than the image.

    n_filters : int, default=1
        Number of filters.

    pool_size : int, default=1
        Side of the max-pooling windows, in pixels; 1: no pooling. Pixels at the right and lower
        edges that do not fill a window are dropped. Where the image is lower or narrower than a
        window, windows are at most half as high and half as wide as the image, and at least one
        pixel: a signal is pooled along its length.

    fit_intercept : bool, default=True
        Whether filters and outputs have an intercept.

    freeze : {"filters", "dense"} or None, default=None
        The layer that keeps its initial values, intercepts included, and is not learnt.

    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        "adam" scales the steps by running moments of the gradient [2]_; "sgd" is stochastic
        gradient descent, plain or with ``momentum``; "lbfgs" is SciPy's L-BFGS-B, which uses all
        data at every step and suits small sets. For the last, an epoch is an iteration, and
        ``eta``, ``learning_rate``, ``momentum``, ``batch_size`` and ``sampling`` mean nothing.

    eta : float, default=0.001
        Learning rate: the length of a step on the mean gradient of a batch.

    learning_rate : {"constant", "adaptive", "cosine"}, default="constant"
        Schedule of the learning rate over the epochs. "constant" is ``eta``; "adaptive" divides it
        by 5 whenever training would stop by ``tol`` and ``n_iter_no_change``, and stops for good
        below 1e-6; "cosine" takes it from ``eta`` towards 0 in ``max_iter`` epochs along half a
        cosine [3]_.

    momentum : float, default=0.0
        Of solver "sgd": part of the last step that is taken again, at least 0 and less than 1.

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
        Training stops when the loss has not improved by ``tol`` for ``n_iter_no_change`` epochs in
        a row; with "lbfgs" also when no component of the gradient is greater than it. None: it
        runs for exactly ``max_iter`` epochs, where "lbfgs" does not get stuck before.

    n_iter_no_change : int or inf, default=10
        Number of epochs without improvement after which training stops.

    early_stopping : bool, default=False
        Whether the loss that is watched is that of held-out samples instead of the training loss:
        ``X_val``, ``y_val`` if :meth:`fit` is given them, else a part of the training samples.
        The weights of the epoch where it was smallest are kept.

    validation_fraction : float, default=0.1
        Part of every class that is held out for ``early_stopping``. Copies of an image are all
        held out or none of them.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, ``{label: weight}``, by which those of their samples are
        multiplied; "balanced" makes all classes weigh the same.

    warm_start : bool, default=False
        If True, :meth:`fit` starts from the weights it finds, goes on with the random draws and
        appends to the curves; the solver and the schedule start afresh.

    image_shape : tuple or list (H, W) or (H, W, C), or None, default=None
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

    coef_ : ndarray of shape (n_outputs, (H // p) * (W // p) * n_filters)
        Dense weights V, for windows of side p; ``n_outputs`` is 1 for two classes, else
        ``n_classes``.

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
        visited, before its update. With solver "lbfgs" it is that after each iteration.

    accuracy_curve_ : list of float, of length n_iter_
        Accuracy, likewise.

    validation_loss_curve_, validation_accuracy_curve_ : list of float
        Log-loss and accuracy on ``X_val``, ``y_val``, or what was held out, after every epoch
        that had any.

    See Also
    --------
    ImageScaler : Standardises images pixel by pixel, or channel by channel.
    sklearn.neural_network.MLPClassifier : Network of dense layers only.

    Notes
    -----
    For images X and filters W of side K with intercepts b, pooling windows of side p, dense
    weights V and intercepts c:

    .. math::
        Z_{nijf} &= b_f + \sum_{u,v,c} W_{fuvc}\, X_{n,\,i+u-\lfloor K/2\rfloor,\,
                    j+v-\lfloor K/2\rfloor,\,c} \\
        A_{nijf} &= \max(0, \max_{0 \le k, l < p} Z_{n,\,ip+k,\,jp+l,\,f}) \\
        T &= A V' + c \\
        P &= \mathrm{sigmoid}(T) \text{ for two classes, } \mathrm{softmax}(T) \text{ for more} \\
        L &= -\frac{\sum_n s_n \log P_{n, y_n}}{\sum_n s_n} + \frac{\alpha}{2}(|W|^2 + |V|^2)

    X is 0 outside the image, so for one channel Z is ``scipy.signal.convolve(x, w[::-1, ::-1],
    mode="same")``. Initial values are drawn from N(0, 2/sqrt(K K C)) for W, then from
    N(0, 1/sqrt(n_in)) for V, where n_in is the number of inputs of the dense layer (second
    argument: standard deviation); intercepts start at 0.

    Sample weights are scaled to mean 1, so that a step on one sample has its weight and a full
    batch is the weighted mean. Samples of weight 0 are not visited.

    Where numba is installed, by the extra "fast", the network is computed in compiled loops, which
    give the same weights to rounding; the environment variable ``SKCNN_FAST=0`` goes without. Large
    batches are computed by as many threads as BLAS may use; the weights do not depend on how many
    there are.

    The arithmetic is done in float32 where X is float32, else in float64. Losses are reported as
    :func:`sklearn.metrics.log_loss` does, with probabilities clipped at the machine epsilon;
    gradients are never clipped.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
       document recognition", Proceedings of the IEEE 86 (1998).
    .. [2] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    .. [3] I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
       ICLR 2017.

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
        "pool_size": [Interval(Integral, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        "freeze": [StrOptions({"filters", "dense"}), None],
        "solver": [StrOptions({"adam", "sgd", "lbfgs"})],
        "eta": [Interval(Real, 0, LARGEST_FLOAT, closed="right")],
        "learning_rate": [StrOptions({"constant", "adaptive", "cosine"})],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "alpha": [Interval(Real, 0, LARGEST_FLOAT, closed="both")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "sampling": [StrOptions({"shuffle", "replacement", "sequential"})],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, LARGEST_FLOAT, closed="both"), None],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
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
        pool_size=1,
        fit_intercept=True,
        freeze=None,
        solver="adam",
        eta=0.001,
        learning_rate="constant",
        momentum=0.0,
        alpha=1e-4,
        batch_size="auto",
        sampling="shuffle",
        max_iter=200,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        class_weight=None,
        warm_start=False,
        image_shape=None,
        random_state=None,
        verbose=False,
    ):
        self.K = K
        self.n_filters = n_filters
        self.pool_size = pool_size
        self.fit_intercept = fit_intercept
        self.freeze = freeze
        self.solver = solver
        self.eta = eta
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.alpha = alpha
        self.batch_size = batch_size
        self.sampling = sampling
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.image_shape = image_shape
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @quietly
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
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
        resume = self.warm_start and hasattr(self, "classes_")
        n_epochs = int(self.max_iter)
        with self._training(X, y, sample_weight, n_epochs, resume) as (model, callbacks, _):
            X, y = model._validate(X, y, reset=not resume)
            check_classification_targets(y)
            classes = np.unique(y)
            if resume:
                model._check_architecture()
                model._check_same_classes(classes)
                model._solver = None
            else:
                model._initialise(classes, dtype=X.dtype)
            y, s = model._encode(X, y, sample_weight)
            validation, s = model._set_apart(X, y, s, X_val, y_val)
            left = model.classes_[np.unique(y[s > 0])].tolist()
            if len(left) < 2:
                raise ValueError(
                    "ConvNetClassifier needs samples of at least two classes in y, but those with "
                    f"a positive weight all are of class {left[0]!r}."
                )
            curves = model._solve(X, y, s, validation, callbacks, n_epochs=n_epochs, tol=model.tol)
            vars(model).update(model._continued(curves))
            callbacks.fitted = dict  # the model has everything
        return self

    @available_unless(lambda self: self._reason_against_partial_fit())
    @_fit_context(prefer_skip_nested_validation=True)
    @quietly
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on some samples.

        The state of the solver carries over from call to call, so that with ``sampling=
        "sequential"`` m calls on the same data give what ``fit`` gives in m epochs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
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
        NotSupportedError
            An AttributeError and a ValueError, with ``early_stopping=True``,
            ``class_weight="balanced"``, ``solver="lbfgs"`` or ``learning_rate="adaptive"``, which
            need all samples or several epochs.
        """
        resume = hasattr(self, "classes_")
        with self._training(X, y, sample_weight, 1, resume) as (model, callbacks, effects):
            model._validate_params()  # _fit_context skips this once there is a model
            _check_partial_fit_first_call(model, classes)
            X, y = model._validate(X, y, reset=not resume)
            check_classification_targets(y)
            if resume:
                model._check_architecture()
            else:
                model._initialise(model.classes_, dtype=X.dtype)
            y, s = model._encode(X, y, sample_weight)
            curves = model._solve(
                X, y, s, None, callbacks, n_epochs=1, tol=None, start=model.n_iter_
            )
            callbacks.fitted = lambda: model._continued(curves)
            # In place, as copying the curves would slow down a long stream.
            effects += [partial(getattr(model, name).extend, curves[name]) for name in curves]
        return self

    @quietly
    def decision_function(self, X):
        """Return the logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        T : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, the logit of ``classes_[1]``.
        """
        T = self._logits(X)
        return T[:, 0] if T.shape[1] == 1 else T

    @quietly
    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return _layers.class_probabilities(self._logits(X))

    @quietly
    def predict_log_proba(self, X):
        """Return the logarithms of the probabilities, which do not underflow.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        log_P : ndarray of shape (n_samples, n_classes)
            Log-probabilities, in nats, in the order of ``classes_``.
        """
        return _layers.class_log_probabilities(self._logits(X))

    @quietly
    def predict(self, X):
        """Return the most probable classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels.
        """
        T = self._logits(X)
        return self.classes_[_layers.most_probable(T)]

    score = quietly(ClassifierMixin.score)

    @quietly
    def feature_maps(self, X):
        """Return what the filters see: their responses after ReLU.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images, in any layout with as many values as those of :meth:`fit`.

        Returns
        -------
        A : ndarray of shape (n_samples, H, W, n_filters)
            Responses, non-negative.
        """

        def feature_maps(X, map):
            return _network.feature_maps(self._params(), X, self._architecture)

        return self._apply(feature_maps, X)

    def __copy__(self):
        """Return a copy with curves of its own, as `partial_fit` extends them in place."""
        copied = shallow_copy(self)
        for name in CURVES:
            if hasattr(self, name):
                setattr(copied, name, [*getattr(self, name)])
        return copied

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = True
        return tags

    @contextmanager
    def _training(self, X, y, sample_weight, n_epochs, resume):
        """Wrap a training: tell callbacks, draw random numbers, and undo it all if it fails.

        Yields the model to train, which takes the place of this one in the end, its callbacks, and
        the list of what else is to happen then.
        """
        context = self._init_callback_context(max_subtasks=n_epochs)
        source = self._random_state if resume else check_random_state(self.random_state)
        with all_or_nothing(self) as (model, effects):
            callbacks = Callbacks(context, self, model, X, y, sample_weight)
            model._random_state = copy.deepcopy(source)
            yield model, callbacks, effects
            callbacks.end()
            if not isinstance(self.random_state, Integral):
                # Draws came from a copy: the user's own RandomState is advanced in the end.
                drawn = model._random_state.get_state(legacy=False)
                effects.append(partial(source.set_state, drawn))
                model._random_state = source

    def _validate(self, X, y="no_validation", *, reset):
        """Return X as rows of numbers, and y if there is one; with reset, learn what an image is.

        Rows are not converted and not copied: that is done a batch at a time.
        """
        X, shape = _images.flatten(X)
        if not reset and shape is not None:
            _images.check_shape(shape, self.image_shape_, self)
        with _images.named_overflow("X"):
            checked = validate_data(self, X, y, reset=reset, accept_sparse="csr")
        if reset:
            self.image_shape_ = _images.infer_shape(self.image_shape, shape, self.n_features_in_)
        return checked

    def _set_apart(self, X, y, s, X_val, y_val):
        """Return validation data, the user's or held out, or None; and weights without them."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together, or neither of them.")
        if X_val is not None:
            return self._validation_data(X_val, y_val), s
        if not self.early_stopping:
            return None, s
        rows = hold_out(X, y, s, self.validation_fraction, self._random_state)
        if len(rows) == 0:
            raise ValueError(
                "early_stopping=True holds out a part of each class, but no class has two samples "
                "that differ: pass X_val and y_val, or set early_stopping=False."
            )
        without = s.copy()
        without[rows] = 0
        return (X[rows], y[rows], s[rows]), without

    def _validation_data(self, X_val, y_val):
        """Return the user's validation data as images, indices of the classes, and weights."""
        try:
            X, y = self._validate(X_val, y_val, reset=False)
            check_classification_targets(y)
            return X, self._class_indices(y), np.ones(len(y))
        except (TypeError, ValueError) as error:
            raise ValueError(f"X_val, y_val: {error}") from error

    def _class_indices(self, y):
        """Return the indices of labels in ``classes_``."""
        unknown = {*np.unique(y).tolist()} - {*self.classes_.tolist()}
        if unknown:
            raise ValueError(
                f"y has labels {sorted(unknown)}, which are not in the classes "
                f"{self.classes_.tolist()} of the model."
            )
        return np.searchsorted(self.classes_, y)

    def _encode(self, X, y, sample_weight):
        """Return the indices of the classes, and the weights of the samples."""
        indices = self._class_indices(y)
        weights = check_sample_weight(sample_weight, X)
        weights /= weights.max()  # only their ratios matter, and now no sum of them overflows
        if isinstance(self.class_weight, str):  # "balanced"
            there = weights > 0
            classes = np.unique(indices[there])
            balance = compute_class_weight(
                "balanced", classes=classes, y=indices[there], sample_weight=weights[there]
            )
            weights[there] *= balance[np.searchsorted(classes, indices[there])]
        elif self.class_weight is not None:
            weights *= self._class_weights(y)[indices]
            if not weights.max() > 0:
                raise ValueError(
                    f"class_weight={self.class_weight} must leave samples with a weight that is "
                    "greater than 0."
                )
            weights /= weights.max()
        return indices, weights

    def _class_weights(self, y):
        """Return the weights of the classes that ``class_weight``, a dict, gives."""
        try:
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"class_weight={self.class_weight}: {error}.") from error
        if not (np.isfinite(weights).all() and weights.min() >= 0):
            raise ValueError(
                f"class_weight={self.class_weight} must be finite weights of at least 0."
            )
        return weights

    def _reason_against_partial_fit(self):
        """Return why an epoch on some samples is not possible with these parameters, or None."""
        reasons = {
            "early_stopping": (True, "which holds out a part of all samples"),
            "class_weight": ("balanced", "which needs the samples of all calls"),
            "solver": ("lbfgs", "which has no steps on a part of the samples"),
            "learning_rate": ("adaptive", "which compares the epochs of a training"),
        }
        for name, (value, reason) in reasons.items():
            given = getattr(self, name)
            if isinstance(given, (bool, np.bool_, str)) and given == value:
                return f"partial_fit cannot be used with {name}={value!r}, {reason}. Use fit."
        return None

    def _check_architecture(self):
        """Refuse parameters that ask for another network than the one to go on with."""
        asked = {"K": self.K, "n_filters": self.n_filters, "pool_size": self.pool_size}
        found = dict(zip(asked, self._architecture[3:6]))
        if self.image_shape is not None:
            asked["image_shape"] = _images.with_channels(self.image_shape)
            found["image_shape"] = _images.with_channels(self.image_shape_)
        for name, value in asked.items():
            if value != found[name]:
                raise ValueError(
                    f"{name}={value}, but the model to go on with has {name}={found[name]}: set it "
                    "back, or call fit with warm_start=False."
                )

    def _check_same_classes(self, classes):
        """Refuse other classes than those of the model to go on with."""
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"y has the classes {classes.tolist()}, but the model to go on with has "
                f"{self.classes_.tolist()}: pass samples of each class, call partial_fit, which "
                "takes some of them, or call fit with warm_start=False."
            )

    def _initialise(self, classes, dtype):
        """Draw the weights of a new model, for images of ``image_shape_``."""
        if len(classes) < 2:
            raise ValueError(
                "ConvNetClassifier needs at least two classes, but got "
                f"{'one class' if len(classes) else 'none'}: {classes.tolist()}."
            )
        n_outputs = 1 if len(classes) == 2 else len(classes)
        self._architecture = _parameters.Architecture(
            *_images.with_channels(self.image_shape_),
            *(int(self.K), int(self.n_filters), int(self.pool_size), n_outputs),
        )
        if self._architecture.n_weights > LARGEST_NETWORK:
            raise ValueError(
                f"K={self.K}, n_filters={self.n_filters} and pool_size={self.pool_size} make a "
                f"network of more than {LARGEST_NETWORK} weights for images of shape "
                f"{self.image_shape_} and {len(classes)} classes: choose smaller or fewer filters, "
                "or larger pooling windows."
            )
        self.classes_ = classes
        self._solver = None
        dtype = np.float32 if dtype.newbyteorder("=") == np.float32 else np.float64
        params = _parameters.init_params(self._architecture, self._random_state, dtype)
        for name in CURVES:
            vars(self).pop(name, None)
        self.n_iter_ = self.t_ = 0
        self.loss_ = self.best_loss_ = np.nan
        curves = {"loss_curve_": [], "accuracy_curve_": []}
        vars(self).update(self._fitted(params, curves), **curves)
        self.initial_filters_ = self.filters_.copy()

    def _fitted(self, params, curves):
        """Return the weights, in the layout of the attributes, and figures after more epochs."""
        K, channels = self._architecture.K, self.image_shape_[2:]
        losses = curves["loss_curve_"]
        return {
            "filters_": params.W.reshape(-1, K, K, *channels),
            "filter_intercept_": params.b,
            "coef_": _parameters.coef_from_dense(params.V, self._architecture),
            "intercept_": params.c,
            "n_iter_": self.n_iter_ + len(losses),
            "loss_": losses[-1] if losses else self.loss_,
            "best_loss_": float(np.fmin.reduce([self.best_loss_, *losses])),
        }

    def _continued(self, curves):
        """Return the curves with some more epochs."""
        return {name: [*getattr(self, name, ()), *curve] for name, curve in curves.items()}

    def _params(self):
        """Return the weights, in the layout of the network."""
        return _parameters.Params(
            b=self.filter_intercept_,
            W=self.filters_.reshape(self._architecture.shapes.W),
            V=_parameters.dense_from_coef(self.coef_, self._architecture),
            c=self.intercept_,
        )

    def _logits(self, X):
        """Return the logits of X, of shape (n, n_outputs)."""

        def logits(X, map):
            buffers = _network.Buffers(self._architecture, self.coef_.dtype, map)
            _, params = buffers.laid_out(self._params())
            return _network.logits(params, X, buffers)

        return self._apply(logits, X)

    def _apply(self, function, X):
        """Return what a function of images and threads gives for X."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        with threads() as map:
            result = function(X, map)
        if not np.isfinite(result).all():
            raise ValueError(
                f"X has values too large for a network of {self.coef_.dtype}: scale the images as "
                "those of fit were."
            )
        return result

    def _solve(self, X, y, s, validation, callbacks, *, n_epochs, tol, start=0):
        """Train for some epochs, or until the loss improves by less than tol; return the curves.

        ``start`` is the epoch in the schedule of the learning rate.
        """
        samples = np.flatnonzero(s)  # one of weight 0 is left out
        with threads() as map:
            objective = _network.Objective(
                self._params(),
                X,
                y,
                s / s[samples].mean(),
                architecture=self._architecture,
                alpha=float(self.alpha),
                fit_intercept=self.fit_intercept,
                freeze=self.freeze,
                map=map,
            )
            monitor = Monitor(
                objective,
                y,
                s,
                validation=validation,
                plateau=_solvers.Plateau(tol, self.n_iter_no_change),
                watch_validation=self.early_stopping,
                eta=self.eta,
                alpha=self.alpha,
                verbose=self.verbose and n_epochs,
            )
            callbacks.fitted = lambda: {
                **self._fitted(objective.params, monitor.curves),
                **self._continued(monitor.curves),
            }
            if self.solver == "lbfgs":
                converged = self._descend_on_all(objective, monitor, callbacks, n_epochs, tol)
            else:
                epochs = range(start, start + n_epochs)
                converged = self._descend_on_batches(objective, monitor, callbacks, samples, epochs)
            monitor.finish()
        if not converged and tol is not None and n_epochs > 0:
            warnings.warn(
                f"The training reached max_iter={n_epochs} epochs before the loss settled. Raise "
                "max_iter or tol, or set tol=None to run for exactly max_iter epochs.",
                ConvergenceWarning,
            )
        vars(self).update(self._fitted(objective.params, monitor.curves))
        self.t_ += len(samples) * monitor.n_epochs
        return monitor.curves

    def _descend_on_all(self, objective, monitor, callbacks, n_epochs, tol):
        """Iterate L-BFGS, and return whether it ended for another reason than n_epochs."""

        def loss_and_gradient(theta):
            callbacks.begin_epoch()
            return objective.loss_and_gradient(theta)

        def after_iteration():
            stands_still = monitor.after_epoch(slice(None))
            return callbacks.end_epoch() or stands_still

        if n_epochs == 0:
            return False
        if not np.isfinite(objective.loss_and_gradient(objective.theta)[0]):
            monitor.diverged()
        return _solvers.lbfgs(objective.theta, loss_and_gradient, n_epochs, tol, after_iteration)

    def _descend_on_batches(self, objective, monitor, callbacks, samples, epochs):
        """Run epochs of a stochastic solver, and return whether it ended before they did."""
        solver = self._stochastic_solver(objective)
        batch_size = 200 if self.batch_size == "auto" else int(self.batch_size)
        batch_size = min(batch_size, len(samples))
        period = max(1, int(self.max_iter))
        rate = _solvers.LearningRate(self.learning_rate, float(self.eta), period)
        stop = False
        for epoch in epochs:
            callbacks.begin_epoch()
            order = samples[_solvers.draw_order(len(samples), self.sampling, self._random_state)]
            eta = rate.at(epoch)
            if objective.has_compiled_epochs(batch_size):
                objective.run_epoch(solver, order, batch_size, eta)
            else:
                gradients = objective.gradients(order, batch_size)
                _solvers.run_epoch(solver, objective.theta, gradients, eta)
            stands_still = monitor.after_epoch(order, solver.overflowed())
            stop = callbacks.end_epoch() or (stands_still and not rate.lower())
            if stop:
                break
        solver.memory = solver.memory[:, objective.places]  # whatever the layout of theta
        self._solver = self._solver_settings, solver
        return stop

    def _stochastic_solver(self, objective):
        """Return a new solver, with the memory of the last call's if it may go on."""
        theta = objective.theta
        sgd = self.solver == "sgd"
        solver = _solvers.SGD(theta, float(self.momentum)) if sgd else _solvers.Adam(theta)
        if self._solver is not None:
            settings, last = self._solver
            if settings == self._solver_settings:
                solver.t = last.t
                solver.memory[:, objective.places] = last.memory
        return solver

    @property
    def _solver_settings(self):
        """What a stochastic solver's memory depends on."""
        momentum = self.momentum if self.solver == "sgd" else None
        return self.solver, momentum, self.freeze, self.fit_intercept
