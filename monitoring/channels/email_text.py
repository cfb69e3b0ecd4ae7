"""An e-mail about one incident, in that incident's thread, or about a group of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.channels import message_text as said
from monitoring.channels.channel import Notice, Outgoing
from triageops import wording

SUBJECT_MAX = 200
LINES_MAX = 100
_HEADER_IDS_MAX = 20
_TEXT_MAX = 20_000
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._-]")


def composed(notice: Notice, recipients: Sequence[str]) -> EmailMultiAlternatives:
    """The mail; the same Message-ID for every attempt, so that mail programs show a repeat once."""
    message = EmailMultiAlternatives(
        subject=subject_of(notice),
        body=_text(notice),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=list(recipients),
        headers=headers_of(notice),
    )
    message.attach_alternative(_html(notice), "text/html")
    return message


def subject_of(notice: Notice) -> str:
    if title := said.own_title(notice):
        return said.cut(title, SUBJECT_MAX)
    if len(notice.messages) > 1:
        return said.cut(f"{said.group_head(notice)}", SUBJECT_MAX)
    message = notice.messages[0]
    severity = said.one_line(message.payload.get("severity") or "")
    # Mail programs put a thread together by its subject too: it begins as the first one did.
    return said.cut(f"{f'[{severity}] ' if severity else ''}{said.head_of(message)}", SUBJECT_MAX)


def headers_of(notice: Notice) -> dict[str, str]:
    incidents = [str(message.payload.get("incident_id") or "") for message in notice.messages]
    headers = {
        "Auto-Submitted": "auto-generated",
        "X-TriageOps-Incident": ", ".join(
            _NOT_IN_AN_ID.sub("", incident) for incident in incidents[:_HEADER_IDS_MAX] if incident
        ),
    }
    if len(notice.messages) > 1:
        path = reverse("admin:monitoring_channel_changelist")
        headers |= {
            "Message-ID": _id(f"group.{notice.messages[0].webhook_id}"),
            "List-Unsubscribe": f"<{settings.BASE_URL}{path}>",
        }
    else:
        headers |= thread_of(notice.messages[0])
    return {name: value for name, value in headers.items() if value}


def thread_of(message: Outgoing) -> dict[str, str]:
    """<incident.seq@host>; the first of a thread is number 1 whatever its own number, so that the others can name it."""
    incident = message.payload.get("incident_id")
    if not incident:
        return {"Message-ID": _id(message.webhook_id)}
    first = _id(f"{incident}.1")
    if not message.thread:
        return {"Message-ID": first}
    return {
        "Message-ID": _id(f"{incident}.{max(message.seq, 2)}"),
        "In-Reply-To": first,
        "References": first,
    }


def _id(left: str) -> str:
    host = urlsplit(settings.BASE_URL).hostname or "localhost"
    return f"<{_NOT_IN_AN_ID.sub('', left)}@{host}>"


def _text(notice: Notice) -> str:
    parts = [_middle(notice)]
    parts += [f"{name}: {url}" for name, url in _links(notice)]
    return "\n\n".join([*parts, f"-- \n{said.small_print(notice)}"]) + "\n"


def _middle(notice: Notice) -> str:
    if text := said.own_body(notice):
        return said.cut(text, _TEXT_MAX)
    if len(notice.messages) > 1:
        lines = [_line(message) for message in said.ordered(notice.messages)[:LINES_MAX]]
        return "\n".join([*lines, *_rest(notice)])
    message = notice.messages[0]
    facts = "\n".join(f"{name}: {value}" for name, value in said.facts_of(message))
    return said.cut(
        "\n\n".join(filter(None, [said.head_of(message), said.summary_of(message), facts])), _TEXT_MAX
    )


def _line(message: Outgoing) -> str:
    url = message.payload.get("incident_url")
    return f"- {_about(message)}{f' {url}' if url else ''}"


def _about(message: Outgoing) -> str:
    """“firing · critical · the title · since 2026-03-01 11:50 UTC”."""
    payload = message.payload
    parts = [said.state_of(message), payload.get("severity"), said.cut(said.title_of(message), 300)]
    parts += [f"since {payload['since']}"] if payload.get("since") else []
    parts += [said.suppression_of(message).rstrip(".")]
    return " · ".join(str(part) for part in parts if part)


def _rest(notice: Notice) -> list[str]:
    rest = len(notice.messages) - LINES_MAX
    return [f"and {wording.count(rest)} more"] if rest > 0 else []


def _links(notice: Notice) -> list[tuple[str, str]]:
    if len(notice.messages) > 1:
        links = [("Open inbox", said.inbox_url_of(notice))]
    else:
        links = said.links_of(notice.messages[0])
    return [(name, url) for name, url in links if said.is_link(url)]


def _html(notice: Notice) -> SafeString:
    """The same words; no picture, no style sheet, nothing that a mail program would fetch."""
    links = format_html_join("", '<p><a href="{1}">{0}</a></p>', _links(notice))
    return format_html(
        '<!DOCTYPE html><html><body>{}{}<p style="color:#666;font-size:small">{}</p></body></html>',
        _html_middle(notice),
        links,
        said.small_print(notice),
    )


def _html_middle(notice: Notice) -> SafeString:
    if said.own_body(notice):
        return format_html('<div style="white-space:pre-wrap">{}</div>', _middle(notice))
    if len(notice.messages) > 1:
        rows = [(_html_line(message),) for message in said.ordered(notice.messages)[:LINES_MAX]]
        rows += [(text,) for text in _rest(notice)]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", rows))
    message = notice.messages[0]
    return format_html(
        "<h2>{}</h2><p>{}</p><table>{}</table>",
        said.head_of(message),
        said.summary_of(message),
        format_html_join("", '<tr><th align="left">{}</th><td>{}</td></tr>', said.facts_of(message)),
    )


def _html_line(message: Outgoing) -> SafeString | str:
    url = message.payload.get("incident_url")
    return format_html('<a href="{}">{}</a>', url, _about(message)) if said.is_link(url) else _about(message)
