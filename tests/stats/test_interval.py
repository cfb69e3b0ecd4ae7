import math

import pytest
from scipy import stats

from triageops.stats.interval import Interval, mean_interval, wilson
from triageops.stats.moments import Moments


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (1, 29), (81, 263), (15, 148), (0, 20), (10**8, 10**9)]
)
def test_wilson_any_share_equals_scipy(successes: int, n: int, confidence: float) -> None:
    expected = stats.binomtest(successes, n, 0.5).proportion_ci(confidence, method="wilson")
    actual = wilson(successes, n, confidence)
    assert actual is not None
    assert actual.low == pytest.approx(expected.low, rel=1e-9, abs=1e-15)
    assert actual.high == pytest.approx(expected.high, rel=1e-9)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_published_examples_are_reproduced(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n)  # Newcombe (1998), table I, method 3
    assert interval is not None
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_no_or_all_successes_contains_the_share_exactly() -> None:
    for n in range(1, 200):
        none, every = wilson(0, n), wilson(n, n)
        assert none is not None
        assert every is not None
        assert none.low == 0.0 < none.high < 1
        assert every.high == 1.0 > every.low > 0


def test_wilson_nothing_observed_is_no_answer() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (1, 0), (0, -1)])
def test_wilson_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes of"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_intervals_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)
    with pytest.raises(ValueError, match="confidence"):
        mean_interval(Moments(0, 0.0, 0.0), confidence)


def test_mean_interval_sample_equals_scipys_normal_interval() -> None:
    values = [1.0, 2.5, 2.5, 7.0, -3.0]
    low, high = stats.norm.interval(0.9, loc=2.0, scale=stats.sem(values))
    interval = mean_interval(Moments.of(values), 0.9)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_mean_interval_one_value_is_no_answer_and_constant_is_a_point() -> None:
    assert mean_interval(Moments.of([1.0])) is None
    assert mean_interval(Moments.of([2.0, 2.0])) == Interval(2.0, 2.0)
