"""Rows that are read along with the row that they belong to, in the same query: a page asks the database ten times at most."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, CharField, OuterRef, QuerySet, Subquery, UUIDField, Value, When
from django.db.models.functions import Cast, JSONObject, Substr

from monitoring.models import DeliveryAttempt, Incident, IncidentFlag, OutboxMessage, Silence
from monitoring.reading.incident_sentences import OF_SILENCE

_FLAG = ("kind", "cause", "why", "who", "since", "until")
_ATTEMPT = (
    "number", "started_at", "seconds", "together_count", "outcome", "reason", "status_code", "answer", "is_ambiguous",
)  # fmt: skip
_TIMES = {"since", "until", "started_at"}


def with_flags(rows: QuerySet[Incident]) -> QuerySet[Incident]:
    """Each with its active flags, and what was written about the silences among them."""
    named = Cast(Substr(OuterRef("cause"), len(OF_SILENCE) + 1), UUIDField())
    comment = Case(
        When(
            cause__startswith=OF_SILENCE,
            then=Subquery(Silence.objects.filter(pk=named).values("comment")[:1]),
        ),
        default=Value(""),
        output_field=CharField(),
    )
    flags = IncidentFlag.objects.active().filter(incident=OuterRef("pk"))
    row = JSONObject(**{name: name for name in _FLAG}, comment=comment)
    return rows.annotate(flag_rows=ArraySubquery(flags.values_list(row)))


def keep_flags(incident: Any) -> None:
    """Sets `active_flags` and `silence_comments` of a row of `with_flags`."""
    incident.active_flags = [IncidentFlag(**_fields(row, _FLAG)) for row in incident.flag_rows]
    incident.silence_comments = {row["cause"]: row["comment"] for row in incident.flag_rows if row["comment"]}


def with_attempts(rows: QuerySet[OutboxMessage]) -> QuerySet[OutboxMessage]:
    attempts = DeliveryAttempt.objects.filter(message=OuterRef("pk")).order_by("number")
    return rows.annotate(
        attempt_rows=ArraySubquery(attempts.values_list(JSONObject(**{one: one for one in _ATTEMPT})))
    )


def keep_attempts(messages: Iterable[Any]) -> None:
    """Sets `tries` of each row of `with_attempts`."""
    for message in messages:
        message.tries = [DeliveryAttempt(**_fields(row, _ATTEMPT)) for row in message.attempt_rows]


def _fields(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(row[name]) if name in _TIMES and row[name] else row[name]
        for name in names
    }
