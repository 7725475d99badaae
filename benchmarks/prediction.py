"""How long ``predict_proba`` takes for one image, a batch and many, beside its peers.

Run ``python benchmarks/prediction.py``, with numbers of networks, counted from 0, for those alone;
with ``pip install ".[bench]"`` before, all peers take part. It takes about five minutes. All
predict the same float32 images in turn, with one thread and with two. Each figure is the median of
several measurements, and each of these the mean of enough calls for 20 ms.

onnxruntime runs the network that `skcnn.onnx.to_onnx` exports, and PyTorch the same layers, with
channels last. Both take many images faster in parts than in one call, so there are both. The
classifiers of scikit-learn, 100 hidden units or none, take an image as a row: with them a user sees
what a call costs besides its network.
"""

import argparse
import os
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import measure
import numpy as np
import peers
import tables
from peers import Cell
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

_TEN_CLASSES = partial(Cell, batch_size=64, p=2, n_classes=10)
NETWORKS = {
    "F=1, two classes": Cell(filters=(1,), batch_size=64),
    "F=32, K=5, pool 2": _TEN_CLASSES(filters=(32,), K=5),
    "F=(32, 64), pool 2, 128 hidden units": _TEN_CLASSES(filters=(32, 64), hidden=(128,)),
    "32 x 32 x 3, F=(32, 64, 128), pool 2, 128 hidden units": _TEN_CLASSES(
        filters=(32, 64, 128), hidden=(128,), side=32, channels=3
    ),
}
N_IMAGES = [1, 32, 2_000]
N_THREADS = [1, 2]
AT_A_TIME = 512  # images, in parts
WARM_UP = 0.05  # seconds: a processor that was idle is slow at first

FAST, NUMPY = "skcnn, fast", "skcnn, NumPy"
ONNXRUNTIME, PYTORCH = "onnxruntime", "PyTorch"
MLP, LOGISTIC = "MLPClassifier", "LogisticRegression"
IN_PARTS = f", {AT_A_TIME} at a time"
SCALED = ", behind ImageScaler"
PEERS = [
    FAST,
    NUMPY,
    ONNXRUNTIME,
    ONNXRUNTIME + IN_PARTS,
    PYTORCH,
    PYTORCH + IN_PARTS,
    FAST + SCALED,
    NUMPY + SCALED,
    MLP,
    LOGISTIC,
]


class Case(NamedTuple):
    """What all peers do in turn."""

    network: str
    n_images: int
    n_threads: int


class Ratio(NamedTuple):
    """How many times as long as some peers others take, less some microseconds a call."""

    n_images: int
    above: tuple
    below: tuple
    less: float = 0.0

    def __str__(self):
        """Return a description."""
        above = " + ".join(self.above)
        if self.less:
            above = f"({above} less {self.less:g} µs a call)"
        below = " + ".join(self.below)
        return f"{above} / {f'({below})' if len(self.below) > 1 else below}"

    def of(self, times):
        """Return the median over the repeats, or None without one of the peers."""
        if not times.keys() >= {*self.above, *self.below}:
            return None
        above, below = (zip(*(times[name] for name in names)) for names in (self.above, self.below))
        return statistics.median((sum(a) - self.less) / sum(b) for a, b in zip(above, below))


RATIOS = [
    Ratio(1, (FAST,), (MLP, ONNXRUNTIME)),
    Ratio(1, (NUMPY,), (MLP, ONNXRUNTIME)),
    Ratio(1, (FAST + SCALED,), (FAST,)),
    Ratio(1, (NUMPY + SCALED,), (NUMPY,)),
    Ratio(32, (FAST,), (ONNXRUNTIME,), less=100.0),
    Ratio(2_000, (FAST,), (ONNXRUNTIME,)),
    Ratio(2_000, (FAST,), (ONNXRUNTIME + IN_PARTS,)),
    Ratio(2_000, (PYTORCH,), (FAST,)),
    Ratio(2_000, (PYTORCH + IN_PARTS,), (FAST,)),
]


class Predictor(NamedTuple):
    """A function that predicts, and that of a context manager around the measurements of it."""

    predict: Callable
    setting: Callable


