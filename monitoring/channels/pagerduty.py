"""PagerDuty through Events API v2: one key per incident, which trigger, acknowledge and resolve share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from monitoring.channels import message_text as said
from monitoring.channels.channel import (
    DeliveryError,
    Notice,
    Outgoing,
    Rate,
    call,
    refuse_failure,
    url_mistakes,
)
from monitoring.outbound import Answer

EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"
KEY_LENGTH = 32
SUMMARY_MAX, DEDUP_KEY_MAX, EVENT_MAX = 1024, 255, 512_000
_TEXT_MAX = 10_000
_SEVERITIES = frozenset({"critical", "error", "warning", "info"})
_ACTIONS = {
    "trigger": ("trigger",),
    "reminder": ("trigger",),
    "acknowledge": ("acknowledge",),
    "resolve": ("resolve",),
    "test": ("trigger", "resolve"),
}


@dataclass(frozen=True)
class PagerDuty:
    name: ClassVar[str] = "pagerduty"
    title: ClassVar[str] = "PagerDuty (Events API v2)"
    takes: ClassVar[frozenset[str]] = frozenset(_ACTIONS)
    is_grouped: ClassVar[bool] = False
    rate: ClassVar[Rate] = Rate(2.0, 10)

    secret: str
    """The routing key of an Events API v2 integration."""
    url: str = EVENTS_URL

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        found = url_mistakes(settings) if settings.get("url") else {}
        if len(str(settings.get("secret") or "")) != KEY_LENGTH:
            found["secret"] = f"The routing key of an Events API v2 integration has {KEY_LENGTH} characters."
        return found

    def events(self, notice: Notice) -> list[bytes]:
        """The bodies to post, one after the other; a test is opened and at once resolved."""
        actions = _ACTIONS[notice.messages[0].kind]
        return [_encoded(self._event(notice, action)) for action in actions]

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        answer = Answer(202, {}, b"")
        for body in self.events(notice):
            answer = call(self.url or EVENTS_URL, body, {"Content-Type": "application/json"})
            _judge(answer, now=now)
        return answer

    def _event(self, notice: Notice, action: str) -> dict[str, Any]:
        message = notice.messages[0]
        event = {"routing_key": self.secret, "event_action": action, "dedup_key": dedup_key_of(message)}
        if action != "trigger":
            return event
        payload = message.payload
        links = [{"href": url, "text": text} for text, url in said.links_of(message) if said.is_link(url)]
        about = {
            "summary": said.cut(_summary(notice), SUMMARY_MAX),
            "source": _source(message),
            "severity": _severity(message),
            "timestamp": payload.get("opened_at") or payload.get("at"),
            "component": payload.get("monitor"),
            "group": payload.get("experiment"),
            "class": payload.get("metric"),
            "custom_details": _details(notice),
        }
        return {
            **event,
            "payload": {name: value for name, value in about.items() if value},
            "client": "TriageOps",
            **({"client_url": payload["incident_url"]} if said.is_link(payload.get("incident_url")) else {}),
            **({"links": links} if links else {}),
        }


def dedup_key_of(message: Outgoing) -> str:
    """What PagerDuty tells incidents apart by, in at most 255 characters; a test has one of its own."""
    if message.kind == "test":
        key = f"triageops:test:{message.webhook_id}"
    else:
        key = message.dedup_key or f"triageops:{message.payload.get('incident_id') or message.webhook_id}"
    if len(key) <= DEDUP_KEY_MAX:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{key[: DEDUP_KEY_MAX - len(digest) - 1]}:{digest}"


def _summary(notice: Notice) -> str:
    if title := said.own_title(notice):
        return title
    message = notice.messages[0]
    if message.kind == "reminder":
        return said.head_of(message)
    held = said.suppression_of(message)
    return f"{said.title_of(message)} ({held.rstrip('.')})" if held else said.title_of(message)


def _severity(message: Outgoing) -> str:
    if message.kind == "test":
        return "info"
    severity = message.payload.get("severity")
    return str(severity) if severity in _SEVERITIES else "error"


def _source(message: Outgoing) -> str:
    try:
        host = urlsplit(str(message.payload.get("incident_url") or "")).hostname
    except ValueError:
        host = None
    return f"triageops/{host}" if host else "triageops"


def _details(notice: Notice) -> dict[str, Any]:
    message = notice.messages[0]
    details: dict[str, Any] = dict(said.facts_of(message))
    details["Summary"] = said.summary_of(message)
    details["Message"] = said.small_print(notice)
    details["Text"] = said.own_body(notice)
    found = {name: said.cut(value, _TEXT_MAX) for name, value in details.items() if value}
    return found | {"Labels": message.payload["labels"]} if message.payload.get("labels") else found


def _encoded(event: dict[str, Any]) -> bytes:
    """An event above PagerDuty's limit loses its details, and says so."""
    body = json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
    if len(body) <= EVENT_MAX:
        return body
    note = f"The details were left out: the event would have had {len(body)} bytes, more than {EVENT_MAX}."
    kept = {**event, "payload": {**event["payload"], "custom_details": {"Note": note}}}
    return json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()


def _judge(answer: Answer, *, now: datetime) -> None:
    """Taken is 202 and nothing else; a refusal is told with PagerDuty's own reasons."""
    told = _said(answer)
    try:
        refuse_failure(answer, now=now)
    except DeliveryError as error:
        errors = told.get("errors")
        reasons = [told.get("message"), *(errors if isinstance(errors, list) else [])]
        words = [said.one_line(reason) for reason in reasons if isinstance(reason, str)]
        error.reason = ": ".join([error.reason, *filter(None, ["; ".join(words)])])[:500]
        raise
    if answer.status != 202 or told.get("status", "success") != "success":
        raise DeliveryError(
            f"answered {answer.status} with “{said.one_line(answer.text)[:100]}” instead of 202",
            is_ambiguous=True,
            answer=answer,
        )


def _said(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
