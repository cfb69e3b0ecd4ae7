"""Quantiles of answers with units as clusters: from counts per unit and bin, two passes a metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from experiments.analysis.sums import ANALYSED
from triageops.stats.comoments import CoMoments
from triageops.stats.compare import estimate
from triageops.stats.histogram import LogBins
from triageops.stats.quantile import CdfPoint

BINS = LogBins()
CANDIDATES = 48
"""Thresholds around the quantile at which the spread between units is computed."""


def cdf_points(experiment_id: int, phase: int, slot: int, level: float) -> dict[int, list[CdfPoint]]:
    """Variant id -> the distribution around the quantile: thresholds, share of answers at or below, its error."""
    counts = _counts(experiment_id, phase, slot)
    thresholds = {arm: _around(found, level) for arm, found in counts.items()}
    return {arm: _points(experiment_id, phase, slot, arm, bins) for arm, bins in thresholds.items() if bins}


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


def _points(experiment_id: int, phase: int, slot: int, arm: int, bins: Sequence[int]) -> list[CdfPoint]:
    """One pass over the arm's units: how many of each one's answers lie at or below each threshold."""
    below = ", ".join(
        f"coalesce(sum(v.n) FILTER (WHERE v.bin <= {bin_index}), 0) AS b{i}"
        for i, bin_index in enumerate(bins)
    )
    sums = ", ".join(f"avg(b{i}), regr_sxx(b{i}, b{i}), regr_sxy(b{i}, n)" for i in range(len(bins)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*), avg(n), regr_sxx(n, n), {sums} FROM ("
            f"SELECT sum(v.n) AS n, {below} FROM experiments_exposedunit x"
            " JOIN experiments_exposedvalue v ON v.exposed_id = x.id AND v.slot = %s"
            f" WHERE {ANALYSED} AND x.variant_id = %s GROUP BY x.id) AS unit",
            [slot, experiment_id, phase, arm],
        )
        row: tuple[Any, ...] = cursor.fetchone()
    n, mean, spread = int(row[0]), float(row[1] or 0), float(row[2] or 0)
    points = []
    for i, bin_index in enumerate(bins):
        share_mean, share_spread, product = (float(value) for value in row[3 + 3 * i : 6 + 3 * i])
        moments = CoMoments(n, (share_mean, mean), ((share_spread, product), (product, spread)))
        found = estimate({"arm": [moments]}, "ratio", is_adjusted=False).arms["arm"]
        if found.value is not None and found.standard_error is not None:
            points.append(CdfPoint(BINS.upper(bin_index), found.value, found.standard_error))
    return points
