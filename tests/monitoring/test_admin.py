from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from monitoring import checks, tasks
from monitoring.channels.webhook import new_secret
from monitoring.models import (
    Channel,
    Incident,
    IncidentState,
    MessageKind,
    Monitor,
    MonitorState,
    OutboxMessage,
    Resolution,
)
from monitoring.notifying import messages
from tests.monitoring.factories import (
    add_bucket,
    bucket_at,
    close,
    make_channel,
    make_incident,
    make_metric,
    make_monitor,
    now_after,
)

pytestmark = pytest.mark.django_db

DIALOG = {"_form_submitted": "on"}


@pytest.fixture(autouse=True)
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No broker is asked; how often delivery would have been woken."""
    found: list[str] = []
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: found.append("woken"))
    return found


@pytest.fixture
def incident() -> Incident:
    """A real one, with slices, evaluations, events and messages."""
    make_monitor(split_by=["variant"], channels=(make_channel("a"), make_channel("b", kind="slack")))
    for number in range(12):
        for variant in ("one", "two", "three"):
            add_bucket(number, 0.85 if number < 6 or variant != "two" else 0.5, variant=variant)
    close(11)
    checks.run_due(now_after(11))
    return Incident.objects.get()


def page(client: Client, name: str, *args: Any) -> str:
    answer = client.get(reverse(f"admin:monitoring_{name}", args=args))
    assert answer.status_code == 200
    return answer.content.decode()


def act(client: Client, model: str, pk: object, action: str, **given: str) -> Any:
    address = reverse(f"admin:monitoring_{model}_{action}", args=[pk])
    return client.post(address, {**DIALOG, **given}, headers={"HX-Request": "true"})


@pytest.mark.parametrize(
    "name",
    [
        "monitor_changelist",
        "monitor_add",
        "incident_changelist",
        "channel_changelist",
        "channel_add",
        "outboxmessage_changelist",
    ],
)
def test_page_opens_with_few_queries(
    name: str, incident: Incident, admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    page(admin_client, name)
    with django_assert_max_num_queries(10):
        page(admin_client, name)


@pytest.mark.parametrize("model", ["monitor", "incident", "channel", "outboxmessage"])
def test_change_page_opens_with_few_queries(
    model: str,
    incident: Incident,
    admin_client: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    first = {"monitor": Monitor, "incident": Incident, "channel": Channel, "outboxmessage": OutboxMessage}[
        model
    ]
    row = first.objects.first()  # type: ignore[attr-defined]
    page(admin_client, f"{model}_change", row.pk)
    with django_assert_max_num_queries(10):
        page(admin_client, f"{model}_change", row.pk)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("monitor_changelist", "Make the first monitor"),
        ("channel_changelist", "Make the first channel"),
        ("incident_changelist", "What is watched"),
        ("outboxmessage_changelist", "Every message to a channel will appear here"),
    ],
)
def test_empty_list_says_what_will_appear_and_where_to_go(
    name: str, words: str, admin_client: Client
) -> None:
    assert words in page(admin_client, name)


def test_incident_page_begins_with_the_answer_and_shows_numbers_and_tellings(
    incident: Incident, admin_client: Client
) -> None:
    shown = page(admin_client, "incident_change", incident.pk)
    assert "Helpfulness is below 0.8 for variant two: 0.500 against 0.800: -0.300" in shown
    assert "and nobody has acknowledged it" in shown
    assert "chart-data-metric" in shown
    assert "chart-data-evidence" in shown
    assert "Who was told" in shown
    assert "none yet" in shown


def test_monitor_page_begins_with_the_answer(incident: Incident, admin_client: Client) -> None:
    shown = page(admin_client, "monitor_change", incident.monitor_id)
    assert "Helpfulness is below 0.8 for variant two, since 2026-03-01 12:30 UTC: " in shown
    assert "at most 1 false alarm in 30 days" in shown
    assert "variant three" in shown


def test_monitor_list_says_evidence_and_state(incident: Incident, admin_client: Client) -> None:
    shown = page(admin_client, "monitor_changelist")
    assert "incident open" in shown
    make_monitor(name="quiet", state=MonitorState.PAUSED, started_at=None)
    assert "Paused" in page(admin_client, "monitor_changelist")


def test_incident_is_acknowledged_by_the_person_who_says_so(
    incident: Incident,
    admin_client: Client,
    admin_user: User,
    django_capture_on_commit_callbacks: Any,
    wakes: list[str],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = act(admin_client, "incident", incident.pk, "acknowledge")
    assert answer.headers["HX-Redirect"] == reverse("admin:monitoring_incident_change", args=[incident.pk])
    incident.refresh_from_db()
    assert (incident.state, incident.acknowledged_by) == (IncidentState.ACKNOWLEDGED, admin_user)
    assert wakes == ["woken"]
    assert "admin" in page(admin_client, "incident_change", incident.pk)


def test_incident_is_resolved_with_a_reason_and_a_note(incident: Incident, admin_client: Client) -> None:
    act(admin_client, "incident", incident.pk, "resolve", resolution="expected", note="we changed the prompt")
    incident.refresh_from_db()
    assert (incident.state, incident.resolution) == (IncidentState.RESOLVED, Resolution.EXPECTED)
    shown = page(admin_client, "incident_change", incident.pk)
    assert "we changed the prompt" in shown
    assert "Over after" in shown
    assert "Helpfulness was below 0.8 for variant two" in shown


def test_incident_without_a_reason_stays_open(incident: Incident, admin_client: Client) -> None:
    answer = act(admin_client, "incident", incident.pk, "resolve", resolution="because")
    assert "Select a valid choice" in answer.content.decode()
    incident.refresh_from_db()
    assert incident.is_open


def test_incident_dialog_that_is_only_looked_at_changes_nothing(
    incident: Incident, admin_client: Client
) -> None:
    for action in ("acknowledge", "resolve"):
        admin_client.get(reverse(f"admin:monitoring_incident_{action}", args=[incident.pk]))
    incident.refresh_from_db()
    assert incident.state == IncidentState.FIRING


def test_incident_cannot_be_changed_by_a_person_who_may_only_look(incident: Incident, client: Client) -> None:
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert act(client, "incident", incident.pk, "resolve", resolution="fixed").status_code == 403
    incident.refresh_from_db()
    assert incident.is_open


@pytest.mark.parametrize("model", ["monitor", "incident", "channel", "outboxmessage"])
@pytest.mark.parametrize("pk", ["notauuid", "0", "01890000-0000-7000-8000-000000000000"])
def test_change_page_of_what_does_not_exist_leads_home_as_django_does(
    model: str, pk: str, admin_client: Client
) -> None:
    answer = admin_client.get(reverse(f"admin:monitoring_{model}_change", args=[pk]))
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("admin:index"))


@pytest.mark.parametrize(
    ("model", "action"),
    [("incident", "acknowledge"), ("incident", "resolve"), ("outboxmessage", "replay")],
)
@pytest.mark.parametrize("pk", ["notauuid", "01890000-0000-7000-8000-000000000000"])
def test_action_on_what_does_not_exist_finds_nothing(
    model: str, action: str, pk: str, admin_client: Client
) -> None:
    assert act(admin_client, model, pk, action, resolution="fixed").status_code == 404


def form(**changes: Any) -> dict[str, Any]:
    values = {
        "name": "floor", "description": "", "kind": "slo_guard", "metric": "helpfulness", "where": "", "max_slices": "10",
        "parameter_slo_guard_level": "0.8", "parameter_slo_guard_margin": "0.05", "reference_mode": "pinned",
        "reference_days": "28", "reference_gap_hours": "24", "stale_after_days": "90", "control": "",
        "alarms_per_30_days": "1", "weight": "1", "severity": "error", "runbook_url": "", "resolve_after_buckets": "3",
        "recovery_n_min": "20", "hold_seconds": "300",
    }  # fmt: skip
    return values | changes


def test_monitor_made_in_the_admin_learns_first_and_shows_the_next_step(admin_client: Client) -> None:
    make_metric()
    channel = make_channel()
    given = form(
        where="experiment = e1\n model=gpt-4 ", split_by=["variant", "language"], channels=[channel.pk]
    )
    answer = admin_client.post(reverse("admin:monitoring_monitor_add"), given)
    assert answer.status_code == 302, answer.content.decode()
    monitor = Monitor.objects.get()
    assert answer.headers["Location"] == reverse("admin:monitoring_monitor_change", args=[monitor.pk])
    assert monitor.parameters == {"level": 0.8, "margin": 0.05}
    assert monitor.where == {"experiment": "e1", "model": "gpt-4"}
    assert monitor.split_by == ["variant", "language"]
    assert list(monitor.channels.all()) == [channel]
    assert (monitor.state, monitor.started_at) == (MonitorState.LEARNING, None)
    shown = page(admin_client, "monitor_change", monitor.pk)
    assert "Not watching yet" in shown
    assert reverse("admin:monitoring_monitor_backtest", args=[monitor.pk]) in shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parameter_slo_guard_level": ""}, "This field is required"),
        ({"parameter_slo_guard_level": "2"}, "between 0 and 1"),
        ({"parameter_slo_guard_margin": "-1"}, "cannot be negative"),
        ({"parameter_slo_guard_level": "high"}, "Enter a number"),
        ({"kind": "rate"}, "is no share of records"),
        ({"kind": "distribution", "parameter_distribution_side": "sideways"}, "Select a valid choice"),
        (
            {"kind": "distribution", "parameter_distribution_ignore_shift": "4"},
            "beyond 3 standard deviations",
        ),
        ({"kind": "distribution", "reference_mode": "variant"}, "which records it is compared with"),
        (
            {"kind": "distribution", "reference_mode": "variant", "control": "planet = mars"},
            "“planet” is not one of",
        ),
        ({"where": "planet = mars"}, "“planet” is not one of"),
        ({"where": "model"}, "not of the form"),
        ({"split_by": ["language", "channel"]}, "one attribute at a time"),
        ({"alarms_per_30_days": "0"}, "greater than or equal to"),
        ({"metric": "unheard"}, "Select a valid choice"),
        ({"runbook_url": "javascript:alert(1)"}, "Enter a valid URL"),
    ],
)
def test_monitor_form_with_a_mistake_says_what_is_wrong(
    changes: dict[str, Any], words: str, admin_client: Client
) -> None:
    make_metric()
    answer = admin_client.post(reverse("admin:monitoring_monitor_add"), form(**changes))
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Monitor.objects.exists()


def test_monitor_form_with_a_mistake_in_a_kind_that_was_not_chosen_is_taken(admin_client: Client) -> None:
    make_metric()
    given = form(parameter_burn_rate_objective="", parameter_distribution_ignore_shift="a lot")
    assert admin_client.post(reverse("admin:monitoring_monitor_add"), given).status_code == 302
    assert Monitor.objects.get().parameters == {"level": 0.8, "margin": 0.05}


def test_monitor_form_without_a_budget_takes_a_share_of_the_common_one(admin_client: Client) -> None:
    make_metric()
    given = form(alarms_per_30_days="", kind="distribution", parameter_distribution_side="worse")
    assert admin_client.post(reverse("admin:monitoring_monitor_add"), given).status_code == 302
    monitor = Monitor.objects.get()
    assert (monitor.alarms_per_30_days, monitor.parameters) == (None, {"side": "worse"})


def test_monitor_form_of_an_unclassified_metric_says_what_to_do(admin_client: Client) -> None:
    make_metric(kind="discovered", low=None, high=None)
    answer = admin_client.post(reverse("admin:monitoring_monitor_add"), form())
    assert "Classify" in answer.content.decode()


def test_channel_with_a_private_address_is_refused_where_it_was_typed(admin_client: Client) -> None:
    given = {
        "name": "x",
        "kind": "webhook",
        "url": "https://user:pw@example.org/",
        "secret": "short",
        "is_enabled": "on",
    }
    shown = admin_client.post(reverse("admin:monitoring_channel_add"), given).content.decode()
    assert "must not carry a user name" in shown
    assert "The secret" in shown
    assert not Channel.objects.exists()


def test_channel_form_offers_a_new_secret(admin_client: Client) -> None:
    shown = page(admin_client, "channel_add")
    assert "whsec_" in shown
    assert "copy it before you save" in shown


SECRET_URL = "https://hooks.slack.com/services/T0/B0/only-we-know"


@pytest.mark.parametrize("kind", ["webhook", "slack"])
@pytest.mark.parametrize("permission", ["view_channel", "change_channel"])
def test_channel_page_never_shows_stored_secrets(kind: str, permission: str, client: Client) -> None:
    channel = make_channel(kind=kind, url=SECRET_URL)
    person = User.objects.create_user("guest", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename=permission))
    client.force_login(person)
    shown = page(client, "channel_change", channel.pk)
    assert "https://hooks.slack.com/…" in shown
    assert "only-we-know" not in shown
    assert channel.secret not in shown
    assert ("whsec_" in shown) == (permission == "change_channel" and kind == "webhook")


def test_channel_form_with_empty_secrets_keeps_what_is_stored(admin_client: Client) -> None:
    channel = make_channel(url=SECRET_URL)
    address = reverse("admin:monitoring_channel_change", args=[channel.pk])
    given = {"name": "renamed", "kind": "webhook", "url": "", "secret": "", "is_enabled": "on"}
    assert admin_client.post(address, given).status_code == 302
    kept = Channel.objects.get()
    assert (kept.name, kept.url, kept.secret) == ("renamed", SECRET_URL, channel.secret)


def test_channel_form_with_new_secrets_stores_them(admin_client: Client) -> None:
    channel = make_channel(url=SECRET_URL)
    address = reverse("admin:monitoring_channel_change", args=[channel.pk])
    new = {"url": "https://example.org/new", "secret": new_secret()}
    assert admin_client.post(address, {"name": "x", "kind": "webhook"} | new).status_code == 302
    assert Channel.objects.values("url", "secret").get() == new


@pytest.mark.parametrize("given", [{"kind": "slack", "url": ""}, {"kind": "webhook", "url": SECRET_URL}])
def test_channel_form_without_address_or_secret_makes_no_channel(
    given: dict[str, str], admin_client: Client
) -> None:
    given |= {"name": "x", "secret": ""}
    assert admin_client.post(reverse("admin:monitoring_channel_add"), given).status_code == 200
    assert not Channel.objects.exists()


def test_channel_test_is_a_message_on_its_way(
    admin_client: Client, django_capture_on_commit_callbacks: Any, wakes: list[str]
) -> None:
    channel = make_channel()
    with django_capture_on_commit_callbacks(execute=True):
        answer = act(admin_client, "channel", channel.pk, "send_test")
    message = OutboxMessage.objects.get()
    assert (message.channel, message.kind) == (channel, MessageKind.TEST)
    assert answer.headers["HX-Redirect"] == reverse(
        "admin:monitoring_channel_outcome", args=[channel.pk, message.pk]
    )
    assert wakes == ["woken"]


def test_channel_enabled_again_forgets_why_it_was_disabled(admin_client: Client) -> None:
    channel = make_channel(is_enabled=False, disabled_reason="gone")
    assert "gone" in page(admin_client, "channel_changelist")
    act(admin_client, "channel", channel.pk, "enable")
    channel.refresh_from_db()
    assert (channel.is_enabled, channel.disabled_reason) == (True, "")


def test_dead_message_is_sent_again(incident: Incident, admin_client: Client) -> None:
    OutboxMessage.objects.update(status="dead", reason="answered 400")
    first, second = OutboxMessage.objects.all()
    act(admin_client, "outboxmessage", first.pk, "replay")
    first.refresh_from_db()
    assert first.status == "pending"
    given = {"action": "replay_selected", "_selected_action": [str(first.pk), str(second.pk)]}
    admin_client.post(reverse("admin:monitoring_outboxmessage_changelist"), given)
    second.refresh_from_db()
    assert second.status == "pending"


def test_delivery_page_shows_every_attempt_with_its_answer(admin_client: Client) -> None:
    incident = make_incident(make_monitor(channels=(make_channel(),)))
    [message] = messages.enqueue(incident, MessageKind.TRIGGER, now=bucket_at(2))
    message.attempts.create(
        number=1,
        started_at=bucket_at(2),
        seconds=0.2,
        outcome="failed",
        status_code=503,
        answer="<b>busy</b>",
    )
    shown = page(admin_client, "outboxmessage_change", message.pk)
    assert "503" in shown
    assert "&lt;b&gt;busy&lt;/b&gt;" in shown
