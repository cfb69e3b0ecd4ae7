from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from feedback import rollups, stats
from tests.feedback.facts import BUCKET, NOW, rate, respond
from triageops.stats.moments import Moments

pytestmark = pytest.mark.django_db(transaction=True)

WINDOW = stats.Window(NOW - timedelta(hours=5, minutes=34, seconds=56), NOW + timedelta(minutes=15))
NONE = timedelta(0)
GROUPED = {"endpoint", "model", "provider", "experiment", "variant"}


def fill() -> list[dict[str, Any]]:
    rng = np.random.default_rng(8)
    facts: list[dict[str, Any]] = [
        {
            "endpoint": str(rng.choice(["triage", "referral"])),
            "model": str(rng.choice(["small", "large", ""])),
            "variant": str(rng.choice(["a", "b"])),
            "attributes": {"language": str(rng.choice(["en", "es"]))} if rng.random() < 0.7 else {},
            "occurred_at": NOW - timedelta(minutes=int(rng.integers(0, 500))),
            "latency_seconds": float(rng.lognormal()),
        }
        for _ in range(150)
    ]
    for i, fact in enumerate(facts):
        respond(f"r{i}", **fact)
    return facts


def expected(facts: list[dict[str, Any]], dimension: str, value: str) -> Moments:
    return Moments.of(
        [
            fact["latency_seconds"]
            for fact in facts
            if (fact.get(dimension) or fact["attributes"].get(dimension, "")) == value
            and fact["occurred_at"] >= WINDOW.start
        ]
    )


def test_moments_by_dimension_are_those_of_every_group_in_two_queries() -> None:
    facts = fill()
    rollups.roll_up(NOW)
    with CaptureQueriesContext(connection) as queries:
        found = stats.moments_by_dimension("latency_seconds", {}, WINDOW)
    assert len(queries) == 2
    assert set(found) == GROUPED | {"language", "channel"}
    assert set(found["model"]) == {"", "small", "large"}
    assert set(found["language"]) == {"en", "es"}
    assert found["channel"] == {}
    for dimension in ("endpoint", "model", "variant", "language"):
        for value, moments in found[dimension].items():
            whole = expected(facts, dimension, value)
            assert moments.n == whole.n
            assert moments.mean == pytest.approx(whole.mean, rel=1e-13)
            assert moments.m2 == pytest.approx(whole.m2, rel=1e-12)


def test_moments_by_dimension_within_a_cut_leave_out_what_is_not_kept() -> None:
    facts = fill()
    rollups.roll_up(NOW)
    chosen = [fact for fact in facts if fact["model"] == "small"]
    found = stats.moments_by_dimension("latency_seconds", {"model": "small"}, WINDOW)
    assert set(found["model"]) == {"small"}
    assert found["language"]["en"].n == expected(chosen, "language", "en").n
    spanish = [fact for fact in facts if fact["attributes"].get("language") == "es"]
    found = stats.moments_by_dimension("latency_seconds", {"language": "es"}, WINDOW)
    assert set(found) == GROUPED
    assert found["model"]["large"].n == expected(spanish, "model", "large").n


def test_feedback_by_dimension_says_which_group_is_unhappy() -> None:
    for i in range(12):
        respond(f"r{i}", model=f"m{i % 2}", attributes={"channel": f"c{i % 3}"})
        if i < 8:
            rate(f"r{i}", "negative" if i % 2 else "positive", rating=1 + i % 2)
    rollups.roll_up(NOW)
    assert stats.feedback_by_dimension("negative", {}, WINDOW, NONE)["model"] == {}
    rollups.roll_up(NOW + 2 * BUCKET)
    negative = stats.feedback_by_dimension("negative", {}, WINDOW, NONE)
    assert negative["model"] == {"m0": Moments(4, 0.0, 0.0), "m1": Moments(4, 1.0, 0.0)}
    assert negative["channel"] == {
        "c0": Moments(3, 1 / 3, 2 / 3),
        "c1": Moments(3, 2 / 3, 2 / 3),
        "c2": Moments(2, 0.5, 0.5),
    }
    assert stats.feedback_by_dimension("rating", {"model": "m1"}, WINDOW, NONE)["model"]["m1"].mean == 2.0
    coverage = stats.feedback_by_dimension("coverage", {}, WINDOW, NONE)
    assert coverage["model"]["m0"] == Moments(6, 4 / 6, 8 / 6)
    assert coverage["channel"]["c2"].mean == 0.5


def test_feedback_by_dimension_is_of_one_age_and_of_buckets_that_have_it() -> None:
    age, day = timedelta(hours=6), timedelta(days=1)
    for model, at in (("old", NOW - day), ("young", NOW)):
        for i in range(4):
            respond(f"{model}{i}", model=model, occurred_at=at)
        rollups.roll_up(at)
        rollups.roll_up(at + 2 * BUCKET)
        rate(f"{model}0", "negative")
        rollups.roll_up(at + 2 * BUCKET)
        rollups.roll_up(at + age + 3 * BUCKET)
        for i in (1, 2):
            rate(f"{model}{i}", "negative")
        rollups.roll_up(at + age + 3 * BUCKET)
    window = stats.Window(NOW - 2 * day, NOW + day)
    found = stats.feedback_by_dimension("coverage", {}, window, age)["model"]
    assert {value: moments.mean for value, moments in found.items()} == {"old": 0.25, "young": 0.25}
    assert stats.feedback_by_dimension("coverage", {}, window, day)["model"]["old"].mean == 0.75
    assert set(stats.feedback_by_dimension("coverage", {}, window, day)["model"]) == {"old"}
