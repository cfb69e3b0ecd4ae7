"""Open incidents on the home page: in the inbox's order and stories, so that a storm hides nothing that is graver."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, F, Q, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils.safestring import SafeString

from monitoring.admin.inbox_lines import severity_badge
from monitoring.admin.incident_page import state_badge
from monitoring.labels import alertname_of
from monitoring.models import Incident, IncidentState, Severity
from monitoring.reading.inbox import GRAVITY, Entry, Line, Need, held_back, lines
from monitoring.reading.sentences import size_text
from triageops import wording
from triageops.admin import Tone, badge

MOST_LINES = 10
MOST_READ = 500
"""Of monitors, and as many of all others, the most urgent first; counts are of all."""
_CARE = {
    Need.TAKEN_CARE: "taken care of",
    Need.RECOVERING: "recovering",
    Need.HELD_BACK: "silenced or held back",
}


@dataclass(frozen=True)
class Trouble:
    """One line: an incident, or the most urgent one of a story. said: its size, and who takes care of it."""

    incident: Incident
    title: str
    address: str
    severity: SafeString
    state: SafeString
    said: Sequence[str]


@dataclass(frozen=True)
class Troubles:
    """rest: that others are open beside those in the lines."""

    open_count: int
    needing_count: int
    lines: Sequence[Trouble]
    rest: str

    @property
    def first(self) -> Trouble | None:
        return self.lines[0] if self.lines else None


def open_and_recent(start: datetime) -> list[Incident]:
    """What is open, and of monitors also what was resolved since `start`; the most urgent first. One query."""
    is_shown = Q(resolved_at=None) | Q(monitor__isnull=False, resolved_at__gte=start)
    rows = Incident.objects.genuine().told().filter(is_shown).annotate(is_held=held_back())
    ranked = _ranked(rows).filter(rank__lte=MOST_READ).select_related("monitor")
    return list(ranked.order_by("is_over", "gravity", "need", "opened_at"))


def _ranked(rows: QuerySet[Any]) -> QuerySet[Any]:
    """By the order of the inbox, of monitors and of all others by themselves."""
    is_wanted = Q(state=IncidentState.FIRING, is_held=False)
    needs = [
        When(state=IncidentState.FIRING, is_held=True, then=Value(Need.HELD_BACK.value)),
        When(state=IncidentState.ACKNOWLEDGED, then=Value(Need.TAKEN_CARE.value)),
        When(state=IncidentState.RECOVERING, then=Value(Need.RECOVERING.value)),
    ]
    graveness = [When(severity=one, then=Value(place)) for one, place in GRAVITY.items()]
    ranked: QuerySet[Any] = rows.annotate(
        is_over=Case(When(resolved_at=None, then=Value(0)), default=Value(1)),
        need=Case(*needs, default=Value(Need.SOMEBODY.value)),
        gravity=Case(*graveness, default=Value(len(GRAVITY))),
        open_count=Window(Count("pk", filter=Q(resolved_at=None))),
        needing_count=Window(Count("pk", filter=is_wanted)),
        rank=Window(
            RowNumber(),
            partition_by=Case(When(monitor=None, then=Value(0)), default=Value(1)),
            order_by=[F("is_over"), F("gravity"), F("need"), F("opened_at")],
        ),
    )
    return ranked


def troubles_of(incidents: Sequence[Incident]) -> Troubles:
    """incidents: as `open_and_recent` reads them."""
    known = {one.pk: one for one in incidents if one.is_open}
    if not known:
        return Troubles(0, 0, (), "")
    first = incidents[0]
    open_count, needing_count = first.open_count, first.needing_count  # type: ignore[attr-defined]
    found = lines(_entry(one) for one in known.values())
    top = found[:MOST_LINES]
    rest = open_count - sum(len(line.entries) for line in top)
    is_cut = len(known) < open_count
    more = wording.plural(rest, "more incident is", "more incidents are")
    return Troubles(
        open_count,
        needing_count,
        [_trouble(line, known[line.first.id], is_cut=is_cut) for line in top],
        f"{more} open, less urgent than these." if rest else "",
    )


def _entry(incident: Incident) -> Entry:
    story = (incident.monitor_id, incident.experiment, incident.source, incident.labels.get("alertname"))
    return Entry(
        incident.pk,
        incident.state,
        incident.severity,
        story,
        incident.onset_at,
        incident.opened_at,
        incident.version,
        incident.alarm_count,
        incident.is_held,  # type: ignore[attr-defined]
    )


def sentence_of(found: Troubles) -> tuple[str, Tone]:
    """“310 open incidents, 298 of them need somebody; the most urgent is …”."""
    first = found.first
    count = wording.plural(found.open_count, "open incident")
    if first is None:
        return f"{count}.", Tone.LOOK
    is_grave = first.incident.severity != Severity.INFO
    tone = Tone.HARM if found.needing_count and is_grave else Tone.LOOK
    if found.open_count == 1:
        needed = "" if found.needing_count else ", and nobody is needed now"
        return f"{count}{needed}: {first.incident.title}", tone
    if not found.needing_count:
        need = "and nobody is needed now"
    elif found.needing_count == found.open_count:
        need = "and all of them need somebody"
    else:
        need = wording.plural(found.needing_count, "of them needs", "of them need") + " somebody"
    return f"{count}, {need}; the most urgent is {first.incident.title}", tone


def _state_of(incident: Incident) -> SafeString:
    """Red is kept for what may do harm."""
    if incident.severity == Severity.INFO:
        return badge(incident.get_state_display(), Tone.NEUTRAL)
    return state_badge(incident)


def _trouble(line: Line, incident: Incident, *, is_cut: bool) -> Trouble:
    """is_cut: there may be more of a story than were read."""
    said = [text for text in (size_text(incident), _CARE.get(line.first.need, "")) if text]
    if not line.is_story:
        address = reverse("admin:monitoring_incident_change", args=[incident.pk])
        return Trouble(incident, incident.title, address, severity_badge(incident), _state_of(incident), said)
    count = wording.count(len(line.entries))
    title = f"{'At least ' if is_cut else ''}{count} incidents of “{alertname_of(incident)}”"
    needing = sum(one.need == Need.SOMEBODY for one in line.entries)
    need = wording.plural(needing, "needs", "need") + " somebody" if needing else "nobody is needed"
    address = reverse("admin:monitoring_inbox")
    return Trouble(
        incident,
        title,
        address,
        severity_badge(incident),
        _state_of(incident),
        [need, f"the most urgent: {incident.title}"],
    )
