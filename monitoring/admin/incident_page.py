"""What the page of one incident shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from monitoring import plots
from monitoring.admin import incident_story
from monitoring.admin.states import bar, learns
from monitoring.evidence import Evidence
from monitoring.models import (
    Incident,
    IncidentState,
    Marker,
    Monitor,
    Resolution,
    Signal,
    Usefulness,
)
from monitoring.monitors.registry import is_rule
from monitoring.notifying.payloads import RULE_TEXT, budget_text, experiment_path
from monitoring.reading import samples
from monitoring.reading.incident_sentences import incident_sentence
from monitoring.reading.samples import Samples
from monitoring.reading.sentences import explanation_of, size_text
from monitoring.slices import described
from triageops import wording
from triageops.admin import Tone, badge
from triageops.charts import Chart

_MOST_PARTS, _LEAST_MIX = 12, 0.05

_SIGNALS = {
    Signal.DRIFT: "a lasting change: evidence that piled up",
    Signal.ANOMALY: "one single bucket of time, which is too far out to be chance; a lasting change would be told besides",
    Signal.CHECK: "the check itself: something keeps this monitor from watching",
}

_OF_RULES = {
    "never": "a record that must not exist: one is enough, and that nothing more came does not undo it",
    "burn_rate": "a fixed rule: the error budget is used up too fast in a long and in a short window at once",
}

_STATE_TONES = {
    IncidentState.FIRING: Tone.HARM,
    IncidentState.ACKNOWLEDGED: Tone.LOOK,
    IncidentState.RECOVERING: Tone.LOOK,
}


def state_badge(incident: Incident) -> SafeString:
    return badge(incident.get_state_display(), _STATE_TONES.get(IncidentState(incident.state), Tone.NEUTRAL))


def page(incident: Incident, request: HttpRequest) -> dict[str, Any]:
    """incident: as the admin reads it, with its monitor, people and `active_flags`."""
    now = timezone.now()
    if incident.monitor is not None:
        about = _of_monitor(incident, incident.monitor, now)
        about |= _samples(samples.of_incident(incident, incident.monitor, now), request)
    else:
        about = _of_report(incident) if incident.is_reported else _of_experiment(incident, request)
    return (
        about
        | incident_story.story(incident)
        | {
            "title": "Incident",
            "incident": incident,
            "state": state_badge(incident),
            "tone": "harm" if incident.is_open else "neutral",
            "sentence": incident_sentence(incident, now),
            "may_act": request.user.has_perm("monitoring.change_incident"),
            "usefulnesses": [(one.value, one.label.split(":")[1].strip()) for one in Usefulness],
            "may_judge": incident.state != IncidentState.SUSPECT and incident.resolution != Resolution.FADED,
        }
    )


def _samples(found: Samples, request: HttpRequest) -> dict[str, Any]:
    worst = "furthest off, of the latest responses of this group since the onset"
    return _linked(found.ids, request) | {
        "samples_said": worst if found.is_worst else "the latest of this group since the onset"
    }


def _linked(ids: Sequence[str], request: HttpRequest) -> dict[str, Any]:
    """Ids of responses, with links for who may see them."""
    responses = reverse("admin:feedback_response_changelist")
    may_see = request.user.has_perm("feedback.view_response")
    return {"samples": [(one, f"{responses}?{urlencode({'q': one})}" if may_see else "") for one in ids]}


def _of_report(incident: Incident) -> dict[str, Any]:
    """In the words of its source."""
    return {"said": incident.annotations, "labels": sorted(incident.labels.items())}


def _of_monitor(incident: Incident, monitor: Monitor, now: datetime) -> dict[str, Any]:
    explained = explanation_of(incident)
    return {
        "where": described(incident.labels, incident.slice_key) or "all records",
        "effect": size_text(incident),
        "is_counted": monitor.kind == "never",
        "budget": _budget(monitor),
        "explained": explained.get("sentence", ""),
        "parts": [_part(monitor, one) for one in explained.get("parts", [])[:_MOST_PARTS]],
        "mix": [
            (name, wording.share(value, 2))
            for name, value in explained.get("mix", {}).items()
            if abs(value) >= _LEAST_MIX
        ],
        "signal": _signal(incident, monitor),
        "charts": [] if incident.signal == Signal.CHECK else _charts(incident, monitor, now),
    }


def _signal(incident: Incident, monitor: Monitor) -> str:
    """What was found; of a rule not what it would mean of a test."""
    known = _SIGNALS[Signal(incident.signal)]
    return known if incident.signal == Signal.CHECK else _OF_RULES.get(monitor.kind, known)


def _charts(incident: Incident, monitor: Monitor, now: datetime) -> list[Chart]:
    start, end = plots.around(incident, now)
    read = plots.Trace.read(monitor, incident.slice_key, incident.labels, start, end)
    trace = plots.with_history(read, now)
    level = None if learns(monitor) else incident.effect.get("level")
    markers = Marker.objects.between(start, end)
    title = incident.title[:1].upper() + incident.title[1:]
    seen = plots.metric_chart(trace, [incident], markers, level=level, title=title, now=now)
    # A single event is all the evidence that there is.
    return [seen] if monitor.kind == "never" else [seen, plots.evidence_chart(trace, [incident])]


def can_accept(incident: Incident) -> bool:
    """Whether what is seen now can become what is usual; the monitor should be loaded."""
    monitor = incident.monitor
    return (
        monitor is not None
        and learns(monitor)
        and monitor.reference_id is not None
        and incident.is_open
        and incident.signal != Signal.CHECK
    )


def _budget(monitor: Monitor) -> str:
    if is_rule(monitor.kind):
        return RULE_TEXT
    return budget_text(monitor.promised_alarms)


def _part(monitor: Monitor, part: dict[str, Any]) -> dict[str, Any]:
    """One group's row: its share of the records and its value, before and after, and what it contributes."""
    style = plots.style_of(monitor)
    contribution = part["contribution"]
    return {
        "dimension": part["dimension"],
        "value": part["value"] or "(none)",
        "share_before": wording.share(part["share_before"], 2),
        "share_after": wording.share(part["share_after"], 2),
        "before": wording.styled(part["before"], style),
        "after": wording.styled(part["after"], style),
        "contribution": bar(max(0.0, min(1.0, contribution)), wording.share(contribution, 2)),
    }


