"""Results and plans over REST and on the page: the same numbers, from the same function."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from experiments import drafts, lifecycle, overview, pictures
from experiments.admin.results import ramp, service
from experiments.analysis.look import look
from experiments.exposures import collect
from experiments.models import Experiment, ExperimentMetric, Look, LookEstimate
from experiments.results import lines, results
from feedback.models import ApiKey, Scope
from tests.experiments.factories import NOW
from tests.experiments.test_looks import SCORE, answers
from tests.experiments.world import COST, ERRORS, LATENCY, RED_FLAGS, Facts, defined, running

pytestmark = pytest.mark.django_db(transaction=True)

AT = "/api/v1/experiments/llm_model_ab_test"


def reader() -> Client:
    secret = ApiKey.new_secret()
    key = ApiKey(name="reader", scopes=[Scope.EXPERIMENTS_READ])
    key.take_secret(secret)
    key.save()
    return Client(headers={"authorization": f"Bearer {secret}"})


@pytest.fixture
def experiment() -> Experiment:
    """One that was looked at, with every type of metric."""
    made = running([SCORE, COST, LATENCY, ERRORS, RED_FLAGS])
    facts, random = Facts(made), np.random.default_rng(8)
    for variant, mean in (("a", 0.5), ("b", 0.55)):
        answers(
            facts,
            variant,
            random.normal(mean, 0.1, 300).clip(0, 1),
            cost=random.exponential(0.02, 300),
            latency_seconds=random.exponential(2.0, 300),
            attributes={"language": "en"},
        )
    collect.collect(NOW)
    look(made, now=NOW + timedelta(days=8))
    return Experiment.objects.get()


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin", password="x"))
    return client


def test_results_have_every_number_of_the_last_look(experiment: Experiment) -> None:
    body: dict[str, Any] = reader().get(f"{AT}/results").json()
    last = experiment.looks.get()
    assert body["decision"]["sentence"] == last.sentence
    assert body["units"] == 600
    assert [metric["key"] for metric in body["metrics"]] == ["score", "cost", "p95", "errors", "red_flags"]
    stored = {(row.metric, row.variant): row for row in last.estimates.all()}
    for metric in body["metrics"]:
        for arm in metric["arms"]:
            row = stored[metric["key"], arm["variant"]]
            for name in ("n", "value", "effect", "se", "low", "high", "log_e", "p_any", "verdict"):
                assert arm[name] == getattr(row, name)
    assert {check["name"] for check in body["health"]} >= {
        "split",
        "crossovers",
        "feedback rate",
        "whole week",
    }


def test_results_csv_has_a_line_for_each_metric_and_variant(experiment: Experiment) -> None:
    rows = list(csv.DictReader(io.StringIO(reader().get(f"{AT}/results.csv").content.decode())))
    assert len(rows) == 10
    assert {row["metric"] for row in rows} == {"score", "cost", "p95", "errors", "red_flags"}


def test_results_csv_has_the_numbers_of_the_json_after_the_first_columns(experiment: Experiment) -> None:
    rows = list(csv.DictReader(io.StringIO(reader().get(f"{AT}/results.csv").content.decode())))
    assert list(rows[0])[:20] == [
        "metric", "role", "type", "variant", "is_control", "n", "value", "value_low", "value_high", "effect", "se", "low",
        "high", "information", "z", "log_e", "p_any", "p_corrected", "boundary", "verdict",
    ]  # fmt: skip
    of = {(row["metric"], row["variant"]): row for row in rows}
    checked = set()
    for metric in results(experiment, NOW)["metrics"]:
        for one in metric["arms"]:
            row = of[metric["key"], one["variant"]]
            assert float(row["margin"]) == metric["margin"]
            relative, bayes, ratio = (one[name] or {} for name in ("relative", "bayes", "rate_ratio"))
            expected = {
                "relative_lift": relative.get("lift"), "relative_low": relative.get("low"),
                "relative_high": relative.get("high"), "chance_to_win": bayes.get("chance_to_win"),
                "expected_loss": bayes.get("expected_loss"), "harm_at_least": one["harm_at_least"],
                "information_fraction": one["information_fraction"], "rate_ratio_low": ratio.get("low"),
                "rate_ratio_high": ratio.get("high"),
            } | {name: (one["events"] or {}).get(name) for name in ("x_t", "x_c", "n_t", "n_c")}  # fmt: skip
            for name, value in expected.items():
                assert row[name] == ("" if value is None else str(value)), name
            checked |= {name for name, value in expected.items() if value is not None}
    assert checked >= {"relative_lift", "relative_high", "chance_to_win", "expected_loss", "n_t", "x_c"}


def test_csv_has_each_part_of_what_an_arm_has_as_objects() -> None:
    arm_of_b = {
        "variant": "b", "harm_at_least": 0.25, "information_fraction": 0.5, "relative": {"lift": 0.1, "low": 0.0, "high": None},
        "bayes": {"chance_to_win": 0.9, "expected_loss": 0.01, "prior_sd": 1.0}, "rate_ratio": {"low": 0.5, "high": 2.0},
        "events": {"x_t": 1, "x_c": 2, "n_t": 30, "n_c": 40}, "low": -7.0, "high": 7.0,
    }  # fmt: skip
    metric = {"key": "m", "role": "guardrail", "type": "rare", "margin": 0.02, "arms": [arm_of_b]}
    header, row = lines({"metrics": [metric]})
    assert dict(zip(header, row, strict=True)) == dict.fromkeys(header) | {
        "metric": "m", "role": "guardrail", "type": "rare", "variant": "b", "low": -7.0, "high": 7.0, "margin": 0.02,
        "harm_at_least": 0.25, "information_fraction": 0.5, "relative_lift": 0.1, "relative_low": 0.0, "chance_to_win": 0.9,
        "expected_loss": 0.01, "x_t": 1, "x_c": 2, "n_t": 30, "n_c": 40, "rate_ratio_low": 0.5, "rate_ratio_high": 2.0,
    }  # fmt: skip


def test_results_say_what_to_do_next_in_every_state_as_the_page_does(experiment: Experiment) -> None:
    def following() -> str:
        found: str = reader().get(f"{AT}/results").json()["decision"]["next"]
        variants = list(experiment.variants.counted())
        if not experiment.is_running:
            assert overview.sentence(experiment, variants, NOW).endswith(found)
        return found

    by: dict[str, Any] = {"by": None, "now": NOW + timedelta(days=9)}
    assert following()
    experiment = lifecycle.pause(experiment, **by)
    assert following() == "Resume or stop it."
    experiment = lifecycle.kill(experiment, **by)
    assert following() == "Find out what happened; then resume it with a reason, or stop it."
    experiment = lifecycle.stop(experiment, **by)
    assert following() == "Ship a variant, or archive it."
    experiment = lifecycle.ship(experiment, "b", **by)
    assert following() == "Once b is built into the product, archive this."


def test_kill_freezes_the_units_of_the_last_look_and_what_it_said(experiment: Experiment) -> None:
    lifecycle.kill(experiment, by=None, now=NOW + timedelta(days=9))
    evidence = experiment.events.get(action="kill").evidence
    last = experiment.looks.get()
    assert evidence["look"]["id"] == last.pk
    assert (evidence["look"]["decision"], evidence["look"]["sentence"]) == (last.decision, last.sentence)
    assert (evidence["units"], evidence["units_source"]) == ({"a": 300, "b": 300}, "last look")
    assert (evidence["affected_count"], evidence["affected"], evidence["control"]) == (
        300,
        "300 units of b",
        "a",
    )


def test_looks_are_listed_with_their_estimates(experiment: Experiment) -> None:
    (one,) = reader().get(f"{AT}/looks").json()["results"]
    assert len(one["estimates"]) == 10


def test_results_of_a_draft_say_that_nobody_has_looked() -> None:
    defined([SCORE])
    body = reader().get(f"{AT}/results").json()
    assert body["decision"]["sentence"] == "Nobody has looked yet."
    assert reader().get(f"{AT}/results?x=1").status_code == 400


def test_page_shows_the_decision_the_plots_and_the_table(experiment: Experiment, admin: Client) -> None:
    page = admin.get(f"/admin/experiments/experiment/{experiment.pk}/change/").content.decode()
    assert experiment.looks.get().sentence.split("<")[0][:40] in page
    for part in ("chart-effects", "chart-traffic", "not error-controlled when you peek"):
        assert part in page
    rest = admin.get(f"/admin/experiments/experiment/{experiment.pk}/results/").content.decode()
    assert "chart-over-time" in rest


def arm(variant: str, effect: float | None = None, width: float = 0.0, **values: Any) -> dict[str, Any]:
    low, high = (None, None) if effect is None else (effect - width, effect + width)
    own = {"variant": variant, "is_control": variant == "a", "effect": effect, "low": low, "high": high}
    return own | {"text": "" if effect is None else f"about {effect:g}", "verdict": "open"} | values


def found_with(*metrics: dict[str, Any]) -> dict[str, Any]:
    """The part of `results` that the plot of effects reads."""
    plain = {"role": "secondary", "better": "higher", "margin": 0.0, "style": "number"}
    return {
        "variants": [{"key": "a", "is_control": True}, {"key": "b", "is_control": False}],
        "decision": {"sentence": "Nobody has looked yet."},
        "metrics": [plain | metric for metric in metrics],
    }


def test_forest_shows_every_effect_in_its_own_unit_and_scale() -> None:
    chart = pictures.forest(
        found_with(
            {
                "name": "thumbs-up",
                "role": "primary",
                "style": "share",
                "arms": [arm("a"), arm("b", 0.02, 0.01)],
            },
            {"name": "p95", "style": "seconds", "better": "lower", "arms": [arm("a"), arm("b", 40.0, 20.0)]},
            {"name": "cost", "style": "money", "better": "lower", "arms": [arm("a"), arm("b", -3e-6, 1e-6)]},
        )
    )
    panels = chart.options["panels"]
    assert [(panel["title"], panel["style"], panel["reach"]) for panel in panels] == [
        ("thumbs-up", "points", 0.04),
        ("p95", "seconds", 80.0),
        ("cost", "money", 5e-6),
    ]
    assert [panel["isHigherBetter"] for panel in panels] == [True, False, False]
    assert [[row["label"] for row in panel["rows"]] for panel in panels] == [["b"], ["b"], ["b"]]
    assert panels[1]["rows"][0] | {"colour": ""} == {
        "label": "b",
        "text": "about 40",
        "ends": [40.0, 20.0, 60.0],
        "colour": "",
    }
    assert chart.rows[0] == ("thumbs-up, b", "about 0.02", "open")
    assert "p95, b: about 40" in chart.description


def test_forest_says_and_draws_the_margin_of_a_metric() -> None:
    arms = [arm("a"), arm("b", 0.01, 0.01)]
    chart = pictures.forest(
        found_with(
            {
                "name": "errors",
                "role": "guardrail",
                "better": "lower",
                "style": "share",
                "margin": 0.02,
                "arms": arms,
            },
            {"name": "score", "arms": arms},
        )
    )
    guarded, free = chart.options["panels"]
    assert guarded["note"] == "guardrail, lower is better, margin 2.00\N{NARROW NO-BREAK SPACE}points"
    assert (guarded["threshold"], free["threshold"]) == (0.02, None)
    assert "dashed" in chart.unit
    assert "dashed" not in pictures.forest(found_with({"name": "score", "arms": arms})).unit


def test_forest_says_of_a_margin_off_the_scale_that_it_is_not_drawn() -> None:
    far = {"name": "score", "margin": 5.0, "arms": [arm("a"), arm("b", 0.01, 0.01)]}
    near = {"name": "other", "margin": 0.02, "arms": [arm("a"), arm("b", 0.01, 0.01)]}
    waiting = {"name": "third", "margin": 5.0, "arms": [arm("a"), arm("b")]}
    notes = [panel["note"] for panel in pictures.forest(found_with(far, near, waiting)).options["panels"]]
    assert [note.split(", ")[-1] for note in notes] == [
        "margin 5.00 lies beyond this scale",
        "margin 0.0200",
        "margin 5.00",
    ]


def history(*days: int) -> list[dict[str, Any]]:
    plain = {"variant": "b", "n": 9, "effect": 0.1, "low": 0.0, "high": 0.2}
    return [plain | {"at": (NOW + timedelta(days=day)).isoformat()} for day in days]


@pytest.mark.parametrize(
    ("looks", "days", "said"),
    [
        (0, (), "The effect at every look will be drawn here"),
        (1, (1,), "One look so far; the line begins with the second."),
        (2, (2,), "One look with an effect so far; the line begins with the second."),
    ],
)
def test_effect_over_time_with_less_than_two_looks_says_so(
    looks: int, days: tuple[int, ...], said: str
) -> None:
    chart = pictures.over_time(found_with() | {"history": history(*days), "look_count": looks}, [])
    assert chart.empty.startswith(said)


def test_effect_over_time_with_two_looks_is_drawn() -> None:
    chart = pictures.over_time(found_with() | {"history": history(1, 2), "look_count": 2}, [])
    assert not chart.empty
    assert len(chart.rows) == 2


def test_page_shows_a_check_that_could_not_be_made_as_neutral(experiment: Experiment, admin: Client) -> None:
    last = experiment.looks.get()
    unknown = {"name": "fallbacks", "level": "none", "sentence": "no response says it.", "numbers": {}}
    Look.objects.create(
        experiment=experiment,
        phase=last.phase,
        at=last.at,
        seconds=1.0,
        unit_count=600,
        decision="keep",
        sentence="Keep.",
        health={**last.health, "checks": [unknown]},
    )
    body = admin.get(f"/admin/experiments/experiment/{experiment.pk}/results/").content.decode()
    checks = body.split('class="ex-checks"')[1].split("</ul>")[0]
    assert 'class="to-neutral"' in checks
    assert "help_outline" in checks
    assert "<strong>fallbacks</strong>: cannot be checked. No response says it." in checks


def test_responses_of_a_variant_are_counted_in_whole_numbers() -> None:
    names = ("error_rate", "latency_mean", "latency_p50", "latency_p95", "cost_mean", "cost_total")
    one = {"variant": "a", "responses": 96} | dict.fromkeys(names)
    assert service({"service": [one]})[0]["responses"] == "96"


def test_page_labels_every_cell_of_the_numbers(experiment: Experiment, admin: Client) -> None:
    body = admin.get(f"/admin/experiments/experiment/{experiment.pk}/results/").content.decode()
    cells = body.split('data-part="numbers"')[1].split("<tbody>")[1].split("</tbody>")[0]
    # Ten rows of six cells; on a narrow screen each cell shows its own heading.
    assert cells.count("<td") == cells.count("<td data-label=") == 60


def test_page_says_of_a_relative_effect_without_an_interval_that_it_has_none_yet(
    experiment: Experiment, admin: Client
) -> None:
    last = experiment.looks.get()
    look_again = Look.objects.create(
        experiment=experiment,
        phase=last.phase,
        at=last.at,
        seconds=1.0,
        unit_count=600,
        decision="keep",
        sentence="Keep.",
        health=last.health,
    )
    relative = {"lift": -0.16, "low": None, "high": None}
    LookEstimate.objects.create(
        look=look_again, metric="score", variant="b", n=300, details={"relative": relative}
    )
    body = admin.get(f"/admin/experiments/experiment/{experiment.pk}/results/").content.decode()
    assert "-16\N{NARROW NO-BREAK SPACE}% (no finite interval yet)" in body


def test_forest_with_too_little_data_says_so() -> None:
    waiting = pictures.forest(found_with({"name": "score", "arms": [arm("a"), arm("b")]}))
    assert waiting.empty == "Not enough data yet. Nobody has looked yet."
    assert not waiting.rows
    assert pictures.forest(found_with()).empty.startswith("The experiment has no metric")


def test_segments_are_named_with_their_units_and_written_in_points() -> None:
    metric = ExperimentMetric(key="m", name="m", role="primary", kind="proportion", better="lower")
    parts = [
        {"value": "en", "units": 1_240, "effect": 0.02, "low": 0.01, "high": 0.03},
        {"value": "es", "units": 3},
    ]
    segment = {
        "attribute": "language",
        "variant": "b",
        "segments": parts,
        "is_simpson": False,
        "heterogeneity_p": None,
    }
    (chart,) = pictures.segment_charts(found_with() | {"segments": [segment]}, [metric])
    (panel,) = chart.options["panels"]
    space = "\N{NARROW NO-BREAK SPACE}"
    assert [(row["label"], row["text"]) for row in panel["rows"]] == [
        (f"en (n = 1{space}240)", f"2.00{space}points (1.00 to 3.00{space}points)"),
        ("es (n = 3)", "not enough data yet"),
    ]
    assert (panel["style"], panel["isHigherBetter"]) == ("points", False)


def ramped(taken: int, state: str = "running", waits_for: str = "") -> dict[str, Any]:
    at = NOW.isoformat()
    steps = [
        {
            "coverage_bp": bp,
            "after_hours": 24.0,
            "after_units": units,
            "reached_at": at if number < taken else None,
        }
        for number, (bp, units) in enumerate(((5_000, 0), (10_000, 100)))
    ]
    epochs = [{"coverage_bp": 1_000, "started_at": at}, {"coverage_bp": 2_000, "started_at": at}]
    return {"state": state, "epochs": epochs, "ramp": {"steps": steps, "waits_for": waits_for}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ramped(1, waits_for="It waits for a look."), "It waits for a look."),
        (ramped(1), "The next step, 100 %, is due and will be taken by itself."),
        (ramped(0, "paused"), "The next step, 50 %, waits until the experiment runs again."),
        (ramped(0, "stopped"), "It ended before the next step, 50 %."),
        (ramped(2, "stopped"), "All steps are taken."),
    ],
)
def test_ramp_says_what_it_waits_for(found: dict[str, Any], said: str) -> None:
    assert ramp(found).sentence == f"Coverage is 20 %. {said}"


def test_ramp_shows_what_is_taken_next_and_later() -> None:
    shown = ramp(ramped(0))
    assert shown.title == "Ramp: 0 of 2 steps taken"
    assert [(step.coverage, step.condition, step.taken_at, step.is_next) for step in shown.steps] == [
        ("10 %", "at the start", NOW, False),
        ("50 %", "after 24 h", None, True),
        ("100 %", "after 24 h and 100 units in each variant", None, False),
    ]


def test_page_of_a_ramped_experiment_shows_the_step_and_what_it_waits_for(admin: Client) -> None:
    definition = {
        "name": "Slow start",
        "coverage_bp": 1_000,
        "variants": [{"key": "a", "is_control": True, "weight_bp": 5_000}, {"key": "b", "weight_bp": 5_000}],
        "ramp": [{"coverage_bp": 5_000, "after_hours": 24}],
    }
    draft = drafts.create("slow", definition, by=None, now=timezone.now())
    made = lifecycle.start(draft, by=None, now=timezone.now())
    whole = admin.get(f"/admin/experiments/experiment/{made.pk}/results/").content.decode()
    assert "Ramp: 0 of 1 step taken" in whole
    assert "Coverage is 10 %. The next step, 50 %, is not taken before" in whole
    page = admin.get(f"/admin/experiments/experiment/{made.pk}/change/").content.decode()
    assert "<h2>Ramp</h2>" in page


def test_page_without_a_ramp_shows_none(experiment: Experiment, admin: Client) -> None:
    whole = admin.get(f"/admin/experiments/experiment/{experiment.pk}/results/").content.decode()
    assert '<section data-part="ramp" class="to-panel" hidden>' in whole
    assert "Ramp:" not in whole


def test_live_parts_cost_few_queries(
    experiment: Experiment, admin: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    address = f"/admin/experiments/experiment/{experiment.pk}/results/"
    admin.get(address)
    with django_assert_max_num_queries(18):
        assert admin.get(address).status_code == 200


def test_numbers_can_be_downloaded(experiment: Experiment, admin: Client) -> None:
    answer = admin.get(f"/admin/experiments/experiment/{experiment.pk}/numbers/")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="llm_model_ab_test-results.csv"'
    assert len(answer.content.splitlines()) == 11


def test_power_plans_from_what_units_did(experiment: Experiment, admin: Client) -> None:
    # The facts are of the days around NOW, which is in the past of the clock: there is nothing to plan from yet.
    refused = reader().get(f"{AT}/power?effect=0.02")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/too-little-to-plan")
    page = admin.get(f"/admin/experiments/experiment/{experiment.pk}/power/?metric=score&power=80")
    assert "planning needs 30" in page.content.decode()


def test_results_are_json_of_plain_values(experiment: Experiment) -> None:
    json.dumps(results(experiment, NOW), allow_nan=False)


@pytest.mark.parametrize("effect", ["1e-300", "-1e-300", "nan", "x"])
def test_power_of_an_effect_that_is_none_is_refused(effect: str) -> None:
    made = running([SCORE])
    answers(
        Facts(made, timezone.now() - timedelta(days=2)),
        "a",
        np.linspace(0, 1, 60),
        at=timezone.now() - timedelta(days=2),
    )
    answer = reader().get(f"{AT}/power?effect={effect}")
    assert (answer.status_code, answer.json()["field"]) == (400, "effect")


def test_power_needs_more_units_for_a_smaller_effect() -> None:
    made = running([SCORE])
    at = timezone.now() - timedelta(days=2)
    answers(Facts(made, at), "a", np.linspace(0, 1, 60), at=at)
    small, large = (reader().get(f"{AT}/power?effect={effect}").json()["needed"] for effect in (0.01, 0.1))
    for design in ("fixed", "group_sequential", "always_valid"):
        assert small["units"][design] == pytest.approx(100 * large["units"][design], rel=0.05)
    assert large["units"]["fixed"] < large["units"]["group_sequential"] < large["units"]["always_valid"]
