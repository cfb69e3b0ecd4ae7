"""Which variant one unit gets, for good: the stored assignment wins, else the hash decides and is stored.

A known unit costs one query, a new one three. Only the unique constraint decides who is first, so that no number of
processes can give one unit two variants.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.db.models import FilteredRelation, Q

from experiments import assignment
from experiments.assignment import BASIS_POINTS
from experiments.definition import UNIT_MAX, is_key
from experiments.metrics import ASSIGNMENTS
from experiments.models import Experiment, State, Variant
from triageops.rest import InvalidInput, NotFound


class UnknownExperiment(NotFound):
    type = "unknown-experiment"
    title = "There is no such experiment"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"There is no experiment with the key {key!r}.",
            field="key",
            fix="GET /api/v1/experiments lists all of them.",
        )


class Reason(models.TextChoices):
    """Why a unit gets what it gets; the values of a state that assigns nobody are the state's own."""

    SPLIT = "split", "assigned by weight"
    COVERAGE = "coverage", "the coverage leaves the unit out"
    DRAFT = "draft", "the experiment has not started"
    STOPPED = "stopped", "the experiment has ended"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a client does with one unit.

    variant: None only for a draft without a control. bucket: in [0, 1), None while nobody is assigned. assigned_at: when
    the unit was first seen, None outside the experiment.
    """

    experiment: str
    variant: str | None
    config: dict[str, Any]
    in_experiment: bool
    reason: Reason
    bucket: float | None = None
    assigned_at: datetime | None = None


def assign(key: str, unit: str, *, now: datetime) -> Decision:
    """The variant of `unit` in the experiment `key`, stored when it is new; the same answer ever after.

    Raises UnknownExperiment, and InvalidInput for a unit that cannot be stored.
    """
    _check_unit(unit)
    found = _look_up(key, unit)
    if found.state != State.RUNNING:
        return _control(found.id, key, Reason(found.state))
    if found.stored__assigned_at is not None:
        return Decision(
            experiment=key,
            variant=found.stored__variant__key,
            config=found.stored__variant__config,
            in_experiment=True,
            reason=Reason.SPLIT,
            bucket=found.stored__bucket,
            assigned_at=found.stored__assigned_at,
        )
    arms = list(Variant.objects.filter(experiment_id=found.id).order_by("position"))
    weights = [arm.weight_bp for arm in arms]
    chosen = assignment.assign(found.salt, unit, weights, found.coverage_bp / BASIS_POINTS)
    if chosen is None:
        return _control(found.id, key, Reason.COVERAGE, assignment.bucket(found.salt, unit))
    arm = arms[chosen.arm]
    if not _store(arm, unit, chosen.bucket, now):
        # Another process was first, or the experiment was stopped: what is stored now answers.
        return assign(key, unit, now=now)
    ASSIGNMENTS.labels(key, arm.key).inc()
    return Decision(
        key,
        arm.key,
        arm.config,
        in_experiment=True,
        reason=Reason.SPLIT,
        bucket=chosen.bucket,
        assigned_at=now,
    )


def _check_unit(unit: str) -> None:
    if not unit:
        raise InvalidInput(
            "The unit is empty.", field="unit", fix="Send the pseudonymous id of the user or case."
        )
    if len(unit) > UNIT_MAX:
        raise InvalidInput(
            f"The unit has {len(unit)} characters; the most is {UNIT_MAX}.",
            field="unit",
            fix="Send a shorter id, for instance its SHA-256 in hexadecimal.",
        )
    if "\0" in unit or any("\ud800" <= character <= "\udfff" for character in unit):
        raise InvalidInput(
            "The unit holds a NUL character or half a surrogate pair.",
            field="unit",
            fix="Send text that is valid Unicode without U+0000.",
        )


def _look_up(key: str, unit: str) -> Any:
    """The experiment with the unit's stored assignment, all in one row."""
    found = is_key(key) and (
        Experiment.objects.filter(key=key)
        .annotate(stored=FilteredRelation("assignments", condition=Q(assignments__unit=unit)))
        .values_list(
            "id",
            "salt",
            "state",
            "coverage_bp",
            "stored__variant__key",
            "stored__variant__config",
            "stored__bucket",
            "stored__assigned_at",
            named=True,
        )
        .first()
    )
    if not found:
        raise UnknownExperiment(key)
    return found


def _control(experiment_id: int, key: str, reason: Reason, bucket: float | None = None) -> Decision:
    control = Variant.objects.filter(experiment_id=experiment_id, is_control=True).first()
    if control is None:
        return Decision(key, None, {}, in_experiment=False, reason=reason, bucket=bucket)
    return Decision(key, control.key, control.config, in_experiment=False, reason=reason, bucket=bucket)


_INSERT = """
    INSERT INTO experiments_assignment (experiment_id, unit, variant_id, bucket, assigned_at)
    SELECT id, %s, %s, %s, %s FROM experiments_experiment WHERE id = %s AND state = 'running'
    ON CONFLICT (unit, experiment_id) DO NOTHING
"""


def _store(arm: Variant, unit: str, bucket: float, now: datetime) -> bool:
    """Whether this call stored the assignment; not when it is there already or the experiment is not running."""
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [unit, arm.pk, bucket, now, arm.experiment_id])
        return bool(cursor.rowcount)
