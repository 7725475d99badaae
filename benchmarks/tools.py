r"""Networks in other people's tools: what each takes, and what to write where it refuses.

They go into one environment, beside skcnn:

    pip install optuna optuna-integration scikit-optimize sklearn-genetic-opt crepes mapie \
        venn-abers cleanlab fairlearn imbalanced-learn mlxtend skore skrub shap \
        opencv-python-headless lime sktime pyts mlflow modAL-python yellowbrick

A case trains a small network by the tool on grey images, colour images and rows, and with strings
as labels. Where a tool refuses one of these, what the last column says must work in its place.
"""

import contextlib
import re
import tempfile
from math import prod

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skcnn
from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler

COLUMNS = ["tool", "version", "images", "colour images", "rows", "string labels", "to write"]

SHAPES = {"images": (8, 6), "colour images": (8, 6, 3)}
NAMES = np.array(["cat", "dog", "eel"])


def make_network(**parameters):
    """Return a small network that trains in an instant."""
    return ConvNetClassifier(
        n_filters=2, solver="lbfgs", max_iter=10, tol=None, random_state=0, **parameters
    )


def make_images(shape, n_classes=3, n=60):
    """Return images of noise, in which row k is bright where the class is k, and the classes."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(n, *shape), np.arange(n) % n_classes
    X[np.arange(n), y] += 3
    return X, y


def as_rows(X):
    """Return images as rows."""
    return X.reshape(len(X), -1)


def image_problems(layout, n_classes):
    """Yield samples, classes and a network for each problem of a layout."""
    for shape in SHAPES.values() if layout == "rows" else [SHAPES[layout]]:
        X, y = make_images(shape, n_classes)
        if layout == "rows":
            yield as_rows(X), y, make_network(image_shape=shape)
        else:
            yield X, y, make_network()


def signal_problems(n_channels):
    """Return what yields signals (n, n_channels, length), or rows of them without channels."""

    def problems(layout, n_classes, n=60, length=30):
        rng = np.random.RandomState(0)
        y = np.arange(n) % n_classes
        X = rng.randn(n, n_channels or 1, length)
        X[np.arange(n), 0, 5 * y] += 6
        yield X if n_channels else X[:, 0], y, make_network()

    return problems


def given_rows(use):
    """Return the use of a tool in which images go in as rows and the network has their shape."""

    def use_rows(X, y, network):
        if X.ndim > 2:
            network = clone(network).set_params(image_shape=X.shape[1:])
        return use(as_rows(X), y, network)

    return use_rows


class Tool:
    """A row of the table.

    Parameters
    ----------
    distribution : str
        Name on PyPI.
    use : callable
        ``use(X, y, network)`` trains and returns the labels of the first samples of X.
    to_write : str
        The last cell.
    refusal : str, optional
        A regular expression for the error of what ``use`` refuses.
    instead : callable, optional
        Takes what ``use`` refuses.
    checks : sequence of callables
        What else the last cell says, asserted.
    problems, layouts, n_classes
        What the tool is tried on.
    """

    def __init__(
        self,
        distribution,
        use,
        to_write="",
        *,
        refusal=None,
        instead=None,
        checks=(),
        problems=image_problems,
        layouts=("images", "colour images", "rows"),
        n_classes=3,
    ):
        self.distribution, self.use, self.to_write = distribution, use, to_write
        self.refusal, self.instead, self.checks = refusal, instead, checks
        self.problems, self.layouts, self.n_classes = problems, layouts, n_classes

    def takes(self, X, y, network):
        """Return whether the tool takes what it is given; assert that ``instead`` does if not."""
        try:
            found = self.use(X, y, clone(network))
        except Exception as error:
            if self.refusal is None or not re.search(self.refusal, str(error)):
                raise
            assert_right(self.instead(X, y, clone(network)), y)
            return False
        assert_right(found, y)
        return True

    def run(self):
        """Try each layout with both kinds of labels, and return the cells."""
        cells, strings = {}, []
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # for their files
            for layout in self.layouts:
                numbers = []
                for X, y, network in self.problems(layout, self.n_classes):
                    numbers.append(self.takes(X, y, network))
                    strings.append(self.takes(X, NAMES[y], network) or not numbers[-1])
                assert len(set(numbers)) == 1, layout
                cells[layout] = numbers[0]
            assert len(set(strings)) == 1, strings
            cells["string labels"] = strings[0]
            assert self.refusal is None or not all(cells.values()), "nothing is refused any more"
            for check in self.checks:
                check()
        answers = {True: "yes", False: "no", None: ""}
        return [*(answers[cells.get(column)] for column in COLUMNS[2:-1]), self.to_write]


def assert_right(found, y):
    """Assert that most of the labels found are those of the first samples."""
    accuracy = np.mean(np.asarray(found) == y[: len(found)])
    assert accuracy > 0.8, accuracy


def assert_raises(message, function, *arguments):
    """Assert that a call raises an error of such a message."""
    try:
        function(*arguments)
    except Exception as error:
        assert re.search(message, str(error)), error
    else:
        raise AssertionError(f"no error: {message}")


# Searches


def search_with_optuna(X, y, network):
    """Search with a study in a database; the sizes of the layers are strings there."""
    import optuna

    def build(trial):
        sizes = trial.suggest_categorical("n_filters", ["2", "2 2"])
        alpha = trial.suggest_float("alpha", 1e-5, 1, log=True)
        n_filters = tuple(int(size) for size in sizes.split())
        return clone(network).set_params(n_filters=n_filters, alpha=alpha)

    def accuracy(trial):
        return cross_val_score(build(trial), X, y, cv=2).mean()

    study = optuna.create_study(storage="sqlite:///study.db", direction="maximize")
    study.optimize(accuracy, n_trials=2)
    return build(study.best_trial).fit(X, y).predict(X)


def optuna_sizes():
    """Tuples fail where a study is loaded from its database again, and lists do not."""
    import optuna

    def search(study, choices):
        study.optimize(lambda trial: len(trial.suggest_categorical("n", choices)), n_trials=2)

    storage, tuples, lists = "sqlite:///study.db", [(2,), (2, 2)], [[2], [2, 2]]
    for choices in (tuples, lists):
        study = optuna.create_study(storage=storage)
        search(study, choices)
        again = optuna.load_study(study_name=study.study_name, storage=storage)
        if choices is tuples:
            assert_raises("dynamic value space", search, again, choices)
        else:
            search(again, choices)


def optuna_search_cv(X, y, network):
    """Search by OptunaSearchCV."""
    from optuna.distributions import FloatDistribution
    from optuna_integration import OptunaSearchCV

    alpha = {"alpha": FloatDistribution(1e-5, 1, log=True)}
    return OptunaSearchCV(network, alpha, cv=2, n_trials=2, random_state=0).fit(X, y).predict(X)


def bayes_search(X, y, network, n_filters=(1, 2)):
    """Search by BayesSearchCV of scikit-optimize."""
    from skopt import BayesSearchCV
    from skopt.space import Categorical

    space = {"n_filters": Categorical(n_filters), "alpha": (1e-5, 1.0, "log-uniform"), "K": (1, 3)}
    return BayesSearchCV(network, space, n_iter=3, cv=2, random_state=0).fit(X, y).predict(X)


def bayes_search_tuples():
    """BayesSearchCV takes no tuple as a choice."""
    X, y = make_images(SHAPES["images"])
    tuples = [(2, 1), (2, 2)]
    assert_raises("array of size 1", bayes_search, X, y, make_network(), tuples)


def genetic_search(X, y, network):
    """Search by a genetic algorithm."""
    from sklearn_genetic import GASearchCV
    from sklearn_genetic.space import Categorical, Continuous

    space = {"n_filters": Categorical([2, (2, 2)]), "alpha": Continuous(1e-5, 1)}
    search = GASearchCV(network, param_grid=space, population_size=3, generations=2, cv=2)
    return search.fit(X, y).predict(X)


# Prediction sets and probabilities


def crepes_classifier(X, y, network):
    """Calibrate sets of labels on samples that were not trained on."""
    from crepes import WrapClassifier

    model = WrapClassifier(network)
    model.fit(X[:40], y[:40])
    model.calibrate(X[40:], y[40:])
    assert len(model.predict_set(X)) == len(X)
    return model.predict(X)


def mapie_cross(X, y, network):
    """Compute sets of labels by cross-validation."""
    from mapie.classification import CrossConformalClassifier

    model = CrossConformalClassifier(network, confidence_level=0.9, cv=3).fit_conformalize(X, y)
    return model.predict_set(X)[0]


def mapie_regressors():
    """Cross and jackknife regressors take images too."""
    from mapie.regression import CrossConformalRegressor, JackknifeAfterBootstrapRegressor

    for shape in SHAPES.values():
        X, y = make_images(shape)
        network = ConvNetRegressor(n_filters=2, solver="lbfgs", max_iter=50, tol=None)
        for model in (
            CrossConformalRegressor(network, confidence_level=0.9, cv=3),
            JackknifeAfterBootstrapRegressor(network, confidence_level=0.9, resampling=10),
        ):
            intervals = model.fit_conformalize(X, y).predict_interval(X)[1]
            assert intervals.shape == (len(X), 2, 1)


def mapie_split(X, y, network):
    """Fit on images, and let MAPIE compute sets of labels with rows of the same values."""
    from mapie.classification import SplitConformalClassifier

    network.fit(X[:30], y[:30])
    model = SplitConformalClassifier(network, confidence_level=0.9, prefit=True)
    model.conformalize(as_rows(X[30:]), y[30:])
    labels, sets = model.predict_set(as_rows(X))
    return labels


def mapie_split_images(X, y, network):
    """Give images to MAPIE, which compares their height with ``n_features_in_``."""
    from mapie.classification import SplitConformalClassifier

    network.fit(X[:30], y[:30])
    model = SplitConformalClassifier(network, confidence_level=0.9, prefit=True)
    return model.conformalize(X[30:], y[30:]).predict_set(X)[0]


def venn_abers(X, y, network):
    """Calibrate probabilities."""
    from venn_abers import VennAbersCalibrator

    model = VennAbersCalibrator(network, inductive=True, cal_size=0.3, random_state=0)
    model.fit(X, y)
    return np.unique(y)[model.predict_proba(X).argmax(axis=1)]


# Labels and samples


def fairlearn_thresholds(X, y, network):
    """Choose a threshold for each of two groups."""
    from fairlearn.postprocessing import ThresholdOptimizer

    groups = np.arange(len(y)) // 2 % 2
    model = ThresholdOptimizer(estimator=network, predict_method="predict_proba")
    model.fit(X, y, sensitive_features=groups)
    return model.predict(X, sensitive_features=groups, random_state=0)


def fairlearn_reductions():
    """The reductions take images too."""
    from fairlearn.reductions import DemographicParity, ExponentiatedGradient, GridSearch

    groups = np.arange(60) // 2 % 2
    for shape in SHAPES.values():
        X, y = make_images(shape, n_classes=2)
        for model in (
            ExponentiatedGradient(make_network(), DemographicParity(), max_iter=3),
            GridSearch(make_network(), DemographicParity(), grid_size=3),
        ):
            assert_right(model.fit(X, y, sensitive_features=groups).predict(X), y)


def given_codes(use):
    """Return the use of a tool in which labels go in as 0, 1, 2, ..."""

    def use_codes(X, y, network):
        classes, codes = np.unique(y, return_inverse=True)
        return classes[use(X, codes, network)]

    return use_codes


def cleanlab(X, y, network):
    """Train without the samples whose labels seem wrong."""
    from cleanlab.classification import CleanLearning

    return CleanLearning(network, cv_n_folds=3).fit(X, y).predict(X)


def sampler_on_images(X, y, network):
    """Give images to a sampler."""
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline

    return make_pipeline(SMOTE(random_state=0), network).fit(X[5:], y[5:]).predict(X)


def imbalanced_learn(X, y, network):
    """Sample rows, which the scaler and the network take for images again."""
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline

    image_shape = X.shape[1:]
    model = make_pipeline(
        FunctionTransformer(as_rows),
        SMOTE(random_state=0),
        ImageScaler(per="channel", image_shape=image_shape),
        network.set_params(image_shape=image_shape),
    )
    return model.fit(X[5:], y[5:]).predict(X)  # of classes of unequal size


# Ensembles, tables, reports


def bagging(X, y, network):
    """Train two networks on samples drawn with replacement."""
    return BaggingClassifier(network, n_estimators=2, random_state=0).fit(X, y).predict(X)


def mlxtend_ensembles(X, y, network):
    """Vote and stack."""
    from mlxtend.classifier import EnsembleVoteClassifier, StackingCVClassifier

    vote = EnsembleVoteClassifier([network, network], voting="soft").fit(X, y)
    stack = StackingCVClassifier([network], LogisticRegression(), use_probas=True, cv=2).fit(X, y)
    assert_right(vote.predict(X), y)
    return stack.predict(X)


def mlxtend_evaluate(X, y, network):
    """Score by the bootstrap."""
    from mlxtend.evaluate import bootstrap_point632_score

    assert bootstrap_point632_score(network, X, y, n_splits=3, random_seed=0).mean() > 0.8
    return network.fit(X, y).predict(X)


def skore_metrics(X, y, network):
    """Report the metrics of a cross-validation."""
    import skore

    report = skore.CrossValidationReport(network, X, y, splitter=2)
    assert report.metrics.accuracy(aggregate="mean").to_numpy().min() > 0.8
    report.metrics.summarize().frame()
    return network.fit(X, y).predict(X)


def skore_data():
    """What looks at the data or permutes features takes rows."""
    import skore

    X, y = make_images(SHAPES["images"])
    for samples, network in ((X, make_network()), (as_rows(X), make_network(image_shape=(8, 6)))):
        report = skore.EstimatorReport(
            network, X_train=samples[:40], y_train=y[:40], X_test=samples[40:], y_test=y[40:]
        )
        methods = report.data.analyze, report.inspection.permutation_importance
        for method in (*methods, report.checks.summarize):
            if samples.ndim > 2:
                assert_raises("dim <= 2", method)
            else:
                method()


def skrub_table(X, y, network):
    """Train on a table."""
    from skrub import tabular_pipeline

    return tabular_pipeline(network).fit(X, y).predict(X)


def skrub_data_ops():
    """skrub's data ops take images."""
    import skrub

    for shape in SHAPES.values():
        X, y = make_images(shape)
        plan = skrub.X(X).skb.apply(make_network(), y=skrub.y(y))
        learner = plan.skb.make_learner()
        learner.fit({"X": X, "y": y})
        assert_right(learner.predict({"X": X}), y)


