"""How long messages have been waiting, and which channels keep them waiting."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Min

from monitoring import endpoints
from monitoring.models import ChannelHealth, MessageStatus, OutboxMessage

QUANTILES = (0.5, 0.99)
_AGES = """
    SELECT percentile_cont(%s) WITHIN GROUP (ORDER BY extract(epoch FROM %s - message.not_before))
    FROM monitoring_outboxmessage AS message
    JOIN monitoring_channel AS channel ON channel.id = message.channel_id AND channel.is_enabled
    WHERE message.status IN ('pending', 'leased') AND message.not_before <= %s
"""


@dataclass(frozen=True)
class Sight:
    """The channels of one kind: how many rest, and how long the oldest message waits for a rate."""

    resting_count: int = 0
    rate_wait_seconds: float = 0.0


def ages(now: datetime) -> dict[float, float]:
    """Quantiles of how long due messages have been waiting, in seconds; 0 when none waits."""
    with connection.cursor() as cursor:
        cursor.execute(_AGES, [list(QUANTILES), now, now])
        found = cursor.fetchone()[0] or [0.0] * len(QUANTILES)
    return {quantile: float(seconds) for quantile, seconds in zip(QUANTILES, found, strict=True)}


def channels(now: datetime) -> dict[str, Sight]:
    """By kind of the enabled channels that were ever used."""
    due = OutboxMessage.objects.filter(status=MessageStatus.PENDING, not_before__lte=now).order_by()
    oldest = dict(due.values_list("channel").annotate(Min("not_before")))
    resting: dict[str, int] = defaultdict(int)
    waits: dict[str, float] = defaultdict(float)
    for health in ChannelHealth.objects.filter(channel__is_enabled=True).select_related("channel"):
        kind = health.channel.kind
        resting[kind] += health.closed_until is not None
        is_out = endpoints.tokens_at(health, now) < 1
        if is_out and health.pk in oldest:
            waits[kind] = max(waits[kind], (now - oldest[health.pk]).total_seconds())
    return {kind: Sight(count, waits[kind]) for kind, count in resting.items()}


def seconds_until_due(now: datetime) -> float | None:
    """How long until a message's time comes, or its channel may be called again; None when there is nothing to wait for.

    What waits for another message of its incident is not counted: the sweep finds it.
    """
    waiting = OutboxMessage.objects.filter(status=MessageStatus.PENDING, channel__is_enabled=True).order_by()
    first = dict(waiting.values_list("channel").annotate(Min("not_before")))
    later = dict(waiting.filter(not_before__gt=now).values_list("channel").annotate(Min("not_before")))
    healths = endpoints.known(first.keys())
    free = {pk: endpoints.free_at(healths[pk], now) for pk in first}
    held = [free[pk] for pk, at in first.items() if at <= now < free[pk]]
    times = held + [max(at, free[pk]) for pk, at in later.items()]
    return (min(times) - now).total_seconds() if times else None
