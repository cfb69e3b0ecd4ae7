from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from feedback.models import Scope
from monitoring.models import Channel, Hours, InhibitRule, Route
from monitoring.notifying import route_settings, routes
from monitoring.notifying.route_import import apply_import, counted, plan_import
from monitoring.routing.tree import matching
from tests.monitoring.callers import client_with, post
from tests.monitoring.factories import make_channel
from triageops.rest import Conflict, InvalidInput

pytestmark = pytest.mark.django_db

FRIDAY = datetime(2026, 8, 21, 14, tzinfo=UTC)
TEXT = """
route:
  receiver: everyone
  group_by: [alertname]
  group_wait: 2h
  routes:
    - receiver: pagers
      matchers: [severity="critical"]
      continue: true
      active_time_intervals: [office]
    - receiver: 'null'
      matchers: [alertname="Watchdog"]
receivers:
  - name: everyone
    webhook_configs: [{url: 'https://hooks.example.org/in'}]
    opsgenie_configs: [{api_key: k}]
  - name: pagers
    pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef}, {routing_key: <secret>}]
  - name: 'null'
inhibit_rules:
  - {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [model]}
time_intervals:
  - name: office
    time_intervals: [{weekdays: ['monday:friday'], times: [{start_time: 09:00, end_time: 17:00}]}]
"""


def took(**labels: str) -> list[tuple[str, list[str]]]:
    root = routes.tree()
    assert root is not None
    named = dict(Channel.objects.values_list("pk", "name"))
    return [(leaf.name, [named[pk] for pk in leaf.channels]) for leaf in matching(root, labels, FRIDAY)]


def test_import_makes_channels_hours_routes_and_rules() -> None:
    done = apply_import(plan_import(TEXT))
    assert dict(counted(done.outcomes)) == {
        "channel made": 3,
        "hours made": 1,
        "route made": 3,
        "rule made": 1,
    }
    everyone, first, second = Channel.objects.order_by("pk")
    assert (everyone.kind, everyone.url, everyone.is_enabled) == (
        "webhook",
        "https://hooks.example.org/in",
        True,
    )
    assert everyone.secret.startswith("whsec_")
    assert not everyone.takes_experiments
    assert (first.kind, first.secret, first.is_enabled) == (
        "pagerduty",
        "0123456789abcdef0123456789abcdef",
        True,
    )
    assert (second.secret, second.is_enabled) == ("", False)
    assert "hidden in the configuration" in second.disabled_reason
    assert took(severity="critical") == [
        ('pagers: severity="critical"', ["pagers pagerduty", "pagers pagerduty 2"])
    ]
    assert took(severity="critical", alertname="Watchdog")[1] == ('null: alertname="Watchdog"', [])
    assert took(severity="error") == [("everyone", ["everyone"])]
    assert Hours.objects.get().ranges == "mon-fri 09:00-17:00"
    root = Route.objects.get(parent=None)
    assert (root.group_by, root.group_wait_seconds) == (["alertname"], 3_600)
    [note] = [one.note for one in done.outcomes if one.name == "everyone" and one.what == "route"]
    assert "the nearest that can be had to 7200 s" in note
    rule = InhibitRule.objects.get()
    assert rule.target_matchers == [
        {"name": "severity", "value": "warning", "isRegex": False, "isEqual": True}
    ]
    assert rule.equal == ["model"]


def test_import_done_again_changes_nothing() -> None:
    apply_import(plan_import(TEXT))
    Channel.objects.filter(name="pagers pagerduty 2").update(secret="f" * 32, is_enabled=True)
    before = list(Route.objects.values())
    done = apply_import(plan_import(TEXT))
    assert not done.is_changing
    assert list(Route.objects.values()) == before
    assert Channel.objects.get(name="pagers pagerduty 2").is_enabled


