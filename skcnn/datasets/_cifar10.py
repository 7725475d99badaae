"""CIFAR-10: colour images of animals and vehicles, 32 x 32 pixels."""

import tarfile
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from .._estimator.arguments import check_switches
from .._typing import Array
from ._download import RemoteFile, RemoteFiles, fetch
from ._selection import Subset, class_numbers, make_dataset, subset_files

_ARCHIVE = "cifar-10-binary.tar.gz"

_OFFICIAL = RemoteFiles(
    folder="cifar-10",
    base_urls=("https://www.cs.toronto.edu/~kriz/",),
    files={
        _ARCHIVE: RemoteFile(
            170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
        )
    },
)

_SUBSETS = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}

_TARGET_NAMES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]


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
        Classes to select, by number or by name ("cat"); labels are left as they are. None: all.

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
        If an argument is wrong.

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
    names = subset_files(subset, _SUBSETS)
    numbers = class_numbers(classes, _TARGET_NAMES)
    check_switches(return_X_y=return_X_y, download_if_missing=download_if_missing)
    path = fetch(_OFFICIAL, _ARCHIVE, data_home, download_if_missing)
    batches = _read_records(path, names)
    images = [batch[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for batch in batches]
    target = [batch[:, 0] for batch in batches]
    return make_dataset(images, target, numbers, return_X_y, _TARGET_NAMES, "cifar10.rst")


def _read_records(path: str | PathLike[str], names: list[str]) -> list[Array]:
    """Return the records of files of the archive, each an array of shape (n, 1 + 3 * 32 * 32).

    A record is a label, then the red, the green and the blue values, each of them row by row.
    """
    with tarfile.open(path, "r:gz") as archive:
        batches = [archive.extractfile(f"cifar-10-batches-bin/{name}") for name in names]
        contents = [batch.read() for batch in batches]  # type: ignore[union-attr]
    return [np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32) for content in contents]
