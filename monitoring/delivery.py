"""The outbox: lease, commit, send, record.

At least once: a worker that dies between sending and recording leaves a lease that runs out, the lost attempt is written
down, and the next attempt says that it may be a repeat. Messages of one incident and channel are sent in order. No
transaction is open while a receiver is waited for.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, Min, OuterRef

from monitoring import metrics
from monitoring.channels import registry
from monitoring.channels.channel import DeliveryError, Outgoing, excerpt
from monitoring.models import (
    AttemptOutcome,
    Channel,
    DeliveryAttempt,
    MessageKind,
    MessageStatus,
    OutboxMessage,
)
from monitoring.outbound import TIMEOUT_SECONDS, Answer

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=TIMEOUT_SECONDS + 30)
BATCH = 8
FIRST_DELAY_SECONDS = 5.0
URGENT_FOR = timedelta(minutes=15)
URGENT_CAP_SECONDS, CAP_SECONDS = 120.0, 3600.0
_LAST_TRY_BEFORE_END = timedelta(minutes=1)
_random = random.SystemRandom()

Clock = Callable[[], datetime]


class NotReplayable(Exception):
    """The message cannot be sent again; the reason says why."""


@dataclass(frozen=True)
class Sent:
    """What came of one attempt: an answer, or why not."""

    seconds: float
    answer: Answer | None = None
    error: DeliveryError | None = None


def deliver_due(clock: Clock, *, seconds: float = 40.0) -> int:
    """Send what is due until nothing is, or until `seconds` have passed; how many attempts were made."""
    deadline = monotonic() + seconds
    attempt_count = 0
    while monotonic() < deadline:
        give_up_expired(clock())
        supersede_unsent(clock())
        leased = lease(clock())
        if not leased:
            break
        _send_all(leased, clock)
        attempt_count += len(leased)
    return attempt_count


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
    log.warning("delivery.lost", **_ids(message))


def _send_all(leased: list[OutboxMessage], clock: Clock) -> None:
    """Threads only talk to receivers; the database stays with this thread."""
    with ThreadPoolExecutor(max_workers=len(leased)) as pool:
        tasks = {}
        for message in leased:
            started_at = clock()
            is_repeat = message.attempts.filter(is_ambiguous=True).exists()
            tasks[pool.submit(_send, message, is_possible_repeat=is_repeat, now=started_at)] = (
                message,
                started_at,
            )
        for task in as_completed(tasks):
            message, started_at = tasks[task]
            record(message, task.result(), started_at=started_at, now=clock())


def _send(message: OutboxMessage, *, is_possible_repeat: bool, now: datetime) -> Sent:
    outgoing = Outgoing(
        message.webhook_id, message.kind, message.payload, message.attempt_count, is_possible_repeat
    )
    began = monotonic()
    try:
        channel = registry.make(message.channel.kind, url=message.channel.url, secret=message.channel.secret)
        answer = channel.send(outgoing, now=now)
        return Sent(monotonic() - began, answer)
    except DeliveryError as error:
        return Sent(monotonic() - began, error.answer, error)
    except Exception as error:
        log.exception("delivery.broken", **_ids(message))
        reason = f"our own error: {type(error).__name__}"
        return Sent(monotonic() - began, error=DeliveryError(reason, is_ambiguous=True))


def record(message: OutboxMessage, sent: Sent, *, started_at: datetime, now: datetime) -> None:
    """Write the attempt and what follows from it, unless the lease ran out and another worker has the message now."""
    outcome = _outcome(sent)
    with transaction.atomic():
        mine = OutboxMessage.objects.filter(
            pk=message.pk, status=MessageStatus.LEASED, attempt_count=message.attempt_count
        )
        _decide(message, sent, now)
        if not mine.update(
            status=message.status,
            reason=message.reason,
            not_before=message.not_before,
            delivered_at=message.delivered_at,
            lease_until=None,
        ):
            log.warning("delivery.late", outcome=outcome.value, **_ids(message))
            return
        DeliveryAttempt.objects.create(
            message=message,
            number=message.attempt_count,
            started_at=started_at,
            seconds=sent.seconds,
            outcome=outcome,
            reason=sent.error.reason[:500] if sent.error else "",
            status_code=sent.answer.status if sent.answer else None,
            answer=excerpt(sent.answer),
            is_ambiguous=bool(sent.error and sent.error.is_ambiguous),
        )
        if sent.error and sent.error.is_gone:
            _disable(message.channel, sent.error.reason)
    _report(message, sent, outcome)


def _outcome(sent: Sent) -> AttemptOutcome:
    if sent.error is None:
        return AttemptOutcome.DELIVERED
    return AttemptOutcome.REFUSED if sent.error.permanent else AttemptOutcome.FAILED


def _decide(message: OutboxMessage, sent: Sent, now: datetime) -> None:
    """Set what becomes of the message, in memory."""
    error = sent.error
    if error is None:
        message.status, message.reason, message.delivered_at = MessageStatus.DELIVERED, "", now
        return
    message.reason = error.reason[:500]
    delay = backoff_seconds(message.attempt_count, age=now - message.created_at)
    next_try = now + timedelta(seconds=max(delay, error.retry_after or 0.0))
    last_try = message.expires_at - _LAST_TRY_BEFORE_END
    if error.permanent or now >= last_try:
        message.status = MessageStatus.DEAD
    else:
        message.status, message.not_before = MessageStatus.PENDING, min(next_try, last_try)


def backoff_seconds(attempt_count: int, *, age: timedelta, jitter: float | None = None) -> float:
    """How long to wait after this many attempts; `jitter` in [0.5, 1.5], random by default, spreads the crowd."""
    cap = URGENT_CAP_SECONDS if age < URGENT_FOR else CAP_SECONDS
    factor = _random.uniform(0.5, 1.5) if jitter is None else jitter
    # Beyond 2^10 the cap holds anyway, and 2.0 ** 2000 would overflow.
    return min(cap, FIRST_DELAY_SECONDS * 2.0 ** min(attempt_count - 1, 10)) * factor


def give_up_expired(now: datetime) -> int:
    """Messages that were not delivered within their lifetime are dead: seen in the admin, and can be sent again."""
    given_up = 0
    for message in OutboxMessage.objects.expired(now).select_related("channel")[:1000]:
        never = "never sent" if message.channel.is_enabled else "the channel is disabled"
        reason = f"not delivered in time: {message.reason or never}"[:500]
        still_waiting = OutboxMessage.objects.expired(now).filter(pk=message.pk)
        if still_waiting.update(status=MessageStatus.DEAD, reason=reason):
            given_up += 1
            log.error("delivery.dead", reason=reason, **_ids(message))
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


def _disable(channel: Channel, reason: str) -> None:
    said = f"Disabled because the receiver says that it is gone: {reason}"[:300]
    if Channel.objects.enabled().filter(pk=channel.pk).update(is_enabled=False, disabled_reason=said):
        log.error("channel.disabled", channel_id=channel.pk, reason=reason)


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
        transaction.on_commit(lambda: log.info("delivery.replayed", **_ids(message)))
    return message


def _report(message: OutboxMessage, sent: Sent, outcome: AttemptOutcome) -> None:
    metrics.DELIVERIES.labels(message.channel.kind, outcome).inc()
    facts = {"attempt": message.attempt_count, "seconds": round(sent.seconds, 3), **_ids(message)}
    if sent.error is None:
        log.info("delivery.succeeded", **facts)
    elif message.status == MessageStatus.DEAD:
        log.error("delivery.dead", reason=sent.error.reason, **facts)
    else:
        log.warning("delivery.failed", reason=sent.error.reason, **facts)


def _ids(message: OutboxMessage) -> dict[str, object]:
    return {
        "message_id": message.webhook_id,
        "incident_id": str(message.incident_id) if message.incident_id else None,
        "channel_id": message.channel_id,
        "kind": message.kind,
    }
