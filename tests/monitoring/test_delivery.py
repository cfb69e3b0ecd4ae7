import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from monitoring import backlog, incidents
from monitoring.channels.channel import DeliveryError
from monitoring.models import (
    AttemptOutcome,
    Channel,
    ChannelHealth,
    DeliveryAttempt,
    Incident,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Resolution,
)
from monitoring.notifying import messages
from monitoring.outgoing import delivery, outbox, recording
from tests.monitoring.factories import make_channel, make_incident, make_monitor
from tests.monitoring.receiver import Receiver, answer, break_off, hang

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)


class Clock:
    def __init__(self, at: datetime = T0) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, **span: float) -> None:
        self.at += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording._random, "uniform", lambda low, high: 1.0)


@pytest.fixture(autouse=True)
def short_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.channels.channel.TIMEOUT_SECONDS", 0.5)


def told(receiver: Receiver) -> list[str]:
    return [json.loads(got.body)["type"] for got in receiver.got]


def open_with(*channels: Channel, **changes: Any) -> Incident:
    monitor = make_monitor(channels=channels, name=changes.pop("name", "floor"))
    incident = make_incident(monitor, **changes)
    messages.enqueue(incident, MessageKind.TRIGGER, now=T0)
    return incident


def resolve(incident: Incident, now: datetime) -> None:
    incident.refresh_from_db()
    incidents.end(incident, Resolution.RECOVERED, now=now)


def statuses() -> list[str]:
    return list(OutboxMessage.objects.order_by("id").values_list("status", flat=True))


def test_delivery_of_a_message_records_the_attempt_and_the_answer(receiver: Receiver, clock: Clock) -> None:
    incident = open_with(make_channel(url=receiver.url))
    assert delivery.deliver_due(clock) == 1
    message = OutboxMessage.objects.get()
    assert (message.status, message.delivered_at, message.attempt_count) == (MessageStatus.DELIVERED, T0, 1)
    attempt = message.attempts.get()
    assert (attempt.outcome, attempt.status_code, attempt.answer) == (AttemptOutcome.DELIVERED, 200, "ok")
    assert receiver.got[0].headers["webhook-id"] == f"msg_{message.pk.hex}"
    body = json.loads(receiver.got[0].body)
    assert body["type"] == "incident.opened"
    assert body["data"]["incident_id"] == str(incident.pk)
    assert delivery.deliver_due(clock) == 0


def test_delivery_after_failures_waits_longer_each_time_and_arrives_once(
    receiver: Receiver, clock: Clock
) -> None:
    open_with(make_channel(url=receiver.url))
    receiver.script.extend([answer(500), answer(503), break_off, answer(200, b"ok")])
    waits = []
    while OutboxMessage.objects.undecided().exists():
        delivery.deliver_due(clock)
        message = OutboxMessage.objects.get()
        waits.append((message.not_before - clock()).total_seconds())
        assert delivery.deliver_due(clock) == 0
        clock.at = max(clock(), message.not_before)
    assert waits[:3] == [5, 10, 20]
    assert [attempt.outcome for attempt in message.attempts.all()] == [
        "failed",
        "failed",
        "failed",
        "delivered",
    ]
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1


def test_delivery_honours_retry_after_when_it_is_longer(receiver: Receiver, clock: Clock) -> None:
    open_with(make_channel(url=receiver.url))
    receiver.script.append(answer(429, Retry_After="300"))
    delivery.deliver_due(clock)
    assert OutboxMessage.objects.get().not_before == T0 + timedelta(seconds=300)


def test_delivery_asked_to_wait_for_years_tries_once_more_before_the_end(
    receiver: Receiver, clock: Clock
) -> None:
    open_with(make_channel(url=receiver.url))
    receiver.script.append(answer(429, Retry_After="999999999"))
    delivery.deliver_due(clock)
    message = OutboxMessage.objects.get()
    assert message.status == MessageStatus.PENDING
    assert message.not_before == message.expires_at - timedelta(minutes=1)


