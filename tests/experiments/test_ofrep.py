"""OFREP by its own statuses and bodies, and as OpenFeature's SDK with its provider reads it, both unmodified."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from pytest_django import Settings

from experiments import allocation, drafts, forcing, lifecycle, ofrep
from experiments.models import Assignment, Experiment
from feedback.models import Scope
from tests.experiments.callers import client, key
from tests.experiments.factories import NOW, draft, running, stopped

FLAGS = "/ofrep/v1/evaluate/flags"
FLAG = f"{FLAGS}/llm_model_ab_test"
ORIGIN = "https://triage.example"
REASONS = {"STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"}
CODES = {"PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"}

pytestmark = pytest.mark.django_db


Headers = dict[str, str]


def post(
    path: str = FLAG, context: Any = None, caller: Client | None = None, headers: Headers | None = None
) -> Any:
    body = {"context": {"targetingKey": "user-1"} if context is None else context}
    return post_body(path, body, caller, headers)


def post_body(path: str, body: Any, caller: Client | None = None, headers: Headers | None = None) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body)
    caller = caller or client(Scope.EXPERIMENTS_ASSIGN)
    return caller.post(path, content, content_type="application/json", headers=headers)


def check_success(body: dict[str, Any]) -> None:
    """As OFREP's OpenAPI file (0.2) describes serverEvaluationSuccess."""
    assert set(body) <= {"key", "reason", "variant", "value", "metadata"}
    assert isinstance(body["key"], str)
    assert body["reason"] in REASONS
    assert body["variant"] is None or isinstance(body["variant"], str)
    assert "value" not in body or isinstance(body["value"], bool | str | int | float | dict)
    assert all(isinstance(value, bool | str | int | float) for value in body["metadata"].values())


def check_failure(body: dict[str, Any]) -> None:
    assert set(body) <= {"key", "errorCode", "errorDetails"}
    assert body["errorCode"] in CODES
    assert isinstance(body["errorDetails"], str)
    assert body["errorDetails"]


