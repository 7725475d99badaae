"""A method that an estimator has only with some parameters."""

from collections.abc import Callable
from typing import Any

from sklearn.utils._available_if import _AvailableIfDescriptor

from .._typing import Method


class NotSupportedError(ValueError, AttributeError):
    """A method does not go with the parameters of its estimator.

    It is an AttributeError, so that ``hasattr`` returns False, and also a ValueError, like
    scikit-learn's ``NotFittedError``.
    """


class _Available(_AvailableIfDescriptor):
    def _check(self, estimator, owner):
        reason = self.check(estimator)
        if reason is not None:
            raise NotSupportedError(reason)


def available_unless(reason_against: Callable[[Any], str | None]) -> Callable[[Method], Method]:
    """Make a method available only where no reason speaks against it.

    Like scikit-learn's ``available_if``, but the error states the reason.

    Parameters
    ----------
    reason_against : callable
        Takes the estimator, and returns a sentence, or None where the method is available.
    """
    return lambda method: _Available(method, reason_against, attribute_name=method.__name__)
