from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from feedback.models import ApiKey, Scope
from monitoring.models import IncidentEvent, MessageKind
from monitoring.notifying import messages
from tests.monitoring.factories import START, make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Client:
    key = ApiKey(name="reader", scopes=[Scope.INCIDENTS_READ])
    secret = ApiKey.new_secret()
    key.take_secret(secret)
    key.save()
    return Client(headers={"Authorization": f"Bearer {secret}"})


def test_monitors_list_has_definition_and_last_check(api: Client) -> None:
    monitor = make_monitor(split_by=["variant"])
    make_monitor(name="paused", started_at=None)
    body = api.get("/api/v1/monitors?state=active").json()
    assert [row["id"] for row in body["results"]] == [monitor.pk]
    assert body["results"][0]["parameters"] == {"level": 0.8, "margin": 0.05}
    assert body["results"][0]["checked_at"] is None


def test_monitor_has_its_slices(api: Client) -> None:
    incident = make_incident(make_monitor())
    body = api.get(f"/api/v1/monitors/{incident.monitor_id}").json()
    [row] = body["slices"]
    assert (row["key"], row["name"], row["labels"], row["in_band_count"]) == ("all", "all records", {}, 0)
    assert (row["log_evidence"], row["evidence_share"], row["bucket_at"]) == (None, None, None)


def test_incidents_list_is_filtered(api: Client) -> None:
    monitor = make_monitor()
    over = make_incident(monitor, state="resolved", resolved_at=START, resolution="fixed")
    still = make_incident(monitor)

    def ids(query: str) -> list[str]:
        return [row["id"] for row in api.get(f"/api/v1/incidents?{query}").json()["results"]]

    assert ids("") == [str(still.pk), str(over.pk)]
    assert ids("state=open") == [str(still.pk)]
    assert ids("state=resolved") == [str(over.pk)]
    assert ids(f"monitor={monitor.pk}&severity=error") == [str(still.pk), str(over.pk)]
    assert ids("monitor=999999999999999999999") == []


def test_incident_has_events_and_deliveries(
    api: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    incident = make_incident(make_monitor(channels=(make_channel("a"), make_channel("b"))))
    IncidentEvent.objects.create(incident=incident, seq=1, kind="opened", at=START)
    messages.enqueue(incident, MessageKind.TRIGGER, now=START)
    with django_assert_max_num_queries(8):
        body = api.get(f"/api/v1/incidents/{incident.pk}").json()
    assert body["effect"] == {
        "current": 0.7, "level": 0.8, "difference": -0.1, "low": -0.12, "high": -0.08, "n": 400,
    }  # fmt: skip
    assert [event["kind"] for event in body["events"]] == ["opened"]
    assert [(row["channel"], row["status"], row["attempts"]) for row in body["deliveries"]] == [
        ("a", "pending", []),
        ("b", "pending", []),
    ]


def test_incident_without_numbers_has_no_effect(api: Client) -> None:
    incident = make_incident(make_monitor(), effect={})
    assert api.get(f"/api/v1/incidents/{incident.pk}").json()["effect"] is None


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("monitors?stat=active", 400, "stat"),
        ("monitors?state=odd", 400, "state"),
        ("monitors?metric=a%00b", 400, "metric"),
        ("incidents?monitor=a", 400, "monitor"),
        ("incidents?severity=bad", 400, "severity"),
        ("monitors/12345", 404, None),
        ("monitors/999999999999999999999999", 404, None),
        ("incidents/7b0f3c52-2d9e-4a55-9d3f-0c1f6f3f2a10", 404, None),
    ],
)
def test_bad_request_is_a_problem_that_names_the_field(
    api: Client, path: str, status: int, field: str | None
) -> None:
    answer = api.get(f"/api/v1/{path}")
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert body.get("field") == field


@pytest.mark.parametrize(
    "path", ["monitors", "monitors/1", "incidents", "incidents/7b0f3c52-2d9e-4a55-9d3f-0c1f6f3f2a10"]
)
def test_request_without_the_scope_is_refused(api: Client, path: str) -> None:
    assert Client().get(f"/api/v1/{path}").status_code == 401
    ApiKey.objects.get().delete()
    key = ApiKey(name="other", scopes=[Scope.FEEDBACK_READ])
    secret = ApiKey.new_secret()
    key.take_secret(secret)
    key.save()
    answer = Client(headers={"Authorization": f"Bearer {secret}"}).get(f"/api/v1/{path}")
    assert answer.status_code == 403
