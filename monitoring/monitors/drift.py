"""Has it changed from its reference? Detectors that bet on closed buckets, one for each kind of reference.

Each gives the log-e-increments of a bucket (triageops.stats.bets_*), to the power of what the bucket is worth: buckets of
many records wobble by more than their sizes explain, and neighbours are alike. `labels` says what each bet is about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from monitoring.monitors.reference import RateReference, ScoreReference, VolumeReference
from monitoring.monitors.sample import Sample
from monitoring.monitors.single import Side, most_surprising, surprise_of_count, surprise_of_share
from triageops.stats.bets_cells import SCORES
from triageops.stats.bets_count import VolumeBet
from triageops.stats.bets_rate import RateBet
from triageops.stats.bets_score import ScoreBet
from triageops.stats.histogram import Histogram

FloatArray = NDArray[np.float64]
Sides = Literal["up", "down", "both"]


class Detector(Protocol):
    """What takes buckets and says how much they speak against “nothing has changed”."""

    is_of_records: ClassVar[bool]
    """Whether values are of records, so that larger buckets say more about the mean; no: of whole buckets."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Of each bet: what an alarm of it says."""

    def increments(self, sample: Sample) -> tuple[float, ...]:
        """The logarithm of an e-value for each bet; zeros for a bucket that says nothing."""

    def expected(self, sample: Sample) -> float:
        """What is usual in this bucket, in the metric's own unit."""

    def band(self, sample: Sample) -> tuple[float, float] | None:
        """Lowest and highest value of this bucket that is no drift, chance aside; None without one."""

    def value(self, sample: Sample) -> float | None:
        """What the bucket shows, in the same unit; None when it is empty."""


@runtime_checkable
class JudgesAlone(Protocol):
    """A detector that knows how unlikely one bucket is by itself (monitoring.monitors.single)."""

    def single(self, sample: Sample) -> tuple[float, str] | None:
        """-log of the bucket's probability, 0 or more, and what is said of it; None where nothing was learnt about that."""


@dataclass(frozen=True)
class DistributionDrift:
    """Mean, spread and tails at once. scores: what to bet on; empty for all."""

    is_of_records: ClassVar[bool] = True

    reference: ScoreReference
    sides: Sides = "both"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return self._bet.directions

    @cached_property
    def _bet(self) -> ScoreBet:
        bet = ScoreBet(self.reference.cells)
        if self.sides == "both":
            return bet
        left_out = {"up": {"down", "bottom tail"}, "down": {"up", "top tail"}}[self.sides]
        kept = tuple(
            () if label in left_out else bets for label, bets in zip(SCORES, bet.lambdas, strict=True)
        )
        return ScoreBet(self.reference.cells, lambdas=kept)

    @cached_property
    def _score_of(self) -> list[int]:
        return [SCORES.index(label) for label in self.labels]

    def increments(self, sample: Sample) -> tuple[float, ...]:
        reference = self.reference
        counts = sample.histogram.get(reference.cells.scheme.name, {})
        n = sum(counts.values())
        if not n:
            return (0.0,) * len(self.labels)
        offsets = reference.allowed[reference.when.slot(sample.at)]
        found = self._bet.increments(Histogram(reference.cells.scheme, counts), offsets=offsets)
        worth = [one.worth(n) for one in reference.usual]
        return tuple(worth[j] * x for j, x in zip(self._score_of, found, strict=True))

    def single(self, sample: Sample) -> tuple[float, str] | None:
        """By the mean of the values themselves: scores are cut, so that nothing could be far off in them."""
        reference = self.reference
        if reference.spread is None or not reference.spread.varies or not sample.n:
            return None
        slot, n = reference.when.slot(sample.at), sample.n
        distance = sample.moments.mean - reference.usual_mean(slot)
        found = {side: reference.spread.surprise(distance, n, slot, side) for side in sides_of(self.sides)}
        return most_surprising(found, reference.extremes)

    def expected(self, sample: Sample) -> float:
        return self.reference.usual_mean(self.reference.when.slot(sample.at))

    def band(self, sample: Sample) -> tuple[float, float]:
        """Means that are no drift; what chance adds to that in a small bucket is not in it."""
        slot = self.reference.when.slot(sample.at)
        usual, (down, up) = self.reference.usual_mean(slot), self.reference.tolerated(slot)
        return usual - down, usual + up

    def value(self, sample: Sample) -> float | None:
        return sample.moments.mean if sample.n else None


