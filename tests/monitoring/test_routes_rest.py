from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from feedback.models import Scope
from monitoring.models import Hours, Route
from monitoring.notifying import routes
from monitoring.routing.tree import Node, matching
from tests.monitoring.callers import client_with, get, patch, post
from tests.monitoring.factories import make_channel

pytestmark = pytest.mark.django_db

FRIDAY = datetime(2026, 8, 21, 14, tzinfo=UTC)


@pytest.fixture
def caller() -> Client:
    return client_with(Scope.ROUTING_READ, Scope.ROUTING_WRITE)


def delete(client: Client, path: str, status: int = 204) -> Any:
    answer = client.delete(f"/api/v1/{path}")
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def tree() -> Node:
    root = routes.tree()
    assert root is not None
    return root


def names(root: Node, **labels: str) -> list[str]:
    return [leaf.name for leaf in matching(root, labels, FRIDAY)]


def test_routes_are_made_into_a_tree_that_routes(caller: Client) -> None:
    ops, night = make_channel("ops"), make_channel("night")
    Hours.objects.create(name="office", zone="Europe/Berlin", ranges="mon-fri 09:00-17:00")
    root = post(caller, "routes", {"name": "all", "channels": ["ops"], "group_by": ["model"]}, 201)
    assert (root["parent"], root["matchers"], root["channels"]) == (None, [], ["ops"])
    body = {
        "name": "severe",
        "matchers": 'severity=~"critical|error", team!=b',
        "hours": "office",
        "outside": "wait",
        "group_wait_seconds": 0,
        "steps": [{"after_seconds": 600, "channels": ["night"]}],
    }
    made = post(caller, "routes", body, 201)
    assert made["parent"] == root["id"]
    assert made["matchers"] == ['severity=~"critical|error"', 'team!="b"']
    assert made["parsed_matchers"][0] == {
        "name": "severity",
        "value": "critical|error",
        "isRegex": True,
        "isEqual": True,
    }
    assert made["steps"] == [{"number": 1, "after_seconds": 600, "channels": ["night"]}]
    [leaf] = matching(tree(), {"severity": "critical"}, FRIDAY)
    assert (leaf.name, leaf.channels, leaf.group_by) == ("severe", (ops.pk,), ("model",))
    assert leaf.steps[0].channels == (night.pk,)
    assert names(tree(), severity="critical", team="b") == ["all"]
    assert [one["name"] for one in get(caller, "routes")["results"]] == ["all", "severe"]
    assert get(caller, f"routes/{made['id']}") == made


def test_route_is_changed_moved_and_taken_away(caller: Client) -> None:
    root = post(caller, "routes", {"name": "all"}, 201)
    first = post(caller, "routes", {"name": "a", "matchers": ["x=y"]}, 201)
    second = post(caller, "routes", {"name": "b", "matchers": ["x=y"]}, 201)
    assert names(tree(), x="y") == ["a"]
    patch(caller, f"routes/{second['id']}", {"position": 0})
    assert names(tree(), x="y") == ["b"]
    patch(caller, f"routes/{second['id']}", {"is_continuing": True, "repeat_interval_seconds": 0})
    assert names(tree(), x="y") == ["b", "a"]
    changed = patch(caller, f"routes/{first['id']}", {"parent": second["id"]})
    assert (changed["parent"], changed["position"]) == (second["id"], 0)
    assert names(tree(), x="y") == ["a"]
    said = delete(caller, f"routes/{second['id']}", 409)
    assert said["type"] == "/problems/route-has-routes"
    delete(caller, f"routes/{second['id']}?below=true")
    assert [one["id"] for one in get(caller, "routes")["results"]] == [root["id"]]


@pytest.mark.parametrize(
    ("body", "status", "field", "words"),
    [
        ({"name": "x", "matchers": ['a=~"(b+)+"']}, 400, "matchers", "repetition inside another"),
        ({"name": "x", "matchers": ["a"]}, 400, "matchers", "At character 2"),
        ({"name": "x", "channels": ["nowhere"]}, 400, "channels", "no channel called “nowhere”"),
        ({"name": "x", "hours": "nowhere"}, 400, "hours", "no hours called"),
        ({"name": "x", "parent": 999_999}, 400, "parent", "no route 999999"),
        ({"name": "x", "parent": None}, 409, "parent", "is the first route"),
        ({"name": "all"}, 409, "name", "There is a route called “all”"),
        ({"name": "x", "tells_nobody": True, "channels": ["ops"]}, 400, "tells_nobody", "has no channels"),
        ({"name": "x", "group_wait_seconds": 4_000}, 400, "group_wait_seconds", "3600"),
        ({"name": "x", "group_wait_seconds": "5"}, 400, "group_wait_seconds", "whole number"),
        ({"name": "x", "is_continuing": "yes"}, 400, "is_continuing", "true or false"),
        ({"name": "x", "digest": "monthly"}, 400, "digest", "none of"),
        ({"name": "x", "digest_zone": "Mars"}, 400, "digest_zone", "no time zone"),
        ({"name": "x", "colour": "red"}, 400, "colour", "not known"),
        (
            {"name": "x", "steps": [{"after_seconds": 5, "channels": ["ops"]}]},
            400,
            "steps.0.after_seconds",
            "30",
        ),
        (
            {"name": "x", "steps": [{"after_seconds": 60, "channels": ["ops"]}] * 2},
            400,
            "steps",
            "later than the one before",
        ),
        ({}, 400, "name", "required"),
    ],
)
def test_route_that_is_wrong_is_refused(
    caller: Client, body: dict[str, Any], status: int, field: str, words: str
) -> None:
    make_channel("ops")
    post(caller, "routes", {"name": "all"}, 201)
    said = post(caller, "routes", body, status)
    assert said["field"] == field
    assert words in said["detail"]
    assert Route.objects.count() == 1


