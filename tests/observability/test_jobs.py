from datetime import UTC, datetime, timedelta

import pytest

from triageops.observability import jobs
from triageops.observability.models import JobState, ScheduledJob

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def ran(name: str, at: datetime, *, rows: int = 5, error: str = "") -> None:
    jobs.record(name=name, started_at=at, finished_at=at + timedelta(seconds=1), rows=rows, error=error)


def test_declare_makes_the_table_equal_to_the_schedule_and_keeps_history() -> None:
    jobs.declare({"rollups": 5.0, "old": 60.0}, now=NOW)
    ran("rollups", NOW)
    jobs.declare({"rollups": 10.0, "checks": 60.0}, now=NOW + timedelta(seconds=1))
    rows = {job.name: job for job in ScheduledJob.objects.all()}
    assert set(rows) == {"rollups", "checks"}
    assert (rows["rollups"].interval_seconds, rows["rollups"].run_count) == (10.0, 1)
    assert rows["rollups"].next_run_at == NOW + timedelta(seconds=10)


def test_record_counts_runs_failures_and_rows_and_keeps_the_latest() -> None:
    jobs.declare({"checks": 60.0}, now=NOW)
    ran("checks", NOW, error="ValueError: odd")
    ran("checks", NOW + timedelta(seconds=60), rows=9)
    ran("checks", NOW - timedelta(seconds=60), rows=1)
    job = ScheduledJob.objects.get()
    assert (job.run_count, job.failure_count, job.rows, job.last_error) == (2, 1, 9, "")
    assert job.started_at == NOW + timedelta(seconds=60)


def test_state_of_a_job_is_late_failing_on_time_or_never_ran() -> None:
    jobs.declare({"checks": 60.0}, now=NOW - timedelta(seconds=151))
    assert ScheduledJob.objects.get().state(NOW) == JobState.NEVER_RAN
    ran("checks", NOW)
    job = ScheduledJob.objects.get()
    assert job.state(NOW + timedelta(seconds=150)) == JobState.ON_TIME
    assert job.state(NOW + timedelta(seconds=151)) == JobState.LATE
    ran("checks", NOW + timedelta(seconds=60), error="it broke")
    assert ScheduledJob.objects.get().state(NOW + timedelta(seconds=61)) == JobState.FAILING


def test_job_that_is_new_is_not_complained_about_before_its_first_run_is_late() -> None:
    jobs.declare({"housekeeping": 3_600.0}, now=NOW)
    later = NOW + timedelta(minutes=17)
    jobs.declare({"housekeeping": 3_600.0}, now=later)
    job = ScheduledJob.objects.get()
    assert (job.state(later), job.next_run_at) == (JobState.TO_COME, NOW + timedelta(hours=1))
    assert job.state(NOW + timedelta(minutes=121)) == JobState.NEVER_RAN
