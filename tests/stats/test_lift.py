import math
from dataclasses import replace

import numpy as np
import pytest

from triageops.stats.compare import Contrast
from triageops.stats.lift import Relative, relative


def means(treatment: float, control: float, *errors: float, covariance: float = 0.0) -> Contrast:
    se = math.sqrt(errors[0] ** 2 + errors[1] ** 2 - 2 * covariance)
    return Contrast(
        treatment - control, se, se, se, 100, 100, treatment, control, errors[0], errors[1], covariance, 0
    )


@pytest.mark.parametrize("covariance", [0.0, 4e-9])
def test_relative_certain_control_is_the_delta_method(covariance: float) -> None:
    variance = 4e-8 / 16 + 1e-8 * 25 / 256 - 2 * covariance * 5 / 64
    half = 1.96 * math.sqrt(variance)
    lift = relative(means(5, 4, 2e-4, 1e-4, covariance=covariance), 1.96)
    assert lift is not None
    assert lift.lift == 0.25
    assert lift.low == pytest.approx(0.25 - half, abs=1e-4 * half)
    assert lift.high == pytest.approx(0.25 + half, abs=1e-4 * half)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("covariance", [0.0, 0.05])
def test_relative_uncertain_control_has_the_ends_of_fiellers_set(sign: int, covariance: float) -> None:
    z, contrast = 1.96, means(sign * 1.7, sign * 1.0, 0.3, 0.4, covariance=covariance)
    found = relative(contrast, z)
    assert found is not None
    assert found.lift == pytest.approx(sign * 0.7)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.lift < found.high
    for lift in (found.low, found.high):
        # On the edge, treatment - ratio * control is z of its standard errors from 0.
        ratio = 1 + sign * lift
        variance = 0.3**2 - 2 * ratio * covariance + (ratio * 0.4) ** 2
        assert abs(sign * (1.7 - ratio * 1.0)) == pytest.approx(z * math.sqrt(variance))


def test_relative_control_that_may_be_zero_is_undefined() -> None:
    assert relative(means(1.5, 1.0, 0.1, 0.6), 1.96) == Relative(0.5, None, None)
    assert relative(means(1.5, 1.0, 0.1, 0.3), 3.5) == Relative(0.5, None, None)


@pytest.mark.parametrize("control", [0.0, 5e-324])
def test_relative_control_of_zero_is_no_answer(control: float) -> None:
    assert relative(means(1.0, control, 0.1, 0.1), 1.96) is None


@pytest.mark.parametrize("z", [0.0, -1.0, math.nan, math.inf])
def test_relative_impossible_critical_value_is_refused(z: float) -> None:
    with pytest.raises(ValueError, match="critical value"):
        relative(means(1.0, 1.0, 0.1, 0.1), z)


@pytest.mark.parametrize("error", [0.4, 0.3, 0.2, 0.05])
def test_relative_interval_covers_in_simulation(error: float) -> None:
    rng = np.random.default_rng(41)
    template = means(1.3, 1.0, 0.1, error)
    draws = rng.normal([1.3, 1.0], [0.1, error], (4_000, 2))
    found = [
        relative(replace(template, effect=t - c, value_treatment=t, value_control=c), 1.96)
        for t, c in draws.tolist()
    ]
    covered = [
        lift is not None and (lift.low is None or lift.high is None or lift.low <= 0.3 <= lift.high)
        for lift in found
    ]
    # More than 95 % where it is often undefined, which is never wrong.
    assert 0.94 < np.mean(covered) < (0.96 if error < 0.3 else 0.98)


@pytest.mark.parametrize("null_se", [0.1, 0.16, 0.3])
def test_relative_contains_no_lift_exactly_when_the_effects_interval_does(null_se: float) -> None:
    contrast = replace(means(1.3, 1.0, 0.1, 0.1), null_se=null_se)
    lift = relative(contrast, 1.96)
    assert lift is not None
    assert lift.low is not None
    assert (lift.low <= 0) == (contrast.effect <= 1.96 * contrast.interval_se)
