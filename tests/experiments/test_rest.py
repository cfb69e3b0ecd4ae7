import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from pytest_django import DjangoAssertNumQueries
from rest_framework import exceptions

from experiments import catalogue, drafts
from experiments.definition import config_hash
from experiments.models import Assignment
from feedback.models import Scope
from tests.experiments.callers import client
from tests.experiments.factories import draft, running, stopped
from triageops.rest import problem_handler

pytestmark = pytest.mark.django_db

ASSIGN = "/api/v1/experiments/llm_model_ab_test/assign"
EVERYTHING = (Scope.EXPERIMENTS_READ, Scope.EXPERIMENTS_ASSIGN)


def post(body: Any, path: str = ASSIGN) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return client(*EVERYTHING).post(path, content, content_type="application/json")


def test_assign_new_unit_gives_the_whole_decision() -> None:
    running()
    answer = post({"unit": "user-1"})
    assert answer.status_code == 200
    body = answer.json()
    row = Assignment.objects.get()
    assert body == {
        "experiment": "llm_model_ab_test",
        "variant": row.variant.key,
        "config": {"model": row.variant.key},
        "in_experiment": True,
        "reason": "split",
        "bucket": row.bucket,
        "assigned_at": row.assigned_at.isoformat().replace("+00:00", "Z"),
        "config_hash": row.variant.config_hash,
        "variant_version": 1,
        "epoch": 1,
    }


def test_assign_twice_gives_the_same_bytes_and_one_row() -> None:
    running()
    assert post({"unit": "user-1"}).content == post({"unit": "user-1"}).content
    assert Assignment.objects.count() == 1


@pytest.mark.parametrize(("make", "reason", "epoch"), [(draft, "draft", None), (stopped, "stopped", 1)])
def test_assign_while_not_running_gives_the_control_and_says_why(
    make: Callable[[], object], reason: str, epoch: int | None
) -> None:
    make()
    assert post({"unit": "user-1"}).json() == {
        "config_hash": config_hash({"model": "gpt-4"}),
        "variant_version": 1,
        "epoch": epoch,
        "experiment": "llm_model_ab_test",
        "variant": "gpt-4",
        "config": {"model": "gpt-4"},
        "in_experiment": False,
        "reason": reason,
        "bucket": None,
        "assigned_at": None,
    }


@pytest.mark.parametrize("unit", ["josé", "😀", " padded ", "x" * 128])
def test_assign_keeps_unicode_units_as_they_are(unit: str) -> None:
    running()
    assert post({"unit": unit}).status_code == 200
    assert Assignment.objects.get().unit == unit


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({}, "unit", "The unit is missing."),
        ({"unit": ""}, "unit", "The unit is empty."),
        ({"unit": None}, "unit", "The unit is not text."),
        ({"unit": 5}, "unit", "The unit is not text."),
        ({"unit": ["a"]}, "unit", "The unit is not text."),
        ({"unit": "x" * 129}, "unit", "The unit has 129 characters; the most is 128."),
        ({"unit": "a\0"}, "unit", "The unit holds a NUL character or half a surrogate pair."),
        ({"unit": "\ud83d"}, "unit", "The unit holds a NUL character or half a surrogate pair."),
        ({"unit": "a", "user": "b"}, "user", "The field 'user' is not known."),
        ([], None, "The body is not a JSON object."),
        ("a", None, "The body is not a JSON object."),
    ],
)
def test_assign_with_bad_input_names_field_and_fix(body: Any, field: str | None, detail: str) -> None:
    running()
    answer = post(body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["detail"], problem.get("field")) == (
        "/problems/invalid-input",
        detail,
        field,
    )
    assert problem["fix"]
    assert not Assignment.objects.exists()


@pytest.mark.parametrize("body", [b"", b"{", b'{"unit": NaN}', b"\xff\xfe", b'{"unit": "\xe9"}'])
def test_assign_with_a_body_that_is_no_json_is_a_problem(body: bytes) -> None:
    running()
    answer = post(body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("key", ["unknown", "a%00b", "a%20b", "%F0%9F%98%80", "x" * 129])
def test_unknown_experiment_is_a_404_problem(key: str) -> None:
    running()
    read = client(*EVERYTHING).get(f"/api/v1/experiments/{key}")
    for answer in (read, post({"unit": "user-1"}, f"/api/v1/experiments/{key}/assign")):
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.json()["type"], answer.json()["field"]) == ("/problems/unknown-experiment", "key")


def test_read_gives_the_whole_definition_with_variants_in_order() -> None:
    running()
    answer = client(Scope.EXPERIMENTS_READ).get("/api/v1/experiments/llm_model_ab_test")
    body = answer.json()
    assert answer.headers["ETag"] == '"2"'
    assert {"key", "state", "version", "owner", "layer", "metrics", "ramp", *drafts.FIELDS} <= set(body)
    assert (body["state"], body["version"], body["started_at"]) == ("running", 2, "2026-03-01T12:00:00Z")
    assert [(one["key"], one["is_control"], one["weight_bp"]) for one in body["variants"]] == [
        ("gpt-4", True, 5_000),
        ("claude-2", False, 3_000),
        ("llama2-70b", False, 2_000),
    ]
    assert body["variants"][1]["config_hash"] == config_hash({"model": "claude-2"})


