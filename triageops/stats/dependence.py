"""Do neighbouring buckets of a steady stream differ in the same direction? And by how much that inflates variances.

With standardised residuals e_t (variance.py) whose sum over many buckets has inflation times the variance that
independent ones would have, n buckets tell as much as n / inflation independent ones. Two estimates of it:

    lag 1:   (1 + rho) / (1 - rho), rho the correlation of consecutive buckets; exact when memory fades
             geometrically (an autoregression of order 1);
    blocks:  sum of squared block sums by what independent buckets would have, blocks of a day by default; of half a day,
             a quarter, an eighth or an hour when the stream is too short for eight days.

They differ where it matters: an effect common to all buckets of a day, with a tenth of their variance, gives rho = 0.1
and a lag-1 inflation of 1.2, while days differ 30 times as much as independent buckets of 5 minutes would. Take the
larger, `Dependence.inflation`. Being the larger of two noisy numbers, it is some 10 % too large without dependence and 20 days.
Of parts of a day, which cannot know what whole days do, only what chance would give once in a thousand times counts: a wave of
hours that the season does not explain, as in a reference too short to learn it.
Sources: Newbold, Granger (1974) and Kendall (1954) for the bias of rho; batch means: Alexopoulos, Seila (1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats import chi_square

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEAST_PAIRS = 20
_LEAST_BLOCKS = 8
_PARTS = (2, 4, 8, 24)
_PARTS_LEVEL = 0.001
# Above this an autoregression is hardly told from a trend: the reference is not steady.
_MOST_RHO = 0.98
_NEGLIGIBLE_RHO = 0.05


@dataclass(frozen=True, slots=True)
class Dependence:
    """rho: in [-1, 0.98], None with fewer than 20 pairs of consecutive buckets. blocks: >= 0, None with fewer than 8 blocks,
    or when the blocks are parts of the ones asked for and show nothing that chance would not.

    pair_count, block_count: what the two rest on; the standard error of rho is about 1 / sqrt(pairs), that of
    blocks about blocks sqrt(2 / block_count).
    """

    rho: float | None
    blocks: float | None
    pair_count: int
    block_count: int

    @property
    def by_lag(self) -> float:
        """(1 + rho) / (1 - rho), at least 1: dependence that would help is not counted on.

        Nor is a rho within one standard error of 0, as long as it is below 0.05, a tenth of the variance at most: it is mostly noise.
        """
        noise = min(_NEGLIGIBLE_RHO, 1 / math.sqrt(self.pair_count or 1))
        rho = self.rho if self.rho is not None and self.rho > noise else 0.0
        return (1 + rho) / (1 - rho)

    @property
    def inflation(self) -> float:
        """By how much to multiply v_t; at least 1, the larger of both estimates. 1 when neither exists."""
        return max(1.0, self.by_lag, self.blocks or 0.0)


def dependence(
    start: ArrayLike,
    residuals: ArrayLike,
    slots: ArrayLike | None = None,
    *,
    bucket_seconds: int,
    block_seconds: int = 86_400,
) -> Dependence:
    """Of standardised residuals (T,) of buckets that begin at start (T,), strictly ascending unix seconds.

    slots: (T,), what the residuals' centres belong to (default one). Only buckets exactly bucket_seconds apart
    are consecutive; a missing one is a gap. Blocks are cut at whole multiples of block_seconds since 1970; the largest of its
    parts that makes eight stands in where it does not. One that is not above bucket_seconds leaves them out.

    rho = mean of products of pairs / root of the two mean squares, plus (1 + 3 rho) / pairs, its bias when one
    mean was taken off. blocks: sum of squared sums divided by s^2 times the sum over buckets of 1 - 1 / m, m the
    number of blocks that the bucket's slot occurs in: taking off the slot's mean leaves so much of a block's
    effect. s^2: the sum of e^2 by buckets less slots. Residuals that are all 0: rho 0, blocks 1.
    """
    times, e = np.asarray(start, dtype=np.int64), np.asarray(residuals, dtype=np.float64)
    index = np.zeros(times.size, dtype=np.int64) if slots is None else np.asarray(slots, dtype=np.int64)
    if times.ndim != 1 or not times.shape == e.shape == index.shape or not np.isfinite(e).all():
        raise ValueError("expected a start, a finite residual and a slot for each bucket")
    if not (np.diff(times) > 0).all() or bucket_seconds < 1 or block_seconds < 1:
        raise ValueError("starts need to ascend, and lengths to be positive")
    is_pair = np.diff(times) == bucket_seconds
    pairs = int(is_pair.sum())
    rho = _rho(e[:-1][is_pair], e[1:][is_pair]) if pairs >= _LEAST_PAIRS else None
    blocks, count = _by_blocks(times, e, index, bucket_seconds, block_seconds)
    return Dependence(rho, blocks, pairs, count)


def _by_blocks(
    times: IntArray, e: FloatArray, slots: IntArray, bucket_seconds: int, block_seconds: int
) -> tuple[float | None, int]:
    """Estimate and number of blocks: of the whole ones, or of the largest parts that make enough."""
    block, count = _numbered(times, block_seconds)
    if count >= _LEAST_BLOCKS:
        return (_blocks(e, slots, block) if block_seconds > bucket_seconds else None), count
    for part in _PARTS:
        block, several = _numbered(times, block_seconds // part or 1)
        if several >= _LEAST_BLOCKS and block_seconds > part * bucket_seconds:
            found = _blocks(e, slots, block)
            chance = chi_square.quantile(1 - _PARTS_LEVEL, several - 1) / (several - 1)
            return (found if found is not None and found > chance else None), several
    return None, count


def _numbered(times: IntArray, block_seconds: int) -> tuple[IntArray, int]:
    """The block of each time, from 0 on, and how many there are."""
    _, block = np.unique(times // block_seconds, return_inverse=True)
    return block, int(block.max(initial=-1)) + 1


def inflated_by_lag(rho: float) -> float:
    """(1 + rho) / (1 - rho) for rho in [0, 1): v_t is multiplied by it."""
    if not 0 <= rho < 1:
        raise ValueError(f"correlation {rho}")
    return (1 + rho) / (1 - rho)


def prewhitened(previous: float, current: float, rho: float) -> float:
    """(e_t - rho e_(t-1)) / sqrt(1 - rho^2), for |rho| < 1: independent if the dependence is of order 1."""
    if not -1 < rho < 1:
        raise ValueError(f"correlation {rho}")
    return (current - rho * previous) / math.sqrt(1 - rho * rho)


def _rho(before: FloatArray, after: FloatArray) -> float:
    scale = math.sqrt(float((before**2).sum()) * float((after**2).sum()))
    if not scale:
        return 0.0
    rho = float((before * after).sum()) / scale
    return max(-1.0, min(_MOST_RHO, rho + (1 + 3 * rho) / before.size))


def _blocks(e: FloatArray, slots: IntArray, block: IntArray) -> float | None:
    _, index = np.unique(slots, return_inverse=True)
    members = np.bincount(index)
    occurrences = np.bincount(np.unique(np.stack([index, block]), axis=1)[0])
    freedom = float((members - 1).sum())
    left = float((members * (1 - 1 / occurrences)).sum())
    squares = float((e**2).sum())
    if not squares:
        return 1.0
    return (
        float((np.bincount(block, e) ** 2).sum()) / (squares / freedom * left) if freedom and left else None
    )
