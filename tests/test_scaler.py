"""ImageScaler: StandardScaler on rows, and on images pixel by pixel or channel by channel."""

import copy
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcnn import ConvNetClassifier, ImageScaler, _scaler

STATISTICS = ("mean_", "var_", "scale_")


@parametrize_with_checks([ImageScaler(), ImageScaler(per="channel")])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Collected ahead of scikit-learn's tests, so that what they import is ImageScaler.
STAND_IN = """
import sklearn.preprocessing
from skcnn import ImageScaler
sklearn.preprocessing.StandardScaler = ImageScaler
"""


def test_scikit_learn_tests_of_standard_scaler_pass(tmp_path):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    options = ["-q", "-rA", "-p", "stand_in", "-p", "no:cacheprovider", "-c", "/dev/null"]
    # Those of other transformers.
    others = (
        "power or yeo or box_cox or quantile_transform or binarize or normalize or minmax_scaler "
        "or maxabs_scaler or robust_scale or kernelcenterer or center_kernel or add_dummy"
    )
    tests = ["-k", f"not ({others})", "--pyargs", "sklearn.preprocessing.tests.test_data"]
    program = [sys.executable, "-m", "pytest", *options, *tests]
    run = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "test_one_to_one_features[ImageScaler]" in run.stdout  # it was our scaler


@pytest.fixture(params=[(5, 4), (5, 4, 1), (5, 4, 3)], ids=str)
def images(request):
    X = np.random.RandomState(0).rand(30, *request.param) * 255
    X[:, 2, 2] = 7.0  # a pixel without variance
    return X


def test_each_pixel_is_standardised(images):
    scaler = ImageScaler()
    scaled = scaler.fit_transform(images)
    assert scaled.shape == images.shape
    assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    expected = np.ones(images.shape[1:])
    expected[2, 2] = 0
    assert_allclose(scaled.std(axis=0), expected, atol=1e-12)
    assert_allclose(scaler.mean_, images.mean(axis=0))
    assert_allclose(scaler.var_, images.var(axis=0), atol=1e-9)
    for name in STATISTICS:
        assert getattr(scaler, name).shape == images.shape[1:]
    assert scaler.n_samples_seen_ == 30
    assert scaler.n_features_in_ == images[0].size


def test_each_channel_is_standardised(images):
    scaler = ImageScaler(per="channel")
    scaled = scaler.fit_transform(images)
    assert scaled.shape == images.shape
    channels = scaled.reshape(-1, *images.shape[3:])
    axes = (0, 1, 2)
    assert_allclose(scaled.mean(axis=axes), 0, atol=1e-12)
    assert_allclose(scaled.std(axis=axes), 1)
    assert channels.shape[1:] == images.shape[3:]
    assert_allclose(scaler.mean_, np.broadcast_to(images.mean(axis=axes), images.shape[1:]))
    assert_allclose(scaler.var_, np.broadcast_to(images.var(axis=axes), images.shape[1:]))
    for name in STATISTICS:
        assert getattr(scaler, name).shape == images.shape[1:]


def test_images_and_rows_of_pixels_give_the_same_to_the_bit(images):
    rows = images.reshape(30, -1)
    reference = StandardScaler().fit(rows)
    of_images, of_rows = ImageScaler().fit(images), ImageScaler().fit(rows)
    for scaler in (of_images, of_rows):
        for name in STATISTICS:
            assert_array_equal(getattr(scaler, name).ravel(), getattr(reference, name))
        assert_array_equal(scaler.transform(rows), reference.transform(rows))
        assert_array_equal(scaler.transform(images).reshape(30, -1), reference.transform(rows))
        assert scaler.transform(images).shape == images.shape
    assert of_rows.mean_.shape == (images[0].size,)


