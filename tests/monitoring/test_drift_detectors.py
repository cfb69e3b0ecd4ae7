"""Detectors with a learned reference: what they call drift, what they leave alone, and that order never matters."""

import json
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator

from monitoring.monitors import reference as references
from monitoring.monitors.drift import Detector, DistributionDrift, RateDrift, VolumeDrift, anomaly
from monitoring.monitors.reference import RateReference, ScoreReference, Tolerance, TooLittle, VolumeReference
from monitoring.monitors.replay import replay
from monitoring.monitors.sample import Sample
from triageops.stats.histogram import Histogram, UniformBins
from triageops.stats.moments import Moments

SCORE = UniformBins(0.0, 1.0)
LENGTH = 300
EXACT = Tolerance(shift=0.0, stretch=1.0, ratio=0.0)
CHECKS = 1_000


def scored(at: float, values: np.ndarray) -> Sample:
    counts = dict(Histogram.of(values, SCORE).counts)
    return Sample.of_row(at, LENGTH, Moments.of(values), {SCORE.name: counts})


def scores(
    rng: Generator,
    count: int,
    *,
    start: int = 0,
    size: int = 20,
    shift: float = 0.0,
    wobble: float = 0.0,
    memory: float = 0.0,
    season: float = 0.0,
) -> list[Sample]:
    """Beta(8, 2) scores in buckets; shift, wobble (of a bucket) and season in standard deviations (0.12)."""
    found, state = [], 0.0
    for number in range(start, start + count):
        state = memory * state + math.sqrt(1 - memory**2) * rng.normal()
        hour = number * LENGTH / 3600 % 24
        moved = shift + wobble * state + season * math.sin(2 * math.pi * hour / 24)
        found.append(scored(number * LENGTH, np.clip(rng.beta(8, 2, size) + 0.12 * moved, 0.0, 1.0)))
    return found


def rates(rng: Generator, count: int, share: float, *, start: int = 0, size: int = 50) -> list[Sample]:
    return [
        Sample.of_shares(number * LENGTH, LENGTH, int(rng.binomial(size, share)), size)
        for number in range(start, start + count)
    ]


def volumes(rng: Generator, count: int, mean: float, *, start: int = 0) -> list[Sample]:
    return [Sample(number * LENGTH, LENGTH, int(rng.poisson(mean))) for number in range(start, start + count)]


def alarms(detector: Detector, samples: Sequence[Sample]) -> int:
    return len(replay(detector, samples, budget_per_second=1 / (CHECKS * LENGTH)).alarms)


def distribution(samples: Sequence[Sample], tolerance: Tolerance = EXACT) -> DistributionDrift:
    return DistributionDrift(ScoreReference.learnt(samples, tolerance))


@pytest.mark.parametrize(
    "stream",
    [
        {},
        {"wobble": 0.3},
        {"wobble": 0.3, "memory": 0.6},
        {"season": 0.5},
        {"size": 400, "wobble": 0.2},
    ],
    ids=["steady", "buckets differ", "neighbours are alike", "hours differ", "many records"],
)
def test_distribution_that_stays_keeps_the_budget(stream: dict[str, float]) -> None:
    found = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        usual = scores(rng, 4_032, **stream)  # type: ignore[arg-type]
        found += alarms(distribution(usual), scores(rng, CHECKS, start=4_032, **stream))  # type: ignore[arg-type]
    # 4 are promised at most, on average; 8 or more would happen to a broken promise only.
    assert found <= 7


@pytest.mark.parametrize("days", [1, 2, 4])
def test_distribution_with_hours_keeps_the_budget_from_a_short_reference(days: int) -> None:
    """From two days on the hours are learned; from one they count as wobble."""
    found = 0
    for seed in range(2):
        rng = np.random.default_rng(seed)
        detector = distribution(scores(rng, days * 288, season=0.5))
        assert detector.reference.when.season == ("none" if days == 1 else "hour_of_day")
        later = scores(rng, CHECKS, start=days * 288, season=0.5)
        found += alarms(detector, later)
        if days > 1:
            assert alarms(detector, scores(rng, 60, start=days * 288, season=0.5, shift=-1.0)) >= 1
    assert found <= 4


def test_short_reference_without_hours_learns_none() -> None:
    seasons = [
        ScoreReference.learnt(scores(np.random.default_rng(seed), 600), EXACT).when.season
        for seed in range(8)
    ]
    assert seasons.count("none") >= 7


