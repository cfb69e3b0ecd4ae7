"""The product's detectors on many streams at once. tests/monitoring/test_drift_benchmark.py holds it against replay()."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drifting.streams import LENGTH, Stream
from monitoring.monitors.drift import DistributionDrift, RateDrift
from monitoring.monitors.reference import Usual
from monitoring.monitors.replay import ANOMALY_SHARE
from triageops.stats.bets_cells import SCORES
from triageops.stats.bets_score import ScoreBet
from triageops.stats.change import BoundedMean, advance

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


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
    many: FloatArray,
    *,
    budget_per_check: float,
    anomaly_share: float = ANOMALY_SHARE,
    seconds: float = LENGTH,
) -> Watched:
    """What replay() does. many: (R, T, K) increments. is_alarm: of both sorts, evidence and single buckets."""
    runs, count, bets = many.shape
    budget = budget_per_check / seconds
    accrual = math.log(budget * (1 - anomaly_share)) + math.log(seconds)
    single = math.log(budget * anomaly_share * seconds) if anomaly_share else -math.inf
    log_m, log_g = np.full((runs, bets), -math.inf), np.zeros((runs, bets))
    evidence, found = np.empty((runs, count)), np.zeros((runs, count), dtype=bool)
    share, row = math.log(1 / bets), np.arange(runs)
    alone = np.logaddexp.reduce(many, axis=2) + share + single >= 0
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
