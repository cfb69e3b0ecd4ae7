"""Alertmanager's time intervals as hours of the week, where they are hours of the week."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitoring.routing.clock import InvalidHours, zone_named
from monitoring.routing.plan import PlannedHours
from monitoring.routing.shapes import Notes
from monitoring.routing.timing import DAY, Hours, Range

_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""As Alertmanager counts them."""

WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class Interval:
    """Minutes of the week, from Monday on, by the clock of a zone."""

    name: str
    zone: str
    minutes: frozenset[int]


def intervals_of(configuration: Mapping[str, object], notes: Notes) -> dict[str, Interval | None]:
    """By name; None for one that could not be mapped, which is then written down."""
    found: dict[str, Interval | None] = {}
    for section in ("time_intervals", "mute_time_intervals"):
        for place, item in notes.items(configuration.get(section), section):
            part = notes.mapping(item, place)
            name = notes.text(part.get("name"), f"{place}.name")
            found[name] = _interval(name, part, place, notes)
    return found


def hours_of(
    part: Mapping[str, object], place: str, known: Mapping[str, Interval | None], notes: Notes
) -> PlannedHours | None:
    """When a route may tell: within its active intervals, and outside of those that mute it."""
    active = _named(part, f"{place}.active_time_intervals", known, notes)
    muted = _named(part, f"{place}.mute_time_intervals", known, notes)
    if active is None or muted is None or not active + muted:
        return None
    zones = {interval.zone for interval in active + muted}
    if len(zones) > 1:
        notes.add(
            place,
            "Its time intervals are in different zones",
            f"Hours have one zone here, and these have {', '.join(sorted(zones))}; it may tell at any time.",
        )
        return None
    minutes = frozenset[int]().union(*(one.minutes for one in active)) if active else frozenset(range(WEEK))
    minutes = minutes.difference(*(one.minutes for one in muted))
    if not minutes or len(minutes) == WEEK:
        what = (
            "Its time intervals leave no time to tell"
            if not minutes
            else "Its time intervals leave out nothing"
        )
        notes.add(place, what, "It may tell at any time; check which was meant.")
        return None
    name = ", ".join([one.name for one in active] + [f"not {one.name}" for one in muted])
    return PlannedHours(name[:100], Hours(zones.pop(), ranges_of(minutes)))


def ranges_of(minutes: frozenset[int]) -> tuple[Range, ...]:
    """Ranges that together are these minutes of the week; those that several days share are one."""
    days_by_span: dict[tuple[int, int], list[int]] = {}
    for day in range(7):
        for start, end in _spans([minute for minute in range(DAY) if day * DAY + minute in minutes]):
            days_by_span.setdefault((start, end), []).append(day)
    return tuple(Range(tuple(days), start, end) for (start, end), days in sorted(days_by_span.items()))


def _spans(minutes: list[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for minute in minutes:
        if spans and spans[-1][1] == minute:
            spans[-1] = (spans[-1][0], minute + 1)
        else:
            spans.append((minute, minute + 1))
    return spans


def _named(
    part: Mapping[str, object], place: str, known: Mapping[str, Interval | None], notes: Notes
) -> list[Interval] | None:
    """None when one is unknown or could not be mapped: a part of what was meant would be another thing."""
    found = []
    for name in notes.texts(part.get(place.rpartition(".")[2]), place):
        interval = known.get(name)
        if interval is None:
            why = "It could not be mapped" if name in known else "There is no such time interval"
            notes.add(place, f"“{name}” is left out", f"{why}, so the route may tell at any time.")
            return None
        found.append(interval)
    return found


def _interval(name: str, part: Mapping[str, object], place: str, notes: Notes) -> Interval | None:
    zones: set[str] = set()
    minutes: set[int] = set()
    place = f"{place}.time_intervals"
    try:
        for at, item in notes.items(part.get("time_intervals"), place):
            spec = notes.mapping(item, at)
            _refuse_dates(spec)
            zones.add(notes.text(spec.get("location"), f"{at}.location") or "UTC")
            minutes |= _minutes(spec, at, notes)
        zone = _only(zones)
    except InvalidHours as error:
        notes.add(
            place,
            f"The time interval “{name}” is left out",
            f"As hours of a week it does not do: {str(error).rstrip('.')}.",
        )
        return None
    return Interval(name, zone, frozenset(minutes))


def _only(zones: set[str]) -> str:
    if len(zones) > 1:
        raise InvalidHours(f"it has several zones, {', '.join(sorted(zones))}, and hours have one here")
    zone = next(iter(zones), "UTC")
    zone_named(zone)
    return zone


def _refuse_dates(spec: Mapping[str, object]) -> None:
    for field in ("days_of_month", "months", "years"):
        if spec.get(field):
            raise InvalidHours(f"{field} make it differ from week to week; use a maintenance window for it")


def _minutes(spec: Mapping[str, object], place: str, notes: Notes) -> set[int]:
    days = [day for text in notes.texts(spec.get("weekdays"), f"{place}.weekdays") for day in _days(text)]
    spans = []
    for at, item in notes.items(spec.get("times"), f"{place}.times"):
        span = notes.mapping(item, at)
        ends = (_clock(notes.text(span.get(name), f"{at}.{name}")) for name in ("start_time", "end_time"))
        spans.append(tuple(ends))
    return {
        day * DAY + minute
        for day in days or range(7)
        for start, end in spans or [(0, DAY)]
        for minute in range(start, end)
    }


def _days(text: str) -> Iterable[int]:
    first, colon, last = text.lower().replace(" ", "").partition(":")
    if first not in _WEEKDAYS or (colon and last not in _WEEKDAYS):
        raise InvalidHours(f"“{text}” is no weekday such as monday or monday:friday")
    start = _WEEKDAYS.index(first)
    end = _WEEKDAYS.index(last) if colon else start
    if end < start:
        raise InvalidHours(f"“{text}” ends before it starts; Alertmanager's week begins on Sunday")
    return ((day - 1) % 7 for day in range(start, end + 1))


def _clock(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    if not (colon and hours.isdigit() and minutes.isdigit() and int(hours) * 60 + int(minutes) <= DAY):
        raise InvalidHours(f"“{text}” is no time of day such as 09:00")
    return int(hours) * 60 + int(minutes)
