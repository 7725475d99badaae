"""A method that an estimator has only with some parameters."""

from functools import update_wrapper, wraps
from types import MethodType


class NotSupportedError(ValueError, AttributeError):
    """A method does not go with the parameters of its estimator.

    It is an AttributeError, so that ``hasattr`` returns False, and also a ValueError, like
    scikit-learn's ``NotFittedError``.
    """


def available_unless(reason_against):
    """Make a method unavailable where there is a reason against it.

    Like scikit-learn's ``available_if``, except that the error gives the reason.

    Parameters
    ----------
    reason_against : callable
        Takes the estimator, and returns a sentence, or None where the method is available.
    """
    return lambda method: _Available(method, reason_against)


class _Available:
    def __init__(self, method, reason_against):
        update_wrapper(self, method)
        self._method = method
        self._reason_against = reason_against

    def __get__(self, estimator, owner=None):
        if estimator is None:
            return self._of_class()
        self._check(estimator)
        return MethodType(self._method, estimator)

    def _of_class(self):
        """Return the function that takes the estimator as its first argument."""

        @wraps(self._method)
        def function(estimator, *args, **kwargs):
            self._check(estimator)
            return self._method(estimator, *args, **kwargs)

        return function

    def _check(self, estimator):
        reason = self._reason_against(estimator)
        if reason is not None:
            raise NotSupportedError(reason)
