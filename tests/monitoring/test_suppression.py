"""Messages are delayed while something holds them back, and never dropped while they are true."""

import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from monitoring import incidents
from monitoring.history import flags
from monitoring.history.chain import IncidentChanged
from monitoring.models import (
    DeliveryAttempt,
    EventKind,
    Flag,
    Incident,
    IncidentFlag,
    InhibitRule,
    MaintenanceWindow,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Severity,
    Silence,
)
from monitoring.models.outbox import AttemptOutcome
from monitoring.outgoing import outbox
from monitoring.quiet import causes, silences, suppression, window_rows
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import HOUR, NOW, flags_of, opened, over, silenced, told

pytestmark = pytest.mark.django_db

TRIGGER, RESOLVE, ACKNOWLEDGE = MessageKind.TRIGGER, MessageKind.RESOLVE, MessageKind.ACKNOWLEDGE


def deliver(incident: Incident, *, now: object = NOW) -> None:
    """As if a worker had sent what waits."""
    incident.messages.filter(status=MessageStatus.PENDING).update(
        status=MessageStatus.DELIVERED, delivered_at=now
    )


def worsen(incident: Incident, severity: Severity = Severity.CRITICAL, *, now: object = NOW) -> None:
    with transaction.atomic():
        found = incidents.locked_open(incident.pk)
        assert found is not None
        incidents.worsen(found, title="much worse", severity=severity, details={}, now=now)  # type: ignore[arg-type]


def remind(incident: Incident) -> OutboxMessage:
    trigger = incident.messages.get(kind=TRIGGER)
    trigger.pk, trigger.kind, trigger.seq = None, MessageKind.REMINDER, trigger.seq + 1
    trigger.status, trigger.delivered_at, trigger.id = MessageStatus.PENDING, None, OutboxMessage().id
    trigger.save(force_insert=True)
    return trigger


def test_incident_without_a_silence_is_told_at_once() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    assert told(incident) == [(TRIGGER, MessageStatus.PENDING)]
    assert flags_of(incident) == set()
    assert causes.of_one(incident, NOW) == {}


def test_incident_under_a_silence_is_held_back_and_says_by_whom() -> None:
    silence = silenced()
    incident = opened(make_monitor(channels=(make_channel(),)))
    [message] = incident.messages.all()
    assert (message.status, message.suppressed_since) == (MessageStatus.SUPPRESSED, NOW)
    assert message.suppressed_by == "a silence by ada"
    flag = incident.flags.get()
    assert (flag.kind, flag.cause, flag.until) == (Flag.SILENCED, f"silence:{silence.pk}", silence.ends_at)
    event = incident.events.get(kind=EventKind.FLAGGED)
    assert event.actor == "ada"
    assert event.details["until"] == silence.ends_at.isoformat()


def test_comment_of_a_silence_never_leaves_with_a_message() -> None:
    silenced(comment="patient 4711 complained")
    incident = opened(make_monitor(channels=(make_channel(),)))
    [message] = incident.messages.all()
    assert "4711" not in f"{message.suppressed_by} {message.reason} {message.payload}"


def test_silence_that_begins_later_holds_back_what_was_not_sent_yet() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    silenced(starts_at=NOW + HOUR)
    assert suppression.tend(NOW) == 0
    assert suppression.tend(NOW + HOUR) == 1
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED)]


def test_end_of_a_silence_gives_the_message_back_once_with_a_new_life() -> None:
    silenced()
    incident = opened(make_monitor(channels=(make_channel(),)))
    end = NOW + 2 * HOUR
    assert suppression.tend(end - timedelta(seconds=1)) == 0
    assert suppression.tend(end) == 1
    assert suppression.tend(end) == 0
    [message] = incident.messages.all()
    assert (message.status, message.suppressed_since) == (MessageStatus.PENDING, NOW)
    assert message.not_before == end
    assert message.expires_at == end + OutboxMessage.LIFETIME
    assert message.suppressed_by == "a silence by ada"
    assert flags_of(incident) == set()
    kinds = list(incident.events.values_list("kind", flat=True))
    assert kinds.count(EventKind.FLAGGED) == kinds.count(EventKind.UNFLAGGED) == 1


