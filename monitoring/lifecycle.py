"""How a monitor learns, starts, pauses, gets a new baseline and starts anew: learning -> backtested -> active <-> paused."""

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from monitoring import budget, incidents, references
from monitoring.models import (
    Backtest,
    Incident,
    Monitor,
    MonitorState,
    Reference,
    ReferenceMode,
    Resolution,
    Signal,
)
from monitoring.models.monitor import WATCHING
from monitoring.questions import FIELDS, put, question_of

log = structlog.get_logger(__name__)

QUESTION_FIELDS = frozenset(FIELDS)

REFRESH_AFTER = timedelta(days=1)
"""A trailing reference is learnt anew so often."""


class NotBacktested(Exception):
    """The monitor was not tried out with its present settings; it can be activated without, with a reason."""


def activate(monitor: Monitor, *, by: User | None = None, now: datetime, without_backtest: str = "") -> None:
    """Watch from now on. Learns what is usual if nothing was learnt for the present question.

    without_backtest: why it need not be tried out. Raises NotBacktested, references.NothingToLearn and ValidationError.
    """
    if not without_backtest.strip() and not is_tried(monitor):
        raise NotBacktested("Run a backtest with the present settings first, or say why there is none.")
    monitor.clean()
    learn(monitor, by=by, reason=without_backtest or "activated", now=now)
    start(monitor, now=now)


def is_tried(monitor: Monitor) -> bool:
    """Whether a finished backtest is of the present settings."""
    tried = Backtest.objects.done().filter(monitor=monitor).values_list("question", flat=True)[:20]
    present = question_of(monitor)
    return any(question == present for question in tried)


def learn(monitor: Monitor, *, by: User | None = None, reason: str = "", now: datetime) -> None:
    """A reference for the present question, unless there is one. Raises references.NothingToLearn."""
    if not monitor.kind_read().learns:
        return
    present = question_of(monitor)
    known = monitor.reference
    if known is not None and all(known.question.get(name) == present[name] for name in FIELDS):
        return
    try:
        drafted = references.draft(monitor, *references.window_of(monitor, now))
    except references.NothingToLearn as error:
        Monitor.objects.filter(pk=monitor.pk).update(learning_note=str(error)[:500])
        monitor.learning_note = str(error)[:500]
        raise
    with transaction.atomic():
        _lock(monitor)
        references.make(monitor, drafted, now=now, by=by, reason=reason)


def start(monitor: Monitor, *, now: datetime) -> None:
    """Watch from now on, with no evidence; open incidents stay open. ValidationError when it cannot be watched."""
    monitor.clean()
    if monitor.kind_read().learns and monitor.reference_id is None:
        raise references.NothingToLearn("Nothing was learnt yet.")
    with transaction.atomic():
        _lock(monitor)
        monitor.slices.update(evidence={}, recovery={}, log_evidence=None, bucket_at=None)
        # Whoever has an open incident keeps a place of its own, or nothing could ever show that it is over.
        is_needed = Incident.objects.open().filter(monitor=monitor, slice_key=OuterRef("key"))
        monitor.slices.exclude(Exists(is_needed)).update(is_tracked=False)
        monitor.state = MonitorState.ACTIVE
        monitor.started_at = monitor.watermark_at = monitor.due_at = now
        monitor.check_error, monitor.failure_count = "", 0
        monitor.last_row_at = None
        monitor.save(
            update_fields=[
                "state",
                "started_at",
                "watermark_at",
                "due_at",
                "check_error",
                "failure_count",
                "last_row_at",
            ]
        )
        budget.redistribute()
        monitor.refresh_from_db(fields=["whole_alarms", "slice_alarms"])
        transaction.on_commit(lambda: log.info("monitor.started", monitor_id=monitor.pk))


def pause(monitor: Monitor) -> None:
    """Stop watching; what happens until the next start is never evidence. Open incidents stay open."""
    with transaction.atomic():
        _lock(monitor)
        monitor.state, monitor.due_at = MonitorState.PAUSED, None
        monitor.save(update_fields=["state", "due_at"])
        budget.redistribute()
        transaction.on_commit(lambda: log.info("monitor.paused", monitor_id=monitor.pk))


