"""
The network beside logistic regression, a dense network and gradient boosting
=============================================================================

``cross_validate``, which is ``cross_val_score`` with times, puts every classifier through the same
folds: trousers against dresses, in 2,000 of the images of Fashion-MNIST. Accuracies with their
spread, and the time of a fit, are printed and drawn into ``compare_logistic_regression.png``.
Where the images cannot be downloaded, it is the digits 1 and 3 of scikit-learn that
are told apart.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from skcnn import ConvNetClassifier, ImageScaler
from skcnn.datasets import fetch_fashion_mnist

try:
    dataset = fetch_fashion_mnist(classes=["Trouser", "Dress"])
    images, y = dataset.images[:2000].astype(np.float32), dataset.target[:2000]
except OSError:
    print("Fashion-MNIST cannot be downloaded: running on scikit-learn's digits 1 and 3.")
    digits = load_digits()
    chosen = np.isin(digits.target, (1, 3))
    images, y = digits.images[chosen].astype(np.float32), digits.target[chosen]
rows = images.reshape(len(images), -1)


def network(**params):
    net = ConvNetClassifier(tol=None, random_state=0, **params)
    return Pipeline([("scale", ImageScaler(per="channel")), ("net", net)])


def on_rows(classifier):
    return Pipeline([("scale", ImageScaler()), ("classify", classifier)])


contestants = {
    "LogisticRegression": (on_rows(LogisticRegression(max_iter=2000)), rows),
    "MLPClassifier": (on_rows(MLPClassifier(random_state=0)), rows),
    "HistGradientBoosting": (on_rows(HistGradientBoostingClassifier(random_state=0)), rows),
    "ConvNet, 1 filter": (network(max_iter=50), images),
    "ConvNet, 16 filters": (
        network(n_filters=16, K=7, alpha=3e-3, batch_size=32, max_iter=10),
        images,
    ),
}

folds = StratifiedKFold(5, shuffle=True, random_state=0)
results = {}
print(f"{'':22}{'accuracy':>10}{'spread':>9}{'fit':>9}")
for name, (classifier, X) in contestants.items():
    result = cross_validate(classifier, X, y, cv=folds)
    results[name] = result["test_score"]
    print(
        f"{name:22}{result['test_score'].mean():10.4f}{result['test_score'].std():9.4f}"
        f"{result['fit_time'].mean():7.1f} s"
    )

# %%
# A dot is a fold, a bar their mean.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
for position, scores in enumerate(results.values()):
    ax.plot(scores, np.full(len(scores), position), "o", color="C0", alpha=0.5)
    ax.plot(scores.mean(), position, "|", color="black", markersize=24, markeredgewidth=2)
ax.set_yticks(range(len(results)), results)
ax.set_ylim(len(results) - 0.5, -0.5)
ax.set(xlabel="accuracy on a fold", title=f"Two classes, {len(y):,} images, five folds")
ax.grid(axis="x", alpha=0.3)
figure.savefig("compare_logistic_regression.png", dpi=100)
print("Picture: compare_logistic_regression.png")
