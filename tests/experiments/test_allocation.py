import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from random import Random
from threading import Barrier
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries

from experiments import allocation, assignment, catalogue, lifecycle
from experiments.allocation import Decision, UnknownExperiment, deciding, rows
from experiments.definition import config_hash
from experiments.models import Assignment, Experiment, Variant
from experiments.placement import Placement, Reason
from feedback import copying
from tests.experiments.factories import NOW, draft, running, stopped, units
from triageops.rest import InvalidInput

pytestmark = pytest.mark.django_db

KEY = "llm_model_ab_test"
LATER = NOW + timedelta(days=1)


def counted(variant: str) -> float:
    labels = {"experiment": KEY, "variant": variant}
    return REGISTRY.get_sample_value("triageops_assignments_total", labels) or 0


def test_new_unit_gets_the_arm_of_the_hash_and_is_stored() -> None:
    experiment = running()
    expected = assignment.assign(experiment.salt, "user-1", [5_000, 3_000, 2_000])
    assert expected is not None
    key = ["gpt-4", "claude-2", "llama2-70b"][expected.arm]
    before = counted(key)

    decision = allocation.assign(KEY, "user-1", now=NOW)

    assert decision == Decision(
        KEY,
        key,
        {"model": key},
        in_experiment=True,
        reason=Reason.SPLIT,
        bucket=expected.bucket,
        assigned_at=NOW,
        config_hash=config_hash({"model": key}),
        variant_version=1,
        epoch=1,
    )
    row = Assignment.objects.get()
    assert (row.unit, row.variant.key, row.bucket, row.assigned_at) == ("user-1", key, expected.bucket, NOW)
    assert counted(key) == before + 1


def test_known_unit_gets_the_same_answer_and_one_row() -> None:
    running()
    first = allocation.assign(KEY, "user-1", now=NOW)
    assert allocation.assign(KEY, "user-1", now=LATER) == first
    assert Assignment.objects.count() == 1


def test_stored_assignment_wins_over_the_hash() -> None:
    experiment = running()
    hashed = allocation.assign(KEY, "user-1", now=NOW).variant
    other = experiment.variants.exclude(key=hashed).first()
    assert other is not None
    Assignment.objects.create(
        experiment=experiment, unit="user-2", variant=other, bucket=0.5, assigned_at=NOW
    )
    decision = allocation.assign(KEY, "user-2", now=LATER)
    assert (decision.variant, decision.bucket, decision.assigned_at) == (other.key, 0.5, NOW)


