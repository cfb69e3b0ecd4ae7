import contextlib
import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import Client

from feedback import authentication, definitions
from feedback.models import (
    ALL_SCOPES,
    ApiKey,
    Feedback,
    FeedbackRevision,
    LedgerEntry,
    QualityMetric,
    QualityRecord,
    Response,
    Scope,
)

pytestmark = pytest.mark.django_db(transaction=True)


class Api:
    """A client with a key."""

    def __init__(self, secret: str) -> None:
        self._client = Client(raise_request_exception=True)
        self.headers = {"Authorization": f"Bearer {secret}"}

    def post(self, path: str, body: Any, content_type: str = "application/json", **headers: str) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return self._client.post(f"/api/v1{path}", data, content_type, headers=self.headers | headers)

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(f"/api/v1{path}", query, headers=self.headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self._client.delete(f"/api/v1{path}", headers=self.headers | headers)


def make_key(**changes: Any) -> tuple[ApiKey, str]:
    secret = ApiKey.new_secret()
    key = ApiKey(name="test", scopes=changes.pop("scopes", list(ALL_SCOPES)), **changes)
    key.take_secret(secret)
    key.save()
    return key, secret


@pytest.fixture
def api(monkeypatch: Any) -> Api:
    definitions.forget()
    monkeypatch.setitem(authentication._state, "redis_down_until", 0.0)
    return Api(make_key()[1])


def ledger_totals(kind: str) -> tuple[int, int, int, int]:
    rows = LedgerEntry.objects.filter(kind=kind)
    names = ("received_count", "stored_count", "repeated_count", "rejected_count")
    return tuple(sum(getattr(row, name) for row in rows) for name in names)


def a_response(**changes: Any) -> dict[str, Any]:
    return {
        "response_id": "r-1",
        "model": "gpt-4",
        "latency_seconds": 1.25,
        "metrics": {"win": 1.0},
    } | changes


def some_feedback(**changes: Any) -> dict[str, Any]:
    return {"response_id": "r-1", "feedback_type": "positive", "rating": 5, "user_id": "u-1"} | changes


def test_response_posted_twice_gives_one_row_and_the_same_answer(api: Api) -> None:
    first = api.post("/responses", a_response())
    second = api.post("/responses", a_response())
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert Response.objects.count() == 1
    assert ledger_totals("response") == (2, 1, 1, 0)


def test_response_with_other_content_under_the_same_id_is_a_conflict_and_changes_nothing(api: Api) -> None:
    api.post("/responses", a_response())
    answer = api.post("/responses", a_response(model="claude-2"))
    assert answer.status_code == 409
    assert answer["Content-Type"] == "application/problem+json"
    assert Response.objects.get().model == "gpt-4"
    assert ledger_totals("response") == (2, 1, 0, 1)


def test_response_without_any_id_is_refused_with_the_fix(api: Api) -> None:
    answer = api.post("/responses", {"model": "gpt-4"})
    assert answer.status_code == 400
    assert answer.json()["field"] == "response_id"
    assert "Idempotency-Key" in answer.json()["fix"]


@pytest.mark.parametrize("way", ["header", "request_id"])
def test_response_without_id_gets_ours_and_the_same_when_repeated(api: Api, way: str) -> None:
    body = {"model": "gpt-4"} | ({"request_id": "q-1"} if way == "request_id" else {})
    headers = {"Idempotency-Key": "k-1"} if way == "header" else {}
    first, second = (api.post("/responses", body, **headers) for _ in range(2))
    assert first.json() == second.json()
    assert uuid.UUID(first.json()["response_id"]).version == 7
    assert Response.objects.count() == 1


def test_prompt_and_answer_are_dropped_and_the_receipt_says_so(api: Api) -> None:
    answer = api.post("/responses", a_response(prompt="my chest hurts", answer="call 112"))
    assert answer.json()["content"] == "dropped"
    row = Response.objects.values().get()
    assert "chest" not in str(row)
    assert "112" not in str(row)


def test_prompt_is_kept_when_the_setting_says_so(api: Api, settings: Any) -> None:
    settings.STORE_CONTENT = True
    answer = api.post("/responses", a_response(prompt="my chest hurts"))
    assert answer.json()["content"] == "stored"
    assert Response.objects.get().prompt == "my chest hurts"


def test_feedback_posted_again_with_other_content_changes_it_and_keeps_history(api: Api) -> None:
    first = api.post("/feedback", some_feedback()).json()
    second = api.post("/feedback", some_feedback(feedback_type="negative", rating=1)).json()
    assert second["id"] == first["id"]
    assert (first["revision"], second["revision"]) == (1, 2)
    row = Feedback.objects.get()
    assert (row.feedback_type, row.rating, row.revision) == ("negative", 1, 2)
    old = FeedbackRevision.objects.get()
    assert (old.feedback_type, old.rating, old.revision) == ("positive", 5, 1)
    assert ledger_totals("feedback") == (2, 2, 0, 0)


def test_feedback_late_retry_of_an_older_call_does_not_undo_the_newer_one(api: Api) -> None:
    first = api.post("/feedback", some_feedback(), **{"Idempotency-Key": "a"})
    api.post("/feedback", some_feedback(feedback_type="negative"), **{"Idempotency-Key": "b"})
    late = api.post("/feedback", some_feedback(), **{"Idempotency-Key": "a"})
    assert late.json() == first.json()
    assert Feedback.objects.get().feedback_type == "negative"


def test_feedback_is_told_apart_by_user_source_and_for_anonymous_by_idempotency_key(api: Api) -> None:
    for changes in ({}, {"user_id": "u-2"}, {"source": "reviewer"}):
        api.post("/feedback", some_feedback(**changes))
    for key in ("k1", "k2", "k1"):
        api.post("/feedback", some_feedback(user_id=""), **{"Idempotency-Key": key})
    assert Feedback.objects.count() == 5


def test_feedback_withdrawn_twice_is_withdrawn_once_and_comes_back_when_posted_anew(api: Api) -> None:
    feedback_id = api.post("/feedback", some_feedback()).json()["id"]
    assert [api.delete(f"/feedback/{feedback_id}").status_code for _ in range(2)] == [204, 204]
    read = api.get(f"/feedback/{feedback_id}").json()
    assert read["withdrawn_at"] is not None
    assert read["revision"] == 2
    assert len(read["revisions"]) == 1
    api.post("/feedback", some_feedback())
    assert Feedback.objects.get().withdrawn_at is None
    assert api.delete(f"/feedback/{uuid.uuid4()}").status_code == 404
    assert ledger_totals("feedback") == (4, 3, 1, 0)


def test_feedback_token_lets_a_browser_post_on_one_response_only(api: Api) -> None:
    issued = api.post("/feedback/token", {"response_id": "r-1", "user_id": "u-9"}).json()
    browser = Api(issued["token"])
    assert browser.post("/feedback", some_feedback(user_id="")).status_code == 201
    assert Feedback.objects.get().user_id == "u-9"
    assert browser.post("/feedback", some_feedback(response_id="r-2", user_id="")).status_code == 400
    assert browser.post("/feedback", some_feedback(user_id="u-1")).status_code == 400
    assert browser.get("/feedback").status_code == 403
    assert browser.post("/feedback/token", {"response_id": "r-2"}).status_code == 400
    assert Feedback.objects.get().source == "web"
    many = browser.post("/feedback/bulk", [some_feedback(user_id="")]).json()
    assert (many["stored"], many["rejected"]) == (0, 1)
    forged = Api(issued["token"][:-2] + "xx")
    assert forged.post("/feedback", some_feedback(user_id="")).status_code == 401


def test_feedback_token_dies_with_its_key_and_with_time(api: Api, monkeypatch: Any) -> None:
    key, secret = make_key()
    issued = Api(secret).post("/feedback/token", {"response_id": "r-1", "lifetime_seconds": 60}).json()
    key.revoked_at = datetime.now(UTC)
    key.save()
    assert Api(issued["token"]).post("/feedback", some_feedback(user_id="")).status_code == 401
    fresh = api.post("/feedback/token", {"response_id": "r-1", "lifetime_seconds": 60}).json()
    later = datetime.now(UTC) + timedelta(seconds=61)
    monkeypatch.setattr("feedback.authentication.timezone.now", lambda: later)
    assert Api(fresh["token"]).post("/feedback", some_feedback(user_id="")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"response_id": "r", "feedback_type": "great"}, "feedback_type"),
        ({"response_id": "r", "feedback_type": "positive", "rating": 6}, "rating"),
        ({"response_id": "r", "feedback_type": "positive", "rating": True}, "rating"),
        ({"response_id": "", "feedback_type": "positive"}, "response_id"),
        ({"response_id": "r" * 129, "feedback_type": "positive"}, "response_id"),
        ({"response_id": "r", "feedback_type": "positive", "ratting": 5}, "ratting"),
        ({"feedback_type": "positive"}, "response_id"),
        (
            {"response_id": "r", "feedback_type": "positive", "occurred_at": "0001-01-01T00:00:00Z"},
            "occurred_at",
        ),
        (
            {"response_id": "r", "feedback_type": "positive", "occurred_at": "9999-12-31T23:59:59Z"},
            "occurred_at",
        ),
        (
            {"response_id": "r", "feedback_type": "positive", "occurred_at": "2026-01-01T00:00:00"},
            "occurred_at",
        ),
        ({"response_id": "r", "feedback_type": "positive", "comment": "x" * 10_001}, "comment"),
        ({"response_id": "r", "feedback_type": "positive", "comment": "a\0b"}, None),
        ({"response_id": "r", "feedback_type": "positive", "metadata": [1]}, "metadata"),
    ],
)
def test_bad_feedback_is_refused_by_field_and_fix_and_counted(
    api: Api, body: dict[str, Any], field: str | None
) -> None:
    answer = api.post("/feedback", body)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json().get("field") == field
    assert answer.json()["fix"]
    assert Feedback.objects.count() == 0
    assert ledger_totals("feedback") == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"response_id": "r", "latency_seconds": NaN}', 400),
        (b'{"response_id": "r", "latency_seconds": Infinity}', 400),
        (b'{"response_id": "r", "cost": 1e999}', 400),
        (b'{"response_id": "r", "metrics": {"win": "high"}}', 400),
        (b'{"response_id": "r", "metrics": {"latency_seconds": 1}}', 400),
        (b'{"response_id": "r", "input_tokens": -1}', 400),
        (b'{"response_id": "\xff\xfe"}', 400),
        ('{"response_id": "r"}'.encode("utf-16"), 400),
        (b'{"response_id": "\\ud800"}', 400),
        (b"[" * 100_000, 400),
        (b"", 400),
        (b"null", 400),
        (b'{"response_id": "r", "attributes": {"a": {"b": 1}}}', 400),
        (b'{"response_id": "r", "model": "' + b"x" * (10 * 1024 * 1024) + b'"}', 413),
    ],
)
def test_bad_response_bodies_are_refused_cleanly(api: Api, body: bytes, status: int) -> None:
    answer = api.post("/responses", body)
    assert answer.status_code == status, answer.content[:300]
    assert answer["Content-Type"] == "application/problem+json"
    assert Response.objects.count() == 0
    assert ledger_totals("response") == (1, 0, 0, 1)


