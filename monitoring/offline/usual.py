"""What the reference shows, to be put beside what came later."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from monitoring.monitors.drift import Detector, DistributionDrift, RateDrift, VolumeDrift
from monitoring.monitors.sample import Sample

_TAILS = {"top tail": 0.95, "bottom tail": 0.05}


class Usual:
    """What the reference shows: in the hours of some buckets, or, for spread and tails, as a whole."""

    def __init__(self, detector: Detector, reference: Sequence[Sample]) -> None:
        self.detector = detector
        self.is_distribution = isinstance(detector, DistributionDrift)
        self.pooled = Sample.merge(reference)
        self.means: dict[int, float] = {}
        if isinstance(detector, DistributionDrift):
            when = detector.reference.when
            slots: dict[int, list[Sample]] = defaultdict(list)
            for slot, one in zip(when.slots([one.at for one in reference]).tolist(), reference, strict=True):
                slots[slot].append(one)
            merged = {slot: Sample.merge(own) for slot, own in slots.items()}
            self.means = {slot: own.moments.mean for slot, own in merged.items() if own.n}
            self.slot = when.slot

    def of(self, samples: Sequence[Sample]) -> float:
        """On average over these buckets: by records, of a volume by buckets."""
        if self.is_distribution:
            each = [self.means.get(self.slot(one.at), self.pooled.moments.mean) for one in samples]
        else:
            each = [self.detector.expected(one) for one in samples]
        weights = [self.weight(one) for one in samples]
        total = sum(weights) or len(samples)
        return math.fsum(x * (w if sum(weights) else 1) for x, w in zip(each, weights, strict=True)) / total

    def weight(self, sample: Sample) -> int:
        return 1 if isinstance(self.detector, VolumeDrift) else sample.n

    def measured(self, label: str, samples: Sequence[Sample]) -> tuple[str, float, float]:
        """(measure, in the reference, now) for what an alarm's label says."""
        now = Sample.merge(samples)
        if self.is_distribution and label in {"wider", "narrower"}:
            return "standard deviation", self.pooled.moments.sd or 0.0, now.moments.sd or 0.0
        if self.is_distribution and label in _TAILS:
            (before,), (after,) = (one.quantiles((_TAILS[label],)) for one in (self.pooled, now))
            return f"{100 * _TAILS[label]:.0f}th percentile", before or 0.0, after or 0.0
        if isinstance(self.detector, VolumeDrift):
            return "number in a bucket", self.of(samples), now.n / len(samples)
        if isinstance(self.detector, RateDrift):
            return "share", self.of(samples), now.successes / now.n if now.n else 0.0
        return "mean", self.of(samples), now.moments.mean
