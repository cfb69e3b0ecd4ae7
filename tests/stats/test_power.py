import math
import time

import numpy as np
import pytest

from triageops.stats import power
from triageops.stats.group_sequential import Sides, boundaries


# pip install statsmodels==0.15.0; NormalIndPower().solve_power(effect_size=0.1, alpha=0.05, power=0.8, ratio=1)
# is 1569.7721019 in each arm; (0.05, alpha=0.01, power=0.9, ratio=1/9) 66130.6086289 in both;
# (0.02, alpha=0.05, power=0.8, ratio=1, alternative="larger") 61825.5723203 in both.
def test_sample_size_fixed_design_equals_statsmodels() -> None:
    assert power.sample_size(0.2, variance_c=4.0, variance_t=4.0).fixed == math.ceil(2 * 1569.7721019)
    uneven = power.sample_size(-0.05, variance_c=1.0, variance_t=1.0, share_t=0.1, alpha=0.01, power=0.9)
    assert uneven.fixed == 66131
    assert power.sample_size(0.02, variance_c=1.0, variance_t=1.0, sides=1).fixed == 61826


# The root of NormalIndPower().power(d, 5000, 0.05, ratio=1) = 0.8, by scipy.optimize.brentq with xtol=1e-15.
def test_detectable_effect_fixed_design_equals_statsmodels() -> None:
    ours = power.detectable_effect(10_000, variance_c=1.0, variance_t=1.0)
    assert ours.fixed == pytest.approx(0.05603163574027159, rel=1e-11)


@pytest.mark.parametrize("sides", [1, 2])
def test_detectable_effect_of_a_sample_size_is_the_effect(sides: Sides) -> None:
    sizes = power.sample_size(0.03, variance_c=0.2, variance_t=0.25, share_t=0.3, sides=sides)
    for name in ("fixed", "group_sequential", "always_valid"):
        n = getattr(sizes, name)
        found = power.detectable_effect(n, variance_c=0.2, variance_t=0.25, share_t=0.3, sides=sides)
        assert 0.03 * (1 - 1 / n) <= getattr(found, name) <= 0.03 * (1 + 1e-8)


def test_drifts_28_looks_cost_what_simulations_found() -> None:
    """About 1.11 and 1.74 times the fixed size in simulations of 20 000 runs."""
    drift = power.drifts(0.05, 0.8)
    assert (drift.group_sequential / drift.fixed) ** 2 == pytest.approx(1.10, abs=0.015)
    assert (drift.always_valid / drift.fixed) ** 2 == pytest.approx(1.73, abs=0.02)


@pytest.mark.parametrize("sides", [1, 2])
def test_drifts_simulated_paths_have_the_power(sides: Sides) -> None:
    looks, runs = 28, 100_000
    drift = power.drifts(0.05, 0.8, sides, looks)
    t = np.arange(1, looks + 1) / looks
    noise = np.cumsum(np.random.default_rng(22).standard_normal((runs, looks)), axis=1) / math.sqrt(looks)
    designs = (
        (drift.group_sequential, boundaries(t.tolist(), 0.05, sides=sides)),
        (drift.always_valid, tuple(power.always_valid_bound(x, 0.05, sides=sides) for x in t.tolist())),
    )
    for expected_z, bounds in designs:
        paths = noise + expected_z * t if sides == 1 else np.abs(noise + expected_z * t)
        has_crossed = (paths >= np.array(bounds) * np.sqrt(t)).any(axis=1)
        assert has_crossed.mean() == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / runs))


def test_drifts_one_look_of_spending_is_the_fixed_design() -> None:
    drift = power.drifts(0.05, 0.9, 2, 1)
    assert drift.group_sequential == pytest.approx(drift.fixed, rel=1e-8)
    assert drift.always_valid > drift.fixed


def test_drifts_uncached_take_less_than_a_second() -> None:
    start = time.process_time()
    power.drifts(0.04321, 0.81, 2, 28)
    assert time.process_time() - start < 1


def test_sample_size_more_looks_or_power_cost_more() -> None:
    few = power.sample_size(0.1, variance_c=1.0, variance_t=1.0, looks=2)
    many = power.sample_size(0.1, variance_c=1.0, variance_t=1.0, looks=28)
    surer = power.sample_size(0.1, variance_c=1.0, variance_t=1.0, power=0.9)
    assert few.fixed == many.fixed < few.group_sequential < many.group_sequential < many.always_valid
    assert many.always_valid < surer.always_valid


def test_sample_size_huge_effect_is_two_units_and_a_vanishing_one_refused() -> None:
    assert power.sample_size(1e9, variance_c=1.0, variance_t=0.0).fixed == 2
    with pytest.raises(ValueError):
        power.sample_size(1e-200, variance_c=1.0, variance_t=1.0)


def test_duration_days_part_of_a_day_counts_whole() -> None:
    assert power.duration_days(1000, 333.0) == 4
    assert power.duration_days(1000, 1000.0) == 1
    assert power.duration_days(0, 5.0) == 0
    for n, rate in ((1, 0.0), (1, math.nan), (-1, 2.0)):
        with pytest.raises(ValueError):
            power.duration_days(n, rate)


@pytest.mark.parametrize(
    "wrong",
    [
        {"variance_c": -1.0},
        {"variance_c": math.nan},
        {"variance_c": 0.0, "variance_t": 0.0},
        {"share_t": 0.0},
        {"share_t": 1.0},
        {"alpha": 0.0},
        {"power": 1.0},
        {"power": 0.04},
        {"looks": 0},
        {"sides": 3},
        {"sides": 1, "alpha": 0.5},
    ],
)
def test_sample_size_misuse_is_refused(wrong: dict[str, float]) -> None:
    arguments = {"variance_c": 1.0, "variance_t": 1.0, **wrong}
    with pytest.raises(ValueError):
        power.sample_size(0.1, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        power.detectable_effect(100, **arguments)  # type: ignore[arg-type]


def test_sizes_no_effect_or_no_units_are_refused() -> None:
    for effect in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError):
            power.sample_size(effect, variance_c=1.0, variance_t=1.0)
    with pytest.raises(ValueError):
        power.detectable_effect(0, variance_c=1.0, variance_t=1.0)
