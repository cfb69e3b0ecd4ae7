import itertools
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from feedback import rollups, stats
from feedback.stats import buckets
from tests.feedback.facts import BUCKET, BUCKET_AT, NOW, rate, respond, withdraw
from triageops.stats.histogram import Histogram, LogBins, UniformBins
from triageops.stats.moments import Moments

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
FAR = NOW + 30 * DAY


def read(kind: Any, maturity: timedelta = DAY, **changes: Any) -> list[stats.ClosedBucket]:
    values: dict[str, Any] = {
        "where": {}, "split_by": (), "after": NOW - DAY, "until": FAR, "not_before": NOW - DAY,
    }  # fmt: skip
    return stats.feedback_buckets(kind, maturity=maturity, **values | changes)


def closed(metric: str, *split_by: str, **changes: Any) -> list[stats.ClosedBucket]:
    values: dict[str, Any] = {"where": {}, "after": NOW - DAY, "until": FAR, "not_before": NOW - DAY}
    return stats.closed_buckets(metric, split_by=split_by, **values | changes)


def numbers(found: list[stats.ClosedBucket]) -> list[tuple[int, float]]:
    return [(bucket.moments.n, bucket.moments.mean) for bucket in found]


def test_closed_bucket_histogram_of_merged_rows_is_that_of_all_values() -> None:
    values = np.random.default_rng(3).lognormal(0, 1, 60)
    for i, value in enumerate(values):
        respond(f"r{i}", model=f"m{i % 3}", latency_seconds=float(value))
    rollups.roll_up(NOW)
    (bucket,) = closed("latency_seconds")
    whole = Histogram.of(values, LogBins())
    assert bucket.histogram == {whole.scheme.name: whole.counts}
    assert (bucket.minimum, bucket.maximum) == (values.min(), values.max())
    assert bucket.moments.n == 60
    assert bucket.moments.mean == pytest.approx(values.mean(), rel=1e-14)
    assert bucket.moments.sd == pytest.approx(values.std(ddof=1), rel=1e-13)
    by_model = closed("latency_seconds", "model")
    assert [part.group for part in by_model] == [("m0",), ("m1",), ("m2",)]
    assert sum(part.histogram["log:0.01"].get(100, 0) for part in by_model) == whole.counts.get(100, 0)


def test_closed_bucket_of_nulls_alone_has_no_moments_and_no_histogram() -> None:
    respond("r1", model="a")
    respond("r2", model="b")
    rollups.roll_up(NOW)
    (bucket,) = closed("cost")
    assert (bucket.moments, bucket.null_count, bucket.histogram) == (Moments(0, 0.0, 0.0), 2, {})
    assert (bucket.minimum, bucket.maximum) == (None, None)


def test_closed_buckets_merge_rows_alike_in_whatever_order_they_come() -> None:
    rng = np.random.default_rng(4)
    rows: list[buckets.Row] = [
        (NOW + k * BUCKET, "m", int(n), float(mean), float(m2), 0, None, None, "log:0.01", '{"3":1}')
        for k in range(12)
        for n, mean, m2 in zip(
            rng.integers(0, 9, 50), rng.normal(1e6, 1, 50), rng.exponential(1, 50), strict=True
        )
    ]
    rows = [(*row[:3], 0.0, 0.0, *row[5:]) if row[2] == 0 else row for row in rows]
    once = list(buckets._buckets(list(rows), 2))
    again = list(buckets._buckets(rows[::-1], 2))
    alone = list(buckets._buckets([row for row in rows if row[0] == NOW], 2))
    assert once == again
    assert once[:1] == alone
    for found, at in zip(once, (NOW + k * BUCKET for k in range(12)), strict=True):
        whole = Moments.merge(Moments(*row[2:5]) for row in rows if row[0] == at)
        assert found.moments.n == whole.n
        assert found.moments.mean == pytest.approx(whole.mean, rel=1e-15)
        assert found.moments.m2 == pytest.approx(whole.m2, rel=1e-12)
        assert found.histogram == {"log:0.01": {3: 50}}


def test_share_of_negative_feedback_counts_every_type_once() -> None:
    for i, name in enumerate(("negative", "positive", "positive", "neutral")):
        respond(f"r{i}", model="a")
        rate(f"r{i}", name)
    rate("r0", "negative", user_id="second")
    rollups.roll_up(NOW)
    (negative,) = read("negative", split_by=("model",))
    assert (negative.at, negative.group) == (BUCKET_AT, ("a",))
    assert negative.moments == Moments(5, 0.4, 1.2)
    assert negative.histogram == {"uniform:0.0:1.0": {0: 3, 201: 2}}
    assert numbers(read("positive")) == [(5, 0.4)]


def test_ratings_have_moments_and_bins_of_their_values() -> None:
    ratings = [1, 5, 5, 3, 2]
    for i, rating in enumerate(ratings):
        respond(f"r{i}")
        rate(f"r{i}", rating=rating)
    respond("none")
    rate("none")
    rollups.roll_up(NOW)
    (bucket,) = read("rating")
    whole = Histogram.of(ratings, UniformBins(1.0, 5.0))
    assert bucket.moments.n == 5
    assert bucket.moments.mean == pytest.approx(3.2, rel=1e-15)
    assert bucket.moments.sd == pytest.approx(np.std(ratings, ddof=1), rel=1e-14)
    assert bucket.histogram == {"uniform:1.0:5.0": whole.counts}
    assert (bucket.minimum, bucket.maximum) == (1.0, 5.0)


