"""The pages of channels: forms by kind, health, test, secrets, enabling."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from monitoring import tasks
from monitoring.models import (
    Channel,
    ChannelHealth,
    DeliveryAttempt,
    DeliveryAudit,
    EscalationStep,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Route,
)
from monitoring.reading import channel_health
from monitoring.reading.channel_health import Condition
from tests.monitoring.factories import make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db

ADD = "admin:monitoring_channel_add"


@pytest.fixture(autouse=True)
def wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker is asked."""
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: None)


def message(
    channel: Channel, *, ago: float = 60, status: str = MessageStatus.DELIVERED, **changes: Any
) -> OutboxMessage:
    """One that was written `ago` seconds ago, and delivered after 2 s."""
    at = timezone.now() - timedelta(seconds=ago)
    values = {
        "channel": channel, "seq": 1, "kind": MessageKind.TRIGGER, "payload": {}, "dedup_key": "x", "status": status,
        "not_before": at, "created_at": at, "expires_at": at + timedelta(days=1),
        "delivered_at": at + timedelta(seconds=2) if status == MessageStatus.DELIVERED else None,
    }  # fmt: skip
    return OutboxMessage.objects.create(**values | changes)


def attempt(of: OutboxMessage, outcome: str = "delivered", **changes: Any) -> DeliveryAttempt:
    values = {
        "message": of,
        "number": of.attempts.count() + 1,
        "started_at": of.created_at,
        "outcome": outcome,
        "seconds": 0.1,
    }
    return DeliveryAttempt.objects.create(**values | changes)


def form(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def names_in(html: str) -> set[str]:
    return set(re.findall(r'<(?:input|textarea|select)[^>]* name="(\w+)"', html))


@pytest.mark.parametrize(
    ("kind", "own", "not_own"),
    [
        ("webhook", {"url", "secret"}, {"recipients", "inbound_secret"}),
        ("slack", {"url"}, {"recipients", "inbound_secret", "secret"}),
        ("pagerduty", {"url", "secret", "inbound_secret"}, {"recipients"}),
        ("alertmanager", {"url", "secret"}, {"recipients", "inbound_secret"}),
        ("email", {"recipients"}, {"url", "secret", "inbound_secret"}),
        ("inbox", {"name"}, {"url", "secret", "inbound_secret", "recipients"}),
    ],
)
def test_form_of_a_kind_has_its_fields_only(
    kind: str, own: set[str], not_own: set[str], admin_client: Client
) -> None:
    for address in (
        reverse(ADD) + f"?kind={kind}",
        reverse("admin:monitoring_channel_change", args=[make_channel(kind=kind).pk]),
    ):
        names = names_in(form(admin_client, address))
        assert own <= names
        assert not names & not_own


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"kind": "pagerduty", "secret": "short"}, "has 32 characters"),
        ({"kind": "slack", "url": "https://ada:pw@example.org/x"}, "must not carry a user name"),
        ({"kind": "slack", "url": ""}, "This field is required"),
        ({"kind": "email", "recipients": "ada@example.org, nobody"}, "These are not addresses: nobody"),
        ({"kind": "email", "recipients": "ada@example.org\nBcc: x@example.org"}, "These are not addresses"),
        ({"kind": "alertmanager", "url": "https://example.org", "secret": "whsec_abc"}, "signing secret"),
        ({"kind": "slack", "url": "https://169.254.169.254/x"}, "is not a public address"),
        ({"kind": "slack", "url": "http://example.org/x"}, "Only https:// is used"),
        ({"kind": "slack", "url": "https://example.org:22/x"}, "Port 22 is not used"),
    ],
)
def test_wrong_value_of_a_kind_is_refused_where_it_was_typed(
    given: dict[str, str], wrong: str, admin_client: Client
) -> None:
    shown = admin_client.post(reverse(ADD), {"name": "x", **given}).content.decode()
    assert wrong in shown
    assert not Channel.objects.exists()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"kind": "pagerduty", "secret": "a" * 32, "url": ""}, {"secret": "a" * 32, "url": ""}),
        ({"kind": "slack", "url": "https://hooks.slack.com/services/T/B/x"}, {"secret": ""}),
        ({"kind": "email", "recipients": "ada@example.org, bob@example.org"}, {"url": "", "secret": ""}),
        ({"kind": "inbox"}, {"url": "", "secret": ""}),
        ({"kind": "alertmanager", "url": "https://am.example.org", "secret": ""}, {"secret": ""}),
    ],
)
def test_channel_of_each_kind_is_made(
    given: dict[str, str], stored: dict[str, str], admin_client: Client
) -> None:
    answer = admin_client.post(reverse(ADD), {"name": "x", **given})
    made = Channel.objects.get()
    assert answer.headers["Location"] == reverse("admin:monitoring_channel_change", args=[made.pk])
    assert (made.kind, {name: getattr(made, name) for name in stored}) == (given["kind"], stored)


