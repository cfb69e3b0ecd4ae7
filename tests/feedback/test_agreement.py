import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from feedback import agreement, rollups, stats, tasks
from feedback.metrics import state
from feedback.models import Direction, MetricKind, QualityMetric, Rollup, RollupCursor
from tests.feedback.facts import BUCKET, BUCKET_AT, NOW, judge, rate, respond, withdraw

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
DUE = BUCKET_AT + DAY + BUCKET
"""What occurred in BUCKET_AT is compared when all before this is closed."""

FAR = NOW + 30 * DAY


@pytest.fixture(autouse=True)
def helpful() -> QualityMetric:
    return QualityMetric.objects.create(
        key="helpful", kind=MetricKind.BOUNDED, low=0, high=1, direction=Direction.HIGHER
    )


def run(closed_until: datetime) -> int:
    """A minute after all before `closed_until` was closed."""
    now = closed_until + timedelta(seconds=61)
    rollups.roll_up(now)
    assert stats.closed_until() == closed_until
    return agreement.take_in(now)


def read(*split_by: str, key: str = "helpful", **changes: Any) -> list[stats.ClosedBucket]:
    values: dict[str, Any] = {"after": NOW - DAY, "until": FAR, "not_before": NOW - DAY, "where": {}}
    return stats.closed_buckets(f"agreement:{key}", split_by=split_by, **values | changes)


def both(response_id: str, value: float, feedback_type: str = "positive", **fields: Any) -> None:
    respond(response_id, **fields)
    judge(response_id, helpful=value)
    rate(response_id, feedback_type)


def numbers(**changes: Any) -> list[tuple[int, float]]:
    return [(bucket.moments.n, bucket.moments.mean) for bucket in read(**changes)]


def test_agreement_is_the_share_of_responses_that_people_and_metric_judge_alike() -> None:
    both("good-liked", 0.9, model="a", attributes={"language": "en"})
    both("bad-disliked", 0.1, "negative", model="a")
    both("good-disliked", 0.5, "negative", model="b")
    both("bad-liked", 0.4, model="b")
    respond("without-feedback")
    judge("without-feedback", helpful=1.0)
    respond("without-value")
    rate("without-value")
    assert run(DUE) == 5
    by_model = read("model")
    assert [(bucket.group, bucket.moments.n, bucket.moments.mean) for bucket in by_model] == [
        (("a",), 2, 1.0),
        (("b",), 2, 0.0),
    ]
    (whole,) = read()
    assert whole.histogram == {"uniform:0.0:1.0": {0: 2, 201: 2}}
    assert (whole.moments.m2, whole.at) == (1.0, DUE)
    assert numbers(where={"language": "en"}) == [(1, 1.0)]
    hourly = Rollup.objects.get(
        metric="agreement:helpful", grain_seconds=3600, slice__model="a", slice__attribute=""
    )
    assert (hourly.n, hourly.bucket_at) == (2, BUCKET_AT.replace(minute=0))
    assert not QualityMetric.objects.filter(key__startswith="agreement:").exists()
    rollups.roll_up(DUE + DAY)
    assert not QualityMetric.objects.filter(key__startswith="agreement:").exists()


def test_agreement_waits_for_its_age_and_is_counted_once() -> None:
    both("r1", 0.9)
    assert run(DUE - BUCKET) == 0
    assert read() == []
    assert run(DUE) == 1
    first = read()
    assert [run(DUE + i * BUCKET) for i in range(3)] == [0, 0, 0]
    assert read() == first
    assert read(until=DUE) == []
    assert read(after=DUE, until=DUE + BUCKET) == first


def test_agreement_becomes_visible_behind_what_was_read_when_runs_were_missed() -> None:
    run(BUCKET_AT)
    both("r1", 0.9)
    both("r2", 0.1, occurred_at=NOW + 3 * BUCKET)
    late = DUE + 3 * DAY
    rollups.roll_up(late + timedelta(seconds=61))
    assert read() == []
    assert run(late) == 2
    assert [(bucket.at, bucket.moments.n, bucket.moments.mean) for bucket in read()] == [(late, 2, 0.5)]


