"""ImageScaler: StandardScaler, for images too."""

import copy
from collections.abc import Iterator
from functools import wraps
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn import get_config
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils._array_api import get_namespace
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import (
    FLOAT_DTYPES,
    _check_n_features,
    check_is_fitted,
    validate_data,
)

from ._estimator import shapes
from ._estimator.documentation import HasDocumentation
from ._estimator.failure import all_or_nothing, ignore_fp_errors, validated_call
from ._estimator.saving import VersionedState
from ._estimator.weights import check_sample_weight
from ._typing import Array, ImageShape, MaybeSparse

_STATISTICS = ("mean_", "var_", "scale_", "n_samples_seen_")

_MOMENTS = ("mean_", "var_")

_FIXED = ("per", "image_shape")  # parameters that must stay as they were in fit

# How rows are validated: as StandardScaler does.
_ROWS = {"accept_sparse": "csr", "dtype": FLOAT_DTYPES, "ensure_all_finite": "allow-nan"}

_SLICE = 2**16  # values whose statistics are computed at once: half a MiB in float64


def _plain(value: Any) -> list[str] | str:
    """Return a parameter in a form to compare: arrays and the like have no single truth value."""
    return [*map(str, value)] if isinstance(value, (tuple, list)) else repr(value)


def _array(X: Any) -> Any:
    """Return X as `shapes.as_array` does, or as it is where scikit-learn dispatches on its type.

    scikit-learn then computes in the library that X is of, and rows come out in it.
    """
    dispatched = get_config()["array_api_dispatch"] and hasattr(X, "device")
    return X if dispatched else shapes.as_array(X)


def _in_place(method: Any, scaler: StandardScaler, X: Array) -> Array:
    """Return floats, changed in place, as a method of StandardScaler maps them.

    The method would validate them again, which takes longer than all else for one image.
    """
    steps = [
        (np.subtract, np.add, scaler.with_mean, scaler.mean_),
        (np.divide, np.multiply, scaler.with_std, scaler.scale_),
    ]
    is_inverse = method is StandardScaler.inverse_transform
    for forward, backward, wanted, statistic in steps[:: -1 if is_inverse else 1]:
        if wanted:
            operation = backward if is_inverse else forward
            operation(X, statistic.astype(X.dtype, copy=False), out=X)
    return X


def _unless_images(method: Any) -> Any:
    """Exempt images from the conversion to tables with which scikit-learn wraps a method.

    A table would lose the shape of the images, and the next step of a pipeline would guess another.
    """

    @wraps(method)
    def wrapper(self: Any, X: MaybeSparse, *args: Any, **kwargs: Any) -> Any:
        X = _array(X)
        wrapped = method.__wrapped__ if shapes.are_images(X) else method
        return wrapped(self, X, *args, **kwargs)

    return wrapper


