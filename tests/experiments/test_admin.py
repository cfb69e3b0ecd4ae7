import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from experiments import allocation, forcing, layers, lifecycle
from experiments.forms import equal_weights
from experiments.models import (
    Assignment,
    Experiment,
    ExperimentEvent,
    ExperimentMetric,
    ForcedVariant,
    Layer,
    RampStep,
    State,
    Variant,
)  # fmt: skip
from feedback.models import QualityMetric
from tests.experiments.admin_pages import (
    ADD,
    ARMS,
    ASSIGNMENTS,
    HOLDOUT,
    IMPORT,
    LAYERS,
    LIST,
    form,
    metric,
    page,
    text,
)
from tests.experiments.factories import NOW, draft, running, stopped, units

pytestmark = pytest.mark.django_db


def stored() -> list[tuple[str, int, bool]]:
    return list(Variant.objects.order_by("position").values_list("key", "weight_bp", "is_control"))


def test_add_stores_a_draft_with_variants_in_order(admin_client: Client) -> None:
    answer = admin_client.post(ADD, form(ARMS, coverage_bp="12.34"))
    experiment = Experiment.objects.get()
    assert answer.headers["Location"] == page(experiment)
    assert (experiment.state, experiment.coverage_bp, experiment.version) == (State.DRAFT, 1_234, 1)
    assert stored() == [("gpt-4", 5_000, True), ("claude-2", 3_000, False), ("llama2-70b", 2_000, False)]
    assert Variant.objects.get(key="gpt-4").config == {"model": "gpt-4"}


def test_add_page_suggests_the_reader_as_owner(admin_client: Client, admin_user: User) -> None:
    form_shown = admin_client.get(ADD).context["adminform"].form
    assert form_shown["owner"].value() == admin_user.pk


@pytest.mark.parametrize("count", [2, 3, 6, 7, 10])
def test_add_without_weights_shares_equally(admin_client: Client, count: int) -> None:
    admin_client.post(ADD, form([(f"arm-{number}", "", number == 0) for number in range(count)]))
    weights = [weight for _, weight, _ in stored()]
    assert weights == equal_weights(count)
    assert (sum(weights), max(weights) - min(weights) <= 1) == (10_000, True)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([("a", "50", True), ("b", "40", False)], "The weights sum to 90 %: add 10 %, or empty all of them"),
        ([("a", "33.34", True), ("b", "66.67", False)], "The weights sum to 100.01 %: take away 0.01 %"),
        ([("a", "50", True), ("b", "", False)], "Some weights are empty; fill in all of them, or none"),
        (
            [("a", "50", True), ("b", "50", True)],
            "Several variants are marked as the control; mark only one.",
        ),
        ([("a", "50", True), ("a", "50", False)], "Please correct the duplicate"),
        ([("a", "101", True), ("b", "0", False)], "Enter a percentage from 0 to 100."),
        ([("a", "-1", True), ("b", "0", False)], "Enter a percentage from 0 to 100."),
        ([("a", "NaN", True), ("b", "0", False)], "Enter a percentage, such as 33.34."),
        ([("a", "half", True), ("b", "0", False)], "Enter a percentage, such as 33.34."),
        ([("a", "33.333", True), ("b", "0", False)], "Enter at most two decimals"),
        ([("a b", "50", True), ("b", "50", False)], "Use letters, digits"),
    ],
)
def test_add_with_wrong_variants_says_what_to_do(
    admin_client: Client, arms: list[tuple[str, str, bool]], said: str
) -> None:
    answer = admin_client.post(ADD, form(arms))
    assert answer.status_code == 200
    assert said in text(answer)
    assert not Experiment.objects.exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[]", "must be an object"),
        ('"text"', "must be an object"),
        ("{", "This is not JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": 1, "a": 2}', "the name 'a' stands twice"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_add_with_wrong_config_says_what_is_wrong(admin_client: Client, config: str, said: str) -> None:
    answer = admin_client.post(ADD, form(ARMS, None, **{"variants-1-config": config}))
    assert said in text(answer)
    assert not Experiment.objects.exists()


def test_empty_config_is_the_empty_object(admin_client: Client) -> None:
    admin_client.post(ADD, form(ARMS, None, **{"variants-0-config": ""}))
    assert Variant.objects.get(key="gpt-4").config == {}


