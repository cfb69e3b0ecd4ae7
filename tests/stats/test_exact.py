import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from triageops.stats import exact
from triageops.stats.exact import Events
from triageops.stats.interval import Interval

COUNTS = st.integers(0, 400)
SHARES = st.sampled_from([0.01, 0.1, 0.5, 0.8])


# pip install ssrm-test==0.1.5 (Optimizely); np.Inf = np.inf;
# then log of sequential_bayes_factors(np.array([counts]), np.array(shares), dirichlet_concentration=c)[-1]
@pytest.mark.parametrize(
    ("counts", "shares", "concentration", "expected"),
    [
        ((5100, 4900), (0.5, 0.5), 10_000, 0.6534805811679689),
        ((480, 310, 210), (0.5, 0.3, 0.2), 1000, -0.29585914901144866),
        ((7, 3, 11), (0.1, 0.1, 0.8), 20, 1.6447615770931563),
        ((620, 480), (0.5, 0.5), 1000, 4.3012578759480675),
    ],
)
def test_log_e_multinomial_fixed_counts_equals_optimizelys_ssrm(
    counts: tuple[int, ...], shares: tuple[float, ...], concentration: float, expected: float
) -> None:
    ours = exact.log_e_multinomial(counts, shares, concentration=concentration)
    assert ours == pytest.approx(expected, abs=1e-9)


@given(COUNTS, COUNTS, SHARES, st.sampled_from([2.0, 20.0, 1000.0]))
def test_log_e_multinomial_two_arms_is_a_ratio_of_scipys_beta_functions(
    x_t: int, x_c: int, share: float, concentration: float
) -> None:
    a, b = concentration * share, concentration * (1 - share)
    expected = special.betaln(a + x_t, b + x_c) - special.betaln(a, b) - special.xlogy(x_t, share)
    expected -= special.xlogy(x_c, 1 - share)
    ours = exact.log_e_rare(x_t, x_c, share, concentration=concentration)
    assert ours == pytest.approx(expected, abs=1e-8)


def test_log_e_multinomial_arm_with_share_zero_adds_no_degree_of_freedom() -> None:
    with_it = exact.log_e_multinomial((5100, 4900, 0), (0.5, 0.5, 0.0), concentration=1000)
    assert with_it == exact.log_e_multinomial((5100, 4900), (0.5, 0.5), concentration=1000)


def test_log_e_multinomial_unit_in_an_arm_with_share_zero_is_infinite_evidence() -> None:
    assert exact.log_e_multinomial((5100, 4900, 1), (0.5, 0.5, 0.0), concentration=1000) == math.inf


def test_log_e_multinomial_nothing_or_one_arm_is_no_evidence() -> None:
    assert exact.log_e_multinomial((0, 0), (0.5, 0.5), concentration=1000) == 0
    assert exact.log_e_multinomial((70,), (1.0,), concentration=1000) == pytest.approx(0, abs=1e-10)
    assert exact.log_e_multinomial((0, 0, 9), (0.0, 0.0, 1.0), concentration=1000) == pytest.approx(
        0, abs=1e-10
    )


def test_log_e_multinomial_basis_points_are_shares() -> None:
    basis_points = exact.log_e_multinomial((48, 31, 21), (5000, 3000, 2000), concentration=1000)
    assert basis_points == pytest.approx(
        exact.log_e_multinomial((48, 31, 21), (0.5, 0.3, 0.2), concentration=1000), abs=1e-10
    )


def test_log_e_multinomial_is_an_expectation_of_one_under_the_null() -> None:
    """The sum of E over all outcomes of 12 units in three arms, each with its probability."""
    shares, n = (0.2, 0.5, 0.3), 12
    total = 0.0
    for i in range(n + 1):
        for j in range(n + 1 - i):
            counts = (i, j, n - i - j)
            log_p = math.lgamma(n + 1) + sum(
                x * math.log(s) - math.lgamma(x + 1) for x, s in zip(counts, shares, strict=True)
            )
            total += math.exp(log_p + exact.log_e_multinomial(counts, shares, concentration=5))
    assert total == pytest.approx(1, rel=1e-12)


