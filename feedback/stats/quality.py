"""Statistics of metrics per group, from moments and histograms."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import connection

from feedback.stats.cuts import IN_WINDOW, Cut, Group, Window, window_values
from triageops.stats.histogram import Histogram, bins_named, pooled_quantiles
from triageops.stats.moments import Moments


@dataclass(frozen=True)
class MetricStats:
    """One metric in one group; None where there is no answer with this data."""

    metric: str
    group: Group
    n: int
    null_count: int
    moments: Moments
    minimum: float | None
    maximum: float | None
    p50: float | None
    p95: float | None
    p50_error: float | None
    p95_error: float | None


def quality_stats(window: Window, cut: Cut, metrics: Sequence[str] | None = None) -> list[MetricStats]:
    """Statistics per metric and group, in their order; metrics None: all."""
    condition, values = cut.condition()
    chosen = "" if metrics is None else " AND r.metric = ANY(%s)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.metric, {cut.columns()} r.n, r.null_count, r.mean, r.m2, r.minimum, r.maximum, r.bins,"
            " r.histogram FROM feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {IN_WINDOW} AND {condition}{chosen}",
            [*window_values(window), *values, *([] if metrics is None else [list(metrics)])],
        )
        rows = cursor.fetchall()
    width = 1 + len(cut.group_by)
    cells: dict[Group, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        cells[row[:width]].append(row[width:])
    return [_metric_stats(key, cells[key]) for key in sorted(cells)]


def _metric_stats(key: Group, cells: list[tuple[Any, ...]]) -> MetricStats:
    moments = Moments.merge(Moments(cell[0], cell[2], cell[3]) for cell in cells)
    low = [cell[4] for cell in cells if cell[4] is not None]
    high = [cell[5] for cell in cells if cell[5] is not None]
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for cell in cells:
        for index, count in msgspec.json.decode(cell[7]).items():
            counts[cell[6]][int(index)] += count
    histograms = [Histogram(bins_named(name), dict(found)) for name, found in counts.items()]
    p50, p95 = pooled_quantiles(histograms, (0.5, 0.95))
    return MetricStats(
        metric=key[0],
        group=key[1:],
        n=moments.n,
        null_count=sum(cell[1] for cell in cells),
        moments=moments,
        minimum=min(low, default=None),
        maximum=max(high, default=None),
        p50=_within(p50, low, high),
        p95=_within(p95, low, high),
        p50_error=_error(histograms, p50),
        p95_error=_error(histograms, p95),
    )


def _within(value: float | None, low: list[float], high: list[float]) -> float | None:
    """The middle of a bin may lie outside what was seen; the nearest value that was seen is nearer the truth."""
    return None if value is None else min(max(value, min(low)), max(high))


def _error(histograms: Sequence[Histogram], value: float | None) -> float | None:
    """How far a quantile may be from the exact one: the widest bin near it."""
    if value is None:
        return None
    return max(histogram.scheme.error(value) for histogram in histograms)
