"""Fashion-MNIST, small and of random images, and the reader of its files."""

import gzip
import hashlib
import struct
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skcnn.datasets import _fashion_mnist, fetch_fashion_mnist, read_idx
from skcnn.datasets._download import RemoteFile

N_TRAIN, N_TEST = 60, 20


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@contextmanager
def less_memory_than(n):
    """Assert that the block never has n bytes or more at once."""
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < n


@pytest.fixture
def pixels(home, monkeypatch):
    """The pixels of a small dataset, whose files are in the cache folder."""
    folder = home / "fashion-mnist"
    folder.mkdir(parents=True)
    pixels = np.random.RandomState(0).randint(256, size=(N_TRAIN + N_TEST, 28, 28), dtype=np.uint8)
    files = {}
    for prefix, images in (("train", pixels[:N_TRAIN]), ("t10k", pixels[N_TRAIN:])):
        labels = np.arange(len(images), dtype=np.uint8) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = gzip.compress(idx_bytes(array))
            name = f"{prefix}-{kind}-ubyte.gz"
            (folder / name).write_bytes(content)
            files[name] = RemoteFile(len(content), hashlib.sha256(content).hexdigest())
    official = _fashion_mnist._OFFICIAL._replace(files=files)
    monkeypatch.setattr(_fashion_mnist, "_OFFICIAL", official)
    subsets = {"train": [("train", N_TRAIN)], "test": [("t10k", N_TEST)]}
    monkeypatch.setattr(_fashion_mnist, "_SUBSETS", subsets)
    return pixels


def test_what_the_dataset_holds(pixels):
    dataset = fetch_fashion_mnist(subset="all")
    assert_array_equal(dataset.images, pixels)
    assert_array_equal(dataset.data, pixels.reshape(-1, 784))
    assert dataset.data.dtype == np.uint8
    assert np.shares_memory(dataset.data, dataset.images)
    assert_array_equal(dataset.target, [*range(10)] * 8)
    assert dataset.target.dtype == np.int64
    assert dataset.target_names[3] == "Dress"
    assert "Zalando" in dataset.DESCR


def test_subsets(pixels):
    assert_array_equal(fetch_fashion_mnist().images, pixels[:N_TRAIN])
    X, y = fetch_fashion_mnist(subset="test", return_X_y=True)
    assert_array_equal(X, pixels[N_TRAIN:].reshape(-1, 784))
    assert_array_equal(y, [*range(10)] * 2)


@pytest.mark.parametrize(
    "classes",
    [
        [1, 3],
        ["Trouser", "Dress"],
        ["Dress", 1],
        np.array([1, 3]),
        pd.Series([1, 3]),
        range(1, 4, 2),
        (np.str_("Dress"), 1),
    ],
)
def test_classes(pixels, classes):
    X, y = fetch_fashion_mnist(classes=classes, return_X_y=np.True_)
    assert_array_equal(y, [1, 3] * (N_TRAIN // 10))
    chosen = np.isin(np.arange(N_TRAIN) % 10, [1, 3])
    assert_array_equal(X, pixels[:N_TRAIN][chosen].reshape(-1, 784))


def test_data_home_goes_before_the_environment(pixels, home, tmp_path):
    home.rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="t10k-images.* is missing"):
        fetch_fashion_mnist(subset="test", download_if_missing=False)
    dataset = fetch_fashion_mnist(subset="test", data_home=tmp_path / "elsewhere")
    assert_array_equal(dataset.images, pixels[N_TRAIN:])


def test_official_files():
    try:
        dataset = fetch_fashion_mnist(subset="all", download_if_missing=False)
    except OSError as error:
        pytest.skip(f"needs the images of Fashion-MNIST: {error}")
    assert dataset.data.shape == (70_000, 784)
    assert_array_equal(np.bincount(dataset.target[:60_000]), 6_000)
    assert_array_equal(np.bincount(dataset.target[60_000:]), 1_000)
    assert_array_equal(dataset.target[:10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5])
    assert dataset.data[0].sum() == 76_247


# The reader of IDX files


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def test_idx_files_are_read(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)))
    assert_array_equal(read_idx(path, shape=(2, 3, 4)), IMAGES)


@pytest.mark.parametrize(
    "content, message",
    [
        (gzip.compress(b"\0\0\x09\x03" + idx_bytes(IMAGES)[4:]), "magic number is 00000903, where"),
        (gzip.compress(idx_bytes(IMAGES[0])), "magic number is 00000802, where 00000803"),
        (gzip.compress(b""), "magic number is missing"),
        (gzip.compress(idx_bytes(IMAGES)[:9]), "truncated in its header"),
        (gzip.compress(idx_bytes(IMAGES[:1])), r"of shape \(1, 3, 4\), not \(2, 3, 4\)"),
        (gzip.compress(idx_bytes(IMAGES)[:-5]), r"holds 19 of the 24 values"),
        (gzip.compress(idx_bytes(IMAGES) + b"\0"), r"holds more than the 24 values of its shape"),
        (gzip.compress(idx_bytes(IMAGES) + bytes(9999)), r"holds more than the 24 values"),
        (gzip.compress(idx_bytes(IMAGES))[:-9], "truncated or damaged"),
        (idx_bytes(IMAGES), "not a gzip file"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, content, message):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        read_idx(path, shape=(2, 3, 4))
    assert f"Delete {path}" in str(raised.value)


def test_an_idx_file_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "images.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx_bytes(IMAGES))
        for _ in range(256):
            file.write(bytes(2**20))
    with less_memory_than(2**22), pytest.raises(ValueError, match="holds more than the 24"):
        read_idx(path, shape=(2, 3, 4))
