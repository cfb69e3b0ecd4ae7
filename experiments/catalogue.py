"""The experiments as they are served, compiled, in each process; a change is known everywhere within half a second.

PostgreSQL is asked for the versions at most every POLL_SECONDS, and only what changed is read again: the kill switch needs
neither Redis nor a message. Every change of an experiment, and of what belongs to it, makes a new version of it.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments import targeting
from experiments.models import (
    AllocationEpoch,
    EpochKind,
    Experiment,
    ForcedVariant,
    State,
    Variant,
)
from experiments.placement import Arm, Definition, Filter, Move, Reason, compiled_table

POLL_SECONDS = 0.4

Versions = dict[int, int]


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
    variants = _grouped(Variant.objects.filter(experiment__in=ids).order_by("position"))
    epochs = _grouped(AllocationEpoch.objects.filter(experiment__in=ids).order_by("number"))
    forced = _grouped(ForcedVariant.objects.standing().filter(experiment__in=ids))
    return [
        definition(one, variants.get(one.pk, []), epochs.get(one.pk, []), forced.get(one.pk, []))
        for one in Experiment.objects.filter(pk__in=ids)
    ]


def _grouped(rows: object) -> dict[int, list[object]]:
    found: dict[int, list[object]] = {}
    for row in rows:  # type: ignore[attr-defined]
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
        condition=targeting.compiled(experiment.targeting) if experiment.targeting else None,
        unit_attribute=experiment.unit_attribute,
        forced={row.unit: by_id[row.variant_id] for row in forced},
        shipped=positions.get(experiment.shipped_variant) if experiment.state == State.SHIPPED else None,
        control=control,
        **_dealt(arms, positions, epochs),
    )


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
) -> dict[str, object]:
    if not epochs:
        return {}
    last = epochs[-1]
    floor = max(epoch.number for epoch in epochs if epoch.kind in {EpochKind.START, EpochKind.RERANDOMISE})
    moves = [
        Move(epoch.number, positions[source], positions[target], first, end)
        for epoch in epochs
        if epoch.number > floor
        for source, target, first, end in epoch.moved
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
        "moves": tuple(moves),
        "filters": tuple(filters),
    }
