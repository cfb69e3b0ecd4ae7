"""The outbox: which message is whose turn, which one is given up, dropped, or sent again.

Messages of one incident and channel are taken in order, by one worker at a time. Every decision is a conditional update
or a row lock, so that any number of workers may run.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, Min, OuterRef

from monitoring import metrics
from monitoring.models import AttemptOutcome, DeliveryAttempt, MessageKind, MessageStatus, OutboxMessage
from monitoring.outbound import TIMEOUT_SECONDS

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=TIMEOUT_SECONDS + 30)
BATCH = 8


class NotReplayable(Exception):
    """The message cannot be sent again; the reason says why."""


def lease(now: datetime, limit: int = BATCH) -> list[OutboxMessage]:
    """Take the oldest due message of each channel, of at most `limit` channels."""
    due = OutboxMessage.objects.due(now).order_by()
    waiting = due.values("channel").annotate(since=Min("not_before")).order_by("since", "channel")
    taken = (_lease_one(row["channel"], now) for row in list(waiting[:limit]))
    return [message for message in taken if message is not None]


def _lease_one(channel_id: int, now: datetime) -> OutboxMessage | None:
    with transaction.atomic():
        due = OutboxMessage.objects.due(now).filter(channel_id=channel_id).order_by("not_before", "seq")
        message = due.select_for_update(skip_locked=True, of=("self",)).select_related("channel").first()
        if message is None:
            return None
        if message.status == MessageStatus.LEASED:
            _note_lost(message, now)
        message.status, message.lease_until = MessageStatus.LEASED, now + LEASE
        message.attempt_count += 1
        message.save(update_fields=["status", "lease_until", "attempt_count"])
    return message


def _note_lost(message: OutboxMessage, now: datetime) -> None:
    DeliveryAttempt.objects.create(
        message=message,
        number=message.attempt_count,
        started_at=(message.lease_until or now) - LEASE,
        outcome=AttemptOutcome.LOST,
        reason="the worker that had it is gone",
        is_ambiguous=True,
    )
    metrics.DELIVERIES.labels(message.channel.kind, AttemptOutcome.LOST).inc()
    log.warning("delivery.lost", **log_ids(message))


def give_up_expired(now: datetime) -> int:
    """Messages that were not delivered within their lifetime are dead: seen in the admin, and can be sent again."""
    given_up = 0
    for message in OutboxMessage.objects.expired(now).select_related("channel")[:1000]:
        never = "never sent" if message.channel.is_enabled else "the channel is disabled"
        reason = f"not delivered in time: {message.reason or never}"[:500]
        still_waiting = OutboxMessage.objects.expired(now).filter(pk=message.pk)
        if still_waiting.update(status=MessageStatus.DEAD, reason=reason):
            given_up += 1
            log.error("delivery.dead", reason=reason, **log_ids(message))
    return given_up


def supersede_unsent(now: datetime) -> int:
    """Who was never told that it began need not be told that it is over."""
    resolve = OutboxMessage.objects.undecided().filter(
        incident=OuterRef("incident"),
        channel=OuterRef("channel"),
        kind=MessageKind.RESOLVE,
        not_before__lte=now,
    )
    unsent = OutboxMessage.objects.filter(
        Exists(resolve), kind=MessageKind.TRIGGER, status=MessageStatus.PENDING, attempt_count=0
    )
    count = 0
    with transaction.atomic():
        for trigger in unsent.select_for_update(skip_locked=True, of=("self",)):
            together = OutboxMessage.objects.filter(incident=trigger.incident_id, channel=trigger.channel_id)
            count += together.filter(status=MessageStatus.PENDING, attempt_count=0).update(
                status=MessageStatus.SUPERSEDED, reason="it was over before the first message was sent"
            )
    pointless = OutboxMessage.objects.pointless()
    return count + pointless.update(
        status=MessageStatus.SUPERSEDED, reason="the first message did not arrive"
    )


def replay(message_id: UUID, *, now: datetime) -> OutboxMessage:
    """Give a dead message, and what was dropped with it, a new life. Raises NotReplayable."""
    with transaction.atomic():
        message = (
            OutboxMessage.objects.select_for_update(of=("self",)).select_related("channel").get(pk=message_id)
        )
        if message.status != MessageStatus.DEAD:
            raise NotReplayable(f"It is {message.status}; only dead messages can be sent again.")
        later = OutboxMessage.objects.filter(
            incident=message.incident_id, channel=message.channel_id, seq__gt=message.seq
        ).exclude(incident=None)
        if later.filter(status=MessageStatus.DELIVERED).exists():
            raise NotReplayable("A later message of this incident has arrived; this one would open it again.")
        life = {
            "status": MessageStatus.PENDING,
            "not_before": now,
            "expires_at": now + OutboxMessage.LIFETIME,
        }
        later.filter(status=MessageStatus.SUPERSEDED).update(**life)
        OutboxMessage.objects.filter(pk=message.pk).update(**life)
        transaction.on_commit(lambda: log.info("delivery.replayed", **log_ids(message)))
    return message


def log_ids(message: OutboxMessage) -> dict[str, object]:
    """What every log line about a message carries."""
    return {
        "message_id": message.webhook_id,
        "incident_id": str(message.incident_id) if message.incident_id else None,
        "channel_id": message.channel_id,
        "kind": message.kind,
    }
