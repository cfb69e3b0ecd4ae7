"""Which variant units get, for good: the stored assignment wins, else the definition decides and that is stored.

PostgreSQL is the truth; its unique constraint alone decides who is first, so that no number of processes can give one unit
two variants. Redis keeps copies of what was stored, which never changes; without Redis, or after it was emptied, PostgreSQL
is asked. Many units, or many experiments of one unit, cost as many round trips as one.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import redis
import structlog
from django.db import connection
from django_redis import get_redis_connection

from experiments import catalogue
from experiments.assignment import BASIS_POINTS
from experiments.definition import UNIT_MAX
from experiments.metrics import ASSIGNMENTS
from experiments.placement import Attributes, Definition, Placement, Reason, Stored, place, standing
from feedback.copying import execute_rows
from triageops.rest import InvalidInput, NotFound, Unavailable

log = structlog.get_logger(__name__)

_KEEP_SECONDS = 86_400
_REDIS_RETRY_SECONDS = 1.0
_TRIES = 5
_state = {"redis_down_until": 0.0}


class UnknownExperiment(NotFound):
    type = "unknown-experiment"
    title = "There is no such experiment"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"There is no experiment with the key {key!r}.",
            field="key",
            fix="GET /api/v1/experiments lists all of them.",
        )


class Asked(NamedTuple):
    """One unit that asks one experiment for its variant."""

    definition: Definition
    unit: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Decision:
    """What a client does with one unit.

    variant: None only for a draft without a control. bucket: in [0, 1), None while nobody is assigned. assigned_at: when
    the unit was first seen, None outside the experiment, and when somebody only looks at what a new unit would get.
    """

    experiment: str
    variant: str | None
    config: Mapping[str, Any]
    in_experiment: bool
    reason: Reason
    bucket: float | None = None
    assigned_at: datetime | None = None
    config_hash: str = ""
    variant_version: int | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """A stored assignment with the time of it."""

    stored: Stored
    assigned_at: datetime


@dataclass
class _Open:
    """A question about which what was stored before decides.

    stays_only: without it the unit is not in. is_moved: it is, and belongs to another arm since.
    """

    index: int
    asked: Asked
    arm: int
    bucket: int
    generation: int
    stays_only: bool = False
    is_moved: bool = False
    row: _Row | None = None

    @property
    def name(self) -> str:
        # The salt is of this experiment in this database only: what another one left in Redis is never found.
        return f"triageops:assigned:{self.asked.definition.salt}:{self.asked.unit}"


def assign(key: str, unit: str, *, now: datetime, attributes: Attributes | None = None) -> Decision:
    """The variant of `unit` in the experiment `key`, stored when it is new; the same answer ever after.

    Raises UnknownExperiment, and InvalidInput for a unit that cannot be stored.
    """
    return decide([Asked(known(key), checked_unit(unit), attributes or {})], now=now)[0]


def known(key: str) -> Definition:
    found = catalogue.find(key)
    if found is None:
        raise UnknownExperiment(key)
    return found


def checked_unit(unit: str) -> str:
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
    if (not unit.isascii() and any("\ud800" <= character <= "\udfff" for character in unit)) or "\0" in unit:
        raise InvalidInput(
            "The unit holds a NUL character or half a surrogate pair.",
            field="unit",
            fix="Send text that is valid Unicode without U+0000.",
        )
    return unit


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
        _Open(
            index, one, placement.arm, placement.bucket, one.definition.floor, stays_only=placement.may_stay
        )
        for index, (one, placement) in enumerate(zip(asked, placements, strict=True))
        if (placement.is_in or placement.may_stay)
        and placement.arm is not None
        and placement.bucket is not None
    ]
    if waiting:
        _look_up(waiting)
        waiting = [one for one in waiting if one.row is not None or one.is_moved or not one.stays_only]
        new = [one for one in waiting if one.row is None]
        if new and not is_read_only and not _store(new, now):
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


def _inside(one: _Open) -> Decision:
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


def _look_up(waiting: Sequence[_Open]) -> None:
    """Take what is stored and stands, from Redis, else from PostgreSQL."""
    missing = []
    for one, text in zip(waiting, _cached([one.name for one in waiting]), strict=True):
        row = None if text is None else _decoded(text, one.asked.definition)
        if row is None or not _take(one, row):
            missing.append(one)
    if not missing:
        return
    rows = _read(missing)
    found = []
    for one in missing:
        row = rows.get((one.asked.definition.id, one.asked.unit))
        if row is not None and _take(one, row):
            found.append(one)
    _remember(found)


def _take(one: _Open, row: _Row) -> bool:
    """Whether the stored row is the answer; when its unit was moved since, the new place is noted, to be stored."""
    found = standing(one.asked.definition, row.stored)
    if found is None:
        return False
    one.arm, one.bucket, one.generation = found.arm, found.bucket, found.generation
    one.is_moved = found is not row.stored
    if not one.is_moved:
        one.row = row
    return not one.is_moved


_READ = """
SELECT DISTINCT ON (a.experiment_id, a.unit)
    a.experiment_id, a.unit, a.variant_id, a.bucket, a.epoch, a.generation, a.assigned_at
