"""scikit-learn's own tests of MLPClassifier and MLPRegressor pass with our networks in their place.

pytest runs them in a process of its own, in which this module is a plugin.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.neural_network

from skcnn import ConvNetClassifier, ConvNetRegressor

TESTS = "sklearn.neural_network.tests.test_mlp"

# Not run. Each of the others passes as it stands.
LEFT_OUT = {
    "they set or read attributes that are private to scikit-learn": [
        "test_fit",
        "test_gradient",
        "test_learning_rate_warmstart",
        "test_adaptive_learning_rate",
        "test_n_iter_no_change",
        "test_n_iter_no_change_inf",
    ],
    "their parameter is not among ours: max_fun, loss": [
        "test_lbfgs_classification_maxfun",
        "test_lbfgs_regression_maxfun",
        "test_mlp_vs_poisson_glm_equivalent",
    ],
    "early stopping watches the loss, not the score: there is no validation_scores_": [
        "test_early_stopping",
        "test_mlp_early_stopping_string_labels",
        "test_mlp_warm_start_with_early_stopping",
        "test_mlp_diverging_loss",
    ],
    "n_iter_ counts the epochs of all calls with warm_start=True": [
        "test_warm_start_full_iteration",
        "test_mlp_warm_start_no_convergence",
    ],
    "a held-out part needs no second sample of a class": [
        "test_early_stopping_stratified",
        "test_minimum_input_sample_size",
    ],
    "a classifier refuses targets of one class": ["test_preserve_feature_names[Classifier]"],
    "the error or the line printed has other words": [
        "test_nonfinite_params",
        "test_warm_start",
        "test_mlp_partial_fit_after_fit",
        "test_verbose_sgd",
    ],
    "a rate of 0.2, or one hidden unit, does not suit ReLU behind a convolution layer": [
        "test_multilabel_classification",
        "test_partial_fit_classification",
        "test_shuffle",
    ],
}


class Adapter:
    """The parameters of scikit-learn's networks that we have, by their names.

    A convolution layer is in front of the hidden layers. All activations are ReLU.
    """

    n_filters, K, pool_size, pooling = 8, 3, 1, "max"
    dropout, label_smoothing, augment, freeze, fit_intercept = 0.0, 0.0, None, None, True
    class_weight = image_shape = None
    eta = property(lambda self: self.learning_rate_init)
    sampling = property(lambda self: "shuffle" if self.shuffle else "sequential")

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=1e-4,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
    ):
        vars(self).update({name: value for name, value in locals().items() if name != "self"})


class Classifier(Adapter, ConvNetClassifier):
    pass


class Regressor(Adapter, ConvNetRegressor):
    pass


def pytest_configure(config):
    """Replace scikit-learn's networks before their tests import them."""
    sklearn.neural_network.MLPClassifier = Classifier
    sklearn.neural_network.MLPRegressor = Regressor


def pytest_collection_modifyitems(items):
    left_out = {name for names in LEFT_OUT.values() for name in names}
    items[:] = [item for item in items if not left_out & {item.name, item.originalname}]


@pytest.mark.slow
def test_scikit_learn_tests_of_its_networks_pass():
    options = ["-q", "-rA", "-p", Path(__file__).stem, "-p", "no:cacheprovider", "-c", "/dev/null"]
    program = [sys.executable, "-m", "pytest", *options, "--pyargs", TESTS]
    # pytest finds the plugin in the folder where it is run.
    run = subprocess.run(program, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    for name in ("test_lbfgs_regression[", "test_multioutput_regression", "test_partial_fit_reg"):
        assert f"::{name}" in run.stdout
    for estimator in (Classifier, Regressor):  # they were our networks
        assert f"test_mlp_param_dtypes[{estimator.__name__}-float64]" in run.stdout
