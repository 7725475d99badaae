#!/usr/bin/env bash
# MLflow saves an ONNX model whole the first time and without its weights from then on.
#
# What one would expect: mlflow.onnx.save_model(model, path) and log_model(model, ...) read the model
# that they are given. Saving it twice, say to the next run or under another name, gives two copies.
#
# What happens: with save_as_external_data=True, the default, the weights of the caller's model move
# to a file beside the first copy, and the model in memory keeps a reference to a file of that name.
# The second call succeeds and warns of nothing. Its folder has a model.onnx of about 200 bytes and
# no weights, also with save_as_external_data=False; it fails when it is loaded, which may be the day
# on which it is deployed. model.SerializeToString() has lost the weights too.
#
# Versions: mlflow 3.17.2 (and mlflow-skinny, which installs faster), onnx 1.23.2, onnxruntime
# 1.32.0, Python 3.11.
#
# Why it matters: small image networks are exported once and logged several times (a run for each
# fold, an alias for each site). All copies but the first are empty shells, however well the first
# was tested. Pass save_as_external_data=False each time, or log a copy.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q mlflow-skinny==3.17.2 pandas==3.1.1 onnx==1.23.2 onnxruntime==1.32.0

cat > twice.py <<'PYTHON'
import logging
from pathlib import Path

import mlflow
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

logging.disable(logging.WARNING)
weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
model = helper.make_model(
    helper.make_graph(
        [helper.make_node("MatMul", ["X", "weights"], ["Y"])],
        "dense_layer",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(weights, "weights")],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
onnx.checker.check_model(model, full_check=True)
X = np.ones((2, 64), np.float32)


def saved(path, **options):
    """Whether what is saved computes the layer."""
    mlflow.onnx.save_model(model, path, **options)
    try:
        Y = mlflow.pyfunc.load_model(path).predict(X)["Y"]
        answer = f"difference {np.abs(Y - X @ weights).max():.0e}"
    except Exception as error:
        Y, answer = None, str(error).partition(" Error:")[0]
    has_weights = any(Path(path).glob("*.data"))
    size = (Path(path) / "model.onnx").stat().st_size
    print(f"{path}: model.onnx of {size} bytes, a file of weights: {has_weights}; {answer}")
    return Y is not None


before = len(model.SerializeToString())
first = saved("first")
second = saved("second")
third = saved("third", save_as_external_data=False)
print(f"the model in memory: {before} bytes before, {len(model.SerializeToString())} after")
assert first and not second and not third
PYTHON
venv/bin/python twice.py 2>&1 | grep -v "^2[0-9]*/"

# first: model.onnx of 196 bytes, a file of weights: True; difference 0e+00
# second: model.onnx of 196 bytes, a file of weights: False; [ONNXRuntimeError] : 1 : FAIL : External data path validation failed for initializer: weights.
# third: model.onnx of 196 bytes, a file of weights: False; [ONNXRuntimeError] : 1 : FAIL : External data path validation failed for initializer: weights.
# the model in memory: 2674 bytes before, 196 after
