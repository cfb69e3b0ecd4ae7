from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from feedback.models import Scope
from monitoring.models import Channel, Hours, Incident, InhibitRule, Route, Silence
from monitoring.notifying import route_settings
from monitoring.notifying.route_preview import preview
from tests.monitoring.callers import client_with, post
from tests.monitoring.factories import make_channel, make_monitor

pytestmark = pytest.mark.django_db

FRIDAY = datetime(2026, 8, 21, 14, tzinfo=UTC)


@pytest.fixture
def tree() -> None:
    for name in ("ops", "pager", "chief"):
        make_channel(name, is_enabled=name != "chief")
    make_channel("mail", kind="slack")
    Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-13:00")
    route_settings.create({"name": "all", "channels": ["ops"], "group_by": ["model"]})
    route_settings.create(
        {
            "name": "severe",
            "matchers": "severity=critical",
            "channels": ["pager"],
            "group_wait_seconds": 0,
            "is_continuing": True,
            "steps": [{"after_seconds": 900, "channels": ["chief"]}],
        }
    )
    route_settings.create(
        {"name": "office", "matchers": "severity=~critical|error", "hours": "office", "outside": "wait"}
    )
    route_settings.create(
        {"name": "digest", "matchers": "severity=info", "channels": ["mail"], "digest": "daily"}
    )


def silence(**changes: Any) -> Silence:
    now = timezone.now()
    values: dict[str, Any] = {
        "matchers": [{"name": "model", "value": "m2", "isRegex": False, "isEqual": True}],
        "starts_at": FRIDAY - timedelta(hours=1),
        "ends_at": FRIDAY + timedelta(hours=1),
        "comment": "moving house",
        "created_by": "ada",
        "created_at": now,
        "updated_at": now,
    }
    return Silence.objects.create(**values | changes)


def test_preview_says_who_is_told_when_and_by_which_way(tree: None) -> None:
    found = preview({"severity": "critical", "model": "m2"}, FRIDAY)
    assert [(one.channel.name, one.at) for one in found.told] == [
        ("pager", FRIDAY),
        ("ops", datetime(2026, 8, 24, 9, tzinfo=UTC)),
    ]
    severe, office = found.ways
    assert [hop.name for hop in severe.leaf.path] == ["all", "severe"]
    assert severe.told[0].why == "At once."
    assert "until the hours begin" in office.told[0].why
    [step] = severe.steps
    assert (step.at, step.told[0].channel.name) == (FRIDAY + timedelta(minutes=15), "chief")
    assert severe.group.endswith('{"model":"m2"}')


def test_preview_of_what_no_route_takes_goes_to_the_first_after_its_wait(tree: None) -> None:
    found = preview({"severity": "warning"}, FRIDAY)
    [told] = found.told
    assert (told.channel.name, told.at) == ("ops", FRIDAY + timedelta(seconds=30))
    assert told.why == "It waits 30 s for others of its group."
    refused = {one.name: one.because for one in found.verdicts if one.outcome == "refused"}
    assert refused["severe"] == '“severity” is “warning”, which does not fit severity="critical"'


def test_preview_counts_steps_from_when_the_first_message_goes(tree: None) -> None:
    route_settings.edit(
        Route.objects.get(name="office").pk, {"steps": [{"after_seconds": 900, "channels": ["chief"]}]}
    )
    [way] = preview({"severity": "error"}, FRIDAY).ways
    assert way.steps[0].at == way.told[0].at + timedelta(minutes=15)


def test_preview_of_a_channel_whose_kind_is_not_known_tells_it_all_the_same(tree: None) -> None:
    Channel.objects.filter(name="mail").update(kind="gone")
    assert [one.channel.name for one in preview({"severity": "info"}, FRIDAY).told] == ["mail"]


def test_preview_names_what_holds_it_back(tree: None) -> None:
    silence()
    target = [{"name": "severity", "value": "error", "isRegex": False, "isEqual": True}]
    InhibitRule.objects.create(name="outage first", source_matchers=target, target_matchers=target)
    [held] = preview({"severity": "error", "model": "m2"}, FRIDAY).held_back
    assert (held.kind, held.until) == ("silenced", FRIDAY + timedelta(hours=1))
    assert held.why == "a silence by ada"
    assert preview({"severity": "error", "model": "m3"}, FRIDAY).held_back == ()
    assert preview({"severity": "error", "model": "m2"}, FRIDAY + timedelta(hours=2)).held_back == ()
    assert preview({"severity": "error"}, FRIDAY).may_hold == ("outage first",)
    assert preview({"severity": "critical"}, FRIDAY).may_hold == ()


