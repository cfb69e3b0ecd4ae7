from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.routing.timing import Hours, InvalidHours, Recurrence, flush_at, next_digest

BERLIN = "Europe/Berlin"  # leaps on 2026-03-29 at 02:00 to 03:00, back on 2026-10-25 at 03:00 to 02:00


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("mon-fri 09:00-17:00, sat 10:00-12:00", "mon-fri 09:00-17:00, sat 10:00-12:00"),
        ("22:00-06:00", "mon-sun 22:00-06:00"),
        ("sat,sun 0:00-24:00", "sat,sun 00:00-24:00"),
        ("Monday - Wednesday 9:30-10:00", "mon-wed 09:30-10:00"),
        ("fri-mon 08:00-20:00", "mon,fri,sat,sun 08:00-20:00"),
    ],
)
def test_hours_are_read_and_written(text: str, written: str) -> None:
    hours = Hours.parse(text, BERLIN)
    assert hours.as_text() == written
    assert Hours.parse(written, BERLIN) == hours


@pytest.mark.parametrize(
    ("text", "zone", "problem"),
    [
        ("", "UTC", "no hours"),
        ("mon-fri", "UTC", "has no times"),
        ("mon 9-17", "UTC", "has no times"),
        ("mon 09:00-17", "UTC", "no time of day"),
        ("mon 09:00-25:00", "UTC", "no time of day"),
        ("mon 09:00-24:30", "UTC", "no time of day"),
        ("mon 09:00-09:00", "UTC", "begins when it ends"),
        ("moon 09:00-17:00", "UTC", "no day of the week"),
        ("mon 09:00-17:00", "Berlin/Mitte", "no time zone"),
        ("mon 09:00-17:00", "../etc/passwd", "no time zone"),
        (",".join(["09:00-10:00"] * 51), "UTC", "the most is 50"),
    ],
)
def test_hours_that_are_wrong_are_refused(text: str, zone: str, problem: str) -> None:
    with pytest.raises(InvalidHours, match=problem):
        Hours.parse(text, zone)


@pytest.mark.parametrize(
    ("text", "zone", "at", "is_within", "next_start"),
    [
        # 2026-08-21 is a Friday.
        ("mon-fri 09:00-17:00", "UTC", "2026-08-21T09:00", True, "2026-08-21T09:00"),
        ("mon-fri 09:00-17:00", "UTC", "2026-08-21T08:59:59", False, "2026-08-21T09:00"),
        ("mon-fri 09:00-17:00", "UTC", "2026-08-21T17:00", False, "2026-08-24T09:00"),
        ("mon-fri 09:00-17:00", BERLIN, "2026-08-21T07:00", True, "2026-08-21T07:00"),
        ("fri 22:00-06:00", "UTC", "2026-08-22T05:59", True, "2026-08-22T05:59"),
        ("fri 22:00-06:00", "UTC", "2026-08-21T05:59", False, "2026-08-21T22:00"),
        ("sun 22:00-06:00", "UTC", "2026-08-24T01:00", True, "2026-08-24T01:00"),
        ("sat 00:00-24:00", "UTC", "2026-08-22T23:59:59", True, "2026-08-22T23:59:59"),
        ("sat 00:00-24:00", "UTC", "2026-08-23T00:00", False, "2026-08-29T00:00"),
        # The same clock time is an hour earlier in UTC after the leap forward.
        ("09:00-17:00", BERLIN, "2026-03-28T17:00", False, "2026-03-29T07:00"),
        ("09:00-17:00", BERLIN, "2026-10-24T16:00", False, "2026-10-25T08:00"),
        # 02:30 does not exist on that Sunday: the hours begin at 03:00, which is 01:00 UTC.
        ("sun 02:30-05:00", BERLIN, "2026-03-29T00:00", False, "2026-03-29T01:00"),
        # Hours that the leap swallows whole come a week later.
        ("sun 02:10-02:50", BERLIN, "2026-03-29T00:00", False, "2026-04-05T00:10"),
        # 02:30 comes twice: at 00:30 and at 01:30 UTC; both are within.
        ("sun 02:30-02:45", BERLIN, "2026-10-25T00:00", False, "2026-10-25T00:30"),
        ("sun 02:30-02:45", BERLIN, "2026-10-25T00:45", False, "2026-10-25T01:30"),
        # What ended at 02:30 begins again as the clock goes back.
        ("sun 01:30-02:30", BERLIN, "2026-10-25T00:40", False, "2026-10-25T01:00"),
        # Lord Howe leaps by half an hour.
        ("sun 02:10-03:00", "Australia/Lord_Howe", "2026-10-03T15:00", False, "2026-10-03T15:30"),
    ],
)
def test_hours_hold_by_the_clock_of_their_zone(
    text: str, zone: str, at: str, is_within: bool, next_start: str
) -> None:
    hours = Hours.parse(text, zone)
    assert hours.is_within(utc(at)) is is_within
    assert hours.next_start(utc(at)) == utc(next_start)


