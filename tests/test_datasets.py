"""The fetcher against a real server on this machine, and its reader against damaged files."""

import gzip
import hashlib
import io
import re
import struct
import tarfile
import threading
import tracemalloc
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pooch
import pytest
from numpy.testing import assert_array_equal

from skcnn import datasets
from skcnn._download import RemoteFile, RemoteFiles
from skcnn.datasets import fetch_cifar10, fetch_fashion_mnist, read_idx

N_TRAIN, N_TEST = 60, 20


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def cifar10_records(k):
    """The records of a file of the archive: label, then red, green and blue planes."""
    planes = np.random.RandomState(k).randint(256, size=(N_TEST, 3, 32, 32), dtype=np.uint8)
    labels = (np.arange(N_TEST, dtype=np.uint8) + k) % 10
    return labels, planes


def write_cifar10(path, n_images=N_TEST, leave_out=(), n_more=0):
    """Write an archive like the official one."""
    with tarfile.open(path, "w:gz") as archive:
        for k, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
            labels, planes = cifar10_records(k)
            records = np.column_stack([labels, planes.reshape(N_TEST, -1)])[:n_images]
            records = np.concatenate([records, records[:n_more]])
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = records.nbytes
            if name not in leave_out:
                archive.addfile(member, io.BytesIO(records.tobytes()))


def write_special(path, type):
    """Write an archive whose files are directories, devices, or links to themselves."""
    with tarfile.open(path, "w:gz") as archive:
        for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.type = type
            member.linkname = f"{name}.bin" if type == tarfile.SYMTYPE else member.name
            archive.addfile(member)


def spoil_checksum(path):
    """Compress an archive in two parts, the first with a wrong checksum."""
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:5000])[:-8] + bytes(8) + gzip.compress(content[5000:]))


def write_endless_name(path):
    """Write an archive with a name that is said to be longer than any memory."""
    member = tarfile.TarInfo("name")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**70
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


class Zeros(io.RawIOBase):
    """As many zeros as one reads."""

    def read(self, n):
        return bytes(n)


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


