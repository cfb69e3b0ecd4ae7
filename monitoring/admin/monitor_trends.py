"""The last day of each monitor in the list, as a small line: from its checks, and before those from rollups."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Avg, F, FloatField, Q, Sum
from django.db.models.functions import Cast, NullIf, TruncHour

from feedback.stats import EVERY_RESPONSE, Cut, SeriesPoint, UnknownDimension, Window, metric_series
from monitoring.models import DriftEvaluation, Monitor
from monitoring.slices import ALL
from monitoring.sources import FEEDBACK

TREND, _HOUR = timedelta(hours=24), timedelta(hours=1)
_POINTS = 48
"""Of a day by the hour: with more, the next shorter step would be taken."""
_MOST_PLACES = 3
"""Choices of records that are read for monitors that are new: all, then the simplest."""
_READABLE = frozenset({"distribution", "rate", "slo_guard", "volume"})

Hours = dict[datetime, tuple[float | None, float | None]]
"""By hour: the mean of records, the mean of buckets."""


def with_trends(monitors: Iterable[Monitor], now: datetime) -> list[Any]:
    """Each with the hourly values of its last day, as the points of a small line. Four queries at most for all of them."""
    rows: list[Any] = list(monitors)
    wholes = [row.pk for row in rows if row.has_whole]
    found = (
        DriftEvaluation.objects.filter(bucket_at__gte=now - TREND, bucket_at__lte=now)
        .filter(
            Q(slice__monitor__in=wholes, slice__key=ALL)
            | Q(slice__monitor__in=[row.pk for row in rows if not row.has_whole])
        )
        .annotate(hour=TruncHour("bucket_at"))
        .values("slice__monitor", "hour")
        .annotate(
            of_records=Sum(F("mean") * F("n"), output_field=FloatField())
            / NullIf(Cast(Sum("n"), FloatField()), 0.0),
            of_buckets=Avg("mean"),
        )
        .order_by("hour")
        .values_list("slice__monitor", "hour", "of_records", "of_buckets")
    )
    by_monitor: dict[int, Hours] = {}
    for pk, hour, of_records, of_buckets in found:
        by_monitor.setdefault(pk, {})[hour] = (of_records, of_buckets)
    for pk, hours in _from_rollups(rows, by_monitor, now).items():
        by_monitor[pk] = hours | by_monitor.get(pk, {})
    for row in rows:
        row.trend = _trend(by_monitor.get(row.pk, {}), is_counted=row.kind == "volume")
    return rows


def _from_rollups(rows: Sequence[Monitor], seen: Mapping[int, Hours], now: datetime) -> dict[int, Hours]:
    """The hours before the first check, of those that show means or counts of all records of a few places."""
    first = now.replace(minute=0, second=0, microsecond=0) - TREND
    young = [
        row
        for row in rows
        if (row.kind in _READABLE or row.metric == "error")
        and not row.metric.startswith(FEEDBACK)
        and min(seen.get(row.pk, {now: None})) > first + _HOUR
    ]
    places = sorted({tuple(sorted(row.where.items())) for row in young}, key=len)[:_MOST_PLACES]
    found: dict[int, Hours] = {}
    for place in places:
        here = [row for row in young if tuple(sorted(row.where.items())) == place]
        names = {row.pk: EVERY_RESPONSE if row.kind == "volume" else row.metric for row in here}
        try:
            series = metric_series([*set(names.values())], Window(first, now), Cut(dict(place)), _POINTS)
        except UnknownDimension:
            continue
        found |= {row.pk: _hours(row, series[names[row.pk]], now) for row in here}
    return found


def _hours(row: Monitor, points: Sequence[SeriesPoint], now: datetime) -> Hours:
    """Without the last one, which is not over. Counts are of a bucket."""
    share = settings.BUCKET_SECONDS / _HOUR.total_seconds()
    return {
        one.at: (one.mean, one.n * share if row.kind == "volume" else one.mean)
        for one in points
        if one.at + _HOUR <= now
    }


def _trend(hours: Hours, *, is_counted: bool) -> Sequence[float | None]:
    """One value for each hour from the first known one on; None for an hour without records."""
    if not hours:
        return []
    first, last = min(hours), max(hours)
    count = round((last - first).total_seconds() / 3600) + 1
    pairs = [hours.get(first + timedelta(hours=number), (None, None)) for number in range(count)]
    return [of_buckets if is_counted else of_records for of_records, of_buckets in pairs]
