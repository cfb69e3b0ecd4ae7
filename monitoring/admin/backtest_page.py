"""What the page of one backtest shows: what would have come, and what would have been found how soon."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from monitoring import questions
from monitoring.models import Backtest, BacktestState
from monitoring.sources import title_of
from triageops import charts, wording

Report = Mapping[str, Any]

_MOST_SLICES = 24
_MOST_ALARMS = 100
_LEAST_DRAWN, _MOST_DRAWN = 1e-4, 10.0


def sentence(backtest: Backtest) -> str:
    """The answer, aloud."""
    if backtest.state == BacktestState.DONE:
        return f"{_came(backtest.report)} {_found(backtest.report)}".strip()
    if backtest.state == BacktestState.FAILED:
        return f"It came to no result: {backtest.error or 'an error that was not foreseen'}"
    return {
        BacktestState.WAITING: "It waits for a worker.",
        BacktestState.RUNNING: f"It runs: {wording.share(backtest.progress, 2)} of the past are replayed.",
        BacktestState.CANCELLED: "It was cancelled, so it says nothing.",
    }[BacktestState(backtest.state)]


def tone(backtest: Backtest) -> str:
    if backtest.state == BacktestState.FAILED:
        return "harm"
    return "look" if backtest.report and not backtest.report["is_calm"] else "neutral"


def _came(report: Report) -> str:
    days = max(1, round(report["window"]["days"]))
    came = wording.plural(report["alarm_count"], "alarm")
    if report["signal_count"]:
        came += f" and {wording.plural(report['signal_count'], 'signal')} of single buckets"
    promised = wording.number(report["budget"]["promised"], 2)
    said = f"In the last {wording.plural(days, 'day')} it would have raised {came} ({promised} promised)."
    if report["is_calm"]:
        return said
    return f"{said} That is more than chance explains ({wording.number(report['allowed'], 2)} at most)."


def _found(report: Report) -> str:
    """Half a standard deviation, or else the smallest change that was always found."""
    sure = [
        one
        for one in report["injections"]
        if one["found"] == one["tries"] and one["median_seconds"] is not None
    ]
    if not report["injections"]:
        return ""
    if not sure:
        return "None of the changes that were put into it was found every time."
    best = next((one for one in sure if one["size"] == 0.5), sure[0])
    return f"Put into the past, “{best['name']}” is found after {wording.seconds(best['median_seconds'])} (median)."


def page(backtest: Backtest, asked: str) -> dict[str, Any]:
    """asked: key of the slice that is shown."""
    report: Report = backtest.report
    common = {
        "backtest": backtest,
        "sentence": sentence(backtest),
        "tone": tone(backtest),
        "live_address": reverse("admin:monitoring_backtest_live", args=[backtest.pk]),
        "settings": _settings(backtest),
    }
    if not report:
        return common
    slices = sorted(report["slices"], key=lambda one: one["key"] != "all")
    chosen = next((one for one in slices if one["key"] == asked), slices[0] if slices else None)
    about = {} if chosen is None else {"charts": _charts(backtest, chosen), "chosen": chosen}
    return {
        **common,
        **about,
        "report": report,
        "reference": _reference(report),
        "slices": [
            {"name": one["name"], "address": "?" + urlencode({"slice": one["key"]}), "is_on": one is chosen}
            for one in slices[:_MOST_SLICES]
        ],
        "more_slices": max(0, len(slices) - _MOST_SLICES),
        "delays": _delays(report),
        "injections": [_injection(one) for one in report["injections"]],
        "alarms": _alarms(slices),
        "notes": report["notes"],
    }


def _settings(backtest: Backtest) -> list[tuple[str, str, str]]:
    """(name, tried, in force) where they differ; of a backtest of what is in force, nothing."""
    present = questions.question_of(backtest.monitor)
    return [
        (name.replace("_", " "), _said(value), _said(present.get(name)))
        for name, value in backtest.question.items()
        if value != present.get(name)
    ]


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {_said(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def _reference(report: Report) -> str:
    found = report["reference"]
    if not found:
        return ""
    start, end = (datetime.fromisoformat(found[name]) for name in ("start", "end"))
    said = f"Usual is what {start:%Y-%m-%d} to {end:%Y-%m-%d} showed, n = {wording.count(found['n'])}"
    if found["is_before"]:
        return f"{said}: a time before the one that is replayed."
    return f"{said}. It overlaps the time that is replayed, so it looks calmer than it will be."


def _charts(backtest: Backtest, chosen: Report) -> list[charts.Chart]:
    points = [_Point(*row) for row in chosen["points"]]
    alarms = chosen["alarms"]
    title = title_of(backtest.question["metric"])
    marks = [charts.Mark(_at(one["at"]), "alarm", "harm") for one in alarms[:_MOST_ALARMS]]
    marks += [
        charts.Mark(_at(one["onset_at"]), "onset", "look")
        for one in alarms[:_MOST_ALARMS]
        if not one["is_single"]
    ]
    came = wording.plural(len(alarms), "alarm") if alarms else "no alarm"
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
            marks=marks,
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


def _delays(report: Report) -> charts.Chart:
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
    }
    return charts.replaced(drawn, options=lying)


def _injection(one: Report) -> dict[str, Any]:
    delays = sorted(delay for delay in one["delays"] if delay is not None)
    return {
        "name": one["name"],
        "found": f"{one['found']} of {one['tries']}",
        "is_sure": one["found"] == one["tries"],
        "median": wording.seconds(one["median_seconds"]),
        "delays": ", ".join(map(wording.seconds, delays)) or "–",
    }


def _alarms(slices: Sequence[Report]) -> list[dict[str, Any]]:
    found = [
        {
            **one,
            "slice": part["name"],
            "at": _at(one["at"]),
            "onset_at": _at(one["onset_at"]),
            "size": f"{wording.number(one['value'])} instead of {wording.number(one['usual'])}",
        }
        for part in slices
        for one in part["alarms"]
    ]
    return sorted(found, key=lambda one: one["at"])[:_MOST_ALARMS]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
