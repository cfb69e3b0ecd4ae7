"""Definitions as documents: made, edited, copied, exported, imported; whatever is sent, the answer is a Problem or a draft."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments import drafts, epochs, layers, lifecycle
from experiments.audit import Changed, InvalidTransition
from experiments.drafts import KeyTaken
from experiments.models import EpochKind, Experiment, ExperimentEvent, Layer, State, Variant
from tests.experiments.factories import NOW, draft, running
from triageops.rest import InvalidInput, Problem

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(days=1)
DEFINITION: dict[str, Any] = {
    "name": "Which prompt",
    "hypothesis": "Shorter is better",
    "unit_kind": "conversation",
    "unit_attribute": "conversation_id",
    "coverage_bp": 2_500,
    "targeting": {"language": {"$in": ["en", "es"]}, "version": {"$vgte": "2.1.0"}},
    "layer": "prompts",
    "layer_share_bp": 5_000,
    "obeys_holdout": False,
    "design": "group_sequential",
    "alpha": 0.1,
    "correction": "e_bh",
    "minimum_sample": 250,
    "planned_sample": 20_000,
    "minimum_effect": 0.02,
    "minimum_days": 14,
    "requires_review": True,
    "auto_ship": True,
    "config_schema": {"required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
    "bandit_floor_bp": 700,
    "bandit_hours": 6,
    "variants": [
        {"key": "long", "is_control": True, "weight_bp": 5_000, "config": {"prompt": "é \\u0000 😀"}},
        {"key": "short", "is_control": False, "weight_bp": 5_000, "config": {"prompt": "b", "t": [1, None]}},
    ],
    "metrics": [
        {"key": "win", "name": "wins", "role": "primary", "kind": "proportion", "source": "feedback:positive"},
        {
            "key": "slow", "name": "p95", "role": "guardrail", "kind": "quantile", "quantile": 0.95, "alpha": 0.01,
            "source": "response:latency_seconds", "better": "lower", "margin": 0.1, "window_days": 7, "cap": 60,
        },
    ],
    "ramp": [{"coverage_bp": 5_000, "after_hours": 12, "after_units": 100}, {"coverage_bp": 10_000}],
}  # fmt: skip


def prompts() -> Layer:
    known = Layer.objects.filter(key="prompts").first()
    return known or layers.save(Layer(key="prompts"), by=None, now=NOW)


def made(key: str = "prompt_test", **changes: Any) -> Experiment:
    prompts()
    return drafts.create(key, DEFINITION | changes, by=None, now=NOW)


def test_create_is_a_draft_with_everything_and_its_audit(django_user_model: type[User]) -> None:
    prompts()
    ann = django_user_model.objects.create(username="ann")
    experiment = drafts.create("prompt_test", DEFINITION, by=ann, now=NOW)
    assert (experiment.state, experiment.version, experiment.owner) == (State.DRAFT, 1, ann)
    event = ExperimentEvent.objects.get()
    assert (event.action, event.by, event.before) == ("create", ann, {})
    assert [one["key"] for one in event.after["metrics"]] == ["win", "slow"]
    connection.check_constraints()
    assert lifecycle.missing_for_start(experiment, list(experiment.variants.all())) == []


def test_export_and_import_give_an_equal_definition_with_another_salt() -> None:
    document = drafts.exported(made())
    text = json.dumps(document, allow_nan=False)
    copied = drafts.imported(json.loads(text), by=None, now=LATER, key="copied")
    assert drafts.exported(copied) == document | {"key": "copied"}
    assert {name: document["definition"][name] for name in DEFINITION if name not in drafts.PARTS} == {
        name: value for name, value in DEFINITION.items() if name not in drafts.PARTS
    }
    assert document["definition"]["variants"] == DEFINITION["variants"]
    assert copied.salt != Experiment.objects.get(key="prompt_test").salt
    connection.check_constraints()


def test_export_names_every_field_that_is_no_time() -> None:
    definition = drafts.exported(made())["definition"]
    times = {"planned_end_at", "starts_at", "stops_at"}
    assert set(definition) == (set(drafts.FIELDS) - times) | {"layer", *drafts.PARTS}


def test_clone_of_what_runs_is_a_draft_of_its_own() -> None:
    experiment = running()
    copied = drafts.clone(experiment, "again", by=None, now=LATER)
    assert (copied.state, copied.version, copied.epoch) == (State.DRAFT, 1, 0)
    assert copied.salt != experiment.salt
    assert [v.key for v in copied.variants.all()] == [v.key for v in experiment.variants.all()]
    assert lifecycle.start(copied, by=None, now=LATER).is_running


def test_key_that_is_taken_is_refused() -> None:
    made()
    with pytest.raises(KeyTaken), transaction.atomic():
        made()


def test_edit_replaces_the_parts_that_are_given_and_keeps_the_rows_of_variants_that_stay() -> None:
    experiment = made()
    rows = {variant.key: variant.pk for variant in Variant.objects.all()}
    changes = {
        "name": "another",
        "variants": [
            {"key": "short", "weight_bp": 1_000, "is_control": True, "config": {"prompt": "c"}},
            {"key": "new", "weight_bp": 4_000, "config": {"prompt": "d"}},
            {"key": "long", "weight_bp": 5_000, "is_control": False},
        ],
        "ramp": [],
    }
    edited = drafts.edit(experiment, changes, by=None, now=LATER)
    connection.check_constraints()
    assert (edited.name, edited.version, edited.ramp.count(), edited.metrics.count()) == ("another", 2, 0, 2)
    found = list(Variant.objects.order_by("position"))
    assert [(one.key, one.is_control) for one in found] == [("short", True), ("new", False), ("long", False)]
    assert found[2].pk == rows["long"]
    assert found[0].pk == rows["short"]
    event = ExperimentEvent.objects.latest("id")
    assert (event.action, event.before["name"], event.after["name"]) == ("edit", "Which prompt", "another")
    with pytest.raises(Changed):
        drafts.edit(Experiment(pk=edited.pk, version=1), {"name": "late"}, by=None, now=LATER)


@pytest.mark.parametrize("name", sorted({*drafts.FIELDS, *drafts.PARTS, "layer"}))
def test_edit_of_what_runs_changes_only_what_promised_nothing(name: str) -> None:
    experiment = running()
    values = DEFINITION | dict.fromkeys(("planned_end_at", "stops_at", "starts_at"), "2027-01-01T00:00:00Z")
    prompts()
    if name in drafts.LATER_FIELDS:
        edited = drafts.edit(experiment, {name: values[name]}, by=None, now=LATER)
        assert edited.version == experiment.version == 3
    else:
        with pytest.raises(InvalidTransition):
            drafts.edit(experiment, {name: values[name]}, by=None, now=LATER)
    connection.check_constraints()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"nonsense": 1}, "nonsense"),
    ({"state": "running"}, "state"),
    ({"salt": "0" * 32}, "salt"),
    ({"name": ""}, "name"),
    ({"name": None}, "name"),
    ({"name": 1}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"name": "a\0b"}, "definition"),
    ({"name": "a\ud800"}, "definition"),
    ({"hypothesis": None}, "hypothesis"),
    ({"hypothesis": []}, "hypothesis"),
    ({"coverage_bp": "all"}, "coverage_bp"),
    ({"coverage_bp": 0.5}, "coverage_bp"),
    ({"coverage_bp": True}, "coverage_bp"),
    ({"coverage_bp": -1}, "coverage_bp"),
    ({"coverage_bp": 10**400}, "coverage_bp"),
    ({"alpha": "nan"}, "alpha"),
    ({"alpha": float("nan")}, "definition"),
    ({"alpha": 0.5}, "alpha"),
    ({"minimum_effect": 10**400}, "minimum_effect"),
    *(({"minimum_effect": value}, "minimum_effect") for value in (0, -0.02, 1e-300, -1e-300, 1e300, 1e-10)),
    *(({"minimum_effect": value}, "definition") for value in (float("nan"), float("inf"))),
    *(
        (
            {"metrics": [{"key": "m", "name": "m", "source": "response:cost", "margin": value}]},
            "metrics[0].margin",
        )
        for value in (-0.1, 1e-300, -1e-300, 1e300)
    ),
    ({"minimum_sample": 24}, "minimum_sample"),
    ({"planned_sample": 2**40}, "planned_sample"),
    ({"minimum_days": 100_000}, "minimum_days"),
    ({"design": "best"}, "design"),
    ({"unit_kind": ["user"]}, "unit_kind"),
    ({"obeys_holdout": "no"}, "obeys_holdout"),
    ({"targeting": []}, "targeting"),
    ({"targeting": None}, "targeting"),
    ({"targeting": {"$nonsense": 1}}, "targeting"),
    ({"targeting": {"a": {"$regex": "("}}}, "targeting"),
    ({"config_schema": {"type": "nonsense"}}, "config_schema"),
    ({"config_schema": {"$ref": "http://127.0.0.1/x"}}, "config_schema"),
    ({"config_schema": {"$dynamicRef": "http://127.0.0.1/x"}}, "config_schema"),
    ({"config_schema": {"pattern": "("}}, "config_schema"),
    (
        {"config_schema": {"required": ["never"]}, "variants": DEFINITION["variants"]},
        "variants[0].config",
    ),
    ({"starts_at": "tomorrow"}, "starts_at"),
    ({"starts_at": "2027-01-01T00:00:00"}, "starts_at"),
    ({"starts_at": "2027-13-01T00:00:00Z"}, "starts_at"),
    ({"starts_at": "9999-12-31T23:59:59-10:00"}, "starts_at"),
    ({"starts_at": 1}, "starts_at"),
    ({"starts_at": "2026-03-01T12:00:00Z"}, "starts_at"),
    ({"stops_at": "2026-03-01T11:59:59Z"}, "stops_at"),
    ({"stops_at": "2026-03-01T13:00:00+01:00"}, "stops_at"),
    ({"starts_at": "2027-01-02T00:00:00Z", "stops_at": "2027-01-02T00:00:00Z"}, "stops_at"),
    ({"owner": "nobody"}, "owner"),
    ({"owner": 1}, "owner"),
    ({"owner": ["ann"]}, "owner"),
    ({"epoch": 3}, "epoch"),
    ({"created_at": "2020-01-01T00:00:00Z"}, "created_at"),
    ({"started_at": "soon"}, "started_at"),
    ({"layer": "nowhere"}, "layer"),
    ({"layer": ["prompts"]}, "layer"),
    ({"layer": 0}, "layer"),
    ({"variants": {}}, "variants"),
    ({"variants": [1]}, "variants"),
    ({"variants": [{"key": f"v{n}", "weight_bp": 0} for n in range(101)]}, "variants"),
    ({"variants": [{}]}, "variants[0].key"),
    ({"variants": [{"key": "long", "weight_bp": 1}, {"weight_bp": 1}]}, "variants[1].key"),
    ({"variants": [{"key": "", "weight_bp": 1}]}, "variants[0].key"),
    ({"variants": [{"key": "a"}]}, "variants[0].weight_bp"),
    ({"variants": [{"key": "a", "weight_bp": None}]}, "variants[0].weight_bp"),
    ({"variants": [{"key": "a b", "weight_bp": 1}]}, "variants[0].key"),
    ({"variants": [{"key": ["a"], "weight_bp": 1}]}, "variants[0].key"),
    ({"variants": [{"key": "a", "weight_bp": 33.3}]}, "variants[0].weight_bp"),
    ({"variants": [{"key": "a", "weight_bp": 1, "config": []}]}, "variants[0].config"),
    ({"variants": [{"key": "a", "weight_bp": 1, "config": "{}"}]}, "variants[0].config"),
    ({"variants": [{"key": "a", "weight_bp": 1}] * 2, "config_schema": None}, "variants"),
    (
        {
            "variants": [{"key": key, "weight_bp": 1, "is_control": True} for key in "ab"],
            "config_schema": None,
        },
        "variants[1]",
    ),
    ({"metrics": "all"}, "metrics"),
    ({"metrics": [{"key": "m", "name": "m", "source": "nonsense"}]}, "metrics[0].source"),
    ({"metrics": [{"key": "m", "name": "m"}]}, "metrics[0].source"),
    ({"metrics": [{"key": "m", "name": "m", "source": "response:cost"}] * 2}, "metrics[1]"),
    ({"metrics": [{"key": "m", "name": "m", "source": "response:cost", "cap": "inf"}]}, "metrics[0].cap"),
    (
        {"metrics": [{"key": "m", "name": "m", "source": "response:cost", "kind": "quantile"}]},
        "metrics[0].quantile",
    ),
    ({"ramp": [{}]}, "ramp[0].coverage_bp"),
    ({"ramp": [{"coverage_bp": 1, "reached": "2027-01-01T00:00:00Z"}]}, "ramp[0].reached"),
]


@pytest.mark.parametrize(("changes", "field"), BAD, ids=[f"{field}-{n}" for n, (_, field) in enumerate(BAD)])
def test_bad_definition_names_its_field_and_leaves_nothing(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        made(**changes)
    assert refused.value.field == field
    assert refused.value.fix
    assert not Experiment.objects.exists()
    experiment = made("other")
    with pytest.raises(InvalidInput) as refused:
        drafts.edit(experiment, changes, by=None, now=LATER)
    assert refused.value.field == field
    assert drafts.exported(Experiment.objects.get()) == drafts.exported(experiment)


@pytest.mark.parametrize(
    ("changes", "detail", "fix"),
    [
        ({"variants": [{}]}, "Number 1 of variants has no key.", "gpt-4"),
        ({"variants": [{"key": "a"}]}, "The variant 'a' has no weight_bp.", "basis points"),
        ({"ramp": [{}]}, "Number 1 of ramp has no coverage_bp.", "basis points"),
        (
            {"variants": [{"key": key, "weight_bp": 1, "is_control": key != "b"} for key in "abc"]},
            "Two variants are marked as the control: a, c.",
            "Mark one",
        ),
        (
            {"variants": [{"key": key, "weight_bp": 1, "is_control": True} for key in "abc"]},
            "3 variants are marked as the control: a, b, c.",
            "Mark one",
        ),
        (
            {"metrics": [{"key": "m", "name": "", "source": "response:cost"}]},
            "The metric 'm' has no name.",
            "leave it out",
        ),
        ({"name": ""}, "name is missing.", "Send it."),
        ({"design": "best"}, "Value 'best' is not a valid choice.", "always_valid, group_sequential, bandit"),
        ({"owner": "nobody"}, "There is no active user 'nobody'.", "username"),
        (
            {"stops_at": "2026-03-01T11:00:00Z"},
            "stops_at has passed: 2026-03-01 11:00:00 UTC.",
            "a time to come",
        ),
        ({"state": "running"}, "state cannot be set", "Leave it out."),
    ],
)
def test_bad_definition_says_what_is_wrong_and_what_to_send(
    changes: dict[str, Any], detail: str, fix: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        made(**changes)
    assert detail in refused.value.detail
    assert fix in (refused.value.fix or "")


@pytest.mark.parametrize("effect", [None, 1e-9, 0.02, 3, 1e12])
def test_effects_and_margins_that_can_be_are_kept(effect: float | None) -> None:
    metric = {"key": "m", "name": "m", "source": "response:cost", "margin": effect or 0}
    experiment = made(minimum_effect=effect, metrics=[metric])
    assert Experiment.objects.get().minimum_effect == effect
    assert experiment.metrics.get().margin == (effect or 0)


def test_control_that_a_variant_keeps_is_counted_with_a_new_one() -> None:
    experiment = made()
    rows: list[dict[str, Any]] = [{"key": "long"}, {"key": "short", "is_control": True}]
    with pytest.raises(InvalidInput, match="Two variants are marked as the control: long, short"):
        drafts.edit(experiment, {"variants": rows}, by=None, now=LATER)
    rows[0]["is_control"] = False
    edited = drafts.edit(experiment, {"variants": rows}, by=None, now=LATER)
    assert list(edited.variants.filter(is_control=True).values_list("key", flat=True)) == ["short"]


def test_metric_without_a_name_is_called_by_its_key_also_when_sent_again() -> None:
    metric = {"key": "m", "source": "response:cost"}
    experiment = made(metrics=[metric], requires_review=False)
    assert experiment.metrics.get().name == "m"
    started = lifecycle.start(experiment, by=None, now=NOW)
    assert drafts.edit(started, {"metrics": [metric]}, by=None, now=LATER).version == started.version


@pytest.mark.parametrize("value", [True, 2, "1"])
def test_edit_of_a_config_to_another_type_is_a_change(value: Any) -> None:
    experiment = made(config_schema=None, variants=[{"key": "a", "weight_bp": 1, "config": {"x": 1}}])
    row = {"key": "a", "weight_bp": 1}
    same = drafts.edit(experiment, {"variants": [row | {"config": {"x": 1.0}}]}, by=None, now=LATER)
    assert same.version == 1
    edited = drafts.edit(same, {"variants": [row | {"config": {"x": value}}]}, by=None, now=LATER)
    assert edited.version == 2
    assert ExperimentEvent.objects.latest("id").after["variants"][0]["config"] == {"x": value}
    connection.check_constraints()


def test_owner_is_set_by_name_and_may_be_nobody(django_user_model: type[User]) -> None:
    ann = django_user_model.objects.create(username="ann")
    experiment = made(owner="ann")
    assert experiment.owner == ann
    started = running(key="another")
    assert drafts.edit(started, {"owner": "ann"}, by=None, now=LATER).owner == ann
    # Who has left since still owns it, and is given to nothing else.
    django_user_model.objects.update(is_active=False)
    assert drafts.edit(experiment, {"owner": "ann"}, by=None, now=LATER).owner == ann
    with pytest.raises(InvalidInput, match="no active user"):
        made("third", owner="ann")
    assert drafts.edit(experiment, {"owner": None}, by=None, now=LATER).owner is None


def test_what_reading_adds_to_variants_and_steps_is_ignored() -> None:
    variants = [one | {"version": 7, "config_hash": "0" * 16} for one in DEFINITION["variants"]]
    ramp = [one | {"reached_at": "2020-01-01T00:00:00Z"} for one in DEFINITION["ramp"]]
    experiment = made(variants=variants, ramp=ramp)
    assert set(experiment.variants.values_list("version", flat=True)) == {1}
    assert set(experiment.ramp.values_list("reached_at", flat=True)) == {None}


def test_edit_of_what_runs_takes_all_that_is_as_it_was_with_one_change() -> None:
    experiment = running()
    whole = drafts.exported(experiment)["definition"] | {
        "state": "running",
        "key": experiment.key,
        "epoch": 1,
    }
    edited = drafts.edit(experiment, whole | {"name": "another"}, by=None, now=LATER)
    assert (edited.name, edited.version) == ("another", 3)
    rows = list(Variant.objects.values_list("pk", "key"))
    one, *others = whole["variants"]
    for changes, field in [
        ({"coverage_bp": 5_000}, "coverage_bp"),
        ({"variants": [one | {"weight_bp": 4_000}, *others]}, "variants"),
        ({"variants": [*others, one]}, "variants"),
        ({"variants": others}, "variants"),
        ({"variants": [one | {"config": {"model": True}}, *others]}, "variants"),
        ({"metrics": [{"key": "m", "name": "m", "source": "response:cost"}]}, "metrics"),
        ({"ramp": [{"coverage_bp": 10_000}]}, "ramp"),
    ]:
        with pytest.raises(InvalidTransition) as refused:
            drafts.edit(edited, whole | changes, by=None, now=LATER)
        assert (refused.value.field, bool(refused.value.fix)) == (field, True)
    assert list(Variant.objects.values_list("pk", "key")) == rows


@pytest.mark.parametrize(
    ("stored", "sent", "is_change"),
    [
        ({"t": 1.0}, {"t": 1}, False),
        ({"t": 1}, {"t": True}, True),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, False),
    ],
)
def test_config_that_is_sent_back_is_compared_as_json(
    stored: dict[str, Any], sent: dict[str, Any], is_change: bool
) -> None:
    variants = [
        {"key": "a", "weight_bp": 5_000, "is_control": True, "config": stored},
        {"key": "b", "weight_bp": 5_000},
    ]
    experiment = drafts.create("json", {"name": "x", "variants": variants}, by=None, now=NOW)
    experiment = lifecycle.start(experiment, by=None, now=NOW)
    sent_back = [variants[0] | {"config": sent}, variants[1]]
    if is_change:
        with pytest.raises(InvalidTransition):
            drafts.edit(experiment, {"variants": sent_back}, by=None, now=LATER)
    else:
        assert drafts.edit(experiment, {"variants": sent_back}, by=None, now=LATER).version == 2


def test_stop_time_of_what_runs_lies_ahead_and_one_that_has_passed_may_stay() -> None:
    experiment = running()
    with pytest.raises(InvalidInput) as refused:
        drafts.edit(experiment, {"stops_at": NOW}, by=None, now=LATER)
    assert refused.value.field == "stops_at"
    soon = LATER + timedelta(hours=1)
    edited = drafts.edit(experiment, {"stops_at": soon}, by=None, now=LATER)
    assert edited.stops_at == soon
    # Nobody has stopped it yet: another edit says the same time again.
    much_later = soon + timedelta(hours=1)
    edited = drafts.edit(edited, {"stops_at": soon.isoformat(), "name": "late"}, by=None, now=much_later)
    assert (edited.stops_at, edited.name) == (soon, "late")


def test_stop_time_of_what_was_started_early_may_lie_before_its_planned_start() -> None:
    experiment = made(starts_at="2026-06-01T00:00:00Z", requires_review=False)
    experiment = lifecycle.start(experiment, by=None, now=NOW)
    edited = drafts.edit(experiment, {"stops_at": "2026-05-01T00:00:00Z"}, by=None, now=LATER)
    assert edited.stops_at is not None


def test_edit_after_new_weights_takes_what_was_read_then() -> None:
    experiment = running()
    weights = {"gpt-4": 2_000, "claude-2": 3_000, "llama2-70b": 5_000}
    experiment = epochs.change_weights(experiment, EpochKind.STICKY, weights, by=None, now=NOW)
    whole = drafts.exported(experiment)["definition"]
    assert drafts.edit(experiment, whole | {"name": "y"}, by=None, now=LATER).name == "y"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"format": "another/1", "definition": {}},
        {"format": drafts.FORMAT},
        {"format": drafts.FORMAT, "definition": []},
        {"format": drafts.FORMAT, "definition": {}},
        {"format": drafts.FORMAT, "key": "a b", "definition": {"name": "x"}},
        {"format": drafts.FORMAT, "key": ["a"], "definition": {"name": "x"}},
        {"format": drafts.FORMAT, "key": "a\0", "definition": {"name": "x"}},
        {"format": drafts.FORMAT, "key": "\ud800", "definition": {"name": "x"}},
    ],
)
def test_bad_document_is_refused_with_its_field(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        drafts.imported(document, by=None, now=NOW)
    assert refused.value.field
    assert not Experiment.objects.exists()


TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["a\0", "\ud800", "nan", "1", "$ref", "x" * 300]
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**31, 2**63, 10**400, -1, 0, 10_000, 1e308, float("inf"), float("nan")])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
VARIANT = st.fixed_dictionaries(
    {},
    optional={
        "key": TEXTS | st.sampled_from(["a", "b"]) | JSON,
        "weight_bp": st.sampled_from([5_000, 0]) | JSON,
        "is_control": st.booleans() | JSON,
        "config": st.dictionaries(TEXTS, JSON, max_size=2) | JSON,
    },
)
METRIC = st.fixed_dictionaries(
    {"key": st.sampled_from(["m", "n"]) | JSON, "name": st.just("m") | JSON},
    optional={
        "source": st.sampled_from(["response:cost", "net_benefit"]) | JSON,
        "kind": st.sampled_from(["quantile", "rare"]) | JSON,
        "role": st.just("primary") | JSON,
        "cap": NUMBERS | JSON,
        "quantile": NUMBERS | JSON,
        "worth": NUMBERS | JSON,
        "window_days": NUMBERS | JSON,
    },
)
SCHEMA = st.dictionaries(
    st.sampled_from(
        ["type", "pattern", "properties", "multipleOf", "required", "$schema", "$id", "allOf", "not"]
    ),
    st.sampled_from(["object", "(", {}, [], {"x": {"multipleOf": 1e-300}}]) | JSON,
    max_size=3,
)
STEP = st.fixed_dictionaries({}, optional={"coverage_bp": NUMBERS | JSON, "after_hours": NUMBERS | JSON})
DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*drafts.FIELDS, "layer", "nonsense"), JSON),
        "name": st.just("x") | JSON,
        "targeting": st.dictionaries(TEXTS, JSON, max_size=3),
        "config_schema": SCHEMA | JSON,
        "variants": st.lists(VARIANT, max_size=3) | JSON,
        "metrics": st.lists(METRIC, max_size=3) | JSON,
        "ramp": st.lists(STEP, max_size=3) | JSON,
    },
)
ONE_FIELD = st.sampled_from((*drafts.FIELDS, "layer", *drafts.PARTS)).flatmap(
    lambda name: st.fixed_dictionaries({name: JSON})
)


@given(
    st.builds(lambda base, changes: base | changes, st.sampled_from([{}, {"name": "x"}]), DOCUMENT)
    | st.builds(lambda changes: {"name": "x"} | changes, ONE_FIELD)
    | st.builds(lambda one: {"name": "x", "variants": [one]}, VARIANT)
    | st.builds(lambda one: {"name": "x", "metrics": [one]}, METRIC)
    | st.builds(
        lambda schema, config: {
            "name": "x",
            "config_schema": schema,
            "variants": [{"key": "a", "weight_bp": 1, "config": config}],
        },
        SCHEMA,
        st.dictionaries(st.just("x") | TEXTS, JSON, max_size=2),
    ),
    st.sampled_from(["fuzzed", "", "a b"]),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_document_of_any_json_is_a_draft_or_a_problem(definition: dict[str, Any], key: str) -> None:
    document = {"format": drafts.FORMAT, "key": key, "definition": definition}
    with transaction.atomic():
        problem = _problem_of(document)
        transaction.set_rollback(True)
    if problem is not None:
        assert problem.status == 400
        assert problem.field
        json.dumps(problem.as_dict())


def _problem_of(document: dict[str, Any]) -> Problem | None:
    try:
        experiment = drafts.imported(document, by=None, now=NOW)
    except Problem as problem:
        return problem
    # What is a draft can also be read, copied and checked.
    connection.check_constraints()
    json.dumps(drafts.exported(experiment), allow_nan=False)
    lifecycle.missing_for_start(experiment, list(experiment.variants.all()))
    drafts.clone(experiment, "copied", by=None, now=NOW)
    return None


def test_config_schema_with_numbers_beyond_floats_is_a_sentence() -> None:
    draft()
    schema = {"properties": {"n": {"multipleOf": 0.1}}}
    with pytest.raises(InvalidInput, match="too large"):
        drafts.create(
            "huge",
            {
                "name": "x",
                "config_schema": schema,
                "variants": [{"key": "a", "weight_bp": 1, "config": {"n": 10**400}}],
            },
            by=None,
            now=NOW,
        )