def remote_file(path):
    """What the fetcher is to know of an official file: this one."""
    return RemoteFile(path.stat().st_size, pooch.file_hash(path, alg="sha256"))


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and keeps the paths that were asked for."""

    def do_GET(self):
        self.server.asked_for.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror with small files of random images, which the fetcher knows the hashes of.

    The mirrors are /missing/, /damaged/ and /whole/, of which only the last has the right files.
    """
    rng = np.random.RandomState(0)
    files = {}
    for folder in ("missing", "damaged", "whole"):
        (tmp_path / "www" / folder).mkdir(parents=True)
    for kind, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        for name, array in (
            (f"{kind}-images-idx3-ubyte.gz", rng.randint(256, size=(n, 28, 28), dtype=np.uint8)),
            (f"{kind}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8) % 10),
        ):
            content = gzip.compress(idx_bytes(array))
            (tmp_path / "www" / "whole" / name).write_bytes(content)
            (tmp_path / "www" / "damaged" / name).write_bytes(content[:-20])
            files[name] = remote_file(tmp_path / "www" / "whole" / name)
    handler = partial(Handler, directory=tmp_path / "www")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked_for = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        mirrors = [f"{address}/{folder}/" for folder in ("missing", "damaged", "whole")]
        parts = {"train": [("train", N_TRAIN)], "test": [("t10k", N_TEST)]}
        fashion_mnist = RemoteFiles("fashion-mnist", mirrors, files)
        monkeypatch.setattr(datasets, "_FASHION_MNIST", fashion_mnist)
        monkeypatch.setattr(datasets, "_FASHION_MNIST_PARTS", parts)
        archive = tmp_path / "www" / "whole" / "cifar-10-binary.tar.gz"
        write_cifar10(archive)
        cifar10 = RemoteFiles("cifar-10", mirrors, {archive.name: remote_file(archive)})
        monkeypatch.setattr(datasets, "_CIFAR10", cifar10)
        monkeypatch.setattr(datasets, "_CIFAR10_BATCH", N_TEST)
        yield server
        server.shutdown()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache."""
    home = tmp_path / "home"
    monkeypatch.setenv("SKCNN_DATA", str(home))
    return home


def test_files_come_from_the_first_mirror_that_has_them(server, home, capsys):
    dataset = fetch_fashion_mnist()
    assert server.asked_for == [
        f"/{folder}/train-{name}.gz"
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
        for folder in ("missing", "damaged", "whole")
    ]
    assert sorted(path.name for path in (home / "fashion-mnist").iterdir()) == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    assert dataset.images.shape == (N_TRAIN, 28, 28)
    bars = capsys.readouterr().err
    assert "train-images-idx3-ubyte.gz [########################################]" in bars
    fetch_fashion_mnist()
    assert len(server.asked_for) == 6  # from the cache this time
    assert capsys.readouterr().err == ""


def test_a_damaged_file_in_the_cache_is_replaced(server, home):
    whole = fetch_fashion_mnist()
    path = home / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    assert_array_equal(fetch_fashion_mnist().data, whole.data)


def test_what_the_dataset_holds(server, home):
    dataset = fetch_fashion_mnist(subset="all")
    assert dataset.data.shape == (N_TRAIN + N_TEST, 784)
    assert dataset.data.dtype == np.uint8
    assert np.shares_memory(dataset.data, dataset.images)
    assert_array_equal(dataset.target, [*range(10)] * 8)
    assert dataset.target_names[3] == "Dress"
    assert "Zalando" in dataset.DESCR
    X, y = fetch_fashion_mnist(subset="test", return_X_y=True)
    assert_array_equal(X, dataset.data[N_TRAIN:])
    assert_array_equal(y, dataset.target[N_TRAIN:])


@pytest.mark.parametrize("classes", [[1, 3], ["Trouser", "Dress"], ["Dress", 1], np.array([1, 3])])
def test_some_classes(server, home, classes):
    dataset = fetch_fashion_mnist(classes=classes)
    everything = fetch_fashion_mnist()
    assert_array_equal(dataset.target, [1, 3] * (N_TRAIN // 10))
    assert_array_equal(dataset.data, everything.data[np.isin(everything.target, [1, 3])])


def test_data_home_goes_before_the_environment(server, home, tmp_path):
    fetch_fashion_mnist(subset="test", data_home=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").exists()
    assert not home.exists()


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_without_files_one_error_says_what_to_put_where(
    server, home, monkeypatch, download_if_missing
):
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError) as raised:
        fetch_fashion_mnist(download_if_missing=download_if_missing)
    message = str(raised.value)
    for expected in (*datasets._FASHION_MNIST.files, home, "SKCNN_DATA", "data_home"):
        assert str(expected) in message
    assert ("/whole/" in message) == download_if_missing
    assert not [*home.rglob("*.gz")]


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=str(tmp_path / "file")) as raised:
        fetch_fashion_mnist(data_home=tmp_path / "file")
    assert "offline" not in str(raised.value)
    assert server.asked_for == []


def test_a_damaged_file_is_named_where_it_cannot_be_replaced(server, home):
    fetch_fashion_mnist()
    path = home / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"")
    with pytest.raises(OSError, match=f"{path} .* 0 bytes, and the official file has"):
        fetch_fashion_mnist(download_if_missing=False)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"subset": "valid"}, "subset='valid' must be one of"),
        ({"classes": [1, "Hat"]}, "has 'Hat', which is neither a number from 0 to 9 nor"),
        ({"classes": [10]}, "has 10, which is neither"),
        ({"classes": [-1]}, "has -1, which is neither"),
        ({"classes": [True]}, "has True, which is neither"),
        ({"classes": "Dress"}, "classes='Dress' must be a list of classes, such as"),
        ({"classes": 3}, "classes=3 must be a list of classes, such as"),
        ({"classes": []}, r"classes=\[\] must be a list of classes, such as"),
        ({"subset": ["train"]}, "must be one of"),
        ({"subset": None}, "subset=None must be one of"),
        ({"subset": b"train"}, "subset=b'train' must be one of"),
        ({"subset": "t" * 10**6}, "subset='t+.* must be one of"),
        ({"classes": [[1, 3]]}, "must be a list of classes, such as"),
        ({"classes": [1, [3]]}, "must be a list of classes, such as"),
        ({"classes": [1, [3, [5]]]}, "must be a list of classes, such as"),
        ({"classes": {1, 3}}, "must be a list of classes, such as"),
        ({"classes": {1: 3}}, "must be a list of classes, such as"),
        ({"classes": b"Dress"}, "must be a list of classes, such as"),
        ({"classes": (k for k in [1, 3])}, "must be a list of classes, such as"),
        ({"classes": np.array("Dress")}, "must be a list of classes, such as"),
        ({"classes": pd.DataFrame([[1, 3]])}, "must be a list of classes, such as"),
        ({"classes": False}, "classes=False must be a list of classes, such as"),
        ({"classes": [1, None]}, "has None, which is neither"),
        ({"classes": [np.nan]}, "has nan, which is neither"),
        ({"classes": [1.0]}, "has 1.0, which is neither"),
        ({"classes": [np.True_]}, "has np.True_, which is neither"),
        ({"classes": [b"Dress"]}, "has b'Dress', which is neither"),
        ({"classes": [2**64]}, f"has {2**64}, which is neither"),
        ({"classes": [10**5000]}, "^classes=.* has .*, which is neither"),
        ({"classes": [*range(10**5)]}, "has 10, which is neither"),
        ({"classes": np.ma.array([1, 3], mask=[0, 1])}, "has masked, which is neither"),
        ({"data_home": ""}, "data_home='' cannot be the name of a folder"),
    ],
)
@pytest.mark.parametrize("fetcher", [fetch_fashion_mnist, fetch_cifar10])
def test_wrong_arguments_are_named(server, home, fetcher, params, message):
    with pytest.raises(ValueError, match=message) as raised:
        fetcher(**params)
    assert len(str(raised.value)) < 600
    assert server.asked_for == []


@pytest.mark.parametrize("name", ["return_X_y", "download_if_missing"])
@pytest.mark.parametrize("value", [None, 1, 0.0, "no", [], np.array([True, False])])
@pytest.mark.parametrize("fetcher", [fetch_fashion_mnist, fetch_cifar10])
def test_wrong_switches_are_named(server, home, fetcher, name, value):
    with pytest.raises(TypeError, match=f"^{name}=.* must be True or False"):
        fetcher(**{name: value})


@pytest.mark.parametrize("classes", [pd.Series([1, 3]), range(1, 4, 2), (np.str_("Dress"), 1)])
def test_lists_of_classes_of_other_types(server, home, classes):
    target = fetch_fashion_mnist(classes=classes, return_X_y=np.True_)[1]
    assert_array_equal(target, [1, 3] * (N_TRAIN // 10))


@pytest.mark.parametrize("remote", [datasets._FASHION_MNIST, datasets._CIFAR10])
def test_encrypted_addresses_come_first(remote):
    schemes = [url.partition("://")[0] for url in remote.base_urls]
    assert schemes[0] == "https"
    assert schemes == sorted(schemes, reverse=True)


@pytest.mark.parametrize("fetcher", [fetch_fashion_mnist, fetch_cifar10])
def test_without_md5_as_in_fips_builds_of_python(server, home, monkeypatch, fetcher):
    monkeypatch.setattr(hashlib, "md5", None)
    monkeypatch.delitem(pooch.hashes.ALGORITHMS_AVAILABLE, "md5")
    assert len(fetcher(subset="test").data) == N_TEST


@pytest.mark.parametrize("remote", [datasets._FASHION_MNIST, datasets._CIFAR10])
def test_official_hashes_are_sha256(remote):
    for file in remote.files.values():
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)


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


# CIFAR-10


def test_cifar10(server, home, capsys):
    dataset = fetch_cifar10(subset="all")
    assert server.asked_for[-1] == "/whole/cifar-10-binary.tar.gz"
    assert "cifar-10-binary.tar.gz [####" in capsys.readouterr().err
    assert dataset.data.shape == (6 * N_TEST, 3072)
    assert dataset.images.shape == (6 * N_TEST, 32, 32, 3)
    assert np.shares_memory(dataset.data, dataset.images)
    for k in range(6):
        labels, planes = cifar10_records(k)
        rows = slice(k * N_TEST, (k + 1) * N_TEST)
        assert_array_equal(dataset.target[rows], labels)
        for colour in range(3):
            assert_array_equal(dataset.images[rows, :, :, colour], planes[:, colour])
    X, y = fetch_cifar10(subset="test", classes=["cat", 5], return_X_y=True)
    assert_array_equal(np.unique(y), [3, 5])
    last = dataset.data[-N_TEST:]
    assert_array_equal(X, last[np.isin(dataset.target[-N_TEST:], [3, 5])])
    assert dataset.target_names[3] == "cat"
    assert "Krizhevsky" in dataset.DESCR
    assert len(fetch_cifar10().data) == 5 * N_TEST
    assert server.asked_for.count("/whole/cifar-10-binary.tar.gz") == 1


def test_cifar10_without_a_network(server, home):
    with pytest.raises(OSError, match="cifar-10-binary.tar.gz .* SKCNN_DATA .* data_home"):
        fetch_cifar10(download_if_missing=False)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path: write_cifar10(path, n_images=7), "data_batch_1.bin .* 21511 bytes"),
        (lambda path: write_cifar10(path, n_more=1), "data_batch_1.bin .* 64533 bytes"),
        (lambda path: write_cifar10(path, leave_out=["data_batch_3"]), "data_batch_3.bin"),
        (lambda path: path.write_bytes(b"no archive"), "not a gzip file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5000]), "end|ended"),
        (lambda path: spoil_checksum(path), "CRC check failed"),
        (lambda path: write_endless_name(path), "cannot fit 'int'"),
        (lambda path: write_special(path, tarfile.DIRTYPE), "data_batch_1.bin is no file"),
        (lambda path: write_special(path, tarfile.FIFOTYPE), "data_batch_1.bin is no file"),
        (lambda path: write_special(path, tarfile.CHRTYPE), "data_batch_1.bin is no file"),
        (lambda path: write_special(path, tarfile.BLKTYPE), "data_batch_1.bin is no file"),
        (lambda path: write_special(path, tarfile.SYMTYPE), "data_batch_1.bin is no file"),
        (lambda path: write_special(path, tarfile.LNKTYPE), "data_batch_1.bin is no file"),
    ],
)
def test_damaged_archives_are_refused(server, home, monkeypatch, damage, message):
    fetch_cifar10()
    path = home / "cifar-10" / "cifar-10-binary.tar.gz"
    damage(path)
    cifar10 = datasets._CIFAR10._replace(files={path.name: remote_file(path)})
    monkeypatch.setattr(datasets, "_CIFAR10", cifar10)
    with pytest.raises(ValueError, match=message) as raised:
        fetch_cifar10(subset="all")
    assert "not the binary version of CIFAR-10" in str(raised.value)
    assert f"Delete {path}" in str(raised.value)


def test_a_member_of_gigabytes_is_not_read(server, home, monkeypatch):
    path = home / "cifar-10" / "cifar-10-binary.tar.gz"
    path.parent.mkdir(parents=True)
    member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    member.size = 2**28
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.addfile(member, Zeros())
    cifar10 = datasets._CIFAR10._replace(files={path.name: remote_file(path)})
    monkeypatch.setattr(datasets, "_CIFAR10", cifar10)
    with less_memory_than(2**25), pytest.raises(ValueError, match="not the binary version"):
        fetch_cifar10(subset="test")


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
