"""Incidents and alerts month by month: a picture, the numbers under it, and a file."""

import csv
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from monitoring.admin.opening import Admin, few, render, require
from monitoring.models import Severity
from monitoring.reading import numbers
from monitoring.reading.numbers import Durations, Month
from triageops import charts, wording

VIEW = ("monitoring.view_incident", "monitoring.change_incident")
_COLOURS = {
    Severity.CRITICAL: "var(--to-hue-8)",
    Severity.ERROR: "var(--to-hue-7)",
    Severity.WARNING: "var(--to-hue-3)",
    Severity.INFO: "var(--to-control)",
}


@dataclass(frozen=True)
class Line:
    """One month, in words."""

    month: Month
    name: str
    detect: str
    acknowledge: str
    resolve: str
    false_alarms: str


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    require(request, *VIEW)
    now = timezone.now()
    months = numbers.read(now)
    if request.GET.get("format") == "csv":
        return _file(months)
    return render(
        admin,
        request,
        "numbers",
        "Monthly numbers",
        sentence=_sentence(months, now),
        tone="neutral",
        chart=_chart(months),
        lines=[_line(one) for one in months],
        severities=Severity.labels,
    )


def _sentence(months: list[Month], now: datetime) -> str:
    this, before = months[0], months[1]
    if not any(one.incident_count for one in months):
        return f"There was no incident in {len(months)} months."
    text = f"{wording.plural(this.incident_count, 'incident')} so far this month, {before.incident_count} in {before.start:%B}"
    if this.resolve.median is not None:
        text += f"; {_over(this)}"
    if this.promised >= 0.005 or this.false_count:
        text += f"; {this.false_count} called false, against {few(this.promised)} promised at most on average"
    return text + "."


def _over(month: Month) -> str:
    """Those that are open are no part of the median."""
    n, median = month.resolve.n, wording.seconds(month.resolve.median)
    if n == 1:
        return f"1 of them is over, after {median}"
    which = "all are over" if n == month.incident_count else f"{n} of them are over"
    return f"{which}, half of these within {median}"


def _line(month: Month) -> Line:
    return Line(
        month,
        f"{month.start:%b %Y}",
        _told(month.detect),
        _told(month.acknowledge),
        _told(month.resolve),
        f"{month.false_count} of {few(month.promised)}"
        if month.promised or month.false_count
        else wording.MISSING,
    )


def _told(one: Durations) -> str:
    return (
        wording.MISSING
        if one.median is None
        else f"{wording.seconds(one.median)} /\n{wording.seconds(one.p90)}"
    )


def _chart(months: list[Month]) -> charts.Chart:
    title = "Incidents by month and severity"
    shown = list(reversed(months))
    total = sum(one.incident_count for one in shown)
    if not total:
        empty = "Incidents will appear here, month by month."
        return charts.Chart(key="months", title=title, empty=empty)
    names = [f"{one.start:%b %y}" for one in shown]
    series = [
        {
            "type": "bar", "name": severity.label, "stack": "all", "barMaxWidth": 48,
            "data": [one.severities.get(severity, 0) for one in shown], "itemStyle": {"color": _COLOURS[severity]},
        }
        for severity in Severity
    ]  # fmt: skip
    options = {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"data": list(Severity.labels), "show": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": names},
        "yAxis": {"type": "value", "name": "incidents", "minInterval": 1},
        "series": series,
    }
    most = max(shown, key=lambda one: one.incident_count)
    return charts.Chart(
        key="months",
        title=f"{wording.plural(total, 'incident')} in {len(shown)} months; most in {most.start:%B} ({most.incident_count})",
        options=options,
        columns=("Month", *Severity.labels),
        rows=tuple(
            (name, *(wording.count(one.severities.get(severity, 0)) for severity in Severity))
            for name, one in zip(names, shown, strict=True)
        ),
        style="count",
        unit="incidents opened in the month",
    )


def _file(months: list[Month]) -> HttpResponse:
    answer = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="incidents-by-month.csv"'},
    )
    rows: list[dict[str, Any]] = _rows(months)
    writer = csv.DictWriter(answer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return answer


def _rows(months: list[Month]) -> list[dict[str, Any]]:
    return [
        {
            "month": f"{one.start:%Y-%m}",
            "incidents": one.incident_count,
            **{severity: one.severities.get(severity, 0) for severity in Severity.values},
            **{
                f"of_{origin}s" if origin != "reported" else origin: one.origins.get(origin, 0)
                for origin in numbers.ORIGINS
            },
            "detected": one.detect.n,
            "detect_median_seconds": one.detect.median,
            "detect_p90_seconds": one.detect.p90,
            "acknowledge_median_seconds": one.acknowledge.median,
            "acknowledge_p90_seconds": one.acknowledge.p90,
            "resolved": one.resolve.n,
            "resolve_median_seconds": one.resolve.median,
            "resolve_p90_seconds": one.resolve.p90,
            "acknowledged_share": one.acknowledged_share,
            "useful": one.judgements.useful,
            "noise": one.judgements.noise,
            "expected": one.judgements.expected,
            "useful_share": one.judgements.precision,
            "sent": one.sent_count,
            "reminders": one.reminder_count,
            "dead_letters": one.dead_count,
            "false_alarms": one.false_count,
            "false_alarms_promised": one.promised,
        }
        for one in months
    ]
