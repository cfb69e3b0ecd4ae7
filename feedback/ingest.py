"""The only writer of facts.

Everything is safe to repeat. A single fact is one statement, which also counts it in the ledger: when it answers, both
are committed. A bulk call is one transaction. What was already stored with the same content is a repeat and answers as
the first time; a response or quality record with other content is a conflict, other feedback is a change whose earlier
state is kept.
"""

import itertools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg2 import errors

from feedback.copying import Row, copy_in, execute_rows
from feedback.models import FactKind
from feedback.shapes import FeedbackShape, Shape
from feedback.tables import FEEDBACK, Attachment, Key, Stored, Table
from triageops.rest import Conflict, NotFound, Problem

ShapeT = TypeVar("ShapeT", bound=Shape)

_SHARDS = 128
_DEADLOCK_TRIES = 3
_PROBES = 20
_shard_numbers = itertools.count()
_local = threading.local()


@dataclass(frozen=True)
class Counts:
    """What became of the items of one call; they always add up to what was received."""

    stored: int = 0
    repeated: int = 0
    rejected: int = 0

    @property
    def received(self) -> int:
        return self.stored + self.repeated + self.rejected


class Outcome(NamedTuple):
    """What became of one item."""

    stored: Stored
    is_repeat: bool


@dataclass
class BulkOutcome:
    counts: Counts = Counts()
    results: list[Outcome | Problem] = field(default_factory=list)


def _shard() -> int:
    """Threads that write at the same time write different rows of the ledger, so that none waits for another."""
    number = getattr(_local, "shard", None)
    if number is None:
        number = _local.shard = (os.getpid() * 16 + next(_shard_numbers)) % _SHARDS
    return int(number)


_ENTER = """
INSERT INTO feedback_ledgerentry AS entry
    (api_key_id, day, kind, shard, received_count, stored_count, repeated_count, rejected_count)
{source}
ON CONFLICT (api_key_id, day, kind, shard) DO UPDATE SET
    received_count = entry.received_count + excluded.received_count,
    stored_count = entry.stored_count + excluded.stored_count,
    repeated_count = entry.repeated_count + excluded.repeated_count,
    rejected_count = entry.rejected_count + excluded.rejected_count
"""
_ENTER_VALUES = _ENTER.format(source="VALUES (%s, %s, %s, %s, %s, %s, %s, %s)")


def enter(kind: FactKind, key_id: int, now: datetime, counts: Counts) -> None:
    """Add `counts` to the ledger."""
    with connection.cursor() as cursor:
        cursor.execute(
            _ENTER_VALUES,
            [
                key_id, now.date(), kind.value, _shard(),
                counts.received, counts.stored, counts.repeated, counts.rejected,
            ],
        )  # fmt: skip


def record(table: Table[ShapeT], item: ShapeT, key_id: int, now: datetime) -> Outcome:
    """Store one fact, durably when this returns. Raises Conflict (and counts the rejection)."""
    row = table.row(item, key_id, now.isoformat())
    marks = ", ".join(["%s"] * len(row))
    source = f"SELECT {key_id}, %s::date, '{table.kind.value}', {_shard()}, 1, 1, 0, 0 FROM fact"
    attached = table.attached(item, row)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH fact AS (
                INSERT INTO {table.name} ({table.column_list}) VALUES ({marks}) ON CONFLICT DO NOTHING RETURNING id
            ), entry AS ({_ENTER.format(source=source)}){_attach(table, attached)}
            SELECT id FROM fact
            """,
            [*row, now.date(), *(attached or ())],
        )
        is_new = cursor.fetchone() is not None
    if is_new:
        return Outcome(_stored(row, now), is_repeat=False)
    outcome = _again(table, item, key_id, now)
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def _attach(table: Table[ShapeT], attached: Row | None) -> str:
    """One more part of the statement that stores a fact, for what belongs to it."""
    if attached is None or table.attachment is None:
        return ""
    marks = ", ".join(["%s"] * len(attached))
    target = f"{table.attachment.name} ({table.attachment.column_list})"
    return f", attached AS (INSERT INTO {target} SELECT {marks} FROM fact)"


def _stored(row: Row, now: datetime) -> Stored:
    return Stored(id=str(row[0]), response_id=str(row[5]), received_at=now, digest=str(row[4]))


def _again(table: Table[ShapeT], item: ShapeT, key_id: int, now: datetime) -> Outcome | Problem:
    """A single fact whose natural key is taken."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            found = table.find(cursor, [table.key(item, key_id)])
            outcome = _settle(cursor, table, item, next(iter(found.values())), key_id, now)
        enter(table.kind, key_id, now, _counts([outcome]))
    return outcome


