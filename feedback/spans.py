"""Which transactions a run over the facts takes: all that have ended and were not taken before (feedback/rollups.py says why)."""

from dataclasses import dataclass

from django.db.backends.utils import CursorWrapper

BATCH = 5_000
"""Facts of one kind in one transaction, about."""

TABLES = (
    "feedback_response", "feedback_qualityrecord", "feedback_feedback", "feedback_feedbackrevision", "feedback_embedding",
)  # fmt: skip


@dataclass(frozen=True)
class Span:
    """Transactions from `start` (included) to `end` (not included); `is_whole`: nothing settled is left after it."""

    start: int
    end: int
    is_whole: bool


class CursorAhead(RuntimeError):
    """The cursor is ahead of every transaction: the database was restored into a new cluster."""


def next_span(cursor: CursorWrapper, start: int) -> Span:
    """What comes after `start`, at most about BATCH facts of a kind. Raises CursorAhead."""
    cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
    xmin = int(cursor.fetchone()[0])
    if start > xmin:
        raise CursorAhead(
            f"Facts are counted up to transaction {start}, but the next is {xmin}: run rebuild_rollups."
        )
    end = xmin
    for table in TABLES:
        first = _transaction_at(cursor, table, start, xmin, 0)
        last = _transaction_at(cursor, table, start, xmin, BATCH)
        if first is not None and last is not None:
            # A transaction is never cut in two, however large it is.
            end = min(end, max(last, first + 1))
    return Span(start, max(start, end), is_whole=end >= xmin)


def _transaction_at(cursor: CursorWrapper, table: str, start: int, end: int, offset: int) -> int | None:
    cursor.execute(
        f"SELECT tx::text FROM {table} WHERE tx >= %s::text::xid8 AND tx < %s::text::xid8"
        " ORDER BY tx OFFSET %s LIMIT 1",
        [start, end, offset],
    )
    row = cursor.fetchone()
    return row and int(row[0])
