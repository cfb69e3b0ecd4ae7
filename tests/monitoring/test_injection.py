from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.monitors.burn_rate import BurnRate
from monitoring.monitors.changes import planned
from monitoring.monitors.distribution import Distribution
from monitoring.monitors.injection import scaled_count, scaled_share, shifted, with_event
from monitoring.monitors.kind import Metric
from monitoring.monitors.never import Never
from monitoring.monitors.rate import Rate
from monitoring.monitors.reference import ScoreReference, Tolerance
from monitoring.monitors.sample import Sample
from monitoring.monitors.slo_guard import SloGuard
from monitoring.monitors.triage_error import TriageError, under_triage
from monitoring.monitors.trials import TRY_COUNT, Trials
from monitoring.monitors.volume import Volume
from monitoring.monitors.watch import Finding, State, Taken
from tests.monitoring.kinds import ARRIVALS, COST, ERRORS, QUALITY, SUCCESSES, TRIAGE, beta, sampled, shared
from triageops.stats.change import BoundedMean
from triageops.stats.histogram import LogBins, UniformBins

WIDTH = 1 / 200
TRIAGE_BINS = UniformBins(-2.0, 2.0)

inner = st.lists(st.floats(0.3, 0.7), min_size=1, max_size=30)
scores = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)
counts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=40)
factors = st.sampled_from([Fraction(1, 2), Fraction(2, 3), Fraction(3, 2), Fraction(2)])


def never(_: Sample) -> bool:
    return False


def middle_mean(sample: Sample) -> float:
    """Of the histogram alone."""
    (one,) = sample.histograms()
    return sum(one.scheme.middle(index) * count for index, count in one.counts.items()) / one.n


@given(inner, st.floats(-0.25, 0.25))
def test_shift_without_a_bound_moves_every_value_exactly(values: list[float], by: float) -> None:
    before = sampled(0, values)
    (after,) = shifted([before], by)
    assert after.n == before.n == sum(after.histogram[next(iter(after.histogram))].values())
    assert after.total == before.total + before.n * Fraction(by)
    assert after.moments.m2 == pytest.approx(before.moments.m2, abs=1e-12)
    assert middle_mean(after) == pytest.approx(middle_mean(before) + by, abs=WIDTH)


@given(scores, st.floats(-2, 2))
def test_shift_to_a_bound_gives_values_that_a_bounded_metric_may_have(values: list[float], by: float) -> None:
    (after,) = shifted([sampled(0, values)], by, low=0.0, high=1.0)
    assert after.n == len(values)
    mean = float(np.clip(np.array(values) + by, 0, 1).mean())
    assert after.moments.mean == pytest.approx(mean, abs=WIDTH)
    # Refuses moments that cannot be those of values between 0 and 1.
    BoundedMean(level=0.5, low=0.0, high=1.0, worse="lower").increments(after.moments)


def test_shift_of_amounts_stops_at_zero() -> None:
    (after,) = shifted([sampled(0, [0.5, 3.0], LogBins())], -1.0, low=0.0)
    assert after.moments.mean == pytest.approx(1.0, rel=0.01)
    assert after.histogram[LogBins().name][0] == 1


def test_shift_of_what_has_no_histogram_moves_its_mean() -> None:
    (after,) = shifted([Sample(0, 300, 4, Fraction(2), Fraction(1))], 0.25)
    assert after.moments.mean == 0.75


def test_shift_leaves_the_control_as_it_is() -> None:
    control = sampled(0, [0.4])
    before = Sample(0, 300, 1, Fraction(1, 2), Fraction(1, 4), against=control)
    (after,) = shifted([before], 0.1)
    assert after.against is control


