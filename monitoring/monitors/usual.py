"""What is usual of one quantity in each slot of the season, how well that is known, and what a bucket is worth beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, cast
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from monitoring.monitors.sample import Sample
from triageops.stats.buckets import Buckets
from triageops.stats.dependence import dependence
from triageops.stats.margins import Z
from triageops.stats.season import SLOT_COUNTS, Season, chosen, slot_index, slot_means, slot_of
from triageops.stats.season_evidence import shows_hours
from triageops.stats.variance import Components, components, effective_count, residuals

IntArray = NDArray[np.int64]

LEAST_BUCKETS = 20
LEAST_RECORDS = 100


class TooLittle(ValueError):
    """The reference holds too little to learn from; says what is missing."""


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

    @classmethod
    def of(cls, buckets: Buckets, slots: IntArray, slot_count: int, wobble: tuple[Components, float]) -> Self:
        """Of the means of buckets; wobble: wobble_of these. Raises TooLittle."""
        learned, inflation = wobble
        found = slot_means(buckets, slots, slot_count, learned=learned, inflation=inflation)
        if found is None:
            raise TooLittle("The reference has no bucket with records.")
        return cls(
            tuple(found.mean.tolist()),
            tuple(found.error.tolist()),
            learned.icc,
            inflation,
            effective_count(buckets, learned, inflation),
            learned.degrees_of_freedom,
        )

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        return cls(
            tuple(state["mean"]),
            tuple(state["error"]),
            state["icc"],
            state["inflation"],
            state["n_eff"],
            state["freedom"],
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "mean": list(self.mean),
            "error": list(self.error),
            "icc": self.icc,
            "inflation": self.inflation,
            "n_eff": self.n_eff,
            "freedom": self.freedom,
        }

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

    @property
    def slot_count(self) -> int:
        return SLOT_COUNTS[self.season]

    def slot(self, at: float) -> int:
        return slot_of(at, self.season, self._zone)

    def slots(self, starts: Sequence[float]) -> IntArray:
        return slot_index(np.array(starts, dtype=np.int64), self.season, self._zone)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @classmethod
    def learnt(cls, starts: Sequence[float], zone: str, each: Sequence[Buckets] = ()) -> Self:
        """starts: of all buckets. each: of the quantities that may show hours of the day where the time is short."""
        found = chosen(np.array(starts, dtype=np.int64), ZoneInfo(zone))
        if found == "none" and shows_hours(each, ZoneInfo(zone)):
            found = "hour_of_day"
        return cls(found, zone)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        return cls(cast("Season", state["season"]), state["zone"])

    def as_json(self) -> dict[str, str]:
        return {"season": self.season, "zone": self.zone}


def wobble_of(buckets: Buckets, slots: IntArray, bucket_seconds: int) -> tuple[Components, float]:
    """By how much buckets differ, and how alike neighbours are. Raises TooLittle."""
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


def bucket_length(samples: Sequence[Sample]) -> int:
    """Seconds; of samples that are not alike the most frequent one."""
    lengths = Counter(round(one.seconds) for one in samples)
    return max(1, max(sorted(lengths), key=lambda length: lengths[length], default=1))