@dataclass(frozen=True)
class RateDrift:
    """A share of successes."""

    is_of_records: ClassVar[bool] = True

    reference: RateReference
    sides: Sides = "both"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(side for side, odds in self.bets.items() for _ in odds)

    @cached_property
    def bets(self) -> dict[str, tuple[float, ...]]:
        """Side, "up" or "down" -> the odds ratios that are bet on."""
        is_small = self.reference.mean <= 0.5
        odds = {"up": _FAR if is_small else _NEAR, "down": _NEAR if is_small else _FAR}
        return {side: ratios for side, ratios in odds.items() if self.sides in {side, "both"}}

    def bet(self, side: str, slot: int) -> RateBet | None:
        """None where nothing can be bet on: a share of 0 or 1 is still allowed on that side."""
        low, high = self.reference.bounds[slot]
        if side == "up":
            return RateBet(min(low, high), high, "up", self.bets[side]) if 0 < high < 1 else None
        return RateBet(low, max(low, high), "down", self.bets[side]) if 0 < low < 1 else None

    def increments(self, sample: Sample) -> tuple[float, ...]:
        if not sample.n:
            return (0.0,) * len(self.labels)
        slot = self.reference.when.slot(sample.at)
        k, phi = sample.successes, self.reference.usual.worth(sample.n)
        found: list[float] = []
        for side, odds in self.bets.items():
            bet = self.bet(side, slot)
            found += (0.0,) * len(odds) if bet is None else bet.increments(k, sample.n, phi=phi)
        return tuple(found)

    def single(self, sample: Sample) -> tuple[float, str] | None:
        reference = self.reference
        if not reference.extremes.count or not sample.n:
            return None
        low, high = reference.bounds[reference.when.slot(sample.at)]
        bound: dict[Side, float] = {"down": low, "up": high}
        k, n, icc = sample.successes, sample.n, reference.most_icc
        found = {side: surprise_of_share(k, n, bound[side], icc, side) for side in sides_of(self.sides)}
        return most_surprising(found, reference.extremes)

    def expected(self, sample: Sample) -> float:
        return self.reference.usual.mean[self.reference.when.slot(sample.at)]

    def band(self, sample: Sample) -> tuple[float, float]:
        """Shares that are no drift; what chance adds to that in a small bucket is not in it."""
        return self.reference.bounds[self.reference.when.slot(sample.at)]

    def value(self, sample: Sample) -> float | None:
        return sample.successes / sample.n if sample.n else None


_FAR, _NEAR = (1.1, 1.2, 1.35, 1.5, 1.7, 2.1, 3.0, 7.0), (1.12, 1.35, 2.0, 6.0)
"""Odds ratios away from the nearer end of [0, 1], where there is room, and towards it, where bets on a fifth of the odds and on a
tenth are nearly the same: all have equal weights, so fewer there leave more for the others. The smallest ones are for large buckets.
By simulation of shares of 0.02 to 0.9 in buckets of 20 and 1000."""


@dataclass(frozen=True)
class VolumeDrift:
    """How much arrives. An empty bucket is evidence here, so every bucket has to be shown."""

    is_of_records: ClassVar[bool] = False

    reference: VolumeReference
    sides: Sides = "both"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return VolumeBet(dispersion=self.reference.dispersion, sides=self.sides).directions

    def increments(self, sample: Sample) -> tuple[float, ...]:
        reference = self.reference
        slot = reference.when.slot(sample.at)
        bet = VolumeBet(reference.margins[slot], reference.dispersion, self.sides)
        found = bet.increments(sample.n, expected=reference.expected[slot])
        return tuple(x / reference.inflation for x in found)

    def single(self, sample: Sample) -> tuple[float, str] | None:
        reference = self.reference
        if not reference.extremes.count:
            return None
        low, high = self.band(sample)
        bound: dict[Side, float] = {"down": low, "up": high}
        found = {
            side: surprise_of_count(sample.n, bound[side], reference.most_dispersion, side)
            for side in sides_of(self.sides)
        }
        return most_surprising(found, reference.extremes)

    def expected(self, sample: Sample) -> float:
        return self.reference.expected[self.reference.when.slot(sample.at)]

    def band(self, sample: Sample) -> tuple[float, float]:
        """Numbers in a bucket that are no drift; what chance adds to that is not in it."""
        slot = self.reference.when.slot(sample.at)
        usual, margin = self.reference.expected[slot], self.reference.margins[slot]
        return usual * (1 - margin), usual * (1 + margin)

    def value(self, sample: Sample) -> float | None:
        return float(sample.n)


def sides_of(sides: Sides) -> tuple[Side, ...]:
    return ("down", "up") if sides == "both" else (sides,)


def alone(detector: Detector, sample: Sample, increments: Sequence[float]) -> tuple[float, str]:
    """How much this bucket speaks by itself, and what of; by its own probability if the detector knows that, else by its bets."""
    found = detector.single(sample) if isinstance(detector, JudgesAlone) else None
    if found is not None:
        return found
    log_e, bet = anomaly(increments)
    return log_e, detector.labels[bet]


def anomaly(increments: Sequence[float]) -> tuple[float, int]:
    """How much this bucket alone speaks: the logarithm of the mean of its e-values, and the bet that gives most of it."""
    values = np.array(increments, dtype=np.float64)
    return float(np.logaddexp.reduce(values) - math.log(values.size)), int(values.argmax())
