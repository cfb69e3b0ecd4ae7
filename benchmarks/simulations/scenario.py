"""What a simulation is, how it is run on several processes, and what is read from it."""

import multiprocessing
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from triageops.stats.interval import Interval, wilson

CHUNK = 50
"""Runs of one task. Seeds belong to chunks, so the numbers do not depend on the processes."""


@dataclass(frozen=True)
class Goal:
    """Of the share of runs that claim: at most, or at least."""

    share: float
    is_most: bool = True

    def verdict(self, share: float, interval: Interval) -> str:
        """surely met: by the whole interval. met: by the estimate. not refuted: not by it, but within its interval."""
        low, middle, high = interval.low - self.share, share - self.share, interval.high - self.share
        if not self.is_most:
            low, middle, high = -high, -middle, -low
        return (
            "surely met" if high <= 0 else "met" if middle <= 0 else "not refuted" if low <= 0 else "MISSED"
        )

    def __str__(self) -> str:
        return f"{'≤' if self.is_most else '≥'} {100 * self.share:g} %"


@dataclass(frozen=True)
class Scenario:
    """draw: one experiment: rule -> number of the first look that claims, or None. goals: rule -> goal."""

    key: str
    title: str
    draw: Callable[[Generator], Mapping[str, int | None]]
    runs: int
    looks: int
    goals: Mapping[str, Goal] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """firsts: rule -> for each look, the runs that claimed there for the first time."""

    scenario: Scenario
    runs: int
    firsts: Mapping[str, Sequence[int]]

    def claims(self, rule: str) -> int:
        return sum(self.firsts[rule])

    def share(self, rule: str) -> float:
        return self.claims(rule) / self.runs

    def interval(self, rule: str) -> Interval:
        return wilson(self.claims(rule), self.runs) or Interval(0.0, 1.0)

    def stopped_at(self, rule: str) -> float:
        """Mean share of the looks until the claim, or the end."""
        looks = len(self.firsts[rule])
        used = sum((number + 1) * runs for number, runs in enumerate(self.firsts[rule]))
        return (used + (self.runs - self.claims(rule)) * looks) / self.runs / looks

    def verdict(self, rule: str) -> str:
        goal = self.scenario.goals.get(rule)
        return "" if goal is None else goal.verdict(self.share(rule), self.interval(rule))


def simulated(scenario: Scenario, runs: int, seed: int, processes: int = 2) -> Result:
    """The same for equal arguments, whatever the number of processes."""
    tasks = [(scenario, start, min(CHUNK, runs - start), seed) for start in range(0, runs, CHUNK)]
    if processes == 1:
        parts = [_chunk(task) for task in tasks]
    else:
        # Forked, because a scenario is made of functions, which cannot be sent.
        _current.append(scenario)
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            parts = pool.map(_forked, [task[1:] for task in tasks], chunksize=1)
        _current.pop()
    firsts = {rule: np.sum([part[rule] for part in parts], axis=0).tolist() for rule in parts[0]}
    return Result(scenario, runs, firsts)


_current: list[Scenario] = []


def _forked(task: tuple[int, int, int]) -> dict[str, list[int]]:
    return _chunk((_current[-1], *task))


def _chunk(task: tuple[Scenario, int, int, int]) -> dict[str, list[int]]:
    scenario, start, runs, seed = task
    rng = np.random.default_rng([seed, zlib.crc32(scenario.key.encode()), start])
    firsts: dict[str, list[int]] = {}
    for _ in range(runs):
        for rule, number in scenario.draw(rng).items():
            counts = firsts.setdefault(rule, [0] * scenario.looks)
            if number is not None:
                counts[number] += 1
    return firsts
