"""Values over time with what is usual, and the evidence below them: one SVG file that needs nothing else.

It follows the reader's light or dark mode, has a text alternative, and every text in it is escaped.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

_WIDTH, _LEFT, _RIGHT = 960, 76, 16
_UPPER, _LOWER = (64, 316), (364, 484)
_HEIGHT = 524
_COLUMNS = 800
_LEAST_EVIDENCE, _MOST_EVIDENCE = -4.0, 1.0
"""In powers of ten; what lies beyond is drawn at the edge."""
_STEPS = (
    60,
    300,
    900,
    3600,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
    2_592_000,
    7_776_000,
    31_536_000,
)
_MOST_TICKS = 8
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = """
svg { --paper: #fff; --ink: #1f2937; --quiet: #64748b; --grid: #e2e8f0; --part: #f1f5f9; --line: #2563eb;
  --usual: #0f766e; --alarm: #c2410c; --span: #fdba74; font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --paper: #111827; --ink: #e5e7eb; --quiet: #94a3b8; --grid: #334155;
  --part: #1e293b; --line: #60a5fa; --usual: #5eead4; --alarm: #fb923c; --span: #9a3412; } }
.paper { fill: var(--paper); } .part { fill: var(--part); } text { fill: var(--quiet); }
.title { fill: var(--ink); font-size: 15px; font-weight: 600; } .grid { stroke: var(--grid); }
.line, .usual { fill: none; stroke: var(--line); stroke-width: 1; } .usual { stroke: var(--usual); stroke-width: 2; stroke-dasharray: 5 3; }
.span { fill: var(--span); opacity: .65; } .after { fill: var(--span); opacity: .25; }
.alarm { stroke: var(--alarm); stroke-width: 1.6; } .word { fill: var(--alarm); } .named { fill: var(--usual); }
.dot { fill: var(--line); }
"""


@dataclass(frozen=True, slots=True)
class Point:
    """A bucket that begins at `at` (unix seconds). value: None when it is empty.

    log_evidence: natural logarithm, 0 is the alarm line; None where nothing was watched.
    """

    at: float
    value: float | None
    usual: float
    log_evidence: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """An alarm: when it seems to have begun, when it was raised, until when it was raised again; shown on hover: text."""

    onset_at: float
    at: float
    last_at: float
    text: str


def drawn(
    points: Sequence[Point],
    spans: Sequence[Span],
    *,
    title: str,
    unit: str,
    zone: ZoneInfo,
    watched_from: float,
    end_at: float,
) -> str:
    """The SVG file's text. points: at least one, in the order of time. What is before watched_from is the reference."""
    begin = points[0].at
    time = _scale((begin, end_at), (_LEFT, _WIDTH - _RIGHT))
    shown = [value for one in points for value in (one.value, one.usual) if value is not None]
    low, high = _bounds(shown)
    value, evidence = (
        _scale((low, high), _UPPER[::-1]),
        _scale((_LEAST_EVIDENCE, _MOST_EVIDENCE), _LOWER[::-1]),
    )
    said = _said(spans)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' role="img" aria-labelledby="t d">',
        f'<title id="t">{_text(title)}</title><desc id="d">{_text(said)}</desc><style>{_STYLE}</style>',
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="24">{_text(title)}</text>',
        f'<text x="{_LEFT}" y="46">{_text(unit)}; dashed: usual</text>',
        *(_reference(time, begin, watched_from)),
        *(_time_axis(time, begin, end_at, zone)),
        *(_level(value(tick), f"{tick:.6g}") for tick in _ticks(low, high)),
        *(_level(evidence(power), _power(power)) for power in range(-4, 2)),
        *(mark for span in spans for mark in _alarm(time, span)),
        *_curve("line", ((time(one.at), None if one.value is None else value(one.value)) for one in points)),
        *_curve("usual", ((time(one.at), value(one.usual)) for one in points)),
        f'<text x="{_LEFT}" y="{_LOWER[0] - 12}">evidence, as a share of what raises an alarm</text>',
        f'<line class="alarm" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{evidence(0):.1f}" y2="{evidence(0):.1f}"/>',
        f'<text class="word" x="{_LEFT + 6}" y="{evidence(0) - 5:.1f}">alarm line</text>',
        *_curve("line", ((time(one.at), _evidence(one, evidence)) for one in points)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _said(spans: Sequence[Span]) -> str:
    if not spans:
        return "No alarm."
    return " ".join(f"{span.text.rstrip('.')}." for span in spans[:20])


def _reference(time: Callable[[float], float], begin: float, end: float) -> list[str]:
    if end <= begin:
        return []
    x, width = time(begin), max(0.0, time(end) - time(begin))
    return [
        f'<rect class="part" x="{x:.1f}" y="{_UPPER[0]}" width="{width:.1f}" height="{_UPPER[1] - _UPPER[0]}"/>',
        f'<text class="named" x="{x + 6:.1f}" y="{_UPPER[0] + 16}">reference</text>',
    ]


def _alarm(time: Callable[[float], float], span: Span) -> list[str]:
    """What is narrower than a pixel and a half is drawn as wide as that."""
    begin, at, last = time(span.onset_at), time(span.at), time(span.last_at)
    top, height = _UPPER[0], _LOWER[1] - _UPPER[0]
    return [
        f"<g><title>{_text(span.text)}</title>",
        f'<rect class="span" x="{begin:.1f}" y="{top}" width="{max(1.5, at - begin):.1f}" height="{height}"/>',
        f'<rect class="after" x="{at:.1f}" y="{top}" width="{max(0.0, last - at):.1f}" height="{height}"/>',
        f'<line class="alarm" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{_LOWER[1]}"/></g>',
    ]


def _curve(kind: str, dots: Iterable[tuple[float, float | None]]) -> list[str]:
    """A line with gaps where there is no value; of many points in one column, the lowest and the highest."""
    width = (_WIDTH - _LEFT - _RIGHT) / _COLUMNS
    runs: list[list[tuple[float, float]]] = [[]]
    column: list[tuple[float, float]] = []

    def close() -> None:
        if column:
            ends = {min(column, key=lambda dot: dot[1]), max(column, key=lambda dot: dot[1])}
            runs[-1].extend(sorted(ends))
            column.clear()

    for x, y in dots:
        if y is None:
            close()
            if runs[-1]:
                runs.append([])
            continue
        if column and x // width != column[0][0] // width:
            close()
        column.append((x, y))
    close()
    return [_run(kind, run) for run in runs if run]


def _run(kind: str, run: Sequence[tuple[float, float]]) -> str:
    if len(run) == 1:
        return f'<circle class="dot" cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="1.6"/>'
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in run)}"/>'