def test_wrong_content_types_are_refused(api: Api) -> None:
    assert api.post("/feedback", "a=b", "application/x-www-form-urlencoded").status_code == 415
    assert (
        api.post("/feedback", json.dumps(some_feedback()), "application/json; charset=utf-16").status_code
        == 415
    )
    gzipped = api.post("/feedback", b"\x1f\x8b", **{"Content-Encoding": "gzip"})
    assert gzipped.status_code == 415


def test_metric_outside_its_bounds_is_refused_by_name(api: Api) -> None:
    QualityMetric.objects.create(key="relevance", kind="bounded", low=0, high=1, direction="higher")
    definitions.forget()
    body = {
        "response_id": "r",
        "evaluator_kind": "code",
        "evaluator_name": "e",
        "metrics": {"relevance": 1.5},
    }
    answer = api.post("/quality", body)
    assert answer.status_code == 400
    assert answer.json()["field"] == "metrics.relevance"


def test_quality_record_comes_before_its_response_and_is_idempotent(api: Api) -> None:
    body = {
        "response_id": "later",
        "evaluator_kind": "llm_judge",
        "evaluator_name": "j",
        "metrics": {"win": 0.5},
    }
    assert api.post("/quality", body).json() == api.post("/quality", body).json()
    assert api.post("/quality", body | {"metrics": {"win": 1}}).status_code == 409
    assert api.post("/quality", body | {"evaluator_version": "2", "metrics": {"win": 1}}).status_code == 201
    assert QualityRecord.objects.count() == 2