def change(monitor: Monitor, question: dict[str, Any], *, by: User | None, reason: str, now: datetime) -> int:
    """Put other settings into force; a monitor that watches goes on with them. How many incidents are over by that.

    Raises ValidationError and references.NothingToLearn; nothing is changed then.
    """
    with transaction.atomic():
        _lock(monitor)
        # As it is now: who asked may have read it before a check or a pause.
        monitor.refresh_from_db()
        put(monitor, question)
        monitor.clean()
        monitor.save()
        if monitor.state in WATCHING:
            learn(monitor, by=by, reason=reason, now=now)
        return ask_anew(monitor, now=now)


def ask_anew(monitor: Monitor, *, now: datetime) -> int:
    """After a change of the question: resolve what is open, start anew if it is active; how many were resolved."""
    with transaction.atomic():
        _lock(monitor)
        count = _end_all(monitor, Resolution.MONITOR_CHANGED, now=now)
        if monitor.state in WATCHING:
            start(monitor, now=now)
        elif monitor.state == MonitorState.BACKTESTED and not is_tried(monitor):
            monitor.state = MonitorState.LEARNING
            monitor.save(update_fields=["state"])
    return count


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
    comes is learnt too, day by day, until the reference is as long as it should be; a baseline of hours does not know the
    hours of a day yet. Raises references.NothingToLearn when that time is too short to learn from.
    """
    opened = _of_drift(monitor).order_by("onset_at").values_list("onset_at", flat=True).first()
    window = references.window_of(monitor, now)
    begin = start_at or opened or window[0]
    end = min(end_at or now, references.ripe_until(monitor, now))
    if begin >= end:
        raise references.NothingToLearn("The new baseline would end before it begins.")
    drafted = references.draft(monitor, begin, end, least=timedelta(0))
    with transaction.atomic():
        _lock(monitor)
        if monitor.reference_mode == ReferenceMode.PINNED:
            monitor.reference_start_at, monitor.reference_end_at = begin, end_at
            monitor.save(update_fields=["reference_start_at", "reference_end_at"])
        references.make(monitor, drafted, now=now, by=by, reason=reason)
        count = _end_all(monitor, Resolution.BASELINE, now=now, by=by, note=reason)
        if monitor.state in WATCHING:
            start(monitor, now=now)
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
    if now - known.made_at < REFRESH_AFTER or _of_drift(monitor).exists():
        return False
    drafted = references.draft(monitor, *references.window_of(monitor, now))
    with transaction.atomic():
        _lock(monitor)
        # What was learnt before an incident began must not be replaced by what was learnt with it.
        if _of_drift(monitor).exists():
            return False
        references.make(monitor, drafted, now=now, reason=_MOVED[ReferenceMode(monitor.reference_mode)])
        references.forget_old(monitor)
    return True


_MOVED = {
    ReferenceMode.PINNED: "a day more is known of it",
    ReferenceMode.TRAILING: "the trailing window moved on",
    ReferenceMode.VARIANT: "its spread was learnt anew",
}


def _is_growing(monitor: Monitor, known: Reference) -> bool:
    """Whether a pinned reference with an open end has not yet the length that it should have."""
    start, length = monitor.reference_start_at, timedelta(days=monitor.reference_days)
    return start is not None and monitor.reference_end_at is None and known.end_at < start + length


def _of_drift(monitor: Monitor) -> QuerySet[Incident]:
    return Incident.objects.open().filter(monitor=monitor).exclude(signal=Signal.CHECK)


def _end_all(
    monitor: Monitor, why: Resolution, *, now: datetime, by: User | None = None, note: str = ""
) -> int:
    found = list(Incident.objects.open().filter(monitor=monitor).select_for_update(no_key=True))
    for incident in found:
        incident.monitor = monitor
        incidents.end(incident, why, now=now, by=by, note=note)
    return len(found)


def _lock(monitor: Monitor) -> None:
    """Wait for a check that is under way: what it writes must not come after what we write."""
    Monitor.objects.select_for_update(no_key=True).get(pk=monitor.pk)
