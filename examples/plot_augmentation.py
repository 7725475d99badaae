"""
Augmentation: a thousand images, a little different every time
==============================================================

A mirrored shirt is still a shirt, and so is one that lies a pixel further up. With ``augment`` the
network is shown such changes of its images, drawn anew for every batch of every epoch. Two networks
of two layers learn the ten classes from 1,000 images of Fashion-MNIST, one with and one without.
Without, it soon knows its training images by heart and no longer improves; with augmentation it is
behind at first and ahead in the end. The learning curves are drawn above a few changed images into
``augmentation.png``. Where the images cannot be downloaded, it does the same with the
handwritten digits of scikit-learn, which are moved but not mirrored.
"""

import time

import numpy as np
from sklearn.datasets import load_digits

from skcnn import ConvNetClassifier, ImageScaler, LossCurveDisplay
from skcnn.augmentation import flip_left_right, shift
from skcnn.datasets import fetch_fashion_mnist

try:
    train, test = fetch_fashion_mnist(), fetch_fashion_mnist(subset="test")
    images, y = train.images[:1000], train.target[:1000]
    validation_images, y_val = train.images[-2000:], train.target[-2000:]
    test_images, y_test = test.images, test.target
    changes = [flip_left_right(), shift(1)]
except OSError:
    print("Fashion-MNIST cannot be downloaded: running on scikit-learn's digits.")
    digits = load_digits()
    images, validation_images, test_images = np.split(digits.images, [500, 1000])
    y, y_val, y_test = np.split(digits.target, [500, 1000])
    changes = [shift(1)]

# %%
# ``shift`` moves zeros in at the edges. With ``with_mean=False`` the scaled background is zero too,
# so that a moved image has no grey border.

scaler = ImageScaler(per="channel", with_mean=False)
X = scaler.fit_transform(images.astype(np.float32))
X_val = scaler.transform(validation_images.astype(np.float32))
X_test = scaler.transform(test_images.astype(np.float32))

models = {}
print(f"{'':22}{'training accuracy':>18}{'test accuracy':>15}{'seconds':>9}")
for name, augment in {"without augmentation": None, "with augmentation": changes}.items():
    start = time.perf_counter()
    model = models[name] = ConvNetClassifier(
        n_filters=(16, 32),
        K=(5, 3),
        pool_size=2,
        hidden_layer_sizes=(64,),
        augment=augment,
        eta=0.002,
        learning_rate="cosine",
        batch_size=50,
        max_iter=40,
        tol=None,
        random_state=0,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    seconds = time.perf_counter() - start
    print(f"{name:22}{model.score(X, y):18.3f}{model.score(X_test, y_test):15.3f}{seconds:9.1f}")

# %%
# An augmentation is a function of a batch of images (n, H, W, C) and a source of random numbers:
# here each of three images is changed seven times.

random_state = np.random.RandomState(0)
batch = np.repeat(X[:3, :, :, np.newaxis], 7, axis=0)
for change in changes:
    batch = change(batch, random_state)

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure = plt.figure(figsize=(9, 8), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1])
axes = top.subplots(1, 2)
for name, model in models.items():
    LossCurveDisplay.from_estimator(model, ax=axes, name=name)
bottom.suptitle("Three images, and how they are changed")
for line, image, changed in zip(bottom.subplots(3, 8), X, batch.reshape(3, 7, *X.shape[1:])):
    for ax, picture in zip(line, [image, *changed]):
        ax.imshow(picture, cmap="gray_r", vmin=0, vmax=X.max())
        ax.set(xticks=[], yticks=[])
    line[0].spines[:].set(color="C3", linewidth=2)
figure.savefig("augmentation.png", dpi=100)
print("\nPicture: augmentation.png")
