"""Who is told next: when nobody acknowledged in time, when a page does not arrive within a minute, when a channel gives up.

Each step is an event of the incident, written under its lock, so that any number of sweeps may run and each step is told once.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from monitoring.channels.sink import Sink
from monitoring.history import chain
from monitoring.history.locking import locked_open, locked_unless_busy
from monitoring.models import (
    Channel,
    EventKind,
    Incident,
    IncidentState,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Severity,
)
from monitoring.notifying import messages, routes
from monitoring.notifying.telling import Leg, is_planted, takes_of
from monitoring.outgoing import noted, rounds
from monitoring.routing.tree import Leaf, Node, resolved
from triageops import wording

log = structlog.get_logger(__name__)

PAGE_WITHIN = timedelta(seconds=60)
_MOST = 500
"""In one sweep; the next sweep takes the rest."""


@dataclass(frozen=True)
class _Due:
    """A step whose time has come. message: the one that did not arrive, where that is why."""

    incident_id: UUID
    leaf: Leaf
    number: int
    why: str
    message: str = ""


def next_after_dead(message: OutboxMessage, now: datetime) -> list[OutboxMessage]:
    """Note on the open incident that a channel could not be told, and tell others instead; once for each message.

    Nobody else is told of an incident that somebody takes care of, nor when a resolve or an acknowledgement is lost.
    """
    if message.incident_id is None:
        return []
    with transaction.atomic():
        incident = locked_open(message.incident_id)
        if incident is None or noted.is_noted(message, EventKind.UNDELIVERED):
            return []
        is_known = incident.acknowledged_at is not None or is_planted(incident)
        is_news = message.kind in {MessageKind.TRIGGER, MessageKind.REMINDER}
        legs = _instead_of(message, incident, now) if is_news and not is_known else []
        details = {"message": message.webhook_id, "channel": message.channel.name, "told": _names(legs)}
        event = chain.append(incident, EventKind.UNDELIVERED, now=now, details=details)
        return messages.write(incident, MessageKind.TRIGGER, legs, now=now, event=event)


def due(now: datetime) -> int:
    """Take the steps whose time has come, and those that a lost worker left; how many."""
    missed = _missed(now)
    found = [*_late(now), *_overdue_pages(now)][:_MOST]
    return missed + sum(rounds.guarded(partial(_step, one, now), one.incident_id) for one in found)


def _missed(now: datetime) -> int:
    """Messages that died without that it was written down."""
    dead = OutboxMessage.objects.dead().filter(incident__in=Incident.objects.open())
    missed = [
        (row, row.incident_id)
        for row in noted.unnoted(dead, EventKind.UNDELIVERED)
        .select_related("channel")
        .order_by("-id")[:_MOST]
        if row.incident_id is not None
    ]
    for row, incident_id in missed:
        rounds.guarded(partial(_tell_others, row, now), incident_id)
    return len(missed)


def _tell_others(message: OutboxMessage, now: datetime) -> int:
    return len(next_after_dead(message, now))


def _unattended() -> QuerySet[Incident]:
    """Firing, acknowledged by nobody, held back by nothing."""
    return rounds.unattended(Incident.objects.filter(state=IncidentState.FIRING))


def _late(now: datetime) -> list[_Due]:
    """Steps of incidents that nobody has acknowledged for long enough."""
    root = routes.tree()
    with_steps = _with_steps(root)
    if not with_steps:
        return []
    first = min(leaf.steps[0].after for leaf in with_steps.values())
    incidents = _unattended().filter(opened_at__lte=now - first)
    planned = _planned(with_steps, incidents)
    since = rounds.since({pk for pk, _ in planned})
    taken = rounds.steps_taken(since)
    return [
        _Due(
            pk,
            with_steps[route],
            number,
            f"nobody acknowledged it within {wording.seconds(step.after.total_seconds())}",
        )
        for (pk, route), times in planned.items()
        for number, step in enumerate(with_steps[route].steps, start=1)
        if rounds.begin_of_steps(since[pk], times) + step.after <= now and (pk, route, number) not in taken
    ]


def _planned(
    route_ids: Iterable[int], incidents: QuerySet[Incident]
) -> dict[tuple[UUID, int], list[datetime]]:
    """By incident and route that tells it: when its messages, without those of steps, were to go."""
    told = OutboxMessage.objects.filter(
        kind=MessageKind.TRIGGER, route__in=list(route_ids), incident__in=incidents
    )
    found: dict[tuple[UUID, int], list[datetime]] = defaultdict(list)
    rows = told.order_by("incident_id", "route_id").values_list("incident", "route", "step", "expires_at")
    for pk, route, step, expires_at in rows:
        found[pk, route] += [] if step else [rounds.planned_at(expires_at)]
    return found


def _overdue_pages(now: datetime) -> list[_Due]:
    """The next step after each page that has not arrived within a minute of its time."""
    with_steps = _with_steps(routes.tree())
    if not with_steps:
        return []
    limit = now - PAGE_WITHIN
    pages = OutboxMessage.objects.filter(
        Q(attempt_count__gt=0) | Q(not_before__lte=limit),
        incident__in=_unattended().filter(severity=Severity.CRITICAL),
        kind=MessageKind.TRIGGER,
        status__in=(MessageStatus.PENDING, MessageStatus.LEASED),
        route__in=with_steps,
        created_at__lte=limit,
    )
    # All of them, but only what is needed: those that have no step left must not hide the others.
    rows = list(
        noted.unnoted(pages, EventKind.STEPPED).only("incident_id", "route_id", "step").order_by("id")
    )
    taken = rounds.steps_taken(rounds.since({row.incident_id for row in rows if row.incident_id}))
    found = []
    for row in rows:
        leaf = with_steps[row.route_id or 0]
        numbers = range(row.step + 1, len(leaf.steps) + 1)
        left = [number for number in numbers if (row.incident_id, row.route_id, number) not in taken]
        if left and row.incident_id is not None:
            why = "a channel was not told within a minute"
            found.append(_Due(row.incident_id, leaf, left[0], why, row.webhook_id))
    return found


def _with_steps(node: Node | None, above: Leaf | None = None) -> dict[int, Leaf]:
    """The routes from here down that go on to somebody, by id."""
    if node is None:
        return {}
    own = resolved(node, above)
    found = {own.id: own} if own.steps else {}
    for child in node.children:
        found |= _with_steps(child, own)
    return found


def _step(one: _Due, now: datetime) -> int:
    """Tell a step's channels, unless another sweep did, or somebody took care of it meanwhile."""
    with transaction.atomic():
        incident = locked_unless_busy(one.incident_id)
        if incident is None or not _unattended().filter(pk=incident.pk).exists():
            return 0
        since = rounds.since([incident.pk])
        if (incident.pk, one.leaf.id, one.number) in rounds.steps_taken(since):
            return 0
        wanted = Channel.objects.of_people().filter(pk__in=one.leaf.steps[one.number - 1].channels)
        untold = _untold(wanted, incident, since[incident.pk])
        because = f"step {one.number} of route {one.leaf.name}: {one.why}"
        legs = _legs(untold, because, now, one.leaf.id, one.number)
        details = {
            "route": one.leaf.id,
            "name": one.leaf.name,
            "step": one.number,
            "why": one.why,
            "told": _names(legs),
            **({"message": one.message} if one.message else {}),
        }
        event = chain.append(incident, EventKind.STEPPED, now=now, details=details)
        messages.write(incident, MessageKind.TRIGGER, legs, now=now, event=event)
        ids = {"incident_id": str(incident.pk), "route": one.leaf.id, "step": one.number}
        transaction.on_commit(lambda: log.info("incident.stepped", told=len(legs), **ids))
    return 1


