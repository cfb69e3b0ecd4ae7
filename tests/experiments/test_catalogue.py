"""What each process knows of the experiments, and how it learns what has changed."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from pytest_django import DjangoAssertNumQueries

from experiments import allocation, audit, catalogue, drafts, forcing, lifecycle
from experiments.audit import Change
from experiments.models import Experiment
from experiments.placement import Reason
from tests.experiments.factories import NOW, draft, running

pytestmark = pytest.mark.django_db

KEY = "llm_model_ab_test"
LATER = NOW + timedelta(days=1)


def test_unchanged_experiments_cost_one_query_a_poll_and_keep_their_objects(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    running()
    draft(key="other")
    known, number = dict(catalogue.definitions()), catalogue.number()
    with django_assert_num_queries(1):
        assert catalogue.definitions()[KEY] is known[KEY]
    assert catalogue.number() == number
    forcing.force(Experiment.objects.get(key=KEY), "tester", "gpt-4", by=None, now=NOW)
    with django_assert_num_queries(6):
        again = catalogue.definitions()
    assert again["other"] is known["other"]
    assert again[KEY].forced == {"tester": 0}
    assert catalogue.number() == number + 1


def test_many_changed_experiments_cost_as_many_queries_as_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(7):
        running(key=f"e{number}")
    with django_assert_num_queries(6):
        assert list(catalogue.definitions()) == [f"e{number}" for number in range(7)]


def test_nothing_is_asked_before_the_poll_is_due(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    running()
    catalogue.definitions()
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 60.0)
    with django_assert_num_queries(0):
        catalogue.definitions()


def test_archived_experiment_is_unknown_and_a_renamed_draft_has_its_new_key_only() -> None:
    experiment = draft()
    assert catalogue.find(KEY) is not None
    with transaction.atomic():
        Experiment.objects.update(key="renamed", version=F("version") + 1)
        audit.write(Change(experiment), "edit", by=None, now=NOW, reason="", before={})
    assert set(catalogue.definitions()) == {"renamed"}
    lifecycle.archive(Experiment.objects.get(), by=None, now=LATER)
    assert not catalogue.definitions()


def test_change_between_two_of_its_queries_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft gets another variant and starts after its variants, and before its epochs, were read."""
    draft({"a": 5_000, "b": 5_000}, "a")
    original, calls = catalogue._grouped, []

    def interrupted(rows: Any) -> Any:
        found = original(rows)
        calls.append(rows.model.__name__)
        if len(calls) == 1:
            variants = [
                {"key": key, "weight_bp": weight_bp, "is_control": key == "a"}
                for key, weight_bp in (("c", 2_000), ("a", 4_000), ("b", 4_000))
            ]
            edited = drafts.edit(Experiment.objects.get(), {"variants": variants}, by=None, now=NOW)
            lifecycle.start(edited, by=None, now=NOW)
        return found

    monkeypatch.setattr(catalogue, "_grouped", interrupted)
    definition = catalogue.find(KEY)
    assert definition is not None
    assert [arm.key for arm in definition.arms] == ["c", "a", "b"]
    assert (definition.state, definition.epoch, len(definition.table)) == ("running", 1, 10_000)
    assert calls.count("Variant") == 2


def test_targeting_that_cannot_be_read_is_for_nobody_and_others_go_on() -> None:
    experiment = draft()
    with transaction.atomic():
        Experiment.objects.update(targeting={"$nonsense": 1}, version=F("version") + 1)
        audit.write(Change(experiment), "edit", by=None, now=NOW, reason="", before={})
    running(key="other")
    assert allocation.assign("other", "user-1", now=NOW).in_experiment
    condition = allocation.known(KEY).condition
    assert condition is not None
    assert not condition({"$nonsense": 1})
    assert allocation.assign(KEY, "user-1", now=NOW).reason == Reason.DRAFT


def test_forget_reads_all_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    running()
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 60.0)
    first = catalogue.definitions()[KEY]
    assert catalogue.definitions()[KEY] is first
    catalogue.forget()
    assert catalogue.definitions()[KEY] is not first


def test_hundred_arms_compile() -> None:
    weights = {f"arm-{number}": 100 for number in range(100)}
    lifecycle.start(draft(weights, "arm-0"), by=None, now=NOW)
    definition = allocation.known(KEY)
    assert set(definition.table) == set(range(100))
