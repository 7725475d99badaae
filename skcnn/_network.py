"""The network as functions of arrays: parameters are arguments, gradients are return values.

The images of a batch are computed by a `Workspace`: the one below in whole arrays, or that of
`skcnn._fast` in compiled loops, which wants the parameters in a layout of its own.

A batch is divided twice: into parts, which may be computed at the same time, and each part into
blocks, which stay in a cache near the core. Neither depends on how many threads there are, so that
sums have the same order, and weights the same bits, on one core and on many.
"""

from functools import cached_property, partial
from math import prod

import numpy as np

from . import _fast, _layers
from ._parameters import Params, add, empty_like, join, split, zeros

# A block has 4 MiB of buffers, but no fewer than 16 images, which would make short runs in memory:
# with 32 filters of side 5 a block of 16 took two thirds of the time of a block of 4. The last
# number bounds the memory for large images.
CACHE_BYTES = 2**22
LONG_RUN = 16
MAX_BYTES = 2**24

# A part is worth a thread from two million multiplications on, a few tenths of a millisecond; from
# twice as many in whole arrays whose blocks have less than a million, as Python lets one thread
# start a call at a time: with eight filters and batches of 128, two threads took a third longer.
MAX_PARTS = 8
PART_WORK = 2**21
BLOCK_WORK = 2**20

# What the filters see is gathered for some batches at a time, if these are small: that is fewer
# calls, and still in the cache when its turn comes; it spared a step on one image a fifth of its
# time. More than a thousand save no more, and take their time to make views of.
CHUNK_BYTES = 2**20
CHUNK_BATCHES = 1000

# A call of compiled loops cannot be interrupted: it takes about a tenth of a second at most, and is
# given no more bytes of images than this if they must be gathered.
COMPILED_CHUNK_WORK = 2**28
COMPILED_CHUNK_BYTES = 2**22


