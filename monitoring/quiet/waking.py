"""Wakes the worker that tells silences to Alertmanagers; by its name, as tasks know the modules here."""

import redis
import structlog
from celery import signature
from kombu.exceptions import OperationalError

from monitoring.channels.alertmanager import Alertmanager
from monitoring.models import Channel

log = structlog.get_logger(__name__)


def mirror_soon() -> None:
    """After a commit. A wake-up that is lost delays until the next sweep."""
    if not Channel.objects.enabled().filter(kind=Alertmanager.name).exists():
        return
    try:
        signature("monitoring.tasks.mirror_silences").delay()
    except (OperationalError, redis.RedisError):
        log.warning("silence.wake_failed")
