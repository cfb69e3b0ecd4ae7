"""Many units in one call, one unit in all experiments, and looking without giving."""

import json
from typing import Any

import pytest

from experiments import epochs, lifecycle
from experiments.models import Assignment, EpochKind
from feedback.models import Scope
from tests.experiments.callers import client
from tests.experiments.factories import NOW, draft, running, stopped

pytestmark = pytest.mark.django_db

ONE = "/api/v1/experiments/llm_model_ab_test/assign"
ALL = "/api/v1/experiments/assign"


def post(path: str, body: Any) -> Any:
    caller = client(Scope.EXPERIMENTS_ASSIGN)
    content = body if isinstance(body, bytes) else json.dumps(body)
    return caller.post(path, content, content_type="application/json")


def look(query: str) -> Any:
    return client(Scope.EXPERIMENTS_READ).get(f"/api/v1/experiments/llm_model_ab_test/assignments?{query}")


def test_many_units_get_their_variants_in_order() -> None:
    running()
    units: list[Any] = [f"user-{number}" for number in range(400)]
    units[3] = {"unit": "user-3", "attributes": {"language": "es"}}
    results = post(ONE, {"units": units}).json()["results"]
    assert [one["unit"] for one in results] == [f"user-{number}" for number in range(400)]
    assert {one["reason"] for one in results} == {"split"}
    alone = post(ONE, {"unit": "user-7"}).json()
    assert results[7] == {"unit": "user-7"} | alone
    assert Assignment.objects.count() == 400


def test_one_bad_unit_does_not_spoil_the_others() -> None:
    running()
    bad: list[Any] = [
        "", "x" * 129, "a\0", "\ud83d", 5, None, [], {}, {"unit": 5}, {"unit": "a", "user": "b"}, 10**40, 1e308,
        {"unit": "a", "attributes": []}, {"\ud83d": 1}, {"unit": "a", "attributes": None},
    ]  # fmt: skip
    answer = post(ONE, {"units": [*bad, "good"]})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert len(results) == len(bad) + 1
    assert all(one["problem"]["type"] == "/problems/invalid-input" for one in results[:-1])
    assert all(one["problem"]["fix"] for one in results[:-1])
    assert results[-1]["in_experiment"] is True
    assert [row.unit for row in Assignment.objects.all()] == ["good"]


