"""What people do with an incident, here or through another system."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.contrib.auth.models import User
from django.db import transaction

from monitoring.history.committed import after_commit
from monitoring.history.locking import locked
from monitoring.incidents.moving import (
    PERSONS_RESOLUTIONS,
    InvalidTransition,
    conclude,
    ids,
    move,
)
from monitoring.models import EventKind, Incident, IncidentState, MessageKind, Resolution, Usefulness

log = structlog.get_logger(__name__)

COMMENT_MAX = 4_000


def acknowledge(
    incident_id: UUID,
    *,
    by: User | None = None,
    actor: str = "",
    until: datetime | None = None,
    now: datetime,
    details: dict[str, Any] | None = None,
) -> Incident:
    """Somebody takes care of it; when it was acknowledged before, only `until` may change.

    One that recovers goes on recovering, and is acknowledged when it falls back.

    until: it fires again then, unless it is over; None: it does not end. actor: who it is where that is no user of ours. Raises InvalidTransition.
    """
    if until is not None and until <= now:
        raise InvalidTransition("The acknowledgement would have ended already.")
    with transaction.atomic():
        incident = locked(incident_id)
        if not incident.is_open:
            raise InvalidTransition(f"An incident that is {incident.state} cannot be acknowledged.")
        is_known = incident.acknowledged_at is not None
        if is_known and until == incident.acknowledged_until:
            return incident
        changes: dict[str, Any] = {"acknowledged_until": until}
        if not is_known:
            changes |= {"acknowledged_at": now, "acknowledged_by": by}
        if incident.state == IncidentState.FIRING:
            changes["state"] = IncidentState.ACKNOWLEDGED
        said = {**(details or {}), **({"until": until.isoformat()} if until else {})}
        tell = None if is_known else MessageKind.ACKNOWLEDGE
        move(
            incident, EventKind.ACKNOWLEDGED, now=now, by=by, actor=actor, tell=tell, details=said, **changes
        )
        after_commit(partial(log.info, "incident.acknowledged", **ids(incident)))
    return incident


def unacknowledge(
    incident_id: UUID,
    *,
    by: User | None = None,
    actor: str = "",
    now: datetime,
    details: dict[str, Any] | None = None,
) -> Incident:
    """Nobody takes care of it any more: it fires again, and everybody is told. Nothing happens where nobody did."""
    with transaction.atomic():
        incident = locked(incident_id)
        if incident.is_open and incident.acknowledged_at is not None:
            is_well = incident.state == IncidentState.RECOVERING
            move(
                incident,
                EventKind.UNACKNOWLEDGED,
                now=now,
                by=by,
                actor=actor,
                tell=None if is_well else MessageKind.TRIGGER,
                details=details,
                state=incident.state if is_well else IncidentState.FIRING,
                acknowledged_at=None,
                acknowledged_by=None,
                acknowledged_until=None,
            )
            after_commit(partial(log.info, "incident.unacknowledged", **ids(incident)))
        elif not incident.is_open:
            raise InvalidTransition(f"The incident is {incident.state}.")
    return incident


def resolve(
    incident_id: UUID,
    resolution: Resolution,
    *,
    by: User | None = None,
    actor: str = "",
    note: str = "",
    now: datetime,
    details: dict[str, Any] | None = None,
) -> Incident:
    """A person says that it is over, and why; the slice's detector starts anew, an experiment stays halted. Raises InvalidTransition."""
    if resolution not in PERSONS_RESOLUTIONS:
        raise InvalidTransition(f"“{resolution}” is not a reason that a person can give.")
    with transaction.atomic():
        incident = locked(incident_id)
        if incident.is_open:
            conclude(incident, resolution, by=by, actor=actor, note=note, details=details, now=now)
        elif incident.state == IncidentState.SUSPECT:
            raise InvalidTransition("A suspicion passes by itself, or becomes an incident.")
        elif incident.resolution != resolution:
            raise InvalidTransition(f"The incident was resolved before: {incident.get_resolution_display()}.")
    return incident


def comment(
    incident_id: UUID, text: str, *, by: User | None = None, actor: str = "", now: datetime
) -> Incident:
    """Kept with the incident, sent to nobody; also after its end. Raises InvalidTransition when there is no text."""
    said = text.strip().replace("\x00", "")[:COMMENT_MAX]
    if not said:
        raise InvalidTransition("The comment is empty.")
    with transaction.atomic():
        incident = locked(incident_id)
        move(incident, EventKind.COMMENTED, now=now, by=by, actor=actor, details={"note": said})
    return incident


def judge(
    incident_id: UUID,
    usefulness: Usefulness,
    *,
    by: User | None = None,
    actor: str = "",
    now: datetime,
) -> Incident:
    """Whether it was right to tell of it; the last judgement counts, all of them are in the log."""
    with transaction.atomic():
        incident = locked(incident_id)
        if incident.state == IncidentState.SUSPECT:
            raise InvalidTransition("Nobody was told of a suspicion.")
        if incident.usefulness != usefulness:
            move(
                incident,
                EventKind.JUDGED,
                now=now,
                by=by,
                actor=actor,
                details={"usefulness": usefulness, "before": incident.usefulness},
                usefulness=usefulness,
                judged_at=now,
                judged_by=by,
            )
    return incident
