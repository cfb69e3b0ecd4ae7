"""The plots of the home page: titles that say what is seen, one line and band for each variant."""

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.urls import reverse

from feedback.models import MetricKind, QualityMetric
from feedback.stats import SeriesPoint
from monitoring.models import Incident
from triageops import charts, wording
from triageops.stats.interval import wilson
from triageops.wording import Style

MOST_GROUPS = 8
_ENOUGH = 200
_NBSP = "\N{NO-BREAK SPACE}"
_NAMELESS = {"variant": "no variant", "model": "no model"}


@dataclass(frozen=True)
class Look:
    """What all plots of one page share."""

    dimension: str
    control: str
    span: str
    now: datetime


def quality(
    metric: QualityMetric | None, points: Sequence[SeriesPoint], incidents: Sequence[Incident], look: Look
) -> charts.Chart:
    """The mean of one metric with the incidents on it; None: there is no metric yet."""
    empty = "The mean of a quality metric per variant will appear here, once responses or quality records carry one."
    if metric is None:
        return charts.Chart(key="quality", title="Quality over time", size="large", empty=empty)
    style = _style_of(metric)
    concerned = [
        incident for incident in incidents if incident.monitor and incident.monitor.metric == metric.key
    ]
    better = {"higher": ", higher is better", "lower": ", lower is better"}.get(metric.direction, "")
    return charts.lines(
        key="quality",
        title=f"{_capital(metric.key)} over {look.span}: {_means(points, look, style)}",
        unit=f"mean{f' in {metric.unit}' if metric.unit else ''} with its 95 % interval{better}",
        style=style,
        series=_lines(points, look, metric.bounds),
        control=look.control,
        marks=[charts.Mark(incident.onset_at, "onset", "harm") for incident in concerned],
        spans=[
            charts.Span(incident.onset_at, incident.resolved_at or look.now, "incident", "harm")
            for incident in concerned
        ],
        size="large",
        href=reverse("admin:feedback_qualityrecord_changelist"),
        href_text="Quality records",
    )


def traffic(points: Sequence[SeriesPoint], look: Look) -> charts.Chart:
    times = sorted({point.at for point in points})
    step = min(((b - a).total_seconds() for a, b in itertools.pairwise(times)), default=3600.0)
    count = sum(point.n for point in points)
    series = [
        charts.Series(
            name, [charts.Point(point.at, _a_minute(point, step, look.now), n=point.n) for point in found]
        )
        for name, found in _groups(points, look)
    ]
    parts = [
        f"{name}{_NBSP}{wording.share(sum(point.n for point in found) / count if count else None, 2)}"
        for name, found in _groups(points, look)
    ]
    return charts.lines(
        key="traffic",
        title=f"{wording.count(count)} responses in {look.span}: {', '.join(parts)}",
        unit="responses a minute",
        series=series,
        control=look.control,
        is_stacked=True,
        empty="Responses per variant will appear here.",
        href=reverse("admin:feedback_response_changelist"),
        href_text="Responses",
    )


def _a_minute(point: SeriesPoint, step: float, now: datetime) -> float:
    """A rate, so that the step that is not over yet does not look like a fall."""
    return 60 * point.n / max(60.0, min(step, (now - point.at).total_seconds()))


def coverage(points: Sequence[SeriesPoint], look: Look) -> charts.Chart:
    total = sum(point.n for point in points)
    covered = sum((point.mean or 0.0) * point.n for point in points)
    share = wording.share(covered / total if total else None)
    return charts.lines(
        key="coverage",
        title=f"{share} of responses got feedback: {_means(points, look, 'share')}",
        unit="share of responses with feedback, with its 95 % interval",
        style="share",
        series=_lines(_coarser(points), look),
        control=look.control,
        empty="The share of responses that got feedback will appear here.",
        href=reverse("admin:feedback_feedback_changelist"),
        href_text="Feedback",
    )


def _coarser(points: Sequence[SeriesPoint]) -> list[SeriesPoint]:
    """Shares in longer steps, so that a point rests on some 200 values where there are so many; counts add up exactly."""
    times = sorted({point.at for point in points})
    if len(times) < 2:
        return list(points)
    step = min((b - a).total_seconds() for a, b in itertools.pairwise(times))
    typical = statistics.median(point.n for point in points) or 1
    factor = next((factor for factor in (1, 2, 4, 8) if factor * typical >= _ENOUGH), 8)
    found: dict[tuple[datetime, tuple[str, ...]], tuple[float, int]] = {}
    for point in points:
        stamp = point.at.timestamp()
        key = (datetime.fromtimestamp(stamp - stamp % (factor * step), tz=UTC), point.group)
        total, n = found.get(key, (0.0, 0))
        found[key] = (total + (point.mean or 0.0) * point.n, n + point.n)
    return [_share_point(at, group, round(total), n) for (at, group), (total, n) in sorted(found.items())]


def _share_point(at: datetime, group: tuple[str, ...], count: int, n: int) -> SeriesPoint:
    interval = wilson(count, n) if 0 <= count <= n else None
    low, high = (interval.low, interval.high) if interval else (None, None)
    return SeriesPoint(at, group, n, count / n if n else None, low, high)


def _groups(points: Iterable[SeriesPoint], look: Look) -> list[tuple[str, list[SeriesPoint]]]:
    """The largest groups with their points: the control, then by name."""
    found: dict[str, list[SeriesPoint]] = {}
    for point in points:
        found.setdefault(point.group[0] or _NAMELESS[look.dimension], []).append(point)
    largest = sorted(found, key=lambda name: -sum(point.n for point in found[name]))[:MOST_GROUPS]
    return [(name, found[name]) for name in sorted(largest, key=lambda name: (name != look.control, name))]


def _lines(
    points: Iterable[SeriesPoint], look: Look, bounds: tuple[float, float] | None = None
) -> list[charts.Series]:
    """`bounds`: what values are possible; an interval of few values may reach beyond, which says nothing."""
    low, high = bounds or (-math.inf, math.inf)

    def within(value: float | None) -> float | None:
        return None if value is None else min(high, max(low, value))

    return [
        charts.Series(
            name,
            [
                charts.Point(point.at, point.mean, within(point.low), within(point.high), point.n)
                for point in found
            ],
        )
        for name, found in _groups(points, look)
    ]


def _means(points: Iterable[SeriesPoint], look: Look, style: Style) -> str:
    """gpt-4 0.831, claude-2 0.795"""
    parts = []
    for name, found in _groups(points, look):
        n = sum(point.n for point in found)
        total = sum((point.mean or 0.0) * point.n for point in found)
        parts.append(f"{name}{_NBSP}{wording.styled(total / n if n else None, style)}")
    return ", ".join(parts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _style_of(metric: QualityMetric) -> Style:
    if metric.kind == MetricKind.RATE:
        return "share"
    return "seconds" if metric.unit == "s" else "number"
