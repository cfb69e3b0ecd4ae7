"""What pages say of incidents: the answer first, then what happened, event by event."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from unicodedata import bidirectional

from monitoring.models import (
    EventKind,
    Flag,
    Incident,
    IncidentEvent,
    IncidentFlag,
    IncidentState,
    Resolution,
    Silence,
    Usefulness,
)
from monitoring.reading.sentences import capital, size_text
from triageops import wording

OF_SILENCE = "silence:"
"""How the cause of a flag begins that a silence has set."""

_FROM_THE_RIGHT = frozenset({"R", "AL", "AN", "RLE", "RLO", "LRO", "LRE"})

FLAG_WORDS: Mapping[str, str] = {
    Flag.SILENCED: "silenced",
    Flag.MAINTENANCE: "in a maintenance window",
    Flag.INHIBITED: "held back by another incident",
    Flag.FLAPPING: "flapping",
    Flag.NO_DATA: "without data",
}


def incident_sentence(incident: Incident, now: datetime) -> str:
    """The monitor should be loaded, and who acknowledged it."""
    found = _found(incident)
    if incident.state == IncidentState.SUSPECT:
        lasting = wording.seconds(round((now - incident.opened_at).total_seconds()))
        return f"A suspicion for {lasting}: {found} Nobody is told unless it becomes an incident, or it passes by itself."
    if incident.state == IncidentState.RESOLVED and incident.resolved_at is not None:
        lasted = wording.seconds(round((incident.resolved_at - incident.opened_at).total_seconds()))
        if incident.resolution == Resolution.FADED:
            return f"The suspicion passed after {lasted}, and nobody was told. {found}"
        return f"Over after {lasted} ({incident.get_resolution_display()}). {found}"
    return f"{found} {_standing(incident, now)}."


def _standing(incident: Incident, now: datetime) -> str:
    since = wording.seconds(round((now - incident.opened_at).total_seconds()))
    if incident.state == IncidentState.FIRING:
        return f"Firing for {since}, and nobody has acknowledged it"
    if incident.state == IncidentState.RECOVERING:
        held = (
            ""
            if incident.hold_until is None
            else f"; over at {clock(incident.hold_until)} unless it comes back"
        )
        return f"Open for {since}, and recovering{held}"
    who = "somebody" if incident.acknowledged_by is None else incident.acknowledged_by.get_username()
    until = "" if incident.acknowledged_until is None else f" until {clock(incident.acknowledged_until)}"
    return f"Open for {since}; {who} takes care of it{until}"


def _found(incident: Incident) -> str:
    if incident.monitor_id is None:
        # The title of a halt tells its numbers, in the past tense; a report has the words of its source.
        return f"{isolated(capital(incident.title).rstrip('.'))}."
    head, effect = isolated(capital(incident.title)), size_text(incident)
    found = f"{head}: {effect}." if effect else f"{head}."
    # Titles are written while it lasts: “score is below 0.8”.
    return found if incident.state != IncidentState.RESOLVED else found.replace(" is ", " was ", 1)


def isolated(text: str) -> str:
    """As <bdi> does it, for a sentence that is plain text: what is written from right to left turns nothing around it."""
    turns = any(bidirectional(one) in _FROM_THE_RIGHT for one in text)
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if turns else text


def comments_of(flags: Iterable[IncidentFlag]) -> Mapping[str, str]:
    """What was written about the silences that these flags name, by cause. One query, where there are any.

    Flags themselves do not carry it, as what holds a message back is told to its receiver.
    """
    named = [one.cause for one in flags if one.cause.startswith(OF_SILENCE)]
    if not named:
        return {}
    rows = Silence.objects.filter(pk__in=[one.removeprefix(OF_SILENCE) for one in named])
    return {f"{OF_SILENCE}{pk}": comment for pk, comment in rows.values_list("pk", "comment")}


def flag_sentence(flag: IncidentFlag, comments: Mapping[str, str] = MappingProxyType({})) -> str:
    """“Silenced by ada until 2026-03-01 12:00 UTC: a deploy”."""
    who = f" by {flag.who}" if flag.who else ""
    until = f" until {clock(flag.until)}" if flag.until else ""
    said = comments.get(flag.cause) or flag.why
    why = f": {said}" if said else ""
    return f"{capital(FLAG_WORDS[Flag(flag.kind)])}{who}{until}{why}"


def event_sentence(event: IncidentEvent) -> str:
    """What an event says beside its name; empty where the name says it all."""
    details: Mapping[str, Any] = event.details
    write = _WRITERS.get(EventKind(event.kind), _of_note)
    return write(details)


def _of_note(details: Mapping[str, Any]) -> str:
    return str(details.get("note") or "")


def _of_alarm(details: Mapping[str, Any]) -> str:
    why = (details.get("explanation") or {}).get("sentence", "")
    title = details.get("title") or details.get("slice") or ""
    return " ".join(filter(None, [f"{title}." if title else "", why, _of_note(details)]))


def _flag_named(details: Mapping[str, Any]) -> str:
    name = str(details.get("flag", ""))
    return FLAG_WORDS.get(name, name)


def _of_flag(details: Mapping[str, Any]) -> str:
    name = _flag_named(details)
    until = f" until {_clock_of(details['until'])}" if details.get("until") else ""
    why = f", because: {details['why']}" if details.get("why") else ""
    return f"{name}{until}{why}"


def _of_unflag(details: Mapping[str, Any]) -> str:
    name = _flag_named(details)
    why = f", because: {details['why']}" if details.get("why") else ""
    return f"not {name} any more{why}"


def _of_acknowledgement(details: Mapping[str, Any]) -> str:
    until = f"until {_clock_of(details['until'])}" if details.get("until") else ""
    return ", ".join(filter(None, [until, _of_note(details)]))


def _of_end(details: Mapping[str, Any]) -> str:
    reasons = {one.value: str(one.label) for one in Resolution}
    reason = reasons.get(str(details.get("resolution")), "")
    return ": ".join(filter(None, [reason, _of_note(details)]))


def _of_judgement(details: Mapping[str, Any]) -> str:
    known = {one.value: str(one.label) for one in Usefulness}
    return known.get(str(details.get("usefulness")), "")


def _of_recovery(details: Mapping[str, Any]) -> str:
    return (
        f"over at {_clock_of(details['hold_until'])} unless it comes back"
        if details.get("hold_until")
        else ""
    )


def _of_step(details: Mapping[str, Any]) -> str:
    told = _names(details.get("told"))
    head = f"step {details.get('step')} of route “{details.get('name')}”: {details.get('why')}"
    return f"{head}; told {told}" if told else f"{head}; nobody there was left to be told"


def _of_undelivered(details: Mapping[str, Any]) -> str:
    told = _names(details.get("told"))
    return f"{details.get('channel')}" + (f"; {told} told instead" if told else "")


def _of_rerouting(details: Mapping[str, Any]) -> str:
    return f"{_names(details.get('told'))}; {details.get('why')}"


def _of_reminder(details: Mapping[str, Any]) -> str:
    return f"number {details.get('number')}, to {_names(details.get('told')) or 'nobody'}"


def _names(told: object) -> str:
    return ", ".join(map(str, told)) if isinstance(told, list) else ""


_WRITERS: dict[EventKind, Callable[[Mapping[str, Any]], str]] = {
    EventKind.NOTED: _of_alarm,
    EventKind.ESCALATED: _of_alarm,
    EventKind.FLAGGED: _of_flag,
    EventKind.UNFLAGGED: _of_unflag,
    EventKind.ACKNOWLEDGED: _of_acknowledgement,
    EventKind.UNACKNOWLEDGED: _of_note,
    EventKind.RECOVERING: _of_recovery,
    EventKind.RESOLVED: _of_end,
    EventKind.JUDGED: _of_judgement,
    EventKind.STEPPED: _of_step,
    EventKind.UNDELIVERED: _of_undelivered,
    EventKind.REMINDED: _of_reminder,
    EventKind.REROUTED: _of_rerouting,
}


def clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _clock_of(text: object) -> str:
    """Of a time as it stands in an event."""
    try:
        return clock(datetime.fromisoformat(str(text)))
    except ValueError:
        return str(text)
