"""That everybody is told who is to be told, and what is said where that cannot be proven."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from monitoring import endpoints, incidents
from monitoring.history import flags
from monitoring.models import (
    Channel,
    ChannelHealth,
    DeliveryAudit,
    Flag,
    Hours,
    Incident,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Route,
    Source,
)
from monitoring.outgoing import auditor, delivery, escalation, recording
from tests.monitoring.deliveries import T0, Clock, over, reported, tell
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.receiver import Receiver, answer
from tests.monitoring.silencing import opened
from triageops.observability.metrics import exported

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording._random, "uniform", lambda low, high: 1.0)


@pytest.fixture
def channel(receiver: Receiver) -> Channel:
    return make_channel(url=receiver.url)


def found(clock: Clock) -> list[str]:
    return [one.kind for one in auditor.audit(clock())]


def own() -> list[str]:
    return list(
        Incident.objects.open().filter(source=Source.SELF).order_by("id").values_list("slice_key", flat=True)
    )


def test_audit_finds_that_the_channel_of_the_product_tells_nobody(clock: Clock) -> None:
    sink = make_channel("receipt", kind="sink", url="")
    incident = opened(make_monitor(channels=(sink,)), now=T0)
    assert incident.messages.get().channel == sink
    assert found(clock) == ["nobody"]
    delivery.deliver_due(clock)
    assert found(clock) == ["nobody"]


def test_audit_of_delivered_scheduled_and_held_messages_passes(channel: Channel, clock: Clock) -> None:
    reported("delivered")
    delivery.deliver_due(clock)
    reported("scheduled")
    held = reported("held")
    flags.flag(held, Flag.SILENCED, why="quiet", now=clock())
    held.messages.update(status=MessageStatus.SUPPRESSED)
    assert found(clock) == []
    audit = DeliveryAudit.objects.get()
    assert (audit.passed_at, audit.incident_count, audit.findings) == (T0, 3, [])
    assert own() == []


def test_incident_without_a_message_is_told_by_the_audit_once(channel: Channel, clock: Clock) -> None:
    incident = reported()
    OutboxMessage.objects.all().delete()
    assert found(clock) == []
    message = incident.messages.get()
    assert (message.channel, message.kind) == (channel, MessageKind.TRIGGER)
    assert incident.events.get(kind="rerouted").details["told"] == ["ops"]
    clock.pass_by(minutes=1)
    assert found(clock) == []
    assert incident.messages.count() == 1


def test_incident_whose_message_is_given_up_is_found_and_told_and_is_over_when_it_is_told(
    channel: Channel, clock: Clock
) -> None:
    reported()
    OutboxMessage.objects.update(status=MessageStatus.DEAD)
    assert found(clock) == ["undelivered"]
    audit = DeliveryAudit.objects.get()
    assert audit.passed_at is None
    assert own() == ["delivery"]
    assert "disk is full" in Incident.objects.get(source=Source.SELF).annotations["description"]
    clock.pass_by(minutes=1)
    assert found(clock) == ["undelivered"]
    over(now=clock())
    assert found(clock) == []
    assert own() == []


def test_incident_that_no_channel_is_chosen_for_is_listed_and_does_not_fail(clock: Clock) -> None:
    reported(severity="critical")
    assert found(clock) == ["nobody"]
    audit = DeliveryAudit.objects.get()
    assert audit.passed_at == T0
    assert audit.findings[0]["fails"] is False


def test_dead_message_whose_alternative_was_not_told_is_found(
    channel: Channel, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported()
    receiver.script.append(answer(400))
    with monkeypatch.context() as patched:
        patched.setattr("monitoring.outgoing.escalation.next_after_dead", lambda *_: 1 / 0)
        delivery.deliver_due(clock)
    assert found(clock) == ["undelivered"]


def test_dead_message_whose_alternative_was_told_is_not_found(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    make_channel("other", url=receiver.url + "2", takes_experiments=False)
    reported()
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    assert found(clock) == []


def test_message_that_is_held_by_nothing_is_found(channel: Channel, clock: Clock) -> None:
    reported()
    OutboxMessage.objects.update(status=MessageStatus.SUPPRESSED)
    assert found(clock) == ["held"]


def test_message_that_nobody_sends_is_found_after_five_minutes(channel: Channel, clock: Clock) -> None:
    reported()
    clock.pass_by(minutes=4)
    assert found(clock) == []
    clock.pass_by(minutes=1)
    assert found(clock) == ["overdue"]


def test_message_that_waits_for_a_rest_a_pause_or_a_disabled_channel_is_not_overdue(
    channel: Channel, clock: Clock
) -> None:
    reported()
    clock.pass_by(minutes=6)
    endpoints.known([channel.pk])
    for changes in (
        {"closed_until": clock() + timedelta(minutes=1)},
        {"closed_until": None, "tokens": 1.0, "refilled_at": clock() + timedelta(minutes=1)},
    ):
        ChannelHealth.objects.update(**changes)
        assert found(clock) == []
    ChannelHealth.objects.update(refilled_at=None)
    Incident.objects.update(severity="warning")
    Channel.objects.update(is_enabled=False)
    assert found(clock) == []


@pytest.mark.parametrize("severity", ["critical", "error"])
def test_severe_incident_whose_only_channel_is_disabled_fails_the_audit(
    channel: Channel, clock: Clock, severity: str
) -> None:
    Channel.objects.update(is_enabled=False)
    reported(severity=severity)
    assert found(clock) == ["undelivered"]
    audit = DeliveryAudit.objects.get()
    assert audit.passed_at is None
    assert "the channels that are to be told are disabled" in audit.findings[0]["text"]
    Channel.objects.update(is_enabled=True)
    assert found(clock) == []
    assert own() == []


def test_incident_that_nobody_heard_of_since_no_channel_took_it_fails_the_audit_until_it_is_over(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    incident = reported(severity="critical")
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    clock.pass_by(minutes=30)
    escalation.due(clock())
    assert incident.events.get(kind="undelivered").details["told"] == []
    assert found(clock) == ["undelivered"]
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    assert found(clock) == ["undelivered"], (
        "that the audit's own incident is not heard is not another finding"
    )
    over(now=clock())
    assert found(clock) == []
    assert own() == []


def test_severe_incident_that_only_waits_for_a_late_retry_fails_the_audit_after_a_quarter_of_an_hour(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported()
    receiver.script.append(answer(503, Retry_After="43200"))
    delivery.deliver_due(clock)
    clock.pass_by(minutes=14)
    assert found(clock) == []
    clock.pass_by(minutes=1)
    assert found(clock) == ["undelivered"]


def test_severe_incident_that_waits_for_hours_is_not_unheard(channel: Channel, clock: Clock) -> None:
    office = Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-17:00")
    Route.objects.create(name="all", hours=office, outside="wait").channels.set([channel])
    reported(severity="critical")
    clock.pass_by(hours=1)
    assert found(clock) == []


def test_dead_message_of_an_incident_that_somebody_heard_of_or_takes_care_of_is_not_found(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("heard")
    delivery.deliver_due(clock)
    for number in range(2):
        tell(Incident.objects.get(slice_key="heard"), channel, MessageKind.TRIGGER, clock())
        receiver.script.append(answer(400))
        delivery.deliver_due(clock)
        clock.pass_by(minutes=number)
    known = reported("known", now=clock())
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    incidents.acknowledge(known.pk, actor="anna", now=clock())
    assert [one.about for one in auditor.audit(clock())] == []


def test_channel_of_a_kind_that_is_not_known_is_an_incident(channel: Channel, clock: Clock) -> None:
    make_channel("other", takes_experiments=False)
    Channel.objects.filter(pk=channel.pk).update(kind="gone")
    make_channel("canary", kind="sink", url="", takes_experiments=False)
    found(clock)
    assert own() == [f"channel:{channel.pk}"]
    incident = Incident.objects.get(source=Source.SELF)
    assert "“gone” is no kind of channel" in incident.annotations["description"]
    assert incident.messages.filter(channel__name="other").count() == 1


def test_second_message_that_waits_for_the_first_is_not_overdue_by_itself(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported(severity="warning")
    receiver.script.append(answer(503, Retry_After="1200"))
    delivery.deliver_due(clock)
    reported(severity="critical")
    clock.pass_by(minutes=10)
    assert found(clock) == []


def test_channel_that_is_gone_is_an_incident_told_to_the_others_until_it_is_well(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    make_channel("other", url=receiver.url + "2", takes_experiments=False)
    reported()
    receiver.script.append(answer(410))
    delivery.deliver_due(clock)
    assert found(clock) == []
    assert own() == [f"channel:{channel.pk}"]
    assert found(clock) == []
    incident = Incident.objects.get(source=Source.SELF)
    assert incident.title == "The channel “ops” cannot be reached"
    assert incident.messages.filter(channel__name="other").count() == 1
    Channel.objects.update(is_enabled=True, disabled_reason="")
    found(clock)
    assert own() == []


def test_channel_that_a_person_disabled_is_an_incident_only_while_something_waits(
    channel: Channel, clock: Clock
) -> None:
    Channel.objects.update(is_enabled=False)
    found(clock)
    assert own() == []
    reported(severity="warning")
    found(clock)
    assert own() == [f"channel:{channel.pk}"]


def test_channel_that_fails_for_a_quarter_of_an_hour_is_an_incident(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    for number in range(5):
        reported(f"disk {number}")
    receiver.script.extend([answer(500)] * 100)
    while clock() < T0 + timedelta(minutes=10):
        delivery.deliver_due(clock)
        auditor.audit(clock())
        assert own() == []
        clock.pass_by(seconds=30)
    while clock() < T0 + timedelta(minutes=20):
        delivery.deliver_due(clock)
        clock.pass_by(seconds=30)
    auditor.audit(clock())
    assert own() == ["delivery", f"channel:{channel.pk}"], "and nobody else heard of them"
    receiver.script.clear()
    clock.pass_by(minutes=15)
    delivery.deliver_due(clock)
    auditor.audit(clock())
    assert own() == []


def test_heartbeat_is_called_only_when_the_audit_passes(
    channel: Channel, receiver: Receiver, clock: Clock, settings: Settings
) -> None:
    settings.HEARTBEAT_URL = f"http://127.0.0.1:{receiver.port}/beat"
    reported()
    delivery.deliver_due(clock)
    auditor.audit(clock())
    assert [got.path for got in receiver.got] == ["/hook", "/beat"]
    assert DeliveryAudit.objects.get().heartbeat_at == T0
    OutboxMessage.objects.update(status=MessageStatus.DEAD, delivered_at=None, lease_until=None)
    clock.pass_by(minutes=1)
    auditor.audit(clock())
    assert [got.path for got in receiver.got] == ["/hook", "/beat"]


def test_heartbeat_that_is_not_taken_is_written_down(
    receiver: Receiver, clock: Clock, settings: Settings
) -> None:
    settings.HEARTBEAT_URL = f"http://127.0.0.1:{receiver.port}/beat"
    receiver.script.append(answer(503))
    auditor.audit(clock())
    audit = DeliveryAudit.objects.get()
    assert (audit.heartbeat_at, audit.heartbeat_reason) == (None, "answered 503")


def test_metrics_page_has_what_the_audit_found_and_how_the_channels_are(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported()
    receiver.script.extend([answer(500)] * 5)
    delivery.deliver_due(clock)
    ChannelHealth.objects.update(closed_until=clock())
    OutboxMessage.objects.update(status=MessageStatus.DEAD, delivered_at=None, lease_until=None)
    auditor.audit(clock())
    shown = exported()[0].decode()
    assert "triageops_delivery_audit_passed 0.0" in shown
    assert 'triageops_delivery_audit_findings{kind="undelivered"} 1.0' in shown
    assert 'triageops_channels_resting{channel_kind="webhook"} 1.0' in shown
    # What the audit itself told has been waiting since then, by the real clock.
    line = next(line for line in shown.splitlines() if 'outbox_age_seconds{quantile="0.99"}' in line)
    assert float(line.rpartition(" ")[2]) > 0


def test_whom_a_later_route_chooses_is_told_of_what_is_open_already() -> None:
    route = Route.objects.create(name="root", tells_nobody=True)
    incident = reported(severity="critical")
    auditor.audit(T0 + timedelta(minutes=1))
    assert not incident.messages.exists()
    route.channels.add(make_channel("late"))
    Route.objects.update(tells_nobody=False)
    found = auditor.audit(T0 + timedelta(minutes=2))
    assert [one for one in found if one.fails] == []
    message = incident.messages.get()
    assert (message.channel.name, message.kind) == ("late", "trigger")
    assert incident.events.get(kind="rerouted").details["told"] == ["late"]
    auditor.audit(T0 + timedelta(minutes=3))
    assert incident.messages.count() == 1
