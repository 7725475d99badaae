"""Augmentation: what each kind does to images, and what all of them promise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from skcnn import ConvNetClassifier
from skcnn.augmentation import flip_left_right, jitter, shift

KINDS = [shift(pixels=3), flip_left_right(), jitter(brightness=0.5, contrast=0.5)]
each_kind = pytest.mark.parametrize("augment", KINDS, ids=repr)


def images_of_shape(*shape, dtype=float):
    return np.random.RandomState(7).normal(size=shape).astype(dtype)


# What all of them promise


@each_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 6, 7, 3), (4, 1, 9, 2), (4, 9, 1, 2), (1, 1, 1, 1)])
def test_shape_and_dtype_are_kept_and_the_input_unchanged(augment, dtype, shape):
    images = images_of_shape(*shape, dtype=dtype)
    before = images.copy()
    images.flags.writeable = False
    changed = augment(images, np.random.RandomState(0))
    assert changed.shape == shape and changed.dtype == dtype
    assert changed.flags.c_contiguous and changed.flags.writeable
    assert not np.shares_memory(changed, images)
    assert_array_equal(images, before)


@each_kind
def test_an_empty_batch(augment):
    changed = augment(images_of_shape(0, 6, 7, 3), np.random.RandomState(0))
    assert changed.shape == (0, 6, 7, 3)


@each_kind
def test_equal_draws_give_equal_images(augment):
    images = images_of_shape(20, 6, 7, 3)
    first, again, other = (augment(images, np.random.RandomState(seed)) for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert (first != other).any()


@each_kind
def test_only_the_given_random_state_is_drawn_from(augment):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    augment(images_of_shape(5, 6, 7, 3), np.random.RandomState(0))
    assert_array_equal(np.random.get_state()[1], before)


@each_kind
def test_float32_gives_what_float64_gives(augment):
    images = images_of_shape(20, 6, 7, 3, dtype=np.float32)
    single, double = (
        augment(images.astype(dtype), np.random.RandomState(0)) for dtype in (np.float32, float)
    )
    assert_allclose(single, double, rtol=1e-6, atol=1e-6)


@each_kind
def test_any_layout_gives_the_same(augment):
    images = images_of_shape(5, 6, 7, 3)
    layouts = [images, np.asfortranarray(images), np.repeat(images, 2, axis=2)[:, :, ::2]]
    first, *others = (augment(layout, np.random.RandomState(0)) for layout in layouts)
    for other in others:
        assert_array_equal(other, first)


@each_kind
def test_the_images_of_a_batch_are_changed_each_in_its_own_way(augment):
    images = np.repeat(images_of_shape(1, 6, 7, 3), 20, axis=0)
    changed = augment(images, np.random.RandomState(0))
    assert (changed != changed[0]).any()


@pytest.mark.parametrize(
    "augment, name, values",
    [(shift(), "pixels", [0, 2]), (flip_left_right(), "p", [0, 1]), (jitter(), "contrast", [0, 1])],
)
def test_a_grid_search_can_set_the_parameters(augment, name, values):
    images = images_of_shape(20, 6, 7, 3)
    for params in ParameterGrid({name: values}):
        candidate = clone(augment).set_params(**params)
        assert type(candidate) is type(augment) and candidate.get_params() != augment.get_params()
        changed = candidate(images, np.random.RandomState(0))
        chosen = type(augment)(**{**augment.get_params(), **params})
        assert_array_equal(changed, chosen(images, np.random.RandomState(0)))


@pytest.mark.parametrize(
    "augment, message",
    [
        (shift(pixels=-1), r"'pixels' parameter of shift must be an int in the range \[0.*Got -1"),
        (shift(pixels=1.5), "'pixels' parameter of shift must be an int .* Got 1.5"),
        (shift(pixels=None), "'pixels' parameter of shift must be an int .* Got None"),
        (flip_left_right(p=1.1), r"'p' parameter .* range \[0.0, 1.0\]. Got 1.1"),
        (flip_left_right(p=-0.1), "'p' parameter .* Got -0.1"),
        (flip_left_right(p=np.nan), "'p' parameter .* Got nan"),
        (flip_left_right(p="half"), "'p' parameter .* Got 'half'"),
        (jitter(brightness=-1), "'brightness' parameter of jitter .* Got -1"),
        (jitter(brightness=np.inf), "'brightness' parameter of jitter .* Got inf"),
        (jitter(contrast=1.1), r"'contrast' parameter of jitter .* \[0.0, 1.0\]. Got 1.1"),
        (jitter(contrast=(0, 1)), r"'contrast' parameter of jitter .* Got \(0, 1\)"),
    ],
)
def test_wrong_parameters_are_named_when_called(augment, message):
    with pytest.raises(ValueError, match=message):
        augment(images_of_shape(2, 3, 3, 1), np.random.RandomState(0))


@pytest.mark.parametrize("augment", [shift, [flip_left_right(), jitter]])
def test_a_class_in_place_of_an_instance_is_refused(augment):
    X, y = images_of_shape(6, 3, 3), [0, 1] * 3
    with pytest.raises(TypeError, match=r"augment=.* pass .* an instance, such as shift\(\)"):
        ConvNetClassifier(augment=augment).fit(X, y)


@pytest.mark.parametrize("batch_size", [4, 200])
def test_an_augmentation_may_use_its_memory_again(batch_size):
    class Noise:
        memory = np.empty((200, 6, 6, 1))

        def __call__(self, images, random_state):
            out = self.memory[: len(images)]
            return np.add(images, random_state.randn(*images.shape), out=out)

    def fresh(images, random_state):
        return noise(images, random_state).copy()

    X, y, noise = images_of_shape(400, 6, 6), np.arange(400) % 2, Noise()
    params = {"batch_size": batch_size, "max_iter": 2, "tol": None, "random_state": 0}
    reused, copied = (ConvNetClassifier(augment=f, **params).fit(X, y) for f in (noise, fresh))
    assert_array_equal(reused.filters_, copied.filters_)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda images: images[1:], r"the shape \(5, 3, 3, 1\) and the type float64"),
        (lambda images: images + 1j, "the type complex128"),
        (lambda images: images.astype(str), "the type <U"),
        (lambda images: [*images[:-1], [1.0]], "images of several shapes"),
        (lambda images: None, r"the shape \(\) and the type object"),
        (lambda images: images * np.nan, "NaN or infinite values"),
    ],
)
def test_what_an_augmentation_must_return(change, message):
    X, y = images_of_shape(6, 3, 3), [0, 1] * 3
    model = ConvNetClassifier(augment=lambda images, random_state: change(images))
    with pytest.raises(ValueError, match=f"augment must return .* {message}"):
        model.fit(X, y)


# shift


def test_shift_is_that_of_scipy_by_whole_pixels():
    images = images_of_shape(400, 6, 7, 2)
    counts = np.zeros((5, 5), int)
    for image, shifted in zip(images, shift(pixels=2)(images, np.random.RandomState(0))):
        offsets = [
            (i, j)
            for i in range(-2, 3)
            for j in range(-2, 3)
            if np.array_equal(shifted, ndimage.shift(image, (i, j, 0), order=0, prefilter=False))
        ]
        assert len(offsets) == 1
        counts[offsets[0][0] + 2, offsets[0][1] + 2] += 1
    assert counts.min() > 0
    # Uniform and independent: chi-squared with 24 degrees of freedom, beyond 51 once in a thousand.
    assert ((counts - 16) ** 2 / 16).sum() < 51


@pytest.mark.parametrize("shape", [(50, 1, 9, 2), (50, 9, 1, 2)])
def test_signals_move_along_their_one_axis(shape):
    signals = images_of_shape(*shape).reshape(50, 9, 2)
    shifted = shift(pixels=2)(signals.reshape(shape), np.random.RandomState(0)).reshape(50, 9, 2)
    found = set()
    for signal, moved in zip(signals, shifted):
        (offset,) = [
            k for k in range(-2, 3) if np.array_equal(moved, ndimage.shift(signal, (k, 0), order=0))
        ]
        found.add(offset)
    assert found == {-2, -1, 0, 1, 2}


def test_images_that_move_out_are_zero():
    images = 1 + np.arange(200 * 2 * 3.0).reshape(200, 2, 3, 1)
    shifted = shift(pixels=1000)(images, np.random.RandomState(0))
    assert set(np.unique(shifted)) <= {0, *images.ravel()}
    assert (shifted == 0).all(axis=(1, 2, 3)).sum() > 190


def test_shift_by_no_pixels():
    images = images_of_shape(5, 6, 7, 3)
    assert_array_equal(shift(pixels=0)(images, np.random.RandomState(0)), images)


def test_shift_takes_a_small_numpy_integer():
    images = images_of_shape(5, 6, 7, 3)
    expected = shift(pixels=127)(images, np.random.RandomState(0))
    assert_array_equal(shift(pixels=np.int8(127))(images, np.random.RandomState(0)), expected)


# flip_left_right


def test_images_are_mirrored_with_their_probability():
    images = images_of_shape(1000, 3, 4, 2)
    flipped = flip_left_right(p=0.3)(images, np.random.RandomState(0))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (flipped == images).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 250 < mirrored.sum() < 350  # 3.5 standard deviations


@pytest.mark.parametrize("p, step", [(0, 1), (1, -1)])
def test_none_or_all_images_are_mirrored(p, step):
    images = images_of_shape(100, 3, 4, 2)
    assert_array_equal(flip_left_right(p=p)(images, np.random.RandomState(0)), images[:, :, ::step])


# jitter


def test_jitter_changes_each_image_by_one_factor_and_one_offset():
    images = images_of_shape(500, 4, 5, 3)
    changed = jitter(brightness=0.4, contrast=0.2)(images, np.random.RandomState(0))
    lines = [np.polyfit(x.ravel(), y.ravel(), 1) for x, y in zip(images, changed)]
    factors, offsets = np.transpose(lines)
    fitted = images * factors[:, None, None, None] + offsets[:, None, None, None]
    assert_allclose(changed, fitted, atol=1e-12)
    for values, low, high in [(factors, 0.8, 1.2), (offsets, -0.4, 0.4)]:
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high
    assert abs(np.corrcoef(factors, offsets)[0, 1]) < 0.15


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_jitter_of_one_kind(name):
    images = images_of_shape(5, 4, 5, 3)
    params = {"brightness": 0, "contrast": 0, name: 0.5}
    changed = jitter(**params)(images, np.random.RandomState(0))
    change = changed / images if name == "contrast" else changed - images
    assert_allclose(change, np.broadcast_to(change[:, :1, :1, :1], change.shape))
    assert (abs(changed - images) > 0.01).any()


def test_jitter_of_nothing():
    images = images_of_shape(5, 4, 5, 3)
    changed = jitter(brightness=0, contrast=0)(images, np.random.RandomState(0))
    assert_array_equal(changed, images)


def test_jitter_refuses_integers():
    with pytest.raises(TypeError, match="floats, not of uint8: .*astype"):
        jitter()(np.ones((2, 3, 3, 1), np.uint8), np.random.RandomState(0))
