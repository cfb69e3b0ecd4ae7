"""Reminders: who was told of an incident that still fires, and that nobody takes care of, is told again after a while."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef

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
from monitoring.notifying.telling import DIRECTLY, Leg, takes_of
from monitoring.outgoing import rounds
from monitoring.route_times import BY_ROUTE
from monitoring.routing.tree import Node

log = structlog.get_logger(__name__)

_TOLD = (MessageKind.TRIGGER, MessageKind.REMINDER)
_MOST = 500
"""In one sweep; the next sweep takes the rest."""


@dataclass(frozen=True)
class _Repeat:
    """How long after the last word it is repeated; 0: never. is_open: within the route's hours."""

    interval: timedelta
    is_open: bool = True


_ALWAYS = _Repeat(Route.REPEAT_INTERVAL)


def reminders(now: datetime) -> int:
    """Write the reminders that are due, one event for each incident and round of them; how many incidents."""
    root = routes.tree()
    repeats = _repeats(root, now)
    shortest = min(one.interval for one in repeats.values() if one.interval)
    firing = Incident.objects.filter(state=IncidentState.FIRING, opened_at__lte=now - shortest)
    due = _due(set(rounds.unattended(firing).values_list("pk", flat=True)), repeats, now)
    return sum(rounds.guarded(partial(_remind, pk, repeats, now), pk) for pk in list(due)[:_MOST])


def _repeats(root: Node | None, now: datetime) -> dict[int | None, _Repeat]:
    """What each route repeats; None: what no route chose. Not for digests, which say it anyway."""
    found: dict[int | None, _Repeat] = {None: _ALWAYS}
    if root is not None:
        for row in Route.objects.only("pk"):
            leaf = routes.timing_of(root, row.pk)
            interval = timedelta(0) if leaf.digest else leaf.repeat_interval
            found[row.pk] = _Repeat(interval, leaf.opens_at(now) <= now)
    return found


def _due(
    incidents: set[UUID], repeats: Mapping[int | None, _Repeat], now: datetime
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
        repeat = _ALWAYS if row.because in DIRECTLY else repeats.get(row.route_id, _ALWAYS)
        # Hours are of those whom the route tells first; its steps are told at any time.
        is_open = repeat.is_open or not row.because.startswith(BY_ROUTE)
        # One that could not be delivered is not repeated sooner than one that was.
        at = row.delivered_at or row.created_at
        is_over = row.status in {MessageStatus.DELIVERED, MessageStatus.DEAD, MessageStatus.SUPERSEDED}
        wants = is_open and is_over and MessageKind.REMINDER in takes_of(row.channel)
        if row.incident_id and repeat.interval and wants and at + repeat.interval <= now:
            found[row.incident_id].append(row)
    return found


def _remind(incident_id: UUID, repeats: Mapping[int | None, _Repeat], now: datetime) -> int:
    """Unless another sweep did, or somebody took care of it meanwhile."""
    with transaction.atomic():
        incident = locked_unless_busy(incident_id)
        firing = rounds.unattended(Incident.objects.filter(pk=incident_id, state=IncidentState.FIRING))
        last = _due({incident_id}, repeats, now).get(incident_id, []) if firing.exists() else []
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
