from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitoring import baselines, checks, lifecycle
from monitoring.models import (
    BudgetEntry,
    DriftEvaluation,
    EventKind,
    Incident,
    Marker,
    Monitor,
    MonitorState,
    OutboxMessage,
    ReferenceMode,
    Resolution,
    Signal,
)
from monitoring.references import NothingToLearn
from tests.monitoring.factories import (
    BUCKET,
    add_values,
    bucket_at,
    close,
    make_channel,
    make_metric,
    now_after,
    roll_hours,
)

pytestmark = pytest.mark.django_db

LEARNT = 300
"""Buckets of the reference."""


def make_learner(**changes: Any) -> Monitor:
    make_metric()
    values: dict[str, Any] = {
        "name": "helpfulness drift",
        "kind": "distribution",
        "metric": "helpfulness",
        "reference_days": 2,
        "is_whole_watched": True,
        "alarms_per_30_days": 1.0,
    }
    return Monitor.objects.create(**values | changes)


def fill(start: int, end: int, *, mean: float = 0.8, n: int = 20, seed: int = 1, **labels: Any) -> None:
    random = np.random.default_rng([seed, start])
    for number in range(start, end):
        add_values(number, np.clip(random.normal(mean, 0.08, n), 0, 1).tolist(), **labels)


def watching(**changes: Any) -> Monitor:
    """A monitor that learnt from the first buckets and watches those after them."""
    monitor = make_learner(**changes)
    close(LEARNT - 1)
    lifecycle.activate(monitor, now=bucket_at(LEARNT), without_backtest="a test")
    monitor.refresh_from_db()
    return monitor


def run(until: int) -> int:
    close(until)
    return checks.run_due(now_after(until))


def test_activation_without_a_backtest_needs_a_reason() -> None:
    fill(0, LEARNT)
    close(LEARNT - 1)
    monitor = make_learner()
    with pytest.raises(lifecycle.NotBacktested):
        lifecycle.activate(monitor, now=bucket_at(LEARNT))
    assert Monitor.objects.get().state == MonitorState.LEARNING


def test_activation_with_nothing_to_learn_from_says_what_is_missing() -> None:
    fill(0, 10)
    close(9)
    monitor = make_learner()
    with pytest.raises(NothingToLearn, match="at least"):
        lifecycle.activate(monitor, now=bucket_at(10), without_backtest="a test")
    monitor.refresh_from_db()
    assert (monitor.state, "10 buckets" in monitor.learning_note) == (MonitorState.LEARNING, True)


def test_check_of_what_was_learnt_stays_calm_and_keeps_what_was_usual() -> None:
    fill(0, LEARNT + 100)
    monitor = watching()
    assert run(LEARNT + 99) == 100
    assert not Incident.objects.exists()
    last = DriftEvaluation.objects.order_by("-bucket_at")[0]
    assert last.low is not None
    assert last.high is not None
    assert last.low < 0.8 < last.high
    assert last.expected == pytest.approx(0.8, abs=0.02)
    entry = BudgetEntry.objects.get(monitor=monitor)
    assert entry.expected == pytest.approx(100 * 300 / (30 * 86_400))
    assert entry.alarm_count == 0


def test_check_of_a_fall_opens_one_incident_with_its_size_and_onset() -> None:
    fill(0, LEARNT + 50)
    fill(LEARNT + 50, LEARNT + 90, mean=0.72)
    watching()
    run(LEARNT + 89)
    incident = Incident.objects.get()
    assert incident.title == "helpfulness fell"
    assert incident.signal == Signal.DRIFT
    assert abs(incident.onset_at - bucket_at(LEARNT + 50)) <= 3 * BUCKET
    assert incident.effect["low"] < -0.08 < incident.effect["high"]
    assert incident.effect["level"] == pytest.approx(0.8, abs=0.02)


def test_check_of_a_wider_spread_says_so() -> None:
    fill(0, LEARNT)
    random = np.random.default_rng(5)
    for number in range(LEARNT, LEARNT + 60):
        add_values(number, np.clip(random.normal(0.8, 0.14, 20), 0, 1).tolist())
    watching()
    run(LEARNT + 59)
    assert Incident.objects.get().evidence["label"] in {"wider", "top tail", "bottom tail"}


