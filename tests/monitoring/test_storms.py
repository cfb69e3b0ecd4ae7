"""A thousand incidents at once: within the receivers' rates, and few messages to read."""

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from monitoring import incidents
from monitoring.models import Channel, MessageKind, MessageStatus, OutboxMessage, Route, Source
from monitoring.outgoing import delivery
from tests.monitoring.factories import make_channel
from tests.monitoring.receiver import Receiver, answer
from tests.monitoring.test_slack import assert_within_limits

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]

T0 = datetime(2026, 3, 2, 13, 0, tzinfo=UTC)
STORM = 1_000
STORM_TEXT = "1\N{NARROW NO-BREAK SPACE}000"
PAGES = 60
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.at = T0

    def __call__(self) -> datetime:
        return self.at

    def go_to(self, seconds: float) -> None:
        self.at = T0 + timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _slack(receiver: Receiver, name: str = "people") -> Channel:
    return make_channel(name, kind="slack", url=receiver.url, secret="")


def _route(channel: Channel, **changes: Any) -> None:
    route = Route.objects.create(name="all", group_by=["service"], **changes)
    route.channels.set([channel])


def _open(count: int, now: datetime, teams: int = 1) -> None:
    """One transaction, as one payload of Alertmanager is not, but faster; what is written is the same."""
    with transaction.atomic():
        for number in range(count):
            incidents.report(
                Source.API,
                f"disk {number}",
                title=f"The disk of node {number} is full",
                severity="critical" if number == count - 1 else "warning",
                labels={"alertname": "DiskFull", "node": str(number), "service": f"team-{number % teams}"},
                annotations={"summary": "x" * 500},
                onset_at=now,
                actor="key",
                now=now,
            )


def _end(count: int, now: datetime) -> None:
    with transaction.atomic():
        for number in range(count):
            incidents.report_over(Source.API, f"disk {number}", actor="key", now=now)


def _calls(
    clock: Clock, receiver: Receiver, seconds: Iterator[float], until: Callable[[], bool]
) -> list[float]:
    """At which second of the simulated time each call came."""
    found: list[float] = []
    for second in seconds:
        clock.go_to(second)
        delivery.deliver_due(clock)
        found += [second] * (len(receiver.got) - len(found))
        if until():
            return found
    raise AssertionError(f"not done after {second} s: {len(found)} calls")


def _every(step: float, *, start: float, end: float) -> Iterator[float]:
    return (start + step * number for number in range(round((end - start) / step) + 1))


def _all_delivered() -> bool:
    return not OutboxMessage.objects.exclude(status=MessageStatus.DELIVERED).exists()


def test_thousand_incidents_at_once_read_as_one_message_and_end_as_one(
    receiver: Receiver, clock: Clock
) -> None:
    _route(_slack(receiver))
    _open(STORM, T0)
    assert delivery.deliver_due(clock) == 0, "the group waits for the rest of the storm"
    clock.go_to(30)
    assert delivery.deliver_due(clock) == STORM
    first = json.loads(receiver.got[0].body)
    assert_within_limits(first)
    assert first["text"] == f"{STORM_TEXT} firing · service=team-0"
    lines = [block["text"]["text"] for block in first["blocks"] if block["type"] == "section"]
    assert "The disk of node 999 is full" in lines[0], "the worst comes first"
    assert lines[-1] == "and 990 more"
    clock.go_to(60)
    _end(STORM, clock())
    assert delivery.deliver_due(clock) == 0, "its end waits for the group's interval"
    clock.go_to(330)
    assert delivery.deliver_due(clock) == STORM
    assert len(receiver.got) == 2
    last = json.loads(receiver.got[1].body)
    assert_within_limits(last)
    assert last["text"] == f"{STORM_TEXT} resolved · service=team-0"
    assert _all_delivered()
    assert OutboxMessage.objects.count() == 2 * STORM


def test_groups_of_one_channel_keep_slacks_rate_and_lose_nothing_to_its_refusals(
    receiver: Receiver, clock: Clock
) -> None:
    _route(_slack(receiver))
    _open(60, T0, teams=10)
    receiver.script.extend([answer(200, b"ok"), answer(429, b"", Retry_After="3"), answer(500)])
    calls = _calls(clock, receiver, _every(0.1, start=30, end=90), _all_delivered)
    assert len(calls) == 12, "ten groups, and two of them again"
    gaps = [later - sooner for sooner, later in itertools.pairwise(calls)]
    assert min(gaps) >= 1 - 1e-9
    assert gaps[1] >= 3 - 1e-9, "it asked for three seconds"
    texts = [json.loads(got.body)["text"] for got in receiver.got]
    assert {text.partition(" · ")[0] for text in texts} == {"6 firing"}
    assert len(set(texts)) == 10


def test_pages_of_a_storm_keep_pagerdutys_rate_and_all_arrive(receiver: Receiver, clock: Clock) -> None:
    channel = make_channel("pager", kind="pagerduty", url=receiver.url, secret=ROUTING_KEY)
    _route(channel, group_wait_seconds=0)
    receiver.script.extend([answer(202, b'{"status":"success"}')] * (2 * PAGES))
    _open(PAGES, T0)
    calls = _calls(clock, receiver, _every(0.5, start=0, end=60), _all_delivered)
    for start in calls:
        assert sum(start <= at < start + 20 for at in calls) <= 40 + 10, "two a second, after a burst of ten"
    events = [json.loads(got.body) for got in receiver.got]
    assert len({event["dedup_key"] for event in events}) == len(events) == PAGES
    assert {event["event_action"] for event in events} == {"trigger"}


def test_storm_that_is_over_before_it_was_told_tells_nobody(receiver: Receiver, clock: Clock) -> None:
    _route(_slack(receiver))
    _open(20, T0)
    clock.go_to(10)
    _end(20, clock())
    clock.go_to(400)
    assert delivery.deliver_due(clock) == 0
    assert receiver.got == []
    left = set(OutboxMessage.objects.values_list("kind", "status"))
    assert left == {
        (MessageKind.TRIGGER, MessageStatus.SUPERSEDED),
        (MessageKind.RESOLVE, MessageStatus.SUPERSEDED),
    }
