#!/usr/bin/env bash
# onnx2tf transposes square grey images inside a network, silently, where they are scaled first.
#
# What one would expect: a converted network gives the same answers, or the conversion fails. Images
# (n, H, W) without an axis of channels have nothing that could be moved.
#
# What happens: onnx2tf takes the three axes of X for (n, channels, width) and exchanges the last
# two. Where the first node is the Reshape to (n, 1, H, W) that Conv needs, it notices, and all is
# right. With X - mean before the Reshape it does not, also with -kat X, which is there to keep the
# axes of X: H x W images that are square are convolved transposed. The file takes the shape that it
# should take, conversion and inference warn of nothing, and outputs have the right shape. With
# images that are not square, -kat X helps.
#
# Versions: onnx2tf 1.29.24, the newest for Python 3.11, with what it pins (tensorflow 2.19.0).
#
# Why it matters: "standardise, add the axis of channels, convolve" is how MNIST and its like are fed,
# and the sides are equal. A classifier of digits keeps a part of its accuracy (0, 1 and 8 look much
# the same transposed), so that one looks for the loss in the float32 of the phone.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install -q onnx2tf==1.29.24

cat > square.py <<'PYTHON'
import numpy as np
import onnx
import onnx2tf
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
constants = {
    "mean": np.float32(3),
    "side": np.array([0, 1, 8, 8]),
    "filters": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
    "weights": rng.normal(size=(256, 10)).astype(np.float32),
}
X = rng.normal(3, 1, size=(20, 8, 8)).astype(np.float32)


def network(*first):
    """A network whose first two nodes are ``first``."""
    nodes, name = [], "X"
    for operator, constant in first:
        nodes.append(helper.make_node(operator, [name, constant], [operator]))
        name = operator
    nodes += [
        helper.make_node("Conv", [name, "filters"], ["Z"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["Z"], ["A"]),
        helper.make_node("Flatten", ["A"], ["columns"]),
        helper.make_node("MatMul", ["columns", "weights"], ["Y"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 8, 8])],
            [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 10])],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def by_onnxruntime(model, X):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"X": X})[0]


def by_litert(model, X, **options):
    onnx.save(model, "model.onnx")
    onnx2tf.convert(
        input_onnx_file_path="model.onnx", output_folder_path="out", non_verbose=True, **options
    )
    interpreter = Interpreter("out/model_float32.tflite")
    interpreter.allocate_tensors()
    (given,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    Y = []
    for x in X:
        interpreter.set_tensor(given["index"], x[np.newaxis])
        interpreter.invoke()
        Y.append(interpreter.get_tensor(output["index"])[0])
    return np.array(Y)


def difference(A, B):
    return np.abs(A - B).max() / np.abs(B).max()


reshape, subtract = ("Reshape", "side"), ("Sub", "mean")
for title, model in {
    "Reshape, X - mean": network(reshape, subtract),
    "X - mean, Reshape": network(subtract, reshape),
}.items():
    expected = by_onnxruntime(model, X)
    transposed = by_onnxruntime(model, np.ascontiguousarray(X.transpose(0, 2, 1)))
    for option in ({}, {"keep_shape_absolutely_input_names": ["X"]}):
        Y = by_litert(model, X, **option)
        print(
            f"{title}{' with -kat X' if option else ''}: same class for "
            f"{np.sum(Y.argmax(1) == expected.argmax(1))} of {len(X)} images, difference "
            f"{difference(Y, expected):.0e}; from the answers for transposed images "
            f"{difference(Y, transposed):.0e}"
        )
        is_right = difference(Y, expected) < 1e-4
        assert is_right == title.startswith("Reshape")
        assert is_right or difference(Y, transposed) < 1e-4
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python square.py 2> errors.txt | grep "same class" || { cat errors.txt; exit 1; }

# Reshape, X - mean: same class for 20 of 20 images, difference 0e+00; from the answers for transposed images 1e+00
# Reshape, X - mean with -kat X: same class for 20 of 20 images, difference 0e+00; from the answers for transposed images 1e+00
# X - mean, Reshape: same class for 9 of 20 images, difference 1e+00; from the answers for transposed images 0e+00
# X - mean, Reshape with -kat X: same class for 9 of 20 images, difference 1e+00; from the answers for transposed images 0e+00
