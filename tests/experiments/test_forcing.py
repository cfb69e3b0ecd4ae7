"""Variants for named units, and units that the targeting leaves out."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from experiments import allocation, drafts, forcing, lifecycle
from experiments.allocation import Decision
from experiments.audit import InvalidTransition
from experiments.models import Assignment, Experiment, ExperimentEvent, ForcedVariant
from experiments.placement import Reason
from tests.experiments.factories import NOW, draft, running, stopped, units
from triageops.rest import InvalidInput, NotFound

pytestmark = pytest.mark.django_db

KEY = "llm_model_ab_test"
LATER = NOW + timedelta(days=1)


def asked(unit: str = "tester", **attributes: object) -> Decision:
    return allocation.assign(KEY, unit, now=LATER, attributes=attributes)


def again() -> Experiment:
    return Experiment.objects.get(key=KEY)


def test_forced_unit_gets_its_variant_is_flagged_and_not_stored(django_user_model: type[User]) -> None:
    ann = django_user_model.objects.create(username="ann")
    hashed = allocation.assign
    running()
    for variant in ("llama2-70b", "claude-2", "gpt-4"):
        row = forcing.force(again(), "tester", variant, by=ann, now=NOW, reason="demo")
        assert (row.by, row.reason) == (ann, "demo")
        decision = asked()
        assert (decision.variant, decision.reason, decision.in_experiment) == (variant, Reason.FORCED, False)
        assert (decision.config, decision.assigned_at) == ({"model": variant}, None)
    assert not Assignment.objects.exists()
    assert ForcedVariant.objects.standing().count() == 1
    assert ForcedVariant.objects.count() == 3
    event = ExperimentEvent.objects.latest("id")
    assert (event.before["forced"], event.after["forced"]) == ({"tester": "claude-2"}, {"tester": "gpt-4"})
    assert hashed(KEY, "another", now=LATER).in_experiment


def test_forced_unit_is_served_in_a_draft_and_while_paused_and_not_when_halted_or_stopped() -> None:
    forcing.force(draft(), "tester", "claude-2", by=None, now=NOW)
    assert (asked().variant, asked().reason) == ("claude-2", Reason.FORCED)
    experiment = lifecycle.pause(lifecycle.start(again(), by=None, now=NOW), by=None, now=NOW)
    assert asked().reason == Reason.FORCED
    experiment = lifecycle.kill(experiment, by=None, now=NOW)
    assert (asked().variant, asked().reason) == ("gpt-4", Reason.HALTED)
    lifecycle.stop(experiment, by=None, now=NOW)
    assert (asked().variant, asked().reason) == ("gpt-4", Reason.STOPPED)


def test_removed_unit_is_treated_as_any_other() -> None:
    running()
    expected = asked().variant
    assert expected is not None
    other = next(key for key in ("gpt-4", "claude-2") if key != expected)
    forcing.force(again(), "tester", other, by=None, now=NOW)
    assert asked().variant == other
    forcing.unforce(again(), "tester", by=None, now=LATER)
    assert (asked().variant, asked().in_experiment) == (expected, True)
    assert ForcedVariant.objects.get().removed_at == LATER
    with pytest.raises(NotFound):
        forcing.unforce(again(), "tester", by=None, now=LATER)


def test_forced_unit_needs_no_targeting_and_no_coverage() -> None:
    running(targeting={"country": "de"}, coverage_bp=1)
    forcing.force(again(), "tester", "claude-2", by=None, now=NOW)
    assert asked().variant == "claude-2"


@pytest.mark.parametrize(("unit", "variant", "field"), [("u", "gpt-5", "variant"), ("", "gpt-4", "unit")])
def test_forcing_what_is_not_there_is_refused(unit: str, variant: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        forcing.force(running(), unit, variant, by=None, now=NOW)
    assert refused.value.field == field


def test_forcing_in_an_experiment_that_has_ended_is_refused() -> None:
    with pytest.raises(InvalidTransition):
        forcing.force(stopped(), "tester", "gpt-4", by=None, now=NOW)


def test_forcing_too_many_units_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forcing, "MOST", 2)
    running()
    for unit in units(2):
        forcing.force(again(), unit, "gpt-4", by=None, now=NOW)
    forcing.force(again(), "user-1", "claude-2", by=None, now=NOW)
    with pytest.raises(InvalidInput, match="2 units are forced"):
        forcing.force(again(), "user-3", "gpt-4", by=None, now=NOW)


def test_variant_of_a_draft_goes_with_what_is_forced_to_it() -> None:
    forcing.force(draft(), "tester", "llama2-70b", by=None, now=NOW)
    kept = [{"key": key, "weight_bp": 5_000, "is_control": key == "gpt-4"} for key in ("gpt-4", "claude-2")]
    drafts.edit(again(), {"variants": kept}, by=None, now=NOW)
    assert not ForcedVariant.objects.exists()
    assert asked().variant == "gpt-4"


def test_forced_row_of_a_started_experiment_cannot_be_deleted() -> None:
    forcing.force(running(), "tester", "claude-2", by=None, now=NOW)
    with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
        ForcedVariant.objects.all().delete()


def test_unit_that_does_not_fit_the_targeting_gets_the_control_and_is_not_stored() -> None:
    running(targeting={"country": {"$in": ["de", "fr"]}})
    for attributes in ({}, {"country": "us"}, {"country": None}, {"country": "DE"}):
        decision = asked("user-1", **attributes)
        assert (decision.variant, decision.reason, decision.in_experiment) == (
            "gpt-4",
            Reason.TARGETING,
            False,
        )
        assert decision.assigned_at is None
    assert not Assignment.objects.exists()
    inside = asked("user-1", country="de")
    assert inside.in_experiment
    # What was stored is not applied when the targeting does not fit any more, and is when it does again.
    assert asked("user-1", country="us").reason == Reason.TARGETING
    assert asked("user-1", country="fr") == inside
