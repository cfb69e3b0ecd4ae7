"""The experiments as they are served, compiled, in each process; a change is known everywhere within half a second.

PostgreSQL is asked for the versions at most every POLL_SECONDS, and only what changed is read again: the kill switch needs
neither Redis nor a message. Every change of an experiment, and of what belongs to it, makes a new version of it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from django.db import models
from django.db.models import F, Q

from experiments import targeting
from experiments.models import (
    AllocationEpoch,
    EpochKind,
    Experiment,
    ForcedVariant,
    State,
    Variant,
)
from experiments.placement import Arm, Attributes, Definition, Filter, Move, Reason, compiled_table
from experiments.ranges import FREE

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.4

Versions = dict[int, int]
Row = TypeVar("Row", Variant, AllocationEpoch, ForcedVariant)


@dataclass
class _Kept:
    versions: Versions = field(default_factory=dict)
    by_key: Mapping[str, Definition] = field(default_factory=dict)
    read_at: float = float("-inf")
    number: int = 0
    """Grows when anything changed; what is computed from all definitions is kept under it."""


_kept = _Kept()
_lock = threading.Lock()


def definitions() -> Mapping[str, Definition]:
    """All that clients may ask for, by key."""
    is_old = time.monotonic() - _kept.read_at >= POLL_SECONDS
    # One thread asks; the others go on with what is known, unless nothing is.
    if is_old and _lock.acquire(blocking=not _kept.by_key):
        try:
            _refresh()
        finally:
            _lock.release()
    return _kept.by_key


def find(key: str) -> Definition | None:
    return definitions().get(key)


def number() -> int:
    """Changes whenever `definitions` does, in this process."""
    return _kept.number


def refreshed() -> Mapping[str, Definition]:
    """Read anew at once: a write found that what is known is out of date."""
    with _lock:
        _refresh()
    return _kept.by_key


def forget() -> None:
    """Know nothing, as a process that has just started."""
    _kept.versions, _kept.by_key, _kept.read_at = {}, {}, float("-inf")
    _kept.number += 1


def _refresh() -> None:
    asked_at = time.monotonic()
    versions: Versions = dict(Experiment.objects.served().order_by().values_list("pk", "version"))
    if versions != _kept.versions:
        changed = [pk for pk, version in versions.items() if _kept.versions.get(pk) != version]
        kept = {one.key: one for one in _kept.by_key.values() if one.id in versions and one.id not in changed}
        read = {one.key: one for one in compiled(changed)}
        _kept.by_key = dict(sorted((kept | read).items()))
        _kept.versions = versions
        _kept.number += 1
    _kept.read_at = asked_at


def compiled(ids: list[int]) -> list[Definition]:
    """The definitions of these experiments, five queries for all of them."""
    rows = Experiment.objects.filter(pk__in=ids)
    experiments = list(rows)
    while True:
        variants = _grouped(Variant.objects.filter(experiment__in=ids).order_by("position"))
        epochs = _grouped(_epochs_that_count().filter(experiment__in=ids).order_by("number"))
        forced = _grouped(ForcedVariant.objects.standing().filter(experiment__in=ids))
        # What belongs together was changed together; whatever changed between two of the queries is read again.
        again = list(rows.all())
        if _versions(again) == _versions(experiments):
            break
        experiments = again
    return [
        definition(one, variants.get(one.pk, []), epochs.get(one.pk, []), forced.get(one.pk, []))
        for one in experiments
    ]


def _versions(experiments: list[Experiment]) -> Versions:
    return {one.pk: one.version for one in experiments}


def _epochs_that_count() -> models.QuerySet[AllocationEpoch]:
    """The current ones, and those that moved units or dealt them anew: a bandit has thousands of others."""
    return AllocationEpoch.objects.filter(
        Q(number=F("experiment__epoch")) | Q(kind__in=(EpochKind.START, EpochKind.RERANDOMISE)) | ~Q(moved=[])
    )


def _grouped(rows: models.QuerySet[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.experiment_id, []).append(row)
    return found


def definition(
    experiment: Experiment,
    variants: list[Variant],
    epochs: list[AllocationEpoch],
    forced: list[ForcedVariant],
) -> Definition:
    arms = tuple(_arm(variant) for variant in variants)
    positions = {arm.key: position for position, arm in enumerate(arms)}
    by_id = {arm.id: position for position, arm in enumerate(arms)}
    control = next((position for position, arm in enumerate(arms) if arm.is_control), None)
    return Definition(
        id=experiment.pk,
        key=experiment.key,
        salt=experiment.salt,
        state=experiment.state,
        arms=arms,
        targeting=experiment.targeting,
        condition=_condition(experiment),
        unit_attribute=experiment.unit_attribute,
        forced={row.unit: by_id[row.variant_id] for row in forced},
        shipped=positions.get(experiment.shipped_variant) if experiment.state == State.SHIPPED else None,
        control=control,
        **_dealt(arms, positions, epochs),
    )


def _condition(experiment: Experiment) -> Callable[[Attributes], bool] | None:
    if not experiment.targeting:
        return None
    try:
        return targeting.compiled(experiment.targeting)
    except targeting.InvalidCondition as error:
        # Stored when it was still valid, or written by hand: this experiment is for nobody, the others go on.
        log.error("targeting.invalid", experiment=experiment.key, problem=str(error))  # noqa: TRY400
        return _nobody


def _nobody(_: Attributes) -> bool:
    return False


def _arm(variant: Variant) -> Arm:
    return Arm(
        variant.pk,
        variant.key,
        variant.is_control,
        variant.config,
        variant.config_hash,
        variant.version,
    )


def _dealt(
    arms: tuple[Arm, ...], positions: Mapping[str, int], epochs: list[AllocationEpoch]
) -> dict[str, Any]:
    if not epochs:
        return {}
    last = epochs[-1]
    floor = max(epoch.number for epoch in epochs if epoch.kind in {EpochKind.START, EpochKind.RERANDOMISE})
    changes = [(epoch.number, *change) for epoch in epochs if epoch.number > floor for change in epoch.moved]
    moves = [
        Move(number, positions[source], positions[target], first, end)
        for number, source, target, first, end in changes
        if target != FREE
    ]
    filters = [
        Filter(Reason(one["name"]), one["seed"], tuple((first, end) for first, end in one["ranges"]))
        for one in last.filters
    ]
    return {
        "seed": last.salt,
        "table": compiled_table(arms, last.ranges),
        "epoch": last.number,
        "phase": last.phase,
        "floor": floor,
        "left": tuple((first, end) for _, _, target, first, end in changes if target == FREE),
        "moves": tuple(moves),
        "filters": tuple(filters),
    }
