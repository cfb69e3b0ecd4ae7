"""The power page and its endpoint: three designs side by side, what they rest on, and what is no effect to find."""

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.models import Experiment
from tests.experiments.admin_pages import page, text
from tests.experiments.test_results import reader
from tests.experiments.world import COST, ERRORS, POSITIVE, Facts, defined

pytestmark = pytest.mark.django_db(transaction=True)

AT = "/api/v1/experiments/llm_model_ab_test/power"
SCORE: dict[str, Any] = {**POSITIVE, "source": "quality:score", "name": "score", "key": "score"}
LIKED: dict[str, Any] = {
    **POSITIVE,
    "kind": "proportion",
    "role": "secondary",
    "key": "liked",
    "name": "liked",
}
NONSENSE = ["0", "-0.02", "nan", "inf", "-inf", "1e-300", "1e300", "1e6", "x", "1e999"]


def made(**changes: Any) -> Experiment:
    """One whose product had 10 new units on each of the last 20 days, a score and an opinion of each."""
    experiment = defined([SCORE, LIKED, ERRORS], **changes)
    now = timezone.now()
    facts, random = Facts(None, now), np.random.default_rng(1)
    for number in range(200):
        at = now - timedelta(days=(number + 0.5) / 10)
        recorded = facts.respond(f"u-{number}", metrics={"score": float(random.random())}, after=at - now)
        facts.opine(recorded, "positive" if number % 4 else "negative")
    return experiment


@pytest.fixture
def experiment() -> Experiment:
    return made()


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin", password="x"))
    return client


def test_page_shows_three_designs_side_by_side_with_units_days_and_curve(
    experiment: Experiment, admin: Client
) -> None:
    shown = text(admin.get(page(experiment, "power"), {"metric": "score", "effect": "0.1", "power": "80"}))
    for title in ("One look at the end", "Group sequential", "Always valid this experiment"):
        assert title in shown
    assert shown.count("at the present pace") >= 4
    assert "To find a difference of 0.100 in score with 80.0" in shown
    assert "Smallest difference of score that is found" in shown
    assert re.search(r"New ones a day, at the end ?(9\.[5-9]|10\.)", shown)
    assert "From facts up to" in shown
    body = reader().get(f"{AT}?effect=0.1").json()
    assert f"{body['needed']['units']['fixed']:.0f} units" in shown


def test_days_are_those_in_which_so_many_units_come(experiment: Experiment) -> None:
    body = reader().get(f"{AT}?effect=0.15").json()
    for design in ("fixed", "group_sequential", "always_valid"):
        assert body["needed"]["days"][design] == pytest.approx(body["needed"]["units"][design] / 10, abs=1.1)
    curve = {point["days"]: point for point in body["curve"]}
    assert curve[14]["units"] == pytest.approx(140, abs=2)
    assert curve[56]["units"] == pytest.approx(560, abs=10)
    assert curve[56]["effects"]["fixed"] == pytest.approx(curve[14]["effects"]["fixed"] / 2, rel=0.05)


def test_coverage_makes_it_longer_and_not_larger() -> None:
    made(coverage_bp=5_000)
    needed = reader().get(f"{AT}?effect=0.15").json()["needed"]
    # 5 units a day, and as many units as with all of them: 16 variances over the square of the effect in each of two arms.
    assert needed["days"]["fixed"] == pytest.approx(needed["units"]["fixed"] / 5, abs=1.1)
    assert needed["units"]["fixed"] == pytest.approx(4 * 9.51 / 12 / 0.15**2, rel=0.15)


@pytest.mark.parametrize("effect", NONSENSE)
def test_endpoint_refuses_what_is_no_effect_and_says_why(experiment: Experiment, effect: str) -> None:
    answer = reader().get(AT, {"effect": effect})
    body = answer.json()
    assert (answer.status_code, body["field"]) == (400, "effect")
    assert body["detail"]
    assert body["fix"]


@pytest.mark.parametrize("effect", NONSENSE)
@pytest.mark.parametrize("metric", ["score", "liked"])
def test_page_refuses_what_is_no_effect_beside_the_field(
    experiment: Experiment, admin: Client, metric: str, effect: str
) -> None:
    answer = admin.get(page(experiment, "power"), {"metric": metric, "effect": effect})
    assert answer.status_code == 200
    assert answer.context["form"].errors.keys() == {"effect"}
    assert " ".join(answer.context["form"].errors["effect"][0].split()) in text(answer)
    assert "What each design takes" not in answer.content.decode()


