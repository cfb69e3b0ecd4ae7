"""How much do buckets of a steady stream differ, beyond what their sizes explain? Learned from a reference.

Bucket t has n_t records with mean x_t and lies in a slot of the season (season.py). The model is

    x_t = centre of its slot + effect of the bucket + error,    Var x_t = v_t = sigma^2 / n_t + tau^2

with sigma^2 within and tau^2 between buckets. With many records sigma^2 / n_t vanishes and tau^2 is what remains:
without it the ordinary wobble of every day becomes "significant". A share is the mean of zeros and ones, a score
the mean of s_b over the cells of a histogram (`Buckets.of_rates`, `Buckets.of_scores`), so all of this holds for them.

Incidents inside the reference. By default nothing is cut: an incident makes tau^2 larger, which costs sensitivity and
never the promise about false alarms. With a limit (2.5, say), a bucket counts as at most that many standard deviations
from its slot's centre. Bias: none to speak of when bucket effects are normal (tests: below 5 %); with a share q of buckets
far out on one side, tau^2 + sigma^2 / n is too large by up to about 1.5 q limit^2 (q = 5 %: by half) instead of without bound,
and a mean of `limited` buckets is off by up to q limit sd; when ordinary effects have heavy tails, tau^2 is too small and false alarms exceed their budget. So it is for references known to
contain incidents that nobody can date; those that can be dated are better left out. sigma^2 is never cut: for
skewed values any cut would make it too small.

Sources: the method of moments for one random effect (Searle, Casella, McCulloch, "Variance components", 1992, section
3.6, with slots as fixed effects); Huber, "Robust statistics" (1981), proposal 2, for the limit. Accuracy: about 1e-12, with a limit 1e-6.
The tests' reference values: exact fractions, expectations by simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats.buckets import Buckets

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Enough for a robust centre to settle: each step takes off most of the rest.
_HUBER_STEPS = 10
_BISECTIONS = 60


@dataclass(frozen=True, slots=True)
class Components:
    """within: sigma^2, of a record; between: tau^2, of a bucket's effect; both >= 0, in the values' unit squared.

    degrees_of_freedom: buckets less slots, what the knowledge of tau^2 rests on; at least 1.
    """

    within: float
    between: float
    degrees_of_freedom: int

    @property
    def total(self) -> float:
        """Variance of a record around its slot's centre."""
        return self.within + self.between

    @property
    def icc(self) -> float:
        """Intraclass correlation of two records of one bucket, in [0, 1]; 0 when nothing varies."""
        return self.between / self.total if self.total else 0.0

    def variance_of_mean(self, n: ArrayLike) -> FloatArray:
        """v_t = sigma^2 / n_t + tau^2 for n_t > 0 records, in the shape of n."""
        return np.asarray(self.within / np.asarray(n, dtype=np.float64) + self.between)


def components(
    buckets: Buckets, slots: ArrayLike | None = None, *, limit: float | None = None
) -> Components | None:
    """sigma^2 and tau^2; None when no slot holds two buckets, so that nothing is known of tau^2.

    slots: (T,) whole numbers >= 0, the slot of each bucket (default one for all). limit: above 1, see the module.
    With S slots, N_s records in slot s and Q = sum n_t (x_t - x_slot)^2,

        tau^2 = max(0, (Q - (T - S) sigma^2) / sum_s (N_s - sum n_t^2 / N_s)),

    which for one slot is the usual formula. When every bucket has one record the two cannot be told apart: all
    is within. With the limit, tau^2 solves sum min(e_t^2, limit^2) = (T - S) E min(Z^2, limit^2) instead,
    e_t = (x_t - robust centre of the slot) / sqrt(v_t).
    """
    index, count = _indexed(buckets, slots)
    freedom = buckets.n.size - count
    if freedom < 1:
        return None
    if limit is not None and not 1 < limit < math.inf:
        raise ValueError(f"a limit of {limit} standard deviations")
    residuals = _residuals(buckets, index, count, buckets.n)
    squares = float((buckets.n * residuals**2).sum())
    records = float((buckets.n - 1).sum())
    if not records:
        return Components(squares / freedom, 0.0, freedom)
    within = float(buckets.m2_without_rounding.sum()) / records
    if limit is not None:
        return Components(within, _limited_between(buckets, index, count, within, limit), freedom)
    sizes = np.bincount(index, buckets.n, count)
    spread = float((sizes - np.bincount(index, buckets.n.astype(np.float64) ** 2, count) / sizes).sum())
    return Components(within, max(0.0, (squares - freedom * within) / spread), freedom)


