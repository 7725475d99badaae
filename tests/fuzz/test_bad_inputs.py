"""Wrong values fail with a reason, and leave estimators and inputs unchanged."""

import pytest

from . import bad, inputs


@pytest.mark.parametrize("part", range(10))
def test_bad_inputs(part):
    violations = []
    for number in range(part * 100, part * 100 + 100):
        call = inputs.bad_call(inputs.chooser(0, number))
        violations += [
            f"{number} {kind}: {details}\n    {call}"
            for kind, details in bad.check(call).violations
        ]
    assert not violations, "\n".join(violations)
