"""What counts as an image."""

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler
from skcnn._estimator.shapes import check_shape, flatten, infer_shape, with_channels

BRIEF = {"max_iter": 1, "tol": None, "random_state": 0}


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (1, 7), (4, 5, 1)])
def test_images_become_rows_without_a_copy(shape):
    X = np.random.RandomState(0).rand(6, *shape)
    rows, found = flatten(X)
    assert found == shape
    assert rows.shape == (6, np.prod(shape))
    assert np.shares_memory(rows, X)
    assert_array_equal(rows.reshape(X.shape), X)


@pytest.mark.parametrize("shape", [(6,), (6, 5)])
def test_other_arrays_are_left_to_scikit_learn(shape):
    X = np.zeros(shape)
    rows, found = flatten(X)
    assert rows is X
    assert found is None


@pytest.mark.parametrize("shape", [(4, 5), (5, 5), (5, 4, 3)])
@pytest.mark.parametrize(
    "estimator, method",
    [
        (ConvNetClassifier(max_iter=1, tol=None), "predict"),
        (ConvNetRegressor(max_iter=1, tol=None), "partial_fit"),
        (ImageScaler(), "transform"),
        (ImageScaler(), "partial_fit"),
    ],
)
def test_one_image_in_place_of_several_is_refused(estimator, method, shape):
    X, y = np.random.RandomState(0).rand(6, *shape), [0, 1] * 3
    estimator.fit(X, y)
    arguments = (y[:1],) if method == "partial_fit" else ()
    with pytest.raises(ValueError, match=r"X has the shape of one image, .*: pass X\[np.newaxis\]"):
        getattr(estimator, method)(X[0], *arguments)
    getattr(estimator, method)(X[:1], *arguments)


@pytest.mark.parametrize("estimator", [ConvNetClassifier(), ImageScaler()])
def test_more_than_four_dimensions_are_refused(estimator):
    X = np.zeros((6, 4, 4, 1, 2))
    with pytest.raises(ValueError, match=r"X has the shape \(6, 4, 4, 1, 2\): .*\(n, H, W, C\)"):
        estimator.fit(X, [0, 1] * 3)


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
        ((1, 24), (24, 1), 24, (1, 24)),  # signals of one channel, which is an axis
        ((1, 8, 3), (8, 3), 24, (1, 8, 3)),
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


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (4, 5, 5)])
def test_channels_that_come_first_are_told_of(shape):
    with pytest.raises(ValueError, match=r"pass X.transpose\(0, 2, 3, 1\), or confirm"):
        infer_shape(None, shape, int(np.prod(shape)))
    assert infer_shape(shape, shape, int(np.prod(shape))) == shape


@pytest.mark.parametrize("shape", [(32, 32, 3), (3, 4, 4), (3, 9, 8), (5, 8, 8), (3, 8)])
def test_other_orders_may_be_what_they_seem(shape):
    assert infer_shape(None, shape, int(np.prod(shape))) == shape


@pytest.mark.parametrize(
    "image_shape, shape_of_X, way_out",
    [
        ((1, 12, 2), (2, 12), "X.transpose(0, 2, 1)"),
        ((4, 3, 2), (2, 4, 3), "X.transpose(0, 2, 3, 1)"),
        ((6, 4), (4, 6), "X.transpose(0, 2, 1)"),
    ],
)
def test_axes_in_another_order_are_told_of(image_shape, shape_of_X, way_out):
    with pytest.raises(ValueError, match=re.escape(way_out)):
        infer_shape(image_shape, shape_of_X, 24)
    with pytest.raises(ValueError, match=re.escape(way_out)):
        check_shape(shape_of_X, image_shape, ConvNetClassifier())


