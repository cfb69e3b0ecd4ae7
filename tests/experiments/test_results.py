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

from experiments.analysis.look import look
from experiments.exposures import collect
from experiments.models import Experiment
from experiments.results import results
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
