"""Time a sample of ``fit`` as images, their sides, filters and their sides grow; and n_jobs.

Run ``python benchmarks/scaling.py --plot scaling.png``.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import measure
import peers
from joblib.externals.loky import get_reusable_executor
from peers import Cell
from sklearn.model_selection import GridSearchCV

from skcnn import ConvNetClassifier

BASE = Cell(filters=(8,), batch_size=128)
AXES = {
    "n, images": [1_000, 6_000, 20_000, 60_000],
    "H = W, pixels": [8, 14, 28, 56, 112],
    "F, filters": [1, 2, 4, 8, 16, 32, 64, 128],
    "K, pixels": [1, 3, 5, 7, 9],
}


def paths():
    """Return the installed kernels: a name, and whether they are compiled loops."""
    return {"NumPy": False, "fast": True} if peers.fast_is_installed() else {"NumPy": False}


def whole_epochs(run, n, n_samples):
    """Return the seconds that a run takes for some samples, measured on no fewer than n."""
    at_least = max(n_samples, n)
    return run(at_least) * n_samples / at_least


def cell_at(axis, value):
    """Return the cell at a value along an axis, and its number of images."""
    if axis == "n, images":
        return replace(BASE, filters=(1,)), value
    fields = {
        "H = W, pixels": {"side": value},
        "F, filters": {"filters": (value,)},
        "K, pixels": {"K": value},
    }
    return replace(BASE, **fields[axis]), 2048


def along(axis, repeats, seconds=0.3):
    """Return microseconds a sample along an axis, {path: {value: times}}."""
    runs = {}
    for value in AXES[axis]:
        for name, fast in paths().items():
            cell, n = cell_at(axis, value)
            run = peers.skcnn(cell, *cell.data(n), fast=fast)
            runs[name, value] = partial(whole_epochs, run, n)
    times = measure.per_sample(runs, seconds, repeats, smallest=max(AXES["n, images"][:2]))
    result = {}
    for (name, value), of in times.items():
        result.setdefault(name, {})[value] = of
    return result


def by_number_of_images(repeats, epochs=5):
    """Return seconds of a fit on 60,000 images, and of ten on 6,000, by path and number."""
    cell = replace(BASE, filters=(1,))
    X, y = cell.data(60_000)
    runs = {}
    for name, fast in paths().items():
        for n in (6_000, 60_000):
            run = peers.skcnn(cell, X[:n], y[:n], fast=fast)

            def fits(run=run, n=n):
                return sum(run(epochs * n) for _ in range(60_000 // n))

            runs[name, n] = fits
    return measure.in_turn(runs, repeats)


def grid_search(repeats, seconds=1 / 3):
    """Return seconds of a grid search over eta and K in one process and in two, by path.

    Batches are small, so that one fit does not already use several cores. At the end one process
    waits for the other: less long if the longest fits come first, and if no fit is so short that
    joblib dispatches several at once; the shortest takes about a third of a second. Without psutil,
    joblib collects garbage in each process once a second, for a tenth to a fifth of a second.
    """
    X, y = Cell(filters=(1,), batch_size=1).data(6_000)
    grid = {"eta": [1e-4, 1e-3, 1e-2], "K": [5, 3]}
    result = {}
    for name, fast in paths().items():
        os.environ["SKCNN_FAST"] = "1" if fast else "0"
        get_reusable_executor().shutdown(wait=True)  # its processes would keep their environment
        model = ConvNetClassifier(K=3, batch_size=32, max_iter=10, tol=None, random_state=0)
        model.fit(X, y)  # compiles
        start = time.perf_counter()
        model.fit(X, y)
        epochs = 10 * seconds / (time.perf_counter() - start)
        model.set_params(max_iter=max(1, round(epochs)))

        def run(n_jobs, model=model):
            search = GridSearchCV(model, grid, n_jobs=n_jobs)
            start = time.perf_counter()
            search.fit(X, y)
            return time.perf_counter() - start

        runs = {(name, n_jobs): partial(run, n_jobs) for n_jobs in (1, 2)}
        result |= measure.in_turn(runs, repeats)
    return result


def import_time(repeats):
    """Return seconds that ``import skcnn`` takes beside its dependencies."""
    listing = (
        "import sys, skcnn; print(*[name for name in sys.modules if name != 'skcnn' and not "
        "name.startswith(('skcnn.', '_')) and '.' in name], sep=',')"
    )
    printed = subprocess.run([sys.executable, "-c", listing], capture_output=True, check=True)
    needed = printed.stdout.decode().strip()
    program = (
        "import sys, time, importlib\n"
        "for name in sys.argv[1].split(','):\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError: pass\n"
        "start = time.perf_counter()\n"
        "import skcnn\n"
        "print(time.perf_counter() - start)"
    )
    times = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", program, needed], capture_output=True, check=True
        )
        times.append(float(done.stdout))
    return times


def figures(repeats):
    """Return the figures for `report`."""
    return {
        "fit, seconds": by_number_of_images(repeats),
        "grid search, seconds": grid_search(max(3, repeats // 2)),
        "import skcnn, seconds": import_time(repeats),
    }


def report(result):
    """Print the figures."""
    fit, search = result["fit, seconds"], result["grid search, seconds"]
    print()
    for name in paths():
        growth = measure.ratio(fit, (name, 60_000), (name, 6_000))
        speed = measure.ratio(search, (name, 1), (name, 2))
        print(f"{name}: time a sample at n = 60000 over that at n = 6000: {growth:.2f}")
        print(f"{name}: GridSearchCV with n_jobs=2 over n_jobs=1: {speed:.2f} times as fast")
    print(f"import skcnn adds {1e3 * measure.median(result['import skcnn, seconds']):.0f} ms")


def plot(curves, path):
    """Draw the times along each axis into a file."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(1, len(curves), figsize=(4 * len(curves), 3.6), sharey=True)
    for ax, (axis, of_paths) in zip(axes, curves.items()):
        for name, of in of_paths.items():
            medians = [measure.median(times) for times in of.values()]
            ax.loglog(list(of), medians, "o-", label=f"skcnn, {name}")
        ax.set_xlabel(axis)
        ax.set_xticks(list(of), [str(value) for value in of])
        ax.minorticks_off()
        ax.grid(axis="y", alpha=0.3)
    axes[0].set_ylabel("microseconds a sample")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    """Measure, print, draw and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plot", metavar="FILE", help="draw the times along each axis")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()))
    curves = {axis: along(axis, arguments.repeats) for axis in AXES}
    for axis, of_paths in curves.items():
        values = AXES[axis]
        rows = [
            [name, *(f"{measure.median(of[value]):.1f}" for value in values)]
            for name, of in of_paths.items()
        ]
        print(f"\nMicroseconds a sample along {axis}:\n")
        print(measure.table(["", *values], rows))
    result = figures(arguments.repeats)
    report(result)
    if arguments.plot:
        plot(curves, arguments.plot)
    saved = {"machine": measure.machine(), "microseconds_a_sample": curves, **result}
    measure.save(arguments.json, measure.strings(saved))


if __name__ == "__main__":
    main()
