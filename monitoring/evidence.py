"""What a halt of an experiment was based on: read from JSON in which any part may be missing, and said in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from monitoring.slices import SMALLEST_NAMED_GROUP
from triageops import wording
from triageops.wording import Style

MOST_SAMPLES = 20
_MOST_CHARACTERS = 1000
_MOST_NUMBER = 1e300
_STYLES: dict[str, Style] = {style: style for style in get_args(Style)}
# What lies beyond is not told apart: e to the 34th is more than 10 to the 14th.
_MOST_LOG_E = 34.0


@dataclass(frozen=True)
class Evidence:
    """One halt in numbers; None and empty texts where nothing was written down. `unit` is that of the metric."""

    headline: str
    metric: str
    variant: str
    control: str
    style: Style
    unit: str
    effect: float | None
    low: float | None
    high: float | None
    value_treatment: float | None
    value_control: float | None
    log_e: float | None
    alpha: float | None
    n_treatment: int | None
    n_control: int | None
    affected_count: int | None
    sample_response_ids: tuple[str, ...]

    @classmethod
    def read(cls, given: object) -> Evidence:
        written: Mapping[str, Any] = given if isinstance(given, dict) else {}
        return cls(
            headline=_text(written.get("headline")),
            metric=_text(written.get("metric")),
            variant=_text(written.get("variant")),
            control=_text(written.get("control")),
            style=_STYLES.get(_text(written.get("style")), "number"),
            unit=_text(written.get("unit")),
            effect=_number(written.get("effect")),
            low=_number(written.get("low")),
            high=_number(written.get("high")),
            value_treatment=_number(written.get("value_treatment")),
            value_control=_number(written.get("value_control")),
            log_e=_number(written.get("log_e")),
            alpha=_number(written.get("alpha")),
            n_treatment=_count(written.get("n_treatment")),
            n_control=_count(written.get("n_control")),
            affected_count=_count(written.get("affected_count")),
            sample_response_ids=_samples(written.get("sample_response_ids")),
        )

    @property
    def is_small(self) -> bool:
        """Whether it speaks of a group that messages do not name; a group of unknown size counts as small."""
        known = [n for n in (self.n_treatment, self.n_control, self.affected_count) if n is not None]
        return min(known) < SMALLEST_NAMED_GROUP if known else bool(self.variant)

    @property
    def effect_text(self) -> str:
        """“79.1 % against 83.2 %: -4.10 points (-6.00 to -2.20 points), n = 1 240 and 1 250”; empty without an effect."""
        if self.effect is None:
            return ""
        text = self.difference(self.effect)
        if self.low is not None and self.high is not None:
            text += f" ({self.interval})"
        if self.value_treatment is not None and self.value_control is not None:
            text = f"{self.value(self.value_treatment)} against {self.value(self.value_control)}: {text}"
        if self.n_treatment is not None and self.n_control is not None:
            text += f", n = {wording.count(self.n_treatment)} and {wording.count(self.n_control)}"
        return text

    @property
    def affected_text(self) -> str:
        """“1 240 units, which got claude-2”; empty when nobody counted."""
        if self.affected_count is None:
            return ""
        units = wording.plural(self.affected_count, "unit")
        return f"{units}, which got {self.variant}" if self.variant else units

    @property
    def strength_text(self) -> str:
        """“e = 31.2; a halt needs 20.0”: evidence against the variant, and how much was agreed on."""
        if self.log_e is None:
            return ""
        text = f"e {'>' if self.log_e > _MOST_LOG_E else '='} {wording.number(math.exp(min(self.log_e, _MOST_LOG_E)))}"
        return f"{text}; a halt needs {wording.number(1 / self.alpha)}" if self.alpha else text

    @property
    def interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        if self.style == "share":
            return f"{wording.number(100 * self.low)} to {self.difference(self.high)}"
        return wording.interval(self.low, self.high, self.style) + self._shown_unit

    def value(self, value: float | None) -> str:
        return wording.styled(value, self.style) + ("" if value is None else self._shown_unit)

    def difference(self, value: float | None) -> str:
        """Shares differ by points: “4 %” of a share would mean something else."""
        if value is not None and self.style == "share":
            return f"{wording.number(100 * value)}{wording.NARROW_SPACE}points"
        return self.value(value)

    def as_effect(self) -> dict[str, float | int | None]:
        """In the shape that incidents of monitors have; empty unless it is complete."""
        if None in {self.value_treatment, self.value_control, self.effect, self.n_treatment}:
            return {}
        return {
            "current": self.value_treatment,
            "level": self.value_control,
            "difference": self.effect,
            "low": self.low,
            "high": self.high,
            "n": self.n_treatment,
        }

    @property
    def _shown_unit(self) -> str:
        """The other styles have a unit of their own."""
        is_needed = self.unit and self.style in {"number", "count"}
        return f"{wording.NARROW_SPACE}{self.unit}" if is_needed else ""


def _text(value: object) -> str:
    return value.strip()[:_MOST_CHARACTERS] if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # False for NaN too, and for whole numbers that no float holds.
    return float(value) if -_MOST_NUMBER < value < _MOST_NUMBER else None


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 else None


def _samples(value: object) -> tuple[str, ...]:
    found = value if isinstance(value, list) else []
    return tuple(one for one in found if isinstance(one, str) and one)[:MOST_SAMPLES]
