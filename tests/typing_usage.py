"""Calls as users write them, for mypy: a line that is marked is one that mypy must refuse."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler
from skcnn.augmentation import flip_left_right, jitter, shift
from skcnn.datasets import fetch_cifar10, fetch_fashion_mnist, load_image_files


def constructors() -> None:
    ConvNetClassifier(K=(3, 5), n_filters=(8, 16), pool_size=[2, "global"], tol=None)
    ConvNetClassifier(class_weight={"cat": 2.0}, n_iter_no_change=np.inf, image_shape=(1, 9, 3))
    ConvNetClassifier(augment=[flip_left_right(), shift(pixels=2), jitter(0.1, contrast=0)])
    ConvNetClassifier(augment=lambda images, random_state: -images)
    ConvNetRegressor(random_state=np.random.RandomState(0), batch_size="auto", freeze="dense")
    ImageScaler(per="channel", image_shape=[28, 28])

    ConvNetClassifier(3)  # type: ignore[call-arg]
    ConvNetClassifier(K="3")  # type: ignore[arg-type]
    ConvNetClassifier(solver="newton")  # type: ignore[arg-type]
    ConvNetRegressor(class_weight="balanced")  # type: ignore[call-arg]
    ConvNetRegressor(augment=abs)  # type: ignore[arg-type]
    ImageScaler(per="image")  # type: ignore[arg-type]
    shift("left")  # type: ignore[arg-type]


def classifier(X: NDArray[np.float32], y: list[str], rows: csr_array) -> None:
    model = ConvNetClassifier()
    assert_type(model.fit(X, y, X_val=X, y_val=y), ConvNetClassifier)
    assert_type(model.fit(rows, y, [1.0, 2.0]), ConvNetClassifier)
    assert_type(model.partial_fit(X, y, classes=["cat", "dog"]), ConvNetClassifier)
    assert_type(model.predict(X), NDArray[Any])
    assert_type(model.predict_proba(X), NDArray[Any])
    assert_type(model.predict_log_proba([[0.0, 1.0]]), NDArray[Any])
    assert_type(model.decision_function(X), NDArray[Any])
    assert_type(model.feature_maps(X, layer=1), NDArray[Any])
    assert_type(model.classes_, NDArray[Any])
    assert_type(model.coefs_, list[NDArray[Any]])
    assert_type(model.accuracy_curve_, list[float])

    model.fit(X)  # type: ignore[call-arg]
    model.fit(X, y, epochs=3)  # type: ignore[call-arg]
    model.predict(None)  # type: ignore[arg-type]
    model.feature_maps(X, layer="first")  # type: ignore[arg-type]


def regressor(X: NDArray[np.uint8], y: NDArray[np.float64]) -> None:
    model = ConvNetRegressor()
    assert_type(model.fit(X, y), ConvNetRegressor)
    assert_type(model.partial_fit(X, y, sample_weight=[1, 2]), ConvNetRegressor)
    assert_type(model.predict(X), NDArray[Any])

    model.partial_fit(X, y, classes=[0, 1])  # type: ignore[call-arg]


def scaler(X: NDArray[np.uint8]) -> None:
    model = ImageScaler()
    assert_type(model.fit(X).partial_fit(X), ImageScaler)
    model.inverse_transform(model.transform(X), copy=False)

    model.transform(X, copy="no")  # type: ignore[arg-type]


def augmentation(images: NDArray[np.float64]) -> None:
    assert_type(shift()(images, np.random.RandomState(0)), NDArray[Any])

    flip_left_right()(images)  # type: ignore[call-arg]


def datasets() -> None:
    X, y = fetch_fashion_mnist(subset="all", classes=["Dress", 1], return_X_y=True)
    print(X, y, load_image_files("photos", size=(64, 64), dtype=np.uint16).images)

    fetch_cifar10(subset="validation")  # type: ignore[arg-type]
    fetch_cifar10("train")  # type: ignore[call-arg]
    load_image_files("photos", size=64)  # type: ignore[arg-type]
