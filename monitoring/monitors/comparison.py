"""A canary against another variant at the same time: what the control shows in the same bucket is the reference.

Of what was learnt from the control's history only the cells, the spread of scores and the wobble of buckets are used. There
is no error of a reference, and no season is needed: both sides have the same hour.

Promise: with independent records, E[exp(increment) | past] <= 1 exactly, at any n and m from 1 on, as long as the odds of a
record being the sample's are tilted along the score by no more than what moves the reference by the tolerance (the
proof is in triageops.stats.bets_pair). A share's odds ratio is always such a tilt; what is tolerated in it is translated with the
learnt share. Of a distribution, a change that is none is held approximately. Buckets that wobble by themselves, both sides of
their own, multiply the variance of the difference by

    1 / phi = (1 / (n w(n)) + 1 / (m w(m))) / (1 / n + 1 / m),   w(n) = Usual.worth: sigma^2 / n + tau^2, times inflation;

increments to the power of phi keep E <= 1 without wobble, and with it make the variance right, not the tails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from monitoring.monitors.deviation import Deviation, Deviations
from monitoring.monitors.drift import Sides
from monitoring.monitors.limits import (
    allowed_tilt,
    log_odds,
    score_limits,
    share_limits,
    tilts_beyond,
    usual_share,
)
from monitoring.monitors.reference import RateReference, ScoreReference, Tolerance
from monitoring.monitors.sample import Sample
from monitoring.monitors.usual import Usual
from triageops.stats.bets_cells import SCORES, Cells
from triageops.stats.bets_pair import pair_increments
from triageops.stats.histogram import Histogram
from triageops.stats.moments import Moments

FloatArray = NDArray[np.float64]

_SHARE_ODDS = (1.12, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_LEFT_OUT = {"both": (), "up": ("down", "bottom tail"), "down": ("up", "top tail")}


@dataclass(frozen=True)
class ScoreComparison:
    """Mean, spread and tails of a distribution."""

    is_of_records: ClassVar[bool] = True

    reference: ScoreReference
    sides: Sides = "both"
    tolerance: Tolerance = field(default_factory=Tolerance)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(SCORES[position] for position in self._score_of)

    def increments(self, sample: Sample) -> tuple[float, ...]:
        counts = _counts(self.reference.cells, sample)
        found = np.zeros(len(self.labels))
        bets = np.isfinite(self._allowed)
        if counts is None or not bets.any():
            return tuple(found.tolist())
        n, m = (int(side.sum()) for side in counts)
        phi = [_phi(usual, n, m) for usual in self.reference.usual]
        found[bets] = pair_increments(
            *counts,
            scores=self.reference.cells.scores()[self._score_of][bets],
            allowed=self._allowed[bets],
            tilts=(self._allowed + self._beyond)[bets],
            phi=np.array(phi)[self._score_of][bets],
        )
        return tuple(found.tolist())

    def expected(self, sample: Sample) -> float:
        """The control's mean; what was learnt where it has no records."""
        control = sample.against
        return control.moments.mean if control is not None and control.n else self.reference.mean

    def value(self, sample: Sample) -> float | None:
        return sample.moments.mean if sample.n else None

    def band(self, sample: Sample) -> tuple[float, float]:
        """The control's mean and what its distance may be; not what chance adds to that in a small bucket."""
        tolerated, usual = self.tolerance.shift * self.reference.sd, self.expected(sample)
        return usual - tolerated, usual + tolerated

    @cached_property
    def _bets(self) -> list[tuple[int, float, float]]:
        """Of each bet: which score, the tilt that is allowed, and how much is bet on beyond it."""
        cells, found = self.reference.cells, []
        for position, margin in enumerate(score_limits(cells, self.tolerance)):
            if SCORES[position] in _LEFT_OUT[self.sides]:
                continue
            scores = cells.scores()[position]
            allowed = allowed_tilt(cells, scores, margin)
            found += [(position, allowed, beyond) for beyond in tilts_beyond(SCORES[position], cells, scores)]
        return found

    @cached_property
    def _score_of(self) -> list[int]:
        return [position for position, _, _ in self._bets]

    @cached_property
    def _allowed(self) -> FloatArray:
        return np.array([allowed for _, allowed, _ in self._bets])

    @cached_property
    def _beyond(self) -> FloatArray:
        return np.array([beyond for _, _, beyond in self._bets])


