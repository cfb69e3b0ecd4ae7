"""The state machine of an incident: firing -> acknowledged -> recovering -> resolved.

Every transition is one event, one new version and, where somebody is told, one message per channel, in one transaction.
Locks are taken in one order: the monitor, where there is one, then the incident.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from monitoring import messages, metrics
from monitoring.models import (
    Channel,
    EventKind,
    Incident,
    IncidentEvent,
    IncidentState,
    MessageKind,
    Monitor,
    MonitorSlice,
    Resolution,
    Signal,
)

log = structlog.get_logger(__name__)

PERSONS_RESOLUTIONS = (Resolution.FIXED, Resolution.EXPECTED, Resolution.FALSE_POSITIVE)
"""Reasons that a person may give; the others are found by the product."""


class InvalidTransition(Exception):
    """The incident is not in a state from which this is possible."""


class IncidentChanged(Exception):
    """Somebody else changed the incident in between; look again and decide anew."""


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
        found.alarm_count += 1
        found.effect = effect
        found.save(update_fields=["alarm_count", "effect"])
        relapse(found, now=now)
        if found.signal == Signal.ANOMALY and signal == Signal.DRIFT:
            _move(
                found,
                EventKind.ESCALATED,
                now=now,
                tell=MessageKind.TRIGGER,
                details={"effect": effect, "log_evidence": log_evidence},
                signal=signal,
                severity=severity,
                title=title[:300],
            )
        return found
    incident = Incident.objects.create(
        monitor=place.monitor,
        slice_key=place.key,
        labels=place.labels,
        signal=signal,
        title=title[:300],
        severity=severity,
        onset_at=min(onset_at, now),
        opened_at=now,
        effect=effect,
        evidence=evidence,
    )
    details = {"effect": effect, "log_evidence": log_evidence, "onset_at": onset_at.isoformat()}
    _begin(incident, details, by=None, now=now)
    return incident


def note_slice(incident: Incident, key: str, details: dict[str, Any], *, now: datetime) -> None:
    """An alarm about a part, or about the whole, of what is told already: written down, told to nobody."""
    _move(incident, EventKind.NOTED, now=now, details={"slice": key, **details})


def notes_of(key: str, on: Collection[UUID]) -> list[tuple[UUID, str]]:
    """On which of these incidents a slice was noted, and with which label."""
    if not on:
        return []
    found = IncidentEvent.objects.filter(incident__in=on, kind=EventKind.NOTED, details__slice=key)
    return [(pk, label or "") for pk, label in found.values_list("incident", "details__label")]


def noted_slices(incident: Incident) -> set[str]:
    """Keys of the slices whose alarms were noted on it instead of being told."""
    return set(incident.events.filter(kind=EventKind.NOTED).values_list("details__slice", flat=True))


def open_unless_known(
    incident: Incident,
    *,
    details: dict[str, Any],
    by: User | None,
    now: datetime,
    channels: Iterable[Channel] | None = None,
) -> bool:
    """Open an incident of an experiment or of a check; False when there is one of this halt, or an open one of the same.

    channels: who is told; by default who always is. The monitor, where there is one, must be locked.
    """
    # Waits for another worker's transaction that inserts the same, and goes on when that is rolled back.
    Incident.objects.bulk_create([incident], ignore_conflicts=True)
    if not Incident.objects.filter(pk=incident.pk).exists():
        return False
    _begin(incident, details, by=by, now=now, channels=channels)
    return True


def _begin(
    incident: Incident,
    details: dict[str, Any],
    *,
    by: User | None,
    now: datetime,
    channels: Iterable[Channel] | None = None,
) -> None:
    IncidentEvent.objects.create(
        incident=incident, seq=1, kind=EventKind.OPENED, at=now, by=by, details=details
    )
    messages.enqueue(incident, MessageKind.TRIGGER, now=now, channels=channels)
    _after_commit(metrics.INCIDENTS_OPENED.labels(incident.severity).inc)
    _after_commit(partial(log.warning, "incident.opened", **_ids(incident)))


def open_incident(place: MonitorSlice) -> Incident | None:
    return (
        Incident.objects.open()
        .filter(monitor=place.monitor, slice_key=place.key)
        .select_related("monitor")
        .first()
    )


def recover(incident: Incident, *, now: datetime) -> None:
    """Enough good judgements to say so."""
    if incident.state != IncidentState.RECOVERING:
        _move(incident, EventKind.RECOVERING, now=now, state=IncidentState.RECOVERING)


def relapse(incident: Incident, *, now: datetime) -> None:
    """A bad judgement, or another alarm, while it was recovering: back to where it was."""
    if incident.state == IncidentState.RECOVERING:
        state = IncidentState.FIRING if incident.acknowledged_at is None else IncidentState.ACKNOWLEDGED
        _move(incident, EventKind.RELAPSED, now=now, state=state)


def worsen(incident: Incident, *, title: str, severity: str, details: dict[str, Any], now: datetime) -> None:
    """It is worse than was told: tell it anew. The monitor must be locked."""
    said = {"title": title, **details}
    _move(
        incident,
        EventKind.ESCALATED,
        now=now,
        tell=MessageKind.TRIGGER,
        details=said,
        title=title[:300],
        severity=severity,
    )


def end(
    incident: Incident,
    resolution: Resolution,
    *,
    now: datetime,
    by: User | None = None,
    note: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Resolve because it is over; `by`: who ended it elsewhere. The monitor, or the experiment's incident, must be locked."""
    _resolve(incident, resolution, by=by, note=note, details=details, now=now)


