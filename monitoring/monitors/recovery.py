"""When is it over? Enough good judgements in a row, for long enough; silence proves nothing (drift.md 2.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from monitoring.monitors.kind import Detector
from triageops.stats.moments import Moments

NOTHING = Moments(0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far one slice is on its way back.

    waiting: records that are not yet enough for a judgement. run: all records of the good judgements in a row.
    began_at: start of the first bucket of that run, in unix seconds.
    """

    in_band_count: int = 0
    began_at: float | None = None
    run: Moments = NOTHING
    waiting: Moments = NOTHING
    waiting_since: float | None = None

    def observe(self, moments: Moments, *, at: float, n_min: int, detector: Detector) -> Recovery:
        """Take one closed bucket into account; a bad judgement starts from nothing.

        at: the bucket's start. n_min: records that one judgement needs; small buckets wait for each other, so that
        low volume makes recovery slower, never easier. A bucket without records changes nothing.
        """
        if moments.n == 0:
            return self
        since = at if self.waiting_since is None else self.waiting_since
        waiting = self.waiting + moments
        if waiting.n < n_min:
            return replace(self, waiting=waiting, waiting_since=since)
        if not detector.is_in_band(waiting):
            return Recovery()
        began_at = since if self.began_at is None else self.began_at
        return Recovery(self.in_band_count + 1, began_at, self.run + waiting)

    def is_complete(self, *, until: float, count: int, hold_seconds: float, detector: Detector) -> bool:
        """Whether `count` judgements in a row were good, over at least hold_seconds, and together prove it."""
        if self.in_band_count < count or self.began_at is None or until - self.began_at < hold_seconds:
            return False
        return detector.is_recovered(self.run)

    def as_json(self) -> dict[str, Any]:
        return {
            "in_band_count": self.in_band_count,
            "began_at": self.began_at,
            "run": _as_list(self.run),
            "waiting": _as_list(self.waiting),
            "waiting_since": self.waiting_since,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Recovery:
        """What as_json wrote; an empty mapping is a recovery that has not begun."""
        if not state:
            return cls()
        moments = {name: Moments(*state[name]) for name in ("run", "waiting")}
        return cls(**{**state, **moments})


def _as_list(moments: Moments) -> list[float]:
    return [moments.n, moments.mean, moments.m2]
