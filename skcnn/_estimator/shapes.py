"""Shapes of images, as users pass them and as the network takes them.

Images come as rows of values (n, n_features), as monochrome images (n, H, W) or with channels
(n, H, W, C). scikit-learn validates rows; the network takes (n, H, W, C).
"""

import re
from contextlib import contextmanager
from math import isqrt, prod
from numbers import Integral

import numpy as np

ONE_ARRAY = (
    "make them one array first, with np.stack, or with to_numpy of polars and to_numpy_ndarray of "
    "pyarrow, which keep the shape of the images."
)


def flatten(X):
    """Return X as rows, one for each image, and the shape of its images.

    Parameters
    ----------
    X : array-like
        Rows, images (n, H, W) or images (n, H, W, C). What has less than three dimensions is left
        for scikit-learn to validate.

    Returns
    -------
    rows : ndarray, sparse array or table of shape (n, n_features)
        A view where ``X`` is contiguous.
    shape : tuple or None
        (H, W) or (H, W, C); None for rows.

    Raises
    ------
    ValueError
        As `as_array` and `shape_of`.
    """
    X = as_array(X)
    shape = shape_of(X)
    return as_rows(X, shape), shape


def as_array(X):
    """Return X as an array of NumPy, unless it is sparse or a table.

    Raises
    ------
    TypeError
        If ``X`` is an array or a file of another library that NumPy cannot read.
    ValueError
        If ``X`` is a list of images of different shapes, or an array of arrays.
    """
    if not (isinstance(X, np.ndarray) or is_table(X) or hasattr(X, "toarray")):
        given = X
        try:
            X = np.asarray(X)
        except ValueError as error:
            raise ValueError(
                f"X cannot be made an array: {error} All images must be of the same shape."
            ) from error
        except TypeError as error:
            raise TypeError(
                f"X cannot be made an array: {error}. Convert it first, to float32 for example."
            ) from error
        if X.ndim == 0 and getattr(given, "shape", ()):
            raise TypeError(
                f"X is a {type(given).__name__}, which NumPy does not take for an array: load it "
                "first, with X.load() or X[:] for example."
            )
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    if kind == "O" and X.ndim == 1 and len(X) and np.ndim(X[0]):
        raise ValueError(f"X is an array of arrays, an image in each: {ONE_ARRAY}")
    return X


def is_table(X):
    """Return whether X is a table of pandas, polars, pyarrow or the like."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def is_single_precision(table):
    """Return whether all columns of a table are of float32, in the words of its library."""
    dtypes = table.dtypes if hasattr(table, "dtypes") else table.schema.types
    return {*map(str, dtypes)} <= {"float32", "Float32", "float", "float[pyarrow]"}


def are_images(X):
    """Return whether X is three- or four-dimensional, for what `as_array` returns."""
    return getattr(X, "ndim", None) in (3, 4)


def shape_of(X):
    """Return the shape of the images of X, (H, W) or (H, W, C), or None for rows.

    Raises
    ------
    ValueError
        If ``X`` has more than four dimensions, or values that are not numbers.
    """
    check_kind(X, "X")
    if getattr(X, "ndim", 0) > 4:
        raise ValueError(
            f"X has the shape {tuple(X.shape)}: reshape it to images (n, H, W) or (n, H, W, C), or "
            "to rows (n, n_features)."
        )
    return tuple(X.shape[1:]) if are_images(X) else None


def as_rows(X, shape):
    """Return images of a shape as rows; rows, whose shape is None, are returned unchanged."""
    return X if shape is None else X.reshape(X.shape[0], prod(shape))


def check_kind(values, name):
    """Refuse dates, time differences, records, and types of numbers or strings unknown to sklearn.

    The values are an array, or columns of a table.
    """
    # A table has dtypes, and perhaps a column of the name "dtype".
    dtypes = values.dtypes if hasattr(values, "dtypes") else [getattr(values, "dtype", None)]
    for dtype in np.atleast_1d(np.asarray(dtypes, dtype=object)):
        kind = getattr(dtype, "kind", None)
        if kind == "T" or getattr(dtype, "isbuiltin", None) == 2:
            wanted = "object" if kind == "T" else "'float32'"
            raise ValueError(
                f"{name} has values of type {dtype}, which scikit-learn does not take: pass "
                f"{name}.astype({wanted})."
            )
        if kind in ("M", "m", "V"):
            raise ValueError(f"{name} has values of type {dtype}, which are not numbers.")


def check_samples(X, shape, y):
    """Refuse X, as `flatten` returns it, whose last axis has the samples of y.

    Raises
    ------
    ValueError
        Naming the transposition.
    """
    y_shape = y.shape if hasattr(y, "shape") else (len(y),) if hasattr(y, "__len__") else ()
    X_shape = (*X.shape[:1], *(shape or X.shape[1:]))
    if y_shape and len(X_shape) > 1 and X_shape[-1] == y_shape[0] != X_shape[0]:
        axes = ", ".join(map(str, (len(X_shape) - 1, *range(len(X_shape) - 1))))
        raise ValueError(
            f"X has the shape {X_shape}, but y has {y_shape[0]} samples, as the last axis of X: "
            f"pass X.transpose({axes})."
        )


@contextmanager
def named_errors(name):
    """Raise the errors of conversion to float with the name of the argument."""
    try:
        yield
    except OverflowError as error:
        raise ValueError(f"{name} has values that are too large for a float: {error}.") from error
    except (TypeError, ValueError) as error:
        # NumPy raises one or the other, for arrays in the rows of a column.
        if re.search("setting an array element with a sequence|truth value of", str(error)):
            raise ValueError(
                f"{name} has arrays as its values, such as an image in each row of a column: "
                f"{ONE_ARRAY}"
            ) from error
        if re.search("could not convert|argument must be a string", str(error)):
            raise type(error)(f"{name} has values that are not numbers: {error}.") from error
        raise


def infer_shape(image_shape, shape_of_X, n_features):
    """Return the shape of the images: ``image_shape`` if given, else that of X, else a guess.

    Parameters
    ----------
    image_shape : tuple or None
        (H, W) or (H, W, C), as the user gave it.
    shape_of_X : tuple or None
        What `flatten` returned.
    n_features : int
        Number of values of an image.

    Returns
    -------
    shape : tuple of int
        The guess is (s, s) where n_features is the square of s, else (1, n_features), a signal.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, or does not agree with X.
    """
    if image_shape is None:
        if shape_of_X is not None:
            check_order(shape_of_X)
            return shape_of_X
        side = isqrt(n_features)
        return (side, side) if side**2 == n_features else (1, n_features)

    check_image_shape(image_shape)
    shape = tuple(int(side) for side in image_shape)
    if prod(shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape} has {prod(shape)} values an image, but X has {n_features} "
            f"features: {way_out(shape_of_X, shape)}give the shape of the images of X."
        )
    if shape_of_X is not None and not agree(shape_of_X, shape):
        raise ValueError(
            f"image_shape={image_shape} does not match the images of X, which are of shape "
            f"{shape_of_X}: {way_out(shape_of_X, shape)}leave image_shape=None, or pass X as "
            "rows."
        )
    return shape


def is_whole_number(value):
    """Return whether a value is an integer of Python or NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_shape(shape, fitted_shape, estimator):
    """Refuse images of another shape than an estimator was fitted for.

    Images whose axes are in another order have as many values, so that they would pass as rows.

    Raises
    ------
    ValueError
        Naming both shapes.
    """
    if not agree(shape, fitted_shape):
        name = type(estimator).__name__
        raise ValueError(
            f"X has {prod(shape)} features (images of shape {shape}), but {name} is expecting "
            f"{prod(fitted_shape)} features (images of shape {fitted_shape}): "
            f"{way_out(shape, fitted_shape)}set image_shape before fit if it was fitted on "
            "rows of another shape than it took them for."
        )


