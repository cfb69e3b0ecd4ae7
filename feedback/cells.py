"""Rollup cells: values of metrics gathered by slice, metric and bucket, and merged into the table."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from django.conf import settings
from django.db.backends.utils import CursorWrapper

from feedback.copying import Row, copy_in, execute_rows
from feedback.models import Slice
from triageops.stats.histogram import LogBins, UniformBins, bins_named
from triageops.stats.moments import FloatArray, IntArray, Moments, grouped_moments

HOUR = 3600
GRAINS = (60, 120, 300, 600, 900)
"""What BUCKET_SECONDS may be; each divides an hour."""

OTHER = "(other)"
"""Stands for the dimensions of slices beyond MAX_SLICES."""

Dimensions = tuple[str, ...]
"""Values of Slice.DIMENSIONS."""

RowKey = tuple[int, int, datetime, datetime, str, str]
"""slice_id, grain, bucket_at, visible_at, metric, bins"""

_KEY_COLUMNS = ("slice_id", "grain_seconds", "bucket_at", "visible_at", "metric", "bins")
_COLUMNS = ", ".join((*_KEY_COLUMNS, "n", "null_count", "mean", "m2", "minimum", "maximum", "histogram"))
_LOG = LogBins().name


_RUNS = timedelta(minutes=2)
"""From when a fact is received to when the rollups have taken it in, when all is well."""


@dataclass(frozen=True)
class Times:
    """In which buckets something that occurred at a moment is counted.

    age: how old its bucket is then at least. is_again: what was counted before is counted anew, so that it becomes visible
    by when it was received; not later than at first, unless the rollups stood still then.
    """

    bucket_seconds: int
    closed_until: datetime
    age: timedelta = timedelta(0)
    is_again: bool = False

    def places(
        self, occurred_at: datetime, received_at: datetime | None = None
    ) -> tuple[tuple[int, datetime, datetime], ...]:
        """(grain, bucket_at, visible_at) of the fine and of the hourly bucket."""
        fine = self._start(occurred_at, self.bucket_seconds)
        hour = self._start(occurred_at, HOUR)
        visible_at = max(fine + self.age, self.closed_until)
        if self.is_again and received_at is not None:
            counted_at = received_at - _RUNS - timedelta(seconds=settings.LATENESS_SECONDS)
            visible_at = max(visible_at, self._start(counted_at, self.bucket_seconds))
        return (self.bucket_seconds, fine, visible_at), (HOUR, hour, hour)

    @staticmethod
    def _start(at: datetime, seconds: int) -> datetime:
        stamp = math.floor(at.timestamp())
        return datetime.fromtimestamp(stamp - stamp % seconds, tz=UTC)


CellKey = tuple[Dimensions, int, datetime, datetime, str, str]
"""dimensions, grain, bucket_at, visible_at, metric, bins"""


def slices_of(
    dimensions: Sequence[str], attributes: Mapping[str, object], evaluator: str = ""
) -> list[Dimensions]:
    """The slices that a fact belongs to: the one of its dimensions, and one more for each attribute watched."""
    base = (*dimensions, evaluator)
    names = [name for name in settings.SLICE_ATTRIBUTES if attributes.get(name) is not None]
    return [(*base, "", ""), *[(*base, name, _as_text(attributes[name])) for name in names]]


def _as_text(value: object) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:128]


class Emitted:
    """Values on their way into cells."""

    def __init__(self, times: Times, bounds: Mapping[str, tuple[float, float]]) -> None:
        self._times = times
        self._bounds = bounds
        self._bins = {name: UniformBins(*interval).name for name, interval in bounds.items()}
        self.keys: dict[CellKey, int] = {}
        self.cell: list[int] = []
        self.value: list[float] = []
        self.nulls: dict[int, int] = {}
        self.metrics: set[str] = set()

    def add(
        self,
        dimensions: Sequence[str],
        attributes: Mapping[str, object],
        occurred_at: datetime,
        evaluator: str,
        values: Mapping[str, float | None],
        *,
        received_at: datetime | None = None,
    ) -> None:
        places = self._times.places(occurred_at, received_at)
        self.metrics.update(values)
        for slice_ in slices_of(dimensions, attributes, evaluator):
            for place in places:
                for metric, value in values.items():
                    self._put((slice_, *place, metric, self._bins_of(metric, value)), value)

    def _put(self, key: CellKey, value: float | None) -> None:
        index = self.keys.setdefault(key, len(self.keys))
        if value is None:
            self.nulls[index] = self.nulls.get(index, 0) + 1
        else:
            self.cell.append(index)
            self.value.append(float(value))

    def _bins_of(self, metric: str, value: float | None) -> str:
        """A value that came before its metric got bounds may lie outside them; it is kept in other bins."""
        name = self._bins.get(metric)
        if name is None:
            return _LOG
        low, high = self._bounds[metric]
        return name if value is None or low <= value <= high else _LOG

    def forget(self, metrics: set[str]) -> None:
        """Leave out these metrics."""
        if not metrics:
            return
        kept = {index for key, index in self.keys.items() if key[4] not in metrics}
        pairs = [(cell, value) for cell, value in zip(self.cell, self.value, strict=True) if cell in kept]
        old = [key for key, index in self.keys.items() if index in kept]
        renumbered = {self.keys[key]: number for number, key in enumerate(old)}
        self.nulls = {renumbered[index]: count for index, count in self.nulls.items() if index in kept}
        self.cell = [renumbered[cell] for cell, _ in pairs]
        self.value = [value for _, value in pairs]
        self.keys = {key: number for number, key in enumerate(old)}


@dataclass
class _Cell:
    moments: Moments
    null_count: int
    minimum: float | None
    maximum: float | None
    histogram: dict[int, int]

    def merge(self, other: "_Cell") -> None:
        self.moments += other.moments
        self.null_count += other.null_count
        self.minimum = _extreme(self.minimum, other.minimum, min)
        self.maximum = _extreme(self.maximum, other.maximum, max)
        for bin_index, count in other.histogram.items():
            self.histogram[bin_index] = self.histogram.get(bin_index, 0) + count


def _extreme(a: float | None, b: float | None, choose: Callable[[list[float]], float]) -> float | None:
    known = [value for value in (a, b) if value is not None]
    return choose(known) if known else None


def _computed(emitted: Emitted) -> dict[CellKey, _Cell]:
    """The cells of what was emitted, by whole arrays."""
    count = len(emitted.keys)
    values = np.array(emitted.value, dtype=np.float64)
    cell = np.array(emitted.cell, dtype=np.int64)
    n, mean, m2 = grouped_moments(values, cell, count)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, cell, values)
    np.maximum.at(high, cell, values)
    histograms = _histograms(list(emitted.keys), values, cell)
    return {
        key: _Cell(
            Moments(int(n[i]), float(mean[i]), float(m2[i])),
            emitted.nulls.get(i, 0),
            float(low[i]) if n[i] else None,
            float(high[i]) if n[i] else None,
            histograms[i],
        )
        for key, i in emitted.keys.items()
    }


def _histograms(keys: list[CellKey], values: FloatArray, cell: IntArray) -> list[dict[int, int]]:
    found: list[dict[int, int]] = [{} for _ in keys]
    schemes = sorted({key[5] for key in keys})
    number = {name: i for i, name in enumerate(schemes)}
    scheme_of_cell = np.array([number[key[5]] for key in keys], dtype=np.int64)
    for name in schemes:
        chosen = scheme_of_cell[cell] == number[name]
        if not chosen.any():
            continue
        bins = bins_named(name).index(values[chosen])
        pairs, counts = np.unique(np.stack([cell[chosen], bins]), axis=1, return_counts=True)
        for where, bin_index, how_many in zip(
            pairs[0].tolist(), pairs[1].tolist(), counts.tolist(), strict=True
        ):
            found[where][bin_index] = how_many
    return found


def write(cursor: CursorWrapper, emitted: Emitted) -> None:
    """Merge what was emitted into the table. The caller holds the cursor's lock, so there is no other writer."""
    if not emitted.keys:
        return
    new = _computed(emitted)
    ids = slice_ids(cursor, (key[0] for key in new))
    merged: dict[RowKey, _Cell] = {}
    for key, cell in new.items():
        own = (ids[key[0]], *key[1:])
        if own in merged:
            merged[own].merge(cell)
        else:
            merged[own] = cell
    stored = _add_stored(cursor, merged)
    copy_in(
        cursor,
        "feedback_rollup",
        _COLUMNS,
        [_row(key, cell) for key, cell in merged.items() if key not in stored],
    )
    execute_rows(
        cursor,
        f"""
        UPDATE feedback_rollup r SET
            n = new.n, null_count = new.null_count, mean = new.mean, m2 = new.m2, minimum = new.minimum,
            maximum = new.maximum, histogram = new.histogram
        FROM (VALUES %s) AS new ({_COLUMNS})
        WHERE {" AND ".join(f"r.{name} = new.{name}" for name in _KEY_COLUMNS)}
        """,
        [_row(key, merged[key]) for key in stored],
        template="(%s,%s,%s::timestamptz,%s::timestamptz,%s,%s,%s,%s,%s::float8,%s::float8,%s::float8,%s::float8,%s::jsonb)",
    )