def test_rows_have_one_channel(images):
    rows = images.reshape(30, -1)
    scaler = ImageScaler(per="channel").fit(rows)
    assert_allclose(scaler.transform(rows), (rows - rows.mean()) / rows.std())
    assert_allclose(scaler.inverse_transform(scaler.transform(rows)), rows)
    assert_allclose(scaler.mean_, np.full(rows.shape[1], rows.mean()))
    assert not hasattr(scaler, "image_shape_")
    assert scaler.transform(images).shape == images.shape
    parts = ImageScaler(per="channel").partial_fit(rows[:10]).partial_fit(rows[10:])
    for name in (*STATISTICS, "n_samples_seen_"):
        assert_allclose(getattr(parts, name), getattr(scaler, name), err_msg=name)
    monochrome = ImageScaler(per="channel").fit(rows.reshape(30, -1, 4))
    assert_allclose(scaler.scale_, monochrome.scale_.ravel())


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_image_shape_says_how_to_read_rows(images, per, as_list):
    rows, shape = images.reshape(30, -1), images.shape[1:]
    of_images = ImageScaler(per=per).fit(images)
    scaler = ImageScaler(per=per, image_shape=list(shape) if as_list else shape)
    for fitted in (scaler.fit(rows), scaler.fit(images), scaler.partial_fit(rows)):
        assert fitted.image_shape_ == shape
        assert_allclose(fitted.transform(rows), of_images.transform(images).reshape(30, -1))
    scaler.fit(pd.DataFrame(rows))
    for name in STATISTICS:
        assert_allclose(getattr(scaler, name), getattr(of_images, name), atol=1e-9)
    assert_allclose(scaler.transform(images), of_images.transform(images))
    with pytest.raises(ValueError, match="is expecting"):
        scaler.transform(images.swapaxes(1, 2))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_rows_of_images_come_out_as_a_table_where_that_is_asked_for(images, container):
    pytest.importorskip(container)
    rows = images.reshape(30, -1)
    scaler = ImageScaler(per="channel", image_shape=images.shape[1:])
    table = scaler.set_output(transform=container).fit_transform(rows)
    assert type(table).__module__.startswith(container)
    assert_allclose(np.asarray(table), scaler.transform(images).reshape(30, -1))


@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_inverse_transform(images, per):
    scaler = ImageScaler(per=per).fit(images)
    scaled = scaler.transform(images)
    assert_allclose(scaler.inverse_transform(scaled), images)
    rows = scaler.inverse_transform(scaled.reshape(30, -1))
    assert_allclose(rows, images.reshape(30, -1))


def test_inverse_transform_of_rows_is_that_of_standard_scaler(images):
    rows = images.reshape(30, -1)
    scaled = StandardScaler().fit(rows).inverse_transform(rows)
    assert_array_equal(ImageScaler().fit(rows).inverse_transform(rows), scaled)


@pytest.mark.parametrize("make", [csr_array, lambda rows: rows], ids=["sparse", "dense"])
def test_a_failed_call_on_rows_leaves_the_statistics(images, make):
    rows = make(images.reshape(30, -1))
    scaler = ImageScaler(with_mean=False).fit(rows)
    before = pickle.dumps(vars(scaler))
    with pytest.raises(ValueError, match="is not finite, since values of X"):
        scaler.partial_fit(rows * 1e200)
    assert pickle.dumps(vars(scaler)) == before
    copied = copy.copy(scaler)
    scaler.partial_fit(rows * 2)
    assert pickle.dumps(vars(copied)) == before


@pytest.mark.parametrize("on_rows", [True, False])
@pytest.mark.parametrize("params", [{}, {"with_mean": False, "with_std": False}])
def test_a_failed_call_leaves_the_counts_of_missing_values(images, on_rows, params):
    images[3, 1, 1] = np.nan
    X = images.reshape(30, -1) if on_rows else images
    scaler = ImageScaler(**params).fit(X)
    before, counts = pickle.dumps(vars(scaler)), scaler.n_samples_seen_.copy()

    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise ZeroDivisionError

    scaler.set_callbacks(Failing())
    with pytest.raises(ZeroDivisionError):
        scaler.partial_fit(X)
    assert_array_equal(scaler.n_samples_seen_, counts)
    assert pickle.dumps(vars(scaler.set_callbacks())) == before
    assert_array_equal(scaler.partial_fit(X).n_samples_seen_, 2 * counts)


@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fit_adds_up(images, per, weighted):
    weight = np.random.RandomState(1).rand(30) if weighted else None
    whole = ImageScaler(per=per).fit(images, sample_weight=weight)
    stepwise = ImageScaler(per=per)
    for part in (slice(10), slice(10, 11), slice(11, 30)):
        X = images[part] if part != slice(10, 11) else images[part].reshape(1, -1)
        stepwise.partial_fit(X, sample_weight=None if weight is None else weight[part])
    for name in (*STATISTICS, "n_samples_seen_"):
        assert_allclose(getattr(stepwise, name), getattr(whole, name), err_msg=name)


