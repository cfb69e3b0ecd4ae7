"""Block Kit within Slack's limits (python-slack-sdk; the cap of the whole message from bolt-js#2509)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from monitoring.channels import message_text as said
from monitoring.channels.channel import Notice, Outgoing
from triageops import wording

HEADER_MAX, SECTION_MAX, FIELD_MAX, FIELDS_MAX, URL_MAX, TEXT_MAX = 150, 3000, 2000, 10, 3000, 4000
BLOCKS_MAX, BUTTONS_MAX, TOTAL_MAX = 50, 25, 12_000
LINES_MAX = 10
_SHRINKING = (SECTION_MAX, 1500, 700, 300, 120)
"""How long a text may be; the next smaller one is tried while the whole is too large."""
_WRITTEN_SECTIONS = 3
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

Block = dict[str, Any]


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


def body_of(notice: Notice) -> dict[str, Any]:
    """The JSON of one message, cut so that Slack takes it."""
    head = _head(notice)
    blocks = _blocks(notice, head, _SHRINKING[-1])
    for limit in _SHRINKING:
        blocks = _blocks(notice, head, limit)
        if size_of(blocks) <= TOTAL_MAX:
            break
    return {
        "text": escaped(head, TEXT_MAX),
        "blocks": blocks[:BLOCKS_MAX],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def size_of(blocks: list[Block]) -> int:
    return len(json.dumps(blocks, ensure_ascii=False))


def _head(notice: Notice) -> str:
    built_in = said.head_of(notice.messages[0]) if len(notice.messages) == 1 else said.group_head(notice)
    return said.own_title(notice) or built_in


def _blocks(notice: Notice, head: str, limit: int) -> list[Block]:
    return [
        {"type": "header", "text": {"type": "plain_text", "text": said.cut(head, HEADER_MAX), "emoji": True}},
        *_middle(notice, limit),
        {"type": "context", "elements": [_mrkdwn(said.small_print(notice), min(limit, FIELD_MAX))]},
        *_buttons(notice, limit),
    ]


def _middle(notice: Notice, limit: int) -> Iterable[Block]:
    if text := said.own_body(notice):
        return _written(text, limit)
    if len(notice.messages) == 1:
        return _of_one(notice.messages[0], limit)
    return _of_many(notice, limit)


def _written(text: str, limit: int) -> list[Block]:
    parts = [text[start : start + limit] for start in range(0, len(text), limit)]
    shown = [part for part in parts[:_WRITTEN_SECTIONS] if part.strip()]
    if len(parts) > _WRITTEN_SECTIONS:
        shown[-1] += "…" * 2  # One of them is what the cut leaves.
    return [{"type": "section", "text": _mrkdwn(part, limit)} for part in shown]


def _of_one(message: Outgoing, limit: int) -> list[Block]:
    blocks: list[Block] = [{"type": "section", "text": _mrkdwn(said.summary_of(message), limit)}]
    fields = [_field(name, value, min(limit, FIELD_MAX)) for name, value in said.facts_of(message)]
    if fields:
        blocks.append({"type": "section", "fields": fields[:FIELDS_MAX]})
    return blocks


def _of_many(notice: Notice, limit: int) -> list[Block]:
    """A line for each of the worst, the rest as a number."""
    messages = said.ordered(notice.messages)
    lines = [_line(message, min(limit, SECTION_MAX // LINES_MAX)) for message in messages[:LINES_MAX]]
    rest = len(messages) - LINES_MAX
    blocks: list[Block] = [{"type": "section", "text": {"type": "mrkdwn", "text": line}} for line in lines]
    if rest > 0:
        blocks.append({"type": "section", "text": _mrkdwn(f"and {wording.count(rest)} more", limit)})
    return blocks


def _line(message: Outgoing, limit: int) -> str:
    title = escaped(said.title_of(message), limit)
    url = _link(str(message.payload.get("incident_url") or ""), limit)
    parts = [said.state_of(message), message.payload.get("severity"), message.payload.get("since")]
    facts = " · ".join(escaped(str(part), 60) for part in parts if part)
    held = f" · suppressed since {message.suppressed_since}" if message.suppressed_since else ""
    return f"• {f'<{url}|{title}>' if url else title} · {facts}{escaped(held, 60)}"


def _link(url: str, limit: int) -> str:
    """An address within `<…|…>`; empty if it is too long to be of use."""
    safe = url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")
    return safe if len(safe) <= max(limit, 300) else ""


def _buttons(notice: Notice, limit: int) -> list[Block]:
    first = notice.messages[0]
    is_group = len(notice.messages) > 1
    links = [("Open inbox", said.inbox_url_of(notice))] if is_group else said.links_of(first)
    elements = [
        {"type": "button", "text": {"type": "plain_text", "text": text}, "url": url}
        for text, url in links
        if url and len(url) <= min(limit * 10, URL_MAX)
    ]
    return [{"type": "actions", "elements": elements[:BUTTONS_MAX]}] if elements else []


def _field(name: str, value: str, limit: int) -> dict[str, str]:
    return {"type": "mrkdwn", "text": f"*{name}*\n{escaped(value, limit - len(name) - 3)}"}


def _mrkdwn(text: str, limit: int) -> dict[str, str]:
    return {"type": "mrkdwn", "text": escaped(text, limit)}
