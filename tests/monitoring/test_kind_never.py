"""One event is one too many, and nothing else is."""

import math

import pytest

from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable
from monitoring.monitors.never import Never
from monitoring.monitors.replay import follow
from monitoring.monitors.sample import Sample
from tests.monitoring.kinds import ARRIVALS, ERRORS, LENGTH, QUALITY, sampled, shared
from triageops.stats.histogram import LogBins
from triageops.stats.moments import Moments

WATCH = Never().watch(ERRORS)


def test_single_event_among_many_fires_in_its_own_bucket() -> None:
    samples = [shared(number, int(number == 3), 10_000) for number in range(6)]
    told = follow(WATCH, samples, budget_per_second=1e-9)
    assert [(one.at, one.onset_at, one.is_single, one.value) for one in told.alarms] == [
        (4 * LENGTH, 3 * LENGTH, False, 1e-4)
    ]
    assert told.log_evidence == [-math.inf] * 3 + [0.0] + [-math.inf] * 2
    assert WATCH.complaint(told.alarms[0].label) == "happened"


def test_every_bucket_with_an_event_fires() -> None:
    told = follow(WATCH, [shared(number, 1, 2) for number in range(3)], budget_per_second=1e-9)
    assert len(told.alarms) == 3


@pytest.mark.parametrize(
    ("above", "value", "is_event"),
    [(0.0, 0.0, False), (0.0, 0.001, True), (0.5, 0.5, False), (0.5, 0.51, True)],
)
def test_event_is_a_value_above_the_limit(above: float, value: float, is_event: bool) -> None:
    watch = Never(above=above).watch(QUALITY)
    assert watch.events(sampled(0, [0.0, value])) == int(is_event)
    assert watch.events(sampled(0, [0.0, value], LogBins())) == int(is_event)


@pytest.mark.parametrize(("values", "count"), [([0.0, 0.0], 0), ([0.0, 1.0], 1), ([1.0, 1.0], 1)])
def test_event_without_bins_is_seen_by_its_sum(values: list[float], count: int) -> None:
    assert WATCH.events(Sample.of_row(0, LENGTH, Moments.of(values))) == count


def test_nothing_is_no_event_and_shows_nothing() -> None:
    empty = Sample(0, LENGTH)
    assert WATCH.resume({}).take(empty, budget_per_second=1.0).finding is None
    assert WATCH.value(empty) is None
    assert WATCH.deviations(empty) == ()
    assert (WATCH.expected(empty), WATCH.band(empty)) == (0.0, (0.0, 0.0))


def test_run_remembers_the_time_alone_and_refuses_one_that_goes_back() -> None:
    run = WATCH.resume({})
    run.take(shared(3, 1, 5), budget_per_second=1.0)
    assert run.as_json() == {"at": 4 * LENGTH}
    again = WATCH.resume(run.as_json())
    with pytest.raises(ValueError, match="backwards"):
        again.take(shared(2, 0, 5), budget_per_second=1.0)
    with pytest.raises(ValueError, match="state"):
        WATCH.resume({"log_m": []})


def test_frozen_event_does_not_fire() -> None:
    told = follow(
        WATCH, [shared(0, 1, 5), shared(1, 0, 5)], budget_per_second=1.0, frozen=lambda one: one.at == 0
    )
    assert told.alarms == []


def test_records_without_any_event_say_nothing_of_a_recovery() -> None:
    assert not WATCH.recovers
    assert WATCH.deviations(shared(0, 0, 50)) == ()


def test_metrics_and_parameters_that_cannot_work_are_refused() -> None:
    with pytest.raises(Unwatchable, match="volume"):
        Never().watch(ARRIVALS)
    with pytest.raises(Unwatchable, match="upper bound"):
        Never(above=1.0).watch(Metric("x", bounds=(0.0, 1.0)))
    with pytest.raises(InvalidParameters, match="above"):
        Never.read({"above": "much"})
    assert Never.read({}) == Never(above=0.0)
