"""Prometheus metrics of monitoring (docs/metrics.md has a row for each)."""

from collections import Counter as Counts
from collections.abc import Iterator

from django.db.models import Count
from django.utils import timezone
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily

from monitoring import backlog
from monitoring.findings import KINDS
from monitoring.models import Canary, DeliveryAudit, Incident, OutboxMessage, Severity
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
def outbox_age() -> Iterator[GaugeMetricFamily]:
    family = GaugeMetricFamily(
        "triageops_outbox_age_seconds",
        "How long messages whose time has come have been waiting.",
        labels=["quantile"],
    )
    for quantile, seconds in backlog.ages(timezone.now()).items():
        family.add_metric([str(quantile)], seconds)
    yield family


@read_at_scrape
def channels() -> Iterator[GaugeMetricFamily]:
    now = timezone.now()
    resting = GaugeMetricFamily(
        "triageops_channels_resting", "Channels that are left alone after failures.", labels=["channel_kind"]
    )
    waiting = GaugeMetricFamily(
        "triageops_channel_rate_wait_seconds",
        "How long the oldest due message has been waiting for a channel's rate.",
        labels=["channel_kind"],
    )
    for kind, seen in backlog.channels(now).items():
        resting.add_metric([kind], seen.resting_count)
        waiting.add_metric([kind], seen.rate_wait_seconds)
    yield resting
    yield waiting


@read_at_scrape
def audit() -> Iterator[GaugeMetricFamily]:
    """Absent before the first audit."""
    row = DeliveryAudit.objects.first()
    if row is None:
        return
    yield GaugeMetricFamily(
        "triageops_delivery_audit_passed",
        "Whether the last audit of deliveries passed.",
        value=float(row.passed_at == row.audited_at),
    )
    yield GaugeMetricFamily(
        "triageops_delivery_audit_timestamp_seconds",
        "When the last audit of deliveries ran.",
        value=row.audited_at.timestamp(),
    )
    family = GaugeMetricFamily(
        "triageops_delivery_audit_findings", "What the last audit of deliveries found.", labels=["kind"]
    )
    counts = Counts(one["kind"] for one in row.findings)
    for kind in KINDS:
        family.add_metric([kind], counts[kind])
    yield family
    if row.heartbeat_at is not None:
        yield GaugeMetricFamily(
            "triageops_heartbeat_timestamp_seconds",
            "When the dead-man's address was last reached.",
            value=row.heartbeat_at.timestamp(),
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
