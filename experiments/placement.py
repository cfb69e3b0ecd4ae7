"""What one unit gets, as a function of the experiment's definition alone. Pure, and fast: it runs for every answer.

A definition is compiled once: the seed's hash, the arm of each of the 10 000 buckets, the condition as a closure. Nothing
here reads a clock, a database or a cache; allocation.py adds what was stored before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from experiments.assignment import BASIS_POINTS, bucket_number, fnv1a32

Attributes = Mapping[str, object]

MAX_ARMS = 100
NOBODY = 255


class Reason(StrEnum):
    """Why a unit gets what it gets; the last ones are states of the experiment that assign nobody."""

    SPLIT = "split"
    FORCED = "forced"
    HOLDOUT = "holdout"
    LAYER = "layer"
    TARGETING = "targeting"
    COVERAGE = "coverage"
    DRAFT = "draft"
    REVIEW = "review"
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    HALTED = "halted"
    STOPPED = "stopped"
    SHIPPED = "shipped"


REASONS = {
    Reason.SPLIT: "assigned by weight",
    Reason.FORCED: "forced for this unit",
    Reason.HOLDOUT: "the unit is in the global holdout",
    Reason.LAYER: "the unit belongs to other experiments of the layer",
    Reason.TARGETING: "the targeting does not fit",
    Reason.COVERAGE: "the coverage leaves the unit out",
    Reason.DRAFT: "the experiment has not started",
    Reason.REVIEW: "the experiment has not started",
    Reason.SCHEDULED: "the experiment has not started",
    Reason.PAUSED: "the experiment is paused",
    Reason.HALTED: "the experiment was halted",
    Reason.STOPPED: "the experiment has ended",
    Reason.SHIPPED: "the experiment has ended and this variant was shipped",
}


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant as it is served now."""

    id: int
    key: str
    is_control: bool
    config: Mapping[str, Any]
    config_hash: str
    version: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Slots that a unit must have to take part: of the holdout, or of a layer. ranges are half-open."""

    reason: Reason
    seed: str
    ranges: tuple[tuple[int, int], ...]
    seed_hash: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed_hash", fnv1a32(self.seed))

    def lets_pass(self, unit: str) -> bool:
        slot = bucket_number(self.seed_hash, unit)
        return any(first <= slot < end for first, end in self.ranges)


@dataclass(frozen=True, slots=True)
class Move:
    """Buckets that an epoch took from one arm (position) and gave to another."""

    epoch: int
    source: int
    target: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Definition:
    """An experiment as it is served now.

    table: the arm's position for each bucket, NOBODY for none; empty before the start. left: ranges of buckets that a smaller
    coverage left without an arm, where units that have one keep it. floor: the epoch that dealt all units last; what was
    stored under an older generation counts no more. moves: of later epochs, oldest first.
    """

    id: int
    key: str
    salt: str
    state: str
    arms: tuple[Arm, ...]
    seed: str = ""
    table: bytes = b""
    left: tuple[tuple[int, int], ...] = ()
    epoch: int = 0
    phase: int = 0
    floor: int = 1
    moves: tuple[Move, ...] = ()
    filters: tuple[Filter, ...] = ()
    condition: Callable[[Attributes], bool] | None = None
    targeting: Mapping[str, object] = field(default_factory=dict)
    unit_attribute: str = ""
    forced: Mapping[str, int] = field(default_factory=dict)
    shipped: int | None = None
    control: int | None = None
    seed_hash: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed_hash", fnv1a32(self.seed))

    @property
    def is_running(self) -> bool:
        return self.state == "running"


class Placement(NamedTuple):
    """Where a definition puts a unit. arm: position, None where there is not even a control.

    bucket: 0 to 9 999, None while nobody is assigned. is_in: it takes part, and what was stored before decides. may_stay: it
    takes part only when something was stored before.
    """

    reason: Reason
    arm: int | None
    bucket: int | None = None
    is_in: bool = False
    may_stay: bool = False


FORCED_STATES = frozenset({"draft", "review", "scheduled", "running", "paused"})


def place(definition: Definition, unit: str, attributes: Attributes) -> Placement:
    """Where the unit belongs by the definition alone; attributes decide the targeting."""
    if definition.forced and definition.state in FORCED_STATES:
        forced = definition.forced.get(unit)
        if forced is not None:
            return Placement(Reason.FORCED, forced)
    if definition.state != "running":
        if definition.state == "shipped":
            # Whoever is held out stays so: what all that was shipped has brought is measured against them.
            if any(not one.lets_pass(unit) for one in held_out(definition)):
                return Placement(Reason.HOLDOUT, definition.control)
            return Placement(Reason.SHIPPED, definition.shipped)
        return Placement(Reason(definition.state), definition.control)
    for one in definition.filters:
        if not one.lets_pass(unit):
            return Placement(one.reason, definition.control)
    if definition.condition is not None and not definition.condition(attributes):
        return Placement(Reason.TARGETING, definition.control)
    bucket = bucket_number(definition.seed_hash, unit)
    arm = definition.table[bucket]
    if arm == NOBODY:
        may_stay = bool(definition.left) and any(first <= bucket < end for first, end in definition.left)
        return Placement(Reason.COVERAGE, definition.control, bucket, False, may_stay)  # noqa: FBT003 - faster
    return Placement(Reason.SPLIT, arm, bucket, True)  # noqa: FBT003 - faster than by name


def held_out(definition: Definition) -> tuple[Filter, ...]:
    """The filter of the global holdout, where the experiment obeys one."""
    return tuple(one for one in definition.filters if one.reason is Reason.HOLDOUT)


@dataclass(frozen=True, slots=True)
class Stored:
    """What one unit was given before: the arm's position, its bucket then, the epoch, and which generation this is."""

    arm: int
    bucket: int
    epoch: int
    generation: int


def standing(definition: Definition, stored: Stored) -> Stored | None:
    """What the stored assignment means now: itself, the arm it was moved to, or None where all were dealt anew."""
    if stored.generation < definition.floor:
        return None
    arm, generation = stored.arm, stored.generation
    for move in definition.moves:
        if move.epoch > stored.epoch and move.source == arm and move.first <= stored.bucket < move.end:
            arm, generation = move.target, move.epoch
    if generation == stored.generation:
        return stored
    return Stored(arm, stored.bucket, definition.epoch, generation)


def compiled_table(arms: Sequence[Arm], segments: Sequence[Sequence[Any]]) -> bytes:
    """The arm's position of each bucket, NOBODY for none."""
    positions = {arm.key: position for position, arm in enumerate(arms)}
    found = bytearray([NOBODY]) * BASIS_POINTS
    for key, first, end in segments:
        found[first:end] = bytes([positions[key]]) * (end - first)
    return bytes(found)
