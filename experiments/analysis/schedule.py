"""Which experiments are due for a look: often while they are young or small, never more than a share of a core."""

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection

from experiments.analysis.look import look
from experiments.analysis.progress import Reporter
from experiments.models import UNDER_WAY, Experiment, ExposedUnit, Look

log = structlog.get_logger(__name__)

_SHARE = 0.05
"""Of a core, at most, for the looks at one experiment."""


def due(now: datetime) -> list[Experiment]:
    """Those under way whose last look is old enough, and those that ended after it."""
    found = []
    experiments = Experiment.objects.filter(started_at__isnull=False).exclude(state="archived")
    for experiment in experiments.order_by("pk"):
        last = experiment.looks.order_by("-id").only("at", "seconds").first()
        if last is not None and not ExposedUnit.objects.filter(experiment=experiment).exists():
            continue
        if last is None or (now >= _next_at(last, experiment) and _may_change(last, experiment)):
            found.append(experiment)
    return found


def _may_change(last: Look, experiment: Experiment) -> bool:
    """Whether anything can have come since: feedback and late records of the last answers do for a while."""
    ended_at = experiment.stopped_at
    return experiment.state in UNDER_WAY or (ended_at is not None and last.at < ended_at + _AFTERMATH)


_AFTERMATH = timedelta(days=2)
_QUIET = timedelta(hours=1)
"""Between looks at what serves the control to everybody; little changes there."""
# Any number that nothing else locks.
_LOCK = 7_246_312


def _next_at(last: Look, experiment: Experiment) -> datetime:
    pause = timedelta(seconds=max(settings.LOOK_SECONDS, last.seconds / _SHARE))
    return last.at + (pause if experiment.is_running else max(pause, _QUIET))


def look_at_due(now: datetime) -> int:
    """Look at every experiment that is due; how many looks were made. One worker does it: others have other work."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        try:
            return sum(look_now(experiment, now) for experiment in due(now))
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def look_now(experiment: Experiment, now: datetime) -> bool:
    """Look at one experiment, with its progress told; whether a look was made."""
    told = Reporter(experiment.pk, now)
    told("waiting for a worker", 0.0)
    try:
        return look(experiment, now=now, progress=told) is not None
    finally:
        told.done()