def test_distribution_of_many_records_without_its_wobble_would_alarm_all_day() -> None:
    """What the correction is for: the same stream, judged as if records were independent."""
    rng = np.random.default_rng(5)
    detector = distribution(scores(rng, 2_016, size=400, wobble=0.3))
    assert detector.reference.usual[0].icc > 0.03
    later = scores(rng, 300, start=2_016, size=400, wobble=0.3)
    naive = DistributionDrift(
        references.from_json(
            {
                **references.as_json(detector.reference),
                "usual": [
                    {**one, "icc": 0.0, "inflation": 1.0}
                    for one in references.as_json(detector.reference)["usual"]
                ],
            }
        )  # type: ignore[arg-type]
    )
    assert alarms(naive, later) > 10
    assert alarms(detector, later) <= 2


@pytest.mark.parametrize(("shift", "most_checks"), [(-0.5, 12), (-1.0, 6), (0.5, 12)])
def test_distribution_that_moves_is_found_soon_and_said_rightly(shift: float, most_checks: int) -> None:
    rng = np.random.default_rng(7)
    detector = distribution(scores(rng, 4_032), Tolerance(shift=0.1))
    moved = scores(rng, 50, start=4_032, shift=shift)
    found = replay(detector, moved, budget_per_second=1 / (8_640 * LENGTH)).alarms
    first = found[0]
    assert first.at <= (4_032 + most_checks + 4) * LENGTH
    assert abs(first.onset_at - 4_032 * LENGTH) <= 3 * LENGTH
    assert first.value is not None
    assert (first.value < first.usual) == (shift < 0)
    assert first.label in ({"down", "bottom tail", "wider"} if shift < 0 else {"up", "top tail", "narrower"})


def test_shift_that_is_nobodys_concern_is_left_alone() -> None:
    rng = np.random.default_rng(8)
    detector = distribution(scores(rng, 4_032), Tolerance(shift=0.3, stretch=1.1))
    assert alarms(detector, scores(rng, CHECKS, start=4_032, shift=0.15)) <= 2


@pytest.mark.parametrize(("ignored", "moved"), [(0.1, -0.09), (0.1, 0.09), (1.0, -0.25), (1.0, -0.9)])
def test_shift_of_a_skewed_score_that_is_ignored_is_left_alone(ignored: float, moved: float) -> None:
    """Beta(10, 1): every value moved by less than so many standard deviations (0.083)."""
    rng = np.random.default_rng(3)
    usual = [scored(number * LENGTH, rng.beta(10, 1, 20)) for number in range(4 * 288)]
    detector = distribution(usual, Tolerance(shift=ignored))
    later = [
        scored(number * LENGTH, np.clip(rng.beta(10, 1, 20) + 0.083 * moved, 0.0, 1.0))
        for number in range(4 * 288, 8 * 288)
    ]
    assert len(replay(detector, later, budget_per_second=1 / (8_640 * LENGTH)).alarms) <= 1
    low, high = detector.band(later[0])
    assert low < detector.expected(later[0]) + 0.083 * moved < high
    assert high - low == pytest.approx(2 * ignored * 0.083, rel=0.1)


def test_one_impossible_bucket_is_found_by_itself() -> None:
    rng = np.random.default_rng(9)
    detector = distribution(scores(rng, 2_016))
    steady = scores(rng, 30, start=2_016)
    steady[20] = scored(steady[20].at, np.zeros(20))
    found = replay(detector, steady, budget_per_second=1 / (8_640 * LENGTH)).alarms
    assert found
    assert found[0].at == steady[20].at + LENGTH
    log_e, position = anomaly(detector.increments(steady[20]))
    assert log_e > 10
    assert detector.labels[position] in {"down", "bottom tail"}


def test_rate_that_doubles_is_found_and_one_that_stays_is_not() -> None:
    rng = np.random.default_rng(10)
    usual = rates(rng, 4_032, 0.05)
    detector = RateDrift(RateReference.learnt(usual, Tolerance(ratio=0.1)), "up")
    assert sum(alarms(detector, rates(rng, CHECKS, 0.05, start=4_032)) for _ in range(3)) <= 5
    worse = replay(detector, rates(rng, 40, 0.10, start=4_032), budget_per_second=1 / (8_640 * LENGTH))
    assert worse.alarms
    assert worse.alarms[0].label == "up"
    assert worse.alarms[0].value == pytest.approx(0.10, abs=0.03)
    assert alarms(detector, rates(rng, 300, 0.01, start=4_032)) == 0


def test_rate_without_any_failure_so_far_is_watched_upwards() -> None:
    rng = np.random.default_rng(11)
    detector = RateDrift(RateReference.learnt(rates(rng, 2_016, 0.0), EXACT))
    assert detector.increments(Sample.of_shares(0, LENGTH, 5, 50))[0] > 0
    assert all(x == 0.0 for x in detector.increments(Sample.of_shares(0, LENGTH, 0, 50))[8:])


