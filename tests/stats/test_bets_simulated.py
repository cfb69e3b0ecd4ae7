"""Every bet with the engine, on many seeded streams: false alarms against the budget, delays to a true alarm.

Expected delays come from an independent simulation with 20 values a check and one false alarm in 2000 checks; they
are known to some 10 %, and what is asked for here is 1.15 times them at most.
"""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from triageops.stats.bets_cells import Cells
from triageops.stats.bets_count import CategoryBet, VolumeBet
from triageops.stats.bets_mean import MeanBet
from triageops.stats.bets_rate import RateBet
from triageops.stats.bets_score import ScoreBet, score_tolerances
from triageops.stats.change import Evidence, advance, step
from triageops.stats.histogram import Histogram, LogBins, UniformBins
from triageops.stats.variance import deflator

Array = NDArray[np.float64]
CHECKS = 2_000
UNIT, LOG, WIDE = UniformBins(0.0, 1.0), LogBins(0.01), UniformBins(-8.0, 8.0)
GRID = (np.arange(100_000) + 0.5) / 100_000
SCORES = ScoreBet(Cells.of(Histogram.of(stats.beta(8, 2).ppf(GRID), UNIT)))
LATENCY = ScoreBet(Cells.of(Histogram.of(np.exp(0.8 * stats.norm.ppf(GRID)), LOG)))
NORMAL = ScoreBet(Cells.of(Histogram.of(stats.norm.ppf(GRID), WIDE)))
SD = math.sqrt(0.8 * 0.2 / 11)


def cell_counts(values: Array, cells: Cells) -> NDArray[np.int64]:
    """values: (runs, checks, values per check) -> (runs, checks, cells)."""
    cell = np.searchsorted(cells.last_bins, cells.scheme.index(values))
    size = len(cells.shares)
    row = np.arange(cell.shape[0] * cell.shape[1]).reshape(*cell.shape[:2], 1)
    counts = np.bincount((row * size + cell).ravel(), minlength=row.size * size)
    return counts.astype(np.int64).reshape(*cell.shape[:2], size)


def alarms(increments: Array, budget_per_check: float = 1 / CHECKS) -> NDArray[np.bool_]:
    """(runs, checks): the engine on many streams at once, as in test_change_simulated."""
    log_m = np.full((increments.shape[0], increments.shape[2]), -math.inf)
    found = np.zeros(increments.shape[:2], dtype=bool)
    for check in range(increments.shape[1]):
        log_m = advance(log_m, increments[:, check], math.log(budget_per_check))
        found[:, check] = np.logaddexp.reduce(log_m, axis=1) >= math.log(log_m.shape[1])
        log_m[found[:, check]] = -math.inf
    return found


def delay(increments: Array) -> float:
    """Mean number of checks to the first alarm, all of them bad; every stream has to alarm."""
    found = alarms(increments)
    assert found.any(axis=1).all()
    return float(found.argmax(axis=1).mean()) + 1


def assert_within_budget(increments: Array, budget: float = 1.0) -> None:
    counts = alarms(increments, budget / increments.shape[1]).sum(axis=1)
    error = counts.std(ddof=1) / math.sqrt(counts.size)
    assert 0 < counts.mean() <= budget + 3 * error


def beta_scores(rng: np.random.Generator, shape: tuple[int, ...], mean: float, sd: float | None) -> Array:
    """Beta with this mean, and this standard deviation or the same a + b = 10 as Beta(8, 2)."""
    size = 10.0 if sd is None else mean * (1 - mean) / sd**2 - 1
    return rng.beta(mean * size, (1 - mean) * size, shape)


@pytest.mark.parametrize(
    ("shift", "stretch", "expected"),
    [
        (0.25, None, 13.1),
        (0.5, None, 5.5),
        (1.0, None, 2.6),
        (0.0, 1.25, 10.4),
        (0.0, 1.48, 4.0),
        (0.0, 0.72, 6.4),
    ],
)
def test_score_bet_changed_scores_are_found_after_the_expected_delay(
    shift: float, stretch: float | None, expected: float
) -> None:
    rng, length = np.random.default_rng(41), int(6 * expected) + 30
    sd = None if stretch is None else stretch * SD
    values = beta_scores(rng, (400, length, 20), 0.8 - shift * SD, sd)
    assert delay(SCORES.increments_of(cell_counts(values, SCORES.cells))) <= 1.15 * expected


