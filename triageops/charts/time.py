"""Values over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from triageops.charts.chart import HUES, Chart, Options, Tone, frame, hues, slots_of
from triageops.wording import MISSING, Style, count, interval, styled

_SYMBOLS = ("circle", "rect", "triangle", "diamond", "roundRect")
_DASHES: tuple[str | list[int], ...] = ("solid", [6, 3], [2, 3], [10, 3, 2, 3], [12, 4])


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket of time. No `value`: nothing was seen, and the line has a gap."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One line. `key` decides its colour where the name says more, as "variant gpt-4" does."""

    name: str
    points: Sequence[Point]
    key: str = ""

    @property
    def colour_key(self) -> str:
        return self.key or self.name


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, drawn as an upright line."""

    at: datetime
    label: str
    tone: Tone = "neutral"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, drawn as a shaded area."""

    start: datetime
    end: datetime
    label: str
    tone: Tone = "neutral"


@dataclass(frozen=True, slots=True)
class Level:
    """A value that means something, drawn as a flat line."""

    value: float
    label: str
    tone: Tone = "neutral"


def lines(
    *,
    key: str,
    title: str,
    series: Sequence[Series],
    style: Style = "number",
    unit: str = "",
    control: str = "",
    marks: Sequence[Mark] = (),
    spans: Sequence[Span] = (),
    levels: Sequence[Level] = (),
    is_stacked: bool = False,
    is_log: bool = False,
    bounds: tuple[float | None, float | None] = (None, None),
    empty: str = "Nothing was measured in this time.",
    **others: Any,
) -> Chart:
    """Values over time, one line and 95 % band per series; `bounds` fix the value axis, `others` go to `Chart`."""
    if not any(point.value is not None for one in series for point in one.points):
        return Chart(key=key, title=title, style=style, unit=unit, empty=empty, **others)
    drawn: list[Options] = []
    keys = [one.colour_key for one in series]
    colours, slots = hues(keys, control), slots_of(keys, control)
    for one in series:
        # The line first: the legend shows the look of the first that bears a name.
        drawn.append(_line(one, colours[one.colour_key], slots[one.colour_key], is_stacked=is_stacked))
        if not is_stacked:
            drawn += _bands(one, colours[one.colour_key])
    drawn.append(_annotations(marks, spans, levels, _late(series)))
    options = frame(legend=[one.name for one in series]) | {
        "xAxis": {"type": "time"},
        "yAxis": {
            "type": "log" if is_log else "value",
            "name": unit,
            "scale": not is_stacked,
            "min": bounds[0],
            "max": bounds[1],
        },
        "series": drawn,
    }
    columns, rows = time_table(series, style)
    return Chart(
        key=key,
        title=title,
        options=options,
        columns=columns,
        rows=rows,
        style=style,
        unit=unit,
        **({"description": _summary(series, style)} | others),
    )


def stamp(at: datetime) -> int:
    """Milliseconds since 1970, as JavaScript counts."""
    return round(at.timestamp() * 1000)


