"""Test score and time of the estimators at their defaults, beside other values and a linear model.

Each row is a data set with its number of training samples and a network, of one filter or of eight
with pooling; each column is a setting of the parameters. A cell has the mean test score over the
seeds (accuracy, or R2 of a regression), the mean seconds of ``fit``, and a "!" where most of the
fits ended in a ConvergenceWarning. Values, and the targets of a regression, are standardised.
10,000 samples are measured with one seed.

Run ``pip install --no-deps aeon``, whose wheel has the signals, and
``python benchmarks/defaults.py`` or, with settings of your own,
``python benchmarks/defaults.py batch_size=200,eta=0.01``. It takes about five minutes, and
downloads Fashion-MNIST the first time.
"""

import argparse
import time
import warnings
from ast import literal_eval
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import measure
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler
from skcnn.datasets import fetch_fashion_mnist

SIGNALS = ["ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "OSULeaf"]
NETWORKS = {"1 filter": {}, "8 filters, pooled": {"n_filters": 8, "pool_size": 2}}


def split(X, y, n, seed):
    """Return n training samples and the rest, as X_train, X_test, y_train, y_test."""
    strata = None if y.dtype.kind == "f" else y
    return train_test_split(X, y, train_size=n, stratify=strata, random_state=seed)


def digits(n, seed):
    """Return handwritten digits of 8 x 8 pixels."""
    data = load_digits()
    return split(data.images, data.target, n, seed)


def fashion(n, seed):
    """Return photographs of clothes, of 28 x 28 pixels, and 2,000 test images."""
    train, test = (fetch_fashion_mnist(subset=subset) for subset in ("train", "test"))
    rows = np.random.RandomState(seed).permutation(len(train.target))[:n]
    return train.images[rows], test.images[:2000], train.target[rows], test.target[:2000]


def shapes(n, seed, side=16):
    """Return outlines of discs, squares and crosses of any size, anywhere, in noise."""
    rng = np.random.RandomState(seed)
    y = rng.randint(3, size=n + 1000)
    row, column = np.ogrid[:side, :side]
    X = rng.normal(scale=0.3, size=(len(y), side, side))
    for image, label in zip(X, y):
        radius = rng.randint(3, 6)
        i, j = np.abs(row - rng.randint(4, 12)), np.abs(column - rng.randint(4, 12))
        distance = [np.hypot(i, j), np.maximum(i, j), np.where(i + j <= radius, i * j, side)][label]
        image += np.abs(distance - (0 if label == 2 else radius)) < 0.6
    return split(X, y, n, seed)


def spots(n, seed, side=16):
    """Return pictures in noise and how many bright spots, of 0 to 9, each has."""
    rng = np.random.RandomState(seed)
    y = rng.randint(10, size=n + 1000)
    X = np.zeros((len(y), side, side))
    for image, count in zip(X, y):
        image.flat[rng.choice(side * side, count, replace=False)] = 1
    X = gaussian_filter(X, (0, 1, 1)) + rng.normal(scale=0.02, size=X.shape)
    return split(X, y.astype(float), n, seed)


def diabetes(n, seed):
    """Return ten measurements of a patient, as a signal, and how the disease went on."""
    X, y = load_diabetes(return_X_y=True)
    return split(X[:, np.newaxis], y, n, seed)


def signals(name, n, seed):
    """Return the training and the test signals of the UCR and UEA archives by that name."""
    folder = Path(find_spec("aeon").origin).parent / "datasets" / "data" / name
    train, test = read(folder / f"{name}_TRAIN.ts"), read(folder / f"{name}_TEST.ts")
    return train[0], test[0], train[1], test[1]


def read(path):
    """Return signals of shape (n, 1, length, channels) and their labels from a file of aeon."""
    lines = path.read_text().partition("@data")[2].split()
    *channels, labels = zip(*(line.split(":") for line in lines))
    X = [[np.fromstring(values, sep=",") for values in channel] for channel in channels]
    return np.stack(X, axis=-1)[:, np.newaxis], np.array(labels)


def data_sets():
    """Return functions of a seed, by name and number of training samples."""
    result = {("digits", n): partial(digits, n) for n in (100, 500, 1347)}
    result |= {("Fashion-MNIST", n): partial(fashion, n) for n in (100, 1_000, 10_000)}
    result |= {("shapes", n): partial(shapes, n) for n in (100, 1000)}
    result |= {("spots (R2)", n): partial(spots, n) for n in (100, 1000)}
    result |= {("diabetes (R2)", 331): partial(diabetes, 331)}
    if find_spec("aeon"):
        for name in SIGNALS:
            n = len(signals(name, None, 0)[0])
            result[name, n] = partial(signals, name, n)
    return result


def standardised(X_train, X_test, y_train, y_test):
    """Return float32 data of mean 0 and variance 1, as are then the targets of a regression."""
    scaler = ImageScaler(per="channel", image_shape=X_train.shape[1:])
    X_train = scaler.fit_transform(np.float32(X_train))
    X_test = scaler.transform(np.float32(X_test))
    if is_regression(y_train):
        mean, std = y_train.mean(), y_train.std()
        y_train, y_test = (y_train - mean) / std, (y_test - mean) / std
    return X_train, X_test, y_train, y_test


def is_regression(y):
    """Return whether targets are numbers and not labels."""
    return y.dtype.kind == "f"


def measured(model, X_train, X_test, y_train, y_test):
    """Return the test score of a model, the seconds of ``fit``, and whether it warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(X_train, y_train)
        seconds = time.perf_counter() - start
    return model.score(X_test, y_test), seconds, len(caught) > 0


def linear(X_train, X_test, y_train, y_test):
    """Return what `measured` does of a linear model."""
    model = Ridge() if is_regression(y_train) else LogisticRegression(max_iter=1000)
    X_train, X_test = X_train.reshape(len(X_train), -1), X_test.reshape(len(X_test), -1)
    return measured(model, X_train, X_test, y_train, y_test)


def network(parameters, seed, X_train, X_test, y_train, y_test):
    """Return what `measured` does of a network."""
    estimator = ConvNetRegressor if is_regression(y_train) else ConvNetClassifier
    model = estimator(image_shape=X_train.shape[1:], random_state=seed, **parameters)
    return measured(model, X_train, X_test, y_train, y_test)


def of_data_set(make, networks, n_seeds):
    """Return what `measured` does for each seed of a data set.

    The keys are those of ``networks``, dicts of their parameters, and ("linear", "").
    """
    result = {key: [] for key in (("linear", ""), *networks)}
    for seed in range(n_seeds):
        data = standardised(*make(seed))
        result["linear", ""].append(linear(*data))
        for key, parameters in networks.items():
            result[key].append(network(parameters, seed, *data))
    return result


def figures(settings, n_seeds):
    """Return what `measured` does for each seed, by data set, its size, network and setting."""
    networks = {
        (kind, setting): sizes | parameters
        for kind, sizes in NETWORKS.items()
        for setting, parameters in settings.items()
    }
    result = {}
    for (name, n), make in data_sets().items():
        runs = of_data_set(make, networks, n_seeds if n < 10_000 else 1)
        result |= {(name, n, *key): of_key for key, of_key in runs.items()}
    return result


def cell(runs):
    """Return the figures of some runs as text."""
    score, seconds, warned = np.mean(runs, axis=0)
    return f"{score:.3f} ({seconds:.2g} s)" + ("!" if warned > 0.5 else "")


def report(result, settings):
    """Print the table, and the mean of each column."""
    rows = []
    for name, n in dict.fromkeys(key[:2] for key in result):
        for kind in NETWORKS:
            cells = [cell(result[name, n, kind, setting]) for setting in settings]
            rows.append([name, n, kind, *cells, cell(result[name, n, "linear", ""])])
    for kind in NETWORKS:
        means = []
        for of in [(kind, setting) for setting in settings] + [("linear", "")]:
            means.append(
                cell([np.mean(runs, axis=0) for key, runs in result.items() if key[2:] == of])
            )
        rows.append(["mean", "", kind, *means])
    print(measure.table(["data", "n", "network", *settings, "linear model"], rows))


def parsed(setting):
    """Return the parameters of "name=value,name=value"."""
    pairs = (pair.split("=") for pair in setting.split(",") if "=" in pair)
    return {name: literal_eval(value) for name, value in pairs}


def main():
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("settings", nargs="*", default=["batch_size=200", "eta=0.003"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()), end="\n\n")
    settings = {name: parsed(name) for name in ["defaults", *arguments.settings]}
    network({}, 0, *standardised(*digits(100, 0)))  # compiles
    result = figures(settings, arguments.seeds)
    report(result, settings)
    saved = {"machine": measure.machine(), "score, seconds, warned": result}
    measure.save(arguments.json, measure.strings(saved))


if __name__ == "__main__":
    main()