def test_bulk_stores_the_good_ones_and_names_the_bad_ones(api: Api) -> None:
    items = [
        some_feedback(),
        some_feedback(response_id="r-2", rating=9),
        some_feedback(response_id="r-3"),
        "text",
        None,
    ]
    answer = api.post("/feedback/bulk", items)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["received"], body["stored"], body["repeated"], body["rejected"]) == (5, 2, 0, 3)
    assert [line["status"] for line in body["results"]] == [
        "accepted",
        "rejected",
        "accepted",
        "rejected",
        "rejected",
    ]
    assert body["results"][1]["index"] == 1
    assert body["results"][1]["problem"]["field"] == "rating"
    again = api.post("/feedback/bulk", items).json()
    assert again["results"] == body["results"]
    assert (again["stored"], again["repeated"], again["rejected"]) == (0, 2, 3)
    assert ledger_totals("feedback") == (10, 2, 2, 6)


def test_bulk_takes_ndjson_with_bad_lines(api: Api) -> None:
    lines = b"\n".join(
        [
            json.dumps(a_response()).encode(),
            b"{broken",
            b"",
            json.dumps(a_response(response_id="é😀")).encode(),
        ]
    )
    body = api.post("/responses/bulk", lines, "application/x-ndjson").json()
    assert (body["received"], body["stored"], body["rejected"]) == (3, 2, 1)
    assert body["results"][1]["problem"]["fix"]
    assert api.get("/responses/é😀").json()["response_id"] == "é😀"


