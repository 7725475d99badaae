"""From parameters to the gradient of a batch: parts, threads, penalty, choice of the kernels.

A batch is divided into parts, which may be computed in parallel. The division does not depend on
the number of threads, so that sums have the same order, and weights the same bits, on one core and
on many. The workspace of a part, with compiled loops where they are available, else with whole
arrays, divides it further into blocks that fit into a cache.
"""

from functools import partial
from threading import get_ident

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from . import _fast
from ._compilation import CompilationError
from ._holdout import hashes
from ._network import KEEP_ALL, BlockWorkspace, equal_slices, smallest_block, take_rows

# A part is worth a thread from two million multiplications on, a few tenths of a millisecond; from
# twice as many for whole arrays whose blocks have less than a million, between which threads wait
# for Python's global lock: with eight filters and batches of 128, two threads took a third longer.
MAX_PARTS = 8
PART_WORK = 2**21
BLOCK_WORK = 2**20

# A call of compiled loops cannot be interrupted, so it takes about a tenth of a second at most. If
# its images must be gathered, they have no more bytes than this.
COMPILED_CHUNK_WORK = 2**28
COMPILED_CHUNK_BYTES = 2**22

# An interrupt waits for the parts that other threads have begun: in compiled loops less than a
# second, in whole arrays some seconds at most.
LONGEST_PART = 2**32