def test_preview_tells_a_channel_once_by_the_first_way(tree: None) -> None:
    route_settings.create(
        {
            "name": "copy",
            "matchers": "severity=info",
            "channels": ["ops"],
            "position": 0,
            "is_continuing": True,
        }
    )
    route_settings.create(
        {"name": "again", "matchers": "severity=info", "position": 1, "group_wait_seconds": 0}
    )
    found = preview({"severity": "info"}, FRIDAY)
    assert [(way.leaf.name, way.told[0].is_again) for way in found.ways] == [("copy", False), ("again", True)]
    assert [one.at for one in found.told] == [FRIDAY + timedelta(seconds=30)]


def test_preview_of_a_halted_experiment_tells_the_channels_that_take_those() -> None:
    make_channel("halts")
    make_channel("other", takes_experiments=False)
    now = timezone.now()
    incident = Incident(
        experiment="ab", slice_key="all", title="halted", severity="error", onset_at=now, opened_at=now
    )
    assert [one.channel.name for one in preview({}, FRIDAY, incident).told] == ["halts"]


def test_preview_without_routes_says_so() -> None:
    found = preview({"severity": "error"}, FRIDAY)
    assert (found.has_routes, found.told, found.verdicts) == (False, [], ())


def test_preview_of_an_incident_tells_what_its_monitor_names() -> None:
    named = make_channel("named")
    monitor = make_monitor(channels=(named,))
    now = timezone.now()
    incident = Incident.objects.create(
        monitor=monitor, slice_key="all", title="fell", severity="error", onset_at=now, opened_at=now
    )
    caller = client_with(Scope.ROUTING_READ)
    said = post(caller, "routes/preview", {"incident": str(incident.pk)})
    assert [one["channel"] for one in said["directly"]] == ["named"]
    assert said["labels"]["monitor"] == monitor.name
    post(caller, "routes/preview", {"incident": "0190a0a0-0000-7000-8000-000000000000"}, 404)


def test_preview_by_rest_and_command_says_the_same(tree: None) -> None:
    caller = client_with(Scope.ROUTING_READ)
    at = FRIDAY.isoformat()
    said = post(caller, "routes/preview", {"labels": {"severity": "info"}, "at": at})
    output = StringIO()
    call_command("alerts", "preview", "severity=info", "--at", at, "--json", stdout=output)
    [way] = said["ways"]
    assert [(one["channel"], one["at"], one["why"]) for one in way["told"]] == [
        ("mail", "2026-08-22T09:00:00Z", "It goes with the daily digest.")
    ]
    assert '"2026-08-22T09:00:00Z"' in output.getvalue()
    assert said["verdicts"][0]["outcome"] == "passed_on"


def test_preview_by_command_reads_well(tree: None) -> None:
    silence()
    output = StringIO()
    call_command(
        "alerts", "preview", "severity=critical", "model=m2", "--at", FRIDAY.isoformat(), stdout=output
    )
    lines = output.getvalue().splitlines()
    assert lines[1].split("  ")[0] == "2026-08-21 14:00:00 UTC"
    assert any("chief (disabled)" in line and "severe, step 1" in line for line in lines)
    assert any(line == "Held back: a silence by ada" for line in lines)
    assert "    - digest: “office” took it before and does not continue" in lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["critical"], "not of the form"), (["a=b", "--at", "noon"], "no time with a zone")],
)
def test_preview_by_command_refuses_what_it_cannot_read(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("alerts", "preview", *arguments)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "labels"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"labels": {}, "at": "noon"}, "at"),
        ({"labels": {}, "at": "9999-12-31T23:59:59Z"}, "at"),
    ],
)
def test_preview_by_rest_refuses_what_it_cannot_read(
    client: Client, body: dict[str, Any], field: str
) -> None:
    assert post(client_with(Scope.ROUTING_READ), "routes/preview", body, 400)["field"] == field
