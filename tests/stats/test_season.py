from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from triageops.stats.buckets import Buckets
from triageops.stats.season import Season, chosen, slot_counts, slot_index, slot_means, slot_of
from triageops.stats.variance import Components

Array = NDArray[np.float64]
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp())
HOUR, DAY = 3600, 86_400
HOURS = np.arange(24 * 28)


def seasonal(rng: np.random.Generator, centres: Array, n: int = 20, tau: float = 0.1) -> Buckets:
    """Four weeks of hours."""
    means = centres[HOURS % centres.size] + tau * rng.normal(size=HOURS.size)
    means += rng.normal(size=HOURS.size) / np.sqrt(n)
    return Buckets.of(MONDAY + HOURS * HOUR, np.full(HOURS.size, n), means, rng.chisquare(n - 1, HOURS.size))


def test_slot_index_equals_the_local_wall_clock_of_every_hour_of_a_year() -> None:
    times = MONDAY + np.arange(0, 366 * 24) * HOUR
    for zone in (UTC, BERLIN, ZoneInfo("Asia/Kathmandu"), timezone(timedelta(hours=-3, minutes=-30))):
        local = [datetime.fromtimestamp(t, tz=zone) for t in times.tolist()]
        week = slot_index(times, "hour_of_week", zone)
        assert week.tolist() == [24 * t.weekday() + t.hour for t in local]
        weekend = slot_index(times, "hour_of_day_weekend", zone)
        assert weekend.tolist() == [t.hour + 24 * (t.weekday() > 4) for t in local]
        hours = slot_index(times, "hour_of_day", zone)
        assert hours.tolist() == [t.hour for t in local]
        of_season: dict[Season, NDArray[np.int64]] = {
            "hour_of_week": week,
            "hour_of_day_weekend": weekend,
            "hour_of_day": hours,
        }
        for season, slots in of_season.items():
            assert [slot_of(t + 0.5, season, zone) for t in times[::7].tolist()] == slots[::7].tolist()
    assert not slot_index(times, "none", UTC).any()
    assert slot_of(MONDAY, "none", UTC) == 0
    assert slot_index(MONDAY, "hour_of_week", UTC) == 0
    assert slot_index(times.reshape(24, -1), "hour_of_week", BERLIN).shape == (24, 366)


def test_slot_index_summer_time_keeps_nine_o_clock_where_it_is() -> None:
    before = int(datetime(2026, 3, 27, 9, tzinfo=BERLIN).timestamp())
    after = int(datetime(2026, 4, 3, 9, tzinfo=BERLIN).timestamp())
    assert after - before == 7 * DAY - HOUR
    slots = slot_index([before, after], "hour_of_week", BERLIN)
    assert slots.tolist() == [24 * 4 + 9] * 2


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0, "none"),
        (13, "none"),
        (14, "hour_of_day_weekend"),
        (27, "hour_of_day_weekend"),
        (28, "hour_of_week"),
    ],
)
def test_chosen_by_the_length_of_the_reference(days: int, expected: str) -> None:
    start = MONDAY + np.arange(days * 288) * 300
    assert chosen(start, UTC) == expected
    assert chosen(start[::-1], UTC) == expected


def test_chosen_by_what_was_seen_not_by_the_calendar() -> None:
    hours = np.arange(28 * 24)
    start = MONDAY + hours * HOUR
    opening = (hours % 24 >= 8) & (hours % 24 < 18) & (hours // 24 % 7 < 5)
    assert chosen(start[opening], UTC) == "hour_of_week"
    thin = np.random.default_rng(21).random(hours.size) < 0.5
    assert chosen(start[thin], UTC) == "hour_of_day_weekend"
    two_days = start[(hours < 24) | (hours >= 27 * 24)]
    assert chosen(two_days, UTC) == "none"


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5])
def test_slot_means_simulated_have_the_errors_they_state_and_beat_plain_means(spread: float) -> None:
    rng = np.random.default_rng(22)
    squares, stated, plain = [], [], []
    for _ in range(30):
        centres = 3 + spread * rng.normal(size=168)
        buckets = seasonal(rng, centres)
        found = slot_means(buckets, HOURS % 168, 168)
        assert found is not None
        squares.append(((found.mean - centres) ** 2).mean())
        stated.append((found.error**2).mean())
        raw = np.bincount(HOURS % 168, buckets.mean) / 4
        plain.append(((raw - centres) ** 2).mean())
    assert np.mean(squares) <= 1.02 * np.mean(plain)
    if spread:
        assert np.mean(squares) == pytest.approx(np.mean(stated), rel=0.1)
    else:
        assert np.mean(squares) < 0.15 * np.mean(plain)
        assert np.mean(stated) >= np.mean(squares)


