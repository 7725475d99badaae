"""Export to ONNX, the format of networks that run without Python and scikit-learn.

`to_onnx` is for networks and scalers, `register_converters` for estimators of scikit-learn that
have them as parts. This is the only module that needs the package onnx, and it imports it when one
of the two is called.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from . import _images
from ._base import BaseConvNet
from ._classifier import ConvNetClassifier
from ._regressor import ConvNetRegressor
from ._scaler import ImageScaler
from ._typing import ImageShape

__all__ = ["register_converters", "to_onnx"]

# Of the operators and of the file: those of 2022, which most runtimes in use can read.
OPSET, IR_VERSION = 17, 8

FLOATS = "float32", "float64"
INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
NUMBERS = (*FLOATS, "float16", "bool", *INTEGERS)


def to_onnx(
    estimator: Any,
    *,
    dtype: DTypeLike = np.float32,
    input_dtype: DTypeLike | None = None,
    input_shape: int | ImageShape | None = None,
) -> Any:
    """Return a fitted network, scaler or pipeline of these as an ONNX model.

    The model has one input, ``X``, with any number of images. The outputs of a classifier
    are ``label`` and ``probabilities``, as from :meth:`~skcnn.ConvNetClassifier.predict` and
    :meth:`~skcnn.ConvNetClassifier.predict_proba`; that of a regressor or a scaler is ``variable``,
    as from :meth:`~skcnn.ConvNetRegressor.predict` or :meth:`~skcnn.ImageScaler.transform`. Their
    names are those of skl2onnx.

    Parameters
    ----------
    estimator : ConvNetClassifier, ConvNetRegressor, ImageScaler or Pipeline
        Fitted estimator. The steps of a pipeline are scalers, :class:`~skcnn.ImageScaler` or
        :class:`~sklearn.preprocessing.StandardScaler`, and then a network if there is one.

    dtype : {numpy.float32, numpy.float64}, default=numpy.float32
        Type in which the network is computed and of the outputs that are floats. A float64 model
        needs a runtime with float64 convolutions, such as ``onnx.reference``; onnxruntime has none
        on the CPU.

    input_dtype : numeric dtype, default=None
        Type of ``X``, such as ``numpy.uint8`` for images as files have them. None: ``dtype``.

    input_shape : tuple of int, default=None
        Shape of one image of ``X``: (H, W), (H, W, C), or (n_features,) for rows. None: as it was
        in ``fit``.

    Returns
    -------
    model : onnx.ModelProto
        ``model.SerializeToString()`` is what a runtime loads; ``onnx.save(model, path)`` writes it
        to a file.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator, or a step of it, is none of these.
    ValueError
        If an argument is wrong, or the classes are neither integers nor strings.

    See Also
    --------
    register_converters : For estimators of scikit-learn with such networks and scalers in them.

    Notes
    -----
    Scalers are computed in float64 whatever the type of ``X``, and only what they return is rounded
    to ``dtype``; scikit-learn scales float32 in float32, which is less exact where means are much
    larger than standard deviations. Classes that are integers, whole floats or bools become int64.
    Several labels for each sample are int64 too, 1 or 0.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from skcnn import ConvNetClassifier, ImageScaler
    >>> from skcnn.onnx import to_onnx
    >>> images, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(ImageScaler(), ConvNetClassifier(tol=None, max_iter=1)).fit(images, y)
    >>> exported = to_onnx(model)  # doctest: +SKIP
    >>> [output.name for output in exported.graph.output]  # doctest: +SKIP
    ['label', 'probabilities']
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession(exported.SerializeToString())  # doctest: +SKIP
    >>> P = session.run(["probabilities"], {"X": images.astype("f4")})[0]  # doctest: +SKIP
    """
    helper = _onnx().helper
    steps = [*_steps(estimator, "estimator")]
    if not steps:
        raise TypeError(f"estimator={estimator!r} has no step that could be exported.")
    dtype = _dtype("dtype", dtype, FLOATS)
    given_dtype = dtype if input_dtype is None else _dtype("input_dtype", input_dtype, NUMBERS)
    shape = _input_shape(steps, input_shape)

    graph, X = _Graph(), "X"
    for step in steps:
        if isinstance(step, StandardScaler):
            X = _scale(graph, step, X, shape)
    *_, last = steps
    if isinstance(last, StandardScaler):
        graph.cast(X, dtype, out="variable")
        outputs = {"variable": (dtype, shape)}
    elif isinstance(last, ConvNetClassifier):
        labels, T = _labels(last), _outputs(graph, last, X, dtype)
        _predict(graph, last, T, dtype, labels, ("label", "probabilities"))
        n = len(last.classes_)
        of_label = (np.int64, (n,)) if labels is None else (labels.dtype, ())
        outputs = {"label": of_label, "probabilities": (dtype, (n,))}
    else:
        T, targets = _outputs(graph, last, X, dtype), last._target_shape
        graph.add("Reshape", T, np.array([0, *targets]), out="variable")
        outputs = {"variable": (dtype, targets)}

    def described(name, dtype, shape):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, ["n", *shape])

    from . import __version__

    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(last).__name__,
            [described("X", given_dtype, shape)],
            [described(name, *output) for name, output in outputs.items()],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="skcnn",
        producer_version=__version__,
    )


def register_converters() -> None:
    """Let skl2onnx convert networks and image scalers, wherever they are parts of an estimator.

    After it, ``skl2onnx.to_onnx(estimator, X)`` takes pipelines with other steps, and
    :class:`~sklearn.calibration.CalibratedClassifierCV`,
    :class:`~sklearn.ensemble.VotingClassifier` and what else skl2onnx knows, on rows and on images.

    Raises
    ------
    ImportError
        If the package skl2onnx is not installed.

    See Also
    --------
    to_onnx : For networks, scalers and pipelines of these; it does not need skl2onnx.

    Notes
    -----
    A classifier has skl2onnx's usual options: ``zipmap``, ``nocl``, ``output_class_labels`` and
    ``raw_scores``, with which it returns logits, for two classes those of both. Networks are
    computed in float32, and outputs are float64 where ``X`` is. Predictions of a regressor have the
    shape (n, n_targets) for one target too, which is what skl2onnx asks for.

    Of a Pipeline in a CalibratedClassifierCV, whatever its classifier, skl2onnx calibrates the
    probabilities where scikit-learn calibrates the logits. Let the scaler be a step before the
    CalibratedClassifierCV, or pass the option of the second example.

    Examples
    --------
    >>> from skcnn.onnx import register_converters
    >>> register_converters()  # doctest: +SKIP
    >>> exported = skl2onnx.to_onnx(  # doctest: +SKIP
    ...     calibrated, X[:1], options={"zipmap": False}
    ... )
    >>> options = {  # doctest: +SKIP
    ...     CalibratedClassifierCV: {"zipmap": False},
    ...     ConvNetClassifier: {"zipmap": False, "raw_scores": True},
    ... }
    >>> exported = skl2onnx.to_onnx(calibrated_pipeline, X[:1], options=options)  # doctest: +SKIP
    """
    try:
        import skl2onnx
    except ImportError as error:
        raise ImportError(
            "register_converters needs skl2onnx, whose converters it adds to: pip install skl2onnx"
        ) from error
    options = {
        "zipmap": [True, False, "columns"],
        "nocl": [True, False],
        "output_class_labels": [False, True],
        "raw_scores": [True, False],
    }
    register = skl2onnx.update_registered_converter
    register(ImageScaler, "SkcnnImageScaler", _scaler_shape, _convert_scaler)
    register(ConvNetRegressor, "SkcnnConvNetRegressor", _regressor_shape, _convert_regressor)
    classifier = ConvNetClassifier, "SkcnnConvNetClassifier", _classifier_shape, _convert_classifier
    register(*classifier, options=options)


class _Graph:
    """Nodes and constants of an ONNX graph."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, operator, *inputs, out=None, **attributes):
        """Add a node, and return the name of its output.

        Parameters
        ----------
        operator : str
        *inputs : str or ndarray
            Names of outputs, or constants.
        out : str or None
            Name of the output; None: any.
        **attributes
            Of the operator.
        """
        inputs = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        out = out or self._new_name(operator)
        self._add_node(operator, inputs, out, attributes)
        return out

    def cast(self, X, dtype, out=None):
        """Add the conversion to a dtype."""
        kind = _onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", X, out=out, to=kind)

    def _constant(self, array):
        name = self._new_name("constant")
        self._add_constant(name, array)
        return name

    def _new_name(self, prefix):
        return f"{prefix}_{len(self.nodes) + len(self.constants)}"

    def _add_node(self, operator, inputs, out, attributes):
        node = _onnx().helper.make_node(operator, inputs, [out], name=out, **attributes)
        self.nodes.append(node)

    def _add_constant(self, name, array):
        self.constants.append(_onnx().numpy_helper.from_array(array, name))


