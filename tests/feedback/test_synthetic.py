from datetime import timedelta
from typing import Any

import pytest

from feedback import rollups, stats, synthetic
from feedback.models import MetricKind, QualityMetric, Response
from tests.feedback.facts import BUCKET, BUCKET_AT, NOW, respond

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def bounded() -> None:
    QualityMetric.objects.create(key="selftest", kind=MetricKind.BOUNDED, low=0, high=1)
    QualityMetric.objects.create(key="seconds", kind=MetricKind.POSITIVE)


def read(**changes: Any) -> list[stats.ClosedBucket]:
    values: dict[str, Any] = {"after": NOW - timedelta(days=1), "until": NOW + timedelta(days=1), "where": {}}
    return stats.closed_buckets(
        "selftest", split_by=("endpoint",), not_before=NOW - timedelta(days=1), **values | changes
    )


def test_synthetic_values_are_read_like_those_of_responses_and_are_no_facts() -> None:
    rollups.roll_up(NOW)
    synthetic.record("selftest", "self-test", [0.0, 0.5, 1.0], NOW)
    synthetic.record("selftest", "self-test", [0.5], NOW + timedelta(seconds=1))
    (bucket,) = read()
    assert (bucket.at, bucket.group) == (BUCKET_AT, ("self-test",))
    assert (bucket.moments.n, bucket.moments.mean, bucket.moments.m2) == (4, 0.5, 0.5)
    assert bucket.histogram == {"uniform:0.0:1.0": {0: 1, 100: 2, 201: 1}}
    window = stats.Window.last(timedelta(days=7), NOW)
    (hourly,) = stats.quality_stats(window, stats.Cut({}), ["selftest"])
    assert hourly.n == 4
    assert stats.quality_stats(window, stats.Cut({}), [stats.EVERY_RESPONSE]) == []
    assert Response.objects.count() == 0


def test_synthetic_values_of_a_closed_bucket_become_visible_in_the_next_open_one() -> None:
    rollups.roll_up(BUCKET_AT + 3 * BUCKET + timedelta(seconds=61))
    synthetic.record("selftest", "self-test", [0.5], NOW)
    assert read(until=BUCKET_AT + 3 * BUCKET) == []
    assert [bucket.at for bucket in read()] == [BUCKET_AT + 3 * BUCKET]


def test_synthetic_values_that_no_client_could_send_are_refused() -> None:
    rollups.roll_up(NOW)
    with pytest.raises(QualityMetric.DoesNotExist):
        synthetic.record("unknown", "e", [0.5], NOW)
    with pytest.raises(ValueError, match="no bounds"):
        synthetic.record("seconds", "e", [0.5], NOW)
    for value in (1.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="outside the bounds"):
            synthetic.record("selftest", "e", [0.5, value], NOW)
    assert read() == []


def test_synthetic_values_before_any_rollup_are_refused() -> None:
    with pytest.raises(synthetic.NothingRolledUp):
        synthetic.record("selftest", "e", [0.5], NOW)


def test_synthetic_values_and_real_ones_share_a_bucket() -> None:
    rollups.roll_up(NOW)
    respond("r1", endpoint="e", metrics={"selftest": 1.0})
    synthetic.record("selftest", "e", [0.0], NOW)
    rollups.roll_up(NOW)
    (bucket,) = read()
    assert (bucket.moments.n, bucket.moments.mean) == (2, 0.5)