def locked_open(incident_id: UUID) -> Incident | None:
    """The incident, locked; None when it was resolved meanwhile."""
    incident = _locked(incident_id)
    return incident if incident.is_open else None


def acknowledge(incident_id: UUID, *, by: User, now: datetime) -> Incident:
    """Somebody takes care of it; nothing happens when it was acknowledged before. Raises InvalidTransition."""
    with transaction.atomic():
        incident = _locked(incident_id)
        if incident.state == IncidentState.ACKNOWLEDGED:
            return incident
        if incident.state != IncidentState.FIRING:
            raise InvalidTransition(f"An incident that is {incident.state} cannot be acknowledged.")
        changes: dict[str, Any] = {
            "state": IncidentState.ACKNOWLEDGED,
            "acknowledged_at": now,
            "acknowledged_by": by,
        }
        _move(incident, EventKind.ACKNOWLEDGED, now=now, by=by, tell=MessageKind.ACKNOWLEDGE, **changes)
        _after_commit(partial(log.info, "incident.acknowledged", **_ids(incident)))
    return incident


def resolve(
    incident_id: UUID, resolution: Resolution, *, by: User, note: str = "", now: datetime
) -> Incident:
    """A person says that it is over, and why; the slice's detector starts anew, an experiment stays halted. Raises InvalidTransition."""
    if resolution not in PERSONS_RESOLUTIONS:
        raise InvalidTransition(f"“{resolution}” is not a reason that a person can give.")
    with transaction.atomic():
        incident = _locked(incident_id)
        if incident.is_open:
            _resolve(incident, resolution, by=by, note=note, now=now)
        elif incident.resolution != resolution:
            raise InvalidTransition(f"The incident was resolved before: {incident.get_resolution_display()}.")
    return incident


def _resolve(
    incident: Incident,
    resolution: Resolution,
    *,
    by: User | None,
    note: str,
    now: datetime,
    details: dict[str, Any] | None = None,
) -> None:
    changes: dict[str, Any] = {
        "state": IncidentState.RESOLVED,
        "resolved_at": now,
        "resolved_by": by,
        "resolution": resolution,
    }
    said = {**(details or {}), "resolution": resolution, "note": note[:1000]}
    _move(incident, EventKind.RESOLVED, now=now, by=by, tell=MessageKind.RESOLVE, details=said, **changes)
    if incident.monitor is not None:
        _start_anew(incident)
    _after_commit(metrics.INCIDENTS_RESOLVED.labels(resolution).inc)
    _after_commit(partial(log.info, "incident.resolved", resolution=str(resolution), **_ids(incident)))


def _start_anew(incident: Incident) -> None:
    """What led to this incident must not open the next one; starting anew never breaks the budget.

    What was only noted on it is told by nobody now, so those slices start anew too: a burn rate fires once until it is below.
    """
    told = Incident.objects.open().filter(monitor=incident.monitor).values_list("slice_key", flat=True)
    keys = {incident.slice_key} | (noted_slices(incident) - set(told))
    MonitorSlice.objects.filter(monitor=incident.monitor, key__in=keys).update(
        evidence={}, recovery={}, log_evidence=None
    )


def _locked(incident_id: UUID) -> Incident:
    monitor_id = Incident.objects.values_list("monitor_id", flat=True).get(pk=incident_id)
    if monitor_id is not None:
        Monitor.objects.select_for_update(no_key=True).get(pk=monitor_id)
    return (
        Incident.objects.select_for_update(no_key=True, of=("self",))
        .select_related("monitor")
        .get(pk=incident_id)
    )


def _move(
    incident: Incident,
    kind: EventKind,
    *,
    now: datetime,
    by: User | None = None,
    tell: MessageKind | None = None,
    details: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Raises IncidentChanged when the incident is not as it was read."""
    unchanged = Incident.objects.filter(pk=incident.pk, version=incident.version)
    if not unchanged.update(version=F("version") + 1, **changes):
        raise IncidentChanged(f"Incident {incident.pk} was changed in between.")
    for name, value in changes.items():
        setattr(incident, name, value)
    incident.version += 1
    IncidentEvent.objects.create(
        incident=incident, seq=incident.version, kind=kind, at=now, by=by, details=details or {}
    )
    if tell is not None:
        messages.enqueue(incident, tell, now=now)


def _ids(incident: Incident) -> dict[str, Any]:
    ids = {"incident_id": str(incident.pk), "severity": incident.severity}
    if incident.monitor_id is None:
        return {**ids, "experiment": incident.experiment}
    return {**ids, "monitor_id": incident.monitor_id}


def _after_commit(call: Callable[[], object]) -> None:
    """A roll-back must leave no trace in logs and counters either."""
    transaction.on_commit(lambda: call() and None)