def test_bulk_with_the_same_feedback_twice_keeps_the_last_word(api: Api) -> None:
    items = [some_feedback(), some_feedback(), some_feedback(feedback_type="negative")]
    body = api.post("/feedback/bulk", items).json()
    assert (body["stored"], body["repeated"]) == (2, 1)
    assert Feedback.objects.get().feedback_type == "negative"
    conflict = api.post("/responses/bulk", [a_response(), a_response(model="other")]).json()
    assert (conflict["stored"], conflict["rejected"]) == (1, 1)


def test_bulk_too_many_items_or_none_is_refused_whole(api: Api) -> None:
    assert (
        api.post("/feedback/bulk", [some_feedback(response_id=f"r{i}") for i in range(5001)]).status_code
        == 413
    )
    assert api.post("/feedback/bulk", []).status_code == 400
    assert api.post("/feedback/bulk", {"response_id": "r"}).status_code == 400
    assert Feedback.objects.count() == 0


def test_bulk_texts_survive_copy_exactly(api: Api) -> None:
    comments = [
        "tab\there",
        "line\nbreak",
        "back\\slash",
        "\\N",
        "\\.",
        "quote\"'",
        "é😀\u2028",
        "\r\n",
        "a\\tb",
        "",
    ]
    items = [
        some_feedback(response_id=f"r{i}", comment=text, metadata={"t": text})
        for i, text in enumerate(comments)
    ]
    assert api.post("/feedback/bulk", items).json()["stored"] == len(comments)
    rows = {row.response_id: row for row in Feedback.objects.all()}
    assert [rows[f"r{i}"].comment for i in range(len(comments))] == comments
    assert [rows[f"r{i}"].metadata["t"] for i in range(len(comments))] == comments


