"""What messages say of an incident: numbers and an operator's words, none of patients; small groups are not named."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.http import urlencode

from monitoring.evidence import Evidence
from monitoring.labels import is_small, public_labels_of
from monitoring.models import (
    EventKind,
    Flag,
    Incident,
    IncidentState,
    MessageKind,
    Monitor,
    Resolution,
    Signal,
)
from monitoring.monitors.registry import is_rule
from monitoring.slices import SMALLEST_NAMED_GROUP, described
from triageops import wording

RULE_TEXT = "none: a fixed rule, which promises nothing about chance"
_UNNAMED = f"a group with fewer than {SMALLEST_NAMED_GROUP} records, which is not named here"
_OF_RESPONSES = ("model", "variant", "endpoint", "experiment", "provider")
"""Labels by which the list of responses can be cut."""
_MOST_SLICES = 5


def incident_payload(
    incident: Incident, kind: MessageKind, *, at: datetime, event_hash: str = ""
) -> dict[str, Any]:
    """Everything a channel may say of an incident. A group below the smallest size appears without name and numbers.

    event_hash: of the event that is told; it goes along, as a witness of the log outside of this database.
    """
    if incident.is_reported:
        about = _of_report(incident)
    elif incident.monitor is None:
        about = _of_experiment(incident)
    elif incident.signal == Signal.CHECK:
        about = _of_check(incident, incident.monitor)
    else:
        about = _of_monitor(incident, incident.monitor)
    if incident.state == IncidentState.RESOLVED:
        lasted = wording.seconds((at - incident.opened_at).total_seconds())
        about["summary"] = f"Resolved after {lasted}: {Resolution(incident.resolution).label}."
    return about | {
        "at": iso(at),
        "incident_id": str(incident.pk),
        "state": "acknowledged" if kind == MessageKind.ACKNOWLEDGE else incident.state,
        "severity": incident.severity,
        "onset_at": iso(incident.onset_at),
        "opened_at": iso(incident.opened_at),
        "resolved_at": iso(incident.resolved_at) if incident.resolved_at else None,
        "resolution": incident.resolution or None,
        "since": f"{incident.onset_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "incident_url": incident_url(incident),
        "responses_url": "" if incident.is_reported else rows_url(incident),
        "slices": [] if is_small(incident) else slices_of(incident),
        "note": _note(incident, kind),
        "acknowledged_by": _acknowledged_by(incident) if kind == MessageKind.ACKNOWLEDGE else "",
        "inbox_url": incidents_url() + "inbox/",
        "routing_labels": public_labels_of(incident),
        "event_hash": event_hash,
    }


def _of_monitor(incident: Incident, monitor: Monitor) -> dict[str, Any]:
    is_unnamed = is_small(incident)
    explanation = "" if is_unnamed else (incident.evidence.get("explanation") or {}).get("sentence", "")
    effect = (
        {}
        if is_unnamed
        else {name: value for name, value in incident.effect.items() if name not in {"m2", "sums"}}
    )
    where = described(incident.labels, incident.slice_key) or "all records"
    found = wording.seconds((incident.opened_at - incident.onset_at).total_seconds())
    return {
        "monitor": monitor.name,
        "experiment": None,
        "metric": monitor.metric,
        "title": f"{monitor.name}: {_UNNAMED}" if is_unnamed else incident.title,
        "summary": " ".join(
            filter(
                None,
                [f"Found {found} after it seems to have begun.", explanation, monitor.description.strip()],
            )
        ),
        "labels": {} if is_unnamed else incident.labels,
        "where": _UNNAMED if is_unnamed else where,
        "effect": effect or None,
        "effect_text": effect_text(effect),
        "affected_count": None,
        "alarms_per_30_days": None if is_rule(monitor.kind) else monitor.promised_alarms,
        "budget_text": RULE_TEXT if is_rule(monitor.kind) else budget_text(monitor.promised_alarms),
        "experiment_url": "",
        "runbook_url": monitor.runbook_url,
    }


def _of_check(incident: Incident, monitor: Monitor) -> dict[str, Any]:
    """About the watching, not about records: there is no group that could be too small to be named."""
    return {
        "monitor": monitor.name,
        "experiment": None,
        "metric": monitor.metric,
        "title": incident.title,
        "summary": incident.evidence.get("summary", ""),
        "labels": {},
        "where": "the watching itself",
        "effect": None,
        "effect_text": "",
        "affected_count": None,
        "alarms_per_30_days": None,
        "budget_text": "",
        "experiment_url": "",
        "runbook_url": monitor.runbook_url,
    }


def _of_report(incident: Incident) -> dict[str, Any]:
    """In the words of its source, which are an operator's: of a rule, not of records."""
    said = incident.annotations
    return {
        "monitor": None,
        "experiment": None,
        "metric": None,
        "title": incident.title,
        "summary": said.get("description") or said.get("summary") or incident.title,
        "labels": incident.labels,
        "where": described(incident.labels) or "as reported",
        "effect": None,
        "effect_text": "",
        "affected_count": None,
        "alarms_per_30_days": None,
        "budget_text": "",
        "experiment_url": "",
        "source_url": said.get("link", ""),
        "runbook_url": said.get("runbook_url", ""),
    }


