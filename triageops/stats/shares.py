"""Shares in whole basis points that add up, whatever their number: 7 equal arms included."""

from __future__ import annotations

import math
from collections.abc import Sequence


def basis_points(shares: Sequence[float], total: int = 10_000) -> tuple[int, ...]:
    """Whole numbers in proportion to shares, sum exactly total; each within 1 of its exact part.

    By the largest remainder (Hamilton's method); of equal remainders the earlier share gets the point. shares:
    >= 0, at least one above 0, not necessarily of sum 1. Anything else is a ValueError.
    """
    if total < 0 or not all(0 <= share < math.inf for share in shares) or not any(shares):
        raise ValueError(f"not shares of {total}: {shares}")
    # Before the sum, which may leave the range of doubles.
    largest = max(shares)
    parts = [share / largest for share in shares]
    whole = math.fsum(parts)
    exact = [total * (part / whole) for part in parts]
    points = [math.floor(x) for x in exact]
    # Rounded, because equal shares must have equal remainders.
    order = sorted(range(len(exact)), key=lambda i: (-round(exact[i] - points[i], 9), i))
    for i in order[: total - sum(points)]:
        points[i] += 1
    return tuple(points)
