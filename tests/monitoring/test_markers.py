from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring.models import Marker
from tests.monitoring.callers import patch, post, writer
from tests.monitoring.usage import guest

pytestmark = pytest.mark.django_db

ADD = "admin:monitoring_marker_add"
LIST = "admin:monitoring_marker_changelist"


def form(start: datetime, hours: float = 1, **changes: Any) -> dict[str, Any]:
    end = start + timedelta(hours=hours)
    return {
        "kind": "deploy",
        "name": "release 4.2",
        "starts_at_0": f"{start:%Y-%m-%d}",
        "starts_at_1": f"{start:%H:%M:%S}",
        "ends_at_0": f"{end:%Y-%m-%d}",
        "ends_at_1": f"{end:%H:%M:%S}",
        "where": "",
    } | changes


def make(name: str, hours_from_now: float) -> Marker:
    start = timezone.now() + timedelta(hours=hours_from_now)
    return Marker.objects.create(
        kind="maintenance", name=name, starts_at=start, ends_at=start + timedelta(hours=1)
    )


def test_marker_is_added_with_where_and_by_whom(admin_client: Client, admin_user: User) -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    answer = admin_client.post(
        reverse(ADD), form(start, where="endpoint = /triage\nmodel=gpt-4"), follow=True
    )
    marker = Marker.objects.get()
    assert (marker.starts_at, marker.ends_at) == (start, start + timedelta(hours=1))
    assert marker.where == {"endpoint": "/triage", "model": "gpt-4"}
    assert marker.created_by == admin_user
    assert "Buckets of time that were checked already stay as they were judged." in answer.content.decode()


def test_marker_may_lie_in_the_future(admin_client: Client) -> None:
    start = timezone.now() + timedelta(days=3)
    answer = admin_client.post(reverse(ADD), form(start), follow=True)
    assert Marker.objects.get().starts_at > timezone.now()
    assert "were checked already stay" not in answer.content.decode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hours": -1}, "It has to end after it begins."),
        ({"hours": 7 * 24 + 1}, "lasts at most 7 days, because nothing is found under it."),
        ({"hours": 31 * 24 + 1, "kind": "holiday"}, "lasts at most 31 days"),
        ({"where": "planet = mars"}, "“planet” is not one of"),
        ({"where": "model"}, "not of the form"),
        ({"name": ""}, "This field is required"),
        ({"starts_at_0": ""}, "This field is required"),
    ],
)
def test_marker_with_a_mistake_is_not_added(
    changes: dict[str, Any], words: str, admin_client: Client
) -> None:
    answer = admin_client.post(reverse(ADD), form(timezone.now(), **changes))
    assert words in answer.content.decode()
    assert not Marker.objects.exists()


def test_marker_of_a_long_holiday_is_added(admin_client: Client) -> None:
    assert admin_client.post(reverse(ADD), form(timezone.now(), 31 * 24, kind="holiday")).status_code == 302
    assert Marker.objects.exists()


def test_marker_of_a_slip_of_the_pen_is_refused_by_rest_too() -> None:
    body = {"kind": "deploy", "name": "release 4.2", "minutes": 8 * 24 * 60}
    assert "at most 7 days" in post(writer(), "markers", body, 400)["detail"]
    marker = make("release", 1)
    later = (marker.starts_at + timedelta(days=8)).isoformat()
    assert patch(writer(), f"markers/{marker.pk}", {"ends_at": later}, 400)["field"] == "ends_at"


def test_marker_that_is_changed_keeps_who_added_it(admin_client: Client) -> None:
    marker = make("release", 1)
    address = reverse("admin:monitoring_marker_change", args=[marker.pk])
    start = timezone.now() + timedelta(days=1)
    assert admin_client.post(address, form(start, name="later")).status_code == 302
    marker.refresh_from_db()
    assert (marker.name, marker.created_by) == ("later", None)


def test_marker_list_says_which_freezes_now(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make("yesterday", -24)
    make("now", -0.5)
    make("tomorrow", 24)
    admin_client.get(reverse(LIST))
    with django_assert_max_num_queries(10):
        shown = admin_client.get(reverse(LIST)).content.decode()
    assert shown.count("freezes evidence now") == 1
    assert "to come" in shown
    assert "over</span>" in shown
    assert "everywhere" in shown


def test_marker_list_is_empty_at_first_and_says_what_it_is_for(admin_client: Client) -> None:
    shown = admin_client.get(reverse(LIST)).content.decode()
    assert "Add the first marker" in shown
    assert "are no evidence" in shown


def test_marker_is_never_deleted_and_only_added_by_who_may(client: Client, admin_client: Client) -> None:
    marker = make("release", 1)
    assert admin_client.get(reverse("admin:monitoring_marker_delete", args=[marker.pk])).status_code == 403
    client.force_login(guest("view_marker"))
    assert "release" in client.get(reverse(LIST)).content.decode()
    assert client.post(reverse(ADD), form(timezone.now())).status_code == 403
