"""One check: closed buckets -> detector -> incident -> messages, in one transaction.

The watermark moves in the same transaction, under the monitor's lock: a bucket is used once, whoever runs and whatever is
killed. Late facts become visible in a later bucket (feedback/rollups.py), so nothing behind the watermark ever changes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from monitoring import metrics
from monitoring.desk import Desk
from monitoring.freezing import Frozen
from monitoring.gathering import times
from monitoring.models import Monitor
from monitoring.references import Known
from monitoring.sources import Bucket, Source

log = structlog.get_logger(__name__)

BUCKETS_PER_CHECK = 500
"""A monitor that is far behind catches up in pieces, so that no transaction grows without bound."""

_STATEMENT_SECONDS = 30
_RETRY_INTERVALS = 5


@dataclass(frozen=True)
class CheckResult:
    """row_count: buckets seen. is_behind: more closed buckets are waiting."""

    row_count: int
    is_behind: bool


def run_due(now: datetime) -> int:
    """Check every monitor that is due and say how many buckets were seen; one broken monitor does not stop the others."""
    due = Monitor.objects.due(now).order_by("due_at", "pk").values_list("pk", flat=True)
    return sum(_run_isolated(monitor_id, now) for monitor_id in list(due))


def _run_isolated(monitor_id: int, now: datetime) -> int:
    row_count = 0
    try:
        while True:
            result = check(monitor_id, now)
            row_count += result.row_count if result else 0
            if result is None or not result.is_behind:
                return row_count
    except Exception as error:
        log.exception("check.failed", monitor_id=monitor_id)
        metrics.CHECKS.labels("failed").inc()
        _note_failure(monitor_id, error, now)
        return row_count


def check(monitor_id: int, now: datetime) -> CheckResult | None:
    """Use every closed bucket behind the watermark; None when the monitor is not due or another worker has it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'")
        due = Monitor.objects.due(now).filter(pk=monitor_id)
        monitor = due.select_for_update(skip_locked=True, no_key=True).first()
        if monitor is None or monitor.watermark_at is None or monitor.started_at is None:
            return None
        source = monitor.source
        ripe = max(source.ripe_until() or monitor.watermark_at, monitor.watermark_at)
        piece = timedelta(seconds=BUCKETS_PER_CHECK * settings.BUCKET_SECONDS)
        until = min(ripe, monitor.watermark_at + piece)
        row_count = _use(monitor, source, monitor.watermark_at, until, now)
        _note_success(monitor, row_count, until=until, is_behind=until < ripe, now=now)
    metrics.CHECKS.labels("ok").inc()
    metrics.CHECKED_BUCKETS.inc(row_count)
    log.debug("check.finished", monitor_id=monitor.pk, rows=row_count)
    return CheckResult(row_count, until < ripe)


def _use(monitor: Monitor, source: Source, after: datetime, until: datetime, now: datetime) -> int:
    """Take what became ripe into account; the number of buckets seen."""
    known = Known.of(monitor, source.metric)
    if until <= after or monitor.started_at is None:
        return 0
    cut = {"after": after, "until": until, "not_before": monitor.started_at}
    buckets = source.closed(where=monitor.where, split_by=monitor.split_by, **cut)
    against: dict[datetime, list[Bucket]] = {}
    if monitor.is_compared:
        where = {**monitor.where, **monitor.control}
        for at, several in groupby(
            source.closed(where=where, split_by=monitor.split_by, **cut), key=attrgetter("at")
        ):
            against[at] = list(several)
    desk = Desk(monitor, source, known, now)
    start, end = max(after - source.maturity, monitor.started_at), until - source.maturity
    frozen = Frozen.between(after - source.maturity, until)
    for at, together in _by_time(buckets, start, end, is_dense=desk.is_dense):
        for tracked, sample in desk.sorted_into_slices(at, together, against.get(at, [])):
            tracked.take(sample, at=at, is_frozen=frozen.covers(at, tracked.row.labels))
    desk.save()
    filled = [bucket.at for bucket in buckets if bucket.sample.n]
    monitor.last_row_at = max(filled, default=monitor.last_row_at)
    return len(buckets)


def _by_time(
    buckets: Sequence[Bucket], start: datetime, end: datetime, *, is_dense: bool
) -> Iterator[tuple[datetime, list[Bucket]]]:
    found = {at: list(together) for at, together in groupby(buckets, key=attrgetter("at"))}
    for at in times(start, end) if is_dense else found:
        yield at, found.get(at, [])


def _note_success(
    monitor: Monitor, row_count: int, *, until: datetime, is_behind: bool, now: datetime
) -> None:
    monitor.watermark_at = until
    monitor.checked_at = now
    monitor.check_row_count = row_count
    monitor.check_error = ""
    monitor.failure_count = 0
    if not is_behind:
        next_closes_at = until + timedelta(seconds=settings.BUCKET_SECONDS + settings.LATENESS_SECONDS)
        monitor.due_at = max(now, next_closes_at)
    monitor.save(
        update_fields=[
            "watermark_at",
            "checked_at",
            "check_row_count",
            "check_error",
            "failure_count",
            "due_at",
            "last_row_at",
        ]
    )


def _note_failure(monitor_id: int, error: Exception, now: datetime) -> None:
    Monitor.objects.filter(pk=monitor_id).update(
        checked_at=now,
        check_row_count=0,
        check_error=f"{type(error).__name__}: {error}"[:500],
        failure_count=F("failure_count") + 1,
        due_at=now + timedelta(seconds=_RETRY_INTERVALS * settings.CHECK_SECONDS),
    )
