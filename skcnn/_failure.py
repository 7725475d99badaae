"""A failed or interrupted call leaves an estimator as it was."""

from contextlib import contextmanager


@contextmanager
def unchanged_by_failure(estimator):
    """Put an estimator's attributes back if what runs within fails.

    Within, attributes are to be replaced and not changed in place, so that a shallow copy of them
    is a copy of the estimator.
    """
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
