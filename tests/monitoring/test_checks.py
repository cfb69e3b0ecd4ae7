from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection

from monitoring import checks, incidents, lifecycle
from monitoring.models import (
    DriftEvaluation,
    Incident,
    IncidentState,
    MessageKind,
    Monitor,
    MonitorSlice,
    OutboxMessage,
    Resolution,
)
from tests.monitoring.factories import (
    START,
    add_bucket,
    bucket_at,
    close,
    make_channel,
    make_metric,
    make_monitor,
    now_after,
    roll_hours,
)

pytestmark = pytest.mark.django_db


def run(last: int) -> int:
    """Close everything up to bucket `last`, then check."""
    close(last)
    return checks.run_due(now_after(last))


def test_check_of_a_good_metric_opens_nothing_and_notes_its_facts() -> None:
    monitor = make_monitor()
    for number in range(6):
        add_bucket(number, 0.85)
    assert run(5) == 6
    monitor.refresh_from_db()
    assert not Incident.objects.exists()
    assert DriftEvaluation.objects.count() == 6
    assert monitor.watermark_at == bucket_at(6)
    assert (monitor.check_row_count, monitor.check_error, monitor.checked_at) == (6, "", now_after(5))
    assert (monitor.slices.get().log_evidence or 0) < 0


def test_check_of_a_bad_metric_opens_one_incident_with_onset_effect_and_message() -> None:
    channel = make_channel()
    make_monitor(channels=(channel,), severity="critical")
    for number in range(3):
        add_bucket(number, 0.85)
    for number in range(3, 8):
        add_bucket(number, 0.6)
    run(7)
    incident = Incident.objects.get()
    assert incident.state == IncidentState.FIRING
    assert incident.onset_at == bucket_at(3)
    assert incident.opened_at == now_after(7)
    assert incident.title == "helpfulness is below 0.8"
    assert incident.effect["current"] == pytest.approx(0.6)
    assert incident.effect["difference"] == pytest.approx(-0.2)
    assert incident.effect["low"] < -0.2 < incident.effect["high"] < 0
    assert list(incident.events.values_list("seq", "kind")) == [(1, "opened")]
    message = OutboxMessage.objects.get()
    assert (message.incident, message.channel, message.kind, message.seq) == (
        incident,
        channel,
        MessageKind.TRIGGER,
        1,
    )
    assert message.payload["severity"] == "critical"


def test_check_while_an_incident_is_open_opens_no_second_one() -> None:
    make_monitor(channels=(make_channel(),))
    for number in range(40):
        add_bucket(number, 0.5)
        run(number)
    incident = Incident.objects.get()
    assert incident.alarm_count > 1
    assert incident.effect["n"] == 40 * 200
    assert OutboxMessage.objects.count() == 1


def test_check_of_a_metric_that_came_back_resolves_after_the_judgements_and_the_hold() -> None:
    make_monitor(channels=(make_channel(),), hold_seconds=1500)
    for number in range(3):
        add_bucket(number, 0.5)
    run(2)
    states = []
    for number in range(3, 9):
        add_bucket(number, 0.85)
        run(number)
        states.append(Incident.objects.get().state)
    # Three judgements would do from bucket 5 on; 1500 seconds of them are five buckets.
    assert states == ["recovering"] * 4 + ["resolved"] * 2
    incident = Incident.objects.get()
    assert incident.resolution == Resolution.RECOVERED
    assert list(incident.events.values_list("kind", flat=True)) == ["opened", "recovering", "resolved"]
    assert list(OutboxMessage.objects.order_by("seq").values_list("kind", "seq")) == [
        ("trigger", 1),
        ("resolve", 3),
    ]


def test_check_without_data_never_resolves() -> None:
    make_monitor(hold_seconds=0)
    add_bucket(0, 0.4)
    add_bucket(1, 0.4)
    run(1)
    for number in range(2, 60):
        run(number)
    assert Incident.objects.get().state == IncidentState.FIRING


def test_check_of_a_relapse_starts_the_recovery_again() -> None:
    make_monitor(hold_seconds=0)
    for number, mean in enumerate([0.5, 0.5, 0.85, 0.85, 0.7, 0.85, 0.85, 0.85]):
        add_bucket(number, mean)
        run(number)
    kinds = list(Incident.objects.get().events.values_list("kind", flat=True))
    assert kinds == ["opened", "recovering", "relapsed", "recovering", "resolved"]


