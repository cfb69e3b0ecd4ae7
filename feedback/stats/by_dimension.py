"""Which group explains what happened: one metric in one window, by every dimension at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection

from feedback.stats.cuts import DIMENSIONS, EVERY_RESPONSE, IN_WINDOW, Cut, Window, window_values
from feedback.stats.feedback_buckets import MATURE, age_of, mature_values
from feedback.stats.tallied import NO_FEEDBACK, SUMS, Kind, Tally, moments_of, values_of
from triageops.stats.moments import Moments, grouped_moments

GROUPED = ("endpoint", "model", "provider", "experiment", "variant")

Row = tuple[Any, ...]
ByDimension = dict[str, dict[str, Moments]]


def moments_by_dimension(metric: str, where: Mapping[str, str], window: Window) -> ByDimension:
    """Dimension or watched attribute -> its value -> moments of `metric` in the window.

    A response without a dimension counts under "", one without an attribute is not in that attribute's groups. The
    same response is in a group of every dimension. With an attribute in `where` there are no groups of attributes:
    they are kept one at a time. Cost: two queries, of which the rows are slices times hours of the window.
    """
    columns = ", ".join(f"s.{name}" for name in GROUPED)
    values = "r.n, r.mean, r.m2"
    cut = Cut(where)
    rows = _rows(f"{columns}, {values}", "feedback_rollup", cut, window, metric)
    found = {
        name: _merged([(row[i], *row[len(GROUPED) :]) for row in rows]) for i, name in enumerate(GROUPED)
    }
    if not cut.attribute:
        several = _attribute_rows(f"s.attribute, s.value, {values}", "feedback_rollup", cut, window, metric)
        for name in settings.SLICE_ATTRIBUTES:
            found[name] = _merged([row[1:] for row in several if row[0] == name])
    return found


def feedback_by_dimension(
    kind: Kind, where: Mapping[str, str], window: Window, maturity: timedelta
) -> ByDimension:
    """The same of feedback on the responses of the window, as `feedback_buckets` counts it: at the age `maturity`.

    Buckets that are not so old yet are left out.
    """
    cut, mature = Cut(where), _Mature(window, maturity)
    tallies = _sums(SUMS, "feedback_feedbackrollup", cut, mature)
    responses = (
        _sums("sum(r.n)", "feedback_rollup", cut, mature, EVERY_RESPONSE) if kind == "coverage" else {}
    )
    return {name: _of_tallies(kind, added, responses.get(name, {})) for name, added in tallies.items()}


def _of_tallies(
    kind: Kind, tallies: Mapping[str, list[int]], responses: Mapping[str, list[int]]
) -> dict[str, Moments]:
    found = {}
    for value in sorted({*tallies, *responses}):
        tally = Tally.of(tallies[value]) if value in tallies else NO_FEEDBACK
        found[value] = moments_of(values_of(kind, tally, responses.get(value, [0])[0]))
    return {value: moments for value, moments in found.items() if moments.n}


@dataclass(frozen=True)
class _Mature:
    """What was counted when a bucket had a certain age, of buckets that have it."""

    window: Window
    maturity: timedelta

    @property
    def condition(self) -> str:
        return f"{MATURE} AND r.bucket_at + %s::interval < coalesce(({_CLOSED_UNTIL}), 'infinity')"

    @property
    def values(self) -> list[Any]:
        age = age_of(self.maturity)
        return [*mature_values(self.window.start, self.window.end, self.maturity), age]


_CLOSED_UNTIL = "SELECT closed_until FROM feedback_rollupcursor WHERE name = 'facts'"


def _sums(
    numbers: str, table: str, cut: Cut, mature: _Mature, metric: str | None = None
) -> dict[str, dict[str, list[int]]]:
    """Dimension or watched attribute -> its value -> sums. Two queries."""
    columns = ", ".join(f"s.{name}" for name in GROUPED)
    rows = _rows(f"{columns}, {numbers}", table, cut, mature, metric, f"GROUP BY {columns}")
    found = {name: _added([(row[i], *row[len(GROUPED) :]) for row in rows]) for i, name in enumerate(GROUPED)}
    if not cut.attribute:
        columns = "s.attribute, s.value"
        several = _attribute_rows(f"{columns}, {numbers}", table, cut, mature, metric, f"GROUP BY {columns}")
        for name in settings.SLICE_ATTRIBUTES:
            found[name] = _added([row[1:] for row in several if row[0] == name])
    return found


def _rows(
    columns: str, table: str, cut: Cut, window: Window | _Mature, metric: str | None = None, group: str = ""
) -> list[Row]:
    condition, values = cut.condition()
    return _read(columns, table, window, condition, values, metric, group)


def _attribute_rows(
    columns: str, table: str, cut: Cut, window: Window | _Mature, metric: str | None = None, group: str = ""
) -> list[Row]:
    """Rows of all watched attributes, each by itself."""
    named = [name for name in cut.where if name in DIMENSIONS]
    condition = " AND ".join(["s.attribute = ANY(%s)", *(f"s.{name} = %s" for name in named)])
    values = [list(settings.SLICE_ATTRIBUTES), *(cut.where[name] for name in named)]
    return _read(columns, table, window, condition, values, metric, group)


def _read(
    columns: str,
    table: str,
    window: Window | _Mature,
    condition: str,
    values: Sequence[Any],
    metric: str | None,
    group: str,
) -> list[Row]:
    in_time = window.condition if isinstance(window, _Mature) else IN_WINDOW
    times = window.values if isinstance(window, _Mature) else window_values(window)
    chosen = "" if metric is None else " AND r.metric = %s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM {table} r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {in_time} AND {condition}{chosen} {group}",
            [*times, *values, *([] if metric is None else [metric])],
        )
        return list(cursor.fetchall())


def _merged(rows: Sequence[Row]) -> dict[str, Moments]:
    """(value, n, mean, m2) merged by value."""
    filled = sorted(row for row in rows if row[1])
    if not filled:
        return {}
    values = sorted({row[0] for row in filled})
    number = {value: i for i, value in enumerate(values)}
    names, n, mean, m2 = zip(*filled, strict=True)
    index = np.array([number[name] for name in names], dtype=np.int64)
    total, middle, between = grouped_moments(mean, index, len(values), weights=n)
    squares = between + np.bincount(index, m2, len(values))
    return {
        value: Moments(*numbers)
        for value, *numbers in zip(values, total.tolist(), middle.tolist(), squares.tolist(), strict=True)
    }


def _added(rows: Sequence[Row]) -> dict[str, list[int]]:
    """(value, *sums) added by value."""
    sums: dict[str, list[int]] = {}
    for value, *numbers in rows:
        known = sums.setdefault(value, [0] * len(numbers))
        for i, number in enumerate(numbers):
            known[i] += int(number or 0)
    return sums
