"""Image datasets, fetched in the manner of :mod:`sklearn.datasets`, and image files of your own."""

from ._cifar10 import fetch_cifar10
from ._fashion_mnist import fetch_fashion_mnist
from ._fashion_mnist import read_idx as read_idx
from ._image_files import load_image_files

__all__ = ["fetch_cifar10", "fetch_fashion_mnist", "load_image_files"]
