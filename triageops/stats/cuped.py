"""The regression on values before the experiment (CUPED), within arms and strata; compare.py says what it is for.

Of an arm's adjusted value m' = m - theta (mean X of the arm - mean X of the stratum) the last mean is common to
all arms: it drops out of every difference, but not out of one arm's own variance. With S = theta X, shares p_b
of the arms in the stratum, u_a = Z - S in arm a and g = sum_b p_b (mean S of b):

    Var m'_a = Var u_a + 2 p_a Cov(u_a, S_a) + Var g,    Cov(m'_a, m'_b) = p_a Cov(u_a, S_a)
               + p_b Cov(u_b, S_b) + Var g,    Var(m'_a - m'_b) = Var u_a + Var u_b.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triageops.stats.comoments import CoMoments

FloatArray = NDArray[np.float64]

# A variance that is so much smaller than the terms it is the difference of is their rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """One arm in one stratum, with each unit's outcome and covariates as linear functions of its columns.

    value: the mean or ratio. rows: (1 + covariates, columns). covariance: of the columns. means: of covariates.
    """

    n: int
    value: float
    rows: FloatArray
    covariance: FloatArray
    means: FloatArray

    def covariance_of(self, a: FloatArray, b: FloatArray) -> float:
        """Of the means of two linear functions of the columns; 0 where it is only rounding."""
        terms = float(np.abs(a) @ np.abs(self.covariance) @ np.abs(b))
        covariance = float(a @ self.covariance @ b)
        if abs(covariance) <= _ROUNDING * terms or terms <= (_ROUNDING * self.value) ** 2:
            return 0.0
        return covariance / self.n


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What the arms of one stratum have in common. total: units of the arms that have a value.

    residual_share: the variance left by the adjustment, as a share; 1 when there is none to adjust.
    """

    theta: FloatArray
    total: int
    means: FloatArray
    variance: float
    residual_share: float

    def adjusted(self, cell: Linear) -> float:
        return cell.value - float(self.theta @ (cell.means - self.means))

    def variances(self, cell: Linear) -> tuple[float, float]:
        """(Var u_a, p_a Cov(u_a, S_a) + Var g / 2)."""
        explained = self.theta @ cell.rows[1:]
        own = cell.rows[0] - explained
        common = cell.n / self.total * cell.covariance_of(own, explained) + self.variance / 2
        return max(0.0, cell.covariance_of(own, own)), common


def linearised(
    arms: Mapping[str, Sequence[CoMoments]], *, is_ratio: bool, is_adjusted: bool
) -> tuple[dict[str, list[Linear | None]], tuple[float, ...], float | None]:
    """Every arm's strata, theta of all of them, and the share of their variance that theta leaves (or None)."""
    covariates = _covariates(
        [cell for strata in arms.values() for cell in strata], is_ratio=is_ratio, is_adjusted=is_adjusted
    )
    cells = {
        key: [_linear(cell, covariates, is_ratio=is_ratio) for cell in strata] for key, strata in arms.items()
    }
    pooled = _pooled((cell for strata in cells.values() for cell in strata), covariates.shape[0])
    theta = _least_squares(pooled)
    return cells, tuple(theta.tolist()), _residual_share(pooled, theta)


def shared(cells: Mapping[str, Linear | None], theta: Sequence[float]) -> Shared:
    """Of one stratum's arms, leaving out those without a value."""
    slopes = np.array(theta, dtype=np.float64)
    used = [cell for cell in cells.values() if cell is not None]
    total = sum(cell.n for cell in used)
    means, variance = np.zeros(slopes.size), 0.0
    for cell in used:
        share = cell.n / total
        explained = slopes @ cell.rows[1:]
        means += share * cell.means
        variance += share**2 * max(0.0, cell.covariance_of(explained, explained))
    left = _residual_share(_pooled(used, slopes.size), slopes)
    return Shared(slopes, total, means, variance, 1.0 if left is None else left)


def _covariates(cells: Sequence[CoMoments], *, is_ratio: bool, is_adjusted: bool) -> FloatArray:
    """(covariates, columns): the pre value, for a ratio linearised at the pre ratio of all units, and is_new."""
    columns = len(cells[0].mean) if cells else 1
    if not is_adjusted:
        return np.zeros((0, columns))
    if not is_ratio:
        return np.eye(3)[1:]
    numerator, denominator = CoMoments.merge(cells).mean[2:4]
    rows = np.zeros((2, 5))
    if denominator and math.isfinite(numerator / denominator):
        # The scale, 1 / denominator, is left to theta.
        rows[0, 2:4] = 1.0, -numerator / denominator
    rows[1, 4] = 1.0
    return rows


def _linear(cell: CoMoments, covariates: FloatArray, *, is_ratio: bool) -> Linear | None:
    if cell.n < 2 or (is_ratio and cell.mean[1] == 0):
        return None
    outcome = np.zeros(len(cell.mean))
    value, outcome[0] = cell.mean[0], 1.0
    if is_ratio:
        value = cell.mean[0] / cell.mean[1]
        outcome[:2] = 1 / cell.mean[1], -value / cell.mean[1]
        if not np.isfinite(outcome).all():
            return None
    return Linear(
        cell.n,
        value,
        np.vstack([outcome, covariates]),
        np.array(cell.m2) / (cell.n - 1),
        covariates @ np.array(cell.mean),
    )


def _pooled(cells: Iterable[Linear | None], covariate_count: int) -> FloatArray:
    """Cross products of outcome and covariates around the means of each arm and stratum, summed."""
    pooled = np.zeros((1 + covariate_count, 1 + covariate_count))
    for cell in cells:
        if cell is not None:
            pooled += (cell.n - 1) * (cell.rows @ cell.covariance @ cell.rows.T)
    return pooled


def _least_squares(pooled: FloatArray) -> FloatArray:
    """Slopes of the outcome; of covariates that do not differ, or repeat each other, the shortest solution."""
    scale = np.sqrt(np.maximum(np.diagonal(pooled)[1:], 0.0))
    scale[scale == 0] = 1.0
    inverse = np.linalg.pinv(pooled[1:, 1:] / np.outer(scale, scale), rcond=1e-10, hermitian=True)
    return np.asarray(inverse @ (pooled[1:, 0] / scale) / scale, dtype=np.float64)


def _residual_share(pooled: FloatArray, theta: FloatArray) -> float | None:
    if not pooled[0, 0] > 0:
        return None
    weights = np.concatenate([[1.0], -theta])
    return max(0.0, float(weights @ pooled @ weights) / float(pooled[0, 0]))
