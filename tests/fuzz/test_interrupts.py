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


# All lines take a minute: every third of them, others in each scene, is a sample.
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", range(len(interrupts.scenes())))
def test_interrupts(number, step, chosen, blas):
    scene, lines = chosen[number]
    found = []
    for at in lines[number % step :: step]:
        where, violations = interrupts.check(scene, at, blas, SECONDS)
        found += [f"line {at}, {where}: {kind}: {details}" for kind, details in violations]
        if any(kind == "deadlock" for kind, _ in violations):
            break
    assert not found, "\n".join([str(scene), *found])