def test_message_that_was_to_wait_longer_than_the_silence_keeps_its_time() -> None:
    silenced()
    incident = opened(make_monitor(channels=(make_channel(),)))
    later = NOW + 5 * HOUR
    incident.messages.update(not_before=later)
    suppression.tend(NOW + 2 * HOUR)
    assert incident.messages.get().not_before == later


def test_incident_over_within_the_silence_is_told_to_nobody() -> None:
    silenced()
    incident = opened(make_monitor(channels=(make_channel(),)))
    over(incident, now=NOW + HOUR)
    suppression.tend(NOW + HOUR)
    outbox.supersede_unsent(NOW + HOUR)
    assert told(incident) == [(TRIGGER, MessageStatus.SUPERSEDED), (RESOLVE, MessageStatus.SUPERSEDED)]
    assert flags_of(incident) == set()


def test_resolve_of_what_was_told_goes_out_during_a_silence() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    deliver(incident)
    silenced()
    suppression.tend(NOW)
    over(incident, now=NOW + HOUR)
    suppression.tend(NOW + HOUR)
    assert told(incident) == [(TRIGGER, MessageStatus.DELIVERED), (RESOLVE, MessageStatus.PENDING)]
    later = NOW + 2 * HOUR
    assert [one.kind for one in OutboxMessage.objects.due(later)] == [RESOLVE]


def test_acknowledgement_of_what_was_told_goes_out_during_a_silence() -> None:
    incident = opened(make_monitor(channels=(make_channel(kind="pagerduty"),)))
    deliver(incident)
    silenced()
    suppression.tend(NOW)
    incidents.acknowledge(incident.pk, actor="ada", now=NOW)
    suppression.tend(NOW + HOUR)
    assert (ACKNOWLEDGE, MessageStatus.PENDING) in told(incident)


def test_acknowledgement_of_what_nobody_heard_waits_with_it() -> None:
    silenced()
    incident = opened(make_monitor(channels=(make_channel(kind="pagerduty"),)))
    incidents.acknowledge(incident.pk, actor="ada", now=NOW)
    suppression.tend(NOW)
    with transaction.atomic():
        found = incidents.locked_open(incident.pk)
        assert found is not None
        suppression.apply(found, NOW)
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED), (ACKNOWLEDGE, MessageStatus.SUPPRESSED)]
    suppression.tend(NOW + 2 * HOUR)
    assert told(incident) == [(TRIGGER, MessageStatus.PENDING), (ACKNOWLEDGE, MessageStatus.PENDING)]


@pytest.mark.parametrize("first", ["sweep", "delivery"])
def test_update_held_back_after_a_told_trigger_does_not_block_the_resolve(first: str) -> None:
    incident = opened(make_monitor(channels=(make_channel(),)), severity=Severity.WARNING)
    deliver(incident)
    silenced()
    suppression.tend(NOW)
    worsen(incident)
    over(incident, now=NOW + HOUR)
    if first == "sweep":
        suppression.tend(NOW + HOUR)
    outbox.supersede_unsent(NOW + HOUR)
    suppression.tend(NOW + HOUR)
    assert told(incident) == [
        (TRIGGER, MessageStatus.DELIVERED),
        (TRIGGER, MessageStatus.SUPERSEDED),
        (RESOLVE, MessageStatus.PENDING),
    ]
    assert [one.kind for one in OutboxMessage.objects.due(NOW + 2 * HOUR)] == [RESOLVE]


