"""Which group explains what happened: one metric in one window, by every dimension at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection

from feedback.stats.cuts import DIMENSIONS, EVERY_RESPONSE, IN_WINDOW, Cut, Window, window_values
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


def feedback_by_dimension(kind: Kind, where: Mapping[str, str], window: Window) -> ByDimension:
    """The same of feedback on the responses of the window, with all that was counted by now, at whatever age."""
    columns = ", ".join(f"s.{name}" for name in GROUPED)
    cut = Cut(where)
    table, group = "feedback_feedbackrollup", f"GROUP BY {columns}"
    rows = _rows(f"{columns}, {SUMS}", table, cut, window, group=group)
    sums = {name: _added([(row[i], *row[len(GROUPED) :]) for row in rows]) for i, name in enumerate(GROUPED)}
    if not cut.attribute:
        group = "GROUP BY s.attribute, s.value"
        several = _attribute_rows(f"s.attribute, s.value, {SUMS}", table, cut, window, group=group)
        for name in settings.SLICE_ATTRIBUTES:
            sums[name] = _added([row[1:] for row in several if row[0] == name])
    responses = moments_by_dimension(EVERY_RESPONSE, where, window) if kind == "coverage" else {}
    return {name: _of_tallies(kind, added, responses.get(name, {})) for name, added in sums.items()}


def _of_tallies(
    kind: Kind, tallies: Mapping[str, Tally], responses: Mapping[str, Moments]
) -> dict[str, Moments]:
    nothing = Moments(0, 0.0, 0.0)
    found = {
        value: moments_of(values_of(kind, tallies.get(value, NO_FEEDBACK), responses.get(value, nothing).n))
        for value in sorted({*tallies, *responses})
    }
    return {value: moments for value, moments in found.items() if moments.n}


def _rows(
    columns: str, table: str, cut: Cut, window: Window, metric: str | None = None, group: str = ""
) -> list[Row]:
    condition, values = cut.condition()
    return _read(columns, table, window, condition, values, metric, group)


def _attribute_rows(
    columns: str, table: str, cut: Cut, window: Window, metric: str | None = None, group: str = ""
) -> list[Row]:
    """Rows of all watched attributes, each by itself."""
    named = [name for name in cut.where if name in DIMENSIONS]
    condition = " AND ".join(["s.attribute = ANY(%s)", *(f"s.{name} = %s" for name in named)])
    values = [list(settings.SLICE_ATTRIBUTES), *(cut.where[name] for name in named)]
    return _read(columns, table, window, condition, values, metric, group)


def _read(
    columns: str,
    table: str,
    window: Window,
    condition: str,
    values: Sequence[Any],
    metric: str | None,
    group: str,
) -> list[Row]:
    chosen = "" if metric is None else " AND r.metric = %s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM {table} r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {IN_WINDOW} AND {condition}{chosen} {group}",
            [*window_values(window), *values, *([] if metric is None else [metric])],
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


def _added(rows: Sequence[Row]) -> dict[str, Tally]:
    """(value, *SUMS) added by value."""
    sums: dict[str, list[int]] = {}
    for value, *numbers in rows:
        known = sums.setdefault(value, [0] * len(numbers))
        for i, number in enumerate(numbers):
            known[i] += int(number or 0)
    return {value: Tally.of(numbers) for value, numbers in sums.items()}
