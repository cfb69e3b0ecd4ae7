import math
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from triageops.stats.change import BoundedMean, Evidence, Step, magnitude, step
from triageops.stats.moments import Moments

FLOOR = BoundedMean(level=0.8, low=0.0, high=1.0, worse="lower")
BUCKET = 300.0
MONTHLY = 1 / (30 * 86400)
K = len(FLOOR.lambdas)
SCORES = st.lists(st.floats(0, 1).map(lambda x: round(x, 6)), max_size=30)


def run(buckets: list[list[float]], detector: BoundedMean = FLOOR, budget: float = MONTHLY) -> list[Step]:
    steps, evidence = [], Evidence.none(len(detector.lambdas))
    for number, values in enumerate(buckets, start=1):
        increments = detector.increments(Moments.of(values))
        taken = step(
            evidence, increments, elapsed_seconds=BUCKET, budget_per_second=budget, at=number * BUCKET
        )
        steps.append(taken)
        evidence = taken.evidence
    return steps


@pytest.mark.parametrize("worse", ["lower", "higher"])
def test_step_small_stream_equals_a_naive_loop_over_values(worse: Literal["lower", "higher"]) -> None:
    """An independent reference: products of plain numbers, one value at a time, nothing logarithmic."""
    rng = np.random.default_rng(11)
    detector = BoundedMean(0.6, -1.0, 2.0, worse, margin=0.1, lambdas=(0.1, 0.4, 0.7))
    worst = 0.5 if worse == "lower" else 0.7
    buckets = [(worst + 0.4 * rng.uniform(-1, 1, rng.integers(0, 6))).tolist() for _ in range(400)]
    budget = 0.05 / BUCKET  # large, so that there are alarms to compare
    m, alarms = [0.0, 0.0, 0.0], 0
    for values, taken in zip(buckets, run(buckets, detector, budget), strict=True):
        for k, bet in enumerate(detector.lambdas):
            m[k] += budget * BUCKET
            for x in values:
                xi = (0.5 - x) / 1.5 if worse == "lower" else (x - 0.7) / 1.7
                m[k] *= math.exp(bet * xi + (math.log(1 - bet) + bet) * xi * xi)
        assert taken.log_evidence == pytest.approx(math.log(sum(m) / 3), abs=1e-9)
        assert taken.baseline == m.index(max(m))
        assert taken.is_alarm == (sum(m) / 3 >= 1 and taken.onset_at is not None)
        if taken.is_alarm:
            m, alarms = [0.0, 0.0, 0.0], alarms + 1
    assert alarms >= 3


@given(st.floats(0.01, 0.99), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["lower", "higher"]))
def test_bounded_mean_any_two_point_value_at_the_null_is_an_e_value(
    m: float, good: float, bad: float, worse: Literal["lower", "higher"]
) -> None:
    """E[exp(l)] <= 1 exactly, for values on both sides of m with mean m: the promise's only ingredient."""
    detector = BoundedMean(m, 0.0, 1.0, worse)
    above, below = m + good * (1 - m), m - bad * m
    if above - below < 1e-6:
        return
    share = (m - below) / (above - below)
    up, down = (np.exp(detector.increments(Moments(1, x, 0.0))) for x in (above, below))
    assert (share * up + (1 - share) * down <= 1 + 1e-12).all()


def test_bounded_mean_value_at_the_good_bound_loses_exactly_the_bet() -> None:
    # xi = -1 is where exp(l) = 1 + lambda xi: a smaller denominator breaks the promise, a larger is slow.
    assert np.exp(FLOOR.increments(Moments(1, 1.0, 0.0))) == pytest.approx(1 - np.array(FLOOR.lambdas))
    ceiling = BoundedMean(3.0, 1.0, 5.0, "higher")
    assert np.exp(ceiling.increments(Moments(1, 1.0, 0.0))) == pytest.approx(1 - np.array(FLOOR.lambdas))


