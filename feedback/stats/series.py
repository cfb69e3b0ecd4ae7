"""The same statistics over time, for plots."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from feedback.cells import GRAINS, HOUR
from feedback.models import FeedbackRollup
from feedback.stats.cuts import EVERY_RESPONSE, Cut, Group, Window
from triageops.stats.interval import mean_interval, wilson
from triageops.stats.moments import Moments


@dataclass(frozen=True)
class SeriesPoint:
    """One bucket of one group in a plot; `low` and `high` are the 95 % interval of `mean`."""

    at: datetime
    group: Group
    n: int
    mean: float | None
    low: float | None
    high: float | None


MOST_POINTS = 180
"""Of one group in a plot."""


def _step(window: Window, most_points: int) -> int:
    """Seconds between points."""
    length = (window.end - window.start).total_seconds()
    fine = settings.BUCKET_SECONDS
    return next(
        (step for step in (fine, HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR) if length / step <= most_points),
        24 * HOUR,
    )


def _in_steps(window: Window, step: int) -> tuple[str, list[Any]]:
    """Rows of one grain, and their points' start as seconds since 1970."""
    grain = [HOUR] if step >= HOUR else list(GRAINS)
    return (
        "r.grain_seconds = ANY(%s) AND r.bucket_at >= %s AND r.bucket_at < %s",
        [grain, datetime.fromtimestamp(int(window.start.timestamp()) // step * step, tz=UTC), window.end],
    )


def quality_series(metric: str, window: Window, cut: Cut) -> list[SeriesPoint]:
    """Mean of a metric over time and group; for EVERY_RESPONSE the traffic is its n."""
    return metric_series([metric], window, cut)[metric]


def metric_series(
    metrics: Sequence[str], window: Window, cut: Cut, most_points: int = MOST_POINTS
) -> dict[str, list[SeriesPoint]]:
    """`quality_series` of several metrics at the price of one query; a metric without values has no points."""
    step = _step(window, most_points)
    in_window, window_values = _in_steps(window, step)
    condition, values = cut.condition()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.metric, floor(extract(epoch FROM r.bucket_at) / %s)::bigint * %s, {cut.columns()} r.n, r.mean, r.m2"
            " FROM feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {in_window} AND r.metric = ANY(%s) AND {condition}",
            [step, step, *window_values, list(metrics), *values],
        )
        rows = cursor.fetchall()
    width = 2 + len(cut.group_by)
    found: dict[tuple[Any, ...], list[Moments]] = defaultdict(list)
    for row in rows:
        found[row[:width]].append(Moments(*row[width:]))
    series: dict[str, list[SeriesPoint]] = {metric: [] for metric in metrics}
    for key in sorted(found):
        series[key[0]].append(_point(key[1:], Moments.merge(found[key])))
    return series


def _point(key: tuple[Any, ...], moments: Moments) -> SeriesPoint:
    interval = mean_interval(moments)
    return SeriesPoint(
        datetime.fromtimestamp(key[0], tz=UTC),
        key[1:],
        moments.n,
        moments.mean if moments.n else None,
        interval.low if interval else None,
        interval.high if interval else None,
    )


def feedback_series(window: Window, cut: Cut, feedback_type: str = FeedbackRollup.ANY) -> list[SeriesPoint]:
    """Share over time: for ANY of responses that have feedback, else of feedback that is of this type."""
    responses = quality_series(EVERY_RESPONSE, window, cut) if feedback_type == FeedbackRollup.ANY else []
    return shares_over_time(window, cut, [feedback_type], responses)[feedback_type]


def shares_over_time(
    window: Window,
    cut: Cut,
    feedback_types: Sequence[str],
    responses: Sequence[SeriesPoint],
    most_points: int = MOST_POINTS,
) -> dict[str, list[SeriesPoint]]:
    """`feedback_series` of several types with one query; `responses` is the traffic, which ANY is a share of."""
    tallies = _tallies_over_time(window, cut, most_points)
    series: dict[str, list[SeriesPoint]] = {}
    for name in feedback_types:
        if name == FeedbackRollup.ANY:
            totals = {(int(point.at.timestamp()), *point.group): point.n for point in responses}
        else:
            totals = {
                key: sum(n for one, n in tally.items() if one != FeedbackRollup.ANY)
                for key, tally in tallies.items()
            }
        series[name] = [
            _share(key, tallies.get(key, {}).get(name, 0), n) for key, n in sorted(totals.items())
        ]
    return series


def _tallies_over_time(window: Window, cut: Cut, most_points: int) -> dict[tuple[Any, ...], dict[str, int]]:
    """(seconds since 1970, *group) -> type -> count."""
    step = _step(window, most_points)
    in_window, window_values = _in_steps(window, step)
    condition, values = cut.condition()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT floor(extract(epoch FROM r.bucket_at) / %s)::bigint * %s, {cut.columns()} r.feedback_type, r.count"
            " FROM feedback_feedbackrollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {in_window} AND {condition}",
            [step, step, *window_values, *values],
        )
        rows = cursor.fetchall()
    width = 1 + len(cut.group_by)
    tallies: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        tallies[row[:width]][row[width]] += int(row[width + 1])
    return tallies


def _share(key: tuple[Any, ...], count: int, total: int) -> SeriesPoint:
    interval = wilson(count, total) if 0 <= count <= total else None
    return SeriesPoint(
        datetime.fromtimestamp(key[0], tz=UTC),
        key[1:],
        total,
        count / total if total else None,
        interval.low if interval else None,
        interval.high if interval else None,
    )
