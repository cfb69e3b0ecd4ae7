import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from triageops.stats.bets_cells import SCORES, Cells
from triageops.stats.histogram import Histogram, LogBins, UniformBins

UNIT, LOG = UniformBins(0.0, 1.0), LogBins(0.01)
GRID = (np.arange(20_000) + 0.5) / 20_000
HISTOGRAMS = st.one_of(
    st.dictionaries(st.integers(0, 201), st.integers(1, 500), min_size=1, max_size=202).map(
        lambda counts: Histogram(UNIT, counts)
    ),
    st.dictionaries(st.integers(-3000, 3000), st.integers(1, 500), min_size=1, max_size=200).map(
        lambda counts: Histogram(LOG, counts)
    ),
)
COUNTS = st.integers(2, 64)


@given(HISTOGRAMS, COUNTS)
def test_cells_any_reference_has_its_own_shares(reference: Histogram, count: int) -> None:
    cells = Cells.of(reference, count)
    assert cells.counts(reference).sum() == reference.n
    assert cells.counts(reference) / reference.n == pytest.approx(cells.shares, abs=1e-15)
    assert len(cells.shares) <= 2 * count + 1


@given(HISTOGRAMS, COUNTS)
def test_cells_atoms_are_alone_and_the_rest_is_about_equal(reference: Histogram, count: int) -> None:
    cells = Cells.of(reference, count)
    cell_of = np.searchsorted(cells.last_bins, np.array(sorted(reference.counts)))
    bins_in = np.bincount(cell_of, minlength=len(cells.shares))
    fair = reference.n / count
    for index, cell in zip(sorted(reference.counts), cell_of.tolist(), strict=True):
        if reference.counts[index] >= fair:
            assert bins_in[cell] == 1
            for neighbour in (index - 1, index + 1):
                assert np.searchsorted(cells.last_bins, neighbour) != cell or not 0 <= neighbour <= 201
        else:
            assert cells.shares[cell] * count < 2.5


@given(HISTOGRAMS, COUNTS)
def test_scores_any_reference_have_mean_zero_and_minimum_minus_one(reference: Histogram, count: int) -> None:
    cells = Cells.of(reference, count)
    scores, shares = cells.scores(), np.array(cells.shares)
    assert scores.shape == (len(SCORES), shares.size)
    assert scores @ shares == pytest.approx(np.zeros(len(SCORES)), abs=1e-9)
    assert (scores >= -1).all()
    for score in scores:
        seen = score[shares > 0]
        if np.allclose(seen, 0):  # the reference's own cells are alike: only cells never seen can differ
            assert np.abs(score).max() == pytest.approx(1) or not score.any()
        else:
            assert seen.min() == pytest.approx(-1)
    assert (np.diff(scores[0]) >= -1e-12).all()
    assert (np.diff(scores[1]) <= 1e-12).all()


@given(HISTOGRAMS, HISTOGRAMS)
def test_counts_of_added_histograms_are_the_sum(reference: Histogram, other: Histogram) -> None:
    cells = Cells.of(reference)
    if other.scheme == reference.scheme:
        together = cells.counts(reference + other)
        assert (together == cells.counts(reference) + cells.counts(other)).all()
    else:
        with pytest.raises(ValueError, match="do not fit"):
            cells.counts(other)


def test_cells_even_reference_are_twenty_of_equal_share_with_the_known_scores() -> None:
    cells = Cells.of(Histogram.of(GRID, UNIT))
    assert cells.shares == pytest.approx([0.05] * 20, abs=1e-9)
    middle = (np.arange(20) + 0.5) / 20
    normal = stats.norm.ppf(middle)
    squares = (2 * middle - 1) ** 2
    up, down, wider, narrower, top, bottom = cells.scores()
    assert up == pytest.approx(normal / normal[-1])
    assert down == pytest.approx(-normal / normal[-1])
    assert wider == pytest.approx((squares - squares.mean()) / (squares.mean() - squares.min()))
    assert narrower == pytest.approx((squares.mean() - squares) / (squares.max() - squares.mean()))
    assert top == pytest.approx([-1.0] * 19 + [19.0])
    assert bottom == pytest.approx([19.0] + [-1.0] * 19)


def test_cells_scale_and_scheme_do_not_matter_to_the_shares() -> None:
    latency = Cells.of(Histogram.of(np.exp(0.8 * stats.norm.ppf(GRID)), LOG))
    assert len(latency.shares) == 20
    assert all(0.04 < share < 0.06 for share in latency.shares)
    assert Cells.of(Histogram.of(GRID, UNIT), count=32).shares == pytest.approx([1 / 32] * 32, abs=0.006)


def test_counts_values_beyond_the_reference_are_in_the_outermost_cells() -> None:
    cells = Cells.of(Histogram.of(100 + GRID, LOG))
    far = cells.counts(Histogram.of([-1e300, -5.0, 0.0, 1e-9, 1e9, 1e300], LOG))
    assert far.tolist() == [4] + [0] * (len(cells.shares) - 2) + [2]


def test_counts_values_between_atoms_are_in_a_cell_of_their_own_with_a_rank_between() -> None:
    stars = UniformBins(1.0, 5.0)
    cells = Cells.of(Histogram.of([1.0] * 30 + [3.0] * 30 + [5.0] * 40, stars))
    assert cells.shares == pytest.approx((0.3, 0, 0.3, 0, 0.4))
    assert cells.counts(Histogram.of([1.0, 1.5, 2.9, 3.0, 4.5, 5.0], stars)).tolist() == [1, 2, 1, 1, 1]
    up = cells.scores()[0]
    assert (np.diff(up) > 0).all()


def test_scores_constant_reference_sees_values_on_either_side_of_it() -> None:
    inside = Cells.of(Histogram.of([0.5] * 50, LOG))
    assert inside.shares == (0, 1, 0)
    assert inside.scores()[:2].tolist() == [[-1, 0, 1], [1, 0, -1]]
    at_the_end = Cells.of(Histogram.of([1.0] * 50, UNIT))
    assert at_the_end.shares == (0, 1)
    assert at_the_end.scores()[1:3].tolist() == [[1, 0], [1, 0]]


def test_scores_never_seen_cells_cost_no_strength() -> None:
    """Zero waiting times are an atom: cells below it, which never have a value, leave its score at -1."""
    waits = Cells.of(Histogram.of([0.0] * 300 + np.exp(GRID[:700] * 100).tolist(), LOG))
    assert waits.shares[0] == 0
    assert waits.shares[1] == pytest.approx(0.3)
    assert waits.scores()[0][:2].tolist() == [-1, -1]


def test_cells_impossible_parameters_are_refused() -> None:
    some = Histogram.of(GRID, UNIT)
    for reference, count in ((Histogram(UNIT, {}), 20), (some, 1), (some, 65)):
        with pytest.raises(ValueError):
            Cells.of(reference, count)
    for last_bins, shares in (
        ((3,), (1.0,)),
        ((3, 3), (0.2, 0.3, 0.5)),
        ((3,), (0.5, 0.6)),
        ((3,), (-0.5, 1.5)),
        ((3,), (math.nan, 1.0)),
    ):
        with pytest.raises(ValueError):
            Cells(UNIT, last_bins, shares)
