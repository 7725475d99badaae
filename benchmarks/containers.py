"""Which arrays and tables of other libraries skcnn and scikit-learn's splitting take.

``python benchmarks/neighbours.py containers`` makes ``docs/tables/containers.csv``, in an
environment with ``pip install torch==2.13.0 jax ml_dtypes xarray "dask[array]" h5py zarr polars
pyarrow pandas hyperspy scikit-image spectral nibabel``.

A container holds the images of scikit-learn's digits, (n, 8, 8), or rows of them, in float32. "yes"
means the weights, predictions or scores, to the bit, that the same images have as an array of
NumPy. What a row says in its last cell is asserted. Rows of layouts say what shape an image of
them is taken for.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split

from skcnn import ConvNetClassifier, ImageScaler

COLUMNS = (
    *("data", "version", "fit, predict", "cross_val_score", "the same, n_jobs=2"),
    *("train_test_split", "to know"),
)

IMAGES, LABELS = load_digits(n_class=3, return_X_y=True)
IMAGES = (IMAGES / 16).astype("float32").reshape(-1, 8, 8)
ROWS = IMAGES.reshape(len(IMAGES), -1)
TEMPORARY = tempfile.TemporaryDirectory()
FOLDER = Path(TEMPORARY.name)


def network(**parameters):
    """Return a network that trains in no time."""
    return ConvNetClassifier(max_iter=2, tol=None, random_state=0, **parameters)


def weights_of(X, y=LABELS, **parameters):
    """Return the weights of a network, and what it predicts."""
    model = network(**parameters).fit(X, y)
    return [model.coefs_[0], model.predict_proba(X)]


def scores_of(X, y=LABELS, n_jobs=None):
    """Return the scores of three folds."""
    return [cross_val_score(network(), X, y, cv=3, n_jobs=n_jobs, error_score="raise")]


def split(X, y=LABELS):
    """Return what a network predicts that was trained on a shuffled part."""
    X_train, X_test, y_train, _ = train_test_split(X, y, random_state=0)
    return [network().fit(X_train, y_train).predict_proba(X_test)]


def equal(function, given, expected):
    """Return "yes" if a function has the same result for a container as for an array, else "no"."""
    wanted = function(expected)
    try:
        found = function(given)
    except Exception as error:
        print(f"{type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        return "no"
    same = all(a.dtype == b.dtype and (a == b).all() for a, b in zip(found, wanted, strict=True))
    return "yes" if same else "no"


class Case:
    """A container of a library.

    Parameters
    ----------
    distribution : str
        Name of the library on PyPI.
    wrap : callable
        It returns a container of images (n, 8, 8), or of rows.
    note : str
        What to know.
    check : callable
        It asserts the note for a container.
    images : ndarray
        What is given to ``wrap``, and compared with.
    """

    def __init__(self, distribution, wrap, note="", check=lambda given: None, images=IMAGES):
        self.distribution, self.wrap, self.note, self.check = distribution, wrap, note, check
        self.images = images

    def run(self):
        """Return the cells of the case."""
        warnings.simplefilter("ignore")
        given = self.wrap(self.images)
        cells = [
            equal(weights_of, given, self.images),
            equal(scores_of, given, self.images),
            equal(lambda X: scores_of(X, n_jobs=2), given, self.images),
            equal(split, given, self.images),
        ]
        self.check(given)
        return [*cells, self.note]


class Layout:
    """An order of axes, of which the network is not told.

    Parameters
    ----------
    shape : tuple
        Shape of an image.
    note, check : str and callable
        As of `Case`.
    """

    distribution = "numpy"

    def __init__(self, shape, note, check):
        self.shape, self.note, self.check = shape, note, check

    def run(self):
        """Return the cells of the case."""
        X = np.random.RandomState(0).rand(len(LABELS), *self.shape).astype("float32")
        taken_for = network().fit(X, LABELS).image_shape_
        self.check(X)
        return [f"as images {taken_for}", "", "", "", self.note]


def is_refused(function, *words):
    """Assert that a call raises an error with these words."""
    try:
        function()
    except (TypeError, ValueError) as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError("there was no error")


def same(found, expected=IMAGES):
    """Assert that two arrays are equal, and of one type."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def single(given):
    """Assert that a scaler returns float32, of NumPy."""
    scaled = ImageScaler().fit_transform(given)
    assert type(scaled) is np.ndarray and scaled.dtype == np.float32


def read_by_index(given):
    """Assert that a slice of a file is an array of NumPy, and all of it by [:]."""
    assert type(given[:5]) is np.ndarray
    same(given[:])
    assert equal(scores_of, given[:], IMAGES) == "yes"


