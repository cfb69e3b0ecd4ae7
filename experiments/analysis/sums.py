"""Sums over the exposed units, made by PostgreSQL in one pass: joint moments of each metric's columns per arm and epoch.

PostgreSQL's regr_* functions keep sums of products of distances from the means (Youngs and Cramer), so no digit is lost
at large offsets, and those of one pair share one state. The cost grows with the units, not with their answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from experiments.models import ExperimentMetric, MetricType
from triageops.stats.comoments import CoMoments
from triageops.stats.compare import Kind

ANALYSED = "x.experiment_id = %s AND x.phase = %s AND x.exclusion = ''"


@dataclass(frozen=True)
class Measure:
    """One number that is computed for each arm: SQL of its columns, and of the units that count."""

    key: str
    kind: Kind
    columns: tuple[str, ...]
    is_adjusted: bool = False
    matured_after: timedelta | None = None


@dataclass(frozen=True)
class Sums:
    """For each measure, arm (variant id) and epoch the moments; epochs in order, empty ones included."""

    epochs: tuple[int, ...]
    of: Mapping[str, Mapping[int, tuple[CoMoments, ...]]]
    unit_count: int

    def units(self) -> dict[int, dict[int, int]]:
        """Arm (variant id) -> epoch -> units."""
        return {
            arm: {epoch: cell.n for epoch, cell in zip(self.epochs, cells, strict=True)}
            for arm, cells in self.of[FEEDBACK_RATE.key].items()
        }


FEEDBACK_RATE = Measure("(feedback rate)", "ratio", ("x.feedback_count", "x.response_count"))
"""Whether those who say something differ between the arms; what is said is biased then."""


def measure(metric: ExperimentMetric, slot: int, *, has_earlier: bool) -> Measure:
    """The columns of a metric, with those before the exposure when they are asked for and there are any."""
    total, divisor = f"x.values[{2 * slot + 1}]", f"x.values[{2 * slot + 2}]"
    before, before_divisor = (
        f"coalesce(x.earlier[{2 * slot + 1}], 0)",
        f"coalesce(x.earlier[{2 * slot + 2}], 0)",
    )
    if metric.cap is not None:
        total, before = f"least({total}, {metric.cap!r})", f"least({before}, {metric.cap!r})"
    if metric.kind in {MetricType.PROPORTION, MetricType.RARE}:
        total, before = f"({total} > 0)::int", f"({before} > 0)::int"
    is_adjusted = metric.is_adjusted and has_earlier and metric.kind != MetricType.RARE
    is_new = "(x.earlier IS NULL)::int"
    kind: Kind
    columns: tuple[str, ...]
    earlier: tuple[str, ...]
    if metric.kind == MetricType.RATIO:
        kind, columns = "ratio", (total, divisor)
        earlier = (before, before_divisor, is_new)
    else:
        kind = "mean" if metric.kind == MetricType.MEAN else "proportion"
        columns, earlier = (total,), (before, is_new)
    window = timedelta(days=metric.window_days) if metric.window_days else None
    return Measure(metric.key, kind, (*columns, *earlier) if is_adjusted else columns, is_adjusted, window)


def has_earlier(experiment_id: int, phase: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT FROM experiments_exposedunit x WHERE {ANALYSED} AND x.earlier IS NOT NULL)",
            [experiment_id, phase],
        )
        return bool(cursor.fetchone()[0])


def sums(
    experiment_id: int,
    phase: int,
    measures: Sequence[Measure],
    *,
    now: datetime,
    attribute: str = "",
) -> dict[str, Sums]:
    """Sums for each value of the attribute of the first response; without one, under the empty text."""
    parts = [_aggregates(one) for one in measures]
    select = ", ".join(text for one, _ in parts for text in one)
    values = [value for one, numbers in parts for _ in one for value in _times(numbers, now)]
    segment = "coalesce(x.segments ->> %s, '')" if attribute else "''"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {segment} AS segment, x.epoch, x.variant_id, count(*), {select}"
            f" FROM experiments_exposedunit x WHERE {ANALYSED} GROUP BY 1, 2, 3",
            [*([attribute] if attribute else []), *values, experiment_id, phase],
        )
        rows = cursor.fetchall()
    found: dict[str, list[tuple[Any, ...]]] = {}
    for segment_value, *row in rows:
        found.setdefault(segment_value, []).append(tuple(row))
    return {name: _arranged(part, measures) for name, part in found.items()}


def _times(matured_after: timedelta | None, now: datetime) -> list[datetime]:
    return [] if matured_after is None else [now - matured_after]


def _aggregates(one: Measure) -> tuple[list[str], timedelta | None]:
    """SQL of n, the means, and the products of distances of all pairs, in the order that `_moments` reads."""
    only = "" if one.matured_after is None else " FILTER (WHERE x.exposed_at <= %s)"
    first = one.columns[0]
    # Aggregates of one pair share its state, so all of the first column's pairs give means and squares as well.
    texts = [f"count(*){only}"]
    texts += [f"regr_avgx({first}, {column}){only}" for column in one.columns]
    for i, left in enumerate(one.columns):
        texts.append(f"regr_sxx({first}, {left}){only}")
        texts += [f"regr_sxy({left}, {right}){only}" for right in one.columns[i + 1 :]]
    return texts, one.matured_after


def _arranged(rows: Sequence[tuple[Any, ...]], measures: Sequence[Measure]) -> Sums:
    epochs = tuple(sorted({row[0] for row in rows}))
    arms = sorted({row[1] for row in rows})
    of: dict[str, dict[int, tuple[CoMoments, ...]]] = {}
    at = 3
    for one in measures:
        width = _width(one)
        cells = {(row[0], row[1]): _moments(row[at : at + width], len(one.columns)) for row in rows}
        nothing = CoMoments.empty(len(one.columns))
        of[one.key] = {arm: tuple(cells.get((epoch, arm), nothing) for epoch in epochs) for arm in arms}
        at += width
    return Sums(epochs, of, sum(row[2] for row in rows))


def _width(one: Measure) -> int:
    k = len(one.columns)
    return 1 + k + k * (k + 1) // 2


def _moments(cells: Sequence[Any], k: int) -> CoMoments:
    n = int(cells[0])
    if n == 0:
        return CoMoments.empty(k)
    mean = tuple(float(value) for value in cells[1 : 1 + k])
    upper = iter(cells[1 + k :])
    m2 = [[0.0] * k for _ in range(k)]
    for i in range(k):
        for j in range(i, k):
            m2[i][j] = m2[j][i] = float(next(upper))
    return CoMoments(n, mean, tuple(tuple(row) for row in m2))
