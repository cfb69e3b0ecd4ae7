"""Experiments defined and run through the API alone; each change is an audit row with the key that made it."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from experiments import epochs, forcing, layers, lifecycle
from experiments.models import Experiment, ExperimentEvent, Layer
from feedback.models import ApiKey, Scope
from tests.experiments.callers import client
from tests.experiments.factories import NOW, draft, running, stopped

pytestmark = pytest.mark.django_db

ROOT = "/api/v1/experiments"
ONE = f"{ROOT}/llm_model_ab_test"
VARIANTS: list[dict[str, Any]] = [
    {"key": "old", "is_control": True, "weight_bp": 5_000, "config": {"model": "gpt-4"}},
    {"key": "new", "is_control": False, "weight_bp": 5_000, "config": {"model": "gpt-5"}},
]
METRIC = {
    "key": "thumbs",
    "name": "thumbs up",
    "role": "primary",
    "kind": "ratio",
    "source": "feedback:positive",
}


@pytest.fixture
def writer() -> Client:
    return client(Scope.EXPERIMENTS_READ, Scope.EXPERIMENTS_WRITE)


def send(caller: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return getattr(caller, method)(path, content, content_type="application/json", headers=headers)


def last_event() -> ExperimentEvent:
    found = ExperimentEvent.objects.order_by("pk").last()
    assert found is not None
    return found


def test_experiment_goes_from_draft_to_shipped_through_the_api(writer: Client) -> None:
    made = send(
        writer, "post", ROOT, {"key": "prompts", "name": "Prompts", "variants": VARIANTS, "metrics": [METRIC]}
    )
    assert made.status_code == 201
    version = made.json()["version"]
    edited = send(
        writer,
        "patch",
        f"{ROOT}/prompts",
        {
            "version": version,
            "hypothesis": "Shorter is better.",
            "ramp": [{"coverage_bp": 10_000}],
            "coverage_bp": 500,
        },
    )
    assert edited.status_code == 200
    assert (edited.json()["hypothesis"], edited.json()["coverage_bp"]) == ("Shorter is better.", 500)
    assert [step["coverage_bp"] for step in edited.json()["ramp"]] == [10_000]
    for action, state in [
        ("start", "running"), ("pause", "paused"), ("resume", "running"), ("kill", "halted"), ("stop", "stopped"),
    ]:  # fmt: skip
        answer = send(
            writer, "post", f"{ROOT}/prompts/transitions", {"action": action, "reason": "as planned"}
        )
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    answer = send(writer, "post", f"{ROOT}/prompts/transitions", {"action": "ship", "variant": "new"})
    assert (answer.json()["state"], answer.json()["shipped_variant"]) == ("shipped", "new")
    audit = writer.get(f"{ROOT}/prompts/audit?page_size=3").json()
    assert [event["action"] for event in audit["results"]] == ["ship", "stop", "kill"]
    key = ApiKey.objects.get()
    assert {(event["api_key"], event["by"]) for event in audit["results"]} == {(key.prefix, None)}
    assert audit["results"][1]["before"]["state"] == "halted"
    following = writer.get(audit["next"]).json()
    assert [event["action"] for event in following["results"]] == ["resume", "pause", "start"]
    assert set(ExperimentEvent.objects.values_list("api_key", flat=True)) == {key.pk}


def test_edit_needs_the_version_and_refuses_an_old_one(writer: Client) -> None:
    draft()
    assert send(writer, "patch", ONE, {"name": "Other"}).json()["field"] == "version"
    old = send(writer, "patch", ONE, {"name": "Other", "version": 99})
    assert (old.status_code, old.json()["type"]) == (409, "/problems/experiment-changed")
    etag = writer.get(ONE).headers["ETag"]
    assert send(writer, "patch", ONE, {"name": "Other"}, **{"If-Match": etag}).status_code == 200
    again = send(writer, "patch", ONE, {"name": "Third"}, **{"If-Match": etag})
    assert again.json()["type"] == "/problems/experiment-changed"
    assert send(writer, "patch", ONE, {"name": "x"}, **{"If-Match": "abc"}).json()["field"] == "If-Match"
    assert Experiment.objects.get().name == "Other"


def test_edit_after_the_start_keeps_what_was_promised(writer: Client) -> None:
    running()
    assert send(writer, "patch", ONE, {"name": "Other", "version": 2}).status_code == 200
    answer = send(writer, "patch", ONE, {"coverage_bp": 100, "version": 3})
    assert answer.json()["type"] == "/problems/invalid-transition"


def test_draft_that_was_read_is_sent_back_whole_with_one_change(writer: Client) -> None:
    layers.save(Layer(key="prompts"), by=None, now=NOW)
    User.objects.create(username="ann")
    body = {"key": "prompts", "name": "Prompts", "variants": VARIANTS, "metrics": [METRIC], "layer": "prompts",
            "owner": "ann", "ramp": [{"coverage_bp": 10_000}], "coverage_bp": 500}  # fmt: skip
    assert send(writer, "post", ROOT, body).status_code == 201
    read = writer.get(f"{ROOT}/prompts").json()
    assert (read["owner"], read["layer"]) == ("ann", "prompts")
    answer = send(writer, "patch", f"{ROOT}/prompts", read | {"hypothesis": "Shorter is better."})
    assert answer.status_code == 200, answer.json()
    changed = {name for name, value in answer.json().items() if read[name] != value}
    assert changed == {"hypothesis", "version"}
    read = answer.json()
    read["variants"][1]["config"] = {"model": "gpt-6"}
    read["variants"][0]["key"] = "former"
    answer = send(writer, "patch", f"{ROOT}/prompts", read)
    assert [(one["key"], one["config"]["model"]) for one in answer.json()["variants"]] == [
        ("former", "gpt-4"),
        ("new", "gpt-6"),
    ]


def test_what_was_read_and_is_sent_back_as_it_is_changes_nothing(writer: Client) -> None:
    body = {"key": "prompts", "name": "Prompts", "variants": VARIANTS, "metrics": [METRIC | {"margin": 1.0}],
            "ramp": [{"coverage_bp": 10_000, "after_hours": 2.0}], "coverage_bp": 500, "minimum_effect": 1.0,
            "stops_at": "2999-01-01T02:00:00+02:00"}  # fmt: skip
    assert send(writer, "post", ROOT, body).status_code == 201
    for action in ("", "start"):
        if action:
            send(writer, "post", f"{ROOT}/prompts/transitions", {"action": action})
        read = writer.get(f"{ROOT}/prompts").json()
        metrics = list(Experiment.objects.get().metrics.values_list("pk", flat=True))
        count = ExperimentEvent.objects.count()
        # As a client in JavaScript sends it: 1.0 is 1 there.
        sent = json.loads(json.dumps(read).replace(": 1.0", ": 1").replace("2999-01-01T00:00:00Z", "2999-01-01T01:00:00+01:00"))  # fmt: skip
        for given in (read, sent, {"version": read["version"], "reason": "nothing"}):
            answer = send(writer, "patch", f"{ROOT}/prompts", given)
            assert (answer.status_code, answer.json()) == (200, read)
            assert answer.headers["ETag"] == f'"{read["version"]}"'
        assert ExperimentEvent.objects.count() == count
        assert list(Experiment.objects.get().metrics.values_list("pk", flat=True)) == metrics
    changed = send(writer, "patch", f"{ROOT}/prompts", read | {"name": "Others"})
    assert changed.json()["version"] == read["version"] + 1
    assert last_event().after["name"] == "Others"


def test_running_experiment_that_was_read_is_sent_back_whole_with_one_change(writer: Client) -> None:
    metric = METRIC | {"cap": 3, "margin": 0.5}
    whole = {"key": "prompts", "name": "Prompts", "variants": VARIANTS, "metrics": [metric],
             "ramp": [{"coverage_bp": 9_000}, {"coverage_bp": 10_000}], "coverage_bp": 500,
             "targeting": {"age": {"$gt": 5}}, "config_schema": {"type": "object"},
             "stops_at": "2999-01-01T00:00:00.123456Z"}  # fmt: skip
    send(writer, "post", ROOT, whole)
    send(writer, "post", f"{ROOT}/prompts/transitions", {"action": "start"})
    first = Experiment.objects.get().ramp.earliest("position")
    one = Experiment.objects.get()
    epochs.cover(one, 9_000, by=None, now=NOW, step=first)
    read = writer.get(f"{ROOT}/prompts").json()
    assert read["ramp"][0]["reached_at"]
    answer = send(writer, "patch", f"{ROOT}/prompts", read | {"name": "Other"})
    assert answer.status_code == 200, answer.json()
    assert {name for name, value in answer.json().items() if read[name] != value} == {"name", "version"}
    read = answer.json()
    for changes, field in [
        ({"coverage_bp": 100}, "coverage_bp"),
        ({"variants": read["variants"][::-1]}, "variants"),
        ({"metrics": [metric | {"margin": 0.25}]}, "metrics"),
        # What is left out of a metric is its default, which is another one.
        ({"metrics": [METRIC]}, "metrics"),
        ({"layer_share_bp": 100, "ramp": []}, "layer_share_bp"),
    ]:
        answer = send(writer, "patch", f"{ROOT}/prompts", read | changes)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/invalid-transition")
        assert (answer.json()["field"], bool(answer.json()["fix"])) == (field, True)


@pytest.mark.parametrize(
    "changes",
    [{"state": "stopped"}, {"key": "other"}, {"epoch": 7}, {"started_at": None}, {"approved_version": 1}],
)
def test_what_cannot_be_edited_is_refused_when_it_differs(writer: Client, changes: dict[str, Any]) -> None:
    running()
    answer = send(writer, "patch", ONE, changes | {"version": 2})
    assert (answer.status_code, answer.json()["field"]) == (400, next(iter(changes)))
    assert "as it was read" in answer.json()["fix"]


def test_unknown_fields_are_refused_wherever_they_stand(writer: Client) -> None:
    draft()
    read = writer.get(ONE).json()
    for changes, field in [
        ({"nme": "x"}, "nme"),
        ({"variants": [read["variants"][0] | {"weight": 1}]}, "variants[0].weight"),
        ({"metrics": [METRIC | {"reached_at": None}]}, "metrics[0].reached_at"),
        ({"ramp": [{"coverage_bp": 1, "version": 1}]}, "ramp[0].version"),
    ]:
        answer = send(writer, "patch", ONE, read | changes)
        assert (answer.status_code, answer.json()["field"], bool(answer.json()["fix"])) == (400, field, True)


def test_owner_is_set_and_read_by_username(writer: Client) -> None:
    draft()
    User.objects.create(username="ann")
    assert writer.get(ONE).json()["owner"] is None
    assert send(writer, "patch", ONE, {"owner": "ann", "version": 1}).json()["owner"] == "ann"
    answer = send(writer, "patch", ONE, {"owner": "nobody", "version": 2})
    assert (answer.status_code, answer.json()["field"]) == (400, "owner")
    assert "username" in answer.json()["fix"]
    send(writer, "post", f"{ONE}/transitions", {"action": "start"})
    assert send(writer, "patch", ONE, {"owner": None, "version": 3}).json()["owner"] is None


def test_times_that_have_passed_are_refused(writer: Client) -> None:
    running()
    answer = send(writer, "patch", ONE, {"stops_at": "2020-01-01T00:00:00Z", "version": 2})
    assert (answer.status_code, answer.json()["field"]) == (400, "stops_at")
    assert answer.json()["detail"] == "stops_at has passed: 2020-01-01 00:00:00 UTC."
    answer = send(writer, "post", ROOT, {"key": "a", "name": "A", "starts_at": "2020-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["field"]) == (400, "starts_at")
    assert send(writer, "patch", ONE, {"stops_at": "2999-01-01T00:00:00Z", "version": 2}).status_code == 200


@pytest.mark.parametrize("value", [0, -1, 1e-300, 1e300])
def test_effects_that_nothing_can_be_planned_with_are_refused(writer: Client, value: float) -> None:
    answer = send(writer, "post", ROOT, {"key": "a", "name": "A", "minimum_effect": value})
    assert (answer.status_code, answer.json()["field"]) == (400, "minimum_effect")
    if value:
        metrics = [METRIC | {"margin": value}]
        answer = send(writer, "post", ROOT, {"key": "a", "name": "A", "metrics": metrics})
        assert (answer.status_code, answer.json()["field"]) == (400, "metrics[0].margin")


def test_clone_export_and_import_make_drafts_with_other_salts(writer: Client) -> None:
    one = running()
    clone = send(writer, "post", f"{ONE}/clone", {"key": "copy"})
    assert (clone.status_code, clone.json()["state"]) == (201, "draft")
    document = writer.get(f"{ONE}/export").json()
    taken = send(writer, "post", f"{ROOT}/import", document)
    assert (taken.status_code, taken.json()["type"]) == (409, "/problems/experiment-exists")
    imported = send(writer, "post", f"{ROOT}/import", document | {"key": "elsewhere"})
    assert imported.status_code == 201
    assert writer.get(f"{ROOT}/elsewhere/export").json()["definition"] == document["definition"]
    assert len({one.salt, *Experiment.objects.values_list("salt", flat=True)}) == 3


@pytest.mark.parametrize("action", ["request_review", "approve"])
def test_reviews_are_for_people(writer: Client, action: str) -> None:
    draft()
    answer = send(writer, "post", f"{ONE}/transitions", {"action": action})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/needs-person")


def test_halt_is_no_action_and_only_a_person_resumes_after_a_kill(writer: Client) -> None:
    running()
    assert send(writer, "post", f"{ONE}/transitions", {"action": "halt"}).status_code == 400
    send(writer, "post", f"{ONE}/transitions", {"action": "kill", "reason": "wrong doses"})
    assert last_event().reason == "wrong doses"
    answer = send(writer, "post", f"{ONE}/transitions", {"action": "resume", "reason": "fixed"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/needs-person")


def test_transitions_say_what_is_missing(writer: Client) -> None:
    lifecycle.ship(stopped(), "claude-2", by=None, now=NOW)
    draft({}, key="empty")
    unship = send(writer, "post", f"{ONE}/transitions", {"action": "unship"})
    assert (unship.status_code, unship.json()["field"]) == (400, "reason")
    assert (
        send(writer, "post", f"{ONE}/transitions", {"action": "unship", "reason": "slow"}).status_code == 200
    )
    assert send(writer, "post", f"{ONE}/transitions", {"action": "ship"}).json()["field"] == "variant"
    assert send(writer, "post", f"{ONE}/transitions", {"action": "ship", "variant": "x"}).status_code == 400
    start = send(writer, "post", f"{ROOT}/empty/transitions", {"action": "start"})
    assert (start.status_code, start.json()["type"]) == (409, "/problems/experiment-not-ready")
    assert len(start.json()["missing"]) >= 2
    old = send(writer, "post", f"{ONE}/transitions", {"action": "archive", "version": 1})
    assert old.json()["type"] == "/problems/experiment-changed"


def test_schedule_takes_a_time_to_come(writer: Client) -> None:
    draft()
    past = send(writer, "post", f"{ONE}/transitions", {"action": "schedule", "at": "2020-01-01T00:00:00Z"})
    assert past.status_code == 400
    answer = send(writer, "post", f"{ONE}/transitions", {"action": "schedule", "at": "2999-01-01T00:00:00Z"})
    assert (answer.json()["state"], answer.json()["starts_at"]) == ("scheduled", "2999-01-01T00:00:00Z")


WEIGHTS = {"gpt-4": 4_000, "claude-2": 4_000, "llama2-70b": 2_000}


SAME = {"gpt-4": 5_000, "claude-2": 3_000, "llama2-70b": 2_000}


def test_weights_are_previewed_and_then_changed(writer: Client) -> None:
    running()
    body = {"kind": "minimal_move", "weights": WEIGHTS}
    preview = send(writer, "post", f"{ONE}/weights", body | {"dry_run": True})
    assert preview.status_code == 200
    assert (preview.json()["kind"], preview.json()["moved_count"]) == ("minimal_move", 0)
    assert len(preview.json()["sentences"]) == 3
    assert Experiment.objects.get().epoch == 1
    assert send(writer, "post", f"{ONE}/weights", body).json()["field"] == "version"
    answer = send(writer, "post", f"{ONE}/weights", body | {"version": 2, "reason": "slower"})
    assert (answer.status_code, answer.json()["epoch"]) == (200, 2)
    rows = writer.get(f"{ONE}/epochs").json()["results"]
    assert [(one["number"], one["kind"], one["reason"]) for one in rows] == [
        (1, "start", ""),
        (2, "minimal_move", "slower"),
    ]
    assert rows[1]["weights"] == WEIGHTS
    assert sum(end - first for *_, first, end in rows[1]["moved"]) == 1_000
    assert rows[0]["ended_at"] == rows[1]["started_at"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "bandit"},
        {"kind": None},
        {"weights": {"gpt-4": 10_000}},
        {"weights": WEIGHTS | {"gpt-4": 4_001}},
        {"weights": {"gpt-4": 0.4, "claude-2": 0.4, "llama2-70b": 0.2}},
        {"weights": {"gpt-4": "4000", "claude-2": 4_000, "llama2-70b": 2_000}},
        {"weights": []},
        {"version": "two"},
        {"version": 10**30},
        {"reason": 5 * ["a"]},
        {"unknown": 1},
        {"dry_run": "maybe"},
    ],
)
def test_wrong_weights_are_refused(writer: Client, changes: dict[str, Any]) -> None:
    running()
    body = {"kind": "sticky", "weights": WEIGHTS, "version": 2} | changes
    answer = send(writer, "post", f"{ONE}/weights", body)
    assert answer.status_code in {400, 409}
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert Experiment.objects.get().epoch == 1


@pytest.mark.parametrize(
    ("weights", "detail"),
    [
        ({"gpt-4": 5_000, "claude-2": 5_000}, "There is no weight for llama2-70b."),
        ({"a": 10_000}, "There is no weight for gpt-4, claude-2, llama2-70b."),
        (WEIGHTS | {"gpt-5": 0}, "There is no variant 'gpt-5'."),
        (WEIGHTS | {"gpt-4": 0.4}, "The weight of gpt-4, 0.4, is no whole number from 0 to 10 000."),
        (WEIGHTS | {"gpt-4": 4_001}, "The weights sum to 10001 basis points: 1 too many."),
        (WEIGHTS | {"gpt-4": 0}, "The weights sum to 6000 basis points: 4000 too few."),
    ],
)
def test_wrong_weights_say_which_and_what_to_send(
    writer: Client, weights: dict[str, Any], detail: str
) -> None:
    running()
    problem = send(
        writer, "post", f"{ONE}/weights", {"kind": "sticky", "weights": weights, "version": 2}
    ).json()
    assert (problem["field"], problem["detail"]) == ("weights", detail)
    assert "10 000" in problem["fix"] or "gpt-4, claude-2, llama2-70b" in problem["fix"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("weights", {"kind": "sticky", "weights": SAME}, "weights"),
        ("weights", {"kind": "minimal_move", "weights": SAME}, "weights"),
        ("weights", {"kind": "sticky", "weights": SAME, "dry_run": True}, "weights"),
        ("coverage", {"coverage_bp": 10_000}, "coverage_bp"),
        ("variants/revise", {"configs": {key: {"model": key} for key in SAME}}, "configs"),
    ],
)
def test_change_to_what_it_is_is_refused_and_leaves_nothing(
    writer: Client, path: str, body: dict[str, Any], field: str
) -> None:
    running()
    answer = send(writer, "post", f"{ONE}/{path}", body | {"version": 2})
    assert (answer.status_code, answer.json()["field"], bool(answer.json()["fix"])) == (400, field, True)
    stored = Experiment.objects.get()
    assert (stored.epoch, stored.version) == (1, 2)
    assert last_event().action == "start"


def test_same_weights_dealt_anew_are_a_change(writer: Client) -> None:
    running()
    answer = send(writer, "post", f"{ONE}/weights", {"kind": "rerandomise", "weights": SAME, "version": 2})
    assert (answer.status_code, answer.json()["epoch"]) == (200, 2)


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "fix"),
    [
        ("post", f"{ONE}/transitions", {}, "action", "Send it."),
        ("post", f"{ONE}/transitions", {"action": "fly"}, "action", "Use one of these."),
        ("post", f"{ONE}/transitions", {"action": "schedule", "at": "soon"}, "at", "Correct this value"),
        ("post", f"{ONE}/weights", {"kind": "sticky", "version": 2}, "weights", "Send it."),
        (
            "post",
            f"{ONE}/coverage",
            {"coverage_bp": 20_000, "version": 2},
            "coverage_bp",
            "Correct this value",
        ),
        ("post", f"{ONE}/clone", {"key": ""}, "key", "Send a text"),
        ("post", f"{ONE}/clone", {"key": "a b"}, "key", "Correct this value"),
        ("put", f"{ONE}/forced/u", {"variant": None}, "variant", "Send a value"),
        ("post", ROOT, {"key": "a"}, "name", "Send it."),
        ("post", ROOT, {"name": "a"}, "key", "Send it."),
    ],
)
def test_every_refused_field_has_its_name_and_a_fix(
    writer: Client, method: str, path: str, body: dict[str, Any], field: str, fix: str
) -> None:
    running()
    answer = send(writer, method, path, body)
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["field"]) == (400, "/problems/invalid-input", field)
    assert problem["title"] == "The input is not valid"
    assert fix in problem["fix"]


def test_words_that_are_not_known_are_answered_with_those_that_are(writer: Client) -> None:
    running()
    answer = send(writer, "post", f"{ONE}/weights", {"kind": "fair", "weights": SAME, "version": 2})
    assert answer.json()["detail"] == "'fair' is none of: sticky, minimal_move, rerandomise."


def test_coverage_and_configs_change_by_new_epochs(writer: Client) -> None:
    running(coverage_bp=2_000)
    answer = send(writer, "post", f"{ONE}/coverage", {"coverage_bp": 4_000, "version": 2})
    assert (answer.json()["coverage_bp"], answer.json()["epoch"]) == (4_000, 2)
    configs = {"claude-2": {"model": "claude-3"}}
    answer = send(
        writer, "post", f"{ONE}/variants/revise", {"configs": configs, "version": 3, "reason": "newer"}
    )
    assert answer.json()["variants"][1]["version"] == 2
    assert answer.json()["variants"][1]["config"] == {"model": "claude-3"}
    assert send(writer, "post", f"{ONE}/coverage", {"coverage_bp": 0, "version": 4}).status_code == 400
    wrongs: list[dict[str, Any]] = [{"claude-2": []}, {"x": {}}, {"claude-2": {"model": "claude-3"}}, {}]
    for wrong in wrongs:
        answer = send(writer, "post", f"{ONE}/variants/revise", {"configs": wrong, "version": 4})
        assert answer.status_code == 400


def test_two_person_rule_holds_for_keys(writer: Client) -> None:
    asks, approves = (User.objects.create(username=name) for name in ("asks", "approves"))
    one = lifecycle.request_review(draft(requires_review=True), by=asks, now=NOW)
    lifecycle.start(lifecycle.approve(one, by=approves, now=NOW), by=None, now=NOW)
    body = {"kind": "sticky", "weights": WEIGHTS, "version": Experiment.objects.get().version}
    answer = send(writer, "post", f"{ONE}/weights", body)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/needs-review")


@pytest.mark.parametrize("unit", ["user-1", "clinic/17", "josé", "😀", "a b", "x" * 128])
def test_unit_is_forced_read_and_left_alone_again(writer: Client, unit: str) -> None:
    running()
    path = f"{ONE}/forced/{unit}"
    assert writer.get(path).status_code == 404
    answer = send(writer, "put", path, {"variant": "claude-2", "reason": "test account"})
    assert answer.status_code == 200
    assert writer.get(path).json() == answer.json()
    assert (answer.json()["unit"], answer.json()["variant"], answer.json()["by"]) == (unit, "claude-2", None)
    assert [one["unit"] for one in writer.get(f"{ONE}/forced").json()["results"]] == [unit]
    assert last_event().api_key == ApiKey.objects.get()
    assert writer.delete(path).status_code == 204
    assert writer.delete(path).status_code == 404
    assert writer.get(f"{ONE}/forced").json() == {"results": []}


def test_forcing_what_cannot_be_is_refused(writer: Client) -> None:
    one = running()
    assert send(writer, "put", f"{ONE}/forced/u", {"variant": "x"}).json()["field"] == "variant"
    assert send(writer, "put", f"{ONE}/forced/{'x' * 129}", {"variant": "gpt-4"}).json()["field"] == "unit"
    assert send(writer, "put", f"{ONE}/forced/a%00b", {"variant": "gpt-4"}).json()["field"] == "unit"
    assert send(writer, "put", f"{ONE}/forced/u", {"variant": "gpt-4", "version": 1}).status_code == 409
    forcing.force(one, "u", "gpt-4", by=None, now=NOW)
    assert writer.delete(f"{ONE}/forced/u", headers={"If-Match": '"1"'}).status_code == 409


def odd_bodies() -> list[bytes]:
    values = [
        b"NaN", b"1e999", b"-1e999", b"9" * 5_000, b"9" * 50, b'"\\ud83d"', b'"a\\u0000b"', b"[" * 100_000, b"null",
        b"[]", b"{}", b"true", b'"text"', b"5", b"0.5", b"[" * 400 + b"]" * 400, b'{"a": "\\u0000"}', b'["\\udc00"]',
    ]  # fmt: skip
    names = [
        "key", "name", "coverage_bp", "targeting", "variants", "metrics", "ramp", "layer", "config_schema", "alpha",
        "starts_at", "version", "reason", "action", "variant", "at", "weights", "kind", "configs", "dry_run", "format",
        "definition", "unknown",
    ]  # fmt: skip
    return [b'{"%s": %s}' % (name.encode(), value) for name in names for value in values]


ADDRESSES = [
    ("post", ROOT),
    ("patch", ONE),
    ("post", f"{ROOT}/import"),
    ("post", f"{ONE}/clone"),
    ("post", f"{ONE}/transitions"),
    ("post", f"{ONE}/weights"),
    ("post", f"{ONE}/coverage"),
    ("post", f"{ONE}/variants/revise"),
    ("put", f"{ONE}/forced/user-1"),
]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_no_body_makes_the_server_fail(writer: Client, method: str, path: str) -> None:
    draft()
    complete: dict[str, Any] = {
        "transitions": {"action": "pause"},
        "weights": {"kind": "sticky", "weights": WEIGHTS, "version": 1},
        "coverage": {"coverage_bp": 5_000, "version": 1},
        "revise": {"configs": {}, "version": 1},
        "user-1": {"variant": "gpt-4", "version": 9},
        "import": {"format": "triageops.experiment/1", "key": "b", "definition": {}},
    }
    rest = complete.get(path.rpartition("/")[2], {"version": 9} if method == "patch" else {})
    for body in odd_bodies():
        # Both alone and among what makes the body complete otherwise.
        for whole in (body, json.dumps(rest).encode()[:-1] + (b", " if rest else b"") + body[1:]):
            answer = send(writer, method, path, whole)
            assert answer.status_code in {200, 201, 400, 409}, whole[:200]
            is_refused = answer.status_code >= 400
            assert answer.headers["Content-Type"] == f"application/{'problem+' * is_refused}json"


@pytest.mark.parametrize("name", ["variants", "metrics", "ramp"])
def test_no_part_of_a_definition_makes_the_server_fail(writer: Client, name: str) -> None:
    complete: dict[str, dict[str, Any]] = {
        "variants": VARIANTS[0],
        "metrics": METRIC,
        "ramp": {"coverage_bp": 10, "after_hours": 1},
    }
    fields = complete[name]
    for field in fields:
        for body in odd_bodies():
            if not body.startswith(b'{"name": '):
                continue
            part = json.dumps({key: value for key, value in fields.items() if key != field}).encode()[:-1]
            odd = body.removeprefix(b'{"name": ')[:-1]
            whole = b'{"key": "b", "name": "B", "%s": [%s, "%s": %s}]}' % (
                name.encode(),
                part,
                field.encode(),
                odd,
            )
            answer = send(writer, "post", ROOT, whole)
            assert answer.status_code in {201, 400, 409}, whole[:300]


def test_numbers_are_no_text(writer: Client) -> None:
    running()
    for path, body in [
        (f"{ONE}/clone", {"key": 5}),
        (ROOT, {"key": 5, "name": "a"}),
        (ROOT, {"key": "a", "name": 5}),
        (f"{ONE}/transitions", {"action": "pause", "reason": 5}),
    ]:
        assert send(writer, "post", path, body).status_code == 400
    assert send(writer, "put", f"{ONE}/forced/u", {"variant": 5}).json()["field"] == "variant"


def test_calls_need_their_scope() -> None:
    running()
    reader, nobody = client(Scope.EXPERIMENTS_READ), client(Scope.EXPERIMENTS_ASSIGN)
    for method, path in ADDRESSES:
        assert send(reader, method, path, {}).status_code == 403
    for path in (
        ONE,
        f"{ONE}/export",
        f"{ONE}/epochs",
        f"{ONE}/audit",
        f"{ONE}/forced",
        f"{ONE}/assignments?unit=a",
    ):
        assert nobody.get(path).status_code == 403
        assert Client().get(path).status_code == 401
        assert reader.get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "/export", "/epochs", "/audit", "/forced", "/forced/u", "/assignments?unit=u"]
)
def test_unknown_experiment_is_a_404_at_every_address(path: str) -> None:
    answer = client(Scope.EXPERIMENTS_READ).get(f"{ROOT}/unknown{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-experiment")
