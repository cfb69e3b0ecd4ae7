import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from triageops.stats.interval import Interval
from triageops.stats.margins import (
    Margin,
    beta_quantile,
    clopper_pearson,
    count_bounds,
    location_shift,
    mean_margin,
    moved_margins,
    moved_shares,
    rate_bounds,
    score_errors,
    score_margins,
    spread_shift,
)

SHARES = np.array([0.05, 0.1, 0.15, 0.2, 0.2, 0.15, 0.1, 0.05])


def directed_scores(p: np.ndarray) -> np.ndarray:
    """Location and spread, up and down, and the upper tail, of mean 0."""
    rank = 2 * (np.cumsum(p) - p / 2) - 1
    square = rank**2 - (p * rank**2).sum()
    tail = (np.arange(p.size) == p.size - 1) - p[-1]
    return np.array([rank, -rank, square, -square, tail])


def test_mean_margin_is_the_larger_of_what_matters_and_what_is_known() -> None:
    found = mean_margin(0.0, sd=2.0, n_eff=400, freedom=200)
    assert found.value == pytest.approx(2.576 * 2 / 20 * (1 + 2.576 / 20))
    assert found.error == pytest.approx(0.1)
    assert found.is_learning
    assert mean_margin(0.5, sd=2.0, n_eff=400, freedom=200) == Margin(0.5, 0.1, False)
    assert mean_margin(0.0, sd=0.0, n_eff=5, freedom=4) == Margin(0.0, 0.0, False)


def test_mean_margin_simulated_references_hold_the_truth_with_the_stated_confidence() -> None:
    rng = np.random.default_rng(31)
    values = rng.normal(size=(40_000, 30))
    mean, sd = values.mean(axis=1), values.std(axis=1, ddof=1)
    unit = mean_margin(0.0, sd=1.0, n_eff=30, freedom=29).value
    missed = (mean > unit * sd).mean()
    assert missed <= 0.005
    plain = (mean > 2.576 / math.sqrt(30) * sd).mean()
    assert plain > 0.005  # what the last factor is for


@pytest.mark.parametrize("q", [1e-6, 0.005, 0.3, 0.5, 0.9, 0.995, 0.9999])
@pytest.mark.parametrize(
    ("a", "b"), [(1, 1), (1, 1000), (21, 980), (0.5, 3), (3, 0.7), (5000, 5000), (1, 1e6), (1e5, 9e5)]
)
def test_beta_quantile_equals_scipys(q: float, a: float, b: float) -> None:
    assert beta_quantile(q, a, b) == pytest.approx(special.betaincinv(a, b, q), rel=2e-10)


@settings(max_examples=50)
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_equals_scipys_exact_interval(k_n: tuple[int, int]) -> None:
    k, n = k_n
    expected = stats.binomtest(k, n).proportion_ci(confidence_level=0.99, method="exact")
    found = clopper_pearson(k, n, 0.005)
    assert found.low == pytest.approx(expected.low, rel=1e-9)
    assert found.high == pytest.approx(expected.high, rel=1e-9)


def test_clopper_pearson_a_hundred_million_records_are_fast_and_right() -> None:
    found = clopper_pearson(2e6, 1e8)
    sd = math.sqrt(0.02 * 0.98 / 1e8)
    assert found.low == pytest.approx(stats.beta.ppf(0.005, 2e6, 9.8e7 + 1), abs=1e-5 * sd)
    assert found.high == pytest.approx(stats.beta.ppf(0.995, 2e6 + 1, 9.8e7), abs=1e-5 * sd)


def test_rate_bounds_are_the_widest_of_all_margins() -> None:
    exact = clopper_pearson(20, 1000)
    assert rate_bounds(0.02, n_eff=1000) == exact
    wide = rate_bounds(0.02, n_eff=1000, ratio=1.0)
    assert (wide.low, wide.high) == pytest.approx((0.01, 0.04))
    assert exact.low > 0.01
    both = rate_bounds(0.02, n_eff=1e6, ratio=0.2, absolute=0.005)
    assert (both.low, both.high) == pytest.approx((0.015, 0.025))
    assert rate_bounds(0.0, n_eff=100).low == 0
    assert rate_bounds(0.9, n_eff=1000, ratio=1.0).high == 1
    assert rate_bounds(1.0, n_eff=100).high == 1


