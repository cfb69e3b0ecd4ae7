"""What a monitor kind is: a frozen dataclass whose fields are its parameters, and the watch that it makes for a metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from monitoring.monitors.drift import Sides
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Watch
from triageops.stats.interval import Interval

Shape = Literal["score", "share", "amount", "count", "volume", "unknown"]
"""What values are: between two bounds, 0 or 1, positive with a long tail, whole numbers, how many come, not yet known."""


class InvalidParameters(ValueError):
    """Parameters that a kind cannot work with; `errors` says why, by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in errors.items()))
        self.errors = dict(errors)


class Unwatchable(ValueError):
    """This metric, as it is defined now, cannot be watched by this kind."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a kind has to know of a metric. is_higher_better and bounds: None when nobody has said so."""

    key: str
    unit: str = ""
    bounds: tuple[float, float] | None = None
    is_higher_better: bool | None = None
    shape: Shape = "unknown"

    @property
    def worse(self) -> Sides:
        """The side that is bad; both where nobody has said which."""
        return {True: "down", False: "up", None: "both"}[self.is_higher_better]  # type: ignore[return-value]


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


class Kind(Protocol):
    """A row of the registry. learns: whether it needs a reference; is_dense: whether empty buckets are shown to it too."""

    name: ClassVar[str]
    title: ClassVar[str]
    learns: ClassVar[bool]
    is_dense: ClassVar[bool]
    compares: ClassVar[bool]
    """Whether another variant, at the same time, can be the reference."""
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def level(self) -> float | None:
        """The fixed value that the metric is compared with; None where the reference is learnt."""

    def check(self, metric: Metric) -> None:
        """Raises Unwatchable, and InvalidParameters where parameters do not fit the metric."""

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> Learnt | None:
        """What is usual; None for a kind that learns nothing. Raises TooLittle, and ValueError for unfit values."""

    def watch(self, metric: Metric, learnt: Learnt | None, *, is_compared: bool = False) -> Watch:
        """is_compared: with `Sample.against`, another variant at the same time. Raises what check raises."""

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        """The kind with these parameters; raises InvalidParameters."""


def values_of(kind: type[Kind], parameters: Mapping[str, object]) -> dict[str, Any]:
    """The parameters, with unknown, missing and unreadable ones refused by name; numbers, or one of the field's choices."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    errors = {name: "There is no such parameter." for name in parameters if name not in fields}
    values: dict[str, Any] = {}
    for name, field in fields.items():
        value = parameters.get(name)
        choices = field.metadata.get("choices")
        if value is None:
            if field.default is dataclasses.MISSING:
                errors[name] = "This is needed."
        elif choices:
            if value not in choices:
                errors[name] = f"This must be one of: {', '.join(choices)}."
            values[name] = value
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            errors[name] = "This must be a number."
        else:
            values[name] = float(value)
    if errors:
        raise InvalidParameters(errors)
    return values


def refuse_negative(values: Mapping[str, Any], *names: str) -> None:
    """Raises InvalidParameters."""
    errors = {name: "This cannot be negative." for name in names if values.get(name, 0.0) < 0}
    if errors:
        raise InvalidParameters(errors)
