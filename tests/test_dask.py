"""Tools of scikit-learn on a Dask cluster, and Dask arrays: the same bits as without."""

import os
from copy import deepcopy

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skcnn import ConvNetClassifier, ImageScaler

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of two workers, each a process."""
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit=None,
        dashboard_address=":0",
        local_directory=str(tmp_path_factory.mktemp("dask")),
    )
    with cluster, distributed.Client(cluster, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def model():
    net = ConvNetClassifier(n_filters=2, max_iter=2, tol=None, batch_size=32, random_state=0)
    return make_pipeline(ImageScaler(), net)


def on(client, images):
    return parallel_config(backend="dask", client=client, scatter=[images])


def test_cross_validation(client, model, digits):
    with on(client, digits[0]):
        scores = cross_val_score(model, *digits, cv=3)
    assert_array_equal(scores, cross_val_score(model, *digits, cv=3))


@pytest.mark.parametrize("halving", [False, True])
def test_searches(client, model, digits, halving):
    grid, search = {"convnetclassifier__eta": [0.001, 0.003, 0.01, 0.03]}, GridSearchCV
    options = {"cv": 2}
    if halving:
        search = HalvingGridSearchCV
        options |= {"resource": "convnetclassifier__max_iter", "factor": 2, "random_state": 0}
        options |= {"min_resources": 1, "max_resources": 4}
    alone = search(model, grid, **options).fit(*digits)
    with on(client, digits[0]):
        distributed = search(model, grid, **options).fit(*digits)
    assert distributed.best_params_ == alone.best_params_
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        assert_array_equal(distributed.cv_results_[name], alone.cv_results_[name])
    assert_array_equal(distributed.best_estimator_[1].filters_, alone.best_estimator_[1].filters_)
    if halving:
        assert alone.cv_results_["n_resources"].tolist() == [1, 1, 1, 1, 2, 2, 4]


def test_trainings_run_on_the_workers(client, model, digits):
    with on(client, digits[0]):
        scores = cross_val_score(model, *digits, cv=4, scoring=lambda *_: os.getpid())
    assert {*map(int, scores)} <= {*client.run(os.getpid).values()}


def test_blocks_of_a_dask_array(client, digits):
    images, target = digits[0] / 16, digits[1]
    X, y = da.from_array(images, chunks=(100, 8, 8)), da.from_array(target, chunks=100)
    alone = ConvNetClassifier(n_filters=2, random_state=0)
    learn = dask.delayed(
        lambda model, *block: deepcopy(model).partial_fit(*block, classes=[1, 3]), pure=False
    )
    model = clone(alone)
    for block in zip(X.to_delayed().ravel(), y.to_delayed().ravel()):
        model = learn(model, *block)
    model = model.compute()
    for start in range(0, len(images), 100):
        alone.partial_fit(images[start : start + 100], target[start : start + 100], classes=[1, 3])
    assert_array_equal(model.filters_, alone.filters_)
    assert_array_equal(model.coefs_[0], alone.coefs_[0])
    assert model.t_ == len(images)

    predicted = X.map_blocks(model.predict, drop_axis=(1, 2), dtype=y.dtype)
    assert predicted.shape == y.shape
    assert_array_equal(predicted.compute(), alone.predict(images))
    P = X.map_blocks(model.predict_proba, drop_axis=2, chunks=(X.chunks[0], (2,)), dtype=float)
    assert_array_equal(P.compute(), np.concatenate([alone.predict_proba(x) for x in X.blocks]))
