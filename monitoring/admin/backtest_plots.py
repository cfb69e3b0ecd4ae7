"""The pictures of a backtest: what was seen beside what is usual, the evidence, and how soon changes are found."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from monitoring.models import Backtest
from monitoring.sources import title_of
from triageops import charts, wording

Report = Mapping[str, Any]

_MOST_MARKS = 20
"""Beside each other in one picture."""
_LEAST_DRAWN, _MOST_DRAWN = 1e-4, 10.0


class _Point:
    """One row of a slice's points."""

    def __init__(
        self,
        at: str,
        value: float | None,
        low: float | None,
        high: float | None,
        expected: float | None,
        log_evidence: float | None,
        n: int,
    ) -> None:
        self.at, self.value, self.n = _at(at), value, n
        self.low, self.high, self.expected = low, high, expected
        drawn = _LEAST_DRAWN if log_evidence is None else math.exp(min(log_evidence, 50.0))
        self.evidence = min(_MOST_DRAWN, max(_LEAST_DRAWN, drawn))


def pictures(backtest: Backtest, chosen: Report) -> list[charts.Chart]:
    points = [_Point(*row) for row in chosen["points"]]
    alarms = chosen["alarms"]
    title = title_of(backtest.question["metric"])
    count = chosen["alarm_count"] + chosen["signal_count"]
    came = wording.plural(count, "alarm") if count else "no alarm"
    return [
        charts.lines(
            key="metric",
            title=f"{title[:1].upper() + title[1:]} of {chosen['name']}: {came}",
            unit="the band is what may differ without being a change; chance adds to it in every bucket",
            series=[
                charts.Series(
                    "seen", [charts.Point(one.at, one.value, n=one.n) for one in points], key="metric"
                ),
                charts.Series(
                    "usual",
                    [charts.Point(one.at, one.expected, one.low, one.high) for one in points],
                    key="usual",
                ),
            ],
            control="usual",
            marks=_marks(alarms, points),
            spans=[charts.Span(_at(one["onset_at"]), _at(one["at"]), "alarm", "harm") for one in alarms],
            size="large",
        ),
        charts.lines(
            key="evidence",
            title="The evidence reached the alarm line"
            if alarms
            else "The evidence stayed below the alarm line",
            unit="evidence; 1 raises an alarm, more than 10 is drawn as 10",
            series=[
                charts.Series(
                    "evidence", [charts.Point(one.at, one.evidence) for one in points], key="metric"
                )
            ],
            levels=[charts.Level(1.0, "alarm line", "harm")],
            is_log=True,
            bounds=(_LEAST_DRAWN, _MOST_DRAWN),
            empty="There was no evidence at all.",
        ),
    ]


def delays(report: Report) -> charts.Chart:
    injections = report["injections"]
    sure = [one for one in injections if one["found"] == one["tries"] and one["median_seconds"] is not None]
    title = "No change was found every time"
    if sure:
        slowest = max(sure, key=lambda one: one["median_seconds"])
        title = f"Of the changes that were always found, the slowest took {wording.seconds(slowest['median_seconds'])}"
    hours = [None if one["median_seconds"] is None else one["median_seconds"] / 3600 for one in injections]
    drawn = charts.bars(
        key="delays",
        title=title,
        labels=[one["name"] for one in injections],
        groups={"median": hours},
        style="number",
        unit="hours from the beginning of a change to its alarm, the median of all tries",
        control="median",
        empty="No change was put into the past, or none was found.",
    )
    axes = drawn.options
    if not axes:
        return drawn
    # Lying, because names of changes are long and screens narrow; the first on top.
    lying = axes | {
        "xAxis": axes["yAxis"],
        "yAxis": axes["xAxis"] | {"inverse": True},
        "legend": {"show": False},
        "grid": axes["grid"] | {"top": 8},
    }
    return charts.replaced(drawn, options=lying)


def _marks(alarms: Sequence[Report], points: Sequence[_Point]) -> list[charts.Mark]:
    """Alarms that would lie on each other are one mark, which says how many; the onset is that of the first."""
    if not points:
        return []
    near = (points[-1].at - points[0].at) / _MOST_MARKS
    found: list[charts.Mark] = []
    together: list[list[Report]] = []
    for one in sorted(alarms, key=lambda one: str(one["at"])):
        if together and _at(one["at"]) - _at(together[-1][0]["at"]) < near:
            together[-1].append(one)
        else:
            together.append([one])
    for several in together:
        first = several[0]
        label = "alarm" if len(several) == 1 else f"{len(several)} alarms"
        found.append(charts.Mark(_at(first["at"]), label, "harm"))
        if _at(first["at"]) - _at(first["onset_at"]) >= near:
            found.append(charts.Mark(_at(first["onset_at"]), "onset", "look"))
    return found


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
