"""Peak memory of ``fit`` and ``predict_proba`` as the number of images grows.

Run ``python benchmarks/memory.py``. Memory is what Python and NumPy allocate in addition to the
float32 images: the blocks of a batch and, in training, labels and learning curves.
"""

import argparse
import os

import measure
from peers import Cell, fast_is_installed
from prediction import peak

from skcnn import ConvNetClassifier

SIZES = [1_000, 10_000, 30_000, 60_000]
CELLS = [
    Cell(filters=(1,), batch_size=200),
    Cell(filters=(32,), batch_size=64, K=5, p=2, n_classes=10),
]


def figures():
    """Return MB of the images, of fit and of predict_proba by cell, path and number of images."""
    result = {}
    for cell in CELLS:
        for fast in (False, True):
            os.environ["SKCNN_FAST"] = "1" if fast else "0"
            if fast and not fast_is_installed():
                continue
            name = f"F={cell.n_filters}, K={cell.K}, pool {cell.p}, {'fast' if fast else 'NumPy'}"
            model = ConvNetClassifier(
                **cell.parameters,
                batch_size=cell.batch_size,
                max_iter=1,
                tol=None,
                random_state=0,
            )
            model.fit(*cell.data(200))  # excludes what is loaded or compiled once
            result[name] = {}
            for n in SIZES:
                X, y = cell.data(n)
                result[name][n] = {
                    "images": X.nbytes / 1e6,
                    "fit": peak(lambda: model.fit(X, y)),  # noqa: B023
                    "predict_proba": peak(lambda: model.predict_proba(X)),  # noqa: B023
                }
    return result


def report(result):
    """Print the figures."""
    rows = [
        [name, n, *(f"{figure:.0f}" for figure in of.values())]
        for name, of_sizes in result.items()
        for n, of in of_sizes.items()
    ]
    print("\nPeak memory beside the images, MB:\n")
    print(measure.table(["", "n", "the images", "fit", "predict_proba"], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    print(measure.describe(measure.machine()))
    result = figures()
    report(result)
    measure.save(arguments.json, {"machine": measure.machine(), **result})
