"""Maintenance windows by the clock of their zone, in plain words."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from feedback.models import Scope
from monitoring.models import Flag, MaintenanceWindow, MessageKind, MessageStatus
from monitoring.quiet import suppression, window_rows, windows
from tests.monitoring.callers import client_with, get, patch, post
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import NOW, flags_of, opened, told

HOUR = timedelta(hours=1)


def weekly(**changes: Any) -> MaintenanceWindow:
    values: dict[str, Any] = {
        "name": "restart",
        "repeats": "weekly",
        "weekdays": "sat",
        "start": time(22),
        "duration_seconds": 4 * 3600,
        "zone": "Europe/Berlin",
        "starts_at": datetime(2026, 1, 1, tzinfo=UTC),
        "created_by": "ada",
    }
    return MaintenanceWindow(**values | changes)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-01-03T20:59:59", False),  # Saturday 21:59:59 in Berlin (winter, UTC+1)
        ("2026-01-03T21:00:00", True),
        ("2026-01-04T00:59:59", True),  # Sunday 01:59:59
        ("2026-01-04T01:00:00", False),
        ("2026-07-04T20:00:00", True),  # summer, UTC+2
        ("2026-07-04T19:59:59", False),
    ],
)
def test_weekly_window_follows_the_clock_of_its_zone(moment: str, *, is_open: bool) -> None:
    assert (windows.open_at(weekly(), at(moment)) is not None) == is_open


def test_window_over_the_change_to_summer_keeps_its_length() -> None:
    # Berlin's clock leaps from 02:00 to 03:00 on 2026-03-29.
    span = windows.open_at(weekly(start=time(23)), at("2026-03-28T23:00:00"))
    assert span == (at("2026-03-28T22:00:00"), at("2026-03-29T02:00:00"))


def test_window_over_the_change_to_winter_keeps_its_length() -> None:
    # 03:00 becomes 02:00 on 2026-10-25.
    span = windows.open_at(weekly(start=time(23)), at("2026-10-25T00:00:00"))
    assert span == (at("2026-10-24T21:00:00"), at("2026-10-25T01:00:00"))


def test_window_that_begins_in_the_hour_that_does_not_exist_still_opens() -> None:
    found = windows.between(
        weekly(weekdays="sun", start=time(2, 30)), at("2026-03-28T00:00:00"), at("2026-03-30T00:00:00")
    )
    assert found == [(at("2026-03-29T01:30:00"), at("2026-03-29T05:30:00"))]


def test_window_that_begins_in_the_hour_that_comes_twice_opens_once() -> None:
    window = weekly(weekdays="sun", start=time(2, 30), duration_seconds=1800)
    assert len(windows.between(window, at("2026-10-24T00:00:00"), at("2026-10-26T00:00:00"))) == 1


def test_monthly_window_on_the_last_day() -> None:
    window = weekly(repeats="monthly", weekdays="", month_day=-1, zone="UTC")
    assert windows.next_after(window, at("2026-02-01T00:00:00")) == (
        at("2026-02-28T22:00:00"),
        at("2026-03-01T02:00:00"),
    )


def test_monthly_window_on_the_31st_skips_shorter_months() -> None:
    window = weekly(repeats="monthly", weekdays="", month_day=31, zone="UTC")
    found = windows.next_after(window, at("2026-03-31T23:00:00"))
    assert found is not None
    assert found[0] == at("2026-05-31T22:00:00")


def test_window_that_ended_never_comes_again() -> None:
    assert windows.next_after(weekly(ends_at=at("2026-02-01T00:00:00")), at("2026-03-01T00:00:00")) is None
    once = weekly(repeats="once", ends_at=at("2026-02-01T00:00:00"))
    assert windows.next_after(once, at("2026-03-01T00:00:00")) is None


def test_disabled_window_is_never_open() -> None:
    assert windows.open_at(weekly(is_enabled=False), at("2026-01-03T22:00:00")) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "every Saturday 22:00–02:00 Europe/Berlin"),
        ({"weekdays": "sun, sat"}, "every Saturday and Sunday 22:00–02:00 Europe/Berlin"),
        ({"weekdays": "mon,tue,wed,thu,fri,sat,sun"}, "every day 22:00–02:00 Europe/Berlin"),
        ({"duration_seconds": 86_400}, "every Saturday from 22:00 for 1\u202fd Europe/Berlin"),
        ({"repeats": "monthly", "month_day": 1}, "on the 1st of every month 22:00–02:00 Europe/Berlin"),
        (
            {"repeats": "monthly", "month_day": 31},
            "on the 31st of every month that has it 22:00–02:00 Europe/Berlin",
        ),
        ({"repeats": "monthly", "month_day": -1}, "on the last day of every month 22:00–02:00 Europe/Berlin"),
        (
            {"repeats": "monthly", "month_day": -3},
            "on the 3rd day from the end of every month 22:00–02:00 Europe/Berlin",
        ),
        (
            {"repeats": "once", "ends_at": datetime(2026, 1, 2, 4, 30, tzinfo=UTC)},
            "once, 1 Jan 2026 01:00 to 2 Jan 2026 05:30 Europe/Berlin",
        ),
    ],
)
def test_window_in_plain_words(changes: dict[str, Any], words: str) -> None:
    assert windows.in_words(weekly(**changes)) == words


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"zone": "Mars/Base"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"weekdays": ""}, "weekdays"),
        ({"weekdays": "someday"}, "weekdays"),
        ({"start": None}, "start"),
        ({"repeats": "monthly", "month_day": None}, "month_day"),
        ({"repeats": "monthly", "month_day": 0}, "month_day"),
        ({"repeats": "monthly", "month_day": 40}, "month_day"),
        ({"duration_seconds": 0}, "duration_seconds"),
        ({"duration_seconds": 40 * 86_400}, "duration_seconds"),
        ({"repeats": "once"}, "ends_at"),
        ({"ends_at": datetime(2025, 1, 1, tzinfo=UTC)}, "ends_at"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, "matchers"),
        ({"matchers": [{"name": "severity", "value": ".+", "isRegex": True}]}, "matchers"),
        ({"duration_seconds": 7 * 86_400}, "duration_seconds"),
        ({"duration_seconds": 14 * 86_400}, "duration_seconds"),
        ({"weekdays": "sat, sun", "duration_seconds": 86_400}, "duration_seconds"),
        ({"weekdays": "mon,tue,wed,thu,fri,sat,sun", "duration_seconds": 31 * 86_400}, "duration_seconds"),
        ({"repeats": "monthly", "month_day": 1, "duration_seconds": 28 * 86_400}, "duration_seconds"),
    ],
)
def test_window_that_cannot_be_meant_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        windows.check(weekly(**changes))
    assert set(caught.value.message_dict) == {field}


@pytest.mark.parametrize(
    "changes",
    [
        {"weekdays": "sat, sun", "duration_seconds": 86_340},
        {"duration_seconds": 7 * 86_400 - 60},
        {"repeats": "monthly", "month_day": -1, "duration_seconds": 28 * 86_400 - 60},
        {"matchers": []},
        {"matchers": [{"name": "severity", "value": "critical", "isEqual": False}]},
    ],
)
def test_window_that_closes_before_it_opens_again_is_taken(changes: dict[str, Any]) -> None:
    windows.check(weekly(**changes))


def test_window_whose_times_touch_says_when_it_really_closes() -> None:
    """As stored before such a length was refused."""
    window = weekly(weekdays="sat, sun", duration_seconds=86_400, zone="UTC")
    assert windows.open_at(window, at("2026-03-07T23:00:00")) == (
        at("2026-03-07T22:00:00"),
        at("2026-03-09T22:00:00"),
    )
    never = weekly(weekdays="sat", duration_seconds=14 * 86_400, ends_at=at("2026-04-01T00:00:00"))
    opened_now = windows.open_at(never, at("2026-03-10T00:00:00"))
    assert opened_now is not None
    assert opened_now[1] > at("2026-04-10T00:00:00")


@pytest.mark.django_db
def test_window_opens_and_closes_by_time_for_open_incidents() -> None:
    window_rows.save(weekly(starts_at=at("2026-01-01T00:00:00")), now=NOW)
    incident = opened(make_monitor(channels=(make_channel(),)), now=at("2026-03-07T20:00:00"))
    assert flags_of(incident) == set()
    suppression.tend(at("2026-03-07T21:00:00"))
    assert flags_of(incident) == {Flag.MAINTENANCE}
    assert incident.flags.get().until == at("2026-03-08T01:00:00")
    suppression.tend(at("2026-03-08T01:00:00"))
    assert flags_of(incident) == set()
    assert told(incident) == [(MessageKind.TRIGGER, MessageStatus.PENDING)]


@pytest.mark.django_db
def test_window_for_some_labels_leaves_others_alone() -> None:
    window = weekly(repeats="once", starts_at=NOW, ends_at=NOW + HOUR)
    window.matchers = [{"name": "variant", "value": "a", "isRegex": False, "isEqual": True}]
    window_rows.save(window, now=NOW)
    monitor = make_monitor(channels=(make_channel(),))
    assert flags_of(opened(monitor, key="variant=a", labels={"variant": "a"})) == {Flag.MAINTENANCE}
    assert flags_of(opened(monitor, key="variant=b", labels={"variant": "b"})) == set()


@pytest.mark.django_db
def test_window_by_rest_is_made_read_changed_and_removed() -> None:
    client = client_with(Scope.INCIDENTS_READ, Scope.INCIDENTS_WRITE)
    body = {
        "name": "restart",
        "repeats": "weekly",
        "weekdays": "sat",
        "start": "22:00",
        "zone": "Europe/Berlin",
    }
    made = post(client, "maintenance-windows", {**body, "duration_seconds": 14_400}, 201)
    assert made["words"] == "every Saturday 22:00–02:00 Europe/Berlin"
    assert made["created_by"] == "API key “ci”"
    assert made["next"]["starts_at"] > made["starts_at"]
    path = f"maintenance-windows/{made['id']}"
    assert patch(client, path, {"matchers": 'variant="a"'})["matchers"][0]["name"] == "variant"
    assert get(client, path)["weekdays"] == "sat"
    assert [one["id"] for one in get(client, "maintenance-windows")["results"]] == [made["id"]]
    assert post(client, "maintenance-windows", body, 409)["field"] == "name"
    assert patch(client, path, {"weekdays": "noday"}, 400)["field"] == "weekdays"
    assert client.delete(f"/api/v1/{path}").status_code == 204
    get(client, path, 404)


@pytest.mark.django_db
def test_window_by_rest_needs_the_scope() -> None:
    reader = client_with(Scope.INCIDENTS_READ)
    post(reader, "maintenance-windows", {"name": "x"}, 403)
