"""How units behaved, from a drawn sample: each unit counts as one, whatever its size; whom it speaks of; what is kept."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis import ConnectionError as RedisConnectionError

from experiments import planning
from experiments.exposures.facts import earlier
from experiments.models import Experiment, ExperimentMetric
from experiments.planning import TooLittle, reading, sampling
from experiments.planning.behaviour import _name, behaviour, measured
from experiments.planning.population import asked_for
from experiments.planning.sampling import Window, draw
from feedback.shapes import ResponseShape
from tests.experiments.factories import NOW
from tests.experiments.test_looks import SCORE
from tests.experiments.world import COST, POSITIVE, Facts, defined

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
SIZES = [1] * 160 + [4] * 30 + [30] * 8 + [400] * 2
"""Responses of 200 units: two have more than half of all."""


def units_with(sizes: Sequence[int], facts: Facts, *, days: float = 20.0, **values: Any) -> list[str]:
    """Units u-0, u-1, ... with so many responses each, mixed, over the last days; the first response of each.

    A unit's score is its number's last digit, in tenths.
    """
    random = np.random.default_rng(3)
    # Rows are stored in the order of their ids.
    places = random.permutation(sum(sizes)).tolist()
    shapes = [
        ResponseShape(
            response_id=f"p-{places.pop():06d}",
            unit=f"u-{number}",
            occurred_at=NOW - timedelta(days=float(random.uniform(0, days))),
            metrics={"score": number % 10 / 10},
            cost=0.5,
            **values,
        )
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    facts.respond_many(shapes)
    return [
        next(f"{shape.response_id}" for shape in shapes if shape.unit == f"u-{number}")
        for number in range(len(sizes))
    ]


def metric(experiment: Experiment, key: str = "score") -> ExperimentMetric:
    return experiment.metrics.get(key=key)


@pytest.fixture
def _few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small table is drawn from like a large one."""
    monkeypatch.setattr(sampling, "EVERY", 50)
    monkeypatch.setattr(sampling, "BLOCKS", 15)
    monkeypatch.setattr(sampling, "LOOKED_AT", 60)


