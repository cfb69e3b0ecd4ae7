import structlog
from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from monitoring import checks, delivery, guardrails
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
def deliver_due() -> int:
    """Send the messages that are due; returns how many attempts were made."""
    return delivery.deliver_due(timezone.now)


def wake_delivery() -> None:
    """Have messages sent right after the commit instead of within 15 seconds, when the sweep finds them."""
    transaction.on_commit(_send_wake_up)


def _send_wake_up() -> None:
    try:
        deliver_due.delay()
    except OperationalError:
        log.warning("delivery.wake_failed")