class ImageScaler(HasDocumentation, VersionedState, StandardScaler):
    r"""Standardise images by removing the mean and scaling to unit variance.

    On rows of values (n_samples, n_features) this is
    :class:`~sklearn.preprocessing.StandardScaler`. On images (n_samples, H, W) or
    (n_samples, H, W, C) it standardises each pixel, or each channel, and returns images.

    Parameters
    ----------
    per : {"pixel", "channel"}, default="pixel"
        Whether every pixel of every channel has a mean and a standard deviation of its own, or
        every channel. Rows have one channel, unless ``image_shape`` has more.

    image_shape : tuple or list (H, W) or (H, W, C), or None, default=None
        Shape of the images that rows hold, and (1, L, C) for signals of shape (n_samples, L, C),
        which are otherwise taken for images of one channel. None: the shape of the images of X, and
        rows remain rows.

    copy : bool, default=True
        If False, scale in place where possible. Tables are always copied.

    with_mean : bool, default=True
        Whether to remove the mean.

    with_std : bool, default=True
        Whether to scale to unit variance.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,), (H, W) or (H, W, C), or None
        Mean of the training images, in the units of X: of the shape ``image_shape_`` where there
        is one. With ``per="channel"`` all pixels of a channel have the same. None with
        ``with_mean=False`` and ``with_std=False``.

    var_ : ndarray of the shape of ``mean_``, or None
        Variance, likewise, with the divisor n. None with ``with_std=False``.

    scale_ : ndarray of the shape of ``mean_``, or None
        Divisor: the square root of ``var_``, or 1 where that is 0. None with ``with_std=False``.

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where ``X`` had names that are all strings.

    n_samples_seen_ : int, float or ndarray of the shape of ``mean_``
        Number of images seen by pixel, or sum of their weights; with ``per="channel"``, of values
        by channel. An array only where values were missing.

    image_shape_ : tuple
        (H, W) or (H, W, C); only where the scaler was fitted on images or with ``image_shape``.

    See Also
    --------
    ConvNetClassifier : Convolutional network.
    sklearn.preprocessing.StandardScaler : The same for rows of values.

    Notes
    -----
    The standard score of a value x is :math:`z = (x - u) / s`, with the mean u and the standard
    deviation s of its pixel or channel in the training images; z is dimensionless. NaN are
    disregarded in fit and kept in transform, as in StandardScaler. Unlike there, negative sample
    weights are refused.

    After :meth:`fit`, images of the same shape and rows of as many values are both accepted, and
    each is returned in the shape it came in. With ``set_output(transform="pandas")`` rows become
    tables; images stay images, since a table would lose their shape.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcnn import ImageScaler
    >>> images = load_digits().images
    >>> scaler = ImageScaler().fit(images)
    >>> scaler.mean_.shape, scaler.transform(images).shape
    ((8, 8), (1797, 8, 8))
    >>> ImageScaler(per="channel").fit_transform(images).std().round(6)
    np.float64(1.0)
    >>> rows = [[0, 255, 2, 253], [1, 254, 3, 252]]  # two pixels of two channels
    >>> ImageScaler(per="channel", image_shape=(1, 2, 2)).fit(rows).mean_.round(1)
    array([[[  1.5, 253.5],
            [  1.5, 253.5]]])
    """

    _parameter_constraints: dict = {
        **StandardScaler._parameter_constraints,
        "per": [StrOptions({"pixel", "channel"})],
        "image_shape": [tuple, list, None],
    }

    def __init__(
        self,
        *,
        per: Literal["pixel", "channel"] = "pixel",
        image_shape: ImageShape | None = None,
        copy: bool = True,
        with_mean: bool = True,
        with_std: bool = True,
    ) -> None:
        super().__init__(copy=copy, with_mean=with_mean, with_std=with_std)
        self.per = per
        self.image_shape = image_shape

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "transform" not in cls._sklearn_auto_wrap_output_keys:
            return  # nothing was wrapped
        for name in {"transform", "fit_transform"} & vars(cls).keys():
            setattr(cls, name, _unless_images(getattr(cls, name)))

    @validated_call
    def fit(self, X: MaybeSparse, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Compute the mean and standard deviation of images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse matrix of shape (n_samples, n_features)
            Images.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images.

        Returns
        -------
        self : ImageScaler
            Fitted scaler.

        Raises
        ------
        ValueError
            If the images cannot be standardised, or their mean or variance overflows. The scaler
            is then what it was before the call.
        """
        return self._update(X, y, sample_weight, first_call=True)

    @validated_call
    def partial_fit(
        self, X: MaybeSparse, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Update the mean and standard deviation with more images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse matrix of shape (n_samples, n_features)
            Images.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images.

        Returns
        -------
        self : ImageScaler
            Fitted scaler.
        """
        self._validate_params()  # _fit_context skips this once the scaler is fitted
        return self._update(X, y, sample_weight, first_call=not hasattr(self, "n_samples_seen_"))

    @ignore_fp_errors
    def transform(self, X: MaybeSparse, copy: bool | None = None) -> Any:
        """Standardise images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse matrix of shape (n_samples, n_features)
            Images of the shape of those of :meth:`fit`, or rows of as many values.

        copy : bool, default=None
            False: scale in place where possible; None: as the parameter ``copy``.

        Returns
        -------
        X_tr : ndarray of the shape of X, or sparse matrix of shape (n_samples, n_features)
            Standardised images, dimensionless.
        """
        return self._map(StandardScaler.transform, X, copy)

    @ignore_fp_errors
    def inverse_transform(self, X: MaybeSparse, copy: bool | None = None) -> Any:
        """Turn standardised images back into the original ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C), or sparse matrix of shape (n_samples, n_features)
            Standardised images.

        copy : bool, default=None
            False: scale in place where possible; None: as the parameter ``copy``.

        Returns
        -------
        X_original : ndarray of the shape of X, or sparse matrix of shape (n_samples, n_features)
            Images in their original units.
        """
        return self._map(StandardScaler.inverse_transform, X, copy)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.array_api_support = str(self.per) == "pixel" and self.image_shape is None
        return tags

    def _update(
        self, X: MaybeSparse, y: Any, sample_weight: ArrayLike | None, first_call: bool
    ) -> Self:
        """Update the statistics with more images, or compute them from the first ones."""
        given = X
        X = _array(X)
        shape = shapes.shape_of(X)
        if first_call:
            # StandardScaler's own case, arrays of other libraries included.
            as_rows = shape is None and self.image_shape is None and self.per == "pixel"
        else:
            self._check_fitted_for(X, shape)
            as_rows = self._as_rows
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        if not as_rows:
            task = {"X": given, "y": y, "metadata": {"sample_weight": sample_weight}}
            callback_context = self._init_callback_context()
            callback_context.call_on_fit_task_begin(estimator=self, **task)
        with all_or_nothing(self) as (scaler, _), shapes.named_errors("X"):
            if first_call:
                for name in (*_STATISTICS, "image_shape_"):
                    vars(scaler).pop(name, None)
                scaler._as_rows = as_rows
                scaler._sample_shape = shape  # of X as it came: None for rows
                scaler._fitted_with = copy.deepcopy({k: getattr(self, k) for k in _FIXED})
            if as_rows:
                _update_statistics(scaler, shapes.as_rows(X, shape), y, sample_weight)
            else:
                scaler._update_by_columns(shapes.as_array(X), shape, sample_weight, first_call)
            scaler._check_finite("X" if sample_weight is None else "X or sample_weight")
            if not as_rows:
                fitted = {"__dict__": {**vars(scaler)}}
                callback_context.call_on_fit_task_end(
                    estimator=self, **task, reconstruction_attributes=fitted
                )
        return self

    def _update_by_columns(
        self, X: Any, shape: Any, sample_weight: Array | None, first_call: bool
    ) -> None:
        """Update the statistics, each of them of one pixel or one channel."""
        if isinstance(X, np.ndarray):  # validated in slices, later
            first = np.atleast_1d(X)[:1]
            validate_data(self, shapes.as_rows(first, shape), reset=first_call, **_ROWS)
        else:
            X = validate_data(self, X, reset=first_call, **_ROWS)
        if first_call and not (shape is None and self.image_shape is None):
            self.image_shape_ = shapes.infer_shape(self.image_shape, shape, self.n_features_in_)
        scaler = self._scaler_of_columns()
        if sparse.issparse(X):
            columns = self._columns(X)
            if sample_weight is not None:
                sample_weight = np.repeat(sample_weight, columns.shape[0] // X.shape[0])
            _update_statistics(scaler, columns, None, sample_weight)
        else:
            self._update_in_slices(scaler, X, sample_weight)
        for name in _STATISTICS:
            setattr(self, name, self._by_pixel(getattr(scaler, name)))

    def _update_in_slices(self, scaler: StandardScaler, X: Array, s: Array | None) -> None:
        """Update a StandardScaler of columns, with memory for no more than a slice of X.

        The formulas, and without weights the order of the sums, are those of StandardScaler: Chan,
        Golub and LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37.3 (1983). Statistics of no values are NaN.
        """

        def before(name: str) -> Any:
            value = getattr(scaler, name, None)
            return np.nan if value is None else value

        def by_column(total: Any) -> Array:
            return self._columns(total.reshape(1, -1)).sum(axis=0)

        seen, last_mean, last_var = getattr(scaler, "n_samples_seen_", 0), *map(before, _MOMENTS)
        none: Any = 0.0
        total = count = deviations = squares = none
        for rows, missing, weights in self._slices(X, s):
            total = _add_rows(total, np.where(missing, 0.0, rows), weights)
            each = 1.0 if weights is None else weights[:, np.newaxis]
            count = _add_rows(count, np.where(missing, 0.0, each))
        total, count = by_column(total), by_column(count)
        n = seen + count
        scaler.n_samples_seen_ = n[0] if n.max() == n.min() else n
        scaler.mean_ = scaler.var_ = scaler.scale_ = None
        if not (self.with_mean or self.with_std):
            return
        last_total = np.where(seen == 0, 0, last_mean * seen)
        scaler.mean_ = np.where(count == 0, last_mean, (last_total + total) / n)
        if not self.with_std:
            return
        mean = total / count
        for rows, missing, weights in self._slices(X, s):
            values = (self._columns(rows) - mean).reshape(rows.shape)
            values[missing] = 0
            squares = _add_rows(squares, values**2, weights)
            deviations = _add_rows(deviations, values, weights)
        deviations, squares = by_column(deviations), by_column(squares)
        squares -= deviations**2 / count
        ratio = seen / count
        between = ratio / n * (last_total / ratio - total) ** 2
        squares = np.where(seen == 0, squares, last_var * seen + squares + between)
        scaler.var_ = np.where(count == 0, last_var, squares / n)
        # Variances within the error of computing them are taken for 0.
        error = n * np.finfo(np.float64).eps
        constant = scaler.var_ <= error * scaler.var_ + (error * scaler.mean_) ** 2
        scaler.scale_ = np.where(constant, 1.0, np.sqrt(scaler.var_))

    def _slices(self, X: Array, s: Array | None) -> Iterator[tuple[Array, Array, Array | None]]:
        """Yield slices of X as rows of float64, where they have no value, and their weights."""
        step = max(1, _SLICE // self.n_features_in_)
        for start in range(0, len(X), step):
            part = slice(start, start + step)
            rows = X[part].reshape(-1, self.n_features_in_) if X.ndim > 2 else X[part]
            rows = check_array(rows, order="C", estimator=self, input_name="X", **_ROWS)
            rows = rows.astype(np.float64, copy=False)
            yield rows, np.isnan(rows), None if s is None else s[part]

    def _check_finite(self, names: str) -> None:
        """Refuse statistics that would make every later image NaN.

        NaN is correct where no values were seen.
        """
        xp, _ = get_namespace(self.n_samples_seen_, self.mean_, self.var_)
        if not xp.all(xp.isfinite(xp.asarray(self.n_samples_seen_))):
            raise ValueError("sample_weight has values so large that their sum overflows.")
        for name in _MOMENTS:
            statistic = getattr(self, name)
            unseen = self.n_samples_seen_ == 0
            if statistic is not None and not xp.all(xp.isfinite(statistic) | unseen):
                raise ValueError(
                    f"{name} is not finite, since values of {names} are extremely large or small: "
                    "scale them to usual sizes first."
                )

    def _map(self, method: Any, X: MaybeSparse, copy: bool | None) -> Any:
        """Return X, rows or images, as a method of StandardScaler maps it."""
        given = X
        X = _array(X)
        shape = shapes.shape_of(X)
        self._check_fitted_for(given, shape)
        copy = self.copy if copy is None else copy
        if not isinstance(copy, (bool, np.bool_)):
            raise TypeError(f"copy={copy!r} must be True, False or None.")
        copy = copy or shapes.is_table(X)  # pandas may share memory with the table X was taken of
        with shapes.named_errors("X"):
            if self._as_rows and get_config()["array_api_dispatch"]:
                mapped = method(self, shapes.as_rows(X, shape), copy)
            else:
                rows = self._floats(shapes.as_array(X), shape, copy, method)
                scaler, columns = self._scaler_of_columns(), self._columns(rows)
                if sparse.issparse(columns):
                    mapped = method(scaler, columns, copy=False)
                else:
                    mapped = _in_place(method, scaler, columns)
                if mapped.shape != rows.shape:
                    mapped = mapped.reshape(rows.shape)
                    mapped = mapped.asformat(rows.format) if sparse.issparse(mapped) else mapped
        return mapped if shape is None else np.asarray(mapped).reshape(len(mapped), *shape)

    def _floats(self, X: Any, shape: Any, copy: bool, method: Any) -> Any:
        """Return X as validated rows of floats that may be changed, copied at most once."""
        options = {**_ROWS, "copy": copy, "force_writeable": True}
        if isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
            # In the order of C, images become rows without another copy.
            order: Literal["K", "C"] = "K" if shape is None and self.per == "pixel" else "C"
            dtype = X.dtype.newbyteorder("=") if X.dtype.kind == "f" else np.float64
            converted = X.astype(dtype, order=order, copy=False)
            options["copy"] = copy and np.may_share_memory(converted, X)
            X = converted
        elif shapes.is_table(X) and shapes.is_single_precision(X):
            options["dtype"] = np.float32
        rows = shapes.as_rows(X, shape)
        if method is StandardScaler.transform:
            return validate_data(self, rows, reset=False, **options)
        rows = check_array(rows, estimator=self, input_name="X", **options)  # without their names
        _check_n_features(self, rows, reset=False)
        return rows

    def _check_fitted_for(self, X: Any, shape: tuple[int, ...] | None) -> None:
        """Refuse images of another shape than was fitted, and parameters changed since."""
        check_is_fitted(self)
        for name, fitted in self._fitted_with.items():
            value = getattr(self, name)
            if _plain(value) != _plain(fitted):
                raise ValueError(
                    f"{name}={value!r}, but the scaler was fitted with {name}={fitted!r}: set it "
                    "back, or call fit again."
                )
        for name, statistic in (("with_mean", self.mean_), ("with_std", self.scale_)):
            if getattr(self, name) and statistic is None:
                raise ValueError(
                    f"{name}=True, but the scaler was fitted without: set it back, or call fit "
                    "again."
                )
        if hasattr(self, "image_shape_"):
            shapes.check_batch(X, self.image_shape_)
            if shape is not None:
                shapes.check_shape(shape, self.image_shape_, self)

    def _scaler_of_columns(self) -> StandardScaler:
        """Return a StandardScaler of columns, with the statistics of those that were fitted."""
        scaler = _unfitted(self)
        scaler.set_output(transform="default")
        for name in _STATISTICS:
            if hasattr(self, name):
                statistic = getattr(self, name)
                if np.ndim(statistic):
                    statistic = self._columns(statistic.reshape(1, -1))[0]
                setattr(scaler, name, statistic)
        return scaler

    def _columns(self, rows: Any) -> Any:
        """Return rows with a column for each mean: a pixel, or a channel."""
        if self.per == "pixel":
            return rows
        (n_channels,) = getattr(self, "image_shape_", ())[2:] or (1,)
        return rows.reshape((-1, n_channels))

    def _by_pixel(self, statistic: Any) -> Any:
        """Return a statistic of the columns in the shape of an image."""
        if np.ndim(statistic) == 0:  # None, or one count for all
            return statistic
        shape = getattr(self, "image_shape_", (self.n_features_in_,))
        if self.per == "pixel":
            return statistic.reshape(shape)
        return np.broadcast_to(statistic, shape).copy()


def _add_rows(total: Any, rows: Array, weights: Array | None = None) -> Any:
    """Return a sum of rows with more of them, of which the first is changed.

    NumPy adds the rows of an array in C order one after the other, so that slices change no bit.
    """
    if weights is not None:
        return total + weights @ rows
    rows[0] += total
    return rows.sum(axis=0)


def _unfitted(scaler: StandardScaler) -> StandardScaler:
    """Return a StandardScaler with the parameters of a scaler."""
    return StandardScaler(copy=scaler.copy, with_mean=scaler.with_mean, with_std=scaler.with_std)


def _update_statistics(
    scaler: StandardScaler, rows: Any, y: Any, sample_weight: ArrayLike | None
) -> None:
    """Update a StandardScaler with more rows, of which a column may have no value.

    scikit-learn combines the statistics of all rows before with those of the new ones by formulas
    that divide by the number of values of each. Where one of them is 0, the statistics are the
    other's.
    """
    before = {name: getattr(scaler, name) for name in _STATISTICS if hasattr(scaler, name)}
    vars(scaler).update(copy.deepcopy(before))  # scikit-learn changes some of these in place
    StandardScaler.partial_fit(scaler, rows, y, sample_weight)
    counts = before.get("n_samples_seen_"), scaler.n_samples_seen_
    if counts[0] is None or (np.all(counts[0]) and np.all(counts[1] != counts[0])):
        return
    added = vars(_unfitted(scaler).fit(rows, sample_weight=sample_weight))
    for name in ("mean_", "var_", "scale_"):
        statistic = getattr(scaler, name)
        if statistic is not None:
            np.copyto(statistic, added[name], where=counts[0] == 0)
            np.copyto(statistic, before[name], where=counts[1] == counts[0])


# scikit-learn wraps the inherited fit_transform too.
for _name in ("transform", "fit_transform"):
    setattr(ImageScaler, _name, _unless_images(getattr(ImageScaler, _name)))
