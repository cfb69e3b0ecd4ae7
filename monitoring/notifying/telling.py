"""Who is told of an incident, when, together with what, and why: the answer to “why was I (not) told?”."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Max, Min, Q

from monitoring import endpoints
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
    Signal,
)
from monitoring.notifying import routes
from monitoring.route_times import BY_ROUTE, next_time
from monitoring.routing.timing import flush_at, next_digest
from monitoring.routing.tree import Leaf, Node, group_key, matching

NAMED = "the monitor names this channel"
HALTS = "it takes halted experiments"
CHOSEN = "every channel is told of this"
REPORTS = "there are no routes yet, and it takes what no monitor names"
DIRECTLY = (NAMED, HALTS, CHOSEN, REPORTS)
"""Whatever routes say: at once, and reminded as without routes, also where a route chose the channel too."""

_KEY_MAX, _KEY_KEPT = 500, 430
_SAID_NOTHING = (MessageStatus.SUPPRESSED, MessageStatus.SUPERSEDED)


@dataclass(frozen=True)
class Leg:
    """One channel that is told. route_id: None where no route chose it; group_key: what is told in one call."""

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
        found = _chosen(incident, now)
    return [leg for leg in found if kind in takes_of(leg.channel)]


def takes_of(channel: Channel) -> frozenset[str]:
    """Which messages it wants. Those of a kind that this version does not know wait for one that does."""
    try:
        return kind_named(channel.kind).takes
    except LookupError:
        return frozenset(MessageKind.values)


def is_planted(incident: Incident) -> bool:
    """By the canary: nothing is wrong, and what was planted must wake nobody."""
    monitor = incident.monitor
    return monitor is not None and monitor.metric == CANARY_METRIC and incident.signal != Signal.CHECK


def _chosen(incident: Incident, now: datetime) -> list[Leg]:
    """Each channel once. One that is told directly anyway carries the first route that chose it too: its steps hold for it."""
    found = {leg.channel.pk: leg for leg in _directly(incident, now)}
    if incident.monitor is not None and incident.monitor.metric == CANARY_METRIC:
        # What was planted must wake nobody.
        return list(found.values())
    root = routes.tree()
    if root is None:
        everybody = Channel.objects.taking_experiments() if incident.is_reported else ()
        return [*found.values(), *(Leg(channel, REPORTS, now) for channel in everybody)]
    labels = labels_of(incident)
    leaves = matching(root, labels, now)
    known = Channel.objects.of_people().in_bulk({pk for leaf in leaves for pk in leaf.channels})
    pairs = [(leaf, pk) for leaf in leaves for pk in leaf.channels if pk in known]
    for leaf, pk in pairs:
        if pk not in found:
            found[pk] = _leg(known[pk], leaf, group_key(leaf, labels), now)
        elif found[pk].route_id is None:
            found[pk] = replace(found[pk], route_id=leaf.id)
    return list(found.values())


def _directly(incident: Incident, now: datetime) -> list[Leg]:
    if incident.monitor is not None:
        return [Leg(channel, NAMED, now) for channel in incident.monitor.channels.all()]
    if incident.experiment:
        return [Leg(channel, HALTS, now) for channel in Channel.objects.taking_experiments()]
    return []


def _leg(channel: Channel, leaf: Leaf, key: str, now: datetime) -> Leg:
    because = " → ".join(hop.name for hop in leaf.path)
    is_grouped = endpoints.is_grouped(channel)
    key = _bounded(key) if is_grouped else ""
    opens_at = leaf.opens_at(now)
    if leaf.digest and is_grouped:
        at = next_digest(leaf.digest, leaf.digest_hour, leaf.digest_zone, opens_at)
    else:
        interval = leaf.group_interval if is_grouped else timedelta(0)
        at = max(_flush(channel, key, now=now, wait=leaf.group_wait, interval=interval), opens_at)
    return Leg(channel, f"{BY_ROUTE}{because}"[:300], at, leaf.id, key)


def _bounded(key: str) -> str:
    """As long as it may be stored; what is cut goes on as its hash, so that different groups stay different."""
    if len(key) <= _KEY_MAX:
        return key
    return f"{key[:_KEY_KEPT]}#{hashlib.sha256(key.encode()).hexdigest()}"


def _flush(channel: Channel, key: str, *, now: datetime, wait: timedelta, interval: timedelta) -> datetime:
    """When the group's next message goes; never later than the wait and the interval say, whatever else waits there."""
    if not key:
        return now + wait
    recent = OutboxMessage.objects.filter(channel=channel, group_key=key, not_before__gte=now - interval)
    # What was tried already waits for its receiver, and goes again as it went.
    untried = Q(status=MessageStatus.PENDING, attempt_count=0, batch=None, not_before__gte=now)
    found = recent.aggregate(
        pending=Min("not_before", filter=untried),
        last=Max("not_before", filter=Q(not_before__lt=now) & ~Q(status__in=_SAID_NOTHING)),
    )
    at = flush_at(
        now=now,
        last_flush_at=found["last"],
        pending_flush_at=found["pending"],
        wait=wait,
        interval=interval,
    )
    return min(at, now + max(wait, interval))


def _told_before(incident: Incident, kind: MessageKind, now: datetime) -> list[Leg]:
    """Where its beginning was told, or is to be; in a group with the others there."""
    told = incident.messages.filter(kind=MessageKind.TRIGGER).select_related("channel", "route")
    first: dict[int, OutboxMessage] = {}
    for message in told.order_by("seq", "pk"):
        first.setdefault(message.channel_id, message)
    in_groups = {pk for pk, message in first.items() if message.group_key and kind == MessageKind.RESOLVE}
    routed = [first[pk].route for pk in in_groups]
    # Read once for all of them; a digest's end needs none.
    root = routes.tree() if any(route is not None and not route.digest for route in routed) else None
    return [
        Leg(
            message.channel,
            message.because,
            _end_of_group(message, root, now) if pk in in_groups else now,
            message.route_id,
            message.group_key,
            message.step,
        )
        for pk, message in first.items()
    ]


def _end_of_group(message: OutboxMessage, root: Node | None, now: datetime) -> datetime:
    """Its end waits with what else the group has to say; a digest's until the digest."""
    if message.route is None:
        return now
    if message.route.digest:
        return next_time(message.route, now, is_grouped=True)
    interval = routes.timing_of(root, message.route.pk).group_interval if root else Route.GROUP_INTERVAL
    return _flush(message.channel, message.group_key, now=now, wait=timedelta(0), interval=interval)
