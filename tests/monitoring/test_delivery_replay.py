"""Sending a dead message again: never what is no longer true, never what a silence holds back."""

from datetime import timedelta

import pytest

from monitoring import incidents
from monitoring.models import MessageKind, MessageStatus, OutboxMessage
from monitoring.notifying import messages
from monitoring.outgoing import delivery, outbox, recording
from monitoring.quiet import silences, suppression
from monitoring.routing.matchers import parse
from tests.monitoring.deliveries import T0, Clock, over, reported, statuses, tell, told
from tests.monitoring.factories import make_channel
from tests.monitoring.receiver import Receiver, answer, break_off

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording._random, "uniform", lambda low, high: 1.0)


def silence(clock: Clock, **length: float) -> None:
    ends_at = clock() + timedelta(**length)
    silences.make(
        parse('alertname="disk"'),
        starts_at=clock(),
        ends_at=ends_at,
        comment="",
        created_by="ada",
        now=clock(),
    )
    suppression.tend(clock())


def dead() -> OutboxMessage:
    return OutboxMessage.objects.dead().get()


def worsened_and_refused(receiver: Receiver, clock: Clock) -> None:
    """The channel heard that it began; that it became worse was refused."""
    reported(severity="warning")
    delivery.deliver_due(clock)
    clock.pass_by(seconds=5)
    reported(now=clock(), severity="critical")
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    clock.pass_by(seconds=5)


def test_replay_while_the_end_is_under_way_is_refused(receiver: Receiver, clock: Clock) -> None:
    make_channel(url=receiver.url)
    reported()
    receiver.script.extend([break_off, answer(400)])
    delivery.deliver_due(clock)
    clock.pass_by(seconds=10)
    delivery.deliver_due(clock)
    over(now=clock())
    [batch] = outbox.lease(clock())
    assert [message.kind for message in batch.messages] == [MessageKind.RESOLVE]
    with pytest.raises(outbox.NotReplayable, match="later message"):
        outbox.replay(dead().pk, now=clock())


def test_replay_of_what_is_over_to_a_channel_that_heard_the_beginning_is_refused(
    receiver: Receiver, clock: Clock
) -> None:
    make_channel(url=receiver.url)
    worsened_and_refused(receiver, clock)
    over(now=clock())
    with pytest.raises(outbox.NotReplayable, match="is over"):
        outbox.replay(dead().pk, now=clock())
    delivery.deliver_due(clock)
    assert told(receiver)[-1] == "incident.resolved"
    assert statuses() == ["delivered", "dead", "delivered"]


def test_replay_of_a_refused_end_is_sent(receiver: Receiver, clock: Clock) -> None:
    make_channel(url=receiver.url)
    reported()
    delivery.deliver_due(clock)
    over(now=clock())
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    outbox.replay(dead().pk, now=clock())
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.resolved", "incident.resolved"]


def test_replay_of_a_beginning_brings_its_refused_end_back(receiver: Receiver, clock: Clock) -> None:
    make_channel(url=receiver.url)
    reported()
    receiver.script.extend([break_off, answer(400), answer(400)])
    delivery.deliver_due(clock)
    over(now=clock())
    clock.pass_by(seconds=10)
    delivery.deliver_due(clock)
    assert statuses() == ["dead", "dead"]
    first = OutboxMessage.objects.get(kind=MessageKind.TRIGGER)
    outbox.replay(first.pk, now=clock())
    delivery.deliver_due(clock)
    assert told(receiver)[-2:] == ["incident.opened", "incident.resolved"]


def test_replay_waits_for_the_end_of_a_silence(receiver: Receiver, clock: Clock) -> None:
    make_channel(url=receiver.url)
    reported()
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    silence(clock, hours=3)
    outbox.replay(dead().pk, now=clock())
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened"]
    assert statuses() == ["suppressed"]
    clock.pass_by(hours=3, seconds=1)
    suppression.tend(clock())
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.opened"]


def test_replay_leaves_news_that_newer_news_replaced(receiver: Receiver, clock: Clock) -> None:
    channel = make_channel(url=receiver.url)
    incident = reported()
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    tell(incident, channel, MessageKind.REMINDER, clock())
    newest = tell(incident, channel, MessageKind.TRIGGER, clock())
    rows = OutboxMessage.objects.filter(status=MessageStatus.PENDING)
    rows.update(status=MessageStatus.SUPERSEDED, reason="a newer message says it")
    outbox.replay(dead().pk, now=clock())
    newest.refresh_from_db()
    assert newest.status == MessageStatus.SUPERSEDED
    assert statuses() == ["pending", "superseded", "superseded"]


@pytest.mark.parametrize("is_ended", [False, True])
def test_replay_of_a_beginning_brings_its_acknowledgement_back_unless_that_ended(
    receiver: Receiver, clock: Clock, is_ended: bool
) -> None:
    make_channel(url=receiver.url)
    incident = reported()
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    incidents.acknowledge(incident.pk, actor="ada", now=clock())
    delivery.deliver_due(clock)
    assert statuses() == ["dead", "superseded"]
    if is_ended:
        incidents.unacknowledge(incident.pk, actor="ada", now=clock())
    outbox.replay(dead().pk, now=clock())
    delivery.deliver_due(clock)
    # The end of an acknowledgement is told as another beginning.
    assert told(receiver)[2:] == ["incident.opened" if is_ended else "incident.acknowledged"]


def test_replay_of_a_test_message_needs_no_incident(receiver: Receiver, clock: Clock) -> None:
    messages.enqueue_test(make_channel(url=receiver.url), now=T0)
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    outbox.replay(dead().pk, now=clock())
    delivery.deliver_due(clock)
    assert statuses() == ["delivered"]


def test_acknowledgement_is_told_though_later_news_is_held_back(receiver: Receiver, clock: Clock) -> None:
    make_channel(url=receiver.url)
    incident = reported(severity="warning")
    delivery.deliver_due(clock)
    silence(clock, days=3)
    clock.pass_by(minutes=1)
    reported(now=clock(), severity="critical")
    clock.pass_by(minutes=1)
    incidents.acknowledge(incident.pk, actor="ada", now=clock())
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.acknowledged"]
    assert statuses() == ["delivered", "suppressed", "delivered"]


def test_acknowledgement_of_what_nobody_heard_of_waits_behind_the_news(
    receiver: Receiver, clock: Clock
) -> None:
    channel = make_channel(url=receiver.url)
    incident = reported()
    OutboxMessage.objects.update(status=MessageStatus.SUPPRESSED)
    tell(incident, channel, MessageKind.ACKNOWLEDGE, clock())
    delivery.deliver_due(clock)
    assert told(receiver) == []
    assert statuses() == ["suppressed", "pending"]
