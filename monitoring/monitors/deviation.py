"""How far a bucket is from what is usual, on every side that a detector looks at: what says whether it is over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from monitoring.monitors.drift import Sides
from monitoring.monitors.reference import RateReference, ScoreReference, VolumeReference
from monitoring.monitors.sample import Sample
from triageops.stats.bets_cells import SCORES
from triageops.stats.histogram import Histogram
from triageops.stats.moments import Moments

_Z = NormalDist().inv_cdf(0.975)
_Z_OF_SEVERAL = NormalDist().inv_cdf(0.95)
_FOR_SURE = 3.0
"""Standard errors: several sides are looked at in every bucket, and one that is off begins the way back anew."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One side. excess: moments of value - usual, where more is worse; margin: how much of it is nobody's concern.

    worth: how many independent records these count for; margin is the mean over records. Both merge exactly enough to
    read, not to bet on. is_strict: healthy values lie on the good side, so noise is no excuse; otherwise they lie at 0, and a
    small sample is off half of the time. spread: of whole buckets, the variance of one of them as it was learnt: what one or
    two of them show of it is chance.
    """

    excess: Moments
    margin: float
    worth: float
    is_strict: bool = False
    spread: float = 0.0

    def __add__(self, other: Deviation) -> Deviation:
        n = self.excess.n + other.excess.n
        if n == 0:
            return self
        margin = (self.margin * self.excess.n + other.margin * other.excess.n) / n
        spread = (self.spread * self.excess.n + other.spread * other.excess.n) / n
        return Deviation(self.excess + other.excess, margin, self.worth + other.worth, self.is_strict, spread)

    @property
    def error(self) -> float:
        """Standard error of the mean excess; infinite for less than two records."""
        if self.worth <= 0 or (self.excess.n < 2 and not self.spread):
            return math.inf
        shown = self.excess.m2 / (self.excess.n - 1) if self.excess.n > 1 else 0.0
        return math.sqrt(max(shown, self.spread) / self.worth)

    @property
    def is_in_band(self) -> bool:
        """Not off by more than half of what is tolerated; what lies above neither fires nor recovers.

        Few records get the benefit of the doubt, but not where nothing is known of their error, and no whole buckets.
        """
        has_slack = not (self.is_strict or self.spread) and math.isfinite(self.error)
        return self.excess.mean <= max(self.margin / 2, self.error if has_slack else 0.0)

    @property
    def is_off(self) -> bool:
        """Off for sure; what is neither in band nor off is not known yet."""
        if self.is_strict:
            return not self.is_in_band
        return self.excess.mean - _FOR_SURE * self.error > self.margin

    @property
    def is_settled(self) -> bool:
        """The 95 % interval of the mean is within what is tolerated; one-sided where several sides have to be."""
        return self.excess.mean + (_Z if self.is_strict else _Z_OF_SEVERAL) * self.error <= self.margin

    def as_json(self) -> list[float]:
        moments = self.excess
        return [moments.n, moments.mean, moments.m2, self.margin, self.worth, self.is_strict, self.spread]

    @classmethod
    def from_json(cls, state: Sequence[Any]) -> Self:
        n, mean, m2, margin, worth, is_strict, *rest = state
        return cls(Moments(int(n), mean, m2), margin, worth, bool(is_strict), *rest)


Deviations = tuple[Deviation, ...]


def merged(parts: Iterable[Deviations]) -> Deviations:
    """Side by side; empty for no parts."""
    found: Deviations = ()
    for part in parts:
        found = tuple(a + b for a, b in zip(found, part, strict=True)) if found else part
    return found


def of_scores(reference: ScoreReference, sides: Sides, sample: Sample) -> Deviations:
    """Of the mean score of every side in SCORES."""
    left_out = {"both": (), "up": ("down", "bottom tail"), "down": ("up", "top tail")}[sides]
    counts = sample.histogram.get(reference.cells.scheme.name, {})
    n = sum(counts.values())
    if not n:
        return ()
    shares = reference.cells.counts(Histogram(reference.cells.scheme, counts)) / n
    slot = reference.when.slot(sample.at)
    found = []
    for position, (name, scores) in enumerate(zip(SCORES, reference.cells.scores(), strict=True)):
        if name in left_out:
            continue
        usual = reference.usual[position]
        mean = float(shares @ scores)
        # Of the reference: a small sample that holds none of a tail would be sure of it.
        variance = float(np.array(reference.cells.shares) @ scores**2)
        excess = Moments(n, mean - usual.mean[slot], n * variance)
        found.append(
            Deviation(excess, reference.allowed[slot][position] - usual.mean[slot], n * usual.worth(n))
        )
    return tuple(found)


def of_share(reference: RateReference, sides: Sides, sample: Sample) -> Deviations:
    if not sample.n:
        return ()
    slot = reference.when.slot(sample.at)
    usual, (low, high) = reference.usual.mean[slot], reference.bounds[slot]
    share = sample.successes / sample.n
    worth = sample.n * reference.usual.worth(sample.n)
    # Few records without a success do not prove that there will be none.
    spread = sample.n * max(share * (1 - share), usual * (1 - usual))
    up = Deviation(Moments(sample.n, share - usual, spread), max(0.0, high - usual), worth)
    down = Deviation(Moments(sample.n, usual - share, spread), max(0.0, usual - low), worth)
    return {"up": (up,), "down": (down,), "both": (up, down)}[sides]


def of_volume(reference: VolumeReference, sides: Sides, sample: Sample) -> Deviations:
    """Relative; a bucket counts once, however many came, and an empty one is as far down as possible."""
    slot = reference.when.slot(sample.at)
    expected, margin = max(reference.expected[slot], 1e-9), reference.margins[slot]
    ratio = sample.n / expected - 1
    worth, spread = 1 / reference.inflation, 1 / expected + reference.dispersion
    up = Deviation(Moments(1, ratio, 0.0), margin, worth, spread=spread)
    down = Deviation(Moments(1, -ratio, 0.0), margin, worth, spread=spread)
    return {"up": (up,), "down": (down,), "both": (up, down)}[sides]


def of_level(level: float, margin: float, worse: str, sample: Sample) -> Deviations:
    """Of a fixed level; nothing is estimated, and nothing is known of what ties records together."""
    moments = sample.moments
    if not moments.n:
        return ()
    excess = level - moments.mean if worse == "lower" else moments.mean - level
    return (Deviation(Moments(moments.n, excess, moments.m2), margin, float(moments.n), is_strict=True),)
