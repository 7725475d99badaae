"""The architecture: from the parameters of an estimator to a row of layers."""

from .._engine.network import Network
from .._nn.convolution import Convolution
from .._nn.dense import Dense
from .._nn.dropout import Dropout
from .arguments import SEQUENCES, short_repr
from .shapes import check_image_shape, is_whole_number, with_channels

# The parameters that make a network, with a value for each convolution layer, and for each hidden.
CONVOLUTION_SIZES = ("n_filters", "K", "pool_size", "pooling")
SIZES = (*CONVOLUTION_SIZES, "hidden_layer_sizes")

# The words that may be in their values; all but "pooling" also have whole numbers.
WORDS = {"pool_size": ("global",), "pooling": ("max", "average")}


def layer_sizes(estimator):
    """Return the sizes of the layers, a tuple for each parameter, by its name.

    Raises
    ------
    ValueError
        If a tuple has the wrong length, or an entry that is not a size.
    """
    sizes = {name: as_tuple(name, getattr(estimator, name)) for name in SIZES}
    n_layers = len(sizes["n_filters"])
    for name in CONVOLUTION_SIZES[1:]:
        given = getattr(estimator, name)
        if not isinstance(given, SEQUENCES):
            sizes[name] *= n_layers
        if len(sizes[name]) != n_layers:
            raise ValueError(
                f"{name}={given} has {len(sizes[name])} entries, but n_filters="
                f"{estimator.n_filters} makes {n_layers} convolution layers: give one for each "
                "layer, or one value for all of them."
            )
    return sizes


def check_sizes(estimator):
    """Refuse parameters that ask for another network than the one to go on with."""
    asked, found = layer_sizes(estimator), {**estimator._sizes}
    image_shape, fitted_shape = estimator.image_shape, estimator.image_shape_
    if image_shape is not None:
        check_image_shape(image_shape)
        if with_channels(image_shape) != with_channels(fitted_shape):
            asked["image_shape"], found["image_shape"] = image_shape, fitted_shape
    for name, value in asked.items():
        given, fitted = getattr(estimator, name), found[name]
        if value != fitted:
            if not isinstance(given, SEQUENCES) and len({*fitted}) == 1:
                fitted = fitted[0]
            raise ValueError(
                f"{name}={short_repr(given)}, but the model to go on with has "
                f"{name}={short_repr(fitted)}: set it back, or call fit with warm_start=False."
            )


def as_tuple(name, value):
    """Return a parameter as a tuple with a value for each layer.

    Raises
    ------
    ValueError
        If a value is not allowed, or there is none, except for hidden layers.
    """
    is_sequence = isinstance(value, SEQUENCES) and getattr(value, "ndim", 1) > 0
    sizes = tuple(value) if is_sequence else (value,)
    words = WORDS.get(name, ())
    for size in sizes:
        is_word = isinstance(size, str) and size in words
        is_number = name != "pooling" and is_whole_number(size) and size >= 1
        if not (is_word or is_number):
            numbers = ["a whole number of at least 1"] if name != "pooling" else []
            allowed = " or ".join([*numbers, *(f'"{word}"' for word in words)])
            raise ValueError(
                f"{name}={short_repr(value)} must have {allowed} for each layer, but got "
                f"{short_repr(size)}."
            )
    if not sizes and name != "hidden_layer_sizes":
        raise ValueError(f"{name}={value!r} has no layer: give a value for each.")
    return tuple(str(size) if isinstance(size, str) else int(size) for size in sizes)


def make_network(image_shape, sizes, n_outputs, dropout=False):
    """Return a network of convolution layers, then dense layers.

    Parameters
    ----------
    image_shape : tuple (H, W, C)
    sizes : dict
        As from `layer_sizes`.
    n_outputs : int
    dropout : bool, default=False
        Whether the inputs of the dense layers can be dropped.
    """
    layers, shape = [], image_shape

    def add(layer):
        layers.append(layer)
        return layer.out_shape

    for arguments in zip(*(sizes[name] for name in CONVOLUTION_SIZES), strict=True):
        shape = add(Convolution(shape, *arguments, is_first=not layers))
    n_dropout_inputs = 0
    for n_out in (*sizes["hidden_layer_sizes"], None):
        if dropout:
            shape = add(Dropout(shape, first=n_dropout_inputs))
            n_dropout_inputs += layers[-1].n_dropout_inputs
        is_output = n_out is None
        shape = add(Dense(shape, n_outputs if is_output else n_out, is_output=is_output))
    return Network(layers)
