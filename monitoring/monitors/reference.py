"""What is usual: learned from the closed buckets of a reference, with everything that its own error and wobble ask for.

Three kinds of reference, one for each thing that can be compared: scores of a histogram's cells, a share of successes, a
number of events. Each says for a slot of the season (triageops.stats.season) what is still allowed: the usual value, and
around it the larger of what the user calls unimportant and of what the reference cannot know; and how much less a bucket
is worth than its records, because buckets differ (variance.py) and neighbours are alike (dependence.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.monitors.sample import Sample
from monitoring.monitors.single import (
    NO_EXTREMES,
    Extremes,
    Side,
    Spread,
    surprise_of_count,
    surprise_of_share,
)
from monitoring.monitors.usual import (
    LEAST_BUCKETS,
    LEAST_RECORDS,
    Seasonal,
    TooLittle,
    Usual,
    bucket_length,
    wobble_of,
)
from triageops.stats.bets_cells import SCORES, Cells
from triageops.stats.bets_score import score_tolerances
from triageops.stats.buckets import Buckets
from triageops.stats.dependence import dependence
from triageops.stats.histogram import Histogram, bins_named
from triageops.stats.margins import Z, rate_bounds
from triageops.stats.season import slot_counts
from triageops.stats.variance import count_deflator, count_dispersion, residuals

__all__ = [
    "LEAST_BUCKETS",
    "LEAST_RECORDS",
    "RateReference",
    "ScoreReference",
    "Seasonal",
    "Tolerance",
    "TooLittle",
    "Usual",
    "VolumeReference",
    "as_json",
    "from_json",
    "main_bins",
]

FloatArray = NDArray[np.float64]
SIDES: tuple[Side, Side] = ("down", "up")
_FARTHEST = 100
"""Of buckets on each side, among which is the most surprising one; to look at each would take longer than all the rest."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is nobody's concern. shift: of the mean, in standard deviations of a record. stretch: of the spread, a factor.

    ratio: relative change of a share or a volume. absolute: of a share.
    """

    shift: float = 0.1
    stretch: float = 1.1
    ratio: float = 0.1
    absolute: float = 0.0


@dataclass(frozen=True)
class ScoreReference:
    """Of a distribution. usual: of each score in SCORES; allowed: their largest means in each slot, (slots, scores).

    mean, sd: of all values. means: of the values in each slot; spread: of buckets' means around them. Both empty in what
    was stored before they were learned, as `extremes`, which guard single buckets.
    """

    cells: Cells
    when: Seasonal
    usual: tuple[Usual, ...]
    allowed: tuple[tuple[float, ...], ...]
    n: int
    mean: float
    sd: float
    means: tuple[float, ...] = ()
    spread: Spread | None = None
    extremes: Extremes = NO_EXTREMES

    @classmethod
    def learnt(
        cls, samples: Sequence[Sample], tolerance: Tolerance, *, zone: str = "UTC", cell_count: int = 20
    ) -> Self:
        """Raises TooLittle. Values in bins other than the most used ones, outside a metric's bounds say, are left out."""
        name = main_bins(samples)
        scheme = bins_named(name)
        used = sorted((one for one in samples if one.histogram.get(name)), key=lambda one: one.at)
        pooled = Sample.merge(used)
        histogram = Histogram(scheme, pooled.histogram.get(name, {}))
        cells = Cells.of(histogram, cell_count)
        starts = np.array([one.at for one in used], dtype=np.int64)
        counts = np.array([cells.counts(Histogram(scheme, one.histogram[name])) for one in used])
        each = Buckets.of_scores(starts, counts, cells.scores())
        when = Seasonal.learnt(starts.tolist(), zone, each)
        slots, seconds = when.slots(starts.tolist()), bucket_length(used)
        wobbles = [wobble_of(one, slots, seconds) for one in each]
        icc = max(learned.icc for learned, _ in wobbles)
        usual = tuple(
            # What moves a bucket's mean by u moves its spread by u^2: rarely and far. The spread's own intraclass correlation
            # makes such buckets right on average only, so every score has that of the one that is tied together most.
            replace(Usual.of(buckets, slots, when.slot_count, wobble), icc=icc)
            for buckets, wobble in zip(each, wobbles, strict=True)
        )
        allowed = _allowed_scores(cells, histogram, usual, tolerance)
        moments = pooled.moments
        sd = moments.sd or 0.0
        means, spread, extremes = _values(used, histogram, slots, when, seconds, tolerance.shift * sd)
        return cls(cells, when, usual, allowed, moments.n, moments.mean, sd, means, spread, extremes)

    def usual_mean(self, slot: int) -> float:
        """Of the values, in their own unit."""
        return self.means[slot] if self.means else self.mean

    def tolerated(self, slot: int) -> tuple[float, float]:
        """How far (down, up) the mean may be from its usual one, in its own unit.

        Of what was stored without a spread: a mean score over the score's own standard deviation is about the shift in
        standard deviations, see bets_cells.
        """
        if self.spread is not None:
            known = self.usual[0].uncertainty * self.spread.errors[slot]
            return max(self.spread.ignored, known), max(self.spread.ignored, known)
        down, up = (
            max(0.0, self.allowed[slot][j] - self.usual[j].mean[slot]) * self._value_per_score[j]
            for j in (SCORES.index("down"), SCORES.index("up"))
        )
        return down, up

    @cached_property
    def _value_per_score(self) -> tuple[float, ...]:
        sd = np.sqrt(np.square(self.cells.scores()) @ np.array(self.cells.shares))
        return tuple(np.divide(self.sd, sd, out=np.zeros_like(sd), where=sd > 0).tolist())