def _of_experiment(incident: Incident, request: HttpRequest) -> dict[str, Any]:
    evidence = Evidence.read(incident.evidence)
    return _linked(evidence.sample_response_ids, request) | {
        "evidence": evidence,
        "evidence_rows": evidence_rows(evidence),
        "experiment_address": experiment_path(incident.experiment),
        "samples_said": "some of the last responses of the variant at the halt",
        "charts": [] if evidence.effect is None else [plots.halt_chart(incident, evidence)],
    }


def evidence_rows(evidence: Evidence) -> list[tuple[str, str]]:
    """Titles and values, without those that nobody wrote down."""
    named = evidence.variant or "variant", evidence.control or "control"
    rows = [
        ("Metric", evidence.metric),
        ("Variant", evidence.variant),
        ("Control", evidence.control),
        (
            "Effect against the control",
            "" if evidence.effect is None else evidence.difference(evidence.effect),
        ),
        ("Its interval", evidence.interval),
        *_of_arm(named[0], evidence.value(evidence.value_treatment), evidence.n_treatment),
        *_of_arm(named[1], evidence.value(evidence.value_control), evidence.n_control),
        ("Strength of the evidence", evidence.strength_text),
        ("Who is affected", evidence.affected_text),
    ]
    return [(title, value) for title, value in rows if value and value != wording.MISSING]


def _of_arm(name: str, value: str, n: int | None) -> list[tuple[str, str]]:
    return [(f"Value of {name}", value), (f"Units of {name}", "" if n is None else wording.count(n))]
