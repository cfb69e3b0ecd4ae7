"""Hours of the week, windows that come again, digests, and when a group's next message goes: in a place's own clock time."""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from monitoring.routing.clock import InvalidHours, clock_changes, moment, zone_named

__all__ = ["DAY", "DAYS", "Hours", "InvalidHours", "Range", "Recurrence", "flush_at", "next_digest"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60
RANGES_MAX = 50

_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])\Z")
_HORIZON = timedelta(days=15)
"""A range that a change of the clock swallows whole comes a week later."""


@dataclass(frozen=True, slots=True)
class Range:
    """Minutes of some days, from start up to end; past midnight, belonging to the day it begins on, when end is not later."""

    days: tuple[int, ...]
    start: int
    end: int

    def has(self, day: int, second: int) -> bool:
        start, end = self.start * 60, self.end * 60
        if start < end:
            return day in self.days and start <= second < end
        return (day in self.days and second >= start) or ((day - 1) % 7 in self.days and second < end)

    def __str__(self) -> str:
        return f"{_days_text(self.days)} {_clock(self.start)}-{_clock(self.end)}"


@dataclass(frozen=True, slots=True)
class Hours:
    """Ranges of the week by the clock of a zone."""

    zone: str
    ranges: tuple[Range, ...]

    @classmethod
    def parse(cls, text: str, zone: str) -> "Hours":
        """Reads `mon-fri 09:00-17:00, sat 10:00-12:00`; without days: every day. Raises InvalidHours."""
        zone_named(zone)
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise InvalidHours("There are no hours; write for example “mon-fri 09:00-17:00”.")
        if len(parts) > RANGES_MAX:
            raise InvalidHours(f"There are {len(parts)} ranges; the most is {RANGES_MAX}.")
        return cls(zone, tuple(map(_range, _with_days_joined(parts))))

    def __str__(self) -> str:
        return f"{self.as_text()} ({self.zone})"

    def as_text(self) -> str:
        return ", ".join(map(str, self.ranges))

    def is_within(self, at: datetime) -> bool:
        local = at.astimezone(zone_named(self.zone))
        second = local.hour * 3600 + local.minute * 60 + local.second
        return any(one.has(local.weekday(), second) for one in self.ranges)

    def next_start(self, at: datetime) -> datetime:
        """The first time from then on that is within; the time itself when it is."""
        if self.is_within(at):
            return at
        zone = zone_named(self.zone)
        candidates = sorted({*self._starts(at, zone), *clock_changes(at, at + _HORIZON, zone)})
        return next(one for one in candidates if one > at and self.is_within(one))

    def _starts(self, at: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        first = at.astimezone(zone).date() - timedelta(days=1)
        for offset in range(_HORIZON.days + 2):
            day = first + timedelta(days=offset)
            for one in self.ranges:
                if day.weekday() in one.days:
                    for fold in (0, 1):
                        yield moment(day, one.start, zone, fold)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A window that comes again: on weekdays (0 is Monday), or on a day of the month, from its end when negative.

    A month without that day has no window. A start that the clock leaps over comes as much later as the clock leaps; one
    that comes twice is the first. The duration is elapsed time. Windows begin from valid_from on and before valid_until.
    """

    zone: str
    start: time
    duration: timedelta
    weekdays: tuple[int, ...] = ()
    monthday: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def __post_init__(self) -> None:
        zone_named(self.zone)
        if bool(self.weekdays) == (self.monthday is not None):
            raise InvalidHours("A window needs either weekdays or a day of the month.")
        if any(not 0 <= day <= 6 for day in self.weekdays):
            raise InvalidHours("Weekdays are numbers from 0, Monday, to 6, Sunday.")
        if self.monthday is not None and (self.monthday == 0 or not -31 <= self.monthday <= 31):
            raise InvalidHours("A day of the month is 1 to 31, or −1 to −31 counted from its end.")
        if not timedelta(0) < self.duration <= timedelta(days=31):
            raise InvalidHours("A window lasts longer than nothing and at most 31 days.")

    def occurrences(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """Every window, as (start, end) in UTC, that shares time with the span, in order."""
        zone = zone_named(self.zone)
        # A day earlier, as local dates and a leap of the clock may shift a window.
        day = (start - self.duration).astimezone(zone).date() - timedelta(days=1)
        last = end.astimezone(zone).date() + timedelta(days=1)
        found = []
        while day <= last:
            if self._is_on(day):
                begins = moment(day, self.start.hour * 60 + self.start.minute, zone, 0)
                ends = begins + self.duration
                if begins < end and ends > start and self._is_valid(begins):
                    found.append((begins, ends))
            day += timedelta(days=1)
        return found

    def active_at(self, at: datetime) -> tuple[datetime, datetime] | None:
        """The window that is open then; of several the one that ends last."""
        found = self.occurrences(at, at + timedelta(microseconds=1))
        return max(found, key=lambda window: window[1], default=None)

    def _is_on(self, day: date) -> bool:
        if self.monthday is None:
            return day.weekday() in self.weekdays
        length = calendar.monthrange(day.year, day.month)[1]
        wanted = self.monthday if self.monthday > 0 else length + 1 + self.monthday
        return day.day == wanted

    def _is_valid(self, begins: datetime) -> bool:
        is_late_enough = self.valid_from is None or begins >= self.valid_from
        return is_late_enough and (self.valid_until is None or begins < self.valid_until)


def next_digest(mode: str, hour: int, zone: str, at: datetime) -> datetime:
    """When the next digest after that time goes: at the next full hour, at an hour of the day, or on Monday at that hour."""
    place = zone_named(zone)
    local = at.astimezone(place)
    if mode == "hourly":
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return at.astimezone(UTC) - past + timedelta(hours=1)
    if mode not in {"daily", "weekly"}:
        raise ValueError(f"a digest is hourly, daily or weekly, not {mode}")
    days = (local.date() + timedelta(days=offset) for offset in range(9))
    moments = (moment(day, hour * 60, place, 0) for day in days if mode == "daily" or day.weekday() == 0)
    return next(one for one in moments if one > at)


def flush_at(
    *,
    now: datetime,
    last_flush_at: datetime | None,
    pending_flush_at: datetime | None,
    wait: timedelta,
    interval: timedelta,
) -> datetime:
    """When a group's next message goes: with the one that waits already, else an interval after the last, else after the wait."""
    if pending_flush_at is not None:
        return pending_flush_at
    if last_flush_at is not None and last_flush_at + interval > now:
        return last_flush_at + interval
    return now + wait


def _range(text: str) -> Range:
    days_text, _, span = text.rpartition(" ")
    start_text, dash, end_text = span.partition("-")
    if not dash or ":" not in span:
        raise InvalidHours(f"“{text}” has no times; write for example “mon-fri 09:00-17:00”.")
    start, end = _minute(start_text), _minute(end_text)
    if start in {end, DAY}:
        raise InvalidHours(f"“{text}” begins when it ends; write 00:00-24:00 for the whole day.")
    days = tuple(range(7)) if not days_text.strip() else _days(days_text)
    return Range(days, start, end)


def _with_days_joined(parts: list[str]) -> list[str]:
    """Days that were split at their commas, `sat,sun 10:00-12:00`, put together again."""
    joined: list[str] = []
    waiting = ""
    for part in parts:
        waiting = f"{waiting},{part}" if waiting else part
        if ":" in part:
            joined.append(waiting)
            waiting = ""
    return [*joined, waiting] if waiting else joined


def _days(text: str) -> tuple[int, ...]:
    days: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        start = _day(first)
        end = _day(last) if dash else start
        days |= {(start + offset) % 7 for offset in range((end - start) % 7 + 1)}
    return tuple(sorted(days))


def _day(text: str) -> int:
    if text[:3] not in DAYS or not calendar.day_name[DAYS.index(text[:3])].lower().startswith(text):
        raise InvalidHours(f"“{text}” is no day of the week; write one of {', '.join(DAYS)}.")
    return DAYS.index(text[:3])


def _minute(text: str) -> int:
    found = _TIME.match(text.strip())
    minute = int(found[1]) * 60 + int(found[2]) if found else DAY + 1
    if minute > DAY:
        raise InvalidHours(f"“{text}” is no time of day; write it as 09:00, the end of the day as 24:00.")
    return minute


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _days_text(days: tuple[int, ...]) -> str:
    if len(days) > 2 and days == tuple(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ",".join(DAYS[day] for day in days)
