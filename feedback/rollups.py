"""From facts to mergeable buckets: each fact is counted exactly once, in whatever order transactions commit.

How: every fact carries the 64-bit id of the transaction that wrote it (`tx`, filled by PostgreSQL). The cursor remembers
up to which id everything is in. A run takes the snapshot's xmin: every transaction before it has ended, so its rows are
visible now or never will be, and none can appear later. A run takes the facts with `cursor <= tx < xmin`, merges them
into the buckets and moves the cursor, in one transaction under the lock of the cursor's row. A watermark on a time or a
sequence would skip what was numbered early and committed late; this one cannot.

What two facts say together counts when the later one arrives: a quality record with its response in the run in which
the greater of both `tx` lies. Feedback can change, so a run adds, for every response it touches, what the facts before
the new cursor say minus what the facts before the old one said; changes, withdrawals and feedback that waited for its
response need no case of their own.

A bucket closes LATENESS_SECONDS after its end. What comes later is kept in its own bucket for statistics, but under a
later `visible_at`: a check reads each row once, and evidence already used is never rewritten.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from feedback import cells, embeddings, tallies
from feedback.cells import Emitted, Times
from feedback.models import QualityMetric, RollupCursor
from feedback.shapes import EMBEDDING_DISTANCE, RESPONSE_METRICS
from feedback.spans import TABLES, Span, next_span

MAX_METRICS = 1_000
"""More metric names than this are not counted: somebody puts ids into names."""

_DIMENSIONS = "r.endpoint, r.model, r.provider, r.experiment, r.variant, r.attributes, r.occurred_at"

_PATIENCE = timedelta(minutes=5)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_CURSOR = (
    "INSERT INTO feedback_rollupcursor (name, tx, closed_until, updated_at) VALUES ('facts', '0', %s, %s)"
    " ON CONFLICT DO NOTHING"
)


class HeldBack(RuntimeError):
    """A transaction was left open: what began after it cannot be counted until it ends."""


class ClockJumped(RuntimeError):
    """Buckets are closed that have not begun yet: the clock of a worker was ahead."""


def roll_up(now: datetime) -> int:
    """Bring the buckets up to date, batch by batch; the number of facts taken in. Another run in progress: 0.

    Raises HeldBack or ClockJumped, after all that could be done is done, so that the job shows as failing.
    """
    total = 0
    while True:
        count, is_whole = _one_batch(now)
        total += count
        if is_whole:
            break
    _complain(now)
    return total


def _complain(now: datetime) -> None:
    oldest = _oldest_writer()
    if oldest is not None and now - oldest > _PATIENCE:
        raise HeldBack(
            f"A transaction that is open since {oldest:%Y-%m-%d %H:%M:%S} holds back the rollups: end it."
        )
    closed_until = RollupCursor.objects.filter(name="facts").values_list("closed_until", flat=True).first()
    if closed_until is not None and closed_until > now + _PATIENCE:
        raise ClockJumped(
            f"Buckets are closed until {closed_until:%Y-%m-%d %H:%M:%S}, in the future: set the clocks."
        )


def _oldest_writer() -> datetime | None:
    """Start of the oldest other transaction that has written something; None where we may not see any."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(xact_start) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
        )
        found: datetime | None = cursor.fetchone()[0]
        return found


