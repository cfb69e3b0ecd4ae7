"""What the home page draws, all of it from rollups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from experiments.models import Variant
from feedback import stats
from feedback.models import FeedbackRollup, FeedbackType, MetricKind, QualityMetric
from feedback.shapes import RESPONSE_METRICS
from feedback.stats import Cut, Window
from monitoring.models import CANARY_METRIC, Incident
from triageops import charts
from triageops.home import plots
from triageops.home.access import Access
from triageops.home.tiles import Tile, tiles

MOST_POINTS = 140
MOST_METRICS = 6


@dataclass(frozen=True)
class Picture:
    """What the numbers say; a chart is None where it may not be seen. `metric` is the one that is drawn, `metrics` those that could be."""

    is_empty: bool
    tiles: Sequence[Tile]
    quality: charts.Chart | None
    traffic: charts.Chart | None
    coverage: charts.Chart | None
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
    access: Access,
    now: datetime,
) -> Picture | None:
    """Two queries, whatever the number of metrics and groups; None where nothing of it may be seen."""
    if not (access.responses or access.feedback):
        return None
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
    definition = next((one for one in metrics if one.key == metric), None)
    look = plots.Look(dimension, control, span, now)
    return Picture(
        is_empty=not traffic and not any(series.values()),
        tiles=[
            tile
            for tile in tiles(
                traffic, shares[FeedbackRollup.ANY], shares[FeedbackType.POSITIVE], series["cost"], span
            )
            if (access.feedback if tile.is_of_feedback else access.responses)
        ],
        quality=plots.quality(definition, series.get(metric, []), incidents, look)
        if access.responses
        else None,
        traffic=plots.traffic(traffic, look) if access.responses else None,
        coverage=plots.coverage(shares[FeedbackRollup.ANY], look) if access.feedback else None,
        metric=metric,
        metrics=sorted(seen),
    )


def _candidates(metrics: Iterable[QualityMetric], wanted: str, incidents: Iterable[Incident]) -> list[str]:
    """Metrics to draw, the most telling first: asked for, in trouble, classified, discovered."""
    trouble = {incident.monitor.metric for incident in incidents if incident.is_open and incident.monitor}
    known = [metric for metric in metrics if metric.key not in {*RESPONSE_METRICS, CANARY_METRIC}]
    known.sort(
        key=lambda metric: (
            metric.key != wanted,
            metric.key not in trouble,
            metric.kind == MetricKind.DISCOVERED,
            metric.key,
        )
    )
    return [metric.key for metric in known[:MOST_METRICS]]
