import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from triageops.stats.bets_mean import MeanBet

BET = MeanBet(sd=2.0, margin=0.1)
K = len(BET.lambdas)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(0, 0.5), st.floats(-1, 1), st.floats(0.02, 4))
def test_mean_bet_normal_mean_within_the_margin_is_an_e_value(
    sd: float, margin: float, position: float, relative_variance: float
) -> None:
    """By Hermite quadrature around the mean under which exp(l) times the density is largest."""
    bet, variance = MeanBet(sd, margin), relative_variance * sd * sd
    true, spread = 7.0 + position * margin * sd, math.sqrt(variance)
    nodes, shares = np.polynomial.hermite_e.hermegauss(120)
    signs = np.repeat([1, -1], K)
    tilt = signs * np.tile(bet.lambdas, 2) * sd
    x = true + tilt[:, None] + spread * nodes
    weight = stats.norm.logpdf(x, true, spread) - stats.norm.logpdf(x, true + tilt[:, None], spread)
    increments = bet.increments_of(x, np.full(x.shape, 7.0), np.full(x.shape, variance))
    own = increments[np.arange(2 * K), :, np.arange(2 * K)]
    values = np.exp(weight + own) @ shares / math.sqrt(2 * math.pi)
    assert (values <= 1 + 1e-9).all()
    if abs(position) == 1:
        assert values[signs == position] == pytest.approx(np.ones(K))


def test_mean_bet_uniform_means_with_a_smaller_variance_proxy_are_an_e_value() -> None:
    """Not normal, but sub-Gaussian: uniform on [-h, h] has the variance proxy h^2 / 3 (Hoeffding's is h^2)."""
    bet = MeanBet(1.0)
    for half in (0.3, 1.0, 3.0):
        x = np.linspace(-half, half, 4001)
        values = np.exp(bet.increments_of(x, np.zeros_like(x), np.full(x.shape, half * half / 3)))
        assert (integrate.simpson(values, x=x, axis=0) / (2 * half) <= 1 + 1e-9).all()


@given(st.floats(-50, 50), st.floats(0.001, 50), st.floats(-50, 50))
def test_mean_bet_without_margin_is_scipys_likelihood_ratio(
    mean: float, variance: float, expected: float
) -> None:
    bet = MeanBet(2.0)
    ours = bet.increments(mean, expected=expected, variance=variance)
    shifts = 2.0 * np.array([0.0, *bet.lambdas, *(-x for x in bet.lambdas)])
    null, *others = stats.norm.logpdf(mean, expected + shifts, math.sqrt(variance))
    assert ours == pytest.approx(np.array(others) - null, rel=1e-6, abs=1e-6 * (1 + abs(null)))


@given(st.integers(0, 50), st.integers(0, 50), st.floats(-3, 3), st.floats(-3, 3))
def test_mean_bet_without_variance_between_buckets_a_split_bucket_adds_up(
    n: int, other_n: int, mean: float, other_mean: float
) -> None:
    def of(count: int, value: float) -> np.ndarray:
        return np.array(BET.increments(value, expected=0.5, variance=4.0 / count if count else math.inf))

    total = n + other_n
    whole = (n * mean + other_n * other_mean) / total if total else 0.0
    assert of(n, mean) + of(other_n, other_mean) == pytest.approx(of(total, whole), abs=1e-9)


def test_mean_bet_empty_bucket_is_zero() -> None:
    assert BET.increments(0.0, expected=40.0, variance=math.inf) == (0.0,) * (2 * K)


def test_mean_bet_mirrored_means_swap_the_directions() -> None:
    ours = BET.increments(1.3, expected=1.0, variance=0.2)
    mirror = BET.increments(0.7, expected=1.0, variance=0.2)
    assert ours == pytest.approx(mirror[K:] + mirror[:K], abs=1e-12)
    assert BET.directions == ("up",) * K + ("down",) * K
    assert replace(BET, sides="down").increments(1.3, expected=1.0, variance=0.2) == ours[K:]


def test_mean_bet_higher_means_and_smaller_margins_raise_the_evidence_upwards() -> None:
    means = np.linspace(-3, 3, 13)
    many = BET.increments_of(means, np.zeros(13), np.full(13, 0.2))
    assert (np.diff(many[:, :K], axis=0) > 0).all()
    assert (np.diff(many[:, K:], axis=0) < 0).all()
    assert (replace(BET, margin=0.0).increments_of(means, np.zeros(13), np.full(13, 0.2)) > many).all()


def test_mean_bet_more_variance_between_buckets_brings_all_evidence_nearer_to_zero() -> None:
    wide, narrow = (
        np.array(BET.increments(1.0, expected=0.0, variance=4 / 10**9 + tau**2)) for tau in (0.2, 0.0)
    )
    assert (np.abs(wide) < np.abs(narrow) / 1e5).all()
    assert np.isfinite(narrow).all()


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_mean_bet_the_unit_of_the_values_does_not_matter(scale: float) -> None:
    ours = BET.increments(1.4, expected=1.0, variance=1e-6)
    scaled = replace(BET, sd=2.0 * scale).increments(
        1.4 * scale, expected=scale, variance=1e-6 * scale * scale
    )
    assert scaled == pytest.approx(ours, rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"sd": 0.0},
        {"sd": math.nan},
        {"sd": math.inf},
        {"margin": -0.1},
        {"margin": math.nan},
        {"lambdas": ()},
        {"lambdas": (0.0,)},
        {"sides": "sideways"},
    ],
)
def test_mean_bet_impossible_parameters_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(BET, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mean", "expected", "variance"),
    [(math.nan, 0, 1), (0, math.inf, 1), (0, 0, 0), (0, 0, -1), (0, 0, math.nan)],
)
def test_mean_bet_impossible_buckets_are_refused(mean: float, expected: float, variance: float) -> None:
    with pytest.raises(ValueError):
        BET.increments(mean, expected=expected, variance=variance)
