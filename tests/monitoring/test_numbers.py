"""Numbers of each month."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from feedback.models import Scope
from monitoring import incidents
from monitoring.models import BudgetEntry, Incident, IncidentEvent, OutboxMessage, Source
from monitoring.reading import numbers
from tests.monitoring.callers import client_with, get
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.test_usefulness import judged

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def happened(
    at: datetime,
    *,
    detected: float = 60,
    acknowledged: float | None = None,
    resolved: float | None = None,
    **changes: Any,
) -> Incident:
    """Seconds: from onset to opening, and from there on."""
    over = None if resolved is None else at + timedelta(seconds=resolved)
    values = {"state": "resolved" if over else "firing", "resolution": "recovered" if over else ""} | changes
    incident = judged(
        changes.pop("monitor", None) or make_monitor(name=f"m{Incident.objects.count()}"), "",
        at=at, onset_at=at - timedelta(seconds=detected), resolved_at=over, **{k: v for k, v in values.items() if k != "monitor"},
    )  # fmt: skip
    if acknowledged is not None:
        for seq, later in ((2, acknowledged), (4, acknowledged + 1000)):
            IncidentEvent.objects.create(
                incident=incident, seq=seq, kind="acknowledged", at=at + timedelta(seconds=later)
            )
    return incident


def test_months_begin_where_the_year_does() -> None:
    found = numbers.starts_of(datetime(2026, 2, 3, tzinfo=UTC), 4)
    assert [f"{one:%Y-%m-%d}" for one in found] == ["2026-02-01", "2026-01-01", "2025-12-01", "2025-11-01"]


def test_month_counts_times_and_severities() -> None:
    for number, acknowledged in ((10, 30.0), (20, 60.0), (30, None)):
        happened(
            NOW - timedelta(days=1), detected=number, acknowledged=acknowledged, resolved=100.0 * number, severity="critical"
        )  # fmt: skip
    happened(
        datetime(2026, 2, 28, 23, 59, tzinfo=UTC), usefulness="noise", resolution="false_positive", resolved=5
    )
    march, february = numbers.read(NOW)[:2]
    assert (march.incident_count, march.severities["critical"], march.origins["monitor"]) == (3, 3, 3)
    assert (march.detect.median, march.detect.n) == (20.0, 3)
    assert march.detect.p90 == pytest.approx(28.0)
    # The first acknowledgement counts, also when it ended and came again.
    assert (march.acknowledge.median, march.acknowledge.n) == (45.0, 2)
    assert march.acknowledged_share == pytest.approx(2 / 3)
    assert march.resolve.median == 2000.0
    assert (february.incident_count, february.false_count, february.judgements.noise) == (1, 1, 1)


def test_suspicions_and_planted_incidents_are_left_out() -> None:
    happened(NOW, state="suspect")
    happened(NOW, resolved=10, resolution="faded")
    canary = make_monitor(name="canary", metric="triageops_canary", started_at=None)
    happened(NOW, resolved=10, monitor=canary)
    assert numbers.read(NOW)[0].incident_count == 0


def test_messages_are_counted_by_month_without_tests_and_canary() -> None:
    now, channel = timezone.now(), make_channel()
    incident = happened(now)
    planted = happened(now, monitor=make_monitor(name="canary", metric="triageops_canary", started_at=None))
    kinds = [("trigger", "delivered"), ("reminder", "delivered"), ("resolve", "dead"), ("test", "delivered")]
    for seq, (kind, status) in enumerate(kinds):
        for about in (incident, planted):
            OutboxMessage.objects.create(
                incident=about, channel=channel, seq=seq, kind=kind, payload={}, dedup_key="x", status=status, not_before=now,
                created_at=now, expires_at=now, delivered_at=now if status == "delivered" else None,
            )  # fmt: skip
    found = numbers.read(now)[0]
    assert (found.sent_count, found.reminder_count, found.dead_count) == (2, 1, 1)


def test_promised_false_alarms_are_those_of_the_budget() -> None:
    monitor, canary = make_monitor(), make_monitor(name="canary", metric="triageops_canary", started_at=None)
    for one in (monitor, canary):
        BudgetEntry.objects.create(monitor=one, day=NOW.date(), expected=0.25)
        BudgetEntry.objects.create(monitor=one, day=NOW.date() - timedelta(days=1), expected=0.5)
    assert numbers.read(NOW)[0].promised == 0.75


def test_reading_takes_four_queries(django_assert_num_queries: Any) -> None:
    happened(NOW, acknowledged=3)
    with django_assert_num_queries(4):
        numbers.read(NOW)


def test_numbers_page_and_file_say_the_same(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    happened(timezone.now(), acknowledged=60, resolved=120)
    address = reverse("admin:monitoring_numbers")
    admin_client.get(address)
    with django_assert_max_num_queries(10):
        shown = admin_client.get(address).content.decode()
    assert "1 incident so far this month" in shown
    rows = list(csv.DictReader(io.StringIO(admin_client.get(address, {"format": "csv"}).content.decode())))
    assert (rows[0]["incidents"], rows[0]["resolve_median_seconds"]) == ("1", "120.0")
    assert len(rows) == numbers.MONTHS


def test_numbers_over_rest_are_limited() -> None:
    happened(timezone.now())
    client = client_with(Scope.INCIDENTS_READ)
    found = get(client, "incidents/numbers?months=2")
    assert [one["incidents"] for one in found["results"]] == [1, 0]
    assert get(client, "incidents/numbers?months=0", 400)["field"] == "months"


def test_reports_without_an_onset_say_nothing_of_how_soon_incidents_are_found() -> None:
    for key, late in (("a", 0), ("b", 0), ("c", 90)):
        incidents.report(
            Source.API, key, title=key, severity="warning", labels={}, annotations={},
            onset_at=NOW - timedelta(seconds=late), actor="key", now=NOW,
        )  # fmt: skip
    march = numbers.read(NOW)[0]
    assert (march.incident_count, march.detect) == (3, numbers.Durations(90.0, 90.0, 1))


@pytest.mark.parametrize(
    ("resolved", "said"),
    [
        ([120, None, None], "1 of them is over, after 2"),
        ([120, 120, None], "2 of them are over, half of these within 2"),
        ([120, 120], "all are over, half of these within 2"),
    ],
)
def test_sentence_of_the_numbers_leaves_no_open_one_out_in_silence(
    resolved: list[float | None], said: str, admin_client: Client
) -> None:
    for seconds in resolved:
        happened(timezone.now(), resolved=seconds)
    assert said in admin_client.get(reverse("admin:monitoring_numbers")).content.decode()
