import math

import numpy as np
import pytest

from triageops.stats.change import advance
from triageops.stats.margins import rate_bounds
from triageops.stats.sensitivity import (
    RANK_EFFICIENCY,
    count_growth,
    effective_n,
    expected_delay,
    mean_growth,
    needed_growth,
    rate_growth,
    smallest_rate_ratio,
    smallest_shift,
)


def simulated_delay(
    n: int, shift: float, checks_per_alarm: float, margin: float = 0.0, error: float = 0.0
) -> float:
    """Mean delay of the engine in 300 streams with two-sided normal bets, after 300 checks without a change."""
    rng = np.random.default_rng(41)
    bets = np.geomspace(0.1, 2, 8)
    signed = np.concatenate([bets, -bets])
    log_m = np.full((300, 16), -math.inf)
    reference = error * rng.normal(size=300)
    delay = np.full(300, np.nan)
    for check in range(1500):
        value = rng.normal(size=300) / math.sqrt(n) + (shift if check >= 300 else 0.0) - reference
        steps = n * (signed * value[:, None] - np.abs(signed) * margin - signed**2 / 2)
        log_m = advance(log_m, steps, -math.log(checks_per_alarm))
        alarms = np.logaddexp.reduce(log_m, axis=1) >= math.log(16)
        log_m[alarms] = -math.inf
        if check >= 300:
            delay[alarms & np.isnan(delay)] = check - 299
            if not np.isnan(delay).any():
                break
    assert np.isnan(delay).mean() < 0.03
    return float(np.nanmean(delay))


@pytest.mark.parametrize(
    ("n", "shift", "checks_per_alarm"),
    [(1, 0.25, 8640), (1, 0.5, 8640), (20, 0.25, 2000), (20, 1.0, 2000), (20, 0.25, 6e6), (20, 0.5, 6e4)],
)
def test_expected_delay_equals_the_engine_in_simulation(
    n: int, shift: float, checks_per_alarm: float
) -> None:
    growth = mean_growth(shift, margin=0, n_eff=n)
    expected = expected_delay(growth, budget_per_check=1 / checks_per_alarm)
    assert simulated_delay(n, shift, checks_per_alarm) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("reference", "shift"), [(1000, 0.5), (5000, 0.25), (20_000, 0.25)])
def test_expected_delay_with_the_error_of_the_reference_equals_simulation(
    reference: int, shift: float
) -> None:
    error = 1 / math.sqrt(reference)
    margin = 2.576 * error
    growth = mean_growth(shift, margin=margin, n_eff=20, error=error)
    expected = expected_delay(growth, budget_per_check=1 / 2000)
    assert simulated_delay(20, shift, 2000, margin, error) == pytest.approx(expected, rel=0.15)


def test_expected_delay_no_growth_never_alarms_and_fast_growth_takes_one_check() -> None:
    assert expected_delay(0.0, budget_per_check=0.001) == math.inf
    assert expected_delay(1e6, budget_per_check=0.001) == 1
    delays = [expected_delay(g, budget_per_check=0.001) for g in np.geomspace(1e-6, 1e3, 200)]
    assert delays == sorted(delays, reverse=True)


def test_needed_growth_and_smallest_shift_invert_the_delay() -> None:
    growth = needed_growth(24, budget_per_check=1e-4)
    assert expected_delay(growth, budget_per_check=1e-4) == pytest.approx(24)
    shift = smallest_shift(24, budget_per_check=1e-4, margin=0.1, n_eff=50, error=0.02)
    assert shift > 0.12
    assert mean_growth(-shift, margin=0.1, n_eff=50, error=0.02) == pytest.approx(growth)
    assert smallest_shift(24, budget_per_check=1e-4, margin=0.1, n_eff=500) < shift
    assert mean_growth(0.1, margin=0.1, n_eff=50) == 0


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_rate_growth_is_the_divergence_of_bernoulli_and_count_growth_of_poisson(ratio: float) -> None:
    p, q = 0.04 * ratio, 0.04
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert rate_growth(p, bound=q, n_eff=100) == pytest.approx(100 * expected, abs=1e-12)
    many = 1e6 * rate_growth(7 * ratio / 1e6, bound=7 / 1e6, n_eff=1)
    assert count_growth(7 * ratio, bound=7) == pytest.approx(many, rel=1e-4, abs=1e-9)
    assert rate_growth(0.0, bound=q, n_eff=100) == pytest.approx(-100 * math.log(1 - q))
    assert count_growth(0.0, bound=7) == 7
    assert rate_growth(0.5, bound=0.0, n_eff=1) == math.inf


@pytest.mark.parametrize("side", ["up", "down"])
def test_smallest_rate_ratio_is_found_in_the_time_asked_for(side: str) -> None:
    bounds = rate_bounds(0.1, n_eff=20_000, ratio=0.1)
    bound = bounds.high if side == "up" else bounds.low
    ratio = smallest_rate_ratio(24, budget_per_check=1e-4, rate=0.1, bound=bound, n_eff=100)
    assert ratio is not None
    assert (ratio > 1.1) if side == "up" else (ratio < 1 / 1.1)
    growth = rate_growth(0.1 * ratio, bound=bound, n_eff=100)
    assert expected_delay(growth, budget_per_check=1e-4) == pytest.approx(24, rel=1e-6)


def test_smallest_rate_ratio_too_few_records_have_none() -> None:
    assert smallest_rate_ratio(2, budget_per_check=1e-6, rate=0.001, bound=0.0005, n_eff=5) is None
    assert smallest_rate_ratio(2, budget_per_check=1e-6, rate=0.9, bound=1.0, n_eff=5) is None


def test_effective_n_and_rank_efficiency() -> None:
    assert effective_n(100, icc=0.01, inflation=2) == pytest.approx(100 / 1.99 / 2)
    assert effective_n(0.5) == 0.5
    # A mean rank's gain of 2 Phi(d / sqrt 2) - 1 in units of sd 1 / sqrt 3, squared, for a small shift.
    assert pytest.approx(3 * math.erf(1e-4 / 2) ** 2 / 1e-8) == RANK_EFFICIENCY


@pytest.mark.parametrize(
    "call",
    [
        lambda: expected_delay(1.0, budget_per_check=0),
        lambda: expected_delay(math.nan, budget_per_check=0.1),
        lambda: needed_growth(1.0, budget_per_check=0.1),
        lambda: mean_growth(1.0, margin=-1, n_eff=2),
        lambda: rate_growth(1.5, bound=0.1, n_eff=2),
        lambda: count_growth(1.5, bound=0),
        lambda: smallest_rate_ratio(9, budget_per_check=0.1, rate=0, bound=0.1, n_eff=2),
        lambda: effective_n(0),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
