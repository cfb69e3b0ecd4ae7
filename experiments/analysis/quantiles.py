"""Quantiles of answers with units as clusters: from counts per unit and bin, two passes a metric."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from experiments.analysis.sums import ANALYSED
from triageops.stats.comoments import CoMoments
from triageops.stats.histogram import LogBins

BINS = LogBins()
CANDIDATES = 48
"""Thresholds around the quantile at which the spread between units is computed."""


Thresholds = list[tuple[float, dict[int, CoMoments]]]
"""Ascending thresholds, each with the moments of (answers at or below, answers) per unit, by epoch."""


_SUMS = f"""
SELECT variant_id, epoch, bin, sum(n)::float8, sum(2 * before * n + n * n)::float8, sum(n * total)::float8,
       count(*) FILTER (WHERE before = 0)
FROM (
    SELECT x.variant_id, x.epoch, v.bin, v.n::float8 AS n,
           coalesce(sum(v.n::float8) OVER (
               PARTITION BY v.exposed_id ORDER BY v.bin ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ), 0) AS before,
           sum(v.n::float8) OVER (PARTITION BY v.exposed_id) AS total
    FROM experiments_exposedunit x JOIN experiments_exposedvalue v ON v.exposed_id = x.id AND v.slot = %s
    WHERE {ANALYSED} AND v.n > 0
) AS one GROUP BY variant_id, epoch, bin ORDER BY variant_id, epoch, bin
"""
"""Per bin what it adds to the sums over units of b, b^2 and b n, where b counts a unit's answers up to this bin: from
(b + c)^2 = b^2 + 2 b c + c^2 the sums for every threshold follow by adding up, in one pass over the units."""


def thresholds(experiment_id: int, phase: int, slot: int, level: float) -> dict[int, Thresholds]:
    """Variant id -> the arm's distribution around the quantile."""
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, [slot, experiment_id, phase])
        rows = cursor.fetchall()
    cells: dict[int, dict[int, list[_Added]]] = {}
    for arm, epoch, *added in rows:
        cells.setdefault(arm, {}).setdefault(epoch, []).append(_Added(*map(int, added)))
    return {arm: _around(by_epoch, level) for arm, by_epoch in cells.items()}


class _Added(NamedTuple):
    """What one bin adds, in whole numbers; units: how many have their first answer in it."""

    bin: int
    answers: int
    squares: int
    products: int
    units: int


def _around(by_epoch: Mapping[int, Sequence[_Added]], level: float) -> Thresholds:
    counts: Counter[int] = Counter()
    for added in by_epoch.values():
        for one in added:
            counts[one.bin] += one.answers
    bins = _nearest(counts, level)
    found: Thresholds = [(BINS.upper(bin_index), {}) for bin_index in bins]
    for epoch, added in by_epoch.items():
        for (_, cells), moments in zip(found, _moments(added, bins), strict=True):
            cells[epoch] = moments
    return found


def _nearest(counts: Mapping[int, int], level: float) -> list[int]:
    """The bins in use nearest to the quantile."""
    bins = sorted(counts)
    total, reached, at = sum(counts.values()), 0, 0
    for position, bin_index in enumerate(bins):
        reached += counts[bin_index]
        if reached >= level * total:
            at = position
            break
    first = max(0, at - CANDIDATES // 2)
    return bins[first : first + CANDIDATES]


def _moments(added: Sequence[_Added], bins: Sequence[int]) -> Iterator[CoMoments]:
    """Of (answers up to the bin, answers) per unit, for each of the ascending bins. Whole numbers, so nothing is lost."""
    n = sum(one.units for one in added)
    answers, squares = sum(one.answers for one in added), sum(one.squares for one in added)
    up_to = answers_so_far = squares_so_far = products_so_far = 0
    for bin_index in bins:
        while up_to < len(added) and added[up_to].bin <= bin_index:
            answers_so_far += added[up_to].answers
            squares_so_far += added[up_to].squares
            products_so_far += added[up_to].products
            up_to += 1
        cross = _centred(products_so_far, answers_so_far, answers, n)
        yield CoMoments(
            n,
            (answers_so_far / n, answers / n),
            (
                (_centred(squares_so_far, answers_so_far, answers_so_far, n), cross),
                (cross, _centred(squares, answers, answers, n)),
            ),
        )


def _centred(products: int, left: int, right: int, n: int) -> float:
    """Sum of products of distances from the means, from whole sums."""
    return (products * n - left * right) / n
