"""A Slack channel, through an incoming webhook: Block Kit within its limits, success only when the body is `ok`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from monitoring.channels.channel import DeliveryError, Outgoing, call, refuse_failure
from monitoring.outbound import Answer
from triageops import wording

HEADER_MAX, SECTION_MAX, FIELD_MAX, URL_MAX, TEXT_MAX = 150, 3000, 2000, 3000, 4000
_DEAD_HOOK = frozenset(
    {
        "invalid_token",
        "action_prohibited",
        "channel_not_found",
        "channel_is_archived",
        "no_service",
        "no_team",
        "user_not_found",
    }
)
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(text: str, limit: int) -> str:
    """Text that Slack shows as it is, in at most `limit` characters; an entity is never cut in two."""
    parts: list[str] = []
    size = 0
    for character in text:
        part = _ESCAPES.get(character, character)
        if size + len(part) > limit - 1:
            return "".join(parts) + "…"
        parts.append(part)
        size += len(part)
    return "".join(parts)


@dataclass(frozen=True)
class Slack:
    name: ClassVar[str] = "slack"
    title: ClassVar[str] = "Slack (incoming webhook)"
    takes: ClassVar[frozenset[str]] = frozenset({"trigger", "resolve", "test"})

    url: str

    def body(self, message: Outgoing) -> dict[str, Any]:
        payload = message.payload
        head = f"{payload['state'].upper()} · {payload['title']}"
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": _cut(head, HEADER_MAX), "emoji": True}},
            {"type": "section", "text": _mrkdwn(payload["summary"], SECTION_MAX)},
        ]
        fields = [_field(name, value) for name, value in _facts(message)]
        if fields:
            blocks.append({"type": "section", "fields": fields[:10]})
        blocks.append({"type": "context", "elements": [_mrkdwn(_fine_print(message), FIELD_MAX)]})
        buttons = [
            _button(text, payload[name])
            for text, name in _BUTTONS
            if payload.get(name) and len(payload[name]) <= URL_MAX
        ]
        if buttons:
            blocks.append({"type": "actions", "elements": buttons})
        return {
            "text": escaped(head, TEXT_MAX),
            "blocks": blocks,
            "unfurl_links": False,
            "unfurl_media": False,
        }

    def send(self, message: Outgoing, *, now: datetime) -> Answer:
        body = json.dumps(self.body(message), ensure_ascii=False).encode()
        answer = call(self.url, body, {"Content-Type": "application/json; charset=utf-8"})
        said = answer.text.strip()
        try:
            refuse_failure(answer, now=now)
        except DeliveryError as error:
            error.reason = f"{error.reason} {said[:100]}".strip()
            error.is_gone = answer.status in {404, 410} or said in _DEAD_HOOK
            raise
        if said != "ok":
            # Something that is not Slack answered, or Slack refused: either way nobody has read the message.
            raise DeliveryError(
                f"answered 200 with “{said[:100]}” instead of “ok”",
                permanent=said in _DEAD_HOOK,
                is_ambiguous=said not in _DEAD_HOOK,
                is_gone=said in _DEAD_HOOK,
                answer=answer,
            )
        return answer


_BUTTONS = (
    ("Open incident", "incident_url"),
    ("Open experiment", "experiment_url"),
    ("Runbook", "runbook_url"),
)
_FACTS = {"Where": "where", "Since": "since", "Effect": "effect_text", "Budget": "budget_text"}


def _facts(message: Outgoing) -> list[tuple[str, str]]:
    found = [(title, message.payload[name]) for title, name in _FACTS.items() if message.payload.get(name)]
    affected_count = message.payload.get("affected_count")
    return found if affected_count is None else [*found, ("Affected", wording.plural(affected_count, "unit"))]


def _fine_print(message: Outgoing) -> str:
    text = f"{message.webhook_id} · attempt {message.attempt}"
    if message.is_possible_repeat:
        text += " · possible repeat: the outcome of an earlier attempt is not known"
    return text


def _field(name: str, value: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": f"*{name}*\n{escaped(value, FIELD_MAX - len(name) - 3)}"}


def _mrkdwn(text: str, limit: int) -> dict[str, str]:
    return {"type": "mrkdwn", "text": escaped(text, limit)}


def _button(text: str, url: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": text}, "url": url}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
