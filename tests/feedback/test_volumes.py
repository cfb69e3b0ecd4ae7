import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from feedback import rollups, stats
from feedback.stats.volumes import IMPORTED
from tests.feedback.facts import BUCKET, BUCKET_AT, respond

pytestmark = pytest.mark.django_db(transaction=True)

AGE = 3 * BUCKET
DAY = timedelta(days=1)


def once(after: datetime, until: datetime, *split_by: str, **changes: Any) -> list[stats.Volume]:
    values: dict[str, Any] = {"where": {}, "not_before": BUCKET_AT - 9 * DAY, "maturity": AGE}
    return stats.volume_buckets(split_by=split_by, after=after, until=until, **values | changes)


def past(start: datetime, end: datetime, *split_by: str) -> list[stats.Volume]:
    return stats.past_volumes(where={}, split_by=split_by, start=start, end=end, maturity=AGE)


def send(occurred_at: datetime, received_at: datetime, n: int = 1, **fields: Any) -> None:
    for i in range(n):
        name = f"{occurred_at}/{received_at}/{i}/{fields}"
        respond(name, occurred_at=occurred_at, now=received_at, **fields)


def run(now: datetime) -> None:
    """A minute after the last run, which closed what is before."""
    rollups.roll_up(now - timedelta(seconds=1))
    rollups.roll_up(now)


def test_volume_of_clients_that_send_in_batches_is_even_and_as_it_was_learnt() -> None:
    read: list[stats.Volume] = []
    watermark = BUCKET_AT
    for minute in range(0, 75, 5):
        now = BUCKET_AT + timedelta(minutes=minute, seconds=70)
        rollups.roll_up(now)
        if minute % 15 == 0:
            for bucket in range(3):
                send(BUCKET_AT + timedelta(minutes=minute) - (bucket + 1) * BUCKET, now, 10)
        rollups.roll_up(now)
        closed = stats.closed_until()
        assert closed is not None
        read += once(watermark, closed, not_before=BUCKET_AT)
        watermark = closed
    assert [one.n for one in read] == [10] * len(read)
    assert len(read) == 11
    assert [one.at for one in read] == [BUCKET_AT + i * BUCKET for i in range(11)]
    assert past(BUCKET_AT, BUCKET_AT + 11 * BUCKET) == read


def test_volume_leaves_out_what_came_later_now_as_in_the_past() -> None:
    send(BUCKET_AT, BUCKET_AT + BUCKET, 3, model="a")
    run(BUCKET_AT + BUCKET)
    run(BUCKET_AT + AGE + 3 * BUCKET)
    before = once(BUCKET_AT, BUCKET_AT + DAY, "model")
    assert before == [stats.Volume(BUCKET_AT, ("a",), 3)]
    send(BUCKET_AT, BUCKET_AT + AGE + 3 * BUCKET, 5, model="b")
    run(BUCKET_AT + AGE + 3 * BUCKET)
    assert once(BUCKET_AT, BUCKET_AT + DAY, "model") == before
    assert past(BUCKET_AT - 5 * DAY, BUCKET_AT + 5 * DAY, "model") == before


def test_volume_is_read_once_however_time_is_cut() -> None:
    for i in range(12):
        send(BUCKET_AT + i * BUCKET, BUCKET_AT + i * BUCKET, i + 1)
    run(BUCKET_AT + DAY)
    edges = [BUCKET_AT, BUCKET_AT + 7 * BUCKET / 2, BUCKET_AT + 9 * BUCKET, BUCKET_AT + DAY]
    pieces = [one for after, until in itertools.pairwise(edges) for one in once(after, until)]
    assert [one.n for one in pieces] == list(range(1, 13))
    assert once(BUCKET_AT, BUCKET_AT + DAY, not_before=BUCKET_AT + 11 * BUCKET)[0].n == 12


@pytest.mark.parametrize("trial", [False, True])
def test_past_volume_of_an_import_counts_in_full(trial: bool) -> None:
    start = BUCKET_AT - 7 * DAY
    run(start)
    if trial:
        send(start + 3 * DAY, start + 3 * DAY)
        run(start + 3 * DAY)
    run(BUCKET_AT)
    for day in range(7):
        send(start + day * DAY + 2 * BUCKET, BUCKET_AT, 10)
    for i in range(4):
        send(BUCKET_AT + i * BUCKET, BUCKET_AT + i * BUCKET, 20)
        run(BUCKET_AT + i * BUCKET + timedelta(minutes=2))
    counts = [one.n for one in past(start, BUCKET_AT + 3 * BUCKET)]
    assert counts == [10] * 3 + [1] * trial + [10] * 4 + [20] * 3


def test_past_volume_of_a_batch_a_day_is_no_import() -> None:
    run(BUCKET_AT)
    for day in range(1, 5):
        at = BUCKET_AT + day * DAY
        run(at)
        for hour in range(24):
            send(at - hour * timedelta(hours=1) - BUCKET, at, 10)
        run(at)
    assert timedelta(hours=25) < IMPORTED
    assert [one.n for one in past(BUCKET_AT, BUCKET_AT + 4 * DAY)] == [10] * 4
