"""Responses of experiments, with all that was said of them before a run of the collection and after it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from django.db.backends.utils import CursorWrapper

from experiments.outcomes import Said
from feedback.spans import Span


@dataclass
class Answer:
    """One response; `before` is None when it is new in this run."""

    response_id: str
    tx: int
    experiment: str
    variant: str
    unit: str
    model: str
    config_hash: str
    occurred_at: datetime
    attributes: dict[str, Any]
    after: Said
    before: Said | None = field(default=None)


_FIELDS = (
    "latency_seconds",
    "cost",
    "input_tokens",
    "output_tokens",
    "error",
    "cache_hit",
)
_COLUMNS = """
    r.response_id, r.tx::text::bigint, r.experiment, r.variant, r.unit, r.model, r.config_hash, r.occurred_at,
    r.attributes, r.metrics, r.latency_seconds, r.cost, r.input_tokens, r.output_tokens,
    (r.status = 'error')::int, r.cache_hit::int
"""

_TOUCHED = f"""
WITH touched AS (
    SELECT response_id FROM feedback_response
    WHERE tx >= %(start)s::text::xid8 AND tx < %(end)s::text::xid8 AND experiment <> ''
    UNION
    SELECT response_id FROM feedback_qualityrecord
    WHERE tx >= %(start)s::text::xid8 AND tx < %(end)s::text::xid8
    UNION
    SELECT response_id FROM feedback_feedback
    WHERE tx >= %(start)s::text::xid8 AND tx < %(end)s::text::xid8
    UNION
    SELECT f.response_id FROM feedback_feedbackrevision h JOIN feedback_feedback f ON f.id = h.feedback_id
    WHERE h.tx >= %(start)s::text::xid8 AND h.tx < %(end)s::text::xid8
)
SELECT {_COLUMNS} FROM touched JOIN feedback_response r USING (response_id)
WHERE r.experiment <> '' AND r.tx < %(end)s::text::xid8
ORDER BY r.occurred_at, r.id
"""

_EARLIER = f"""
SELECT {_COLUMNS} FROM unnest(%(units)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[])
    AS wanted (unit, since, until)
JOIN feedback_response r ON r.unit = wanted.unit AND r.unit <> ''
    AND r.occurred_at >= wanted.since AND r.occurred_at < wanted.until
WHERE r.tx < %(end)s::text::xid8
"""

_QUALITY = """
SELECT response_id, tx::text::bigint, metrics FROM feedback_qualityrecord
WHERE response_id = ANY(%s) AND tx < %s::text::xid8
ORDER BY id
"""

_OPINIONS = """
SELECT response_id, id, revision, tx::text::bigint, feedback_type, rating, withdrawn_at IS NOT NULL
FROM feedback_feedback WHERE response_id = ANY(%(ids)s)
UNION ALL
SELECT f.response_id, f.id, h.revision, h.tx::text::bigint, h.feedback_type, h.rating, h.withdrawn_at IS NOT NULL
FROM feedback_feedback f JOIN feedback_feedbackrevision h ON h.feedback_id = f.id
WHERE f.response_id = ANY(%(ids)s)
ORDER BY 1, 2, 3
"""


def touched(cursor: CursorWrapper, span: Span) -> list[Answer]:
    """The responses about which anything was said in the span, oldest first."""
    cursor.execute(_TOUCHED, {"start": span.start, "end": span.end})
    return _with_all_said(cursor, cursor.fetchall(), span)


def earlier(
    cursor: CursorWrapper, wanted: Iterable[tuple[str, datetime, datetime]], end: int
) -> dict[str, list[Said]]:
    """What units did in a time before: unit -> one entry a response. wanted: (unit, since, until)."""
    units, since, until = (list(column) for column in zip(*wanted, strict=True))
    cursor.execute(_EARLIER, {"units": units, "since": since, "until": until, "end": end})
    found: dict[str, list[Said]] = defaultdict(list)
    for answer in _with_all_said(cursor, cursor.fetchall(), Span(end, end, is_whole=True)):
        found[answer.unit].append(answer.after)
    return found


def _with_all_said(cursor: CursorWrapper, rows: Sequence[tuple[Any, ...]], span: Span) -> list[Answer]:
    ids = [row[0] for row in rows]
    quality, opinions = _quality(cursor, ids, span.end), _opinions(cursor, ids)
    answers = []
    for row in rows:
        numbers = dict(zip(_FIELDS, row[10:], strict=True))
        own = {name: value for name, value in _object(row[9]).items() if isinstance(value, int | float)}
        judged, said = quality.get(row[0], []), opinions.get(row[0], {})
        is_new = row[1] >= span.start
        answers.append(
            Answer(
                response_id=row[0],
                tx=row[1],
                experiment=row[2],
                variant=row[3],
                unit=row[4],
                model=row[5],
                config_hash=row[6],
                occurred_at=row[7],
                attributes=_object(row[8]),
                after=_said(numbers, own, judged, said, span.end),
                before=None if is_new else _said(numbers, own, judged, said, span.start),
            )
        )
    return answers


def _object(text: str) -> dict[str, Any]:
    """A jsonb column as a raw cursor gives it."""
    return msgspec.json.decode(text, type=dict[str, Any])


Judged = Sequence[tuple[int, Mapping[str, Any]]]
Opinions = Mapping[Any, Sequence[tuple[int, str, int | None, bool]]]


def _quality(cursor: CursorWrapper, ids: list[str], end: int) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    cursor.execute(_QUALITY, [ids, end])
    found: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for response_id, tx, metrics in cursor.fetchall():
        found[response_id].append((tx, _object(metrics)))
    return found


def _opinions(
    cursor: CursorWrapper, ids: list[str]
) -> dict[str, dict[Any, list[tuple[int, str, int | None, bool]]]]:
    """Per response and piece of feedback its states, in order."""
    cursor.execute(_OPINIONS, {"ids": ids})
    found: dict[str, dict[Any, list[tuple[int, str, int | None, bool]]]] = defaultdict(dict)
    for response_id, feedback_id, _, *state in cursor.fetchall():
        found[response_id].setdefault(feedback_id, []).append(tuple(state))
    return found


def _said(
    numbers: Mapping[str, float | None],
    own: Mapping[str, float],
    judged: Judged,
    opinions: Opinions,
    until: int,
) -> Said:
    """What the facts of transactions before `until` say about one response."""
    said = Said(numbers, {name: [float(value)] for name, value in own.items()})
    for tx, metrics in judged:
        if tx < until:
            for name, value in metrics.items():
                if value is not None:
                    said.quality.setdefault(name, []).append(float(value))
    for states in opinions.values():
        standing = [state for state in states if state[0] < until]
        if standing and not standing[-1][3]:
            said.feedback_types.append(standing[-1][1])
            if standing[-1][2] is not None:
                said.ratings.append(standing[-1][2])
    return said
