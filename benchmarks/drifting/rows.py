"""What is simulated: the null and power batteries of the drift detectors, and the hard cases."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarks.drifting.engine import Bounded
from benchmarks.drifting.row import Row
from benchmarks.drifting.streams import Change, Law, beta, lognormal, normal, share, skewed
from monitoring.monitors.drift import Sides
from monitoring.monitors.reference import Tolerance

_DAY = 288
_KNOWN = Law(sizes=(10_000,))
"""Of a reference of ten million records: as good as known, as section 2.8 has it."""
_SIDES: tuple[tuple[Sides, str], ...] = (("both", ""), ("up", ", only upwards"))


def rows() -> list[Row]:
    return [*_references(), *_wobbles(), *_kinds(), *_tolerated(), *_hard()]


def _shifts(*goals: float | None, sign: float = 1.0, checks: int = 300) -> tuple[Change, ...]:
    return tuple(
        Change(f"{size:g} sd", sign * size, goal=goal, checks=checks)
        for size, goal in zip((0.25, 0.5, 1.0), goals or (None,) * 3, strict=True)
    )


def _references() -> Iterator[Row]:
    for records in (500, 1_000, 5_000, 20_000):
        yield Row(
            f"2.4 reference {records}",
            f"N(0, 1), 20 a check, reference of {records} records",
            normal(),
            learns=records // 20,
            changes=_shifts(checks=600 if records < 5_000 else 300),
            runs=80,
        )


def _wobbles() -> Iterator[Row]:
    for size in (20, 200, 1_000):
        for wobble in (0.0, 0.05, 0.1, 0.2):
            yield Row(
                f"2.5 wobble {size} {wobble:g}",
                f"N(0, 1), {size} a check, buckets differ by {wobble:g} sd",
                normal(),
                Law((size,), wobble),
                changes=(Change("0.5 sd", 0.5, checks=200),),
                runs=50,
            )
    for size, wobble in ((20, 0.2), (1_000, 0.2)):
        for memory in (0.2, 0.4, 0.6):
            yield Row(
                f"2.5 memory {size} {memory:g}",
                f"N(0, 1), {size} a check, buckets differ by {wobble:g} sd, AR(1) {memory:g}",
                normal(),
                Law((size,), wobble, memory),
                changes=(Change("0.5 sd", 0.5, checks=200),),
                runs=50,
            )


def _kinds() -> Iterator[Row]:
    down = _shifts(13.1, 5.5, 2.6, sign=-1)
    spread = tuple(
        Change(f"sd × {x:g}", stretch=x, goal=goal) for x, goal in ((1.25, 10.4), (1.48, 4.0), (0.72, 6.4))
    )
    yield Row(
        "2.8 score", "Beta(8, 2), 20 a check", beta(), reference=_KNOWN, changes=down + spread, runs=200
    )
    slower = tuple(
        Change(f"× {x:g}", math.log(x), goal=goal, checks=checks)
        for x, goal, checks in ((1.1, 55.6, 600), (1.25, 12.9, 200), (1.5, 5.0, 100))
    )
    yield Row("2.8 latency", "lognormal, σ = 0.8, 20 a check", lognormal(), reference=_KNOWN, changes=slower)
    for low, high, goals in ((0.0, 1.0, (19.9, 8.6, 3.9)), (0.45, 0.99, (19.8, 7.9, 3.8))):
        yield Row(
            f"2.8 bounded mean {low:g} {high:g}",
            f"Beta(8, 2), 20 a check, bounded mean in [{low:g}, {high:g}]",
            beta(),
            changes=_shifts(*goals, sign=-1),
            bounded=Bounded(low, high),
        )
    for usual, goals_of in (
        (0.02, {0.03: 114, 0.04: 47, 0.06: 18, 0.10: 7}),
        (0.10, {0.12: 129, 0.15: 29, 0.20: 10}),
    ):
        changes = tuple(
            Change(f"{new:g}", new - usual, goal=goal, checks=8 * goal + 100)
            for new, goal in goals_of.items()
        )
        for sides, told in _SIDES:
            yield Row(
                f"2.8 rate {usual:g} {sides}",
                f"share {usual:g}, 20 a check{told}",
                share(usual),
                reference=_KNOWN,
                changes=changes,
                kind="rate",
                sides=sides,
                runs=200,
            )


def _tolerated() -> Iterator[Row]:
    for ignored, moved in ((0.1, -0.09), (0.1, 0.09), (1.0, -0.25)):
        yield Row(
            f"tolerated {ignored:g} {moved:g}",
            f"tolerated shift of a skewed score: Beta(10, 1), 20 a check, {ignored:g} sd ignored, moved by {moved:+g} sd",
            skewed(),
            learns=4 * _DAY,
            tolerance=Tolerance(shift=ignored),
            moved=moved,
        )


def _hard() -> Iterator[Row]:
    for wobble in (0.0, 0.1):
        yield Row(
            f"hard season {wobble:g}",
            f"N(0, 1), 20 a check, ±0.5 sd by the hour, buckets differ by {wobble:g} sd, reference of 15 days",
            normal(),
            Law((20,), wobble, season=0.5),
            learns=15 * _DAY,
            changes=_shifts(),
            runs=50,
        )
    for days, name in ((4, "short"), (2, "shorter"), (1, "one day")):
        yield Row(
            f"hard season {name}",
            f"N(0, 1), 20 a check, ±0.5 sd by the hour, reference of {days} day{'s' * (days > 1)}",
            normal(),
            Law((20,), season=0.5),
            learns=days * _DAY,
            changes=_shifts(),
            runs=50,
        )
    yield Row(
        "hard season rate",
        "share 0.1, 50 a check, ±0.05 by the hour, reference of 4 days",
        share(0.1),
        Law((50,), season=0.05),
        learns=4 * _DAY,
        changes=(Change("0.15", 0.05), Change("0.2", 0.1)),
        kind="rate",
    )
    for wobble in (0.0, 0.1):
        yield Row(
            f"hard missing {wobble:g}",
            f"N(0, 1), 20 a check, 30 % of buckets missing, the others differ by {wobble:g} sd",
            normal(),
            Law((20,) * 7 + (0,) * 3, wobble),
            changes=_shifts(),
        )
        yield Row(
            f"hard sizes {wobble:g}",
            f"N(0, 1), 0, 1, 5 or 1000 a check, buckets differ by {wobble:g} sd",
            normal(),
            Law((0, 1, 5, 1_000), wobble),
            changes=_shifts(),
        )
    for size in (20, 500):
        yield Row(
            f"hard rate wobble {size}",
            f"share 0.1, {size} a check, buckets differ by 0.02",
            share(0.1),
            Law((size,), 0.02),
            changes=(Change("0.15", 0.05), Change("0.2", 0.1)),
            kind="rate",
        )
    for memory in (0.0, 0.4):
        yield Row(
            f"hard fleet {memory:g}",
            f"300 monitors, one budget, N(0, 1), 20 a check, buckets differ by 0.2 sd, half of it common, AR(1) {memory:g},"
            " references of 5000",
            normal(),
            Law((20,), 0.2, memory),
            learns=250,
            monitors=300,
            runs=8,
        )
