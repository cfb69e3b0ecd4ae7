"""One check: closed buckets -> detector -> incident -> messages, in one transaction.

The watermark moves in the same transaction, under the monitor's lock: a bucket is used once, whoever runs and whatever is
killed. Late facts become visible in a later bucket (feedback/rollups.py), so nothing behind the watermark ever changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from feedback.models import QualityMetric
from feedback.stats import ClosedBucket, closed_buckets, closed_until
from monitoring import metrics
from monitoring.models import Incident, Monitor, MonitorSlice
from monitoring.monitors.kind import Detector
from monitoring.slices import OTHER, slice_key
from monitoring.tracking import TrackedSlice
from triageops.stats.moments import Moments

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
        closed = max(closed_until() or monitor.watermark_at, monitor.watermark_at)
        piece = timedelta(seconds=BUCKETS_PER_CHECK * settings.BUCKET_SECONDS)
        until = min(closed, monitor.watermark_at + piece)
        buckets = closed_buckets(
            monitor.metric,
            where=monitor.where,
            split_by=monitor.split_by,
            after=monitor.watermark_at,
            until=until,
            not_before=monitor.started_at,
        )
        _use(monitor, buckets, now)
        _note_success(monitor, len(buckets), until=until, is_behind=until < closed, now=now)
    metrics.CHECKS.labels("ok").inc()
    metrics.CHECKED_BUCKETS.inc(len(buckets))
    log.debug("check.finished", monitor_id=monitor.pk, rows=len(buckets))
    return CheckResult(len(buckets), until < closed)


def _use(monitor: Monitor, buckets: Sequence[ClosedBucket], now: datetime) -> None:
    detector = monitor.detector(QualityMetric.objects.filter(pk=monitor.metric).first())
    if not buckets:
        return
    desk = _Desk(monitor, detector, now)
    for at, together in groupby(buckets, key=attrgetter("at")):
        for tracked, moments in desk.sorted_into_slices(together):
            tracked.take(moments, at=at)
    for tracked in desk.used.values():
        tracked.finish()


class _Desk:
    """All slices of one monitor during one check; a combination that is seen first gets the next free place."""

    def __init__(self, monitor: Monitor, detector: Detector, now: datetime) -> None:
        self.monitor, self.detector, self.now = monitor, detector, now
        self.rows = {row.key: row for row in monitor.slices.all()}
        self.open = {row.slice_key: row for row in Incident.objects.open().filter(monitor=monitor)}
        self.used: dict[str, TrackedSlice] = {}

    def sorted_into_slices(self, buckets: Iterable[ClosedBucket]) -> list[tuple[TrackedSlice, Moments]]:
        """The buckets of one time, largest first when places are given away, those without a place together."""
        parts: dict[str, list[Moments]] = {}
        for bucket in sorted(buckets, key=lambda bucket: (-bucket.moments.n, bucket.group)):
            if bucket.moments.n:
                key = self._place(dict(zip(self.monitor.split_by, bucket.group, strict=True)))
                parts.setdefault(key, []).append(bucket.moments)
        return [(self._tracked(key), Moments.merge(moments)) for key, moments in parts.items()]

    def _place(self, labels: dict[str, str]) -> str:
        key = slice_key(labels)
        row = self.rows.get(key)
        if row is not None and row.is_tracked:
            return key
        named_count = sum(row.is_tracked and row.key != OTHER for row in self.rows.values())
        if named_count >= self.monitor.max_slices:
            key, labels = OTHER, {}
        self._track(key, {**self.monitor.where, **labels})
        return key

    def _track(self, key: str, labels: dict[str, str]) -> None:
        row = self.rows.get(key)
        if row is None:
            row = MonitorSlice.objects.create(monitor=self.monitor, key=key, labels=labels)
            self.rows[key] = row
        row.is_tracked, row.labels = True, labels

    def _tracked(self, key: str) -> TrackedSlice:
        if key not in self.used:
            row, incident = self.rows[key], self.open.get(key)
            row.monitor = self.monitor
            if incident is not None:
                incident.monitor = self.monitor
            self.used[key] = TrackedSlice(row, self.detector, incident, self.now)
        return self.used[key]


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
