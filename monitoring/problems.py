"""What may be wrong with the watching itself: a check is late, fails or sees nothing, or all of them wait for the same thing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings

from feedback.models import RollupCursor
from monitoring.models import Monitor, SelfCheck, Severity
from monitoring.sources import FEEDBACK, FEEDBACK_MATURITY, VOLUME
from triageops import wording

Trouble = Literal["late", "failing", "silent"]
TROUBLES: tuple[Trouble, ...] = ("late", "failing", "silent")

FAILURES = 3
SHORTEST_SILENCE, UNKNOWN_SILENCE = timedelta(hours=1), timedelta(hours=24)
MANY = 10
"""More late checks than this, and more than half of all, are one story: checks do not run."""


_OF_A_REBUILD = timedelta(days=10_000)
_LARGE = ("reference__shares", "reference__question")


@dataclass(frozen=True)
class Problem:
    """title, summary: as they are told."""

    trouble: str
    severity: Severity
    since: datetime
    title: str
    summary: str


@dataclass(frozen=True)
class Survey:
    """monitors: whose checks run; troubled: those with a problem of their own, by primary key. common: what is wrong with all.

    lag_seconds: how long the most overdue check has been waiting.
    """

    monitors: Sequence[Monitor] = ()
    troubled: dict[int, Problem] = field(default_factory=dict)
    common: dict[str, Problem] = field(default_factory=dict)
    lag_seconds: float = 0.0
    behind_seconds: float = 0.0

    def count(self, trouble: Trouble) -> int:
        return sum(problem.trouble == trouble for problem in self.troubled.values())

    @property
    def are_checks_behind(self) -> bool:
        late = self.count("late")
        return late > MANY and 2 * late > len(self.monitors)


def survey(now: datetime) -> Survey:
    """Three queries, whatever the number of monitors."""
    since = steady_since(now)
    monitors = list(Monitor.objects.active().select_related("reference").defer(*_LARGE).order_by("pk"))
    lags = [_seconds(now - row.due_at) for row in monitors if row.due_at is not None]
    behind = _behind(now, since)
    found = {row.pk: problem_of(row, now, since) for row in monitors}
    seen = Survey(
        monitors,
        {key: problem for key, problem in found.items() if problem is not None},
        lag_seconds=max(lags, default=0.0),
        behind_seconds=_seconds(behind),
    )
    if behind > patience():
        seen.common["rollups"] = _rollups_behind(now - behind, behind)
    if seen.are_checks_behind:
        seen.common["checks"] = _checks_behind(seen, now)
    return seen


def _behind(now: datetime, since: datetime) -> timedelta:
    """For how long a bucket that should be closed is not."""
    cursor = RollupCursor.objects.filter(name="facts").first()
    if cursor is None:
        return timedelta(0)
    # Everything is counted anew: buckets are closed again when that is done.
    is_anew = now - cursor.closed_until > _OF_A_REBUILD
    return now - max(cursor.updated_at if is_anew else cursor.closed_until + _wait(), since)


def steady_since(now: datetime) -> datetime:
    """Since when the product has been running without a break."""
    return SelfCheck.objects.values_list("steady_since", flat=True).first() or now


def patience() -> timedelta:
    """What is overdue for longer than this is late."""
    return timedelta(seconds=max(300, 5 * settings.CHECK_SECONDS))


def problem_of(monitor: Monitor, now: datetime, since: datetime) -> Problem | None:
    """The worst that is wrong; None when all is well or nobody expects it to watch. since: steady_since."""
    if not monitor.is_watching or monitor.due_at is None:
        return None
    if monitor.failure_count >= FAILURES:
        return _failing(monitor, now)
    overdue_since = max(monitor.due_at, since)
    if now - overdue_since > patience():
        return _late(monitor, overdue_since, now)
    return _silent(monitor, since)


def _failing(monitor: Monitor, now: datetime) -> Problem:
    return Problem(
        "failing",
        Severity.ERROR,
        monitor.watermark_at or now,
        f"the check of “{monitor.name}” failed {monitor.failure_count} times in a row",
        f"Nothing that it watches would be noticed. It says: {monitor.check_error}",
    )


def _late(monitor: Monitor, overdue_since: datetime, now: datetime) -> Problem:
    return Problem(
        "late",
        Severity.ERROR,
        overdue_since,
        f"the check of “{monitor.name}” is {wording.seconds((now - overdue_since).total_seconds())} late",
        "Nothing that it watches would be noticed until it runs again. No evidence is lost: it catches up by itself.",
    )


def _silent(monitor: Monitor, since: datetime) -> Problem | None:
    """Only time that was checked counts: what is not counted yet may still hold records."""
    if monitor.metric == VOLUME or monitor.last_row_at is None or monitor.watermark_at is None:
        return None
    last = max(monitor.last_row_at + timedelta(seconds=settings.BUCKET_SECONDS), since)
    silence = monitor.watermark_at - _maturity(monitor) - last
    if silence <= longest_silence(monitor):
        return None
    return Problem(
        "silent",
        Severity.WARNING,
        last,
        f"“{monitor.name}” has seen no records for {wording.seconds(silence.total_seconds())}",
        "Without records nothing can be noticed: either nothing comes in, or not what this monitor asks for.",
    )


def longest_silence(monitor: Monitor) -> timedelta:
    """Twice the longest that was usual when it learnt, but an hour at least; a day where nothing was learnt."""
    if monitor.reference is None:
        return UNKNOWN_SILENCE
    return max(SHORTEST_SILENCE, timedelta(seconds=2 * monitor.reference.longest_gap_seconds))


def _maturity(monitor: Monitor) -> timedelta:
    """As monitoring.sources has it, without a query for each monitor."""
    if not monitor.metric.startswith(FEEDBACK):
        return timedelta(0)
    return FEEDBACK_MATURITY if monitor.maturity_hours is None else timedelta(hours=monitor.maturity_hours)


def _rollups_behind(since: datetime, behind: timedelta) -> Problem:
    return Problem(
        "rollups",
        Severity.CRITICAL,
        since,
        f"the rollups are {wording.seconds(behind.total_seconds())} behind",
        "No monitor sees anything new until they go on. Facts are taken in and nothing is lost.",
    )


def _checks_behind(seen: Survey, now: datetime) -> Problem:
    late = [problem for problem in seen.troubled.values() if problem.trouble == "late"]
    return Problem(
        "checks",
        Severity.CRITICAL,
        min((problem.since for problem in late), default=now),
        f"the checks of {len(late)} of {len(seen.monitors)} monitors are late",
        "Nothing that they watch would be noticed until they run again. No evidence is lost: they catch up by themselves.",
    )


def _wait() -> timedelta:
    """How old the end of the last closed bucket is at most, when all is well."""
    return timedelta(seconds=settings.BUCKET_SECONDS + settings.LATENESS_SECONDS)


def _seconds(span: timedelta) -> float:
    return max(0.0, span.total_seconds())