# Explanations: the row of the image that speaks most for its class


def shap_as_they_are(X, y, network):
    """Give images to shap as the network takes them."""
    import shap

    network.fit(X, y)
    masker = shap.maskers.Image(np.zeros(X.shape[1:]), X.shape[1:])
    explainer = shap.Explainer(network.predict_proba, masker)
    values = explainer(X[:9], max_evals=500, batch_size=50, silent=True).values
    return brightest_rows(values, y)


def shap_images(X, y, network):
    """Explain images by shap; its masker takes grey ones as (n, H, W, 1)."""
    import shap

    network.fit(X, y)
    images = X.reshape(len(X), *network.image_shape_[:2], -1)
    masker = shap.maskers.Image(images.mean(axis=0), images.shape[1:])
    explainer = shap.Explainer(network.predict_proba, masker)
    values = explainer(images[:9], max_evals=500, batch_size=50, silent=True).values
    return brightest_rows(values, y)


def brightest_rows(values, y):
    """Return the classes whose rows of pixels have the largest Shapley values for their class."""
    rows = values.sum(axis=(2, 3))  # (image, row, class)
    own = rows[np.arange(len(rows)), :, np.unique(y, return_inverse=True)[1][: len(rows)]]
    return row_classes(own.argmax(axis=1), y)