def test_several_waiting_triggers_collapse_to_the_newest_which_can_be_sent() -> None:
    silenced()
    incident = opened(make_monitor(channels=(make_channel(),)), severity=Severity.WARNING)
    worsen(incident, Severity.ERROR)
    worsen(incident, Severity.CRITICAL)
    suppression.tend(NOW)
    end = NOW + 2 * HOUR
    suppression.tend(end)
    statuses = [status for _, status in told(incident)]
    assert statuses == [MessageStatus.SUPERSEDED, MessageStatus.SUPERSEDED, MessageStatus.PENDING]
    [due] = OutboxMessage.objects.due(end + HOUR)
    assert due.payload["severity"] == Severity.CRITICAL
    assert due.suppressed_since == NOW


def test_reminder_is_held_back_and_a_trigger_that_waits_too_says_it() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    reminder = remind(incident)
    silenced()
    suppression.tend(NOW)
    assert [status for _, status in told(incident)] == [MessageStatus.SUPPRESSED] * 2
    suppression.tend(NOW + 2 * HOUR)
    reminder.refresh_from_db()
    assert (reminder.status, reminder.reason) == (MessageStatus.SUPERSEDED, "a newer message says it")
    assert incident.messages.get(kind=TRIGGER).status == MessageStatus.PENDING


def test_reminder_alone_is_given_back() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    deliver(incident)
    reminder = remind(incident)
    silenced()
    suppression.tend(NOW)
    suppression.tend(NOW + 2 * HOUR)
    reminder.refresh_from_db()
    assert reminder.status == MessageStatus.PENDING


def test_leased_message_stays_with_its_worker() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    incident.messages.update(status=MessageStatus.LEASED, lease_until=NOW + HOUR)
    silenced()
    suppression.tend(NOW)
    assert told(incident) == [(TRIGGER, MessageStatus.LEASED)]


def test_message_that_may_have_arrived_stays_with_its_delivery() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    DeliveryAttempt.objects.create(
        message=incident.messages.get(),
        number=1,
        started_at=NOW,
        outcome=AttemptOutcome.FAILED,
        is_ambiguous=True,
    )
    silenced()
    suppression.tend(NOW)
    assert told(incident) == [(TRIGGER, MessageStatus.PENDING)]
    assert suppression.tend(NOW) == 0


def test_message_that_certainly_did_not_arrive_is_held_back() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    DeliveryAttempt.objects.create(
        message=incident.messages.get(), number=1, started_at=NOW, outcome=AttemptOutcome.FAILED
    )
    incident.messages.update(attempt_count=1)
    silenced()
    suppression.tend(NOW)
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED)]


def test_two_silences_hold_until_the_later_ends() -> None:
    silenced()
    silenced(ends_at=NOW + 4 * HOUR)
    incident = opened(make_monitor(channels=(make_channel(),)))
    suppression.tend(NOW + 3 * HOUR)
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED)]
    suppression.tend(NOW + 4 * HOUR)
    assert told(incident) == [(TRIGGER, MessageStatus.PENDING)]


def test_window_is_stronger_than_a_silence_and_both_are_flagged() -> None:
    silenced()
    MaintenanceWindow.objects.create(name="restart", starts_at=NOW, ends_at=NOW + HOUR, created_by="bo")
    incident = opened(make_monitor(channels=(make_channel(),)))
    assert flags_of(incident) == {Flag.SILENCED, Flag.MAINTENANCE}
    assert incident.messages.get().suppressed_by == "the maintenance window “restart”"
    found = causes.strongest(causes.of_one(incident, NOW))
    assert found is not None
    assert found.kind == Flag.MAINTENANCE
    suppression.tend(NOW + HOUR)
    assert flags_of(incident) == {Flag.SILENCED}
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED)]


def test_silence_of_other_labels_holds_nothing_back() -> None:
    silenced('monitor="another one"')
    incident = opened(make_monitor(channels=(make_channel(),)))
    assert told(incident) == [(TRIGGER, MessageStatus.PENDING)]


def test_asking_what_holds_writes_nothing() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    silenced()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = causes.of_one(incident, NOW)
    assert set(found) == {Flag.SILENCED}
    assert [one["sql"] for one in queries if not one["sql"].startswith("SELECT")] == []


