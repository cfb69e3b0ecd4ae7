from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from triageops.stats.dependence import Dependence, dependence, inflated_by_lag, prewhitened

Array = NDArray[np.float64]
DAY = 288


def autoregressive(rng: np.random.Generator, phi: float, count: int) -> Array:
    noise = rng.normal(size=count)
    values = np.empty(count)
    values[0] = noise[0]
    for t in range(1, count):
        values[t] = phi * values[t - 1] + np.sqrt(1 - phi * phi) * noise[t]
    return values


def learned(values: Array, slots: NDArray[np.int64] | None = None) -> Dependence:
    return dependence(np.arange(values.size) * 300, values, slots, bucket_seconds=300)


@pytest.mark.parametrize("phi", [0.0, 0.2, 0.4, 0.6])
def test_dependence_autoregression_gives_its_correlation_and_both_inflations(phi: float) -> None:
    rng = np.random.default_rng(11)
    found = [learned(autoregressive(rng, phi, 20 * DAY)) for _ in range(12)]
    assert np.mean([one.rho for one in found]) == pytest.approx(phi, abs=0.012)
    truth = (1 + phi) / (1 - phi)
    assert np.mean([one.by_lag for one in found]) == pytest.approx(truth, rel=0.05)
    # 12 x 20 days: the relative standard error of the mean is 9 %.
    assert np.mean([one.blocks for one in found if one.blocks]) == pytest.approx(truth, rel=0.3)


def test_dependence_rho_of_a_short_series_is_corrected_for_its_bias() -> None:
    rng = np.random.default_rng(12)
    found = []
    for _ in range(400):
        values = autoregressive(rng, 0.4, 40)
        found.append(learned(values - values.mean()).rho)
    # Without the correction the mean is near 0.4 - 2.2 / 40 = 0.345.
    assert np.mean([x for x in found if x is not None]) == pytest.approx(0.4, abs=0.025)


def test_dependence_effects_of_days_show_in_blocks_and_hardly_in_the_lag() -> None:
    rng = np.random.default_rng(13)
    share = 0.1
    slots = np.arange(28 * DAY) // 12 % 168
    truth = 1 + (DAY - 1) * share
    by_slot, plain = [], []
    for _ in range(10):
        days = np.repeat(rng.normal(size=28), DAY)
        values = np.sqrt(share) * days + np.sqrt(1 - share) * rng.normal(size=28 * DAY)
        means = np.bincount(slots, values) / np.bincount(slots)
        by_slot.append(learned(values - means[slots], slots))
        plain.append(learned(values - values.mean()))
    assert np.mean([one.by_lag for one in plain]) < 1.4
    assert np.mean([one.inflation for one in plain]) == pytest.approx(truth, rel=0.25)
    assert np.mean([one.inflation for one in by_slot]) == pytest.approx(truth, rel=0.25)


def test_dependence_blocks_allow_for_what_a_slots_mean_took_off() -> None:
    # Hours of the week over 4 weeks: a slot's mean takes a quarter of a day's effect with it.
    rng = np.random.default_rng(15)
    hours = np.arange(28 * 24)
    slots = hours % 168
    found = []
    for _ in range(100):
        values = np.sqrt(0.2) * np.repeat(rng.normal(size=28), 24) + np.sqrt(0.8) * rng.normal(
            size=hours.size
        )
        means = np.bincount(slots, values) / 4
        found.append(
            dependence(hours * 3600, values - means[slots], slots, bucket_seconds=3600).blocks or 0.0
        )
    assert np.mean(found) == pytest.approx(1 + 23 * 0.2, rel=0.1)


def test_dependence_gap_breaks_a_pair() -> None:
    values = np.ones(60)
    values[1::2] = -1
    start = np.arange(60) * 300
    start[30:] += 300
    found = dependence(start, values, bucket_seconds=300)
    assert found.pair_count == 58
    assert found.rho == pytest.approx(-1, abs=0.04)
    assert found.inflation == 1
    alone = dependence(np.arange(60) * 600, values, bucket_seconds=300)
    assert (alone.rho, alone.pair_count, alone.inflation) == (None, 0, 1.0)


def test_dependence_few_buckets_or_no_variation_is_no_inflation() -> None:
    nothing = dependence([], [], bucket_seconds=300)
    assert nothing == Dependence(None, None, 0, 0)
    constant = learned(np.zeros(20 * DAY))
    assert (constant.rho, constant.blocks, constant.inflation) == (0.0, 1.0, 1.0)
    weekly = dependence(np.arange(30) * 86_400, np.ones(30), bucket_seconds=86_400)
    assert weekly.blocks is None


def test_dependence_trend_is_cut_at_the_largest_correlation() -> None:
    found = learned(np.linspace(-1, 1, 2000))
    assert found.rho == 0.98


def test_inflation_and_prewhitening_make_an_autoregression_independent() -> None:
    assert inflated_by_lag(0.6) == pytest.approx(4)
    values = autoregressive(np.random.default_rng(14), 0.6, 4000)
    white = np.array([prewhitened(a, b, 0.6) for a, b in pairwise(values)])
    assert white.std() == pytest.approx(1, abs=0.05)
    assert abs(learned(white).rho or 0.0) < 0.05


@pytest.mark.parametrize(
    "call",
    [
        lambda: dependence([0, 0], [1.0, 1.0], bucket_seconds=300),
        lambda: dependence([0, 300], [1.0, np.nan], bucket_seconds=300),
        lambda: dependence([0, 300], [1.0], bucket_seconds=300),
        lambda: dependence([0, 300], [1.0, 1.0], bucket_seconds=0),
        lambda: inflated_by_lag(1.0),
        lambda: prewhitened(1.0, 1.0, 1.0),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]


def test_dependence_of_a_few_days_sees_a_wave_of_hours_in_parts_of_days() -> None:
    rng = np.random.default_rng(31)
    for days, count in ((1, 8), (2, 8), (4, 8), (5, 10)):
        wave = np.sin(2 * np.pi * np.arange(days * DAY) / DAY)
        found = learned(wave + rng.normal(size=days * DAY))
        assert found.block_count == count
        assert found.blocks is not None
        assert found.inflation == found.blocks > 2 * found.by_lag


def test_dependence_of_a_few_days_without_any_is_left_alone() -> None:
    rng = np.random.default_rng(32)
    found = [learned(rng.normal(size=DAY * days)) for days in (1, 2, 4) for _ in range(60)]
    assert sum(one.blocks is not None for one in found) <= 3
    assert np.mean([one.inflation for one in found]) < 1.06


def test_dependence_a_correlation_that_is_noise_costs_nothing() -> None:
    assert Dependence(0.02, None, 1_000, 1).by_lag == 1.0
    assert Dependence(0.04, None, 1_000, 1).by_lag == pytest.approx(1.04 / 0.96)
    # Of few pairs, 0.06 is less than one standard error, and still more than a tenth of the variance.
    assert Dependence(0.06, None, 25, 1).by_lag == pytest.approx(1.06 / 0.94)
