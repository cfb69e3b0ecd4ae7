"""Runs of a row on several processes, and what is read from them."""

from __future__ import annotations

import math
import multiprocessing
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drifting import peers
from benchmarks.drifting.engine import Judged, delays, watched
from benchmarks.drifting.row import CHECKS, Row
from benchmarks.drifting.streams import NOTHING, Change
from triageops.stats import chi_square

FloatArray = NDArray[np.float64]

CHUNK = 10
"""Runs of one task. Seeds belong to chunks, so the numbers do not depend on the processes."""
MOST_ALARMS, MOST_ALARMS_BOUND, MOST_DELAY = 1.0, 1.2, 1.15


@dataclass(frozen=True)
class Alarms:
    """False alarms of each run, which had one budget each."""

    counts: tuple[int, ...]

    @property
    def mean(self) -> float:
        return sum(self.counts) / len(self.counts)

    @property
    def bound(self) -> float:
        """One-sided, 95 %: normal, and at least what Poisson counts would have (for few alarms)."""
        runs = len(self.counts)
        error = float(np.std(self.counts, ddof=1)) / math.sqrt(runs) if runs > 1 else math.inf
        poisson = chi_square.quantile(0.95, 2 * sum(self.counts) + 2) / 2 / runs
        return max(self.mean + 1.645 * error, poisson)

    @property
    def verdict(self) -> str:
        if self.mean > MOST_ALARMS:
            return "MISSED"
        return "met" if self.bound <= MOST_ALARMS_BOUND else "unsettled"


@dataclass(frozen=True)
class Delay:
    """checks: up to the first alarm; NaN for streams without any within `most`."""

    checks: tuple[float, ...]
    most: int

    @property
    def misses(self) -> int:
        return sum(math.isnan(one) for one in self.checks)

    @property
    def mean(self) -> float:
        """With misses counted as the length of their stream: too small then."""
        return float(np.nan_to_num(np.array(self.checks), nan=self.most).mean())

    @property
    def error(self) -> float:
        found = np.nan_to_num(np.array(self.checks), nan=self.most)
        return float(found.std(ddof=1)) / math.sqrt(found.size) if found.size > 1 else math.inf

    def verdict(self, goal: float | None) -> str:
        """unsettled: missed by less than twice the simulation's own error."""
        if goal is None:
            return ""
        if self.mean <= MOST_DELAY * goal and not self.misses:
            return "met"
        return "unsettled" if self.mean - 2 * self.error <= MOST_DELAY * goal else "MISSED"


@dataclass(frozen=True)
class Result:
    """alarms, delays: ours. others: peer -> alarms per budget; delays_of_others: change -> peer -> delay, or None: never."""

    row: Row
    alarms: Alarms
    delays: Mapping[str, Delay]
    others: Mapping[str, float]
    delays_of_others: Mapping[str, Mapping[str, Delay]]


def generator(row: Row, seed: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(row.key.encode()), *numbers])


def ours(row: Row, seed: int, start: int, count: int) -> tuple[list[int], dict[str, list[float]]]:
    """Of runs start, start + 1, ...: false alarms, and delays of every change."""
    rng = generator(row, seed, start)
    budget = 1 / row.checks / row.monitors
    counts: list[int] = []
    changed: dict[str, list[Judged]] = {}
    staying: list[Judged] = []
    for _ in range(count):
        stays, moved = row.run(rng)
        if row.monitors > 1:
            counts.append(int(watched(stays, budget_per_check=budget).is_alarm.sum()))
        else:
            staying.append(stays)
        for label, found in moved.items():
            changed.setdefault(label, []).append(found)
    if staying:
        found_at = watched(Judged.together(staying), budget_per_check=budget).is_alarm
        counts = found_at.sum(axis=1).tolist()
    return counts, {
        label: delays(watched(Judged.together(found), budget_per_check=budget).is_alarm).tolist()
        for label, found in changed.items()
    }