def test_import_of_a_changed_configuration_changes_only_that() -> None:
    apply_import(plan_import(TEXT))
    pagers = Route.objects.get(name='pagers: severity="critical"')
    route_settings.edit(pagers.pk, {"steps": [{"after_seconds": 60, "channels": ["everyone"]}]})
    mine = route_settings.create({"name": "mine", "matchers": "a=b"})
    done = apply_import(plan_import(TEXT.replace("group_wait: 2h", "group_wait: 10s")))
    assert [one.name for one in done.outcomes if one.act == "changed"] == ["everyone"]
    assert pagers.steps.count() == 1
    mine.refresh_from_db()
    assert mine.position == 2


def test_import_in_a_dry_run_stores_nothing_and_says_the_same() -> None:
    dry = apply_import(plan_import(TEXT), is_dry_run=True)
    assert not Channel.objects.exists()
    assert not Route.objects.exists()
    assert not Hours.objects.exists()
    assert not InhibitRule.objects.exists()
    assert apply_import(plan_import(TEXT)).outcomes == dry.outcomes


def test_import_beside_routes_that_exist_comes_after_them() -> None:
    make_channel("ops")
    route_settings.create({"name": "all", "channels": ["ops"]})
    route_settings.create({"name": "mine", "matchers": "severity=critical"})
    done = apply_import(plan_import(TEXT))
    assert took(severity="critical") == [("mine", ["ops"])]
    assert took(severity="error") == [("everyone", ["everyone"])]
    assert any("asked after all others" in one.note for one in done.outcomes)
    assert not apply_import(plan_import(TEXT)).is_changing


def test_import_of_a_name_that_another_kind_of_channel_has_is_refused_as_a_whole() -> None:
    make_channel("pagers pagerduty")
    with pytest.raises(Conflict, match="its kind is webhook"):
        apply_import(plan_import(TEXT))
    assert Channel.objects.count() == 1


def test_import_that_would_make_a_ring_is_refused() -> None:
    route_settings.create({"name": "all"})
    above = route_settings.create({"name": 'null: alertname="Watchdog"'})
    route_settings.create({"name": "everyone", "parent": above.pk})
    with pytest.raises(Conflict, match="is above “everyone” here"):
        apply_import(plan_import(TEXT))


def test_import_of_an_address_that_is_refused_makes_a_disabled_channel() -> None:
    apply_import(
        plan_import(TEXT.replace("https://hooks.example.org/in", "https://me:secret@hooks.example.org/"))
    )
    channel = Channel.objects.get(name="everyone")
    assert not channel.is_enabled
    assert "user name or password" in channel.disabled_reason


def test_import_of_broken_yaml_says_the_line() -> None:
    with pytest.raises(InvalidInput, match="Line 2"):
        plan_import("route: {receiver: a}\n\tb")


def test_import_by_rest_tells_what_has_no_counterpart() -> None:
    caller = client_with(Scope.ROUTING_WRITE)
    said = post(caller, "routes/import", {"yaml": TEXT, "dry_run": True})
    assert said["is_dry_run"]
    assert not Route.objects.exists()
    assert {one["place"] for one in said["unmapped"]} == {
        "receivers[0].opsgenie_configs",
        "receivers[1].pagerduty_configs[1]",
    }
    assert post(caller, "routes/import", {"yaml": TEXT})["outcomes"] == said["outcomes"]
    assert Route.objects.count() == 3
    assert post(caller, "routes/import", {"yaml": "{"}, 400)["field"] == "yaml"


def test_import_by_command_says_what_it_did(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(TEXT)
    output = StringIO()
    call_command("alerts", "import-alertmanager", str(file), "--dry-run", stdout=output)
    assert "Nothing was stored" in output.getvalue()
    assert not Route.objects.exists()
    output = StringIO()
    call_command("alerts", "import-alertmanager", str(file), stdout=output)
    said = output.getvalue()
    assert "2 parts have no counterpart here:" in said
    assert "receivers[0].opsgenie_configs: “opsgenie” is left out." in said
    assert Route.objects.count() == 3


def test_import_by_command_of_no_file_is_refused() -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("alerts", "import-alertmanager", "/nowhere/alertmanager.yml")
