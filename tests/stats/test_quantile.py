import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from triageops.stats.comoments import CoMoments
from triageops.stats.quantile import (
    CdfPoint,
    QuantileDifference,
    QuantileEstimate,
    cdf_point,
    difference,
    needed_n,
    quantile_sequence,
)

Array = NDArray[np.float64]


def points(*shares: float, se: float = 0.01) -> list[CdfPoint]:
    return [CdfPoint(10.0 * i, share, se) for i, share in enumerate(shares)]


def test_quantile_crossing_between_edges_is_interpolated_and_widened_to_the_next_edges() -> None:
    # Within 0.02 of 0.5: thresholds 30 and 40, so the ends are their neighbours.
    found = quantile_sequence(points(0.0, 0.1, 0.4, 0.485, 0.505, 0.6, 1.0), 0.5, 2.0)
    assert found is not None
    assert found.value == pytest.approx(30 + 10 * 0.015 / 0.02)
    assert (found.low, found.high) == (20, 50)


def test_quantile_coarse_edges_without_an_accepted_one_are_the_interval() -> None:
    found = quantile_sequence(points(0.0, 0.2, 0.9, 1.0), 0.5, 2.0)
    assert found is not None
    assert found.value == pytest.approx(10 + 10 * 0.3 / 0.7)
    assert (found.low, found.high) == (10, 20)


def test_quantile_level_met_exactly_is_that_edge() -> None:
    found = quantile_sequence(points(0.0, 0.2, 0.5, 0.5, 1.0), 0.5, 2.0)
    assert found == QuantileEstimate(20.0, 10.0, 40.0)


@pytest.mark.parametrize(
    "candidates",
    [
        [],
        points(0.5),
        points(0.0, 0.2, 0.49),  # never reached
        points(0.6, 0.9, 1.0),  # reached before the first
        points(0.49, 0.6, 1.0),  # the lower end is before the first
        points(0.2, 0.49, 0.51),  # the upper end is after the last
    ],
)
def test_quantile_beyond_the_candidates_is_no_answer(candidates: list[CdfPoint]) -> None:
    assert quantile_sequence(candidates, 0.5, 2.0) is None


def test_quantile_largest_value_is_no_upper_end_with_too_few_units() -> None:
    # All 30 values are at most 20: F(20) = 1 with an error of 0, yet the 95 % point may well be above.
    se = math.sqrt(0.9 * 0.1 / 29)
    few = [CdfPoint(0, 0, 0), CdfPoint(10, 0.9, se), CdfPoint(20, 1, 0), CdfPoint(30, 1, 0)]
    assert quantile_sequence(few, 0.95, 1.96) is None
    many = [CdfPoint(0, 0, 0), CdfPoint(10, 0.9, se / 10), CdfPoint(20, 1, 0), CdfPoint(30, 1, 0)]
    answer = quantile_sequence(many, 0.95, 1.96)
    assert answer is not None
    assert (answer.low, answer.high) == (10, 20)
    assert answer.value == pytest.approx(15)


