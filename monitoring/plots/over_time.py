"""One slice over time: what was seen beside what is usual, and the evidence that it is not."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

from monitoring.models import Incident, Marker
from monitoring.plots.reading import Stretch, Trace, style_of
from triageops import charts, wording
from triageops.charts.time import stamp

# What lies beyond is drawn at the edge: nobody needs to tell ten times too much from a million times.
_LEAST_DRAWN, _MOST_DRAWN = 1e-4, 10.0
_MARKS_BESIDE = 8
"""Names of marks that fit beside each other, on a narrow screen too."""
_ONSET, _FOUND = "onset", "found"
_SIDES = {_ONSET: "right", _FOUND: "left"}
"""How the names of two lines that stand close together are aligned: each on its own side."""
_TONES: Sequence[charts.Tone] = ("neutral", "good", "look", "harm")
_LEARNT, _FIXED = "usual", "allowed"


def metric_chart(
    trace: Trace,
    incidents: Iterable[Incident],
    markers: Iterable[Marker] = (),
    *,
    level: float | None,
    title: str = "",
    now: datetime,
) -> charts.Chart:
    """level: the fixed value that the metric is compared with, where nothing is learnt. title: empty for what it shows."""
    usual = _FIXED if level is not None else _LEARNT
    shown = list(incidents)
    near = (trace.end - trace.start) / _MARKS_BESIDE
    known = [marker for marker in markers if marker.concerns(trace.labels)]
    drawn = charts.lines(
        key="metric",
        title=title or _metric_title(trace, shown, usual),
        series=[
            charts.Series(
                trace.where,
                [charts.Point(one.at, one.value, one.near, one.far, n=one.n) for one in trace.stretches],
                key=_colour_key(trace),
            ),
            charts.Series(
                usual,
                [charts.Point(one.at, one.expected, one.low, one.high) for one in trace.stretches],
            ),
        ],
        control=usual,
        style=style_of(trace.monitor),
        unit=_metric_unit(trace, usual),
        levels=[] if level is None else [charts.Level(level, f"level {level:g}", "look")],
        marks=_apart([*_marks_of(shown), *_start_of(trace), *map(_mark, known)], near),
        spans=[*_spans_of(shown, now), *_frozen(trace)],
        empty="The values of each closed bucket of time will appear here, beside what is "
        f"{usual}. The first one comes when a bucket with records is closed.",
    )
    return _in_time(drawn, trace, shown)


def evidence_chart(trace: Trace, incidents: Sequence[Incident]) -> charts.Chart:
    watched = [one for one in trace.stretches if one.is_watched]
    highest = max((one.log_evidence for one in watched if one.log_evidence is not None), default=-math.inf)
    is_found = highest >= 0 or any(one.is_found for one in watched)
    drawn = charts.lines(
        key="evidence",
        title="The evidence reached the alarm line" if is_found else "The evidence is below the alarm line",
        series=[
            charts.Series(
                trace.where,
                [charts.Point(one.at, _drawn(one), n=one.n) for one in watched],
                key=_colour_key(trace),
            )
        ],
        unit="evidence that something changed, on a logarithmic scale: at 1 there is an alarm, and it begins anew; more "
        "than 10 is drawn as 10, and less than 0.0001 as 0.0001",
        marks=_apart(_marks_of(incidents), (trace.end - trace.start) / _MARKS_BESIDE),
        levels=[charts.Level(1.0, "alarm line", "harm")],
        is_log=True,
        bounds=(_LEAST_DRAWN, _MOST_DRAWN),
        empty="The evidence that something has changed will appear here, on a logarithmic scale.",
    )
    return _in_time(drawn, trace, incidents)


def _in_time(chart: charts.Chart, trace: Trace, incidents: Iterable[Incident]) -> charts.Chart:
    """From the first that is known to the end of what was asked for: alike in both pictures, and with room for the marks."""
    if not chart.options:
        return chart
    began = [one.onset_at for one in incidents if one.onset_at >= trace.start]
    start = min([trace.stretches[0].at, *began])
    axis = {**chart.options["xAxis"], "min": stamp(start), "max": stamp(trace.end)}
    *series, notes = chart.options["series"]
    late = stamp(trace.end - (trace.end - start) / _MARKS_BESIDE)
    lines = [_on_its_side(one, late) for one in notes["markLine"]["data"]]
    notes = {**notes, "markLine": {**notes["markLine"], "data": lines}}
    return replace(chart, options={**chart.options, "xAxis": axis, "series": [*series, notes]})


def _on_its_side(line: charts.Options, late: int) -> charts.Options:
    """late: from here on a name has no room at the right of its line."""
    if "xAxis" not in line:
        return line
    side = "right" if line["xAxis"] > late else _SIDES.get(line["name"], "center")
    return {**line, "label": {**line["label"], "align": side}}


def _metric_title(trace: Trace, incidents: Sequence[Incident], usual: str) -> str:
    still_open = [one for one in incidents if one.is_open]
    if still_open:
        return still_open[0].title[:1].upper() + still_open[0].title[1:]
    name = trace.metric_title[:1].upper() + trace.metric_title[1:]
    seen = [one for one in trace.stretches if one.value is not None]
    outside = sum(one.is_outside for one in seen)
    if not seen or all(one.low is None and one.high is None for one in seen):
        return f"{name} of {trace.where}"
    if not outside:
        return f"{name} of {trace.where}: within what is {usual} all the time"
    return (
        f"{name} of {trace.where}: outside of what is {usual} in {outside} of {len(seen)} stretches of time"
    )


def _metric_unit(trace: Trace, usual: str) -> str:
    what = {
        "volume": "records in a bucket",
        "burn_rate": "share of bad records",
        "never": "share of events",
        "triage_error": "share of under-triage",
    }.get(trace.monitor.kind, f"mean {trace.metric_title}")
    step = wording.seconds(trace.step.total_seconds())
    exact = " with its 95 % interval" if any(one.near is not None for one in trace.stretches) else ""
    return f"{what}, by {step}{exact}; the grey band is what is {usual}: within it no change is minded"


def _colour_key(trace: Trace) -> str:
    """A variant has the colour that it has on every other page."""
    return str(trace.labels.get("variant") or trace.labels.get("model") or "")


def _marks_of(incidents: Iterable[Incident]) -> list[charts.Mark]:
    """Of the newest one; the others are shaded only, because names beside each other cannot be read."""
    newest = max(incidents, key=lambda one: one.opened_at, default=None)
    if newest is None:
        return []
    return [
        charts.Mark(newest.onset_at, _ONSET, "look"),
        charts.Mark(newest.opened_at, _FOUND, "harm"),
    ]


def _start_of(trace: Trace) -> list[charts.Mark]:
    """Where watching began, if the time before is shown too."""
    first = next((one.at for one in trace.stretches if one.is_watched), None)
    has_before = any(not one.is_watched for one in trace.stretches)
    return [charts.Mark(first, "watched from here", "neutral")] if has_before and first is not None else []


def _mark(marker: Marker) -> charts.Mark:
    return charts.Mark(marker.starts_at, marker.name, "neutral")


def _apart(marks: Sequence[charts.Mark], near: timedelta) -> list[charts.Mark]:
    """Those whose names would lie on each other are one, with the names of all and the most urgent tone."""
    groups: list[list[charts.Mark]] = []
    for one in sorted(marks, key=lambda mark: mark.at):
        if groups and one.at - groups[-1][0].at < (near / 8 if _is_pair(groups[-1], one) else near):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [
        charts.Mark(
            several[0].at,
            ", ".join(dict.fromkeys(one.label for one in several)),
            max((one.tone for one in several), key=_TONES.index),
        )
        for several in groups
    ]


def _is_pair(before: Sequence[charts.Mark], one: charts.Mark) -> bool:
    """Whose names stand at the left and at the right of their lines."""
    return [mark.label for mark in before] == [_ONSET] and one.label == _FOUND


def _spans_of(incidents: Iterable[Incident], now: datetime) -> list[charts.Span]:
    return [charts.Span(one.onset_at, one.resolved_at or now, "incident", "harm") for one in incidents]


def _frozen(trace: Trace) -> list[charts.Span]:
    return [
        charts.Span(several[0].at, several[-1].at + trace.step, "no evidence", "neutral")
        for is_frozen, several in (
            (value, list(part)) for value, part in groupby(trace.stretches, key=lambda one: one.is_frozen)
        )
        if is_frozen
    ]


def _drawn(one: Stretch) -> float | None:
    """None where no record came, or none counted: nothing was watched, and the line has a gap."""
    if one.log_evidence is None:
        return _LEAST_DRAWN if one.n and not one.is_frozen else None
    return min(_MOST_DRAWN, max(_LEAST_DRAWN, math.exp(min(one.log_evidence, 50.0))))
