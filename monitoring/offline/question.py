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

Kind = Literal["distribution", "rate", "volume", "slo_guard", "burn_rate", "never"]
ValueIs = Literal["share", "count", "event"]
WorseIs = Literal["lower", "higher"]
Reference = ScoreReference | RateReference | VolumeReference

DAY_SECONDS = 86_400
HOUR_SECONDS = 3600
MONTH_SECONDS = 30 * DAY_SECONDS

_SHARES: tuple[ValueIs | None, ...] = (None, "share", "count")
_VALUES: dict[Kind, tuple[ValueIs | None, ...]] = {
    "distribution": (None,),
    "rate": _SHARES,
    "volume": (None, "count", "event"),
    "slo_guard": _SHARES,
    "burn_rate": _SHARES,
    "never": _SHARES,
}
_OPTIONS: dict[str, tuple[Kind, ...]] = {
    "level": ("slo_guard",),
    "margin": ("slo_guard",),
    "objective": ("burn_rate",),
    "worse_is": ("slo_guard", "burn_rate"),
    "bounds": ("distribution", "slo_guard"),
}
"""Which kinds take what."""
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "slo_guard": ("level", "worse_is"),
    "burn_rate": ("objective", "worse_is"),
}


class Unusable(ValueError):
    """The file or an option cannot be used; the text says why, and in which line."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the file. budget: false alarms in 30 days. reference_until: unix seconds, instead of the share.

    value_is: of rows with n a share or a count of successes; "event": each row of a volume counts as one. bounds: of values.
    level, margin, worse_is, objective: as the parameters of the kinds that learn nothing.
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
    level: float | None = None
    margin: float | None = None
    worse_is: WorseIs | None = None
    objective: float | None = None

    def __post_init__(self) -> None:
        seconds, tolerance = self.bucket_seconds, self.tolerance
        checks = (
            (
                seconds > 0 and DAY_SECONDS % seconds == 0,
                f"a bucket of {seconds} seconds does not divide a day",
            ),
            (0 < self.budget < math.inf, f"a budget of {self.budget:g} false alarms in 30 days"),
            (0 < self.reference_share < 1, f"a reference of {self.reference_share:g}, not between 0 and 1"),
            (0 <= tolerance.shift < math.inf, f"a shift of {tolerance.shift:g} to ignore"),
            (0 <= tolerance.ratio < math.inf, f"a ratio of {tolerance.ratio:g} to ignore"),
            (self.value_is in _VALUES[self.kind], f"the value of a {self.kind} is no {self.value_is}"),
        )
        for is_fine, problem in checks:
            if not is_fine:
                raise Unusable(problem)
        self._refuse_options()
        if self.bounds is not None:
            try:
                UniformBins(*self.bounds)
            except ValueError as error:
                raise Unusable(str(error)) from error

    def _refuse_options(self) -> None:
        for name, kinds in _OPTIONS.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise Unusable(f"{_option(name)} is for {' and '.join(kinds)}")
        for name in _NEEDED.get(self.kind, ()):
            if getattr(self, name) is None:
                raise Unusable(f"{self.kind} needs {_option(name)}")
        is_plain = (self.reference_share, self.reference_until, self.sides, self.tolerance) == (
            *(0.5, None, "both"),
            Tolerance(),
        )
        if not self.learns and not is_plain:
            raise Unusable(f"{self.kind} learns nothing: there is no --reference, --sides or --ignore of it")
        if self.kind == "slo_guard" and not self.are_shares and self.bounds is None:
            raise Unusable("slo_guard needs --bounds LOW,HIGH, which no value may leave")
        if self.kind == "slo_guard" and self.are_shares and self.bounds not in (None, (0.0, 1.0)):
            raise Unusable("the bounds of shares and counts are 0,1")
        if self.kind == "burn_rate" and HOUR_SECONDS % self.bucket_seconds:
            raise Unusable(f"a bucket of {self.bucket_seconds} seconds does not divide an hour")

    @property
    def learns(self) -> bool:
        """Whether the first part of the file is a reference."""
        return self.kind in ("distribution", "rate", "volume")

    @property
    def is_rule(self) -> bool:
        """Whether nothing is promised about false alarms."""
        return self.kind in ("burn_rate", "never")

    @property
    def are_shares(self) -> bool:
        """Whether values are 0 or 1, or with n how many of n are 1."""
        return self.kind == "rate" or self.is_rule or (self.kind == "slo_guard" and self.value_is is not None)

    @property
    def budget_per_second(self) -> float:
        return self.budget / MONTH_SECONDS

    def clock(self, at: float) -> str:
        """A time as people read it, in the zone."""
        exact = "seconds" if self.bucket_seconds % 60 else "minutes"
        return datetime.fromtimestamp(at, tz=ZoneInfo(self.zone)).isoformat(sep=" ", timespec=exact)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
