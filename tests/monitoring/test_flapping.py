"""What comes and goes fifty times an hour, and how little of that is told."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from monitoring import checks, incidents
from monitoring.models import (
    EventKind,
    Flag,
    Incident,
    MessageKind,
    OutboxMessage,
    Severity,
    Source,
)
from monitoring.outgoing import delivery
from monitoring.reports.reported import take_alerts
from tests.monitoring.alerts import alert, iso
from tests.monitoring.factories import add_bucket, bucket_at, close, make_channel, make_monitor
from tests.monitoring.receiver import Receiver

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 3, 2, 13, 0, tzinfo=UTC)
CYCLE = timedelta(seconds=72)
"""Fifty an hour."""
HOUR = timedelta(hours=1)
MOST_IN_AN_HOUR = 3

Report = Callable[[datetime], object]


def _begin(now: datetime) -> None:
    incidents.report(
        Source.API,
        "disk",
        title="The disk is full",
        severity=Severity.ERROR,
        labels={"node": "a"},
        annotations={},
        onset_at=now,
        actor="key",
        now=now,
    )


def _end(now: datetime) -> None:
    incidents.report_over(Source.API, "disk", actor="key", now=now)


def _alert_begins(now: datetime) -> None:
    taken = take_alerts([alert(startsAt=iso(now))], source=Source.ALERTMANAGER, actor="key", now=now)
    assert taken.mistakes == []


def _alert_ends(now: datetime) -> None:
    over = alert(status="resolved", startsAt=iso(now - CYCLE / 2), endsAt=iso(now))
    taken = take_alerts([over], source=Source.ALERTMANAGER, actor="key", now=now)
    assert taken.mistakes == []


def _flap(begin: Report, end: Report, *, hours: int) -> datetime:
    """Bad for the first half of each cycle, well for the second; sweeps look in between. When it was last bad."""
    at = T0
    while at < T0 + hours * HOUR:
        begin(at)
        _sweep(at + timedelta(seconds=15))
        end(at + CYCLE / 2)
        _sweep(at + CYCLE / 2 + timedelta(seconds=15))
        at += CYCLE
    return at - CYCLE / 2


def _sweep(now: datetime) -> None:
    incidents.tend(now)
    delivery.deliver_due(lambda: now)


def _rest(start: datetime, *, hours: int) -> None:
    for minutes in range(0, hours * 60, 5):
        _sweep(start + timedelta(minutes=minutes))


def _told() -> list[tuple[str, datetime]]:
    rows = OutboxMessage.objects.order_by("delivered_at").values_list("kind", "delivered_at")
    return [(kind, at) for kind, at in rows if at is not None]


def _check(told: list[tuple[str, datetime]]) -> None:
    for _, start in told:
        assert sum(start <= at < start + HOUR for _, at in told) <= MOST_IN_AN_HOUR, told


@pytest.mark.parametrize(
    ("begin", "end"), [(_begin, _end), (_alert_begins, _alert_ends)], ids=["api", "alertmanager"]
)
def test_what_flaps_fifty_times_an_hour_is_told_three_times_and_once_that_it_is_over(
    begin: Report, end: Report, receiver: Receiver
) -> None:
    make_channel(url=receiver.url)
    last = _flap(begin, end, hours=3)
    told = _told()
    assert [kind for kind, _ in told] == [MessageKind.TRIGGER, MessageKind.RESOLVE, MessageKind.TRIGGER]
    _check(told)
    assert Incident.objects.open().count() == 1
    _rest(last, hours=3)
    told = _told()
    assert [kind for kind, _ in told[3:]] == [MessageKind.RESOLVE]
    assert len(receiver.got) == len(told) == 4
    _check(told)
    assert Incident.objects.unresolved().count() == 0


def test_what_flaps_is_marked_and_says_why(receiver: Receiver) -> None:
    make_channel(url=receiver.url)
    _flap(_begin, _end, hours=1)
    incident = Incident.objects.open().get()
    flag = incident.flags.active().get()
    assert (flag.kind, flag.why) == (Flag.FLAPPING, "back 36\u202fs after it was over")
    assert flag.cause.startswith("incident:"), "what came before it stays known when it falls back too"
    first = incident.events.filter(kind=EventKind.FLAGGED).order_by("seq")[0]
    assert first.details["why"] == "back 36\u202fs after it was over"


def test_what_returns_steadily_is_told_each_time(receiver: Receiver) -> None:
    """The other side of it: news that is an hour apart is no flapping."""
    make_channel(url=receiver.url)
    for number in range(4):
        at = T0 + number * 3 * HOUR
        _begin(at)
        _sweep(at)
        _end(at + HOUR)
        _sweep(at + HOUR)
    assert [kind for kind, _ in _told()] == [MessageKind.TRIGGER, MessageKind.RESOLVE] * 4


def test_slice_of_a_monitor_that_flaps_is_told_three_times_at_most_in_an_hour() -> None:
    """Bad for two buckets, well for three, for ten hours, of which each cycle alone would be told twice."""
    make_monitor(channels=(make_channel(),), hold_seconds=0)
    for number in range(120):
        add_bucket(number, 0.5 if number % 5 < 2 else 0.85)
        close(number)
        checks.run_due(bucket_at(number + 1))
    told = list(OutboxMessage.objects.order_by("created_at", "seq").values_list("kind", "created_at"))
    kinds = [kind for kind, _ in told]
    assert kinds == [MessageKind.TRIGGER, MessageKind.RESOLVE, MessageKind.TRIGGER]
    _check(told)
    assert Incident.objects.open().get().flags.active().get().kind == Flag.FLAPPING
    for number in range(120, 150):
        add_bucket(number, 0.85)
        close(number)
        checks.run_due(bucket_at(number + 1))
        incidents.tend(bucket_at(number + 1))
    assert Incident.objects.open().count() == 0
    assert OutboxMessage.objects.filter(kind=MessageKind.RESOLVE).count() == 2
