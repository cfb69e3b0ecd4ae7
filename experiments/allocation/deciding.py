"""A decision for each question: by the definition alone where it suffices, else by what is stored or stored now."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from experiments import catalogue
from experiments.allocation import rows
from experiments.allocation.questions import Asked, Decision, checked_unit, known
from experiments.allocation.waiting import Waiting
from experiments.assignment import BASIS_POINTS
from experiments.placement import Attributes, Definition, Placement, Reason, place
from triageops.rest import Unavailable

_TRIES = 5


def assign(key: str, unit: str, *, now: datetime, attributes: Attributes | None = None) -> Decision:
    """The variant of `unit` in the experiment `key`, stored when it is new; the same answer ever after.

    Raises UnknownExperiment, and InvalidInput for a unit that cannot be stored.
    """
    return decide([Asked(known(key), checked_unit(unit), attributes or {})], now=now)[0]


def decide(asked: Sequence[Asked], *, now: datetime, is_read_only: bool = False) -> list[Decision]:
    """A decision for each question, in order; new assignments are committed when this returns.

    is_read_only: nothing is stored, for those who only look.
    """
    for _ in range(_TRIES):
        found = _try(asked, now, is_read_only=is_read_only)
        if found is not None:
            return found
        # An experiment was changed since this process last looked.
        fresh = {one.id: one for one in catalogue.refreshed().values()}
        asked = [one._replace(definition=fresh.get(one.definition.id) or _ended(one)) for one in asked]
    raise Unavailable


def _ended(asked: Asked) -> Definition:
    """Of an experiment that was archived meanwhile."""
    return replace(asked.definition, state="stopped")


def _try(asked: Sequence[Asked], now: datetime, *, is_read_only: bool) -> list[Decision] | None:
    """None when a definition turned out to be out of date."""
    placements = [place(one.definition, one.unit, one.attributes) for one in asked]
    waiting = [
        Waiting(
            index, one, placement.arm, placement.bucket, one.definition.floor, stays_only=placement.may_stay
        )
        for index, (one, placement) in enumerate(zip(asked, placements, strict=True))
        if (placement.is_in or placement.may_stay)
        and placement.arm is not None
        and placement.bucket is not None
    ]
    if waiting:
        rows.look_up(waiting)
        waiting = [one for one in waiting if one.row is not None or one.is_moved or not one.stays_only]
        new = [one for one in waiting if one.row is None]
        if new and not is_read_only and not rows.store(new, now):
            return None
    decisions = [_outside(one, placement) for one, placement in zip(asked, placements, strict=True)]
    for one in waiting:
        decisions[one.index] = _inside(one)
    return decisions


def _outside(asked: Asked, placement: Placement) -> Decision:
    definition = asked.definition
    bucket = None if placement.bucket is None else placement.bucket / BASIS_POINTS
    if placement.arm is None:
        return Decision(definition.key, None, {}, in_experiment=False, reason=placement.reason, bucket=bucket)
    arm = definition.arms[placement.arm]
    return Decision(
        definition.key,
        arm.key,
        arm.config,
        in_experiment=False,
        reason=placement.reason,
        bucket=bucket,
        config_hash=arm.config_hash,
        variant_version=arm.version,
        epoch=definition.epoch or None,
    )


def _inside(one: Waiting) -> Decision:
    definition, arm = one.asked.definition, one.asked.definition.arms[one.arm]
    return Decision(
        definition.key,
        arm.key,
        arm.config,
        in_experiment=True,
        reason=Reason.SPLIT,
        bucket=one.bucket / BASIS_POINTS,
        assigned_at=None if one.row is None else one.row.assigned_at,
        config_hash=arm.config_hash,
        variant_version=arm.version,
        epoch=definition.epoch if one.row is None else one.row.stored.epoch,
    )
