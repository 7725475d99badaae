"""Image datasets, fetched as :mod:`sklearn.datasets` does it and cached by pooch."""

import gzip
import tarfile
import zlib
from math import prod
from numbers import Integral

import numpy as np
from sklearn.utils import Bunch

from ._download import RemoteFile, RemoteFiles, fetch
from ._image_files import load_image_files

__all__ = ["fetch_cifar10", "fetch_fashion_mnist", "load_image_files"]


_FASHION_MNIST = RemoteFiles(
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
_FASHION_MNIST_PARTS = {"train": [("train", 60_000)], "test": [("t10k", 10_000)]}

_DAMAGED_GZIP = (gzip.BadGzipFile, zlib.error, EOFError)

_FASHION_MNIST_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_FASHION_MNIST_DESCR = """\
Fashion-MNIST
-------------

Photographs of articles of clothing: 60,000 for training and 10,000 for testing, of ten classes with
as many images each. An image has 28 x 28 pixels in grey levels, 0 for the background to 255.

Classes: 0 T-shirt/top, 1 Trouser, 2 Pullover, 3 Dress, 4 Coat, 5 Sandal, 6 Shirt, 7 Sneaker, 8 Bag,
9 Ankle boot.

By Zalando SE, under the MIT licence. H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel
image dataset for benchmarking machine learning algorithms", arXiv:1708.07747 (2017).
https://github.com/zalandoresearch/fashion-mnist
"""

_CIFAR10 = RemoteFiles(
    folder="cifar-10",
    base_urls=("https://www.cs.toronto.edu/~kriz/",),
    files={
        "cifar-10-binary.tar.gz": RemoteFile(
            170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
        )
    },
)

_CIFAR10_PARTS = {
    "train": [f"data_batch_{k}.bin" for k in range(1, 6)],
    "test": ["test_batch.bin"],
}

_CIFAR10_BATCH = 10_000  # images in a file of the archive

_CIFAR10_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

_CIFAR10_DESCR = """\
CIFAR-10
--------

Photographs of animals and vehicles: 50,000 for training and 10,000 for testing, of ten classes with
as many images each. An image has 32 x 32 pixels in red, green and blue, 0 to 255.

Classes: 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8 ship, 9 truck.

By A. Krizhevsky, V. Nair and G. Hinton. A. Krizhevsky, "Learning multiple layers of features from
tiny images", technical report, University of Toronto (2009).
https://www.cs.toronto.edu/~kriz/cifar.html
"""


def fetch_fashion_mnist(
    *, subset="train", classes=None, data_home=None, return_X_y=False, download_if_missing=True
):
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
    _check_switches(return_X_y=return_X_y, download_if_missing=download_if_missing)
    images, target = [], []
    for prefix, n in parts:
        paths = [
            fetch(_FASHION_MNIST, f"{prefix}-{suffix}", data_home, download_if_missing)
            for suffix in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")
        ]
        images.append(read_idx(paths[0], shape=(n, 28, 28)))
        target.append(read_idx(paths[1], shape=(n,)))
    return _dataset(images, target, kept, return_X_y, _FASHION_MNIST_NAMES, _FASHION_MNIST_DESCR)


def fetch_cifar10(
    *, subset="train", classes=None, data_home=None, return_X_y=False, download_if_missing=True
):
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
    _check_switches(return_X_y=return_X_y, download_if_missing=download_if_missing)
    path = fetch(_CIFAR10, "cifar-10-binary.tar.gz", data_home, download_if_missing)
    images, target = [], []
    for records in _read_cifar10(path, names):
        target.append(records[:, 0])
        images.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return _dataset(images, target, kept, return_X_y, _CIFAR10_NAMES, _CIFAR10_DESCR)


def _parts(subset, parts):
    """Return the files of a subset, as a list."""
    if not isinstance(subset, str) or subset not in (*parts, "all"):
        raise ValueError(f"subset={_shown(subset)} must be one of {[*parts, 'all']}.")
    return sum(parts.values(), []) if subset == "all" else parts[subset]


def _check_switches(**switches):
    """Raise a TypeError for a parameter that is neither True nor False."""
    for name, value in switches.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name}={_shown(value)} must be True or False.")


