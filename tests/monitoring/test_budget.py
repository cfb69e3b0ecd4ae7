from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from monitoring import budget, lifecycle
from monitoring.models import BudgetEntry, FleetBudget, Incident, Monitor, MonitorState, Resolution
from tests.monitoring.factories import START, make_incident, make_metric, make_monitor

pytestmark = pytest.mark.django_db


def unsaved(name: str = "m", **changes: Any) -> Monitor:
    values: dict[str, Any] = {
        "name": name,
        "metric": "helpfulness",
        "parameters": {"level": 0.8, "margin": 0.05},
    }
    return Monitor(**values | changes)


def test_split_of_one_monitor_without_slices_gives_it_everything() -> None:
    row = unsaved()
    budget.split(FleetBudget(alarms_per_30_days=2.0), [row])
    assert (row.whole_alarms, row.slice_alarms, row.promised_alarms) == (2.0, 0.0, 2.0)


@pytest.mark.parametrize("alarms", [0.5, 1.0, 7.0])
def test_split_over_levels_and_weights_adds_up_to_the_budget(alarms: float) -> None:
    rows = [
        unsaved("a"),
        unsaved("b", weight=3.0),
        unsaved("c", split_by=["variant"], max_slices=4),
        unsaved("d", split_by=["variant", "model"], max_slices=9),
        unsaved("e", split_by=["model"], max_slices=9, is_whole_watched=False),
    ]
    budget.split(FleetBudget(alarms_per_30_days=alarms), rows)
    assert sum(row.promised_alarms for row in rows) == pytest.approx(alarms)
    a, b, c, d, e = rows
    assert b.whole_alarms == pytest.approx(3 * a.whole_alarms)
    assert sum(row.whole_alarms for row in rows) == pytest.approx(0.5 * alarms)
    assert 5 * c.slice_alarms + 10 * e.slice_alarms == pytest.approx(0.3 * alarms)
    assert 10 * d.slice_alarms == pytest.approx(0.2 * alarms)
    assert e.whole_alarms == 0


def test_split_leaves_a_number_of_its_own_outside_the_common_budget() -> None:
    own = unsaved("own", alarms_per_30_days=4.0, split_by=["variant"], max_slices=1)
    common = unsaved("common")
    budget.split(FleetBudget(alarms_per_30_days=1.0), [own, common])
    assert own.promised_alarms == pytest.approx(4.0)
    assert common.promised_alarms == pytest.approx(1.0)


def test_redistribute_follows_who_watches(django_capture_on_commit_callbacks: Callable[..., Any]) -> None:
    first = make_monitor(name="first", alarms_per_30_days=None)
    assert Monitor.objects.get(pk=first.pk).whole_alarms == pytest.approx(1.0)
    with django_capture_on_commit_callbacks(execute=True):
        second = make_monitor(name="second", alarms_per_30_days=None)
    assert second.whole_alarms == pytest.approx(0.5)
    assert Monitor.objects.get(pk=first.pk).whole_alarms == pytest.approx(0.5)
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.pause(second)
    assert Monitor.objects.get(pk=first.pk).whole_alarms == pytest.approx(1.0)


def test_rules_make_no_promise_and_take_no_part() -> None:
    drift = unsaved("drift")
    rules = [unsaved(f"rule {number}", kind="never", parameters={}) for number in range(9)]
    budget.split(FleetBudget(alarms_per_30_days=1.0), [drift, *rules])
    assert drift.whole_alarms == pytest.approx(1.0)
    assert {rule.promised_alarms for rule in rules} == {0.0}


def test_share_if_active_says_what_a_new_monitor_would_get_and_saves_nothing() -> None:
    first = make_monitor(name="first", alarms_per_30_days=None)
    make_metric()
    assert budget.share_if_active(unsaved("new")).whole_alarms == pytest.approx(0.5)
    assert Monitor.objects.get(pk=first.pk).whole_alarms == pytest.approx(1.0)


def test_ledger_adds_days_up_and_counts_what_people_called_false() -> None:
    monitor = make_monitor(alarms_per_30_days=3.0)
    for day in (1, 1, 2):
        budget.spend(monitor, date(2026, 3, day), expected=0.1, alarms=1, signals=2, inhibited=0)
    assert BudgetEntry.objects.count() == 2
    make_incident(
        monitor,
        state="resolved",
        resolved_at=START,
        resolution=Resolution.FALSE_POSITIVE,
        opened_at=START,
        onset_at=START,
    )
    found = budget.ledger(START.replace(day=3))
    assert found.promised == pytest.approx(0.3)
    assert (found.alarm_count, found.signal_count, found.false_count) == (3, 6, 1)
    assert found.per_30_days == pytest.approx(3.0)
    assert budget.ledger(START.replace(day=3), days=1).promised == 0
    assert Incident.objects.count() == 1
    assert monitor.state == MonitorState.ACTIVE
