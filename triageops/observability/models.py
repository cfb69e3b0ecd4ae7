from datetime import datetime, timedelta

from django.db import models
from django.db.models.functions import Now


class JobState(models.TextChoices):
    ON_TIME = "on time"
    LATE = "late"
    FAILING = "failing"
    NEVER_RAN = "never ran"
    TO_COME = "first run to come"


class ScheduledJob(models.Model):
    """One entry of the schedule, and how its last run went."""

    name = models.CharField(max_length=100, primary_key=True)
    interval_seconds = models.FloatField()
    declared_at = models.DateTimeField(db_default=Now(), help_text="When it came into the schedule.")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    rows = models.BigIntegerField(default=0, help_text="Rows that the last run saw.")
    run_count = models.BigIntegerField(default=0)
    failure_count = models.BigIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True, help_text="Empty after a run that went well.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def next_run_at(self) -> datetime:
        return (self.started_at or self.declared_at) + timedelta(seconds=self.interval_seconds)

    def state(self, now: datetime) -> JobState:
        """Late means: two intervals and half a minute have passed since the last start; a job that is new has as long."""
        limit = timedelta(seconds=2 * self.interval_seconds + 30)
        if self.started_at is None:
            return JobState.TO_COME if now - self.declared_at <= limit else JobState.NEVER_RAN
        if now - self.started_at > limit:
            return JobState.LATE
        return JobState.FAILING if self.last_error else JobState.ON_TIME