def score_differences(
    reference: ScoreReference, sides: Sides, sample: Sample, tolerance: Tolerance | None = None
) -> Deviations:
    """Of the mean score of every side in SCORES; empty when either side is."""
    cells = reference.cells
    counts = _counts(cells, sample)
    if counts is None:
        return ()
    (mine, n), (theirs, m) = ((side / side.sum(), int(side.sum())) for side in counts)
    limits = score_limits(cells, tolerance or Tolerance())
    found = []
    for position, (name, scores) in enumerate(zip(SCORES, cells.scores(), strict=True)):
        if name in _LEFT_OUT[sides]:
            continue
        mean, other = float(mine @ scores), float(theirs @ scores)
        # Both sides' spread, because the smaller one may show none by chance.
        pooled = (counts[0] + counts[1]) / (n + m)
        spread = max(0.0, float(pooled @ scores**2) - float(pooled @ scores) ** 2)
        excess = Moments(n, mean - other, n * spread)
        found.append(Deviation(excess, limits[position], _worth(reference.usual[position], n, m)))
    return tuple(found)


@dataclass(frozen=True)
class ShareComparison:
    """A share of successes."""

    is_of_records: ClassVar[bool] = True

    reference: RateReference
    sides: Sides = "both"
    tolerance: Tolerance = field(default_factory=Tolerance)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for label, _, _ in self._bets)

    def increments(self, sample: Sample) -> tuple[float, ...]:
        counts = _successes(sample)
        if counts is None:
            return (0.0,) * len(self.labels)
        (k, n), (other, m) = counts
        low, high = share_limits(self.reference, sample.at, self.tolerance)
        usual = usual_share(self.reference, sample.at)
        allowed = {"up": log_odds(high) - log_odds(usual), "down": log_odds(usual) - log_odds(low)}
        found = np.zeros(len(self.labels))
        bets = np.array([math.isfinite(allowed[label]) for label in self.labels])
        if not bets.any():
            return tuple(found.tolist())
        sign = np.array([sign for _, sign, _ in self._bets])[bets]
        tilts = np.array([allowed[label] for label in self.labels])[bets]
        found[bets] = pair_increments(
            [n - k, k],
            [m - other, other],
            scores=sign[:, None] * np.array([0.0, 1.0]),
            allowed=tilts,
            tilts=tilts + np.array([beyond for _, _, beyond in self._bets])[bets],
            phi=_phi(self.reference.usual, n, m),
        )
        return tuple(found.tolist())

    def expected(self, sample: Sample) -> float:
        """The control's share; what was learnt where it has no records."""
        control = sample.against
        return control.successes / control.n if control is not None and control.n else self.reference.mean

    def value(self, sample: Sample) -> float | None:
        return sample.successes / sample.n if sample.n else None

    def band(self, sample: Sample) -> tuple[float, float]:
        """The control's share and what its distance may be; not what chance adds to that in a small bucket."""
        low, high = share_limits(self.reference, sample.at, self.tolerance)
        usual, control = usual_share(self.reference, sample.at), self.expected(sample)
        return max(0.0, control - (usual - low)), min(1.0, control + (high - usual))

    @cached_property
    def _bets(self) -> list[tuple[str, float, float]]:
        signs = [(side, sign) for side, sign in (("up", 1.0), ("down", -1.0)) if self.sides in {side, "both"}]
        return [(side, sign, math.log(odds)) for side, sign in signs for odds in _SHARE_ODDS]


def share_differences(
    reference: RateReference, sides: Sides, sample: Sample, tolerance: Tolerance | None = None
) -> Deviations:
    """Empty when either side is."""
    counts = _successes(sample)
    if counts is None:
        return ()
    (k, n), (other, m) = counts
    low, high = share_limits(reference, sample.at, tolerance or Tolerance())
    usual = usual_share(reference, sample.at)
    pooled, worth = (k + other) / (n + m), _worth(reference.usual, n, m)
    spread, difference = n * pooled * (1 - pooled), k / n - other / m
    up = Deviation(Moments(n, difference, spread), high - usual, worth)
    down = Deviation(Moments(n, -difference, spread), usual - low, worth)
    return {"up": (up,), "down": (down,), "both": (up, down)}[sides]


def _counts(cells: Cells, sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Of the sample and of its control; None when either has no values in these bins."""
    if sample.against is None:
        return None
    name = cells.scheme.name
    mine, theirs = (
        cells.counts(Histogram(cells.scheme, side.histogram.get(name, {})))
        for side in (sample, sample.against)
    )
    return (mine, theirs) if mine.any() and theirs.any() else None


def _successes(sample: Sample) -> tuple[tuple[int, int], tuple[int, int]] | None:
    control = sample.against
    if control is None or not sample.n or not control.n:
        return None
    return (sample.successes, sample.n), (control.successes, control.n)


def _worth(usual: Usual, n: int, m: int) -> float:
    """How many independent records the difference of n and m of them is worth."""
    return 1 / (1 / (n * usual.worth(n)) + 1 / (m * usual.worth(m)))


def _phi(usual: Usual, n: int, m: int) -> float:
    return min(1.0, _worth(usual, n, m) * (1 / n + 1 / m))