@pytest.mark.parametrize(
    "asked",
    [
        "Fri, 31 Dec 9999 23:59:59 -0800",
        "Fri, 31 Dec 9999 23:59:59 +99999999999999",
        "9" * 5000,
    ],
)
def test_delivery_asked_to_wait_beyond_the_calendar_is_recorded_like_any_other(
    receiver: Receiver, clock: Clock, asked: str
) -> None:
    open_with(*(make_channel(name, url=receiver.url) for name in ("a", "b", "c")))
    receiver.script.append(answer(429, Retry_After=asked))
    delivery.deliver_due(clock)
    assert sorted(statuses()) == ["delivered", "delivered", "pending"]
    waiting = OutboxMessage.objects.undecided().get()
    assert waiting.not_before <= waiting.expires_at
    assert DeliveryAttempt.objects.count() == len(receiver.got) == 3


@pytest.mark.parametrize(("status", "becomes"), [(200, "delivered"), (500, "pending"), (400, "dead")])
def test_outcome_that_cannot_be_recorded_is_recorded_without_its_details(
    receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch, status: int, becomes: str
) -> None:
    monkeypatch.setattr(recording, "excerpt", lambda found: "\x00" if found and found.text == "odd" else "")
    open_with(*(make_channel(name, url=receiver.url) for name in ("a", "b", "c")))
    receiver.script.append(answer(status, b"odd"))
    delivery.deliver_due(clock)
    assert sorted(statuses()) == sorted(["delivered", "delivered", becomes])
    assert DeliveryAttempt.objects.count() == len(receiver.got) == 3
    assert delivery.deliver_due(clock) == 0


def test_delivery_to_a_hanging_receiver_is_tried_again_and_marked_as_doubtful(
    receiver: Receiver, clock: Clock
) -> None:
    open_with(make_channel(kind="slack", url=receiver.url))
    receiver.script.append(hang)
    delivery.deliver_due(clock)
    attempt = OutboxMessage.objects.get().attempts.get()
    assert attempt.is_ambiguous
    assert 0.4 < (attempt.seconds or 0) < 3
    clock.pass_by(minutes=1)
    delivery.deliver_due(clock)
    assert b"possible repeat" not in receiver.got[0].body
    assert b"possible repeat" in receiver.got[1].body
    assert statuses() == ["delivered"]


def test_delivery_that_a_redirect_answers_is_not_delivered(receiver: Receiver, clock: Clock) -> None:
    open_with(make_channel(url=receiver.url))
    receiver.script.append(answer(302, Location=receiver.url))
    delivery.deliver_due(clock)
    assert len(receiver.got) == 1
    assert statuses() == ["pending"]


def test_delivery_refused_for_good_is_dead_at_once_and_can_be_replayed(
    receiver: Receiver, clock: Clock
) -> None:
    open_with(make_channel(url=receiver.url))
    receiver.script.append(answer(400, b"cannot read this"))
    delivery.deliver_due(clock)
    message = OutboxMessage.objects.get()
    assert (message.status, message.attempts.get().outcome) == (MessageStatus.DEAD, AttemptOutcome.REFUSED)
    assert message.attempts.get().answer == "cannot read this"
    assert message.channel.is_enabled
    outbox.replay(message.pk, now=clock())
    delivery.deliver_due(clock)
    assert statuses() == ["delivered"]


def test_delivery_to_a_receiver_that_is_gone_disables_the_channel_and_says_so(
    receiver: Receiver, clock: Clock
) -> None:
    channel = make_channel(url=receiver.url)
    incident = open_with(channel)
    receiver.script.append(answer(410))
    delivery.deliver_due(clock)
    channel.refresh_from_db()
    assert not channel.is_enabled
    assert "gone" in channel.disabled_reason
    # The end of the story has nobody to tell: its beginning certainly did not arrive.
    resolve(incident, clock())
    delivery.deliver_due(clock)
    assert statuses() == ["dead", "superseded"]
    assert len(receiver.got) == 1


def test_message_of_a_disabled_channel_waits_until_it_is_enabled(receiver: Receiver, clock: Clock) -> None:
    channel = make_channel(url=receiver.url, is_enabled=False)
    open_with(channel)
    assert delivery.deliver_due(clock) == 0
    assert statuses() == ["pending"]
    Channel.objects.update(is_enabled=True)
    delivery.deliver_due(clock)
    assert statuses() == ["delivered"]


