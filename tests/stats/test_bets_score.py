import math
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from triageops.stats.bets_cells import SCORES, Cells
from triageops.stats.bets_score import ScoreBet, score_tolerances
from triageops.stats.histogram import Histogram, UniformBins
from triageops.stats.margins import moved_shares

UNIT = UniformBins(0.0, 1.0)
GRID = (np.arange(20_000) + 0.5) / 20_000
EVEN = Cells.of(Histogram.of(GRID, UNIT))
WITH_ATOMS = Cells.of(
    Histogram.of([0.0] * 3000 + [1.0] * 8000 + (0.2 + 0.6 * stats.beta(8, 2).ppf(GRID[::2])).tolist(), UNIT)
)
FEW = Cells(UNIT, (20, 90, 150), (0.25, 0.45, 0.2, 0.1))
BET = ScoreBet(EVEN)
K = len(BET.directions)
CELLS = st.sampled_from([EVEN, WITH_ATOMS, FEW, Cells.of(Histogram.of([1.0, 0.5], UNIT))])


@st.composite
def distributions(draw: st.DrawFn, cells: Cells) -> np.ndarray:
    """Any distribution over the cells, also one that the reference has never seen."""
    size = len(cells.shares)
    raw = np.array(draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))) ** 4
    assume(raw.sum() > 0)
    return np.asarray(raw / raw.sum())


@given(st.data(), CELLS, st.floats(0, 0.5))
def test_score_bet_any_distribution_exactly_at_the_null_is_an_expectation_of_one(
    data: st.DataObject, cells: Cells, margin: float
) -> None:
    """Mean scores are m + eps: no distribution of values with these means may gain, and none gives away."""
    p = data.draw(distributions(cells))
    mean = cells.scores() @ p
    for unit in ("value", "bucket"):
        bet = ScoreBet(cells, margins=(margin,) * 6, unit=unit)
        one_value_each = np.eye(len(cells.shares))
        values = p @ np.exp(bet.increments_of(one_value_each, offsets=np.maximum(mean - margin, -1)))
        assert (values <= 1 + 1e-9).all()
        exact = np.array([(mean - margin >= -0.98)[SCORES.index(name)] for name in bet.directions])
        assert values[exact] == pytest.approx(np.ones(int(exact.sum())))


@given(st.data(), st.floats(0, 0.3), st.integers(1, 5), st.floats(0.05, 1))
def test_score_bet_several_values_within_the_margins_are_an_e_value(
    data: st.DataObject, margin: float, n: int, phi: float
) -> None:
    """The sum over all counts of n values in four cells."""
    p = data.draw(distributions(FEW))
    outcomes = np.array(
        [np.bincount(cells, minlength=4) for cells in combinations_with_replacement(range(4), n)]
    )
    bet = ScoreBet(FEW, margins=(margin,) * 6)
    within = FEW.scores() @ p <= margin
    values = stats.multinomial.pmf(outcomes, n, p) @ np.exp(bet.increments_of(outcomes, phi=phi))
    allowed = np.array([within[SCORES.index(name)] for name in bet.directions])
    assert (values[allowed] <= 1 + 1e-9).all()


def test_score_bet_each_change_gains_most_in_its_own_direction() -> None:
    for change, expected in (
        ({"shift": 0.5}, "up"),
        ({"shift": -0.5}, "down"),
        ({"ratio": 1.4}, "wider"),
        ({"ratio": 0.6}, "narrower"),
    ):
        growth = moved_shares(EVEN.shares, **change) @ BET.increments_of(np.eye(20))
        assert BET.directions[int(np.argmax(growth))] == expected
    for cell, expected in ((19, "top tail"), (0, "bottom tail")):
        p = np.full(20, 0.05) + 0.05 * ((np.arange(20) == cell) - 0.05) / 0.95
        growth = p @ BET.increments_of(np.eye(20))
        assert BET.directions[int(np.argmax(growth))] == expected


