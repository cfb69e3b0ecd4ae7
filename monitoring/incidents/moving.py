"""What every transition has in common: the event, the version, who is told, and what is counted after the commit."""

from datetime import datetime
from functools import partial
from typing import Any

import structlog
from django.contrib.auth.models import User

from monitoring import metrics
from monitoring.history import chain, flags
from monitoring.history.committed import after_commit
from monitoring.incidents.anew import start_anew
from monitoring.models import EventKind, Incident, IncidentState, MessageKind, Resolution
from monitoring.notifying import messages
from monitoring.quiet import held

log = structlog.get_logger(__name__)

PERSONS_RESOLUTIONS = (Resolution.FIXED, Resolution.EXPECTED, Resolution.FALSE_POSITIVE)
"""Reasons that a person may give; the others are found by the product."""


class InvalidTransition(Exception):
    """The incident is not in a state from which this is possible."""


def move(
    incident: Incident,
    kind: EventKind,
    *,
    now: datetime,
    by: User | None = None,
    actor: str = "",
    tell: MessageKind | None = None,
    details: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Raises IncidentChanged when the incident is not as it was read."""
    event = chain.append(incident, kind, now=now, by=by, actor=actor, details=details, **changes)
    if tell is not None:
        messages.enqueue(incident, tell, event=event, now=now)


def conclude(
    incident: Incident,
    resolution: Resolution,
    *,
    by: User | None,
    note: str,
    now: datetime,
    actor: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """The end, for whatever reason; the incident, and its monitor, must be locked."""
    is_told = incident.state != IncidentState.SUSPECT
    changes: dict[str, Any] = {
        "state": IncidentState.RESOLVED,
        "resolved_at": now,
        "resolved_by": by,
        "resolution": resolution,
        "hold_until": None,
    }
    said = {**(details or {}), "resolution": resolution, "note": note[:1000]}
    tell = MessageKind.RESOLVE if is_told else None
    move(incident, EventKind.RESOLVED, now=now, by=by, actor=actor, tell=tell, details=said, **changes)
    flags.end_all(incident, now=now)
    held.drop(incident)
    if not is_told:
        return
    if incident.monitor is not None:
        start_anew(incident)
    after_commit(metrics.INCIDENTS_RESOLVED.labels(resolution).inc)
    after_commit(partial(log.info, "incident.resolved", resolution=str(resolution), **ids(incident)))


def ids(incident: Incident) -> dict[str, Any]:
    found = {"incident_id": str(incident.pk), "severity": incident.severity}
    if incident.monitor_id is not None:
        return {**found, "monitor_id": incident.monitor_id}
    return (
        {**found, "source": incident.source}
        if incident.source
        else {**found, "experiment": incident.experiment}
    )
