"""What the page of one incident shows."""

from datetime import datetime
from typing import Any

from django.db.models import Prefetch
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from monitoring import plots
from monitoring.admin.deliveries import status_badge
from monitoring.evidence import Evidence
from monitoring.messages import budget_text, effect_text, experiment_path
from monitoring.models import Incident, IncidentState, Monitor, OutboxMessage
from monitoring.sentences import incident_sentence
from monitoring.slices import described
from triageops import wording
from triageops.admin import Tone, badge

_STATE_TONES = {
    IncidentState.FIRING: Tone.HARM,
    IncidentState.ACKNOWLEDGED: Tone.LOOK,
    IncidentState.RECOVERING: Tone.LOOK,
}


def state_badge(incident: Incident) -> SafeString:
    return badge(incident.get_state_display(), _STATE_TONES.get(IncidentState(incident.state), Tone.NEUTRAL))


def page(incident: Incident, request: HttpRequest) -> dict[str, Any]:
    now = timezone.now()
    sent = (
        OutboxMessage.objects.filter(incident=incident)
        .order_by("channel__name", "seq")
        .select_related("channel")
        .prefetch_related(Prefetch("attempts"))
    )
    about = _of_experiment(incident, request)
    if incident.monitor is not None:
        about = _of_monitor(incident, incident.monitor, now)
    return about | {
        "title": "Incident",
        "incident": incident,
        "state": state_badge(incident),
        "tone": "harm" if incident.is_open else "neutral",
        "sentence": incident_sentence(incident, now),
        "events": incident.events.select_related("by"),
        "deliveries": [(message, status_badge(message)) for message in sent],
    }


def _of_monitor(incident: Incident, monitor: Monitor, now: datetime) -> dict[str, Any]:
    start, end = plots.around(incident, now)
    rows = plots.evaluations_of(monitor, start, end, incident.slice_key)
    level = incident.effect.get("level")
    return {
        "where": described(incident.labels, incident.slice_key) or "all records",
        "effect": effect_text(incident.effect),
        "budget": budget_text(monitor.promised_alarms),
        "charts": [
            plots.metric_chart(monitor, rows, [incident], level, title=incident.title, now=now),
            plots.evidence_chart(rows),
        ],
    }


def _of_experiment(incident: Incident, request: HttpRequest) -> dict[str, Any]:
    evidence = Evidence.read(incident.evidence)
    responses = reverse("admin:feedback_response_changelist")
    may_see = request.user.has_perm("feedback.view_response")
    return {
        "evidence": evidence,
        "evidence_rows": evidence_rows(evidence),
        "experiment_address": experiment_path(incident.experiment),
        "samples": [
            (one, f"{responses}?{urlencode({'q': one})}" if may_see else "")
            for one in evidence.sample_response_ids
        ],
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
