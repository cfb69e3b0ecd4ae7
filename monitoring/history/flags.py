"""Flags of an incident: what holds for it beside its state, each with who says so, why, and until when, in its sealed log."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from django.contrib.auth.models import User

from monitoring.history import chain
from monitoring.history.committed import after_commit
from monitoring.models import EventKind, Flag, Incident, IncidentFlag

log = structlog.get_logger(__name__)

STRENGTH = (Flag.MAINTENANCE, Flag.SILENCED, Flag.INHIBITED)
"""Flags that hold messages back, the strongest first."""


def active(incident: Incident) -> dict[str, IncidentFlag]:
    """The flags that hold, by kind."""
    return {one.kind: one for one in incident.flags.active()}


def suppressing(incident: Incident) -> IncidentFlag | None:
    """The strongest that holds its messages back; None: nothing does."""
    found = active(incident)
    return next((found[kind] for kind in STRENGTH if kind in found), None)


def flag(
    incident: Incident,
    kind: Flag,
    *,
    why: str,
    who: str = "",
    by: User | None = None,
    cause: str = "",
    until: datetime | None = None,
    now: datetime,
) -> IncidentFlag:
    """Set it, or note that another cause or end holds now; the incident must be locked. Raises IncidentChanged.

    Nothing is written when the same cause holds until the same time already.
    """
    values = {"why": why[:300], "who": who[:200], "cause": cause[:100], "until": until}
    found = incident.flags.active().filter(kind=kind).first()
    if found is None:
        found = IncidentFlag.objects.create(incident=incident, kind=kind, by=by, since=now, **values)
    elif (found.cause, found.until) == (values["cause"], until):
        return found
    else:
        for name, value in values.items():
            setattr(found, name, value)
        found.by = by
        found.save(update_fields=[*values, "by"])
    _write(incident, EventKind.FLAGGED, found, by=by, now=now)
    return found


def unflag(
    incident: Incident, kind: Flag, *, why: str, who: str = "", by: User | None = None, now: datetime
) -> IncidentFlag | None:
    """Take it away; None when it was not set. The incident must be locked. Raises IncidentChanged."""
    found = incident.flags.active().filter(kind=kind).first()
    if found is None:
        return None
    found.ended_at = now
    found.save(update_fields=["ended_at"])
    _write(incident, EventKind.UNFLAGGED, found, by=by, now=now, why=why[:300], who=who[:200])
    return found


def end_all(incident: Incident, *, now: datetime) -> int:
    """Of a resolved incident: no flag outlives it. Its log says already that it is over."""
    return incident.flags.active().update(ended_at=now)


def _write(
    incident: Incident, kind: EventKind, found: IncidentFlag, *, by: User | None, now: datetime, **said: str
) -> None:
    details: dict[str, Any] = {
        "flag": found.kind,
        "why": found.why,
        "who": found.who,
        "cause": found.cause,
        "until": found.until.astimezone(UTC).isoformat() if found.until else None,
        **said,
    }
    chain.append(incident, kind, now=now, by=by, actor=details["who"], details=details)
    ids = {"incident_id": str(incident.pk), "flag": str(found.kind), "cause": found.cause}
    if kind == EventKind.FLAGGED:
        after_commit(partial(log.info, "incident.flagged", **ids))
    else:
        after_commit(partial(log.info, "incident.unflagged", **ids))
