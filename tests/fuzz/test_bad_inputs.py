"""Wrong values fail with a reason, and leave estimators and inputs unchanged."""

import pytest

from skcnn import ConvNetClassifier, ImageScaler

from . import bad, inputs
from .deep import freeze


@pytest.mark.parametrize("part", range(10))
def test_bad_inputs(part):
    violations = []
    for number in range(part * 60, part * 60 + 60):
        call = inputs.bad_call(inputs.chooser(0, number))
        violations += [
            f"{number} {kind}: {details}\n    {call}"
            for kind, details in bad.check(call).violations
        ]
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("estimator", [ConvNetClassifier, ImageScaler])
@pytest.mark.parametrize("name", ["kernel_size", "x__y", "fit", "mean_"])
def test_parameters_that_do_not_exist(estimator, name):
    model = estimator()
    before = freeze(vars(model))
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(**{name: 1})
    with pytest.raises(TypeError, match="unexpected keyword"):
        estimator(**{name: 1})
    assert freeze(vars(model)) == before