@pytest.mark.parametrize(
    "body",
    [
        {"units": "user-1"},
        {"units": ["a"] * 1_001},
        {"units": [], "unit": "a"},
        {"units": [], "attributes": {}},
        {"unit": "a", "attributes": []},
        {"unit": "a", "attributes": {}, "other": 1},
        b'{"unit": "a", "attributes": ' + b"[" * 100_000,
        b'{"unit": "a", "attributes": {"x": NaN}}',
        b'{"unit": "a", "attributes": {"x": ' + b"9" * 6_000 + b"}}",
    ],
)
def test_assign_with_a_body_that_cannot_be_read_is_a_problem(body: Any) -> None:
    running()
    answer = post(ONE, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert not Assignment.objects.exists()


@pytest.mark.parametrize(
    "odd", [b'"\\ud83d"', b"1e999", b"-1e999", b'"\\u0000"', b"9" * 4_000, b"[[[{}]]]", b"null"]
)
@pytest.mark.parametrize(
    "condition", [{"x": {"$gt": 1}}, {"x": {"$veq": "1.0.0"}}, {"x": "a"}, {"x": {"$regex": "a"}}]
)
def test_attributes_of_any_kind_only_miss_the_targeting(odd: bytes, condition: dict[str, Any]) -> None:
    running(targeting=condition)
    for path in (ONE, ALL):
        answer = post(path, b'{"unit": "a", "attributes": {"x": ' + odd + b"}}")
        assert answer.status_code == 200


def test_targeting_sees_the_unit_where_the_sdks_have_it() -> None:
    running(targeting={"id": "user-1"})
    running(key="clinics", unit_attribute="clinic_id", targeting={"clinic_id": "17"})
    assert post(ONE, {"unit": "user-1"}).json()["reason"] == "split"
    assert post(ONE, {"unit": "user-2"}).json()["reason"] == "targeting"
    assert post("/api/v1/experiments/clinics/assign", {"unit": "17"}).json()["reason"] == "split"


def test_one_unit_gets_its_variants_of_all_running_experiments() -> None:
    running(key="a")
    running(key="b")
    running(key="clinics", unit_attribute="clinic_id")
    draft(key="c")
    stopped(key="d")
    body = post(ALL, {"unit": "user-1"}).json()
    assert body["unit"] == "user-1"
    assert [(one["experiment"], one["reason"]) for one in body["results"]] == [("a", "split"), ("b", "split")]
    body = post(ALL, {"unit": "user-1", "attributes": {"clinic_id": 17}}).json()
    assert [one["experiment"] for one in body["results"]] == ["a", "b", "clinics"]
    assert {(row.experiment.key, row.unit) for row in Assignment.objects.select_related("experiment")} == {
        ("a", "user-1"),
        ("b", "user-1"),
        ("clinics", "17"),
    }


def test_named_experiments_are_answered_whatever_their_state() -> None:
    running(key="clinics", unit_attribute="clinic_id")
    stopped(key="d")
    body = post(ALL, {"unit": "user-1", "experiments": ["d", "clinics", "d"]}).json()
    assert [one["experiment"] for one in body["results"]] == ["d", "clinics"]
    assert body["results"][0]["reason"] == "stopped"
    assert body["results"][1]["problem"]["field"] == "attributes.clinic_id"
    answer = post(ALL, {"unit": "user-1", "experiments": ["d", "unknown"]})
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-experiment")


@pytest.mark.parametrize("experiments", ["a", [5], {}, [["a"]], ["\ud83d"]])
def test_experiments_that_are_no_keys_are_refused(experiments: Any) -> None:
    answer = post(ALL, {"unit": "user-1", "experiments": experiments})
    assert answer.status_code in {400, 404}
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_looking_at_a_unit_enrols_nobody() -> None:
    running()
    body = look("unit=user-1").json()
    assert (body["unit"], body["stored"]) == ("user-1", [])
    assert (body["decision"]["in_experiment"], body["decision"]["assigned_at"]) == (True, None)
    assert not Assignment.objects.exists()
    given = post(ONE, {"unit": "user-1"}).json()
    assert given["variant"] == body["decision"]["variant"]


def test_looking_at_a_unit_shows_all_that_it_was_given() -> None:
    one = running()
    post(ONE, {"unit": "user-1"})
    epochs.change_weights(
        one, EpochKind.RERANDOMISE, {"gpt-4": 0, "claude-2": 0, "llama2-70b": 10_000}, by=None, now=NOW
    )
    given = post(ONE, {"unit": "user-1"}).json()
    body = look("unit=user-1").json()
    assert [row["generation"] for row in body["stored"]] == [2, 1]
    assert body["stored"][0]["variant"] == given["variant"] == "llama2-70b"
    assert body["decision"] == given
    lifecycle.kill(one, by=None, now=NOW)
    body = look("unit=user-1").json()
    assert (len(body["stored"]), body["decision"]["reason"]) == (2, "halted")


def test_looking_takes_attributes_for_the_targeting() -> None:
    running(targeting={"language": "es"})
    assert look("unit=user-1").json()["decision"]["reason"] == "targeting"
    assert look('unit=user-1&attributes={"language":"es"}').json()["decision"]["reason"] == "split"


@pytest.mark.parametrize(
    "query", ["", "unit=", "unit=a%00", "unit=a&x=1", "unit=a&attributes=[", "unit=a&attributes=[]"]
)
def test_looking_with_a_wrong_query_is_refused(query: str) -> None:
    running()
    assert look(query).status_code == 400
