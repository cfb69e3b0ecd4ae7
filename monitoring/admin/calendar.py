"""The calendar of silences and maintenance windows: a week, or a month."""

import calendar
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from monitoring.admin.opening import Admin, render
from monitoring.models import MaintenanceWindow, Silence
from monitoring.quiet import windows
from monitoring.routing.clock import InvalidHours, zone_named
from triageops import wording

MOST = 2_000
MOST_A_DAY = {"week": 100, "month": 4}
_FIRST, _LAST = date(2000, 1, 3), date(2100, 12, 27)


@dataclass(frozen=True)
class Entry:
    """A silence or a window on one day. sort: silence or window; clock: “22:00–24:00”."""

    sort: str
    name: str
    clock: str
    address: str
    is_over: bool
    is_now: bool


@dataclass
class Day:
    date: date
    is_today: bool
    is_outside: bool
    entries: list[Entry] = field(default_factory=list)
    more: int = 0


@dataclass(frozen=True)
class _Span:
    sort: str
    name: str
    address: str
    start: datetime
    end: datetime


def page(admin: Admin, request: HttpRequest, now: datetime) -> HttpResponse:
    view = "month" if request.GET.get("view") == "month" else "week"
    zone = _zone(request.GET.get("zone", ""))
    today = now.astimezone(zone).date()
    shown = _day(request.GET.get("day", ""), today)
    first, last = _bounds(view, shown)
    spans = list(_spans(_midnight(first, zone), _midnight(last + timedelta(days=1), zone), now))
    days = [_filled(day, shown, view, spans, zone, now) for day in _days(first, last)]

    def address(day: date, name: str = view) -> str:
        return "?" + urlencode({"view": name, "day": day.isoformat(), "zone": str(zone)})

    return render(
        admin,
        request,
        "calendar",
        "Calendar",
        sentence=_sentence(spans, view, now),
        tone="look" if any(one.start <= now < one.end for one in spans) else "neutral",
        period=_period(view, shown, first, last),
        view=view,
        weeks=[days[at : at + 7] for at in range(0, len(days), 7)],
        weekdays=calendar.day_name,
        is_empty=not spans,
        views=[
            (name, text, address(shown, name), name == view)
            for name, text in (("week", "Week"), ("month", "Month"))
        ],
        earlier=address(_moved(view, shown, -1)),
        later=address(_moved(view, shown, 1)),
        today=address(today),
        zone=str(zone),
        zones=_zones(str(zone)),
        day=shown.isoformat(),
    )


def _spans(start: datetime, end: datetime, now: datetime) -> Iterator[_Span]:
    for silence in Silence.objects.filter(starts_at__lt=end, ends_at__gt=start).order_by("starts_at")[:MOST]:
        is_over = silence.ends_at <= now
        change = reverse("admin:monitoring_silence_change", args=[silence.pk])
        address = reverse("admin:monitoring_silence_changelist") if is_over else change
        name = silence.comment or "no comment"
        yield _Span("silence", name, address, silence.starts_at, silence.ends_at)
    for window in MaintenanceWindow.objects.filter(is_enabled=True)[:MOST]:
        address = reverse("admin:monitoring_maintenancewindow_change", args=[window.pk])
        for begins, ends in _times(window, start, end):
            yield _Span("window", window.name, address, begins, ends)


def _times(window: MaintenanceWindow, start: datetime, end: datetime) -> list[windows.Span]:
    try:
        return windows.between(window, start, end)
    except InvalidHours:
        return []


def _filled(day: date, shown: date, view: str, spans: Iterable[_Span], zone: ZoneInfo, now: datetime) -> Day:
    start, end = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
    found = sorted(
        (one for one in spans if one.start < end and one.end > start), key=lambda one: (one.start, one.name)
    )
    entries = [
        Entry(
            one.sort,
            one.name,
            _clock(one, start, end, zone),
            one.address,
            one.end <= now,
            one.start <= now < one.end,
        )
        for one in found
    ]
    most = MOST_A_DAY[view]
    is_outside = view == "month" and day.month != shown.month
    today = now.astimezone(zone).date()
    return Day(day, day == today, is_outside, entries[:most], len(entries[most:]))


def _clock(span: _Span, start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """The part of it that lies on one day."""
    if span.start <= start and span.end >= end:
        return "all day"
    begins = "00:00" if span.start <= start else f"{span.start.astimezone(zone):%H:%M}"
    ends = "24:00" if span.end >= end else f"{span.end.astimezone(zone):%H:%M}"
    return f"{begins}–{ends}"


def _sentence(spans: list[_Span], view: str, now: datetime) -> str:
    standing = sum(one.start <= now < one.end for one in spans)
    counts = {sort: len([one for one in spans if one.sort == sort]) for sort in ("silence", "window")}
    if not spans:
        return f"Nothing is silenced in this {view}, and no maintenance is planned."
    said = " and ".join(
        [wording.plural(counts["silence"], "silence"), wording.plural(counts["window"], "maintenance window")]
    )
    holds = {0: "none holds", 1: "1 holds"}.get(standing, f"{standing} hold")
    return f"{said} in this {view}; {holds} now."


def _period(view: str, shown: date, first: date, last: date) -> str:
    if view == "month":
        return f"{shown:%B %Y}"
    return f"{first.day} {first:%B} to {last.day} {last:%B %Y}"


def _bounds(view: str, shown: date) -> tuple[date, date]:
    """Whole weeks, from Monday."""
    if view == "week":
        first = last = shown
    else:
        first = shown.replace(day=1)
        last = shown.replace(day=calendar.monthrange(shown.year, shown.month)[1])
    return first - timedelta(days=first.weekday()), last + timedelta(days=6 - last.weekday())


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def _moved(view: str, shown: date, by: int) -> date:
    if view == "week":
        return shown + timedelta(days=7 * by)
    months = shown.year * 12 + shown.month - 1 + by
    return date(months // 12, months % 12 + 1, 1)


def _day(text: str, today: date) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return today
    return min(max(found, _FIRST), _LAST)


def _zone(text: str) -> ZoneInfo:
    try:
        return zone_named(text or "UTC")
    except InvalidHours:
        return zone_named("UTC")


def _zones(shown: str) -> list[str]:
    """Those of the windows, and the one that is shown."""
    known = set(MaintenanceWindow.objects.values_list("zone", flat=True)[:MOST])
    return ["UTC", *sorted((known | {shown}) - {"UTC"})]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
