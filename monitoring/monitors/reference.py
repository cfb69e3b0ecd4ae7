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
from typing import Any, Self, cast
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from monitoring.monitors.sample import Sample
from triageops.stats.bets_cells import Cells
from triageops.stats.bets_score import score_tolerances
from triageops.stats.buckets import Buckets
from triageops.stats.dependence import dependence
from triageops.stats.histogram import Histogram, bins_named
from triageops.stats.margins import Z, rate_bounds
from triageops.stats.season import (
    SLOT_COUNTS,
    Season,
    SlotMeans,
    chosen,
    slot_counts,
    slot_index,
    slot_means,
    slot_score_means,
)
from triageops.stats.variance import (
    Components,
    components,
    count_deflator,
    count_dispersion,
    effective_count,
    residuals,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_BUCKETS = 20
LEAST_RECORDS = 100


class TooLittle(ValueError):
    """The reference holds too little to learn from; says what is missing."""


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
class Usual:
    """One quantity in each slot: what is allowed, and what a bucket of n records is worth. All tuples have one entry a slot.

    mean, error: the usual value and its standard error. icc, inflation: of one bucket's records, and of neighbours.
    """

    mean: tuple[float, ...]
    error: tuple[float, ...]
    icc: float
    inflation: float
    n_eff: float
    freedom: int

    def worth(self, n: float) -> float:
        """Of each record of a bucket of n, in (0, 1]: the power of the bets."""
        return 1 / ((1 + max(0.0, n - 1) * self.icc) * self.inflation)

    @property
    def uncertainty(self) -> float:
        """How many standard errors cover the reference's own error, and that of its standard deviation."""
        return Z * (1 + Z / math.sqrt(2 * self.freedom))


@dataclass(frozen=True)
class Seasonal:
    """Which slot a bucket lies in."""

    season: Season
    zone: str

    def slot(self, at: float) -> int:
        return int(self.slots([at])[0])

    def slots(self, starts: Sequence[float]) -> IntArray:
        return slot_index(np.array(starts, dtype=np.int64), self.season, self._zone)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @classmethod
    def learnt(cls, starts: Sequence[float], zone: str) -> Self:
        return cls(chosen(np.array(starts, dtype=np.int64), ZoneInfo(zone)), zone)


def usual_of(buckets: Buckets, slots: IntArray, slot_count: int, bucket_seconds: int) -> Usual:
    """Of the means of buckets. Raises TooLittle."""
    learned, inflation = _wobble(buckets, slots, bucket_seconds)
    found = slot_means(buckets, slots, slot_count, learned=learned, inflation=inflation)
    if found is None:
        raise TooLittle("The reference has no bucket with records.")
    return _usual(found.mean, found.error, buckets, learned, inflation)


def _usual(
    mean: FloatArray, error: FloatArray, buckets: Buckets, learned: Components, inflation: float
) -> Usual:
    return Usual(
        tuple(mean.tolist()),
        tuple(error.tolist()),
        learned.icc,
        inflation,
        effective_count(buckets, learned, inflation),
        learned.degrees_of_freedom,
    )


def _wobble(buckets: Buckets, slots: IntArray, bucket_seconds: int) -> tuple[Components, float]:
    if buckets.n.size < LEAST_BUCKETS or buckets.record_count < LEAST_RECORDS:
        raise TooLittle(
            f"The reference has {buckets.record_count} records in {buckets.n.size} buckets;"
            f" at least {LEAST_RECORDS} in {LEAST_BUCKETS} are needed."
        )
    learned = components(buckets, slots)
    if learned is None:
        raise TooLittle("No two buckets of the reference lie in the same hour; take a longer one.")
    found = dependence(
        buckets.start, residuals(buckets, learned, slots), slots, bucket_seconds=bucket_seconds
    )
    return learned, found.inflation


@dataclass(frozen=True)
class ScoreReference:
    """Of a distribution. usual: of each score in SCORES; allowed: their largest means in each slot, (slots, scores)."""

    cells: Cells
    when: Seasonal
    usual: tuple[Usual, ...]
    allowed: tuple[tuple[float, ...], ...]
    n: int
    mean: float
    sd: float

    @classmethod
    def learnt(
        cls, samples: Sequence[Sample], tolerance: Tolerance, *, zone: str = "UTC", cell_count: int = 20
    ) -> Self:
        """Raises TooLittle. Values in bins other than the most used ones, outside a metric's bounds say, are left out."""
        name = main_bins(samples)
        scheme = bins_named(name)
        used = sorted((one for one in samples if one.histogram.get(name)), key=lambda one: one.at)
        pooled = Sample.merge(used)
        cells = Cells.of(Histogram(scheme, pooled.histogram.get(name, {})), cell_count)
        starts = np.array([one.at for one in used], dtype=np.int64)
        counts = np.array([cells.counts(Histogram(scheme, one.histogram[name])) for one in used])
        when = Seasonal.learnt(starts.tolist(), zone)
        slots, slot_count = when.slots(starts.tolist()), SLOT_COUNTS[when.season]
        seconds = bucket_length(used)
        each = Buckets.of_scores(starts, counts, cells.scores())
        wobbles = [_wobble(one, slots, seconds) for one in each]
        icc = max(learned.icc for learned, _ in wobbles)
        found = slot_score_means(
            starts,
            counts,
            cells.scores(),
            slots,
            slot_count,
            inflations=[inflation for _, inflation in wobbles],
        )
        if found is None:
            raise TooLittle("The reference has no bucket with records.")
        usual = tuple(
            # What moves a bucket's mean by u moves its spread by u^2: rarely and far. The spread's own intraclass correlation
            # makes such buckets right on average only, so every score has that of the one that is tied together most.
            replace(_usual(found.mean[:, j], found.error[:, j], buckets, *wobbles[j]), icc=icc)
            for j, buckets in enumerate(each)
        )
        allowed = _allowed_scores(cells, found, usual, tolerance)
        moments = pooled.moments
        return cls(cells, when, usual, allowed, moments.n, moments.mean, moments.sd or 0.0)


def _allowed_scores(
    cells: Cells, found: SlotMeans, usual: Sequence[Usual], tolerance: Tolerance
) -> tuple[tuple[float, ...], ...]:
    base = score_tolerances(
        cells,
        n_reference=[one.n_eff for one in usual],
        shift=tolerance.shift,
        ratio=tolerance.stretch,
    )
    unknown = found.error * np.array([one.uncertainty for one in usual])
    return tuple(map(tuple, np.maximum(-1.0, found.mean + np.maximum(np.array(base), unknown)).tolist()))


@dataclass(frozen=True)
class RateReference:
    """Of a share of successes. bounds: (lowest, highest) share that is no drift, of each slot."""

    when: Seasonal
    usual: Usual
    bounds: tuple[tuple[float, float], ...]
    n: int
    mean: float

    @classmethod
    def learnt(cls, samples: Sequence[Sample], tolerance: Tolerance, *, zone: str = "UTC") -> Self:
        """Raises TooLittle, and ValueError for values other than 0 and 1."""
        used = sorted((one for one in samples if one.n), key=lambda one: one.at)
        starts = [int(one.at) for one in used]
        when = Seasonal.learnt(starts, zone)
        buckets = Buckets.of_rates(starts, [one.n for one in used], [one.successes for one in used])
        usual = usual_of(
            buckets, when.slots(buckets.start.tolist()), SLOT_COUNTS[when.season], bucket_length(used)
        )
        bounds = tuple(
            _rate_bounds(mean, error, usual, tolerance)
            for mean, error in zip(usual.mean, usual.error, strict=True)
        )
        whole = Sample.merge(used)
        return cls(when, usual, bounds, whole.n, whole.successes / whole.n)


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
    """Of how much arrives in a bucket. expected: of each slot. margins: relative, of each slot, in [0, 1)."""

    when: Seasonal
    expected: tuple[float, ...]
    margins: tuple[float, ...]
    dispersion: float
    inflation: float
    bucket_count: int

    @classmethod
    def learnt(cls, samples: Sequence[Sample], tolerance: Tolerance, *, zone: str = "UTC") -> Self:
        """samples: of every bucket, the empty ones too. Raises TooLittle."""
        used = sorted(samples, key=lambda one: one.at)
        if len(used) < LEAST_BUCKETS:
            raise TooLittle(f"The reference has {len(used)} buckets; at least {LEAST_BUCKETS} are needed.")
        starts, counts = [int(one.at) for one in used], np.array([one.n for one in used])
        when = Seasonal.learnt(starts, zone)
        slots, slot_count = when.slots(starts), SLOT_COUNTS[when.season]
        dispersion = count_dispersion(counts, slots)
        if dispersion is None:
            raise TooLittle("No two buckets of the reference lie in the same hour; take a longer one.")
        centre = np.bincount(slots, counts, slot_count) / np.maximum(
            np.bincount(slots, minlength=slot_count), 1
        )
        mu = np.maximum(centre[slots], 1e-9)
        standardised = (counts - mu) / np.sqrt(mu / count_deflator(mu, dispersion))
        inflation = dependence(starts, standardised, slots, bucket_seconds=bucket_length(used)).inflation
        found = slot_counts(counts, slots, slot_count, dispersion=dispersion, inflation=inflation)
        if found is None:
            raise TooLittle("The reference has no buckets.")
        expected = np.maximum(found.mean, 0.0)
        unknown = Z * found.error / np.maximum(expected, 1e-9)
        margins = np.minimum(0.95, np.maximum(tolerance.ratio, unknown))
        return cls(when, tuple(expected.tolist()), tuple(margins.tolist()), dispersion, inflation, len(used))


def main_bins(samples: Sequence[Sample]) -> str:
    """The bins that most values are in. Raises TooLittle without values."""
    totals: Counter[str] = Counter()
    for one in samples:
        for name, counts in one.histogram.items():
            totals[name] += sum(counts.values())
    if not totals:
        raise TooLittle("The reference has no values.")
    return max(sorted(totals), key=lambda name: totals[name])


def bucket_length(samples: Sequence[Sample]) -> int:
    """Seconds; of samples that are not alike the most frequent one."""
    lengths = Counter(round(one.seconds) for one in samples)
    return max(1, max(sorted(lengths), key=lambda length: lengths[length], default=1))


def as_json(reference: ScoreReference | RateReference | VolumeReference) -> dict[str, Any]:
    """Numbers, texts and lists only; from_json gives it back to the last bit."""
    if isinstance(reference, ScoreReference):
        return {
            "kind": "score",
            "bins": reference.cells.scheme.name,
            "last_bins": list(reference.cells.last_bins),
            "shares": list(reference.cells.shares),
            **_when(reference.when),
            "usual": [_usual_json(one) for one in reference.usual],
            "allowed": [list(one) for one in reference.allowed],
            "n": reference.n,
            "mean": reference.mean,
            "sd": reference.sd,
        }
    if isinstance(reference, RateReference):
        return {
            "kind": "rate",
            **_when(reference.when),
            "usual": _usual_json(reference.usual),
            "bounds": [list(one) for one in reference.bounds],
            "n": reference.n,
            "mean": reference.mean,
        }
    return {
        "kind": "volume",
        **_when(reference.when),
        "expected": list(reference.expected),
        "margins": list(reference.margins),
        "dispersion": reference.dispersion,
        "inflation": reference.inflation,
        "bucket_count": reference.bucket_count,
    }


def from_json(state: Mapping[str, Any]) -> ScoreReference | RateReference | VolumeReference:
    """What as_json wrote; ValueError for anything else."""
    try:
        when = Seasonal(cast("Season", state["season"]), state["zone"])
        if state["kind"] == "score":
            cells = Cells(bins_named(state["bins"]), tuple(state["last_bins"]), tuple(state["shares"]))
            usual = tuple(_usual_of(one) for one in state["usual"])
            allowed = tuple(tuple(one) for one in state["allowed"])
            return ScoreReference(cells, when, usual, allowed, state["n"], state["mean"], state["sd"])
        if state["kind"] == "rate":
            bounds = tuple((low, high) for low, high in state["bounds"])
            return RateReference(when, _usual_of(state["usual"]), bounds, state["n"], state["mean"])
        if state["kind"] == "volume":
            return VolumeReference(
                when,
                tuple(state["expected"]),
                tuple(state["margins"]),
                state["dispersion"],
                state["inflation"],
                state["bucket_count"],
            )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no reference: {error!r}") from error
    raise ValueError(f"no reference of kind {state['kind']!r}")


def _when(when: Seasonal) -> dict[str, str]:
    return {"season": when.season, "zone": when.zone}


def _usual_json(usual: Usual) -> dict[str, Any]:
    return {
        "mean": list(usual.mean),
        "error": list(usual.error),
        "icc": usual.icc,
        "inflation": usual.inflation,
        "n_eff": usual.n_eff,
        "freedom": usual.freedom,
    }


def _usual_of(state: Mapping[str, Any]) -> Usual:
    return Usual(
        tuple(state["mean"]),
        tuple(state["error"]),
        state["icc"],
        state["inflation"],
        state["n_eff"],
        state["freedom"],
    )
