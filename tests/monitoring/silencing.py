"""Incidents that are told, and silences, for tests of what holds messages back."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from monitoring import incidents
from monitoring.models import (
    Flag,
    Incident,
    Monitor,
    MonitorSlice,
    OutboxMessage,
    Resolution,
    Severity,
    Signal,
    Silence,
)
from monitoring.quiet import silences, suppression
from monitoring.routing.matchers import parse
from tests.monitoring.factories import START

NOW = START + timedelta(hours=1)
HOUR = timedelta(hours=1)


def opened(monitor: Monitor, *, now: datetime = NOW, key: str = "all", **changes: Any) -> Incident:
    """An alarm, as a check raises it."""
    labels = changes.pop("labels", {})
    place, _ = MonitorSlice.objects.get_or_create(monitor=monitor, key=key, defaults={"labels": labels})
    values: dict[str, Any] = {
        "title": f"{monitor.name} is below 0.8",
        "signal": Signal.DRIFT,
        "severity": Severity.ERROR,
        "onset_at": now - HOUR,
        "effect": {"current": 0.7, "level": 0.8, "difference": -0.1, "low": -0.12, "high": -0.08, "n": 400},
        "evidence": {},
        "log_evidence": 3.0,
    }
    with transaction.atomic():
        return incidents.open_or_note(place, now=now, **values | changes)


def silenced(text: str = 'monitor="helpfulness floor"', *, now: datetime = NOW, **changes: Any) -> Silence:
    values: dict[str, Any] = {
        "starts_at": now,
        "ends_at": now + 2 * HOUR,
        "comment": "being repaired",
        "created_by": "ada",
    }
    return silences.make(parse(text), now=now, **values | changes)


def over(incident: Incident, *, now: datetime) -> None:
    with transaction.atomic():
        found = incidents.locked_open(incident.pk)
        assert found is not None
        incidents.end(found, Resolution.RECOVERED, now=now)


def told(incident: Incident) -> list[tuple[str, str]]:
    """Kind and status of its messages, in order."""
    rows = OutboxMessage.objects.filter(incident=incident).order_by("channel", "seq")
    return list(rows.values_list("kind", "status"))


def flags_of(incident: Incident) -> set[str]:
    return set(incident.flags.active().exclude(kind=Flag.FLAPPING).values_list("kind", flat=True))


def sweep(now: datetime) -> int:
    """Until nothing is left to be done: what one sweep changes may change others."""
    return suppression.tend(now)
