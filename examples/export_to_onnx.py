"""
A trained network, served without Python
========================================

A pipeline is trained on scikit-learn's digits and exported to ONNX, a file that runtimes for many
languages and machines read. Here onnxruntime loads it, as a server would: its answers are compared
with those of the pipeline, and the time of each. It needs ``pip install onnx onnxruntime``.
"""

import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skcnn import ConvNetClassifier, ImageScaler
from skcnn.onnx import to_onnx

digits = load_digits()
names = np.array("zero one two three four five six seven eight nine".split())
X_train, X_test, y_train, y_test = train_test_split(
    digits.images.astype(np.float32), names[digits.target], random_state=0
)
network = ConvNetClassifier(
    n_filters=(16, 32), pool_size=2, eta=0.005, batch_size=32, max_iter=20, tol=None, random_state=0
)
model = make_pipeline(ImageScaler(), network).fit(X_train, y_train)
print(f"accuracy of the pipeline: {model.score(X_test, y_test):.3f}")

# %%
# The scaler is part of the file, so that a server takes images as they are, and the labels are
# strings, as they were given.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.onnx"
    path.write_bytes(to_onnx(model).SerializeToString())
    print(f"digits.onnx: {path.stat().st_size / 1e3:.0f} kB")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
for value in (*session.get_inputs(), *session.get_outputs()):
    print(f"    {value.name}: {value.type}, {value.shape}")

# %%
# The same answers, to the rounding of float32.

label, probabilities = session.run(["label", "probabilities"], {"X": X_test})
difference = np.abs(probabilities - model.predict_proba(X_test)).max()
print(f"largest difference of probabilities: {difference:.1e}")
print(f"labels that differ: {np.sum(label != model.predict(X_test))} of {len(label)}")

# %%
# Image by image, as requests come, the runtime has no data to validate and no Python to run.


def microseconds(function, images):
    """The median time of some calls, for one image."""
    times = []
    for _ in range(50):
        start = perf_counter()
        function(images)
        times.append(perf_counter() - start)
    return 1e6 * np.median(times) / len(images)


def served(images):
    return session.run(["probabilities"], {"X": images})


for n in (1, len(X_test)):
    times = [microseconds(function, X_test[:n]) for function in (model.predict_proba, served)]
    print(
        f"microseconds an image, {n} at a time: {times[0]:.1f} by the pipeline, {times[1]:.1f} by "
        "onnxruntime"
    )