def _evidence(point: Point, scale: Callable[[float], float]) -> float | None:
    if point.log_evidence is None:
        return None
    return scale(min(_MOST_EVIDENCE, max(_LEAST_EVIDENCE, point.log_evidence / math.log(10))))


def _time_axis(time: Callable[[float], float], begin: float, end: float, zone: ZoneInfo) -> list[str]:
    step = next((one for one in _STEPS if (end - begin) / one <= _MOST_TICKS), _STEPS[-1])
    offset = datetime.fromtimestamp(begin, tz=zone).utcoffset()
    local = offset.total_seconds() if offset else 0.0
    first = math.ceil((begin + local) / step) * step - local
    parts: list[str] = []
    style = "%Y-%m-%d" if step >= 86_400 else "%m-%d %H:%M"
    for number in range(int(max(0.0, end - first) // step) + 1):
        at = first + number * step
        if not begin <= at <= end:
            continue
        label = datetime.fromtimestamp(at, tz=zone).strftime(style)
        x = time(at)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_UPPER[0]}" y2="{_LOWER[1]}"/>')
        if x < _WIDTH - 40:
            parts.append(f'<text x="{x:.1f}" y="{_LOWER[1] + 20}" text-anchor="middle">{_text(label)}</text>')
    return parts


def _level(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_text(label)}</text>'
    )


def _power(power: int) -> str:
    return f"{10.0 ** (power + 2):g} %"


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers."""
    raw = (high - low) / 6
    size = 10.0 ** math.floor(math.log10(raw))
    step = next((size * factor for factor in (1, 2, 5) if size * factor >= raw), 10 * size)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _scale(values: tuple[float, float], pixels: tuple[float, float]) -> Callable[[float], float]:
    (low, high), (start, stop) = values, pixels
    size = high - low or 1.0
    return lambda value: start + (value - low) / size * (stop - start)


def _text(text: str) -> str:
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