def test_lists_page_by_cursor_and_refuse_unknown_filters(api: Api) -> None:
    api.post(
        "/responses/bulk", [a_response(response_id=f"r{i}", model="m" if i % 2 else "n") for i in range(25)]
    )
    seen, answer = [], api.get("/responses", page_size=10)
    while True:
        seen += [row["response_id"] for row in answer.json()["results"]]
        if answer.json()["next"] is None:
            break
        answer = api._client.get(answer.json()["next"], headers=api.headers)
    assert len(seen) == len(set(seen)) == 25
    assert len(api.get("/responses", model="m").json()["results"]) == 12
    assert api.get("/responses", modle="m").status_code == 400
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert api.get("/responses", received_after=soon).json()["results"] == []
    assert len(api.get("/responses", received_before=soon).json()["results"]) == 25
    assert api.get("/responses", occurred_after="yesterday").status_code == 400


def test_exports_stream_all_rows_and_defuse_formulas(api: Api) -> None:
    api.post("/feedback/bulk", [some_feedback(response_id=f"r{i}", comment="=1+1") for i in range(3)])
    lines = api.get("/export/feedback", format="ndjson").getvalue().decode().splitlines()
    assert [json.loads(line)["comment"] for line in lines] == ["=1+1"] * 3
    table = api.get("/export/feedback", format="csv").getvalue().decode().splitlines()
    assert table[0].startswith("id,response_id,")
    assert len(table) == 4
    assert "'=1+1" in table[1]
    assert api.get("/export/feedback", format="xml").status_code == 400


def test_keys_without_scope_unknown_expired_or_revoked_are_refused(api: Api) -> None:
    _, reader = make_key(scopes=[Scope.FEEDBACK_READ])
    answer = Api(reader).post("/feedback", some_feedback())
    assert answer.status_code == 403
    assert "feedback:write" in answer.json()["detail"]
    assert Api("tri_wrong").get("/feedback").status_code == 401
    _, expired = make_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert Api(expired).get("/feedback").status_code == 401
    key, secret = make_key()
    assert Api(secret).get("/feedback").status_code == 200
    key.revoked_at = datetime.now(UTC)
    key.save()
    assert Api(secret).get("/feedback").status_code == 401
    nobody = Client().get("/api/v1/feedback")
    assert nobody.status_code == 401
    assert nobody["WWW-Authenticate"] == "Bearer"


def test_key_throttle_answers_429_with_retry_after(api: Api, monkeypatch: Any) -> None:
    at = datetime(2026, 3, 5, 12, 0, 30, tzinfo=UTC)
    monkeypatch.setattr("feedback.authentication.timezone.now", lambda: at)
    _, secret = make_key(requests_per_minute=3)
    answers = [Api(secret).get("/feedback") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1]["Retry-After"] == "30"


def test_key_is_stored_as_hash_only_and_notes_its_use(api: Api) -> None:
    key, secret = make_key()
    Api(secret).get("/feedback")
    row = ApiKey.objects.filter(pk=key.pk).values().get()
    assert secret not in str(row)
    assert row["prefix"] == secret[:8]
    assert row["last_used_at"] is not None


def test_facts_are_taken_in_without_redis(api: Api, monkeypatch: Any) -> None:
    def refuse(_alias: str) -> Any:
        raise ConnectionError

    monkeypatch.setattr("feedback.authentication.get_redis_connection", refuse)
    assert api.post("/feedback", some_feedback()).status_code == 201


def test_ledger_shows_only_the_own_key_and_closes(api: Api) -> None:
    Api(make_key()[1]).post("/feedback", some_feedback(user_id="other"))
    api.post("/feedback", some_feedback())
    api.post("/feedback", {})
    (line,) = api.get("/ledger").json()["results"]
    assert (line["received"], line["stored"], line["repeated"], line["rejected"]) == (2, 1, 0, 1)
    assert api.get("/ledger", since="2999-01-01").json()["results"] == []
    assert api.get("/ledger", since="soon").status_code == 400


