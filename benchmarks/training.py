"""How long a training step takes, beside PyTorch, skorch, JAX, C and plain Python.

Run ``python benchmarks/training.py``; with ``pip install ".[bench]"`` before, all peers take part.
It takes about twenty minutes. All train the same network on the same random images, of
28 x 28 pixels unless the table says otherwise, in turn. Each figure is the median of several runs,
in microseconds a sample, forward and backward. For skcnn it is the whole of ``fit``, including
validation of the input, initial values and learning curves, which the others do not have.
Compilation is excluded for all.

At the end follow prediction.py and a short version of scaling.py.
"""

import argparse
from dataclasses import replace

import measure
import prediction
import scaling
from peers import TRAINERS, Cell

ARTICLE = Cell(filters=(1,), batch_size=1, dtype="float64", fit_intercept=False)
FLOAT32 = [Cell(filters=(F,), batch_size=n) for F in (1, 8, 32) for n in (1, 32, 128, 512)]
TEN_CLASSES = Cell(filters=(32,), batch_size=64, K=5, p=2, n_classes=10, solver="adam")

_DEEP = Cell(filters=(32, 64), batch_size=64, p=2, n_classes=10, solver="adam")
DEEP = [
    replace(_DEEP, filters=(8, 16)),
    replace(_DEEP, filters=(16, 32)),
    _DEEP,
    replace(_DEEP, hidden=(128,)),
    replace(_DEEP, filters=(32, 64, 128), side=32, channels=3),
]

FRAMEWORKS = ["PyTorch", "skorch", "JAX"]
FRAMEWORKS_OF_DEEP = ["PyTorch", "PyTorch, channels last", "skorch", "JAX"]
OURS = ["skcnn, NumPy", "skcnn, fast"]


def time_cell(cell, names, n_images, seconds, repeats):
    """Return the times of a cell by peer, for those that are installed."""
    X, y = cell.data(n_images)
    makers = {name: TRAINERS[name](cell, X, y) for name in names}
    runs = {name: run for name, run in makers.items() if run is not None}
    return measure.per_sample(runs, seconds, repeats)


def report_times(cells):
    """Print the medians of cells, {name: {peer: times}}."""
    columns = [name for name in TRAINERS if any(name in times for times in cells.values())]
    rows = [
        [name, *(measure.median_text(t.get(column)) for column in columns)]
        for name, t in cells.items()
    ]
    print("\n\nMicroseconds a sample:\n")
    print(measure.table(["", *columns], rows))


def report_ratios(cells, names_in_mean, description):
    """Print how many times as fast as its peers skcnn is: in each cell, and in the mean of some."""
    peers = [name for name in TRAINERS if any(name in times for times in cells.values())]
    peers = [name for name in peers if name not in OURS]
    ratios = {
        (cell, ours): {peer: measure.ratio(t, peer, ours) for peer in peers if peer in t}
        for cell, t in cells.items()
        for ours in OURS
        if ours in t
    }
    rows = [
        [cell, ours, *(f"{of[peer]:.2f}" if peer in of else "" for peer in peers)]
        for (cell, ours), of in ratios.items()
    ]
    print("\nHow many times as fast as each peer (median of the pairs of runs):\n")
    print(measure.table(["", "", *peers], rows))
    for ours in OURS:
        for peer in peers:
            found = measure.mean_ratio([cells[name] for name in names_in_mean], peer, ours)
            if found:
                print(
                    f"{ours} against {peer}, the {len(names_in_mean)} {description}: "
                    f"{found[0]:.2f} times as fast (geometric mean), {found[1]:.2f} at least"
                )


def main():
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="counted runs of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each run (default: 0.3)")
    parser.add_argument("--json", metavar="FILE", help="also write all figures to this file")
    parser.add_argument("--cells-only", action="store_true", help="leave out prediction and growth")
    parser.add_argument("--deep-only", action="store_true", help="networks of several layers alone")
    arguments = parser.parse_args()
    facts = measure.machine()
    print(measure.describe(facts) + "\n")

    def timed(cell, names, n_images, times_as_long):
        """Return the name and the times of a cell, and print a dot."""
        seconds = times_as_long * arguments.seconds
        times = time_cell(cell, names, n_images, seconds, arguments.repeats)
        print(".", end="", flush=True)
        return str(cell), times

    shallow = {}
    if not arguments.deep_only:
        # The article's five epochs, so that validation has the same share of the time as there.
        shallow = dict(
            [
                timed(ARTICLE, ["article's loop", "C", *OURS], 11_000, 5),
                *(timed(cell, [*FRAMEWORKS, *OURS], 4096, 1) for cell in FLOAT32),
                timed(TEN_CLASSES, [*FRAMEWORKS, *OURS], 4096, 3),
            ]
        )
        report_times(shallow)
        report_ratios(shallow, [*map(str, FLOAT32)], "cells of float32")
    deep = dict(timed(cell, [*FRAMEWORKS_OF_DEEP, *OURS], 2048, 3) for cell in DEEP)
    report_times(deep)
    report_ratios(deep, list(deep), "deep cells")

    figures = {"machine": facts, "microseconds_a_sample": shallow | deep}
    if not (arguments.cells_only or arguments.deep_only):
        figures["predict_proba"] = prediction.figures(arguments.repeats)
        prediction.report(figures["predict_proba"])
        figures |= scaling.figures(arguments.repeats)
        scaling.report(figures)
    measure.save(arguments.json, measure.strings(figures))


if __name__ == "__main__":
    main()