def test_kind_of_a_channel_cannot_be_changed(admin_client: Client) -> None:
    channel = make_channel()
    address = reverse("admin:monitoring_channel_change", args=[channel.pk])
    admin_client.post(address, {"name": "x", "kind": "slack", "url": "", "secret": ""})
    channel.refresh_from_db()
    assert (channel.name, channel.kind) == ("x", "webhook")


def test_another_host_asks_for_the_secret_anew(admin_client: Client) -> None:
    channel = make_channel(kind="alertmanager", url="https://am.example.org", secret="user:password")
    address = reverse("admin:monitoring_channel_change", args=[channel.pk])
    given = {"name": "ops", "kind": "alertmanager", "secret": ""}
    shown = admin_client.post(address, given | {"url": "https://evil.example.net"}).content.decode()
    assert "say the secret anew" in shown
    assert Channel.objects.get().url == "https://am.example.org"
    admin_client.post(address, given | {"url": "https://am.example.org/sub"})
    after = Channel.objects.get()
    assert (after.url, after.secret) == ("https://am.example.org/sub", "user:password")
    admin_client.post(address, given | {"url": "https://evil.example.net", "secret": "token"})
    after = Channel.objects.get()
    assert (after.url, after.secret) == ("https://evil.example.net", "token")


def test_pagerduty_page_says_where_its_webhook_goes(admin_client: Client) -> None:
    channel = make_channel(kind="pagerduty", secret="a" * 32)
    shown = form(admin_client, reverse("admin:monitoring_channel_change", args=[channel.pk]))
    assert f"/api/v1/hooks/pagerduty/{channel.pk}" in shown
    assert "None is stored yet" in shown


def test_new_secret_is_shown_once_and_the_former_one_stays_for_a_day(admin_client: Client) -> None:
    channel = make_channel()
    before = channel.secret
    address = reverse("admin:monitoring_channel_new_secret", args=[channel.pk])
    assert "whsec_" not in form(admin_client, address)
    answer = admin_client.post(address)
    channel.refresh_from_db()
    assert channel.secret in answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    assert (channel.previous_secret, channel.secret != before) == (before, True)
    assert channel.secret not in form(
        admin_client, reverse("admin:monitoring_channel_change", args=[channel.pk])
    )


def test_receivers_own_secret_is_not_replaced(admin_client: Client) -> None:
    channel = make_channel(kind="pagerduty", secret="a" * 32)
    admin_client.post(reverse("admin:monitoring_channel_new_secret", args=[channel.pk]))
    channel.refresh_from_db()
    assert channel.secret == "a" * 32


def test_channel_is_disabled_with_a_reason_and_enabled_again(admin_client: Client) -> None:
    channel = make_channel()
    act(admin_client, channel, "disable", reason="moves to another host")
    channel.refresh_from_db()
    assert (channel.is_enabled, channel.disabled_reason) == (False, "moves to another host")
    act(admin_client, channel, "enable")
    channel.refresh_from_db()
    assert (channel.is_enabled, channel.disabled_reason) == (True, "")


def act(client: Client, channel: Channel, action: str, **given: str) -> Any:
    address = reverse(f"admin:monitoring_channel_{action}", args=[channel.pk])
    return client.post(address, {"_form_submitted": "on", **given}, headers={"HX-Request": "true"})


@pytest.mark.parametrize(
    ("status", "tried", "said", "asks_again"),
    [
        (MessageStatus.PENDING, {}, "is on its way", True),
        (MessageStatus.DELIVERED, {}, "arrived: the receiver took it in", False),
        (
            MessageStatus.PENDING,
            {"outcome": "failed"},
            "did not arrive yet, and is tried again: answered 500",
            True,
        ),
        (MessageStatus.DEAD, {"outcome": "refused"}, "did not arrive: answered 500", False),
    ],
)
def test_outcome_of_a_test_asks_again_until_it_is_known(
    status: str,
    tried: dict[str, str],
    said: str,
    asks_again: bool,
    admin_client: Client,
) -> None:
    channel = make_channel()
    sent = message(
        channel, status=status, kind=MessageKind.TEST, reason="answered 500", attempt_count=len(tried)
    )
    if tried or status == MessageStatus.DELIVERED:
        attempt(sent, answer="<oops>", status_code=500, **tried)
    address = reverse("admin:monitoring_channel_outcome", args=[channel.pk, sent.pk])
    part = admin_client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert said in part
    assert ("every 1s" in part) == asks_again
    assert "<oops>" not in part
    assert said in form(admin_client, address)


