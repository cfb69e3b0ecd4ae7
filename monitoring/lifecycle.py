"""How a monitor learns, starts, pauses and starts anew: learning -> backtested -> active <-> paused.

Locks are taken in one order: a monitor, then its incidents. What concerns all monitors, the budget's split, waits until after
the commit: whoever holds a monitor must not wait for the others.
"""

from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef

from monitoring import budget, incidents, references
from monitoring.models import Backtest, Incident, Monitor, MonitorState, Resolution
from monitoring.models.monitor import WATCHING
from monitoring.questions import FIELDS, TRIED, asking, put, question_of

log = structlog.get_logger(__name__)


class NotBacktested(Exception):
    """It was not tried out with its present settings, or was too loud then; a reason activates it all the same."""


def activate(monitor: Monitor, *, by: User | None = None, now: datetime, without_backtest: str = "") -> None:
    """Watch from now on. Learns what is usual if nothing was learnt for the present question.

    without_backtest: why it need not be tried out. Raises NotBacktested, references.NothingToLearn and ValidationError.
    """
    if not without_backtest.strip() and not is_tried(monitor):
        raise NotBacktested("Run a backtest with the present settings first, or say why there is none.")
    if not without_backtest.strip() and not was_calm(monitor):
        raise NotBacktested(
            "Its backtest would have raised more alarms than it should: say why it is to watch all the same."
        )
    monitor.clean()
    learn(monitor, by=by, reason=without_backtest or "activated", now=now)
    start(monitor, now=now)


def is_tried(monitor: Monitor) -> bool:
    """Whether a finished backtest is of the present settings, or it watched with this very reference before."""
    if monitor.started_at is not None and monitor.reference is not None and references.is_of(monitor):
        return True
    tried = Backtest.objects.done().filter(monitor=monitor).values_list("question", flat=True)[:20]
    present = question_of(monitor)
    return any(question == present for question in tried)


def was_calm(monitor: Monitor) -> bool:
    """Whether the latest backtest of the present settings was, if there is one."""
    question = question_of(monitor)
    tried = Backtest.objects.done().filter(monitor=monitor).order_by("-id")
    found = tried.values_list("question", "report__is_calm")[:20]
    return next((is_calm is not False for asked, is_calm in found if asked == question), True)


def learn(monitor: Monitor, *, by: User | None = None, reason: str = "", now: datetime) -> None:
    """A reference for the present question, unless there is one. Raises references.NothingToLearn."""
    if not monitor.kind_read().learns or (monitor.reference is not None and references.is_of(monitor)):
        return
    try:
        drafted = references.draft(monitor, *references.window_of(monitor, now))
    except references.NothingToLearn as error:
        Monitor.objects.filter(pk=monitor.pk).update(learning_note=str(error)[:500])
        monitor.learning_note = str(error)[:500]
        raise
    with transaction.atomic():
        lock(monitor)
        references.make(monitor, drafted, now=now, by=by, reason=reason)


def start(monitor: Monitor, *, now: datetime, from_at: datetime | None = None) -> None:
    """Watch from now on, or from a later time, with no evidence; open incidents stay open.

    ValidationError when it cannot be watched, references.NothingToLearn when nothing was learnt.
    """
    with transaction.atomic():
        lock(monitor)
        monitor.clean()
        if monitor.kind_read().learns and monitor.reference_id is None:
            raise references.NothingToLearn("Nothing was learnt yet.")
        monitor.slices.update(evidence={}, recovery={}, log_evidence=None, bucket_at=None)
        # Whoever has an open incident keeps a place of its own, or nothing could ever show that it is over.
        is_needed = Incident.objects.open().filter(monitor=monitor, slice_key=OuterRef("key"))
        monitor.slices.exclude(Exists(is_needed)).update(is_tracked=False)
        monitor.state = MonitorState.ACTIVE
        monitor.started_at = monitor.watermark_at = monitor.due_at = max(now, from_at or now)
        monitor.check_error, monitor.failure_count = "", 0
        monitor.last_row_at = None
        # The others get theirs after the commit; until then the sum may be a little too large.
        budget.share_if_active(monitor)
        monitor.save(update_fields=_OF_START)
        budget.redistribute_after_commit()
        transaction.on_commit(lambda: log.info("monitor.started", monitor_id=monitor.pk))


_OF_START = [
    "state",
    "started_at",
    "watermark_at",
    "due_at",
    "check_error",
    "failure_count",
    "last_row_at",
    "whole_alarms",
    "slice_alarms",
]


def pause(monitor: Monitor) -> None:
    """Stop watching; what happens until the next start is never evidence. Open incidents stay open."""
    with transaction.atomic():
        lock(monitor)
        monitor.state, monitor.due_at = MonitorState.PAUSED, None
        monitor.save(update_fields=["state", "due_at"])
        budget.redistribute_after_commit()
        transaction.on_commit(lambda: log.info("monitor.paused", monitor_id=monitor.pk))


def change(monitor: Monitor, question: dict[str, Any], *, by: User | None, reason: str, now: datetime) -> int:
    """Put other settings into force; a monitor that watches goes on with them. How many incidents are over by that.

    How often it may be wrong, and its weight, are no other question: the evidence stays then.
    Raises ValidationError and references.NothingToLearn; nothing is changed then.
    """
    with transaction.atomic():
        lock(monitor)
        before = question_of(monitor)
        candidate = asking(monitor, question)
        candidate.clean()
        put(monitor, question)
        monitor.save(update_fields=list(TRIED))
        asked = question_of(monitor)
        if all(before[name] == asked[name] for name in FIELDS):
            budget.redistribute_after_commit()
            return 0
        if monitor.state in WATCHING:
            learn(monitor, by=by, reason=reason, now=now)
        return ask_anew(monitor, now=now)


def ask_anew(monitor: Monitor, *, now: datetime) -> int:
    """After a change of the question: resolve what is open, start anew if it is active; how many were resolved."""
    with transaction.atomic():
        lock(monitor)
        count = end_all(monitor, Resolution.MONITOR_CHANGED, now=now)
        if monitor.state in WATCHING:
            start(monitor, now=now)
        elif monitor.state == MonitorState.BACKTESTED and not is_tried(monitor):
            monitor.state = MonitorState.LEARNING
            monitor.save(update_fields=["state"])
    return count


def end_all(
    monitor: Monitor, why: Resolution, *, now: datetime, by: User | None = None, note: str = ""
) -> int:
    """Resolve all open incidents of a monitor that is locked; how many."""
    found = list(Incident.objects.unresolved().filter(monitor=monitor).select_for_update(no_key=True))
    told = [incident for incident in found if incident.is_open]
    for incident in found:
        incident.monitor = monitor
        if incident.is_open:
            incidents.end(incident, why, now=now, by=by, note=note)
        else:
            incidents.fade(incident, now=now, note=note)
    return len(told)


def lock(monitor: Monitor) -> None:
    """Wait for whoever works on it, and read it as it is then; in a transaction."""
    Monitor.objects.select_for_update(no_key=True).get(pk=monitor.pk)
    monitor.refresh_from_db()
