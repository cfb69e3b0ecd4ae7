"""Which buckets belong to which arm, in whole numbers, and how few of them a change moves. Pure.

The first ranges are GrowthBook's, so that its SDKs agree. Every later change starts from what stands: an arm that shrinks
releases the end of what it has, an arm that grows takes what others released, then what nobody had, of both those next to
its own first. So a growing coverage moves nobody, and new weights move exactly half of the sum of the differences, none of
them between two arms that keep their shares.
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


def sizes(keys: Sequence[str], weights_bp: Sequence[int], coverage: float) -> dict[str, int]:
    """Buckets of each arm as GrowthBook gives them; a larger coverage never gives an arm fewer."""
    found = dict.fromkeys(keys, 0)
    for key, first, end in first_segments(keys, weights_bp, coverage):
        found[key] = end - first
    return found


def counted(segments: Sequence[Segment]) -> dict[str, int]:
    """Buckets of each arm that has any."""
    found: dict[str, int] = {}
    for key, first, end in segments:
        found[key] = found.get(key, 0) + end - first
    return found


def reweighted(
    segments: Sequence[Segment], former_bp: Mapping[str, int], weights_bp: Mapping[str, int]
) -> dict[str, int]:
    """Buckets of each arm under new weights; in all as many as before.

    An arm that keeps its weight keeps its number of buckets; the others share theirs by weight, rounded by the largest
    remainder.
    """
    has = counted(segments)
    found = {key: has.get(key, 0) for key in weights_bp}
    changed = {key: weight for key, weight in weights_bp.items() if weight != former_bp.get(key, 0)}
    shared, whole = sum(found[key] for key in changed), sum(changed.values())
    if whole == 0:
        return found
    for key, weight in changed.items():
        found[key] = shared * weight // whole
    rest = shared - sum(found[key] for key in changed)
    by_remainder = sorted(changed, key=lambda key: -(shared * changed[key] % whole))
    for key in by_remainder[:rest]:
        found[key] += 1
    return found


def recovered(
    segments: Sequence[Segment],
    keys: Sequence[str],
    weights_bp: Sequence[int],
    coverage: float,
    *,
    is_growing: bool,
) -> list[Segment]:
    """The segments under a new coverage: one that is not smaller takes no bucket from any arm, a smaller one gives none.

    They are GrowthBook's whenever these keep that promise, as they do as long as only the coverage has changed.
    """
    theirs = first_segments(keys, weights_bp, coverage)
    changes = _changes(segments, theirs)
    if all(change[0 if is_growing else 1] == FREE for change in changes):
        return theirs
    has, wanted = counted(segments), sizes(keys, weights_bp, coverage)
    if not is_growing:
        return retargeted(segments, {key: min(wanted[key], has.get(key, 0)) for key in keys})
    found = {key: max(wanted[key], has.get(key, 0)) for key in keys}
    # Changes of weights were rounded: what some arms have above their share, the others wait for.
    excess = sum(found.values()) - max(sum(wanted.values()), sum(has.values()))
    for key in sorted(keys, key=lambda key: has.get(key, 0) - found[key]):
        given_up = min(excess, found[key] - has.get(key, 0))
        found[key] -= given_up
        excess -= given_up
    return retargeted(segments, found)


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

    What one arm releases goes to those that grow before any bucket that nobody had. ValueError when more is wanted than
    there is.
    """
    if sum(wanted.values()) > BASIS_POINTS or min(wanted.values(), default=0) < 0:
        raise ValueError(f"{dict(wanted)} are not numbers of buckets")
    arms = table(segments)
    own: dict[str, list[int]] = {}
    for bucket, arm in enumerate(arms):
        own.setdefault(arm, []).append(bucket)
    free = own.pop(FREE, [])
    released = sorted(bucket for key, buckets in own.items() for bucket in buckets[wanted.get(key, 0) :])
    for bucket in released:
        arms[bucket] = FREE
    missing = {key: size - len(own.get(key, ())) for key, size in wanted.items()}
    for candidates in (released, free):
        for key, size in missing.items():
            missing[key] = size - _grow(arms, key, size, candidates)
    return segments_of(arms)


def _grow(arms: list[str], key: str, missing: int, candidates: Sequence[int]) -> int:
    """Give the arm some of these buckets: those that follow its own, then the first ones. How many it got."""
    before = missing
    for is_next_only in (True, False):
        for bucket in candidates:
            if missing <= 0:
                break
            if arms[bucket] == FREE and (not is_next_only or (bucket > 0 and arms[bucket - 1] == key)):
                arms[bucket] = key
                missing -= 1
    return max(before, 0) - max(missing, 0)


def moves(before: Sequence[Segment], after: Sequence[Segment]) -> list[tuple[str, str, int, int]]:
    """(from, to, first, end) of the buckets that go from one arm to another."""
    return [change for change in _changes(before, after) if FREE not in change[:2]]


def departures(before: Sequence[Segment], after: Sequence[Segment]) -> list[tuple[str, str, int, int]]:
    """(from, FREE, first, end) of the buckets that no arm has any more."""
    return [change for change in _changes(before, after) if change[1] == FREE]


def _changes(before: Sequence[Segment], after: Sequence[Segment]) -> list[tuple[str, str, int, int]]:
    found, at = [], 0
    for pair, group in groupby(zip(table(before), table(after), strict=True)):
        length = sum(1 for _ in group)
        if pair[0] != pair[1]:
            found.append((*pair, at, at + length))
        at += length
    return found