def test_srm_several_epochs_add_their_evidence() -> None:
    first, second = ((510, 490), (0.5, 0.5)), ((880, 120), (0.9, 0.1))
    both = exact.srm([first, second])
    assert both.log_e == pytest.approx(exact.srm([first]).log_e + exact.srm([second]).log_e)
    assert both.observed == (1390, 610)
    assert both.expected == pytest.approx((1400, 600))
    assert not both.is_mismatch
    # Against today's shares alone the same counts would be beyond doubt.
    assert exact.srm([((1390, 610), (0.9, 0.1))]).is_mismatch


def test_srm_clear_mismatch_names_the_arm_farthest_off() -> None:
    result = exact.srm([((4300, 4000, 1700), (0.4, 0.4, 0.2))])
    assert result.is_mismatch
    assert result.worst_arm == 2
    assert result.p == pytest.approx(math.exp(-result.log_e))
    assert result.expected == pytest.approx((4000, 4000, 2000))


def test_srm_epochs_of_unequal_size_weigh_the_distance_by_their_units() -> None:
    result = exact.srm([((50_150, 48_800, 1050), (0.5, 0.49, 0.01)), ((1, 49, 50), (0.01, 0.49, 0.5))])
    # 150, 200 and 50 units off, which is 0.95, 1.27 and 1.58 standard deviations.
    assert result.worst_arm == 2


def test_srm_threshold_is_one_in_a_thousand() -> None:
    def at(x: int) -> exact.Srm:
        return exact.srm([((500 + x, 500 - x), (1, 1))])

    first = next(x for x in range(500) if at(x).is_mismatch)
    assert at(first - 1).p > 0.001 >= at(first).p


def test_srm_unit_in_a_closed_arm_is_a_mismatch_of_that_arm() -> None:
    result = exact.srm([((50, 50, 0), (1, 1, 0)), ((50, 50, 1), (1, 1, 0))])
    assert (result.log_e, result.p, result.is_mismatch, result.worst_arm) == (math.inf, 0.0, True, 2)


def test_srm_without_units_or_choice_is_no_mismatch() -> None:
    for counts, shares in (((0, 0), (1, 1)), ((9, 0), (1, 0))):
        result = exact.srm([(counts, shares)])
        assert (result.is_mismatch, result.worst_arm) == (False, None)
        assert result.p == 1


@given(COUNTS, COUNTS, SHARES)
def test_log_e_rare_greater_any_counts_is_the_truncated_mixture(x_t: int, x_c: int, share: float) -> None:
    a, b = 20 * share, 20 * (1 - share)
    peak = min(max((x_t + a) / (x_t + x_c + 20), share), 1 - 1e-9)
    log_null = special.xlogy(x_t, share) + special.xlogy(x_c, 1 - share)

    def log_ratio(theta: float) -> float:
        mass = special.xlogy(a - 1 + x_t, theta) + special.xlogy(b - 1 + x_c, 1 - theta)
        return float(mass - special.betaln(a, b) - math.log(special.betaincc(a, b, share)) - log_null)

    scale = log_ratio(peak)
    spread = math.sqrt(0.25 / (x_t + x_c + 20))
    edges = sorted({share, 1.0, *(min(max(peak + k * spread, share), 1.0) for k in (-8, -4, -1, 0, 1, 4, 8))})
    value = sum(
        integrate.quad(lambda x: math.exp(log_ratio(x) - scale), low, high, epsrel=1e-10, limit=200)[0]
        for low, high in pairwise(edges)
    )
    assert exact.log_e_rare_greater(x_t, x_c, share) == pytest.approx(scale + math.log(value), abs=1e-6)


def test_log_e_rare_greater_direction_decides() -> None:
    more, less = exact.log_e_rare_greater(40, 60, 0.2), exact.log_e_rare_greater(5, 95, 0.2)
    assert more > exact.log_e_rare(40, 60, 0.2) > math.log(20)
    assert less < 0 < exact.log_e_rare(5, 95, 0.2)
    assert exact.log_e_rare_greater(0, 0, 0.2) == pytest.approx(0, abs=1e-12)
    # A hundred thousand events in favour of the treatment: no underflow.
    assert -math.inf < exact.log_e_rare_greater(0, 100_000, 0.2) < 0


