"""Numbers and plots of the home page, all from rollups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from experiments.models import Variant
from feedback import stats
from feedback.models import FeedbackRollup, FeedbackType, MetricKind, QualityMetric
from feedback.shapes import RESPONSE_METRICS
from feedback.stats import Cut, SeriesPoint, Window
from monitoring.models import Incident
from triageops import charts, wording
from triageops.stats.interval import wilson
from triageops.wording import Style

MOST_POINTS = 140
MOST_METRICS = 6
MOST_GROUPS = 8
_NAMELESS = {"variant": "no variant", "model": "no model"}


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    detail: str
    spark: str
    address: str


@dataclass(frozen=True)
class Picture:
    """What the numbers say. `metric` is the one that is drawn, `metrics` those that could be."""

    is_empty: bool
    tiles: Sequence[Tile]
    quality: charts.Chart
    traffic: charts.Chart
    coverage: charts.Chart
    metric: str
    metrics: Sequence[str]


def picture(
    window: Window,
    *,
    metrics: Sequence[QualityMetric],
    wanted: str,
    variants: Sequence[Variant],
    incidents: Sequence[Incident],
    span: str,
    now: datetime,
) -> Picture:
    """Two queries, whatever the number of metrics and groups."""
    # Without an experiment there are no variants to tell apart; models are what differs then.
    dimension = "variant" if variants else "model"
    control = next((variant.key for variant in variants if variant.is_control), "")
    candidates = _candidates(metrics, wanted, incidents)
    series = stats.metric_series(
        [stats.EVERY_RESPONSE, "cost", *candidates], window, Cut({}, (dimension,)), MOST_POINTS
    )
    traffic = series[stats.EVERY_RESPONSE]
    kinds = [FeedbackRollup.ANY, FeedbackType.POSITIVE]
    shares = stats.shares_over_time(window, Cut({}, (dimension,)), kinds, traffic, MOST_POINTS)
    seen = [name for name in candidates if series[name]]
    metric = wanted if wanted in seen else next(iter(seen), "")
    look = _Look(dimension, control, span, now)
    return Picture(
        is_empty=not traffic and not any(series.values()),
        tiles=_tiles(traffic, shares[FeedbackRollup.ANY], shares[FeedbackType.POSITIVE], series["cost"], span),
        quality=_quality(metric, series.get(metric, []), metrics, incidents, look),
        traffic=_traffic(traffic, look),
        coverage=_coverage(shares[FeedbackRollup.ANY], look),
        metric=metric,
        metrics=seen,
    )


@dataclass(frozen=True)
class _Look:
    """What all plots of one page share."""

    dimension: str
    control: str
    span: str
    now: datetime


def _candidates(metrics: Iterable[QualityMetric], wanted: str, incidents: Iterable[Incident]) -> list[str]:
    """Metrics to draw, the most telling first: asked for, in trouble, classified, discovered."""
    trouble = {incident.monitor.metric for incident in incidents if incident.is_open}
    known = [metric for metric in metrics if metric.key not in RESPONSE_METRICS]
    known.sort(
        key=lambda metric: (
            metric.key != wanted,
            metric.key not in trouble,
            metric.kind == MetricKind.DISCOVERED,
            metric.key,
        )
    )
    return [metric.key for metric in known[:MOST_METRICS]]


def _by_time(points: Iterable[SeriesPoint]) -> list[tuple[datetime, float, int]]:
    """(time, sum, n) over all groups."""
    found: dict[datetime, tuple[float, int]] = {}
    for point in points:
        total, n = found.get(point.at, (0.0, 0))
        found[point.at] = (total + (point.mean or 0.0) * point.n, n + point.n)
    return [(at, *found[at]) for at in sorted(found)]


def _tiles(
    traffic: Sequence[SeriesPoint],
    covered: Sequence[SeriesPoint],
    positive: Sequence[SeriesPoint],
    cost: Sequence[SeriesPoint],
    span: str,
) -> list[Tile]:
    responses, spent = _by_time(traffic), _by_time(cost)
    count = sum(n for _, _, n in responses)
    dollars = sum(total for _, total, _ in spent) if spent else None
    errors = sum(total for _, total, _ in responses)
    per_answer = dollars / sum(n for _, _, n in spent) if spent and dollars is not None else None
    return [
        Tile(
            f"Responses, {span}",
            wording.count(count),
            f"{wording.share(errors / count, 2)} failed" if count else "",
            # The last step is not over; drawn as a count it would always look like a fall.
            charts.sparkline([n for _, _, n in responses[:-1]]),
            reverse("admin:feedback_response_changelist"),
        ),
        _share_tile("Feedback on responses", covered, reverse("admin:feedback_feedback_changelist")),
        _share_tile(
            "Thumbs-up among feedback",
            positive,
            reverse("admin:feedback_feedback_changelist") + "?feedback_type__exact=positive",
        ),
        Tile(
            f"Cost, {span}",
            wording.money(dollars),
            f"{wording.money(per_answer)} a response" if per_answer is not None else "",
            charts.sparkline([total for _, total, _ in spent[:-1]]),
            reverse("admin:feedback_response_changelist"),
        ),
    ]


def _share_tile(label: str, points: Sequence[SeriesPoint], address: str) -> Tile:
    steps = _by_time(points)
    n = sum(step[2] for step in steps)
    found = round(sum(step[1] for step in steps))
    interval = wilson(found, n) if 0 <= found <= n else None
    return Tile(
        label,
        wording.share(found / n if n else None),
        f"{wording.interval(interval.low, interval.high, 'share')} (95 %)" if interval else "no data yet",
        charts.sparkline([total / count if count else None for _, total, count in steps]),
        address,
    )


def _groups(points: Iterable[SeriesPoint], dimension: str) -> list[tuple[str, list[SeriesPoint]]]:
    """The largest groups by name, with their points."""
    found: dict[str, list[SeriesPoint]] = {}
    for point in points:
        found.setdefault(point.group[0] or _NAMELESS[dimension], []).append(point)
    largest = sorted(found, key=lambda name: -sum(point.n for point in found[name]))[:MOST_GROUPS]
    return [(name, found[name]) for name in sorted(largest)]


def _lines(points: Iterable[SeriesPoint], dimension: str) -> list[charts.Series]:
    return [
        charts.Series(name, [charts.Point(point.at, point.mean, point.low, point.high, point.n) for point in found])
        for name, found in _groups(points, dimension)
    ]


def _means(points: Iterable[SeriesPoint], dimension: str, style: Style) -> str:
    """gpt-4 0.831, claude-2 0.795"""
    parts = []
    for name, found in _groups(points, dimension):
        n = sum(point.n for point in found)
        total = sum((point.mean or 0.0) * point.n for point in found)
        parts.append(f"{name} {wording.styled(total / n if n else None, style)}")
    return ", ".join(parts)


def _style_of(metric: QualityMetric | None) -> Style:
    if metric is not None and metric.kind == MetricKind.RATE:
        return "share"
    return "seconds" if metric is not None and metric.unit == "s" else "number"


def _quality(
    metric: str,
    points: Sequence[SeriesPoint],
    metrics: Iterable[QualityMetric],
    incidents: Sequence[Incident],
    look: _Look,
) -> charts.Chart:
    definition = next((one for one in metrics if one.key == metric), None)
    style = _style_of(definition)
    concerned = [incident for incident in incidents if incident.monitor.metric == metric]
    title = f"{metric} over {look.span}: {_means(points, look.dimension, style)}" if metric else "Quality over time"
    unit = definition.unit if definition else ""
    better = {"higher": ", higher is better", "lower": ", lower is better"}.get(
        definition.direction if definition else "", ""
    )
    marks = [charts.Mark(incident.onset_at, "onset", "harm") for incident in concerned]
    return charts.lines(
        key="quality",
        title=title,
        unit=f"mean{f' in {unit}' if unit else ''} with its 95 % interval{better}",
        style=style,
        series=_lines(points, look.dimension),
        control=look.control,
        marks=marks,
        spans=[
            charts.Span(incident.onset_at, incident.resolved_at or look.now, "incident", "harm")
            for incident in concerned
        ],
        size="large",
        empty="The mean of a quality metric per variant will appear here, once responses or quality records carry one.",
        href=reverse("admin:feedback_qualityrecord_changelist"),
        href_text="Quality records",
    )


def _traffic(points: Sequence[SeriesPoint], look: _Look) -> charts.Chart:
    times = sorted({point.at for point in points})
    step = min(((b - a).total_seconds() for a, b in zip(times, times[1:], strict=False)), default=3600.0)
    count = sum(point.n for point in points)
    series = [
        charts.Series(name, [charts.Point(point.at, _a_minute(point, step, look.now), n=point.n) for point in found])
        for name, found in _groups(points, look.dimension)
    ]
    parts = [
        f"{name} {wording.share(sum(point.n for point in found) / count if count else None, 2)}"
        for name, found in _groups(points, look.dimension)
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


def _coverage(points: Sequence[SeriesPoint], look: _Look) -> charts.Chart:
    total = sum(point.n for point in points)
    covered = sum((point.mean or 0.0) * point.n for point in points)
    share = wording.share(covered / total if total else None)
    return charts.lines(
        key="coverage",
        title=f"{share} of responses got feedback: {_means(points, look.dimension, 'share')}",
        unit="share of responses with feedback, with its 95 % interval",
        style="share",
        series=_lines(points, look.dimension),
        control=look.control,
        empty="The share of responses that got feedback will appear here.",
        href=reverse("admin:feedback_feedback_changelist"),
        href_text="Feedback",
    )
