"""A clock, incidents with messages, and what became of them, for tests of deliveries."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring import incidents
from monitoring.models import Channel, Incident, MessageKind, OutboxMessage, Source
from monitoring.notifying import messages, telling
from tests.monitoring.receiver import Receiver

T0 = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)


class Clock:
    def __init__(self, at: datetime = T0) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, **span: float) -> None:
        self.at += timedelta(**span)


def reported(key: str = "disk", now: datetime = T0, **changes: Any) -> Incident:
    """Told to whoever routes, or without them the channels, choose."""
    values: dict[str, Any] = {
        "title": f"{key} is full",
        "severity": "error",
        "labels": {"alertname": key},
        "annotations": {},
        "onset_at": now,
        "actor": "test",
    }
    return incidents.report(Source.API, key, now=now, **values | changes)


def over(key: str = "disk", now: datetime = T0) -> Incident | None:
    return incidents.report_over(Source.API, key, actor="test", now=now)


def tell(
    incident: Incident, channel: Channel, kind: MessageKind, now: datetime, **changes: Any
) -> OutboxMessage:
    """One more message about it, with an event's number of its own."""
    incident.refresh_from_db()
    incidents.comment(incident.pk, "said", actor="test", now=now)
    incident.refresh_from_db()
    leg = telling.Leg(channel, "test", now, **changes)
    return messages.write(incident, kind, [leg], now=now)[0]


def statuses(**where: Any) -> list[str]:
    return list(OutboxMessage.objects.filter(**where).order_by("id").values_list("status", flat=True))


def told(receiver: Receiver) -> list[str]:
    return [json.loads(got.body)["type"] for got in receiver.got]
