"""Units drawn from the responses of a time, at a cost that does not grow with the number of responses.

A response drawn at random belongs to a heavy unit more often than to a light one, so the units of drawn responses are no
fair sample of units; each needs its weight. Up to EVERY responses are all read, and each unit weighs 1. Of more, blocks of the
table are drawn at random (TABLESAMPLE SYSTEM), which gives each response the same chance p. A unit of m responses, of which h
were drawn, weighs h / (p m): its expectation is 1 for every unit, heavy or light, also when a block holds many responses of
one unit, so weighted sums are unbiased (Hansen and Hurwitz, "On the theory of sampling from finite populations", 1943).
Beyond what can be counted m is taken as h / p: such a unit has many drawn responses, and weighs 1.

Counting goes by the index on units, first roughly, then exactly for the units that are kept (thinning.py).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.backends.utils import CursorWrapper

from experiments.planning.thinning import Member, thinned

EVERY = 20_000
"""Responses, the newest, that are read one by one."""
BLOCKS = 300
"""Blocks of the table that are drawn."""
ENOUGH_RESPONSES = 2_000
LOOKED_AT = 2_000
"""Units that are kept of those that were drawn, at most."""
ROUGHLY, EXACTLY, TOGETHER = 200, 2_000, 1_000_000
"""Responses of one unit that are counted one by one: at first, of those that are kept, and of all heavy ones together."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time, half-open."""

    since: datetime
    until: datetime

    @property
    def days(self) -> float:
        return (self.until - self.since) / timedelta(days=1)

    @property
    def ends(self) -> dict[str, Any]:
        return {"since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Units by name. share: of the table that was drawn, 1 when all was read. seed: of the drawing.

    beyond: those with more responses than were counted. The window may be shorter than the one that was asked for.
    """

    window: Window
    units: Mapping[str, Member]
    share: float
    seed: int
    beyond: frozenset[str] = frozenset()


_NEWEST = """
SELECT unit, count(*), min(occurred_at) FROM (
    SELECT unit, occurred_at FROM feedback_response
    WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
    ORDER BY occurred_at DESC LIMIT %(most)s
) AS newest GROUP BY unit
"""

_SAMPLED = """
feedback_response TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (%(seed)s)
WHERE occurred_at >= %(since)s AND occurred_at < %(until)s AND unit <> ''
"""

_ANY = f"SELECT unit, count(*) FROM {_SAMPLED} GROUP BY unit"

_MOMENTS = f"""
SELECT unit, array_agg(DISTINCT occurred_at ORDER BY occurred_at)
FROM {_SAMPLED} AND unit = ANY(%(units)s) GROUP BY unit
"""

# A scalar subquery is one look into the index for each unit, whatever the planner believes of the table.
_COUNTS = """
SELECT w.unit, (
    SELECT count(*) FROM (
        SELECT FROM feedback_response r
        WHERE r.unit = w.unit AND r.unit <> '' AND r.occurred_at >= %(since)s AND r.occurred_at < %(until)s
        LIMIT %(most)s
    ) AS counted
) FROM unnest(%(units)s::text[]) AS w (unit)
"""


def draw(cursor: CursorWrapper, window: Window, *, seed: int) -> Drawn:
    """Units of the window. The same seed draws the same blocks of a table that has not grown."""
    cursor.execute(_NEWEST, window.ends | {"most": EVERY})
    newest: list[tuple[str, int, datetime]] = cursor.fetchall()
    if sum(number for _, number, _ in newest) >= EVERY:
        share = _share(cursor)
        cursor.execute(_ANY, _asked(window, share, seed))
        hits: dict[str, int] = dict(cursor.fetchall())
        if sum(hits.values()) >= min(ENOUGH_RESPONSES, EVERY):
            return _weighed(cursor, window, hits, share, seed)
        # The window is a small part of the table, so few of the blocks are of it: the newest responses have to do.
        window = Window(min(first_at for _, _, first_at in newest), window.until)
    every = {unit: Member(1.0, number) for unit, number, _ in newest if unit}
    return Drawn(window, thinned(every, LOOKED_AT, seed), 1.0, seed)


def _share(cursor: CursorWrapper) -> float:
    """Of the table's blocks, so that about BLOCKS are drawn."""
    cursor.execute("SELECT pg_relation_size('feedback_response') / current_setting('block_size')::bigint")
    return float(min(1.0, BLOCKS / max(1, cursor.fetchone()[0])))


def _asked(window: Window, share: float, seed: int) -> dict[str, Any]:
    return window.ends | {"percent": 100 * share, "seed": seed}


def _weighed(
    cursor: CursorWrapper, window: Window, hits: Mapping[str, int], share: float, seed: int
) -> Drawn:
    rough = _sized(_counted(cursor, hits, window, ROUGHLY), ROUGHLY, hits, share)
    drawn = {unit: Member(number / (share * rough[unit]), rough[unit]) for unit, number in hits.items()}
    kept = thinned(drawn, LOOKED_AT, seed)
    exact = _counted(cursor, kept, window, EXACTLY)
    heavy = [unit for unit, size in exact.items() if size >= EXACTLY]
    most = max(EXACTLY, TOGETHER // max(1, len(heavy)))
    exact |= _counted(cursor, heavy, window, most)
    sizes = _sized(exact, most, hits, share)
    # The weight was by the rough size; the exact one takes its place.
    units = {unit: Member(one.weight * rough[unit] / sizes[unit], sizes[unit]) for unit, one in kept.items()}
    return Drawn(window, units, share, seed, frozenset(unit for unit in heavy if exact[unit] >= most))


def _sized(counts: Mapping[str, int], most: int, hits: Mapping[str, int], share: float) -> dict[str, float]:
    """Of what was counted to the end the count; of the others what the drawing says, which is at least that much."""
    return {
        unit: float(size) if size < most else max(float(most), hits[unit] / share)
        for unit, size in counts.items()
    }


def _counted(cursor: CursorWrapper, units: Iterable[str], window: Window, most: int) -> dict[str, int]:
    """Responses of each unit, up to `most`; at least 1, as they were drawn."""
    cursor.execute(_COUNTS, window.ends | {"units": list(units), "most": most})
    return {unit: max(1, number) for unit, number in cursor.fetchall()}


def drawn_moments(cursor: CursorWrapper, drawn: Drawn, units: Collection[str]) -> dict[str, list[datetime]]:
    """When these units had responses, as far as they were drawn."""
    if not units:
        return {}
    cursor.execute(_MOMENTS, _asked(drawn.window, drawn.share, drawn.seed) | {"units": list(units)})
    return dict(cursor.fetchall())
