"""Alerts of other systems: one open incident for each set of labels, whatever is repeated or overtakes itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from feedback.models import Scope
from monitoring import incidents
from monitoring.models import Incident, IncidentEvent, OutboxMessage, Resolution, Source
from monitoring.reading.incident_sentences import incident_sentence
from monitoring.reports.alerts_read import fingerprint
from monitoring.reports.reported import GRACE, Taken, take_alerts
from tests.monitoring.alerts import ZERO, alert, iso, payload
from tests.monitoring.callers import client_with, post
from tests.monitoring.factories import make_channel

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def take(*alerts: Any, now: datetime = START + MINUTE, source: Source = Source.ALERTMANAGER) -> Taken:
    return take_alerts(alerts, source=source, actor="Alertmanager", now=now)


def fired(at: datetime = START, **changes: Any) -> dict[str, Any]:
    return alert(**{"startsAt": iso(at)} | changes)


def over(at: datetime, started: datetime = START, **changes: Any) -> dict[str, Any]:
    return alert(**{"status": "resolved", "startsAt": iso(started), "endsAt": iso(at)} | changes)


def open_count() -> int:
    return Incident.objects.open().count()


def test_firing_alert_opens_an_incident_with_its_words() -> None:
    taken = take(
        alert(annotations={"summary": "slow", "description": "d", "runbook_url": "https://run", "x": "y"})
    )
    incident = Incident.objects.get()
    assert (taken.opened_count, taken.mistakes) == (1, [])
    assert (incident.title, incident.severity, incident.source) == ("slow", "critical", "alertmanager")
    assert incident.onset_at == datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert incident.labels == {"alertname": "HighLatency", "severity": "critical"}
    words = {name: value for name, value in incident.annotations.items() if name != "starts_at"}
    assert words == {
        "summary": "slow",
        "description": "d",
        "runbook_url": "https://run",
        "link": "http://prometheus.example.org/graph?g0.expr=up",
    }
    assert (incident.expected_until, incident.reported_by) == (None, "Alertmanager")


def test_same_payload_twice_is_a_counter_and_nothing_else() -> None:
    both = (alert("A"), alert("B"))
    take(*both)
    before = IncidentEvent.objects.count(), OutboxMessage.objects.count()
    taken = take(*both, now=START + 2 * MINUTE)
    assert (taken.opened_count, taken.repeated_count) == (0, 2)
    assert (IncidentEvent.objects.count(), OutboxMessage.objects.count()) == before
    assert set(Incident.objects.values_list("alarm_count", "version")) == {(2, 1)}


def test_resolved_alert_resolves_and_again_does_nothing() -> None:
    take(fired())
    ended = over(START + 5 * MINUTE)
    assert take(ended, now=START + 6 * MINUTE).resolved_count == 1
    events = IncidentEvent.objects.count()
    assert take(ended, now=START + 7 * MINUTE).late_count == 1
    assert IncidentEvent.objects.count() == events
    assert Incident.objects.get().resolution == Resolution.REPORTED_OVER


def test_resolved_alert_that_nobody_saw_fire_is_no_incident() -> None:
    assert take(over(START + MINUTE)).late_count == 1
    assert not Incident.objects.exists()


@pytest.mark.parametrize("later", [MINUTE, timedelta(days=2)])
def test_old_firing_after_its_end_does_not_open_it_again(later: timedelta) -> None:
    take(fired())
    take(over(START + 5 * MINUTE), now=START + 6 * MINUTE)
    assert take(fired(), now=START + 6 * MINUTE + later).late_count == 1
    assert open_count() == 0


def test_next_episode_opens_a_new_incident() -> None:
    take(fired())
    take(over(START + 5 * MINUTE), now=START + 20 * MINUTE)
    # It began before the end of the first arrived here.
    assert take(fired(START + 10 * MINUTE), now=START + 21 * MINUTE).opened_count == 1
    assert (open_count(), Incident.objects.count()) == (1, 2)


def test_late_end_of_the_episode_before_leaves_the_new_one_open() -> None:
    take(fired(START + 10 * MINUTE), now=START + 11 * MINUTE)
    assert take(over(START + 5 * MINUTE), now=START + 12 * MINUTE).late_count == 1
    assert open_count() == 1


def test_end_of_an_episode_that_was_overtaken_by_the_next_leaves_it_open() -> None:
    take(fired())
    take(fired(START + 10 * MINUTE), now=START + 11 * MINUTE)
    assert take(over(START + 5 * MINUTE), now=START + 12 * MINUTE).late_count == 1
    assert take(over(START + 13 * MINUTE, START + 10 * MINUTE), now=START + 14 * MINUTE).resolved_count == 1
    assert open_count() == 0


def test_repetition_of_an_older_episode_does_not_hide_the_newer_one() -> None:
    take(fired(START + 10 * MINUTE), now=START + 11 * MINUTE)
    assert take(fired(), now=START + 12 * MINUTE).repeated_count == 1
    assert take(over(START + 5 * MINUTE), now=START + 13 * MINUTE).late_count == 1
    assert open_count() == 1


@pytest.mark.parametrize(
    ("resolution", "after", "is_open"),
    [
        (Resolution.FALSE_POSITIVE, timedelta(days=1), False),
        (Resolution.EXPECTED, timedelta(days=1), False),
        (Resolution.FIXED, MINUTE, False),
        (Resolution.FIXED, GRACE, True),
    ],
)
def test_what_a_person_resolved_opens_again_only_where_it_was_called_fixed_and_is_not(
    resolution: Resolution, after: timedelta, is_open: bool
) -> None:
    take(fired())
    incidents.resolve(Incident.objects.get().pk, resolution, actor="ann", now=START + 2 * MINUTE)
    take(fired(), now=START + 2 * MINUTE + after)
    assert open_count() == is_open


def test_what_prometheus_goes_on_saying_is_expected_until_its_end() -> None:
    take(fired(status=None, endsAt=iso(START + 5 * MINUTE)), source=Source.PROMETHEUS)
    assert Incident.objects.get().expected_until == START + 5 * MINUTE
    take(fired(status=None, endsAt=iso(START + 7 * MINUTE)), source=Source.PROMETHEUS, now=START + 3 * MINUTE)
    assert Incident.objects.get().expected_until == START + 7 * MINUTE
    take(fired(status=None, endsAt=None), source=Source.PROMETHEUS, now=START + 4 * MINUTE)
    assert Incident.objects.get().expected_until == START + 9 * MINUTE


def test_alert_of_prometheus_that_fell_silent_is_believed_at_once() -> None:
    take(fired(status=None, endsAt=iso(START + 5 * MINUTE)), source=Source.PROMETHEUS)
    incidents.tend(START + 6 * MINUTE)
    assert Incident.objects.get().resolution == Resolution.FELL_SILENT
    repeated = fired(status=None, endsAt=iso(START + 11 * MINUTE))
    assert take(repeated, source=Source.PROMETHEUS, now=START + 7 * MINUTE).opened_count == 1


def test_alert_of_prometheus_with_a_past_end_is_over() -> None:
    take(fired(status=None, endsAt=iso(START + 5 * MINUTE)), source=Source.PROMETHEUS)
    ended = fired(status=None, endsAt=iso(START + 2 * MINUTE))
    assert take(ended, source=Source.PROMETHEUS, now=START + 3 * MINUTE).resolved_count == 1


def test_second_prometheus_that_still_fires_is_believed_after_a_while() -> None:
    """Of a pair that tells the same alert, one lost its target and says that it is over."""
    one, two = START, START + timedelta(seconds=5)
    for began in (one, two):
        take(fired(began, status=None, endsAt=iso(START + 9 * MINUTE)), source=Source.PROMETHEUS)
    take(
        fired(one, status=None, endsAt=iso(START + 2 * MINUTE)),
        source=Source.PROMETHEUS,
        now=START + 2 * MINUTE,
    )
    still = fired(two, status=None, endsAt=iso(START + timedelta(hours=1)))
    assert take(still, source=Source.PROMETHEUS, now=START + 3 * MINUTE).late_count == 1
    assert take(still, source=Source.PROMETHEUS, now=START + 3 * MINUTE + GRACE).opened_count == 1


def test_beginning_in_the_future_or_unset_is_now() -> None:
    now = START + MINUTE
    take(
        alert("ahead", startsAt=iso(now + 5 * MINUTE)),
        alert("unset", startsAt=ZERO),
        alert("none", startsAt=None),
        now=now,
    )
    assert set(Incident.objects.values_list("onset_at", flat=True)) == {now}


def test_graver_severity_of_an_open_one_is_told() -> None:
    named = {"alertname": "Disk"}
    take(alert(labels={"severity": "warning"}))
    assert Incident.objects.get().severity == "warning"
    # Another severity is another label, and so another alert: as for Alertmanager itself.
    take(alert(labels={"severity": "page"} | named))
    assert set(Incident.objects.values_list("severity", flat=True)) == {"warning", "critical"}


def test_fingerprint_knows_no_order_and_no_empty_labels() -> None:
    take(alert(labels={"b": "2", "a": "1", "empty": ""}))
    take(alert(labels={"a": "1", "b": "2"}), now=START + 2 * MINUTE)
    assert Incident.objects.get().alarm_count == 2
    assert fingerprint({"a": "b,c"}) != fingerprint({"a,b": "c"})
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"}) != fingerprint({"a": "2"})


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ("text", ""),
        ({"status": "firing"}, "labels"),
        (alert(labels={"a": 5}), "labels.a"),
        (alert(labels={"a": "x" * 1025}), "labels.a"),
        (alert(labels={"a": "x\0"}), "labels.a"),
        (alert(labels={"a": "\ud800"}), "labels.a"),
        (alert(labels={f"l{number}": "x" for number in range(63)}), "labels"),
        (alert(labels={"": "x"}), "labels."),
        (alert(status="odd"), "status"),
        (alert(startsAt="yesterday"), "startsAt"),
        (alert(startsAt="2026-03-01T12:00:00"), "startsAt"),
        (alert(startsAt=5), "startsAt"),
        (alert(startsAt="9999-12-31T23:59:59-23:00"), "startsAt"),
        (alert(endsAt="2025-01-01T00:00:00Z"), "endsAt"),
    ],
)
def test_wrong_alert_is_listed_and_the_others_are_taken(broken: Any, where: str) -> None:
    taken = take(alert("before"), broken, alert("after"))
    assert [(one.index, one.field) for one in taken.mistakes] == [(1, where)]
    assert taken.opened_count == open_count() == 2


def test_annotations_are_text_and_bounded() -> None:
    hostile = {
        "summary": "<script>alert(1)</script>\0\ud800",
        "description": "x" * 10_000,
        "runbook_url": "javascript:alert(1)",
        "other": "left out",
    }
    take(alert(annotations=hostile, generatorURL="ftp://example.org"))
    incident = Incident.objects.get()
    assert incident.title == "<script>alert(1)</script>��"
    assert len(incident.annotations["description"]) == 4_000
    assert incident.annotations.keys() == {"summary", "description", "starts_at"}


def test_title_falls_back_to_the_name() -> None:
    take(alert(annotations=None))
    assert Incident.objects.get().title == "HighLatency"


# Over REST


@pytest.fixture
def sender() -> Client:
    return client_with(Scope.INCIDENTS_WRITE, name="alertmanager")


def hook(client: Client, body: Any, status: int = 200) -> dict[str, Any]:
    return post(client, "hooks/alertmanager", body, status)


def test_hook_opens_and_resolves_what_alertmanager_sends(sender: Client) -> None:
    said = hook(sender, payload(alert(), truncatedAlerts=3, notification_reason="new", routeLabels={}))
    assert (said["taken_count"], said["opened_count"], said["mistakes"]) == (1, 1, [])
    incident = Incident.objects.get()
    assert incident.reported_by == "API key “alertmanager”"
    ended = alert(status="resolved", endsAt=iso(incident.opened_at))
    assert hook(sender, payload(ended, status="resolved"))["resolved_count"] == 1
    assert open_count() == 0


def test_hook_takes_unicode(sender: Client) -> None:
    hook(sender, payload(alert("Überlastung ☃", labels={"größe": "𝔘𝔫𝔦"}, annotations={"summary": "🔥 heiß"})))
    incident = Incident.objects.get()
    assert (incident.title, incident.labels["größe"]) == ("🔥 heiß", "𝔘𝔫𝔦")


def test_hook_takes_500_alerts_at_once_and_again(sender: Client) -> None:
    many = payload(*(alert(labels={"pod": str(number)}) for number in range(500)))
    assert hook(sender, many)["opened_count"] == 500
    assert hook(sender, many)["repeated_count"] == 500
    assert open_count() == 500


def test_hook_answers_200_where_some_were_taken_and_400_where_none_was(sender: Client) -> None:
    some = hook(sender, payload(alert(), {"labels": {}}))
    assert (some["taken_count"], some["mistakes"][0]["index"]) == (1, 1)
    none = hook(sender, payload({"labels": {}}, alert(labels={"a": 1})), 400)
    assert none["field"] == "alerts[0].labels"
    assert [one["index"] for one in none["mistakes"]] == [0, 1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "version"),
        (payload(version="3"), "version"),
        (payload(alerts=None), "alerts"),
        (payload(alerts={}), "alerts"),
        (payload(alerts=[1] * 2_001), "alerts"),
        ([], None),
    ],
)
def test_hook_refuses_what_is_no_payload(sender: Client, body: Any, field: str | None) -> None:
    assert hook(sender, body, 400).get("field") == field


def test_hook_refuses_more_than_a_megabyte(sender: Client) -> None:
    body = payload(alert(annotations={"summary": "x" * 1_048_576}))
    assert hook(sender, body, 413)["type"] == "/problems/too-large"


@pytest.mark.parametrize("body", ["{", "[" * 100_000, '{"a": "\xff', '{"alerts": NaN}'])
def test_hook_refuses_what_is_not_json(sender: Client, body: str) -> None:
    answer = sender.post("/api/v1/hooks/alertmanager", body.encode("latin-1"), "application/json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


def test_hook_needs_its_scope() -> None:
    assert hook(client_with(Scope.INCIDENTS_READ), payload(), 403)["type"] == "/problems/permission-denied"
    assert Client().post("/api/v1/hooks/alertmanager", payload(), "application/json").status_code == 401


def test_what_an_alertmanager_tells_back_of_ours_opens_nothing() -> None:
    """It was told of our incident, and its webhook points here."""
    make_channel("am", kind="alertmanager", url="https://alertmanager.example.org")
    ours = take(fired())
    incident = Incident.objects.get()
    message = OutboxMessage.objects.get().payload
    echo = fired(generatorURL=message["incident_url"], labels={**message["routing_labels"], "alertname": "x"})
    told = take(echo, now=START + MINUTE)
    assert (ours.opened_count, told.opened_count, told.own_count) == (1, 0, 1)
    assert list(Incident.objects.all()) == [incident]


TURNED = "disk\u202e full\x07 of\u2066 db\x9b\n1"


def test_what_turns_or_hides_text_is_taken_out_of_alerts() -> None:
    take(
        fired(
            labels={"alertname": "A\u202e", "h\u200fost": "db\u2069\x1b1"},
            annotations={"summary": TURNED, "description": TURNED, "runbook_url": "https://x.org/\u202ecod"},
        )
    )
    incident = Incident.objects.get()
    assert incident.title == "disk full of db 1"
    assert incident.labels == {"alertname": "A", "host": "db1", "severity": "critical"}
    assert incident.annotations["description"] == "disk full of db\n1"
    assert "runbook_url" not in incident.annotations


def test_what_turns_or_hides_text_is_taken_out_of_reports() -> None:
    client = client_with(Scope.INCIDENTS_WRITE)
    body = {"key": "k", "title": TURNED, "summary": TURNED, "labels": {"host": "db\u202e1"}}
    post(client, "incidents", body, 201)
    incident = Incident.objects.get()
    assert (incident.title, incident.labels) == ("disk full of db 1", {"host": "db1"})
    assert incident.annotations["summary"] == "disk full of db\n1"
    assert post(client, "incidents", {"key": "l", "title": "\u202e\u2066"}, 400)["field"] == "title"


def test_title_from_right_to_left_turns_nothing_of_the_sentence_around_it() -> None:
    take(fired(annotations={"summary": "\u05d3\u05d9\u05e1\u05e7 1"}))
    said = incident_sentence(Incident.objects.get(), START + MINUTE)
    assert said.startswith("\u2068\u05d3\u05d9\u05e1\u05e7 1\u2069. Firing for")
