"""Small random networks of every kind of layer, and what the oracle says of them."""

import numpy as np

from skcnn._engine.parameters import Parameters
from skcnn._estimator.architecture import make_network
from skcnn._nn.losses import LogLoss

NAMES = ("n_filters", "K", "pool_size", "pooling", "hidden_layer_sizes")
ARCHITECTURES = {
    "one layer": ((6, 5, 2), (3,), (3,), (2,), ("max",), ()),
    "without pooling": ((5, 6, 2), (5,), (4,), (1,), ("max",), (3,)),
    "two layers": ((7, 6, 1), (2, 3), (2, 3), (2, 1), ("max", "max"), (4,)),
    "three layers": ((9, 8, 3), (2, 3, 4), (3, 4, 3), (2, 1, "global"), ("max",) * 3, (5, 4)),
    "large windows": ((13, 9, 1), (2,), (3,), (6,), ("max",), ()),  # a remainder at both edges
    "average": ((7, 5, 2), (3, 2), (3, 2), (3, 2), ("average", "average"), (4,)),
    "average, then max": ((8, 9, 1), (5, 2), (3, 3), (2, "global"), ("average", "max"), ()),
    "average over signals": ((1, 30, 2), (2, 3), (5, 3), (2, "global"), ("max", "average"), ()),
}


def random_network(architecture="two layers", n_outputs=3, dtype=np.float64, **options):
    """Return a network and its parameters, intercepts included, drawn at random."""
    image_shape, *sizes = ARCHITECTURES[architecture]
    dropout = options.pop("dropout", False)
    network = make_network(image_shape, dict(zip(NAMES, sizes)), n_outputs, dropout)
    rng = np.random.RandomState(0)
    values = network.draw(rng, dtype)
    for params in values:
        for name in ("b", "c"):
            if name in params:
                params[name] += (0.1 * rng.randn(len(params[name]))).astype(dtype)
    return network, Parameters(network, values, **options)


def random_data(network, n, n_classes=3):
    """Return images, classes, and weights of sum 1."""
    rng = np.random.RandomState(1)
    X, y, s = rng.randn(n, network.n_values), rng.randint(n_classes, size=n), rng.rand(n) + 0.1
    return X, y, s / s.sum()


def for_the_oracle(network, params):
    """Return the convolution and the dense layers as the oracle wants them."""
    convolutions, denses = [], []
    for layer, arrays in zip(network.layers, params):
        if layer.group == "filters":
            pooling = layer.pooling.window, layer.pooling.name
            convolutions.append((arrays["W"], arrays["b"], *pooling))
        elif layer.group == "dense":
            denses.append((layer.to_public("V", arrays["V"]).T, arrays["c"]))
    return convolutions, denses


def loss_of(network):
    """Return the log-loss of a network."""
    return LogLoss(network.n_outputs)
