"""Buckets that are looked at when they have a certain age: agreement with people, and volumes."""

import random
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from feedback import agreement, rollups, stats
from feedback.models import Direction, MetricKind, QualityMetric, Rollup, RollupCursor
from monitoring import checks, lifecycle, sources
from monitoring.models import DriftEvaluation, Incident, Marker, Monitor
from monitoring.sources import AGREEMENT, VOLUME, source_named
from tests.feedback import facts
from tests.monitoring.factories import (
    BUCKET,
    add_values,
    bucket_at,
    close,
    make_metric,
    now_after,
    roll_hours,
)
from tests.monitoring.test_learned_checks import LEARNT, make_learner

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
LATE = 289
"""Buckets after which an agreement is written."""


def make_agreement() -> Monitor:
    return make_learner(name="agreement", kind="rate", metric=AGREEMENT + "helpfulness")


def judged(start: int, end: int, share: float, *, model: str) -> None:
    rng = np.random.default_rng([start, len(model)])
    for number in range(start, end):
        values = (rng.random(30) < share).astype(float).tolist()
        add_values(number, values, metric=AGREEMENT + "helpfulness", late_by=LATE, model=model)


def close_agreement(number: int) -> None:
    """All facts of this bucket's next day are counted, and its agreement is written."""
    close(number + LATE)
    values = {"tx": "0", "closed_until": bucket_at(number + 1), "updated_at": timezone.now()}
    RollupCursor.objects.update_or_create(name="agreement", defaults=values)


def activate(monitor: Monitor) -> Monitor:
    lifecycle.activate(monitor, now=bucket_at(LEARNT), without_backtest="a test")
    monitor.refresh_from_db()
    return monitor


def watch_agreement(fallen: float) -> Monitor:
    """One model falls to this share from bucket 20 to 40 of 60."""
    judged(0, LEARNT, 0.9, model="a")
    judged(0, LEARNT, 0.9, model="bb")
    close_agreement(LEARNT - 1)
    roll_hours()
    monitor = activate(make_agreement())
    judged(LEARNT, LEARNT + 60, 0.9, model="bb")
    judged(LEARNT, LEARNT + 20, 0.9, model="a")
    judged(LEARNT + 20, LEARNT + 40, fallen, model="a")
    judged(LEARNT + 40, LEARNT + 60, 0.9, model="a")
    Rollup.objects.filter(grain_seconds=3600).delete()
    roll_hours()
    return monitor


def check(number: int) -> int:
    close_agreement(number)
    return checks.run_due(now_after(number + LATE))


def test_agreement_finds_a_fall_when_and_where_it_was() -> None:
    monitor = watch_agreement(0.3)
    assert check(LEARNT + 59) == 60
    incident = Incident.objects.get()
    assert bucket_at(LEARNT + 19) <= incident.onset_at <= bucket_at(LEARNT + 22)
    best = incident.evidence["explanation"]["best"]
    assert (best["dimension"], best["value"]) == ("model", "a")
    times = DriftEvaluation.objects.order_by("bucket_at").values_list("bucket_at", flat=True)
    assert list(times) == [bucket_at(LEARNT + number) for number in range(60)]
    monitor.refresh_from_db()
    assert monitor.last_row_at == bucket_at(LEARNT + 59)


def test_agreement_under_a_marker_is_no_evidence_and_no_other_is_frozen() -> None:
    watch_agreement(0.3)
    Marker.objects.create(
        kind="deploy", name="a", starts_at=bucket_at(LEARNT + 20), ends_at=bucket_at(LEARNT + 40)
    )
    check(LEARNT + 59)
    assert not Incident.objects.exists()
    frozen = DriftEvaluation.objects.filter(is_frozen=True).order_by("bucket_at")
    assert [one.bucket_at for one in frozen] == [bucket_at(LEARNT + number) for number in range(20, 40)]


def test_agreement_that_is_not_written_yet_is_waited_for() -> None:
    monitor = watch_agreement(0.9)
    check(LEARNT + 9)
    monitor.refresh_from_db()
    assert monitor.watermark_at == bucket_at(LEARNT + 10 + LATE)
    close(LEARNT + 59 + LATE)
    Monitor.objects.update(due_at=monitor.started_at)
    checks.run_due(now_after(LEARNT + 59 + LATE))
    monitor.refresh_from_db()
    assert monitor.watermark_at == bucket_at(LEARNT + 10 + LATE)
    assert DriftEvaluation.objects.count() == 10
    assert check(LEARNT + 59) == 50