def test_check_of_one_impossible_bucket_raises_a_lower_signal_that_a_lasting_change_escalates() -> None:
    fill(0, LEARNT + 20)
    add_values(LEARNT + 20, [0.1] * 20)
    add_values(LEARNT + 21, [0.1] * 20)
    monitor = watching()
    run(LEARNT + 20)
    found = Incident.objects.get()
    assert (found.signal, found.severity) == (Signal.ANOMALY, "warning")
    assert "in the bucket of" in found.title
    assert BudgetEntry.objects.get().signal_count == 1
    run(LEARNT + 21)
    found.refresh_from_db()
    assert (found.signal, found.severity, found.title) == (Signal.DRIFT, monitor.severity, "helpfulness fell")
    assert list(found.events.values_list("kind", flat=True)) == [EventKind.OPENED, EventKind.ESCALATED]


def test_single_bucket_signal_is_over_when_the_next_ones_are_as_usual() -> None:
    fill(0, LEARNT + 20)
    add_values(LEARNT + 20, [0.1] * 20)
    fill(LEARNT + 21, LEARNT + 120)
    watching()
    run(LEARNT + 119)
    found = Incident.objects.get()
    assert (found.signal, found.resolution) == (Signal.ANOMALY, Resolution.RECOVERED)


def test_check_of_a_recovered_metric_resolves_the_incident() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 20, mean=0.7)
    fill(LEARNT + 20, LEARNT + 150)
    watching()
    run(LEARNT + 30)
    assert Incident.objects.get().is_open
    run(LEARNT + 149)
    assert Incident.objects.get().resolution == Resolution.RECOVERED


def test_check_of_a_metric_that_stays_half_as_bad_never_resolves_it() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 20, mean=0.7)
    fill(LEARNT + 20, LEARNT + 150, mean=0.76)
    watching()
    run(LEARNT + 149)
    assert Incident.objects.get().is_open


def test_check_under_a_marker_uses_no_evidence_and_forgets_none() -> None:
    fill(0, LEARNT + 2)
    fill(LEARNT + 2, LEARNT + 40, mean=0.4)
    monitor = watching()
    Marker.objects.create(
        kind="maintenance",
        name="database moves",
        starts_at=bucket_at(LEARNT + 2),
        ends_at=bucket_at(LEARNT + 40),
    )
    run(LEARNT + 1)
    before = monitor.slices.get().evidence["log_m"]
    run(LEARNT + 39)
    assert monitor.slices.get().evidence["log_m"] == before
    assert DriftEvaluation.objects.filter(is_frozen=True).count() == 38
    assert not Incident.objects.exists()


def test_slices_are_learnt_by_size_and_the_rest_is_pooled() -> None:
    for variant, n in {"a": 30, "b": 20, "c": 10, "d": 8}.items():
        fill(0, LEARNT + 5, n=n, seed=n, variant=variant)
    monitor = watching(split_by=["variant"], max_slices=2)
    run(LEARNT + 4)
    assert set(monitor.slices.values_list("key", flat=True)) == {"all", "variant=a", "variant=b", "other"}
    assert monitor.whole_alarms + 3 * monitor.slice_alarms == pytest.approx(1.0)
    assert monitor.whole_alarms > monitor.slice_alarms


def test_alarm_of_all_tells_for_its_slices_and_names_the_one_that_explains_it() -> None:
    for variant in ("a", "b"):
        fill(0, LEARNT + 10, seed=ord(variant), variant=variant)
    fill(LEARNT + 10, LEARNT + 60, seed=3, variant="a")
    fill(LEARNT + 10, LEARNT + 60, seed=4, mean=0.55, variant="b")
    roll_hours()
    watching(split_by=["variant"], max_slices=5).channels.add(make_channel())
    run(LEARNT + 59)
    assert Incident.objects.count() == 1
    told = Incident.objects.get()
    assert told.events.filter(kind=EventKind.NOTED).count() == 1
    assert told.slice_key == "all"
    best = told.evidence["explanation"]["best"]
    assert (best["dimension"], best["value"]) == ("variant", "b")
    assert best["contribution"] == pytest.approx(1, abs=0.1)
    assert "comes from variant = b" in told.evidence["explanation"]["sentence"]
    for message in OutboxMessage.objects.all():
        assert "comes from variant = b" in message.payload["summary"]


