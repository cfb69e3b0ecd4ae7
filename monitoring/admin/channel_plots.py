"""Pictures of what channels took, hour by hour."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.reading.channel_health import Standing
from triageops import charts, wording
from triageops.charts.time import stamp


def chart_of(found: Sequence[Standing], now: datetime) -> charts.Chart:
    """Calls by the hour; red are those that failed."""
    hours = _hours(now)
    delivered, failed = dict.fromkeys(hours, 0), dict.fromkeys(hours, 0)
    for one in found:
        for hour in one.hours:
            if hour.at in delivered:
                delivered[hour.at] += hour.delivered
                failed[hour.at] += hour.failed
    total, bad = sum(delivered.values()) + sum(failed.values()), sum(failed.values())
    title = f"{wording.plural(total, 'attempt')} in 24 hours, {wording.count(bad) if bad else 'none'} of them failed"
    if not total:
        return charts.Chart(
            key="attempts", title="Attempts in 24 hours", size="small",
            empty="What is delivered and what fails will appear here, hour by hour.",
        )  # fmt: skip
    series = [
        {
            "type": "bar",
            "name": name,
            "stack": "all",
            "barMaxWidth": 24,
            "data": data,
            "itemStyle": {"color": colour},
        }
        for name, data, colour in (
            ("delivered", [[stamp(at), delivered[at]] for at in hours], "var(--to-control)"),
            ("failed", [[stamp(at), failed[at]] for at in hours], "var(--to-harm)"),
        )
    ]
    frame = {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"data": ["delivered", "failed"], "show": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "time"},
        "yAxis": {"type": "value", "name": "attempts in an hour", "minInterval": 1},
        "series": series,
    }
    rows = tuple((at, wording.count(delivered[at]), wording.count(failed[at])) for at in reversed(hours))
    return charts.Chart(
        key="attempts", title=title, options=frame, columns=("Hour", "Delivered", "Failed"), rows=rows,
        style="count", unit="attempts in an hour", size="small",
    )  # fmt: skip


def _hours(now: datetime) -> list[datetime]:
    last = now.replace(minute=0, second=0, microsecond=0)
    return [last - timedelta(hours=back) for back in range(24, -1, -1)]


def spark(one: Standing, now: datetime) -> list[tuple[float, float, float]]:
    """For each hour: place, height of what was delivered, height of what failed, of 20."""
    by_hour = {hour.at: hour for hour in one.hours}
    most = max((hour.delivered + hour.failed for hour in one.hours), default=0)
    found = []
    for number, at in enumerate(_hours(now)):
        hour = by_hour.get(at)
        if hour is not None and most:
            found.append((number * 4.0, 20 * hour.delivered / most, 20 * hour.failed / most))
    return found
