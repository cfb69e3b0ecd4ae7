"""What monitors read: each bucket once, after it has closed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from django.db import connection

from feedback.cells import GRAINS
from feedback.models import RollupCursor
from feedback.stats.cuts import Cut, Group
from triageops.stats.moments import Moments, grouped_moments

Row = tuple[Any, ...]
Counts = dict[str, dict[int, int]]

_counts = msgspec.json.Decoder(dict[int, int])


@dataclass(frozen=True)
class ClosedBucket:
    """What became visible in one closed bucket, for one group.

    histogram: name of bins -> bin -> count, which adds up exactly with that of any other bucket.
    """

    at: datetime
    group: Group
    moments: Moments
    null_count: int
    minimum: float | None
    maximum: float | None
    histogram: Counts = field(default_factory=dict)


def closed_until() -> datetime | None:
    """No rollup will get a visible_at before this any more; None before the first rollup."""
    return RollupCursor.objects.filter(name="facts").values_list("closed_until", flat=True).first()


def closed_buckets(
    metric: str,
    *,
    where: Mapping[str, str],
    split_by: Sequence[str],
    after: datetime,
    until: datetime,
    not_before: datetime,
) -> list[ClosedBucket]:
    """Buckets with after <= visible_at < until of what occurred since `not_before`, ordered by time and group.

    Rows are merged in one fixed order: the same rows give the same numbers to the last bit, in whatever window they
    are read.
    """
    in_time = "r.grain_seconds < 3600 AND r.visible_at >= %s AND r.visible_at < %s AND r.bucket_at >= %s"
    return _read("r.visible_at", metric, Cut(where, split_by), in_time, [after, until, not_before])


def past_buckets(
    metric: str, *, where: Mapping[str, str], split_by: Sequence[str], start: datetime, end: datetime
) -> list[ClosedBucket]:
    """Buckets of what occurred in start <= time < end, whenever it became visible: what is known of the past today."""
    in_time = "r.grain_seconds = ANY(%s) AND r.bucket_at >= %s AND r.bucket_at < %s"
    return _read("r.bucket_at", metric, Cut(where, split_by), in_time, [list(GRAINS), start, end])


def _read(at: str, metric: str, cut: Cut, in_time: str, times: list[Any]) -> list[ClosedBucket]:
    condition, values = cut.condition()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {at}, {cut.columns()} r.n, r.mean, r.m2, r.null_count, r.minimum, r.maximum, r.bins,"
            " r.histogram"
            " FROM feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE r.metric = %s AND {in_time} AND {condition}",
            [metric, *times, *values],
        )
        rows = cursor.fetchall()
    return list(_buckets(rows, 1 + len(cut.group_by)))


def _buckets(rows: list[Row], width: int) -> Iterator[ClosedBucket]:
    # Up to null_count: what may be None is not compared.
    rows.sort(key=lambda row: row[: width + 4])
    cells = [(key, list(found)) for key, found in groupby(rows, key=lambda row: row[:width])]
    merged = _moments([found for _, found in cells], width)
    for (key, found), moments in zip(cells, merged, strict=True):
        yield ClosedBucket(
            at=key[0],
            group=key[1:],
            moments=moments,
            null_count=sum([row[width + 3] for row in found]),
            minimum=min([row[width + 4] for row in found if row[width + 4] is not None], default=None),
            maximum=max([row[width + 5] for row in found if row[width + 5] is not None], default=None),
            histogram=_histogram([row[width + 6 :] for row in found]),
        )


def _moments(cells: Sequence[Sequence[Row]], width: int) -> list[Moments]:
    """Of each cell; one call for all that have several rows, since most have one."""
    several = [i for i, found in enumerate(cells) if len(found) > 1]
    parts = [(number, *row[width : width + 3]) for number, i in enumerate(several) for row in cells[i]]
    filled = [part for part in parts if part[1]]
    result = [Moments(*found[0][width : width + 3]) for found in cells]
    if not several:
        return result
    columns = zip(*filled, strict=True) if filled else ((), (), (), ())
    index, n, mean, m2 = (np.array(column) for column in columns)
    index = index.astype(np.int64)
    total, middle, between = grouped_moments(mean, index, len(several), weights=n)
    squares = between + np.bincount(index, m2, len(several))
    for i, *numbers in zip(several, total.tolist(), middle.tolist(), squares.tolist(), strict=True):
        result[i] = Moments(*numbers)
    return result


def _histogram(parts: Sequence[tuple[str, str]]) -> Counts:
    """Of (bins, counts as JSON): counts of equal bins add up."""
    found: Counts = {}
    for bins, text in parts:
        counts = _counts.decode(text)
        known = found.setdefault(bins, counts)
        if known is not counts:
            for index, count in counts.items():
                known[index] = known.get(index, 0) + count
    return {bins: counts for bins, counts in found.items() if counts}
