"""Count, mean and centred sum of squares of numbers, merged without loss of digits.

Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983): the pairwise merge and
the corrected two-pass formula. The tests' reference values come from exact fractions.
Accuracy: mean and m2 to about 1e-15 relative to the values' distance from their mean plus one rounding of the
mean itself, at any offset. When squares leave the range of doubles (values beyond about 1e154), m2 is
infinite; the mean stays finite. Nothing here is ever NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moments:
    """n values, their mean and m2, the sum of squared distances from it; of no values 0, 0.0, 0.0."""

    n: int
    mean: float
    m2: float

    def __post_init__(self) -> None:
        if self.n < 0 or not math.isfinite(self.mean) or not self.m2 >= 0:
            raise ValueError(f"not moments of any numbers: n={self.n}, mean={self.mean}, m2={self.m2}")
        if self.n == 0 and (self.mean != 0 or self.m2 != 0):
            raise ValueError("moments of nothing have mean 0 and m2 0")

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """Moments of a one-dimensional array; NaN and infinities are a ValueError."""
        array = _finite(values)
        n, mean, m2 = grouped_moments(array, np.zeros(array.size, dtype=np.int64), 1)
        return cls(int(n[0]), float(mean[0]), float(m2[0]))

    @classmethod
    def merge(cls, parts: Iterable[Moments]) -> Moments:
        """Moments of all parts together, more exact than adding them one by one; none: the empty ones."""
        several = list(parts)
        return merge_arrays([p.n for p in several], [p.mean for p in several], [p.m2 for p in several])

    def __add__(self, other: Moments) -> Moments:
        if self.n == 0:
            return other
        if other.n == 0:
            return self
        n = self.n + other.n
        distance = other.mean - self.mean
        if math.isinf(distance):  # two means of opposite sign near the largest double
            return Moments(n, self.mean * (self.n / n) + other.mean * (other.n / n), math.inf)
        mean = self.mean + distance * (other.n / n)
        return Moments(n, mean, self.m2 + other.m2 + distance * distance * (self.n * (other.n / n)))

    @property
    def total(self) -> float:
        return self.n * self.mean

    @property
    def variance(self) -> float | None:
        """Sample variance (n - 1); None for fewer than two values."""
        return self.m2 / (self.n - 1) if self.n > 1 else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation; None for fewer than two values."""
        return math.sqrt(self.m2 / (self.n - 1)) if self.n > 1 else None

    @property
    def standard_error(self) -> float | None:
        """Of the mean, for independent values; None for fewer than two."""
        return math.sqrt(self.m2 / (self.n - 1) / self.n) if self.n > 1 else None


def merge_arrays(n: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> Moments:
    """Moments of the union of k parts given as three arrays of length k; parts with n = 0 add nothing.

    Unequal lengths, a negative n, a mean that is not finite or a m2 that is NaN or negative are a ValueError.
    """
    counts = np.asarray(n, dtype=np.int64)
    means = _finite(mean)
    squares = np.asarray(m2, dtype=np.float64)
    if not counts.shape == means.shape == squares.shape:
        raise ValueError(f"shapes differ: {counts.shape}, {means.shape}, {squares.shape}")
    if (counts < 0).any() or not (squares >= 0).all():
        raise ValueError("negative counts or squares, or NaN")
    filled = counts > 0
    total = int(counts.sum())
    if total == 0:
        return Moments(0, 0.0, 0.0)
    counts, means, squares = counts[filled], means[filled], squares[filled]
    _, (middle,), (between,) = grouped_moments(means, np.zeros(means.size, dtype=np.int64), 1, weights=counts)
    with np.errstate(over="ignore"):
        return Moments(total, float(middle), float(squares.sum() + between))


def grouped_moments(
    values: ArrayLike, group_index: ArrayLike, group_count: int, *, weights: ArrayLike | None = None
) -> tuple[IntArray, FloatArray, FloatArray]:
    """(n, mean, m2) of the values of every group, each of shape (group_count,); zeros for an empty group.

    values: (k,), finite. group_index: (k,), whole numbers in [0, group_count). weights: (k,), whole numbers >
    0, how often each value counts (default once). Anything else is a ValueError.
    """
    array = _finite(values)
    index = np.asarray(group_index)
    if index.shape != array.shape or (index.size and index.dtype.kind not in "iu"):
        raise ValueError("group_index needs one whole number for each value")
    if index.size and (index.min() < 0 or index.max() >= group_count):
        raise ValueError(f"group_index outside [0, {group_count})")
    times = np.ones(array.size, dtype=np.int64) if weights is None else np.asarray(weights, dtype=np.int64)
    if times.shape != array.shape or (times < 1).any():
        raise ValueError("weights need one whole number above zero for each value")
    index = index.astype(np.intp, copy=False)
    n = np.zeros(group_count, dtype=np.int64)
    np.add.at(n, index, times)
    share = times / n[index]
    with np.errstate(over="ignore", invalid="ignore"):
        # Shares before sums: a sum of large values may leave the range of doubles, a mean never does.
        mean = np.bincount(index, array * share, group_count)
        # The second pass repairs the rounding of the first; at the edge of the range it is undefined and left
        # out.
        correction = np.bincount(index, (array - mean[index]) * share, group_count)
        mean = mean + np.where(np.isfinite(correction), correction, 0.0)
        m2 = np.bincount(index, (array - mean[index]) ** 2 * times, group_count)
    return n, mean.astype(np.float64, copy=False), m2.astype(np.float64, copy=False)


def _finite(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected a one-dimensional array, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("NaN or infinity among the values")
    return array
