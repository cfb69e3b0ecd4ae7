"""What is asked of a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from monitoring.monitors.drift import Sides
from monitoring.monitors.reference import RateReference, ScoreReference, Tolerance, VolumeReference
from triageops.stats.histogram import UniformBins

Kind = Literal["distribution", "rate", "volume"]


ValueIs = Literal["share", "count", "event"]
Reference = ScoreReference | RateReference | VolumeReference


DAY_SECONDS = 86_400


MONTH_SECONDS = 30 * DAY_SECONDS


class Unusable(ValueError):
    """The file or an option cannot be used; the text says why, and in which line."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the file. budget: false alarms in 30 days. reference_until: unix seconds, instead of the share.

    value_is: of a rate's rows with n a share or a count of successes; "event": each row of a volume counts as one. bounds: of a
    distribution's values.
    """

    kind: Kind
    budget: float = 1.0
    bucket_seconds: int = 300
    reference_share: float = 0.5
    reference_until: float | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    sides: Sides = "both"
    zone: str = "UTC"
    value_is: ValueIs | None = None
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        seconds, tolerance = self.bucket_seconds, self.tolerance
        allowed = {
            "distribution": (None,),
            "rate": (None, "share", "count"),
            "volume": (None, "count", "event"),
        }
        checks = (
            (
                seconds > 0 and DAY_SECONDS % seconds == 0,
                f"a bucket of {seconds} seconds does not divide a day",
            ),
            (0 < self.budget < math.inf, f"a budget of {self.budget:g} false alarms in 30 days"),
            (0 < self.reference_share < 1, f"a reference of {self.reference_share:g}, not between 0 and 1"),
            (0 <= tolerance.shift < math.inf, f"a shift of {tolerance.shift:g} to ignore"),
            (0 <= tolerance.ratio < math.inf, f"a ratio of {tolerance.ratio:g} to ignore"),
            (self.value_is in allowed[self.kind], f"the value of a {self.kind} is no {self.value_is}"),
            (self.bounds is None or self.kind == "distribution", "bounds are for a distribution"),
        )
        for is_fine, problem in checks:
            if not is_fine:
                raise Unusable(problem)
        if self.bounds is not None:
            try:
                UniformBins(*self.bounds)
            except ValueError as error:
                raise Unusable(str(error)) from error

    @property
    def budget_per_second(self) -> float:
        return self.budget / MONTH_SECONDS

    def clock(self, at: float) -> str:
        """A time as people read it, in the zone."""
        exact = "seconds" if self.bucket_seconds % 60 else "minutes"
        return datetime.fromtimestamp(at, tz=ZoneInfo(self.zone)).isoformat(sep=" ", timespec=exact)
