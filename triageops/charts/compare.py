"""Values side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from triageops.charts.chart import Chart, frame, hues
from triageops.wording import Style, styled


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
