"""What may be wrong with the watching itself: a check is late, fails or sees nothing, or all of them wait for the same thing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from django.conf import settings

from feedback.models import RollupCursor
from monitoring.models import Incident, Monitor, SelfCheck, Severity, Signal
from monitoring.sources import VOLUME, maturity_of
from triageops import wording

Trouble = Literal["late", "failing", "silent"]
TROUBLES: tuple[Trouble, ...] = ("late", "failing", "silent")

FAILURES = 3
SHORTEST_SILENCE, UNKNOWN_SILENCE = timedelta(hours=1), timedelta(hours=24)
MISSED = 20
"""A volume is silent only when so many records were usual in that time: of few, none may come by chance."""
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
    """Four queries, whatever the number of monitors."""
    since = steady_since(now)
    monitors = list(Monitor.objects.active().select_related("reference").defer(*_LARGE).order_by("pk"))
    lags = [_seconds(now - row.due_at) for row in monitors if row.due_at is not None]
    behind = _behind(now, since)
    told = with_open_fall(monitors)
    found = {row.pk: problem_of(row, now, since, is_fall_told=row.pk in told) for row in monitors}
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


def with_open_fall(monitors: Sequence[Monitor]) -> set[int]:
    """Primary keys of those whose own alarm that less is there than usual is open."""
    own = Incident.objects.open().filter(
        signal__in=(Signal.DRIFT, Signal.ANOMALY),
        effect__difference__lt=0,
        monitor__in=[row.pk for row in monitors if row.metric == VOLUME],
    )
    return set(own.values_list("monitor_id", flat=True))


def problem_of(
    monitor: Monitor, now: datetime, since: datetime, *, is_fall_told: bool = False
) -> Problem | None:
    """The worst that is wrong; None when all is well or nobody expects it to watch.

    since: steady_since. is_fall_told: a volume's own alarm says already that less comes, or nothing.
    """
    if not monitor.is_watching or monitor.due_at is None:
        return None
    if monitor.failure_count >= FAILURES:
        return _failing(monitor, now)
    overdue_since = max(monitor.due_at, since)
    if now - overdue_since > patience():
        return _late(monitor, overdue_since, now)
    return None if is_fall_told else _silent(monitor, since)


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
    seen_until = _seen_until(monitor)
    if seen_until is None or monitor.watermark_at is None:
        return None
    last = max(seen_until, since)
    silence = monitor.watermark_at - _maturity(monitor) - last
    longest = longest_silence(monitor)
    if longest is None or silence <= longest:
        return None
    if monitor.metric == VOLUME:
        return _nothing_comes(monitor, last, silence)
    return Problem(
        "silent",
        Severity.WARNING,
        last,
        f"“{monitor.name}” has seen no records for {wording.seconds(silence.total_seconds())}",
        "Without records nothing can be noticed: either nothing comes in, or not what this monitor asks for.",
    )


def _seen_until(monitor: Monitor) -> datetime | None:
    """End of the last bucket with records. A volume that has seen none since its start has been silent since then."""
    if monitor.last_row_at is not None:
        return monitor.last_row_at + timedelta(seconds=settings.BUCKET_SECONDS)
    return monitor.started_at if monitor.metric == VOLUME else None


def _nothing_comes(monitor: Monitor, last: datetime, silence: timedelta) -> Problem:
    """Silence is evidence of a volume too, but where its reference varies much that takes days."""
    usual = _usual_per_second(monitor) * silence.total_seconds()
    missed = f" About {wording.count(usual)} records are usual in that time." if usual else ""
    return Problem(
        "silent",
        Severity.WARNING,
        last,
        f"nothing has come to “{monitor.name}” for {wording.seconds(silence.total_seconds())}",
        f"Nothing has come since {last.astimezone(UTC):%Y-%m-%d %H:%M} UTC.{missed}"
        " Either nothing comes in, or not what this monitor asks for.",
    )


def longest_silence(monitor: Monitor) -> timedelta | None:
    """Twice the longest that was usual when it learnt, but an hour at least; a day where nothing was learnt.

    Of a volume also the time in which MISSED records are usual; None where that is longer than any time.
    """
    if monitor.reference is None:
        return UNKNOWN_SILENCE
    longest = max(SHORTEST_SILENCE, timedelta(seconds=2 * monitor.reference.longest_gap_seconds))
    if monitor.metric != VOLUME:
        return longest
    per_second = _usual_per_second(monitor)
    return max(longest, timedelta(seconds=MISSED / per_second)) if per_second else None


def _usual_per_second(monitor: Monitor) -> float:
    """Records in the reference, on average over its time."""
    reference = monitor.reference
    if reference is None:
        return 0.0
    return reference.n / (reference.end_at - reference.start_at).total_seconds()


def _maturity(monitor: Monitor) -> timedelta:
    """As monitoring.sources has it, without a query for each monitor."""
    hours = monitor.maturity_hours
    return maturity_of(monitor.metric, None if hours is None else timedelta(hours=hours))


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
