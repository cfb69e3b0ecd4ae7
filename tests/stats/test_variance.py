import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triageops.stats.buckets import Buckets
from triageops.stats.moments import Moments
from triageops.stats.variance import (
    Components,
    components,
    count_deflator,
    count_dispersion,
    deflator,
    effective_count,
    limited,
    residuals,
)

Array = NDArray[np.float64]
SIZES = np.array([1, 5, 50, 1000])
WHOLE = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 9), st.lists(st.integers(0, 50), min_size=3, max_size=3)),
    min_size=1,
    max_size=25,
)


def simulated(
    rng: np.random.Generator, n: NDArray[np.int64], tau: float, centres: Array | None = None
) -> Buckets:
    """Normal records of variance 1 in buckets of n, effects of sd tau, centres by bucket."""
    means = tau * rng.normal(size=n.size) + rng.normal(size=n.size) / np.sqrt(n)
    means = means if centres is None else means + centres
    squares = np.where(n > 1, rng.chisquare(np.maximum(n - 1, 1)), 0.0)
    return Buckets.of(np.arange(n.size) * 300, n, means, squares)


def test_buckets_of_rows_sorts_merges_and_leaves_out_the_empty() -> None:
    values = [[1.0, 2.0], [4.0], [8.0, 9.0, 11.0]]
    late = Moments.of([3.0, 3.0])
    parts = [Moments.of(v) for v in values] + [late, Moments(0, 0.0, 0.0)]
    rows = [(600, parts[2]), (0, parts[0]), (300, parts[1]), (600, late), (900, parts[4])]
    buckets = Buckets.of(
        [t for t, _ in rows], [m.n for _, m in rows], [m.mean for _, m in rows], [m.m2 for _, m in rows]
    )
    assert buckets.start.tolist() == [0, 300, 600]
    assert buckets.n.tolist() == [2, 1, 5]
    together = Moments.of([*values[2], 3.0, 3.0])
    assert buckets.mean[2] == pytest.approx(together.mean, rel=1e-15)
    assert buckets.m2[2] == pytest.approx(together.m2, rel=1e-14)
    assert buckets.record_count == 8


