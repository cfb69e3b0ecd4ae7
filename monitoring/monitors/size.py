"""How large a change is, since it seems to have begun: running sums over buckets, each beside what was usual in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

from monitoring.monitors.kind import Effect
from triageops.stats.interval import Interval

_Z = NormalDist().inv_cdf(0.975)
_LEAST_BUCKETS = 5


@dataclass(frozen=True, slots=True)
class Size:
    """n: records. weight, value, usual, m2: sums over buckets of w, w x, w u and the squares within.

    squares, cross, weights: sums of w^2 d^2, w^2 d and w^2, where d = x - u. w is the number of records, or 1 for a volume.
    """

    n: int = 0
    bucket_count: int = 0
    weight: float = 0.0
    value: float = 0.0
    usual: float = 0.0
    m2: float = 0.0
    squares: float = 0.0
    cross: float = 0.0
    weights: float = 0.0

    def plus(self, n: int, weight: float, value: float, usual: float, m2: float) -> Self:
        """With one bucket more."""
        d = value - usual
        return type(self)(
            self.n + n,
            self.bucket_count + 1,
            self.weight + weight,
            self.value + weight * value,
            self.usual + weight * usual,
            self.m2 + m2,
            self.squares + (weight * d) ** 2,
            self.cross + weight * weight * d,
            self.weights + weight * weight,
        )

    def effect(self) -> Effect | None:
        """None without records. The interval takes buckets for what they are: they may differ by more than chance.

        For a person to read, not to decide by: the onset was chosen where the data look worst.
        """
        if not self.weight:
            return None
        current, level = self.value / self.weight, self.usual / self.weight
        difference, half = current - level, self._half_width()
        interval = None if half is None else Interval(difference - half, difference + half)
        return Effect(current, level, difference, interval, self.n)

    def _half_width(self) -> float | None:
        d = (self.value - self.usual) / self.weight
        within = None
        if self.m2 > 0 and self.n > 1:
            within = _Z * math.sqrt(self.m2 / (self.n - 1) / self.n)
        if self.bucket_count < _LEAST_BUCKETS:
            return within
        spread = max(0.0, self.squares - 2 * d * self.cross + d * d * self.weights)
        count = self.bucket_count
        between = math.sqrt(spread * count / (count - 1)) / self.weight
        return max(within or 0.0, _student(count - 1) * between)

    def as_json(self) -> list[float]:
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def from_json(cls, effect: Mapping[str, Any]) -> Self:
        """What was kept beside an effect; what an earlier release kept, as one bucket."""
        if "sums" in effect:
            n, count, *rest = effect["sums"]
            return cls(int(n), int(count), *rest)
        if not effect.get("n"):
            return cls()
        n = int(effect["n"])
        return cls().plus(n, n, effect["current"], effect["level"], effect.get("m2", 0.0))


def _student(freedom: int) -> float:
    """0.975 quantile of Student's t from 4 degrees of freedom on, within 0.3 % (Abramowitz and Stegun, 26.7.5)."""
    z, v = _Z, freedom
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third
