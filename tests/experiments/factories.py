"""Rows for tests: plain functions, every detail can be changed by keyword."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from experiments import audit, lifecycle
from experiments.audit import Change
from experiments.models import Experiment, Variant

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WEIGHTS = {"gpt-4": 5_000, "claude-2": 3_000, "llama2-70b": 2_000}


def draft(weights: dict[str, int] | None = None, control: str | None = "gpt-4", **changes: Any) -> Experiment:
    """A draft with the variants of `weights`; each has the config {"model": key}."""
    # At once, as the audit asks for it.
    with transaction.atomic():
        return _drafted(WEIGHTS if weights is None else weights, control, changes)


def _drafted(weights: dict[str, int], control: str | None, changes: dict[str, Any]) -> Experiment:
    experiment = Experiment.objects.create(**({"key": "llm_model_ab_test", "name": "Which model"} | changes))
    for position, (key, weight_bp) in enumerate(weights.items()):
        Variant.objects.create(
            experiment=experiment,
            key=key,
            position=position,
            is_control=key == control,
            weight_bp=weight_bp,
            config={"model": key},
        )
    audit.write(Change(experiment), "create", by=None, now=NOW, reason="", before={})
    return experiment


def running(weights: dict[str, int] | None = None, **changes: Any) -> Experiment:
    return lifecycle.start(draft(weights, **changes), by=None, now=NOW)


def stopped(**changes: Any) -> Experiment:
    return lifecycle.stop(running(**changes), by=None, now=NOW)


def units(count: int) -> Sequence[str]:
    return [f"user-{number}" for number in range(count)]
