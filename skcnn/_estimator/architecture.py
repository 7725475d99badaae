"""The architecture: from the parameters of an estimator to a row of layers."""

from .._arguments import SEQUENCES, as_sizes
from .._engine.network import Network
from .._nn.convolution import Convolution
from .._nn.dense import Dense
from .._nn.dropout import Dropout

SIZES = ("n_filters", "K", "pool_size", "hidden_layer_sizes")  # parameters that make a network


def layer_sizes(estimator):
    """Return the sizes of the layers, a tuple for each parameter, by its name.

    Raises
    ------
    ValueError
        If a tuple has the wrong length, or an entry that is not a size.
    """
    sizes = {name: as_sizes(name, getattr(estimator, name)) for name in SIZES}
    n_layers = len(sizes["n_filters"])
    for name in ("K", "pool_size"):
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

    per_layer = zip(sizes["n_filters"], sizes["K"], sizes["pool_size"], strict=True)
    for n_filters, K, pool_size in per_layer:
        shape = add(Convolution(shape, n_filters, K, pool_size, is_first=not layers))
    n_dropout_inputs = 0
    for n_out in (*sizes["hidden_layer_sizes"], None):
        if dropout:
            shape = add(Dropout(shape, first=n_dropout_inputs))
            n_dropout_inputs += layers[-1].n_dropout_inputs
        is_output = n_out is None
        shape = add(Dense(shape, n_outputs if is_output else n_out, is_output=is_output))
    return Network(layers)
