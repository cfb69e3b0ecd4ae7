"""Fires when the mean of a bounded metric is worse than a fixed level (drift.md 2.3, increment 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal, Self

import numpy as np

from monitoring.monitors.deviation import of_level
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable, refuse_negative, values_of
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Betting
from triageops.stats.change import BoundedMean

_FAR = 4.0


@dataclass(frozen=True)
class SloGuard:
    """No reference is estimated, so there is no error of a reference either: the promise holds from the first bucket."""

    name: ClassVar[str] = "slo_guard"
    title: ClassVar[str] = "fixed level: the mean of a bounded score or a rate"
    learns: ClassVar[bool] = False
    is_dense: ClassVar[bool] = False
    compares: ClassVar[bool] = False

    level: float = field(
        metadata={
            "help": "The required mean, in the metric's own unit. Which side is worse is said by the metric."
        }
    )
    margin: float = field(
        default=0.0,
        metadata={
            "help": "Do not mind a mean that is worse than the level by less than this. 0 minds everything."
        },
    )

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        values = values_of(cls, parameters)
        refuse_negative(values, "margin")
        return cls(**values)

    def check(self, metric: Metric) -> None:
        self._bets(metric)

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> None:
        """Nothing."""

    def watch(self, metric: Metric, learnt: Learnt | None = None, *, is_compared: bool = False) -> Betting:
        bets = self._bets(metric)
        side = "below" if bets.worse == "lower" else "above"
        return Betting(
            FixedLevel(bets),
            partial(of_level, bets.level, bets.margin, bets.worse),
            {bets.worse: f"is {side} {bets.level:g}"},
            # A fixed level is no forecast of a bucket: nothing is impossible under it by itself.
            anomaly_share=0.0,
        )

    def _bets(self, metric: Metric) -> BoundedMean:
        if metric.bounds is None:
            raise Unwatchable(
                f"“{metric.key}” has no bounds. Classify it as a score between two bounds or as a rate first."
            )
        if metric.is_higher_better is None:
            raise Unwatchable(f"Nobody has said yet whether more or less of “{metric.key}” is better.")
        low, high = metric.bounds
        worse: Literal["lower", "higher"] = "lower" if metric.is_higher_better else "higher"
        boundary = self.level - self.margin if metric.is_higher_better else self.level + self.margin
        if not low < boundary < high or not low <= self.level <= high:
            raise InvalidParameters(
                {
                    "level": f"The level, margin included, must lie between {low:g} and {high:g}, the metric's bounds."
                }
            )
        bets = BoundedMean(level=self.level, low=low, high=high, worse=worse, margin=self.margin)
        reach = (
            (high - boundary) / (boundary - low)
            if worse == "higher"
            else (boundary - low) / (high - boundary)
        )
        return replace(bets, lambdas=_lambdas(reach)) if reach > _FAR else bets


def _lambdas(reach: float) -> tuple[float, ...]:
    """reach: the distance to the bad bound in that to the good one. A rare event lies far beyond the level, and only bets as
    small as its share gain by it; scores that hardly vary want the large ones.
    """
    return tuple(np.geomspace(0.25 / reach, 0.75, 9).tolist())


@dataclass(frozen=True)
class FixedLevel:
    """Worse than level by more than margin: fires."""

    is_of_records: ClassVar[bool] = True

    bets: BoundedMean

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.bets.worse,) * len(self.bets.lambdas)

    def increments(self, sample: Sample) -> tuple[float, ...]:
        return self.bets.increments(sample.moments)

    def expected(self, sample: Sample) -> float:
        return self.bets.level

    def value(self, sample: Sample) -> float | None:
        return sample.moments.mean if sample.n else None

    def band(self, sample: Sample) -> tuple[float, float]:
        bets = self.bets
        return (bets.null_level, bets.high) if bets.worse == "lower" else (bets.low, bets.null_level)
