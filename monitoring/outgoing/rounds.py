"""A round: from when an incident fires, or fires again, until somebody takes care of it. Steps and reminders belong to one."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, Max, OuterRef, QuerySet

from monitoring.models import SUPPRESSING, EventKind, Incident, IncidentEvent, IncidentFlag


def unattended(incidents: QuerySet[Incident]) -> QuerySet[Incident]:
    """Those that nobody has acknowledged and nothing holds back."""
    held = IncidentFlag.objects.suppressing().filter(incident=OuterRef("pk"))
    return incidents.filter(~Exists(held), acknowledged_at=None)


def since(incident_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When each one's round began: opened, its acknowledgement ended, or what held it back ended."""
    rows = Incident.objects.filter(pk__in=incident_ids).values_list("pk", "opened_at")
    found = dict(rows)
    events = IncidentEvent.objects.filter(incident__in=incident_ids, kind=EventKind.UNACKNOWLEDGED)
    flags = IncidentFlag.objects.filter(
        incident__in=incident_ids, kind__in=SUPPRESSING, ended_at__isnull=False
    )
    for ended in (
        events.order_by().values_list("incident").annotate(Max("at")),
        flags.order_by().values_list("incident").annotate(Max("ended_at")),
    ):
        for pk, at in ended:
            found[pk] = max(found[pk], at)
    return found


def steps_taken(rounds: Mapping[UUID, datetime]) -> set[tuple[UUID, int, int]]:
    """(incident, route, step) of every step that was taken in the present round of these incidents."""
    events = IncidentEvent.objects.filter(incident__in=list(rounds), kind=EventKind.STEPPED)
    return {
        (pk, route, step)
        for pk, at, route, step in events.values_list("incident", "at", "details__route", "details__step")
        if at >= rounds[pk]
    }
