"""What is usual moves on: a person accepts what is shown now, a window trails, a young baseline grows, an old one is stale."""

from datetime import datetime, timedelta

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from monitoring import references
from monitoring.lifecycle import end_all, lock, start
from monitoring.models import Incident, Monitor, MonitorState, Reference, ReferenceMode, Resolution, Signal
from monitoring.models.monitor import WATCHING

log = structlog.get_logger(__name__)

REFRESH_AFTER = timedelta(days=1)
"""A reference that moves or grows is learnt anew so often."""

_MOVED = {
    ReferenceMode.PINNED: "a day more is known of it",
    ReferenceMode.TRAILING: "the trailing window moved on",
    ReferenceMode.VARIANT: "its spread was learnt anew",
}


def accept_baseline(
    monitor: Monitor,
    *,
    by: User | None,
    reason: str,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    now: datetime,
) -> int:
    """What is shown now is usual from now on: a new version of the reference; how many incidents are over by that.

    start_at: default the onset of the earliest open incident, or where a new reference would begin. end_at: default open: what
    comes is learnt too, day by day, until the reference is as long as it should be. Nothing before start_at is learnt again. Where
    hours may differ, a baseline of less than a day is not watched before a whole day of it is known.
    Raises references.NothingToLearn when that time is too short to learn from.
    """
    opened = _of_drift(monitor).order_by("onset_at").values_list("onset_at", flat=True).first()
    begin = start_at or opened or references.window_of(monitor, now)[0]
    end = min(end_at or now, references.ripe_until(monitor, now))
    if begin >= end:
        raise references.NothingToLearn("The new baseline would end before it begins.")
    drafted = references.draft(monitor, begin, end, least=timedelta(0), is_accepted=True)
    from_at = None if references.has_no_hours(monitor) else begin + references.A_DAY
    with transaction.atomic():
        lock(monitor)
        monitor.reference_start_at = begin
        monitor.reference_end_at = end_at if monitor.reference_mode == ReferenceMode.PINNED else None
        monitor.save(update_fields=["reference_start_at", "reference_end_at"])
        references.make(monitor, drafted, now=now, by=by, reason=reason)
        count = end_all(monitor, Resolution.BASELINE, now=now, by=by, note=reason)
        if monitor.state in WATCHING:
            start(monitor, now=now, from_at=from_at)
        transaction.on_commit(lambda: log.info("monitor.baseline_accepted", monitor_id=monitor.pk))
    return count


def refresh(monitor: Monitor, *, now: datetime) -> bool:
    """Learn anew what moves or grows, or call a pinned reference stale; whether anything was done. Evidence goes on."""
    known = monitor.reference
    if known is None or monitor.state not in WATCHING:
        return False
    if monitor.reference_mode == ReferenceMode.PINNED and not _is_growing(monitor, known):
        is_old = now - known.end_at > timedelta(days=monitor.stale_after_days)
        wanted = MonitorState.STALE if is_old else MonitorState.ACTIVE
        unlike = Monitor.objects.filter(pk=monitor.pk, state__in=WATCHING).exclude(state=wanted)
        return bool(unlike.update(state=wanted))
    if not _is_due(monitor, known, now) or _of_drift(monitor).exists():
        return False
    drafted = references.draft(monitor, *references.window_of(monitor, now))
    with transaction.atomic():
        lock(monitor)
        # What was learnt before an incident began must not be replaced by what was learnt with it, nor a newer baseline or
        # another question's by this one.
        if (
            monitor.reference_id != known.pk
            or monitor.state not in WATCHING
            or not drafted.is_of(monitor)
            or _of_drift(monitor).exists()
        ):
            return False
        references.make(monitor, drafted, now=now, reason=_MOVED[ReferenceMode(monitor.reference_mode)])
        references.forget_old(monitor)
    return True


def _is_due(monitor: Monitor, known: Reference, now: datetime) -> bool:
    if known.end_at - known.start_at < references.A_DAY:
        return references.ripe_until(monitor, now) - known.start_at >= references.A_DAY
    return now - known.made_at >= REFRESH_AFTER


def _is_growing(monitor: Monitor, known: Reference) -> bool:
    """Whether a pinned reference with an open end has not yet the length that it should have."""
    begin, length = monitor.reference_start_at, timedelta(days=monitor.reference_days)
    return begin is not None and monitor.reference_end_at is None and known.end_at < begin + length


def _of_drift(monitor: Monitor) -> QuerySet[Incident]:
    return Incident.objects.open().filter(monitor=monitor).exclude(signal=Signal.CHECK)
