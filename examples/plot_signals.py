"""
Signals of several channels: which way did it go?
=================================================

Three sensors stand beside a path. Whatever passes is heard by one after the other, and what
happens further away by all at once; there is noise in each. The network tells three classes apart:
from left to right, from right to left, and far away. When it happened does not matter to it, as
the maps are pooled over their whole length. The filters that it learns are drawn into
``signals.png``.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skcnn import ConvNetClassifier, FilterDisplay

names = ["left to right", "right to left", "far away"]
LENGTH, DELAY = 120, 5  # of a signal, and from one sensor to the next, in time steps


def recordings(n, random_state):
    """Signals of shape (n, LENGTH, 3), and what each of them is."""
    y = random_state.randint(3, size=n)
    middle = random_state.uniform(20, LENGTH - 20, size=n)
    delays = np.array([[-DELAY, 0, DELAY], [DELAY, 0, -DELAY], [0, 0, 0]])[y]
    times = np.arange(LENGTH)[:, np.newaxis]
    distance = times - (middle[:, np.newaxis] + delays)[:, np.newaxis]
    pulse = 2 * np.exp(-np.square(distance / 2))
    return pulse + random_state.normal(0, 1, size=pulse.shape), y


X, y = recordings(4000, np.random.RandomState(0))
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# A signal is an image of one row, and ``image_shape`` says so: without it, (n, 120, 3) would be n
# images of one channel. A filter is 15 time steps long and sees all channels at once.

model = ConvNetClassifier(
    n_filters=6,
    K=15,
    pool_size="global",
    image_shape=(1, LENGTH, 3),
    eta=0.01,
    learning_rate="cosine",
    batch_size=32,
    max_iter=20,
    tol=None,
    random_state=0,
).fit(X_train, y_train)
linear = LogisticRegression(max_iter=1000).fit(X_train.reshape(len(X_train), -1), y_train)
print(f"filters of shape {model.filters_.shape[1:]}: (row, time, channel)")
print(f"this network        {model.score(X_test, y_test):.3f}")
print(f"LogisticRegression  {linear.score(X_test.reshape(len(X_test), -1), y_test):.3f}")

# %%
# A filter that waits for the sensors one after the other peaks in one channel after the other: the
# channels have the colours of the sensors. The learnt ones are labelled with the class for which
# they speak most.

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure = plt.figure(figsize=(10, 8), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.6])
for label, ax in enumerate(top.subplots(1, 3, sharey=True)):
    signal = X_test[y_test == label][0]
    ax.plot(signal + 6 * np.arange(3), linewidth=0.8)
    ax.set(title=names[label], xlabel="time step")
    ax.set_yticks(6 * np.arange(3), ["left", "middle", "right"])
display = FilterDisplay.from_estimator(model, ax=bottom.subplots())
learnt = display.axes_[0, 1]
learnt.set_yticks(learnt.get_yticks(), [names[k] for k in model.coefs_[0].argmax(axis=1)])
learnt.set_ylabel("speaks most for")
figure.savefig("signals.png", dpi=100)
print("\nPicture: signals.png")
