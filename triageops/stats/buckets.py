"""A reference's buckets as arrays, in the order of time: whatever order they were read in, the result is the same.

Rows are sorted first, and rows of one bucket merged (late records have rows of their own). Counts add up exactly, so
with shares and scores the partition into rows does not matter to the last bit either; moments of arbitrary values merge
with the rounding that moments.py states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats.moments import grouped_moments

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# A difference of means of so many roundings is none.
_ROUNDINGS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """start: (T,) unix seconds, strictly ascending. n: (T,), 1 or more. mean, m2: (T,), as in Moments."""

    start: IntArray
    n: IntArray
    mean: FloatArray
    m2: FloatArray

    @classmethod
    def of(cls, start: ArrayLike, n: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> Buckets:
        """From rows in any order. Rows of one start are merged, rows without records left out.

        start: whole unix seconds. ValueError for shapes that differ, negative n or m2, NaN or infinity.
        """
        times, counts = np.asarray(start, dtype=np.int64), np.asarray(n, dtype=np.int64)
        means, squares = np.asarray(mean, dtype=np.float64), np.asarray(m2, dtype=np.float64)
        if times.ndim != 1 or not times.shape == counts.shape == means.shape == squares.shape:
            raise ValueError(f"shapes differ: {times.shape}, {counts.shape}, {means.shape}, {squares.shape}")
        if (counts < 0).any() or not (np.isfinite(means).all() and np.isfinite(squares).all()):
            raise ValueError("a negative count, NaN or infinity")
        if (squares < 0).any():
            raise ValueError("a negative sum of squares")
        order = np.lexsort((squares, means, counts, times))
        order = order[counts[order] > 0]
        starts, index = np.unique(times[order], return_inverse=True)
        n_of, mean_of, between = grouped_moments(
            means[order], index, starts.size, weights=counts[order] if order.size else None
        )
        return cls(starts, n_of, mean_of, between + np.bincount(index, squares[order], starts.size))

    @classmethod
    def of_rates(cls, start: ArrayLike, n: ArrayLike, successes: ArrayLike) -> Buckets:
        """From counts; whatever the order and partition of the rows, the result is the same to the last bit."""
        times = np.asarray(start, dtype=np.int64)
        counts = np.stack([np.asarray(n, dtype=np.int64), np.asarray(successes, dtype=np.int64)], axis=-1)
        if ((counts[:, 1] < 0) | (counts[:, 1] > counts[:, 0])).any():
            raise ValueError("successes outside [0, n]")
        starts, (total, k) = _summed(times, counts)
        return cls(starts, total, k / total, k * ((total - k) / total))

    @classmethod
    def of_scores(cls, start: ArrayLike, counts: ArrayLike, scores: ArrayLike) -> tuple[Buckets, ...]:
        """One for each of J scores. counts: (T, B) records in each cell. scores: (J, B), the value of a cell.

        Whatever the order and partition of the rows, the result is the same to the last bit.
        """
        cells, values = np.asarray(counts, dtype=np.int64), np.asarray(scores, dtype=np.float64)
        if cells.ndim != 2 or values.ndim != 2 or cells.shape[1] != values.shape[1] or (cells < 0).any():
            raise ValueError(f"counts {cells.shape} and scores {values.shape} do not fit, or are negative")
        if not np.isfinite(values).all():
            raise ValueError("NaN or infinity among the scores")
        starts, summed = _summed(np.asarray(start, dtype=np.int64), cells)
        n = summed.sum(axis=0)
        found = []
        for score in values:
            # Not by a matrix product, whose order of additions depends on the machine's library.
            mean = (summed * score[:, None]).sum(axis=0) / n
            found.append(cls(starts, n, mean, (summed * (score[:, None] - mean) ** 2).sum(axis=0)))
        return tuple(found)

    @property
    def record_count(self) -> int:
        return int(self.n.sum())

    @property
    def tolerance(self) -> float:
        """What means may differ by without meaning it."""
        return _ROUNDINGS * math.ulp(float(np.abs(self.mean).max(initial=0.0)))

    @property
    def m2_without_rounding(self) -> FloatArray:
        """m2, and 0 where it is that of equal values."""
        return np.where(self.m2 <= self.n * self.tolerance**2, 0.0, self.m2)


def _summed(start: IntArray, counts: IntArray) -> tuple[IntArray, IntArray]:
    """Rows of one start added up: starts with records (T,), and sums (columns, T)."""
    if start.ndim != 1 or counts.shape[0] != start.size:
        raise ValueError(f"{start.shape} starts of {counts.shape} counts")
    starts, index = np.unique(start, return_inverse=True)
    sums = np.zeros((starts.size, counts.shape[1]), dtype=np.int64)
    np.add.at(sums, index, counts)
    filled = sums.any(axis=1)
    return starts[filled], np.ascontiguousarray(sums[filled].T)
