import math
import time
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from triageops.stats.group_sequential import (
    Sides,
    Spending,
    boundaries,
    conditional_power,
    crossing_probabilities,
    spent,
)

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def limits(bounds: tuple[float | None, ...]) -> list[float]:
    return [math.inf if bound is None else bound for bound in bounds]


def survival_by_scipy(fractions: list[float], bounds: list[float], sides: Sides) -> float:
    """P(no crossing), by Genz's integration of the multivariate normal: another method altogether."""
    t = np.array(fractions)
    covariance = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    upper = np.array(bounds)
    lower = -upper if sides == 2 else np.full(len(t), -np.inf)
    distribution = stats.multivariate_normal(np.zeros(len(t)), covariance, seed=1)
    return float(distribution.cdf(upper, lower_limit=lower))


def test_spent_known_fractions_is_the_formula() -> None:
    assert [spent(t, 0.05, "power2") for t in (0, 0.1, 0.5, 1, 3)] == pytest.approx(
        [0, 0.0005, 0.0125, 0.05, 0.05]
    )
    assert spent(0.0, 0.05, "obrien_fleming") == 0
    assert spent(0.25, 0.05, "obrien_fleming") == pytest.approx(
        2 * stats.norm.sf(stats.norm.isf(0.025) / 0.5)
    )
    assert spent(1.0, 0.05, "obrien_fleming") == spent(9.0, 0.05, "obrien_fleming") == 0.05


# CRAN ldbounds, in R: ldBounds(t = seq(0.2, 1, 0.2), iuse = 1, alpha = 0.05, sides = 2).
def test_boundaries_obrien_fleming_in_five_looks_are_ldbounds_values() -> None:
    ours = boundaries(FIFTHS, 0.05, spending="obrien_fleming")
    assert ours == pytest.approx((4.8769, 3.3570, 2.6803, 2.2898, 2.0310), abs=5.1e-5)


# Jennison and Turnbull (2000), tables 2.1 and 2.3 (constants), 2.2 and 2.4 (inflation at power 0.8 and 0.9).
@pytest.mark.parametrize(
    ("looks", "bounds"),
    [
        (2, [2.178] * 2),
        (5, [2.413] * 5),
        (10, [2.555] * 10),
        (5, [2.040 / math.sqrt(k / 5) for k in range(1, 6)]),
        (10, [2.087 / math.sqrt(k / 10) for k in range(1, 11)]),
    ],
)
def test_crossing_textbook_bounds_have_size_five_percent(looks: int, bounds: list[float]) -> None:
    fractions = [k / looks for k in range(1, looks + 1)]
    assert sum(crossing_probabilities(fractions, bounds)) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(
    ("bounds", "power", "inflation"),
    [
        ([2.413] * 5, 0.8, 1.229),
        ([2.413] * 5, 0.9, 1.207),
        ([2.040 / math.sqrt(t) for t in FIFTHS], 0.8, 1.028),
        ([2.040 / math.sqrt(t) for t in FIFTHS], 0.9, 1.026),
    ],
)
def test_crossing_textbook_inflation_gives_the_power(
    bounds: list[float], power: float, inflation: float
) -> None:
    fixed = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)
    reached = sum(crossing_probabilities(FIFTHS, bounds, drift=fixed * math.sqrt(inflation)))
    assert reached == pytest.approx(power, abs=3e-4)


# pip install gsdesign==0.1.5 (Merck's grid in Python), r = 80: the first look by h1(r, drift, t, b, inf)[2].sum(),
# later ones by hupdate(r, drift, t, b, inf, drift, t_before, density)[2].sum(), the same from -inf to -b.
@pytest.mark.parametrize(
    ("drift", "sides", "expected"),
    [
        (0.0, 2, (0.0019352069523, 0.0066477352981, 0.0097032846094, 0.0009031468934, 0.0275623571252)),
        (2.5, 2, (0.0105098547265, 0.1048990021684, 0.1903223886186, 0.0129784177532, 0.3510898809285)),
        (2.5, 1, (0.0104598500284, 0.1048848847487, 0.1903189818717, 0.0129781420610, 0.3510963402112)),
    ],
)
def test_crossing_uneven_looks_agree_with_gsdesign(
    drift: float, sides: Sides, expected: tuple[float, ...]
) -> None:
    fractions, bounds = [0.1, 0.35, 0.6, 0.62, 1.0], [3.1, 2.7, 2.5, 2.6, 2.1]
    ours = crossing_probabilities(fractions, bounds, drift=drift, sides=sides)
    assert ours == pytest.approx(expected, abs=3e-9)


