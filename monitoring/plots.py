"""The pictures of monitors and incidents."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from monitoring.evidence import Evidence
from monitoring.models import DriftEvaluation, Incident, Monitor
from monitoring.slices import described
from triageops import charts
from triageops.stats.interval import mean_interval
from triageops.stats.moments import Moments

SHOWN = timedelta(hours=24)
_BEFORE_ONSET = timedelta(hours=6)
_MOST_POINTS = 3000
_MOST_SERIES = 6
# What lies beyond is drawn at the edge: nobody needs to tell ten times too much from a million times.
_LEAST_DRAWN, _MOST_DRAWN = 1e-4, 10.0


def evaluations_of(
    monitor: Monitor, start: datetime, end: datetime, key: str | None = None
) -> list[DriftEvaluation]:
    """The latest evaluations in a stretch of time, oldest first; of one slice, or of all."""
    rows = DriftEvaluation.objects.filter(slice__monitor=monitor, bucket_at__gte=start, bucket_at__lt=end)
    rows = rows if key is None else rows.filter(slice__key=key)
    return list(rows.select_related("slice").order_by("-bucket_at")[:_MOST_POINTS])[::-1]


def around(incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    """The stretch of time that explains an incident."""
    end = incident.resolved_at or now
    return incident.onset_at - _BEFORE_ONSET, end + timedelta(hours=1)


def metric_chart(
    monitor: Monitor,
    rows: Sequence[DriftEvaluation],
    incidents: Iterable[Incident],
    level: float | None,
    *,
    title: str,
    now: datetime,
) -> charts.Chart:
    series = [
        charts.Series(name, [_point(row) for row in points], key=_colour_key(points))
        for name, points in _largest(rows).items()
    ]
    levels = [] if level is None else [charts.Level(level, f"required level {level:g}", "look")]
    shown = [incident for incident in incidents if (incident.resolved_at or now) >= now - 30 * SHOWN]
    return charts.lines(
        key="metric",
        title=title,
        series=series,
        unit=f"mean {monitor.metric}, 95 % band",
        levels=levels,
        marks=[charts.Mark(incident.onset_at, "onset", "look") for incident in shown]
        + [charts.Mark(incident.opened_at, "incident", "harm") for incident in shown],
        spans=[
            charts.Span(incident.onset_at, incident.resolved_at or now, "incident", "harm")
            for incident in shown
        ],
        empty="The mean of each closed bucket of time will appear here, beside the required level.",
    )


def _colour_key(points: Sequence[DriftEvaluation]) -> str:
    """A variant has the colour that it has on every other page."""
    labels = points[0].slice.labels
    return str(labels.get("variant") or labels.get("model") or "")


def evidence_chart(rows: Sequence[DriftEvaluation]) -> charts.Chart:
    series = [
        charts.Series(
            name,
            [charts.Point(row.bucket_at, _evidence(row), n=row.n) for row in points],
            key=_colour_key(points),
        )
        for name, points in _largest(rows).items()
    ]
    is_high = any(row.is_alarm for row in rows)
    return charts.lines(
        key="evidence",
        title="The evidence reached the alarm line" if is_high else "The evidence stays below the alarm line",
        series=series,
        unit="evidence; 1 raises an alarm, more than 10 is drawn as 10",
        levels=[charts.Level(1.0, "alarm line", "harm")],
        is_log=True,
        bounds=(_LEAST_DRAWN, _MOST_DRAWN),
        empty="The evidence that something is worse than allowed will appear here, on a logarithmic scale.",
    )


def halt_chart(incident: Incident, evidence: Evidence) -> charts.Chart:
    """The effect on which an experiment was halted, with its interval."""
    is_share = evidence.style == "share"
    factor = 100 if is_share else 1
    effect, low, high = (
        None if value is None else factor * value for value in (evidence.effect, evidence.low, evidence.high)
    )
    unit = f"{evidence.metric}, {evidence.variant or 'variant'} minus {evidence.control or 'control'}"
    shown_unit = "points" if is_share else evidence.unit
    return charts.intervals(
        key="halt",
        title=incident.title,
        rows=[charts.Effect(evidence.variant or "variant", effect, low, high)],
        style="number" if is_share else evidence.style,
        unit=f"{unit} ({shown_unit})" if shown_unit else unit,
        empty="The halt came with an effect without an interval.",
    )


def _largest(rows: Sequence[DriftEvaluation]) -> dict[str, list[DriftEvaluation]]:
    """The slices with most records, by the name that people read."""
    by_slice: dict[int, list[DriftEvaluation]] = defaultdict(list)
    for row in rows:
        by_slice[row.slice_id].append(row)
    largest = sorted(by_slice.values(), key=lambda points: -sum(point.n for point in points))[:_MOST_SERIES]
    return {
        described(points[0].slice.labels, points[0].slice.key) or "all records": points for points in largest
    }


def _point(row: DriftEvaluation) -> charts.Point:
    interval = mean_interval(Moments(row.n, row.mean, row.m2))
    low, high = (interval.low, interval.high) if interval else (None, None)
    return charts.Point(row.bucket_at, row.mean, low, high, n=row.n)


def _evidence(row: DriftEvaluation) -> float:
    if row.log_evidence is None:
        return _LEAST_DRAWN
    return min(_MOST_DRAWN, max(_LEAST_DRAWN, math.exp(min(row.log_evidence, 50.0))))
