"""Any watch over buckets in the order of time; a detector alone is a watch that bets."""

import math

import numpy as np
import pytest

from monitoring.monitors.drift import RateDrift
from monitoring.monitors.never import Never
from monitoring.monitors.rate import Rate
from monitoring.monitors.reference import RateReference, Tolerance
from monitoring.monitors.replay import ANOMALY_SHARE, follow, replay
from monitoring.monitors.sample import Sample
from tests.monitoring.kinds import ERRORS, LENGTH, shared

RNG = np.random.default_rng(1)
KIND = Rate(side="up")
LEARNT = KIND.learn(
    [shared(number, int(RNG.binomial(50, 0.05)), 50) for number in range(400)], ERRORS, zone="UTC"
)
WORSE = [shared(number, int(RNG.binomial(50, 0.05 if number < 60 else 0.3)), 50) for number in range(120)]
BUDGET = 1 / (1_000 * LENGTH)


def test_watch_and_its_detector_alone_tell_the_same() -> None:
    watch = KIND.watch(ERRORS, LEARNT)
    told = follow(watch, WORSE, budget_per_second=BUDGET)
    assert told == replay(watch.detector, WORSE, budget_per_second=BUDGET)
    assert told.alarms[0].label == "up"
    assert 60 * LENGTH < told.alarms[0].at <= 66 * LENGTH
    assert told.alarms[0].value == pytest.approx(0.3, abs=0.1)
    assert told.seconds == 120 * LENGTH
    assert len(told.log_evidence) == 120
    assert ANOMALY_SHARE == 0.2


def test_budget_counts_from_where_it_begins() -> None:
    detector = RateDrift(RateReference.learnt(WORSE, Tolerance()), "up")
    late = replay(detector, WORSE, budget_per_second=BUDGET, begin_at=-1_000 * LENGTH)
    prompt = replay(detector, WORSE, budget_per_second=BUDGET)
    assert late.seconds == prompt.seconds + 1_000 * LENGTH
    assert late.log_evidence[0] > prompt.log_evidence[0]


def test_frozen_buckets_are_no_evidence_and_cost_no_budget() -> None:
    def is_frozen(sample: Sample) -> bool:
        return sample.at >= 60 * LENGTH

    told = follow(KIND.watch(ERRORS, LEARNT), WORSE, budget_per_second=BUDGET, frozen=is_frozen)
    assert told.alarms == []
    assert told.log_evidence[60:] == [-math.inf] * 60
    assert told.seconds == 60 * LENGTH
    assert (
        told.log_evidence[:60]
        == follow(KIND.watch(ERRORS, LEARNT), WORSE, budget_per_second=BUDGET).log_evidence[:60]
    )


def test_state_goes_on_where_another_run_ended() -> None:
    watch = KIND.watch(ERRORS, LEARNT)
    run = watch.resume({})
    for sample in WORSE[:50]:
        run.take(sample, budget_per_second=BUDGET)
    rest = follow(watch, WORSE[50:], budget_per_second=BUDGET, state=run.as_json())
    assert rest.log_evidence == follow(watch, WORSE, budget_per_second=BUDGET).log_evidence[50:]


def test_alarm_of_one_bucket_shows_that_bucket() -> None:
    told = follow(Never().watch(ERRORS), [shared(0, 0, 10), shared(1, 5, 10)], budget_per_second=BUDGET)
    (alarm,) = told.alarms
    assert (alarm.n, alarm.value, alarm.usual, alarm.is_single) == (10, 0.5, 0.0, False)


def test_nothing_to_follow_is_no_alarm() -> None:
    told = follow(Never().watch(ERRORS), [], budget_per_second=BUDGET)
    assert (told.alarms, told.log_evidence, told.seconds) == ([], [], 0.0)