def test_score_bet_equal_values_break_the_unit_of_a_value_but_not_of_a_bucket() -> None:
    """Twenty copies of one value a bucket: dependence as strong as can be."""
    copies = 20 * np.eye(20)
    assert (np.full(20, 0.05) @ np.exp(BET.increments_of(copies)) > 1.2).all()
    strict = replace(BET, unit="bucket", lambdas=())
    values = np.full(20, 0.05) @ np.exp(strict.increments_of(copies))
    assert values == pytest.approx(np.ones(len(strict.directions)))
    by_phi = np.full(20, 0.05) @ np.exp(BET.increments_of(copies, phi=1 / 20))
    assert by_phi == pytest.approx(np.ones(K))


@given(st.lists(st.integers(0, 50), min_size=20, max_size=20))
def test_score_bet_bucket_as_a_unit_is_at_least_fans_increment(counts: list[int]) -> None:
    assume(any(counts))
    strict = ScoreBet(EVEN, margins=(0.05,) * 6, unit="bucket")
    x = ((EVEN.scores() @ counts / sum(counts) - 0.05) / 1.05)[
        [SCORES.index(name) for name in strict.directions]
    ]
    bets = np.concatenate(strict.lambdas)
    fan = bets * x - (-np.log1p(-bets) - bets) * x * x
    assert (strict.increments_of(counts) >= fan - 1e-12).all()


@given(st.lists(st.integers(0, 10**6), min_size=40, max_size=40))
def test_score_bet_split_bucket_adds_up(counts: list[int]) -> None:
    one, other = np.array(counts[:20]), np.array(counts[20:])
    offsets = np.linspace(-0.2, 0.3, 6)
    parts = sum(BET.increments_of(part, offsets=offsets) for part in (one, other))
    assert parts == pytest.approx(BET.increments_of(one + other, offsets=offsets), rel=1e-9, abs=1e-6)


@given(st.lists(st.integers(0, 9), min_size=20, max_size=20), st.integers(0, 18))
def test_score_bet_a_higher_value_raises_up_and_lowers_down(counts: list[int], cell: int) -> None:
    lower, higher = np.array(counts), np.array(counts)
    lower[cell] += 1
    higher[cell + 1] += 1
    for unit in ("value", "bucket"):
        bet = ScoreBet(EVEN, unit=unit)
        change = bet.increments_of(higher) - bet.increments_of(lower)
        names = np.array(bet.directions)
        assert (change[names == "up"] > 0).all()
        assert (change[names == "down"] < 0).all()


def test_score_bet_larger_margins_and_offsets_never_raise_the_evidence() -> None:
    counts = np.random.default_rng(3).multinomial(30, EVEN.shares, 50)
    base = BET.increments_of(counts)
    assert (replace(BET, margins=(0.1,) * 6).increments_of(counts) <= base + 1e-12).all()
    assert (replace(BET, margins=(0.1,) * 6).increments_of(counts).sum(axis=0) < base.sum(axis=0)).all()
    same = replace(BET, margins=(0.1,) * 6).increments_of(counts)
    assert BET.increments_of(counts, offsets=(0.1,) * 6) == pytest.approx(same)


def test_score_bet_empty_bucket_is_zero() -> None:
    for unit in ("value", "bucket"):
        bet = ScoreBet(EVEN, margins=(0.1,) * 6, unit=unit)
        nothing = bet.increments(Histogram(UNIT, {}), offsets=(0.2,) * 6)
        assert nothing == (0.0,) * len(bet.directions)
        assert bet.mean_scores(np.zeros((2, 20))).tolist() == [[0.0] * 6] * 2


@pytest.mark.parametrize("unit", ["value", "bucket"])
def test_score_bet_billions_in_one_cell_stay_finite(unit: str) -> None:
    for cells in (EVEN, WITH_ATOMS):
        bet = ScoreBet(cells, unit=unit)  # type: ignore[arg-type]
        for offsets in (None, (-1.0,) * 6):
            assert np.isfinite(bet.increments_of(10**9 * np.eye(len(cells.shares)), offsets=offsets)).all()


