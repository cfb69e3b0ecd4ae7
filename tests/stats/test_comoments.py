import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triageops.stats.comoments import CoMoments
from triageops.stats.moments import Moments

NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=20)
Row = tuple[float, ...]


def assert_equals_exact(moments: CoMoments, rows: list[Row], roundings: int = 2) -> None:
    """Equal to exact fractions but for 1e-13 of the spread and so many roundings of numbers as large."""
    n, k = len(rows), len(moments.mean)
    assert moments.n == n
    columns = [[Fraction(row[i]) for row in rows] for i in range(k)]
    means = [sum(column, Fraction()) / n for column in columns]
    spread = [float(max(column) - min(column)) for column in columns]
    ulp = [roundings * math.ulp(max(abs(float(x)) for x in column)) for column in columns]
    for i in range(k):
        assert abs(moments.mean[i] - means[i]) <= 1e-13 * spread[i] + ulp[i]
        for j in range(k):
            exact = sum(
                ((a - means[i]) * (b - means[j]) for a, b in zip(columns[i], columns[j], strict=True)),
                Fraction(),
            )
            slack = 4 * (ulp[i] * (spread[j] + ulp[j]) + ulp[j] * (spread[i] + ulp[i]))
            assert abs(moments.m2[i][j] - exact) <= n * (1e-13 * spread[i] * spread[j] + slack)


@given(st.lists(ROWS, min_size=1, max_size=6), st.sampled_from([0.0, 1e9, -1e13]))
def test_of_and_merge_any_rows_equal_exact_arithmetic(parts: list[list[Row]], offset: float) -> None:
    moved = [[tuple(offset + x for x in row) for row in part] for part in parts]
    rows = [row for part in moved for row in part]
    pieces = [CoMoments.of(np.array(part).reshape(-1, 3)) for part in moved]
    added = sum(pieces, CoMoments.empty(3))
    if not rows:
        assert added == CoMoments.merge(pieces) == CoMoments.empty(3)
        return
    assert_equals_exact(CoMoments.of(rows), rows)
    assert_equals_exact(CoMoments.merge(pieces), rows)
    assert_equals_exact(added, rows, roundings=2 * len(parts))


def test_covariance_many_parts_equals_numpy() -> None:
    rng = np.random.default_rng(3)
    rows = rng.multivariate_normal(
        [1e7, -3, 0], [[4.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 1.0]], 20_000
    )
    merged = CoMoments.merge(CoMoments.of(part) for part in np.array_split(rows, 500))
    covariance = merged.covariance
    assert covariance is not None
    np.testing.assert_allclose(covariance, np.cov(rows.T), rtol=1e-9, atol=1e-10)
    for i in range(3):
        column, expected = merged.column(i), Moments.of(rows[:, i])
        assert column.mean == pytest.approx(expected.mean, rel=1e-14)
        assert column.variance == pytest.approx(expected.variance, rel=1e-11)


def test_add_empty_is_the_identity_to_the_last_bit() -> None:
    some = CoMoments.of([[0.1, 1e9], [0.7, 2.0]])
    assert some + CoMoments.empty(2) == some == CoMoments.empty(2) + some


@pytest.mark.parametrize("rows", [np.empty((0, 2)), [[1.0, 2.0]]])
def test_covariance_fewer_than_two_rows_is_none(rows: list[list[float]]) -> None:
    assert CoMoments.of(rows).covariance is None


def test_of_constant_rows_has_no_spread() -> None:
    assert CoMoments.of(np.full((1_000, 2), 0.1)).m2 == pytest.approx(np.zeros((2, 2)), abs=1e-28)


@given(ROWS.filter(len), st.lists(st.tuples(*[st.integers(-5, 5)] * 3), min_size=1, max_size=3))
def test_transformed_any_matrix_equals_moments_of_mapped_rows(
    rows: list[Row], matrix: list[tuple[int, ...]]
) -> None:
    offset = [float(i) for i in range(len(matrix))]
    mapped = np.array(rows) @ np.array(matrix, dtype=float).T + offset
    actual, expected = CoMoments.of(rows).transformed(matrix, offset), CoMoments.of(mapped)
    scale = 15 * np.abs(np.array(rows)).max() + 1
    np.testing.assert_allclose(actual.mean, expected.mean, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(actual.m2, expected.m2, rtol=0, atol=1e-12 * scale**2 * len(rows))


def test_transformed_nothing_stays_nothing_and_cancelling_squares_are_zero() -> None:
    assert CoMoments.empty(2).transformed([[1.0, 1.0]], [7.0]) == CoMoments.empty(1)
    rows = np.random.default_rng(1).normal(size=(50, 1)) @ [[0.1, 0.3]]
    assert 0 <= CoMoments.of(rows).transformed([[3.0, -1.0]]).m2[0][0] < 1e-14


@pytest.mark.parametrize(
    ("n", "mean", "m2"),
    [
        (-1, (0.0,), ((0.0,),)),
        (2, (math.nan,), ((0.0,),)),
        (2, (0.0,), ((math.inf,),)),
        (2, (0.0,), ((-1.0,),)),
        (0, (1.0,), ((0.0,),)),
        (2, (), ()),
        (2, (0.0, 0.0), ((1.0, 0.5), (0.4, 1.0))),
        (2, (0.0, 0.0), ((1.0, 0.5),)),
        (2, (0.0, 0.0), ((1.0,), (1.0,))),
    ],
)
def test_comoments_impossible_values_are_refused(n: int, mean: Row, m2: tuple[Row, ...]) -> None:
    with pytest.raises(ValueError, match=r"moments|squares|symmetric"):
        CoMoments(n, mean, m2)


@pytest.mark.parametrize(
    "rows", [[1.0, 2.0], [[math.nan]], [[math.inf]], np.empty((3, 0)), [[1e200], [-1e200]]]
)
def test_of_impossible_rows_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"shape|NaN|not co-moments"):
        CoMoments.of(rows)


def test_merge_and_transformed_wrong_shapes_are_refused() -> None:
    one, two = CoMoments.empty(1), CoMoments.empty(2)
    with pytest.raises(ValueError, match="numbers of columns"):
        one + two
    with pytest.raises(ValueError, match="numbers of columns"):
        CoMoments.merge([one, two])
    with pytest.raises(ValueError, match="no parts"):
        CoMoments.merge([])
    with pytest.raises(ValueError, match="columns"):
        one.transformed([[1.0, 2.0]])
    with pytest.raises(ValueError, match="offsets"):
        one.transformed([[1.0]], [1.0, 2.0])
