"""The inbox: what is open, the most urgent first, many of one story as one line; and what a person has read of it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef

from monitoring.channels.inbox import Inbox
from monitoring.models import (
    InboxSeen,
    Incident,
    IncidentFlag,
    IncidentState,
    MessageStatus,
    OutboxMessage,
    Severity,
)
from monitoring.models.incident import IncidentQuerySet
from monitoring.stories import SAME_STORY
from triageops import wording

FOLD_FROM = 4
"""So many incidents of one story are shown as one line."""

GRAVITY = {Severity.CRITICAL: 0, Severity.ERROR: 1, Severity.WARNING: 2, Severity.INFO: 3}


class Need(IntEnum):
    """Who is wanted, the most urgent first."""

    SOMEBODY = 0
    TAKEN_CARE = 1
    RECOVERING = 2
    HELD_BACK = 3
    SUSPECTED = 4


class Entry(NamedTuple):
    """What the order of the inbox needs to know of one unresolved incident, and what changes when it is shown otherwise."""

    id: UUID
    state: str
    severity: str
    story: tuple[Any, ...]
    onset_at: datetime
    opened_at: datetime
    version: int
    alarm_count: int
    is_held: bool

    @property
    def need(self) -> Need:
        if self.state == IncidentState.FIRING:
            return Need.HELD_BACK if self.is_held else Need.SOMEBODY
        return {
            IncidentState.ACKNOWLEDGED: Need.TAKEN_CARE,
            IncidentState.RECOVERING: Need.RECOVERING,
            IncidentState.SUSPECT: Need.SUSPECTED,
        }[IncidentState(self.state)]

    @property
    def urgency(self) -> tuple[int, int, datetime]:
        return GRAVITY[Severity(self.severity)], self.need, self.opened_at


@dataclass(frozen=True)
class Line:
    """One incident, or all of one story, the most urgent first. key: of a story."""

    entries: Sequence[Entry]
    key: str = ""

    @property
    def first(self) -> Entry:
        return self.entries[0]

    @property
    def is_story(self) -> bool:
        return self.key != ""


def held_back() -> Exists:
    """Whether a silence, a window or another incident holds its messages back."""
    return Exists(IncidentFlag.objects.suppressing().filter(incident=OuterRef("pk")))


def needing_somebody() -> IncidentQuerySet:
    """Firing, not acknowledged, and not held back."""
    return Incident.objects.genuine().filter(~held_back(), state=IncidentState.FIRING)


def read() -> list[Entry]:
    """Every unresolved incident, without those that were planted. One query."""
    rows = Incident.objects.unresolved().genuine().annotate(held=held_back()).order_by()
    names = ("pk", "state", "severity", "onset_at", "opened_at", "version", "alarm_count", "held")
    origin = ("monitor_id", "experiment", "source", "labels__alertname")
    return [
        Entry(pk, state, severity, tuple(story), onset_at, opened_at, version, alarm_count, is_held)
        for pk, state, severity, onset_at, opened_at, version, alarm_count, is_held, *story in rows.values_list(
            *names, *origin
        )
    ]


def lines(entries: Iterable[Entry]) -> list[Line]:
    """The most urgent first: by severity, then what nobody takes care of, then what is open longest. Without suspicions."""
    found: list[Line] = []
    for key, story in _stories(one for one in entries if one.need != Need.SUSPECTED).items():
        ordered = sorted(story, key=lambda one: one.urgency)
        if len(ordered) >= FOLD_FROM:
            found.append(Line(ordered, key))
        else:
            found += [Line([one]) for one in ordered]
    return sorted(found, key=lambda line: line.first.urgency)


def _stories(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Of one monitor, experiment or alert, of one severity, and begun close together; by a key that stays the same."""
    by_origin: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        by_origin[*entry.story, entry.severity].append(entry)
    found: dict[str, list[Entry]] = {}
    for origin, group in by_origin.items():
        name = hashlib.sha256(repr(origin).encode()).hexdigest()[:16]
        begun, number = None, 0
        for entry in sorted(group, key=lambda one: one.onset_at):
            if begun is None or entry.onset_at - begun > SAME_STORY:
                begun, number = entry.onset_at, number + 1
            found.setdefault(f"{name}-{number}", []).append(entry)
    return found


def story_named(key: str) -> list[UUID]:
    """All incidents that are shown as this one line now."""
    return [one.id for line in lines(read()) if line.key == key for one in line.entries]


def sentence(entries: Iterable[Entry]) -> str:
    """“2 incidents need somebody, 1 is taken care of.”"""
    counts = Counter(one.need for one in entries)
    wanted = counts[Need.SOMEBODY]
    words = {
        Need.TAKEN_CARE: "taken care of",
        Need.RECOVERING: "recovering",
        Need.HELD_BACK: "silenced or held back",
    }
    rest = [
        f"{wording.count(counts[need])} {'is' if counts[need] == 1 else 'are'} {said}"
        for need, said in words.items()
        if counts[need]
    ]
    if wanted:
        head = wording.plural(wanted, "incident needs", "incidents need") + " somebody"
        return f"{_joined([head, *rest])}."
    if rest:
        return f"Nobody is needed now: of the open incidents {_joined(rest)}."
    return "No incident is open, so nobody is needed."


def _joined(parts: Sequence[str]) -> str:
    return (
        parts[0]
        if len(parts) == 1
        else f"{', '.join(parts[:-1])} and {parts[-1]}"
        if len(parts) > 2
        else ", ".join(parts)
    )


def told(limit: int) -> list[OutboxMessage]:
    """What was told to the channels that are read here, the latest first."""
    rows = OutboxMessage.objects.filter(channel__kind=Inbox.name, status=MessageStatus.DELIVERED)
    return list(rows.select_related("channel").order_by("-id")[:limit])


def seen_by(user: User) -> InboxSeen | None:
    return InboxSeen.objects.filter(user=user).first()


def mark_read(user: User, *, now: datetime) -> InboxSeen:
    """All that is in the inbox now."""
    latest = told(1)
    values = {"seen_at": now, "last_message": latest[0] if latest else None}
    return InboxSeen.objects.update_or_create(user=user, defaults=values)[0]