@pytest.mark.parametrize("theta", [0.2, 0.12, 0.01])
def test_log_e_rare_greater_is_an_expectation_of_at_most_one_under_lower_rates(theta: float) -> None:
    n = 40
    total = sum(
        math.comb(n, x)
        * theta**x
        * (1 - theta) ** (n - x)
        * math.exp(exact.log_e_rare_greater(x, n - x, 0.2))
        for x in range(n + 1)
    )
    assert total == pytest.approx(1, rel=1e-10) if theta == 0.2 else total < 1


@given(st.floats(1e-6, 1 - 1e-6), st.floats(1e-3, 1e4), st.floats(1e-3, 1e4))
def test_log_beta_cdf_any_arguments_agree_with_scipy(x: float, a: float, b: float) -> None:
    expected = float(special.betainc(a, b, x))
    ours = exact.log_beta_cdf(x, a, b)
    if expected < 1e-290:
        assert ours < math.log(1e-280)
    else:
        # The small rest of a probability close to 1 has the error of the whole.
        assert ours == pytest.approx(math.log(expected), rel=1e-10, abs=1e-10 + 2e-11 / expected)


def test_log_beta_cdf_closed_forms_hold_where_probabilities_underflow() -> None:
    assert exact.log_beta_cdf(0.3, 1e5, 1.0) == pytest.approx(1e5 * math.log(0.3), rel=1e-12)
    assert exact.log_beta_cdf(1e-9, 1.0, 7.0) == pytest.approx(math.log(-math.expm1(7 * math.log1p(-1e-9))))
    assert exact.log_beta_cdf(0.5, 3e6, 3e6) == pytest.approx(-math.log(2), abs=1e-7)
    for x, a, b in ((0.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.5, 0.0, 1.0), (0.5, 1.0, math.nan)):
        with pytest.raises(ValueError):
            exact.log_beta_cdf(x, a, b)


def ratios(*epochs: Events, alpha: float) -> Interval:
    interval = exact.rate_ratio_sequence(epochs, alpha=alpha)
    assert interval is not None
    return interval


@given(COUNTS, COUNTS, SHARES, st.sampled_from([0.2, 0.05, 0.001]))
def test_rate_ratio_sequence_its_ends_have_an_e_value_of_one_over_alpha(
    x_t: int, x_c: int, share: float, alpha: float
) -> None:
    interval = ratios(Events(x_t, x_c, share), alpha=alpha)
    assert (interval.low == 0) == (x_t == 0)
    assert (interval.high == math.inf) == (x_c == 0)
    assert interval.low < interval.high
    a, b = 20 * share, 20 * (1 - share)
    mixture = special.betaln(a + x_t, b + x_c) - special.betaln(a, b)
    for ratio in (interval.low, interval.high):
        if 0 < ratio < math.inf:
            theta = share * ratio / (share * ratio + 1 - share)
            other = (1 - share) / (share * ratio + 1 - share)
            log_e = mixture - special.xlogy(x_t, theta) - special.xlogy(x_c, other)
            assert log_e == pytest.approx(-math.log(alpha), abs=1e-6)
    log_e_of_one = exact.log_e_rare(x_t, x_c, share)
    if abs(log_e_of_one + math.log(alpha)) > 1e-6:
        assert (interval.low < 1 < interval.high) == (log_e_of_one < -math.log(alpha))


def test_rate_ratio_sequence_without_events_is_everything() -> None:
    interval = ratios(Events(0, 0, 0.5), alpha=0.05)
    assert (interval.low, interval.high) == (0.0, math.inf)


def test_rate_ratio_sequence_swapped_arms_is_the_inverse() -> None:
    interval = ratios(Events(30, 80, 0.3), alpha=0.05)
    swapped = ratios(Events(80, 30, 0.7), alpha=0.05)
    assert swapped.low == pytest.approx(1 / interval.high)
    assert swapped.high == pytest.approx(1 / interval.low)


def test_rate_ratio_sequence_huge_counts_close_in_on_the_ratio() -> None:
    interval = ratios(Events(2_000_000, 3_000_000, 0.25), alpha=0.05)
    assert 1.99 < interval.low < 2 < interval.high < 2.01