def test_agreement_is_read_once_and_complete_whatever_runs_when() -> None:
    QualityMetric.objects.create(
        key="helpful", kind=MetricKind.BOUNDED, low=0, high=1, direction=Direction.HIGHER
    )
    source = source_named(AGREEMENT + "helpful")
    rng, start = random.Random(3), facts.BUCKET_AT - BUCKET
    seen: list[sources.Bucket] = []
    watermark = start

    def read() -> datetime:
        ripe = max(watermark, source.ripe_until() or watermark)
        seen.extend(source.closed(where={}, split_by=(), after=watermark, until=ripe, not_before=start))
        return ripe

    rollups.roll_up(start)
    for step in range(40):
        now = facts.BUCKET_AT + step * 4 * BUCKET
        facts.respond(f"r{step}", occurred_at=now, now=now)
        facts.judge(f"r{step}", helpful=0.9, now=now)
        facts.rate(f"r{step}", now=now)
        for job in rng.sample([rollups.roll_up, agreement.take_in, rollups.roll_up], rng.randrange(4)):
            job(now + DAY * (step // 20))
        watermark = read()
        if step == 30:
            rollups.rebuild()
    for day in (9, 10):
        rollups.roll_up(facts.BUCKET_AT + day * DAY)
        agreement.take_in(facts.BUCKET_AT + day * DAY)
    watermark = read()
    assert [bucket.at for bucket in seen] == [facts.BUCKET_AT + step * 4 * BUCKET for step in range(40)]
    assert {bucket.sample.n for bucket in seen} == {1}


def batched(start: int, end: int, per_bucket: float = 100.0) -> None:
    """Clients send every three buckets what came in them."""
    rng = np.random.default_rng([5, start])
    for number in range(start, end):
        values = [0.0] * int(rng.poisson(per_bucket))
        if values:
            add_values(number, values, metric="error", late_by=2 - number % 3)


def watch_volume() -> Monitor:
    monitor = make_learner(kind="volume", metric=VOLUME, name="traffic")
    batched(0, LEARNT)
    close(LEARNT - 1)
    return activate(monitor)


def run(until: int) -> int:
    close(until)
    return checks.run_due(now_after(until))


def test_volume_that_is_sent_in_batches_is_usual() -> None:
    watch_volume()
    batched(LEARNT, LEARNT + 60)
    for number in range(LEARNT, LEARNT + 60):
        run(number)
    assert not Incident.objects.exists()
    rows = DriftEvaluation.objects.order_by("bucket_at")
    assert [row.bucket_at for row in rows] == [bucket_at(LEARNT + number) for number in range(57)]
    assert min(row.n for row in rows) > 50


def test_volume_that_stops_is_found_soon_after_it_is_ripe() -> None:
    watch_volume()
    batched(LEARNT, LEARNT + 30)
    run(LEARNT + 29)
    assert not Incident.objects.exists()
    run(LEARNT + 36)
    assert Incident.objects.get().onset_at == bucket_at(LEARNT + 30)


def test_maturity_can_be_chosen_for_what_comes_late_and_for_nothing_else() -> None:
    make_metric()
    hour = timedelta(hours=1)
    assert source_named(VOLUME).maturity == timedelta(minutes=15)
    assert source_named(VOLUME, hour).maturity == hour
    assert source_named("feedback:negative").maturity == 6 * hour
    assert source_named("feedback:negative", timedelta(minutes=61)).maturity == timedelta(minutes=65)
    assert source_named(AGREEMENT + "helpfulness", hour).maturity == agreement.age()
    assert source_named("helpfulness", hour).maturity == timedelta(0)


def test_ripe_until_is_what_is_closed_but_for_agreement() -> None:
    make_metric()
    close(5)
    known: Any = {key: source_named(key).ripe_until() for key in ("error", VOLUME, AGREEMENT + "helpfulness")}
    assert known == {
        "error": stats.closed_until(),
        VOLUME: stats.closed_until(),
        AGREEMENT + "helpfulness": None,
    }
