"""ONNX files of skcnn in other programs: twelve kinds of models in each runtime and converter.

``python benchmarks/neighbours.py runtimes`` runs those that are installed here, and writes their
rows of ``docs/tables/runtimes.csv``. A difference is the largest between the probabilities (of
regressors: the predictions, in units of the largest) that a program computes and skcnn's, over 100
samples of all kinds; labels are compared too. onnx2torch wants torchvision,
which must be of the same build as torch. LiteRT needs an environment of its own, with Python 3.11
or 3.12: onnx2tf pins NumPy 1.26, but runs with 2.1. Node finds what npm has installed by
``NODE_PATH``::

    pip install onnxruntime openvino tract onnx2torch torch torchvision tinygrad \
        onnxconverter-common mlflow ".[onnx]"

    pip install numpy==2.1.3 tensorflow==2.19.0 tf-keras==2.19.0 ai-edge-litert==2.1.0 \
        onnx==1.19.1 onnxruntime==1.23.0 onnxsim==0.4.36 onnxoptimizer==0.4.2 \
        onnx-graphsurgeon==0.5.8 simple-onnx-processing-tools==1.1.32 psutil==5.9.5 \
        protobuf==4.25.5 ml-dtypes==0.5.1 flatbuffers==25.12.19 opencv-python==4.11.0.86 requests .
    pip install --no-deps onnx2tf==1.29.24

    npm install onnxruntime-node onnxruntime-web && export NODE_PATH=$PWD/node_modules
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler
from skcnn.onnx import to_onnx

COLUMNS = ("runtime", "version", "kinds", "largest difference", "strings", "to know")

N_TRAIN, N_TEST = 300, 100
TRAINING = {"max_iter": 10, "tol": None, "eta": 0.005, "batch_size": 32, "random_state": 0}
NAMES = np.array("zero one two three four five six seven eight nine".split())


def kinds():
    """Yield the name of a kind, a fitted pipeline, and images that it was not fitted on."""
    images, digit = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.float32)[: N_TRAIN + N_TEST]
    rows, digit = images.reshape(-1, 64), digit[: N_TRAIN + N_TEST]
    colour = np.stack([images, images[:, ::-1], 16 - images], axis=3)
    signals = images.reshape(-1, 32, 2)
    darkness = images.mean((1, 2))
    halves = np.stack([images[:, :4].mean((1, 2)), images[:, 4:].mean((1, 2))], axis=1)
    labels = np.stack([digit % 2 == 0, digit > 4, digit == 8], axis=1).astype(int)
    deep = {"n_filters": (8, 16), "pool_size": 2, "hidden_layer_sizes": (20,)}
    models = {
        "one filter": (images, digit, "pixel", {}),
        "many filters": (images, digit, "pixel", {"n_filters": 32, "pool_size": 2}),
        "two layers and hidden units": (images, digit, "channel", deep),
        "colour": (colour, digit, "channel", deep),
        "signals": (signals, digit, "channel", {"n_filters": 8, "image_shape": (1, 32, 2)}),
        "rows": (rows, digit, "pixel", {"n_filters": 8, "image_shape": (8, 8)}),
        "two classes": (images, digit > 4, "pixel", {"n_filters": 8}),
        "several labels": (images, labels, "pixel", {"n_filters": 8}),
        "one target": (images, darkness, "pixel", {"n_filters": 8}),
        "several targets": (colour, halves, "pixel", {"n_filters": 8}),
        "8-bit images": (images.astype(np.uint8), digit, "pixel", {"n_filters": 8}),
        "string classes": (images, NAMES[digit], "pixel", {"n_filters": 8, "pool_size": 2}),
    }
    for name, (X, y, per, options) in models.items():
        network = (ConvNetRegressor if y.dtype.kind == "f" else ConvNetClassifier)(
            **TRAINING, **options
        )
        scaler = ImageScaler(per=per, image_shape=options.get("image_shape"))
        yield name, make_pipeline(scaler, network).fit(X[:N_TRAIN], y[:N_TRAIN]), X[N_TRAIN:]


def export(model, X, **options):
    """Return a pipeline as an ONNX model for images of the type of X."""
    return to_onnx(model, input_dtype=X.dtype, **options)


def difference(model, X, outputs, label, tolerance):
    """Return the largest difference of outputs, by name, from the predictions of a model.

    Labels must be those of the model, except of samples whose first two classes are as close as the
    tolerance.
    """
    if "variable" in outputs:
        expected = model.predict(X)
        assert outputs["variable"].shape == expected.shape, outputs["variable"].shape
        return np.abs(outputs["variable"] - expected).max() / np.abs(expected).max()
    P, y = model.predict_proba(X), model.predict(X)
    assert outputs["probabilities"].shape == P.shape, outputs["probabilities"].shape
    found = model.classes_[outputs["label"]] if label == "index" else outputs["label"]
    margin = np.abs(2 * P - 1) if y.ndim == 2 else np.diff(np.sort(P, axis=1)[:, -2:])[:, 0]
    clear = margin > 2 * tolerance
    assert (found[clear] == y[clear]).all(), f"labels {found[clear]}, but {y[clear]}"
    return np.abs(outputs["probabilities"] - P).max()


@dataclass
class Case:
    """A program that runs ONNX files.

    Parameters
    ----------
    distribution : str
        Name on PyPI.
    outputs : callable
        ``outputs(exported, X, folder)`` returns the outputs of a model for X as arrays, in order.
    to_know : str
        What its users should know.
    tolerance : float
        Largest difference that is allowed.
    takes_strings : bool
        Whether labels may be strings.
    find_version : callable
        Returns the version; None: that of the distribution.
    """

    distribution: str
    outputs: Callable[..., list]
    to_know: str
    tolerance: float = 1e-5
    takes_strings: bool = True
    find_version: Callable[[], str] | None = None

    def version(self):
        """Return the version that is installed, or raise PackageNotFoundError."""
        return self.find_version() if self.find_version else version(self.distribution)

    def run(self):
        """Run all kinds of models, and return the cells after the version."""
        differences = []
        for kind, model, X in kinds():
            label = "name"
            try:
                if kind == "string classes" and not self.takes_strings:
                    assert not self.computes(export(model, X), X), "strings are taken"
                    label = "index"
                differences.append(self.difference(model, X, label))
            except Exception as error:
                error.add_note(f"kind: {kind}")
                raise
        strings = "yes" if self.takes_strings else "no"
        return [str(len(differences)), f"{max(differences):.1e}", strings, self.to_know]

    def difference(self, model, X, label):
        """Return the largest difference of outputs from those of a model, which is allowed."""
        exported = export(model, X, label=label)
        names = [output.name for output in exported.graph.output]
        with tempfile.TemporaryDirectory() as folder:
            arrays = [np.asarray(each) for each in self.outputs(exported, X, Path(folder))]
        assert len(arrays) == len(names)
        found = difference(model, X, dict(zip(names, arrays)), label, self.tolerance)
        assert found <= self.tolerance, f"difference {found}"
        return found

    def computes(self, exported, X):
        """Whether the program takes a model."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.outputs(exported, X, Path(folder))
            except Exception:
                return False
        return True


