"""How fast the compiled sums of products of a convolution are, beside products of matrices.

Run ``python benchmarks/kernels.py``; it needs numba. `weighted_sums` and `inner_products` of
skcnn/_compiled/simd.py compute layers of filters of side 3, of 16 float32 images, as the compiled
loops call them; what surrounds them in a layer, such as ReLU and pooling, is left out. All is
measured in turn with the product of two matrices of 1024 x 1024 in NumPy, with one thread. Figures
are medians of several measurements, and each of these is the mean of enough calls for 20 ms.

Prediction is the forward pass, and training that and the gradients of the filters and of the input.
GFLOP/s count two operations for each multiplication that the layer needs, with zeros of the padding
among them. The first layer of a network, such as that of colour images, needs no gradient of its
input; the others do.
"""

import argparse
import statistics
from functools import partial
from typing import NamedTuple

import measure
import numpy as np
import peers
from threadpoolctl import threadpool_limits

SIDE = 3  # of the filters
N_IMAGES = 16
POOL = 2  # rows whose response is computed before they are pooled
N_MATRIX = 1024

SGEMM, FORWARD, TRAINING = "sgemm", "prediction", "training"
FILTERS, INPUT = "gradient of filters", "gradient of input"


class Layer(NamedTuple):
    """Sizes of a convolution layer."""

    channels: int
    filters: int
    side: int

    def __str__(self):
        """Return the name in the table."""
        return f"{self.channels} to {self.filters}, {self.side} x {self.side}"

    @property
    def flop(self):
        """Operations of one direction for all images: each is as much work as the others."""
        return 2 * self.channels * SIDE**2 * self.filters * self.side**2 * N_IMAGES


IN_MEAN = [Layer(32, 64, 14), Layer(64, 128, 8), Layer(64, 64, 14), Layer(32, 32, 28)]
LAYERS = [*IN_MEAN, Layer(3, 32, 32)]


def compiled():
    """Return the two passes of a convolution layer, as functions of arrays and sizes."""
    from numba import njit

    from skcnn._compiled import simd
    from skcnn._compiled.jit import OPTIONS
    from skcnn._compiled.simd import Rows, Runs

    n_together = simd.FILTERS

    @njit(**OPTIONS)
    def responses(W, x, offsets, z, n_filters, sizes):
        """Take rows of pixels through filters; after n_kept rows, z is written again."""
        n_rows, length, row, n_kept, z_row, z_channel = sizes
        for i in range(n_rows):
            weights = Rows(W, offsets.size, 1)
            to = Rows(z[i % n_kept * z_row :], z_channel, 1)
            simd.weighted_sums(weights, x[i * row :], offsets, to, n_filters, length, False)

    @njit(**OPTIONS)
    def gradients(dz, x, offsets, dW, n_filters, sizes):
        """Add the gradients of filters, for as many filters at a time as skcnn takes."""
        n_rows, length, row, channel = sizes
        runs, n_taps = Runs(n_rows, row, length), offsets.size
        for f in range(0, n_filters, n_together):
            n = min(n_together, n_filters - f)
            values, sums = Rows(dz[f * channel :], channel, 1), Rows(dW[f * n_taps :], n_taps, 1)
            simd.inner_products(values, n, x, offsets, runs, sums)

    return responses, gradients


