"""
Spectra: a share of a mixture, behind baselines and scatter
===========================================================

The near-infrared spectrum of a mixture is the sum of the absorption bands of its substances, each
times its share. If that were all, a linear method would recover a share exactly. But powders
scatter light, which multiplies a whole spectrum by a factor of its own, and a curved baseline lies
below it. The spectra are made here, so that how much they scatter and how many there are can be
chosen.

R2 on 1,000 other spectra is printed for partial least squares, the usual method, on spectra as they
are and on preprocessed ones, and for a network of two layers, which takes the spectra unprocessed.
Where nothing scatters the linear method is right, and better; with 100 spectra that scatter the
usual preprocessing is better, and from some hundreds on the network is. Spectra, filters and
errors are drawn into ``spectra.png``.
"""

import numpy as np
from scipy.signal import savgol_filter
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skcnn import ConvNetRegressor, ImageScaler

LENGTH = 200
wavelengths = np.linspace(1100, 2500, LENGTH)  # nm


def bands(heights, centers, widths):
    """The spectrum of a substance."""
    return heights @ np.exp(-np.square((wavelengths - centers[:, None]) / widths[:, None]) / 2)


# The substance of interest has two narrow bands; each of five others has four broad ones.
random_state = np.random.RandomState(42)
substances = [bands(np.array([1, 0.6]), np.array([1690, 2270]), np.array([25, 30]))]
for _ in range(5):
    ranges = (0.3, 1), (1150, 2450), (40, 120)
    substances.append(bands(*(random_state.uniform(*limits, size=4) for limits in ranges)))


def spectra(n, scatter, random_state):
    """Absorbances of shape (n, LENGTH), and the share of the first substance, from 0 to 1."""
    shares = random_state.dirichlet(np.ones(len(substances)), size=n)
    X = shares @ substances * np.exp(random_state.normal(0, scatter, size=(n, 1)))
    t = np.linspace(-1, 1, LENGTH)
    X += random_state.normal(0, [0.3, 0.3, 0.15], size=(n, 3)) @ [t**0, t, t**2]
    X += random_state.normal(0, 0.004, size=X.shape)
    return X.astype(np.float32), shares[:, 0]


# %%
# The usual preprocessing is a derivative, which removes most of a baseline, then the standard
# normal variate: each spectrum has mean 0 and variance 1, which removes a factor. The number of
# components is chosen by cross-validation.


def normalised_derivatives(X):
    X = savgol_filter(X, window_length=11, polyorder=2, deriv=1)
    return (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)


partial_least_squares = GridSearchCV(
    PLSRegression(scale=False),
    {"n_components": range(1, 13)},
    scoring="neg_mean_squared_error",
)

# %%
# For the network, a row is a signal, an image of one row: ``image_shape=(1, LENGTH)``. One mean and
# one standard deviation for all wavelengths keep the form of a spectrum, and a tenth of the scaled
# values makes the outputs of the untrained network small beside the targets.


def network(n):
    """A network that takes about 2,500 steps, however many spectra there are."""
    batch_size = min(32, n // 4)
    convnet = ConvNetRegressor(
        n_filters=(8, 16),
        K=9,
        pool_size=2,
        hidden_layer_sizes=(64,),
        image_shape=(1, LENGTH),
        eta=0.002,
        learning_rate="cosine",
        batch_size=batch_size,
        max_iter=2500 * batch_size // n,
        tol=None,
        random_state=0,
    )
    tenth = FunctionTransformer(lambda X: X / 10)
    pipeline = make_pipeline(ImageScaler(per="channel"), tenth, convnet)
    return TransformedTargetRegressor(pipeline, transformer=StandardScaler())


NAMES = "PLS", "PLS, preprocessed", "this network"
sizes, errors = (100, 500, 2000), {}
print(f"{'scatter':>7}{'spectra':>9}" + "".join(f"{name:>19}" for name in NAMES))
for scatter in (0.0, 0.3):
    random_state = np.random.RandomState(0)
    X_test, y_test = spectra(1000, scatter, random_state)
    for n in sizes:
        X, y = spectra(n, scatter, random_state)
        preprocessed = make_pipeline(
            FunctionTransformer(normalised_derivatives), partial_least_squares
        )
        models = partial_least_squares, preprocessed, network(n)
        predicted = [model.fit(X, y).predict(X_test).ravel() for model in models]
        scores = [r2_score(y_test, values) for values in predicted]
        errors[scatter, n] = [1 - score for score in scores]
        print(f"{scatter:7}{n:9,}" + "".join(f"{score:19.4f}" for score in scores), flush=True)

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("\nFor the picture: pip install matplotlib") from None

figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
for spectrum, share in zip(X_test[:15], y_test):
    axes[0, 0].plot(wavelengths, spectrum, color=plt.cm.viridis(share / 0.6), linewidth=0.8)
axes[0, 0].set(title="Spectra that scatter", xlabel="wavelength (nm)", ylabel="absorbance")
colors = plt.cm.ScalarMappable(plt.Normalize(0, 0.6), "viridis")
figure.colorbar(colors, ax=axes[0, 0], label="share of the substance")
filters = models[-1].regressor_[-1].filters_[0][:, 0]
taps = (np.arange(filters.shape[1]) - filters.shape[1] // 2) * (wavelengths[1] - wavelengths[0])
axes[1, 0].plot(taps, filters.T)
axes[1, 0].set(title="Filters of the first layer", xlabel="offset (nm)", ylabel="weight")
for ax, scatter in zip(axes[:, 1], (0.0, 0.3)):
    for name, of_sizes in zip(NAMES, zip(*(errors[scatter, n] for n in sizes))):
        ax.loglog(sizes, of_sizes, "o-", color=f"C{NAMES.index(name)}", label=name)
    ax.set(title=f"Scatter {scatter}", xlabel="spectra in training", ylabel="1 - R2 (test)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
for ax, k in zip(axes[:, 2], (1, 2)):
    ax.plot(y_test, predicted[k], ".", color=f"C{k}", markersize=3)
    ax.axline((0, 0), slope=1, color="k", linewidth=0.8)
    ax.set(title=f"{NAMES[k]}, 2,000 spectra")
    ax.set(xlabel="true share", ylabel="predicted share")
figure.savefig("spectra.png", dpi=100)
print("\nPicture: spectra.png")
