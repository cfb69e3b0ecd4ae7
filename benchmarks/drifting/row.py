"""One law of streams, and the detectors that learn and watch it in each run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.drifting.engine import Bounded, Judged, judged
from benchmarks.drifting.streams import NOTHING, Change, Family, Law, Source, Stream, effects
from monitoring.monitors.drift import DistributionDrift, RateDrift, Sides
from monitoring.monitors.reference import RateReference, ScoreReference, Tolerance

FloatArray = NDArray[np.float64]

CHECKS = 2_000
"""A budget: one false alarm in so many checks, for all monitors of a row together."""
COPIES = 4
"""Changed streams for each reference."""
EXACT = Tolerance(shift=0.0, stretch=1.0, ratio=0.0)


@dataclass(frozen=True)
class Row:
    """One law of streams, watched by fresh detectors in each run. All shifts are in the family's own unit.

    learns: buckets of the reference, drawn by `reference` (default: as the stream). bounded: BoundedMean in place of a detector
    with a reference. tolerance: of the reference. moved: by how much the stream that stays lies off its reference. monitors: how many share the budget; half of the variance of their wobble is common to them.
    """

    key: str
    title: str
    family: Family
    law: Law = field(default_factory=Law)
    learns: int = 1_000
    reference: Law | None = None
    changes: tuple[Change, ...] = ()
    kind: Literal["distribution", "rate"] = "distribution"
    sides: Sides = "both"
    bounded: Bounded | None = None
    tolerance: Tolerance = EXACT
    moved: float = 0.0
    monitors: int = 1
    checks: int = CHECKS
    runs: int = 50

    @property
    def source(self) -> Source:
        return Source(self.family, self.law)

    def learning(self, rng: Generator, wobble: FloatArray | None = None) -> Stream:
        """The reference."""
        return Source(self.family, self.reference or self.law).stream(rng, self.learns, wobble=wobble)

    def watching(self, rng: Generator, change: Change, wobble: FloatArray | None = None) -> Stream:
        count = self.checks if change is NOTHING else change.checks
        change = replace(change, shift=change.shift + self.moved)
        return self.source.stream(rng, count, first=self.learns, change=change, wobble=wobble)

    def run(self, rng: Generator) -> tuple[Judged, Mapping[str, Judged]]:
        """One stream that stays, or one for each monitor, and COPIES of each change."""
        if self.monitors > 1:
            return self._fleet(rng), {}
        detector = self._detector(self.learning(rng)) if self.bounded is None else None
        stays = self._judged(detector, self.watching(rng, NOTHING))
        changed = {
            one.label: Judged.together(
                [self._judged(detector, self.watching(rng, one)) for _ in range(COPIES)]
            )
            for one in self.changes
        }
        return stays, changed

    def _fleet(self, rng: Generator) -> Judged:
        memory = self.law.memory
        common = [effects(rng, count, memory) for count in (self.learns, self.checks)]
        found = []
        for _ in range(self.monitors):
            learnt, lived = ((one + effects(rng, one.size, memory)) / math.sqrt(2) for one in common)
            detector = self._detector(self.learning(rng, learnt))
            found.append(self._judged(detector, self.watching(rng, NOTHING, lived)))
        return Judged.together(found)

    def _detector(self, learned: Stream) -> DistributionDrift | RateDrift:
        if self.kind == "rate":
            return RateDrift(RateReference.learnt(learned.samples(), self.tolerance), self.sides)
        return DistributionDrift(ScoreReference.learnt(learned.samples(), self.tolerance))

    def _judged(self, detector: DistributionDrift | RateDrift | None, stream: Stream) -> Judged:
        if self.bounded is not None:
            return Judged.of_bets(self.bounded.increments(stream))
        assert detector is not None
        return judged(detector, stream)
