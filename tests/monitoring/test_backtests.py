from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from kombu.exceptions import OperationalError

from monitoring import backtests, hindsight, lifecycle, questions, tasks
from monitoring.models import Backtest, BacktestState, Incident, Marker, Monitor, MonitorState, Resolution
from monitoring.models.monitor import ReferenceMode
from monitoring.monitors import changes
from tests.monitoring.factories import (
    BUCKET,
    START,
    add_bucket,
    add_values,
    bucket_at,
    close,
    make_incident,
    make_metric,
)

pytestmark = pytest.mark.django_db

COUNT = 360
"""Buckets of the past."""
NOW = bucket_at(COUNT)


def make_learner(**changes: Any) -> Monitor:
    make_metric()
    values: dict[str, Any] = {
        "name": "helpfulness drift",
        "kind": "distribution",
        "metric": "helpfulness",
        "alarms_per_30_days": 1.0,
    }
    return Monitor.objects.create(**values | changes)


def fill(start: int, end: int, *, mean: float = 0.75, n: int = 20, seed: int = 1, **labels: Any) -> None:
    random = np.random.default_rng([seed, start])
    for number in range(start, end):
        add_values(number, np.clip(random.normal(mean, 0.08, n), 0, 1).tolist(), **labels)
    close(end - 1)


def tried(monitor: Monitor, *, now: datetime = NOW, question: dict[str, Any] | None = None) -> Backtest:
    """Asked and run."""
    backtest = backtests.ask(monitor, question=question, by=None, now=now)
    backtests.run(backtest.pk, clock=lambda: now)
    backtest.refresh_from_db()
    monitor.refresh_from_db()
    return backtest


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def send_task(name: str, *, kwargs: dict[str, str], expires: float) -> None:
        assert (name, expires) == (tasks.run_backtest.name, 30)
        found.append(kwargs["backtest_id"])

    monkeypatch.setattr(current_app, "send_task", send_task)
    return found


def test_backtest_of_a_calm_past_is_calm_and_lets_the_monitor_be_activated() -> None:
    fill(0, COUNT)
    monitor = make_learner()
    backtest = tried(monitor)
    report = backtest.report
    assert (backtest.state, backtest.error, backtest.progress) == (BacktestState.DONE, "", 1.0)
    assert (report["alarm_count"], report["signal_count"], report["is_calm"]) == (0, 0, True)
    assert report["allowed"] == 3.0
    assert report["budget"]["alarms_per_30_days"] == pytest.approx(1.0)
    assert report["budget"]["promised"] == pytest.approx(COUNT * 300 / (30 * 86_400))
    assert monitor.state == MonitorState.BACKTESTED
    assert monitor.reference is not None
    assert monitor.reference.reason == "backtest"
    lifecycle.activate(monitor, now=NOW)
    assert Monitor.objects.get().state == MonitorState.ACTIVE


def test_backtest_of_a_short_past_says_that_it_knows_too_little() -> None:
    fill(0, COUNT)
    report = tried(make_learner()).report
    assert report["window"] == {"start": START.isoformat(), "end": NOW.isoformat(), "days": 1.25}
    assert report["reference"]["is_before"] is False
    assert report["notes"][0] == "Only 1.2 days of the past are known; 14 would say more about false alarms."
    assert "false alarms are understated" in report["notes"][1]


def test_backtest_of_a_long_past_learns_from_the_time_before_what_it_replays() -> None:
    length = 288 * 24
    # Every sixth bucket: what counts is the time.
    random = np.random.default_rng(4)
    for number in range(0, length, 24):
        add_values(number, np.clip(random.normal(0.75, 0.08, 20), 0, 1).tolist())
    close(length - 1)
    now = bucket_at(length)
    report = tried(make_learner(), now=now).report
    start = now - timedelta(days=14)
    assert report["window"] == {"start": start.isoformat(), "end": now.isoformat(), "days": 14.0}
    assert report["reference"] == {
        "start": (now - timedelta(days=28)).isoformat(),
        "end": start.isoformat(),
        "n": 20 * 10 * 12,
        "is_before": True,
    }
    assert report["notes"] == []


def test_backtest_with_a_trailing_reference_says_that_it_stands_still() -> None:
    fill(0, COUNT)
    monitor = make_learner(reference_mode=ReferenceMode.TRAILING, reference_gap_hours=3)
    report = tried(monitor).report
    assert report["reference"]["end"] == (NOW - timedelta(hours=3)).isoformat()
    assert "stands still" in report["notes"][1]


