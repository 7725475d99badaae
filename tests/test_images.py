"""What counts as an image."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skcnn._images import flatten, infer_shape, with_channels


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (1, 7), (4, 5, 1)])
def test_images_become_rows_without_a_copy(shape):
    X = np.random.RandomState(0).rand(6, *shape)
    rows, found = flatten(X)
    assert found == shape
    assert rows.shape == (6, np.prod(shape))
    assert np.shares_memory(rows, X)
    assert_array_equal(rows.reshape(X.shape), X)


@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 2, 2, 2, 2)])
def test_other_arrays_are_left_to_scikit_learn(shape):
    X = np.zeros(shape)
    rows, found = flatten(X)
    assert rows is X
    assert found is None


def test_nested_lists_are_images():
    rows, found = flatten([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    assert found == (2, 2)
    assert_array_equal(rows, [[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize(
    "image_shape, shape_of_X, n_features, expected",
    [
        (None, (4, 6), 24, (4, 6)),
        (None, (4, 6, 1), 24, (4, 6, 1)),
        (None, None, 784, (28, 28)),
        (None, None, 1, (1, 1)),
        (None, None, 10, (1, 10)),
        ((2, 5), None, 10, (2, 5)),
        ([2, 5], None, 10, (2, 5)),
        ((2, 2, 3), None, 12, (2, 2, 3)),
        ((4, 6), (4, 6), 24, (4, 6)),
        ((4, 6, 1), (4, 6), 24, (4, 6, 1)),
    ],
)
def test_shape_of_the_images(image_shape, shape_of_X, n_features, expected):
    assert infer_shape(image_shape, shape_of_X, n_features) == expected


@pytest.mark.parametrize(
    "image_shape, shape_of_X, message",
    [
        ((4, 5), None, r"\(4, 5\) has 20 values an image, but X has 24 features"),
        ((6, 4), (4, 6), r"\(6, 4\) does not match .* \(4, 6\)"),
        ((24,), None, r"\(24,\) is not the shape of an image"),
        ((4, 6.0), None, "is not the shape of an image"),
        ((-4, -6), None, "is not the shape of an image"),
        ((2, 2, 2, 3), None, "is not the shape of an image"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(image_shape, shape_of_X, message):
    with pytest.raises(ValueError, match=message):
        infer_shape(image_shape, shape_of_X, 24)


def test_channels_of_a_shape():
    assert with_channels((3, 4)) == (3, 4, 1)
    assert with_channels((3, 4, 2)) == (3, 4, 2)