def test_check_after_missed_beats_finds_the_same_as_checks_in_time() -> None:
    means = [0.85, 0.82, 0.9, 0.7, 0.72, 0.7, 0.71, 0.86]
    for number, mean in enumerate(means):
        add_bucket(number, mean)
    in_time = make_monitor(name="in time")
    for number in range(len(means)):
        run(number)
    late = make_monitor(name="late")
    run(len(means) - 1)
    facts = [
        list(
            DriftEvaluation.objects.filter(slice__monitor=monitor).values_list(
                "bucket_at", "n", "log_evidence", "is_alarm"
            )
        )
        for monitor in (in_time, late)
    ]
    assert facts[0] == facts[1]
    assert in_time.slices.get().evidence == late.slices.get().evidence


def test_check_counts_time_without_data_once() -> None:
    make_monitor()
    add_bucket(0, 0.85)
    run(0)
    add_bucket(20, 0.85)
    run(20)
    evidence = MonitorSlice.objects.get().evidence
    assert evidence["at"] == bucket_at(21).timestamp()


def test_check_far_behind_catches_up_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "BUCKETS_PER_CHECK", 4)
    monitor = make_monitor()
    for number in range(11):
        add_bucket(number, 0.85)
    assert run(10) == 11
    monitor.refresh_from_db()
    assert monitor.watermark_at == bucket_at(11)
    assert DriftEvaluation.objects.count() == 11


def test_check_uses_late_facts_in_the_bucket_in_which_they_became_visible() -> None:
    make_monitor()
    add_bucket(0, 0.85)
    run(0)
    add_bucket(0, 0.85, n=50, late_by=1)
    add_bucket(1, 0.85, n=100)
    run(1)
    assert list(DriftEvaluation.objects.values_list("bucket_at", "n")) == [
        (bucket_at(0), 200),
        (bucket_at(1), 150),
    ]


def test_check_ignores_what_occurred_before_the_start_however_late_it_comes() -> None:
    make_monitor(started_at=bucket_at(3))
    add_bucket(0, 0.1, late_by=5)
    add_bucket(5, 0.85)
    run(6)
    assert list(DriftEvaluation.objects.values_list("bucket_at", "n")) == [(bucket_at(5), 200)]


def test_check_splits_into_slices_and_pools_those_beyond_the_limit() -> None:
    monitor = make_monitor(split_by=["variant"], max_slices=2, alarms_per_30_days=3.0)
    for variant, n in {"a": 100, "b": 300, "c": 200, "d": 50}.items():
        add_bucket(0, 0.85, n=n, variant=variant)
        add_bucket(1, 0.85, n=n, variant=variant)
    run(1)
    found = {row.key: row.evaluations.get(bucket_at=bucket_at(1)).n for row in monitor.slices.all()}
    assert found == {"variant=b": 300, "variant=c": 200, "other": 150}
    # Three detectors may run: the two places and the pool. Together they keep the promise.
    assert monitor.slice_alarms * 3 == pytest.approx(3.0)


def test_check_of_slices_names_the_bad_one_only() -> None:
    make_monitor(split_by=["variant"], where={"experiment": "e1"})
    for number in range(6):
        add_bucket(number, 0.85, experiment="e1", variant="good")
        add_bucket(number, 0.5, experiment="e1", variant="bad")
        add_bucket(number, 0.1, experiment="e2", variant="bad")
    run(5)
    incident = Incident.objects.get()
    assert incident.labels == {"experiment": "e1", "variant": "bad"}
    assert incident.title == "helpfulness is below 0.8 for experiment e1, variant bad"


def test_check_that_fails_leaves_the_others_alone_and_says_why() -> None:
    broken = make_monitor(name="broken")
    well = make_monitor(name="well")
    Monitor.objects.filter(pk=broken.pk).update(parameters={"level": "high"})
    add_bucket(0, 0.85)
    assert run(0) == 1
    broken.refresh_from_db()
    well.refresh_from_db()
    assert "level" in broken.check_error
    assert broken.failure_count == 1
    assert broken.watermark_at == START
    assert broken.due_at == now_after(0) + timedelta(minutes=5)
    assert (well.check_error, well.watermark_at) == ("", bucket_at(1))