def shap_rows_and_inpainting():
    """A network of images explains rows; inpainting blackens images of values from 0 to 1."""
    import shap

    X, y = make_images(SHAPES["colour images"])
    X = (X - X.min()) / (X.max() - X.min())
    network = make_network().fit(X, y)
    wanted = network.predict_proba(X[:3])
    for mask, holds in (("blur(3,3)", True), ("inpaint_telea", False), ("inpaint_ns", False)):
        masker = shap.maskers.Image(mask, X.shape[1:])
        explainer = shap.Explainer(network.predict_proba, masker)
        found = explainer(X[:3], max_evals=500, batch_size=50, silent=True)
        total = found.values.sum(axis=(1, 2, 3)) + found.base_values
        assert (np.abs(total - wanted).max() < 1e-6) == holds, mask

    rows = as_rows(X)
    found = shap.Explainer(network.predict_proba, rows[:20])(rows[:3], silent=True)
    assert np.allclose(found.values.sum(axis=1) + found.base_values, wanted)


def blocks(image, n=8):
    """Return to which of n blocks of rows each pixel of an image, or of a row, belongs."""
    shape = image.shape[:2]
    return np.arange(prod(shape)).reshape(shape) * n // prod(shape)


def lime_blocks(images, probabilities):
    """Return the most important block of each image, by LIME."""
    from lime.lime_image import LimeImageExplainer

    explainer, found = LimeImageExplainer(random_state=0), []
    for image in images[:6]:
        explanation = explainer.explain_instance(
            image,
            probabilities,
            segmentation_fn=blocks,
            hide_color=0,
            top_labels=1,
            num_samples=200,
        )
        (weights,) = explanation.local_exp.values()
        found.append(max(weights, key=lambda item: item[1])[0])
    return found