def _allowed_scores(
    cells: Cells, histogram: Histogram, usual: Sequence[Usual], tolerance: Tolerance
) -> tuple[tuple[float, ...], ...]:
    base = score_tolerances(
        cells,
        n_reference=[one.n_eff for one in usual],
        shift=tolerance.shift,
        ratio=tolerance.stretch,
        reference=histogram,
    )
    each = [
        np.array(one.mean) + np.maximum(margin, one.uncertainty * np.array(one.error))
        for one, margin in zip(usual, base, strict=True)
    ]
    return tuple(map(tuple, np.maximum(-1.0, np.stack(each, axis=1)).tolist()))


def _values(
    used: Sequence[Sample],
    histogram: Histogram,
    slots: NDArray[np.int64],
    when: Seasonal,
    seconds: int,
    ignored: float,
) -> tuple[tuple[float, ...], Spread, Extremes]:
    """Of the values themselves: the slots' means, how buckets differ from them, and how far the farthest is off."""
    moments = [one.moments for one in used]
    buckets = Buckets.of(
        [int(one.at) for one in used],
        [one.n for one in moments],
        [one.mean for one in moments],
        [one.m2 for one in moments],
    )
    wobble = wobble_of(buckets, slots, seconds)
    usual, learned = Usual.of(buckets, slots, when.slot_count, wobble), wobble[0]
    off = residuals(buckets, learned, slots)
    spread = Spread(
        learned.within,
        learned.between,
        learned.degrees_of_freedom,
        usual.error,
        *_cumulants(histogram),
        float(np.mean(off**3)),
        max(0.0, float(np.mean(off**4)) - 3 - 2 * math.sqrt(24 / off.size)),
        ignored,
    )
    # Without what is ignored, because the reference did not move.
    own = replace(spread, ignored=0.0)
    farthest = np.argsort(off, kind="stable")
    downs, ups = (
        [
            own.surprise(moments[t].mean - usual.mean[slots[t]], moments[t].n, int(slots[t]), side)
            for t in some.tolist()
        ]
        for side, some in zip(SIDES, (farthest[:_FARTHEST], farthest[-_FARTHEST:]), strict=True)
    )
    return usual.mean, spread, Extremes(max(downs), max(ups), off.size)


def _cumulants(histogram: Histogram) -> tuple[float, float]:
    """Third and fourth, of a record."""
    middles = np.array([histogram.scheme.middle(one) for one in histogram.counts])
    share = np.array(list(histogram.counts.values())) / histogram.n
    off = middles - middles @ share
    return float(off**3 @ share), float(off**4 @ share - 3 * (off**2 @ share) ** 2)


