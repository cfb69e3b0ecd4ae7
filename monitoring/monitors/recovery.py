"""When is it over? Enough good judgements in a row, for long enough; silence proves nothing (drift.md 2.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from monitoring.monitors.deviation import Deviation, Deviations, merged

_CREDIBLE = 3
"""Good judgements in a row."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far one slice is on its way back.

    waiting: records that are not yet enough for a judgement. run: all records since the last judgement that was bad for
    sure. in_band_count: good judgements in that run. began_at: start of its first bucket, in unix seconds.
    """

    in_band_count: int = 0
    began_at: float | None = None
    run: Deviations = ()
    waiting: Deviations = ()
    waiting_since: float | None = None

    def observe(self, shown: Deviations, *, at: float, n_min: int) -> Recovery:
        """Take one closed bucket into account; a judgement that is bad for sure starts from nothing.

        at: the bucket's start. n_min: records that one judgement needs; small buckets wait for each other, so that
        low volume makes recovery slower, never easier. A bucket that says nothing changes nothing.
        """
        if not shown:
            return self
        since = at if self.waiting_since is None else self.waiting_since
        waiting = merged((self.waiting, shown))
        if waiting[0].excess.n < n_min:
            return replace(self, waiting=waiting, waiting_since=since)
        run = merged((self.run, waiting))
        # Small samples show little; together they show what each of them cannot.
        if any(side.is_off for side in (*waiting, *run)):
            return Recovery()
        began_at = since if self.began_at is None else self.began_at
        is_good = all(side.is_in_band for side in run)
        return Recovery(self.in_band_count + is_good, began_at, run)

    def is_credible(self, *, count: int) -> bool:
        """Whether it may be called on its way back, where `count` good judgements are the end of it.

        Of a fixed level the first good judgement says so. Beside what was learnt small samples are good by chance: something
        0.3 sd off, in buckets of 20, went back and forth 18 times in 3000 buckets after one, 6 times after two, twice after 3.
        """
        is_strict = bool(self.run) and all(side.is_strict for side in self.run)
        return self.in_band_count >= (1 if is_strict else max(_CREDIBLE, (count + 1) // 2))

    def is_complete(self, *, until: float, count: int, hold_seconds: float) -> bool:
        """Whether `count` judgements were good with no bad one, over at least hold_seconds, and together prove it."""
        if self.in_band_count < count or self.began_at is None or until - self.began_at < hold_seconds:
            return False
        return all(side.is_settled for side in self.run)

    def as_json(self) -> dict[str, Any]:
        return {
            "in_band_count": self.in_band_count,
            "began_at": self.began_at,
            "run": [side.as_json() for side in self.run],
            "waiting": [side.as_json() for side in self.waiting],
            "waiting_since": self.waiting_since,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Recovery:
        """What as_json wrote; nothing, or what an earlier release wrote, is a recovery that has not begun."""
        if not all(isinstance(side, list) for name in ("run", "waiting") for side in state.get(name, [0])):
            return cls()
        sides = {
            name: tuple(Deviation.from_json(side) for side in state[name]) for name in ("run", "waiting")
        }
        return cls(**{**state, **sides})
