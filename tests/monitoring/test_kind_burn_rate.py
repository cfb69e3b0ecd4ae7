"""Burn rates of the SRE workbook: what fires when, once, and from which counts."""

import json
import math
from typing import Any

import numpy as np
import pytest

from monitoring.monitors.burn_rate import BurnRate
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable
from monitoring.monitors.recovery import Recovery
from monitoring.monitors.replay import Replay, follow
from monitoring.monitors.sample import Sample
from tests.monitoring.kinds import ARRIVALS, COST, ERRORS, QUALITY, SUCCESSES, sampled, shared
from triageops.stats.histogram import LogBins

FAST, SLOW, TICKET = "page (14.4x)", "page (6x)", "ticket (1x)"
KIND = BurnRate(objective=0.99)
HOUR = 12
"""Buckets."""


def told(burns: list[float], *, n: int = 1_000, seconds: float = 300, begin: int = 0) -> Replay:
    """Each bucket burns so many times the budget of 1 %."""
    samples = [
        Sample.of_shares((begin + number) * seconds, seconds, round(n * 0.01 * burn), n)
        for number, burn in enumerate(burns)
    ]
    return follow(KIND.watch(ERRORS), samples, budget_per_second=1e-9)


def fired(replay: Replay) -> list[tuple[str, float]]:
    return [(one.label, one.at / 300) for one in replay.alarms]


def test_fast_burn_pages_when_the_hour_is_above_as_well() -> None:
    # 20 a bucket: the hour reaches 14.4 in its ninth, 14.4 / 20 * 12 = 8.6.
    assert fired(told([0.0] * HOUR + [20.0] * HOUR))[:1] == [(TICKET, HOUR + 1)]
    found = told([0.0] * 73 * HOUR + [20.0] * HOUR)
    assert (FAST, 73 * HOUR + 9) in fired(found)
    page = next(one for one in found.alarms if one.label == FAST)
    assert page.onset_at == 73 * HOUR * 300
    assert page.value == pytest.approx(0.2)
    assert page.usual == pytest.approx(0.01)


def test_burn_of_seven_is_the_slower_page_and_of_two_a_ticket() -> None:
    quiet = [0.5] * 73 * HOUR
    labels = [label for label, _ in fired(told(quiet + [7.0] * 8 * HOUR))]
    assert set(labels) == {SLOW, TICKET}
    assert {label for label, _ in fired(told(quiet + [2.0] * 60 * HOUR))} == {TICKET}
    assert fired(told([1.0] * 80 * HOUR)) == []


def test_spike_that_is_over_in_the_short_window_does_not_page() -> None:
    """15 bad records, too few to be judged; then the hour is at 15 of 75, twenty times the budget, and all is well."""
    samples = [shared(0, 15, 15), shared(1, 0, 60)]
    found = follow(KIND.watch(ERRORS), samples, budget_per_second=1.0)
    assert FAST not in [one.label for one in found.alarms]
    again = follow(KIND.watch(ERRORS), [*samples[:1], shared(1, 10, 60)], budget_per_second=1.0)
    assert again.alarms[0].label == FAST
    assert FAST in [label for label, _ in fired(told([0.0] * 73 * HOUR + [100.0] * 2))]


def test_pair_stays_quiet_until_it_was_below_its_factor() -> None:
    burns = [0.0] * 73 * HOUR + [30.0] * 3 * HOUR + [0.0] * 2 * HOUR + [30.0] * HOUR
    found = [at for label, at in fired(told(burns)) if label == FAST]
    assert len(found) == 2
    assert found[0] < 73 * HOUR + HOUR
    assert found[1] > 78 * HOUR


def test_log_evidence_is_zero_where_a_pair_is_at_its_factor() -> None:
    found = told([1.0] * 5)
    assert found.log_evidence == pytest.approx([0.0] * 5)
    assert found.alarms == []
    assert told([14.4 * 2] * 2).log_evidence[-1] == pytest.approx(math.log(28.8))
    assert told([0.0] * 3).log_evidence == [-math.inf] * 3


def test_few_records_in_the_short_window_say_nothing() -> None:
    # 20 records have to lie within 5 minutes, 30 minutes or 6 hours.
    assert [label for label, _ in fired(told([100.0] * 8, n=3))] == [TICKET]
    assert [label for label, _ in fired(told([100.0] * 8, n=5))] == [SLOW]
    assert [label for label, _ in fired(told([100.0] * 8, n=20))] == [FAST]
    assert told([100.0] * 3, n=1).log_evidence == [-math.inf] * 3


@pytest.mark.parametrize("seconds", [10, 60, 300, 900, 3600])
def test_every_bucket_that_divides_an_hour_works_and_keeps_little(seconds: int) -> None:
    count = 80 * 3600 // seconds
    run = KIND.watch(ERRORS).resume({})
    for number in range(count):
        run.take(Sample.of_shares(number * seconds, seconds, 1, 100), budget_per_second=1.0)
    state = run.as_json()
    assert len(state["recent"]) <= 361
    assert len(state["hours"]) <= 73
    assert sum(one[2] for one in state["recent"]) == pytest.approx(100 * 6 * 3600 / seconds, rel=0.01)
    assert sum(one[2] for one in state["hours"]) == pytest.approx(100 * 72 * 3600 / seconds, rel=0.02)
    assert sum(one[3] for one in state["hours"]) * 100 == sum(one[2] for one in state["hours"])


