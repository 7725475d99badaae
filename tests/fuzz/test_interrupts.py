"""An interrupted call leaves the old estimator or the new one, and the threads of BLAS."""

import pytest

from . import interrupts

LINES_A_SCENE = 8
SECONDS = 60  # a lock that was left behind would be waited for


@pytest.fixture(scope="module")
def blas():
    return interrupts.BlasThreads()


@pytest.mark.parametrize("number, scene", [*enumerate(interrupts.scenes())], ids=str)
def test_interrupts(number, scene, blas):
    *_, n_lines = scene.states
    stride = max(1, n_lines // LINES_A_SCENE)
    found = []
    for at in range(1 + number % stride, n_lines + 1, stride):
        where, violations = interrupts.check(scene, at, blas, SECONDS)
        found += [f"line {at}, {where}: {kind}: {details}" for kind, details in violations]
    assert not found, "\n".join(found)