def _untold(wanted: QuerySet[Channel], incident: Incident, since: datetime) -> list[Channel]:
    """Those that have not heard of it since then, and have no message that may still arrive."""
    told = OutboxMessage.objects.filter(
        incident=incident, channel=OuterRef("pk"), kind=MessageKind.TRIGGER, created_at__gte=since
    ).exclude(status__in=(MessageStatus.DEAD, MessageStatus.SUPERSEDED))
    return list(wanted.filter(~Exists(told)))


def _instead_of(message: OutboxMessage, incident: Incident, now: datetime) -> list[Leg]:
    """The next step of its route that has somebody new, else the root's channels, else every other way that there is."""
    tried = incident.messages.filter(kind=MessageKind.TRIGGER).values("channel")
    rows = Channel.objects.enabled().exclude(pk__in=tried).exclude(kind=Sink.name)
    because = f"instead of {message.channel.name}, which could not be told"
    root = routes.tree()
    leaf = routes.timing_of(root, message.route_id) if root and message.route_id else None
    for number, step in enumerate(leaf.steps if leaf else (), start=1):
        legs = _legs(rows.filter(pk__in=step.channels), because, now, leaf.id if leaf else None, number)
        if number > message.step and legs:
            return legs
    if root is not None and (legs := _legs(rows.filter(pk__in=root.channels), because, now, root.id)):
        return legs
    same = Q(kind=message.channel.kind, url=message.channel.url, recipients=message.channel.recipients)
    return _legs(rows.exclude(same), because, now)


def _legs(
    channels: Iterable[Channel], because: str, now: datetime, route_id: int | None = None, step: int = 0
) -> list[Leg]:
    return [
        Leg(channel, because[:300], now, route_id, "", step)
        for channel in channels
        if MessageKind.TRIGGER in takes_of(channel)
    ]


def _names(legs: Iterable[Leg]) -> list[str]:
    return [leg.channel.name for leg in legs]
