"""The two-person rule for what is under way."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from experiments import epochs, lifecycle, reviews
from experiments.audit import InvalidTransition
from experiments.lifecycle import NeedsPerson
from experiments.models import AllocationEpoch, ChangeRequest, Experiment, Variant
from tests.experiments.factories import NOW, draft, stopped
from triageops.rest import InvalidInput, Problem

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(days=1)
WEIGHTS = {"gpt-4": 2_000, "claude-2": 3_000, "llama2-70b": 5_000}
STICKY = {"kind": "sticky", "weights": WEIGHTS}


@pytest.fixture
def people(django_user_model: type[User]) -> tuple[User, User]:
    ann, ben = (django_user_model.objects.create(username=name) for name in ("ann", "ben"))
    return ann, ben


@pytest.fixture
def reviewed(people: tuple[User, User]) -> Experiment:
    ann, ben = people
    experiment = lifecycle.request_review(draft(requires_review=True), by=ann, now=NOW)
    return lifecycle.start(lifecycle.approve(experiment, by=ben, now=NOW), by=ann, now=NOW)


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
        ("", {}),
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
