"""What moves an incident beside its monitor: people, sources and time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from monitoring import incidents
from monitoring.history import chain
from monitoring.history.chain import Sealed
from monitoring.incidents import InvalidTransition
from monitoring.models import (
    Flag,
    Incident,
    IncidentState,
    MessageKind,
    Resolution,
    Source,
    Usefulness,
)
from tests.monitoring.factories import make_channel

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def report(key: str = "k", *, now: datetime = T0, **changes: Any) -> Incident:
    values: dict[str, Any] = {
        "title": "disk is full",
        "severity": "error",
        "labels": {"host": "a"},
        "annotations": {},
        "onset_at": now,
        "actor": "key",
    }
    return incidents.report(Source.API, key, **values | changes, now=now)


def over(now: datetime, key: str = "k") -> Incident | None:
    return incidents.report_over(Source.API, key, actor="key", now=now)


def kinds(incident: Incident) -> list[str]:
    return list(incident.events.values_list("kind", flat=True))


def told() -> list[str]:
    from monitoring.models import OutboxMessage

    return list(OutboxMessage.objects.order_by("id").values_list("kind", flat=True))


def test_report_of_the_same_key_is_one_incident_and_one_message() -> None:
    make_channel()
    first, again = report(), report(now=T0 + MINUTE)
    assert first.pk == again.pk
    assert again.alarm_count == 2
    assert told() == [MessageKind.TRIGGER]


def test_report_that_is_over_is_resolved_and_told_once() -> None:
    make_channel()
    report()
    assert over(T0 + MINUTE).resolution == Resolution.REPORTED_OVER  # type: ignore[union-attr]
    assert over(T0 + 2 * MINUTE) is None
    assert told() == [MessageKind.TRIGGER, MessageKind.RESOLVE]


def test_report_of_a_graver_severity_is_told_anew_and_of_a_lighter_one_not() -> None:
    make_channel()
    report()
    assert report(severity="critical").severity == "critical"
    for _ in range(2):
        assert report(severity="info").severity == "critical"
    assert told() == [MessageKind.TRIGGER, MessageKind.TRIGGER]
    assert kinds(Incident.objects.get()) == ["opened", "escalated", "noted"]


def test_acknowledgement_that_ends_fires_again_and_tells() -> None:
    make_channel()
    incident = report()
    incidents.acknowledge(incident.pk, actor="Eve", until=T0 + 10 * MINUTE, now=T0)
    assert incidents.tend(T0 + 9 * MINUTE) == 0
    assert incidents.tend(T0 + 10 * MINUTE) == 1
    incident.refresh_from_db()
    assert (incident.state, incident.acknowledged_at) == (IncidentState.FIRING, None)
    assert kinds(incident) == ["opened", "acknowledged", "unacknowledged"]
    assert told() == [MessageKind.TRIGGER, MessageKind.ACKNOWLEDGE, MessageKind.TRIGGER]


def test_acknowledgement_without_an_end_does_not_end() -> None:
    incident = report()
    incidents.acknowledge(incident.pk, now=T0)
    assert incidents.tend(T0 + timedelta(days=30)) == 0


def test_acknowledging_twice_changes_nothing_but_the_end() -> None:
    incident = report()
    incidents.acknowledge(incident.pk, actor="Eve", now=T0)
    incidents.acknowledge(incident.pk, actor="Bob", now=T0)
    assert kinds(incident) == ["opened", "acknowledged"]
    changed = incidents.acknowledge(incident.pk, actor="Bob", until=T0 + MINUTE, now=T0)
    assert changed.acknowledged_until == T0 + MINUTE
    assert kinds(incident)[-1] == "acknowledged"
    with pytest.raises(InvalidTransition, match="ended already"):
        incidents.acknowledge(incident.pk, until=T0, now=T0)


def test_source_that_falls_silent_ends_its_incident() -> None:
    incident = report(expected_until=T0 + 4 * MINUTE)
    report(now=T0 + 3 * MINUTE, expected_until=T0 + 7 * MINUTE)
    assert incidents.tend(T0 + 5 * MINUTE) == 0
    assert incidents.tend(T0 + 7 * MINUTE) == 1
    incident.refresh_from_db()
    assert incident.resolution == Resolution.FELL_SILENT


def test_what_comes_back_within_an_hour_flaps_and_is_held_open() -> None:
    make_channel()
    report()
    over(T0 + MINUTE)
    again = report(now=T0 + 2 * MINUTE)
    assert again.flags.get().kind == Flag.FLAPPING
    held = over(T0 + 3 * MINUTE)
    assert held is not None
    assert (held.state, held.hold_until) == (IncidentState.RECOVERING, T0 + 23 * MINUTE)
    assert report(now=T0 + 4 * MINUTE).state == IncidentState.FIRING
    over(T0 + 5 * MINUTE)
    assert incidents.tend(T0 + 24 * MINUTE) == 0
    assert incidents.tend(T0 + 25 * MINUTE) == 1
    again.refresh_from_db()
    assert again.resolution == Resolution.REPORTED_OVER
    assert not again.flags.active().exists()
    assert told() == ["trigger", "resolve", "trigger", "resolve"]


def test_what_comes_back_after_an_hour_does_not_flap() -> None:
    report()
    over(T0 + MINUTE)
    assert not report(now=T0 + 62 * MINUTE).flags.exists()


def test_what_a_person_ended_does_not_flap_when_it_comes_back() -> None:
    incidents.resolve(report().pk, Resolution.FIXED, actor="Eve", now=T0 + MINUTE)
    assert not report(now=T0 + 2 * MINUTE).flags.exists()


def test_comments_and_judgements_are_kept_after_the_end_too() -> None:
    incident = report()
    over(T0 + MINUTE)
    person = User.objects.create_user("eve")
    incidents.comment(incident.pk, " it was the disk ", by=person, now=T0 + 2 * MINUTE)
    for usefulness in (Usefulness.NOISE, Usefulness.NOISE, Usefulness.USEFUL):
        judged = incidents.judge(incident.pk, usefulness, by=person, now=T0 + 3 * MINUTE)
    assert (judged.usefulness, judged.judged_by) == (Usefulness.USEFUL, person)
    assert kinds(incident) == ["opened", "resolved", "commented", "judged", "judged"]
    assert incident.events.get(kind="commented").details == {"note": "it was the disk"}
    with pytest.raises(InvalidTransition, match="empty"):
        incidents.comment(incident.pk, " \x00 ", by=person, now=T0)


def test_every_log_is_intact() -> None:
    make_channel()
    incident = report()
    incidents.acknowledge(incident.pk, actor="Eve", until=T0 + MINUTE, now=T0)
    incidents.tend(T0 + MINUTE)
    over(T0 + 2 * MINUTE)
    incident.refresh_from_db()
    found = chain.verify(Sealed.of(one) for one in incident.events.order_by("seq"))
    assert (found.is_intact, found.event_count) == (True, incident.version)


def test_acknowledging_what_recovers_holds_when_it_falls_back() -> None:
    make_channel()
    report()
    over(T0 + MINUTE)
    incident = report(now=T0 + 2 * MINUTE)
    over(T0 + 3 * MINUTE)
    found = incidents.acknowledge(incident.pk, actor="Eve", now=T0 + 4 * MINUTE)
    assert (found.state, found.acknowledged_at) == (IncidentState.RECOVERING, T0 + 4 * MINUTE)
    assert report(now=T0 + 5 * MINUTE).state == IncidentState.ACKNOWLEDGED
    over(T0 + 6 * MINUTE)
    back = incidents.unacknowledge(incident.pk, actor="Eve", now=T0 + 7 * MINUTE)
    assert (back.state, back.acknowledged_at) == (IncidentState.RECOVERING, None)
    assert report(now=T0 + 8 * MINUTE).state == IncidentState.FIRING
