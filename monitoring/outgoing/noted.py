"""Which messages an incident's log says something of: that one did not arrive, or that a step was taken because of it."""

from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Concat, Replace

from monitoring.models import EventKind, IncidentEvent, OutboxMessage


def is_noted(message: OutboxMessage, kind: EventKind) -> bool:
    events = IncidentEvent.objects.filter(kind=kind, incident=message.incident_id)
    return events.filter(details__message=message.webhook_id).exists()


def unnoted(rows: QuerySet[OutboxMessage], kind: EventKind) -> QuerySet[OutboxMessage]:
    """Messages of which no such event says anything."""
    digits = Replace(Cast("id", CharField()), Value("-"), Value(""))
    events = IncidentEvent.objects.filter(kind=kind, incident=OuterRef("incident"))
    saying = events.annotate(said=KeyTextTransform("message", "details")).filter(said=OuterRef("as_said"))
    found = rows.annotate(as_said=Concat(Value("msg_"), digits))
    return found.filter(~Exists(saying))
