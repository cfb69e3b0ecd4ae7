"""Increments for how much arrives, and of which kind: volumes, outages, mixes of categories.

Volume: k events arrived where mu were expected (mu from the bucket's slot). Bet that the true rate is r times the
largest (r > 1) or smallest (r < 1) one allowed, mu0 = mu (1 +- margin):

    Poisson             l_r = k log r - mu0 (r - 1)
    negative binomial   l_r = k log(1 + (r - 1) / (1 + a r mu0)) - log(1 + a mu0 (r - 1) / (1 + a mu0)) / a

the latter for a variance of mu + a mu^2, where a is the squared relative wobble of the rate between buckets. It is
the likelihood ratio of r mu0 to mu0, in a form without cancellation, and becomes the former as a goes to 0. k = 0
is evidence: with r = 0.01, an expected value goes missing at 0.99 a piece. Exact: E[exp(l_r) | past] <= 1 for every
mean on the allowed side and every dispersion up to a, Poisson included: E[x^k] = (1 - m (x - 1) / s)^-s of a
negative binomial with mean m and size s = 1 / a rises with m for x > 1, falls with it for x < 1, and falls with s
for both. The tests' reference values: scipy.stats.poisson, nbinom, dirichlet_multinomial.
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
class VolumeBet:
    """Bets that more or fewer events arrive than expected.

    margin: in [0, 1), the relative deviation that is nobody's concern. dispersion: a in [0, 1e6].
    """

    margin: float = 0.0
    dispersion: float = 0.0
    sides: Sides = "both"
    ratios_up: tuple[float, ...] = (1.12, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
    ratios_down: tuple[float, ...] = (0.9, 0.75, 0.5, 0.25, 0.1, 0.01)

    def __post_init__(self) -> None:
        if self.sides not in ("up", "down", "both"):
            raise ValueError(f"sides is {self.sides!r}, not 'up', 'down' or 'both'")
        if not 0 <= self.margin < 1 or not 0 <= self.dispersion <= 1e6:
            raise ValueError(
                f"margin {self.margin} outside [0, 1) or dispersion {self.dispersion} outside [0, 1e6]"
            )
        if not all(1 < r < math.inf for r in self.ratios_up) or not all(0 < r < 1 for r in self.ratios_down):
            raise ValueError("ratios need to be above 1 for up and between 0 and 1 for down")
        if not self.directions:
            raise ValueError("no ratio to bet on")

    @property
    def _ups(self) -> tuple[float, ...]:
        return self.ratios_up if self.sides != "down" else ()

    @property
    def _downs(self) -> tuple[float, ...]:
        return self.ratios_down if self.sides != "up" else ()

    @property
    def directions(self) -> tuple[str, ...]:
        """Of each baseline: "up" or "down"."""
        return ("up",) * len(self._ups) + ("down",) * len(self._downs)

    def increments(self, k: int, *, expected: float) -> tuple[float, ...]:
        """l of each baseline for one closed bucket, which had k events; see increments_of."""
        return tuple(self.increments_of(k, expected).tolist())

    def increments_of(self, k: ArrayLike, expected: ArrayLike) -> FloatArray:
        """l for buckets given as arrays of one shape (...), as an array of shape (..., K).

        k: events, >= 0. expected: in [0, 1e15], of this bucket, before the margin. A bucket without events has
        zeros only if none were expected. Accuracy: about 1e-15 of the larger of the two terms of l.
        """
        count, mu = (
            np.asarray(k, dtype=np.float64)[..., None],
            np.asarray(expected, dtype=np.float64)[..., None],
        )
        if not ((count >= 0) & (count < np.inf)).all() or not ((mu >= 0) & (mu <= 1e15)).all():
            raise ValueError("a count that is negative, or an expected one outside [0, 1e15]")
        ratio = np.array(self._ups + self._downs)
        worst = mu * np.where(ratio > 1, 1 + self.margin, 1 - self.margin)
        excess, a = ratio - 1, self.dispersion
        if a < 1e-300:
            return np.asarray(count * np.log(ratio) - worst * excess)
        cost = np.log1p(a * worst * excess / (1 + a * worst)) / a
        return np.asarray(count * np.log1p(excess / (1 + a * ratio * worst)) - cost)


@dataclass(frozen=True, slots=True)
class CategoryBet:
    """Bets that categories (routes, languages, reasons) are mixed otherwise than in the reference.

    shares: of the reference, each above 0; whoever makes them gives a category never seen a small share, or pools
    it in "other". Their sum is 1. low, high: bounds of what is allowed for each category, low <= share <= high
    (default: the shares themselves). Two kinds of baselines, C the counts among n values:

    - "mix", Dirichlet-multinomial: a_j = concentration * share_j, l = log B(a + C) / B(a) - sum C_j log(high_j).
      It learns within a bucket only, so it needs large buckets or large changes.
    - "more x" and "less x" for each category: the bet of RateBet on its count, with high_j and low_j.

    Exact: E[exp(l) | past] <= 1 if every value falls into category j with a probability of at most high_j (mix,
    more), at least low_j (less), given n and the values before it. For mix: the probability of any sequence is then
    at most prod(high_j^C_j), and the mixture's probabilities of all sequences add up to 1.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    concentrations: tuple[float, ...] = (50.0, 500.0)
    odds_ratios: tuple[float, ...] = (1.25, 2.0, 4.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", self.low or self.shares)
        object.__setattr__(self, "high", self.high or self.shares)
        sizes = {len(self.names), len(self.shares), len(self.low), len(self.high)}
        if len(sizes) != 1 or len(self.names) < 2 or len(set(self.names)) < len(self.names):
            raise ValueError("expected at least two categories, each with one name, share and bounds")
        if not math.isclose(math.fsum(self.shares), 1, abs_tol=1e-9):
            raise ValueError("shares do not sum to 1")
        if not all(
            0 <= low <= share <= high <= 1 and share > 0
            for low, share, high in zip(self.low, self.shares, self.high, strict=True)
        ):
            raise ValueError("expected 0 <= low <= share <= high <= 1, and a share above 0, of each category")
        if not all(0 < x < math.inf for x in self.concentrations):
            raise ValueError("concentrations need to be above 0 and finite")
        if not all(1 < r < math.inf for r in self.odds_ratios):
            raise ValueError("odds_ratios need to be above 1 and finite")
        if not self.directions:
            raise ValueError("nothing to bet on")

    @property
    def directions(self) -> tuple[str, ...]:
        """Of each baseline: "mix", "more <name>" or "less <name>"."""
        tilts = (
            f"{kind} {name}" for kind in ("more", "less") for name in self.names for _ in self.odds_ratios
        )
        return ("mix",) * len(self.concentrations) + tuple(tilts)

    def increments(self, counts: tuple[int, ...], *, phi: float = 1.0) -> tuple[float, ...]:
        """l of each baseline for one closed bucket, zeros when it is empty; see increments_of."""
        return tuple(self.increments_of(counts, phi=phi).tolist())

    def increments_of(self, counts: ArrayLike, *, phi: ArrayLike = 1.0) -> FloatArray:
        """phi l for buckets given as counts of shape (..., categories), as an array of shape (..., K).

        phi: in (0, 1], see triageops.stats.bets_deflator. Accuracy: about 1e-15 n log(n).
        """
        array = np.asarray(counts, dtype=np.float64)
        if array.shape[-1:] != (len(self.names),) or not ((array >= 0) & (array < np.inf)).all():
            raise ValueError(f"expected {len(self.names)} counts, each 0 or more")
        n = array.sum(axis=-1)
        log_null = (array * np.log(self.high)).sum(axis=-1)
        mixes = [_log_mixture(array, n, a * np.array(self.shares)) - log_null for a in self.concentrations]
        ups = np.array(self.odds_ratios)
        more = _tilted(array, n, ups, np.array(self.high))
        less = _tilted(array, n, 1 / ups, np.array(self.low))
        mixed = np.stack(mixes, axis=-1) if mixes else np.empty((*n.shape, 0))
        return np.asarray(np.concatenate([mixed, more, less], axis=-1) * checked_phi(phi)[..., None])


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])


def _log_mixture(counts: FloatArray, n: FloatArray, a: FloatArray) -> FloatArray:
    total = float(a.sum())
    each = (_log_gamma(a + counts) - _log_gamma(a)).sum(axis=-1)
    return np.asarray(each - (_log_gamma(total + n) - math.lgamma(total)))


def _tilted(counts: FloatArray, n: FloatArray, ratios: FloatArray, bounds: FloatArray) -> FloatArray:
    """(..., categories * ratios): k log r - n log(1 + p (r - 1)), as in bets_rate."""
    gain = counts[..., :, None] * np.log(ratios)
    cost = n[..., None, None] * np.log1p(bounds[:, None] * (ratios - 1))
    return np.asarray((gain - cost).reshape(*n.shape, -1))