def test_backtest_shows_a_shift_in_the_past_with_its_onset_and_words() -> None:
    fill(0, 300)
    fill(300, COUNT, mean=0.65)
    end = bucket_at(290)
    monitor = make_learner(reference_start_at=START, reference_end_at=end)
    report = tried(monitor).report
    (whole,) = report["slices"]
    first = whole["alarms"][0]
    assert (report["alarm_count"] > 3, report["is_calm"]) == (True, False)
    # The fall is so large that its first bucket speaks by itself.
    assert (first["label"], first["complaint"], first["is_single"]) == ("down", "fell", True)
    assert abs(datetime.fromisoformat(first["onset_at"]) - bucket_at(300)) <= 2 * BUCKET
    assert datetime.fromisoformat(first["at"]) > bucket_at(300)
    assert (first["value"] < 0.7, first["usual"]) == (True, pytest.approx(0.75, abs=0.01))
    assert any("alarms of its own" in note for note in report["notes"])


def test_backtest_finds_larger_changes_sooner() -> None:
    fill(0, COUNT, n=6)
    report = tried(make_learner(parameters={"side": "down"})).report
    found = {one["size"]: one for one in report["injections"]}
    assert [one["name"] for one in report["injections"]] == ["0.25 sd lower", "0.5 sd lower", "1 sd lower"]
    assert found[1.0]["found"] == found[1.0]["tries"] == 5
    assert found[1.0]["median_seconds"] < found[0.5]["median_seconds"]
    assert found[0.25]["found"] <= found[0.5]["found"]
    assert (found[0.25]["median_seconds"] or 1e9) > found[0.5]["median_seconds"]
    assert report["sight"]["down"] > 0


def test_backtest_has_points_of_every_slice_that_pool_all_records() -> None:
    fill(0, COUNT, variant="a")
    fill(0, COUNT, variant="b", n=10, seed=2)
    monitor = make_learner(split_by=["variant"])
    report = tried(monitor).report
    assert [(one["key"], one["name"]) for one in report["slices"]] == [
        ("all", "all records"),
        ("variant=a", "variant a"),
        ("variant=b", "variant b"),
    ]
    for one, n in zip(report["slices"], (30, 20, 10), strict=True):
        assert one["n"] == sum(point[6] for point in one["points"]) == n * COUNT
        assert one["mean"] == pytest.approx(0.75, abs=0.01)
        _, value, low, high, expected, log_evidence, _ = one["points"][10]
        assert low < expected < high
        assert (value, log_evidence < 0) == (pytest.approx(0.75, abs=0.1), True)


def test_backtest_of_many_buckets_pools_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hindsight, "_POINTS", 10)
    fill(0, COUNT)
    (whole,) = tried(make_learner()).report["slices"]
    assert len(whole["points"]) == 10
    assert {point[6] for point in whole["points"]} == {20 * 36}
    assert np.mean([point[1] for point in whole["points"]]) == pytest.approx(whole["mean"], abs=1e-5)


def test_backtest_takes_what_a_marker_covers_for_no_evidence() -> None:
    fill(0, 300)
    fill(300, COUNT, mean=0.6)
    Marker.objects.create(kind="maintenance", name="new model", starts_at=bucket_at(300), ends_at=NOW)
    report = tried(make_learner()).report
    assert (report["alarm_count"], report["signal_count"]) == (0, 0)
    assert [point[5] for point in report["slices"][0]["points"][300:]] == [None] * 60


def test_backtest_of_a_fixed_level_needs_no_reference() -> None:
    fill(0, 50)
    monitor = make_learner(kind="slo_guard", parameters={"level": 0.7, "margin": 0.02})
    backtest = tried(monitor, now=bucket_at(50))
    assert (backtest.state, backtest.report["reference"], backtest.report["sight"]) == ("done", {}, {})
    assert [one["name"] for one in backtest.report["injections"]] == [
        "0.25 sd lower",
        "0.5 sd lower",
        "1 sd lower",
    ]
    assert monitor.state == MonitorState.BACKTESTED