def _counts(results: Sequence[Outcome | Problem]) -> Counts:
    rejected = sum(isinstance(result, Problem) for result in results)
    repeated = sum(isinstance(result, Outcome) and result.is_repeat for result in results)
    return Counts(len(results) - rejected - repeated, repeated, rejected)


def _settle(
    cursor: CursorWrapper, table: Table[ShapeT], item: ShapeT, found: Stored, key_id: int, now: datetime
) -> Outcome | Problem:
    """A fact whose natural key is taken: a repeat, a change, or a conflict."""
    if isinstance(item, FeedbackShape):
        return _change(cursor, item, found.id, key_id, now)
    if found.digest == item.digest():
        return Outcome(found, is_repeat=True)
    return Conflict(
        f"Other content is already stored for {' '.join(part for part in table.key(item, key_id) if part)!r}.",
        field="response_id",
        fix="Facts do not change: use another id, or another evaluator version, for other content.",
    )


def _change(
    cursor: CursorWrapper, item: FeedbackShape, feedback_id: str, key_id: int, now: datetime
) -> Outcome:
    """Change feedback to what `item` says, unless it says that already or this very call was seen before."""
    cursor.execute(
        "SELECT id, response_id, received_at, digest, revision, withdrawn_at, idempotency_key"
        " FROM feedback_feedback WHERE id = %s FOR UPDATE",
        [feedback_id],
    )
    row = cursor.fetchone()
    current = Stored(str(row[0]), row[1], row[2], row[3].hex, row[4], row[5] is not None)
    digest = item.digest()
    if current.digest == digest and not current.is_withdrawn:
        return Outcome(current, is_repeat=True)
    if item.idempotency_key:
        seen = _seen(cursor, feedback_id, item.idempotency_key, digest)
        if seen or (row[6] == item.idempotency_key and current.digest == digest):
            return Outcome(seen or current, is_repeat=True)
    _keep_revision(cursor, feedback_id)
    cursor.execute(
        """
        UPDATE feedback_feedback
        SET api_key_id = %s, occurred_at = %s, received_at = %s, digest = %s, idempotency_key = %s, feedback_type = %s,
            rating = %s, comment = %s, metadata = %s, revision = revision + 1, withdrawn_at = NULL,
            tx = pg_current_xact_id()
        WHERE id = %s
        """,
        [
            key_id, item.occurred_at or now, now, digest, item.idempotency_key, item.feedback_type, item.rating,
            item.comment, FEEDBACK.row(item, key_id, now.isoformat())[13], feedback_id,
        ],
    )  # fmt: skip
    return Outcome(
        Stored(current.id, current.response_id, now, digest, current.revision + 1), is_repeat=False
    )


def _seen(cursor: CursorWrapper, feedback_id: str, idempotency_key: str, digest: str) -> Stored | None:
    """The earlier revision that this very call made, if a late repeat of it comes after another change."""
    cursor.execute(
        "SELECT f.id, f.response_id, r.received_at, r.digest, r.revision FROM feedback_feedbackrevision r"
        " JOIN feedback_feedback f ON f.id = r.feedback_id"
        " WHERE r.feedback_id = %s AND r.idempotency_key = %s AND r.digest = %s AND r.withdrawn_at IS NULL LIMIT 1",
        [feedback_id, idempotency_key, digest],
    )
    row = cursor.fetchone()
    return row and Stored(str(row[0]), row[1], row[2], row[3].hex, row[4])


def _keep_revision(cursor: CursorWrapper, feedback_id: str) -> None:
    columns = (
        "revision, idempotency_key, feedback_type, rating, comment, metadata, occurred_at, received_at, digest,"
        " withdrawn_at, tx"
    )
    cursor.execute(
        f"INSERT INTO feedback_feedbackrevision (feedback_id, {columns})"
        f" SELECT id, {columns} FROM feedback_feedback WHERE id = %s",
        [feedback_id],
    )


