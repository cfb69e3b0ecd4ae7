"""What drawn units did, read from the facts at a bounded cost.

About FACTS responses are read with all that was said of them: fewer units when they have many responses, and of units
with very many, every s-th response from a random start, so that each has the chance 1 / s.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random

import numpy as np
from django.db.backends.utils import CursorWrapper

from experiments.exposures.facts import earlier
from experiments.outcomes import Outcome, contribution
from experiments.planning.moments import Unit
from experiments.planning.sampling import Drawn, drawn_moments
from experiments.planning.thinning import Member, measures, thinned

FACTS, MOST_FACTS = 10_000, 20_000
"""Responses that are read with all that was said of them: about, and at most."""
LEAST_UNITS = 100
MOMENT = timedelta(microseconds=1)
"""The least time that the database tells apart."""

# Responses of one moment go together. Of few moments, more are read.
_EVENLY = """
SELECT w.unit, m.at, m.step
FROM unnest(%(units)s::text[], %(steps)s::bigint[], %(starts)s::bigint[]) AS w (unit, step, start)
CROSS JOIN LATERAL (
    SELECT at, place, greatest(1, least(w.step, moments / 10)) AS step FROM (
        SELECT at, row_number() OVER (ORDER BY at) AS place, count(*) OVER () AS moments FROM (
            SELECT DISTINCT r.occurred_at AS at FROM feedback_response r
            WHERE r.unit = w.unit AND r.unit <> '' AND r.occurred_at >= %(since)s AND r.occurred_at < %(until)s
        ) AS moment
    ) AS numbered
) AS m
WHERE m.place %% m.step = w.start %% m.step
"""


def read(
    cursor: CursorWrapper, drawn: Drawn, units: Mapping[str, Member], outcome: Outcome, *, power: float
) -> list[Unit]:
    """Some of the units, with what their responses add to the metric; their weights make up for the others.

    power: of their sizes, as which their chances are.
    """
    measure = measures(units, power)
    sizes = np.array([one.size for one in units.values()])
    affordable = max(LEAST_UNITS, int(FACTS * measure.sum() / (measure @ sizes)))
    kept = thinned(units, affordable, drawn.seed + 1, power=power)
    most = _most_of_each([one.size for one in kept.values()])
    whole = [unit for unit, one in kept.items() if one.size <= most]
    wanted = [(unit, drawn.window.since, drawn.window.until) for unit in whole]
    scales = dict.fromkeys(whole, 1.0)
    partly = {unit: math.ceil(one.size / most) for unit, one in kept.items() if one.size > most}
    counted = {unit: step for unit, step in partly.items() if unit not in drawn.beyond}
    for unit, at, step in _evenly(cursor, drawn, counted):
        wanted.append((unit, at, at + MOMENT))
        scales[unit] = float(step)
    heavy = drawn_moments(cursor, drawn, partly.keys() - counted.keys())
    for unit, moments in heavy.items():
        wanted += [(unit, at, at + MOMENT) for at in moments[:: math.ceil(len(moments) / most)]]
    cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
    said = earlier(cursor, wanted, int(cursor.fetchone()[0]))
    scales |= {unit: max(1.0, kept[unit].size / len(said[unit])) for unit in heavy if unit in said}
    return [
        Unit(kept[unit].weight, scales[unit], np.array([contribution([outcome], one) for one in found]))
        for unit, found in said.items()
    ]


def _evenly(cursor: CursorWrapper, drawn: Drawn, steps: Mapping[str, int]) -> list[tuple[str, datetime, int]]:
    """(unit, time of a response, how many such times it stands for)"""
    if not steps:
        return []
    random = Random(drawn.seed)
    starts = [random.randrange(2**31) for _ in steps]
    asked = {"units": list(steps), "steps": list(steps.values()), "starts": starts}
    cursor.execute(_EVENLY, drawn.window.ends | asked)
    rows: list[tuple[str, datetime, int]] = cursor.fetchall()
    return rows


def _most_of_each(sizes: Sequence[float]) -> int:
    """How many responses of one unit may be read, so that those of all are at most MOST_FACTS."""
    left, waiting = float(MOST_FACTS), sorted(sizes)
    for place, size in enumerate(waiting):
        most = left / (len(waiting) - place)
        if size > most:
            return max(2, int(most))
        left -= size
    return math.ceil(max(waiting))