def onnxruntime_outputs(exported, X, folder):
    """onnxruntime in Python."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        exported.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"X": X})


NODE_PROGRAM = """
const fs = require("fs");
const ort = require(process.argv[4]);
(async () => {
  const session = await ort.InferenceSession.create(fs.readFileSync(process.argv[1]));
  const bytes = new Uint8Array(fs.readFileSync(process.argv[2]));
  const [dtype, shape] = JSON.parse(process.argv[3]);
  const values = dtype === "uint8" ? bytes : new Float32Array(bytes.buffer);
  const X = new ort.Tensor(dtype, values, shape);
  const results = await session.run({ X });
  const plain = (value) => {
    return typeof value === "bigint" ? Number(value) : value;
  };
  const described = session.outputNames.map((name) => {
    const { type, dims, data } = results[name];
    if ((type === "int64") !== (typeof data[0] === "bigint")) throw new Error(typeof data[0]);
    return { dims, data: Array.from(data, plain) };
  });
  console.log(JSON.stringify(described));
})();
"""


def run_node(*arguments):
    """Run Node, and return what it prints."""
    return subprocess.run(
        ["node", "-e", *arguments], capture_output=True, text=True, check=True
    ).stdout


def node_version(package):
    """Return the version of a package of npm."""
    program = """
