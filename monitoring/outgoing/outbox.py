"""The outbox: which message is whose turn, together with which others, and which one is given up, dropped, or sent again.

Messages of one incident and channel are taken in order, by one worker at a time. Every decision is a conditional update
or a row lock, so that any number of workers may run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet

from monitoring import endpoints, metrics
from monitoring.history import locking
from monitoring.models import (
    AttemptOutcome,
    Channel,
    DeliveryAttempt,
    Incident,
    MessageKind,
    MessageStatus,
    OutboxMessage,
)
from monitoring.models.outbox import OutboxMessageQuerySet
from monitoring.quiet import held, suppression

log = structlog.get_logger(__name__)

LEASE = endpoints.LEASE
CALLS = 64
CALLS_TO_ONE = 16
"""At once in one worker, to all channels and to a single one: a receiver that hangs leaves room for the others."""

GROUP_MAX = 1_000
AHEAD = timedelta(seconds=10)
"""What is due so soon goes along with a group that is due now."""


class NotReplayable(Exception):
    """The message cannot be sent again; the reason says why."""


@dataclass(frozen=True)
class Batch:
    """What goes out in one call: one message, or several of one channel and group. is_probe: the one try after a rest."""

    channel: Channel
    messages: tuple[OutboxMessage, ...]
    is_probe: bool = False


def lease(now: datetime, limit: int = CALLS, under_way: Mapping[int, int] | None = None) -> list[Batch]:
    """Take what is due, the channel that waits longest first, for at most `limit` calls.

    under_way: calls of this worker that have not ended, by channel.
    """
    waiting = OutboxMessage.objects.ripe(now).order_by().values("channel").annotate(since=Min("not_before"))
    channel_ids = [row["channel"] for row in waiting.order_by("since", "channel")]
    healths = endpoints.known(channel_ids)
    found: list[Batch] = []
    for channel_id in channel_ids:
        room = min(limit - len(found), CALLS_TO_ONE - (under_way or {}).get(channel_id, 0))
        if room > 0 and endpoints.calls_allowed(healths[channel_id], now):
            found += _lease_of(channel_id, room, now)
    return found


def _lease_of(channel_id: int, room: int, now: datetime) -> list[Batch]:
    with transaction.atomic():
        health = endpoints.locked_unless_busy(channel_id)
        count = 0 if health is None else min(room, endpoints.calls_allowed(health, now))
        if health is None or count == 0:
            return []
        due = _due(channel_id, count, now)
        if not due:
            return []
        if endpoints.is_grouped(health.channel):
            # As they were written: every repeat has the same order, whatever was due first.
            groups = [sorted(_group_of(due[0], now), key=lambda message: message.pk)]
        else:
            groups = [[message] for message in due]
        _take([message for group in groups for message in group], health.channel, now)
        is_probe = endpoints.begin(health, len(groups), now)
    return [Batch(health.channel, tuple(group), is_probe) for group in groups]


def _due(channel_id: int, count: int, now: datetime) -> list[OutboxMessage]:
    """The oldest that are due. Among the oldest that are ripe, as a rule: whose turn it is need not be asked of all that wait."""
    ripe = OutboxMessage.objects.ripe(now).filter(channel_id=channel_id)
    oldest = list(ripe.order_by("not_before", "seq", "pk").values_list("pk", flat=True)[: 4 * count])
    due = OutboxMessage.objects.due(now).filter(channel_id=channel_id)
    found = _locked(due.filter(pk__in=oldest), count)
    if len(found) == count or len(oldest) < 4 * count:
        return found
    return _locked(due, count)


def _locked(rows: QuerySet[OutboxMessage], count: int) -> list[OutboxMessage]:
    ordered = rows.order_by("not_before", "seq", "pk")
    return list(ordered.select_for_update(skip_locked=True, of=("self",), no_key=True)[:count])


def _group_of(leader: OutboxMessage, now: datetime) -> list[OutboxMessage]:
    """All that go in one call with it. What was tried in one call is tried again in one, and nothing else with it."""
    rows = OutboxMessage.objects.filter(channel_id=leader.channel_id)
    if leader.kind == MessageKind.TEST:
        return [leader]
    if leader.batch is not None:
        is_free = Q(status=MessageStatus.PENDING) | Q(status=MessageStatus.LEASED, lease_until__lte=now)
        return _locked(rows.filter(is_free, batch=leader.batch), GROUP_MAX)
    soon = OutboxMessage.objects.due(now + AHEAD).filter(channel_id=leader.channel_id)
    fresh = soon.filter(status=MessageStatus.PENDING, group_key=leader.group_key, batch=None)
    group = _locked(fresh.exclude(kind=MessageKind.TEST), GROUP_MAX)
    group = group if leader in group else [leader, *group[: GROUP_MAX - 1]]
    batch = uuid4()
    for message in group:
        message.batch = batch
    return group


def _take(messages: Sequence[OutboxMessage], channel: Channel, now: datetime) -> None:
    lost = [message for message in messages if message.status == MessageStatus.LEASED]
    _note_lost(lost, channel)
    mine = OutboxMessage.objects.filter(pk__in=[message.pk for message in messages])
    values = {"status": MessageStatus.LEASED, "lease_until": now + LEASE, "batch": messages[0].batch}
    mine.update(**values, attempt_count=F("attempt_count") + 1)
    for message in messages:
        message.channel = channel
        message.status, message.lease_until = MessageStatus.LEASED, now + LEASE
        message.attempt_count += 1


def _note_lost(messages: Sequence[OutboxMessage], channel: Channel) -> None:
    DeliveryAttempt.objects.bulk_create(
        DeliveryAttempt(
            message=message,
            number=message.attempt_count,
            started_at=message.lease_until - LEASE,
            together_count=len(messages) if message.batch else 1,
            outcome=AttemptOutcome.LOST,
            reason="the worker that had it is gone",
            is_ambiguous=True,
        )
        for message in messages
        if message.lease_until is not None
    )
    for message in messages:
        metrics.DELIVERIES.labels(channel.kind, AttemptOutcome.LOST).inc()
        log.warning("delivery.lost", **log_ids(message))


def supersede_unsent(now: datetime) -> int:
    """Who was never told that it began need not be told that it is over; and what is over need not be said to go on.

    Only what was never tried is dropped: what a receiver may have is settled first.
    """
    waiting = OutboxMessage.objects.waiting()
    if not waiting.exclude(kind__in=(MessageKind.TRIGGER, MessageKind.TEST)).exists():
        # The usual case, asked many times in a second: only news waits.
        return 0
    unsent = Q(status__in=(MessageStatus.PENDING, MessageStatus.SUPPRESSED), attempt_count=0)
    beginnings = OutboxMessage.objects.filter(unsent, kind__in=(MessageKind.TRIGGER, MessageKind.REMINDER))
    same = {"incident": OuterRef("incident"), "channel": OuterRef("channel")}
    ends = OutboxMessage.objects.filter(
        Q(status=MessageStatus.PENDING, not_before__lte=now) | Q(status=MessageStatus.SUPPRESSED),
        kind=MessageKind.RESOLVE,
    )
    # From the few ends to their beginnings: a storm has thousands of beginnings, and no end yet.
    over = ends.filter(Exists(beginnings.filter(**same, seq__lt=OuterRef("seq"))))
    incidents = set(over.values_list("incident", flat=True))
    count = 0
    if incidents:
        told = beginnings.filter(Exists(ends.filter(**same, seq__gt=OuterRef("seq"))), incident__in=incidents)
        count = _drop(told, unsent, incidents)
    return count + _supersede(OutboxMessage.objects.pointless(), "the first message did not arrive")


def _drop(told: QuerySet[OutboxMessage], unsent: Q, incidents: set[UUID]) -> int:
    """Beginnings, and the ends that nobody misses by that."""
    with transaction.atomic():
        rows = told.select_for_update(skip_locked=True, of=("self",), no_key=True)
        dropped = OutboxMessage.objects.filter(unsent, pk__in=[message.pk for message in rows])
        count = _supersede(dropped, "it was over before this was sent")
        ends = OutboxMessage.objects.pointless().filter(incident__in=incidents)
        return count + _supersede(ends, "it was over before the first message was sent")


def _supersede(rows: QuerySet[OutboxMessage], reason: str) -> int:
    return rows.update(status=MessageStatus.SUPERSEDED, reason=reason)


def replay(message_id: UUID, *, now: datetime) -> OutboxMessage:
    """Give a dead message, and what was dropped with it, a new life. Raises NotReplayable."""
    with transaction.atomic():
        found = OutboxMessage.objects.get(pk=message_id)
        incident = locking.locked(found.incident_id) if found.incident_id else None
        # Nobody takes or records a message of this channel meanwhile.
        endpoints.locked(endpoints.known([found.channel_id]))
        message = (
            OutboxMessage.objects.select_for_update(of=("self",)).select_related("channel").get(pk=found.pk)
        )
        later = OutboxMessage.objects.filter(
            incident=message.incident_id, channel=message.channel_id, seq__gt=message.seq
        ).exclude(incident=None)
        if reason := _why_not(message, incident, later):
            raise NotReplayable(reason)
        life = {
            "status": MessageStatus.PENDING,
            "batch": None,
            "not_before": now,
            "expires_at": now + OutboxMessage.LIFETIME,
        }
        later.ends_of_untold().exclude(reason=held.NEWER).update(**life)
        OutboxMessage.objects.filter(pk=message.pk).update(**life)
        if incident is not None:
            suppression.apply(incident, now)
        transaction.on_commit(lambda: log.info("delivery.replayed", **log_ids(message)))
    return message


def _why_not(message: OutboxMessage, incident: Incident | None, later: OutboxMessageQuerySet) -> str:
    if message.status != MessageStatus.DEAD:
        return f"It is {message.status}; only dead messages can be sent again."
    if later.filter(status__in=(MessageStatus.DELIVERED, MessageStatus.LEASED)).exists():
        return "A later message of this incident has arrived or is on its way; this one would open it again."
    if incident is None or incident.is_open or message.kind == MessageKind.RESOLVE:
        return ""
    others = incident.messages.filter(channel=message.channel_id, kind=MessageKind.TRIGGER).exclude(
        pk=message.pk
    )
    if others.filter(Q(status=MessageStatus.DELIVERED) | Q(held.doubtful())).exists():
        return (
            "The incident is over, and this channel heard that it began; what it says is not true any more."
        )
    return ""


def log_ids(message: OutboxMessage) -> dict[str, object]:
    """What every log line about a message carries."""
    return {
        "message_id": message.webhook_id,
        "incident_id": str(message.incident_id) if message.incident_id else None,
        "channel_id": message.channel_id,
        "kind": message.kind,
    }
