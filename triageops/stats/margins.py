"""From where on is a difference from the reference worth an alarm? What people care about, and what the reference knows.

A monitor's null hypothesis is "within the margin of the reference", not "equal to an estimate": a reference of 500
records used as if it were the truth gives several times the allowed false alarms. So the margin is the larger of what
the user calls unimportant and the error of the reference,

    c = max(user, z s / sqrt(n_eff) (1 + 2.576 / sqrt(2 freedom))),   z = 2.576,

with n_eff from variance.effective_count; the last factor covers the error of s, known from `freedom` values only. With
it the promise about false alarms holds with 99.5 % confidence about the reference, on each side. Shares have exact bounds
instead (Clopper and Pearson), counts Garwood's. Scores of a histogram's cells (location, spread, tails) have margins
computed from the reference's own values, moved by c standard deviations or with another spread (moved_margins); where
only cells are known, as if a normal had been bent (score_margins). Sensitivity and delay are in sensitivity.py.
Sources: Jones, Champ, Rigdon (2001) for what estimated parameters do; Clopper, Pearson (1934); Garwood (1936). The tests'
reference values: scipy.stats.beta, chi2 and norm, simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats import chi_square
from triageops.stats.exact import log_beta_cdf
from triageops.stats.interval import Interval

FloatArray = NDArray[np.float64]

Z = 2.576
"""One-sided confidence of 99.5 %."""
TAIL = 0.005

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Margin:
    """value: c >= 0. error: the standard error of the reference's mean. Both in the values' unit.

    is_learning: the reference's error is larger than what the user calls unimportant, so more data would help.
    """

    value: float
    error: float
    is_learning: bool


def mean_margin(user: float, *, sd: float, n_eff: float, freedom: float, z: float = Z) -> Margin:
    """Of a mean. user: >= 0, in the values' unit. sd: of one record, >= 0. n_eff: > 0.

    freedom: > 0, the values that sd and n_eff rest on: Components.degrees_of_freedom, buckets rather than records,
    because what buckets do beyond their sizes is known from buckets only.
    """
    if not (0 <= user < math.inf and 0 <= sd < math.inf and n_eff > 0 and freedom > 0 and z >= 0):
        raise ValueError(f"margin {user}, sd {sd}, n {n_eff}, degrees of freedom {freedom}, z {z}")
    error = sd / math.sqrt(n_eff)
    uncertain = z * error * (1 + Z / math.sqrt(2 * freedom))
    return Margin(max(user, uncertain), error, uncertain > user)


def beta_quantile(q: float, a: float, b: float) -> float:
    """x with I_x(a, b) = q, in (0, 1), for q in (0, 1) and a, b > 0.

    By Newton's steps on log I, which is concave for a >= 1, within brackets. Accuracy: 1e-10 relative up to a + b = 1e6, at 1e8
    about 1e-6 of the distribution's own standard deviation.
    """
    if not 0 < q < 1:
        raise ValueError(f"quantile {q} is not between 0 and 1")
    target = math.log(q)
    mean = a / (a + b)
    sd = math.sqrt(mean * (1 - mean) / (a + b + 1))
    low, high = 0.0, 1.0
    x = min(max(mean + _NORMAL.inv_cdf(q) * sd, mean / 8), 1 - (1 - mean) / 8)
    constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(200):
        log_cdf = log_beta_cdf(x, a, b)
        low, high = (x, high) if log_cdf < target else (low, x)
        log_density = constant + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
        # A slope that is lost to rounding (density / cdf below 1e-290) gives no step.
        slope = math.exp(min(690.0, max(-690.0, log_density - log_cdf)))
        stepped = x + (target - log_cdf) / slope
        if not low < stepped < high:
            stepped = (low + high) / 2
        if abs(stepped - x) <= 4e-16 * x or not low < stepped < high:
            return stepped
        x = stepped
    return x


def clopper_pearson(k: float, n: float, tail: float = TAIL) -> Interval:
    """Bounds of a share after k of n, each exceeded with probability tail at most; within [0, 1].

    0 <= k <= n, n > 0; need not be whole, for effective numbers. tail: in (0, 0.5].
    """
    if not (0 <= k <= n and 0 < n < math.inf and 0 < tail <= 0.5):
        raise ValueError(f"{k} of {n}, tail {tail}")
    low = beta_quantile(tail, k, n - k + 1) if k > 0 else 0.0
    high = beta_quantile(1 - tail, k + 1, n - k) if k < n else 1.0
    return Interval(low, high)


def rate_bounds(
    rate: float, *, n_eff: float, ratio: float = 0.0, absolute: float = 0.0, tail: float = TAIL
) -> Interval:
    """(p_lo, p_hi) around a reference's share, in [0, 1]: what is still no drift.

    The widest of: rate (1 + ratio) upwards and rate / (1 + ratio) downwards; rate -+ absolute; Clopper and Pearson's
    bounds with n_eff independent records. A bound of 0 or 1 says that there is nothing to detect on that side.
    """
    if not (0 <= rate <= 1 and 0 <= ratio < math.inf and 0 <= absolute < math.inf):
        raise ValueError(f"rate {rate}, margins {ratio} and {absolute}")
    known = clopper_pearson(rate * n_eff, n_eff, tail)
    return Interval(
        max(0.0, min(rate / (1 + ratio), rate - absolute, known.low)),
        min(1.0, max(rate * (1 + ratio), rate + absolute, known.high)),
    )


def count_bounds(mean: float, *, events: float, ratio: float = 0.0, tail: float = TAIL) -> Interval:
    """(low, high) around an expected count per bucket, >= 0: what is still no drift.

    events: how many independent events the mean rests on, those counted times variance.count_deflator. The wider of
    mean (1 + ratio), mean / (1 + ratio) and Garwood's bounds; without events there is no bound above.
    """
    if not (0 <= mean < math.inf and 0 <= events < math.inf and 0 <= ratio < math.inf and 0 < tail <= 0.5):
        raise ValueError(f"mean {mean} of {events} events, margin {ratio}, tail {tail}")
    if not events:
        return Interval(0.0, math.inf)
    low = chi_square.quantile(tail, 2 * events) / (2 * events)
    high = chi_square.quantile(1 - tail, 2 * events + 2) / (2 * events)
    return Interval(mean * min(1 / (1 + ratio), low), mean * max(1 + ratio, high))


def location_shift(c: float) -> float:
    """Mean of the mid-rank 2 F(x) - 1 after a shift of a normal by c sd, in (-1, 1): 2 Phi(c / sqrt 2) - 1."""
    return math.erf(c / 2)


def spread_shift(ratio: float) -> float:
    """Mean of the squared mid-rank less 1/3 when a normal's sd is ratio > 0 times as large, in (-1/3, 2/3)."""
    if not 0 < ratio < math.inf:
        raise ValueError(f"ratio {ratio} of standard deviations")
    return 2 / math.pi * math.asin(ratio * ratio / (1 + ratio * ratio)) - 1 / 3


