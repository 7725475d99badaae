"""Augmentation: random changes of the images of a training batch.

Each is a callable ``augment(images, random_state)``: it takes the images of a batch, of shape
(n, H, W, C), and returns changed ones of the same shape and dtype. It never changes its input, and
draws only from ``random_state``, a :class:`numpy.random.RandomState`.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from ._estimator.documentation import HasDocumentation
from ._typing import Array

__all__ = ["flip_left_right", "jitter", "shift"]

# The classes have lower-case names (hence N801) because they stand where a function may stand. They
# are estimators so that they can be cloned, and that a grid search can set `augment__pixels`.


class shift(HasDocumentation, BaseEstimator):  # noqa: N801
    """Move each image by whole pixels, up or down and left or right.

    Both offsets of an image are drawn uniformly from ``-pixels, ..., pixels``. Zeros are moved in,
    as in the padding of a convolution. Along an axis of one pixel nothing is moved, so a signal,
    an image of one row, moves along its columns only.

    Parameters
    ----------
    pixels : int, default=1
        Greatest offset, in pixels; at least 0.

    Raises
    ------
    ValueError
        When called, if ``pixels`` is not such a number.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.augmentation import shift
    >>> signals = np.arange(1.0, 9.0).reshape(2, 1, 4, 1)
    >>> shift(pixels=2)(signals, np.random.RandomState(0))[:, 0, :, 0]
    array([[3., 4., 0., 0.],
           [0., 5., 6., 7.]])
    """

    _parameter_constraints: dict = {"pixels": [Interval(Integral, 0, None, closed="left")]}

    def __init__(self, pixels: int = 1) -> None:
        self.pixels = pixels

    def __call__(self, images: Array, random_state: np.random.RandomState) -> Array:
        """Return shifted copies of images of shape (n, H, W, C)."""
        self._validate_params()
        n, H, W, _ = images.shape
        pixels = int(self.pixels)
        offsets = random_state.randint(-pixels, pixels + 1, size=(n, 2)) * [H > 1, W > 1]
        offsets = offsets.clip([-H, -W], [H, W])  # all zeros from there on
        shifted = np.zeros(images.shape, images.dtype)
        for image, moved, (i, j) in zip(images, shifted, offsets.tolist()):
            moved[max(i, 0) : H + min(i, 0), max(j, 0) : W + min(j, 0)] = image[
                max(-i, 0) : H - max(i, 0), max(-j, 0) : W - max(j, 0)
            ]
        return shifted


class flip_left_right(HasDocumentation, BaseEstimator):  # noqa: N801
    """Mirror some of the images: their columns are reversed.

    Parameters
    ----------
    p : float, default=0.5
        Probability with which an image is mirrored, from 0 to 1.

    Raises
    ------
    ValueError
        When called, if ``p`` is not such a number.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.augmentation import flip_left_right
    >>> images = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    >>> flip_left_right(p=1)(images, np.random.RandomState(0))[0, :, :, 0]
    array([[2., 1.],
           [4., 3.]])
    """

    _parameter_constraints: dict = {"p": [Interval(Real, 0, 1, closed="both")]}

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, images: Array, random_state: np.random.RandomState) -> Array:
        """Return copies of images of shape (n, H, W, C), some of them mirrored."""
        self._validate_params()
        mirrored = random_state.uniform(size=len(images)) < self.p
        flipped = np.array(images)
        flipped[mirrored] = images[mirrored, :, ::-1]
        return flipped


class jitter(HasDocumentation, BaseEstimator):  # noqa: N801
    """Change brightness and contrast: ``contrast_factor * image + brightness_offset``.

    The factor of an image is drawn uniformly from ``1 - contrast`` to ``1 + contrast``, and its
    offset from ``-brightness`` to ``brightness``; all its pixels and channels have the same.

    Parameters
    ----------
    brightness : float, default=0.1
        Greatest offset, at least 0, in the units of the images: of images that
        :class:`~skcnn.ImageScaler` scaled, standard deviations of a pixel (or channel).

    contrast : float, default=0.1
        Greatest relative change of each value, from 0 to 1. :class:`~skcnn.ImageScaler` makes 0
        the mean; in images with another mean, contrast changes their brightness too.

    Raises
    ------
    ValueError
        When called, if a parameter is not such a number.
    TypeError
        When called with images of integers, which cannot be changed by fractions.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.augmentation import jitter
    >>> images = np.array([[-1.0, 1.0], [-2.0, 2.0]]).reshape(2, 1, 2, 1)
    >>> jitter(brightness=0.5)(images, np.random.RandomState(0))[:, 0, :, 0].round(2)
    array([[-0.91,  1.11],
           [-2.04,  2.13]])
    """

    _parameter_constraints: dict = {
        "brightness": [Interval(Real, 0, None, closed="left")],
        "contrast": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, brightness: float = 0.1, contrast: float = 0.1) -> None:
        self.brightness = brightness
        self.contrast = contrast

    def __call__(self, images: Array, random_state: np.random.RandomState) -> Array:
        """Return images of shape (n, H, W, C) with other brightness and contrast."""
        self._validate_params()
        if images.dtype.kind != "f":
            raise TypeError(
                f"jitter takes images of floats, not of {images.dtype}: scale them, or convert "
                "them with astype(float)."
            )
        draws = random_state.uniform(-1, 1, size=(2, len(images), 1, 1, 1))
        factors = (1 + self.contrast * draws[0]).astype(images.dtype)
        offsets = (self.brightness * draws[1]).astype(images.dtype)
        return images * factors + offsets