def test_list_goes_from_page_to_page_newest_first() -> None:
    for number in range(5):
        draft({}, key=f"e{number}")
    reader = client(Scope.EXPERIMENTS_READ)
    keys, address = [], "/api/v1/experiments?page_size=2"
    while address:
        page = reader.get(address).json()
        keys.append([one["key"] for one in page["results"]])
        address = page["next"]
    assert keys == [["e4", "e3"], ["e2", "e1"], ["e0"]]


def test_list_filters_by_state() -> None:
    draft(key="a")
    running(key="b")
    reader = client(Scope.EXPERIMENTS_READ)
    found = {
        state: reader.get(f"/api/v1/experiments?state={state}").json()
        for state in ("draft", "running", "stopped")
    }
    keys = {state: [one["key"] for one in page["results"]] for state, page in found.items()}
    assert keys == {"draft": ["a"], "running": ["b"], "stopped": []}


@pytest.mark.parametrize(("query", "field"), [("state=asleep", "state"), ("stat=draft", "stat")])
def test_list_with_a_filter_it_does_not_know_is_refused(query: str, field: str) -> None:
    answer = client(Scope.EXPERIMENTS_READ).get(f"/api/v1/experiments?{query}")
    assert (answer.status_code, answer.json()["field"], bool(answer.json()["fix"])) == (400, field, True)


@pytest.mark.parametrize("path", ["/api/v1/experiments", "/api/v1/experiments/llm_model_ab_test", ASSIGN])
def test_without_the_right_key_nothing_is_said(path: str) -> None:
    running()
    call = "post" if path == ASSIGN else "get"
    wrong = Scope.EXPERIMENTS_READ if path == ASSIGN else Scope.EXPERIMENTS_ASSIGN
    arguments = {"data": '{"unit": "user-1"}', "content_type": "application/json"} if path == ASSIGN else {}
    assert getattr(Client(), call)(path, **arguments).status_code == 401
    assert getattr(client(wrong), call)(path, **arguments).status_code == 403
    assert not Assignment.objects.exists()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("put", "", "GET, POST, HEAD, OPTIONS"),
        ("delete", "/llm_model_ab_test", "GET, PATCH, HEAD, OPTIONS"),
        ("get", "/llm_model_ab_test/assign", "POST, OPTIONS"),
        ("patch", "/llm_model_ab_test/weights", "POST, OPTIONS"),
    ],
)
def test_method_that_an_address_does_not_know_is_a_405_that_names_those_it_knows(
    method: str, path: str, allowed: str
) -> None:
    running()
    answer = getattr(client(*EVERYTHING), method)(f"/api/v1/experiments{path}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/problem+json")
    assert answer.headers["Allow"] == allowed
    assert answer.json() == {
        "type": "/problems/method-not-allowed",
        "title": "Method not allowed",
        "status": 405,
        "detail": f'Method "{method.upper()}" not allowed.',
        "fix": f"Use one of: {allowed}.",
    }


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (exceptions.NotAcceptable(), 406, "Not acceptable"),
        (exceptions.UnsupportedMediaType("text/csv"), 415, "This content type is not understood"),
        (exceptions.MethodNotAllowed("PUT"), 405, "Method not allowed"),
        (exceptions.ParseError(), 400, "Malformed request."),
        (exceptions.Throttled(), 429, "Request was throttled."),
        (exceptions.ValidationError({"key": ["no"]}), 400, "The input is not valid"),
    ],
)
def test_refusals_of_the_framework_have_their_own_titles_and_a_fix(
    error: Exception, status: int, title: str
) -> None:
    answer = problem_handler(error, {})
    assert answer is not None
    problem = json.loads(answer.content)
    assert (answer.status_code, problem["status"], problem["title"]) == (status, status, title)
    assert problem["fix"]


def test_paths_have_no_trailing_slash() -> None:
    running()
    for path in ("/api/v1/experiments/", "/api/v1/experiments/llm_model_ab_test/", ASSIGN + "/"):
        assert client(*EVERYTHING).get(path).status_code == 404


def test_assign_of_a_known_unit_costs_few_queries(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 60.0)
    running()
    caller = client(*EVERYTHING)
    arguments: dict[str, Any] = {"data": '{"unit": "user-1"}', "content_type": "application/json"}
    caller.post(ASSIGN, **arguments)
    with django_assert_num_queries(1):
        caller.post(ASSIGN, **arguments)


def test_openapi_describes_the_decision(capsys: pytest.CaptureFixture[str]) -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    said = [line for line in capsys.readouterr().err.splitlines() if "experiments" in line]
    assert said == []
    operation = schema["paths"]["/api/v1/experiments/{key}/assign"]["post"]
    assert operation["operationId"] == "experiments_assign"
    request = schema["components"]["schemas"]["AssignRequestRequest"]
    assert request["properties"]["unit"]["maxLength"] == 128
