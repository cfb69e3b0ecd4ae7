"""Every change of an experiment: locked, checked against what the caller saw, written with before and after.

    with changing(experiment, "pause", by=user, now=now, reason=reason) as change:
        change.experiment.state = State.PAUSED

Triggers in the database refuse a transaction that changes an experiment, a layer or the holdout without the row that
this writes, and what the two-person rule covers without an approval in the same transaction.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.db import transaction

from experiments.metrics import TRANSITIONS
from experiments.models import Experiment, ExperimentEvent, Holdout, Layer
from experiments.models.audit import SharedEvent, Subject
from feedback.models import ApiKey
from triageops.rest import Conflict

log = structlog.get_logger(__name__)

REASON_MAX = 2_000

EDIT = "edit"

Actor = User | ApiKey | None
"""Who changes something: a person, a client, or (None) the system itself."""


class InvalidTransition(Conflict):
    """The experiment is not in a state from which this can be done."""

    type = "invalid-transition"
    title = "The experiment is in another state"


class Changed(Conflict):
    """The experiment is not the one that the caller saw."""

    type = "experiment-changed"
    title = "Somebody changed the experiment meanwhile"


@dataclass
class Change:
    """The locked experiment, whose fields the block changes, and what a halt was based on or a request asks for."""

    experiment: Experiment
    evidence: dict[str, Any] = field(default_factory=dict)


def person(by: Actor) -> User | None:
    return by if isinstance(by, User) else None


@contextmanager
def changing(
    experiment: Experiment,
    action: str,
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    sources: Collection[str] | None = None,
) -> Iterator[Change]:
    """Raises InvalidTransition unless the state is one of `sources` (None: any), and Changed.

    An edit that leaves everything as it was writes nothing; any other action is in the audit even then.
    """
    with transaction.atomic():
        locked = lock(experiment, action, sources)
        before = snapshot(locked)
        change = Change(locked)
        yield change
        if action == EDIT and is_same(before, snapshot(locked)):
            # Also the rows of parts that were written anew as they were: the database would ask for their audit.
            transaction.set_rollback(True)
        else:
            locked.version += 1
            locked.save()
            write(change, action, by=by, now=now, reason=reason, before=before)
    experiment.version = locked.version


def lock(experiment: Experiment, action: str, sources: Collection[str] | None) -> Experiment:
    # "No key" lets assignments go on: their foreign key only needs the row's key to stay.
    locked = Experiment.objects.select_for_update(no_key=True).get(pk=experiment.pk)
    if sources is not None and locked.state not in sources:
        raise InvalidTransition(
            f"The experiment {locked.key} is {locked.get_state_display()}; {action.replace('_', ' ')} needs it to be "
            f"{' or '.join(sorted(sources))}."
        )
    if locked.version != experiment.version:
        raise Changed(f"The experiment {locked.key} was changed.", fix="Look at it again and repeat.")
    return locked


def write(
    change: Change, action: str, *, by: Actor, now: datetime, reason: str, before: dict[str, Any]
) -> ExperimentEvent:
    """The audit row; must run in the transaction of what it tells, after the new version was saved."""
    locked = change.experiment
    event = ExperimentEvent.objects.create(
        experiment=locked,
        at=now,
        by=person(by),
        api_key=by if isinstance(by, ApiKey) else None,
        action=action,
        reason=reason[:REASON_MAX],
        before=before,
        after=snapshot(locked),
        evidence=change.evidence,
    )
    transaction.on_commit(partial(_tell, locked, action, by))
    return event


def write_shared(
    row: Layer | Holdout, action: str, *, by: User | None, now: datetime, reason: str, before: dict[str, Any]
) -> SharedEvent:
    """The audit row of a layer or the holdout; must run in the transaction of what it tells, after the row was saved."""
    return SharedEvent.objects.create(
        subject=Subject.LAYER if isinstance(row, Layer) else Subject.HOLDOUT,
        key=row.key,
        at=now,
        by=by,
        action=action,
        reason=reason[:REASON_MAX],
        before=before,
        after=shared_snapshot(row),
    )


def shared_snapshot(row: Layer | Holdout) -> dict[str, Any]:
    if isinstance(row, Layer):
        return {"key": row.key, "description": row.description}
    return {"share_bp": row.share_bp}


def _tell(experiment: Experiment, action: str, by: Actor) -> None:
    who = None if by is None else by.pk
    log.info(
        "experiment.changed", experiment=experiment.key, action=action, version=experiment.version, by=who
    )
    TRANSITIONS.labels(experiment.key, action).inc()


def snapshot(experiment: Experiment) -> dict[str, Any]:
    """The experiment and what belongs to it as JSON, read anew."""
    found: dict[str, Any] = {name: getattr(experiment, name) for name in _PLAIN}
    found |= {name: _iso(getattr(experiment, name)) for name in _TIMES}
    found["layer"] = experiment.layer.key if experiment.layer else None
    found["owner"] = experiment.owner_id
    found["variants"] = list(
        experiment.variants.order_by("position").values("key", "is_control", "weight_bp", "config", "version")
    )
    found["metrics"] = list(experiment.metrics.values(*METRIC_FIELDS))
    found["ramp"] = list(experiment.ramp.values("coverage_bp", "after_hours", "after_units"))
    found["forced"] = dict(experiment.forced.standing().values_list("unit", "variant__key"))
    return found


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def is_same(one: object, other: object) -> bool:
    """Equal as JSON: true is not 1, and 1 is 1.0, which some clients cannot tell apart."""
    if isinstance(one, dict | bool) or isinstance(other, bool):
        return _canonical(one) == _canonical(other)
    return one == other


def _canonical(value: object) -> str:
    return json.dumps(json.loads(json.dumps(value), parse_float=_number), sort_keys=True)


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


_PLAIN = (
    "state", "version", "key", "name", "hypothesis", "unit_kind", "unit_attribute", "coverage_bp", "targeting",
    "layer_share_bp", "obeys_holdout", "design", "alpha", "correction", "minimum_sample", "planned_sample",
    "minimum_effect", "minimum_days", "requires_review", "auto_ship", "config_schema", "bandit_floor_bp",
    "bandit_hours", "epoch", "shipped_variant", "approved_version",
)  # fmt: skip
_TIMES = ("planned_end_at", "starts_at", "stops_at", "started_at", "stopped_at")
METRIC_FIELDS = (
    "key", "name", "role", "kind", "source", "per", "better", "margin", "cap", "window_days", "quantile", "worth",
    "is_adjusted", "halts", "alpha",
)  # fmt: skip
