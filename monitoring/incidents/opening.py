"""How an incident begins: suspected, found, or noted on one that is open."""

from collections.abc import Collection, Iterable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.contrib.auth.models import User

from monitoring import metrics
from monitoring.history import chain, flapping
from monitoring.history.committed import after_commit
from monitoring.incidents.anew import noted_slices
from monitoring.incidents.moving import ids, move
from monitoring.incidents.recovering import relapse
from monitoring.models import (
    Channel,
    EventKind,
    Incident,
    IncidentEvent,
    IncidentState,
    MessageKind,
    MonitorSlice,
    Signal,
)
from monitoring.notifying import messages
from monitoring.quiet import suppression

__all__ = ["noted_slices"]

log = structlog.get_logger(__name__)


def suspect(
    place: MonitorSlice, *, title: str, severity: str, log_evidence: float, now: datetime
) -> Incident:
    """Evidence that is not enough: seen on pages, told to nobody. The monitor must be locked, and nothing open here."""
    incident = Incident.objects.create(
        monitor=place.monitor,
        slice_key=place.key,
        labels=place.labels,
        title=title[:300],
        severity=severity,
        state=IncidentState.SUSPECT,
        onset_at=now,
        opened_at=now,
    )
    chain.write(incident, EventKind.SUSPECTED, 1, now=now, details={"log_evidence": log_evidence})
    return incident


def open_or_note(
    place: MonitorSlice,
    *,
    title: str,
    signal: Signal,
    severity: str,
    onset_at: datetime,
    effect: dict[str, Any],
    evidence: dict[str, Any],
    log_evidence: float,
    now: datetime,
) -> Incident:
    """An alarm: open an incident, or note it on the one that is open already. The monitor must be locked."""
    found = open_incident(place)
    if found is not None:
        _note(found, title, signal, severity, effect, log_evidence, now)
        return found
    values: dict[str, Any] = {
        "labels": place.labels,
        "signal": signal,
        "title": title[:300],
        "severity": severity,
        "onset_at": min(onset_at, now),
        "opened_at": now,
        "effect": effect,
        "evidence": evidence,
    }
    details = {"effect": effect, "log_evidence": log_evidence, "onset_at": onset_at.isoformat()}
    suspected = _suspected(place)
    if suspected is not None:
        values["state"] = IncidentState.FIRING
        event = chain.append(suspected, EventKind.OPENED, now=now, details=details, **values)
        _tell_beginning(suspected, event, now=now)
        return suspected
    incident = Incident.objects.create(monitor=place.monitor, slice_key=place.key, **values)
    begin(incident, details, by=None, now=now)
    return incident


def _note(
    found: Incident,
    title: str,
    signal: Signal,
    severity: str,
    effect: dict[str, Any],
    log_evidence: float,
    now: datetime,
) -> None:
    found.alarm_count += 1
    found.effect = effect
    found.save(update_fields=["alarm_count", "effect"])
    relapse(found, now=now)
    if found.signal == Signal.ANOMALY and signal == Signal.DRIFT:
        move(
            found,
            EventKind.ESCALATED,
            now=now,
            tell=MessageKind.TRIGGER,
            details={"effect": effect, "log_evidence": log_evidence},
            signal=signal,
            severity=severity,
            title=title[:300],
        )


def note_slice(incident: Incident, key: str, details: dict[str, Any], *, now: datetime) -> None:
    """An alarm about a part, or about the whole, of what is told already: written down, told to nobody."""
    move(incident, EventKind.NOTED, now=now, details={"slice": key, **details})


def notes_of(key: str, on: Collection[UUID]) -> list[tuple[UUID, str]]:
    """On which of these incidents a slice was noted, and with which label."""
    if not on:
        return []
    found = IncidentEvent.objects.filter(incident__in=on, kind=EventKind.NOTED, details__slice=key)
    return [(pk, label or "") for pk, label in found.values_list("incident", "details__label")]


def open_unless_known(
    incident: Incident,
    *,
    details: dict[str, Any],
    by: User | None,
    now: datetime,
    actor: str = "",
    channels: Iterable[Channel] | None = None,
) -> bool:
    """Open an incident that is not a slice's; False when there is one of this halt, or an open one of the same.

    channels: who is told; by default who always is. The monitor, where there is one, must be locked.
    """
    # Waits for another worker's transaction that inserts the same, and goes on when that is rolled back.
    Incident.objects.bulk_create([incident], ignore_conflicts=True)
    if not Incident.objects.filter(pk=incident.pk).exists():
        return False
    begin(incident, details, by=by, actor=actor, now=now, channels=channels)
    return True


def begin(
    incident: Incident,
    details: dict[str, Any],
    *,
    by: User | None,
    now: datetime,
    actor: str = "",
    channels: Iterable[Channel] | None = None,
) -> None:
    event = chain.write(incident, EventKind.OPENED, 1, now=now, by=by, actor=actor, details=details)
    _tell_beginning(incident, event, now=now, channels=channels)


def _tell_beginning(
    incident: Incident, event: IncidentEvent, *, now: datetime, channels: Iterable[Channel] | None = None
) -> None:
    flapping.note_return(incident, now=now)
    suppression.begin(incident, now)
    messages.enqueue(incident, MessageKind.TRIGGER, event=event, now=now, channels=channels)
    after_commit(metrics.INCIDENTS_OPENED.labels(incident.severity).inc)
    after_commit(partial(log.warning, "incident.opened", **ids(incident)))


def open_incident(place: MonitorSlice) -> Incident | None:
    return (
        Incident.objects.open()
        .filter(monitor=place.monitor, slice_key=place.key)
        .select_related("monitor")
        .first()
    )


def _suspected(place: MonitorSlice) -> Incident | None:
    rows = Incident.objects.filter(monitor=place.monitor, slice_key=place.key, state=IncidentState.SUSPECT)
    return rows.select_related("monitor").first()