def test_health_of_a_channel_counts_attempts_and_seconds() -> None:
    channel, now = make_channel(), timezone.now()
    for number in range(3):
        attempt(message(channel, ago=100 + number))
    failed = attempt(
        message(channel, status=MessageStatus.PENDING, ago=50), "failed", reason="answered 500", answer="no"
    )
    attempt(message(channel, ago=90_000))
    message(channel, status=MessageStatus.SUPPRESSED)
    found = channel_health.read(now)[0]
    assert (found.attempt_count, found.failed_count, found.success_share) == (4, 1, 0.75)
    assert found.median_seconds == pytest.approx(2.0, abs=0.01)
    assert found.delivered_count == 3
    assert (found.waiting.due, found.waiting.held) == (1, 1)
    assert found.last_failure == failed


@pytest.mark.parametrize(
    ("health", "condition"),
    [
        ({}, Condition.UNUSED),
        ({"last_success_at": 0}, Condition.WORKS),
        ({"failure_count": 2, "last_failure_at": 0}, Condition.FAILING),
        ({"failure_count": 5, "closed_until": 30}, Condition.RESTING),
        ({"refilled_at": 30, "last_success_at": 0}, Condition.HELD),
        # Refusals for good are no failures in a row, and yet nobody is told.
        ({"last_failure_at": 0}, Condition.REFUSING),
        ({"last_failure_at": 0, "last_success_at": -5}, Condition.REFUSING),
        ({"last_failure_at": -5, "last_success_at": 0}, Condition.WORKS),
    ],
)
def test_condition_of_a_channel_is_what_to_know_first(health: dict[str, Any], condition: Condition) -> None:
    now, channel = timezone.now(), make_channel()
    values = {
        name: now + timedelta(seconds=value) if name.endswith(("_at", "_until")) else value
        for name, value in health.items()
    }
    ChannelHealth.objects.create(channel=channel, **values)
    assert channel_health.read(now)[0].condition == condition


def test_channels_of_the_product_itself_are_not_among_those_of_people() -> None:
    make_channel("receipt", kind="sink", url="")
    assert channel_health.read(timezone.now()) == []


def test_messages_that_wait_too_long_are_seen() -> None:
    message(make_channel(), status=MessageStatus.PENDING, ago=300)
    assert channel_health.read(timezone.now())[0].condition == Condition.BEHIND


