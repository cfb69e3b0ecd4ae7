import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from triageops.stats.bets_count import CategoryBet, VolumeBet

VOLUME = VolumeBet(margin=0.1)
UPS, DOWNS = len(VOLUME.ratios_up), len(VOLUME.ratios_down)
MIX = CategoryBet(("search", "chat", "other"), (0.5, 0.3, 0.2))


def counts_and_shares(mean: float, dispersion: float) -> tuple[np.ndarray, np.ndarray]:
    """All counts that matter, with their log probabilities; also where a ratio of 3 makes large ones count."""
    k = np.arange(6000)
    if dispersion == 0:
        return k, stats.poisson.logpmf(k, mean)
    return k, stats.nbinom.logpmf(k, 1 / dispersion, 1 / (1 + dispersion * mean))


def volume_expectation(bet: VolumeBet, expected: float, mean: float, dispersion: float) -> np.ndarray:
    """E[exp(l)] of each baseline when the mean and the dispersion are these."""
    k, log_pmf = counts_and_shares(mean, dispersion)
    increments = bet.increments_of(k, np.full(k.shape, expected))
    return np.asarray(np.exp(log_pmf[:, None] + increments).sum(axis=0))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.01, 30),
    st.floats(-1, 1),
    st.floats(0, 0.5),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_volume_bet_any_allowed_mean_and_dispersion_is_an_e_value(
    expected: float, position: float, margin: float, dispersion: float, share_of_it: float
) -> None:
    bet = VolumeBet(margin, dispersion, ratios_up=(1.12, 1.5, 3.0), ratios_down=(0.9, 0.5, 0.01))
    mean = expected * (1 + position * margin)
    values = volume_expectation(bet, expected, mean, share_of_it * dispersion)
    assert (values <= 1 + 1e-8).all()
    if position == 1 and share_of_it == 1:
        assert values[:3] == pytest.approx(np.ones(3))


@pytest.mark.parametrize("dispersion", [0.0, 0.05, 0.4])
@pytest.mark.parametrize(("mean", "gains", "loses"), [(9.0, "up", "down"), (2.0, "down", "up")])
def test_volume_bet_worse_than_allowed_gains_on_its_own_side_only(
    dispersion: float, mean: float, gains: str, loses: str
) -> None:
    bet = VolumeBet(0.1, dispersion, ratios_up=(1.12, 1.5), ratios_down=(0.9, 0.5))
    values = volume_expectation(bet, 5.0, mean, dispersion)
    for direction, value in zip(bet.directions, values.tolist(), strict=True):
        assert (value > 1) == (direction == gains)
        assert (value < 1) == (direction == loses)


@given(st.integers(0, 400), st.floats(0.01, 300), st.sampled_from([0.0, 1e-4, 0.02, 0.5]))
def test_volume_bet_without_margin_is_scipys_likelihood_ratio(
    k: int, expected: float, dispersion: float
) -> None:
    bet = VolumeBet(dispersion=dispersion)

    means = expected * np.array([1.0, *bet.ratios_up, *bet.ratios_down])
    if dispersion == 0:
        null, *others = stats.poisson.logpmf(k, means)
    else:
        null, *others = stats.nbinom.logpmf(k, 1 / dispersion, 1 / (1 + dispersion * means))
    # scipy's own digits: its log probabilities have terms of the size of lgamma(1 / dispersion).
    ours = bet.increments(k, expected=expected)
    assert ours == pytest.approx(np.array(others) - null, rel=1e-6, abs=1e-6)


def test_volume_bet_dispersion_towards_zero_is_poisson() -> None:
    poisson = VOLUME.increments(40, expected=55.0)
    for tiny in (1e-9, 1e-100, 1e-305):
        assert replace(VOLUME, dispersion=tiny).increments(40, expected=55.0) == pytest.approx(
            poisson, rel=1e-6
        )


def test_volume_bet_outage_is_evidence_of_nearly_one_for_every_value_expected() -> None:
    downs = VolumeBet().increments(0, expected=12.0)[UPS:]
    assert downs == pytest.approx([12 * (1 - r) for r in VOLUME.ratios_down])
    assert max(downs) > 11.8
    assert max(VolumeBet(dispersion=0.1).increments(0, expected=12.0)) == pytest.approx(7.78, abs=0.02)


def test_volume_bet_nothing_where_nothing_was_expected_is_zero() -> None:
    assert VOLUME.increments(0, expected=0.0) == (0.0,) * (UPS + DOWNS)


def test_volume_bet_more_events_mean_more_up_and_less_down() -> None:
    for dispersion in (0.0, 0.3):
        many = replace(VOLUME, dispersion=dispersion).increments_of(np.arange(30), np.full(30, 9.0))
        assert (np.diff(many[:, :UPS], axis=0) > 0).all()
        assert (np.diff(many[:, UPS:], axis=0) < 0).all()


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 200), st.floats(0, 200))
def test_volume_bet_poisson_split_bucket_adds_up(k: int, other_k: int, mu: float, other_mu: float) -> None:
    parts = np.add(VOLUME.increments(k, expected=mu), VOLUME.increments(other_k, expected=other_mu))
    assert parts == pytest.approx(VOLUME.increments(k + other_k, expected=mu + other_mu), abs=1e-8)


@pytest.mark.parametrize("dispersion", [0.0, 1e-12, 0.01, 1e6])
def test_volume_bet_billions_stay_finite(dispersion: float) -> None:
    bet = replace(VOLUME, dispersion=dispersion)
    for k, expected in product((0, 1, 10**9, 10**15), (1e-300, 1.0, 1e9, 1e15)):
        assert all(map(math.isfinite, bet.increments(k, expected=expected)))
    assert max(bet.increments(10**9, expected=1e9)) < 1


