import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triageops.stats.moments import Moments, grouped_moments, merge_arrays

NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
EMPTY = Moments(0, 0.0, 0.0)


def exact(values: list[float]) -> tuple[Fraction, Fraction]:
    """Mean and m2 in exact arithmetic: the reference for everything here."""
    numbers = [Fraction(value) for value in values]
    mean = sum(numbers, Fraction()) / len(numbers)
    return mean, sum(((x - mean) ** 2 for x in numbers), Fraction())


def assert_equals_exact(moments: Moments, values: list[float], roundings: int = 2) -> None:
    """Equal but for 1e-13 of the spread and so many roundings of numbers as large as the values."""
    mean, m2 = exact(values)
    spread = max(values) - min(values)
    offset_rounding = roundings * math.ulp(max(map(abs, values)))
    assert moments.n == len(values)
    assert abs(moments.mean - mean) <= 1e-13 * spread + offset_rounding
    assert abs(moments.m2 - m2) <= 1e-13 * float(m2) + len(values) * 4 * offset_rounding * (
        spread + offset_rounding
    )


@given(st.lists(NUMBERS, min_size=1, max_size=60))
def test_of_any_values_equals_exact_arithmetic(values: list[float]) -> None:
    assert_equals_exact(Moments.of(values), values)


@given(st.lists(st.lists(NUMBERS, max_size=15), min_size=1, max_size=8))
def test_merge_any_parts_equals_moments_of_all_values(parts: list[list[float]]) -> None:
    values = [x for part in parts for x in part]
    added = sum((Moments.of(part) for part in parts), EMPTY)
    merged = Moments.merge(Moments.of(part) for part in parts)
    if not values:
        assert added == merged == EMPTY
        return
    assert_equals_exact(added, values)
    assert_equals_exact(merged, values)


def test_add_empty_is_the_identity_to_the_last_bit() -> None:
    some = Moments.of([0.1, 0.7, 1e9])
    assert some + EMPTY == some
    assert EMPTY + some == some
    assert Moments.of([]) == EMPTY == EMPTY + EMPTY == Moments.merge([])


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e12, 1e15])
def test_of_huge_offset_keeps_the_spread(offset: float) -> None:
    values = (offset + np.random.default_rng(1).integers(0, 8, 5_000)).astype(float).tolist()
    assert_equals_exact(Moments.of(values), values)
    parts = [Moments.of(values[start : start + 7]) for start in range(0, 5_000, 7)]
    assert_equals_exact(Moments.merge(parts), values)
    assert_equals_exact(sum(parts, EMPTY), values, roundings=len(parts))


def test_merge_four_thousand_buckets_agrees_with_numpy_to_1e12() -> None:
    values = np.random.default_rng(2).lognormal(0, 1.5, 40_000)
    merged = Moments.merge(Moments.of(part) for part in np.array_split(values, 4_000))
    assert merged.mean == pytest.approx(values.mean(), rel=1e-14)
    assert merged.sd == pytest.approx(values.std(ddof=1), rel=1e-13)


def test_properties_known_values_are_the_textbook_ones() -> None:
    moments = Moments.of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert (moments.n, moments.mean, moments.m2, moments.total) == (8, 5.0, 32.0, 40.0)
    assert moments.variance == pytest.approx(32 / 7)
    assert moments.sd == pytest.approx(math.sqrt(32 / 7))
    assert moments.standard_error == pytest.approx(math.sqrt(32 / 7 / 8))


@pytest.mark.parametrize("values", [[], [3.0]])
def test_properties_fewer_than_two_values_have_no_spread(values: list[float]) -> None:
    moments = Moments.of(values)
    assert moments.variance is moments.sd is moments.standard_error is None


def test_of_constant_has_no_spread() -> None:
    moments = Moments.of(np.full(1_000, 0.1))
    assert moments.mean == pytest.approx(0.1, rel=1e-16)
    assert moments.m2 <= 1_000 * math.ulp(0.1) ** 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_of_nan_or_infinity_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        Moments.of([1.0, bad])
    with pytest.raises(ValueError, match="NaN or infinity"):
        merge_arrays([1], [bad], [0.0])
    with pytest.raises(ValueError, match="not moments"):
        Moments(2, bad, 0.0)


def test_of_the_largest_doubles_keeps_a_finite_mean_and_never_gives_nan() -> None:
    big = Moments.of([1.7e308, 1.7e308, 1.6e308])
    assert big.mean == pytest.approx(1.6666666666666667e308, rel=1e-12)
    assert big.m2 == math.inf
    sides = Moments.of([1.7e308]) + Moments.of([-1.7e308])
    assert (sides.mean, sides.m2, sides.sd) == (0.0, math.inf, math.inf)
    assert Moments.merge([sides, big]).m2 == math.inf
    assert Moments.of([1.7e308, -1.7e308]).mean == pytest.approx(0, abs=1e293)


@pytest.mark.parametrize(
    "fields", [(-1, 0.0, 0.0), (2, 0.0, -1.0), (2, 0.0, math.nan), (0, 1.0, 0.0), (0, 0.0, 1.0)]
)
def test_moments_impossible_fields_are_refused(fields: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="moments"):
        Moments(*fields)


def test_merge_arrays_parts_without_values_add_nothing() -> None:
    assert merge_arrays([0, 3, 0], [0.0, 5.0, 0.0], [0.0, 2.0, 0.0]) == Moments(3, 5.0, 2.0)


@pytest.mark.parametrize("arrays", [([1], [1.0, 2.0], [0.0]), ([-1], [1.0], [0.0]), ([1], [1.0], [math.nan])])
def test_merge_arrays_impossible_parts_are_refused(
    arrays: tuple[list[int], list[float], list[float]],
) -> None:
    with pytest.raises(ValueError, match=r"shapes differ|negative"):
        merge_arrays(*arrays)


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 4)), max_size=40), st.sampled_from([0.0, 1e9]))
def test_grouped_moments_any_groups_equal_each_groups_own(
    rows: list[tuple[float, int]], offset: float
) -> None:
    n, mean, m2 = grouped_moments(
        [offset + x for x, _ in rows], np.array([g for _, g in rows], dtype=np.int64), 5
    )
    assert n.shape == mean.shape == m2.shape == (5,)
    for group in range(5):
        values = [offset + x for x, g in rows if g == group]
        if values:
            assert_equals_exact(Moments(int(n[group]), float(mean[group]), float(m2[group])), values)
        else:
            assert (n[group], mean[group], m2[group]) == (0, 0.0, 0.0)


@pytest.mark.parametrize("index", [[0, 2], [-1, 0], [0], [0.0, 1.0]])
def test_grouped_moments_wrong_index_is_refused(index: list[float]) -> None:
    with pytest.raises(ValueError, match="group_index"):
        grouped_moments([1.0, 2.0], index, 2)
