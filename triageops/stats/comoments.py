"""Counts, means and centred cross products of small vectors, merged without loss of digits.

The vector is what one unit (a user) contributes: numerator, denominator, their values before the experiment.
Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983), and its extension to
cross products, Pebay, "Formulas for robust, one-pass parallel computation of covariances" (SAND2008-6212). The tests' reference values come from exact fractions and numpy.cov.
Accuracy: as in moments.py, about 1e-15 relative to the distance of the values from their mean plus one rounding
of the mean itself. Values whose squares leave the range of doubles (beyond about 1e150) are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats.moments import Moments

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CoMoments:
    """n vectors of length k, their means and m2, the (k, k) sums of products of distances from the means.

    ValueError: no columns, wrong shapes, anything not finite, a negative diagonal, m2 not symmetric to the last
    bit, or moments of nothing that are not all zero.
    """

    n: int
    mean: tuple[float, ...]
    m2: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        k = len(self.mean)
        if k == 0 or len(self.m2) != k or any(len(row) != k for row in self.m2):
            raise ValueError("co-moments need k > 0 means and k rows of k cross products")
        numbers = (*self.mean, *(x for row in self.m2 for x in row))
        if self.n < 0 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"not co-moments of any numbers: n={self.n}, mean={self.mean}, m2={self.m2}")
        if any(self.m2[i][i] < 0 for i in range(k)):
            raise ValueError("a sum of squares is negative")
        if any(self.m2[i][j] != self.m2[j][i] for i in range(k) for j in range(i)):
            raise ValueError("cross products are not symmetric")
        if self.n == 0 and any(numbers):
            raise ValueError("co-moments of nothing are zeros")

    @classmethod
    def empty(cls, k: int) -> CoMoments:
        """Of no vectors of length k."""
        return cls(0, (0.0,) * k, ((0.0,) * k,) * k)

    @classmethod
    def of(cls, rows: ArrayLike) -> CoMoments:
        """Of an (n, k) array, one row a unit; NaN, infinities and other shapes are a ValueError."""
        array = np.asarray(rows, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] == 0:
            raise ValueError(f"expected an array of shape (n, k), got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError("NaN or infinity among the values")
        n, k = array.shape
        if n == 0:
            return cls.empty(k)
        mean, m2 = _weighted(array, np.ones(n))
        return _made(n, mean, m2)

    @classmethod
    def merge(cls, parts: Iterable[CoMoments]) -> CoMoments:
        """Of all parts together, more exact than adding them one by one; ValueError for no parts at all."""
        several = list(parts)
        if not several:
            raise ValueError("no parts, so the number of columns is unknown")
        k = len(several[0].mean)
        if any(len(part.mean) != k for part in several):
            raise ValueError("parts have different numbers of columns")
        filled = [part for part in several if part.n]
        if not filled:
            return cls.empty(k)
        mean, between = _weighted(
            np.array([part.mean for part in filled]), np.array([float(part.n) for part in filled])
        )
        within = np.array([part.m2 for part in filled]).sum(axis=0)
        return _made(sum(part.n for part in filled), mean, within + between)

    def __add__(self, other: CoMoments) -> CoMoments:
        if len(self.mean) != len(other.mean):
            raise ValueError("parts have different numbers of columns")
        if self.n == 0:
            return other
        if other.n == 0:
            return self
        n = self.n + other.n
        distance = np.array(other.mean) - np.array(self.mean)
        mean = np.array(self.mean) + distance * (other.n / n)
        between = np.outer(distance, distance) * (self.n * (other.n / n))
        return _made(n, mean, np.array(self.m2) + np.array(other.m2) + between)

    @property
    def covariance(self) -> tuple[tuple[float, ...], ...] | None:
        """Sample covariances (n - 1), shape (k, k); None for fewer than two vectors."""
        if self.n < 2:
            return None
        return tuple(tuple(x / (self.n - 1) for x in row) for row in self.m2)

    def column(self, i: int) -> Moments:
        """The moments of column i alone."""
        return Moments(self.n, self.mean[i], self.m2[i][i])

    def transformed(
        self, matrix: Sequence[Sequence[float]], offset: Sequence[float] | None = None
    ) -> CoMoments:
        """Of the vectors L x + offset, with matrix L of shape (q, k): means L m + offset, cross products L M L'.

        A sum of squares that cancels to less than nothing is 0. Accuracy: 1e-15 of the largest term.
        """
        linear = np.asarray(matrix, dtype=np.float64)
        if linear.ndim != 2 or linear.shape[1] != len(self.mean):
            raise ValueError(f"expected a matrix with {len(self.mean)} columns, got shape {linear.shape}")
        shift = np.zeros(linear.shape[0]) if offset is None else np.asarray(offset, dtype=np.float64)
        if shift.shape != linear.shape[:1]:
            raise ValueError(f"expected {linear.shape[0]} offsets, got shape {shift.shape}")
        if self.n == 0:
            return CoMoments.empty(linear.shape[0])
        return _made(self.n, linear @ np.array(self.mean) + shift, linear @ np.array(self.m2) @ linear.T)


def _weighted(rows: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means and cross products of rows that count so often; the second pass repairs the first one's rounding."""
    share = weights / weights.sum()
    with np.errstate(over="ignore", invalid="ignore"):
        mean = share @ rows
        mean = mean + share @ (rows - mean)
        distance = rows - mean
        return mean, (distance * weights[:, None]).T @ distance


def _made(n: int, mean: FloatArray, m2: FloatArray) -> CoMoments:
    """Rounding may leave m2 not quite symmetric, or a square just below nothing."""
    symmetric = (m2 + m2.T) / 2
    np.fill_diagonal(symmetric, np.maximum(np.diagonal(symmetric), 0.0))
    return CoMoments(n, tuple(mean.tolist()), tuple(tuple(row) for row in symmetric.tolist()))
