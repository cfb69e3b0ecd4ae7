"""Feedback in buckets: whole numbers that may also go down, so every change is an exact difference."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from feedback.cells import Dimensions, Times, slice_ids, slices_of
from feedback.copying import execute_rows
from feedback.models import FeedbackRollup

UNMATCHED = "(unmatched)"
"""Feedback whose response was not seen yet is tallied in one slice of its own, under this name of an attribute."""

Place = tuple[Dimensions, int, datetime, datetime, str]
"""dimensions, grain, bucket_at, visible_at, feedback type"""

_LATEST = datetime.max.replace(tzinfo=UTC)
_SIZE = 7
"""count, comments, and ratings 1 to 5"""


class _Span(NamedTuple):
    """Facts of transactions before `start`; and of those before `end` what was received up to `received_at`."""

    start: int
    end: int
    received_at: datetime

    def holds(self, tx: int, received_at: datetime) -> bool:
        return tx < self.start or (tx < self.end and received_at <= self.received_at)


class _State(NamedTuple):
    """One state that one piece of feedback had, and the response it is about if that is known by now."""

    response_id: str
    feedback_id: Any
    revision: int
    tx: int
    feedback_type: str
    rating: int | None
    has_comment: bool
    is_withdrawn: bool
    occurred_at: datetime
    received_at: datetime
    response_tx: int | None
    response_received_at: datetime | None
    response: tuple[Any, ...]

    def is_known(self, span: _Span) -> bool:
        return span.holds(self.tx, self.received_at)

    def is_response_known(self, span: _Span) -> bool:
        return (
            self.response_tx is not None
            and self.response_received_at is not None
            and span.holds(self.response_tx, self.response_received_at)
        )


_STATES = """
WITH touched AS (
    SELECT response_id FROM feedback_feedback WHERE tx >= %(start)s::text::xid8 AND tx < %(end)s::text::xid8
    UNION
    SELECT f.response_id FROM feedback_feedbackrevision h JOIN feedback_feedback f ON f.id = h.feedback_id
    WHERE h.tx >= %(start)s::text::xid8 AND h.tx < %(end)s::text::xid8
    UNION
    SELECT r.response_id FROM feedback_response r JOIN feedback_feedback f USING (response_id)
    WHERE r.tx >= %(start)s::text::xid8 AND r.tx < %(end)s::text::xid8
), state AS (
    SELECT f.response_id, f.id, f.revision, f.tx, f.feedback_type, f.rating, f.comment <> '' AS has_comment,
           f.withdrawn_at IS NOT NULL AS is_withdrawn, f.occurred_at, f.received_at
    FROM feedback_feedback f JOIN touched USING (response_id)
    UNION ALL
    SELECT f.response_id, f.id, h.revision, h.tx, h.feedback_type, h.rating, h.comment <> '',
           h.withdrawn_at IS NOT NULL, h.occurred_at, h.received_at
    FROM feedback_feedback f JOIN touched USING (response_id) JOIN feedback_feedbackrevision h ON h.feedback_id = f.id
)
SELECT s.response_id, s.id, s.revision, s.tx::text::bigint, s.feedback_type, s.rating, s.has_comment, s.is_withdrawn,
       s.occurred_at, s.received_at, r.tx::text::bigint, r.received_at, r.endpoint, r.model, r.provider, r.experiment, r.variant, r.attributes,
       r.occurred_at
