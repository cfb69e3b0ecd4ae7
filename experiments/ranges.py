"""Which buckets belong to which arm, in whole numbers, and how few of them a change moves. Pure.

The first ranges are GrowthBook's, so that its SDKs agree. Every later change starts from what stands: an arm that shrinks
releases the end of what it has, an arm that grows takes free buckets, those next to its own first. So a growing coverage
moves nobody, and new weights move exactly half of the sum of the differences, none of them between two arms that keep
their shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

from experiments.assignment import BASIS_POINTS, ranges

Segment = tuple[str, int, int]
"""Arm, first bucket, end: half-open."""

FREE = ""


def first_segments(keys: Sequence[str], weights_bp: Sequence[int], coverage: float) -> list[Segment]:
    """The buckets of each arm as GrowthBook gives them, in order; an arm without any is left out."""
    found = []
    for key, (start, end) in zip(keys, ranges(weights_bp, coverage), strict=True):
        first, last = _first_at_or_after(start), _first_at_or_after(end)
        if first < last:
            found.append((key, first, last))
    return found


def _first_at_or_after(edge: float) -> int:
    """The smallest bucket b with b / 10 000 >= edge: doubles decide, as in GrowthBook."""
    bucket = max(0, math.floor(edge * BASIS_POINTS) - 1)
    while bucket < BASIS_POINTS and bucket / BASIS_POINTS < edge:
        bucket += 1
    return bucket


def sizes(weights_bp: Mapping[str, int], coverage_bp: int) -> dict[str, int]:
    """Buckets of each arm: its share of the coverage, rounded so that the sum is the coverage (largest remainder)."""
    exact = {key: weight * coverage_bp for key, weight in weights_bp.items()}
    found = {key: number // BASIS_POINTS for key, number in exact.items()}
    rest = coverage_bp - sum(found.values())
    by_remainder = sorted(exact, key=lambda key: -(exact[key] % BASIS_POINTS))
    for key in by_remainder[:rest]:
        found[key] += 1
    return found


def table(segments: Sequence[Segment]) -> list[str]:
    """The arm of each of the 10 000 buckets, FREE for none."""
    found = [FREE] * BASIS_POINTS
    for key, first, end in segments:
        found[first:end] = [key] * (end - first)
    return found


def segments_of(arms: Sequence[str]) -> list[Segment]:
    found, at = [], 0
    for key, group in groupby(arms):
        length = sum(1 for _ in group)
        if key != FREE:
            found.append((key, at, at + length))
        at += length
    return found


def retargeted(segments: Sequence[Segment], wanted: Mapping[str, int]) -> list[Segment]:
    """The segments changed as little as possible so that each arm has the wanted number of buckets.

    ValueError when more is wanted than there is.
    """
    if sum(wanted.values()) > BASIS_POINTS or min(wanted.values(), default=0) < 0:
        raise ValueError(f"{dict(wanted)} are not numbers of buckets")
    arms = table(segments)
    for key in {segment[0] for segment in segments}:
        own = [bucket for bucket, arm in enumerate(arms) if arm == key]
        for bucket in own[wanted.get(key, 0) :]:
            arms[bucket] = FREE
    for key, size in wanted.items():
        _grow(arms, key, size - arms.count(key))
    return segments_of(arms)


def _grow(arms: list[str], key: str, missing: int) -> None:
    """Give the arm free buckets: those that follow its own, then the first ones."""
    if missing <= 0:
        return
    for bucket in range(1, BASIS_POINTS):
        if missing and arms[bucket] == FREE and arms[bucket - 1] == key:
            arms[bucket] = key
            missing -= 1
    for bucket in range(BASIS_POINTS):
        if missing and arms[bucket] == FREE:
            arms[bucket] = key
            missing -= 1


def moves(before: Sequence[Segment], after: Sequence[Segment]) -> list[tuple[str, str, int, int]]:
    """(from, to, first, end) of the buckets that go from one arm to another."""
    found, at = [], 0
    for pair, group in groupby(zip(table(before), table(after), strict=True)):
        length = sum(1 for _ in group)
        if FREE not in pair and pair[0] != pair[1]:
            found.append((*pair, at, at + length))
        at += length
    return found
