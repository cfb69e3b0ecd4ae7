"""Who is told next, and who is told again."""

from datetime import timedelta
from typing import Any

import pytest

from monitoring import incidents
from monitoring.history import chain, flags
from monitoring.history.chain import Sealed
from monitoring.models import (
    Channel,
    EscalationStep,
    EventKind,
    Flag,
    Hours,
    Incident,
    MessageKind,
    OutboxMessage,
    Resolution,
    Route,
)
from monitoring.outgoing import delivery, escalation, outbox, recording, reminding
from tests.monitoring.deliveries import T0, Clock, over, reported, statuses, told
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.receiver import Receiver, answer
from tests.monitoring.silencing import opened

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording._random, "uniform", lambda low, high: 1.0)


@pytest.fixture
def first(receiver: Receiver) -> Channel:
    return make_channel("first", url=receiver.url)


@pytest.fixture
def second(receiver: Receiver) -> Channel:
    return make_channel("second", url=receiver.url + "2")


@pytest.fixture
def third(receiver: Receiver) -> Channel:
    return make_channel("third", url=receiver.url + "3")


@pytest.fixture
def route(first: Channel, second: Channel, third: Channel) -> Route:
    """First at once, second after ten minutes, third after half an hour."""
    route = Route.objects.create(name="all", group_wait_seconds=0)
    route.channels.set([first])
    for number, (seconds, channel) in enumerate([(600, second), (1800, third)], start=1):
        step = EscalationStep.objects.create(route=route, number=number, after_seconds=seconds)
        step.channels.set([channel])
    return route


def names(**where: object) -> list[str]:
    rows = OutboxMessage.objects.filter(kind=MessageKind.TRIGGER, **where)
    return list(rows.order_by("id").values_list("channel__name", flat=True))


def kinds() -> list[str]:
    return list(Incident.objects.get().events.order_by("seq").values_list("kind", flat=True))


def test_steps_are_told_one_after_the_other_while_nobody_acknowledges(route: Route, clock: Clock) -> None:
    reported()
    delivery.deliver_due(clock)
    clock.pass_by(minutes=9)
    assert escalation.due(clock()) == 0
    clock.pass_by(minutes=1)
    assert escalation.due(clock()) == 1
    assert escalation.due(clock()) == 0
    clock.pass_by(minutes=20)
    assert escalation.due(clock()) == 1
    assert names() == ["first", "second", "third"]
    assert kinds() == ["opened", "stepped", "stepped"]
    step = OutboxMessage.objects.get(channel__name="second")
    assert (step.step, step.route, step.not_before) == (1, route, T0 + timedelta(minutes=10))
    assert "nobody acknowledged" in step.because
    assert chain.verify(map(Sealed.of, Incident.objects.get().events.order_by("seq"))).is_intact


def test_steps_missed_by_a_sweep_that_did_not_run_are_all_told(route: Route, clock: Clock) -> None:
    reported()
    clock.pass_by(hours=2)
    assert escalation.due(clock()) == 2
    assert names() == ["first", "second", "third"]


def test_acknowledged_incident_takes_no_step_and_a_new_round_starts_when_that_ends(
    route: Route, clock: Clock
) -> None:
    incident = reported()
    delivery.deliver_due(clock)
    clock.pass_by(minutes=5)
    incidents.acknowledge(incident.pk, actor="anna", now=clock())
    clock.pass_by(hours=1)
    assert escalation.due(clock()) == 0
    incidents.unacknowledge(incident.pk, now=clock())
    clock.pass_by(minutes=9)
    assert escalation.due(clock()) == 0
    clock.pass_by(minutes=1)
    assert escalation.due(clock()) == 1
    assert names() == ["first", "first", "second"]


def test_step_of_a_second_round_tells_again_who_was_told_in_the_first(route: Route, clock: Clock) -> None:
    incident = reported()
    clock.pass_by(minutes=10)
    escalation.due(clock())
    delivery.deliver_due(clock)
    clock.pass_by(minutes=1)
    incidents.acknowledge(incident.pk, actor="anna", now=clock())
    incidents.unacknowledge(incident.pk, now=clock())
    clock.pass_by(minutes=10)
    assert escalation.due(clock()) == 1
    assert names().count("second") == 2