def row_classes(rows, y):
    """Return the classes whose images have a bright row in such a place."""
    classes = np.unique(y)
    return [classes[row] if row < len(classes) else None for row in rows]


def lime_as_they_are(X, y, network):
    """Explain what the network was fitted on."""
    return row_classes(lime_blocks(X, network.fit(X, y).predict_proba), y)


def lime_images(X, y, network):
    """Explain images; LIME makes grey ones colour, of which the network takes one channel."""
    network.fit(X, y)
    images = X.reshape(len(X), *network.image_shape_)

    def probabilities(images):
        is_grey = len(network.image_shape_) == 2
        return network.predict_proba(images[..., 0] if is_grey else images)

    return row_classes(lime_blocks(images, probabilities), y)


def lime_segments():
    """LIME's own segmentation makes one or two segments of most small photographs."""
    from lime.lime_image import LimeImageExplainer
    from sklearn.datasets import load_sample_images

    rng, found = np.random.RandomState(0), []
    for picture in load_sample_images().images:
        for _ in range(10):
            i, j = rng.randint(0, 427 - 32), rng.randint(0, 640 - 32)
            explanation = LimeImageExplainer(random_state=0).explain_instance(
                picture[i : i + 32, j : j + 32] / 255,
                lambda images: np.tile([0.5, 0.5], (len(images), 1)),
                num_samples=10,
            )
            found.append(len(np.unique(explanation.segments)))
    assert np.mean(np.array(found) == 1) > 0.75 and max(found) <= 2, found


