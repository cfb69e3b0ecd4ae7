"""The records of now against the reference, side by side."""

from monitoring.chart_cells import ChartCell
from monitoring.comparisons import Comparison
from monitoring.models import Monitor
from monitoring.plots.reading import style_of
from monitoring.sources import title_of
from triageops import charts
from triageops.wording import Style, number, styled


def comparison_chart(monitor: Monitor, found: Comparison) -> charts.Chart:
    against = "control" if found.is_compared else "reference"
    style = _style(monitor)
    return charts.bars(
        key="comparison",
        title=_title(found, against),
        labels=[_label(cell, style) for cell in found.cells],
        groups={
            against: [cell.reference for cell in found.cells],
            "now": [cell.current for cell in found.cells],
        },
        style="share",
        unit=f"share of records, by {title_of(monitor.metric)}",
        control=against,
    )


def _title(found: Comparison, against: str) -> str:
    """What moved most, in words; no verdict."""
    now, before = found.current.mean, found.reference.mean
    when = "Since the onset" if found.is_since_onset else "Lately"
    if now is None or before is None:
        return f"{when}, beside the {against}"
    if not found.reference.sd:
        return f"{when} the mean is {number(now)}, in the {against} {number(before)}"
    shift = (now - before) / found.reference.sd
    side = "higher" if shift > 0 else "lower"
    return f"{when} the mean is {number(abs(shift), 2)} standard deviations {side} than in the {against}"


def _style(monitor: Monitor) -> Style:
    """Of the records' values, which only for a share of records are not what the monitor shows."""
    return "number" if style_of(monitor) == "share" else style_of(monitor)


def _label(cell: ChartCell, style: Style) -> str:
    low, high = (
        "" if end is None else f"{end:g}" if style == "number" else styled(end, style)
        for end in (cell.low, cell.high)
    )
    if low and high:
        return low if low == high else f"{low} – {high}"
    return f"up to {high}" if high else f"above {low}"