def test_wrong_methods_and_addresses_are_refused_in_the_same_shape(api: Api) -> None:
    wrong = api._client.put("/api/v1/feedback", headers=api.headers)
    assert (wrong.status_code, wrong["Content-Type"]) == (405, "application/problem+json")
    for path in ("/feedback/", "/nothing/here", f"/quality/{uuid.uuid4()}", "/responses/none"):
        answer = api.get(path)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json"), path
    assert api.post("/feedback/", some_feedback()).status_code == 404


def test_database_that_is_away_is_503_and_nothing_is_claimed(api: Api, monkeypatch: Any) -> None:
    def refuse(*_: Any) -> Any:
        raise OperationalError

    monkeypatch.setattr("feedback.ingest.record", refuse)
    answer = api.post("/feedback", some_feedback())
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert answer["Content-Type"] == "application/problem+json"


def test_write_is_tried_again_after_the_database_was_started_again(api: Api) -> None:
    assert api.post("/feedback", some_feedback()).status_code == 201
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    other = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
    with contextlib.closing(other), other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        other.commit()
    assert api.post("/feedback", some_feedback(user_id="u-2")).status_code == 201
    assert Feedback.objects.count() == 2


def test_limit_holds_over_processes_that_lease_calls_in_advance(monkeypatch: Any) -> None:
    at = datetime(2026, 3, 5, 12, 1, 30, tzinfo=UTC)
    _, secret = make_key(requests_per_minute=1000)
    leases: list[dict[str, Any]] = [{}, {}, {}]
    counts = []
    for number in range(1200):
        monkeypatch.setattr(authentication, "_leases", leases[number % 3])
        counts.append(authentication.grant_of(secret, at)[1])
    assert 1000 <= sum(count <= 1000 for count in counts) <= 1000 + 3 * 10
    assert sum(len(lease) for lease in leases) == 3


def test_leased_calls_that_were_not_used_are_not_lost(monkeypatch: Any) -> None:
    at = datetime(2026, 3, 5, 12, 2, 30, tzinfo=UTC)
    _, secret = make_key(requests_per_minute=1000)
    monkeypatch.setattr(authentication, "_LEASE_SECONDS", -1.0)
    assert [authentication.grant_of(secret, at)[1] for _ in range(25)] == list(range(1, 26))


def test_key_is_looked_up_once_for_many_calls(api: Api, django_assert_num_queries: Any) -> None:
    _, secret = make_key()
    now = datetime.now(UTC)
    with django_assert_num_queries(1):
        assert all(authentication.grant_of(secret, now)[0] for _ in range(50))


def test_feedback_token_without_user_stands_for_one_and_withdraws_only_its_own(api: Api) -> None:
    browsers = [Api(api.post("/feedback/token", {"response_id": "r-1"}).json()["token"]) for _ in range(2)]
    ids = [browser.post("/feedback", some_feedback(user_id="")).json()["id"] for browser in browsers]
    browsers[0].post("/feedback", some_feedback(user_id="", feedback_type="negative"))
    assert Feedback.objects.count() == 2
    assert browsers[0].delete(f"/feedback/{ids[1]}").status_code == 404
    assert browsers[0].delete(f"/feedback/{ids[0]}").status_code == 204


def test_bulk_with_one_key_taken_stores_the_others(api: Api) -> None:
    api.post("/responses", a_response(response_id="r-7"))
    items = [a_response(response_id=f"r-{i}") for i in range(100)]
    answer = api.post("/responses/bulk", items)
    assert (answer.status_code, answer.json()["stored"], answer.json()["repeated"]) == (200, 99, 1)
    api.post("/feedback", some_feedback(response_id="r-7", feedback_type="negative"))
    answer = api.post("/feedback/bulk", [some_feedback(response_id=f"r-{i}") for i in range(100)])
    assert (answer.status_code, answer.json()["stored"]) == (200, 100)
    assert FeedbackRevision.objects.count() == 1


