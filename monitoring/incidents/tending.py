"""What time does to incidents: acknowledgements end, holds are over, sources fall silent, what flapped is steady."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from monitoring.history import flags
from monitoring.history.chain import IncidentChanged
from monitoring.history.flapping import FLAP_WINDOW
from monitoring.history.locking import locked_unless_busy
from monitoring.incidents.judging import unacknowledge
from monitoring.incidents.moving import conclude
from monitoring.incidents.reporting import over
from monitoring.models import (
    EventKind,
    Flag,
    Incident,
    IncidentEvent,
    IncidentFlag,
    IncidentState,
    Resolution,
)

log = structlog.get_logger(__name__)

_COMING_AND_GOING = (EventKind.RELAPSED, EventKind.RECOVERING)
_MOST = 500
"""In one sweep of each sort; the next sweep takes the rest."""


def tend(now: datetime) -> int:
    """Move every incident whose time has come; how many."""
    rows = Incident.objects
    return (
        _each(rows.filter(state=IncidentState.ACKNOWLEDGED, acknowledged_until__lte=now), _unattended, now)
        + _each(rows.filter(state=IncidentState.RECOVERING, hold_until__lte=now), _held, now)
        + _each(
            rows.open().exclude(state=IncidentState.RECOVERING).filter(expected_until__lte=now), _silent, now
        )
        + _each(_restful(now), _steady, now)
    )


def _restful(now: datetime) -> QuerySet[Incident]:
    """That flapped, and have neither come nor gone for a whole window."""
    flapping = IncidentFlag.objects.active().filter(kind=Flag.FLAPPING, since__lte=now - FLAP_WINDOW)
    moved = IncidentEvent.objects.filter(
        incident=OuterRef("pk"), kind__in=_COMING_AND_GOING, at__gt=now - FLAP_WINDOW
    )
    rows = Incident.objects.open().exclude(state=IncidentState.RECOVERING)
    return rows.filter(pk__in=flapping.values("incident")).exclude(Exists(moved))


def _each(found: QuerySet[Incident], move: Callable[[Incident, datetime], bool], now: datetime) -> int:
    ids: list[UUID] = list(found.order_by("pk").values_list("pk", flat=True)[:_MOST])
    return sum(_one(incident_id, move, now) for incident_id in ids)


def _one(incident_id: UUID, move: Callable[[Incident, datetime], bool], now: datetime) -> bool:
    """In a transaction of its own; whoever is busy with it has the next word."""
    try:
        with transaction.atomic():
            incident = locked_unless_busy(incident_id)
            return incident is not None and move(incident, now)
    except IncidentChanged:
        log.info("incident.busy", incident_id=str(incident_id))
        return False


def _unattended(incident: Incident, now: datetime) -> bool:
    until = incident.acknowledged_until
    if incident.state != IncidentState.ACKNOWLEDGED or until is None or until > now:
        return False
    unacknowledge(incident.pk, now=now, details={"note": "its time was over", "until": until.isoformat()})
    return True


def _held(incident: Incident, now: datetime) -> bool:
    if incident.state != IncidentState.RECOVERING or incident.hold_until is None or incident.hold_until > now:
        return False
    why = Resolution.REPORTED_OVER if incident.is_reported else Resolution.RECOVERED
    conclude(incident, why, by=None, note="", now=now)
    return True


def _silent(incident: Incident, now: datetime) -> bool:
    """Its source repeats what is still true; what it does not repeat is over, as with Alertmanager."""
    if (
        incident.state == IncidentState.RECOVERING
        or incident.expected_until is None
        or incident.expected_until > now
    ):
        return False
    over(incident, Resolution.FELL_SILENT, now=now)
    return True


def _steady(incident: Incident, now: datetime) -> bool:
    """It stays as it is for a whole window: it does not come and go any more, whatever it was."""
    recent = incident.events.filter(kind__in=_COMING_AND_GOING, at__gt=now - FLAP_WINDOW)
    if recent.exists() or incident.state == IncidentState.RECOVERING:
        return False
    flags.unflag(incident, Flag.FLAPPING, why="steady for an hour", now=now)
    return True