def test_row_that_cannot_be_read_holds_nothing_and_hides_no_other() -> None:
    broken = silenced()
    Silence.objects.filter(pk=broken.pk).update(matchers=[{"name": "a", "value": "(", "isRegex": True}])
    MaintenanceWindow.objects.create(
        name="odd", zone="No/Where", repeats="weekly", weekdays="sat", starts_at=NOW, created_by="bo"
    )
    silenced()
    incident = opened(make_monitor(channels=(make_channel(),)))
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED)]


def test_event_log_stays_sealed_through_flags() -> None:
    from monitoring.history.chain import Sealed, verify

    silenced()
    incident = opened(make_monitor(channels=(make_channel(),)))
    suppression.tend(NOW + 2 * HOUR)
    verdict = verify(Sealed.of(event) for event in incident.events.order_by("seq"))
    assert verdict.is_intact
    assert verdict.event_count == 3


def test_suspicion_is_flagged_without_messages() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident = opened(monitor)
    Incident.objects.filter(pk=incident.pk).update(state="suspect")
    incident.messages.all().delete()
    silenced()
    suppression.tend(NOW)
    assert flags_of(incident) == {Flag.SILENCED}


def test_canary_is_never_held_back() -> None:
    from monitoring.models import CANARY_METRIC

    monitor = make_monitor(channels=(make_channel(),))
    type(monitor).objects.filter(pk=monitor.pk).update(metric=CANARY_METRIC)
    monitor.refresh_from_db()
    MaintenanceWindow.objects.create(name="all", starts_at=NOW, ends_at=NOW + HOUR, created_by="bo")
    assert told(opened(monitor)) == [(TRIGGER, MessageStatus.PENDING)]


def test_sweep_of_many_incidents_and_silences_is_cheap() -> None:
    monitor = make_monitor()
    rows = [
        Incident(
            monitor=monitor,
            slice_key=f"variant=v{number}",
            labels={"variant": f"v{number}", "model": f"m{number % 7}"},
            title="t",
            severity=Severity.ERROR,
            onset_at=NOW,
            opened_at=NOW,
        )
        for number in range(1_000)
    ]
    Incident.objects.bulk_create(rows)
    Silence.objects.bulk_create(
        Silence(
            matchers=[
                {"name": "variant", "value": f"w{number}|x{number}.*", "isRegex": True, "isEqual": True},
                {"name": "model", "value": f"m{number % 7}", "isRegex": False, "isEqual": True},
            ],
            starts_at=NOW,
            ends_at=NOW + HOUR,
            comment="c",
            created_by="ada",
            created_at=NOW,
            updated_at=NOW,
        )
        for number in range(100)
    )
    suppression.tend(NOW)
    began = time.perf_counter()
    with CaptureQueriesContext(connection) as queries:
        assert suppression.tend(NOW) == 0
    took = time.perf_counter() - began
    assert len(queries) <= 10
    assert took < 2.0  # 0.2 s when nothing else runs


def test_ended_silence_is_not_read_again() -> None:
    silence = silenced()
    incident = opened(make_monitor(channels=(make_channel(),)))
    silences.end(silence.pk, by="bo", now=NOW + HOUR)
    suppression.tend(NOW + HOUR)
    assert told(incident) == [(TRIGGER, MessageStatus.PENDING)]


def many(count: int) -> list[Incident]:
    channel = make_channel()
    return [opened(make_monitor(name=f"m{number}", channels=(channel,)), now=NOW) for number in range(count)]


def test_nothing_that_matches_leaves_after_a_silence_is_made() -> None:
    """Also of those whose flags the sweep has not set yet, as after a commit whose sweep was lost."""
    incidents_ = many(60)
    silence = silenced('monitor=~"m.*"')
    assert not IncidentFlag.objects.exists()
    assert not OutboxMessage.objects.due(NOW + HOUR).exists()
    assert OutboxMessage.objects.filter(suppressed_by="a silence by ada").count() == 60
    assert suppression.tend(NOW) == 60
    assert IncidentFlag.objects.filter(cause=f"silence:{silence.pk}").count() == len(incidents_)