def test_canary_is_compared_with_its_control_at_the_same_time() -> None:
    fill(0, LEARNT + 40, seed=1, variant="control")
    # Both fall together: that is no difference between them.
    fill(LEARNT + 40, LEARNT + 80, seed=2, mean=0.6, variant="control")
    fill(0, LEARNT + 40, seed=3, variant="canary")
    fill(LEARNT + 40, LEARNT + 80, seed=4, mean=0.6, variant="canary")
    watching(
        where={"variant": "canary"}, control={"variant": "control"}, reference_mode=ReferenceMode.VARIANT
    )
    run(LEARNT + 79)
    assert not Incident.objects.exists()
    fill(LEARNT + 80, LEARNT + 120, seed=5, mean=0.6, variant="control")
    fill(LEARNT + 80, LEARNT + 120, seed=6, mean=0.5, variant="canary")
    run(LEARNT + 119)
    assert "below the control" in Incident.objects.get().title


def test_volume_that_stops_is_an_alarm_although_nothing_comes() -> None:
    for number in range(LEARNT + 5):
        add_values(number, [0.0] * 40, metric="error", bounds=None)
    watching(kind="volume", metric="volume", name="traffic").channels.add(make_channel())
    assert run(LEARNT + 30) == 5
    incident = Incident.objects.get()
    assert incident.title == "responses fell"
    assert incident.effect["current"] == 0
    # Nobody is behind records that did not come: the message says all.
    told = [message.payload["title"] for message in OutboxMessage.objects.order_by("pk")]
    # One bucket is a signal; the next one says that it lasts.
    assert len(told) == 2
    assert told[0].startswith("responses fell in the bucket of")
    assert told[1] == "responses fell"


def test_accepting_a_new_baseline_ends_the_incident_and_watches_from_it() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 150, mean=0.72)
    monitor = watching()
    run(LEARNT + 60)
    assert Incident.objects.open().exists()
    close(LEARNT + 100)
    ended = baselines.accept_baseline(
        monitor, by=None, reason="the new model is stricter", now=now_after(LEARNT + 100)
    )
    assert ended == 1
    monitor.refresh_from_db()
    assert monitor.reference is not None
    assert (monitor.reference.version, monitor.reference.reason) == (2, "the new model is stricter")
    assert Incident.objects.get().resolution == Resolution.BASELINE
    close(LEARNT + 149)
    checks.run_due(now_after(LEARNT + 149))
    assert not Incident.objects.open().exists()


def test_trailing_reference_moves_on_but_stands_still_during_an_incident() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 60, mean=0.7)
    fill(LEARNT + 60, LEARNT + 400)
    monitor = watching(reference_mode=ReferenceMode.TRAILING, reference_gap_hours=1)
    run(LEARNT + 20)
    assert Incident.objects.open().exists()
    close(LEARNT + 400)
    later = now_after(LEARNT + 400)
    assert not baselines.refresh(monitor, now=later)
    Incident.objects.open().update(
        state="resolved", resolution=Resolution.FIXED, resolved_at=now_after(LEARNT + 60)
    )
    assert baselines.refresh(monitor, now=later)
    learnt = monitor.references.first()
    # What an incident showed is not learnt.
    assert learnt is not None
    assert learnt.version == 2
    assert learnt.slices.get().mean == pytest.approx(0.8, abs=0.02)


def test_old_pinned_reference_is_called_stale_and_watched_all_the_same() -> None:
    fill(0, LEARNT + 3)
    monitor = watching(stale_after_days=1)
    assert baselines.refresh(monitor, now=now_after(LEARNT) + timedelta(days=2))
    monitor.refresh_from_db()
    assert monitor.state == MonitorState.STALE
    run(LEARNT + 2)
    assert DriftEvaluation.objects.exists()


def test_alarm_of_a_slice_names_the_group_that_explains_it_by_the_day_before() -> None:
    for variant in ("a", "b"):
        fill(0, LEARNT + 10, seed=ord(variant), variant=variant, model="m")
        fill(0, LEARNT + 60, seed=ord(variant) + 9, variant=variant, model="of others")
    fill(LEARNT + 10, LEARNT + 60, seed=3, variant="a", model="m")
    fill(LEARNT + 10, LEARNT + 60, seed=4, mean=0.5, variant="b", model="m")
    roll_hours()
    watching(split_by=["model"], max_slices=5, is_whole_watched=False)
    run(LEARNT + 59)
    told = Incident.objects.get()
    assert told.slice_key == "model=m"
    assert "comes from variant = b" in told.evidence["explanation"]["sentence"]
    assert {one["dimension"] for one in told.evidence["explanation"]["parts"]} == {"variant"}
