"""What is stored of units: looked up from the copies, else from PostgreSQL, which alone decides who is first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from experiments.allocation import copies
from experiments.allocation.waiting import Row, Waiting
from experiments.assignment import BASIS_POINTS
from experiments.metrics import ASSIGNMENTS
from experiments.placement import Stored, standing
from feedback.copying import execute_rows


def look_up(waiting: Sequence[Waiting]) -> None:
    """Take what is stored and stands, from Redis, else from PostgreSQL."""
    missing = []
    for one, text in zip(waiting, copies.cached([one.name for one in waiting]), strict=True):
        row = None if text is None else copies.decoded(text, one.asked.definition)
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
    copies.remember(found)


def _take(one: Waiting, row: Row) -> bool:
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


def _read(missing: Sequence[Waiting]) -> dict[tuple[int, str], Row]:
    arms = {arm.id: position for one in missing for position, arm in enumerate(one.asked.definition.arms)}
    with connection.cursor() as cursor:
        cursor.execute(
            _READ, [[one.asked.definition.id for one in missing], [one.asked.unit for one in missing]]
        )
        return {
            (row[0], row[1]): Row(Stored(arms[row[2]], round(row[3] * BASIS_POINTS), row[4], row[5]), row[6])
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


def store(new: Sequence[Waiting], now: datetime) -> bool:
    """Store assignments; whether each is stored now, by this call or by another that was first."""
    wanted: dict[tuple[int, str], Waiting] = {}
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
        one.row = Row(Stored(one.arm, one.bucket, one.asked.definition.epoch, one.generation), now)
        ASSIGNMENTS.labels(one.asked.definition.key, one.asked.definition.arms[one.arm].key).inc()
    copies.remember([wanted[key] for key in sorted(stored)])
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


def _row(one: Waiting, now: datetime) -> tuple[Any, ...]:
    definition = one.asked.definition
    return (
        definition.id, one.asked.unit, definition.arms[one.arm].id, one.bucket / BASIS_POINTS, now, definition.epoch,
        one.generation,
    )  # fmt: skip
