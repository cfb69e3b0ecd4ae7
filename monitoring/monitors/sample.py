"""What one slice shows in one closed bucket, or in several: sums that are exact, so the order of merging never matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from triageops.stats.histogram import Histogram, bins_named, pooled_quantiles
from triageops.stats.moments import Moments

Counts = Mapping[str, Mapping[int, int]]
"""Name of bins (triageops.stats.histogram) -> bin -> how many values."""

_NOTHING = Fraction(0)


@dataclass(frozen=True, slots=True)
class Sample:
    """n values from `at` on, for `seconds`: their sum, the sum of their squares, and how many lie in each bin.

    Sums are exact: what was merged in another order, or in other parts, is equal to the last bit, and so is everything
    that is computed from it. at: unix seconds. null_count: records of which the value was missing. against: what those
    show at the same time that this is compared with, where the reference is another variant.
    """

    at: float
    seconds: float
    n: int = 0
    total: Fraction = _NOTHING
    squares: Fraction = _NOTHING
    histogram: Counts = field(default_factory=dict)
    null_count: int = 0
    against: Sample | None = None

    @classmethod
    def of_row(
        cls, at: float, seconds: float, moments: Moments, histogram: Counts | None = None, null_count: int = 0
    ) -> Sample:
        """What one row of a rollup says."""
        mean = Fraction(moments.mean)
        total = mean * moments.n
        return cls(
            at, seconds, moments.n, total, total * mean + Fraction(moments.m2), histogram or {}, null_count
        )

    @classmethod
    def of_shares(cls, at: float, seconds: float, successes: int, n: int) -> Sample:
        """n values of 0 and 1."""
        counts = {"uniform:0.0:1.0": {0: n - successes, 201: successes}}
        return cls(at, seconds, n, Fraction(successes), Fraction(successes), counts)

    @classmethod
    def merge(
        cls, parts: Iterable[Sample], *, at: float | None = None, seconds: float | None = None
    ) -> Sample:
        """All of them together, as of one bucket that begins with the first and lasts to the end of the last."""
        several = list(parts)
        counts: dict[str, Counter[int]] = {}
        for one in several:
            for name, own in one.histogram.items():
                counts.setdefault(name, Counter()).update(own)
        others = [one.against for one in several if one.against is not None]
        begin = min((one.at for one in several), default=0.0) if at is None else at
        end = max((one.at + one.seconds for one in several), default=begin)
        return cls(
            begin,
            end - begin if seconds is None else seconds,
            sum(one.n for one in several),
            sum((one.total for one in several), start=_NOTHING),
            sum((one.squares for one in several), start=_NOTHING),
            {name: dict(sorted(own.items())) for name, own in sorted(counts.items())},
            sum(one.null_count for one in several),
            cls.merge(others, at=at, seconds=seconds) if others else None,
        )

    @property
    def moments(self) -> Moments:
        if self.n == 0:
            return Moments(0, 0.0, 0.0)
        return Moments(
            self.n, float(self.total / self.n), float(max(_NOTHING, self.squares - self.total**2 / self.n))
        )

    @property
    def successes(self) -> int:
        """How many values are 1, of values that are 0 or 1; ValueError for others."""
        found = round(self.total)
        # A row keeps its mean as a double, so the total of a third of 3 values is not exactly 1.
        slack = Fraction(self.n + 1, 10**9)
        if abs(self.total - found) > slack or abs(self.squares - found) > slack or not 0 <= found <= self.n:
            raise ValueError("values other than 0 and 1")
        return found

    def histograms(self) -> list[Histogram]:
        return [Histogram(bins_named(name), counts) for name, counts in self.histogram.items()]

    def quantiles(self, qs: tuple[float, ...]) -> list[float | None]:
        return pooled_quantiles(self.histograms(), qs)
