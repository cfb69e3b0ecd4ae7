"""What a monitor kind is: a frozen dataclass whose fields are its parameters, and the detector it makes for a metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from triageops.stats.interval import Interval
from triageops.stats.moments import Moments


class InvalidParameters(ValueError):
    """Parameters that a kind cannot work with; `errors` says why, by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in errors.items()))
        self.errors = dict(errors)


class Unwatchable(ValueError):
    """This metric, as it is defined now, cannot be watched by this kind."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a kind has to know of a quality metric. is_higher_better and bounds: None when nobody has said so."""

    key: str
    unit: str = ""
    bounds: tuple[float, float] | None = None
    is_higher_better: bool | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """How far the metric is off, in its own unit; `difference` is current - level, `interval` (95 %) belongs to it."""

    current: float
    level: float
    difference: float
    interval: Interval | None
    n: int

    def as_json(self) -> dict[str, float | int | None]:
        return {
            "current": self.current,
            "level": self.level,
            "difference": self.difference,
            "low": self.interval.low if self.interval else None,
            "high": self.interval.high if self.interval else None,
            "n": self.n,
        }


class Detector(Protocol):
    """A kind with its parameters, made ready for one metric."""

    @property
    def baseline_count(self) -> int: ...

    @property
    def complaint(self) -> str:
        """What an alarm says of the metric, as in “{metric} {complaint}”."""

    def increments(self, moments: Moments) -> Sequence[float]:
        """Log-e-increments of one closed bucket; ValueError for values that the metric's definition excludes."""

    def effect(self, moments: Moments) -> Effect | None: ...

    def is_in_band(self, moments: Moments) -> bool:
        """Whether these records, on their own, look as they should."""

    def is_recovered(self, moments: Moments) -> bool:
        """Whether all records since the last bad ones show that it is over."""


class Kind(Protocol):
    """A row of the registry."""

    name: ClassVar[str]
    title: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def level(self) -> float | None:
        """The fixed value that the metric is compared with; None where the reference is learnt."""

    def detector(self, metric: Metric) -> Detector:
        """Raises Unwatchable."""

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        """The kind with these parameters; raises InvalidParameters."""


def finite_numbers(kind: type[Kind], parameters: Mapping[str, object]) -> dict[str, float]:
    """The parameters, all numbers, with unknown, missing and unreadable ones refused by name."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    errors = {name: "There is no such parameter." for name in parameters if name not in fields}
    values = {}
    for name, field in fields.items():
        value = parameters.get(name)
        if value is None:
            if field.default is dataclasses.MISSING:
                errors[name] = "This is needed."
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            errors[name] = "This must be a number."
        else:
            values[name] = float(value)
    if errors:
        raise InvalidParameters(errors)
    return values