def check_batch(X, fitted_shape):
    """Refuse one image where several are expected."""
    shape = getattr(X, "shape", None)
    if shape == fitted_shape and shape[0] > 1:
        raise ValueError(f"X has the shape of one image, {shape}: pass X[np.newaxis].")


def check_order(shape):
    """Refuse square images of three or four channels whose channels come first."""
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[1] == shape[2] > 4:
        raise ValueError(
            f"X has images of shape {shape}, whose channels seem to come first: pass "
            "X.transpose(0, 2, 3, 1), or confirm with image_shape="
            f"{shape} that they are {shape[0]} pixels high and have {shape[2]} channels."
        )


def way_out(shape_of_X, shape):
    """Return what to pass instead of images of another shape, for an error; "" if that is unclear.

    Their axes may be in another order, or they may be grey images with three equal channels.
    """
    X_shape, wanted = list(shape_of_X or ()), list(shape)
    if len(X_shape) == 3 and with_channels(shape) == (*X_shape[:2], 1):
        return "pass one channel, X[..., 0], if all are equal; or "
    if len(X_shape) == 2 and wanted[0] == 1:
        wanted = wanted[1:]  # signals
    if X_shape == wanted or sorted(X_shape) != sorted(wanted):
        return ""
    axes = []
    for side in wanted:
        axes.append(next(k + 1 for k, of in enumerate(X_shape) if of == side and k + 1 not in axes))
    return f"pass X.transpose({', '.join(map(str, [0, *axes]))}) if that is their order; or "


def agree(shape_of_X, shape):
    """Return whether images of an array can be read as images of a shape.

    Signals of shape (1, L, C), or (1, L) for C = 1, may come as (L, C).
    """
    return with_channels(shape) in (with_channels(shape_of_X), (1, *shape_of_X))


def check_image_shape(image_shape):
    """Refuse what is not the shape of an image, (H, W) or (H, W, C)."""
    is_shape = len(image_shape) in (2, 3) and all(map(is_whole_number, image_shape))
    if not is_shape or min(image_shape) < 1:
        raise ValueError(
            f"image_shape={image_shape!r} is not the shape of an image: give (H, W) or (H, W, C), "
            "whole numbers of at least 1."
        )


def with_channels(shape):
    """Return (H, W, C) for the shape of an image; C is 1 for a monochrome one."""
    return (*shape, 1) if len(shape) == 2 else tuple(shape)
