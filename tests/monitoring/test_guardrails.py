import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.urls import reverse
from pytest_django import Settings

from experiments import lifecycle
from experiments.models import Experiment, State
from monitoring import guardrails, incidents, tasks
from monitoring.channels.channel import Notice, Outgoing
from monitoring.channels.slack import Slack
from monitoring.models import (
    Incident,
    IncidentEvent,
    IncidentState,
    MessageKind,
    OutboxMessage,
    Resolution,
    Severity,
)
from monitoring.notifying import messages, payloads
from tests.monitoring.factories import make_channel, make_incident, make_monitor
from tests.monitoring.halts import AT, EVIDENCE, SOON, change, halt, running
from tests.monitoring.test_races import at_once

pytestmark = pytest.mark.django_db

SMALL = "a group with fewer than 20 records, which is not named here"
LATER = SOON + timedelta(hours=3)


@pytest.fixture(autouse=True)
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No broker is asked; how often delivery would have been woken."""
    found: list[str] = []
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: found.append("woken"))
    return found


def running_of(incident: Incident) -> Experiment:
    return Experiment.objects.get(key=incident.experiment)


def kinds(incident: Incident) -> list[str]:
    return list(incident.events.values_list("kind", flat=True))


def opened(**changes: Any) -> Incident:
    """The incident of an experiment that has just been halted."""
    halt(running(), **changes)
    assert guardrails.open_halts(SOON) == 1
    return Incident.objects.get()


def payload_of(evidence: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    make_channel()
    opened(evidence=evidence, **changes)
    payload: dict[str, Any] = OutboxMessage.objects.get().payload
    return payload


def test_halt_opens_an_incident_with_the_evidence_as_it_was() -> None:
    event = halt(running())
    assert guardrails.open_halts(SOON) == 1
    incident = Incident.objects.get()
    assert (incident.monitor, incident.experiment, incident.experiment_event) == (
        None,
        "llm_model_ab_test",
        event.pk,
    )
    assert (incident.state, incident.severity) == (IncidentState.FIRING, Severity.CRITICAL)
    assert incident.title == (
        "llm_model_ab_test was halted by its guardrail helpful answers: "
        "claude-2 is worse than gpt-4 on helpful answers by 4.1 points (2.2 to 6.0)"
    )
    assert incident.evidence == EVIDENCE
    assert incident.labels == {"variant": "claude-2"}
    assert (incident.onset_at, incident.opened_at) == (AT - timedelta(hours=3), AT)
    assert kinds(incident) == ["opened"]
    assert incident.events.get().details["experiment_event"] == event.pk


def test_halt_that_has_an_incident_opens_no_other() -> None:
    opened()
    assert guardrails.open_halts(SOON) == 0
    incidents.resolve(
        Incident.objects.get().pk, Resolution.FALSE_POSITIVE, by=User.objects.create(username="ann"), now=SOON
    )
    # Still halted, but a person has said that it is over.
    assert guardrails.open_halts(LATER) == guardrails.close_ended(LATER) == 0
    assert Incident.objects.count() == 1


def test_other_changes_of_experiments_open_nothing() -> None:
    experiment = running()
    change(experiment, "pause", State.PAUSED)
    change(experiment, "resume", State.RUNNING)
    assert guardrails.open_halts(SOON) == guardrails.close_ended(SOON) == 0
    assert not Incident.objects.exists()


def test_kill_switch_of_a_person_is_an_error_and_says_who(admin_user: User) -> None:
    make_channel()
    evidence = {"headline": "Everybody gets the control", "affected_count": 1300}
    change(running(), "kill", State.HALTED, by=admin_user, evidence=evidence)
    assert guardrails.open_halts(SOON) == 1
    incident = Incident.objects.get()
    assert incident.severity == Severity.ERROR
    assert incident.title == "llm_model_ab_test was halted by the kill switch: Everybody gets the control"
    assert incident.events.get().by == admin_user
    payload = OutboxMessage.objects.get().payload
    assert (payload["summary"], payload["where"], payload["affected_count"]) == (
        "Everybody gets the control",
        "all variants",
        1300,
    )
    assert (payload["metric"], payload["effect"], payload["effect_text"]) == (None, None, "")


@pytest.mark.parametrize(
    "onset_at", [None, "yesterday", 5, "9999-99-99", (AT + timedelta(days=1)).isoformat()]
)
def test_onset_that_is_unknown_or_later_is_the_halt(onset_at: object) -> None:
    assert opened(evidence=EVIDENCE | {"onset_at": onset_at}).onset_at == AT


def test_halt_without_any_evidence_is_told_all_the_same() -> None:
    payload = payload_of(evidence={})
    assert payload["title"] == "llm_model_ab_test was halted by its guardrail"
    assert payload["summary"] == "llm_model_ab_test was halted by its guardrail."


def test_message_says_what_where_and_how_much(settings: Settings) -> None:
    settings.BASE_URL = "https://triage.example.org"
    payload = payload_of()
    incident = Incident.objects.get()
    assert (payload["experiment"], payload["monitor"]) == ("llm_model_ab_test", None)
    assert payload["summary"] == EVIDENCE["headline"]
    assert payload["effect_text"].startswith("79.1")
    assert payload["effect"] == {
        "current": 0.791, "level": 0.832, "difference": -0.041, "low": -0.06, "high": -0.022, "n": 1240,
    }  # fmt: skip
    assert (payload["where"], payload["affected_count"]) == ("variant claude-2", 1300)
    assert payload["incident_url"] == payloads.incident_url(incident)
    assert payload["experiment_url"] == (
        "https://triage.example.org"
        + reverse("admin:experiments_experiment_changelist")
        + "?q=llm_model_ab_test"
    )
    # Answers are found on the page, by those who may see them.
    assert "r-1" not in str(payload)


@pytest.mark.parametrize("name", ["n_treatment", "n_control", "affected_count"])
def test_message_names_no_group_below_twenty(name: str) -> None:
    payload = payload_of(evidence=EVIDENCE | {name: 19})
    assert payload["title"] == f"llm_model_ab_test was halted: {SMALL}"
    assert (payload["where"], payload["labels"], payload["effect"]) == (SMALL, {}, None)
    assert (payload["effect_text"], payload["affected_count"]) == ("", None)
    for word in ("claude-2", "gpt-4", "4.1", "0.791", "1300"):
        assert word not in str({**payload, "incident_id": "", "incident_url": ""})


def test_channels_that_take_no_experiments_are_not_told() -> None:
    make_channel("yes")
    make_channel("no", takes_experiments=False)
    make_channel("off", is_enabled=False)
    incident = opened()
    told = incident.messages.values_list("channel__name", flat=True)
    # A disabled one waits, seen.
    assert sorted(told) == ["off", "yes"]


def test_incident_of_a_monitor_is_told_to_the_monitors_channels_whatever_they_say_of_experiments() -> None:
    make_channel("other")
    incident = make_incident(make_monitor(channels=(make_channel("own", takes_experiments=False),)))
    messages.enqueue(incident, MessageKind.TRIGGER, now=AT)
    message = OutboxMessage.objects.get()
    assert message.channel.name == "own"
    assert (message.payload["experiment"], message.payload["experiment_url"]) == (None, "")


def test_slack_message_links_to_the_experiment() -> None:
    make_channel(kind="slack")
    opened()
    message = OutboxMessage.objects.get()
    body = Slack("https://hooks.slack.com/services/x").body(
        Notice((Outgoing("msg_1", "trigger", message.payload),))
    )
    said = json.dumps(body, ensure_ascii=False)
    assert "Open experiment" in said
    assert "?q=llm_model_ab_test" in said
    assert "*Affected*\\n1\N{NARROW NO-BREAK SPACE}300 units" in said
    assert "Budget" not in said


def test_incident_stays_open_while_the_experiment_is_halted() -> None:
    incident = opened()
    assert guardrails.close_ended(LATER) == 0
    incident.refresh_from_db()
    assert incident.is_open


def test_incident_is_resolved_when_a_person_resumes_the_experiment(admin_user: User) -> None:
    make_channel()
    incident = opened()
    experiment = running_of(incident)
    event = change(
        experiment, "resume", State.RUNNING, at=LATER, by=admin_user, reason="The prompt was mended."
    )
    assert guardrails.close_ended(LATER) == 1
    assert guardrails.close_ended(LATER) == guardrails.open_halts(LATER) == 0
    incident.refresh_from_db()
    assert (incident.state, incident.resolution) == (IncidentState.RESOLVED, Resolution.RESUMED)
    assert (incident.resolved_by, incident.resolved_at) == (admin_user, LATER)
    over = incident.events.get(kind="resolved")
    assert over.by == admin_user
    assert over.details == {
        "experiment_event": event.pk,
        "action": "resume",
        "resolution": "resumed",
        "note": "The prompt was mended.",
    }
    payload = OutboxMessage.objects.get(kind=MessageKind.RESOLVE).payload
    assert "the experiment was resumed" in payload["summary"]
    assert "mended" not in str(payload)


@pytest.mark.parametrize(
    ("action", "state", "resolution"),
    [
        ("stop", State.STOPPED, Resolution.STOPPED),
        ("resume", State.RUNNING, Resolution.RESUMED),
    ],
)
def test_incident_says_how_the_halt_ended(action: str, state: State, resolution: Resolution) -> None:
    incident = opened()
    change(running_of(incident), action, state, at=LATER)
    assert guardrails.close_ended(LATER) == 1
    incident.refresh_from_db()
    assert incident.resolution == resolution


def test_incident_is_not_resolved_by_a_change_that_leaves_the_experiment_halted() -> None:
    incident = opened()
    change(running_of(incident), "edit", State.HALTED, at=LATER)
    assert guardrails.close_ended(LATER) == 0


def test_halt_that_is_over_before_anybody_looked_is_opened_and_resolved() -> None:
    make_channel()
    experiment = running()
    halt(experiment)
    change(experiment, "resume", State.RUNNING, at=SOON)
    assert guardrails.open_halts(SOON) == 1
    incident = Incident.objects.get()
    assert (incident.state, incident.resolution) == (IncidentState.RESOLVED, Resolution.RESUMED)
    assert kinds(incident) == ["opened", "resolved"]
    assert list(incident.messages.order_by("seq").values_list("kind", flat=True)) == ["trigger", "resolve"]


def test_second_halt_before_anybody_looked_ends_the_first_incident() -> None:
    first = opened()
    experiment = running_of(first)
    change(experiment, "resume", State.RUNNING, at=SOON)
    event = halt(experiment, at=LATER)
    assert guardrails.open_halts(LATER) == 1
    first.refresh_from_db()
    assert first.resolution == Resolution.RESUMED
    assert Incident.objects.open().get().experiment_event == event.pk


def test_kill_switch_on_top_of_a_halt_has_the_open_incident() -> None:
    first = opened()
    change(running_of(first), "kill", State.HALTED, at=LATER)
    assert guardrails.open_halts(LATER) == 1
    assert guardrails.open_halts(LATER) == guardrails.close_ended(LATER) == 0
    first.refresh_from_db()
    assert first.resolution == Resolution.STOPPED
    assert Incident.objects.open().get().severity == Severity.ERROR


def test_halts_of_several_experiments_each_have_an_incident() -> None:
    for key in ("a", "b"):
        halt(running(key))
    assert guardrails.open_halts(SOON) == 2
    assert set(Incident.objects.open().values_list("experiment", flat=True)) == {"a", "b"}


@pytest.mark.django_db(transaction=True)
def test_halts_seen_by_several_workers_at_once_open_one_incident_each() -> None:
    make_channel()
    found = [halt(running(f"e{number}")) for number in range(5)]
    counts: list[int] = []
    at_once(lambda: counts.append(guardrails.open_halts(SOON)))
    assert sum(counts) == 5
    assert set(Incident.objects.values_list("experiment_event", flat=True)) == {event.pk for event in found}
    assert Incident.objects.count() == OutboxMessage.objects.count() == IncidentEvent.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_end_seen_by_several_workers_at_once_is_told_once() -> None:
    make_channel()
    incident = opened()
    change(running_of(incident), "resume", State.RUNNING, at=LATER)
    counts: list[int] = []
    at_once(lambda: counts.append(guardrails.close_ended(LATER)))
    assert sum(counts) == 1
    assert kinds(incident) == ["opened", "resolved"]
    assert incident.messages.filter(kind=MessageKind.RESOLVE).count() == 1


def test_incident_is_about_a_monitor_or_an_experiment() -> None:
    values = {"title": "x", "severity": "error", "onset_at": AT, "opened_at": AT, "slice_key": "all"}
    both = {"monitor": make_monitor(), "experiment": "e"}
    for about in ({}, both):
        with (
            pytest.raises(IntegrityError, match="incident_has_one_origin"),
            transaction.atomic(),
        ):
            Incident.objects.create(**values, **about)


@pytest.mark.parametrize("change", [{"evidence": {}}, {"experiment": "other"}, {"experiment_event": 12345}])
def test_evidence_of_an_incident_is_never_changed(change: dict[str, Any]) -> None:
    incident = opened()
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        Incident.objects.filter(pk=incident.pk).update(**change)


def test_task_says_how_many_it_opened_and_resolved_and_wakes_delivery_only_then(
    wakes: list[str], django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    experiment = running()
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.watch_experiments() == 0
    assert wakes == []
    halt(experiment)
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.watch_experiments() == 1
    assert wakes == ["woken"]


def test_reason_of_a_person_is_on_the_incident_but_in_no_message(admin_user: User) -> None:
    """With what experiments themselves write."""
    make_channel()
    experiment = running()
    lifecycle.kill(experiment, by=admin_user, now=AT, reason="Mrs Doe got the wrong dose.")
    assert guardrails.open_halts(SOON) == 1
    incident = Incident.objects.get()
    assert "Mrs Doe" in incident.evidence["headline"]
    assert incident.title == "llm_model_ab_test was halted by the kill switch"
    experiment.refresh_from_db()
    lifecycle.resume(experiment, by=admin_user, now=LATER, reason="Mrs Doe is well.")
    assert guardrails.close_ended(LATER) == 1
    incident.refresh_from_db()
    assert (incident.resolution, incident.resolved_by) == (Resolution.RESUMED, admin_user)
    assert incident.events.get(kind="resolved").details["note"] == "Mrs Doe is well."
    sent = list(OutboxMessage.objects.order_by("seq").values_list("kind", "payload"))
    assert [kind for kind, _ in sent] == ["trigger", "resolve"]
    assert "Mrs Doe" not in str(sent)


def test_halt_and_stop_of_experiments_themselves_open_and_resolve(admin_user: User) -> None:
    experiment = running()
    lifecycle.halt(experiment, EVIDENCE, now=AT, reason="worse than the margin")
    assert guardrails.open_halts(SOON) == 1
    assert Incident.objects.get().evidence == EVIDENCE
    experiment.refresh_from_db()
    lifecycle.stop(experiment, by=admin_user, now=LATER)
    assert guardrails.close_ended(LATER) == 1
    assert Incident.objects.get().resolution == Resolution.STOPPED
