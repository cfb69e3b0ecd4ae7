from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monitoring.routing.importing import read
from monitoring.routing.intervals import ranges_of
from monitoring.routing.matchers import as_text, parse
from monitoring.routing.plan import Plan, PlannedRoute
from monitoring.routing.shapes import duration_in, duration_text
from monitoring.routing.timing import DAY, Hours
from monitoring.routing.yaml_text import BYTES_MAX, InvalidConfiguration

REALISTIC = """
global:
  resolve_timeout: 5m
  smtp_smarthost: mail.example.org:587
  slack_api_url: https://hooks.slack.example/services/T0/B0/default
templates: ['/etc/alertmanager/*.tmpl']
route:
  receiver: everyone
  group_by: [alertname, model]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 1h30m
  routes:
    - receiver: 'null'
      matchers: ['alertname = "Watchdog"']
    - receiver: pagers
      matchers: [severity="critical", team=~"model|data"]
      continue: true
      group_wait: 0s
      routes:
        - match: {environment: 'on'}
          match_re: {region: eu-.*}
          receiver: night
          active_time_intervals: [offhours]
    - receiver: pagers
      match: {severity: error}
      mute_time_intervals: [weekend]
      group_by: ['...']
    - receiver: tickets
      matchers: [severity="info"]
    - receiver: everyone
      matchers: ['a=~"(b+)+"']
      routes: [{receiver: pagers}]
    - mute_time_intervals: [christmas]
      matchers: [x="y"]
receivers:
  - name: 'null'
  - name: everyone
    slack_configs:
      - channel: '#ops'
        send_resolved: true
        actions: [{type: button, text: Open, url: 'https://example.org'}]
    webhook_configs:
      - url: https://hooks.example.org/in
        http_config: {bearer_token: x}
      - url_file: /etc/url
  - name: pagers
    pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef}]
  - name: night
    pagerduty_configs: [{routing_key: <secret>}]
    email_configs: [{to: 'night@example.org, chief@example.org'}]
  - name: tickets
    opsgenie_configs: [{api_key: k}]
inhibit_rules:
  - source_matchers: [severity="critical"]
    target_matchers: [severity=~"warning|info"]
    equal: [alertname, model]
  - source_match: {alertname: Outage}
    target_match_re: {alertname: .*Drift}
  - target_match: {a: b}
time_intervals:
  - name: offhours
    time_intervals:
      - weekdays: ['monday:friday']
        times: [{start_time: 17:00, end_time: 24:00}, {start_time: 00:00, end_time: 09:00}]
        location: Europe/Berlin
      - weekdays: [saturday, sunday]
        location: Europe/Berlin
mute_time_intervals:
  - name: weekend
    time_intervals: [{weekdays: ['saturday', 'sunday']}]
  - name: christmas
    time_intervals: [{months: ['december'], days_of_month: ['24:26']}]
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return read(REALISTIC)


def why(plan: Plan, place: str) -> str:
    return next(str(one) for one in plan.unmapped if one.place == place)


def test_import_maps_receivers_to_channels(plan: Plan) -> None:
    assert [(one.name, one.kind, one.url or one.secret or one.recipients) for one in plan.channels] == [
        ("everyone slack", "slack", "https://hooks.slack.example/services/T0/B0/default"),
        ("everyone webhook", "webhook", "https://hooks.example.org/in"),
        ("everyone webhook 2", "webhook", ""),
        ("pagers", "pagerduty", "0123456789abcdef0123456789abcdef"),
        ("night pagerduty", "pagerduty", ""),
        ("night email", "email", "night@example.org, chief@example.org"),
    ]
    missing = {one.name: one.missing for one in plan.channels if one.missing}
    assert missing == {
        "everyone webhook 2": "“url” is not in the configuration, as it is read from a file",
        "night pagerduty": "“routing_key” is hidden in the configuration",
    }


def test_import_maps_the_tree(plan: Plan) -> None:
    root = plan.root
    assert root.channels == ("everyone slack", "everyone webhook", "everyone webhook 2")
    assert (root.group_by, root.group_wait) == (("alertname", "model"), timedelta(seconds=30))
    assert root.repeat_interval == timedelta(minutes=90)
    assert [(one.name, as_text(one.matchers)) for one in root.children] == [
        ('null: alertname="Watchdog"', 'alertname="Watchdog"'),
        ('pagers: severity="critical", team=~"model|data"', 'severity="critical", team=~"model|data"'),
        ('pagers: severity="error"', 'severity="error"'),
        ('tickets: severity="info"', 'severity="info"'),
        ('everyone: x="y"', 'x="y"'),
    ]
    null, pagers, errors, tickets, christmas = root.children
    assert (null.tells_nobody, null.channels) == (True, ())
    assert (pagers.is_continuing, pagers.channels, pagers.group_wait) == (True, ("pagers",), timedelta(0))
    assert as_text(pagers.children[0].matchers) == 'environment="on", region=~"eu-.*"'
    assert errors.group_by == ("...",)
    assert (tickets.tells_nobody, tickets.channels) == (False, ())
    assert christmas.hours is None


def test_import_maps_intervals_to_hours(plan: Plan) -> None:
    night = plan.root.children[1].children[0].hours
    assert night is not None
    berlin = "mon-fri 00:00-09:00, sat,sun 00:00-24:00, mon-fri 17:00-24:00"
    assert (night.name, night.hours) == ("offhours", Hours.parse(berlin, "Europe/Berlin"))
    errors = plan.root.children[2]
    assert errors.hours is not None
    assert (errors.hours.name, errors.outside) == ("not weekend", "wait")
    assert errors.hours.hours == Hours.parse("mon-fri 00:00-24:00", "UTC")
    assert {one.name for one in plan.hours} == {"offhours", "not weekend"}


def test_import_maps_inhibitions(plan: Plan) -> None:
    assert [(as_text(one.source), as_text(one.target), one.equal) for one in plan.inhibitions] == [
        ('severity="critical"', 'severity=~"warning|info"', ("alertname", "model")),
        ('alertname="Outage"', 'alertname=~".*Drift"', ()),
    ]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("global.resolve_timeout", "resolved when its monitor"),
        ("global.smtp_smarthost", "deployment's settings"),
        ("templates[0]", "templates of their own"),
        ("receivers[1].slack_configs[0].actions", "buttons"),
        ("receivers[1].slack_configs[0].channel", "the channel that it was made for"),
        ("receivers[1].webhook_configs[0].http_config", "own rules"),
        ("receivers[1].webhook_configs[1]", "made but disabled"),
        ("receivers[3].pagerduty_configs[0]", "made but disabled"),
        ("receivers[4].opsgenie_configs", "no channel of that kind"),
        ("route.routes[3].receiver", "has a counterpart here"),
        ("route.routes[4].matchers", "repetition inside another"),
        ("route.routes[4]", "those below it are left out"),
        ("mute_time_intervals[1].time_intervals", "maintenance window"),
        ("route.routes[5].mute_time_intervals", "may tell at any time"),
        ("inhibit_rules[2]", "needs matchers of a source"),
    ],
)
def test_import_says_what_was_not_mapped_and_why(plan: Plan, place: str, words: str) -> None:
    assert words in why(plan, place)


def test_import_says_nothing_about_what_is_mapped(plan: Plan) -> None:
    assert len(plan.unmapped) == 15
    assert len({route.name for route in plan.root.walk()}) == len(list(plan.root.walk()))


def as_alertmanager(route: PlannedRoute) -> dict[str, object]:
    return {
        "receiver": route.channels[0] if route.channels else "",
        "matchers": [str(one) for one in route.matchers],
        "continue": str(route.is_continuing).lower(),
        "group_by": list(route.group_by or ()),
        "group_wait": f"{route.group_wait.seconds}s" if route.group_wait is not None else None,
        "routes": [as_alertmanager(child) for child in route.children],
    }


def test_import_of_what_was_written_from_a_plan_is_the_same_plan() -> None:
    text = """
    route:
      receiver: a
      group_by: [model]
      routes:
        - {receiver: b, matchers: ['x="1"', 'y=~"a|\\\\d+"'], continue: true, group_wait: 10s, routes: [{matchers: [z!="2"]}]}
        - {receiver: b, matchers: ['x="1"']}
    receivers: [{name: a, webhook_configs: [{url: 'https://a.example'}]}, {name: b, webhook_configs: [{url: 'https://b.example'}]}]
    """
    first = read(text)
    again = read(yaml.safe_dump(yaml.safe_load(text) | {"route": as_alertmanager(first.root)}))
    assert again == first
    assert first.unmapped == ()


def test_import_reads_anchors_and_merges() -> None:
    plan = read(
        "route: {receiver: a, routes: [&one {receiver: a, matchers: [x=y]}, {<<: *one, matchers: [x=z]}]}\n"
        "receivers: [{name: a}]"
    )
    assert [as_text(one.matchers) for one in plan.root.children] == ['x="y"', 'x="z"']


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("route:\n  receiver: [a\nb: c", "Line 3, column"),
        ("route: {receiver: a}\n\tx: y", "Line 2"),
        ("a: *nothing", "Line 1, column 4: found undefined alias"),
        ("just text", "no “route:”"),
        ("", "no “route:”"),
        ("route: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("--- {route: {}}\n--- {route: {}}", "expected a single document"),
        ("x: &a [*a]", "stands inside itself"),
        ("[" * 60, "nested more than 50 deep"),
        ("x: " + "y" * BYTES_MAX, "the most is 256000"),
        ("route: \x00", "no YAML"),
        ('a: b\nc: "\\0"', "Line 2: a text holds a NUL"),
        ('a: "\\uD800"', "Line 1: a text holds a NUL"),
    ],
)
def test_import_of_broken_text_says_where(text: str, problem: str) -> None:
    with pytest.raises(InvalidConfiguration, match=problem):
        read(text)


def test_import_of_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InvalidConfiguration, match="aliases written out"):
        read("\n".join(lines))


@pytest.mark.parametrize(
    ("route", "place"),
    [
        ("{receiver: a, group_wait: soon}", "route.group_wait"),
        ("{receiver: a, routes: {x: y}}", "route.routes"),
        ("{receiver: a, routes: [text]}", "route.routes[0]"),
        ("{receiver: a, colour: red}", "route.colour"),
        ("{receiver: b}", "route.receiver"),
        ("{receiver: a, matchers: [x=y]}", "route"),
    ],
)
def test_import_of_odd_routes_says_so_and_goes_on(route: str, place: str) -> None:
    plan = read(f"route: {route}\nreceivers: [{{name: a, webhook_configs: [{{url: 'https://a.example'}}]}}]")
    assert place in [one.place for one in plan.unmapped]


def test_import_names_two_equal_routes_apart() -> None:
    plan = read(
        "route: {receiver: a, routes: [{matchers: [x=y]}, {matchers: [x=y]}]}\nreceivers: [{name: a}]"
    )
    assert [one.name for one in plan.root.children] == ['a: x="y"', 'a: x="y" (2)']


def test_ranges_of_minutes_are_within_exactly_those_minutes() -> None:
    minutes = frozenset([*range(540, 600), *range(DAY + 540, DAY + 600), *range(6 * DAY, 7 * DAY)])
    hours = Hours("UTC", ranges_of(minutes))
    monday = datetime(2026, 8, 24, tzinfo=UTC)
    found = {minute for minute in range(7 * DAY) if hours.is_within(monday + timedelta(minutes=minute))}
    assert found == minutes
    assert hours.as_text() == "sun 00:00-24:00, mon,tue 09:00-10:00"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1h30m", 5400), ("1d", 86_400), ("0", 0), ("500ms", 0.5), ("2w", 1_209_600)],
)
def test_duration_is_read_as_prometheus_writes_it(text: str, seconds: float) -> None:
    assert duration_in(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "5", "5 m", "-5m", "2y", "5m!", "1h" * 30])
def test_duration_that_is_none_is_none(text: str) -> None:
    assert duration_in(text) is None


@given(st.integers(0, 360 * 86_400))
def test_duration_written_and_read_again_is_the_same(seconds: int) -> None:
    assert duration_in(duration_text(seconds)) == timedelta(seconds=seconds)


def test_matchers_of_an_imported_route_are_those_parsed(plan: Plan) -> None:
    assert list(plan.root.children[3].matchers) == parse("severity=info")