def xarray(X):
    """An xarray.DataArray."""
    import xarray

    return xarray.DataArray(X, dims=("image", "row", "column"))


def dask(X):
    """An array of which Dask does not know how many images it has."""
    import dask.array

    X = dask.array.from_array(X, chunks=(100, 8, 8))
    return X[X.max(axis=(1, 2)) >= 0]


def dask_known(X):
    """A Dask array of known length."""
    return dask(X).compute_chunk_sizes()


def torch(X):
    """A tensor."""
    import torch

    return torch.from_numpy(X)


def bfloat16_tensor(given):
    """Assert what to do about gradients and bfloat16, and that images become arrays of NumPy."""
    import torch

    is_refused(lambda: network().fit(given.to(torch.bfloat16), LABELS), "BFloat16", "float32")
    same(given.requires_grad_(False).detach().numpy())
    single(given)


def jax(X):
    """An array of JAX."""
    import jax.numpy

    return jax.numpy.asarray(X)


def hyperspy(X):
    """A signal of HyperSpy."""
    import hyperspy.api

    return hyperspy.api.signals.Signal2D(X)


def image_collection(X):
    """Images in files, as scikit-image reads them."""
    import skimage.io

    for k, image in enumerate(X):
        skimage.io.imsave(FOLDER / f"{k:04}.tif", image, check_contrast=False)
    return skimage.io.ImageCollection(str(FOLDER / "*.tif"))


def h5py(X):
    """A data set in a file of HDF5."""
    import h5py

    with h5py.File(FOLDER / "images.h5", "w") as file:
        file["X"] = X
    return h5py.File(FOLDER / "images.h5")["X"]


def zarr(X):
    """A Zarr array in a folder."""
    import zarr

    return zarr.create_array(FOLDER / "images.zarr", data=X)


def polars_rows(X):
    """A table of polars."""
    import polars

    return polars.DataFrame(X)


def polars_series(X):
    """A column of images, of the type Array."""
    import polars

    return polars.Series("image", X)


def polars_column(given):
    """Assert what to do with a column of images."""
    import polars

    table = polars.DataFrame({"image": given, "label": LABELS})
    is_refused(lambda: network().fit(table[["image"]], LABELS), "to_numpy")
    same(table["image"].to_numpy())


def pyarrow_rows(X):
    """A table of pyarrow."""
    import pyarrow

    return pyarrow.table({f"pixel{k}": column for k, column in enumerate(X.T)})


def pyarrow_tensors(X):
    """A column of tensors."""
    import pyarrow

    return pyarrow.FixedShapeTensorArray.from_numpy_ndarray(X)


def pyarrow_column(given):
    """Assert what to do with a column of tensors, and that np.stack loses their shape."""
    is_refused(lambda: network().fit(given, LABELS), "to_numpy_ndarray")
    same(given.to_numpy_ndarray())
    same(np.stack(given.to_numpy(zero_copy_only=False)), ROWS)


def pandas_rows(X):
    """A table of pandas."""
    import pandas

    return pandas.DataFrame(X).rename(columns=lambda k: f"pixel{k}")


def pandas_types(given):
    """Assert that nullable columns stay in single precision, and what labels become."""
    import pandas

    single(given.astype("Float32"))
    for dtype, labels in (("Int64", LABELS), ("boolean", LABELS > 0)):
        y = pandas.Series(labels).astype(dtype)
        assert network().fit(given, y).classes_.dtype == np.float64
        assert network().fit(given, y.to_numpy()).classes_.dtype == labels.dtype


def spectral(X):
    """A file of ENVI, whose rows, columns and bands are the axes of X."""
    from spectral import envi

    envi.save_image(str(FOLDER / "cube.hdr"), X, force=True)
    return envi.open(str(FOLDER / "cube.hdr"))


def spectral_loaded(given):
    """Assert that it loads as an array, and that its pixels are rows."""
    loaded = given.load()
    assert equal(weights_of, loaded, IMAGES) == equal(scores_of, loaded, IMAGES) == "yes"
    spectra = np.asarray(loaded).reshape(-1, 8)
    assert (
        network(image_shape=(1, 8)).fit(spectra, np.arange(len(spectra)) % 2).image_shape_[0] == 1
    )


def nibabel(X):
    """The values of a file of NIfTI."""
    import nibabel

    nibabel.save(nibabel.Nifti1Image(X, np.eye(4)), FOLDER / "images.nii")
    return nibabel.load(FOLDER / "images.nii").dataobj