class _PartOfGraph(_Graph):
    """Nodes and constants that are added to a graph of skl2onnx, from its scope and container."""

    def __init__(self, scope, container):
        self._scope, self._container = scope, container

    def _new_name(self, prefix):
        return self._scope.get_unique_variable_name(f"skcnn_{prefix}")

    def _add_node(self, operator, inputs, out, attributes):
        self._container.add_node(operator, inputs, [out], name=out, **attributes)

    def _add_constant(self, name, array):
        kind = _onnx().helper.np_dtype_to_tensor_dtype(array.dtype)
        self._container.add_initializer(name, kind, array.shape, array.ravel())


def _scale(graph, scaler, X, shape):
    """Add a scaler of X, images of a shape, and return the name of the result, of float64."""
    X = graph.cast(X, np.float64)
    if scaler.with_mean:
        X = graph.add("Sub", X, _compact(scaler.mean_, shape))
    if scaler.with_std:
        X = graph.add("Div", X, _compact(scaler.scale_, shape))
    return X


def _compact(statistic, shape):
    """Return a statistic that broadcasts to a shape, with sides of 1 where it is constant."""
    values = np.asarray(statistic, np.float64).reshape(shape)
    for axis in range(values.ndim):
        first = values.take([0], axis)
        if (values == first).all():
            values = first
    return values


