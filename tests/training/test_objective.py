"""The gradient of a batch: micro-batches, threads, penalty, dropout."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, get_ident

import numpy as np
import pytest
from networks import loss_of, random_network
from numpy.testing import assert_allclose, assert_array_equal

from skcnn._engine import division, parallel
from skcnn._engine.executor import Batch, Selection
from skcnn._engine.parallel import ParallelExecutor
from skcnn._engine.parameters import Parameters
from skcnn._nn.dropout import DropoutMasks
from skcnn._training.objective import Objective
from skcnn._training.solvers import SGD

pytestmark = pytest.mark.usefixtures("kernels")


def objective_of(network, parameters, n=7, map=map, dropout=0.0):
    rng = np.random.RandomState(1)
    X, y = rng.randn(n, *network.image_shape), rng.randint(3, size=n)
    s = rng.rand(n) + 0.1
    executor = ParallelExecutor(
        network, Parameters(network, parameters.params), loss_of(network), n, map
    )
    return Objective(executor, X.reshape(n, -1), y, s, alpha=0.1, dropout=dropout)


def loss_at(objective, theta):
    return objective.loss_and_gradient(theta)[0]


@pytest.mark.parametrize("architecture", ["one layer", "three layers"])
def test_loss_and_gradient_on_all_data(architecture):
    objective = objective_of(*random_network(architecture))
    theta = objective.theta.copy()
    _, gradient = objective.loss_and_gradient(theta)
    gradient, direction = gradient.copy(), np.random.RandomState(0).randn(theta.size)
    step = 1e-6 * direction
    slope = (loss_at(objective, theta + step) - loss_at(objective, theta - step)) / 2e-6
    assert_allclose(gradient @ direction, slope, rtol=1e-6)


@pytest.mark.parametrize("min_multiplications", [1, 10**9])
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_micro_batches_add_up(monkeypatch, n, min_multiplications):
    network, parameters = random_network("two layers")
    whole = objective_of(network, parameters, n)
    monkeypatch.setattr(division, "MIN_MULTIPLICATIONS", min_multiplications)
    monkeypatch.setattr(division, "min_group_size", lambda *args: 2)
    divided = objective_of(network, parameters, n)
    slices = divided._executor.division.micro_batches(n)
    expected = {1: 1, 2: 1, 7: 2, 40: 8}[
        n
    ]  # a power of two, so that two threads have as much to do
    assert len(slices) == (expected if min_multiplications == 1 else 1)
    assert [k for rows in slices for k in range(n)[rows]] == list(range(n))
    one, other = (of.loss_and_gradient(of.theta) for of in (whole, divided))
    assert_allclose(other[0], one[0])
    assert_allclose(other[1], one[1], atol=1e-14)
    assert_allclose(divided.outputs(divided._X), whole.outputs(whole._X))


def map_and_record(sizes, function, *tasks):
    """The built-in map, which appends the sizes of the micro-batches to a list."""
    sizes.extend(rows.stop - rows.start for rows in tasks[-1])
    return map(function, *tasks)


def test_an_interrupt_waits_for_a_small_part_of_a_prediction(monkeypatch):
    network, parameters = random_network("two layers")
    X = np.random.RandomState(0).rand(40, network.n_values)
    layer = network.group("filters")[1]
    whole = ParallelExecutor(network, parameters, loss_of(network), 40)
    T, maps = whole.outputs(X), whole.feature_maps(X, layer)
    monkeypatch.setattr(division, "MAX_MULTIPLICATIONS", network.n_multiplications)
    monkeypatch.setattr(division, "MIN_MULTIPLICATIONS", 1)
    monkeypatch.setattr(division, "min_group_size", lambda *args: 2)
    sizes = []
    record = partial(map_and_record, sizes)
    divided = ParallelExecutor(network, parameters, loss_of(network), 40, record)
    assert_allclose(divided.outputs(X), T)
    assert_allclose(divided.feature_maps(X, layer), maps)
    assert sizes == 2 * 40 * [1]


@pytest.mark.parametrize("images_at_a_time", [1, 1 / 100])  # at least one
def test_an_interrupt_waits_for_a_small_part_of_a_large_batch(monkeypatch, images_at_a_time):
    network, parameters = random_network("two layers")
    one = objective_of(network, parameters, 40)
    loss, gradient = one.loss_and_gradient(one.theta)
    gradient = gradient.copy()
    longest = int(network.n_multiplications * images_at_a_time)
    monkeypatch.setattr(division, "MAX_MULTIPLICATIONS", longest)
    monkeypatch.setattr(division, "MIN_MULTIPLICATIONS", 1)
    monkeypatch.setattr(division, "min_group_size", lambda *args: 1)
    other, sizes = objective_of(network, parameters, 40), []
    monkeypatch.setattr(other._executor, "_map", partial(map_and_record, sizes))
    in_rounds = other.loss_and_gradient(other.theta)
    assert_allclose(in_rounds[0], loss)
    assert_allclose(in_rounds[1], gradient, atol=1e-14)
    assert sizes == 40 * [1]


def test_each_thread_has_its_executor():
    network, parameters = random_network("two layers")
    barrier = Barrier(2, timeout=60)  # so that each thread takes one of two tasks

    def used(executor, task):
        barrier.wait()
        return get_ident(), id(executor)

    with ThreadPoolExecutor(2) as pool:
        parallel_executor = ParallelExecutor(network, parameters, loss_of(network), 2, pool.map)
        found = {pair for _ in range(5) for pair in parallel_executor.compute(used, range(2))}
    threads, executors = zip(*found)
    assert len(found) == len({*threads}) == len({*executors}) == 2


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(division, "MIN_MULTIPLICATIONS", 1)
    monkeypatch.setattr(division, "min_group_size", lambda *args: 2)
    network, parameters = random_network("two layers")
    alone = objective_of(network, parameters, 50)
    with ThreadPoolExecutor(3) as executor:
        together = objective_of(network, parameters, 50, map=executor.map)
        for _ in range(20):
            gradients = [of.loss_and_gradient(of.theta)[1] for of in (alone, together)]
            assert_array_equal(*gradients)
            assert_array_equal(together.outputs(together._X), alone.outputs(alone._X))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_an_epoch_is_a_step_for_each_batch_in_order(dropout):
    network, parameters = random_network("two layers", dropout=dropout > 0)
    objective = objective_of(network, parameters, dropout=dropout)
    order, solver = np.array([4, 2, 0, 1, 6]), SGD(objective.theta)
    objective.run_epoch(solver, order, 2, 0.05, seed=(3, 1))
    visited = objective.visited_outputs()
    slow = objective_of(network, parameters, dropout=dropout)
    for rows in np.split(order, [2, 4]):
        mask = None
        if dropout:
            masks = DropoutMasks(dropout, network.n_dropout_inputs, slow.theta.dtype, (3, 1))
            mask = masks.of(slow._hashes[rows])
        X, s = Selection(slow._X, rows), slow._s[rows] / len(rows)
        gradient = slow._gradient(Batch(X, slow._Y[rows], s, mask))
        slow.theta[...] -= 0.05 * gradient
    assert_allclose(objective.theta, slow.theta, atol=1e-12)
    assert_allclose(visited, slow.visited_outputs(), atol=1e-12)
    assert solver.t == 3


def test_masks_are_the_same_for_the_same_sample_and_differ_else():
    hashes = np.random.RandomState(0).randint(2**31, size=9).astype(np.uint64)
    masks = DropoutMasks(0.3, 70, np.dtype(float), (0, 0))
    assert_array_equal(masks.of(hashes[[3, 3]]), masks.of(hashes)[[3, 3]])
    assert set(np.unique(masks.of(hashes))) == {0.0, 1 / 0.7}
    assert len(np.unique(masks.of(hashes), axis=0)) == 9
    for seed in ((0, 1), (1, 0)):
        assert (
            (DropoutMasks(0.3, 70, np.dtype(float), seed).of(hashes) != masks.of(hashes))
            .any(1)
            .all()
        )


def test_masks_leave_out_their_part_independently():
    hashes = np.random.RandomState(0).randint(2**31, size=2000).astype(np.uint64)
    masks = DropoutMasks(0.3, 50, np.dtype(np.float32), (0, 0)).of(hashes)
    assert masks.dtype == np.float32
    assert_allclose((masks == 0).mean(axis=0), 0.3, atol=0.05)
    assert_allclose(masks.mean(), 1, atol=0.01)
    between_inputs = np.corrcoef(masks.T) - np.eye(50)
    assert np.abs(between_inputs).max() < 0.1
    between_samples = np.corrcoef(masks[:100]) - np.eye(100)
    assert np.abs(between_samples).mean() < 0.2


@pytest.mark.parametrize("batch_size", [1, 3, 20])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_an_augmented_epoch_is_one_on_changed_images(monkeypatch, dtype, batch_size):
    def augment(images, random_state):
        assert images.dtype == np.float64 and images.shape[1:] == (7, 6, 1)
        return images + random_state.randn(len(images), 1, 1, 1)

    monkeypatch.setattr(parallel, "MAX_CALL_BYTES", 7 * 42 * 8)
    network, parameters = random_network("two layers")
    initial = parameters.params
    rng = np.random.RandomState(1)
    X, y, s = rng.randint(9, size=(20, 42)).astype(dtype), rng.randint(3, size=20), np.ones(20)
    order, models = rng.permutation(20), []
    for changed, function in ((X, augment), (X[order] + 0.0, None)):
        if function is None:
            state = np.random.RandomState(5)
            for start in range(0, 20, batch_size):
                batch = changed[start : start + batch_size].reshape(-1, 7, 6, 1)
                batch[...] = augment(batch, state)
        parameters = Parameters(network, initial)
        executor = ParallelExecutor(network, parameters, loss_of(network), batch_size)
        labels = y if function else y[order]
        objective = Objective(executor, changed, labels, s, 0.1, augment=function)
        rows, solver = order if function else np.arange(20), SGD(objective.theta)
        state = np.random.RandomState(5)
        objective.run_epoch(solver, rows, batch_size, 0.05, random_state=state)
        models.append(objective.theta)
    assert_array_equal(*models)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_that_overflow_are_found(dtype):
    network, parameters = random_network("two layers", dtype=dtype)
    assert objective_of(network, parameters).has_finite_outputs()
    for params in parameters.params:
        for name in {"W", "V"} & params.keys():
            params[name] *= dtype(1e15) if dtype == np.float32 else dtype(1e150)
    with np.errstate(all="ignore"):
        objective = objective_of(network, parameters)
        assert not objective.has_finite_outputs()


@pytest.mark.parametrize("architecture", ["one layer", "two layers"])
def test_nan_is_not_lost(architecture):
    network, parameters = random_network(architecture)
    parameters.params[0]["W"][:, 1, 1] = np.nan
    executor = ParallelExecutor(network, parameters, loss_of(network), 2)
    T = executor.outputs(np.ones((2, network.n_values)))
    assert np.isnan(T).all()