def nibabel_order(given):
    """Assert what to do with images along the last axis."""
    import nibabel

    last = nibabel.Nifti1Image(np.moveaxis(IMAGES, 0, -1), np.eye(4))
    is_refused(lambda: network().fit(last.dataobj, LABELS), "pass X.transpose(2, 0, 1)")
    same(np.moveaxis(np.asarray(last.dataobj), -1, 0))


def bfloat16(X):
    """Numbers of 16 bits that NumPy does not have."""
    import ml_dtypes

    return X.astype(ml_dtypes.bfloat16)


def small_floats(given):
    """Assert that the types of ml_dtypes are to be converted."""
    import ml_dtypes

    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"):
        small = IMAGES.astype(getattr(ml_dtypes, name))
        for X in (small, small.reshape(len(small), -1)):
            is_refused(lambda: network().fit(X, LABELS), "X.astype('float32')")  # noqa: B023
    network().fit(given.astype("float32"), LABELS)


def signals(X):
    """Assert how signals are passed whose channels come first."""
    n, n_channels, length = X.shape
    shape = (1, length, n_channels)
    of_signals = network(image_shape=shape).fit(X.transpose(0, 2, 1), LABELS)
    assert of_signals.filters_.shape == (1, 1, 3, n_channels)  # F, rows, K, C
    is_refused(lambda: network(image_shape=shape).fit(X, LABELS), "pass X.transpose(0, 2, 1)")


def channels_first(X):
    """Assert how images are passed whose channels come first, and that square ones are refused."""
    is_refused(lambda: network().fit(X[:, :, :6, :6], LABELS), "pass X.transpose(0, 2, 3, 1)")
    assert network().fit(X.transpose(0, 2, 3, 1), LABELS).image_shape_ == (8, 6, 3)


def volumes(X):
    """Assert that slices become channels."""
    assert network().fit(X.transpose(0, 2, 3, 1), LABELS).filters_.shape == (1, 3, 3, 5)


CASES = {
    "xarray DataArray": Case("xarray", xarray),
    "Dask array": Case("dask", dask_known, "computed as a whole", single),
    "Dask array of unknown length": Case("dask", dask, "to split it: X.compute_chunk_sizes()"),
    "PyTorch tensor": Case(
        "torch", torch, "on a CPU, without gradient: X.detach().cpu()", bfloat16_tensor
    ),
    "JAX array": Case("jax", jax, "", single),
    "HyperSpy signal": Case("hyperspy", hyperspy),
    "scikit-image ImageCollection": Case("scikit-image", image_collection),
    "h5py Dataset": Case("h5py", h5py, "read as a whole; to split it: X[:]", read_by_index),
    "Zarr array": Case("zarr", zarr, "read as a whole; to split it: X[:]", read_by_index),
    "pandas rows": Case(
        "pandas",
        pandas_rows,
        "labels of Int64 or boolean become classes of float: y.to_numpy()",
        pandas_types,
        ROWS,
    ),
    "polars rows": Case("polars", polars_rows, "", single, ROWS),
    "polars Series of Array": Case(
        "polars", polars_series, 'from a table: table["image"].to_numpy()', polars_column
    ),
    "pyarrow rows": Case("pyarrow", pyarrow_rows, "", single, ROWS),
    "pyarrow FixedShapeTensorArray": Case(
        "pyarrow",
        pyarrow_tensors,
        "X.to_numpy_ndarray(); np.stack loses the shape of an image",
        pyarrow_column,
    ),
    "spectral file": Case(
        "spectral",
        spectral,
        "X.load(); one cube is one image, or its pixels are rows",
        spectral_loaded,
    ),
    "nibabel dataobj": Case(
        "nibabel", nibabel, "images along the last axis: np.moveaxis(X, -1, 0)", nibabel_order
    ),
    "ml_dtypes (bfloat16, float8, int4)": Case(
        "ml_dtypes", bfloat16, "X.astype('float32')", small_floats
    ),
    "signals (n, C, L) of aeon, sktime, pyts, PyTorch": Layout(
        (3, 50), "X.transpose(0, 2, 1), and image_shape=(1, L, C)", signals
    ),
    "images (n, C, H, W) of PyTorch": Layout(
        (3, 8, 6), "X.transpose(0, 2, 3, 1); square ones are refused", channels_first
    ),
    "volumes (n, Z, H, W)": Layout(
        (5, 9, 8), "X.transpose(0, 2, 3, 1): slices become channels", volumes
    ),
}
