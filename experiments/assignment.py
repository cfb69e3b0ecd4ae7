"""Which arm a unit belongs to: GrowthBook's hash and ranges bit for bit, so that every SDK agrees.

Pure: a function of its arguments alone, the same in every process, language and year.
Source: GrowthBook's SDK specification, "hash", "getBucketRanges", "chooseVariation", "inNamespace". The tests
compare with GrowthBook's Python package and with vectors computed by Node.js.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

BASIS_POINTS = 10_000

_FNV_BASIS = 2166136261
_FNV_PRIME = 16777619

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Assigned:
    """arm: position in the weights. bucket: the unit's number in [0, 1), a multiple of 1 / 10 000."""

    arm: int
    bucket: float


def fnv1a32(text: str) -> int:
    """32-bit FNV-1a over UTF-16 code units, as JavaScript's charCodeAt gives them.

    A lone surrogate is one unit. Code points or UTF-8 bytes give other numbers for text beyond ASCII, and so
    other arms than a browser's SDK.
    """
    return continued(_FNV_BASIS, text)


def continued(value: int, text: str) -> int:
    """The hash of what gave `value`, followed by `text`: a seed that many units share is hashed once."""
    if text.isascii():
        for unit in text.encode("ascii"):
            value = ((value ^ unit) * 16777619) & 0xFFFFFFFF
        return value
    encoded = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(encoded[::2], encoded[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * 16777619) & 0xFFFFFFFF
    return value


def _hashes_of_three_digits() -> array[int]:
    """At 1 000 * state + number: the hash of the number's three digits that follows this state, 0 to 255."""
    found = array("I")
    for state in range(256):
        ones = [((state ^ digit) * _FNV_PRIME) & 0xFFFFFFFF for digit in b"0123456789"]
        twos = [((one ^ digit) * _FNV_PRIME) & 0xFFFFFFFF for one in ones for digit in b"0123456789"]
        found.extend([((two ^ digit) * _FNV_PRIME) & 0xFFFFFFFF for two in twos for digit in b"0123456789"])
    return found


# Each step mixes its character into the last byte of the state only, so that a state is a multiple of 256, which the
# characters only multiply, plus that byte, whose way through three digits is looked up.
_CUBED = pow(_FNV_PRIME, 3, 2**32)
_THREE_DIGITS = _hashes_of_three_digits()
_FIRST_DIGITS = [fnv1a32(str(number)) for number in range(2**32 // 1_000_000 + 1)]


def bucket_number(seed_hash: int, unit: str) -> int:
    """The unit's bucket from 0 to 9 999 in version 2 of the hash; seed_hash is fnv1a32(seed)."""
    front, last = divmod(continued(seed_hash, unit), 1_000)
    first, middle = divmod(front, 1_000)
    if not first:
        # One in four thousand has fewer than seven digits.
        return fnv1a32(str(front * 1_000 + last)) % BASIS_POINTS
    value = _FIRST_DIGITS[first]
    byte = value & 255
    value = ((value - byte) * _CUBED + _THREE_DIGITS[byte * 1_000 + middle]) & 0xFFFFFFFF
    byte = value & 255
    return (((value - byte) * _CUBED + _THREE_DIGITS[byte * 1_000 + last]) & 0xFFFFFFFF) % BASIS_POINTS


def bucket(seed: str, unit: str, version: int = 2) -> float | None:
    """The unit's number in [0, 1): a multiple of 1 / 10 000 in version 2, of 1 / 1 000 in version 1.

    None for an unknown version. Version 1 is for reading what others assigned: its buckets of two experiments
    are correlated, up to 0.06.
    """
    if version == 2:
        return bucket_number(fnv1a32(seed), unit) / BASIS_POINTS
    if version == 1:
        return fnv1a32(unit + seed) % 1_000 / 1_000
    return None


def ranges(weights_bp: Sequence[int], coverage: float = 1.0) -> tuple[Range, ...]:
    """Each arm's half-open part of [0, 1), for weights in basis points.

    Coverage is clamped to [0, 1]. A larger coverage only lengthens the ranges: it moves nobody. ValueError
    when there is no weight, a weight is negative or their sum is not 10 000, or when coverage is NaN.
    """
    if not weights_bp or min(weights_bp) < 0 or sum(weights_bp) != BASIS_POINTS:
        raise ValueError(f"weights {list(weights_bp)} are not basis points that sum to {BASIS_POINTS}")
    if math.isnan(coverage):
        raise ValueError("coverage is not a number")
    coverage = min(max(coverage, 0.0), 1.0)
    # Doubles are added up as GrowthBook does it. Exact arithmetic would disagree with it about a bucket at an
    # edge, for instance 0.3 when 0.1 + 0.2 comes before it. Edges are shared, so rounding leaves no gap
    # between arms.
    cumulative = 0.0
    parts = []
    for weight_bp in weights_bp:
        weight = weight_bp / BASIS_POINTS
        parts.append((cumulative, cumulative + coverage * weight))
        cumulative += weight
    return tuple(parts)


def choose(n: float, ranges: Sequence[Range]) -> int | None:
    """Position of the first range with start <= n < end; None when n is in none of them."""
    return next((arm for arm, (start, end) in enumerate(ranges) if start <= n < end), None)


def in_namespace(unit: str, namespace: str, start: float, end: float) -> bool:
    """Whether the unit falls in [start, end) of the namespace, which always uses version 1 of the hash."""
    n = bucket("__" + namespace, unit, version=1)
    return n is not None and start <= n < end


def assign(salt: str, unit: str, weights_bp: Sequence[int], coverage: float = 1.0) -> Assigned | None:
    """The unit's arm under this salt; None when coverage leaves it out or the unit is empty text."""
    parts = ranges(weights_bp, coverage)
    n = bucket(salt, unit) if unit else None
    if n is None:
        return None
    arm = choose(n, parts)
    return None if arm is None else Assigned(arm, n)
