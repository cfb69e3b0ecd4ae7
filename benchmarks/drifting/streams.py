"""Streams of buckets: how many values fall into each fine bin, drawn as if single values had been drawn and binned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import special

from monitoring.monitors.sample import Sample
from triageops.stats.histogram import Bins, LogBins, UniformBins
from triageops.stats.moments import Moments

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LENGTH = 300
"""Seconds of a bucket, which is one check."""


@dataclass(frozen=True)
class Family:
    """A shape of values. below: (upper edges (B,), shifts (T, 1), stretch) -> share of values at or below, (T, B)."""

    scheme: Bins
    bins: tuple[int, ...]
    below: Callable[[FloatArray, FloatArray, float], FloatArray]

    def shares(self, shifts: FloatArray, stretch: float = 1.0) -> FloatArray:
        """(T, B): of each fine bin; the last has all that is above."""
        edges = np.array([self.scheme.upper(number) for number in self.bins[:-1]])
        reached = self.below(edges, shifts[:, None], stretch)
        return np.diff(np.pad(reached, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1).clip(0.0)


def normal() -> Family:
    def below(x: FloatArray, shift: FloatArray, stretch: float) -> FloatArray:
        return np.asarray(special.ndtr((x - shift) / stretch))

    return Family(UniformBins(-8.0, 8.0), tuple(range(202)), below)


BETA_SD = math.sqrt(0.8 * 0.2 / 11)


def beta() -> Family:
    """Beta(8, 2). A shift by sd keeps a + b = 10; a stretch keeps the mean."""

    def below(x: FloatArray, shift: FloatArray, stretch: float) -> FloatArray:
        mean = 0.8 + shift * BETA_SD
        size = 10.0 if stretch == 1 else mean * (1 - mean) / (stretch * BETA_SD) ** 2 - 1
        return np.asarray(special.betainc(mean * size, (1 - mean) * size, x))

    return Family(UniformBins(0.0, 1.0), tuple(range(202)), below)


SKEWED_SD = math.sqrt(10 / 11 / 11 / 12)


def skewed() -> Family:
    """Beta(10, 1). A shift by sd moves every value, to the bounds at most."""

    def below(x: FloatArray, shift: FloatArray, stretch: float) -> FloatArray:
        return np.asarray((x - shift * SKEWED_SD).clip(0.0, 1.0) ** 10)

    return Family(UniformBins(0.0, 1.0), tuple(range(202)), below)


def lognormal() -> Family:
    """exp(0.8 Z). A shift is that of the logarithm."""
    scheme = LogBins(0.01)
    first, last = scheme.index([math.exp(-0.8 * 6), math.exp(0.8 * 6 + 1)]).tolist()

    def below(x: FloatArray, shift: FloatArray, stretch: float) -> FloatArray:
        return np.asarray(special.ndtr((np.log(x) - shift) / 0.8 / stretch))

    return Family(scheme, tuple(range(first, last + 1)), below)


def share(usual: float) -> Family:
    """Zeros and ones. A shift is added to the share of ones."""

    def below(x: FloatArray, shift: FloatArray, stretch: float) -> FloatArray:
        return np.asarray(1 - (usual + shift) + 0 * x)

    return Family(UniformBins(0.0, 1.0), (0, 201), below)


@dataclass(frozen=True)
class Law:
    """sizes: of buckets, each drawn with the same chance. wobble, season: of buckets, in the unit of a shift.

    memory: correlation of one bucket's wobble with the next one's. season: half the range of a sine over the day.
    """

    sizes: tuple[int, ...] = (20,)
    wobble: float = 0.0
    memory: float = 0.0
    season: float = 0.0


@dataclass(frozen=True)
class Stream:
    """starts: (T,), unix seconds. counts: (T, B)."""

    family: Family
    starts: IntArray
    counts: IntArray

    def samples(self) -> list[Sample]:
        """As the product gets them; moments are those of the bins' middles."""
        middles = np.array([self.family.scheme.middle(number) for number in self.family.bins])
        numbers = np.array(self.family.bins)
        found = []
        for start, counts in zip(self.starts.tolist(), self.counts, strict=True):
            used = np.flatnonzero(counts)
            own = counts[used]
            n = int(own.sum())
            mean = float((middles[used] * own).sum() / n) if n else 0.0
            squares = float((own * (middles[used] - mean) ** 2).sum())
            histogram = dict(zip(numbers[used].tolist(), own.tolist(), strict=True))
            found.append(
                Sample.of_row(start, LENGTH, Moments(n, mean, squares), {self.family.scheme.name: histogram})
            )
        return found

    def values(self, rng: Generator) -> tuple[FloatArray, IntArray]:
        """Single values in a random order within their buckets, anywhere in their bins, and where each bucket ends."""
        scheme, numbers = self.family.scheme, self.family.bins
        lower = np.array([scheme.lower(number) for number in numbers])
        width = np.array([scheme.upper(number) for number in numbers]) - lower
        bucket, position = np.nonzero(self.counts)
        times = self.counts[bucket, position]
        bucket, position = np.repeat(bucket, times), np.repeat(position, times)
        order = np.lexsort((rng.random(bucket.size), bucket))
        position = position[order]
        found = lower[position] + width[position] * rng.random(position.size)
        return found, np.cumsum(self.counts.sum(axis=1))


def effects(rng: Generator, count: int, memory: float) -> FloatArray:
    """(T,): of variance 1, each correlated with the one before."""
    fresh = rng.standard_normal(count)
    if not memory:
        return fresh
    found, state = np.empty(count), float(rng.standard_normal())
    for number, new in enumerate(fresh.tolist()):
        state = memory * state + math.sqrt(1 - memory**2) * new
        found[number] = state
    return found


@dataclass(frozen=True)
class Change:
    """What happens to a stream. goal: the delay in checks that section 2.8 of the design has for it, or None."""

    label: str
    shift: float = 0.0
    stretch: float = 1.0
    goal: float | None = None
    checks: int = 300


NOTHING = Change("nothing")


@dataclass(frozen=True)
class Source:
    """Draws streams of one family and law."""

    family: Family
    law: Law = field(default_factory=Law)

    def stream(
        self,
        rng: Generator,
        count: int,
        *,
        first: int = 0,
        change: Change = NOTHING,
        wobble: FloatArray | None = None,
    ) -> Stream:
        """count buckets from number `first` on. wobble: (T,), of variance 1, in place of the law's own."""
        law = self.law
        starts = (first + np.arange(count, dtype=np.int64)) * LENGTH
        shifts = np.full(count, change.shift)
        if law.season:
            shifts += law.season * np.sin(2 * math.pi * starts / 86_400)
        if law.wobble:
            shifts += law.wobble * (effects(rng, count, law.memory) if wobble is None else wobble)
        sizes = rng.choice(np.array(law.sizes), count)
        if np.ptp(shifts) == 0:
            shares = np.broadcast_to(
                self.family.shares(shifts[:1], change.stretch), (count, len(self.family.bins))
            )
        else:
            shares = self.family.shares(shifts, change.stretch)
        return Stream(self.family, starts, rng.multinomial(sizes, shares / shares.sum(axis=1, keepdims=True)))
