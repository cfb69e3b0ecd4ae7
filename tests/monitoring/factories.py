"""Rows for tests; keywords change what matters to one of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from feedback.models import Direction, MetricKind, QualityMetric, Rollup, RollupCursor, Slice
from monitoring import lifecycle
from monitoring.models import Channel, Incident, Monitor, MonitorSlice, Severity
from monitoring.slices import slice_key

BUCKET = timedelta(minutes=5)
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def make_metric(key: str = "helpfulness", **changes: Any) -> QualityMetric:
    values = {"kind": MetricKind.BOUNDED, "direction": Direction.HIGHER, "low": 0.0, "high": 1.0} | changes
    return QualityMetric.objects.update_or_create(key=key, defaults=values)[0]


def make_channel(name: str = "ops", **changes: Any) -> Channel:
    return Channel.objects.create(
        **{"name": name, "kind": "webhook", "url": "https://example.org/hook"} | changes
    )


def make_monitor(
    *, started_at: datetime | None = START, channels: tuple[Channel, ...] = (), **changes: Any
) -> Monitor:
    """A monitor that started at `started_at`; None leaves it paused."""
    make_metric()
    values: dict[str, Any] = {
        "name": "helpfulness floor",
        "metric": "helpfulness",
        "parameters": {"level": 0.8, "margin": 0.05},
        "alarms_per_30_days": 1.0,
    }
    monitor = Monitor.objects.create(**values | changes)
    monitor.channels.set(channels)
    if started_at is not None:
        lifecycle.start(monitor, now=started_at)
    return monitor


def bucket_at(number: int) -> datetime:
    return START + number * BUCKET


def add_bucket(
    number: int,
    mean: float,
    *,
    n: int = 200,
    sd: float = 0.1,
    late_by: int = 0,
    metric: str = "helpfulness",
    **labels: str,
) -> Rollup:
    """What is stored when `n` records with this mean occurred in bucket `number`; `late_by` buckets later seen."""
    key = slice_key(labels) + ("" if "attribute" in labels else "*")
    place, _ = Slice.objects.get_or_create(key=key[:32], defaults=labels)
    return Rollup.objects.create(
        slice=place,
        grain_seconds=300,
        metric=metric,
        bucket_at=bucket_at(number),
        visible_at=bucket_at(number + late_by),
        bins="uniform:0.0:1.0",
        n=n,
        null_count=0,
        mean=mean,
        m2=n * sd * sd,
        minimum=max(0.0, mean - 0.2),
        maximum=min(1.0, mean + 0.2),
    )


def close(number: int) -> None:
    """Say that nothing before the end of bucket `number` will be written any more."""
    values = {"closed_until": bucket_at(number + 1), "updated_at": timezone.now(), "tx": "1"}
    RollupCursor.objects.update_or_create(name="facts", defaults=values)


def now_after(number: int) -> datetime:
    """A time at which bucket `number` is closed and a check is due."""
    return bucket_at(number + 1) + timedelta(minutes=10)


def make_incident(monitor: Monitor, **changes: Any) -> Incident:
    place, _ = MonitorSlice.objects.get_or_create(monitor=monitor, key=changes.pop("slice_key", "all"))
    values: dict[str, Any] = {
        "monitor": monitor,
        "slice_key": place.key,
        "title": "helpfulness is below 0.8",
        "severity": Severity.ERROR,
        "onset_at": START,
        "opened_at": START + BUCKET,
        "effect": {
            "current": 0.7,
            "level": 0.8,
            "difference": -0.1,
            "low": -0.12,
            "high": -0.08,
            "n": 400,
            "m2": 4.0,
        },
    }
    return Incident.objects.create(**values | changes)