@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_weights_act_as_repetitions(images, per):
    repeats = np.random.RandomState(0).randint(0, 4, size=30)
    weighted = ImageScaler(per=per).fit(images, sample_weight=repeats)
    repeated = ImageScaler(per=per).fit(images.repeat(repeats, axis=0))
    for name in STATISTICS:
        assert_allclose(getattr(weighted, name), getattr(repeated, name), atol=1e-9)


def test_a_second_fit_forgets_the_first(images):
    scaler = ImageScaler().fit(images)
    rows = images.reshape(30, -1)[:, :7]
    scaler.fit(rows)
    assert_array_equal(scaler.transform(rows), StandardScaler().fit_transform(rows))
    assert not hasattr(scaler, "image_shape_")
    scaler.fit(images[:, :3])
    assert scaler.mean_.shape == images[:, :3].shape[1:]


@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_without_mean_or_deviation(images, per):
    centred = ImageScaler(per=per, with_std=False).fit(images)
    assert centred.scale_ is None
    assert_allclose(centred.transform(images), images - centred.mean_)
    scaled = ImageScaler(per=per, with_mean=False).fit(images)
    assert_allclose(scaled.transform(images), images / scaled.scale_)
    neither = ImageScaler(per=per, with_mean=False, with_std=False).fit(images)
    assert neither.mean_ is None
    assert_array_equal(neither.transform(images), images)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "fit_transform"])
@pytest.mark.parametrize("params", [{}, {"image_shape": (2, 3)}, {"per": "channel"}], ids=str)
@pytest.mark.parametrize(
    "select",
    [
        lambda table: table,
        lambda table: table[table.columns[:6]],
        lambda table: table.iloc[:, :6],
        lambda table: table.iloc[:3, 2:8],
    ],
    ids=["whole", "columns", "iloc", "block"],
)
def test_a_table_is_never_written_to(select, params, method):
    table = pd.DataFrame(np.random.RandomState(0).rand(6, 8))
    before = table.copy(deep=True)
    table = table if len(select(table).columns) == 6 else table.iloc[:, 1:7]
    part, scaler = select(table), ImageScaler(copy=False, **params)
    expected = getattr(clone(scaler).fit(part), method)(part.copy(deep=True))
    assert_array_equal(getattr(scaler.fit(part), method)(part), expected)
    assert_array_equal(table, before[table.columns])


def test_copy_and_in_place(images):
    original = images.copy()
    ImageScaler().fit_transform(images)
    assert_array_equal(images, original)
    in_place = ImageScaler(copy=False).fit(images)
    assert_array_equal(images, original)
    scaled = in_place.transform(images)
    assert np.shares_memory(scaled, images)
    assert_array_equal(
        in_place.inverse_transform(scaled, copy=True), scaled * in_place.scale_ + in_place.mean_
    )
    assert_array_equal(scaled, images)