def _row(key: RowKey, cell: _Cell) -> Row:
    histogram = {str(index): cell.histogram[index] for index in sorted(cell.histogram)}
    moments = cell.moments
    return (
        *key, moments.n, cell.null_count, moments.mean, moments.m2, cell.minimum, cell.maximum,
        msgspec.json.encode(histogram).decode(),
    )  # fmt: skip


def _add_stored(cursor: CursorWrapper, merged: dict[RowKey, _Cell]) -> set[RowKey]:
    """Put what is stored already into the cells; the keys for which there was something."""
    candidates = _in_known_buckets(cursor, merged)
    if not candidates:
        return set()
    columns = [list(column) for column in zip(*candidates, strict=True)]
    cursor.execute(
        f"""
        SELECT {_COLUMNS} FROM feedback_rollup
        JOIN unnest(%s::bigint[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[])
            AS wanted({", ".join(_KEY_COLUMNS)})
        USING ({", ".join(_KEY_COLUMNS)})
        """,
        columns,
    )
    found = set()
    for row in cursor.fetchall():
        key = row[:6]
        histogram = {int(index): count for index, count in msgspec.json.decode(row[12]).items()}
        stored = _Cell(Moments(row[6], row[8], row[9]), row[7], row[10], row[11], histogram)
        stored.merge(merged[key])
        merged[key] = stored
        found.add(key)
    return found


