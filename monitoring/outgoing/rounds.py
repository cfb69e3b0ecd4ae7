"""A round: from when an incident fires, or fires again, until somebody takes care of it. Steps and reminders belong to one."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from uuid import UUID

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError
from django.db.models import Exists, Max, OuterRef, QuerySet

from monitoring.history.chain import IncidentChanged
from monitoring.models import SUPPRESSING, EventKind, Incident, IncidentEvent, IncidentFlag, OutboxMessage

log = structlog.get_logger(__name__)

_MISTAKES = (
    IncidentChanged,
    DatabaseError,
    ObjectDoesNotExist,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
)
"""What one incident, route or channel can be wrong in."""


def unattended(incidents: QuerySet[Incident]) -> QuerySet[Incident]:
    """Those that nobody has acknowledged and nothing holds back."""
    held = IncidentFlag.objects.suppressing().filter(incident=OuterRef("pk"))
    return incidents.filter(~Exists(held), acknowledged_at=None)


def since(incident_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When each one's round began: opened, its acknowledgement ended, or what held it back ended."""
    found = fired(incident_ids)
    flags = IncidentFlag.objects.filter(
        incident__in=incident_ids, kind__in=SUPPRESSING, ended_at__isnull=False
    )
    for pk, at in flags.order_by().values_list("incident").annotate(Max("ended_at")):
        found[pk] = max(found[pk], at)
    return found


def fired(incident_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When each one was opened, or fired again because its acknowledgement ended. Who was told since then knows."""
    found = dict(Incident.objects.filter(pk__in=incident_ids).values_list("pk", "opened_at"))
    events = IncidentEvent.objects.filter(incident__in=incident_ids, kind=EventKind.UNACKNOWLEDGED)
    for pk, at in events.order_by().values_list("incident").annotate(Max("at")):
        found[pk] = max(found[pk], at)
    return found


def planned_at(expires_at: datetime) -> datetime:
    """When a message was first to go, however often it was tried since then."""
    return expires_at - OutboxMessage.LIFETIME


def begin_of_steps(began: datetime, planned: Iterable[datetime]) -> datetime:
    """From when a route's steps count: its first message of the round, which may wait for hours or for a group."""
    return min((at for at in planned if at >= began), default=began)


def guarded(move: Callable[[], int], incident_id: UUID) -> int:
    """One that cannot be moved must not keep the others from being told."""
    try:
        return move()
    except _MISTAKES:
        log.exception("escalation.broken", incident_id=str(incident_id))
        return 0


def steps_taken(rounds: Mapping[UUID, datetime]) -> set[tuple[UUID, int, int]]:
    """(incident, route, step) of every step that was taken since these incidents fired; a silence in between undoes none."""
    begun = fired(list(rounds))
    events = IncidentEvent.objects.filter(incident__in=list(rounds), kind=EventKind.STEPPED)
    return {
        (pk, route, step)
        for pk, at, route, step in events.values_list("incident", "at", "details__route", "details__step")
        if at >= begun[pk]
    }
