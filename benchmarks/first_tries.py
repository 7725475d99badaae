"""Test score of the first tries that the documentation advises, beside the defaults.

After ``pip install --no-deps aeon``, whose wheel has the signals, ``python
benchmarks/first_tries.py`` measures each and writes docs/tables/first_tries.csv, in about five
minutes. Scores are accuracies, the means over two seeds, and times those of ``fit`` on all cores;
"!" marks a ConvergenceWarning. The data are those of defaults.py, and Fashion-MNIST is downloaded
the first time. Small colour pictures are in accuracy.py.
"""

import argparse

import defaults
import measure
from tables import TABLES, write

MIDDLE = {"n_filters": 32, "K": 5, "pool_size": 2}
ANYWHERE = {"n_filters": 32, "K": 5, "pool_size": "global"}
SIGNALS = {"n_filters": (16, 32), "K": (15, 7), "pool_size": (4, "global"), "max_iter": 150}

ALL = {"eta": 0.003, "learning_rate": "cosine", "tol": None}
HUNDREDS = {"max_iter": 50}
THOUSANDS = {"max_iter": 10, "batch_size": 64}

FIRST_TRIES = [
    ("digits", 500, MIDDLE),
    ("Fashion-MNIST", 1_000, MIDDLE),
    ("Fashion-MNIST", 10_000, MIDDLE),
    ("shapes", 100, ANYWHERE),
    ("shapes", 1_000, ANYWHERE),
    ("ArrowHead", 36, SIGNALS),
    ("BasicMotions", 40, SIGNALS),
    ("GunPoint", 50, SIGNALS),
    ("ItalyPowerDemand", 67, SIGNALS),
    ("OSULeaf", 200, SIGNALS),
]


def row(data_sets, name, n, sizes):
    """Return the figures of a first try."""
    advised = ALL | (HUNDREDS if n < 1000 else THOUSANDS) | sizes
    networks = {"first try": advised, "defaults": {}}
    runs = defaults.of_data_set(data_sets[name, n], networks, n_seeds=2)
    cells = [defaults.cell(runs[key]) for key in (*networks, ("linear", ""))]
    return [name, f"{n:,}", f"``{measure.arguments(sizes)}``", *cells]


def main():
    """Measure, print and write."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    print(measure.describe(measure.machine()), end="\n\n")
    defaults.network({}, 0, *defaults.standardised(*defaults.digits(100, 0)))  # compiles
    header = ["data", "samples", "settings", "accuracy", "of the defaults", "of a linear model"]
    data_sets = defaults.data_sets()
    missing = {(name, n) for name, n, _ in FIRST_TRIES} - data_sets.keys()
    if missing:
        raise SystemExit(f"There are no data for {sorted(missing)}: pip install --no-deps aeon")
    rows = [row(data_sets, *first_try) for first_try in FIRST_TRIES]
    print(measure.table(header, rows))
    write(TABLES / "first_tries.csv", header, rows)


if __name__ == "__main__":
    main()
