"""What comes and goes again and again: told once more, then held open until it has been steady for long enough.

An incident flaps when the same thing comes back within FLAP_WINDOW after it was over by itself, or when it fell back
RELAPSES times within that window while it recovered. Then it must be well HOLD_FACTOR times as long before it is over, and
going and coming meanwhile is told to nobody: at most the first message, the first end, and the return.
"""

from datetime import datetime, timedelta

from monitoring.history import flags
from monitoring.models import EventKind, Flag, Incident, IncidentState, Resolution
from triageops import wording

FLAP_WINDOW = timedelta(hours=1)
RELAPSES = 3
HOLD_FACTOR = 4
REPORTED_HOLD = timedelta(minutes=5)
"""How long a report that flaps must be away, times HOLD_FACTOR."""

BY_ITSELF = (Resolution.RECOVERED, Resolution.REPORTED_OVER, Resolution.FELL_SILENT)


def note_return(incident: Incident, *, now: datetime) -> None:
    """After it was opened: is it back so soon?"""
    before = _before(incident, now)
    if before is None or before.resolved_at is None:
        return
    why = f"back {wording.seconds((now - before.resolved_at).total_seconds())} after it was over"
    flags.flag(incident, Flag.FLAPPING, why=why, cause=f"incident:{before.pk}", now=now)


def note_relapse(incident: Incident, *, now: datetime) -> None:
    recent = incident.events.filter(kind=EventKind.RELAPSED, at__gt=now - FLAP_WINDOW).count()
    if recent >= RELAPSES and not is_flapping(incident):
        flags.flag(incident, Flag.FLAPPING, why=f"fell back {recent} times within an hour", now=now)


def hold_factor(incident: Incident) -> int:
    """By how much longer it must be well than usual."""
    return HOLD_FACTOR if is_flapping(incident) else 1


def is_flapping(incident: Incident) -> bool:
    return incident.flags.active().filter(kind=Flag.FLAPPING).exists()


def _before(incident: Incident, now: datetime) -> Incident | None:
    """The last incident of the same thing that ended by itself a short time ago."""
    same = Incident.objects.filter(
        monitor=incident.monitor_id,
        source=incident.source,
        experiment="",
        slice_key=incident.slice_key,
        state=IncidentState.RESOLVED,
        resolution__in=BY_ITSELF,
        resolved_at__gt=now - FLAP_WINDOW,
    )
    if incident.experiment:
        return None
    return same.exclude(pk=incident.pk).order_by("-id").first()
