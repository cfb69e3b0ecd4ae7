"""An administrator's own words for a channel: a title and a body, made from what the messages say.

See monitoring/templating/text_language.py for what may stand in them. A text that is broken raises BrokenText; whoever sends falls back
to the channel's own words and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.template import TemplateSyntaxError

from monitoring.channels.channel import Written
from monitoring.channels.message_text import clean
from monitoring.templating.text_language import LEAF, Counted, Schema, Text, TooMuch

SOURCE_MAX, TITLE_MAX, BODY_MAX = 4_000, 300, 8_000
_VALUE_MAX, _ITEMS_MAX, _DEPTH_MAX = 4_000, 100, 4

FIELDS = (
    "acknowledged_by",
    "affected_count",
    "alarms_per_30_days",
    "at",
    "budget_text",
    "effect_text",
    "event_hash",
    "experiment",
    "experiment_url",
    "inbox_url",
    "incident_id",
    "incident_url",
    "metric",
    "monitor",
    "note",
    "onset_at",
    "opened_at",
    "reminder",
    "resolution",
    "resolved_at",
    "responses_url",
    "runbook_url",
    "sequence_text",
    "severity",
    "since",
    "source_url",
    "state",
    "summary",
    "title",
    "where",
)
"""What is known of an incident, beside what has parts: labels, routing_labels, effect and slices."""

_INCIDENT: Schema = {
    **dict.fromkeys(FIELDS, LEAF),
    "effect": None,
    "labels": None,
    "routing_labels": None,
    "slices": [{"name": LEAF, "share": LEAF}],
}
NAMES: Mapping[str, Schema] = {
    "incident": _INCIDENT,
    "incidents": [_INCIDENT],
    "count": LEAF,
    "firing_count": LEAF,
    "resolved_count": LEAF,
}
_SAMPLE: Mapping[str, Any] = dict.fromkeys(FIELDS, "…") | {
    "labels": {"lang": "es"},
    "routing_labels": {"alertname": "helpfulness"},
    "effect": {"n": 400},
    "slices": [{"name": "lang=es", "share": 0.71}],
}


class BrokenText(Exception):
    """The text cannot be used; `reason` is a sentence with the line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def render(title_source: str, body_source: str, payloads: Sequence[Mapping[str, Any]]) -> Written:
    """Title and body about these messages, the first of which is `incident`; raises BrokenText.

    A title or body that is empty in the source stays empty.
    """
    incidents = [plain(payload) for payload in payloads]
    resolved_count = sum(incident.get("state") == "resolved" for incident in incidents)
    values = {
        "incident": incidents[0] if incidents else {},
        "incidents": incidents,
        "count": len(incidents),
        "firing_count": len(incidents) - resolved_count,
        "resolved_count": resolved_count,
    }
    title = " ".join(_rendered("title", title_source, values).split())
    return Written(_cut(title, TITLE_MAX), _cut(_rendered("body", body_source, values).strip(), BODY_MAX))


def check(title_source: str, body_source: str) -> list[str]:
    """What is wrong with the two, each with its line; empty when they can be used."""
    found = []
    for name, source in (("title", title_source), ("body", body_source)):
        try:
            text = _parsed(name, source)
        except BrokenText as error:
            found.append(error.reason)
            continue
        found += [f"{name}, {unknown}" for unknown in text.unknown]
    if not found:
        try:
            written = render(title_source, body_source, [_SAMPLE])
        except BrokenText as error:
            return [error.reason]
        if not written.title and not written.body:
            return ["The text says nothing."]
    return found


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which there is nothing but text, numbers, lists and mappings, none of them large."""
    found = _plain(value, _DEPTH_MAX)
    return found if isinstance(found, dict) else {}


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)[:_VALUE_MAX]
    if depth and isinstance(value, Mapping):
        return {str(name): _plain(part, depth - 1) for name, part in list(value.items())[:_ITEMS_MAX]}
    if depth and isinstance(value, list | tuple):
        return [_plain(part, depth - 1) for part in value[:_ITEMS_MAX]]
    return None


def _parsed(name: str, source: str) -> Text:
    if len(source) > SOURCE_MAX:
        raise BrokenText(f"{name}: it has {len(source)} characters, more than {SOURCE_MAX}.")
    try:
        return Text(source, NAMES)
    except TemplateSyntaxError as error:
        line = getattr(getattr(error, "token", None), "lineno", None)
        raise BrokenText(f"{name}, line {line or 1}: {error}") from None
    except RecursionError:
        raise BrokenText(f"{name}: too many blocks inside each other.") from None


def _rendered(name: str, source: str, values: dict[str, Any]) -> str:
    text = _parsed(name, source)
    if text.unknown:
        raise BrokenText(f"{name}, {text.unknown[0]}")
    try:
        written = text.render(Counted(values))[: 2 * BODY_MAX]
    except TooMuch:
        raise BrokenText(f"{name}: it takes too many steps.") from None
    except RecursionError:
        raise BrokenText(f"{name}: too many blocks inside each other.") from None
    return clean(written)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