def lime_hidden_pixels():
    """By default a segment of one pixel is hidden by its own colour, and all weights are 0."""
    from lime.lime_image import LimeImageExplainer

    X, y = make_images(SHAPES["colour images"])
    network = make_network().fit(X, y)
    for hide_color in (None, 0):
        explanation = LimeImageExplainer(random_state=0).explain_instance(
            X[0],
            network.predict_proba,
            segmentation_fn=lambda image: blocks(image, prod(image.shape[:2])),
            hide_color=hide_color,
            top_labels=1,
            num_samples=200,
        )
        (weights,) = explanation.local_exp.values()
        assert (max(abs(weight) for _, weight in weights) < 1e-9) == (hide_color is None)


# Signals


def sktime_pipeline(X, y, network):
    """Bring rows of sktime, channel after channel, into the order of (n, L, C)."""
    from sktime.classification.compose import SklearnClassifierPipeline
    from sktime.transformations.panel.reduce import Tabularizer

    n_channels, length = X.shape[1:]

    def channels_last(rows):
        return rows.reshape(len(rows), n_channels, length).transpose(0, 2, 1)

    network.set_params(image_shape=(1, length, n_channels))
    classifier = make_pipeline(FunctionTransformer(channels_last), network)
    model = SklearnClassifierPipeline(classifier, transformers=[Tabularizer()]).fit(X, y)
    return model.predict(X)


def sktime_order():
    """The probabilities are those of a network that is given (n, L, C)."""
    from sktime.transformations.panel.reduce import Tabularizer

    X = np.random.RandomState(0).randn(5, 2, 7)
    rows = np.asarray(Tabularizer().fit_transform(X))
    assert np.array_equal(rows.reshape(5, 2, 7).transpose(0, 2, 1), X.transpose(0, 2, 1))