def valued(values: dict[str, object], key: str) -> Experiment:
    """A running experiment of two arms whose configs are bare values."""
    made = draft({name: 10_000 // len(values) for name in values}, control=next(iter(values)), key=key)
    rows = [
        {
            "key": name,
            "is_control": name == next(iter(values)),
            "weight_bp": 5_000,
            "config": {"value": value},
        }
        for name, value in values.items()
    ]
    drafts.edit(made, {"variants": rows}, by=None, now=NOW)
    return lifecycle.start(made, by=None, now=NOW)


def test_unit_that_is_assigned_gets_value_variant_and_metadata() -> None:
    running()
    answer = post()
    row = Assignment.objects.get()
    body = answer.json()
    check_success(body)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert body == {
        "key": "llm_model_ab_test",
        "reason": "SPLIT",
        "variant": row.variant.key,
        "value": {"model": row.variant.key},
        "metadata": {
            "experiment": "llm_model_ab_test",
            "in_experiment": True,
            "reason": "split",
            "variant_version": 1,
            "config_hash": row.variant.config_hash,
            "epoch": 1,
            "bucket": row.bucket,
            "assignment_id": ofrep.assignment_id("llm_model_ab_test", "user-1"),
        },
    }


def test_assignment_id_names_the_pair_and_hides_the_unit() -> None:
    assert ofrep.assignment_id("a", "user-1") == ofrep.assignment_id("a", "user-1")
    found = {ofrep.assignment_id(e, u) for e in ("a", "b") for u in ("user-1", "user-2", "josé")}
    assert len(found) == 6
    assert all(len(one) == 16 and "user" not in one for one in found)


def test_answer_is_the_same_as_that_of_the_native_call() -> None:
    running()
    caller = client(Scope.EXPERIMENTS_ASSIGN)
    native = caller.post(
        "/api/v1/experiments/llm_model_ab_test/assign", '{"unit": "user-1"}', content_type="application/json"
    ).json()
    body = post(caller=caller).json()
    assert (body["variant"], body["value"], body["metadata"]["bucket"]) == (
        native["variant"],
        native["config"],
        native["bucket"],
    )


def test_forced_unit_is_a_targeting_match_outside_the_experiment() -> None:
    forcing.force(running(), "user-1", "llama2-70b", by=None, now=NOW)
    body = post().json()
    check_success(body)
    assert (body["reason"], body["variant"]) == ("TARGETING_MATCH", "llama2-70b")
    assert body["metadata"]["in_experiment"] is False
    assert "assignment_id" not in body["metadata"]


@pytest.mark.parametrize("state", ["draft", "paused", "halted", "stopped"])
def test_experiment_that_is_not_running_is_disabled_with_the_control(state: str) -> None:
    act = {"paused": lifecycle.pause, "halted": lifecycle.kill, "stopped": lifecycle.stop}.get(state)
    if act is None:
        draft()
    else:
        act(running(), by=None, now=NOW)
    body = post().json()
    check_success(body)
    assert (body["reason"], body["variant"], body["value"]) == ("DISABLED", "gpt-4", {"model": "gpt-4"})
    assert (body["metadata"]["reason"], body["metadata"]["in_experiment"]) == (state, False)


def test_shipped_experiment_is_static() -> None:
    lifecycle.ship(stopped(), "claude-2", by=None, now=NOW)
    body = post().json()
    assert (body["reason"], body["variant"], body["value"]) == ("STATIC", "claude-2", {"model": "claude-2"})


def test_draft_without_a_control_has_a_null_variant_and_no_value() -> None:
    draft(control=None)
    body = post().json()
    check_success(body)
    assert (body["variant"], "value" in body) == (None, False)


@pytest.mark.parametrize(
    ("changes", "context", "reason"),
    [
        ({"coverage_bp": 1}, {}, "coverage"),
        ({"targeting": {"language": "es"}}, {"language": "en"}, "targeting"),
        ({"targeting": {"id": {"$in": ["user-2"]}}}, {}, "targeting"),
    ],
)
def test_unit_outside_the_experiment_is_static_with_the_control(
    changes: dict[str, Any], context: dict[str, Any], reason: str
) -> None:
    running(**changes)
    body = post(context={"targetingKey": "user-1"} | context).json()
    check_success(body)
    assert (body["reason"], body["variant"]) == ("STATIC", "gpt-4")
    assert (body["metadata"]["reason"], body["metadata"]["in_experiment"]) == (reason, False)
    assert not Assignment.objects.exists()


def test_targeting_sees_the_context_and_the_targeting_key_as_id() -> None:
    running(targeting={"id": "user-1", "country.code": "es"})
    assert post(context={"targetingKey": "user-1", "country": {"code": "es"}}).json()["reason"] == "SPLIT"


@pytest.mark.parametrize("clinic", ["17", 17])
def test_unit_is_the_attribute_that_the_experiment_names(clinic: object) -> None:
    running(unit_attribute="clinic_id")
    assert post(context={"targetingKey": "user-1", "clinic_id": clinic}).json()["reason"] == "SPLIT"
    assert post(context={"clinic_id": clinic}).json()["reason"] == "SPLIT"
    assert [row.unit for row in Assignment.objects.all()] == ["17"]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"{", "PARSE_ERROR", "JSON"),
        (b"", "PARSE_ERROR", "JSON"),
        (b"\xff", "PARSE_ERROR", "JSON"),
        (b'{"context": {"targetingKey": "\\ud83d"}}', "PARSE_ERROR", "JSON"),
        (b'{"context": {"targetingKey": "a", "x": NaN}}', "PARSE_ERROR", "JSON"),
        (b'{"context": {"targetingKey": "a", "x": 1e999}}', "PARSE_ERROR", "JSON"),
        (b'{"context": ' + b"[" * 100_000, "PARSE_ERROR", "JSON"),
        ([], "PARSE_ERROR", "object"),
        ({}, "INVALID_CONTEXT", "context"),
        ({"context": "a"}, "INVALID_CONTEXT", "context"),
        ({"context": {}}, "TARGETING_KEY_MISSING", "targetingKey"),
        ({"context": {"targetingKey": None}}, "TARGETING_KEY_MISSING", "targetingKey"),
        ({"context": {"targetingKey": ""}}, "TARGETING_KEY_MISSING", "targetingKey"),
        ({"context": {"id": "user-1"}}, "TARGETING_KEY_MISSING", "targetingKey"),
        ({"context": {"targetingKey": 5}}, "INVALID_CONTEXT", "targetingKey"),
        ({"context": {"targetingKey": "x" * 129}}, "INVALID_CONTEXT", "129"),
        ({"context": {"targetingKey": "a\0"}}, "INVALID_CONTEXT", "NUL"),
    ],
)
@pytest.mark.parametrize("path", [FLAG, FLAGS])
def test_bad_request_says_code_and_details(path: str, body: Any, code: str, said: str) -> None:
    running()
    answer = post_body(path, body)
    assert answer.status_code == 400
    check_failure(answer.json())
    assert answer.json()["errorCode"] == code
    assert said in answer.json()["errorDetails"]
    assert answer.json().get("key") == ("llm_model_ab_test" if path == FLAG else None)
    assert not Assignment.objects.exists()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "TARGETING_KEY_MISSING"),
        ("", "TARGETING_KEY_MISSING"),
        ([], "INVALID_CONTEXT"),
        (2.5, "INVALID_CONTEXT"),
        (True, "INVALID_CONTEXT"),
        (10**30, "INVALID_CONTEXT"),
    ],
)
def test_unit_attribute_that_is_no_unit_is_named(value: object, code: str) -> None:
    running(unit_attribute="clinic_id")
    answer = post(context={"targetingKey": "user-1", "clinic_id": value})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, code)
    assert "clinic_id" in answer.json()["errorDetails"]


