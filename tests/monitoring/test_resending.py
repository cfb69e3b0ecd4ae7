"""What an Alertmanager must not forget."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring import endpoints
from monitoring.history import flags
from monitoring.models import Channel, ChannelHealth, Flag, Incident, OutboxMessage
from monitoring.outgoing import delivery, outbox, resending
from tests.monitoring.deliveries import Clock, over, reported
from tests.monitoring.factories import make_channel
from tests.monitoring.receiver import Receiver, answer, break_off

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def channel(receiver: Receiver) -> Channel:
    return make_channel(kind="alertmanager", url=receiver.url, secret="")


def alerts(receiver: Receiver) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(receiver.got[-1].body)
    return found


def lasts(receiver: Receiver, clock: Clock) -> dict[str, timedelta]:
    return {
        one["labels"]["alertname"]: datetime.fromisoformat(one["endsAt"]) - clock()
        for one in alerts(receiver)
    }


def test_what_fires_is_said_again_every_minute_in_one_call(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("a")
    reported("b")
    delivery.deliver_due(clock)
    clock.pass_by(seconds=60)
    assert resending.resend(clock) == 1
    assert len(receiver.got) == 2
    assert lasts(receiver, clock) == {"a": timedelta(minutes=4), "b": timedelta(minutes=4)}
    assert OutboxMessage.objects.count() == 2
    clock.pass_by(seconds=30)
    assert resending.resend(clock) == 0


def test_what_is_said_again_is_the_same_alert(channel: Channel, receiver: Receiver, clock: Clock) -> None:
    reported("a")
    delivery.deliver_due(clock)
    [before] = alerts(receiver)
    clock.pass_by(seconds=60)
    resending.resend(clock)
    [after] = alerts(receiver)
    assert before["labels"] == after["labels"]
    assert before["startsAt"] == after["startsAt"]


def test_what_is_over_is_said_for_five_minutes_with_its_end(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("a")
    delivery.deliver_due(clock)
    clock.pass_by(seconds=60)
    over("a", clock())
    delivery.deliver_due(clock)
    ended_at = clock()
    clock.pass_by(minutes=4)
    assert resending.resend(clock) == 1
    [alert] = alerts(receiver)
    assert datetime.fromisoformat(alert["endsAt"]) == ended_at
    clock.pass_by(minutes=2)
    assert resending.resend(clock) == 0


def test_what_came_back_after_its_end_is_said_as_firing(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("a")
    delivery.deliver_due(clock)
    over("a", clock())
    delivery.deliver_due(clock)
    clock.pass_by(seconds=30)
    # The same alert for Alertmanager, another incident here.
    Incident.objects.update(slice_key="before")
    reported("a", clock())
    delivery.deliver_due(clock)
    clock.pass_by(seconds=60)
    assert len(resending.picture_of(channel, clock())) == 2
    resending.resend(clock)
    assert lasts(receiver, clock) == {"a": timedelta(minutes=4)}


def test_old_picture_does_not_overtake_the_end(channel: Channel, receiver: Receiver, clock: Clock) -> None:
    reported("a")
    delivery.deliver_due(clock)
    clock.pass_by(seconds=60)
    over("a", clock())
    # Over, and not yet told: nothing is said as if it still fired.
    assert resending.resend(clock) == 0
    assert len(outbox.lease(clock())) == 1
    reported("b", clock())
    assert resending.resend(clock) == 0
    assert len(receiver.got) == 1


def test_delivery_waits_while_everything_is_said_again(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("a")
    delivery.deliver_due(clock)
    clock.pass_by(seconds=60)
    assert resending._begin(channel, clock()) is False
    over("a", clock())
    assert delivery.deliver_due(clock) == 0
    resending._end(channel, [endpoints.Call()], clock())
    assert delivery.deliver_due(clock) == 1


def test_what_was_silenced_before_it_was_told_is_not_said(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("a")
    flags.flag(Incident.objects.get(), Flag.SILENCED, why="quiet", now=clock())
    OutboxMessage.objects.update(status="suppressed")
    delivery.deliver_due(clock)
    clock.pass_by(seconds=60)
    assert resending.resend(clock) == 0
    assert receiver.got == []


def test_failures_count_for_the_channel_and_leave_no_message(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("a")
    delivery.deliver_due(clock)
    for number in range(5):
        clock.pass_by(seconds=60)
        receiver.script.append(break_off)
        assert resending.resend(clock) == 1, number
    health = ChannelHealth.objects.get()
    assert health.failure_count == 5
    assert health.closed_until == clock() + timedelta(seconds=30)
    assert health.busy_until is None
    assert OutboxMessage.objects.count() == 1
    clock.pass_by(seconds=60)
    resending.resend(clock)
    health.refresh_from_db()
    assert health.failure_count == 0


def test_alertmanager_that_is_disabled_or_asks_to_wait_is_left_alone(
    channel: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported("a")
    delivery.deliver_due(clock)
    receiver.script.append(answer(429, Retry_After="120"))
    clock.pass_by(seconds=60)
    resending.resend(clock)
    clock.pass_by(seconds=60)
    assert resending.resend(clock) == 0
    clock.pass_by(seconds=60)
    assert resending.resend(clock) == 1
    Channel.objects.update(is_enabled=False)
    clock.pass_by(seconds=60)
    assert resending.resend(clock) == 0
