"""Epochs without an estimator."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits

from skcnn import ConvNetClassifier
from skcnn._engine.parallel import ParallelExecutor
from skcnn._engine.parameters import Parameters
from skcnn._estimator.architecture import layer_sizes, make_network
from skcnn._nn.losses import LogLoss
from skcnn._training.epochs import Visits, run_epochs
from skcnn._training.monitor import Monitor, Report
from skcnn._training.objective import Objective
from skcnn._training.schedules import LearningRate, Plateau
from skcnn._training.solvers import Adam


class NoCallbacks:
    def begin_epoch(self):
        pass

    def end_epoch(self):
        return False


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_epochs_need_no_estimator(kernels, dropout):
    X, y = load_digits(return_X_y=True)
    X, y = X[:200] / 16, y[:200]
    params = {"n_filters": (4, 3), "pool_size": 2, "batch_size": 30, "eta": 0.01}
    model = ConvNetClassifier(**params, dropout=dropout, max_iter=3, tol=None, random_state=0)
    model.fit(X, y)

    random_state, loss = np.random.RandomState(0), LogLoss(10)
    network = make_network((8, 8, 1), layer_sizes(model), 10, dropout=dropout > 0)
    values = network.draw(random_state, np.dtype(float))
    parameters, s = Parameters(network, values), np.ones(200)
    executor = ParallelExecutor(network, parameters, loss, 30)
    objective = Objective(executor, X, y, s, alpha=1e-4, dropout=dropout)
    report = Report(verbose=False, max_epochs=3, eta=0.01, alpha=1e-4, tol=None)
    monitor = Monitor(objective, y, s, None, Plateau(None, 10), False, report)
    solver, rate = Adam(parameters.theta), LearningRate("constant", 0.01, 3)
    seed = random_state.randint(2**31) if dropout else None
    visits = Visits(np.arange(200), 30, "shuffle", random_state, seed, first_epoch=0)
    outcome = run_epochs(monitor, NoCallbacks(), solver, rate, visits, range(3))
    assert outcome == "max_iter" and monitor.n_epochs == 3
    assert monitor.curves["loss_curve_"] == model.loss_curve_
    assert_array_equal(parameters.params[0]["W"][..., 0], model.filters_[0])
    assert_array_equal(parameters.params[-1]["c"], model.intercepts_[-1])
