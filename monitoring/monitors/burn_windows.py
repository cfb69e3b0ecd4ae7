"""What a burn rate remembers: counts of the last hours and days, and which alarms are still to end."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from monitoring.monitors.clock import elapsed_until, time_in
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Finding, State, Taken

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Pair:
    """Both windows have to burn faster than factor. long, short: seconds."""

    label: str
    factor: float
    long: int
    short: int


PAIRS = (
    Pair("page (14.4x)", 14.4, _HOUR, 5 * _MINUTE),
    Pair("page (6x)", 6.0, 6 * _HOUR, 30 * _MINUTE),
    Pair("ticket (1x)", 1.0, 3 * _DAY, 6 * _HOUR),
)
_RECENT, _KEPT = 6 * _HOUR, 3 * _DAY


class Count(NamedTuple):
    """From `at` on, for `seconds`: n records, `bad` of them bad."""

    at: float
    seconds: float
    n: int
    bad: int


@dataclass
class BurnRun:
    """recent: each bucket, or minute where buckets are shorter, of 6 hours; hours: of 3 days. Both ascend in time.

    at: end of the last bucket, in unix seconds. above: labels of the pairs that have fired and were not below since.
    """

    budget: float
    least_records: float
    counts: Callable[[Sample], tuple[int, int]]
    at: float | None = None
    recent: list[Count] = field(default_factory=list)
    hours: list[Count] = field(default_factory=list)
    above: list[str] = field(default_factory=list)

    def take(self, sample: Sample, *, budget_per_second: float) -> Taken:
        """Whatever the budget is. ValueError also for buckets that do not divide an hour, or are out of order."""
        elapsed = elapsed_until(sample, self.at)
        n, bad = self.counts(sample)
        _refuse_odd(sample.seconds)
        self.at = end = sample.at + sample.seconds
        if n:
            _add(self.recent, sample, max(sample.seconds, _MINUTE), n, bad)
            _add(self.hours, sample, _HOUR, n, bad)
        self.recent = [one for one in self.recent if one.at + one.seconds > end - _RECENT]
        self.hours = [one for one in self.hours if one.at + one.seconds > end - _KEPT]
        ratios = {pair: self._ratio(pair, end) for pair in PAIRS}
        known = {pair: ratio for pair, ratio in ratios.items() if ratio is not None}
        fired = [pair for pair, ratio in known.items() if ratio > 1 and pair.label not in self.above]
        self.above = [
            pair.label
            for pair, ratio in ratios.items()
            if (pair.label in self.above if ratio is None else ratio > 1)
        ]
        highest = _log(max(known.values(), default=0.0))
        if not fired:
            return Taken(highest, elapsed_seconds=elapsed)
        found = Finding(fired[0].label, self._onset(fired[0], end), _log(known[fired[0]]))
        return Taken(highest, found, elapsed)

    def freeze(self, sample: Sample) -> None:
        """Its records are in no window, but windows go on with the clock."""
        self.at = max(sample.at + sample.seconds, self.at or 0.0)

    def _ratio(self, pair: Pair, end: float) -> float | None:
        """The slower burn of the two windows over the factor; None when the short one has too few records."""
        n, bad = _within(self.recent, end - pair.short)
        if n < self.least_records:
            return None
        long_n, long_bad = _within(self.recent if pair.long <= _RECENT else self.hours, end - pair.long)
        return min(bad / n, long_bad / long_n) / (self.budget * pair.factor)

    def _onset(self, pair: Pair, end: float) -> float:
        """Start of the last run of buckets, of those with records, that each burn too fast; it reaches into the short window."""
        is_above = [one.bad > one.n * self.budget * pair.factor for one in self.recent]
        first = bisect_right(self.recent, end - pair.short, key=lambda one: one.at + one.seconds)
        shown = [position for position in range(first, len(is_above)) if is_above[position]]
        last = shown[-1] if shown else len(is_above) - 1
        while last and is_above[last - 1]:
            last -= 1
        return self.recent[last].at

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at,
            "recent": [list(one) for one in self.recent],
            "hours": [list(one) for one in self.hours],
            "above": list(self.above),
        }

    @classmethod
    def from_json(
        cls,
        budget: float,
        least_records: float,
        counts: Callable[[Sample], tuple[int, int]],
        state: State,
    ) -> Self:
        """What as_json wrote; ValueError for anything else."""
        at = time_in(state)
        if not state:
            return cls(budget, least_records, counts)
        try:
            recent, hours = ([_count(one) for one in state[name]] for name in ("recent", "hours"))
            above = [pair.label for pair in PAIRS if pair.label in state["above"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"no state of a burn rate: {error!r}") from error
        return cls(budget, least_records, counts, at, recent, hours, above)


def _add(counts: list[Count], sample: Sample, grain: float, n: int, bad: int) -> None:
    at = math.floor(sample.at / grain) * grain if grain > sample.seconds else sample.at
    if counts and counts[-1].at == at:
        last = counts.pop()
        n, bad = n + last.n, bad + last.bad
    counts.append(Count(at, grain, n, bad))


def _within(counts: Iterable[Count], begin: float) -> tuple[int, int]:
    """Of what lies after begin, or over it."""
    shown = [one for one in counts if one.at + one.seconds > begin]
    return sum(one.n for one in shown), sum(one.bad for one in shown)


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf


def _refuse_odd(seconds: float) -> None:
    if not 0 < seconds <= _HOUR or _HOUR % seconds:
        raise ValueError(f"buckets of {seconds:g} s do not divide an hour")


def _count(state: list[Any]) -> Count:
    at, seconds, n, bad = state
    if not 0 <= bad <= n:
        raise ValueError(f"{bad} bad records of {n}")
    return Count(float(at), float(seconds), int(n), int(bad))
