"""The product's detectors on many streams at once. tests/monitoring/test_drift_benchmark.py holds it against replay()."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drifting.streams import LENGTH, Stream
from monitoring.monitors.drift import DistributionDrift, RateDrift, sides_of
from monitoring.monitors.reference import Usual
from monitoring.monitors.replay import ANOMALY_SHARE
from monitoring.monitors.single import Side, most_surprising, surprise_of_share
from triageops.stats.bets_cells import SCORES
from triageops.stats.bets_score import ScoreBet
from triageops.stats.change import BoundedMean, advance

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """Streams as detectors see them. increments: (R, T, K). alone: (R, T), how much each bucket speaks by itself."""

    increments: FloatArray
    alone: FloatArray

    @classmethod
    def together(cls, several: Sequence[Judged]) -> Judged:
        return cls(
            np.concatenate([one.increments for one in several]),
            np.concatenate([one.alone for one in several]),
        )

    @classmethod
    def of_bets(cls, increments: FloatArray) -> Judged:
        """Of (T, K), with a bucket's mean e-value for what it says by itself."""
        alone = np.logaddexp.reduce(increments, axis=1) - math.log(increments.shape[1])
        return cls(increments[None], alone[None])


def judged(detector: DistributionDrift | RateDrift, stream: Stream) -> Judged:
    """Of one stream."""
    if isinstance(detector, RateDrift):
        alone = _rate_singles(detector, stream)
    else:
        alone = _score_singles(detector, stream)
    return Judged(increments(detector, stream)[None], alone[None])


def increments(detector: DistributionDrift | RateDrift, stream: Stream) -> FloatArray:
    """(T, K): what detector.increments gives for each bucket; of a distribution, for detectors that look at both sides."""
    if isinstance(detector, RateDrift):
        return _rate_increments(detector, stream)
    return _score_increments(detector, stream)


def _worth(usual: Usual, n: IntArray) -> FloatArray:
    sizes, index = np.unique(n, return_inverse=True)
    return np.array([usual.worth(one) for one in sizes.tolist()])[index]


def _score_increments(detector: DistributionDrift, stream: Stream) -> FloatArray:
    if detector.sides != "both":
        raise ValueError("both sides only")
    reference = detector.reference
    bet = ScoreBet(reference.cells)
    cell = np.searchsorted(reference.cells.last_bins, stream.family.bins, side="left")
    belongs = cell[:, None] == np.arange(len(reference.cells.shares))
    counts = stream.counts @ belongs.astype(np.int64)
    slots = reference.when.slots(stream.starts.tolist())
    score_of = [SCORES.index(label) for label in bet.directions]
    found = np.empty((slots.size, len(score_of)))
    for slot in np.unique(slots).tolist():
        rows = slots == slot
        found[rows] = bet.increments_of(counts[rows], offsets=reference.allowed[slot])
    n = counts.sum(axis=1)
    return found * np.stack([_worth(one, n) for one in reference.usual], axis=1)[:, score_of]


def _score_singles(detector: DistributionDrift, stream: Stream) -> FloatArray:
    """(T,): what detector.single gives; 0 for buckets within 1.5 standard deviations, which are never beyond the reference's."""
    reference, spread = detector.reference, detector.reference.spread
    assert spread is not None
    middles = np.array([stream.family.scheme.middle(number) for number in stream.family.bins])
    n = stream.counts.sum(axis=1)
    mean = stream.counts @ middles / np.maximum(n, 1)
    slots = reference.when.slots(stream.starts.tolist())
    distance = mean - np.array(reference.means)[slots]
    found = np.zeros(n.size)
    is_off = (n > 0) & (distance**2 > 2.25 * (spread.within / np.maximum(n, 1) + spread.between))
    for check in np.flatnonzero(is_off).tolist():
        off, size, slot = float(distance[check]), int(n[check]), int(slots[check])
        each: dict[Side, float] = {side: spread.surprise(off, size, slot, side) for side in sides_of("both")}
        found[check] = most_surprising(each, reference.extremes)[0]
    return found


