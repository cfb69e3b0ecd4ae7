"""How an incident goes on and ends by itself."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User

from monitoring.history import flapping
from monitoring.incidents.moving import conclude, move
from monitoring.models import EventKind, Incident, IncidentState, MessageKind, Resolution


def recover(incident: Incident, *, now: datetime, hold_until: datetime | None = None) -> None:
    """Enough good judgements to say so. hold_until: it is over then, unless it comes back before."""
    if incident.state == IncidentState.RECOVERING:
        return
    details = {"hold_until": hold_until.isoformat()} if hold_until else {}
    move(
        incident,
        EventKind.RECOVERING,
        now=now,
        details=details,
        state=IncidentState.RECOVERING,
        hold_until=hold_until,
    )


def relapse(incident: Incident, *, now: datetime) -> None:
    """A bad judgement, or another alarm, while it was recovering: back to where it was."""
    if incident.state != IncidentState.RECOVERING:
        return
    is_known = incident.acknowledged_at is not None
    state = IncidentState.ACKNOWLEDGED if is_known else IncidentState.FIRING
    move(incident, EventKind.RELAPSED, now=now, state=state, hold_until=None)
    flapping.note_relapse(incident, now=now)


def worsen(incident: Incident, *, title: str, severity: str, details: dict[str, Any], now: datetime) -> None:
    """It is worse than was told: tell it anew. The monitor must be locked."""
    said = {"title": title, **details}
    move(
        incident,
        EventKind.ESCALATED,
        now=now,
        tell=MessageKind.TRIGGER,
        details=said,
        title=title[:300],
        severity=severity,
    )


def end(
    incident: Incident,
    resolution: Resolution,
    *,
    now: datetime,
    by: User | None = None,
    actor: str = "",
    note: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Resolve because it is over; `by`: who ended it elsewhere. The monitor, or the incident without one, must be locked."""
    conclude(incident, resolution, by=by, actor=actor, note=note, details=details, now=now)


def fade(incident: Incident, *, now: datetime, note: str = "") -> None:
    """A suspicion that passed, or is told by another incident: nobody heard of it, and nobody is told now."""
    if incident.state == IncidentState.SUSPECT:
        conclude(incident, Resolution.FADED, by=None, note=note, now=now)
