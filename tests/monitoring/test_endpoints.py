"""Rates, rests and pauses of receivers."""

from datetime import timedelta

import pytest

from monitoring import backlog, endpoints
from monitoring.channels.channel import Rate
from monitoring.channels.slack import Slack
from monitoring.channels.webhook import Webhook
from monitoring.models import Channel, ChannelHealth, DeliveryAttempt, MessageStatus, OutboxMessage
from monitoring.notifying import messages
from monitoring.outgoing import delivery, outbox, recording
from tests.monitoring.deliveries import T0, Clock, reported, statuses
from tests.monitoring.factories import make_channel
from tests.monitoring.receiver import Receiver, answer, break_off

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


def health() -> ChannelHealth:
    return ChannelHealth.objects.select_related("channel").get()


def rest(clock: Clock) -> float:
    until = health().closed_until
    return (until - clock()).total_seconds() if until else 0.0


def test_rate_lets_a_burst_through_and_then_so_many_a_second(
    channel: Channel, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook, "rate", Rate(2.0, 5))
    for number in range(10):
        reported(f"disk {number}")
    assert delivery.deliver_due(clock) == 5
    assert delivery.deliver_due(clock) == 0
    assert backlog.seconds_until_due(clock()) == pytest.approx(0.5)
    clock.pass_by(seconds=0.5)
    assert delivery.deliver_due(clock) == 1
    clock.pass_by(seconds=1)
    assert delivery.deliver_due(clock) == 2
    waiting = OutboxMessage.objects.filter(status=MessageStatus.PENDING)
    assert set(waiting.values_list("attempt_count", flat=True)) == {0}


def test_rate_at_rest_saves_no_more_than_a_burst(
    channel: Channel, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook, "rate", Rate(2.0, 5))
    reported()
    delivery.deliver_due(clock)
    clock.pass_by(hours=5)
    assert endpoints.tokens_at(health(), clock()) == 5


def test_retry_after_holds_the_whole_channel(channel: Channel, receiver: Receiver, clock: Clock) -> None:
    reported("first")
    receiver.script.append(answer(429, Retry_After="90"))
    delivery.deliver_due(clock)
    reported("second")
    clock.pass_by(seconds=89)
    assert delivery.deliver_due(clock) == 0
    assert backlog.seconds_until_due(clock()) == pytest.approx(1)
    clock.pass_by(seconds=1)
    assert delivery.deliver_due(clock) == 1
    clock.pass_by(seconds=1)
    assert delivery.deliver_due(clock) == 1
    assert statuses() == ["delivered", "delivered"]


def test_retry_after_of_years_holds_the_channel_for_an_hour(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("first")
    receiver.script.append(answer(503, Retry_After="99999999"))
    delivery.deliver_due(clock)
    reported("second")
    clock.pass_by(minutes=61)
    assert delivery.deliver_due(clock) == 1
    assert statuses() == ["pending", "delivered"]


def fail(channel: Channel, receiver: Receiver, clock: Clock, count: int) -> None:
    """One after the other, each with a message of its own."""
    for number in range(count):
        reported(f"failing {number}", now=clock())
        receiver.script.append(break_off)
        assert delivery.deliver_due(clock) == 1
        clock.pass_by(seconds=1)


def test_five_failures_in_a_row_rest_the_channel_and_messages_wait_without_attempts(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    fail(channel, receiver, clock, 5)
    reported("later")
    clock.pass_by(seconds=28)
    assert delivery.deliver_due(clock) == 0
    assert len(receiver.got) == 5
    assert OutboxMessage.objects.get(incident__title="later is full").attempt_count == 0
    clock.pass_by(seconds=1)
    # One message is the probe; with its success the others follow.
    assert delivery.deliver_due(clock) == 6
    assert health().failure_count == 0
    assert health().closed_until is None


def test_probe_is_one_message_and_its_failure_doubles_the_rest(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    fail(channel, receiver, clock, 5)
    rests = []
    for _ in range(7):
        clock.at = health().closed_until or clock()
        receiver.script.extend([answer(500)] * 5)
        assert delivery.deliver_due(clock) == 1
        receiver.script.clear()
        rests.append(rest(clock))
    assert rests == [60, 120, 240, 480, 600, 600, 600]


def test_probe_is_one_message_also_with_two_workers(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    fail(channel, receiver, clock, 5)
    clock.pass_by(minutes=5)
    assert len(outbox.lease(clock())) == 1
    assert outbox.lease(clock()) == []


def test_failures_of_a_crowd_that_was_under_way_count_as_one_rest(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    for number in range(20):
        reported(f"disk {number}")
    receiver.script.extend([answer(500)] * 20)
    delivery.deliver_due(clock)
    assert rest(clock) == 30
    assert health().failure_count == 5


def test_success_between_failures_starts_the_count_anew(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    fail(channel, receiver, clock, 4)
    reported()
    delivery.deliver_due(clock)
    assert health().failure_count == 0
    assert health().last_success_at == clock()


def test_refusals_of_single_messages_do_not_rest_the_channel(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    for number in range(8):
        reported(f"disk {number}")
    receiver.script.extend([answer(400)] * 8)
    delivery.deliver_due(clock)
    assert DeliveryAttempt.objects.filter(outcome="refused").count() == 8
    assert health().closed_until is None


def test_probe_that_is_refused_shows_that_the_receiver_is_there(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    fail(channel, receiver, clock, 5)
    clock.pass_by(seconds=40)
    receiver.script.append(answer(400))
    assert delivery.deliver_due(clock) == 5
    assert health().closed_until is None


def test_our_own_mistakes_do_not_rest_the_channel(
    channel: Channel, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook, "body", lambda *_: 1 / 0)
    for number in range(6):
        reported(f"disk {number}")
    delivery.deliver_due(clock)
    assert health().failure_count == 0


def test_two_channels_rest_on_their_own(receiver: Receiver, clock: Clock) -> None:
    well, sick = make_channel("well", url=receiver.url), make_channel("sick", url="http://127.0.0.1:1/")
    for number in range(5):
        reported(f"disk {number}")
    delivery.deliver_due(clock)
    assert statuses(channel=well) == ["delivered"] * 5
    found = ChannelHealth.objects.get(channel=sick)
    assert found.closed_until == T0 + timedelta(seconds=30)
    assert "no connection" in found.last_reason


def test_slack_takes_one_call_at_a_time(
    receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slack, "rate", Rate(100.0, 100))
    slack = make_channel(kind="slack", url=receiver.url)
    messages.enqueue_test(slack, now=clock())
    messages.enqueue_test(slack, now=clock())
    assert len(outbox.lease(clock())) == 1
    clock.pass_by(seconds=10)
    assert outbox.lease(clock()) == []
    # The worker was lost: the channel is free again, and the message doubtful.
    clock.at = T0 + outbox.LEASE
    assert delivery.deliver_due(clock) == 2
    assert statuses() == ["delivered", "delivered"]
    assert sorted(DeliveryAttempt.objects.values_list("outcome", flat=True)) == [
        "delivered",
        "delivered",
        "lost",
    ]
