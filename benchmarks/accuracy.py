"""Accuracy of networks on Fashion-MNIST and CIFAR-10, as in the README's table.

``python benchmarks/accuracy.py`` measures all rows, in about an hour; with numbers of rows, counted
from 0, those alone. Scores are those on the test images of Fashion-MNIST, and on the last 1,000
training images of each class of CIFAR-10, which are held out. The time is that from the pixels to
the score, and that of the first row includes compiling, unless that was done before. The data sets
are downloaded the first time.
"""

import argparse
import time
from functools import partial

import measure
import numpy as np
from sklearn.pipeline import make_pipeline

from skcnn import ConvNetClassifier, ImageScaler
from skcnn.augmentation import flip_left_right, shift
from skcnn.datasets import fetch_cifar10, fetch_fashion_mnist

ALL = {"batch_size": 64, "learning_rate": "cosine", "tol": None}
SGD = {"batch_size": 16, "solver": "sgd", "momentum": 0.9, "eta": 0.02, "alpha": 0.002}
DEEP = {"hidden_layer_sizes": (128,), "pool_size": 2}
THREE = {"n_filters": (32, 64, 128), **DEEP}
SLIM = {"n_filters": (24, 48, 96), **DEEP, "dropout": 0.2, "eta": 0.0015}
CHANGED = {**THREE, "dropout": 0.3, "augment": [flip_left_right(), shift(3)]}


def fashion(classes=None):
    """Return the training and the test images of Fashion-MNIST and their labels."""
    train, test = (fetch_fashion_mnist(subset=name, classes=classes) for name in ("train", "test"))
    return train.images, train.target, test.images, test.target


def cifar10():
    """Return training images of CIFAR-10 and the last 1,000 of each class, and their labels."""
    data = fetch_cifar10()
    held_out = np.concatenate([np.flatnonzero(data.target == k)[-1000:] for k in range(10)])
    kept = np.setdiff1d(np.arange(len(data.target)), held_out)
    return data.images[kept], data.target[kept], data.images[held_out], data.target[held_out]


ROWS = [
    (partial(fashion, [1, 3]), {"n_filters": 16, "K": 5, "pool_size": 2, "max_iter": 15, **SGD}),
    (fashion, {"n_filters": 32, "K": 5, "pool_size": 2, "max_iter": 8}),
    (fashion, {"n_filters": 128, "K": 5, "pool_size": 4, "eta": 0.002, "max_iter": 10}),
    (fashion, {"n_filters": (32, 64), **DEEP, "dropout": 0.4, "max_iter": 12}),
    (fashion, {**SLIM, "augment": [flip_left_right(), shift(1)], "max_iter": 48}),
    (cifar10, {**THREE, "dropout": 0.4, "max_iter": 16}),
    (cifar10, {**CHANGED, "max_iter": 28}),
]


def accuracy(data, parameters, seed=0):
    """Return the accuracy on images not seen, and the seconds from the pixels to the score."""
    X_train, y_train, X_test, y_test = data()
    start = time.perf_counter()
    network = ConvNetClassifier(**ALL | parameters, random_state=seed)
    model = make_pipeline(ImageScaler(per="channel"), network)
    model.fit(np.float32(X_train), y_train)
    return model.score(np.float32(X_test), y_test), time.perf_counter() - start


def main():
    """Measure, and print a row at a time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", type=int, default=range(len(ROWS)))
    parser.add_argument("--seed", type=int, default=0, help="random_state of the networks")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()), end="\n\n")
    print(measure.table(["row", "network", "accuracy", "seconds"], []), flush=True)
    for number in arguments.rows:
        data, parameters = ROWS[number]
        network = measure.arguments(parameters)
        score, seconds = accuracy(data, parameters, arguments.seed)
        print(f"| {number} | {network} | {score:.4f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