@pytest.mark.parametrize("unit", ["value", "bucket"])
def test_score_bet_arrays_equal_one_by_one(unit: str) -> None:
    rng = np.random.default_rng(4)
    bet = ScoreBet(EVEN, margins=(0.01, 0.02, 0.03, 0.04, 0.05, 0.06), unit=unit)  # type: ignore[arg-type]
    values, offsets, phi = rng.random((2, 3, 30)), rng.uniform(-0.5, 0.5, (2, 3, 6)), rng.random((2, 3))
    histograms = [[Histogram.of(bucket, UNIT) for bucket in row] for row in values]
    counts = np.array([[EVEN.counts(one) for one in row] for row in histograms])
    together = bet.increments_of(counts, offsets=offsets, phi=phi)
    plain = bet.increments_of(counts)
    means = bet.mean_scores(counts)
    for i, j in np.ndindex(2, 3):
        one = bet.increments(histograms[i][j], offsets=tuple(offsets[i, j].tolist()), phi=float(phi[i, j]))
        assert together[i, j] == pytest.approx(one, abs=1e-12)
        assert plain[i, j] == pytest.approx(bet.increments(histograms[i][j]), abs=1e-12)
        assert means[i, j] == pytest.approx(EVEN.scores() @ counts[i, j] / 30)


def test_score_bet_scores_without_bets_are_left_out() -> None:
    only = ScoreBet(EVEN, lambdas=((), (0.2, 0.5), (), (), (), (0.1,)))
    assert only.directions == ("down", "down", "bottom tail")
    assert len(only.increments(Histogram.of([0.5], UNIT))) == 3


@given(st.floats(-1, 1), st.floats(-1, 1), CELLS)
def test_score_tolerances_whatever_is_nobodys_concern_stays_within_them(
    shift: float, stretch: float, cells: Cells
) -> None:
    eps = score_tolerances(cells, n_reference=math.inf, shift=0.2, ratio=1.15)
    moved = moved_shares(cells.shares, shift=0.2 * shift, ratio=1.15**stretch)
    assert (cells.scores() @ moved <= np.array(eps) + 0.002).all()


def test_score_tolerances_of_a_tail_are_clopper_and_pearsons_bound() -> None:
    for n in (500, 1000, 20_000):
        top = score_tolerances(EVEN, n_reference=n)[SCORES.index("top tail")]
        exact = stats.beta.ppf(0.995, 0.05 * n + 1, 0.95 * n)
        assert (1 + top) * 0.05 == pytest.approx(exact, rel=0.01)


def test_score_tolerances_of_values_never_seen_are_those_of_no_event() -> None:
    constant = Cells.of(Histogram.of([0.5] * 400, UNIT))
    up = score_tolerances(constant, n_reference=400)[0]
    assert up == pytest.approx(-math.log(0.005) / 400, rel=0.04)
    assert score_tolerances(constant, n_reference=math.inf) == (0.0,) * 6


def test_score_tolerances_known_reference_without_concern_are_zero_and_more_data_lower_them() -> None:
    assert score_tolerances(EVEN, n_reference=math.inf) == pytest.approx((0.0,) * 6, abs=1e-9)
    few, many = (np.array(score_tolerances(EVEN, n_reference=n)) for n in (1000, 4000))
    assert (few > 1.9 * many).all()
    by_score = score_tolerances(EVEN, n_reference=np.array([1000, 4000] * 3))
    assert by_score == pytest.approx(np.where([True, False] * 3, few, many))


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": "day"},
        {"margins": (0.0,) * 5},
        {"margins": (-0.1,) * 6},
        {"margins": (math.nan,) * 6},
        {"lambdas": ((0.5,),)},
        {"lambdas": ((),) * 6},
        {"lambdas": ((1.0,),) * 6},
        {"lambdas": ((0.0,),) * 6},
    ],
)
def test_score_bet_impossible_parameters_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(BET, **changes)  # type: ignore[arg-type]


def test_score_bet_impossible_buckets_are_refused() -> None:
    for counts in ([1] * 19, [-1] + [1] * 19, [math.nan] + [1] * 19, [math.inf] + [1] * 19):
        with pytest.raises(ValueError):
            BET.increments_of(counts)
    for offsets in ((0.0,) * 5, (-1.1,) * 6, (math.nan,) * 6):
        with pytest.raises(ValueError):
            BET.increments_of([1] * 20, offsets=offsets)
    with pytest.raises(ValueError):
        BET.increments_of([1] * 20, phi=0.0)
    for n, z in ((0, 2.0), (math.nan, 2.0), ([100, 100], 2.0), (100, -1.0)):
        with pytest.raises(ValueError):
            score_tolerances(EVEN, n_reference=n, z=z)
