"""The first line of a page: the answer, as one would say it aloud."""

import math
from datetime import UTC, datetime

from monitoring.messages import budget_text, incident_effect_text
from monitoring.models import Incident, IncidentState, Monitor, MonitorState
from triageops import wording


def monitor_sentence(monitor: Monitor, open_incidents: list[Incident], highest: float | None) -> str:
    """highest: the largest log-evidence of its slices."""
    if open_incidents:
        latest = open_incidents[0]
        more = f" (and {len(open_incidents) - 1} more)" if len(open_incidents) > 1 else ""
        return f"{_capital(latest.title)}{more}, since {_clock(latest.onset_at)}."
    if monitor.state == MonitorState.PAUSED:
        return "Paused: nothing is being watched."
    if monitor.check_error:
        return f"The last check failed, so nothing is being watched: {monitor.check_error}"
    if highest is None:
        return "Watching, with no data yet. The first numbers appear when a bucket of time with records is closed."
    return f"All is well: the evidence against “{monitor.metric}” is {evidence_share(highest)} of what raises an alarm."


def promise_sentence(monitor: Monitor) -> str:
    return (
        f"The promise: at most {budget_text(monitor.promised_alarms)} on average, "
        "over all its slices and however often one looks, as long as the true mean is not worse than the level by more "
        "than the margin. Nothing else is assumed about the numbers."
    )


def evidence_share(log_evidence: float) -> str:
    """Evidence as a share of the alarm line."""
    share = math.exp(min(log_evidence, 0.0))
    return "less than 1 %" if share < 0.01 else wording.share(share, 2)


def incident_sentence(incident: Incident, now: datetime) -> str:
    found = _found(incident)
    if incident.state == IncidentState.RESOLVED and incident.resolved_at is not None:
        lasted = wording.seconds((incident.resolved_at - incident.opened_at).total_seconds())
        return f"Over after {lasted} ({incident.get_resolution_display()}). {found}"
    since = wording.seconds((now - incident.opened_at).total_seconds())
    state = {
        IncidentState.FIRING: f"Firing for {since}, and nobody has acknowledged it",
        IncidentState.ACKNOWLEDGED: f"Open for {since}; somebody takes care of it",
        IncidentState.RECOVERING: f"Open for {since}, and recovering",
    }[IncidentState(incident.state)]
    return f"{found} {state}."


def _found(incident: Incident) -> str:
    if incident.monitor_id is None:
        # The title of a halt tells its numbers, in the past tense.
        return f"{incident.title.rstrip('.')}."
    head, effect = _capital(incident.title), incident_effect_text(incident)
    found = f"{head}: {effect}." if effect else f"{head}."
    # Titles are written while it lasts: “score is below 0.8”.
    return found if incident.is_open else found.replace(" is ", " was ", 1)


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