class Exposed:
    """An object that shares its memory by ``__array__`` and is nothing else."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class OfAnotherLibrary(Exposed):
    """An array whose dtype is not that of NumPy."""

    def __init__(self, array):
        super().__init__(array)
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, object()

    def __len__(self):
        return len(self.array)

    def reshape(self, *shape):
        return OfAnotherLibrary(self.array.reshape(*shape))


class Labelled(np.ndarray):
    """A subclass of arrays, as some libraries have them."""


def mapped(X, path):
    np.save(path, X)
    return np.load(path, mmap_mode="r+")


@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda X, path: mapped(X, path),
        lambda X, path: np.ma.masked_array(X, copy=False),
        lambda X, path: X.view(Labelled),
        lambda X, path: memoryview(X),
        lambda X, path: Exposed(X),
        lambda X, path: OfAnotherLibrary(X),
        lambda X, path: X.astype(X.dtype.newbyteorder()),
        lambda X, path: X[::-1],
    ],
    ids=[
        "map",
        "masked",
        "subclass",
        "memoryview",
        "__array__",
        "tensor",
        "byte order",
        "reversed",
    ],
)
def test_what_was_given_is_never_written_to(images, per, dtype, wrap, tmp_path):
    X = images.astype(dtype)
    given = wrap(X, tmp_path / "X.npy")
    before = np.array(given)
    scaler = ImageScaler(per=per).fit(given)
    for method in (scaler.transform, scaler.inverse_transform):
        once = method(given)
        assert_array_equal(np.asarray(given), before)
        assert_array_equal(method(given), once)
        assert once.shape == images.shape
    assert_allclose(scaler.transform(given), scaler.transform(before), rtol=1e-4, atol=1e-6)
    assert_array_equal(X, images.astype(dtype))


def test_types(images):
    scaler = ImageScaler().fit(images)
    assert scaler.transform(images.astype(np.float32)).dtype == np.float32
    assert scaler.transform(images.astype(np.float16)).dtype == np.float16
    assert scaler.transform(images.astype(np.uint8)).dtype == np.float64
    assert_array_equal(scaler.transform(images.tolist()), scaler.transform(images))
    assert_array_equal(pickle.loads(pickle.dumps(scaler)).mean_, scaler.mean_)
    assert clone(ImageScaler(per="channel")).per == "channel"


@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_a_pixel_that_is_always_missing_has_no_statistics(images, per):
    images[:, 1, 1] = np.nan
    scaler = ImageScaler(per=per).fit(images)
    scaler.partial_fit(images)
    assert_array_equal(np.isnan(scaler.transform(images)), np.isnan(images))
    assert np.isnan(scaler.mean_[1, 1]).all() == (per == "pixel")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["rows", "sparse", "pixel", "channel"])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_part_of_a_stream_may_have_no_value_of_a_pixel(missing, kind, weighted):
    X = np.random.RandomState(0).randn(30, 2, 3, 2) + 1
    X[10 * missing : 10 * (missing + 1), ..., 0] = np.nan
    s = np.arange(30) % 4 if weighted else None
    scaler = ImageScaler(per="channel" if kind == "channel" else "pixel")
    if kind in ("rows", "sparse"):
        X = X.reshape(30, -1)
    if kind == "sparse":
        X, scaler = csr_array(X), ImageScaler(with_mean=False)
    whole = clone(scaler).fit(X, sample_weight=s)
    for k in range(0, 30, 10):
        of_part = None if s is None else s[k : k + 10]
        scaler.partial_fit(X[k : k + 10], sample_weight=of_part)
    assert_array_equal(scaler.n_samples_seen_, whole.n_samples_seen_)
    for name in STATISTICS:
        assert_allclose(getattr(scaler, name), getattr(whole, name), rtol=1e-12)


@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (16,), (1,)])
def test_a_part_of_a_stream_may_have_no_values_at_all(missing, shape, per):
    X = np.random.RandomState(0).randn(30, *shape) + 1
    X[10 * missing : 10 * (missing + 1)] = np.nan
    whole, scaler = ImageScaler(per=per).fit(X), ImageScaler(per=per)
    for k in range(0, 30, 10):
        scaler.partial_fit(X[k : k + 10])
    for name in STATISTICS:
        assert_allclose(getattr(scaler, name), getattr(whole, name), rtol=1e-12)


@pytest.mark.parametrize("on_rows", [False, True])
@pytest.mark.parametrize("name", ["with_mean", "with_std"])
def test_a_statistic_that_fit_left_out_is_named(images, name, on_rows):
    X = images.reshape(30, -1) if on_rows else images
    scaler = ImageScaler(with_mean=False, with_std=False).fit(X).set_params(**{name: True})
    for method in (scaler.transform, scaler.inverse_transform, scaler.partial_fit):
        with pytest.raises(ValueError, match=f"{name}=True, but the scaler was fitted without"):
            method(X)


def test_a_subclass_may_do_without_tables(images):
    class Plain(ImageScaler, auto_wrap_output_keys=None):
        def transform(self, X, copy=None):
            return super().transform(X, copy)

    assert_array_equal(Plain().fit_transform(images), ImageScaler().fit_transform(images))


@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_missing_values_are_disregarded_and_kept(images, per):
    images[3, 1, 1] = np.nan
    scaled = ImageScaler(per=per).fit_transform(images)
    assert_array_equal(np.isnan(scaled), np.isnan(images))
    assert abs(np.nanmean(scaled)) < 1e-12


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_images_stay_images_whatever_the_output_is_configured_to_be(images, container):
    pytest.importorskip(container)
    expected = ImageScaler().fit_transform(images)
    scaler = ImageScaler().set_output(transform=container)
    for output in (scaler.fit_transform(images), scaler.transform(images)):
        assert isinstance(output, np.ndarray)
        assert_array_equal(output, expected)
    with config_context(transform_output=container):
        assert_array_equal(ImageScaler().fit_transform(images), expected)
        assert_array_equal(ImageScaler().fit(images).transform(images), expected)
    assert_array_equal(scaler.inverse_transform(images).shape, images.shape)


class Subclass(ImageScaler):
    """A subclass with a transform of its own, which scikit-learn wraps anew."""

    def transform(self, X, copy=None):
        return super().transform(X, copy)


def test_images_stay_images_in_subclasses(images):
    scaler = Subclass().fit(images).set_output(transform="pandas")
    assert scaler.transform(images).shape == images.shape
    assert scaler.fit_transform(images).shape == images.shape
    assert isinstance(scaler.transform(images.reshape(30, -1)), pd.DataFrame)


def test_a_table_may_have_a_column_of_any_name(images):
    table = pd.DataFrame(images.reshape(30, -1)).rename(columns=str).rename(columns={"0": "dtype"})
    expected = ImageScaler().fit(images).transform(images).reshape(30, -1)
    with pytest.warns(UserWarning, match="X has feature names"):
        assert_array_equal(ImageScaler().fit(images).transform(table), expected)


def peak(function):
    """The most memory that a call allocates."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