def test_suppressed_or_resolved_incident_takes_no_step(route: Route, clock: Clock) -> None:
    incident = reported()
    flags.flag(incident, Flag.SILENCED, why="quiet", now=clock())
    clock.pass_by(hours=1)
    assert escalation.due(clock()) == 0
    incident.refresh_from_db()
    flags.unflag(incident, Flag.SILENCED, why="over", now=clock())
    clock.pass_by(minutes=9)
    assert escalation.due(clock()) == 0, "the time begins anew when the silence ends"
    over(now=clock())
    clock.pass_by(hours=1)
    assert escalation.due(clock()) == 0


def test_steps_of_a_route_hold_for_a_channel_that_the_monitor_names_too(
    route: Route, first: Channel, clock: Clock
) -> None:
    opened(make_monitor(channels=(first,)), now=T0)
    delivery.deliver_due(clock)
    clock.pass_by(minutes=10)
    assert escalation.due(clock()) == 1
    assert names() == ["first", "second"]


def test_steps_count_from_when_the_first_message_may_go(route: Route, clock: Clock) -> None:
    office = Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-17:00")
    Route.objects.update(hours=office, outside="wait")
    reported()
    clock.pass_by(minutes=10)
    assert escalation.due(clock()) == 0, "T0 is a Sunday"
    clock.at = T0 + timedelta(hours=20, minutes=9)
    assert escalation.due(clock()) == 0
    clock.pass_by(minutes=1)
    assert escalation.due(clock()) == 1
    assert names() == ["first", "second"]


def test_steps_do_not_wait_for_the_retries_of_the_first_message(
    route: Route, receiver: Receiver, clock: Clock
) -> None:
    reported()
    receiver.script.append(answer(503, Retry_After="3600"))
    delivery.deliver_due(clock)
    assert OutboxMessage.objects.get().not_before == T0 + timedelta(hours=1)
    clock.pass_by(minutes=10)
    assert escalation.due(clock()) == 1