@pytest.mark.parametrize("spending", ["power2", "obrien_fleming"])
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("fractions", [[0.3, 1.0], [0.05, 0.5, 0.51, 0.9], [0.1, 0.2, 0.7, 1.3]])
def test_boundaries_few_looks_spend_the_error_by_scipys_multivariate_normal(
    fractions: list[float], sides: Sides, spending: Spending
) -> None:
    bounds = limits(boundaries(fractions, 0.05, spending=spending, sides=sides))
    for k in range(1, len(fractions) + 1):
        expected = sides * spent(fractions[k - 1], 0.05 / sides, spending)
        assert 1 - survival_by_scipy(fractions[:k], bounds[:k], sides) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("last", [0.93, 1.0, 1.2])
def test_boundaries_with_a_clock_of_their_own_spend_all_at_the_end_whatever_was_learned(
    last: float, sides: Sides
) -> None:
    """The sample ends the plan with more or less information than was guessed; the error stays what it is."""
    fractions, clock = [0.2, 0.5, 0.9, last], [0.2, 0.5, 0.9, 1.0]
    bounds = limits(boundaries(fractions, 0.05, sides=sides, clock=clock))
    assert sum(crossing_probabilities(fractions, bounds, sides=sides)) == pytest.approx(0.05, abs=1e-9)
    # Taking the clock for the information would miss that: 1.2 read as 1.0 makes looks seem more alike than they are.
    naive = limits(boundaries(clock, 0.05, sides=sides))
    crossed = sum(crossing_probabilities(fractions, naive, sides=sides))
    assert (crossed > 0.0501) == (last > 1)
    assert (crossed < 0.0499) == (last < 1)


def test_boundaries_only_ratios_of_the_fractions_matter_beside_a_clock() -> None:
    clock = [0.1, 0.4, 1.0]
    ours = limits(boundaries(clock, 0.05))
    assert limits(boundaries([7 * t for t in clock], 0.05, clock=clock)) == pytest.approx(ours, abs=1e-9)
    for wrong in ([0.1, 0.4], [0.1, 0.4, 0.3]):
        with pytest.raises(ValueError, match="clock"):
            boundaries([0.1, 0.4, 1.0], 0.05, clock=wrong)


def test_boundaries_one_million_simulated_paths_cross_as_often_as_spent() -> None:
    fractions = np.array([0.1, 0.3, 0.35, 0.7, 1.0])
    rng = np.random.default_rng(20)
    bounds = np.array(limits(boundaries(fractions.tolist(), 0.05)))
    sums = rng.standard_normal((1_000_000, 5)) * np.sqrt(np.diff(fractions, prepend=0.0))
    z = np.cumsum(sums, axis=1, out=sums) / np.sqrt(fractions)
    has_crossed = np.maximum.accumulate(np.abs(z) >= bounds, axis=1).mean(axis=0)
    expected = 0.05 * fractions**2
    assert (np.abs(has_crossed - expected) < 4 * np.sqrt(expected / 1e6)).all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.01, 1.5).map(lambda x: round(x, 3)), min_size=1, max_size=12, unique=True).map(
        sorted
    ),
    st.sampled_from([0.3, 0.05, 0.001]),
    st.sampled_from(["power2", "obrien_fleming"]),
    st.sampled_from([1, 2]),
)
def test_boundaries_any_looks_spend_exactly_and_do_not_change_later(
    fractions: list[float], alpha: float, spending: Spending, sides: Sides
) -> None:
    bounds = boundaries(fractions, alpha, spending=spending, sides=sides)
    used = [t for t, bound in zip(fractions, bounds, strict=True) if bound is not None]
    spent_by_them = sides * spent(max(used, default=0.0), alpha / sides, spending)
    crossed = sum(crossing_probabilities(fractions, bounds, sides=sides))
    assert crossed == pytest.approx(spent_by_them, rel=1e-8, abs=1e-18)
    for k in range(len(fractions)):
        earlier = boundaries(fractions[:k], alpha, spending=spending, sides=sides)
        assert limits(earlier) == pytest.approx(limits(bounds[:k]), rel=1e-9)