@contextmanager
def limited(n_threads, fast=False):
    """Limit the threads of BLAS, and with them those of skcnn, whose loops may be compiled."""
    os.environ["SKCNN_FAST"] = "1" if fast else "0"
    with threadpool_limits(n_threads):
        yield


@contextmanager
def limited_torch(n_threads):
    """Limit the threads of PyTorch."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fitted(cell, fast):
    """Return a network and a pipeline with it, fitted in no epoch, or None without numba."""
    from skcnn import ConvNetClassifier, ImageScaler

    if fast and not peers.fast_is_installed():
        return None
    os.environ["SKCNN_FAST"] = "1" if fast else "0"
    model = ConvNetClassifier(**cell.parameters, max_iter=0, random_state=0)
    data = cell.data(200)
    return model.fit(*data), make_pipeline(ImageScaler(), model).fit(*data)


def fitted_both(cell):
    """Return what `fitted` returns, by name."""
    found = {FAST: fitted(cell, fast=True), NUMPY: fitted(cell, fast=False)}
    return {name: both for name, both in found.items() if both}


def in_parts(function, X, n):
    """Return a function that applies another one to n images at a time."""

    def predict():
        return np.concatenate([function(X[start : start + n]) for start in range(0, len(X), n)])

    return predict


def skcnn(models, X, n_threads):
    """Return predictors by name, given what `fitted_both` returns."""
    found = {}
    for name, (model, pipeline) in models.items():
        setting = partial(limited, n_threads, fast=name == FAST)
        found[name] = Predictor(partial(model.predict_proba, X), setting)
        if len(X) == 1:
            found[name + SCALED] = Predictor(partial(pipeline.predict_proba, X), setting)
    return found


def onnxruntime(model, X, n_threads):
    """Return predictors by name for a fitted network, none without onnxruntime."""
    try:
        import onnx  # noqa: F401
        from onnxruntime import InferenceSession, SessionOptions
    except ImportError:
        return {}
    from skcnn.onnx import to_onnx

    options = SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    exported = to_onnx(model, label=None).SerializeToString()
    session = InferenceSession(exported, options, providers=["CPUExecutionProvider"])

    def predict(images):
        return session.run(["probabilities"], {"X": images})[0]

    few, setting = X[:32], partial(limited, n_threads)
    with setting():
        np.testing.assert_allclose(predict(few), model.predict_proba(few), atol=1e-4)
    found = {ONNXRUNTIME: Predictor(partial(predict, X), setting)}
    if len(X) > AT_A_TIME:
        found[ONNXRUNTIME + IN_PARTS] = Predictor(in_parts(predict, X, AT_A_TIME), setting)
    return found


def pytorch(cell, X, n_threads):
    """Return predictors by name, none without PyTorch."""
    try:
        import torch
    except ImportError:
        return {}
    layout = torch.channels_last
    module = peers.torch_module(cell).to(memory_format=layout).eval()
    X = torch.from_numpy(peers.channels_first(X)).contiguous(memory_format=layout)

    @torch.inference_mode()
    def predict(images):
        T = module(images)
        P = torch.sigmoid(T) if cell.n_classes == 2 else torch.softmax(T, dim=1)
        return P.numpy()

    setting = partial(limited_torch, n_threads)
    found = {PYTORCH: Predictor(partial(predict, X), setting)}
    if len(X) > AT_A_TIME:
        found[PYTORCH + IN_PARTS] = Predictor(in_parts(predict, X, AT_A_TIME), setting)
    return found


def scikit_learn(cell, X, n_threads):
    """Return predictors by name for a single row."""
    if len(X) > 1:
        return {}
    images, labels = cell.data(200)
    rows, row = images.reshape(len(images), -1), X.reshape(1, -1)
    found = {}
    for name, model in {
        MLP: MLPClassifier(max_iter=1, random_state=0),
        LOGISTIC: LogisticRegression(max_iter=1),
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows, labels)
        found[name] = Predictor(partial(model.predict_proba, row), partial(limited, n_threads))
    return found


def wait_for_threads(at_most=1.0):
    """Wait until no thread of this process runs.

    Those of onnxruntime wait for the next call without sleeping, for 0.1 s, and would take a core
    from the next peer.
    """
    end = time.perf_counter() + at_most
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.01)
        if time.process_time() - before < 0.001:
            return


def timed(predictor):
    """Return a function for `measure.in_turn`."""
    run = measure.mean_of_calls(predictor.predict)

    def run_alone():
        with predictor.setting():
            wait_for_threads()
            end = time.perf_counter() + WARM_UP
            while time.perf_counter() < end:
                predictor.predict()
            return run()

    return run_alone


def peak(function):
    """Return the peak memory of a function in MB, in addition to what was allocated before."""
    tracemalloc.start()
    function()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def first_peaks(cell, X, n_threads):
    """Return the peak memory in MB of networks that predict for the first time, by name.

    They keep what they need for the next call.
    """
    found = {}
    for name, (model, _) in fitted_both(cell).items():
        with limited(n_threads, fast=name == FAST):
            found[name] = peak(partial(model.predict_proba, X))
    return found


def figures(repeats, networks=tuple(NETWORKS)):
    """Return microseconds a call by case and peer, and MB of the largest batches, likewise."""
    times, memory = {}, {}
    for network in networks:
        cell = NETWORKS[network]
        models = fitted_both(cell)
        for n_images in N_IMAGES:
            X, _ = cell.data(n_images, seed=1)
            for n_threads in N_THREADS:
                case = Case(network, n_images, n_threads)
                predictors = {
                    **skcnn(models, X, n_threads),
                    **onnxruntime(models[NUMPY][0], X, n_threads),
                    **pytorch(cell, X, n_threads),
                    **scikit_learn(cell, X, n_threads),
                }
                runs = {name: timed(predictors[name]) for name in PEERS if name in predictors}
                seconds = measure.in_turn(runs, repeats)
                times[case] = {name: [1e6 * t for t in of] for name, of in seconds.items()}
                if n_images == max(N_IMAGES):
                    memory[case] = first_peaks(cell, X, n_threads)
    return {"microseconds_a_call": times, "peak_MB_above_the_input": memory}


def report(result):
    """Print the figures."""
    times, memory = result["microseconds_a_call"], result["peak_MB_above_the_input"]
    names = [name for name in PEERS if any(name in of for of in times.values())]
    rows = []
    for case, of in times.items():
        an_image = {name: [t / case.n_images for t in of[name]] for name in of}
        rows.append([*case, *(measure.median_text(an_image.get(name)) for name in names)])
    print("\npredict_proba, microseconds an image:\n")
    print(measure.table(["network", "images", "threads", *names], rows))

    networks = list(dict.fromkeys(case.network for case in times))
    rows = []
    for ratio in RATIOS:
        for n_threads in N_THREADS:
            cases = [Case(network, ratio.n_images, n_threads) for network in networks]
            of = [ratio.of(times[case]) for case in cases]
            if None not in of:
                mean = f"{statistics.geometric_mean(of):.2f}" if min(of) > 0 else ""
                texts = [f"{value:.2f}" for value in of]
                rows.append([ratio.n_images, n_threads, ratio, *texts, mean])
    print("\nTimes over times (median of the repeats), and the geometric mean of the networks:\n")
    print(measure.table(["images", "threads", "", *networks, "mean"], rows))

    names = [name for name in (FAST, NUMPY) if any(name in of for of in memory.values())]
    rows = [[*case, *(f"{of[name]:.1f}" for name in names)] for case, of in memory.items()]
    print("\nPeak memory above the images, MB:\n")
    print(measure.table(["network", "images", "threads", *names], rows))


def guide_table(times):
    """Return the header and the rows of the guide's table: with as many threads as there are."""
    names = [name for name in PEERS if any(name in of for of in times.values())]
    rows = [
        [case.network, case.n_images]
        + [measure.median_text([t / case.n_images for t in of.get(name, [])]) for name in names]
        for case, of in times.items()
        if case.n_threads == max(N_THREADS)
    ]
    return ["network", "images", *names], rows


def main():
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", type=int, default=range(len(NETWORKS)))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the guide's table")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()))
    names = list(NETWORKS)
    result = figures(arguments.repeats, [names[number] for number in arguments.networks])
    report(result)
    if arguments.csv:
        tables.write(arguments.csv, *guide_table(result["microseconds_a_call"]))
    measure.save(arguments.json, measure.strings({"machine": measure.machine(), **result}))


if __name__ == "__main__":
    main()
