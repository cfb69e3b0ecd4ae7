"""One bucket by itself: how unlikely is what it shows, if nothing has changed?

`surprise`: -log of (a bound on) the probability that a usual bucket of this size is at least as far off on its side, twice that
if both sides are looked at. A signal where it reaches -log(budget x share x seconds) is raised for at most that share of a
budget on average, however buckets depend on each other, as long as each bucket's probability is right: expectations
add up. So neighbours that are alike cost nothing here, unlike in evidence that piles up.

What is exact: a share's binomial and a volume's Poisson tails, at the largest (smallest) value that is no drift. What is
approximate: that the effects of buckets follow a beta (shares), a gamma (volumes) or a normal distribution (means; Student's
distribution for their spread, which is learned, and the tail of a gamma distribution where they lean to one side or have
a high kurtosis). Far tails cannot be learned. Two guards stand against worse ones, and make both sorts of bursts that a reference has shown no
signals: no bucket is one that surprises less than the reference's own most surprising (`Extremes`), and where that one
surprises by more than chance explains, an exponential tail through it takes the place of what was assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from triageops.stats.exact import log_beta_cdf

FloatArray = NDArray[np.float64]
Side = Literal["up", "down"]

_UNREMARKABLE = 3.0
"""The largest surprise of T buckets exceeds log T by this with a chance of 5 %."""


_FARTHEST = 1e6
"""Standard deviations; whatever is beyond is the same."""
_SHORTFALL = 1.25
"""By so much a record's cumulants are taken for larger: samples of heavy tails fall short of them."""


