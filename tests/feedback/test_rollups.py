import contextlib
import io
import random
import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection

from feedback import cells, ingest, rollups, spans, stats
from feedback.models import ApiKey, Feedback, FeedbackRollup, QualityMetric, Response, Rollup
from feedback.shapes import RESPONSE_METRICS, FeedbackShape, QualityShape, ResponseShape
from feedback.stats import Cut, Window
from feedback.tables import FEEDBACK, QUALITY_RECORDS, RESPONSES
from triageops.stats.moments import Moments

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 5, 12, 34, 56, tzinfo=UTC)
WEEK = Window.last(timedelta(days=7), NOW)
EVERYTHING = Cut({})


@pytest.fixture(autouse=True)
def key_id() -> int:
    key = ApiKey(name="k", scopes=[])
    key.take_secret("s")
    key.save()
    return key.pk


def respond(key_id: int, response_id: str, **fields: Any) -> None:
    item = ResponseShape(response_id=response_id, **({"occurred_at": NOW - timedelta(hours=2)} | fields))
    ingest.record(RESPONSES, item, key_id, NOW)


def rate(key_id: int, response_id: str, feedback_type: str = "positive", **fields: Any) -> str:
    item = FeedbackShape(response_id=response_id, feedback_type=feedback_type, **({"user_id": "u"} | fields))  # type: ignore[arg-type]
    return ingest.record(FEEDBACK, item, key_id, NOW).stored.id


def judge(key_id: int, response_id: str, evaluator: str = "judge", **metrics: float | None) -> None:
    item = QualityShape(
        response_id=response_id, evaluator_kind="llm_judge", evaluator_name=evaluator, metrics=metrics,
    )  # fmt: skip
    ingest.record(QUALITY_RECORDS, item, key_id, NOW)


def only(metric: str, cut: Cut = EVERYTHING) -> stats.MetricStats:
    (found,) = stats.quality_stats(WEEK, cut, [metric])
    return found


def tally(window: Window = WEEK) -> dict[str, Any]:
    found = stats.feedback_stats(window, EVERYTHING)
    counts = {name: line.count for name, line in found[0].by_type.items()} if found else {}
    return {name: count for name, count in counts.items() if count} | {
        "unmatched": stats.unmatched_count(window)
    }


