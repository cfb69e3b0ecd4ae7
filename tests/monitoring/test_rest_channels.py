"""REST: channels and deliveries. Secrets are shown once."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from feedback.models import Scope
from monitoring.channels.webhook import key_of
from monitoring.models import Channel, ChannelHealth, DeliveryAttempt, MessageTemplate, OutboxMessage
from tests.monitoring.callers import client_with, get, patch, post
from tests.monitoring.factories import START, make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db

HOOK: dict[str, Any] = {"name": "ops", "kind": "webhook", "url": "https://example.org/hook/very-secret"}
PAGER: dict[str, Any] = {"name": "pager", "kind": "pagerduty", "secret": "r" * 32}


@pytest.fixture
def api() -> Client:
    return client_with(Scope.ROUTING_READ, Scope.ROUTING_WRITE)


def test_channel_shows_its_secret_once_and_its_address_never(api: Client) -> None:
    made = post(api, "channels", HOOK, 201)
    stored = Channel.objects.get()
    assert made["secret"] == stored.secret
    assert len(key_of(stored.secret)) == 32
    for body in (made, get(api, f"channels/{made['id']}"), get(api, "channels")["results"][0]):
        assert body["url"] == "https://example.org/…"
        assert "very-secret" not in str(body)
    assert stored.secret not in str(get(api, f"channels/{made['id']}"))


@pytest.mark.parametrize(
    "body",
    [
        PAGER | {"inbound_secret": "from PagerDuty"},
        {"name": "mail", "kind": "email", "recipients": "ann@example.org"},
        {"name": "chat", "kind": "slack", "url": "https://hooks.slack.com/services/T/B/x"},
        {"name": "alerts", "kind": "alertmanager", "url": "https://alerts.example.org"},
        {"name": "inbox", "kind": "inbox"},
    ],
    ids=lambda body: body["kind"],
)
def test_channel_of_each_kind_is_made_without_showing_what_was_given(
    api: Client, body: dict[str, Any]
) -> None:
    Channel.objects.all().delete()
    made = post(api, "channels", body, 201)
    assert made["secret"] == ""
    assert made["has_secret"] == bool(body.get("secret"))
    assert made["has_inbound_secret"] == bool(body.get("inbound_secret"))
    assert Channel.objects.get().secret == body.get("secret", "")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (HOOK | {"nam": "x"}, "nam"),
        (HOOK | {"kind": "odd"}, "kind"),
        (HOOK | {"url": "ftp://example.org"}, "url"),
        (HOOK | {"url": "https://ann:pw@example.org"}, "url"),
        (HOOK | {"url": ""}, "url"),
        (HOOK | {"secret": "whsec_short"}, "secret"),
        (HOOK | {"recipients": "ann@example.org"}, "recipients"),
        (HOOK | {"inbound_secret": "x"}, "inbound_secret"),
        (HOOK | {"template": "unknown"}, "template"),
        (HOOK | {"is_enabled": "yes"}, "is_enabled"),
        (PAGER | {"secret": "short"}, "secret"),
        ({"name": "mail", "kind": "email"}, "recipients"),
        ({"name": "mail", "kind": "email", "recipients": "ann"}, "recipients"),
        ({"name": "mail", "kind": "email", "recipients": "ann@example.org", "url": "https://e.org"}, "url"),
        ({"kind": "inbox"}, "name"),
    ],
)
def test_wrong_channel_is_refused_by_name(api: Client, body: dict[str, Any], field: str) -> None:
    assert post(api, "channels", body, 400)["field"] == field
    assert not Channel.objects.filter(name=body.get("name")).exists()


def test_name_of_another_channel_is_a_conflict(api: Client) -> None:
    post(api, "channels", HOOK, 201)
    assert post(api, "channels", HOOK, 409)["type"] == "/problems/name-taken"


def test_channel_is_changed_by_what_is_said(api: Client) -> None:
    made = post(api, "channels", HOOK, 201)
    MessageTemplate.objects.create(name="short", title="{{ title }}", body="{{ title }}")
    before = Channel.objects.get()
    body = patch(
        api, f"channels/{made['id']}", {"name": "night", "template": "short", "takes_experiments": False}
    )
    assert (body["name"], body["template"], body["takes_experiments"]) == ("night", "short", False)
    after = Channel.objects.get()
    assert (after.secret, after.url) == (before.secret, before.url)
    assert patch(api, f"channels/{made['id']}", {"template": None})["template"] is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"kind": "slack"}, "kind"), ({"url": "https://example.org/…"}, "url"), ({"secret": "x"}, "secret")],
)
def test_wrong_change_of_a_channel_is_refused(api: Client, changes: dict[str, Any], field: str) -> None:
    made = post(api, "channels", HOOK, 201)
    assert patch(api, f"channels/{made['id']}", changes, 400)["field"] == field


AM: dict[str, Any] = {
    "name": "am", "kind": "alertmanager", "url": "https://am.example.org/a", "secret": "user:password",
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "url"),
    [
        (AM, "https://evil.example.net/a"),
        (AM, "https://am.example.org:8443/a"),
        (PAGER, "https://evil.example.net/v2/enqueue"),
        (PAGER | {"url": "https://events.eu.pagerduty.com/v2/enqueue"}, ""),
    ],
)
def test_stored_secret_is_not_sent_to_another_host_unless_it_is_said_anew(
    api: Client, body: dict[str, Any], url: str
) -> None:
    made = post(api, "channels", body, 201)
    before = Channel.objects.get()
    assert patch(api, f"channels/{made['id']}", {"url": url}, 400)["field"] == "secret"
    assert Channel.objects.get().url == before.url
    patch(api, f"channels/{made['id']}", {"url": url, "secret": "n" * 32})
    after = Channel.objects.get()
    assert (after.url, after.secret) == (url, "n" * 32)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (AM, {"url": "https://am.example.org/b"}),
        (AM, {"url": "https://am.example.org:443/a", "name": "x"}),
        (AM, {"url": "https://evil.example.net", "secret": ""}),
        (AM | {"secret": ""}, {"url": "https://evil.example.net"}),
        (HOOK, {"url": "https://other.example.net/hook"}),
        (PAGER, {"url": "https://events.pagerduty.com/v2/enqueue"}),
        ({"name": "s", "kind": "slack", "url": "https://hooks.slack.com/a"}, {"url": "https://hooks.example.net/b"}),
    ],
)  # fmt: skip
def test_address_can_be_changed_where_no_secret_goes_to_another_host(
    api: Client, body: dict[str, Any], changes: dict[str, Any]
) -> None:
    made = post(api, "channels", body, 201)
    patch(api, f"channels/{made['id']}", changes)
    assert Channel.objects.get().url == changes["url"]


def test_channel_is_disabled_and_enabled(api: Client) -> None:
    made = post(api, "channels", HOOK, 201)
    Channel.objects.update(disabled_reason="gone")
    assert post(api, f"channels/{made['id']}/disable")["is_enabled"] is False
    body = post(api, f"channels/{made['id']}/enable")
    assert (body["is_enabled"], body["disabled_reason"]) == (True, "")


def test_channel_tells_the_health_of_its_receiver(api: Client) -> None:
    made = post(api, "channels", HOOK, 201)
    assert made["health"] is None
    ChannelHealth.objects.create(channel_id=made["id"], failure_count=3, last_reason="answered 500")
    health = get(api, f"channels/{made['id']}")["health"]
    assert (health["failure_count"], health["last_reason"], health["closed_until"]) == (
        3,
        "answered 500",
        None,
    )


def test_test_of_a_channel_is_a_delivery(api: Client) -> None:
    made = post(api, "channels", HOOK, 201)
    sent = post(api, f"channels/{made['id']}/test", status=202)
    delivery = get(api, f"deliveries/{sent['delivery']}")
    assert (delivery["kind"], delivery["channel"], delivery["incident"]) == ("test", "ops", None)


def test_secret_is_renewed_while_the_old_one_still_signs(api: Client) -> None:
    made = post(api, "channels", HOOK, 201)
    before = timezone.now()
    body = post(api, f"channels/{made['id']}/rotate-secret")
    channel = Channel.objects.get()
    assert body["secret"] == channel.secret != made["secret"]
    assert channel.previous_secret == made["secret"]
    assert channel.previous_secret_until is not None
    assert timedelta(hours=24) <= channel.previous_secret_until - before < timedelta(hours=25)


def test_secret_of_the_receiver_is_not_renewed_here(api: Client) -> None:
    made = post(api, "channels", PAGER, 201)
    assert post(api, f"channels/{made['id']}/rotate-secret", status=409)["type"] == "/problems/no-own-secret"


@pytest.mark.parametrize("move", ["", "/test", "/enable", "/disable", "/rotate-secret"])
def test_unknown_channel_is_not_found_and_scopes_are_asked_for(api: Client, move: str) -> None:
    call = get if not move else post
    assert call(api, f"channels/987{move}", status=404)["type"] == "/problems/not-found"
    assert call(client_with(Scope.INCIDENTS_WRITE), f"channels/987{move}", status=403)["type"]


def make_message(**changes: Any) -> OutboxMessage:
    values: dict[str, Any] = {
        "seq": 1,
        "kind": "trigger",
        "payload": {"title": "x", "at": "2026-03-01T12:00:00Z"},
        "dedup_key": "k",
        "not_before": START,
        "created_at": START,
        "expires_at": START,
    }
    return OutboxMessage.objects.create(**values | changes)


def test_deliveries_are_found_and_read_with_what_the_receiver_answered(api: Client) -> None:
    channel, other = make_channel("a"), make_channel("b")
    incident = make_incident(make_monitor())
    message = make_message(channel=channel, incident=incident, status="dead", because="route “all”")
    make_message(channel=other, incident=incident, kind="resolve", seq=2)
    DeliveryAttempt.objects.create(
        message=message, number=1, started_at=START, outcome="refused", status_code=400, answer="no"
    )

    def found(query: str) -> list[str]:
        return [row["channel"] for row in get(api, f"deliveries?{query}")["results"]]

    assert found("") == ["b", "a"]
    assert found("status=dead") == found("channel=a") == found("kind=trigger") == ["a"]
    assert found(f"incident={incident.pk}") == ["b", "a"]
    assert found(f"incident={uuid4()}") == []
    assert get(api, "deliveries?incident=x", 400)["field"] == "incident"
    assert get(api, "deliveries?stat=dead", 400)["field"] == "stat"
    body = get(api, f"deliveries/{message.pk}")
    assert (body["because"], body["payload"]["title"]) == ("route “all”", "x")
    assert [(one["status_code"], one["answer"]) for one in body["attempts"]] == [(400, "no")]


def test_dead_delivery_is_sent_again_and_a_live_one_is_not(api: Client) -> None:
    message = make_message(channel=make_channel(), status="dead")
    assert post(api, f"deliveries/{message.pk}/replay")["status"] == "pending"
    assert post(api, f"deliveries/{message.pk}/replay", status=409)["type"] == "/problems/not-replayable"
    assert post(api, f"deliveries/{uuid4()}/replay", status=404)["type"] == "/problems/not-found"
    assert post(client_with(Scope.ROUTING_READ), f"deliveries/{message.pk}/replay", status=403)["type"]