def test_check_of_values_outside_the_metrics_bounds_says_where_they_are() -> None:
    monitor = make_monitor()
    add_bucket(0, 1.4)
    run(0)
    monitor.refresh_from_db()
    assert "2026-03-01 12:00 UTC (all records)" in monitor.check_error
    make_metric(high=2.0)
    checks.run_due(now_after(0) + timedelta(hours=1))
    monitor.refresh_from_db()
    assert (monitor.check_error, monitor.failure_count, monitor.watermark_at) == ("", 0, bucket_at(1))


def test_check_of_an_undefined_metric_says_what_to_do() -> None:
    monitor = make_monitor()
    make_metric(kind="discovered", low=None, high=None)
    run(0)
    monitor.refresh_from_db()
    assert "Classify" in monitor.check_error


def test_check_of_a_paused_monitor_does_not_run() -> None:
    monitor = make_monitor()
    lifecycle.pause(monitor)
    add_bucket(0, 0.2)
    assert run(0) == 0
    assert not DriftEvaluation.objects.exists()


def test_check_before_the_next_bucket_can_be_closed_is_not_due() -> None:
    monitor = make_monitor()
    add_bucket(0, 0.85)
    run(0)
    monitor.refresh_from_db()
    assert monitor.due_at == now_after(0)  # what comes after it is closed already
    close(3)
    checks.run_due(bucket_at(4))
    monitor.refresh_from_db()
    assert monitor.due_at == bucket_at(5) + timedelta(seconds=60)


class Killed(DatabaseError):
    pass


class KillBefore:
    """Ends the connection's work before its statement of this number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, execute: Any, *statement: Any) -> Any:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return execute(*statement)


@pytest.mark.django_db(transaction=True)
def test_check_killed_before_any_of_its_statements_leaves_nothing_half() -> None:
    make_monitor(channels=(make_channel(),))
    for number in range(6):
        add_bucket(number, 0.5)
    close(5)
    untouched = Monitor.objects.get()

    for killed_at in range(200):
        try:
            with connection.execute_wrapper(KillBefore(killed_at)):
                checks.check(untouched.pk, now_after(5))
        except Killed:
            assert Monitor.objects.get().watermark_at == untouched.watermark_at
            found = (DriftEvaluation, Incident, OutboxMessage, MonitorSlice)
            assert [model.objects.count() for model in found] == [0, 0, 0, 0]
            continue
        break
    assert killed_at > 10
    assert Monitor.objects.get().watermark_at == bucket_at(6)
    assert (DriftEvaluation.objects.count(), Incident.objects.count(), OutboxMessage.objects.count()) == (
        6,
        1,
        1,
    )


def test_start_anew_after_a_change_of_the_question_ends_what_was_open() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    add_bucket(0, 0.4)
    add_bucket(1, 0.4)
    run(1)
    monitor.refresh_from_db()
    assert lifecycle.ask_anew(monitor, now=now_after(1)) == 1
    assert Incident.objects.get().resolution == Resolution.MONITOR_CHANGED
    assert monitor.slices.get().evidence == {}
    assert monitor.started_at == now_after(1)


def test_resolving_by_hand_starts_the_detector_anew(admin_user: User) -> None:
    monitor = make_monitor(channels=(make_channel(),))
    add_bucket(0, 0.4)
    add_bucket(1, 0.4)
    run(1)
    incidents.resolve(
        Incident.objects.get().pk, Resolution.EXPECTED, by=admin_user, note="we knew", now=now_after(1)
    )
    assert monitor.slices.get().evidence == {}
    add_bucket(2, 0.4)
    add_bucket(3, 0.4)
    run(3)
    assert Incident.objects.open().count() == 1
    assert Incident.objects.count() == 2


def test_incident_of_a_fixed_level_names_the_group_that_explains_it_by_the_day_before() -> None:
    make_monitor()
    for number in range(30):
        for variant in ("a", "b"):
            is_bad = number >= 24 and variant == "b"
            add_bucket(number, 0.4 if is_bad else 0.85, variant=variant)
    roll_hours()
    run(29)
    explanation = Incident.objects.get().evidence["explanation"]
    assert (explanation["best"]["dimension"], explanation["best"]["value"]) == ("variant", "b")
    assert explanation["best"]["before"] == pytest.approx(0.85)


def test_incident_of_a_fixed_level_without_a_day_before_explains_nothing() -> None:
    make_monitor()
    for number in range(5):
        add_bucket(number, 0.5)
    run(4)
    assert "explanation" not in Incident.objects.get().evidence
