"""How soon would it be found? Changes put into the past, and the time until the first alarm."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from monitoring.monitors.changes import Injection
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Run, State, Watch

TRY_COUNT = 5

Frozen = Callable[[Sample], bool]


@dataclass(frozen=True)
class Found:
    """delays: of each try, from the start of the first changed bucket to the end of the one that raised the alarm."""

    injection: Injection
    delays: Sequence[float | None]

    def as_json(self) -> dict[str, Any]:
        found = [delay for delay in self.delays if delay is not None]
        return {
            "name": self.injection.name,
            "size": self.injection.size,
            "side": self.injection.side,
            "found": len(found),
            "tries": len(self.delays),
            "median_seconds": _median(self.delays),
            "delays": list(self.delays),
        }


@dataclass(frozen=True)
class Trials:
    """One slice's past, and what is known of it at the times at which changes begin."""

    watch: Watch
    samples: Sequence[Sample]
    budget_per_second: float
    frozen: Frozen
    positions: Sequence[int]
    states: Sequence[State]

    @classmethod
    def of(cls, watch: Watch, samples: Sequence[Sample], budget_per_second: float, frozen: Frozen) -> Trials:
        positions = _positions(samples)
        run, states = watch.resume({}), []
        for position, sample in enumerate(samples[: max(positions, default=-1) + 1]):
            states += [run.as_json()] * (position in positions)
            _advance(run, sample, budget_per_second, frozen)
        return cls(watch, samples, budget_per_second, frozen, positions, states)

    def of_injection(self, one: Injection, tell: Callable[[], None] = lambda: None) -> Found:
        """tell: called after each try."""
        delays = []
        for position, state in zip(self.positions, self.states, strict=True):
            found = self._first_alarm(one.change(self.samples[position:]), state)
            delays.append(None if found is None else found - self.samples[position].at)
            tell()
        return Found(one, delays)

    def _first_alarm(self, samples: Iterable[Sample], state: State) -> float | None:
        run = self.watch.resume(state)
        for sample in samples:
            if _advance(run, sample, self.budget_per_second, self.frozen):
                return sample.at + sample.seconds
        return None


def _advance(run: Run, sample: Sample, budget_per_second: float, frozen: Frozen) -> bool:
    """Whether that bucket raised an alarm."""
    if frozen(sample):
        run.freeze(sample)
        return False
    return run.take(sample, budget_per_second=budget_per_second).finding is not None


def _positions(samples: Sequence[Sample]) -> list[int]:
    """Where changes begin: spread evenly over the first two thirds of the time."""
    if not samples:
        return []
    first, last = samples[0].at, samples[-1].at + samples[-1].seconds
    times = [sample.at for sample in samples]
    wanted = [first + (number + 0.5) / TRY_COUNT * (last - first) * 2 / 3 for number in range(TRY_COUNT)]
    return sorted({min(bisect_left(times, at), len(samples) - 1) for at in wanted})


def _median(delays: Sequence[float | None]) -> float | None:
    """A try that found nothing took longer than any that did; None when half of them or more found nothing."""
    middle = median(math.inf if delay is None else delay for delay in delays) if delays else math.inf
    return middle if math.isfinite(middle) else None
