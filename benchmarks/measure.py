"""Comparable times: measured in turn, in one process, as medians and ratios."""

import json
import math
import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = "skcnn numpy scipy scikit-learn numba onnxruntime torch skorch jax".split()


def machine():
    """Return the processor, the system and the versions, as a dict."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor():
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(facts):
    """Return the machine in a line."""
    versions = ", ".join(f"{name} {v}" for name, v in facts["versions"].items() if v)
    return f"{facts['processor']}, {facts['cores']} cores; Python {facts['python']}, {versions}"


def per_sample(runs, seconds, repeats, smallest=200):
    """Time some runs in turn.

    Parameters
    ----------
    runs : dict of callables
        ``run(n)`` works on n samples and returns the seconds it took.
    seconds : float
        About how long each run should take; n is chosen for that after two warm-up runs.
    repeats : int
    smallest : int
        Samples of the first round.

    Returns
    -------
    times : dict of lists
        Microseconds a sample of each repeat.
    """
    sizes = {}
    for name, run in runs.items():
        run(smallest)
        pace = run(smallest) / smallest
        sizes[name] = n = max(smallest, int(0.2 * seconds / pace))
        sizes[name] = max(smallest, int(seconds / (run(n) / n)))
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(run(sizes[name]) / sizes[name] * 1e6)
    return times


def in_turn(runs, repeats):
    """Call functions that return seconds in turn, after a warm-up round."""
    times = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            seconds = run()
            if repeat:
                times[name].append(seconds)
    return times


def mean_of_calls(function, seconds=0.02):
    """Return a function for `in_turn` that returns the mean of so many calls as take a while.

    It chooses their number when it is first called, in the round that is not counted. Of several
    calls the first is left out, which finds the caches full of what others have done.
    """
    n_calls = 0

    def mean(n):
        if n > 1:
            function()
        start = time.perf_counter()
        for _ in range(n):
            function()
        return (time.perf_counter() - start) / n

    def run():
        nonlocal n_calls
        if n_calls:
            return mean(n_calls)
        function()  # compiles
        n, found = 1, mean(1)
        while n * found < seconds / 2:
            n *= 2
            found = mean(n)
        n_calls = max(1, round(seconds / found))
        return found

    return run


def median(times):
    """Return the median, or None of nothing."""
    return statistics.median(times) if times else None


def median_text(times):
    """Return the median with three digits."""
    value = median(times)
    if value is None:
        return ""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def ratio(times, slower, faster):
    """Return the median over the repeats of how many times as long one took as another."""
    return statistics.median(a / b for a, b in zip(times[slower], times[faster]))


def mean_ratio(cells, slower, faster):
    """Return the geometric mean and the minimum of `ratio` over the cells that have both, or None.

    Parameters
    ----------
    cells : list of dicts
        Times by name.
    """
    each = [ratio(t, slower, faster) for t in cells if slower in t and faster in t]
    return (statistics.geometric_mean(each), min(each)) if each else None


def arguments(parameters):
    """Return parameters as they are passed."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


def table(header, rows):
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def strings(result):
    """Return figures with keys that are strings, as JSON needs."""
    if not isinstance(result, dict):
        return result
    return {
        " ".join(map(str, key)) if isinstance(key, tuple) else key: strings(value)
        for key, value in result.items()
    }


def save(path, figures):
    """Write figures as JSON, unless path is None."""
    if path is not None:
        Path(path).write_text(json.dumps(figures, indent=1) + "\n")
