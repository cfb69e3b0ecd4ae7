"""Experiments as GrowthBook's SDKs evaluate them by themselves, and which of them they cannot. Pure.

Source: GrowthBook's SDK specification, "Feature", "FeatureRule", "Filter". A feature is an experiment; its variations are
the arms in their order, each with its first range of buckets, then the further ranges that changes of weights gave an arm.
The bucket of a unit is a whole number of ten thousandths there as here, so that explicit ranges leave nothing to rounding.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from experiments.asking import unit_attribute
from experiments.assignment import BASIS_POINTS
from experiments.placement import FORCED_STATES, NOBODY, Arm, Definition, Filter, held_out
from experiments.ranges import FREE
from triageops.wording import count

MARKER = "x-triageops"
"""Member of a feature that SDKs pass over."""

_DEALING = frozenset({"start", "rerandomise"})
_KINDS = {
    "sticky": "weights that count for newcomers only",
    "bandit": "the bandit's weights",
    "coverage": "a smaller coverage",
}


class Epoch(Protocol):
    """What of a row of AllocationEpoch counts here."""

    number: int
    kind: str
    ranges: Any
    moved: Any


def inexpressible(epochs: Sequence[Epoch], forced: Collection[str]) -> tuple[str, ...]:
    """Why a function of the unit alone cannot give what stored units have; empty when it can.

    epochs: all of one experiment, by number. forced: its forced units. A unit counts as stored in every epoch that dealt its
    bucket an arm, since any client may have asked.
    """
    reasons = []
    if forced:
        reasons.append(
            f"{count(len(forced))} {'unit is' if len(forced) == 1 else 'units are'} forced to a variant."
        )
    starts = [position for position, epoch in enumerate(epochs) if epoch.kind in _DEALING]
    if starts:
        numbers: dict[str, list[int]] = {}
        for epoch in _leaving(epochs[starts[-1] :]):
            numbers.setdefault(_KINDS.get(epoch.kind, "other ranges"), []).append(epoch.number)
        reasons += [_said(what, found) for what, found in numbers.items()]
    return tuple(reasons)


def _said(what: str, numbers: Sequence[int]) -> str:
    which = (
        f"Epoch {numbers[0]} has"
        if len(numbers) == 1
        else f"{count(len(numbers))} epochs up to {numbers[-1]} have"
    )
    return f"{which} {what}: who was assigned before keeps a variant that only the server knows."


def _leaving(epochs: Sequence[Epoch]) -> list[Epoch]:
    """The epochs that left units with another arm than their bucket's, if any unit may still have another one now.

    epochs: from the one that dealt all units on. Replayed bucket by bucket: `stored` says which arms units of it may have.
    """
    keys = {key: number for number, key in enumerate({key for epoch in epochs for key, _, _ in epoch.ranges})}
    stored = np.zeros((len(keys) + 1, BASIS_POINTS), dtype=bool)
    buckets = np.arange(BASIS_POINTS)
    nobody = len(keys)
    now = np.full(BASIS_POINTS, nobody)
    found = []
    for epoch in epochs:
        for source, target, first, end in epoch.moved:
            if target != FREE:
                stored[keys[target], first:end] |= stored[keys[source], first:end]
                stored[keys[source], first:end] = False
        before, now = now, np.full(BASIS_POINTS, nobody)
        for key, first, end in epoch.ranges:
            now[first:end] = keys[key]
        if np.any(stored[before, buckets] & (before != now)):
            found.append(epoch)
        stored[now, buckets] = True
        stored[nobody] = False
    stored[now, buckets] = False
    return found if stored.any() else []


def payload(definitions: Iterable[Definition], epochs: Mapping[int, Sequence[Epoch]]) -> dict[str, Any]:
    """What the SDKs fetch: experiments that have ever started, since anybody can read it.

    epochs: those of each running experiment, by its id.
    """
    features = {
        one.key: _feature(one, inexpressible(epochs.get(one.id, ()), one.forced))
        for one in definitions
        if one.control is not None and one.epoch > 0
    }
    return {"status": 200, "features": features}


def _feature(definition: Definition, reasons: tuple[str, ...]) -> dict[str, Any]:
    if definition.state == "shipped" and definition.shipped is not None:
        return _shipped(definition, definition.shipped)
    control = definition.control
    feature: dict[str, Any] = {"defaultValue": {} if control is None else definition.arms[control].config}
    if not definition.is_running:
        # A forced unit is served its variant in a pause too, by the server alone.
        is_forced = bool(definition.forced) and definition.state in FORCED_STATES
        return feature | {MARKER: {"inexpressible": list(reasons)}} if is_forced and reasons else feature
    if reasons:
        return feature | {MARKER: {"inexpressible": list(reasons)}}
    return feature | {"rules": [_rule(definition)]}


def _shipped(definition: Definition, shipped: int) -> dict[str, Any]:
    """Everybody but the global holdout gets the shipped config."""
    config, filters = definition.arms[shipped].config, _filters(definition, held_out(definition))
    if not filters or definition.control is None:
        return {"defaultValue": config}
    rule = {"force": config, "filters": filters}
    return {"defaultValue": definition.arms[definition.control].config, "rules": [rule]}


def _filters(definition: Definition, filters: Iterable[Filter]) -> list[dict[str, Any]]:
    return [
        {
            "attribute": unit_attribute(definition),
            "seed": one.seed,
            "hashVersion": 2,
            "ranges": [_shares(first, end) for first, end in one.ranges],
        }
        for one in filters
    ]


def _rule(definition: Definition) -> dict[str, Any]:
    attribute = unit_attribute(definition)
    parts = _variations(definition)
    rule: dict[str, Any] = {
        "key": definition.key,
        "seed": definition.seed,
        "hashVersion": 2,
        "hashAttribute": attribute,
        "variations": [arm.config for arm, _ in parts],
        "ranges": [_shares(first, end) for _, (first, end) in parts],
        "meta": [{"key": arm.key, "name": arm.key} for arm, _ in parts],
        "phase": str(definition.phase),
        # What an SDK has stored by itself knows nothing of moves.
        "disableStickyBucketing": True,
    }
    if definition.targeting:
        rule["condition"] = definition.targeting
    if definition.filters:
        rule["filters"] = _filters(definition, definition.filters)
    return rule


def _variations(definition: Definition) -> list[tuple[Arm, tuple[int, int]]]:
    """Each arm in its place with its first range, empty when it has none, then the further ranges."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    at = 0
    for end in range(1, BASIS_POINTS + 1):
        if end == BASIS_POINTS or definition.table[end] != definition.table[at]:
            ranges.setdefault(definition.table[at], []).append((at, end))
            at = end
    ranges.pop(NOBODY, None)
    first = [(arm, (ranges.get(number) or [(0, 0)])[0]) for number, arm in enumerate(definition.arms)]
    further = [(definition.arms[number], one) for number in sorted(ranges) for one in ranges[number][1:]]
    return first + further


def _shares(first: int, end: int) -> list[float]:
    return [first / BASIS_POINTS, end / BASIS_POINTS]
