"""What the page of one backtest shows: what would have come, and what would have been found how soon."""

from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from monitoring import questions
from monitoring.admin.backtest_plots import Report, delays, pictures
from monitoring.admin.opening import few
from monitoring.budget import share_if_active
from monitoring.models import Backtest, BacktestState
from monitoring.monitors.registry import is_rule
from monitoring.notifying.payloads import budget_text
from triageops import wording

_MINDED = 0.2
"""A share of the budget that differs by more than this is told."""
_MOST_SLICES = 24
_MOST_ALARMS = 100


def sentence(backtest: Backtest) -> str:
    """The answer, aloud."""
    if backtest.state == BacktestState.DONE:
        is_fixed = is_rule(backtest.question.get("kind", ""))
        return f"{_came(backtest.report, is_fixed=is_fixed)} {_found(backtest.report)}".strip()
    if backtest.state == BacktestState.FAILED:
        return f"It came to no result: {backtest.error or 'an error that was not foreseen'}"
    return {
        BacktestState.WAITING: "It waits for a worker.",
        BacktestState.RUNNING: f"It runs: {wording.share(backtest.progress, 2)} of it is done.",
        BacktestState.CANCELLED: "It was cancelled, so it says nothing.",
    }[BacktestState(backtest.state)]


def tone(backtest: Backtest) -> str:
    if backtest.state == BacktestState.FAILED:
        return "harm"
    return "look" if backtest.report and not backtest.report["is_calm"] else "neutral"


def _came(report: Report, *, is_fixed: bool) -> str:
    days = max(1, round(report["window"]["days"]))
    came = wording.plural(report["alarm_count"], "alarm")
    if report["signal_count"]:
        came += f" and {wording.plural(report['signal_count'], 'signal')} of single buckets"
    if is_fixed:
        return f"In the last {wording.plural(days, 'day')} it would have raised {came}: a fixed rule, which promises nothing about chance."
    promised = few(report["budget"]["promised"])
    said = f"In the last {wording.plural(days, 'day')} it would have raised {came} ({promised} promised)."
    if report["is_calm"]:
        return said
    return f"{said} That is more than chance explains ({few(report['allowed'])} at most)."


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
    about = {} if chosen is None else {"charts": pictures(backtest, chosen), "chosen": chosen}
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
        "delays": delays(report),
        "injections": [_injection(one) for one in report["injections"]],
        "alarms": _alarms(slices),
        "alarm_total": report["alarm_count"] + report["signal_count"],
        "notes": [*_moved(backtest), *report["notes"]],
    }


def _moved(backtest: Backtest) -> list[str]:
    """What it says was reckoned with the share of the budget that the monitor had then."""
    then, monitor = backtest.report["budget"]["alarms_per_30_days"], backtest.monitor
    if is_rule(monitor.kind) or not then:
        return []
    now = (monitor if monitor.is_watching else share_if_active(copy(monitor))).promised_alarms
    if abs(now - then) <= _MINDED * then:
        return []
    speed = "later" if now < then else "sooner"
    return [
        f"The delays and the promise are of a budget of {budget_text(then)}, its share at that time. It is {few(now)} now, so it "
        f"finds changes {speed} than is said here: run it again to see how soon."
    ]


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