@dataclass(frozen=True)
class RateReference:
    """Of a share of successes. bounds: (lowest, highest) share that is no drift, of each slot. extremes: of single buckets."""

    when: Seasonal
    usual: Usual
    bounds: tuple[tuple[float, float], ...]
    n: int
    mean: float
    extremes: Extremes = NO_EXTREMES

    @classmethod
    def learnt(cls, samples: Sequence[Sample], tolerance: Tolerance, *, zone: str = "UTC") -> Self:
        """Raises TooLittle, and ValueError for values other than 0 and 1."""
        used = sorted((one for one in samples if one.n), key=lambda one: one.at)
        buckets = Buckets.of_rates(
            [int(one.at) for one in used], [one.n for one in used], [one.successes for one in used]
        )
        when = Seasonal.learnt([one.at for one in used], zone, [buckets])
        slots = when.slots(buckets.start.tolist())
        usual = Usual.of(buckets, slots, when.slot_count, wobble_of(buckets, slots, bucket_length(used)))
        bounds = tuple(
            _rate_bounds(mean, error, usual, tolerance)
            for mean, error in zip(usual.mean, usual.error, strict=True)
        )
        whole = Sample.merge(used)
        found = cls(when, usual, bounds, whole.n, whole.successes / whole.n)
        each = {
            (one.successes, one.n, usual.mean[slot], found.most_icc)
            for one, slot in zip(used, slots.tolist(), strict=True)
        }
        down, up = (max(surprise_of_share(*one, side) for one in each) for side in SIDES)
        return replace(found, extremes=Extremes(down, up, len(used)))

    @property
    def most_icc(self) -> float:
        """How much buckets differ at most, as far as so many of them tell."""
        usual = self.usual
        error = math.sqrt(2 / usual.freedom) * (usual.icc + usual.freedom / self.n)
        return min(0.99, usual.icc + Z * error)


def _rate_bounds(mean: float, error: float, usual: Usual, tolerance: Tolerance) -> tuple[float, float]:
    """The slot's share is as well known as this many independent records would tell."""
    mean = min(1.0, max(0.0, mean))
    spread = mean * (1 - mean)
    n_eff = spread / error**2 if error > 0 and spread > 0 else usual.n_eff
    found = rate_bounds(
        mean,
        n_eff=max(1.0, min(n_eff, usual.n_eff)),
        ratio=tolerance.ratio,
        absolute=tolerance.absolute,
    )
    return found.low, found.high


@dataclass(frozen=True)
class VolumeReference:
    """Of how much arrives in a bucket. expected: of each slot. margins: relative, of each slot, in [0, 1). extremes: of single buckets."""

    when: Seasonal
    expected: tuple[float, ...]
    margins: tuple[float, ...]
    dispersion: float
    inflation: float
    bucket_count: int
    extremes: Extremes = NO_EXTREMES

    @classmethod
    def learnt(cls, samples: Sequence[Sample], tolerance: Tolerance, *, zone: str = "UTC") -> Self:
        """samples: of every bucket, the empty ones too. Raises TooLittle."""
        used = sorted(samples, key=lambda one: one.at)
        if len(used) < LEAST_BUCKETS:
            raise TooLittle(f"The reference has {len(used)} buckets; at least {LEAST_BUCKETS} are needed.")
        starts, counts = [int(one.at) for one in used], np.array([one.n for one in used])
        # A bucket is one value here: how much arrived in it.
        values = Buckets.of(starts, np.ones(len(used), dtype=np.int64), counts, np.zeros(len(used)))
        when = Seasonal.learnt(starts, zone, [values])
        slots = when.slots(starts)
        dispersion = count_dispersion(counts, slots)
        if dispersion is None:
            raise TooLittle("No two buckets of the reference lie in the same hour; take a longer one.")
        centre = np.bincount(slots, counts, when.slot_count) / np.maximum(
            np.bincount(slots, minlength=when.slot_count), 1
        )
        mu = np.maximum(centre[slots], 1e-9)
        standardised = (counts - mu) / np.sqrt(mu / count_deflator(mu, dispersion))
        inflation = dependence(starts, standardised, slots, bucket_seconds=bucket_length(used)).inflation
        found = slot_counts(counts, slots, when.slot_count, dispersion=dispersion, inflation=inflation)
        if found is None:
            raise TooLittle("The reference has no buckets.")
        expected = np.maximum(found.mean, 0.0)
        unknown = Z * found.error / np.maximum(expected, 1e-9)
        margins = np.minimum(0.95, np.maximum(tolerance.ratio, unknown))
        learned = cls(
            when, tuple(expected.tolist()), tuple(margins.tolist()), dispersion, inflation, len(used)
        )
        each = {
            (one.n, learned.expected[slot], learned.most_dispersion)
            for one, slot in zip(used, slots.tolist(), strict=True)
        }
        down, up = (max(surprise_of_count(*one, side) for one in each) for side in SIDES)
        return replace(learned, extremes=Extremes(down, up, len(used)))

    @property
    def most_dispersion(self) -> float:
        """How much buckets differ at most, as far as so many of them tell."""
        usual = math.fsum(self.expected) / len(self.expected)
        error = math.sqrt(2 / self.bucket_count) * (self.dispersion + 1 / max(usual, 1e-9))
        return self.dispersion + Z * error


