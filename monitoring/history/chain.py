"""The log of an incident: append-only, and each event sealed by the hash of all before it.

Whoever changes, removes or adds an event afterwards breaks every later hash. Events of releases before the chain have no hash
of their own; the first one after them seals them too. Each message carries the hash of the event that it tells, so receivers
hold witnesses that nobody here can change.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import F

from monitoring.models import EventKind, Incident, IncidentEvent

START = "0" * 64
_EXACT = 2**53


class IncidentChanged(Exception):
    """Somebody else changed the incident in between; look again and decide anew."""


@dataclass(frozen=True)
class Sealed:
    """What is sealed of an event; also how exports carry it."""

    incident: str
    seq: int
    kind: str
    at: datetime
    by: int | None
    actor: str
    details: Any
    hash: str = ""

    @classmethod
    def of(cls, event: IncidentEvent) -> "Sealed":
        return cls(
            str(event.incident_id),
            event.seq,
            event.kind,
            event.at,
            event.by_id,
            event.actor,
            event.details,
            event.hash,
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a log is as it was written. head: the last hash; broken_at: the first event that does not fit."""

    is_intact: bool
    event_count: int
    head: str
    broken_at: int | None = None
    reason: str = ""


def append(
    incident: Incident,
    kind: EventKind,
    *,
    now: datetime,
    by: User | None = None,
    actor: str = "",
    details: Mapping[str, Any] | None = None,
    **changes: Any,
) -> IncidentEvent:
    """One more event, and the changes to the incident that go with it; raises IncidentChanged."""
    unchanged = Incident.objects.filter(pk=incident.pk, version=incident.version)
    if not unchanged.update(version=F("version") + 1, **changes):
        raise IncidentChanged(f"Incident {incident.pk} was changed in between.")
    for name, value in changes.items():
        setattr(incident, name, value)
    incident.version += 1
    return write(incident, kind, incident.version, now=now, by=by, actor=actor, details=details)


def write(
    incident: Incident,
    kind: EventKind,
    seq: int,
    *,
    now: datetime,
    by: User | None = None,
    actor: str = "",
    details: Mapping[str, Any] | None = None,
) -> IncidentEvent:
    """The event alone; whoever calls it holds the incident's version."""
    event = IncidentEvent(
        incident=incident,
        seq=seq,
        kind=kind,
        at=now,
        by=by,
        actor=actor or (by.get_username() if by is not None else ""),
        details=dict(details or {}),
    )
    event.hash = seal(_last_hash(incident, seq), Sealed.of(event))
    event.save(force_insert=True)
    return event


def seal(previous: str, event: Sealed) -> str:
    """SHA-256, in hex, of the hash before it and the event."""
    body = {
        "incident": event.incident,
        "seq": event.seq,
        "kind": str(event.kind),
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "by": event.by,
        "actor": event.actor,
        "details": event.details,
    }
    return hashlib.sha256(f"{previous}\n{canonical(body)}".encode()).hexdigest()


def verify(events: Iterable[Sealed]) -> Verdict:
    """Whether each hash fits what is before it; events in the order of their numbers."""
    previous, count = START, 0
    for event in events:
        count += 1
        if event.seq != count:
            return Verdict(False, count, previous, count, f"event {count} is missing")  # noqa: FBT003
        found = seal(previous, event)
        if event.hash and event.hash != found:
            return Verdict(False, count, previous, event.seq, f"event {event.seq} does not fit its hash")  # noqa: FBT003
        previous = found
    return Verdict(True, count, previous)  # noqa: FBT003


def canonical(value: Any) -> str:
    """One text for one value, also after a round through JSON and PostgreSQL: sorted names, numbers as doubles."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        # JSON knows neither int nor float: 1.0 may come back as 1, and 1e22 as digits.
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < _EXACT else repr(number)
    return str(value)


def _last_hash(incident: Incident, seq: int) -> str:
    """Of the event before `seq`; events before the chain are sealed now, from the first one on."""
    if seq == 1:
        return START
    before = IncidentEvent.objects.filter(incident=incident, seq__lt=seq)
    last = before.order_by("-seq").first()
    if last is None:
        return START
    return last.hash or verify(Sealed.of(one) for one in before.order_by("seq")).head
