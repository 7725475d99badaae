"""The table that was published with the network, on the images it was published for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import log_loss

from skcnn import ConvNetClassifier, ImageScaler

pytestmark = pytest.mark.usefixtures("kernels")

# Epochs 1 to 5: training loss and accuracy, validation loss and accuracy.
PUBLISHED = {
    None: [
        (0.21, 0.95, 0.15, 0.96),
        (0.11, 0.97, 0.13, 0.97),
        (0.09, 0.97, 0.12, 0.97),
        (0.07, 0.98, 0.10, 0.96),
        (0.07, 0.98, 0.12, 0.96),
    ],
    "filters": [
        (0.32, 0.94, 0.25, 0.94),
        (0.23, 0.95, 0.21, 0.95),
        (0.17, 0.96, 0.38, 0.93),
        (0.17, 0.96, 0.16, 0.95),
        (0.19, 0.96, 0.22, 0.95),
    ],
    "dense": [
        (0.66, 0.66, 0.55, 0.75),
        (0.52, 0.77, 0.52, 0.78),
        (0.49, 0.79, 0.50, 0.79),
        (0.47, 0.81, 0.49, 0.80),
        (0.47, 0.81, 0.49, 0.80),
    ],
}
UNTRAINED = [(1.03, 0.45), (1.11, 0.44)]  # training and validation: loss, accuracy


@pytest.fixture(scope="module")
def split(fashion_train):
    """Scaled training images and labels, then those of the last 1000 images for validation."""
    images, target = fashion_train.images.astype(np.float64), fashion_train.target
    scaler = ImageScaler().fit(images[:-1000])
    X = scaler.transform(images)
    return X[:-1000], target[:-1000], X[-1000:], target[-1000:]


def published_network(**params):
    return ConvNetClassifier(
        K=3,
        n_filters=1,
        fit_intercept=False,
        solver="sgd",
        eta=1e-3,
        alpha=0.0,
        batch_size=1,
        sampling="replacement",
        tol=None,
        random_state=42,
        **params,
    )


@pytest.mark.parametrize("freeze", PUBLISHED)
def test_published_table(split, freeze):
    X, y, X_val, y_val = split
    model = published_network(freeze=freeze, max_iter=5).fit(X, y, X_val=X_val, y_val=y_val)
    table = np.column_stack(
        [
            model.loss_curve_,
            model.accuracy_curve_,
            model.validation_loss_curve_,
            model.validation_accuracy_curve_,
        ]
    )
    assert_allclose(table, PUBLISHED[freeze], rtol=0, atol=0.0051)


def test_untrained_network(split):
    X, y, X_val, y_val = split
    model = published_network(max_iter=0).fit(X, y)
    for images, target, published in [(X, y, UNTRAINED[0]), (X_val, y_val, UNTRAINED[1])]:
        measured = log_loss(target, model.predict_proba(images)), model.score(images, target)
        assert_allclose(measured, published, rtol=0, atol=0.006)
