"""Export to ONNX, the format of networks that run without Python and scikit-learn.

`to_onnx` is for networks and scalers, `register_converters` for estimators of scikit-learn that
have them as parts. This is the only module that needs the package onnx, and it imports it when one
of the two is called.
"""

from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from ._base import BaseConvNet
from ._classifier import ConvNetClassifier
from ._estimator import shapes
from ._regressor import ConvNetRegressor
from ._scaler import ImageScaler
from ._typing import ImageShape

__all__ = ["register_converters", "to_onnx"]

# Of the operators and of the file: those of 2022, which most runtimes in use can read.
OPSET, IR_VERSION = 17, 8

FLOATS = "float32", "float64"
INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
NUMBERS = (*FLOATS, "float16", "bool", *INTEGERS)
# Types whose values are all values of float32 too.
EXACT_IN_FLOAT32 = "float32", "float16", "bool", "int8", "int16", "uint8", "uint16"


def to_onnx(
    estimator: Any,
    *,
    dtype: DTypeLike = np.float32,
    input_dtype: DTypeLike | None = None,
    input_shape: int | ImageShape | None = None,
    label: Literal["name", "index"] | None = "name",
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

    label : {"name", "index"} or None, default="name"
        What the output ``label`` of a classifier holds. "name": the class itself, a string if
        ``classes_`` are strings. "index": its place in ``classes_``, int64. None: there is no
        output ``label``. Without names the file has no strings, which several runtimes refuse.

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
        If an argument is wrong; if the classes are neither integers nor strings, unless ``label``
        is another than "name"; or if ``label="index"`` and the last step is no classifier.

    See Also
    --------
    register_converters : For estimators of scikit-learn with such networks and scalers in them.

    Notes
    -----
    A scaler of float32, float16, bool or integers of 8 or 16 bits is computed in float32, with its
    mean as the sum of two float32, so that standard scores are exact to 1e-6 of their size however
    much larger than the standard deviation the mean is; scikit-learn, which subtracts one float32,
    is less exact. It is computed in float64 where ``X`` is of another type, where ``dtype`` is
    float64, and where a statistic is beyond the range of float32; what it returns is rounded to
    ``dtype``. Scalers in a row are one in the file.

    Classes that are integers, whole floats or bools become int64. Several labels for each sample
    are int64 too, 1 or 0, with ``label="index"`` as with "name". Regressors and scalers have no
    labels: ``label=None`` is true of them anyway, and "index" is refused.

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
    shape = input_shape = _input_shape(steps, input_shape)
    last = steps[-1]
    _check_label(label, last)

    graph, is_network = _Graph(), isinstance(last, BaseConvNet)
    if is_network:
        shape = shapes.with_channels(last.image_shape_)
    scalers = steps[:-1] if is_network else steps
    A = _scale(graph, scalers, "X", (given_dtype, dtype), shape, channels_first=is_network)
    outputs: dict[str, tuple[DTypeLike, tuple]] = {}
    if not is_network:
        graph.name(A, "variable")
        outputs["variable"] = dtype, shape
    elif isinstance(last, ConvNetClassifier):
        T, n = _outputs(graph, last, A, dtype), len(last.classes_)
        labels = _labels(last) if label == "name" else None
        names = "label" if label else None, "probabilities"
        _predict(graph, last, T, dtype, labels, names)
        if label:
            kind = np.int64 if labels is None else labels.dtype
            outputs["label"] = kind, (n,) if last._has_labels else ()
        outputs["probabilities"] = dtype, (n,)
    else:
        T, targets = _outputs(graph, last, A, dtype), last._target_shape
        T = T if len(targets) == 1 else graph.add("Reshape", T, np.array([0, *targets]))
        graph.name(T, "variable")
        outputs["variable"] = dtype, targets

    def described(name, dtype, shape):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, ["n", *shape])

    from . import __version__

    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(last).__name__,
            [described("X", given_dtype, input_shape)],
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

    Of the methods of a CalibratedClassifierCV, whatever its classifier, skl2onnx 1.20 converts
    "sigmoid" rightly. Of "isotonic" it takes the value at the nearest threshold, where scikit-learn
    interpolates between two: probabilities are off by up to .2. It fails at "temperature".

    VotingClassifier and VotingRegressor get a converter too, skl2onnx's own with three repairs: it
    refuses ``flatten_transform=True``, which is scikit-learn's default and has no effect on
    predictions, and ``weights`` in a list, and it gives the estimators after one that is "drop" the
    weight of another.

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

    from skl2onnx.common._registration import get_converter, register_converter
    from skl2onnx.operator_converters import voting_classifier, voting_regressor

    for alias, convert in (
        ("SklearnVotingClassifier", voting_classifier.convert_voting_classifier),
        ("SklearnVotingRegressor", voting_regressor.convert_voting_regressor),
    ):
        options = get_converter(alias).get_allowed_options()
        register_converter(alias, _convert_voting(convert), overwrite=True, options=options)