@given(SCORES, SCORES)
def test_increments_split_bucket_add_up(a: list[float], b: list[float]) -> None:
    whole = np.array(FLOOR.increments(Moments.of(a) + Moments.of(b)))
    parts = np.array(FLOOR.increments(Moments.of(a))) + np.array(FLOOR.increments(Moments.of(b)))
    assert whole == pytest.approx(parts, rel=1e-9, abs=1e-9)


@given(SCORES)
def test_increments_mirrored_values_and_direction_are_the_same(values: list[float]) -> None:
    mirror = BoundedMean(-0.8, -1.0, 0.0, "higher")
    expected = FLOOR.increments(Moments.of(values))
    assert mirror.increments(Moments.of([-x for x in values])) == pytest.approx(expected, abs=1e-9)


@given(SCORES, st.floats(0.001, 0.5))
def test_increments_margin_is_a_lower_level(values: list[float], margin: float) -> None:
    moments = Moments.of(values)
    with_margin = replace(FLOOR, margin=margin)
    assert with_margin.increments(moments) == replace(FLOOR, level=0.8 - margin).increments(moments)


def test_increments_empty_bucket_is_zero_even_where_zero_is_outside() -> None:
    stars = BoundedMean(4.0, 1.0, 5.0, "lower")
    assert stars.increments(Moments(0, 0.0, 0.0)) == (0.0,) * K


def test_increments_huge_offset_loses_no_digits() -> None:
    values = np.random.default_rng(3).integers(0, 1025, 1_000) / 1024
    far = BoundedMean(1e9 + 0.75, 1e9, 1e9 + 1, "lower")
    near = BoundedMean(0.75, 0.0, 1.0, "lower")
    expected = near.increments(Moments.of(values))
    assert far.increments(Moments.of(values + 1e9)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "moments",
    [
        Moments(1, 1.001, 0.0),
        Moments(1, -0.001, 0.0),
        Moments(10, 0.5, 2.6),
        Moments(2, 1.0, 0.1),
        Moments(2, 0.5, math.inf),
    ],
)
def test_increments_values_outside_the_bounds_are_refused(moments: Moments) -> None:
    with pytest.raises(ValueError, match="outside"):
        FLOOR.increments(moments)


def test_increments_extreme_moments_within_the_bounds_are_accepted() -> None:
    for values in ([0.0, 1.0] * 500, [1.0] * 999, [0.0], [0.1] * 7 + [1.0]):
        assert all(map(math.isfinite, FLOOR.increments(Moments.of(values))))


@pytest.mark.parametrize(
    "changes",
    [
        {"level": 1.0},
        {"level": 0.0},
        {"level": math.nan},
        {"margin": 0.8},
        {"margin": -0.1},
        {"margin": math.nan},
        {"high": math.inf},
        {"high": 0.8},
        {"level": 1.2, "margin": 0.3},
        {"lambdas": ()},
        {"lambdas": (0.5, 1.0)},
        {"worse": "sideways"},
    ],
)
def test_bounded_mean_impossible_parameters_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"level|bounds|lambdas|worse"):
        replace(FLOOR, **changes)  # type: ignore[arg-type]


def test_step_drop_is_an_alarm_with_its_onset_and_starts_afresh() -> None:
    rng = np.random.default_rng(5)
    good = [rng.beta(17, 3, 40).tolist() for _ in range(300)]
    bad = [rng.beta(12, 8, 40).tolist() for _ in range(10)]
    steps = run(good + bad)
    alarms = [number for number, taken in enumerate(steps) if taken.is_alarm]
    assert 300 <= alarms[0] <= 303
    taken = steps[alarms[0]]
    assert taken.log_evidence >= 0
    assert taken.onset_at == 300 * BUCKET  # the start of the first bad bucket, which is number 301
    assert taken.evidence == Evidence.none(K, at=(alarms[0] + 1) * BUCKET)


