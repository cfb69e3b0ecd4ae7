"""Backtests: a monitor's settings, those in force or others, tried out on the past before they watch.

waiting -> running -> done | failed | cancelled. A row is claimed by a conditional UPDATE, and its worker writes only while
the claim is its own: whoever is cancelled, or taken for dead, stops at its next word and leaves nothing behind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from celery import current_app
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from kombu.exceptions import OperationalError

from monitoring import hindsight, lifecycle, metrics, questions
from monitoring.models import Backtest, BacktestState, Monitor, MonitorState
from monitoring.references import NothingToLearn

log = structlog.get_logger(__name__)

TASK = "monitoring.tasks.run_backtest"
LOST_AFTER = timedelta(minutes=10)
"""Longer than the task's time limit: whoever has run for so long is dead."""
GIVEN_UP_AFTER = timedelta(hours=1)
_OVERLOOKED_AFTER = timedelta(seconds=30)

Clock = Callable[[], datetime]

_KNOWN_ERRORS = (LookupError, ValueError, ArithmeticError, ValidationError, DatabaseError)
"""UnknownSource, Unwatchable and InvalidParameters among them: a monitor may have become unfit since it was saved."""


class BacktestRunning(Exception):
    """The monitor has a backtest that is not finished yet."""


class NotApplicable(Exception):
    """The backtest is not one of other settings, or did not come to its end."""


class _TakenAway(Exception):
    """The backtest was cancelled, or is another worker's now."""


def ask(
    monitor: Monitor, *, question: Mapping[str, Any] | None = None, by: User | None, now: datetime
) -> Backtest:
    """Have it tried out; to be followed by start. question: settings of monitoring.questions, None for those in force.

    Raises BacktestRunning and ValidationError.
    """
    candidate = _asking(monitor, question or {})
    asked = questions.question_of(candidate)
    try:
        with transaction.atomic():
            backtest = Backtest.objects.create(
                monitor=monitor,
                question=asked,
                changes=questions.changes(monitor, asked),
                is_change=questions.differs(monitor, asked),
                asked_at=now,
                asked_by=by,
            )
    except IntegrityError:
        raise BacktestRunning("A backtest of this monitor is under way; wait for it or cancel it.") from None
    transaction.on_commit(lambda: log.info("backtest.asked", **_ids(backtest)))
    return backtest


def start(backtest: Backtest) -> None:
    """Have a worker begin after the commit; without a broker the sweep does it."""
    transaction.on_commit(lambda: _send(backtest.pk))


def sweep(now: datetime) -> int:
    """Start what nobody began and what a dead worker left, give up what never comes to its end; how many of all."""
    lost = Backtest.objects.filter(state=BacktestState.RUNNING, started_at__lte=now - LOST_AFTER)
    given_up = lost.filter(asked_at__lte=now - GIVEN_UP_AFTER).update(
        state=BacktestState.FAILED,
        error="It was begun more than once and never came to its end: the past may be too large for one worker.",
        finished_at=now,
    )
    taken_back = lost.update(state=BacktestState.WAITING, started_at=None, progress=0.0)
    if given_up or taken_back:
        log.warning("backtest.lost", again=taken_back, given_up=given_up)
    waiting = Backtest.objects.filter(
        state=BacktestState.WAITING, asked_at__lte=now - _OVERLOOKED_AFTER
    ).values_list("pk", flat=True)
    return given_up + sum(_send(pk) for pk in waiting)


def run(backtest_id: UUID | str, *, clock: Clock) -> None:
    """Do it, unless somebody else does or did, or another backtest is under way: then it waits."""
    began = clock()
    claimed = _claim(backtest_id, began)
    if claimed is not None:
        _run(claimed, clock)
        _wake_next()


def _claim(backtest_id: UUID | str, now: datetime) -> "_Claim | None":
    waiting = Backtest.objects.filter(pk=backtest_id, state=BacktestState.WAITING)
    try:
        with transaction.atomic():
            is_mine = waiting.update(state=BacktestState.RUNNING, started_at=now, progress=0.0)
    except IntegrityError:
        return None
    return _Claim(Backtest.objects.select_related("monitor").get(pk=backtest_id), now) if is_mine else None


def _wake_next() -> None:
    waiting = Backtest.objects.filter(state=BacktestState.WAITING).order_by("pk")
    following = waiting.values_list("pk", flat=True).first()
    if following is not None:
        _send(following)


def _run(claim: "_Claim", clock: Clock) -> None:
    began = claim.began
    try:
        _try_out(claim, clock)
    except _TakenAway:
        outcome = "stopped"
    except NothingToLearn as error:
        outcome = "refused"
        claim.fail(str(error), clock())
        _note_refusal(claim.backtest, str(error))
    except _KNOWN_ERRORS as error:
        outcome = "failed"
        log.exception("backtest.failed", **_ids(claim.backtest))
        claim.fail(_told(error), clock())
    else:
        outcome = "done"
    metrics.BACKTESTS.labels(outcome).inc()
    seconds = round((clock() - began).total_seconds(), 3)
    log.info("backtest.finished", outcome=outcome, seconds=seconds, **_ids(claim.backtest))


