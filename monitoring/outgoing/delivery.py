"""Sending: lease, commit, send, record.

At least once: a worker that dies between sending and recording leaves a lease that runs out, the lost attempt is written
down, and the next attempt says that it may be a repeat. No transaction is open while a receiver is waited for.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from time import monotonic

import structlog

from monitoring.channels import registry
from monitoring.channels.channel import DeliveryError, Notice
from monitoring.models import MessageStatus, OutboxMessage
from monitoring.outgoing import escalation, outbox, recording
from monitoring.outgoing.notices import notices_of, settings_of
from monitoring.outgoing.outbox import Batch, log_ids
from monitoring.outgoing.recording import Done, Sent

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 0.25
"""While receivers are waited for, what became due for others is looked for."""
_TIDY_SECONDS = 1.0
_GIVEN_UP_AT_ONCE = 1_000
_GATHER_SECONDS = 0.01
"""Calls that end within so short a time are recorded together."""

Clock = Callable[[], datetime]


def deliver_due(clock: Clock, *, seconds: float = 40.0) -> int:
    """Send what is due until nothing is, or until `seconds` have passed; how many attempts were made."""
    deadline, tidy_at = monotonic() + seconds, 0.0
    attempt_count = 0
    running: dict[Future[Sent], tuple[Batch, datetime]] = {}
    # Threads only talk to receivers; the database stays with this one.
    with ThreadPoolExecutor(max_workers=outbox.CALLS) as pool:
        while True:
            if monotonic() >= tidy_at:
                _escalate(_give_up_expired(clock()), clock())
                tidy_at = monotonic() + _TIDY_SECONDS
            if monotonic() < deadline:
                attempt_count += _begin(pool, running, clock())
            if not running:
                return attempt_count
            _end(running, clock)


def _begin(
    pool: ThreadPoolExecutor, running: dict[Future[Sent], tuple[Batch, datetime]], now: datetime
) -> int:
    """Start what is due, as far as there are threads; how many messages are on their way by that."""
    outbox.supersede_unsent(now)
    under_way = Counter(batch.channel.pk for batch, _ in running.values())
    batches = outbox.lease(now, outbox.CALLS - len(running), under_way)
    for batch, notice in zip(batches, notices_of(batches, now), strict=True):
        running[pool.submit(_send, batch, notice, now)] = batch, now
    return sum(len(batch.messages) for batch in batches)


def _end(running: dict[Future[Sent], tuple[Batch, datetime]], clock: Clock) -> None:
    """Wait for calls to end, and write down those that did."""
    done, _ = wait(running, timeout=_LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED)
    if not done:
        return
    done, _ = wait(running, timeout=_GATHER_SECONDS)
    ended = []
    for task in done:
        batch, started_at = running.pop(task)
        ended.append(Done(batch, task.result(), started_at))
    now = clock()
    _escalate(_record(ended, now), now)


def _record(ended: Sequence[Done], now: datetime) -> list[OutboxMessage]:
    """One that cannot be written down does not keep the others from it: what was taken would be sent again."""
    try:
        return recording.record(ended, now=now)
    except Exception as mistake:
        log.exception("delivery.unrecorded", **log_ids(ended[0].batch.messages[0]))
        if len(ended) > 1:
            return [message for one in ended for message in _record([one], now)]
        return recording.record([recording.without_details(ended[0], mistake)], now=now)


def _send(batch: Batch, notice: Notice, now: datetime) -> Sent:
    began = monotonic()
    try:
        channel = registry.make(batch.channel.kind, settings_of(batch.channel, now))
        answer = channel.send(notice, now=now)
        return Sent(monotonic() - began, answer)
    except DeliveryError as error:
        return Sent(monotonic() - began, error.answer, error)
    except Exception as error:
        log.exception("delivery.broken", **log_ids(batch.messages[0]))
        reason = f"our own error: {type(error).__name__}"
        return Sent(monotonic() - began, error=DeliveryError(reason, is_ambiguous=True), is_ours=True)


def _give_up_expired(now: datetime) -> list[OutboxMessage]:
    """Messages that were not delivered within their lifetime are dead: seen in the admin, and can be sent again."""
    given_up = []
    for message in OutboxMessage.objects.expired(now).select_related("channel")[:_GIVEN_UP_AT_ONCE]:
        never = "never sent" if message.channel.is_enabled else "the channel is disabled"
        reason = f"not delivered in time: {message.reason or never}"[:500]
        still_waiting = OutboxMessage.objects.expired(now).filter(pk=message.pk)
        if still_waiting.update(status=MessageStatus.DEAD, reason=reason):
            message.status, message.reason = MessageStatus.DEAD, reason
            given_up.append(message)
            log.error("delivery.dead", reason=reason, **log_ids(message))
    return given_up


def _escalate(dead: Iterable[OutboxMessage], now: datetime) -> None:
    """Who is told instead; the sweep comes back to what fails here."""
    for message in dead:
        try:
            escalation.next_after_dead(message, now)
        except Exception:
            log.exception("escalation.broken", **log_ids(message))
