"""Save estimators by this version, for the tests of all later ones.

``python tests/data/make_saved.py`` writes saved_<version>.pkl beside itself, and the predictions of
the estimators to saved_<version>.npz. It is run once a release, with the oldest admitted versions
of the dependencies, since what NumPy and scikit-learn save is for their later versions.
"""

import pickle
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

import skcnn
from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler


def main():
    """Train, and write both files."""
    images, y = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)[:200].astype(np.float32)
    y = y[:200]
    options = {"batch_size": 40, "tol": None, "max_iter": 3, "random_state": 0}

    saved = {
        "classifier": make_pipeline(
            ImageScaler(per="channel"),
            ConvNetClassifier(n_filters=(3, 4), pool_size=2, hidden_layer_sizes=5, **options),
        ).fit(images, y),
        "regressor": make_pipeline(
            ImageScaler(), ConvNetRegressor(n_filters=2, K=5, pool_size=4, solver="sgd", **options)
        ).fit(images, y),
    }
    predictions = {
        "classifier": saved["classifier"].predict_proba(images[:20]),
        "regressor": saved["regressor"].predict(images[:20]),
    }
    path = Path(__file__).parent / f"saved_{skcnn.__version__}"
    path.with_name(path.name + ".pkl").write_bytes(pickle.dumps(saved, protocol=4))
    np.savez(path.with_name(path.name + ".npz"), **predictions)


if __name__ == "__main__":  # and not where pytest looks for doctests
    main()