def test_slot_means_without_bucket_effects_are_the_weighted_formula() -> None:
    # mu = (n x + kappa m) / (n + kappa), kappa = sigma^2 / tau_slot^2.
    n, mean = [40, 60, 80, 20], [1.0, 1.4, 3.0, 3.0]
    buckets = Buckets.of(range(4), n, mean, [10.0] * 4)
    found = slot_means(buckets, [0, 0, 1, 1], 2, learned=Components(2.0, 0.0, 2))
    assert found is not None
    kappa = 2.0 / float(found.spread)
    plain = np.array([(40 * 1.0 + 60 * 1.4) / 100, 3.0])
    expected = (100 * plain + kappa * float(found.grand)) / (100 + kappa)
    assert found.mean == pytest.approx(expected, rel=1e-13)
    # DerSimonian and Laird with equal weights: variance of the means less their error.
    assert found.spread == pytest.approx(plain.var(ddof=1) - 2 / 100)


def test_slot_means_slot_without_buckets_is_the_common_mean_with_the_slots_spread() -> None:
    buckets = seasonal(np.random.default_rng(23), 0.5 * np.random.default_rng(24).normal(size=24))
    found = slot_means(buckets, HOURS % 24, 25)
    assert found is not None
    assert found.mean[24] == found.grand
    assert found.error[24] > np.sqrt(found.spread)
    assert found.error[24] > 3 * found.error[:24].max()


def test_slot_means_constant_values_are_exact() -> None:
    buckets = Buckets.of(range(4), [5] * 4, [0.1, 0.3, 0.1, 0.3], [0.0] * 4)
    found = slot_means(buckets, [0, 1, 0, 1], 3)
    assert found is not None
    assert found.mean == pytest.approx([0.1, 0.3, 0.2], rel=1e-15)
    assert found.error == pytest.approx([0, 0, 0.1])


def test_slot_means_inflation_counts_as_far_as_a_visit_is_long() -> None:
    rng = np.random.default_rng(25)
    centres = rng.normal(size=24)
    # Each slot is visited for one bucket at a time: dependence of neighbours is between slots.
    hourly = seasonal(rng, centres)
    plain = slot_means(hourly, HOURS % 24, 24)
    inflated = slot_means(hourly, HOURS % 24, 24, inflation=9.0)
    assert plain is not None
    assert inflated is not None
    assert inflated.error.tolist() == plain.error.tolist()
    # In one slot for all, neighbours are in the same slot.
    one = slot_means(hourly, HOURS * 0, 1)
    nine = slot_means(hourly, HOURS * 0, 1, inflation=9.0)
    assert one is not None
    assert nine is not None
    assert nine.error == pytest.approx(3 * one.error)


def test_slot_means_nothing_to_learn_from_has_no_answer() -> None:
    assert slot_means(Buckets.of([], [], [], []), [], 24) is None
    assert slot_means(Buckets.of([0], [4], [1.0], [1.0]), [3], 24) is None


def test_slot_counts_simulated_have_the_errors_they_state() -> None:
    rng = np.random.default_rng(27)
    squares, stated = [], []
    for _ in range(40):
        truth = rng.gamma(4, 5, 24)
        counts = rng.poisson(truth[HOURS % 24])
        found = slot_counts(counts, HOURS % 24, 24, dispersion=0.0)
        assert found is not None
        squares.append(((found.mean - truth) ** 2).mean())
        stated.append((found.error**2).mean())
    assert np.mean(squares) == pytest.approx(np.mean(stated), rel=0.15)


def test_slot_counts_empty_hours_are_expected_to_stay_nearly_empty() -> None:
    counts = np.where(HOURS % 24 < 6, 0, 50)
    found = slot_counts(counts, HOURS % 24, 24, dispersion=0.0)
    assert found is not None
    assert (found.mean[:6] < 0.5).all()
    assert (found.error > 0).all()
    assert slot_counts([], [], 24, dispersion=0.0) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda b: slot_means(b, [24] * 672, 24),
        lambda b: slot_means(b, [0], 24),
        lambda b: slot_means(b, [0] * 672, 24, inflation=0.5),
        lambda _: slot_counts([-1], [0], 1, dispersion=0.0),
        lambda _: slot_index([0], "month", UTC),  # type: ignore[arg-type]
        lambda _: chosen([[0]], UTC),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    buckets = seasonal(np.random.default_rng(28), np.zeros(24))
    with pytest.raises(ValueError):
        call(buckets)  # type: ignore[operator]
