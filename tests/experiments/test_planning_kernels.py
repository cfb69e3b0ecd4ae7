"""Thinning and moments of units that were drawn and partly read, against all units, over many drawings."""

import math

import numpy as np
import pytest

from experiments.planning import moments
from experiments.planning.moments import Unit
from experiments.planning.thinning import Member, chances, thinned


def whole(rows: list[list[list[float]]]) -> list[Unit]:
    return [Unit(1.0, 1.0, np.array(row, dtype=np.float64)) for row in rows]


def test_thinned_units_stand_for_the_others_on_average() -> None:
    sizes = [1] * 300 + [20] * 50 + [3_000]
    units = {f"u-{i}": Member(1.0, float(size)) for i, size in enumerate(sizes)}
    kept = [thinned(units, 40, seed) for seed in range(400)]
    assert {len(one) for one in kept} <= {39, 40, 41}
    for size in (1, 20, 3_000):
        weights = [sum(one.weight for one in drawn.values() if one.size == size) for drawn in kept]
        error = float(np.std(weights)) / 20
        assert np.mean(weights) == pytest.approx(sizes.count(size), abs=4 * error + 1e-9)


def test_thinned_keeps_heavy_units_more_often_and_lighter() -> None:
    units = {f"u-{i}": Member(1.0, float(size)) for i, size in enumerate([1] * 100 + [100] * 100)}
    kept = thinned(units, 50, 0)
    heavy = [one for one in kept.values() if one.size == 100]
    assert len(heavy) > 35
    assert {round(one.weight, 6) for one in heavy} == {2.2}
    same = thinned(units, 50, 0, power=0.0)
    assert len(same) == 50
    assert {round(one.weight, 6) for one in same.values()} == {4.0}
    assert thinned(units, 200, 0) == units


def test_chances_sum_to_what_is_wanted_and_are_none_above_one() -> None:
    found = chances(np.array([1000.0, 5.0, 1.0, 1.0, 1.0, 1.0]), 3)
    assert found.sum() == pytest.approx(3)
    assert found.max() == 1
    assert (found > 0).all()
    assert chances(np.array([1.0, 2.0]), 5).tolist() == [1, 1]


def test_ratio_of_whole_units_is_the_delta_method() -> None:
    random = np.random.default_rng(5)
    rows = [[[float(x), 1.0] for x in random.normal(3, 1, size)] for size in random.integers(1, 9, 50)]
    sums, counts = np.array([np.sum(row, axis=0) for row in rows]).T
    found = moments.ratio(whole(rows))
    assert found is not None
    assert found.value == pytest.approx(sums.sum() / counts.sum())
    assert found.variance == pytest.approx(((sums - found.value * counts) / counts.mean()).var(ddof=1))
    assert found.effective == pytest.approx(50)


def test_weights_stand_for_units_that_are_not_there() -> None:
    twice = moments.mean(whole([[[1.0, 1.0]], [[1.0, 1.0]], [[4.0, 1.0]], [[4.0, 1.0]]]))
    once = moments.mean([Unit(2.0, 1.0, np.array([[x, 1.0]])) for x in (1.0, 4.0)])
    assert twice is not None
    assert once is not None
    assert once.value == twice.value == 2.5
    # The spread around the mean is the same; fewer units know less of it.
    assert once.variance * 1 / 2 == pytest.approx(twice.variance * 3 / 4)


@pytest.mark.parametrize("kind", ["mean", "ratio"])
def test_variance_of_partly_read_units_is_on_average_that_of_whole_ones(kind: str) -> None:
    random = np.random.default_rng(11)
    centres = random.normal(2.0, 0.5, 60)
    rows = [np.column_stack([random.normal(centre, 1.0, 80), np.ones(80)]) for centre in centres]
    kernel = moments.mean if kind == "mean" else moments.ratio
    truth = kernel([Unit(1.0, 1.0, row) for row in rows])
    assert truth is not None
    found = []
    for _ in range(200):
        start = random.integers(0, 4, 60)
        partly = [
            Unit(1.0, 4.0, random.permutation(row)[first::4]) for row, first in zip(rows, start, strict=True)
        ]
        spread = kernel(partly)
        assert spread is not None
        found.append((spread.value, spread.variance))
    values, variances = np.array(found).T
    assert values.mean() == pytest.approx(truth.value, abs=4 * values.std() / 200**0.5)
    assert variances.mean() == pytest.approx(truth.variance, abs=4 * variances.std() / 200**0.5)


def test_variance_is_at_least_that_of_independent_responses() -> None:
    # All read responses happen to have the same total.
    units = [Unit(1.0, 50.0, np.array([[1.0, 1.0], [0.0, 1.0]])) for _ in range(10)]
    found = moments.mean(units)
    assert found is not None
    assert found.variance == 0  # nothing differs between units, and no floor is above what was seen
    mixed = moments.mean([*units, Unit(1.0, 50.0, np.array([[1.0, 1.0], [1.0, 1.0]]))])
    assert mixed is not None
    assert mixed.variance > 0


@pytest.mark.parametrize("kind", ["mean", "proportion"])
def test_error_of_the_variance_is_how_much_it_differs_between_samples(kind: str) -> None:
    random = np.random.default_rng(7)
    found = []
    for _ in range(400):
        values = random.exponential(1.0, 200) if kind == "mean" else (random.random(200) < 0.2).astype(float)
        spread = getattr(moments, kind)(whole([[[float(x), 1.0]] for x in values]))
        assert spread is not None
        found.append((spread.variance, spread.error))
    variances, errors = np.array(found).T
    assert errors.mean() == pytest.approx(variances.std() / variances.mean(), rel=0.15)


def test_proportion_of_partly_read_units_counts_the_chance_of_the_rest() -> None:
    random = np.random.default_rng(2)
    rate, size = 0.02, 60
    rows = [
        np.column_stack([(random.random(size) < rate).astype(float), np.ones(size)]) for _ in range(3_000)
    ]
    truth = np.mean([row[:, 0].any() for row in rows])
    found = moments.proportion([Unit(1.0, 3.0, row[::3]) for row in rows])
    assert found is not None
    assert found.value == pytest.approx(truth, abs=0.03)
    assert np.mean([row[::3, 0].any() for row in rows]) < truth - 0.2
    assert found.variance == pytest.approx(found.value * (1 - found.value), rel=1e-3)


def test_cap_holds_for_what_a_unit_would_have() -> None:
    units = [Unit(1.0, 10.0, np.array([[5.0, 1.0]] * 3)), Unit(1.0, 1.0, np.array([[2.0, 1.0]]))]
    found = moments.mean(units, cap=20.0)
    assert found is not None
    assert (found.value, found.variance) == pytest.approx((11.0, 162.0))


def test_fewer_than_two_units_have_no_spread() -> None:
    one = whole([[[1.0, 1.0]]])
    assert moments.mean(one) is None
    assert moments.ratio(one) is None
    assert moments.proportion(one) is None
    assert moments.ratio(whole([[[1.0, 0.0]], [[2.0, 0.0]]])) is None
    assert moments.mean([], math.inf) is None