moments = st.integers(0, 330_000).map(lambda minutes: utc("2026-03-20") + timedelta(minutes=minutes))
spans = st.tuples(st.integers(0, 47), st.integers(0, 47)).filter(lambda pair: pair[0] != pair[1])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["mon", "sat,sun", "mon-fri"]),
    spans,
    st.sampled_from([BERLIN, "America/New_York"]),
    moments,
)
def test_next_start_is_the_first_minute_that_is_within(
    days: str, span: tuple[int, int], zone: str, at: datetime
) -> None:
    start, end = (f"{half // 2:02}:{half % 2 * 30:02}" for half in span)
    hours = Hours.parse(f"{days} {start}-{end}", zone)
    found = hours.next_start(at)
    assert found >= at
    assert hours.is_within(found)
    minute = at
    while minute < found:
        assert not hours.is_within(minute)
        minute += timedelta(minutes=15)


WEEKLY = Recurrence(zone=BERLIN, start=time(2, 30), duration=timedelta(hours=1), weekdays=(5, 6))


def test_windows_of_a_week_are_listed_where_they_share_time_with_the_span() -> None:
    assert WEEKLY.occurrences(utc("2026-08-22T01:00"), utc("2026-08-23T00:30")) == [
        (utc("2026-08-22T00:30"), utc("2026-08-22T01:30"))
    ]
    assert WEEKLY.occurrences(utc("2026-08-22T01:30"), utc("2026-08-22T23:00")) == []


@pytest.mark.parametrize(
    ("day", "start"),
    [
        ("2026-03-29", "2026-03-29T01:30"),  # 02:30 is leapt over: an hour later, 03:30
        ("2026-10-25", "2026-10-25T00:30"),  # 02:30 comes twice: the first
    ],
)
def test_window_on_the_day_of_a_leap_happens_once(day: str, start: str) -> None:
    found = WEEKLY.occurrences(utc(f"{day}T00:00"), utc(f"{day}T12:00"))
    assert found == [(utc(start), utc(start) + timedelta(hours=1))]


@pytest.mark.parametrize(
    ("monthday", "days"),
    [(31, ["01-31", "03-31"]), (-1, ["01-31", "02-28", "03-31", "04-30"]), (29, ["01-29", "03-29", "04-29"])],
)
def test_windows_of_a_month_are_on_its_day_if_it_has_it(monthday: int, days: list[str]) -> None:
    window = Recurrence(zone="UTC", start=time(8), duration=timedelta(hours=2), monthday=monthday)
    found = window.occurrences(utc("2026-01-01T00:00"), utc("2026-05-01T00:00"))
    assert [begins for begins, _ in found] == [utc(f"2026-{day}T08:00") for day in days]


def test_window_is_active_from_its_start_up_to_its_end() -> None:
    start, end = utc("2026-08-22T00:30"), utc("2026-08-22T01:30")
    assert WEEKLY.active_at(start) == (start, end)
    assert WEEKLY.active_at(end - timedelta(seconds=1)) == (start, end)
    assert WEEKLY.active_at(end) is None
    assert WEEKLY.active_at(start - timedelta(microseconds=1)) is None