@pytest.mark.parametrize(("factor", "expected"), [(1.1, 55.6), (1.25, 12.9), (1.5, 5.0)])
def test_score_bet_slower_answers_are_found_after_the_expected_delay(factor: float, expected: float) -> None:
    rng = np.random.default_rng(42)
    values = factor * np.exp(0.8 * rng.standard_normal((200, int(7 * expected) + 30, 20)))
    assert delay(LATENCY.increments_of(cell_counts(values, LATENCY.cells))) <= 1.15 * expected


@pytest.mark.parametrize("unit", ["value", "bucket"])
def test_score_bet_unchanged_scores_keep_the_budget(unit: str) -> None:
    values = np.random.default_rng(43).beta(8, 2, (60, CHECKS, 20))
    bet = ScoreBet(SCORES.cells, unit=unit)  # type: ignore[arg-type]
    assert_within_budget(bet.increments_of(cell_counts(values, bet.cells)))


def test_score_bet_unchanged_latencies_keep_the_budget() -> None:
    values = np.exp(0.8 * np.random.default_rng(44).standard_normal((60, CHECKS, 20)))
    assert_within_budget(LATENCY.increments_of(cell_counts(values, LATENCY.cells)))


def test_score_bet_short_reference_keeps_the_budget_only_with_its_error() -> None:
    rng, n, checks = np.random.default_rng(45), 500, 500
    plug_in, with_error = [], []
    for _ in range(15):
        cells = Cells.of(Histogram.of(rng.standard_normal(n), WIDE))
        counts = cell_counts(rng.standard_normal((4, checks, 20)), cells)
        plug_in.append(alarms(ScoreBet(cells).increments_of(counts), 1 / checks).sum() / 4)
        careful = ScoreBet(cells, margins=score_tolerances(cells, n_reference=n))
        with_error.append(alarms(careful.increments_of(counts), 1 / checks).sum() / 4)
    assert np.mean(plug_in) > 1.5
    assert np.mean(with_error) <= 0.5


def test_score_bet_season_is_forgiven_with_its_offsets_only() -> None:
    """By day half a standard deviation higher than by night; the reference holds both."""
    rng, checks = np.random.default_rng(46), 600
    reference = np.concatenate([stats.norm.ppf(GRID) + 0.25, stats.norm.ppf(GRID) - 0.25])
    cells = Cells.of(Histogram.of(reference, WIDE))
    bet = ScoreBet(cells)
    level = np.where(np.arange(checks) % 2 == 0, 0.25, -0.25)
    slots = [
        bet.mean_scores(cells.counts(Histogram.of(stats.norm.ppf(GRID) + x, WIDE))) for x in (0.25, -0.25)
    ]
    offsets = np.where(level[:, None] > 0, slots[0], slots[1])
    counts = cell_counts(rng.standard_normal((60, checks, 20)) + level[:, None], cells)
    hours = counts.reshape(60, -1, 2, len(cells.shares))[:, :, 0]
    assert alarms(bet.increments_of(hours)).any(axis=1).all()  # by day only: always higher
    assert_within_budget(bet.increments_of(counts, offsets=offsets))
    lower = cell_counts(rng.standard_normal((60, 100, 20)) + level[:100, None] - 0.5, cells)
    assert delay(bet.increments_of(lower, offsets=offsets[:100])) < 8


def direction_found(rng: np.random.Generator, shift: float, stretch: float) -> str:
    """Of the engine's first alarm on one stream of normal values."""
    evidence = Evidence.none(len(NORMAL.directions))
    for number in range(1, 200):
        taken = step(
            evidence,
            NORMAL.increments(Histogram.of(rng.normal(shift, stretch, 20), WIDE)),
            elapsed_seconds=60,
            budget_per_second=1 / CHECKS / 60,
            at=60.0 * number,
        )
        if taken.is_alarm:
            return NORMAL.directions[taken.baseline]
        evidence = taken.evidence
    return "none"


@pytest.mark.parametrize(
    ("shift", "stretch", "expected"),
    [
        (-0.5, 1.0, {"down"}),
        (0.5, 1.0, {"up"}),
        (0.0, 1.4, {"wider", "top tail", "bottom tail"}),
        (0.0, 0.6, {"narrower"}),
    ],
)
def test_score_bet_alarm_of_the_engine_mostly_names_what_changed(
    shift: float, stretch: float, expected: set[str]
) -> None:
    rng = np.random.default_rng(47)
    found = [direction_found(rng, shift, stretch) for _ in range(12)]
    assert sum(direction in expected for direction in found) >= 9


