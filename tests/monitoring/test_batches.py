"""What goes together in one call: messages of one channel and group, the same ones again in every retry."""

import json
from datetime import timedelta
from typing import Any

import pytest

from monitoring.channels.channel import Rate
from monitoring.channels.slack import Slack
from monitoring.models import (
    Channel,
    DeliveryAttempt,
    MessageKind,
    MessageStatus,
    MessageTemplate,
    OutboxMessage,
)
from monitoring.notifying import messages
from monitoring.outgoing import delivery, outbox, recording
from tests.monitoring.deliveries import Clock, over, reported, statuses, tell
from tests.monitoring.factories import make_channel
from tests.monitoring.receiver import Receiver, answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording._random, "uniform", lambda low, high: 1.0)


@pytest.fixture
def slack(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Channel:
    monkeypatch.setattr(Slack, "rate", Rate(100.0, 100))
    return make_channel(kind="slack", url=receiver.url, secret="")


def regroup(key: str, *titles: str) -> None:
    for title in titles:
        OutboxMessage.objects.filter(payload__title=f"{title} is full").update(group_key=key)


def test_due_messages_of_one_group_go_in_one_call(slack: Channel, receiver: Receiver, clock: Clock) -> None:
    for number in range(5):
        reported(f"disk {number}")
    assert delivery.deliver_due(clock) == 5
    assert len(receiver.got) == 1
    assert b"5 firing" in receiver.got[0].body
    assert len(set(OutboxMessage.objects.values_list("batch", flat=True))) == 1
    assert set(DeliveryAttempt.objects.values_list("together_count", flat=True)) == {5}


def test_other_groups_go_in_calls_of_their_own(slack: Channel, receiver: Receiver, clock: Clock) -> None:
    for number in range(4):
        reported(f"disk {number}")
    regroup('1:{"service":"a"}', "disk 0", "disk 1")
    regroup('1:{"service":"b"}', "disk 2", "disk 3")
    delivery.deliver_due(clock)
    assert len(receiver.got) == 2
    assert len(set(OutboxMessage.objects.values_list("batch", flat=True))) == 2
    assert b"service=a" in receiver.got[0].body


def test_what_is_due_in_a_moment_goes_along_and_what_is_due_later_does_not(
    slack: Channel, receiver: Receiver, clock: Clock
) -> None:
    for number in range(3):
        reported(f"disk {number}")
    for title, seconds in (("disk 1 is full", 9), ("disk 2 is full", 11)):
        clock.pass_by(seconds=seconds)
        OutboxMessage.objects.filter(payload__title=title).update(not_before=clock())
        clock.pass_by(seconds=-seconds)
    assert delivery.deliver_due(clock) == 2
    assert statuses() == ["delivered", "delivered", "pending"]


def test_retry_takes_the_same_messages_again_and_nothing_else(
    slack: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("disk 0")
    reported("disk 1")
    receiver.script.append(answer(500))
    delivery.deliver_due(clock)
    reported("disk 2")
    clock.pass_by(seconds=5)
    assert delivery.deliver_due(clock) == 3
    assert [b"2 firing" in got.body for got in receiver.got].count(True) == 2
    assert len(receiver.got) == 3
    batches = dict(OutboxMessage.objects.values_list("payload__title", "batch"))
    assert batches["disk 0 is full"] == batches["disk 1 is full"] != batches["disk 2 is full"]


def test_repeat_of_a_group_has_the_same_messages_in_the_same_order(
    slack: Channel, receiver: Receiver, clock: Clock
) -> None:
    incident = reported("disk 0")
    for number in range(1, 4):
        reported(f"disk {number}")
    # The last written are due first, and one has a higher number in its incident's log.
    for seconds, message in enumerate(OutboxMessage.objects.order_by("-id"), start=1):
        OutboxMessage.objects.filter(pk=message.pk).update(not_before=clock.at + timedelta(seconds=seconds))
    OutboxMessage.objects.filter(incident=incident).update(seq=7)
    clock.pass_by(seconds=10)
    [first] = outbox.lease(clock())
    receiver.script.append(answer(500))
    clock.pass_by(seconds=outbox.LEASE.total_seconds())
    delivery.deliver_due(clock)
    clock.pass_by(minutes=5)
    [again] = outbox.lease(clock())
    assert [one.pk for one in again.messages] == [one.pk for one in first.messages]
    assert len(again.messages) == 4


def test_test_message_is_never_grouped(slack: Channel, receiver: Receiver, clock: Clock) -> None:
    reported("disk 0")
    messages.enqueue_test(slack, now=clock())
    messages.enqueue_test(slack, now=clock())
    assert delivery.deliver_due(clock) == 3
    assert len(receiver.got) == 3


def test_webhooks_get_each_message_in_a_call_of_its_own(receiver: Receiver, clock: Clock) -> None:
    make_channel(url=receiver.url)
    for number in range(5):
        reported(f"disk {number}")
    assert delivery.deliver_due(clock) == 5
    assert len(receiver.got) == 5
    assert set(OutboxMessage.objects.values_list("batch", flat=True)) == {None}


def test_group_has_one_message_of_each_incident_in_order(
    slack: Channel, receiver: Receiver, clock: Clock
) -> None:
    incident = reported("disk 0")
    reported("disk 1")
    tell(incident, slack, MessageKind.TRIGGER, clock())
    assert delivery.deliver_due(clock) == 3
    assert len(receiver.got) == 2
    assert b"2 firing" in receiver.got[0].body


def test_group_that_is_refused_for_one_message_is_halved_until_it_stands_alone(
    slack: Channel, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        reported(f"disk {number}")

    def refuse_five(handler: Any) -> None:
        is_bad = b"disk 5" in receiver.got[-1].body
        answer(400, b"invalid_blocks")(handler) if is_bad else answer(200, b"ok")(handler)

    receiver.script.extend([refuse_five] * 20)
    delivery.deliver_due(clock)
    dead = OutboxMessage.objects.get(status=MessageStatus.DEAD)
    assert dead.payload["title"] == "disk 5 is full"
    assert OutboxMessage.objects.filter(status=MessageStatus.DELIVERED).count() == 7
    assert len(receiver.got) == 7


def test_group_that_a_receiver_refuses_to_know_is_dead_whole(
    slack: Channel, receiver: Receiver, clock: Clock
) -> None:
    for number in range(3):
        reported(f"disk {number}")
    receiver.script.append(answer(403, b"no"))
    delivery.deliver_due(clock)
    assert statuses() == ["dead"] * 3
    assert len(receiver.got) == 1


def test_lost_group_is_sent_again_whole_and_says_that_it_may_be_a_repeat(
    slack: Channel, receiver: Receiver, clock: Clock
) -> None:
    for number in range(3):
        reported(f"disk {number}")
    [batch] = outbox.lease(clock())
    assert len(batch.messages) == 3
    clock.pass_by(seconds=outbox.LEASE.total_seconds())
    assert delivery.deliver_due(clock) == 3
    assert b"possible repeat" in receiver.got[0].body
    assert set(DeliveryAttempt.objects.filter(outcome="lost").values_list("together_count", flat=True)) == {3}


def test_resolves_of_a_group_are_told_together(slack: Channel, receiver: Receiver, clock: Clock) -> None:
    for number in range(3):
        reported(f"disk {number}")
    delivery.deliver_due(clock)
    clock.pass_by(minutes=10)
    for number in range(3):
        over(f"disk {number}", clock())
    assert delivery.deliver_due(clock) == 3
    assert len(receiver.got) == 2
    assert b"3 resolved" in receiver.got[1].body


def test_text_of_an_admin_is_sent_and_a_broken_one_falls_back_and_says_so(
    slack: Channel, receiver: Receiver, clock: Clock
) -> None:
    template = MessageTemplate.objects.create(
        name="ours", title="Look: {{ incident.title }}", body="{{ count }}"
    )
    Channel.objects.update(template=template)
    reported("disk 0")
    delivery.deliver_due(clock)
    assert b"Look: disk 0 is full" in receiver.got[0].body
    MessageTemplate.objects.update(body="{% nonsense %}")
    reported("disk 1")
    delivery.deliver_due(clock)
    said = json.dumps(json.loads(receiver.got[1].body), ensure_ascii=False)
    assert "disk 1 is full" in said
    assert "The text “ours” could not be used" in said
    template.refresh_from_db()
    assert template.broken_at == clock()
    assert template.broken_reason