def moved_shares(shares: ArrayLike, *, shift: float = 0.0, ratio: float = 1.0) -> FloatArray:
    """(B,) what the reference's cells hold after a shift, in sd, and a change of the spread by a ratio > 0.

    shares: (B,), > 0 or 0, sum 1, cells in the order of their values. The reference is taken for a normal one read off
    on a bent scale (its normal scores), so "a shift of c sd" means the same loss of overlap for any shape.
    """
    p = _checked_shares(shares)
    if not (math.isfinite(shift) and 0 < ratio < math.inf):
        raise ValueError(f"shift {shift}, ratio {ratio}")
    edges = np.array([_NORMAL.inv_cdf(x) if 0 < x < 1 else math.inf for x in np.cumsum(p)[:-1]])
    edges[np.cumsum(p)[:-1] <= 0] = -math.inf
    below = [0.0, *(math.erfc(-(x - shift) / ratio / math.sqrt(2)) / 2 for x in edges), 1.0]
    return np.diff(np.array(below))


def score_margins(
    shares: ArrayLike, scores: ArrayLike, *, shift: float = 0.0, ratio: float = 1.0
) -> FloatArray:
    """(J,) >= 0: the largest mean of each score over all moves of the reference that are no drift.

    shares: (B,). scores: (J, B), of mean 0 under shares. shift: >= 0 sd either way. ratio: >= 1, spread times or divided by
    it. Both together and each alone, at the ends and without.
    """
    values = _checked_scores(shares, scores)
    if not (0 <= shift < math.inf and 1 <= ratio < math.inf):
        raise ValueError(f"shift {shift}, ratio {ratio}")
    moves = [(s, r) for s in {0.0, shift, -shift} for r in {1.0, ratio, 1 / ratio}]
    means = [(values * moved_shares(shares, shift=s, ratio=r)).sum(axis=1) for s, r in moves]
    return np.asarray(np.maximum(0.0, np.max(means, axis=0)))