class _Graph:
    """Nodes and constants of an ONNX graph."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, operator, *inputs, **attributes):
        """Add a node, and return the name of its output.

        Parameters
        ----------
        operator : str
        *inputs : str or ndarray
            Names of outputs, or constants.
        **attributes
            Of the operator.
        """
        inputs = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        out = self._new_name(operator)
        self._add_node(operator, inputs, out, attributes)
        return out

    def cast(self, X, given, dtype):
        """Convert X, of a dtype that is given, to another, and return the name of the result."""
        if given == dtype:
            return X
        kind = _onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", X, to=kind)

    def name(self, X, out):
        """Give the output X of the last node the name ``out``, or add one where X is the input."""
        if self.nodes and self.nodes[-1].output[0] == X:
            self.nodes[-1].output[0] = self.nodes[-1].name = out
        else:
            self._add_node("Identity", [X], out, {})

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

    def name(self, X, out):
        """Add an output of the name ``out`` that is X."""
        self._add_node("Identity", [X], out, {})

    def _new_name(self, prefix):
        return self._scope.get_unique_variable_name(f"skcnn_{prefix}")

    def _add_node(self, operator, inputs, out, attributes):
        self._container.add_node(operator, inputs, [out], name=out, **attributes)

    def _add_constant(self, name, array):
        kind = _onnx().helper.np_dtype_to_tensor_dtype(array.dtype)
        self._container.add_initializer(name, kind, array.shape, array.ravel())


def _scale(graph, scalers, X, dtypes, shape, channels_first=False):
    """Add scalers of images X, and return the name of the result.

    ``dtypes`` are those of X and of the result. X has the shape ``shape``, an image's, and keeps
    it; with ``channels_first`` it has any layout of (H, W, C) and becomes (n, C, H, W). No node
    comes before that, not even a Cast: converters that move the channels of other formats take the
    last two axes of (n, H, W) for those of signals, and onnx2tf exchanges them in square images.
    """
    given, dtype = dtypes
    mean, scale = _statistics(scalers, prod(shape))
    scaled = _dtype_of_scaling(mean, scale, given, dtype)
    mean, scale = mean.reshape(shape), scale.reshape(shape)
    if channels_first:
        X = _move_channels_first(graph, X, shape)
        mean, scale = mean.transpose(2, 0, 1), scale.transpose(2, 0, 1)
    X = graph.cast(X, given, scaled)
    high = mean.astype(scaled)
    for part in (high, (mean - high).astype(scaled)):
        if part.any():
            X = graph.add("Sub", X, _compact(part))
    if (scale != 1).any():
        X = graph.add("Div", X, _compact(scale.astype(scaled)))
    return graph.cast(X, scaled, dtype)


def _statistics(scalers, n_features):
    """Return the mean and the scale of scalers in a row: (X - mean) / scale is what they make."""
    mean, scale = np.zeros(n_features), np.ones(n_features)
    for scaler in scalers:
        if scaler.with_mean:
            mean = mean + scale * np.asarray(scaler.mean_, np.float64).ravel()
        if scaler.with_std:
            scale = scale * np.asarray(scaler.scale_, np.float64).ravel()
    return mean, scale


def _dtype_of_scaling(mean, scale, given, dtype):
    """Return the dtype in which images of a given dtype are scaled, for a result of ``dtype``."""
    if not mean.any() and (scale == 1).all():
        return dtype  # there is nothing to scale
    limits = np.finfo(np.float32)
    is_beyond = (np.abs(mean) > limits.max) | (scale > limits.max) | (scale < limits.tiny)
    is_exact = dtype == np.float32 and np.dtype(given).name in EXACT_IN_FLOAT32
    return np.dtype(np.float32 if is_exact and not is_beyond.any() else np.float64)


def _compact(values):
    """Return a statistic with sides of 1 where it is constant, which broadcasts all the same."""
    for axis in range(values.ndim):
        first = values.take([0], axis)
        if (values == first).all():
            values = first
    return values


def _move_channels_first(graph, X, shape):
    """Add the layout (n, C, H, W) of images X of any layout, and return the name of the result."""
    H, W, C = shape
    if C == 1:
        return graph.add("Reshape", X, np.array([0, 1, H, W]))  # 0: the side that it has, n
    X = graph.add("Reshape", X, np.array([0, H, W, C]))
    return graph.add("Transpose", X, perm=[0, 3, 1, 2])


def _outputs(graph, model, A, dtype):
    """Add a network on images A, (n, C, H, W), and return the name of T, (n, n_outputs)."""
    network = model._network
    for layer, params in zip(network.layers, model._values(network)):
        arrays = {name: array.astype(dtype) for name, array in params.items()}
        A = layer.to_onnx(graph, A, arrays)
    return A


def _predict(graph, classifier, T, dtype, labels, out, raw_scores=False):
    """Add the label and the probabilities of logits T of a dtype, with the names ``out``.

    ``labels`` are those of the classes, or None for their indices. A name of None
    leaves the label out.
    """
    # sigmoid(T) is softmax(-T/2, T/2), in which small probabilities are exact: the Sigmoid of
    # onnxruntime is 0 below 1e-7, and OneVsRestClassifier divides by the sum of some.
    factor = 1 if raw_scores else 1 / 2
    to_pair = np.array([-factor, factor], dtype)
    has_labels, axis, scores = classifier._has_labels, 1, T
    if has_labels:
        axis = 2
        scores = graph.add("Mul", graph.add("Unsqueeze", T, np.array([2])), to_pair[None, None])
    elif len(classifier.intercepts_[-1]) == 1:
        scores = graph.add("Mul", T, to_pair[None])
    if out[0] is not None:
        label = graph.add("ArgMax", scores, axis=axis, keepdims=0)
        graph.name(label if labels is None else graph.add("Gather", labels, label), out[0])
    if not raw_scores:
        scores = graph.add("Softmax", scores, axis=axis)
        if has_labels:
            scores = graph.add("Gather", scores, np.array(1), axis=2)
    elif has_labels:
        scores = T
    graph.name(scores, out[1])


def _labels(classifier):
    """Return the labels of the classes, int64 or str, or None where they are their indices."""
    classes = classifier.classes_.tolist()
    if classifier._has_labels or classes == [*range(len(classes))]:
        return None
    if all(isinstance(label, str) for label in classes):
        return np.array(classes, dtype=object)
    # A classifier takes no floats but whole ones.
    if all(isinstance(label, (int, float)) and abs(label) < 2**63 for label in classes):
        return np.array(classes, dtype=np.int64)
    raise ValueError(
        f"classes_={classes}, but labels in ONNX are integers, of 64 bits, or strings: encode y by "
        'sklearn.preprocessing.LabelEncoder before fit, or export with label="index".'
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


def _check_label(label, last):
    """Refuse a value of ``label`` that is unknown, or that the last step has no labels for."""
    if not (label is None or isinstance(label, str) and label in ("name", "index")):
        raise ValueError(f'label={label!r} must be "name", "index" or None.')
    if label == "index" and not isinstance(last, ConvNetClassifier):
        raise ValueError(
            f"label='index', but a {type(last).__name__} has no classes: leave label out."
        )


def _input_shape(steps, given):
    """Return the shape of an image of X: what is given, or that of ``fit``."""
    first = steps[0]
    n_features = first.n_features_in_
    if given is None:
        shape = getattr(first, "_sample_shape", None)  # StandardScaler has none
        return shape or (n_features,)
    shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    is_shape = 1 <= len(shape) <= 3 and all(map(shapes.is_whole_number, shape))
    if not is_shape or prod(shape) != n_features:
        raise ValueError(
            f"input_shape={given!r} must be (H, W), (H, W, C) or (n_features,), of {n_features} "
            "values an image."
        )
    if len(shape) > 1:
        for step in steps:
            if hasattr(step, "image_shape_"):
                shapes.check_shape(shape, step.image_shape_, step)
    return shape


def _convert_scaler(scope, operator, container):
    """Converter of skl2onnx: add a scaler."""
    graph, (X,), (out,) = _PartOfGraph(scope, container), operator.inputs, operator.outputs
    scaler, shape = operator.raw_operator, X.type.shape[1:]
    shape = _input_shape([scaler], shape if len(shape) > 1 else [scaler.n_features_in_])
    dtypes = _given_dtype(X), _float_of(out)
    graph.name(_scale(graph, [scaler], X.full_name, dtypes, shape), out.full_name)


def _convert_regressor(scope, operator, container):
    """Converter of skl2onnx: add a regressor."""
    graph, (out,) = _PartOfGraph(scope, container), operator.outputs
    graph.name(_converted_outputs(graph, operator, _float_of(out)), out.full_name)


def _convert_classifier(scope, operator, container):
    """Converter of skl2onnx: add a classifier."""
    graph, classifier = _PartOfGraph(scope, container), operator.raw_operator
    options = container.get_options(classifier, {"raw_scores": False, "nocl": False})
    dtype = _float_of(operator.outputs[1])
    T = _converted_outputs(graph, operator, dtype)
    labels = None if options["nocl"] else _labels(classifier)
    names = [variable.full_name for variable in operator.outputs]
    _predict(graph, classifier, T, dtype, labels, names, options["raw_scores"])


def _convert_voting(convert):
    """Return a converter of skl2onnx for a voting estimator, which calls its own.

    That expects ``weights`` as an array without those of estimators that are "drop", and
    ``flatten_transform=False``.
    """

    def converter(scope, operator, container):
        voting = operator.raw_operator
        parameters = voting.get_params(deep=False)
        if voting.weights is not None:
            parts = zip(voting.estimators, voting.weights)
            voting.weights = np.array([weight for (_, part), weight in parts if part != "drop"])
        if "flatten_transform" in parameters:
            voting.flatten_transform = False
        try:
            convert(scope, operator, container)
        finally:
            vars(voting).update(parameters)

    return converter


def _converted_outputs(graph, operator, dtype):
    """Add a network of skl2onnx, computed in float32, and return the name of T, of a dtype."""
    (X,), model = operator.inputs, operator.raw_operator
    shape, compute = shapes.with_channels(model.image_shape_), np.dtype(np.float32)
    A = _scale(graph, [], X.full_name, (_given_dtype(X), compute), shape, channels_first=True)
    return graph.cast(_outputs(graph, model, A, compute), compute, dtype)


def _given_dtype(variable):
    """Return the dtype of an input of skl2onnx."""
    from skl2onnx.common.data_types import guess_proto_type

    return _onnx().helper.tensor_dtype_to_np_dtype(guess_proto_type(variable.type))


def _float_of(variable):
    """Return the dtype of an output of skl2onnx, float64 or else float32."""
    return np.dtype(np.float64 if _given_dtype(variable) == np.float64 else np.float32)


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
