"""What the page of one monitor shows: the answer, the pictures, and where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from monitoring import plots
from monitoring.admin.incident_page import state_badge
from monitoring.admin.monitor_places import address_of, places_of
from monitoring.admin.monitor_settings import settings_of
from monitoring.admin.references import sight_of, versions_of
from monitoring.admin.states import learns, state_of
from monitoring.budget import share_if_active
from monitoring.models import Backtest, BacktestState, Incident, Marker, Monitor, MonitorSlice
from monitoring.monitors.kind import InvalidParameters
from monitoring.monitors.registry import is_rule
from monitoring.problems import problem_of
from monitoring.reading.sentences import lag_of, monitor_sentence, promise_sentence
from monitoring.slices import ALL, described
from triageops import wording
from triageops.charts import Chart

WINDOWS = {
    "2h": timedelta(hours=2),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "14d": timedelta(days=14),
    "30d": timedelta(days=30),
}
INCIDENTS = 10
SETTINGS = "settings"
"""In the address: the form instead of the page."""


@dataclass(frozen=True)
class Choice:
    label: str
    href: str
    is_chosen: bool


def page(monitor: Monitor, request: HttpRequest, now: datetime) -> dict[str, Any]:
    window = request.GET.get("window", "")
    window = window if window in WINDOWS else "24h"
    start, end = now - WINDOWS[window], now + timedelta(minutes=1)
    recent = list(monitor.incidents.order_by("-id")[:INCIDENTS]) if monitor.started_at else []
    open_ones = [one for one in recent if one.is_open]
    rows = _slices(monitor, start)
    chosen = _chosen(monitor, request.GET.get("slice", ""), rows, open_ones)
    trace = plots.with_history(plots.Trace.read(monitor, chosen.key, chosen.labels, start, end), now)
    own = [one for one in recent if one.slice_key == chosen.key and (one.resolved_at or now) > start]
    places = places_of(monitor, rows, open_ones, chosen.key, window)
    versions = versions_of(monitor, chosen.key) if learns(monitor) else []
    return {
        **_answer(monitor, open_ones, rows, sight_of(monitor, versions), _lately(monitor, trace), now),
        "windows": [Choice(name, address_of(chosen.key, name), name == window) for name in WINDOWS],
        "chosen": described(chosen.labels, chosen.key) or "all records",
        "charts": _charts(monitor, trace, own, now) if monitor.is_watching or trace.stretches else [],
        "comparison_address": _comparison_address(monitor, chosen.key),
        "places": places,
        "explained": any(place.contribution for place in places),
        "incidents": [(one, state_badge(one)) for one in recent],
        "versions": versions,
        "checks": _checks(monitor, now),
        "settings": settings_of(monitor),
        "settings_address": f"?{SETTINGS}=1",
        **_of_backtest(monitor.backtests.order_by("-id").first()),
    }


def _answer(
    monitor: Monitor,
    open_ones: Sequence[Incident],
    rows: Sequence[MonitorSlice],
    sight: str,
    lately: str,
    now: datetime,
) -> dict[str, Any]:
    """The first lines: how it stands, and what it promises."""
    known = [row.log_evidence for row in rows if row.log_evidence is not None]
    is_bad = bool(open_ones) or bool(monitor.check_error and monitor.is_watching)
    is_look = not monitor.is_watching or problem_of(monitor, now, monitor.started_at or now) is not None
    return {
        "sentence": monitor_sentence(
            monitor, open_ones, max(known, default=None), sight=sight, lately=lately, now=now
        ),
        "tone": "harm" if is_bad else "look" if is_look else "neutral",
        "state": state_of(monitor, has_incident=bool(open_ones), now=now),
        "promise": promise_sentence(monitor, _promised(monitor)),
    }


def _lately(monitor: Monitor, trace: plots.Trace) -> str:
    """“lower than usual for variant one”; empty where it is as it should be."""
    if not trace.lately:
        return ""
    where = f" for {trace.where}" if trace.key != ALL else ""
    return f"{trace.lately} than {'usual' if learns(monitor) else 'allowed'}{where}"


def _charts(
    monitor: Monitor, trace: plots.Trace, incidents: Sequence[Incident], now: datetime
) -> list[Chart]:
    markers = Marker.objects.between(trace.start, trace.end)
    found = [plots.metric_chart(trace, incidents, markers, level=_level(monitor), now=now)]
    is_seen = monitor.is_watching or any(one.is_watched for one in trace.stretches)
    if is_seen and monitor.kind != "never":
        found.append(plots.evidence_chart(trace, incidents))
    return found


def _slices(monitor: Monitor, start: datetime) -> list[Any]:
    """With the records that each had in the time that is shown."""
    if monitor.checked_at is None:
        return []
    shown = Sum("evaluations__n", filter=Q(evaluations__bucket_at__gte=start), default=0)
    return list(monitor.slices.tracked().annotate(shown_n=shown))


def _chosen(
    monitor: Monitor, asked: str, rows: Sequence[MonitorSlice], open_ones: Sequence[Incident]
) -> MonitorSlice:
    """The slice that was asked for; else the one with the newest incident, all together, or the most evidence."""
    by_key = {row.key: row for row in rows}
    wanted = [asked, *(one.slice_key for one in open_ones), ALL]
    found = next((by_key[key] for key in wanted if key in by_key), None)
    if found is None and rows:
        found = max(rows, key=lambda row: -1e9 if row.log_evidence is None else row.log_evidence)
    return found or MonitorSlice(monitor=monitor, key=ALL, labels=dict(monitor.where))


def _comparison_address(monitor: Monitor, key: str) -> str:
    """Empty where nothing is learnt, or nothing is watched."""
    if monitor.reference_id is None or not monitor.is_watching:
        return ""
    return f"{reverse('admin:monitoring_monitor_comparison', args=[monitor.pk])}?{urlencode({'slice': key})}"


def _level(monitor: Monitor) -> float | None:
    try:
        return monitor.kind_read().level
    except (LookupError, InvalidParameters):
        return None


def _promised(monitor: Monitor) -> float:
    if is_rule(monitor.kind):
        return 0.0
    return (monitor if monitor.is_watching else share_if_active(monitor)).promised_alarms


def _checks(monitor: Monitor, now: datetime) -> list[tuple[str, Any]]:
    lag = lag_of(monitor, now)
    return [
        ("Watches since", wording.moment(monitor.started_at) if monitor.is_watching else wording.MISSING),
        ("Last check", wording.moment(monitor.checked_at)),
        ("Rows of the last check", wording.count(monitor.check_row_count)),
        (
            "Lag: how far behind now it looked",
            wording.MISSING if lag is None else wording.seconds(round(lag.total_seconds())),
        ),
        ("Next check", wording.due(monitor.due_at, wording.MISSING)),
        ("Last records", wording.moment(monitor.last_row_at)),
        *([("Error", monitor.check_error)] if monitor.check_error else []),
        *(
            [("Failed checks in a row", wording.count(monitor.failure_count))]
            if monitor.failure_count
            else []
        ),
    ]


def _of_backtest(latest: Backtest | None) -> dict[str, Any]:
    """How calm it would have been, and how soon it finds shifts that are put into the past."""
    if latest is None or latest.state != BacktestState.DONE:
        return {"backtest": latest}
    report = latest.report
    return {
        "backtest": latest,
        "backtest_told": _told(latest),
        "injections": [
            (one["name"], f"{one['found']} of {one['tries']}", wording.seconds(one.get("median_seconds")))
            for one in report.get("injections", [])
        ],
    }


def _told(latest: Backtest) -> str:
    report = latest.report
    days, promised = report.get("window", {}).get("days"), report.get("budget", {}).get("promised")
    what = "With the settings that were tried, it" if latest.is_change else "It"
    alarms = wording.plural(report.get("alarm_count", 0), "alarm")
    if report.get("signal_count"):
        alarms += f" and {wording.plural(report['signal_count'], 'signal')} of single buckets"
    is_fixed = promised is None or is_rule(latest.question.get("kind", latest.monitor.kind))
    chance = "" if is_fixed else f"; by chance alone {wording.number(promised, 2)} at most on average"
    verdict = "That is calm." if report.get("is_calm") else "Look at them before it is activated."
    return (
        f"{what} would have raised {alarms} in {wording.plural(round(days or 0), 'day')}{chance}. {verdict}"
    )