class Pool:
    """Workspaces of a network, one for each thread that computes a part of a batch.

    Parameters
    ----------
    network : Network
    parameters : Parameters
    batch_size : int
        The largest number of images at a time.
    map : callable
        ``map(function, *tasks)`` calls a function for each of some tasks, perhaps in parallel.
    """

    def __init__(self, network, parameters, batch_size, map=map):
        self.network, self.parameters = network, parameters
        dtype = parameters.vector.dtype
        self.compiled = _fast.is_available() and _fast.can_compute(network, dtype)
        self._map = map
        self._smallest_part = smallest_block(network, dtype)
        few = not self.compiled and self._smallest_part * network.work < BLOCK_WORK
        self._part_work = 2 * PART_WORK if few else PART_WORK
        self._largest = max(part.stop - part.start for part in self.parts(batch_size))
        self._packed = _fast.Packed(network, parameters, self._largest) if self.compiled else None
        # One for each thread: with arrays in another core's cache, a batch took three times as long
        self._workspaces = {}
        self._gradients = {0: self._packed.gradient} if self.compiled else {}

    def parts(self, n):
        """Return the parts of a batch of n images, as slices."""
        work = n * self.network.work
        n_parts = max(1, min(MAX_PARTS, n // self._smallest_part, work // self._part_work))
        n_parts = 2 ** (n_parts.bit_length() - 1)  # five parts would leave one of two threads idle
        return equal_slices(n, n_parts)

    def compute(self, function, *tasks):
        """Return the results of ``function(workspace, *task)`` for each task, in their order."""
        if self._packed is not None:
            self._packed.pack()
        try:
            if len(tasks[0]) == 1:
                return [self._compute(function, *(of_part for (of_part,) in tasks))]
            return list(self._map(partial(self._compute, function), *tasks))
        except CompilationError:  # nothing was computed
            self.compiled, self._packed, self._workspaces, self._gradients = False, None, {}, {}
            return self.compute(function, *tasks)

    def _compute(self, function, *task):
        thread = get_ident()
        if thread not in self._workspaces:
            self._workspaces[thread] = (
                _fast.Workspace(self._packed)
                if self.compiled
                else BlockWorkspace(self.network, self.parameters)
            )
        return function(self._workspaces[thread], *task)

    def outputs(self, X):
        """Return T, an array (n, n_outputs), for n images."""
        parts = self._parts_of_prediction(X.shape[0])
        return np.concatenate(self.compute(lambda work, rows: work.outputs(X[rows]), parts))

    def feature_maps(self, X, layer):
        """Return the responses of a convolution layer after ReLU, before pooling, (n, H, W, F)."""
        shape = X.shape[0], *self.network.convolutions[layer].map_shape
        maps = np.empty(shape, self.parameters.vector.dtype)

        def of_part(rows):
            work = BlockWorkspace(self.network, self.parameters)
            work.feature_maps(X[rows], layer, out=maps[rows])

        list(self._map(of_part, self._parts_of_prediction(len(maps))))
        return maps

    def _n_rounds(self, n):
        """Return how many times n images are divided into `MAX_PARTS` parts: once for a few."""
        longest_part = max(1, LONGEST_PART // self.network.work)
        return -(-n // (MAX_PARTS * longest_part))

    def _parts_of_prediction(self, n):
        """Return the parts of n images, as slices, of all rounds."""
        return equal_slices(n, min(n, self._n_rounds(n) * len(self.parts(n))))

    def gradient(self, X, Y, s, keep, T):
        """Write the outputs for a batch into T, and return the gradient of its weighted loss.

        It is overwritten by the next call. X is a `Selection`.
        """
        first, *others = equal_slices(len(Y), self._n_rounds(len(Y)))
        total = self._gradient(X.part(first), Y[first], s[first], keep[first], T[first])
        if others:
            total = total.copy()
        for some in others:
            total += self._gradient(X.part(some), Y[some], s[some], keep[some], T[some])
        return total

    def _gradient(self, X, Y, s, keep, T):
        """Return the same, with at most `MAX_PARTS` parts."""
        parts = self.parts(len(Y))

        def of_part(workspace, number, rows):
            if number not in self._gradients:
                new = self._packed if self.compiled else self.parameters
                self._gradients[number] = new.new_gradient()
            out = self._gradients[number]
            workspace.gradient(X.part(rows), Y[rows], s[rows], keep[rows], T[rows], out)

        self.compute(of_part, range(len(parts)), parts)
        total = self._gradients[0]
        for number in range(1, len(parts)):
            total += self._gradients[number]
        return self._packed.unpacked_gradient() if self.compiled else total


class Selection:
    """Some rows of images, which are gathered only when indexed.

    Parameters
    ----------
    X : ndarray or sparse array
    rows : ndarray of int
    """

    def __init__(self, X, rows):
        self._X, self._rows = X, rows
        self.shape = len(rows), *X.shape[1:]

    def part(self, some):
        """Return a selection of some of these rows, without gathering them."""
        return Selection(self._X, self._rows[some])

    def __getitem__(self, some):
        return take_rows(self._X, self._rows[some])


class Objective:
    """The loss on given data as a function of theta.

    Parameters
    ----------
    pool : Pool
        Of the network, its parameters, which are changed, and the largest batch.
    X : ndarray or sparse array of n rows
        Images, of any numeric dtype.
    y : ndarray of shape (n,) or (n, n_outputs)
        Targets, as the loss of the network takes them.
    s : ndarray of shape (n,)
        Weights of the images.
    alpha : float
        L2 penalty.
    dropout : float, default=0.0
        Fraction of the inputs of each dense layer that is set to 0 in a step.
    augment : callable, default=None
        ``augment(images, random_state)`` returns changed images (n, H, W, C) of a batch.

    Attributes
    ----------
    theta : ndarray
        The parameters that are learnt, as a vector. A solver changes it in place.
    loss : LogLoss, LabelLogLoss or SquaredError
        That of the network.
    """

    def __init__(self, pool, X, y, s, alpha, dropout=0.0, augment=None):
        self._pool = pool
        self._network, self._parameters = pool.network, pool.parameters
        self.loss = pool.network.loss
        self.theta = self._parameters.theta
        self._X, self._y = X, y
        self._s = s.astype(self.theta.dtype)
        self._rows = np.flatnonzero(s)  # samples of weight 0 are not visited
        self._Y = self.loss.targets(y, self.theta.dtype)
        self._alpha, self._dropout, self._augment = alpha, dropout, augment
        self._hashes = hashes(X) if dropout else None
        self._visited = []

    def run_epoch(self, solver, order, batch_size, eta, seed=None, random_state=None):
        """Take a step on the gradient of the mean loss of each batch.

        Parameters
        ----------
        solver : SGD or Adam
        order : ndarray of int
            Indices of the samples, one batch after the other; the last batch may be smaller.
        batch_size : int
        eta : float
            Learning rate.
        seed : sequence of int
            Seed of the dropout masks.
        random_state : numpy.random.RandomState
            For ``augment``.
        """
        masks = Masks(self._dropout, self._network.n_dense_inputs, self.theta.dtype, seed)
        in_parts = len(self._pool.parts(batch_size)) > 1
        for rows in pieces(order, batch_size if in_parts else self._chunk_size(batch_size)):
            keep = masks.of(self._hashes[rows]) if self._dropout else KEEP_ALL
            X, Y, s, some = self._X, self._Y, self._s, rows
            if self._augment is not None:
                X = np.concatenate(
                    [self._augmented(batch, random_state) for batch in pieces(rows, batch_size)]
                )
                Y, s, some = Y.take(rows, axis=0), s.take(rows), np.arange(len(rows))
            if in_parts:
                of_rows = Y.take(some, axis=0), s.take(some) / len(some), keep
                solver.step(self.theta, self._gradient(Selection(X, some), *of_rows), eta)
            else:
                data = X, Y, s, some, keep
                self._visited += self._pool.compute(
                    lambda work, data: work.run_epoch(solver, *data, batch_size, self._alpha, eta),
                    [data],
                )

    def _augmented(self, rows, random_state):
        """Return the images of a batch as ``augment`` changes them."""
        X = take_rows(self._X, rows)
        X = X.toarray() if hasattr(X, "toarray") else X
        images = X.astype(self.theta.dtype).reshape(-1, *self._network.image_shape)
        returned, fault = self._augment(images, random_state), ""
        try:
            changed = np.asarray(returned)
        except ValueError:
            fault = "images of several shapes"
        else:
            if changed.shape != images.shape or changed.dtype.kind not in "biuf":
                fault = f"an array with the shape {changed.shape} and the type {changed.dtype}"
            elif not np.isfinite(changed).all():
                fault = "NaN or infinite values"
        if fault:
            raise ValueError(
                "augment must return finite images of the shape that it is given, "
                f"{images.shape}, but it returned {fault}."
            )
        # A copy: it may be memory that the next call uses again.
        return changed.reshape(len(rows), -1).astype(self.theta.dtype)

    def _chunk_size(self, batch_size):
        """Return the number of images to be visited in one call, a multiple of the batch size."""
        of_steps = self.theta.size // batch_size  # work for an image
        size = COMPILED_CHUNK_WORK // (self._network.work + of_steps)
        is_gathered = self._augment is not None or not _fast.are_rows(self._X, self.theta.dtype)
        if self._dropout or is_gathered:
            values = self._network.n_values + self._network.n_dense_inputs * bool(self._dropout)
            size = min(size, COMPILED_CHUNK_BYTES // (values * self.theta.itemsize))
        return max(1, size // batch_size) * batch_size

    def _gradient(self, X, Y, s, keep=KEEP_ALL):
        """Return the gradient at theta of the loss, weighted by s, and of the penalty."""
        T = np.empty((len(Y), self._network.n_outputs), self.theta.dtype)
        gradient = self._pool.gradient(X, Y, s, keep, T)
        self._visited.append(T)
        if self._alpha:
            self._parameters.add_penalty(self._alpha, gradient)
        return gradient

    def loss_and_gradient(self, theta):
        """Set theta, and return the loss on all data, a number, and its gradient."""
        self.theta[...], rows = theta, self._rows
        s = self._s[rows] / self._s[rows].sum()
        self._visited = []
        gradient = self._gradient(Selection(self._X, rows), self._Y[rows], s)
        loss = np.dot(self.loss.forward(self._visited[0], self._y[rows]), s)
        return float(loss + self._alpha / 2 * self._parameters.squared_norm()), gradient

    def visited_outputs(self):
        """Return T of all images visited since the last call, each before its update."""
        T = np.concatenate(self._visited)
        self._visited = []
        return T

    def outputs(self, X):
        """Return T of other images, at theta."""
        return self._pool.outputs(X)

    def has_finite_outputs(self):
        """Return whether the outputs for the images are finite at theta.

        They are computed only if the weights are so large that outputs could overflow for images
        with values up to 1e9 (float32) or 1e100 (float64).
        """
        bound = 1e9 if self.theta.dtype == np.float32 else 1e100
        for weights, intercepts in self._parameters.pairs:
            sums = np.abs(weights).reshape(len(weights), -1).sum(axis=1, dtype=np.float64)
            bound = bound * sums.max() + np.abs(intercepts).max()
        if bound < np.finfo(self.theta.dtype).max:
            return True
        return bool(np.isfinite(self.outputs(Selection(self._X, self._rows))).all())


class Masks:
    """Dropout masks of the inputs of all dense layers, for an epoch.

    Each sample takes a window of one sequence of random numbers, at an offset that depends on its
    values. So masks do not depend on the order of the samples, the kernels or the number of
    threads, and copies of a sample have the same one: a sample of weight 2 is two samples.

    Parameters
    ----------
    rate : float
        Probability that an input is set to 0.
    n_inputs : int
    dtype : dtype
    seed : sequence of int

    References
    ----------
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    Journal of Machine Learning Research 15 (2014).
    """

    n_windows = 2**16

    def __init__(self, rate, n_inputs, dtype, seed):
        if rate:
            generator = np.random.Generator(np.random.SFC64(seed))
            stays = generator.random(n_inputs + self.n_windows - 1, dtype=np.float32) >= rate
            factors = stays * dtype.type(1 / (1 - rate))
            self._windows = sliding_window_view(factors, n_inputs)

    def of(self, hashes):
        """Return factors (n, n_inputs), each 0 or 1/(1 - rate), for the hashes of n samples."""
        return self._windows[hashes % self.n_windows]


def pieces(array, size):
    """Return an array in pieces of ``size`` elements; the last may be smaller."""
    return [array[start : start + size] for start in range(0, len(array), size)]