def cancel(backtest: Backtest, *, now: datetime) -> bool:
    """Whether there was anything to cancel."""
    is_cancelled = bool(
        Backtest.objects.unfinished()
        .filter(pk=backtest.pk)
        .update(state=BacktestState.CANCELLED, finished_at=now)
    )
    if is_cancelled:
        transaction.on_commit(lambda: log.info("backtest.cancelled", **_ids(backtest)))
    return is_cancelled


def apply(backtest: Backtest, *, by: User | None, reason: str, now: datetime) -> int:
    """Put the settings that were tried into force; how many incidents are over by that.

    Raises NotApplicable, and what lifecycle.change raises.
    """
    if backtest.state != BacktestState.DONE or not backtest.is_change:
        raise NotApplicable("Only a finished backtest of other settings can be put into force.")
    with transaction.atomic():
        monitor = Monitor.objects.select_for_update(no_key=True).get(pk=backtest.monitor_id)
        count = lifecycle.change(monitor, backtest.changes, by=by, reason=reason, now=now)
        _settle(monitor, now=now)
        transaction.on_commit(lambda: log.info("backtest.applied", **_ids(backtest)))
    return count


@dataclass(frozen=True)
class _Claim:
    """The right to write of a running backtest: that of whoever began it last."""

    backtest: Backtest
    began: datetime

    def write(self, **changes: Any) -> bool:
        own = Backtest.objects.filter(pk=self.backtest.pk, state=BacktestState.RUNNING, started_at=self.began)
        return bool(own.update(**changes))

    def tell(self, progress: float) -> None:
        """Raises _TakenAway."""
        if not self.write(progress=min(1.0, progress)):
            raise _TakenAway

    def fail(self, error: str, now: datetime) -> None:
        self.write(state=BacktestState.FAILED, error=error[:500], finished_at=now)


def _try_out(claim: _Claim, clock: Clock) -> None:
    backtest = claim.backtest
    candidate = _asking(backtest.monitor, backtest.question)
    report = hindsight.report_of(candidate, now=claim.began, tell=claim.tell)
    with transaction.atomic():
        if not claim.write(state=BacktestState.DONE, progress=1.0, report=report, finished_at=clock()):
            raise _TakenAway
        monitor = Monitor.objects.select_for_update(no_key=True).get(pk=backtest.monitor_id)
        if not questions.differs(monitor, backtest.question):
            _settle(monitor, now=claim.began)


def _settle(monitor: Monitor, *, now: datetime) -> None:
    """Its present settings were tried out: what was learning has learnt. The monitor must be locked. Raises NothingToLearn."""
    if monitor.state == MonitorState.LEARNING:
        lifecycle.learn(monitor, reason="backtest", now=now)
        Monitor.objects.filter(pk=monitor.pk).update(state=MonitorState.BACKTESTED)
        monitor.state = MonitorState.BACKTESTED


def _asking(monitor: Monitor, question: Mapping[str, Any]) -> Monitor:
    """The monitor with these settings, not saved. Raises ValidationError."""
    if unknown := [name for name in question if name not in questions.TRIED]:
        raise ValidationError(dict.fromkeys(unknown, "There is no such setting."))
    texts = {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in question.items()
    }
    try:
        candidate = questions.asking(monitor, texts)
    except (TypeError, ValueError) as error:
        raise ValidationError(f"A time of the reference cannot be read: {error}.") from error
    fields = {field.name for field in Monitor._meta.concrete_fields}
    candidate.clean_fields(exclude=fields - set(questions.TRIED))
    candidate.clean()
    return candidate


def _note_refusal(backtest: Backtest, sentence: str) -> None:
    if not backtest.is_change:
        Monitor.objects.filter(pk=backtest.monitor_id).update(learning_note=sentence[:500])


def _send(backtest_id: UUID) -> bool:
    try:
        # Not for ever: while it waits in a long queue, each sweep sends another.
        current_app.send_task(
            TASK, kwargs={"backtest_id": str(backtest_id)}, expires=_OVERLOOKED_AFTER.total_seconds()
        )
    except OperationalError:
        log.warning("backtest.wake_failed", backtest_id=str(backtest_id))
        return False
    return True


def _told(error: Exception) -> str:
    text = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
    return f"{type(error).__name__}: {text}"


def _ids(backtest: Backtest) -> dict[str, Any]:
    return {"backtest_id": str(backtest.pk), "monitor_id": backtest.monitor_id}
