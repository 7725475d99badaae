"""
What a second layer adds, and what its filters respond to
=========================================================

A filter responds to a small pattern of pixels. The filters of a second layer respond to patterns of
such patterns, which are larger. Three networks learn the ten classes from 10,000 images of
Fashion-MNIST, each from three random initial values: one layer of small filters, one layer of
filters as large as what the second layer covers, and two layers. Global pooling keeps only the
strongest response of each of their 32 filters, wherever in the image it is, so that the dense layer
knows nothing but which patterns there are. The accuracy on the test images is printed beside the
cost. A filter of the second layer has no picture of its own, as it runs over the maps of the first;
so the pieces of images to which it responds most strongly are drawn, into ``two_layers.png``.
Where the images cannot be downloaded, it does the same with the handwritten digits of
scikit-learn.
"""

import time

import numpy as np
from sklearn.datasets import load_digits

from skcnn import ConvNetClassifier, ImageScaler
from skcnn.datasets import fetch_fashion_mnist

try:
    train, test = fetch_fashion_mnist(), fetch_fashion_mnist(subset="test")
    images, y = train.images[:10_000], train.target[:10_000]
    test_images, y_test = test.images, test.target
    target_names = test.target_names
except OSError:
    print("Fashion-MNIST cannot be downloaded: running on scikit-learn's digits.")
    digits = load_digits()
    images, test_images = np.split(digits.images, [1300])
    y, y_test = np.split(digits.target, [1300])
    target_names = digits.target_names

scaler = ImageScaler(per="channel")
X = scaler.fit_transform(images.astype(np.float32))
X_test = scaler.transform(test_images.astype(np.float32))

# %%
# A convolution layer costs a multiplication for each pixel and each weight of its filters. Pooling
# makes the second layer cheap: it has a quarter of the pixels.

networks = {
    "one layer, K=5": {"n_filters": (32,), "K": 5, "pool_size": "global"},
    "one layer, K=10": {"n_filters": (32,), "K": 10, "pool_size": "global"},
    "two layers": {"n_filters": (8, 32), "K": (5, 3), "pool_size": (2, "global")},
}


def multiplications(model):
    """How many there are in the convolutions of one image."""
    maps = (model.feature_maps(X[:1], layer=layer) for layer in range(len(model.filters_)))
    return sum(A[..., 0].size * W.size for A, W in zip(maps, model.filters_))


accuracies = {}
print(f"{'':15}{'accuracy':>10}{'spread':>8}{'multiplications':>18}{'weights':>9}{'seconds':>9}")
for name, params in networks.items():
    start = time.perf_counter()
    models = [
        ConvNetClassifier(
            **params,
            eta=0.003,
            learning_rate="cosine",
            batch_size=64,
            max_iter=5,
            tol=None,
            random_state=seed,
        ).fit(X, y)
        for seed in range(3)
    ]
    seconds = (time.perf_counter() - start) / len(models)
    accuracies[name] = np.array([model.score(X_test, y_test) for model in models])
    model = models[0]
    n_weights = sum(W.size for W in (*model.filters_, *model.coefs_))
    print(
        f"{name:15}{accuracies[name].mean():10.3f}{accuracies[name].std():8.3f}"
        f"{multiplications(model):18,}{n_weights:9,}{seconds:9.1f}"
    )

# %%
# One value of the second layer's maps depends on 3 x 3 pooled values of the first, which come from
# 6 x 6 pixels, and the filters of the first layer cover two more pixels on each side: 10 x 10 in
# all. Of each image the piece with the strongest response is drawn, the only one that counts.

n_images, n_pieces, side = 2000, 12, 10
maps = model.feature_maps(X_test[:n_images], layer=1)
n, height, width, n_filters = maps.shape
strongest = maps.reshape(n, height * width, n_filters)
framed = np.pad(test_images[:n_images], ((0, 0), (side, side), (side, side)))


def pieces(f):
    """The pieces of images with the strongest response to a filter, and whose they are."""
    images = np.argsort(-strongest[:, :, f].max(axis=1))[:n_pieces]
    rows, columns = np.divmod(strongest[images, :, f].argmax(axis=1), width)
    corners = zip(images, 2 * rows - 4 + side, 2 * columns - 4 + side)
    return [framed[k, i : i + side, j : j + side] for k, i, j in corners], y_test[images]


# The filters that count most: after global pooling, a filter has one dense weight for each class.
chosen = np.argsort(-np.square(model.coefs_[0]).sum(axis=1))[:8]
print("\nfilter  classes of the images with the strongest responses")
for f in chosen:
    labels, counts = np.unique(pieces(f)[1], return_counts=True)
    names = [f"{target_names[label]} {count}" for label, count in zip(labels, counts)]
    print(f"{f:6}  {', '.join(names)}")

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure = plt.figure(figsize=(10, 5), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 2.2])
ax = left.subplots()
for place, values in enumerate(accuracies.values()):
    ax.plot([place] * len(values), values, "o", color="C0", alpha=0.5)
    ax.plot(place, values.mean(), "_", color="C0", markersize=30)
ax.set_xticks(range(len(accuracies)), [name.replace(", ", "\n") for name in accuracies])
ax.set(xlim=(-0.5, len(accuracies) - 0.5), ylabel="accuracy on the test images")
ax.grid(axis="y", alpha=0.3)
right.suptitle("What eight filters of the second layer respond to most")
for line, f in zip(right.subplots(len(chosen), n_pieces), chosen):
    for ax, piece in zip(line, pieces(f)[0]):
        ax.imshow(piece, cmap="gray_r", vmin=0, vmax=framed.max())
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(f, rotation=0, ha="right", va="center")
figure.savefig("two_layers.png", dpi=100)
print("\nPicture: two_layers.png")