const path = require.resolve(process.argv[1]).split(process.argv[1])[0] + process.argv[1];
console.log(require(path + "/package.json").version);
"""
    try:
        return run_node(program, package).strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise PackageNotFoundError(package) from error


def node_outputs(exported, X, folder, package="onnxruntime-node"):
    """onnxruntime in Node."""
    (folder / "model.onnx").write_bytes(exported.SerializeToString())
    (folder / "X").write_bytes(X.tobytes())
    files = str(folder / "model.onnx"), str(folder / "X")
    described = json.dumps([X.dtype.name, X.shape])
    printed = json.loads(run_node(NODE_PROGRAM, *files, described, package))
    return [np.array(each["data"]).reshape(each["dims"]) for each in printed]


def web_outputs(exported, X, folder):
    """onnxruntime in WebAssembly, as in a browser."""
    return node_outputs(exported, X, folder, "onnxruntime-web")


def openvino_outputs(exported, X, folder, **configuration):
    """OpenVINO on a CPU."""
    import openvino

    model = openvino.Core().read_model(exported.SerializeToString())
    compiled = openvino.Core().compile_model(model, "CPU", configuration)
    results = compiled(X)
    return [results[output.name] for output in exported.graph.output]


def openvino_float32_outputs(exported, X, folder):
    """OpenVINO on a CPU, in float32."""
    return openvino_outputs(exported, X, folder, INFERENCE_PRECISION_HINT="f32")


def tract_outputs(exported, X, folder):
    """tract, of the batch size that it is given."""
    import tract

    path = folder / "model.onnx"
    path.write_bytes(exported.SerializeToString())
    model = tract.onnx().load(path)
    model.set_input_fact(0, ",".join([*map(str, X.shape), "u8" if X.dtype == np.uint8 else "f32"]))
    runnable = model.into_model().into_runnable()
    return [tensor.to_numpy() for tensor in runnable.run([X])]


def litert_outputs(exported, X, folder):
    """LiteRT, of what onnx2tf writes."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import onnx2tf
    from ai_edge_litert.interpreter import Interpreter

    (folder / "model.onnx").write_bytes(exported.SerializeToString())
    onnx2tf.convert(
        input_onnx_file_path=str(folder / "model.onnx"),
        output_folder_path=str(folder / "converted"),
        keep_shape_absolutely_input_names=["X"],
        non_verbose=True,
    )
    interpreter = Interpreter(str(folder / "converted" / "model_float32.tflite"))
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], X.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], X)
    interpreter.invoke()
    outputs = sorted(interpreter.get_output_details(), key=lambda output: output["name"])
    arrays = [interpreter.get_tensor(output["index"]) for output in outputs]
    return [np.char.decode(each.astype(bytes)) if each.dtype == object else each for each in arrays]


def onnx2torch_outputs(exported, X, folder):
    """A module of PyTorch, as onnx2torch makes it."""
    import onnx2torch
    import torch

    with torch.no_grad():
        results = onnx2torch.convert(exported)(torch.from_numpy(X))
    return [each.numpy() for each in (results if isinstance(results, list) else [results])]


def tinygrad_outputs(exported, X, folder):
    """tinygrad on a CPU."""
    from tinygrad import Tensor
    from tinygrad.nn.onnx import OnnxRunner

    (folder / "model.onnx").write_bytes(exported.SerializeToString())
    results = OnnxRunner(folder / "model.onnx")({"X": Tensor(X)})
    return [results[output.name].numpy() for output in exported.graph.output]