def test_change_of_a_draft_moves_the_control_and_counts_the_version(admin_client: Client) -> None:
    experiment = draft()
    arms = [
        ("gpt-4", "10", False),
        ("claude-2", "60", True),
        ("llama2-70b", "20", False),
        ("new", "10", False),
    ]
    answer = admin_client.post(page(experiment), form(arms, experiment))
    assert answer.status_code == 302
    assert stored() == [
        ("gpt-4", 1_000, False),
        ("claude-2", 6_000, True),
        ("llama2-70b", 2_000, False),
        ("new", 1_000, False),
    ]
    assert Experiment.objects.get().version == 2


def test_change_of_a_draft_swaps_keys_and_deletes(admin_client: Client) -> None:
    experiment = draft()
    names = {"variants-0-key": "claude-2", "variants-1-key": "gpt-4", "variants-2-DELETE": "on"}
    weights = {"variants-0-weight_bp": "40", "variants-1-weight_bp": "60"}
    answer = admin_client.post(page(experiment), form(ARMS, experiment, **names, **weights))
    assert answer.status_code == 302
    assert stored() == [("claude-2", 4_000, True), ("gpt-4", 6_000, False)]


def test_change_with_cleared_weights_shares_equally(admin_client: Client) -> None:
    experiment = draft()
    admin_client.post(page(experiment), form([(key, "", control) for key, _, control in ARMS], experiment))
    assert [weight for _, weight, _ in stored()] == [3_334, 3_333, 3_333]


def test_change_of_a_draft_that_somebody_else_changed_is_refused(admin_client: Client) -> None:
    experiment = draft()
    Experiment.objects.update(version=2, name="Another name")
    answer = admin_client.post(page(experiment), form(ARMS, experiment))
    assert "Somebody changed this experiment while you were editing it" in text(answer)
    assert Experiment.objects.get().name == "Another name"


THUMBS = {"key": "thumbs_up", "name": "thumbs-up share", "source": "feedback:positive", "role": "primary"}


def test_every_field_of_the_definition_is_stored(admin_client: Client, admin_user: User) -> None:
    layer = layers.save(Layer(key="prompt"), by=None, now=NOW)
    changes = {
        "hypothesis": "cheaper", "owner": admin_user.pk, "unit_attribute": "clinic_id", "layer": layer.pk,
        "layer_share_bp": "25", "targeting": '{"language": "es"}', "design": "group_sequential", "alpha": "2.5",
        "correction": "e_bh", "minimum_sample": "50", "planned_sample": "4000", "minimum_effect": "0.02",
        "minimum_days": "14", "planned_end_at_0": "2026-05-01", "planned_end_at_1": "10:00", "starts_at_0": "2026-04-01",
        "starts_at_1": "10:00", "stops_at_0": "2026-06-01", "stops_at_1": "10:00", "requires_review": "on",
        "auto_ship": "on", "config_schema": '{"required": ["model"]}', "bandit_floor_bp": "3", "bandit_hours": "12",
    }  # fmt: skip
    answer = admin_client.post(ADD, form(ARMS, None, **changes))
    assert answer.status_code == 302
    one = Experiment.objects.get()
    assert (one.layer, one.layer_share_bp, one.targeting, one.alpha) == (
        layer,
        2_500,
        {"language": "es"},
        0.025,
    )
    assert (one.design, one.correction, one.planned_sample) == ("group_sequential", "e_bh", 4_000)
    assert one.planned_end_at == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert (one.requires_review, one.auto_ship, one.config_schema) == (True, True, {"required": ["model"]})
    assert (one.bandit_floor_bp, one.bandit_hours, one.minimum_days) == (300, 12, 14)
    assert "Where language is es." in text(admin_client.get(page(one)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targeting": '{"a": {"$in": 3}}'}, "a.$in"),
        ({"targeting": "{"}, "This is not JSON"),
        ({"targeting": "[]"}, "object"),
        ({"config_schema": '{"type": 5}'}, "This is no JSON Schema"),
        ({"config_schema": '{"$ref": "http://x"}'}, "may not refer to others"),
        (
            {"config_schema": '{"properties": {"model": {"type": "number"}}}'},
            "It does not fit the schema. model: 'gpt-4' is not of type 'number'",
        ),
        ({"alpha": "50"}, "less than or equal to 0.2"),
        ({"alpha": ""}, "This field is required."),
        ({"layer_share_bp": "0"}, "greater than or equal to 1"),
        ({"minimum_sample": "3"}, "greater than or equal to 25"),
        ({"planned_sample": "3"}, "greater than or equal to 50"),
        ({"design": "magic"}, "Select a valid choice"),
        (
            {
                "starts_at_0": "2026-04-02",
                "starts_at_1": "10:00",
                "stops_at_0": "2026-04-01",
                "stops_at_1": "10:00",
            },
            "It would stop before it starts",
        ),
    ],
)
def test_wrong_definition_says_what_is_wrong(
    admin_client: Client, changes: dict[str, str], said: str
) -> None:
    answer = admin_client.post(ADD, form(ARMS, None, **changes))
    assert answer.status_code == 200
    assert said in text(answer)
    assert not Experiment.objects.exists()


