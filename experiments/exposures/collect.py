"""From facts to exposed units: the first recorded response of a unit is its exposure; every later fact changes its sums.

Each fact counts exactly once, in whatever order transactions commit: as in feedback/rollups.py, a run takes the facts of
transactions that have ended and were not taken yet, and moves its cursor in the same transaction. What a response adds is
what the facts before the new cursor say of it minus what those before the old one said, so changed or withdrawn feedback
and late quality records need no case of their own. A run costs what is new, whatever the history.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from experiments.exposures import units
from experiments.exposures.context import Context, Epoch, Slot, contexts
from experiments.exposures.facts import Answer, earlier, touched
from experiments.exposures.units import Given, Unit, UnitKey
from experiments.outcomes import Said, contribution, values
from feedback.spans import Span, next_span
from triageops.stats.histogram import LogBins

log = structlog.get_logger(__name__)

EARLIER = timedelta(days=14)
"""How far back before its exposure a unit's earlier behaviour is looked at."""

_BINS = LogBins()


def collect(now: datetime) -> int:
    """Bring the exposed units up to date; the number of responses looked at. Another run in progress: 0."""
    total = 0
    while True:
        count, is_whole = _one_batch(now)
        total += count
        if is_whole:
            return total


def rebuild() -> None:
    """Have everything collected anew by the next run, for instance after a restore."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM experiments_exposurecursor WHERE name = 'facts' FOR UPDATE")
        cursor.execute("TRUNCATE experiments_exposedunit, experiments_exposedvalue, experiments_unattributed")
        cursor.execute("UPDATE experiments_exposurecursor SET tx = '0' WHERE name = 'facts'")


def _one_batch(now: datetime) -> tuple[int, bool]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT tx::text FROM experiments_exposurecursor WHERE name = 'facts' FOR UPDATE SKIP LOCKED"
        )
        row = cursor.fetchone()
        if row is None:
            # Another run has it, or nothing was ever collected.
            cursor.execute(
                "INSERT INTO experiments_exposurecursor (name, tx, updated_at) VALUES ('facts', '0', %s)"
                " ON CONFLICT DO NOTHING",
                [now],
            )
            return 0, cursor.rowcount == 0
        span = next_span(cursor, int(row[0]))
        answers = touched(cursor, span)
        if answers:
            _Batch(cursor, span, answers).take_in()
        cursor.execute(
            "UPDATE experiments_exposurecursor SET tx = %s::text::xid8, updated_at = %s WHERE name = 'facts'",
            [span.end, now],
        )
    return len(answers), span.is_whole


@dataclass
class _Batch:
    """The responses of one run, and the units that they change."""

    cursor: CursorWrapper
    span: Span
    answers: Sequence[Answer]
    rows: dict[UnitKey, Unit] = field(default_factory=dict)
    given: dict[tuple[int, str], list[Given]] = field(default_factory=dict)
    changed: dict[UnitKey, Unit] = field(default_factory=dict)
    fresh: list[tuple[Context, Epoch, Unit]] = field(default_factory=list)
    unattributed: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))

    def take_in(self) -> None:
        known = contexts({answer.experiment for answer in self.answers})
        placed = [
            (context, answer)
            for answer in self.answers
            if (context := known.get(answer.experiment)) is not None
        ]
        pairs = {(context.id, answer.unit) for context, answer in placed if answer.unit}
        if pairs:
            self.rows = units.stored(self.cursor, pairs)
            self.given = units.given(self.cursor, pairs)
        for context, answer in placed:
            self._take(context, answer)
        self._look_back()
        units.write(self.cursor, list(self.changed.values()))
        units.store_seen(
            self.cursor,
            [one for one in self.fresh if (one[0].id, one[2].unit) not in self.given],
        )
        self._write_unattributed()

    def _take(self, context: Context, answer: Answer) -> None:
        epoch = context.epoch_at(answer.occurred_at)
        reason = _why_not(context, epoch, answer)
        if reason or epoch is None:
            # Counted once, when the response itself comes.
            self.unattributed[context.id, reason] += answer.before is None
            return
        assignments = self.given.get((context.id, answer.unit), [])
        key = (context.id, epoch.phase, answer.unit)
        unit = self.rows.get(key)
        if unit is None:
            unit = units.first_seen(context, epoch, answer, assignments, self.rows, settings.SLICE_ATTRIBUTES)
            self.rows[key] = unit
            self.fresh.append((context, epoch, unit))
        if answer.before is None:
            units.note_variant(context, unit, answer, assignments)
            _count_response(context, unit, answer)
        _add(context, unit, answer)
        self.changed[key] = unit

    def _look_back(self) -> None:
        """What the units that are new did before their exposure."""
        wanted = [
            (unit.unit, unit.exposed_at - EARLIER, unit.exposed_at)
            for context, _, unit in self.fresh
            if context.is_adjusted
        ]
        if not wanted:
            return
        found = earlier(self.cursor, wanted, self.span.end)
        for context, _, unit in self.fresh:
            # A unit of two experiments was looked for with both times; the difference is small and the same in all arms.
            if context.is_adjusted and found.get(unit.unit):
                unit.earlier = _sum([_contribution(context, said) for said in found[unit.unit]])

    def _write_unattributed(self) -> None:
        rows = [(pk, reason, n) for (pk, reason), n in sorted(self.unattributed.items()) if n]
        if rows:
            self.cursor.executemany(
                "INSERT INTO experiments_unattributed AS kept (experiment_id, reason, count) VALUES (%s, %s, %s)"
                " ON CONFLICT (experiment_id, reason) DO UPDATE SET count = kept.count + excluded.count",
                rows,
            )


def _why_not(context: Context, epoch: Epoch | None, answer: Answer) -> str:
    if epoch is None:
        return "before the start"
    if not answer.unit:
        return "no unit"
    if not answer.variant:
        return "no variant"
    if answer.variant not in context.variants:
        return "unknown variant"
    return ""


def _count_response(context: Context, unit: Unit, answer: Answer) -> None:
    unit.response_count += 1
    unit.last_at = max(unit.last_at, answer.occurred_at)
    asked = context.model_at(answer.variant, answer.occurred_at)
    unit.fallback_count += bool(asked and answer.model and asked != answer.model)
    if answer.config_hash:
        unit.drift_count += answer.config_hash not in context.hashes_at(answer.variant, answer.occurred_at)


def _add(context: Context, unit: Unit, answer: Answer) -> None:
    """Add what the response says now, less what it said before."""
    for sign, said in ((1, answer.after), (-1, answer.before)):
        if said is None:
            continue
        unit.feedback_count += sign * bool(said.feedback_types)
        for position, slot in enumerate(context.slots):
            if slot.window is not None and answer.occurred_at >= unit.exposed_at + slot.window:
                continue
            _add_slot(unit, position, slot, said, sign)


def _add_slot(unit: Unit, position: int, slot: Slot, said: Said, sign: int) -> None:
    total, divisor = contribution([slot.outcome], said)
    unit.values[2 * position] += sign * total
    unit.values[2 * position + 1] += sign * divisor
    if slot.is_quantile:
        numbers = values(slot.outcome, said)
        for bin_index in _BINS.index(numbers).tolist() if numbers else ():
            place = (position, bin_index)
            unit.bins[place] = unit.bins.get(place, 0) + sign


def _contribution(context: Context, said: Said) -> list[float]:
    return contribution([slot.outcome for slot in context.slots], said)


def _sum(parts: Sequence[list[float]]) -> list[float]:
    return [sum(column) for column in zip(*parts, strict=True)]