@pytest.mark.parametrize("theta", [0.1, 0.2])
def test_rate_ratio_sequence_simulated_events_miss_the_truth_less_often_than_alpha(theta: float) -> None:
    """The true ratio is (0.2 / 0.8) / (0.1 / 0.9) = 2.25 or 1; an interval after every event, 300 events."""
    runs, alpha = 400, 0.1
    truth = theta / (1 - theta) * 9
    events = (np.random.default_rng(30).random((runs, 300)) < theta).cumsum(axis=1)
    misses = 0
    for run in events[:, 9::10].tolist():
        intervals = [ratios(Events(x, 10 * k - x, 0.1), alpha=alpha) for k, x in enumerate(run, 1)]
        misses += any(not interval.low <= truth <= interval.high for interval in intervals)
    assert 0 < misses / runs <= alpha


def test_rate_ratio_sequence_epochs_with_other_shares_find_the_ratio_that_their_sums_hide() -> None:
    """Twice the rate in both epochs; the base rate moved tenfold as the shares went from 50/50 to 10/90."""
    epochs = Events(40, 20, 0.5), Events(190, 855, 0.1)
    interval = ratios(*epochs, alpha=0.05)
    assert interval.low > 1.4
    assert interval.high < 2.7
    sums = ratios(Events(230, 875, 1 / 3), alpha=0.05)
    assert sums.high < 1
    log_e = sum(exact.log_e_rare(one.x_t, one.x_c, one.share_t) for one in epochs)
    mixture = log_e + sum(one.log_likelihood(0.0) for one in epochs)
    for ratio in (interval.low, interval.high):
        at_end = sum(one.log_likelihood(math.log(ratio)) for one in epochs)
        assert mixture - at_end == pytest.approx(-math.log(0.05), abs=1e-8)


def test_rate_ratio_sequence_a_ratio_that_turned_round_fits_none() -> None:
    assert exact.rate_ratio_sequence([Events(900, 100, 0.5), Events(100, 900, 0.5)], alpha=0.05) is None


def test_rate_ratio_sequence_no_epoch_is_everything() -> None:
    assert ratios(alpha=0.05) == Interval(0.0, math.inf)


def test_e_tests_simulated_nulls_alarm_less_often_than_alpha() -> None:
    """60 looks at 50/30/20, 40 units each; and one-sided for rare events with a treatment of 10 %."""
    rng, runs, alpha = np.random.default_rng(31), 500, 0.1
    units = rng.multinomial(40, (0.5, 0.3, 0.2), size=(runs, 60)).cumsum(axis=1).tolist()
    alarms = sum(
        any(exact.log_e_multinomial(x, (5, 3, 2), concentration=100) >= -math.log(alpha) for x in run)
        for run in units
    )
    assert 0 < alarms / runs <= alpha
    events = rng.binomial(5, 0.1, size=(runs, 60)).cumsum(axis=1).tolist()
    alarms = sum(
        any(exact.log_e_rare_greater(x, 5 * k - x, 0.1) >= -math.log(alpha) for k, x in enumerate(run, 1))
        for run in events
    )
    assert 0 < alarms / runs <= alpha


def test_kernels_misuse_is_refused() -> None:
    for counts, shares in (
        ((1,), (0.5, 0.5)),
        ((-1, 2), (0.5, 0.5)),
        ((0, 0), (0, 0)),
        ((0, 0), (0.5, math.nan)),
    ):
        with pytest.raises(ValueError):
            exact.log_e_multinomial(counts, shares, concentration=10)
        with pytest.raises(ValueError):
            exact.srm([(counts, shares)])
    for concentration in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError):
            exact.log_e_rare(1, 1, 0.5, concentration=concentration)
    for epochs in ([], [((1, 1), (1, 1)), ((1,), (1,))]):
        with pytest.raises(ValueError):
            exact.srm(epochs)
    for share in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError):
            exact.log_e_rare_greater(1, 1, share)
    with pytest.raises(ValueError):
        ratios(Events(1, 1, 0.5), alpha=1.0)
