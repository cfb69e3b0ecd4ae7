"""Who is told of an incident, when, together with what, and why: the answer to “why was I (not) told?”."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Min, Q

from monitoring.channels.registry import kind_named
from monitoring.labels import labels_of
from monitoring.models import (
    CANARY_METRIC,
    Channel,
    Incident,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Route,
)
from monitoring.notifying import routes
from monitoring.routing.timing import flush_at, next_digest
from monitoring.routing.tree import Leaf, group_key, matching

NAMED = "the monitor names this channel"
HALTS = "it takes halted experiments"
CHOSEN = "every channel is told of this"
REPORTS = "there are no routes yet, and it takes what no monitor names"


@dataclass(frozen=True)
class Leg:
    """One channel that is told. route: None where no route chose it; group_key: what is told in one call."""

    channel: Channel
    because: str
    not_before: datetime
    route_id: int | None = None
    group_key: str = ""
    step: int = 0


def legs_of(
    incident: Incident, kind: MessageKind, *, now: datetime, channels: Iterable[Channel] | None = None
) -> list[Leg]:
    """The channels that want this kind of message, each once.

    channels: instead of those that the monitor and the routes choose. Whoever heard that it began, hears the rest.
    """
    if kind != MessageKind.TRIGGER:
        found = _told_before(incident, kind, now)
    elif channels is not None:
        found = [Leg(channel, CHOSEN, now) for channel in channels]
    else:
        found = [*_directly(incident, now), *_by_routes(incident, now)]
    once = {leg.channel.pk: leg for leg in reversed(found)}
    return [leg for leg in reversed(once.values()) if kind in kind_named(leg.channel.kind).takes]


def _directly(incident: Incident, now: datetime) -> list[Leg]:
    if incident.monitor is not None:
        return [Leg(channel, NAMED, now) for channel in incident.monitor.channels.all()]
    if incident.experiment:
        return [Leg(channel, HALTS, now) for channel in Channel.objects.taking_experiments()]
    return []


def _by_routes(incident: Incident, now: datetime) -> list[Leg]:
    if incident.monitor is not None and incident.monitor.metric == CANARY_METRIC:
        # What was planted must wake nobody.
        return []
    root = routes.tree()
    if root is None:
        everybody = Channel.objects.taking_experiments() if incident.is_reported else ()
        return [Leg(channel, REPORTS, now) for channel in everybody]
    labels = labels_of(incident)
    leaves = matching(root, labels, now)
    known = Channel.objects.in_bulk({pk for leaf in leaves for pk in leaf.channels})
    return [
        _leg(known[pk], leaf, group_key(leaf, labels), now)
        for leaf in leaves
        for pk in leaf.channels
        if pk in known
    ]


def _leg(channel: Channel, leaf: Leaf, key: str, now: datetime) -> Leg:
    because = " → ".join(hop.name for hop in leaf.path)
    is_grouped = kind_named(channel.kind).is_grouped
    key = key if is_grouped else ""
    opens_at = leaf.opens_at(now)
    if leaf.digest and is_grouped:
        at = next_digest(leaf.digest, leaf.digest_hour, leaf.digest_zone, opens_at)
    else:
        interval = leaf.group_interval if is_grouped else timedelta(0)
        at = max(_flush(channel, key, now=now, wait=leaf.group_wait, interval=interval), opens_at)
    return Leg(channel, f"route {because}"[:300], at, leaf.id, key[:500])


def _flush(channel: Channel, key: str, *, now: datetime, wait: timedelta, interval: timedelta) -> datetime:
    """When the group's next message goes."""
    if not key:
        return now + wait
    group = OutboxMessage.objects.filter(channel=channel, group_key=key)
    found = group.aggregate(
        pending=Min("not_before", filter=Q(status=MessageStatus.PENDING, not_before__gte=now)),
        last=Max("not_before", filter=Q(not_before__lt=now, not_before__gte=now - interval)),
    )
    return flush_at(
        now=now,
        last_flush_at=found["last"],
        pending_flush_at=found["pending"],
        wait=wait,
        interval=interval,
    )


def _told_before(incident: Incident, kind: MessageKind, now: datetime) -> list[Leg]:
    """Where its beginning was told, or is to be; in a group with the others there."""
    told = incident.messages.filter(kind=MessageKind.TRIGGER).select_related("channel", "route")
    found = []
    for message in told.order_by("seq", "pk"):
        at = now
        if message.group_key and message.route is not None and kind == MessageKind.RESOLVE:
            at = _end_of_group(message, message.route, now)
        found.append(
            Leg(message.channel, message.because, at, message.route_id, message.group_key, message.step)
        )
    return found


def _end_of_group(message: OutboxMessage, route: Route, now: datetime) -> datetime:
    """Its end waits with what else the group has to say; a digest's until the digest."""
    if route.digest:
        return next_digest(route.digest, route.digest_hour, route.digest_zone, now)
    root = routes.tree()
    interval = routes.timing_of(root, route.pk).group_interval if root else Route.GROUP_INTERVAL
    return _flush(message.channel, message.group_key, now=now, wait=timedelta(0), interval=interval)
