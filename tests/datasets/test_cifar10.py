"""CIFAR-10, small and of random images."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skcnn.datasets import _cifar10, fetch_cifar10
from skcnn.datasets._download import RemoteFile

NAMES = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
N = 20  # images of each file


@pytest.fixture
def pixels(home, monkeypatch):
    """The pixels of a small dataset, whose archive is in the cache folder."""
    path = home / "cifar-10" / "cifar-10-binary.tar.gz"
    path.parent.mkdir(parents=True)
    pixels = np.random.RandomState(0).randint(256, size=(6 * N, 32, 32, 3), dtype=np.uint8)
    planes = pixels.transpose(0, 3, 1, 2).reshape(6 * N, -1)
    records = np.column_stack([np.arange(6 * N, dtype=np.uint8) % 10, planes])
    with tarfile.open(path, "w:gz") as archive:
        for k, name in enumerate(NAMES):
            content = records[k * N : (k + 1) * N].tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    files = {path.name: RemoteFile(path.stat().st_size, sha256)}
    monkeypatch.setattr(_cifar10, "_OFFICIAL", _cifar10._OFFICIAL._replace(files=files))
    return pixels


def test_what_the_dataset_holds(pixels):
    dataset = fetch_cifar10(subset="all")
    assert_array_equal(dataset.images, pixels)
    assert_array_equal(dataset.data, pixels.reshape(-1, 3072))
    assert np.shares_memory(dataset.data, dataset.images)
    assert_array_equal(dataset.target, np.arange(6 * N) % 10)
    assert dataset.target.dtype == np.int64
    assert dataset.target_names[3] == "cat"
    assert "Krizhevsky" in dataset.DESCR


def test_subsets_and_classes(pixels):
    assert_array_equal(fetch_cifar10().images, pixels[: 5 * N])
    X, y = fetch_cifar10(subset="test", classes=["cat", 5], return_X_y=True)
    assert_array_equal(y, [3, 5] * 2)
    assert_array_equal(X, pixels[5 * N :][[3, 5, 13, 15]].reshape(-1, 3072))


def test_the_archive_is_missing(home):
    with pytest.raises(OSError, match="cifar-10-binary.tar.gz .* SKCNN_DATA .* data_home"):
        fetch_cifar10(download_if_missing=False)
