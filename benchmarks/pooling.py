"""Test accuracy and log-loss of max and average pooling, with and without label smoothing.

Each row is a data set and a kind of pooling: "max" in all layers, "average" in all, or "last
average", which is max pooling but in the last layer. Cells are means and standard deviations over
the seeds, without label smoothing and with ``label_smoothing=0.1``. A seed draws the training
images and the initial weights; the signals have the split of their archive. The log-loss is that of
the true classes, in nats.

After ``pip install --no-deps aeon``, whose wheel has the signals, ``python benchmarks/pooling.py``
writes docs/tables/pooling.csv, in 18 minutes of processor time; the first time it downloads
Fashion-MNIST and CIFAR-10. With names of data sets it measures those alone, and the others keep
their rows. ``--photographs FOLDER`` takes the colour photographs from a folder of image files.
"""

import argparse
from functools import cache, partial
from pathlib import Path

import defaults
import measure
import numpy as np
from sklearn.metrics import log_loss
from tables import TABLES, read, write

from skcnn import ConvNetClassifier
from skcnn.datasets import fetch_cifar10, load_image_files

COMMON = {"eta": 0.003, "learning_rate": "cosine", "tol": None, "batch_size": 64}
LAYERS = {"n_filters": (16, 32), "pool_size": 2, "hidden_layer_sizes": 64}
GLOBAL = {"n_filters": (16, 32, 64), "pool_size": (2, 2, "global")}
SIGNALS = {**GLOBAL, "n_filters": (16, 32, 32), "K": (9, 7, 5), "batch_size": 16}
SMOOTHING = 0.1
PARTS = slice(1000), slice(-200, None)  # of the photographs of a class: training and test


@cache
def photographs(folder):
    """Return the images of CIFAR-10 and their labels, from a folder of files if there is one."""
    data = load_image_files(folder) if folder else fetch_cifar10()
    return data.images, data.target


def split_photographs(folder, n, seed):
    """Return n of the first 1,000 photographs of each class, and the last 200 of each."""
    images, target = photographs(folder)
    of_classes = [np.flatnonzero(target == k) for k in range(10)]
    train, test = (np.concatenate([rows[part] for rows in of_classes]) for part in PARTS)
    rows = np.random.RandomState(seed).permutation(train)[:n]
    return images[rows], images[test], target[rows], target[test]


def cases(folder):
    """Return, by name, the number of training samples, the data and the network.

    The data are a function of that number and a seed; signals have a number of their own.
    """
    photos = partial(split_photographs, folder)
    result = {
        "digits": (500, defaults.digits, {**LAYERS, "max_iter": 30}),
        "Fashion-MNIST": (10_000, defaults.fashion, {**LAYERS, "max_iter": 6}),
        "photographs": (5_000, photos, {**LAYERS, "max_iter": 8}),
        "photographs, global": (5_000, photos, {**GLOBAL, "max_iter": 8}),
    }
    for name in ("ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "OSULeaf"):
        max_iter = 100 if name == "OSULeaf" else 300  # for about a thousand steps
        result[name] = (None, partial(defaults.signals, name), {**SIGNALS, "max_iter": max_iter})
    return result


def poolings(n_layers):
    """Return the kinds of pooling that are compared, by name."""
    last = ("max",) * (n_layers - 1) + ("average",)
    return {"max": "max", "last average": last, "average": "average"}


def measured(parameters, seed, X_train, X_test, y_train, y_test):
    """Return the accuracy and the log-loss of a network on the test samples."""
    model = ConvNetClassifier(**COMMON | parameters, random_state=seed).fit(X_train, y_train)
    loss = log_loss(y_test, model.predict_proba(X_test), labels=model.classes_)
    return model.score(X_test, y_test), loss


def figures(load, n, sizes, n_seeds):
    """Return what `measured` does for each seed, by kind of pooling and label smoothing."""
    result = {}
    for seed in range(n_seeds):
        data = defaults.standardised(*load(n, seed))
        for name, pooling in poolings(len(sizes["n_filters"])).items():
            for smoothing in (0.0, SMOOTHING):
                options = {"pooling": pooling, "label_smoothing": smoothing}
                result.setdefault((name, smoothing), []).append(
                    measured(sizes | options, seed, *data)
                )
    return result, len(data[0])


def text(values):
    """Return mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def rows_of(name, n, of_cells):
    """Return the rows of a data set, one for each kind of pooling."""
    rows = []
    for pooling in dict.fromkeys(pooling for pooling, _ in of_cells):
        plain, smoothed = (np.transpose(of_cells[pooling, q]) for q in (0.0, SMOOTHING))
        rows.append([name, f"{n:,}", pooling, *map(text, (*plain, *smoothed))])
    return rows


def main():
    """Measure, print a data set at a time, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="*", help="names of data sets; all without")
    parser.add_argument("--photographs", metavar="FOLDER", help="with a subfolder for each class")
    parser.add_argument("--samples", type=int, help="greatest number of training images")
    parser.add_argument("--epochs", type=int, help="greatest number of epochs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path, default=TABLES / "pooling.csv", metavar="FILE")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()), end="\n\n")
    header = ["data", "samples", "pooling", "accuracy", "log-loss"]
    header += [f"{name}, label smoothing {SMOOTHING}" for name in header[3:]]
    print(measure.table(header, []), flush=True)
    found = cases(arguments.photographs)
    for name in arguments.data or found:
        n, load, sizes = found[name]
        if arguments.samples and n:
            n = min(n, arguments.samples)
        if arguments.epochs:
            sizes = {**sizes, "max_iter": min(sizes["max_iter"], arguments.epochs)}
        of_cells, n = figures(load, n, sizes, arguments.seeds)
        rows = rows_of(name, n, of_cells)
        print(measure.table(header, rows).split("\n", 2)[2], flush=True)
        kept = read(arguments.csv)[1] if arguments.csv.exists() else []
        rows += [row for row in kept if row[0] != name]
        write(arguments.csv, header, sorted(rows, key=lambda row: [*found].index(row[0])))


if __name__ == "__main__":
    main()
