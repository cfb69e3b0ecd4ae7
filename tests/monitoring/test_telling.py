"""Who is told, when and with what: monitors' own channels and the tree of routes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring import incidents
from monitoring.models import (
    Channel,
    Hours,
    Incident,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Route,
    Source,
)
from monitoring.notifying import telling
from monitoring.outgoing import delivery, outbox, resending
from monitoring.quiet import suppression
from tests.monitoring.factories import make_channel, make_incident, make_monitor
from tests.monitoring.receiver import Receiver, answer
from tests.monitoring.silencing import opened, silenced

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
    route = make_route(channels=(team,))
    incident = make_incident(make_monitor(channels=(team,)))
    [leg] = telling.legs_of(incident, MessageKind.TRIGGER, now=T0)
    assert (leg.channel, leg.because, leg.not_before) == (team, telling.NAMED, T0)
    assert leg.route_id == route.pk, "the route's steps hold for it too"


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


def test_new_page_of_a_group_does_not_wait_for_the_retry_of_another(receiver: Receiver) -> None:
    make_route(
        channels=(make_channel("team", kind="slack", url=receiver.url),),
        group_wait_seconds=0,
        group_interval_seconds=300,
    )
    report("a")
    receiver.script.append(answer(429, Retry_After="86400"))
    delivery.deliver_due(lambda: T0)
    report("b", now=T0 + timedelta(minutes=10), severity="critical")
    assert sent(incident__slice_key="b") == [("team", "trigger", 600)]


def test_message_of_a_group_never_waits_longer_than_its_interval() -> None:
    make_route(channels=(make_channel("team", **SLACK),))
    report("a")
    OutboxMessage.objects.update(not_before=T0 + timedelta(days=1))
    report("b")
    assert sent(incident__slice_key="b") == [("team", "trigger", 300)]


def test_group_that_was_held_back_has_said_nothing_yet() -> None:
    make_route(channels=(make_channel("team", **SLACK),))
    report("a")
    OutboxMessage.objects.update(status=MessageStatus.SUPPRESSED)
    report("b", now=T0 + timedelta(seconds=60))
    assert sent(incident__slice_key="b") == [("team", "trigger", 90)]


def test_groups_whose_keys_are_too_long_to_be_stored_stay_apart() -> None:
    make_route(channels=(make_channel("team", **SLACK),), group_by=["..."])
    for key, last in (("a", "1"), ("b", "2"), ("c", "2")):
        report(key, alertname="x", middle="x" * 600, z=last)
    keys = list(OutboxMessage.objects.order_by("pk").values_list("group_key", flat=True))
    assert len(keys[0]) <= 500
    assert keys[0] != keys[1] == keys[2]


def test_end_reads_the_routes_once_however_many_channels_hear_it() -> None:
    counts = []
    for number, names in enumerate((["a"], [f"many {one}" for one in range(8)])):
        Route.objects.all().delete()
        make_route(channels=tuple(make_channel(name, **SLACK) for name in names))
        report(f"key {number}")
        with CaptureQueriesContext(connection) as queries:
            incidents.report_over(Source.API, f"key {number}", actor="key", now=T0 + timedelta(seconds=1))
        counts.append(len(queries))
    assert counts[1] - counts[0] == 7, "one for each group's next time"


def test_opening_asks_only_for_what_its_group_said_lately() -> None:
    """Without a bound where the index can use it, all that the channel was ever told is read."""
    make_route(channels=(make_channel("team", **SLACK),))
    with CaptureQueriesContext(connection) as queries:
        report("a")
    [asked] = [one["sql"] for one in queries if 'MAX("monitoring_outboxmessage"."not_before")' in one["sql"]]
    assert '"not_before" >=' in asked.rpartition(" WHERE ")[2]


def test_channel_of_a_kind_that_is_not_known_keeps_nobody_from_being_told() -> None:
    make_route(channels=(make_channel("gone"), make_channel("team")), group_wait_seconds=0)
    Channel.objects.filter(name="gone").update(kind="gone")
    report("a")
    assert sorted(sent()) == [("gone", "trigger", 0), ("team", "trigger", 0)]


@pytest.mark.parametrize(
    "changes", [{"outside": "wait"}, {"digest": "daily", "digest_zone": "Nowhere/Land", "hours": None}]
)
def test_first_route_that_nobody_can_read_tells_everybody_and_complains(
    changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    broken = Hours.objects.create(name="office", zone="UTC", ranges="whenever")
    make_route(channels=(make_channel("team", **SLACK),), **{"hours": broken} | changes)
    report("a")
    assert sent() == [("team", "trigger", 30)]
    assert "route.unreadable" in caplog.text
    incidents.report_over(Source.API, "a", actor="key", now=T0 + timedelta(seconds=1))
    assert [kind for _, kind, _ in sent()] == ["trigger", "resolve"]


@pytest.mark.parametrize(
    "changes",
    [{"outside": "wait"}, {"digest": "daily", "digest_hour": 9, "hours": None}],
    ids=["hours", "digest"],
)
def test_message_that_a_silence_gives_back_waits_for_hours_and_digests(changes: dict[str, Any]) -> None:
    office = Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-12:00")
    make_route(channels=(make_channel("team", **SLACK),), **{"hours": office} | changes)
    silenced('alertname="disk"', now=T0, ends_at=T0 + timedelta(hours=2))
    report("a", alertname="disk")
    assert OutboxMessage.objects.get().status == MessageStatus.SUPPRESSED
    suppression.tend(T0 + timedelta(hours=2, seconds=1))
    message = OutboxMessage.objects.get()
    assert (message.status, sent()) == (MessageStatus.PENDING, [("team", "trigger", 20 * 3600)])
    assert message.expires_at == message.not_before + OutboxMessage.LIFETIME


def test_message_that_a_silence_gives_back_to_a_named_channel_goes_at_once() -> None:
    office = Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-12:00")
    team = make_channel("team", **SLACK)
    make_route(channels=(team,), hours=office, outside="wait")
    silenced(now=T0, ends_at=T0 + timedelta(hours=2))
    opened(make_monitor(channels=(team,)), now=T0)
    over = T0 + timedelta(hours=2, seconds=1)
    suppression.tend(over)
    assert sent() == [("team", "trigger", (over - T0).total_seconds())]


def test_labels_that_left_first_stay_the_identity_of_the_incident() -> None:
    channel = make_channel("am", kind="alertmanager", url="https://am.example.org", secret="")
    report("a", severity="warning", host="x")
    OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=T0)
    report("a", now=T0 + timedelta(minutes=1), severity="critical", host="x")
    OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=T0)
    first, second = OutboxMessage.objects.order_by("pk").values_list("payload", flat=True)
    assert first["routing_labels"] == second["routing_labels"]
    assert (first["routing_labels"]["severity"], second["severity"]) == ("warning", "critical")
    [picture] = resending.picture_of(channel, T0 + timedelta(minutes=2))
    assert picture.payload["routing_labels"] == first["routing_labels"]
    incidents.report_over(Source.API, "a", actor="key", now=T0 + timedelta(minutes=3))
    assert OutboxMessage.objects.latest("pk").payload["routing_labels"] == first["routing_labels"]


def test_labels_that_never_left_are_nobodys_identity() -> None:
    make_channel("am", kind="alertmanager", url="https://am.example.org", secret="")
    report("a", severity="warning")
    OutboxMessage.objects.update(status=MessageStatus.SUPPRESSED)
    report("a", now=T0 + timedelta(minutes=1), severity="critical")
    assert OutboxMessage.objects.latest("pk").payload["routing_labels"]["severity"] == "critical"


def test_message_carries_the_hash_of_what_it_tells_and_its_labels() -> None:
    make_channel("ops")
    incident = report("a", host="x")
    payload = OutboxMessage.objects.get().payload
    assert payload["event_hash"] == incident.events.get(seq=1).hash
    assert payload["routing_labels"]["host"] == "x"
    assert payload["inbox_url"].endswith("/inbox/")