def theirs(
    row: Row, seed: int, count: int, python: str | None
) -> tuple[dict[str, float], dict[str, dict[str, Delay]]]:
    """Peers on `count` runs of their own. Not for fleets, where each monitor would be like a row of its own."""
    if row.monitors > 1 or not count:
        return {}, {}
    rng = generator(row, seed, 10**9)
    cases: dict[str, list[peers.Case]] = {}
    for _ in range(count):
        reference, _ends = row.learning(rng).values(rng) if row.reference is None else _short(row, rng)
        for change in (NOTHING, *row.changes):
            values, ends = row.watching(rng, change).values(rng)
            cases.setdefault(change.label, []).append(peers.Case(reference, values, ends))
    seen = {
        label: _seen(several, row, python, is_first_enough=label != NOTHING.label)
        for label, several in cases.items()
    }
    still = {
        name: CHECKS * sum(len(one.checks) for one in several) / max(1, sum(one.count for one in several))
        for name, several in seen[NOTHING.label].items()
    }
    moved = {
        change.label: {name: _delay(several, change) for name, several in seen[change.label].items()}
        for change in row.changes
    }
    return still, moved


def _short(row: Row, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.int64]]:
    """20 000 values for those that would not notice ten million."""
    return row.source.stream(rng, 1_000).values(rng)


def _seen(
    cases: Sequence[peers.Case], row: Row, python: str | None, *, is_first_enough: bool
) -> dict[str, list[peers.Seen]]:
    found = {
        "z-score": [peers.z_score(one) for one in cases],
        "Evidently": [peers.evidently(one, is_share=row.kind == "rate") for one in cases],
    }
    return (
        found if python is None else {**found, **peers.river(cases, python, is_first_enough=is_first_enough)}
    )


def _delay(several: Sequence[peers.Seen], change: Change) -> Delay:
    most = min(change.checks, *(one.count for one in several)) if several else change.checks
    return Delay(
        tuple(one.checks[0] + 1.0 if one.checks and one.checks[0] < most else math.nan for one in several),
        most,
    )


@dataclass(frozen=True)
class _Task:
    row: Row
    seed: int
    start: int
    count: int
    python: str | None


_tasks: list[_Task] = []


def _done(number: int) -> object:
    task = _tasks[number]
    if task.start < 0:
        return theirs(task.row, task.seed, task.count, task.python)
    return ours(task.row, task.seed, task.start, task.count)


def simulated(
    rows: Sequence[Row], *, seed: int, runs: int | None, peer_runs: int, python: str | None, processes: int
) -> Iterator[Result]:
    """In the order of the rows; the same for equal arguments, whatever the number of processes."""
    _tasks.clear()
    for row in rows:
        wanted = min(runs or row.runs, row.runs)
        chunk = 1 if row.monitors > 1 else CHUNK
        _tasks.append(_Task(row, seed, -1, peer_runs, python))
        _tasks.extend(
            _Task(row, seed, start, min(chunk, wanted - start), None) for start in range(0, wanted, chunk)
        )
    if processes == 1:
        yield from _gathered(_done(number) for number in range(len(_tasks)))
        return
    # Forked, because a row is made of functions, which cannot be sent.
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from _gathered(pool.imap(_done, range(len(_tasks)), chunksize=1))
        pool.close()
        pool.join()


def _gathered(answers: Iterable[object]) -> Iterator[Result]:
    """Each row as soon as its last task is done; answers are in the order of the tasks, and those in that of the rows."""
    left = Counter(task.row.key for task in _tasks)
    kept: list[tuple[_Task, object]] = []
    for task, answer in zip(list(_tasks), answers, strict=True):
        kept.append((task, answer))
        left[task.row.key] -= 1
        if not left[task.row.key]:
            yield _result(task.row, kept)
            kept = []


def _result(row: Row, done: Sequence[tuple[_Task, object]]) -> Result:
    counts: list[int] = []
    found: dict[str, list[float]] = {}
    others: tuple[dict[str, float], dict[str, dict[str, Delay]]] = ({}, {})
    for task, answer in done:
        if not isinstance(answer, tuple):
            continue
        if task.start < 0:
            others = answer
            continue
        counts += answer[0]
        for label, several in answer[1].items():
            found.setdefault(label, []).extend(several)
    most = {change.label: change.checks for change in row.changes}
    return Result(
        row,
        Alarms(tuple(counts)),
        {label: Delay(tuple(several), most[label]) for label, several in found.items()},
        *others,
    )