FROM state s LEFT JOIN feedback_response r USING (response_id)
WHERE s.tx < %(end)s::text::xid8
ORDER BY s.response_id, s.id, s.revision
"""


def take_in(cursor: CursorWrapper, start: int, end: int, times: Times) -> int:
    """Add what the facts before transaction `end` say minus what those before `start` said; states looked at."""
    cursor.execute(_STATES, {"start": start, "end": end})
    # One statement reads current states and history, so a state that moves from one to the other is seen once.
    states = [_State._make((*row[:12], row[12:])) for row in cursor.fetchall()]
    sums: dict[Place, list[int]] = defaultdict(lambda: [0] * _SIZE)
    for _, group in groupby(states, key=lambda state: state.response_id):
        of_response = list(group)
        said = _Span(start, start, _LATEST)
        for span in _spans(of_response, start, end, times):
            for sign, known in ((-1, said), (1, span)):
                for place, numbers in _said(of_response, known, times, span.received_at):
                    total = sums[place]
                    for i, number in enumerate(numbers):
                        total[i] += sign * number
            said = span
    _write(cursor, {place: numbers for place, numbers in sums.items() if any(numbers)})
    return sum(start <= state.tx for state in states)


def _spans(states: list[_State], start: int, end: int, times: Times) -> list[_Span]:
    """One for all that is new; of what is counted anew one for each time at which something was received."""
    if not times.is_again:
        return [_Span(start, end, _LATEST)]
    received = {state.received_at for state in states if state.tx >= start}
    tx, at = states[0].response_tx, states[0].response_received_at
    if tx is not None and at is not None and start <= tx < end:
        received.add(at)
    return [_Span(start, end, at) for at in sorted(received)]


def _said(
    states: list[_State], span: _Span, times: Times, received_at: datetime
) -> Iterator[tuple[Place, list[int]]]:
    """What these facts say about one response, at the places of what is received at this time."""
    latest = {state.feedback_id: state for state in states if state.is_known(span)}
    standing = [state for state in latest.values() if not state.is_withdrawn]
    if not standing:
        return
    if not standing[0].is_response_known(span):
        for state in standing:
            places = times.places(state.occurred_at, received_at)
            yield from _at([_unmatched()], places, state.feedback_type, _numbers(state))
        return
    *dimensions, attributes, occurred_at = standing[0].response
    slices = slices_of(dimensions, msgspec.json.decode(attributes))
    places = times.places(occurred_at, received_at)
    yield from _at(slices, places, FeedbackRollup.ANY, [1] + [0] * (_SIZE - 1))
    for state in standing:
        yield from _at(slices, places, state.feedback_type, _numbers(state))


def _unmatched() -> Dimensions:
    return ("", "", "", "", "", "", UNMATCHED, "")


def _numbers(state: _State) -> list[int]:
    ratings = [int(state.rating == rating) for rating in range(1, 6)]
    return [1, int(state.has_comment), *ratings]


def _at(
    slices: list[Dimensions],
    places: tuple[tuple[int, datetime, datetime], ...],
    feedback_type: str,
    numbers: list[int],
) -> Iterator[tuple[Place, list[int]]]:
    for slice_ in slices:
        for place in places:
            yield (slice_, *place, feedback_type), numbers


def _write(cursor: CursorWrapper, sums: dict[Place, list[int]]) -> None:
    if not sums:
        return
    ids = slice_ids(cursor, (place[0] for place in sums))
    merged: dict[tuple[object, ...], list[int]] = {}
    for place, numbers in sums.items():
        own = (ids[place[0]], *place[1:])
        merged[own] = [a + b for a, b in zip(merged[own], numbers, strict=True)] if own in merged else numbers
    execute_rows(
        cursor,
        """
        INSERT INTO feedback_feedbackrollup AS tally
            (slice_id, grain_seconds, bucket_at, visible_at, feedback_type, count, comment_count, rating_counts)
        VALUES %s
        ON CONFLICT (grain_seconds, bucket_at, slice_id, feedback_type, visible_at) DO UPDATE SET
            count = tally.count + excluded.count,
            comment_count = tally.comment_count + excluded.comment_count,
            rating_counts = ARRAY(
                SELECT a + b FROM unnest(tally.rating_counts, excluded.rating_counts) WITH ORDINALITY AS pair(a, b, i)
                ORDER BY i
            )
        """,
        [(*own, numbers[0], numbers[1], numbers[2:]) for own, numbers in merged.items()],
        template="(%s, %s, %s, %s, %s, %s, %s, %s::bigint[])",
    )