FROM experiments_assignment a
JOIN unnest(%s::bigint[], %s::text[]) AS wanted(experiment_id, unit) USING (experiment_id, unit)
ORDER BY a.experiment_id, a.unit, a.generation DESC
"""


def _read(missing: Sequence[_Open]) -> dict[tuple[int, str], _Row]:
    arms = {arm.id: position for one in missing for position, arm in enumerate(one.asked.definition.arms)}
    with connection.cursor() as cursor:
        cursor.execute(
            _READ, [[one.asked.definition.id for one in missing], [one.asked.unit for one in missing]]
        )
        return {
            (row[0], row[1]): _Row(Stored(arms[row[2]], round(row[3] * BASIS_POINTS), row[4], row[5]), row[6])
            for row in cursor.fetchall()
        }


_INSERT = """
INSERT INTO experiments_assignment (experiment_id, unit, variant_id, bucket, assigned_at, epoch, generation)
SELECT new.experiment_id, new.unit, new.variant_id, new.bucket, new.assigned_at, new.epoch, new.generation
FROM (VALUES %s) AS new (experiment_id, unit, variant_id, bucket, assigned_at, epoch, generation)
JOIN experiments_experiment e ON e.id = new.experiment_id AND e.state = 'running' AND e.epoch = new.epoch
ORDER BY new.experiment_id, new.unit COLLATE "C"
ON CONFLICT (unit, experiment_id, generation) DO NOTHING
RETURNING experiment_id, unit
"""
_TEMPLATE = "(%s::bigint, %s, %s::bigint, %s::float8, %s::timestamptz, %s::int, %s::int)"


def _store(new: Sequence[_Open], now: datetime) -> bool:
    """Store assignments; whether each is stored now, by this call or by another that was first."""
    wanted: dict[tuple[int, str], _Open] = {}
    for one in new:
        wanted.setdefault((one.asked.definition.id, one.asked.unit), one)
    # In one order, here and in the statement, so that two calls with the same units wait for each other instead of
    # blocking each other.
    keys = sorted(wanted)
    rows = [_row(wanted[key], now) for key in keys]
    with connection.cursor() as cursor:
        stored = {
            (row[0], row[1])
            for row in execute_rows(cursor, _INSERT, rows, template=_TEMPLATE, has_result=True)
        }
    for key in stored:
        one = wanted[key]
        one.row = _Row(Stored(one.arm, one.bucket, one.asked.definition.epoch, one.generation), now)
        ASSIGNMENTS.labels(one.asked.definition.key, one.asked.definition.arms[one.arm].key).inc()
    _remember([wanted[key] for key in sorted(stored)])
    for one in new:
        one.row = wanted[one.asked.definition.id, one.asked.unit].row
    lost = [one for one in new if one.row is None]
    if lost:
        rows_found = _read(lost)
        for one in lost:
            row = rows_found.get((one.asked.definition.id, one.asked.unit))
            if row is None or not _take(one, row):
                return False
    return True


def _row(one: _Open, now: datetime) -> tuple[Any, ...]:
    definition = one.asked.definition
    return (
        definition.id, one.asked.unit, definition.arms[one.arm].id, one.bucket / BASIS_POINTS, now, definition.epoch,
        one.generation,
    )  # fmt: skip


def _encoded(one: _Open) -> str:
    if one.row is None:
        raise AssertionError("only what is stored is remembered")
    stored = one.row.stored
    arm = one.asked.definition.arms[stored.arm]
    at = one.row.assigned_at.timestamp()
    return f"{arm.id} {stored.bucket} {stored.epoch} {stored.generation} {at!r}"


def _decoded(text: bytes, definition: Definition) -> _Row | None:
    arm_id, bucket, epoch, generation, at = text.split()
    position = next((i for i, arm in enumerate(definition.arms) if arm.id == int(arm_id)), None)
    if position is None:
        return None
    stored = Stored(position, int(bucket), int(epoch), int(generation))
    return _Row(stored, datetime.fromtimestamp(float(at), tz=UTC))


def _cached(names: Sequence[str]) -> list[bytes | None]:
    if time.monotonic() < _state["redis_down_until"]:
        return [None] * len(names)
    try:
        client = get_redis_connection("default")
        return [client.get(names[0])] if len(names) == 1 else list(client.mget(names))
    except (redis.RedisError, OSError):
        _note_redis_down()
        return [None] * len(names)


def _remember(found: Sequence[_Open]) -> None:
    """Keep copies of what is committed; inside a transaction that could still be undone nothing is kept."""
    if not found or connection.in_atomic_block or time.monotonic() < _state["redis_down_until"]:
        return
    try:
        client = get_redis_connection("default")
        if len(found) == 1:
            client.set(found[0].name, _encoded(found[0]), ex=_KEEP_SECONDS)
            return
        pipe = client.pipeline(transaction=False)
        for one in found:
            pipe.set(one.name, _encoded(one), ex=_KEEP_SECONDS)
        pipe.execute()
    except (redis.RedisError, OSError):
        _note_redis_down()


def _note_redis_down() -> None:
    log.warning("assignment.redis_unavailable")
    _state["redis_down_until"] = time.monotonic() + _REDIS_RETRY_SECONDS
