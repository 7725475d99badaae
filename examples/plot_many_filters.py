"""
What more filters are worth, and what they look like
====================================================

Networks of 1 to 32 filters learn the ten classes from 5,000 images of Fashion-MNIST, each with
three random initial values. Their accuracy on the test images is printed and drawn beside the
filters of the largest, before and after training, into ``many_filters.png``. Without the images,
and a network to download them, it does the same with the handwritten digits of scikit-learn.
"""

import numpy as np
from sklearn.datasets import load_digits

from skcnn import ConvNetClassifier, FilterDisplay, ImageScaler
from skcnn.datasets import fetch_fashion_mnist

try:
    train, test = fetch_fashion_mnist(), fetch_fashion_mnist(subset="test")
    images, y = train.images[:5_000], train.target[:5_000]
    test_images, y_test = test.images, test.target
except OSError:
    print("Fashion-MNIST cannot be downloaded: running on scikit-learn's digits.")
    digits = load_digits()
    images, test_images = np.split(digits.images, [1300])
    y, y_test = np.split(digits.target, [1300])

scaler = ImageScaler(per="channel")
X = scaler.fit_transform(images.astype(np.float32))
X_test = scaler.transform(test_images.astype(np.float32))

numbers = [1, 2, 4, 8, 16, 32]
accuracies = np.empty((len(numbers), 3))
print("filters  accuracy  spread")
for line, n_filters in zip(accuracies, numbers):
    for seed in range(3):
        model = ConvNetClassifier(
            n_filters=n_filters,
            K=5,
            pool_size=2,
            eta=0.003,
            learning_rate="cosine",
            batch_size=64,
            max_iter=6,
            tol=None,
            random_state=seed,
        )
        line[seed] = model.fit(X, y).score(X_test, y_test)
    print(f"{n_filters:7}{line.mean():10.3f}{line.std():8.3f}")

# %%
# Red pixels count for a response, blue ones against it. Few filters are as simple as an edge or a
# spot: with many of them, the dense layer makes do with whatever they respond to.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure, (ax, right) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=[1, 2], layout="constrained")
ax.plot(numbers, accuracies, "o", color="C0", alpha=0.5)
ax.plot(numbers, accuracies.mean(axis=1), color="C0")
ax.set_xscale("log", base=2)
ax.set_xticks(numbers, numbers)
ax.set(xlabel="number of filters", ylabel="accuracy on the test images")
ax.grid(alpha=0.3)
FilterDisplay.from_estimator(model, ax=right)
figure.savefig("many_filters.png", dpi=100)
print("\nPicture: many_filters.png")
