from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import budget, standing
from monitoring.models import (
    BudgetEntry,
    FleetBudget,
    Marker,
    Monitor,
    MonitorSlice,
    MonitorState,
    Resolution,
)
from tests.monitoring.factories import make_incident, make_monitor
from tests.monitoring.usage import guest

pytestmark = pytest.mark.django_db

ADDRESS = "admin:monitoring_fleet"


def page(client: Client, query: str = "") -> str:
    answer = client.get(reverse(ADDRESS) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def place(
    monitor: Monitor, key: str = "all", log_evidence: float | None = -3.0, **changes: Any
) -> MonitorSlice:
    now = timezone.now()
    values = {"log_evidence": log_evidence, "bucket_at": now, "last_row_at": now} | changes
    return MonitorSlice.objects.create(monitor=monitor, key=key, **values)


def watching(name: str = "floor", **changes: Any) -> Monitor:
    """It shares the common budget."""
    values = {"alarms_per_30_days": None, "started_at": timezone.now() - timedelta(days=10)} | changes
    return make_monitor(name=name, **values)


def spend(monitor: Monitor, expected: float = 0.02, alarms: int = 0, *, days_ago: int = 0) -> None:
    day = timezone.now().date() - timedelta(days=days_ago)
    budget.spend(monitor, day, expected=expected, alarms=alarms, signals=1, inhibited=2)


def state_of(monitor: Monitor) -> str:
    rows = {row.monitor.pk: row for row in standing.read(timezone.now()).rows}
    return rows[monitor.pk].cells[0].state


def test_fleet_without_monitors_says_that_nothing_is_promised(admin_client: Client) -> None:
    shown = page(admin_client)
    assert "Nothing is watched yet, so nothing is promised." in shown
    assert reverse("admin:monitoring_suggestions") in shown


def test_fleet_begins_with_what_is_promised_and_what_came(admin_client: Client) -> None:
    monitor = watching()
    place(monitor)
    spend(monitor, 0.4, alarms=2)
    make_incident(
        monitor, state="resolved", resolution=Resolution.FALSE_POSITIVE, opened_at=timezone.now(),
        onset_at=timezone.now() - timedelta(hours=1), resolved_at=timezone.now(),
    )  # fmt: skip
    shown = page(admin_client)
    assert (
        "All monitors together may raise 1 false alarm in 30 days on average; 0.4 were promised so far this month, "
        "2 alarms came, 1 was called false."
    ) in shown
    assert "chart-data-promised" in shown


def test_fleet_month_is_the_ledger_of_the_month() -> None:
    first, second = watching("a"), watching("b", alarms_per_30_days=2.0)
    spend(first, 0.1, alarms=1)
    spend(second, 0.2)
    spend(second, 0.7, alarms=5, days_ago=60)
    now = timezone.now()
    found, whole = standing.read(now).month, budget.ledger(now, days=now.day)
    assert found == whole
    assert found.promised == pytest.approx(0.3)
    assert found.per_30_days == pytest.approx(3.0)


def test_fleet_rows_are_of_thirty_days() -> None:
    monitor = watching()
    spend(monitor, 0.1, alarms=1)
    spend(monitor, 0.2, alarms=1, days_ago=29)
    spend(monitor, 0.4, alarms=1, days_ago=30)
    row = standing.read(timezone.now()).rows[0]
    assert row.expected == pytest.approx(0.3)
    assert row.alarm_count == 2
    assert (row.signal_count, row.inhibited_count) == (2, 4)


def test_fleet_rows_come_by_incident_then_by_evidence() -> None:
    weak, strong, paused, ill = watching("weak"), watching("strong"), watching("paused"), watching("ill")
    place(weak, log_evidence=-8.0)
    place(strong, log_evidence=-0.5)
    place(paused, log_evidence=-0.1)
    Monitor.objects.filter(pk=paused.pk).update(state=MonitorState.PAUSED)
    make_incident(ill)
    found = [row.monitor.name for row in standing.read(timezone.now()).rows]
    assert found == ["ill", "strong", "weak", "paused"]


def test_cell_of_an_open_incident_is_red_and_leads_to_it(admin_client: Client) -> None:
    incident = make_incident(watching())
    shown = page(admin_client)
    assert 'class="mo-incident"' in shown
    assert "! incident" in shown
    assert reverse("admin:monitoring_incident_change", args=[incident.pk]) in shown


def test_cell_without_records_for_hours_has_no_data(admin_client: Client) -> None:
    monitor = watching()
    row = place(monitor)
    assert state_of(monitor) == "evidence"
    MonitorSlice.objects.filter(pk=row.pk).update(last_row_at=timezone.now() - timedelta(hours=3))
    assert state_of(monitor) == "no_data"
    assert 'class="mo-no-data"' in page(admin_client)


def test_cell_of_feedback_waits_for_its_age_before_it_has_no_data() -> None:
    monitor = watching()
    place(monitor, last_row_at=timezone.now() - timedelta(hours=7))
    Monitor.objects.filter(pk=monitor.pk).update(metric="feedback:rating")
    assert state_of(monitor) == "evidence"


def test_cell_under_a_marker_is_frozen(admin_client: Client) -> None:
    monitor = watching()
    place(monitor, "variant=one", labels={"variant": "one"})
    now = timezone.now()
    span = {"starts_at": now - timedelta(hours=1), "ends_at": now + timedelta(hours=1)}
    elsewhere = Marker.objects.create(kind="deploy", name="x", where={"variant": "two"}, **span)
    assert state_of(monitor) == "evidence"
    Marker.objects.filter(pk=elsewhere.pk).update(where={})
    assert state_of(monitor) == "frozen"
    assert "frozen</a>" in page(admin_client)


def test_cell_of_a_paused_monitor_is_off_and_says_its_state(admin_client: Client) -> None:
    monitor = watching()
    place(monitor)
    Monitor.objects.update(state=MonitorState.PAUSED)
    assert state_of(monitor) == "off"
    assert "paused</a>" in page(admin_client)


def test_heat_map_has_a_column_for_each_common_slice_and_one_for_the_rest(admin_client: Client) -> None:
    for number in range(3):
        monitor = watching(f"m{number}")
        place(monitor)
        place(monitor, "variant=one", labels={"variant": "one"}, log_evidence=-1.0)
    for number in range(12):
        place(monitor, f"model=m{number}", labels={"model": f"m{number}"}, log_evidence=-0.2)
    shown = page(admin_client)
    assert '<th scope="col">variant one</th>' in shown
    assert '<th scope="col">further</th>' in shown
    assert "mo-level-4" in shown


def test_fleet_filters_by_name_and_by_state(admin_client: Client) -> None:
    place(watching("calm one"))
    make_incident(watching("loud one"))
    assert "calm one" not in page(admin_client, "?show=incident")
    assert "loud one" not in page(admin_client, "?q=CALM")
    assert "No monitor is like that." in page(admin_client, "?show=off")
    assert "calm one" in page(admin_client, "?show=nonsense&p=77")


def test_digest_names_slices_that_stand_out_and_no_rule() -> None:
    monitor = watching()
    strong = place(monitor, "variant=one", labels={"variant": "one"}, log_evidence=2.5)
    place(monitor, "variant=two", labels={"variant": "two"}, log_evidence=-20.0)
    Monitor.objects.update(slice_alarms=0.01)
    found = standing.read(timezone.now())
    assert [(one.monitor, one.name) for one in found.digest] == [(monitor, "variant one")]
    assert found.place_count == 2
    MonitorSlice.objects.filter(pk=strong.pk).update(log_evidence=-6.0)
    assert not standing.read(timezone.now()).digest
    MonitorSlice.objects.filter(pk=strong.pk).update(log_evidence=2.5)
    Monitor.objects.update(kind="never")
    assert not standing.read(timezone.now()).digest


def test_digest_names_no_slice_whose_incident_is_open() -> None:
    monitor = watching()
    place(monitor, log_evidence=3.0)
    Monitor.objects.update(whole_alarms=0.01)
    assert standing.read(timezone.now()).digest
    make_incident(monitor)
    assert not standing.read(timezone.now()).digest


def test_monitor_that_never_watched_has_a_square_that_says_so(admin_client: Client) -> None:
    make_monitor(name="new one", started_at=None)
    assert "learning</a>" in page(admin_client)


def test_ledger_of_a_rule_has_no_share(admin_client: Client) -> None:
    watching()
    Monitor.objects.update(kind="never")
    assert '<td class="to-number">a rule</td>' in page(admin_client)


def test_digest_is_shown(admin_client: Client) -> None:
    monitor = watching("salient")
    place(monitor, log_evidence=3.0)
    Monitor.objects.update(whole_alarms=0.01)
    assert "These slices together are worth a look, at 5 % false discoveries" in page(admin_client)


def test_fleet_page_needs_few_queries_whatever_the_number_of_monitors(admin_client: Client) -> None:
    counts = []
    for size in (2, 12):
        for number in range(size):
            monitor = watching(f"{size}-{number}")
            place(monitor)
            spend(monitor)
        page(admin_client)
        with CaptureQueriesContext(connection) as queries:
            page(admin_client)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 10


def test_fleet_of_a_hundred_and_more_has_pages(admin_client: Client) -> None:
    Monitor.objects.bulk_create(
        Monitor(name=f"m{number:03}", metric="helpfulness", parameters={"level": 0.8})
        for number in range(130)
    )
    shown = page(admin_client)
    assert "1 to 100 of 130" in shown
    assert "m100" not in shown
    assert "101 to 130 of 130" in page(admin_client, "?p=2")


def test_fleet_is_for_who_may_see_monitors(client: Client) -> None:
    client.force_login(guest("view_monitor"))
    place(watching())
    assert "Change the budget" not in page(client)


def test_fleet_is_not_for_everybody(client: Client) -> None:
    client.force_login(guest())
    assert client.get(reverse(ADDRESS)).status_code == 403


def budget_form(**changes: Any) -> dict[str, Any]:
    return {
        "alarms_per_30_days": "2",
        "whole_share": "0.5",
        "slice_share": "0.3",
        "deep_share": "0.2",
    } | changes


BUDGET = "admin:monitoring_fleetbudget_change"


def test_budget_form_shows_what_each_gets_before_anything_is_saved(admin_client: Client) -> None:
    watching("shares it")
    watching("has its own", alarms_per_30_days=0.25)
    address = reverse(BUDGET, args=["fleet"])
    assert (
        "How many false alarms may all monitors raise together?" in admin_client.get(address).content.decode()
    )
    shown = admin_client.post(address, budget_form()).content.decode()
    assert "Together 1.25 false alarms in 30 days would become 2.25." in shown
    assert "has a number of its own" in shown
    assert FleetBudget.objects.get().alarms_per_30_days == 1.0


def test_budget_form_confirmed_changes_the_shares_and_leaves_a_log_entry(admin_client: Client) -> None:
    monitor = watching()
    address = reverse(BUDGET, args=["fleet"])
    answer = admin_client.post(address, budget_form(step="confirm"))
    assert answer.headers["Location"] == reverse(ADDRESS)
    monitor.refresh_from_db()
    assert FleetBudget.objects.get().alarms_per_30_days == 2.0
    assert monitor.promised_alarms == pytest.approx(2.0)
    assert "became 2 in 30 days" in LogEntry.objects.get().change_message


@pytest.mark.parametrize("changes", [{"alarms_per_30_days": "0"}, {"whole_share": "7"}, {"deep_share": ""}])
def test_budget_form_with_a_mistake_changes_nothing(changes: dict[str, str], admin_client: Client) -> None:
    address = reverse(BUDGET, args=["fleet"])
    answer = admin_client.post(address, budget_form(step="confirm", **changes))
    assert answer.status_code == 200
    assert "Show what it does" in answer.content.decode()
    assert FleetBudget.objects.get().alarms_per_30_days == 1.0


def test_budget_is_shown_without_a_form_to_who_may_only_look(client: Client) -> None:
    client.force_login(guest("view_fleetbudget"))
    address = reverse(BUDGET, args=["fleet"])
    shown = client.get(address).content.decode()
    assert "All monitors together may raise 1 false alarm in 30 days on average." in shown
    assert "Show what it does" not in shown
    assert client.post(address, budget_form(step="confirm")).status_code == 403


def test_budget_of_this_month_is_one_query_and_what_the_ledger_says(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    now = timezone.now()
    assert standing.used_this_month(now) is None
    spend(watching("a", split_by=["variant"]), 0.25)
    spend(watching("b", alarms_per_30_days=0.5), 0.1)
    with django_assert_num_queries(1):
        used = standing.used_this_month(now)
    ledger = budget.ledger(now, days=now.day)
    assert used is not None
    assert list(used) == pytest.approx([ledger.promised, ledger.per_30_days])
    assert list(used) == pytest.approx([0.35, 1.5])


def test_home_says_how_much_of_the_budget_is_used(admin_client: Client, client: Client) -> None:
    assert "false alarm" not in admin_client.get("/admin/").content.decode()
    spend(watching(), 0.3)
    shown = admin_client.get("/admin/").content.decode()
    assert "budget: 0.3 of 1 false alarm used this month" in shown
    assert reverse(ADDRESS) in shown
    client.force_login(guest("view_incident"))
    assert "false alarm" not in client.get("/admin/").content.decode()


def test_canary_is_not_among_the_monitors() -> None:
    monitor = watching()
    spend(monitor, 0.3, alarms=4)
    place(monitor)
    now = timezone.now()
    make_incident(
        monitor, state="resolved", resolution=Resolution.FALSE_POSITIVE, opened_at=now,
        onset_at=now - timedelta(hours=1), resolved_at=now,
    )  # fmt: skip
    assert standing.read(now).month.false_count == 1
    Monitor.objects.filter(pk=monitor.pk).update(metric="triageops_canary")
    found = standing.read(timezone.now())
    assert (found.rows, found.days, found.place_count) == ([], [], 0)
    assert (found.month.alarm_count, found.month.false_count) == (0, 0)
    assert standing.used_this_month(timezone.now()) is None
    assert BudgetEntry.objects.exists()
