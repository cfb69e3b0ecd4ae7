"""What monitors read: each bucket once, after it has closed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from feedback.models import RollupCursor
from feedback.stats.cuts import Cut, Group
from triageops.stats.moments import Moments


@dataclass(frozen=True)
class ClosedBucket:
    """What became visible in one closed bucket, for one group."""

    at: datetime
    group: Group
    moments: Moments
    null_count: int
    minimum: float | None
    maximum: float | None


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
    """Buckets with after <= visible_at < until of what occurred since `not_before`, ordered by time and group."""
    cut = Cut(where, split_by)
    condition, values = cut.condition()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.visible_at, {cut.columns()} r.n, r.null_count, r.mean, r.m2, r.minimum, r.maximum"
            " FROM feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id"
            " WHERE r.metric = %s AND r.grain_seconds < 3600 AND r.visible_at >= %s AND r.visible_at < %s"
            f" AND r.bucket_at >= %s AND {condition}",
            [metric, after, until, not_before, *values],
        )
        rows = cursor.fetchall()
    return list(_buckets(rows, 1 + len(split_by)))


def _buckets(rows: Sequence[tuple[Any, ...]], width: int) -> Iterator[ClosedBucket]:
    cells: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        cells[row[:width]].append(row[width:])
    for key in sorted(cells):
        found = cells[key]
        yield ClosedBucket(
            at=key[0],
            group=key[1:],
            moments=Moments.merge(Moments(cell[0], cell[2], cell[3]) for cell in found),
            null_count=sum(cell[1] for cell in found),
            minimum=min((cell[4] for cell in found if cell[4] is not None), default=None),
            maximum=max((cell[5] for cell in found if cell[5] is not None), default=None),
        )
