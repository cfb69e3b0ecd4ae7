"""What the inbox shows of each incident."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Prefetch
from django.urls import reverse
from django.utils.safestring import SafeString

from monitoring.admin.incident_page import state_badge
from monitoring.labels import alertname_of
from monitoring.models import Flag, Incident, IncidentFlag, IncidentState, Severity
from monitoring.reading.inbox import Entry, Line
from monitoring.reading.incident_sentences import FLAG_WORDS, OF_SILENCE, clock, comments_of, flag_sentence
from monitoring.reading.sentences import size_text
from triageops import wording
from triageops.admin import Tone, badge

LINES_MAX, INSIDE_MAX = 50, 10


@dataclass(frozen=True)
class Row:
    incident: Incident
    state: SafeString
    severity: SafeString
    about: str
    size: str
    flags: Sequence[tuple[str, str]]
    """Words, and who, why and until when."""
    care: str
    may_silence: bool
    is_unread: bool

    @property
    def may_acknowledge(self) -> bool:
        return self.incident.acknowledged_at is None

    @property
    def resolve_name(self) -> str:
        return "resolve_halt" if self.incident.experiment else "resolve"


@dataclass(frozen=True)
class Story:
    """Many incidents as one line, the most urgent of them inside."""

    key: str
    name: str
    count: str
    said: str
    rows: Sequence[Row]
    more: str
    address: str

    @property
    def first(self) -> Row:
        return self.rows[0]


def shown(lines: Sequence[Line], seen_at: datetime | None) -> list[Row | Story]:
    """The first lines, with their rows; three queries."""
    top = lines[:LINES_MAX]
    wanted = [one.id for line in top for one in line.entries[:INSIDE_MAX]]
    known = _read(wanted)
    comments = comments_of(flag for one in known.values() for flag in _flags(one))
    found: list[Row | Story] = []
    for line in top:
        rows = [
            _row(known[one.id], one, seen_at, comments)
            for one in line.entries[:INSIDE_MAX]
            if one.id in known
        ]
        if rows:
            found.append(_story(line, rows) if line.is_story else rows[0])
    return found


def _read(ids: Sequence[UUID]) -> Mapping[UUID, Incident]:
    active = Prefetch("flags", IncidentFlag.objects.active(), to_attr="active_flags")
    rows = Incident.objects.select_related("monitor", "acknowledged_by").prefetch_related(active)
    return rows.in_bulk(ids)


def _flags(incident: Incident) -> Sequence[IncidentFlag]:
    read: Sequence[IncidentFlag] = getattr(incident, "active_flags", ())
    return read


def _row(incident: Incident, entry: Entry, seen_at: datetime | None, comments: Mapping[str, str]) -> Row:
    flags = _flags(incident)
    return Row(
        incident=incident,
        state=state_badge(incident),
        severity=severity_badge(incident),
        about=about(incident),
        size=size_text(incident),
        flags=[(FLAG_WORDS[Flag(one.kind)], flag_sentence(one, comments)) for one in flags],
        care=_care(incident),
        may_silence=not any(one.cause.startswith(OF_SILENCE) for one in flags),
        is_unread=seen_at is None or entry.opened_at > seen_at,
    )


def severity_badge(incident: Incident) -> SafeString:
    is_harm = incident.severity in {Severity.CRITICAL, Severity.ERROR}
    return badge(incident.severity, Tone.HARM if is_harm and incident.is_open else Tone.NEUTRAL)


def about(incident: Incident) -> str:
    if incident.monitor is not None:
        return str(incident.monitor)
    return f"experiment {incident.experiment}" if incident.experiment else f"{incident.get_source_display()}"


def _care(incident: Incident) -> str:
    if incident.state != IncidentState.ACKNOWLEDGED:
        return ""
    who = incident.acknowledged_by.get_username() if incident.acknowledged_by else "somebody"
    until = f" until {clock(incident.acknowledged_until)}" if incident.acknowledged_until else ""
    return f"{who} takes care of it{until}"


def _story(line: Line, rows: Sequence[Row]) -> Story:
    name = alertname_of(rows[0].incident)
    states = [one.state for one in line.entries]
    said = [
        f"{wording.count(states.count(state))} {state.label.lower()}"
        for state in IncidentState
        if state.value in states
    ]
    more = len(line.entries) - len(rows)
    incident = rows[0].incident
    query = f"?state=open&monitor__id__exact={incident.monitor_id}" if incident.monitor_id else "?state=open"
    return Story(
        key=line.key,
        name=name,
        count=wording.count(len(line.entries)),
        said=", ".join(said),
        rows=rows,
        more=f"{wording.count(more)} more of them" if more else "",
        address=reverse("admin:monitoring_incident_changelist") + query,
    )