def limited(
    buckets: Buckets, learned: Components, slots: ArrayLike | None = None, *, limit: float
) -> Buckets:
    """The buckets with means beyond limit sqrt(v_t) from their slot's robust centre drawn in to that."""
    index, count = _indexed(buckets, slots)
    sd = np.sqrt(learned.variance_of_mean(buckets.n))
    if not sd.all():
        return buckets
    centre = _robust_centres(buckets.mean, sd, index, count, limit)[index]
    mean = centre + np.clip(buckets.mean - centre, -limit * sd, limit * sd)
    return Buckets(buckets.start, buckets.n, mean, buckets.m2)


def deflator(n: ArrayLike, icc: float) -> FloatArray:
    """phi_t = 1 / (1 + (n_t - 1) icc), in (0, 1]: a bucket of n_t records is worth phi_t n_t independent ones.

    n: >= 0, any shape; below 1 counts as 1. For the mean of values, a share or a score alike.
    """
    if not 0 <= icc <= 1:
        raise ValueError(f"intraclass correlation {icc}")
    return np.asarray(1 / (1 + np.maximum(np.asarray(n, dtype=np.float64) - 1, 0) * icc))


def count_dispersion(counts: ArrayLike, slots: ArrayLike | None = None) -> float | None:
    """alpha >= 0 of counts with Var Y = mu + alpha mu^2 (0: Poisson), mu a slot's mean; None as in components.

    counts: (T,), how much arrived in each bucket, empty ones included. By moments: the sum over slots of
    squares around the mean less what Poisson implies, over that of (T_s - 1) mu^2. 0 when nothing arrived.
    """
    y = np.asarray(counts, dtype=np.float64)
    index = np.zeros(y.size, dtype=np.int64) if slots is None else np.asarray(slots, dtype=np.int64)
    if y.ndim != 1 or index.shape != y.shape or not ((y >= 0) & np.isfinite(y)).all():
        raise ValueError("counts need to be 0 or more, with one slot each")
    order = np.lexsort((y, index))
    _, index, sizes = np.unique(index[order], return_inverse=True, return_counts=True)
    y = y[order]
    if y.size == sizes.size:
        return None
    mean = np.bincount(index, y) / sizes
    squares = np.bincount(index, (y - mean[index]) ** 2)
    freedom = sizes - 1
    # The square of a mean is too large by the mean's own variance.
    mean_squared = np.maximum(
        0.0, mean**2 - np.where(freedom > 0, squares / np.maximum(freedom, 1) / sizes, 0.0)
    )
    scale = float((freedom * mean_squared).sum())
    excess = float((squares - freedom * mean).sum())
    return max(0.0, excess / scale) if scale else 0.0


def count_deflator(expected: ArrayLike, dispersion: float) -> FloatArray:
    """1 / (1 + alpha mu), in (0, 1]: Poisson's variance as a share of the variance of counts with mean mu >= 0."""
    if not 0 <= dispersion < math.inf:
        raise ValueError(f"dispersion {dispersion}")
    return np.asarray(1 / (1 + dispersion * np.asarray(expected, dtype=np.float64)))


def effective_count(buckets: Buckets, learned: Components, inflation: float = 1.0) -> float:
    """n_eff in (0, n]: as many independent records would know the mean of all as well as these do.

    (sigma^2 + tau^2) / Var of the mean, Var = inflation (sigma^2 / N + tau^2 sum n_t^2 / N^2). inflation: >= 1, of
    dependence (dependence.py). When nothing varies, N.
    """
    if not 1 <= inflation < math.inf:
        raise ValueError(f"inflation {inflation}")
    records = buckets.record_count
    if not learned.total:
        return float(records)
    shares = buckets.n / records
    variance = learned.within / records + learned.between * float((shares**2).sum())
    return learned.total / (variance * inflation)


