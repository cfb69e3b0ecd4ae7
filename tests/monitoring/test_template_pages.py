"""Message templates in the admin: checked, previewed, and honest about what is broken."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from monitoring.admin.message_templates import EXAMPLES, SAMPLE, START_BODY, START_TITLE
from monitoring.models import MessageTemplate
from monitoring.templating import texts
from tests.monitoring.factories import make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db

ADD = "admin:monitoring_messagetemplate_add"


def preview(client: Client, **given: str) -> str:
    answer = client.post(reverse("admin:monitoring_messagetemplate_preview"), given)
    assert answer.status_code == 200
    return answer.content.decode()


def test_text_to_start_from_is_usable_and_says_the_facts() -> None:
    assert texts.check(START_TITLE, START_BODY) == []
    written = texts.render(START_TITLE, START_BODY, [SAMPLE, SAMPLE])
    assert written.title == "FIRING: helpfulness fell for claude-2 (2 in all)"
    assert "Effect: 0.84 against 0.91" in written.body
    assert written.body.count("https://") == 2


def test_every_listed_name_may_stand_in_a_text() -> None:
    for names, _, _ in EXAMPLES:
        for name in names.split(", for")[0].split(", "):
            assert texts.check("x", "{{ " + name + " }}") == [], name


def test_preview_is_made_on_the_chosen_incident(admin_client: Client) -> None:
    monitor = make_monitor()
    first = make_incident(monitor, title="first one")
    make_incident(monitor, title="second one", slice_key="other")
    given = {"title": "{{ incident.title }}", "body": "<i>{{ incident.effect_text }}</i>"}
    assert "second one" in preview(admin_client, **given)
    shown = preview(admin_client, incident=str(first.pk), **given)
    assert "first one" in shown
    assert "0.700 against 0.800" in shown
    assert "<i>" not in shown


def test_preview_without_any_incident_is_made_on_a_sample(admin_client: Client) -> None:
    assert "helpfulness fell for claude-2" in preview(admin_client, title="{{ incident.title }}", body="x")


def test_preview_of_a_broken_text_names_the_line(admin_client: Client) -> None:
    shown = preview(admin_client, title="x", body="one\n{% load x %}")
    assert "body, line 2" in shown
    assert "the built-in text would be sent" in shown


def test_broken_text_is_not_saved_and_says_where(admin_client: Client) -> None:
    given = {"name": "own", "title": "x", "body": "one\n\n{{ incident.nothing }}"}
    shown = admin_client.post(reverse(ADD), given).content.decode()
    assert "line 3" in shown
    assert not MessageTemplate.objects.exists()


def test_template_that_broke_says_so_until_it_is_changed(admin_client: Client) -> None:
    template = MessageTemplate.objects.create(
        name="own", title="x", body="y", broken_reason="body, line 1: it takes too many steps", broken_at=timezone.now()
    )  # fmt: skip
    make_channel(template=template)
    address = reverse("admin:monitoring_messagetemplate_change", args=[template.pk])
    shown = admin_client.get(address).content.decode()
    assert "the built-in text was sent instead: body, line 1: it takes too many steps" in shown
    assert "Used by" in shown
    assert admin_client.post(address, {"name": "own", "title": "x", "body": "z"}).status_code == 302
    template.refresh_from_db()
    assert (template.broken_reason, template.broken_at, template.body) == ("", None, "z")


def test_template_pages_open_within_ten_queries(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    monitor = make_monitor()
    for number in range(5):
        make_incident(monitor, slice_key=f"s{number}")
        template = MessageTemplate.objects.create(name=f"t{number}", title="x", body="y")
        make_channel(f"c{number}", template=template)
    for address in (
        reverse(ADD),
        reverse("admin:monitoring_messagetemplate_changelist"),
        reverse("admin:monitoring_messagetemplate_change", args=[template.pk]),
    ):
        admin_client.get(address)
        with django_assert_max_num_queries(10):
            assert admin_client.get(address).status_code == 200


def test_preview_is_for_who_may_see_templates(client: Client, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))
    answer = client.post(reverse("admin:monitoring_messagetemplate_preview"), {"title": "x", "body": "y"})
    assert answer.status_code == 403
