import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from triageops.stats.bets_deflator import checked_phi
from triageops.stats.bets_rate import RateBet

BET = RateBet(0.08, 0.12)
K = len(BET.odds_ratios)
SHARES = st.floats(1e-6, 1 - 1e-6)


def expectation(bet: RateBet, p: float, n: int, phi: float = 1.0) -> np.ndarray:
    """E[exp(l)] of each baseline for n independent values: the sum over all outcomes."""
    k = np.arange(n + 1)
    return np.asarray(stats.binom.pmf(k, n, p) @ np.exp(bet.increments_of(k, np.full(n + 1, n), phi=phi)))


@given(SHARES, SHARES, st.floats(0, 1), st.integers(1, 30), st.floats(0.05, 1))
def test_rate_bet_any_allowed_share_is_an_e_value(
    one: float, other: float, between: float, n: int, phi: float
) -> None:
    low, high = sorted((one, other))
    bet = RateBet(low, high)
    p = min(low + between * (high - low), high)
    assert (expectation(bet, p, n) <= 1 + 1e-9).all()
    assert (expectation(bet, p, n, phi) <= 1 + 1e-9).all()


@given(SHARES, st.integers(1, 30))
def test_rate_bet_at_the_bound_nothing_is_given_away(p: float, n: int) -> None:
    assert expectation(RateBet(p, p), p, n) == pytest.approx(np.ones(2 * K), rel=1e-9)


def test_rate_bet_worse_than_allowed_gains_on_its_own_side_only() -> None:
    above, below = expectation(BET, 0.2, 30), expectation(BET, 0.02, 30)
    assert (above[:K] > 1).all()
    assert (above[K:] < 1).all()
    assert (below[:K] < 1).all()
    assert (below[K:] > 1).all()
    assert BET.directions == ("up",) * K + ("down",) * K


def test_rate_bet_values_with_differing_allowed_shares_are_an_e_value() -> None:
    """Values need not be alike: the probabilities of the number of successes, value by value."""
    chances, pmf = [0.12, 0.03, 0.12, 0.08, 0.0, 0.119], np.array([1.0])
    for p in chances:
        pmf = np.convolve(pmf, [1 - p, p])
    n = len(chances)
    up = replace(BET, sides="up")
    assert (pmf @ np.exp(up.increments_of(np.arange(n + 1), np.full(n + 1, n))) <= 1 + 1e-12).all()


@given(st.integers(0, 50), st.integers(0, 50), SHARES)
def test_rate_bet_increment_is_scipys_likelihood_ratio(k: int, failures: int, p: float) -> None:
    n, bet = k + failures, RateBet(p, p)
    ratios = np.array([1.0, *bet.odds_ratios, *(1 / r for r in bet.odds_ratios)])
    null, *others = stats.binom.logpmf(k, n, ratios * p / (1 - p + ratios * p))
    assert bet.increments(k, n) == pytest.approx(np.array(others) - null, rel=1e-7, abs=1e-7)


@given(*[st.integers(0, 10**6)] * 4)
def test_rate_bet_split_bucket_adds_up(k: int, failures: int, other_k: int, other_failures: int) -> None:
    one, other = BET.increments(k, k + failures), BET.increments(other_k, other_k + other_failures)
    whole = BET.increments(k + other_k, k + failures + other_k + other_failures)
    assert np.add(one, other) == pytest.approx(whole, rel=1e-9, abs=1e-6)


@given(st.integers(0, 200), st.integers(0, 200))
def test_rate_bet_failures_counted_as_successes_are_the_mirror_image(k: int, failures: int) -> None:
    mirror = RateBet(1 - BET.p_high, 1 - BET.p_low).increments(failures, k + failures)
    ours = BET.increments(k, k + failures)
    assert ours[:K] == pytest.approx(mirror[K:], abs=1e-9)
    assert ours[K:] == pytest.approx(mirror[:K], abs=1e-9)


def test_rate_bet_more_successes_mean_more_up_and_less_down() -> None:
    many = BET.increments_of(np.arange(21), np.full(21, 20))
    assert (np.diff(many[:, :K], axis=0) > 0).all()
    assert (np.diff(many[:, K:], axis=0) < 0).all()