@pytest.mark.parametrize(
    ("preset", "source", "kind", "better", "quantile"),
    [
        ("thumbs-up share", "feedback:positive", "ratio", "higher", None),
        ("cost per answer", "response:cost", "ratio", "lower", None),
        ("latency, 95th percentile", "response:latency_seconds", "quantile", "lower", 0.95),
        ("red flag: a rare event, exact test", "quality:red_flag", "rare", "lower", None),
        ("quality: toxicity", "quality:toxicity", "ratio", "lower", None),
    ],
)
def test_preset_alone_makes_a_whole_metric(
    admin_client: Client, preset: str, source: str, kind: str, better: str, quantile: float | None
) -> None:
    QualityMetric.objects.create(key="toxicity", direction="lower")
    sent = {"metrics-TOTAL_FORMS": 1} | metric(preset=preset)
    assert admin_client.post(ADD, form(ARMS, None, **sent)).status_code == 302
    made = ExperimentMetric.objects.get()
    assert (made.source, made.kind, made.better, made.quantile) == (source, kind, better, quantile)


def test_presets_stand_on_the_page_for_its_script(admin_client: Client) -> None:
    body = admin_client.get(ADD).content.decode()
    assert 'id="metric-presets" type="application/json"' in body
    assert "experiments/presets.js" in body


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([THUMBS, THUMBS | {"key": "b"}], "Several metrics are primary; only one decides."),
        ([THUMBS, THUMBS | {"role": "secondary"}], "Please correct the duplicate"),
        ([THUMBS | {"source": "feedback:love"}], "is not known. Use one of"),
        ([THUMBS | {"kind": "quantile"}], "Say which quantile, such as 0.95."),
        ([THUMBS | {"margin": "-1"}], "greater than or equal to 0"),
        ([THUMBS | {"key": "a b"}], "Use letters, digits"),
        ([THUMBS | {"alpha": "50"}], "less than or equal to 0.2"),
    ],
)
def test_wrong_metrics_say_what_is_wrong(admin_client: Client, rows: list[dict[str, str]], said: str) -> None:
    sent: dict[str, Any] = {"metrics-TOTAL_FORMS": len(rows)}
    for number, row in enumerate(rows):
        sent |= metric(number, **row)
    assert said in text(admin_client.post(ADD, form(ARMS, None, **sent)))
    assert not Experiment.objects.exists()


def with_metrics() -> Experiment:
    """A draft with two metrics and one step, made as a person does it."""
    experiment = draft(coverage_bp=1_000)
    sent = {"metrics-TOTAL_FORMS": 2, "ramp-TOTAL_FORMS": 1, "coverage_bp": "10"}
    sent |= metric(0, **THUMBS) | metric(1, preset="cost per answer", role="guardrail")
    sent |= {"ramp-0-coverage_bp": "50", "ramp-0-after_hours": "24", "ramp-0-after_units": "100"}
    User.objects.create_superuser("maker")
    client = Client()
    client.force_login(User.objects.get(username="maker"))
    assert client.post(page(experiment), form(ARMS, experiment, **sent)).status_code == 302
    experiment.refresh_from_db()
    return experiment


def test_metrics_and_ramp_alone_make_a_version_with_its_audit() -> None:
    experiment = with_metrics()
    assert experiment.version == 2
    event = ExperimentEvent.objects.get(action="edit")
    assert event.before["metrics"] == event.before["ramp"] == []
    assert [row["key"] for row in event.after["metrics"]] == ["thumbs_up", "cost"]
    assert event.after["ramp"] == [{"coverage_bp": 5_000, "after_hours": 24.0, "after_units": 100}]
    assert list(ExperimentMetric.objects.values_list("position", flat=True)) == [0, 1]


