"""The displays: what is drawn, and where."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skcnn import (
    ConvNetClassifier,
    ConvNetRegressor,
    FeatureMapDisplay,
    FilterDisplay,
    ImageScaler,
    LossCurveDisplay,
)
from skcnn._displays import BETWEEN

DISPLAYS = [FilterDisplay, FeatureMapDisplay, LossCurveDisplay]
SHORT = {"max_iter": 3, "tol": None, "random_state": 0, "eta": 0.01}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def random_images(*shape):
    return np.random.RandomState(0).normal(size=shape)


def fitted(*shape, estimator=ConvNetClassifier, **params):
    """A network and the images, of a shape (n, H, W) or (n, H, W, C), that it learnt from."""
    X = random_images(*shape)
    y = X.sum(axis=tuple(range(1, X.ndim)))
    y = y > 0 if estimator is ConvNetClassifier else y
    return estimator(**SHORT, **params).fit(X, y), X


def draw(display, model, X):
    return display.from_estimator(model, *([X[:2]] if display is FeatureMapDisplay else []))


def drawn(artist):
    """The values of a picture, nan between its parts."""
    return np.ma.filled(artist.get_array().astype(float), np.nan)


# Filters


def test_one_filter_before_and_after_training():
    model, _ = fitted(20, 6, 6)
    display = FilterDisplay.from_estimator(model)
    assert display.axes_.shape == (1, 2)
    for artist, W in zip(display.artists_, (model.initial_filters_, model.filters_)):
        assert_array_equal(drawn(artist), W[0])
    assert [ax.get_title() for ax in display.axes_[0]] == ["initial filter", "learnt filter"]
    assert display.figure_ is display.axes_[0, 0].figure


@pytest.mark.parametrize("layer", [0, 1])
def test_all_filters_are_on_one_scale_centred_on_0(layer):
    model, _ = fitted(20, 6, 6, n_filters=(4, 2))
    display = FilterDisplay.from_estimator(model, layer)
    weights = np.abs([model.initial_filters_[layer], model.filters_[layer]])
    for artist in display.artists_:
        assert artist.get_clim() == (-weights.max(), weights.max())
        assert artist.get_cmap().name == "RdBu_r"
    assert display.colorbar_.mappable.norm.vmax == weights.max()
    assert display.colorbar_.ax.get_ylabel() == "weight"


def test_several_filters_are_in_a_grid_row_by_row():
    W = random_images(5, 3, 2)
    (artist,) = FilterDisplay(W).plot().artists_
    picture = drawn(artist)
    assert picture.shape == (2 * 3 + 1, 3 * 2 + 2)  # three filters in a row, a pixel between
    assert_array_equal(picture[:3, :2], W[0])
    assert_array_equal(picture[:3, 6:], W[2])
    assert_array_equal(picture[4:, 3:5], W[4])
    assert np.isnan(picture[3]).all() and np.isnan(picture[4:, 5:]).all()


def test_filters_of_a_deeper_layer_are_drawn_with_all_their_channels():
    model, _ = fitted(20, 6, 6, n_filters=(4, 2), K=(3, 2))
    display = FilterDisplay.from_estimator(model, layer=1)
    picture = drawn(display.artists_[1])
    assert picture.shape == (5, 5 + 2 + 5)  # two filters of 2 x 2 slices
    W = model.filters_[1]
    for f in range(2):
        of_filter = picture[:, 7 * f : 7 * f + 5]
        assert_array_equal(of_filter[:2, :2], W[f, :, :, 0])
        assert_array_equal(of_filter[:2, 3:], W[f, :, :, 1])
        assert_array_equal(of_filter[3:, :2], W[f, :, :, 2])
        assert_array_equal(of_filter[3:, 3:], W[f, :, :, 3])
    assert display.axes_[0, 1].get_title() == "learnt filters of layer 1"


def test_filters_of_colour_images_are_in_colour():
    model, _ = fitted(20, 6, 6, 3, n_filters=2)
    display = FilterDisplay.from_estimator(model)
    limit = np.abs([model.initial_filters_, model.filters_]).max()
    for artist, W in zip(display.artists_, (model.initial_filters_, model.filters_)):
        picture = artist.get_array()
        assert picture.shape == (3, 7, 3)
        assert_allclose(picture[:, :3], (W[0] / limit + 1) / 2)
        assert_allclose(picture[:, 3], BETWEEN)
    assert display.colorbar_ is None
    # Three channels of a deeper layer are no colours.
    assert FilterDisplay(model.filters_, layer=1).plot().colorbar_ is not None


@pytest.mark.parametrize("shape", [(1, 12, 2), (12, 1, 2)])
def test_filters_of_signals_are_curves(shape):
    model, _ = fitted(20, *shape, n_filters=3, K=5, image_shape=shape)
    display = FilterDisplay.from_estimator(model)
    filters = np.array([model.initial_filters_, model.filters_]).reshape(2, 3, 5, 2)
    distance = 2 * np.abs(filters).max()
    for ax, lines, W in zip(display.axes_[0], display.artists_, filters):
        assert lines.shape == (2, 3)
        for (c, f), line in np.ndenumerate(lines):
            assert line in ax.lines
            assert_array_equal(line.get_xdata(), [-2, -1, 0, 1, 2])
            assert_allclose(line.get_ydata(), W[f, :, c] - f * distance)
            assert line.get_color() == f"C{c}"
        assert_allclose(ax.get_yticks(), [0, -distance, -2 * distance])
        assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "2"]
    legend = display.axes_[0, 1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["channel 0", "channel 1"]
    assert [line.get_color() for line in legend.get_lines()] == ["C0", "C1"]
    assert display.colorbar_ is None


def test_filters_of_signals_of_many_channels_are_pictures():
    W = random_images(2, 1, 6, 11)
    display = FilterDisplay(W).plot()
    picture = drawn(display.artists_[0])
    assert_array_equal(picture[0, :6], W[0, 0, :, 0])
    assert display.colorbar_ is not None


def test_filters_that_are_all_0():
    (artist,) = FilterDisplay(np.zeros((2, 3, 3))).plot().artists_
    assert artist.get_clim() == (-1, 1)


# Feature maps


def test_an_image_and_its_maps_before_and_after_training():
    model, X = fitted(20, 6, 5, n_filters=2)
    display = FeatureMapDisplay.from_estimator(model, X[:3])
    untrained = ConvNetClassifier(n_filters=2, **{**SHORT, "max_iter": 0}).fit(X, np.arange(20) % 2)
    assert_array_equal(untrained.filters_, model.initial_filters_)
    maps = [untrained.feature_maps(X[:3]), model.feature_maps(X[:3])]
    assert display.axes_.shape == (3, 3)
    assert not np.allclose(*maps)
    for k, (image, *responses) in enumerate(display.artists_):
        assert_array_equal(drawn(image), X[k])
        assert image.get_clim() == (X[:3].min(), X[:3].max())
        for picture, A in zip(responses, maps):
            assert_allclose(drawn(picture)[:, :5], A[k, :, :, 0])
            assert_allclose(drawn(picture)[:, 6:], A[k, :, :, 1])
            assert picture.get_clim() == (0, np.max(maps))
    titles = [ax.get_title() for ax in display.axes_[0]]
    assert titles == [
        "image",
        "response to the\ninitial filters",
        "response to the\nlearnt filters",
    ]
    assert display.colorbar_.mappable.norm.vmax == np.max(maps)


def test_initial_maps_of_a_deeper_layer_are_of_initial_filters_throughout():
    params = {"n_filters": (2, 3), "pool_size": 2}
    model, X = fitted(20, 6, 6, **params)
    before = [W.copy() for W in model.filters_], [b.copy() for b in model.filter_intercept_]
    untrained = ConvNetClassifier(**params, **{**SHORT, "max_iter": 0}).fit(X, np.arange(20) % 2)
    display = FeatureMapDisplay.from_estimator(model, X[:1], layer=1)
    expected = untrained.feature_maps(X[:1], layer=1)
    assert_array_equal(display.initial_feature_maps, expected)
    assert_allclose(drawn(display.artists_[0, 1])[:3, :3], expected[0, :, :, 0])
    assert display.axes_[0, 2].get_title().endswith("learnt filters of layer 1")
    for arrays, copies in zip((model.filters_, model.filter_intercept_), before):
        for array, copied in zip(arrays, copies):  # the model is as it was
            assert_array_equal(array, copied)


@pytest.mark.parametrize("scale", ["bytes", "standardised"])
def test_colour_images_are_scaled_for_the_screen(scale):
    model, X = fitted(20, 6, 6, 3)
    if scale == "bytes":
        X = np.random.RandomState(0).randint(10, 200, size=X.shape, dtype=np.uint8)
        expected = X[:2] / 255
    else:
        expected = (X[:2] - X[:2].min()) / (X[:2].max() - X[:2].min())
    display = FeatureMapDisplay.from_estimator(model, X[:2])
    for artist, picture in zip(display.artists_[:, 0], expected):
        assert_allclose(artist.get_array(), picture)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int8", "bool"])
@pytest.mark.parametrize("shape", [(20, 6, 6, 3), (20, 1, 12), (20, 1, 12, 2)], ids=str)
def test_whole_numbers_are_drawn_like_the_same_floats(shape, dtype):
    model, _ = fitted(*shape)
    least, most = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    X = np.random.RandomState(0).randint(least, most + 1, size=shape).astype(dtype)
    displays = [FeatureMapDisplay.from_estimator(model, of[:2]) for of in (X, X.astype(float))]
    images, as_floats = (display.artists_[:, 0] for display in displays)
    for image, as_float in zip(images, as_floats):
        if shape[1] == 1:
            image, as_float = ([line.get_ydata() for line in of[0]] for of in (image, as_float))
        else:
            image, as_float = drawn(image), drawn(as_float)
        assert_array_equal(image, as_float)
    limits, of_floats = (display.axes_[0, 0].get_ylim() for display in displays)
    assert limits == of_floats


def test_channels_that_are_no_colours_are_beside_each_other():
    model, X = fitted(20, 6, 6, 2)
    picture = drawn(FeatureMapDisplay.from_estimator(model, X[:1]).artists_[0, 0])
    assert_array_equal(picture[:, :6], X[0, :, :, 0])
    assert_array_equal(picture[:, 7:], X[0, :, :, 1])


def test_signals_and_their_maps_are_curves():
    model, X = fitted(20, 12, 2, n_filters=3, image_shape=(1, 12, 2))
    display = FeatureMapDisplay.from_estimator(model, X[:2])
    A = model.feature_maps(X[:2])
    highest = max(A.max(), display.initial_feature_maps.max())
    for k, (signal, _, learnt) in enumerate(display.artists_):
        assert signal.shape == (1, 2) and learnt.shape == (1, 3)
        for c, line in enumerate(signal[0]):
            assert_allclose(line.get_ydata(), X[k, :, c] - c * np.ptp(X[:2]))
        for f, line in enumerate(learnt[0]):
            assert_allclose(line.get_ydata(), A[k, 0, :, f] - f * highest)
            assert_array_equal(line.get_xdata(), np.arange(12))
    assert display.colorbar_ is None
    assert [ax.get_xlabel() for ax in display.axes_[:, 0]] == ["", "position"]


def test_a_pipeline_draws_the_images_that_it_is_given():
    X = random_images(20, 6, 6) * 9 + 5
    model = make_pipeline(ImageScaler(), ConvNetClassifier(**SHORT)).fit(X, np.arange(20) % 2)
    display = FeatureMapDisplay.from_estimator(model, X[:2])
    assert_array_equal(drawn(display.artists_[1, 0]), X[1])
    assert_array_equal(display.feature_maps, model[-1].feature_maps(model[:-1].transform(X[:2])))
    rows = make_pipeline(StandardScaler(), ConvNetClassifier(**SHORT)).fit(
        X.reshape(20, -1), np.arange(20) % 2
    )
    display = FeatureMapDisplay.from_estimator(rows, X.reshape(20, -1)[:2].tolist())
    assert_array_equal(drawn(display.artists_[1, 0]), X[1])
    alone = FeatureMapDisplay.from_estimator(make_pipeline(model[-1]), X[:2])
    assert_array_equal(alone.feature_maps, model[-1].feature_maps(X[:2]))


class EveryOther(MinMaxScaler):
    """Keeps every other value of a row."""

    def transform(self, X):
        return super().transform(X)[:, ::2]


def test_a_pipeline_that_changes_the_size_draws_what_the_network_is_given():
    X = random_images(20, 32)
    model = make_pipeline(EveryOther(), ConvNetClassifier(**SHORT)).fit(X, np.arange(20) % 2)
    display = FeatureMapDisplay.from_estimator(model, X[:2])
    expected = model[0].transform(X[:2]).reshape(2, 4, 4)
    assert_array_equal(drawn(display.artists_[1, 0]), expected[1])


def test_sparse_rows_are_drawn_as_images():
    sparse = pytest.importorskip("scipy.sparse")
    model, X = fitted(20, 6, 6)
    rows = sparse.csr_array(X[:2].reshape(2, -1))
    display = FeatureMapDisplay.from_estimator(model, rows)
    assert_array_equal(drawn(display.artists_[1, 0]), X[1])


def test_colours_of_images_and_maps_can_be_chosen():
    model, X = fitted(20, 6, 6)
    display = FeatureMapDisplay.from_estimator(model, X[:1], cmap="viridis", image_cmap="gray_r")
    assert [artist.get_cmap().name for artist in display.artists_[0]] == [
        "gray_r",
        "viridis",
        "viridis",
    ]


# Learning curves


def test_curves_of_training_and_validation():
    X = random_images(30, 6, 6)
    model = ConvNetClassifier(**SHORT).fit(
        X[:20], np.arange(20) % 2, X_val=X[20:], y_val=np.arange(10) % 2
    )
    display = LossCurveDisplay.from_estimator(model)
    curves = [
        model.loss_curve_,
        model.validation_loss_curve_,
        model.accuracy_curve_,
        model.validation_accuracy_curve_,
    ]
    assert len(display.lines_) == 4
    for line, curve in zip(display.lines_, curves):
        assert_array_equal(line.get_xydata(), np.column_stack([[1, 2, 3], curve]))
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--", "-", "--"]
    assert len({line.get_color() for line in display.lines_}) == 1
    assert [ax.get_ylabel() for ax in display.axes_[0]] == ["log-loss (nats)", "accuracy"]
    assert {ax.get_xlabel() for ax in display.axes_[0]} == {"epoch"}
    texts = display.axes_[0, 1].get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["training", "validation"]


def test_lines_take_the_short_names_of_matplotlib_and_a_label():
    curve = np.linspace(1, 0, 5)
    display = LossCurveDisplay(curve, validation_loss_curve=curve)
    display.plot(c="red", ls=":", lw=3, label="deep")
    assert [line.get_label() for line in display.lines_] == ["deep", "deep, validation"]
    assert [line.get_color() for line in display.lines_] == ["red", "red"]
    assert [line.get_linestyle() for line in display.lines_] == [":", "--"]
    assert [line.get_linewidth() for line in display.lines_] == [3, 3]


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 40])
def test_ticks_are_whole_epochs(n_epochs):
    curve = np.linspace(1, 0, n_epochs)
    display = LossCurveDisplay(curve, curve).plot()
    for ax in display.axes_[0]:
        low, high = ax.get_xlim()
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert len(ticks) >= 1
        assert_array_equal(ticks, np.round(ticks))
    assert (display.lines_[0].get_marker() == "o") is (n_epochs == 1)  # a line of one point


def test_a_regressor_has_a_loss_only():
    model, _ = fitted(20, 6, 6, estimator=ConvNetRegressor, early_stopping=True)
    display = LossCurveDisplay.from_estimator(model)
    assert display.axes_.shape == (1, 1)
    assert display.axes_[0, 0].get_ylabel() == "half the squared error"
    assert_array_equal(display.lines_[0].get_ydata(), model.loss_curve_)
    assert_array_equal(display.lines_[1].get_ydata(), model.validation_loss_curve_)


def test_networks_are_drawn_together_by_their_names():
    figure, axes = plt.subplots(1, 2)
    displays = [
        LossCurveDisplay([2, 1], [0.5, 0.6]).plot(axes, name="one"),
        LossCurveDisplay([3, 1], [0.4, 0.6], [3, 2], [0.4, 0.5]).plot(axes, name="two", alpha=0.5),
    ]
    assert all(display.figure_ is figure for display in displays)
    assert [line.get_label() for line in axes[1].lines] == ["one", "two", "two, validation"]
    texts = [text.get_text() for text in axes[1].get_legend().get_texts()]
    assert texts == ["one", "two", "two, validation"]
    colours = [line.get_color() for line in axes[0].lines]
    assert colours[0] != colours[1] == colours[2]
    assert {line.get_alpha() for line in displays[1].lines_} == {0.5}


def test_epochs_without_validation_data_must_be_named():
    X, y = random_images(20, 6, 6), np.arange(20) % 2
    model = ConvNetClassifier(warm_start=True, **SHORT).fit(X, y)
    model.fit(X, y, X_val=X, y_val=y)
    with pytest.raises(ValueError, match="validation curve of the log-loss.* has 3 values.* 6 epo"):
        LossCurveDisplay.from_estimator(model)
    padded = [np.nan] * 3 + model.validation_loss_curve_
    display = LossCurveDisplay(model.loss_curve_, validation_loss_curve=padded).plot()
    assert_array_equal(display.lines_[1].get_ydata(), padded)


def test_a_network_without_an_epoch_has_no_curve():
    model = ConvNetClassifier(max_iter=0).fit(random_images(20, 6, 6), np.arange(20) % 2)
    with pytest.raises(ValueError, match="loss_curve is empty.*fit the network"):
        LossCurveDisplay.from_estimator(model)


# All of them


@pytest.mark.parametrize("estimator", [ConvNetClassifier, ConvNetRegressor])
@pytest.mark.parametrize("display", DISPLAYS)
def test_a_pipeline_is_its_last_step(display, estimator):
    X = random_images(20, 6, 6)
    model = make_pipeline(ImageScaler(), estimator(**SHORT)).fit(X, np.arange(20) % 2)
    assert isinstance(draw(display, model, X), display)
    if display is not FeatureMapDisplay:  # those of the network alone are of other images
        of_pipeline, of_network = draw(display, model, X), draw(display, model[-1], X)
        assert vars(of_pipeline).keys() == vars(of_network).keys()


@pytest.mark.parametrize("display", DISPLAYS)
def test_one_axes_is_divided(display):
    model, X = fitted(20, 6, 6)
    figure, (left, right) = plt.subplots(1, 2)
    shown = (
        display.from_estimator(model, X[:2], ax=right)
        if display is FeatureMapDisplay
        else display.from_estimator(model, ax=right)
    )
    assert shown.figure_ is figure
    assert not right.axison and left.axison
    for ax in shown.axes_.flat:
        assert ax.get_position().x0 > left.get_position().x1
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("display", DISPLAYS)
def test_axes_of_a_grid_are_used_as_they_are(display):
    model, X = fitted(20, 6, 6)
    axes = plt.figure().subplots(*((2, 3) if display is FeatureMapDisplay else (1, 2)))
    parameters = {"X": X[:2]} if display is FeatureMapDisplay else {}
    shown = display.from_estimator(model, **parameters, ax=axes)
    assert [*shown.axes_.flat] == [*axes.flat]
    with pytest.raises(ValueError, match=f"ax has 5 axes, but {display.__name__} draws into"):
        display.from_estimator(model, **parameters, ax=plt.figure().subplots(5))


@pytest.mark.parametrize("display", DISPLAYS)
def test_axes_without_a_place_in_a_grid_cannot_be_divided(display):
    model, X = fitted(20, 6, 6)
    parameters = {"X": X[:2]} if display is FeatureMapDisplay else {}
    with pytest.raises(ValueError, match="ax .* create it with plt.subplots"):
        display.from_estimator(model, **parameters, ax=plt.figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize("display", DISPLAYS)
def test_what_is_no_fitted_network_is_refused(display):
    model, X = fitted(20, 6, 6)
    y = np.arange(20) % 2
    with pytest.raises(NotFittedError):
        draw(display, ConvNetClassifier(), X)
    others = [
        LogisticRegression(),
        make_pipeline(ImageScaler()),
        GridSearchCV(ConvNetClassifier(**SHORT), {"K": [1]}, cv=2).fit(X, y),
    ]
    for other in others:
        with pytest.raises(TypeError, match=f"{display.__name__} takes a Conv.*best_estimator_"):
            draw(display, other, X)
    assert isinstance(draw(display, others[-1].best_estimator_, X), display)


@pytest.mark.parametrize("layer", [2, -1, 0.5, True])
def test_a_layer_that_does_not_exist_is_refused(layer):
    model, X = fitted(20, 6, 6, n_filters=(2, 2))
    for arguments in ([FilterDisplay, model], [FeatureMapDisplay, model, X[:2]]):
        with pytest.raises(ValueError, match=f"layer={layer} must be a whole number from 0 to 1"):
            arguments[0].from_estimator(*arguments[1:], layer=layer)


def test_more_images_than_can_be_seen_are_refused():
    model, X = fitted(33, 6, 6)
    with pytest.raises(ValueError, match="X has 33 images.* pass at most 32"):
        FeatureMapDisplay.from_estimator(model, X)
    assert not plt.get_fignums()


def test_arrays_that_do_not_go_together_are_refused():
    W, A, images = np.ones((2, 3, 3)), np.ones((2, 6, 6, 4)), np.ones((2, 6, 6))
    for display, message in [
        (FilterDisplay(W[0]), r"filters has the shape \(3, 3\)"),
        (FilterDisplay(W, W[:1]), "filters has the shape .* and initial_filters"),
        (FeatureMapDisplay(images[:1], A), "images has the shape .* maps of one shape for each"),
        (FeatureMapDisplay(images, A, A[:, :5]), "images has the shape .* maps of one shape for"),
        (FeatureMapDisplay(images[:0], A[:0]), r"images has the shape \(0, 6, 6, 1\)"),
        (LossCurveDisplay([1, 2], [1]), "training curve of the accuracy has 1 values"),
    ]:
        with pytest.raises(ValueError, match=message):
            display.plot()


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib_the_error_names_the_extra(display, monkeypatch):
    model, X = fitted(20, 6, 6)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = f"{display.__name__} needs Matplotlib: pip install matplotlib"
    with pytest.raises(ImportError, match=message):
        draw(display, model, X)