@dataclass(frozen=True)
class Spread:
    """Of the means of buckets around their slots', for surprise_of_mean. All in the values' unit, to its powers.

    errors: of the slots' means. freedom: what `between` is known from. cube, fourth: third and fourth cumulant of a record;
    skewness, kurtosis (in excess, as far as it is beyond chance): of buckets' standardised distances. ignored: what distance is nobody's concern.
    """

    within: float
    between: float
    freedom: int
    errors: tuple[float, ...]
    cube: float = 0.0
    fourth: float = 0.0
    skewness: float = 0.0
    kurtosis: float = 0.0
    ignored: float = 0.0

    @property
    def varies(self) -> bool:
        return self.within + self.between > 0

    def surprise(self, distance: float, n: int, slot: int, side: Side) -> float:
        """distance: of the bucket's mean of n records from the slot's, positive above it. 0 where nothing varies."""
        sign = 1 if side == "up" else -1
        variance = self.within / n + self.between + self.errors[slot] ** 2
        off = sign * distance - self.ignored
        if off <= 0 or not variance:
            return 0.0
        of_records = _lean(sign * self.cube / (n * n * variance**1.5), self.fourth / (n**3 * variance**2))
        # Skewness is as uncertain as sqrt(6 / T).
        of_buckets = _lean(sign * self.skewness + math.sqrt(6 / (self.freedom + 1)), self.kurtosis)
        lean = max(_SHORTFALL * of_records, of_buckets)
        return -_log_student_tail(min(_FARTHEST, _as_normal(off / math.sqrt(variance), lean)), self.freedom)

    def as_json(self) -> dict[str, Any]:
        return {
            "within": self.within,
            "between": self.between,
            "freedom": self.freedom,
            "errors": list(self.errors),
            "cube": self.cube,
            "fourth": self.fourth,
            "skewness": self.skewness,
            "kurtosis": self.kurtosis,
            "ignored": self.ignored,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        return cls(**{**state, "errors": tuple(state["errors"])})


@dataclass(frozen=True)
class Extremes:
    """The largest surprises (down, up) of the `count` buckets of a reference."""

    down: float
    up: float
    count: int

    def guarded(self, surprise: float, side: Side) -> float:
        """0 for what the reference has shown itself."""
        largest = self.up if side == "up" else self.down
        if surprise <= largest:
            return 0.0
        usual = math.log(max(2, self.count))
        return surprise if largest <= usual + _UNREMARKABLE else usual * math.sqrt(surprise / largest)

    def as_json(self) -> list[float]:
        return [self.down, self.up, self.count]

    @classmethod
    def from_json(cls, state: Sequence[float]) -> Self:
        return cls(float(state[0]), float(state[1]), int(state[2]))


NO_EXTREMES = Extremes(0.0, 0.0, 0)


def most_surprising(surprises: Mapping[Side, float], extremes: Extremes) -> tuple[float, Side]:
    """Of the sides that are looked at: (log evidence, side), less log 2 if both are."""
    found = {side: extremes.guarded(surprise, side) for side, surprise in surprises.items()}
    side = max(found, key=found.__getitem__)
    return max(0.0, found[side] - math.log(len(found))), side


def surprise_of_share(k: int, n: int, share: float, icc: float, side: Side) -> float:
    """Of k or more (fewer) successes of n where a usual share is at most (least) `share`; 0 where nothing can be said.

    Beta-binomial with intraclass correlation icc in [0, 1): P(K >= k) <= P(k) / (1 - r), where r is the largest of the
    ratios of one term to the one before. The tests' reference values: scipy.stats.betabinom, binom.
    """
    if side == "down":
        k, share = n - k, 1 - share
    if not 0 < share < 1 or k <= n * share:
        return 0.0
    if icc < 1e-9:
        log_p = k * math.log(share) + (n - k) * math.log1p(-share)
        return _surprise(log_p + _log_choose(n, k), (n - k) / (k + 1) * share / (1 - share))
    size = 1 / icc - 1
    a, b = share * size, (1 - share) * size
    if b < 1:
        return 0.0
    log_p = _log_choose(n, k) + _log_beta(a + k, b + n - k) - _log_beta(a, b)
    ratio = (n - k) / (b + n - k - 1) if k < n else 0.0
    return _surprise(log_p, ratio * max(1.0 if a < 1 else 0.0, (a + k) / (k + 1)))


def surprise_of_count(k: int, mean: float, dispersion: float, side: Side) -> float:
    """Of k or more (fewer) events where a usual mean is at most (least) `mean`, with variance mean + dispersion mean^2.

    As surprise_of_share. The tests' reference values: scipy.stats.nbinom, poisson.
    """
    if mean <= 0 or (k - mean) * (1 if side == "up" else -1) <= 0:
        return 0.0
    if dispersion < 1e-9:
        log_p = k * math.log(mean) - mean - math.lgamma(k + 1)
        return _surprise(log_p, mean / (k + 1) if side == "up" else k / mean)
    size = 1 / dispersion
    log_p = math.lgamma(size + k) - math.lgamma(size) - math.lgamma(k + 1)
    log_p += k * math.log(mean / (mean + size)) - size * math.log1p(mean / size)
    if side == "up":
        return _surprise(log_p, mean / (mean + size) * max(1.0, (k + size) / (k + 1)))
    return _surprise(log_p, (mean + size) / mean * max(k / (k - 1 + size), 1 / size) if k else 0.0)


def _surprise(log_p: float, ratio: float) -> float:
    return max(0.0, math.log1p(-ratio) - log_p) if ratio < 1 else 0.0


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _lean(skewness: float, kurtosis: float) -> float:
    """Skewness of the gamma distribution, of kurtosis 3 / 2 of its square, with a tail as far as both say; 0: a normal one."""
    spare = kurtosis if skewness > 0 else kurtosis - 1.5 * skewness**2
    return max(skewness, math.sqrt(max(0.0, spare) / 1.5))


def _as_normal(z: float, skewness: float) -> float:
    """A standardised distance z > 0 on a scale where its tail is a normal's, about: signed root of twice a gamma's rate function.

    Gamma of skewness g: I(z) = (4 / g^2) (g z / 2 - log(1 + g z / 2)). By Lugannani and Rice the tail is at most that.
    """
    x = skewness * z / 2
    if x < 1e-4:
        return z * math.sqrt(1 - 2 * x / 3)
    return math.sqrt(2 * (x - math.log1p(x))) * 2 / skewness


def _log_student_tail(t: float, freedom: int) -> float:
    """log P(T > t), t > 0."""
    return (
        log_beta_cdf(freedom / (freedom + t * t), freedom / 2, 0.5) - math.log(2)
        if t > 1e-6
        else -math.log(2)
    )
