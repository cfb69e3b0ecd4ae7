"""Changes of weights, coverage and configs of what is under way, with the units that are stored."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django_redis import get_redis_connection

from experiments import allocation, catalogue, epochs, lifecycle
from experiments.allocation import Asked, Decision
from experiments.audit import Changed, InvalidTransition
from experiments.epochs import NeedsReview
from experiments.models import (
    AllocationEpoch,
    Assignment,
    EpochKind,
    Experiment,
    RampStep,
    State,
    Variant,
    VariantVersion,
)
from experiments.placement import Reason
from experiments.ranges import FREE, moves
from tests.experiments.factories import NOW, draft, stopped, units
from triageops.rest import InvalidInput

pytestmark = pytest.mark.django_db

KEY = "llm_model_ab_test"
HALVES = {"a": 5_000, "b": 5_000}
LATER = NOW + timedelta(days=1)


def halves(**changes: Any) -> Experiment:
    return lifecycle.start(draft(HALVES, "a", **changes), by=None, now=NOW)


def ask(wanted: int, **options: Any) -> dict[str, Decision]:
    definition = allocation.known(KEY)
    asked = [Asked(definition, unit, {}) for unit in units(wanted)]
    found = allocation.decide(asked, now=LATER, **options)
    return dict(zip(units(wanted), found, strict=True))


def variants(decisions: dict[str, Decision]) -> dict[str, str | None]:
    return {unit: decision.variant for unit, decision in decisions.items()}


def changed(before: dict[str, Decision], after: dict[str, Decision]) -> set[str]:
    return {unit for unit in before if before[unit].variant != after[unit].variant}


def flush() -> None:
    get_redis_connection("default").flushdb()


def weigh(experiment: Experiment, kind: EpochKind, weights: dict[str, int], **options: Any) -> Experiment:
    return epochs.change_weights(experiment, kind, weights, by=None, now=LATER, **options)


def test_sticky_every_stored_unit_keeps_its_variant_and_newcomers_come_by_the_new_weights() -> None:
    experiment = halves()
    before = ask(600)
    weights = {"a": 1_000, "b": 9_000}
    said = epochs.preview(experiment, EpochKind.STICKY, weights)
    assert (said.stored_count, said.moved_count, said.restarts) == (600, 0, False)
    weigh(experiment, EpochKind.STICKY, weights)

    after = ask(1_600)
    assert not changed(before, after)
    newcomers = Counter(after[unit].variant for unit in units(1_600)[600:])
    assert 50 < newcomers["a"] < 150
    assert {after[unit].epoch for unit in units(600)} == {1}
    assert {after[unit].epoch for unit in units(1_600)[600:]} == {2}
    assert Assignment.objects.count() == 1_600
    assert list(AllocationEpoch.objects.values_list("kind", "phase")) == [("start", 1), ("sticky", 1)]


@pytest.mark.parametrize("coverage_bp", [10_000, 6_000])
def test_minimal_move_moves_the_predicted_units_once_and_for_good(coverage_bp: int) -> None:
    experiment = halves(coverage_bp=coverage_bp)
    before = ask(1_500)
    stored = sum(decision.in_experiment for decision in before.values())
    weights = {"a": 3_000, "b": 7_000}
    said = epochs.preview(experiment, EpochKind.MINIMAL_MOVE, weights)
    experiment = weigh(experiment, EpochKind.MINIMAL_MOVE, weights)

    moved_buckets = AllocationEpoch.objects.get(number=2).moved
    assert sum(end - first for _, _, first, end in moved_buckets) == 2_000 * coverage_bp // 10_000
    expected = {
        unit
        for unit, decision in before.items()
        if decision.bucket is not None
        and decision.in_experiment
        and any(first <= round(decision.bucket * 10_000) < end for _, _, first, end in moved_buckets)
    }
    after = ask(1_500)
    assert changed(before, after) == expected
    assert (said.stored_count, said.moved_count) == (stored, len(expected))
    assert len(expected) > 100
    assert {(before[unit].variant, after[unit].variant) for unit in expected} == {("a", "b")}
    assert all(after[unit].in_experiment == before[unit].in_experiment for unit in before)
    rows = Counter(Assignment.objects.values_list("unit", flat=True))
    assert {unit for unit, n in rows.items() if n == 2} == expected

    # For good: after a flush, and after the weights have gone back.
    flush()
    assert variants(ask(1_500)) == variants(after)
    again = epochs.preview(experiment, EpochKind.MINIMAL_MOVE, {"a": 4_000, "b": 6_000})
    experiment = weigh(experiment, EpochKind.MINIMAL_MOVE, {"a": 4_000, "b": 6_000})
    back = ask(1_500)
    assert (again.stored_count, again.moved_count) == (stored, len(changed(after, back)))
    assert {(after[unit].variant, back[unit].variant) for unit in changed(after, back)} == {("b", "a")}
    flush()
    assert variants(ask(1_500)) == variants(back)
    assert Assignment.objects.values("unit", "generation").distinct().count() == Assignment.objects.count()


def test_minimal_move_units_that_were_not_seen_since_follow_both_moves_and_the_preview_knows() -> None:
    experiment = halves()
    before = ask(1_000)
    experiment = weigh(experiment, EpochKind.MINIMAL_MOVE, {"a": 3_000, "b": 7_000})
    unseen = ask(1_000, is_read_only=True)
    said = epochs.preview(experiment, EpochKind.MINIMAL_MOVE, {"a": 9_000, "b": 1_000})
    weigh(experiment, EpochKind.MINIMAL_MOVE, {"a": 9_000, "b": 1_000})
    after = ask(1_000)
    assert said.stored_count == 1_000
    assert said.moved_count == len(changed(unseen, after))
    # There and back again is two moves, and their rows say so.
    returned = {unit for unit in before if before[unit].variant == "a" != unseen[unit].variant}
    returned &= {unit for unit in before if after[unit].variant == "a"}
    assert len(returned) > 60
    rows = Assignment.objects.filter(unit__in=returned).order_by("unit", "generation")
    assert {row.generation for row in rows} == {1, 3}


def test_minimal_move_leaves_sticky_units_of_other_arms_alone() -> None:
    experiment = halves()
    before = ask(800)
    experiment = weigh(experiment, EpochKind.STICKY, {"a": 2_000, "b": 8_000})
    said = epochs.preview(experiment, EpochKind.MINIMAL_MOVE, {"a": 5_000, "b": 5_000})
    weigh(experiment, EpochKind.MINIMAL_MOVE, {"a": 5_000, "b": 5_000})
    after = ask(800)
    assert said.moved_count == len(changed(before, after))
    # The buckets that went back to a held units that never were in b.
    assert Assignment.objects.count() == 800 + said.moved_count


def test_rerandomise_deals_all_anew_in_a_new_phase() -> None:
    experiment = halves()
    before = ask(1_000)
    said = epochs.preview(experiment, EpochKind.RERANDOMISE, HALVES)
    experiment = weigh(experiment, EpochKind.RERANDOMISE, HALVES)
    after = ask(1_000)
    assert said.restarts
    assert said.moved_count == 500
    assert 400 < len(changed(before, after)) < 600
    assert {decision.epoch for decision in after.values()} == {2}
    first, second = AllocationEpoch.objects.all()
    assert (first.phase, second.phase, first.salt == second.salt) == (1, 2, False)
    assert Experiment.objects.get().salt == first.salt
    flush()
    assert variants(ask(1_000)) == variants(after)
    # What was dealt before is no part of what a later change does.
    later = epochs.preview(experiment, EpochKind.MINIMAL_MOVE, {"a": 4_000, "b": 6_000})
    weigh(experiment, EpochKind.MINIMAL_MOVE, {"a": 4_000, "b": 6_000})
    assert (later.stored_count, later.moved_count) == (1_000, len(changed(after, ask(1_000))))


def test_larger_coverage_moves_nobody_and_lets_more_in() -> None:
    experiment = halves(coverage_bp=2_000)
    before = ask(1_000)
    epochs.cover(experiment, 6_000, by=None, now=LATER)
    after = ask(1_000)
    inside = {unit for unit in before if before[unit].in_experiment}
    assert all(after[unit] == before[unit] for unit in inside)
    assert sum(decision.in_experiment for decision in after.values()) > 2.5 * len(inside)


def test_smaller_coverage_who_is_in_stays_in_and_nobody_new_comes() -> None:
    experiment = halves(coverage_bp=6_000)
    before = ask(500)
    experiment = epochs.cover(experiment, 1_000, by=None, now=LATER)
    flush()
    after = ask(1_500)
    assert variants(before) == {unit: after[unit].variant for unit in before}
    inside = {unit for unit in before if before[unit].in_experiment}
    assert all(after[unit].in_experiment for unit in inside)
    newcomers = [after[unit] for unit in units(1_500)[500:]]
    assert 50 < sum(decision.in_experiment for decision in newcomers) < 150
    left = [one for one in newcomers if not one.in_experiment]
    assert {(one.variant, one.reason, one.assigned_at) for one in left} == {("a", Reason.COVERAGE, None)}
    epoch = AllocationEpoch.objects.get(number=2)
    assert all(target == FREE for _, target, _, _ in epoch.moved)
    # And when it grows again, all are where they were.
    epochs.cover(experiment, 6_000, by=None, now=LATER)
    assert epochs.current(experiment).ranges == AllocationEpoch.objects.get(number=1).ranges
    assert not changed(after, ask(1_500)) - set(units(1_500)[500:])


def test_unit_that_was_moved_and_then_left_by_the_coverage_keeps_the_arm_it_was_moved_to() -> None:
    experiment = halves(coverage_bp=6_000)
    before = ask(500)
    experiment = weigh(experiment, EpochKind.MINIMAL_MOVE, {"a": 1_000, "b": 9_000})
    would_be = ask(500, is_read_only=True)
    assert len(changed(before, would_be)) > 50
    epochs.cover(experiment, 500, by=None, now=LATER)
    assert variants(ask(500)) == variants(would_be)


def test_revision_is_a_new_version_and_phase_and_everybody_keeps_their_variant() -> None:
    experiment = halves()
    before = ask(100)
    epochs.revise(experiment, {"b": {"model": "b2"}}, by=None, now=LATER, reason="a typo")
    after = ask(100)
    assert not changed(before, after)
    served = {(one.variant, one.variant_version, one.config["model"]) for one in after.values()}
    assert served == {("a", 1, "a"), ("b", 2, "b2")}
    assert {one.config_hash for one in after.values()} == {v.config_hash for v in Variant.objects.all()}
    assert VariantVersion.objects.filter(variant__key="b").count() == 2
    epoch = AllocationEpoch.objects.get(number=2)
    assert (epoch.phase, epoch.kind, epoch.versions) == (2, "revision", {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("configs", "field"),
    [
        ({}, "configs"),
        ({"b": {"model": "b"}}, "configs"),
        ({"c": {}}, "configs.c"),
        ({"b": []}, "configs.b"),
        ({"b": {"x": float("nan")}}, "configs.b"),
        ({"b": {"x": "\0"}}, "configs.b"),
        ({"b": {"model": 1}}, "configs.b"),
    ],
)
def test_revision_with_configs_that_cannot_be_is_refused(configs: dict[str, Any], field: str) -> None:
    schema = {"properties": {"model": {"type": "string"}}}
    experiment = halves(config_schema=schema)
    with pytest.raises(InvalidInput) as refused:
        epochs.revise(experiment, configs, by=None, now=LATER)
    assert refused.value.field == field
    assert AllocationEpoch.objects.count() == 1


@pytest.mark.parametrize("kind", [EpochKind.STICKY, EpochKind.MINIMAL_MOVE, EpochKind.BANDIT])
def test_weights_that_it_has_are_refused_and_leave_no_epoch(kind: EpochKind) -> None:
    experiment = weigh(halves(), EpochKind.STICKY, {"a": 4_000, "b": 6_000})
    # Weights are compared by variant, in whatever order they come.
    with pytest.raises(InvalidInput, match="the weights that it has: b 60 %, a 40 %") as refused:
        weigh(experiment, kind, {"b": 6_000, "a": 4_000})
    assert (refused.value.field, "rerandomise" in (refused.value.fix or "")) == ("weights", True)
    with pytest.raises(InvalidInput, match="that it has"):
        epochs.preview(experiment, kind, {"b": 6_000, "a": 4_000})
    assert AllocationEpoch.objects.count() == 2
    assert Experiment.objects.get().version == experiment.version


def test_coverage_that_it_has_is_refused_and_leaves_no_epoch() -> None:
    experiment = halves(coverage_bp=2_000)
    with pytest.raises(InvalidInput, match="20 % already") as refused:
        epochs.cover(experiment, 2_000, by=None, now=LATER)
    assert (refused.value.field, bool(refused.value.fix)) == ("coverage_bp", True)
    assert AllocationEpoch.objects.count() == 1
    assert Experiment.objects.get().version == experiment.version


@pytest.mark.parametrize(("by_hand", "epoch_count"), [(3_000, 3), (5_000, 2), (8_000, 2)])
def test_step_that_people_have_reached_or_passed_is_done_without_an_epoch(
    by_hand: int, epoch_count: int
) -> None:
    experiment = draft(HALVES, "a", coverage_bp=1_000)
    step = RampStep.objects.create(experiment=experiment, coverage_bp=5_000)
    experiment = lifecycle.start(experiment, by=None, now=NOW)
    experiment = epochs.cover(experiment, by_hand, by=None, now=NOW)
    experiment = epochs.cover(experiment, 5_000, by=None, now=LATER, step=step)
    step.refresh_from_db()
    assert step.reached_at == LATER
    assert experiment.coverage_bp == epochs.current(experiment).coverage_bp == max(by_hand, 5_000)
    assert AllocationEpoch.objects.count() == epoch_count


def test_revision_of_some_configs_leaves_those_that_are_the_same_alone() -> None:
    experiment = epochs.revise(halves(), {"a": {"model": "a"}, "b": {"model": "b2"}}, by=None, now=LATER)
    assert dict(Variant.objects.values_list("key", "version")) == {"a": 1, "b": 2}
    with pytest.raises(InvalidInput, match="No config differs"):
        epochs.revise(experiment, {"a": {"model": "a"}, "b": {"model": "b2"}}, by=None, now=LATER)
    assert AllocationEpoch.objects.count() == 2


def test_revision_tells_true_from_one() -> None:
    experiment = halves()
    experiment = epochs.revise(experiment, {"b": {"stream": 1}}, by=None, now=LATER)
    epochs.revise(experiment, {"b": {"stream": True}}, by=None, now=LATER)
    assert Variant.objects.get(key="b").config["stream"] is True


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 10_000},
        {"a": 5_000, "b": 5_000, "c": 0},
        {"a": 5_000, "b": 5_001},
        {"a": -1, "b": 10_001},
        {"a": 5_000.0, "b": 5_000},
        {"a": "5000", "b": 5_000},
        {"a": True, "b": 9_999},
        {},
    ],
)
def test_weights_that_are_none_are_refused(weights: dict[str, Any]) -> None:
    experiment = halves()
    with pytest.raises(InvalidInput) as refused:
        weigh(experiment, EpochKind.STICKY, weights)
    assert refused.value.field == "weights"
    with pytest.raises(InvalidInput):
        epochs.preview(experiment, EpochKind.STICKY, weights)


@pytest.mark.parametrize("coverage_bp", [0, -1, 10_001, 0.5, "1", True, None])
def test_coverage_that_is_none_is_refused(coverage_bp: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        epochs.cover(halves(), coverage_bp, by=None, now=LATER)
    assert refused.value.field == "coverage_bp"


@pytest.mark.parametrize("kind", [EpochKind.START, EpochKind.REVISION, EpochKind.COVERAGE, EpochKind.BANDIT])
def test_person_cannot_change_weights_in_a_way_that_is_none(
    kind: EpochKind, django_user_model: type[User]
) -> None:
    ann = django_user_model.objects.create(username="ann")
    with pytest.raises(InvalidInput) as refused:
        epochs.change_weights(halves(), kind, HALVES, by=ann, now=LATER)
    assert refused.value.field == "kind"


def test_bandit_of_the_system_changes_weights_and_moves_nobody() -> None:
    experiment = halves(requires_review=False)
    before = ask(300)
    weigh(experiment, EpochKind.BANDIT, {"a": 500, "b": 9_500})
    assert not changed(before, ask(300))


@pytest.mark.parametrize("make", [draft, stopped])
def test_change_of_what_is_not_under_way_is_refused(make: Any) -> None:
    experiment = make()
    weights = {"gpt-4": 0, "claude-2": 0, "llama2-70b": 10_000}
    changes: list[Callable[[], object]] = [
        lambda: weigh(experiment, EpochKind.STICKY, weights),
        lambda: epochs.cover(experiment, 100, by=None, now=LATER),
        lambda: epochs.revise(experiment, {"gpt-4": {}}, by=None, now=LATER),
    ]
    for change in changes:
        with pytest.raises(InvalidTransition):
            change()


def test_second_of_two_changes_at_once_is_refused() -> None:
    experiment = halves()
    seen_by_another = Experiment.objects.get()
    weigh(experiment, EpochKind.STICKY, {"a": 1, "b": 9_999})
    with pytest.raises(Changed):
        weigh(seen_by_another, EpochKind.STICKY, {"a": 2, "b": 9_998})


def test_epochs_follow_each_other_without_a_gap_whatever_the_clocks_say() -> None:
    experiment = halves()
    early = NOW - timedelta(minutes=5)
    experiment = epochs.change_weights(experiment, EpochKind.STICKY, {"a": 1, "b": 9_999}, by=None, now=early)
    epochs.cover(experiment, 5_000, by=None, now=LATER)
    found = list(AllocationEpoch.objects.values_list("number", "started_at", "ended_at"))
    assert found == [(1, NOW, NOW), (2, NOW, LATER), (3, LATER, None)]


def test_change_while_halted_or_paused_counts_when_it_goes_on(django_user_model: type[User]) -> None:
    ann = django_user_model.objects.create(username="ann")
    experiment = lifecycle.kill(halves(), by=ann, now=LATER)
    experiment = weigh(experiment, EpochKind.STICKY, {"a": 0, "b": 10_000})
    assert {decision.reason for decision in ask(20).values()} == {Reason.HALTED}
    lifecycle.resume(experiment, by=ann, now=LATER, reason="looked at it")
    assert set(variants(ask(20)).values()) == {"b"}


def test_rule_of_two_needs_a_review_for_every_change_but_the_ramp(django_user_model: type[User]) -> None:
    experiment = draft(HALVES, "a", requires_review=True, coverage_bp=5_000)
    step = RampStep.objects.create(experiment=experiment, coverage_bp=9_000)
    ann = django_user_model.objects.create(username="ann")
    ben = django_user_model.objects.create(username="ben")
    experiment = lifecycle.request_review(experiment, by=ann, now=NOW)
    experiment = lifecycle.start(lifecycle.approve(experiment, by=ben, now=NOW), by=ann, now=NOW)
    changes: list[Callable[[], object]] = [
        lambda: epochs.change_weights(experiment, EpochKind.STICKY, HALVES, by=ann, now=NOW),
        lambda: epochs.cover(experiment, 100, by=ann, now=NOW),
        lambda: epochs.revise(experiment, {"a": {}}, by=ann, now=NOW),
    ]
    for change in changes:
        with pytest.raises(NeedsReview):
            change()
    assert epochs.cover(experiment, 9_000, by=None, now=NOW, step=step).coverage_bp == 9_000


def test_catalogue_holds_the_current_epoch_of_an_experiment_with_many_changes() -> None:
    experiment = halves()
    for step in range(5):
        experiment = weigh(experiment, EpochKind.STICKY, {"a": step, "b": 10_000 - step})
    experiment = weigh(experiment, EpochKind.MINIMAL_MOVE, {"a": 9_000, "b": 1_000})
    experiment = weigh(experiment, EpochKind.STICKY, {"a": 100, "b": 9_900})
    definition = catalogue.find(KEY)
    assert definition is not None
    assert (definition.epoch, definition.floor, {move.epoch for move in definition.moves}) == (8, 1, {7})
    former, moved, _ = AllocationEpoch.objects.order_by("number")[5:8]
    assert moved.moved == [list(one) for one in moves(former.ranges, moved.ranges)]
    assert experiment.state == State.RUNNING