def test_metrics_exchange_their_keys_and_roles(admin_client: Client) -> None:
    experiment = with_metrics()
    first, second = experiment.metrics.all()
    sent = {"metrics-TOTAL_FORMS": 2, "metrics-INITIAL_FORMS": 2, "coverage_bp": "10"}
    sent |= metric(0, first, **THUMBS | {"key": "cost", "role": "guardrail"})
    sent |= metric(1, second, **THUMBS | {"key": "thumbs_up", "source": "response:cost"})
    step = RampStep.objects.get()
    sent |= {
        "ramp-TOTAL_FORMS": 1, "ramp-INITIAL_FORMS": 1, "ramp-0-id": step.pk, "ramp-0-experiment": experiment.pk,
        "ramp-0-coverage_bp": "60", "ramp-0-after_hours": "24", "ramp-0-after_units": "100",
    }  # fmt: skip
    assert admin_client.post(page(experiment), form(ARMS, experiment, **sent)).status_code == 302
    assert list(experiment.metrics.values_list("key", "role")) == [
        ("cost", "guardrail"),
        ("thumbs_up", "primary"),
    ]
    said = text(admin_client.get(page(experiment, "audit")))
    assert "ramp: 50 % after 24 h and 100 units → 60 % after 24 h and 100 units" in said


@pytest.mark.parametrize("steps", [["10"], ["50", "40"]])
def test_ramp_that_does_not_grow_is_refused(admin_client: Client, steps: list[str]) -> None:
    sent: dict[str, Any] = {"coverage_bp": "20", "ramp-TOTAL_FORMS": len(steps)}
    for number, step in enumerate(steps):
        sent |= {
            f"ramp-{number}-coverage_bp": step,
            f"ramp-{number}-after_hours": "1",
            f"ramp-{number}-after_units": "0",
        }
    assert "Each step needs more than the one before" in text(
        admin_client.post(ADD, form(ARMS, None, **sent))
    )


def test_variant_that_a_unit_was_forced_to_is_not_deleted(admin_client: Client) -> None:
    experiment = draft()
    forcing.force(experiment, "user-1", "llama2-70b", by=None, now=NOW)
    experiment.refresh_from_db()
    sent = {"variants-2-DELETE": "on", "variants-1-weight_bp": "50"}
    answer = admin_client.post(page(experiment), form(ARMS, experiment, **sent))
    assert "A unit was forced to llama2-70b" in text(answer)
    assert ForcedVariant.objects.exists()


def test_draft_page_lists_what_is_recommended(admin_client: Client) -> None:
    said = text(admin_client.get(page(draft())))
    assert "There is no primary metric: nothing will be decided." in said
    assert "There is no guardrail: nothing will halt a harmful variant." in said


def test_draft_page_lists_what_is_missing(admin_client: Client) -> None:
    said = text(admin_client.get(page(draft({"a": 4_000}, control=None))))
    assert "3 things are missing to start it." in said
    assert "It has 1 of at least two variants; add 1." in said
    assert "The weights sum to 40 %; make them 100 %." in said


def test_start_page_shows_the_effect_and_changes_nothing(admin_client: Client) -> None:
    experiment = draft(coverage_bp=3_000)
    said = text(admin_client.get(page(experiment, "start")))
    assert "It assigns 30 % of all users by weight: gpt-4 50 %, claude-2 30 %, llama2-70b 20 %." in said
    assert "The other 70 % get the config of the control gpt-4" in said
    assert "cannot be edited after the start" in said
    assert Experiment.objects.get().state == State.DRAFT


def test_start_page_of_an_incomplete_draft_has_no_button(admin_client: Client) -> None:
    answer = admin_client.get(page(draft({"a": 10_000}, control="a"), "start"))
    assert "llm_model_ab_test cannot start yet." in text(answer)
    assert "Start the experiment" not in text(answer)


