"""Is a stream worse than a required level? With a budget of false alarms in time, however often one looks.

Each of K baselines (one betting fraction lambda each) turns a closed bucket into l_k, the logarithm of an
e-value: E[exp(l_k) | everything before] <= 1 as long as nothing is worse than allowed. With the time dt since
the last bucket and a budget of beta false alarms per second,

    M_k <- (M_k + beta dt) exp(l_k),    M = sum_k w_k M_k,    alarm when M >= 1, and then M_k <- 0.

Theorem: E[number of alarms in [0, T]] <= beta T for every T while nothing is worse than allowed.
Proof: let A count the alarms, Z = A + M. A step adds at most beta dt to E[Z], as E[exp(l_k) | past] <= 1;
an alarm adds 1 to A and takes at least 1 from M. So E[A] <= E[Z] <= beta T.

Assumed: (1) l_k is an e-value as above; (2) the times dt do not add up to more than T, and dt and whether to
look are settled before the bucket's values are seen; (3) a value is used once. Nothing else is assumed about
dependence or distribution, neither within a stream nor between baselines or monitors: budgets just add up.
dt may be less than the true time (0 for a bucket without data, say); that only saves budget.

Sources: mixture e-SR of Shin, Ramdas, Rinaldo, "E-detectors" (arXiv 2203.03532), with the threshold in time;
the increment from lemma 4.1 of Fan, Grama, Liu, "Exponential inequalities for martingales" (EJP 2015).
All state is logarithmic, so evidence of e-100 000 or e100 000 neither overflows nor becomes NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats.evidence import Evidence
from triageops.stats.interval import Interval, mean_interval
from triageops.stats.moments import Moments

__all__ = ["BoundedMean", "Effect", "Evidence", "Step", "advance", "magnitude", "step"]

FloatArray = NDArray[np.float64]

# Sums of bucket lengths may differ from differences of times by rounding.
_CLOCK_TOLERANCE_SECONDS = 1e-3


@dataclass(frozen=True, slots=True)
class Step:
    """One bucket's verdict. log_evidence is log M before an alarm resets it; evidence is the state to keep.

    baseline has the largest share of M; onset_at is when its g left zero, in unix seconds; never None
    in an alarm.
    """

    evidence: Evidence
    log_evidence: float
    is_alarm: bool
    onset_at: float | None
    baseline: int


def advance(log_m: FloatArray, increments: FloatArray, log_accrual: float) -> FloatArray:
    """log((M + beta dt) exp(l)), elementwise; log_accrual is log(beta dt), minus infinity when dt is 0."""
    return np.asarray(np.logaddexp(log_m, log_accrual) + increments, dtype=np.float64)


def step(
    evidence: Evidence,
    increments: Sequence[float],
    *,
    elapsed_seconds: float,
    budget_per_second: float,
    at: float,
    weights: Sequence[float] | None = None,
) -> Step:
    """Take one closed bucket into account. increments: l_k of each baseline, zeros for a bucket without data.

    at: the bucket's end in unix seconds. elapsed_seconds: dt, at most the time since the last step.
    budget_per_second: beta, false alarms allowed per second. weights: positive, sum 1, fixed for the
    detector's life (default equal). ValueError for misuse: a clock that goes backwards, time counted twice,
    increments that are NaN or plus infinity.

    Alarm when M >= 1 and the data speak for it (an onset exists): without the second condition 1 / beta
    seconds of silence would be an alarm. The theorem holds for any stricter rule. An alarm resets g too.
    """
    shares = _checked_weights(weights, len(evidence.log_m))
    if len(increments) != len(evidence.log_m) or any(math.isnan(x) or x == math.inf for x in increments):
        raise ValueError(f"expected {len(evidence.log_m)} increments, none of them NaN or plus infinity")
    if not (0 < budget_per_second < math.inf):
        raise ValueError(f"budget of {budget_per_second} alarms per second")
    _refuse_wrong_time(evidence.at, at, elapsed_seconds)
    accrual = math.log(budget_per_second) + math.log(elapsed_seconds) if elapsed_seconds else -math.inf
    log_m = advance(np.array(evidence.log_m), np.array(increments, dtype=np.float64), accrual)
    weighted = log_m + np.log(shares)
    log_evidence = float(np.logaddexp.reduce(weighted))
    baseline = int(np.argmax(weighted))
    log_g = tuple(max(0.0, g + x) for g, x in zip(evidence.log_g, increments, strict=True))
    onset_at = tuple(
        None if new == 0 else at - elapsed_seconds if old == 0 else onset
        for old, new, onset in zip(evidence.log_g, log_g, evidence.onset_at, strict=True)
    )
    is_alarm = log_evidence >= 0 and onset_at[baseline] is not None
    kept = Evidence.none(len(log_m), at) if is_alarm else Evidence(tuple(log_m.tolist()), log_g, onset_at, at)
    return Step(kept, log_evidence, is_alarm, onset_at[baseline], baseline)


@dataclass(frozen=True, slots=True)
class BoundedMean:
    """Increments for: values in [low, high] whose mean must not be worse than level by more than margin.

    Valid for any values in [low, high] with E[x | everything before] not worse than m: no independence, no
    shape. m = level - margin when lower is worse, level + margin when higher is. With x the value,

        xi = (m - x) / (high - m)  when lower is worse,  (x - m) / (m - low)  when higher is,
        l  = lambda sum(xi) - (-log(1 - lambda) - lambda) sum(xi^2).

    Both divide by the distance to the good bound, so xi >= -1, with equality there: that is what the lemma's
    exp(l) <= prod(1 + lambda xi) needs. The bad bound instead would let xi fall below -1 and void the
    promise. l is a sum over values: buckets may be split or merged.
    """

    level: float
    low: float
    high: float
    worse: Literal["lower", "higher"]
    margin: float = 0.0
    lambdas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75)

    def __post_init__(self) -> None:
        if self.worse not in ("lower", "higher"):
            raise ValueError(f"worse is {self.worse!r}, not 'lower' or 'higher'")
        if not math.isfinite(self.high - self.low) or not 0 <= self.margin < math.inf:
            raise ValueError("bounds or margin not finite, or margin negative")
        if not (self.low < self.null_level < self.high and self.low <= self.level <= self.high):
            raise ValueError(f"level {self.level} with margin {self.margin} not inside the bounds")
        if not self.lambdas or not all(0 < x < 1 for x in self.lambdas):
            raise ValueError("lambdas need to be between 0 and 1")

    @property
    def null_level(self) -> float:
        """m, the worst mean that is still allowed."""
        return self.level - self.margin if self.worse == "lower" else self.level + self.margin

    def increments(self, moments: Moments) -> tuple[float, ...]:
        """l of each lambda for one closed bucket, zeros when it is empty; see increments_of."""
        return tuple(self.increments_of(moments.n, moments.mean, moments.m2).tolist())

    def increments_of(self, n: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> FloatArray:
        """l for buckets given as arrays of one shape (...), as an array of shape (..., K).

        ValueError when a bucket's moments cannot be those of values in [low, high]. Accuracy: about 1e-13 of
        the larger of the two terms of l.
        """
        count, centre, squares = (np.asarray(a, dtype=np.float64) for a in (n, mean, m2))
        self._refuse_outside(count, centre, squares)
        worst = self.null_level
        scale = self.high - worst if self.worse == "lower" else worst - self.low
        distance = worst - centre if self.worse == "lower" else centre - worst
        # sum (x - m)^2 = m2 + n (mean - m)^2: both terms are positive, so no digits cancel.
        total = np.where(count > 0, count * distance / scale, 0.0)
        total_squares = np.where(count > 0, squares / scale / scale + count * (distance / scale) ** 2, 0.0)
        bets = np.array(self.lambdas)
        return np.asarray(total[..., None] * bets + total_squares[..., None] * (np.log1p(-bets) + bets))

    def _refuse_outside(self, n: FloatArray, mean: FloatArray, m2: FloatArray) -> None:
        """Also m2 <= n (high - mean) (mean - low), by Bhatia and Davis (2000); both but for rounding."""
        slack = 1e-9 * (self.high - self.low) + 8 * math.ulp(max(abs(self.low), abs(self.high)))
        above, below = self.high - mean, mean - self.low
        with np.errstate(over="ignore", invalid="ignore"):
            is_inside = (np.minimum(above, below) >= -slack) & (
                m2 <= n * (np.maximum(above, 0) * np.maximum(below, 0) + slack * (self.high - self.low))
            )
        if not ((n == 0) | ((n > 0) & is_inside)).all():
            raise ValueError(f"values outside [{self.low}, {self.high}]")


@dataclass(frozen=True, slots=True)
class Effect:
    """How far a mean is from the level, in the values' unit; interval is None for fewer than two values."""

    value: float
    interval: Interval | None