@pytest.mark.parametrize("flag", ["unknown", "a/b", "a%00b", "%F0%9F%98%80", "x" * 300, "llm_model_ab_test/"])
def test_unknown_flag_is_not_found(flag: str) -> None:
    running()
    answer = post(f"{FLAGS}/{flag}")
    assert answer.status_code == 404
    check_failure(answer.json())
    assert answer.json()["errorCode"] == "FLAG_NOT_FOUND"


@pytest.mark.parametrize("path", ["/ofrep/v1/evaluate/flags/", "/ofrep/v1/configuration"])
def test_wrong_address_is_a_404_without_a_redirect(path: str) -> None:
    answer = post(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json")
    check_failure(answer.json())


def test_archived_experiment_is_not_found() -> None:
    lifecycle.archive(stopped(), by=None, now=NOW)
    assert post().status_code == 404
    assert post(FLAGS).json() == {"flags": []}


@pytest.mark.parametrize("path", [FLAG, FLAGS])
def test_without_the_right_key_nothing_is_evaluated(path: str) -> None:
    running()
    none, wrong = post(path, caller=Client()), post(path, caller=client(Scope.EXPERIMENTS_READ))
    assert (none.status_code, wrong.status_code) == (401, 403)
    assert none.headers["WWW-Authenticate"] == "Bearer"
    for answer in (none, wrong):
        check_failure(answer.json())
    assert not Assignment.objects.exists()


def test_key_may_stand_in_its_own_header() -> None:
    running()
    caller = Client(headers={"x-api-key": key(Scope.EXPERIMENTS_ASSIGN)})
    assert post(caller=caller).status_code == 200


def test_session_of_a_person_is_no_key(admin_client: Client) -> None:
    running()
    assert post(caller=admin_client).status_code == 401


def test_too_many_calls_wait_for_whole_seconds() -> None:
    running()
    caller = client(Scope.EXPERIMENTS_ASSIGN, requests_per_minute=2)
    answers = [post(caller=caller) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    # A minute may end in between.
    assert len(refused) >= 2
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in refused)
    check_failure(refused[0].json())


def test_other_methods_and_large_bodies_are_refused() -> None:
    running()
    caller = client(Scope.EXPERIMENTS_ASSIGN)
    for path in (FLAG, FLAGS):
        answer = caller.get(path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        check_failure(answer.json())
    answer = post_body(FLAG, b" " * 1_048_577, caller)
    assert answer.status_code == 413
    check_failure(answer.json())


def test_dead_database_is_a_503_with_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    running()

    def fails(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    # Within a test's transaction the connection must not be closed.
    monkeypatch.setattr("feedback.intake.connection.close", lambda: None)
    monkeypatch.setattr(allocation, "decide", fails)
    for path in (FLAG, FLAGS):
        answer = post(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        check_failure(answer.json())


def test_error_of_ours_is_a_500_with_details(monkeypatch: pytest.MonkeyPatch) -> None:
    running()
    monkeypatch.setattr(allocation, "decide", lambda *_, **__: 1 / 0)
    caller = client(Scope.EXPERIMENTS_ASSIGN)
    caller.raise_request_exception = False
    for path in (FLAG, FLAGS):
        answer = post(path, caller=caller)
        assert answer.status_code == 500
        assert set(answer.json()) == {"errorDetails"}


def test_bulk_gives_each_published_flag_by_key() -> None:
    running(key="c")
    stopped(key="b")
    draft(key="a")
    lifecycle.request_review(draft(key="r"), by=_user(), now=NOW)
    running(key="d", unit_attribute="clinic_id")
    flags = post(FLAGS).json()["flags"]
    assert [flag["key"] for flag in flags] == ["b", "c", "d"]
    check_success(flags[0])
    check_success(flags[1])
    check_failure(flags[2])
    assert [flag.get("reason") for flag in flags] == ["DISABLED", "SPLIT", None]
    assert flags[2]["errorCode"] == "TARGETING_KEY_MISSING"
    assert flags[1] == post(f"{FLAGS}/c").json()


def _user() -> Any:
    from django.contrib.auth.models import User

    return User.objects.create(username="asks")


@pytest.mark.parametrize(
    "spelled", ['"{}"', "{}", 'W/"{}"', 'W/"x", "{}"', '"x","{}"', "x, {}", "*", '  "{}"  ', "W/{}"]
)
def test_bulk_that_the_client_has_is_a_304(spelled: str) -> None:
    running()
    first = post(FLAGS)
    etag = first.headers["ETag"]
    assert etag[0] == etag[-1] == '"'
    again = post(FLAGS, headers={"If-None-Match": spelled.format(etag.strip('"'))})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert "Content-Type" not in again.headers


def test_bulk_of_another_context_or_a_changed_experiment_has_another_etag() -> None:
    one = running()
    etag = post(FLAGS).headers["ETag"]
    other = next(
        answer
        for number in range(2, 100)
        if (answer := post(FLAGS, {"targetingKey": f"user-{number}"}, headers={"If-None-Match": etag})).json()
    )
    assert other.status_code == 200
    assert other.headers["ETag"] != etag
    lifecycle.kill(one, by=None, now=NOW)
    changed = post(FLAGS, headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["flags"][0]["reason"]) == (200, "DISABLED")


@pytest.mark.parametrize(
    ("path", "header"),
    [(FLAG, "if-none-match"), (FLAGS, "x-api-key"), ("/api/v1/experiments/a/assign", "authorization")],
)
def test_pages_of_a_named_origin_may_ask(path: str, header: str, settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    preflight = Client().options(
        path,
        headers={
            "origin": ORIGIN,
            "access-control-request-method": "POST",
            "access-control-request-headers": f"{header}, content-type",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert header in preflight.headers["Access-Control-Allow-Headers"]
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    running(key="a")
    answer = post(FLAGS, headers={"origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"etag", "retry-after"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))


def test_pages_of_other_origins_and_other_calls_may_not_ask(settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    running()
    assert "Access-Control-Allow-Origin" not in post(headers={"origin": "https://other.example"}).headers
    reader = client(Scope.EXPERIMENTS_READ)
    for path in ("/api/v1/experiments", "/api/v1/experiments/llm_model_ab_test"):
        answer = reader.get(path, headers={"origin": ORIGIN})
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.fixture
def server(transactional_db: None, live_server: Any) -> Iterator[str]:
    yield live_server.url
    api.shutdown()


def features(url: str, secret: str) -> OpenFeatureClient:
    provider = OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {secret}"})
    api.set_provider(provider)
    return api.get_client()


USER = EvaluationContext("user-1", {"language": "es"})


def test_openfeature_reads_flags_of_every_type(server: str) -> None:
    running()
    valued({"off": False, "on": True}, "switch")
    valued({"low": 1, "high": 7}, "count")
    valued({"cold": 0.5, "warm": 1}, "temperature")
    valued({"brief": "Be brief.", "long": "Explain."}, "prompt")
    flags = features(server, key(Scope.EXPERIMENTS_ASSIGN))
    seen: dict[str, set[object]] = {"switch": set(), "count": set(), "temperature": set(), "prompt": set()}
    for number in range(12):
        user = EvaluationContext(f"user-{number}", {})
        details: list[Any] = [
            flags.get_boolean_details("switch", False, user),
            flags.get_integer_details("count", -1, user),
            flags.get_float_details("temperature", -1.0, user),
            flags.get_string_details("prompt", "none", user),
            flags.get_object_details("llm_model_ab_test", {}, user),
        ]
        assert [one.error_code for one in details] == [None] * 5
        assert {one.reason for one in details} == {Reason.SPLIT}
        assert details[-1].value == {"model": details[-1].variant}
        for one in details[:4]:
            seen[one.flag_key].add(one.value)
    assert seen == {
        "switch": {False, True},
        "count": {1, 7},
        "temperature": {0.5, 1.0},
        "prompt": {"Be brief.", "Explain."},
    }
    assert {type(value) for value in seen["temperature"]} == {float}
    stored = Assignment.objects.get(experiment__key="llm_model_ab_test", unit="user-3")
    metadata = flags.get_object_details(
        "llm_model_ab_test", {}, EvaluationContext("user-3", {})
    ).flag_metadata
    assert (metadata["bucket"], metadata["in_experiment"]) == (stored.bucket, True)


def test_openfeature_falls_back_where_there_is_no_such_value(server: str) -> None:
    running(control="gpt-4")
    draft(key="without", control=None)
    flags = features(server, key(Scope.EXPERIMENTS_ASSIGN))
    missing = flags.get_boolean_details("missing", True, USER)
    assert (missing.value, missing.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
    mismatch = flags.get_string_details("llm_model_ab_test", "mine", USER)
    assert (mismatch.value, mismatch.error_code) == ("mine", ErrorCode.TYPE_MISMATCH)
    nobody = flags.get_object_details("llm_model_ab_test", {"mine": 1}, EvaluationContext())
    assert (nobody.value, nobody.error_code) == ({"mine": 1}, ErrorCode.TARGETING_KEY_MISSING)
    assert "targetingKey" in str(nobody.error_message)
    without = flags.get_object_details("without", {"mine": 1}, USER)
    assert (without.value, without.error_code, without.reason) == ({"mine": 1}, None, Reason.DISABLED)


def test_openfeature_sees_forced_units_and_what_is_not_running(server: str) -> None:
    one = running()
    forcing.force(one, "user-1", "llama2-70b", by=None, now=NOW)
    flags = features(server, key(Scope.EXPERIMENTS_ASSIGN))
    forced = flags.get_object_details("llm_model_ab_test", {}, USER)
    assert (forced.value, forced.reason) == ({"model": "llama2-70b"}, Reason.TARGETING_MATCH)
    lifecycle.kill(one, by=None, now=datetime.now(UTC))
    killed = flags.get_object_details("llm_model_ab_test", {}, USER)
    assert (killed.value, killed.variant, killed.reason) == ({"model": "gpt-4"}, "gpt-4", Reason.DISABLED)


def test_openfeature_stops_asking_above_the_limit(server: str) -> None:
    running()
    flags = features(server, key(Scope.EXPERIMENTS_ASSIGN, requests_per_minute=1))
    details = [flags.get_object_details("llm_model_ab_test", {}, USER) for _ in range(6)]
    said = [str(one.error_message) for one in details if one.error_code == ErrorCode.GENERAL]
    assert any("Rate limited" in text for text in said)
    assert "evaluation paused" in said[-1]


def test_openfeature_with_a_wrong_key_is_told_so(server: str) -> None:
    running()
    details = features(server, "tri_wrong").get_object_details("llm_model_ab_test", {}, USER)
    assert (details.value, details.error_code, details.error_message) == (
        {},
        ErrorCode.GENERAL,
        "unauthorized",
    )