def residuals(
    buckets: Buckets, learned: Components, slots: ArrayLike | None = None, *, limit: float | None = None
) -> FloatArray:
    """(T,) standardised: (x_t - centre of its slot) / sqrt(v_t), centres weighted by 1 / v_t; zeros when v_t is 0.

    limit: draws in those beyond it, and takes robust centres.
    """
    index, count = _indexed(buckets, slots)
    variances = learned.variance_of_mean(buckets.n)
    if not variances.all():
        return np.zeros(variances.shape)
    sd = np.sqrt(variances)
    if limit is None:
        return np.asarray(_residuals(buckets, index, count, 1 / variances) / sd)
    centres = _robust_centres(buckets.mean, sd, index, count, limit)
    return np.asarray(np.clip((buckets.mean - centres[index]) / sd, -limit, limit))


def _indexed(buckets: Buckets, slots: ArrayLike | None) -> tuple[IntArray, int]:
    """Slots renumbered 0, 1, ... without gaps, and how many there are."""
    if slots is None:
        return np.zeros(buckets.n.size, dtype=np.int64), min(1, buckets.n.size)
    given = np.asarray(slots)
    if given.shape != buckets.n.shape or (given.size and (given.dtype.kind not in "iu" or given.min() < 0)):
        raise ValueError("slots need one whole number, 0 or more, for each bucket")
    found, index = np.unique(given, return_inverse=True)
    return index.astype(np.int64), found.size


def _residuals(buckets: Buckets, index: IntArray, count: int, weights: ArrayLike) -> FloatArray:
    """Distances from the weighted mean of the slot, 0 where they are rounding."""
    w = np.asarray(weights, dtype=np.float64)
    sums = np.bincount(index, w, count)
    centre = np.zeros(count)
    for _ in range(2):  # the second pass repairs the rounding of the first
        centre += np.bincount(index, w * (buckets.mean - centre[index]), count) / sums
    distance = buckets.mean - centre[index]
    return np.where(np.abs(distance) <= buckets.tolerance, 0.0, distance)


def _limited_between(buckets: Buckets, index: IntArray, count: int, within: float, limit: float) -> float:
    """tau^2 by bisection: the sum of limited squares falls as it grows."""
    normal = NormalDist()
    outside = 2 * normal.cdf(-limit)
    expected = 1 - outside - 2 * limit * normal.pdf(limit) + limit**2 * outside
    target = expected * (buckets.n.size - count)
    order = np.lexsort((buckets.mean, index))  # sorting what is sorted is cheap
    n, x, index = buckets.n[order], buckets.mean[order], index[order]

    def is_too_small(between: float) -> bool:
        variances = within / n + between
        if not variances.all():
            return True
        sd = np.sqrt(variances)
        centre = _robust_centres(x, sd, index, count, limit)
        return float(np.minimum(((x - centre[index]) / sd) ** 2, limit**2).sum()) > target

    spread = float(np.ptp(x))
    low, high = 0.0, max(within, spread * spread)
    if spread <= buckets.tolerance or (within and not is_too_small(low)):
        return 0.0
    while is_too_small(high):
        low, high = high, 4 * high
    nothing = 1e-9 * within / float(n.max())
    for _ in range(_BISECTIONS):
        if high - low <= 1e-7 * high + nothing:
            break
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_small(middle) else (low, middle)
    return high if low else 0.0


def _robust_centres(x: FloatArray, sd: FloatArray, index: IntArray, count: int, limit: float) -> FloatArray:
    """Huber's centre of each slot, from its weighted median on; (count,)."""
    centre = _weighted_medians(x, 1 / sd, index, count)
    for _ in range(_HUBER_STEPS):
        distance = x - centre[index]
        weight = np.minimum(1.0, limit * sd / np.maximum(np.abs(distance), 1e-300)) / sd**2
        centre = centre + np.bincount(index, weight * distance, count) / np.bincount(index, weight, count)
    return centre


def _weighted_medians(x: FloatArray, weight: FloatArray, index: IntArray, count: int) -> FloatArray:
    order = np.lexsort((x, index))
    slot, reached = index[order], np.cumsum(weight[order])
    ends = np.searchsorted(slot, np.arange(count), side="right") - 1
    before = np.concatenate([[0.0], reached[ends[:-1]]])
    middles = np.searchsorted(reached, (before + reached[ends]) / 2, side="left")
    return np.asarray(x[order][np.minimum(middles, ends)])
