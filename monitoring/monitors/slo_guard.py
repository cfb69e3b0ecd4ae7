"""Fires when the mean of a bounded metric is worse than a fixed level (drift.md 2.3, increment 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from monitoring.monitors.kind import Effect, InvalidParameters, Metric, Unwatchable, finite_numbers
from triageops.stats.change import BoundedMean, magnitude
from triageops.stats.interval import mean_interval
from triageops.stats.moments import Moments


@dataclass(frozen=True)
class SloGuard:
    """No reference is estimated, so there is no error of a reference either: the promise holds from the first bucket."""

    name: ClassVar[str] = "slo_guard"
    title: ClassVar[str] = "fixed level: the mean of a bounded score or a rate"

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
        values = finite_numbers(cls, parameters)
        if values.get("margin", 0.0) < 0:
            raise InvalidParameters({"margin": "This cannot be negative."})
        return cls(**values)

    def detector(self, metric: Metric) -> FixedLevel:
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
        return FixedLevel(bets)


@dataclass(frozen=True)
class FixedLevel:
    """Worse than level by more than margin: fires. Not worse than half the margin, repeatedly: in band again.

    The two lines apart are the hysteresis; what lies between them neither fires nor recovers.
    """

    bets: BoundedMean

    @property
    def baseline_count(self) -> int:
        return len(self.bets.lambdas)

    @property
    def level(self) -> float:
        return self.bets.level

    @property
    def complaint(self) -> str:
        return f"is {'below' if self.bets.worse == 'lower' else 'above'} {self.level:g}"

    def increments(self, moments: Moments) -> tuple[float, ...]:
        return self.bets.increments(moments)

    def effect(self, moments: Moments) -> Effect | None:
        found = magnitude(moments, self.level)
        if found is None:
            return None
        return Effect(moments.mean, self.level, found.value, found.interval, moments.n)

    def is_in_band(self, moments: Moments) -> bool:
        return self._shortfall(moments.mean) <= self.bets.margin / 2

    def is_recovered(self, moments: Moments) -> bool:
        """The whole 95 % interval of the mean lies on the good side of the line that fires."""
        interval = mean_interval(moments)
        if interval is None:
            return False
        worst = interval.low if self.bets.worse == "lower" else interval.high
        return self._shortfall(worst) <= self.bets.margin

    def _shortfall(self, mean: float) -> float:
        """By how much a mean is worse than the level; negative when it is better."""
        return self.level - mean if self.bets.worse == "lower" else mean - self.level
