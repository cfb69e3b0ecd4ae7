"""A canary against its control: the promise at any size of either side, what is found, and what is let be."""

import math

import numpy as np
import pytest
from numpy.random import Generator

from monitoring.monitors.comparison import (
    ScoreComparison,
    ShareComparison,
    score_differences,
    share_differences,
)
from monitoring.monitors.deviation import merged
from monitoring.monitors.reference import RateReference, ScoreReference, Tolerance
from monitoring.monitors.replay import replay
from monitoring.monitors.sample import Sample
from tests.monitoring.kinds import LENGTH, against, beta, sampled, shared

EXACT = Tolerance(shift=0.0, stretch=1.0, ratio=0.0)
BUDGET = 200
RNG = np.random.default_rng(1)
SCORES = {
    wobble: ScoreReference.learnt(
        [sampled(number, beta(RNG, 20, wobble * RNG.normal())) for number in range(600)], EXACT
    )
    for wobble in (0.0, 0.3)
}
SHARES = RateReference.learnt(
    [shared(number, int(RNG.binomial(50, 0.05)), 50) for number in range(600)], EXACT
)


def scored(rng: Generator, number: int, n: int, m: int, *, shift: float = 0.0, wobble: float = 0.0) -> Sample:
    mine = sampled(number, beta(rng, n, shift + wobble * rng.normal()))
    return against(mine, sampled(number, beta(rng, m, wobble * rng.normal())))


def counted(rng: Generator, number: int, n: int, m: int, *, p: float, q: float) -> Sample:
    mine = shared(number, int(rng.binomial(n, p)), n)
    return against(mine, shared(number, int(rng.binomial(m, q)), m))


def alarm_count(detector: ScoreComparison | ShareComparison, samples: list[Sample]) -> int:
    return len(replay(detector, samples, budget_per_second=1 / (BUDGET * LENGTH)).alarms)


def sizes(rng: Generator) -> tuple[int, int]:
    return int(5 * 40 ** rng.uniform()), int(5 * 400 ** rng.uniform())


@pytest.mark.parametrize("wobble", [0.0, 0.3])
def test_equal_variants_of_any_size_keep_the_budget(wobble: float) -> None:
    detector, found = ScoreComparison(SCORES[wobble], "both", EXACT), 0
    rng = np.random.default_rng(2)
    for _ in range(8):
        stream = [scored(rng, number, *sizes(rng), wobble=wobble) for number in range(BUDGET)]
        found += alarm_count(detector, stream)
    assert found <= 8


@pytest.mark.parametrize("share", [0.05, 0.5, 0.002])
def test_equal_shares_of_any_size_keep_the_budget_whatever_was_learnt(share: float) -> None:
    rng = np.random.default_rng(3)
    detector = ShareComparison(SHARES, "both", EXACT)
    found = sum(
        alarm_count(
            detector, [counted(rng, number, *sizes(rng), p=share, q=share) for number in range(BUDGET)]
        )
        for _ in range(8)
    )
    assert found <= 8


def test_expectation_of_each_bet_is_one_at_small_sizes() -> None:
    rng = np.random.default_rng(4)
    detector = ScoreComparison(SCORES[0.0], "both", EXACT)
    worth = SCORES[0.0].usual[0].worth(5)
    values = [detector.increments(scored(rng, 0, 5, 7)) for _ in range(3_000)]
    means, errors = np.exp(values).mean(axis=0), np.exp(values).std(axis=0) / math.sqrt(3_000)
    assert worth > 0.9
    assert (means <= 1 + 4 * errors).all()
    assert (means > 0.7).all()


@pytest.mark.parametrize(
    ("n", "m", "shift", "most"),
    [(20, 20, -1.0, 8), (5, 50, -1.0, 12), (50, 500, 0.5, 6), (200, 2000, 0.5, 3)],
)
def test_canary_that_is_off_is_found_soon_and_said_rightly(n: int, m: int, shift: float, most: int) -> None:
    rng = np.random.default_rng(5)
    stream = [scored(rng, number, n, m, shift=shift) for number in range(40)]
    first = replay(ScoreComparison(SCORES[0.0]), stream, budget_per_second=1 / (8_640 * LENGTH)).alarms[0]
    assert first.at <= most * LENGTH
    assert first.label in ({"down", "bottom tail"} if shift < 0 else {"up", "top tail", "narrower"})
    assert first.value is not None
    assert (first.value < first.usual) == (shift < 0)


