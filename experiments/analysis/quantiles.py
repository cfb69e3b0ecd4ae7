"""Quantiles of answers with units as clusters: from counts per unit and bin, two passes a metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from experiments.analysis.sums import ANALYSED
from triageops.stats.comoments import CoMoments
from triageops.stats.histogram import LogBins

BINS = LogBins()
CANDIDATES = 48
"""Thresholds around the quantile at which the spread between units is computed."""


Thresholds = list[tuple[float, dict[int, CoMoments]]]
"""Ascending thresholds, each with the moments of (answers at or below, answers) per unit, by epoch."""


def thresholds(experiment_id: int, phase: int, slot: int, level: float) -> dict[int, Thresholds]:
    """Variant id -> the arm's distribution around the quantile."""
    counts = _counts(experiment_id, phase, slot)
    bins = {arm: _around(found, level) for arm, found in counts.items()}
    return {arm: _moments(experiment_id, phase, slot, arm, found) for arm, found in bins.items() if found}


def _counts(experiment_id: int, phase: int, slot: int) -> dict[int, dict[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT x.variant_id, v.bin, sum(v.n)::bigint FROM experiments_exposedunit x"
            " JOIN experiments_exposedvalue v ON v.exposed_id = x.id AND v.slot = %s"
            f" WHERE {ANALYSED} GROUP BY 1, 2",
            [slot, experiment_id, phase],
        )
        found: dict[int, dict[int, int]] = {}
        for arm, bin_index, n in cursor.fetchall():
            found.setdefault(arm, {})[bin_index] = n
    return found


def _around(counts: Mapping[int, int], level: float) -> list[int]:
    """The bins in use nearest to the quantile, by their share of answers; the lowest is left open."""
    bins = sorted(bin_index for bin_index, n in counts.items() if n > 0)
    total = sum(counts[bin_index] for bin_index in bins)
    reached, at = 0, 0
    for position, bin_index in enumerate(bins):
        reached += counts[bin_index]
        if reached >= level * total:
            at = position
            break
    # Far out one bin holds little, so a fixed number of bins each way is enough at any size.
    first = max(0, at - CANDIDATES // 2)
    return bins[first : first + CANDIDATES]


def _moments(experiment_id: int, phase: int, slot: int, arm: int, bins: Sequence[int]) -> Thresholds:
    """One pass over the arm's units: how many of each one's answers lie at or below each threshold."""
    below = ", ".join(
        f"coalesce(sum(v.n) FILTER (WHERE v.bin <= {bin_index}), 0) AS b{i}"
        for i, bin_index in enumerate(bins)
    )
    sums = ", ".join(f"avg(b{i}), regr_sxx(b{i}, b{i}), regr_sxy(b{i}, n)" for i in range(len(bins)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT epoch, count(*), avg(n), regr_sxx(n, n), {sums} FROM ("
            f"SELECT x.epoch, sum(v.n) AS n, {below} FROM experiments_exposedunit x"
            " JOIN experiments_exposedvalue v ON v.exposed_id = x.id AND v.slot = %s"
            f" WHERE {ANALYSED} AND x.variant_id = %s GROUP BY x.id) AS unit GROUP BY epoch",
            [slot, experiment_id, phase, arm],
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    found: Thresholds = [(BINS.upper(bin_index), {}) for bin_index in bins]
    for epoch, n, mean, spread, *cells in rows:
        for i, (_, by_epoch) in enumerate(found):
            own_mean, own_spread, product = (float(value or 0) for value in cells[3 * i : 3 * i + 3])
            by_epoch[epoch] = CoMoments(
                int(n),
                (own_mean, float(mean)),
                ((own_spread, product), (product, float(spread or 0))),
            )
    return found
