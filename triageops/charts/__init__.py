"""Plots as data: each builder returns a `Chart`, which the page draws with ECharts. Knows no app and no Django.

    chart = lines(
        key="quality", title="Helpfulness of llama2-70b fell", style="share", unit="mean helpfulness",
        series=[Series("gpt-4", [Point(at, 0.91, 0.89, 0.93, n=120), ...]), Series("llama2-70b", [...])],
        control="gpt-4", marks=[Mark(opened_at, "incident", "harm")], spans=[Span(start, end, "firing", "harm")],
        levels=[Level(0.75, "alarm below")],
    )
    chart = intervals(key="effects", title="...", rows=[Effect("claude-2", -0.063, -0.091, -0.036)], style="number",
                      is_higher_better=True)
    chart = forest(key="metrics", title="...", panels=[Panel("latency", rows, "seconds", is_higher_better=False), ...])
    chart = bars(key="split", title="...", labels=["gpt-4", ...], groups={"expected": [...], "seen": [...]})
    chart = Chart(key="...", title="...", options={...})         # any other picture: ECharts options

In a template: `{% include "triageops/chart.html" with chart=chart %}`: figure, loader, text alternative and table.
Colours are words: "var(--to-harm)" is looked up in the theme that is on, and again when it is toggled. `renderItem` may
be "band" (rows of time, low, high) or "whisker" (rows of low, high, position): charts.js draws them. Of a forest the
options are its `panels`, which charts.js lays out by the room that there is: beside the plot, or above it.
"""

from triageops.charts.chart import Chart, Options, Tone, hues, replaced
from triageops.charts.compare import bars
from triageops.charts.forest import Effect, Panel, Scale, forest, intervals
from triageops.charts.time import Level, Mark, Point, Series, Span, lines, sparkline, time_table

__all__ = [
    "Chart",
    "Effect",
    "Level",
    "Mark",
    "Options",
    "Panel",
    "Point",
    "Scale",
    "Series",
    "Span",
    "Tone",
    "bars",
    "forest",
    "hues",
    "intervals",
    "lines",
    "replaced",
    "sparkline",
    "time_table",
]
