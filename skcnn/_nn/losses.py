"""Losses: value, gradient, what is reported, and the probabilities of logits.

T are the outputs of a network, an image a row. y are the targets as an estimator encodes them, and
Y the same in the form of P: values, 0 or 1, or one-hot rows, in C order. The losses of images are
averaged with the weights s. The attribute ``activation`` names the function from T to P,
``metrics`` is what is reported of an epoch, and ``divergence_hint`` goes into the error of a
training that diverges.
"""

import numpy as np
from scipy.special import expit, log_expit, log_softmax

MAX_VALUES = 2**18  # outputs whose losses are computed at a time, to save memory


def softmax(T):
    """exp(T) / sum of exp(T), row by row; SciPy's takes three times as long for a batch."""
    P = np.exp(T - T.max(axis=1, keepdims=True))
    return np.divide(P, P.sum(axis=1, keepdims=True), out=P)


class LogLoss:
    r"""Log-loss of mutually exclusive classes: y, (n,), holds the index of each image's class.

    There is one output for two classes, else one for each class:

    .. math::
        :label: probabilities

        P_n &= \frac{1}{1 + e^{-T_n}} \quad \text{of the second of two classes} \\
        P_{nk} &= \frac{e^{T_{nk}}}{\sum_m e^{T_{nm}}} \quad \text{of class } k \text{ of more}

    The target Y of an image is 1 for its class and 0 for the others. With label smoothing q, a part
    of it is spread over all classes. The loss sums over the classes, both of them if there are two:

    .. math::
        :label: log-loss

        Y_{nk} &= (1 - q)\, [y_n = k] + \frac{q}{n_\mathrm{classes}} \\
        l_n &= -\sum_k Y_{nk} \log P_{nk} = -\log P_{n, y_n} \text{ for } q = 0

    The gradient is the difference of what is predicted and what is wanted:

    .. math::
        :label: log-loss-backward

        dT_{nk} = \frac{s_n}{\sum_m s_m} (P_{nk} - Y_{nk})

    What is reported of an epoch is the loss without label smoothing.

    Parameters
    ----------
    n_outputs : int
    label_smoothing : float, default=0.0

    References
    ----------
    C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception
    architecture for computer vision", CVPR 2016.
    """

    metrics = ("loss", "accuracy")
    divergence_hint = "the images (ImageScaler)"

    def __init__(self, n_outputs, label_smoothing=0.0):
        self.n_outputs, self.label_smoothing = n_outputs, label_smoothing
        self.activation = "sigmoid" if n_outputs == 1 else "softmax"

    def targets(self, y, dtype):
        """Y: that of class 1 for one output, else rows with one for each class."""
        if self.n_outputs == 1:
            return self._smooth(y[:, np.newaxis].astype(dtype), n_classes=2)
        Y = np.zeros((len(y), self.n_outputs), dtype)
        Y[np.arange(len(y)), y] = 1
        return self._smooth(Y, n_classes=self.n_outputs)

    def _smooth(self, Y, n_classes):
        """Return targets of which a part is spread over all classes."""
        q = Y.dtype.type(self.label_smoothing)
        return (1 - q) * Y + q / n_classes if q else Y

    def initial_intercept(self, y, s):
        """Intercept of the output before training."""
        return 0.0

    def centered(self, y, offset):
        """The targets without an offset of the outputs: those of logits have none."""
        return y

    def forward(self, T, y):
        """The loss of each image that is minimised, in nats: -log P[n, y_n] without smoothing."""
        loss, q = self.terms(T, y).sum(axis=1), self.label_smoothing
        # The mean of -log P over all classes, of each label if there are several.
        return (1 - q) * loss + q * self.uniform_terms(T).sum(axis=1) if q else loss

    def backward(self, T, Y, s):
        """dloss/dT = s * (P - Y), where s sums to one for the weighted mean; never clipped."""
        P = expit(T) if self.activation == "sigmoid" else softmax(T)
        return (P - Y) * s[:, np.newaxis]

    def reported(self, T, y):
        """The loss of each image as in scikit-learn's ``log_loss``.

        Each P is clipped at the machine epsilon of its dtype. So one hopeless image counts 36 nats
        in float64, and not its logit of a thousand.
        """
        epsilon = np.finfo(T.dtype).eps
        return np.clip(self.terms(T, y), -np.log1p(-epsilon), -np.log(epsilon)).sum(axis=1)

    def terms(self, T, y):
        """-log P of what is true of each image, (n, 1): its class, or each label, (n, n_labels)."""
        return -np.take_along_axis(self.log_probabilities(T), y[:, np.newaxis], axis=1)

    def uniform_terms(self, T):
        """-log P averaged over the classes, (n, 1), or over both values of each label."""
        return -self.log_probabilities(T).mean(axis=1, keepdims=True)

    def report(self, T, y, s):
        """Weighted means of the reported loss, in nats, and of accuracy."""
        right = self.most_probable(T) == y
        accuracy = np.average(right.reshape(len(y), -1).all(axis=1), weights=s)
        return self._mean(self.reported, T, y, s), float(accuracy)

    def watched(self, reported, T, y, s):
        """The loss by which a training is seen to settle: what is reported, but with smoothing."""
        return self._mean(self.forward, T, y, s) if self.label_smoothing else reported

    def _mean(self, loss, T, y, s):
        """Weighted mean of a loss of each image."""
        size = max(1, MAX_VALUES // self.n_outputs)
        slices = [slice(start, start + size) for start in range(0, len(y), size)]
        losses = np.concatenate([loss(T[rows], y[rows]) for rows in slices])
        return float(np.average(losses, weights=s))

    def probabilities(self, T):
        """P of every class, (n, n_classes): for one output, of both; without overflow."""
        return expit(np.hstack([-T, T])) if self.n_outputs == 1 else softmax(T)

    def log_probabilities(self, T):
        """Log P of every class, (n, n_classes): for one output, of both; without underflow."""
        return log_expit(np.hstack([-T, T])) if self.n_outputs == 1 else log_softmax(T, axis=1)

    def consistent_log_probabilities(self, T):
        """Log P, the logarithm of `probabilities` where that is near 1.

        There P is rounded to a float, and so its logarithm is not as exact as that of
        `log_probabilities`, from which it would differ by more than rounding.
        """
        P = self.probabilities(T)
        log_P = np.where(P > 0.5, np.log(P), self.log_probabilities(T))
        return np.maximum(log_P, np.finfo(T.dtype).min)  # huge logits of two classes overflow

    def most_probable(self, T):
        """Index of the most probable class of each image, the first of equals."""
        return (T[:, 0] > 0).astype(np.intp) if self.n_outputs == 1 else T.argmax(axis=1)


class LabelLogLoss(LogLoss):
    r"""Log-loss of several labels: y, (n, n_outputs), is 1 where an image has a label, else 0.

    Each label is a problem of two classes. The losses of an image's labels are added:

    .. math::
        :label: label-loss

        P_{nk} &= \frac{1}{1 + e^{-T_{nk}}} \\
        Y_{nk} &= (1 - q)\, y_{nk} + \frac{q}{2} \\
        l_n &= -\sum_k \left[Y_{nk} \log P_{nk} + (1 - Y_{nk}) \log(1 - P_{nk})\right]

    The gradient is that of `LogLoss`. An image is counted as right if all of its labels are.
    """

    def __init__(self, n_outputs, label_smoothing=0.0):
        super().__init__(n_outputs, label_smoothing)
        self.activation = "sigmoid"

    def targets(self, y, dtype):
        """Y: the labels themselves, or between them and 1/2."""
        return self._smooth(y.astype(dtype, order="C"), n_classes=2)

    def terms(self, T, y):
        """-log P where an image has a label, and -log(1 - P) where not, in nats."""
        return -log_expit(np.where(y, T, -T))

    def uniform_terms(self, T):
        """-log P averaged over both values of each label, (n, n_labels)."""
        return -(log_expit(T) + log_expit(-T)) / 2

    def probabilities(self, T):
        """P of every label."""
        return expit(T)

    def log_probabilities(self, T):
        """Log P of every label, without underflow."""
        return log_expit(T)

    def most_probable(self, T):
        """1 where a label is more probable than not, else 0."""
        return (T > 0).astype(np.intp)


class SquaredError:
    r"""Half the squared error, averaged over the targets y, (n, n_outputs). P is T.

    .. math::
        :label: squared-error

        l_n = \frac{1}{2\, n_\mathrm{targets}} \sum_k (T_{nk} - y_{nk})^2

    .. math::
        :label: squared-error-backward

        dT_{nk} = \frac{s_n}{\sum_m s_m} \frac{T_{nk} - y_{nk}}{n_\mathrm{targets}}

    Parameters
    ----------
    n_outputs : int
    """

    activation = "identity"
    metrics = ("loss",)
    divergence_hint = "y (TransformedTargetRegressor) and the images (ImageScaler)"

    def __init__(self, n_outputs):
        self.n_outputs = n_outputs

    def targets(self, y, dtype):
        """Y: the targets themselves."""
        return y.astype(dtype, order="C")

    def initial_intercept(self, y, s):
        """Intercept of the output before training: the weighted mean of the targets."""
        return np.average(y, axis=0, weights=s)

    def centered(self, y, offset):
        """The targets without an offset of the outputs."""
        return y - offset

    def forward(self, T, y):
        """Half the mean over the targets of (T - y)**2, of each image."""
        return np.mean((T - y) ** 2, axis=1) / 2

    def backward(self, T, Y, s):
        """dloss/dT = s * (T - Y) / n_outputs, where s sums to one for the weighted mean."""
        return (T - Y) * (s[:, np.newaxis] / self.n_outputs)

    def report(self, T, y, s):
        """Weighted mean of the loss."""
        return (float(np.average(self.forward(T, y), weights=s)),)

    def watched(self, reported, T, y, s):
        """The loss by which a training is seen to settle."""
        return reported
