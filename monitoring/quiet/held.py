"""Messages that are held back while an incident is suppressed: delayed, never dropped while it is still true."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from monitoring.models import DeliveryAttempt, Incident, MessageKind, MessageStatus, OutboxMessage
from monitoring.route_times import BY_ROUTE, next_time

Messages = QuerySet[OutboxMessage]

NEWER = "a newer message says it"
OVER = "it was over before it could be told"
OVER_UNTOLD = "it was over before anybody was told"

_NEWS = (MessageKind.TRIGGER, MessageKind.REMINDER)


def doubtful() -> Exists:
    """The receiver may have it: what becomes of it is for the delivery to say."""
    return Exists(DeliveryAttempt.objects.filter(message=OuterRef("pk"), is_ambiguous=True))


def holdable() -> Messages:
    """News that nobody has, or may have, yet."""
    return OutboxMessage.objects.filter(~doubtful(), status=MessageStatus.PENDING, kind__in=_NEWS)


def hold(incident: Incident, said: str, *, now: datetime) -> int:
    """Hold back what is news, and the acknowledgement of what nobody heard of; said: why, in words that may leave the product."""
    values = _held_values(said, now)
    count = holdable().filter(incident=incident).update(**values)
    waiting = OutboxMessage.objects.filter(
        incident=incident, status=MessageStatus.SUPPRESSED, kind=MessageKind.TRIGGER
    ).values("channel")
    acknowledged = OutboxMessage.objects.filter(
        incident=incident, kind=MessageKind.ACKNOWLEDGE, status=MessageStatus.PENDING, attempt_count=0
    )
    return count + acknowledged.filter(channel__in=waiting).exclude(channel__in=_told(incident)).update(
        **values
    )


def hold_each(incident_ids: Collection[UUID], said: str, *, now: datetime, waits: bool) -> int:
    """Hold back what is news of many; waits: for rows that others have locked, instead of leaving those to the next sweep."""
    with transaction.atomic():
        rows = holdable().filter(incident__in=incident_ids).order_by("pk")
        locked = rows.select_for_update(of=("self",), no_key=True, skip_locked=not waits)
        ids = list(locked.values_list("pk", flat=True))
        return OutboxMessage.objects.filter(pk__in=ids).update(**_held_values(said, now))


def release(incident: Incident, *, now: datetime) -> int:
    """Give back what was held: for each channel the newest, once, when its route tells; how many."""
    rows = OutboxMessage.objects.filter(incident=incident, status=MessageStatus.SUPPRESSED)
    rows = rows.defer("payload").select_related("route__hours")
    kept: dict[datetime, list[UUID]] = defaultdict(list)
    passed: list[UUID] = []
    for _, found in groupby(rows.order_by("channel", "seq"), key=lambda row: row.channel_id):
        messages = list(found)
        triggers = [row for row in messages if row.kind == MessageKind.TRIGGER]
        news = triggers or [row for row in messages if row.kind == MessageKind.REMINDER]
        since = news[-1].seq if news else 0
        opens_at = _opens_at(news, now)
        for row in messages:
            is_kept = row in news[-1:] or (row.kind not in _NEWS and row.seq > since)
            (kept[max(row.not_before, opens_at)] if is_kept else passed).append(row.pk)
    still = OutboxMessage.objects.filter(status=MessageStatus.SUPPRESSED)
    still.filter(pk__in=passed).update(status=MessageStatus.SUPERSEDED, reason=NEWER)
    return sum(_give_back(still.filter(pk__in=ids), at) for at, ids in kept.items())


def _give_back(rows: Messages, at: datetime) -> int:
    values = {"not_before": at, "expires_at": at + OutboxMessage.LIFETIME}
    return rows.update(status=MessageStatus.PENDING, reason="", **values)


def _opens_at(news: Sequence[OutboxMessage], now: datetime) -> datetime:
    """Within the hours, and with the digest, of the route that chose the channel; steps and named channels know neither."""
    last = news[-1] if news else None
    if last is None or last.route is None or not last.because.startswith(BY_ROUTE):
        return now
    return next_time(last.route, now, is_grouped=bool(last.group_key))


def drop(incident: Incident) -> int:
    """Of a resolved incident: what was held back, and its end where nobody heard of the beginning; how many."""
    rows = OutboxMessage.objects.filter(incident=incident)
    held = rows.filter(status=MessageStatus.SUPPRESSED)
    # Read now: after the update below no row says any more which channels they were.
    untold = list(held.exclude(channel__in=_told(incident)).values_list("channel", flat=True).distinct())
    count = held.update(status=MessageStatus.SUPERSEDED, reason=OVER)
    endings = rows.filter(channel__in=untold, status=MessageStatus.PENDING, attempt_count=0)
    return count + endings.update(status=MessageStatus.SUPERSEDED, reason=OVER_UNTOLD)


def _held_values(said: str, now: datetime) -> dict[str, Any]:
    return {
        "status": MessageStatus.SUPPRESSED,
        "suppressed_since": Coalesce(F("suppressed_since"), Value(now, DateTimeField())),
        "suppressed_by": said[:300],
        "reason": f"held back: {said}"[:500],
        "batch": None,
    }


def _told(incident: Incident) -> QuerySet[Any, Any]:
    """Channels that have its beginning, may have it, or are about to get it."""
    under_way = Q(status__in=(MessageStatus.DELIVERED, MessageStatus.LEASED, MessageStatus.PENDING))
    triggers = OutboxMessage.objects.filter(incident=incident, kind=MessageKind.TRIGGER)
    return triggers.filter(under_way | Q(doubtful())).values("channel")
