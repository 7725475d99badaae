"""Time and memory of a long stream of ``partial_fit`` in which every other call fails.

Run ``python benchmarks/soak.py --minutes 30``. Every second call has a fault: values that are NaN,
another number of pixels, unknown labels, weights that are infinite, a learning rate at which
training diverges, or an interrupt in the middle of the call. After each fault the model must have
the weights that it had before it. The time of a call is compared with that of the same call on a
model that has seen little, in turn, so that other load on the machine matters little. Only the two
learning curves grow by design: by a loss and an accuracy a call, 64 bytes.
"""

import argparse
import pickle
import signal
import statistics
import time

import measure
import numpy as np

from skcnn import ConvNetClassifier

CURVES_BYTES = 64  # a call: two floats of 24 bytes, and two pointers in lists


def interrupted(model, X, y):
    """Call partial_fit, with Ctrl-C after a millisecond or so."""
    signal.setitimer(signal.ITIMER_REAL, np.random.uniform(1e-4, 3e-3))
    try:
        model.partial_fit(X, y)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def seconds(model, X, y):
    """Call partial_fit, and return how long it takes."""
    before = time.perf_counter()
    model.partial_fit(X, y)
    return time.perf_counter() - before


def diverging(model, X, y):
    """Call partial_fit with far too large a learning rate."""
    eta = model.eta
    try:
        model.set_params(eta=1e300).partial_fit(X, y)
    finally:
        model.set_params(eta=eta)


FAULTS = (
    lambda model, X, y: model.partial_fit(X * np.nan, y),
    lambda model, X, y: model.partial_fit(X[:, 1:], y),
    lambda model, X, y: model.partial_fit(X, y + 5),
    lambda model, X, y: model.partial_fit(X, y, sample_weight=np.full(len(X), np.inf)),
    diverging,
    interrupted,
)


def soak(minutes, parts=10):
    """Return, for each part of the time, calls, faults, times of a call, and MB resident."""
    import psutil  # of the extra "bench"

    signal.signal(signal.SIGALRM, signal.default_int_handler)
    rng = np.random.RandomState(0)
    X, y = rng.randn(2000, 14, 14).astype(np.float32), rng.randint(3, size=2000)
    model = ConvNetClassifier(n_filters=4, pool_size=2, batch_size=16, random_state=0)
    process = psutil.Process()
    young = pickle.dumps(model.partial_fit(X, y, classes=[0, 1, 2]))
    result, n_calls = [], 1
    for _ in range(parts):
        end = time.monotonic() + 60 * minutes / parts
        times, ratios, n_faults = [], [], 0
        while time.monotonic() < end:
            rows = rng.randint(len(X), size=rng.randint(16, 128))
            times.append(seconds(model, X[rows], y[rows]))
            n_calls += 1
            if n_calls % 20 == 0:
                seconds(other := pickle.loads(young), X[rows], y[rows])
                old, new = seconds(model, X[rows], y[rows]), seconds(other, X[rows], y[rows])
                ratios.append(old / new)
                n_calls += 1
            filters, n_epochs = model.filters_, model.n_iter_
            try:
                FAULTS[n_calls % len(FAULTS)](model, X[rows], y[rows])
                n_calls += 1  # it returned before the interrupt
            except (ValueError, KeyboardInterrupt):
                n_faults += 1
                if model.n_iter_ == n_epochs + 1:  # the interrupt came after its end
                    n_calls += 1
                elif model.filters_ is not filters or model.n_iter_ != n_epochs:
                    raise RuntimeError("a failed call changed the model") from None
        assert len(model.loss_curve_) == model.n_iter_ == n_calls
        result.append(
            {
                "calls": len(times),
                "faults": n_faults,
                "ms a call": 1e3 * statistics.median(times),
                "times as long as at first": statistics.median(ratios),
                "MB": process.memory_info().rss / 1e6,
                "MB of curves": n_calls * CURVES_BYTES / 1e6,
            }
        )
        print(*(f"{name} {figure:.4g}," for name, figure in result[-1].items()), flush=True)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()))
    figures = soak(arguments.minutes)
    rows = [[f"{figure:.4g}" for figure in part.values()] for part in figures]
    print(measure.table([*figures[0]], rows))
    measure.save(arguments.json, {"machine": measure.machine(), "parts": figures})
