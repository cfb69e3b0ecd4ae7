import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from triageops.stats import sequential
from triageops.stats.interval import Interval

EFFECTS = st.floats(-20, 20)
SES = st.floats(0.01, 10)
TAU2S = st.floats(1e-4, 1e2)
ALPHAS = st.floats(1e-6, 0.4)


# x* of the reference table (docs of the tuning): W_{-1} as scipy has it.
@pytest.mark.parametrize("alpha", [0.9, 0.5, 0.1, 0.05, 0.025, 0.01, 0.001, 1e-12])
def test_tuned_tau2_any_alpha_is_scipys_lambert_w(alpha: float) -> None:
    exact = -special.lambertw(-alpha * alpha / math.e, -1).real - 1
    assert sequential.tuned_tau2(alpha, 50.0) == pytest.approx(exact / 50, rel=1e-9)
    assert sequential.tuned_tau2(alpha / 2, 50.0, sides=1) == pytest.approx(exact / 50, rel=1e-9)


def test_tuned_tau2_five_percent_is_the_published_value() -> None:
    assert sequential.tuned_tau2(0.05, 1.0) == pytest.approx(8.212, abs=5e-4)
    # z needed at the tuned information.
    assert sequential.confidence_sequence(0.0, 1.0, 8.212, 0.05).high == pytest.approx(3.035, abs=5e-4)


@pytest.mark.parametrize("factor", [0.8, 1.25])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_tuned_tau2_anything_else_makes_a_wider_interval(alpha: float, factor: float) -> None:
    tau2 = sequential.tuned_tau2(alpha, 4.0)
    best = sequential.confidence_sequence(0.0, 0.5, tau2, alpha).high
    assert sequential.confidence_sequence(0.0, 0.5, tau2 * factor, alpha).high > best


# pip install gbstats==0.8.0; with s(n, m, v) = SampleMeanStatistic(n=n, sum=n*m, sum_squares=v*(n-1)+n*m*m):
# t = SequentialTwoSidedTTest(s(400, 10, 4), s(600, 10.5, 5), SequentialConfig(difference_type="absolute",
# sequential_tuning_parameter=5000)); t.variance ** 0.5, t.rho, t.p_value, t.confidence_interval
# and s(5000, 1, 2), s(500, 1.3, 3) with 10000. Here tau2 = rho^2 n se^2.
@pytest.mark.parametrize(
    ("effect", "se", "rho", "n", "p", "interval"),
    [
        (
            0.5,
            0.13540064007726602,
            0.03984006677137368,
            1000,
            0.02453713556199699,
            Interval(0.04452744878095277, 0.9554725512190472),
        ),
        (
            0.3,
            0.08,
            0.02817118137696317,
            5500,
            0.007591647706311344,
            Interval(0.05434851514510347, 0.5456514848548966),
        ),
    ],
)
def test_two_sided_fixed_data_equals_growthbooks_gbstats(
    effect: float, se: float, rho: float, n: int, p: float, interval: Interval
) -> None:
    tau2 = rho * rho * n * se * se
    log_e = sequential.log_e_value(effect, se, tau2)
    assert sequential.always_valid_p(log_e) == pytest.approx(p, rel=1e-12)
    ours = sequential.confidence_sequence(effect, se, tau2, 0.05)
    assert ours.low == pytest.approx(interval.low, rel=1e-12)
    assert ours.high == pytest.approx(interval.high, rel=1e-12)


def mixture(effect: float, se: float, tau2: float, low: float) -> float:
    """The likelihood ratio averaged over a normal prior of variance tau2 on (low, infinity), by quadrature."""
    tau = math.sqrt(tau2)

    def integrand(x: float) -> float:
        theta = x * tau
        ratio = math.exp((theta * effect - theta * theta / 2) / se**2)
        return ratio * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    value: float = integrate.quad(integrand, max(low, -40), 40, epsabs=0, epsrel=1e-12, limit=500)[0]
    return value


@pytest.mark.parametrize("effect", [-3.0, -0.4, 0.0, 0.1, 0.9, 4.0])
@pytest.mark.parametrize(("se", "tau2"), [(1.0, 1.0), (0.5, 0.04), (0.7, 3.0)])
def test_e_values_any_effect_are_the_mixture_integrals(effect: float, se: float, tau2: float) -> None:
    both = mixture(effect - 0.1, se, tau2, -math.inf)
    above = 2 * mixture(effect - 0.1, se, tau2, 0.0)
    assert sequential.log_e_value(effect, se, tau2, null=0.1) == pytest.approx(math.log(both), abs=1e-9)
    assert sequential.log_e_value_greater(effect, se, tau2, null=0.1) == pytest.approx(
        math.log(above), abs=1e-9
    )


