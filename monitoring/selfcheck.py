"""Who watches the watching: a check that is late, fails or sees no rows is an incident of its own, told and resolved by itself.

It never touches evidence. What all checks have in common (rollups that stand still, checks that do not run) is one incident,
not one for each monitor: it belongs to the canary, or without one to the oldest monitor, and is told to every channel.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import QuerySet

from monitoring import incidents
from monitoring.channels.sink import Sink
from monitoring.models import (
    CANARY_METRIC,
    Channel,
    Incident,
    Monitor,
    Resolution,
    SelfCheck,
    Severity,
    Signal,
)
from monitoring.problems import Problem, problem_of, survey, with_open_fall
from monitoring.quiet.inhibition import OF_ONE_CHECK

log = structlog.get_logger(__name__)

CHECK = OF_ONE_CHECK
COMMON = {"rollups": "(rollups)", "checks": "(checks)"}
"""Keys of incidents that are about no slice."""

BREAK, JUST_NOW = timedelta(seconds=150), timedelta(seconds=60)
"""Nobody looked for longer than BREAK, and nothing was checked but just now: the whole product was at rest, which is no
lateness of one check. Where all workers are busy with checks nobody looks either, but that is no rest."""

_WORSE = {Severity.WARNING: 0, Severity.ERROR: 1, Severity.CRITICAL: 2}


def watch(now: datetime) -> int:
    """Open and resolve what is to be; how many of both."""
    _note_watch(now)
    seen = survey(now)
    if "rollups" in seen.common:
        log.warning("rollups.behind", seconds=round(seen.behind_seconds))
    moved = sum(
        _settle_common(key, seen.common.get(name), seen.monitors, now) for name, key in COMMON.items()
    )
    is_told = "checks" in seen.common
    own = {key for key, problem in seen.troubled.items() if not (is_told and problem.trouble == "late")}
    known = _open(CHECK).values_list("monitor_id", flat=True)
    return moved + sum(_settle(key, now, may_open=key in own) for key in sorted(own | set(known)))


def everybody() -> Iterable[Channel]:
    """All channels that a person reads, for what blinds the product itself."""
    return Channel.objects.enabled().exclude(kind=Sink.name)


def incident_of(monitor: Monitor, key: str, problem: Problem, now: datetime) -> Incident:
    """Not saved."""
    return Incident(
        monitor=monitor,
        slice_key=key,
        signal=Signal.CHECK,
        title=problem.title[:300],
        severity=problem.severity,
        onset_at=min(problem.since, now),
        opened_at=now,
        evidence={"trouble": problem.trouble, "summary": summary_of(problem)},
    )


def summary_of(problem: Problem) -> str:
    return f"{problem.summary} What to do: docs/runbooks/{problem.trouble}.md"


def _note_watch(now: datetime) -> None:
    row, is_new = SelfCheck.objects.get_or_create(defaults={"watched_at": now, "steady_since": now})
    if is_new or now <= row.watched_at:
        return
    was_busy = Monitor.objects.filter(checked_at__gt=row.watched_at, checked_at__lt=now - JUST_NOW)
    was_at_rest = now - row.watched_at > BREAK and not was_busy.exists()
    steady_since = now if was_at_rest else row.steady_since
    unchanged = SelfCheck.objects.filter(watched_at=row.watched_at)
    unchanged.update(watched_at=now, steady_since=steady_since)


def _open(key: str) -> QuerySet[Incident]:
    return Incident.objects.open().filter(signal=Signal.CHECK, slice_key=key)


def _settle(monitor_id: int, now: datetime, *, may_open: bool) -> bool:
    """Judge one monitor anew under its lock; while it is being checked its turn comes next time."""
    with transaction.atomic():
        rows = Monitor.objects.select_related("reference").filter(pk=monitor_id)
        monitor = rows.select_for_update(no_key=True, skip_locked=True, of=("self",)).first()
        if monitor is None:
            return False
        found = _open(CHECK).filter(monitor=monitor).first()
        # What is told here already goes on until records come, whatever else is told meanwhile.
        is_told = found is None and bool(with_open_fall([monitor]))
        problem = problem_of(monitor, now, SelfCheck.objects.get().steady_since, is_fall_told=is_told)
        if found is not None:
            found.monitor = monitor
            return _go_on(found, problem, is_watching=monitor.is_watching, now=now)
        if problem is None or not may_open:
            return False
        is_canary = monitor.metric == CANARY_METRIC
        incident = incident_of(monitor, CHECK, problem, now)
        details = {"trouble": problem.trouble}
        return incidents.open_unless_known(
            incident, details=details, by=None, now=now, channels=everybody() if is_canary else None
        )


def _go_on(found: Incident, problem: Problem | None, *, is_watching: bool, now: datetime) -> bool:
    if problem is None:
        why = Resolution.RECOVERED if is_watching else Resolution.MONITOR_CHANGED
        incidents.end(found, why, now=now)
        return True
    if _WORSE[problem.severity] <= _WORSE.get(Severity(found.severity), 0):
        return False
    details = {"trouble": problem.trouble, "summary": summary_of(problem)}
    incidents.worsen(found, title=problem.title, severity=problem.severity, details=details, now=now)
    return True


def _settle_common(key: str, problem: Problem | None, monitors: Iterable[Monitor], now: datetime) -> bool:
    found = _open(key).first()
    if problem is None:
        return found is not None and end_common(found, now)
    hosts = sorted(monitors, key=lambda row: (row.metric != CANARY_METRIC, row.pk))
    if found is not None or not hosts:
        return False
    return open_common(hosts[0], key, problem, now)


def open_common(host: Monitor, key: str, problem: Problem, now: datetime) -> bool:
    """Tell everybody, unless it is told already."""
    with transaction.atomic():
        monitor = Monitor.objects.select_for_update(no_key=True).get(pk=host.pk)
        incident = incident_of(monitor, key, problem, now)
        details = {"trouble": problem.trouble}
        return incidents.open_unless_known(incident, details=details, by=None, now=now, channels=everybody())


def end_common(found: Incident, now: datetime) -> bool:
    with transaction.atomic():
        incident = incidents.locked_open(found.pk)
        if incident is not None:
            incidents.end(incident, Resolution.RECOVERED, now=now)
        return incident is not None
