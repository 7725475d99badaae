"""ConvNetRegressor: numbers from images."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import RegressorMixin

from ._base import BaseConvNet
from ._estimator import shapes
from ._estimator.availability import available_unless
from ._estimator.failure import ignore_fp_errors, validated_call
from ._nn.losses import SquaredError
from ._typing import Array, Augments, ImageShape, MaybeSparse, Poolings, PoolSizes, Sizes


class ConvNetRegressor(RegressorMixin, BaseConvNet):
    r"""Convolutional network that predicts numbers.

    It has the layers of :class:`ConvNetClassifier`, and minimises the squared error with an L2
    penalty by gradient descent. Images should be standardised first, by :class:`ImageScaler` for
    example, and targets that are far from 1 in size scaled, by
    :class:`~sklearn.compose.TransformedTargetRegressor` for example.

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
        and less than 1 [3]_. Not for solver "lbfgs".

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
        "adam" scales the steps by running moments of the gradient [1]_; "sgd" is stochastic
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
        then starts again [2]_.

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
        Fraction of the samples that is held out for ``early_stopping``. Copies of an image are all
        held out or none of them, and a warm start holds out the same.

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
        Print a line for each epoch: the loss, then that of the validation data.

    Attributes
    ----------
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
        first run over (row, column, filter). The last has an output for each target.

    intercepts_ : list of ndarrays of shape (n_out,)
        Intercepts c of each dense layer; 0 with ``fit_intercept=False``.

    n_iter_ : int
        Number of epochs run, in all calls of a warm start or of :meth:`partial_fit`.

    t_ : int
        Number of samples visited, in all epochs.

    loss_ : float
        Loss of the last epoch, half the squared error: the last value of ``loss_curve_``; nan
        before the first.

    best_loss_ : float
        Smallest value of ``loss_curve_``; nan before the first epoch.

    loss_curve_ : list of float, of length ``n_iter_``
        Half the squared error, without the penalty: the mean over an epoch, weighted by the weights
        of samples, and over the targets, each sample as it is visited, before its update. With
        solver "lbfgs" it is that after each iteration. In the square of the units of y.

    validation_loss_curve_ : list of float
        The loss on ``X_val``, ``y_val``, all of whose samples weigh the same, or on what was held
        out, with its weights, after each epoch that had any of these.

    See Also
    --------
    ConvNetClassifier : The same network for classes and labels; the equations are there.
    sklearn.neural_network.MLPRegressor : Network of dense layers only, with the same ``coefs_`` and
        ``intercepts_``.

    Notes
    -----
    The predictions are the outputs T of the last dense layer, and the loss is

    .. math::
        L = \frac{\sum_n s_n \sum_k (T_{nk} - y_{nk})^2}{2\, n_\mathrm{targets} \sum_n s_n}
            + \frac{\alpha}{2} \sum (|W|^2 + |V|^2)

    with weights s of the samples. The intercepts of the outputs start at the weighted means of the
    targets that are trained on: those of the first call, with :meth:`partial_fit`. These means are
    subtracted from the targets in training, so that large ones cost no precision. All else is as
    in :class:`ConvNetClassifier`.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    .. [2] I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
       ICLR 2017.
    .. [3] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout: a
       simple way to prevent neural networks from overfitting", Journal of Machine Learning
       Research 15 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import ConvNetRegressor
    >>> rng = np.random.RandomState(0)
    >>> signals = rng.randn(300, 40)
    >>> peaks = signals.max(axis=1)
    >>> model = ConvNetRegressor(
    ...     K=1, n_filters=4, pool_size="global", image_shape=(1, 40), eta=0.02, random_state=0
    ... )
    >>> model.fit(signals, peaks).score(signals, peaks) > 0.99
    True
    """

    def __init__(
        self,
        *,
        K: Sizes = 3,
        n_filters: Sizes = 1,
        pool_size: PoolSizes = 1,
        pooling: Poolings = "max",
        hidden_layer_sizes: Sizes = (),
        dropout: float = 0.0,
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
        self.warm_start = warm_start
        self.image_shape = image_shape
        self.random_state = random_state
        self.verbose = verbose

    @validated_call
    def fit(
        self,
        X: MaybeSparse,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: MaybeSparse | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Training images; standardised values do best.

        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None: equal weights.

        X_val, y_val : array-like, default=None
            Images and targets on which the loss is measured after every epoch. No gradient is taken
            on them; with ``early_stopping`` they decide when to stop and which weights are kept. In
            a pipeline ``X_val`` must be scaled as ``X`` is, and in a TransformedTargetRegressor
            ``y_val`` as ``y`` is: see the user guide.

        Returns
        -------
        self : ConvNetRegressor
            Fitted regressor.

        Raises
        ------
        ValueError
            If a parameter has no meaning (``K`` with another number of entries than ``n_filters``,
            or ``dropout`` with solver "lbfgs"), if the data are not what a regressor can learn
            from, if parameters ask for another network than the one a warm start goes on with, or
            if training diverges. The regressor is then what it was before the call.

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
        self, X: MaybeSparse, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on some samples.

        The state of the solver and of the random draws carries over from call to call, so that m
        calls on the same data give what ``fit`` gives in m epochs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Training images.

        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, relative to each other within this call. If all are 0, nothing
            is learnt.

        Returns
        -------
        self : ConvNetRegressor
            Fitted regressor.

        Raises
        ------
        ValueError
            As :meth:`fit`, and if parameters ask for another network than that of the calls before.
        NotSupportedError
            An AttributeError and a ValueError, with ``early_stopping=True``, ``solver="lbfgs"`` or
            ``learning_rate="adaptive"``, which need all samples or several epochs.
        """
        return self._train(X, y, sample_weight, incremental=True)

    @ignore_fp_errors
    def predict(self, X: MaybeSparse) -> Array:
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, of the shape of the targets of :meth:`fit`.
        """
        T = self._outputs(X)
        return T.reshape(len(T), *self._target_shape)

    @ignore_fp_errors
    def score(self, X: MaybeSparse, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the coefficient of determination, R2, of the predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse array of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            True targets.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            As :func:`sklearn.metrics.r2_score` has it: 1 for exact predictions.
        """
        with shapes.named_errors("y or sample_weight"):
            return super().score(X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        # scikit-learn's checks ask for an R2 of 0.5 after five epochs on 200 samples: some thirty
        # steps of a stochastic solver, in which Adam moves a weight by no more than 30 eta.
        tags.regressor_tags.poor_score = self.solver != "lbfgs"
        return tags

    def _options_of_targets(self, y: Any) -> dict[str, bool]:
        """Return how to validate y."""
        if issparse(y):
            raise TypeError("y must be a dense array, not a sparse one: pass y.toarray().")
        return {"multi_output": True, "y_numeric": True}

    def _set_targets(self, y: Array, resume: bool, incremental: bool) -> None:
        """Store the shape of the targets of a sample; `_encode` compares it with a later one."""
        if not resume:
            self._target_shape = y.shape[1:]

    @property
    def _loss(self) -> SquaredError:
        return SquaredError(int(np.prod(self._target_shape)))

    def _encode(self, y: Array) -> Array:
        """Return the targets as a matrix."""
        if y.shape[1:] != self._target_shape:
            raise ValueError(
                f"y has targets of shape {y.shape[1:]} for a sample, but those of the model have "
                f"{self._target_shape}: pass such a y, or call fit with warm_start=False."
            )
        try:
            targets = y.reshape(len(y), -1).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"y has targets that are not numbers: {error}.") from error
        if not np.isfinite(targets).all():  # scikit-learn does not look into objects
            raise ValueError(
                "y has targets that are missing or infinite: leave these samples out, or fill the "
                "gaps."
            )
        return targets

    def _weigh(self, y: Array, s: Array, incremental: bool) -> Array:
        """Return the weights s of samples as they are."""
        return s