def magnitude(moments_since_onset: Moments, level: float, confidence: float = 0.95) -> Effect | None:
    """Mean since the onset minus level, with a normal interval; None without values.

    For a person to read, not to decide by: the onset was chosen where the data look worst, so the effect is
    exaggerated a little in an alarm that came early, and the interval treats values as independent.
    """
    if moments_since_onset.n == 0:
        return None
    interval = mean_interval(moments_since_onset, confidence)
    shifted = None if interval is None else Interval(interval.low - level, interval.high - level)
    return Effect(moments_since_onset.mean - level, shifted)


def _checked_weights(weights: Sequence[float] | None, count: int) -> FloatArray:
    if weights is None:
        return np.full(count, 1 / count)
    if len(weights) != count or not all(w > 0 for w in weights) or not math.isclose(math.fsum(weights), 1):
        raise ValueError(f"expected {count} positive weights that sum to 1")
    return np.array(weights, dtype=np.float64)


def _refuse_wrong_time(last: float | None, at: float, elapsed_seconds: float) -> None:
    if not math.isfinite(at) or not 0 <= elapsed_seconds < math.inf:
        raise ValueError(f"time {at} or elapsed time {elapsed_seconds} is negative or not finite")
    if last is not None and at < last:
        raise ValueError(f"the clock went backwards, from {last} to {at}")
    if last is not None and elapsed_seconds > at - last + _CLOCK_TOLERANCE_SECONDS:
        raise ValueError(f"{elapsed_seconds} s within {at - last} s: time counted twice")
