"""Rows of exposed units: read, made at the first response, changed by what is said, and written back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from experiments.assignment import BASIS_POINTS, bucket_number, fnv1a32
from experiments.exposures.context import Context, Epoch
from experiments.exposures.facts import Answer
from experiments.models import Exclusion
from feedback.copying import execute_rows

UnitKey = tuple[int, int, str]
"""experiment id, phase, unit"""


@dataclass
class Unit:
    """One row of ExposedUnit; id None: new in this run."""

    experiment_id: int
    phase: int
    unit: str
    variant_id: int
    epoch: int
    exposed_at: datetime
    last_at: datetime
    values: list[float]
    segments: dict[str, Any]
    id: int | None = None
    response_count: int = 0
    feedback_count: int = 0
    fallback_count: int = 0
    drift_count: int = 0
    exclusion: str = ""
    earlier: list[float] | None = None
    bins: dict[tuple[int, int], int] = field(default_factory=dict)
    """(slot, bin) -> change of the count"""

    @property
    def key(self) -> UnitKey:
        return self.experiment_id, self.phase, self.unit


class Given(NamedTuple):
    """One stored assignment."""

    variant_id: int
    epoch: int
    generation: int


_COLUMNS = (
    "experiment_id", "phase", "unit", "variant_id", "epoch", "exposed_at", "last_at", "values", "segments",
    "response_count", "feedback_count", "fallback_count", "drift_count", "exclusion", "earlier",
)  # fmt: skip
_READ = f"""
SELECT x.id, {", ".join(f"x.{name}" for name in _COLUMNS)} FROM experiments_exposedunit x
JOIN (SELECT DISTINCT * FROM unnest(%s::bigint[], %s::text[]) AS pair (experiment_id, unit)) AS wanted
    USING (experiment_id, unit)
"""


def stored(cursor: CursorWrapper, pairs: Iterable[tuple[int, str]]) -> dict[UnitKey, Unit]:
    """All phases of the units of these experiments that were exposed before."""
    ids, units = (list(column) for column in zip(*pairs, strict=True))
    cursor.execute(_READ, [ids, units])
    found = {}
    for row_id, *row in cursor.fetchall():
        named = dict(zip(_COLUMNS, row, strict=True))
        named["segments"] = msgspec.json.decode(named["segments"])
        unit = Unit(id=row_id, **named)
        found[unit.key] = unit
    return found


_GIVEN = """
SELECT a.experiment_id, a.unit, a.variant_id, a.epoch, a.generation FROM experiments_assignment a
JOIN (SELECT DISTINCT * FROM unnest(%s::bigint[], %s::text[]) AS pair (experiment_id, unit)) AS wanted
    USING (experiment_id, unit)
