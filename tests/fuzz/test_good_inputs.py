"""Networks and scalers of any valid settings give the same from every layout and kernel."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import good, inputs

CASES = {
    "network": (good.good_network, good.check_network),
    "scaler": (good.good_scaler, good.check_scaler),
}


def assert_none(violations, case):
    assert not violations, "\n".join([str(case), *map(": ".join, violations)])


# Hypothesis shrinks what fails to the first of the options that still fails.
@pytest.mark.parametrize("kind", CASES)
@given(data=st.data())
@settings(
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[*HealthCheck],
)
def test_good_inputs(kind, data):
    make, check = CASES[kind]
    case = make(lambda options: data.draw(st.sampled_from(options)))
    assert_none(check(case), case)


@pytest.mark.parametrize("kind", CASES)
def test_seeded_good_inputs(kind):
    make, check = CASES[kind]
    for number in range(50):
        case = make(inputs.chooser(0, number))
        assert_none(check(case), case)