def counting_inserts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """psycopg2's own function, which Django does not count."""
    calls = Counter[str]()

    def counted_rows(*arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
        calls["insert"] += 1
        return copying.execute_rows(*arguments, **options)

    monkeypatch.setattr(rows, "execute_rows", counted_rows)
    return calls


def test_known_unit_costs_one_query_and_a_new_one_two(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    running()
    catalogue.definitions()
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 60.0)
    statements = counting_inserts(monkeypatch)
    with django_assert_num_queries(1):
        allocation.assign(KEY, "user-1", now=NOW)
    assert statements.total() == 1
    with django_assert_num_queries(1):
        allocation.assign(KEY, "user-1", now=NOW)
    assert statements.total() == 1


@pytest.mark.django_db(transaction=True)
def test_known_unit_that_redis_remembers_costs_no_query_at_all(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    running()
    first = allocation.assign(KEY, "user-1", now=NOW)
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 60.0)
    with django_assert_num_queries(0):
        assert allocation.assign(KEY, "user-1", now=LATER) == first


def test_many_units_of_many_experiments_cost_two_queries(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        running(key=f"e{number}")
    asked = [
        allocation.Asked(one, unit, {}) for one in catalogue.definitions().values() for unit in units(50)
    ]
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 60.0)
    statements = counting_inserts(monkeypatch)
    with django_assert_num_queries(1):
        decisions = allocation.decide(asked, now=NOW)
    assert len(decisions) == Assignment.objects.count() == 250
    assert statements.total() == 1


def test_who_only_looks_stores_nothing_and_sees_what_would_be() -> None:
    running()
    asked = [allocation.Asked(allocation.known(KEY), unit, {}) for unit in units(30)]
    seen = allocation.decide(asked, now=NOW, is_read_only=True)
    assert not Assignment.objects.exists()
    assert {decision.assigned_at for decision in seen} == {None}
    assert allocation.decide(asked, now=NOW) == [replace(decision, assigned_at=NOW) for decision in seen]


def test_many_units_are_split_by_weight() -> None:
    running()
    counts = Counter(allocation.assign(KEY, unit, now=NOW).variant for unit in units(1_000))
    # Five standard deviations: a wrong order of weights is far outside, chance is not.
    assert abs(counts["gpt-4"] - 500) < 80
    assert abs(counts["claude-2"] - 300) < 73
    assert abs(counts["llama2-70b"] - 200) < 64


def test_units_outside_the_coverage_get_the_control_and_no_row() -> None:
    running(coverage_bp=3_000)
    decisions = [allocation.assign(KEY, unit, now=NOW) for unit in units(400)]
    outside = [decision for decision in decisions if not decision.in_experiment]
    assert {(one.variant, one.reason, one.assigned_at) for one in outside} == {
        ("gpt-4", Reason.COVERAGE, None)
    }
    assert all(one.bucket is not None and one.config == {"model": "gpt-4"} for one in outside)
    assert Assignment.objects.count() == len(decisions) - len(outside)
    assert 60 < Assignment.objects.count() < 180


@pytest.mark.parametrize(("make", "reason"), [(draft, Reason.DRAFT), (stopped, Reason.STOPPED)])
def test_experiment_that_is_not_running_gives_the_control(
    make: Callable[[], Experiment], reason: Reason
) -> None:
    make()
    decision = allocation.assign(KEY, "user-1", now=NOW)
    assert (decision.variant, decision.config, decision.in_experiment, decision.reason) == (
        "gpt-4",
        {"model": "gpt-4"},
        False,
        reason,
    )
    assert (decision.bucket, decision.assigned_at, decision.variant_version) == (None, None, 1)
    assert not Assignment.objects.exists()


def test_known_unit_of_a_stopped_experiment_gets_the_control() -> None:
    experiment = running({"gpt-4": 0, "claude-2": 10_000})
    assert allocation.assign(KEY, "user-1", now=NOW).variant == "claude-2"
    lifecycle.stop(experiment, by=None, now=LATER)
    decision = allocation.assign(KEY, "user-1", now=LATER)
    assert (decision.variant, decision.in_experiment, decision.reason) == ("gpt-4", False, Reason.STOPPED)


def test_draft_without_control_gives_no_variant() -> None:
    draft({})
    assert allocation.assign(KEY, "user-1", now=NOW) == Decision(KEY, None, {}, False, Reason.DRAFT)


def test_stop_between_look_and_insert_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = running()
    original, calls = rows.store, Counter[str]()

    def stopping(*arguments: Any) -> bool:
        if not calls["store"]:
            lifecycle.stop(experiment, by=None, now=LATER)
        calls["store"] += 1
        return original(*arguments)

    monkeypatch.setattr(rows, "store", stopping)
    assert allocation.assign(KEY, "user-1", now=NOW).reason == Reason.STOPPED
    assert (calls["store"], Assignment.objects.exists()) == (1, False)


def test_archive_between_look_and_insert_gives_the_control() -> None:
    experiment = running()
    definition = allocation.known(KEY)
    lifecycle.archive(lifecycle.stop(experiment, by=None, now=LATER), by=None, now=LATER)
    decision = allocation.decide([allocation.Asked(definition, "user-1", {})], now=LATER)[0]
    assert (decision.variant, decision.reason) == ("gpt-4", Reason.STOPPED)
    assert not Assignment.objects.exists()


@pytest.mark.parametrize("key", ["unknown", "", "a b", "\0", "a/b", "x" * 129, "\ud800"])
def test_unknown_experiment_is_refused(key: str) -> None:
    running()
    with pytest.raises(UnknownExperiment):
        allocation.assign(key, "user-1", now=NOW)


@pytest.mark.parametrize(
    ("unit", "detail"),
    [
        ("", "is empty"),
        ("x" * 129, "has 129 characters; the most is 128"),
        ("a\0b", "NUL"),
        ("a\ud83d", "surrogate"),
        ("\udc00", "surrogate"),
    ],
)
def test_unit_that_cannot_be_stored_is_refused_with_a_fix(unit: str, detail: str) -> None:
    running()
    with pytest.raises(InvalidInput, match=detail) as refused:
        allocation.assign(KEY, unit, now=NOW)
    assert (refused.value.field, bool(refused.value.fix)) == ("unit", True)


@pytest.mark.parametrize(
    "unit",
    [
        "josé",
        "jose\u0301",
        "😀" * 128,
        " ",
        " user-1",
        "user-1 ",
        "a\nb",
        "\u202euser",
        "用户",
        "ＵＳＥＲ",
        "'; --",
    ],
)
def test_unit_of_any_text_is_kept_as_it_is(unit: str) -> None:
    running()
    first = allocation.assign(KEY, unit, now=NOW)
    assert allocation.assign(KEY, unit, now=LATER) == first
    assert Assignment.objects.get().unit == unit


def test_units_that_only_look_alike_are_two_units() -> None:
    running()
    for unit in ("josé", "jose\u0301", "josé "):
        allocation.assign(KEY, unit, now=NOW)
    assert Assignment.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_racing_threads_with_different_arms_agree_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    running()
    crowd = 8
    barrier = Barrier(crowd)

    # The hash never differs; here every thread has a mind of its own, so that only the database can make them agree.
    monkeypatch.setattr(
        deciding, "place", lambda *_: Placement(Reason.SPLIT, Random().randrange(3), 5_000, is_in=True)
    )

    def decide(_: int) -> list[Decision]:
        try:
            answers = []
            for unit in units(40):
                barrier.wait(30)
                answers.append(allocation.assign(KEY, unit, now=NOW))
            return answers
        finally:
            connection.close()

    with ThreadPoolExecutor(crowd) as pool:
        answers = list(pool.map(decide, range(crowd)))

    assert all(answer == answers[0] for answer in answers)
    assert Assignment.objects.count() == 40
    assert len({one.variant for one in answers[0]}) > 1


SCRIPT = """
import json, sys
import django
django.setup()
from datetime import UTC, datetime
from experiments import allocation
given = json.loads(sys.argv[1])
answers = [allocation.assign(given["key"], unit, now=datetime.now(UTC)) for unit in given["units"]]
print(json.dumps([[one.variant, one.bucket, one.assigned_at.isoformat()] for one in answers]))
"""


@pytest.fixture
def processes(transactional_db: None) -> Callable[[list[str]], list[Any]]:
    """Asks several new processes for the same units at once; each has another seed of Python's own hash."""
    settings = connection.settings_dict
    host, port = quote(settings["HOST"], safe=""), settings["PORT"] or 5432
    password = f":{quote(settings['PASSWORD'])}" if settings["PASSWORD"] else ""
    url = f"postgresql://{settings['USER']}{password}@{host}:{port}/{settings['NAME']}"

    def ask(wanted: list[str]) -> list[Any]:
        asked = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, json.dumps({"key": KEY, "units": wanted})],
                env=os.environ | {"DATABASE_URL": url, "PYTHONHASHSEED": str(seed)},
                stdout=subprocess.PIPE,
            )
            for seed in range(2)
        ]
        return [json.loads(process.communicate(timeout=60)[0]) for process in asked]

    return ask


def test_unit_gets_the_same_variant_in_every_process_and_after_a_restart(
    processes: Callable[[list[str]], list[Any]],
) -> None:
    running()
    wanted = [*units(40), "josé", "😀", "用户"]
    before = processes(wanted)
    after = processes(wanted)
    here = [allocation.assign(KEY, unit, now=LATER) for unit in wanted]

    assert all(answer == before[0] for answer in before + after)
    assert [
        [one.variant, one.bucket, one.assigned_at and one.assigned_at.isoformat()] for one in here
    ] == before[0]
    assert Assignment.objects.count() == len(wanted)
    assert len({variant for variant, *_ in before[0]}) == Variant.objects.count()
