"""The state of a change detector (triageops.stats.change), and how it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a detector knows of each baseline: log M, log g and when g left zero; and its last step's
    time.

    g = max(0, g + l) is the CUSUM of the baseline, on the logarithmic scale. onset_at is the start of the
    bucket that took it above zero, in unix seconds, None while it is zero.
    """

    log_m: tuple[float, ...]
    log_g: tuple[float, ...]
    onset_at: tuple[float | None, ...]
    at: float | None = None

    def __post_init__(self) -> None:
        if not self.log_m or not len(self.log_m) == len(self.log_g) == len(self.onset_at):
            raise ValueError("evidence needs log_m, log_g and onset_at of one length above zero")
        if any(math.isnan(m) or m == math.inf for m in self.log_m):
            raise ValueError("log_m is NaN or plus infinity")
        if not all(math.isfinite(g) and g >= 0 for g in self.log_g):
            raise ValueError("log_g is negative or not finite")
        times = [time for time in (*self.onset_at, self.at) if time is not None]
        if not all(math.isfinite(time) for time in times):
            raise ValueError("a time is not finite")

    @classmethod
    def none(cls, baseline_count: int, at: float | None = None) -> Evidence:
        """The state of a new detector, and of one that has just alarmed."""
        return cls((-math.inf,) * baseline_count, (0.0,) * baseline_count, (None,) * baseline_count, at)

    def as_json(self) -> dict[str, object]:
        """Numbers, lists and null only; a log_m of minus infinity, which JSON does not know, is null."""
        return {
            "log_m": [None if m == -math.inf else m for m in self.log_m],
            "log_g": list(self.log_g),
            "onset_at": list(self.onset_at),
            "at": self.at,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> Evidence:
        """The evidence that as_json wrote, to the last bit; ValueError for anything else."""
        at = _number(state.get("at"))
        log_m = (_number(m) for m in _list(state, "log_m"))
        log_g = (_number(g) for g in _list(state, "log_g"))
        return cls(
            tuple(-math.inf if m is None else m for m in log_m),
            tuple(math.nan if g is None else g for g in log_g),
            tuple(_number(onset) for onset in _list(state, "onset_at")),
            at,
        )


def _list(state: Mapping[str, object], key: str) -> list[object]:
    match state.get(key):
        case list() as value:
            return value
        case _:
            raise ValueError(f"evidence needs a list {key}")


def _number(value: object) -> float | None:
    match value:
        case None:
            return None
        case int() | float() if not isinstance(value, bool):
            return float(value)
        case _:
            raise ValueError(f"{value!r} is not a number")