def pyts_pictures(X, y, network):
    """Train on Gramian angular fields."""
    from pyts.image import GramianAngularField

    network.set_params(max_iter=50)
    return make_pipeline(GramianAngularField(image_size=15), network).fit(X, y).predict(X)


# Tools that are older than scikit-learn 1.9


def modal(X, y, network):
    """Ask for labels, with a new learner in place of ``teach``."""
    from modAL.models import ActiveLearner

    known = np.arange(20)
    for _ in range(3):
        learner = ActiveLearner(network, X_training=X[known], y_training=y[known])
        others = np.setdiff1d(np.arange(len(X)), known)
        asked, _ = learner.query(X[others])
        known = np.append(known, others[asked])
    return learner.predict(X)


def modal_teach():
    """Without skcnn, too, ``teach`` fails."""
    from modAL.models import ActiveLearner

    X, y = make_images(SHAPES["images"])
    rows = as_rows(X)
    learner = ActiveLearner(LogisticRegression(), X_training=rows[:20], y_training=y[:20])
    assert_raises("force_all_finite", learner.teach, rows[20:21], y[20:21])


def yellowbrick_confusion(X, y, network):
    """Visualize scores."""
    from yellowbrick.classifier import ROCAUC, ClassificationReport, ConfusionMatrix

    for visualizer in (ClassificationReport, ROCAUC, ConfusionMatrix):
        model = visualizer(network, force_model=True).fit(X, y)
        assert model.score(X, y) > 0.8
    return model.predict(X)


def yellowbrick_without_force():
    """Without skcnn, too, classifiers are refused, and ClassPredictionError fails."""
    from yellowbrick.classifier import ClassPredictionError, ConfusionMatrix

    assert_raises("not a classifier", ConfusionMatrix, LogisticRegression())
    X, y = make_images(SHAPES["images"])
    model = ClassPredictionError(LogisticRegression(), force_model=True).fit(as_rows(X), y)
    assert_raises("too many values to unpack", model.score, as_rows(X), y)


# MLflow


def mlflow_runs():
    """Return the number of runs in a database of this folder."""
    import mlflow

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    return len(mlflow.search_runs())


def mlflow_autolog(X, y, network):
    """Have a training recorded."""
    import mlflow

    before = mlflow_runs()
    mlflow.sklearn.autolog()
    model = make_pipeline(network).fit(X, y)
    mlflow.sklearn.autolog(disable=True)
    assert mlflow_runs() == before + 1
    assert mlflow.search_runs()["metrics.training_score"].iloc[0] > 0.8
    return model.predict(X)


def mlflow_autolog_bare():
    """A bare network is not recorded, without a word."""
    import mlflow

    before = mlflow_runs()
    mlflow.sklearn.autolog()
    make_network().fit(*make_images(SHAPES["images"]))
    mlflow.sklearn.autolog(disable=True)
    assert mlflow_runs() == before


def mlflow_model(X, y, network, **trusted):
    """Keep a network, and load it."""
    import mlflow

    mlflow_runs()
    trusted = trusted or {"skops_trusted_types": skcnn.TRUSTED_TYPES}
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(network.fit(X, y), name="network", **trusted)
    return mlflow.sklearn.load_model(info.model_uri).predict(X)


def mlflow_model_untrusted():
    """MLflow refuses types that it does not know."""
    X, y = make_images(SHAPES["images"])
    untrusted = {"skops_trusted_types": None}
    assert_raises("untrusted types", lambda: mlflow_model(X, y, make_network(), **untrusted))


DIMENSIONS = r"dim <= 2|2-d input|2D array|incompatible shape"

