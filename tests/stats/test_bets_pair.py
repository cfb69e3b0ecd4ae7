import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_hypergeom, nchypergeom_fisher

from triageops.stats.bets_pair import log_ways, pair_increments, tilt_of


@pytest.mark.parametrize(
    ("successes", "failures", "n"), [(3, 5, 4), (3, 100, 20), (50, 50, 50), (200, 100_000, 30_000), (1, 1, 1)]
)
def test_increment_of_two_cells_is_the_ratio_of_fishers_likelihoods(
    successes: int, failures: int, n: int
) -> None:
    total = successes + failures
    for allowed, bet in ((1.0, 2.0), (1.1, 5.0), (0.9, 1.2)):
        for k in range(max(0, n - failures), min(n, successes) + 1):
            expected = nchypergeom_fisher.logpmf(k, total, successes, n, bet)
            expected -= nchypergeom_fisher.logpmf(k, total, successes, n, allowed)
            found = pair_increments(
                [n - k, k],
                [failures - n + k, successes - k],
                scores=[[0.0, 1.0]],
                allowed=[math.log(allowed)],
                tilts=[math.log(bet)],
            )
            assert found[0] == pytest.approx(expected, abs=1e-8)


@given(
    st.lists(st.tuples(st.integers(1, 8), st.floats(-4, 4)), min_size=1, max_size=6),
    st.floats(0.01, 0.99),
)
def test_log_ways_is_the_polynomials_coefficient(cells: list[tuple[int, float]], share: float) -> None:
    total = np.array([count for count, _ in cells], dtype=float)
    weights = np.array([weight for _, weight in cells])
    n = max(1, round(share * (total.sum() - 1)))
    if n >= total.sum():
        return
    polynomial = np.array([1.0])
    for count, weight in zip(total, weights, strict=True):
        for _ in range(int(count)):
            polynomial = np.convolve(polynomial, [1.0, math.exp(weight)])
    assert log_ways(total, float(n), weights[None])[0] == pytest.approx(math.log(polynomial[n]), abs=1e-10)


@pytest.mark.parametrize("allowed", [0.0, 0.3])
def test_expectation_over_all_outcomes_is_one_without_a_tilt_and_below_with_a_margin(allowed: float) -> None:
    total, n, scores = (4, 3, 5), 5, [[-1.0, 0.2, 1.5], [2.0, -0.5, -0.5]]
    expectation = np.zeros(2)
    for a in range(5):
        for b in range(4):
            counts = np.array([a, b, n - a - b])
            if not 0 <= counts[2] <= 5:
                continue
            found = pair_increments(
                counts,
                np.array(total) - counts,
                scores=scores,
                allowed=[allowed, allowed],
                tilts=[allowed + 0.7, allowed + 1.5],
            )
            expectation += multivariate_hypergeom.pmf(counts, total, n) * np.exp(found)
    if allowed:
        assert (expectation < 0.99).all()
    else:
        np.testing.assert_allclose(expectation, 1.0, atol=1e-9)


def test_large_counts_neither_overflow_nor_lose_their_digits() -> None:
    counts = np.array([400_000, 300_000, 300_000])
    bets: dict[str, Any] = {"scores": [[-1.0, 0.0, 1.0]], "allowed": [0.0], "tilts": [0.01]}
    same = pair_increments(counts, 5 * counts, **bets)
    # What a normal law of the total says: -theta^2 / 2 n m / (n + m) var(s).
    assert same[0] == pytest.approx(-(0.01**2) / 2 * 1e6 * 5 / 6 * 0.69, rel=1e-3)
    moved = pair_increments(counts + np.array([-3_000, 0, 3_000]), 5 * counts, **bets)
    assert moved[0] > 10


def test_nothing_on_either_side_is_no_evidence() -> None:
    for counts, others in (([0, 0], [3, 4]), ([3, 4], [0, 0]), ([0, 0], [0, 0])):
        found = pair_increments(counts, others, scores=[[0.0, 1.0]], allowed=[0.0], tilts=[1.0])
        assert found.tolist() == [0.0]


@pytest.mark.parametrize(
    "wrong",
    [{"tilts": [-1.0]}, {"phi": 0.0}, {"phi": 1.5}, {"scores": [[0.0, 1.0, 2.0]]}, {"counts": [-1, 2]}],
)
def test_misuse_is_refused(wrong: dict[str, object]) -> None:
    given_: dict[str, object] = {
        "counts": [1, 2],
        "others": [3, 4],
        "scores": [[0.0, 1.0]],
        "allowed": [0.0],
        "tilts": [1.0],
    }
    with pytest.raises(ValueError, match=r"expected|outside"):
        pair_increments(**given_ | wrong)  # type: ignore[arg-type]


def test_tilt_moves_the_mean_score_to_where_it_was_asked_to() -> None:
    shares, scores = np.array([0.7, 0.2, 0.1, 0.0]), np.array([-0.5, 0.5, 2.5, 9.0])
    tilted = shares * np.exp(tilt_of(shares, scores, 0.4) * scores)
    assert tilted @ scores / tilted.sum() == pytest.approx(0.4)
    assert tilt_of(shares, scores, 0.0) == 0.0
    assert tilt_of(shares, scores, 2.5) == math.inf
