"""What alerts say: frozen with the state that they tell, in the same transaction. Numbers only, no words of patients."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from monitoring.channels.registry import kind_named
from monitoring.models import Channel, Incident, IncidentState, MessageKind, OutboxMessage, Resolution
from monitoring.slices import SMALLEST_NAMED_GROUP, described
from triageops import wording

_UNNAMED = f"a group with fewer than {SMALLEST_NAMED_GROUP} records, which is not named here"


def enqueue(incident: Incident, kind: MessageKind, *, now: datetime) -> list[OutboxMessage]:
    """Write a message for each channel that wants this kind; must run in the transaction of what it tells.

    The monitor's channels hear that it began; who heard that, hears the rest, whatever the monitor's channels are then.
    A disabled channel gets its message too: it waits there, seen, instead of being lost unseen.
    """
    if kind == MessageKind.TRIGGER:
        channels = incident.monitor.channels.all()
    else:
        told = incident.messages.filter(kind=MessageKind.TRIGGER).values("channel")
        channels = Channel.objects.filter(pk__in=told)
    wanted = [channel for channel in channels if kind in kind_named(channel.kind).takes]
    payload = incident_payload(incident, kind, at=now) if wanted else {}
    return OutboxMessage.objects.bulk_create(
        new_message(channel, kind, payload, incident=incident, seq=incident.version, now=now)
        for channel in wanted
    )


def enqueue_test(channel: Channel, *, now: datetime) -> OutboxMessage:
    """A message that says of itself that it is a test."""
    payload = {
        "at": _iso(now),
        "state": "test",
        "title": "This is a test message",
        "summary": "TriageOps can reach this channel. Nothing is wrong.",
        "incident_url": "",
        "runbook_url": "",
    }
    message = new_message(channel, MessageKind.TEST, payload, incident=None, seq=1, now=now)
    message.save(force_insert=True)
    return message


def new_message(
    channel: Channel,
    kind: MessageKind,
    payload: dict[str, Any],
    *,
    incident: Incident | None,
    seq: int,
    now: datetime,
) -> OutboxMessage:
    message = OutboxMessage(incident=incident, channel=channel, seq=seq, kind=kind, payload=payload)
    message.dedup_key = f"triageops:{incident.pk if incident else message.id}"
    message.created_at = message.not_before = now
    message.expires_at = now + OutboxMessage.LIFETIME
    return message


def incident_payload(incident: Incident, kind: MessageKind, *, at: datetime) -> dict[str, Any]:
    """Everything a channel may say of an incident. A group below the smallest size appears without name and numbers."""
    monitor = incident.monitor
    is_small = incident.effect.get("n", 0) < SMALLEST_NAMED_GROUP
    state = "acknowledged" if kind == MessageKind.ACKNOWLEDGE else incident.state
    effect = {} if is_small else {name: value for name, value in incident.effect.items() if name != "m2"}
    where = described(incident.labels, incident.slice_key) or "all records"
    return {
        "at": _iso(at),
        "incident_id": str(incident.pk),
        "state": state,
        "severity": incident.severity,
        "monitor": monitor.name,
        "metric": monitor.metric,
        "title": f"{monitor.name}: {_UNNAMED}" if is_small else incident.title,
        "summary": _summary(incident, at=at),
        "labels": {} if is_small else incident.labels,
        "where": _UNNAMED if is_small else where,
        "onset_at": _iso(incident.onset_at),
        "opened_at": _iso(incident.opened_at),
        "resolved_at": _iso(incident.resolved_at) if incident.resolved_at else None,
        "resolution": incident.resolution or None,
        "since": f"{incident.onset_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "effect": effect or None,
        "effect_text": effect_text(effect),
        "alarms_per_30_days": monitor.alarms_per_30_days,
        "budget_text": budget_text(monitor.alarms_per_30_days),
        "incident_url": incident_url(incident),
        "runbook_url": monitor.runbook_url,
    }


def incident_url(incident: Incident) -> str:
    path: str = reverse("admin:monitoring_incident_change", args=[incident.pk])
    return settings.BASE_URL + path


def effect_text(effect: Mapping[str, Any]) -> str:
    """“0.84 against 0.91: -0.07 (-0.09 to -0.05), n = 1 240”; empty without numbers."""
    if effect.get("current") is None:
        return ""
    text = f"{wording.number(effect['current'])} against {wording.number(effect['level'])}: "
    text += wording.number(effect["difference"])
    if effect.get("low") is not None:
        text += f" ({wording.interval(effect['low'], effect['high'], 'number')})"
    return f"{text}, n = {wording.count(effect['n'])}"


def budget_text(alarms_per_30_days: float) -> str:
    """“1 false alarm in 30 days”."""
    return f"{alarms_per_30_days:g} false alarm{'' if alarms_per_30_days == 1 else 's'} in 30 days"


def _summary(incident: Incident, *, at: datetime) -> str:
    if incident.state == IncidentState.RESOLVED:
        lasted = wording.seconds((at - incident.opened_at).total_seconds())
        return f"Resolved after {lasted}: {Resolution(incident.resolution).label}."
    found = wording.seconds((incident.opened_at - incident.onset_at).total_seconds())
    return f"Found {found} after it seems to have begun. {incident.monitor.description}".strip()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
