"""The schedule as people see it: what ran when, on how many rows, and what comes next."""

from django.contrib import admin
from django.utils import timezone
from django.utils.safestring import SafeString

from triageops import wording
from triageops.admin import ReadOnlyAdmin, Tone, badge, moment
from triageops.observability.models import JobState, ScheduledJob

TONES = {
    JobState.ON_TIME: Tone.NEUTRAL,
    JobState.LATE: Tone.LOOK,
    JobState.NEVER_RAN: Tone.LOOK,
    JobState.TO_COME: Tone.NEUTRAL,
    JobState.FAILING: Tone.HARM,
}


@admin.register(ScheduledJob)
class ScheduledJobAdmin(ReadOnlyAdmin):
    list_display = ("name", "state", "last_run", "took", "rows_seen", "next_run", "every", "runs", "failures")
    readonly_fields = ("state", "last_run", "took", "rows_seen", "next_run", "every", "runs", "failures")
    fields = ("name", *readonly_fields, "last_error")

    @admin.display(description="state")
    def state(self, job: ScheduledJob) -> SafeString:
        state = job.state(timezone.now())
        return badge(state.label.lower(), TONES[state])

    @admin.display(description="last run", ordering="started_at")
    def last_run(self, job: ScheduledJob) -> SafeString:
        return moment(job.started_at)

    @admin.display(description="took")
    def took(self, job: ScheduledJob) -> str:
        if job.started_at is None or job.finished_at is None:
            return wording.MISSING
        return wording.seconds((job.finished_at - job.started_at).total_seconds())

    @admin.display(description="rows", ordering="rows")
    def rows_seen(self, job: ScheduledJob) -> str:
        return wording.count(job.rows)

    @admin.display(description="next run")
    def next_run(self, job: ScheduledJob) -> SafeString:
        return wording.due(job.next_run_at)

    @admin.display(description="every", ordering="interval_seconds")
    def every(self, job: ScheduledJob) -> str:
        return wording.seconds(job.interval_seconds)

    @admin.display(description="runs", ordering="run_count")
    def runs(self, job: ScheduledJob) -> str:
        return wording.count(job.run_count)

    @admin.display(description="failures", ordering="failure_count")
    def failures(self, job: ScheduledJob) -> str:
        return wording.count(job.failure_count)
