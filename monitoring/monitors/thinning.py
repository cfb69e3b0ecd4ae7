"""Fewer points for a plot: neighbouring buckets together, so that nothing that was shown is lost, only blurred."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Watch

Point = tuple[float, float | None, float | None, float | None, float, float | None, int]
"""Start, value, low, high, expected, highest log-evidence, n."""


def points_of(
    watch: Watch,
    samples: Sequence[Sample],
    log_evidence: Sequence[float],
    *,
    start: float,
    end: float,
    count: int,
) -> list[Point]:
    """At most `count`, each of an equally long stretch of time; the value of each is exactly that of all its records."""
    if not samples:
        return []
    seconds = samples[0].seconds
    span = max(1, math.ceil((end - start) / seconds / count)) * seconds
    pairs = zip(samples, log_evidence, strict=True)
    return [
        _point(watch, list(together))
        for _, together in groupby(pairs, lambda pair: (pair[0].at - start) // span)
    ]


def _point(watch: Watch, pairs: Sequence[tuple[Sample, float]]) -> Point:
    samples = [sample for sample, _ in pairs]
    highest = max(evidence for _, evidence in pairs)
    # Of records the larger buckets say more, also about what was usual for them.
    weights = [one.n if watch.is_of_records else 1 for one in samples]
    if not sum(weights):
        weights = [1] * len(samples)
    bands = [watch.band(one) for one in samples]
    known = [(band, weight) for band, weight in zip(bands, weights, strict=True) if band is not None]
    low, high = (_mean((band[side], weight) for band, weight in known) for side in (0, 1))
    expected = _mean(zip((watch.expected(one) for one in samples), weights, strict=True))
    return (
        samples[0].at,
        _rounded(_value(watch, samples)),
        _rounded(low),
        _rounded(high),
        _rounded(expected) or 0.0,
        _rounded(highest),
        sum(one.n for one in samples),
    )


def _value(watch: Watch, samples: Sequence[Sample]) -> float | None:
    if watch.is_of_records:
        return watch.value(samples[0] if len(samples) == 1 else Sample.merge(samples))
    return _mean((watch.value(one) or 0.0, 1) for one in samples)


def _mean(pairs: Iterable[tuple[float, int]]) -> float | None:
    found = list(pairs)
    total = sum(weight for _, weight in found)
    return math.fsum(value * weight for value, weight in found) / total if total else None


def _rounded(value: float | None) -> float | None:
    """Six digits: more cannot be seen."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