@given(counts, factors, st.booleans())
def test_scaled_share_keeps_n_and_gives_the_right_total_of_many_small_buckets(
    pairs: list[tuple[int, int]], factor: Fraction, of_ones: bool
) -> None:
    # At most half are what is multiplied, so that there is always room.
    samples = [shared(number, k, 2 * k + more) for number, (k, more) in enumerate(pairs)]
    if not of_ones:
        samples = [shared(number, k + more, 2 * k + more) for number, (k, more) in enumerate(pairs)]
    found = list(scaled_share(samples, factor, of_ones=of_ones))
    assert [one.n for one in found] == [one.n for one in samples]
    total = sum(one.successes if of_ones else one.n - one.successes for one in found)
    assert abs(total - factor * sum(k for k, _ in pairs)) <= Fraction(1, 2)
    assert all(sum(counts.values()) == one.n for one in found for counts in one.histogram.values())


def test_scaled_share_carries_on_what_has_no_room() -> None:
    found = list(scaled_share([shared(0, 10, 10), shared(1, 0, 10)], Fraction(2)))
    assert [one.successes for one in found] == [10, 10]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), factors)
def test_scaled_count_is_right_at_every_time(counts: list[int], factor: Fraction) -> None:
    found = list(scaled_count([Sample(300 * i, 300, n) for i, n in enumerate(counts)], factor))
    for seen, true in zip(accumulate(one.n for one in found), accumulate(counts), strict=True):
        assert abs(seen - factor * true) <= Fraction(1, 2)


def test_scaled_count_by_nothing_is_silence() -> None:
    assert [one.n for one in scaled_count([Sample(0, 300, 7)], Fraction(0))] == [0]


@given(
    st.lists(
        st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 1.0]), min_size=1, max_size=20),
        min_size=1,
        max_size=20,
    )
)
def test_scaled_group_moves_records_until_so_many_belong(buckets: list[list[float]]) -> None:
    kind = TriageError()
    samples = [sampled(number, values, TRIAGE_BINS) for number, values in enumerate(buckets)]
    plan = planned(kind, TRIAGE, None, samples)
    for injection in plan.injections:
        found = list(injection.change(samples))
        assert [one.n for one in found] == [len(values) for values in buckets]
        assert [sum(one.histograms()[0].counts.values()) for one in found] == [
            len(values) for values in buckets
        ]
        known = sum(under_triage(one, kind.threshold).successes for one in samples)
        seen = sum(under_triage(one, kind.threshold).successes for one in found)
        assert seen <= injection.size * known + 0.5
        full = all(2 * values.count(-1.0) <= len(values) for values in buckets)
        assert not full or abs(seen - injection.size * known) <= 0.5
        assert all(one.moments.mean == pytest.approx(middle_mean(one), abs=4 / 200) for one in found)


def test_one_event_is_one_record_of_the_first_filled_bucket() -> None:
    samples = [Sample(0, 300), sampled(1, [0.0, 0.0]), sampled(2, [0.0])]
    found = list(with_event(samples, 1.0))
    assert [Never().watch(ERRORS).events(one) for one in found] == [0, 1, 0]
    assert [one.n for one in found] == [0, 2, 1]


@pytest.mark.parametrize(
    ("kind", "metric", "names"),
    [
        (Volume(), ARRIVALS, ["nothing at all", "volume × 0.5", "volume × 1.5", "volume × 2"]),
        (Volume(side="down"), ARRIVALS, ["nothing at all", "volume × 0.5"]),
        (Rate(side="worse"), ERRORS, ["bad share × 1.5", "bad share × 2"]),
        (Rate(), SUCCESSES, ["bad share × 1.5", "bad share × 2", "bad share ÷ 1.5", "bad share ÷ 2"]),
        (SloGuard(level=0.1), ERRORS, ["bad share × 1.5", "bad share × 2"]),
        (SloGuard(level=0.1), QUALITY, ["0.25 sd lower", "0.5 sd lower", "1 sd lower"]),
        (BurnRate(objective=0.9), ERRORS, ["bad share × 1.5", "bad share × 2"]),
        (Never(), ERRORS, ["one event"]),
    ],
)
def test_planned_changes_are_those_that_the_kind_looks_for(
    kind: object, metric: Metric, names: list[str]
) -> None:
    samples = [shared(number, 30 if metric is SUCCESSES else 2, 32) for number in range(20)]
    assert [one.name for one in planned(kind, metric, None, samples).injections] == names  # type: ignore[arg-type]


