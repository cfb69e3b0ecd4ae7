"""What grows with time is kept within bounds, and what was learnt is kept fresh."""

from datetime import datetime, timedelta
from time import monotonic

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber

from monitoring import baselines, budget
from monitoring.incidents import IncidentChanged
from monitoring.models import Backtest, MessageKind, Monitor, OutboxMessage
from monitoring.models.backtest import UNFINISHED
from monitoring.models.outbox import UNDECIDED
from monitoring.references import NothingToLearn

log = structlog.get_logger(__name__)

KEPT_BACKTESTS = 20
"""Of each monitor and outcome."""

TEST_MESSAGES_KEPT = timedelta(days=30)

BATCH = 5_000

# By the unique index of slice and time: a batch locks what it removes and reads little else.
_FORGET = """
DELETE FROM monitoring_driftevaluation WHERE id IN (
    SELECT one.id FROM monitoring_monitorslice place
    JOIN monitoring_driftevaluation one ON one.slice_id = place.id AND one.bucket_at < %(before)s
    WHERE place.monitor_id = %(monitor)s AND NOT EXISTS (
        SELECT 1 FROM monitoring_incident open
        WHERE open.monitor_id = place.monitor_id AND open.slice_key = place.key
          AND open.state <> 'resolved' AND open.onset_at <= one.bucket_at)
    LIMIT %(limit)s)
"""

_REFUSALS = (NothingToLearn, IncidentChanged, Monitor.DoesNotExist, LookupError, ValueError, DatabaseError)
"""Why one monitor cannot learn anew: the past holds too little, its metric is gone or defined otherwise, or a lock."""


def tidy(now: datetime, *, seconds: float = 1_500.0) -> int:
    """Forget and learn anew until all is done, or until `seconds` have passed: the rest comes next time. How many rows."""
    deadline = monotonic() + seconds
    # Whoever changed something and died before it could share anew.
    budget.redistribute()
    forgotten = forget_evaluations(now, deadline) + forget_messages(now, deadline) + forget_backtests()
    return forgotten + refresh_references(now, deadline)


def forget_evaluations(now: datetime, deadline: float) -> int:
    """Remove what is older than EVALUATION_DAYS; what an open incident is about stays. How many rows."""
    before = now - timedelta(days=settings.EVALUATION_DAYS)
    count = 0
    for monitor_id in Monitor.objects.order_by("pk").values_list("pk", flat=True):
        removed = BATCH
        while removed == BATCH and monotonic() < deadline:
            removed = _forget_batch(monitor_id, before)
            count += removed
    return count


def _forget_batch(monitor_id: int, before: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, {"monitor": monitor_id, "before": before, "limit": BATCH})
        return int(cursor.rowcount)


def forget_messages(now: datetime, deadline: float) -> int:
    """Remove messages and attempts of incidents that ended before DELIVERY_DAYS, whose logs stay, and old test messages."""
    before = now - timedelta(days=settings.DELIVERY_DAYS)
    decided = OutboxMessage.objects.exclude(status__in=UNDECIDED)
    count = 0
    for old in (
        decided.filter(created_at__lt=before, incident__resolved_at__lt=before),
        decided.filter(incident=None, kind=MessageKind.TEST, created_at__lt=now - TEST_MESSAGES_KEPT),
    ):
        while monotonic() < deadline:
            removed = _forget_messages(old)
            count += removed
            if not removed:
                break
    return count


def _forget_messages(old: QuerySet[OutboxMessage]) -> int:
    with transaction.atomic():
        # Not one that somebody sends again at this moment.
        oldest = old.order_by("pk").select_for_update(skip_locked=True, of=("self",))[:BATCH]
        ids = [message.pk for message in oldest.only("pk")]
        return OutboxMessage.objects.filter(pk__in=ids).delete()[0] if ids else 0


def forget_backtests() -> int:
    """Remove finished backtests beyond the newest of each monitor. How many."""
    ranked = Backtest.objects.exclude(state__in=UNFINISHED).annotate(
        place=Window(RowNumber(), partition_by=[F("monitor"), F("state")], order_by=F("id").desc())
    )
    old = list(ranked.filter(place__gt=KEPT_BACKTESTS).values_list("pk", flat=True))
    return Backtest.objects.filter(pk__in=old).delete()[0]


def refresh_references(now: datetime, deadline: float) -> int:
    """Have every monitor that is due learn anew, the oldest knowledge first; one that cannot does not stop the others."""
    count = 0
    due = Monitor.objects.active().order_by("reference__made_at", "pk").values_list("pk", flat=True)
    for monitor_id in list(due):
        if monotonic() >= deadline:
            break
        # Read one by one: hours may pass until it is its turn.
        monitor = Monitor.objects.select_related("reference").filter(pk=monitor_id).first()
        if monitor is None:
            continue
        try:
            count += baselines.refresh(monitor, now=now)
        except _REFUSALS as error:
            log.warning("reference.refresh_failed", monitor_id=monitor.pk, reason=str(error)[:300])
    return count
