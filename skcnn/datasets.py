"""Image datasets, fetched in the manner of :mod:`sklearn.datasets`, and image files of your own."""

import gzip
import tarfile
import tomllib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from math import prod
from os import PathLike
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

from ._arguments import check_switches, shown
from ._download import RemoteFile, RemoteFiles, fetch
from ._image_files import load_image_files
from ._images import is_whole_number
from ._typing import Array

__all__ = ["fetch_cifar10", "fetch_fashion_mnist", "load_image_files"]


_DESCR = files("skcnn") / "descr"


def _official(name: str) -> tuple[RemoteFiles, list[str]]:
    """Return the official files of a dataset, and the names of its classes."""
    table = tomllib.loads((_DESCR / f"{name}.toml").read_text(encoding="utf-8"))
    remote_files = {file: RemoteFile(**facts) for file, facts in table["files"].items()}
    return RemoteFiles(table["folder"], table["base_urls"], remote_files), table["target_names"]


_FASHION_MNIST, _FASHION_MNIST_NAMES = _official("fashion_mnist")

# Prefixes of the files' names, and how many images they hold.
_FASHION_MNIST_PARTS = {"train": [("train", 60_000)], "test": [("t10k", 10_000)]}

_CIFAR10, _CIFAR10_NAMES = _official("cifar10")

_CIFAR10_PARTS = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}

_CIFAR10_BATCH = 10_000  # images in a file of the archive

Subset = Literal["train", "test", "all"]


def fetch_fashion_mnist(
    *,
    subset: Subset = "train",
    classes: Sequence[int | str] | Array | None = None,
    data_home: str | PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
) -> Any:
    """Load the Fashion-MNIST images, downloading 30 MB at the first call.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training images, the 10,000 test images, or both in this order.

    classes : array-like of int or str, default=None
        Classes to keep, by number or by name ("Trouser"); labels are left as they are. None: all.

    data_home : str or path-like, default=None
        Folder of the files, which are in its subfolder ``fashion-mnist``. None: the environment
        variable ``SKCNN_DATA`` if set, else the user's cache folder.

    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    download_if_missing : bool, default=True
        If False, raise an error when a file is missing instead of downloading it.

    Returns
    -------
    dataset : Bunch
        ``data``
            ndarray of shape (n, 784), uint8; grey levels, 0-255.
        ``images``
            ndarray of shape (n, 28, 28), uint8, a view of ``data``.
        ``target``
            ndarray of shape (n,), int64; class numbers, 0-9.
        ``target_names``
            list of str; the name of each class number.
        ``DESCR``
            str; description of the dataset.
    (data, target) : tuple, if ``return_X_y``

    Raises
    ------
    OSError
        If a file is missing and cannot be, or may not be, downloaded.
    TypeError, ValueError
        If an argument is wrong, or a file is damaged.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", arXiv:1708.07747 (2017).

    Examples
    --------
    >>> from skcnn.datasets import fetch_fashion_mnist
    >>> X, y = fetch_fashion_mnist(classes=["Trouser", "Dress"], return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (12000, 784)
    """
    parts = _parts(subset, _FASHION_MNIST_PARTS)
    kept = _class_numbers(classes, _FASHION_MNIST_NAMES)
    check_switches(return_X_y=return_X_y, download_if_missing=download_if_missing)

    def read(name: str, shape: tuple[int, ...]) -> Array:
        return read_idx(fetch(_FASHION_MNIST, name, data_home, download_if_missing), shape)

    images = [read(f"{prefix}-images-idx3-ubyte.gz", (n, 28, 28)) for prefix, n in parts]
    target = [read(f"{prefix}-labels-idx1-ubyte.gz", (n,)) for prefix, n in parts]
    return _dataset(images, target, kept, return_X_y, _FASHION_MNIST_NAMES, "fashion_mnist.rst")