@pytest.fixture
def read_counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many responses each call read with all that was said of them."""
    read: list[int] = []

    def counted(*arguments: Any) -> Any:
        said = earlier(*arguments)
        read.append(sum(map(len, said.values())))
        return said

    monkeypatch.setattr(reading, "earlier", counted)
    return read


@pytest.mark.usefixtures("_few_blocks")
def test_drawn_units_count_each_unit_once_on_average_whatever_its_size() -> None:
    units_with(SIZES, Facts(None))
    window = Window(NOW - 30 * DAY, NOW)
    found: dict[str, list[float]] = {"all": [], "light": [], "heavy": []}
    with connection.cursor() as cursor:
        for seed in range(150):
            drawn = draw(cursor, window, seed=seed)
            assert 0 < drawn.share < 1
            assert len(drawn.units) <= 61
            found["all"].append(sum(one.weight for one in drawn.units.values()))
            found["light"].append(sum(one.weight for one in drawn.units.values() if one.size == 1))
            found["heavy"].append(sum(one.weight for one in drawn.units.values() if one.size == 400))
    for name, truth in (("all", 200), ("light", 160), ("heavy", 2)):
        error = np.std(found[name]) / 150**0.5
        assert np.mean(found[name]) == pytest.approx(truth, abs=4 * error + 1e-9), name
        assert error < truth / 10


def test_responses_up_to_the_limit_are_all_read_and_units_weigh_one() -> None:
    units_with(SIZES, Facts(None))
    with connection.cursor() as cursor:
        drawn = draw(cursor, Window(NOW - 30 * DAY, NOW), seed=0)
    assert drawn.share == 1
    assert {one.weight for one in drawn.units.values()} == {1.0}
    assert sorted(one.size for one in drawn.units.values()) == SIZES


def test_window_that_is_a_small_part_of_the_table_is_read_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units_with(SIZES, Facts(None))
    monkeypatch.setattr(sampling, "EVERY", 300)
    monkeypatch.setattr(sampling, "ENOUGH_RESPONSES", 300)
    monkeypatch.setattr(sampling, "BLOCKS", 1)
    with connection.cursor() as cursor:
        drawn = draw(cursor, Window(NOW - 30 * DAY, NOW), seed=0)
    assert drawn.window.since > NOW - 10 * DAY
    assert sum(one.size for one in drawn.units.values()) == 300


@pytest.mark.usefixtures("_few_blocks")
def test_behaviour_from_a_sample_is_on_average_that_of_all_units() -> None:
    made = defined([{**SCORE, "kind": "mean", "cap": 1e6}])
    units_with([1] * 80 + [3] * 60 + [25] * 10, Facts(None))
    sizes = np.array([1] * 80 + [3] * 60 + [25] * 10)
    sums = sizes * (np.arange(150) % 10 / 10)
    found = [measured(made, metric(made), NOW, seed=seed) for seed in range(60)]
    for name, truth in (("value", sums.mean()), ("variance", sums.var(ddof=1))):
        drawn = [getattr(one, name) for one in found]
        assert np.mean(drawn) == pytest.approx(truth, abs=4 * np.std(drawn) / 60**0.5 + 0.02 * truth), name
    assert np.mean([one.reach[-1] for one in found]) == pytest.approx(150, rel=0.1)


def test_behaviour_of_few_responses_is_exact() -> None:
    made = defined([SCORE, {**COST, "kind": "mean"}])
    units_with([1, 2, 3, 4] * 10, Facts(None))
    sizes, scores = np.array([1, 2, 3, 4] * 10), np.arange(40) % 10 / 10
    ratio = sizes @ scores / sizes.sum()
    found = measured(made, metric(made), NOW)
    assert found.unit_count == 40
    assert found.value == pytest.approx(ratio)
    assert found.variance == pytest.approx((sizes * (scores - ratio) / sizes.mean()).var(ddof=1))
    assert found.reach[-1] == pytest.approx(40)
    spent = measured(made, metric(made, "cost"), NOW)
    assert (spent.value, spent.variance) == pytest.approx(((sizes / 2).mean(), (sizes / 2).var(ddof=1)))


def test_reading_is_bounded_however_much_a_unit_did(
    monkeypatch: pytest.MonkeyPatch, read_counts: list[int]
) -> None:
    made = defined([SCORE])
    monkeypatch.setattr(sampling, "EVERY", 100)
    monkeypatch.setattr(reading, "FACTS", 100)
    monkeypatch.setattr(reading, "MOST_FACTS", 300)
    units_with([1] * 40 + [1_000, 800], Facts(None))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = measured(made, metric(made), NOW)
    # Every s-th one may be one more than its share.
    assert sum(read_counts) <= 310
    assert len(queries) <= 20
    assert found.unit_count == 42
    assert found.value == pytest.approx((1_000 * 0 + 800 * 0.1 + 18.0) / 1_840, abs=0.02)


def test_units_with_more_than_can_be_counted_weigh_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = defined([SCORE])
    for name, value in (("EVERY", 100), ("BLOCKS", 30), ("ROUGHLY", 5), ("EXACTLY", 10), ("TOGETHER", 10)):
        monkeypatch.setattr(sampling, name, value)
    monkeypatch.setattr(reading, "MOST_FACTS", 400)
    units_with([60] * 40, Facts(None))
    with connection.cursor() as cursor:
        drawn = draw(cursor, Window(NOW - 30 * DAY, NOW), seed=0)
    assert len(drawn.beyond) == 40
    assert {one.weight for one in drawn.units.values()} == {1.0}
    found = measured(made, metric(made), NOW)
    assert found.reach[-1] == pytest.approx(40)
    assert found.value == pytest.approx(0.45, abs=0.05)


def test_only_units_that_the_targeting_fits_count_by_their_last_response() -> None:
    made = defined([SCORE], targeting={"language": "en"})
    facts = Facts(None)
    units_with([2] * 60, facts, attributes={"language": "en"})
    for number in range(60, 120):
        facts.respond(
            f"u-{number}",
            metrics={"score": 0.9},
            after=-2 * DAY,
            attributes={"language": "en"},
            response_id=f"a-{number}",
        )
        facts.respond(
            f"u-{number}",
            metrics={"score": 0.9},
            after=-DAY,
            attributes={"language": "de"},
            response_id=f"b-{number}",
        )
    found = measured(made, metric(made), NOW)
    assert found.unit_count == 60
    assert found.population.fitting_share == pytest.approx(0.5)
    assert found.value == pytest.approx(0.45)
    assert "fits 50.0" in " ".join(planning.population_notes(made, found.population))


def test_targeting_by_the_unit_itself_is_checked_by_its_name() -> None:
    made = defined([SCORE], targeting={"id": {"$regex": "^u-[0-4]?[0-9]$"}})
    units_with([2] * 100, Facts(None))
    found = measured(made, metric(made), NOW)
    assert (found.unit_count, found.population.missing) == (50, ())


def test_targeting_by_what_is_not_recorded_is_said_and_all_units_count() -> None:
    made = defined(
        [SCORE], targeting={"$or": [{"country": "us"}, {"plan.tier": {"$gt": 2}}], "language": "en"}
    )
    units_with([2] * 60, Facts(None), attributes={"language": "en"})
    found = measured(made, metric(made), NOW)
    assert found.unit_count == 60
    assert (found.population.missing, found.population.fitting_share) == (("country", "plan"), None)
    assert "could not be checked: country and plan were not recorded" in " ".join(
        planning.population_notes(made, found.population)
    )


def test_attribute_that_some_units_lack_is_no_value_and_said() -> None:
    made = defined([SCORE], targeting={"language": {"$ne": "de"}})
    facts = Facts(None)
    units_with([2] * 60, facts, attributes={"language": "de"})
    for number in range(60, 100):
        facts.respond(f"u-{number}", metrics={"score": number % 7 / 7}, after=-DAY, response_id=f"a-{number}")
    found = measured(made, metric(made), NOW)
    assert found.unit_count == 40
    assert found.population.bare_share == pytest.approx(0.4)


def test_units_of_another_kind_are_left_out_where_that_is_known() -> None:
    made = defined([SCORE], unit_kind="clinic", unit_attribute="clinic_id")
    defined([SCORE], key="of_users", unit_kind="user")
    facts = Facts(None)
    for number in range(40):
        facts.respond(
            f"c-{number}",
            attributes={"clinic_id": f"c-{number}"},
            metrics={"score": number % 5 / 5},
            after=-DAY,
            response_id=f"a-{number}",
        )
        facts.respond(
            f"p-{number}",
            attributes={"clinic_id": f"c-{number}"},
            metrics={"score": 0.5},
            after=-DAY,
            response_id=f"b-{number}",
        )
        facts.respond(
            f"q-{number}",
            experiment="of_users",
            metrics={"score": 0.5},
            after=-DAY,
            response_id=f"c-{number}",
        )
        facts.respond(f"z-{number}", metrics={"score": number % 5 / 5}, after=-DAY, response_id=f"d-{number}")
    found = measured(made, metric(made), NOW)
    assert found.unit_count == 80
    assert found.population.other_kind_share == pytest.approx(0.5)
    assert found.population.unknown_kind_share == pytest.approx(0.25)


def test_too_few_fitting_units_are_refused_with_their_number() -> None:
    made = defined([SCORE], targeting={"language": "es"})
    facts = Facts(None)
    units_with([2] * 60, facts, attributes={"language": "en"})
    with pytest.raises(TooLittle, match=r"Of 60 units .* could take in 0"):
        measured(made, metric(made), NOW)


def test_behaviour_is_kept_as_json_and_computed_anew_when_asked() -> None:
    made = defined([SCORE])
    facts = Facts(None)
    units_with([2] * 60, facts)
    first = behaviour(made, metric(made), NOW)
    facts.respond("new", metrics={"score": 1.0}, after=timedelta(0))
    later = NOW + timedelta(minutes=5)
    with CaptureQueriesContext(connection) as queries:
        assert behaviour(made, metric(made), later) == first
    assert not [query for query in queries if "feedback_response" in query["sql"]]
    anew = behaviour(made, metric(made), later, is_anew=True)
    assert (anew.unit_count, anew.until) == (61, later)
    assert behaviour(made, metric(made), later) == anew
    kept = json.loads(cache.get(_name(made, metric(made))))
    assert kept["unit_count"] == 61


def test_what_another_version_kept_is_no_answer() -> None:
    made = defined([SCORE])
    units_with([2] * 60, Facts(None))
    cache.set(_name(made, metric(made)), '{"value": 1}')
    assert behaviour(made, metric(made), NOW).unit_count == 60


@pytest.mark.parametrize("change", [{"targeting": {"language": "en"}}, {"unit_kind": "case"}])
def test_another_population_is_not_what_was_kept(change: dict[str, Any]) -> None:
    made = defined([SCORE])
    units_with([2] * 60, Facts(None), attributes={"language": "en"})
    behaviour(made, metric(made), NOW)
    for name, value in change.items():
        setattr(made, name, value)
    with CaptureQueriesContext(connection) as queries:
        behaviour(made, metric(made), NOW)
    assert [query for query in queries if "feedback_response" in query["sql"]]


def test_behaviour_without_redis_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RedisConnectionError

    made = defined([SCORE])
    units_with([2] * 60, Facts(None))
    monkeypatch.setattr(cache, "get", fail)
    monkeypatch.setattr(cache, "set", fail)
    assert behaviour(made, metric(made), NOW).unit_count == 60


def test_units_that_come_back_are_not_new() -> None:
    made = defined([SCORE])
    facts = Facts(None)
    facts.respond_many(
        [
            ResponseShape(
                response_id=f"{unit}-{day}",
                unit=f"c-{unit}",
                occurred_at=NOW - timedelta(days=day + 0.5),
                metrics={"score": unit / 50},
            )
            for unit in range(50)
            for day in range(20)
        ]
    )
    found = measured(made, metric(made), NOW)
    assert found.reached(1) == found.reached(19) == pytest.approx(50)
    assert found.new_per_day == pytest.approx(0.5 / (19.5 / 4))
    assert found.reached(40) == pytest.approx(50 + 20.5 * found.new_per_day)


def test_units_that_come_once_are_new_every_day_and_at_the_pace_of_the_end() -> None:
    made = defined([SCORE])
    facts = Facts(None)
    # Two a day for fifteen days, then eight a day for five.
    ages = [5 + number / 2 for number in range(30)] + [number / 8 for number in range(1, 41)]
    for number, age in enumerate(ages):
        facts.respond(f"u-{number}", metrics={"score": number % 7 / 7}, after=-age * DAY)
    found = measured(made, metric(made), NOW)
    assert found.reached(5) == pytest.approx(40, abs=1)
    assert found.reached(10.5) == pytest.approx(51, abs=1)
    assert found.new_per_day == pytest.approx(8, rel=0.05)
    assert found.reached(found.days + 10) == pytest.approx(150, rel=0.05)


def test_attributes_of_a_condition_are_found_in_all_its_parts() -> None:
    condition = {
        "a": 1,
        "$not": {"b.c": {"$in": [1]}},
        "$or": [{"d": 1}, {"$and": [{"e": {"$elemMatch": {"f": 1}}}]}],
    }
    assert asked_for(condition) == {"a", "b", "d", "e"}


def test_positive_share_of_units_needs_feedback() -> None:
    made = defined([{**POSITIVE, "kind": "proportion"}])
    facts = Facts(None)
    first = units_with([3] * 60, facts)
    with pytest.raises(TooLittle, match="0 units had a value"):
        measured(made, metric(made, "positive"), NOW)
    for number in range(40):
        facts.opine(first[number], "positive" if number % 4 == 0 else "negative")
    found = measured(made, metric(made, "positive"), NOW)
    assert (found.unit_count, found.value) == (40, 0.25)
    assert found.reach[-1] == pytest.approx(40)
