"""What PagerDuty tells us back is done here too: acknowledged there is acknowledged here.

PagerDuty sends at least once and in no promised order, and also says what we told it ourselves. An event that was acted on
stands in the incident's log with its id, one that is older than the last decision here changes nothing, and what is so already
is not done again.
"""

from datetime import datetime
from uuid import UUID

import structlog

from monitoring import incidents
from monitoring.channels.pagerduty_events import Event
from monitoring.incidents import InvalidTransition
from monitoring.models import Channel, EventKind, Incident, IncidentState, Resolution

log = structlog.get_logger(__name__)

_PREFIX = "triageops:"
_DECISIONS = (EventKind.ACKNOWLEDGED, EventKind.UNACKNOWLEDGED)
EVENT_ID = "pagerduty_event"


def take_event(channel: Channel, event: Event, now: datetime) -> str:
    """What came of it, in one sentence; the body must be verified."""
    incident = _incident_of(channel, event)
    if incident is None:
        why = "There is no incident of this channel with this key."
        log.info("pagerduty.ignored", channel_id=channel.pk, event_type=event.event_type, reason=why)
        return f"Ignored: {why}"
    try:
        said = _act(incident, event, now)
    except InvalidTransition as error:
        said = f"Ignored: {error}"
    ids = {"channel_id": channel.pk, "incident_id": str(incident.pk), "event_type": event.event_type}
    log.info("pagerduty.heard", outcome=said, **ids)
    return said


def _act(incident: Incident, event: Event, now: datetime) -> str:
    """Raises InvalidTransition."""
    if event.kind not in {"acknowledge", "unacknowledge", "resolve"}:
        return f"Ignored: “{event.event_type}” changes nothing here."
    if event.id and incident.events.filter(**{f"details__{EVENT_ID}": event.id}).exists():
        return "Ignored: this event was acted on before."
    details = {EVENT_ID: event.id, "link": event.html_url}
    actor = f"PagerDuty: {event.who}"[:200]
    if event.kind == "resolve":
        return _resolve(incident, event, actor, details, now)
    if _is_overtaken(incident, event):
        return "Ignored: somebody decided otherwise since."
    is_wanted = event.kind == "acknowledge"
    if incident.is_open and is_wanted == (incident.acknowledged_at is not None):
        return "Ignored: it is so already."
    if is_wanted:
        incidents.acknowledge(incident.pk, actor=actor, details=details, now=now)
        return "Acknowledged."
    incidents.unacknowledge(incident.pk, actor=actor, details=details, now=now)
    return "Not acknowledged any more."


def _resolve(incident: Incident, event: Event, actor: str, details: dict[str, str], now: datetime) -> str:
    if incident.state == IncidentState.RESOLVED:
        return "Ignored: it is so already."
    if not event.is_by_person:
        # Our own resolve come back, or PagerDuty's time-out: nobody says that the cause is gone.
        return "Ignored: no person resolved it, and here it is still open."
    incidents.resolve(
        incident.pk, Resolution.FIXED, actor=actor, note="in PagerDuty", details=details, now=now
    )
    return "Resolved."


def _is_overtaken(incident: Incident, event: Event) -> bool:
    last = incident.events.filter(kind__in=_DECISIONS).order_by("-seq").first()
    return last is not None and event.occurred_at is not None and event.occurred_at < last.at


def _incident_of(channel: Channel, event: Event) -> Incident | None:
    """Only of what this channel was told: its secret is no key to other incidents."""
    text = event.dedup_key.removeprefix(_PREFIX)
    if text == event.dedup_key:
        return None
    try:
        incident_id = UUID(text)
    except ValueError:
        return None
    return Incident.objects.filter(pk=incident_id, messages__channel=channel).distinct().first()
