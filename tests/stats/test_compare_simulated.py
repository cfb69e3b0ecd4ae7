"""Bias, standard errors and coverage of the arms' comparison in many seeded experiments."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from triageops.stats.comoments import CoMoments
from triageops.stats.compare import Contrast, Kind, contrast, estimate
from triageops.stats.lift import relative

Array = NDArray[np.float64]
Arms = dict[str, list[CoMoments]]


def experiments(
    draw: Callable[[], Arms], kind: Kind, runs: int, *, is_adjusted: bool = False
) -> list[Contrast]:
    found = [contrast(estimate(draw(), kind, is_adjusted=is_adjusted), "t", "c") for _ in range(runs)]
    return [result for result in found if result is not None]


def assert_unbiased(results: list[Contrast], effect: float, *, error_within: float = 0.08) -> None:
    """The mean within three of its errors, and the stated error within so much of the real one."""
    effects = np.array([result.effect for result in results])
    assert abs(effects.mean() - effect) < 3 * effects.std(ddof=1) / math.sqrt(effects.size)
    assert np.mean([result.se for result in results]) == pytest.approx(effects.std(ddof=1), rel=error_within)


def test_contrast_weight_change_with_a_moving_rate_is_unbiased_in_strata_and_not_when_pooled() -> None:
    rng = np.random.default_rng(31)
    # 50/50 at 60 % success, then 90/10 at 75 %, no effect.
    sizes, rates = [(1_000, 1_000), (1_800, 200)], [0.6, 0.75]

    def one(n: int, rate: float) -> CoMoments:
        share = rng.binomial(n, rate) / n
        return CoMoments(n, (share,), ((n * share * (1 - share),),))

    drawn: list[Arms] = [
        {
            "t": [one(t, r) for (t, _), r in zip(sizes, rates, strict=True)],
            "c": [one(c, r) for (_, c), r in zip(sizes, rates, strict=True)],
        }
        for _ in range(800)
    ]
    stratified = experiments(iter(drawn).__next__, "proportion", 800)
    assert_unbiased(stratified, 0.0)
    claims = np.mean([abs(result.effect) > 1.96 * result.null_se for result in stratified])
    assert 0.035 < claims < 0.065
    pooled = [{key: [CoMoments.merge(cells)] for key, cells in arms.items()} for arms in drawn]
    naive = experiments(iter(pooled).__next__, "proportion", 800)
    assert np.mean([result.effect for result in naive]) == pytest.approx(0.0714, abs=0.002)
    assert np.mean([abs(result.effect) > 1.96 * result.null_se for result in naive]) > 0.97


def requests_of_users(rng: np.random.Generator, n: int, lift: float) -> Array:
    """(numerator, denominator): users who ask more are happier, so both go together."""
    happiness = rng.normal(0, 1, n)
    requests = 1 + rng.poisson(np.exp(0.5 + 0.7 * happiness))
    return np.column_stack([requests * (1 + lift + 0.3 * happiness + rng.normal(0, 0.3, n)), requests])


def test_contrast_ratio_with_correlated_parts_has_the_right_error() -> None:
    rng = np.random.default_rng(32)
    results = experiments(
        lambda: {
            "t": [CoMoments.of(requests_of_users(rng, 250, 0.2))],
            "c": [CoMoments.of(requests_of_users(rng, 500, 0.0))],
        },
        "ratio",
        700,
    )
    assert_unbiased(results, 0.2)
    covered = np.mean([abs(result.effect - 0.2) < 1.96 * result.se for result in results])
    assert 0.925 < covered < 0.965


def with_past(rng: np.random.Generator, n: int, mean: float, rho: float) -> Array:
    """(outcome, before, is_new): a quarter of the units has no past, and another level."""
    past = rng.normal(10, 1, n)
    is_new = (rng.random(n) < 0.25).astype(float)
    outcome = mean + rho * (past - 10) + math.sqrt(1 - rho**2) * rng.normal(0, 1, n)
    return np.column_stack([outcome, np.where(is_new == 1, 0.0, past), is_new])


def test_contrast_adjusted_keeps_the_effect_and_removes_rho_squared_of_the_variance() -> None:
    rng = np.random.default_rng(33)

    def draw() -> Arms:
        return {
            "t": [CoMoments.of(with_past(rng, n, base + 0.3, 0.8)) for n, base in ((100, 5), (180, 6))],
            "c": [CoMoments.of(with_past(rng, n, base, 0.8)) for n, base in ((100, 5), (60, 6))],
        }

    drawn = [draw() for _ in range(600)]
    plain = experiments(iter(drawn).__next__, "mean", 600)
    adjusted = experiments(iter(drawn).__next__, "mean", 600, is_adjusted=True)
    assert_unbiased(plain, 0.3)
    assert_unbiased(adjusted, 0.3)
    # Three quarters of the units have a past with rho 0.8.
    gain = np.var([r.effect for r in adjusted]) / np.var([r.effect for r in plain])
    assert gain == pytest.approx(1 - 0.75 * 0.64, abs=0.05)
    reduction = [estimate(arms, "mean", is_adjusted=True).variance_reduction for arms in drawn[:50]]
    assert np.mean([r for r in reduction if r is not None]) == pytest.approx(0.75 * 0.64, abs=0.02)


def test_contrast_adjusted_ratio_keeps_the_effect_and_its_error() -> None:
    rng = np.random.default_rng(34)

    def rows(n: int, lift: float) -> Array:
        happiness = rng.normal(0, 1, n)
        before, after = (1 + rng.poisson(np.exp(0.5 + 0.5 * happiness)) for _ in range(2))
        noise = rng.normal(0, 0.2, (2, n))
        is_new = (rng.random(n) < 0.3).astype(float)
        return np.column_stack(
            [
                after * (1 + lift + 0.3 * happiness + noise[0]),
                after,
                np.where(is_new == 1, 0.0, before * (2 + 0.3 * happiness + noise[1])),
                np.where(is_new == 1, 0.0, before),
                is_new,
            ]
        )

    drawn: list[Arms] = [
        {"t": [CoMoments.of(rows(250, 0.1))], "c": [CoMoments.of(rows(400, 0.0))]} for _ in range(600)
    ]
    plain = experiments(iter(drawn).__next__, "ratio", 600)
    adjusted = experiments(iter(drawn).__next__, "ratio", 600, is_adjusted=True)
    assert_unbiased(adjusted, 0.1)
    assert np.var([r.effect for r in adjusted]) < 0.8 * np.var([r.effect for r in plain])


def test_estimate_adjusted_arms_have_the_errors_and_covariance_of_their_values() -> None:
    rng = np.random.default_rng(35)
    results = experiments(
        lambda: {
            "t": [CoMoments.of(with_past(rng, 80, 3, 0.8))],
            "c": [CoMoments.of(with_past(rng, 160, 2, 0.8))],
            "other": [CoMoments.of(with_past(rng, 60, 1, 0.8))],
        },
        "mean",
        700,
        is_adjusted=True,
    )
    values = np.cov([r.value_treatment for r in results], [r.value_control for r in results])
    assert np.mean([r.se_treatment**2 for r in results]) == pytest.approx(values[0, 0], rel=0.1)
    assert np.mean([r.se_control**2 for r in results]) == pytest.approx(values[1, 1], rel=0.1)
    assert np.mean([r.covariance for r in results]) == pytest.approx(values[0, 1], rel=0.25)
    # Half as much again, with both means uncertain: the covariance belongs into the lift's interval.
    lifts = [relative(result, 1.96) for result in results]
    covered = [lift.low <= 0.5 <= lift.high for lift in lifts if lift and lift.low is not None and lift.high]
    assert 0.93 < np.mean(covered) < 0.97
    assert len(covered) == 700


@pytest.mark.parametrize(("rate_treatment", "least"), [(0.005, 0.95), (0.0025, 0.95), (0.01, 0.925)])
def test_interval_se_rare_events_in_a_small_arm_keep_their_coverage(
    rate_treatment: float, least: float
) -> None:
    rng = np.random.default_rng(36)
    n_treatment, n_control, rate = 1_000, 9_000, 0.005

    def one(n: int, p: float) -> CoMoments:
        share = rng.binomial(n, p) / n
        return CoMoments(n, (share,), ((n * share * (1 - share),),))

    results = experiments(
        lambda: {"t": [one(n_treatment, rate_treatment)], "c": [one(n_control, rate)]}, "proportion", 1_500
    )
    truth = rate_treatment - rate
    misses = [abs(result.effect - truth) > 1.96 * result.interval_se for result in results]
    assert 1 - np.mean(misses) >= least
    if rate_treatment < 0.01:
        plug_in = [abs(result.effect - truth) > 1.96 * result.se for result in results]
        assert np.mean(plug_in) > 0.065