def test_message_that_nobody_takes_is_given_up_after_a_day(receiver: Receiver, clock: Clock) -> None:
    open_with(make_channel(url=receiver.url))
    receiver.script.extend([answer(500)] * 100)
    while OutboxMessage.objects.undecided().exists():
        delivery.deliver_due(clock)
        message = OutboxMessage.objects.get()
        clock.pass_by(seconds=backlog.seconds_until_due(clock()) or 0)
    assert message.status == MessageStatus.DEAD
    assert timedelta(hours=23, minutes=50) < clock() - T0 <= timedelta(hours=24)
    # Often while it is fresh, then once an hour.
    assert 25 < message.attempt_count < 60


def test_message_of_a_channel_that_stays_disabled_is_given_up_and_says_why(clock: Clock) -> None:
    open_with(make_channel(is_enabled=False))
    clock.pass_by(hours=24)
    delivery.deliver_due(clock)
    assert OutboxMessage.objects.get().reason == "not delivered in time: the channel is disabled"
    assert statuses() == ["dead"]


def test_resolve_waits_for_its_trigger_and_comes_after_it(receiver: Receiver, clock: Clock) -> None:
    incident = open_with(make_channel(url=receiver.url))
    receiver.script.append(answer(500))
    delivery.deliver_due(clock)
    resolve(incident, clock())
    assert delivery.deliver_due(clock) == 0
    clock.pass_by(seconds=10)
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.opened", "incident.resolved"]
    assert statuses() == ["delivered", "delivered"]


def test_trigger_that_was_never_tried_and_its_resolve_are_both_dropped(
    receiver: Receiver, clock: Clock
) -> None:
    incident = open_with(make_channel(url=receiver.url))
    resolve(incident, clock())
    assert delivery.deliver_due(clock) == 0
    assert statuses() == ["superseded", "superseded"]
    assert receiver.got == []


def test_resolve_after_a_trigger_that_may_have_arrived_is_sent(receiver: Receiver, clock: Clock) -> None:
    incident = open_with(make_channel(url=receiver.url))
    receiver.script.extend([break_off, answer(400)])
    delivery.deliver_due(clock)
    resolve(incident, clock())
    clock.pass_by(seconds=10)
    delivery.deliver_due(clock)
    assert statuses() == ["dead", "delivered"]
    assert told(receiver)[-1] == "incident.resolved"


def test_replay_of_a_trigger_brings_its_resolve_back_in_order(receiver: Receiver, clock: Clock) -> None:
    incident = open_with(make_channel(url=receiver.url))
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    resolve(incident, clock())
    delivery.deliver_due(clock)
    assert statuses() == ["dead", "superseded"]
    outbox.replay(OutboxMessage.objects.dead().get().pk, now=clock())
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.opened", "incident.resolved"]


def test_replay_after_a_later_message_arrived_is_refused(receiver: Receiver, clock: Clock) -> None:
    incident = open_with(make_channel(url=receiver.url))
    receiver.script.extend([break_off, answer(400)])
    delivery.deliver_due(clock)
    resolve(incident, clock())
    clock.pass_by(seconds=10)
    delivery.deliver_due(clock)
    with pytest.raises(outbox.NotReplayable):
        outbox.replay(OutboxMessage.objects.dead().get().pk, now=clock())


def test_replay_of_a_message_that_is_not_dead_is_refused(clock: Clock) -> None:
    open_with(make_channel())
    with pytest.raises(outbox.NotReplayable):
        outbox.replay(OutboxMessage.objects.get().pk, now=clock())


def test_acknowledgement_is_told_to_webhooks_but_not_to_slack(
    receiver: Receiver, clock: Clock, admin_user: Any
) -> None:
    incident = open_with(
        make_channel("a", url=receiver.url), make_channel("b", kind="slack", url=receiver.url)
    )
    delivery.deliver_due(clock)
    incidents.acknowledge(incident.pk, by=admin_user, now=clock())
    delivery.deliver_due(clock)
    assert list(OutboxMessage.objects.filter(kind="acknowledge").values_list("channel__name", flat=True)) == [
        "a"
    ]