def test_rate_bet_empty_bucket_is_zero() -> None:
    assert BET.increments(0, 0) == (0.0,) * (2 * K)


def test_rate_bet_wider_bounds_never_raise_the_evidence() -> None:
    wide = np.array(RateBet(0.05, 0.15).increments(9, 40))
    assert (wide <= np.array(BET.increments(9, 40))).all()


@pytest.mark.parametrize("p", [1e-12, 1e-300, 0.5, 1 - 1e-12, 1 - 2**-53])
def test_rate_bet_a_billion_values_stay_finite(p: float) -> None:
    for k in (0, 1, 5 * 10**8, 10**9 - 1, 10**9):
        increments = RateBet(p, p).increments(k, 10**9)
        assert all(map(math.isfinite, increments))
    expected = RateBet(p, p).increments(round(p * 10**9), 10**9)
    assert max(expected) < 1  # what is expected is no evidence


def test_rate_bet_tiny_rates_lose_no_digits() -> None:
    """k log r - mu (r - 1), the Poisson limit, at p = 1e-9 and a billion values."""
    ours = RateBet(1e-9, 1e-9, "up", (2.0,)).increments(7, 10**9)
    assert ours == pytest.approx((7 * math.log(2) - 1,), rel=1e-8)


def test_rate_bet_bound_of_nothing_or_everything_never_gains() -> None:
    free = RateBet(0.0, 1.0)
    assert (free.increments_of(np.arange(21), np.full(21, 20)) <= 1e-12).all()


def test_rate_bet_one_side_has_its_baselines_only() -> None:
    both = BET.increments(5, 20)
    assert replace(BET, sides="up").increments(5, 20) == both[:K]
    assert replace(BET, sides="down").increments(5, 20) == both[K:]
    assert set(replace(BET, sides="down").directions) == {"down"}


@pytest.mark.parametrize("together", [2, 3, 5])
def test_deflator_values_in_equal_groups_one_over_the_group_is_exactly_enough(together: int) -> None:
    """Each user gives the same answer several times: without phi the promise breaks, with 1 / m it holds."""
    users, p = 8, 0.12
    k = np.arange(users + 1)
    counts, n = k * together, np.full(users + 1, users * together)
    pmf, bet = stats.binom.pmf(k, users, p), RateBet(0.0, p, "up")
    assert (pmf @ np.exp(bet.increments_of(counts, n)) > 1.001).all()
    assert pmf @ np.exp(bet.increments_of(counts, n, phi=1 / together)) == pytest.approx(np.ones(K))


@pytest.mark.parametrize("phi", [0.0, -0.1, 1.001, math.nan, [0.5, 2.0]])
def test_deflator_outside_its_range_is_refused(phi: float | list[float]) -> None:
    with pytest.raises(ValueError, match="phi"):
        checked_phi(phi)


def test_rate_bet_arrays_equal_one_by_one() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(0, 40, (3, 5))
    k, phi = rng.binomial(n, 0.1), rng.uniform(0.1, 1, (3, 5))
    together = BET.increments_of(k, n, phi=phi)
    assert together.shape == (3, 5, 2 * K)
    for at in np.ndindex(3, 5):
        assert together[at] == pytest.approx(BET.increments(int(k[at]), int(n[at]), phi=float(phi[at])))


@pytest.mark.parametrize(
    "changes",
    [
        {"p_low": 0.2},
        {"p_low": -0.1},
        {"p_high": 1.1},
        {"p_high": math.nan},
        {"sides": "sideways"},
        {"odds_ratios": ()},
        {"odds_ratios": (1.0,)},
        {"odds_ratios": (math.inf,)},
    ],
)
def test_rate_bet_impossible_parameters_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(BET, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (math.nan, 3), (3, math.inf), (0, -1)])
def test_rate_bet_impossible_counts_are_refused(k: float, n: float) -> None:
    with pytest.raises(ValueError):
        BET.increments_of(k, n)
