"""Nothing of an experiment, a layer or the holdout changes without a row in its audit, whoever writes."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Model
from django.test import Client

from experiments import audit, forcing, layers, lifecycle, reviews
from experiments.audit import Change, changing
from experiments.epochs import describe_weights
from experiments.models import (
    AllocationEpoch,
    ChangeRequest,
    Experiment,
    ExperimentEvent,
    ExperimentMetric,
    ForcedVariant,
    Holdout,
    Layer,
    LayerSlot,
    Look,
    LookEstimate,
    RampStep,
    SequentialPlan,
    Variant,
    VariantVersion,
)
from experiments.models.audit import SharedEvent
from tests.experiments.factories import NOW, draft, running

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOW + timedelta(days=1)


def parts(experiment: Experiment) -> None:
    ExperimentMetric.objects.create(experiment=experiment, key="m", name="m", source="response:cost")
    RampStep.objects.create(experiment=experiment, coverage_bp=10_000)


def whole(**changes: Any) -> Experiment:
    """A draft with a metric, a step, and a forced unit."""
    with transaction.atomic():
        experiment = draft(coverage_bp=5_000, **changes)
        parts(experiment)
    forcing.force(experiment, "tester", "gpt-4", by=None, now=NOW)
    return Experiment.objects.get(pk=experiment.pk)


def refused_at_commit(act: Callable[[], Any]) -> None:
    with pytest.raises(IntegrityError, match="is not in its audit"), transaction.atomic():
        act()


@transaction.atomic
def with_audit(experiment: Experiment, act: Callable[[], Any]) -> None:
    audit.write(Change(experiment), "edit", by=None, now=NOW, reason="", before={})
    act()


DRAFT_CHANGES: dict[str, Callable[[], Any]] = {
    "experiment": lambda: Experiment.objects.update(name="another", version=F("version") + 1),
    "variant": lambda: Variant.objects.filter(key="gpt-4").update(config={}),
    "variant deleted": lambda: Variant.objects.filter(key="claude-2").delete(),
    "variant added": lambda: Variant.objects.create(
        experiment=Experiment.objects.get(), key="new", position=9, weight_bp=0
    ),
    "metric": lambda: ExperimentMetric.objects.update(margin=0.5),
    "metric deleted": lambda: ExperimentMetric.objects.all().delete(),
    "ramp": lambda: RampStep.objects.update(after_hours=1),
    "ramp reached": lambda: RampStep.objects.update(reached_at=NOW),
    "ramp deleted": lambda: RampStep.objects.all().delete(),
    "forced ended": lambda: ForcedVariant.objects.update(removed_at=LATER),
    "forced added": lambda: ForcedVariant.objects.create(
        experiment=Experiment.objects.get(), unit="u", variant=Variant.objects.all()[0], created_at=NOW
    ),
    "another experiment": lambda: Experiment.objects.create(key="unaudited", name="x"),
}


@pytest.mark.parametrize("act", DRAFT_CHANGES.values(), ids=list(DRAFT_CHANGES))
def test_change_of_a_draft_without_audit_is_refused_at_commit(act: Callable[[], Any]) -> None:
    experiment = whole()
    refused_at_commit(act)
    with transaction.atomic():
        act()
        for one in Experiment.objects.all():
            audit.write(Change(one), "edit", by=None, now=NOW, reason="", before={})
    assert ExperimentEvent.objects.filter(experiment=experiment, action="edit").exists()


UNDER_WAY_CHANGES: dict[str, Callable[[], Any]] = {
    "epoch ended": lambda: AllocationEpoch.objects.update(ended_at=LATER),
    "experiment": lambda: Experiment.objects.update(hypothesis="hindsight", version=F("version") + 1),
    "ramp reached": lambda: RampStep.objects.update(reached_at=NOW),
    "forced ended": lambda: ForcedVariant.objects.update(removed_at=LATER),
    "slots released": lambda: LayerSlot.objects.update(released_at=LATER),
    "request": lambda: ChangeRequest.objects.create(
        experiment=Experiment.objects.get(),
        action="revise",
        arguments={},
        requested_by=User.objects.get(),
        requested_at=NOW,
    ),
}


@pytest.mark.parametrize("act", UNDER_WAY_CHANGES.values(), ids=list(UNDER_WAY_CHANGES))
def test_change_under_way_without_audit_is_refused_at_commit(act: Callable[[], Any]) -> None:
    User.objects.create(username="ann")
    lifecycle.start(whole(layer=layers.save(Layer(key="prompts"), by=None, now=NOW)), by=None, now=NOW)
    with pytest.raises(IntegrityError, match=r"is not in its audit|differs from its open epoch"):
        act()


def test_audit_of_another_experiment_or_an_earlier_transaction_does_not_count() -> None:
    experiment, other = whole(), draft(key="other")

    def with_anothers_audit() -> None:
        Variant.objects.filter(experiment=experiment, key="gpt-4").update(config={})
        audit.write(Change(other), "edit", by=None, now=NOW, reason="", before={})

    refused_at_commit(with_anothers_audit)
    audit.write(Change(experiment), "edit", by=None, now=NOW, reason="", before={})
    refused_at_commit(lambda: Variant.objects.filter(experiment=experiment, key="gpt-4").update(config={}))


def written(experiment: Experiment) -> None:
    """A row of everything that is written once."""
    look = Look.objects.create(
        experiment=experiment, phase=1, at=NOW, seconds=1, unit_count=0, decision="keep", sentence="."
    )
    LookEstimate.objects.create(look=look, metric="m", variant="gpt-4", n=0)
    SequentialPlan.objects.create(
        experiment=experiment, phase=1, metric="m", variant="gpt-4", alpha=0.05, tau2=1, planned_information=1,
        planned_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (AllocationEpoch, {"weights": {}}),
        (AllocationEpoch, {"ranges": []}),
        (AllocationEpoch, {"ended_at": None, "salt": "another"}),
        (VariantVersion, {"config": {}}),
        (Look, {"decision": "ship"}),
        (LookEstimate, {"p_any": 0.01}),
        (SequentialPlan, {"tau2": 2.0}),
        (ForcedVariant, {"unit": "another"}),
        (LayerSlot, {"first": 1}),
        (ExperimentEvent, {"reason": "another"}),
    ],
)
def test_what_is_written_once_cannot_be_changed_or_deleted_even_with_audit(
    model: type[Model], changes: dict[str, Any]
) -> None:
    experiment = lifecycle.start(
        whole(layer=layers.save(Layer(key="prompts"), by=None, now=NOW)), by=None, now=NOW
    )
    written(experiment)
    rows = model._default_manager.all()

    assert rows.exists()
    for act in (lambda: rows.update(**changes), lambda: rows._raw_delete("default")):
        with pytest.raises(IntegrityError, match="written once"):
            with_audit(experiment, act)


def test_end_of_an_epoch_is_written_once() -> None:
    lifecycle.stop(running(), by=None, now=LATER)
    with pytest.raises(IntegrityError, match="only their end"):
        AllocationEpoch.objects.update(ended_at=NOW)


def test_weight_that_differs_from_the_open_epoch_is_refused_even_with_audit() -> None:
    experiment = running()
    for changes in ({"weight_bp": 1}, {"config": {"model": "x"}, "version": 2}):
        act = partial(Variant.objects.filter(key="gpt-4").update, **changes)
        with pytest.raises(IntegrityError, match="differs from its open epoch"):
            with_audit(experiment, act)


def test_failed_change_leaves_nothing_behind() -> None:
    experiment = running()

    def fail() -> None:
        with changing(experiment, "pause", by=None, now=NOW) as change:
            change.experiment.state = "paused"
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert (Experiment.objects.get().state, experiment.version) == ("running", 2)
    assert ExperimentEvent.objects.count() == 2


def test_reason_of_any_length_is_cut_and_names_stay() -> None:
    ann = User.objects.create(username="ann")
    lifecycle.pause(running(), by=ann, now=NOW, reason="é" * 5_000)
    event = ExperimentEvent.objects.latest("id")
    assert (len(event.reason), event.by) == (2_000, ann)


def test_audit_takes_part_in_reviews_too() -> None:
    ann, ben = (User.objects.create(username=name) for name in ("ann", "ben"))
    asked = reviews.request(running(), "change_coverage", {"coverage_bp": 500}, by=ann, now=NOW)
    reviews.decide(asked, is_approved=True, by=ben, now=LATER)
    actions = list(ExperimentEvent.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["create", "start", "request_change", "approve_change", "change_coverage"]
    connection.check_constraints()


def shared() -> Layer:
    layers.hold_out(100, by=None, now=NOW)
    return layers.save(Layer(key="prompts"), by=None, now=NOW)


SHARED_CHANGES: dict[str, tuple[Callable[[], Any], str]] = {
    "layer made": (lambda: Layer.objects.create(key="another"), "layer another"),
    "layer described": (lambda: Layer.objects.update(description="x"), "layer prompts"),
    "layer deleted": (lambda: Layer.objects.all()._raw_delete("default"), "layer prompts"),
    "share": (lambda: Holdout.objects.update(share_bp=9_000), "holdout global"),
    "holdout deleted": (lambda: Holdout.objects.all().delete(), "holdout global"),
    "raw share": (lambda: raw("UPDATE experiments_holdout SET share_bp = 0"), "holdout global"),
    "raw layer": (
        lambda: raw(
            "INSERT INTO experiments_layer (key, description, salt, created_at) VALUES ('raw', '', 's', now())"
        ),
        "layer raw",
    ),
}


def raw(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@transaction.atomic
def with_shared_audit(row: Layer | Holdout, act: Callable[[], Any]) -> None:
    audit.write_shared(row, "by hand", by=None, now=NOW, reason="", before={})
    act()


@pytest.mark.parametrize(("act", "said"), SHARED_CHANGES.values(), ids=list(SHARED_CHANGES))
def test_change_of_what_is_shared_without_audit_is_refused_at_commit(
    act: Callable[[], Any], said: str
) -> None:
    layer, holdout = shared(), Holdout.objects.get()
    with pytest.raises(IntegrityError, match=f"a change of the {said} is not in its audit"):
        act()
    # Neither an audit of an earlier transaction nor one of something else counts.
    other = Layer(key="other") if said.startswith("holdout") else holdout
    with pytest.raises(IntegrityError, match=f"a change of the {said} is not in its audit"):
        with_shared_audit(other, act)
    assert (Layer.objects.get(), Holdout.objects.get().share_bp) == (layer, 100)
    subject, key = said.split()
    with_shared_audit(Holdout() if subject == "holdout" else Layer(key=key), act)
    assert SharedEvent.objects.latest("id").action == "by hand"


@pytest.mark.parametrize("model", [Layer, Holdout])
@pytest.mark.parametrize("changes", [{"salt": "another"}, {"key": "another"}])
def test_key_and_salt_of_what_is_shared_never_change_even_with_audit(
    model: type[Layer | Holdout], changes: dict[str, str]
) -> None:
    shared()
    act = partial(model._default_manager.all().update, **changes)
    with pytest.raises(IntegrityError, match="never change"):
        with_shared_audit(model._default_manager.get(), act)


def test_audit_of_what_is_shared_is_written_once() -> None:
    shared()
    for act in (
        lambda: SharedEvent.objects.update(reason="another"),
        lambda: SharedEvent.objects.all().delete(),
        lambda: raw("UPDATE experiments_sharedevent SET before = '{}'"),
    ):
        with pytest.raises(IntegrityError, match="written once"):
            act()


def test_failed_change_of_what_is_shared_leaves_no_audit() -> None:
    shared()
    with pytest.raises(IntegrityError, match="layer_key"):
        layers.save(Layer(key="prompts"), by=None, now=NOW)
    assert SharedEvent.objects.count() == 2


def test_edit_that_changes_nothing_is_not_written_and_any_other_action_is() -> None:
    experiment = whole()
    count = ExperimentEvent.objects.count()
    with changing(experiment, "edit", by=None, now=NOW):
        # Written anew as it was: at the end the database would ask for the audit of this.
        Variant.objects.filter(experiment=experiment).update(weight_bp=F("weight_bp"))
    assert (Experiment.objects.get().version, ExperimentEvent.objects.count()) == (experiment.version, count)
    with changing(experiment, "checked", by=None, now=NOW):
        pass
    assert ExperimentEvent.objects.latest("id").action == "checked"
    assert Experiment.objects.get().version == experiment.version


def audit_page(experiment: Experiment) -> str:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    page = client.get(f"/admin/experiments/experiment/{experiment.pk}/audit/")
    assert page.status_code == 200
    return page.content.decode()


def test_audit_page_says_what_was_asked_for_and_decided() -> None:
    ann, ben = (User.objects.create(username=name) for name in ("ann", "ben"))
    experiment = lifecycle.start(draft(), by=None, now=NOW)
    weights = {"gpt-4": 4_000, "claude-2": 4_000, "llama2-70b": 2_000}
    arguments = {"kind": "sticky", "weights": weights}
    asked = reviews.request(experiment, "change_weights", arguments, by=ann, now=NOW)
    reviews.decide(asked, is_approved=False, by=ben, now=LATER)
    said = audit_page(experiment)
    assert said.count(f"weights {describe_weights(weights)} (sticky)") == 2


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"action": "paint", "arguments": {}},
        {"action": "change_weights", "arguments": {"kind": "sometimes", "weights": {}}},
        {"action": "change_weights", "arguments": {"kind": "sticky", "weights": [1]}},
        {"action": "change_coverage", "arguments": {"coverage_bp": "all"}},
        {"action": "revise", "arguments": {}},
        {"action": ["ship"], "arguments": {}},
        {"action": "ship", "arguments": None},
    ],
)
def test_audit_page_of_a_request_that_nobody_knows_any_more_shows_the_rest(evidence: dict[str, Any]) -> None:
    experiment = draft()
    with changing(experiment, "request_change", by=None, now=NOW, reason="for a good reason") as change:
        change.evidence = evidence
    assert "for a good reason" in audit_page(experiment)
