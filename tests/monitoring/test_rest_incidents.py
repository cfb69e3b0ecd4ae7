"""REST: incidents opened, found, and acted on."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from feedback.models import Scope
from monitoring.history import chain
from monitoring.models import Incident, IncidentEvent, IncidentFlag
from tests.monitoring.callers import client_with, get, post
from tests.monitoring.factories import START, make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db

DISK: dict[str, Any] = {
    "key": "disk/node-7",
    "title": "disk is full",
    "severity": "error",
    "labels": {"team": "infra", "node": "7"},
    "summary": "95 %",
    "runbook_url": "https://run.example.org/disk",
}


@pytest.fixture
def api() -> Client:
    return client_with(Scope.INCIDENTS_READ, Scope.INCIDENTS_WRITE, name="ops")


def opened(client: Client, **changes: Any) -> dict[str, Any]:
    return post(client, "incidents", DISK | changes, 201)


def kinds(body: dict[str, Any]) -> list[str]:
    return [event["kind"] for event in body["events"]]


def test_incident_is_opened_once_for_its_key(api: Client) -> None:
    first = opened(api)
    again = post(api, "incidents", DISK)
    assert again["id"] == first["id"]
    assert (again["alarm_count"], again["version"]) == (2, 1)
    assert (first["source"], first["reported_by"], first["state"]) == ("api", "API key “ops”", "firing")
    assert first["annotations"] == {"summary": "95 %", "runbook_url": "https://run.example.org/disk"}


def test_incident_is_resolved_by_its_key_and_again_does_nothing(api: Client) -> None:
    first = opened(api)
    over = post(api, "incidents/by-key/disk/node-7/resolve")
    assert (over["id"], over["state"], over["resolution"]) == (first["id"], "resolved", "reported_over")
    assert post(api, "incidents/by-key/disk/node-7/resolve")["version"] == over["version"]
    assert post(api, "incidents/by-key/nothing/resolve", status=404)["field"] == "key"
    assert opened(api)["id"] != first["id"]


def test_incident_that_is_not_repeated_ends(api: Client) -> None:
    body = opened(api, expires_in_seconds=60, onset_at="2026-03-01T12:00:00Z")
    incident = Incident.objects.get(pk=body["id"])
    assert incident.expected_until == incident.opened_at + timedelta(seconds=60)
    assert incident.onset_at == START


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"titel": "x"}, "titel"),
        ({"key": ""}, "key"),
        ({"key": "x" * 201}, "key"),
        ({"title": 5}, "title"),
        ({"severity": "bad"}, "severity"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"labels": []}, "labels"),
        ({"labels": {str(number): "x" for number in range(65)}}, "labels"),
        ({"runbook_url": "javascript:alert(1)"}, "runbook_url"),
        ({"onset_at": "2999-01-01T00:00:00Z"}, "onset_at"),
        ({"expires_in_seconds": 1}, "expires_in_seconds"),
        ({"summary": "a\0b"}, None),
    ],
)
def test_wrong_incident_is_refused_by_name(api: Client, changes: dict[str, Any], field: str | None) -> None:
    assert post(api, "incidents", DISK | changes, 400).get("field") == field
    assert not Incident.objects.exists()


def test_incident_is_acknowledged_until_a_time(api: Client) -> None:
    path = f"incidents/{opened(api)['id']}"
    body = post(api, f"{path}/acknowledge", {"seconds": 3600})
    assert (body["state"], kinds(body)) == ("acknowledged", ["opened", "acknowledged"])
    assert body["events"][1]["actor"] == "API key “ops”"
    assert body["acknowledged_until"] is not None
    endless = post(api, f"{path}/acknowledge")
    assert (endless["acknowledged_until"], endless["version"]) == (None, body["version"] + 1)
    # Again: nothing.
    assert post(api, f"{path}/acknowledge")["version"] == endless["version"]
    freed = post(api, f"{path}/unacknowledge")
    assert (freed["state"], freed["acknowledged_until"]) == ("firing", None)
    assert post(api, f"{path}/unacknowledge")["version"] == freed["version"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "2999-01-01T00:00:00Z"}, "until"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": 60, "until": "2999-01-01T00:00:00Z"}, "until"),
        ({"minutes": 5}, "minutes"),
    ],
)
def test_odd_end_of_an_acknowledgement_is_refused(api: Client, body: dict[str, Any], field: str) -> None:
    path = f"incidents/{opened(api)['id']}"
    assert post(api, f"{path}/acknowledge", body, 400)["field"] == field


def test_incident_is_resolved_once_and_another_reason_is_a_conflict(api: Client) -> None:
    path = f"incidents/{opened(api)['id']}"
    body = post(api, f"{path}/resolve", {"resolution": "fixed", "note": "cleaned up"})
    assert (body["state"], body["resolution"]) == ("resolved", "fixed")
    assert body["events"][-1]["details"]["note"] == "cleaned up"
    assert post(api, f"{path}/resolve", {"resolution": "fixed"})["version"] == body["version"]
    for move, said in (("resolve", {"resolution": "expected"}), ("acknowledge", {}), ("unacknowledge", {})):
        refused = post(api, f"{path}/{move}", said, 409)
        assert refused["title"] == "Its state does not allow this"
        assert refused["type"] == "/problems/invalid-transition"


@pytest.mark.parametrize("resolution", ["recovered", "odd", "", None])
def test_reason_that_no_person_can_give_is_refused(api: Client, resolution: str | None) -> None:
    path = f"incidents/{opened(api)['id']}"
    assert post(api, f"{path}/resolve", {"resolution": resolution}, 400)["field"] == "resolution"


def test_incident_is_commented_on_and_judged_after_its_end(api: Client) -> None:
    path = f"incidents/{opened(api)['id']}"
    post(api, f"{path}/resolve", {"resolution": "fixed"})
    body = post(api, f"{path}/comment", {"text": "the disk was replaced"})
    assert body["events"][-1]["details"]["note"] == "the disk was replaced"
    judged = post(api, f"{path}/judge", {"usefulness": "useful"})
    assert judged["usefulness"] == "useful"
    assert post(api, f"{path}/judge", {"usefulness": "useful"})["version"] == judged["version"]
    assert post(api, f"{path}/judge", {"usefulness": "odd"}, 400)["field"] == "usefulness"
    assert post(api, f"{path}/comment", {"text": " "}, 400)["field"] == "text"


def test_change_that_somebody_else_made_meanwhile_is_a_conflict(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"incidents/{opened(api)['id']}"

    def lose(*_: Any, **__: Any) -> None:
        raise chain.IncidentChanged("lost")

    monkeypatch.setattr(chain, "append", lose)
    assert post(api, f"{path}/acknowledge", status=409)["type"] == "/problems/incident-changed"


def test_incident_is_read_with_its_sealed_log_and_flags(
    api: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_channel("a")
    incident_id = opened(api)["id"]
    IncidentFlag.objects.create(incident_id=incident_id, kind="silenced", why="planned", since=timezone.now())
    with django_assert_max_num_queries(9):
        body = get(api, f"incidents/{incident_id}")
    assert len(body["events"][0]["hash"]) == 64
    assert [(one["kind"], one["why"], one["ended_at"]) for one in body["flags"]] == [
        ("silenced", "planned", None)
    ]


def ids(client: Client, query: str) -> list[str]:
    return [row["title"] for row in get(client, f"incidents?{query}")["results"]]


def test_incidents_are_found_by_what_they_are(api: Client) -> None:
    monitor = make_monitor(name="Helpfulness")
    make_incident(monitor, title="suspicion", state="suspect")
    make_incident(monitor, title="of a group", slice_key="language=es", labels={"language": "es"})
    opened(api)
    opened(api, key="other", title="Other thing", severity="critical", labels={"team": "web"})
    assert ids(api, "") == ["Other thing", "disk is full", "of a group", "suspicion"]
    assert ids(api, "state=open") == ["Other thing", "disk is full", "of a group"]
    assert ids(api, "state=suspect") == ["suspicion"]
    assert ids(api, f"state=unresolved&monitor={monitor.pk}") == ["of a group", "suspicion"]
    assert ids(api, "source=api&severity=critical") == ["Other thing"]
    assert ids(api, "q=DISK") == ["disk is full"]
    assert ids(api, 'matchers=team="infra"') == ["disk is full"]
    assert ids(api, 'matchers=team=~"infra|web",severity!="error"') == ["Other thing"]
    assert ids(api, "matchers=monitor=Helpfulness,language=es") == ["of a group"]
    assert ids(api, "opened_before=2026-03-02T00:00:00Z") == ["of a group", "suspicion"]
    assert ids(api, "opened_after=2026-03-02T00:00:00Z&page_size=1") == ["Other thing"]


def test_incidents_are_paged(api: Client) -> None:
    for number in range(3):
        opened(api, key=str(number), title=str(number))
    page = get(api, "incidents?page_size=2&matchers=team=infra")
    assert [row["title"] for row in page["results"]] == ["2", "1"]
    rest = api.get(page["next"]).json()
    assert ([row["title"] for row in rest["results"]], rest["next"]) == (["0"], None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("stat=open", "stat"),
        ("state=odd", "state"),
        ("source=odd", "source"),
        ("matchers=team", "matchers"),
        ('matchers=team=~"("', "matchers"),
        ("opened_after=yesterday", "opened_after"),
        ("monitor=x", "monitor"),
        ("q=a%00b", "q"),
    ],
)
def test_odd_filter_is_refused_by_name(api: Client, query: str, field: str) -> None:
    assert get(api, f"incidents?{query}", 400)["field"] == field


MOVES = ("acknowledge", "unacknowledge", "resolve", "comment", "judge")
_BODIES: dict[str, Any] = {
    "resolve": {"resolution": "fixed"},
    "comment": {"text": "x"},
    "judge": {"usefulness": "noise"},
}


@pytest.mark.parametrize("move", MOVES)
def test_move_of_an_unknown_incident_is_not_found_and_needs_its_scope(api: Client, move: str) -> None:
    path = f"incidents/{uuid4()}/{move}"
    assert post(api, path, _BODIES.get(move), 404)["type"] == "/problems/not-found"
    reader = client_with(Scope.INCIDENTS_READ)
    assert post(reader, path, _BODIES.get(move), 403)["type"] == "/problems/permission-denied"


def test_opening_needs_its_scope() -> None:
    reader = client_with(Scope.INCIDENTS_READ)
    post(reader, "incidents", DISK, 403)
    post(reader, "incidents/by-key/x/resolve", status=403)
    assert not IncidentEvent.objects.exists()
