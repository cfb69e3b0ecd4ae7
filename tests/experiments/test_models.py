"""What the database itself refuses, whoever writes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F, ProtectedError

from experiments.definition import in_percent, is_key, validate_config
from experiments.models import Assignment, Experiment, ExperimentEvent, State, Variant
from tests.experiments.factories import NOW, draft, running, stopped

pytestmark = pytest.mark.django_db


def refused(act: Callable[[], Any], words: str) -> None:
    def act_and_check() -> None:
        with transaction.atomic():
            act()
            # Deferred constraints speak here and not only at the commit.
            connection.check_constraints()

    with pytest.raises(IntegrityError, match=words):
        act_and_check()


def update(**changes: Any) -> int:
    return Experiment.objects.update(**({"version": F("version") + 1} | changes))


def assigned(experiment: Experiment, **changes: Any) -> Assignment:
    variant = experiment.variants.get(key="gpt-4")
    values = {
        "experiment": experiment,
        "unit": "user-1",
        "variant": variant,
        "bucket": 0.25,
        "assigned_at": NOW,
    }
    return Assignment.objects.create(**(values | changes))


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".a",
        "-a",
        "a b",
        "a/b",
        "a\n",
        "ä",
        "a" * 129,
        "../../admin",
        "a?b",
        "a#b",
        "a\N{ZERO WIDTH SPACE}",
    ],
)
def test_key_outside_the_pattern_is_refused(key: str) -> None:
    assert not is_key(key)
    with pytest.raises(ValidationError):
        Experiment(key=key, name="x").clean_fields()
    if len(key) <= 128:
        refused(lambda: draft({}, key=key), "experiment_key_is_valid")
        refused(lambda: draft({key: 5_000}), "variant_key_is_valid")


@pytest.mark.parametrize("key", ["a", "0", "gpt-4", "llama2-70b", "A.b_c-d", "a" * 128])
def test_key_inside_the_pattern_is_stored(key: str) -> None:
    assert is_key(key)
    experiment = draft({key: 5_000}, key=key)
    experiment.clean_fields()


def test_second_experiment_with_the_same_key_is_refused() -> None:
    draft()
    refused(draft, "experiments_experiment_key")


def test_new_experiments_have_salts_of_their_own() -> None:
    salts = {draft({}, key=f"e{number}").salt for number in range(20)}
    assert len(salts) == 20
    assert {len(salt) for salt in salts} == {32}


@pytest.mark.parametrize(
    ("weights", "words"),
    [({"a": -1}, "weight_in_basis_points"), ({"a": 10_001}, "weight_in_basis_points")],
)
def test_weight_outside_basis_points_is_refused(weights: dict[str, int], words: str) -> None:
    refused(lambda: draft(weights), words)


@pytest.mark.parametrize("coverage_bp", [-1, 10_001])
def test_coverage_outside_basis_points_is_refused(coverage_bp: int) -> None:
    refused(lambda: draft({}, coverage_bp=coverage_bp), "coverage_in_basis_points")


@pytest.mark.parametrize("config", [[], "text", 1, None])
def test_config_that_is_no_object_is_refused(config: Any) -> None:
    draft()
    refused(
        lambda: Variant.objects.filter(key="gpt-4").update(config=config),
        "variant_config_is_object|null value",
    )
    with pytest.raises(ValidationError):
        validate_config(config)


@pytest.mark.parametrize(
    "config", [{"a": float("nan")}, {"a": [float("inf")]}, {"a\0": 1}, {"a": "\ud800"}, {"a": "x" * 70_000}]
)
def test_config_that_cannot_be_stored_or_read_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate_config(config)


@pytest.mark.parametrize(
    "config", [{}, {"temperature": 0.2, "stop": ["\n"]}, {"prompt": r"\u0000 as text", "ü": "😀"}]
)
def test_config_of_plain_json_is_accepted(config: dict[str, Any]) -> None:
    validate_config(config)
    draft()
    Variant.objects.filter(key="gpt-4").update(config=config)
    assert Variant.objects.get(key="gpt-4").config == config


def test_two_controls_are_refused() -> None:
    draft()
    refused(lambda: Variant.objects.filter(key="claude-2").update(is_control=True), "variant_one_control")


@pytest.mark.parametrize(("name", "value"), [("key", "gpt-4"), ("position", 0)])
def test_variants_that_cannot_be_told_apart_are_refused(name: str, value: object) -> None:
    draft()
    refused(lambda: Variant.objects.filter(key="claude-2").update(**{name: value}), f"variant_{name}_once")


@pytest.mark.parametrize("state", [State.RUNNING, State.STOPPED])
def test_new_experiment_that_is_no_draft_is_refused(state: State) -> None:
    refused(lambda: draft({}, state=state, started_at=NOW, stopped_at=NOW), "a new experiment is a draft")


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (draft, {"started_at": NOW}),
        (draft, {"state": State.RUNNING}),
        (draft, {"state": State.SCHEDULED, "started_at": NOW}),
        (running, {"state": State.STOPPED}),
        (running, {"stopped_at": NOW}),
        (running, {"state": State.STOPPED, "stopped_at": NOW - timedelta(seconds=1)}),
    ],
)
def test_state_that_contradicts_its_times_is_refused(
    make: Callable[[], Experiment], changes: dict[str, object]
) -> None:
    make()
    refused(lambda: update(**changes), "experiment_times_fit_state")


@pytest.mark.parametrize(
    "weights",
    [{}, {"gpt-4": 10_000}, {"gpt-4": 5_000, "b": 4_999}, {"gpt-4": 5_000, "b": 5_001}, {"a": 1, "b": 9_999}],
)
def test_start_of_an_incomplete_experiment_is_refused_by_the_database(weights: dict[str, int]) -> None:
    draft(weights)
    refused(lambda: update(state=State.RUNNING, started_at=NOW), "is not complete")


@pytest.mark.parametrize("make", [draft, running, stopped])
def test_salt_never_changes(make: Callable[[], Experiment]) -> None:
    make()
    refused(lambda: update(salt="0" * 32), "salt")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "another"},
        {"unit_kind": "case"},
        {"coverage_bp": 5_000},
        {"targeting": {"a": 1}},
        {"minimum_sample": 30},
        {"started_at": NOW + timedelta(days=1)},
        {"state": State.DRAFT, "started_at": None, "stopped_at": None},
    ],
)
@pytest.mark.parametrize("make", [running, stopped])
def test_what_assignments_rest_on_is_fixed_after_the_start(
    make: Callable[[], Experiment], changes: dict[str, object]
) -> None:
    make()
    if make is stopped and "started_at" in changes and "state" not in changes:
        changes = {"started_at": NOW - timedelta(days=1)}
    refused(lambda: update(**changes), "is fixed|started or ended|cannot go|differs from its open epoch")


def test_end_of_a_stopped_experiment_is_fixed() -> None:
    stopped()
    refused(lambda: update(stopped_at=NOW + timedelta(days=1)), "started or ended")
    refused(lambda: update(state=State.RUNNING, stopped_at=None), "cannot go")


@pytest.mark.parametrize("make", [running, stopped])
@pytest.mark.parametrize(
    "act",
    [
        lambda: Variant.objects.filter(key="gpt-4").update(config={"model": "another"}),
        lambda: Variant.objects.filter(key="gpt-4").update(weight_bp=1),
        lambda: Variant.objects.filter(key="llama2-70b")._raw_delete("default"),
        lambda: Variant.objects.create(
            experiment=Experiment.objects.get(), key="new", position=9, weight_bp=0
        ),
        lambda: Variant.objects.filter(key="gpt-4").update(experiment=draft({}, key="elsewhere")),
    ],
    ids=["config", "weight", "delete", "add", "move away"],
)
def test_variants_are_frozen_after_the_start(make: Callable[[], Experiment], act: Callable[[], Any]) -> None:
    make()
    words = "variants are frozen"
    refused(act, f"{words}|new version|differs from its open epoch" if make is running else words)


def test_variant_of_a_draft_cannot_be_moved_into_a_running_experiment() -> None:
    experiment = running()
    draft({"b": 10_000}, key="elsewhere")
    refused(
        lambda: Variant.objects.filter(key="b").update(experiment=experiment, position=9),
        "variants are frozen",
    )


def test_variants_of_a_draft_can_be_edited_and_the_draft_stays_for_its_audit() -> None:
    experiment = draft()
    Variant.objects.filter(key="gpt-4").update(weight_bp=1, config={})
    Variant.objects.filter(key="claude-2").delete()
    with pytest.raises(ProtectedError):
        experiment.delete()
    assert Variant.objects.count() == 2


def test_second_assignment_of_a_unit_is_refused() -> None:
    experiment = running()
    assigned(experiment)
    refused(
        lambda: assigned(experiment, variant=experiment.variants.get(key="claude-2")),
        "assignment_once_per_generation",
    )


def test_assignment_to_a_variant_of_another_experiment_is_refused() -> None:
    experiment, other = running(), running(key="other")
    refused(
        lambda: assigned(experiment, variant=other.variants.get(key="gpt-4")),
        "assignment_variant_of_its_exper",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": ""}, "unit_is_not_empty"),
        ({"bucket": 1.0}, "bucket_in_range"),
        ({"bucket": -0.1}, "bucket_in_range"),
    ],
)
def test_assignment_out_of_range_is_refused(changes: dict[str, Any], words: str) -> None:
    experiment = running()
    refused(lambda: assigned(experiment, **changes), words)


def test_assignments_and_events_are_written_once() -> None:
    experiment = running()
    row = assigned(experiment)
    refused(
        lambda: Assignment.objects.update(variant=experiment.variants.get(key="claude-2")), "written once"
    )
    refused(lambda: Assignment.objects.filter(pk=row.pk).delete(), "written once")
    refused(lambda: ExperimentEvent.objects.update(reason="another"), "written once")
    refused(lambda: ExperimentEvent.objects.all().delete(), "written once")


def test_experiment_with_history_cannot_be_deleted() -> None:
    experiment = running()
    with pytest.raises(ProtectedError):
        experiment.delete()


def test_running_chains_with_other_filters() -> None:
    running()
    draft(key="other")
    assert [experiment.key for experiment in Experiment.objects.filter(name="Which model").running()] == [
        "llm_model_ab_test"
    ]


@pytest.mark.parametrize(
    ("basis_points", "words"),
    [(10_000, "100 %"), (5_000, "50 %"), (3_333, "33.33 %"), (1, "0.01 %"), (0, "0 %")],
)
def test_basis_points_in_percent_lose_no_digit(basis_points: int, words: str) -> None:
    assert in_percent(basis_points) == words


@pytest.mark.django_db(transaction=True)
def test_migrations_go_back_and_forth() -> None:
    executor = MigrationExecutor(connection)
    latest = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "experiments"]
    executor.migrate([("experiments", None)])
    assert not [name for name in connection.introspection.table_names() if name.startswith("experiments_")]
    MigrationExecutor(connection).migrate(latest)
    running()
    refused(lambda: ExperimentEvent.objects.all().delete(), "written once")
