"""Prometheus metrics of monitoring (docs/metrics.md has a row for each)."""

from collections.abc import Iterator

from django.db.models import Count
from django.utils import timezone
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily

from monitoring.models import Canary, Incident, OutboxMessage, Severity
from monitoring.problems import TROUBLES, survey
from triageops.observability.metrics import read_at_scrape

CHECKS = Counter("triageops_checks_total", "Checks of monitors.", ["outcome"])
CHECKED_BUCKETS = Counter("triageops_checked_buckets_total", "Closed buckets that checks took into account.")
BACKTESTS = Counter("triageops_backtests_total", "Backtests that ended.", ["outcome"])
INCIDENTS_OPENED = Counter("triageops_incidents_opened_total", "Incidents opened.", ["severity"])
INCIDENTS_RESOLVED = Counter("triageops_incidents_resolved_total", "Incidents resolved.", ["resolution"])
DELIVERIES = Counter(
    "triageops_deliveries_total", "Attempts to deliver a message.", ["channel_kind", "outcome"]
)


@read_at_scrape
def open_incidents() -> Iterator[GaugeMetricFamily]:
    family = GaugeMetricFamily("triageops_incidents_open", "Incidents open now.", labels=["severity"])
    people = Incident.objects.open().genuine()
    found = dict(people.order_by().values_list("severity").annotate(Count("pk")))
    for severity in Severity.values:
        family.add_metric([severity], found.get(severity, 0))
    yield family


@read_at_scrape
def undecided_messages() -> Iterator[GaugeMetricFamily]:
    waiting = OutboxMessage.objects.undecided().count()
    yield GaugeMetricFamily(
        "triageops_messages_waiting", "Messages neither delivered nor given up.", value=waiting
    )


@read_at_scrape
def watching() -> Iterator[GaugeMetricFamily]:
    seen = survey(timezone.now())
    yield GaugeMetricFamily(
        "triageops_check_lag_seconds",
        "How long the most overdue check has been waiting.",
        value=seen.lag_seconds,
    )
    yield GaugeMetricFamily(
        "triageops_rollups_behind_seconds",
        "For how long buckets that should be closed are not.",
        value=seen.behind_seconds,
    )
    family = GaugeMetricFamily(
        "triageops_monitors_in_trouble", "Monitors whose check has a problem.", labels=["problem"]
    )
    for trouble in TROUBLES:
        family.add_metric([trouble], seen.count(trouble))
    yield family


@read_at_scrape
def canary() -> Iterator[GaugeMetricFamily]:
    """Absent before the first planted drift was found."""
    row = Canary.objects.exclude(found_at=None).first()
    if row is None or row.found_at is None or row.seconds_to_detect is None:
        return
    yield GaugeMetricFamily(
        "triageops_canary_seconds_to_detect",
        "From the start of the last planted drift to its delivery.",
        value=row.seconds_to_detect,
    )
    yield GaugeMetricFamily(
        "triageops_canary_last_success_timestamp_seconds",
        "When the last planted drift had been delivered.",
        value=row.found_at.timestamp(),
    )
