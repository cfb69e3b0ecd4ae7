"""Pages of silences, maintenance windows, inhibitions, and the calendar."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring.admin.silence_form import monday_morning
from monitoring.models import InhibitRule, MaintenanceWindow, Silence
from monitoring.quiet import silences
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import HOUR, opened, over, silenced, told
from tests.monitoring.usage import guest

pytestmark = pytest.mark.django_db

LIST = "admin:monitoring_silence_changelist"
ADD = "admin:monitoring_silence_add"
CALENDAR = "admin:monitoring_calendar"


def shown(client: Client, name: str, query: str = "", *args: Any) -> str:
    answer = client.get(reverse(name, args=args) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def form(**changes: Any) -> dict[str, Any]:
    return {
        "matchers": 'monitor="helpfulness floor"',
        "length": "7200",
        "comment": "being repaired",
        "zone": "UTC",
    } | changes


def test_list_without_silences_says_what_will_be_there(admin_client: Client) -> None:
    page = shown(admin_client, LIST)
    assert "Nothing is silenced now." in page
    assert reverse(ADD) in page


def test_list_says_what_each_silence_holds_back_and_until_when(admin_client: Client) -> None:
    now = timezone.now()
    silenced(now=now)
    silenced('variant="none"', now=now, comment="<b>for later</b>", starts_at=now + HOUR)
    incident = opened(make_monitor(channels=(make_channel(),)), now=now)
    page = shown(admin_client, LIST)
    assert "1 silence holds back 1 open incident now." in page
    assert reverse("admin:monitoring_incident_change", args=[incident.pk]) in page
    assert "To come" in page
    assert "&lt;b&gt;for later&lt;/b&gt;" in page


def test_list_of_many_silences_takes_few_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        silenced(f'variant="v{number}"', now=timezone.now())
    opened(make_monitor(), now=timezone.now())
    shown(admin_client, LIST)
    with django_assert_max_num_queries(10):
        shown(admin_client, LIST)


def test_silence_is_made_by_the_form(admin_client: Client, django_capture_on_commit_callbacks: Any) -> None:
    incident = opened(make_monitor(channels=(make_channel(),)), now=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(reverse(ADD), form())
    assert answer.status_code == 302
    silence = Silence.objects.get()
    assert silence.created_by == "admin"
    assert abs(silence.ends_at - timezone.now() - 2 * HOUR) < timedelta(minutes=1)
    assert told(incident) == [("trigger", "suppressed")]


def test_form_shows_what_it_would_hold_back_before_anything_is_made(admin_client: Client) -> None:
    opened(make_monitor(), now=timezone.now())
    page = admin_client.post(reverse(ADD), form(step="preview")).content.decode()
    assert "This suppresses 1 open incident:" in page
    assert not Silence.objects.exists()
    part = shown(admin_client, "admin:monitoring_silence_preview", "?matchers=monitor%3D~%22help.*%22")
    assert "This suppresses 1 open incident:" in part
    assert "<html" not in part
    assert "At character" in shown(admin_client, "admin:monitoring_silence_preview", "?matchers=monitor")


def test_form_of_an_incident_begins_with_what_only_it_has(admin_client: Client) -> None:
    incident = opened(make_monitor(), now=timezone.now(), key="variant=a", labels={"variant": 'a"<'})
    opened(make_monitor(name="other"), now=timezone.now(), key="variant=a", labels={"variant": 'a"<'})
    page = shown(admin_client, ADD, f"?incident={incident.pk}")
    assert f"incident_id=&quot;{incident.pk}&quot;" in page
    assert "This suppresses 1 open incident:" in page


def test_form_of_an_incident_that_is_over_says_so(admin_client: Client) -> None:
    incident = opened(make_monitor(), now=timezone.now())
    over(incident, now=timezone.now())
    page = shown(admin_client, ADD, f"?incident={incident.pk}")
    assert "This incident is over" in page
    assert str(incident.pk) not in page.partition("<form")[2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"matchers": "monitor"}, "an operator is missing"),
        ({"matchers": 'monitor!="x"'}, "must not match the empty string"),
        ({"comment": ""}, "This field is required"),
        ({"length": "own"}, "Say until when."),
        ({"length": "own", "ends_at_0": "2020-01-01", "ends_at_1": "00:00"}, "cannot be in the past"),
        ({"length": "7"}, "not one of the available choices"),
    ],
)
def test_form_refuses_what_cannot_be_meant(changes: dict[str, Any], said: str, admin_client: Client) -> None:
    answer = admin_client.post(reverse(ADD), form(**changes))
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Silence.objects.exists()


@pytest.mark.parametrize(
    ("after", "zone", "expected"),
    [
        ("2026-11-28T12:00", "UTC", "2026-11-30T09:00"),
        ("2026-11-30T08:59", "UTC", "2026-11-30T09:00"),
        ("2026-11-30T09:00", "UTC", "2026-12-07T09:00"),
        ("2026-03-28T12:00", "Europe/Berlin", "2026-03-30T07:00"),  # the clock changes in between
        ("2026-11-29T20:00", "Pacific/Auckland", "2026-12-06T20:00"),
    ],
)
def test_monday_morning_is_that_of_the_reader(after: str, zone: str, expected: str) -> None:
    found = monday_morning(datetime.fromisoformat(after).replace(tzinfo=UTC), zone)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_silence_is_changed_ended_and_made_again(admin_client: Client) -> None:
    silence = silenced(now=timezone.now())
    address = reverse("admin:monitoring_silence_change", args=[silence.pk])
    assert "being repaired" in admin_client.get(address).content.decode()
    assert admin_client.post(address, form(comment="longer", length="86400")).status_code == 302
    silence.refresh_from_db()
    assert silence.comment == "longer"
    page = admin_client.post(reverse(LIST), {"end": str(silence.pk)}, follow=True).content.decode()
    assert "What is still true is told now." in page
    silence.refresh_from_db()
    assert silence.ended_by == "admin"
    assert (
        "This silence ended"
        in admin_client.post(reverse(LIST), {"end": str(silence.pk)}, follow=True).content.decode()
    )
    assert (
        "Silenced again"
        in admin_client.post(reverse(LIST), {"again": str(silence.pk)}, follow=True).content.decode()
    )
    assert Silence.objects.active(timezone.now()).get().matchers == silence.matchers
    assert (
        "no such silence" in admin_client.post(reverse(LIST), {"end": "junk"}, follow=True).content.decode()
    )


def test_ending_asks_first_and_says_what_will_be_told(admin_client: Client) -> None:
    now = timezone.now()
    ops = make_channel("ops")
    silence = silenced(now=now)
    silenced('variant="b"', now=now, created_by="bo")
    monitor = make_monitor(channels=(ops,))
    waits = opened(monitor, now=now, key="variant=a", labels={"variant": "a"}, title="waits alone")
    opened(monitor, now=now, key="variant=b", labels={"variant": "b"}, title="held twice")
    address = reverse("admin:monitoring_silence_end", args=[silence.pk])
    assert address in shown(admin_client, LIST)
    page = admin_client.get(address).content.decode()
    assert "When it is ended now, 1 open incident will be told to ops." in page
    assert f"{waits.title}</a> to ops" in page
    assert "held twice</a>: a silence by bo" in page
    silence.refresh_from_db()
    assert silence.ends_at > now
    silences.end(silence.pk, by="ada", now=now)
    assert "It has ended" in admin_client.get(address, follow=True).content.decode()


def test_ending_one_that_has_not_begun_tells_nothing(admin_client: Client) -> None:
    silence = silenced(now=timezone.now(), starts_at=timezone.now() + HOUR)
    opened(make_monitor(channels=(make_channel(),)), now=timezone.now())
    address = reverse("admin:monitoring_silence_end", args=[silence.pk])
    assert "It has not begun" in admin_client.get(address).content.decode()


def test_who_may_only_look_changes_nothing(client: Client) -> None:
    silence = silenced(now=timezone.now())
    client.force_login(guest("view_silence"))
    page = shown(client, LIST)
    assert "End now" not in page
    assert "New silence" not in page
    assert client.post(reverse(LIST), {"end": str(silence.pk)}).status_code == 403
    assert client.get(reverse(ADD)).status_code == 403
    assert client.get(reverse("admin:monitoring_silence_end", args=[silence.pk])).status_code == 403
    shown(client, CALENDAR)


def test_who_may_look_at_nothing_sees_neither_list_nor_calendar(client: Client) -> None:
    client.force_login(guest())
    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(reverse(CALENDAR)).status_code == 403


def window(**changes: Any) -> dict[str, Any]:
    return {
        "name": "restart", "matchers": "", "repeats": "weekly", "zone": "Europe/Berlin", "weekdays": "sat", "month_day": "",
        "start": "22:00", "hours": "4", "starts_at_0": "2026-01-01", "starts_at_1": "00:00", "ends_at_0": "", "ends_at_1": "",
        "comment": "", "is_enabled": "on",
    } | changes  # fmt: skip


def test_window_is_planned_and_listed_in_plain_words(admin_client: Client) -> None:
    answer = admin_client.post(
        reverse("admin:monitoring_maintenancewindow_add"), window(matchers='variant="a"')
    )
    assert answer.status_code == 302
    made = MaintenanceWindow.objects.get()
    assert (made.duration_seconds, made.created_by) == (14_400, "admin")
    page = shown(admin_client, "admin:monitoring_maintenancewindow_changelist")
    assert "every Saturday 22:00–02:00 Europe/Berlin" in page
    assert "variant=&quot;a&quot;" in page
    address = reverse("admin:monitoring_maintenancewindow_change", args=[made.pk])
    assert admin_client.post(address, window(hours="0.5")).status_code == 302
    made.refresh_from_db()
    assert (made.duration_seconds, made.matchers) == (1800, [])
    remove = reverse("admin:monitoring_maintenancewindow_delete", args=[made.pk])
    assert admin_client.post(remove, {"post": "yes"}).status_code == 302
    assert not MaintenanceWindow.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weekdays": "noday"}, "is no day of the week"),
        ({"zone": "Mars"}, "There is no time zone"),
        ({"repeats": "once"}, "needs its end"),
        ({"repeats": "monthly"}, "Choose a day of the month"),
        ({"matchers": "x"}, "an operator is missing"),
        ({"start": ""}, "needs the time of day"),
    ],
)
def test_window_that_cannot_be_meant_is_refused(
    changes: dict[str, Any], said: str, admin_client: Client
) -> None:
    answer = admin_client.post(reverse("admin:monitoring_maintenancewindow_add"), window(**changes))
    assert said in answer.content.decode()
    assert not MaintenanceWindow.objects.exists()


def test_rule_of_inhibition_is_kept_as_it_is_written(admin_client: Client) -> None:
    body = {
        "name": "r", "source_matchers": 'severity="critical"', "target_matchers": 'severity=~"error|warning"',
        "equal": "service, variant", "is_enabled": "on",
    }  # fmt: skip
    assert admin_client.post(reverse("admin:monitoring_inhibitrule_add"), body).status_code == 302
    rule = InhibitRule.objects.get()
    assert rule.equal == ["service", "variant"]
    page = shown(admin_client, "admin:monitoring_inhibitrule_change", "", rule.pk)
    assert "severity=~&quot;error|warning&quot;" in page
    assert "service, variant" in page


def test_calendar_shows_silences_and_windows_by_day_in_its_zone(admin_client: Client) -> None:
    start = datetime(2026, 3, 27, 20, tzinfo=UTC)
    silenced(now=start, ends_at=start + 30 * HOUR)
    MaintenanceWindow.objects.create(
        name="restart", repeats="weekly", weekdays="sat", start="22:00", duration_seconds=4 * 3600, zone="Europe/Berlin",
        starts_at=start - 90 * 24 * HOUR, created_by="bo",
    )  # fmt: skip
    page = shown(admin_client, CALENDAR, "?view=week&day=2026-03-28&zone=Europe/Berlin")
    assert "23 March to 29 March 2026" in page
    assert "21:00–24:00" in page  # the silence begins
    assert "all day" in page
    # 22:00 until the clock leaps: four hours later it shows 03:00.
    assert "22:00–24:00" in page
    assert "00:00–03:00" in page
    month = shown(admin_client, CALENDAR, "?view=month&day=2026-03-28")
    assert "March 2026" in month
    assert month.count("restart") >= 5


@pytest.mark.parametrize(
    "query", ["", "?view=odd&day=junk&zone=No/Where", "?day=9999-12-31", "?day=0001-01-01&view=month"]
)
def test_calendar_opens_whatever_is_asked(query: str, admin_client: Client) -> None:
    page = shown(admin_client, CALENDAR, query)
    assert "Nothing is silenced in this" in page
    assert "plan a maintenance window" in page


def test_calendar_takes_few_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        silenced(f'variant="v{number}"', now=timezone.now())
    shown(admin_client, CALENDAR)
    with django_assert_max_num_queries(10):
        shown(admin_client, CALENDAR)