def test_volume_bet_one_side_has_its_baselines_only() -> None:
    both = VOLUME.increments(3, expected=8.0)
    assert VOLUME.directions == ("up",) * UPS + ("down",) * DOWNS
    assert replace(VOLUME, sides="up").increments(3, expected=8.0) == both[:UPS]
    assert replace(VOLUME, sides="down").increments(3, expected=8.0) == both[UPS:]
    assert replace(VOLUME, sides="down").directions == ("down",) * DOWNS


@pytest.mark.parametrize(
    "changes",
    [
        {"margin": 1.0},
        {"margin": -0.1},
        {"margin": math.nan},
        {"dispersion": -1.0},
        {"dispersion": math.inf},
        {"sides": "sideways"},
        {"ratios_up": (1.0,)},
        {"ratios_down": (1.0,)},
        {"ratios_down": (0.0,)},
        {"sides": "down", "ratios_down": ()},
    ],
)
def test_volume_bet_impossible_parameters_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(VOLUME, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("k", "expected"), [(-1, 1.0), (math.inf, 1.0), (1, -1.0), (1, math.nan), (1, 1e16)])
def test_volume_bet_impossible_buckets_are_refused(k: float, expected: float) -> None:
    with pytest.raises(ValueError):
        VOLUME.increments_of(k, expected)


def outcomes(n: int) -> np.ndarray:
    return np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)])


def category_expectation(bet: CategoryBet, p: tuple[float, ...], n: int, phi: float = 1.0) -> np.ndarray:
    cells = outcomes(n)
    return np.asarray(stats.multinomial.pmf(cells, n, p) @ np.exp(bet.increments_of(cells, phi=phi)))


@pytest.mark.parametrize("n", [1, 5, 20])
def test_category_bet_reference_shares_are_an_expectation_of_exactly_one(n: int) -> None:
    assert category_expectation(MIX, MIX.shares, n) == pytest.approx(np.ones(len(MIX.directions)), rel=1e-9)
    assert (category_expectation(MIX, MIX.shares, n, phi=0.4) <= 1 + 1e-12).all()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.integers(1, 12))
def test_category_bet_any_shares_within_the_bounds_are_an_e_value(where: list[float], n: int) -> None:
    bet = replace(MIX, low=(0.4, 0.25, 0.12), high=(0.58, 0.4, 0.28))
    first, second = 0.42 + 0.16 * where[0], 0.27 + 0.08 * where[1]
    p = (first, second, 1 - first - second)
    if 0.12 <= p[2] <= 0.28:
        assert (category_expectation(bet, p, n) <= 1 + 1e-9).all()


def test_category_bet_more_and_less_name_the_category_that_changed() -> None:
    values = category_expectation(MIX, (0.3, 0.3, 0.4), 15)
    best = MIX.directions[int(np.argmax(values))]
    assert best == "more other"
    by_name = dict(zip(MIX.directions, values, strict=True))
    assert by_name["less search"] > 1 > by_name["more search"]
    assert by_name["mix"] > 1


@given(*[st.integers(0, 300)] * 3)
def test_category_bet_mix_is_scipys_dirichlet_multinomial(a: int, b: int, c: int) -> None:
    counts, n = np.array([a, b, c]), a + b + c
    ours = MIX.increments((a, b, c))[: len(MIX.concentrations)]
    null = stats.multinomial.logpmf(counts, n, MIX.shares)
    for concentration, value in zip(MIX.concentrations, ours, strict=True):
        alpha = concentration * np.array(MIX.shares)
        expected = stats.dirichlet_multinomial.logpmf(counts, alpha, n) - null if n else 0.0
        assert value == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_category_bet_empty_bucket_is_zero_and_arrays_equal_one_by_one() -> None:
    counts = np.random.default_rng(2).multinomial(30, MIX.shares, (2, 3))
    together = MIX.increments_of(counts)
    assert together.shape == (2, 3, len(MIX.directions))
    for at in np.ndindex(2, 3):
        assert together[at] == pytest.approx(MIX.increments(tuple(counts[at].tolist())))
    assert MIX.increments((0, 0, 0)) == pytest.approx((0.0,) * len(MIX.directions), abs=1e-12)


def test_category_bet_a_billion_values_stay_finite() -> None:
    for counts in ((10**9, 0, 0), (5 * 10**8, 3 * 10**8, 2 * 10**8)):
        assert all(map(math.isfinite, MIX.increments(counts)))
    assert max(MIX.increments((5 * 10**8, 3 * 10**8, 2 * 10**8))) < 0


@pytest.mark.parametrize(
    "changes",
    [
        {"shares": (0.5, 0.3, 0.3)},
        {"shares": (0.7, 0.3, 0.0)},
        {"names": ("a", "b")},
        {"names": ("a", "b", "b")},
        {"low": (0.6, 0.3, 0.2)},
        {"high": (0.5, 0.2, 0.2)},
        {"high": (1.1, 0.3, 0.2)},
        {"concentrations": (0.0,)},
        {"odds_ratios": (1.0,)},
        {"concentrations": (), "odds_ratios": ()},
    ],
)
def test_category_bet_impossible_parameters_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(MIX, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [(1, 2), (1, 2, -1), (1, 2, math.nan), (1, 2, math.inf)])
def test_category_bet_impossible_counts_are_refused(counts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        MIX.increments_of(counts)
