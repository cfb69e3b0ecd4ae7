"""Fires at the first record that must not exist: one event is enough, nothing is learnt and no budget is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from monitoring.monitors.clock import elapsed_until, time_in
from monitoring.monitors.deviation import Deviations
from monitoring.monitors.kind import Metric, Unwatchable, values_of
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Finding, State, Taken

LABEL = "event"


@dataclass(frozen=True)
class Never:
    """A stop rule, not a test: the alarm is true whenever the record is, and only a person ends it."""

    name: ClassVar[str] = "never"
    title: ClassVar[str] = "never: a single event is one too many"
    learns: ClassVar[bool] = False
    is_dense: ClassVar[bool] = False
    compares: ClassVar[bool] = False

    above: float = field(
        default=0.0, metadata={"help": "Any value above this is the event. 0 fits a metric of 0 and 1."}
    )

    @property
    def level(self) -> float:
        """Of the share of events."""
        return 0.0

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        return cls(**values_of(cls, parameters))

    def check(self, metric: Metric) -> None:
        if metric.shape == "volume":
            raise Unwatchable(f"“{metric.key}” is a volume: its values are no records that could be events.")
        if metric.bounds is not None and self.above >= metric.bounds[1]:
            raise Unwatchable(
                f"No value of “{metric.key}” can be above {self.above:g}: its upper bound is {metric.bounds[1]:g}."
            )

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> None:
        """Nothing."""

    def watch(self, metric: Metric, learnt: Learnt | None = None, *, is_compared: bool = False) -> NeverWatch:
        self.check(metric)
        return NeverWatch(self.above)


@dataclass(frozen=True)
class NeverWatch:
    """What is shown is the share of records that are events."""

    is_of_records: ClassVar[bool] = True
    recovers: ClassVar[bool] = False

    above: float = 0.0

    def events(self, sample: Sample) -> int:
        """How many; at least 1 where the mean alone says that there is one, and bins are missing.

        By the middles of bins: a value is told from `above` where that lies at a bin's edge, as 0 does.
        """
        histograms = sample.histograms()
        found = sum(
            n
            for one in histograms
            for index, n in one.counts.items()
            if one.scheme.middle(index) > self.above
        )
        if found or sum(one.n for one in histograms) >= sample.n:
            return found
        return 1 if sample.total > sample.n * self.above else 0

    def resume(self, state: State) -> NeverRun:
        return NeverRun(self, time_in(state))

    def expected(self, sample: Sample) -> float:
        return 0.0

    def value(self, sample: Sample) -> float | None:
        return self.events(sample) / sample.n if sample.n else None

    def band(self, sample: Sample) -> tuple[float, float]:
        return 0.0, 0.0

    def deviations(self, sample: Sample) -> Deviations:
        """Nothing: that it did not happen again does not undo it."""
        return ()

    def complaint(self, label: str) -> str:
        return "happened"

    def is_same_change(self, label: str, other: str) -> bool:
        return True


@dataclass
class NeverRun:
    """at: end of the last bucket, in unix seconds."""

    watch: NeverWatch
    at: float | None = None

    def take(self, sample: Sample, *, budget_per_second: float) -> Taken:
        """Whatever the budget is."""
        elapsed = elapsed_until(sample, self.at)
        self.freeze(sample)
        if not self.watch.events(sample):
            return Taken(-math.inf, elapsed_seconds=elapsed)
        return Taken(0.0, Finding(LABEL, sample.at, 0.0), elapsed)

    def freeze(self, sample: Sample) -> None:
        self.at = max(sample.at + sample.seconds, self.at or 0.0)

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at}
