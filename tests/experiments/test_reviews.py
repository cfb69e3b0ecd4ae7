"""The two-person rule: what one asks for another decides, whoever writes; what keeps users safe needs one person only."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F

from experiments import allocation, audit, epochs, forcing, lifecycle, reviews
from experiments.audit import Change, InvalidTransition
from experiments.epochs import NeedsReview
from experiments.lifecycle import NeedsPerson
from experiments.models import (
    AllocationEpoch,
    ChangeRequest,
    Decision,
    Experiment,
    ExperimentEvent,
    ForcedVariant,
    Look,
    RampStep,
    State,
    Variant,
)
from feedback.models import ApiKey, Scope
from tests.experiments.callers import key
from tests.experiments.factories import NOW, draft, running, stopped
from triageops.rest import InvalidInput, NotFound, Problem

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(days=1)
WEIGHTS = {"gpt-4": 2_000, "claude-2": 3_000, "llama2-70b": 5_000}
STICKY = {"kind": "sticky", "weights": WEIGHTS}
TESTER = {"unit": "tester", "variant": "claude-2"}
SHIP = {"variant": "claude-2"}


@pytest.fixture
def people(django_user_model: type[User]) -> tuple[User, User]:
    ann, ben = (django_user_model.objects.create(username=name) for name in ("ann", "ben"))
    return ann, ben


def started(people: tuple[User, User], **changes: Any) -> Experiment:
    ann, ben = people
    experiment = draft(requires_review=True, **({"coverage_bp": 9_000} | changes))
    with transaction.atomic():
        RampStep.objects.create(experiment=experiment, coverage_bp=10_000)
        audit.write(Change(experiment), "edit", by=ann, now=NOW, reason="", before={})
    experiment = lifecycle.request_review(experiment, by=ann, now=NOW)
    return lifecycle.start(lifecycle.approve(experiment, by=ben, now=NOW), by=ann, now=NOW)


@pytest.fixture
def reviewed(people: tuple[User, User]) -> Experiment:
    return started(people)


def again() -> Experiment:
    return Experiment.objects.get()


def agreed(
    people: tuple[User, User], action: str, arguments: dict[str, Any], at: datetime = LATER
) -> Experiment:
    """Asked for by the one, approved by the other."""
    asked = reviews.request(again(), action, arguments, by=people[0], now=at, reason="why")
    return reviews.decide(ChangeRequest.objects.get(pk=asked.pk), is_approved=True, by=people[1], now=at)


@pytest.mark.parametrize(
    ("action", "arguments", "kind"),
    [
        ("change_weights", STICKY, "sticky"),
        ("change_weights", {"kind": "minimal_move", "weights": WEIGHTS}, "minimal_move"),
        ("change_weights", {"kind": "rerandomise", "weights": WEIGHTS}, "rerandomise"),
        ("change_coverage", {"coverage_bp": 5_000}, "coverage"),
        ("revise", {"configs": {"gpt-4": {"model": "gpt-4o"}}}, "revision"),
    ],
)
def test_change_that_another_approves_is_done(
    reviewed: Experiment, people: tuple[User, User], action: str, arguments: dict[str, Any], kind: str
) -> None:
    ann, ben = people
    asked = reviews.request(reviewed, action, arguments, by=ann, now=NOW, reason="why")
    assert AllocationEpoch.objects.count() == 1
    with pytest.raises(NeedsPerson, match="cannot approve"):
        reviews.decide(asked, is_approved=True, by=ann, now=LATER)
    experiment = reviews.decide(asked, is_approved=True, by=ben, now=LATER)
    epoch = epochs.current(experiment)
    assert (epoch.number, epoch.kind, epoch.by, epoch.reason) == (2, kind, ben, "why")
    stored = ChangeRequest.objects.get()
    assert (stored.decided_by, stored.decided_at, stored.is_approved) == (ben, LATER, True)
    for by in people:
        with pytest.raises(NeedsPerson):
            reviews.decide(stored, is_approved=True, by=by, now=LATER)


def test_change_that_is_refused_is_not_done_and_the_requester_may_take_it_back(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    for by in people:
        asked = reviews.request(Experiment.objects.get(), "change_weights", STICKY, by=people[0], now=NOW)
        reviews.decide(asked, is_approved=False, by=by, now=LATER)
    assert AllocationEpoch.objects.count() == 1
    assert set(ChangeRequest.objects.values_list("is_approved", flat=True)) == {False}


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("start", {}),
        ("stop", {}),
        ("", {}),
        ("ship", {}),
        ("ship", {"variant": "gpt-5"}),
        ("ship", {"variant": ["claude-2"]}),
        ("force", {"unit": "tester"}),
        ("force", {"unit": "", "variant": "gpt-4"}),
        ("force", {"unit": 5, "variant": "gpt-4"}),
        ("force", {"unit": "tester", "variant": "gpt-5"}),
        ("unforce", {"unit": None}),
        (
            "change_weights",
            {"kind": "sticky", "weights": {"gpt-4": 5_000, "claude-2": 3_000, "llama2-70b": 2_000}},
        ),
        ("change_coverage", {"coverage_bp": 9_000}),
        ("change_weights", {}),
        ("change_weights", {"kind": "sticky"}),
        ("change_weights", STICKY | {"is_approved": True}),
        ("change_weights", {"kind": "bandit", "weights": WEIGHTS}),
        ("change_weights", {"kind": "nonsense", "weights": WEIGHTS}),
        ("change_weights", {"kind": ["sticky"], "weights": WEIGHTS}),
        ("change_weights", {"kind": "sticky", "weights": [5_000, 5_000]}),
        ("change_weights", {"kind": "sticky", "weights": WEIGHTS | {"gpt-4": "2000"}}),
        ("change_coverage", {"coverage_bp": "all"}),
        ("change_coverage", {"coverage_bp": 0}),
        ("revise", {"configs": []}),
        ("revise", {"configs": {"gpt-5": {}}}),
        ("revise", {"configs": {"gpt-4": {"a": "\0"}}}),
    ],
)
def test_change_that_could_never_be_done_is_refused_when_it_is_asked_for(
    reviewed: Experiment, people: tuple[User, User], action: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        reviews.request(reviewed, action, arguments, by=people[0], now=NOW)
    assert refused.value.field
    assert not ChangeRequest.objects.exists()


def test_removal_of_a_unit_that_is_not_forced_is_refused_when_it_is_asked_for(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    with pytest.raises(NotFound):
        reviews.request(reviewed, "unforce", {"unit": "tester"}, by=people[0], now=NOW)


def test_change_that_cannot_be_done_any_more_is_not_approved_either(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    ann, ben = people
    configs = {"configs": {"gpt-4": {"model": "gpt-4o"}}}
    first = reviews.request(reviewed, "revise", configs, by=ann, now=NOW)
    second = reviews.request(Experiment.objects.get(), "revise", configs, by=ann, now=NOW)
    first = ChangeRequest.objects.get(pk=first.pk)
    reviews.decide(first, is_approved=True, by=ben, now=LATER)
    second = ChangeRequest.objects.get(pk=second.pk)
    with pytest.raises(InvalidInput, match="No config differs"):
        reviews.decide(second, is_approved=True, by=ben, now=LATER)
    second.refresh_from_db()
    assert second.decided_at is None
    assert Variant.objects.get(key="gpt-4").version == 2
    reviews.decide(ChangeRequest.objects.get(pk=second.pk), is_approved=False, by=ben, now=LATER)


def test_change_of_what_is_not_under_way_is_refused(people: tuple[User, User]) -> None:
    with pytest.raises(InvalidTransition):
        reviews.request(stopped(), "change_weights", STICKY, by=people[0], now=NOW)


def test_change_after_the_end_is_refused_and_stays_open(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    asked = reviews.request(reviewed, "change_weights", STICKY, by=people[0], now=NOW)
    lifecycle.stop(Experiment.objects.get(), by=None, now=LATER)
    with pytest.raises(Problem):
        reviews.decide(ChangeRequest.objects.get(pk=asked.pk), is_approved=True, by=people[1], now=LATER)
    assert ChangeRequest.objects.get().decided_at is None


def test_own_approval_and_half_a_decision_are_refused_by_the_database(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    reviews.request(reviewed, "change_weights", STICKY, by=people[0], now=NOW)
    for changes in (
        {"decided_by": people[0], "decided_at": LATER, "is_approved": True},
        {"decided_by": people[1], "is_approved": True},
        {"decided_at": LATER},
    ):
        with pytest.raises(IntegrityError, match=r"change_(approved|decided)"), transaction.atomic():
            ChangeRequest.objects.update(**changes)


def test_shipping_needs_another_person(reviewed: Experiment, people: tuple[User, User]) -> None:
    ann, ben = people
    lifecycle.stop(reviewed, by=ann, now=NOW)
    for by in (ann, ben, None, robot()):
        with pytest.raises(NeedsReview):
            lifecycle.ship(again(), "claude-2", by=by, now=NOW)
    asked = reviews.request(again(), "ship", SHIP, by=ann, now=NOW, reason="it won")
    assert again().state == State.STOPPED
    with pytest.raises(NeedsPerson, match="cannot approve"):
        reviews.decide(asked, is_approved=True, by=ann, now=LATER)
    experiment = reviews.decide(asked, is_approved=True, by=ben, now=LATER)
    assert (experiment.state, experiment.shipped_variant) == (State.SHIPPED, "claude-2")
    event = ExperimentEvent.objects.latest("id")
    assert (event.action, event.by, event.reason) == ("ship", ben, "it won")
    told = ExperimentEvent.objects.filter(action__in=("request_change", "approve_change")).values_list(
        "evidence"
    )
    assert list(told) == [({"request": asked.pk, "action": "ship", "arguments": SHIP},)] * 2


def robot() -> ApiKey:
    key(Scope.EXPERIMENTS_WRITE)
    return ApiKey.objects.latest("pk")


def test_shipping_can_be_asked_for_only_once_it_has_stopped(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    with pytest.raises(InvalidTransition):
        reviews.request(reviewed, "ship", SHIP, by=people[0], now=NOW)


def test_forced_units_need_another_person_from_the_review_on(people: tuple[User, User]) -> None:
    ann, ben = people
    experiment = draft(requires_review=True)
    forcing.force(experiment, "early", "gpt-4", by=ann, now=NOW)
    forcing.force(again(), "earlier", "gpt-4", by=ann, now=NOW)
    forcing.unforce(again(), "earlier", by=ann, now=NOW)
    moves: list[Callable[[Experiment], Experiment]] = [
        lambda one: lifecycle.request_review(one, by=ann, now=NOW),
        lambda one: lifecycle.approve(one, by=ben, now=NOW),
        lambda one: lifecycle.start(one, by=ann, now=NOW),
        lambda one: lifecycle.pause(one, by=ann, now=NOW),
        lambda one: lifecycle.kill(one, by=ann, now=NOW),
    ]
    for move in moves:
        move(again())
        with pytest.raises(NeedsReview):
            forcing.force(again(), "tester", "claude-2", by=ben, now=NOW)
        with pytest.raises(NeedsReview):
            forcing.unforce(again(), "early", by=ben, now=NOW)
    assert set(ForcedVariant.objects.standing().values_list("unit", flat=True)) == {"early"}


def test_forced_unit_that_two_agree_on_is_served_changed_and_removed(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    def served() -> str | None:
        return allocation.assign(reviewed.key, "tester", now=LATER).variant

    agreed(people, "force", TESTER)
    row = ForcedVariant.objects.standing().get()
    assert (row.unit, row.variant.key, row.by, row.reason) == ("tester", "claude-2", people[1], "why")
    assert served() == "claude-2"
    agreed(people, "force", TESTER | {"variant": "llama2-70b"})
    assert served() == "llama2-70b"
    agreed(people, "unforce", {"unit": "tester"})
    assert not ForcedVariant.objects.standing().exists()


def test_safety_never_waits_for_another_person(people: tuple[User, User]) -> None:
    ann = people[0]
    experiment = lifecycle.pause(started(people), by=ann, now=NOW)
    experiment = lifecycle.kill(lifecycle.resume(experiment, by=ann, now=NOW), by=ann, now=NOW)
    lifecycle.stop(experiment, by=ann, now=NOW)
    agreed(people, "ship", SHIP)
    assert lifecycle.unship(again(), by=ann, now=LATER, reason="it fails").state == State.STOPPED
    with pytest.raises(NeedsReview):
        lifecycle.ship(again(), "claude-2", by=ann, now=LATER)


def looked(experiment: Experiment, decision: Decision, variant: str) -> None:
    Look.objects.create(
        experiment=experiment, phase=1, at=NOW, seconds=1, unit_count=1, decision=decision, variant=variant, sentence="."
    )  # fmt: skip


def test_experiment_that_two_let_ship_by_itself_does_so(people: tuple[User, User]) -> None:
    experiment = lifecycle.stop(started(people, auto_ship=True), by=None, now=LATER)
    looked(experiment, Decision.SHIP, "claude-2")
    for by in (people[0], people[1], robot()):
        with pytest.raises(NeedsReview):
            lifecycle.ship(again(), "claude-2", by=by, now=LATER)
    assert lifecycle.ship(again(), "claude-2", by=None, now=LATER).state == State.SHIPPED


@pytest.mark.parametrize(
    ("decision", "variant", "auto_ship"),
    [
        (Decision.KEEP, "claude-2", True),
        (Decision.SHIP, "llama2-70b", True),
        (Decision.SHIP, "claude-2", False),
    ],
)
def test_database_lets_ship_by_itself_only_what_the_last_look_found(
    people: tuple[User, User], decision: Decision, variant: str, *, auto_ship: bool
) -> None:
    experiment = lifecycle.stop(started(people, auto_ship=auto_ship), by=None, now=LATER)
    looked(experiment, Decision.SHIP, "claude-2")
    looked(experiment, decision, variant)
    with pytest.raises(IntegrityError, match="nobody else approved to ship"), transaction.atomic():
        shipped_by_hand()


@transaction.atomic
def by_hand(act: Callable[[], object], *, with_audit: Sequence[tuple[str, User]]) -> None:
    for action, by in with_audit:
        audit.write(Change(again()), action, by=by, now=LATER, reason="", before={})
    act()


def shipped_by_hand() -> None:
    Experiment.objects.update(state="shipped", shipped_variant="claude-2", version=F("version") + 1)


def ramp_step() -> RampStep:
    return RampStep.objects.get()


def test_ramp_goes_on_by_itself_and_no_further(reviewed: Experiment) -> None:
    with pytest.raises(IntegrityError, match="nobody else approved the epoch 2"), transaction.atomic():
        epochs.cover(again(), 9_500, by=None, now=LATER)
    assert epochs.cover(again(), 10_000, by=None, now=LATER, step=ramp_step()).coverage_bp == 10_000


def next_epoch(**changes: Any) -> None:
    """What a change does, written by hand, with an audit row of its own."""
    former = AllocationEpoch.objects.get(ended_at=None)
    AllocationEpoch.objects.filter(pk=former.pk).update(ended_at=LATER)
    kept = ("experiment", "phase", "salt", "coverage_bp", "weights", "versions", "ranges", "filters")
    values = {name: getattr(former, name) for name in kept} | {"kind": "sticky"} | changes
    AllocationEpoch.objects.create(number=former.number + 1, started_at=LATER, **values)
    Experiment.objects.update(epoch=former.number + 1, version=F("version") + 1)


def forced_by_hand(**changes: Any) -> None:
    chosen = Variant.objects.get(key="claude-2")
    ForcedVariant.objects.create(
        **(
            {"experiment": chosen.experiment, "unit": "tester", "variant": chosen, "created_at": NOW}
            | changes
        )
    )


AROUND: dict[str, tuple[Callable[[], object], str]] = {
    "forced": (forced_by_hand, "the forced unit"),
    "no longer forced": (
        lambda: ForcedVariant.objects.filter(unit="kept").update(removed_at=LATER),
        "the forced unit",
    ),
    "weights": (lambda: next_epoch(weights=WEIGHTS), "the epoch 4"),
    "kept units": (lambda: next_epoch(moved=[["gpt-4", "claude-2", 0, 5_000]]), "the epoch 4"),
    "bandit's weights": (lambda: next_epoch(kind="bandit", weights=WEIGHTS), "the epoch 4"),
    "second start": (lambda: next_epoch(kind="start", salt="another"), "the epoch 4"),
    "coverage": (lambda: next_epoch(kind="coverage", coverage_bp=1), "the epoch 4"),
    "configs": (lambda: next_epoch(kind="revision", versions={"gpt-4": 2}), "the epoch 4"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("act", "said"), AROUND.values(), ids=list(AROUND))
def test_change_around_the_second_person_is_refused_by_the_database_even_with_audit(
    people: tuple[User, User], act: Callable[[], object], said: str
) -> None:
    """Nor does an approval that was used count again, whatever the audit says."""
    started(people)
    agreed(people, "force", {"unit": "kept", "variant": "gpt-4"})
    agreed(people, "change_weights", STICKY)
    agreed(people, "change_weights", STICKY | {"weights": WEIGHTS | {"gpt-4": 3_000, "claude-2": 2_000}})
    told = [("edit", people[0]), ("approve_change", people[1])]
    with pytest.raises(IntegrityError, match=f"nobody else approved {said}"):
        by_hand(act, with_audit=told)


@pytest.mark.django_db(transaction=True)
def test_approval_to_ship_counts_once_and_for_its_variant_only(people: tuple[User, User]) -> None:
    lifecycle.stop(started(people), by=None, now=LATER)
    agreed(people, "ship", SHIP)
    change = partial(Experiment.objects.update, shipped_variant="gpt-4", version=F("version") + 1)
    with pytest.raises(IntegrityError, match="nobody else approved to ship gpt-4"):
        by_hand(change, with_audit=[("edit", people[0])])
    lifecycle.unship(again(), by=people[0], now=LATER, reason="it fails")
    with pytest.raises(IntegrityError, match="nobody else approved to ship claude-2"):
        by_hand(shipped_by_hand, with_audit=[("ship", people[1])])
    assert again().state == State.STOPPED


@pytest.mark.django_db(transaction=True)
def test_epoch_that_deals_as_before_needs_nobody(people: tuple[User, User]) -> None:
    started(people)
    by_hand(next_epoch, with_audit=[("resume", people[0])])
    assert again().epoch == 2


@pytest.mark.django_db(transaction=True)
def test_rule_in_the_database_leaves_experiments_of_one_person_alone(people: tuple[User, User]) -> None:
    experiment = running()
    forcing.force(experiment, "tester", "gpt-4", by=people[0], now=NOW)
    forcing.unforce(again(), "tester", by=people[0], now=NOW)
    epochs.cover(again(), 5_000, by=people[0], now=NOW)
    stopped_one = lifecycle.stop(again(), by=people[0], now=NOW)
    assert lifecycle.ship(stopped_one, "gpt-4", by=people[0], now=NOW).state == State.SHIPPED


def test_request_is_decided_once_and_stays_what_was_asked_for(
    reviewed: Experiment, people: tuple[User, User]
) -> None:
    reviews.request(reviewed, "change_weights", STICKY, by=people[0], now=NOW)
    rows = ChangeRequest.objects.all()
    decision = {"decided_by": people[1], "decided_at": LATER, "is_approved": False}
    acts: list[Callable[[], object]] = [
        lambda: rows.update(arguments={}),
        lambda: rows.update(requested_by=people[1]),
        lambda: rows.update(action="ship", **decision),
        rows.delete,
        lambda: ChangeRequest.objects.create(
            experiment=reviewed,
            action="ship",
            arguments=SHIP,
            requested_by=people[0],
            requested_at=NOW,
            **decision,
        ),
    ]
    for act in acts:
        with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
            act()
    rows.update(**decision)
    with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
        rows.update(is_approved=True)
