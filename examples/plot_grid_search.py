"""
A grid search over the learning rate and the size of the filters
================================================================

The network is an estimator like any other, so ``GridSearchCV`` tunes it behind its scaler, in as
many processes as there are cores. The scores of all combinations are drawn as a heat map, into
``grid_search.png``.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline

from skcnn import ConvNetClassifier, ImageScaler

# %%
# Handwritten digits, 8 x 8 pixels, of ten classes.

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, stratify=digits.target, random_state=0
)

# %%
# ``tol=None`` makes every network run for the same number of epochs.

pipeline = Pipeline(
    [
        ("scale", ImageScaler()),
        ("net", ConvNetClassifier(n_filters=4, max_iter=20, tol=None, random_state=0)),
    ]
)
grid = {"net__eta": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1], "net__K": [1, 2, 3, 4, 5, 7]}
folds = StratifiedKFold(3, shuffle=True, random_state=0)
search = GridSearchCV(pipeline, grid, cv=folds, n_jobs=-1).fit(X_train, y_train)

scores = search.cv_results_["mean_test_score"].reshape(len(grid["net__K"]), -1)
print(f"{'accuracy':>10}" + "".join(f"{f'eta={eta:g}':>12}" for eta in grid["net__eta"]))
for K, line in zip(grid["net__K"], scores):
    print(f"{f'K={K}':>10}" + "".join(f"{score:12.3f}" for score in line))
print(
    f"\nbest: {search.best_params_}, accuracy {search.best_score_:.3f} in cross-validation, "
    f"{search.score(X_test, y_test):.3f} on the test images"
)

# %%
# Rows and columns as in the table.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
picture = ax.imshow(scores, cmap="viridis", vmin=max(scores.min(), 0.8))
ax.set_xticks(range(scores.shape[1]), [f"{eta:g}" for eta in grid["net__eta"]])
ax.set_yticks(range(scores.shape[0]), grid["net__K"])
ax.set(xlabel="learning rate eta", ylabel="side of the filters K (pixels)")
ax.set_title("Accuracy in cross-validation, four filters, 20 epochs")
middle = np.mean(picture.get_clim())
for (i, j), score in np.ndenumerate(scores):
    ax.text(
        j, i, f"{score:.3f}", ha="center", va="center", color="black" if score > middle else "white"
    )
figure.colorbar(picture, extend="min")
figure.savefig("grid_search.png", dpi=100)
print("Picture: grid_search.png")
