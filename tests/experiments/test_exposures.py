"""Facts become exposed units: each counts once, in any order, and what changes later changes the sums."""

from datetime import timedelta

import pytest

from experiments import allocation, epochs, forcing, lifecycle
from experiments.exposures import collect
from experiments.models import Assignment, EpochKind, ExposedUnit, ExposedValue
from feedback import ingest
from feedback.models import Feedback
from tests.experiments.factories import NOW
from tests.experiments.world import COST, ERRORS, LATENCY, POSITIVE, Facts, defined, running

pytestmark = pytest.mark.django_db(transaction=True)

METRICS = [POSITIVE, COST, ERRORS, LATENCY]
DAY = timedelta(days=1)


def unit(name: str = "u", phase: int = 1) -> ExposedUnit:
    return ExposedUnit.objects.get(unit=name, phase=phase)


def test_first_response_is_the_exposure_and_assignment_is_not() -> None:
    experiment = running(METRICS)
    allocation.assign(experiment.key, "silent", now=NOW)
    given = allocation.assign(experiment.key, "u", now=NOW)
    facts = Facts(experiment)
    facts.respond("u", given.variant or "", cost=0.5, latency_seconds=2.0)
    facts.respond("u", given.variant or "", after=timedelta(minutes=9), cost=0.25, status="error")
    assert collect.collect(NOW) == 2
    row = unit()
    assert ExposedUnit.objects.count() == 1
    assert (row.exposed_at, row.last_at) == (NOW + timedelta(minutes=1), NOW + timedelta(minutes=9))
    assert row.values == [0, 0, 0.75, 2, 1, 2, 2.0, 1]
    assert (row.response_count, row.feedback_count, row.exclusion) == (2, 0, "")


def test_collecting_again_adds_nothing() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    facts.respond("u", cost=0.5)
    collect.collect(NOW)
    before = unit().values
    assert collect.collect(NOW) == 0
    assert unit().values == before


def test_feedback_that_changes_and_is_withdrawn_is_followed() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    response = facts.respond("u")
    collect.collect(NOW)
    seen = []
    for kind in ("positive", "negative", "positive"):
        facts.opine(response, kind)
        collect.collect(NOW)
        seen.append((unit().values[:2], unit().feedback_count))
    ingest.withdraw(str(Feedback.objects.get().pk), key_id=facts.key.pk, now=NOW)
    collect.collect(NOW)
    seen.append((unit().values[:2], unit().feedback_count))
    assert seen == [([1, 1], 1), ([0, 1], 1), ([1, 1], 1), ([0, 0], 0)]


def test_quality_and_feedback_before_the_response_count_when_it_comes() -> None:
    experiment = running([POSITIVE, {**COST, "source": "quality:score", "key": "score"}])
    facts = Facts(experiment)
    facts.judge("late", score=0.25)
    facts.opine("late", "positive")
    assert collect.collect(NOW) == 0
    facts.respond("u", response_id="late")
    collect.collect(NOW)
    assert unit().values == [1, 1, 0.25, 1]


def test_quality_after_the_response_is_added_once() -> None:
    experiment = running([{**POSITIVE, "source": "quality:score"}])
    facts = Facts(experiment)
    response = facts.respond("u", metrics={"score": 0.5})
    collect.collect(NOW)
    facts.judge(response, score=1.0)
    collect.collect(NOW)
    assert unit().values == [1.5, 2]


def test_unit_in_two_arms_is_quarantined_and_stays() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    facts.respond("u", "a")
    facts.respond("u", "b")
    collect.collect(NOW)
    assert unit().exclusion == "crossover"
    facts.respond("u", "a")
    collect.collect(NOW)
    assert (unit().exclusion, unit().response_count) == ("crossover", 3)


def test_arm_is_the_assigned_one_whatever_the_first_response_says() -> None:
    experiment = running(METRICS)
    given = allocation.assign(experiment.key, "u", now=NOW)
    other = "b" if given.variant == "a" else "a"
    Facts(experiment).respond("u", other)
    collect.collect(NOW)
    assert unit().variant_id == Assignment.objects.get().variant_id
    assert unit().exclusion == "crossover"


def test_unit_of_a_local_sdk_is_stored_as_it_was_seen() -> None:
    experiment = running(METRICS)
    Facts(experiment).respond("u", "b")
    collect.collect(NOW)
    row = Assignment.objects.get()
    assert (row.variant.key, row.epoch, row.generation) == ("b", 1, 1)
    assert allocation.assign(experiment.key, "u", now=NOW).variant == "b"


def test_forced_unit_is_left_out_also_after_it_was_freed() -> None:
    experiment = running(METRICS)
    forcing.force(experiment, "tester", "b", by=None, now=NOW)
    facts = Facts(experiment)
    facts.respond("tester", "b")
    collect.collect(NOW)
    assert unit("tester").exclusion == "forced"
    forcing.unforce(experiment, "tester", by=None, now=NOW)
    facts.respond("tester", "b")
    collect.collect(NOW)
    assert unit("tester").exclusion == "forced"


