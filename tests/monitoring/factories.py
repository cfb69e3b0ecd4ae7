"""Rows for tests; keywords change what matters to one of them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.utils import timezone

from feedback.models import Direction, MetricKind, QualityMetric, Rollup, RollupCursor, Slice
from monitoring import lifecycle
from monitoring.models import Channel, Incident, Monitor, MonitorSlice, Severity
from monitoring.slices import slice_key
from triageops.stats.histogram import LogBins, UniformBins
from triageops.stats.moments import Moments

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
        "is_whole_watched": False,
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


def add_values(
    number: int,
    values: Sequence[float],
    *,
    metric: str = "helpfulness",
    bounds: tuple[float, float] | None = (0.0, 1.0),
    late_by: int = 0,
    **labels: str,
) -> Rollup:
    """What is stored when these values occurred in bucket `number`, with their histogram."""
    array = np.array(values, dtype=np.float64)
    bins = LogBins() if bounds is None else UniformBins(*bounds)
    used, counts = np.unique(bins.index(array), return_counts=True)
    key = slice_key(labels) + ("" if "attribute" in labels else "*")
    place, _ = Slice.objects.get_or_create(key=key[:32], defaults=labels)
    return Rollup.objects.create(
        slice=place,
        grain_seconds=300,
        metric=metric,
        bucket_at=bucket_at(number),
        visible_at=bucket_at(number + late_by),
        bins=bins.name,
        n=array.size,
        null_count=0,
        mean=array.mean(),
        m2=((array - array.mean()) ** 2).sum(),
        minimum=array.min(),
        maximum=array.max(),
        histogram={str(index): int(count) for index, count in zip(used, counts, strict=True)},
    )


def roll_hours() -> None:
    """Hourly rows of everything that was added so far."""
    found: dict[tuple[Any, ...], list[Moments]] = defaultdict(list)
    for row in Rollup.objects.filter(grain_seconds=300):
        hour = row.bucket_at.replace(minute=0)
        found[row.slice_id, row.metric, row.bins, hour].append(Moments(row.n, row.mean, row.m2))
    for (place, metric, bins, hour), parts in found.items():
        whole = Moments.merge(parts)
        Rollup.objects.create(
            slice_id=place,
            grain_seconds=3600,
            metric=metric,
            bucket_at=hour,
            visible_at=hour,
            bins=bins,
            n=whole.n,
            null_count=0,
            mean=whole.mean,
            m2=whole.m2,
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