def withdraw(feedback_id: str, *, key_id: int, now: datetime) -> None:
    """Take feedback back; doing it twice is the same as once. The caller has checked that it exists and may."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT withdrawn_at FROM feedback_feedback WHERE id = %s FOR UPDATE", [feedback_id])
        row = cursor.fetchone()
        if row is None:
            raise NotFound("There is no such feedback.")
        if row[0] is None:
            _keep_revision(cursor, feedback_id)
            cursor.execute(
                "UPDATE feedback_feedback SET withdrawn_at = %s, received_at = %s, revision = revision + 1,"
                " tx = pg_current_xact_id() WHERE id = %s",
                [now, now, feedback_id],
            )
        counts = Counts(stored=1) if row[0] is None else Counts(repeated=1)
        enter(FactKind.FEEDBACK, key_id, now, counts)


def record_many(
    table: Table[ShapeT], items: Sequence[ShapeT | Problem], key_id: int, now: datetime
) -> BulkOutcome:
    """Store the good ones of `items` in one transaction and say what became of each, in order."""
    for attempt in range(_DEADLOCK_TRIES):
        try:
            return _record_many(table, items, key_id, now)
        except OperationalError as error:
            # Keys are sorted, but a single change or a withdrawal may hold a row that this call needs.
            if attempt == _DEADLOCK_TRIES - 1 or not isinstance(error.__cause__, errors.DeadlockDetected):
                raise
    raise AssertionError("the last try returns or raises")


def _record_many(
    table: Table[ShapeT], items: Sequence[ShapeT | Problem], key_id: int, now: datetime
) -> BulkOutcome:
    results: dict[int, Outcome | Problem] = {}
    keyed: list[tuple[Key, int, ShapeT]] = []
    for index, item in enumerate(items):
        if isinstance(item, Problem):
            results[index] = item
        else:
            keyed.append((table.key(item, key_id), index, item))
    # Sorted, so that two calls with the same items wait for each other instead of blocking each other.
    # No two entries have the same key and index, so items are never compared.
    keyed.sort()
    with transaction.atomic(), connection.cursor() as cursor:
        _store(cursor, table, keyed, key_id, now, results)
        in_order = [results[index] for index in range(len(items))]
        counts = _counts(in_order)
        enter(table.kind, key_id, now, counts)
    return BulkOutcome(counts, in_order)


def _store(
    cursor: CursorWrapper,
    table: Table[ShapeT],
    keyed: list[tuple[Key, int, ShapeT]],
    key_id: int,
    now: datetime,
    results: dict[int, Outcome | Problem],
) -> None:
    """Insert the items whose keys are free, settle the others, and put what became of each into `results`."""
    first: dict[Key, tuple[int, ShapeT]] = {}
    for key, index, item in keyed:
        first.setdefault(key, (index, item))
    found = _find_if_likely(cursor, table, list(first))
    new = [(index, item) for key, (index, item) in first.items() if key not in found]
    now_text = now.isoformat()
    rows = [table.row(item, key_id, now_text) for _, item in new]
    attached = []
    for (index, item), row in zip(new, _insert(cursor, table, rows), strict=True):
        if row is not None:
            results[index] = Outcome(_stored(row, now), is_repeat=False)
            attached.append(table.attached(item, row))
    if table.attachment is not None:
        _copy_attached(cursor, table.attachment, [row for row in attached if row is not None])
    rest = [entry for entry in keyed if entry[1] not in results]
    lost = [key for key, _, _ in rest if key not in found]
    found |= table.find(cursor, lost) if lost else {}
    for key, index, item in rest:
        results[index] = _settle(cursor, table, item, found[key], key_id, now)


def _copy_attached(cursor: CursorWrapper, attachment: Attachment[ShapeT], rows: list[Row]) -> None:
    if rows:
        copy_in(cursor, attachment.name, attachment.column_list, rows)


def _find_if_likely(cursor: CursorWrapper, table: Table[ShapeT], keys: list[Key]) -> dict[Key, Stored]:
    """What is stored already. A call that repeats another shows it in a few of its keys; else nothing is looked up,
    and the rare key that is taken all the same is found out by inserting."""
    if not keys:
        return {}
    probe = keys[:: max(1, len(keys) // _PROBES)]
    found = table.find(cursor, probe)
    return table.find(cursor, keys) if found and len(probe) < len(keys) else found


def _insert(cursor: CursorWrapper, table: Table[ShapeT], rows: list[Row]) -> list[Row | None]:
    """Insert rows whose keys were free a moment ago; None stands for those that another call stored meanwhile."""
    if not rows:
        return []
    try:
        with transaction.atomic():
            copy_in(cursor, table.name, table.column_list, rows)
    except IntegrityError:
        inserted = execute_rows(
            cursor,
            f"INSERT INTO {table.name} ({table.column_list}) VALUES %s ON CONFLICT DO NOTHING RETURNING id",
            rows,
            has_result=True,
        )
        ids = {str(row[0]) for row in inserted}
        return [row if row[0] in ids else None for row in rows]
    return list(rows)
