import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from triageops.stats import chi_square
from triageops.stats.divergence import Divergence, QuantilePair, ks, psi, quantiles, wasserstein
from triageops.stats.histogram import Bins, Histogram, LogBins, UniformBins

Array = NDArray[np.float64]
UNIT = UniformBins(0, 1)
COUNTS = st.dictionaries(st.integers(0, 201), st.integers(1, 40), min_size=1, max_size=30)


@pytest.mark.parametrize("df", [0.5, 1, 2, 3.7, 9, 40, 1000, 1e5])
@pytest.mark.parametrize("q", [1e-8, 0.001, 0.05, 0.3, 0.5, 0.9, 0.99, 0.99999])
def test_chi_square_equals_scipys(q: float, df: float) -> None:
    x = stats.chi2.ppf(q, df)
    assert chi_square.quantile(q, df) == pytest.approx(x, rel=1e-11)
    accuracy = 1e-12 + 1e-15 * df * math.log(df + 1)
    assert chi_square.cdf(x, df) == pytest.approx(stats.chi2.cdf(x, df), rel=accuracy)
    assert chi_square.sf(x, df) == pytest.approx(stats.chi2.sf(x, df), rel=10 * accuracy)


def test_chi_square_edges_and_misuse() -> None:
    assert (chi_square.cdf(0, 3), chi_square.sf(-1, 3)) == (0, 1)
    assert chi_square.sf(2000, 3) == pytest.approx(stats.chi2.sf(2000, 3), rel=1e-9)
    for q, df in [(0, 3), (1, 3), (0.5, 0), (0.5, math.inf)]:
        with pytest.raises(ValueError):
            chi_square.quantile(q, df)


def middles(histogram: Histogram) -> tuple[list[float], list[int]]:
    return [histogram.scheme.middle(i) for i in histogram.counts], list(histogram.counts.values())


@settings(max_examples=40)
@given(COUNTS, COUNTS)
def test_wasserstein_and_ks_equal_scipys_of_the_bins_middles(a: dict[int, int], b: dict[int, int]) -> None:
    x, y = Histogram(UNIT, a), Histogram(UNIT, b)
    (u, u_weights), (v, v_weights) = middles(x), middles(y)
    f, g = (stats.ecdf(np.repeat(points, w)).cdf for points, w in ((u, u_weights), (v, v_weights)))
    expected_ks = np.abs(f.evaluate([*u, *v]) - g.evaluate([*u, *v])).max()
    distance = ks(x, y)
    assert distance is not None
    assert distance.value == pytest.approx(expected_ks, abs=1e-12)
    found = wasserstein(x, y)
    sd = np.repeat(v, v_weights).std()
    if len(b) == 1:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(stats.wasserstein_distance(u, v, u_weights, v_weights) / sd, rel=1e-9)


def test_psi_equals_its_formula_with_half_a_record_more() -> None:
    found = psi([10, 20, 0], [100, 90, 110])
    p = np.array([10.5, 20.5, 0.5]) / 31.5
    q = np.array([100.5, 90.5, 110.5]) / 301.5
    assert found is not None
    assert found.value == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert found.null_mean == pytest.approx(2 * (1 / 30 + 1 / 300))
    assert found.null_quantile == pytest.approx(stats.chi2.ppf(0.99, 2) * (1 / 30 + 1 / 300))
    # A cell that is empty on both sides says nothing; one empty cell does not rule.
    assert psi([10, 0, 20, 0], [100, 0, 90, 110]) == found
    assert found.value < 2


SAMPLES: list[tuple[Callable[[np.random.Generator, int], Array], Bins]] = [
    (lambda rng, n: rng.beta(8, 2, n), UNIT),
    (lambda rng, n: rng.lognormal(0, 0.8, n), LogBins(0.01)),
]


