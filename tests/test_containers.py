"""Arrays and tables of other libraries."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler

NETWORK = ConvNetClassifier(max_iter=2, tol=None, random_state=0)


@pytest.fixture(params=[(5, 4), (5, 4, 3)], ids=str)
def images(request):
    return np.random.RandomState(0).rand(12, *request.param).astype("float32")


def dask(X):
    array = pytest.importorskip("dask.array")
    return array.from_array(X, chunks=(5, *X.shape[1:]))


def masked_dask(X):
    """An array of which Dask does not know how many images it has."""
    X = dask(X)
    return X[X.max(axis=tuple(range(1, X.ndim))) > -1]


def h5py(X):
    file = pytest.importorskip("h5py").File.in_memory()
    return file.create_dataset("X", data=X)


def polars(X):
    return pytest.importorskip("polars").Series("image", X)


def torch(X):
    return pytest.importorskip("torch").from_numpy(X)


def xarray(X):
    return pytest.importorskip("xarray").DataArray(X)


def zarr(X):
    return pytest.importorskip("zarr").array(X)


class Proxy:
    """Images in a file, with a reshape of its own, as nibabel has them."""

    def __init__(self, X):
        self.X, self.shape, self.ndim, self.dtype = X, X.shape, X.ndim, X.dtype

    def reshape(self, shape):
        return Proxy(self.X.reshape(shape))

    def __array__(self, dtype=None, copy=None):
        return self.X


ARRAYS = [
    *(dask, masked_dask, h5py, polars, torch, xarray, zarr, Proxy),
    lambda X: X.astype(">f4"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("wrap", ARRAYS)
def test_images_in_arrays_of_other_libraries(images, wrap):
    given, y = wrap(images), np.arange(12) % 2
    expected = clone(NETWORK).fit(images, y)
    model = clone(NETWORK).fit(given, y)
    assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.coefs_[0].dtype == np.float32
    assert_array_equal(model.predict_proba(given), expected.predict_proba(images))
    for scaler in (ImageScaler(), ImageScaler(per="channel")):
        scaled = scaler.fit(given).transform(given)
        assert_array_equal(scaled, clone(scaler).fit_transform(images))
        assert scaled.dtype == np.float32
        assert_array_equal(scaler.fit_transform(given), scaled)
    assert make_pipeline(ImageScaler(), model).fit(given, y)[-1].coefs_[0].dtype == np.float32


def polars_rows(X):
    return pytest.importorskip("polars").DataFrame(X, schema=[f"p{k}" for k in range(X.shape[1])])


def pyarrow_rows(X):
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.table({f"p{k}": column for k, column in enumerate(X.T)})


def pandas_rows(X):
    return pd.DataFrame(X, columns=[f"p{k}" for k in range(X.shape[1])])


ROWS = [
    *(dask, masked_dask, h5py, torch, xarray, zarr, polars_rows, pyarrow_rows, pandas_rows),
    lambda X: pandas_rows(X).astype("Float32"),
    lambda X: X.astype(">f4"),
    lambda X: np.asfortranarray(X),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("wrap", ROWS)
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("params", [{}, {"image_shape": (4, 5)}, {"per": "channel"}], ids=str)
def test_rows_of_single_precision_stay_so(wrap, params, copy):
    X, y = np.random.RandomState(0).rand(12, 20).astype("float32"), np.arange(12) % 2
    given, scaler = wrap(X.copy()), ImageScaler(copy=copy, **params)
    expected = clone(scaler).fit_transform(X.copy())
    scaler.fit(given)
    names = getattr(scaler, "feature_names_in_", None)
    assert (names is not None) == (hasattr(given, "columns"))
    if hasattr(given, "columns"):
        assert_array_equal(scaler.transform(given), expected)
        assert_array_equal(given, X)
    scaled = scaler.transform(given)
    assert_array_equal(scaled, expected)
    assert scaled.dtype == np.float32
    assert scaler.inverse_transform(scaled).dtype == np.float32
    model = clone(NETWORK).set_params(image_shape=(4, 5)).fit(wrap(X.copy()), y)
    assert model.coefs_[0].dtype == np.float32


@pytest.mark.parametrize("estimator", [NETWORK, ConvNetRegressor(), ImageScaler()])
@pytest.mark.parametrize("container", ["polars", "lists", "pyarrow", "tensors"])
def test_a_table_with_a_column_of_images_says_what_to_do(images, estimator, container):
    library = pytest.importorskip(
        "pyarrow" if container == "tensors" else container.replace("lists", "polars")
    )
    if container in ("pyarrow", "tensors"):
        column = library.FixedShapeTensorArray.from_numpy_ndarray(images)
        given = library.table({"image": column}) if container == "pyarrow" else column
    else:
        given = library.DataFrame({"image": images if container == "polars" else images.tolist()})
    message = "arrays.* make them one array first, with np.stack, or with to_numpy"
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(given, np.arange(12) % 2)


def test_how_a_column_of_images_becomes_an_array(images):
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    assert_array_equal(polars.DataFrame({"image": images})["image"].to_numpy(), images)
    column = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(images)
    assert_array_equal(column.to_numpy_ndarray(), images)
    assert np.stack(column.to_numpy(zero_copy_only=False)).shape == (12, images[0].size)
    table = pyarrow.table({"image": column})
    assert_array_equal(table["image"].combine_chunks().to_numpy_ndarray(), images)


@pytest.mark.parametrize(
    "shape, transposed, expected",
    [
        ((3, 50), (0, 2, 1), (50, 3)),  # signals, of which image_shape says that they are
        ((3, 8, 6), (0, 2, 3, 1), (8, 6, 3)),
        ((5, 9, 8), (0, 2, 3, 1), (9, 8, 5)),  # volumes, whose slices become channels
    ],
)
def test_axes_in_the_order_of_other_libraries(shape, transposed, expected):
    X, y = np.random.RandomState(0).rand(12, *shape), np.arange(12) % 2
    assert clone(NETWORK).fit(X, y).image_shape_ == shape
    X = X.transpose(transposed)
    assert clone(NETWORK).fit(X, y).image_shape_ == expected
    if len(shape) == 2:
        model = clone(NETWORK).set_params(image_shape=(1, *expected)).fit(X, y)
        assert model.filters_.shape == (1, 1, 3, 3)


def test_rows_stay_in_their_library_where_scikit_learn_dispatches(monkeypatch, images):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    given, y = torch.from_numpy(images), np.arange(12) % 2
    expected = ImageScaler().fit_transform(images)
    with config_context(array_api_dispatch=True):
        rows = ImageScaler().fit_transform(given.reshape(12, -1))
        assert isinstance(rows, torch.Tensor) and rows.dtype == torch.float32
        for scaler in (ImageScaler(), ImageScaler(per="channel", image_shape=images.shape[1:])):
            scaled = scaler.fit_transform(given)
            assert isinstance(scaled, np.ndarray) and scaled.dtype == np.float32
        assert_array_equal(ImageScaler().fit_transform(given), expected)
        model = clone(NETWORK).fit(given, y)
        assert_array_equal(model.coefs_[0], clone(NETWORK).fit(images, y).coefs_[0])


def test_numbers_that_numpy_does_not_have_are_named():
    torch = pytest.importorskip("torch")
    given = torch.zeros((12, 5, 4), dtype=torch.bfloat16)
    for estimator in (NETWORK, ImageScaler()):
        with pytest.raises(TypeError, match="X cannot be made an array: .*BFloat16.*to float32"):
            clone(estimator).fit(given, np.arange(12) % 2)


class File:
    """Images that NumPy cannot read, as spectral has them in files."""

    shape = (12, 5, 4)


def test_what_numpy_cannot_read_is_to_be_loaded():
    for estimator in (NETWORK, ImageScaler()):
        with pytest.raises(TypeError, match=r"X is a File, .*: load it first, with X.load\(\)"):
            clone(estimator).fit(File(), np.arange(12) % 2)