def test_boundaries_beyond_full_information_spend_the_rest_once() -> None:
    bounds = boundaries([0.5, 0.9, 1.2, 1.5], 0.05)
    assert bounds[3] is None
    assert sum(crossing_probabilities([0.5, 0.9, 1.2, 1.5], bounds)) == pytest.approx(0.05)
    assert boundaries([1.5], 0.05) == pytest.approx((1.959963984540054,))
    assert boundaries([], 0.05) == ()


def test_boundaries_look_without_new_information_leaves_its_error_to_the_next() -> None:
    bounds = boundaries([0.5, 0.5001, 0.9999, 1.0, 1.2], 0.05)
    assert [bound is None for bound in bounds] == [False, True, False, True, False]
    assert bounds[2] == pytest.approx(boundaries([0.5, 0.9999], 0.05)[1])
    assert sum(crossing_probabilities([0.5, 0.5001, 0.9999, 1.0, 1.2], bounds)) == pytest.approx(0.05)


def test_boundaries_nearly_nothing_to_spend_is_none() -> None:
    assert boundaries([1e-12, 0.01, 1.0], 0.05, spending="obrien_fleming")[:2] == (None, None)


def test_boundaries_fifty_looks_take_a_fraction_of_a_second() -> None:
    fractions = [k / 50 for k in range(1, 51)]
    start = time.process_time()
    bounds = boundaries(fractions, 0.05)
    assert time.process_time() - start < 0.2
    assert sum(crossing_probabilities(fractions, bounds)) == pytest.approx(0.05, rel=1e-9)


def test_conditional_power_simulated_ends_are_as_often_above_the_bound() -> None:
    rng = np.random.default_rng(21)
    z, t, bound = 1.2, 0.4, 2.0
    rest = rng.standard_normal(400_000) * math.sqrt(1 - t)
    trend = z / math.sqrt(t)
    for drift, expected in ((None, trend), (0.0, 0.0), (2.8, 2.8)):
        share = float((z * math.sqrt(t) + expected * (1 - t) + rest >= bound).mean())
        assert conditional_power(z, t, final_bound=bound, drift=drift) == pytest.approx(share, abs=4e-3)


def test_conditional_power_at_the_end_is_zero_or_one() -> None:
    assert conditional_power(2.1, 1.0, final_bound=2.0) == 1.0
    assert conditional_power(1.9, 1.4, final_bound=2.0) == 0.0


@pytest.mark.parametrize("fractions", [[0.0, 1.0], [-0.1], [0.5, 0.5], [0.5, 0.4], [math.nan], [math.inf]])
def test_boundaries_wrong_fractions_are_refused(fractions: list[float]) -> None:
    with pytest.raises(ValueError):
        boundaries(fractions, 0.05)
    with pytest.raises(ValueError):
        crossing_probabilities(fractions, [2.0] * len(fractions))


def test_kernels_misuse_is_refused() -> None:
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError):
            boundaries([0.5], alpha)
    with pytest.raises(ValueError):
        boundaries([0.5], 0.5, sides=1)
    with pytest.raises(ValueError):
        boundaries([0.5], 0.05, sides=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        spent(0.5, 0.05, "pocock")  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        spent(-0.5, 0.05, "power2")
    for bounds in ([2.0], [2.0, -1.0], [2.0, math.nan]):
        with pytest.raises(ValueError):
            crossing_probabilities([0.5, 1.0], bounds)
    with pytest.raises(ValueError):
        crossing_probabilities([0.5, 0.50001], [2.0, 2.0])
    with pytest.raises(ValueError):
        crossing_probabilities([0.5], [2.0], drift=math.nan)
    for z, fraction, bound in ((math.nan, 0.5, 2.0), (1.0, 0.0, 2.0), (1.0, 0.5, math.inf)):
        with pytest.raises(ValueError):
            conditional_power(z, fraction, final_bound=bound)
