"""What PagerDuty tells us back (webhooks v3): that somebody acknowledged or resolved there what we opened.

Delivered at least once: `Event.id` is the same each time. Who receives it takes the raw body, verifies, reads, and decides.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

BODY_MAX = 256 * 1024
"""PagerDuty itself drops what is larger."""
_SIGNATURES_MAX = 20
_KINDS = {
    "incident.triggered": "trigger",
    "incident.acknowledged": "acknowledge",
    "incident.unacknowledged": "unacknowledge",
    "incident.resolved": "resolve",
    "incident.reopened": "reopen",
    "incident.escalated": "escalate",
    "incident.delegated": "reassign",
    "incident.reassigned": "reassign",
    "pagey.ping": "ping",
}


class UnreadableEvent(ValueError):
    """Not an event of webhooks v3."""


@dataclass(frozen=True)
class Event:
    """kind: acknowledge, unacknowledge, resolve, reopen, trigger, escalate, reassign, ping, or other.

    dedup_key: the key that the incident was opened with; empty when the event has none. is_by_person: somebody did it in
    PagerDuty; else it is an automaton, or the echo of what we sent.
    """

    id: str
    kind: str
    event_type: str
    dedup_key: str
    who: str
    is_by_person: bool
    occurred_at: datetime | None
    html_url: str
    service: str


def is_signed(header: str, body: bytes, secrets: Sequence[str]) -> bool:
    """Whether `X-PagerDuty-Signature` holds a signature of exactly this body by one of the secrets.

    Several signatures, or several secrets, are what a change of the secret looks like.
    """
    given = [part.strip() for part in header.split(",")[:_SIGNATURES_MAX]]
    signatures = [part.removeprefix("v1=") for part in given if part.startswith("v1=")]
    expected = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets if secret]
    # As bytes: compare_digest refuses text beyond ASCII, which a stranger may send. No early end: time tells nothing.
    matches = [
        hmac.compare_digest(own.encode(), signature.lower().encode("utf-8", "replace"))
        for own in expected
        for signature in signatures
    ]
    return any(matches)


def read(body: bytes) -> Event:
    """The event in a verified body; raises UnreadableEvent."""
    if len(body) > BODY_MAX:
        raise UnreadableEvent(f"The body has {len(body)} bytes, more than {BODY_MAX}.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableEvent("The body is not JSON.") from None
    event = _object(found, "event")
    event_type = _text(event, "event_type")
    if not event_type:
        raise UnreadableEvent("The body has no event.event_type.")
    data, agent = _object(event, "data"), _object(event, "agent")
    return Event(
        id=_text(event, "id"),
        kind=_KINDS.get(event_type, "other"),
        event_type=event_type,
        dedup_key=_text(data, "incident_key"),
        who=_text(agent, "summary") or "PagerDuty",
        is_by_person=_text(agent, "type") == "user_reference",
        occurred_at=_time(_text(event, "occurred_at")),
        html_url=_link(_text(data, "html_url")),
        service=_text(_object(data, "service"), "summary"),
    )


def _object(found: Any, name: str) -> dict[str, Any]:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, dict) else {}


def _text(found: dict[str, Any], name: str) -> str:
    """In a form that PostgreSQL stores: no NUL, no half of a surrogate pair."""
    value = found.get(name)
    text = value[:300] if isinstance(value, str) else ""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _link(url: str) -> str:
    return url if url.startswith("https://") else ""


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