def test_start_runs_with_audit_and_log_entry(admin_client: Client, admin_user: User) -> None:
    experiment = draft()
    answer = admin_client.post(
        page(experiment, "start"), {"version": 1, "reason": "agreed on Monday"}, follow=True
    )
    assert "The experiment llm_model_ab_test is running." in text(answer)
    event = ExperimentEvent.objects.get(action="start")
    assert (event.action, event.by, event.reason) == ("start", admin_user, "agreed on Monday")
    assert "Start. agreed on Monday" in LogEntry.objects.get().change_message
    assert Experiment.objects.get().started_at == event.at
    assert abs((datetime.now(UTC) - event.at).total_seconds()) < 60


def test_start_of_what_the_reader_did_not_see_is_refused(admin_client: Client) -> None:
    experiment = draft()
    Experiment.objects.update(version=2)
    answer = admin_client.post(page(experiment, "start"), {"version": 1}, follow=True)
    assert "was changed. Look at it again and repeat." in text(answer)
    assert Experiment.objects.get().state == State.DRAFT
    assert not LogEntry.objects.exists()


def test_stop_page_says_whom_it_moves_and_stop_stops(admin_client: Client) -> None:
    experiment = running({"gpt-4": 0, "claude-2": 10_000})
    for unit in units(3):
        allocation.assign(experiment.key, unit, now=NOW)
    said = text(admin_client.get(page(experiment, "stop")))
    assert "Everyone gets the config of the control gpt-4" in said
    assert "That changes it for 3 of 3 users assigned so far." in said
    admin_client.post(page(experiment, "stop"), {"version": 2})
    assert Experiment.objects.get().state == State.STOPPED


@pytest.mark.parametrize("make", [running, stopped])
def test_started_experiment_is_read_only(admin_client: Client, make: Any) -> None:
    experiment = make()
    body = admin_client.get(page(experiment)).content.decode()
    assert 'name="name"' not in body
    assert 'name="variants-0-key"' not in body
    assert admin_client.post(page(experiment), form(ARMS, experiment)).status_code == 403
    assert admin_client.get(page(experiment, "delete")).status_code == 403


def test_running_page_begins_with_the_state_and_ends_with_the_definition(admin_client: Client) -> None:
    experiment = running()
    for unit in units(40):
        allocation.assign(experiment.key, unit, now=NOW)
    said = text(admin_client.get(page(experiment)))
    assert ": 40 users assigned to 3 variants." in said
    assert said.index("assigned to 3 variants") < said.index("How it is decided")


def test_running_page_without_units_shows_how_to_ask(admin_client: Client) -> None:
    said = text(admin_client.get(page(running())))
    assert "curl http://testserver/api/v1/experiments/llm_model_ab_test/assign" in said


@pytest.mark.parametrize("name", ["change", "audit", "weights", "history"])
def test_breadcrumbs_and_title_name_the_key_as_it_is(admin_client: Client, name: str) -> None:
    body = admin_client.get(page(running(), name)).content.decode()
    crumbs = re.sub(r"<[^>]+>|\s+", " ", body[body.index("<h1") : body.index("</h1>")]).split()
    assert "llm_model_ab_test" in crumbs
    assert "Experiments" in crumbs
    assert "Llm_model_ab_test" not in body
    assert "llm_model_ab_test" in body[body.index("<title>") : body.index("</title>")]


def test_started_experiment_has_a_table_of_its_ramp_only_with_one(admin_client: Client) -> None:
    ramped = lifecycle.start(with_metrics(), by=None, now=NOW)
    assert 'id="ramp-group"' in admin_client.get(page(ramped)).content.decode()
    assert 'id="ramp-group"' not in admin_client.get(page(running(key="plain"))).content.decode()
    assert 'id="ramp-group"' in admin_client.get(page(draft(key="next"))).content.decode()


def test_audit_page_shows_each_change(admin_client: Client) -> None:
    said = text(admin_client.get(page(stopped(), "audit")))
    assert "state: running → stopped" in said
    assert "state: draft → running" in said


def test_list_says_the_state_of_all_and_the_split(admin_client: Client) -> None:
    running()
    draft(key="next")
    said = text(admin_client.get(LIST))
    assert "1 experiment is running; 1 draft." in said
    assert "gpt-4 50 % control" in said


def test_empty_lists_say_what_to_do(admin_client: Client) -> None:
    assert "Define the first one" in text(admin_client.get(LIST))
    assert "Start an experiment" in text(admin_client.get(ASSIGNMENTS))


