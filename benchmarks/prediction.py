"""How long ``predict_proba`` takes on many images, beside PyTorch, and how much memory.

Run ``python benchmarks/prediction.py``.
"""

import argparse
import os
import time
import tracemalloc

import measure
import peers
from peers import Cell

CELLS = {
    Cell(filters=(1,), batch_size=200): 60_000,
    Cell(filters=(32,), batch_size=64, K=5, p=2, n_classes=10): 6_000,
}


def skcnn(cell, X, fast):
    """Return a function that returns the probabilities of X, or None without numba."""
    from skcnn import ConvNetClassifier

    os.environ["SKCNN_FAST"] = "1" if fast else "0"
    if fast and not peers.fast_is_installed():
        return None
    model = ConvNetClassifier(**cell.parameters, max_iter=0, random_state=0)
    images, labels = cell.data(200)
    model.fit(images, labels)

    def predict():
        os.environ["SKCNN_FAST"] = "1" if fast else "0"
        return model.predict_proba(X)

    return predict


def pytorch(cell, X, batch_size):
    """Return a function that returns the probabilities of X, or None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    module = peers.torch_module(cell).eval()
    images = torch.from_numpy(peers.channels_first(X))

    @torch.no_grad()
    def predict():
        T = torch.cat([module(batch) for batch in images.split(batch_size)])
        P = torch.sigmoid(T) if cell.n_classes == 2 else torch.softmax(T, dim=1)
        return P.numpy()

    return predict


def timed(function):
    """Return a function that returns how long another one takes."""

    def run():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return run


def peak(function):
    """Return the peak memory of a function in MB, in addition to what was allocated before."""
    tracemalloc.start()
    function()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def figures(repeats):
    """Return times in seconds and memory in MB by cell and peer."""
    result = {}
    for cell, n in CELLS.items():
        X, _ = cell.data(n)
        predictors = {
            "PyTorch, 512 at a time": pytorch(cell, X, 512),
            "PyTorch, 4096 at a time": pytorch(cell, X, 4096),
            "skcnn, NumPy": skcnn(cell, X, fast=False),
            "skcnn, fast": skcnn(cell, X, fast=True),
        }
        predictors = {name: predict for name, predict in predictors.items() if predict}
        times = measure.in_turn({name: timed(p) for name, p in predictors.items()}, repeats)
        memory = {name: peak(p) for name, p in predictors.items() if name.startswith("skcnn")}
        name = (
            f"{n} images, F={cell.n_filters}, K={cell.K}, pool {cell.p}, {cell.n_classes} classes"
        )
        result[name] = {
            "seconds": times,
            "peak_MB_above_the_input": memory,
        }
    return result


def report(result):
    """Print the figures."""
    for cell, figures in result.items():
        times, memory = figures["seconds"], figures["peak_MB_above_the_input"]
        peers_ = [name for name in times if name.startswith("PyTorch")]
        rows = [
            [
                name,
                f"{measure.median(seconds):.3f}",
                f"{memory[name]:.0f}" if name in memory else "",
                *(f"{measure.ratio(times, peer, name):.2f}" for peer in peers_),
            ]
            for name, seconds in times.items()
        ]
        header = ["", "seconds", "MB above the input", *(f"against {peer}" for peer in peers_)]
        print(f"\npredict_proba on {cell}:\n")
        print(measure.table(header, rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()))
    result = figures(arguments.repeats)
    report(result)
    measure.save(arguments.json, {"machine": measure.machine(), **result})