def test_health_page_says_who_fails_and_what_the_audit_found(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now()
    for number in range(5):
        channel = make_channel(f"c{number}")
        attempt(message(channel), "failed", reason="answered 500", answer="<b>no</b>")
        ChannelHealth.objects.create(
            channel=channel, failure_count=5 if number == 0 else 0, closed_until=now + timedelta(minutes=5) if number == 0 else None,
            last_success_at=now,
        )  # fmt: skip
    DeliveryAudit.objects.create(
        audited_at=now,
        incident_count=3,
        findings=[
            {"kind": "untold", "text": "nobody was told", "incident": "", "channel": None, "fails": True}
        ],
    )
    address = reverse("admin:monitoring_channel_health")
    admin_client.get(address)
    with django_assert_max_num_queries(10):
        shown = form(admin_client, address)
    assert "1 of 5 channels does not take messages (“c0”)" in shown
    assert "found 1 thing that must not be" in shown
    assert "<b>no</b>" not in shown


def test_channel_page_opens_within_ten_queries_and_says_what_uses_it(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    channel = make_channel()
    attempt(message(channel), "failed", reason="answered 500")
    make_monitor(channels=(channel,))
    route = Route.objects.create(name="everything")
    route.channels.add(channel)
    step = EscalationStep.objects.create(route=route, number=1, after_seconds=300)
    step.channels.add(channel)
    address = reverse("admin:monitoring_channel_change", args=[channel.pk])
    uses = reverse("admin:monitoring_channel_own_health", args=[channel.pk])
    admin_client.get(address)
    for one in (address, uses):
        with django_assert_max_num_queries(10):
            form(admin_client, one)
    shown = form(admin_client, uses)
    assert all(
        text in shown for text in ("everything</a>", "Step 1", "helpfulness floor", "Halted experiments")
    )


def test_health_is_for_who_may_see_channels(client: Client, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))
    for name, args in (
        ("channel_health", []),
        ("channel_own_health", [make_channel().pk]),
        ("usefulness", []),
        ("numbers", []),
    ):
        assert client.get(reverse(f"admin:monitoring_{name}", args=args)).status_code == 403


def test_health_of_a_channel_that_refuses_everything_does_not_say_that_it_works(admin_client: Client) -> None:
    channel = make_channel("hook")
    attempt(
        message(channel, status=MessageStatus.DEAD),
        "refused",
        reason="no connection: HTTPSConnection(host='x', port=443): [Errno 111] Connection refused",
    )
    ChannelHealth.objects.create(channel=channel, last_failure_at=timezone.now(), last_reason="answered 404")
    shown = form(admin_client, reverse("admin:monitoring_channel_health"))
    assert "1 of 1 channel does not take messages (“hook”)" in shown
    assert "It did not take the last message, which is not sent again. It has taken nothing yet." in shown
    assert "no connection: Connection refused" in shown
    own = form(admin_client, reverse("admin:monitoring_channel_change", args=[channel.pk]))
    assert "Circuit breaker" not in own
    assert "to-sentence to-harm" in own
    assert "did not take its last message" in form(admin_client, reverse("admin:monitoring_inbox"))


def test_health_page_counts_what_waits_for_later(admin_client: Client) -> None:
    later = timezone.now() + timedelta(minutes=5)
    channel = make_channel()
    for _ in range(8):
        message(channel, status=MessageStatus.PENDING, not_before=later)
    shown = form(admin_client, reverse("admin:monitoring_channel_health"))
    assert "nothing is due, but 8 messages have their time still to come" in shown
    assert "nothing waits" not in shown


def test_email_channel_of_a_deployment_without_a_mail_server_says_so(
    admin_client: Client, settings: Settings
) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = "django.core.mail.backends.smtp.EmailBackend", ""
    channel = make_channel(kind="email", url="", recipients="ada@example.org")
    warning = "this deployment knows no mail server"
    assert warning in form(admin_client, reverse(ADD) + "?kind=email")
    address = reverse("admin:monitoring_channel_change", args=[channel.pk])
    assert warning in form(admin_client, address)
    settings.EMAIL_HOST = "mail.example.org"
    assert warning not in form(admin_client, address)


def test_list_of_channels_shows_port_and_brackets_of_the_host_but_no_path(admin_client: Client) -> None:
    make_channel(url="https://[2001:4860::1]:8443/secret")
    shown = form(admin_client, reverse("admin:monitoring_channel_changelist"))
    assert "[2001:4860::1]:8443" in shown
    assert "/secret" not in shown


def test_missing_value_is_said_once(admin_client: Client) -> None:
    shown = admin_client.post(reverse(ADD), {"name": "x", "kind": "pagerduty", "secret": ""}).content.decode()
    assert "This field is required" in shown
    assert "has 32 characters." not in shown


def test_page_of_a_channel_shows_port_and_brackets_of_its_address(admin_client: Client) -> None:
    channel = make_channel(url="https://[2001:4860::1]:8443/secret")
    shown = form(admin_client, reverse("admin:monitoring_channel_change", args=[channel.pk]))
    assert "https://[2001:4860::1]:8443/…" in shown


def test_pages_offer_no_link_to_deliveries_to_who_may_not_see_them(
    client: Client, django_user_model: Any
) -> None:
    channel = make_channel()
    attempt(message(channel), "failed", reason="answered 500")
    guest = django_user_model.objects.create_user("guest", is_staff=True)
    guest.user_permissions.set(Permission.objects.filter(codename__in=["view_channel", "view_incident"]))
    client.force_login(guest)
    incident = make_incident(make_monitor(channels=(channel,)))
    message(channel, incident=incident)
    for address in (
        reverse("admin:monitoring_channel_health"),
        reverse("admin:monitoring_channel_change", args=[channel.pk]),
        reverse("admin:monitoring_incident_change", args=[incident.pk]),
        reverse("admin:monitoring_incident_told", args=[incident.pk]),
    ):
        assert "/outboxmessage/" not in form(client, address)


@pytest.mark.parametrize(
    ("status", "is_said"),
    [
        (MessageStatus.PENDING, True),
        (MessageStatus.DELIVERED, False),
        (MessageStatus.DEAD, False),
    ],
)
def test_delivery_says_when_it_is_given_up_only_while_it_may_be_sent(
    status: str, is_said: bool, admin_client: Client
) -> None:
    sent = message(make_channel(), status=status)
    shown = form(admin_client, reverse("admin:monitoring_outboxmessage_change", args=[sent.pk]))
    assert (sent.expires_at.isoformat() in shown) == is_said
