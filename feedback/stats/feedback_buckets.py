"""What monitors read of people's feedback: buckets of responses, each looked at when it has the same age.

Feedback comes late, some of it days after its response. A fresh bucket would always look different from an old one, so
a bucket of responses is looked at once, when it is `maturity` old, with the feedback that was counted by then.

Left out, and honestly lost to these numbers: feedback that is given, changed or withdrawn when its response is older
than that; feedback whose response is not known by then; and of coverage, responses that are recorded later than that.
All of it stays in the statistics (feedback.stats.opinions). `rebuild_rollups` keeps the age at which everything came.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from feedback.cells import GRAINS
from feedback.stats.buckets import ClosedBucket
from feedback.stats.cuts import EVERY_RESPONSE, Cut
from feedback.stats.tallied import NO_FEEDBACK, SUMS, Kind, Tally, histogram_of, moments_of, values_of

Key = tuple[Any, ...]
"""bucket_at, and the group"""

MATURE = (
    "r.grain_seconds = ANY(%s) AND r.bucket_at >= %s AND r.bucket_at < %s"
    " AND r.visible_at < r.bucket_at + %s::interval"
)
"""SQL of what `mature_values` or `ripe_values` give the values of."""


def age_of(maturity: timedelta) -> timedelta:
    """In whole buckets. With them, the last visible_at that takes part is before `until`; a part of one would reach beyond it.

    ValueError below zero.
    """
    if maturity < timedelta(0):
        raise ValueError(f"a negative maturity: {maturity}")
    bucket = timedelta(seconds=settings.BUCKET_SECONDS)
    return -(-maturity // bucket) * bucket


def mature_values(start: datetime, end: datetime, maturity: timedelta) -> list[Any]:
    """Buckets that begin in start <= time < end, with what was counted when they were that old."""
    return [list(GRAINS), start, end, age_of(maturity) + timedelta(seconds=settings.BUCKET_SECONDS)]


def ripe_values(after: datetime, until: datetime, not_before: datetime, maturity: timedelta) -> list[Any]:
    """Buckets since `not_before` that became so old in after <= time < until."""
    age = age_of(maturity)
    return mature_values(max(after - age, not_before), until - age, maturity)


def feedback_buckets(
    kind: Kind,
    *,
    where: Mapping[str, str],
    split_by: Sequence[str],
    after: datetime,
    until: datetime,
    not_before: datetime,
    maturity: timedelta,
) -> list[ClosedBucket]:
    """Buckets of responses with after <= bucket_at + maturity < until and bucket_at >= not_before, by time and group.

    negative, positive: share of this type among all feedback, as values 0 and 1; a bucket without feedback is left out.
    rating: the ratings, 1 to 5; a bucket without ratings is left out. coverage: share of the responses that have any
    feedback; every bucket with responses is there.

    `at` is the bucket of the responses. A maturity that is no whole number of buckets is rounded up to one (ValueError
    below zero). Final: once closed_until() >= until, the same call gives the same numbers, until a rebuild.
    Counts outside 0..n are clipped: they come of an attribute that is watched since later than its responses.
    """
    cut = Cut(where, split_by)
    window = ripe_values(after, until, not_before, maturity)
    tallies = _tallies(window, cut)
    responses = _responses(window, cut) if kind == "coverage" else {}
    found = [
        _bucket(kind, key, values_of(kind, tallies.get(key, NO_FEEDBACK), responses.get(key, 0)))
        for key in sorted(responses or tallies)
    ]
    return [bucket for bucket in found if bucket.moments.n]


def _tallies(window: Sequence[Any], cut: Cut) -> dict[Key, Tally]:
    condition, values = cut.condition()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.bucket_at, {cut.columns()} {SUMS}"
            " FROM feedback_feedbackrollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {MATURE} AND {condition} GROUP BY {cut.columns()} r.bucket_at",
            [*window, *values],
        )
        rows = cursor.fetchall()
    width = 1 + len(cut.group_by)
    return {row[:width]: Tally.of(row[width:]) for row in rows}


def _responses(window: Sequence[Any], cut: Cut) -> dict[Key, int]:
    condition, values = cut.condition()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.bucket_at, {cut.columns()} sum(r.n)::bigint"
            " FROM feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE r.metric = %s AND {MATURE} AND {condition} GROUP BY {cut.columns()} r.bucket_at",
            [EVERY_RESPONSE, *window, *values],
        )
        rows = cursor.fetchall()
    return {row[:-1]: row[-1] for row in rows}


def _bucket(kind: Kind, key: Key, counts: Mapping[int, int]) -> ClosedBucket:
    return ClosedBucket(
        at=key[0],
        group=key[1:],
        moments=moments_of(counts),
        null_count=0,
        minimum=float(min(counts)) if counts else None,
        maximum=float(max(counts)) if counts else None,
        histogram=histogram_of(kind, counts),
    )