def fetch_cifar10(
    *,
    subset: Subset = "train",
    classes: Sequence[int | str] | Array | None = None,
    data_home: str | PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
) -> Any:
    """Load the CIFAR-10 images, downloading 170 MB at the first call.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The 50,000 training images, the 10,000 test images, or both in this order.

    classes : array-like of int or str, default=None
        Classes to keep, by number or by name ("cat"); labels are left as they are. None: all.

    data_home : str or path-like, default=None
        Folder of the archive, which is in its subfolder ``cifar-10``. None: the environment
        variable ``SKCNN_DATA`` if set, else the user's cache folder.

    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    download_if_missing : bool, default=True
        If False, raise an error when the archive is missing instead of downloading it.

    Returns
    -------
    dataset : Bunch
        ``data``
            ndarray of shape (n, 3072), uint8; red, green and blue of one pixel after the other,
            0-255.
        ``images``
            ndarray of shape (n, 32, 32, 3), uint8, a view of ``data``.
        ``target``
            ndarray of shape (n,), int64; class numbers, 0-9.
        ``target_names``
            list of str; the name of each class number.
        ``DESCR``
            str; description of the dataset.
    (data, target) : tuple, if ``return_X_y``

    Raises
    ------
    OSError
        If the archive is missing and cannot be, or may not be, downloaded.
    TypeError, ValueError
        If an argument is wrong, or the archive is damaged.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto (2009).

    Examples
    --------
    >>> from skcnn.datasets import fetch_cifar10
    >>> X, y = fetch_cifar10(classes=["cat", "dog"], return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (10000, 3072)
    """
    names = _parts(subset, _CIFAR10_PARTS)
    kept = _class_numbers(classes, _CIFAR10_NAMES)
    check_switches(return_X_y=return_X_y, download_if_missing=download_if_missing)
    path = fetch(_CIFAR10, "cifar-10-binary.tar.gz", data_home, download_if_missing)
    records = _read_cifar10(path, names)
    images = [part[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for part in records]
    target = [part[:, 0] for part in records]
    return _dataset(images, target, kept, return_X_y, _CIFAR10_NAMES, "cifar10.rst")


def _parts(subset: str, parts: dict[str, list[Any]]) -> list[Any]:
    """Return the files of a subset, as a list."""
    if not isinstance(subset, str) or subset not in (*parts, "all"):
        raise ValueError(f"subset={shown(subset)} must be one of {[*parts, 'all']}.")
    return sum(parts.values(), []) if subset == "all" else parts[subset]


def _dataset(
    images: Any, target: Any, kept: Any, return_X_y: bool, names: list[str], descr_file: str
) -> Any:
    """Return images and labels, given in pieces, as a fetcher does."""
    images = np.ascontiguousarray(np.concatenate(images))
    target = np.concatenate(target).astype(np.int64)
    if kept is not None:
        rows = np.isin(target, kept)
        images, target = images[rows], target[rows]
    data = images.reshape(len(images), prod(images.shape[1:]))
    if return_X_y:
        return data, target
    descr = (_DESCR / descr_file).read_text(encoding="utf-8")
    return Bunch(data=data, images=images, target=target, target_names=list(names), DESCR=descr)


def _read_cifar10(path: str | PathLike[str], names: list[str]) -> list[Array]:
    """Return the records of files of the archive, each an array (n, 1 + 3 * 32 * 32) of bytes.

    A record is a label, then the red, the green and the blue values, each of them row by row.
    """
    shape = _CIFAR10_BATCH, 1 + 3 * 32 * 32
    records = []
    kind = "the binary version of CIFAR-10"
    with _named_damage(path, kind), tarfile.open(path, "r:gz") as archive:
        for name in names:
            member = archive.getmember(f"cifar-10-batches-bin/{name}")
            if not member.isreg() or member.size != prod(shape):
                found = f"a file of {member.size} bytes" if member.isreg() else "no file"
                raise ValueError(f"{name} is {found}, but must be one of {prod(shape)} bytes")
            file = archive.extractfile(member)
            content = file.read(prod(shape))  # type: ignore[union-attr]
            records.append(np.frombuffer(content, np.uint8).reshape(shape))
    return records


def read_idx(path: str | PathLike[str], shape: tuple[int, ...]) -> Array:
    """Read a gzipped file of unsigned bytes in the IDX format.

    Parameters
    ----------
    path : path-like
    shape : tuple of int
        Shape of the array that the file must hold.

    Returns
    -------
    array : ndarray of that shape, uint8

    Raises
    ------
    ValueError
        If the file has another format or shape, or is truncated.

    Notes
    -----
    An IDX file opens with two zero bytes, the type of its values (8: unsigned byte) and the number
    of its axes, then the length of each axis as a big-endian 32-bit integer; the values follow.
    """
    start, size = 4 + 4 * len(shape), prod(shape)
    magic = bytes([0, 0, 8, len(shape)])
    with _named_damage(path, "a gzip file in the IDX format"):
        with gzip.open(path) as file:
            content = file.read(start + size + 1)  # a small file may decode into gigabytes
        if content[:4] != magic:
            raise ValueError(
                f"the magic number is {content[:4].hex() or 'missing'}, where {magic.hex()} marks "
                f"unsigned bytes along {len(shape)} axes"
            )
        if len(content) < start:
            raise ValueError("it is truncated in its header")
        lengths = tuple(np.frombuffer(content[4:start], ">u4").tolist())
        if lengths != shape:
            raise ValueError(f"it says it is of shape {lengths}, not {shape}")
        n = len(content) - start
        if n != size:
            held = f"more than the {size}" if n > size else f"{n} of the {size}"
            raise ValueError(f"it holds {held} values of its shape {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


@contextmanager
def _named_damage(path: str | PathLike[str], kind: str) -> Iterator[None]:
    """Name a file, and what to do about it, where it is not of a kind or cannot be decoded."""
    undecodable = gzip.BadGzipFile, zlib.error, EOFError, tarfile.TarError, OverflowError
    try:
        yield
    except (*undecodable, KeyError, ValueError) as error:
        raise ValueError(
            f"This is not {kind}, or a truncated or damaged one: {error}. Delete {path} and fetch "
            "it again."
        ) from error


def _class_numbers(classes: Any, names: list[str]) -> list[int] | None:
    """Return the numbers of classes that are given by number or name; None for None."""
    if classes is None:
        return None
    try:
        labels = list(classes) if np.ndim(classes) == 1 else []
    except (TypeError, ValueError):  # such as for lists of several lengths
        labels = []
    if not labels:
        raise ValueError(
            f"classes={shown(classes)} must be a list of classes, such as [{names[0]!r}, 1]."
        )
    for label in labels:
        is_name_or_number = isinstance(label, str) or is_whole_number(label)
        if not is_name_or_number or label not in (*names, *range(len(names))):
            raise ValueError(
                f"classes={shown(classes)} has {shown(label)}, which is neither a number from 0 "
                f"to {len(names) - 1} nor one of {names}."
            )
    return [names.index(label) if isinstance(label, str) else int(label) for label in labels]