class Convolution:
    """The convolution of n images, with its pooling and ReLU, in whole arrays.

    Parameters
    ----------
    architecture : Architecture
    n : int
        Number of images.
    dtype : dtype

    Attributes
    ----------
    n_batches : int
        How many times n images `see` takes at most.
    A, dA : ndarrays of shape (n, n_in)
        What `forward` returns, overwritten by the next one, and what `backward` goes from.
    Y, s, T : ndarrays of shape (n_batches, n, n_outputs) or (n_batches, n, 1)
        Room for targets, weights and logits.
    batches : list of tuples
        What is seen of each n images, with their part of Y, s and T: views, made once, as making
        them took a step on one image a thirtieth of its time.
    """

    def __init__(self, architecture, n, dtype):
        H, W, C, _, F, *_ = architecture
        kernel, n_taps = architecture.kernel, architecture.n_taps
        n_corners, n_cells = prod(architecture.pool), architecture.n_windows * n
        batch_bytes = n_taps * n_corners * n_cells * dtype.itemsize
        self.n_batches = min(max(1, CHUNK_BYTES // batch_bytes), CHUNK_BATCHES)
        padded, self.interior = _layers.pad_images(self.n_batches, n, H, W, C, kernel, dtype)
        self.windows = _layers.conv_windows(padded, H, W, kernel, architecture.pool)
        self.gathered = np.empty(self.windows.shape, dtype)
        self.beyond_the_edges = _layers.beyond_the_edges(self.gathered, W)
        # The gradient of the part of larger filters that is computed, to be put in its place.
        self.in_kernel, self.dW = architecture.in_kernel, None
        if n_taps < architecture.shapes.W[1]:
            self.dW = np.empty((F, n_taps), dtype)
        self.patches = None
        self.Z, self.dZ = np.empty((2, n_corners, F, n_cells), dtype)
        self.M, self.dM = self.Z[0], self.dZ[0]  # without pooling they are the same
        self.pools = n_corners > 1
        if self.pools:
            self.M, self.dM = np.empty((2, F, n_cells), dtype)
        self.maps, self.dmaps = np.empty((2, F, n_cells), dtype)
        # The same memory in the shapes of the dense layer and of the convolution.
        self.A, self.dA = (maps.reshape(-1, n).T for maps in (self.maps, self.dmaps))
        # And of the matrix products: a stack of one for each corner, and of pieces of these.
        seen = self.gathered.reshape(self.n_batches, n_taps, n_corners, n_cells).swapaxes(1, 2)
        products = seen, self.Z, self.dZ
        if not self.pools:
            products = seen[:, 0], self.M, self.dM
        n_pieces = _layers.n_pieces(n_cells, F * n_taps)
        seen, self.Z_pieces, self.dZ_pieces = (
            _layers.in_pieces(product, n_pieces) for product in products
        )
        self.Y, self.T = np.empty((2, self.n_batches, n, architecture.n_outputs), dtype)
        self.s = np.empty((self.n_batches, n, 1), dtype)
        self.batches = list(zip(seen, self.Y, self.s, self.T))

    def see(self, X):
        """Gather what is seen of some times n images; return as many of the `batches`.

        The images may be rows or images of any numeric dtype, sparse or not.
        """
        n_batches = X.shape[0] // self.interior.shape[1]
        interior = self.interior[:n_batches]
        interior[...] = dense(X).reshape(interior.shape)
        self.gathered[:n_batches] = self.windows[:n_batches]
        for patches in self.beyond_the_edges:
            patches.fill(0)
        return self.batches[:n_batches]

    def forward(self, params, patches, out_slope=None):
        """Return A of n images, by what is seen of them.

        ``out_slope`` is for the slope of ReLU; `backward` wants it to be dM.
        """
        self.patches = patches
        W = params.W if self.dW is None else self.in_kernel(params.W).reshape(self.dW.shape)
        _layers.conv_forward(patches, W, out=self.Z_pieces)
        if self.pools:
            _layers.pool_forward(self.Z, out=self.M)
        _layers.relu_forward(self.M, params.b, out=self.maps, out_slope=out_slope)
        return self.A

    def backward(self, grads):
        """Write the gradients of the filters, for the images of the last `forward`."""
        _layers.relu_backward(self.dmaps, self.dM, grads.b)
        if self.pools:
            _layers.pool_backward(self.dM, self.Z, self.M, out=self.dZ)
        if self.dW is None:
            _layers.conv_backward(self.dZ_pieces, self.patches, grads.W)
        else:
            _layers.conv_backward(self.dZ_pieces, self.patches, self.dW)
            grads.W.fill(0)
            part = self.in_kernel(grads.W)
            part[...] = self.dW.reshape(part.shape)


class Workspace:
    """The network of a part of a batch in whole arrays, a block of images after the other.

    Parameters
    ----------
    architecture : Architecture
    dtype : dtype
    """

    def __init__(self, architecture, dtype):
        self._architecture = architecture
        self._dtype = dtype
        self._block_size = block_size(architecture, dtype)
        self._convolutions = {}
        self._spare_grads = None

    @staticmethod
    def shapes(architecture):
        """Return the shapes of the parameters in the layout of this workspace."""
        return architecture.shapes

    @staticmethod
    def parameters(params, architecture):
        """Return params of that layout in the shapes of the architecture."""
        return params

    @staticmethod
    def lay_out(params, out, architecture):
        """Write params, in the shapes of the architecture, into those of that layout."""
        for to, of in zip(out, params):
            to[...] = of

    def _convolution(self, n):
        """Return the convolution for n images; two sizes, those of a batch, are kept."""
        if n not in self._convolutions:
            if len(self._convolutions) == 2:
                del self._convolutions[next(iter(self._convolutions))]
            self._convolutions[n] = Convolution(self._architecture, n, self._dtype)
        return self._convolutions[n]

    def _activations(self, params, X):
        """Yield slices that cover n images, and A of these, overwritten by the next."""
        for rows in self._blocks(X.shape[0]):
            convolution = self._convolution(rows.stop - rows.start)
            ((patches, *_),) = convolution.see(X[rows])
            yield rows, convolution.forward(params, patches)

    def logits(self, params, X):
        """Return the logits of images, see `logits`."""
        T = np.empty((X.shape[0], self._architecture.n_outputs), self._dtype)
        for rows, A in self._activations(params, X):
            _layers.dense_forward(A, params.V, params.c, out=T[rows])
        return T

    def feature_maps(self, params, X):
        """Return A of images, without pooling, as an array of shape (n, H, W, F)."""
        H, W, _, _, F, *_ = self._architecture
        maps = np.empty((X.shape[0], H * W, F), self._dtype)
        for rows, A in self._activations(params, X):
            maps[rows] = A.reshape(-1, F, H * W).swapaxes(1, 2)
        return maps.reshape(-1, H, W, F)

    def logits_and_grad(self, params, grads, X, Y, s, T):
        """Write the logits of images into T, and the gradient of their weighted loss."""
        of_block = grads
        for rows in self._blocks(len(Y)):
            block = (array[np.newaxis, rows] for array in (Y, s, T))
            for _ in self.logits_and_grads(params, of_block, X[rows], *block):
                if of_block is not grads:
                    add(grads, of_block)
                elif self._spare_grads is None:
                    self._spare_grads = empty_like(grads)
                of_block = self._spare_grads

    def logits_and_grads(self, params, grads, X, Y, s, T):
        """Yield after each of some batches, with its gradient written; in the end logits are in T.

        A batch is no larger than a block. ``Y`` and ``T`` are of shape (n_batches, n, n_outputs),
        ``s`` of shape (n_batches, n, 1), and ``X`` has all their images.
        """
        n = Y.shape[1]
        convolution = self._convolution(n)
        (_, _, V, c), (_, dW, dV, dc) = params, grads
        learn_filters = dW is not None
        dA, slope = (convolution.dA, convolution.dM) if learn_filters else (None, None)
        for start in range(0, len(Y), convolution.n_batches):
            some = slice(start, start + convolution.n_batches)
            batches = convolution.see(X[some.start * n : some.stop * n])
            convolution.Y[: len(batches)], convolution.s[: len(batches)] = Y[some], s[some]
            for patches, y, weights, logits in batches:
                A = convolution.forward(params, patches, slope)
                _layers.dense_forward(A, V, c, out=logits)
                dT = _layers.log_loss_backward(logits, y, weights)
                _layers.dense_backward(dT, A, V, dV, dc, dA)
                if learn_filters:
                    convolution.backward(grads)
                yield
            T[some] = convolution.T[: len(batches)]

    def _blocks(self, n):
        """Return the blocks of n images, as slices."""
        return slices(n, -(-n // self._block_size))


class LoopsWorkspace(_fast.Workspace):
    """The network of a part of a batch in compiled loops, or where that fails in whole arrays.

    That numba cannot compile them shows when they are first called, in the midst of a training,
    which goes on with the layout of its parameters.
    """

    @cached_property
    def _in_arrays(self):
        return Workspace(self._architecture, self._dtype)

    def logits(self, params, X):
        """Return the logits of images, see `logits`."""
        try:
            return super().logits(params, X)
        except _fast.CompilationError:
            return self._in_arrays.logits(self._as_arrays_want(params), X)

    def logits_and_grad(self, params, grads, X, Y, s, T):
        """Write the logits of images into T, and the gradient of their weighted loss."""
        try:
            super().logits_and_grad(params, grads, X, Y, s, T)
        except _fast.CompilationError:
            of_arrays = empty_like(self._as_arrays_want(grads))
            self._in_arrays.logits_and_grad(self._as_arrays_want(params), of_arrays, X, Y, s, T)
            for array in grads:
                if array is not None:
                    array.fill(0)
            self.lay_out(of_arrays, grads, self._architecture)

    def _as_arrays_want(self, params):
        """Return a copy of params in the layout of `Workspace`."""
        return self.parameters(params, self._architecture)


def block_size(architecture, dtype):
    """Return the number of images that are worked on together in whole arrays."""
    H, W, _, _, F, *_ = architecture
    bytes_an_image = (architecture.n_taps + 4 * F) * H * W * dtype.itemsize
    wanted = max(LONG_RUN, CACHE_BYTES // bytes_an_image)
    return max(1, min(wanted, MAX_BYTES // bytes_an_image))


def slices(n, n_slices):
    """Return slices of about the same size that cover n rows."""
    ends = [n * k // n_slices for k in range(n_slices + 1)]
    return [slice(*pair) for pair in zip(ends, ends[1:])]


def batches(array, size):
    """Return an array in pieces of so many rows, the last with what is left."""
    return [array[start : start + size] for start in range(0, array.shape[0], size)]


class Selection:
    """Some rows of images, in their order, gathered when they are asked for.

    Parameters
    ----------
    take : callable
        Returns the images of given rows.
    rows : ndarray of int
    """

    def __init__(self, take, rows):
        self._take = take
        self._rows = rows

    def __getitem__(self, some):
        return self._take(self._rows[some])


def dense(X):
    """Return X as an array that is not sparse."""
    return X if isinstance(X, np.ndarray) else X.toarray()


class Buffers:
    """What is allocated once a fit or a prediction, and how a batch is divided.

    Parameters
    ----------
    architecture : Architecture
    dtype : dtype
    map : callable
        ``map(function, tasks)`` calls a function for each of some tasks, maybe at the same time.

    Attributes
    ----------
    shapes : Params
        Shapes of the parameters as the workspaces want them.
    workspace : Workspace
        One for who computes alone; others are borrowed.
    """

    def __init__(self, architecture, dtype, map=map):
        self.architecture = architecture
        self.dtype = np.dtype(dtype)
        self.map = map
        self._workspace = LoopsWorkspace if _fast.is_there() else Workspace
        self.shapes = self._workspace.shapes(architecture)
        self._smallest_part = min(LONG_RUN, block_size(architecture, self.dtype))
        small_blocks = self._smallest_part * architecture.work < BLOCK_WORK
        self._part_work = PART_WORK
        if small_blocks and self._workspace is Workspace:
            self._part_work = 2 * PART_WORK
        self._parts = {}
        self.workspace = self._workspace(architecture, self.dtype)
        self._idle = [self.workspace]
        self._gradients = []

    def laid_out(self, params):
        """Return a vector with a copy of params, and the `Params` that the workspaces want."""
        vector, result = zeros(self.shapes, self.dtype)
        self._workspace.lay_out(params, result, self.architecture)
        return vector, result

    def parameters(self, params):
        """Return the parameters in what the workspaces want, in the shapes of the architecture."""
        return self._workspace.parameters(params, self.architecture)

    def parts(self, n):
        """Return the parts of a batch of n images, as slices."""
        if n not in self._parts:
            work = n * self.architecture.work
            n_parts = min(MAX_PARTS, n // self._smallest_part, work // self._part_work)
            self._parts[n] = slices(n, max(1, n_parts))
        return self._parts[n]

    def are_blocks(self, n):
        """Return whether batches of n images are computed in whole arrays, each at once."""
        in_arrays = self._workspace is Workspace and len(self.parts(n)) == 1
        return in_arrays and n <= block_size(self.architecture, self.dtype)

    def borrow(self):
        """Return a workspace that nobody else uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._workspace(self.architecture, self.dtype)

    def give_back(self, workspace):
        """Let others use a workspace."""
        self._idle.append(workspace)

    def gradients(self, like, n):
        """Return n arrays for each gradient that there is."""
        while len(self._gradients) < n:
            self._gradients.append(empty_like(like))
        return self._gradients[:n]


def logits(params, X, buffers):
    """Return T, an array of shape (n, n_outputs), for n images.

    Parameters
    ----------
    params : Params
        Laid out as the workspaces of the buffers want them.
    X : ndarray or sparse array of n rows, or ndarray of shape (n, H, W, C)
        Images, of any numeric dtype.
    buffers : Buffers

    Returns
    -------
    T : ndarray of shape (n, n_outputs)
    """

    def of_part(rows):
        workspace = buffers.borrow()
        T = workspace.logits(params, X[rows])
        buffers.give_back(workspace)
        return T

    return np.concatenate(list(buffers.map(of_part, buffers.parts(X.shape[0]))))


def feature_maps(params, X, architecture):
    """Return the responses after ReLU, before any pooling, as an array of shape (n, H, W, F).

    Parameters
    ----------
    params : Params
        As `init_params` returns them.
    X : ndarray or sparse array of n rows, or ndarray of shape (n, H, W, C)
    architecture : Architecture
    """
    return Workspace(architecture._replace(p=1), params.W.dtype).feature_maps(params, X)


def logits_and_grads(params, grads, X, Y, s, T, alpha, buffers):
    """Return an iterator over batches: after a step the gradient of its loss is written.

    When it has ended, their logits are in T.

    The loss is sum_n s_n * (-log P[n, y_n]) + alpha/2 * (|W|^2 + |V|^2), in nats. Parameters may
    change between two batches.

    Parameters
    ----------
    params : Params
        Laid out as the workspaces of the buffers want them.
    grads : Params
        Overwritten by the gradient; None for what is not learnt.
    X : `Selection`, ndarray or sparse array of n_batches * n rows, or ndarray (..., H, W, C)
        Images, of any numeric dtype.
    Y, T : ndarrays of shape (n_batches, n, n_outputs)
    s : ndarray of shape (n_batches, n, 1)
        Weights of the images, divided by their sum for the weighted mean.
    alpha : float
        L2 penalty on W and V.
    buffers : Buffers
    """
    n = Y.shape[1]
    if buffers.are_blocks(n):
        steps = buffers.workspace.logits_and_grads(params, grads, X, Y, s, T)
    else:
        divided = (X[k * n : (k + 1) * n] for k in range(len(Y)))
        steps = map(partial(_in_parts, params, grads, buffers), divided, Y, s, T)
    return _with_penalty(params, grads, alpha, steps) if alpha else steps


def _with_penalty(params, grads, alpha, steps):
    """Add the gradient of the penalty after each step."""
    for step in steps:
        add(grads, Params(b=None, W=alpha * params.W, V=alpha * params.V, c=None))
        yield step


def _in_parts(params, grads, buffers, X, Y, s, T):
    """Write the logits of a batch, and the gradient of its loss without the penalty."""
    parts = buffers.parts(len(Y))
    if len(parts) == 1:
        buffers.workspace.logits_and_grad(params, grads, X, Y, s, T)
        return
    sums = [grads, *buffers.gradients(grads, len(parts) - 1)]
    divided = ([array[rows] for rows in parts] for array in (X, Y, s, T))
    for _ in buffers.map(partial(_of_part, params, buffers), sums, *divided):
        pass
    for more in sums[1:]:
        add(grads, more)


def _of_part(params, buffers, grads, X, Y, s, T):
    """Write the logits of a part of a batch, and the gradient of its loss."""
    workspace = buffers.borrow()
    workspace.logits_and_grad(params, grads, X, Y, s, T)
    buffers.give_back(workspace)


class Objective:
    """The loss on given data as a function of theta: what a solver sees of a network.

    Parameters
    ----------
    params : Params
        Where theta starts; they are copied.
    X : ndarray or sparse array of n rows, or ndarray of shape (n, H, W, C)
        Images, of any numeric dtype.
    y : ndarray of shape (n,)
        Indices of the classes.
    s : ndarray of shape (n,)
        Weights of the images.
    architecture : Architecture
    alpha : float
        L2 penalty.
    fit_intercept : bool
        False: the intercepts are 0 and remain so.
    freeze : {"filters", "dense"} or None
        Layer that is not learnt.
    map : callable
        Calls a function for several tasks, see `Buffers`.

    Attributes
    ----------
    theta : ndarray
        What is learnt, as a vector, laid out as the workspaces want it. A solver changes it in
        place.
    places : ndarray of int
        Where in theta the parameters are, whatever the layout, in the order b, W, V, c; what is
        elsewhere is 0, and so is its gradient.
    """

    def __init__(self, params, X, y, s, *, architecture, alpha, fit_intercept, freeze, map=map):
        dtype = params.W.dtype
        self._architecture = architecture
        self._buffers = Buffers(architecture, dtype, map)
        vector, self._params = self._buffers.laid_out(params)
        gradient, grads = zeros(self._buffers.shapes, dtype)
        self._in_use, self._grads = self._params, grads
        if not fit_intercept:
            self._params.b.fill(0)
            self._params.c.fill(0)
            self._in_use = self._in_use._replace(b=None, c=None)
            self._grads = self._grads._replace(b=None, c=None)
        if freeze == "filters":
            self._grads = self._grads._replace(b=None, W=None)
        elif freeze == "dense":
            self._grads = self._grads._replace(V=None, c=None)

        sizes = [array.size for array in grads]
        learnt = [grad is not None for grad in self._grads]
        first, last = learnt.index(True), 3 - learnt[::-1].index(True)
        piece = slice(sum(sizes[:first]), sum(sizes[: last + 1]))
        self.theta, self._gradient = vector[piece], gradient[piece]
        numbers = split(np.arange(vector.size), self._buffers.shapes)
        places = join(self._buffers.parameters(numbers))
        self.places = places[(places >= piece.start) & (places < piece.stop)] - piece.start

        self._X, self._y, self._s = X, y, s[:, np.newaxis].astype(dtype)
        self._Y = _layers.targets(y, architecture.n_outputs, dtype)
        # A dense array takes rows three times as fast with take as with an index.
        self._rows_of_X = X.__getitem__ if hasattr(X, "toarray") else partial(X.take, axis=0)
        self._alpha = alpha
        self._visited = []
        self._epochs = None
        if _fast.is_there():
            self._epochs = _fast.Epochs(
                architecture,
                params=self._params,
                grads=grads,
                theta=self.theta,
                dtheta=self._gradient,
                learn_filters=self._grads.W is not None,
                learn_dense=self._grads.V is not None,
                alpha=alpha,
            )

    @property
    def params(self):
        """All parameters, a copy, in the shapes of the architecture."""
        return Params(*(array.copy() for array in self._buffers.parameters(self._params)))

    def gradients(self, order, batch_size):
        """Yield the gradient of the mean loss of each batch, at what theta is then.

        Parameters
        ----------
        order : ndarray of int
            The samples, one batch after the other.
        batch_size : int
            Samples of a batch; the last one has what is left.

        Yields
        ------
        gradient : ndarray
            It is overwritten by the next one.
        """
        gradient = self._gradient
        n_whole = len(order) // batch_size * batch_size
        for rows in (order[:n_whole], order[n_whole:]):
            if len(rows):
                n = min(batch_size, len(rows))
                X = Selection(self._rows_of_X, rows)
                Y, s = self._Y.take(rows, axis=0), self._s.take(rows, axis=0)
                for _ in self._logits_and_grads(X, Y, s / n, n):  # s / n: for the mean
                    yield gradient

    def _logits_and_grads(self, X, Y, s, n):
        """Visit batches of n images each: do what `logits_and_grads` does, at theta."""
        T = np.empty(Y.shape, Y.dtype)
        self._visited.append(T)
        of_batches = (array.reshape(-1, n, array.shape[1]) for array in (Y, s, T))
        of_network = self._in_use, self._grads
        return logits_and_grads(*of_network, X, *of_batches, self._alpha, self._buffers)

    def has_compiled_epochs(self, batch_size):
        """Return whether `run_epoch` is there, and the best for batches of such a size."""
        return self._epochs is not None and len(self._buffers.parts(batch_size)) == 1

    def run_epoch(self, solver, order, batch_size, eta):
        """Do what `skcnn._solvers.run_epoch` does with `gradients`, in compiled loops."""
        gather = not _fast.are_rows(self._X, self.theta.dtype)
        work_an_image = self._architecture.work + self.theta.size // batch_size  # and of the step
        size = COMPILED_CHUNK_WORK // work_an_image
        if gather:
            bytes_an_image = self._architecture.n_values * self.theta.itemsize
            size = min(size, COMPILED_CHUNK_BYTES // bytes_an_image)
        for rows in batches(order, max(1, size // batch_size) * batch_size):
            data = self._X, self._Y, self._s, rows
            if gather:
                labels = self._Y.take(rows, axis=0), self._s.take(rows, axis=0)
                data = self._rows_of_X(rows), *labels, np.arange(len(rows))
            try:
                self._visited.append(self._epochs.run(solver, *data, batch_size, eta))
            except _fast.CompilationError:
                for gradient in self.gradients(rows, batch_size):
                    solver.step(self.theta, gradient, eta)

    def loss_and_gradient(self, theta):
        """Move theta, and return the loss on all data there, a number, with its gradient."""
        self.theta[...] = theta
        s = self._s / self._s.sum()
        self._visited = []
        for _ in self._logits_and_grads(self._X, self._Y, s, len(s)):
            pass
        (T,) = self._visited
        loss = np.dot(_layers.log_loss_forward(T, self._y), s[:, 0])
        penalty = sum((array**2).sum() for array in (self._params.W, self._params.V))
        return float(loss + self._alpha / 2 * penalty), self._gradient

    def visited_logits(self):
        """Return the logits of all images visited since the last call, each before its update."""
        T = np.concatenate(self._visited)
        self._visited = []
        return T

    def logits(self, X):
        """Return the logits T of other images, at theta."""
        return logits(self._in_use, X, self._buffers)

    def has_finite_logits(self):
        """Return whether the logits of the images are finite at theta.

        They are computed only if the weights are so large that logits could overflow for images
        with values up to 1e9 (float32) or 1e100 (float64).
        """
        params = [np.abs(array).astype(np.float64) for array in self._params]
        b, W, V, c = params
        largest_value = 1e9 if self.theta.dtype == np.float32 else 1e100
        largest_response = largest_value * W.sum(axis=1).max() + b.max()
        bound = largest_response * V.sum(axis=1).max() + c.max()
        if bound < np.finfo(self.theta.dtype).max:
            return True
        return bool(np.isfinite(self.logits(self._X)).all())
