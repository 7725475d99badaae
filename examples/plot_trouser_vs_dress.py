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

from skcnn import ConvNetClassifier, ImageScaler
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
    print("Fashion-MNIST is neither here nor in reach: running on scikit-learn's digits 1 and 3.")
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
# What it learnt: the filter before and after, the dense weights as an image, and what the filter
# makes of three images. Where the weights are blue, a strong response speaks for the first class;
# where they are red, for the second.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the pictures: pip install matplotlib") from None

model = models["full"]
figure = plt.figure(figsize=(9, 11), layout="constrained")
top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1.1, 2.9])


def show_weights(ax, weights, title):
    limit = np.abs(weights).max()
    picture = ax.imshow(weights, cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set(title=title, xticks=[], yticks=[])
    ax.figure.colorbar(picture, ax=ax, shrink=0.8)


axes = top.subplots(1, 3)
first, second = (names[label] for label in model.classes_)
show_weights(axes[0], model.initial_filters_[0], "filter, as drawn")
show_weights(axes[1], model.filters_[0], "filter, learnt")
dense = model.coefs_[0].reshape(model.image_shape_)
show_weights(axes[2], dense, f"dense: {first} blue, {second} red")

axes = middle.subplots(1, 2)
for number, (title, one) in enumerate(models.items()):
    epochs = np.arange(1, one.n_iter_ + 1)
    for ax, kind in zip(axes, ("loss", "accuracy")):
        ax.plot(epochs, getattr(one, f"{kind}_curve_"), f"C{number}-", label=title)
        ax.plot(epochs, getattr(one, f"validation_{kind}_curve_"), f"C{number}--")
for ax, label in zip(axes, ("log-loss (nats)", "accuracy")):
    ax.set(xlabel="epoch", ylabel=label, xticks=epochs)
axes[1].legend(title="dashed: validation", loc="lower right")

axes = bottom.subplots(3, 3)
chosen = [*np.flatnonzero(y_test == 1)[:1], *np.flatnonzero(y_test == 3)[:2]]
responses = untrained.feature_maps(X_test[chosen]), model.feature_maps(X_test[chosen])
for line, n in zip(axes, chosen):
    line[0].imshow(test_images[n], cmap="gray_r")
    line[0].set_ylabel(names[y_test[n]])
for ax, title in zip(axes[0], ("image", "response to the random filter", "to the learnt filter")):
    ax.set_title(title)
for column, maps in zip(axes[:, 1:].T, responses):
    for ax, response in zip(column, maps):
        ax.imshow(response[:, :, 0], cmap="magma", vmin=0, vmax=maps.max())
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])

figure.savefig("trouser_vs_dress.png", dpi=100)
print("\nPictures: trouser_vs_dress.png")
