from datetime import timedelta
from typing import Any

import pytest

from feedback import rollups, spans, stats
from feedback.models import FeedbackRollup, Rollup
from tests.feedback.facts import BUCKET, BUCKET_AT, judge, rate, respond, withdraw

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FAR = BUCKET_AT + 30 * DAY


def read(maturity: timedelta) -> dict[str, Any]:
    values: dict[str, Any] = {
        "where": {}, "split_by": ("model",), "after": BUCKET_AT - DAY, "until": FAR, "not_before": BUCKET_AT - DAY,
        "maturity": maturity,
    }  # fmt: skip
    kinds: tuple[Any, ...] = ("negative", "positive", "rating", "coverage")
    return {kind: stats.feedback_buckets(kind, **values) for kind in kinds} | {
        "volume": stats.volume_buckets(**values)
    }


def run(age: timedelta) -> None:
    """The rollups run each minute."""
    now = BUCKET_AT + age
    rollups.roll_up(now - timedelta(seconds=60))
    rollups.roll_up(now)


def fill() -> None:
    """Feedback that comes, changes and goes; responses in time and late; feedback before its response."""
    run(timedelta(0))
    for i in range(6):
        respond(f"r{i}", model=f"m{i % 2}", occurred_at=BUCKET_AT, now=BUCKET_AT + timedelta(minutes=1))
    run(timedelta(minutes=2))
    gone = ""
    for hours, act in enumerate(("rate", "change", "late", "early", "known", "withdraw", "more"), start=1):
        run(hours * HOUR)
        now = BUCKET_AT + hours * HOUR + timedelta(seconds=1)
        if act == "rate":
            gone = rate("r0", "negative", rating=1, now=now)
            rate("r1", "negative", rating=2, now=now)
        elif act == "change":
            rate("r1", "positive", rating=5, now=now)
        elif act == "late":
            respond("late", model="m0", occurred_at=BUCKET_AT, now=now)
        elif act == "early":
            rate("unseen", "negative", now=now)
        elif act == "known":
            respond("unseen", model="m1", occurred_at=BUCKET_AT, now=now)
        elif act == "withdraw":
            withdraw(gone, now=now)
        else:
            rate("r3", "negative", rating=3, now=now)
        run(hours * HOUR + timedelta(minutes=1, seconds=30))
    run(DAY)


@pytest.mark.parametrize("batch", [1, 5_000])
def test_rebuild_keeps_the_age_at_which_everything_came(batch: int, monkeypatch: Any) -> None:
    fill()
    ages = [timedelta(minutes=30) + hours * HOUR for hours in range(9)]
    before = [read(age) for age in ages]
    assert len({str(one) for one in before}) >= 7
    monkeypatch.setattr(spans, "BATCH", batch)
    rollups.rebuild()
    assert not FeedbackRollup.objects.exists()
    run(DAY + HOUR)
    for age, known in zip(ages, before, strict=True):
        assert read(age) == known, age


def test_rebuild_shows_nothing_again_behind_what_was_read() -> None:
    fill()
    judge("r0", helpful=0.5, now=BUCKET_AT + DAY)
    run(DAY + HOUR)
    closed = stats.closed_until()
    assert closed is not None
    rollups.rebuild()
    run(DAY + 2 * HOUR)
    assert Rollup.objects.filter(metric="helpful").exists()
    assert not Rollup.objects.filter(grain_seconds=300, visible_at__gte=closed).exists()
    assert not FeedbackRollup.objects.filter(grain_seconds=300, visible_at__gte=closed).exists()


def test_facts_after_a_rebuild_are_late_by_the_rollups_alone() -> None:
    run(timedelta(0))
    rollups.rebuild()
    run(DAY)
    respond("late", occurred_at=BUCKET_AT, now=BUCKET_AT + 9 * DAY)
    run(DAY + BUCKET)
    assert Rollup.objects.get(metric="error", grain_seconds=300).visible_at == BUCKET_AT + DAY - BUCKET