def test_volume_that_stops_is_found_at_once_and_night_is_not_an_outage() -> None:
    rng = np.random.default_rng(12)

    def day_and_night(count: int, start: int) -> list[Sample]:
        hours = [number * LENGTH / 3600 % 24 for number in range(start, start + count)]
        means = [20.0 if 8 <= hour < 20 else 0.5 for hour in hours]
        return [
            Sample((start + number) * LENGTH, LENGTH, int(rng.poisson(mean)))
            for number, mean in enumerate(means)
        ]

    detector = VolumeDrift(VolumeReference.learnt(day_and_night(15 * 288, 0), Tolerance(ratio=0.2)))
    assert detector.reference.when.season == "hour_of_day_weekend"
    assert alarms(detector, day_and_night(CHECKS, 15 * 288)) <= 2
    noon = [Sample((16 * 288 + 144 + number) * LENGTH, LENGTH, 0) for number in range(6)]
    found = replay(detector, noon, budget_per_second=1 / (8_640 * LENGTH)).alarms
    assert found[0].at <= noon[1].at + LENGTH
    assert found[0].label == "down"
    assert found[0].value == 0.0
    assert found[0].usual == pytest.approx(20.0, rel=0.1)


def test_share_and_volume_learn_hours_from_four_days() -> None:
    rng = np.random.default_rng(21)
    hours = np.arange(5 * 288) * LENGTH / 3600
    shares = 0.2 + 0.1 * np.sin(2 * np.pi * hours / 24)
    failed = [
        Sample.of_shares(number * LENGTH, LENGTH, int(rng.binomial(50, share)), 50)
        for number, share in enumerate(shares)
    ]
    arrived = [
        Sample(number * LENGTH, LENGTH, int(rng.poisson(100 * share))) for number, share in enumerate(shares)
    ]
    of_rate = RateDrift(RateReference.learnt(failed[: 4 * 288], EXACT))
    of_volume = VolumeDrift(VolumeReference.learnt(arrived[: 4 * 288], EXACT))
    for detector, samples, size in ((of_rate, failed, 1.0), (of_volume, arrived, 100.0)):
        assert detector.reference.when.season == "hour_of_day"
        for one in samples[4 * 288 :]:
            hour = one.at / 3600 // 1 + 0.5
            assert detector.expected(one) == pytest.approx(
                size * (0.2 + 0.1 * math.sin(2 * math.pi * hour / 24)), abs=0.035 * size
            )
        assert alarms(detector, samples[4 * 288 :]) <= 1