def test_step_onset_is_kept_while_positive_and_lost_at_zero() -> None:
    evidence, onsets = Evidence.none(1), []
    for number, increment in enumerate([0.5, 0.2, -0.6, -0.3, 0.1], start=1):
        taken = step(
            evidence, [increment], elapsed_seconds=10, budget_per_second=1e-9, at=1000.0 + 10 * number
        )
        evidence = taken.evidence
        onsets.append(evidence.onset_at[0])
    assert onsets == [1000.0, 1000.0, 1000.0, None, 1040.0]
    assert evidence.log_g == (0.1,)


def test_step_bucket_without_data_adds_only_the_budget() -> None:
    taken = run([[]] * 3)[-1]
    assert not taken.is_alarm
    assert taken.log_evidence == pytest.approx(math.log(3 * BUCKET * MONTHLY))
    assert taken.onset_at is None


def test_step_silence_longer_than_the_budget_is_no_alarm_but_a_bad_bucket_after_it_is() -> None:
    silence = step(Evidence.none(K), [0.0] * K, elapsed_seconds=40 * 86400, budget_per_second=MONTHLY, at=0.0)
    assert silence.log_evidence > 0
    assert not silence.is_alarm
    bad = FLOOR.increments(Moments.of([0.5, 0.4]))
    after = step(silence.evidence, bad, elapsed_seconds=BUCKET, budget_per_second=MONTHLY, at=BUCKET)
    assert after.is_alarm
    assert after.onset_at == 0.0


@given(st.lists(st.floats(-50, 3), min_size=1, max_size=20), st.integers(1, 8))
def test_step_time_given_in_pieces_before_the_data_is_the_same_evidence(
    increments: list[float], pieces: int
) -> None:
    """Budget accrues linearly: empty steps that share out the time of the first one change nothing."""
    whole = Evidence.none(1)
    split = Evidence.none(1)
    for number, increment in enumerate(increments, start=1):
        whole = step(whole, [increment], elapsed_seconds=8, budget_per_second=1e-12, at=number * 8.0).evidence
        for piece in range(pieces):
            last = piece == pieces - 1
            at = (number - 1 + (piece + 1) / pieces) * 8.0
            part = [increment if last else 0.0]
            split = step(split, part, elapsed_seconds=8 / pieces, budget_per_second=1e-12, at=at).evidence
        assert split.log_m == pytest.approx(whole.log_m, abs=1e-9)


@given(st.lists(st.floats(-20, 20), min_size=K, max_size=K), st.floats(0, 10))
def test_step_weights_and_larger_increments_never_lower_the_evidence(
    increments: list[float], more: float
) -> None:
    first = partial(step, Evidence.none(K), elapsed_seconds=1.0, budget_per_second=1e-3, at=0.0)
    base = first(increments)
    raised = first([x + more for x in increments])
    weighted = first(increments, weights=[1 / K] * K)
    assert raised.log_evidence >= base.log_evidence
    assert weighted.log_evidence == pytest.approx(base.log_evidence)


def test_step_unequal_weights_are_used() -> None:
    taken = step(
        Evidence.none(2), [1.0, 2.0], elapsed_seconds=1, budget_per_second=0.1, at=0.0, weights=[0.9, 0.1]
    )
    assert taken.log_evidence == pytest.approx(math.log(0.1 * (0.9 * math.e + 0.1 * math.e**2)))
    assert taken.baseline == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elapsed_seconds": -1.0}, "negative or not finite"),
        ({"elapsed_seconds": math.nan}, "negative or not finite"),
        ({"elapsed_seconds": math.inf}, "negative or not finite"),
        ({"at": math.nan}, "negative or not finite"),
        ({"at": 999.0, "elapsed_seconds": 0.0}, "backwards"),
        ({"at": 1010.0, "elapsed_seconds": 11.0}, "counted twice"),
        ({"budget_per_second": 0.0}, "budget"),
        ({"budget_per_second": math.inf}, "budget"),
        ({"budget_per_second": math.nan}, "budget"),
        ({"increments": [0.0]}, "increments"),
        ({"increments": [0.0, math.nan]}, "increments"),
        ({"increments": [0.0, math.inf]}, "increments"),
        ({"weights": [0.5, 0.6]}, "weights"),
        ({"weights": [1.0]}, "weights"),
        ({"weights": [1.0, 0.0]}, "weights"),
    ],
)
def test_step_misuse_is_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"elapsed_seconds": 10.0, "budget_per_second": 1e-6, "at": 1010.0, "increments": [0.0, 0.0]}
    with pytest.raises(ValueError, match=message):
        step(Evidence.none(2, at=1000.0), **(arguments | changes))  # type: ignore[arg-type]


