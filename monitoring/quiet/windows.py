"""Maintenance windows: when they are open, and in plain words."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError

from monitoring.models import MaintenanceWindow
from monitoring.models.silence import Repeats
from monitoring.quiet.everything import say_nothing
from monitoring.routing.clock import InvalidHours, zone_named
from monitoring.routing.matchers import InvalidMatcher, Matcher, from_api
from monitoring.routing.timing import DAYS, Recurrence
from triageops import wording

Span = tuple[datetime, datetime]

AHEAD = timedelta(days=400)
"""How far the next time is looked for: longer than any month without the wanted day."""

_YEARS = datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC)
"""With a leap year in it; every sort of window opens several times."""

_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def open_at(window: MaintenanceWindow, at: datetime) -> Span | None:
    """From when to when it is open at that time; None: it is not. It ends when it really closes.

    Times that touch, as those of one that was stored when nothing forbade it, or when clocks change, are one.
    """
    if not window.is_enabled:
        return None
    if window.repeats != Repeats.ONCE:
        recurrence = recurrence_of(window)
        found = recurrence.active_at(at)
        return None if found is None else (found[0], _closes_at(recurrence, found[1]))
    span = _once(window)
    return span if span[0] <= at < span[1] else None


def between(window: MaintenanceWindow, start: datetime, end: datetime) -> list[Span]:
    """Every time at which it is open between the two, in order."""
    if window.repeats != Repeats.ONCE:
        return recurrence_of(window).occurrences(start, end)
    span = _once(window)
    return [span] if span[0] < end and span[1] > start else []


def next_after(window: MaintenanceWindow, at: datetime) -> Span | None:
    """The first time that begins later; None: never again."""
    if window.repeats == Repeats.ONCE:
        return _once(window) if window.starts_at > at else None
    recurrence, step, start = recurrence_of(window), timedelta(days=32), max(at, window.starts_at)
    while start < max(at, window.starts_at) + AHEAD:
        found = [span for span in recurrence.occurrences(start, start + step) if span[0] > at]
        if found:
            return found[0]
        start += step
    return None


def shortest_gap(recurrence: Recurrence) -> timedelta:
    """From one opening to the next, by the calendar, of any year."""
    momentary = replace(
        recurrence, zone="UTC", duration=timedelta(minutes=1), valid_from=None, valid_until=None
    )
    openings = [start for start, _ in momentary.occurrences(*_YEARS)]
    return min(later - earlier for earlier, later in pairwise(openings))


def recurrence_of(window: MaintenanceWindow) -> Recurrence:
    """Raises InvalidHours."""
    if window.start is None:
        raise InvalidHours("A window that repeats needs the time of day at which it begins.")
    is_weekly = window.repeats == Repeats.WEEKLY
    return Recurrence(
        window.zone,
        window.start,
        timedelta(seconds=window.duration_seconds),
        weekdays=weekdays_of(window.weekdays) if is_weekly else (),
        monthday=None if is_weekly else window.month_day,
        valid_from=window.starts_at,
        valid_until=window.ends_at,
    )


def weekdays_of(text: str) -> tuple[int, ...]:
    """Reads “sat, sun”. Raises InvalidHours."""
    found = set()
    for part in filter(None, (one.strip().lower() for one in text.split(","))):
        names = [
            number for number, name in enumerate(_NAMES) if len(part) >= 3 and name.lower().startswith(part)
        ]
        if not names:
            raise InvalidHours(f"“{part}” is no day of the week; write some of {', '.join(DAYS)}.")
        found.add(names[0])
    return tuple(sorted(found))


def matchers_of(window: MaintenanceWindow) -> tuple[Matcher, ...]:
    """None: it is about everything. Raises InvalidMatcher."""
    return tuple(from_api(one) for one in window.matchers)


def check(window: MaintenanceWindow) -> None:
    """Raises ValidationError, by field."""
    mistakes: dict[str, str] = {}
    try:
        zone_named(window.zone)
    except InvalidHours as error:
        mistakes["zone"] = str(error)
    if window.repeats == Repeats.ONCE:
        if window.ends_at is None:
            mistakes["ends_at"] = "A window that does not repeat needs its end."
    elif "zone" not in mistakes:
        mistakes |= _mistakes_of_recurrence(window)
    if window.ends_at is not None and window.ends_at <= window.starts_at:
        mistakes["ends_at"] = "It must end after it begins."
    try:
        wanted = matchers_of(window)
        if wanted and say_nothing(wanted):
            mistakes["matchers"] = (
                "These match whatever the labels say: leave them empty if everything is meant."
            )
    except InvalidMatcher as error:
        mistakes["matchers"] = str(error)
    if mistakes:
        raise ValidationError(mistakes)


def in_words(window: MaintenanceWindow) -> str:
    """“every Saturday 22:00–02:00 Europe/Berlin”, “once, 28 Nov 2026 22:00 to 29 Nov 2026 02:00 UTC”."""
    if window.repeats == Repeats.ONCE:
        start, end = _once(window)
        zone = ZoneInfo(window.zone)
        return f"once, {_day_time(start, zone)} to {_day_time(end, zone)} {window.zone}"
    days = _days(window)
    begins = window.start or time()
    length = timedelta(seconds=window.duration_seconds)
    if length >= timedelta(days=1):
        return f"{days} from {begins:%H:%M} for {wording.seconds(length.total_seconds())} {window.zone}"
    # By the clock that does not change; when it does, the length stays and the end moves.
    ends = (datetime.combine(date(2000, 1, 1), begins) + length).time()
    return f"{days} {begins:%H:%M}–{ends:%H:%M} {window.zone}"


def _days(window: MaintenanceWindow) -> str:
    if window.repeats == Repeats.WEEKLY:
        days = weekdays_of(window.weekdays)
        if len(days) == len(_NAMES):
            return "every day"
        names = [_NAMES[day] for day in days]
        return "every " + (names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}")
    number = window.month_day or 0
    if number == -1:
        return "on the last day of every month"
    if number < 0:
        return f"on the {_ordinal(-number)} day from the end of every month"
    return f"on the {_ordinal(number)} of every month" + (" that has it" if number > 28 else "")


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _day_time(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local.day} {local:%b %Y %H:%M}"


def _once(window: MaintenanceWindow) -> Span:
    return window.starts_at, window.ends_at or window.starts_at + timedelta(seconds=window.duration_seconds)


def _mistakes_of_recurrence(window: MaintenanceWindow) -> dict[str, str]:
    if window.start is None:
        return {"start": "A window that repeats needs the time of day at which it begins."}
    name = "weekdays" if window.repeats == Repeats.WEEKLY else "month_day"
    try:
        if window.repeats == Repeats.WEEKLY and not weekdays_of(window.weekdays):
            return {name: f"Choose days, for example sat, sun; the days are {', '.join(DAYS)}."}
        if window.repeats == Repeats.MONTHLY and window.month_day is None:
            return {name: "Choose a day of the month, 1 to 31."}
        recurrence = recurrence_of(window)
    except InvalidHours as error:
        is_length = not 0 < window.duration_seconds <= 31 * 86_400
        return {"duration_seconds" if is_length else name: str(error)}
    gap = shortest_gap(recurrence)
    if recurrence.duration >= gap:
        soonest = wording.seconds(gap.total_seconds())
        return {
            "duration_seconds": f"It opens again {soonest} later, before it has closed: choose less than {soonest}, or a "
            "window that does not repeat."
        }
    return {}


def _closes_at(recurrence: Recurrence, end: datetime) -> datetime:
    """As far ahead as `AHEAD` where it closes later, or never."""
    limit = end + AHEAD
    while end < limit and (following := recurrence.active_at(end)) is not None:
        end = following[1]
    return end
