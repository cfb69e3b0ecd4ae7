"""Does an automatic quality metric track what people say?

For each quality metric whose direction and good line are known, a response that has both a value of it (of code, of a
judge, or of its own; several: their mean) and an opinion of people (the majority of standing positive and negative
feedback; ties say nothing) is one value of `agreement:<key>`: 1 when the metric calls good what people liked, or bad
what they did not, else 0.

Every bucket is looked at once, when it is TRIAGEOPS_AGREEMENT_HOURS old, with what was received by then, by our clock:
what comes later changes nothing, and a run that was missed gives the same numbers when it is made up for. Exactly once:
the cursor `agreement` moves in the transaction that writes, under its lock. The rows become visible when they are
written, behind everything that monitors have read; the lock of the facts' cursor is held from then to the commit.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from feedback import cells
from feedback.cells import Emitted, Times
from feedback.models import Direction, EvaluatorKind, FeedbackType, QualityMetric, RollupCursor
from feedback.shapes import RESPONSE_METRICS

PREFIX = "agreement:"
RESPONSES_PER_PIECE = 5_000
PIECES_PER_RUN = 5
"""A backlog is worked off by many runs, so that the rollups do not wait for it."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_AUTOMATIC = [EvaluatorKind.CODE.value, EvaluatorKind.LLM_JUDGE.value]

_FIRST_CURSOR = """
INSERT INTO feedback_rollupcursor (name, tx, closed_until, again_until, updated_at)
SELECT 'agreement', '0', %s, closed_until - %s, %s FROM feedback_rollupcursor WHERE name = 'facts'
ON CONFLICT DO NOTHING
"""
_CURSOR = """
SELECT own.closed_until, own.again_until, facts.closed_until
FROM feedback_rollupcursor own JOIN feedback_rollupcursor facts ON facts.name = 'facts'
WHERE own.name = 'agreement' FOR UPDATE OF own SKIP LOCKED
"""
_STATES = """
SELECT r.response_id, r.endpoint, r.model, r.provider, r.experiment, r.variant, r.attributes, r.occurred_at,
       r.received_at, r.metrics, r.latency_seconds, r.cost, r.input_tokens, r.output_tokens, (r.status = 'error')::int,
       r.cache_hit::int, s.*
FROM feedback_response r JOIN feedback_feedback f USING (response_id) CROSS JOIN LATERAL (
    SELECT f.id, f.revision, f.feedback_type, f.received_at AS given_at, f.withdrawn_at IS NULL
    UNION ALL
    SELECT h.feedback_id, h.revision, h.feedback_type, h.received_at, h.withdrawn_at IS NULL
    FROM feedback_feedbackrevision h WHERE h.feedback_id = f.id
) s
WHERE r.occurred_at >= %s AND r.occurred_at < %s
ORDER BY r.id, s.id, s.revision
"""


def age() -> timedelta:
    """How old the beginning of a bucket is when the bucket is looked at."""
    return timedelta(hours=settings.AGREEMENT_HOURS, seconds=settings.BUCKET_SECONDS)


def counted_until() -> datetime | None:
    """All buckets that begin before this are in, for good; None before the first run."""
    return RollupCursor.objects.filter(name="agreement").values_list("closed_until", flat=True).first()


@dataclass
class _Judged:
    """One response on which somebody gave feedback: what people and what metrics say of it."""

    dimensions: tuple[str, ...]
    attributes: dict[str, Any]
    occurred_at: datetime
    due_at: datetime
    standing: dict[Any, str | None] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def take(self, metrics: Mapping[str, float | None]) -> None:
        for key, value in metrics.items():
            if value is not None:
                self.values[key].append(float(value))

    @property
    def is_liked(self) -> bool | None:
        """What most people say; None for a tie, or nothing."""
        given = list(self.standing.values())
        difference = given.count(FeedbackType.POSITIVE) - given.count(FeedbackType.NEGATIVE)
        return None if difference == 0 else difference > 0

    def agreement(self, metrics: Iterable[QualityMetric]) -> dict[str, float | None]:
        """1 or 0 for each of these metrics that this response has a value of."""
        liked = self.is_liked
        if liked is None:
            return {}
        known = [metric for metric in metrics if metric.key in self.values]
        means = {metric.key: sum(self.values[metric.key]) / len(self.values[metric.key]) for metric in known}
        return {PREFIX + metric.key: float(metric.is_good(means[metric.key]) == liked) for metric in known}


