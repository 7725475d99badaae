"""
A grid search on a Dask cluster
===============================

scikit-learn runs on many computers by way of joblib: within ``parallel_config(backend="dask")``,
``GridSearchCV``, ``cross_val_score`` and the rest of its tools send their trainings to the workers
of Dask. The network needs nothing for it, and has the same weights as on one computer. A Dask array
of images, which may be larger than the memory, is learnt block by block with ``partial_fit``.

Run as it stands, this starts two workers on this computer. With an address it takes an
existing cluster, whose workers have skcnn installed::

    pip install "dask[array,distributed]"
    python grid_search_on_dask.py
    python grid_search_on_dask.py tcp://scheduler:8786

scikit-learn's callbacks do not cross to Dask's workers. A ``ScoringMonitor`` or a ``ProgressBar``
that is set on the network sees only the trainings of this process, such as the last one of a grid
search on the best parameters, and no error says so: leave callbacks to ``n_jobs`` with joblib's own
backend, and read the curves of a network, which come back with it.
"""

import sys
from copy import deepcopy

import dask.array as da
import numpy as np
from dask import delayed
from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skcnn import ConvNetClassifier, ImageScaler


def search(X, y):
    """Return two searches over learning rate and size of the filters, fitted on the cluster."""
    net = ConvNetClassifier(n_filters=4, max_iter=8, tol=None, random_state=0)
    pipeline = Pipeline([("scale", ImageScaler()), ("net", net)])
    grid = {"net__eta": [0.003, 0.01, 0.03], "net__K": [3, 5]}
    # All combinations run for 2 epochs, the better half of them for 4, and its best for 8.
    halving = HalvingGridSearchCV(
        pipeline,
        grid,
        factor=2,
        resource="net__max_iter",
        min_resources=2,
        max_resources=8,
        cv=3,
        random_state=0,
    )
    # Arrays under ``scatter`` are sent to the workers once, and not with every training.
    with parallel_config(backend="dask", scatter=[X, y]):
        return GridSearchCV(pipeline, grid, cv=3).fit(X, y), halving.fit(X, y)


@delayed
def learn(model, X, y, classes):
    """Return a copy of a network that has learnt from a block; Dask's values never change."""
    return deepcopy(model).partial_fit(X, y, classes=classes)


def learn_from_blocks(X, y, n_epochs):
    """Return a network that learns from the blocks of Dask arrays, where they are."""
    model, classes = ConvNetClassifier(n_filters=4, eta=0.01, random_state=0), np.arange(10)
    for _ in range(n_epochs):
        for images, labels in zip(X.to_delayed().ravel(), y.to_delayed().ravel()):
            model = learn(model, images, labels, classes)
    return model.compute()


def main(address=None):
    """Run on the cluster of a scheduler's address, or on one that lives as long as this."""
    digits = load_digits()
    X_train, X_test, y_train, y_test = train_test_split(
        digits.images, digits.target, random_state=0
    )
    cluster = address or LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with Client(cluster) as client:
        client.wait_for_workers(1, timeout=30)
        print(f"{len(client.scheduler_info()['workers'])} workers")
        for fitted in search(X_train, y_train):
            print(
                f"{type(fitted).__name__}: {len(fitted.cv_results_['params'])} combinations, best "
                f"{fitted.best_params_}, accuracy {fitted.score(X_test, y_test):.3f}"
            )

        # The image of a digit is 8 x 8 pixels of 0 to 16.
        X, y = da.from_array(X_train / 16, chunks=(300, 8, 8)), da.from_array(y_train, chunks=300)
        model = learn_from_blocks(X, y, n_epochs=10)
        X = da.from_array(X_test / 16, chunks=(100, 8, 8))
        predicted = X.map_blocks(model.predict, drop_axis=(1, 2), dtype=y.dtype).compute()
        print(f"Dask array: accuracy {np.mean(predicted == y_test):.3f}")
    if not address:
        cluster.close()


if __name__ == "__main__":  # the workers import this file too
    main(*sys.argv[1:])