def test_bulk_sent_by_many_at_once_is_stored_once(api: Api) -> None:
    items = [a_response(response_id=f"r-{i}") for i in range(500)]
    statuses: list[int] = []

    def send() -> None:
        statuses.append(api.post("/responses/bulk", items).status_code)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert Response.objects.count() == 500
    assert ledger_totals("response") == (2000, 500, 1500, 0)


def test_bulk_keys_that_begin_alike_are_told_apart(api: Api) -> None:
    for end in ("A", "B"):
        body = api.post("/responses/bulk", [{"model": end}], **{"Idempotency-Key": "k" * 120 + end}).json()
        assert body["stored"] == 1
    assert Response.objects.count() == 2


def test_head_needs_the_scope_of_get(api: Api) -> None:
    _, writer = make_key(scopes=[Scope.FEEDBACK_WRITE])
    for path in ("/ledger", "/responses", "/export/responses", "/responses/r-1"):
        answer = Client().head(f"/api/v1{path}", headers={"Authorization": f"Bearer {writer}"})
        assert answer.status_code == 403, path


@pytest.mark.parametrize(
    "address",
    [
        "/responses/a%00b",
        "/feedback/stats?model=%00",
        "/quality/stats?metric=%00",
        "/quality/stats?language=%00",
        "/responses?cursor=cD0wMDAwMDA%3D",
        "/feedback?cursor=cD0wMDAwMDA%3D",
        "/experiments?cursor=cD0lMDA%3D",
        "/responses?occurred_before=9999-12-31T23:59:59-23:00",
        "/export/feedback?occurred_before=9999-12-31T23:59:59-23:00",
        "/export/feedback?page_size=5",
        "/responses?page_size=0",
        "/responses?page_size=abc",
        "/feedback?is_withdrawn=maybe",
        "/feedback/stats?window=0d",
    ],
)
def test_nonsense_in_an_address_is_refused_in_the_same_shape(api: Api, address: str) -> None:
    answer = api.get(address)
    assert answer.status_code in {400, 404}, answer.content[:300]
    assert answer["Content-Type"] == "application/problem+json"


def test_deep_json_is_refused_by_every_parser(api: Api) -> None:
    answer = api.post("/feedback/token", '{"response_id":' + "[" * 100_000)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


def test_any_offset_of_a_time_is_understood_and_absurd_numbers_are_refused(api: Api) -> None:
    odd = {"occurred_at": "2026-01-20T10:00:00+23:59"}
    body = api.post("/responses/bulk", [a_response(**odd), a_response(response_id="r-2")]).json()
    assert body["stored"] == 2
    assert Response.objects.get(response_id="r-1").occurred_at == datetime(2026, 1, 19, 10, 1, tzinfo=UTC)
    assert api.post("/responses", a_response(response_id="r-3", cost=1e308)).status_code == 400
    assert api.post("/responses", a_response(response_id="r-3", metrics={"m": -1e300})).status_code == 400


@pytest.mark.parametrize("response_id", ["bulk", "a\nb", "a\u200bb"])
def test_ids_that_cannot_stand_in_an_address_are_refused(api: Api, response_id: str) -> None:
    answer = api.post("/responses", a_response(response_id=response_id))
    assert (answer.status_code, answer.json()["field"]) == (400, "response_id")


def test_facts_cannot_be_changed_behind_our_back(api: Api) -> None:
    api.post("/responses", a_response())
    api.post("/feedback", some_feedback())
    for statement in (
        "UPDATE feedback_response SET model = 'forged'",
        "UPDATE feedback_feedback SET comment = 'forged'",
        "UPDATE feedback_feedback SET comment = 'forged', revision = revision + 1",
    ):
        with pytest.raises(IntegrityError), connection.cursor() as cursor:
            cursor.execute(statement)


def test_revoked_key_is_forgotten_after_the_commit(api: Api) -> None:
    key, secret = make_key()
    assert authentication.grant_of(secret, datetime.now(UTC))[0]
    with transaction.atomic():
        key.revoked_at = datetime.now(UTC)
        key.save()
        authentication._leases.clear()
    assert authentication.grant_of(secret, datetime.now(UTC))[0] is None