@pytest.mark.parametrize(("sample", "scheme"), SAMPLES)
def test_divergences_without_change_have_their_null_mean_and_quantile(
    sample: Callable[[np.random.Generator, int], Array], scheme: Bins
) -> None:
    rng = np.random.default_rng(51)
    n, m, runs = 300, 3000, 300
    found: dict[str, list[Divergence]] = {"psi": [], "ks": [], "w1": []}
    edges = np.quantile(sample(rng, 100_000), np.linspace(0.1, 0.9, 9))
    for _ in range(runs):
        x, y = sample(rng, n), sample(rng, m)
        cells = [np.bincount(np.searchsorted(edges, v), minlength=10) for v in (x, y)]
        now, before = Histogram.of(x, scheme), Histogram.of(y, scheme)
        for name, one in (
            ("psi", psi(*cells, alpha=0.05)),
            ("ks", ks(now, before, alpha=0.05)),
            ("w1", wasserstein(now, before, alpha=0.05)),
        ):
            assert one is not None
            found[name].append(one)
    mean = {
        name: np.mean([d.value for d in ds]) / np.mean([d.null_mean for d in ds])
        for name, ds in found.items()
    }
    assert mean["psi"] == pytest.approx(1, abs=0.06)
    assert 0.85 < mean["ks"] < 1.02
    assert mean["w1"] == pytest.approx(1, abs=0.06)
    above = {name: np.mean([d.value > d.null_quantile for d in ds]) for name, ds in found.items()}
    assert 0.015 < above["psi"] < 0.085
    assert 0.003 < above["ks"] < 0.07
    assert 0.02 < above["w1"] < 0.1


def test_psi_overdispersed_counts_have_the_null_mean_of_their_effective_size() -> None:
    rng = np.random.default_rng(52)
    p = np.full(10, 0.1)
    icc, size = 0.02, 50
    values = []
    for _ in range(400):
        # 20 buckets of 50 with shares of their own: Dirichlet with the intraclass correlation given.
        counts = sum(rng.multinomial(size, rng.dirichlet(p * (1 / icc - 1))) for _ in range(20))
        found = psi(counts, p * 1e6, n_current=1000 / (1 + (size - 1) * icc))
        assert found is not None
        values.append((found.value, found.null_mean))
    assert np.mean(values, axis=0)[0] == pytest.approx(np.mean(values, axis=0)[1], rel=0.1)


def test_wasserstein_of_a_shift_is_the_shift_in_standard_deviations() -> None:
    values = np.random.default_rng(53).normal(0.4, 0.05, 20_000)
    found = wasserstein(Histogram.of(values + 0.1, UNIT), Histogram.of(values, UNIT))
    assert found is not None
    assert found.value == pytest.approx(2, abs=0.02)
    assert found.null_quantile < 0.05


def test_wasserstein_many_bins_are_grouped_and_keep_the_null_mean() -> None:
    values = np.random.default_rng(54).lognormal(0, 2, 30_000)
    fine, coarse = (Histogram.of(values, LogBins(a)) for a in (0.001, 0.02))
    assert len(fine.counts) > 1000
    a, b = wasserstein(fine, fine), wasserstein(coarse, coarse)
    assert a is not None
    assert b is not None
    assert a.null_mean == pytest.approx(b.null_mean, rel=0.02)
    assert a.null_quantile == pytest.approx(b.null_quantile, rel=0.05)


@settings(max_examples=40)
@given(COUNTS)
def test_divergences_of_the_same_are_zero(counts: dict[int, int]) -> None:
    one = Histogram(UNIT, counts)
    distance = ks(one, one)
    assert distance is not None
    assert distance.value == 0
    stability = psi(list(counts.values()), list(counts.values()))
    assert stability is not None
    assert stability.value == 0
    w = wasserstein(one, one)
    assert (w is None) if len(counts) == 1 else (w is not None and w.value == 0)


def test_quantiles_are_those_of_both_histograms() -> None:
    now, before = Histogram(UNIT, {0: 5, 201: 5}), Histogram(UNIT, {201: 3})
    assert quantiles(now, before, [0.5, 0.9]) == (QuantilePair(0.5, 0.0, 1.0), QuantilePair(0.9, 1.0, 1.0))


def test_nothing_to_compare_has_no_answer() -> None:
    none, some = Histogram(UNIT, {}), Histogram(UNIT, {3: 4})
    assert psi([0, 0], [1, 2]) is None
    assert psi([3, 0], [2, 0]) == Divergence(0.0, 0.0, 0.0)
    assert ks(none, some) is ks(some, none) is wasserstein(none, some) is None
    assert quantiles(none, some, [0.5]) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda h: ks(h, Histogram(LogBins(), {1: 1})),
        lambda h: ks(h, h, alpha=0),
        lambda h: wasserstein(h, h, n_current=0),
        lambda _: psi([1, 2], [1, 2, 3]),
        lambda _: psi([1, -2], [1, 2]),
        lambda _: psi([1, 2], [1, 2], alpha=1),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call(Histogram(UNIT, {3: 4, 9: 1}))  # type: ignore[operator]
