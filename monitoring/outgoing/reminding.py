"""Reminders: who was told of an incident that still fires, and that nobody takes care of, is told again after a while."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef

from monitoring.channels.registry import kind_named
from monitoring.history import chain
from monitoring.history.locking import locked_unless_busy
from monitoring.models import (
    EventKind,
    Incident,
    IncidentState,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Route,
)
from monitoring.notifying import messages, routes
from monitoring.notifying.telling import Leg
from monitoring.outgoing import rounds
from monitoring.routing.tree import Node

log = structlog.get_logger(__name__)

_TOLD = (MessageKind.TRIGGER, MessageKind.REMINDER)
_MOST = 500
"""In one sweep; the next sweep takes the rest."""


def reminders(now: datetime) -> int:
    """Write the reminders that are due, one event for each incident and round of them; how many incidents."""
    root = routes.tree()
    intervals = _intervals(root)
    shortest = min((one for one in intervals.values() if one), default=None)
    if shortest is None:
        return 0
    firing = Incident.objects.filter(state=IncidentState.FIRING, opened_at__lte=now - shortest)
    due = _due(set(rounds.unattended(firing).values_list("pk", flat=True)), intervals, now)
    return sum(_remind(incident_id, intervals, now) for incident_id in list(due)[:_MOST])


def _intervals(root: Node | None) -> dict[int | None, timedelta]:
    """How long after the last word each route repeats it; None: what no route chose. Not for digests, which say it anyway."""
    found: dict[int | None, timedelta] = {None: Route.REPEAT_INTERVAL}
    if root is not None:
        for row in Route.objects.only("pk"):
            leaf = routes.timing_of(root, row.pk)
            found[row.pk] = timedelta(0) if leaf.digest else leaf.repeat_interval
    return found


def _due(
    incidents: set[UUID], intervals: Mapping[int | None, timedelta], now: datetime
) -> dict[UUID, list[OutboxMessage]]:
    """The last words to the channels that are to be reminded, by incident."""
    heard = OutboxMessage.objects.filter(
        incident=OuterRef("incident"),
        channel=OuterRef("channel"),
        kind__in=_TOLD,
        status=MessageStatus.DELIVERED,
    )
    rows = OutboxMessage.objects.filter(Exists(heard), incident__in=incidents, kind__in=_TOLD)
    found = defaultdict(list)
    last = rows.order_by("incident_id", "channel_id", "-seq").distinct("incident_id", "channel_id")
    for row in last.select_related("channel"):
        interval = intervals.get(row.route_id, Route.REPEAT_INTERVAL)
        # One that could not be delivered is not repeated sooner than one that was.
        at = row.delivered_at or row.created_at
        is_over = row.status in {MessageStatus.DELIVERED, MessageStatus.DEAD, MessageStatus.SUPERSEDED}
        wants = MessageKind.REMINDER in kind_named(row.channel.kind).takes
        if row.incident_id and interval and is_over and wants and at + interval <= now:
            found[row.incident_id].append(row)
    return found


def _remind(incident_id: UUID, intervals: Mapping[int | None, timedelta], now: datetime) -> int:
    """Unless another sweep did, or somebody took care of it meanwhile."""
    with transaction.atomic():
        incident = locked_unless_busy(incident_id)
        firing = rounds.unattended(Incident.objects.filter(pk=incident_id, state=IncidentState.FIRING))
        last = _due({incident_id}, intervals, now).get(incident_id, []) if firing.exists() else []
        if incident is None or not last:
            return 0
        number = incident.events.filter(kind=EventKind.REMINDED).count() + 1
        details = {"number": number, "told": [row.channel.name for row in last]}
        event = chain.append(incident, EventKind.REMINDED, now=now, details=details)
        legs = [
            Leg(row.channel, row.because, now, row.route_id, row.group_key, row.step)
            for row in sorted(last, key=lambda row: row.pk)
        ]
        said = {"reminder": number}
        messages.write(incident, MessageKind.REMINDER, legs, now=now, event=event, said=said)
        ids = {"incident_id": str(incident.pk), "number": number}
        transaction.on_commit(lambda: log.info("incident.reminded", told=len(legs), **ids))
    return 1