def test_agreement_catches_up_in_pieces_over_gaps(monkeypatch: Any) -> None:
    run(BUCKET_AT - 100 * DAY)
    for i in range(12):
        at = NOW - timedelta(days=50 * (i // 6), minutes=3 * i)
        respond(f"r{i}", occurred_at=at, now=at)
        judge(f"r{i}", helpful=0.9, now=at)
        rate(f"r{i}", now=at)
    monkeypatch.setattr(agreement, "RESPONSES_PER_PIECE", 3)
    monkeypatch.setattr(agreement, "PIECES_PER_RUN", 2)
    counts = [run(DUE) for _ in range(9)]
    assert sum(counts) == 12
    assert max(counts) <= 8
    assert counts[-1] == 0
    assert sum(bucket.moments.n for bucket in read(not_before=NOW - 99 * DAY)) == 12


def test_agreement_leaves_out_what_came_later_however_late_it_is_counted() -> None:
    both("r1", 0.9)
    both("changed", 0.9)
    both("withdrawn", 0.9)
    respond("late-feedback")
    judge("late-feedback", helpful=0.9)
    respond("late-value")
    rate("late-value")
    for response_id in ("late-response", "in-time"):
        judge(response_id, helpful=0.9)
        rate(response_id)
    respond("in-time", now=DUE - timedelta(seconds=1))
    respond("late-response", now=DUE)
    rate("changed", "negative", now=DUE - timedelta(seconds=1))
    rate("changed", "positive", now=DUE)
    gone = rate("withdrawn", "positive")
    withdraw(gone, now=DUE)
    rate("late-feedback", now=DUE)
    judge("late-value", helpful=0.9, now=DUE)
    run(DUE + 5 * DAY)
    assert numbers() == [(4, 0.75)]


def test_agreement_follows_withdrawals_majority_and_leaves_out_ties() -> None:
    both("tie", 0.9)
    rate("tie", "negative", user_id="second")
    both("majority", 0.9, "negative")
    for user in ("second", "third"):
        rate("majority", user_id=user)
    both("neutral", 0.9, "neutral")
    respond("gone")
    judge("gone", helpful=0.9)
    withdraw(rate("gone"))
    run(DUE)
    assert numbers() == [(1, 1.0)]


def test_agreement_takes_the_mean_of_several_judges_and_no_human() -> None:
    both("r1", 0.2)
    judge("r1", "second", helpful=1.0)
    judge("r1", "third", "code", helpful=0.9)
    judge("r1", "person", "human", helpful=0.0)
    respond("own", metrics={"helpful": 0.7})
    rate("own", "negative")
    run(DUE)
    assert numbers() == [(2, 0.5)]


@pytest.mark.parametrize(
    ("changes", "values", "expected"),
    [
        ({"direction": "lower"}, (0.5, 0.51), [(2, 0.5)]),
        ({"direction": "lower", "good_from": 0.6}, (0.5, 0.51), [(2, 1.0)]),
        ({"good_from": 0.51}, (0.5, 0.51), [(2, 0.5)]),
        ({"low": -10.0, "high": 10.0}, (-1.0, 0.0), [(2, 0.5)]),
        ({"kind": "positive"}, (7.0, 8.0), []),
        ({"kind": "positive", "good_from": 7.5}, (7.0, 8.0), [(2, 0.5)]),
        ({"direction": "none"}, (0.9, 0.9), []),
    ],
)
def test_agreement_line_is_that_of_the_metric(
    changes: dict[str, Any], values: tuple[float, ...], expected: Any
) -> None:
    QualityMetric.objects.filter(key="helpful").update(**changes)
    for i, value in enumerate(values):
        both(f"r{i}", value)
    run(DUE)
    assert numbers() == expected


def test_agreement_with_a_field_of_the_response() -> None:
    for key, kind, line in (("latency_seconds", "positive", 2.0), ("error", "rate", None)):
        values = {"kind": kind, "direction": Direction.LOWER, "good_from": line}
        QualityMetric.objects.update_or_create(key=key, defaults=values)
    for i, seconds in enumerate((1.0, 2.0, 3.0, None)):
        respond(f"r{i}", latency_seconds=seconds)
        rate(f"r{i}")
    run(DUE)
    assert numbers(key="latency_seconds") == [(3, 2 / 3)]
    assert numbers(key="error") == [(4, 1.0)]


def test_agreement_that_fails_half_way_leaves_nothing_and_the_next_one_takes_all(monkeypatch: Any) -> None:
    both("r1", 0.9)
    run(DUE - BUCKET)
    with monkeypatch.context() as patch:
        rollups.roll_up(DUE + timedelta(seconds=61))
        patch.setattr("feedback.cells.copy_in", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            agreement.take_in(DUE)
    assert run(DUE) == 1
    assert numbers() == [(1, 1.0)]


def test_agreement_by_many_at_once_counts_once() -> None:
    for i in range(20):
        both(f"r{i}", 0.9)
    rollups.roll_up(DUE + timedelta(seconds=61))
    counts: list[int] = []

    def work() -> None:
        counts.append(agreement.take_in(DUE))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.append(agreement.take_in(DUE))
    assert sum(counts) == 20
    assert numbers() == [(20, 1.0)]


def test_rebuild_counts_agreement_anew_where_it_was_seen_already(settings: Any) -> None:
    both("old", 0.9, attributes={"tenant": "t"})
    run(DUE)
    before = read()
    settings.SLICE_ATTRIBUTES = ["tenant"]
    both("new", 0.1, occurred_at=NOW + BUCKET)
    rollups.rebuild()
    assert read() == []
    run(DUE + 4 * BUCKET)
    assert read(until=DUE + BUCKET) == before
    assert [bucket.at for bucket in read("tenant")] == [DUE]
    assert [(bucket.at, bucket.moments.mean) for bucket in read()] == [(DUE, 1.0), (DUE + 4 * BUCKET, 0.0)]


def test_agreement_key_of_any_length_fits() -> None:
    key = "k" * 64
    QualityMetric.objects.create(key=key, kind=MetricKind.RATE, direction=Direction.HIGHER)
    respond("r1")
    values: dict[str, Any] = {key: 1.0}
    judge("r1", **values)
    rate("r1")
    run(DUE)
    assert numbers(key=key) == [(1, 1.0)]


def test_rollup_task_compares_too_even_when_the_rollups_complain(monkeypatch: Any) -> None:
    both("r1", 0.9)
    monkeypatch.setattr("feedback.tasks.timezone.now", lambda: DUE + timedelta(seconds=61))
    tasks.roll_up()
    assert RollupCursor.objects.filter(name="agreement").exists()
    assert numbers() == [(1, 1.0)]
    both("r2", 0.9, occurred_at=NOW + BUCKET)
    monkeypatch.setattr("feedback.tasks.timezone.now", lambda: DUE + BUCKET + timedelta(seconds=61))
    monkeypatch.setattr(rollups, "_PATIENCE", timedelta(days=-1))
    with pytest.raises(rollups.ClockJumped):
        tasks.roll_up()
    assert [bucket.moments.n for bucket in read()] == [1, 1]


def test_rollup_waits_while_agreement_is_written_so_that_monitors_miss_nothing(monkeypatch: Any) -> None:
    both("r1", 0.9)
    rollups.roll_up(DUE + timedelta(seconds=61))
    write = agreement._write

    def write_slowly(*given: Any) -> None:
        write(*given)

        def roll_up() -> None:
            rollups.roll_up(DUE + DAY)
            connection.close()

        other = threading.Thread(target=roll_up)
        other.start()
        other.join()

    monkeypatch.setattr(agreement, "_write", write_slowly)
    assert agreement.take_in(DUE) == 1
    assert stats.closed_until() == DUE
    rollups.roll_up(DUE + DAY)
    assert [bucket.at for bucket in read(after=DUE, until=stats.closed_until())] == [DUE]


def test_agreement_is_read_once_by_a_monitor_whatever_runs_when() -> None:
    run(BUCKET_AT - BUCKET)
    rng = random.Random(7)
    seen, watermark = 0, BUCKET_AT - BUCKET
    for step in range(40):
        now = BUCKET_AT + step * 4 * BUCKET
        respond(f"r{step}", occurred_at=now, now=now)
        judge(f"r{step}", helpful=0.9, now=now)
        rate(f"r{step}", now=now)
        for job in rng.sample([rollups.roll_up, agreement.take_in, rollups.roll_up], rng.randrange(4)):
            job(now + DAY * (step // 20))
        closed = stats.closed_until()
        assert closed is not None
        seen += sum(bucket.moments.n for bucket in read(after=watermark, until=closed))
        watermark = closed
    run(DUE + 9 * DAY)
    rollups.roll_up(DUE + 10 * DAY)
    seen += sum(bucket.moments.n for bucket in read(after=watermark))
    assert seen == 40
    assert sum(bucket.moments.n for bucket in read()) == 40


def test_agreement_age_is_that_of_the_setting(settings: Any) -> None:
    settings.AGREEMENT_HOURS = 2
    both("r1", 0.9)
    assert run(BUCKET_AT + timedelta(hours=2)) == 0
    assert run(BUCKET_AT + timedelta(hours=2) + BUCKET) == 1


def test_age_of_the_rollups_is_not_that_of_the_agreement() -> None:
    run(DUE)
    RollupCursor.objects.filter(name="agreement").update(updated_at=NOW - 99 * DAY)
    now = datetime.now(UTC)
    RollupCursor.objects.filter(name="facts").update(updated_at=now)
    age = next(metric for metric in state() if metric.name == "triageops_rollup_age_seconds")
    assert age.samples[0].value < 60