def test_moved_units_leave_the_analysis_and_new_ones_join_their_epoch() -> None:
    experiment = running(METRICS)
    names = [f"u{number}" for number in range(200)]
    facts = Facts(experiment)
    before = {name: allocation.assign(experiment.key, name, now=NOW).variant or "" for name in names}
    for name in names:
        facts.respond(name, before[name])
    collect.collect(NOW)
    later = NOW + DAY
    epochs.change_weights(experiment, EpochKind.MINIMAL_MOVE, {"a": 8_000, "b": 2_000}, by=None, now=later)
    after = {name: allocation.assign(experiment.key, name, now=later).variant or "" for name in names}
    for name in names:
        facts.respond(name, after[name], after=DAY * 2)
    collect.collect(later)
    moved = {name for name in names if before[name] != after[name]}
    assert 40 < len(moved) < 80
    assert set(ExposedUnit.objects.filter(exclusion="moved").values_list("unit", flat=True)) == moved
    assert not ExposedUnit.objects.filter(exclusion="crossover").exists()
    allocation.assign(experiment.key, "new", now=later)
    facts.respond("new", allocation.assign(experiment.key, "new", now=later).variant or "", after=DAY * 2)
    collect.collect(later)
    assert unit("new").epoch == 2


def test_revision_starts_a_phase_without_those_who_were_exposed_before() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    facts.respond("old", "b")
    collect.collect(NOW)
    epochs.revise(experiment, {"b": {"model": "newer"}}, by=None, now=NOW + DAY)
    facts.respond("old", "b", after=DAY * 2)
    facts.respond("new", "b", after=DAY * 2)
    collect.collect(NOW + DAY * 2)
    assert unit("old", 2).exclusion == "carried"
    assert unit("new", 2).exclusion == ""
    assert unit("old", 1).response_count == 1


def test_dealing_anew_lets_everybody_in_again() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    facts.respond("u", allocation.assign(experiment.key, "u", now=NOW).variant or "")
    collect.collect(NOW)
    later = NOW + DAY
    epochs.change_weights(experiment, EpochKind.RERANDOMISE, {"a": 5_000, "b": 5_000}, by=None, now=later)
    given = allocation.assign(experiment.key, "u", now=later).variant or ""
    facts.respond("u", given, after=DAY * 2)
    collect.collect(later)
    assert (unit("u", 2).exclusion, unit("u", 2).epoch) == ("", 2)


def test_window_counts_the_first_days_only() -> None:
    experiment = running([{**COST, "window_days": 7}, {**COST, "key": "open"}])
    facts = Facts(experiment)
    facts.respond("u", cost=1.0)
    facts.respond("u", cost=2.0, after=DAY * 7)
    facts.respond("u", cost=4.0, after=DAY * 8)
    collect.collect(NOW)
    assert unit().values == [3.0, 2, 7.0, 3]


def test_what_a_unit_did_before_is_summed_and_what_it_did_long_before_is_not() -> None:
    experiment = running([COST])
    facts = Facts(experiment)
    for days, cost in ((-1, 1.0), (-10, 2.0), (-20, 4.0)):
        facts.respond("u", "", after=DAY * days, experiment="", cost=cost)
    facts.respond("u", "a", cost=8.0)
    facts.respond("fresh", "b", cost=16.0)
    collect.collect(NOW)
    assert unit().earlier == [3.0, 2]
    assert unit("fresh").earlier is None


def test_fallback_and_other_config_are_counted_and_change_nothing_else() -> None:
    experiment = defined(METRICS)
    variant = experiment.variants.get(key="b")
    experiment = lifecycle.start(experiment, by=None, now=NOW)
    facts = Facts(experiment)
    facts.respond("u", "b", model="b", config_hash=variant.config_hash)
    facts.respond("u", "b", model="fallback-model", config_hash="0123456789abcdef")
    collect.collect(NOW)
    row = unit()
    assert (row.response_count, row.fallback_count, row.drift_count, row.exclusion) == (2, 1, 1, "")


def test_responses_that_cannot_be_attributed_are_counted_by_reason() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    facts.respond("u", "no-such-variant")
    facts.respond("", "a")
    facts.respond("u", "")
    facts.respond("u", "a", after=-DAY)
    facts.respond("u", "a", experiment="no-such-experiment")
    collect.collect(NOW)
    assert not ExposedUnit.objects.exists()
    assert dict(experiment.unattributed.values_list("reason", "count")) == {
        "unknown variant": 1,
        "no unit": 1,
        "no variant": 1,
        "before the start": 1,
    }


def test_quantile_metrics_keep_bins_and_others_do_not() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    for seconds in (1.0, 1.0, 5.0):
        facts.respond("u", latency_seconds=seconds)
    collect.collect(NOW)
    assert sorted(ExposedValue.objects.values_list("slot", "n")) == [(3, 1), (3, 2)]


def test_rebuild_gives_the_same_units() -> None:
    experiment = running(METRICS)
    facts = Facts(experiment)
    for number in range(30):
        response = facts.respond(
            f"u{number % 7}", "ab"[number % 7 % 2], cost=number / 10, latency_seconds=1.0
        )
        if number % 3 == 0:
            facts.opine(response, "positive" if number % 2 else "negative")
            collect.collect(NOW)
    collect.collect(NOW)
    columns = ("unit", "variant_id", "response_count", "feedback_count", "exclusion")
    before = sorted(ExposedUnit.objects.values_list(*columns))
    sums = {row.unit: row.values for row in ExposedUnit.objects.all()}
    collect.rebuild()
    collect.collect(NOW)
    assert sorted(ExposedUnit.objects.values_list(*columns)) == before
    for row in ExposedUnit.objects.all():
        assert row.values == pytest.approx(sums[row.unit], abs=1e-12)
