"""Halted experiments for tests: a change of state with its row in the audit, as experiments write them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from experiments.models import (
    AllocationEpoch,
    Experiment,
    ExperimentEvent,
    State,
    Variant,
    VariantVersion,
)

STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = STARTED + timedelta(days=2)
SOON = AT + timedelta(seconds=4)

EVIDENCE: dict[str, Any] = {
    "headline": "claude-2 is worse than gpt-4 on helpful answers by 4.1 points (2.2 to 6.0)",
    "metric": "helpful answers",
    "variant": "claude-2",
    "control": "gpt-4",
    "effect": -0.041,
    "low": -0.06,
    "high": -0.022,
    "n_treatment": 1240,
    "n_control": 2050,
    "value_treatment": 0.791,
    "value_control": 0.832,
    "log_e": 3.44,
    "alpha": 0.05,
    "style": "share",
    "unit": "",
    "affected_count": 1300,
    "sample_response_ids": ["r-1", "r-2?x=1&y"],
    "onset_at": (AT - timedelta(hours=3)).isoformat(),
}


def running(key: str = "llm_model_ab_test") -> Experiment:
    """A complete experiment under way, with its epoch and its row in the audit."""
    with transaction.atomic():
        experiment = Experiment.objects.create(key=key, name="Which model")
        weights = {"gpt-4": 5_000, "claude-2": 5_000}
        for position, (name, weight_bp) in enumerate(weights.items()):
            variant = Variant.objects.create(
                experiment=experiment,
                key=name,
                position=position,
                is_control=not position,
                weight_bp=weight_bp,
            )
            VariantVersion.objects.create(
                variant=variant, number=1, config={}, config_hash="made-up", created_at=STARTED
            )
        AllocationEpoch.objects.create(
            experiment=experiment,
            number=1,
            phase=1,
            kind="start",
            salt=experiment.salt,
            coverage_bp=experiment.coverage_bp,
            weights=weights,
            versions=dict.fromkeys(weights, 1),
            ranges=[],
            started_at=STARTED,
        )
        change(experiment, "start", State.RUNNING, at=STARTED, started_at=STARTED, epoch=1)
    experiment.refresh_from_db()
    return experiment


def change(
    experiment: Experiment,
    action: str,
    state: State,
    *,
    at: datetime = AT,
    by: User | None = None,
    reason: str = "",
    evidence: dict[str, Any] | None = None,
    **fields: Any,
) -> ExperimentEvent:
    """Move the experiment, and write the row of the audit, in one transaction."""
    experiment.refresh_from_db()
    before = {"state": experiment.state, "version": experiment.version}
    with transaction.atomic():
        if state == State.STOPPED:
            fields["stopped_at"] = at
            AllocationEpoch.objects.filter(experiment=experiment).update(ended_at=at)
        Experiment.objects.filter(pk=experiment.pk).update(state=state, version=F("version") + 1, **fields)
        return ExperimentEvent.objects.create(
            experiment=experiment,
            at=at,
            by=by,
            action=action,
            reason=reason,
            before=before,
            after={"state": state, "version": experiment.version + 1},
            evidence=evidence or {},
        )


def halt(experiment: Experiment, evidence: dict[str, Any] | None = None, **changes: Any) -> ExperimentEvent:
    return change(
        experiment, "halt", State.HALTED, evidence=EVIDENCE if evidence is None else evidence, **changes
    )
