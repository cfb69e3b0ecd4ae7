"""Lists begin with an answer, and tabs are called after what is in them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from monitoring.models import (
    ChannelHealth,
    Hours,
    InhibitRule,
    MaintenanceWindow,
    MessageTemplate,
    OutboxMessage,
)
from tests.monitoring.factories import make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db


def first_line(client: Client, name: str, django_assert_max_num_queries: Any) -> str:
    address = reverse(f"admin:monitoring_{name}_changelist")
    client.get(address)
    with django_assert_max_num_queries(10):
        html = client.get(address).content.decode()
    found = re.search(r'<p class="to-sentence to-\w+"[^>]*><span[^>]*>\w+</span><span>([^<]+)</span>', html)
    assert found, name
    return found[1]


def incident() -> None:
    make_incident(make_monitor())


def failing_channel() -> None:
    ChannelHealth.objects.create(channel=make_channel("hook"), last_failure_at=timezone.now())


def dead_message() -> None:
    now = timezone.now()
    OutboxMessage.objects.create(
        channel=make_channel(), seq=1, kind="trigger", payload={}, dedup_key="x", status="dead", not_before=now,
        created_at=now, expires_at=now,
    )  # fmt: skip


def open_window() -> None:
    now = timezone.now()
    MaintenanceWindow.objects.create(
        name="deploy", repeats="once", starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1)
    )


def broken_template() -> None:
    MessageTemplate.objects.create(name="short", title="x", body="y", broken_reason="no such word")


@pytest.mark.parametrize(
    ("name", "prepare", "without", "with_one"),
    [
        ("incident", incident, "No incident is open.", "1 incident is open; it needs somebody."),
        ("channel", failing_channel, "There is no channel yet", "1 of 1 channel needs a look (“hook”"),
        ("outboxmessage", dead_message, "Nothing was given up in 24 hours", "1 message was given up"),
        (
            "maintenancewindow",
            open_window,
            "No maintenance window is open",
            "1 window is open now: “deploy”.",
        ),
        (
            "inhibitrule",
            lambda: InhibitRule.objects.create(name="own"),
            "No rule of your own",
            "1 rule of your own",
        ),
        ("messagetemplate", broken_template, "Every channel says the built-in text.", "“short” is broken"),
        (
            "hours",
            lambda: Hours.objects.create(name="always", ranges="00:00-24:00", zone="UTC"),
            "There are no hours",
            "Now is within “always”.",
        ),
    ],
)
def test_list_begins_with_an_answer(
    name: str,
    prepare: Any,
    without: str,
    with_one: str,
    admin_client: Client,
    django_assert_max_num_queries: Any,
) -> None:
    assert without in first_line(admin_client, name, django_assert_max_num_queries)
    prepare()
    assert with_one in first_line(admin_client, name, django_assert_max_num_queries)


def test_list_has_a_name_in_its_tab_and_no_odd_words_when_empty(admin_client: Client) -> None:
    html = admin_client.get(reverse("admin:monitoring_incident_changelist")).content.decode()
    assert re.search(r"<title>\s*Incidents \| TriageOps\s*</title>", html)
    assert "yielded into no results" not in html
    assert "Nothing here yet" in html
    found = admin_client.get(reverse("admin:monitoring_incident_changelist"), {"q": "zebra"})
    assert "No incident fits what was searched for and filtered by." in found.content.decode()