@given(WHOLE, st.randoms(use_true_random=False))
def test_buckets_of_counts_any_order_and_partition_are_identical_to_the_last_bit(
    rows: list[tuple[int, int, list[int]]], random: object
) -> None:
    starts = [start for start, _, _ in rows]
    cells = [[*counts, extra] for _, extra, counts in rows]
    scores = np.array([[-1.0, -0.3, 0.1, 0.7], [0.3, 0.1, 0.1, 1.7]])
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    # Every row is split in two as well.
    half = [[count // 2 for count in row] for row in cells]
    rest = [[c - h for c, h in zip(a, b, strict=True)] for a, b in zip(cells, half, strict=True)]
    split_starts = [starts[i] for i in order] * 2
    split_cells = [half[i] for i in order] + [rest[i] for i in order]
    for one, other in zip(
        Buckets.of_scores(starts, cells, scores),
        Buckets.of_scores(split_starts, split_cells, scores),
        strict=True,
    ):
        assert one.mean.tobytes() == other.mean.tobytes()
        assert one.m2.tobytes() == other.m2.tobytes()
        assert components(one) == components(other)
    rates = Buckets.of_rates(starts, [sum(row) for row in cells], [row[0] for row in cells])
    split = Buckets.of_rates(split_starts, [sum(row) for row in split_cells], [row[0] for row in split_cells])
    assert rates.mean.tobytes() == split.mean.tobytes()
    assert components(rates) == components(split)


@settings(max_examples=20)
@given(st.permutations(range(12)))
def test_components_any_order_of_rows_is_identical_to_the_last_bit(order: list[int]) -> None:
    rng = np.random.default_rng(3)
    n, mean, m2 = rng.integers(1, 9, 12), rng.normal(size=12), rng.random(12)
    start = np.arange(12) // 2 * 300  # two rows for each bucket
    given_rows = Buckets.of(start, n, mean, m2)
    shuffled = Buckets.of(start[order], n[order], mean[order], m2[order])
    assert given_rows.mean.tobytes() == shuffled.mean.tobytes()
    assert components(given_rows) == components(shuffled)
    assert components(given_rows, limit=2.5) == components(shuffled, limit=2.5)


def exact_between(buckets: Buckets, slots: list[int]) -> tuple[Fraction, Fraction]:
    """(sigma^2, tau^2 before it is cut at 0), from the formula in exact arithmetic."""
    n = [Fraction(x) for x in buckets.n.tolist()]
    x = [Fraction(v) for v in buckets.mean.tolist()]
    within = sum((Fraction(v) for v in buckets.m2.tolist()), Fraction()) / (sum(n, Fraction()) - len(n))
    q, spread = Fraction(), Fraction()
    for slot in set(slots):
        members = [i for i, s in enumerate(slots) if s == slot]
        size = sum((n[i] for i in members), Fraction())
        centre = sum((n[i] * x[i] for i in members), Fraction()) / size
        q += sum((n[i] * (x[i] - centre) ** 2 for i in members), Fraction())
        spread += size - sum((n[i] ** 2 for i in members), Fraction()) / size
    return within, (q - (len(n) - len(set(slots))) * within) / spread


@pytest.mark.parametrize("slots", [[0] * 9, [0, 1, 2] * 3, [5, 5, 5, 5, 5, 5, 5, 5, 9]])
def test_components_with_slots_equal_the_formula_in_exact_arithmetic(slots: list[int]) -> None:
    rng = np.random.default_rng(4)
    buckets = Buckets.of(np.arange(9), rng.integers(2, 40, 9), 1e6 + rng.normal(size=9), 9 * rng.random(9))
    found = components(buckets, slots)
    within, between = exact_between(buckets, slots)
    assert found is not None
    assert found.within == pytest.approx(float(within), rel=1e-13)
    assert found.between == pytest.approx(max(0.0, float(between)), rel=1e-9, abs=1e-12)
    assert found.degrees_of_freedom == 9 - len(set(slots))


def test_components_one_way_table_of_searle_is_the_analysis_of_variance() -> None:
    # Balanced: tau^2 = (MSA - MSE) / n, with numpy's sums as the other computation.
    values = np.random.default_rng(5).normal(size=(7, 6)) + np.arange(7)[:, None]
    parts = [Moments.of(row) for row in values]
    buckets = Buckets.of(range(7), [6] * 7, [m.mean for m in parts], [m.m2 for m in parts])
    error = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum() / 35
    among = 6 * values.mean(axis=1).var(ddof=1)
    found = components(buckets)
    assert found is not None
    assert found.within == pytest.approx(error)
    assert found.between == pytest.approx((among - error) / 6)
    assert found.icc == pytest.approx((among - error) / (among + 5 * error))  # Fleiss's formula


@pytest.mark.parametrize("tau", [0.05, 0.2])
@pytest.mark.parametrize("limit", [None, 2.5])
def test_components_simulated_season_and_mixed_sizes_are_right_on_average(
    tau: float, limit: float | None
) -> None:
    rng = np.random.default_rng(6)
    slots = np.arange(480) % 24
    found = []
    for _ in range(30):
        buckets = simulated(rng, rng.choice(SIZES, 480), tau, np.linspace(-0.5, 0.5, 24)[slots])
        learned = components(buckets, slots, limit=limit)
        assert learned is not None
        found.append(learned.between)
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - tau**2) <= 4 * error + 0.05 * tau**2
    assert np.mean(found) == pytest.approx(tau**2, rel=0.25)


def test_components_limit_with_an_incident_bounds_what_it_does() -> None:
    rng = np.random.default_rng(7)
    plain = simulated(rng, np.full(1000, 50), 0.2)
    moved = plain.mean.copy()
    moved[300:350] += 3  # 5 % of the buckets, 12 sd of a bucket's mean
    dirty = Buckets(plain.start, plain.n, moved, plain.m2)
    raw, cut = components(dirty), components(dirty, limit=2.5)
    assert raw is not None
    assert cut is not None
    assert raw.between > 8 * 0.04
    assert 0.04 < cut.between < 0.08
    drawn = limited(dirty, cut, limit=2.5)
    assert dirty.mean.mean() > 0.13
    assert abs(drawn.mean.mean()) < 0.06
    assert np.abs(residuals(dirty, cut, limit=2.5)).max() == 2.5


def test_components_constant_values_have_none_and_deflate_nothing() -> None:
    n = np.array([3, 1, 1000, 7])
    buckets = Buckets.of(range(4), n, [0.1, 0.1 + 1e-17, 0.1 - 2e-17, math.nextafter(0.1, 1)], np.zeros(4))
    for limit in (None, 2.5):
        found = components(buckets, limit=limit)
        assert found == Components(0.0, 0.0, 3)
    assert found is not None
    assert found.icc == 0
    assert deflator(n, found.icc).tolist() == [1, 1, 1, 1]
    assert effective_count(buckets, found) == 1011
    assert residuals(buckets, found).tolist() == [0, 0, 0, 0]
    assert limited(buckets, found, limit=2.5) is buckets


@pytest.mark.parametrize("limit", [None, 2.5])
def test_components_buckets_that_are_constant_in_themselves_are_one_observation_each(
    limit: float | None,
) -> None:
    buckets = Buckets.of(range(4), [10] * 4, [1.0, 2.0, 3.0, 5.0], [0.0] * 4)
    found = components(buckets, limit=limit)
    assert found is not None
    assert found.icc == 1
    assert deflator(10, 1.0) == pytest.approx(0.1)
    assert effective_count(buckets, found) == pytest.approx(4)


def test_components_single_records_count_as_within() -> None:
    found = components(Buckets.of(range(4), [1] * 4, [1.0, 2.0, 3.0, 4.0], [0.0] * 4))
    assert found is not None
    assert found.within == pytest.approx(5 / 3)
    assert (found.between, found.degrees_of_freedom) == (0.0, 3)


def test_components_few_buckets_have_no_answer() -> None:
    assert components(Buckets.of([], [], [], [])) is None
    one = Buckets.of([0], [5], [1.0], [2.0])
    assert components(one) is None
    assert components(Buckets.of([0, 1], [5, 5], [1.0, 2.0], [2.0, 2.0]), [0, 1]) is None


def test_effective_count_simulated_means_have_the_variance_it_says() -> None:
    rng = np.random.default_rng(8)
    n = rng.choice(SIZES, 300)
    learned = Components(1.0, 0.04, 299)
    means = [float((b.n * b.mean).sum() / b.n.sum()) for b in (simulated(rng, n, 0.2) for _ in range(800))]
    expected = 1.04 / effective_count(simulated(rng, n, 0.2), learned)
    assert np.var(means) == pytest.approx(expected, rel=4 * math.sqrt(2 / 800))


def test_effective_count_without_effects_is_the_count_divided_by_inflation() -> None:
    buckets = Buckets.of(range(3), [10, 20, 30], [1.0, 1.0, 2.0], [3.0, 4.0, 5.0])
    assert effective_count(buckets, Components(2.0, 0.0, 2)) == pytest.approx(60)
    assert effective_count(buckets, Components(2.0, 0.0, 2), 3.0) == pytest.approx(20)


def test_deflator_is_the_variance_of_independent_records_over_the_true_one() -> None:
    learned = Components(1.5, 0.3, 10)
    n = np.array([1, 2, 10, 1000])
    independent = learned.total / n
    assert deflator(n, learned.icc) == pytest.approx(independent / learned.variance_of_mean(n))
    assert deflator(0, 0.5) == 1


def test_components_beta_binomial_rates_have_their_intraclass_correlation() -> None:
    rng = np.random.default_rng(9)
    n = rng.integers(5, 200, 4000)
    p = rng.beta(2, 18, 4000)  # icc = 1 / (2 + 18 + 1)
    found = components(Buckets.of_rates(np.arange(4000), n, rng.binomial(n, p)))
    assert found is not None
    assert found.icc == pytest.approx(1 / 21, rel=0.08)


def test_count_dispersion_negative_binomial_by_slot_is_its_alpha_and_poisson_has_none() -> None:
    rng = np.random.default_rng(10)
    slots = np.arange(6000) % 3
    mean = np.array([5.0, 20.0, 100.0])[slots]
    alpha = 0.05
    counts = rng.negative_binomial(1 / alpha, 1 / (1 + alpha * mean))
    found = count_dispersion(counts, slots)
    assert found == pytest.approx(alpha, rel=0.1)
    order = rng.permutation(6000)
    assert count_dispersion(counts[order], slots[order]) == found
    none = count_dispersion(rng.poisson(mean), slots)
    assert none is not None
    assert none < 0.003
    assert count_dispersion([0, 0, 0]) == 0
    assert count_dispersion([4]) is None
    assert count_deflator([0, 20], alpha) == pytest.approx([1, 0.5])


@pytest.mark.parametrize(
    "call",
    [
        lambda b: components(b, [0]),
        lambda b: components(b, [0, -1]),
        lambda b: components(b, [0.5, 1]),
        lambda b: components(b, limit=1.0),
        lambda _: Buckets.of([0], [1], [math.nan], [0.0]),
        lambda _: Buckets.of([0], [-1], [0.0], [0.0]),
        lambda _: Buckets.of([0], [2], [0.0], [-1.0]),
        lambda _: Buckets.of([0], [1, 2], [0.0], [0.0]),
        lambda _: Buckets.of_rates([0], [3], [4]),
        lambda _: Buckets.of_scores([0], [[1, 2]], [[0.1]]),
        lambda _: Buckets.of_scores([0], [[1, -2]], [[0.1, 0.2]]),
        lambda _: deflator(3, 1.5),
        lambda _: count_deflator(3, -0.1),
        lambda _: count_dispersion([-1, 2]),
        lambda b: effective_count(b, Components(1, 0, 1), 0.5),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    buckets = Buckets.of([0, 1], [2, 2], [1.0, 2.0], [1.0, 1.0])
    with pytest.raises(ValueError):
        call(buckets)  # type: ignore[operator]
