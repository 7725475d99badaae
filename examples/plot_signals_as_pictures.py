"""
Signals as pictures: does it come again, and which way round?
=============================================================

A short tune lies anywhere in each signal. In one class it comes again later, in another it comes
again backwards, and in the third it does not. What the tune is differs from signal to signal, so
there is nothing to learn by heart: all depends on how the values of a signal compare with each
other. A picture shows that. In a Gramian angular field each pixel compares two moments, so a tune
that comes again is a dark line along the diagonal, and one that comes again backwards a dark line
across it. The pictures are drawn into ``signals_as_pictures.png``.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skcnn import ConvNetClassifier

names = ["again", "backwards", "once"]
LENGTH, TUNE = 32, 14  # of a signal and of the tune, in time steps


def recordings(n, random_state):
    """Signals of shape (n, LENGTH), and what each of them is."""
    y = random_state.randint(3, size=n)
    window = np.hanning(9)[1:-1]
    noise = random_state.normal(size=(n, LENGTH + len(window) - 1))
    X = np.stack([np.convolve(row, window, mode="valid") for row in noise])
    X /= np.linalg.norm(window)
    for signal, label in zip(X, y):
        first = random_state.randint(LENGTH - 2 * TUNE + 1)
        second = random_state.randint(first + TUNE, LENGTH - TUNE + 1)
        tune = signal[first : first + TUNE]
        if names[label] != "once":
            step = 1 if names[label] == "again" else -1
            signal[second : second + TUNE] = tune[::step]
    return X + random_state.normal(0, 0.05, size=X.shape), y


X, y = recordings(2000, np.random.RandomState(0))

# %%
# A signal is scaled to values from -1 to 1, each of which is the cosine of an angle. The field of
# differences has the sines of the differences of angles: it is 0 where two values are equal. This
# is what ``GramianAngularField(method="difference")`` of pyts returns.


def gramian_fields(X):
    """Pictures of shape (n, length, length) of signals of shape (n, length)."""
    low, high = X.min(axis=1, keepdims=True), X.max(axis=1, keepdims=True)
    angles = np.arccos(np.clip(2 * (X - low) / (high - low) - 1, -1, 1))
    return np.sin(angles[:, :, np.newaxis] - angles[:, np.newaxis])


pictures = gramian_fields(X).astype("float32")

# %%
# The pictures go into a network for grey images as they are. A network for the signals themselves,
# of twice as many filters, has to find the comparisons by itself. A linear model cannot compare.

settings = dict(eta=0.003, learning_rate="cosine", tol=None, random_state=0)
of_pictures = ConvNetClassifier(
    n_filters=(8, 16), K=5, pool_size=(2, "global"), batch_size=32, max_iter=20, **settings
)
of_signals = ConvNetClassifier(
    n_filters=(16, 32),
    K=9,
    pool_size=(2, "global"),
    image_shape=(1, LENGTH),
    max_iter=40,
    **settings,
)
models = {
    "network, pictures": (of_pictures, pictures),
    "network, signals": (of_signals, X),
    "LogisticRegression, signals": (LogisticRegression(max_iter=1000), X),
}
train, test = train_test_split(np.arange(len(X)), random_state=0)
for name, (model, samples) in models.items():
    model.fit(samples[train], y[train])
    print(f"{name:29}{model.score(samples[test], y[test]):.3f}")

# %%
# A signal of each class above its picture, whose dark pixels are pairs of moments with equal
# values. The diagonal itself compares each moment with itself.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure, axes = plt.subplots(
    2, 3, figsize=(9, 4.5), height_ratios=[1, 3], sharex=True, layout="constrained"
)
for label, (above, below) in enumerate(axes.T):
    example = np.flatnonzero(y == label)[0]
    above.plot(X[example])
    above.set(title=names[label])
    below.imshow(np.abs(pictures[example]), cmap="gray", vmax=0.5)
    below.set(xlabel="time step")
axes[1, 0].set_ylabel("time step")
figure.savefig("signals_as_pictures.png", dpi=100)
print("\nPicture: signals_as_pictures.png")
