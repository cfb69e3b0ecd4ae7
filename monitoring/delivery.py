"""Sending: lease, commit, send, record.

At least once: a worker that dies between sending and recording leaves a lease that runs out, the lost attempt is written
down, and the next attempt says that it may be a repeat. No transaction is open while a receiver is waited for.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

import structlog
from django.db import transaction

from monitoring import metrics, outbox
from monitoring.channels import registry
from monitoring.channels.channel import DeliveryError, Outgoing, excerpt
from monitoring.models import AttemptOutcome, Channel, DeliveryAttempt, MessageStatus, OutboxMessage
from monitoring.outbound import Answer
from monitoring.outbox import log_ids

log = structlog.get_logger(__name__)

FIRST_DELAY_SECONDS = 5.0
URGENT_FOR = timedelta(minutes=15)
URGENT_CAP_SECONDS, CAP_SECONDS = 120.0, 3600.0
_LAST_TRY_BEFORE_END = timedelta(minutes=1)
_random = random.SystemRandom()

Clock = Callable[[], datetime]


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
        outbox.give_up_expired(clock())
        outbox.supersede_unsent(clock())
        leased = outbox.lease(clock())
        if not leased:
            break
        _send_all(leased, clock)
        attempt_count += len(leased)
    return attempt_count


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
        log.exception("delivery.broken", **log_ids(message))
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
            log.warning("delivery.late", outcome=outcome.value, **log_ids(message))
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


def _disable(channel: Channel, reason: str) -> None:
    said = f"Disabled because the receiver says that it is gone: {reason}"[:300]
    if Channel.objects.enabled().filter(pk=channel.pk).update(is_enabled=False, disabled_reason=said):
        log.error("channel.disabled", channel_id=channel.pk, reason=reason)


def _report(message: OutboxMessage, sent: Sent, outcome: AttemptOutcome) -> None:
    metrics.DELIVERIES.labels(message.channel.kind, outcome).inc()
    facts = {"attempt": message.attempt_count, "seconds": round(sent.seconds, 3), **log_ids(message)}
    if sent.error is None:
        log.info("delivery.succeeded", **facts)
    elif message.status == MessageStatus.DEAD:
        log.error("delivery.dead", reason=sent.error.reason, **facts)
    else:
        log.warning("delivery.failed", reason=sent.error.reason, **facts)