def test_step_late_data_without_new_time_is_accepted() -> None:
    first = step(Evidence.none(1), [0.3], elapsed_seconds=10, budget_per_second=1e-3, at=10.0)
    late = step(first.evidence, [0.2], elapsed_seconds=0, budget_per_second=1e-3, at=10.0)
    assert late.log_evidence == pytest.approx(first.log_evidence + 0.2)
    nothing = step(Evidence.none(1), [5.0], elapsed_seconds=0, budget_per_second=1e-3, at=10.0)
    assert nothing.log_evidence == -math.inf
    assert not nothing.is_alarm


def test_step_huge_buckets_never_overflow_or_become_nan() -> None:
    million_good, million_bad = Moments(10**6, 0.95, 1e4), Moments(10**6, 0.2, 1e4)
    evidence = Evidence.none(K)
    for number in range(1, 21):
        taken = step(
            evidence,
            FLOOR.increments(million_good),
            elapsed_seconds=BUCKET,
            budget_per_second=MONTHLY,
            at=number * BUCKET,
        )
        evidence = taken.evidence
        assert -1e7 < taken.log_evidence < -1e4
    taken = step(
        evidence,
        FLOOR.increments(million_bad),
        elapsed_seconds=BUCKET,
        budget_per_second=MONTHLY,
        at=21 * BUCKET,
    )
    assert taken.is_alarm
    assert 1e5 < taken.log_evidence < 1e7
    recovered = run([[0.95] * 50_000] * 3 + [[0.5] * 30] * 3)
    # Much good news does not hide what comes after it.
    assert [taken.is_alarm for taken in recovered[:3]] == [False] * 3
    assert any(taken.is_alarm for taken in recovered[3:])


def test_step_impossible_observation_has_no_evidence_left_and_recovers() -> None:
    taken = step(Evidence.none(1), [-math.inf], elapsed_seconds=1, budget_per_second=1e-3, at=1.0)
    assert taken.log_evidence == -math.inf
    again = step(taken.evidence, [1.0], elapsed_seconds=1, budget_per_second=1e-3, at=2.0)
    assert again.log_evidence == pytest.approx(math.log(1e-3) + 1)


def test_magnitude_known_values_are_the_difference_with_its_interval() -> None:
    effect = magnitude(Moments.of([0.5, 0.6, 0.7]), level=0.8)
    assert effect is not None
    assert effect.interval is not None
    half = 1.959963984540054 * 0.1 / math.sqrt(3)
    assert effect.value == pytest.approx(-0.2)
    assert (effect.interval.low, effect.interval.high) == pytest.approx((-0.2 - half, -0.2 + half))


def test_magnitude_too_few_values_say_less() -> None:
    assert magnitude(Moments(0, 0.0, 0.0), 0.8) is None
    one = magnitude(Moments(1, 0.5, 0.0), 0.8)
    assert one is not None
    assert one.interval is None


def array_of_moments(values: NDArray[np.float64]) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    mean = values.mean(axis=-1)
    return values.shape[-1], mean, ((values - mean[..., None]) ** 2).sum(axis=-1)


def test_increments_of_arrays_equal_one_by_one() -> None:
    values = np.random.default_rng(9).random((3, 4, 6))
    n, mean, m2 = array_of_moments(values)
    together = FLOOR.increments_of(np.full(mean.shape, n), mean, m2)
    assert together.shape == (3, 4, K)
    for row in range(3):
        for column in range(4):
            one = FLOOR.increments(Moments.of(values[row, column]))
            assert together[row, column] == pytest.approx(one, abs=1e-12)