ORDERS = {
    "C": lambda X, path: X,
    "F": lambda X, path: np.asfortranarray(X),
    "channels first": lambda X, path: X.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1),
    "cut": lambda X, path: np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)))[:, 2:-2, 2:-2],
    "reversed": lambda X, path: X[::-1],
    "map": lambda X, path: mapped(X, path),
    "byte order": lambda X, path: X.astype(X.dtype.newbyteorder()),
}


@pytest.mark.parametrize(
    "per, dtype, order",
    [
        *(("pixel", "u1", order) for order in ORDERS),
        *(("pixel", "f4", "C"), ("pixel", "f4", "byte order"), ("pixel", "f8", "channels first")),
        *(("channel", "u1", "C"), ("channel", "f8", "F"), ("channel", "?", "C")),
    ],
)
def test_images_need_little_memory_beside_them_and_their_result(
    monkeypatch, per, dtype, order, tmp_path
):
    X = np.random.RandomState(0).randint(256, size=(1000, 16, 16, 3)).astype(dtype)
    given = ORDERS[order](X, tmp_path / "X.npy")
    scaler = ImageScaler(per=per)
    monkeypatch.setattr(_scaler, "_SLICE", 2**13)
    little = X.size // 2  # bytes: half the memory of images of 8 bits
    for s in (None, np.arange(1000) % 4):
        assert peak(lambda: scaler.fit(given, sample_weight=s)) < little  # noqa: B023
        assert peak(lambda: scaler.partial_fit(given, sample_weight=s)) < little  # noqa: B023
    for method in (scaler.transform, scaler.inverse_transform):
        assert peak(lambda: method(given)) < method(given).nbytes + little  # noqa: B023


def test_a_slice_is_small():
    X = np.random.RandomState(0).randint(256, size=(6000, 32, 32)).astype("u1")
    assert peak(lambda: ImageScaler().fit(X)) < X.nbytes < 10e6


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8"])
@pytest.mark.parametrize("missing", [False, True])
def test_statistics_from_slices_are_those_of_standard_scaler_to_the_bit(
    monkeypatch, missing, dtype, order, tmp_path
):
    X = np.random.RandomState(0).randint(256, size=(50, 3, 4, 2)).astype(dtype)
    if missing and dtype != "u1":
        X[np.random.RandomState(1).rand(*X.shape) < 0.2] = np.nan
        X[[30, 19]] = 7  # the one image of a part: scikit-learn has no statistics of no values
    X = ORDERS[order](X, tmp_path / "X.npy")
    scaler, reference = ImageScaler(), StandardScaler()
    monkeypatch.setattr(_scaler, "_SLICE", 24 * 7)
    for part in (slice(30), slice(30, 31), slice(31, 50)):
        scaler.partial_fit(X[part])
        reference.partial_fit(np.array(X[part]).reshape(-1, 24))
        for name in (*STATISTICS, "n_samples_seen_"):
            assert_array_equal(np.ravel(getattr(scaler, name)), getattr(reference, name))


