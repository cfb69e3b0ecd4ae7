"""What concerns all monitors: the common budget of false alarms, and markers."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Sum

from monitoring import budget
from monitoring.definitions import Values, checked
from monitoring.models import BudgetEntry, FleetBudget, Marker, Monitor
from monitoring.models.monitor import BUDGET_DAYS

log = structlog.get_logger(__name__)

SHARES = ("alarms_per_30_days", "whole_share", "slice_share", "deep_share")
"""What can be said of the common budget."""


def set_budget(values: Values) -> FleetBudget:
    """Change the common budget, and give every monitor its new part. values: of SHARES. Raises InvalidInput."""
    with transaction.atomic():
        budget.fleet_budget()
        row = FleetBudget.objects.select_for_update(no_key=True).get(name="fleet")
        for name in SHARES:
            setattr(row, name, values.get(name, getattr(row, name)))
        checked(row.full_clean)
        row.save()
        budget.redistribute()
        transaction.on_commit(lambda: log.info("budget.changed", alarms_per_30_days=row.alarms_per_30_days))
    return row


def add_marker(values: Values, *, by: User | None) -> Marker:
    """values: kind, name, starts_at, ends_at and where. Raises InvalidInput."""
    marker = Marker(**values, created_by=by)
    checked(marker.full_clean)
    marker.save()
    return marker


def end_marker(marker_id: int, ends_at: datetime) -> Marker:
    """Have it end earlier or later; what was checked already stays as it was. Raises InvalidInput, Marker.DoesNotExist."""
    with transaction.atomic():
        marker = Marker.objects.select_for_update(no_key=True).get(pk=marker_id)
        marker.ends_at = ends_at
        checked(marker.full_clean)
        marker.save(update_fields=["ends_at"])
    return marker


@dataclass(frozen=True)
class Share:
    """What one monitor that is watching gets of the budget, and what it raised in 30 days."""

    monitor: Monitor
    alarm_count: int
    signal_count: int


@dataclass(frozen=True)
class Overview:
    common: FleetBudget
    ledger: budget.Ledger
    shares: tuple[Share, ...]


def overview(now: datetime) -> Overview:
    """The budget, what was promised and what came in 30 days, and who has which part."""
    since = (now - timedelta(days=BUDGET_DAYS)).date()
    entries = BudgetEntry.objects.filter(day__gt=since, day__lte=now.date()).values("monitor").order_by()
    seen = {
        row["monitor"]: (row["alarms"], row["signals"])
        for row in entries.annotate(alarms=Sum("alarm_count"), signals=Sum("signal_count"))
    }
    shares = tuple(Share(row, *seen.get(row.pk, (0, 0))) for row in Monitor.objects.active())
    return Overview(budget.fleet_budget(), budget.ledger(now), shares)
