"""Maintenance windows are saved and removed; what they hold, or held, is put right at once."""

from datetime import datetime
from functools import partial

import structlog
from django.db import IntegrityError, transaction

from monitoring.models import MaintenanceWindow
from monitoring.quiet import suppression, windows
from monitoring.quiet.silences import AT_ONCE

log = structlog.get_logger(__name__)


class NameTaken(Exception):
    """Another window has this name."""


def save(window: MaintenanceWindow, *, now: datetime) -> MaintenanceWindow:
    """Raises ValidationError or NameTaken."""
    windows.check(window)
    try:
        with suppression.changing():
            window.save()
            _hold_and_tend(now)
            transaction.on_commit(partial(log.info, "window.saved", window_id=window.pk))
    except IntegrityError:
        raise NameTaken(window.name) from None
    return window


def remove(window: MaintenanceWindow, *, now: datetime) -> None:
    with suppression.changing():
        transaction.on_commit(partial(log.info, "window.removed", window_id=window.pk))
        window.delete()
        _hold_and_tend(now)


def _hold_and_tend(now: datetime) -> None:
    suppression.hold_at_once(now)
    transaction.on_commit(lambda: suppression.tend(now, AT_ONCE) and None)