@pytest.mark.parametrize("params", [{}, {"with_std": False}, {"with_mean": False}])
@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("weighted", [False, True])
def test_slices_add_up(monkeypatch, images, weighted, per, params):
    images[np.random.RandomState(1).rand(*images.shape) < 0.2] = np.nan
    s = np.random.RandomState(2).rand(30) if weighted else None
    whole = ImageScaler(per=per, **params).fit(images, sample_weight=s)
    monkeypatch.setattr(_scaler, "_SLICE", 1)
    sliced = ImageScaler(per=per, **params).fit(images, sample_weight=s)
    columns = images.reshape(-1, images[0].size if per == "pixel" else images[0, 0, 0].size)
    s = None if s is None else np.repeat(s, len(columns) // 30)
    reference = StandardScaler(**params).fit(columns, sample_weight=s)
    for name in (*STATISTICS, "n_samples_seen_"):
        expected = getattr(reference, name)
        if expected is None:
            assert getattr(whole, name) is getattr(sliced, name) is None
        else:
            for scaler in (whole, sliced):
                found = scaler._columns(np.reshape(getattr(scaler, name), (1, -1)))[0]
                assert_allclose(found, expected, rtol=1e-12, atol=1e-9, err_msg=name)


def test_a_value_that_is_refused_may_be_in_a_later_slice(monkeypatch, images):
    monkeypatch.setattr(_scaler, "_SLICE", 1)
    scaler = ImageScaler().fit(images)
    before = pickle.dumps(vars(scaler))
    images[-1, 0, 0] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        scaler.fit(images)
    assert pickle.dumps(vars(scaler)) == before


def test_rows_come_out_as_a_table_where_that_is_asked_for(images):
    rows = images.reshape(30, -1)
    expected = ImageScaler().fit_transform(images).reshape(30, -1)
    for fitted_on in (images, rows):
        scaler = ImageScaler().set_output(transform="pandas").fit(fitted_on)
        table = scaler.transform(rows)
        assert isinstance(table, pd.DataFrame)
        assert_array_equal(table, expected)
        assert_array_equal(table.columns, scaler.get_feature_names_out())
    assert isinstance(
        ImageScaler().set_output(transform="pandas").fit_transform(rows), pd.DataFrame
    )


def test_a_pipeline_with_tables_keeps_the_shape_of_images():
    X = np.random.RandomState(0).rand(12, 4, 3, 3)
    net = ConvNetClassifier(max_iter=1, tol=None, random_state=0)
    pipeline = make_pipeline(ImageScaler(), net).set_output(transform="pandas")
    assert pipeline.fit(X, np.arange(12) % 2)[-1].image_shape_ == (4, 3, 3)


class Recorder:
    """A callback that notes its hooks."""

    def __init__(self):
        self.hooks = []

    def setup(self, estimator, context):
        self.hooks.append("setup")

    def on_fit_task_begin(self, estimator, context, *, X):
        self.hooks.append(("begin", np.shape(X)))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.hooks.append(("end", fitted_estimator.transform(np.zeros((1, 5, 4))).shape))

    def teardown(self, estimator, context):
        self.hooks.append("teardown")


def test_callbacks_are_told_of_images():
    recorder = Recorder()
    ImageScaler().set_callbacks(recorder).fit(np.random.RandomState(0).rand(30, 5, 4))
    assert recorder.hooks == ["setup", ("begin", (30, 5, 4)), ("end", (1, 5, 4)), "teardown"]


def test_errors(images):
    rows = images.reshape(30, -1)
    for X in (rows, images):
        for wrong in ((5,), (5, 4, 0), (5.0, 4), ("5", 4), (5, 4, 3, 1)):
            with pytest.raises(ValueError, match="image_shape=.* is not the shape of .*: give"):
                ImageScaler(image_shape=wrong).fit(X)
        with pytest.raises(ValueError, match=r"image_shape=\(7, 7\) has 49 values an image, but X"):
            ImageScaler(image_shape=(7, 7)).fit(X)
    with pytest.raises(ValueError, match=r"image_shape=\(4, 5.* does not match the images of X"):
        ImageScaler(image_shape=(4, 5, *images.shape[3:])).fit(images)
    with pytest.raises(ValueError, match="'per' parameter"):
        ImageScaler(per="row").fit(images)
    with pytest.raises(NotFittedError, match="This ImageScaler instance is not fitted"):
        ImageScaler().transform(images)
    scaler = ImageScaler().fit(images)
    for method in ("transform", "inverse_transform", "partial_fit"):
        message = f"X has .* features.*, but ImageScaler is expecting {rows.shape[1]} features"
        for wrong in (images[:, :3], images.swapaxes(1, 2), rows[:, 1:]):
            with pytest.raises(ValueError, match=message):
                getattr(scaler, method)(wrong)
    with pytest.raises(ValueError, match="contains infinity"):
        scaler.transform(images + np.inf)
    for method in (scaler.transform, scaler.inverse_transform):
        for wrong in (pd.NA, "no", np.ones(2)):
            with pytest.raises(TypeError, match="copy=.* must be True, False or None"):
                method(images, copy=wrong)
        with pytest.raises(ValueError, match="X has values that are too large for a float"):
            method(np.full_like(images, 10**400, dtype=object))
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        scaler.transform(rows[0])
    with pytest.raises(ValueError, match="required by ImageScaler"):
        scaler.transform(images[:0])


@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_failed_call_leaves_the_scaler(images, method, per):
    fitted = ImageScaler(per=per).fit(images)
    fresh = ImageScaler(per=per)
    for scaler in (fitted, fresh):
        before = pickle.dumps(vars(scaler))
        with pytest.raises(ValueError, match="contains infinity"):
            getattr(scaler, method)(images * np.inf)
        with pytest.raises(ValueError, match="sample_weight"):
            getattr(scaler, method)(images, sample_weight=np.ones(7))
        assert pickle.dumps(vars(scaler)) == before


def test_an_equal_shape_of_another_type_is_no_change():
    rows, shape = np.random.RandomState(0).rand(5, 12), [2, 6]
    scaler = ImageScaler(image_shape=shape).fit(rows)
    expected = scaler.transform(rows)
    assert_array_equal(scaler.set_params(image_shape=(np.int64(2), 6)).transform(rows), expected)
    scaler.set_params(image_shape=shape)
    shape[:] = [3, 4]  # the user's own list
    with pytest.raises(ValueError, match="image_shape=.3, 4., but .* fitted with .*=.2, 6."):
        scaler.transform(rows)


def test_parameters_and_statistics_count_when_they_are_changed(images):
    scaler = ImageScaler().fit(images)
    reference = StandardScaler().fit(images.reshape(30, -1)).set_params(with_mean=False)
    expected = reference.transform(images.reshape(30, -1)).reshape(images.shape)
    assert_array_equal(scaler.set_params(with_mean=False).transform(images), expected)
    scaler.set_params(with_mean=True)
    scaler.mean_ = np.zeros_like(scaler.mean_)
    scaler.scale_[...] = 2.0
    assert_array_equal(scaler.transform(images), images / 2)
    for fitted in (scaler, ImageScaler().fit(images.reshape(30, -1))):
        for method in (fitted.transform, fitted.inverse_transform):
            fitted.set_params(per=np.ones(2))
            with pytest.raises(ValueError, match="per=array.*, but the scaler was fitted with"):
                method(images)
        fitted.set_params(per="channel")
        for method in (fitted.transform, fitted.inverse_transform, fitted.partial_fit):
            with pytest.raises(ValueError, match="per='channel', but the scaler was fitted with"):
                method(images)


@pytest.mark.parametrize("X_shape, per", [((30, 20), "channel"), ((30, 5, 4), "pixel")])
def test_another_image_shape_than_that_of_fit_is_refused(X_shape, per):
    X = np.random.RandomState(0).rand(*X_shape)
    scaler = ImageScaler(per=per).fit(X).set_params(image_shape=(2, 2, 5))
    before = pickle.dumps(vars(scaler))
    for method in (scaler.transform, scaler.inverse_transform, scaler.partial_fit):
        message = r"image_shape=\(2, 2, 5\), but the scaler was fitted with image_shape=None"
        with pytest.raises(ValueError, match=message):
            method(X)
    assert pickle.dumps(vars(scaler)) == before
    scaler.set_params(image_shape=None).partial_fit(X)


@pytest.mark.parametrize("per", ["pixel", "channel"])
def test_sparse_rows_of_images(images, per):
    scaler = ImageScaler(per=per, with_mean=False).fit(images)
    rows = csr_array(images.reshape(30, -1))
    scaled = scaler.transform(rows)
    assert scaled.format == "csr"
    assert_allclose(scaled.toarray(), scaler.transform(images).reshape(30, -1))
    assert_allclose(scaler.inverse_transform(scaled).toarray(), rows.toarray())
    of_rows = ImageScaler(per=per, with_mean=False, image_shape=images.shape[1:]).fit(rows)
    assert_allclose(of_rows.transform(rows).toarray(), scaled.toarray())
    before = rows.toarray()
    for form in ("csr", "csc", "coo", "dok", "lil"):
        given = rows.asformat(form)
        assert_allclose(scaler.transform(given).toarray(), scaled.toarray())
        assert_array_equal(given.toarray(), before)


@pytest.mark.parametrize("shape", [(30, 20), (30, 5, 4)], ids=["rows", "images"])
@pytest.mark.parametrize(
    "change, message",
    [
        ({"X": 1e305}, "var_ is not finite, since values of X are extremely large"),
        ({"sample_weight": np.nan}, "sample_weight=nan must be finite"),
        ({"sample_weight": np.inf}, "sample_weight=inf must be finite"),
        ({"sample_weight": -1}, "sample_weight=-1 must be .* greater than 0"),
        ({"sample_weight": 10**400}, "sample_weight=1000.* must be finite"),
        ({"sample_weight": 1j}, "sample_weight=1j must be finite"),
        ({"sample_weight": np.full(30, -2.0)}, "Negative values .* `sample_weight`"),
        ({"sample_weight": np.full(30, 1e308)}, "sample_weight has values so large that their sum"),
        ({"sample_weight": 1e300}, "var_ is not finite, since values of X or sample_w"),
        ({"sample_weight": [10**400] * 30}, "sample_weight has values that are too large"),
        ({"sample_weight": np.ones(30, "m8[s]")}, "sample_weight has values of type timedelta64"),
        ({"X": "datetime64[s]"}, r"X has values of type datetime64\[s\], which are not numbers"),
        ({"X": "timedelta64[s]"}, r"X has values of type timedelta64\[s\], which are not num"),
        ({"X": 10**400}, "X has values that are too large for a float"),
        ({"X": 1.7e308}, "var_ is not finite, since values of X are"),
    ],
    ids=str,
)
def test_values_that_would_spoil_later_images_are_refused(shape, change, message):
    X = np.random.RandomState(0).rand(*shape) * 1000
    spoilt = {"X": X, **change}
    if isinstance(spoilt["X"], str):
        spoilt["X"] = X.astype(int).astype(spoilt["X"])
    elif not isinstance(spoilt["X"], np.ndarray):
        one_value = spoilt["X"]
        spoilt["X"] = X.astype(object if isinstance(one_value, int) else float)
        spoilt["X"].flat[7] = one_value
    for scaler in (ImageScaler(), ImageScaler().fit(X)):
        before = pickle.dumps(vars(scaler))
        for method in (scaler.partial_fit, scaler.fit):
            with pytest.raises(ValueError, match=message):
                method(**spoilt)
            assert pickle.dumps(vars(scaler)) == before


@pytest.mark.parametrize(
    "params",
    [
        *({"per": "bogus"}, {"with_mean": {}}, {"with_std": "yes"}, {"copy": None}),
        {"image_shape": 28},
    ],
    ids=str,
)
def test_parameters_are_validated_by_every_call(images, params):
    for scaler in (ImageScaler(), ImageScaler().fit(images)):
        scaler.set_params(**params)
        before = pickle.dumps(vars(scaler))
        for method in (scaler.fit, scaler.partial_fit):
            with pytest.raises(ValueError, match=f"'{[*params][0]}' parameter of ImageScaler"):
                method(images)
        assert pickle.dumps(vars(scaler)) == before


def test_the_callers_floating_point_settings_change_nothing(images):
    tiny = images * 1e-310
    expected = ImageScaler().fit(images).transform(tiny)
    with np.errstate(all="raise"):
        assert_array_equal(ImageScaler().fit(images).transform(tiny), expected)
        ImageScaler().fit(tiny).transform(tiny)
