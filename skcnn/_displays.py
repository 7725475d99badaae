"""The displays: filters, feature maps and learning curves, drawn with Matplotlib.

As those of scikit-learn, a display is made from plain arrays or, by ``from_estimator``, from what
was fitted. Only ``plot`` needs Matplotlib.
"""

import copy
from dataclasses import KW_ONLY, dataclass
from math import ceil, prod, sqrt
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from ._base import BaseConvNet
from ._estimator import shapes
from ._estimator.arguments import as_list
from ._training.monitor import CURVES
from ._typing import Array

MAX_CURVES = 10  # in one place: as many as there are colours
MAX_IMAGES = 32
BETWEEN = 0.8  # grey level between pictures, since white is a value of a filter


@dataclass(eq=False, repr=False)
class FilterDisplay:
    """Filters of a convolution layer, as they were drawn at random and as they were learnt.

    Initial and learnt filters are drawn side by side, all on one scale. A filter is

    - of a monochrome image: a picture, in colours that diverge from 0;
    - of a colour image, with three channels in the first layer: a colour picture, in which 0 is
      medium grey;
    - of any other number of channels, as in the layers after the first: a picture of its slices
      (K, K), one for each channel in the order of rows, beside each other;
    - of a signal: a curve, or one in each colour for up to ten channels, above those of the next
      filter. The distance of two filters is the full range of the scale.

    Parameters
    ----------
    filters : array-like of shape (F, K, K) or (F, K, K, C)
        Learnt filters. Those of signals have one row or one column.

    initial_filters : array-like of the shape of filters, default=None
        Filters as they were before training; None: the learnt ones are drawn alone.

    layer : int, default=0
        Convolution layer, counted from 0, to which they belong.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure with the filters.

    axes_ : ndarray of matplotlib Axes of shape (1, 2) or (1, 1)
        Axes of the initial filters, if there are any, and of the learnt ones.

    artists_ : list
        For each axes the AxesImage, or the lines of signals as an ndarray of shape (C, F).

    colorbar_ : matplotlib Colorbar or None
        Scale of the weights; None for curves and colour pictures.

    See Also
    --------
    FeatureMapDisplay : What the filters make of images.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcnn import ConvNetClassifier, FilterDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = ConvNetClassifier(n_filters=6, tol=None, max_iter=5, random_state=0).fit(X / 16, y)
    >>> FilterDisplay.from_estimator(clf)
    <...>
    """

    filters: Array
    initial_filters: Array | None = None
    _: KW_ONLY
    layer: int = 0

    @classmethod
    def from_estimator(
        cls, estimator: Any, layer: int = 0, *, ax: Any = None, cmap: Any = "RdBu_r"
    ) -> "FilterDisplay":
        """Draw the filters of a network.

        Parameters
        ----------
        estimator : ConvNetClassifier, ConvNetRegressor or Pipeline
            Fitted network, or a pipeline that ends in one.

        layer : int, default=0
            Convolution layer, counted from 0.

        ax : matplotlib Axes or array of Axes, default=None
            As of :meth:`plot`.

        cmap : str or matplotlib Colormap, default="RdBu_r"
            As of :meth:`plot`.

        Returns
        -------
        display : FilterDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        network = _network_of(estimator, cls)
        network._check_layer(layer)
        weights = (as_list(W)[layer] for W in (network.filters_, network.initial_filters_))
        return cls(*weights, layer=layer).plot(ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: Any = "RdBu_r") -> "FilterDisplay":
        """Draw the filters.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            Axes to be divided, or an array of as many as ``axes_`` has. None: those of a new
            figure.

        cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of the weights, from negative to positive.

        Returns
        -------
        self : FilterDisplay
            The display.
        """
        blocks = [W for W in (self.initial_filters, self.filters) if W is not None]
        blocks = [_with_channels("filters", W) for W in blocks]
        if blocks[0].shape != blocks[-1].shape:
            raise ValueError(
                f"filters has the shape {blocks[-1].shape} and initial_filters {blocks[0].shape}: "
                "they must be equal."
            )
        F, *sides, C = blocks[0].shape
        limit = max(np.abs(W).max() for W in blocks) or 1.0
        are_curves = _are_signals(blocks[0]) and C <= MAX_CURVES
        is_colour = C == 3 and self.layer == 0
        self.axes_ = axes = _axes(ax, (1, len(blocks)), F, type(self).__name__)
        self.figure_, self.colorbar_, self.artists_ = axes[0, 0].figure, None, []
        titles = [f"{state} {_name(F, self.layer)}" for state in ("initial", "learnt")]
        for ax, W, title in zip(axes[0], blocks, titles[-len(blocks) :]):
            ax.set_title(title)
            if are_curves:
                curves = W.reshape(F, -1, C)
                artist = _draw_curves(ax, curves, (-limit, limit), start=-(max(sides) // 2))
                ax.set(xlabel="offset", ylabel="filter")
            else:
                artist = _draw_images(ax, W, (-limit, limit), cmap, is_colour)
            self.artists_.append(artist)
        if are_curves and C > 1:
            labels = [f"channel {c}" for c in range(C)]
            ax.legend(artist[:, 0], labels, loc="upper left", bbox_to_anchor=(1, 1))
        elif not (are_curves or is_colour):
            self.colorbar_ = self.figure_.colorbar(artist, ax=[*axes.flat], label="weight")
        return self


@dataclass(eq=False, repr=False)
class FeatureMapDisplay:
    """Images, and the responses of a convolution layer to them before and after training.

    Each image is a row: the image, the feature maps of the filters as they were drawn at random,
    and those of the learnt ones, all maps on one scale. Several maps are pictures beside each
    other, in the order of rows. Signals are curves, one above the other, and so are their maps; the
    distance of two curves is the full range of their scale.

    Parameters
    ----------
    images : array-like of shape (n, H, W) or (n, H, W, C)
        Images. Those of three channels are drawn in colour; the channels of others are drawn
        beside each other. Those of type uint8 are drawn from 0 to 255, others from
        their smallest to their greatest value.

    feature_maps : array-like of shape (n, H', W', F)
        Responses of the learnt filters, non-negative.

    initial_feature_maps : array-like of the shape of feature_maps, default=None
        Responses of the filters as they were before training; None: those of the learnt ones are
        drawn alone.

    layer : int, default=0
        Convolution layer, counted from 0, of which they are the responses.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure with the images.

    axes_ : ndarray of matplotlib Axes of shape (n, 3) or (n, 2)
        Axes of each image, of its initial feature maps if there are any, and of the learnt ones.

    artists_ : ndarray of the shape of ``axes_``
        The AxesImage of each axes, or the lines of a signal as an ndarray of shape (1, n_curves).

    colorbar_ : matplotlib Colorbar or None
        Scale of the responses; None for signals.

    See Also
    --------
    FilterDisplay : The filters themselves.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcnn import ConvNetClassifier, FeatureMapDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = ConvNetClassifier(n_filters=6, tol=None, max_iter=5, random_state=0).fit(X / 16, y)
    >>> FeatureMapDisplay.from_estimator(clf, X[:3] / 16)
    <...>
    """

    images: Array
    feature_maps: Array
    initial_feature_maps: Array | None = None
    _: KW_ONLY
    layer: int = 0

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        layer: int = 0,
        *,
        ax: Any = None,
        cmap: Any = "magma",
        image_cmap: Any = "gray",
    ) -> "FeatureMapDisplay":
        """Draw what the filters of a network make of images.

        The initial responses are those of the network with the initial filters, and intercepts
        of 0, in this layer and in all before it.

        Parameters
        ----------
        estimator : ConvNetClassifier, ConvNetRegressor or Pipeline
            Fitted network, or a pipeline that ends in one.

        X : array-like of shape (n, n_features), (n, H, W) or (n, H, W, C), or sparse array of \
                shape (n, n_features)
            Images, at most 32, as the estimator takes them. Where the steps of a pipeline before
            the network leave their size as it is, these images are drawn, and else what the network
            is given.

        layer : int, default=0
            Convolution layer, counted from 0.

        ax : matplotlib Axes or array of Axes, default=None
            As of :meth:`plot`.

        cmap, image_cmap : str or matplotlib Colormap
            As of :meth:`plot`.

        Returns
        -------
        display : FeatureMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such layer, or X has more than 32 images.
        """
        network = _network_of(estimator, cls)
        X = shapes.as_array(X)
        if X.shape[:1] > (MAX_IMAGES,):
            raise ValueError(
                f"X has {X.shape[0]} images, and each is drawn: pass at most {MAX_IMAGES} of them."
            )
        inputs = estimator[:-1].transform(X) if len(getattr(estimator, "steps", [])) > 1 else X
        untrained = copy.copy(network)
        untrained.filters_ = network.initial_filters_
        untrained.filter_intercept_ = [0 * b for b in as_list(network.filter_intercept_)]
        maps = [model.feature_maps(inputs, layer) for model in (network, untrained)]
        images = X if prod(X.shape[1:]) == network.n_features_in_ else inputs
        images = images.toarray() if hasattr(images, "toarray") else np.asarray(images)
        display = cls(images.reshape(-1, *network.image_shape_), *maps, layer=layer)
        return display.plot(ax, cmap=cmap, image_cmap=image_cmap)

    def plot(
        self, ax: Any = None, *, cmap: Any = "magma", image_cmap: Any = "gray"
    ) -> "FeatureMapDisplay":
        """Draw the images and the responses.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            Axes to be divided, or an array of as many as ``axes_`` has. None: those of a new
            figure.

        cmap : str or matplotlib Colormap, default="magma"
            Colours of the responses, from 0 to the greatest.

        image_cmap : str or matplotlib Colormap, default="gray"
            Colours of images of one channel, from low values to high ones.

        Returns
        -------
        self : FeatureMapDisplay
            The display.
        """
        images = _with_channels("images", self.images)
        blocks = [A for A in (self.initial_feature_maps, self.feature_maps) if A is not None]
        blocks = [_with_channels("feature_maps", A) for A in blocks]
        n, F = len(images), blocks[-1].shape[3]
        if blocks[0].shape != blocks[-1].shape or len(blocks[0]) != n:
            raise ValueError(
                f"images has the shape {images.shape}, and feature maps have {blocks[-1].shape} "
                f"and {blocks[0].shape}: there must be maps of one shape for each image."
            )
        is_byte = images.dtype == np.uint8
        images = images.astype(float)  # differences of whole numbers could overflow
        image_style = (0, 255) if is_byte else (images.min(), images.max()), image_cmap
        map_style = (0, max(A.max() for A in blocks) or 1.0), cmap
        self.axes_ = axes = _axes(ax, (n, 1 + len(blocks)), F, type(self).__name__)
        self.figure_, self.colorbar_ = axes[0, 0].figure, None
        self.artists_ = np.empty(axes.shape, dtype=object)
        for (k, column), ax in np.ndenumerate(axes):
            values = [images, *blocks][column][k]
            limits, colours = map_style if column else image_style
            if _are_signals(values[np.newaxis]):
                curves = values.reshape(-1, values.shape[-1]).T[..., np.newaxis]
                self.artists_[k, column] = _draw_curves(ax, curves, limits)
                ax.set_xlabel("position" if k == n - 1 else "")
            else:
                is_colour = column == 0 and values.shape[-1] == 3
                artist = _draw_images(ax, values[np.newaxis], limits, colours, is_colour)
                self.artists_[k, column] = artist
        states = ("initial", "learnt")[-len(blocks) :]
        titles = [f"response to the\n{state} {_name(F, self.layer)}" for state in states]
        for ax, title in zip(axes[0], ["image", *titles]):
            ax.set_title(title)
        if not _are_signals(blocks[0]):
            self.colorbar_ = self.figure_.colorbar(artist, ax=[*axes[:, 1:].flat], label="response")
        return self


@dataclass(eq=False, repr=False)
class LossCurveDisplay:
    """Learning curves: loss and accuracy by epoch, on the training and the validation data.

    Curves of validation data are dashed, in the colour of those of the training data.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss.

    accuracy_curve : array-like of shape (n_epochs,), default=None
        Training accuracy; None: there is only the loss, as of a regressor.

    validation_loss_curve, validation_accuracy_curve : array-like of shape (n_epochs,), default=None
        Those of validation data; nan for epochs that had none.

    loss_name : str, default="loss"
        Label of the axis of the loss.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure with the curves.

    axes_ : ndarray of matplotlib Axes of shape (1, 2) or (1, 1)
        Axes of the loss and, if there is one, of the accuracy.

    lines_ : list of matplotlib Line2D
        Loss, validation loss, accuracy and validation accuracy, those that exist.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcnn import ConvNetClassifier, LossCurveDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = ConvNetClassifier(tol=None, max_iter=5, random_state=0)
    >>> clf = clf.fit(X[:1500] / 16, y[:1500], X_val=X[1500:] / 16, y_val=y[1500:])
    >>> LossCurveDisplay.from_estimator(clf)
    <...>
    """

    loss_curve: Array
    accuracy_curve: Array | None = None
    validation_loss_curve: Array | None = None
    validation_accuracy_curve: Array | None = None
    _: KW_ONLY
    loss_name: str = "loss"

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, **line_kwargs: Any
    ) -> "LossCurveDisplay":
        """Draw the learning curves of a network.

        Parameters
        ----------
        estimator : ConvNetClassifier, ConvNetRegressor or Pipeline
            Fitted network, or a pipeline that ends in one.

        ax : matplotlib Axes or array of Axes, default=None
            As of :meth:`plot`.

        name : str, default=None
            As of :meth:`plot`.

        **line_kwargs : dict
            As of :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If no epoch was run, or if only some epochs had validation data: the network does not
            record which.
        """
        network = _network_of(estimator, cls)
        curves: dict[str, Any] = {
            curve.removesuffix("_"): getattr(network, curve, None) for curve in CURVES
        }
        loss_name = "log-loss (nats)" if is_classifier(network) else "half the squared error"
        return cls(**curves, loss_name=loss_name).plot(ax, name=name, **line_kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any
    ) -> "LossCurveDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            Axes to be divided, or an array of as many as ``axes_`` has: those of another display,
            to draw the curves of several networks together. None: those of a new figure.

        name : str, default=None
            Name of the network in the legend.

        **line_kwargs : dict
            Passed to the ``plot`` of Matplotlib; validation curves are dashed all the same.

        Returns
        -------
        self : LossCurveDisplay
            The display.
        """
        n_epochs = len(self.loss_curve)
        if n_epochs == 0:
            raise ValueError(
                "loss_curve is empty, as after max_iter=0: fit the network for an epoch."
            )
        panels = [(self.loss_name, self.loss_curve, self.validation_loss_curve)]
        if self.accuracy_curve is not None:
            panels.append(("accuracy", self.accuracy_curve, self.validation_accuracy_curve))
        for label, *curves in panels:
            for kind, curve in zip(("training", "validation"), curves):
                if curve is not None and len(curve) != n_epochs:
                    raise ValueError(
                        f"The {kind} curve of the {label} has {len(curve)} values, but there are "
                        f"{n_epochs} epochs: pass curves to LossCurveDisplay with nan for the "
                        "epochs that have no value."
                    )
        axes = self.axes_ = _axes(ax, (1, len(panels)), 9, type(self).__name__)
        self.figure_, self.lines_ = axes[0, 0].figure, []
        style = {"marker": "o" if n_epochs == 1 else None, **_normalised(line_kwargs)}
        name = style.pop("label", None) or name
        epochs = np.arange(1, n_epochs + 1)
        for ax, (label, curve, validation_curve) in zip(axes[0], panels):
            self.lines_ += ax.plot(epochs, curve, label=name or "training", **style)
            if validation_curve is not None:
                dashed = {"color": self.lines_[-1].get_color(), "linestyle": "--"}
                validation_name = f"{name}, validation" if name else "validation"
                self.lines_ += ax.plot(
                    epochs, validation_curve, label=validation_name, **{**style, **dashed}
                )
            ax.set(xlabel="epoch", ylabel=label)
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        ax.legend()
        return self


