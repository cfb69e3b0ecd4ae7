import threading
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connections

from monitoring import backtests, baselines, budget, checks, incidents, lifecycle, references
from monitoring.models import (
    Backtest,
    BacktestState,
    Incident,
    Monitor,
    MonitorState,
    ReferenceMode,
    Resolution,
)
from tests.monitoring.factories import add_values, bucket_at, close, make_metric, make_monitor, now_after
from tests.monitoring.test_learned_checks import LEARNT, fill, run, watching

pytestmark = pytest.mark.django_db

FALL = LEARNT + 50


def fallen(**changes: Any) -> Monitor:
    """A monitor with an open incident: the mean fell at FALL, and stays where it is."""
    fill(0, FALL)
    fill(FALL, LEARNT + 500, mean=0.72)
    watching(**changes)
    run(LEARNT + 89)
    assert Incident.objects.open().exists()
    return Monitor.objects.select_related("reference").get()


def learnt_mean(monitor: Monitor) -> float:
    monitor.refresh_from_db()
    assert monitor.reference is not None
    mean = monitor.reference.slices.get(key="all").mean
    assert mean is not None
    return mean


def test_accepting_what_a_trailing_reference_showed_learns_the_new_level_and_keeps_it() -> None:
    monitor = fallen(reference_mode=ReferenceMode.TRAILING, reference_gap_hours=0)
    assert baselines.accept_baseline(monitor, by=None, reason="wanted", now=now_after(LEARNT + 89)) == 1
    assert learnt_mean(monitor) == pytest.approx(0.72, abs=0.01)
    run(LEARNT + 400)
    assert baselines.refresh(monitor, now=now_after(LEARNT + 400))
    # What was before is not usual any more, however long the window is.
    assert learnt_mean(monitor) == pytest.approx(0.72, abs=0.01)
    assert not Incident.objects.open().exists()


def test_growing_baseline_leaves_out_what_an_incident_showed_that_was_real(
    django_user_model: type[User],
) -> None:
    monitor = fallen()
    baselines.accept_baseline(monitor, by=None, reason="wanted", now=now_after(LEARNT + 89))
    for number in range(LEARNT + 500, LEARNT + 560):
        add_values(number, [0.2] * 20)
    fill(LEARNT + 560, LEARNT + 1000, mean=0.72)
    Monitor.objects.update(started_at=bucket_at(LEARNT + 90), watermark_at=bucket_at(LEARNT + 90))
    run(LEARNT + 560)
    found = Incident.objects.open().get()
    incidents.resolve(
        found.pk,
        Resolution.FIXED,
        by=django_user_model.objects.create(username="ada"),
        now=now_after(LEARNT + 560),
    )
    close(LEARNT + 999)
    assert baselines.refresh(monitor, now=now_after(LEARNT + 999))
    assert learnt_mean(monitor) == pytest.approx(0.72, abs=0.02)