def _in_known_buckets(cursor: CursorWrapper, keys: Iterable[RowKey]) -> list[RowKey]:
    """Keys whose metric has any row in their bucket: after a backfill few do, and one look is for many keys."""
    places: dict[tuple[int, datetime, str], list[RowKey]] = {}
    for key in keys:
        places.setdefault((key[1], key[2], key[4]), []).append(key)
    cursor.execute(
        """
        SELECT grain_seconds, bucket_at, metric
        FROM unnest(%s::int[], %s::timestamptz[], %s::text[]) AS wanted(grain_seconds, bucket_at, metric)
        WHERE EXISTS (
            SELECT 1 FROM feedback_rollup r WHERE r.grain_seconds = wanted.grain_seconds
            AND r.bucket_at = wanted.bucket_at AND r.metric = wanted.metric
        )
        """,
        [list(column) for column in zip(*places, strict=True)],
    )
    return [key for place in cursor.fetchall() for key in places[place]]


def slice_ids(cursor: CursorWrapper, wanted: Iterable[Dimensions]) -> dict[Dimensions, int]:
    """The rows of slices, made where they do not exist yet."""
    names = {_slice_key(dimensions): dimensions for dimensions in wanted}
    found = _find_slices(cursor, list(names))
    missing = sorted(set(names) - set(found))
    if missing:
        cursor.execute("SELECT count(*) FROM feedback_slice")
        room = max(0, settings.MAX_SLICES - cursor.fetchone()[0])
        # What does not fit any more is counted under one name instead of filling the table.
        replaced = {key: _overflow(names[key]) for key in missing[room:]}
        _make_slices([names[key] for key in missing[:room]] + sorted(set(replaced.values())))
        found |= _find_slices(cursor, missing[:room])
        overflow = _find_slices(cursor, [_slice_key(dimensions) for dimensions in set(replaced.values())])
        found |= {key: overflow[_slice_key(dimensions)] for key, dimensions in replaced.items()}
    return {dimensions: found[key] for key, dimensions in names.items()}


def _slice_key(dimensions: Dimensions) -> str:
    return hashlib.blake2b(msgspec.json.encode(dimensions), digest_size=16).hexdigest()


def _overflow(dimensions: Dimensions) -> Dimensions:
    """An attribute keeps its name, so that sums over all values of an attribute stay right."""
    attribute = dimensions[6]
    return (OTHER,) * 5 + ("", attribute, OTHER if attribute else "")


def _find_slices(cursor: CursorWrapper, keys: list[str]) -> dict[str, int]:
    cursor.execute("SELECT key, id FROM feedback_slice WHERE key = ANY(%s)", [keys])
    return dict(cursor.fetchall())


def _make_slices(wanted: list[Dimensions]) -> None:
    Slice.objects.bulk_create(
        [
            Slice(key=_slice_key(dimensions), **dict(zip(Slice.DIMENSIONS, dimensions, strict=True)))
            for dimensions in wanted
        ],
        ignore_conflicts=True,
    )
