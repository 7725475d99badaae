"""An interrupted call leaves the old estimator or the new one, and the threads of BLAS."""

import pytest

from . import interrupts

SECONDS = 10  # a lock that is never released would be waited for


@pytest.fixture(scope="module")
def blas():
    return interrupts.BlasThreads()


@pytest.fixture(scope="module")
def chosen():
    return interrupts.each_line_once()


@pytest.mark.parametrize("number", range(len(interrupts.scenes())))
def test_interrupts(number, chosen, blas):
    scene, lines = chosen[number]
    found = []
    for at in lines:
        where, violations = interrupts.check(scene, at, blas, SECONDS)
        found += [f"line {at}, {where}: {kind}: {details}" for kind, details in violations]
        if any(kind == "deadlock" for kind, _ in violations):
            break
    assert not found, "\n".join([str(scene), *found])
