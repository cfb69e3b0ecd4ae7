"""Fires when a distribution is no longer the usual one: its mean, its spread or its tails (drift.md 2.3, increment 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

from monitoring.monitors.comparison import ScoreComparison, score_differences
from monitoring.monitors.deviation import of_scores
from monitoring.monitors.drift import DistributionDrift, Sides
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable, refuse_negative, values_of
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.reference import ScoreReference, Tolerance
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Betting

SIDES = {
    "both": "higher and lower",
    "worse": "only what is worse",
    "up": "only higher",
    "down": "only lower",
}

_WORDS = {
    "up": "rose",
    "down": "fell",
    "wider": "spreads more than usual",
    "narrower": "spreads less than usual",
    "top tail": "has more of its highest values than usual",
    "bottom tail": "has more of its lowest values than usual",
}


def side_of(chosen: str, metric: Metric) -> Sides:
    """What “only what is worse” means for this metric."""
    found: dict[str, Sides] = {"both": "both", "up": "up", "down": "down", "worse": metric.worse}
    return found[chosen]


@dataclass(frozen=True)
class Distribution:
    """Mean, spread and tails at once, against what was learnt."""

    name: ClassVar[str] = "distribution"
    title: ClassVar[str] = "distribution: the mean, the spread or the tails change"
    learns: ClassVar[bool] = True
    is_dense: ClassVar[bool] = False
    compares: ClassVar[bool] = True

    side: str = field(
        default="both",
        metadata={"choices": SIDES, "help": "A wider or narrower spread is found whatever you choose."},
    )
    ignore_shift: float = field(
        default=0.1,
        metadata={
            "help": "Do not mind a shift of the mean by less than so many standard deviations of a record."
        },
    )
    ignore_stretch: float = field(
        default=0.1,
        metadata={
            "help": "Do not mind a spread that is larger or smaller by less than this share; 0.1: 10 %."
        },
    )

    @property
    def level(self) -> None:
        return None

    @property
    def _tolerance(self) -> Tolerance:
        return Tolerance(shift=self.ignore_shift, stretch=1 + self.ignore_stretch)

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        values = values_of(cls, parameters)
        refuse_negative(values, "ignore_shift", "ignore_stretch")
        if values.get("ignore_shift", 0.0) > 3:
            raise InvalidParameters({"ignore_shift": "Nothing is left to find beyond 3 standard deviations."})
        return cls(**values)

    def check(self, metric: Metric) -> None:
        if metric.shape in {"share", "volume"}:
            raise Unwatchable(f"“{metric.key}” has no distribution to speak of: use the kind for it.")

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> ScoreReference:
        return ScoreReference.learnt(samples, self._tolerance, zone=zone)

    def watch(self, metric: Metric, learnt: Learnt | None, *, is_compared: bool = False) -> Betting:
        self.check(metric)
        if not isinstance(learnt, ScoreReference):
            raise Unwatchable("Nothing was learnt yet for this kind.")
        sides = side_of(self.side, metric)
        if is_compared:
            detector = ScoreComparison(learnt, sides, self._tolerance)
            judge = partial(score_differences, learnt, sides, tolerance=self._tolerance)
            return Betting(detector, judge, against(_WORDS))
        return Betting(DistributionDrift(learnt, sides), partial(of_scores, learnt, sides), _WORDS)


def against(words: Mapping[str, str]) -> dict[str, str]:
    """What is found says how it differs from the other variant, not from what was."""
    told = {"rose": "is above the control", "fell": "is below the control"}
    return {
        label: told.get(text, text.replace("than usual", "than the control's"))
        for label, text in words.items()
    }
