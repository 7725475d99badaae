"""How long a training step takes, beside PyTorch, skorch, JAX, C and plain Python.

Run ``python benchmarks/training.py``; with ``pip install ".[bench]"`` before, all peers take part.
It takes about ten minutes. All are given the same random images of 28 x 28 pixels and the same
network, in turn, and each figure is the median of several runs, in microseconds a sample, forward
and backward. For skcnn it is the whole of ``fit``: checks of the input, initial values and learning
curves are in it, and not in the others'. Compiling is in nobody's.

The other benchmarks of this folder are run at the end, each in short.
"""

import argparse
import math

import measure
import prediction
import scaling
from peers import TRAINERS, Cell

ARTICLE = Cell(F=1, batch_size=1, dtype="float64", fit_intercept=False)
CELLS = [Cell(F=F, batch_size=n) for F in (1, 8, 32) for n in (1, 32, 128, 512)]
TEN_CLASSES = Cell(F=32, batch_size=64, K=5, p=2, n_classes=10, solver="adam")

FRAMEWORKS = ["PyTorch", "skorch", "JAX"]
OURS = ["skcnn, NumPy", "skcnn, fast"]


def time_cell(cell, names, n_images, seconds, repeats):
    """Return the times of a cell by peer, for those that are there."""
    X, y = cell.data(n_images)
    makers = {name: TRAINERS[name](cell, X, y) for name in names}
    runs = {name: run for name, run in makers.items() if run is not None}
    return measure.per_sample(runs, seconds, repeats)


def name_of(cell):
    """Return the name of a cell in the table."""
    name = f"F={cell.F}, batch {cell.batch_size}"
    if cell.dtype == "float64":
        name += ", float64"
    if cell == TEN_CLASSES:
        name = "F=32, K=5, pool 2, ten classes, Adam, batch 64"
    return name


def shown(times):
    """Return the median in three digits."""
    value = measure.median(times)
    if value is None:
        return ""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def main():
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="counted runs of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each run (default: 0.3)")
    parser.add_argument("--json", metavar="FILE", help="also write all figures to this file")
    parser.add_argument("--cells-only", action="store_true", help="leave out the other benchmarks")
    arguments = parser.parse_args()
    how = {"seconds": arguments.seconds, "repeats": arguments.repeats}
    facts = measure.machine()
    print(measure.describe(facts) + "\n")

    # As many samples as the article's five epochs, so that its checks of the input count as there.
    names = ["article's loop", "C", *OURS]
    cells = {
        name_of(ARTICLE): time_cell(
            ARTICLE, names, 11_000, 5 * arguments.seconds, arguments.repeats
        )
    }
    for cell in [*CELLS, TEN_CLASSES]:
        longer = {"seconds": 3 * arguments.seconds} if cell == TEN_CLASSES else {}
        cells[name_of(cell)] = time_cell(cell, [*FRAMEWORKS, *OURS], 4096, **(how | longer))
        print(".", end="", flush=True)
    columns = [name for name in TRAINERS if any(name in times for times in cells.values())]
    rows = [[name, *(shown(t.get(column)) for column in columns)] for name, t in cells.items()]
    print("\n\nMicroseconds a sample:\n")
    print(measure.table(["", *columns], rows))

    print("\nHow many times as fast as each peer (median of the pairs of runs):\n")
    names = [name for name in columns if name not in OURS]
    ratios = {}
    for cell, times in cells.items():
        for ours in (name for name in OURS if name in times):
            ratios[cell, ours] = {
                name: measure.ratio(times, name, ours) for name in names if name in times
            }
    rows = [
        [cell, ours, *(f"{of[name]:.2f}" if name in of else "" for name in names)]
        for (cell, ours), of in ratios.items()
    ]
    print(measure.table(["", "", *names], rows))
    for ours in OURS:
        for name in FRAMEWORKS:
            each = [
                of[name]
                for (cell, by), of in ratios.items()
                if by == ours and name in of and cell in map(name_of, CELLS)
            ]
            if each:
                mean = math.exp(sum(map(math.log, each)) / len(each))
                print(
                    f"{ours} against {name}, the {len(each)} cells of float32: "
                    f"{mean:.1f} times as fast (geometric mean), {min(each):.2f} at least"
                )
    figures = {"machine": facts, "microseconds_a_sample": cells}
    if not arguments.cells_only:
        figures["predict_proba"] = prediction.figures(arguments.repeats)
        prediction.report(figures["predict_proba"])
        figures |= scaling.figures(arguments.repeats)
        scaling.report(figures)
    measure.save(arguments.json, measure.strings(figures))


if __name__ == "__main__":
    main()
