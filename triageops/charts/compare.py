"""Values side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triageops.charts.chart import Chart, frame, hues
from triageops.wording import Style, interval, styled


@dataclass(frozen=True, slots=True)
class Effect:
    """An estimate with its interval; None where there are not enough data yet. `key` decides its colour, as in Series."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    is_control: bool = False
    key: str = ""

    @property
    def colour_key(self) -> str:
        return self.key or self.label


def intervals(
    *,
    key: str,
    title: str,
    rows: Sequence[Effect],
    style: Style = "number",
    unit: str = "",
    is_higher_better: bool | None = None,
    control: str = "",
    empty: str = "Not enough data yet.",
    **others: Any,
) -> Chart:
    """Estimates with their intervals against a zero line, each on its own row; says which side is better."""
    shown = [row for row in rows if row.value is not None and row.low is not None and row.high is not None]
    if not shown:
        return Chart(key=key, title=title, style=style, unit=unit, empty=empty, **others)
    sides = {True: ("← worse", "better →"), False: ("← better", "worse →"), None: ("", "")}[is_higher_better]
    colours = hues([row.colour_key for row in shown], control)
    whiskers = [
        {"value": [row.low, row.high, at], "itemStyle": {"color": colours[row.colour_key]}}
        for at, row in enumerate(shown)
    ]
    dots = [
        {"value": [row.value, at, row.low, row.high], "itemStyle": {"color": colours[row.colour_key]}}
        for at, row in enumerate(shown)
    ]
    framed = frame()
    # Room for the words under the axis: which side is better.
    framed["grid"] = framed["grid"] | {"bottom": 34}
    options = framed | {
        "xAxis": {"type": "value", "name": "   ".join(filter(None, (sides[0], unit, sides[1])))},
        "yAxis": {"type": "category", "inverse": True, "data": [row.label for row in shown]},
        "tooltip": {"trigger": "item"},
        "series": [
            {
                "type": "custom",
                "id": "whiskers",
                "renderItem": "whisker",
                "data": whiskers,
                "encode": {"x": [0, 1], "y": 2},
                "silent": True,
            },
            {"type": "scatter", "id": "estimates", "data": dots, "symbolSize": 11, "encode": {"x": 0, "y": 1}}
            | {
                "markLine": {
                    "symbol": "none",
                    "silent": True,
                    "label": {"show": False},
                    "data": [{"xAxis": 0}],
                }
            },
        ],
    }
    cells = tuple((row.label, styled(row.value, style), interval(row.low, row.high, style)) for row in rows)
    return Chart(
        key=key,
        title=title,
        options=options,
        columns=("", f"Effect{f' ({unit})' if unit else ''}", "95 % interval"),
        rows=cells,
        style=style,
        unit=unit,
        **({"description": ". ".join(f"{a}: {b} ({c})" for a, b, c in cells)} | others),
    )


def bars(
    *,
    key: str,
    title: str,
    labels: Sequence[str],
    groups: Mapping[str, Sequence[float | None]],
    style: Style = "count",
    unit: str = "",
    control: str = "",
    empty: str = "Nothing was counted yet.",
    is_line: bool = False,
    **others: Any,
) -> Chart:
    """Bars side by side, or lines: one place per label, one colour per group."""
    if not any(value is not None for values in groups.values() for value in values):
        return Chart(key=key, title=title, style=style, unit=unit, empty=empty, **others)
    colours = hues(groups, control)
    options = frame(legend=list(groups)) | {
        "xAxis": {"type": "category", "data": list(labels)},
        "yAxis": {"type": "value", "name": unit},
        "series": [
            {"type": "line" if is_line else "bar", "id": f"bar:{name}", "name": name, "data": list(values)}
            | {"itemStyle": {"color": colours[name]}}
            for name, values in groups.items()
        ],
    }
    cells = tuple(
        (label, *(styled(values[at], style) for values in groups.values())) for at, label in enumerate(labels)
    )
    return Chart(
        key=key,
        title=title,
        options=options,
        columns=("", *groups),
        rows=cells,
        style=style,
        unit=unit,
        **others,
    )
