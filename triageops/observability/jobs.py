"""Every scheduled task leaves a row that says when it ran and what it saw."""

from datetime import datetime

from django.db import connection

from triageops.observability.models import ScheduledJob


def declare(intervals: dict[str, float], *, now: datetime) -> None:
    """Make the table of jobs equal to the schedule: a job that never ran is seen, a removed one is not."""
    for name, interval in intervals.items():
        values = {"interval_seconds": interval}
        ScheduledJob.objects.update_or_create(
            name=name, defaults=values, create_defaults={**values, "declared_at": now}
        )
    ScheduledJob.objects.exclude(name__in=intervals).delete()


def record(*, name: str, started_at: datetime, finished_at: datetime, rows: int, error: str = "") -> None:
    """Note one run. One statement, so that two schedulers at once do no harm."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE observability_scheduledjob
            SET started_at = %s, finished_at = %s, rows = %s, run_count = run_count + 1,
                failure_count = failure_count + %s, last_error = %s
            WHERE name = %s AND (started_at IS NULL OR started_at <= %s)
            """,
            [started_at, finished_at, rows, int(bool(error)), error[:500], name, started_at],
        )
