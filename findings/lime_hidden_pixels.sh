#!/usr/bin/env bash
# LIME hides a segment behind its own mean colour: the finer the segments, the less is hidden.
#
# Expected: finer segments explain an image in finer detail. LIME switches segments off, one pixel each
# in the end, and the weight of a segment is what the prediction loses without it.
#
# Found: by default (hide_color=None) a segment that is switched off gets the mean colour of that
# segment. One of a single colour, or of one pixel, is then replaced by itself. Nothing changes, all
# predictions are equal, and all weights are 0, without a warning. hide_color=0 gives weights.
#
# Versions: lime 0.2.0.1, scikit-image 0.26.0, scikit-learn 1.9.1, NumPy 2.4.6, Python 3.11.
#
# Why it matters: on small images one chooses segments of a pixel or two, and drawings, digits, scans
# and label maps consist of areas of one colour. The better the segmentation follows these, the
# emptier the explanation: it says that no part of the image matters.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lime==0.2.0.1 scikit-image==0.26.0 scikit-learn==1.9.1 numpy==2.4.6

TQDM_DISABLE=1 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from lime.lime_image import LimeImageExplainer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

digits = load_digits()
model = LogisticRegression(max_iter=1000).fit(digits.data / 16, digits.target)
image = digits.images[0] / 16  # a zero, 8 x 8


def probabilities(images):
    return model.predict_proba(images[..., 0].reshape(len(images), -1))


def segments(side):
    def segmentation(image):
        i, j = np.indices(image.shape[:2]) // side
        return i * (8 // side) + j

    return segmentation


def greatest_weight(image, segmentation, hide_color):
    explanation = LimeImageExplainer(random_state=0).explain_instance(
        image, probabilities, top_labels=1, hide_color=hide_color, num_samples=500,
        segmentation_fn=segmentation,
    )
    (weights,) = explanation.local_exp.values()
    return max(abs(weight) for _, weight in weights)


def ink(image):
    return (image[..., 0] > 0.5).astype(int)


flat = (image > 0.5).astype(float)
cases = {
    "16 segments of 2 x 2 pixels": (image, segments(2)),
    "64 segments of 1 pixel": (image, segments(1)),
    "ink and paper of a drawing": (flat, ink),
}
holds = []
for name, (picture, segmentation) in cases.items():
    default, black = (greatest_weight(picture, segmentation, color) for color in (None, 0))
    print(f"{name:28} greatest weight {default:.4f} by default, {black:.4f} with hide_color=0")
    holds.append((default < 1e-9) == (name != "16 segments of 2 x 2 pixels") and black > 0.01)
raise SystemExit(0 if all(holds) else "no longer so")
PYTHON

# Output:
# 16 segments of 2 x 2 pixels  greatest weight 0.1768 by default, 0.2522 with hide_color=0
# 64 segments of 1 pixel       greatest weight 0.0000 by default, 0.1870 with hide_color=0
# ink and paper of a drawing   greatest weight 0.0000 by default, 0.9277 with hide_color=0
