"""How an experiment moves from state to state; admin, REST and commands all call these functions.

Each takes the experiment as the caller saw it, locks the row and refuses with `Changed` when somebody was faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from experiments.assignment import BASIS_POINTS
from experiments.definition import in_percent
from experiments.metrics import TRANSITIONS
from experiments.models import Experiment, ExperimentEvent, State, Variant
from triageops.rest import Conflict

log = structlog.get_logger(__name__)


class InvalidTransition(Conflict):
    """The experiment is not in a state from which this can be done."""

    type = "invalid-transition"
    title = "The experiment is in another state"


class NotReady(Conflict):
    """The start checklist has open points; the member `missing` lists all of them."""

    type = "experiment-not-ready"
    title = "The experiment is not ready to start"


class Changed(Conflict):
    """The experiment is not the one that the caller saw."""

    type = "experiment-changed"
    title = "Somebody changed the experiment meanwhile"


@dataclass(frozen=True)
class Transition:
    """From where to where."""

    action: str
    sources: frozenset[State]
    target: State


START = Transition("start", frozenset({State.DRAFT}), State.RUNNING)
STOP = Transition("stop", frozenset({State.RUNNING}), State.STOPPED)
TABLE = (START, STOP)


def allowed(state: str) -> tuple[Transition, ...]:
    """What can be done from this state."""
    return tuple(transition for transition in TABLE if state in transition.sources)


def missing_for_start(experiment: Experiment, variants: Sequence[Variant]) -> list[str]:
    """What must be done before the experiment can start, as sentences; empty when it is ready."""
    missing = []
    if len(variants) < 2:
        missing.append(f"It has {len(variants)} of at least two variants; add {2 - len(variants)}.")
    control_count = sum(variant.is_control for variant in variants)
    if control_count != 1:
        missing.append(f"It has {control_count} controls; mark exactly one variant as the control.")
    total = sum(variant.weight_bp for variant in variants)
    if total != BASIS_POINTS:
        missing.append(f"The weights sum to {in_percent(total)}; make them 100 %.")
    if experiment.coverage_bp == 0:
        missing.append("The coverage is 0 %, so nobody would take part; raise it.")
    missing += _invalid_fields(experiment, "The experiment's")
    for variant in variants:
        missing += _invalid_fields(variant, f"Variant {variant.key}:")
    return missing


def _invalid_fields(row: Experiment | Variant, whose: str) -> list[str]:
    try:
        row.clean_fields(exclude={"experiment", "owner"})
    except ValidationError as error:
        return [
            f"{whose} {field} is not valid: {' '.join(said)}" for field, said in error.message_dict.items()
        ]
    return []


def start(experiment: Experiment, *, by: User | None, now: datetime, reason: str = "") -> Experiment:
    """Assign from now on; gives the running experiment.

    Raises NotReady with everything that is missing, InvalidTransition, or Changed.
    """
    with transaction.atomic():
        locked = _lock(experiment, START)
        before = snapshot(locked)
        missing = missing_for_start(locked, list(locked.variants.all()))
        if missing:
            raise NotReady(
                " ".join(missing), fix="Complete the experiment and start it again.", missing=missing
            )
        locked.started_at = now
        _move(locked, START, ExperimentEvent(at=now, by=by, reason=reason, before=before))
        transaction.on_commit(lambda: log.info("experiment.started", **_log_fields(locked, by)))
    return locked


def stop(experiment: Experiment, *, by: User | None, now: datetime, reason: str = "") -> Experiment:
    """Assign nobody any more: everyone gets the control's config; gives the stopped experiment.

    Raises InvalidTransition or Changed. A call that is answered in the same instant may still store its assignment.
    """
    with transaction.atomic():
        locked = _lock(experiment, STOP)
        before = snapshot(locked)
        # Clocks of two machines may differ; an experiment does not end before it began.
        locked.stopped_at = max(now, locked.started_at or now)
        _move(locked, STOP, ExperimentEvent(at=now, by=by, reason=reason, before=before))
        transaction.on_commit(lambda: log.info("experiment.stopped", **_log_fields(locked, by)))
    return locked


def _lock(experiment: Experiment, transition: Transition) -> Experiment:
    # "No key" lets assignments go on: their foreign key only needs the row's key to stay.
    locked = Experiment.objects.select_for_update(no_key=True).get(pk=experiment.pk)
    if locked.state not in transition.sources:
        raise InvalidTransition(
            f"The experiment {locked.key} is {locked.state}; {transition.action} needs it to be "
            f"{' or '.join(sorted(transition.sources))}."
        )
    if locked.version != experiment.version:
        raise Changed(f"The experiment {locked.key} was changed.", fix="Look at it again and repeat.")
    return locked


def _move(locked: Experiment, transition: Transition, event: ExperimentEvent) -> None:
    locked.state = transition.target
    locked.version += 1
    locked.save()
    event.experiment, event.action, event.after = locked, transition.action, snapshot(locked)
    event.save()
    transaction.on_commit(lambda: TRANSITIONS.labels(locked.key, transition.action).inc())


def _log_fields(experiment: Experiment, by: User | None) -> dict[str, Any]:
    return {"experiment": experiment.key, "version": experiment.version, "by": None if by is None else by.pk}


def snapshot(experiment: Experiment) -> dict[str, Any]:
    """The experiment and its variants as JSON, for the audit."""
    variants = [
        {"key": one.key, "is_control": one.is_control, "weight_bp": one.weight_bp, "config": one.config}
        for one in experiment.variants.all()
    ]
    return {
        "state": experiment.state,
        "version": experiment.version,
        "key": experiment.key,
        "name": experiment.name,
        "hypothesis": experiment.hypothesis,
        "unit_kind": experiment.unit_kind,
        "coverage_bp": experiment.coverage_bp,
        "started_at": experiment.started_at and experiment.started_at.isoformat(),
        "stopped_at": experiment.stopped_at and experiment.stopped_at.isoformat(),
        "variants": variants,
    }
