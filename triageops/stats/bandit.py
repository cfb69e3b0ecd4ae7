"""How to divide traffic when finding the best arm matters more than comparing all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triageops.stats.shares import basis_points

FloatArray = NDArray[np.float64]

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def top_two_weights(
    means: Sequence[float],
    standard_errors: Sequence[float],
    *,
    floor: int,
    is_higher_better: bool,
    beta: float = 0.5,
) -> tuple[int, ...]:
    """Basis points for each arm, sum 10 000, none below floor: top-two Thompson sampling's probabilities.

    means, standard_errors: of at least two arms, finite, errors above 0. floor: basis points, at most
    10 000 / arms. beta: in (0, 1), how much of what the floors leave goes to the arm that is drawn as best; the
    rest goes to the best of another draw, so with two arms and beta 0.5 it is always half and half. With alpha_i
    the probability that arm i is best,

        w_i = alpha_i (beta + (1 - beta) sum over j other than i of alpha_j / (1 - alpha_j)).

    Source: D. Russo, "Simple Bayesian algorithms for best-arm identification" (2020), top-two Thompson sampling. By quadrature,
    so equal inputs give equal weights; accuracy of alpha about 1e-6, of a weight one basis point. The tests'
    reference: draws of random numbers, as the algorithm is defined.
    """
    _refuse_impossible(means, standard_errors, floor, beta)
    best = _log_best(np.array(means) if is_higher_better else -np.array(means), np.array(standard_errors))
    alpha = np.exp(best)
    challenger = np.zeros_like(alpha)
    for j in range(alpha.size):
        others = np.delete(np.arange(alpha.size), j)
        # Divided by the sum of the others, not by 1 - alpha_j, which may be 0 when j is clearly the best.
        challenger[others] += alpha[j] * np.exp(best[others] - np.logaddexp.reduce(best[others]))
    shares = beta * alpha + (1 - beta) * challenger
    spare = basis_points(shares.tolist(), 10_000 - floor * len(means))
    return tuple(floor + points for points in spare)


def _refuse_impossible(
    means: Sequence[float], standard_errors: Sequence[float], floor: int, beta: float
) -> None:
    if len(means) < 2 or len(standard_errors) != len(means):
        raise ValueError("needs a mean and a standard error for each of at least two arms")
    if not all(map(math.isfinite, means)) or not all(0 < error < math.inf for error in standard_errors):
        raise ValueError("means need to be finite, standard errors also above 0")
    if not 0 <= floor * len(means) <= 10_000 or not 0 < beta < 1:
        raise ValueError(f"floor {floor} for {len(means)} arms, beta {beta}")


def _log_best(means: FloatArray, errors: FloatArray) -> FloatArray:
    """log P(arm i has the largest of independent normal draws), by the trapezoid rule; sums to 1."""
    scale = errors.max()
    centre, sd = (means - means.max()) / scale, errors / scale
    # Each arm's own grid, because errors may differ by powers of ten, and one across the gaps between arms.
    grids = [np.linspace(-12, 12, 601) * s + c for c, s in zip(centre, sd, strict=True)]
    grid = np.unique(np.concatenate([*grids, np.linspace(centre.min() - 2, centre.max() + 2, 2001)]))
    z = (grid[None, :] - centre[:, None]) / sd[:, None]
    log_below = _log_cdf(z)
    log_density = -z * z / 2 - np.log(sd)[:, None]
    width = np.zeros(grid.size)
    width[:-1] += np.diff(grid) / 2
    width[1:] += np.diff(grid) / 2
    log_best = np.array(
        [
            np.logaddexp.reduce(log_density[i] + np.delete(log_below, i, axis=0).sum(axis=0) + np.log(width))
            for i in range(means.size)
        ]
    )
    return np.asarray(log_best - np.logaddexp.reduce(log_best), dtype=np.float64)


def _log_cdf(z: FloatArray) -> FloatArray:
    """log Phi(z), below -20 by its asymptotic series (Abramowitz, Stegun 26.2.12), to about 1e-7."""
    tail = np.minimum(z, -20.0)
    series = -tail * tail / 2 - np.log(-tail * math.sqrt(2 * math.pi)) + np.log1p(-1 / tail**2 + 3 / tail**4)
    near = np.log(_erfc(-np.maximum(z, -20.0) / math.sqrt(2)) / 2)
    return np.where(z < -20, series, near)