def _outputs(graph, model, X, dtype):
    """Add a network on images X of any layout, and return the name of T, (n, n_outputs)."""
    H, W, C = _images.with_channels(model.image_shape_)
    A = graph.cast(X, dtype)
    if C == 1:
        A = graph.add("Reshape", A, np.array([0, 1, H, W]))  # 0: the side that it has, n
    else:
        A = graph.add("Reshape", A, np.array([0, H, W, C]))
        A = graph.add("Transpose", A, perm=[0, 3, 1, 2])
    convolutions, values = model._network.convolutions, model._values()
    for layer, (W, b) in zip(convolutions, values):
        W = W.transpose(0, 3, 1, 2)  # (F, C, height, width)
        height, width = W.shape[2:]
        pads = [height // 2, width // 2, (height - 1) // 2, (width - 1) // 2]
        # An intercept and ReLU before pooling give the same as after it, since both are monotonic;
        # runtimes compute all three in one go.
        A = graph.add("Conv", A, W.astype(dtype), b.astype(dtype), pads=pads)
        A = graph.add("Relu", A)
        if max(layer.pool) > 1:
            A = graph.add("MaxPool", A, kernel_shape=layer.pool, strides=layer.pool)
    A = graph.add("Flatten", A)  # (n, F * H' * W'), as the columns of the first V
    for k, (V, c) in enumerate(values[len(convolutions) :]):
        if k:
            A = graph.add("Relu", A)
        A = graph.add("Gemm", A, V.T.astype(dtype), c.astype(dtype))
    return A


def _predict(graph, classifier, T, dtype, labels, out, raw_scores=False):
    """Add the labels and the probabilities of logits T of a dtype, with the names ``out``.

    ``labels`` are those of the classes, or None for several labels for each sample.
    """
    # sigmoid(T) is softmax(-T/2, T/2), in which small probabilities are exact: the Sigmoid of
    # onnxruntime is 0 below 1e-7, and OneVsRestClassifier divides by the sum of some.
    factor = 1 if raw_scores else 1 / 2
    to_pair = np.array([[-factor, factor]], dtype)
    if labels is None:
        graph.cast(graph.add("Relu", graph.add("Sign", T)), np.int64, out=out[0])
        if not raw_scores:
            pairs = graph.add("MatMul", graph.add("Unsqueeze", T, np.array([2])), to_pair)
            P = graph.add("Softmax", pairs, axis=2)
            T = graph.add("Gather", P, np.array(1), axis=2)
        graph.add("Identity", T, out=out[1])
        return
    if len(classifier.intercepts_[-1]) == 1:
        T = graph.add("MatMul", T, to_pair)
    graph.add("Gather", labels, graph.add("ArgMax", T, axis=1, keepdims=0), out=out[0])
    graph.add("Identity" if raw_scores else "Softmax", T, out=out[1])


def _labels(classifier):
    """Return the labels of the classes, int64 or str, or None where a sample has several."""
    if classifier._has_labels:
        return None
    classes = classifier.classes_.tolist()
    if all(isinstance(label, str) for label in classes):
        return np.array(classes, dtype=object)
    # A classifier takes no floats but whole ones.
    if all(isinstance(label, (int, float)) and abs(label) < 2**63 for label in classes):
        return np.array(classes, dtype=np.int64)
    raise ValueError(
        f"classes_={classes}, but labels in ONNX are integers, of 64 bits, or strings: encode y by "
        "sklearn.preprocessing.LabelEncoder before fit."
    )


def _onnx():
    try:
        import onnx
    except ImportError as error:
        raise ImportError("Export to ONNX needs the package onnx: pip install onnx") from error
    return onnx


def _steps(estimator, name):
    """Yield the scalers and then the network of an estimator."""
    if isinstance(estimator, Pipeline):
        for k, (step_name, step) in enumerate(estimator.steps, start=1):
            if k < len(estimator.steps) and isinstance(step, BaseConvNet):
                raise TypeError(f"step {step_name!r} is a network, which must be the last step.")
            if step is not None and not isinstance(step, str):  # "passthrough"
                yield from _steps(step, f"step {step_name!r}")
    elif isinstance(estimator, (BaseConvNet, StandardScaler)):
        check_is_fitted(estimator)
        yield estimator
    else:
        raise TypeError(
            f"{name} is a {type(estimator).__name__}, but to_onnx takes a ConvNetClassifier, a "
            "ConvNetRegressor, an ImageScaler, or a Pipeline of scalers and a network: for others, "
            "call skcnn.onnx.register_converters() and then skl2onnx.to_onnx(estimator, X)."
        )


def _dtype(name, given, allowed):
    """Return an argument as a dtype of NumPy."""
    try:
        found = "None" if given is None else np.dtype(given).name
    except TypeError:
        found = "no dtype"
    if found not in allowed:
        raise ValueError(f"{name}={given!r} must be one of {', '.join(allowed)}.")
    return np.dtype(found)


def _input_shape(steps, given):
    """Return the shape of an image of X: what is given, or that of ``fit``."""
    first = steps[0]
    n_features = first.n_features_in_
    if given is None:
        # Those saved before it was stored have only the shape of an image.
        shape = getattr(first, "_sample_shape", getattr(first, "image_shape_", None))
        return shape or (n_features,)
    shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    is_shape = 1 <= len(shape) <= 3 and all(map(_images.is_whole_number, shape))
    if not is_shape or prod(shape) != n_features:
        raise ValueError(
            f"input_shape={given!r} must be (H, W), (H, W, C) or (n_features,), of {n_features} "
            "values an image."
        )
    if len(shape) > 1:
        for step in steps:
            if hasattr(step, "image_shape_"):
                _images.check_shape(shape, step.image_shape_, step)
    return shape


def _convert_scaler(scope, operator, container):
    """Converter of skl2onnx: add a scaler."""
    graph, (X,), (out,) = _PartOfGraph(scope, container), operator.inputs, operator.outputs
    scaler, shape = operator.raw_operator, X.type.shape[1:]
    shape = _input_shape([scaler], shape if len(shape) > 1 else [scaler.n_features_in_])
    graph.cast(_scale(graph, scaler, X.full_name, shape), _float_of(out), out=out.full_name)


def _convert_regressor(scope, operator, container):
    """Converter of skl2onnx: add a regressor."""
    graph, (X,), (out,) = _PartOfGraph(scope, container), operator.inputs, operator.outputs
    T = _outputs(graph, operator.raw_operator, X.full_name, np.float32)
    graph.cast(T, _float_of(out), out=out.full_name)


def _convert_classifier(scope, operator, container):
    """Converter of skl2onnx: add a classifier."""
    graph, (X,) = _PartOfGraph(scope, container), operator.inputs
    classifier, out = operator.raw_operator, operator.outputs
    options = container.get_options(classifier, {"raw_scores": False, "nocl": False})
    T = _outputs(graph, classifier, X.full_name, np.float32)
    dtype = _float_of(out[1])
    T, labels = graph.cast(T, dtype), _labels(classifier)
    if options["nocl"] and labels is not None:
        labels = np.arange(len(labels))
    names = [variable.full_name for variable in out]
    _predict(graph, classifier, T, dtype, labels, names, options["raw_scores"])


def _float_of(variable):
    """Return the dtype of an output of skl2onnx, float64 or else float32."""
    from skl2onnx.common.data_types import DoubleTensorType

    return np.float64 if isinstance(variable.type, DoubleTensorType) else np.float32


def _scaler_shape(operator):
    """Shape calculator of skl2onnx: images stay images."""
    operator.outputs[0].type.shape = [*operator.inputs[0].type.shape]


def _regressor_shape(operator):
    """Shape calculator of skl2onnx: (n, n_targets)."""
    n_targets = len(operator.raw_operator.intercepts_[-1])
    operator.outputs[0].type.shape = [operator.inputs[0].get_first_dimension(), n_targets]


def _classifier_shape(operator):
    """Shape calculator of skl2onnx: as for its own classifiers, or (n, n_labels) twice."""
    from skl2onnx.common.data_types import Int64TensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    calculate_linear_classifier_output_shapes(operator)
    if operator.raw_operator._has_labels:
        operator.outputs[0].set_type(Int64TensorType(operator.outputs[1].type.shape))
