"""How many responses came, as monitors count them: each bucket once, when it is `maturity` old, with what was recorded by then.

Clients that send their records in batches make every fresh bucket look empty, so a bucket is not looked at before it has a
certain age. What comes later than that is left out, of the past as of now: otherwise what is usual would be more than what
anybody could see in time.

What was imported came late altogether, and left out it would say that nothing used to come. So where nothing came in time
for longer than IMPORTED, all that is known of that time counts, whenever it came. An outage of the way here, for longer than
that, counts in full too: the traffic was there, and its delivery was not usual.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from feedback.cells import GRAINS
from feedback.stats.cuts import EVERY_RESPONSE, Cut, Group
from feedback.stats.feedback_buckets import MATURE, age_of, ripe_values

IMPORTED = timedelta(hours=48)
"""Longer than the time between batches of a client that sends once a day."""

_TABLES = "feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id"


@dataclass(frozen=True)
class Volume:
    """How many responses of one group occurred in one bucket."""

    at: datetime
    group: Group
    n: int


def volume_buckets(
    *,
    where: Mapping[str, str],
    split_by: Sequence[str],
    after: datetime,
    until: datetime,
    not_before: datetime,
    maturity: timedelta,
) -> list[Volume]:
    """Buckets with after <= bucket_at + maturity < until and bucket_at >= not_before, by time and group.

    Final once closed_until() >= until. Empty buckets are not filled in. maturity: as in `feedback_buckets`.
    """
    cut = Cut(where, split_by)
    condition, values = cut.condition()
    counts = f"sum(r.n)::bigint FROM {_TABLES} WHERE r.metric = %s AND {MATURE} AND {condition}"
    rows = _rows(cut, counts, [EVERY_RESPONSE, *ripe_values(after, until, not_before, maturity), *values])
    return [Volume(row[0], row[1:-1], row[-1]) for row in rows]


def past_volumes(
    *,
    where: Mapping[str, str],
    split_by: Sequence[str],
    start: datetime,
    end: datetime,
    maturity: timedelta,
) -> list[Volume]:
    """Of what occurred in start <= time < end, which must be ripe: as it was counted, or would have been; imports in full."""
    cut = Cut(where, split_by)
    condition, values = cut.condition()
    within = age_of(maturity) + timedelta(seconds=settings.BUCKET_SECONDS)
    counts = (
        "coalesce(sum(r.n) FILTER (WHERE r.visible_at < r.bucket_at + %s::interval), 0)::bigint, sum(r.n)::bigint"
        f" FROM {_TABLES} WHERE r.metric = %s AND r.grain_seconds = ANY(%s) AND r.bucket_at >= %s AND r.bucket_at < %s"
        f" AND {condition}"
    )
    rows = _rows(cut, counts, [within, EVERY_RESPONSE, list(GRAINS), start, end, *values])
    in_time = sorted({row[0] for row in rows if row[-2]})
    found = [
        Volume(row[0], row[1:-2], row[-1] if _is_imported(row[0], in_time, start, end) else row[-2])
        for row in rows
    ]
    return [one for one in found if one.n]


def _rows(cut: Cut, counts: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """bucket_at, the group, and counts."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.bucket_at, {cut.columns()} {counts} GROUP BY {cut.columns()} r.bucket_at", values
        )
        return sorted(cursor.fetchall())


def _is_imported(at: datetime, in_time: Sequence[datetime], start: datetime, end: datetime) -> bool:
    """in_time: when something came in time, sorted; of what is read from `start` to `end`."""
    after = bisect_left(in_time, at)
    if after < len(in_time) and in_time[after] == at:
        return False
    since = in_time[after - 1] if after else start
    until = in_time[after] if after < len(in_time) else end
    return until - since > IMPORTED