def test_baseline_of_hours_where_hours_differ_waits_for_a_whole_day() -> None:
    random = np.random.default_rng(3)
    for number in range(12 * 24 * 4):
        hour = (number // 12) % 24
        mean = 0.75 + 0.06 * np.sin(hour / 24 * 2 * np.pi)
        add_values(number, np.clip(random.normal(mean, 0.05, 20), 0, 1).tolist())
    monitor = watching_from(12 * 24 * 4, reference_days=4)
    assert not references.has_no_hours(monitor)
    end = 12 * 24 * 4 + 36
    fill(12 * 24 * 4, end, mean=0.6)
    close(end - 1)
    begin = bucket_at(12 * 24 * 4)
    baselines.accept_baseline(monitor, by=None, reason="a new model", start_at=begin, now=now_after(end - 1))
    monitor.refresh_from_db()
    assert monitor.started_at == begin + timedelta(hours=24)
    assert checks.run_due(now_after(end - 1)) == 0


def watching_from(number: int, **changes: Any) -> Monitor:
    make_metric()
    monitor = Monitor.objects.create(
        **{"name": "by the hour", "kind": "distribution", "metric": "helpfulness", **changes}
    )
    close(number - 1)
    lifecycle.activate(monitor, now=bucket_at(number), without_backtest="a test")
    return Monitor.objects.select_related("reference").get(pk=monitor.pk)


def test_accepting_with_a_row_read_before_a_pause_leaves_it_paused() -> None:
    monitor = fallen()
    lifecycle.pause(Monitor.objects.get())
    baselines.accept_baseline(monitor, by=None, reason="wanted", now=now_after(LEARNT + 89))
    assert Monitor.objects.get().state == MonitorState.PAUSED


def test_refreshing_with_a_row_read_before_a_change_does_nothing() -> None:
    fill(0, LEARNT + 400)
    fill(0, LEARNT + 400, metric="other", mean=0.4)
    make_metric("other")
    stale = watching(reference_mode=ReferenceMode.TRAILING, reference_gap_hours=0)
    close(LEARNT + 399)
    later = now_after(LEARNT + 399)
    lifecycle.change(Monitor.objects.get(), {"metric": "other"}, by=None, reason="other", now=later)
    version = Monitor.objects.get().reference
    assert not baselines.refresh(stale, now=later)
    assert Monitor.objects.get().reference == version


def test_change_of_the_weight_alone_keeps_evidence_and_incidents() -> None:
    monitor = fallen()
    backtest = backtests.ask(monitor, question={"weight": 2.0}, by=None, now=now_after(LEARNT + 89))
    Backtest.objects.update(state=BacktestState.DONE)
    backtest.refresh_from_db()
    assert backtests.apply(backtest, by=None, reason="more", now=now_after(LEARNT + 89)) == 0
    assert Incident.objects.open().exists()
    assert Monitor.objects.get().weight == 2.0


def test_applying_a_change_keeps_a_baseline_that_was_accepted_meanwhile() -> None:
    monitor = fallen()
    question = {"parameters": {"ignore_shift": 0.2}}
    backtest = backtests.ask(monitor, question=question, by=None, now=now_after(LEARNT + 89))
    Backtest.objects.update(state=BacktestState.DONE)
    baselines.accept_baseline(monitor, by=None, reason="wanted", now=now_after(LEARNT + 89))
    run(LEARNT + 400)
    backtest.refresh_from_db()
    backtests.apply(backtest, by=None, reason="calmer", now=now_after(LEARNT + 400))
    assert learnt_mean(monitor) == pytest.approx(0.72, abs=0.01)


def test_monitor_that_was_paused_with_its_baseline_needs_no_backtest_to_go_on() -> None:
    monitor = fallen()
    baselines.accept_baseline(monitor, by=None, reason="wanted", now=now_after(LEARNT + 89))
    lifecycle.pause(monitor)
    assert lifecycle.is_tried(monitor)


@pytest.mark.django_db(transaction=True)
def test_two_monitors_paused_at_once_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monitors = [make_monitor(name=name, alarms_per_30_days=None) for name in "abc"]
    barrier, real = threading.Barrier(2), budget.redistribute

    def together() -> None:
        barrier.wait(timeout=10)
        real()

    monkeypatch.setattr(budget, "redistribute", together)
    failures: list[BaseException] = []

    def pause(monitor: Monitor) -> None:
        try:
            lifecycle.pause(monitor)
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=pause, args=[monitor]) for monitor in monitors[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert Monitor.objects.get(name="c").whole_alarms == pytest.approx(1.0)


@pytest.mark.parametrize("every", [1, 6])
def test_sight_is_what_is_found_within_about_a_day(every: int) -> None:
    """A change as large as the smallest that it can see, according to itself, in buckets of which most may be empty."""
    random = np.random.default_rng(5)
    days = 6
    for number in range(0, 288 * days, every):
        add_values(number, np.clip(random.normal(0.6, 0.08, 4), 0, 1).tolist())
    monitor = watching_from(288 * days, reference_days=days)
    assert monitor.reference is not None
    shift = monitor.reference.slices.get().sight["down"]
    start = 288 * days
    for number in range(start, start + 288 * 4, every):
        add_values(number, np.clip(random.normal(0.6 - shift * 0.08, 0.08, 4), 0, 1).tolist())
    close(start + 288 * 4)
    checks.run_due(now_after(start + 288 * 4))
    alarm = monitor.slices.get().evaluations.filter(is_alarm=True).order_by("bucket_at").first()
    assert alarm is not None
    assert timedelta(hours=4) < alarm.bucket_at - bucket_at(start) < timedelta(hours=60)
