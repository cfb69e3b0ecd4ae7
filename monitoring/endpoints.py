"""How a channel's receiver is treated: its rate, its rests, and one call at a time where a call carries a whole group.

Token bucket and circuit breaker are one row for each channel, so that all workers keep to them together. Its lock is taken
before that of any message, and never while a receiver is waited for.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.channels.channel import DeliveryError, Rate
from monitoring.channels.registry import kind_named
from monitoring.models import Channel, ChannelHealth
from monitoring.outbound import TIMEOUT_SECONDS

LEASE = timedelta(seconds=TIMEOUT_SECONDS + 45)
"""How long a worker has its messages to itself: a call, what is written before and after it, and clocks that differ."""
FAILURES_TO_REST = 5
FIRST_REST, LONGEST_REST = timedelta(seconds=30), timedelta(minutes=10)
LONGEST_HOLD = timedelta(hours=1)
"""However long a receiver asks us to wait: the channel is asked again after this, the refused message when it was told to."""

_UNKNOWN = Rate(1.0, 1)
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Call:
    """What one call to a receiver came to. error: None when it was taken. is_probe: the one try after a rest.

    is_ours: the error is a mistake of our own, which says nothing of the receiver.
    """

    error: DeliveryError | None = None
    is_probe: bool = False
    is_ours: bool = False

    @property
    def has_failed(self) -> bool:
        """In a way that may pass: the receiver is unwell. A refusal of what was sent says nothing of that."""
        return self.error is not None and not self.error.permanent and not self.is_ours

    @property
    def is_answered(self) -> bool:
        """The receiver is there, whether or not it liked what it got."""
        return self.error is None or (self.error.permanent and self.error.answer is not None)


def rate_of(channel: Channel) -> Rate:
    """A channel whose kind is gone is tried slowly: each try says so."""
    try:
        return kind_named(channel.kind).rate
    except LookupError:
        return _UNKNOWN


def is_grouped(channel: Channel) -> bool:
    try:
        return kind_named(channel.kind).is_grouped
    except LookupError:
        return False


def known(channel_ids: Collection[int]) -> dict[int, ChannelHealth]:
    """The rows, made where they are missing."""
    found = ChannelHealth.objects.select_related("channel").in_bulk(channel_ids)
    missing = [ChannelHealth(channel_id=pk) for pk in channel_ids if pk not in found]
    if missing:
        ChannelHealth.objects.bulk_create(missing, ignore_conflicts=True)
        found = ChannelHealth.objects.select_related("channel").in_bulk(channel_ids)
    return found


def locked_unless_busy(channel_id: int) -> ChannelHealth | None:
    """The row, locked; None while another worker takes or records messages of this channel."""
    rows = ChannelHealth.objects.select_related("channel__template")
    return rows.select_for_update(skip_locked=True, of=("self",)).filter(pk=channel_id).first()


def locked(channel_ids: Iterable[int]) -> dict[int, ChannelHealth]:
    """The rows, locked in one order."""
    rows = ChannelHealth.objects.select_related("channel").select_for_update(of=("self",))
    return {health.pk: health for health in rows.filter(pk__in=list(channel_ids)).order_by("pk")}


def tokens_at(health: ChannelHealth, now: datetime) -> float:
    """How many calls its rate allows; none before a time that the receiver asked for."""
    rate = rate_of(health.channel)
    if health.refilled_at is None:
        return float(rate.burst)
    if health.refilled_at > now:
        return 0.0
    gained = (now - health.refilled_at).total_seconds() * rate.per_second
    return min(float(rate.burst), health.tokens + gained)


def is_resting(health: ChannelHealth, now: datetime) -> bool:
    """The circuit breaker is open, or its one try is under way."""
    return health.closed_until is not None and health.closed_until > now


def is_probed_next(health: ChannelHealth, now: datetime) -> bool:
    return health.closed_until is not None and health.closed_until <= now


def is_busy(health: ChannelHealth, now: datetime) -> bool:
    return health.busy_until is not None and health.busy_until > now


def calls_allowed(health: ChannelHealth, now: datetime) -> int:
    """How many calls may begin now."""
    if is_resting(health, now) or is_busy(health, now):
        return 0
    tokens = int(tokens_at(health, now) + _ROUNDING)
    return min(tokens, 1) if is_grouped(health.channel) or is_probed_next(health, now) else tokens


def free_at(health: ChannelHealth, now: datetime) -> datetime:
    """When the next call may begin, as far as is known."""
    rests = [at for at in (health.closed_until, health.busy_until) if at is not None and at > now]
    if health.refilled_at is not None and health.refilled_at > now:
        rests.append(health.refilled_at)
    elif (tokens := tokens_at(health, now)) + _ROUNDING < 1:
        rests.append(now + timedelta(seconds=(1 - tokens) / rate_of(health.channel).per_second))
    return max(rests, default=now)


def begin(health: ChannelHealth, count: int, now: datetime) -> bool:
    """Note that so many calls begin; True when it is the one try after a rest. The row must be locked."""
    is_probe = is_probed_next(health, now)
    health.tokens, health.refilled_at = max(0.0, tokens_at(health, now) - count), now
    if is_probe:
        health.closed_until = now + LEASE
    if is_grouped(health.channel):
        health.busy_until = now + LEASE
    health.save(update_fields=["tokens", "refilled_at", "closed_until", "busy_until"])
    return is_probe


def judge(health: ChannelHealth, calls: Iterable[Call], now: datetime) -> None:
    """What calls that ended say about the receiver. The row must be locked."""
    health.busy_until = None
    for call in calls:
        _judge_one(health, call, now)
    health.save()


def _judge_one(health: ChannelHealth, call: Call, now: datetime) -> None:
    if call.error is None:
        health.last_success_at = now
    else:
        health.last_reason, health.last_failure_at = call.error.reason[:500], now
        _hold(health, call.error.retry_after, now)
    if call.has_failed:
        _count_failure(health, now, is_probe=call.is_probe)
    elif call.error is None or (call.is_probe and call.is_answered):
        health.failure_count, health.closed_until = 0, None
    elif call.is_probe:
        # Nothing was learnt: the next message is the probe.
        health.closed_until = now


def _count_failure(health: ChannelHealth, now: datetime, *, is_probe: bool) -> None:
    if is_resting(health, now) and not is_probe:
        # Begun before the rest: one of a crowd, not another try.
        return
    health.failure_count += 1
    if health.failure_count >= FAILURES_TO_REST:
        doublings = min(health.failure_count - FAILURES_TO_REST, 10)
        health.closed_until = now + min(LONGEST_REST, FIRST_REST * 2**doublings)


def _hold(health: ChannelHealth, seconds: float | None, now: datetime) -> None:
    """The receiver asked for a pause: nobody of this channel gets a token before its end, then there is one."""
    if seconds is None:
        return
    until = now + timedelta(seconds=min(LONGEST_HOLD.total_seconds(), seconds))
    if health.refilled_at is None or until > health.refilled_at:
        health.tokens, health.refilled_at = 1.0, until
