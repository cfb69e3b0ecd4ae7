import structlog
from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from monitoring import backtests, canary, checks, delivery, guardrails, housekeeping, selfcheck
from monitoring.models import OutboxMessage

log = structlog.get_logger(__name__)


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
    return delivery.deliver_due(timezone.now)


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
    transaction.on_commit(_send_wake_up)


def _send_wake_up() -> None:
    try:
        deliver_due.delay()
    except OperationalError:
        log.warning("delivery.wake_failed")
