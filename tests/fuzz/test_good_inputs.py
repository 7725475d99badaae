"""Networks and scalers of any valid settings give the same from every layout and kernel."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from . import good, inputs

CHECKS_TO_SHRINK = 60

CASES = {
    "network": (good.good_network, good.check_network),
    "scaler": (good.good_scaler, good.check_scaler),
}


def assert_none(violations, case):
    assert not violations, "\n".join([str(case), *map(": ".join, violations)])


# Hypothesis shrinks what fails to the first of the options that still fails.
@pytest.mark.parametrize("kind", CASES)
def test_good_inputs(kind):
    make, check = CASES[kind]
    found = {}
    last = None  # the number of checks after which no more are made

    @given(data=st.data())
    @settings(
        max_examples=15,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=[*HealthCheck],
    )
    def attack(data):
        nonlocal last
        case = make(lambda options: data.draw(st.sampled_from(options)))
        if str(case) not in found and (last is None or len(found) < last):
            found[str(case)] = check(case)
        violations = found.get(str(case), [])
        if violations and last is None:
            last = len(found) + CHECKS_TO_SHRINK
        assert_none(violations, case)

    attack()


@pytest.mark.parametrize("kind", CASES)
def test_seeded_good_inputs(kind):
    make, check = CASES[kind]
    for number in range(15):
        case = make(inputs.chooser(0, number))
        assert_none(check(case), case)
