from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from prometheus_client import REGISTRY
from pytest_django import DjangoCaptureOnCommitCallbacks

from experiments import audit, drafts, lifecycle
from experiments.audit import Change
from experiments.lifecycle import Changed, InvalidTransition, NotReady
from experiments.models import Experiment, ExperimentEvent, State, Variant
from tests.experiments.factories import NOW, draft, running, stopped

pytestmark = pytest.mark.django_db


def transitions(action: str) -> float:
    labels = {"experiment": "llm_model_ab_test", "action": action}
    return REGISTRY.get_sample_value("triageops_experiment_transitions_total", labels) or 0


def test_start_complete_draft_runs_with_audit(django_user_model: type[User]) -> None:
    ann = django_user_model.objects.create(username="ann")
    experiment = lifecycle.start(draft(), by=ann, now=NOW, reason="agreed on Monday")

    stored = Experiment.objects.get()
    assert (stored.state, stored.started_at, stored.stopped_at) == (State.RUNNING, NOW, None)
    assert stored.version == experiment.version == 2
    event = ExperimentEvent.objects.get(action="start")
    assert (event.action, event.by, event.at, event.reason) == ("start", ann, NOW, "agreed on Monday")
    assert (event.before["state"], event.after["state"]) == ("draft", "running")
    assert event.after["started_at"] == NOW.isoformat()
    assert [variant["weight_bp"] for variant in event.after["variants"]] == [5_000, 3_000, 2_000]


def test_stop_running_experiment_ends_it_with_audit() -> None:
    later = NOW + timedelta(days=3)
    lifecycle.stop(running(), by=None, now=later)

    stored = Experiment.objects.get()
    assert (stored.state, stored.started_at, stored.stopped_at, stored.version) == (
        State.STOPPED,
        NOW,
        later,
        3,
    )
    assert list(ExperimentEvent.objects.values_list("action", flat=True)) == ["stop", "start", "create"]


def test_stop_by_a_clock_that_is_behind_ends_it_when_it_began() -> None:
    experiment = lifecycle.stop(running(), by=None, now=NOW - timedelta(seconds=2))
    assert experiment.stopped_at == NOW


def test_start_of_empty_draft_says_everything_that_is_missing() -> None:
    experiment = draft({}, coverage_bp=0)
    with pytest.raises(NotReady) as refused:
        lifecycle.start(experiment, by=None, now=NOW)

    assert refused.value.members["missing"] == [
        "It has 0 of at least two variants; add 2.",
        "It has 0 controls; mark exactly one variant as the control.",
        "The weights sum to 0 %; make them 100 %.",
        "The coverage is 0 %, so nobody would take part; raise it.",
    ]
    assert Experiment.objects.get().state == State.DRAFT
    assert [event.action for event in ExperimentEvent.objects.all()] == ["create"]


@pytest.mark.parametrize(
    ("weights", "control", "missing"),
    [
        ({"a": 10_000}, "a", "It has 1 of at least two variants; add 1."),
        ({"a": 5_000, "b": 5_000}, None, "It has 0 controls; mark exactly one variant as the control."),
        ({"a": 5_000, "b": 4_999}, "a", "The weights sum to 99.99 %; make them 100 %."),
        ({"a": 5_000, "b": 5_001}, "a", "The weights sum to 100.01 %; make them 100 %."),
    ],
)
def test_start_of_incomplete_draft_names_the_gap(
    weights: dict[str, int], control: str | None, missing: str
) -> None:
    with pytest.raises(NotReady) as refused:
        lifecycle.start(draft(weights, control), by=None, now=NOW)
    assert refused.value.members["missing"] == [missing]


def test_checklist_with_bad_key_and_config_names_the_variant() -> None:
    experiment = draft({})
    experiment.key = "an experiment"
    variants = [
        Variant(experiment=experiment, key="a", is_control=True, weight_bp=5_000, config={"model": "x"}),
        Variant(experiment=experiment, key="b c", weight_bp=5_000, config={"top_p": float("nan")}),
    ]
    missing = lifecycle.missing_for_start(experiment, variants)
    assert [said.split(" is not valid")[0] for said in missing] == [
        "The experiment's key",
        "Variant b c: key",
        "Variant b c: config",
    ]


@pytest.mark.parametrize(
    ("make", "move", "states"),
    [
        (running, lifecycle.start, "is running; start needs it to be draft or review or scheduled"),
        (stopped, lifecycle.start, "is stopped; start needs it to be draft or review or scheduled"),
        (draft, lifecycle.stop, "is draft; stop needs it to be halted or paused or running"),
        (stopped, lifecycle.stop, "is stopped; stop needs it to be halted or paused or running"),
    ],
)
def test_move_from_a_wrong_state_is_refused(
    make: Callable[[], Experiment], move: Callable[..., Any], states: str
) -> None:
    experiment = make()
    with pytest.raises(InvalidTransition, match=states):
        move(experiment, by=None, now=NOW)
    assert Experiment.objects.get().version == experiment.version


def test_start_of_a_draft_that_changed_meanwhile_is_refused() -> None:
    experiment = draft()
    drafts.edit(Experiment.objects.get(), {"name": "another"}, by=None, now=NOW)
    with pytest.raises(Changed):
        lifecycle.start(experiment, by=None, now=NOW)


def test_allowed_moves_follow_the_state() -> None:
    actions = {state: [move.action for move in lifecycle.allowed(state)] for state in State.values}
    assert actions == {
        "draft": ["request_review", "schedule", "start", "archive"],
        "review": ["approve", "back_to_draft", "schedule", "start", "archive"],
        "scheduled": ["back_to_draft", "start", "archive"],
        "running": ["pause", "kill", "halt", "stop"],
        "paused": ["resume", "kill", "halt", "stop"],
        "halted": ["resume", "stop"],
        "stopped": ["ship", "archive"],
        "shipped": ["unship", "archive"],
        "archived": [],
    }


def test_moves_are_counted_when_they_are_committed(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    before = transitions("start"), transitions("stop")
    with django_capture_on_commit_callbacks(execute=False) as waiting:
        experiment = running()
    assert transitions("start") == before[0]
    for callback in waiting:
        callback()
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.stop(experiment, by=None, now=NOW)
    assert (transitions("start"), transitions("stop")) == (before[0] + 1, before[1] + 1)


@pytest.mark.django_db(transaction=True)
def test_start_waits_for_an_edit_of_variants_and_sees_it() -> None:
    experiment = draft()
    is_edited, outcome = Event(), []

    def start() -> None:
        is_edited.wait(10)
        try:
            lifecycle.start(experiment, by=None, now=NOW)
        except NotReady as refused:
            outcome.append(refused.detail)
        finally:
            connection.close()

    thread = Thread(target=start)
    thread.start()
    with transaction.atomic():
        Variant.objects.filter(key="gpt-4").update(weight_bp=4_000)
        audit.write(Change(experiment), "edit", by=None, now=NOW, reason="", before={})
        is_edited.set()
        thread.join(0.5)
        assert thread.is_alive(), "the start did not wait"
    thread.join(10)
    assert outcome == ["The weights sum to 90 %; make them 100 %."]
