"""
Learning from a file that does not fit into memory
==================================================

The images lie in a file that NumPy maps into memory. ``partial_fit`` takes 2,000 of them at a time,
scaler and network one after the other, so that the memory in use does not grow with the file. What
NumPy and Python hold at most, the scaled test images included, is printed after every pass. The
accuracy on the test images is drawn as it grows, into ``out_of_core.png``. Where the images of
Fashion-MNIST cannot be downloaded, the handwritten digits of scikit-learn are repeated instead.
"""

import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits

from skcnn import ConvNetClassifier, ImageScaler
from skcnn.datasets import fetch_fashion_mnist

# %%
# A file to stand for a larger one: 60,000 images, 188 MB as float32.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "images.npy"
try:
    train, test = fetch_fashion_mnist(), fetch_fashion_mnist(subset="test")
    y, test_images, y_test = train.target, test.images[:2000], test.target[:2000]
    np.save(path, train.images.astype(np.float32))
    del train, test
except OSError:
    print("Fashion-MNIST cannot be downloaded: running on scikit-learn's digits.")
    digits = load_digits()
    few_images, test_images = np.split(digits.images, [1300])
    few_labels, y_test = np.split(digits.target, [1300])
    y = np.resize(few_labels, 20_000)
    np.save(path, np.resize(few_images, (20_000, 8, 8)).astype(np.float32))
classes = np.unique(y)

images = np.load(path, mmap_mode="r")
chunks = [slice(start, start + 2000) for start in range(0, len(images), 2000)]
print(f"{len(images)} images, {images.nbytes / 1e6:.0f} MB, in {len(chunks)} chunks")

# %%
# A first pass for the scaler, then passes for the network.

model = ConvNetClassifier(n_filters=8, K=5, pool_size=2, batch_size=64, random_state=0)
# What is loaded, or compiled, at the first training is not part of the memory that is shown.
few = np.float32(test_images[:200]) / 255
clone(model).partial_fit(few, y_test[:200], classes=classes).predict(few)

tracemalloc.start()
scaler = ImageScaler(per="channel")
for chunk in chunks:
    scaler.partial_fit(images[chunk])
X_test = scaler.transform(test_images.astype(np.float32))

accuracies = []
for epoch in range(1, 4):
    for chunk in chunks:
        model.partial_fit(scaler.transform(images[chunk]), y[chunk], classes=classes)
        accuracies.append(model.score(X_test, y_test))
    _, peak = tracemalloc.get_traced_memory()
    print(f"pass {epoch}: accuracy {accuracies[-1]:.3f}, at most {peak / 1e6:.0f} MB in use")
tracemalloc.stop()
del images
folder.cleanup()

# %%
# Images seen against accuracy.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.plot(2000 * np.arange(1, len(accuracies) + 1), accuracies)
for end in (len(y), 2 * len(y)):
    ax.axvline(end, color="gray", linewidth=0.5)
ax.set(xlabel="images seen", ylabel="accuracy on the test images")
ax.set_title("partial_fit on 2,000 images at a time, three passes")
figure.savefig("out_of_core.png", dpi=100)
print("\nPicture: out_of_core.png")