@pytest.mark.parametrize(
    "wrong",
    [
        points(0.3, 0.2),
        [CdfPoint(1, 0.1, 0), CdfPoint(1, 0.2, 0)],
        [CdfPoint(2, 0.1, 0), CdfPoint(1, 0.2, 0)],
    ],
)
def test_quantile_falling_shares_or_unordered_thresholds_are_refused(wrong: list[CdfPoint]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        quantile_sequence(wrong, 0.5, 2.0)


@pytest.mark.parametrize(("level", "multiplier"), [(0, 2), (1, 2), (math.nan, 2), (0.5, 0), (0.5, math.inf)])
def test_quantile_impossible_level_or_multiplier_is_refused(level: float, multiplier: float) -> None:
    with pytest.raises(ValueError, match="level"):
        quantile_sequence(points(0.1, 0.9), level, multiplier)


@pytest.mark.parametrize(
    "point", [(math.nan, 0.5, 0.1), (1, 1.1, 0.1), (1, -0.1, 0), (1, 0.5, -1), (1, 0.5, math.inf)]
)
def test_cdf_point_impossible_values_are_refused(point: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="distribution"):
        CdfPoint(*point)


def test_cdf_point_one_request_each_is_the_binomial_error_and_strata_are_averaged() -> None:
    def cell(n: int, below: int) -> CoMoments:
        return CoMoments.of(np.column_stack([np.arange(n) < below, np.ones(n)]))

    point = cdf_point(7.0, [cell(50, 20), cell(80, 60)], [3, 1])
    assert point is not None
    assert point.threshold == 7.0
    assert point.share == pytest.approx(0.75 * 0.4 + 0.25 * 0.75)
    assert point.se == pytest.approx(math.sqrt(0.75**2 * 0.24 / 49 + 0.25**2 * 0.1875 / 79))
    assert cdf_point(7.0, [cell(50, 20), cell(80, 60)], [0, 5]) == cdf_point(7.0, [cell(80, 60)], [1])


@pytest.mark.parametrize(
    ("strata", "weights"),
    [
        ([], []),
        ([CoMoments.empty(2)], [1]),
        ([CoMoments.of([[1, 2]])], [1]),
        ([CoMoments.of([[1, 2], [0, 1]])], [0]),
        ([CoMoments.of([[0, 0], [0, 0]])], [1]),
    ],
)
def test_cdf_point_without_units_or_requests_is_no_answer(
    strata: list[CoMoments], weights: list[float]
) -> None:
    assert cdf_point(1.0, strata, weights) is None


@pytest.mark.parametrize("weights", [[1.0, 1.0], [-1.0], [math.nan]])
def test_cdf_point_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        cdf_point(1.0, [CoMoments.empty(2)], weights)


def test_difference_subtracts_intervals() -> None:
    treatment, control = QuantileEstimate(9, 8, 11), QuantileEstimate(5, 4, 7)
    assert difference(treatment, control) == QuantileDifference(4, 1, 7)


def test_needed_n_is_the_published_one_and_the_least_with_two_ends() -> None:
    # Yao, Li, Lu (2024) round 380.3 down.
    assert needed_n(0.99, 1.959964) == needed_n(0.01, 1.959964) == 381
    assert needed_n(0.5, 1.959964) == 4
    n, z = needed_n(0.95, 1.96), 1.96
    assert 0.95 + z * math.sqrt(0.95 * 0.05 / n) <= 1 < 0.95 + z * math.sqrt(0.95 * 0.05 / (n - 1))
    with pytest.raises(ValueError, match="level"):
        needed_n(1.0, 1.96)


EDGES = np.exp(np.linspace(-4, 4, 161))


def clustered_latencies(rng: np.random.Generator, users: int) -> tuple[Array, Array]:
    """Counts below EDGES (users, edges) and of requests (users): log-normal latencies, 1 to 9 a user, users
    who differ (0.7) as much as their requests do (0.7)."""
    requests = rng.integers(1, 10, users)
    owner = np.repeat(np.arange(users), requests)
    values = np.exp(rng.normal(0, 0.7, users)[owner] + rng.normal(0, 0.7, owner.size))
    below = np.zeros((users, EDGES.size + 1))
    np.add.at(below, (owner, np.searchsorted(EDGES, values)), 1)
    return below.cumsum(axis=1)[:, :-1], requests.astype(np.float64)


def delta_method(below: Array, requests: Array) -> list[CdfPoint]:
    """All points at once, which 161 calls of cdf_point would take longer for; a test compares them."""
    share = below.sum(axis=0) / requests.sum()
    linear = (below - share * requests[:, None]) / requests.mean()
    errors = linear.std(axis=0, ddof=1) / math.sqrt(requests.size)
    return [CdfPoint(*point) for point in zip(EDGES.tolist(), share.tolist(), errors.tolist(), strict=True)]


def test_cdf_point_clustered_requests_have_the_delta_methods_error() -> None:
    below, requests = clustered_latencies(np.random.default_rng(52), 400)
    expected = delta_method(below, requests)[80]
    actual = cdf_point(float(EDGES[80]), [CoMoments.of(np.column_stack([below[:, 80], requests]))], [1.0])
    assert actual is not None
    assert (actual.share, actual.se) == pytest.approx((expected.share, expected.se), rel=1e-12)
    # Requests are not independent: as if they were, the error would be much too small.
    assert actual.se > 1.5 * math.sqrt(actual.share * (1 - actual.share) / requests.sum())


@pytest.mark.parametrize(("users", "level"), [(150, 0.5), (40, 0.95), (150, 0.95), (600, 0.99)])
def test_quantile_clustered_requests_are_covered_on_both_sides(users: int, level: float) -> None:
    # With each point's own error only, the truth lies above the interval in 10, 3 and 7 % of the last three.
    rng = np.random.default_rng(51)
    truth = math.exp(math.sqrt(2 * 0.7**2) * stats.norm.ppf(level))
    found = [
        quantile_sequence(delta_method(*clustered_latencies(rng, users)), level, 1.96) for _ in range(250)
    ]
    answers = [answer for answer in found if answer is not None]
    assert len(answers) > 0.7 * len(found)
    assert np.mean([truth < answer.low for answer in answers]) <= 0.035
    assert np.mean([truth > answer.high for answer in answers]) <= 0.035
    assert all(answer.low <= answer.value <= answer.high for answer in answers)
    if len(answers) == len(found):
        assert np.mean([math.log(answer.value / truth) for answer in answers]) == pytest.approx(0, abs=0.04)