def test_channel_that_joined_later_is_not_told_that_it_is_over(receiver: Receiver, clock: Clock) -> None:
    incident = open_with(make_channel("first", url=receiver.url))
    assert incident.monitor is not None
    incident.monitor.channels.set([make_channel("second", url=receiver.url)])
    resolve(incident, clock())
    assert set(OutboxMessage.objects.values_list("channel__name", flat=True)) == {"first"}


def test_lease_of_a_lost_worker_runs_out_and_its_attempt_is_on_record(
    receiver: Receiver, clock: Clock
) -> None:
    open_with(make_channel(url=receiver.url))
    assert len(outbox.lease(clock())) == 1
    assert delivery.deliver_due(clock) == 0
    clock.pass_by(seconds=outbox.LEASE.total_seconds())
    assert delivery.deliver_due(clock) == 1
    message = OutboxMessage.objects.get()
    assert list(message.attempts.values_list("number", "outcome")) == [(1, "lost"), (2, "delivered")]


def test_record_of_a_worker_whose_lease_ran_out_changes_nothing(receiver: Receiver, clock: Clock) -> None:
    open_with(make_channel(url=receiver.url))
    [slow] = outbox.lease(clock())
    clock.pass_by(minutes=5)
    delivery.deliver_due(clock)
    before = OutboxMessage.objects.values().get()
    error = DeliveryError("too late", permanent=True)
    done = recording.Done(slow, recording.Sent(1.0, error=error), clock())
    assert recording.record([done], now=clock()) == []
    assert OutboxMessage.objects.values().get() == before


def test_broken_channel_does_not_stop_the_others(receiver: Receiver, clock: Clock, monkeypatch: Any) -> None:
    monkeypatch.setattr("monitoring.channels.slack.Slack.body", lambda *_: 1 / 0)
    open_with(make_channel("a", url=receiver.url), make_channel("b", kind="slack", url=receiver.url))
    delivery.deliver_due(clock)
    found = {
        message.channel.name: message.status for message in OutboxMessage.objects.select_related("channel")
    }
    assert found == {"a": "delivered", "b": "pending"}
    assert OutboxMessage.objects.get(channel__name="b").reason == "our own error: ZeroDivisionError"


def test_slow_channel_does_not_hold_up_the_others(receiver: Receiver, clock: Clock) -> None:
    channels = [make_channel(str(number), url=receiver.url) for number in range(3)]
    open_with(*channels)
    receiver.script.extend([hang, hang])
    delivery.deliver_due(clock)
    assert sorted(statuses()) == ["delivered", "pending", "pending"]


@pytest.mark.parametrize(
    ("attempt_count", "minutes_old", "seconds"),
    [
        (1, 0, 5),
        (2, 0, 10),
        (5, 5, 80),
        (6, 5, 120),
        (50, 5, 120),
        (6, 20, 160),
        (12, 20, 3600),
        (5000, 900, 3600),
    ],
)
def test_backoff_doubles_up_to_its_cap(attempt_count: int, minutes_old: int, seconds: float) -> None:
    age = timedelta(minutes=minutes_old)
    assert recording.backoff_seconds(attempt_count, age=age, jitter=1.0) == seconds


def test_message_that_waited_long_for_its_time_is_tried_again_soon(receiver: Receiver, clock: Clock) -> None:
    open_with(make_channel(url=receiver.url))
    # Grouped, outside of hours, or behind a channel that rested.
    clock.pass_by(hours=9)
    receiver.script.extend([answer(500)] * 20)
    waits = []
    for _ in range(8):
        delivery.deliver_due(clock)
        waits.append((OutboxMessage.objects.get().not_before - clock()).total_seconds())
        clock.pass_by(seconds=waits[-1])
    assert waits == [5, 10, 20, 40, 80, 120, 120, 120]
    clock.pass_by(minutes=15)
    delivery.deliver_due(clock)
    assert (OutboxMessage.objects.get().not_before - clock()).total_seconds() == 1280