def rebuild() -> None:
    """Have everything counted anew by the next run, for instance after a restore.

    Facts keep their transaction's id unless it lies in this cluster's future. Each becomes visible when it was received, as
    it did at first, so that what is learnt of the past is as old as what is watched. Evidence already used is before the
    watermarks of the monitors and not used again; only of a monitor that is behind, and only facts that came late while the
    rollups stood still, could be. What was imported before the very first run counted as if it had come in time, and
    counts as late from now on.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # First, as agreement.take_in locks this one before that of the facts.
        cursor.execute(
            "UPDATE feedback_rollupcursor SET again_until = greatest(again_until, closed_until), closed_until = %s"
            " WHERE name = 'agreement'",
            [_BEGINNING],
        )
        cursor.execute("SELECT 1 FROM feedback_rollupcursor WHERE name = 'facts' FOR UPDATE")
        for table in TABLES:
            cursor.execute(
                f"UPDATE {table} SET tx = pg_current_xact_id() WHERE tx >= pg_snapshot_xmax(pg_current_snapshot())"
            )
        cursor.execute("TRUNCATE feedback_rollup, feedback_feedbackrollup")
        cursor.execute(
            "UPDATE feedback_rollupcursor SET tx = '0', again_until = greatest(again_until, closed_until), closed_until = %s"
            " WHERE name = 'facts'",
            [_BEGINNING],
        )


def _one_batch(now: datetime) -> tuple[int, bool]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT tx::text, closed_until, coalesce(closed_until < again_until, false) FROM feedback_rollupcursor"
            " WHERE name = 'facts' FOR UPDATE SKIP LOCKED"
        )
        row = cursor.fetchone()
        if row is None:
            # Another run has it, or nothing was ever rolled up.
            cursor.execute(_FIRST_CURSOR, [_BEGINNING, now])
            return 0, cursor.rowcount == 0
        span = next_span(cursor, int(row[0]))
        times = Times(settings.BUCKET_SECONDS, closed_until=row[1], is_again=row[2])
        count = _take_in(cursor, span, times, now)
        closed_until = max(row[1], _closing_now(now)) if span.is_whole else row[1]
        cursor.execute(
            "UPDATE feedback_rollupcursor SET tx = %s::text::xid8, closed_until = %s, updated_at = %s"
            " WHERE name = 'facts'",
            [span.end, closed_until, now],
        )
    return count, span.is_whole


def _closing_now(now: datetime) -> datetime:
    """No bucket is closed in which a transaction began that still runs: its facts are not late, only slow."""
    oldest = _oldest_writer()
    return closing_at(now if oldest is None else min(now, oldest))


def closing_at(now: datetime) -> datetime:
    """The end of the last bucket that is closed at `now`."""
    at = int((now - timedelta(seconds=settings.LATENESS_SECONDS)).timestamp())
    return datetime.fromtimestamp(at - at % settings.BUCKET_SECONDS, tz=UTC)


def _take_in(cursor: CursorWrapper, span: Span, times: Times, now: datetime) -> int:
    defined = {metric.key: metric.bounds for metric in QualityMetric.objects.all()}
    bounds = {name: interval for name, interval in defined.items() if interval is not None}
    emitted = Emitted(times, bounds | {EMBEDDING_DISTANCE: embeddings.BOUNDS})
    count = _responses(cursor, span, emitted) + _quality(cursor, span, emitted)
    embeddings.take_in(cursor, span, emitted, now)
    _discover(emitted, {*defined, *RESPONSE_METRICS})
    cells.write(cursor, emitted)
    return count + tallies.take_in(cursor, span.start, span.end, times)


def _responses(cursor: CursorWrapper, span: Span, emitted: Emitted) -> int:
    cursor.execute(
        f"SELECT {_DIMENSIONS}, r.metrics, r.latency_seconds, r.cost, r.input_tokens, r.output_tokens,"
        " (r.status = 'error')::int, r.cache_hit::int, r.received_at"
        " FROM feedback_response r WHERE r.tx >= %s::text::xid8 AND r.tx < %s::text::xid8 ORDER BY r.id",
        [span.start, span.end],
    )
    rows = cursor.fetchall()
    for row in rows:
        values = dict(zip(RESPONSE_METRICS, row[8:-1], strict=True)) | _object(row[7])
        emitted.add(row[:5], _object(row[5]), row[6], "", values, received_at=row[-1])
    return len(rows)


def _quality(cursor: CursorWrapper, span: Span, emitted: Emitted) -> int:
    select = (
        f"SELECT {_DIMENSIONS}, q.metrics, q.evaluator_kind, q.evaluator_name, q.evaluator_version, q.id,"
        " greatest(q.received_at, r.received_at)"
        " FROM feedback_qualityrecord q JOIN feedback_response r USING (response_id)"
    )
    cursor.execute(
        f"""
        {select} WHERE q.tx >= %(start)s::text::xid8 AND q.tx < %(end)s::text::xid8 AND r.tx < %(end)s::text::xid8
        UNION ALL
        {select} WHERE r.tx >= %(start)s::text::xid8 AND r.tx < %(end)s::text::xid8 AND q.tx < %(start)s::text::xid8
        """,
        {"start": span.start, "end": span.end},
    )
    rows = sorted(cursor.fetchall(), key=lambda row: row[11])
    for row in rows:
        evaluator = evaluator_name(row[8], row[9], row[10])
        emitted.add(row[:5], _object(row[5]), row[6], evaluator, _object(row[7]), received_at=row[12])
    return len(rows)


def _object(text: str) -> dict[str, Any]:
    """A jsonb column as a raw cursor gives it."""
    return msgspec.json.decode(text, type=dict[str, Any])


def evaluator_name(kind: str, name: str, version: str) -> str:
    """How an evaluator is written as one value of the dimension `evaluator`."""
    return f"{kind}:{name}@{version}" if version else f"{kind}:{name}"


def _discover(emitted: Emitted, known: set[str]) -> None:
    """Names that nobody defined become rows for an admin to classify; beyond a sane number they are not counted."""
    unknown = sorted(emitted.metrics - known - {EMBEDDING_DISTANCE})
    allowed = unknown[: max(0, MAX_METRICS - len(known))]
    QualityMetric.objects.bulk_create([QualityMetric(key=name) for name in allowed], ignore_conflicts=True)
    emitted.forget(set(unknown) - set(allowed))
