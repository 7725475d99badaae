#!/usr/bin/env bash
# shap's maskers that inpaint blacken images of values from 0 to 1, hidden or not.
#
# Expected: shap.maskers.Image("inpaint_telea", shape) fills in the pixels that are hidden and leaves
# the others as they are. Where nothing is hidden, the model is given the image itself, so that the
# values of an explanation and its base value add up to the prediction, as shap promises.
#
# Found: the whole image is cast to unsigned bytes before it is inpainted, and stays cast. Of an image
# of floats from 0 to 1 only pixels of exactly 1 are left; all others are 0, also where nothing is
# hidden. The explanation is that of an almost black image, and its sum is the model's answer to that
# one, without a warning. With a blur as the mask, the sum is the prediction.
#
# Versions: shap 0.51.0, opencv-python-headless 5.0.0.93, scikit-learn 1.9.1, NumPy 2.4.6, Python 3.11.
#
# Why it matters: images of 0 to 1 are what most models of images are trained on, and "inpaint_telea"
# is the mask of shap's examples of image classification. The maps that are drawn look plausible.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q shap==0.51.0 opencv-python-headless==5.0.0.93 scikit-learn==1.9.1 \
    numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import shap
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

digits = load_digits()
images = (digits.images / 17)[..., np.newaxis]  # (n, 8, 8, 1), from 0 to 0.94
rows = images.reshape(len(images), -1)
model = LogisticRegression(max_iter=1000).fit(rows, digits.target)


def probabilities(batch):
    return model.predict_proba(batch.reshape(len(batch), -1))


everything = np.ones(images[0].size, dtype=bool)  # no pixel is hidden
wanted, failed = probabilities(images[:20]), []
for mask in ("inpaint_telea", "inpaint_ns", "blur(3,3)"):
    masker = shap.maskers.Image(mask, images[0].shape)
    (unmasked,) = masker(everything, images[0])
    explainer = shap.Explainer(probabilities, masker)
    found = explainer(images[:20], max_evals=200, batch_size=50, silent=True)
    error = np.abs(found.values.sum(axis=(1, 2, 3)) + found.base_values - wanted).max()
    print(f"{mask:14} nothing hidden: greatest pixel {unmasked.max():.2f} of {images[0].max():.2f};"
          f" sum of the explanation off by up to {error:.2f}")
    if (unmasked.max() == 0 and error > 0.5) != mask.startswith("inpaint"):
        failed.append(mask)
raise SystemExit(f"no longer so: {failed}" if failed else 0)
PYTHON

# Output:
# inpaint_telea  nothing hidden: greatest pixel 0.00 of 0.88; sum of the explanation off by up to 0.99
# inpaint_ns     nothing hidden: greatest pixel 0.00 of 0.88; sum of the explanation off by up to 0.99
# blur(3,3)      nothing hidden: greatest pixel 0.88 of 0.88; sum of the explanation off by up to 0.00