def test_rollup_equals_numpy_however_it_is_cut_into_batches(key_id: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(spans, "BATCH", 7)
    rng = np.random.default_rng(5)
    values = rng.lognormal(0, 1, 300)
    models = rng.choice(["a", "b"], 300)
    for i, (value, model) in enumerate(zip(values, models, strict=True)):
        at = NOW - timedelta(minutes=int(rng.integers(0, 6 * 24 * 60)))
        respond(key_id, f"r{i}", occurred_at=at, latency_seconds=float(value), model=str(model))
        if i % 50 == 0:
            rollups.roll_up(NOW)
    rollups.roll_up(NOW)
    for model in "ab":
        chosen = values[models == model]
        (found,) = stats.quality_stats(WEEK, Cut({}, ("model",)), ["latency_seconds"])[
            ord(model) - ord("a") :
        ][:1]
        assert found.group == (model,)
        assert found.n == chosen.size
        assert found.moments.mean == pytest.approx(chosen.mean(), rel=1e-12)
        assert found.moments.sd == pytest.approx(chosen.std(ddof=1), rel=1e-12)
        assert (found.minimum, found.maximum) == (chosen.min(), chosen.max())
        for q, got, error in ((0.5, found.p50, found.p50_error), (0.95, found.p95, found.p95_error)):
            assert abs(got - np.quantile(chosen, q, method="inverted_cdf")) <= error


def test_rollup_counts_a_transaction_that_commits_after_a_later_one_exactly_once(key_id: int) -> None:
    slow = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
    respond(key_id, "template")
    with contextlib.closing(slow), slow.cursor() as cursor:
        cursor.execute(
            "INSERT INTO feedback_response SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(),"
            " 'response_id', 'slow', 'tx', pg_current_xact_id()::text))).* FROM feedback_response r"
        )
        respond(key_id, "fast")
        rollups.roll_up(NOW)
        assert only("error").n == 1  # "fast" has to wait: its transaction began after one that still runs
        slow.commit()
    rollups.roll_up(NOW)
    assert only("error").n == 3
    rollups.roll_up(NOW)
    assert only("error").n == 3


def test_rollup_that_fails_half_way_leaves_nothing_and_the_next_one_takes_all(
    key_id: int, monkeypatch: Any
) -> None:
    respond(key_id, "r1")
    with monkeypatch.context() as patch:
        patch.setattr("feedback.tallies.take_in", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rollups.roll_up(NOW)
    assert Rollup.objects.count() == 0
    rollups.roll_up(NOW)
    assert only("error").n == 1


def test_rollup_by_many_at_once_counts_once(key_id: int) -> None:
    for i in range(50):
        respond(key_id, f"r{i}")

    def run() -> None:
        rollups.roll_up(NOW)
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rollups.roll_up(NOW)
    assert only("error").n == 50


def test_quality_counts_once_whether_it_comes_before_or_after_its_response(key_id: int) -> None:
    judge(key_id, "r1", win=1.0)
    rollups.roll_up(NOW)
    assert stats.quality_stats(WEEK, EVERYTHING, ["win"]) == []
    respond(key_id, "r1", variant="v")
    rollups.roll_up(NOW)
    judge(key_id, "r1", "other", win=0.0)
    respond(key_id, "r2", variant="v")
    judge(key_id, "r2", win=None)
    rollups.roll_up(NOW)
    found = only("win", Cut({"variant": "v"}))
    assert (found.n, found.null_count, found.moments.mean) == (2, 1, 0.5)
    by_evaluator = stats.quality_stats(WEEK, Cut({}, ("evaluator",)), ["win"])
    assert {line.group[0]: line.n for line in by_evaluator} == {"llm_judge:judge": 1, "llm_judge:other": 1}


def test_unknown_metric_is_kept_and_waits_for_an_admin(key_id: int) -> None:
    respond(key_id, "r1", metrics={"novel": -3.5})
    rollups.roll_up(NOW)
    assert [metric.key for metric in QualityMetric.objects.discovered()] == ["novel"]
    assert only("novel").p50 == pytest.approx(-3.5, rel=0.01)
    QualityMetric.objects.filter(key="novel").update(kind="bounded", low=0, high=1)
    respond(key_id, "r2", metrics={"novel": 0.5})
    rollups.roll_up(NOW)
    found = only("novel")
    assert found.n == 2
    assert found.minimum == -3.5


def test_metric_names_beyond_the_limit_are_not_counted(key_id: int, monkeypatch: Any) -> None:
    known = {*QualityMetric.objects.values_list("key", flat=True), *RESPONSE_METRICS}
    monkeypatch.setattr(rollups, "MAX_METRICS", len(known) + 2)
    respond(key_id, "r1", metrics={f"m{i}": float(i) for i in range(9)}, latency_seconds=2.0)
    rollups.roll_up(NOW)
    assert {metric.key for metric in QualityMetric.objects.discovered()} == {"m0", "m1"}
    assert {line.metric for line in stats.quality_stats(WEEK, EVERYTHING)} == {"m0", "m1", *RESPONSE_METRICS}


def test_slices_beyond_the_limit_are_counted_together(key_id: int, settings: Any) -> None:
    settings.MAX_SLICES = 3
    for i in range(9):
        respond(key_id, f"r{i}", model=f"m{i}", attributes={"language": f"l{i}"})
        rollups.roll_up(NOW)
    assert sum(line.n for line in stats.quality_stats(WEEK, Cut({}, ("model",)), ["error"])) == 9
    assert sum(line.n for line in stats.quality_stats(WEEK, Cut({}, ("language",)), ["error"])) == 9
    assert cells.OTHER in {
        line.group[0] for line in stats.quality_stats(WEEK, Cut({}, ("model",)), ["error"])
    }


def test_late_facts_keep_their_bucket_and_become_visible_in_the_next_one(key_id: int) -> None:
    at = NOW - timedelta(minutes=1)
    respond(key_id, "in-time", occurred_at=at, latency_seconds=1.0)
    rollups.roll_up(NOW)
    later = NOW + timedelta(minutes=10)
    rollups.roll_up(later)
    closed = stats.closed_until()
    assert closed == datetime(2026, 3, 5, 12, 40, tzinfo=UTC)
    first = _closed(NOW - timedelta(hours=1), closed)
    assert [(bucket.at, bucket.moments.n) for bucket in first] == [
        (datetime(2026, 3, 5, 12, 30, tzinfo=UTC), 1)
    ]
    respond(key_id, "late", occurred_at=at, latency_seconds=3.0)
    rollups.roll_up(later)
    assert _closed(NOW - timedelta(hours=1), closed) == first
    rollups.roll_up(later + timedelta(minutes=5))
    (second,) = _closed(closed, stats.closed_until())
    assert (second.moments.n, second.moments.mean) == (1, 3.0)
    assert only("latency_seconds").n == 2
    assert _closed(closed, stats.closed_until(), not_before=NOW) == []


def _closed(
    after: datetime, until: datetime | None, not_before: datetime | None = None
) -> list[stats.ClosedBucket]:
    assert until is not None
    return stats.closed_buckets(
        "latency_seconds", where={}, split_by=("model",), after=after, until=until,
        not_before=not_before or NOW - timedelta(days=1),
    )  # fmt: skip


def test_bucket_stays_open_while_a_batch_is_left(key_id: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(spans, "BATCH", 2)
    for i in range(5):
        respond(key_id, f"r{i}", occurred_at=NOW - timedelta(minutes=1), latency_seconds=1.0)
    rollups.roll_up(NOW + timedelta(hours=1))
    (bucket,) = _closed(NOW - timedelta(hours=1), stats.closed_until())
    assert bucket.moments.n == 5


def test_feedback_is_unmatched_until_its_response_comes(key_id: int) -> None:
    rate(key_id, "r1", occurred_at=NOW - timedelta(hours=1))
    rollups.roll_up(NOW)
    assert tally() == {"unmatched": 1}
    respond(key_id, "r1")
    rollups.roll_up(NOW)
    assert tally() == {"positive": 1, "unmatched": 0}


def test_feedback_statistics_follow_changes_withdrawals_and_coverage(key_id: int) -> None:
    for i in range(4):
        respond(key_id, f"r{i}", variant="v")
    rate(key_id, "r0", rating=5, comment="good")
    rate(key_id, "r0", "negative", rating=1, user_id="second")
    gone = rate(key_id, "r1", rating=4)
    rollups.roll_up(NOW)
    rate(key_id, "r0", "neutral", rating=3)
    ingest.withdraw(gone, key_id=key_id, now=NOW)
    rollups.roll_up(NOW)
    (found,) = stats.feedback_stats(WEEK, Cut({}, ("variant",)))
    assert (found.responses, found.responses_with_feedback, found.coverage) == (4, 1, 0.25)
    assert {name: line.count for name, line in found.by_type.items()} == {
        "positive": 0,
        "negative": 1,
        "neutral": 1,
    }
    assert found.by_type["neutral"].average_rating == 3.0
    assert found.by_type["neutral"].comment_count == 0
    assert found.coverage_interval is not None
    assert found.coverage_interval.low == pytest.approx(0.0456, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_feedback_tallies_equal_a_recount_after_any_sequence(
    key_id: int, seed: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(spans, "BATCH", 3)
    rng = random.Random(seed)
    ids: dict[tuple[str, str], str] = {}
    for minute in range(120):
        response_id, user = f"r{rng.randrange(6)}", f"u{rng.randrange(3)}"
        match rng.randrange(6):
            case 0 if not Response.objects.filter(response_id=response_id).exists():
                respond(key_id, response_id, attributes={"language": rng.choice(["en", "es"])})
            case 1 if (response_id, user) in ids:
                ingest.withdraw(ids[response_id, user], key_id=key_id, now=NOW)
            case 2:
                rollups.roll_up(NOW + timedelta(minutes=minute))
            case _:
                rating, comment = rng.choice([None, 1, 5]), rng.choice(["", "x"])
                feedback_type = rng.choice(["positive", "negative"])
                ids[response_id, user] = rate(
                    key_id, response_id, feedback_type, user_id=user, rating=rating, comment=comment,
                    occurred_at=NOW - timedelta(minutes=rng.randrange(90)),
                )  # fmt: skip
    rollups.roll_up(NOW + timedelta(hours=3))
    known = set(Response.objects.values_list("response_id", flat=True))
    standing = [row for row in Feedback.objects.filter(withdrawn_at=None) if row.response_id in known]
    expected: dict[str, Counter[str]] = defaultdict(Counter)
    for row in standing:
        expected[row.feedback_type].update(
            count=1, comments=int(bool(row.comment)), ratings=int(row.rating is not None)
        )
    for found in stats.feedback_stats(WEEK, EVERYTHING):
        for name, line in found.by_type.items():
            assert (line.count, line.comment_count, line.rating_count) == tuple(
                expected[name][part] for part in ("count", "comments", "ratings")
            )
        assert found.responses_with_feedback == len({row.response_id for row in standing})
    assert stats.unmatched_count(WEEK) == Feedback.objects.filter(withdrawn_at=None).count() - len(standing)
    sums = Counter[str]()
    for tallied in FeedbackRollup.objects.filter(grain_seconds=3600).select_related("slice"):
        if tallied.slice.attribute == "language" and tallied.feedback_type == "positive":
            sums["positive"] += tallied.count
    assert sums["positive"] == expected["positive"]["count"]


def test_statistics_refuse_dimensions_that_are_not_kept(key_id: int) -> None:
    with pytest.raises(stats.UnknownDimension):
        Cut({}, ("colour",))
    with pytest.raises(stats.UnknownDimension):
        Cut({"language": "en"}, ("channel",))


def test_window_reads_whole_hours_and_fine_buckets_at_its_edge(key_id: int) -> None:
    for minutes in (1, 30, 61, 125, 200):
        respond(key_id, f"r{minutes}", occurred_at=NOW - timedelta(minutes=minutes))
    rollups.roll_up(NOW)
    for minutes, expected in ((5, 1), (40, 2), (65, 3), (130, 4), (300, 5)):
        window = Window.last(timedelta(minutes=minutes), NOW)
        found = stats.quality_stats(window, EVERYTHING, ["error"])
        assert sum(line.n for line in found) == expected, minutes
    series = stats.quality_series("error", Window.last(timedelta(hours=6), NOW), EVERYTHING)
    assert sum(point.n for point in series) == 5
    assert sum(point.n for point in stats.feedback_series(WEEK, EVERYTHING)) == 5


def test_restore_into_a_new_cluster_is_noticed_and_rebuilt(key_id: int) -> None:
    respond(key_id, "r1", latency_seconds=1.0)
    rate(key_id, "r1")
    rollups.roll_up(NOW)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE feedback_response SET tx = '9000000000000'")
        cursor.execute("UPDATE feedback_rollupcursor SET tx = '9000000000001'")
    respond(key_id, "r2", latency_seconds=3.0)
    with pytest.raises(spans.CursorAhead, match="rebuild_rollups"):
        rollups.roll_up(NOW)
    call_command("rebuild_rollups", stdout=io.StringIO())
    assert only("latency_seconds").moments == Moments(2, 2.0, 2.0)
    assert tally() == {"positive": 1, "unmatched": 0}


def test_quantiles_lie_within_what_was_seen(key_id: int) -> None:
    for i in range(5):
        respond(key_id, f"r{i}", latency_seconds=1e6 + i)
    rollups.roll_up(NOW)
    found = only("latency_seconds")
    assert found.p95 is not None
    assert 1e6 <= found.p95 <= 1e6 + 4


def test_open_transaction_holds_its_bucket_open_and_is_complained_of(key_id: int) -> None:
    other = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
    with contextlib.closing(other), other.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        now = datetime.now(UTC)
        with pytest.raises(rollups.HeldBack, match="end it"):
            rollups.roll_up(now + timedelta(minutes=20))
        closed = stats.closed_until()
        assert closed is not None
        assert closed <= now
    rollups.roll_up(now + timedelta(minutes=20))
    assert stats.closed_until() == rollups.closing_at(now + timedelta(minutes=20))


def test_clock_that_was_ahead_is_complained_of(key_id: int) -> None:
    rollups.roll_up(NOW + timedelta(days=1))
    with pytest.raises(rollups.ClockJumped, match="in the future"):
        rollups.roll_up(NOW)


def test_attribute_watched_later_than_its_responses_gives_no_coverage(key_id: int, settings: Any) -> None:
    respond(key_id, "r1", attributes={"tenant": "t"})
    rollups.roll_up(NOW)
    settings.SLICE_ATTRIBUTES = ["tenant"]
    rate(key_id, "r1")
    rollups.roll_up(NOW)
    (found,) = stats.feedback_stats(WEEK, Cut({}, ("tenant",)))
    assert (found.coverage, found.coverage_interval) == (None, None)
    rollups.rebuild()
    rollups.roll_up(NOW)
    (found,) = stats.feedback_stats(WEEK, Cut({}, ("tenant",)))
    assert found.coverage == 1.0