@pytest.mark.parametrize("estimator", [ConvNetClassifier(), ConvNetRegressor(), ImageScaler()])
@pytest.mark.parametrize("container", ["array", "series", "table"])
def test_arrays_in_a_column_are_told_of(estimator, container):
    pandas = pytest.importorskip("pandas")
    images = np.empty(4, dtype=object)
    images[:] = list(np.random.RandomState(0).randn(4, 3, 3))
    X = {
        "array": images,
        "series": pandas.Series(images),
        "table": pandas.DataFrame({"image": images}),
    }[container]
    with pytest.raises(ValueError, match=r"np\.stack|Expected 2D array"):
        estimator.fit(X, [0, 1, 0, 1])


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"])
@pytest.mark.parametrize("estimator", [ConvNetClassifier(), ConvNetRegressor(), ImageScaler()])
def test_numbers_of_few_bits_are_to_be_converted(estimator, name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    X, y = np.random.RandomState(0).randn(6, 3, 3).astype(getattr(ml_dtypes, name)), [0, 1] * 3
    for images in (X, X.reshape(6, 9)):
        with pytest.raises(ValueError, match=rf"X has .* {name}, .* pass X.astype\('float32'\)"):
            estimator.fit(images, y)
    estimator.set_params(**{k: v for k, v in BRIEF.items() if k in estimator.get_params()})
    estimator.fit(X.astype("float32"), y)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5,)])
@pytest.mark.parametrize("of", [list, np.array, lambda y: np.array(y)[:, np.newaxis]])
def test_samples_on_the_last_axis_are_named(shape, of):
    X, y = np.random.RandomState(0).rand(*shape, 6), of([0.0, 1.0, 2.0] * 2)
    axes = ", ".join(map(str, [len(shape), *range(len(shape))]))
    message = rf"X has the shape .*, but y has 6 samples, .*: pass X\.transpose\({axes}\)\."
    model = ConvNetRegressor(**BRIEF)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            method(X, y)
    model.fit(np.moveaxis(X, -1, 0), np.ravel(y))
    with pytest.raises(ValueError, match="X_val, y_val: " + message):
        model.fit(np.moveaxis(X, -1, 0), np.ravel(y), X_val=X, y_val=y)


@pytest.mark.parametrize("n_of_y", [1, 2, 7])
def test_other_numbers_of_samples_are_left_to_scikit_learn(n_of_y):
    with pytest.raises(TypeError, match="Input should have at least 1 dimension"):
        ConvNetRegressor().fit(np.zeros((4, 5, 6)), np.array(3.0))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ConvNetRegressor().fit(np.zeros((4, 5, 3, 6)), np.arange(n_of_y))
    ConvNetRegressor(**BRIEF).fit(np.eye(6).reshape(6, 1, 6), np.arange(6))  # of both axes


@pytest.mark.parametrize("fitted_shape", [(4, 5), (4, 5, 1)])
@pytest.mark.parametrize("n_channels", [2, 3, 4])
def test_colour_images_for_grey_ones_are_to_be_passed_as_one_channel(fitted_shape, n_channels):
    X, y = np.random.RandomState(0).rand(6, *fitted_shape), [0, 1] * 3
    colour = np.repeat(X.reshape(6, 4, 5, 1), n_channels, axis=3)
    for estimator in (ConvNetClassifier(**BRIEF).fit(X, y), ImageScaler().fit(X)):
        with pytest.raises(ValueError, match=r": pass one channel, X\[\.\.\., 0\], if all are"):
            getattr(estimator, "predict" if hasattr(estimator, "predict") else "transform")(colour)
        with pytest.raises(ValueError, match=r"image_shape=.*: pass one channel, X\[\.\.\., 0\]"):
            estimator.set_params(image_shape=fitted_shape).fit(colour, y)


def test_verbose_says_what_rows_were_taken_for(capsys):
    X, y = np.random.RandomState(0).randn(6, 9), [0, 1] * 3
    ConvNetClassifier(verbose=True, max_iter=1, tol=None).fit(X, y)
    assert capsys.readouterr().out.startswith("rows of 9 values: images of 3 x 3 pixels")
    ConvNetClassifier(verbose=True, max_iter=1, tol=None, image_shape=(3, 3)).fit(X, y)
    assert "rows of" not in capsys.readouterr().out


def test_channels_of_a_shape():
    assert with_channels((3, 4)) == (3, 4, 1)
    assert with_channels((3, 4, 2)) == (3, 4, 2)