def test_count_bounds_are_garwoods_per_unit_of_the_mean() -> None:
    found = count_bounds(2.0, events=50)
    low, high = stats.chi2.ppf(0.005, 100) / 2, stats.chi2.ppf(0.995, 102) / 2
    assert (found.low, found.high) == pytest.approx((2 * low / 50, 2 * high / 50))
    wide = count_bounds(2.0, events=1e9, ratio=0.25)
    assert (wide.low, wide.high) == pytest.approx((1.6, 2.5))
    assert count_bounds(0.0, events=0) == Interval(0.0, math.inf)


@pytest.mark.parametrize("c", [-0.7, 0.0, 0.1, 0.25, 1.0])
def test_location_shift_is_the_mean_rank_of_a_shifted_normal(c: float) -> None:
    expected = stats.norm.expect(lambda x: 2 * stats.norm.cdf(x) - 1, loc=c)
    assert location_shift(c) == pytest.approx(expected, abs=1e-9)
    assert location_shift(c) == pytest.approx(2 * stats.norm.cdf(c / math.sqrt(2)) - 1)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.25, 2.0])
def test_spread_shift_is_the_mean_squared_rank_of_a_wider_normal(ratio: float) -> None:
    expected = stats.norm.expect(lambda x: (2 * stats.norm.cdf(x) - 1) ** 2, scale=ratio) - 1 / 3
    assert spread_shift(ratio) == pytest.approx(expected, abs=1e-9)


def test_moved_shares_equal_scipys_normal_between_the_cells_edges() -> None:
    edges = stats.norm.ppf(np.cumsum(SHARES)[:-1])
    expected = np.diff(stats.norm.cdf(edges, loc=0.3, scale=1.2), prepend=0, append=1)
    assert moved_shares(SHARES, shift=0.3, ratio=1.2) == pytest.approx(expected)
    assert moved_shares(SHARES) == pytest.approx(SHARES, abs=1e-15)
    assert moved_shares([0, 0.5, 0.5, 0], shift=0.3).tolist()[::3] == [0, 0]
    assert moved_shares([1.0], shift=9.0).tolist() == [1]


def test_score_margins_many_cells_are_the_formulas_of_a_normal() -> None:
    p = np.full(400, 1 / 400)
    found = score_margins(p, directed_scores(p), shift=0.1)
    assert found[:2] == pytest.approx([location_shift(0.1)] * 2, rel=1e-4)
    wider = score_margins(p, directed_scores(p), ratio=1.1)
    assert wider[2] == pytest.approx(spread_shift(1.1), rel=1e-3)
    assert wider[3] == pytest.approx(-spread_shift(1 / 1.1), rel=1e-3)
    assert found[4] == pytest.approx(stats.norm.sf(stats.norm.isf(1 / 400) - 0.1) - 1 / 400, rel=1e-9)


def test_score_margins_cover_every_allowed_move_and_only_widen() -> None:
    rng = np.random.default_rng(32)
    scores = directed_scores(SHARES)
    margin = score_margins(SHARES, scores, shift=0.2, ratio=1.15)
    for _ in range(200):
        moved = moved_shares(SHARES, shift=rng.uniform(-0.2, 0.2), ratio=math.exp(rng.uniform(-0.139, 0.139)))
        assert (scores @ moved <= margin + 1e-12).all()
    assert (score_margins(SHARES, scores) < 1e-15).all()
    assert (margin >= score_margins(SHARES, scores, shift=0.2)).all()


