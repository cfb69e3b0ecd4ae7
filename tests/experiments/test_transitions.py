"""The whole table: each state and each action, in Python and directly in the database."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from experiments import audit, kill_evidence, lifecycle
from experiments.audit import Change, InvalidTransition
from experiments.lifecycle import NeedsPerson, NotReady
from experiments.models import (
    Assignment,
    Experiment,
    ExperimentEvent,
    ExperimentMetric,
    RampStep,
    State,
    Variant,
)
from tests.experiments.factories import NOW, draft, running
from triageops.rest import InvalidInput

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(days=1)
SOON: dict[str, Any] = {"starts_at": LATER}

# What is done from each state, and where it leads; everything else is refused.
TABLE: dict[str, dict[str, str]] = {
    "draft": {
        "request_review": "review",
        "schedule": "scheduled",
        "start": "running",
        "archive": "archived",
    },
    "review": {
        "approve": "review",
        "back_to_draft": "draft",
        "schedule": "scheduled",
        "start": "running",
        "archive": "archived",
    },
    "scheduled": {"back_to_draft": "draft", "start": "running", "archive": "archived"},
    "running": {"pause": "paused", "kill": "halted", "halt": "halted", "stop": "stopped"},
    "paused": {"resume": "running", "kill": "halted", "halt": "halted", "stop": "stopped"},
    "halted": {"resume": "running", "stop": "stopped"},
    "stopped": {"ship": "shipped", "archive": "archived"},
    "shipped": {"unship": "stopped", "archive": "archived"},
    "archived": {},
}
ACTIONS = sorted({action for actions in TABLE.values() for action in actions})
WAYS = {
    "draft": [],
    "review": ["request_review"],
    "scheduled": ["schedule"],
    "running": ["start"],
    "paused": ["start", "pause"],
    "halted": ["start", "kill"],
    "stopped": ["start", "stop"],
    "shipped": ["start", "stop", "ship"],
    "archived": ["archive"],
}


@pytest.fixture
def people(django_user_model: type[User]) -> tuple[User, User]:
    ann, ben = (django_user_model.objects.create(username=name) for name in ("ann", "ben"))
    return ann, ben


def do(action: str, experiment: Experiment, by: User, reason: str = "so") -> Experiment:
    arguments: dict[str, Any] = {"by": by, "now": NOW, "reason": reason}
    if action == "halt":
        return lifecycle.halt(experiment, {"z": -4.0}, now=NOW, reason=reason)
    if action == "ship":
        return lifecycle.ship(experiment, "claude-2", **arguments)
    function: Callable[..., Experiment] = getattr(lifecycle, action)
    return function(experiment, **arguments)


def experiment_in(state: str, by: User, **changes: Any) -> Experiment:
    experiment = draft(**(SOON | changes))
    for action in WAYS[state]:
        experiment = do(action, experiment, by)
    assert experiment.state == state
    return experiment


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", State.values)
def test_action_in_a_state_does_what_the_table_says_with_audit(
    state: str, action: str, people: tuple[User, User]
) -> None:
    ann, ben = people
    experiment = experiment_in(state, ann)
    before, events = experiment.version, ExperimentEvent.objects.count()
    target = TABLE[state].get(action)
    if target is None:
        with pytest.raises(InvalidTransition):
            do(action, experiment, ben)
        stored = Experiment.objects.get()
        assert (stored.state, stored.version, ExperimentEvent.objects.count()) == (state, before, events)
        return
    do(action, experiment, ben)
    stored = Experiment.objects.get()
    assert (stored.state, stored.version) == (target, before + 1)
    event = ExperimentEvent.objects.latest("id")
    assert (event.action, event.reason, event.by) == (action, "so", None if action == "halt" else ben)
    assert (event.before["state"], event.after["state"]) == (state, target)
    assert (event.before["version"], event.after["version"]) == (before, before + 1)
    assert {"variants", "metrics", "ramp", "forced"} <= set(event.before) == set(event.after)
    assert (action in {"halt", "kill"}) == bool(event.evidence)
    assert [one.action for one in lifecycle.allowed(state)] == [
        one.action for one in lifecycle.TABLE if one.action in TABLE[state]
    ]


@pytest.mark.parametrize("target", State.values)
@pytest.mark.parametrize("state", State.values)
def test_state_written_by_sql_follows_the_same_table(
    state: str, target: str, people: tuple[User, User]
) -> None:
    experiment = experiment_in(state, people[0])
    times: dict[str, object] = {}
    if target in {"running", "paused", "halted"}:
        times = {"started_at": experiment.started_at or NOW}
    if target in {"stopped", "shipped"}:
        times = {"started_at": experiment.started_at or NOW, "stopped_at": experiment.stopped_at or NOW}
    if target == "shipped":
        times["shipped_variant"] = "gpt-4"

    def write() -> None:
        with transaction.atomic():
            Experiment.objects.update(state=target, version=F("version") + 1, **times)
            # What is checked at the commit needs epochs and an audit, which are not the matter here.
            transaction.set_rollback(True)

    if target == state or target in TABLE[state].values():
        write()
    else:
        with pytest.raises(IntegrityError, match=r"cannot go|times_fit_state|started or ended"):
            write()


def test_version_that_does_not_grow_is_refused(people: tuple[User, User]) -> None:
    experiment = experiment_in("running", people[0])
    for version in (experiment.version, experiment.version - 1):
        with pytest.raises(IntegrityError, match="makes a new version"), transaction.atomic():
            Experiment.objects.update(name="another", version=version)


@pytest.mark.parametrize(("by_person", "reason"), [(False, "looked at it"), (True, ""), (True, "  \n")])
@pytest.mark.parametrize("way", ["kill", "halt"])
def test_resume_of_a_halted_experiment_needs_a_person_and_a_reason(
    way: str, by_person: bool, reason: str, people: tuple[User, User]
) -> None:
    experiment = do(way, experiment_in("running", people[0]), people[0])
    with pytest.raises(NeedsPerson) as refused:
        lifecycle.resume(experiment, by=people[0] if by_person else None, now=LATER, reason=reason)
    assert refused.value.field == "reason"
    assert Experiment.objects.get().state == State.HALTED
    resumed = lifecycle.resume(experiment, by=people[0], now=LATER, reason="looked at it")
    assert resumed.state == State.RUNNING


def test_resume_of_a_paused_experiment_needs_neither(people: tuple[User, User]) -> None:
    experiment = experiment_in("paused", people[0])
    assert lifecycle.resume(experiment, by=None, now=LATER).state == State.RUNNING


def test_halt_keeps_its_evidence(people: tuple[User, User]) -> None:
    lifecycle.halt(
        experiment_in("running", people[0]), {"z": -4.2, "units": ["u"]}, now=LATER, reason="worse"
    )
    event = ExperimentEvent.objects.latest("id")
    assert (event.action, event.by, event.evidence) == ("halt", None, {"z": -4.2, "units": ["u"]})


@pytest.mark.parametrize("starts_at", [None, NOW, NOW - timedelta(seconds=1)])
def test_schedule_without_a_time_to_come_is_refused(starts_at: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        lifecycle.schedule(draft(starts_at=starts_at), by=None, now=NOW)
    assert refused.value.field == "starts_at"


def test_schedule_takes_a_time_and_refuses_an_end_before_it() -> None:
    experiment = draft(stops_at=LATER)
    with pytest.raises(InvalidInput) as refused:
        lifecycle.schedule(experiment, by=None, now=NOW, at=LATER + timedelta(days=1))
    assert refused.value.field == "stops_at"
    at = NOW + timedelta(hours=1)
    assert lifecycle.schedule(experiment, by=None, now=NOW, at=at).starts_at == at


def test_schedule_of_an_incomplete_draft_is_refused() -> None:
    with pytest.raises(NotReady):
        lifecycle.schedule(draft({"a": 10_000}, "a", starts_at=LATER), by=None, now=NOW)


def test_ship_of_an_unknown_variant_is_refused(people: tuple[User, User]) -> None:
    with pytest.raises(InvalidInput) as refused:
        lifecycle.ship(experiment_in("stopped", people[0]), "gpt-5", by=None, now=NOW)
    assert refused.value.field == "variant"


def test_two_person_rule_needs_an_approval_of_another(people: tuple[User, User]) -> None:
    ann, ben = people
    experiment = draft(requires_review=True, **SOON)
    for move in (lifecycle.start, lifecycle.schedule):
        with pytest.raises(NotReady, match="two-person"):
            move(experiment, by=ann, now=NOW)
    experiment = lifecycle.request_review(experiment, by=ann, now=NOW)
    with pytest.raises(NeedsPerson):
        lifecycle.approve(experiment, by=ann, now=NOW)
    with pytest.raises(NotReady, match="two-person"):
        lifecycle.start(experiment, by=ben, now=NOW)
    experiment = lifecycle.approve(experiment, by=ben, now=NOW)
    assert lifecycle.start(experiment, by=ann, now=NOW).is_running


def test_two_person_rule_approval_is_void_when_it_goes_back(people: tuple[User, User]) -> None:
    ann, ben = people
    experiment = lifecycle.request_review(draft(requires_review=True), by=ann, now=NOW)
    experiment = lifecycle.approve(experiment, by=ben, now=NOW)
    experiment = lifecycle.back_to_draft(experiment, by=ann, now=NOW)
    with pytest.raises(NotReady, match="two-person"):
        lifecycle.start(experiment, by=ann, now=NOW)


@pytest.mark.parametrize("approver", [None, "ann", "nobody"])
def test_two_person_rule_written_by_sql_is_refused(approver: str | None, people: tuple[User, User]) -> None:
    """Nobody approved, the requester did, or the system did."""
    ann, _ = people
    experiment = lifecycle.request_review(draft(requires_review=True), by=ann, now=NOW)
    if approver:
        experiment.version += 1
        experiment.approved_version = experiment.version
        with transaction.atomic():
            experiment.save()
            by = ann if approver == "ann" else None
            audit.write(Change(experiment), "approve", by=by, now=NOW, reason="", before={})
    with pytest.raises(IntegrityError, match="nobody else approved"), transaction.atomic():
        Experiment.objects.update(
            state=State.RUNNING, started_at=NOW, version=F("version") + 1, approved_version=experiment.version
        )


def test_checklist_names_everything_in_sentences() -> None:
    experiment = draft(
        {f"arm-{n}": 100 for n in range(101)}, "arm-0", design="group_sequential", coverage_bp=5_000
    )
    RampStep.objects.create(experiment=experiment, coverage_bp=5_000)
    metric = ExperimentMetric.objects.create(experiment=experiment, key="m", name="m", source="response:cost")
    ExperimentMetric.objects.filter(pk=metric.pk).update(source="nonsense")
    Variant.objects.filter(key="arm-1").update(config={"model": 1})
    experiment.config_schema = {"properties": {"model": {"type": "string"}}}
    missing = lifecycle.missing_for_start(experiment, list(experiment.variants.order_by("position")))
    assert missing[:4] == [
        "It has 101 variants; the most is 100.",
        "The weights sum to 101 %; make them 100 %.",
        "A group sequential design needs a planned sample; the page “Power” helps to find it.",
        "The ramp does not grow: each step needs a larger coverage than the one before, and than the first.",
    ]
    assert missing[4].startswith("Variant arm-1 does not fit the schema: model: 1 is not of type")
    assert missing[5].startswith("Metric m: source is not valid:")
    assert len(missing) == 6
    assert all(said.endswith(".") and not said.endswith("..") for said in missing)


def test_recommendations_say_what_a_careful_person_would_add() -> None:
    said = lifecycle.recommended_for_start(draft())
    assert [sentence.split(":")[0] for sentence in said] == [
        "There is no primary metric",
        "There is no guardrail",
        "There is no hypothesis",
        "There is no planned sample",
        "There is no owner",
    ]


def test_stop_closes_the_epoch_and_the_deferred_check_agrees(people: tuple[User, User]) -> None:
    experiment = experiment_in("stopped", people[0])
    assert experiment.epochs.get().ended_at == experiment.stopped_at
    connection.check_constraints()


def assign(experiment: Experiment, variant: str, count: int) -> None:
    row = experiment.variants.get(key=variant)
    Assignment.objects.bulk_create(
        Assignment(experiment=experiment, unit=f"{variant}-{n}", variant=row, bucket=0.5, assigned_at=NOW)
        for n in range(count)
    )


def killed(experiment: Experiment) -> dict[str, Any]:
    lifecycle.kill(experiment, by=None, now=LATER, reason="wrong doses")
    found: dict[str, Any] = ExperimentEvent.objects.get(action="kill").evidence
    assert found["headline"] == "The kill switch of llm_model_ab_test was used. wrong doses"
    return found


def test_kill_before_any_look_freezes_how_many_were_assigned() -> None:
    experiment = running()
    for variant, count in (("gpt-4", 5), ("claude-2", 3), ("llama2-70b", 1)):
        assign(experiment, variant, count)
    assert killed(experiment) == {
        "headline": "The kill switch of llm_model_ab_test was used. wrong doses",
        "control": "gpt-4",
        "affected_count": 4,
        "affected": "3 units of claude-2, 1 unit of llama2-70b",
        "units": {"gpt-4": 5, "claude-2": 3, "llama2-70b": 1},
        "units_source": "assigned",
        "units_are_at_least": False,
        "look": None,
    }


def test_kill_counts_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_evidence, "MOST_COUNTED", 2)
    experiment = running()
    assign(experiment, "claude-2", 3)
    found = killed(experiment)
    assert (found["affected_count"], found["units_are_at_least"]) == (2, True)
    assert found["affected"] == "at least 2 units of claude-2, 0 units of llama2-70b"


def test_kill_goes_on_when_the_database_does_not_count_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(variants: object) -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")
        return {}

    monkeypatch.setattr(kill_evidence, "_assigned", slow)
    assert set(killed(running())) == {"headline"}
    assert Experiment.objects.get().state == State.HALTED
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() != ("200ms",)


def test_limit_of_time_ends_with_the_count_within_a_larger_transaction() -> None:
    killed(running())
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() != ("200ms",)