def test_assignments_are_found_by_the_whole_unit(admin_client: Client) -> None:
    experiment = running()
    for unit in ("user 1", "user 10", "josé"):
        allocation.assign(experiment.key, unit, now=NOW)
    found = {
        term: [row.unit for row in admin_client.get(ASSIGNMENTS, {"q": term}).context["cl"].result_list]
        for term in ("user 1", "user", "josé", "'; --")
    }
    assert found == {"user 1": ["user 1"], "user": [], "josé": ["josé"], "'; --": []}


def test_assignments_are_filtered_by_experiment_and_its_variants(admin_client: Client) -> None:
    first, second = running({"gpt-4": 10_000, "b": 0}), running({"gpt-4": 0, "c": 10_000}, key="second")
    for experiment in (first, second):
        allocation.assign(experiment.key, "user-1", now=NOW)
    variant = second.variants.get(key="c")
    answer = admin_client.get(ASSIGNMENTS, {"experiment__id__exact": second.pk, "variant": variant.pk})
    assert [(row.experiment, row.variant) for row in answer.context["cl"].result_list] == [(second, variant)]
    assert admin_client.get(ASSIGNMENTS, {"experiment__id__exact": "x", "variant": "y"}).status_code in {
        200,
        302,
    }


def test_assignments_cannot_be_changed(admin_client: Client) -> None:
    allocation.assign(running().key, "user-1", now=NOW)
    row = Assignment.objects.get()
    assert admin_client.get(f"{ASSIGNMENTS}{row.pk}/change/").status_code == 200
    assert admin_client.post(f"{ASSIGNMENTS}{row.pk}/change/", {"unit": "x"}).status_code == 403
    assert admin_client.get(f"{ASSIGNMENTS}{row.pk}/delete/").status_code == 403
    assert admin_client.get(f"{ASSIGNMENTS}add/").status_code == 403


def test_reader_without_change_permission_sees_and_cannot_move(client: Client) -> None:
    reader = User.objects.create_user("reader", password="secret", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(reader)
    experiment = draft()
    assert client.get(page(experiment)).status_code == 200
    assert client.get(page(experiment, "start")).status_code == 403
    assert client.post(page(experiment, "start"), {"version": 1}).status_code == 403
    assert page(experiment, "start") not in client.get(page(experiment)).content.decode()
    assert Experiment.objects.get().state == State.DRAFT


@pytest.mark.parametrize("number", ["999999", "abc", "1'"])
def test_page_of_no_experiment_is_no_error(admin_client: Client, number: str) -> None:
    assert admin_client.get(f"{LIST}{number}/change/").status_code == 302
    assert admin_client.get(f"{LIST}{number}/start/").status_code == 404


def test_every_page_costs_at_most_ten_queries(admin_client: Client) -> None:
    first, ended, *many = (
        draft(key="d"),
        stopped(key="s"),
        *(running(key=f"r{number}") for number in range(12)),
    )
    for unit in units(20):
        allocation.assign("r0", unit, now=NOW)
        forcing.force(Experiment.objects.get(key="r0"), unit, "gpt-4", by=None, now=NOW)
    row = Assignment.objects.first()
    assert row is not None
    layer = layers.save(Layer(key="prompt"), by=None, now=NOW)
    paths = [
        LIST,
        f"{LIST}?state=all",
        ADD,
        IMPORT,
        LAYERS,
        f"{LAYERS}{layer.pk}/change/",
        HOLDOUT,
        f"{HOLDOUT}share/",
    ]
    paths += [
        ASSIGNMENTS,
        f"{ASSIGNMENTS}?experiment__id__exact={row.experiment_id}",
        f"{ASSIGNMENTS}{row.pk}/change/",
    ]
    for name in ("change", "start", "schedule", "request_review", "archive", "history", "clone", "export"):
        paths.append(page(first, name))
    for name in (
        "stop",
        "kill",
        "pause",
        "weights",
        "coverage",
        "revise",
        "epochs",
        "forced",
        "audit",
        "ask",
        "details",
    ):
        paths.append(page(many[0], name))
    paths.append(page(ended, "ship"))
    costs = {}
    for path in paths:
        admin_client.get(path)
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(path).status_code == 200, path
        costs[path] = len(captured)
    assert max(costs.values()) <= 10, costs
