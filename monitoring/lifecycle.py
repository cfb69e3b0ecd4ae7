"""How a monitor starts, pauses and starts anew."""

from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef

from monitoring import incidents
from monitoring.models import Incident, Monitor, MonitorState, Resolution

log = structlog.get_logger(__name__)

QUESTION_FIELDS = frozenset({"kind", "metric", "where", "split_by", "max_slices", "parameters"})
"""What the evidence is about. When one of these changes, evidence and incidents of the old question are over."""


def start(monitor: Monitor, *, now: datetime) -> None:
    """Watch from now on, with no evidence; open incidents stay open. ValidationError when it cannot be watched."""
    monitor.clean()
    with transaction.atomic():
        _lock(monitor)
        monitor.slices.update(evidence={}, recovery={}, log_evidence=None, bucket_at=None)
        # Whoever has an open incident keeps a place of its own, or nothing could ever show that it is over.
        is_needed = Incident.objects.open().filter(monitor=monitor, slice_key=OuterRef("key"))
        monitor.slices.exclude(Exists(is_needed)).update(is_tracked=False)
        monitor.state = MonitorState.ACTIVE
        monitor.started_at = monitor.watermark_at = monitor.due_at = now
        monitor.check_error, monitor.failure_count = "", 0
        monitor.save(
            update_fields=["state", "started_at", "watermark_at", "due_at", "check_error", "failure_count"]
        )
        transaction.on_commit(lambda: log.info("monitor.started", monitor_id=monitor.pk))


def pause(monitor: Monitor) -> None:
    """Stop watching; what happens until the next start is never evidence. Open incidents stay open."""
    with transaction.atomic():
        _lock(monitor)
        monitor.state, monitor.due_at = MonitorState.PAUSED, None
        monitor.save(update_fields=["state", "due_at"])
        transaction.on_commit(lambda: log.info("monitor.paused", monitor_id=monitor.pk))


def ask_anew(monitor: Monitor, *, now: datetime) -> int:
    """After a change of the question: resolve what is open, start anew if it is active; how many were resolved."""
    with transaction.atomic():
        _lock(monitor)
        found = list(Incident.objects.open().filter(monitor=monitor).select_for_update(no_key=True))
        for incident in found:
            incident.monitor = monitor
            incidents.end(incident, Resolution.MONITOR_CHANGED, now=now)
        if monitor.state == MonitorState.ACTIVE:
            start(monitor, now=now)
    return len(found)


def _lock(monitor: Monitor) -> None:
    """Wait for a check that is under way: what it writes must not come after what we write."""
    Monitor.objects.select_for_update(no_key=True).get(pk=monitor.pk)
