"""Test score of the first tries that the documentation advises, beside the defaults.

``pip install --no-deps aeon``, whose wheel has the signals, and
``python benchmarks/first_tries.py`` measure each and write docs/tables/first_tries.csv, in about
five minutes. Scores are accuracies, the means over two seeds, and times those of ``fit`` on all
cores; "!" marks a ConvergenceWarning. The data are those of defaults.py, and Fashion-MNIST is
downloaded the first time. Small colour pictures are in accuracy.py.
"""

import argparse

import defaults
import measure
from tables import TABLES, write

MIDDLE = {"n_filters": 32, "K": 5, "pool_size": 2}
ANYWHERE = {"n_filters": 32, "K": 5, "pool_size": "global"}
AT_ANY_TIME = {"n_filters": 8, "K": 15, "pool_size": "global"}
SAME_EVENT = {"n_filters": 8, "K": 9, "pool_size": 4}

ALL = {"eta": 0.003, "learning_rate": "cosine", "tol": None}
HUNDREDS = {"max_iter": 50}
THOUSANDS = {"max_iter": 10, "batch_size": 64}

FIRST_TRIES = [
    ("digits", 500, MIDDLE),
    ("Fashion-MNIST", 1_000, MIDDLE),
    ("Fashion-MNIST", 10_000, MIDDLE),
    ("shapes", 100, ANYWHERE),
    ("shapes", 1_000, ANYWHERE),
    ("BasicMotions", 40, AT_ANY_TIME),
    ("OSULeaf", 200, AT_ANY_TIME),
    ("GunPoint", 50, SAME_EVENT),
    ("ItalyPowerDemand", 67, SAME_EVENT),
]


def text(parameters):
    """Return parameters as they are passed."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


def row(name, n, sizes):
    """Return the figures of a first try."""
    settings = {"first try": sizes | ALL | (HUNDREDS if n < 1000 else THOUSANDS), "defaults": {}}
    runs = {name: [] for name in (*settings, "linear")}
    for seed in range(2):
        data = defaults.standardised(*defaults.data_sets()[name, n](seed))
        runs["linear"].append(defaults.linear(*data))
        for setting, parameters in settings.items():
            runs[setting].append(defaults.network(parameters, seed, *data))
    return [name, f"{n:,}", f"``{text(sizes)}``", *map(defaults.cell, runs.values())]


def main():
    """Measure, print and write."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    print(measure.describe(measure.machine()), end="\n\n")
    defaults.network({}, 0, *defaults.standardised(*defaults.digits(100, 0)))  # compiles
    header = ["data", "samples", "settings", "accuracy", "of the defaults", "of a linear model"]
    rows = [row(*first_try) for first_try in FIRST_TRIES]
    print(measure.table(header, rows))
    write(TABLES / "first_tries.csv", header, rows)


if __name__ == "__main__":
    main()
