"""What came of calls to receivers: the attempts, what becomes of each message, and what it says about the channel."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from django.db import transaction
from django.db.models import F, Min

from monitoring import endpoints, metrics
from monitoring.channels.channel import DeliveryError, excerpt
from monitoring.models import (
    AttemptOutcome,
    Channel,
    DeliveryAttempt,
    MessageKind,
    MessageStatus,
    OutboxMessage,
)
from monitoring.outbound import Answer
from monitoring.outgoing.outbox import Batch, log_ids

log = structlog.get_logger(__name__)

FIRST_DELAY_SECONDS = 5.0
URGENT_FOR = timedelta(minutes=15)
URGENT_CAP_SECONDS, CAP_SECONDS = 120.0, 3600.0
_LAST_TRY_BEFORE_END = timedelta(minutes=1)
_OF_CONTENT = frozenset({400, 413, 422})
"""Refusals of what was sent, not of who sends: of a group only one message may be at fault."""
_random = random.SystemRandom()


@dataclass(frozen=True)
class Sent:
    """What came of one call: an answer, or why not. is_ours: by a mistake of our own."""

    seconds: float
    answer: Answer | None = None
    error: DeliveryError | None = None
    is_ours: bool = False

    @property
    def outcome(self) -> AttemptOutcome:
        if self.error is None:
            return AttemptOutcome.DELIVERED
        return AttemptOutcome.REFUSED if self.error.permanent else AttemptOutcome.FAILED


@dataclass(frozen=True)
class Done:
    """A call that ended."""

    batch: Batch
    sent: Sent
    started_at: datetime


@dataclass(frozen=True)
class _Fate:
    """What becomes of a message. not_before, batch: None leaves them as they are."""

    status: MessageStatus
    reason: str = ""
    not_before: datetime | None = None
    batch: UUID | None = None


def record(done: Sequence[Done], *, now: datetime) -> list[OutboxMessage]:
    """Write attempts and what follows from them, all in one transaction; returns the messages that are dead by that.

    A message whose lease ran out, and that another worker has now, is left to it.
    """
    fates: dict[_Fate, list[OutboxMessage]] = defaultdict(list)
    with transaction.atomic():
        healths = endpoints.locked({one.batch.channel.pk for one in done})
        done = _still_ours(done)
        for channel_id, health in healths.items():
            calls = [_call_of(one) for one in done if one.batch.channel.pk == channel_id]
            if calls:
                endpoints.judge(health, calls, now)
        tried_since = _tried_since(done)
        for one in done:
            for message, fate in _fates(one, tried_since, now):
                fates[fate].append(message)
        for fate, messages in fates.items():
            _write(fate, messages, now)
        DeliveryAttempt.objects.bulk_create(
            _attempt(message, one) for one in done for message in one.batch.messages
        )
        for one in done:
            if one.sent.error is not None and one.sent.error.is_gone:
                _disable(one.batch.channel, one.sent.error.reason)
    for one in done:
        _report(one)
    return [message for fate, dead in fates.items() if fate.status == MessageStatus.DEAD for message in dead]


def without_details(one: Done, mistake: Exception) -> Done:
    """Nothing but whether it was taken: for what cannot be written down as it is, because of a mistake of our own."""
    error = one.sent.error
    if error is not None:
        reason = f"our own error: {type(mistake).__name__}"
        error = DeliveryError(reason, permanent=error.permanent, is_ambiguous=error.is_ambiguous)
    return replace(one, sent=Sent(one.sent.seconds, error=error, is_ours=error is not None))


def _still_ours(done: Sequence[Done]) -> list[Done]:
    ids = [message.pk for one in done for message in one.batch.messages]
    rows = OutboxMessage.objects.filter(pk__in=ids, status=MessageStatus.LEASED).order_by("pk")
    held = dict(rows.select_for_update(no_key=True).values_list("pk", "attempt_count"))
    found = []
    for one in done:
        ours = [message for message in one.batch.messages if held.get(message.pk) == message.attempt_count]
        for message in set(one.batch.messages) - set(ours):
            log.warning("delivery.late", outcome=one.sent.outcome.value, **log_ids(message))
        if ours:
            found.append(replace(one, batch=replace(one.batch, messages=tuple(ours))))
    return found


def _call_of(one: Done) -> endpoints.Call:
    # Somebody tries out an address: its failure is no reason to leave the channel alone.
    says_nothing = one.sent.is_ours or _is_test(one)
    return endpoints.Call(one.sent.error, one.batch.is_probe, says_nothing)


def _is_test(one: Done) -> bool:
    return one.batch.messages[0].kind == MessageKind.TEST


def _tried_since(done: Sequence[Done]) -> dict[UUID, datetime]:
    """When messages that failed again were tried first, since they were written, given back or sent again."""
    failed = [one.batch.messages[0] for one in done if one.sent.outcome == AttemptOutcome.FAILED]
    repeated = [message.pk for message in failed if message.attempt_count > 1]
    if not repeated:
        return {}
    tried = DeliveryAttempt.objects.filter(
        message__in=repeated, started_at__gte=F("message__expires_at") - OutboxMessage.LIFETIME
    )
    return dict(tried.order_by().values_list("message").annotate(Min("started_at")))


def _fates(
    one: Done, tried_since: Mapping[UUID, datetime], now: datetime
) -> Iterable[tuple[OutboxMessage, _Fate]]:
    error, messages = one.sent.error, one.batch.messages
    if error is None:
        return [(message, _Fate(MessageStatus.DELIVERED)) for message in messages]
    reason = error.reason[:500]
    if _is_test(one):
        # Who sent it waits for the answer; another try, hours later, would be seen by nobody.
        return [(message, _Fate(MessageStatus.DEAD, reason)) for message in messages]
    if error.permanent:
        return _halves(one, reason, now) or [(one, _Fate(MessageStatus.DEAD, reason)) for one in messages]
    leader = messages[0]
    # Not since it was written: what waited for its group, for hours or for a silence is as urgent as any other.
    age = now - tried_since.get(leader.pk, one.started_at)
    delay = backoff_seconds(leader.attempt_count, age=age)
    next_try = now + timedelta(seconds=max(delay, error.retry_after or 0.0))
    return [(message, _later(message, reason, next_try, now)) for message in messages]


def _later(message: OutboxMessage, reason: str, next_try: datetime, now: datetime) -> _Fate:
    last_try = message.expires_at - _LAST_TRY_BEFORE_END
    if now >= last_try:
        return _Fate(MessageStatus.DEAD, reason)
    return _Fate(MessageStatus.PENDING, reason, min(next_try, last_try))


def _halves(one: Done, reason: str, now: datetime) -> list[tuple[OutboxMessage, _Fate]]:
    """A group that was refused because of what it says is sent in halves, until the one that is at fault stands alone."""
    error, messages = one.sent.error, one.batch.messages
    is_content = error is not None and error.answer is not None and error.answer.status in _OF_CONTENT
    if len(messages) == 1 or error is None or error.is_gone or not is_content:
        return []
    fates = [_Fate(MessageStatus.PENDING, reason, now, uuid4()) for _ in range(2)]
    return [(message, fates[number * 2 // len(messages)]) for number, message in enumerate(messages)]


def backoff_seconds(attempt_count: int, *, age: timedelta, jitter: float | None = None) -> float:
    """How long to wait after this many attempts; age: since the first. `jitter` in [0.5, 1.5] spreads the crowd."""
    cap = URGENT_CAP_SECONDS if age < URGENT_FOR else CAP_SECONDS
    factor = _random.uniform(0.5, 1.5) if jitter is None else jitter
    # Beyond 2^10 the cap holds anyway, and 2.0 ** 2000 would overflow.
    return min(cap, FIRST_DELAY_SECONDS * 2.0 ** min(attempt_count - 1, 10)) * factor


def _write(fate: _Fate, messages: Sequence[OutboxMessage], now: datetime) -> None:
    values: dict[str, object] = {"status": fate.status, "reason": fate.reason, "lease_until": None}
    if fate.status == MessageStatus.DELIVERED:
        values["delivered_at"] = now
    if fate.not_before is not None:
        values["not_before"] = fate.not_before
    if fate.batch is not None:
        values["batch"] = fate.batch
    OutboxMessage.objects.filter(pk__in=[message.pk for message in messages]).update(**values)
    for message in messages:
        for name, value in values.items():
            setattr(message, name, value)


def _attempt(message: OutboxMessage, one: Done) -> DeliveryAttempt:
    error, answer = one.sent.error, one.sent.answer
    return DeliveryAttempt(
        message=message,
        number=message.attempt_count,
        started_at=one.started_at,
        seconds=one.sent.seconds,
        together_count=len(one.batch.messages),
        outcome=one.sent.outcome,
        reason=error.reason[:500] if error else "",
        status_code=answer.status if answer else None,
        answer=excerpt(answer),
        is_ambiguous=bool(error and error.is_ambiguous),
    )


def _disable(channel: Channel, reason: str) -> None:
    said = f"Disabled because the receiver says that it is gone: {reason}"[:300]
    if Channel.objects.enabled().filter(pk=channel.pk).update(is_enabled=False, disabled_reason=said):
        log.error("channel.disabled", channel_id=channel.pk, reason=reason)


def _report(one: Done) -> None:
    error = one.sent.error
    for message in one.batch.messages:
        metrics.DELIVERIES.labels(one.batch.channel.kind, one.sent.outcome).inc()
        facts = {"attempt": message.attempt_count, "seconds": round(one.sent.seconds, 3), **log_ids(message)}
        if error is None:
            log.info("delivery.succeeded", **facts)
        elif message.status == MessageStatus.DEAD:
            log.error("delivery.dead", reason=error.reason, **facts)
        else:
            log.warning("delivery.failed", reason=error.reason, **facts)