def _network_of(estimator, display):
    """Return the fitted network, which is the estimator or the last step of a pipeline."""
    network = estimator[-1] if hasattr(estimator, "steps") else estimator
    if not isinstance(network, BaseConvNet):
        raise TypeError(
            f"{display.__name__} takes a ConvNetClassifier, a ConvNetRegressor or a Pipeline that "
            f"ends in one, not {type(network).__name__}: pass the fitted network itself, such as "
            "the best_estimator_ of a search, model[-1] of a pipeline, or the regressor_ of a "
            "TransformedTargetRegressor."
        )
    check_is_fitted(network)
    return network


def _with_channels(name, values):
    """Return images or filters as an array of four axes."""
    values = np.asarray(values)
    values = values[..., np.newaxis] if values.ndim == 3 else values
    if values.ndim != 4 or values.size == 0:
        raise ValueError(
            f"{name} has the shape {values.shape}: it must have three axes, or with channels four, "
            "and not be empty."
        )
    return values


def _name(n_filters, layer):
    """Return what the filters of a layer are called in a title."""
    return "filter" + "s" * (n_filters > 1) + (f" of layer {layer}" if layer else "")


def _are_signals(values):
    """Return whether arrays (m, H, W, C) have one row or one column."""
    return (values.shape[1] == 1) != (values.shape[2] == 1)