def _dataset(images, target, kept, return_X_y, names, description):
    """Return images and labels, given in pieces, as a fetcher does."""
    images = np.ascontiguousarray(np.concatenate(images))
    target = np.concatenate(target).astype(np.int64)
    if kept is not None:
        rows = np.isin(target, kept)
        images, target = images[rows], target[rows]
    data = images.reshape(len(images), prod(images.shape[1:]))
    if return_X_y:
        return data, target
    return Bunch(
        data=data, images=images, target=target, target_names=list(names), DESCR=description
    )


def _read_cifar10(path, names):
    """Return the records of files of the archive, each an array (n, 1 + 3 * 32 * 32) of bytes.

    A record is a label, then the red, the green and the blue values, each of them row by row.
    """
    shape = _CIFAR10_BATCH, 1 + 3 * 32 * 32
    records = []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in names:
                member = archive.getmember(f"cifar-10-batches-bin/{name}")
                if not member.isreg() or member.size != prod(shape):
                    kind = f"a file of {member.size} bytes" if member.isreg() else "no file"
                    raise ValueError(f"{name} is {kind}, where one of {prod(shape)} bytes belongs")
                content = archive.extractfile(member).read(prod(shape))
                records.append(np.frombuffer(content, np.uint8).reshape(shape))
    except (tarfile.TarError, *_DAMAGED_GZIP, OverflowError, KeyError, ValueError) as error:
        raise ValueError(
            f"This is not the binary version of CIFAR-10: {error}. Delete {path} and fetch it "
            "again."
        ) from error
    return records


def read_idx(path, shape):
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
    way_out = f"Delete {path} and fetch it again."
    start = 4 + 4 * len(shape)
    try:
        with gzip.open(path) as file:
            content = file.read(start + prod(shape) + 1)  # a small file may decode into gigabytes
    except _DAMAGED_GZIP as error:
        raise ValueError(
            f"This is not a gzip file, or a truncated or damaged one: {error}. {way_out}"
        ) from error
    magic = bytes([0, 0, 8, len(shape)])
    if content[:4] != magic:
        raise ValueError(
            f"The magic number is {content[:4].hex() or 'missing'}, where {magic.hex()} marks "
            f"unsigned bytes along {len(shape)} axes. {way_out}"
        )
    if len(content) < start:
        raise ValueError(f"The file is truncated in its header. {way_out}")
    lengths = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if lengths != shape:
        raise ValueError(f"The file says it is of shape {lengths}, not {shape}. {way_out}")
    n = len(content) - start
    if n != prod(shape):
        held = f"more than the {prod(shape)}" if n > prod(shape) else f"{n} of the {prod(shape)}"
        raise ValueError(f"The file holds {held} values of its shape {shape}. {way_out}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _class_numbers(classes, names):
    """Return the numbers of classes that are given by number or name; None for None."""
    if classes is None:
        return None
    try:
        labels = list(classes) if np.ndim(classes) == 1 else []
    except (TypeError, ValueError):  # such as for lists of several lengths
        labels = []
    if not labels:
        raise ValueError(
            f"classes={_shown(classes)} must be a list of classes, such as [{names[0]!r}, 1]."
        )
    numbers = []
    for label in labels:
        is_number = isinstance(label, Integral) and not isinstance(label, bool)
        if is_number and 0 <= label < len(names):
            numbers.append(int(label))
        elif isinstance(label, str) and label in names:
            numbers.append(names.index(label))
        else:
            raise ValueError(
                f"classes={_shown(classes)} has {_shown(label)}, which is neither a number from 0 "
                f"to {len(names) - 1} nor one of {list(names)}."
            )
    return numbers


def _shown(value):
    """Return the repr of a value for an error: on one line, and not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # such as for integers of more than some thousand digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 100 else f"{text[:100]}..."