def _of_experiment(incident: Incident) -> dict[str, Any]:
    evidence = Evidence.read(incident.evidence)
    is_unnamed = evidence.is_small
    return {
        "monitor": None,
        "experiment": incident.experiment,
        "metric": evidence.metric or None,
        "title": f"{incident.experiment} was halted: {_UNNAMED}" if is_unnamed else incident.title,
        "summary": "Everybody gets the control." if is_unnamed else _told(incident, evidence),
        "labels": {} if is_unnamed else incident.labels,
        "where": _UNNAMED if is_unnamed else described(incident.labels) or "all variants",
        "effect": None if is_unnamed else incident.effect or None,
        "effect_text": "" if is_unnamed else evidence.effect_text,
        "affected_count": None if is_unnamed else evidence.affected_count,
        "alarms_per_30_days": None,
        "budget_text": "",
        "experiment_url": settings.BASE_URL + experiment_path(incident.experiment),
        "runbook_url": "",
    }


def _told(incident: Incident, evidence: Evidence) -> str:
    """The headline, unless the title was made without it because it may hold a person's own words."""
    headline = evidence.headline
    return headline if headline and headline.rstrip(".") in incident.title else f"{incident.title}."


def experiment_path(key: str) -> str:
    """Where the experiment is found in the admin."""
    return f"{reverse('admin:experiments_experiment_changelist')}?{urlencode({'q': key})}"


def incidents_url() -> str:
    """Where the pages of all incidents are; that of each begins with it."""
    return str(settings.BASE_URL + reverse("admin:monitoring_incident_changelist"))


def incident_url(incident: Incident) -> str:
    return str(settings.BASE_URL + reverse("admin:monitoring_incident_change", args=[incident.pk]))


def incident_effect_text(incident: Incident) -> str:
    """The effect of a monitor's incident or an experiment's; empty without numbers."""
    if incident.monitor_id is None:
        return Evidence.read(incident.evidence).effect_text
    return effect_text(incident.effect)


def effect_text(effect: Mapping[str, Any]) -> str:
    """“0.84 against 0.91: -0.07 (-0.09 to -0.05), n = 1 240”; empty without numbers."""
    if effect.get("current") is None:
        return ""
    text = f"{wording.number(effect['current'])} against {wording.number(effect['level'])}: "
    text += wording.number(effect["difference"])
    if effect.get("low") is not None:
        text += f" ({wording.interval(effect['low'], effect['high'], 'number')})"
    return f"{text}, n = {wording.count(effect['n'])}"


def budget_text(alarms_per_30_days: float) -> str:
    """“1 false alarm in 30 days”."""
    return f"{float(f'{alarms_per_30_days:.2g}'):g} false alarm{'' if alarms_per_30_days == 1 else 's'} in 30 days"


def _note(incident: Incident, kind: MessageKind) -> str:
    """What people should know of the telling itself."""
    flap = incident.flags.active().filter(kind=Flag.FLAPPING).first()
    if kind == MessageKind.TRIGGER and flap is not None:
        return f"Comes and goes: {flap.why}. It is held open now, and told again when it has been steady."
    return ""


def _acknowledged_by(incident: Incident) -> str:
    events = incident.events.filter(kind=EventKind.ACKNOWLEDGED).order_by("-seq")
    return events.values_list("actor", flat=True).first() or ""


def rows_url(incident: Incident) -> str:
    """The responses since the onset, of the slice as far as the list can be cut by it."""
    path: str = reverse("admin:feedback_response_changelist")
    asked = {"occurred_at__gte": iso(incident.onset_at)}
    if not is_small(incident):
        asked |= {name: incident.labels[name] for name in _OF_RESPONSES if incident.labels.get(name)}
    return f"{settings.BASE_URL}{path}?{urlencode(asked)}"


def slices_of(incident: Incident) -> list[dict[str, Any]]:
    """The groups that contribute most, each of at least the smallest size that is named: name and share of the change."""
    parts = (incident.evidence.get("explanation") or {}).get("parts", [])
    large = [one for one in parts if one.get("n", 0) >= SMALLEST_NAMED_GROUP and one["contribution"] > 0]
    large.sort(key=lambda one: -one["contribution"])
    return [
        {
            "name": f"{one['dimension']} = {one['value'] or '(none)'}",
            "share": round(min(one["contribution"], 1.0), 3),
        }
        for one in large[:_MOST_SLICES]
    ]


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