ORDER BY a.generation
"""


def given(cursor: CursorWrapper, pairs: Iterable[tuple[int, str]]) -> dict[tuple[int, str], list[Given]]:
    """The stored assignments of these units, in the order of their generations."""
    ids, units = (list(column) for column in zip(*pairs, strict=True))
    cursor.execute(_GIVEN, [ids, units])
    found: dict[tuple[int, str], list[Given]] = {}
    for experiment_id, unit, *row in cursor.fetchall():
        found.setdefault((experiment_id, unit), []).append(Given(*row))
    return found


def first_seen(
    context: Context,
    epoch: Epoch,
    answer: Answer,
    assignments: Sequence[Given],
    others: Mapping[UnitKey, Unit],
    attributes: Iterable[str],
) -> Unit:
    """The row of a unit at its first response in a phase; its arm is the stored one, else the one that it was seen in."""
    later_floors = [one.floor for one in context.epochs if one.floor > epoch.floor]
    in_phase = [
        one
        for one in assignments
        if one.generation >= epoch.floor and not (later_floors and one.generation >= later_floors[0])
    ]
    variant_id = in_phase[0].variant_id if in_phase else context.variants[answer.variant]
    unit = Unit(
        experiment_id=context.id,
        phase=epoch.phase,
        unit=answer.unit,
        variant_id=variant_id,
        epoch=in_phase[0].epoch if in_phase else epoch.number,
        exposed_at=answer.occurred_at,
        last_at=answer.occurred_at,
        values=[0.0] * (2 * len(context.slots)),
        segments={name: answer.attributes[name] for name in attributes if name in answer.attributes},
    )
    unit.exclusion = _exclusion(context, epoch, unit, in_phase, others)
    return unit


def _exclusion(
    context: Context, epoch: Epoch, unit: Unit, in_phase: Sequence[Given], others: Mapping[UnitKey, Unit]
) -> str:
    if unit.unit in context.forced:
        return Exclusion.FORCED
    if len(in_phase) > 1:
        return Exclusion.MOVED
    same_deal = {one.phase for one in context.epochs if one.floor == epoch.floor and one.phase < epoch.phase}
    if any((context.id, phase, unit.unit) in others for phase in same_deal):
        return Exclusion.CARRIED
    return ""


def note_variant(context: Context, unit: Unit, answer: Answer, assignments: Sequence[Given]) -> None:
    """A unit that is seen in another arm than its own leaves the analysis."""
    seen = context.variants[answer.variant]
    if unit.exclusion or seen == unit.variant_id:
        return
    was_moved = any(one.variant_id == seen and one.epoch > unit.epoch for one in assignments)
    unit.exclusion = Exclusion.MOVED if was_moved else Exclusion.CROSSOVER


def write(cursor: CursorWrapper, units: Sequence[Unit]) -> None:
    """New rows, and changed ones; the caller holds the cursor's lock, so there is no other writer."""
    rows = [_row(unit) for unit in units]
    updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[3:])
    found = execute_rows(
        cursor,
        f"INSERT INTO experiments_exposedunit ({', '.join(_COLUMNS)}) VALUES %s"
        f" ON CONFLICT (experiment_id, phase, unit) DO UPDATE SET {updates}"
        " RETURNING experiment_id, phase, unit, id",
        rows,
        template="(%s,%s,%s,%s,%s,%s::timestamptz,%s::timestamptz,%s::float8[],%s::jsonb,%s,%s,%s,%s,%s,%s::float8[])",
        has_result=True,
    )
    ids = {(row[0], row[1], row[2]): row[3] for row in found}
    _write_bins(cursor, [(ids[unit.key], unit.bins) for unit in units if unit.bins])


def _row(unit: Unit) -> tuple[Any, ...]:
    row = [getattr(unit, name) for name in _COLUMNS]
    row[7] = _array(unit.values)
    row[8] = msgspec.json.encode(unit.segments).decode()
    row[14] = None if unit.earlier is None else _array(unit.earlier)
    return tuple(row)


def _array(numbers: Sequence[float]) -> str:
    """As PostgreSQL writes it: the driver would adapt number by number."""
    return f"{{{','.join(map(repr, numbers))}}}"


def _write_bins(cursor: CursorWrapper, changed: Sequence[tuple[int, Mapping[tuple[int, int], int]]]) -> None:
    rows = [
        (row_id, slot, bin_index, n) for row_id, bins in changed for (slot, bin_index), n in bins.items() if n
    ]
    if rows:
        execute_rows(
            cursor,
            "INSERT INTO experiments_exposedvalue AS kept (exposed_id, slot, bin, n) VALUES %s"
            " ON CONFLICT (exposed_id, slot, bin) DO UPDATE SET n = kept.n + excluded.n",
            rows,
        )


def store_seen(cursor: CursorWrapper, seen: Sequence[tuple[Context, Epoch, Unit]]) -> None:
    """Units that a local SDK assigned: what they were seen in is their assignment from now on.

    The unique constraint lets a stored one win.
    """
    rows = [
        (
            context.id,
            unit.unit,
            unit.variant_id,
            bucket_number(fnv1a32(epoch.salt), unit.unit) / BASIS_POINTS,
            unit.exposed_at,
            epoch.number,
            epoch.floor,
        )
        for context, epoch, unit in seen
    ]
    if rows:
        execute_rows(
            cursor,
            "INSERT INTO experiments_assignment"
            " (experiment_id, unit, variant_id, bucket, assigned_at, epoch, generation) VALUES %s"
            " ON CONFLICT (unit, experiment_id, generation) DO NOTHING",
            sorted(rows),
        )
