"""What buckets would show with a change in them: shifted values, other shares, other counts, one event.

Each takes buckets in the order of time and gives them back changed, one at a time. Nothing is drawn at random: what rounding
to whole records takes from one bucket goes to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from monitoring.monitors.sample import Sample
from triageops.stats.histogram import Bins, UniformBins, bins_named

Samples = Iterable[Sample]
Cell = tuple[str, int]
"""Name of bins, and a bin of these."""
Belongs = Callable[[Bins, int], bool]
"""Whether the records of a bin are meant."""

_HALF = Fraction(1, 2)


@dataclass
class Diffusion:
    """Counts times a factor, as whole numbers: what one is rounded by is owed to the next."""

    factor: Fraction
    owed: Fraction = field(default=Fraction(0), init=False)

    def scaled(self, count: int, most: int | None = None) -> int:
        """most: how many there can be; what does not fit goes to the next."""
        self.owed += self.factor * count
        given = max(0, math.floor(self.owed + _HALF))
        given = given if most is None else min(most, given)
        self.owed -= given
        return given


def shifted(
    samples: Samples, by: float, *, low: float = -math.inf, high: float = math.inf
) -> Iterator[Sample]:
    """Every value moved by this much, and no further than to low or high; n is kept, sums go along."""
    for sample in samples:
        yield _shifted(sample, by, low, high) if sample.n else sample


def scaled_share(samples: Samples, factor: Fraction, *, of_ones: bool = True) -> Iterator[Sample]:
    """Of values that are 0 or 1: so many times as many ones, or zeros; n is kept. ValueError for other values."""
    diffusion = Diffusion(factor)
    for sample in samples:
        ones = sample.successes
        found = diffusion.scaled(ones if of_ones else sample.n - ones, sample.n)
        changed = Sample.of_shares(
            sample.at, sample.seconds, found if of_ones else sample.n - found, sample.n
        )
        yield replace(changed, null_count=sample.null_count, against=sample.against)


def scaled_count(samples: Samples, factor: Fraction) -> Iterator[Sample]:
    """So many times as many records, of which nothing but their number is known afterwards."""
    diffusion = Diffusion(factor)
    for sample in samples:
        yield Sample(sample.at, sample.seconds, diffusion.scaled(sample.n), against=sample.against)


def scaled_group(samples: Samples, factor: Fraction, belongs: Belongs) -> Iterator[Sample]:
    """So many times as many records in the bins that belong, factor >= 1; n is kept, the others give in proportion."""
    diffusion = Diffusion(factor)
    target: Cell | None = None
    for sample in samples:
        inside: dict[Cell, int] = {}
        outside: dict[Cell, int] = {}
        for name, index, count in _cells(sample):
            (inside if belongs(_bins(name), index) else outside)[name, index] = count
        n, known = sum(inside.values()), sum(outside.values())
        target = max(inside, key=lambda cell: (inside[cell], cell), default=target)
        extra = diffusion.scaled(n, n + known) - n
        yield sample if target is None or extra <= 0 else _moved_to(sample, _parts(outside, extra), target)


def with_event(samples: Samples, value: float) -> Iterator[Sample]:
    """One record of the first bucket that has any becomes this value; bins that end below it show their highest."""
    is_due = True
    for sample in samples:
        if not is_due or not sample.n:
            yield sample
            continue
        is_due = False
        cells = {(name, index): count for name, index, count in _cells(sample)}
        if not cells:
            yield replace(sample, total=sample.total + Fraction(value) - sample.total / sample.n)
            continue
        name, _ = source = max(cells, key=lambda cell: (cells[cell], cell))
        bins = _bins(name)
        shown = min(value, bins.high) if isinstance(bins, UniformBins) else value
        yield _moved_to(sample, {source: 1}, (name, int(bins.index([shown])[0])))


def count_in(samples: Samples, belongs: Belongs) -> int:
    """Records in the bins that belong."""
    return sum(
        count for sample in samples for name, index, count in _cells(sample) if belongs(_bins(name), index)
    )


class _Move(NamedTuple):
    """Where a bin's records go. before: the bin's middle; after: the bound that they stop at, None when they do not."""

    bin: int
    before: float
    after: float | None


@lru_cache(maxsize=65_536)
def _move(name: str, index: int, by: float, low: float, high: float) -> _Move:
    bins = _bins(name)
    if isinstance(bins, UniformBins):
        low, high = max(low, bins.low), min(high, bins.high)
    before = bins.middle(index)
    value = before + by
    after = low if value < low else high if value > high else None
    return _Move(int(bins.index([value if after is None else after])[0]), before, after)


def _shifted(sample: Sample, by: float, low: float, high: float) -> Sample:
    """Values of bins that reach a bound are taken for the bin's middle, all others are moved exactly."""
    total, squares, free = sample.total, sample.squares, sample.n
    clipped_total = clipped_squares = Fraction(0)
    histogram: dict[str, dict[int, int]] = {}
    for name, index, count in _cells(sample):
        move = _move(name, index, by, low, high)
        own = histogram.setdefault(name, {})
        own[move.bin] = own.get(move.bin, 0) + count
        if move.after is not None:
            before, after = Fraction(move.before), Fraction(move.after)
            free -= count
            total, squares = total - count * before, squares - count * before**2
            clipped_total += count * after
            clipped_squares += count * after**2
    step = Fraction(by)
    squares += 2 * step * total + step**2 * free + clipped_squares
    total += step * free + clipped_total
    if math.isfinite(low):
        total = max(total, sample.n * Fraction(low))
    if math.isfinite(high):
        total = min(total, sample.n * Fraction(high))
    if math.isfinite(high - low):
        # (x - low) (x - high) <= 0 for each value; a bin's middle may say otherwise at a bound.
        squares = min(
            squares, (Fraction(low) + Fraction(high)) * total - sample.n * Fraction(low) * Fraction(high)
        )
    return replace(sample, total=total, squares=squares, histogram=histogram)


def _moved_to(sample: Sample, parts: Mapping[Cell, int], target: Cell) -> Sample:
    """parts: how many records of which bins go to the target."""
    histogram = {name: dict(own) for name, own in sample.histogram.items()}
    total, squares = sample.total, sample.squares
    value = Fraction(_bins(target[0]).middle(target[1]))
    for (name, index), count in parts.items():
        before = Fraction(_bins(name).middle(index))
        histogram[name][index] -= count
        total, squares = total + count * (value - before), squares + count * (value**2 - before**2)
    own = histogram.setdefault(target[0], {})
    own[target[1]] = own.get(target[1], 0) + sum(parts.values())
    kept = {name: {index: n for index, n in own.items() if n} for name, own in histogram.items()}
    return replace(sample, total=total, squares=squares, histogram=kept)


def _parts(cells: Mapping[Cell, int], count: int) -> dict[Cell, int]:
    """So many of these records, from each bin in proportion."""
    diffusion = Diffusion(Fraction(count, max(1, sum(cells.values()))))
    found = {cell: diffusion.scaled(n, n) for cell, n in sorted(cells.items())}
    return {cell: n for cell, n in found.items() if n}


def _cells(sample: Sample) -> Iterator[tuple[str, int, int]]:
    for name, own in sample.histogram.items():
        for index, count in own.items():
            yield name, index, count


@lru_cache(maxsize=64)
def _bins(name: str) -> Bins:
    return bins_named(name)