def _axes(ax, shape, n_tiles, display):
    """Return axes of a shape: those given, parts of the one given, or those of a new figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{display} needs Matplotlib: pip install matplotlib") from error
    if ax is None:
        side = 2 + sqrt(n_tiles) / 2
        size = side * shape[1] + 1, side * shape[0] + 0.5
        ax = plt.figure(figsize=size, layout="constrained").subplots()
    axes = np.array(ax, dtype=object, ndmin=2)
    if hasattr(ax, "get_subplotspec") and shape != (1, 1):
        if ax.get_subplotspec() is None:
            raise ValueError(
                "ax is not part of a grid of subplots, so it cannot be divided: create it with "
                "plt.subplots()."
            )
        ax.set_axis_off()
        axes = ax.get_subplotspec().subgridspec(*shape).subplots(squeeze=False)
    if axes.size != prod(shape):
        raise ValueError(
            f"ax has {axes.size} axes, but {display} draws into {' x '.join(map(str, shape))}: "
            "pass as many, or one to be divided."
        )
    return axes.reshape(shape)


def _normalised(line_kwargs):
    """Return keyword arguments of Matplotlib's lines with full names in place of aliases."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return normalize_kwargs(line_kwargs, Line2D)


def _draw_images(ax, images, limits, cmap, is_colour):
    """Draw images (m, H, W, C) beside each other, and so the channels of each unless in colour."""
    low, high = limits
    if is_colour:
        picture = np.nan_to_num(_mosaic((images - low) / (high - low or 1)), nan=BETWEEN)
    else:
        slices = [_mosaic(np.moveaxis(image, -1, 0)) for image in images]
        picture = _mosaic(np.stack(slices), gap=1 if images.shape[-1] == 1 else 2)
    ax.set(xticks=[], yticks=[], facecolor=str(BETWEEN))
    return ax.imshow(picture, vmin=low, vmax=high, cmap=cmap)


