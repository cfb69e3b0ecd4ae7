"""What happened to one incident: its log, who was told, what was done about it, how long it took, and the log's seal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from experiments.models import ExperimentEvent
from monitoring.admin.deliveries import status_badge
from monitoring.admin.read_along import keep_attempts, with_attempts
from monitoring.evidence import Evidence
from monitoring.exports.exporting import times_of
from monitoring.history import chain
from monitoring.models import (
    Incident,
    IncidentEvent,
    IncidentFlag,
    IncidentState,
    MessageStatus,
    OutboxMessage,
    Resolution,
)
from monitoring.notifying.payloads import experiment_path
from monitoring.reading.incident_sentences import event_sentence, flag_sentence
from triageops import wording

MESSAGES_MAX, CHANGES_MAX = 200, 20


@dataclass(frozen=True)
class Moment:
    at: datetime
    what: str
    said: str
    who: str
    is_message: bool = False


def story(incident: Incident) -> dict[str, Any]:
    """Three queries at most: log, messages with their attempts, changes of the experiment."""
    events = list(incident.events.select_related("by"))
    rows = OutboxMessage.objects.filter(incident=incident).select_related("channel")
    messages = list(with_attempts(rows.order_by("channel__name", "seq"))[:MESSAGES_MAX])
    keep_attempts(messages)
    changes = _changes(incident)
    return {
        "flags": _flags(incident),
        "timeline": _timeline(incident, events, messages, changes),
        "deliveries": [(message, status_badge(message)) for message in messages],
        "told_sentence": _told(incident, messages),
        "times": _times(incident, events),
        "is_detection_unknown": not incident.is_onset_known,
        "seal": seal_sentence(incident, chain.verify(map(chain.Sealed.of, events))),
        "done": changes,
        "concerned": _concerned(incident),
    }


def _flags(incident: Incident) -> list[str]:
    active: Sequence[IncidentFlag] = getattr(incident, "active_flags", ())
    comments: Mapping[str, str] = getattr(incident, "silence_comments", {})
    return [flag_sentence(one, comments) for one in active]


def _timeline(
    incident: Incident,
    events: Sequence[IncidentEvent],
    messages: Sequence[OutboxMessage],
    changes: Sequence[ExperimentEvent],
) -> list[Moment]:
    began = "first units got the variant" if incident.experiment else "onset, as estimated"
    if incident.is_reported:
        began = "onset, as reported" if incident.is_onset_known else "reported, without an onset"
    found = [Moment(incident.onset_at, began, "", wording.MISSING)]
    found += [Moment(one.at, one.get_kind_display(), event_sentence(one), who_of(one)) for one in events]
    found += [_of_message(one) for one in messages]
    found += [
        Moment(one.at, f"experiment: {one.action.replace('_', ' ')}", one.reason, _who_changed(one))
        for one in changes
    ]
    return sorted(found, key=lambda one: one.at)


def who_of(event: IncidentEvent) -> str:
    """As it was written then; of old events, whose name was not written, the present one."""
    if event.actor:
        return event.actor
    return event.by.get_username() if event.by is not None else "TriageOps"


def _who_changed(change: ExperimentEvent) -> str:
    if change.by is not None:
        return change.by.get_username()
    return "TriageOps" if change.api_key is None else change.api_key.name


def _of_message(message: OutboxMessage) -> Moment:
    at = message.delivered_at or message.created_at
    status = MessageStatus(message.status)
    told = {
        MessageStatus.DELIVERED: "told",
        MessageStatus.DEAD: f"could not be told: {message.reason}",
        MessageStatus.SUPERSEDED: f"not told: {message.reason}",
        MessageStatus.SUPPRESSED: f"held back: {message.suppressed_by or message.reason}",
        MessageStatus.LEASED: "is being told",
        MessageStatus.PENDING: "is to be told",
    }[status]
    tries = f", attempt {message.attempt_count}" if message.attempt_count > 1 else ""
    what = f"{message.channel.name} {told}{tries}"
    return Moment(at, what, message.get_kind_display().lower(), "TriageOps", is_message=True)


def _told(incident: Incident, messages: Sequence[OutboxMessage]) -> str:
    if not messages:
        if incident.state == IncidentState.SUSPECT or incident.resolution == Resolution.FADED:
            return "Nobody: a suspicion is told to nobody."
        return ""
    names = {one.channel.name for one in messages}
    told = {one.channel.name for one in messages if one.status == MessageStatus.DELIVERED}
    if told == names:
        return f"{', '.join(sorted(told))}."
    missing = ", ".join(sorted(names - told))
    return (
        f"{', '.join(sorted(told))} so far; not {missing}."
        if told
        else f"Nobody yet; there are messages for {missing}."
    )


def _times(incident: Incident, events: Sequence[IncidentEvent]) -> list[tuple[str, str]]:
    found = times_of(incident, events)
    rows = [
        ("To detect, from the onset", found["to_detect_seconds"]),
        ("To acknowledge, from its discovery", found["to_acknowledge_seconds"]),
        ("To resolve, from its discovery", found["to_resolve_seconds"]),
    ]
    return [(title, wording.seconds(_rounded(value))) for title, value in rows]


def _rounded(seconds: float | None) -> float | None:
    return seconds if seconds is None or seconds < 1 else round(seconds)


def seal_sentence(incident: Incident, verdict: chain.Verdict) -> tuple[str, str]:
    """In which tone, and what the log's hashes say."""
    if not verdict.is_intact:
        return "harm", f"The log is not as it was written: {verdict.reason}."
    if verdict.event_count != incident.version:
        return "harm", f"The log is not complete: it has {verdict.event_count} of {incident.version} events."
    count = wording.plural(verdict.event_count, "event")
    return "good", f"The log is intact: {count}, the last hash is {verdict.head[:16]}…"


def _concerned(incident: Incident) -> dict[str, str]:
    """The experiment and the variant that it is about; empty where it is about none."""
    key = incident.experiment or str(incident.labels.get("experiment", ""))
    if not key and incident.monitor is not None:
        key = incident.monitor.where.get("experiment", "")
    variant = Evidence.read(incident.evidence).variant if incident.experiment else ""
    variant = variant or str(incident.labels.get("variant", ""))
    return {"experiment": key, "variant": variant, "address": experiment_path(key)} if key else {}


def _changes(incident: Incident) -> list[ExperimentEvent]:
    """What was done with the experiment since: its halt and what followed, or what was changed while it was open."""
    key = _concerned(incident).get("experiment")
    if not key:
        return []
    rows = ExperimentEvent.objects.filter(experiment__key=key).select_related("by", "api_key").order_by("pk")
    if incident.experiment:
        rows = rows.filter(pk__gte=incident.experiment_event or 0)
    else:
        rows = rows.filter(at__gte=incident.onset_at)
    if incident.resolved_at is not None and not incident.experiment:
        rows = rows.filter(at__lte=incident.resolved_at)
    return list(rows[:CHANGES_MAX])