@pytest.mark.parametrize("name", ["bell", "leaning"])
def test_moved_margins_cover_what_real_moves_of_the_values_do(name: str) -> None:
    law = stats.norm(0.5, 0.1) if name == "bell" else stats.beta(10, 1)
    values = (np.arange(200) + 0.5) / 200
    edges = np.arange(1, 200) / 200
    shares = np.diff(law.cdf(edges), prepend=0, append=1)
    cell = np.searchsorted(np.cumsum(shares), np.arange(1, 20) / 20).searchsorted(np.arange(200))
    p = np.bincount(cell, shares, 20)
    scores = directed_scores(p)
    found = moved_margins(
        values[shares > 0], shares[shares > 0], cell[shares > 0], scores, shift=0.3, ratio=1.1
    )
    mean, sd = law.mean(), law.std()
    for shift in np.linspace(-0.3, 0.3, 13):
        for ratio in (1 / 1.1, 1.0, 1.1):
            below = law.cdf(mean + (edges - mean - shift * sd) / ratio)
            moved = np.bincount(cell, np.diff(below, prepend=0, append=1), 20)
            assert (scores @ moved <= found + 0.01).all()
    bent = score_margins(p, scores, shift=0.3, ratio=1.1)
    if name == "bell":
        assert found[:4] == pytest.approx(bent[:4], rel=0.05)
    else:
        assert (found[:4] > 1.15 * bent[:4]).all()


def test_moved_margins_exchange_grades_with_their_neighbours() -> None:
    """Five grades: a shift of the mean by 0.1 sd, not five grades that were never given."""
    counts = np.array([10, 20, 40, 20, 10])
    values = np.arange(5.0)
    sd = math.sqrt(1.2)
    found = moved_margins(values, counts, np.arange(5), [values - 2, 2 - values], shift=0.1)
    # The ends keep what would leave them.
    assert found == pytest.approx([0.1 * sd * 0.9] * 2)
    assert moved_margins([3.0], [7], [0], [[0.0]], shift=1.0).tolist() == [0.0]
    assert moved_margins(values, counts, np.arange(5), [values - 2]) == pytest.approx([0.0], abs=1e-12)


def test_score_errors_simulated_references_scatter_as_stated() -> None:
    # Cells fixed, shares and ranks estimated; the mean under the truth of scores made from the estimate.
    rng = np.random.default_rng(33)
    means = []
    for _ in range(3000):
        estimate = rng.multinomial(800, SHARES) / 800
        means.append(directed_scores(estimate) @ SHARES)
    stated = score_errors(SHARES, directed_scores(SHARES), 800)
    assert np.std(means, axis=0) == pytest.approx(stated, rel=0.06)
    several = score_errors(SHARES, directed_scores(SHARES), [800, 800, 800, 800, 200])
    assert several[4] == pytest.approx(2 * stated[4])


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_margin(-0.1, sd=1, n_eff=10, freedom=9),
        lambda: mean_margin(0.1, sd=1, n_eff=0, freedom=9),
        lambda: beta_quantile(0.0, 1, 1),
        lambda: clopper_pearson(5, 4),
        lambda: clopper_pearson(0, 0),
        lambda: clopper_pearson(1, 4, 0.6),
        lambda: rate_bounds(1.1, n_eff=10),
        lambda: count_bounds(-1, events=10),
        lambda: spread_shift(0.0),
        lambda: moved_shares([0.5, 0.4]),
        lambda: moved_shares([0.5, 0.5], ratio=-1),
        lambda: score_margins([0.5, 0.5], [[1, 2, 3]]),
        lambda: score_margins([0.5, 0.5], [[1, 2]], ratio=0.5),
        lambda: score_errors([0.5, 0.5], [[1, 2]], 0),
        lambda: moved_margins([1, 0], [1, 1], [0, 1], [[1, 2]]),
        lambda: moved_margins([0, 1], [1, 0], [0, 1], [[1, 2]]),
        lambda: moved_margins([0, 1], [1, 1], [0, 1], [[1, 2]], ratio=0.5),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
