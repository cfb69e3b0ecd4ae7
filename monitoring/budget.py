"""The budget of false alarms: how it is split over monitors and their slices, and what was used of it.

Budgets add up whatever ties monitors together (triageops.stats.change), so a split is all that is needed. The common
budget goes to three levels, all records together, slices by one dimension and slices by several, in the shares of its row; a
level that no monitor has leaves its part to the others. Within a level monitors share by weight, and the slices of one
monitor equally. A monitor with a number of its own is outside the common budget, and its number is split likewise. Rules, which
make no promise, need no part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from django.db import connection, transaction
from django.db.models import Sum

from monitoring.models import CANARY_METRIC, BudgetEntry, FleetBudget, Incident, Monitor, Resolution, Signal
from monitoring.models.monitor import BUDGET_DAYS
from monitoring.monitors import registry

Level = Literal["whole", "slice", "deep"]


@dataclass(frozen=True)
class Ledger:
    """One stretch of time. promised: most false alarms on average, over all monitors. alarm_count: of lasting changes.

    signal_count: of single buckets. false_count: incidents that a person called a false alarm.
    """

    promised: float
    per_30_days: float
    alarm_count: int
    signal_count: int
    inhibited_count: int
    false_count: int


def fleet_budget() -> FleetBudget:
    return FleetBudget.objects.get_or_create(name="fleet")[0]


def redistribute_after_commit() -> None:
    """Whoever holds a monitor must not wait for the others: their parts are given after the commit."""
    transaction.on_commit(redistribute)


def redistribute() -> None:
    """Give every monitor whose checks run its part; when one begins or ends, or a weight changes, and now and then.

    Locks the budget's row, then the monitors in the order of their numbers; nobody who holds a monitor may call it.
    """
    with transaction.atomic():
        FleetBudget.objects.get_or_create(name="fleet")
        budget = FleetBudget.objects.select_for_update(no_key=True).get(name="fleet")
        rows = list(Monitor.objects.active().order_by("pk").select_for_update(no_key=True))
        before = {row.pk: (row.whole_alarms, row.slice_alarms) for row in rows}
        split(budget, rows)
        moved = [row for row in rows if before[row.pk] != (row.whole_alarms, row.slice_alarms)]
        Monitor.objects.bulk_update(moved, ["whole_alarms", "slice_alarms"], batch_size=500)


def share_if_active(monitor: Monitor) -> Monitor:
    """Set on it what it would get if it were watching; saves nothing."""
    others = [row for row in Monitor.objects.active() if row.pk != monitor.pk]
    split(fleet_budget(), [*others, monitor])
    return monitor


def split(budget: FleetBudget, rows: Sequence[Monitor]) -> None:
    """Set whole_alarms and slice_alarms of all these monitors, which share the budget; saves nothing."""
    shares: dict[Level, float] = {
        "whole": budget.whole_share,
        "slice": budget.slice_share,
        "deep": budget.deep_share,
    }
    rules = [row for row in rows if registry.is_rule(row.kind)]
    for row in rules:
        row.whole_alarms = row.slice_alarms = 0.0
    rows = [row for row in rows if not registry.is_rule(row.kind)]
    common = [row for row in rows if row.alarms_per_30_days is None]
    weights: dict[Level, float] = {
        level: sum(row.weight for row in common if level in _levels(row)) for level in shares
    }
    used = sum(share for level, share in shares.items() if weights[level])
    for row in rows:
        levels = _levels(row)
        if row.alarms_per_30_days is None:
            parts = {
                level: budget.alarms_per_30_days * shares[level] / used * row.weight / weights[level]
                for level in levels
            }
        else:
            own = sum(shares[level] for level in levels)
            parts = {level: row.alarms_per_30_days * shares[level] / own for level in levels}
        row.whole_alarms = parts.get("whole", 0.0)
        of_slices = sum(part for level, part in parts.items() if level != "whole")
        row.slice_alarms = of_slices / row.slice_count if row.slice_count else 0.0


def _levels(row: Monitor) -> tuple[Level, ...]:
    whole: tuple[Level, ...] = ("whole",) if row.has_whole else ()
    if not row.split_by:
        return whole
    return (*whole, "slice" if len(row.split_by) == 1 else "deep")


def spend(monitor: Monitor, day: date, *, expected: float, alarms: int, signals: int, inhibited: int) -> None:
    """Add to the day's entry; in the transaction of the check."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_budgetentry AS entry"
            " (monitor_id, day, expected, alarm_count, signal_count, inhibited_count) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (monitor_id, day) DO UPDATE SET expected = entry.expected + excluded.expected,"
            " alarm_count = entry.alarm_count + excluded.alarm_count,"
            " signal_count = entry.signal_count + excluded.signal_count,"
            " inhibited_count = entry.inhibited_count + excluded.inhibited_count",
            [monitor.pk, day, expected, alarms, signals, inhibited],
        )


def ledger(now: datetime, days: int = BUDGET_DAYS, monitors: Iterable[int] | None = None) -> Ledger:
    """What was promised and what came, over the last days; of all monitors, or of some."""
    entries = BudgetEntry.objects.filter(day__gt=(now - timedelta(days=days)).date(), day__lte=now.date())
    running, judged = Monitor.objects.active(), Incident.objects.of_monitors().genuine()
    if monitors is None:
        entries = entries.exclude(monitor__metric=CANARY_METRIC)
        running = running.exclude(metric=CANARY_METRIC)
    else:
        chosen = list(monitors)
        entries = entries.filter(monitor__in=chosen)
        running, judged = running.filter(pk__in=chosen), judged.filter(monitor__in=chosen)
    sums = entries.aggregate(
        promised=Sum("expected", default=0.0),
        alarms=Sum("alarm_count", default=0),
        signals=Sum("signal_count", default=0),
        inhibited=Sum("inhibited_count", default=0),
    )
    false_count = (
        judged.filter(resolution=Resolution.FALSE_POSITIVE, opened_at__gt=now - timedelta(days=days))
        .exclude(signal=Signal.CHECK)
        .count()
    )
    return Ledger(
        sums["promised"],
        sum(row.promised_alarms for row in running),
        sums["alarms"],
        sums["signals"],
        sums["inhibited"],
        false_count,
    )