def _mosaic(tiles, gap=1):
    """Return pictures (m, h, w, ...) as one, row by row, about square, with nan between them."""
    m, h, w, *channels = tiles.shape
    n_columns = min(m, ceil(sqrt(m * h / w)))
    height, width = h + gap, w + gap
    mosaic = np.full((ceil(m / n_columns) * height, n_columns * width, *channels), np.nan)
    for k, tile in enumerate(tiles):
        row, column = divmod(k, n_columns)
        mosaic[row * height : row * height + h, column * width : column * width + w] = tile
    return mosaic[:-gap, :-gap]


def _draw_curves(ax, curves, limits, start=0):
    """Draw curves (m, L, C) one above the other; those of C channels from one base line."""
    m, L, C = curves.shape
    low, high = limits
    distance = high - low or 1.0
    base = -distance * np.arange(m)
    x = np.arange(start, start + L)
    lines = [ax.plot(x, curves[:, :, c].T + base, color=f"C{c}", lw=1) for c in range(C)]
    labelled = slice(None, None, ceil(m / 8))
    ax.set_yticks(base[labelled], range(m)[labelled])
    ax.set_ylim(base[-1] + low - distance / 20, high + distance / 20)
    ax.grid(axis="y", alpha=0.3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return np.array(lines, dtype=object)
