"""Increments for a bucket's mean, whatever its size: a normal bet with variance components.

A bucket's mean has the variance v = (sigma^2 / n + tau^2) f: sigma between values, tau between buckets (ordinary
days differ: without tau, a bucket of a million values finds something every day), f for autocorrelation
(variance.components, dependence.inflated_by_lag). In units of sigma, with d = (mean - expected) / sigma and the
margin c:

    l = (sigma^2 / v) (lambda (+-d - c) - lambda^2 / 2).

Exact: E[exp(l) | past] <= 1 if the mean is normal (or has no heavier tails: sub-Gaussian with variance proxy v)
with an expectation within c sigma of the expected one: E[exp(t (d - E d))] <= exp(t^2 v / (2 sigma^2)) at t =
lambda sigma^2 / v. Means of few skewed values, and tau and sigma from a short reference, make it approximate;
triageops.stats.bets_score needs neither. Buckets do not merge when tau > 0: a bucket is one draw of tau.
Prewhitening instead of f: with z = (mean - expected) / sqrt(v) and e = dependence.prewhitened(last z, z, rho), e
sqrt(v) takes the place of the mean, 0 of the expected one, and f is 1. A lasting shift of s is one of s sqrt((1 -
rho) / (1 + rho)) in e after its first bucket: less, for rho > 0, so the margin still forgives at least c; for rho <
0 it does not. The tests' reference values: scipy.stats.norm, scipy.integrate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Sides = Literal["up", "down", "both"]


@dataclass(frozen=True, slots=True)
class MeanBet:
    """Bets that a mean is more than margin standard deviations above or below what is expected of the bucket.

    sd: sigma, of single values, the unit of margin and lambdas. lambdas: shifts bet on, beyond the margin.
    """

    sd: float
    margin: float = 0.0
    sides: Sides = "both"
    lambdas: tuple[float, ...] = (0.1, 0.15, 0.24, 0.36, 0.55, 0.85, 1.3, 2.0)

    def __post_init__(self) -> None:
        if self.sides not in ("up", "down", "both"):
            raise ValueError(f"sides is {self.sides!r}, not 'up', 'down' or 'both'")
        if not 0 < self.sd < math.inf or not 0 <= self.margin < math.inf:
            raise ValueError(f"sd {self.sd} or margin {self.margin} negative, or not finite")
        if not self.lambdas or not all(0 < x < math.inf for x in self.lambdas):
            raise ValueError("lambdas need to be above 0 and finite")

    @property
    def _signs(self) -> tuple[int, ...]:
        return {"up": (1,), "down": (-1,), "both": (1, -1)}[self.sides]

    @property
    def directions(self) -> tuple[str, ...]:
        """Of each baseline: "up" or "down"."""
        return tuple("up" if sign > 0 else "down" for sign in self._signs for _ in self.lambdas)

    def increments(self, mean: float, *, expected: float, variance: float) -> tuple[float, ...]:
        """l of each baseline for one closed bucket, zeros for infinite variance; see increments_of."""
        return tuple(self.increments_of(mean, expected, variance).tolist())

    def increments_of(self, mean: ArrayLike, expected: ArrayLike, variance: ArrayLike) -> FloatArray:
        """l for buckets given as arrays of one shape (...), as an array of shape (..., K).

        mean: of the bucket's values, anything finite when it is empty. expected: of this bucket (of its slot).
        variance: v > 0, of the mean, in squared units; infinity for an empty bucket. Anything else is a ValueError.
        Accuracy: about 1e-14 relative to its terms.
        """
        centre, level, v = (np.asarray(a, dtype=np.float64) for a in (mean, expected, variance))
        if not (np.isfinite(centre) & np.isfinite(level) & (v > 0)).all():
            raise ValueError("a mean that is not finite, or a variance that is not above 0")
        distance = (centre - level) / self.sd
        precision = np.square(self.sd / np.sqrt(v))
        signs = np.repeat(np.array(self._signs, dtype=np.float64), len(self.lambdas))
        bets = np.tile(np.array(self.lambdas), len(self._signs))
        edge = signs * distance[..., None] - self.margin - bets / 2
        return np.asarray(precision[..., None] * bets * edge)
