"""Prometheus metrics of monitoring (docs/metrics.md has a row for each)."""

from collections.abc import Iterator

from django.db.models import Count
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily

from monitoring.models import Incident, OutboxMessage, Severity
from triageops.observability.metrics import read_at_scrape

CHECKS = Counter("triageops_checks_total", "Checks of monitors.", ["outcome"])
CHECKED_BUCKETS = Counter("triageops_checked_buckets_total", "Closed buckets that checks took into account.")
INCIDENTS_OPENED = Counter("triageops_incidents_opened_total", "Incidents opened.", ["severity"])
INCIDENTS_RESOLVED = Counter("triageops_incidents_resolved_total", "Incidents resolved.", ["resolution"])
DELIVERIES = Counter(
    "triageops_deliveries_total", "Attempts to deliver a message.", ["channel_kind", "outcome"]
)


@read_at_scrape
def open_incidents() -> Iterator[GaugeMetricFamily]:
    family = GaugeMetricFamily("triageops_incidents_open", "Incidents open now.", labels=["severity"])
    found = dict(Incident.objects.open().order_by().values_list("severity").annotate(Count("pk")))
    for severity in Severity.values:
        family.add_metric([severity], found.get(severity, 0))
    yield family


@read_at_scrape
def undecided_messages() -> Iterator[GaugeMetricFamily]:
    waiting = OutboxMessage.objects.undecided().count()
    yield GaugeMetricFamily(
        "triageops_messages_waiting", "Messages neither delivered nor given up.", value=waiting
    )