def test_nothing_that_matches_leaves_after_a_silence_is_changed() -> None:
    silence = silenced(starts_at=NOW + HOUR)
    incident = opened(make_monitor(channels=(make_channel(),)))
    values = {"ends_at": NOW + 3 * HOUR, "comment": "c", "created_by": "bo", "now": NOW}
    silences.change(silence.pk, silences.matchers_of(silence), starts_at=NOW, **values)  # type: ignore[arg-type]
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED)]


def test_nothing_leaves_after_a_window_is_saved_that_is_open() -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    window = MaintenanceWindow(name="restart", starts_at=NOW, ends_at=NOW + HOUR, created_by="bo")
    window_rows.save(window, now=NOW)
    assert told(incident) == [(TRIGGER, MessageStatus.SUPPRESSED)]


def test_silence_holds_back_neither_what_is_on_its_way_nor_what_others_tell() -> None:
    leased, other = many(2)
    leased.messages.update(status=MessageStatus.LEASED, lease_until=NOW + HOUR)
    silenced('monitor="m0"')
    assert told(leased) == [(TRIGGER, MessageStatus.LEASED)]
    assert told(other) == [(TRIGGER, MessageStatus.PENDING)]


def test_sweep_whose_time_is_up_holds_all_back_and_goes_on_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    many(3)
    silenced('monitor=~"m.*"', starts_at=NOW + HOUR)
    monkeypatch.setattr(suppression, "SECONDS", 0.0)
    monkeypatch.setattr(suppression, "_AT_A_TIME", 1)
    assert suppression.tend(NOW + HOUR) == 1
    assert not OutboxMessage.objects.exclude(status=MessageStatus.SUPPRESSED).exists()
    assert [suppression.tend(NOW + HOUR) for _ in range(3)] == [1, 1, 0]


def test_one_that_cannot_be_put_right_keeps_no_other_from_it() -> None:
    first, second = many(2)
    silenced('monitor=~"m.*"', starts_at=NOW + HOUR)
    Incident.objects.filter(pk=first.pk).update(labels=["broken"])
    assert suppression.tend(NOW + HOUR) == 1
    assert (flags_of(first), flags_of(second)) == (set(), {Flag.SILENCED})


def test_incident_that_another_one_changed_is_left_to_the_next_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = many(2)
    silenced('monitor=~"m.*"')
    flag = flags.flag

    def changed(incident: Incident, *args: object, **kwargs: object) -> object:
        if incident.pk == first.pk:
            raise IncidentChanged
        return flag(incident, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(flags, "flag", changed)
    assert suppression.tend(NOW) == 1
    monkeypatch.undo()
    assert suppression.tend(NOW) == 1
    assert flags_of(first) == flags_of(second) == {Flag.SILENCED}


def test_of_two_that_hold_back_each_other_a_sweep_holds_only_one() -> None:
    many(2)
    InhibitRule.objects.create(name="one", source_matchers=["monitor=m0"], target_matchers=["monitor=m1"])
    InhibitRule.objects.create(name="two", source_matchers=["monitor=m1"], target_matchers=["monitor=m0"])
    for _ in range(3):
        suppression.tend(NOW)
    assert IncidentFlag.objects.active().filter(kind=Flag.INHIBITED).count() == 1
    assert OutboxMessage.objects.filter(status=MessageStatus.PENDING).count() == 1


def test_sweep_in_which_all_change_asks_a_few_questions_of_each() -> None:
    many(20)
    InhibitRule.objects.create(
        name="r", source_matchers=["monitor=m0"], target_matchers=["monitor=~m.*", "monitor!=m0"]
    )
    with CaptureQueriesContext(connection) as queries:
        assert suppression.tend(NOW) == 19
    assert len(queries) <= 19 * 14 + 30