def test_backtest_of_a_volume_shows_silence_too() -> None:
    random = np.random.default_rng(7)
    for number in [*range(300), *range(330, COUNT)]:
        add_bucket(number, 0.0, n=int(random.poisson(40)), sd=0.0, metric="error")
    close(COUNT - 1)
    monitor = make_learner(kind="volume", metric="volume", reference_end_at=bucket_at(300))
    report = tried(monitor).report
    (whole,) = report["slices"]
    assert whole["alarms"][0]["complaint"] == "fell"
    assert bucket_at(300) < datetime.fromisoformat(whole["alarms"][0]["at"]) <= bucket_at(303)
    assert [point[1] for point in whole["points"][300:330]] == [0.0] * 30
    assert report["injections"][0]["name"] == "nothing at all"


def test_backtest_of_a_canary_replays_it_beside_its_control() -> None:
    for at, mean in ((0, 0.75), (150, 0.7)):
        # The control falls along, so nothing differs.
        fill(at, at + 150, mean=mean, variant="control")
        fill(at, at + 150, mean=mean, variant="canary", seed=2)
    monitor = make_learner(
        parameters={"side": "down"},
        where={"variant": "canary"},
        reference_mode=ReferenceMode.VARIANT,
        control={"variant": "control"},
    )
    report = tried(monitor, now=bucket_at(300)).report
    (whole,) = report["slices"]
    assert (report["alarm_count"], whole["n"]) == (0, 300 * 20)
    assert report["injections"][-1]["found"] >= 3
    # What is usual is what the control shows at the same time.
    assert whole["points"][10][4] - whole["points"][-10][4] == pytest.approx(0.05, abs=0.04)


def test_backtest_with_too_little_to_learn_from_fails_with_the_sentence() -> None:
    fill(0, 10)
    monitor = make_learner()
    backtest = tried(monitor, now=bucket_at(10))
    assert backtest.state == BacktestState.FAILED
    assert backtest.error.startswith("The reference has 200 records in 10 buckets")
    assert (monitor.state, monitor.learning_note) == (MonitorState.LEARNING, backtest.error)


def test_backtest_without_numbers_fails_with_the_sentence() -> None:
    close(10)
    backtest = tried(make_learner(kind="slo_guard", parameters={"level": 0.7}), now=bucket_at(11))
    assert backtest.error == "There are no numbers of “helpfulness” in the last 14 days to replay."


def test_backtest_of_values_that_the_kind_cannot_use_fails_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(0, 50)
    monitor = make_learner(kind="slo_guard", parameters={"level": 0.7})
    make_metric(low=0.0, high=0.71)
    backtest = tried(monitor, now=bucket_at(50))
    assert (backtest.state, backtest.error[:11]) == (BacktestState.FAILED, "ValueError:")
    assert "backtest.failed" in caplog.text


def test_backtest_whose_database_fails_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(hindsight, "report_of", fail)
    assert tried(make_learner()).error == "DatabaseError: gone"


def test_asking_twice_at_once_is_refused() -> None:
    monitor = make_learner()
    first = backtests.ask(monitor, by=None, now=NOW)
    with pytest.raises(backtests.BacktestRunning):
        backtests.ask(monitor, by=None, now=NOW)
    assert backtests.cancel(first, now=NOW)
    backtests.ask(monitor, by=None, now=NOW)
    assert list(Backtest.objects.order_by("pk").values_list("state", flat=True)) == ["cancelled", "waiting"]


