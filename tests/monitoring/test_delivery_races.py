"""Several workers at once on the same channels, steps and reminders."""

import threading
from collections import Counter
from datetime import timedelta

import pytest

from monitoring.channels.channel import Rate
from monitoring.channels.slack import Slack
from monitoring.channels.webhook import Webhook
from monitoring.models import (
    ChannelHealth,
    DeliveryAttempt,
    EscalationStep,
    EventKind,
    IncidentEvent,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Route,
)
from monitoring.outgoing import delivery, escalation, outbox, recording, reminding, resending
from tests.monitoring.deliveries import T0, reported
from tests.monitoring.factories import make_channel
from tests.monitoring.receiver import Receiver, answer
from tests.monitoring.test_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def deliver() -> None:
    delivery.deliver_due(lambda: T0)


def test_several_workers_send_each_message_of_one_webhook_once(receiver: Receiver) -> None:
    make_channel(url=receiver.url)
    for number in range(60):
        reported(f"disk {number}")
    at_once(deliver, count=3)
    deliver()
    assert set(DeliveryAttempt.objects.values_list("outcome", "reason")) == {("delivered", "")}
    ids = Counter(got.headers["webhook-id"] for got in receiver.got)
    assert len(ids) == 60
    assert set(ids.values()) == {1}
    assert set(OutboxMessage.objects.values_list("status", "attempt_count")) == {(MessageStatus.DELIVERED, 1)}
    assert DeliveryAttempt.objects.count() == 60


def test_several_workers_keep_to_one_rate_together(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook, "rate", Rate(1.0, 7))
    make_channel(url=receiver.url)
    for number in range(30):
        reported(f"disk {number}")
    at_once(deliver, count=4)
    deliver()
    assert len(receiver.got) == 7


def test_several_workers_make_one_call_at_a_time_to_a_grouped_channel(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slack, "rate", Rate(100.0, 100))
    make_channel(kind="slack", url=receiver.url, secret="")
    for number in range(12):
        reported(f"disk {number}")
    for number in range(12):
        titled = OutboxMessage.objects.filter(payload__title=f"disk {number} is full")
        titled.update(group_key=f'1:{{"n":"{number % 4}"}}')
    under_way, most, lock = 0, 0, threading.Lock()
    send = Slack.send

    def counted(self: Slack, *args: object, **kwargs: object) -> object:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        try:
            return send(self, *args, **kwargs)  # type: ignore[arg-type]
        finally:
            with lock:
                under_way -= 1

    monkeypatch.setattr(Slack, "send", counted)
    at_once(deliver, count=3)
    deliver()
    assert len(receiver.got) == 4
    assert most == 1
    assert set(OutboxMessage.objects.values_list("status", flat=True)) == {MessageStatus.DELIVERED}


def test_several_workers_after_a_rest_make_one_probe(receiver: Receiver) -> None:
    channel = make_channel(url=receiver.url)
    for number in range(20):
        reported(f"disk {number}")
    ChannelHealth.objects.create(channel=channel, failure_count=5, closed_until=T0 - timedelta(seconds=1))
    receiver.script.extend([answer(500)] * 20)
    at_once(deliver, count=4)
    assert len(receiver.got) == 1
    assert ChannelHealth.objects.get().failure_count == 6


def test_several_sweeps_take_each_step_and_write_each_reminder_once(receiver: Receiver) -> None:
    first, second = make_channel("first", url=receiver.url), make_channel("second", url=receiver.url)
    route = Route.objects.create(name="all", group_wait_seconds=0, repeat_interval_seconds=600)
    route.channels.set([first])
    EscalationStep.objects.create(route=route, number=1, after_seconds=600).channels.set([second])
    for number in range(10):
        reported(f"disk {number}")
    deliver()
    later = T0 + timedelta(minutes=10)
    at_once(lambda: escalation.due(later))
    at_once(lambda: reminding.reminders(later))
    # Who met another sweep at an incident left it to that one.
    escalation.due(later)
    reminding.reminders(later)
    assert IncidentEvent.objects.filter(kind=EventKind.STEPPED).count() == 10
    assert IncidentEvent.objects.filter(kind=EventKind.REMINDED).count() == 10
    assert OutboxMessage.objects.filter(channel=second, kind=MessageKind.TRIGGER).count() == 10
    assert OutboxMessage.objects.filter(kind=MessageKind.REMINDER).count() == 10


def test_dead_message_that_several_workers_find_is_escalated_once(receiver: Receiver) -> None:
    make_channel("sick", url=receiver.url)
    make_channel("other", url=receiver.url + "2", takes_experiments=False)
    reported()
    OutboxMessage.objects.update(status=MessageStatus.DEAD, reason="answered 400")
    at_once(lambda: escalation.due(T0))
    assert IncidentEvent.objects.filter(kind=EventKind.UNDELIVERED).count() == 1
    assert OutboxMessage.objects.filter(channel__name="other").count() == 1


def test_two_workers_that_record_the_same_message_write_one_outcome(receiver: Receiver) -> None:
    make_channel(url=receiver.url)
    reported()
    [batch] = outbox.lease(T0)
    done = recording.Done(batch, recording.Sent(0.1), T0)
    at_once(lambda: recording.record([done], now=T0))
    assert DeliveryAttempt.objects.count() == 1


def test_alertmanager_is_not_told_twice_at_once(receiver: Receiver) -> None:
    make_channel(kind="alertmanager", url=receiver.url, secret="")
    reported()
    deliver()
    at_once(lambda: resending.resend(lambda: T0 + timedelta(minutes=1)))
    assert len(receiver.got) == 2