def test_missing_buckets_are_no_records_and_old_ones_are_forgotten() -> None:
    watch = KIND.watch(ERRORS)
    samples = [shared(number, 300, 1_000) for number in range(HOUR)]
    later = [shared(number + 100 * HOUR, 0, 1_000) for number in range(3)]
    found = follow(watch, samples + later, budget_per_second=1.0)
    assert found.log_evidence[-1] == -math.inf
    run = watch.resume({})
    for one in samples + later:
        run.take(one, budget_per_second=1.0)
    assert sum(one[2] for one in run.as_json()["hours"]) == 3_000
    assert run.as_json()["above"] == []


@pytest.mark.parametrize("at", [0, 299])
def test_late_bucket_is_refused(at: float) -> None:
    run = KIND.watch(ERRORS).resume({})
    run.take(shared(0, 0, 5), budget_per_second=1.0)
    with pytest.raises(ValueError, match="backwards"):
        run.take(Sample.of_shares(at, 300, 0, 5), budget_per_second=1.0)


@pytest.mark.parametrize("seconds", [420, 7_200, 0])
def test_bucket_that_does_not_divide_an_hour_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="divide an hour"):
        KIND.watch(ERRORS).resume({}).take(Sample.of_shares(0, seconds, 0, 5), budget_per_second=1.0)


def test_run_that_is_stored_after_each_bucket_tells_the_same() -> None:
    rng = np.random.default_rng(1)
    watch = KIND.watch(ERRORS)
    kept = watch.resume({})
    state: dict[str, Any] = {}
    for number in range(300):
        sample = shared(number, int(rng.binomial(200, rng.choice([0.005, 0.1]))), 200)
        stored = watch.resume(state)
        assert kept.take(sample, budget_per_second=1.0) == stored.take(sample, budget_per_second=1.0)
        state = json.loads(json.dumps(stored.as_json()))
        assert kept.as_json() == state


@pytest.mark.parametrize(
    "state",
    [
        {"log_m": []},
        {"at": 0.0},
        {"at": "now", "recent": [], "hours": [], "above": []},
        {"at": 0.0, "recent": [[0.0, 300.0, 1, 2]], "hours": [], "above": []},
        {"at": 0.0, "recent": [[0.0, 300.0]], "hours": [], "above": []},
    ],
)
def test_wrong_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        KIND.watch(ERRORS).resume(state)


def test_frozen_records_are_in_no_window() -> None:
    samples = [shared(number, 500, 1_000) for number in range(HOUR)]
    found = follow(KIND.watch(ERRORS), samples, budget_per_second=1.0, frozen=lambda one: one.at < 3_000)
    assert found.alarms[0].onset_at == 3_000


def test_direction_says_which_records_are_bad() -> None:
    sample = shared(0, 9, 10)
    assert KIND.watch(ERRORS).value(sample) == 0.9
    assert KIND.watch(SUCCESSES).value(sample) == 0.1


@pytest.mark.parametrize(
    ("metric", "values", "good_from", "bad"),
    [
        (QUALITY, [0.0, 0.69, 0.7, 0.71, 1.0], 0.7, 2),
        (QUALITY, [0.2, 1.0], 1.0, 1),
        (COST, [0.0, 1.0, 5.0, 20.0], 6.0, 1),
        (
            Metric("x", bounds=(0.0, 1.0), is_higher_better=False, shape="score"),
            [0.2, 0.5, 0.51, 1.0],
            0.5,
            2,
        ),
        (Metric("x", bounds=(0.0, 1.0), is_higher_better=False, shape="score"), [0.2, 1.0], 1.0, 0),
    ],
)
def test_limit_divides_good_from_bad_by_the_direction(
    metric: Metric, values: list[float], good_from: float, bad: int
) -> None:
    watch = BurnRate(objective=0.9, good_from=good_from).watch(metric)
    assert watch.counts(sampled(0, values, *([LogBins()] if metric is COST else []))) == (len(values), bad)


def test_band_is_the_budget_and_recovery_needs_most_of_it_to_be_left() -> None:
    watch = KIND.watch(ERRORS)
    assert watch.expected(shared(0, 0, 5)) == pytest.approx(0.01)
    assert watch.band(shared(0, 0, 5)) == pytest.approx((0.0, 0.01))

    def judged(bad: int, n: int) -> tuple[bool, bool]:
        (side,) = watch.deviations(shared(0, bad, n))
        return side.is_in_band, side.is_settled

    assert judged(74, 10_000) == (True, True)
    assert judged(76, 10_000)[0] is False
    assert judged(0, 100) == (True, False)
    assert judged(0, 1_000) == (True, True)
    assert judged(110, 10_000) == (False, False)
    recovery = Recovery().observe(watch.deviations(shared(0, 0, 1_000)), at=0.0, n_min=20)
    assert recovery.is_complete(until=300.0, count=1, hold_seconds=300.0)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "objective"),
        ({"objective": 1.0}, "objective"),
        ({"objective": 0}, "objective"),
        ({"objective": 99.9}, "objective"),
        ({"objective": 0.9, "least_records": 0}, "least_records"),
        ({"objective": 0.9, "good_from": "fast"}, "good_from"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        BurnRate.read(parameters)
    assert set(refused.value.errors) == {field}


def test_metrics_that_cannot_burn_are_refused() -> None:
    for metric in (ARRIVALS, Metric("x", bounds=(0.0, 1.0), shape="share")):
        with pytest.raises(Unwatchable):
            KIND.check(metric)
    with pytest.raises(InvalidParameters, match="good_from"):
        KIND.check(QUALITY)
    BurnRate(objective=0.9, good_from=0.5).check(QUALITY)