def moved_margins(
    values: ArrayLike,
    counts: ArrayLike,
    cell: ArrayLike,
    scores: ArrayLike,
    *,
    shift: float = 0.0,
    ratio: float = 1.0,
) -> FloatArray:
    """(J,) >= 0: the largest mean of each score over real moves of the reference's own values that are no drift.

    values: (K,) ascending, what stands for each bin in use. counts: (K,), > 0. cell: (K,), the cell of each, ascending.
    scores: (J, B). shift: >= 0 standard deviations of a value, either way. ratio: >= 1, spread around the mean times or
    divided by it. On a grid: 17 shifts with 5 spreads each.

    A bin's values are taken for even between the middles to its neighbours, and land in the bin that they get next to: grades
    are exchanged with the next grade (the mean moves as well), and what would leave the reference's range stays at its end.
    """
    x, n = np.asarray(values, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    index, score = np.asarray(cell, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    if not (
        0 <= shift < math.inf
        and 1 <= ratio < math.inf
        and x.size
        and (np.diff(x) > 0).all()
        and (n > 0).all()
    ):
        raise ValueError(f"shift {shift}, ratio {ratio} of {x.size} values")
    share = n / n.sum()
    mean = float(x @ share)
    sd = math.sqrt(float((x - mean) ** 2 @ share))
    if not sd:
        return np.zeros(score.shape[0])
    inner = (x[1:] + x[:-1]) / 2
    edges = np.concatenate([[2 * x[0] - inner[0]], inner, [2 * x[-1] - inner[-1]]])
    reached = np.concatenate([[0.0], np.cumsum(share)])
    ends = np.searchsorted(index, np.arange(score.shape[1] - 1), side="right")
    shifts = np.linspace(-shift, shift, 17)[:, None, None] * sd
    ratios = ratio ** np.linspace(-1, 1, 5)[:, None]
    below = np.interp(mean + (edges[ends] - mean - shifts) / ratios, edges, reached)
    below = np.where(ends == 0, 0.0, np.where(ends == x.size, 1.0, below))
    moved = np.diff(below, prepend=0.0, append=1.0).reshape(-1, score.shape[1])
    return np.asarray(np.maximum(0.0, (moved @ score.T).max(axis=0)))


def score_errors(shares: ArrayLike, scores: ArrayLike, n_eff: ArrayLike) -> FloatArray:
    """(J,) standard error, due to the reference's, of the mean of each score in a stream that is like the reference.

    sqrt(sum p s^2 / n_eff), to first order also for the errors of the ranks themselves: cells and scores are made from the same
    reference, and the mean under its truth is -sum (p' - p) s. n_eff: > 0, one number or (J,).
    """
    values = _checked_scores(shares, scores)
    n = np.asarray(n_eff, dtype=np.float64)
    if not (n > 0).all():
        raise ValueError("effective numbers need to be above 0")
    return np.asarray(np.sqrt((values**2 * _checked_shares(shares)).sum(axis=1) / n))


def _checked_shares(shares: ArrayLike) -> FloatArray:
    p = np.asarray(shares, dtype=np.float64)
    if p.ndim != 1 or not (p >= 0).all() or not math.isclose(math.fsum(p.tolist()), 1, abs_tol=1e-9):
        raise ValueError("shares of cells need to be 0 or more and of sum 1")
    return p


def _checked_scores(shares: ArrayLike, scores: ArrayLike) -> FloatArray:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != _checked_shares(shares).size or not np.isfinite(values).all():
        raise ValueError(f"scores of shape {values.shape} for {np.asarray(shares).size} cells")
    return values