def test_share_that_doubles_is_found_and_one_within_the_tolerance_is_not() -> None:
    rng = np.random.default_rng(6)
    detector = ShareComparison(SHARES, "up", Tolerance(ratio=0.3))
    worse = [counted(rng, number, 50, 500, p=0.1, q=0.05) for number in range(60)]
    found = replay(detector, worse, budget_per_second=1 / (8_640 * LENGTH)).alarms
    assert found[0].at <= 40 * LENGTH
    assert found[0].label == "up"
    tolerated = [counted(rng, number, 200, 2_000, p=0.06, q=0.05) for number in range(BUDGET)]
    assert alarm_count(detector, tolerated) == 0
    assert alarm_count(ShareComparison(SHARES, "up", EXACT), tolerated) >= 1


def test_day_on_which_both_are_off_is_no_evidence() -> None:
    rng = np.random.default_rng(7)
    detector = ScoreComparison(SCORES[0.0])
    both = [
        against(sampled(number, beta(rng, 50, -1.0)), sampled(number, beta(rng, 200, -1.0)))
        for number in range(60)
    ]
    assert alarm_count(detector, both) == 0


def test_either_side_without_records_is_no_evidence_and_has_no_deviation() -> None:
    scores, shares = ScoreComparison(SCORES[0.0]), ShareComparison(SHARES)
    some, few = sampled(0, [0.5, 0.6]), shared(0, 1, 2)
    for sample in (some, against(some, Sample(0, LENGTH)), against(Sample(0, LENGTH), some)):
        assert set(scores.increments(sample)) == {0.0}
        assert score_differences(SCORES[0.0], "both", sample) == ()
    for sample in (few, against(few, Sample(0, LENGTH)), against(Sample(0, LENGTH), few)):
        assert set(shares.increments(sample)) == {0.0}
        assert share_differences(SHARES, "both", sample) == ()


def test_what_is_expected_is_the_controls_value_and_the_band_lies_around_it() -> None:
    sample = against(sampled(0, [0.5, 0.7]), sampled(0, [0.4, 0.5]))
    scores = ScoreComparison(SCORES[0.0], "both", Tolerance(shift=0.5))
    assert scores.value(sample) == pytest.approx(0.6)
    assert scores.expected(sample) == pytest.approx(0.45)
    assert scores.band(sample) == pytest.approx((0.45 - 0.06, 0.45 + 0.06), abs=0.01)
    counted_ = against(shared(0, 1, 2), shared(0, 1, 10))
    shares = ShareComparison(SHARES, "both", Tolerance(ratio=1.0))
    assert (shares.value(counted_), shares.expected(counted_)) == (0.5, 0.1)
    assert shares.band(counted_) == pytest.approx((0.075, 0.15), abs=0.01)


@pytest.mark.parametrize(("side", "missing"), [("up", "down"), ("down", "up")])
def test_one_side_bets_on_that_side_only(side: str, missing: str) -> None:
    assert missing not in ScoreComparison(SCORES[0.0], side).labels  # type: ignore[arg-type]
    assert set(ShareComparison(SHARES, side).labels) == {side}  # type: ignore[arg-type]


def test_differences_are_settled_by_many_records_that_agree() -> None:
    rng = np.random.default_rng(8)
    reference, tolerance = SCORES[0.0], Tolerance(shift=0.3, stretch=1.3)

    def judged(count: int, shift: float) -> list[bool]:
        buckets = [scored(rng, number, 50, 200, shift=shift) for number in range(count)]
        sides = merged(score_differences(reference, "both", one, tolerance) for one in buckets)
        return [side.is_settled for side in sides]

    assert all(judged(60, 0.0))
    assert not all(judged(60, 1.0))
    assert not all(judged(1, 0.0))


def test_share_differences_are_settled_by_many_records_that_agree() -> None:
    def judged(k: int, n: int) -> list[bool]:
        sample = against(shared(0, k, n), shared(0, n // 2, 10 * n))
        return [side.is_settled for side in share_differences(SHARES, "both", sample, Tolerance(ratio=0.5))]

    assert judged(1_000, 20_000) == [True, True]
    assert judged(2_000, 20_000) == [False, True]
    assert judged(1, 20) == [False, False]