def brief(value: float | None) -> float | None:
    """Six significant digits: more than a plot can show, half the bytes."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _line(one: Series, colour: str, slot: int | None, *, is_stacked: bool) -> Options:
    is_sparse = sum(point.value is not None for point in one.points) <= 40
    dash = "solid" if slot is None or is_stacked else _DASHES[slot // HUES % len(_DASHES)]
    line: Options = {
        "type": "line",
        "id": f"line:{one.name}",
        "name": one.name,
        "data": [
            [stamp(point.at), brief(point.value), brief(point.low), brief(point.high), point.n]
            for point in one.points
        ],
        "itemStyle": {"color": colour},
        "lineStyle": {"color": colour, "width": 2, "type": dash},
        "symbol": _SYMBOLS[(slot or 0) % len(_SYMBOLS)] if slot is not None else "emptyCircle",
        "symbolSize": 6,
        "showSymbol": is_sparse and not is_stacked,
        "emphasis": {"focus": "series"},
    }
    if is_stacked:
        line |= {"stack": "all", "areaStyle": {"color": colour, "opacity": 0.55}, "lineStyle": {"width": 0}}
    return line


def _bands(one: Series, colour: str) -> list[Options]:
    if not any(point.low is not None and point.high is not None for point in one.points):
        return []
    data = [[stamp(point.at), brief(point.low), brief(point.high)] for point in one.points]
    band = {
        "type": "custom",
        "id": f"band:{one.name}",
        "name": one.name,
        "renderItem": "band",
        "data": data,
        "encode": {"x": 0, "y": [1, 2]},
        "itemStyle": {"color": colour},
        "silent": True,
        "clip": True,
        "tooltip": {"show": False},
        "z": 1,
    }
    return [band]


def _tone(tone: Tone) -> str:
    return f"var(--to-{tone})"


def _late(series: Sequence[Series]) -> datetime | None:
    """From here on a name beside an upright line has no room at its right."""
    times = [point.at for one in series for point in one.points]
    return max(times) - (max(times) - min(times)) / 8 if times else None


def _annotations(
    marks: Sequence[Mark], spans: Sequence[Span], levels: Sequence[Level], late: datetime | None = None
) -> Options:
    upright = [
        {
            "xAxis": stamp(mark.at),
            "name": mark.label,
            "lineStyle": {"color": _tone(mark.tone), "type": "solid"},
            "label": {"formatter": mark.label, "color": _tone(mark.tone)}
            | ({"align": "right"} if late is not None and mark.at > late else {}),
        }
        for mark in marks
    ]
    flat = [
        {
            "yAxis": level.value,
            "name": level.label,
            "lineStyle": {"color": _tone(level.tone), "type": "dashed"},
            "label": {"formatter": level.label, "color": _tone(level.tone), "position": "insideEndTop"},
        }
        for level in levels
    ]
    shaded = [
        [
            {"xAxis": stamp(span.start), "name": span.label, "itemStyle": {"color": _tone(span.tone)}},
            {"xAxis": stamp(span.end)},
        ]
        for span in spans
    ]
    return {
        "type": "line",
        "id": "annotations",
        "data": [],
        "silent": True,
        "markLine": {"symbol": "none", "animation": False, "data": upright + flat},
        "markArea": {
            "silent": True,
            "itemStyle": {"opacity": 0.08},
            "label": {"show": False},
            "data": shaded,
        },
    }


def time_table(
    series: Sequence[Series], style: Style
) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...]]:
    """One row per time, newest first; one column per series, with its interval and how many values it rests on."""
    cells: dict[datetime, dict[str, str]] = {}
    for one in series:
        for point in one.points:
            cells.setdefault(point.at, {})[one.name] = _cell(point, style)
    names = tuple(one.name for one in series)
    rows = tuple(
        (at, *(cells[at].get(name, MISSING) for name in names)) for at in sorted(cells, reverse=True)
    )
    return ("Time", *names), rows


def _cell(point: Point, style: Style) -> str:
    if point.value is None:
        return MISSING
    text = styled(point.value, style)
    if point.low is not None and point.high is not None:
        text += f" ({interval(point.low, point.high, style)})"
    return text if point.n is None else f"{text}, n = {count(point.n)}"


def _summary(series: Sequence[Series], style: Style) -> str:
    """What the lines do, for readers who do not see them: first and last value of each."""
    parts = []
    for one in series:
        values = [point for point in one.points if point.value is not None and math.isfinite(point.value)]
        if values:
            parts.append(f"{one.name}: from {_cell(values[0], style)} to {_cell(values[-1], style)}")
    return ". ".join(parts) + "." if parts else ""


def sparkline(values: Sequence[float | None], width: float = 96, height: float = 24) -> str:
    """The `points` of an SVG polyline; missing values are skipped, empty for fewer than two."""
    known = [(at, value) for at, value in enumerate(values) if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return ""
    low = min(value for _, value in known)
    span = max(value for _, value in known) - low or 1.0
    step = width / (len(values) - 1)
    return " ".join(
        f"{at * step:.1f},{height - 2 - (value - low) / span * (height - 4):.1f}" for at, value in known
    )
