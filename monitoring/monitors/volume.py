"""Fires when more or less arrives than usual, or nothing at all (drift.md 2.3, increment 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

from monitoring.monitors.deviation import of_volume
from monitoring.monitors.distribution import SIDES, side_of
from monitoring.monitors.drift import VolumeDrift
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable, refuse_negative, values_of
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.reference import Tolerance, VolumeReference
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Betting

_WORDS = {"up": "rose", "down": "fell"}


@dataclass(frozen=True)
class Volume:
    """How many records come in a bucket of time; silence is evidence here."""

    name: ClassVar[str] = "volume"
    title: ClassVar[str] = "volume: more or fewer records come, or none"
    learns: ClassVar[bool] = True
    is_dense: ClassVar[bool] = True
    compares: ClassVar[bool] = False

    side: str = field(default="both", metadata={"choices": SIDES, "help": "Which change is found."})
    ignore_ratio: float = field(
        default=0.2,
        metadata={"help": "Do not mind a volume that is larger or smaller by less than this part of it."},
    )

    @property
    def level(self) -> None:
        return None

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        values = values_of(cls, parameters)
        refuse_negative(values, "ignore_ratio")
        if values.get("ignore_ratio", 0.0) >= 1:
            raise InvalidParameters({"ignore_ratio": "Below 1: at 1 even silence would be ignored."})
        return cls(**values)

    def check(self, metric: Metric) -> None:
        if metric.shape != "volume":
            raise Unwatchable(f"“{metric.key}” is no volume; watch the source “volume” with this kind.")

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> VolumeReference:
        return VolumeReference.learnt(samples, Tolerance(ratio=self.ignore_ratio), zone=zone)

    def watch(self, metric: Metric, learnt: Learnt | None, *, is_compared: bool = False) -> Betting:
        self.check(metric)
        if not isinstance(learnt, VolumeReference):
            raise Unwatchable("Nothing was learnt yet for this kind.")
        sides = side_of(self.side, metric)
        return Betting(VolumeDrift(learnt, sides), partial(of_volume, learnt, sides), _WORDS)