def test_coverage_has_buckets_without_any_feedback_too() -> None:
    for i in range(4):
        respond(f"r{i}")
    respond("silent", occurred_at=NOW - BUCKET)
    rate("r0")
    rate("r0", user_id="second")
    rollups.roll_up(NOW)
    assert [(b.at, b.moments.n, b.moments.mean) for b in read("coverage")] == [
        (BUCKET_AT - BUCKET, 1, 0.0),
        (BUCKET_AT, 4, 0.25),
    ]


def roll_up_at(age: timedelta) -> None:
    """What was recorded is counted when the bucket BUCKET_AT is this old: its visible_at is BUCKET_AT + age."""
    rollups.roll_up(BUCKET_AT + age + timedelta(minutes=1))  # closes the buckets before
    rollups.roll_up(BUCKET_AT + age + timedelta(minutes=2))


def test_feedback_takes_part_up_to_its_age_and_never_after(settings: Any) -> None:
    respond("r1")
    respond("r2")
    rate("r1")
    roll_up_at(timedelta(0))
    roll_up_at(DAY)
    rate("r2", "negative")
    roll_up_at(DAY)
    assert numbers(read("negative")) == [(2, 0.5)]
    roll_up_at(DAY + BUCKET)
    before = {kind: read(kind) for kind in ("negative", "positive", "rating", "coverage")}
    rate("r1", "negative", rating=1, user_id="third")
    respond("late")
    roll_up_at(DAY + BUCKET)
    assert {kind: read(kind) for kind in before} == before
    assert numbers(read("negative", DAY + BUCKET)) == [(3, 2 / 3)]
    assert numbers(read("coverage", DAY + BUCKET)) == [(3, 2 / 3)]
    assert numbers(read("coverage")) == [(2, 1.0)]


@pytest.mark.parametrize("minutes", [0, 1, 5, 7, 10])
def test_feedback_buckets_read_up_to_what_is_closed_are_final_at_any_maturity(minutes: int) -> None:
    respond("r1")
    rate("r1", "negative")
    maturity = timedelta(minutes=minutes)
    roll_up_at(timedelta(0))
    was_read = []
    for age in range(1, 6):
        roll_up_at(age * BUCKET)
        closed_until = stats.closed_until()
        before = read("negative", maturity, until=closed_until)
        rate("r1", "positive", user_id=f"u{age}")
        roll_up_at(age * BUCKET)
        assert read("negative", maturity, until=closed_until) == before
        was_read.append(bool(before))
    assert was_read == sorted(was_read)
    assert was_read[-1]


def test_feedback_that_changed_or_was_withdrawn_counts_as_it_stood_at_that_age() -> None:
    for i in range(3):
        respond(f"r{i}")
    gone = rate("r0", "negative", rating=1)
    rate("r1", "negative", rating=2)
    rate("r2", "positive", rating=4)
    roll_up_at(timedelta(0))
    roll_up_at(2 * BUCKET)
    withdraw(gone)
    rate("r1", "positive", rating=5)
    roll_up_at(2 * BUCKET)
    assert numbers(read("negative", BUCKET)) == [(3, 2 / 3)]
    assert numbers(read("negative", 2 * BUCKET)) == [(2, 0.0)]
    assert numbers(read("rating", 2 * BUCKET)) == [(2, 4.5)]
    assert numbers(read("coverage", 2 * BUCKET)) == [(3, 2 / 3)]


@pytest.mark.parametrize("kind", ["negative", "rating", "coverage"])
@pytest.mark.parametrize("maturity", [timedelta(0), timedelta(minutes=7), timedelta(hours=2)])
def test_feedback_buckets_are_read_once_however_time_is_cut(kind: Any, maturity: timedelta) -> None:
    for i in range(30):
        respond(f"r{i}", occurred_at=NOW - i * timedelta(minutes=2))
        rate(f"r{i}", rating=1 + i % 5)
    rollups.roll_up(NOW)
    whole = read(kind, maturity)
    cuts = [NOW - DAY, NOW - timedelta(minutes=33), NOW - timedelta(minutes=11), NOW, FAR]
    pieces = [
        bucket
        for after, until in itertools.pairwise(cuts)
        for bucket in read(kind, maturity, after=after, until=until)
    ]
    assert pieces == whole
    assert sum(bucket.moments.n for bucket in whole) == 30
    late = read(kind, maturity, not_before=BUCKET_AT - BUCKET)
    assert late == [bucket for bucket in whole if bucket.at >= BUCKET_AT - BUCKET]


def test_feedback_of_an_attribute_watched_later_is_clipped(settings: Any) -> None:
    respond("r1", attributes={"tenant": "t"})
    rate("r1", "negative")
    rate("r1", "negative", user_id="second")
    rollups.roll_up(NOW)
    settings.SLICE_ATTRIBUTES = ["tenant"]
    respond("r2", attributes={"tenant": "t"})
    rate("r1", "positive")
    rollups.roll_up(NOW)
    assert numbers(read("negative", split_by=("tenant",))) == [(1, 0.0)]
    assert numbers(read("coverage", split_by=("tenant",))) == [(1, 0.0)]


def test_maturity_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="negative maturity"):
        read("negative", -BUCKET)