def test_route_of_an_older_version_is_not_overwritten(caller: Client) -> None:
    make_channel("ops")
    made = post(caller, "routes", {"name": "all", "channels": ["ops"]}, 201)
    assert made["version"] == 1
    path = f"routes/{made['id']}"
    assert patch(caller, path, {"group_wait_seconds": 60, "version": 1})["version"] == 2
    refused = patch(caller, path, {"group_wait_seconds": 90, "version": 1}, 409)
    assert (refused["field"], refused["type"].rpartition("/")[2]) == ("version", "route-changed")
    assert get(caller, path)["group_wait_seconds"] == 60
    assert patch(caller, path, {"group_wait_seconds": 90})["version"] == 3
    assert post(caller, "routes", {"name": "b", "version": 1}, 400)["field"] == "version"


def test_channel_of_the_product_is_refused_and_not_listed(caller: Client) -> None:
    sink = make_channel("receipt", kind="sink", url="")
    make_channel("ops")
    assert [row["name"] for row in get(caller, "channels")["results"]] == ["ops"]
    get(caller, f"channels/{sink.pk}", 404)
    patch(caller, f"channels/{sink.pk}", {"is_enabled": False}, 404)
    post(caller, f"channels/{sink.pk}/disable", {}, 404)
    refused = post(caller, "routes", {"name": "all", "channels": ["receipt"]}, 400)
    assert (refused["field"], "tells nobody" in refused["detail"]) == ("channels", True)
    step = {"after_seconds": 60, "channels": ["receipt"]}
    assert (
        post(caller, "routes", {"name": "all", "channels": ["ops"], "steps": [step]}, 400)["field"] == "steps"
    )


def test_first_route_takes_everything_and_stays_first(caller: Client) -> None:
    root = post(caller, "routes", {"name": "all"}, 201)
    child = post(caller, "routes", {"name": "a"}, 201)
    assert patch(caller, f"routes/{root['id']}", {"matchers": ["a=b"]}, 400)["field"] == "matchers"
    assert patch(caller, f"routes/{root['id']}", {"parent": child["id"]}, 409)["field"] == "parent"
    assert patch(caller, f"routes/{child['id']}", {"parent": None}, 409)["field"] == "parent"


def test_route_never_hangs_below_itself_nor_too_deep(caller: Client) -> None:
    post(caller, "routes", {"name": "all"}, 201)
    ids = [post(caller, "routes", {"name": "0"}, 201)["id"]]
    for number in range(1, 19):
        ids.append(post(caller, "routes", {"name": str(number), "parent": ids[-1]}, 201)["id"])
    said = patch(caller, f"routes/{ids[0]}", {"parent": ids[3]}, 400)
    assert "below itself" in said["detail"]
    said = post(caller, "routes", {"name": "deeper", "parent": ids[-1]}, 400)
    assert "20 deep" in said["detail"]


def test_routes_need_their_scopes(caller: Client) -> None:
    reader = client_with(Scope.ROUTING_READ, name="reader")
    post(reader, "routes", {"name": "all"}, 403)
    post(client_with(Scope.INCIDENTS_READ, name="other"), "routes/preview", {"labels": {}}, 403)
    post(reader, "routes/import", {"yaml": "x"}, 403)
    assert get(reader, "routes")["results"] == []
    get(reader, "routes/7", 404)
    delete(caller, "routes/7", 404)
    patch(caller, "routes/7", {"name": "x"}, 404)


def test_tree_is_read_in_few_queries(caller: Client, django_assert_max_num_queries: Any) -> None:
    ops = make_channel("ops")
    post(caller, "routes", {"name": "all", "channels": [ops.name]}, 201)
    for number in range(5):
        step = {"after_seconds": 60, "channels": ["ops"]}
        post(caller, "routes", {"name": str(number), "channels": ["ops"], "steps": [step]}, 201)
    with django_assert_max_num_queries(4):
        assert len(tree().children) == 5
