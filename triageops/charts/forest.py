"""Effects with their intervals against no difference, as panels: each metric on a scale of its own."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from triageops.charts.chart import Chart, Options, hues
from triageops.wording import Style, interval, styled

Scale = Style | Literal["points"]
"""What the values of an axis are; shares differ in points."""

_ROUND = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_REACH = 3.0
"""A margin further out than so many times the farthest end of an interval would make the intervals too small to see."""


@dataclass(frozen=True, slots=True)
class Effect:
    """An estimate with its interval; None where there are not enough data yet. `key` decides its colour, as in Series.

    `text` is written beside it: the numbers in the metric's unit, or what is missing. Empty: it is made of the numbers.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    is_control: bool = False
    key: str = ""
    text: str = ""

    @property
    def colour_key(self) -> str:
        return self.key or self.label

    @property
    def ends(self) -> tuple[float, ...]:
        """Value, low, high; empty when one of them is missing."""
        found = [one for one in (self.value, self.low, self.high) if one is not None and math.isfinite(one)]
        return tuple(found) if len(found) == 3 else ()


@dataclass(frozen=True, slots=True)
class Panel:
    """The effects on one metric. `margin`: how much worse does not matter, in the metric's unit; 0 when there is none."""

    title: str
    rows: Sequence[Effect]
    style: Scale = "number"
    note: str = ""
    is_higher_better: bool | None = None
    margin: float = 0.0

    @property
    def is_drawn(self) -> bool:
        return any(row.ends for row in self.rows)

    @property
    def threshold(self) -> float | None:
        """The effect at the margin, where it is within reach of the intervals."""
        if not self.margin or self.is_higher_better is None:
            return None
        at = -self.margin if self.is_higher_better else self.margin
        return at if self.margin <= _REACH * _farthest(self.rows) else None


def forest(
    *,
    key: str,
    title: str,
    panels: Sequence[Panel],
    style: Style = "number",
    control: str = "",
    empty: str = "Not enough data yet.",
    **others: Any,
) -> Chart:
    """A panel for each metric; what is better is on the right in all of them. Without any interval nothing is drawn."""
    if not any(panel.is_drawn for panel in panels):
        return Chart(key=key, title=title, style=style, empty=empty, **others)
    colours = hues({row.colour_key for panel in panels for row in panel.rows}, control)
    return Chart(
        key=key,
        title=title,
        options={"panels": [_drawn(panel, colours) for panel in panels]},
        style=style,
        **others,
    )


def intervals(
    *,
    key: str,
    title: str,
    rows: Sequence[Effect],
    style: Scale = "number",
    unit: str = "",
    is_higher_better: bool | None = None,
    control: str = "",
    empty: str = "Not enough data yet.",
    **others: Any,
) -> Chart:
    """Estimates of one metric with their intervals, each on its own row; says which side is better."""
    cells = tuple((row.label, *_cells(row, style)) for row in rows)
    said = {
        "columns": ("", f"Effect{f' ({unit})' if unit else ''}", "95 % interval"),
        "rows": cells,
        "description": ". ".join(f"{a}: {b} ({c})" for a, b, c in cells),
    }
    panel = Panel("", rows, style, is_higher_better=is_higher_better)
    return forest(
        key=key,
        title=title,
        panels=[panel],
        style=_style(style),
        control=control,
        empty=empty,
        unit=unit,
        **((said if panel.is_drawn else {}) | others),
    )


def reach(ends: Iterable[float]) -> float:
    """Half the width of an axis around 0 that holds all ends: a round number, 1 when all are 0."""
    farthest = max((abs(end) for end in ends), default=0.0) * 1.02
    if not farthest:
        return 1.0
    power = 10.0 ** math.floor(math.log10(farthest))
    return float(f"{next(step for step in _ROUND if step * power >= farthest * (1 - 1e-12)) * power:.6g}")


def _farthest(rows: Sequence[Effect]) -> float:
    return max((abs(end) for row in rows for end in row.ends), default=0.0)


def _drawn(panel: Panel, colours: dict[str, str]) -> Options:
    """What the page's script lays out, by the room that it has."""
    ends = [end for row in panel.rows for end in row.ends]
    threshold = panel.threshold
    return {
        "title": panel.title,
        "note": panel.note,
        "style": panel.style,
        "isHigherBetter": panel.is_higher_better,
        "reach": reach(ends if threshold is None else [*ends, threshold]) if ends else None,
        "threshold": threshold,
        "rows": [
            {
                "label": row.label,
                "text": row.text or _text(row, panel.style),
                "ends": list(row.ends),
                "colour": colours[row.colour_key],
            }
            for row in panel.rows
        ],
    }


def _style(scale: Scale) -> Style:
    return "number" if scale == "points" else scale


def _cells(row: Effect, scale: Scale) -> tuple[str, str]:
    factor = 100 if scale == "points" else 1
    value, low, high = (None if end is None else factor * end for end in (row.value, row.low, row.high))
    return styled(value, _style(scale)), interval(low, high, _style(scale))


def _text(row: Effect, scale: Scale) -> str:
    """“-6.30 (-9.10 to -3.60)”."""
    if not row.ends:
        return "not enough data yet"
    value, ends = _cells(row, scale)
    return f"{value} ({ends})"
