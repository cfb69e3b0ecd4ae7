"""Fires when a share is no longer the usual one (drift.md 2.3, increment 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

from monitoring.monitors.comparison import ShareComparison, share_differences
from monitoring.monitors.deviation import of_share
from monitoring.monitors.distribution import SIDES, against, side_of
from monitoring.monitors.drift import RateDrift
from monitoring.monitors.kind import Metric, Unwatchable, refuse_negative, values_of
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.reference import RateReference, Tolerance
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Betting

_WORDS = {"up": "rose", "down": "fell"}


@dataclass(frozen=True)
class Rate:
    """A share of records: errors, thumbs down, cache hits."""

    name: ClassVar[str] = "rate"
    title: ClassVar[str] = "rate: a share of records changes"
    learns: ClassVar[bool] = True
    is_dense: ClassVar[bool] = False
    compares: ClassVar[bool] = True

    side: str = field(default="both", metadata={"choices": SIDES, "help": "Which change is found."})
    ignore_ratio: float = field(
        default=0.1,
        metadata={"help": "Do not mind a share that is larger or smaller by less than this part of it."},
    )
    ignore_points: float = field(
        default=0.0,
        metadata={"help": "Nor one that differs by less than this; 0.01 is one percentage point."},
    )

    @property
    def level(self) -> None:
        return None

    @property
    def _tolerance(self) -> Tolerance:
        return Tolerance(ratio=self.ignore_ratio, absolute=self.ignore_points)

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        values = values_of(cls, parameters)
        refuse_negative(values, "ignore_ratio", "ignore_points")
        return cls(**values)

    def check(self, metric: Metric) -> None:
        if metric.shape not in {"share", "unknown"}:
            raise Unwatchable(f"“{metric.key}” is no share of records: its values are not only 0 and 1.")

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> RateReference:
        return RateReference.learnt(samples, self._tolerance, zone=zone)

    def watch(self, metric: Metric, learnt: Learnt | None, *, is_compared: bool = False) -> Betting:
        self.check(metric)
        if not isinstance(learnt, RateReference):
            raise Unwatchable("Nothing was learnt yet for this kind.")
        sides = side_of(self.side, metric)
        if is_compared:
            detector = ShareComparison(learnt, sides, self._tolerance)
            judge = partial(share_differences, learnt, sides, tolerance=self._tolerance)
            return Betting(detector, judge, against(_WORDS))
        return Betting(RateDrift(learnt, sides), partial(of_share, learnt, sides), _WORDS)
