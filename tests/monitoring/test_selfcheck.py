"""A check that is late, fails or sees nothing is itself an incident; what all have in common is one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from feedback.models import RollupCursor
from monitoring import checks, lifecycle, problems, selfcheck
from monitoring.models import (
    CANARY_METRIC,
    DriftEvaluation,
    Incident,
    IncidentState,
    MessageKind,
    Monitor,
    MonitorSlice,
    OutboxMessage,
    Reference,
    ReferenceMode,
    Resolution,
    SelfCheck,
    Severity,
    Signal,
)
from tests.monitoring.factories import (
    START,
    add_bucket,
    bucket_at,
    close,
    make_channel,
    make_incident,
    make_metric,
    make_monitor,
    now_after,
)
from triageops.observability.metrics import exported

pytestmark = pytest.mark.django_db

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RESOLVED = {"state": IncidentState.RESOLVED, "resolution": Resolution.FIXED, "resolved_at": START + HOUR}


def watch(now: datetime) -> int:
    """As if somebody had looked every minute since the beginning."""
    SelfCheck.objects.update_or_create(defaults={"watched_at": now - MINUTE, "steady_since": START})
    return selfcheck.watch(now)


def run(last: int) -> datetime:
    """Close everything up to bucket `last`, check it, and say when that was."""
    close(last)
    checks.run_due(now_after(last))
    return now_after(last)


def refer(monitor: Monitor, longest_gap_seconds: float, *, n: int = 100) -> None:
    monitor.reference = Reference.objects.create(
        monitor=monitor,
        version=1,
        mode=ReferenceMode.PINNED,
        start_at=START - HOUR,
        end_at=START,
        made_at=START,
        n=n,
        bucket_count=10,
        longest_gap_seconds=longest_gap_seconds,
    )
    monitor.save()


def test_watch_when_all_is_well_opens_nothing() -> None:
    make_monitor(channels=(make_channel(),))
    add_bucket(0, 0.85)
    assert watch(run(0)) == 0
    assert not Incident.objects.exists()


def test_watch_of_a_late_check_opens_one_incident_and_tells_the_monitors_channels() -> None:
    channel, _ = make_channel(), make_channel("another")
    monitor = make_monitor(channels=(channel,))
    add_bucket(0, 0.85)
    run(0)
    close(2)
    now = now_after(2)
    Monitor.objects.update(due_at=now - 12 * MINUTE)
    assert watch(now) == 1
    assert watch(now + MINUTE) == 0
    incident = Incident.objects.get()
    assert (incident.monitor, incident.slice_key, incident.signal) == (monitor, "(check)", Signal.CHECK)
    assert incident.title == "the check of “helpfulness floor” is 12\N{NARROW NO-BREAK SPACE}min late"
    assert (incident.severity, incident.onset_at) == (Severity.ERROR, now - 12 * MINUTE)
    message = OutboxMessage.objects.get()
    assert (message.channel, message.kind) == (channel, MessageKind.TRIGGER)
    assert message.payload["title"] == incident.title
    assert "docs/runbooks/late.md" in message.payload["summary"]


def test_watch_before_the_patience_is_over_opens_nothing() -> None:
    make_monitor()
    now = run(0)
    Monitor.objects.update(due_at=now - 5 * MINUTE)
    assert watch(now) == 0


def test_watch_with_slow_checks_waits_five_of_them(settings: Settings) -> None:
    settings.CHECK_SECONDS = 600
    make_monitor()
    now = run(20)
    Monitor.objects.update(due_at=now - 49 * MINUTE)
    assert watch(now) == 0
    Monitor.objects.update(due_at=now - 51 * MINUTE)
    assert watch(now) == 1


def test_watch_after_the_late_check_has_run_resolves_and_tells_it() -> None:
    make_monitor(channels=(make_channel(),))
    now = run(0)
    Monitor.objects.update(due_at=now - HOUR)
    watch(now)
    add_bucket(1, 0.85)
    assert watch(run(1)) == 1
    incident = Incident.objects.get()
    assert (incident.state, incident.resolution) == (IncidentState.RESOLVED, Resolution.RECOVERED)
    assert list(OutboxMessage.objects.order_by("seq").values_list("kind", flat=True)) == [
        "trigger",
        "resolve",
    ]


def test_watch_never_touches_evidence() -> None:
    make_monitor(channels=(make_channel(),))
    for number in range(4):
        add_bucket(number, 0.84)
    now = run(3)
    before = list(MonitorSlice.objects.values()), list(DriftEvaluation.objects.values())
    Monitor.objects.update(due_at=now - HOUR)
    watch(now)
    Monitor.objects.update(due_at=now)
    watch(now + MINUTE)
    assert Incident.objects.get().state == IncidentState.RESOLVED
    assert (list(MonitorSlice.objects.values()), list(DriftEvaluation.objects.values())) == before


def test_watch_of_a_check_that_failed_three_times_says_why() -> None:
    make_monitor()
    now = run(0)
    Monitor.objects.update(
        failure_count=2, check_error="UnusableBucket: a bucket has values other than 0 and 1"
    )
    assert watch(now) == 0
    Monitor.objects.update(failure_count=3)
    assert watch(now) == 1
    incident = Incident.objects.get()
    assert incident.title == "the check of “helpfulness floor” failed 3 times in a row"
    assert "other than 0 and 1" in incident.evidence["summary"]


@pytest.mark.parametrize(
    ("gap", "hours", "is_silent"),
    [(300, 0.9, False), (300, 1.1, True), (7200, 3.9, False), (7200, 4.1, True)],
)
def test_watch_of_silence_asks_for_twice_the_longest_gap_and_an_hour(
    gap: float, hours: float, is_silent: bool
) -> None:
    monitor = make_monitor()
    refer(monitor, gap)
    add_bucket(0, 0.85)
    run(0)
    now = run(round(hours * 12))
    assert watch(now) == is_silent
    if is_silent:
        incident = Incident.objects.get()
        assert (incident.severity, incident.onset_at) == (Severity.WARNING, bucket_at(1))
        assert "has seen no records for" in incident.title


def test_watch_of_silence_without_a_reference_waits_a_day() -> None:
    make_monitor()
    add_bucket(0, 0.85)
    run(0)
    assert watch(run(285)) == 0
    assert watch(run(290)) == 1


def test_watch_of_a_monitor_that_never_saw_a_row_is_no_silence() -> None:
    make_monitor()
    assert watch(run(400)) == 0


def quiet_volume(gap: float = 300, *, n: int = 100) -> Monitor:
    """A volume that saw records in bucket 0 and has known since then what is usual; n: in an hour."""
    monitor = make_monitor(channels=(make_channel(),))
    refer(monitor, gap, n=n)
    add_bucket(0, 0.85)
    run(0)
    Monitor.objects.update(metric="volume", kind="volume", maturity_hours=0)
    return monitor


def checked_until(number: int) -> datetime:
    close(number)
    Monitor.objects.update(watermark_at=bucket_at(number + 1), due_at=now_after(number))
    return now_after(number)


@pytest.mark.parametrize(
    ("gap", "n", "hours", "is_silent"),
    [
        (300, 100, 0.9, False),
        (300, 100, 1.1, True),
        (7200, 100, 3.9, False),
        (7200, 100, 4.1, True),
        (300, 10, 1.9, False),
        (300, 10, 2.1, True),
        (300, 0, 99, False),
    ],
)
def test_watch_of_volume_that_is_silent_waits_for_the_gap_an_hour_and_twenty_records(
    gap: float, n: int, hours: float, is_silent: bool
) -> None:
    quiet_volume(gap, n=n)
    assert watch(checked_until(round(hours * 12))) == is_silent


def test_watch_of_volume_that_is_silent_tells_since_when_and_ends_when_records_come() -> None:
    quiet_volume()
    now = checked_until(18)
    watch(now)
    incident = Incident.objects.get()
    assert (
        incident.title
        == "nothing has come to “helpfulness floor” for 1\N{NARROW NO-BREAK SPACE}h 30\N{NARROW NO-BREAK SPACE}min"
    )
    assert incident.evidence["summary"].startswith(
        "Nothing has come since 2026-03-01 12:05 UTC. About 150 records are usual in that time."
    )
    assert (incident.slice_key, incident.onset_at) == ("(check)", bucket_at(1))
    assert OutboxMessage.objects.get().kind == MessageKind.TRIGGER
    Monitor.objects.update(last_row_at=bucket_at(18))
    assert watch(now + MINUTE) == 1
    assert Incident.objects.get().resolution == Resolution.RECOVERED


def test_watch_of_volume_that_saw_nothing_since_its_start_is_silence() -> None:
    quiet_volume()
    Monitor.objects.update(last_row_at=None)
    assert watch(checked_until(10)) == 0
    assert watch(checked_until(12)) == 1
    assert Incident.objects.get().onset_at == START


@pytest.mark.parametrize(
    ("difference", "signal", "changes", "is_told"),
    [
        (-8.0, Signal.DRIFT, {}, True),
        (-8.0, Signal.ANOMALY, {"state": IncidentState.RECOVERING}, True),
        (8.0, Signal.DRIFT, {}, False),
        (-8.0, Signal.DRIFT, RESOLVED, False),
    ],
)
def test_watch_of_volume_with_an_open_alarm_that_it_fell_does_not_tell_it_twice(
    difference: float, signal: str, changes: dict[str, Any], is_told: bool
) -> None:
    make_incident(quiet_volume(), effect={"difference": difference}, signal=signal, **changes)
    assert watch(checked_until(18)) == (not is_told)
    assert problems.survey(now_after(18)).count("silent") == (not is_told)


def test_watch_of_volume_whose_alarm_comes_after_the_silence_leaves_both_open() -> None:
    monitor = quiet_volume()
    now = checked_until(18)
    watch(now)
    make_incident(monitor, effect={"difference": -8.0})
    assert watch(now + MINUTE) == 0
    assert Incident.objects.open().count() == 2


def test_watch_of_feedback_grants_the_age_that_responses_need() -> None:
    monitor = make_monitor()
    refer(monitor, 300)
    Monitor.objects.update(metric="feedback:negative", last_row_at=START, watermark_at=START + 7 * HOUR)
    assert problems.problem_of(Monitor.objects.get(), START, START) is None
    Monitor.objects.update(watermark_at=START + 8 * HOUR)
    found = problems.problem_of(Monitor.objects.get(), START, START)
    assert found is not None
    assert found.trouble == "silent"


def test_watch_of_silence_that_becomes_a_failure_tells_it_anew() -> None:
    make_monitor(channels=(make_channel(),))
    add_bucket(0, 0.85)
    run(0)
    now = run(300)
    watch(now)
    Monitor.objects.update(failure_count=5)
    assert watch(now + MINUTE) == 1
    incident = Incident.objects.get()
    assert (incident.severity, "failed 5 times" in incident.title) == (Severity.ERROR, True)
    assert list(OutboxMessage.objects.values_list("kind", flat=True)) == ["trigger", "trigger"]


def test_watch_after_everything_was_at_rest_gives_time_to_catch_up() -> None:
    make_monitor()
    add_bucket(0, 0.85)
    before = run(0)
    selfcheck.watch(before)
    later = before + 5 * HOUR
    assert selfcheck.watch(later) == 0
    for minute in range(1, 6):
        assert selfcheck.watch(later + minute * MINUTE) == 0
    # Both the rollups and the only check had their five minutes.
    assert selfcheck.watch(later + 6 * MINUTE) == 2


def test_watch_between_checks_that_keep_all_workers_busy_takes_that_for_no_rest() -> None:
    make_monitor()
    make_monitor(name="another")
    now = run(0)
    watch(now)
    Monitor.objects.filter(name="another").update(checked_at=now + 4 * MINUTE, due_at=now + 15 * MINUTE)
    assert selfcheck.watch(now + 11 * MINUTE) == 2
    assert SelfCheck.objects.get().steady_since == START


def test_watch_while_everything_is_counted_anew_says_nothing_of_rollups_yet() -> None:
    make_monitor()
    now = run(0)
    RollupCursor.objects.update(closed_until=datetime(1970, 1, 1, tzinfo=UTC), updated_at=now - 4 * MINUTE)
    assert watch(now) == 0
    RollupCursor.objects.update(updated_at=now - 6 * MINUTE)
    assert watch(now) == 1


def test_watch_of_a_paused_monitor_resolves_and_opens_nothing() -> None:
    monitor = make_monitor()
    now = run(0)
    Monitor.objects.update(due_at=now - HOUR)
    watch(now)
    lifecycle.pause(Monitor.objects.get(pk=monitor.pk))
    assert watch(now + MINUTE) == 1
    assert Incident.objects.get().resolution == Resolution.MONITOR_CHANGED
    assert watch(now + 2 * MINUTE) == 0


def test_watch_of_rollups_that_stand_still_is_one_incident_told_to_everybody() -> None:
    channels = [make_channel(f"c{number}") for number in range(3)]
    make_channel("off", is_enabled=False)
    for number in range(4):
        make_monitor(name=f"m{number}")
    add_bucket(0, 0.85)
    now = run(0)
    later = now + HOUR
    checks.run_due(later)
    assert watch(later) == 1
    assert watch(later + MINUTE) == 0
    incident = Incident.objects.get()
    assert (incident.slice_key, incident.severity) == ("(rollups)", Severity.CRITICAL)
    assert incident.title.startswith("the rollups are 1")
    assert set(OutboxMessage.objects.values_list("channel", flat=True)) == {row.pk for row in channels}
    checks_at = run(12)
    assert watch(checks_at) == 1
    assert not Incident.objects.open().exists()


def test_watch_of_rollups_belongs_to_the_canary_where_there_is_one() -> None:
    make_monitor()
    make_metric(CANARY_METRIC)
    canary = make_monitor(name="canary", metric=CANARY_METRIC)
    now = run(0)
    watch(now + HOUR)
    assert Incident.objects.get(slice_key="(rollups)").monitor == canary


def test_watch_of_many_late_checks_is_one_incident() -> None:
    make_channel()
    for number in range(12):
        make_monitor(name=f"m{number}")
    now = run(0)
    Monitor.objects.update(due_at=now - HOUR)
    assert watch(now) == 1
    incident = Incident.objects.get()
    assert incident.title == "the checks of 12 of 12 monitors are late"
    assert OutboxMessage.objects.count() == 1
    checks.run_due(now)
    assert watch(now + MINUTE) == 1
    assert not Incident.objects.open().exists()


def test_watch_leaves_incidents_of_drift_alone() -> None:
    incident = make_incident(make_monitor())
    assert watch(run(0)) == 0
    incident.refresh_from_db()
    assert incident.is_open


def test_check_of_a_monitor_with_an_incident_of_its_check_still_opens_one_of_drift() -> None:
    make_monitor()
    now = run(0)
    Monitor.objects.update(due_at=now - HOUR)
    watch(now)
    for number in range(1, 6):
        add_bucket(number, 0.4)
    run(5)
    assert sorted(Incident.objects.open().values_list("signal", flat=True)) == ["check", "drift"]


def test_metrics_page_has_lag_problems_and_rollups(monkeypatch: pytest.MonkeyPatch) -> None:
    add_bucket(0, 0.85)
    make_monitor()
    make_monitor(name="another")
    now = run(0)
    Monitor.objects.filter(name="another").update(due_at=now - 20 * MINUTE)
    SelfCheck.objects.create(watched_at=now, steady_since=START)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    shown = exported()[0].decode()
    assert "triageops_check_lag_seconds 1200.0" in shown
    assert 'triageops_monitors_in_trouble{problem="late"} 1.0' in shown
    assert 'triageops_monitors_in_trouble{problem="silent"} 0.0' in shown
    assert "triageops_canary_seconds_to_detect" not in shown


def test_survey_takes_as_many_queries_for_many_monitors(django_assert_num_queries: Any) -> None:
    close(0)
    for number in range(5):
        make_monitor(name=f"m{number}")
    Monitor.objects.update(metric="volume", maturity_hours=0)
    with django_assert_num_queries(4):
        problems.survey(now_after(0))


def test_survey_without_rollups_says_nothing_of_them() -> None:
    assert not RollupCursor.objects.exists()
    assert problems.survey(START).common == {}


@pytest.mark.parametrize("trouble", [*problems.TROUBLES, *selfcheck.COMMON, "blind"])
def test_every_problem_has_a_runbook(trouble: str) -> None:
    assert (RUNBOOKS / f"{trouble}.md").is_file()