class Arrays:
    """The arrays of a layer as the compiled loops have them, and functions that compute it.

    The images come last, and rows of ``side + SIDE - 1`` pixels have the padding within.
    """

    def __init__(self, layer, functions):
        from skcnn._compiled.layout import aligned_zeros, spread
        from skcnn._compiled.plan import tap_offsets
        from skcnn._nn.convolution import Convolution

        self.layer = layer
        self._responses, self._gradients = functions
        C, F, n = layer
        self._zeros = partial(aligned_zeros, dtype=np.dtype("float32"))
        self._padded = n + SIDE - 1
        self._length, self._row = n * N_IMAGES, self._padded * N_IMAGES
        self._channel = self._padded * self._row
        self._origin = SIDE // 2 * (self._row + N_IMAGES)
        rng = np.random.default_rng(0)
        self._x, self._images = self._new_images(C, rng)
        self._dz, self._gradient = self._new_images(F, rng)
        self._W = self._zeros(F * C * SIDE**2)
        self._W[:] = rng.standard_normal(self._W.size)
        self._reversed, self._dW = self._zeros(self._W.size), self._zeros(self._W.size)
        filters = self._filters[..., ::-1, ::-1].transpose(1, 0, 2, 3)
        self._reversed[:] = filters.ravel()
        convolution = Convolution((n, n, C), F, SIDE, pool_size=1, is_first=False)
        self._taps, self._taps_of_dz = (
            tap_offsets(convolution, n_channels, self._row, N_IMAGES).astype(np.uintp)
            for n_channels in (C, F)
        )
        self._z_channel, self._dx_channel = spread(POOL * self._row), spread(n * self._length)
        self._z, self._dx = self._zeros(F * self._z_channel), self._zeros(C * self._dx_channel)

    @property
    def _filters(self):
        """The filters, (F, C, SIDE, SIDE)."""
        return self._W.reshape(self.layer.filters, self.layer.channels, SIDE, SIDE)

    def _new_images(self, n_channels, rng):
        """Return random images in their padding as a vector and as (C, H, W, m)."""
        x = self._zeros(n_channels * self._channel + (SIDE - 1) * N_IMAGES)
        size = n_channels * self._channel
        images = x[:size].reshape(n_channels, self._padded, self._padded, N_IMAGES)
        inner = slice(SIDE // 2, self._padded - (SIDE - 1) // 2)
        images[:, inner, inner] = rng.standard_normal(images[:, inner, inner].shape)
        return x, images

    def forward(self):
        """Compute the response of all filters, a pooling window of rows after the other."""
        sizes = self.layer.side, self._length, self._row, POOL, self._row, self._z_channel
        self._responses(self._W, self._x, self._taps, self._z, self.layer.filters, sizes)

    def gradient_of_filters(self):
        """Add the gradient of the filters."""
        sizes = self.layer.side, self._length, self._row, self._channel
        dz = self._dz[self._origin :]
        self._gradients(dz, self._x, self._taps, self._dW, self.layer.filters, sizes)

    def gradient_of_input(self):
        """Compute the gradient of the input, the response of the filters reversed."""
        n = self.layer.side
        sizes = n, self._length, self._row, n, self._length, self._dx_channel
        taps, C = self._taps_of_dz, self.layer.channels
        self._responses(self._reversed, self._dz, taps, self._dx, C, sizes)

    def all_of_training(self):
        """Compute all three."""
        self.forward()
        self.gradient_of_filters()
        self.gradient_of_input()

    def check(self):
        """Compare what is computed with NumPy."""
        C, F, n = self.layer
        self.all_of_training()
        inner = slice(SIDE // 2, SIDE // 2 + n)
        dZ, z, dW = self._gradient[:, inner, inner], 0.0, np.empty((F, C, SIDE, SIDE))
        dX = np.zeros(self._images.shape)
        for u, v in np.ndindex(SIDE, SIDE):
            tap = np.s_[:, u : u + n, v : v + n]
            W = self._filters[..., u, v]
            z = z + np.tensordot(W, self._images[tap], 1)
            dW[..., u, v] = np.tensordot(dZ, self._images[tap], ((1, 2, 3), (1, 2, 3)))
            dX[tap] += np.tensordot(W.T, dZ, 1)
        window = self._z.reshape(F, -1)[:, : POOL * self._row].reshape(F, POOL, -1, N_IMAGES)
        dx = self._dx.reshape(C, -1)[:, : n * self._length].reshape(C, n, n, N_IMAGES)
        for found, expected in (
            (window[:, :, :n], z[:, -POOL:]),
            (self._dW.reshape(dW.shape), dW),
            (dx, dX[:, inner, inner]),
        ):
            tolerance = 1e-4 * np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def figures(repeats):
    """Return GFLOP/s by layer and what is computed."""
    functions = compiled()
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, N_MATRIX, N_MATRIX), dtype="float32")
    product = np.empty_like(a)
    runs, flop = {}, {}
    for layer in LAYERS:
        arrays = Arrays(layer, functions)
        arrays.check()
        for name, function, n in (
            (SGEMM, partial(np.matmul, a, b, out=product), 2 * N_MATRIX**3),
            (FORWARD, arrays.forward, layer.flop),
            (FILTERS, arrays.gradient_of_filters, layer.flop),
            (INPUT, arrays.gradient_of_input, layer.flop),
            (TRAINING, arrays.all_of_training, 3 * layer.flop),
        ):
            runs[layer, name], flop[layer, name] = measure.mean_of_calls(function), n
    with threadpool_limits(1):
        times = measure.in_turn(runs, repeats)
    result = {str(layer): {} for layer in LAYERS}
    for (layer, name), seconds in times.items():
        result[str(layer)][name] = [flop[layer, name] / t / 1e9 for t in seconds]
    return result


def report(result):
    """Print the figures."""
    names = [FORWARD, TRAINING, FILTERS, INPUT]
    shares = {
        layer: {name: measure.ratio(speeds, name, SGEMM) for name in names}
        for layer, speeds in result.items()
    }
    means = {
        name: statistics.geometric_mean(shares[str(layer)][name] for layer in IN_MEAN)
        for name in names
    }
    print("\nGFLOP/s of one thread:\n")
    rows = [
        [layer, *(f"{measure.median(speeds[name]):.1f}" for name in (SGEMM, *names))]
        for layer, speeds in result.items()
    ]
    print(measure.table(["channels to filters, pixels", SGEMM, *names], rows))
    print("\nShares of sgemm (median of the repeats):\n")
    shares[f"geometric mean of the first {len(IN_MEAN)}"] = means
    rows = [[layer, *(f"{of[name]:.2f}" for name in names)] for layer, of in shares.items()]
    print(measure.table(["channels to filters, pixels", *names], rows))


def main():
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    if not peers.fast_is_installed():
        parser.error("numba is not installed")
    print(measure.describe(measure.machine()))
    result = figures(arguments.repeats)
    report(result)
    measure.save(arguments.json, {"machine": measure.machine(), "GFLOP_a_second": result})


if __name__ == "__main__":
    main()
