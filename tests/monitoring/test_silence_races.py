"""Silences that are made while incidents open, and several sweeps at once."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from monitoring.models import EventKind, IncidentFlag, MessageStatus, Monitor, OutboxMessage
from monitoring.quiet import silences, suppression
from monitoring.routing.matchers import parse
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import HOUR, NOW, flags_of, opened, over, silenced, told
from tests.monitoring.test_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


class Aside(threading.Thread):
    """Something that runs beside the test, with a connection of its own."""

    def __init__(self, work: object) -> None:
        super().__init__()
        self.work, self.error = work, None
        self.start()

    def run(self) -> None:
        try:
            self.work()  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 - told to the test
            self.error = error  # type: ignore[assignment]
        finally:
            connections.close_all()

    def ended(self) -> None:
        self.join(30)
        assert not self.is_alive()
        assert self.error is None


def wait_until_blocked(aside: Aside) -> None:
    """Until it waits for a lock that this transaction holds; fails when it goes through."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if cursor.fetchone()[0]:
                return
        aside.join(0.02)
        assert aside.is_alive(), "it must wait for the other one"
    pytest.fail("it neither waited nor ended")


def test_silence_made_while_an_incident_opens_finds_it() -> None:
    """The incident looked for silences before there was one, and is committed after the silence was asked for."""
    monitor = make_monitor(channels=(make_channel(),))
    with transaction.atomic():
        incident = opened(monitor)
        assert told(incident) == [("trigger", "pending")]
        making = Aside(silenced)
        wait_until_blocked(making)
    making.ended()
    assert told(incident) == [("trigger", "suppressed")]


def test_incident_that_opens_while_a_silence_is_made_sees_it() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    with suppression.changing():
        silences._create(parse('metric="helpfulness"'), NOW, NOW + HOUR, "c", "ada", NOW)
        opening = Aside(lambda: opened(monitor))
        wait_until_blocked(opening)
    opening.ended()
    [message] = OutboxMessage.objects.all()
    assert message.status == MessageStatus.SUPPRESSED


def test_several_sweeps_at_once_flag_and_give_back_once() -> None:
    channel = make_channel()
    found = []
    for number in range(8):
        monitor = make_monitor(name=f"m{number}", channels=(channel,))
        found.append(opened(monitor))
    silences.make(
        parse('metric="helpfulness"'),
        starts_at=NOW + HOUR,
        ends_at=NOW + 2 * HOUR,
        comment="c",
        created_by="a",
        now=NOW,
    )
    for now in (NOW + HOUR, NOW + 2 * HOUR):
        at_once(lambda now=now: suppression.tend(now))  # type: ignore[misc]
        suppression.tend(now)
    for incident in found:
        assert told(incident) == [("trigger", "pending")]
        kinds = list(incident.events.values_list("kind", flat=True))
        assert kinds.count(EventKind.FLAGGED) == kinds.count(EventKind.UNFLAGGED) == 1
    assert IncidentFlag.objects.active().count() == 0


def test_sweep_leaves_what_another_holds_for_the_next_time() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident = opened(monitor)
    silenced(starts_at=NOW + HOUR)
    moved: list[int] = []
    with transaction.atomic():
        Monitor.objects.select_for_update(no_key=True).get(pk=monitor.pk)
        Aside(lambda: moved.append(suppression.tend(NOW + HOUR))).ended()
    assert moved == [0]
    assert flags_of(incident) == set()
    assert suppression.tend(NOW + HOUR) == 1


def test_sweep_and_resolve_at_once_leave_nothing_held() -> None:
    for number in range(6):
        monitor = make_monitor(name=f"m{number}", channels=(make_channel(f"c{number}"),))
        silence = silenced(f'monitor="m{number}"')
        incident = opened(monitor)
        silences.end(silence.pk, by="bo", now=NOW + timedelta(seconds=1))
        silenced(f'monitor="m{number}"', now=NOW + timedelta(seconds=2))
        ending = Aside(lambda incident=incident: over(incident, now=NOW + HOUR))
        suppression.tend(NOW + HOUR)
        ending.ended()
        suppression.tend(NOW + HOUR)
        statuses = {status for _, status in told(incident)}
        assert MessageStatus.SUPPRESSED not in statuses
        assert flags_of(incident) == set()


def test_silence_ended_twice_at_once_is_ended_once() -> None:
    silence = silenced()
    outcomes: list[str] = []

    def end() -> None:
        try:
            silences.end(silence.pk, by="bo", now=NOW + HOUR)
            outcomes.append("ended")
        except silences.SilenceOver:
            outcomes.append("over")

    at_once(end)
    assert sorted(outcomes) == ["ended", "over", "over", "over"]