@pytest.mark.parametrize(
    ("rate", "new", "expected"),
    [
        (0.02, 0.03, 114),
        (0.02, 0.04, 47),
        (0.02, 0.06, 18),
        (0.02, 0.10, 7),
        (0.10, 0.12, 129),
        (0.10, 0.15, 29),
        (0.10, 0.20, 10),
    ],
)
def test_rate_bet_higher_rates_are_found_after_the_expected_delay(
    rate: float, new: float, expected: float
) -> None:
    k = np.random.default_rng(48).binomial(20, new, (500, int(8 * expected) + 30))
    assert delay(RateBet(rate, rate).increments_of(k, np.full(k.shape, 20))) <= 1.15 * expected


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.98])
def test_rate_bet_unchanged_rates_keep_the_budget(rate: float) -> None:
    k = np.random.default_rng(49).binomial(20, rate, (150, CHECKS))
    assert_within_budget(RateBet(rate, rate).increments_of(k, np.full(k.shape, 20)))


def test_rate_bet_rates_that_differ_from_bucket_to_bucket_need_the_deflator() -> None:
    """Beta-binomial: 200 values a check, intra-class correlation 0.02."""
    rng, icc, n = np.random.default_rng(50), 0.02, 200
    size = (1 - icc) / icc
    k = rng.binomial(n, rng.beta(0.1 * size, 0.9 * size, (150, 1_000)))
    bet, counts = RateBet(0.1, 0.1), np.full(k.shape, n)
    assert alarms(bet.increments_of(k, counts)).sum(axis=1).mean() > 30
    assert_within_budget(bet.increments_of(k, counts, phi=float(deflator(n, icc))))


def test_mean_bet_wobbling_buckets_keep_the_budget_with_their_variance_only() -> None:
    rng, n, tau = np.random.default_rng(51), 1_000, 0.1
    means = rng.normal(0, math.sqrt(1 / n + tau**2), (100, 1_000))
    bet = MeanBet(1.0)
    zero = np.zeros(means.shape)
    assert alarms(bet.increments_of(means, zero, np.full(means.shape, 1 / n))).sum(axis=1).mean() > 50
    assert_within_budget(bet.increments_of(means, zero, np.full(means.shape, 1 / n + tau**2)))


@pytest.mark.parametrize(("shift", "expected"), [(0.25, 14.0), (0.5, 4.3), (1.0, 1.5)])
def test_mean_bet_shifted_means_are_found_after_the_expected_delay(shift: float, expected: float) -> None:
    means = np.random.default_rng(52).normal(-shift, 1 / math.sqrt(20), (500, 150))
    increments = MeanBet(1.0).increments_of(means, np.zeros(means.shape), np.full(means.shape, 1 / 20))
    assert delay(increments) <= 1.15 * expected


@pytest.mark.parametrize("dispersion", [0.0, 0.05])
def test_volume_bet_unchanged_volumes_keep_the_budget_and_an_outage_is_found_at_once(
    dispersion: float,
) -> None:
    rng, mean = np.random.default_rng(53), 20.0
    shape = (100, 1_000)
    rate = rng.gamma(1 / dispersion, mean * dispersion, shape) if dispersion else np.full(shape, mean)
    k = rng.poisson(rate)
    bet, expected = VolumeBet(dispersion=dispersion), np.full(shape, mean)
    assert_within_budget(bet.increments_of(k, expected))
    if dispersion:
        assert alarms(VolumeBet().increments_of(k, expected)).sum(axis=1).mean() > 5
    assert delay(bet.increments_of(np.zeros((2, 10)), np.full((2, 10), mean))) <= 2
    half = rng.poisson(rate[:, :100] / 2)
    assert delay(bet.increments_of(half, expected[:, :100])) < 8


def test_category_bet_unchanged_mix_keeps_the_budget_and_a_changed_one_is_found() -> None:
    rng, shares = np.random.default_rng(54), (0.4, 0.3, 0.15, 0.1, 0.05)
    bet = CategoryBet(("a", "b", "c", "d", "e"), shares)
    assert_within_budget(bet.increments_of(rng.multinomial(20, shares, (60, 1_000))))
    changed = rng.multinomial(20, (0.2, 0.3, 0.15, 0.1, 0.25), (100, 40))
    assert delay(bet.increments_of(changed)) < 4.5