@pytest.mark.parametrize(
    "asked", [{"power": "nan"}, {"power": "0"}, {"power": "100"}, {"metric": "errors"}, {"metric": "x"}]
)
def test_page_refuses_other_nonsense_beside_its_field(
    experiment: Experiment, admin: Client, asked: dict[str, str]
) -> None:
    answer = admin.get(page(experiment, "power"), asked)
    assert answer.status_code == 200
    assert answer.context["form"].errors.keys() == asked.keys()


def test_share_cannot_differ_by_more_than_there_is(experiment: Experiment) -> None:
    answer = reader().get(AT, {"metric": "liked", "effect": "0.8"})
    assert answer.status_code == 400
    assert "liked is 75.0" in answer.json()["detail"]
    assert reader().get(AT, {"metric": "liked", "effect": "0.2"}).status_code == 200


@pytest.mark.parametrize("effect", [-0.1, 0.0])
def test_stored_effect_that_is_none_is_refused_on_page_and_endpoint(admin: Client, effect: float) -> None:
    experiment = made(minimum_effect=effect)
    assert reader().get(AT).json()["field"] == "effect"
    answer = admin.get(page(experiment, "power"))
    assert answer.context["form"].errors.keys() == {"effect"}


def test_page_without_an_effect_shows_what_time_can_find(experiment: Experiment, admin: Client) -> None:
    answer = admin.get(page(experiment, "power"))
    assert "Say which difference of score would be worth acting on" in text(answer)
    assert "chart-power" in answer.content.decode()


def test_second_load_reads_no_facts_and_anew_reads_them_once(experiment: Experiment, admin: Client) -> None:
    address, asked = page(experiment, "power"), {"metric": "score", "effect": "0.1", "power": "80"}
    admin.get(address, asked)
    with CaptureQueriesContext(connection) as queries:
        first = admin.get(address, asked)
    assert not [query for query in queries if "feedback_response" in query["sql"]]
    assert len(queries) <= 12
    with CaptureQueriesContext(connection) as queries:
        moved = admin.get(first.context["anew"].join((address, "")))
    assert [query for query in queries if "feedback_response" in query["sql"]]
    assert moved.status_code == 302
    assert "anew" not in moved.headers["Location"]
    with CaptureQueriesContext(connection) as queries:
        second = admin.get(moved.headers["Location"])
    assert not [query for query in queries if "feedback_response" in query["sql"]]
    assert second.context["plan"].behaviour.until > first.context["plan"].behaviour.until


def test_notes_say_of_whom_the_plan_speaks(admin: Client) -> None:
    experiment = made(targeting={"country": "us"})
    shown = text(admin.get(page(experiment, "power"), {"effect": "0.01"}))
    assert "The targeting could not be checked: country was not recorded with the responses." in shown
    assert "the kind is not recorded; they are taken for “user”" in shown
    assert "In 20 days 200 units were seen; from then on the pace is that of the new ones" in shown


def test_notes_say_when_hardly_any_new_units_come(admin: Client) -> None:
    experiment = defined([SCORE])
    now = timezone.now()
    facts, random = Facts(None, now), np.random.default_rng(1)
    for number in range(60):
        for day in (0.5, 8.2):
            facts.respond(
                f"u-{number}", metrics={"score": float(random.random())}, after=-timedelta(days=day)
            )
    shown = text(admin.get(page(experiment, "power"), {"effect": "0.01"}))
    assert "In 8 days 60 units were seen, and hardly any new ones come" in shown
    assert shown.count("more than ten years") == 4
    shown = text(admin.get(page(experiment, "power"), {"effect": "0.5"}))
    assert "concludes nothing before 200 units, its minimum sample" in shown
    assert "Nothing ships before 7 days, its minimum" in shown


def test_page_of_an_experiment_without_metrics_says_what_to_do(admin: Client) -> None:
    made = defined([ERRORS])
    shown = text(admin.get(page(made, "power")))
    assert "appears here, once the experiment has a metric to decide by. Add one" in shown


def test_page_without_units_says_what_is_missing(admin: Client) -> None:
    made = defined([SCORE, COST])
    shown = text(admin.get(page(made, "power"), {"effect": "0.1"}))
    assert "In the last 30 days 0 units were seen; planning needs 30." in shown
