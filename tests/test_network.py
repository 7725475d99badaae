"""The network as a whole: gradients, initial values, layouts and blocks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skcnn import _fast, _layers, _network, _parameters
from skcnn._network import Buffers
from skcnn._parameters import Architecture, Params

pytestmark = pytest.mark.usefixtures("kernels")


def random_problem(architecture, seed, n=3):
    """A vector of parameters, images, indices of classes, and weights of mean 1."""
    rng = np.random.RandomState(seed)
    theta = _parameters.join(_parameters.init_params(architecture, rng, np.float64))
    theta += 0.1 * rng.randn(theta.size)
    X = rng.randn(n, architecture.H, architecture.W, architecture.C)
    n_outputs = architecture.n_outputs
    y = rng.randint(max(n_outputs, 2), size=n)
    s = rng.rand(n) + 0.1
    return theta, X, y, s / s.mean()


def as_in_the_mathematics(params, architecture):
    """W (F, K, K, C), b, V (n_outputs, H' * W' * F) and c."""
    K, C = architecture.K, architecture.C
    V = _parameters.coef_from_dense(params.V, architecture)
    return params.W.reshape(-1, K, K, C), params.b, V, params.c


def logits(params, X, architecture):
    buffers = Buffers(architecture, params.W.dtype)
    return _network.logits(buffers.laid_out(params)[1], X, buffers)


def gradient_at(objective, batch):
    """The gradient of a batch, in the layout of theta."""
    (gradient,) = objective.gradients(batch, len(batch))
    return gradient


def gradient_of(objective, batch):
    """The gradient of a batch, in the order of `Params`."""
    return gradient_at(objective, batch)[objective.places]


def objective_at(theta, X, y, s, architecture, **options):
    options = {"alpha": 0.0, "fit_intercept": True, "freeze": None, **options}
    params = _parameters.split(theta, architecture.shapes)
    return _network.Objective(params, X, y, s, architecture=architecture, **options)


def central_differences(function, theta, step=1e-5):
    """The gradient of a function of a vector."""
    gradient = np.empty_like(theta)
    for k in range(theta.size):
        for sign in (1, -1):
            moved = theta.copy()
            moved[k] += sign * step
            gradient[k] = function(moved) if sign == 1 else gradient[k] - function(moved)
    return gradient / (2 * step)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    architecture=st.builds(
        Architecture,
        H=st.integers(1, 6),
        W=st.integers(1, 6),
        C=st.integers(1, 3),
        K=st.integers(1, 5),
        F=st.integers(1, 4),
        p=st.integers(1, 3),
        n_outputs=st.sampled_from([1, 3, 4]),
    ),
    seed=st.integers(0, 2**16),
    alpha=st.sampled_from([0.0, 0.3]),
)
def test_gradients_agree_with_central_differences(architecture, seed, alpha):
    theta, X, y, s = random_problem(architecture, seed)

    def loss(theta):
        params = _parameters.split(theta, architecture.shapes)
        log_P = _layers.log_probabilities(logits(params, X, architecture))
        penalty = alpha / 2 * ((params.W**2).sum() + (params.V**2).sum())
        return np.average(-log_P[np.arange(len(y)), y], weights=s) + penalty

    convolution = _network.Convolution(architecture, len(X), np.dtype(np.float64))
    ((patches, *_),) = convolution.see(X)
    convolution.forward(_parameters.split(theta, architecture.shapes), patches)
    b = theta[: architecture.F, np.newaxis]
    assume(np.abs(convolution.Z + b).min() > 1e-3)  # away from the kink of ReLU
    objective = objective_at(theta, X, y, s, architecture, alpha=alpha)
    gradient = gradient_of(objective, np.arange(len(X)))
    differences = central_differences(loss, theta)
    of_each = zip(*(_parameters.split(v, architecture.shapes) for v in (gradient, differences)))
    for name, (written, measured) in zip(Params._fields, of_each):
        size = max(np.abs(measured).max(), 1e-2)
        assert np.abs(written - measured).max() < 1e-6 * size, name


LARGER_THAN_THE_IMAGE = [
    Architecture(H=3, W=2, C=1, K=4, F=1, p=1, n_outputs=1),
    Architecture(H=3, W=2, C=2, K=5, F=2, p=1, n_outputs=3),
    Architecture(H=2, W=4, C=2, K=8, F=5, p=2, n_outputs=1),
    Architecture(H=3, W=3, C=1, K=9, F=4, p=3, n_outputs=1),
    Architecture(H=1, W=7, C=2, K=6, F=2, p=1, n_outputs=3),
    Architecture(H=6, W=1, C=1, K=3, F=1, p=1, n_outputs=1),
    Architecture(H=1, W=1, C=1, K=6, F=2, p=1, n_outputs=1),
]


def unused_taps(architecture):
    """Whether a tap of W, of shape (F, K, K, C), sees the image of no pixel."""
    H, W, C, K, F, *_ = architecture
    unused = np.ones((F, K, K, C), dtype=bool)
    for u, v, i, j in np.ndindex(K, K, H, W):
        if 0 <= i + u - K // 2 < H and 0 <= j + v - K // 2 < W:
            unused[:, u, v] = False
    return unused.reshape(F, -1)


@pytest.mark.parametrize("architecture", LARGER_THAN_THE_IMAGE, ids=str)
def test_filters_larger_than_the_image(architecture):
    theta, X, y, s = random_problem(architecture, seed=1)
    params = _parameters.split(theta, architecture.shapes)
    for_oracle = as_in_the_mathematics(params, architecture)
    T = oracle.logits(X, *for_oracle, p=architecture.p)
    assert_allclose(logits(params, X, architecture), T, atol=1e-12)
    W, b, *_ = for_oracle
    maps = np.maximum(oracle.response(X, W, b), 0)
    assert_allclose(_network.feature_maps(params, X, architecture), maps, atol=1e-12)

    def loss(theta):
        params = _parameters.split(theta, architecture.shapes)
        log_P = _layers.log_probabilities(logits(params, X, architecture))
        penalty = 0.3 / 2 * ((params.W**2).sum() + (params.V**2).sum())
        return np.average(-log_P[np.arange(len(y)), y], weights=s) + penalty

    objective = objective_at(theta, X, y, s, architecture, alpha=0.3)
    for _ in range(2):
        gradient = gradient_at(objective, np.arange(len(X)))
        in_order = gradient[objective.places]
        assert_allclose(in_order, central_differences(loss, theta), rtol=0, atol=1e-7)
        unused = unused_taps(architecture)
        dW = _parameters.split(in_order, architecture.shapes).W
        assert unused.any()
        assert_array_equal(dW[unused], 0.3 * params.W[unused])
        gradient.fill(np.nan)  # a solver may use it as scratch paper
    assert_array_equal(_parameters.join(objective.params), theta)


@pytest.mark.parametrize(
    "H, W, K, expected",
    [
        (4, 4, 1000, (7, 7)),
        (4, 4, 8, (7, 7)),
        (4, 4, 7, (7, 7)),
        (4, 4, 6, (6, 6)),
        (1, 50, 9, (1, 9)),
        (1, 1, 3, (1, 1)),
        (50, 1, 8, (8, 1)),
        (28, 28, 3, (3, 3)),
    ],
)
def test_taps_that_only_see_zeros_are_not_computed(H, W, K, expected):
    architecture = Architecture(H=H, W=W, C=2, K=K, F=1, p=1, n_outputs=1)
    n_taps = expected[0] * expected[1] * 2
    assert architecture.kernel == expected
    assert architecture.work == H * W * n_taps
    convolution = _network.Convolution(architecture, 1, np.dtype(np.float64))
    assert convolution.gathered.shape[1:4] == (*expected, 2)
    assert convolution.n_batches <= 1000
    ((patches, *_),) = convolution.see(np.zeros((1, H, W, 2)))
    assert patches.shape == (n_taps, H * W)
    if _fast.is_there():
        offsets = _fast._offsets(architecture, 0)
        assert n_taps <= offsets.size < n_taps + 9
        room = _fast._room(architecture, np.dtype(np.float64), 1)
        height, row = H + expected[0] - 1, W + expected[1] - 1
        assert room.padded.size == (2 * height + H) * row


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("K, C, F, p", [(3, 1, 1, 1), (2, 2, 3, 1), (3, 2, 2, 2), (2, 1, 3, 3)])
def test_logits_and_loss_are_those_of_the_loops(K, C, F, p, n_outputs):
    architecture = Architecture(H=4, W=5, C=C, K=K, F=F, p=p, n_outputs=n_outputs)
    theta, X, y, s = random_problem(architecture, seed=0)
    params = _parameters.split(theta, architecture.shapes)
    T = logits(params, X, architecture)
    for_oracle = as_in_the_mathematics(params, architecture)
    assert_allclose(T, oracle.logits(X, *for_oracle, p=p))
    loss = np.average(_layers.reported_log_loss(T, y), weights=s)
    assert_allclose(loss, oracle.loss(X, y, s, *for_oracle, alpha=0, p=p))


def test_feature_maps_are_the_positive_responses_of_the_loops():
    architecture = Architecture(H=3, W=4, C=2, K=3, F=2, p=1, n_outputs=1)
    theta, X, *_ = random_problem(architecture, seed=0)
    params = _parameters.split(theta, architecture.shapes)
    A = _network.feature_maps(params, X, architecture)
    W, b, *_ = as_in_the_mathematics(params, architecture)
    assert_allclose(A, np.maximum(oracle.response(X, W, b), 0), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("F", [1, 3])
def test_dense_weights_begin_at_a_cache_line(F, dtype):
    architecture = Architecture(H=5, W=4, C=1, K=3, F=F, p=1, n_outputs=1)
    vector, params = _parameters.zeros(architecture.shapes, dtype)
    assert params.V.ctypes.data % _parameters.CACHE_LINE == 0
    assert vector.size == sum(array.size for array in params) and not vector.any()
    params.V[...] = 1
    assert vector.sum() == params.V.size


@pytest.fixture
def two_images_a_block(monkeypatch):
    monkeypatch.setattr(_network, "block_size", lambda *sizes: 2)
    monkeypatch.setattr(_fast, "CHUNK_BYTES", 0)
    monkeypatch.setattr(_fast, "CACHE_BYTES", 0)


@pytest.mark.parametrize("part_work", [1, 10**9])
@pytest.mark.parametrize("n", [1, 2, 5, 7, 40])
def test_parts_and_blocks_of_images_add_up(request, monkeypatch, n, part_work):
    architecture = Architecture(H=5, W=5, C=1, K=3, F=2, p=1, n_outputs=3)
    theta, X, y, s = random_problem(architecture, seed=0, n=n)
    whole = objective_at(theta, X, y, s, architecture, alpha=0.1)
    assert whole._buffers.parts(n) == [slice(0, n)]
    request.getfixturevalue("two_images_a_block")
    monkeypatch.setattr(_network, "PART_WORK", part_work)
    divided = objective_at(theta, X, y, s, architecture, alpha=0.1)
    parts = divided._buffers.parts(n)
    assert len(parts) == (min(max(1, n // 2), 8) if part_work == 1 else 1)
    assert [k for rows in parts for k in range(n)[rows]] == list(range(n))
    everything = np.arange(n)
    assert_allclose(gradient_at(divided, everything), gradient_at(whole, everything), atol=1e-14)
    assert_allclose(divided.visited_logits(), whole.visited_logits())
    assert_allclose(divided.logits(X), whole.logits(X))


@pytest.mark.parametrize("p", [1, 2])
def test_matrix_products_in_pieces_give_the_same(monkeypatch, p):
    architecture = Architecture(H=6, W=4, C=2, K=3, F=2, p=p, n_outputs=3)
    theta, X, y, s = random_problem(architecture, seed=0, n=4)
    corners, length = [p * p][: p - 1], 4 * 6 * 4 // p**2  # a product for each corner of a window

    def gradient_and_shape():
        objective = objective_at(theta, X, y, s, architecture)
        convolution = _network.Convolution(architecture, 4, np.dtype(np.float64))
        return gradient_of(objective, np.arange(4)), convolution.batches[0][0].shape

    whole, shape = gradient_and_shape()
    assert shape == (*corners, 18, length)
    monkeypatch.setattr(_layers, "PRODUCT_WORK", 2 * 18 * length // 3)
    monkeypatch.setattr(_layers, "SHORTEST_PIECE", 4)
    in_pieces, shape = gradient_and_shape()
    assert shape == (*corners, 3, 18, length // 3)
    assert_allclose(in_pieces, whole, rtol=1e-12)


def test_threads_change_no_bit(two_images_a_block, monkeypatch):
    monkeypatch.setattr(_network, "PART_WORK", 1)
    architecture = Architecture(H=9, W=8, C=2, K=3, F=3, p=2, n_outputs=3)
    theta, X, y, s = random_problem(architecture, seed=0, n=50)
    everything = np.arange(50)
    alone = objective_at(theta, X, y, s, architecture)
    with ThreadPoolExecutor(3) as executor:
        together = objective_at(theta, X, y, s, architecture, map=executor.map)
        for _ in range(20):
            assert_array_equal(gradient_at(together, everything), gradient_at(alone, everything))
            assert_array_equal(together.logits(X), alone.logits(X))


@pytest.mark.parametrize("chunk_bytes", [1, 2**21])
def test_gradients_of_batches_come_in_order(monkeypatch, chunk_bytes):
    monkeypatch.setattr(_network, "CHUNK_BYTES", chunk_bytes)
    architecture = Architecture(H=4, W=4, C=1, K=3, F=2, p=1, n_outputs=3)
    objective = objective_at(*random_problem(architecture, seed=0, n=7), architecture)
    order = np.array([4, 2, 0, 1, 6])
    one_by_one = [gradient_at(objective, batch).copy() for batch in np.split(order, [2, 4])]
    objective.visited_logits()
    together = [gradient.copy() for gradient in objective.gradients(order, batch_size=2)]
    assert_array_equal(together, one_by_one)
    assert_allclose(objective.visited_logits(), objective.logits(objective._X[order]))


@pytest.mark.parametrize("freeze, changes", [("filters", "Vc"), ("dense", "bW"), (None, "bWVc")])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_only_what_is_learnt_is_in_theta(freeze, changes, fit_intercept):
    architecture = Architecture(H=4, W=4, C=1, K=3, F=2, p=1, n_outputs=1)
    theta, X, y, s = random_problem(architecture, seed=0)
    objective = objective_at(
        theta, X, y, s, architecture, freeze=freeze, fit_intercept=fit_intercept
    )
    before = [array.copy() for array in objective.params]
    for _ in range(2):
        gradient = gradient_at(objective, np.arange(len(X)))
        objective.theta -= gradient
        gradient.fill(np.nan)  # a solver may use it as scratch paper
    for name, old, new in zip(Params._fields, before, objective.params):
        if name in "bc" and not fit_intercept:
            assert_array_equal(new, 0)
        else:
            assert (new != old).any() == (name in changes), name


def test_initial_values_are_drawn_as_published():
    architecture = Architecture(H=28, W=28, C=1, K=3, F=1, p=1, n_outputs=1)
    params = _parameters.init_params(architecture, np.random.RandomState(42), np.float64)
    rng = np.random.RandomState(42)
    assert_array_equal(params.W, rng.normal(0, 2 / 3, size=(1, 9)))
    assert_array_equal(params.V, rng.normal(0, 1 / 28, size=(1, 784)))
    many = Architecture(H=5, W=4, C=1, K=2, F=3, p=2, n_outputs=4)
    params = _parameters.init_params(many, np.random.RandomState(0), np.float64)
    rng = np.random.RandomState(0)
    assert_array_equal(params.W, rng.normal(0, 1, size=(3, 4)))
    coef = _parameters.coef_from_dense(params.V, many)
    assert_array_equal(coef, rng.normal(0, 1 / np.sqrt(12), size=(4, 12)))
    assert_array_equal(params.b, 0)
    assert_array_equal(params.c, 0)


def test_initial_values_of_colour_and_many_filters():
    architecture = Architecture(H=20, W=30, C=3, K=7, F=8, p=1, n_outputs=5)
    params = _parameters.init_params(architecture, np.random.RandomState(0), np.float32)
    assert {array.dtype for array in params} == {np.dtype(np.float32)}
    assert_allclose(params.W.std(), 2 / np.sqrt(7 * 7 * 3), rtol=0.05)
    assert_allclose(params.V.std(), 1 / np.sqrt(20 * 30 * 8), rtol=0.02)


def test_dense_weights_in_both_layouts():
    architecture = Architecture(H=2, W=3, C=1, K=1, F=4, p=1, n_outputs=5)
    V = np.arange(5 * 24.0).reshape(5, 24)
    coef = _parameters.coef_from_dense(V, architecture)
    as_activations = V.reshape(5, 4, 2, 3).transpose(0, 2, 3, 1)
    assert_array_equal(coef.reshape(5, 2, 3, 4), as_activations)
    assert_array_equal(_parameters.dense_from_coef(coef, architecture), V)


@pytest.mark.parametrize(
    "H, W, p, expected",
    [
        (28, 28, 2, (2, 2)),
        (7, 5, 3, (3, 3)),
        (4, 4, 4, (4, 4)),
        (1, 100, 4, (1, 4)),
        (1, 5, 4, (1, 2)),
        (1, 2, 2, (1, 1)),
        (1, 1, 3, (1, 1)),
        (3, 28, 5, (1, 5)),
    ],
)
def test_windows_fit_the_image(H, W, p, expected):
    architecture = Architecture(H=H, W=W, C=1, K=3, F=2, p=p, n_outputs=1)
    assert architecture.pool == expected
    assert architecture.n_in == 2 * (H // expected[0]) * (W // expected[1])


def test_only_one_of_equal_pixels_has_the_gradient():
    # On an image of one colour all pixels of a window inside it are equal, and the first wins.
    architecture = Architecture(H=4, W=4, C=1, K=1, F=1, p=2, n_outputs=1)
    X, y, s = np.ones((1, 4, 4, 1)), np.array([1]), np.ones(1)
    theta = np.r_[0.0, 2.0, np.ones(4), 0.0]  # b, W, V, c
    objective = objective_at(theta, X, y, s, architecture)
    gradient = gradient_of(objective, np.array([0]))
    dT = 1 / (1 + np.exp(-8.0)) - 1
    assert_allclose(gradient, dT * np.r_[4, 4, 2, 2, 2, 2, 1])


def test_loss_for_all_data_at_once():
    architecture = Architecture(H=4, W=5, C=1, K=3, F=2, p=2, n_outputs=3)
    theta, X, y, s = random_problem(architecture, seed=0, n=5)
    objective = objective_at(np.zeros_like(theta), X, y, 7 * s, architecture, alpha=0.3)
    at_theta = objective_at(theta, X, y, s, architecture, alpha=0.3)
    loss, gradient = objective.loss_and_gradient(at_theta.theta)
    params = _parameters.split(theta, architecture.shapes)
    for_oracle = as_in_the_mathematics(params, architecture)
    assert_allclose(loss, oracle.loss(X, y, s, *for_oracle, alpha=0.3, p=2))
    assert_allclose(gradient, gradient_at(at_theta, np.arange(5)), atol=1e-15)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    architecture=st.builds(
        Architecture,
        H=st.integers(3, 7),
        W=st.integers(3, 7),
        C=st.integers(1, 4),
        K=st.integers(1, 7),
        F=st.integers(1, 6),
        p=st.integers(1, 3),
        n_outputs=st.sampled_from([1, 3, 4, 5]),
    ),
    seed=st.integers(0, 2**16),
    alpha=st.sampled_from([0.0, 0.3]),
    fit_intercept=st.booleans(),
)
def test_gradients_agree_with_automatic_differentiation(architecture, seed, alpha, fit_intercept):
    torch = pytest.importorskip("torch")
    theta, X, y, s = random_problem(architecture, seed)
    objective = objective_at(theta, X, y, s, architecture, alpha=alpha, fit_intercept=fit_intercept)
    written = gradient_of(objective, np.arange(len(X)))

    tensors = [torch.tensor(array, requires_grad=True) for array in objective.params]
    b, W, V, c = tensors
    K = architecture.K
    padding = K // 2, (K - 1) // 2, K // 2, (K - 1) // 2
    images = torch.nn.functional.pad(torch.tensor(X).permute(0, 3, 1, 2), padding)
    filters = W.reshape(-1, K, K, architecture.C).permute(0, 3, 1, 2)
    Z = torch.nn.functional.conv2d(images, filters, b)
    A = torch.relu(torch.nn.functional.max_pool2d(Z, architecture.p))
    T = A.flatten(1) @ V.T + c
    if architecture.n_outputs == 1:
        T = torch.cat([torch.zeros_like(T), T], dim=1)
    losses = torch.nn.functional.cross_entropy(T, torch.tensor(y), reduction="none")
    loss = (torch.tensor(s) * losses).mean() + alpha / 2 * ((W**2).sum() + (V**2).sum())
    loss.backward()
    learnt = tensors if fit_intercept else [W, V]
    derived = np.concatenate([tensor.grad.numpy().ravel() for tensor in learnt])
    assert np.abs(written - derived).max() <= 1e-6 * np.abs(derived).max()