def test_planned_changes_of_a_distribution_are_on_the_sides_that_it_looks_at() -> None:
    rng = np.random.default_rng(1)
    samples = [sampled(number, beta(rng, 20)) for number in range(40)]
    learnt = ScoreReference.learnt(samples, Tolerance())
    both = planned(Distribution(), QUALITY, learnt, samples).injections
    assert [(one.side, one.size) for one in both] == [
        (side, size) for side in ("down", "up") for size in (0.25, 0.5, 1.0)
    ]
    worse = planned(Distribution(side="worse"), QUALITY, learnt, samples).injections
    assert {one.side for one in worse} == {"down"}
    (moved,) = worse[2].change([samples[0]])
    assert moved.moments.mean == pytest.approx(samples[0].moments.mean - learnt.sd, abs=WIDTH)


def test_planned_changes_of_a_share_that_is_zero_are_none_and_say_so() -> None:
    plan = planned(Rate(), ERRORS, None, [shared(0, 0, 10)])
    assert plan.injections == ()
    assert "nothing to multiply" in plan.notes[0]


def test_planned_changes_leave_out_what_would_be_more_than_all_records() -> None:
    plan = planned(Rate(side="worse"), ERRORS, None, [shared(0, 6, 10)])
    assert [one.name for one in plan.injections] == ["bad share × 1.5"]
    assert "“bad share × 2”" in plan.notes[0]


def test_bad_records_of_a_burn_rate_with_a_limit_are_those_that_it_counts() -> None:
    rng = np.random.default_rng(2)
    samples = [sampled(number, rng.lognormal(0, 0.5, 50), LogBins()) for number in range(30)]
    kind = BurnRate(objective=0.9, good_from=1.5)
    watch = kind.watch(COST)
    before = sum(watch.counts(one)[1] for one in samples)
    for injection in planned(kind, COST, None, samples).injections:
        after = sum(watch.counts(one)[1] for one in injection.change(samples))
        assert abs(after - injection.size * before) <= 0.5


def test_trials_begin_with_the_evidence_of_their_time_and_end_with_the_first_alarm() -> None:
    samples = [sampled(number, [0.0] * 10) for number in range(30)]
    kind = Never()
    trials = Trials.of(kind.watch(ERRORS), samples, 1e-6, never)
    (injection,) = planned(kind, ERRORS, None, samples).injections
    found = trials.of_injection(injection).as_json()
    assert trials.positions == [2, 6, 10, 14, 18]
    assert (found["found"], found["tries"], found["median_seconds"]) == (TRY_COUNT, TRY_COUNT, 300.0)


class Patience:
    """A watch, and its run, whose twentieth bucket raises an alarm."""

    def __init__(self, seen: int = 0) -> None:
        self.seen = seen

    def resume(self, state: State) -> "Patience":
        return Patience(state.get("seen", 0))

    def take(self, sample: Sample, *, budget_per_second: float) -> Taken:
        self.seen += 1
        return Taken(0.0, Finding("", sample.at, 0.0) if self.seen == 20 else None)

    def freeze(self, sample: Sample) -> None:
        pass

    def as_json(self) -> dict[str, int]:
        return {"seen": self.seen}


def test_trials_go_on_with_what_was_known_when_the_change_began() -> None:
    samples = [shared(number, 1, 20) for number in range(30)]
    trials = Trials.of(Patience(), samples, 1e-6, never)  # type: ignore[arg-type]
    found = trials.of_injection(planned(Never(), ERRORS, None, samples).injections[0])
    assert found.delays == [300.0 * (20 - position) for position in (2, 6, 10, 14, 18)]


def test_trials_that_find_nothing_have_no_median() -> None:
    samples = [shared(number, 1, 20) for number in range(30)]
    kind = SloGuard(level=0.9)
    trials = Trials.of(kind.watch(ERRORS), samples, 1e-6, never)
    found = trials.of_injection(planned(kind, ERRORS, None, samples).injections[0]).as_json()
    assert (found["found"], found["median_seconds"], found["delays"]) == (0, None, [None] * TRY_COUNT)
