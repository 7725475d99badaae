"""The log-loss: value, gradient, what is reported, and probabilities.

T are logits, an image a row: of one output, with P = sigmoid(T), for two classes, and of as many as
there are classes otherwise, with P = softmax(T).
"""

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax


def targets(y, n_outputs, dtype):
    """Y of the indices of the classes: themselves for one output, else one-hot rows."""
    return (y[:, np.newaxis] if n_outputs == 1 else np.eye(n_outputs)[y]).astype(dtype)


def forward(T, y):
    """-log P[n, y_n] of each image, in nats, for indices y of the classes."""
    if T.shape[1] == 1:
        return -log_expit(np.where(y, T[:, 0], -T[:, 0]))  # of one class: half the work
    return -np.take_along_axis(log_probabilities(T), y[:, np.newaxis], axis=1)[:, 0]


def backward(T, Y, s):
    """dloss/dT = s * (P - Y), where s sums to one for the weighted mean; never clipped."""
    P = expit(T) if T.shape[1] == 1 else softmax(T, axis=1)
    return (P - Y) * s[:, np.newaxis]


def reported(T, y):
    """-log P[n, y_n] of each image as in scikit-learn's ``log_loss``, with P clipped.

    A probability is clipped at the machine epsilon of its dtype, so that one hopeless image counts
    36 nats in float64, and not its logit of a thousand.
    """
    epsilon = np.finfo(T.dtype).eps
    return np.clip(forward(T, y), -np.log1p(-epsilon), -np.log(epsilon))


def loss_and_accuracy(T, y, s):
    """Weighted means of the reported log-loss, in nats, and of accuracy."""
    loss = np.average(reported(T, y), weights=s)
    accuracy = np.average(most_probable(T) == y, weights=s)
    return float(loss), float(accuracy)


def probabilities(T):
    """P of every class, (n, n_classes): for one output, of both; without overflow."""
    return expit(np.hstack([-T, T])) if T.shape[1] == 1 else softmax(T, axis=1)


def log_probabilities(T):
    """Log P of every class, (n, n_classes): for one output, of both; without underflow."""
    return log_expit(np.hstack([-T, T])) if T.shape[1] == 1 else log_softmax(T, axis=1)


def consistent_log_probabilities(T):
    """Log P of every class, the logarithm of `probabilities` where that is near 1.

    There P is rounded to a float, and so its logarithm is not as exact as that of
    `log_probabilities`, from which it would differ by more than rounding.
    """
    P = probabilities(T)
    log_P = np.where(P > 0.5, np.log(P), log_probabilities(T))
    return np.maximum(log_P, np.finfo(T.dtype).min)  # huge logits of two classes overflow


def most_probable(T):
    """Index of the most probable class of each image, the first of equals."""
    return (T[:, 0] > 0).astype(np.intp) if T.shape[1] == 1 else T.argmax(axis=1)
