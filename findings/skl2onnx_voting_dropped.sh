#!/usr/bin/env bash
# skl2onnx gives the members of a vote each other's weights where one of them is "drop".
#
# What one would expect: scikit-learn's documented way of leaving a member out,
# VotingClassifier(...).set_params(bayes="drop"), is converted, or refused.
#
# What happens: the fitted members are counted without the dropped one, the weights with it. Members
# behind it get the weight of another, and all are divided by a sum that has the dropped one's in
# it: the "probabilities" of every image sum to one third here, and a class differs. VotingRegressor
# returns a third of its predictions. Nothing is raised and nothing warns.
#
# Versions: skl2onnx 1.20.0 (the newest), scikit-learn 1.9.1, onnxruntime 1.32.0.
#
# Why it matters: a weighted vote of a network with simpler models is a common last step for small
# images, and dropping members is how one finds out which are worth their time. The model that is
# served is then not the one that was scored.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0

cat > vote.py <<'PYTHON'
import numpy as np
import onnxruntime
import skl2onnx
from sklearn.datasets import load_digits
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16
train, test = X[:1000], X[1000:]
onnxruntime.set_default_logger_severity(3)


def run(model):
    options = {"zipmap": False} if hasattr(model, "classes_") else None
    exported = skl2onnx.to_onnx(model, train[:1], options=options).SerializeToString()
    return onnxruntime.InferenceSession(exported).run(None, {"X": test})


for dropped in (None, "bayes"):
    classifiers = [
        ("bayes", GaussianNB(var_smoothing=0.1)),
        ("weak", LogisticRegression(C=0.001)),
        ("strong", LogisticRegression(max_iter=1000)),
    ]
    vote = VotingClassifier(
        classifiers, voting="soft", weights=np.array([1, 1, 4]), flatten_transform=False
    )
    regressors = [("bayes", Ridge(1)), ("weak", Ridge(1000)), ("strong", Ridge(10))]
    mean = VotingRegressor(regressors, weights=np.array([1, 1, 4]))
    if dropped:
        vote.set_params(**{dropped: "drop"})
        mean.set_params(**{dropped: "drop"})
    vote.fit(train, y[:1000])
    mean.fit(train, y[:1000])
    label, P = run(vote)
    (prediction,) = run(mean)
    error = np.abs(P - vote.predict_proba(test)).max()
    ratio = np.median(prediction[:, 0] / mean.predict(test))
    print(
        f"dropped: {dropped}; difference of probabilities {error:.0e}, their sum "
        f"{P.sum(axis=1).mean():.3f}; other labels: {np.sum(label != vote.predict(test))} of "
        f"{len(test)}; regression: {ratio:.2f} of the prediction"
    )
    assert (error > 0.3) == (dropped is not None)
PYTHON
venv/bin/python vote.py

# dropped: None; difference of probabilities 4e-07, their sum 1.000; other labels: 0 of 797; regression: 1.00 of the prediction
# dropped: bayes; difference of probabilities 6e-01, their sum 0.333; other labels: 1 of 797; regression: 0.33 of the prediction
