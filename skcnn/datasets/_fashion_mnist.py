"""Fashion-MNIST: grey images of clothing, 28 x 28 pixels."""

import gzip
import zlib
from collections.abc import Sequence
from math import prod
from os import PathLike
from typing import Any

import numpy as np

from .._estimator.arguments import check_switches
from .._typing import Array
from ._download import RemoteFile, RemoteFiles, fetch
from ._selection import Subset, class_numbers, make_dataset, subset_files

_OFFICIAL = RemoteFiles(
    folder="fashion-mnist",
    # The official server, Amazon's, offers only plain HTTP, which anyone between can read and
    # change (the hash would differ). So it comes last.
    base_urls=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    files={
        "train-images-idx3-ubyte.gz": RemoteFile(
            26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte.gz": RemoteFile(
            29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte.gz": RemoteFile(
            4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte.gz": RemoteFile(
            5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
)

# Prefixes of the files' names, and how many images they hold.
_SUBSETS = {"train": [("train", 60_000)], "test": [("t10k", 10_000)]}

_TARGET_NAMES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]


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
        Classes to select, by number or by name ("Trouser"); labels are left as they are. None: all.

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
        If an argument is wrong.

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
    prefixes = subset_files(subset, _SUBSETS)
    numbers = class_numbers(classes, _TARGET_NAMES)
    check_switches(return_X_y=return_X_y, download_if_missing=download_if_missing)

    def read(name: str, shape: tuple[int, ...]) -> Array:
        return read_idx(fetch(_OFFICIAL, name, data_home, download_if_missing), shape)

    images = [read(f"{prefix}-images-idx3-ubyte.gz", (n, 28, 28)) for prefix, n in prefixes]
    target = [read(f"{prefix}-labels-idx1-ubyte.gz", (n,)) for prefix, n in prefixes]
    return make_dataset(images, target, numbers, return_X_y, _TARGET_NAMES, "fashion_mnist.rst")


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
    try:
        return _decode_idx(path, shape)
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise ValueError(
            f"This is not a gzip file in the IDX format, or a truncated or damaged one: {error}. "
            f"Delete {path} and fetch it again."
        ) from error


def _decode_idx(path: str | PathLike[str], shape: tuple[int, ...]) -> Array:
    start, size = 4 + 4 * len(shape), prod(shape)
    magic = bytes([0, 0, 8, len(shape)])
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
