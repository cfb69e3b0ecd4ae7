"""Increments for two samples of the same time: does one of them score higher than the other, beyond a margin?

With C_b of n values of the one and D_b of m values of the other in cell b, T = C + D, and a score s_b, bet on the odds
of being one of the n being exp(theta s_b) times as large in cell b. Given T and n, the likelihood of C is

    P_theta(C) = prod_b binom(T_b, C_b) exp(theta sum_b s_b C_b) / A(theta),   A(theta) = [z^n] prod_b (1 + z e^(theta s_b))^T_b,

Fisher's noncentral hypergeometric law for two cells. With the tilt theta_0 that is still allowed and the one that is bet on,

    l = phi ((theta_1 - theta_0) sum_b s_b C_b - log A(theta_1) + log A(theta_0)),   theta_1 > theta_0.

Exact: if values are independent and P(cell b) of the one is proportional to exp(theta s_b) times that of the other with any
theta <= theta_0, then E[exp(l) | past, T, n, m] <= 1: at theta_0 it is the mean of a ratio of likelihoods, 1; for
smaller ones it is smaller, because exp(l) rises in sum s C, and that rises with theta. What the other's law is need not
be known: a season, or a day on which both are off, is no evidence. Approximate: a change that is no such tilt (of
equal mean score, but wider, say) moves the tails of sum s C; for two cells every change is a tilt. phi in (0, 1]
keeps E <= 1 (bets_deflator) and makes the variance right where buckets wobble, not the tails.

[z^n] is exp(-n log z) prod_b (1 + z w_b)^T_b P(X = n), X the sum of T_b coins of the chance z w_b / (1 + z w_b), for any z;
z is chosen so that E[X] = n, and P by its discrete Fourier transform over more points than X can be away from n: what is left out
is below e^-60. The tests' reference values: scipy.stats.nchypergeom_fisher, sums over all outcomes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_NEGLIGIBLE = 60.0
_HALVINGS = 60
_NEWTON_STEPS = 8


def pair_increments(
    counts: ArrayLike,
    others: ArrayLike,
    *,
    scores: ArrayLike,
    allowed: ArrayLike,
    tilts: ArrayLike,
    phi: ArrayLike = 1.0,
) -> FloatArray:
    """l of each bet, shape (K,); zeros when either side is empty.

    counts, others: whole numbers of shape (cells,). scores: (K, cells). allowed, tilts: theta_0 <= theta_1 of each bet, (K,).
    phi: in (0, 1], (K,) or one. Accuracy: 1e-12 of n + m, absolute.
    """
    mine, theirs = np.asarray(counts, dtype=np.float64), np.asarray(others, dtype=np.float64)
    low, high = np.asarray(allowed, dtype=np.float64), np.asarray(tilts, dtype=np.float64)
    values, power = np.asarray(scores, dtype=np.float64), np.asarray(phi, dtype=np.float64)
    if mine.shape != theirs.shape or not (np.minimum(mine, theirs) >= 0).all():
        raise ValueError("expected two counts of the same cells, each 0 or more")
    if values.shape != (*low.shape, *mine.shape) or low.shape != high.shape or not (low <= high).all():
        raise ValueError("expected a score of each bet and cell, and tilts that are not below those allowed")
    if not ((power > 0) & (power <= 1)).all():
        raise ValueError(f"phi {phi!r} outside (0, 1]")
    n, total = float(mine.sum()), mine + theirs
    if n == 0 or n == total.sum():
        return np.zeros(low.shape)
    used = total > 0
    values, total, mine = values[:, used], total[used], mine[used]
    grown = log_ways(total, n, high[:, None] * values) - log_ways(total, n, low[:, None] * values)
    return np.asarray(power * ((high - low) * (values @ mine) - grown))


def log_ways(total: FloatArray, n: float, log_weights: FloatArray) -> FloatArray:
    """log [z^n] prod_b (1 + z w_b)^T_b of each row of log_weights, (K, cells); total: T, (cells,), 0 < n < sum T."""
    log_z = _saddle(total, n, log_weights)
    logits = log_z[:, None] + log_weights
    return np.asarray(np.logaddexp(0.0, logits) @ total - n * log_z + np.log(_chance(total, n, logits)))


def tilt_of(shares: ArrayLike, scores: ArrayLike, mean: float) -> float:
    """theta >= 0 with which shares p_b, tilted by exp(theta s_b), have this mean score; infinity when none has.

    shares: (cells,), sum 1. scores: (cells,), of mean 0 under shares. mean: >= 0.
    """
    p, s = np.asarray(shares, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    s, p = s[p > 0], p[p > 0]
    if mean <= 0:
        return 0.0
    if mean >= s.max():
        return math.inf
    low, high = 0.0, 1.0
    while _tilted_mean(p, s, high) < mean:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _tilted_mean(p, s, middle) < mean else (low, middle)
    return high


def _tilted_mean(p: FloatArray, s: FloatArray, theta: float) -> float:
    weights = p * np.exp(theta * (s - s.max()))
    return float(weights @ s / weights.sum())


def _saddle(total: FloatArray, n: float, log_weights: FloatArray) -> FloatArray:
    """log z with which the coins show n on average; it need not be exact."""
    even = math.log(n) - math.log(total.sum() - n)
    low, high = even - log_weights.max(axis=1), even - log_weights.min(axis=1)
    middle = (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        p = _logistic(middle[:, None] + log_weights)
        excess = p @ total - n
        low, high = np.where(excess < 0, middle, low), np.where(excess < 0, high, middle)
        step = middle - excess / np.maximum((p * (1 - p)) @ total, 1e-300)
        # A step out of the bracket is a halving instead.
        middle = np.where((low < step) & (step < high), step, (low + high) / 2)
    return np.asarray(middle)


def _chance(total: FloatArray, n: float, logits: FloatArray) -> FloatArray:
    """P(X = n) for X the sum of T_b coins of these log-odds, shape (K,)."""
    p = _logistic(logits)
    variance = (p * (1 - p)) @ total
    # By Bernstein's inequality X is further from n than this with a chance below e^-60.
    points = min(int(total.sum()) + 1, math.ceil(12 * math.sqrt(variance.max())) + 80)
    angle = 2 * np.pi * np.arange(points // 2 + 1) / points
    # The characteristic function is at most exp(-variance (1 - cos)).
    angle = angle[variance.min() * (1 - np.cos(angle)) < _NEGLIGIBLE]
    weight = np.full(angle.size, 2.0)
    weight[np.isclose(angle, 0) | np.isclose(angle, np.pi)] = 1.0
    turned = np.log1p(p[..., None] * np.expm1(1j * angle))
    real = np.exp(np.einsum("kbj,b->kj", turned, total) - 1j * n * angle).real
    return np.asarray(real @ weight / points)


def _logistic(x: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))
