"""
Convolution by hand
===================

What a convolution layer does is a few lines of loops. Here they are, first for a signal and then
for a photograph, and what they give is compared with ``scipy.signal.convolve`` and with the first
layer of a network. The window that SciPy takes is reversed, and there is a reason; the gradient
that trains a network needs it the other way round, so that it is SciPy's own convolution. The
largest differences are printed, and signal, photograph and gradient drawn into
``convolution_by_hand.png``. It takes a few seconds and downloads nothing.
"""

import numpy as np
from scipy.signal import convolve
from sklearn.datasets import load_sample_images

from skcnn import ConvNetClassifier

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("This example needs Matplotlib: pip install matplotlib") from None

# %%
# One dimension
# -------------
#
# Every value of the signal puts down a copy of the window, multiplied by that value, and the copies
# are added up. Half of a copy is before the value and half after it; what falls off the ends is
# dropped, so that the result is as long as the signal.


def convolve_by_hand(x, w):
    half = len(w) // 2
    result = np.zeros(len(x) + 2 * half)
    for i in range(len(x)):
        for u in range(len(w)):
            result[i + u] += x[i] * w[u]
    return result[half : half + len(x)]


rng = np.random.RandomState(0)
signal = np.repeat([0.0, 1.0, 0.3, 1.2, 0.0], 20) + rng.normal(0, 0.08, size=100)
window = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.03, 0.01])
by_hand = convolve_by_hand(signal, window)
by_scipy = convolve(signal, window, mode="same")
print(f"one dimension, by hand and by SciPy:    {np.abs(by_hand - by_scipy).max():.1e}")

# %%
# Why the window is reversed
# --------------------------
#
# Turn the loops around, and ask for one value of the result: which values of the signal have put
# something there? The copy of x[i] reaches it with a later value of the window the earlier x[i] is.
# So the signal is read forwards and the window backwards.
#
# A layer of a network asks another question: how much does the piece of signal around here look
# like the window? It lays the window on the signal as it is, multiplies and adds up. This is called
# cross-correlation, and it is the convolution with the reversed window. An impulse shows the
# difference: convolution turns it into the window, cross-correlation into the reversed window.


def respond(x, w):
    """The response Z to a window: at each place, what is under the window times the window."""
    half = len(w) // 2
    framed = np.pad(x, half)
    return np.array([np.sum(framed[i : i + len(w)] * w) for i in range(len(x))])


impulse = np.zeros(21)
impulse[10] = 1
spread, response = convolve_by_hand(impulse, window), respond(impulse, window)
assert np.array_equal(spread[7:14], window)
assert np.array_equal(response[7:14], window[::-1])
difference = respond(signal, window) - convolve(signal, window[::-1], mode="same")
print(f"cross-correlation and reversed window:  {np.abs(difference).max():.1e}")

# %%
# Two dimensions
# --------------
#
# The same for a grey photograph and a filter of 3 x 3 values. This one is positive above and
# negative below, so that it responds where the photograph is brighter above than below. Reversed,
# it would respond with the other sign.

photographs = np.stack([picture[::4, ::4].mean(axis=2) for picture in load_sample_images().images])
photographs = (photographs - photographs.mean()) / photographs.std()
prewitt = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -1.0, -1.0]])


def respond_2d(X, W):
    """The response Z of one image to one filter, with zeros around the image."""
    half = len(W) // 2
    framed = np.pad(X, half)
    Z = np.empty(X.shape)
    for i, j in np.ndindex(X.shape):
        Z[i, j] = np.sum(framed[i : i + len(W), j : j + len(W)] * W)
    return Z


X = photographs[0]
Z = respond_2d(X, prewitt)
difference = Z - convolve(X, prewitt[::-1, ::-1], mode="same")
print(f"two dimensions, by hand and by SciPy:   {np.abs(difference).max():.1e}")

# %%
# It is what the first layer of a network computes, before ReLU sets negative responses to 0. With
# ``max_iter=0`` a network is not trained and has the filter that was drawn at random.

model = ConvNetClassifier(max_iter=0, random_state=0).fit(photographs, ["temple", "flower"])
by_layer = model.feature_maps(X[np.newaxis])[0, :, :, 0]
difference = by_layer - np.maximum(respond_2d(X, model.filters_[0]), 0)
print(f"the first layer of a network:           {np.abs(difference).max():.1e}")

# %%
# The gradient
# ------------
#
# Training asks how a loss L changes with each pixel of the image, or of the maps of the layer
# before. Let G be how L changes with each value of Z. A pixel contributes to the responses around
# it: to those above it through the lower rows of the filter, and so on. So in ::
#
#     dL/dX[i, j] = sum over u, v of G[i - u + 1, j - v + 1] W[u, v]
#
# the filter is read backwards. Each G puts down a copy of the filter, which is what convolution is:
# SciPy's own, with the filter as it stands.
#
# Here L is half the sum of the squares of the responses after ReLU, so that G is ReLU(Z). For a
# piece of the photograph, the gradient is held against what L does when a pixel is a little
# brighter or darker.


def loss(X):
    return np.sum(np.maximum(respond_2d(X, prewitt), 0) ** 2) / 2


def gradient(X):
    G = np.maximum(respond_2d(X, prewitt), 0)
    return convolve(G, prewitt, mode="same")


piece, step = X[40:54, 60:74], 1e-4
differences = np.empty(piece.shape)
for i, j in np.ndindex(piece.shape):
    change = np.zeros(piece.shape)
    change[i, j] = step
    differences[i, j] = (loss(piece + change) - loss(piece - change)) / (2 * step)
deviation = np.abs(gradient(piece) - differences).max() / np.abs(differences).max()
print(f"gradient and differences, relative:     {deviation:.1e}")

# %%
# The two results for the signal lie on top of each other. Below, the response is red where the
# photograph is brighter above than below; the gradient, where brighter pixels make L greater.

figure = plt.figure(figsize=(10, 6), layout="constrained")
top, bottom = figure.subfigures(2, 1)
left, right = top.subplots(1, 2, width_ratios=[2, 1])
left.plot(signal, color="0.7", label="signal")
left.plot(by_hand, linewidth=4, alpha=0.5, label="convolution by hand")
left.plot(by_scipy, "k--", linewidth=1, label="by SciPy")
left.set(xlabel="position", ylim=(None, 1.6), title="A signal and a window of 7 values")
left.legend(loc="upper center", ncols=3)
places = np.arange(-10, 11)
right.plot(places, spread, "o-", label="convolution")
right.plot(places, response, "s--", label="cross-correlation")
right.set(xlabel="position", ylim=(None, 0.6), title="What an impulse at 0 becomes")
right.legend(loc="upper center")

pictures = {"photograph X": X, "response Z": Z, "gradient dL/dX": gradient(X)}
for ax, (title, picture) in zip(bottom.subplots(1, 3), pictures.items()):
    limit = np.abs(picture).max()
    cmap = "gray" if picture is X else "RdBu_r"
    ax.imshow(picture, cmap=cmap, vmin=picture.min() if picture is X else -limit, vmax=limit)
    ax.set(title=title, xticks=[], yticks=[])
figure.savefig("convolution_by_hand.png", dpi=100)
print("\nPicture: convolution_by_hand.png")
