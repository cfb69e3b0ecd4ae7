"""One alert as Alertmanager's webhook and API v2 send it: read, bounded, and every text taken as text."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from monitoring.labels import severity_named

LABELS_MAX, NAME_MAX, VALUE_MAX = 64, 200, 1_024
TEXTS = {"summary": 1_000, "description": 4_000}
LINKS = ("runbook_url", "link")
LINK_MAX = 2_000
_TITLE_MAX = 300
_UNFIT = re.compile("[\0\ud800-\udfff]")
# What turns, hides or breaks the text around it: controls without tab and line ends, and the marks of writing direction.
_UNSEEN = re.compile(
    "[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_LINK = re.compile(r"https?://[^\s\x00-\x1f\x7f]+\Z")


class InvalidAlert(ValueError):
    """What is wrong with an alert. field: where."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


@dataclass(frozen=True)
class Alert:
    """key: the same for the same labels. starts_at, ends_at: None where the sender left them unset."""

    key: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime | None
    ends_at: datetime | None
    status: str

    @property
    def title(self) -> str:
        name = self.labels.get("alertname", "")
        return (clean_line(self.annotations.get("summary", "")) or name or "Alert without a name")[
            :_TITLE_MAX
        ]

    @property
    def severity(self) -> str:
        return severity_named(self.labels.get("severity", ""))

    def is_over(self, now: datetime) -> bool:
        """By its status; where there is none, by its end."""
        if self.status:
            return self.status == "resolved"
        return self.ends_at is not None and self.ends_at <= now


def read_alert(given: object) -> Alert:
    """Fields that are not known are left alone: newer senders have more of them. Raises InvalidAlert."""
    if not isinstance(given, dict):
        raise InvalidAlert("", "It is not an object.")
    labels = read_labels(given.get("labels"))
    if not labels:
        raise InvalidAlert("labels", "It has no labels, by which it would be told from others.")
    status = given.get("status")
    if isinstance(status, str) and status not in {"firing", "resolved"}:
        raise InvalidAlert("status", "It is neither “firing” nor “resolved”.")
    starts_at, ends_at = _time(given, "startsAt"), _time(given, "endsAt")
    if starts_at is not None and ends_at is not None and ends_at < starts_at:
        raise InvalidAlert("endsAt", "It ends before it begins.")
    return Alert(
        key=fingerprint(labels),
        labels=labels,
        annotations=_annotations(given),
        starts_at=starts_at,
        ends_at=ends_at,
        # API v2 says in an object what we decide ourselves.
        status=status if isinstance(status, str) else "",
    )


def read_labels(given: object) -> dict[str, str]:
    """Without empty ones, which count as missing. Raises InvalidAlert."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidAlert("labels", "They are not an object of texts.")
    labels = {}
    for given_name, text in given.items():
        name = _UNSEEN.sub("", given_name)
        if not isinstance(text, str):
            raise InvalidAlert(f"labels.{_shown(name)}", "Its value is not a text.")
        if not name or len(name) > NAME_MAX or _UNFIT.search(name):
            raise InvalidAlert(
                f"labels.{_shown(name)}", f"A name has 1 to {NAME_MAX} characters, none of them NUL."
            )
        value = _label_value(name, text)
        if value:
            labels[name] = value
    if len(labels) > LABELS_MAX:
        raise InvalidAlert("labels", f"There are {len(labels)} labels; the most is {LABELS_MAX}.")
    return labels


def _label_value(name: str, text: str) -> str:
    if len(text) > VALUE_MAX:
        raise InvalidAlert(
            f"labels.{_shown(name)}", f"It has {len(text)} characters; the most is {VALUE_MAX}."
        )
    if _UNFIT.search(text):
        raise InvalidAlert(f"labels.{_shown(name)}", "It holds a NUL character or half a surrogate pair.")
    return _UNSEEN.sub("", text)


def fingerprint(labels: Mapping[str, str]) -> str:
    """The same text for the same labels, in whatever order they came."""
    text = json.dumps(sorted(labels.items()), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def clean_text(text: str, most: int) -> str:
    """As PostgreSQL and a page can hold it, without what turns or hides other text, cut at `most` characters."""
    cleaned = _UNFIT.sub("\N{REPLACEMENT CHARACTER}", _UNSEEN.sub("", text))
    return cleaned if len(cleaned) <= most else cleaned[: most - 1] + "…"


def clean_line(text: str) -> str:
    """The same on one line; NUL is left to be refused."""
    return re.sub(r"[\t\r\n]+", " ", _UNSEEN.sub("", text)).strip(" ")


def clean_link(text: str) -> str:
    """Empty unless it is a web address: a link that is clicked must not run anything."""
    is_fit = not _UNFIT.search(text) and not _UNSEEN.search(text)
    return text if len(text) <= LINK_MAX and is_fit and _LINK.match(text) else ""


def _annotations(given: Mapping[str, Any]) -> dict[str, str]:
    said = given.get("annotations")
    said = said if isinstance(said, dict) else {}
    found = {
        name: clean_text(said[name], most) for name, most in TEXTS.items() if isinstance(said.get(name), str)
    }
    found |= {name: clean_link(said[name]) for name in LINKS if isinstance(said.get(name), str)}
    if not found.get("link") and isinstance(given.get("generatorURL"), str):
        found["link"] = clean_link(given["generatorURL"])
    return {name: value for name, value in found.items() if value}


def _time(given: Mapping[str, Any], name: str) -> datetime | None:
    """None for what Go writes where there is no time: the year 1."""
    text = given.get(name)
    if text is None or text == "":
        return None
    unreadable = InvalidAlert(name, "It is no time with a zone, for example 2026-01-31T12:00:00Z.")
    try:
        at = datetime.fromisoformat(text)
        at = at if at.year == 1 or at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise unreadable from None
    if at.tzinfo is None:
        raise unreadable
    return None if at.year == 1 else at


def _shown(name: str) -> str:
    return clean_text(name, 80)
