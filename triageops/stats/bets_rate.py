"""Increments for shares of successes (error rate, thumbs-down, refusals): a bet on other odds.

A bucket has k successes among n. With r > 1 and the largest share p that is still allowed, bet on the odds being r
times those of p, that is on the share q = r p / (1 - p + r p):

    l_r = k log(q / p) + (n - k) log((1 - q) / (1 - p)) = k log r - n log(1 + p (r - 1)).

The right side has no digits to cancel, for any n, p and r. Downwards r < 1, with the smallest share allowed. Exact:
E[exp(l_r) | past] <= 1 if every value is a success with a probability of at most p (at least p for r < 1), given n
and all values before it: one value's expectation is (1 + p' (r - 1)) / (1 + p (r - 1)) at probability p'. The
probability may differ from value to value. l is a sum over values: buckets may be split or merged. Odds, not
shares, are multiplied: q stays below 1, and failures are seen exactly as successes are. For small p it is the same.
Bounds from a reference: margins.rate_bounds. Overdispersion: bets_deflator. The tests' reference values:
scipy.stats.binom, sums over all outcomes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats.bets_deflator import checked_phi

FloatArray = NDArray[np.float64]
Sides = Literal["up", "down", "both"]


@dataclass(frozen=True, slots=True)
class RateBet:
    """Bets that a share is above p_high or below p_low; between them nothing is wrong.

    p_low, p_high: in [0, 1], p_low <= p_high. With p_low = 0 or p_high = 1 nothing can be wrong on that side, and
    its baselines are never above 0 (but for rounding). odds_ratios: above 1; down uses their inverses.
    """

    p_low: float
    p_high: float
    sides: Sides = "both"
    odds_ratios: tuple[float, ...] = (1.12, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)

    def __post_init__(self) -> None:
        if self.sides not in ("up", "down", "both"):
            raise ValueError(f"sides is {self.sides!r}, not 'up', 'down' or 'both'")
        if not 0 <= self.p_low <= self.p_high <= 1:
            raise ValueError(f"shares {self.p_low} to {self.p_high} not in order, or outside [0, 1]")
        if not self.odds_ratios or not all(1 < r < math.inf for r in self.odds_ratios):
            raise ValueError("odds_ratios need to be above 1 and finite")

    @property
    def _ups(self) -> int:
        return len(self.odds_ratios) if self.sides != "down" else 0

    @property
    def _downs(self) -> int:
        return len(self.odds_ratios) if self.sides != "up" else 0

    @property
    def directions(self) -> tuple[str, ...]:
        """Of each baseline: "up" or "down"."""
        return ("up",) * self._ups + ("down",) * self._downs

    def increments(self, k: int, n: int, *, phi: float = 1.0) -> tuple[float, ...]:
        """l of each baseline for one closed bucket, zeros when it is empty; see increments_of."""
        return tuple(self.increments_of(k, n, phi=phi).tolist())

    def increments_of(self, k: ArrayLike, n: ArrayLike, *, phi: ArrayLike = 1.0) -> FloatArray:
        """phi l for buckets of one shape (...), as an array of shape (..., K). phi: in (0, 1], shape (...) or one.

        ValueError unless 0 <= k <= n. Accuracy: about 1e-15 of the larger of the two terms of l.
        """
        successes, count = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
        if not ((successes >= 0) & (successes <= count) & (count < np.inf)).all():
            raise ValueError("successes need to be between 0 and the number of values")
        ups, downs = np.array(self.odds_ratios[: self._ups]), 1 / np.array(self.odds_ratios[: self._downs])
        ratio = np.concatenate([ups, downs])
        bound = np.array([self.p_high] * self._ups + [self.p_low] * self._downs)
        tilted = successes[..., None] * np.log(ratio) - count[..., None] * np.log1p(bound * (ratio - 1))
        return np.asarray(tilted * checked_phi(phi)[..., None])
