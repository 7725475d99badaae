"""How well the network does on real images that it has not seen."""

import numpy as np

from skcnn import ConvNetClassifier, ImageScaler


def accuracy(train, test, per, **params):
    scaler = ImageScaler(per=per)
    X = scaler.fit_transform(train.images.astype(np.float32))
    X_test = scaler.transform(test.images.astype(np.float32))
    model = ConvNetClassifier(random_state=0, **params).fit(X, train.target)
    return model.score(X_test, test.target)


def test_two_classes_with_the_defaults(fashion_train, fashion_test):
    assert accuracy(fashion_train, fashion_test, "pixel") >= 0.97


def test_two_classes_with_many_filters(fashion_train, fashion_test):
    # 0.990 to 0.9925 for five seeds, with compiled loops and without; a dense network and gradient
    # boosting have 0.984.
    measured = accuracy(
        fashion_train,
        fashion_test,
        "channel",
        n_filters=16,
        K=5,
        pool_size=2,
        solver="sgd",
        momentum=0.9,
        eta=0.02,
        learning_rate="cosine",
        alpha=0.002,
        batch_size=16,
        max_iter=15,
        tol=None,
    )
    assert measured >= 0.99