def test_window_longer_than_its_distance_is_the_one_that_ends_last() -> None:
    window = Recurrence(zone="UTC", start=time(0), duration=timedelta(days=3), weekdays=tuple(range(7)))
    assert window.active_at(utc("2026-08-22T12:00")) == (utc("2026-08-22T00:00"), utc("2026-08-25T00:00"))


def test_window_begins_only_while_it_is_valid() -> None:
    window = Recurrence(
        zone="UTC",
        start=time(8),
        duration=timedelta(hours=1),
        weekdays=tuple(range(7)),
        valid_from=utc("2026-08-22T08:00"),
        valid_until=utc("2026-08-24T08:00"),
    )
    found = window.occurrences(utc("2026-08-20T00:00"), utc("2026-08-30T00:00"))
    assert [begins.day for begins, _ in found] == [22, 23]


@pytest.mark.parametrize(
    "changes",
    [
        {"weekdays": (), "monthday": None},
        {"weekdays": (1,), "monthday": 1},
        {"weekdays": (7,)},
        {"weekdays": (), "monthday": 0},
        {"duration": timedelta(0)},
        {"zone": "Nowhere"},
    ],
)
def test_window_that_is_wrong_is_refused(changes: dict[str, object]) -> None:
    given_values: dict[str, object] = {
        "zone": "UTC",
        "start": time(8),
        "duration": timedelta(hours=1),
        "weekdays": (1,),
    }
    with pytest.raises(InvalidHours):
        Recurrence(**given_values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "hour", "zone", "at", "expected"),
    [
        ("hourly", 9, "UTC", "2026-08-21T14:00", "2026-08-21T15:00"),
        ("hourly", 9, "Asia/Kolkata", "2026-08-21T14:00", "2026-08-21T14:30"),
        ("daily", 9, BERLIN, "2026-08-21T06:59", "2026-08-21T07:00"),
        ("daily", 9, BERLIN, "2026-08-21T07:00", "2026-08-22T07:00"),
        ("daily", 9, BERLIN, "2026-10-24T12:00", "2026-10-25T08:00"),
        ("daily", 2, BERLIN, "2026-03-28T12:00", "2026-03-29T01:00"),
        ("weekly", 9, "UTC", "2026-08-21T14:00", "2026-08-24T09:00"),
        ("weekly", 9, "UTC", "2026-08-24T09:00", "2026-08-31T09:00"),
    ],
)
def test_next_digest_goes_at_its_hour(mode: str, hour: int, zone: str, at: str, expected: str) -> None:
    assert next_digest(mode, hour, zone, utc(at)) == utc(expected)


def test_digest_of_no_known_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="monthly"):
        next_digest("monthly", 9, "UTC", utc("2026-08-21T14:00"))


@pytest.mark.parametrize(
    ("last", "pending", "expected"),
    [
        (None, None, "14:00:30"),
        (None, "14:00:10", "14:00:10"),
        ("13:57:00", None, "14:02:00"),
        ("13:55:00", None, "14:00:30"),
        ("13:50:00", None, "14:00:30"),
        ("13:57:00", "14:02:00", "14:02:00"),
    ],
)
def test_flush_joins_what_waits_then_keeps_the_interval_then_waits(
    last: str | None, pending: str | None, expected: str
) -> None:
    def at(text: str | None) -> datetime | None:
        return utc(f"2026-08-21T{text}") if text else None

    found = flush_at(
        now=utc("2026-08-21T14:00"),
        last_flush_at=at(last),
        pending_flush_at=at(pending),
        wait=timedelta(seconds=30),
        interval=timedelta(minutes=5),
    )
    assert found == at(expected)


def test_zone_of_a_moment_does_not_matter() -> None:
    hours = Hours.parse("mon-fri 09:00-17:00", BERLIN)
    at = utc("2026-08-21T07:00")
    assert hours.is_within(at.astimezone(ZoneInfo("Asia/Tokyo")))
