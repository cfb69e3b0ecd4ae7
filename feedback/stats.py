"""What is read of rollups: the statistics of REST, of the admin's plots and of monitors.

Only rollups are read, whole hours where the window has them: the cost depends on the window, not on the history.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection

from feedback.cells import GRAINS, HOUR
from feedback.models import FeedbackRollup, FeedbackType, RollupCursor
from feedback.tallies import UNMATCHED
from triageops.stats.histogram import Histogram, bins_named, pooled_quantiles
from triageops.stats.interval import Interval, mean_interval, wilson
from triageops.stats.moments import Moments

DIMENSIONS = ("endpoint", "model", "provider", "experiment", "variant", "evaluator")
EVERY_RESPONSE = "error"
"""The metric that every response has, so its n is the number of responses."""

Group = tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """Responses that occurred from `start` (included) to `end` (not included)."""

    start: datetime
    end: datetime

    @classmethod
    def last(cls, length: timedelta, now: datetime) -> "Window":
        """The buckets that end after now - length, the current one included."""
        stamp = int((now - length).timestamp())
        start = datetime.fromtimestamp(stamp - stamp % settings.BUCKET_SECONDS, tz=UTC)
        return cls(start, now + timedelta(minutes=15))

    @property
    def first_hour(self) -> datetime:
        """Start of the first whole hour in the window."""
        return datetime.fromtimestamp(-(-int(self.start.timestamp()) // HOUR) * HOUR, tz=UTC)


class UnknownDimension(ValueError):
    """A dimension that rollups are not kept for, or two attributes at once."""


@dataclass(frozen=True)
class Cut:
    """Which slices to read and how to group them.

    Attributes are kept one at a time, so at most one may take part, in `where` or in `group_by`.
    """

    where: Mapping[str, str]
    group_by: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = {*self.where, *self.group_by}
        attributes = names - set(DIMENSIONS)
        unknown = attributes - set(settings.SLICE_ATTRIBUTES)
        if unknown:
            raise UnknownDimension(f"Rollups are not kept for {', '.join(sorted(unknown))}.")
        if len(attributes) > 1:
            raise UnknownDimension(f"Only one attribute at a time: {', '.join(sorted(attributes))}.")

    @property
    def attribute(self) -> str:
        """The attribute that takes part; empty for none."""
        return next(iter({*self.where, *self.group_by} - set(DIMENSIONS)), "")

    def _column(self, name: str) -> str:
        return f"s.{name}" if name in DIMENSIONS else "s.value"

    def columns(self) -> str:
        """SQL of the groups, each followed by a comma."""
        return "".join(f"{self._column(name)}, " for name in self.group_by)

    def condition(self) -> tuple[str, list[str]]:
        parts = ["s.attribute = %s"] + [f"{self._column(name)} = %s" for name in self.where]
        return " AND ".join(parts), [self.attribute, *self.where.values()]


_IN_WINDOW = (
    "((r.grain_seconds = 3600 AND r.bucket_at >= %s AND r.bucket_at < %s)"
    " OR (r.grain_seconds = ANY(%s) AND r.bucket_at >= %s AND r.bucket_at < %s))"
)


def _window_values(window: Window) -> list[Any]:
    edge = min(window.first_hour, window.end)
    return [edge, window.end, list(GRAINS), window.start, edge]


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
            f" WHERE {_IN_WINDOW} AND {condition}{chosen}",
            [*_window_values(window), *values, *([] if metrics is None else [list(metrics)])],
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
        p50=p50,
        p95=p95,
        p50_error=_error(histograms, p50),
        p95_error=_error(histograms, p95),
    )


def _error(histograms: Sequence[Histogram], value: float | None) -> float | None:
    """How far a quantile may be from the exact one: the widest bin near it."""
    if value is None:
        return None
    return max(histogram.scheme.error(value) for histogram in histograms)


@dataclass(frozen=True)
class TypeStats:
    """Feedback of one type in one group."""

    count: int
    share: Interval | None
    average_rating: float | None
    rating_count: int
    comment_count: int


@dataclass(frozen=True)
class FeedbackStats:
    """Feedback on the responses of one group; `coverage` is the share of them that have any."""

    group: Group
    responses: int
    responses_with_feedback: int
    coverage: float | None
    coverage_interval: Interval | None
    by_type: dict[str, TypeStats]


def _responses(window: Window, cut: Cut) -> dict[Group, int]:
    return {stats.group: stats.n for stats in quality_stats(window, cut, [EVERY_RESPONSE])}


def _tallies(window: Window, cut: Cut) -> dict[Group, dict[str, tuple[int, int, list[int]]]]:
    """Group -> type -> (count, comments, how many rated 1 to 5)."""
    condition, values = cut.condition()
    ratings = ", ".join(f"sum(r.rating_counts[{rating}])" for rating in range(1, 6))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {cut.columns()} r.feedback_type, sum(r.count), sum(r.comment_count), {ratings}"
            " FROM feedback_feedbackrollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {_IN_WINDOW} AND {condition} GROUP BY {cut.columns()} r.feedback_type",
            [*_window_values(window), *values],
        )
        rows = cursor.fetchall()
    width = len(cut.group_by)
    found: dict[Group, dict[str, tuple[int, int, list[int]]]] = defaultdict(dict)
    for row in rows:
        numbers = [int(number) for number in row[width + 1 :]]
        found[row[:width]][row[width]] = (numbers[0], numbers[1], numbers[2:])
    return found


def feedback_stats(window: Window, cut: Cut) -> list[FeedbackStats]:
    """Feedback per group, with how much of the responses it covers."""
    responses = _responses(window, cut)
    tallies = _tallies(window, cut)
    groups = sorted({*responses, *tallies})
    return [_feedback_of(group, responses.get(group, 0), tallies.get(group, {})) for group in groups]


def unmatched_count(window: Window) -> int:
    """Pieces of feedback given in the window whose response was not seen yet."""
    condition, values = "s.attribute = %s", [UNMATCHED]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(r.count), 0) FROM feedback_feedbackrollup r JOIN feedback_slice s"
            f" ON s.id = r.slice_id WHERE {_IN_WINDOW} AND {condition}",
            [*_window_values(window), *values],
        )
        return int(cursor.fetchone()[0])


def _feedback_of(group: Group, responses: int, tallies: Mapping[str, tuple[int, int, list[int]]]) -> FeedbackStats:
    total = sum(tallies.get(name, (0, 0, []))[0] for name in FeedbackType.values)
    covered = tallies.get(FeedbackRollup.ANY, (0, 0, []))[0]
    by_type = {name: _type_stats(tallies.get(name, (0, 0, [0] * 5)), total) for name in FeedbackType.values}
    return FeedbackStats(
        group,
        responses,
        covered,
        covered / responses if responses else None,
        wilson(covered, responses),
        by_type,
    )


def _type_stats(tally: tuple[int, int, list[int]], total: int) -> TypeStats:
    count, comments, ratings = tally
    rated = sum(ratings)
    average = sum(rating * how_many for rating, how_many in enumerate(ratings, start=1)) / rated if rated else None
    return TypeStats(count, wilson(count, total), average, rated, comments)


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
    return next((step for step in (fine, HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR) if length / step <= most_points), 24 * HOUR)


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
        interval and interval.low,
        interval and interval.high,
    )


def feedback_series(window: Window, cut: Cut, feedback_type: str = FeedbackRollup.ANY) -> list[SeriesPoint]:
    """Share over time: for ANY of responses that have feedback, else of feedback that is of this type."""
    responses = quality_series(EVERY_RESPONSE, window, cut) if feedback_type == FeedbackRollup.ANY else []
    return shares_over_time(window, cut, [feedback_type], responses)[feedback_type]


def shares_over_time(
    window: Window, cut: Cut, feedback_types: Sequence[str], responses: Sequence[SeriesPoint], most_points: int = MOST_POINTS
) -> dict[str, list[SeriesPoint]]:
    """`feedback_series` of several types with one query; `responses` is the traffic, which ANY is a share of."""
    tallies = _tallies_over_time(window, cut, most_points)
    series: dict[str, list[SeriesPoint]] = {}
    for name in feedback_types:
        if name == FeedbackRollup.ANY:
            totals = {(int(point.at.timestamp()), *point.group): point.n for point in responses}
        else:
            totals = {key: sum(n for one, n in tally.items() if one != FeedbackRollup.ANY) for key, tally in tallies.items()}
        series[name] = [_share(key, tallies.get(key, {}).get(name, 0), n) for key, n in sorted(totals.items())]
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
        interval and interval.low,
        interval and interval.high,
    )


@dataclass(frozen=True)
class ClosedBucket:
    """What became visible in one closed bucket, for one group."""

    at: datetime
    group: Group
    moments: Moments
    null_count: int
    minimum: float | None
    maximum: float | None


def closed_until() -> datetime | None:
    """No rollup will get a visible_at before this any more; None before the first rollup."""
    cursor = RollupCursor.objects.filter(name="facts").first()
    return cursor and cursor.closed_until


def closed_buckets(
    metric: str,
    *,
    where: Mapping[str, str],
    split_by: Sequence[str],
    after: datetime,
    until: datetime,
    not_before: datetime,
) -> list[ClosedBucket]:
    """Buckets with after <= visible_at < until of what occurred since `not_before`, ordered by time and group."""
    cut = Cut(where, split_by)
    condition, values = cut.condition()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.visible_at, {cut.columns()} r.n, r.null_count, r.mean, r.m2, r.minimum, r.maximum"
            " FROM feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id"
            " WHERE r.metric = %s AND r.grain_seconds < 3600 AND r.visible_at >= %s AND r.visible_at < %s"
            f" AND r.bucket_at >= %s AND {condition}",
            [metric, after, until, not_before, *values],
        )
        rows = cursor.fetchall()
    return list(_buckets(rows, 1 + len(split_by)))


def _buckets(rows: Sequence[tuple[Any, ...]], width: int) -> Iterator[ClosedBucket]:
    cells: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        cells[row[:width]].append(row[width:])
    for key in sorted(cells):
        found = cells[key]
        yield ClosedBucket(
            at=key[0],
            group=key[1:],
            moments=Moments.merge(Moments(cell[0], cell[2], cell[3]) for cell in found),
            null_count=sum(cell[1] for cell in found),
            minimum=min((cell[4] for cell in found if cell[4] is not None), default=None),
            maximum=max((cell[5] for cell in found if cell[5] is not None), default=None),
        )