def test_expected_mean_and_band_follow_the_hours() -> None:
    rng = np.random.default_rng(22)
    usual = scores(rng, 15 * 288, season=0.5)
    detector = distribution(usual, Tolerance(shift=0.3, stretch=1.1))
    for hour in range(24):
        own = Sample.merge(one for one in usual if one.at // 3600 % 24 == hour)
        shown = Sample((15 * 24 + hour) * 3600.0, LENGTH)
        low, high = detector.band(shown)
        assert detector.expected(shown) == pytest.approx(own.moments.mean, abs=0.005)
        # 0.3 standard deviations of 0.12, and no more than a few hundredths of one for what a slot does not know.
        assert detector.expected(shown) - low == pytest.approx(0.036, rel=0.2)
        assert high - detector.expected(shown) == pytest.approx(0.036, rel=0.2)
    whole = DistributionDrift(ScoreReference.learnt(usual[:600:2], EXACT))
    low, high = whole.band(usual[0])
    assert low < whole.expected(usual[0]) < high


def test_bands_of_share_and_volume_are_what_is_allowed() -> None:
    rng = np.random.default_rng(23)
    rate = RateDrift(RateReference.learnt(rates(rng, 2_016, 0.2), Tolerance(ratio=0.5)))
    low, high = rate.band(Sample(0, LENGTH))
    assert (low, high) == rate.reference.bounds[0]
    assert [low, high] == pytest.approx([0.2 / 1.5, 0.3], rel=0.02)
    volume = VolumeDrift(VolumeReference.learnt(volumes(rng, 2_016, 40.0), Tolerance(ratio=0.25)))
    assert list(volume.band(Sample(0, LENGTH))) == pytest.approx([30, 50], rel=0.02)


def test_share_near_one_is_watched_as_its_failures_are() -> None:
    """What is a success is a matter of words: 0.95 of one is 0.05 of the other."""
    rng = np.random.default_rng(24)
    failed = rates(rng, 600, 0.05)
    worked = [Sample.of_shares(one.at, LENGTH, one.n - one.successes, one.n) for one in failed]
    of_failures, of_successes = (RateDrift(RateReference.learnt(each, EXACT)) for each in (failed, worked))
    assert len(of_failures.labels) == len(of_successes.labels) == 12
    assert of_failures.labels.count("up") == of_successes.labels.count("down") == 8
    for one, other in zip(failed[:50], worked[:50], strict=True):
        ups, downs = of_failures.increments(one)[:8], of_successes.increments(other)[4:]
        assert ups == pytest.approx(downs, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("learn", "samples"),
    [
        (ScoreReference.learnt, []),
        (ScoreReference.learnt, scores(np.random.default_rng(1), 5)),
        (RateReference.learnt, rates(np.random.default_rng(1), 5, 0.5)),
        (RateReference.learnt, []),
        (VolumeReference.learnt, volumes(np.random.default_rng(1), 5, 3.0)),
    ],
)
def test_too_little_is_refused_in_words(learn: object, samples: list[Sample]) -> None:
    with pytest.raises(TooLittle, match="The reference has"):
        learn(samples, EXACT)  # type: ignore[operator]


def test_references_are_the_same_after_storage() -> None:
    rng = np.random.default_rng(13)
    for one in (
        ScoreReference.learnt(scores(rng, 100), EXACT),
        RateReference.learnt(rates(rng, 100, 0.2), EXACT, zone="Europe/Berlin"),
        VolumeReference.learnt(volumes(rng, 100, 3.0), EXACT),
    ):
        assert references.from_json(json.loads(json.dumps(references.as_json(one)))) == one
    for wrong in ({}, {"season": "none", "zone": "UTC", "kind": "other"}, {"season": "none", "zone": "UTC"}):
        with pytest.raises(ValueError, match="no reference"):
            references.from_json(wrong)


def test_reference_stored_before_slots_had_means_has_that_of_all() -> None:
    state = references.as_json(ScoreReference.learnt(scores(np.random.default_rng(16), 100), EXACT))
    del state["means"]
    found = references.from_json(state)
    assert isinstance(found, ScoreReference)
    detector = DistributionDrift(found)
    assert detector.expected(Sample(0, LENGTH)) == found.mean
    low, high = detector.band(Sample(0, LENGTH))
    assert low < found.mean < high


ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 2**32 - 1))
def test_rollups_in_any_order_and_partition_give_the_same_to_the_last_bit(
    rows: list[tuple[int, list[float]]], seed: int
) -> None:
    """Rows of a few buckets, shuffled and merged in another grouping: state and alarms are identical."""
    detector = _STEADY
    parts = [scored(bucket * LENGTH, np.array(values)) for bucket, values in rows]
    shuffler = random.Random(seed)
    other = list(parts)
    shuffler.shuffle(other)

    def merged(samples: Sequence[Sample], pieces: int) -> list[Sample]:
        found = []
        for bucket in sorted({one.at for one in samples}):
            own = [one for one in samples if one.at == bucket]
            cuts = [own[start::pieces] for start in range(pieces)]
            found.append(Sample.merge(Sample.merge(cut) for cut in cuts if cut))
        return found

    ours, theirs = merged(parts, 1), merged(other, shuffler.randint(1, 4))
    assert ours == theirs
    assert [one.moments for one in ours] == [one.moments for one in theirs]
    budget = 1 / (10 * LENGTH)
    assert replay(detector, ours, budget_per_second=budget) == replay(
        detector, theirs, budget_per_second=budget
    )


_STEADY = distribution(scores(np.random.default_rng(14), 300))


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(40)))
def test_a_reference_learned_from_buckets_in_any_order_is_the_same(order: list[int]) -> None:
    usual = _FORTY
    assert ScoreReference.learnt([usual[position] for position in order], EXACT) == ScoreReference.learnt(
        usual, EXACT
    )


_FORTY = scores(np.random.default_rng(15), 40)


def test_successes_are_whole_and_other_values_are_refused() -> None:
    third = Sample.of_row(0, LENGTH, Moments.of([1.0, 0.0, 0.0]))
    assert third.successes == 1
    assert Sample.merge([third] * 1_000).successes == 1_000
    with pytest.raises(ValueError, match="other than 0 and 1"):
        _ = Sample.of_row(0, LENGTH, Moments.of([0.5, 0.5])).successes


def test_merging_nothing_is_empty() -> None:
    nothing = Sample.merge([])
    assert (nothing.n, nothing.moments) == (0, Moments(0, 0.0, 0.0))
    assert nothing.quantiles((0.5,)) == [None]