CASES = {
    "Optuna": Tool(
        "optuna",
        search_with_optuna,
        "sizes of layers in a study that is kept in a database: strings or lists, not tuples",
        checks=[optuna_sizes],
    ),
    "OptunaSearchCV": Tool("optuna-integration", optuna_search_cv),
    "scikit-optimize, BayesSearchCV": Tool(
        "scikit-optimize",
        bayes_search,
        "one number for ``n_filters``, ``K``, ...: a tuple is no choice",
        checks=[bayes_search_tuples],
    ),
    "sklearn-genetic-opt": Tool("sklearn-genetic-opt", genetic_search),
    "crepes": Tool("crepes", crepes_classifier),
    "MAPIE, cross and jackknife": Tool("mapie", mapie_cross, checks=[mapie_regressors]),
    "MAPIE, SplitConformalClassifier": Tool(
        "mapie",
        mapie_split_images,
        "rows in ``conformalize`` and ``predict_set``; ``fit`` may have had images",
        refusal=r"Invalid mismatch between .*n_features_in_",
        instead=mapie_split,
    ),
    "venn-abers": Tool(
        "venn-abers",
        venn_abers,
        "rows, and ``image_shape``",
        refusal=DIMENSIONS,
        instead=given_rows(venn_abers),
    ),
    "cleanlab": Tool(
        "cleanlab",
        cleanlab,
        "labels 0, 1, 2, ...: ``np.unique(y, return_inverse=True)[1]``",
        refusal="Labels cannot be strings",
        instead=given_codes(cleanlab),
    ),
    "fairlearn": Tool(
        "fairlearn",
        fairlearn_thresholds,
        "labels 0 and 1: ``np.unique(y, return_inverse=True)[1]``",
        refusal="labels are not 0 or 1",
        instead=given_codes(fairlearn_thresholds),
        checks=[fairlearn_reductions],
        n_classes=2,
    ),
    "imbalanced-learn": Tool(
        "imbalanced-learn",
        sampler_on_images,
        "rows, and ``image_shape`` for scaler and network: the pipeline below",
        refusal=DIMENSIONS,
        instead=imbalanced_learn,
    ),
    "scikit-learn, BaggingClassifier": Tool(
        "scikit-learn",
        bagging,
        "rows, and ``image_shape``",
        refusal=DIMENSIONS,
        instead=given_rows(bagging),
    ),
    "mlxtend, ensembles": Tool("mlxtend", mlxtend_ensembles),
    "mlxtend, evaluate": Tool(
        "mlxtend",
        mlxtend_evaluate,
        "rows, and ``image_shape``",
        refusal=DIMENSIONS,
        instead=given_rows(mlxtend_evaluate),
    ),
    "skore": Tool(
        "skore",
        skore_metrics,
        "rows, and ``image_shape``, for ``data.analyze``, ``checks`` and permutation importance",
        checks=[skore_data],
    ),
    "skrub, tabular_pipeline": Tool(
        "skrub",
        skrub_table,
        "rows, and ``image_shape``; skrub's data ops take images",
        refusal=DIMENSIONS,
        instead=given_rows(skrub_table),
        checks=[skrub_data_ops],
    ),
    "shap": Tool(
        "shap",
        shap_as_they_are,
        "the masker of images wants channels: ``X.reshape(len(X), H, W, -1)``",
        refusal="tuple index out of range",
        instead=shap_images,
        checks=[shap_rows_and_inpainting],
    ),
    "lime": Tool(
        "lime",
        lime_as_they_are,
        "one channel for a grey network, ``X[..., 0]``; a ``segmentation_fn`` and a ``hide_color``",
        refusal=r"expecting \d+ features|X\[\.\.\., 0\]",
        instead=lime_images,
        checks=[lime_segments, lime_hidden_pixels],
    ),
    "sktime": Tool(
        "sktime",
        sktime_pipeline,
        "rows run channel after channel: ``.reshape(len(X), C, L).transpose(0, 2, 1)``",
        checks=[sktime_order],
        problems=signal_problems(2),
        layouts=["rows"],
    ),
    "pyts, pyts.image": Tool(
        "pyts", pyts_pictures, problems=signal_problems(None), layouts=["rows"]
    ),
    "MLflow, autolog": Tool(
        "mlflow",
        mlflow_autolog,
        "a pipeline, ``make_pipeline(network)``: a bare network is not recorded",
        checks=[mlflow_autolog_bare],
    ),
    "MLflow, log_model": Tool(
        "mlflow",
        mlflow_model,
        "``skops_trusted_types=skcnn.TRUSTED_TYPES``",
        checks=[mlflow_model_untrusted],
    ),
    "modAL": Tool(
        "modAL-python",
        modal,
        "a new ``ActiveLearner`` for each query: ``teach`` fails with scikit-learn 1.9",
        checks=[modal_teach],
    ),
    "yellowbrick": Tool(
        "yellowbrick",
        yellowbrick_confusion,
        "``force_model=True``: with scikit-learn 1.9 no model is taken for a classifier",
        checks=[yellowbrick_without_force],
    ),
}
