from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from triageops.stats.buckets import Buckets
from triageops.stats.season_evidence import hours_p_value, shows_hours

Array = NDArray[np.float64]
MONDAY = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp())
LENGTH, PER_DAY = 300, 288


def stream(
    rng: np.random.Generator, days: float, *, season: float = 0.0, day: float = 0.0, n: int = 20
) -> Buckets:
    """Means of n values of variance 1, five minutes apart: a sine over the day, and an effect of each day."""
    count = round(days * PER_DAY)
    number = np.arange(count)
    means = (
        season * np.sin(2 * np.pi * number / PER_DAY)
        + day * rng.normal(size=count // PER_DAY + 1)[number // PER_DAY]
    )
    means = means + rng.normal(size=count) / np.sqrt(n)
    return Buckets.of(MONDAY + LENGTH * number, np.full(count, n), means, rng.chisquare(n - 1, count))


def test_hours_p_value_of_equal_numbers_is_scipys_f_test_of_two_ways() -> None:
    rng = np.random.default_rng(1)
    # One bucket an hour, of one value: all weights are the same.
    x = rng.normal(size=(4, 24)) + 0.4 * rng.normal(size=24)
    buckets = Buckets.of(MONDAY + 3600 * np.arange(96), np.ones(96), x.ravel(), np.zeros(96))
    hours, days = x.mean(axis=0), x.mean(axis=1)
    rest = x - hours - days[:, None] + x.mean()
    f = (4 * ((hours - x.mean()) ** 2).sum() / 23) / ((rest**2).sum() / 69)
    assert hours_p_value(buckets, UTC) == pytest.approx(stats.f.sf(f, 23, 69), rel=1e-9)


@pytest.mark.parametrize("day", [0.0, 0.5])
def test_hours_that_do_not_differ_are_seldom_shown(day: float) -> None:
    found = [hours_p_value(stream(np.random.default_rng(seed), 3.5, day=day), UTC) for seed in range(120)]
    values = np.array([p for p in found if p is not None])
    assert values.size == 120
    assert stats.kstest(values, "uniform").pvalue > 0.001


@pytest.mark.parametrize(("days", "season"), [(2, 0.2), (4, 0.1), (11, 0.05)])
def test_hours_that_differ_are_shown_by_a_few_days(days: float, season: float) -> None:
    found = [
        shows_hours([stream(np.random.default_rng(seed), days, season=season, day=0.2)], UTC)
        for seed in range(20)
    ]
    assert sum(found) >= 18


def test_a_wave_that_does_not_repeat_is_no_hour_of_the_day() -> None:
    """31 hours long: within two days it looks like a season of each of them."""
    rng = np.random.default_rng(3)
    number = np.arange(4 * PER_DAY)
    means = 0.5 * np.sin(2 * np.pi * number * LENGTH / 3600 / 31) + rng.normal(size=number.size) / np.sqrt(20)
    wave = Buckets.of(
        MONDAY + LENGTH * number, np.full(number.size, 20), means, rng.chisquare(19, number.size)
    )
    p = hours_p_value(wave, UTC)
    assert p is not None
    assert p > 0.01


def test_less_than_two_days_say_nothing() -> None:
    rng = np.random.default_rng(4)
    for days in (0.1, 1, 1.5):
        assert hours_p_value(stream(rng, days, season=1.0), UTC) is None
        assert not shows_hours([stream(rng, days, season=1.0)], UTC)
    assert hours_p_value(Buckets.of([], [], [], []), UTC) is None
    assert not shows_hours([], UTC)


def test_hours_are_those_of_the_zone() -> None:
    """In Kathmandu hours begin at a quarter past: a stream that jumps there is told more clearly in its own time."""
    rng = np.random.default_rng(5)
    number = np.arange(3 * PER_DAY)
    odd = (number * LENGTH // 900 + 3) // 4 % 2
    means = 0.2 * odd + rng.normal(size=number.size) / np.sqrt(20)
    buckets = Buckets.of(
        MONDAY + LENGTH * number, np.full(number.size, 20), means, rng.chisquare(19, number.size)
    )
    there, here = hours_p_value(buckets, ZoneInfo("Asia/Kathmandu")), hours_p_value(buckets, UTC)
    assert there is not None
    assert here is not None
    assert there < here / 10


def test_values_that_never_vary_have_no_hours_and_exact_hours_are_certain() -> None:
    starts = MONDAY + 3600 * np.arange(96)
    assert hours_p_value(Buckets.of(starts, np.full(96, 5), np.full(96, 0.7), np.zeros(96)), UTC) == 1.0
    exact = (np.arange(96) % 24 < 8).astype(float)
    assert hours_p_value(Buckets.of(starts, np.full(96, 5), exact, np.zeros(96)), UTC) == 0.0
