from contextlib import ExitStack
from datetime import datetime
from math import ceil

import redis
import structlog
from celery import shared_task
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from monitoring import backlog, backtests, canary, checks, guardrails, housekeeping, incidents, selfcheck
from monitoring.models import OutboxMessage
from monitoring.outgoing import auditor, delivery, escalation, mirroring, reminding, resending
from monitoring.quiet import suppression

log = structlog.get_logger(__name__)

WOKEN = "delivery-woken"
"""Present while a wake-up waits for a worker: a hundred commits in a second need one."""
WOKEN_SECONDS, SWEEP_SECONDS = 5, 15


@shared_task(time_limit=300)
def run_checks() -> int:
    """Check all monitors that are due; returns how many buckets were seen."""
    now = timezone.now()
    rows = checks.run_due(now)
    if OutboxMessage.objects.due(now).exists():
        wake_delivery()
    return rows


@shared_task(time_limit=60)
def watch_experiments() -> int:
    """Open an incident for each halt of an experiment and resolve those that are over; returns how many of both."""
    now = timezone.now()
    rows = guardrails.open_halts(now) + guardrails.close_ended(now)
    if rows:
        wake_delivery()
    return rows


@shared_task(time_limit=120)
def watch_checks() -> int:
    """Open and resolve incidents of the checks themselves; returns how many of both."""
    moved = selfcheck.watch(timezone.now())
    if moved:
        wake_delivery()
    return moved


@shared_task(time_limit=60)
def tend_canary() -> int:
    """Write the canary's made-up values; returns how many."""
    return canary.tend(timezone.now())


@shared_task(time_limit=1_800)
def tidy() -> int:
    """Forget what is old, learn anew what is due; returns how many rows were removed or learnt."""
    return housekeeping.tidy(timezone.now())


@shared_task(time_limit=120)
def deliver_due() -> int:
    """Send the messages that are due; returns how many attempts were made."""
    _forget_wake_up()
    attempt_count = delivery.deliver_due(timezone.now)
    now = timezone.now()
    seconds = backlog.seconds_until_due(now)
    if seconds is not None and seconds < SWEEP_SECONDS:
        _wake_up_at(now, seconds)
    return attempt_count


@shared_task(time_limit=120)
def tend_alerts() -> int:
    """What time does to incidents: silences, acknowledgements and holds end, steps and reminders come; returns how many moved.

    A part that fails does not stop the others: they are done, then the task fails.
    """
    now = timezone.now()
    moved: list[int] = []
    with ExitStack() as parts:
        # The last one is done first.
        parts.callback(lambda: wake_delivery() if any(moved) else None)
        for part in (reminding.reminders, escalation.due, suppression.tend, incidents.tend):
            parts.callback(lambda part=part: moved.append(part(now)))  # type: ignore[misc]
    return sum(moved)


@shared_task(time_limit=120)
def resend_alerts() -> int:
    """Say again to Alertmanagers what they know; returns to how many."""
    return resending.resend(timezone.now)


@shared_task(time_limit=300)
def mirror_silences() -> int:
    """Tell our silences to the Alertmanagers that we send to; returns how many."""
    return mirroring.mirror(timezone.now())


@shared_task(time_limit=120)
def audit_deliveries() -> int:
    """Prove that everybody is told who is to be told; returns how many findings there are."""
    found = auditor.audit(timezone.now())
    wake_delivery()
    return len(found)


@shared_task(time_limit=540)
def run_backtest(*, backtest_id: str) -> None:
    """Try a monitor's settings out on the past."""
    backtests.run(backtest_id, clock=timezone.now)


@shared_task(time_limit=60)
def sweep_backtests() -> int:
    """Start the backtests that nobody began, or that a dead worker left; returns how many."""
    return backtests.sweep(timezone.now())


def wake_delivery() -> None:
    """Have messages sent right after the commit instead of within 15 seconds, when the sweep finds them."""
    transaction.on_commit(_wake_up)


def _wake_up() -> None:
    """A wake-up that is lost, or not sent because an earlier one was lost, delays until the next sweep."""
    try:
        if cache.add(WOKEN, 1, WOKEN_SECONDS):
            deliver_due.delay()
    except (OperationalError, redis.RedisError):
        log.warning("delivery.wake_failed")


def _wake_up_at(now: datetime, seconds: float) -> None:
    """One wake-up for each second in which something is due."""
    try:
        if cache.add(f"{WOKEN}:{ceil(now.timestamp() + seconds)}", 1, 2 * SWEEP_SECONDS):
            deliver_due.apply_async(countdown=max(seconds, 0.05))
    except (OperationalError, redis.RedisError):
        log.warning("delivery.wake_failed")


def _forget_wake_up() -> None:
    try:
        cache.delete(WOKEN)
    except redis.RedisError:
        log.warning("delivery.wake_failed")