def _rate_singles(detector: RateDrift, stream: Stream) -> FloatArray:
    reference, icc = detector.reference, detector.reference.most_icc
    slots = reference.when.slots(stream.starts.tolist()).tolist()
    sizes, successes = stream.counts.sum(axis=1).tolist(), stream.counts[:, -1].tolist()
    found = np.zeros(len(slots))
    for check, (n, k, slot) in enumerate(zip(sizes, successes, slots, strict=True)):
        low, high = reference.bounds[slot]
        bound: dict[Side, float] = {"down": low, "up": high}
        each = {side: surprise_of_share(k, n, bound[side], icc, side) for side in sides_of(detector.sides)}
        found[check] = most_surprising(each, reference.extremes)[0] if n else 0.0
    return found


def _rate_increments(detector: RateDrift, stream: Stream) -> FloatArray:
    reference = detector.reference
    n, k = stream.counts.sum(axis=1), stream.counts[:, -1]
    slots = reference.when.slots(stream.starts.tolist())
    phi = _worth(reference.usual, n)
    found = np.zeros((n.size, len(detector.labels)))
    for slot in np.unique(slots).tolist():
        rows, first = slots == slot, 0
        for side, odds in detector.bets.items():
            bet = detector.bet(side, slot)
            if bet is not None:
                found[rows, first : first + len(odds)] = bet.increments_of(k[rows], n[rows], phi=phi[rows])
            first += len(odds)
    return found


@dataclass(frozen=True)
class Bounded:
    """BoundedMean on both sides of a mean that is known, of values cut to [low, high]."""

    low: float
    high: float

    def increments(self, stream: Stream) -> FloatArray:
        """(T, K)."""
        family = stream.family
        middles = np.array([family.scheme.middle(number) for number in family.bins])
        values = middles.clip(self.low, self.high)
        level = float(family.shares(np.zeros(1))[0] @ values)
        n = stream.counts.sum(axis=1)
        mean = stream.counts @ values / np.maximum(n, 1)
        squares = (stream.counts * (values - mean[:, None]) ** 2).sum(axis=1)
        both = (BoundedMean(level, self.low, self.high, worse) for worse in ("lower", "higher"))
        return np.concatenate([one.increments_of(n, mean, squares) for one in both], axis=1)


@dataclass(frozen=True)
class Watched:
    """(R, T): evidence and alarms of R streams. log_evidence: after each bucket, before an alarm resets it."""

    log_evidence: FloatArray
    is_alarm: BoolArray


def watched(
    streams: Judged,
    *,
    budget_per_check: float,
    anomaly_share: float = ANOMALY_SHARE,
    seconds: float = LENGTH,
) -> Watched:
    """What replay() does. is_alarm: of both sorts, evidence and single buckets."""
    many = streams.increments
    runs, count, bets = many.shape
    budget = budget_per_check / seconds
    accrual = math.log(budget * (1 - anomaly_share)) + math.log(seconds)
    single = math.log(budget * anomaly_share * seconds) if anomaly_share else -math.inf
    log_m, log_g = np.full((runs, bets), -math.inf), np.zeros((runs, bets))
    evidence, found = np.empty((runs, count)), np.zeros((runs, count), dtype=bool)
    share, row = math.log(1 / bets), np.arange(runs)
    alone = streams.alone + single >= 0
    for check in range(count):
        now = many[:, check]
        log_m = advance(log_m, now, accrual)
        log_g = np.maximum(0.0, log_g + now)
        total = np.logaddexp.reduce(log_m + share, axis=1)
        is_alarm = (total >= 0) & (log_g[row, log_m.argmax(axis=1)] != 0)
        log_m[is_alarm], log_g[is_alarm] = -math.inf, 0.0
        evidence[:, check] = total
        found[:, check] = is_alarm | alone[:, check]
    return Watched(evidence, found)


def delays(is_alarm: BoolArray) -> FloatArray:
    """(R,): checks up to and with the first alarm; NaN without any."""
    return np.where(is_alarm.any(axis=1), is_alarm.argmax(axis=1) + 1.0, np.nan)
