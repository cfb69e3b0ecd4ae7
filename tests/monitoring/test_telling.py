"""Who is told, when and with what: monitors' own channels and the tree of routes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring import incidents
from monitoring.models import (
    Hours,
    Incident,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Route,
    Source,
)
from monitoring.notifying import telling
from monitoring.outgoing import outbox
from tests.monitoring.factories import make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 3, 2, 13, 0, tzinfo=UTC)
SLACK = {"kind": "slack", "url": "https://hooks.slack.com/services/x"}


def make_route(name: str = "root", *, channels: tuple[Any, ...] = (), **changes: Any) -> Route:
    route = Route.objects.create(name=name, **changes)
    route.channels.set(channels)
    return route


def report(key: str, *, now: datetime = T0, **labels: str) -> Incident:
    return incidents.report(
        Source.API,
        key,
        title=key,
        severity=labels.pop("severity", "error"),
        labels=labels,
        annotations={},
        onset_at=now,
        actor="key",
        now=now,
    )


def sent(**about: Any) -> list[tuple[str, str, float]]:
    rows = OutboxMessage.objects.filter(**about).order_by("pk").select_related("channel")
    return [(row.channel.name, row.kind, (row.not_before - T0).total_seconds()) for row in rows]


def test_report_without_routes_is_told_where_halts_are_told() -> None:
    make_channel("ops")
    make_channel("quiet", takes_experiments=False)
    report("a")
    assert sent() == [("ops", "trigger", 0)]


def test_route_waits_for_its_group_and_then_keeps_its_interval() -> None:
    make_route(channels=(make_channel("team", **SLACK),))
    report("a")
    report("b", now=T0 + timedelta(seconds=10))
    assert sent() == [("team", "trigger", 30), ("team", "trigger", 30)]
    OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=T0)
    report("c", now=T0 + timedelta(seconds=60))
    assert sent()[-1] == ("team", "trigger", 330)
    assert len(set(OutboxMessage.objects.values_list("group_key", flat=True))) == 1


def test_groups_differ_by_the_labels_of_group_by() -> None:
    make_route(channels=(make_channel("team", **SLACK),), group_by=["host"])
    for key, host in (("a", "x"), ("b", "x"), ("c", "y")):
        report(key, host=host)
    assert len(set(OutboxMessage.objects.values_list("group_key", flat=True))) == 2


def test_deepest_route_that_matches_decides_and_says_why() -> None:
    root = make_route(channels=(make_channel("team", **SLACK),))
    pager = make_channel(
        "pager", kind="pagerduty", url="https://events.pagerduty.com/v2/enqueue", secret="x" * 32
    )
    make_route(
        "night", parent=root, matchers=['severity="critical"'], channels=(pager,), group_wait_seconds=0
    )
    report("a", severity="critical")
    message = OutboxMessage.objects.get()
    assert (message.channel, message.because) == (pager, "route root → night")
    assert (message.not_before, message.group_key) == (T0, "")


def test_route_that_tells_nobody_tells_nobody() -> None:
    root = make_route(channels=(make_channel("team", **SLACK),))
    make_route("noise", parent=root, matchers=["host=x"], tells_nobody=True)
    report("a", host="x")
    assert sent() == []


def test_channel_that_monitor_and_route_name_is_told_once_and_at_once() -> None:
    team = make_channel("team", **SLACK)
    make_route(channels=(team,))
    incident = make_incident(make_monitor(channels=(team,)))
    legs = telling.legs_of(incident, MessageKind.TRIGGER, now=T0)
    assert [(leg.channel, leg.because, leg.not_before) for leg in legs] == [(team, telling.NAMED, T0)]


def test_message_outside_of_hours_waits_until_they_begin() -> None:
    office = Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-12:00")
    make_route(channels=(make_channel("team", **SLACK),), hours=office, outside="wait")
    report("a")
    assert sent() == [("team", "trigger", 20 * 3600)]


def test_digest_is_told_at_its_hour() -> None:
    make_route(channels=(make_channel("team", **SLACK),), digest="daily", digest_hour=9)
    report("a")
    report("b", now=T0 + timedelta(hours=1))
    assert sent() == [("team", "trigger", 20 * 3600)] * 2


def test_end_before_the_group_was_told_is_told_to_nobody() -> None:
    make_route(channels=(make_channel("team", **SLACK),))
    report("a")
    incidents.report_over(Source.API, "a", actor="key", now=T0 + timedelta(seconds=5))
    assert sent() == [("team", "trigger", 30), ("team", "resolve", 30)]
    outbox.supersede_unsent(T0 + timedelta(seconds=30))
    assert set(OutboxMessage.objects.values_list("status", flat=True)) == {MessageStatus.SUPERSEDED}


def test_end_is_told_with_the_next_message_of_its_group() -> None:
    make_route(channels=(make_channel("team", **SLACK),))
    report("a")
    OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=T0)
    incidents.report_over(Source.API, "a", actor="key", now=T0 + timedelta(seconds=60))
    assert sent()[-1] == ("team", "resolve", 330)


def test_message_carries_the_hash_of_what_it_tells_and_its_labels() -> None:
    make_channel("ops")
    incident = report("a", host="x")
    payload = OutboxMessage.objects.get().payload
    assert payload["event_hash"] == incident.events.get(seq=1).hash
    assert payload["routing_labels"]["host"] == "x"
    assert payload["inbox_url"].endswith("/inbox/")
