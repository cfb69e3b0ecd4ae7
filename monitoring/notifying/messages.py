"""What alerts say: frozen with the state that they tell, in the same transaction. Numbers only, no words of patients."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q

from monitoring.history import flags
from monitoring.models import (
    Channel,
    EventKind,
    Incident,
    IncidentEvent,
    MessageKind,
    MessageStatus,
    OutboxMessage,
)
from monitoring.notifying import telling
from monitoring.notifying.payloads import incident_payload, iso
from monitoring.notifying.telling import Leg
from monitoring.quiet.held import doubtful

_LEAVES = (MessageStatus.PENDING, MessageStatus.LEASED, MessageStatus.DELIVERED)


def enqueue(
    incident: Incident,
    kind: MessageKind,
    *,
    now: datetime,
    event: IncidentEvent | None = None,
    channels: Iterable[Channel] | None = None,
) -> list[OutboxMessage]:
    """Write a message for each channel that is to hear it; must run in the transaction of what it tells.

    event: what it tells; by default the last. channels: instead of those that monitor and routes choose.
    A disabled channel gets its message too: it waits there, seen, instead of being lost unseen.
    """
    legs = telling.legs_of(incident, kind, now=now, channels=channels)
    return write(incident, kind, legs, event=event, now=now)


def write(
    incident: Incident,
    kind: MessageKind,
    legs: Sequence[Leg],
    *,
    now: datetime,
    event: IncidentEvent | None = None,
    said: Mapping[str, Any] | None = None,
) -> list[OutboxMessage]:
    """The messages of these legs; said: what they say besides. What a silence holds back waits for its end."""
    if not legs:
        return []
    known = event or incident.events.filter(seq=incident.version).first()
    seq, event_hash = (known.seq, known.hash) if known is not None else (incident.version, "")
    payload = incident_payload(incident, kind, at=now, event_hash=event_hash) | dict(said or {})
    held_by = flags.suppressing(incident) if kind in {MessageKind.TRIGGER, MessageKind.REMINDER} else None
    is_first = known is not None and known.kind == EventKind.OPENED
    identities = {} if is_first else _identities(incident, [leg.channel for leg in legs])
    found = []
    for leg in legs:
        mine = payload | identities.get(leg.channel.pk, {})
        message = new_message(leg.channel, kind, mine, incident=incident, seq=seq, now=now)
        message.not_before, message.route_id = leg.not_before, leg.route_id
        message.expires_at = leg.not_before + OutboxMessage.LIFETIME
        message.because, message.group_key, message.step = leg.because, leg.group_key, leg.step
        if held_by is not None:
            message.status = MessageStatus.SUPPRESSED
            message.suppressed_since, message.suppressed_by = now, held_by.why
        found.append(message)
    return OutboxMessage.objects.bulk_create(found)


def _identities(incident: Incident, channels: Iterable[Channel]) -> dict[int, dict[str, Any]]:
    """The labels by which each channel knows the incident: those that left first. Another set would be another alert there."""
    told = OutboxMessage.objects.filter(
        Q(status__in=_LEAVES) | Q(doubtful()),
        incident=incident,
        kind=MessageKind.TRIGGER,
        channel__in=[channel.pk for channel in channels],
    )
    first = told.order_by("channel_id", "seq").distinct("channel_id")
    found = dict(first.values_list("channel", "payload__routing_labels"))
    return {channel: {"routing_labels": labels} for channel, labels in found.items() if labels}


def enqueue_test(channel: Channel, *, now: datetime) -> OutboxMessage:
    """A message that says of itself that it is a test."""
    payload = {
        "at": iso(now),
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
