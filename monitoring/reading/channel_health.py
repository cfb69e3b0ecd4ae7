"""How channels do: what was tried and delivered in 24 hours, what waits, and what their receivers said last.

Big tables are read from their newest end, at most so many rows of each.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Count, DurationField, ExpressionWrapper, F, Min, Q, QuerySet
from django.db.models.functions import TruncHour

from monitoring.models import (
    AttemptOutcome,
    Channel,
    ChannelHealth,
    DeliveryAttempt,
    MessageStatus,
    OutboxMessage,
)
from monitoring.reading.numbers import Percentile

WINDOW = timedelta(hours=24)
MOST_ATTEMPTS = 20_000
MOST_MESSAGES = 20_000
_LATE = timedelta(minutes=2)
_OF_LIBRARIES = re.compile(
    r"<?(urllib3\.\w+\.)*HTTPS?Connection(\([^)]*\))?( object at 0x\w+>)?: |\[Errno -?\d+\] "
)


class Condition(StrEnum):
    """unused: nothing was sent yet. held: the receiver asked for a pause. resting: it failed so often that it is left alone.

    refusing: the last message was not taken, and is not sent again.
    """

    WORKS = "works"
    UNUSED = "unused"
    DISABLED = "disabled"
    RESTING = "resting"
    FAILING = "failing"
    REFUSING = "refusing"
    HELD = "held"
    BEHIND = "behind"


BAD = frozenset({Condition.RESTING, Condition.FAILING, Condition.REFUSING})


@dataclass(frozen=True)
class Hour:
    at: datetime
    delivered: int
    failed: int


@dataclass(frozen=True)
class Waiting:
    """due: may be sent now. later: for a group, a digest or the next try. held: by a silence. oldest: when the oldest due was written."""

    due: int = 0
    later: int = 0
    held: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """One channel. seconds: from written to delivered, waiting for the others of a group included; None: none was."""

    channel: Channel
    health: ChannelHealth | None
    condition: Condition
    hours: Sequence[Hour] = field(default_factory=list)
    median_seconds: float | None = None
    p99_seconds: float | None = None
    delivered_count: int = 0
    waiting: Waiting = Waiting()
    last_failure: DeliveryAttempt | None = None

    @property
    def is_bad(self) -> bool:
        return self.condition in BAD

    @property
    def last_success_at(self) -> datetime | None:
        return self.health.last_success_at if self.health else None

    @property
    def last_failure_at(self) -> datetime | None:
        return self.health.last_failure_at if self.health else None

    @property
    def last_reason(self) -> str:
        return in_words(self.health.last_reason) if self.health else ""

    @property
    def attempt_count(self) -> int:
        return sum(hour.delivered + hour.failed for hour in self.hours)

    @property
    def failed_count(self) -> int:
        return sum(hour.failed for hour in self.hours)

    @property
    def success_share(self) -> float | None:
        return 1 - self.failed_count / self.attempt_count if self.attempt_count else None


def read(now: datetime, channels: Iterable[Channel] | None = None) -> list[Standing]:
    """All channels, or these (with their `health` selected); four queries, and one for all channels."""
    rows = list(Channel.objects.of_people().select_related("health") if channels is None else channels)
    ids = [row.pk for row in rows]
    hours, speeds = _hours(ids, now), _speeds(ids, now)
    waiting, failures = _waiting(ids, now), _failures(ids, now)
    found = []
    for row in rows:
        health: ChannelHealth | None = getattr(row, "health", None)
        held = waiting.get(row.pk, Waiting())
        median, p99, count = speeds.get(row.pk, (None, None, 0))
        found.append(
            Standing(
                row, health, condition_of(row, health, held, now), hours.get(row.pk, []), median, p99, count, held,
                failures.get(row.pk),
            )
        )  # fmt: skip
    return found


def condition_of(
    channel: Channel, health: ChannelHealth | None, waiting: Waiting, now: datetime
) -> Condition:
    """The one thing to know first."""
    if not channel.is_enabled:
        return Condition.DISABLED
    if health is not None and health.closed_until is not None and health.closed_until > now:
        return Condition.RESTING
    if health is not None and health.failure_count > 0:
        return Condition.FAILING
    if health is not None and _was_refused(health):
        return Condition.REFUSING
    if health is not None and health.refilled_at is not None and health.refilled_at > now:
        return Condition.HELD
    if waiting.oldest is not None and now - waiting.oldest > _LATE:
        return Condition.BEHIND
    if health is None or (health.last_success_at is None and health.last_failure_at is None):
        return Condition.UNUSED
    return Condition.WORKS


def _was_refused(health: ChannelHealth) -> bool:
    """What came last was no success. Refusals for good are no failures in a row: the receiver answers."""
    failed, succeeded = health.last_failure_at, health.last_success_at
    return failed is not None and (succeeded is None or succeeded < failed)


def in_words(reason: str) -> str:
    """Without the names that a library gives to its connections and errors."""
    return _OF_LIBRARIES.sub("", reason).strip()


def _attempts(ids: Sequence[int], now: datetime) -> QuerySet[DeliveryAttempt]:
    newest = DeliveryAttempt.objects.order_by("-pk").values("pk")[:MOST_ATTEMPTS]
    rows = DeliveryAttempt.objects.filter(pk__in=newest, started_at__gt=now - WINDOW)
    return rows.filter(message__channel__in=ids).order_by()


def _hours(ids: Sequence[int], now: datetime) -> dict[int, list[Hour]]:
    is_delivered = Q(outcome=AttemptOutcome.DELIVERED)
    rows = (
        _attempts(ids, now)
        .annotate(hour=TruncHour("started_at"))
        .values_list("message__channel", "hour")
        .annotate(delivered=Count("pk", filter=is_delivered), failed=Count("pk", filter=~is_delivered))
    )
    found: dict[int, list[Hour]] = defaultdict(list)
    for channel_id, at, delivered, failed in rows:
        found[channel_id].append(Hour(at, delivered, failed))
    return {pk: sorted(hours, key=lambda hour: hour.at) for pk, hours in found.items()}


def _speeds(ids: Sequence[int], now: datetime) -> dict[int, tuple[float | None, float | None, int]]:
    """What a silence held back is left out: it waited because somebody wanted it so."""
    newest = OutboxMessage.objects.order_by("-pk").values("pk")[:MOST_MESSAGES]
    rows = OutboxMessage.objects.filter(
        pk__in=newest,
        status=MessageStatus.DELIVERED,
        delivered_at__gt=now - WINDOW,
        suppressed_since=None,
        channel__in=ids,
    )
    span = ExpressionWrapper(F("delivered_at") - F("created_at"), output_field=DurationField())
    found = (
        rows.order_by()
        .values_list("channel")
        .annotate(median=Percentile(span, 0.5), p99=Percentile(span, 0.99), count=Count("pk"))
    )
    return {
        channel_id: (median.total_seconds(), p99.total_seconds(), count)
        for channel_id, median, p99, count in found
    }


def _waiting(ids: Sequence[int], now: datetime) -> dict[int, Waiting]:
    is_due = Q(status=MessageStatus.LEASED) | Q(status=MessageStatus.PENDING, not_before__lte=now)
    rows = (
        OutboxMessage.objects.undecided()
        .filter(channel__in=ids)
        .order_by()
        .values_list("channel")
        .annotate(
            due=Count("pk", filter=is_due),
            later=Count("pk", filter=Q(status=MessageStatus.PENDING, not_before__gt=now)),
            held=Count("pk", filter=Q(status=MessageStatus.SUPPRESSED)),
            oldest=Min("created_at", filter=is_due),
        )
    )
    return {channel_id: Waiting(due, later, held, oldest) for channel_id, due, later, held, oldest in rows}


def _failures(ids: Sequence[int], now: datetime) -> Mapping[int, DeliveryAttempt]:
    """The last one of each channel in 24 hours, with its message."""
    rows = _attempts(ids, now).exclude(outcome=AttemptOutcome.DELIVERED).select_related("message")
    last = rows.order_by("message__channel_id", "-pk").distinct("message__channel_id")
    return {attempt.message.channel_id: attempt for attempt in last.defer("message__payload")}
