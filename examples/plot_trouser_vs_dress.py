"""
One filter, looked at: trousers and dresses
===========================================

A convolutional network with a single 3 x 3 filter learns to tell trousers from dresses, image by
image. It is trained three times: whole, with its filter frozen at its random initial values, and
with its dense layer frozen. The first run shows what the network can do, the other two which part
of it does the work.

Run it with ``python examples/plot_trouser_vs_dress.py``. It prints a table and, where Matplotlib
is installed, draws what was learnt into ``trouser_vs_dress.png``. It downloads 30 MB of images at
the first run; without a network it does the same with the handwritten digits of scikit-learn.
"""

import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from skcnn import (
    ConvNetClassifier,
    FeatureMapDisplay,
    FilterDisplay,
    ImageScaler,
    LossCurveDisplay,
)
from skcnn.datasets import fetch_fashion_mnist

# %%
# The images: two classes, the last of the training images kept for validation.

try:
    train = fetch_fashion_mnist(classes=["Trouser", "Dress"])
    test = fetch_fashion_mnist(subset="test", classes=["Trouser", "Dress"])
    names = {1: "trouser", 3: "dress"}
    images, target, n_validation = train.images, train.target, 1000
    test_images, test_target = test.images, test.target
except OSError:
    print("Fashion-MNIST cannot be downloaded: running on scikit-learn's digits 1 and 3.")
    digits = load_digits()
    chosen = np.random.RandomState(0).permutation(np.flatnonzero(np.isin(digits.target, (1, 3))))
    names = {1: "one", 3: "three"}
    images, target, n_validation = digits.images[chosen[:-90]], digits.target[chosen[:-90]], 55
    test_images, test_target = digits.images[chosen[-90:]], digits.target[chosen[-90:]]

scaler = ImageScaler()
X = scaler.fit_transform(images[:-n_validation])
y = target[:-n_validation]
X_val, y_val = scaler.transform(images[-n_validation:]), target[-n_validation:]
X_test, y_test = scaler.transform(test_images), test_target
print(f"{len(X)} images for training, {len(X_val)} for validation, {len(X_test)} for testing\n")

# %%
# Three networks, with the same initial values: plain stochastic gradient descent, a step an image.


def network(**params):
    return ConvNetClassifier(
        K=3,
        n_filters=1,
        fit_intercept=False,
        solver="sgd",
        eta=0.001,
        alpha=0.0,
        batch_size=1,
        sampling="replacement",
        tol=None,
        random_state=42,
        **params,
    )


untrained = network(max_iter=0).fit(X, y)
figures = []
for images_, labels in ((X, y), (X_val, y_val)):
    figures += [
        log_loss(labels, untrained.predict_proba(images_)),
        untrained.score(images_, labels),
    ]

row = "{:<15} {:>5} {:>11} {:>15} {:>11} {:>15}"
print(row.format("", "epoch", "train loss", "train accuracy", "valid loss", "valid accuracy"))
print(row.format("untrained", 0, *(f"{figure:.2f}" for figure in figures)))

models = {}
for title, freeze in (("full", None), ("filter frozen", "filters"), ("dense frozen", "dense")):
    start = time.perf_counter()
    model = network(max_iter=5, freeze=freeze).fit(X, y, X_val=X_val, y_val=y_val)
    seconds = time.perf_counter() - start
    curves = zip(
        model.loss_curve_,
        model.accuracy_curve_,
        model.validation_loss_curve_,
        model.validation_accuracy_curve_,
    )
    for epoch, figures in enumerate(curves, start=1):
        print(row.format(title, epoch, *(f"{figure:.2f}" for figure in figures)))
    accuracy = model.score(X_test, y_test)
    print(f"{'':15} test accuracy {accuracy:.3f}, {model.t_} updates in {seconds:.1f} s")
    models[title] = model

# %%
# What it learnt: the filter before and after, the dense weights as an image, the learning curves of
# the three networks, and what the filter makes of three images. Where the dense weights are blue, a
# strong response speaks for the first class; where they are red, for the second. The pipeline of
# scaler and network draws the images as they were before scaling.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the pictures: pip install matplotlib") from None

model = models["full"]
figure = plt.figure(figsize=(9, 11), layout="constrained")
top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1.1, 2.9])

left, right = top.subplots(1, 2, width_ratios=[2, 1])
FilterDisplay.from_estimator(model, ax=left)
first, second = (names[label] for label in model.classes_)
dense = model.coefs_[0].reshape(model.image_shape_)
limit = np.abs(dense).max()
picture = right.imshow(dense, cmap="RdBu_r", vmin=-limit, vmax=limit)
right.set(title=f"dense: {first} blue, {second} red", xticks=[], yticks=[])
top.colorbar(picture, ax=right)

axes = middle.subplots(1, 2)
for title, one in models.items():
    LossCurveDisplay.from_estimator(one, ax=axes, name=title)
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))

chosen = [*np.flatnonzero(y_test == 1)[:1], *np.flatnonzero(y_test == 3)[:2]]
display = FeatureMapDisplay.from_estimator(
    make_pipeline(scaler, model), test_images[chosen], ax=bottom.subplots(), image_cmap="gray_r"
)
for ax, n in zip(display.axes_[:, 0], chosen):
    ax.set_ylabel(names[y_test[n]])

figure.savefig("trouser_vs_dress.png", dpi=100)
print("\nPictures: trouser_vs_dress.png")