@pytest.mark.parametrize("z", [-1e150, -1e4, -50.0, -40.0, -14.2, -14.1, -3.0, 0.0, 3.0, 1e4])
@pytest.mark.parametrize("r", [1e-3, 1.0, 1e6])
def test_log_e_value_greater_far_tails_agree_with_scipys_log_ndtr(z: float, r: float) -> None:
    log_e = sequential.log_e_value_greater(z, 1.0, r)
    assert math.isfinite(log_e)
    u = z * math.sqrt(r / (1 + r))
    if u < -1000:  # where u^2 / 2 + log(Phi(u)) cancels, Mills' ratio is exact
        expected = math.log(2) - math.log(-u) - math.log(2 * math.pi) / 2
    else:
        expected = math.log(2) + u * u / 2 + float(special.log_ndtr(u))
    assert log_e == pytest.approx(expected - math.log1p(r) / 2, rel=1e-12, abs=2e-6 if abs(u) > 20 else 1e-11)


def test_log_e_value_greater_rising_effect_rises_everywhere() -> None:
    values = [sequential.log_e_value_greater(z / 50, 1.0, 2.0) for z in range(-1500, 1500)]
    assert all(a < b for a, b in pairwise(values))


def test_log_e_values_beyond_doubles_are_infinite_not_errors() -> None:
    assert sequential.log_e_value(1e300, 1e-5, 1.0) == math.inf
    assert sequential.log_e_value_greater(1e300, 1e-5, 1.0) == math.inf
    assert sequential.log_e_value(0.0, 1e-200, 1.0) == pytest.approx(-200 * math.log(10))
    assert sequential.log_e_value(1.0, 1e200, 1e-200) == 0.0


def test_always_valid_p_known_evidence_is_its_inverse_within_0_and_1() -> None:
    assert sequential.always_valid_p(math.log(20)) == pytest.approx(0.05)
    assert sequential.always_valid_p(-3.0) == 1.0
    assert sequential.always_valid_p(-math.inf) == 1.0
    assert sequential.always_valid_p(math.inf) == 0.0
    with pytest.raises(ValueError):
        sequential.always_valid_p(math.nan)


@given(EFFECTS, SES, TAU2S, ALPHAS)
def test_confidence_sequence_its_ends_have_an_e_value_of_one_over_alpha(
    effect: float, se: float, tau2: float, alpha: float
) -> None:
    interval = sequential.confidence_sequence(effect, se, tau2, alpha)
    for end in (interval.low, interval.high):
        log_e = sequential.log_e_value(effect, se, tau2, null=end)
        assert log_e == pytest.approx(-math.log(alpha), rel=1e-7)


@given(EFFECTS, SES, TAU2S, ALPHAS)
def test_one_sided_bounds_have_an_e_value_of_one_over_alpha_and_beat_the_closed_form(
    effect: float, se: float, tau2: float, alpha: float
) -> None:
    low = sequential.lower_bound(effect, se, tau2, alpha)
    assert sequential.log_e_value_greater(effect, se, tau2, null=low) == pytest.approx(
        -math.log(alpha), rel=1e-7
    )
    r = tau2 / se**2
    # arXiv 2103.06476, eq. 134.
    closed = se * math.sqrt(2 * (r + 1) / r * math.log(1 + math.sqrt(r + 1) / (2 * alpha)))
    assert effect - closed * (1 + 1e-9) <= low < effect
    assert sequential.upper_bound(effect, se, tau2, alpha) - effect == pytest.approx(effect - low, rel=1e-9)
    assert low > sequential.confidence_sequence(effect, se, tau2, alpha).low


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_kernels_wrong_scale_is_refused(wrong: float) -> None:
    for se, tau2 in ((wrong, 1.0), (1.0, wrong)):
        with pytest.raises(ValueError):
            sequential.log_e_value(0.1, se, tau2)
        with pytest.raises(ValueError):
            sequential.log_e_value_greater(0.1, se, tau2)
        with pytest.raises(ValueError):
            sequential.confidence_sequence(0.1, se, tau2, 0.05)
        with pytest.raises(ValueError):
            sequential.lower_bound(0.1, se, tau2, 0.05)
    with pytest.raises(ValueError):
        sequential.tuned_tau2(0.05, wrong)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_kernels_wrong_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError):
        sequential.tuned_tau2(alpha, 1.0)
    with pytest.raises(ValueError):
        sequential.confidence_sequence(0.1, 1.0, 1.0, alpha)
    with pytest.raises(ValueError):
        sequential.upper_bound(0.1, 1.0, 1.0, alpha)


def test_kernels_effect_that_is_no_number_or_wide_one_sided_alpha_are_refused() -> None:
    for effect, null in ((math.nan, 0.0), (math.inf, 0.0), (0.0, math.nan)):
        with pytest.raises(ValueError):
            sequential.log_e_value(effect, 1.0, 1.0, null=null)
    with pytest.raises(ValueError):
        sequential.tuned_tau2(0.5, 1.0, sides=1)