def test_message_that_is_sent_again_is_urgent_again(receiver: Receiver, clock: Clock) -> None:
    open_with(make_channel(url=receiver.url))
    receiver.script.extend([answer(500)] * 7 + [answer(400), answer(500)])
    for _ in range(8):
        delivery.deliver_due(clock)
        clock.pass_by(minutes=10)
    outbox.replay(OutboxMessage.objects.dead().get().pk, now=clock())
    delivery.deliver_due(clock)
    assert OutboxMessage.objects.get().not_before == clock() + timedelta(seconds=120)


def test_message_of_a_small_group_has_neither_its_name_nor_its_numbers(clock: Clock) -> None:
    labels = {"variant": "rare-disease"}
    effect = {"current": 0.5, "level": 0.8, "difference": -0.3, "low": None, "high": None, "n": 19, "m2": 0.0}
    open_with(
        make_channel(),
        labels=labels,
        title="helpfulness is below 0.8 for variant rare-disease",
        effect=effect,
    )
    payload = OutboxMessage.objects.get().payload
    assert "rare-disease" not in json.dumps(payload)
    assert payload["effect"] is None
    assert "fewer than 20" in payload["title"]


def test_message_of_twenty_records_has_both(clock: Clock) -> None:
    effect = {"current": 0.5, "level": 0.8, "difference": -0.3, "low": -0.4, "high": -0.2, "n": 20, "m2": 1.0}
    open_with(make_channel(), labels={"variant": "b"}, effect=effect)
    payload = OutboxMessage.objects.get().payload
    assert payload["labels"] == {"variant": "b"}
    assert payload["effect"] == {name: value for name, value in effect.items() if name != "m2"}
    assert payload["incident_url"].startswith("http://127.0.0.1:8000/admin/monitoring/incident/")


def test_test_message_is_delivered_and_says_what_it_is(receiver: Receiver, clock: Clock) -> None:
    for name, kind in (("a", "webhook"), ("b", "slack")):
        messages.enqueue_test(make_channel(name, kind=kind, url=receiver.url), now=clock())
    delivery.deliver_due(clock)
    assert statuses() == ["delivered", "delivered"]
    assert sum(b"This is a test message" in got.body for got in receiver.got) == 2


@pytest.mark.parametrize("said", [answer(500), answer(429, Retry_After="5"), answer(404), break_off])
def test_test_message_is_tried_once_and_counts_as_no_failure(
    said: Any, receiver: Receiver, clock: Clock
) -> None:
    channel = make_channel(url=receiver.url)
    for _ in range(6):
        messages.enqueue_test(channel, now=clock())
        receiver.script.append(said)
        delivery.deliver_due(clock)
        clock.pass_by(minutes=10)
    assert statuses() == ["dead"] * 6
    assert delivery.deliver_due(clock) == 0
    assert len(receiver.got) == 6
    health = ChannelHealth.objects.get()
    assert (health.failure_count, health.closed_until) == (0, None)


def test_second_message_with_the_same_number_is_refused_by_the_database() -> None:
    incident = open_with(make_channel())
    with pytest.raises(IntegrityError, match="message_once_per_incident_channel_seq"):
        messages.enqueue(incident, MessageKind.TRIGGER, now=T0)


@pytest.mark.parametrize(
    "sql", ["UPDATE monitoring_incidentevent SET details = '{}'", "DELETE FROM monitoring_incidentevent"]
)
def test_events_cannot_be_changed_or_removed(sql: str) -> None:
    resolve(open_with(make_channel()), T0)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


def test_question_asked_many_times_in_a_second_reads_an_index(clock: Clock) -> None:
    open_with(make_channel())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = OutboxMessage.objects.waiting().exclude(kind=MessageKind.TRIGGER).explain()
    assert "message_undecided" in plan
    assert "message_suppressed" in plan


@pytest.fixture
def many(receiver: Receiver) -> list[Channel]:
    return [make_channel(f"c{number}", url=receiver.url) for number in range(12)]


def test_delivery_to_more_channels_than_one_batch_takes_them_all(
    receiver: Receiver, clock: Clock, many: list[Channel]
) -> None:
    open_with(*many)
    assert delivery.deliver_due(clock) == 12
    assert set(statuses()) == {"delivered"}