def test_incident_that_cannot_be_moved_does_not_keep_others_from_their_steps(
    route: Route, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = reported("broken")
    reported("well")
    append = chain.append

    def failing(incident: Incident, *given: Any, **named: Any) -> Any:
        return 1 / 0 if incident.pk == broken.pk else append(incident, *given, **named)

    monkeypatch.setattr(chain, "append", failing)
    clock.pass_by(minutes=10)
    assert escalation.due(clock()) == 1
    assert names(incident__slice_key="well") == ["first", "second"]
    assert "escalation.broken" in caplog.text
    Route.objects.update(repeat_interval_seconds=60)
    delivery.deliver_due(clock)
    clock.pass_by(hours=1)
    assert reminding.reminders(clock()) == 1


def test_step_does_not_tell_a_channel_that_has_it_already(route: Route, first: Channel, clock: Clock) -> None:
    EscalationStep.objects.get(number=1).channels.add(first)
    reported()
    delivery.deliver_due(clock)
    clock.pass_by(minutes=10)
    escalation.due(clock())
    assert names() == ["first", "second"]


def test_page_that_does_not_arrive_within_a_minute_goes_to_the_next_step_once(
    route: Route, receiver: Receiver, clock: Clock
) -> None:
    reported(severity="critical")
    receiver.script.append(answer(500))
    delivery.deliver_due(clock)
    clock.pass_by(seconds=59)
    assert escalation.due(clock()) == 0
    clock.pass_by(seconds=1)
    assert escalation.due(clock()) == 1
    assert escalation.due(clock()) == 0
    assert names() == ["first", "second"]
    assert "not told within a minute" in OutboxMessage.objects.get(channel__name="second").because


def test_less_than_a_page_that_does_not_arrive_waits_for_its_steps(
    route: Route, receiver: Receiver, clock: Clock
) -> None:
    reported(severity="warning")
    receiver.script.append(answer(500))
    delivery.deliver_due(clock)
    clock.pass_by(minutes=2)
    assert escalation.due(clock()) == 0


def test_page_that_waits_for_its_group_is_not_overdue(route: Route, clock: Clock) -> None:
    Route.objects.update(group_wait_seconds=300)
    reported(severity="critical")
    clock.pass_by(seconds=301)
    assert escalation.due(clock()) == 0


def test_dead_trigger_goes_to_the_next_step_and_is_noted(
    route: Route, receiver: Receiver, clock: Clock
) -> None:
    reported()
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    assert kinds() == ["opened", "undelivered"]
    assert names() == ["first", "second"]
    assert statuses(channel__name="second") == ["delivered"]
    event = Incident.objects.get().events.get(kind=EventKind.UNDELIVERED)
    dead = OutboxMessage.objects.get(channel__name="first")
    assert event.details == {"message": dead.webhook_id, "channel": "first", "told": ["second"]}
    escalation.next_after_dead(dead, clock())
    assert names() == ["first", "second"], "once for each message"


def test_dead_trigger_of_the_last_step_goes_to_every_other_way(
    route: Route, receiver: Receiver, clock: Clock
) -> None:
    make_channel("fourth", url=receiver.url + "4")
    reported()
    receiver.script.extend([answer(400)] * 3)
    delivery.deliver_due(clock)
    assert names() == ["first", "second", "third", "fourth"]
    assert statuses() == ["dead", "dead", "dead", "delivered"]


def test_dead_trigger_without_a_route_goes_to_channels_of_another_kind_or_address(
    receiver: Receiver, clock: Clock
) -> None:
    make_channel("sick", url=receiver.url)
    make_channel("same", url=receiver.url, takes_experiments=False)
    make_channel("other", url=receiver.url + "2", takes_experiments=False)
    make_channel("off", url=receiver.url + "3", takes_experiments=False, is_enabled=False)
    make_channel("canary", kind="sink", url="", takes_experiments=False)
    reported()
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    assert names() == ["sick", "other"]


def test_dead_trigger_of_an_acknowledged_incident_tells_nobody_else(
    route: Route, receiver: Receiver, clock: Clock
) -> None:
    incident = reported()
    incidents.acknowledge(incident.pk, actor="anna", now=clock())
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    assert names() == ["first"]
    assert kinds() == ["opened", "acknowledged", "undelivered"]


def test_trigger_at_the_end_of_its_life_goes_to_the_next_step(
    route: Route, first: Channel, clock: Clock
) -> None:
    Channel.objects.filter(pk=first.pk).update(is_enabled=False)
    EscalationStep.objects.update(after_seconds=7 * 86_400)
    reported()
    clock.pass_by(hours=24)
    delivery.deliver_due(clock)
    assert names() == ["first", "second"]


def test_dead_trigger_that_a_lost_worker_did_not_escalate_is_found_by_the_sweep(
    route: Route, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported()
    receiver.script.append(answer(400))
    with monkeypatch.context() as patched:
        patched.setattr(escalation, "next_after_dead", lambda *_: 1 / 0)
        delivery.deliver_due(clock)
    assert names() == ["first"]
    assert escalation.due(clock()) == 1
    assert names() == ["first", "second"]


def test_dead_triggers_that_are_noted_do_not_hide_one_that_is_not(
    route: Route, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escalation, "_MOST", 2)
    receiver.script.extend([answer(400)] * 10)
    missed = reported("missed")
    with monkeypatch.context() as patched:
        patched.setattr(escalation, "next_after_dead", lambda *_: 1 / 0)
        delivery.deliver_due(clock)
    for number in range(3):
        reported(f"noted {number}")
        delivery.deliver_due(clock)
    assert missed.events.filter(kind=EventKind.UNDELIVERED).count() == 0
    escalation.due(clock())
    assert missed.events.filter(kind=EventKind.UNDELIVERED).count() == 1


def test_pages_without_a_step_left_do_not_hide_one_that_has(
    route: Route, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escalation, "_MOST", 2)
    receiver.script.extend([answer(500)] * 4)
    for number in range(3):
        reported(f"old {number}", severity="critical")
    OutboxMessage.objects.update(step=2)
    reported("new", severity="critical")
    clock.pass_by(minutes=2)
    OutboxMessage.objects.update(attempt_count=1)
    escalation.due(clock())
    assert names(incident__slice_key="new") == ["first", "second"]


def test_reminder_waits_for_the_hours_of_its_route(route: Route, receiver: Receiver, clock: Clock) -> None:
    EscalationStep.objects.all().delete()
    office = Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-17:00")
    Route.objects.update(hours=office, outside="wait")
    clock.at = T0 + timedelta(days=1, hours=3)
    reported(now=clock())
    delivery.deliver_due(clock)
    clock.pass_by(hours=4)
    assert reminding.reminders(clock()) == 0, "it is 20:00"
    clock.pass_by(hours=13)
    assert reminding.reminders(clock()) == 1, "it is 09:00"
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.reminder"]


def test_reminder_comes_again_after_each_interval_while_nobody_acknowledges(
    route: Route, receiver: Receiver, clock: Clock
) -> None:
    EscalationStep.objects.all().delete()
    Route.objects.update(repeat_interval_seconds=3600)
    incident = reported()
    delivery.deliver_due(clock)
    clock.pass_by(minutes=59)
    assert reminding.reminders(clock()) == 0
    for number in (1, 2):
        clock.at = T0 + timedelta(hours=number)
        assert reminding.reminders(clock()) == 1
        assert reminding.reminders(clock()) == 0
        delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.reminder", "incident.reminder"]
    payloads = OutboxMessage.objects.filter(kind=MessageKind.REMINDER).order_by("id")
    assert [message.payload["reminder"] for message in payloads] == [1, 2]
    incidents.acknowledge(incident.pk, actor="anna", now=clock())
    clock.pass_by(hours=5)
    assert reminding.reminders(clock()) == 0


@pytest.mark.parametrize("changes", [{"repeat_interval_seconds": 0}, {"digest": "daily"}])
def test_reminders_are_not_for_routes_that_do_not_want_them(
    route: Route, clock: Clock, changes: dict[str, object]
) -> None:
    Route.objects.update(**changes)
    reported()
    clock.pass_by(days=1)
    delivery.deliver_due(clock)
    clock.pass_by(days=1)
    assert reminding.reminders(clock()) == 0


def test_reminder_without_routes_comes_after_three_hours(first: Channel, clock: Clock) -> None:
    reported()
    delivery.deliver_due(clock)
    clock.pass_by(hours=2, minutes=59)
    assert reminding.reminders(clock()) == 0
    clock.pass_by(minutes=1)
    assert reminding.reminders(clock()) == 1


def test_reminder_that_cannot_be_delivered_is_not_written_again_at_once(
    first: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported()
    delivery.deliver_due(clock)
    clock.pass_by(hours=3)
    reminding.reminders(clock())
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    clock.pass_by(minutes=1)
    assert reminding.reminders(clock()) == 0


def test_reminder_that_waits_is_dropped_when_the_end_comes(
    first: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported()
    delivery.deliver_due(clock)
    clock.pass_by(hours=3)
    reminding.reminders(clock())
    over(now=clock())
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.resolved"]
    assert statuses() == ["delivered", "superseded", "delivered"]


def test_second_trigger_that_waits_is_dropped_when_the_end_comes(
    first: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported(severity="warning")
    delivery.deliver_due(clock)
    reported(severity="critical")
    over(now=clock())
    delivery.deliver_due(clock)
    assert told(receiver) == ["incident.opened", "incident.resolved"]
    assert statuses() == ["delivered", "superseded", "delivered"]


def test_trigger_after_a_dead_one_is_sent_and_so_is_its_end(
    first: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported(severity="warning")
    receiver.script.append(answer(400))
    delivery.deliver_due(clock)
    reported(severity="critical")
    delivery.deliver_due(clock)
    over(now=clock())
    delivery.deliver_due(clock)
    assert told(receiver)[1:] == ["incident.opened", "incident.resolved"]
    assert statuses() == ["dead", "delivered", "delivered"]


def test_suppressed_trigger_and_its_end_are_both_dropped(
    first: Channel, receiver: Receiver, clock: Clock
) -> None:
    reported()
    OutboxMessage.objects.update(status="suppressed")
    incident = Incident.objects.get()
    clock.pass_by(minutes=1)
    incidents.resolve(incident.pk, Resolution.FIXED, actor="anna", now=clock())
    OutboxMessage.objects.filter(kind="trigger").update(status="suppressed", reason="")
    OutboxMessage.objects.filter(kind="resolve").update(status="pending", reason="")
    outbox.supersede_unsent(clock())
    assert statuses() == ["superseded", "superseded"]
    assert delivery.deliver_due(clock) == 0
    assert receiver.got == []
