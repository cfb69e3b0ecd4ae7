import math

import numpy as np
import pytest
from scipy.stats import t

from monitoring.monitors.size import Size, _student


@pytest.mark.parametrize("freedom", [4, 5, 8, 20, 200, 10_000])
def test_student_quantile_is_that_of_scipy(freedom: int) -> None:
    assert _student(freedom) == pytest.approx(float(t.ppf(0.975, freedom)), rel=3e-3)


def test_effect_without_records_is_none() -> None:
    assert Size().effect() is None


def test_effect_is_the_mean_beside_what_was_usual_in_each_bucket() -> None:
    size = Size().plus(10, 10, 0.7, 0.8, 0.1).plus(30, 30, 0.5, 0.9, 0.1)
    found = size.effect()
    assert found is not None
    assert (found.current, found.level, found.n) == pytest.approx((0.55, 0.875, 40))
    assert found.difference == pytest.approx(-0.325)
    assert Size.from_json({"sums": size.as_json()}) == size


def test_interval_covers_buckets_that_differ_by_more_than_chance() -> None:
    random = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        size = Size()
        for _ in range(12):
            values = random.normal(1.0 + random.normal(0, 0.5), 1, 200)
            size = size.plus(
                200, 200, float(values.mean()), 0.0, float(((values - values.mean()) ** 2).sum())
            )
        found = size.effect()
        assert found is not None
        assert found.interval is not None
        hits += found.interval.low <= 1.0 <= found.interval.high
    assert hits / 400 == pytest.approx(0.95, abs=0.035)


def test_size_that_an_earlier_release_kept_is_read() -> None:
    size = Size.from_json({"n": 10, "current": 0.7, "level": 0.8, "m2": 0.5})
    assert (size.n, size.bucket_count, size.m2) == (10, 1, 0.5)
    assert Size.from_json({}) == Size()
    assert math.isclose(size.value, 7.0)
