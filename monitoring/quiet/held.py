"""Messages that are held back while an incident is suppressed: delayed, never dropped while it is still true."""

from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db.models import DateTimeField, Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from monitoring.models import DeliveryAttempt, Incident, MessageKind, MessageStatus, OutboxMessage

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
    values = {
        "status": MessageStatus.SUPPRESSED,
        "suppressed_since": Coalesce(F("suppressed_since"), Value(now, DateTimeField())),
        "suppressed_by": said[:300],
        "reason": f"held back: {said}"[:500],
        "batch": None,
    }
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


def release(incident: Incident, *, now: datetime) -> int:
    """Give back what was held: for each channel the newest, once; how many."""
    rows = OutboxMessage.objects.filter(incident=incident, status=MessageStatus.SUPPRESSED)
    kept: list[UUID] = []
    passed: list[UUID] = []
    for _, found in groupby(rows.order_by("channel", "seq"), key=lambda row: row.channel_id):
        messages = list(found)
        triggers = [row for row in messages if row.kind == MessageKind.TRIGGER]
        news = triggers or [row for row in messages if row.kind == MessageKind.REMINDER]
        since = news[-1].seq if news else 0
        for row in messages:
            is_kept = row in news[-1:] or (row.kind not in _NEWS and row.seq > since)
            (kept if is_kept else passed).append(row.pk)
    still = OutboxMessage.objects.filter(status=MessageStatus.SUPPRESSED)
    still.filter(pk__in=passed).update(status=MessageStatus.SUPERSEDED, reason=NEWER)
    return still.filter(pk__in=kept).update(
        status=MessageStatus.PENDING,
        not_before=Greatest(F("not_before"), Value(now, DateTimeField())),
        expires_at=now + OutboxMessage.LIFETIME,
        reason="",
    )


def drop(incident: Incident) -> int:
    """Of a resolved incident: what was held back, and its end where nobody heard of the beginning; how many."""
    rows = OutboxMessage.objects.filter(incident=incident)
    held = rows.filter(status=MessageStatus.SUPPRESSED)
    # Read now: after the update below no row says any more which channels they were.
    untold = list(held.exclude(channel__in=_told(incident)).values_list("channel", flat=True).distinct())
    count = held.update(status=MessageStatus.SUPERSEDED, reason=OVER)
    endings = rows.filter(channel__in=untold, status=MessageStatus.PENDING, attempt_count=0)
    return count + endings.update(status=MessageStatus.SUPERSEDED, reason=OVER_UNTOLD)


def _told(incident: Incident) -> QuerySet[Any, Any]:
    """Channels that have its beginning, may have it, or are about to get it."""
    under_way = Q(status__in=(MessageStatus.DELIVERED, MessageStatus.LEASED, MessageStatus.PENDING))
    triggers = OutboxMessage.objects.filter(incident=incident, kind=MessageKind.TRIGGER)
    return triggers.filter(under_way | Q(doubtful())).values("channel")
