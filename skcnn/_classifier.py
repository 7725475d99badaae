"""ConvNetClassifier: labels, class weights and probabilities."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    is_multilabel,
)

from ._base import BaseConvNet
from ._estimator import shapes
from ._estimator.arguments import RealInterval, short_repr
from ._estimator.availability import available_unless
from ._estimator.failure import ignore_fp_errors, validated_call
from ._estimator.weights import scaled_to_mean_1
from ._nn.losses import LabelLogLoss, LogLoss
from ._typing import Array, Augments, ImageShape, MaybeSparse, Poolings, PoolSizes, Sizes


class ConvNetClassifier(ClassifierMixin, BaseConvNet):
    r"""Convolutional network: convolution layers with pooling, then dense layers.

    The network minimises the log-loss with an L2 penalty by gradient descent. Images should be
    standardised first, by :class:`ImageScaler` for example; they may come flat, one row of values
    an image, or as they are. By default there is one convolution layer with one filter, and one
    dense layer, the output.

    Parameters
    ----------
    K : int, or sequence of int, default=3
        Side of the filters, in pixels: one value for all convolution layers, or one for each. A
        filter may be larger than the image. Filters of images of one row, such as signals, have
        one row; those of images of one column have one column.

    n_filters : int, or sequence of int, default=1
        Number of filters: an int for one convolution layer, or a number for each of several, as in
        ``(32, 64)``.

    pool_size : int or "global", or sequence of these, default=1
        Side of the pooling windows, in pixels: one value for all convolution layers, or one
        for each. 1: no pooling; "global": one window, the whole image. Pixels at the right and
        lower edges that do not fill a window are dropped. Where a window would be higher or wider
        than the image, it is at most H // 2 pixels high and W // 2 wide, and at least one: a
        signal is pooled along its length.

    pooling : {"max", "average"}, or sequence of these, default="max"
        What is taken of the pixels of a window, after ReLU: the maximum, or the mean.

    hidden_layer_sizes : int, or sequence of int, default=()
        Number of units of each dense layer between the last convolution layer and the output.

    dropout : float, default=0.0
        Fraction of the inputs of each dense layer that is set to 0 in a training step, at least 0
        and less than 1 [4]_. Not for solver "lbfgs".

    label_smoothing : float, default=0.0
        Part of each target that is spread evenly over all classes, at least 0 and less than 1: of
        four classes and with 0.1, the targets are 0.925 and 0.025 three times [6]_. Several labels
        for each sample are spread over their two values each. Losses are reported
        without it; that by which ``tol`` stops a training has it, unless ``early_stopping`` watches
        held-out samples.

    augment : callable, or tuple or list of callables, or None, default=None
        Changes the images of each batch in training: ``augment(images, random_state)`` takes an
        array (n, H, W, C) and returns another one of the same shape, with random draws from a
        :class:`~numpy.random.RandomState`. Several are applied one after the other. See
        :mod:`skcnn.augmentation`.

    fit_intercept : bool, default=True
        Whether the intercepts of filters and dense layers are learnt; if not, they are 0.

    freeze : {"filters", "dense"} or None, default=None
        The layers that keep their initial values, intercepts included, and are not learnt: all
        convolution layers, or all dense layers.

    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        "adam" scales the steps by running moments of the gradient [2]_; "sgd" is stochastic
        gradient descent, plain or with ``momentum``; "lbfgs" is SciPy's L-BFGS-B, which uses all
        data at every step and suits small sets. For the last, an epoch is an iteration, and
        ``eta``, ``learning_rate``, ``momentum``, ``batch_size`` and ``sampling`` are ignored.

    eta : float, default=0.001
        Learning rate: the length of a step on the mean gradient of a batch.

    learning_rate : {"constant", "adaptive", "cosine"}, default="constant"
        Schedule of the learning rate over the epochs. "constant" is ``eta``; "adaptive" divides it
        by 5 whenever training would stop by ``tol`` and ``n_iter_no_change``, so that it needs a
        ``tol``, and stops for good below 1e-6; "cosine" takes it from ``eta`` towards 0 in
        ``max_iter`` epochs, each call of :meth:`partial_fit` being one, along half a cosine, and
        then starts again [3]_.

    momentum : float, default=0.0
        Momentum coefficient of solver "sgd", at least 0 and less than 1.

    alpha : float, default=1e-4
        Strength of the L2 penalty on filters and dense weights; intercepts have none.

    batch_size : int or "auto", default="auto"
        Number of samples in a step; "auto" is a sixteenth of the samples, but at least 32 and at
        most 200, where there are so many.

    sampling : {"shuffle", "replacement", "sequential"}, default="shuffle"
        How an epoch visits the n samples: each once in a new random order, n random draws with
        replacement, or each once in the order they have.

    max_iter : int, default=200
        Greatest number of epochs. With 0 the network is left with its initial values.

    tol : float or None, default=1e-4
        Training stops when the loss has not improved by ``tol`` for ``n_iter_no_change`` epochs in
        a row; with "lbfgs" also when no component of the gradient is greater than it. None: it
        runs for exactly ``max_iter`` epochs; "lbfgs" stops earlier if the loss cannot decrease.

    n_iter_no_change : int or inf, default=10
        Number of epochs without improvement after which training stops.

    early_stopping : bool, default=False
        Whether the loss that is watched is that of held-out samples instead of the training loss:
        ``X_val``, ``y_val`` if :meth:`fit` is given them, else a part of the training samples.
        The weights of the epoch where it was smallest are kept.

    validation_fraction : float, default=0.1
        Fraction of each class, or of all images with several labels, that is held out for
        ``early_stopping``. Copies of an image with one label are all held out or none of them, and
        a warm start holds out the same.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, ``{label: weight}``, by which those of their samples are
        multiplied, 1 for classes that it does not name; "balanced" makes all classes weigh the
        same. In :meth:`partial_fit` the weights of a dict are scaled to a mean of 1 over the
        classes, whichever of them a call has.

    warm_start : bool, default=False
        If True, :meth:`fit` starts from the weights it finds, goes on with the random draws and
        appends to the curves; the solver and the schedule start afresh. The count of epochs without
        improvement goes on, and with ``early_stopping`` the weights that it finds are kept if no
        epoch has a smaller loss on the validation data.

    image_shape : tuple or list (H, W) or (H, W, C), or None, default=None
        Shape of the images. None: it is taken from ``X`` when that is three- or four-dimensional,
        else it is square if ``n_features`` is a square number, else (1, n_features), a signal. With
        (1, L, C), ``X`` of shape (n_samples, L, C) is read as signals of C channels.

    random_state : int, RandomState instance or None, default=None
        Source of the initial values, the samples held out, the order of the samples, dropout and
        augmentation. Pass an int for the same weights every time.

    verbose : bool, default=False
        Print a line for each epoch: loss and accuracy, then those of the validation data.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels,)
        Class labels; with several labels for each sample, their columns in y.

    n_features_in_ : int
        Number of values of an image, H * W * C.

    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where ``X`` had names that are all strings.

    image_shape_ : tuple
        Shape of an image, (H, W) or (H, W, C).

    filters_ : ndarray of shape (n_filters, K, K) or (n_filters, K, K, C), or list of ndarrays
        Filters W; without the last axis where ``image_shape_`` has two sides. Where ``n_filters``
        is a sequence: a list with an array for each layer, those after the first of shape
        (F, K, K, number of filters of the layer before). For images of one row or one column, K is
        1 on that axis.

    filter_intercept_ : ndarray of shape (n_filters,), or list of ndarrays
        Filter intercepts b; 0 with ``fit_intercept=False``. A list where ``filters_`` is one.

    initial_filters_ : ndarray or list of ndarrays, as ``filters_``
        The filters as they were drawn, before training.

    coefs_ : list of ndarrays of shape (n_in, n_out)
        Weights V' of each dense layer, the hidden ones first and the output last. Inputs of the
        first run over (row, column, filter). The last has one output for two classes, else
        ``n_classes`` or ``n_labels``.

    intercepts_ : list of ndarrays of shape (n_out,)
        Intercepts c of each dense layer; 0 with ``fit_intercept=False``.

    n_iter_ : int
        Number of epochs run, in all calls of a warm start or of :meth:`partial_fit`.

    t_ : int
        Number of samples visited, in all epochs.

    loss_ : float
        Log-loss of the last epoch, in nats: the last value of ``loss_curve_``; nan before the
        first.

    best_loss_ : float
        Smallest value of ``loss_curve_``; nan before the first epoch.

    loss_curve_ : list of float, of length ``n_iter_``
        Log-loss, in nats, without the penalty: the mean over an epoch, weighted by the weights of
        samples and classes, each sample as it is visited, before its update. With solver "lbfgs"
        it is that after each iteration.

    accuracy_curve_ : list of float, of length ``n_iter_``
        Accuracy, likewise.

    validation_loss_curve_, validation_accuracy_curve_ : list of float
        Log-loss and accuracy on ``X_val``, ``y_val``, all of whose samples weigh the same, or on
        what was held out, with its weights, after each epoch that had any of these.

    See Also
    --------
    ImageScaler : Standardises images pixel by pixel, or channel by channel.
    sklearn.neural_network.MLPClassifier : Network of dense layers only, with the same ``coefs_``
        and ``intercepts_``.

    Notes
    -----
    A convolution layer multiplies its filters W with the values below each pixel, adds their
    intercepts b, and applies ReLU and pooling. A dense layer multiplies its inputs with weights V
    and adds intercepts c; ReLU follows in hidden layers. All equations, forward and backward, are
    in the user guide, beside the code: :doc:`/guide/mathematics`. The outputs T of the last layer
    give the probabilities P and the loss L, which is minimised:

    .. math::
        P &= \mathrm{sigmoid}(T) \text{ for two classes, } \mathrm{softmax}(T) \text{ for more} \\
        L &= -\frac{\sum_n s_n \log P_{n, y_n}}{\sum_n s_n} + \frac{\alpha}{2} \sum (|W|^2 + |V|^2)

    The last sum is over all layers. Of several labels for each sample, each has
    :math:`P = \mathrm{sigmoid}(T)`, and their losses are added. With ``label_smoothing=q``, the
    loss of a sample is 1 - q of its :math:`-\log P_{n, y_n}`, plus q of the mean of
    :math:`-\log P_{nk}` over the classes k, or over both values of a label. Images are padded with
    zeros, so for one channel the response of a filter w to an image x is
    ``scipy.signal.convolve(x, w[::-1, ::-1], mode="same")``. With ``dropout=q``,
    each input of each dense layer is set to 0 with probability q in a training step, and divided by
    1 - q otherwise; predictions, and figures on validation data, use all inputs as they are.

    Initial values are drawn from normal distributions of mean 0, W layer by layer, then V. For
    fan_in inputs of a filter or unit, the standard deviation is 2/sqrt(fan_in) for the first W,
    sqrt(2/fan_in) for the W after it and the V of hidden layers [5]_, and 1/sqrt(fan_in) for the
    last V. Intercepts start at 0.

    Sample weights, times those of the classes, are scaled to mean 1, so that a step on one sample
    has its weight and a full batch is the weighted mean. In a stream, where a call may have samples
    of one class only, sample weights are scaled first, and then multiplied by those of the classes.
    Samples of weight 0 are not visited.

    Where numba is installed, by the extra "fast", the network is computed in compiled loops, which
    give the same weights to rounding; the environment variable ``SKCNN_FAST=0`` turns them off.
    Large batches are computed by as many threads as BLAS may use; the weights do not depend on the
    number of threads.

    The arithmetic is done in float32 where X is float32 in the first call, else in float64. Losses
    are reported as :func:`sklearn.metrics.log_loss` does, with probabilities clipped at the machine
    epsilon; gradients are never clipped.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
       document recognition", Proceedings of the IEEE 86 (1998).
    .. [2] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    .. [3] I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
       ICLR 2017.
    .. [4] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout: a
       simple way to prevent neural networks from overfitting", Journal of Machine Learning
       Research 15 (2014).
    .. [5] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing human-level
       performance on ImageNet classification", ICCV 2015.
    .. [6] C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception
       architecture for computer vision", CVPR 2016.

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

    classes_: Array
    accuracy_curve_: list[float]
    validation_accuracy_curve_: list[float]

    _parameter_constraints: dict = {
        **BaseConvNet._parameter_constraints,
        "label_smoothing": [RealInterval(0, 1, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        *,
        K: Sizes = 3,
        n_filters: Sizes = 1,
        pool_size: PoolSizes = 1,
        pooling: Poolings = "max",
        hidden_layer_sizes: Sizes = (),
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        augment: Augments | None = None,
        fit_intercept: bool = True,
        freeze: Literal["filters", "dense"] | None = None,
        solver: Literal["adam", "sgd", "lbfgs"] = "adam",
        eta: float = 0.001,
        learning_rate: Literal["constant", "adaptive", "cosine"] = "constant",
        momentum: float = 0.0,
        alpha: float = 1e-4,
        batch_size: int | Literal["auto"] = "auto",
        sampling: Literal["shuffle", "replacement", "sequential"] = "shuffle",
        max_iter: int = 200,
        tol: float | None = 1e-4,
        n_iter_no_change: float = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        warm_start: bool = False,
        image_shape: ImageShape | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.K = K
        self.n_filters = n_filters
        self.pool_size = pool_size
        self.pooling = pooling
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.augment = augment
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

    @validated_call
    def fit(
        self,
        X: MaybeSparse,
        y: MaybeSparse,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: MaybeSparse | None = None,
        y_val: MaybeSparse | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Training images; standardised values do best.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, of at least two classes; or several labels for each sample, 1 where it has
            a label and 0 where not.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None: equal weights.

        X_val, y_val : array-like, default=None
            Images and labels on which loss and accuracy are measured after every epoch. No gradient
            is taken on them; with ``early_stopping`` they decide when to stop and which weights are
            kept. In a pipeline they must be scaled as ``X`` is: see the user guide.

        Returns
        -------
        self : ConvNetClassifier
            Fitted classifier.

        Raises
        ------
        ValueError
            If a parameter has no meaning (``K`` with another number of entries than ``n_filters``,
            or ``dropout`` with solver "lbfgs"), if the data are not what a classifier can learn
            from, if parameters ask for another network than the one a warm start goes on with, or
            if training diverges. The classifier is then what it was before the call.

        Warns
        -----
        ConvergenceWarning
            If training reached ``max_iter`` epochs before it settled; if "lbfgs" found no step that
            lowers the loss before the gradient was as small as ``tol``; or if no gradient of "adam"
            or "sgd" has reached any filter of a layer, as no sample had a response above 0.
        """
        return self._train(X, y, sample_weight, X_val, y_val)

    @available_unless(lambda self: self._reason_against_partial_fit())
    @validated_call
    def partial_fit(
        self,
        X: MaybeSparse,
        y: MaybeSparse,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on some samples.

        The state of the solver and of the random draws carries over from call to call, so that m
        calls on the same data give what ``fit`` gives in m epochs; with a ``class_weight`` the
        steps may be longer or shorter, since the scale of the weights is that of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Training images.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or several labels for each sample.

        classes : array-like of shape (n_classes,), default=None
            All classes of this and all later calls. Required at the first call, optional later and
            with several labels for each sample.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, relative to each other within this call. If all are 0, nothing
            is learnt.

        Returns
        -------
        self : ConvNetClassifier
            Fitted classifier.

        Raises
        ------
        ValueError
            As :meth:`fit`, if ``y`` has labels that are not in ``classes``, and if parameters ask
            for another network than that of the calls before.
        NotSupportedError
            An AttributeError and a ValueError, with ``early_stopping=True``,
            ``class_weight="balanced"``, ``solver="lbfgs"`` or ``learning_rate="adaptive"``, which
            need all samples or several epochs.
        """
        return self._train(X, y, sample_weight, incremental=True, classes=classes)

    @ignore_fp_errors
    def decision_function(self, X: MaybeSparse) -> Array:
        """Return the logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        Returns
        -------
        T : ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            For two classes, the logit of ``classes_[1]``.
        """
        T = self._outputs(X)
        return T[:, 0] if T.shape[1] == 1 else T

    @ignore_fp_errors
    def predict_proba(self, X: MaybeSparse) -> Array:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities, in the order of ``classes_``; of several labels, that of each.
        """
        T = self._outputs(X)
        return self._loss.probabilities(T)

    @ignore_fp_errors
    def predict_log_proba(self, X: MaybeSparse) -> Array:
        """Return the logarithms of the probabilities, which do not underflow.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        Returns
        -------
        log_P : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Log-probabilities, in nats, in the order of ``classes_``.
        """
        T = self._outputs(X)
        return self._loss.consistent_log_probabilities(T)

    @ignore_fp_errors
    def predict(self, X: MaybeSparse) -> Array:
        """Return the most probable classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Class labels; or 1 for each label that is more probable than not, else 0.
        """
        T = self._outputs(X)  # first: it checks that the classifier is fitted
        y = self._loss.most_probable(T)
        return self.classes_[y] if y.ndim == 1 else y

    score = ignore_fp_errors(ClassifierMixin.score)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # scikit-learn's checks ask for an accuracy of 0.83 on samples of two features. One filter
        # covers both of them, and which classes it can separate depends on its initial signs.
        has_one_filter = isinstance(self.n_filters, Integral) and self.n_filters == 1
        tags.classifier_tags.poor_score = has_one_filter
        tags.classifier_tags.multi_label = True
        return tags

    def _options_of_targets(self, y: Any) -> dict[str, bool]:
        """Return how to validate y."""
        return {"multi_output": is_multilabel(y)}

    def _set_targets(
        self, y: Any, resume: bool, incremental: bool, classes: ArrayLike | None = None
    ) -> None:
        """Store the classes, or compare them with those of the model to go on with."""
        several = is_multilabel(y)
        if resume:
            self._check_kind(several)
        self._has_labels = several
        if several:
            self._set_labels(y.shape[1], resume, classes)
            return
        if incremental:
            shapes.check_kind(classes, "classes")
            with ordered("classes"):
                _check_partial_fit_first_call(self, classes)
        else:
            with ordered("y"):
                check_classification_targets(y)
                classes = np.unique(y)
            if resume and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"y has the classes {short_repr(classes.tolist())}, but the model to go on "
                    f"with has {short_repr(self.classes_.tolist())}: pass samples of each class, "
                    "call partial_fit, which takes some of them, or call fit with "
                    "warm_start=False."
                )
            self.classes_ = classes
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                "ConvNetClassifier needs at least two classes, but got "
                f"{'one class' if n_classes else 'none'}: {self.classes_.tolist()}."
            )

    @property
    def _loss(self) -> LogLoss:
        n = len(self.classes_)
        return LabelLogLoss(n) if self._has_labels else LogLoss(1 if n == 2 else n)

    @property
    def _training_loss(self) -> LogLoss:
        loss = self._loss
        return type(loss)(loss.n_outputs, float(self.label_smoothing))

    def _check_kind(self, several: bool) -> None:
        """Refuse several labels for each sample where the model has classes, and vice versa."""
        kinds = ("one class", "several labels")
        if several is not self._has_labels:
            raise ValueError(
                f"y has {kinds[several]} for each sample, but the model has "
                f"{kinds[self._has_labels]}: pass such a y, or call fit with warm_start=False."
            )

    def _set_labels(self, n_labels: int, resume: bool, classes: ArrayLike | None) -> None:
        """Store the columns of the labels, or compare them with those of the model."""
        labels = np.arange(n_labels)
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r} cannot be used with several labels for each "
                "sample, which are not of one class: set class_weight=None, or pass sample_weight."
            )
        if classes is not None and not np.array_equal(classes, labels):
            raise ValueError(
                f"classes={classes!r}, but y has {n_labels} columns, one for each label: leave "
                "classes=None."
            )
        if resume and n_labels != len(self.classes_):
            raise ValueError(
                f"y has {n_labels} labels, but the model to go on with has {len(self.classes_)}: "
                "pass as many, or call fit with warm_start=False."
            )
        self.classes_ = labels

    def _encode(self, y: Any) -> Array:
        """Return the indices of labels in ``classes_``; of several labels, 0 or 1 for each."""
        self._check_kind(is_multilabel(y))
        if self._has_labels:
            y = y.toarray() if hasattr(y, "toarray") else y
            if not np.isin(y, (0, 1)).all() or y.shape[1] != len(self.classes_):
                raise ValueError(
                    f"y must be 0 or 1 for each of {len(self.classes_)} labels, but has the shape "
                    f"{y.shape} and the values {np.unique(y)[:5].tolist()}."
                )
            return y.astype(np.intp)
        with ordered("y"):
            unknown = sorted({*np.unique(y).tolist()} - {*self.classes_.tolist()})
        if unknown:
            raise ValueError(
                f"y has labels {short_repr(unknown)}, which are not in the classes "
                f"{short_repr(self.classes_.tolist())} of the model."
            )
        return np.searchsorted(self.classes_, y)

    def _weigh(self, y: Array, s: Array, incremental: bool) -> Array:
        """Return the weights s of samples, multiplied by those of their classes."""
        if y.ndim == 2:  # several labels
            return s
        rows = s > 0
        if isinstance(self.class_weight, str):  # "balanced"
            classes, indices = np.unique(y[rows], return_inverse=True)
            balance = compute_class_weight(
                "balanced", classes=classes, y=y[rows], sample_weight=s[rows]
            )
            s[rows] *= balance[indices]
        elif self.class_weight is not None:
            class_weights = self._class_weights()
            s *= class_weights[y]
            if not (s.any() or (incremental and class_weights.any())):
                raise ValueError(
                    f"class_weight={self.class_weight} must leave samples with a weight that is "
                    "greater than 0."
                )
        remaining = self.classes_[np.unique(y[s > 0])].tolist()
        if len(remaining) < 2 and not incremental:
            raise ValueError(
                "ConvNetClassifier needs samples of at least two classes in y, but those with a "
                f"positive weight all are of class {remaining[0]!r}."
            )
        return s

    def _class_weights(self) -> Array:
        """Return the weights of the classes according to ``class_weight``, a dict.

        Their mean over the classes is 1, whatever samples a call has: in a stream they may all be
        of one class.
        """
        class_weight = cast(dict[Any, float], self.class_weight)
        classes, given = {*self.classes_.tolist()}, class_weight.keys()
        if classes - given and given - classes:
            raise ValueError(
                f"class_weight={short_repr(self.class_weight)} has {short_repr([*given - classes])}"
                f", which are not in the classes {short_repr(self.classes_.tolist())}."
            )
        try:
            weights = compute_class_weight(
                self.class_weight, classes=self.classes_, y=self.classes_
            )
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"class_weight={self.class_weight}: {error}.") from error
        if not (np.isfinite(weights).all() and weights.min() >= 0):
            raise ValueError(
                f"class_weight={self.class_weight} must be finite weights of at least 0."
            )
        return scaled_to_mean_1(weights / (weights.max() or 1))  # so that no sum overflows


@contextmanager
def ordered(name: str) -> Iterator[None]:
    """Raise the errors of labels that cannot be sorted with the name of the argument."""
    try:
        yield
    except TypeError as error:
        if "represented as bytes" in str(error):  # scikit-learn says what to do
            raise
        raise ValueError(
            f"{name} has labels that cannot be sorted, {error}: make them all of one type."
        ) from error
