"""Incidents that other systems report: one open incident for each key of a source, however often it is reported."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from monitoring.history import flapping
from monitoring.history.chain import IncidentChanged, append
from monitoring.history.locking import locked_open
from monitoring.incidents.moving import conclude
from monitoring.incidents.opening import open_unless_known
from monitoring.incidents.recovering import recover, relapse, worsen
from monitoring.models import EventKind, Incident, Resolution, Severity, Signal, Source

_TRIES = 5
_GRAVER = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2, Severity.CRITICAL: 3}


def report(
    source: Source,
    key: str,
    *,
    title: str,
    severity: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    onset_at: datetime,
    actor: str,
    now: datetime,
    expected_until: datetime | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> Incident:
    """Open an incident, or go on with the open one of this key: a repetition tells nobody, a graver severity does.

    expected_until: resolved when it was not repeated by then.
    """
    incident = Incident(
        source=source,
        slice_key=key,
        reported_by=actor[:150],
        labels=dict(labels),
        annotations=dict(annotations),
        signal=Signal.REPORTED,
        title=title[:300],
        severity=severity,
        onset_at=min(onset_at, now),
        opened_at=now,
        expected_until=expected_until,
        evidence=dict(evidence or {}),
    )
    for _ in range(_TRIES):
        with transaction.atomic():
            # A repetition is the usual case.
            known = _open(source, key)
            if known is not None:
                _go_on(known, incident, now)
                return known
            details = {"onset_at": incident.onset_at.isoformat(), "key": key}
            if open_unless_known(incident, details=details, by=None, actor=actor, now=now):
                return incident
        # Another one opened it at this very moment, or ended it.
    raise IncidentChanged(f"The incident of {key} is opened and ended again and again.")


def _open(source: Source, key: str) -> Incident | None:
    """The open one of this key, locked."""
    found = Incident.objects.open().filter(source=source, slice_key=key).first()
    return None if found is None else locked_open(found.pk)


def report_over(
    source: Source, key: str, *, actor: str, now: datetime, ended_at: datetime | None = None
) -> Incident | None:
    """The source says that it is over; None when nothing of this key is open."""
    with transaction.atomic():
        incident = _open(source, key)
        if incident is not None:
            over(incident, Resolution.REPORTED_OVER, actor=actor, now=now, ended_at=ended_at)
    return incident


def over(
    incident: Incident,
    resolution: Resolution,
    *,
    now: datetime,
    actor: str = "",
    ended_at: datetime | None = None,
) -> None:
    """Resolve it, or, where it comes and goes, hold it until it has been away for long enough. It must be locked."""
    if flapping.is_flapping(incident):
        hold = flapping.REPORTED_HOLD * flapping.HOLD_FACTOR
        recover(incident, now=now, hold_until=now + hold)
        return
    details = {"ended_at": ended_at.isoformat()} if ended_at else None
    conclude(incident, resolution, by=None, actor=actor, note="", details=details, now=now)


def _go_on(known: Incident, said: Incident, now: datetime) -> None:
    relapse(known, now=now)
    known.alarm_count += 1
    known.expected_until = said.expected_until
    known.annotations = said.annotations
    known.save(update_fields=["alarm_count", "expected_until", "annotations"])
    if _GRAVER[Severity(said.severity)] > _GRAVER[Severity(known.severity)]:
        worsen(known, title=said.title, severity=said.severity, details={}, now=now)
    elif said.severity != known.severity:
        # Less grave than it was: kept in the log, no reason to tell anybody.
        details = {"severity": said.severity, "note": "reported as less grave than before"}
        if not known.events.filter(kind=EventKind.NOTED, details__severity=said.severity).exists():
            append(known, EventKind.NOTED, now=now, details=details)