@pytest.mark.parametrize(
    "question",
    [
        {"parameters": {"level": 0.7}},
        {"kind": "nonsense"},
        {"metric": "unheard of"},
        {"max_slices": 0},
        {"weight": -1.0},
        {"name": "another"},
        {"reference_start_at": "yesterday"},
    ],
)
def test_asking_with_settings_that_no_monitor_may_have_is_refused(question: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        backtests.ask(make_learner(), question=question, by=None, now=NOW)
    assert not Backtest.objects.exists()


def test_asking_writes_down_all_settings_that_are_tried() -> None:
    monitor = make_learner()
    user = User.objects.create(username="ada")
    asked = backtests.ask(monitor, question={"reference_end_at": NOW, "weight": 2}, by=user, now=NOW)
    assert (asked.is_change, asked.asked_by) == (True, user)
    assert asked.question == questions.question_of(monitor) | {
        "reference_end_at": NOW.isoformat(),
        "weight": 2.0,
    }


def test_asking_with_the_settings_in_force_is_no_change() -> None:
    monitor = make_learner()
    asked = backtests.ask(monitor, question=questions.question_of(monitor), by=None, now=NOW)
    assert asked.is_change is False


def test_running_again_what_was_claimed_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(0, 50)
    monitor = make_learner(kind="slo_guard", parameters={"level": 0.7})
    backtest = tried(monitor, now=bucket_at(50))
    monkeypatch.setattr(hindsight, "report_of", lambda *_, **__: pytest.fail("done twice"))
    for state in (BacktestState.DONE, BacktestState.RUNNING, BacktestState.CANCELLED):
        Backtest.objects.update(state=state)
        backtests.run(backtest.pk, clock=lambda: NOW)
        assert Backtest.objects.get().state == state


def test_second_backtest_waits_for_the_first_and_is_begun_after_it(
    sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(0, 50)
    first = make_learner(kind="slo_guard", parameters={"level": 0.7})
    second = make_learner(name="second", kind="slo_guard", parameters={"level": 0.7})
    backtest, waiting = (backtests.ask(one, by=None, now=NOW) for one in (first, second))
    report_of = hindsight.report_of

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        backtests.run(waiting.pk, clock=lambda: NOW)
        waiting.refresh_from_db()
        assert waiting.state == BacktestState.WAITING
        return report_of(*arguments, **options)

    monkeypatch.setattr(hindsight, "report_of", meanwhile)
    backtests.run(backtest.pk, clock=lambda: NOW)
    backtest.refresh_from_db()
    assert backtest.state == BacktestState.DONE
    assert sent == [str(waiting.pk)]


def test_cancelling_stops_the_worker_at_its_next_word(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(0, COUNT)
    monitor = make_learner()
    backtest = backtests.ask(monitor, by=None, now=NOW)

    def cancel_first(*arguments: Any) -> Any:
        assert backtests.cancel(backtest, now=NOW)
        return changes.planned(*arguments)

    monkeypatch.setattr("monitoring.hindsight.planned", cancel_first)
    backtests.run(backtest.pk, clock=lambda: NOW)
    backtest.refresh_from_db()
    monitor.refresh_from_db()
    assert (backtest.state, backtest.report) == (BacktestState.CANCELLED, {})
    assert 0.5 < backtest.progress < 1
    assert (monitor.state, monitor.reference) == (MonitorState.LEARNING, None)
    assert backtests.cancel(backtest, now=NOW) is False


def test_backtest_of_settings_that_were_changed_meanwhile_does_not_settle_the_monitor() -> None:
    fill(0, COUNT)
    monitor = make_learner()
    backtest = backtests.ask(monitor, by=None, now=NOW)
    Monitor.objects.update(parameters={"side": "down"})
    backtests.run(backtest.pk, clock=lambda: NOW)
    monitor.refresh_from_db()
    assert (Backtest.objects.get().state, monitor.state) == (BacktestState.DONE, MonitorState.LEARNING)


def test_applying_a_change_puts_it_into_force_and_ends_the_incidents_of_the_old_question() -> None:
    fill(0, COUNT)
    monitor = make_learner(parameters={"side": "both"})
    tried(monitor)
    lifecycle.activate(monitor, now=NOW)
    # What is shown since it began is not usual, so it has to be after what is learnt.
    incident = make_incident(monitor, onset_at=bucket_at(COUNT - 1), opened_at=bucket_at(COUNT))
    change = tried(monitor, question={"parameters": {"side": "down"}, "alarms_per_30_days": 2.0})
    assert (change.state, change.is_change) == (BacktestState.DONE, True)
    assert monitor.parameters == {"side": "both"}
    user = User.objects.create(username="ada")
    assert backtests.apply(change, by=user, reason="only falls matter", now=NOW) == 1
    monitor.refresh_from_db()
    assert (monitor.parameters, monitor.alarms_per_30_days) == ({"side": "down"}, 2.0)
    assert monitor.state == MonitorState.ACTIVE
    assert monitor.promised_alarms == pytest.approx(2.0)
    assert monitor.reference is not None
    assert (monitor.reference.version, monitor.reference.made_by) == (2, user)
    assert Incident.objects.get(pk=incident.pk).resolution == Resolution.MONITOR_CHANGED


def test_applying_a_change_to_a_monitor_that_learns_makes_it_backtested() -> None:
    fill(0, COUNT)
    monitor = make_learner()
    change = tried(monitor, question={"parameters": {"side": "down"}})
    assert monitor.state == MonitorState.LEARNING
    backtests.apply(change, by=None, reason="", now=NOW)
    monitor.refresh_from_db()
    assert (monitor.state, monitor.parameters) == (MonitorState.BACKTESTED, {"side": "down"})
    assert lifecycle.is_tried(monitor)


def test_applying_what_is_no_finished_change_is_refused() -> None:
    fill(0, 50)
    monitor = make_learner(kind="slo_guard", parameters={"level": 0.7})
    present = tried(monitor, now=bucket_at(50))
    waiting = backtests.ask(monitor, question={"parameters": {"level": 0.6}}, by=None, now=NOW)
    for backtest in (present, waiting):
        with pytest.raises(backtests.NotApplicable):
            backtests.apply(backtest, by=None, reason="", now=NOW)


def test_starting_sends_the_task_after_the_commit(
    sent: list[str], django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    backtest = backtests.ask(make_learner(), by=None, now=NOW)
    with django_capture_on_commit_callbacks(execute=True):
        backtests.start(backtest)
        assert sent == []
    assert sent == [str(backtest.pk)]


def test_broken_broker_loses_nothing_because_the_sweep_starts_it(
    monkeypatch: pytest.MonkeyPatch,
    sent: list[str],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("no broker")

    backtest = backtests.ask(make_learner(), by=None, now=NOW)
    with monkeypatch.context() as patch, django_capture_on_commit_callbacks(execute=True):
        patch.setattr(current_app, "send_task", fail)
        backtests.start(backtest)
        assert backtests.sweep(NOW + timedelta(minutes=1)) == 0
    assert backtests.sweep(NOW + timedelta(seconds=20)) == 0
    assert backtests.sweep(NOW + timedelta(seconds=40)) == 1
    assert sent == [str(backtest.pk)]


def test_sweep_takes_over_from_a_dead_worker_whose_claim_is_over(
    sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(0, 50)
    monitor = make_learner(kind="slo_guard", parameters={"level": 0.7})
    backtest = backtests.ask(monitor, by=None, now=NOW)
    report_of = hindsight.report_of

    def slow(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(hindsight, "report_of", report_of)
        assert backtests.sweep(NOW + timedelta(minutes=9)) == 0
        assert backtests.sweep(NOW + timedelta(minutes=11)) == 1
        return report_of(*arguments, **options)

    monkeypatch.setattr(hindsight, "report_of", slow)
    backtests.run(backtest.pk, clock=lambda: NOW)
    backtest.refresh_from_db()
    assert (backtest.state, backtest.report, set(sent)) == (BacktestState.WAITING, {}, {str(backtest.pk)})
    backtests.run(backtest.pk, clock=lambda: NOW + timedelta(minutes=11))
    assert Backtest.objects.get().state == BacktestState.DONE


def test_worker_that_was_taken_for_dead_writes_nothing_once_another_has_begun(
    sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = NOW + timedelta(minutes=11)
    backtest = backtests.ask(make_learner(), by=None, now=NOW)

    def slow(*_: Any, tell: Callable[[float], None], **__: Any) -> None:
        assert backtests.sweep(later) == 1
        Backtest.objects.update(state=BacktestState.RUNNING, started_at=later)
        tell(0.5)

    monkeypatch.setattr(hindsight, "report_of", slow)
    backtests.run(backtest.pk, clock=lambda: NOW)
    backtest.refresh_from_db()
    assert (backtest.state, backtest.started_at, backtest.progress) == (BacktestState.RUNNING, later, 0.0)


def test_sweep_gives_up_what_never_comes_to_its_end(sent: list[str]) -> None:
    backtests.ask(make_learner(), by=None, now=NOW)
    Backtest.objects.update(state=BacktestState.RUNNING, started_at=NOW + timedelta(minutes=55))
    assert backtests.sweep(NOW + timedelta(minutes=66)) == 1
    found = Backtest.objects.get()
    assert (found.state, "never came to its end" in found.error, sent) == (BacktestState.FAILED, True, [])


def test_tasks_run_and_sweep_backtests(sent: list[str]) -> None:
    fill(0, 50)
    monitor = make_learner(kind="slo_guard", parameters={"level": 0.7})
    backtest = backtests.ask(monitor, by=None, now=NOW)
    assert tasks.sweep_backtests() == 1
    tasks.run_backtest(backtest_id=sent[0])
    backtest.refresh_from_db()
    assert backtest.state in {BacktestState.DONE, BacktestState.FAILED}