def common_float16_outputs(exported, X, folder):
    """onnxruntime, of a file that onnxconverter-common made float16."""
    from onnxconverter_common.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    float32 = [*DEFAULT_OP_BLOCK_LIST, "Cast"]
    converted = convert_float_to_float16(exported, keep_io_types=True, op_block_list=float32)
    return onnxruntime_outputs(converted, X, folder)


def float16_outputs(exported, X, folder):
    """onnxruntime, of a file that its own tool made float16."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return onnxruntime_outputs(convert_float_to_float16(exported, keep_io_types=True), X, folder)


class Calibration:
    """The images from which onnxruntime takes the range of each result."""

    def __init__(self, X):
        self.batches = iter([{"X": X}])

    def get_next(self):
        """Return the next batch, or None."""
        return next(self.batches, None)


def quantized_outputs(exported, X, folder):
    """onnxruntime, of a file that its own tool made one of 8 bits."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(Calibration, CalibrationDataReader):
        pass

    onnx.save(exported, folder / "model.onnx")
    quantize_static(
        folder / "model.onnx",
        folder / "quantized.onnx",
        Reader(X),
        nodes_to_exclude=["probabilities"],
    )
    return onnxruntime_outputs(onnx.load(folder / "quantized.onnx"), X, folder)


def mlflow_outputs(exported, X, folder):
    """A model of MLflow, loaded as a Python function."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(inputs=Schema([TensorSpec(X.dtype, (-1, *X.shape[1:]), "X")]))
    mlflow.onnx.save_model(
        exported, folder / "saved", signature=signature, save_as_external_data=False
    )
    results = mlflow.pyfunc.load_model(str(folder / "saved")).predict({"X": X})
    return [results[output.name] for output in exported.graph.output]


CASES = {
    "onnxruntime": Case(
        "onnxruntime",
        onnxruntime_outputs,
        'In one process with NumPy set session.intra_op.allow_spinning to "0".',
    ),
    "onnxruntime in Node": Case(
        "onnxruntime-node",
        node_outputs,
        "Integer labels are BigInt.",
        find_version=partial(node_version, "onnxruntime-node"),
    ),
    "onnxruntime in a browser": Case(
        "onnxruntime-web",
        web_outputs,
        "Likewise. Run here in WebAssembly, by Node.",
        find_version=partial(node_version, "onnxruntime-web"),
    ),
    "OpenVINO": Case(
        "openvino", openvino_float32_outputs, "With INFERENCE_PRECISION_HINT f32, as here."
    ),
    "OpenVINO, its own precision": Case(
        "openvino", openvino_outputs, "bfloat16 where the processor has it.", tolerance=0.1
    ),
    "tract": Case(
        "tract", tract_outputs, "For Rust; run here by its Python package.", takes_strings=False
    ),
    "LiteRT by onnx2tf": Case(
        "onnx2tf", litert_outputs, "Convert with -kat X; compare the predictions."
    ),
    "onnx2torch": Case(
        "onnx2torch", onnx2torch_outputs, "A module of PyTorch.", takes_strings=False
    ),
    "tinygrad": Case("tinygrad", tinygrad_outputs, "A CPU needs clang.", takes_strings=False),
    "float16 by onnxruntime": Case(
        "onnxruntime",
        float16_outputs,
        "onnxruntime.transformers.float16, with keep_io_types=True.",
        tolerance=0.02,
    ),
    "float16 by onnxconverter-common": Case(
        "onnxconverter-common",
        common_float16_outputs,
        "Of 8-bit images with Cast in op_block_list.",
        tolerance=0.02,
    ),
    "8 bits by onnxruntime": Case(
        "onnxruntime",
        quantized_outputs,
        'quantize_static, with nodes_to_exclude=["probabilities"].',
        tolerance=0.2,
    ),
    "MLflow": Case(
        "mlflow", mlflow_outputs, "A signature of tensors, and save_as_external_data=False."
    ),
}
