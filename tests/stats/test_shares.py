import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triageops.stats.shares import basis_points


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([1] * 3, (3334, 3333, 3333)),
        ([1 / 6] * 6, (1667, 1667, 1667, 1667, 1666, 1666)),
        ([1 / 7] * 7, (1429, 1429, 1429, 1429, 1428, 1428, 1428)),
        ([0.1] * 10, (1000,) * 10),
        ([0.1, 0.2, 0.7], (1000, 2000, 7000)),
        ([0.29, 0.71], (2900, 7100)),
        ([0, 5e-324], (0, 10_000)),
        ([1e308, 1e308, 0], (5000, 5000, 0)),
        ([9], (10_000,)),
        ([4, 1, 1], (6667, 1667, 1666)),  # equal remainders, to the last bit or not
        ([1, 4, 1], (1667, 6667, 1666)),
        ([1, 1, 4], (1667, 1667, 6666)),
    ],
)
def test_basis_points_known_shares_add_up(shares: list[float], expected: tuple[int, ...]) -> None:
    assert basis_points(shares) == expected


def test_basis_points_largest_remainders_get_the_rest() -> None:
    # Exact parts of 10: 1.4, 4.7, 3.9.
    assert basis_points([14, 47, 39], 10) == (1, 5, 4)
    assert basis_points([1, 1], 0) == (0, 0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12).filter(any), st.integers(0, 20_000))
def test_basis_points_any_shares_sum_to_the_total_within_one(shares: list[float], total: int) -> None:
    points = basis_points(shares, total)
    assert sum(points) == total
    for share, part in zip(shares, points, strict=True):
        assert abs(part - total * share / math.fsum(shares)) < 1 + 1e-6
        assert part >= 0


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(any))
def test_basis_points_larger_share_never_gets_fewer(shares: list[float]) -> None:
    points = basis_points(shares)
    ordered = sorted(zip(shares, points, strict=True))
    assert all(a[1] <= b[1] for a, b in pairwise(ordered) if a[0] < b[0] - 1e-9)


@pytest.mark.parametrize("shares", [[], [0, 0], [-0.1, 1.1], [math.nan, 1], [math.inf, 1]])
def test_basis_points_impossible_shares_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="not shares"):
        basis_points(shares)