def main_bins(samples: Sequence[Sample]) -> str:
    """The bins that most values are in. Raises TooLittle without values."""
    totals: Counter[str] = Counter()
    for one in samples:
        for name, counts in one.histogram.items():
            totals[name] += sum(counts.values())
    if not totals:
        raise TooLittle("The reference has no values.")
    return max(sorted(totals), key=lambda name: totals[name])


def as_json(reference: ScoreReference | RateReference | VolumeReference) -> dict[str, Any]:
    """Numbers, texts and lists only; from_json gives it back to the last bit."""
    if isinstance(reference, ScoreReference):
        return {
            "kind": "score",
            "bins": reference.cells.scheme.name,
            "last_bins": list(reference.cells.last_bins),
            "shares": list(reference.cells.shares),
            **reference.when.as_json(),
            "usual": [one.as_json() for one in reference.usual],
            "allowed": [list(one) for one in reference.allowed],
            "n": reference.n,
            "mean": reference.mean,
            "sd": reference.sd,
            "means": list(reference.means),
            "spread": None if reference.spread is None else reference.spread.as_json(),
            "extremes": reference.extremes.as_json(),
        }
    if isinstance(reference, RateReference):
        return {
            "kind": "rate",
            **reference.when.as_json(),
            "usual": reference.usual.as_json(),
            "bounds": [list(one) for one in reference.bounds],
            "n": reference.n,
            "mean": reference.mean,
            "extremes": reference.extremes.as_json(),
        }
    return {
        "kind": "volume",
        **reference.when.as_json(),
        "expected": list(reference.expected),
        "margins": list(reference.margins),
        "dispersion": reference.dispersion,
        "inflation": reference.inflation,
        "bucket_count": reference.bucket_count,
        "extremes": reference.extremes.as_json(),
    }


def from_json(state: Mapping[str, Any]) -> ScoreReference | RateReference | VolumeReference:
    """What as_json wrote; ValueError for anything else."""
    try:
        when = Seasonal.from_json(state)
        if state["kind"] == "score":
            return _score_of(state, when)
        if state["kind"] == "rate":
            bounds = tuple((low, high) for low, high in state["bounds"])
            return RateReference(
                when, Usual.from_json(state["usual"]), bounds, state["n"], state["mean"], _extremes_of(state)
            )
        if state["kind"] == "volume":
            return VolumeReference(
                when,
                tuple(state["expected"]),
                tuple(state["margins"]),
                state["dispersion"],
                state["inflation"],
                state["bucket_count"],
                _extremes_of(state),
            )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no reference: {error!r}") from error
    raise ValueError(f"no reference of kind {state['kind']!r}")


def _score_of(state: Mapping[str, Any], when: Seasonal) -> ScoreReference:
    return ScoreReference(
        Cells(bins_named(state["bins"]), tuple(state["last_bins"]), tuple(state["shares"])),
        when,
        tuple(Usual.from_json(one) for one in state["usual"]),
        tuple(tuple(one) for one in state["allowed"]),
        state["n"],
        state["mean"],
        state["sd"],
        tuple(state.get("means", ())),
        Spread.from_json(state["spread"]) if state.get("spread") else None,
        _extremes_of(state),
    )


def _extremes_of(state: Mapping[str, Any]) -> Extremes:
    return Extremes.from_json(state["extremes"]) if "extremes" in state else NO_EXTREMES