def take_in(now: datetime) -> int:
    """Look at the buckets that have come of age; how many responses were compared. Another run in progress: 0."""
    count = 0
    for _ in range(PIECES_PER_RUN):
        found = _one_piece(now)
        if found is None:
            break
        count += found
    return count


def _one_piece(now: datetime) -> int | None:
    """None when nothing is due, or another run is at it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CURSOR)
        row = cursor.fetchone()
        if row is None:
            first: list[Any] = [_BEGINNING, age(), now]
            cursor.execute(_FIRST_CURSOR, first)
            return 0 if cursor.rowcount else None
        position, again_until, closed_until = row
        due_until = _bucket_of(closed_until - age()) + timedelta(seconds=settings.BUCKET_SECONDS)
        if position >= due_until:
            return None
        is_again = again_until is not None and position < again_until
        start, end = _piece(cursor, position, min(due_until, again_until) if is_again else due_until)
        judged = _judged(cursor, start, end)
        cursor.execute("SELECT closed_until FROM feedback_rollupcursor WHERE name = 'facts' FOR UPDATE")
        visible_from = _BEGINNING if is_again else cursor.fetchone()[0]
        _write(cursor, judged, visible_from)
        cursor.execute(
            "UPDATE feedback_rollupcursor SET closed_until = %s, updated_at = %s WHERE name = 'agreement'",
            [end, now],
        )
    return len(judged)


def _bucket_of(at: datetime) -> datetime:
    stamp = int(at.timestamp())
    return datetime.fromtimestamp(stamp - stamp % settings.BUCKET_SECONDS, tz=UTC)


def _piece(cursor: CursorWrapper, position: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The next whole buckets with about RESPONSES_PER_PIECE responses; times without any are stepped over."""
    cursor.execute(
        "SELECT min(occurred_at) FROM feedback_response WHERE occurred_at >= %s AND occurred_at < %s",
        [position, until],
    )
    first = cursor.fetchone()[0]
    if first is None:
        return until, until
    start = max(position, _bucket_of(first))
    cursor.execute(
        "SELECT occurred_at FROM feedback_response WHERE occurred_at >= %s AND occurred_at < %s"
        " ORDER BY occurred_at OFFSET %s LIMIT 1",
        [start, until, RESPONSES_PER_PIECE],
    )
    row = cursor.fetchone()
    if row is None:
        return start, until
    return start, min(until, max(_bucket_of(row[0]), start + timedelta(seconds=settings.BUCKET_SECONDS)))


def _judged(cursor: CursorWrapper, start: datetime, end: datetime) -> list[_Judged]:
    """Responses of these buckets with the feedback and the values that were received in time."""
    if start >= end:
        return []
    cursor.execute(_STATES, [start, end])
    found: dict[str, _Judged] = {}
    for row in cursor.fetchall():
        due_at = _bucket_of(row[7]) + age()
        *_, feedback_id, _, feedback_type, given_at, is_standing = row
        if row[8] >= due_at or given_at >= due_at:
            continue
        judged = found.get(row[0])
        if judged is None:
            judged = found[row[0]] = _Judged(row[1:6], msgspec.json.decode(row[6]), row[7], due_at)
            judged.take(dict(zip(RESPONSE_METRICS, row[10:16], strict=True)) | msgspec.json.decode(row[9]))
        # In the order of revisions: the last one in time is what stands.
        judged.standing[feedback_id] = feedback_type if is_standing else None
    cursor.execute(
        "SELECT response_id, metrics, received_at FROM feedback_qualityrecord"
        " WHERE response_id = ANY(%s) AND evaluator_kind = ANY(%s) ORDER BY id",
        [list(found), _AUTOMATIC],
    )
    for response_id, metrics, received_at in cursor.fetchall():
        if received_at < found[response_id].due_at:
            found[response_id].take(msgspec.json.decode(metrics))
    return list(found.values())


def _write(cursor: CursorWrapper, judged: list[_Judged], visible_from: datetime) -> None:
    metrics = [
        metric
        for metric in QualityMetric.objects.exclude(direction=Direction.NONE)
        if metric.good_line is not None
    ]
    times = Times(settings.BUCKET_SECONDS, visible_from, age())
    emitted = Emitted(times, {PREFIX + metric.key: (0.0, 1.0) for metric in metrics})
    for one in judged:
        emitted.add(one.dimensions, one.attributes, one.occurred_at, "", one.agreement(metrics))
    cells.write(cursor, emitted)
