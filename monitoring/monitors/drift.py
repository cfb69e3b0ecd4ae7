"""Has it changed from its reference? Detectors that bet on closed buckets, one for each kind of reference.

Each gives the log-e-increments of a bucket (triageops.stats.bets_*), to the power of what the bucket is worth: buckets of
many records wobble by more than their sizes explain, and neighbours are alike. `labels` says what each bet is about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from monitoring.monitors.reference import RateReference, ScoreReference, VolumeReference
from monitoring.monitors.sample import Sample
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

    def value(self, sample: Sample) -> float | None:
        """What the bucket shows, in the same unit; None when it is empty."""


@dataclass(frozen=True)
class DistributionDrift:
    """Mean, spread and tails at once. scores: what to bet on; empty for all."""

    is_of_records: ClassVar[bool] = True

    reference: ScoreReference
    sides: Sides = "both"

    @property
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

    def expected(self, sample: Sample) -> float:
        return self.reference.mean

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
        ups = self.sides != "down"
        downs = self.sides != "up"
        return ("up",) * (len(_ODDS) * ups) + ("down",) * (len(_ODDS) * downs)

    def increments(self, sample: Sample) -> tuple[float, ...]:
        if not sample.n:
            return (0.0,) * len(self.labels)
        slot = self.reference.when.slot(sample.at)
        low, high = self.reference.bounds[slot]
        k, phi = sample.successes, self.reference.usual.worth(sample.n)
        found: list[float] = []
        for side in ("up", "down"):
            if self.sides not in {side, "both"}:
                continue
            bet = _rate_bet(low, high, side)
            found += (0.0,) * len(_ODDS) if bet is None else bet.increments(k, sample.n, phi=phi)
        return tuple(found)

    def expected(self, sample: Sample) -> float:
        return self.reference.usual.mean[self.reference.when.slot(sample.at)]

    def value(self, sample: Sample) -> float | None:
        return sample.successes / sample.n if sample.n else None


_ODDS = (1.12, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)


def _rate_bet(low: float, high: float, side: str) -> RateBet | None:
    """None where nothing can be bet on: a share of 0 or 1 is still allowed on that side."""
    if side == "up":
        return RateBet(min(low, high), high, "up", _ODDS) if 0 < high < 1 else None
    return RateBet(low, max(low, high), "down", _ODDS) if 0 < low < 1 else None


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

    def expected(self, sample: Sample) -> float:
        return self.reference.expected[self.reference.when.slot(sample.at)]

    def value(self, sample: Sample) -> float | None:
        return float(sample.n)


def anomaly(increments: Sequence[float]) -> tuple[float, int]:
    """How much this bucket alone speaks: the logarithm of the mean of its e-values, and the bet that gives most of it."""
    values = np.array(increments, dtype=np.float64)
    return float(np.logaddexp.reduce(values) - math.log(values.size)), int(values.argmax())
