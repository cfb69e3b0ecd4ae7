"""What people and programs have a monitor do; what does not fit its state is refused in words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from monitoring import backtests, baselines, checks, lifecycle, references
from monitoring.definitions import NothingToLearn, refusal
from monitoring.models import Backtest, BacktestState, Monitor, MonitorState
from monitoring.monitors.kind import InvalidParameters
from triageops.rest import Conflict, InvalidInput


class InvalidTransition(Conflict):
    """The state of the monitor or incident, or its kind, does not allow this."""

    type = "invalid-transition"
    title = "Its state does not allow this"


class NotBacktested(Conflict):
    """It was not tried out with its present settings."""

    type = "not-backtested"
    title = "It was not tried out"


class BacktestRunning(Conflict):
    """One at a time."""

    type = "backtest-running"
    title = "Another backtest of it is under way"


def activate(monitor: Monitor, *, without_backtest: str = "", by: User | None, now: datetime) -> None:
    """Watch from now on; nothing happens to one that is watching already, whose evidence stays.

    Raises NotBacktested, NothingToLearn and InvalidInput.
    """
    if monitor.is_watching:
        return
    try:
        lifecycle.activate(monitor, by=by, now=now, without_backtest=without_backtest)
    except lifecycle.NotBacktested as error:
        raise NotBacktested(
            str(error),
            field="without_backtest",
            fix="Start a backtest, or send the reason in without_backtest.",
        ) from None
    except references.NothingToLearn as error:
        raise _nothing(error) from None
    except ValidationError as error:
        raise refusal(error) from None


def pause(monitor: Monitor) -> None:
    """Stop watching; nothing happens to one that is paused. Raises InvalidTransition."""
    if monitor.state == MonitorState.PAUSED:
        return
    if not monitor.is_watching:
        raise InvalidTransition(f"It is {monitor.state}, and watches nothing yet.", fix="Activate it first.")
    lifecycle.pause(monitor)


def check_now(monitor: Monitor, *, now: datetime) -> int:
    """Use all closed buckets at once instead of at the next check; how many there were. Raises InvalidTransition.

    Nothing happens while a worker checks it.
    """
    if not monitor.is_watching:
        raise InvalidTransition(f"It is {monitor.state}, and watches nothing.", fix="Activate it first.")
    row_count, is_behind = 0, True
    while is_behind:
        Monitor.objects.active().filter(pk=monitor.pk).update(due_at=now)
        result = checks.check(monitor.pk, now)
        row_count += 0 if result is None else result.row_count
        is_behind = result is not None and result.is_behind
    return row_count


def learn(monitor: Monitor, *, by: User | None, reason: str = "", now: datetime) -> None:
    """A reference for what it asks now, unless it has one. Raises InvalidTransition and NothingToLearn."""
    _refuse_fixed(monitor)
    try:
        lifecycle.learn(monitor, by=by, reason=reason, now=now)
    except references.NothingToLearn as error:
        raise _nothing(error) from None


def accept(
    monitor: Monitor,
    *,
    by: User | None,
    reason: str,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    now: datetime,
) -> int:
    """What is shown now is usual from now on; how many incidents are over by that.

    Raises InvalidInput, InvalidTransition and NothingToLearn.
    """
    if not reason.strip():
        raise InvalidInput("The reason is missing.", field="reason", fix="Say why this is usual now.")
    if start_at is not None and start_at >= (end_at or now):
        raise InvalidInput(
            "The new baseline would end before it begins.", field="start_at", fix="Choose an earlier time."
        )
    _refuse_fixed(monitor)
    try:
        return baselines.accept_baseline(
            monitor, by=by, reason=reason, start_at=start_at, end_at=end_at, now=now
        )
    except references.NothingToLearn as error:
        raise _nothing(error) from None


def try_out(
    monitor: Monitor, question: Mapping[str, Any] | None, *, by: User | None, now: datetime
) -> Backtest:
    """A backtest that waits to be run; question: what differs from the present settings, None: nothing.

    Raises BacktestRunning and InvalidInput.
    """
    try:
        return backtests.ask(monitor, question=question, by=by, now=now)
    except backtests.BacktestRunning as error:
        raise BacktestRunning(str(error), fix="Wait for it, or cancel it.") from None
    except ValidationError as error:
        raise refusal(error, "question.") from None


def cancel(backtest: Backtest, *, now: datetime) -> None:
    """Nothing happens to one that is cancelled already. Raises InvalidTransition."""
    if backtests.cancel(backtest, now=now):
        return
    backtest.refresh_from_db(fields=["state"])
    if backtest.state != BacktestState.CANCELLED:
        raise InvalidTransition(f"It is {backtest.state}; there is nothing to cancel.")


def apply(backtest: Backtest, *, by: User | None, reason: str, now: datetime) -> int:
    """Put the settings that were tried into force; how many incidents are over by that.

    Raises InvalidInput, InvalidTransition and NothingToLearn.
    """
    if not reason.strip():
        raise InvalidInput(
            "The reason is missing.", field="reason", fix="Say why; it stands with the reference."
        )
    try:
        return backtests.apply(backtest, by=by, reason=reason, now=now)
    except backtests.NotApplicable as error:
        raise InvalidTransition(str(error), fix="Choose one with is_change whose state is done.") from None
    except references.NothingToLearn as error:
        raise _nothing(error) from None
    except ValidationError as error:
        raise refusal(error) from None


def _refuse_fixed(monitor: Monitor) -> None:
    try:
        learns = monitor.kind_read().learns
    except (LookupError, InvalidParameters) as error:
        raise InvalidTransition(str(error), fix="Correct its parameters first.") from None
    if not learns:
        raise InvalidTransition(
            "This kind compares with a fixed level, which is a parameter; there is nothing to learn.",
            fix="Change its parameters.",
        )


def _nothing(error: references.NothingToLearn) -> NothingToLearn:
    return NothingToLearn(str(error), fix="Wait for more records, or choose another stretch of time.")
