"""What channels for people say, before each of them escapes and cuts it: plain text from frozen payloads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from monitoring.channels.channel import Notice, Outgoing
from triageops import wording

_SEVERITIES = ("critical", "error", "warning", "info")
_FACTS = {
    "Where": "where",
    "Since": "since",
    "Effect": "effect_text",
    "Strength": "sequence_text",
    "Budget": "budget_text",
}
LINKS = (
    ("Open incident", "incident_url"),
    ("Responses", "responses_url"),
    ("Open experiment", "experiment_url"),
    ("Source", "source_url"),
    ("Runbook", "runbook_url"),
)
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SLICES_MAX = 5
_COMMON_LABELS_MAX = 4


def ordered(messages: Sequence[Outgoing]) -> list[Outgoing]:
    """The worst first, among equals the oldest; what is over comes last."""
    return sorted(messages, key=_rank)


def _rank(message: Outgoing) -> tuple[bool, int, str]:
    severity = message.payload.get("severity")
    rank = _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)
    return is_over(message), rank, str(message.payload.get("opened_at") or message.payload.get("at") or "")


def is_over(message: Outgoing) -> bool:
    return message.kind == "resolve"


def state_of(message: Outgoing) -> str:
    """“firing”, “still firing, reminder 2”, “resolved”."""
    if message.kind == "reminder":
        number = message.payload.get("reminder")
        return "still firing" + (f", reminder {number}" if number else "")
    return str(message.payload.get("state") or message.kind)


def title_of(message: Outgoing) -> str:
    return one_line(message.payload.get("title") or "") or "An incident without a title"


def own_title(notice: Notice) -> str:
    """The title that an administrator's text made; empty when the built-in one is to be used."""
    return one_line(notice.written.title) if notice.written is not None else ""


def own_body(notice: Notice) -> str:
    return clean(notice.written.body).strip() if notice.written is not None else ""


def head_of(message: Outgoing) -> str:
    state = state_of(message)
    return f"{state.upper() if message.kind != 'reminder' else _capital(state)} · {title_of(message)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def group_head(notice: Notice) -> str:
    """“3 firing, 2 resolved · lang=es”."""
    counts = Counter("resolved" if is_over(message) else "firing" for message in notice.messages)
    text = ", ".join(
        f"{wording.count(counts[name])} {name}" for name in ("firing", "resolved") if counts[name]
    )
    common = ", ".join(
        f"{name}={one_line(value)}" for name, value in sorted(notice.labels.items())[:_COMMON_LABELS_MAX]
    )
    return f"{text} · {common}" if common else text


def summary_of(message: Outgoing) -> str:
    """The summary, with what must be said whatever the summary is."""
    parts = [message.payload.get("summary"), message.payload.get("note"), suppression_of(message)]
    return clean(" ".join(str(part) for part in parts if part)).strip() or title_of(message)


def suppression_of(message: Outgoing) -> str:
    """“Suppressed since … by …: sent now because it is still so.”; empty when it was not held back."""
    if not message.suppressed_since:
        return ""
    by = f" by {one_line(message.suppressed_by)}" if message.suppressed_by else ""
    return f"Suppressed since {message.suppressed_since}{by}; sent now that this has ended."


def facts_of(message: Outgoing) -> list[tuple[str, str]]:
    """Name and value of what is known of the incident."""
    payload = message.payload
    found = [(title, clean(payload[name])) for title, name in _FACTS.items() if payload.get(name)]
    if payload.get("affected_count") is not None:
        found.append(("Affected", wording.plural(payload["affected_count"], "unit")))
    slices = slices_text(payload)
    return [*found, ("Slices", slices)] if slices else found


def slices_text(payload: Mapping[str, object]) -> str:
    """“lang=es 71 %, model=m2 20 %”."""
    slices = payload.get("slices")
    if not isinstance(slices, list):
        return ""
    named = [row for row in slices if isinstance(row, Mapping) and row.get("name")]
    return ", ".join(
        f"{one_line(row['name'])} {wording.share(row['share'])}"
        if isinstance(row.get("share"), float)
        else one_line(row["name"])
        for row in named[:_SLICES_MAX]
    )


def links_of(message: Outgoing) -> list[tuple[str, str]]:
    """Text and address of where to go on."""
    return [(text, str(message.payload[name])) for text, name in LINKS if message.payload.get(name)]


def inbox_url_of(notice: Notice) -> str:
    """Where all incidents are listed: the payload says it, or it is the page above the incident's own."""
    for message in notice.messages:
        if message.payload.get("inbox_url"):
            return str(message.payload["inbox_url"])
    incident_url = str(notice.messages[0].payload.get("incident_url") or "")
    above, found, _ = incident_url.partition("/monitoring/incident/")
    return above + found


def is_link(url: object) -> bool:
    return isinstance(url, str) and url.startswith(("https://", "http://"))


def small_print(notice: Notice) -> str:
    """Which message this is, whether it may be a repeat, and what is wrong with the channel's own text."""
    first = notice.messages[0]
    parts = [f"{first.webhook_id} · attempt {first.attempt}"]
    if len(notice.messages) > 1:
        parts.append(wording.plural(len(notice.messages), "message"))
    if any(message.is_possible_repeat for message in notice.messages):
        parts.append("possible repeat: the outcome of an earlier attempt is not known")
    if notice.complaint:
        parts.append(one_line(notice.complaint))
    return " · ".join(parts)


def one_line(text: object) -> str:
    """Without line breaks, control characters and what turns the direction of writing."""
    return " ".join(_UNSEEN.sub(" ", str(text)).split())


def clean(text: object) -> str:
    """As one_line, but lines stay lines."""
    return "\n".join(_UNSEEN.sub("", line) for line in str(text).expandtabs(4).split("\n"))


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, the last of them “…” if something is missing."""
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"
